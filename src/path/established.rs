//! The established path: what a packet of a known flow goes through, in stages over the whole burst, so that the misses
//! of all its packets are under way together. The same code serves both directions.
//!
//! 1. `parse` every frame of the common shape (untagged, no IP options, no fragment, UDP or TCP, whole, its checksum
//!    right), hash its key, call for the line of the index;
//! 2. compare the tags, call for the session;
//! 3. in the order of arrival: `established` verifies the session and all that it stands for by one stamp, counts,
//!    rewrites, puts the next hop before it and queues it.
//!
//! Whatever is not exactly so is given back at stage 3 and takes the long way (`receive`, `forward`), in its place in the
//! order. A packet that went the whole long way leaves the stamp for those that follow it. Everything that the long way
//! judges a packet of that key by is either judged here as well, or in the view or the neighbours, and a change there
//! means a new stamp.

use std::net::Ipv4Addr;

use super::places::Kind;
use super::{BURST, Iface, Router, View};
use crate::base::{IfaceId, Mac, Nanos};
use crate::nat::Env;
use crate::nat::session::{INSIDE, Key, OUTSIDE, outside_scope};
use crate::nat::tcp::TcpState;
use crate::packet::{PacketBuf, Tuple};
use crate::table::neighbors::State;
use crate::wire::tcp::Flags;
use crate::wire::{eth, le16, le32, le64, protocol, put_le16, put_le32, put_le64};

/// Ethernet, IPv4 without options, TCP without options. A frame is longer: on Ethernet it has 60 bytes.
const HEADERS: usize = 54;

const MAC: u64 = (1 << 48) - 1;
/// No frame is for it.
const NOBODY: u64 = u64::MAX;
/// IPv4 in the place of an ethertype, read little-endian.
const IPV4: u64 = 0x0008;

/// No entry of the NAT's index can be the frame's: the long way, or a new flow.
const NONE: u32 = u32::MAX;

/// Frames whose bytes are called for ahead of their turn.
const AHEAD: usize = 4;

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

#[inline(always)]
fn mac_bits(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
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
    let whole = (dst == own)
        & (src >> 48 == IPV4)
        & (src & 1 == 0)
        & (src & MAC != 0)
        & (src & MAC != own)
        // version 4, header of 20 bytes; no fragment
        & (ip & 0xff3f_0000_0000_00ff == 0x45)
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

/// The scope of the keys of what comes in at an interface.
#[inline(always)]
fn scope_of(port: &Iface) -> u64 {
    port.wan.map_or(0, |wan| u64::from(outside_scope(wan)))
}

impl<B: PacketBuf> Router<B> {
    /// Stages 1 and 2, for a burst that came in at `ingress`. Gives how many bytes it has.
    #[inline(always)]
    pub fn look_up(&mut self, view: &View, ingress: IfaceId, burst: &[B]) -> u64 {
        let port = &view.ifaces[ingress.index()];
        let (own, scope) = (if self.long_way { NOBODY } else { mac_bits(port.mac) }, scope_of(port));
        let Marks { hashes, entries } = &mut self.marks;
        let mut bytes = 0;
        for (at, (buf, hash)) in burst.iter().zip(hashes.iter_mut()).enumerate() {
            if let Some(next) = burst.get(at + AHEAD) {
                next.prefetch();
            }
            let frame = buf.bytes();
            bytes += frame.len() as u64;
            *hash = parse(frame, own, scope).map_or(0, |key| self.nat.call_index(key));
        }
        let mut missed = false;
        for (_, (hash, entry)) in burst.iter().zip(hashes.iter().zip(entries)) {
            // A hash that is 0 by chance goes the long way, which is right for everything.
            *entry = if *hash == 0 { NONE } else { self.nat.call_session(*hash).unwrap_or(NONE) };
            missed |= *entry == NONE;
        }
        if missed {
            self.look_further(burst, scope);
        }
        bytes
    }

    /// Those that the first line did not have: another line, or a flow that is new.
    #[inline(never)]
    fn look_further(&mut self, burst: &[B], scope: u64) {
        let Marks { hashes, entries } = &mut self.marks;
        let missing = |hash: u64, entry: u32| entry == NONE && hash != 0;
        for (buf, (hash, entry)) in burst.iter().zip(hashes.iter().zip(entries.iter())) {
            if let Some(h) = buf.bytes().first_chunk().filter(|_| missing(*hash, *entry)) {
                self.nat.call_further(*hash, key_of(h, scope));
            }
        }
        for (_, (hash, entry)) in burst.iter().zip(hashes.iter().zip(entries)) {
            if missing(*hash, *entry) {
                *entry = self.nat.call_far_session(*hash).unwrap_or(NONE);
            }
        }
    }

    /// Stage 3, for the frame at `at` of the burst that was looked up last: sends it translated, or gives it back untouched.
    #[inline(always)]
    pub fn established(
        &mut self,
        view: &View,
        ingress: IfaceId,
        mut buf: B,
        at: usize,
        tick: u32,
    ) -> Option<B> {
        let entry = self.marks.entries[at % BURST];
        if entry == NONE {
            return Some(buf);
        }
        let frame = buf.bytes_mut();
        let len = frame.len();
        let Some(h) = frame.first_chunk_mut::<HEADERS>() else { return Some(buf) };
        let key = key_of(h, scope_of(&view.ifaces[ingress.index()]));
        let side = (entry & 1) as usize;
        let (session, timeouts) = self.nat.session(entry >> 1);
        // What comes from outside has its WAN in the key.
        let good = (session.key(side) == key)
            & (session.stamps[side] == self.stamp)
            & ((session.ingress == ingress) | (side == OUTSIDE))
            & (tick.wrapping_sub(session.refreshed) < timeouts.ms(session.state));
        if !good {
            return Some(buf);
        }
        let hop = self.neighbors.get(session.hops[side]);
        let egress = &view.ifaces[hop.iface.index()];
        let total_len = le16(h, 16).swap_bytes();
        if (hop.state != State::Fresh) | (total_len > egress.mtu) {
            return Some(buf);
        }
        let (addr, port) = session.translation(side);
        // The way back adds the complement.
        let flip = if side == OUTSIDE { !0 } else { 0 };
        let l4_delta = session.deltas[1].flipped(flip);
        if key.protocol() == protocol::TCP {
            let flags = Flags(h[47]);
            if session.state == TcpState::Established as u8 && flags.is_plain() {
                session.refreshed = tick;
            } else {
                session.step(side, flags, tick);
            }
            if side != OUTSIDE && flags.ack() {
                session.last_ack = le32(h, 42).swap_bytes();
            }
            let sum = l4_delta.apply(le16(h, 50));
            put_le16(h, 50, sum);
        } else {
            session.refreshed = tick;
            let sum = l4_delta.apply_udp(le16(h, 40));
            put_le16(h, 40, sum);
        }
        session.count(side, u32::from(total_len));
        let src = mac_bits(egress.mac);
        put_le64(h, 0, mac_bits(hop.mac) | src << 48);
        put_le32(h, 8, (src >> 16) as u32);
        h[22] = h[22].wrapping_sub(1);
        let sum = session.deltas[0].flipped(flip).apply_aged(le16(h, 24));
        put_le16(h, 24, sum);
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
        self.out[hop.iface.index()].push(buf, whole);
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
        if !plain || !(protocol == protocol::UDP || Flags(h[47]).opens()) {
            return false;
        }
        let tuple = Tuple { protocol, src, src_port, dst, dst_port };
        let env = &mut Env { up: &view.uplinks, now, counters: &mut self.counters };
        let hash = self.marks.hashes[at % BURST];
        let Ok(slot) = self.nat.find_or_open(&tuple, key, to.pin, hash, env) else { return false };
        self.marks.entries[at % BURST] = slot * 2;
        let (session, _) = self.nat.session(slot);
        if session.stamps[INSIDE] != self.stamp {
            // It is fit, and so has its link. If it is not the pin, it is because none of those is fit that `dst` is on
            // the link of.
            let link = &view.wans[session.wan().index()];
            let next_hop = if to.pin == Some(session.wan()) { dst } else { link.gateway };
            let Some(hop) = self.neighbors.hop(link.iface, next_hop) else { return false };
            self.nat.establish(slot, INSIDE, hop, ingress, self.stamp);
        }
        true
    }
}
