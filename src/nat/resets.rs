//! Resets of the TCP that a group has left a WAN with: the inside host is told at once, not only when it speaks again, which a download
//! never does.
//!
//! A reset is one that its receiver takes: from the remote, its sequence number exactly what the host expects next, which is the last
//! that it has acknowledged (RFC 5961 3). Connections in which inside has acknowledged nothing are forgotten: their SYN
//! starts afresh. Two walks over the table: first who was active lately, within a second, then the rest, within half a minute.
//! Both are paced, and bounded in each turn by slots looked at and by connections ended, so that no burst waits for them.
//! Whoever sends a packet before the walk comes by is answered by a reset then (`outbound`).

use std::net::Ipv4Addr;

use super::session::Kind;
use super::tcp::TcpState;
use super::timeouts::tick;
use super::{Nat, Uplinks};
use crate::base::Nanos;
use crate::packet::{Counters, Stat};
use crate::wire::protocol;

/// Whose timer was started so shortly before a walk began is active, in ms.
const LATELY_MS: i32 = 10_000;
/// How long each walk takes at most, and how many slots it looks at each ms at least.
const PACE: [(Nanos, u64); 2] = [(Nanos::from_ms(500), 64), (Nanos::from_s(20), 16)];
/// What a turn may cost, in slots looked at: some 10 ns each.
const TURN: u32 = 4096;
/// What the end of a connection costs, in slots.
const END: u32 = 96;
/// Slots that are called for ahead of their visit.
const AHEAD: u32 = 8;

/// A reset for an inside host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Whom it is said to come from
    pub from: (Ipv4Addr, u16),
    /// The inside endpoint
    pub to: (Ipv4Addr, u16),
    /// Its sequence number
    pub seq: u32,
}

/// One walk over the table.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    cursor: u32,
    /// Slots in all: later ones are younger than what is to be reset
    total: u32,
    done: u32,
    began: Nanos,
}

impl Walk {
    fn is_over(&self) -> bool {
        self.done >= self.total
    }

    /// How many slots are due now.
    fn due(&self, now: Nanos, (span, least): (Nanos, u64)) -> u32 {
        let elapsed = now.since(self.began).0;
        let even = u128::from(elapsed) * u128::from(self.total) / u128::from(span.0);
        let steady = u128::from(elapsed) * u128::from(least) / 1_000_000;
        let due = u32::try_from(even.max(steady)).unwrap_or(u32::MAX).min(self.total);
        due.saturating_sub(self.done)
    }
}

/// Where the walks stand.
#[derive(Debug, Default)]
pub(super) struct Resets {
    /// WANs, one bit each, whose bonds have changed
    wans: u128,
    walks: [Walk; 2],
    /// When the first walk began, as sessions know it
    began: u32,
}

impl Resets {
    /// Begins both walks anew, each from where it is: one that begins too often still comes by everywhere.
    pub(super) fn start(&mut self, wans: u128, used: u32, now: Nanos) {
        let known = if self.are_over() { 0 } else { self.wans };
        self.wans = known | wans;
        self.began = tick(now);
        for walk in &mut self.walks {
            let cursor = if walk.cursor < used { walk.cursor } else { 0 };
            *walk = Walk { cursor, total: used, done: 0, began: now };
        }
    }

    #[inline(always)]
    fn are_over(&self) -> bool {
        self.walks[1].is_over()
    }
}

impl Nat {
    /// There is nobody to be reset.
    #[inline(always)]
    pub fn resets_are_over(&self) -> bool {
        self.resets.are_over()
    }

    /// What a turn may spend on resets (`next_reset`).
    pub fn reset_budget(&self) -> u32 {
        TURN
    }

    /// Ends stale connections up to the next one that is to be told, as far as the pace and what is left of the turn's `budget` go.
    pub fn next_reset(
        &mut self,
        budget: &mut u32,
        up: &Uplinks,
        now: Nanos,
        counters: &mut Counters,
    ) -> Option<Reset> {
        loop {
            let first = !self.resets.walks[0].is_over();
            let at = usize::from(!first);
            let walk = self.resets.walks[at];
            let due = walk.due(now, PACE[at]).min(*budget);
            for n in 1..=due {
                let slot = self.step_walk(at, now);
                if self.is_to_end(slot, first, up, now) {
                    *budget -= n.saturating_add(END).min(*budget);
                    counters.add(Stat::SessionsReset, 1);
                    if let Some(reset) = self.cut_off(slot, now, counters) {
                        return Some(reset);
                    }
                    break;
                }
                if n == due {
                    *budget -= due;
                }
            }
            // After an end the walk goes on, as long as anything is due.
            if due == 0 || *budget == 0 {
                return None;
            }
        }
    }

    #[inline(always)]
    fn step_walk(&mut self, at: usize, now: Nanos) -> u32 {
        let walk = &mut self.resets.walks[at & 1];
        let slot = walk.cursor;
        walk.done += 1;
        walk.cursor = if slot + 1 >= walk.total { 0 } else { slot + 1 };
        if at == 0 && walk.is_over() {
            // The second one begins when the first is over.
            self.resets.walks[1].began = now;
        }
        self.sessions.prefetch(slot.wrapping_add(AHEAD));
        self.roots.prefetch(slot.wrapping_add(AHEAD) as usize);
        slot
    }

    #[inline(always)]
    fn is_to_end(&mut self, slot: u32, lately: bool, up: &Uplinks, now: Nanos) -> bool {
        let session = self.sessions.get(slot);
        if session.protocol() != protocol::TCP
            || session.is_free()
            || self.is_on_standby()
            || self.resets.wans.checked_shr(session.wan().0.into()).unwrap_or(0) & 1 == 0
        {
            return false;
        }
        let idle = self.resets.began.wrapping_sub(session.refreshed) as i32;
        if (lately && idle >= LATELY_MS) || session.expired(&self.timeouts, tick(now)) {
            return false;
        }
        let root = &self.roots[slot as usize];
        // What goes as it is moves with its next packet.
        !matches!(root.kind, Kind::Plain | Kind::Internal)
            && self.left(session, root, up)
            && self.stays_left(slot, up)
    }

    /// Ends a session; gives the reset for its inside host, if it is a connection in which that has acknowledged anything.
    pub(super) fn cut_off(&mut self, slot: u32, now: Nanos, counters: &mut Counters) -> Option<Reset> {
        let session = *self.sessions.get(slot);
        self.remove_session(slot, now, counters);
        let tcp = session.protocol() == protocol::TCP;
        let opening = matches!(TcpState::from_u8(session.state), TcpState::SynOut | TcpState::SynIn);
        (tcp && !opening && session.last_ack != 0).then(|| Reset {
            from: session.remote(),
            to: session.inside(),
            seq: session.last_ack,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_place::{REMOTE, World};
    use super::*;

    const NOW: Nanos = Nanos::from_s(1000);

    fn later(ms: u64) -> Nanos {
        NOW + Nanos::from_ms(ms)
    }

    #[test]
    fn a_walk_is_even_over_its_span_and_some_slots_a_ms_at_least() {
        let due = |total, done, ms| Walk { total, done, began: NOW, cursor: 0 }.due(later(ms), PACE[0]);
        assert_eq!((due(1_000_000, 0, 250), due(1_000_000, 100_000, 250)), (500_000, 400_000));
        assert_eq!((due(1_000_000, 100_000, 600), due(1_000_000, 1_000_000, 600)), (900_000, 0));
        assert_eq!((due(1000, 0, 5), due(1000, 320, 5), due(1000, 0, 0)), (320, 0, 0));
    }

    #[test]
    fn walks_that_begin_again_go_on_where_they_were_and_forget_no_wan() {
        let mut resets = Resets::default();
        resets.start(1, 10, NOW);
        resets.walks[0].cursor = 7;
        resets.start(2, 10, NOW);
        assert_eq!((resets.wans, resets.walks[0].cursor), (3, 7));
        resets.start(2, 7, NOW);
        assert_eq!(resets.walks[0].cursor, 0);
        resets.walks[1].done = 7;
        resets.start(4, 7, NOW);
        assert_eq!(resets.wans, 4, "all that was known is over");
    }

    /// Connections in slots of their own, each with an age in ms and a state; their group has just left the WAN.
    fn world(of: &[(u32, TcpState)]) -> World {
        let mut world = World::new(&[1, 1], 64, |_| true);
        for (slot, (age, state)) in of.iter().enumerate() {
            world.send(protocol::TCP, 1, 5000 + slot as u16).unwrap();
            let session = world.nat.sessions.get_mut(slot as u32);
            session.refreshed = tick(NOW).wrapping_sub(*age);
            (session.state, session.last_ack) = (*state as u8, 100 + slot as u32);
        }
        let old = world.up.clone();
        let bond = &mut world.up.groups[0].bonds[0];
        (bond.epoch, bond.tcp) = (2, 2);
        world.nat.renewed(&old, &world.up, NOW);
        world
    }

    #[test]
    fn who_was_active_is_told_before_who_was_idle_and_what_has_expired_is_not_told() {
        let up = TcpState::Established;
        let ages = [(10_000, up), (9_999, up), (0, TcpState::SynOut), (7_440_000, up), (0, up)];
        let mut world = world(&ages);
        let mut budget = 1000;
        let mut next = |budget: &mut u32, ms| {
            let reset = world.nat.next_reset(budget, &world.up, later(ms), &mut world.counters);
            reset.map(|reset| {
                assert_eq!((reset.from.0, reset.to.0), (REMOTE, [10, 0, 0, 1].into()));
                (reset.to.1, reset.seq)
            })
        };
        assert_eq!(next(&mut budget, 0), None);
        assert_eq!((next(&mut budget, 1), budget), (Some((5001, 101)), 1000 - 2 - END));
        assert_eq!(
            (next(&mut budget, 1), budget),
            (Some((5004, 104)), 1000 - 5 - 3 * END),
            "a SYN starts afresh"
        );
        // The rest begins where that was over.
        assert_eq!(next(&mut budget, 1), None);
        assert_eq!((next(&mut budget, 2), budget), (Some((5000, 100)), 1000 - 6 - 4 * END));
        assert_eq!((next(&mut budget, 2), budget), (None, 1000 - 10 - 4 * END));
        assert!(world.nat.resets_are_over());
        assert_eq!(world.counters.get(Stat::SessionsReset), 4);
        assert_eq!(world.nat.live(), 1);
    }

    #[test]
    fn a_walk_comes_by_everywhere_wherever_it_begins() {
        let mut world = world(&[(0, TcpState::Established); 5]);
        let slots = |world: &mut World| -> Vec<u32> { (0..5).map(|_| world.nat.step_walk(0, NOW)).collect() };
        for first in [0, 2, 4] {
            world.nat.resets.walks[0].cursor = first;
            world.nat.resets.start(1, 5, NOW);
            let mut seen = slots(&mut world);
            assert_eq!((seen[0], world.nat.resets.walks[0].is_over()), (first, true));
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4]);
        }
    }
}
