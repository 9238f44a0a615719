//! Network address translation: endpoint-independent mapping per WAN (RFC 4787, 5382, 5508), and what a failover does to it.
//!
//! `Nat` is one worker's: the hosts it owns, their mappings, sessions and its slice of every WAN's ports. Its doors are
//! `outbound`, `inbound` and `expire`; `uplinks` has the WANs and the groups that choose among them; `rules` and `statics` say what
//! the profile wants of a flow that begins; `rewrite` puts a result into the bytes; `lots` lends ports to other workers and
//! takes them in. Invariants:
//! - a live mapping's outside endpoint belongs to it alone (RFC 4787 REQ-3);
//! - a packet from outside without mapping changes nothing;
//! - no mapping is made on a WAN that is not fit, nothing stale translates: one compare tells what a failover has left
//!   (`standing`), so that none waits for a walk over sessions; TCP is told of it by one, at leisure (`resets`).
#![forbid(unsafe_code)]

mod addresses;
mod audit;
mod changes;
mod copies;
mod copying;
mod established;
pub mod explain;
mod gauges;
mod hosts;
pub mod inbound;
pub mod internal;
pub mod kill;
pub mod log;
pub mod lots;
pub mod mapping;
mod open;
pub mod outbound;
mod peers;
mod place;
mod quoted;
pub mod resets;
pub mod rewrite;
mod root;
pub mod rules;
pub mod session;
mod sessions;
mod standing;
pub mod statics;
mod sweep;
pub mod tcp;
pub mod timeouts;
pub mod uplinks;

#[cfg(test)]
mod tests_alike;
#[cfg(test)]
mod tests_audit;
#[cfg(test)]
mod tests_copying;
#[cfg(test)]
mod tests_explain;
#[cfg(test)]
mod tests_gauges;
#[cfg(test)]
mod tests_hosts;
#[cfg(test)]
mod tests_inbound;
#[cfg(test)]
mod tests_place;
#[cfg(test)]
mod tests_session;
#[cfg(test)]
mod tests_standing;
#[cfg(test)]
mod tests_tables;

use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::base::{Nanos, WanId};
use crate::packet::{Counters, DropReason};
use crate::table::bags::HIGH;
use crate::table::hash::HashKey;
use crate::table::index::Index;
use crate::table::lent::CLASSES;
use crate::table::ports::{PortPools, Quarantine};
use crate::table::slab::Slab;
use crate::table::store::Store;
pub use addresses::Addresses;
use gauges::Gauges;
pub use gauges::TcpGauge;
use hosts::Hosts;
use lots::Lots;
use mapping::Mapping;
use rules::Filter;
pub use rules::Rules;
pub use session::Session;
use session::{INSIDE, Key, NOWHERE, OUTSIDE, Root};
pub use timeouts::Timeouts;
use timeouts::tick;
pub use uplinks::{Bond, Choice, Fate, Group, Uplink, Uplinks};

/// What a packet meets at the door besides the NAT itself.
#[derive(Debug)]
pub struct Env<'a> {
    /// The WANs, as they stand
    pub up: &'a Uplinks,
    /// What the profile wants
    pub rules: &'a Rules,
    /// The time
    pub now: Nanos,
    /// Where it is counted
    pub counters: &'a mut Counters,
}

/// A packet's part of the answer: the endpoint that takes the place of the inside one, or of the outside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The new address
    pub addr: Ipv4Addr,
    /// The new port or echo identifier
    pub port: u16,
    /// The WAN it concerns
    pub wan: WanId,
    /// The session's slot
    pub slot: u32,
}

/// What becomes of a packet from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Its source becomes this
    Translate(Translation),
    /// A TCP segment to be answered by a reset
    Reset(DropReason),
    /// Not carried
    Drop(DropReason),
}

/// What one worker's NAT is made with.
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// How many sessions (and mappings) it has room for
    pub sessions: u32,
    /// How long they live
    pub timeouts: Timeouts,
    /// One per WAN: how many addresses it has, 0 to 65536
    pub wans: Vec<usize>,
    /// Who may answer a mapping, by class of ports
    pub filtering: [Filter; CLASSES],
    /// How outside ports rest after use
    pub quarantine: Quarantine,
    /// Outside ports that are never given out nor lent, as they are used otherwise
    pub reserved: Vec<Reserved>,
    /// It has a partner in a pair: it tells that one of its flows, and takes copies of that one's
    pub paired: bool,
    /// Tables may take huge pages from the reserve
    pub reserve: bool,
    /// Seed of the secret and of the ports
    pub seed: u64,
}

/// Which outside ports and echo identifiers a worker may give out.
pub trait PortSlice {
    /// Whether this one is the worker's.
    fn holds(&self, port: u16) -> bool;
}

impl<F: Fn(u16) -> bool> PortSlice for F {
    fn holds(&self, port: u16) -> bool {
        self(port)
    }
}

/// Outside ports of an address of a WAN: which address, the protocol (`wire::protocol`), the first and the last.
pub type Reserved = (WanId, u16, u8, u16, u16);

/// The lowest of each class of ports (`table::lent`) that any source may get and that may be lent. Of UDP and TCP those
/// below go to sources that are below themselves (RFC 4787 REQ-3a); echo identifiers are given out all but 0.
pub const FIRST_PORTS: [u16; CLASSES] = [HIGH, HIGH, 1];
/// Ports there are.
const ALL_PORTS: usize = 1 << 16;

/// Groups that sessions are counted by; what is in none is counted behind them.
const MOST_GROUPS: usize = 64;

/// One worker's translation state.
#[derive(Debug)]
pub struct Nat {
    key: HashKey,
    rng: StdRng,
    sessions: Slab<Session>,
    /// By the same slot
    roots: Store<Root>,
    mappings: Slab<Mapping>,
    /// Two entries a session: slot * 2 + side
    index: Index,
    /// One entry a mapping, by its inside endpoint; by its outside endpoint it stands in `ports`
    mapping_index: Index,
    /// The rings of `peers` that are not their mapping's first
    further: Index,
    hosts: Hosts,
    /// [wan][udp, tcp, icmp]
    ports: Vec<[PortPools; CLASSES]>,
    lots: Lots,
    timeouts: Timeouts,
    filtering: [Filter; CLASSES],
    sweep: sweep::Sweep,
    resets: resets::Resets,
    /// Live sessions per WAN, and on none
    per_wan: Vec<u64>,
    /// By group and WAN (`tie`)
    per_tie: Vec<u64>,
    gauges: Gauges,
    wans: usize,
    /// Sessions that outside has opened and inside has not answered
    strangers: u32,
    /// Who is told of mappings, if the profile wants that
    log: Option<Box<log::Log>>,
    /// If it has a partner
    copies: Option<Box<copies::Copies>>,
}

impl Nat {
    /// Empty, with all its memory taken.
    pub fn new(config: &NatConfig, slice: &impl PortSlice) -> Nat {
        let mut rng = StdRng::seed_from_u64(config.seed);
        // A mapping has a port of its own: there are no more of them than ports, of which other workers may lend all.
        let per_address = CLASSES * ALL_PORTS;
        let addresses: usize = config.wans.iter().sum();
        let mappings = (addresses * per_address).min(config.sessions as usize).max(1);
        let reserve = config.reserve;
        Nat {
            key: HashKey::draw(&mut rng),
            rng,
            sessions: Slab::new(config.sessions, reserve),
            roots: Store::new(config.sessions as usize, Root::default(), reserve),
            mappings: Slab::new(mappings as u32, reserve),
            index: Index::new(config.sessions as usize * 2, reserve),
            mapping_index: Index::new(mappings, reserve),
            further: peers::index(config.sessions, &config.filtering, reserve),
            hosts: Hosts::new(config.sessions, reserve),
            ports: place::pools(config, slice),
            lots: Lots::new(&config.wans, slice),
            timeouts: config.timeouts.clone(),
            filtering: config.filtering,
            sweep: sweep::Sweep::default(),
            resets: resets::Resets::default(),
            per_wan: vec![0; usize::from(NOWHERE.0) + 1],
            per_tie: vec![0; (MOST_GROUPS + 1) * config.wans.len()],
            gauges: Gauges::new(config.wans.len()),
            wans: config.wans.len(),
            strangers: 0,
            log: None,
            copies: config.paired.then(|| Box::new(copies::Copies::new(config.sessions, mappings))),
        }
    }

    /// Takes the times of other rules; those of single UDP ports are for the same ports as long as it lives.
    pub fn retime(&mut self, rules: &Rules) {
        if let Some(timeouts) = &rules.timeouts {
            self.timeouts.take(timeouts);
        }
    }

    /// Sessions in the table.
    pub fn live(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions there is room for.
    pub fn capacity(&self) -> u32 {
        self.sessions.capacity()
    }

    /// Sessions in the table that are bound to each WAN.
    pub fn per_wan(&self) -> &[u64] {
        &self.per_wan[..self.wans]
    }

    /// Sessions in the table by group and WAN: those of the first group by `WanId`, then of the second.
    pub fn per_tie(&self) -> &[u64] {
        &self.per_tie
    }

    /// What is known of each WAN's TCP, since the start.
    pub fn tcp_gauges(&self) -> &[TcpGauge] {
        self.gauges.sums()
    }

    /// Where a session is counted in `per_tie`; `None`: it is on no WAN.
    #[inline(always)]
    fn tie(&self, group: u8, wan: WanId) -> Option<usize> {
        let on_one = wan.index() < self.wans;
        on_one.then(|| usize::from(group).min(MOST_GROUPS) * self.wans + wan.index())
    }

    /// Bytes of memory that all tables take.
    pub fn bytes(&self) -> usize {
        let mappings = self.mappings.capacity() as usize * Slab::<Mapping>::slot_bytes();
        let ports: usize = self.ports.iter().flatten().map(PortPools::bytes).sum();
        self.session_bytes() + mappings + self.mapping_index.bytes() + ports + self.hosts.bytes()
    }

    /// Bytes of memory that sessions take, with their index.
    pub fn session_bytes(&self) -> usize {
        Nat::bytes_for(self.sessions.capacity())
    }

    /// Bytes of memory that so many sessions take, with their index.
    pub const fn bytes_for(sessions: u32) -> usize {
        let sessions = sessions as usize;
        sessions * (Slab::<Session>::slot_bytes() + size_of::<Root>()) + Index::bytes_for(sessions * 2)
    }

    #[inline(always)]
    fn hash(&self, key: Key) -> u64 {
        self.key.hash(key.addresses, key.rest)
    }

    fn find(&self, key: Key, side: usize) -> Option<u32> {
        self.find_hashed(self.hash(key), key, side)
    }

    #[inline(always)]
    fn find_hashed(&self, hash: u64, key: Key, side: usize) -> Option<u32> {
        let is_it = |entry: u32| entry & 1 == side as u32 && self.sessions.get(entry >> 1).key(side) == key;
        self.index.find(hash, is_it).map(|entry| entry >> 1)
    }

    #[inline(always)]
    fn find_mapping(&self, hash: u64, key: Key) -> Option<u32> {
        let is_it = |slot: u32| self.mappings.get(slot).key() == key;
        self.mapping_index.find(hash, is_it)
    }

    /// Hands `each` the live sessions of up to `slots` slots from `from` on; gives where to go on, `None` at the end.
    pub fn list(
        &self,
        from: u32,
        slots: u32,
        now: Nanos,
        mut each: impl FnMut(&Session, &Root),
    ) -> Option<u32> {
        let end = from.saturating_add(slots).min(self.sessions.used());
        for slot in from..end {
            let session = self.sessions.get(slot);
            if !session.is_free() && !session.expired(&self.timeouts, tick(now)) {
                each(session, &self.roots[slot as usize]);
            }
        }
        (end < self.sessions.used()).then_some(end)
    }

    /// A number that changes with every change of sessions, mappings or free ports; traffic counters do not count.
    pub fn digest(&self) -> u64 {
        let slots = (0..self.sessions.used()).map(|s| self.sessions.get(s)).filter(|s| !s.is_free());
        let mut sum = slots.fold(0u64, |sum, s| {
            let key = self.hash(s.key(INSIDE)) ^ self.hash(s.key(OUTSIDE)).rotate_left(7);
            sum.wrapping_add(key ^ u64::from(s.refreshed) << 8 ^ u64::from(s.state))
        });
        for pools in self.ports.iter().flatten() {
            sum = sum.wrapping_mul(31).wrapping_add(pools.free());
        }
        sum ^ (self.mappings.len() as u64) << 40
    }
}
