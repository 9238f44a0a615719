//! How long a WAN that is back has to prove itself: `stable`, doubled with each flap.
//!
//! A flap is an up after a down that lasted less than ten times what the WAN had to hold still for, `flap_max` at most. The first
//! up after the start is none. `stable` doubles with each up to `flap_max`, and is what it was once an up has lasted `flap_max`.

use serde::{Deserialize, Serialize};

use crate::base::Nanos;

/// The flaps of one WAN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Flap {
    stable: Nanos,
    max: Nanos,
    pub(super) flaps: u32,
    up_since: Option<Nanos>,
    /// The present up came after a down.
    back: bool,
}

impl Flap {
    const SHORT: u64 = 10;

    pub(super) fn new(stable: Nanos, max: Nanos) -> Flap {
        Flap { stable, max: max.max(stable), flaps: 0, up_since: None, back: false }
    }

    /// How long good rounds must last.
    pub(super) fn hold(&self) -> Nanos {
        let factor = 1u64.checked_shl(self.flaps).unwrap_or(u64::MAX);
        Nanos(self.stable.0.saturating_mul(factor)).min(self.max)
    }

    pub(super) fn up(&mut self, now: Nanos, back: bool) {
        (self.up_since, self.back) = (Some(now), back);
    }

    pub(super) fn down(&mut self, now: Nanos) {
        let Some(lasted) = self.up_since.take().map(|since| now.since(since)) else { return };
        let short = Nanos(self.hold().0.saturating_mul(Flap::SHORT)).min(self.max);
        if lasted >= self.max {
            self.flaps = 0;
        } else if self.back && lasted < short {
            // what doubles no more is not counted on
            self.flaps = if self.hold() < self.max { self.flaps + 1 } else { self.flaps };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Nanos {
        Nanos::from_s(n)
    }

    #[test]
    fn stable_doubles_with_each_short_up_and_a_long_one_forgives_all() {
        let mut flap = Flap::new(s(10), s(600));
        let mut now = s(0);
        flap.up(now, false);
        flap.down(now + s(1));
        assert_eq!(flap.hold(), s(10), "the first up is no flap");
        for want in [20, 40, 80, 160, 320, 600, 600, 600] {
            flap.up(now, true);
            now += s(99);
            flap.down(now);
            assert_eq!(flap.hold(), s(want));
        }
        flap.up(now, true);
        flap.down(now + s(599));
        assert_eq!(flap.hold(), s(600));
        flap.up(now, true);
        flap.down(now + s(600));
        assert_eq!(flap.hold(), s(10));
        flap.up(now, true);
        flap.down(now + s(100));
        assert_eq!(flap.hold(), s(10), "neither short nor long");
        let mut none = Flap::new(s(0), s(0));
        (0..100).for_each(|_| {
            none.up(now, true);
            none.down(now);
        });
        assert_eq!(none.hold(), s(0));
    }
}
