//! A decision and all that follows from it, in this order: select, publish, then tell. Everything that one input changes is
//! in one view; workers confirm it, and only then, or after `CONFIRM`, the change of selection is announced.

use std::sync::Arc;

use serde_json::{Value, json};

use super::probing::GATEWAY;
use super::why::kind_name;
use super::{Announcement, Answer, Manager, views};
use crate::base::{Generation, Nanos, WanId};
use crate::engine::ToWorker;
use crate::wan::{self, Effect, Evidence, Input, Kind, Probe};
use crate::wire::arp::Arp;

impl Manager {
    /// Hands an input to the WANs' state machines and does what follows, in one transaction.
    pub(super) fn input(&mut self, now: Nanos, input: Input) -> Option<wan::Refused> {
        if let Some(journal) = &mut self.journal {
            journal.before(now, &self.wans);
        }
        let mut effects = Vec::new();
        let refused = self.wans.step(now, input, &mut |effect| effects.push(effect)).err();
        let publish = effects.iter().any(|e| !matches!(e, Effect::Probe { .. } | Effect::Link { .. }));
        // Before the workers can say that they have it.
        let published = self.clock.map_or(now, |clock| clock());
        if publish {
            self.publish();
        }
        // Not before: the workers have it already.
        if let Some(journal) = &mut self.journal {
            journal.after(now, &input, &effects);
        }
        for effect in effects {
            self.effect(now, published, effect);
        }
        refused
    }

    pub(super) fn effect(&mut self, now: Nanos, published: Nanos, effect: Effect) {
        match effect {
            Effect::Probe { wan, probe: Probe::Gateway, round } => self.probe(now, wan, round),
            Effect::Probe { wan, probe: Probe::Target(target), round } => {
                self.ask_target(now, wan, target, round)
            }
            Effect::Link { .. } | Effect::Standing(_) => {}
            Effect::Blamed { targets } => self.event(now, "targets_blamed", json!({ "targets": targets })),
            Effect::Confirming { wan } => {
                let fields = json!({ "wan": self.wan_name(wan) });
                self.event(now, "wan_silent", fields);
            }
            Effect::Cleared { wan } => {
                let fields = json!({ "wan": self.wan_name(wan) });
                self.event(now, "wan_silence_over", fields);
            }
            Effect::Admin { wan, from, to } => {
                let fields = json!({ "wan": self.wan_name(wan), "from": from, "to": to });
                self.event(now, "admin", fields);
            }
            Effect::State(change) => {
                let fields = json!({
                    "wan": self.wan_name(change.wan), "from": change.from, "to": change.to,
                    "reason": change.reason.to_string(), "evidence": self.evidence(&change.evidence),
                });
                self.event(now, "wan_state", fields);
            }
            Effect::Selected(selection) => {
                let generation = self.view.generation;
                if self.joins(&selection, generation) {
                    return;
                }
                if selection.kind != Kind::Initial {
                    let said = selection.evidence.iter().map(|evidence| self.said_of(evidence)).collect();
                    self.stories.begin(&selection, generation, published, said, &self.totals());
                }
                self.announcements.push(Announcement {
                    selection,
                    generation,
                    published,
                    others: Vec::new(),
                });
            }
        }
    }

    /// Whether another group of the same WANs has just done the same for the same reason: that is told once, for all of them.
    fn joins(&mut self, selection: &wan::Selection, generation: Generation) -> bool {
        let of = |s: &wan::Selection| (s.kind, s.from, s.to, s.cause, s.carrying.clone());
        let wans = |group: u8| {
            let members = self.groups.list().get(usize::from(group)).map_or(&[][..], |group| &group.members);
            members.iter().map(|member| member.wan).collect::<std::collections::BTreeSet<_>>()
        };
        let same = |a: &Announcement| {
            a.generation == generation
                && of(&a.selection) == of(selection)
                && wans(a.selection.group) == wans(selection.group)
        };
        let Some(at) = self.announcements.iter().position(same) else { return false };
        self.announcements[at].others.push(selection.group);
        true
    }

    fn probe(&mut self, now: Nanos, wan: WanId, round: u32) {
        let iface = self.view.wans[wan.index()].iface;
        let every = self.config.wans.get(wan.index()).map_or(Nanos::ZERO, |health| health.arp_every);
        // One that does not leave is never told to have.
        if !self.paces.of(iface).is_none_or(|pace| pace.probe(now, round, every)) {
            return;
        }
        let link = &self.view.wans[wan.index()];
        // After a miss everybody is asked: the gateway may have another MAC by now.
        let known = self.neighbors.mac(link.iface, link.gateway).filter(|_| self.wans.get(wan).misses == 0);
        let own = self.view.source(link.iface, link.gateway);
        let mac = self.view.ifaces[link.iface.index()].mac_of(own);
        let request = Arp::request(mac, own, link.gateway, known);
        self.send(link.iface, request, Some((wan, GATEWAY | u64::from(round))));
    }

    pub(super) fn publish(&mut self) {
        let mut next = views::next(&self.view, &self.wans, &self.links);
        next.probing = self.probed.probing.clone();
        next.partner = self.partner_way();
        next.uplinks.away = next.partner.is_some();
        self.view = Arc::new(next);
        self.lanes.iter_mut().for_each(|lane| lane.behind = true);
        self.push_views();
        self.tell_host();
    }

    pub(super) fn push_views(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.behind) {
            lane.behind = lane.end.to_worker.push(ToWorker::View(self.view.clone())).is_err();
        }
    }

    /// Tells the changes that every worker has taken.
    pub(super) fn announce(&mut self, now: Nanos) {
        let taken = self.lanes.iter().map(|lane| lane.taken).min().unwrap_or_default();
        let taken_at = self.lanes.iter().map(|lane| lane.taken_at).max().unwrap_or(now);
        let due = |a: &Announcement| taken >= a.generation || now.since(a.published) >= views::CONFIRM;
        let (ready, waiting) = std::mem::take(&mut self.announcements).into_iter().partition(due);
        self.announcements = waiting;
        let ready: Vec<Announcement> = ready;
        for Announcement { selection, generation, published, others } in ready {
            // A turn goes by the time when it began, which may have been before what it took was there.
            let applied = taken_at.max(published);
            if taken >= generation {
                self.stories.applied(generation, applied);
            }
            let kind = kind_name(selection.kind);
            let name = |wan: Option<WanId>| wan.map(|w| self.wan_name(w).to_string());
            let group = |number: u8| self.groups.list().get(usize::from(number)).map(|g| g.name.as_str());
            let fields = json!({
                "group": group(selection.group),
                "others": others.iter().map(|number| group(*number)).collect::<Vec<_>>(),
                "from": name(selection.from), "to": name(selection.to), "cause": selection.cause.to_string(),
                "change": selection.kind, "address": selection.to.and_then(|wan| views::address(&self.view, wan)),
                "evidence": self.evidence(&selection.evidence),
                "detected_ns": selection.detected.0, "published_ns": published.0,
                "applied_ns": (taken >= generation).then_some(applied.0),
                "last_ok_ns": selection.last_ok.map(|at| at.0), "generation": generation.0,
            });
            self.event(now, kind, fields);
        }
    }

    /// What the last probe that evidence speaks of failed by.
    fn said_of(&self, evidence: &Evidence) -> Option<String> {
        let targets = &self.config.wans.get(evidence.wan.index())?.targets;
        let its =
            |target: &wan::Target| target.kind.name() == evidence.probe && target.name == evidence.target;
        let target = targets.iter().position(its)?;
        self.said(evidence.wan, target as u8).map(str::to_owned)
    }

    /// Evidence, as it is told.
    fn evidence(&self, evidence: &[Evidence]) -> Value {
        let row = |e: &Evidence| {
            json!({
                "wan": self.wan_name(e.wan), "probe": e.probe, "target": e.target, "value": e.value,
                "threshold": e.threshold, "unit": e.unit,
            })
        };
        evidence.iter().map(row).collect()
    }

    pub(super) fn operator(&mut self, name: &str, admin: wan::Admin, force: bool, now: Nanos) -> Answer {
        let names = self.wan_names();
        let Some(wan) = names.iter().position(|n| n == name) else {
            return Answer::Refused(format!("no WAN is called {name}; there are {}", names.join(", ")));
        };
        if let Some(refused) = self.input(now, Input::Admin { wan: WanId(wan as u8), admin, force }) {
            return Answer::Refused(format!("{name}: {refused}"));
        }
        let overrides = self.wans.iter().zip(&names).filter(|((_, s), _)| s.admin != wan::Admin::Auto);
        self.orders += 1;
        Answer::Taken(
            self.orders,
            Value::Object(overrides.map(|((_, s), name)| (name.clone(), json!(s.admin))).collect()),
        )
    }

    /// Takes up the overrides of an earlier run: an object of WAN names, as `Answer::Taken` gave it.
    pub fn restore(&mut self, overrides: &Value, now: Nanos) {
        for (name, admin) in overrides.as_object().into_iter().flatten() {
            // What another version has written counts only where it is understood.
            if let Ok(admin) = serde_json::from_value(admin.clone()) {
                self.operator(name, admin, true, now);
            }
        }
    }
}
