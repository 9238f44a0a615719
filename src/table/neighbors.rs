//! Who answers at an address: (interface, IPv4 address) -> MAC, as the management thread has found it out.
//!
//! The worker only reads and marks: an entry that went stale and is used again asks to be confirmed, once, and goes on
//! serving meanwhile (RFC 1122 2.3.2.1). Full means that a new entry is refused; nothing is pushed out.

use std::net::Ipv4Addr;

use super::hash::HashKey;
use super::index::Index;
use super::slab::Slab;
use crate::base::{IfaceId, Mac};

/// A neighbour's entry.
#[derive(Clone, Copy, Debug)]
pub struct Neighbor {
    iface: IfaceId,
    ip: Ipv4Addr,
    /// Where to send to.
    pub mac: Mac,
    /// Not confirmed for a while: its next use asks for it, and clears this.
    pub stale: bool,
}

impl Default for Neighbor {
    fn default() -> Neighbor {
        Neighbor { iface: IfaceId(0), ip: Ipv4Addr::UNSPECIFIED, mac: Mac::ZERO, stale: false }
    }
}

/// The table of a worker.
#[derive(Debug)]
pub struct Neighbors {
    key: HashKey,
    index: Index,
    slab: Slab<Neighbor>,
}

impl Neighbors {
    /// Room for `capacity` neighbours.
    pub fn new(capacity: u32, key: HashKey) -> Neighbors {
        Neighbors { key, index: Index::new(capacity as usize), slab: Slab::new(capacity) }
    }

    fn slot(&self, iface: IfaceId, ip: Ipv4Addr) -> (u64, Option<u32>) {
        let hash = self.key.hash(u64::from(ip.to_bits()), u64::from(iface.0));
        let is_it = |slot| {
            let n = self.slab.get(slot);
            n.ip == ip && n.iface == iface
        };
        (hash, self.index.find(hash, is_it))
    }

    /// The entry of an address.
    #[inline]
    pub fn find(&mut self, iface: IfaceId, ip: Ipv4Addr) -> Option<&mut Neighbor> {
        let (_, slot) = self.slot(iface, ip);
        slot.map(|slot| self.slab.get_mut(slot))
    }

    /// Learns or changes an address; it is fresh then. False if the table is full.
    pub fn set(&mut self, iface: IfaceId, ip: Ipv4Addr, mac: Mac) -> bool {
        let entry = Neighbor { iface, ip, mac, stale: false };
        let (hash, slot) = self.slot(iface, ip);
        if let Some(slot) = slot {
            *self.slab.get_mut(slot) = entry;
            return true;
        }
        let Some(slot) = self.slab.insert(entry) else { return false };
        if self.index.insert(hash, slot).is_err() {
            self.slab.remove(slot);
            return false;
        }
        true
    }

    /// Forgets an address.
    pub fn remove(&mut self, iface: IfaceId, ip: Ipv4Addr) {
        if let (hash, Some(slot)) = self.slot(iface, ip) {
            self.index.remove(hash, slot);
            self.slab.remove(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn the_same_address_on_two_interfaces_is_two_neighbours() {
        let mut table = Neighbors::new(16, HashKey::draw(&mut StdRng::seed_from_u64(1)));
        let ip = Ipv4Addr::new(192, 168, 1, 1);
        assert!(table.set(IfaceId(1), ip, Mac([2, 0, 0, 0, 0, 1])));
        assert!(table.set(IfaceId(2), ip, Mac([2, 0, 0, 0, 0, 2])));
        assert_eq!(table.find(IfaceId(1), ip).unwrap().mac, Mac([2, 0, 0, 0, 0, 1]));
        table.remove(IfaceId(1), ip);
        assert!(table.find(IfaceId(1), ip).is_none());
        assert_eq!(table.find(IfaceId(2), ip).unwrap().mac, Mac([2, 0, 0, 0, 0, 2]));
    }

    #[test]
    fn a_full_table_refuses_the_new_and_keeps_the_old() {
        let mut table = Neighbors::new(4, HashKey::draw(&mut StdRng::seed_from_u64(1)));
        let ip = |n| Ipv4Addr::new(10, 0, 0, n);
        assert_eq!((0..6).filter(|n| table.set(IfaceId(0), ip(*n), Mac::ZERO)).count(), 4);
        assert!((0..4).all(|n| table.find(IfaceId(0), ip(n)).is_some()));
    }
}
