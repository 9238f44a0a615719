//! The section `groups`: WANs that stand in for each other.
//!
//! The group `default` is the first of them, whether it is given or not; without members it has all WANs, in their
//! order a tier each, or in one tier if it balances. What would do nothing is refused: `weight` where nothing balances, `after`
//! where the way back is by hand. The name of a group is no WAN's, so that `policy` can name both.
//! `read` judges each value alone, `place` looks up the WANs once they are known.

use std::collections::HashMap;

use crate::base::Nanos;

use super::group_types::{Failback, Group, MAX_GROUPS, Member, Mode, NoneFit};
use super::health::{DAY, given_span};
use super::mistake::{Report, show};
use super::names::Names;
use super::raw::{At, RawWan};
use super::schema::{FAILBACK, GROUP, MEMBER, Section, entries, items};
use super::tree::Node;
use super::types::{MAX_WANS, Position};
use super::value::{integer32, text, word};

/// The group of all that no rule of `policy` names.
pub(super) const DEFAULT: &str = "default";
/// The tier that is tried last.
const MAX_TIER: u8 = 16;

pub(super) struct RawGroups {
    /// Every group that was given is in the list.
    pub(super) known: bool,
    /// Never empty; `default` is the first.
    pub(super) list: Vec<RawGroup>,
}

pub(super) struct RawGroup {
    pub(super) name: String,
    /// `None`: it was made, not given.
    pub(super) at: Option<Position>,
    mode: Mode,
    /// `None`: all WANs.
    members: Option<Vec<RawMember>>,
    failback: Failback,
    none_fit: NoneFit,
}

impl RawGroup {
    fn new(name: &str, at: Option<Position>) -> RawGroup {
        RawGroup {
            name: name.to_owned(),
            at,
            mode: Mode::default(),
            members: None,
            failback: Failback::default(),
            none_fit: NoneFit::default(),
        }
    }
}

struct RawMember {
    wan: At<String>,
    tier: u8,
    weight: u16,
}

pub(super) fn read(top: &Section<'_>, report: &mut Report) -> RawGroups {
    let mut out = RawGroups { known: true, list: vec![RawGroup::new(DEFAULT, None)] };
    let Some(node) = top.get("groups") else { return out };
    let Some(given) = entries(node, "`groups`", report) else {
        out.known = false;
        return out;
    };
    for entry in given {
        let mut group = RawGroup::new(&entry.key, Some(entry.at));
        let what = format!("group {}", show(&entry.key));
        if let Some(section) = GROUP.open(&entry.node, entry.at, &what, report) {
            one(&section, &mut group, report);
        }
        match out.list.first_mut() {
            Some(first) if group.name == DEFAULT => *first = group,
            _ => out.list.push(group),
        }
    }
    if let Some(at) = out.list.get(MAX_GROUPS).and_then(|extra| extra.at) {
        report.add(at, format!("more than {MAX_GROUPS} groups"), "remove groups from here on");
    }
    out
}

fn one(section: &Section<'_>, out: &mut RawGroup, report: &mut Report) {
    if let Some(node) = section.get("mode") {
        let words = [("failover", Mode::Failover), ("balance", Mode::Balance)];
        out.mode = word(node, "`mode`", &words, report).unwrap_or_default();
    }
    let example = "members: [{ wan: isp1, tier: 1 }, { wan: isp2, tier: 2 }]";
    if let Some(node) = section.get("members") {
        out.members = Some(members(node, out.mode, example, report));
    } else if out.name != DEFAULT {
        section.require("members", example, report);
    }
    if let Some(section) = section.sub("failback", &FAILBACK, report) {
        if let Some(node) = section.get("mode") {
            let words = [("automatic", true), ("manual", false)];
            out.failback.automatic = word(node, "`mode`", &words, report).unwrap_or(true);
        }
        given_span(&section, "after", Nanos::ZERO..=DAY, &mut out.failback.after, report);
        if let (false, Some(node)) = (out.failback.automatic, section.get("after")) {
            let hint = "remove it, or say `mode: automatic`; by hand there is nothing to wait for";
            report.add(node.at, "`after` does nothing where `mode` is `manual`", hint);
        }
    }
    if let Some(node) = section.get("when_none_fit") {
        let words = [("best", NoneFit::Best), ("unreachable", NoneFit::Unreachable)];
        out.none_fit = word(node, "`when_none_fit`", &words, report).unwrap_or_default();
    }
}

fn members(node: &Node, mode: Mode, example: &str, report: &mut Report) -> Vec<RawMember> {
    let Some(list) = items(node, "`members`", example, report) else { return Vec::new() };
    if list.is_empty() {
        report.add(node.at, "`members` is empty", format!("write it as `{example}`"));
    }
    if let Some(extra) = list.get(MAX_WANS) {
        report.add(extra.at, format!("more than {MAX_WANS} members"), "remove members from here on");
    }
    let mut out = Vec::new();
    // What the tier is if it is left out.
    let mut next = 1;
    for item in list.iter().take(MAX_WANS) {
        let Some(section) = MEMBER.open(item, item.at, "a member", report) else { continue };
        let wan = section.require("wan", "wan: isp1", report).and_then(|node| {
            let name = text(node, "`wan`", "the name of a WAN", "wan: isp1", report)?;
            Some(At { value: name.to_owned(), at: node.at })
        });
        let tier = match section.get("tier") {
            Some(node) => integer32(node, "`tier`", 1..=u32::from(MAX_TIER), "tier: 1", report)
                .and_then(|tier| u8::try_from(tier).ok())
                .unwrap_or(next.min(MAX_TIER)),
            None => {
                if next > MAX_TIER {
                    let message = format!("its tier would be {next}, after that of the member before");
                    report.add(item.at, message, format!("give it a `tier` from 1 to {MAX_TIER}"));
                }
                next.min(MAX_TIER)
            }
        };
        next = if mode == Mode::Balance { tier } else { tier.saturating_add(1) };
        let weight = section.get("weight").and_then(|node| {
            let given = integer32(node, "`weight`", 1..=100, "weight: 1", report)?;
            if mode == Mode::Failover && given != 1 {
                let hint = "remove it, or say `mode: balance`; else the first fit member carries all";
                report.add(node.at, "`weight` does nothing where `mode` is `failover`", hint);
            }
            u16::try_from(given).ok()
        });
        out.extend(wan.map(|wan| RawMember { wan, tier, weight: weight.unwrap_or(1) }));
    }
    out
}

/// Looks up the members, of `wans` WANs. `given` are the WANs as they were given.
pub(super) fn place(
    groups: &[RawGroup],
    given: &[RawWan],
    wans: usize,
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Group> {
    let named: HashMap<&str, &RawWan> = given.iter().map(|wan| (wan.name.as_str(), wan)).collect();
    let mut out = Vec::with_capacity(groups.len());
    for group in groups {
        if let Some(wan) = named.get(group.name.as_str()) {
            let hint = "`policy` names groups and WANs; give one of them another name";
            let (at, message) = match group.at {
                Some(at) => (at, format!("the group {} is called like a WAN", show(&group.name))),
                None => (wan.at, format!("a WAN cannot be called {}", show(&group.name))),
            };
            report.add(at, message, hint);
        }
        let members = match &group.members {
            None => all(wans, group.mode),
            Some(members) => found(members, names, report),
        };
        out.push(Group {
            name: group.name.clone(),
            mode: group.mode,
            members,
            failback: group.failback,
            none_fit: group.none_fit,
        });
    }
    out
}

fn all(wans: usize, mode: Mode) -> Vec<Member> {
    let tiers = (1..=MAX_TIER).map(|tier| if mode == Mode::Balance { 1 } else { tier });
    (0..wans).zip(tiers).map(|(wan, tier)| Member { wan, tier, weight: 1 }).collect()
}

fn found(members: &[RawMember], names: &Names<'_>, report: &mut Report) -> Vec<Member> {
    let mut lines = HashMap::new();
    let mut out = Vec::with_capacity(members.len());
    for RawMember { wan: name, tier, weight } in members {
        let Some(wan) = names.wan(name, report) else { continue };
        if let Some(line) = lines.insert(wan, name.at.line) {
            let hint = format!("it is already on line {line}; a WAN is in a group once");
            report.add(name.at, format!("{} is given twice", show(&name.value)), hint);
        }
        out.push(Member { wan, tier: *tier, weight: *weight });
    }
    out.sort_by_key(|member| member.tier);
    out
}
