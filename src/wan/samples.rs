//! Round trips, smoothed, and losses counted: what a person is shown of a probe.
//!
//! Round trips are smoothed as RFC 6298 section 2 does, their jitter as RFC 3550 section 6.4.1. Losses are those of
//! the last 100 judged probes. What decides is elsewhere: rows of rounds in `run`, a window of time in `quality`.

use serde::{Deserialize, Serialize};

use crate::base::Nanos;

/// Whole microseconds.
pub(super) fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)
}

/// A smoothed round trip time and its jitter, in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Rtt {
    last: u64,
    pub(super) smooth: u64,
    pub(super) jitter: u64,
}

impl Rtt {
    pub(super) fn first(sample: u64) -> Rtt {
        Rtt { last: sample, smooth: sample, jitter: 0 }
    }

    pub(super) fn next(self, sample: u64) -> Rtt {
        let apart = sample.abs_diff(self.last);
        Rtt {
            last: sample,
            smooth: self.smooth - self.smooth / 8 + sample / 8,
            jitter: self.jitter - self.jitter / 16 + apart / 16,
        }
    }

    /// So long an answer takes, at most, as a rule.
    pub(super) fn patience(self) -> Nanos {
        Nanos(self.smooth.saturating_add(self.jitter.saturating_mul(4)))
    }
}

/// The last 100 judged rounds, the newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    lost: u128,
    rounds: u8,
}

impl Window {
    const ROUNDS: u8 = 100;

    pub(super) fn push(&mut self, lost: bool) {
        self.lost = ((self.lost << 1) | u128::from(lost)) & ((1 << Window::ROUNDS) - 1);
        self.rounds = (self.rounds + 1).min(Window::ROUNDS);
    }

    pub(super) fn percent(self) -> Option<u8> {
        let lost = self.lost.count_ones() * 100;
        lost.checked_div(u32::from(self.rounds)).and_then(|percent| u8::try_from(percent).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_of_the_last_hundred_rounds() {
        let mut window = Window::default();
        assert_eq!(window.percent(), None);
        window.push(true);
        assert_eq!(window.percent(), Some(100));
        (0..99).for_each(|_| window.push(false));
        assert_eq!(window.percent(), Some(1));
        window.push(false);
        assert_eq!(window.percent(), Some(0));
        (0..300).for_each(|_| window.push(true));
        assert_eq!(window.percent(), Some(100));
    }
}
