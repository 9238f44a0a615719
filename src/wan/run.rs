//! Rows of good and of bad rounds: the thresholds of a WAN are compared with these.
//!
//! A bad round takes back all good ones, a good one all bad ones. A round in which nothing was sent is neither, and what
//! passes meanwhile does not count towards the time of the good ones: nothing was seen.

use serde::{Deserialize, Serialize};

use crate::base::Nanos;

/// One row.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Run {
    /// Good rounds in a row.
    pub(super) good: u32,
    /// The first of them, later by what went unseen.
    pub(super) good_since: Nanos,
    /// Bad rounds in a row.
    pub(super) bad: u32,
    /// Rounds in a row in which nothing was sent.
    pub(super) unsent: u32,
}

impl Run {
    pub(super) fn good(&mut self, at: Nanos) {
        if self.good == 0 {
            self.good_since = at;
        }
        self.good = self.good.saturating_add(1);
        self.alive();
    }

    /// A sign of life that is not a good round.
    pub(super) fn alive(&mut self) {
        (self.bad, self.unsent) = (0, 0);
    }

    pub(super) fn bad(&mut self) {
        self.bad = self.bad.saturating_add(1);
        (self.good, self.unsent) = (0, 0);
    }

    pub(super) fn unsent(&mut self, unseen: Nanos) {
        self.good_since += unseen;
        self.unsent = self.unsent.saturating_add(1);
    }

    /// So much time has passed in which nobody looked.
    pub(super) fn skip(&mut self, unseen: Nanos) {
        self.good_since += unseen;
    }

    /// Good rounds from before do not count.
    pub(super) fn doubt(&mut self) {
        self.good = 0;
    }

    pub(super) fn clear(&mut self) {
        *self = Run::default();
    }
}
