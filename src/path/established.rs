//! The established path: what a packet of a known flow goes through, in stages over the burst, so that the misses
//! of many packets are under way together. The same code serves both directions.
//!
//! 1. `parse` every frame of the common shape (untagged, no IP options, no fragment, UDP or TCP, whole, its checksum
//!    right), hash its key, call for the line of the index;
//! 2. `find`: compare the tags, call for the session;
//! 3. in the order of arrival: `established` verifies the session and all that it stands for by one stamp, counts,
//!    rewrites and puts the next hop before it, where the frame lies; `queue` puts a run of them where they go out.
//!
//! A burst takes stage 1 by halves, the others in parts of eight, and the next part is through stage 2 before the last one is in stage 3: its
//! misses are under way while packets are rewritten, and never more of them than a core keeps account of. Beyond that (24 on Zen 4)
//! it drops what is called for, and each miss costs its whole time.
//!
//! Whatever is not exactly so is left alone by stage 3 and takes the long way (`receive`, `forward`), in its place in the
//! order. A packet that went the whole long way leaves the stamp for those that follow it. Everything that the long way
//! judges a packet of that key by is either judged here as well, or in the view or the neighbours, and a change there
//! means a new stamp.

use arrayvec::ArrayVec;

use super::{BURST, Router, View};
use crate::base::{IfaceId, Nanos};
use crate::nat::session::{Key, OUTSIDE, Session, outside_scope};
use crate::nat::tcp::TcpState;
use crate::nat::timeouts::tick;
use crate::packet::PacketBuf;
use crate::table::index::Index;
use crate::wire::tcp::Flags;
use crate::wire::{checksum, eth, le16, le32, le64, protocol, put_le16, put_le32, put_le64};

/// Ethernet, IPv4 without options, TCP without options. A frame is longer: on Ethernet it has 60 bytes.
pub(super) const HEADERS: usize = 54;
/// IPv4 without options, and UDP.
const LEAST: u32 = 28;

/// No destination, shifted as `From` has it, is so.
const NOBODY: u64 = 1;
/// The ethertype of IPv4, and version and length of a header without options, read little-endian.
const IPV4_OF_20_BYTES: u32 = 0x0045_0008;
/// Of four bytes from a header's seventh on, read little-endian: more fragments, or an offset.
const FRAGMENT: u32 = 0xff3f;

/// No entry of the NAT's index can be the frame's: the long way, or a new flow.
pub(super) const NONE: u32 = u32::MAX;
/// No entry is above: sessions are numbered up to 2^24 or so.
const LAST: u32 = NONE >> 1;

/// Frames whose bytes are called for ahead of their turn.
const AHEAD: usize = 4;

/// New flows whose lines are called for ahead of their turn.
const OPENINGS: usize = 3;

/// Frames that stages 2 and 3 take together.
pub const PART: usize = 8;
const PARTS: usize = BURST / PART;
/// Frames that stage 1 takes together.
const HALF: usize = 16;
const HALVES: usize = BURST / HALF;

/// What stages 1 and 2 have found out about the frames of a burst, in its order.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// Of the key; `NO_KEY`: the frame has not the common shape
    pub(super) hashes: [u64; BURST],
    pub(super) entries: [u32; BURST],
    /// Where stage 3 has sent it: the interface's number, as bytes are compared at once
    egress: [u8; BURST],
    /// Keys of those from inside that are no flow's yet
    new: ArrayVec<Key, BURST>,
    /// How many of them have had their turn, and for how many of them lines were called for
    pub(super) turns: usize,
    called: usize,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks {
            hashes: [Index::NO_KEY; BURST],
            entries: [NONE; BURST],
            egress: [0; BURST],
            new: ArrayVec::new(),
            turns: 0,
            called: 0,
        }
    }
}

/// What the frames of a burst have in common.
#[derive(Clone, Copy, Debug)]
pub struct From {
    /// The interface's own address, above 16 zeros
    to: u64,
    /// Protocol and scope of their keys, where they stand there: of UDP and of TCP
    kinds: [u64; 2],
    /// They are from inside
    pub(super) inside: bool,
    /// What sessions know as come by, where it stands there
    by: u16,
    /// The time, as sessions know it
    tick: u32,
    /// A partner is told of what changes
    told: bool,
}

/// The key of a frame of the common shape.
#[inline(always)]
fn parse(frame: &[u8], from: &From) -> Option<Key> {
    let h = frame.first_chunk::<HEADERS>()?;
    // Above 16 zeros.
    let (dst, src) = (le64(h, 0) << 16, le64(h, 6) << 16);
    let total_len = half_swapped(le32(h, 16));
    // To us, from one other station; with room for UDP at least, and no longer than the frame.
    let good = (dst == from.to)
        & (src != from.to)
        & (src != 0)
        & (h[6] & 1 == 0)
        & (le32(h, 12) & 0x00ff_ffff == IPV4_OF_20_BYTES)
        & (le32(h, 20) & FRAGMENT == 0)
        & (h[22] > 1)
        & checksum::adds_up(le64(h, 14), le64(h, 22), le32(h, 30))
        & (total_len.wrapping_sub(LEAST) <= frame.len() as u32 - eth::LEN as u32 - LEAST);
    if !good {
        return None;
    }
    let kind = match h[23] {
        protocol::UDP if half_swapped(le32(h, 38)).wrapping_sub(8) <= total_len - LEAST => from.kinds[0],
        protocol::TCP if (20..=total_len - 20).contains(&(u32::from(h[46] >> 4) * 4)) => from.kinds[1],
        _ => return None,
    };
    Some(Key { addresses: le64(h, 26), rest: u64::from(le32(h, 34)) | kind })
}

/// The field in the first two of four bytes that were read little-endian.
#[inline(always)]
fn half_swapped(word: u32) -> u32 {
    word.swap_bytes() >> 16
}

/// The key of a frame that `parse` has found to be of the common shape.
#[inline(always)]
pub(super) fn key_of(h: &[u8; HEADERS], scope: u64) -> Key {
    let rest = u64::from(le32(h, 34)) | u64::from(h[23]) << 32 | scope << 40;
    Key { addresses: le64(h, 26), rest }
}

/// A frame of the common shape, of no flow as far as the index was asked.
#[inline(always)]
pub(super) fn is_missing(hash: u64, entry: u32) -> bool {
    entry == NONE && hash != Index::NO_KEY
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
        let scope = port.wan.map_or(0, outside_scope);
        let kind = |protocol| u64::from(protocol) << 32 | u64::from(scope) << 40;
        From {
            to: if self.long_way { NOBODY } else { port.mac.bits() << 16 },
            kinds: [kind(protocol::UDP), kind(protocol::TCP)],
            inside: scope == 0,
            by: u16::from(if scope == 0 { ingress.0 } else { scope }) << 8,
            tick: tick(now),
            told: self.nat.tells(),
        }
    }

    /// What stage 3 needs for the next part of a burst, of which `rest` is left after the `gone` first ones: before part 0, 1 and so on,
    /// with one more call at the end than there are parts, and stage 3 for part n - 1 after the call for part n. Gives the bytes of the
    /// frames that it has parsed.
    #[inline(always)]
    pub fn look_up(&mut self, view: &View, from: &From, part: usize, rest: &[B], gone: usize) -> u64 {
        let mut bytes = 0;
        if part == 0 {
            self.marks.new.clear();
            (self.marks.turns, self.marks.called) = (0, 0);
        }
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
        let mut bytes = 0;
        let hashes = &mut self.marks.hashes.as_chunks_mut::<HALF>().0[half % HALVES];
        *hashes = [Index::NO_KEY; HALF];
        for (at, (buf, hash)) in frames.iter().zip(hashes).enumerate() {
            if let Some(next) = frames.get(at + AHEAD) {
                next.prefetch();
            }
            let frame = buf.bytes();
            bytes += frame.len() as u64;
            if let Some(key) = parse(frame, from) {
                *hash = self.nat.call_index(key);
            }
        }
        bytes
    }

    /// Stage 2, for a part of the burst: the first ones of `frames`.
    #[inline(always)]
    fn find(&mut self, view: &View, from: &From, part: usize, frames: &[B]) {
        let hashes = &self.marks.hashes.as_chunks::<PART>().0[part % PARTS];
        let entries = &mut self.marks.entries.as_chunks_mut::<PART>().0[part % PARTS];
        let mut all = 0;
        for (hash, entry) in hashes.iter().zip(entries) {
            *entry = self.nat.call_session(*hash).unwrap_or(NONE);
            all |= *entry;
        }
        if all > LAST {
            self.find_further(view, from, part, frames);
        }
    }

    /// Those that the first line did not have: another line, or a flow that is new.
    #[inline(never)]
    fn find_further(&mut self, view: &View, from: &From, part: usize, frames: &[B]) {
        let hashes = &self.marks.hashes.as_chunks::<PART>().0[part % PARTS];
        let entries = &mut self.marks.entries.as_chunks_mut::<PART>().0[part % PARTS];
        for (hash, _) in hashes.iter().zip(entries.iter()).filter(|(h, e)| is_missing(**h, **e)) {
            self.nat.call_further(*hash);
        }
        for (buf, (hash, entry)) in frames.iter().zip(hashes.iter().zip(entries)) {
            if is_missing(*hash, *entry) {
                *entry = self.nat.call_far_session(*hash).unwrap_or(NONE);
                if let Some(h) = buf.bytes().first_chunk().filter(|_| *entry == NONE && from.inside) {
                    // There is room for a burst.
                    let _ = self.marks.new.try_push(key_of(h, 0));
                }
            }
        }
        self.call_openings(view);
    }

    /// Calls for what the next new flows need, some ahead and no more: each needs several lines, and beyond what a core keeps account of
    /// they are not fetched.
    #[inline]
    pub(super) fn call_openings(&mut self, view: &View) {
        let Marks { new, turns, called, .. } = &mut self.marks;
        while let Some(key) = new.get(*called).filter(|_| *called < *turns + OPENINGS) {
            self.nat.call_opening(*key, &view.uplinks);
            *called += 1;
        }
    }

    /// Stage 3, for frames of the burst, from that at `at` on, whose parts have been through the others: translates them, up to the
    /// first that has to go the long way, and gives how many. They are as good as sent: `queue` takes them.
    #[inline(always)]
    pub fn established(&mut self, view: &View, from: &From, frames: &mut [B], at: usize) -> usize {
        for (n, buf) in frames.iter_mut().enumerate() {
            if !self.translate_known::<false>(view, from, buf, at + n) {
                return n;
            }
        }
        frames.len()
    }

    /// False: nothing was done, as this frame has to go the long way. `OPENED`: its session was found by its whole key just now.
    #[inline(always)]
    pub(super) fn translate_known<const OPENED: bool>(
        &mut self,
        view: &View,
        from: &From,
        buf: &mut B,
        at: usize,
    ) -> bool {
        let entry = self.marks.entries[at % BURST];
        if entry == NONE {
            return false;
        }
        let side = (entry & 1) as usize;
        let (session, timeouts) = self.nat.session(entry >> 1);
        let Some(h) = buf.bytes_mut().first_chunk_mut::<HEADERS>() else { return false };
        let protocol = h[23];
        // What was written in other pieces a moment ago would have to be waited for.
        let its = OPENED || session.is_of(side, le64(h, 26), le32(h, 34), u16::from(protocol) | from.by);
        let good = its
            & (session.stamps[side] == self.stamp)
            & (from.tick.wrapping_sub(session.refreshed) < timeouts.ms(session.state));
        if !good {
            return false;
        }
        let Some((egress, to)) = self.neighbors.get(session.hops[side]).fresh() else { return false };
        let out = &mut self.out[egress.index()];
        let total_len = le16(h, 16).swap_bytes();
        if total_len > out.mtu {
            return false;
        }
        self.marks.egress[at % BURST] = egress.0;
        // The way back adds the complement.
        let flip = if side == OUTSIDE { !0 } else { 0 };
        let l4_delta = session.deltas[1].flipped(flip);
        if protocol == protocol::TCP {
            let flags = Flags(h[47]);
            if session.state == TcpState::Established as u8 && flags.is_plain() {
                session.refreshed = from.tick;
            } else if flags.syn() && (session.packets(side) != 0 || view.clamps()) {
                // A repeated one is counted, and its options are read.
                return false;
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
        // The destination's two bytes too many are the source's first ones.
        put_le64(h, 0, to);
        put_le64(h, 6, out.from);
        h[22] = h[22].wrapping_sub(1);
        let sum = session.deltas[0].flipped(flip).apply_aged(le16(h, 24));
        put_le16(h, 24, sum);
        let (addr, port) = session.translation(side);
        put_le32(h, 26 + side * 4, addr);
        put_le16(h, 34 + side * 2, port);
        // No overflow: it is at most what the frame had.
        let whole = usize::from(total_len.wrapping_add(eth::LEN as u16));
        out.bytes += whole as u64;
        if buf.bytes().len() != whole {
            // Padding is not part of the packet. Cutting never fails.
            let _ = buf.resize(whole);
        }
        true
    }

    /// Puts the first `count` frames of the rest of a burst, of which the first was that at `at`, where stage 3 has sent them.
    #[inline]
    pub fn queue(&mut self, rest: &mut Vec<B>, at: usize, count: usize) {
        let Some(egress) = self.marks.egress.get(at..at + count) else { return };
        let Some(first) = egress.first() else { return };
        if egress == &[*first; BURST][..count] {
            self.out[usize::from(*first)].frames.extend(rest.drain(..count));
        } else {
            for (buf, egress) in rest.drain(..count).zip(egress) {
                self.out[usize::from(*egress)].frames.push(buf);
            }
        }
    }
}
