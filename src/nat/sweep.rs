//! Expiry: look-ups refuse a session whose timer has run out at once; the sweep gives its memory and its port back.
//! It walks the slots at an even pace, the whole table in `PERIOD`, a few slots a turn.
//!
//! Epochs are a byte and come round. So after a change of bonds the sweep marks what is stale as left for good, in one round of the table
//! besides the one that it is in; at other times it does not look.

use super::session::{Kind, NONE};
use super::standing::Standing;
use super::timeouts::tick;
use super::uplinks::LEFT;
use super::{Nat, Uplinks};
use crate::base::Nanos;
use crate::packet::{Counters, Stat};
use crate::wire::protocol;

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

/// Slots whose mapping is called for ahead, where mappings are looked at.
const AHEAD_MAPPING: u32 = 4;

/// Where the sweep stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    cursor: u32,
    /// Up to when the pace is kept.
    paid: Nanos,
    /// When there is something to do again.
    next: Nanos,
    /// Ends of the table yet to be reached before all that is stale is marked; 0: it is
    marking: u8,
    /// An address of a WAN has changed, and what was bound to it is not all marked yet
    moved: bool,
}

impl Sweep {
    /// Sessions and mappings may be bound to addresses that their WAN has no more.
    #[inline(always)]
    pub(super) fn moved(&self) -> bool {
        self.moved
    }

    /// Bonds have changed, or addresses: what is stale now is to be marked, before epochs come round.
    pub(super) fn mark(&mut self, moved: bool) {
        // The rest of this round, and a whole one.
        self.marking = 2;
        self.moved |= moved;
    }

    fn round_ends(&mut self) {
        self.marking = self.marking.saturating_sub(1);
        self.moved &= self.marking > 0;
    }
}

impl Nat {
    /// Removes sessions whose timer has run out, as many as the pace asks for since the last call, and takes every stamp
    /// away that is not `stamp`.
    pub fn expire(&mut self, now: Nanos, stamp: u16, up: &Uplinks, counters: &mut Counters) {
        if now < self.sweep.next {
            return;
        }
        self.settle_log(now);
        self.gauges.turn(now);
        let used = u64::from(self.sessions.used());
        if used == 0 {
            self.sweep.round_ends();
            self.sweep.paid = now;
            self.sweep.next = now + PAUSE;
            return;
        }
        let paired = self.is_paired();
        let due = now.since(self.sweep.paid).0.saturating_mul(used) / PERIOD.0;
        let (mut visited, mut ended) = (0, 0);
        while visited < due.min(MOST).min(used) && ended < MOST_ENDED {
            let slot = self.sweep.cursor;
            self.sweep.cursor = slot + 1;
            visited += 1;
            // First: what becomes of a copy of the partner's is not to be judged by what was here before.
            let went = paired && self.keep_copy(slot, now, up, counters);
            if self.sweep.marking > 0 && !self.keeps(slot) {
                self.mark_slot(slot, up);
            }
            if self.gauges.wanting() {
                self.consider(slot, now);
            }
            ended += u32::from(went || self.expire_slot(slot, now, stamp, counters));
            if u64::from(slot) + 1 >= used {
                self.sweep.cursor = 0;
                self.sweep.round_ends();
            }
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

    /// Marks a session that is stale, and its mapping, should that be.
    fn mark_slot(&mut self, slot: u32, up: &Uplinks) {
        let ahead = slot.wrapping_add(AHEAD);
        self.roots.prefetch(ahead as usize);
        let ahead = slot.wrapping_add(AHEAD_MAPPING);
        if ahead < self.sessions.used() {
            self.mappings.prefetch(self.roots[ahead as usize].mapping);
        }
        let (session, root) = (self.sessions.get(slot), self.roots[slot as usize]);
        if session.is_free() || matches!(root.kind, Kind::Internal | Kind::Away) {
            return;
        }
        let left = self.left(session, &root, up);
        if left {
            self.roots[slot as usize].epoch = LEFT;
        }
        // A session of TCP may outlive what its mapping is to new ones.
        if root.mapping == NONE || !(left || session.protocol() == protocol::TCP) {
            return;
        }
        let mapping = *self.mappings.get(root.mapping);
        let tcp = match self.standing(&mapping, up) {
            Standing::Firm => return,
            Standing::Grace => mapping.tcp,
            Standing::Left => LEFT,
        };
        self.hosts.unstick(&mapping);
        let mapping = self.mappings.get_mut(root.mapping);
        (mapping.epoch, mapping.tcp) = (LEFT, tcp);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_place::World;
    use super::*;
    use crate::base::WanId;
    use crate::nat::Addresses;
    use crate::wire::protocol::UDP;

    fn world(flows: u16) -> World {
        let mut world = World::new(&[1, 1], 1024, |_| true);
        (0..flows).for_each(|n| assert!(world.send(UDP, u32::from(n / 256), 5000 + n).is_ok()));
        // So far it has looked at nothing.
        turn(&mut world, Nanos::ZERO);
        world
    }

    /// A turn, so much later.
    fn turn(world: &mut World, later: Nanos) {
        world.now += later;
        world.nat.expire(world.now, 7, &world.up, &mut world.counters);
    }

    #[test]
    fn a_stamp_that_counts_stays_and_every_other_goes_before_it_comes_round() {
        let mut world = world(3);
        for slot in 0..3 {
            world.nat.sessions.get_mut(slot).stamps = [5, 7];
        }
        (0..9).for_each(|_| turn(&mut world, Nanos::from_s(1)));
        for slot in 0..3 {
            assert_eq!(world.nat.sessions.get(slot).stamps, [0, 7]);
        }
    }

    #[test]
    fn what_a_long_turn_has_left_undone_is_not_made_up_for() {
        let mut world = world(1000);
        assert_eq!(world.nat.sweep.cursor, MOST as u32);
        turn(&mut world, Nanos::from_ms(1));
        assert_eq!(world.nat.sweep.cursor, MOST as u32, "none is due yet");
        turn(&mut world, Nanos::from_ms(8));
        assert_eq!(world.nat.sweep.cursor, MOST as u32 + 1);
    }

    /// What a change of the view is to the sweep: rounds in which it marks, and whether addresses have moved.
    fn marks(world: &mut World, change: impl Fn(&mut Uplinks)) -> (u8, bool) {
        let old = world.up.clone();
        change(&mut world.up);
        world.nat.renewed(&old, &world.up, world.now);
        (world.nat.sweep.marking, world.nat.sweep.moved())
    }

    #[test]
    fn what_is_stale_is_marked_within_the_rest_of_a_round_and_a_whole_one_and_then_no_more() {
        let mut world = world(3);
        assert_eq!(marks(&mut world, |_| {}), (0, false), "nothing has changed");
        let address = Addresses::one([100, 65, 0, 9].into());
        turn(&mut world, Nanos(PERIOD.0 / 3 + 1));
        assert_eq!(world.nat.sweep.cursor, 1);
        assert_eq!(marks(&mut world, |up| up.wans[1].addresses = address.clone()), (2, true));
        for (marking, moved) in [(2, true), (1, true), (1, true), (1, true), (0, false), (0, false)] {
            turn(&mut world, Nanos(PERIOD.0 / 3 + 1));
            assert_eq!((world.nat.sweep.marking, world.nat.sweep.moved()), (marking, moved));
        }
        assert!((0..3).all(|slot| world.nat.roots[slot].epoch != LEFT), "theirs is another WAN");
        assert_eq!(marks(&mut world, |up| up.groups[0].bonds[0].epoch = 2), (2, false));
        for _ in 0..6 {
            turn(&mut world, Nanos(PERIOD.0 / 3 + 1));
        }
        assert!((0..3).all(|slot| world.nat.roots[slot].epoch == LEFT));
        assert_eq!(world.nat.mappings.get(0).epoch, LEFT);
        assert_eq!(world.nat.sessions.get(0).wan(), WanId(0));
    }
}
