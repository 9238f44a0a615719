//! A group at work: a selection, and the standings and bonds that follow from it, in one step.
//!
//! All that a step changes is told in order: the selection, then each standing. A change is told once: who carries, and
//! whether only as a last resort, is compared with what was told before.

use serde::{Deserialize, Serialize};

use super::bonds::{Seen, Tie};
use super::config::GroupConfig;
use super::select::{Choice, Scene};
use super::state::Wan;
use super::status::{GroupStatus, State, WanStatus};
use super::types::{Admin, Cause, Effect, Kind, Selection, StandingChange};
use crate::base::{Nanos, WanId};

/// One group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    id: u8,
    pub(super) config: GroupConfig,
    ties: Vec<Tie>,
    choice: Choice,
    /// The carrier of now, or the last one before an outage.
    last: Option<WanId>,
    /// Not every member has been judged yet.
    starting: bool,
    /// As others read it.
    pub(super) status: GroupStatus,
}

impl Group {
    pub(super) fn new(id: u8, config: GroupConfig, wans: usize) -> Group {
        let ties = vec![Tie::default(); wans];
        let mut group = Group {
            id,
            config,
            ties,
            choice: Choice::default(),
            last: None,
            starting: true,
            status: GroupStatus::default(),
        };
        group.show();
        group
    }

    /// Brings selection, standings and bonds in line. `operator` says that the operator is why.
    pub(super) fn run(&mut self, wans: &[Wan], now: Nanos, operator: bool, out: &mut impl FnMut(Effect)) {
        let scene = self.scene(wans, now);
        let to = scene.choose(&self.choice);
        let judged = !scene.unjudged();
        let mut returned = false;
        if to != self.choice {
            let selection = self.describe(wans, &to, now, operator);
            returned = returns(&scene, &selection);
            self.choice = to;
            self.last = self.choice.carrying.first().map(|(id, _)| *id).or(self.last);
            out(Effect::Selected(selection));
        }
        self.starting &= !judged;
        let somewhere = !self.choice.resort && !self.choice.carrying.is_empty();
        for ((tie, wan), id) in self.ties.iter_mut().zip(wans).zip(0..=u8::MAX) {
            let wan_id = WanId(id);
            let was = *tie;
            let seen = Seen {
                carries: self.choice.has(wan_id),
                gone: wan.status.gone(),
                answers: wan.answers(),
                metered: wan.metered(),
            };
            let fates = (&self.config.on_failover, &self.config.on_failback);
            tie.settle(now, seen, (returned, somewhere), fates);
            told(self.id, wan_id, &was, tie, out);
        }
        self.show();
    }

    /// The address of a WAN has changed.
    pub(super) fn readdress(&mut self, wan: WanId, out: &mut impl FnMut(Effect)) {
        if let Some(tie) = self.ties.get_mut(wan.index()) {
            let was = *tie;
            tie.readdress(&self.config.on_failover);
            told(self.id, wan, &was, tie, out);
        }
    }

    /// A WAN has lost its address: it is left in this step, wherever there is to go.
    pub(super) fn disown(&mut self, wan: WanId) {
        self.ties.iter_mut().skip(wan.index()).take(1).for_each(Tie::disown);
    }

    /// TCP that is on `wan` is not left yet, though the rest is.
    pub(super) fn holds(&self, wan: WanId) -> bool {
        self.ties.get(wan.index()).is_some_and(Tie::holds)
    }

    /// When time alone will change something, at the earliest.
    pub(super) fn due(&self, wans: &[Wan], now: Nanos) -> Nanos {
        let scene = self.scene(wans, now);
        let ties = self.ties.iter().map(Tie::due).filter(|at| *at > now);
        ties.min().unwrap_or(Nanos::NEVER).min(scene.due(&self.choice))
    }

    fn scene<'a>(&'a self, wans: &'a [Wan], now: Nanos) -> Scene<'a> {
        Scene { config: &self.config, wans, now, starting: self.starting, fresh: self.last.is_none() }
    }

    fn show(&mut self) {
        self.status.carrying.clone_from(&self.choice.carrying);
        self.status.resort = self.choice.resort;
        self.status.bonds.clear();
        self.status.bonds.extend(self.ties.iter().map(|tie| tie.bond));
        self.status.standings.clear();
        self.status.standings.extend(self.ties.iter().map(|tie| tie.standing));
    }

    fn describe(&self, wans: &[Wan], new: &Choice, now: Nanos, operator: bool) -> Selection {
        let first_not_in = |a: &Choice, b: &Choice| a.carrying.iter().map(|c| c.0).find(|id| !b.has(*id));
        let first = |choice: &Choice| choice.carrying.first().map(|(id, _)| *id);
        let from = first_not_in(&self.choice, new).or(first(&self.choice)).or(self.last);
        let to = first_not_in(new, &self.choice).or(first(new));
        let status = |id: Option<WanId>| id.and_then(|id| wans.get(id.index())).map(|wan| &wan.status);
        let (was, is) = (status(from), status(to));
        let outage = self.choice.resort || self.choice.carrying.is_empty();
        let kind = match (was, is) {
            (_, None) => Kind::Lost,
            _ if new.resort => Kind::Resort,
            (None, _) => Kind::Initial,
            _ if outage && from == to => Kind::Resumed,
            (Some(was), Some(is)) => between(was, is),
        };
        let (subject, operator) = match kind {
            Kind::Initial | Kind::Failback | Kind::Resumed => (is, operator),
            Kind::Failover | Kind::Handover | Kind::Lost | Kind::Resort => {
                (was.or(is), was.is_some_and(|was| was.state.is_up() && was.admin != Admin::Auto))
            }
        };
        Selection {
            group: self.id,
            from,
            to,
            carrying: new.carrying.iter().map(|(id, _)| *id).collect(),
            kind,
            cause: if operator { Cause::Operator } else { subject.map_or(Cause::Operator, |wan| wan.reason) },
            last_ok: subject.and_then(|wan| wan.last_ok),
            detected: now,
            evidence: subject.filter(|_| !operator).map(|wan| wan.evidence.clone()).unwrap_or_default(),
        }
    }
}

/// The kind of a change from one WAN to another.
fn between(was: &WanStatus, is: &WanStatus) -> Kind {
    match was.admin {
        Admin::Auto if was.state == State::Degraded && is.state == State::Up => Kind::Handover,
        Admin::Auto if was.state.is_up() => Kind::Failback,
        Admin::Drain if was.state.is_up() => Kind::Handover,
        _ => Kind::Failover,
    }
}

/// Whether a group leaves a fit WAN for one of a better tier.
fn returns(scene: &Scene<'_>, selection: &Selection) -> bool {
    let (Some(from), Some(to)) = (selection.from, selection.to) else { return false };
    let fit = scene.wans.get(from.index()).is_some_and(|wan| wan.status.fit());
    fit && scene.tier(to) < scene.tier(from)
}

pub(super) fn told(group: u8, wan: WanId, was: &Tie, tie: &Tie, out: &mut impl FnMut(Effect)) {
    if (was.standing, was.bond) != (tie.standing, tie.bond) {
        let (from, to, bond) = (was.standing, tie.standing, tie.bond);
        out(Effect::Standing(StandingChange { group, wan, from, to, bond }));
    }
}
