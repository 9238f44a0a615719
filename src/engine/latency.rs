//! How long packets are in the router, from receive to send: a histogram that the worker alone writes and anybody may read.
//!
//! Stamped by the burst, not by the packet: one reading of `Ports::ticks` after what a burst brought was sent. The span since
//! the burst before it, or since the turn's start, counts for each packet sent: it has the receiving in it. A frame from
//! another worker counts from the turn that takes it off the hand-over ring: its time there is not in it, nor is that in
//! the port's queue.
//! Packets that wait for their next hop, and what the management thread sends, are not counted.
//!
//! A worker with whole bursts to do measures one turn in `EVERY`, and counts it for all of them; which one is settled
//! before it begins, so that none is favoured. A worker with less to do measures them all. The longest turn is of all
//! turns, always: the worker reads its cycle counter around each anyway.
//!
//! Cells are log-linear: `SUB` to an octave, so that the middle of a cell is at most 1/64 off. They never go back.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use super::{BURST, Ports};
use crate::packet::{Counters, Stat};

/// Cells to an octave, as a power of two. Spans below `SUB` have a cell each.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// Cells: 8 kB a worker.
const CELLS: usize = 1024;
/// The first span, in ticks, that is too long for its own cell: 17 s at 4 GHz. The last cell takes them; the maximum is right anyway.
const LIMIT: u64 = 1 << (CELLS as u32 / SUB as u32 + SUB_BITS - 1);

/// Turns of a busy worker that one measured turn stands for.
const EVERY: u64 = 7;

/// The latencies of one worker since its start.
pub struct Latency {
    cells: [AtomicU64; CELLS],
    max: AtomicU64,
    longest_turn: AtomicU64,
    ticks_per_second: AtomicU64,
}

impl Latency {
    /// Nothing yet; ticks are nanoseconds until `set_ticks_per_second` says otherwise.
    pub const fn new() -> Latency {
        Latency {
            cells: [const { AtomicU64::new(0) }; CELLS],
            max: AtomicU64::new(0),
            longest_turn: AtomicU64::new(0),
            ticks_per_second: AtomicU64::new(1_000_000_000),
        }
    }

    /// What `Ports::ticks` counts. Called before the first turn.
    pub fn set_ticks_per_second(&self, hz: u64) {
        self.ticks_per_second.store(hz.max(1), Relaxed);
    }

    /// `packets` of them took `ticks`. Only the worker's own thread calls this.
    #[inline]
    pub fn record(&self, ticks: u64, packets: u64) {
        // The maximum first: who sees the packets sees their maximum.
        if ticks > self.max.load(Relaxed) {
            self.max.store(ticks, Relaxed);
        }
        // The index is in range; the mask tells the compiler.
        let cell = &self.cells[index(ticks) & (CELLS - 1)];
        cell.store(cell.load(Relaxed) + packets, Release);
    }

    /// A turn with packets took `ticks` from its start to its end. Only the worker's own thread calls this.
    #[inline]
    pub fn turn(&self, ticks: u64) {
        if ticks > self.longest_turn.load(Relaxed) {
            self.longest_turn.store(ticks, Relaxed);
        }
    }

    /// A copy, in nanoseconds.
    pub fn read(&self) -> Latencies {
        let hz = u128::from(self.ticks_per_second.load(Relaxed));
        let ns =
            |ticks: u64| u64::try_from((u128::from(ticks) * 1_000_000_000 + hz / 2) / hz).unwrap_or(u64::MAX);
        let cells = self.cells.iter().map(|cell| cell.load(Acquire)).enumerate().filter(|(_, n)| *n > 0);
        let cells = cells.map(|(i, packets)| (ns(middle(i)), packets)).collect();
        Latencies {
            cells,
            max_ns: ns(self.max.load(Relaxed)),
            longest_turn_ns: ns(self.longest_turn.load(Relaxed)),
        }
    }
}

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

/// The cell of a span.
#[inline]
fn index(ticks: u64) -> usize {
    let ticks = ticks.min(LIMIT - 1);
    // Octave 0 is as long as all that is below it: the two are one run of cells of length 1.
    let octave = (ticks | SUB).ilog2() - SUB_BITS;
    (u64::from(octave) * SUB + (ticks >> octave)) as usize
}

/// The middle of a cell, in ticks.
fn middle(index: usize) -> u64 {
    let octave = (index as u64 / SUB).saturating_sub(1);
    let low = (index as u64 - octave * SUB) << octave;
    low + (1 << octave) / 2
}

/// A copy of the latencies of a worker, or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Spans in nanoseconds, ascending, and their packets
    cells: Vec<(u64, u64)>,
    /// The longest way of a packet that was measured, in nanoseconds
    pub max_ns: u64,
    /// The longest turn with packets from its start to its end, in nanoseconds: a stall shows there
    pub longest_turn_ns: u64,
}

impl Latencies {
    /// Packets counted; in part an estimate once a worker was busy.
    pub fn packets(&self) -> u64 {
        self.cells.iter().map(|(_, packets)| packets).sum()
    }

    /// The span in nanoseconds that `share` (0 to 1) of the packets did not exceed, at most 1/64 off. `None` without packets.
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        // At least the first packet, and, whatever is rounded, not one behind the last.
        let rank = ((self.packets() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.cells.iter().find(|(_, packets)| {
            seen += packets;
            seen >= rank
        });
        // The middle of the last cell may lie above all that is in it.
        reached.or(self.cells.last()).map(|(ns, _)| *ns.min(&self.max_ns))
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Latencies) {
        self.cells.extend(&other.cells);
        self.cells.sort_unstable();
        self.max_ns = self.max_ns.max(other.max_ns);
        self.longest_turn_ns = self.longest_turn_ns.max(other.longest_turn_ns);
    }
}

/// Which turns are measured, and the clock of one that is: the end of a burst is the start of the next.
#[derive(Debug)]
pub(super) struct Watch {
    /// Turns with packets until the next measured one
    skip: u64,
    /// Turns that the next measured one stands for
    weight: u64,
    from: u64,
    sent: u64,
}

impl Watch {
    /// The first turn is measured.
    pub(super) fn new() -> Watch {
        Watch { skip: 0, weight: 1, from: 0, sent: 0 }
    }

    /// A turn begins.
    #[inline]
    pub(super) fn begin<P: Ports>(&mut self, ports: &P, counters: &Counters) {
        if self.skip == 0 {
            (self.from, self.sent) = (ports.began(), counters.get(Stat::Sent));
        }
    }

    /// A burst is through, which came now, or `since` a time before: what was sent of it counts; what was dropped, held or handed over does not.
    #[inline]
    pub(super) fn burst<P: Ports>(
        &mut self,
        ports: &P,
        since: Option<u64>,
        counters: &Counters,
        latency: &Latency,
    ) {
        if self.skip > 0 {
            return;
        }
        let (now, sent) = (ports.ticks(), counters.get(Stat::Sent));
        if sent > self.sent {
            latency.record(now.wrapping_sub(since.unwrap_or(self.from)), (sent - self.sent) * self.weight);
        }
        (self.from, self.sent) = (now, sent);
    }

    /// A turn ends that brought so many frames. One without is none: the next is measured in its place.
    #[inline]
    pub(super) fn end(&mut self, frames: usize) {
        if self.skip > 0 {
            self.skip -= u64::from(frames > 0);
        } else if frames > 0 {
            self.weight = if frames < BURST { 1 } else { EVERY };
            self.skip = self.weight - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GHZ: u64 = 1_000_000_000;

    /// At most 1/64 off, and half a nanosecond for its rounding.
    fn near(got: u64, want: u64) -> bool {
        got.abs_diff(want) as f64 <= want as f64 / 64.0 + 0.5
    }

    #[test]
    fn cells_follow_each_other_without_gap_up_to_the_limit() {
        let mut last = 0;
        for shift in 0..64 {
            for ticks in (0..64).map(|i| (1u64 << shift).saturating_add((1 << shift) / 64 * i)) {
                let i = index(ticks);
                assert!(i < CELLS && i >= last, "{ticks} in {i} after {last}");
                last = i;
                assert!(ticks >= LIMIT || near(middle(i), ticks), "{ticks}: {}", middle(i));
            }
        }
        assert_eq!((index(0), index(LIMIT - 1), index(LIMIT), last), (0, CELLS - 1, CELLS - 1, CELLS - 1));
        let all: Vec<u64> = (0..CELLS).map(middle).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(all.iter().enumerate().all(|(i, ticks)| index(*ticks) == i));
        assert!(index(5 * GHZ) < CELLS - 1, "a second at 5 GHz has a cell of its own");
    }

    #[test]
    fn ticks_are_told_in_nanoseconds() {
        let latency = Latency::new();
        latency.set_ticks_per_second(2_600_000_000);
        latency.record(2_600, 3);
        latency.turn(5_200);
        latency.turn(26);
        let read = latency.read();
        assert!(near(read.quantile_ns(0.5).unwrap(), 1_000), "{read:?}");
        assert_eq!((read.packets(), read.max_ns, read.longest_turn_ns), (3, 1_000, 2_000));
        assert_eq!(Latency::new().read().quantile_ns(0.5), None);
        // No clock at all: nothing to be told, and no division by it.
        latency.set_ticks_per_second(0);
        assert_eq!(latency.read().max_ns, 2_600 * GHZ);
    }

    #[test]
    fn what_is_longer_than_the_last_cell_is_counted_and_its_maximum_is_right() {
        let latency = Latency::new();
        latency.record(u64::MAX, 1);
        latency.record(7, 1);
        let read = latency.read();
        assert_eq!((read.packets(), read.max_ns, read.quantile_ns(0.5)), (2, u64::MAX, Some(7)));
    }

    fn span() -> impl Strategy<Value = (u64, u64)> {
        ((0u32..34).prop_flat_map(|bits| 0..=1u64 << bits), 1u64..=32)
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_list(
            bursts in prop::collection::vec((span(), any::<bool>()), 1..300),
            share in 0.0..=1.0f64,
        ) {
            let workers = [Latency::new(), Latency::new()];
            let mut list = Vec::new();
            for ((ns, packets), second) in &bursts {
                workers[usize::from(*second)].record(*ns, *packets);
                list.extend((0..*packets).map(|_| *ns));
            }
            list.sort_unstable();
            let mut all = workers[0].read();
            all.add(&workers[1].read());
            prop_assert_eq!(all.packets(), list.len() as u64);
            prop_assert_eq!(all.max_ns, list[list.len() - 1]);
            for share in [share, 0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let at = ((list.len() as f64 * share).ceil() as usize).clamp(1, list.len()) - 1;
                let got = all.quantile_ns(share).unwrap();
                prop_assert!(near(got, list[at]), "{} of {}: {} for {}", share, list.len(), got, list[at]);
                prop_assert!(got <= all.max_ns);
            }
        }
    }
}
