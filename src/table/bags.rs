//! The free ports of a pool, in bags by what they are for: an even or odd port, high (from 1024 on) or low.
//!
//! An inside port has the bag of its own kind (RFC 4787 REQ-3a and REQ-4), then that of the other parity, and a low one then the
//! high bags. So parity and range are kept as long as they can be, and no flow is refused for them. A high inside
//! port never gets a low one. Echo identifiers are all of one kind: they stand in one bag.
//!
//! A bag is an array with a fixed place in that of its pool; a draw takes any of it and closes the gap with the last, so each
//! is equally likely (RFC 6056, RFC 7857 REQ-9, RFC 6888 REQ-15), and a draw costs the same when one is left as when all are.
//! Memory that was never written holds zeros: there the port is that of the same place in `Bags`, which has those that
//! every pool of a worker begins with. So a pool that nobody uses takes no memory. Port 0 is nobody's.

use std::sync::Arc;

use rand::{Rng, RngExt};

/// Ports there are, with 0.
pub const ALL: usize = 1 << 16;
/// Bags of a pool: high even, high odd, low even, low odd.
pub const BAGS: usize = 4;
/// The first high port.
pub const HIGH: u16 = 1024;

/// Where each bag begins in the array, and how many ports it has room for: those of its kind.
const PLACES: [(u16, u32); BAGS] = [(0, 32_256), (32_256, 32_256), (64_512, 512), (65_024, 512)];
/// If all are of one kind.
const ONE: [(u16, u32); BAGS] = [(0, ALL as u32), (0, 0), (0, 0), (0, 0)];

/// The ports that every pool of a class begins with at one worker, by bag.
#[derive(Debug)]
pub struct Bags {
    ports: Box<[u16; ALL]>,
    counts: [u32; BAGS],
    places: [(u16, u32); BAGS],
    /// A bit for each port
    held: Box<[u64; ALL / 64]>,
    /// 3: a port is of one of four kinds. 0: of one
    kinds: u16,
}

impl Bags {
    /// Those of the ports 1 to 65535 that `holds` names; `one` puts them all into one bag.
    pub fn new(one: bool, holds: impl Fn(u16) -> bool) -> Arc<Bags> {
        let (places, kinds) = if one { (ONE, 0) } else { (PLACES, 3) };
        let (ports, held) = (Box::new([0; ALL]), Box::new([0; ALL / 64]));
        let mut bags = Bags { ports, counts: [0; BAGS], places, held, kinds };
        for port in (1..=u16::MAX).filter(|port| holds(*port)) {
            let bag = bags.of(port);
            bags.ports[bags.place(bag, bags.counts[bag])] = port;
            bags.counts[bag] += 1;
            bags.held[usize::from(port) / 64] |= 1 << (port % 64);
        }
        Arc::new(bags)
    }

    /// The bag of a port, or of what an inside port should get; below `BAGS`.
    #[inline(always)]
    pub fn of(&self, port: u16) -> usize {
        usize::from((port & 1 | u16::from(port < HIGH) << 1) & self.kinds)
    }

    /// Any source may get a port of this bag.
    pub const fn open(bag: usize) -> bool {
        bag < 2
    }

    #[inline(always)]
    pub(super) fn place(&self, bag: usize, at: u32) -> usize {
        usize::from(self.places[bag].0.wrapping_add(at as u16))
    }

    /// How many ports each bag begins with.
    pub fn counts(&self) -> [u32; BAGS] {
        self.counts
    }

    /// Whether a pool begins with this port.
    pub fn has(&self, port: u16) -> bool {
        self.held[usize::from(port) / 64] >> (port % 64) & 1 != 0
    }

    /// The array of a pool as it begins.
    pub fn ports(&self) -> &[u16; ALL] {
        &self.ports
    }

    /// A random one of the ports that any source may get. `None` if there is none.
    pub fn random(&self, rng: &mut impl Rng) -> Option<u16> {
        let all = self.counts[0] + self.counts[1];
        let n = (all > 0).then(|| rng.random_range(0..all))?;
        let (bag, at) = if n < self.counts[0] { (0, n) } else { (1, n - self.counts[0]) };
        Some(self.ports[self.place(bag, at)])
    }
}

/// The free ports of one pool.
#[derive(Debug)]
pub struct Free<'a> {
    /// What it began with
    pub bags: &'a Bags,
    /// How many there are in each bag
    pub counts: &'a mut [u32; BAGS],
    /// 0: as it began
    pub ports: &'a mut [u16; ALL],
}

impl Free<'_> {
    /// How many there are that any source may get.
    #[inline(always)]
    pub fn open(&self) -> u32 {
        self.counts[0] + self.counts[1]
    }

    /// The port at a place of a bag, below its count.
    #[inline(always)]
    pub fn get(&self, bag: usize, at: u32) -> u16 {
        let place = self.bags.place(bag, at);
        match self.ports[place] {
            0 => self.bags.ports[place],
            port => port,
        }
    }

    /// Takes out the port at a place of a bag, below its count.
    #[inline(always)]
    pub fn take(&mut self, bag: usize, at: u32) -> u16 {
        let last = self.counts[bag].saturating_sub(1);
        let port = self.get(bag, at);
        self.ports[self.bags.place(bag, at)] = self.get(bag, last);
        self.counts[bag] = last;
        port
    }

    /// Takes a random port out of a bag. `None` if it is empty.
    #[inline(always)]
    pub fn draw(&mut self, rng: &mut impl Rng, bag: usize) -> Option<u16> {
        let count = self.counts[bag];
        (count > 0).then(|| self.take(bag, rng.random_range(0..count)))
    }

    /// A random place of a bag.
    #[inline(always)]
    pub fn choose(&self, rng: &mut impl Rng, bag: usize) -> u16 {
        rng.random_range(0..self.counts[bag].max(1)) as u16
    }

    /// Takes out the port at a place that was chosen before, or a random one if the bag has no such place any more. `None` if it is empty.
    #[inline(always)]
    pub fn draw_at(&mut self, rng: &mut impl Rng, bag: usize, place: u16) -> Option<u16> {
        if u32::from(place) < self.counts[bag] {
            Some(self.take(bag, place.into()))
        } else {
            self.draw(rng, bag)
        }
    }

    /// Takes out a random port that any source may get, of two the one that is `wanted`. `None` if there is none.
    pub fn draw_open(&mut self, rng: &mut impl Rng, wanted: impl Fn(u16) -> bool) -> Option<u16> {
        let all = self.open();
        if all == 0 {
            return None;
        }
        let even = self.counts[0];
        let mut random = || match rng.random_range(0..all) {
            n if n < even => (0, n),
            n => (1, n - even),
        };
        let (one, other) = (random(), random());
        let (bag, at) = if wanted(self.get(other.0, other.1)) { other } else { one };
        Some(self.take(bag, at))
    }

    /// Puts a port in.
    #[inline(always)]
    pub fn push(&mut self, port: u16) {
        let bag = self.bags.of(port);
        let count = self.counts[bag];
        // A bag has room for all of its kind; 0 is none.
        if count < self.bags.places[bag].1 && port != 0 {
            self.ports[self.bags.place(bag, count)] = port;
            self.counts[bag] = count + 1;
        }
    }

    /// Takes out all ports that `which` names; gives how many of those any source could get.
    pub fn remove(&mut self, mut which: impl FnMut(u16) -> bool) -> u32 {
        let before = self.open();
        for bag in 0..BAGS {
            let mut at = 0;
            while at < self.counts[bag] {
                if which(self.get(bag, at)) {
                    self.take(bag, at);
                } else {
                    at += 1;
                }
            }
        }
        before - self.open()
    }

    /// Every port.
    pub fn all(&self) -> impl Iterator<Item = u16> {
        (0..BAGS).flat_map(move |bag| (0..self.counts[bag]).map(move |at| self.get(bag, at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_but_0_has_a_place_of_its_own() {
        for (one, counts) in [(false, [32_256, 32_256, 511, 512]), (true, [65_535, 0, 0, 0])] {
            let bags = Bags::new(one, |_| true);
            assert_eq!(bags.counts(), counts);
            let (mut counts, mut ports) = (bags.counts(), [0; ALL]);
            let mut all: Vec<u16> =
                Free { bags: &bags, counts: &mut counts, ports: &mut ports }.all().collect();
            all.sort_unstable();
            assert!(all.iter().copied().eq(1..=u16::MAX));
        }
    }

    #[test]
    fn the_kinds_are_parity_and_range() {
        let bags = Bags::new(false, |_| true);
        assert_eq!([1024, 65_535, 0, 1023, 22].map(|port| bags.of(port)), [0, 1, 2, 3, 2]);
        let one = Bags::new(true, |_| true);
        assert!((0..=u16::MAX).all(|port| one.of(port) == 0));
    }
}
