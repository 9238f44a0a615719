//! The state machine of one WAN: verdicts, link and BFD in, `StateChange` out.
//!
//! ```text
//!            first good round            failures, link or BFD lost, silence
//!  Probing ------------------> Up ------------------------------------------> Down
//!     |                         ^ <-> Degraded ------------------------------> |
//!     |                         +---- successes AND stable, or none fit -------+
//!     +---------------------- failures, link lost ----------------------------^
//! ```
//!
//! Who decides: the targets that count, or the gateway where there are none. The other is shown, and no more. Only answers
//! with the link known to be up make a round good. A bad round or a lost link takes back all good ones. A WAN comes up by an answer,
//! never by time alone; but if no other is fit, with its `successes` it does so at once (`early`).
//! A BFD session that was lost and does not return keeps a WAN down for `flap_max` of good rounds at most.

use serde::{Deserialize, Serialize};

use super::book::Book;
use super::config::Health;
use super::confirm::Confirm;
use super::flap::Flap;
use super::gateway::{Gateway, Verdict};
use super::quality;
use super::run::Run;
use super::status::{State, WanStatus};
use super::targets::{self, Targets};
use super::types::{Admin, Effect, Evidence, Probe, Reason, StateChange};
use crate::base::{Nanos, WanId};

/// A probe that could not be sent says nothing of the WAN. So many in a row say that it cannot be used: 5 s by default.
pub(super) const UNSENT: u32 = 20;
/// A metered standby asks its targets this often.
const RARELY: Nanos = Nanos::from_s(10);

/// Of journals from before there were leases.
fn leased() -> bool {
    true
}

/// One WAN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wan {
    pub(super) id: WanId,
    pub(super) health: Health,
    pub(super) gateway: Gateway,
    pub(super) targets: Targets,
    pub(super) by_gateway: Run,
    pub(super) by_targets: Run,
    /// Rounds in which no target counted.
    pub(super) mute_rounds: u32,
    flap: Flap,
    pub(super) confirm: Option<Confirm>,
    pub(super) link_since: Option<Nanos>,
    pub(super) gateway_ok: Option<Nanos>,
    pub(super) bfd_lost: bool,
    /// It has an address.
    #[serde(default = "leased")]
    pub(super) leased: bool,
    /// It has had no lease yet.
    #[serde(default)]
    pub(super) fresh: bool,
    pub(super) status: WanStatus,
}

impl Wan {
    pub(super) fn new(id: WanId, health: Health, book: &mut Book, now: Nanos) -> Wan {
        let window = health.degraded.map_or(Nanos::from_s(30), |degraded| degraded.window);
        let mut wan = Wan {
            id,
            gateway: Gateway::new(health.arp_every, window, now),
            targets: Targets::new(&health, book, window, now),
            by_gateway: Run::default(),
            by_targets: Run::default(),
            mute_rounds: 0,
            flap: Flap::new(health.stable, health.flap_max),
            confirm: None,
            link_since: None,
            gateway_ok: None,
            bfd_lost: false,
            leased: !health.dhcp,
            fresh: health.dhcp,
            status: WanStatus { since: now, ..WanStatus::default() },
            health,
        };
        if !wan.leased {
            wan.hush();
            (wan.status.state, wan.status.reason) = (State::Down, Reason::NoLease);
        }
        wan
    }

    pub(super) fn due(&self) -> Nanos {
        let confirm = self.confirm.as_ref().map_or(Nanos::NEVER, Confirm::due);
        self.gateway.due().min(self.targets.due()).min(confirm)
    }

    /// Judges the rounds that are due, and asks for the next probes.
    pub(super) fn tick(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        let verdict = self.gateway.turn(now);
        if let Some((verdict, round)) = verdict {
            out(Effect::Probe { wan: self.id, probe: Probe::Gateway, round });
            match verdict {
                Verdict::None | Verdict::Answered => self.by_gateway.unsent = 0,
                Verdict::Unsent(unseen) => self.by_gateway.unsent(unseen),
                Verdict::Lost => self.by_gateway.bad(),
            }
        }
        self.judge_targets(now, book, true, out);
        let measured = self.targets.clear(now) || verdict.is_some();
        if let Some(round) = self.targets.ask(now) {
            for target in 0..self.targets.ids().count().min(256) {
                out(Effect::Probe { wan: self.id, probe: Probe::Target(target as u8), round });
            }
        }
        self.find_out(now, book, out);
        if verdict.is_some() {
            self.judge_gateway(now, book, out);
        }
        if measured {
            self.judge_quality(now, book, out);
        }
    }

    /// Nobody looked for so long: what is out is asked anew, and what has to last does not count that time.
    pub(super) fn skip(&mut self, now: Nanos, gap: Nanos) {
        self.gateway.skip(now);
        self.targets.skip(now);
        self.by_gateway.skip(gap);
        self.by_targets.skip(gap);
        if let Some(confirm) = &mut self.confirm {
            *confirm = Confirm::new(now);
        }
    }

    pub(super) fn judge_targets(
        &mut self,
        now: Nanos,
        book: &Book,
        over: bool,
        out: &mut impl FnMut(Effect),
    ) {
        while let Some(verdict) = self.targets.judge(now, book, over) {
            match verdict {
                targets::Verdict::Good if self.status.link == Some(true) => {
                    self.by_targets.good(now);
                    if self.by_targets(book) {
                        self.well(now, now, book, out);
                    }
                }
                targets::Verdict::Good => self.by_targets.alive(),
                targets::Verdict::Bad => self.by_targets.bad(),
                targets::Verdict::Unsent => self.by_targets.unsent(self.health.every),
                targets::Verdict::Mute => {
                    self.by_targets.clear();
                    self.mute_rounds = self.mute_rounds.saturating_add(1);
                    let answers = self.by_gateway.good > 0 && self.status.link == Some(true);
                    if self.status.state == State::Probing && answers && self.heard_out() {
                        self.change(now, State::Up, Reason::FirstAnswer, book, out);
                    }
                }
            }
        }
    }

    fn judge_gateway(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        let unsent = Nanos(self.health.arp_every.0.saturating_mul(u64::from(UNSENT)));
        let heard = self.targets.last_ok(book).is_some_and(|at| now.since(at) < unsent);
        if self.by_gateway.unsent >= UNSENT && !heard {
            self.change(now, State::Down, Reason::CannotSend, book, out);
        } else if self.by_gateway.bad >= self.health.failures && !self.by_targets(book) {
            self.change(now, State::Down, Reason::GatewaySilent, book, out);
        }
    }

    fn judge_quality(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        // what is about to be judged dead is not judged bad
        let judged = self.status.state.is_up() && !self.failing(book);
        let Some(limits) = self.health.degraded.filter(|_| judged) else { return };
        let targets = quality::best(self.targets.measures(book, now));
        let by_targets = self.by_targets(book);
        let measure = if by_targets { targets } else { self.gateway.meter.read(now) };
        let standing = (self.status.state, now.since(self.status.since));
        let change = measure.and_then(|measure| quality::judge(self.id, &limits, measure, standing));
        if let Some((to, reason, evidence)) = change {
            self.become_so(now, to, reason, evidence, out);
        }
    }

    /// In `failures` rounds in a row too few targets answered.
    pub(super) fn failing(&self, book: &Book) -> bool {
        self.by_targets(book) && self.by_targets.bad >= self.health.failures
    }

    /// The targets are not to blame.
    pub(super) fn condemn(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        self.change(now, State::Down, Reason::TargetsSilent, book, out);
    }

    /// A target does not count any more, or again: what was lost of it before is not this WAN's.
    pub(super) fn acquit(&mut self, id: usize) {
        if self.targets.ids().any(|own| own == id) {
            self.by_targets.bad = 0;
        }
    }

    /// A good round of those who decide.
    pub(super) fn well(&mut self, now: Nanos, at: Nanos, book: &Book, out: &mut impl FnMut(Effect)) {
        let run = self.run(book);
        match self.status.state {
            State::Probing => self.change(now, State::Up, Reason::FirstAnswer, book, out),
            State::Down if self.enough(book) && at.since(run.good_since) >= self.hold() => {
                self.change(now, State::Up, Reason::Recovered, book, out);
            }
            State::Up | State::Degraded | State::Down => {}
        }
    }

    /// Good enough, if no WAN is fit: it does not wait for `stable`.
    pub(super) fn early(&mut self, now: Nanos, book: &Book, out: &mut impl FnMut(Effect)) -> bool {
        let status = &self.status;
        let can = status.state == State::Down && status.admin == Admin::Auto && status.link == Some(true);
        let comes = can && self.enough(book);
        if comes {
            self.change(now, State::Up, Reason::Recovered, book, out);
        }
        comes
    }

    fn enough(&self, book: &Book) -> bool {
        let good = self.run(book).good;
        good > 0 && good >= self.health.successes
    }

    fn hold(&self) -> Nanos {
        if self.bfd_lost { self.flap.hold().max(self.health.flap_max) } else { self.flap.hold() }
    }

    pub(super) fn change(
        &mut self,
        now: Nanos,
        to: State,
        reason: Reason,
        book: &Book,
        out: &mut impl FnMut(Effect),
    ) {
        if (self.status.state, self.status.reason) != (to, reason) {
            let evidence = self.evidence(now, reason, book);
            self.become_so(now, to, reason, evidence, out);
        }
    }

    fn become_so(
        &mut self,
        now: Nanos,
        to: State,
        reason: Reason,
        evidence: Vec<Evidence>,
        out: &mut impl FnMut(Effect),
    ) {
        let from = std::mem::replace(&mut self.status.state, to);
        self.status.reason = reason;
        self.status.evidence.clone_from(&evidence);
        // else: what keeps it down now
        if from != to {
            self.status.since = now;
            self.turn_to(now, from, to);
            out(Effect::State(StateChange { wan: self.id, from, to, reason, evidence }));
        }
    }

    fn turn_to(&mut self, now: Nanos, from: State, to: State) {
        if to == State::Down {
            self.gateway.forget_rtt();
            self.by_gateway.doubt();
            self.by_targets.doubt();
            self.confirm = None;
            self.flap.down(now);
        } else if to.is_up() && !from.is_up() {
            self.flap.up(now, from == State::Down);
            self.gateway.meter.start(now);
            self.targets.start_meters(now);
        }
    }

    /// What people and groups read of it.
    pub(super) fn show(&mut self, book: &Book) {
        let run = *self.run(book);
        let waits = self.status.state == State::Down && run.good > 0;
        self.status.hold_until = waits.then(|| run.good_since + self.hold());
        self.status.successes = run.good;
        self.status.misses = self.by_gateway.bad;
        self.status.bad_rounds = self.by_targets.bad;
        self.status.flaps = self.flap.flaps;
        self.status.confirming = self.confirm.is_some();
        self.status.last_ok =
            if self.by_targets(book) { self.targets.last_ok(book) } else { self.gateway_ok };
        self.status.rtt_us = self.gateway.rtt_us();
        self.status.jitter_us = self.gateway.jitter_us();
        self.status.loss_percent = self.gateway.loss_percent();
        self.targets.show(book, &mut self.status.targets);
    }

    /// Asks the targets rarely, or as often as it should. It has to be known first.
    pub(super) fn pace(&mut self, now: Nanos, rarely: bool) {
        let rarely = rarely && self.health.metered && self.status.state != State::Probing;
        let every = if rarely { self.health.every.max(RARELY) } else { self.health.every };
        self.targets.pace(now, every);
    }
}
