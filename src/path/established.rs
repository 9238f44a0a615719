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

use arrayvec::ArrayVec;

use super::{BURST, Router, View};
use crate::base::{IfaceId, Mac};
use crate::nat::session::{Key, OUTSIDE, outside_scope};
use crate::nat::tcp::TcpState;
use crate::packet::PacketBuf;
use crate::table::neighbors::State;
use crate::wire::checksum::RawDelta;
use crate::wire::tcp::Flags;
use crate::wire::{eth, le16, le32, le64, protocol, put_le16, put_le32, put_le64};

/// Ethernet, IPv4 without options and UDP, or the beginning of TCP.
const UDP_END: usize = 42;
/// Ethernet, IPv4 without options and TCP without options.
const TCP_END: usize = 54;

const MAC: u64 = (1 << 48) - 1;
/// IPv4 in the place of an ethertype, read little-endian.
const IPV4: u64 = 0x0008;

/// What stage 1 and 2 have found out about a frame.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    key: Key,
    hash: u64,
    /// Entry of the NAT's index; `NONE`: for the long way
    entry: u32,
}

const NONE: u32 = u32::MAX;

/// The marks of a burst, in its order.
pub type Marks = ArrayVec<Mark, BURST>;

#[inline(always)]
fn mac_bits(mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// The key of a frame of the common shape that came to `own`, for `scope`.
#[inline(always)]
fn parse(frame: &[u8], own: u64, scope: u64) -> Option<Key> {
    let h = frame.first_chunk::<UDP_END>()?;
    let (dst, src) = (le64(h, 0) & MAC, le64(h, 6));
    let (ip, ttl, to, ports) = (le64(h, 14), le64(h, 22), le32(h, 30), le32(h, 34));
    let total_len = u64::from(((ip >> 16) as u16).swap_bytes());
    let (src_mac, protocol) = (src & MAC, ttl >> 8 & 0xff);
    let sum = (ip & 0xffff_ffff) + (ip >> 32) + (ttl & 0xffff_ffff) + (ttl >> 32) + u64::from(to);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let whole = (dst == own)
        & (src >> 48 == IPV4)
        & (src_mac & 1 == 0)
        & (src_mac != 0)
        & (src_mac != own)
        // version 4, header of 20 bytes; no fragment
        & (ip & 0xff3f_0000_0000_00ff == 0x45)
        & (sum == 0xffff)
        & (ttl & 0xff > 1)
        & (eth::LEN as u64 + total_len <= frame.len() as u64);
    if !whole {
        return None;
    }
    if protocol == u64::from(protocol::UDP) {
        let length = u64::from(le16(h, 38).swap_bytes());
        if length < 8 || length + 20 > total_len {
            return None;
        }
    } else if protocol == u64::from(protocol::TCP) {
        let h = frame.first_chunk::<TCP_END>()?;
        let header = u64::from(h[46] >> 4) * 4;
        if header < 20 || header + 20 > total_len {
            return None;
        }
    } else {
        return None;
    }
    let addresses = ttl >> 32 | u64::from(to) << 32;
    Some(Key { addresses, rest: u64::from(ports) | protocol << 32 | scope << 40 })
}

impl<B: PacketBuf> Router<B> {
    /// Stages 1 and 2. Changes nothing.
    #[inline]
    pub fn look_up(&self, view: &View, ingress: IfaceId, burst: &[B]) -> Marks {
        let port = &view.ifaces[ingress.index()];
        let own = mac_bits(port.mac);
        let scope = port.wan.map_or(0, |wan| u64::from(outside_scope(wan)));
        let mut marks = Marks::new();
        for buf in burst.iter().take(BURST) {
            let mark = match parse(buf.bytes(), own, scope) {
                Some(key) => {
                    let hash = self.nat.call_index(key);
                    Mark { key, hash, entry: 0 }
                }
                None => Mark { key: Key { addresses: 0, rest: 0 }, hash: 0, entry: NONE },
            };
            marks.push(mark);
        }
        let mut missed = false;
        for mark in &mut marks {
            if mark.entry != NONE {
                mark.entry = self.nat.call_session(mark.hash).unwrap_or(NONE);
                missed |= mark.entry == NONE;
            }
        }
        if missed {
            self.look_further(&mut marks, scope);
        }
        marks
    }

    /// Those that the first line did not have: another line, or a flow that is new.
    #[inline(never)]
    fn look_further(&self, marks: &mut Marks, scope: u64) {
        for mark in marks.iter().filter(|m| m.entry == NONE && m.key.rest != 0) {
            self.nat.call_further(mark.hash);
        }
        for mark in marks.iter_mut().filter(|m| m.entry == NONE && m.key.rest != 0) {
            mark.entry = self.nat.call_far_session(mark.hash).unwrap_or(NONE);
            if mark.entry == NONE && scope == 0 {
                self.nat.call_mapping(mark.key);
            }
        }
    }

    /// Stage 3, for one frame: sends it translated, or gives it back untouched.
    #[inline(always)]
    pub fn established(
        &mut self,
        view: &View,
        ingress: IfaceId,
        mut buf: B,
        mark: &Mark,
        tick: u32,
    ) -> Option<B> {
        if mark.entry == NONE {
            return Some(buf);
        }
        let side = (mark.entry & 1) as usize;
        let (session, timeouts) = self.nat.session(mark.entry >> 1);
        let from = &session.sides[side];
        let good = (session.key(side) == mark.key)
            & (from.stamp == self.stamp)
            & (session.ingress[side] == ingress)
            & (session.flags == 0)
            & (tick.wrapping_sub(session.refreshed) < timeouts.ms(session.state));
        if !good {
            return Some(buf);
        }
        let hop = self.neighbors.get(from.hop);
        let egress = &view.ifaces[hop.iface.index()];
        let len = buf.bytes().len();
        let Some(h) = buf.bytes_mut().first_chunk_mut::<UDP_END>() else { return Some(buf) };
        let total_len = le16(h, 16).swap_bytes();
        if (hop.state != State::Fresh) | (total_len > egress.mtu) {
            return Some(buf);
        }
        let (addr, port) = session.sides[side ^ 1].raw();
        // The way back adds the complement.
        let flip = if side == OUTSIDE { !0 } else { 0 };
        let [ip_delta, l4_delta] = session.deltas.map(|d| d.flipped(flip));
        if session.protocol == protocol::TCP {
            let Some(h) = buf.bytes_mut().first_chunk_mut::<TCP_END>() else { return Some(buf) };
            let flags = h[47];
            if session.state != TcpState::Established as u8
                || flags & (Flags::SYN | Flags::FIN | Flags::RST) != 0
            {
                return Some(buf);
            }
            if side != OUTSIDE && flags & Flags::ACK != 0 {
                session.last_ack = le32(h, 42).swap_bytes();
            }
            let sum = l4_delta.apply(le16(h, 50));
            put_le16(h, 50, sum);
        } else {
            let Some(h) = buf.bytes_mut().first_chunk_mut::<UDP_END>() else { return Some(buf) };
            let sum = l4_delta.apply_udp(le16(h, 40));
            put_le16(h, 40, sum);
        }
        session.refreshed = tick;
        session.sides[side].count(u32::from(total_len));
        let Some(h) = buf.bytes_mut().first_chunk_mut::<UDP_END>() else { return Some(buf) };
        let src = mac_bits(egress.mac);
        put_le64(h, 0, mac_bits(hop.mac) | src << 48);
        put_le32(h, 8, (src >> 16) as u32);
        h[22] = h[22].wrapping_sub(1);
        let sum = ip_delta.and(RawDelta::AGED).apply(le16(h, 24));
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
        self.out[hop.iface.index()].push(buf);
        None
    }
}
