//! The sections `forwards` and `one_to_one`: what is let in, and for whom.
//!
//! Here each value is judged alone; `outside` looks up the WANs and compares addresses and ports. A range of outside
//! ports leads to a range as long, of which only the first port is given. At most `MAX_ENTRIES` of each.

use std::net::Ipv4Addr;

use crate::base::Ipv4Net;

use super::mistake::{Report, show};
use super::raw::At;
use super::rule_types::WhenDown;
use super::schema::{FORWARD, ONE_TO_ONE, Section, items};
use super::tree::{Node, Value};
use super::types::{MAX_WANS, Position};
use super::value::{address, is_decimal, text, word};
use super::vocabulary::{TCP, UDP, networks, one_or_more, port_range, protocols};

/// The most forwards, and the most one-to-one addresses.
pub(super) const MAX_ENTRIES: usize = 4096;

pub(super) struct RawForward {
    pub(super) at: Position,
    /// `None`: every WAN.
    pub(super) wans: Option<Vec<At<String>>>,
    pub(super) protocols: Vec<u8>,
    pub(super) ports: Option<At<(u16, u16)>>,
    pub(super) from: Vec<Ipv4Net>,
    /// The host and the first port there; `None`: the outside one.
    pub(super) to: Option<At<(Ipv4Addr, Option<u16>)>>,
}

pub(super) struct RawOneToOne {
    pub(super) at: Position,
    pub(super) wan: Option<At<String>>,
    pub(super) outside: Option<At<Ipv4Addr>>,
    pub(super) inside: Option<At<Ipv4Addr>>,
    pub(super) when_down: WhenDown,
}

pub(super) fn forwards(top: &Section<'_>, report: &mut Report) -> Vec<RawForward> {
    let example = "forwards: [{ protocol: tcp, port: 8443, to: \"192.168.10.11:8443\" }]";
    let mut out = Vec::new();
    for item in bounded(top, "forwards", example, report) {
        let Some(section) = FORWARD.open(item, item.at, "a forward", report) else { continue };
        let wans = section.get("wans").map(|node| {
            let list = one_or_more(node, "`wans`", MAX_WANS, "wans: [isp1]", report);
            let names = list.iter().filter_map(|item| name(item, "`wans`", report));
            names.collect()
        });
        let protocols =
            section.require("protocol", "protocol: tcp", report).map(|node| tcp_or_udp(node, report));
        let ports = section.require("port", "port: 8443", report).and_then(|node| {
            if let Value::List(_) = node.value {
                let hint = "one number or one range a forward; write a forward for each";
                report.add(node.at, "`port` cannot be a list here", hint);
                return None;
            }
            Some(At { value: port_range(node, report)?, at: node.at })
        });
        let to = section.require("to", "to: \"192.168.10.11:8443\"", report);
        let to = to.and_then(|node| target(node, report));
        fits(ports.as_ref(), to.as_ref(), report);
        let from = networks(&section, "from", report);
        out.push(RawForward { at: item.at, wans, protocols: protocols.unwrap_or_default(), ports, from, to });
    }
    out
}

pub(super) fn one_to_one(top: &Section<'_>, report: &mut Report) -> Vec<RawOneToOne> {
    let example = "one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.20 }]";
    let mut out = Vec::new();
    for item in bounded(top, "one_to_one", example, report) {
        let Some(section) = ONE_TO_ONE.open(item, item.at, "a one-to-one address", report) else { continue };
        let wan = section.require("wan", "wan: isp1", report).and_then(|node| name(node, "`wan`", report));
        let mut side = |key: &str, example: &str| {
            let node = section.require(key, &format!("{key}: {example}"), report)?;
            Some(At { value: address(node, &format!("`{key}`"), report)?, at: node.at })
        };
        let (outside, inside) = (side("outside", "203.0.113.4"), side("inside", "192.168.10.20"));
        let words = [("drop", WhenDown::Drop), ("masquerade", WhenDown::Masquerade)];
        let when_down = section.get("when_down").and_then(|node| word(node, "`when_down`", &words, report));
        out.push(RawOneToOne { at: item.at, wan, outside, inside, when_down: when_down.unwrap_or_default() });
    }
    out
}

/// The items of the list `key`, at most `MAX_ENTRIES`.
fn bounded<'t>(top: &Section<'t>, key: &str, example: &str, report: &mut Report) -> &'t [Node] {
    let Some(node) = top.get(key) else { return &[] };
    let list = items(node, &format!("`{key}`"), example, report).unwrap_or_default();
    if let Some(extra) = list.get(MAX_ENTRIES) {
        report.add(
            extra.at,
            format!("more than {MAX_ENTRIES} items in `{key}`"),
            "remove items from here on",
        );
    }
    list.get(..MAX_ENTRIES).unwrap_or(list)
}

fn name(node: &Node, what: &str, report: &mut Report) -> Option<At<String>> {
    let name = text(node, what, "the name of a WAN", "isp1", report)?;
    Some(At { value: name.to_owned(), at: node.at })
}

fn tcp_or_udp(node: &Node, report: &mut Report) -> Vec<u8> {
    let given = protocols(node, report);
    if given.iter().any(|protocol| ![TCP, UDP].contains(protocol)) {
        let hint = "only tcp and udp have ports; `one_to_one` lets the others in";
        report.add(node.at, "a forward needs protocols that have ports", hint);
    }
    given
}

/// `192.168.10.11` or `192.168.10.11:8443`.
fn target(node: &Node, report: &mut Report) -> Option<At<(Ipv4Addr, Option<u16>)>> {
    let example = "to: \"192.168.10.11:8443\"";
    let given = text(node, "`to`", "an address, with a port or without", example, report)?;
    let (host, port) = given.split_once(':').map_or((given, None), |(host, port)| (host, Some(port)));
    let number = port.map(|port| port.parse::<u16>().ok().filter(|n| is_decimal(port) && *n > 0));
    let hint = match (host.parse(), number, port) {
        (Ok(host), None, _) => return Some(At { value: (host, None), at: node.at }),
        (Ok(host), Some(Some(number)), _) => {
            return Some(At { value: (host, Some(number)), at: node.at });
        }
        (Ok(_), Some(None), Some(port)) if port.contains('-') => {
            "give the first port alone; the range there is as long as `port`"
        }
        (Ok(_), ..) => "the port is a number from 1 to 65535",
        _ if given.contains('/') => "one host, without a prefix length",
        _ => "an IPv4 address, then a port after a colon, as `\"192.168.10.11:8443\"`",
    };
    report.add(node.at, format!("`to` leads nowhere: {}", show(given)), hint);
    None
}

/// The last port of the range has to exist there too.
fn fits(ports: Option<&At<(u16, u16)>>, to: Option<&At<(Ipv4Addr, Option<u16>)>>, report: &mut Report) {
    let Some(At { value: (first, last), .. }) = ports else { return };
    let Some(At { value: (_, Some(to)), at }) = to else { return };
    let last = u32::from(last.saturating_sub(*first)).saturating_add(u32::from(*to));
    if last > 65_535 {
        let message = format!("the ports there would end at {last}");
        report.add(*at, message, "there is none above 65535; choose a lower first port");
    }
}
