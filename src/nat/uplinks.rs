//! The WANs as the NAT sees them, and the groups that choose among them: a part of the view.
//!
//! A flow from inside belongs to one group for good; the group says where its new mappings go (`Choice`) and which of those
//! made before still stand (`Bond`). Invariants:
//! - group 0 always exists and is whose flows no rule of the policy names;
//! - what outside has opened is in no group (`NO_GROUP`): it stays where it was asked for, whatever a group leaves or drains;
//! - epochs that live are 1 to 255, 0 means "left for good" and is never current, whatever a bond counts up to;
//! - a bond's `tcp` never stays as it is longer than its `epoch` does: between the two TCP that is there is held on to, and
//!   nothing new is put there.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Addresses;
use super::session::Kind;
pub use crate::base::Fate;
use crate::base::WanId;
use crate::wire::protocol;

/// The epoch of what is left for good.
pub const LEFT: u8 = 0;
/// The group of flows that no rule of the policy names.
pub const DEFAULT_GROUP: u8 = 0;

/// Stands for no group: flows that outside has opened.
pub const NO_GROUP: u8 = u8::MAX;

/// A WAN, as the NAT sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplink {
    /// The router's addresses there that it translates to, at least one: hosts are shared out to them
    pub addresses: Addresses,
    /// Packets can be sent there
    pub fit: bool,
    /// It is down, but TCP that is there still leaves by it
    pub holds: bool,
    /// Up, not degraded and not drained: a host that sticks to it may open more there
    pub takes: bool,
}

impl Uplink {
    /// One that is well.
    pub fn well(addresses: Addresses) -> Uplink {
        Uplink { addresses, fit: true, holds: false, takes: true }
    }

    /// Packets of established flows of this protocol leave by it.
    #[inline(always)]
    pub fn sends(&self, protocol: u8) -> bool {
        self.fit || (self.holds && protocol == protocol::TCP)
    }
}

/// What holds a group's flows to a WAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// 1 to 255; another one each time the group leaves the WAN
    pub epoch: u8,
    /// The same for TCP that is there, which is left later
    pub tcp: u8,
    /// What becomes of UDP, and of protocols without ports
    pub udp: Fate,
    /// What becomes of echoes
    pub icmp: Fate,
}

impl Default for Bond {
    fn default() -> Bond {
        Bond { epoch: 1, tcp: 1, udp: Fate::Rebind, icmp: Fate::Rebind }
    }
}

impl Bond {
    /// The epoch that a session made now remembers. What goes as it is has no address of the WAN to hold on to, TCP or not.
    #[inline(always)]
    pub fn of(&self, protocol: u8, kind: Kind) -> u8 {
        if protocol == protocol::TCP && kind != Kind::Plain { self.tcp } else { self.epoch }
    }

    /// What becomes of a protocol's flows.
    pub fn fate(&self, protocol: u8) -> Fate {
        if protocol == protocol::ICMP { self.icmp } else { self.udp }
    }
}

/// The WAN that a flow takes which no other reason binds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// None
    #[default]
    None,
    /// The same for all hosts
    One(WanId),
    /// By the host's slot (`slot`)
    Table(Arc<[WanId; 256]>),
}

impl Choice {
    /// A host's WAN.
    #[inline(always)]
    pub fn of(&self, host: Ipv4Addr) -> Option<WanId> {
        match self {
            Choice::None => None,
            Choice::One(wan) => Some(*wan),
            Choice::Table(table) => table.get(slot(host)).copied(),
        }
    }
}

/// A host's slot in the table of a choice: a fixed mix of its address, the same on every worker and in every run.
#[inline]
pub fn slot(host: Ipv4Addr) -> usize {
    // Fibonacci hashing; the fold lets the high bits of the address count as much as the low ones.
    let bits = u64::from(host.to_bits()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((bits ^ bits >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// A group: what its flows choose, and what holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Where new mappings go
    pub choice: Choice,
    /// By `WanId`, members or not
    pub bonds: Vec<Bond>,
}

/// The WANs and the groups, in a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplinks {
    /// By `WanId`
    pub wans: Vec<Uplink>,
    /// The default group first
    pub groups: Vec<Group>,
    /// What holds flows that are in no group, by `WanId`
    pub outside: Vec<Bond>,
    /// The partner of a pair forwards what lives on its WANs
    pub away: bool,
}

impl Uplinks {
    /// WANs that are all well, and one group whose flows take `carrying`.
    pub fn well(wans: impl IntoIterator<Item = Addresses>, carrying: Option<WanId>) -> Uplinks {
        let wans: Vec<Uplink> = wans.into_iter().map(Uplink::well).collect();
        let bonds = vec![Bond::default(); wans.len()];
        let choice = carrying.map_or(Choice::None, Choice::One);
        Uplinks { wans, outside: bonds.clone(), groups: vec![Group { choice, bonds }], away: false }
    }

    pub(super) fn get(&self, wan: WanId) -> Option<&Uplink> {
        self.wans.get(wan.index())
    }

    /// An address of a WAN, by its place in the list.
    #[inline(always)]
    pub(super) fn address(&self, wan: WanId, at: u16) -> Ipv4Addr {
        let address = self.get(wan).and_then(|u| u.addresses.get(usize::from(at)));
        address.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// What holds a group's flows to a WAN, or those of no group.
    #[inline(always)]
    pub fn bond(&self, group: u8, wan: WanId) -> Option<&Bond> {
        match self.groups.get(usize::from(group)) {
            Some(group) => group.bonds.get(wan.index()),
            None => self.outside.get(wan.index()).filter(|_| group == NO_GROUP),
        }
    }

    /// The WAN that a host's new flows take in a group, which may be down. What is in none goes by the default one, should it have
    /// to move: untranslated it may.
    #[inline(always)]
    pub fn chosen(&self, group: u8, host: Ipv4Addr) -> Option<WanId> {
        let group = if group == NO_GROUP { DEFAULT_GROUP } else { group };
        self.groups.get(usize::from(group))?.choice.of(host)
    }

    #[inline(always)]
    pub(super) fn fit(&self, wan: WanId) -> bool {
        self.get(wan).is_some_and(|u| u.fit)
    }

    /// Packets of established flows of this protocol leave by it.
    #[inline(always)]
    pub(super) fn sends(&self, wan: WanId, protocol: u8) -> bool {
        self.get(wan).is_some_and(|u| u.sends(protocol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_even_among_neighbours_in_a_subnet_and_over_subnets() {
        for step in [1u32, 16, 256, 4096] {
            let mut hits = [0u32; 256];
            for n in 0..25_600 {
                hits[slot(Ipv4Addr::from_bits(0x0a00_0000 + n * step))] += 1;
            }
            let (least, most) = (hits.iter().min().unwrap(), hits.iter().max().unwrap());
            assert!(*least > 50 && *most < 170, "step {step}: {least} to {most} of 100");
        }
    }

    #[test]
    fn tcp_remembers_its_own_epoch_unless_it_goes_as_it_is() {
        let bond = Bond { epoch: 3, tcp: 2, udp: Fate::Drop, icmp: Fate::Rebind };
        assert_eq!(bond.of(protocol::TCP, Kind::Masquerade), 2);
        assert_eq!(bond.of(protocol::TCP, Kind::Plain), 3);
        assert_eq!(bond.of(protocol::UDP, Kind::Masquerade), 3);
        assert_eq!((bond.fate(protocol::ICMP), bond.fate(47)), (Fate::Rebind, Fate::Drop));
    }
}
