//! What one WAN takes in besides time: its link, its BFD session, silence, and what becomes of probes.
//!
//! A lost link, or a lost lease, ends all rounds and forgets all rows; one that comes begins anew. Replies are judged when they come, losses at a
//! tick. While a silent WAN is found out about, an answer of one that decides clears it.

use super::book::Book;
use super::confirm::{Confirm, Turn};
use super::gateway::Sign;
use super::state::Wan;
use super::status::State;
use super::types::{BfdSays, Effect, Probe, Reason};
use crate::base::Nanos;

impl Wan {
    pub(super) fn link(&mut self, now: Nanos, up: bool, book: &Book, out: &mut impl FnMut(Effect)) {
        let was = self.status.link.replace(up);
        if was == Some(up) {
            return;
        }
        self.link_since = Some(now);
        out(Effect::Link { wan: self.id, up });
        if !up {
            self.hush();
            self.change(now, State::Down, Reason::LinkLost, book, out);
        } else if !self.leased {
            self.change(now, State::Down, Reason::NoLease, book, out);
        } else if was == Some(false) {
            self.gateway.start(now);
            self.targets.start(now);
        }
    }

    /// Nobody is asked any more, and nothing counts of what was.
    pub(super) fn hush(&mut self) {
        self.gateway.stop();
        self.targets.stop();
        self.by_gateway.clear();
        self.by_targets.clear();
        self.mute_rounds = 0;
    }

    /// It has an address from now on, or has none any more. With its first one it is as at the start: one good round is enough.
    /// Gives whether that is news.
    pub(super) fn lease(
        &mut self,
        now: Nanos,
        held: bool,
        book: &Book,
        out: &mut impl FnMut(Effect),
    ) -> bool {
        if !self.health.dhcp || std::mem::replace(&mut self.leased, held) == held {
            return false;
        }
        if !held {
            self.hush();
            let reason = if self.status.link == Some(false) { Reason::LinkLost } else { Reason::NoLease };
            self.change(now, State::Down, reason, book, out);
        } else if self.status.link != Some(false) {
            // Who answered an address of before is not known to answer this one.
            self.gateway_ok = None;
            self.gateway.start(now);
            self.targets.start(now);
            if std::mem::take(&mut self.fresh) {
                self.change(now, State::Probing, Reason::Start, book, out);
            }
        }
        true
    }

    pub(super) fn bfd(&mut self, now: Nanos, says: BfdSays, book: &Book, out: &mut impl FnMut(Effect)) {
        if !self.health.bfd {
            return;
        }
        let was = self.status.bfd;
        (self.status.bfd, self.bfd_lost) = match says {
            BfdSays::Up => (Some(true), false),
            BfdSays::Withdrawn => (None, false),
            // one that never was cannot be lost
            BfdSays::Lost => (was.map(|_| false), was.is_some()),
        };
        if says == BfdSays::Lost && was == Some(true) && self.status.state != State::Down {
            self.change(now, State::Down, Reason::Bfd, book, out);
        }
    }

    pub(super) fn silence(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        let here = self.status.state.is_up() && self.status.link == Some(true);
        if self.health.passive && here && self.confirm.is_none() {
            self.confirm = Some(Confirm::new(now));
            out(Effect::Confirming { wan: self.id });
            self.find_out(now, book, out);
        }
    }

    pub(super) fn sent(&mut self, probe: Probe, round: u32, at: Nanos, book: &Book) {
        match probe {
            Probe::Gateway => self.gateway.sent(at),
            Probe::Target(target) => self.targets.sent(target, round, at),
        }
        let decides = self.decides(probe, book);
        if let Some(confirm) = self.confirm.as_mut().filter(|confirm| decides && at >= confirm.start) {
            confirm.sent = confirm.sent.saturating_add(1);
        }
    }

    /// A probe was answered. The target's number in the book, should it not have counted before.
    pub(super) fn reply(
        &mut self,
        now: Nanos,
        (probe, round, at): (Probe, Option<u32>, Nanos),
        book: &mut Book,
        out: &mut impl FnMut(Effect),
    ) -> Option<usize> {
        // a reply from before the link went, or the lease
        if self.status.link == Some(false) || !self.leased {
            return None;
        }
        let mut lifted = None;
        match probe {
            Probe::Gateway => self.gateway_reply(now, at, book, out),
            Probe::Target(target) => {
                let id = self.targets.reply(target, round?, at)?;
                lifted = book.answered(id, now).then_some(id);
                self.judge_targets(now, book, false, out);
            }
        }
        let start = self.confirm.as_ref().map(|confirm| confirm.start);
        if self.decides(probe, book) && start.is_some_and(|start| at >= start) {
            self.clear(out);
        }
        lifted
    }

    fn gateway_reply(&mut self, now: Nanos, at: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        let sign = self.gateway.reply(at);
        self.gateway_ok = self.gateway_ok.max(Some(at));
        self.by_gateway.alive();
        if sign == Sign::Success && self.status.link == Some(true) {
            self.by_gateway.good(at);
            if !self.by_targets(book) && self.heard_out() {
                self.well(now, at, book, out);
            }
        }
    }

    /// The targets have had their time to answer before the gateway speaks for the WAN.
    pub(super) fn heard_out(&self) -> bool {
        let asked = self.mute_rounds >= self.health.failures || self.health.targets.is_empty();
        asked || self.status.state != State::Probing
    }

    /// A step of finding out whether a silent WAN is dead.
    pub(super) fn find_out(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        let by_targets = self.by_targets(book);
        let patience = if by_targets { self.targets.patience(book) } else { self.gateway.patience() };
        let Some(confirm) = &mut self.confirm else { return };
        match confirm.turn(now, patience) {
            None => {}
            Some(Turn::Ask) => {
                if let Some(round) = self.gateway.again(now) {
                    out(Effect::Probe { wan: self.id, probe: Probe::Gateway, round });
                }
                let round = self.targets.reserve();
                for (id, target) in self.targets.ids().zip(0..=u8::MAX) {
                    if book.counts(id) {
                        out(Effect::Probe { wan: self.id, probe: Probe::Target(target), round });
                    }
                }
            }
            // one lost request to a gateway is too little, and none at all is nothing
            Some(Turn::Over) if confirm.sent < if by_targets { 1 } else { 2 } => self.clear(out),
            Some(Turn::Over) => self.change(now, State::Down, Reason::Silent, book, out),
        }
    }

    fn clear(&mut self, out: &mut impl FnMut(Effect)) {
        if self.confirm.take().is_some() {
            out(Effect::Cleared { wan: self.id });
        }
    }
}
