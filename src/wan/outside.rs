//! What holds the flows that outside has opened: they are where they were asked for, whichever WAN a group chooses.
//!
//! No group has them, so no failback drains them: their WAN is left only when it is itself gone (down, by its state or by
//! the operator) while a fit WAN carries, as every group does then; TCP's grace is the default group's. Nothing of it is announced,
//! but that bonds have changed.

use serde::{Deserialize, Serialize};

use super::bonds::{Seen, Tie};
use super::config::{OnFailback, OnFailover};
use super::groups::{Group, told};
use super::state::Wan;
use super::status::Bond;
use super::types::Effect;
use crate::base::{Nanos, WanId};

/// The number that stands for no group.
pub const NO_GROUP: u8 = u8::MAX;

/// The bonds of what outside has opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outside {
    on_failover: OnFailover,
    ties: Vec<Tie>,
    /// As others read them.
    pub(super) bonds: Vec<Bond>,
}

impl Outside {
    pub(super) fn new(on_failover: OnFailover, wans: usize) -> Outside {
        Outside { on_failover, ties: vec![Tie::default(); wans], bonds: vec![Bond::default(); wans] }
    }

    pub(super) fn reconfigure(&mut self, on_failover: OnFailover) {
        self.on_failover = on_failover;
    }

    /// Brings the bonds in line with the WANs, and with the groups, which have chosen.
    pub(super) fn run(&mut self, wans: &[Wan], groups: &[Group], now: Nanos, out: &mut impl FnMut(Effect)) {
        let somewhere = wans.iter().any(|wan| wan.status.fit());
        // It never returns anywhere, so nothing of that is ever asked.
        let on_failback = OnFailback::default();
        for ((tie, wan), id) in self.ties.iter_mut().zip(wans).zip(0..=u8::MAX) {
            let id = WanId(id);
            let was = *tie;
            let seen = Seen {
                // A last resort lets in what asks for it.
                carries: wan.status.fit() || groups.iter().any(|group| group.status.carries(id)),
                gone: wan.status.gone(),
                answers: wan.answers(),
                metered: wan.metered(),
            };
            tie.settle(now, seen, (false, somewhere), (&self.on_failover, &on_failback));
            told(NO_GROUP, id, &was, tie, out);
        }
        self.show();
    }

    /// The address of a WAN has changed.
    pub(super) fn readdress(&mut self, wan: WanId, out: &mut impl FnMut(Effect)) {
        if let Some(tie) = self.ties.get_mut(wan.index()) {
            let was = *tie;
            tie.readdress(&self.on_failover);
            told(NO_GROUP, wan, &was, tie, out);
        }
        self.show();
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
    pub(super) fn due(&self, now: Nanos) -> Nanos {
        self.ties.iter().map(Tie::due).filter(|at| *at > now).min().unwrap_or(Nanos::NEVER)
    }

    fn show(&mut self) {
        self.bonds.clear();
        self.bonds.extend(self.ties.iter().map(|tie| tie.bond));
    }
}
