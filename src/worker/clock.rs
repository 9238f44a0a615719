//! A worker's clock: the machine's monotonic one, told by the cycle counter. Asking the system costs as much as two
//! packets; so it is asked once a millisecond, and in between cycles are counted, which drift by less than a nanosecond.

use super::now;
use crate::base::Nanos;

/// The system is asked after so long.
const ASK: Nanos = Nanos::from_ms(1);

/// The clock of one thread.
#[derive(Debug)]
pub struct Clock {
    /// What the system said when the counter stood at `since`
    said: Nanos,
    since: u64,
    /// Nanoseconds of a cycle, times 2^32
    scale: u64,
    /// The last answer: time never goes back
    last: Nanos,
}

impl Clock {
    /// For a counter of so many cycles a second, which stands at `cycles` now.
    pub fn new(hz: u64, cycles: u64) -> Clock {
        let scale = ((1_000_000_000u128 << 32) / u128::from(hz.max(1_000_000))) as u64;
        let said = now();
        Clock { said, since: cycles, scale, last: said }
    }

    /// The time at which the counter stood, or stands, at `cycles`.
    #[inline]
    pub fn at(&mut self, cycles: u64) -> Nanos {
        let passed = self.ns(cycles.wrapping_sub(self.since));
        if passed >= ASK {
            (self.said, self.since) = (now(), cycles);
            self.last = self.last.max(self.said);
        } else {
            self.last = self.last.max(self.said + passed);
        }
        self.last
    }

    /// A span of cycles. At most 18 s count.
    #[inline]
    pub fn ns(&self, cycles: u64) -> Nanos {
        let cycles = cycles.min(1 << 32);
        Nanos(((u128::from(cycles) * u128::from(self.scale)) >> 32) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_counter_within_a_millisecond_and_the_system_beyond_and_never_goes_back() {
        let before = now();
        let mut clock = Clock::new(1_000_000_000, 5);
        let first = clock.at(5);
        assert!(first >= before && first <= now());
        assert_eq!(clock.at(5 + 900_000), first + Nanos::from_us(900));
        assert_eq!(clock.at(4), first + Nanos::from_us(900), "a counter that went back a little");
        // A counter that runs a thousand times too fast: the system puts it right, time stands meanwhile.
        let later = clock.at(5 + 10_000_000_000);
        assert!(later >= first + Nanos::from_us(900) && later < first + Nanos::from_s(5));
        assert_eq!(clock.ns(2_000), Nanos(2_000));
    }
}
