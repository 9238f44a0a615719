//! Expiry: look-ups refuse a session whose timer has run out at once; the sweep gives its memory and its port back.
//! It walks the slots at an even pace, the whole table in `PERIOD`, a few slots a turn.

use super::Nat;
use super::timeouts::tick;
use crate::base::Nanos;
use crate::packet::{Counters, Stat};

/// In this time every slot is visited once.
pub const PERIOD: Nanos = Nanos::from_s(8);
/// At most so many slots a turn, however long the turn before took.
const MOST: u64 = 512;

/// At most so many sessions end in a turn: each costs as much as several packets.
const MOST_ENDED: u32 = 32;
/// The sweep looks at its pace this often at least.
const PAUSE: Nanos = Nanos::from_ms(1);
/// Slots that are called for ahead of their visit.
const AHEAD: u32 = 8;

/// Where the sweep stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    cursor: u32,
    /// Up to when the pace is kept.
    paid: Nanos,
    /// When there is something to do again.
    next: Nanos,
    /// An address of a WAN has changed, and what was bound to it is not all marked yet
    moved: bool,
}

impl Sweep {
    /// Sessions and mappings may be bound to addresses that their WAN has no more.
    #[inline(always)]
    pub(super) fn moved(&self) -> bool {
        self.moved
    }
}

impl Nat {
    /// Removes sessions whose timer has run out, as many as the pace asks for since the last call, and takes every stamp
    /// away that is not `stamp`.
    pub fn expire(&mut self, now: Nanos, stamp: u16, counters: &mut Counters) {
        if now < self.sweep.next {
            return;
        }
        self.settle_log(now);
        let used = u64::from(self.sessions.used());
        if used == 0 {
            self.sweep.paid = now;
            self.sweep.next = now + PAUSE;
            return;
        }
        let due = now.since(self.sweep.paid).0.saturating_mul(used) / PERIOD.0;
        let (mut visited, mut ended) = (0, 0);
        while visited < due.min(MOST).min(used) && ended < MOST_ENDED {
            let slot = self.sweep.cursor;
            self.sweep.cursor = if u64::from(slot) + 1 >= used { 0 } else { slot + 1 };
            visited += 1;
            ended += u32::from(self.expire_slot(slot, now, stamp, counters));
        }
        // The fraction of a slot that is not due yet is kept, or the pace would halve at some turn lengths; so is what sessions
        // that ended have kept it from. What `MOST` cuts off is forgone.
        let behind = visited < due && ended < MOST_ENDED;
        let paid = Nanos(visited.saturating_mul(PERIOD.0) / used);
        self.sweep.paid = if behind { now } else { self.sweep.paid + paid };
        // More slots may be used by then.
        self.sweep.next = self.sweep.paid + Nanos(PERIOD.0 / used).min(PAUSE);
    }

    #[inline(always)]
    fn expire_slot(&mut self, slot: u32, now: Nanos, stamp: u16, counters: &mut Counters) -> bool {
        self.sessions.prefetch(slot.wrapping_add(AHEAD));
        let session = self.sessions.get_mut(slot);
        for its in &mut session.stamps {
            if *its != stamp && *its != 0 {
                *its = 0;
            }
        }
        let over = !session.is_free() && session.expired(&self.timeouts, tick(now));
        if over {
            self.remove_session(slot, now, counters);
            counters.add(Stat::SessionsExpired, 1);
        }
        over
    }
}
