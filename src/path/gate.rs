//! The gate: where fragments wait that came before the first one of their datagram (RFC 4787 REQ-14), in the order of
//! their offsets.
//!
//! Bounded, so that fragments without a first one cost others nothing: 128 datagrams and 256 fragments in all, 16 of one
//! datagram, 2 s. Where there is no room the oldest datagram goes. What comes in order never waits here.

use arrayvec::ArrayVec;

use crate::base::Nanos;
use crate::packet::Frame;
use crate::table::datagrams::DatagramKey;
use crate::wire::ipv4::Ipv4;

/// Datagrams that wait at most.
const DATAGRAMS: usize = 128;
/// Fragments that wait at most, of all datagrams; their numbers fit into a byte.
const FRAGMENTS: usize = 256;
/// Fragments that wait at most, of one datagram.
const PER_DATAGRAM: usize = 16;
/// So long they wait for the first one.
pub(super) const WAIT: Nanos = Nanos::from_s(2);

/// The fragments of a datagram that wait, the one with the least offset at the end.
#[derive(Debug)]
struct Room {
    since: Nanos,
    pieces: ArrayVec<u8, PER_DATAGRAM>,
}

/// All that waits at a worker.
#[derive(Debug)]
pub(super) struct Gate<B> {
    /// By the same place as `rooms`
    keys: Vec<Option<DatagramKey>>,
    rooms: Vec<Room>,
    pieces: Vec<Option<Frame<B>>>,
    free: Vec<u8>,
    /// No datagram waits since before then
    oldest: Nanos,
}

impl<B> Gate<B> {
    /// Empty, with all its memory.
    pub(super) fn new() -> Gate<B> {
        Gate {
            keys: vec![None; DATAGRAMS],
            rooms: (0..DATAGRAMS).map(|_| Room { since: Nanos::ZERO, pieces: ArrayVec::new() }).collect(),
            pieces: (0..FRAGMENTS).map(|_| None).collect(),
            free: (0..FRAGMENTS).map(|n| n as u8).collect(),
            oldest: Nanos::NEVER,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        FRAGMENTS - self.free.len()
    }

    fn find(&self, key: DatagramKey) -> Option<usize> {
        if self.len() == 0 {
            return None;
        }
        self.keys.iter().position(|k| *k == Some(key))
    }

    /// Has a fragment wait. Gives how many had to go: itself, or others for its sake.
    pub(super) fn put(&mut self, key: DatagramKey, frame: Frame<B>, now: Nanos) -> u64 {
        let mut gone = 0;
        let at = match self.find(key) {
            Some(at) if self.rooms[at].pieces.is_full() => return 1,
            Some(at) => {
                if self.free.is_empty() {
                    gone += self.clear_oldest(Some(at));
                }
                at
            }
            None => {
                if self.free.is_empty() {
                    gone += self.clear_oldest(None);
                }
                if self.keys.iter().all(Option::is_some) {
                    gone += self.clear_oldest(None);
                }
                let Some(at) = self.keys.iter().position(Option::is_none) else { return gone + 1 };
                self.keys[at] = Some(key);
                self.rooms[at].since = now;
                self.oldest = self.oldest.min(now);
                at
            }
        };
        let Some(slot) = self.free.pop() else { return gone + 1 };
        let offset = |n: &u8| self.pieces[usize::from(*n)].as_ref().map_or(0, |f| f.ip.fragment_offset);
        let to = self.rooms[at].pieces.iter().take_while(|n| offset(n) > frame.ip.fragment_offset).count();
        self.pieces[usize::from(slot)] = Some(frame);
        self.rooms[at].pieces.insert(to, slot);
        gone
    }

    /// Gives up the oldest datagram, but for one. Gives how many fragments it had.
    fn clear_oldest(&mut self, spared: Option<usize>) -> u64 {
        let taken = (0..DATAGRAMS).filter(|at| self.keys[*at].is_some() && Some(*at) != spared);
        let Some(at) = taken.min_by_key(|at| self.rooms[*at].since) else { return 0 };
        let mut gone = 0;
        while self.take_from(at).is_some() {
            gone += 1;
        }
        gone
    }

    fn take_from(&mut self, at: usize) -> Option<Frame<B>> {
        let slot = self.rooms[at].pieces.pop()?;
        if self.rooms[at].pieces.is_empty() {
            self.keys[at] = None;
        }
        self.free.push(slot);
        self.pieces[usize::from(slot)].take()
    }

    /// Takes the fragment of a datagram with the least offset.
    pub(super) fn take(&mut self, key: DatagramKey) -> Option<Frame<B>> {
        let at = self.find(key)?;
        self.take_from(at)
    }

    /// Takes one that has waited too long.
    pub(super) fn take_older(&mut self, now: Nanos) -> Option<Frame<B>> {
        if self.len() == 0 || now.since(self.oldest) < WAIT {
            return None;
        }
        let taken = (0..DATAGRAMS).filter(|at| self.keys[*at].is_some());
        let at = taken.min_by_key(|at| self.rooms[*at].since)?;
        self.oldest = self.rooms[at].since;
        if now.since(self.oldest) < WAIT { None } else { self.take_from(at) }
    }

    /// The headers of those of a datagram, in the order of their offsets.
    pub(super) fn headers(&self, key: DatagramKey) -> impl Iterator<Item = &Ipv4> {
        let pieces = self.find(key).map(|at| self.rooms[at].pieces.iter().rev());
        pieces.into_iter().flatten().filter_map(|n| self.pieces[usize::from(*n)].as_ref()).map(|f| &f.ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::IfaceId;
    use crate::packet::Transport;
    use std::net::Ipv4Addr;

    fn fragment(id: u16, offset: u16) -> (DatagramKey, Frame<u16>) {
        let ip = Ipv4 {
            header_len: 20,
            tos: 0,
            total_len: 28,
            id,
            dont_fragment: false,
            more_fragments: true,
            fragment_offset: offset * 8,
            ttl: 64,
            protocol: 17,
            src: Ipv4Addr::new(9, 9, 9, 9),
            dst: Ipv4Addr::new(10, 0, 0, 1),
        };
        let ingress = IfaceId(1);
        let frame = Frame { buf: id, ingress, link_group: false, ip, transport: Transport::Other };
        (DatagramKey::of(&ip, ingress), frame)
    }

    fn put(gate: &mut Gate<u16>, id: u16, offset: u16, ms: u64) -> u64 {
        let (key, frame) = fragment(id, offset);
        gate.put(key, frame, Nanos::from_ms(ms))
    }

    fn offsets(gate: &mut Gate<u16>, id: u16) -> Vec<u16> {
        let key = fragment(id, 0).0;
        std::iter::from_fn(|| gate.take(key)).map(|f| f.ip.fragment_offset / 8).collect()
    }

    #[test]
    fn what_waits_comes_out_in_the_order_of_offsets() {
        let mut gate = Gate::new();
        for offset in [5, 1, 9, 3, 3, 7] {
            assert_eq!(put(&mut gate, 1, offset, 0), 0);
            assert_eq!(put(&mut gate, 2, 10 - offset, 0), 0);
        }
        let key = fragment(1, 0).0;
        assert_eq!(
            gate.headers(key).map(|ip| ip.fragment_offset / 8).collect::<Vec<_>>(),
            [1, 3, 3, 5, 7, 9]
        );
        assert_eq!(offsets(&mut gate, 1), [1, 3, 3, 5, 7, 9]);
        assert_eq!(offsets(&mut gate, 2), [1, 3, 5, 7, 7, 9]);
        assert_eq!((gate.len(), gate.headers(key).count()), (0, 0));
    }

    #[test]
    fn rfc4787_14c_it_is_bounded_and_the_oldest_datagram_goes_first() {
        let mut gate = Gate::new();
        let mut gone = 0;
        for id in 0..10_000u16 {
            gone += put(&mut gate, id, 1, id.into());
            assert!(gate.len() <= DATAGRAMS);
        }
        assert_eq!((gone, gate.len()), (10_000 - DATAGRAMS as u64, DATAGRAMS));
        assert_eq!(offsets(&mut gate, 9_999), [1]);
        assert_eq!(offsets(&mut gate, 10_000 - DATAGRAMS as u16 - 1), [] as [u16; 0]);
        // one datagram has 16 at most, all of them 256
        assert_eq!((2..30).map(|n| put(&mut gate, 9_998, n, 10_000)).sum::<u64>(), 28 - 15);
        gone = 0;
        for id in 0..1000u16 {
            for n in 0..16 {
                gone += put(&mut gate, 20_000 + id, n, 20_000 + u64::from(id));
                assert!(gate.len() <= FRAGMENTS);
            }
        }
        assert_eq!(offsets(&mut gate, 20_999).len(), 16);
        assert!(gone >= 16_000 - FRAGMENTS as u64);
    }

    #[test]
    fn what_waited_too_long_is_given_out_and_no_more() {
        let mut gate = Gate::new();
        put(&mut gate, 1, 1, 0);
        put(&mut gate, 2, 1, 10);
        put(&mut gate, 1, 2, 1_000);
        assert!(gate.take_older(Nanos::from_ms(1_999)).is_none());
        let old = |gate: &mut Gate<u16>, ms| {
            std::iter::from_fn(|| gate.take_older(Nanos::from_ms(ms))).map(|f| f.buf).collect::<Vec<_>>()
        };
        assert_eq!(old(&mut gate, 2_009), [1, 1]);
        assert_eq!(old(&mut gate, 2_010), [2]);
        assert_eq!(gate.len(), 0);
        put(&mut gate, 3, 1, 5_000);
        assert_eq!((old(&mut gate, 6_999), old(&mut gate, 7_000)), (vec![], vec![3]));
    }
}
