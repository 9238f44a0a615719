//! What happens when a WAN is left: the sections `on_failover`, `on_failback` and `hooks`.
//!
//! Each reader begins with the defaults and overwrites what is given and right; a rule of `policy` begins with the
//! profile's own `on_failover`. The event `role` wants the section `cluster`: a hook that nothing would ever start is refused. Whether a hook's program is there is for those who run it.

use std::path::PathBuf;

use crate::base::Nanos;

use super::group_types::{Fate, Hook, HookEvent, OnFailback, OnFailover, TcpFate};
use super::health::{DAY, given_span};
use super::mistake::{Report, show};
use super::schema::{BY_PROTOCOL, HOOK, ON_FAILBACK, ON_FAILOVER, ON_FAILOVER_TCP, Section, items};
use super::settings::path;
use super::tree::Node;
use super::value::word;
use super::vocabulary::one_or_more;

/// The most hooks; each event may start all of them.
const MAX_HOOKS: usize = 16;
/// `PATH_MAX` less its closing zero.
const MAX_PATH: usize = 4095;

const FATES: [(&str, Fate); 2] = [("rebind", Fate::Rebind), ("drop", Fate::Drop)];

/// Reads `on_failover`, the profile's or a rule's, over `out`.
pub(super) fn on_failover(parent: &Section<'_>, out: &mut OnFailover, report: &mut Report) {
    let Some(section) = parent.sub("on_failover", &ON_FAILOVER, report) else { return };
    if let Some(tcp) = section.sub("tcp", &ON_FAILOVER_TCP, report) {
        let range = Nanos::ZERO..=Nanos::from_s(3600);
        given_span(&tcp, "reset_after", range, &mut out.tcp_reset_after, report);
    }
    for (key, value) in [("udp", &mut out.udp), ("icmp", &mut out.icmp)] {
        let given = section.get(key).and_then(|node| word(node, &format!("`{key}`"), &FATES, report));
        *value = given.unwrap_or(*value);
    }
}

pub(super) fn on_failback(top: &Section<'_>, report: &mut Report) -> OnFailback {
    let mut out = OnFailback::default();
    let Some(section) = top.sub("on_failback", &ON_FAILBACK, report) else { return out };
    for (key, value) in [("drain", &mut out.drain), ("metered", &mut out.metered)] {
        given_span(&section, key, Nanos::ZERO..=DAY, value, report);
    }
    let Some(then) = section.sub("then", &BY_PROTOCOL, report) else { return out };
    if let Some(node) = then.get("tcp") {
        let words = [("reset", TcpFate::Reset), ("keep", TcpFate::Keep)];
        out.tcp = word(node, "`tcp`", &words, report).unwrap_or_default();
    }
    if let Some(node) = then.get("udp") {
        out.udp = word(node, "`udp`", &FATES, report).unwrap_or_default();
    }
    out
}

pub(super) fn hooks(top: &Section<'_>, report: &mut Report) -> Vec<Hook> {
    let example = "hooks: [{ event: [failover, failback], run: /etc/turnout/hooks/ddns }]";
    let Some(node) = top.get("hooks") else { return Vec::new() };
    let list = items(node, "`hooks`", example, report).unwrap_or_default();
    if let Some(extra) = list.get(MAX_HOOKS) {
        report.add(extra.at, format!("more than {MAX_HOOKS} hooks"), "let one program tell others");
    }
    let mut out = Vec::new();
    for item in list.iter().take(MAX_HOOKS) {
        let Some(section) = HOOK.open(item, item.at, "a hook", report) else { continue };
        let events = section.require("event", "event: [failover]", report).map(|node| {
            let events = events(node, report);
            without_cluster(top, node, &events, report);
            events
        });
        let run = section
            .require("run", "run: /etc/turnout/hooks/ddns", report)
            .and_then(|node| program(node, report));
        if let (Some(events), Some(run)) = (events, run) {
            out.push(Hook { events, run });
        }
    }
    out
}

fn events(node: &Node, report: &mut Report) -> Vec<HookEvent> {
    let words = [
        ("failover", HookEvent::Failover),
        ("failback", HookEvent::Failback),
        ("address", HookEvent::Address),
        ("role", HookEvent::Role),
    ];
    let mut out: Vec<HookEvent> = Vec::new();
    for item in one_or_more(node, "`event`", words.len() * 2, "event: [failover]", report) {
        let Some(event) = word(item, "`event`", &words, report) else { continue };
        if out.contains(&event) {
            let name = words.iter().find(|(_, known)| *known == event).map_or("", |(name, _)| *name);
            report.add(item.at, format!("the event {} is given twice", show(name)), "keep one of them");
        } else {
            out.push(event);
        }
    }
    out.sort_unstable();
    out
}

/// There is no role to change without a cluster.
fn without_cluster(top: &Section<'_>, node: &Node, events: &[HookEvent], report: &mut Report) {
    if events.contains(&HookEvent::Role) && top.get("cluster").is_none() {
        let hint = "remove it; a router by itself has no role that could change";
        report.add(node.at, "the event `role` never comes without `cluster`", hint);
    }
}

fn program(node: &Node, report: &mut Report) -> Option<PathBuf> {
    let example = "run: /etc/turnout/hooks/ddns";
    let given = path(node, "run", "the path of a program", example, MAX_PATH, report)?;
    let (message, hint) = if given.ends_with('/') {
        ("`run` names a folder", "add the name of the program itself")
    } else if given.contains(char::is_whitespace) {
        ("`run` has spaces", "the path of a program without arguments; write them into a script")
    } else {
        return Some(PathBuf::from(given));
    };
    report.add(node.at, message, hint);
    None
}
