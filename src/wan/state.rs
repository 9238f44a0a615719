//! The state machine of one WAN: verdicts and link in, `StateChange` out.
//!
//! ```text
//!            first good round                failures lost, or link lost
//!  Probing ------------------> Up ------------------------------------------> Down
//!     |                         ^                                              | ^
//!     |                         +---- successes answered AND stable passed ----+ |
//!     +------------------ failures lost, or link lost ---------------------------+
//! ```
//!
//! Only replies with the link known to be up are successes. A lost round or a lost link takes back all of them. `stable` counts
//! from the first of them, and a round whose probe could not be sent does not count towards it: nothing was seen.
//! A WAN comes up by a reply only, never by time alone.

use serde::{Deserialize, Serialize};

use crate::base::{Nanos, WanId};

use super::config::Health;
use super::gateway::{Detector, Sign, Verdict};
use super::status::{State, WanStatus};
use super::types::Admin;
use super::types::{Effect, Evidence, Probe, Reason, StateChange};

/// A probe that could not be sent says nothing of the WAN. So many in a row say that it cannot be used: 5 s by default.
const UNSENT: u32 = 20;

/// One WAN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wan {
    id: WanId,
    health: Health,
    detector: Detector,
    /// The first success of the present row, later by what went unseen.
    good_since: Nanos,
    /// Rounds in a row in which no probe was sent and nothing heard.
    unsent: u32,
    link_since: Option<Nanos>,
    pub(super) status: WanStatus,
}

impl Wan {
    pub(super) fn new(id: WanId, health: Health, now: Nanos) -> Wan {
        Wan {
            id,
            detector: Detector::new(health.arp_every, now),
            health,
            good_since: now,
            unsent: 0,
            link_since: None,
            status: WanStatus { since: now, ..WanStatus::default() },
        }
    }

    pub(super) fn due(&self) -> Nanos {
        self.detector.due()
    }

    pub(super) fn link(&mut self, now: Nanos, up: bool, out: &mut impl FnMut(Effect)) {
        let was = self.status.link.replace(up);
        if was == Some(up) {
            return;
        }
        out(Effect::Link { wan: self.id, up });
        self.link_since = Some(now);
        if !up {
            self.detector.stop();
            self.status.misses = 0;
            self.status.successes = 0;
            self.change(now, State::Down, Reason::LinkLost, out);
        } else if was == Some(false) {
            self.detector.start(now);
        }
    }

    pub(super) fn sent(&mut self, at: Nanos) {
        self.detector.sent(at);
        self.show();
    }

    pub(super) fn reply(&mut self, now: Nanos, at: Nanos, out: &mut impl FnMut(Effect)) {
        // a reply from before the link went
        if self.status.link == Some(false) {
            return;
        }
        let sign = self.detector.reply(at);
        self.status.last_ok = self.status.last_ok.max(Some(at));
        self.unsent = 0;
        self.status.misses = 0;
        if sign == Sign::Success && self.status.link == Some(true) {
            if self.status.successes == 0 {
                self.good_since = at;
            }
            self.status.successes = self.status.successes.saturating_add(1);
            match self.status.state {
                State::Probing => self.change(now, State::Up, Reason::FirstAnswer, out),
                State::Down if self.recovered(at) => self.change(now, State::Up, Reason::Recovered, out),
                State::Up | State::Degraded | State::Down => {}
            }
        }
        self.show();
    }

    /// Judges the round that is due, and asks for the next probe.
    pub(super) fn tick(&mut self, now: Nanos, out: &mut impl FnMut(Effect)) {
        let Some(verdict) = self.detector.turn(now) else { return };
        out(Effect::Probe { wan: self.id, probe: Probe::Gateway, round: 0 });
        match verdict {
            Verdict::None | Verdict::Answered => self.unsent = 0,
            Verdict::Unsent(unseen) => {
                self.good_since += unseen;
                self.unsent = self.unsent.saturating_add(1);
                if self.unsent >= UNSENT {
                    self.change(now, State::Down, Reason::CannotSend, out);
                }
            }
            Verdict::Lost => {
                self.unsent = 0;
                self.status.successes = 0;
                self.status.misses = self.status.misses.saturating_add(1);
                if self.status.misses >= self.health.failures {
                    self.change(now, State::Down, Reason::GatewaySilent, out);
                }
            }
        }
        self.show();
    }

    fn evidence(&self, reason: Reason) -> Vec<Evidence> {
        let (misses, failures) = (u64::from(self.status.misses), u64::from(self.health.failures));
        match reason {
            Reason::LinkLost => vec![Evidence::new(self.id, "link", 0, 1, "")],
            Reason::GatewaySilent => vec![Evidence::new(self.id, "gateway", misses, failures, "probes")],
            _ => Vec::new(),
        }
    }

    pub(super) fn metered(&self) -> bool {
        self.health.metered
    }

    /// Down, but it answers again.
    pub(super) fn answers(&self) -> bool {
        self.status.successes > 0 && self.status.admin != Admin::Down
    }

    /// The gateway has answered since the link came.
    pub(super) fn reachable(&self) -> bool {
        self.status.link == Some(true) && self.status.last_ok >= self.link_since
    }

    /// And does so still.
    pub(super) fn gateway_well(&self) -> bool {
        self.status.misses < self.health.failures
    }

    fn recovered(&self, at: Nanos) -> bool {
        self.status.successes >= self.health.successes && at.since(self.good_since) >= self.health.stable
    }

    fn change(&mut self, now: Nanos, to: State, reason: Reason, out: &mut impl FnMut(Effect)) {
        let from = self.status.state;
        if from == to {
            // what keeps it down now
            self.status.reason = reason;
            return;
        }
        if to == State::Down {
            self.detector.forget_rtt();
        }
        self.status.state = to;
        self.status.since = now;
        self.status.reason = reason;
        self.status.evidence = self.evidence(reason);
        self.show();
        out(Effect::State(StateChange {
            wan: self.id,
            from,
            to,
            reason,
            evidence: self.status.evidence.clone(),
        }));
    }

    fn show(&mut self) {
        self.status.rtt_us = self.detector.rtt_us();
        self.status.jitter_us = self.detector.jitter_us();
        self.status.loss_percent = self.detector.loss_percent();
    }
}
