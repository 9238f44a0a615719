//! One member of a pair, driven: what is heard of the partner and of this member's own lines goes into its machine (`cluster::Pair`), and what
//! comes out is done, in its order. What must be on disk before the partner hears of it holds up the beat, until it is there.
//! `talk` has what goes between the members, `roles` what a role changes in the router.

use std::collections::VecDeque;

use serde_json::json;

use super::copying::Copying;
use super::keeping::Keeper;
use super::status_http::{Endpoint, Place, Truth};
use super::{Manager, hooks, roles};
use crate::base::{IfaceId, Mac, Nanos};
use crate::cluster::{
    Beat, Config, Effect, Event, Failback, Fitness, FitnessView, Hearing, Identity, Input, Kept, Key, Known,
    Name, Pair, Refused, Status,
};
use crate::profile::Cluster;

/// A fitter partner gets the role after so long, while there is a WAN here: both may be about to lose the same line.
const SETTLE: Nanos = Nanos::from_s(2);

/// What the partner is to hear of waits for the disk so long at most.
const DISK: Nanos = Nanos::from_ms(500);

/// What a member brings with it when its router starts.
#[derive(Debug)]
pub struct Joining {
    /// What both sign with
    pub key: Key,
    /// What an earlier run has kept
    pub kept: Option<Kept>,
    /// Grows with every start (`Kept::next_boot`)
    pub boot: u64,
    /// Who keeps; `None`: nobody, what is to be kept counts as kept
    pub keeper: Option<Keeper>,
    /// Workers
    pub workers: usize,
    /// Where others are told whether it serves; `None`: nowhere
    pub endpoint: Option<Endpoint>,
}

/// The member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) pair: Pair,
    pub(super) hearing: Hearing,
    pub(super) key: Key,
    pub(super) keeper: Option<Keeper>,
    pub(super) copying: Copying,
    /// `copies_refused` when the copy that there is was begun
    pub(super) refused_before: u64,
    /// So many orders are with the disk, the first of them since
    pub(super) keeping: Option<(usize, Nanos)>,
    /// What to say when it has them
    pub(super) unsaid: Option<Beat>,
    pub(super) beat: Option<Beat>,
    pub(super) sequence: u64,
    /// A new train is wanted then
    pub(super) train_due: Nanos,
    /// By path
    pub(super) macs: Vec<Option<Mac>>,
    /// By path: when it brought something last
    pub(super) heard: Vec<Option<Nanos>>,
    pub(super) look_due: Nanos,
    pub(super) fitness: Fitness,
    pub(super) synced: bool,
    /// By interface
    pub(super) links: Vec<Known>,
    /// When the links are told again
    pub(super) calls: VecDeque<Nanos>,
    /// It takes in what is sent to the virtual MACs until then, after it has let go
    pub(super) former: Option<Nanos>,
    pub(super) active: bool,
    pub(super) status: Status,
    pub(super) endpoint: Option<Endpoint>,
}

/// What the machine goes by.
pub(super) fn config(cluster: &Cluster) -> Config {
    let failback = Failback { automatic: cluster.failback.automatic, after: cluster.failback.after };
    Config { every: cluster.every, timeout: cluster.timeout, settle: SETTLE, failback, hash: cluster.hash }
}

impl Member {
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// The partner is heard, and could serve.
    pub(super) fn partner_serves(&self) -> bool {
        self.pair.live().is_some_and(|partner| partner.fitness.fit())
    }
}

impl Manager {
    /// This router is a member of a pair from now on, as its profile says.
    pub fn join(&mut self, joining: Joining, now: Nanos) {
        let Some(cluster) = self.profile.cluster.clone() else { return };
        let Joining { key, kept, boot, keeper, workers, endpoint } = joining;
        let (name, partner) = (Name::cut(&cluster.member), Name::cut(&cluster.partner));
        // There are 128 at most.
        let count = u8::try_from(workers).unwrap_or(u8::MAX);
        let who =
            Identity { name, partner, software: Name::cut(env!("CARGO_PKG_VERSION")), boot, workers: count };
        let fitness = Fitness::of([Known::Unknown], [(1, Known::Unknown)], []);
        let mut effects = Vec::new();
        let preferred = Name::cut(&cluster.preferred);
        let out = &mut |effect| effects.push(effect);
        let pair = Pair::new(who, config(&cluster), preferred, kept, fitness, now, out);
        self.member = Some(Box::new(Member {
            pair,
            hearing: Hearing::new(key.clone(), partner),
            copying: Copying::new(key.clone(), boot, workers),
            refused_before: 0,
            key,
            keeper,
            keeping: None,
            unsaid: None,
            beat: None,
            sequence: 0,
            train_due: Nanos::NEVER,
            macs: vec![None; cluster.paths.len()],
            heard: vec![None; cluster.paths.len()],
            look_due: now,
            fitness,
            synced: false,
            links: vec![Known::Unknown; self.view.ifaces.len()],
            calls: VecDeque::new(),
            former: None,
            active: false,
            status: Status::default(),
            endpoint,
        }));
        self.probing_changed();
        effects.into_iter().for_each(|effect| self.member_effect(now, effect));
    }

    /// What another profile says of the pair.
    pub(super) fn reconfigure_member(&mut self, now: Nanos, before: Option<&Cluster>) {
        let (Some(member), Some(cluster)) = (&mut self.member, &self.profile.cluster) else { return };
        if before == Some(cluster) {
            return;
        }
        if before.is_none_or(|before| before.paths != cluster.paths) {
            let paths = cluster.paths.len();
            (member.macs, member.heard, member.look_due) = (vec![None; paths], vec![None; paths], now);
        }
        let config = config(cluster);
        // Only the operator's word is ever refused.
        let _ = self.member_input(now, Input::Config { config });
        self.probing_changed();
        self.send_train(now, true);
    }

    /// The link of an interface was spoken of.
    pub(super) fn member_link(&mut self, iface: IfaceId, up: bool) {
        let known = self.member.as_mut().and_then(|member| member.links.get_mut(iface.index()));
        known.into_iter().for_each(|known| *known = if up { Known::Up } else { Known::Down });
    }

    /// Lets the machine take something in, and does what follows.
    pub(super) fn member_input(&mut self, now: Nanos, input: Input) -> Result<(), Refused> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let mut effects = Vec::new();
        member.pair.step(now, input, &mut |effect| effects.push(effect))?;
        effects.into_iter().for_each(|effect| self.member_effect(now, effect));
        if self.view.partner != self.partner_way() {
            self.publish();
        }
        Ok(())
    }

    fn member_effect(&mut self, now: Nanos, effect: Effect) {
        let Some(member) = &mut self.member else { return };
        match effect {
            Effect::Keep { kept } => match member.keeper.as_ref().map(|keeper| keeper.keep(kept)) {
                Some(true) => {
                    let (orders, since) = member.keeping.unwrap_or((0, now));
                    member.keeping = Some((orders + 1, since));
                }
                Some(false) => self.not_kept(now, "nobody writes any more"),
                None => {}
            },
            Effect::Take { .. } | Effect::Release { .. } => {
                let take = matches!(effect, Effect::Take { .. });
                let before = self.applied(&self.profile);
                if let Some(member) = &mut self.member {
                    member.active = take;
                    member.former = (!take).then_some(now + roles::FORMER);
                    member.calls =
                        if take { roles::AGAIN.map(|span| now + span).into() } else { VecDeque::new() };
                    if take { member.copying.take(now) } else { member.copying.release(now) }
                }
                self.change_role(now, &before);
            }
            // The role itself waits for no disk.
            Effect::Send { beat } if member.keeping.is_some() => member.unsaid = Some(beat),
            Effect::Send { beat } => {
                member.beat = Some(beat);
                self.send_train(now, true);
            }
            Effect::Status { status } => {
                member.status = status;
                self.show_status();
            }
            Effect::Event { event } => self.member_event(now, event),
        }
    }

    fn member_event(&mut self, now: Nanos, event: Event) {
        match event {
            Event::Role { from, to, cause } => {
                let pair = self.member.as_ref().map(|member| &member.pair);
                let own = pair.map(|pair| FitnessView::from(pair.beat().fitness));
                let partner = pair.and_then(Pair::live).map(|partner| FitnessView::from(partner.fitness));
                let fields = json!({
                    "from": from, "to": to, "cause": cause, "fitness": own, "partner_fitness": partner,
                });
                self.event(now, hooks::ROLE, fields);
            }
            other => {
                let mut fields = json!(other);
                // It stands in the event's kind.
                let what = fields.as_object_mut().and_then(|fields| fields.remove("event"));
                if let (Some(what), Some(fields)) = (what, fields.as_object_mut()) {
                    fields.insert("what".into(), what);
                }
                self.event(now, "cluster", fields);
            }
        }
    }

    /// Lets the member's time pass: after all that has come in.
    pub(super) fn member_step(&mut self, now: Nanos) {
        if self.member.is_none() {
            return;
        }
        self.end_former(now);
        self.hear_keeper(now);
        self.keep_endpoint(now);
        self.look_for_partner(now);
        self.copy_sessions(now);
        self.judge_fitness(now);
        let Some(member) = &mut self.member else { return };
        let synced = member.copying.synced();
        if synced != std::mem::replace(&mut member.synced, synced) {
            // Only the operator's word is ever refused; so below.
            let _ = self.member_input(now, Input::Synced { synced });
        }
        if self.member.as_ref().is_some_and(|member| now >= member.pair.next_deadline()) {
            let _ = self.member_input(now, Input::Tick);
        }
        let Some(member) = &mut self.member else { return };
        if now >= member.train_due {
            self.send_train(now, false);
        }
        let Some(member) = &mut self.member else { return };
        if member.calls.front().is_some_and(|at| now >= *at) {
            member.calls.pop_front();
            self.call_all(now);
        }
    }

    /// How the disk fares. What waits for it longer than `DISK` is said all the same: a partner that hears the past for long decides by it.
    fn hear_keeper(&mut self, now: Nanos) {
        let ended = |member: &mut Box<Member>| {
            let ended = member.keeper.as_ref()?.ended()?;
            let left = member.keeping.map_or(0, |(orders, _)| orders.saturating_sub(1));
            member.keeping = (left > 0).then_some((left, now));
            Some(ended)
        };
        while let Some(ended) = self.member.as_mut().and_then(ended) {
            if let Err(why) = ended {
                self.not_kept(now, &why);
            }
        }
        let Some(member) = &mut self.member else { return };
        if member.keeping.take_if(|(_, since)| now >= *since + DISK).is_some() {
            self.not_kept(now, "the disk does not answer");
        }
        let Some(member) = &mut self.member else { return };
        if let Some(beat) = member.unsaid.take_if(|_| member.keeping.is_none()) {
            member.beat = Some(beat);
            self.send_train(now, true);
        }
    }

    /// Without a disk a member goes on: nobody would have the role otherwise.
    fn not_kept(&mut self, now: Nanos, why: &str) {
        self.event(now, "cluster", json!({ "what": "not_kept", "error": why }));
    }

    /// Who asks there is answered from now on, if this router is a member of a pair.
    pub fn answer_at(&mut self, endpoint: Endpoint) {
        if let Some(member) = &mut self.member {
            member.endpoint = Some(endpoint);
            self.show_status();
        }
    }

    /// Tells the endpoint what it is to answer.
    fn show_status(&self) {
        let Some(member) = &self.member else { return };
        if let Some(endpoint) = &member.endpoint {
            let Status { serves, reasons } = member.status;
            let name = member.pair.beat().name.to_string();
            endpoint.board().say(Truth { serves, name, role: member.pair.role(), reasons });
        }
    }

    /// The endpoint is where the profile wants it, and knows that this thread lives.
    fn keep_endpoint(&mut self, now: Nanos) {
        let Some(endpoint) = self.member.as_mut().and_then(|member| member.endpoint.as_mut()) else { return };
        endpoint.board().stepped(now);
        if let Err(e) = endpoint.follow(Place::of(&self.profile)) {
            self.event(now, "cluster", json!({ "what": "no_status_endpoint", "error": e.to_string() }));
        }
    }

    /// How well this member could serve, as far as it knows.
    fn judge_fitness(&mut self, now: Nanos) {
        let Some(member) = &self.member else { return };
        let fitness = self.fitness(&member.links, now);
        if let Some(member) = self.member.as_mut().filter(|member| member.fitness != fitness) {
            member.fitness = fitness;
            let _ = self.member_input(now, Input::Fitness { fitness });
        }
    }
}
