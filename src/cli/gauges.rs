//! What live TCP says of a WAN, and what a group drains, in words: parts of `wans` and `status`.

use serde_json::Value;

use super::output::{count, micros, number, plain, rows, seconds, shown};

/// A WAN's TCP in the last seconds; `None` without any.
pub(super) fn live_tcp(wan: &Value) -> Option<String> {
    let tcp = wan.get("tcp")?;
    let share = |part: &str, whole: &str, what: &str| {
        let (part, whole) = (number(tcp, part)?, number(tcp, whole).filter(|n| *n > 0)?);
        let percent = part as f64 * 100.0 / whole as f64;
        Some(format!("{} of {} {what} ({percent:.1} %)", count(part), count(whole)))
    };
    let said = [
        share("syn_unanswered", "syns", "SYNs unanswered"),
        share("retransmits", "segments", "segments sent again"),
        number(tcp, "rtt_us").map(|us| format!("round trip {}", micros(us))),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| format!("tcp of the last 10s: {}", said.join(", ")))
}

/// What a group drains since it has returned to a better WAN.
pub(super) fn drains(group: &Value) -> String {
    let one = |row: &Value| {
        let ends = shown(row, "drain_ends_s", seconds);
        format!("; drains {}: {} sessions, {ends} left", plain(&row["wan"]), shown(row, "sessions", count))
    };
    rows(group.get("draining").unwrap_or(&Value::Null)).iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_are_told_where_there_are_any() {
        let wan = json!({"tcp": {"syns": 120, "syn_unanswered": 3, "segments": 5000, "retransmits": 10, "rtt_us": 23_000}});
        assert_eq!(
            live_tcp(&wan).unwrap(),
            "tcp of the last 10s: 3 of 120 SYNs unanswered (2.5 %), 10 of 5000 segments sent again (0.2 %), round trip 23.0 ms"
        );
        let silent = json!({"tcp": {"syns": 0, "syn_unanswered": null, "segments": 0, "retransmits": null, "rtt_us": null}});
        for none in [silent, json!({}), json!(7), json!({"tcp": [1]})] {
            assert_eq!(live_tcp(&none), None);
        }
        let group = json!({"draining": [{"wan": "isp2", "sessions": 12, "drain_ends_s": 3000}]});
        assert_eq!(drains(&group), "; drains isp2: 12 sessions, 50m00s left");
        assert_eq!(drains(&json!({"draining": 5})), "");
    }
}
