//! The machine's monotonic clock, read and waited on.
//!
//! The router stamps its events with `CLOCK_MONOTONIC`, and so does everything here: a fault, an arrival and an event
//! can be subtracted from one another. Waiting is by absolute deadline, so that a late wake-up never adds up.
#![forbid(unsafe_code)]

use std::time::Duration;

use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

use crate::base::Nanos;

/// Now.
pub fn now() -> Nanos {
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
        return Nanos::ZERO;
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    Nanos::from_s(seconds) + Nanos(u64::try_from(time.tv_nsec()).unwrap_or(0))
}

/// Lets this thread's sleeps end on time; by default the kernel may add 50 us to each.
pub fn wake_on_time() {
    let _ = set_timerslack(1);
}

/// Sleeps until `deadline`; returns at once if it has passed, and early if a signal comes.
pub fn sleep_until(deadline: Nanos) {
    let at = TimeSpec::from_duration(Duration::from_nanos(deadline.0));
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_ends_at_its_deadline_and_not_before() {
        wake_on_time();
        let deadline = now() + Nanos::from_ms(5);
        sleep_until(deadline);
        assert!(now() >= deadline);
        sleep_until(Nanos::ZERO);
    }
}
