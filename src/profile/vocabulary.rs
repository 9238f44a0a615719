//! The words that rules share: networks, address ranges, protocols, port ranges.
//!
//! Where one value is enough, a scalar stands for a list of one. Networks may not have host bits, and a lone address
//! is one host. What is read comes out in one form whatever the order it was given in: sorted, nothing twice, ranges
//! that touch joined. Lists are bounded by `MAX_ITEMS`, as a packet may have to be compared with every item.

use std::net::Ipv4Addr;

use crate::base::Ipv4Net;

use super::mistake::{Report, closest, show};
use super::raw::At;
use super::schema::Section;
use super::tree::{Node, Value};
use super::value::{integer, is_decimal, text, wrong_type};

/// The most items of one list.
pub(super) const MAX_ITEMS: usize = 256;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// Protocols by name (IANA's assigned numbers).
const PROTOCOLS: [(&str, u8); 8] = [
    ("tcp", TCP),
    ("udp", UDP),
    ("icmp", 1),
    ("esp", 50),
    ("gre", 47),
    ("ah", 51),
    ("sctp", 132),
    ("ipip", 4),
];

/// The items of a list that is not empty, or the scalar alone. More than `most` are a mistake.
pub(super) fn one_or_more<'t>(
    node: &'t Node,
    what: &str,
    most: usize,
    example: &str,
    report: &mut Report,
) -> &'t [Node] {
    match &node.value {
        Value::List(list) if list.is_empty() => {
            report.add(node.at, format!("{what} is empty"), format!("write it as `{example}`"));
        }
        Value::List(list) => {
            if let Some(extra) = list.get(most) {
                let message = format!("more than {most} items in {what}");
                report.add(extra.at, message, "remove items from here on");
            }
            return list.get(..most).unwrap_or(list);
        }
        Value::Plain(_) | Value::Quoted(_) => return std::slice::from_ref(node),
        _ => wrong_type(node, what, "a value or a list", example, report),
    }
    &[]
}

/// The networks under `key`; empty if it is not given, or if everything is among them.
pub(super) fn networks(section: &Section<'_>, key: &str, report: &mut Report) -> Vec<Ipv4Net> {
    let nodes = section.get(key).map(|node| {
        let example = format!("{key}: 192.0.2.0/24");
        one_or_more(node, &format!("`{key}`"), MAX_ITEMS, &example, report)
    });
    let nodes = nodes.unwrap_or_default();
    let nets = nodes.iter().filter_map(|node| network(node, &format!("`{key}`"), report));
    tidy(nets.collect())
}

/// Sorted, none twice; empty if everything is among them.
pub(super) fn tidy(mut nets: Vec<Ipv4Net>) -> Vec<Ipv4Net> {
    if nets.iter().any(|net| net.len == 0) {
        nets.clear();
    }
    nets.sort_unstable();
    nets.dedup();
    nets
}

/// A network, or an address as the network of one host.
pub(super) fn network(node: &Node, what: &str, report: &mut Report) -> Option<Ipv4Net> {
    if let Value::Plain(given) | Value::Quoted(given) = &node.value
        && let Ok(addr) = given.parse()
    {
        return Some(Ipv4Net { addr, len: 32 });
    }
    let net = super::value::network(node, what, report)?;
    if net.addr == net.network() {
        return Some(net);
    }
    let message = format!("{net} is an address in a network, not a network");
    let hint = format!("write `{}/{}`, or `{}` for one host", net.network(), net.len, net.addr);
    report.add(node.at, message, hint);
    None
}

/// `192.0.2.1`, `192.0.2.0/28` or `192.0.2.1-192.0.2.9`, as its first and last address.
pub(super) fn range(node: &Node, what: &str, report: &mut Report) -> Option<At<(Ipv4Addr, Ipv4Addr)>> {
    let at = node.at;
    if let Value::Plain(given) | Value::Quoted(given) = &node.value
        && let Some((first, last)) = given.split_once('-')
    {
        let (Ok(first), Ok(last)) = (first.parse::<Ipv4Addr>(), last.parse::<Ipv4Addr>()) else {
            let message = format!("{what} is no range of addresses: {}", show(given));
            report.add(at, message, "two IPv4 addresses with a `-` between, as `192.0.2.1-192.0.2.9`");
            return None;
        };
        if first > last {
            report.add(at, format!("the range {given} ends before it begins"), "put the lower address first");
            return None;
        }
        return Some(At { value: (first, last), at });
    }
    let net = network(node, what, report)?;
    Some(At { value: (net.addr, net.last()), at })
}

/// The protocols of `node`: names or numbers.
pub(super) fn protocols(node: &Node, report: &mut Report) -> Vec<u8> {
    let example = "protocol: [tcp, udp]";
    let nodes = one_or_more(node, "`protocol`", MAX_ITEMS, example, report);
    let mut out: Vec<u8> = nodes.iter().filter_map(|node| protocol(node, report)).collect();
    out.sort_unstable();
    out.dedup();
    out
}

fn protocol(node: &Node, report: &mut Report) -> Option<u8> {
    let what = "a protocol";
    if let Value::Plain(given) = &node.value
        && is_decimal(given)
    {
        return integer(node, what, 1..=255, "89", report).and_then(|n| u8::try_from(n).ok());
    }
    let given = text(node, what, "a name or a number", "tcp", report)?;
    let found = PROTOCOLS.iter().find(|(name, _)| *name == given).map(|(_, number)| *number);
    if found.is_none() {
        let names = PROTOCOLS.iter().map(|(name, _)| *name);
        let hint = match closest(given, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {}, or a number from 1 to 255", names.collect::<Vec<_>>().join(", ")),
        };
        report.add(node.at, format!("no protocol is called {}", show(given)), hint);
    }
    found
}

/// The ports of `node`, each a number or a range; sorted, those that touch joined.
pub(super) fn ports(node: &Node, report: &mut Report) -> Vec<(u16, u16)> {
    let nodes = one_or_more(node, "`port`", MAX_ITEMS, "port: [25, 443, 8000-8100]", report);
    let mut given: Vec<(u16, u16)> = nodes.iter().filter_map(|node| port_range(node, report)).collect();
    given.sort_unstable();
    let mut out: Vec<(u16, u16)> = Vec::with_capacity(given.len());
    for (first, last) in given {
        match out.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out
}

/// `443` or `8000-8100`, both ends included, from 1 up.
pub(super) fn port_range(node: &Node, report: &mut Report) -> Option<(u16, u16)> {
    let example = "port: 443";
    if let Value::Plain(given) | Value::Quoted(given) = &node.value
        && let Some((first, last)) = given.split_once('-')
    {
        let fit = |text: &str| text.parse::<u16>().ok().filter(|port| is_decimal(text) && *port > 0);
        let (Some(first), Some(last)) = (fit(first), fit(last)) else {
            let message = format!("`port` is no range of ports: {}", show(given));
            report.add(node.at, message, "two numbers from 1 to 65535, as `8000-8100`");
            return None;
        };
        if first > last {
            let message = format!("the range {given} ends before it begins");
            report.add(node.at, message, format!("write `{last}-{first}`"));
            return None;
        }
        return Some((first, last));
    }
    let port = integer(node, "`port`", 1..=65535, example, report).and_then(|n| u16::try_from(n).ok())?;
    Some((port, port))
}
