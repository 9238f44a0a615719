//! What is between two simulated members, link by link: lines that lose, double, delay and so reorder, one way or both, and each member's disk.
//!
//! Fair as long as nobody says otherwise: then every frame arrives at once. All chance is the seed's, so that the same calls meet the
//! same weather.

use std::collections::{BTreeMap, VecDeque};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::base::Nanos;
use crate::cluster::Kept;
use crate::manage::keeping::{Disk, Keeper};

/// One direction of one link between the members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Air {
    /// Lost frames of a thousand; 1000: it is cut
    pub loss: u32,
    /// Doubled frames of a thousand
    pub twice: u32,
    /// No frame is under way for longer; each for as long as chance wants
    pub slowest: Nanos,
}

impl Air {
    /// Nothing comes through.
    pub const CUT: Air = Air { loss: 1000, twice: 0, slowest: Nanos::ZERO };

    /// What comes through is not by chance.
    pub fn is_sure(&self) -> bool {
        self.loss == 0 || self.loss >= 1000
    }
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) to: usize,
    pub(super) link: String,
    pub(super) frame: Vec<u8>,
}

/// The lines, and what is on them.
#[derive(Debug)]
pub(super) struct Weather {
    rng: SmallRng,
    /// By link: what `a` sends, what `b` sends
    lines: BTreeMap<String, [Air; 2]>,
    /// In the order in which they arrive
    letters: BTreeMap<(Nanos, u64), Letter>,
    posted: u64,
    /// How often the lines have changed
    pub(super) changes: u64,
}

impl Weather {
    pub(super) fn new(seed: u64) -> Weather {
        Weather {
            rng: SmallRng::seed_from_u64(seed),
            lines: BTreeMap::new(),
            letters: BTreeMap::new(),
            posted: 0,
            changes: 0,
        }
    }

    pub(super) fn set(&mut self, from: usize, link: &str, air: Air) {
        self.changes += 1;
        if let Some(line) = self.lines.entry(link.to_owned()).or_default().get_mut(from) {
            *line = air;
        }
    }

    pub(super) fn of(&self, from: usize, link: &str) -> Air {
        self.lines.get(link).and_then(|line| line.get(from)).copied().unwrap_or_default()
    }

    pub(super) fn is_sure(&self) -> bool {
        self.lines.values().flatten().all(Air::is_sure)
    }

    /// A member sends this to the other one.
    pub(super) fn post(&mut self, now: Nanos, from: usize, link: &str, frame: &[u8]) {
        let air = self.of(from, link);
        let chance = |of: u32, rng: &mut SmallRng| of > 0 && rng.random_range(0..1000) < of;
        if chance(air.loss, &mut self.rng) {
            return;
        }
        let copies = 1 + usize::from(chance(air.twice, &mut self.rng));
        for _ in 0..copies {
            let late = if air.slowest.0 > 0 { self.rng.random_range(0..air.slowest.0) } else { 0 };
            self.posted += 1;
            let letter = Letter { to: 1 - from, link: link.to_owned(), frame: frame.to_vec() };
            self.letters.insert((now + Nanos(late), self.posted), letter);
        }
    }

    /// What has arrived by now, in order.
    pub(super) fn arrived(&mut self, now: Nanos) -> Option<Letter> {
        let first = self.letters.first_entry().filter(|first| first.key().0 <= now);
        first.map(|first| first.remove())
    }

    /// When the next frame arrives.
    pub(super) fn next(&self) -> Nanos {
        self.letters.keys().next().map_or(Nanos::NEVER, |(due, _)| *due)
    }
}

/// A member's disk, which outlives it.
#[derive(Debug, Default)]
pub struct Plate {
    /// What is on it
    pub kept: Option<Kept>,
    /// So long does it take to write
    pub takes: Nanos,
    orders: VecDeque<(Nanos, Kept)>,
    end: Option<Disk>,
}

impl Plate {
    /// A member starts with it. What the last one had not written yet is lost.
    pub(super) fn plug(&mut self) -> Keeper {
        let (keeper, end) = Keeper::connect();
        (self.end, self.orders) = (Some(end), VecDeque::new());
        keeper
    }

    /// Its member is gone, and with it what was not written yet.
    pub(super) fn pull(&mut self) {
        (self.end, self.orders) = (None, VecDeque::new());
    }

    /// Writes what it has had for long enough. Gives what was there before and what is there now, if that is something else.
    pub(super) fn turn(&mut self, now: Nanos) -> Vec<(Option<Kept>, Kept)> {
        let mut written = Vec::new();
        let Some(end) = &self.end else { return written };
        self.orders.extend(std::iter::from_fn(|| end.poll()).map(|kept| (now + self.takes, kept)));
        while let Some((_, kept)) = self.orders.front().copied().filter(|(due, _)| *due <= now) {
            self.orders.pop_front();
            written.push((self.kept.replace(kept), kept));
            end.ended(Ok(()));
        }
        written
    }
}
