//! The section `cluster`: what a pair's profile says of its two members, key by key.
//!
//! Each value is judged alone, and those of this section that depend on each other: `timeout` and `every`, `mac` and `vrid`. `members` makes
//! a profile for each member out of the rest of the file, `pair` judges what has to fit between the two. A virtual address is read once and put
//! where the interfaces are read, so that every rule between addresses counts it.

use std::path::PathBuf;

use crate::base::{Ipv4Net, Nanos};

use super::cluster_types::ClusterFailback;
use super::health::{DAY, given_span};
use super::mistake::{Report, show};
use super::raw::At;
use super::schema::{
    CLUSTER, CLUSTER_STATUS, CLUSTER_VIRTUAL, FAILBACK, HEARTBEAT, HEARTBEAT_PATH, Section, entries, items,
};
use super::settings::path;
use super::tree::{Entry, Node, Value};
use super::types::Position;
use super::value::{integer32, network, show_span, text, word};
use super::vocabulary;

/// The most networks over which the members hear each other.
const MAX_PATHS: usize = 8;
/// The most virtual addresses.
const MAX_VIRTUALS: usize = 64;
/// The longest name of a member, as a beat has room for.
const MAX_NAME: usize = 16;
/// `PATH_MAX` less its closing zero.
const MAX_PATH: usize = 4095;

pub(super) struct RawCluster<'t> {
    /// In the order of the file; two, unless that was a mistake.
    pub(super) members: Vec<RawMember<'t>>,
    /// Where to report what no path has.
    pub(super) paths_at: Position,
    pub(super) paths: Vec<At<String>>,
    /// Every path could be read, and there is one.
    pub(super) paths_known: bool,
    pub(super) port: u16,
    pub(super) every: Nanos,
    pub(super) timeout: Nanos,
    pub(super) key_file: PathBuf,
    pub(super) preferred: Option<At<String>>,
    pub(super) failback: ClusterFailback,
    pub(super) virtuals: Vec<RawVirtual>,
    pub(super) status: Option<RawStatus>,
}

pub(super) struct RawMember<'t> {
    pub(super) name: &'t str,
    pub(super) at: Position,
    pub(super) overlay: &'t Node,
}

pub(super) struct RawVirtual {
    pub(super) interface: At<String>,
    /// `None`: it could not be read.
    pub(super) address: Option<At<Ipv4Net>>,
    /// The number that its MAC ends with; `None`: it goes with the interface's own.
    pub(super) vrid: Option<At<u8>>,
}

pub(super) struct RawStatus {
    pub(super) interface: At<String>,
    pub(super) port: At<u16>,
    pub(super) from: Option<Ipv4Net>,
}

/// The section `cluster` of a document.
pub(super) fn of(root: &Node) -> Option<&Entry> {
    let Value::Map(entries) = &root.value else { return None };
    entries.iter().find(|entry| entry.key == "cluster")
}

/// `None` if it is no map.
pub(super) fn read<'t>(entry: &'t Entry, report: &mut Report) -> Option<RawCluster<'t>> {
    let section = CLUSTER.open(&entry.node, entry.at, "`cluster`", report)?;
    let mut out = RawCluster {
        members: members(&section, report),
        paths_at: entry.at,
        paths: Vec::new(),
        paths_known: false,
        port: 9000,
        every: Nanos::from_ms(100),
        timeout: Nanos::from_ms(500),
        key_file: PathBuf::new(),
        preferred: None,
        failback: ClusterFailback { automatic: true, after: Nanos::from_s(60) },
        virtuals: virtuals(&section, report),
        status: status(&section, report),
    };
    let example = "heartbeat: { paths: [{ interface: lan }], key_file: /etc/turnout/cluster.key }";
    if section.require("heartbeat", example, report).is_some()
        && let Some(heartbeat) = section.sub("heartbeat", &HEARTBEAT, report)
    {
        self::heartbeat(&heartbeat, &mut out, report);
    }
    if let Some(node) = section.get("preferred") {
        out.preferred = preferred(node, &out.members, report);
    }
    if let Some(failback) = section.sub("failback", &FAILBACK, report) {
        self::failback(&failback, &mut out.failback, report);
    }
    Some(out)
}

fn members<'t>(section: &Section<'t>, report: &mut Report) -> Vec<RawMember<'t>> {
    let example = "members: { a: {}, b: {} }";
    let mut out = Vec::new();
    let Some(node) = section.require("members", example, report) else { return out };
    let Some(given) = entries(node, "`members`", report) else { return out };
    let at = section.entry("members").map_or(section.at, |entry| entry.at);
    if given.len() < 2 {
        report.add(at, "a cluster has two members", format!("name both, as `{example}`"));
    }
    if let Some(extra) = given.get(2) {
        report.add(extra.at, "more than two members", "a pair is all that there is; remove the others");
    }
    for entry in given.iter().take(2) {
        let name = entry.key.as_str();
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|b| b.is_ascii_graphic()) {
            let hint = format!("1 to {MAX_NAME} printable ASCII characters without blanks");
            report.add(entry.at, format!("{} cannot be a member's name", show(name)), hint);
        }
        let what = format!("the overlay of member {}", show(name));
        let overlay = entries(&entry.node, &what, report);
        for key in overlay.unwrap_or_default() {
            if ["version", "cluster"].contains(&key.key.as_str()) {
                let message = format!("{} cannot differ between members", show(&key.key));
                report.add(key.at, message, "remove it here; the file says it once for both");
            }
        }
        if overlay.is_some() {
            out.push(RawMember { name, at: entry.at, overlay: &entry.node });
        }
    }
    out
}

fn heartbeat(section: &Section<'_>, out: &mut RawCluster<'_>, report: &mut Report) {
    paths(section, out, report);
    if let Some(node) = section.get("port") {
        out.port = port(node, "port: 9000", report).unwrap_or(out.port);
    }
    let every = given_span(section, "every", Nanos::from_ms(1)..=Nanos::from_s(10), &mut out.every, report);
    let range = Nanos::from_ms(2)..=Nanos::from_s(60);
    let timeout = given_span(section, "timeout", range, &mut out.timeout, report);
    let least = Nanos(out.every.0.saturating_mul(2));
    let place = if timeout { "timeout" } else { "every" };
    if out.timeout <= least && (every || timeout) {
        let message = format!("`timeout` {} is not longer than two of `every`", show_span(out.timeout));
        let hint = format!("one lost beat must not look like a lost partner; more than {}", show_span(least));
        report.add(section.get(place).map_or(section.at, |node| node.at), message, hint);
    }
    let example = "key_file: /etc/turnout/cluster.key";
    let Some(node) = section.require("key_file", example, report) else { return };
    let Some(given) = path(node, "key_file", "the path of a file", example, MAX_PATH, report) else { return };
    if given.ends_with('/') {
        report.add(node.at, "`key_file` names a folder", "add the name of the file itself");
    }
    out.key_file = PathBuf::from(given);
}

fn paths(section: &Section<'_>, out: &mut RawCluster<'_>, report: &mut Report) {
    let example = "paths: [{ interface: lan }]";
    out.paths_at = section.entry("paths").map_or(section.at, |entry| entry.at);
    let Some(node) = section.require("paths", example, report) else { return };
    let Some(list) = items(node, "`paths`", example, report) else { return };
    if list.is_empty() {
        report.add(node.at, "`paths` is empty", format!("name what both are on, as `{example}`"));
    }
    if let Some(extra) = list.get(MAX_PATHS) {
        report.add(extra.at, format!("more than {MAX_PATHS} paths"), "remove paths from here on");
    }
    for item in list.iter().take(MAX_PATHS) {
        let Some(section) = HEARTBEAT_PATH.open(item, item.at, "a path", report) else { continue };
        out.paths.extend(interface(&section, report));
    }
    out.paths_known = !list.is_empty() && out.paths.len() == list.len();
}

/// The name under `interface`, which has to be there.
fn interface(section: &Section<'_>, report: &mut Report) -> Option<At<String>> {
    let example = "interface: lan";
    let node = section.require("interface", example, report)?;
    let name = text(node, "`interface`", "the name of an interface", example, report)?;
    Some(At { value: name.to_owned(), at: node.at })
}

fn port(node: &Node, example: &str, report: &mut Report) -> Option<u16> {
    integer32(node, "`port`", 1..=65535, example, report).and_then(|port| u16::try_from(port).ok())
}

fn preferred(node: &Node, members: &[RawMember<'_>], report: &mut Report) -> Option<At<String>> {
    let given = text(node, "`preferred`", "the name of a member", "preferred: a", report)?;
    if members.len() == 2 && !members.iter().any(|member| member.name == given) {
        let names: Vec<String> = members.iter().map(|member| show(member.name)).collect();
        let message = format!("no member is called {}", show(given));
        report.add(node.at, message, format!("there are {}", names.join(", ")));
    }
    Some(At { value: given.to_owned(), at: node.at })
}

fn failback(section: &Section<'_>, out: &mut ClusterFailback, report: &mut Report) {
    if let Some(node) = section.get("mode") {
        let words = [("automatic", true), ("manual", false)];
        out.automatic = word(node, "`mode`", &words, report).unwrap_or(true);
    }
    given_span(section, "after", Nanos::ZERO..=DAY, &mut out.after, report);
    if let (false, Some(node)) = (out.automatic, section.get("after")) {
        let hint = "remove it, or say `mode: automatic`; by hand there is nothing to wait for";
        report.add(node.at, "`after` does nothing where `mode` is `manual`", hint);
    }
}

fn virtuals(section: &Section<'_>, report: &mut Report) -> Vec<RawVirtual> {
    let example = "virtual: [{ interface: lan, address: 192.168.10.1/24, vrid: 17 }]";
    let Some(node) = section.get("virtual") else { return Vec::new() };
    let list = items(node, "`virtual`", example, report).unwrap_or_default();
    if let Some(extra) = list.get(MAX_VIRTUALS) {
        let message = format!("more than {MAX_VIRTUALS} virtual addresses");
        report.add(extra.at, message, "remove them from here on");
    }
    list.iter().take(MAX_VIRTUALS).filter_map(|item| one_virtual(item, report)).collect()
}

fn one_virtual(item: &Node, report: &mut Report) -> Option<RawVirtual> {
    let section = CLUSTER_VIRTUAL.open(item, item.at, "a virtual address", report)?;
    let interface = interface(&section, report);
    let address = section.require("address", "address: 192.168.10.1/24", report).and_then(|node| {
        let value = network(node, "`address`", report)?;
        Some(At { value, at: node.at })
    });
    let words = [("virtual", true), ("own", false)];
    // Of a word that is no answer nothing follows.
    let mac = section.get("mac").map_or(Some(true), |node| word(node, "`mac`", &words, report));
    let vrid = match (mac, section.get("vrid")) {
        (Some(true), _) => section.require("vrid", "vrid: 17", report),
        (Some(false), Some(node)) => {
            let hint = "remove it, or say `mac: virtual`; its number is the end of the virtual MAC";
            report.add(node.at, "`vrid` does nothing where `mac` is `own`", hint);
            None
        }
        _ => None,
    };
    let vrid = vrid.and_then(|node| {
        let given = integer32(node, "`vrid`", 1..=255, "vrid: 17", report)?;
        Some(At { value: u8::try_from(given).ok()?, at: node.at })
    });
    Some(RawVirtual { interface: interface?, address, vrid })
}

fn status(section: &Section<'_>, report: &mut Report) -> Option<RawStatus> {
    let section = section.sub("status", &CLUSTER_STATUS, report)?;
    let interface = interface(&section, report);
    let mut number = At { value: 8080, at: section.at };
    if let Some(node) = section.get("port") {
        number = At { value: port(node, "port: 8080", report).unwrap_or(number.value), at: node.at };
    }
    let from = section.get("from").and_then(|node| vocabulary::network(node, "`from`", report));
    Some(RawStatus { interface: interface?, port: number, from })
}
