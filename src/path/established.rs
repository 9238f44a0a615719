//! The established path: what a packet of a known flow goes through, in stages over the burst, so that the misses
//! of many packets are under way together. The same code serves both directions.
//!
//! 1. `parse` every frame of the common shape (untagged, no IP options, no fragment, UDP or TCP, whole, its checksum
//!    right), hash its key, call for the line of the index;
//! 2. `find`: compare the tags, call for the session;
//! 3. in the order of arrival: `established` verifies the session and all that it stands for by one stamp, counts,
//!    rewrites, puts the next hop before it and queues it.
//!
//! A burst takes stage 1 by halves, the others in parts of eight, and the next part is through stage 2 before the last one is in stage 3: its
//! misses are under way while packets are rewritten, and never more of them than a core keeps account of. Beyond that (24 on Zen 4)
//! it drops what is called for, and each miss costs its whole time.
//!
//! Whatever is not exactly so is given back at stage 3 and takes the long way (`receive`, `forward`), in its place in the
//! order. A packet that went the whole long way leaves the stamp for those that follow it. Everything that the long way
//! judges a packet of that key by is either judged here as well, or in the view or the neighbours, and a change there
//! means a new stamp.

use std::net::Ipv4Addr;

use super::places::Kind;
use super::{BURST, Router, View};
use crate::base::{IfaceId, Nanos};
use crate::nat::session::{INSIDE, Key, OUTSIDE, Session, outside_scope};
use crate::nat::tcp::TcpState;
use crate::nat::timeouts::tick;
use crate::packet::{PacketBuf, Tuple};
use crate::wire::tcp::Flags;
use crate::wire::{eth, le16, le32, le64, protocol, put_le16, put_le32, put_le64};

/// Ethernet, IPv4 without options, TCP without options. A frame is longer: on Ethernet it has 60 bytes.
const HEADERS: usize = 54;

const MAC: u64 = (1 << 48) - 1;
/// No frame is for it.
const NOBODY: u64 = u64::MAX;
/// Of a frame's second eight bytes, read little-endian: the bit of the source that says that it is a group, and the ethertype.
const GROUP_AND_TYPE: u64 = 0xffff_0000_0000_0001;
/// IPv4 in the place of an ethertype, read little-endian.
const IPV4: u64 = 0x0008;

/// No entry of the NAT's index can be the frame's: the long way, or a new flow.
const NONE: u32 = u32::MAX;

/// Frames whose bytes are called for ahead of their turn.
const AHEAD: usize = 4;

/// Frames that stages 2 and 3 take together.
pub const PART: usize = 8;
const PARTS: usize = BURST / PART;
/// Frames that stage 1 takes together.
const HALF: usize = 16;
const HALVES: usize = BURST / HALF;

/// What stages 1 and 2 have found out about the frames of a burst, in its order.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// Of the key; 0: the frame has not the common shape
    hashes: [u64; BURST],
    entries: [u32; BURST],
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { hashes: [0; BURST], entries: [NONE; BURST] }
    }
}

/// What the frames of a burst have in common.
#[derive(Clone, Copy, Debug)]
pub struct From {
    ingress: IfaceId,
    /// The interface's own address
    own: u64,
    /// Of their keys
    scope: u8,
    /// The time, as sessions know it
    tick: u32,
    /// A partner is told of what changes
    told: bool,
}

/// The key of a frame of the common shape that came to `own`, for `scope`.
#[inline(always)]
fn parse(frame: &[u8], own: u64, scope: u64) -> Option<Key> {
    let h = frame.first_chunk::<HEADERS>()?;
    let (dst, src) = (le64(h, 0) & MAC, le64(h, 6));
    let (ip, ttl, to, ports) = (le64(h, 14), le64(h, 22), le32(h, 30), le32(h, 34));
    let total_len = u64::from(((ip >> 16) as u16).swap_bytes());
    let protocol = ttl >> 8 & 0xff;
    let sum = (ip & 0xffff_ffff) + (ip >> 32) + (ttl & 0xffff_ffff) + (ttl >> 32) + u64::from(to);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    // To us; from one station, of IPv4; version 4, header of 20 bytes, no fragment. Whatever is not so leaves a bit.
    let not = (dst ^ own) | (src & GROUP_AND_TYPE ^ IPV4 << 48) | (ip & 0xff3f_0000_0000_00ff ^ 0x45);
    let whole = (not == 0)
        & (src & MAC != 0)
        & (src & MAC != own)
        // the last carry included
        & ((sum == 0xffff) | (sum == 0x1_fffe))
        & (ttl & 0xff > 1)
        & (eth::LEN as u64 + total_len <= frame.len() as u64);
    if !whole {
        return None;
    }
    let (least, length) = match protocol as u8 {
        protocol::UDP => (8, u64::from(le16(h, 38).swap_bytes())),
        protocol::TCP => (20, u64::from(h[46] >> 4) * 4),
        _ => return None,
    };
    if length < least || length + 20 > total_len {
        return None;
    }
    let addresses = ttl >> 32 | u64::from(to) << 32;
    Some(Key { addresses, rest: u64::from(ports) | protocol << 32 | scope << 40 })
}

/// The key of a frame that `parse` has found to be of the common shape.
#[inline(always)]
fn key_of(h: &[u8; HEADERS], scope: u64) -> Key {
    let rest = u64::from(le32(h, 34)) | u64::from(h[23]) << 32 | scope << 40;
    Key { addresses: le64(h, 26), rest }
}

/// A segment of a side, at this time, where a partner is told of what it changes.
#[cold]
#[inline(never)]
fn step_told(
    session: &mut Session,
    (side, flags, tick): (usize, Flags, u32),
    stepped: &mut Vec<u32>,
    slot: u32,
) {
    let before = session.state;
    session.step(side, flags, tick);
    if session.state != before && TcpState::told_apart(before, session.state) {
        stepped.push(slot);
    }
}

impl<B: PacketBuf> Router<B> {
    /// What the frames of a burst that came in at `ingress` have in common.
    #[inline(always)]
    pub fn from(&self, view: &View, ingress: IfaceId, now: Nanos) -> From {
        let port = &view.ifaces[ingress.index()];
        let own = if self.long_way { NOBODY } else { port.mac.bits() };
        From {
            ingress,
            own,
            scope: port.wan.map_or(0, outside_scope),
            tick: tick(now),
            told: self.nat.tells(),
        }
    }

    /// What stage 3 needs for the next part of a burst, of which `rest` is left: before part 0, 1 and so on, with one more call at the end
    /// than there are parts, and stage 3 for part n - 1 after the call for part n. Gives the bytes of the frames that it has parsed.
    #[inline(always)]
    pub fn look_up(&mut self, view: &View, from: &From, part: usize, rest: &[B]) -> u64 {
        let gone = part.saturating_sub(1) * PART;
        let mut bytes = 0;
        if part < HALVES
            && let Some(half @ [_, ..]) = rest.get(part * HALF - gone..)
        {
            bytes = self.parse(from, part, half);
        }
        if let Some(frames @ [_, ..]) = rest.get(part * PART - gone..) {
            self.find(view, from, part, frames);
        }
        bytes
    }

    /// Stage 1, for a half of the burst: the first ones of `frames`.
    #[inline(always)]
    fn parse(&mut self, from: &From, half: usize, frames: &[B]) -> u64 {
        let (own, scope) = (from.own, u64::from(from.scope));
        let mut bytes = 0;
        let hashes = &mut self.marks.hashes.as_chunks_mut::<HALF>().0[half % HALVES];
        for (at, (buf, hash)) in frames.iter().zip(hashes.iter_mut()).enumerate() {
            if let Some(next) = frames.get(at + AHEAD) {
                next.prefetch();
            }
            let frame = buf.bytes();
            bytes += frame.len() as u64;
            *hash = parse(frame, own, scope).map_or(0, |key| self.nat.call_index(key));
        }
        // Stage 2 takes whole parts.
        hashes.iter_mut().skip(frames.len()).take(PART - 1).for_each(|hash| *hash = 0);
        bytes
    }

    /// Stage 2, for a part of the burst: the first ones of `frames`.
    #[inline(always)]
    fn find(&mut self, view: &View, from: &From, part: usize, frames: &[B]) {
        let hashes = &self.marks.hashes.as_chunks::<PART>().0[part % PARTS];
        let entries = &mut self.marks.entries.as_chunks_mut::<PART>().0[part % PARTS];
        let mut missed = false;
        for (hash, entry) in hashes.iter().zip(entries) {
            // A hash that is 0 by chance goes the long way, which is right for everything.
            *entry = if *hash == 0 { NONE } else { self.nat.call_session(*hash).unwrap_or(NONE) };
            missed |= *entry == NONE;
        }
        if missed {
            self.find_further(view, from, part, frames);
        }
    }

    /// Those that the first line did not have: another line, or a flow that is new.
    #[inline(never)]
    fn find_further(&mut self, view: &View, from: &From, part: usize, frames: &[B]) {
        let hashes = &self.marks.hashes.as_chunks::<PART>().0[part % PARTS];
        let entries = &mut self.marks.entries.as_chunks_mut::<PART>().0[part % PARTS];
        let missing = |hash: u64, entry: u32| entry == NONE && hash != 0;
        for (hash, _) in hashes.iter().zip(entries.iter()).filter(|(h, e)| missing(**h, **e)) {
            self.nat.call_further(*hash);
        }
        for (buf, (hash, entry)) in frames.iter().zip(hashes.iter().zip(entries)) {
            if missing(*hash, *entry) {
                *entry = self.nat.call_far_session(*hash).unwrap_or(NONE);
                if let Some(h) = buf.bytes().first_chunk().filter(|_| *entry == NONE && from.scope == 0) {
                    self.nat.call_opening(key_of(h, 0), &view.uplinks);
                }
            }
        }
    }

    /// Stage 3, for the frame at `at` of the burst whose parts have been through the others: sends it translated, or gives it back untouched.
    #[inline(always)]
    pub fn established(&mut self, view: &View, from: &From, mut buf: B, at: usize) -> Option<B> {
        let entry = self.marks.entries[at % BURST];
        if entry == NONE {
            return Some(buf);
        }
        let side = (entry & 1) as usize;
        let (session, timeouts) = self.nat.session(entry >> 1);
        let frame = buf.bytes_mut();
        let len = frame.len();
        let Some(h) = frame.first_chunk_mut::<HEADERS>() else { return Some(buf) };
        let protocol = h[23];
        let kind = u16::from(protocol) | u16::from(from.scope) << 8;
        // What comes from outside has its WAN in the scope.
        let good = session.is_of(side, le64(h, 26), le32(h, 34), kind)
            & (session.stamps[side] == self.stamp)
            & ((session.ingress == from.ingress) | (side == OUTSIDE))
            & (from.tick.wrapping_sub(session.refreshed) < timeouts.ms(session.state));
        if !good {
            return Some(buf);
        }
        let hop = self.neighbors.get(session.hops[side]);
        let out = &mut self.out[hop.iface().index()];
        let total_len = le16(h, 16).swap_bytes();
        if !hop.is_fresh() | (total_len > out.mtu) {
            return Some(buf);
        }
        // The way back adds the complement.
        let flip = if side == OUTSIDE { !0 } else { 0 };
        let l4_delta = session.deltas[1].flipped(flip);
        if protocol == protocol::TCP {
            let flags = Flags(h[47]);
            if session.state == TcpState::Established as u8 && flags.is_plain() {
                session.refreshed = from.tick;
            } else if flags.syn() && (session.packets(side) != 0 || view.clamps()) {
                // A repeated one is counted, and its options are read.
                return Some(buf);
            } else if from.told {
                step_told(session, (side, flags, from.tick), &mut self.stepped, entry >> 1);
            } else {
                session.step(side, flags, from.tick);
            }
            if side != OUTSIDE && flags.ack() {
                session.last_ack = le32(h, 42).swap_bytes();
            }
            let sum = l4_delta.apply(le16(h, 50));
            put_le16(h, 50, sum);
        } else {
            session.refreshed = from.tick;
            let sum = l4_delta.apply_udp(le16(h, 40));
            put_le16(h, 40, sum);
        }
        session.count(side, u32::from(total_len));
        put_le64(h, 0, hop.mac_bits() & MAC | out.from_low);
        put_le32(h, 8, out.from_high);
        h[22] = h[22].wrapping_sub(1);
        let sum = session.deltas[0].flipped(flip).apply_aged(le16(h, 24));
        put_le16(h, 24, sum);
        let (addr, port) = session.translation(side);
        if side == OUTSIDE {
            put_le32(h, 30, addr);
            put_le16(h, 36, port);
        } else {
            put_le32(h, 26, addr);
            put_le16(h, 34, port);
        }
        let whole = eth::LEN + usize::from(total_len);
        if len != whole {
            // Padding is not part of the packet. Cutting never fails.
            let _ = buf.resize(whole);
        }
        out.push(buf, whole);
        None
    }

    /// Where the frame at `at` of the burst that was looked up last comes from, if it may be the first of a flow from inside.
    #[inline]
    pub fn opener(&self, view: &View, ingress: IfaceId, buf: &B, at: usize) -> Option<Ipv4Addr> {
        let Marks { hashes, entries } = &self.marks;
        let new = hashes[at % BURST] != 0 && entries[at % BURST] == NONE;
        let inside = view.ifaces[ingress.index()].wan.is_none();
        buf.bytes().first_chunk().filter(|_| new && inside).map(|h| key_of(h, 0).source().0)
    }

    /// Opens the flow of such a packet, if it is of the plainest kind: from a host inside to somewhere beyond
    /// a WAN, by a next hop that is known. Then `established` can take the packet; anything else is for the long way, and
    /// nothing is changed that this does not change as well.
    #[inline]
    pub fn open(&mut self, view: &View, ingress: IfaceId, buf: &B, at: usize, now: Nanos) -> bool {
        let Some(h) = buf.bytes().first_chunk::<HEADERS>() else { return false };
        let key = key_of(h, 0);
        let ((src, src_port), (dst, dst_port)) = (key.source(), key.destination());
        let (from, to) = (view.place(src), view.place(dst));
        let plain = from.kind == Kind::Unicast
            && from.own.is_none()
            && from.behind == Some(ingress)
            && to.kind == Kind::Unicast
            && to.own.is_none()
            && to.inside.is_none();
        let protocol = key.protocol();
        if !plain
            || !(protocol == protocol::UDP
                || (Flags(h[47]).opens() && !view.clamps() && self.unasked.is_empty()))
        {
            return false;
        }
        let tuple = Tuple { protocol, src, src_port, dst, dst_port };
        let env = &mut super::env(view, now, &mut self.counters);
        let hash = self.marks.hashes[at % BURST];
        let Ok(slot) = self.nat.find_or_open(&tuple, key, (ingress, to.pin), hash, env) else { return false };
        self.marks.entries[at % BURST] = slot * 2;
        let (session, _) = self.nat.session(slot);
        if session.stamps[INSIDE] != self.stamp {
            // It is fit, and so has its link.
            let Some(link) = view.wans.get(session.wan().index()) else { return false };
            // What is on no WAN's link goes by the gateway, if the lease has no routes.
            let far = to.pin.is_none() && link.hops.is_empty();
            let next_hop = if far { link.gateway } else { view.next_hop(link, dst) };
            let Some(hop) = self.recall_hop(link.iface, next_hop) else { return false };
            self.nat.establish(slot, INSIDE, (hop, ingress), self.stamp, &view.uplinks);
            // The answer's way is known as well; TCP's first one is looked at more closely.
            if protocol == protocol::UDP
                && let Some(hop) = self.recall_inward(view, src)
            {
                self.nat.establish(slot, OUTSIDE, (hop, link.iface), self.stamp, &view.uplinks);
            }
        }
        true
    }

    /// The neighbour's number, which new flows to one gateway need again and again.
    #[inline]
    fn recall_hop(&mut self, iface: IfaceId, ip: Ipv4Addr) -> Option<u16> {
        let (last, hop) = self.last_hop;
        if last == (self.stamp, iface, ip) {
            return Some(hop);
        }
        let hop = self.neighbors.hop(iface, ip)?;
        self.last_hop = ((self.stamp, iface, ip), hop);
        Some(hop)
    }

    /// The number of the neighbour by which a host inside is reached: hosts open several flows at a time.
    #[inline]
    fn recall_inward(&mut self, view: &View, host: Ipv4Addr) -> Option<u16> {
        let (last, hop) = self.last_inward;
        if last == (self.stamp, host) {
            return Some(hop);
        }
        let (egress, next_hop) = view.inward(host)?;
        let hop = self.neighbors.hop(egress, next_hop)?;
        self.last_inward = ((self.stamp, host), hop);
        Some(hop)
    }
}
