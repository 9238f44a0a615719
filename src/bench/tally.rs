//! Cycles of bursts, and what they come to for a packet.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Failure;

/// A burst that took so many times the median was interrupted: by the kernel, another process, the hypervisor. What
/// the path itself may hold a burst for is the business of `stalls`.
const INTERRUPTED: u64 = 16;

/// Cycles of bursts of one length.
#[derive(Debug)]
pub(super) struct Tally {
    bursts: Histogram<u64>,
    burst: f64,
}

impl Tally {
    /// Of bursts of so many packets.
    pub(super) fn new(burst: usize) -> Result<Tally, Failure> {
        // Three digits: to the cycle up to 2048, to a thousandth above.
        Ok(Tally { bursts: Histogram::new(3)?, burst: burst as f64 })
    }

    /// A burst.
    pub(super) fn record(&mut self, cycles: u64) -> Result<(), Failure> {
        Ok(self.bursts.record(cycles)?)
    }

    /// Those of another worker as well.
    pub(super) fn add(&mut self, other: &Tally) -> Result<(), Failure> {
        Ok(self.bursts.add(&other.bursts)?)
    }

    /// Cycles of a packet that `quantile` of the bursts did not exceed.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        self.bursts.value_at_quantile(quantile) as f64 / self.burst
    }

    /// The mean over the bursts that were not interrupted.
    pub(super) fn mean(&self) -> f64 {
        let limit = self.limit();
        let calm = self.bursts.iter_recorded().filter(|v| v.value_iterated_to() <= limit);
        let (sum, count) = calm.fold((0u64, 0u64), |(sum, count), v| {
            let n = v.count_at_value();
            (sum + v.value_iterated_to() * n, count + n)
        });
        sum as f64 / count.max(1) as f64 / self.burst
    }

    /// How many bursts were interrupted.
    pub(super) fn interrupted(&self) -> u64 {
        let limit = self.limit();
        let late = self.bursts.iter_recorded().filter(|v| v.value_iterated_to() > limit);
        late.map(|v| v.count_at_value()).sum()
    }

    fn limit(&self) -> u64 {
        self.bursts.value_at_quantile(0.5).max(1) * INTERRUPTED
    }

    /// Cycles of a packet.
    pub(super) fn json(&self) -> Value {
        json!({ "mean": tenths(self.mean()), "p50": tenths(self.at(0.5)), "p99": tenths(self.at(0.99)) })
    }
}

/// To one digit.
pub(super) fn tenths(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_burst_is_counted_and_leaves_the_mean_alone() {
        let mut tally = Tally::new(32).unwrap();
        for cycles in [640, 960, 960, 1280, 15 * 960, 17 * 960] {
            tally.record(cycles).unwrap();
        }
        assert_eq!(tally.interrupted(), 1);
        assert_eq!(tally.at(0.5), 30.0);
        let mean = (640.0 + 960.0 * 2.0 + 1280.0 + 15.0 * 960.0) / 5.0 / 32.0;
        assert!((tally.mean() - mean).abs() < mean / 500.0, "{} {mean}", tally.mean());
    }
}
