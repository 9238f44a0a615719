//! Who answers at an address: (interface, IPv4 address) -> MAC, as the management thread has found it out.
//!
//! The worker only reads and marks: an entry that went stale and is used again asks to be confirmed, once, and goes on
//! serving meanwhile (RFC 1122 2.3.2.1). Full means that a new entry is refused; nothing is pushed out.
//!
//! Flows remember the number of the entry that they go to (a hop). So a number goes on meaning the same neighbour after
//! that was forgotten, and is given to another one only when there is no other left: `set` says so then, and whoever
//! remembers numbers must find them anew.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::hash::HashKey;
use super::index::Index;
use super::store::Store;
use crate::base::{IfaceId, Mac};

/// Where to send to: what a packet reads, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Neighbor(u64);

impl std::fmt::Debug for Neighbor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {:?}, {:?}", self.mac(), self.iface(), self.state())
    }
}

impl Neighbor {
    fn new(iface: IfaceId, mac: Mac, state: State) -> Neighbor {
        Neighbor(mac.bits() | u64::from(iface.0) << 48 | (state as u64) << 56)
    }

    /// Its address.
    #[inline(always)]
    pub fn mac(self) -> Mac {
        let [a, b, c, d, e, f, ..] = self.0.to_le_bytes();
        Mac([a, b, c, d, e, f])
    }

    /// If it can be used as it is: its link, and its address as the first six bytes of a frame, read little-endian; what is above
    /// them is of no meaning.
    #[inline(always)]
    pub fn fresh(self) -> Option<(IfaceId, u64)> {
        let above = self.0 >> 48;
        (above >> 8 == State::Fresh as u64).then_some((IfaceId(above as u8), self.0))
    }

    /// Its link.
    #[inline(always)]
    pub fn iface(self) -> IfaceId {
        IfaceId((self.0 >> 48) as u8)
    }

    /// Whether it can be used.
    #[inline(always)]
    pub fn state(self) -> State {
        match self.0 >> 56 {
            0 => State::Fresh,
            1 => State::Stale,
            _ => State::Forgotten,
        }
    }

    /// Notes whether it can be used.
    pub fn set_state(&mut self, state: State) {
        *self = Neighbor::new(self.iface(), self.mac(), state);
    }
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Where it is
    Fresh,
    /// Where it was; not confirmed for a while: its next use asks for it, and ends this
    Stale,
    /// Nothing (any more)
    Forgotten,
}

#[derive(Clone, Copy)]
struct Name {
    ip: Ipv4Addr,
    /// Stands among those that can be given away
    spare: bool,
}

/// What came of `Neighbors::set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is known now
    Yes,
    /// It is known now, by a number that was a forgotten neighbour's
    Reused,
    /// The table is full
    No,
}

/// The table of a worker.
pub struct Neighbors {
    key: HashKey,
    index: Index,
    hops: Store<Neighbor>,
    names: Store<Name>,
    used: usize,
    /// Those that were forgotten; some are known again
    spare: VecDeque<u16>,
}

impl std::fmt::Debug for Neighbors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Neighbors({} of {})", self.used, self.hops.len())
    }
}

impl Neighbors {
    /// Room for `capacity` neighbours, known or forgotten, 65 536 at most.
    pub fn new(capacity: u32, key: HashKey) -> Neighbors {
        let capacity = (capacity as usize).min(1 << 16);
        let nobody = Neighbor::new(IfaceId(0), Mac::ZERO, State::Forgotten);
        let nameless = Name { ip: Ipv4Addr::UNSPECIFIED, spare: false };
        Neighbors {
            key,
            index: Index::new(capacity, false),
            hops: Store::new(capacity, nobody, false),
            names: Store::new(capacity, nameless, false),
            used: 0,
            spare: VecDeque::with_capacity(capacity),
        }
    }

    /// A secret for another table of the same worker.
    pub fn secret(&self) -> HashKey {
        self.key.derive(1)
    }

    fn hash(&self, iface: IfaceId, ip: Ipv4Addr) -> u64 {
        self.key.hash(u64::from(ip.to_bits()), u64::from(iface.0))
    }

    #[inline]
    fn slot(&self, hash: u64, iface: IfaceId, ip: Ipv4Addr) -> Option<usize> {
        let is_it = |slot: u32| {
            let slot = slot as usize;
            self.names[slot].ip == ip && self.hops[slot].iface() == iface
        };
        self.index.find(hash, is_it).map(|slot| slot as usize)
    }

    /// The number of an address that is known.
    #[inline]
    pub fn hop(&self, iface: IfaceId, ip: Ipv4Addr) -> Option<u16> {
        let slot = self.slot(self.hash(iface, ip), iface, ip)?;
        (self.hops[slot].state() != State::Forgotten).then_some(slot as u16)
    }

    /// The entry of an address that is known.
    pub fn find(&mut self, iface: IfaceId, ip: Ipv4Addr) -> Option<&mut Neighbor> {
        let hop = self.hop(iface, ip)?;
        Some(self.get_mut(hop))
    }

    /// The entry of a number.
    #[inline(always)]
    pub fn get(&self, hop: u16) -> Neighbor {
        self.hops[usize::from(hop)]
    }

    /// The entry of a number.
    #[inline(always)]
    pub fn get_mut(&mut self, hop: u16) -> &mut Neighbor {
        &mut self.hops[usize::from(hop)]
    }

    /// Learns or changes an address; it is fresh then.
    pub fn set(&mut self, iface: IfaceId, ip: Ipv4Addr, mac: Mac) -> Learned {
        let entry = Neighbor::new(iface, mac, State::Fresh);
        let hash = self.hash(iface, ip);
        if let Some(slot) = self.slot(hash, iface, ip) {
            self.hops[slot] = entry;
            return Learned::Yes;
        }
        let (slot, reused) = if self.used < self.hops.len() {
            self.used += 1;
            (self.used - 1, Learned::Yes)
        } else {
            match self.give_away() {
                Some(slot) => (slot, Learned::Reused),
                None => return Learned::No,
            }
        };
        self.hops[slot] = entry;
        self.names[slot] = Name { ip, spare: false };
        if self.index.insert(hash, slot as u32).is_err() {
            self.hops[slot].set_state(State::Forgotten);
            self.names[slot].ip = Ipv4Addr::UNSPECIFIED;
            self.set_aside(slot);
            return Learned::No;
        }
        reused
    }

    /// The slot that was forgotten first, nobody's any more.
    fn give_away(&mut self) -> Option<usize> {
        loop {
            let slot = usize::from(self.spare.pop_front()?);
            self.names[slot].spare = false;
            let was = self.hops[slot];
            if was.state() == State::Forgotten {
                self.index.remove(self.hash(was.iface(), self.names[slot].ip), slot as u32);
                return Some(slot);
            }
        }
    }

    fn set_aside(&mut self, slot: usize) {
        if !std::mem::replace(&mut self.names[slot].spare, true) {
            self.spare.push_back(slot as u16);
        }
    }

    /// Forgets an address.
    pub fn remove(&mut self, iface: IfaceId, ip: Ipv4Addr) {
        if let Some(hop) = self.hop(iface, ip) {
            self.get_mut(hop).set_state(State::Forgotten);
            self.set_aside(usize::from(hop));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashMap;

    fn table(capacity: u32) -> Neighbors {
        Neighbors::new(capacity, HashKey::draw(&mut StdRng::seed_from_u64(1)))
    }

    #[test]
    fn the_same_address_on_two_interfaces_is_two_neighbours() {
        let mut table = table(16);
        let ip = Ipv4Addr::new(192, 168, 1, 1);
        assert_eq!(table.set(IfaceId(1), ip, Mac([2, 0, 0, 0, 0, 1])), Learned::Yes);
        assert_eq!(table.set(IfaceId(2), ip, Mac([2, 0, 0, 0, 0, 2])), Learned::Yes);
        assert_eq!(table.find(IfaceId(1), ip).unwrap().mac(), Mac([2, 0, 0, 0, 0, 1]));
        table.remove(IfaceId(1), ip);
        assert!(table.find(IfaceId(1), ip).is_none());
        assert_eq!(table.find(IfaceId(2), ip).unwrap().mac(), Mac([2, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn a_full_table_refuses_the_new_and_keeps_the_old() {
        let mut table = table(4);
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        let learned = |table: &mut Neighbors, n| table.set(IfaceId(0), ip(n), Mac::ZERO) != Learned::No;
        assert_eq!((0..6).filter(|n| learned(&mut table, *n)).count(), 4);
        assert!((0..4).all(|n| table.find(IfaceId(0), ip(n)).is_some()));
    }

    #[test]
    fn a_hop_means_the_same_neighbour_until_it_is_said_to_be_reused() {
        let mut table = table(2);
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        table.set(IfaceId(0), ip(1), Mac([2; 6]));
        let hop = table.hop(IfaceId(0), ip(1)).unwrap();
        table.remove(IfaceId(0), ip(1));
        assert_eq!(table.hop(IfaceId(0), ip(1)), None);
        assert_eq!(table.get(hop).state(), State::Forgotten);
        // Another one does not get its number while there is one that nobody has had.
        assert_eq!(table.set(IfaceId(0), ip(2), Mac([4; 6])), Learned::Yes);
        assert_eq!(table.set(IfaceId(0), ip(1), Mac([6; 6])), Learned::Yes);
        assert_eq!(table.hop(IfaceId(0), ip(1)), Some(hop), "known again, by its number");
        table.remove(IfaceId(0), ip(1));
        assert_eq!(table.set(IfaceId(0), ip(3), Mac([8; 6])), Learned::Reused);
        assert_eq!(table.get(hop).mac(), Mac([8; 6]));
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_map_and_hops_move_only_when_said(ops in prop::collection::vec((any::<bool>(), 0u8..12), 0..300)) {
            let mut table = table(8);
            let (mut model, mut hops) = (HashMap::new(), HashMap::new());
            for (n, (learn, host)) in ops.into_iter().enumerate() {
                let ip = Ipv4Addr::new(10, 0, 0, host);
                let mac = Mac([2, 0, 0, 0, 0, n as u8]);
                if learn {
                    match table.set(IfaceId(0), ip, mac) {
                        Learned::No => {
                            prop_assert!(!model.contains_key(&host) && model.len() == 8);
                            continue;
                        }
                        Learned::Reused => hops.clear(),
                        Learned::Yes => {}
                    }
                    model.insert(host, mac);
                    let hop = table.hop(IfaceId(0), ip).unwrap();
                    prop_assert_eq!(*hops.entry(host).or_insert(hop), hop);
                    prop_assert!(hops.iter().filter(|(_, h)| **h == hop).count() == 1);
                } else {
                    table.remove(IfaceId(0), ip);
                    model.remove(&host);
                }
                for host in 0..12 {
                    let found = table.find(IfaceId(0), Ipv4Addr::new(10, 0, 0, host)).map(|n| n.mac());
                    prop_assert_eq!(found, model.get(&host).copied());
                }
            }
        }
    }
}
