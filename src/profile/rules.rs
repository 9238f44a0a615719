//! The one reader of what a rule matches, and the firewall that is made of such rules; `policy` is another user.
//!
//! `in`, `from`, `to`, `protocol` and `port` mean the same wherever they stand; each may be left out and then fits
//! everything. Ports only go with protocols that have them. The name after `in` is looked up by `place`, once the
//! interfaces are known. Rules keep their order, the first that fits decides, and there are at most `MAX_RULES`.

use super::mistake::Report;
use super::names::Names;
use super::raw::At;
use super::rule_types::{Action, Match, Rule, To};
use super::schema::{Keys, RULE, Section, items};
use super::tree::{Node, Value};
use super::types::Position;
use super::value::{text, word};
use super::vocabulary::{MAX_ITEMS, TCP, UDP, network, networks, one_or_more, ports, protocols, tidy};

/// The most rules of the firewall, of `policy` and of `nat.except`; a new flow is compared with all of them.
const MAX_RULES: usize = 1024;

pub(super) struct RawRule {
    interface: Option<At<String>>,
    when: Match,
    action: Option<Action>,
}

pub(super) fn firewall(top: &Section<'_>, report: &mut Report) -> Vec<RawRule> {
    let example = "firewall: [{ in: lan, to: self, protocol: [tcp], port: [22], action: accept }]";
    let Some(node) = top.get("firewall") else { return Vec::new() };
    let mut out = Vec::new();
    for item in bounded(node, "`firewall`", "rules", example, report) {
        let Some(section) = RULE.open(item, item.at, "a rule", report) else { continue };
        let interface = incoming(&section, report);
        let when = matched(&section, report);
        let words = [("accept", Action::Accept), ("drop", Action::Drop), ("reject", Action::Reject)];
        let action = section
            .require("action", "action: accept", report)
            .and_then(|node| word(node, "`action`", &words, report));
        out.push(RawRule { interface, when, action });
    }
    out
}

/// Looks up the interfaces of the rules.
pub(super) fn place(rules: Vec<RawRule>, names: &Names<'_>, report: &mut Report) -> Vec<Rule> {
    let mut out = Vec::with_capacity(rules.len());
    for RawRule { interface, mut when, action } in rules {
        when.interface = interface.and_then(|name| names.interface(&name, report));
        out.extend(action.map(|action| Rule { when, action }));
    }
    out
}

/// `nat.except`.
pub(super) fn except(node: &Node, keys: &Keys, report: &mut Report) -> Vec<Match> {
    let example = "except: [{ from: 192.168.10.0/24, to: 10.0.0.0/8 }]";
    let mut out = Vec::new();
    for item in bounded(node, "`except`", "exceptions", example, report) {
        let Some(section) = keys.open(item, item.at, "an exception", report) else { continue };
        if section.get("from").is_none() && section.get("to").is_none() {
            let hint =
                "say `from` which hosts or `to` which networks; without both nothing would be translated";
            report.add(item.at, "an exception needs `from` or `to`", hint);
        }
        let when = matched(&section, report);
        if let (To::Own, Some(node)) = (&when.to, section.get("to")) {
            let hint = "name networks; what is for the router itself is never translated";
            report.add(node.at, "`to` cannot be `self` here", hint);
        }
        out.push(when);
    }
    out
}

/// The items of a list of at most `MAX_RULES`.
pub(super) fn bounded<'t>(
    node: &'t Node,
    what: &str,
    of: &str,
    example: &str,
    report: &mut Report,
) -> &'t [Node] {
    let list = items(node, what, example, report).unwrap_or_default();
    if let Some(extra) = list.get(MAX_RULES) {
        report.add(extra.at, format!("more than {MAX_RULES} {of}"), "remove some, or join their networks");
    }
    list.get(..MAX_RULES).unwrap_or(list)
}

/// The name after `in`.
pub(super) fn incoming(section: &Section<'_>, report: &mut Report) -> Option<At<String>> {
    let node = section.get("in")?;
    let name = text(node, "`in`", "the name of an interface", "in: lan", report)?;
    Some(At { value: name.to_owned(), at: node.at })
}

/// What a rule matches, but for its interface.
pub(super) fn matched(section: &Section<'_>, report: &mut Report) -> Match {
    let mut out = Match { from: networks(section, "from", report), ..Match::default() };
    if let Some(node) = section.get("to") {
        out.to = to(node, report);
    }
    let protocol = section.get("protocol");
    if let Some(node) = protocol {
        out.protocols = protocols(node, report);
    }
    if let Some(node) = section.get("port") {
        out.ports = ports(node, report);
        match protocol {
            None => needs_protocol(node.at, "add `protocol: [tcp]`, `[udp]` or both", report),
            Some(_) if out.protocols.iter().any(|p| ![TCP, UDP].contains(p)) => {
                let hint = "only tcp and udp; give the other protocols a rule of their own";
                needs_protocol(node.at, hint, report);
            }
            Some(_) => {}
        }
    }
    out
}

fn needs_protocol(at: Position, hint: &str, report: &mut Report) {
    report.add(at, "`port` needs protocols that have ports", hint);
}

fn to(node: &Node, report: &mut Report) -> To {
    let is_self =
        |node: &Node| matches!(&node.value, Value::Plain(word) | Value::Quoted(word) if word == "self");
    if is_self(node) {
        return To::Own;
    }
    let mut nets = Vec::new();
    for item in one_or_more(node, "`to`", MAX_ITEMS, "to: 192.0.2.0/24", report) {
        if is_self(item) {
            let hint = "write `to: self`, and a rule of its own for the networks";
            report.add(item.at, "`self` cannot stand in a list", hint);
        } else {
            nets.extend(network(item, "`to`", report));
        }
    }
    match tidy(nets) {
        nets if nets.is_empty() => To::Any,
        nets => To::Nets(nets),
    }
}
