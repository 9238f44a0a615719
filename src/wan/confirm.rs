//! A WAN whose traffic fell silent: five probes to whoever decides, `APART`, then a wait, then it is dead or cleared.
//!
//! The silence alone decides nothing. Any answer of one that counts clears it, and so does it if none could be asked. The
//! wait after the last probe is what an answer takes as a rule, within `SHORT..=LONG`: with 50 ms of silence before, a WAN
//! whose answers take up to 100 ms is judged within 300 ms.

use serde::{Deserialize, Serialize};

use crate::base::Nanos;

/// Probes to each.
pub(super) const PROBES: u8 = 5;
const APART: Nanos = Nanos::from_ms(20);
const SHORT: Nanos = Nanos::from_ms(30);
const LONG: Nanos = Nanos::from_ms(200);

/// The finding out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Confirm {
    pub(super) start: Nanos,
    due: Nanos,
    left: u8,
    /// Probes that have left, to those that decide.
    pub(super) sent: u32,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Turn {
    /// Ask all.
    Ask,
    /// Nobody has answered.
    Over,
}

impl Confirm {
    pub(super) fn new(now: Nanos) -> Confirm {
        Confirm { start: now, due: now, left: PROBES, sent: 0 }
    }

    pub(super) fn due(&self) -> Nanos {
        self.due
    }

    /// `patience` is what an answer takes as a rule.
    pub(super) fn turn(&mut self, now: Nanos, patience: Nanos) -> Option<Turn> {
        if now < self.due {
            return None;
        }
        let Some(left) = self.left.checked_sub(1) else { return Some(Turn::Over) };
        self.left = left;
        self.due = now + if left == 0 { patience.clamp(SHORT, LONG) } else { APART };
        Some(Turn::Ask)
    }
}
