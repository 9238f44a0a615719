//! A record as a line of JSON. Events have the names and numbers of RFC 8158 section 5.1 (table 2) and section 5.5; what
//! that has no name for (`start`, `stop`, `lost`, `suppressed`) has none of its numbers either.

use std::io::Write;

use crate::base::Nanos;
use crate::nat::log::{Record, What};
use crate::packet::DropReason;
use crate::wire::protocol;

/// What lines need besides records.
#[derive(Clone, Debug)]
pub struct Lines {
    /// By `WanId`, quoted
    wans: Vec<String>,
    /// Time of day of monotonic zero, in ns since 1970; signed, as a machine's clock may be wrong
    zero: i128,
}

impl Lines {
    /// For these WANs.
    pub fn new(wan_names: &[String]) -> Lines {
        let quoted = |name: &String| serde_json::Value::from(name.as_str()).to_string();
        Lines { wans: wan_names.iter().map(quoted).collect(), zero: 0 }
    }

    /// The time of day is `since_1970` when the monotonic clock is at `now`.
    pub fn set_clock(&mut self, since_1970: std::time::Duration, now: Nanos) {
        self.zero = since_1970.as_nanos() as i128 - i128::from(now.0);
    }

    fn begin(&self, to: &mut Vec<u8>, at: Nanos, event: &str) {
        let ms = (self.zero + i128::from(at.0)) / 1_000_000;
        // A vector takes everything.
        let _ = write!(to, "{{\"time_ms\":{ms},\"at_ns\":{},\"event\":\"{event}\"", at.0);
    }

    /// The router has started or is about to stop: no mapping outlives that.
    pub fn mark(&self, to: &mut Vec<u8>, at: Nanos, event: &str) {
        self.begin(to, at, event);
        let _ = writeln!(to, ",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"));
    }

    /// Appends a worker's record.
    pub fn line(&self, to: &mut Vec<u8>, worker: usize, record: &Record) {
        let (event, number) = match record.what {
            What::Created { .. } => ("nat44_bib_create", 8),
            What::Deleted { .. } => ("nat44_bib_delete", 9),
            What::SessionCreated => ("nat44_session_create", 4),
            What::SessionDeleted => ("nat44_session_delete", 5),
            What::Refused(DropReason::NatPortsExhausted | DropReason::NatClash) => {
                ("nat_ports_exhausted", 12)
            }
            What::Refused(_) => ("quota_exceeded", 13),
            What::Suppressed(_) => ("suppressed", 0),
            What::Lost(_) => ("lost", 0),
        };
        self.begin(to, record.at, event);
        if let What::Suppressed(records) | What::Lost(records) = record.what {
            let _ = writeln!(to, ",\"records\":{records},\"worker\":{worker}}}");
            return;
        }
        let _ = write!(to, ",\"id\":{number}");
        match record.protocol {
            protocol::UDP => to.extend(b",\"protocol\":\"udp\""),
            protocol::TCP => to.extend(b",\"protocol\":\"tcp\""),
            protocol::ICMP => to.extend(b",\"protocol\":\"icmp\""),
            other => drop(write!(to, ",\"protocol\":\"{other}\"")),
        }
        let (inside, outside) = (record.inside, record.outside);
        let _ = write!(to, ",\"inside\":\"{}:{}\"", inside.0, inside.1);
        if let What::Refused(reason) = record.what {
            if !outside.0.is_unspecified() {
                let _ = write!(to, ",\"outside\":\"{}\"", outside.0);
            }
            if let Some(quota) = quota(reason) {
                let _ = write!(to, ",\"quota\":{quota}");
            }
            let _ = write!(to, ",\"reason\":\"{}\"", reason.name());
        } else {
            let _ = write!(to, ",\"outside\":\"{}:{}\"", outside.0, outside.1);
            if let Some(wan) = self.wans.get(record.wan.index()) {
                let _ = write!(to, ",\"wan\":{wan}");
            }
        }
        if let What::Created { moved: true } | What::Deleted { moved: true } = record.what {
            to.extend(b",\"moved\":true");
        }
        let _ = writeln!(to, ",\"worker\":{worker}}}");
    }
}

/// Which quota was exceeded (RFC 8158 section 5.5, natQuotaExceededEvent); it knows none of rates.
fn quota(reason: DropReason) -> Option<u8> {
    match reason {
        DropReason::NatTableFull => Some(1),
        DropReason::NatHostPorts | DropReason::NatHostSessions => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::WanId;
    use serde_json::{Value, json};

    fn line(what: What) -> Value {
        let mut lines = Lines::new(&["isp1".into(), "the \"other\"".into()]);
        lines.set_clock(std::time::Duration::from_secs(1_800_000_000), Nanos::from_s(100));
        let record = Record {
            at: Nanos::from_ms(101_500),
            what,
            inside: ([192, 168, 1, 2].into(), 5000),
            outside: ([203, 0, 113, 2].into(), 40_000),
            protocol: protocol::UDP,
            wan: WanId(1),
        };
        let mut text = Vec::new();
        lines.line(&mut text, 3, &record);
        assert_eq!(text.pop(), Some(b'\n'));
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn rfc6888_12_a_line_has_both_ends_of_the_mapping_and_nothing_of_a_remote() {
        let whole = json!({
            "time_ms": 1_800_000_001_500u64, "at_ns": 101_500_000_000u64, "event": "nat44_bib_create", "id": 8,
            "protocol": "udp", "inside": "192.168.1.2:5000", "outside": "203.0.113.2:40000", "wan": "the \"other\"",
            "worker": 3,
        });
        assert_eq!(line(What::Created { moved: false }), whole);
        let moved = line(What::Deleted { moved: true });
        assert_eq!(
            (&moved["event"], &moved["id"], &moved["moved"]),
            (&json!("nat44_bib_delete"), &json!(9), &json!(true))
        );
    }

    #[test]
    fn refusals_and_gaps_say_of_what_and_how_many() {
        let full = line(What::Refused(DropReason::NatHostPorts));
        assert_eq!((&full["event"], &full["quota"]), (&json!("quota_exceeded"), &json!(3)));
        assert_eq!((&full["reason"], &full["wan"]), (&json!("drop_nat_host_ports"), &Value::Null));
        let ports = line(What::Refused(DropReason::NatPortsExhausted));
        assert_eq!(
            (&ports["event"], &ports["outside"]),
            (&json!("nat_ports_exhausted"), &json!("203.0.113.2"))
        );
        let lost = line(What::Lost(7));
        assert_eq!(
            (&lost["event"], &lost["records"], &lost["inside"]),
            (&json!("lost"), &json!(7), &Value::Null)
        );
        assert_eq!(line(What::Suppressed(8))["records"], 8);
    }
}
