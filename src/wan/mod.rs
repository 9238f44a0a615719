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

mod bfd;
mod blame;
mod bonds;
mod book;
mod change;
mod config;
mod confirm;
pub mod dhcp;
mod flap;
mod gateway;
mod groups;
mod hear;
mod outside;
mod quality;
mod reasons;
mod run;
mod samples;
mod select;
mod sensor;
mod signs;
mod state;
mod status;
mod targets;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_bfd;
#[cfg(test)]
mod tests_groups;
#[cfg(test)]
mod tests_lease;
#[cfg(test)]
mod tests_lines;
#[cfg(test)]
mod tests_referee;
#[cfg(test)]
mod tests_rig;
#[cfg(test)]
mod tests_select;
#[cfg(test)]
mod tests_sim;
#[cfg(test)]
mod tests_targets;
#[cfg(test)]
mod tests_witness;

pub use bfd::{Bfd, BfdConfig, BfdOut};
pub use config::{
    Config, Degraded, Failback, Fate, GroupConfig, Health, Member, Mode, NoneFit, OnFailback, OnFailover,
    Target, TargetKind, TcpFate,
};
pub use outside::NO_GROUP;
pub use sensor::Sensor;
pub use status::{Bond, GroupStatus, Standing, State, TargetStatus, WanStatus};
pub use types::{
    Admin, BfdSays, Cause, Effect, Evidence, Input, Kind, Probe, Reason, Reconfigured, Refused, Selection,
    StandingChange, StateChange,
};

use serde::{Deserialize, Serialize};

use crate::base::{Nanos, WanId};
use book::Book;
use groups::Group;
use outside::Outside;
use state::Wan;

/// A tick that comes so much later than it was due: the machine was suspended, or the management thread stood still. What was
/// asked before may have been answered unheard.
const GAP: Nanos = Nanos::from_ms(500);

/// All WANs of a router, and the groups that choose among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wans {
    wans: Vec<Wan>,
    groups: Vec<Group>,
    outside: Outside,
    book: Book,
    now: Nanos,
}

impl Wans {
    /// The WANs and groups of `config`; what is beyond 256 and 64 is cut off. The first probes are due at once.
    pub fn new(config: Config, now: Nanos) -> Wans {
        let mut book = Book::default();
        let wans = config.wans.into_iter().zip(0..=u8::MAX);
        let wans: Vec<Wan> = wans.map(|(health, id)| Wan::new(WanId(id), health, &mut book, now)).collect();
        let mut groups = config.groups;
        if groups.is_empty() {
            groups.push(GroupConfig::plain(wans.len()));
        }
        let on_failover = groups.first().map(|group| group.on_failover).unwrap_or_default();
        let outside = Outside::new(on_failover, wans.len());
        let groups = groups.into_iter().take(Config::GROUPS).zip(0..=u8::MAX);
        let groups = groups.map(|(group, id)| Group::new(id, group, wans.len())).collect();
        Wans { wans, groups, outside, book, now }
    }

    /// Takes in what happened and hands out what follows from it. A `wan` that does not exist is ignored.
    ///
    /// Only `Tick` judges probes, so hand in everything that has arrived before it. One that is late by `GAP` judges none of those
    /// that are out: they are asked anew.
    ///
    /// # Errors
    /// `Refused` for an override that is not taken; nothing has changed then.
    pub fn step(&mut self, now: Nanos, input: Input, out: &mut impl FnMut(Effect)) -> Result<(), Refused> {
        // neither time nor a stamp may run ahead of what the others have seen
        self.now = self.now.max(now);
        let now = self.now;
        let operator = matches!(input, Input::Admin { .. });
        self.take(now, input, out)?;
        self.blame(now, out);
        self.rescue(now, out);
        self.conclude(now, operator, out);
        Ok(())
    }

    fn take(&mut self, now: Nanos, input: Input, out: &mut impl FnMut(Effect)) -> Result<(), Refused> {
        let gap = now.since(self.next_deadline().min(now));
        let book = &mut self.book;
        match input {
            Input::Tick => {
                if gap >= GAP {
                    self.wans.iter_mut().for_each(|wan| wan.skip(now, gap));
                }
                self.wans.iter_mut().for_each(|wan| wan.tick(now, book, out));
            }
            Input::Admin { wan, admin, force } => self.set_admin(wan, admin, force, out)?,
            Input::Address { wan } => {
                self.groups.iter_mut().for_each(|group| group.readdress(wan, out));
                self.outside.readdress(wan, out);
            }
            Input::Lease { wan, held } => {
                let id = wan;
                let Some(wan) = self.wans.get_mut(wan.index()) else { return Ok(()) };
                if wan.lease(now, held, book, out) && !held {
                    self.groups.iter_mut().for_each(|group| group.disown(id));
                    self.outside.disown(id);
                }
            }
            Input::Link { wan, up } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.link(now, up, book, out);
                }
            }
            Input::Bfd { wan, says } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.bfd(now, says, book, out);
                }
            }
            Input::Silence { wan } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.silence(now, book, out);
                }
            }
            Input::ProbeSent { wan, probe, round, at } => {
                if let Some(wan) = self.wans.get_mut(wan.index()) {
                    wan.sent(probe, round, at.min(now), book);
                }
            }
            Input::ProbeReply { wan, probe, round, at } => {
                let Some(wan) = self.wans.get_mut(wan.index()) else { return Ok(()) };
                if let Some(id) = wan.reply(now, (probe, round, at.min(now)), book, out) {
                    self.wans.iter_mut().for_each(|wan| wan.acquit(id));
                }
            }
        }
        Ok(())
    }

    /// Takes down WANs whose targets are silent, unless these are to blame.
    fn blame(&mut self, now: Nanos, out: &mut impl FnMut(Effect)) {
        for index in 0..self.wans.len() {
            let Some(wan) = self.wans.get(index).filter(|wan| wan.failing(&self.book)) else { continue };
            let verdict = blame::judge(wan, &self.wans, &self.book);
            match verdict {
                blame::Verdict::Open => {}
                blame::Verdict::Wan => {
                    if let Some(wan) = self.wans.get_mut(index) {
                        wan.condemn(now, &self.book, out);
                    }
                }
                blame::Verdict::Targets(ids) => {
                    for id in &ids {
                        self.book.blame(*id);
                        self.wans.iter_mut().for_each(|wan| wan.acquit(*id));
                    }
                    let name = |id: usize| self.book.target(id).map(|target| target.name.clone());
                    out(Effect::Blamed { targets: ids.into_iter().filter_map(name).collect() });
                }
            }
        }
    }

    /// While no WAN is fit, one that answers well enough does not wait.
    fn rescue(&mut self, now: Nanos, out: &mut impl FnMut(Effect)) {
        if !self.wans.iter().any(|wan| wan.status.fit()) {
            self.wans.iter_mut().any(|wan| wan.early(now, &self.book, out));
        }
    }

    /// What the groups' choices make of each WAN.
    fn settle(&mut self, now: Nanos) {
        let troubles = self.wans.iter().filter(|wan| wan.in_trouble(&self.book)).count();
        for (wan, id) in self.wans.iter_mut().zip(0..=u8::MAX) {
            let id = WanId(id);
            let carriers = || self.groups.iter().filter(|group| group.status.carries(id));
            wan.status.carrying = carriers().next().is_some();
            wan.status.resort = carriers().any(|group| group.status.resort);
            wan.status.holds = self.outside.holds(id) || self.groups.iter().any(|group| group.holds(id));
            let calm = troubles == usize::from(wan.in_trouble(&self.book));
            wan.pace(now, calm && !wan.status.carrying);
        }
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
        wans.chain(groups).chain([self.outside.due(self.now)]).min().unwrap_or(Nanos::NEVER)
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

    /// What holds those flows to their WANs that outside has opened, by `WanId`.
    pub fn outside(&self) -> &[Bond] {
        &self.outside.bonds
    }

    /// The WAN that new sessions of the default group go to, or the first of them.
    pub fn carrying(&self) -> Option<WanId> {
        self.group(0).carrying.first().map(|(id, _)| *id)
    }
}
