//! Packets that wait for their next hop's address: the newest few for each, bounded in all (RFC 1122 2.3.2.2).

use std::net::Ipv4Addr;

use crate::base::{IfaceId, Nanos};
use crate::nat::rewrite::{End, rewrite};
use crate::packet::{Frame, PacketBuf};
use crate::wire::eth;
use crate::wire::ipv4::{self, Ipv4};

/// Packets that wait at most, for all next hops.
const CAPACITY: usize = 256;
/// Packets that wait at most for one next hop.
const PER_NEIGHBOR: usize = 8;
/// A next hop that packets go on waiting for is asked for again after so long: the question or its answer may be lost.
const ASK_AGAIN: Nanos = Nanos::from_s(1);
/// A packet waits at most so long.
pub const HELD_FOR: Nanos = Nanos::from_s(4);

/// Where a packet came from and what it was before translation, so that an ICMP error can quote what its sender sent
/// (RFC 1812 4.3.2.3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub(super) ingress: IfaceId,
    l4: u8,
    protocol: u8,
    id: u16,
    /// What was rewritten, and what stood there; `None` if it goes as it came.
    was: Option<(End, Ipv4Addr, u16)>,
}

impl Origin {
    /// Of a frame of which `end` is about to be rewritten, if any.
    pub(super) fn of<B: PacketBuf>(frame: &Frame<B>, end: Option<End>) -> Origin {
        let was = end.map(|end| match (end, frame.tuple()) {
            (End::Source, t) => (end, frame.ip.src, t.map_or(0, |t| t.src_port)),
            (End::Destination, t) => (end, frame.ip.dst, t.map_or(0, |t| t.dst_port)),
        });
        let Ipv4 { header_len, protocol, id, .. } = frame.ip;
        Origin { ingress: frame.ingress, l4: header_len, protocol, id, was }
    }

    pub(super) fn restore(&self, frame: &mut [u8]) {
        if let (Some((end, addr, port)), Some(packet)) = (self.was, frame.get_mut(eth::LEN..)) {
            rewrite(packet, usize::from(self.l4), self.protocol, end, addr, port);
            // That of a first fragment was changed as well.
            ipv4::identify(packet, self.id);
        }
    }
}

#[derive(Debug)]
pub(super) struct Held<B> {
    pub(super) egress: IfaceId,
    pub(super) next_hop: Ipv4Addr,
    pub(super) since: Nanos,
    /// `None` if the router made it.
    pub(super) origin: Option<Origin>,
    pub(super) buf: B,
}

/// The hold of a worker, oldest first.
#[derive(Debug)]
pub struct Hold<B> {
    held: Vec<Waiting<B>>,
}

#[derive(Debug)]
struct Waiting<B> {
    held: Held<B>,
    /// When its next hop was last asked for.
    asked: Nanos,
}

impl<B> Waiting<B> {
    fn is_for(&self, iface: IfaceId, ip: Ipv4Addr) -> bool {
        self.held.egress == iface && self.held.next_hop == ip
    }
}

impl<B> Default for Hold<B> {
    fn default() -> Hold<B> {
        Hold::new()
    }
}

impl<B> Hold<B> {
    /// Empty, with all its memory.
    pub fn new() -> Hold<B> {
        Hold { held: Vec::with_capacity(CAPACITY) }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// None waits.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Keeps a packet. Tells whether an older one had to go, and whether its next hop is to be asked for.
    pub(super) fn push(&mut self, held: Held<B>) -> (bool, bool) {
        let (iface, ip, now) = (held.egress, held.next_hop, held.since);
        let (mut waiting, mut oldest, mut asked) = (0, 0, None);
        for (at, other) in self.held.iter().enumerate().filter(|(_, other)| other.is_for(iface, ip)) {
            oldest = if waiting == 0 { at } else { oldest };
            waiting += 1;
            asked = Some(other.asked);
        }
        let asked = asked.filter(|at| now.since(*at) < ASK_AGAIN);
        let full = waiting >= PER_NEIGHBOR || self.held.len() >= CAPACITY;
        if full {
            self.held.remove(oldest);
        }
        self.held.push(Waiting { held, asked: asked.unwrap_or(now) });
        (full, asked.is_none())
    }

    /// Takes the oldest that waits for this next hop.
    pub(super) fn take(&mut self, iface: IfaceId, ip: Ipv4Addr) -> Option<Held<B>> {
        let at = self.held.iter().position(|w| w.is_for(iface, ip))?;
        Some(self.held.remove(at).held)
    }

    /// Takes the oldest, if it has waited for `age`.
    pub(super) fn take_older(&mut self, now: Nanos, age: Nanos) -> Option<Held<B>> {
        let old = self.held.first().is_some_and(|w| now.since(w.held.since) >= age);
        old.then(|| self.held.remove(0).held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(n: u8, hop: u32) -> Held<u8> {
        let next_hop = Ipv4Addr::from_bits(hop);
        Held { egress: IfaceId(0), next_hop, since: Nanos::from_ms(n.into()), origin: None, buf: n }
    }

    #[test]
    fn rfc1122_arp_2_the_newest_eight_of_a_next_hop_are_kept_in_order() {
        let mut hold = Hold::new();
        assert_eq!(hold.push(held(0, 7)), (false, true), "the first one asks");
        for n in 1..8 {
            assert_eq!(hold.push(held(n, 7)), (false, false));
        }
        for n in 8..20 {
            assert_eq!(hold.push(held(n, 7)), (true, false));
        }
        let kept: Vec<u8> =
            std::iter::from_fn(|| hold.take(IfaceId(0), Ipv4Addr::from_bits(7))).map(|h| h.buf).collect();
        assert_eq!(kept, (12..20).collect::<Vec<_>>());
        assert!(hold.is_empty());
    }

    #[test]
    fn it_is_bounded_in_all_and_the_oldest_goes_first() {
        let mut hold = Hold::new();
        for hop in 0..CAPACITY as u32 {
            assert_eq!(hold.push(held(0, hop)), (false, true));
        }
        // another next hop: the oldest of all goes; one that waits already: its own oldest
        assert_eq!(hold.push(held(1, 1000)), (true, true));
        assert!(hold.take(IfaceId(0), Ipv4Addr::from_bits(0)).is_none());
        assert_eq!(hold.push(held(2, 1000)), (true, false));
        assert_eq!(hold.len(), CAPACITY);
        assert_eq!(hold.take(IfaceId(0), Ipv4Addr::from_bits(1000)).map(|h| h.buf), Some(2));
        // the same address on another link is another next hop
        assert!(hold.take(IfaceId(1), Ipv4Addr::from_bits(5)).is_none());
    }

    #[test]
    fn what_has_waited_long_enough_is_given_out_and_no_more() {
        let mut hold = Hold::new();
        for n in 1..=3 {
            hold.push(held(n, n.into()));
        }
        let now = HELD_FOR + Nanos::from_ms(2);
        let old: Vec<u8> = std::iter::from_fn(|| hold.take_older(now, HELD_FOR)).map(|h| h.buf).collect();
        assert_eq!(old, [1, 2]);
        assert_eq!(hold.len(), 1);
    }

    #[test]
    fn a_next_hop_that_is_waited_for_without_pause_is_asked_for_every_second() {
        let mut hold = Hold::new();
        let next_hop = Ipv4Addr::new(192, 168, 10, 10);
        let mut asked = Vec::new();
        for ms in (0..3_500).step_by(10) {
            let since = Nanos::from_ms(ms);
            let (_, ask) = hold.push(Held { egress: IfaceId(0), next_hop, since, origin: None, buf: () });
            asked.extend(ask.then_some(ms));
        }
        assert_eq!(asked, [0, 1_000, 2_000, 3_000]);
        assert_eq!(hold.len(), PER_NEIGHBOR);
    }
}
