//! What each inside host has: ports, sessions, how fast it makes more (RFC 6888 REQ-4, REQ-5), and where its mappings are.
//!
//! A host sticks to a WAN as long as it has mappings of a group there, so that flows which belong together stay together. Two such places
//! are remembered; what finds no room goes where its group goes.
//!
//! A host that has nothing is not remembered. There is room for many hosts, not for all: one that finds none is served
//! without limits rather than refused.

use std::net::Ipv4Addr;

use super::Uplinks;
use super::mapping::Mapping;
use super::rules::{Rate, Rules, Share};
use super::session::NONE;
use crate::base::{Nanos, WanId};
use crate::packet::DropReason;
use crate::table::hash::HashKey;
use crate::table::index::Index;
use crate::table::lent::CLASSES;
use crate::table::slab::Slab;

/// Hosts of one worker, at most.
const MOST: u32 = 1 << 18;
/// What a host may have in any case where its share is not fixed.
const LEAST: u32 = 64;
/// So long may a host save up its rate.
const DEPTH: u64 = 100_000_000;

/// A host.
#[derive(Clone, Copy, Debug)]
struct Host {
    ip: Ipv4Addr,
    ports: [u32; CLASSES],
    sessions: u32,
    sticks: [Stick; 2],
    /// Up to when its rate is used up
    spent: Nanos,
}

/// A WAN where a host has mappings of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Stick {
    /// How many; 0: it is free
    mappings: u32,
    group: u8,
    wan: u8,
    epoch: u8,
}

impl Stick {
    /// That of a mapping, should it be the first there.
    #[inline(always)]
    fn of(m: &Mapping) -> Stick {
        Stick { mappings: 1, group: m.group, wan: m.wan.0, epoch: m.epoch }
    }

    #[inline(always)]
    fn is_at(&self, other: &Stick) -> bool {
        (self.group, self.wan, self.epoch) == (other.group, other.wan, other.epoch)
    }

    #[inline(always)]
    fn stands(&self, up: &Uplinks) -> bool {
        let bond = up.bond(self.group, WanId(self.wan));
        self.mappings > 0 && bond.is_some_and(|bond| bond.epoch == self.epoch)
    }
}

impl Host {
    #[inline(always)]
    fn stick(&mut self, m: &Mapping, up: &Uplinks) {
        let ([first, second], new) = (&mut self.sticks, Stick::of(m));
        if first.is_at(&new) && first.mappings > 0 && m.pin == 0 {
            first.mappings += 1;
        } else if m.sticks() {
            stick_anew(first, second, new, up);
        }
    }
}

#[inline(never)]
fn stick_anew(first: &mut Stick, second: &mut Stick, new: Stick, up: &Uplinks) {
    match (second.is_at(&new) && second.mappings > 0, first.stands(up), second.stands(up)) {
        (true, ..) => second.mappings += 1,
        (_, false, _) => *first = new,
        (_, _, false) => *second = new,
        // Nobody remembers that.
        _ => {}
    }
}

impl Default for Host {
    fn default() -> Host {
        Host {
            ip: Ipv4Addr::UNSPECIFIED,
            ports: [0; CLASSES],
            sessions: 0,
            sticks: [Stick::default(); 2],
            spent: Nanos::ZERO,
        }
    }
}

/// The hosts of one worker.
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Slab<Host>,
    index: Index,
    /// The one that entered last: most open several flows at a time
    last: u32,
}

/// As `Hosts::choose`, for a host that has something elsewhere than where its group goes.
#[inline(never)]
fn stuck(sticks: &[Stick; 2], chosen: Option<WanId>, group: u8, up: &Uplinks) -> Option<WanId> {
    let standing = || sticks.iter().filter(|stick| stick.group == group && stick.stands(up));
    if standing().any(|stick| Some(WanId(stick.wan)) == chosen) {
        return chosen;
    }
    let takes = |wan: &WanId| up.get(*wan).is_some_and(|uplink| uplink.takes && uplink.fit);
    standing().map(|stick| WanId(stick.wan)).find(takes).or(chosen)
}

impl Hosts {
    /// None yet, with all memory taken.
    pub(super) fn new(sessions: u32, reserve: bool) -> Hosts {
        let most = sessions.clamp(1, MOST);
        Hosts { hosts: Slab::new(most, reserve), index: Index::new(most as usize, reserve), last: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// What a host has: sessions, and ports by class.
    pub(super) fn has(&self, slot: u32) -> (u32, [u32; CLASSES]) {
        let host = self.hosts.get(slot);
        (host.sessions, host.ports)
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.hosts.capacity() as usize * Slab::<Host>::slot_bytes() + self.index.bytes()
    }

    /// A host's number; `NONE`: it is not known.
    pub(super) fn find(&self, key: &HashKey, ip: Ipv4Addr) -> u32 {
        let found = self.index.find(Hosts::hash(key, ip), |slot| self.hosts.get(slot).ip == ip);
        found.unwrap_or(NONE)
    }

    /// The WAN that a new flow of a host takes in a group: where it has others of it, else what the group chooses.
    #[inline(always)]
    pub(super) fn choose(&self, slot: u32, ip: Ipv4Addr, group: u8, up: &Uplinks) -> Option<WanId> {
        let chosen = up.chosen(group, ip);
        if slot == NONE {
            return chosen;
        }
        let sticks = &self.hosts.get(slot).sticks;
        let [first, second] = sticks;
        let wan = chosen.map_or(u8::MAX, |wan| wan.0);
        // Nearly always it is in one place, or in none.
        let here = (first.mappings == 0) | (first.wan == wan) && second.mappings == 0;
        if here { chosen } else { stuck(sticks, chosen, group, up) }
    }

    /// A mapping of a host was made: it has a port more, of a class, and has used up what `may_spend` has given.
    #[inline(always)]
    pub(super) fn mapped(&mut self, m: &Mapping, class: usize, spent: Nanos, up: &Uplinks) {
        if m.host != NONE {
            let host = self.hosts.get_mut(m.host);
            host.ports[class % CLASSES] += 1;
            host.spent = spent;
            host.stick(m, up);
        }
    }

    /// A mapping of a host was moved to where it is: the host sticks to that.
    pub(super) fn stick(&mut self, m: &Mapping, up: &Uplinks) {
        if m.host != NONE {
            self.hosts.get_mut(m.host).stick(m, up);
        }
    }

    /// A mapping of a host leaves its place.
    #[inline(always)]
    pub(super) fn unstick(&mut self, m: &Mapping) {
        if m.host == NONE || !m.sticks() {
            return;
        }
        let sticks = &mut self.hosts.get_mut(m.host).sticks;
        if let Some(stick) = sticks.iter_mut().find(|stick| stick.is_at(&Stick::of(m))) {
            stick.mappings = stick.mappings.saturating_sub(1);
        }
    }

    /// By place: group, WAN, epoch, and how many mappings a host is said to have there. For checks.
    pub(super) fn sticking(&self, slot: u32) -> impl Iterator<Item = ((u8, WanId, u8), u32)> {
        let sticks = self.hosts.get(slot).sticks;
        sticks.into_iter().map(|s| ((s.group, WanId(s.wan), s.epoch), s.mappings)).filter(|(_, n)| *n > 0)
    }

    fn hash(key: &HashKey, ip: Ipv4Addr) -> u64 {
        key.hash(u64::from(ip.to_bits()), 1)
    }

    /// A host's number. A new one is forgotten by `leave` unless it has got something; `NONE`: there is no room.
    #[inline(always)]
    pub(super) fn enter(&mut self, key: &HashKey, ip: Ipv4Addr) -> u32 {
        // What a free slot holds is nobody's address.
        if self.hosts.get(self.last).ip == ip && !ip.is_unspecified() {
            return self.last;
        }
        let slot = self.enter_another(key, ip);
        if slot != NONE {
            self.last = slot;
        }
        slot
    }

    #[inline(never)]
    fn enter_another(&mut self, key: &HashKey, ip: Ipv4Addr) -> u32 {
        let hash = Hosts::hash(key, ip);
        if let Some(slot) = self.index.find(hash, |slot| self.hosts.get(slot).ip == ip) {
            return slot;
        }
        let Some(slot) = self.hosts.insert(Host { ip, ..Host::default() }) else { return NONE };
        if self.index.insert(hash, slot).is_err() {
            self.hosts.remove(slot);
            return NONE;
        }
        slot
    }

    /// Forgets a host that has nothing.
    #[inline]
    pub(super) fn leave(&mut self, key: &HashKey, slot: u32) {
        if slot == NONE {
            return;
        }
        let host = self.hosts.get(slot);
        if host.sessions == 0 && host.ports == [0; CLASSES] {
            let hash = Hosts::hash(key, host.ip);
            let known = self.index.remove(hash, slot);
            debug_assert!(known, "a host is forgotten once");
            self.hosts.remove(slot);
        }
    }

    /// Counts a session of a host more, or one less.
    #[inline]
    pub(super) fn sessions(&mut self, slot: u32, more: bool) {
        if slot != NONE {
            let host = self.hosts.get_mut(slot);
            host.sessions = if more { host.sessions + 1 } else { host.sessions.saturating_sub(1) };
        }
    }

    /// Counts a port of a host more, or one less.
    #[inline]
    pub(super) fn ports(&mut self, slot: u32, class: usize, more: bool) {
        if slot != NONE {
            let ports = &mut self.hosts.get_mut(slot).ports[class % CLASSES];
            *ports = if more { *ports + 1 } else { ports.saturating_sub(1) };
        }
    }

    /// Whether a host may have one more of what it has `has` of; `fair` is its share if that runs short.
    #[inline(always)]
    fn may(has: u32, share: Share, fair: impl FnOnce() -> Option<u32>) -> bool {
        match share {
            Share::Limit(most) => has < most,
            Share::Auto => has < LEAST || fair().is_none_or(|fair| has < fair),
        }
    }

    /// Among how many a share is counted: all that are known, and whoever comes next. Or one alone could take what there is, and the next
    /// would find nothing.
    fn sharers(&self) -> usize {
        self.len() + 1
    }

    /// Whether a host may have another session; `fair` gives its share if the table runs short.
    ///
    /// # Errors
    /// It may not.
    #[inline(always)]
    pub(super) fn may_open(
        &self,
        slot: u32,
        rules: &Rules,
        fair: impl FnOnce(usize) -> Option<u32>,
    ) -> Result<(), DropReason> {
        let free = slot == NONE
            || Hosts::may(self.hosts.get(slot).sessions, rules.sessions_per_host, || fair(self.sharers()));
        if free { Ok(()) } else { Err(DropReason::NatHostSessions) }
    }

    /// Whether a host may have another port; `fair` gives its share if the pool runs short.
    ///
    /// # Errors
    /// It has enough of them.
    #[inline(always)]
    pub(super) fn may_map(
        &self,
        slot: u32,
        class: usize,
        rules: &Rules,
        fair: impl FnOnce(usize) -> Option<u32>,
    ) -> Result<(), DropReason> {
        let free = slot == NONE
            || Hosts::may(self.hosts.get(slot).ports[class % CLASSES], rules.ports_per_host, || {
                fair(self.sharers())
            });
        if free { Ok(()) } else { Err(DropReason::NatHostPorts) }
    }

    /// Whether a host's rate allows one more now; gives up to when it is used up then. One that is not known has made none.
    ///
    /// # Errors
    /// It does not.
    #[inline(always)]
    pub(super) fn may_spend(&self, slot: u32, rate: Rate, now: Nanos) -> Result<Nanos, DropReason> {
        let cost = rate.gap().0;
        if slot == NONE {
            return Ok(Nanos((now.0 + cost).saturating_sub(DEPTH.max(cost))));
        }
        let from = self.hosts.get(slot).spent.0.max(now.0.saturating_sub(DEPTH.max(cost)));
        if from + cost > now.0 { Err(DropReason::NatCreationRate) } else { Ok(Nanos(from + cost)) }
    }

    /// Uses up what `may_spend` has given.
    #[inline]
    pub(super) fn spend(&mut self, slot: u32, spent: Nanos) {
        if slot != NONE {
            self.hosts.get_mut(slot).spent = spent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn rfc6888_4c_a_host_makes_mappings_at_its_rate_and_another_one_at_its_own() {
        let key = HashKey::draw(&mut StdRng::seed_from_u64(1));
        let mut hosts = Hosts::new(64, false);
        let (a, b) = (hosts.enter(&key, [10, 0, 0, 1].into()), hosts.enter(&key, [10, 0, 0, 2].into()));
        assert_ne!(a, b);
        let mut make = |host, rate, now| {
            let spent = hosts.may_spend(host, Rate::per_second(rate), now);
            spent.map(|spent| hosts.spend(host, spent)).is_ok()
        };
        let second = |n: u64| Nanos(5_000_000_000 + n * 10_000);
        let made = (0..100_000).filter(|n| make(a, 1000, second(*n))).count();
        assert!((1000..=1100).contains(&made), "{made}");
        assert!(make(b, 1000, second(100_000)));
        assert!((0..10).all(|n| make(a, 1, Nanos::from_s(100 + n))), "one a second is one a second");
        assert!(!make(a, 1, Nanos::from_ms(109_500)), "and no more");
    }

    #[test]
    fn a_host_with_nothing_is_forgotten_and_without_room_nobody_is_refused() {
        let key = HashKey::draw(&mut StdRng::seed_from_u64(1));
        let mut hosts = Hosts::new(2, false);
        let a = hosts.enter(&key, [10, 0, 0, 1].into());
        hosts.sessions(a, true);
        hosts.leave(&key, a);
        assert_eq!(hosts.enter(&key, [10, 0, 0, 1].into()), a);
        hosts.enter(&key, [10, 0, 0, 2].into());
        let none = hosts.enter(&key, [10, 0, 0, 3].into());
        assert_eq!(none, NONE);
        let rules = Rules { ports_per_host: Share::Limit(1), ..Rules::default() };
        assert!(
            hosts.may_map(none, 0, &rules, |_| None).is_ok()
                && hosts.may_spend(none, Rate::per_second(1), Nanos::ZERO).is_ok()
        );
        hosts.ports(a, 1, true);
        assert_eq!(hosts.may_map(a, 1, &rules, |_| None), Err(DropReason::NatHostPorts));
        assert!(hosts.may_map(a, 0, &rules, |_| None).is_ok(), "rfc6888_4b: by protocol");
        hosts.ports(a, 1, false);
        hosts.sessions(a, false);
        hosts.leave(&key, a);
        assert_eq!(hosts.len(), 1);
        assert_ne!(hosts.enter(&key, [10, 0, 0, 3].into()), NONE);
    }
}
