//! The operator ends sessions: a walk over the table, out of band, some slots and some ends a turn, so that no packet waits for it.
//!
//! What ends does as it would by itself: a mapping without sessions goes, its port rests. TCP that is open is told inside by a reset that
//! is accepted (`resets`, RFC 5961 3); the remote is not, as nothing is known of what it expects. What began later than the walk is spared.

use std::net::Ipv4Addr;

use super::Nat;
use super::resets::Reset;
use super::session::{Root, Session};
use super::timeouts::tick;
use crate::base::{Nanos, WanId};
use crate::packet::{Counters, Stat};

/// Slots that a turn looks at, some 10 ns each, and what the end of a session costs, in slots.
const TURN: u32 = 1024;
const END: u32 = 64;
/// Slots that are called for ahead of their visit.
const AHEAD: u32 = 8;

/// Which sessions are to end. Every given field must match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// The inside host
    pub inside: Option<Ipv4Addr>,
    /// The translated address
    pub outside: Option<Ipv4Addr>,
    /// The WAN
    pub wan: Option<WanId>,
    /// See `wire::protocol`
    pub protocol: Option<u8>,
}

impl Which {
    fn has(&self, s: &Session) -> bool {
        self.wan.is_none_or(|wan| wan == s.wan())
            && self.protocol.is_none_or(|protocol| protocol == s.protocol())
            && self.inside.is_none_or(|ip| ip == s.inside().0)
            && self.outside.is_none_or(|ip| ip == s.outside().0)
    }
}

/// A walk of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kill {
    /// Its number
    pub id: u64,
    /// Whom it ends
    pub which: Which,
    /// Sessions ended so far
    pub killed: u64,
    /// When it began, in s; slots used then, 0: it has not; the next slot
    began: u32,
    end: u32,
    cursor: u32,
}

impl Kill {
    /// One that has not begun.
    pub fn new(id: u64, which: Which) -> Kill {
        Kill { id, which, ..Kill::default() }
    }

    /// It has been everywhere.
    pub fn is_over(&self) -> bool {
        self.end > 0 && self.cursor >= self.end
    }
}

impl Nat {
    /// What a turn may spend on a walk (`kill_next`).
    pub fn kill_budget(&self) -> u32 {
        TURN
    }

    /// Ends sessions up to the next one that is to be told, as far as what is left of the turn's `budget` goes.
    pub fn kill_next(
        &mut self,
        kill: &mut Kill,
        budget: &mut u32,
        now: Nanos,
        counters: &mut Counters,
    ) -> Option<Reset> {
        if kill.end == 0 {
            (kill.end, kill.began) = (self.sessions.used().max(1), now.as_s() as u32);
        }
        while *budget > 0 && kill.cursor < kill.end.min(self.sessions.used()) {
            let slot = kill.cursor;
            (kill.cursor, *budget) = (slot + 1, *budget - 1);
            self.sessions.prefetch(slot.wrapping_add(AHEAD));
            let (session, root) = (self.sessions.get(slot), &self.roots[slot as usize]);
            if session.is_free() || !kill.which.has(session) || !self.lives(session, root, kill.began, now) {
                continue;
            }
            *budget = budget.saturating_sub(END);
            kill.killed += 1;
            counters.add(Stat::SessionsKilled, 1);
            let reset = self.cut_off(slot, now, counters);
            if reset.is_some() {
                return reset;
            }
        }
        if kill.cursor >= self.sessions.used() {
            kill.cursor = kill.end;
        }
        None
    }

    /// It is listed, and was there when the walk began.
    fn lives(&self, session: &Session, root: &Root, began: u32, now: Nanos) -> bool {
        !session.expired(&self.timeouts, tick(now)) && root.created <= began
    }
}
