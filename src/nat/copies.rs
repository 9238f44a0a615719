//! Copies of the partner's flows: which they are, how long they stay, and what becomes of them when this member takes over.
//!
//! A copy is a session like any other, translated like any other; it has a mark, the run in which the partner told of it last. Invariants:
//! - while this member is on standby copies do not expire and nobody is reset for them: the sweep starts their timers anew, and binds them to
//!   their WAN as this member sees it, so that what a failover of the partner or of this member has left counts only if it does at the take-over;
//! - what is there when a run begins stays until that run is whole, then what it has not named ends, a bounded part each turn;
//! - the take-over changes nothing but that: marks go with the sweep, timers count from then on (to a round of the sweep, 8 s),
//!   and TCP on a WAN that is not fit here is reset. What the sweep has not seen since its WAN came up is bound when it is first asked for.

use super::changes::Changes;
use super::session::{Kind, NONE};
use super::timeouts::tick;
use super::uplinks::LEFT;
use super::{Nat, Uplinks};
use crate::base::{Nanos, WanId};
use crate::packet::{Counters, Stat};
use crate::wire::record::Key;

/// Slots that a turn looks at for what the partner has not named, and copies that it ends, at most.
const TURN: u32 = 256;
const MOST_ENDED: u32 = 16;
/// Marks that are looked at to make room for one copy, at most: some 10 us.
const SOUGHT: usize = 1 << 16;
/// Slots that are called for ahead of their visit.
const AHEAD: u32 = 8;

/// For so long after a take-over the partner still tells what it had not told before.
const LATELY_MS: u32 = 1000;

/// What a member of a pair has besides.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) changes: Changes,
    /// By session: 0, or the run in which the partner told of it last
    marks: Vec<u8>,
    /// By mapping: made for a copy
    pub(super) mapped: Vec<bool>,
    run: u8,
    /// Where room was made last
    sought: usize,
    /// The next slot to be looked at for what the run that is whole has not named
    ending: Option<u32>,
    standby: bool,
    /// When this member took over, as sessions know it
    since: u32,
    /// Places taken from other copies in this ms, as sessions know it
    pub(super) taken: (u32, u32),
}

impl Copies {
    /// No copies, with all memory taken.
    pub(super) fn new(sessions: u32, mappings: usize) -> Copies {
        Copies {
            changes: Changes::new(),
            marks: vec![0; sessions as usize],
            mapped: vec![false; mappings],
            run: 1,
            sought: 0,
            ending: None,
            standby: false,
            since: 0,
            taken: (0, 0),
        }
    }

    fn mark(&self, slot: u32) -> u8 {
        self.marks.get(slot as usize).copied().unwrap_or(0)
    }

    fn set(&mut self, slot: u32, mark: u8) {
        if let Some(its) = self.marks.get_mut(slot as usize) {
            *its = mark;
        }
    }

    /// The partner has told of the flow in a slot.
    pub(super) fn told(&mut self, slot: u32) {
        self.set(slot, self.run);
    }

    /// A session ends.
    pub(super) fn forget(&mut self, slot: u32) {
        self.set(slot, 0);
    }

    /// The flow in a slot is the partner's.
    pub(super) fn is_copy(&self, slot: u32) -> bool {
        self.mark(slot) != 0
    }
}

impl Nat {
    /// It tells of its flows and takes copies of a partner's.
    #[inline(always)]
    pub fn is_paired(&self) -> bool {
        self.copies.is_some()
    }

    /// Whether a session is kept as it is, since it is a copy and this member is on standby.
    #[inline(always)]
    pub(super) fn keeps(&self, slot: u32) -> bool {
        self.copies.as_ref().is_some_and(|copies| copies.standby && copies.is_copy(slot))
    }

    /// This member is on standby: its hosts speak to the partner, and nobody is reset by this one of its own accord.
    #[inline(always)]
    pub(super) fn is_on_standby(&self) -> bool {
        self.copies.as_ref().is_some_and(|copies| copies.standby)
    }

    /// Its partner may know a flow that it does not: it is on standby, or has taken over just now and is told the rest. So nobody is reset for that; who
    /// hears nothing sends again.
    #[cold]
    pub(super) fn may_not_know(&self, now: Nanos) -> bool {
        let lately = |copies: &Copies| tick(now).wrapping_sub(copies.since) < LATELY_MS;
        self.copies.as_ref().is_some_and(|copies| copies.standby || lately(copies))
    }

    /// This member is on standby from now on, or is not any more.
    pub fn stand_by(&mut self, standby: bool, now: Nanos) {
        let Some(copies) = &mut self.copies else { return };
        if std::mem::replace(&mut copies.standby, standby) && !standby {
            copies.since = tick(now);
            // Copies may be on WANs that are not fit here.
            self.resets.start(u128::MAX, self.sessions.used(), now);
        }
    }

    /// The partner tells everything anew. What is there stays until that is whole.
    pub fn begin_copies(&mut self) {
        if let Some(copies) = &mut self.copies {
            copies.run = copies.run.checked_add(1).unwrap_or(1);
            copies.ending = None;
        }
    }

    /// The partner has told everything: what it has not named ends.
    pub fn whole_copies(&mut self) {
        if let Some(copies) = &mut self.copies {
            copies.ending = Some(0);
        }
    }

    /// A turn's share of the walk that ends what the partner has not named.
    pub fn end_old_copies(&mut self, now: Nanos, counters: &mut Counters) {
        let used = self.sessions.used();
        let mut ended = 0;
        for _ in 0..TURN {
            let Some(copies) = &mut self.copies else { return };
            let Some(slot) = copies.ending else { return };
            copies.ending = (slot + 1 < used).then_some(slot + 1);
            let old = slot < used && copies.is_copy(slot) && copies.mark(slot) != copies.run;
            self.sessions.prefetch(slot.wrapping_add(AHEAD));
            if old {
                self.remove_session(slot, now, counters);
                counters.add(Stat::CopiesEnded, 1);
                ended += 1;
            }
            if ended >= MOST_ENDED {
                return;
            }
        }
    }

    /// Makes room for a copy in a table that is full: of one that the run has not named yet, before it is whole.
    #[cold]
    pub(super) fn make_room(&mut self, now: Nanos, counters: &mut Counters) {
        let Some(copies) = &mut self.copies else { return };
        let (run, all) = (copies.run, copies.marks.len().max(1));
        let from = copies.sought % all;
        let (before, after) = copies.marks.split_at(from);
        let old = |mark: &u8| *mark != 0 && *mark != run;
        let found = after.iter().chain(before).take(SOUGHT).position(old);
        copies.sought = (from + found.unwrap_or(SOUGHT)) % all;
        if found.is_some() {
            let slot = copies.sought as u32;
            self.remove_session(slot, now, counters);
            counters.add(Stat::CopiesEnded, 1);
        }
    }

    /// The partner's flow has ended.
    pub fn end_copy(&mut self, key: &Key, now: Nanos, counters: &mut Counters) {
        if let Some(slot) = self.find_copied(key) {
            self.remove_session(slot, now, counters);
            counters.add(Stat::CopiesEnded, 1);
        }
    }

    /// The sweep is at a session. True: it was a copy without a place, and has ended.
    #[inline(never)]
    pub(super) fn keep_copy(&mut self, slot: u32, now: Nanos, up: &Uplinks, counters: &mut Counters) -> bool {
        let Some(copies) = &mut self.copies else { return false };
        if !copies.is_copy(slot) {
            return false;
        }
        if !copies.standby {
            self.adopt(slot, up);
            return false;
        }
        let mapping = self.roots[slot as usize].mapping;
        if mapping != NONE && !self.mappings.get(mapping).has_place() {
            self.remove_session(slot, now, counters);
            counters.add(Stat::CopiesEnded, 1);
            return true;
        }
        self.sessions.get_mut(slot).refreshed = tick(now);
        self.bind_anew(slot, up);
        false
    }

    /// A copy is this member's own from now on, if this member has the role. True: it was one.
    pub(super) fn adopt(&mut self, slot: u32, up: &Uplinks) -> bool {
        let Some(copies) = self.copies.as_mut().filter(|copies| !copies.standby && copies.is_copy(slot))
        else {
            return false;
        };
        copies.forget(slot);
        let session = self.sessions.get_mut(slot);
        if copies.since.wrapping_sub(session.refreshed) as i32 > 0 {
            session.refreshed = copies.since;
        }
        self.bind_anew(slot, up);
        true
    }

    /// Whether a session that is `left` still is if it was a copy: its WAN may have come up here since the sweep was there.
    #[cold]
    #[inline(never)]
    pub(super) fn stays_left(&mut self, slot: u32, up: &Uplinks) -> bool {
        !self.adopt(slot, up) || self.left(self.sessions.get(slot), &self.roots[slot as usize], up)
    }

    /// Binds a copy, and its mapping, to its WAN as that is here: by the epochs that count now if it is fit, else as left.
    pub(super) fn bind_anew(&mut self, slot: u32, up: &Uplinks) {
        let (session, root) = (self.sessions.get(slot), self.roots[slot as usize]);
        if matches!(root.kind, Kind::Internal | Kind::Away) {
            return;
        }
        let (wan, protocol) = (session.wan(), session.protocol());
        let there = self.is_there(root.kind, wan, session.outside().0, up);
        let bond = up.bond(root.group, wan).filter(|_| there);
        self.roots[slot as usize].epoch = bond.map_or(LEFT, |bond| bond.of(protocol, root.kind));
        if root.mapping == NONE {
            return;
        }
        let old = *self.mappings.get(root.mapping);
        if old.wan != wan {
            return;
        }
        let (epoch, tcp) = bond.map_or((LEFT, LEFT), |bond| (bond.epoch, bond.tcp));
        let epoch = if old.is_orphan() { LEFT } else { epoch };
        if (old.epoch, old.tcp) != (epoch, tcp) {
            self.hosts.unstick(&old);
            let new = self.mappings.get_mut(root.mapping);
            (new.epoch, new.tcp) = (epoch, tcp);
            self.hosts.stick(new, up);
        }
    }

    /// A WAN is fit, and has the address by which a flow of this kind is translated.
    fn is_there(&self, kind: Kind, wan: WanId, outside: std::net::Ipv4Addr, up: &Uplinks) -> bool {
        let ours = matches!(kind, Kind::Masquerade | Kind::Shared | Kind::Portless);
        up.get(wan).is_some_and(|uplink| uplink.fit && (!ours || uplink.addresses.contains(outside)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_place::{World, config};
    use crate::wire::protocol::UDP;

    #[test]
    fn room_is_looked_for_a_part_of_the_table_at_a_time_and_the_next_time_behind_that() {
        let mut config = config(&[1], 70_000);
        config.paired = true;
        let mut world = World::with(&config, |_| true);
        world.send(UDP, 1, 5000).unwrap();
        let copies = world.nat.copies.as_mut().unwrap();
        copies.marks.fill(copies.run);
        (copies.marks[0], copies.sought) = (copies.run + 1, 1);
        for left in [1, 0] {
            world.nat.make_room(world.now, &mut world.counters);
            assert_eq!(world.nat.live(), left);
        }
    }
}
