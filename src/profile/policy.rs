//! The section `policy`: which flows from inside use which group or WAN.
//!
//! Rules match as those of the firewall do, and the first that fits decides. They are for what inside hosts open:
//! flows from a WAN and those to the router itself have no choice of WAN, so that naming them is a mistake. Each way to
//! use a group or a WAN becomes a group when the router runs; with those of the file there are at most `MAX_GROUPS`.

use std::collections::HashSet;

use super::failover;
use super::group_types::{MAX_GROUPS, OnFailover, Otherwise, Policy, Use};
use super::groups::{DEFAULT, RawGroup};
use super::mistake::{Report, show};
use super::names::Names;
use super::raw::At;
use super::rule_types::{Match, To};
use super::rules::{bounded, incoming, matched};
use super::schema::{POLICY, Section};
use super::types::{Position, Wan};
use super::value::{text, word};

pub(super) struct RawPolicy {
    at: Position,
    interface: Option<At<String>>,
    when: Match,
    uses: Option<At<String>>,
    otherwise: Otherwise,
    on_failover: OnFailover,
}

/// `base` is what becomes of flows whose rule says nothing of its own.
pub(super) fn read(top: &Section<'_>, base: OnFailover, report: &mut Report) -> Vec<RawPolicy> {
    let example = "policy: [{ from: 192.168.10.12, use: isp2 }]";
    let Some(node) = top.get("policy") else { return Vec::new() };
    let mut out = Vec::new();
    for item in bounded(node, "`policy`", "rules", example, report) {
        let Some(section) = POLICY.open(item, item.at, "a rule", report) else { continue };
        let interface = incoming(&section, report);
        let when = matched(&section, report);
        if let (To::Own, Some(node)) = (&when.to, section.get("to")) {
            let hint = "name networks; what is for the router itself leaves by no WAN";
            report.add(node.at, "`to` cannot be `self` here", hint);
        }
        let uses = section.require("use", "use: isp2", report).and_then(|node| {
            let name = text(node, "`use`", "the name of a group or a WAN", "use: isp2", report)?;
            Some(At { value: name.to_owned(), at: node.at })
        });
        let words = [("default", Otherwise::Default), ("reject", Otherwise::Reject)];
        let otherwise = section.get("otherwise").and_then(|node| word(node, "`otherwise`", &words, report));
        let mut on_failover = base;
        failover::on_failover(&section, &mut on_failover, report);
        let otherwise = otherwise.unwrap_or_default();
        out.push(RawPolicy { at: item.at, interface, when, uses, otherwise, on_failover });
    }
    out
}

/// Looks up what the rules name, and finds the groups that none of them names.
pub(super) fn place(
    rules: Vec<RawPolicy>,
    wans: &[Wan],
    groups: &[RawGroup],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Policy> {
    let mut out = Vec::with_capacity(rules.len());
    let mut ways = HashSet::new();
    // A name that could not be read may have been any group's.
    let mut sure = true;
    for RawPolicy { at, interface, mut when, uses, otherwise, on_failover } in rules {
        if let Some(name) = interface {
            when.interface = names.interface(&name, report);
            if wans.iter().any(|wan| Some(wan.interface) == when.interface) {
                let message = format!("`in` names the WAN {}", show(&name.value));
                report.add(name.at, message, "name an inside interface; the policy is for what opens there");
            }
        }
        let Some(uses) = uses.and_then(|name| names.uses(&name, report)) else {
            sure = false;
            continue;
        };
        let full = groups.len().saturating_add(ways.len()) >= MAX_GROUPS;
        if ways.insert((uses, otherwise, on_failover)) && full {
            let message = format!("more than {MAX_GROUPS} groups and ways to use them");
            let hint = "let rules share `use`, `otherwise` and `on_failover`, or remove groups";
            report.add(at, message, hint);
            break;
        }
        out.push(Policy { when, uses, otherwise, on_failover });
    }
    let used: HashSet<Use> = out.iter().map(|rule| rule.uses).collect();
    for (index, group) in groups.iter().enumerate() {
        let Some(at) = group.at.filter(|_| sure && group.name != DEFAULT) else { continue };
        if !used.contains(&Use::Group(index)) {
            let hint = format!("remove it, or use it: `policy: [{{ use: {} }}]`", group.name);
            report.add(at, format!("no policy uses the group {}", show(&group.name)), hint);
        }
    }
    out
}
