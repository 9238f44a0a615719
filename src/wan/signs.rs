//! What can be said of a WAN: who decides, whether it answers, and by what evidence it came to its state.

use super::book::Book;
use super::confirm::PROBES;
use super::run::Run;
use super::state::{UNSENT, Wan};
use super::status::State;
use super::types::{Admin, Evidence, Probe, Reason};
use crate::base::Nanos;

impl Wan {
    /// The targets decide: one of them counts.
    pub(super) fn by_targets(&self, book: &Book) -> bool {
        self.targets.count(book)
    }

    /// Whether an answer to `probe` decides.
    pub(super) fn decides(&self, probe: Probe, book: &Book) -> bool {
        match probe {
            Probe::Gateway => !self.by_targets(book),
            Probe::Target(n) => self.targets.ids().nth(usize::from(n)).is_some_and(|id| book.counts(id)),
        }
    }

    /// The rounds of those who decide.
    pub(super) fn run(&self, book: &Book) -> &Run {
        if self.by_targets(book) { &self.by_targets } else { &self.by_gateway }
    }

    pub(super) fn metered(&self) -> bool {
        self.health.metered
    }

    /// The time between two rounds of the targets, at most.
    pub(super) fn spacing(&self) -> Nanos {
        if self.health.metered { self.health.every.max(Nanos::from_s(10)) } else { self.health.every }
    }

    /// Something is wrong with it, or may be.
    pub(super) fn in_trouble(&self, book: &Book) -> bool {
        self.status.state != State::Up || self.run(book).bad > 0
    }

    /// It answers again, be it down, and the operator does not forbid its use.
    pub(super) fn answers(&self) -> bool {
        self.status.successes > 0 && self.status.link == Some(true) && self.status.admin != Admin::Down
    }

    /// The gateway has answered since the link came.
    pub(super) fn reachable(&self) -> bool {
        self.leased
            && self.status.link == Some(true)
            && self.gateway_ok.is_some()
            && self.gateway_ok >= self.link_since
    }

    /// The gateway is not silent.
    pub(super) fn gateway_well(&self) -> bool {
        self.by_gateway.bad < self.health.failures
    }

    /// The gateway answers.
    pub(super) fn gateway_answers(&self) -> bool {
        self.reachable() && self.gateway_well()
    }

    /// By what it has come to `reason`.
    pub(super) fn evidence(&self, now: Nanos, reason: Reason, book: &Book) -> Vec<Evidence> {
        let failures = u64::from(self.health.failures);
        let row = |probe, value, threshold, unit| vec![Evidence::new(self.id, probe, value, threshold, unit)];
        match reason {
            Reason::LinkLost => row("link", 0, 1, ""),
            Reason::NoLease => row("lease", 0, 1, ""),
            Reason::Bfd => row("bfd", 0, 1, ""),
            Reason::GatewaySilent => row("gateway", self.by_gateway.bad.into(), failures, "probes"),
            Reason::CannotSend => row("gateway", self.by_gateway.unsent.into(), UNSENT.into(), "unsent"),
            Reason::TargetsSilent => self.of_targets(book, None, failures, "probes"),
            Reason::Silent => {
                let since = self.confirm.as_ref().map_or(now, |confirm| confirm.start);
                let until = self.confirm.as_ref().map_or(now, |confirm| confirm.due());
                let (value, threshold) = (now.since(since).as_ms(), until.since(since).as_ms());
                let mut rows = row("silence", value, threshold, "ms");
                let probes = u64::from(PROBES);
                rows.extend(self.of_deciders(book, probes, probes, "probes"));
                rows
            }
            Reason::FirstAnswer => self.of_deciders(book, 1, 1, "rounds"),
            Reason::Recovered => {
                let good = u64::from(self.run(book).good);
                self.of_deciders(book, good, self.health.successes.into(), "rounds")
            }
            Reason::Start
            | Reason::Loss
            | Reason::Latency
            | Reason::Jitter
            | Reason::Steady
            | Reason::Operator => Vec::new(),
        }
    }

    fn of_deciders(&self, book: &Book, value: u64, threshold: u64, unit: &'static str) -> Vec<Evidence> {
        if self.by_targets(book) {
            return self.of_targets(book, Some(value), threshold, unit);
        }
        vec![Evidence::new(self.id, "gateway", value, threshold, unit)]
    }

    /// One row for each target that counts; with its own row of losses if no value is given.
    fn of_targets(
        &self,
        book: &Book,
        value: Option<u64>,
        threshold: u64,
        unit: &'static str,
    ) -> Vec<Evidence> {
        let counted = self.targets.ids().filter(|id| book.counts(*id));
        let row = |id| {
            let target = book.target(id)?;
            let value = value.unwrap_or_else(|| self.targets.misses(id).into());
            let row = Evidence::new(self.id, target.kind.name(), value, threshold, unit);
            Some(Evidence { target: target.name.clone(), ..row })
        };
        counted.filter_map(row).collect()
    }
}
