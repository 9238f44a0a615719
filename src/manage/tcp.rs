//! What live TCP says of the WANs, over the last ten seconds: a window over the workers' sums (`nat`'s gauges).
//!
//! A sample a second is kept, eleven in all. Where nothing was to be seen there is no figure, rather than a nought.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::nat::TcpGauge;

/// Samples: the oldest is ten seconds old, or nearly.
const SAMPLES: usize = 11;

/// The sums of the last seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    samples: VecDeque<Vec<TcpGauge>>,
}

/// Of all workers, by WAN.
pub(super) fn sum(workers: impl Iterator<Item = Vec<TcpGauge>>) -> Vec<TcpGauge> {
    let mut sum = Vec::new();
    for worker in workers {
        sum.resize(worker.len().max(sum.len()), TcpGauge::default());
        sum.iter_mut().zip(&worker).for_each(|(sum, its)| *sum = sum.plus(its));
    }
    sum
}

impl Window {
    /// Takes the sums as they are; once a second.
    pub(super) fn sample(&mut self, sums: Vec<TcpGauge>) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sums);
    }

    /// A WAN's figures since the oldest sample, of which `now` are the sums.
    pub(super) fn json(&self, wan: usize, now: &[TcpGauge]) -> Value {
        let of = |sums: &[TcpGauge]| sums.get(wan).copied().unwrap_or_default();
        let before = self.samples.front().map(|sums| of(sums)).unwrap_or_default();
        let TcpGauge { syns, unanswered, trips, trips_us, segments, resent } = of(now).since(&before);
        json!({
            "syns": syns,
            // One that is repeated now may have been sent before.
            "syn_unanswered": (syns > 0).then(|| unanswered.min(syns)),
            "segments": segments,
            "retransmits": (segments > 0).then_some(resent),
            "rtt_us": trips_us.checked_div(trips),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_last_ten_seconds_and_none_where_nothing_was_seen() {
        let mut window = Window::default();
        let none =
            json!({ "syns": 0, "syn_unanswered": null, "segments": 0, "retransmits": null, "rtt_us": null });
        assert_eq!(window.json(0, &[]), none);
        let at = |s: u64| {
            let one = TcpGauge {
                syns: s * 10,
                unanswered: s,
                trips: s,
                trips_us: s * 500,
                segments: s * 100,
                resent: s,
            };
            sum([vec![one], vec![one, one]].into_iter())
        };
        (0..20).for_each(|s| window.sample(at(s)));
        let is = window.json(0, &at(19));
        let want =
            json!({ "syns": 200, "syn_unanswered": 20, "segments": 2000, "retransmits": 20, "rtt_us": 500 });
        assert_eq!(is, want);
        assert_eq!(window.json(1, &at(19))["syns"], 100);
        (0..11).for_each(|_| window.sample(at(19)));
        assert_eq!(window.json(0, &at(19)), none);
    }
}
