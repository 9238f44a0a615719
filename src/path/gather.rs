//! Echo requests to the router that come in fragments (RFC 1812 4.2.2.8, 4.3.3.6): gathered until all are there, and then
//! answered, each fragment by the same one on its way back. Nothing needs to be put together: only the first fragment's type and
//! checksum change.
//!
//! Four datagrams of 16 fragments each at a time, for 30 s; the oldest gives way to a new one. What does not come to its end
//! is told so (RFC 1122 3.3.2), within the limits of all errors.

use arrayvec::ArrayVec;

use super::local::TTL;
use super::{Router, View};
use crate::base::Nanos;
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Verdict};
use crate::table::datagrams::{DatagramKey, REMEMBERED};
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, kind};
use crate::wire::{be16, ipv4, put16};

/// Datagrams at a time.
const DATAGRAMS: usize = 4;
/// Fragments of one: 23 kB of them on a link of 1500.
const FRAGMENTS: usize = 16;

/// A datagram's fragments, in the order of their offsets.
type Pieces<B> = ArrayVec<Frame<B>, FRAGMENTS>;

#[derive(Debug)]
struct Slot<B> {
    key: Option<DatagramKey>,
    since: Nanos,
    pieces: Pieces<B>,
}

/// What a worker gathers.
#[derive(Debug)]
pub(super) struct Gather<B> {
    slots: [Slot<B>; DATAGRAMS],
}

impl<B> Gather<B> {
    pub(super) fn new() -> Gather<B> {
        let slot = || Slot { key: None, since: Nanos::ZERO, pieces: ArrayVec::new() };
        Gather { slots: std::array::from_fn(|_| slot()) }
    }

    fn find(&mut self, key: DatagramKey) -> Option<&mut Slot<B>> {
        self.slots.iter_mut().find(|slot| slot.key == Some(key))
    }

    fn take(&mut self, key: DatagramKey) -> Option<Pieces<B>> {
        let slot = self.find(key)?;
        slot.key = None;
        Some(std::mem::take(&mut slot.pieces))
    }
}

impl<B: PacketBuf> Router<B> {
    /// A fragment of an echo request to the router; of each datagram the first one comes first.
    pub(super) fn gather(&mut self, view: &View, key: DatagramKey, frame: Frame<B>, now: Nanos) -> Verdict {
        let first = frame.ip.fragment_offset == 0;
        if first {
            self.forget(key, DropReason::FragmentTimeout);
            let slots = &self.fragments.gather.slots;
            let all_taken = slots.iter().all(|slot| slot.key.is_some());
            let oldest = slots.iter().min_by_key(|slot| slot.since).and_then(|slot| slot.key);
            if let Some(oldest) = oldest.filter(|_| all_taken) {
                self.forget(oldest, DropReason::FragmentHold);
            }
        }
        let slots = &mut self.fragments.gather.slots;
        let wanted = if first { None } else { Some(key) };
        let Some(slot) = slots.iter_mut().find(|slot| slot.key == wanted) else {
            return self.ended(DropReason::FragmentRefused);
        };
        if first {
            (slot.key, slot.since) = (Some(key), now);
        }
        let at = slot.pieces.iter().filter(|f| f.ip.fragment_offset < frame.ip.fragment_offset).count();
        if slot.pieces.is_full() {
            self.forget(key, DropReason::FragmentHold);
            return self.ended(DropReason::FragmentHold);
        }
        slot.pieces.insert(at, frame);
        self.counters.add(Stat::Held, 1);
        if !first && self.fragments.datagrams.find(key, now).is_some_and(|d| d.ranges.complete()) {
            self.answer(view, key, now);
        }
        Verdict::Held
    }

    /// Gives up what was gathered of a datagram.
    pub(super) fn forget(&mut self, key: DatagramKey, reason: DropReason) {
        let pieces = self.fragments.gather.take(key).map_or(0, |pieces| pieces.len() as u64);
        self.counters.sub(Stat::Held, pieces);
        self.counters.drop_many(reason, pieces);
    }

    /// All fragments are there: they become the reply.
    fn answer(&mut self, view: &View, key: DatagramKey, now: Nanos) {
        let Some(mut pieces) = self.fragments.gather.take(key) else { return };
        let count = pieces.len() as u64;
        self.counters.sub(Stat::Held, count);
        // All but the last are of even length: their sums add up.
        let sums = pieces.iter_mut().map(|f| {
            let l4 = usize::from(f.ip.header_len);
            u32::from(checksum::sum(f.packet_mut().get(l4..).unwrap_or_default()))
        });
        if checksum::fold(sums.sum()) != 0xffff {
            return self.counters.drop_many(DropReason::IcmpChecksum, count);
        }
        let Some(ip) = pieces.first().map(|f| f.ip) else { return };
        let ingress = pieces.first().map(|f| f.ingress);
        let Some((egress, next_hop)) = ingress.and_then(|ingress| view.back(ingress, ip.src)) else {
            return self.counters.drop_many(DropReason::NoRoute, count);
        };
        let back = ipv4::Ipv4 { src: ip.dst, dst: ip.src, ..ip };
        let mut id = None;
        for mut frame in pieces {
            let (first, l4) = (frame.ip.fragment_offset == 0, usize::from(frame.ip.header_len));
            let packet = frame.packet_mut();
            ipv4::readdress(packet, back.src, back.dst);
            ipv4::set_ttl(packet, TTL);
            match id {
                None => id = Some(self.identify(view, egress, packet, &back)),
                Some(id) => ipv4::identify(packet, id),
            }
            if let Some(message) = packet.get_mut(l4..).filter(|m| first && m.len() >= icmp::LEN) {
                let (was, is) = (u16::from(kind::ECHO_REQUEST) << 8, u16::from(kind::ECHO_REPLY) << 8);
                let sum = Delta::NONE.word(was, is).apply(be16(message, icmp::CHECKSUM));
                message[0] = kind::ECHO_REPLY;
                put16(message, icmp::CHECKSUM, sum);
            }
            self.counters.add(Stat::Local, 1);
            self.counters.add(Stat::Originated, 1);
            self.resolve(view, egress, next_hop, frame.buf, None, now);
        }
    }

    /// Ends what has not come to its end in time, and says so to its sender: code 1, reassembly.
    pub(super) fn expire_gathered(&mut self, view: &View, now: Nanos) {
        for at in 0..DATAGRAMS {
            let slot = &mut self.fragments.gather.slots[at];
            if slot.key.is_none() || now.since(slot.since) < REMEMBERED {
                continue;
            }
            slot.key = None;
            let pieces = std::mem::take(&mut slot.pieces);
            self.counters.sub(Stat::Held, pieces.len() as u64);
            self.counters.drop_many(DropReason::FragmentTimeout, pieces.len() as u64);
            if let Some(first) = pieces.into_iter().next().filter(|_| view.icmp.time_exceeded) {
                self.error(view, first, kind::TIME_EXCEEDED, 1, 0, now);
            }
        }
    }
}
