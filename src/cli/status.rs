//! `status` and `wans`: the running router in short, and its WANs at length.

use serde_json::Value;

use super::Error;
use super::args::Talk;
use super::cluster::in_short;
use super::gauges::{drains, live_tcp};
use super::latency;
use super::output::{
    Colour, NOTHING, Screen, count, micros, number, percent, plain, rows, seconds, shown, text, wrap,
};
use super::table::{Cell, Column, Table, left, right};
use crate::manage::protocol::{Request, ask_one};

pub(super) fn status(talk: &Talk, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&talk.socket, &Request::Status)?;
    if talk.json { Ok(screen.json(&answer)?) } else { show_status(&answer, screen) }
}

pub(super) fn wans(talk: &Talk, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&talk.socket, &Request::Wans)?;
    if talk.json { Ok(screen.json(&answer)?) } else { show_wans(&answer, screen) }
}

fn show_status(answer: &Value, screen: &mut Screen) -> Result<(), Error> {
    let part = |key| answer.get(key).unwrap_or(&Value::Null);
    let title = format!(
        "{}: turnout {}, up {}",
        text(answer, "name"),
        text(answer, "version"),
        shown(answer, "uptime_s", seconds)
    );
    for line in wrap(&title, 2) {
        screen.line(&screen.paint(Some(Colour::Bold), &line))?;
    }
    screen.line("")?;
    table_of_wans(rows(part("wans")), screen)?;
    for wan in rows(part("wans")) {
        let name = text(wan, "name");
        for line in live_tcp(wan).iter().flat_map(|text| wrap(&format!("{name}: {text}"), 4)) {
            screen.line(&line)?;
        }
    }
    screen.line("")?;
    let sessions = part("sessions");
    let text_of = |key| shown(sessions, key, count);
    let line = format!(
        "sessions  {} live of {}{}; {} created, {} expired, {} refused",
        text_of("live"),
        text_of("capacity"),
        share(number(sessions, "live"), number(sessions, "capacity")),
        text_of("created"),
        text_of("expired"),
        text_of("refused"),
    );
    for line in wrap(&line, 10) {
        screen.line(&line)?;
    }
    for group in rows(part("groups")) {
        let active: Vec<String> =
            rows(group.get("active").unwrap_or(&Value::Null)).iter().map(plain).collect();
        let resort = if group["resort"] == true { ", though it is not fit" } else { "" };
        let active = if active.is_empty() { "no fit WAN".to_owned() } else { active.join(", ") + resort };
        let line = format!("group     {}: {active}{}", text(group, "name"), drains(group));
        for line in wrap(&line, 10) {
            screen.line(&line)?;
        }
    }
    for line in latency::in_short(part("latency")) {
        screen.line(&line)?;
    }
    if let cluster @ Value::Object(_) = part("cluster") {
        for line in wrap(&format!("cluster   {}", in_short(cluster)), 10) {
            screen.line(&line)?;
        }
    }
    screen.line("")?;
    table_of_workers(rows(part("workers")), screen)
}

fn share(part: Option<u64>, whole: Option<u64>) -> String {
    match (part, whole) {
        (Some(part), Some(whole)) if whole > 0 => format!(" ({:.0} %)", part as f64 * 100.0 / whole as f64),
        _ => String::new(),
    }
}

fn table_of_workers(workers: &[Value], screen: &mut Screen) -> Result<(), Error> {
    const COLUMNS: &[Column] = &[
        left("WORKER", 0),
        right("CORE", 0),
        right("PACKETS", 0),
        right("CYCLES/PACKET", 0),
        right("BUSY", 0),
    ];
    if workers.is_empty() {
        return Ok(screen.line("no workers")?);
    }
    let mut table = Table::new(COLUMNS);
    for (index, worker) in workers.iter().enumerate() {
        table.push(vec![
            index.to_string().into(),
            text(worker, "core").into(),
            shown(worker, "packets", count).into(),
            shown(worker, "cycles_per_packet", count).into(),
            percent(worker, "busy_percent").into(),
        ]);
    }
    Ok(table.print(screen)?)
}

fn table_of_wans(wans: &[Value], screen: &mut Screen) -> Result<(), Error> {
    const COLUMNS: &[Column] = &[
        left(" ", 0),
        left("WAN", 0),
        left("STATE", 0),
        left("LINK", 4),
        right("RTT", 1),
        right("JITTER", 5),
        right("LOSS", 3),
        right("SESSIONS", 2),
        right("SINCE", 0),
    ];
    if wans.is_empty() {
        return Ok(screen.line("no WANs")?);
    }
    let mut table = Table::new(COLUMNS);
    for wan in wans {
        let mark = if wan.get("carrying") == Some(&Value::Bool(true)) { "*" } else { "" };
        let link = match wan.get("link") {
            Some(Value::Bool(true)) => "up",
            Some(Value::Bool(false)) => "down",
            _ => NOTHING,
        };
        table.push(vec![
            Cell::painted(mark.to_owned(), Some(Colour::Bold)),
            text(wan, "name").into(),
            state(wan),
            link.to_owned().into(),
            shown(wan, "rtt_us", micros).into(),
            shown(wan, "jitter_us", micros).into(),
            percent(wan, "loss_percent").into(),
            shown(wan, "sessions", count).into(),
            shown(wan, "since_s", seconds).into(),
        ]);
    }
    Ok(table.print(screen)?)
}

/// The state with the operator's override, coloured by what it means for users.
fn state(wan: &Value) -> Cell {
    let (state, admin) = (text(wan, "state"), text(wan, "admin"));
    let colour = match (state.as_str(), admin.as_str()) {
        (_, "down") | ("down", _) => Colour::Red,
        (_, "drain") | ("probing" | "degraded", _) => Colour::Yellow,
        ("up", _) => Colour::Green,
        _ => Colour::Dim,
    };
    let text = match admin.as_str() {
        "auto" | NOTHING => state,
        _ => format!("{state} ({admin})"),
    };
    Cell::painted(text, Some(colour))
}

fn show_wans(answer: &Value, screen: &mut Screen) -> Result<(), Error> {
    let wans = rows(answer);
    table_of_wans(wans, screen)?;
    for wan in wans {
        screen.line("")?;
        let first = format!(
            "{}: {} by gateway {}, {} packets in, {} out",
            text(wan, "name"),
            text(wan, "address"),
            text(wan, "gateway"),
            shown(wan, "rx_packets", count),
            shown(wan, "tx_packets", count),
        );
        for line in wrap(&first, 4) {
            screen.line(&line)?;
        }
        let why = match text(wan, "reason").as_str() {
            NOTHING => format!("  {}", text(wan, "state")),
            reason => format!("  {}: {reason}", text(wan, "state")),
        };
        let over = match text(wan, "admin").as_str() {
            "down" => "; taken down by the operator",
            "drain" => "; drained by the operator",
            _ => "",
        };
        for line in wrap(&format!("{why}{over}{}", hold(wan)), 4) {
            screen.line(&line)?;
        }
        for line in live_tcp(wan).iter().flat_map(|text| wrap(&format!("  {text}"), 4)) {
            screen.line(&line)?;
        }
        for line in lease(&wan["dhcp"]).iter().flat_map(|line| wrap(line, 4)) {
            screen.line(&line)?;
        }
        if let Some(up) = wan["bfd"].as_bool() {
            screen.line(if up { "  bfd session up" } else { "  bfd session down" })?;
        }
        for target in rows(&wan["targets"]) {
            for line in wrap(&format!("  {}", asked(target)), 4) {
                screen.line(&line)?;
            }
        }
    }
    if !wans.is_empty() {
        screen.line("")?;
        screen.line("* new sessions go there")?;
    }
    Ok(())
}

/// What DHCP has brought, and what is wrong with it.
fn lease(dhcp: &Value) -> Option<String> {
    dhcp.as_object()?;
    let mut line = format!("  dhcp {}", text(dhcp, "state"));
    if dhcp["address"].is_string() {
        line += &format!(": {} of {}", text(dhcp, "address"), text(dhcp, "server"));
        line += &match number(dhcp, "lease_s") {
            Some(left) => format!(", {} left", seconds(left)),
            None => ", for ever".to_owned(),
        };
        for route in rows(&dhcp["routes"]) {
            let via = route["via"].as_str().map_or_else(|| "on the link".into(), |via| format!("by {via}"));
            line += &format!(", {} {via}", text(route, "to"));
        }
        let dns: Vec<&str> = rows(&dhcp["dns"]).iter().filter_map(Value::as_str).collect();
        if !dns.is_empty() {
            line += &format!(", dns {}", dns.join(" "));
        }
        if let Some(mtu) = number(dhcp, "mtu") {
            line += &format!(", mtu {mtu}");
        }
    }
    if let Some(trouble) = dhcp["trouble"].as_str() {
        line += &format!("; {trouble}");
    }
    Some(line)
}

/// How long a WAN that answers again is still held back.
fn hold(wan: &Value) -> String {
    match (number(wan, "hold_s"), number(wan, "flaps")) {
        (Some(span), Some(flaps)) if flaps > 0 => {
            format!("; answers, up in {} at the earliest ({flaps} flaps)", seconds(span))
        }
        (Some(span), _) => format!("; answers, up in {} at the earliest", seconds(span)),
        _ => String::new(),
    }
}

/// A target and how it answers.
fn asked(target: &Value) -> String {
    let name = format!("{} {}", text(target, "probe"), text(target, "target"));
    match (target["mute"].as_bool(), number(target, "lost_in_a_row")) {
        (Some(true), _) => format!("{name}: mute, never answered, does not count"),
        (_, Some(lost)) if lost > 0 => format!("{name}: {lost} lost in a row"),
        _ => format!("{name}: {}, {} lost", shown(target, "rtt_us", micros), percent(target, "loss_percent")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// What `show` prints of `value`, without colours; all lines fit.
    pub(in crate::cli) fn printed(
        value: &Value,
        show: fn(&Value, &mut Screen) -> Result<(), Error>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        show(value, &mut Screen::new(&mut out, false)).unwrap();
        let lines: Vec<String> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        for line in &lines {
            assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
            assert_eq!(line.trim_end(), line, "blanks at the end");
        }
        lines
    }

    fn sample() -> Value {
        json!([
            {"name": "isp1", "state": "up", "admin": "auto", "link": true, "carrying": true,
             "address": "203.0.113.2/29", "gateway": "203.0.113.1", "rtt_us": 1234, "jitter_us": 90,
             "loss_percent": 0, "since_s": 192, "sessions": 1400000, "rx_packets": 10, "tx_packets": 20,
             "reason": "gateway answers"},
            {"name": "isp2", "state": "up", "admin": "drain", "link": true, "carrying": false,
             "address": "198.51.100.2/29", "gateway": "198.51.100.1", "rtt_us": null, "jitter_us": null,
             "loss_percent": 2.5, "since_s": 5, "sessions": 0, "rx_packets": 0, "tx_packets": 0, "reason": null},
        ])
    }

    #[test]
    fn a_wan_shows_its_targets_its_bfd_and_how_long_it_is_held_back() {
        let wans = json!([{ "name": "isp1", "state": "down", "reason": "targets silent", "hold_s": 12, "flaps": 2, "bfd": true,
            "targets": [
                { "probe": "icmp", "target": "1.1.1.1", "mute": false, "lost_in_a_row": 0, "rtt_us": 1200, "loss_percent": 3 },
                { "probe": "icmp", "target": "9.9.9.9", "mute": false, "lost_in_a_row": 4, "rtt_us": null },
                { "probe": "tcp", "target": "198.51.100.7:443", "mute": true, "lost_in_a_row": 9 },
            ] }]);
        let lines = printed(&wans, show_wans);
        let has = |line: &str| assert!(lines.iter().any(|l| l == line), "{line:?} in {lines:#?}");
        has("  down: targets silent; answers, up in 12s at the earliest (2 flaps)");
        has("  bfd session up");
        has("  icmp 1.1.1.1: 1.2 ms, 3 % lost");
        has("  icmp 9.9.9.9: 4 lost in a row");
        has("  tcp 198.51.100.7:443: mute, never answered, does not count");
    }

    #[test]
    fn a_wan_shows_its_lease() {
        let mut wans = json!([{ "name": "isp2", "state": "up", "reason": "gateway answers", "dhcp": {
            "state": "bound", "address": "198.51.100.7/24", "gateway": "198.51.100.1", "server": "198.51.100.2",
            "routes": [{ "to": "10.0.0.0/8", "via": "198.51.100.9" }, { "to": "10.9.9.9/32", "via": null }],
            "lease_s": 3580, "renew_s": 1700, "dns": ["198.51.100.1"], "mtu": 1492, "trouble": null } }]);
        let has = |wans: &Value, line: &str| {
            let lines = printed(wans, show_wans);
            assert!(lines.iter().any(|l| l == line), "{line:?} in {lines:#?}");
        };
        has(&wans, "  dhcp bound: 198.51.100.7/24 of 198.51.100.2, 59m40s left, 10.0.0.0/8 by");
        wans[0]["dhcp"] = json!({ "state": "selecting", "address": null, "lease_s": null, "trouble": "no DHCP server answers" });
        has(&wans, "  dhcp selecting; no DHCP server answers");
    }

    #[test]
    fn wans_show_state_override_and_who_carries() {
        let lines = printed(&sample(), show_wans);
        assert_eq!(lines[0], "   WAN   STATE       LINK     RTT   JITTER   LOSS  SESSIONS  SINCE");
        assert_eq!(lines[1], "*  isp1  up          up    1.2 ms  90.0 us    0 %     1.4 M  3m12s");
        assert_eq!(lines[2], "   isp2  up (drain)  up         -        -  2.5 %         0     5s");
        assert_eq!(lines[4], "isp1: 203.0.113.2/29 by gateway 203.0.113.1, 10 packets in, 20 out");
        assert_eq!(lines[8], "  up; drained by the operator");
        assert_eq!(printed(&json!([]), show_wans), ["no WANs"]);
    }

    #[test]
    fn status_fits_with_the_largest_of_everything() {
        let big = u64::MAX;
        let mut wans = sample();
        for key in ["rtt_us", "jitter_us", "since_s", "sessions", "rx_packets", "tx_packets", "loss_percent"]
        {
            wans[0][key] = json!(big);
        }
        for key in ["name", "state", "admin", "address", "gateway", "reason"] {
            wans[0][key] = json!("x".repeat(200));
        }
        let worker = json!({"core": 127, "packets": big, "cycles_per_packet": 1e300, "busy_percent": 100.0});
        let all = json!({
            "name": "n".repeat(300), "version": "0.1.0", "uptime_s": big, "wans": wans,
            "groups": [{"name": "g".repeat(90), "active": vec!["isp"; 50]}],
            "sessions": {"live": big, "capacity": big, "created": big, "expired": big, "refused": big},
            "latency": {"p50_ns": big, "p99_ns": big, "max_ns": big},
            "workers": vec![worker; 3], "cluster": {"role": "r".repeat(100), "site": "offline"},
        });
        printed(&all, show_status);
        printed(&all["wans"], show_wans);
    }

    #[test]
    fn status_is_read_from_top_to_bottom() {
        let all = json!({
            "name": "office", "version": "0.1.0", "uptime_s": 18190, "wans": sample(),
            "groups": [{"name": "default", "active": ["isp1"]}, {"name": "voice", "active": []}],
            "sessions": {"live": 500, "capacity": 1000, "created": 700, "expired": 200, "refused": 0},
            "workers": [{"core": 2, "packets": 123456789, "cycles_per_packet": 95, "busy_percent": 12.5}],
            "latency": {"p50_ns": 1234, "p99_ns": 20000, "max_ns": 87600000},
            "cluster": {"name": "a", "role": "active", "site": "unhealthy", "partner": null},
        });
        let lines = printed(&all, show_status);
        assert_eq!(lines[0], "office: turnout 0.1.0, up 5h03m");
        assert_eq!(lines[6], "sessions  500 live of 1000 (50 %); 700 created, 200 expired, 0 refused");
        assert_eq!(lines[7..9], ["group     default: isp1", "group     voice: no fit WAN"]);
        assert_eq!(lines[9], "latency   half within 1.2 us, 99 % within 20.0 us, longest 87.6 ms");
        assert_eq!(lines[10], "cluster   a is active, the partner was never heard; the site is unhealthy");
        assert_eq!(lines[12], "WORKER  CORE  PACKETS  CYCLES/PACKET    BUSY");
        assert_eq!(lines[13], "0          2  123.5 M             95  12.5 %");
    }

    #[test]
    fn an_answer_of_another_shape_is_dashes() {
        for odd in [json!(null), json!(7), json!([1, null, "x"]), json!({"wans": {"a": 1}, "sessions": []})] {
            printed(&odd, show_status);
            printed(&odd, show_wans);
        }
        let lines = printed(&json!({}), show_status);
        assert_eq!(lines[0], "-: turnout -, up -");
        assert!(lines.contains(&"no WANs".to_owned()) && lines.contains(&"no workers".to_owned()));
    }
}
