//! What a stream of numbered packets suffered: lost, late, in which direction, for how long.
//!
//! Pure: times go in, figures come out. Every packet has a number, a time of sending, and the times of its first
//! arrival at the far host and of its echo's first arrival at home; zero stands for never. Order does not matter and
//! copies do not count, so reordering, duplicates and a source address that changes midway are all the same here.
//!
//! What arrives more than a second after it was sent is as good as lost, and so it is counted: a cable that is plugged in
//! again may still deliver what was queued when it was pulled.
//!
//! An outage is the longest time without any arrival, less the regular spacing. The borders of the window count as
//! arrivals: what was silent from the first moment to the last is an outage of the whole window, not of nothing.
#![forbid(unsafe_code)]

use crate::base::Nanos;

/// Later than this is never.
pub const LATE: Nanos = Nanos::from_s(1);

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Nanos,
    /// Its end.
    pub to: Nanos,
}

impl Window {
    fn has(self, time: u64) -> bool {
        time != 0 && self.from.0 <= time && time <= self.to.0
    }
}

/// The times of a stream's packets, by number; zero is never. The three are of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// When each was sent.
    pub sent: Vec<u64>,
    /// When each first arrived at the far host.
    pub there: Vec<u64>,
    /// When each one's echo first arrived at home.
    pub back: Vec<u64>,
}

/// What happened to the packets of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// Packets sent in the window.
    pub sent: u64,
    /// Those whose echo never came home.
    pub lost: u64,
    /// Those of them that never reached the far host.
    pub lost_out: u64,
    /// The longest silence in either direction, less the spacing.
    pub outage: Nanos,
    /// The longest silence at the far host, less the spacing.
    pub outage_out: Nanos,
}

impl Log {
    /// Judges the packets sent, and the silences heard, within `window`; `spacing` is the regular distance.
    pub fn harm(&self, window: Window, spacing: Nanos) -> Harm {
        let (there, back) = (self.in_time(&self.there), self.in_time(&self.back));
        let mut harm = Harm::default();
        for ((sent, there), back) in self.sent.iter().zip(&there).zip(&back) {
            if window.has(*sent) {
                harm.sent += 1;
                harm.lost += u64::from(*back == 0);
                harm.lost_out += u64::from(*back == 0 && *there == 0);
            }
        }
        harm.outage_out = silence(&there, window).since(spacing);
        harm.outage = harm.outage_out.max(silence(&back, window).since(spacing));
        harm
    }

    /// Arrivals, those that came too late made into none.
    fn in_time(&self, arrivals: &[u64]) -> Vec<u64> {
        let judge = |(sent, arrived): (&u64, &u64)| {
            if arrived.saturating_sub(*sent) <= LATE.0 { *arrived } else { 0 }
        };
        self.sent.iter().zip(arrivals).map(judge).collect()
    }
}

/// The longest time without an arrival within the window.
fn silence(arrivals: &[u64], window: Window) -> Nanos {
    let mut times: Vec<u64> = arrivals.iter().copied().filter(|time| window.has(*time)).collect();
    times.sort_unstable();
    let mut last = window.from.0;
    let mut longest = 0;
    for time in times.into_iter().chain([window.to.0]) {
        longest = longest.max(time.saturating_sub(last));
        last = time;
    }
    Nanos(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SPACING: Nanos = Nanos::from_ms(1);

    fn window(from_ms: u64, to_ms: u64) -> Window {
        Window { from: Nanos::from_ms(from_ms), to: Nanos::from_ms(to_ms) }
    }

    /// Packet n leaves at 1000 + n ms, arrives 1 ms later and is home after 2 ms.
    fn steady(n: u64) -> Log {
        let at = |delay: u64| (0..n).map(|i| (1000 + i + delay) * MS).collect();
        Log { sent: at(0), there: at(1), back: at(2) }
    }

    #[test]
    fn a_steady_stream_is_unharmed() {
        let harm = steady(500).harm(window(1100, 1400), SPACING);
        assert_eq!(harm, Harm { sent: 301, ..Harm::default() });
    }

    #[test]
    fn a_hole_is_lost_and_an_outage() {
        let mut log = steady(500);
        for n in 200..230 {
            log.there[n] = 0;
            log.back[n] = 0;
        }
        let harm = log.harm(window(1100, 1400), SPACING);
        assert_eq!((harm.lost, harm.lost_out), (30, 30));
        assert_eq!(harm.outage, Nanos::from_ms(30));
        let before = log.harm(window(1010, 1150), SPACING);
        assert_eq!((before.lost, before.outage), (0, Nanos::ZERO));
    }

    #[test]
    fn a_hole_on_the_way_home_alone_is_an_outage_too() {
        let mut log = steady(500);
        log.back[200..210].fill(0);
        let harm = log.harm(window(1100, 1400), SPACING);
        assert_eq!((harm.lost, harm.lost_out), (10, 0));
        assert_eq!((harm.outage, harm.outage_out), (Nanos::from_ms(10), Nanos::ZERO));
    }

    #[test]
    fn reordered_packets_are_neither_lost_nor_a_gap() {
        let mut log = steady(500);
        log.there.swap(200, 205);
        log.back.swap(200, 207);
        assert_eq!(log.harm(window(1100, 1400), SPACING).outage, Nanos::ZERO);
        assert_eq!(log.harm(window(1100, 1400), SPACING).lost, 0);
    }

    #[test]
    fn late_packets_are_an_outage_without_a_loss() {
        let mut log = steady(500);
        for n in 200..250 {
            log.there[n] = 1260 * MS;
            log.back[n] = 1261 * MS;
        }
        let harm = log.harm(window(1100, 1400), SPACING);
        assert_eq!(harm.lost, 0);
        assert!(harm.outage >= Nanos::from_ms(48), "{harm:?}");
    }

    #[test]
    fn what_comes_a_second_late_is_lost() {
        let mut log = steady(500);
        for n in 200..220 {
            log.there[n] = (1000 + n as u64 + 1001) * MS;
            log.back[n] = (1000 + n as u64 + 1002) * MS;
        }
        let harm = log.harm(window(1100, 1400), SPACING);
        assert_eq!((harm.lost, harm.lost_out, harm.outage), (20, 20, Nanos::from_ms(20)));
    }

    #[test]
    fn silence_to_the_end_counts_in_full() {
        let mut log = steady(500);
        log.there[100..].fill(0);
        log.back[100..].fill(0);
        let harm = log.harm(window(1050, 1400), SPACING);
        assert_eq!(harm.outage, Nanos::from_ms(300 - 1));
        assert_eq!(harm.lost, 301);
    }
}
