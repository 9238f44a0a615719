//! The seeds of a simulation: how many it runs, which one of them failed, and how to run that one alone.
//!
//! `for seed in seeds(300)` says on stderr with which seed it was when the body panics, whatever the message is. The environment picks
//! others: `TURNOUT_SEED=7` runs the seventh alone, `TURNOUT_RUNS=5000` so many instead, with both from that one on. What a test
//! demands of all its seeds together ("the weather was too calm") it asks only if `whole` says that they were all run.

use std::ops::Range;

/// The seeds 0 to `runs` - 1, or those that the environment names.
pub fn seeds(runs: u64) -> Seeds {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    Seeds { left: range(runs, number("TURNOUT_SEED"), number("TURNOUT_RUNS")), present: None }
}

/// Whether the environment leaves the seeds as they are.
pub fn whole() -> bool {
    ["TURNOUT_SEED", "TURNOUT_RUNS"].iter().all(|name| std::env::var_os(name).is_none())
}

fn range(runs: u64, first: Option<u64>, wanted: Option<u64>) -> Range<u64> {
    let from = first.unwrap_or(0);
    let count = wanted.unwrap_or(if first.is_some() { 1 } else { runs });
    from..from.saturating_add(count)
}

/// Seeds in turn.
#[derive(Debug)]
pub struct Seeds {
    left: Range<u64>,
    /// The one that is under way
    present: Option<u64>,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.present = self.left.next();
        self.present
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let (true, Some(seed)) = (std::thread::panicking(), self.present) {
            eprintln!("it was with seed {seed}; TURNOUT_SEED={seed} runs it alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_or_others_can_be_asked_for() {
        assert_eq!(range(300, None, None), 0..300);
        assert_eq!(range(300, Some(7), None), 7..8);
        assert_eq!(range(300, None, Some(5_000)), 0..5_000);
        assert_eq!(range(300, Some(7), Some(2)), 7..9);
        assert_eq!(range(300, Some(u64::MAX), None), u64::MAX..u64::MAX, "the last of all is none");
    }

    #[test]
    fn the_present_seed_is_known_when_the_body_panics() {
        let mut seeds = Seeds { left: 3..5, present: None };
        assert_eq!((seeds.next(), seeds.present), (Some(3), Some(3)));
        assert_eq!((seeds.next(), seeds.next(), seeds.present), (Some(4), None, None));
    }
}
