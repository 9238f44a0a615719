//! Loss, latency and jitter over a window of time, and when they make a WAN degraded.
//!
//! A window is ten slots of time; the oldest gives way. It judges once it was measured in for the whole of it, by at least
//! `Meter::LEAST` probes. Of several targets the best counts, each measure by itself: a far or lazy target is not the WAN's
//! fault. A WAN is degraded when a measure is above its threshold, and no more when it was so for a window and
//! all measures are at three quarters of their thresholds or below.

use serde::{Deserialize, Serialize};

use super::config::Degraded;
use super::status::State;
use super::types::{Evidence, Reason};
use crate::base::{Nanos, WanId};

/// What has become of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// Answered, after so many nanoseconds if that is known.
    Answered(Option<u64>),
    Lost,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Slot {
    number: u64,
    probes: u64,
    lost: u64,
    trips: u64,
    trip_sum: u64,
    moves: u64,
    move_sum: u64,
}

/// Probes of one target, over a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meter {
    span: u64,
    since: Nanos,
    slots: [Slot; Meter::SLOTS as usize],
    last: Option<u64>,
}

/// What a meter shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Measure {
    loss_percent: u64,
    latency_us: u64,
    jitter_us: u64,
}

impl Meter {
    const SLOTS: u64 = 10;
    /// Probes that are the least to judge by.
    const LEAST: u64 = 5;

    pub(super) fn new(window: Nanos, now: Nanos) -> Meter {
        Meter { span: (window.0 / Meter::SLOTS).max(1), since: now, slots: Default::default(), last: None }
    }

    /// Measures anew from `now` on.
    pub(super) fn start(&mut self, now: Nanos) {
        (self.since, self.slots, self.last) = (now, Default::default(), None);
    }

    pub(super) fn add(&mut self, now: Nanos, outcome: Outcome) {
        let number = now.0 / self.span;
        let Some(slot) = self.slots.get_mut((number % Meter::SLOTS) as usize) else { return };
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.probes += 1;
        match outcome {
            Outcome::Lost => slot.lost += 1,
            Outcome::Answered(None) => {}
            Outcome::Answered(Some(trip)) => {
                slot.trips += 1;
                slot.trip_sum = slot.trip_sum.saturating_add(trip);
                if let Some(last) = self.last.replace(trip) {
                    slot.moves += 1;
                    slot.move_sum = slot.move_sum.saturating_add(last.abs_diff(trip));
                }
            }
        }
    }

    pub(super) fn read(&self, now: Nanos) -> Option<Measure> {
        let number = now.0 / self.span;
        let live = self.slots.iter().filter(|slot| slot.number + Meter::SLOTS > number);
        let sum = live.fold(Slot::default(), |sum, slot| Slot {
            number,
            probes: sum.probes + slot.probes,
            lost: sum.lost + slot.lost,
            trips: sum.trips + slot.trips,
            trip_sum: sum.trip_sum.saturating_add(slot.trip_sum),
            moves: sum.moves + slot.moves,
            move_sum: sum.move_sum.saturating_add(slot.move_sum),
        });
        let whole = now.since(self.since).0 >= self.span * Meter::SLOTS;
        (whole && sum.probes >= Meter::LEAST).then(|| Measure {
            loss_percent: sum.lost * 100 / sum.probes,
            latency_us: sum.trip_sum.checked_div(sum.trips).unwrap_or(0) / 1_000,
            jitter_us: sum.move_sum.checked_div(sum.moves).unwrap_or(0) / 1_000,
        })
    }
}

/// The best of several, measure by measure.
pub(super) fn best(measures: impl Iterator<Item = Measure>) -> Option<Measure> {
    measures.reduce(|a, b| Measure {
        loss_percent: a.loss_percent.min(b.loss_percent),
        latency_us: a.latency_us.min(b.latency_us),
        jitter_us: a.jitter_us.min(b.jitter_us),
    })
}

/// What a WAN that is `state` for `lasted` is to become, and by what.
pub(super) fn judge(
    wan: WanId,
    limits: &Degraded,
    measure: Measure,
    (state, lasted): (State, Nanos),
) -> Option<(State, Reason, Vec<Evidence>)> {
    let rows = [
        ("loss", Reason::Loss, measure.loss_percent, u64::from(limits.loss_percent), "percent"),
        ("latency", Reason::Latency, measure.latency_us, limits.latency.as_us(), "us"),
        ("jitter", Reason::Jitter, measure.jitter_us, limits.jitter.as_us(), "us"),
    ];
    let evidence = |rows: &mut dyn Iterator<Item = &(&'static str, Reason, u64, u64, &'static str)>| {
        rows.map(|(probe, _, value, limit, unit)| Evidence::new(wan, probe, *value, *limit, unit)).collect()
    };
    let over = |row: &&(&str, Reason, u64, u64, &str)| row.2 > row.3;
    match state {
        State::Up => {
            let (_, reason, ..) = rows.iter().find(over)?;
            Some((State::Degraded, *reason, evidence(&mut rows.iter().filter(over))))
        }
        State::Degraded if lasted >= limits.window => {
            let well = rows.iter().all(|row| row.2.saturating_mul(4) <= row.3.saturating_mul(3));
            well.then(|| (State::Up, Reason::Steady, evidence(&mut rows.iter())))
        }
        _ => None,
    }
}
