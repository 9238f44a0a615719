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

mod bonds;
mod config;
mod gateway;
mod groups;
mod reasons;
mod select;
mod state;
mod status;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_select;
#[cfg(test)]
mod tests_sim;

pub use config::{
    Config, Degraded, Failback, Fate, GroupConfig, Health, Member, Mode, NoneFit, OnFailback, OnFailover,
    Target, TargetKind, TcpFate,
};
pub use status::{Bond, GroupStatus, Standing, State, TargetStatus, WanStatus};
pub use types::{
    Admin, BfdSays, Cause, Effect, Evidence, Input, Kind, Probe, Reason, Refused, Selection, StandingChange,
    StateChange,
};

use serde::{Deserialize, Serialize};

use crate::base::{Nanos, WanId};
use groups::Group;
use state::Wan;

/// All WANs of a router, and the groups that choose among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wans {
    wans: Vec<Wan>,
    groups: Vec<Group>,
    now: Nanos,
}

impl Wans {
    /// The WANs and groups of `config`; what is beyond 256 and 64 is cut off. The first probes are due at once.
    pub fn new(config: Config, now: Nanos) -> Wans {
        let wans: Vec<Wan> =
            config.wans.into_iter().zip(0..=u8::MAX).map(|(h, id)| Wan::new(WanId(id), h, now)).collect();
        let mut groups = config.groups;
        if groups.is_empty() {
            groups.push(GroupConfig::plain(wans.len()));
        }
        let groups = groups.into_iter().take(Config::GROUPS).zip(0..=u8::MAX);
        let groups = groups.map(|(group, id)| Group::new(id, group, wans.len())).collect();
        Wans { wans, groups, now }
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
            Input::ProbeSent { wan, at, .. } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.sent(at.min(now));
                }
            }
            Input::ProbeReply { wan, at, .. } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.reply(now, at.min(now), out);
                }
            }
            Input::Bfd { .. } | Input::Silence { .. } => {}
            Input::Address { wan } => self.groups.iter_mut().for_each(|group| group.readdress(wan, out)),
            Input::Admin { wan, admin, force } => {
                self.set_admin(wan, admin, force, out)?;
                operator = true;
            }
            Input::Tick => self.wans.iter_mut().for_each(|wan| wan.tick(now, out)),
        }
        for group in &mut self.groups {
            group.run(&self.wans, now, operator, out);
        }
        for (wan, id) in self.wans.iter_mut().zip(0..=u8::MAX) {
            let id = WanId(id);
            let carriers = || self.groups.iter().filter(|group| group.status.carries(id));
            wan.status.carrying = carriers().next().is_some();
            wan.status.resort = carriers().any(|group| group.status.resort);
            wan.status.holds = self.groups.iter().any(|group| group.holds(id));
        }
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
        let wans = self.wans.iter().map(Wan::due);
        let groups = self.groups.iter().map(|group| group.due(&self.wans, self.now));
        wans.chain(groups).min().unwrap_or(Nanos::NEVER)
    }

    /// Another `config` from now on, of the same WANs; groups are those of the same number, and there may be more of them.
    /// States, standings and bonds stay.
    pub fn reconfigure(&mut self, now: Nanos, config: Config, out: &mut impl FnMut(Effect)) {
        let _ = (now, config, out);
    }

    /// As if a WAN were up, or down, from now on: for questions, asked of a copy.
    pub fn assume(&mut self, now: Nanos, wan: WanId, up: bool) {
        let Some(assumed) = self.wans.get_mut(wan.index()) else { return };
        assumed.status.state = if up { State::Up } else { State::Down };
        assumed.status.admin = Admin::Auto;
        // For long enough that a group would return to it.
        assumed.status.since = Nanos::ZERO;
        for group in &mut self.groups {
            group.run(&self.wans, now, false, &mut |_| ());
        }
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

    /// How a group stands; one without anything if there is no such group.
    pub fn group(&self, group: u8) -> &GroupStatus {
        static NONE: GroupStatus = GroupStatus::none();
        self.groups.get(usize::from(group)).map_or(&NONE, |group| &group.status)
    }

    /// All groups, the default one first.
    pub fn groups(&self) -> impl Iterator<Item = &GroupStatus> {
        self.groups.iter().map(|group| &group.status)
    }

    /// The WAN that new sessions of the default group go to, or the first of them.
    pub fn carrying(&self) -> Option<WanId> {
        self.group(0).carrying.first().map(|(id, _)| *id)
    }
}
