//! A rate limit: a bucket that fills by the second and holds a tenth of it.

use crate::base::Nanos;

/// So many a second, in bursts of a tenth at most (one at least).
#[derive(Clone, Debug)]
pub struct Limit {
    /// Time that one event costs
    cost: u64,
    /// Time that may be saved up
    depth: u64,
    /// When the bucket was empty, in this limit's own time
    empty_at: u64,
}

impl Limit {
    /// `per_second` events; 0: none ever.
    pub fn new(per_second: u32) -> Limit {
        let cost = Nanos::from_s(1).0.checked_div(u64::from(per_second)).unwrap_or(u64::MAX);
        Limit { cost, depth: (Nanos::from_s(1).0 / 10).max(cost), empty_at: 0 }
    }

    /// Whether one more may be.
    pub fn take(&mut self, now: Nanos) -> bool {
        let start = self.empty_at.max(now.0.saturating_add(self.cost).saturating_sub(self.depth));
        let next = start.saturating_add(self.cost);
        let allowed = self.cost != u64::MAX && next <= now.0.saturating_add(self.cost);
        if allowed {
            self.empty_at = next;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc1812_4_3_2_8_a_storm_is_held_to_the_rate() {
        let mut limit = Limit::new(1000);
        let sent = (0..1_000_000u64).filter(|i| limit.take(Nanos(5_000_000_000 + i * 1_000))).count();
        assert!((1000..=1101).contains(&sent), "{sent}");
        assert!(!Limit::new(0).take(Nanos::from_s(1)));
    }

    #[test]
    fn what_was_not_used_is_not_saved_beyond_a_tenth_of_a_second() {
        let mut limit = Limit::new(10);
        assert!(limit.take(Nanos::from_s(100)));
        assert!(!limit.take(Nanos::from_s(100)));
        assert!(limit.take(Nanos::from_ms(100_100)));
    }
}
