//! What a scenario came to: the verdict, the table for people, the line for programs.
//!
//! The verdict is made of complaints: no complaint, passed. The limits are those that the steps promise: an outage so long at
//! most, or not one packet lost; TCP that outlives the change, where the outside address does; every packet is translated, no byte is wrong,
//! and the UDP flows are there at the end.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::traffic::account::Harm;
use crate::base::Nanos;

/// One transition of the traffic from line to line.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// What it is listed under.
    pub cause: &'static str,
    /// The longest outage that is allowed; none: not a packet may be lost.
    pub limit: Option<Nanos>,
    /// Downloads that it cut although it should not.
    pub cut: u64,
    /// From the deed to the router's decision; none if it never decided.
    pub detected: Option<Nanos>,
    /// What the stream suffered.
    pub harm: Harm,
}

/// The result of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// How many transitions it should have had.
    pub expected: usize,
    /// Those it had, in order.
    pub transitions: Vec<Transition>,
    /// The stream before anything happened.
    pub steady: Harm,
    /// UDP flows answered to the end, and how many there were.
    pub udp: (u64, u64),
    /// TCP sessions that outlived a transition, and those that were cut by one.
    pub tcp: (u64, u64),
    /// Calls made again after a failed one.
    pub redials: u64,
    /// Downloads with a wrong byte.
    pub corrupt: u64,
    /// The mean rate of the downloads.
    pub download_mbit: f64,
    /// Where the stream did not leave by the line that was to fail.
    pub astray: Vec<String>,
    /// Source addresses that the internet host saw.
    pub sources: BTreeMap<Ipv4Addr, u64>,
    /// Those it may see.
    pub translated: Vec<Ipv4Addr>,
    /// The whole run.
    pub took: Nanos,
}

impl Report {
    /// Everything that is not as promised.
    pub fn complaints(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.transitions.len() < self.expected {
            list.push(format!(
                "only {} of {} transitions were reached",
                self.transitions.len(),
                self.expected
            ));
        }
        list.extend(self.astray.iter().cloned());
        for one in &self.transitions {
            if one.detected.is_none() {
                list.push(format!("{}: the router never decided", one.cause));
            }
            if let Some(limit) = one.limit.filter(|limit| one.harm.outage > *limit) {
                let outage = ms(one.harm.outage);
                list.push(format!("{}: {outage} ms of outage, at most {} allowed", one.cause, limit.as_ms()));
            }
            if one.limit.is_none() && one.harm.lost > 0 {
                list.push(format!("{}: {} packets lost, none allowed", one.cause, one.harm.lost));
            }
            if one.cut > 0 {
                list.push(format!("{}: {} downloads cut, none allowed", one.cause, one.cut));
            }
        }
        if self.sources.is_empty() {
            list.push("no packet reached the internet host".into());
        }
        for source in self.sources.keys().filter(|source| !self.translated.contains(source)) {
            list.push(format!("the internet host saw the untranslated address {source}"));
        }
        if self.udp.0 < self.udp.1 {
            list.push(format!("{} of {} UDP flows did not survive", self.udp.1 - self.udp.0, self.udp.1));
        }
        if self.corrupt > 0 {
            list.push(format!("{} downloads had a wrong byte", self.corrupt));
        }
        list
    }

    /// Whether everything is as promised.
    pub fn passed(&self) -> bool {
        self.complaints().is_empty()
    }

    /// The line for programs.
    pub fn json(&self) -> Value {
        let failovers: Vec<Value> = self
            .transitions
            .iter()
            .map(|one| {
                json!({
                    "cause": one.cause,
                    "outage_ms": ms(one.harm.outage),
                    "lost": one.harm.lost,
                    "detected_ms": one.detected.map(ms),
                    "sent": one.harm.sent,
                    "lost_out": one.harm.lost_out,
                })
            })
            .collect();
        let sources: serde_json::Map<String, Value> =
            self.sources.iter().map(|(address, packets)| (address.to_string(), json!(packets))).collect();
        json!({
            "scenario": self.scenario,
            "passed": self.passed(),
            "failovers": failovers,
            "sessions_survived": { "udp": self.udp.0, "tcp": self.tcp.0 },
            "udp_flows": self.udp.1,
            "tcp_reset": self.tcp.1,
            "tcp_redials": self.redials,
            "download_mbit": (self.download_mbit * 10.0).round() / 10.0,
            "steady": { "outage_ms": ms(self.steady.outage), "lost": self.steady.lost, "sent": self.steady.sent },
            "sources": sources,
            "took_ms": self.took.as_ms(),
            "complaints": self.complaints(),
        })
    }

    /// The table for people, within 80 columns; `colour` for a terminal.
    pub fn table(&self, colour: bool) -> String {
        let paint =
            |code: &str, text: String| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text };
        let mut out = String::new();
        let head =
            format!("  {:<22}{:>13}{:>13}{:>10}{:>10}", "what happened", "detected", "outage", "lost", "of");
        let _ = writeln!(out, "{}", paint("1", head));
        for one in &self.transitions {
            let what = match one.cause {
                "link" => "line cut (link)",
                "silent" => "line silent",
                "failback" => "line back (failback)",
                "killed" => "member killed",
                "returned" => "member back",
                "unplugged" => "its cables pulled",
                "plugged" => "its cables back",
                "isp_dead" => "ISP dead (targets)",
                "isp_back" => "ISP back",
                "yield" => "role handed over",
                other => other,
            };
            let detected = one.detected.map_or_else(|| "never".to_owned(), |t| format!("{} ms", ms(t)));
            let outage = format!("{} ms", ms(one.harm.outage));
            let lost = format!("{:>10}", one.harm.lost);
            let lost = paint(if one.harm.lost == 0 { "32" } else { "33" }, lost);
            let _ = writeln!(out, "  {what:<22}{detected:>13}{outage:>13}{lost}{:>10}", one.harm.sent);
        }
        let _ = writeln!(
            out,
            "\n  UDP flows kept: {} of {}; downloads: {:.1} Mbit/s, {} calls made again",
            self.udp.0, self.udp.1, self.download_mbit, self.redials
        );
        let _ = writeln!(out, "  TCP sessions open at a change: {} kept, {} reset", self.tcp.0, self.tcp.1);
        for complaint in self.complaints() {
            let _ = writeln!(out, "  {}", paint("31", format!("! {complaint}")));
        }
        let took = self.took.as_ms() as f64 / 1000.0;
        let verdict =
            if self.passed() { paint("1;32", "passed".into()) } else { paint("1;31", "FAILED".into()) };
        let _ = writeln!(out, "  {} {verdict} after {took:.1} s", self.scenario);
        out
    }
}

/// Milliseconds with one decimal.
fn ms(span: Nanos) -> f64 {
    (span.as_us() as f64 / 100.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transition(cause: &'static str, outage_ms: u64, lost: u64) -> Transition {
        let harm = Harm { outage: Nanos::from_ms(outage_ms), lost, sent: 4000, ..Harm::default() };
        let limit = [("link", 100), ("silent", 1_200)].into_iter().find(|(name, _)| *name == cause);
        let limit = limit.map(|(_, ms)| Nanos::from_ms(ms));
        Transition { cause, limit, cut: 0, detected: Some(Nanos::from_us(12_345)), harm }
    }

    fn good() -> Report {
        let wan = Ipv4Addr::new(203, 0, 113, 2);
        Report {
            scenario: "dual-wan".into(),
            expected: 3,
            transitions: vec![
                transition("link", 23, 24),
                transition("failback", 1, 0),
                transition("silent", 890, 900),
            ],
            udp: (21, 21),
            tcp: (2, 2),
            redials: 2,
            download_mbit: 23.46,
            astray: Vec::new(),
            sources: BTreeMap::from([(wan, 100)]),
            translated: vec![wan],
            took: Nanos::from_ms(36_540),
            ..Report::default()
        }
    }

    #[test]
    fn a_good_run_passes_and_its_json_has_the_promised_shape() {
        let json = good().json();
        assert_eq!(json["passed"], true, "{:?}", good().complaints());
        assert_eq!(json["failovers"][0]["outage_ms"], 23.0);
        assert_eq!(json["failovers"][0]["detected_ms"], 12.3);
        assert_eq!(json["sessions_survived"], json!({"udp": 21, "tcp": 2}));
        let keys: Vec<_> = json.as_object().unwrap().keys().take(4).cloned().collect();
        assert_eq!(keys, ["scenario", "passed", "failovers", "sessions_survived"]);
    }

    #[test]
    fn each_broken_promise_is_named() {
        type Spoil = fn(&mut Report);
        let spoil: [(&str, Spoil); 8] = [
            ("2 downloads cut", |r| r.transitions[1].cut = 2),
            ("150", |r| r.transitions[0].harm.outage = Nanos::from_ms(150)),
            ("1201", |r| r.transitions[2].harm.outage = Nanos::from_ms(1201)),
            ("1 packets", |r| r.transitions[1].harm.lost = 1),
            ("never", |r| r.transitions[1].detected = None),
            ("only 2", |r| r.transitions.truncate(2)),
            ("192.168.10.10", |r| r.sources.extend([(Ipv4Addr::new(192, 168, 10, 10), 1)])),
            ("1 of 21 UDP", |r| r.udp.0 = 20),
        ];
        for (word, change) in &spoil {
            let mut report = good();
            change(&mut report);
            let complaints = report.complaints();
            assert!(complaints.len() == 1 && complaints[0].contains(word), "{word}: {complaints:?}");
        }
    }

    #[test]
    fn the_table_fits_a_narrow_terminal() {
        for line in good().table(false).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(good().table(true).contains("\x1b[1;32mpassed"));
    }
}
