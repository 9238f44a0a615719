//! The sections whose values stand for themselves: engine, nat, icmp, management.
//!
//! Each reader begins with the defaults and overwrites what is given and right. A value that is wrong has been
//! reported; its default stays, which nobody sees, as a profile with a mistake is never returned.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::base::Nanos;

use super::mistake::{Report, show};
use super::nat_types::{Nat, Timeouts};
use super::schema::{ENGINE, ICMP, MANAGEMENT, NAT, Section, TIMEOUTS, entries, items};
use super::tree::Node;
use super::types::{Engine, Hugepages, Icmp, Idle, Management};
use super::value::{boolean, integer, integer32, is_decimal, span, text, word};

/// The packet library's limit of threads.
const MAX_WORKERS: usize = 128;
/// The packet library's limit of core numbers that is asked of it.
const MAX_CORE: u64 = 1023;
const DAY: Nanos = Nanos::from_s(24 * 3600);
const UDP_MIN: Nanos = Nanos::from_s(120);
const UDP_RULE: &str = "RFC 4787 REQ-5";
/// `sun_path` less its closing zero.
const MAX_SOCKET: usize = 107;

pub(super) fn engine(top: &Section<'_>, report: &mut Report) -> Engine {
    let mut out = Engine::default();
    let Some(section) = top.sub("engine", &ENGINE, report) else { return out };
    let mut lines = HashMap::new();
    if let Some(node) = section.get("workers") {
        out.workers = workers(node, &mut lines, report);
    }
    if let Some(node) = section.get("manager") {
        out.manager = core(node, "`manager`", &mut lines, report);
    }
    if let Some(node) = section.get("sessions")
        && let Some(n) = integer32(node, "`sessions`", 1024..=16_515_072, "sessions: 1000000", report)
    {
        out.sessions = n;
    }
    if let Some(node) = section.get("hugepages") {
        let words =
            [("auto", Hugepages::Auto), ("required", Hugepages::Required), ("never", Hugepages::Never)];
        out.hugepages = word(node, "`hugepages`", &words, report).unwrap_or_default();
    }
    if let Some(node) = section.get("idle") {
        let words = [("auto", Idle::Auto), ("poll", Idle::Poll), ("sleep", Idle::Sleep)];
        out.idle = word(node, "`idle`", &words, report).unwrap_or_default();
    }
    if let Some(node) = section.get("eal") {
        for item in items(node, "`eal`", "eal: [\"--log-level=7\"]", report).unwrap_or_default() {
            let Some(argument) = text(item, "an argument in `eal`", "a text", "\"--log-level=7\"", report)
            else {
                continue;
            };
            if argument.is_empty() || argument.contains(char::is_control) {
                let message = format!("{} cannot be an argument", show(argument));
                report.add(item.at, message, "one argument an item, without line breaks");
            }
            out.eal.push(argument.to_owned());
        }
    }
    out
}

fn workers(node: &Node, lines: &mut HashMap<u64, u32>, report: &mut Report) -> Option<Vec<usize>> {
    let list = items(node, "`workers`", "workers: [2, 3]", report)?;
    if list.is_empty() {
        let hint =
            "name the cores, as `workers: [2, 3]`; without the key every allowed core but the first works";
        report.add(node.at, "`workers` is empty", hint);
    }
    if let Some(extra) = list.get(MAX_WORKERS) {
        report.add(extra.at, format!("more than {MAX_WORKERS} workers"), "remove cores from here on");
        return None;
    }
    Some(list.iter().filter_map(|item| core(item, "a core in `workers`", lines, report)).collect())
}

fn core(node: &Node, what: &str, lines: &mut HashMap<u64, u32>, report: &mut Report) -> Option<usize> {
    let core = integer(node, what, 0..=MAX_CORE, "2", report)?;
    if let Some(line) = lines.get(&core) {
        let message = format!("core {core} is given twice");
        report.add(node.at, message, format!("line {line} has it already; a thread needs a core of its own"));
        return None;
    }
    lines.insert(core, node.at.line);
    usize::try_from(core).ok()
}

pub(super) fn nat(top: &Section<'_>, report: &mut Report) -> Nat {
    let mut out = Timeouts::default();
    let section = top.sub("nat", &NAT, report);
    let Some(section) = section.and_then(|nat| nat.sub("timeouts", &TIMEOUTS, report)) else {
        return Nat::default();
    };
    let mut read = |key: &str, value: &mut Nanos, min: Nanos, why: Option<&str>| {
        if let Some(node) = section.get(key)
            && let Some(given) = span(node, &format!("`{key}`"), min..=DAY, why, report)
        {
            *value = given;
        }
    };
    read("tcp", &mut out.tcp, Nanos::from_s(2 * 3600 + 4 * 60), Some("RFC 5382 REQ-5"));
    read("tcp_transitory", &mut out.tcp_transitory, Nanos::from_s(10), None);
    read("udp", &mut out.udp, UDP_MIN, Some(UDP_RULE));
    read("icmp", &mut out.icmp, Nanos::from_s(60), Some("RFC 5508 REQ-2"));
    if let Some(node) = section.get("udp_ports") {
        out.udp_ports = udp_ports(node, report);
    }
    Nat { timeouts: out, ..Nat::default() }
}

/// Ports with a timeout of their own, at most: a session has a byte to name its own.
const UDP_PORTS: usize = 240;

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

pub(super) fn icmp(top: &Section<'_>, report: &mut Report) -> Icmp {
    let mut out = Icmp::default();
    let Some(section) = top.sub("icmp", &ICMP, report) else { return out };
    if let Some(node) = section.get("errors_per_second")
        && let Some(n) =
            integer32(node, "`errors_per_second`", 1..=1_000_000, "errors_per_second: 1000", report)
    {
        out.errors_per_second = n;
    }
    if let Some(node) = section.get("time_exceeded")
        && let Some(given) = boolean(node, "`time_exceeded`", report)
    {
        out.time_exceeded = given;
    }
    out
}

pub(super) fn management(top: &Section<'_>, report: &mut Report) -> Management {
    let out = Management::default();
    let Some(section) = top.sub("management", &MANAGEMENT, report) else { return out };
    let Some(node) = section.get("socket") else { return out };
    let example = "socket: /run/turnout/turnout.sock";
    let Some(path) = text(node, "`socket`", "a path", example, report) else { return out };
    let (message, hint) = if !path.starts_with('/') {
        ("`socket` must be an absolute path", "begin it with `/`")
    } else if path.len() > MAX_SOCKET {
        ("`socket` is longer than 107 bytes", "Linux takes no longer path for a socket; choose a shorter one")
    } else if path.contains(char::is_control) {
        ("`socket` has control characters", "choose a plain path")
    } else if path.ends_with('/') {
        ("`socket` names a folder", "add the name of the socket itself")
    } else {
        return Management { socket: PathBuf::from(path), ..out };
    };
    report.add(node.at, message, hint);
    out
}
