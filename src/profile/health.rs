//! The section `health`: how often a WAN is asked, and what its answers have to be like.
//!
//! Each value begins as its default and is overwritten by what is given and right. Here too are the rules between the
//! spans of one section: as many rounds under way as are kept, a window that holds enough of them, a hold that can
//! grow. `targets` reads the hosts that are asked; what has to fit the interfaces is for `probes`.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::base::Nanos;

use super::health_types::{Bfd, BfdPeer, Degraded, Health, Target, Targets};
use super::mistake::{Report, show};
use super::raw::At;
use super::schema::{
    HEALTH, HEALTH_BFD, HEALTH_DEGRADED, HEALTH_DOWN, HEALTH_GATEWAY, HEALTH_UP, Section, TARGETS, entries,
};
use super::targets::{self, MAX_TARGETS};
use super::tree::{Node, Value};
use super::types::Position;
use super::value::{address, boolean, integer32, is_decimal, show_span, span, text};

const SECOND: Nanos = Nanos::from_s(1);
const TEN_SECONDS: Nanos = Nanos::from_s(10);
const MINUTE: Nanos = Nanos::from_s(60);
const HOUR: Nanos = Nanos::from_s(3600);
pub(super) const DAY: Nanos = Nanos::from_s(24 * 3600);
/// The most rounds of targets under way; what is noted of each is a bit.
const MAX_ROUNDS: u64 = 64;
/// The fewest rounds that a window holds, or one lost probe would degrade a line.
const MIN_ROUNDS: u64 = 10;

pub(super) struct RawHealth {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) health: Health,
    /// The targets of `health` with their places.
    pub(super) targets: Vec<At<Target>>,
    /// The BFD peer that was given by its address.
    pub(super) peer: Option<At<Ipv4Addr>>,
}

/// Reads a span under `key` over `out`; says whether it was given and right.
pub(super) fn given_span(
    section: &Section<'_>,
    key: &str,
    range: RangeInclusive<Nanos>,
    out: &mut Nanos,
    report: &mut Report,
) -> bool {
    let given = section.get(key).and_then(|node| span(node, &format!("`{key}`"), range, None, report));
    *out = given.unwrap_or(*out);
    given.is_some()
}

pub(super) fn health(top: &Section<'_>, report: &mut Report) -> Vec<RawHealth> {
    let Some(node) = top.get("health") else { return Vec::new() };
    let mut out = Vec::new();
    for entry in entries(node, "`health`", report).unwrap_or_default() {
        let mut health = RawHealth {
            name: entry.key.clone(),
            at: entry.at,
            health: Health::default(),
            targets: Vec::new(),
            peer: None,
        };
        let what = format!("health {}", show(&entry.key));
        if let Some(section) = HEALTH.open(&entry.node, entry.at, &what, report) {
            one(&section, &mut health, report);
        }
        out.push(health);
    }
    out
}

fn one(section: &Section<'_>, raw: &mut RawHealth, report: &mut Report) {
    let out = &mut raw.health;
    if let Some(gateway) = section.sub("gateway", &HEALTH_GATEWAY, report)
        && let Some(node) = gateway.get("arp")
    {
        let range = Nanos::from_ms(50)..=TEN_SECONDS;
        let why = Some("20 ARP requests a second");
        out.arp_every = span(node, "`arp`", range, why, report).unwrap_or(out.arp_every);
    }
    if let Some(down) = section.sub("down", &HEALTH_DOWN, report)
        && let Some(node) = down.get("failures")
    {
        out.failures = integer32(node, "`failures`", 1..=100, "failures: 3", report).unwrap_or(out.failures);
    }
    if let Some(up) = section.sub("up", &HEALTH_UP, report) {
        recovery(&up, out, report);
    }
    if let Some(given) = section.sub("targets", &TARGETS, report) {
        raw.targets = targets::read(&given, report);
        out.targets.list = raw.targets.iter().map(|target| target.value.clone()).collect();
        rounds(&given, &mut out.targets, report);
    }
    if let Some(given) = section.sub("bfd", &HEALTH_BFD, report) {
        let bfd = out.bfd.insert(Bfd::default());
        raw.peer = session(&given, bfd, report);
    }
    if let Some(given) = section.sub("degraded", &HEALTH_DEGRADED, report) {
        out.degraded = Some(limits(&given, out, report));
    }
    if let Some(node) = section.get("passive") {
        out.passive = boolean(node, "`passive`", report).unwrap_or(out.passive);
    }
}

fn recovery(up: &Section<'_>, out: &mut Health, report: &mut Report) {
    if let Some(node) = up.get("successes") {
        let given = integer32(node, "`successes`", 1..=1000, "successes: 5", report);
        out.successes = given.unwrap_or(out.successes);
    }
    given_span(up, "stable", Nanos::ZERO..=HOUR, &mut out.stable, report);
    if !given_span(up, "flap_max", Nanos::ZERO..=DAY, &mut out.flap_max, report) {
        out.flap_max = out.flap_max.max(out.stable);
    } else if let Some(node) = up.get("flap_max").filter(|_| out.flap_max < out.stable) {
        let message = format!("`flap_max` is shorter than `stable`, which is {}", show_span(out.stable));
        report.add(node.at, message, "`stable` doubles with each flap up to `flap_max`; give a longer one");
    }
}

/// What stands beside the targets in their section.
fn rounds(section: &Section<'_>, out: &mut Targets, report: &mut Report) {
    let every = given_span(section, "every", Nanos::from_ms(20)..=MINUTE, &mut out.every, report);
    let timeout = given_span(section, "timeout", Nanos::from_ms(10)..=TEN_SECONDS, &mut out.timeout, report);
    if out.timeout.0 > out.every.0.saturating_mul(MAX_ROUNDS) && (every || timeout) {
        let place = if timeout { "timeout" } else { "every" };
        let rounds = out.timeout.0.div_ceil(out.every.0.max(1));
        let message = format!("{rounds} rounds would be under way at once, at most {MAX_ROUNDS}");
        let least = Nanos(out.every.0.saturating_mul(MAX_ROUNDS));
        let hint = format!("at {} a round, wait {} at most", show_span(out.every), show_span(least));
        report.add(section.get(place).map_or(section.at, |node| node.at), message, hint);
    }
    let most = u32::try_from(MAX_TARGETS).unwrap_or(u32::MAX);
    let Some(node) = section.get("need") else { return };
    let Some(need) = integer32(node, "`need`", 1..=most, "need: 1", report) else { return };
    out.need = need;
    let count = targets::given(section);
    if count > 0 && usize::try_from(need).is_ok_and(|need| need > count) {
        let message = format!("`need` is {need}, but there are only {count} targets");
        report.add(node.at, message, "the WAN could never be up; lower it, or add targets");
    }
}

fn session(section: &Section<'_>, out: &mut Bfd, report: &mut Report) -> Option<At<Ipv4Addr>> {
    given_span(section, "every", Nanos::from_ms(10)..=TEN_SECONDS, &mut out.every, report);
    if let Some(node) = section.get("multiplier") {
        let given = integer32(node, "`multiplier`", 2..=50, "multiplier: 3", report);
        out.multiplier = given.and_then(|n| u8::try_from(n).ok()).unwrap_or(out.multiplier);
    }
    let node = section.get("peer")?;
    if is(node, "gateway") {
        return None;
    }
    let what = "`peer`";
    if let Value::Plain(given) | Value::Quoted(given) = &node.value
        && given.parse::<Ipv4Addr>().is_err()
    {
        let message = format!("{what} is neither `gateway` nor an IPv4 address: {}", show(given));
        report.add(node.at, message, "write `peer: gateway`, or the address of a host on the link");
        return None;
    }
    let value = address(node, what, report)?;
    out.peer = BfdPeer::Address(value);
    Some(At { value, at: node.at })
}

fn is(node: &Node, word: &str) -> bool {
    matches!(&node.value, Value::Plain(text) | Value::Quoted(text) if text == word)
}

fn limits(section: &Section<'_>, health: &Health, report: &mut Report) -> Degraded {
    let mut out = Degraded::default();
    given_span(section, "window", SECOND..=Nanos::from_s(600), &mut out.window, report);
    if let Some(node) = section.get("loss") {
        out.loss_percent = percent(node, "`loss`", report).unwrap_or(out.loss_percent);
    }
    let range = Nanos::from_ms(1)..=TEN_SECONDS;
    let latency = given_span(section, "latency", range.clone(), &mut out.latency, report);
    given_span(section, "jitter", range, &mut out.jitter, report);
    let targets = &health.targets;
    let asked = !targets.list.is_empty();
    let (every, key) = if asked { (targets.every, "every") } else { (health.arp_every, "arp") };
    let least = Nanos(every.0.saturating_mul(MIN_ROUNDS));
    if out.window < least {
        let at = section.get("window").map_or(section.at, |node| node.at);
        let message = format!("`window` {} holds too few probes", show_span(out.window));
        let why = "one lost probe would degrade the line";
        let hint = format!("at least {}, ten times `{key}`, or {why}", show_span(least));
        report.add(at, message, hint);
    }
    if let Some(node) = section.get("latency").filter(|_| latency && asked && out.latency > targets.timeout) {
        let message = format!("`latency` is longer than `timeout`, which is {}", show_span(targets.timeout));
        report.add(node.at, message, "a later answer counts as lost; give a longer `timeout`");
    }
    out
}

/// `20%`.
fn percent(node: &Node, what: &str, report: &mut Report) -> Option<u8> {
    let given = text(node, what, "a percentage from 1% to 100%", "loss: 20%", report)?;
    let number = given.strip_suffix('%').filter(|number| is_decimal(number));
    let found = number.and_then(|number| number.parse().ok()).filter(|n| (1..=100).contains(n));
    if found.is_none() {
        let (message, hint) = if is_decimal(given) {
            (format!("{what} has no `%`: {}", show(given)), format!("write `{given}%`"))
        } else if number.is_some() {
            (format!("{what} is out of range: {}", show(given)), "from 1% to 100%".to_owned())
        } else {
            (format!("{what} is no percentage: {}", show(given)), "a whole number with `%`, as `20%`".into())
        };
        report.add(node.at, message, hint);
    }
    found
}
