//! The reference loop: the least that translates a packet on this machine. Parse, hash, look up, rewrite; nothing else.
//!
//! It is the yardstick: machines differ and drift, the ratio of the path to this loop does not. So it is as fast as we
//! can make it, and no router: no checks but for what tells a plain UDP or TCP packet, no timer, no counter, no view, no
//! choice of the way out. A burst goes through three passes, each of which calls for the lines that the next one reads,
//! so that all misses of a burst are under way together:
//!
//! 1. parse and hash (CRC32 of the two key words), call for the bucket;
//! 2. compare eight tags at once, call for the session;
//! 3. compare the key, rewrite with the checksum differences kept in the session, TTL, next hop's header.
//!
//! A session is one line and holds both directions; each has its entry in one index. A bucket is one line as well; what
//! finds it full goes to the next one.

use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::dpdk::simd::crc32;
use crate::engine::BURST;
use crate::packet::PacketBuf;
use crate::table::store::{Store, equal8};
use crate::wire::checksum::fold;
use crate::wire::eth::{Eth, ethertype};
use crate::wire::protocol;

#[cfg(test)]
mod tests;

/// Entries of a bucket.
const WAYS: usize = 8;
/// Ethernet, IPv4 and TCP without options; every frame is longer.
const HEADERS: usize = 14 + 20 + 20;
/// Where the checksums stand.
const UDP_SUM: usize = 14 + 20 + 6;
const TCP_SUM: usize = 14 + 20 + 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    /// 0: free
    tags: [u16; WAYS],
    /// Session number * 2, + 1 for the packets from outside
    entries: [u32; WAYS],
}

/// One direction of a session. Words are read as they stand in a packet, whatever the machine's byte order: one's
/// complement sums do not mind (RFC 1071 2B).
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Side {
    /// Source and destination
    addresses: u64,
    /// Source and destination
    ports: u32,
    /// What the rewrite adds to the complement of the IPv4 checksum, the TTL's step included (RFC 1624)
    ip: u16,
    /// What it adds to that of UDP or TCP
    transport: u16,
    /// Of the next hop
    header: [u8; 14],
    protocol: u8,
}

#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Session([Side; 2]);

/// An address and a port.
pub type Endpoint = (Ipv4Addr, u16);

/// A session to be added: who is seen as whom by the remote, and the next hops.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// See `wire::protocol`: UDP or TCP
    pub protocol: u8,
    /// The inside host's
    pub inside: Endpoint,
    /// What takes its place
    pub outside: Endpoint,
    /// The other end
    pub remote: Endpoint,
    /// Towards the remote: to, from
    pub up: (Mac, Mac),
    /// Towards the inside host: to, from
    pub down: (Mac, Mac),
}

/// The loop's tables.
pub struct Reference {
    buckets: Store<Bucket>,
    sessions: Store<Session>,
    len: usize,
    // What goes from pass to pass. Here, as arrays on the stack would have to be cleared for each burst.
    addresses: [u64; BURST],
    rest: [u64; BURST],
    hashes: [u32; BURST],
    entries: [u32; BURST],
}

impl Reference {
    /// Room for so many sessions at a load of at most 7/8.
    pub fn new(sessions: usize) -> Reference {
        let sessions = sessions.max(1);
        let buckets = (sessions * 2 * 8 / 7 / WAYS + 1).next_power_of_two();
        let empty = Bucket { tags: [0; WAYS], entries: [0; WAYS] };
        Reference {
            buckets: Store::new(buckets, empty, true),
            sessions: Store::new(sessions, Session::default(), true),
            len: 0,
            addresses: [0; BURST],
            rest: [0; BURST],
            hashes: [0; BURST],
            entries: [0; BURST],
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.buckets.bytes() + self.sessions.bytes()
    }

    /// Adds a session that is not in yet. False if there is no room.
    pub fn add(&mut self, e: &Entry) -> bool {
        if self.len == self.sessions.len() {
            return false;
        }
        let up = side(e.protocol, [e.inside, e.remote], [e.outside, e.remote], e.up);
        let down = side(e.protocol, [e.remote, e.outside], [e.remote, e.inside], e.down);
        self.sessions[self.len] = Session([up, down]);
        for (at, side) in [up, down].iter().enumerate() {
            let hash = hash(side.addresses, rest(side.ports, side.protocol));
            let mut home = self.home(hash);
            let way = loop {
                match self.buckets[home].tags.iter().position(|tag| *tag == 0) {
                    Some(way) => break way,
                    None => home = self.after(home),
                }
            };
            self.buckets[home].tags[way] = tag(hash);
            self.buckets[home].entries[way] = (self.len * 2 + at) as u32;
        }
        self.len += 1;
        true
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    fn after(&self, bucket: usize) -> usize {
        (bucket + 1) & (self.buckets.len() - 1)
    }

    /// Translates a burst, at most `BURST` packets. Gives how many it knew; the others are as they came.
    #[inline(never)]
    pub fn burst<B: PacketBuf>(&mut self, bufs: &mut [B]) -> usize {
        self.parse(bufs);
        self.look_up(bufs.len());
        self.rewrite(bufs)
    }

    /// The first pass. Alone for those who measure it.
    #[inline(always)]
    pub fn parse<B: PacketBuf>(&mut self, bufs: &[B]) {
        for (at, buf) in bufs.iter().enumerate().take(BURST) {
            let (addresses, rest) = buf.bytes().first_chunk().map_or(NOT_PLAIN, parse);
            let hash = hash(addresses, rest);
            self.buckets.prefetch(self.home(hash));
            (self.addresses[at], self.rest[at], self.hashes[at]) = (addresses, rest, hash);
        }
    }

    /// The second pass, over what `parse` has found.
    #[inline(always)]
    pub fn look_up(&mut self, count: usize) {
        for at in 0..count.min(BURST) {
            let bucket = &self.buckets[self.home(self.hashes[at])];
            // Of a bucket without a match any entry will do: the key tells.
            let way = equal8(&bucket.tags, tag(self.hashes[at])).trailing_zeros() as usize / 2 % WAYS;
            let entry = bucket.entries[way];
            self.sessions.prefetch(entry as usize / 2);
            self.entries[at] = entry;
        }
    }

    /// The third pass, over what `look_up` has found.
    #[inline(always)]
    pub fn rewrite<B: PacketBuf>(&mut self, bufs: &mut [B]) -> usize {
        // The keys first, in a loop of their own: the rare search would cost the other one its registers.
        for at in 0..bufs.len().min(BURST) {
            if !self.is(self.entries[at], at) {
                self.entries[at] = self.search(at);
            }
        }
        let mut known = 0;
        for (buf, entry) in bufs.iter_mut().zip(&self.entries) {
            let (session, side) = (*entry as usize / 2, *entry as usize % 2);
            if let Some(frame) = buf.bytes_mut().first_chunk_mut()
                && session < self.sessions.len()
            {
                let session = &self.sessions[session];
                rewrite(frame, &session.0[side], &session.0[1 - side]);
                known += 1;
            }
        }
        known
    }

    #[inline(always)]
    fn is(&self, entry: u32, at: usize) -> bool {
        let side = &self.sessions[entry as usize / 2].0[entry as usize % 2];
        side.addresses == self.addresses[at] && rest(side.ports, side.protocol) == self.rest[at]
    }

    /// The entry of a packet that the first match of its first bucket was not; `NONE`.
    #[cold]
    #[inline(never)]
    fn search(&self, at: usize) -> u32 {
        let mut home = self.home(self.hashes[at]);
        loop {
            let bucket = &self.buckets[home];
            let mut taken = bucket.entries.iter().zip(&bucket.tags).filter(|(_, tag)| **tag != 0);
            if let Some((entry, _)) = taken.find(|(entry, _)| self.is(**entry, at)) {
                return *entry;
            }
            if bucket.tags.contains(&0) {
                return NONE;
            }
            home = self.after(home);
        }
    }
}

/// No entry: beyond every session.
const NONE: u32 = u32::MAX;

/// What no session has for a key: its protocol is none.
const NOT_PLAIN: (u64, u64) = (0, u64::MAX);

/// The two words of the key: addresses; ports and protocol.
#[inline(always)]
fn parse(frame: &[u8; HEADERS]) -> (u64, u64) {
    let protocol = frame[23];
    let known = protocol == protocol::UDP || protocol == protocol::TCP;
    if u16_at(frame, 12) != ethertype::IPV4.to_be() || frame[14] != 0x45 || !known {
        return NOT_PLAIN;
    }
    let mut addresses = [0; 8];
    addresses.copy_from_slice(&frame[26..34]);
    (u64::from_ne_bytes(addresses), rest(u32_at(frame, 34), protocol))
}

#[inline(always)]
fn rest(ports: u32, protocol: u8) -> u64 {
    u64::from(protocol) << 32 | u64::from(ports)
}

/// What the packets of `side` become: those that the other side's answer.
#[inline(always)]
fn rewrite(frame: &mut [u8; HEADERS], side: &Side, other: &Side) {
    let udp = side.protocol == protocol::UDP;
    let at = if udp { UDP_SUM } else { TCP_SUM };
    let (ip, transport) = (added(u16_at(frame, 24), side.ip), u16_at(frame, at));
    // UDP without a checksum stays without, and a computed 0 is sent as 0xffff (RFC 768).
    let sum = match added(transport, side.transport) {
        _ if udp && transport == 0 => 0,
        0 if udp => 0xffff,
        sum => sum,
    };
    frame[..14].copy_from_slice(&side.header);
    frame[22] = frame[22].wrapping_sub(1);
    frame[24..26].copy_from_slice(&ip.to_ne_bytes());
    frame[26..34].copy_from_slice(&other.addresses.rotate_left(32).to_ne_bytes());
    frame[34..38].copy_from_slice(&other.ports.rotate_left(16).to_ne_bytes());
    frame[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}

/// HC' = ~(~HC + difference), RFC 1624.
#[inline(always)]
fn added(checksum: u16, difference: u16) -> u16 {
    let (sum, carry) = (!checksum).overflowing_add(difference);
    !(sum + u16::from(carry))
}

#[inline(always)]
fn u16_at(frame: &[u8; HEADERS], at: usize) -> u16 {
    u16::from_ne_bytes([frame[at], frame[at + 1]])
}

#[inline(always)]
fn u32_at(frame: &[u8; HEADERS], at: usize) -> u32 {
    u32::from_ne_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]])
}

/// One direction: packets from `ends[0]` to `ends[1]`, which become packets between `new`.
fn side(protocol: u8, ends: [Endpoint; 2], new: [Endpoint; 2], (to, from): (Mac, Mac)) -> Side {
    let word = |ends: [Endpoint; 2]| {
        let (mut addresses, mut ports) = ([0; 8], [0; 4]);
        for (at, (address, port)) in ends.iter().enumerate() {
            addresses[at * 4..at * 4 + 4].copy_from_slice(&address.octets());
            ports[at * 2..at * 2 + 2].copy_from_slice(&port.to_be_bytes());
        }
        (u64::from_ne_bytes(addresses), u32::from_ne_bytes(ports))
    };
    let ((addresses, ports), (new_addresses, new_ports)) = (word(ends), word(new));
    let moved = difference(addresses, new_addresses);
    let transport = fold(u32::from(moved) + u32::from(difference(ports.into(), new_ports.into())));
    let (ttl, less) = (u16::from_ne_bytes([1, 0]), u16::from_ne_bytes([0, 0]));
    let ip = fold(u32::from(moved) + u32::from(!ttl) + u32::from(less));
    let mut header = [0; 14];
    Eth { dst: to, src: from, ethertype: ethertype::IPV4 }.emit(&mut header);
    Side { addresses, ports, ip, transport, header, protocol }
}

/// The sum of ~m + m' over the 16-bit words.
fn difference(old: u64, new: u64) -> u16 {
    let word = |of: u64, at: u32| (of >> (at * 16)) as u16;
    fold((0..4).map(|at| u32::from(!word(old, at)) + u32::from(word(new, at))).sum())
}

#[inline(always)]
fn hash(addresses: u64, rest: u64) -> u32 {
    crc32(crc32(0x9e37_79b9, addresses), rest)
}

#[inline(always)]
fn tag(hash: u32) -> u16 {
    ((hash >> 16) as u16).max(1)
}
