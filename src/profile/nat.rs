//! The section `nat`: limits, timeouts, and what translation does at its edges.
//!
//! Each value begins as its default and is overwritten by what is given and right. What an RFC forbids is refused with
//! the number of its requirement. Only `inside` has to fit other sections; it keeps the places of its networks for
//! `outside`, which compares them with the WANs.

use crate::base::{Ipv4Net, Nanos};

use super::mistake::{Report, show};
use super::nat_types::{
    Filter, Filtering, Full, Log, Midstream, MssClamp, Nat, Quarantine, Share, Timeouts, WhenFull,
};
use super::raw::At;
use super::rules;
use super::schema::{BY_PROTOCOL, EXCEPT, NAT, QUARANTINE, Section, TIMEOUTS, entries};
use super::tree::{Node, Value};
use super::value::{boolean, integer32, is_decimal, span, word};
use super::vocabulary::{MAX_ITEMS, network, one_or_more};

const DAY: Nanos = Nanos::from_s(24 * 3600);
const UDP_MIN: Nanos = Nanos::from_s(120);
const UDP_RULE: &str = "RFC 4787 REQ-5";
const OTHER_MIN: Nanos = Nanos::from_s(10);
/// Ports with a timeout of their own, at most: a session has a byte to name its own.
const UDP_PORTS: usize = 240;

#[derive(Default)]
pub(super) struct RawNat {
    /// Everything but `inside`.
    pub(super) nat: Nat,
    pub(super) inside: Option<Vec<At<Ipv4Net>>>,
}

pub(super) fn nat(top: &Section<'_>, report: &mut Report) -> RawNat {
    let mut out = RawNat::default();
    let Some(section) = top.sub("nat", &NAT, report) else { return out };
    out.inside = section.get("inside").map(|node| inside(node, report));
    let nat = &mut out.nat;
    if let Some(node) = section.get("except") {
        nat.except = rules::except(node, &EXCEPT, report);
    }
    filtering(&section, &mut nat.filtering, report);
    when_full(&section, &mut nat.when_full, report);
    share(&section, "ports_per_host", 65_536, &mut nat.ports_per_host, report);
    share(&section, "sessions_per_host", 16_000_000, &mut nat.sessions_per_host, report);
    if let Some(node) = section.get("quarantine") {
        quarantine(&section, node, &mut nat.quarantine, report);
    }
    if let Some(node) = section.get("creation_rate") {
        let given = integer32(node, "`creation_rate`", 1..=10_000_000, "creation_rate: 10000", report);
        nat.creation_rate = given.unwrap_or(nat.creation_rate);
    }
    for (key, value) in [("hairpin", &mut nat.hairpin), ("stealth", &mut nat.stealth)] {
        let given = section.get(key).and_then(|node| boolean(node, &format!("`{key}`"), report));
        *value = given.unwrap_or(*value);
    }
    if let Some(node) = section.get("mss_clamp") {
        nat.mss_clamp = mss_clamp(node, report);
    }
    if let Some(node) = section.get("midstream") {
        let words = [("reset", Midstream::Reset), ("adopt", Midstream::Adopt), ("drop", Midstream::Drop)];
        nat.midstream = word(node, "`midstream`", &words, report).unwrap_or_default();
    }
    if let Some(node) = section.get("log") {
        nat.log = log(node, report);
    }
    if let Some(section) = section.sub("timeouts", &TIMEOUTS, report) {
        timeouts(&section, &mut nat.timeouts, report);
    }
    out
}

fn inside(node: &Node, report: &mut Report) -> Vec<At<Ipv4Net>> {
    let list = one_or_more(node, "`inside`", MAX_ITEMS, "inside: [192.168.0.0/16]", report);
    let nets = list.iter().filter_map(|item| {
        let value = network(item, "`inside`", report)?;
        Some(At { value, at: item.at })
    });
    nets.collect()
}

fn filtering(nat: &Section<'_>, out: &mut Filtering, report: &mut Report) {
    let words = [
        ("endpoint-independent", Filter::EndpointIndependent),
        ("address-dependent", Filter::AddressDependent),
        ("address-and-port-dependent", Filter::AddressAndPortDependent),
    ];
    let Some(section) = nat.sub("filtering", &BY_PROTOCOL, report) else { return };
    for (key, value) in [("tcp", &mut out.tcp), ("udp", &mut out.udp)] {
        let given = section.get(key).and_then(|node| word(node, &format!("`{key}`"), &words, report));
        *value = given.unwrap_or(*value);
    }
}

fn when_full(nat: &Section<'_>, out: &mut WhenFull, report: &mut Report) {
    let words = [("refuse", Full::Refuse), ("share", Full::Share)];
    let Some(section) = nat.sub("when_full", &BY_PROTOCOL, report) else { return };
    if let Some(node) = section.get("tcp") {
        out.tcp = word(node, "`tcp`", &words, report).unwrap_or(out.tcp);
    }
    if let Some(node) = section.get("udp")
        && word(node, "`udp`", &words, report) == Some(Full::Share)
    {
        let message =
            "`udp` cannot be `share`: a shared port is no endpoint-independent mapping (RFC 4787 REQ-3)";
        report.add(
            node.at,
            message,
            "write `udp: refuse`; more addresses in the WAN's `pool` bring more ports",
        );
    }
}

fn share(nat: &Section<'_>, key: &str, most: u32, out: &mut Share, report: &mut Report) {
    let Some(node) = nat.get(key) else { return };
    let what = format!("`{key}`");
    *out = match &node.value {
        Value::Plain(text) if is_decimal(text) => {
            integer32(node, &what, 1..=most, &format!("{key}: 2000"), report).map_or(*out, Share::Limit)
        }
        _ => auto_or_number(node, &what, &[("auto", Share::Auto)], (1, most), report).unwrap_or(*out),
    };
}

fn mss_clamp(node: &Node, report: &mut Report) -> MssClamp {
    let (what, range) = ("`mss_clamp`", 536..=65_495);
    if let Value::Plain(text) = &node.value
        && is_decimal(text)
    {
        let given = integer32(node, what, range, "mss_clamp: 1452", report);
        return given.and_then(|n| u16::try_from(n).ok()).map_or(MssClamp::Auto, MssClamp::To);
    }
    let words = [("auto", MssClamp::Auto), ("never", MssClamp::Never)];
    auto_or_number(node, what, &words, (*range.start(), *range.end()), report).unwrap_or_default()
}

/// A word where a number might stand as well, which the hint has to say.
fn auto_or_number<T: Copy>(
    node: &Node,
    what: &str,
    words: &[(&str, T)],
    (low, high): (u32, u32),
    report: &mut Report,
) -> Option<T> {
    let given = match &node.value {
        Value::Plain(text) | Value::Quoted(text) => text,
        _ => return word(node, what, words, report),
    };
    let found = words.iter().find(|(name, _)| name == given).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let hint = match &node.value {
            Value::Quoted(text) if is_decimal(text) => "remove the quotes".to_owned(),
            _ => format!("one of {}, or a number from {low} to {high}", names.join(", ")),
        };
        report.add(node.at, format!("{what} cannot be {}", show(given)), hint);
    }
    found
}

/// The time alone, or a map.
fn quarantine(nat: &Section<'_>, node: &Node, out: &mut Quarantine, report: &mut Report) {
    let range = Nanos::ZERO..=Nanos::from_s(3600);
    if !matches!(node.value, Value::Map(_)) {
        out.time = span(node, "`quarantine`", range, None, report).unwrap_or(out.time);
        return;
    }
    let Some(section) = nat.sub("quarantine", &QUARANTINE, report) else { return };
    if let Some(node) = section.get("time") {
        out.time = span(node, "`time`", range, None, report).unwrap_or(out.time);
    }
    if let Some(node) = section.get("ports") {
        out.ports = integer32(node, "`ports`", 1..=65_536, "ports: 20000", report).unwrap_or(out.ports);
    }
}

fn log(node: &Node, report: &mut Report) -> Log {
    let mut out = Log::default();
    let list = match &node.value {
        Value::List(list) => list.as_slice(),
        _ => one_or_more(node, "`log`", MAX_ITEMS, "log: [mappings]", report),
    };
    for item in list {
        out.mappings |= word(item, "an item of `log`", &[("mappings", ())], report).is_some();
    }
    out
}

fn timeouts(section: &Section<'_>, out: &mut Timeouts, report: &mut Report) {
    let mut read = |key: &str, value: &mut Nanos, min: Nanos, why: Option<&str>| {
        if let Some(node) = section.get(key)
            && let Some(given) = span(node, &format!("`{key}`"), min..=DAY, why, report)
        {
            *value = given;
        }
    };
    read("tcp", &mut out.tcp, Nanos::from_s(2 * 3600 + 4 * 60), Some("RFC 5382 REQ-5"));
    read("tcp_transitory", &mut out.tcp_transitory, Nanos::from_s(10), None);
    for (key, value) in [("tcp_opening", &mut out.tcp_opening), ("tcp_closing", &mut out.tcp_closing)] {
        let mut given = Nanos::ZERO;
        read(key, &mut given, Nanos::from_s(10), None);
        *value = Some(given).filter(|given| *given > Nanos::ZERO);
    }
    read("udp", &mut out.udp, UDP_MIN, Some(UDP_RULE));
    read("icmp", &mut out.icmp, Nanos::from_s(60), Some("RFC 5508 REQ-2"));
    read("other", &mut out.other, OTHER_MIN, None);
    if let Some(node) = section.get("udp_ports") {
        out.udp_ports = udp_ports(node, report);
    }
}

fn udp_ports(node: &Node, report: &mut Report) -> Vec<(u16, Nanos)> {
    let mut out = Vec::new();
    for entry in entries(node, "`udp_ports`", report).unwrap_or_default() {
        let key = entry.key.as_str();
        let port = key.parse::<u16>().ok().filter(|port| is_decimal(key) && *port > 0);
        let Some(port) = port else {
            report.add(
                entry.at,
                format!("{} is no UDP port", show(key)),
                "a number from 1 to 65535, as `53: 10s`",
            );
            continue;
        };
        // REQ-5a lets only well-known ports go below.
        if out.len() == UDP_PORTS {
            report.add(
                entry.at,
                format!("more than {UDP_PORTS} ports in `udp_ports`"),
                "keep those that matter; the others take `udp`",
            );
            break;
        }
        let (min, why) = match port {
            0..=1023 => (Nanos::from_s(1), None),
            _ => (UDP_MIN, Some("RFC 4787 REQ-5; only ports below 1024 may go lower")),
        };
        if let Some(given) = span(&entry.node, &format!("`{port}`"), min..=DAY, why, report) {
            out.push((port, given));
        }
    }
    out.sort_unstable();
    out
}
