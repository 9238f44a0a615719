//! A row of `turnout bench failover`: as JSON, and as a line of a table for people.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::bench::Failure;
use crate::bench::row::grouped;
use crate::bench::tally::tenths;

/// Spans, in cycles.
#[derive(Clone, Debug)]
pub(super) struct Spans(Histogram<u64>);

impl Spans {
    pub(super) fn new() -> Result<Spans, Failure> {
        // Three digits.
        Ok(Spans(Histogram::new(3)?))
    }

    pub(super) fn add(&mut self, cycles: u64) -> Result<(), Failure> {
        Ok(self.0.record(cycles)?)
    }

    fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64
    }
}

/// What was measured with so many sessions.
#[derive(Clone, Debug)]
pub struct FailoverRow {
    pub(super) sessions: u32,
    pub(super) rounds: u64,
    /// Rounds in which the kernel took a thread's core away: done once more, not counted
    pub(super) interrupted: u64,
    pub(super) tsc_hz: u64,
    /// From the decision to its view lying in the worker's ring
    pub(super) published: Spans,
    /// From the decision to the last packet by the dead WAN
    pub(super) last: Spans,
    /// To the first packet by the other one
    pub(super) first: Spans,
    /// To the first packet of a new flow by the other one
    pub(super) fresh: Spans,
    /// Turns of established flows
    pub(super) calm: Spans,
    /// Turns in which every flow moves
    pub(super) moving: Spans,
    /// Until each session has had its next packet
    pub(super) moved: Spans,
}

impl FailoverRow {
    /// Of nothing yet.
    pub(super) fn new(sessions: u32, tsc_hz: u64) -> Result<FailoverRow, Failure> {
        let none = Spans::new()?;
        Ok(FailoverRow {
            sessions,
            rounds: 0,
            interrupted: 0,
            tsc_hz,
            published: none.clone(),
            last: none.clone(),
            first: none.clone(),
            fresh: none.clone(),
            calm: none.clone(),
            moving: none.clone(),
            moved: none,
        })
    }

    fn us(&self, spans: &Spans, quantile: f64) -> f64 {
        tenths(spans.at(quantile) * 1e6 / self.tsc_hz as f64)
    }

    /// What its users see, in the order of the columns.
    fn seen(&self) -> [(&'static str, &Spans); 3] {
        [("last_by_dead_wan", &self.last), ("first_by_new_wan", &self.first), ("first_new_flow", &self.fresh)]
    }

    /// As JSON, one object. `ratio_p99`: to the row of the fewest sessions, if that is another one.
    pub fn json(&self, fewest: Option<&FailoverRow>) -> Value {
        let spans = |spans: &Spans| {
            json!({
                "p50": self.us(spans, 0.5),
                "p99": self.us(spans, 0.99),
                "max": self.us(spans, 1.0),
            })
        };
        let mut all = json!({
            "sessions": self.sessions,
            "rounds": self.rounds,
            "interrupted": self.interrupted,
        });
        if let Some(object) = all.as_object_mut() {
            for (name, value) in self.seen() {
                object.insert(format!("{name}_us"), spans(value));
            }
            object.insert("published_us".into(), spans(&self.published));
            object.insert("turn_us".into(), spans(&self.calm));
            object.insert("moving_turn_us".into(), spans(&self.moving));
            object.insert("all_moved_us".into(), spans(&self.moved));
            if let Some(fewest) = fewest {
                let ratios = self.ratios(fewest).map(|(name, ratio)| (name.to_owned(), json!(ratio)));
                object.insert("ratio_p99".into(), Value::Object(ratios.into_iter().collect()));
            }
            object.insert("tsc_hz".into(), json!(self.tsc_hz));
        }
        all
    }

    /// p99 of this one to p99 of another, to two digits.
    fn ratios(&self, other: &FailoverRow) -> [(&'static str, f64); 3] {
        let (own, other) = (self.seen(), other.seen());
        std::array::from_fn(|at| {
            let ratio = own[at].1.at(0.99) / other[at].1.at(0.99).max(1.0);
            (own[at].0, (ratio * 100.0).round() / 100.0)
        })
    }

    /// What stands above the lines, in 80 columns.
    pub fn head(rounds: u64) -> String {
        format!(
            "From the decision on, in us, of {rounds} rounds: the last packet by the dead WAN,\n\
             the first by the new one, the first of a new flow. In bursts of 32.\n\n\
             {:>9} {:^22} {:^22} {:^22}\n{:>9}{}\n",
            "",
            "last by the dead WAN",
            "first by the new WAN",
            "first of a new flow",
            "sessions",
            format!(" {:>7} {:>6} {:>7}", "p50", "p99", "max").repeat(3),
        )
    }

    /// As a line of the table.
    pub fn line(&self) -> String {
        let cell = |(_, spans): (&str, &Spans)| {
            let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| self.us(spans, q));
            format!(" {p50:>7.1} {p99:>6.1} {max:>7.1}")
        };
        let cells: String = self.seen().into_iter().map(cell).collect();
        format!("{:>9}{cells}\n", grouped(u64::from(self.sessions)))
    }

    /// What stands below: what moving costs, and the ratios.
    pub fn foot(rows: &[FailoverRow]) -> String {
        let mut out = String::from(
            "\nWhat moving costs is spread over the sessions' next packets; turns of 32 in us:\n\n",
        );
        out += &format!(
            "{:>9} {:>10} {:>10} {:>12} {:>12} {:>14}\n",
            "sessions", "calm p50", "calm p99", "moving p50", "moving p99", "all moved ms"
        );
        for row in rows {
            let [calm, calm99] = [0.5, 0.99].map(|q| row.us(&row.calm, q));
            let [moving, moving99] = [0.5, 0.99].map(|q| row.us(&row.moving, q));
            let all = row.us(&row.moved, 0.5) / 1000.0;
            let sessions = grouped(u64::from(row.sessions));
            out += &format!(
                "{sessions:>9} {calm:>10.1} {calm99:>10.1} {moving:>12.1} {moving99:>12.1} {all:>14.3}\n"
            );
        }
        if let (Some(few), Some(many)) = (FailoverRow::fewest(rows), rows.iter().max_by_key(|r| r.sessions))
            && few.sessions < many.sessions
        {
            let [last, first, fresh] = many.ratios(few).map(|(_, ratio)| ratio);
            let (many, few) = (grouped(u64::from(many.sessions)), grouped(u64::from(few.sessions)));
            out += &format!(
                "\np99 with {many} to that with {few} sessions:\n\
                 last packet {last:.2}, first packet {first:.2}, new flow {fresh:.2}\n"
            );
        }
        let interrupted: u64 = rows.iter().map(|row| row.interrupted).sum();
        if interrupted > 0 {
            out += &format!("\n{interrupted} rounds were interrupted by the kernel and done once more\n");
        }
        out
    }

    /// The row with the fewest sessions.
    pub fn fewest(rows: &[FailoverRow]) -> Option<&FailoverRow> {
        rows.iter().min_by_key(|row| row.sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sessions: u32, cycles: u64) -> FailoverRow {
        let mut row = FailoverRow::new(sessions, 1_000_000_000).unwrap();
        (1..=100).for_each(|n| row.first.add(cycles * n).unwrap());
        row
    }

    #[test]
    fn the_table_fits_a_terminal_and_the_ratio_is_of_p99() {
        let rows = [row(1_000_000, 150), row(10, 100)];
        let all = FailoverRow::head(100) + &rows[0].line() + &rows[1].line() + &FailoverRow::foot(&rows);
        assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
        assert!(all.contains("first packet 1.50"), "{all}");
        let json = rows[0].json(FailoverRow::fewest(&rows));
        assert_eq!(json["ratio_p99"]["first_by_new_wan"], 1.5);
        assert_eq!(json["first_by_new_wan_us"]["p50"], 7.5);
        assert!(rows[1].json(None).get("ratio_p99").is_none());
    }
}
