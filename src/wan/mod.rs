//! The WANs: probes, detector, state machine, selection. All of it pure: (state, input, now) -> effects.
//!
//! No clock, no thread, no I/O: the caller hands in what happened and when, and does what comes out. The same inputs at
//! the same times give the same effects in the same order, so a journal of inputs replays every decision.
//!
//! - A lost link is a down at once. A silent gateway is a down after `failures` lost probes in a row, and with `T` for
//!   `arp_every` it is decided between `failures * T` and `(failures + 1) * T` after the silence begins, never later
//!   than `(failures + 1) * T` after the last reply: 1.0 s with the defaults. What adds to it: the lateness of
//!   the last tick, what a probe leaves later than `T / 2` after it was asked for, and rounds in which none left.
//! - At the start one good round makes a WAN up; after a down it takes `successes` and `stable`.
//! - The first fit WAN in order carries. A failover leaves the WANs that are down; a failback leaves nothing.
//! - Selection, standings and epochs change in one `step`, hence in one published view.
#![forbid(unsafe_code)]

mod detector;
mod select;
mod state;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_select;
#[cfg(test)]
mod tests_sim;

pub use types::{
    Admin, Cause, Effect, Health, Input, Kind, Reason, Refused, Selection, Standing, StandingChange, State,
    StateChange, WanStatus,
};

use crate::base::{Nanos, WanId};
use select::Selector;
use state::Wan;

/// All WANs of a router, in order of preference.
#[derive(Clone, Debug)]
pub struct Wans {
    wans: Vec<Wan>,
    selector: Selector,
    now: Nanos,
}

impl Wans {
    /// One WAN for each of `health`, the preferred first; beyond 256 they are cut off. The first probes are due at once.
    pub fn new(health: Vec<Health>, now: Nanos) -> Wans {
        let wans = health.into_iter().zip(0..=u8::MAX);
        let wans = wans.map(|(health, id)| Wan::new(WanId(id), health, now)).collect();
        Wans { wans, selector: Selector::default(), now }
    }

    /// Takes in what happened and hands out what follows from it. A `wan` that does not exist is ignored.
    ///
    /// Only `Tick` judges probes, so hand in everything that has arrived before it.
    ///
    /// # Errors
    /// `Refused` for an override that is not taken; nothing has changed then.
    pub fn step(&mut self, now: Nanos, input: Input, out: &mut impl FnMut(Effect)) -> Result<(), Refused> {
        // neither time nor a stamp may run ahead of what the others have seen
        self.now = self.now.max(now);
        let now = self.now;
        let mut operator = false;
        match input {
            Input::Link { wan, up } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.link(now, up, out);
                }
            }
            Input::ProbeSent { wan, at } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.sent(at.min(now));
                }
            }
            Input::ProbeReply { wan, at } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.reply(now, at.min(now), out);
                }
            }
            Input::Admin { wan, admin, force } => {
                self.set_admin(wan, admin, force, out)?;
                operator = true;
            }
            Input::Tick => self.wans.iter_mut().for_each(|wan| wan.tick(now, out)),
        }
        self.selector.run(&mut self.wans, now, operator, out);
        Ok(())
    }

    fn set_admin(
        &mut self,
        id: WanId,
        admin: Admin,
        force: bool,
        out: &mut impl FnMut(Effect),
    ) -> Result<(), Refused> {
        let fit = self.wans.iter().filter(|wan| wan.status.fit()).count();
        let sending = self.wans.iter().filter(|wan| wan.status.sends()).count();
        let Some(wan) = self.wans.get_mut(id.index()) else { return Ok(()) };
        let last = match admin {
            Admin::Auto => false,
            Admin::Drain => fit == 1 && wan.status.fit(),
            // A drained one still carries what it has.
            Admin::Down => (fit == 1 && wan.status.fit()) || (sending == 1 && wan.status.sends()),
        };
        if last && !force {
            return Err(Refused::LastFit);
        }
        let from = std::mem::replace(&mut wan.status.admin, admin);
        if from != admin {
            out(Effect::Admin { wan: id, from, to: admin });
        }
        Ok(())
    }

    /// When the next `Tick` is wanted; `Nanos::NEVER` while every link is down.
    pub fn next_deadline(&self) -> Nanos {
        self.wans.iter().map(Wan::due).min().unwrap_or(Nanos::NEVER)
    }

    /// How `wan` is and stands.
    ///
    /// # Panics
    /// If `wan` is not one of those that `new` was given.
    pub fn get(&self, wan: WanId) -> &WanStatus {
        &self.wans[wan.index()].status
    }

    /// All WANs in order of preference.
    pub fn iter(&self) -> impl Iterator<Item = (WanId, &WanStatus)> {
        self.wans.iter().zip(0..=u8::MAX).map(|(wan, id)| (WanId(id), &wan.status))
    }

    /// The WAN that new sessions go to.
    pub fn carrying(&self) -> Option<WanId> {
        self.selector.carrying()
    }
}
