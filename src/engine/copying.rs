//! The worker's side of the copies: takes the management thread's orders, and tells what has changed, a bounded number of each a turn.
//!
//! Nothing waits for the ring: what finds it full is lost, that is said as soon as there is room, and then everything is told
//! again. A walk over all that there is leaves half of the ring to what changes meanwhile. Flows of the router's own, which the host under it
//! opens, are not told: its address is its own.

use super::Lcore;
use super::copies::{Change, Order};
use crate::base::Nanos;
use crate::packet::{PacketBuf, Stat};
use crate::wire::record::Record;

/// Orders taken in one turn.
const ORDERS: usize = 64;
/// Slots of the session table that a walk looks at in one turn.
const WALKED: usize = 64;

impl<B: PacketBuf> Lcore<B> {
    /// A turn's share of it.
    #[inline(always)]
    pub(super) fn copy(&mut self, now: Nanos) {
        if self.router.nat.is_paired() {
            self.take_copies(now);
            self.tell_changes(now);
        }
    }

    #[inline(never)]
    fn take_copies(&mut self, now: Nanos) {
        for _ in 0..ORDERS {
            // Its last words are told before the order is taken: then the ring of who reads them has them.
            let Ok(order) = self.end.copies.orders.peek().copied() else { break };
            if order == Order::Rest {
                self.tell_changes(now);
                self.tell_begun(now);
            }
            let _ = self.end.copies.orders.pop();
            let nat = &mut self.router.nat;
            match order {
                Order::Tell(run) => nat.tell_all(run),
                Order::Rest => nat.rest(),
                Order::Begin => nat.begin_copies(),
                Order::Whole => nat.whole_copies(),
                Order::Record(record) if self.steer.record(&record.key()) == self.id => {
                    self.router.copy(&self.view, &record, now);
                }
                // Its packets come to another worker.
                Order::Record(_) => self.router.counters.add(Stat::CopiesRefused, 1),
            }
        }
        self.router.nat.end_old_copies(now, &mut self.router.counters);
    }

    /// Tells of connections that are not answered yet: the answer may come to the partner.
    fn tell_begun(&mut self, now: Nanos) {
        let (router, view, changes) = (&mut self.router, &self.view, &mut self.end.copies.changes);
        let hosts = router.host.is_some();
        let mut told = 0;
        router.nat.tell_begun(now, |record| {
            let own = hosts && view.place(record.key().inside().0).own.is_some();
            // Those without room are the client's to send again.
            told += u64::from(!own && changes.push(Change::Record(record)).is_ok());
        });
        router.counters.add(Stat::CopiesTold, told);
    }

    #[inline(never)]
    fn tell_changes(&mut self, now: Nanos) {
        let (router, view, changes) = (&mut self.router, &self.view, &mut self.end.copies.changes);
        if !router.nat.tells() {
            return router.stepped.clear();
        }
        let hosts = router.host.is_some();
        let own = |record: &Record| hosts && view.place(record.key().inside().0).own.is_some();
        router.stepped.drain(..).for_each(|slot| router.nat.turned(slot));
        let (mut told, mut lost) = (0, 0);
        let mut tell = |record: Record| match own(&record) || changes.push(Change::Record(record)).is_ok() {
            true => told += 1,
            false => lost += 1,
        };
        router.nat.tell(&mut tell);
        if lost > 0 {
            router.nat.set_lost(true);
        }
        let half = changes.buffer().capacity() / 2;
        let room = changes.slots().saturating_sub(half).min(WALKED);
        let walked = router.nat.walk(room as u32, now, |record| {
            // There is room for as many as slots are looked at.
            told += u64::from(own(&record) || changes.push(Change::Record(record)).is_ok());
        });
        if let Some(run) = walked
            && changes.push(Change::Walked(run)).is_ok()
        {
            router.nat.walked();
        }
        if router.nat.has_lost() && changes.push(Change::Lost).is_ok() {
            router.nat.set_lost(false);
        }
        router.counters.add(Stat::CopiesTold, told);
        router.counters.add(Stat::CopiesLost, lost);
    }
}
