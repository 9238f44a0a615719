//! What would become of a packet, rule by rule (`turnout explain`): the path's own functions judge it on the view as it is, or as it would
//! be, and the worker that owns its host says what the NAT has for it. Nothing is sent and nothing changes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crossbeam_channel::{Sender, bounded};
use serde_json::{Value, json};

use super::report::protocol_name;
use super::{Answer, Manager, packet_text, views};
use crate::base::{IfaceId, Mac, Nanos, WanId};
use crate::engine::ToWorker;
use crate::engine::inquiry::{Found, Inquiry, Way};
use crate::nat::explain::{Explained, Fortune};
use crate::nat::rules::Action;
use crate::nat::session::{Kind, Root, Session};
use crate::nat::statics::Target;
use crate::nat::timeouts::tick;
use crate::packet::{DropReason, Tuple, VecBuf};
use crate::path::{Admitted, Class, View, admit, classify};

/// Questions that wait for workers, at most.
const WAITING: usize = 16;
/// The workers have so long.
const PATIENCE: Nanos = Nanos::from_s(1);

/// What is said of the address and the gateway of a WAN that would have them by DHCP.
const UNKNOWN: &str = "not known: it has no lease";

/// A question that waits for the workers.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    /// Workers that have not answered
    missing: usize,
    until: Nanos,
    tale: Tale,
    found: Option<Found>,
    target: Option<Target>,
    hairpin: bool,
    answer: Sender<Value>,
}

/// What is told.
#[derive(Debug)]
struct Tale {
    packet: String,
    steps: Vec<(&'static str, String)>,
}

impl Tale {
    fn step(&mut self, step: &'static str, says: impl Into<String>) {
        self.steps.push((step, says.into()));
    }

    fn end(self, sent: bool, verdict: &str, reason: Option<DropReason>, wan: Option<&str>) -> Value {
        let steps = self.steps.iter().map(|(step, says)| json!({ "step": step, "says": says }));
        json!({
            "packet": self.packet, "steps": steps.collect::<Vec<_>>(), "sent": sent, "verdict": verdict,
            "reason": reason.map(DropReason::name), "wan": wan,
        })
    }

    fn dropped(self, reason: DropReason) -> Value {
        let text = format!("dropped: {} ({})", reason.meaning().trim(), reason.name());
        self.end(false, &text, Some(reason), None)
    }
}

fn end((ip, port): (Ipv4Addr, u16)) -> String {
    format!("{ip}:{port}")
}

impl Manager {
    pub(super) fn explain(
        &mut self,
        text: &str,
        assume: &[(String, bool)],
        interface: Option<&str>,
        now: Nanos,
    ) -> Answer {
        self.explain_or_not(text, assume, interface, now).unwrap_or_else(Answer::Refused)
    }

    fn explain_or_not(
        &mut self,
        text: &str,
        assume: &[(String, bool)],
        interface: Option<&str>,
        now: Nanos,
    ) -> Result<Answer, String> {
        let tuple = packet_text::parse(text)?;
        let mut tale = Tale { packet: text.trim().to_owned(), steps: Vec::new() };
        let view = self.assumed(assume, now, &mut tale)?;
        let ingress = self.ingress(&view, &tuple, interface)?;
        let port = &view.ifaces[ingress.index()];
        let frame = packet_text::frame(&tuple, Mac([2, 0, 0, 0, 0, 1]), port.mac);
        tale.step("arrives", format!("by {}", port.name));
        let done = |value| Ok(Answer::Items(vec![value]));
        let frame = match admit(&view, ingress, VecBuf::new(&frame)) {
            Ok(Admitted::Ip(frame)) => frame,
            Ok(Admitted::Arp(..)) => return Err("that is no IP packet".into()),
            Err(reason) => return done(tale.dropped(reason)),
        };
        let class = match classify(&view, &frame) {
            Ok(class) => class,
            Err(reason) => return done(tale.dropped(reason)),
        };
        let (way, target, hairpin) = match class {
            Class::Outbound { pin } => (Way::Out(pin), None, false),
            Class::Hairpin { target, .. } => (Way::Out(None), target, true),
            Class::Inbound { wan, target, .. } => (Way::In(wan), target, false),
            Class::Own => {
                self.tell_firewall(&view, ingress, &tuple, true, &mut tale);
                let judged = view.rules.firewall.judge(ingress, &tuple, true, Action::Accept);
                return done(match judged {
                    Ok(()) if self.host.is_some() => {
                        tale.end(false, "for the router itself, or the host under it", None, None)
                    }
                    Ok(()) => tale.end(false, "for the router itself", None, None),
                    Err(reason) => tale.dropped(reason),
                });
            }
            Class::Inside { egress, next_hop } => {
                self.tell_firewall(&view, ingress, &tuple, false, &mut tale);
                if let Err(reason) = view.rules.firewall.judge(ingress, &tuple, false, Action::Accept) {
                    return done(tale.dropped(reason));
                }
                let name = &view.ifaces[egress.index()].name;
                return done(tale.end(
                    true,
                    &format!("leaves by {name} as it is, to {next_hop}"),
                    None,
                    None,
                ));
            }
            Class::ToldInside { .. }
            | Class::ToldOutside { .. }
            | Class::Answer { .. }
            | Class::FromHost { .. }
            | Class::Rest => {
                return Err("only packets that could begin a flow are explained".into());
            }
        };
        if let Way::Out(Some(pin)) = way {
            tale.step("route", format!("its destination is on the link of {}", self.wan_name(pin)));
        }
        self.waiting.retain(|waiting| now < waiting.until);
        if self.waiting.len() >= WAITING {
            return Err("too many questions at once; try again".into());
        }
        self.inquiries += 1;
        let id = self.inquiries;
        let inquiry = Inquiry { id, view: view.clone(), ingress, tuple, tcp: frame.tcp(), way, found: None };
        for lane in &mut self.lanes {
            if lane.end.to_worker.push(ToWorker::Explain(Box::new(inquiry.clone()))).is_err() {
                return Err("a worker is too busy to answer; try again".into());
            }
        }
        if let Way::Out(_) = way {
            self.tell_firewall(&view, ingress, &tuple, false, &mut tale);
            self.tell_policy(&view, ingress, &tuple, &mut tale);
        }
        let (answer, later) = bounded(1);
        let (missing, until) = (self.lanes.len(), now + PATIENCE);
        self.waiting.push(Waiting { id, missing, until, tale, found: None, target, hairpin, answer });
        Ok(Answer::Later(later))
    }

    /// The view as it would be.
    fn assumed(&self, assume: &[(String, bool)], now: Nanos, tale: &mut Tale) -> Result<Arc<View>, String> {
        if assume.is_empty() {
            return Ok(self.view.clone());
        }
        let (names, mut wans) = (self.wan_names(), self.wans.clone());
        for (name, up) in assume {
            let wan = names.iter().position(|known| known == name);
            let wan =
                wan.ok_or_else(|| format!("no WAN is called {name}; there are {}", names.join(", ")))?;
            wans.assume(now, WanId(wan as u8), *up);
            tale.step("if", format!("{name} were {}", if *up { "up" } else { "down" }));
        }
        Ok(Arc::new(views::next(&self.view, &wans, &self.links)))
    }

    /// Where the packet comes in.
    fn ingress(&self, view: &View, t: &Tuple, named: Option<&str>) -> Result<IfaceId, String> {
        if let Some(name) = named {
            let found = view.ifaces.iter().position(|iface| iface.name == name);
            return found.map(|at| IfaceId(at as u8)).ok_or_else(|| format!("no interface is called {name}"));
        }
        if let Some(inside) = view.place(t.src).behind {
            return Ok(inside);
        }
        view.own(t.dst).ok_or_else(|| {
            format!("{} is in no inside network; say by which interface it comes, with --in", t.src)
        })
    }

    fn tell_firewall(&self, view: &View, ingress: IfaceId, t: &Tuple, own: bool, tale: &mut Tale) {
        let says = match view.rules.firewall.find(ingress, t, own) {
            None => "no rule is for it".into(),
            Some(at) => {
                let accepted = view.rules.firewall.judge(ingress, t, own, Action::Accept).is_ok();
                format!("rule {} {} it", at + 1, if accepted { "accepts" } else { "refuses" })
            }
        };
        tale.step("firewall", says);
    }

    fn tell_policy(&self, view: &View, ingress: IfaceId, t: &Tuple, tale: &mut Tale) {
        let found = view.rules.policy.iter().position(|(when, _)| when.holds(ingress, t, false));
        let name = |group: u8| self.groups.list().get(usize::from(group)).map_or("?", |group| &group.name);
        tale.step(
            "policy",
            match found {
                None => "no rule is for it: group default".into(),
                Some(at) => format!("rule {}: group {}", at + 1, name(view.rules.policy[at].1)),
            },
        );
    }

    /// A worker has answered.
    pub(super) fn explained(&mut self, inquiry: &Inquiry, now: Nanos) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.id == inquiry.id) else { return };
        let waiting = &mut self.waiting[at];
        waiting.missing -= 1;
        waiting.found = waiting.found.or(inquiry.found);
        if waiting.missing > 0 {
            return;
        }
        let waiting = self.waiting.swap_remove(at);
        let answer = waiting.answer.clone();
        // Nobody may be waiting any more.
        let _ = answer.try_send(self.conclude(waiting, inquiry, now));
    }

    fn conclude(&self, waiting: Waiting, inquiry: &Inquiry, now: Nanos) -> Value {
        let Waiting { mut tale, found, target, hairpin, .. } = waiting;
        let Inquiry { view, ingress, tuple, .. } = inquiry;
        match found {
            Some(Found::Inside(explained)) => {
                self.conclude_inside(tale, view, &explained, (tuple.dst, hairpin), now)
            }
            Some(Found::Outside(outside)) => {
                if let Some(session) = &outside.session {
                    tale.step("session", self.session(session, now));
                } else if let Some(mapping) = &outside.mapping {
                    let inside = end((mapping.inside, mapping.inside_port));
                    tale.step(
                        "mapping",
                        format!("of {inside}; whether this remote is let in is up to the filter"),
                    );
                }
                match (outside.session, outside.left) {
                    (Some(_), true) => tale.dropped(DropReason::WanLeft),
                    (Some((session, _)), _) => {
                        tale.end(true, &format!("goes in to {}", end(session.inside())), None, None)
                    }
                    _ => tale.end(false, "goes in if it may answer that mapping", None, None),
                }
            }
            None => {
                let Some(target) = target else { return tale.dropped(DropReason::NatNoMapping) };
                let inside = Tuple { dst: target.inside, dst_port: target.port, ..*tuple };
                tale.step(
                    "forward",
                    format!("{} to {}", target.kind.name(), end((target.inside, target.port))),
                );
                let default = if target.kind == Kind::Forward { Action::Accept } else { Action::Drop };
                self.tell_firewall(view, *ingress, &inside, false, &mut tale);
                match view.rules.firewall.judge(*ingress, &inside, false, default) {
                    Ok(()) => tale.end(
                        true,
                        &format!("goes in to {}", end((target.inside, target.port))),
                        None,
                        None,
                    ),
                    Err(reason) => tale.dropped(reason),
                }
            }
        }
    }

    fn conclude_inside(
        &self,
        mut tale: Tale,
        view: &View,
        e: &Explained,
        (dst, hairpin): (Ipv4Addr, bool),
        now: Nanos,
    ) -> Value {
        tale.step("group", self.group(view, e.group));
        match &e.session {
            Some(session) => tale.step("session", self.session(session, now)),
            None => tale.step("session", "none yet"),
        }
        let name = e.wan.map(|wan| self.wan_name(wan).to_owned());
        let place = e.wan.map(|wan| match (e.kind, e.mapping.filter(|mapping| mapping.wan == wan)) {
            (Kind::Plain, _) => "as it is".to_owned(),
            (_, Some(mapping)) => format!("as {}", end((mapping.outside, mapping.outside_port))),
            (Kind::Masquerade, None) => match views::address(view, wan) {
                Some(address) => format!("as {address}, by a port drawn then"),
                None => format!("as an address that is {UNKNOWN}"),
            },
            (kind, None) => format!("by the {} of {}", kind.name(), self.wan_name(wan)),
        });
        if let (Some(place), Some(name)) = (&place, &name) {
            tale.step("nat", format!("{place}, on {name}"));
        }
        let goes = !hairpin && !matches!(e.fortune, Fortune::Drop(_) | Fortune::Reset(_));
        if let Some(link) = e.wan.filter(|_| goes).and_then(|wan| view.wans.get(wan.index())) {
            let hop = view.next_hop(link, dst);
            let what = match hop {
                _ if hop == dst => "on the link itself",
                _ if hop == link.gateway => "the gateway",
                _ => "by a route of the lease",
            };
            let says = if hop.is_unspecified() { UNKNOWN.to_owned() } else { format!("{hop}, {what}") };
            tale.step("next hop", says);
        }
        let by = name.as_deref().unwrap_or("-");
        let verdict = match e.fortune {
            Fortune::Drop(reason) => return tale.dropped(reason),
            Fortune::Reset(reason) => {
                let text =
                    format!("answered by a TCP reset: {} ({})", reason.meaning().trim(), reason.name());
                return tale.end(false, &text, Some(reason), None);
            }
            _ if hairpin => "comes in again, by its own outside address".to_owned(),
            Fortune::Goes => format!("leaves by {by}, in its session"),
            Fortune::Moves => format!("leaves by {by}: its session moves there"),
            Fortune::Joins => format!("leaves by {by}: a session begins on its mapping"),
            Fortune::Begins => format!("leaves by {by}: a session begins"),
        };
        tale.end(true, &verdict, None, name.as_deref())
    }

    /// How a group stands.
    fn group(&self, view: &View, group: u8) -> String {
        let Some(config) = self.groups.list().get(usize::from(group)) else {
            return "none: outside has opened it, it stays on the WAN where it was asked for".into();
        };
        let fit = |wan: WanId| view.uplinks.wans.get(wan.index()).is_some_and(|uplink| uplink.fit);
        let members = config.members.iter().map(|member| {
            let state = if fit(member.wan) { "fit" } else { "not fit" };
            format!("{} (tier {}) {state}", self.wan_name(member.wan), member.tier)
        });
        format!("{}: {}", config.name, members.collect::<Vec<_>>().join(", "))
    }

    fn session(&self, (session, root): &(Session, Root), now: Nanos) -> String {
        let idle = (tick(now).wrapping_sub(session.refreshed) as i32).max(0) / 1000;
        format!(
            "{} {} > {} as {} on {}, {}, idle {idle}s",
            protocol_name(session.protocol()),
            end(session.inside()),
            end(session.remote()),
            end(session.outside()),
            self.wan_name(session.wan()),
            root.kind.name(),
        )
    }
}
