//! Datagrams that come in fragments: by source, destination, identification, protocol and ingress, what is known of each, and
//! which of its bytes were seen.
//!
//! A datagram is remembered for 30 s after its first fragment (RFC 791 3.2 names 15 s, RFC 1122 3.3.2 a minute at most).
//! Sets of eight places, chosen by a keyed hash: a new one always finds a place, that of a datagram that is over or complete, or else of the
//! oldest in the set. Nothing is allocated after `new`.

use super::hash::HashKey;
use crate::base::{IfaceId, Nanos};
use crate::wire::ipv4::Ipv4;

/// How long a datagram is remembered.
pub const REMEMBERED: Nanos = Nanos::from_s(30);
/// Places of a set.
const WAYS: usize = 8;
/// Sets: 2048 datagrams.
const SETS: usize = 256;

/// What the fragments of a datagram have in common (RFC 791 3.2), and where they came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramKey(u64, u64);

impl DatagramKey {
    /// Of a fragment.
    pub fn of(ip: &Ipv4, ingress: IfaceId) -> DatagramKey {
        let addresses = u64::from(ip.src.to_bits()) << 32 | u64::from(ip.dst.to_bits());
        DatagramKey(addresses, u64::from(ip.id) << 16 | u64::from(ip.protocol) << 8 | u64::from(ingress.0))
    }
}

/// Bytes seen, as stretches that do not touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    spans: [(u16, u16); 16],
    used: u8,
    /// Length of the first fragment
    step: u16,
    /// Where the last fragment starts and ends, once it is known
    last: Option<(u16, u16)>,
}

/// What a fragment adds to those seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Its bytes
    New,
    /// Nothing: the same one was seen
    Again,
    /// Bytes that were seen in another fragment, or beyond the datagram's end
    Overlap,
    /// More gaps than can be noted; it was not noted
    Scattered,
}

impl Ranges {
    /// Notes a fragment's bytes, `from..to` (not empty); `last`: no more come after it. What does not fit with those seen is not noted.
    pub fn add(&mut self, from: u16, to: u16, last: bool) -> Added {
        let used = usize::from(self.used);
        let spans = self.spans.get(..used).unwrap_or_default();
        // Those that end before it; the next one is the first that it may meet.
        let at = spans.iter().take_while(|(_, end)| *end < from).count();
        let touched = spans[at..].iter().take_while(|(start, _)| *start <= to).count();
        let meets = |(start, end): &(u16, u16)| *start < to && from < *end;
        if spans[at..at + touched].iter().any(meets) {
            let within = spans[at..at + touched].iter().any(|(start, end)| *start <= from && to <= *end);
            let same = match last {
                true => self.last == Some((from, to)),
                false => self.step != 0 && from.is_multiple_of(self.step) && to - from == self.step,
            };
            return if within && same { Added::Again } else { Added::Overlap };
        }
        let reached = spans.last().map_or(0, |(_, end)| *end);
        if self.last.is_some_and(|(_, end)| last || to > end) || (last && to < reached) {
            return Added::Overlap;
        }
        let joined = spans[at..at + touched].iter().fold((from, to), |(a, b), (c, d)| (a.min(*c), b.max(*d)));
        match touched {
            0 if used == self.spans.len() => return Added::Scattered,
            0 => {
                self.spans.copy_within(at..used, at + 1);
                self.used += 1;
            }
            _ => {
                self.spans.copy_within(at + touched..used, at + 1);
                self.used -= touched as u8 - 1;
            }
        }
        self.spans[at] = joined;
        if from == 0 {
            self.step = to;
        }
        if last {
            self.last = Some((from, to));
        }
        Added::New
    }

    /// Every byte from the first to the last was seen.
    pub fn complete(&self) -> bool {
        self.used == 1 && self.last.is_some_and(|(_, end)| self.spans[0] == (0, end))
    }
}

/// A datagram, and what `T` its first fragment told.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<T> {
    key: Option<DatagramKey>,
    /// When its first fragment came
    pub since: Nanos,
    /// Which bytes passed
    pub ranges: Ranges,
    /// What is known of it
    pub known: T,
}

impl<T> Datagram<T> {
    fn over(&self, now: Nanos) -> bool {
        self.key.is_none() || now.since(self.since) >= REMEMBERED || self.ranges.complete()
    }
}

/// The datagrams of a worker.
#[derive(Debug)]
pub struct Datagrams<T> {
    secret: HashKey,
    places: Vec<Datagram<T>>,
}

impl<T: Copy + Default> Datagrams<T> {
    /// None, with all the memory.
    pub fn new(secret: HashKey) -> Datagrams<T> {
        let none = Datagram { key: None, since: Nanos::ZERO, ranges: Ranges::default(), known: T::default() };
        Datagrams { secret, places: vec![none; SETS * WAYS] }
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.places.len() * size_of::<Datagram<T>>()
    }

    fn set(&mut self, key: DatagramKey) -> &mut [Datagram<T>] {
        let first = self.secret.hash(key.0, key.1) as usize % SETS * WAYS;
        self.places.get_mut(first..first + WAYS).unwrap_or_default()
    }

    /// A datagram whose first fragment has come, complete or not.
    pub fn find(&mut self, key: DatagramKey, now: Nanos) -> Option<&mut Datagram<T>> {
        let mut set = self.set(key).iter_mut();
        set.find(|d| d.key == Some(key) && now.since(d.since) < REMEMBERED)
    }

    /// A first fragment has come: a datagram begins, of which nothing else is known. One of the same key is forgotten.
    pub fn begin(&mut self, key: DatagramKey, now: Nanos) -> Option<&mut Datagram<T>> {
        let set = self.set(key);
        let same = set.iter().position(|d| d.key == Some(key));
        let over = || set.iter().position(|d| d.over(now));
        let oldest = || set.iter().enumerate().min_by_key(|(_, d)| d.since).map_or(0, |(at, _)| at);
        let at = same.or_else(over).unwrap_or_else(oldest);
        let place = set.get_mut(at)?;
        *place = Datagram { key: Some(key), since: now, ranges: Ranges::default(), known: T::default() };
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc4787_14b_fragments_in_any_order_are_complete_when_the_last_gap_is_closed() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut ranges = Ranges::default();
            for (n, piece) in order.into_iter().enumerate() {
                assert!(!ranges.complete());
                assert_eq!(ranges.add(piece * 8, piece * 8 + 8, piece == 2), Added::New);
                assert_eq!(ranges.complete(), n == 2);
            }
            for piece in 0..3 {
                assert_eq!(ranges.add(piece * 8, piece * 8 + 8, piece == 2), Added::Again);
            }
        }
    }

    #[test]
    fn rfc1812_overlap_whatever_was_seen_in_another_fragment_overlaps() {
        let mut seen = Ranges::default();
        assert_eq!(seen.add(0, 800, false), Added::New);
        assert_eq!(seen.add(1600, 2000, true), Added::New);
        for (from, to, last) in [
            (0, 8, false),
            (8, 800, false),
            (792, 1600, false),
            (800, 1608, false),
            (2000, 2008, false),
            (1600, 2000, false),
            (1600, 1900, true),
            (800, 900, true),
            (0, 800, true),
            (0, 4000, false),
        ] {
            let mut ranges = seen;
            assert_eq!(ranges.add(from, to, last), Added::Overlap, "{from}..{to}");
            assert_eq!(ranges, seen, "an overlap is not noted");
        }
        assert_eq!(seen.add(0, 800, false), Added::Again);
        assert_eq!(seen.add(1600, 2000, true), Added::Again);
        assert_eq!(seen.add(800, 1600, false), Added::New);
        assert!(seen.complete());
    }

    #[test]
    fn in_order_a_datagram_takes_one_stretch_and_sixteen_gaps_are_all_there_can_be() {
        let mut ranges = Ranges::default();
        for n in 0..50u16 {
            assert_eq!(ranges.add(n * 1280, n * 1280 + 1280, n == 49), Added::New);
            assert_eq!(ranges.used, 1);
        }
        assert!(ranges.complete());
        let mut gaps = Ranges::default();
        for n in 0..16 {
            assert_eq!(gaps.add(n * 16, n * 16 + 8, false), Added::New);
        }
        assert_eq!(gaps.add(256, 264, false), Added::Scattered);
        assert_eq!(gaps.add(8, 16, false), Added::New);
        assert_eq!(gaps.add(256, 264, false), Added::New);
    }

    #[test]
    fn a_datagram_ends_after_its_time_and_the_oldest_of_a_set_gives_way() {
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        let mut all = Datagrams::<u32>::new(HashKey::draw(&mut rng));
        let key = |n: u64| DatagramKey(n, 17);
        for n in 0..100_000u64 {
            all.begin(key(n), Nanos(n + 1)).unwrap().known = n as u32;
        }
        let kept = (0..100_000).filter(|n| all.find(key(*n), Nanos(100_001)).is_some()).count();
        assert_eq!(kept, SETS * WAYS);
        assert_eq!(all.find(key(99_999), Nanos(100_001)).unwrap().known, 99_999);
        assert!(all.find(key(99_999), Nanos(100_000) + REMEMBERED).is_none());
        assert!(all.bytes() < 512 << 10, "{}", all.bytes());
    }

    proptest! {
        #[test]
        fn stretches_are_the_bytes_that_were_added(pieces in prop::collection::vec((0u16..64, 1u16..8), 1..40)) {
            let (mut ranges, mut bytes) = (Ranges::default(), [false; 80]);
            for (from, length) in pieces {
                let span = usize::from(from)..usize::from(from + length);
                let free = !bytes[span.clone()].iter().any(|b| *b);
                let added = ranges.add(from * 8, (from + length) * 8, false);
                prop_assert_eq!(added == Added::New || added == Added::Scattered, free);
                if added == Added::New {
                    bytes[span].fill(true);
                }
                let spans = &ranges.spans[..usize::from(ranges.used)];
                prop_assert!(spans.windows(2).all(|w| w[0].1 < w[1].0));
                let sum: u16 = spans.iter().map(|(a, b)| (b - a) / 8).sum();
                prop_assert_eq!(usize::from(sum), bytes.iter().filter(|b| **b).count());
            }
        }
    }
}
