//! A row of `turnout bench nat`: as JSON, and as a line of a table for people.

use serde_json::{Value, json};

use super::Failure;
use super::nat::{Measured, NatOptions};
use super::tally::{Tally, tenths};
use super::traffic::Frames;

/// What was measured.
#[derive(Debug)]
pub struct Row {
    options: NatOptions,
    sessions: u32,
    packets: u64,
    bytes: usize,
    path: Tally,
    reference: Option<Tally>,
    setup: Tally,
    tsc_hz: u64,
}

impl Row {
    /// Of nothing yet.
    pub(super) fn new(o: &NatOptions, sessions: u32, tsc_hz: u64) -> Result<Row, Failure> {
        Ok(Row {
            options: o.clone(),
            sessions,
            packets: 0,
            bytes: 0,
            path: Tally::new(o.burst)?,
            reference: if o.compare { Some(Tally::new(o.burst)?) } else { None },
            setup: Tally::new(o.burst)?,
            tsc_hz,
        })
    }

    /// With what one worker has measured.
    pub(super) fn add(&mut self, one: &Measured) -> Result<(), Failure> {
        self.path.add(&one.path)?;
        self.setup.add(&one.setup)?;
        if let (Some(all), Some(one)) = (&mut self.reference, &one.reference) {
            all.add(one)?;
        }
        self.packets += one.packets;
        self.bytes += one.bytes;
        Ok(())
    }

    /// Packets or sessions a second of all workers, at so many cycles each.
    fn per_second(&self, cycles: f64) -> f64 {
        self.tsc_hz as f64 / cycles * self.options.workers as f64
    }

    fn bytes_per_session(&self) -> f64 {
        self.bytes as f64 / f64::from(self.sessions)
    }

    /// Path to reference loop: mean, median.
    fn ratio(&self) -> Option<(f64, f64)> {
        let reference = self.reference.as_ref()?;
        Some((self.path.mean() / reference.mean(), self.path.at(0.5) / reference.at(0.5)))
    }

    /// As JSON, one object.
    pub fn json(&self) -> Value {
        let o = &self.options;
        let mut row = json!({
            "sessions": self.sessions,
            "workers": o.workers,
            "packet_bytes": o.frames.mean(),
            "mix": if o.frames == Frames::Imix { Some("imix") } else { None },
            "burst": o.burst,
            "direction": o.direction.text(),
            "order": o.order.text(),
            "packets": self.packets,
            "mpps": tenths(self.per_second(self.path.mean()) / 1e6),
            "cycles_per_packet": self.path.json(),
            "interrupted_bursts": self.path.interrupted(),
            "tsc_hz": self.tsc_hz,
            "setup_per_second": self.per_second(self.setup.mean()) as u64,
            "bytes_per_session": tenths(self.bytes_per_session()),
        });
        if let (Some(reference), Some((mean, p50))) = (&self.reference, self.ratio()) {
            let hundredths = |x: f64| (x * 100.0).round() / 100.0;
            row["reference"] = reference.json();
            row["ratio"] = json!({ "mean": hundredths(mean), "p50": hundredths(p50) });
        }
        row
    }

    /// What stands above the rows of such a measurement, in 80 columns.
    pub fn head(o: &NatOptions) -> String {
        let frames = match o.frames {
            Frames::Fixed(bytes) => format!("{bytes} bytes"),
            Frames::Imix => "IMIX".to_owned(),
        };
        let (direction, order) = (o.direction.text(), o.order.text());
        let s = if o.workers == 1 { "" } else { "s" };
        let first = format!(
            "direction {direction}, {order} order, frames of {frames}, bursts of {}, {} worker{s}",
            o.burst, o.workers
        );
        let path = format!("{:>10} {:>24}", "", "path, cycles a packet");
        let rest = format!("{:>6} {:>10} {:>8}", "", "new", "bytes a");
        let path2 = format!("{:>10} {:>8} {:>7} {:>7}", "sessions", "mean", "p50", "p99");
        let rest2 = format!("{:>6} {:>10} {:>8}", "Mpps", "a second", "session");
        let (by, by2) = if o.compare {
            (
                format!(" {:>7} {:>9}", "loop", "path/loop"),
                format!(" {:>7} {:>4} {:>4}", "p50", "mean", "p50"),
            )
        } else {
            Default::default()
        };
        format!("{first}\n\n{path}{by} {rest}\n{path2}{by2} {rest2}\n")
    }

    /// As a line of the table.
    pub fn line(&self) -> String {
        let (path, sessions) = (&self.path, grouped(self.sessions.into()));
        let mut line =
            format!("{sessions:>10} {:>8.1} {:>7.1} {:>7.1}", path.mean(), path.at(0.5), path.at(0.99));
        if let (Some(reference), Some((mean, p50))) = (&self.reference, self.ratio()) {
            line += &format!(" {:>7.1} {mean:>4.1} {p50:>4.1}", reference.at(0.5));
        }
        let rates = (self.per_second(path.mean()) / 1e6, grouped(self.per_second(self.setup.mean()) as u64));
        line + &format!(" {:>6.1} {:>10} {:>8.1}\n", rates.0, rates.1, self.bytes_per_session())
    }

    /// Bursts that were interrupted, and all of them.
    pub fn interrupted(&self) -> (u64, u64) {
        (self.path.interrupted(), self.packets / self.options.burst as u64)
    }
}

/// `1032192` as `1 032 192`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Direction, Order, Wires};

    #[test]
    fn the_table_fits_80_columns_and_its_columns_stand_under_their_heads() {
        for compare in [false, true] {
            let options = NatOptions {
                sessions: vec![16_515_072],
                workers: 2,
                direction: Direction::Both,
                order: Order::Shuffled,
                frames: Frames::Imix,
                burst: 32,
                packets: 1,
                compare,
                wires: Wires::Arrays,
            };
            let mut row = Row::new(&options, 16_515_072, 2_600_000_000).unwrap();
            for cycles in [1234, 23_456, 34_567] {
                row.path.record(cycles * 32).unwrap();
                row.setup.record(cycles * 32).unwrap();
                if let Some(reference) = &mut row.reference {
                    reference.record(cycles * 32).unwrap();
                }
            }
            let (head, line) = (Row::head(&options), row.line());
            let widths: Vec<usize> = head.lines().skip(2).chain(line.lines()).map(str::len).collect();
            assert_eq!(widths.len(), 3);
            assert!(widths.iter().all(|w| *w == widths[0] && *w <= 80), "{head}{line}");
        }
        assert_eq!([0, 999, 1_000, 1_032_192].map(grouped), ["0", "999", "1 000", "1 032 192"]);
    }
}
