//! One scalar to one value: numbers, bools, words, spans of time, addresses, ports.
//!
//! Each reader takes the node, what to call it in a message, and its limits; it reports what is wrong and answers
//! `None`. Numbers and bools are never quoted; a span always has its unit. YAML 1.1's other words for bools are refused,
//! so that a file means the same to every reader.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::base::{Ipv4Net, Nanos};

use super::mistake::{Report, closest, show};
use super::tree::{Node, Value};
use super::types::PortSpec;

/// Units of time by falling size.
const UNITS: [(&str, u64); 5] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

/// Reports that `node` is not `expected` at all.
pub(super) fn wrong_type(node: &Node, what: &str, expected: &str, example: &str, report: &mut Report) {
    let kind = match &node.value {
        Value::Refused => return,
        Value::Null => {
            report.add(node.at, format!("{what} has no value"), format!("write it as `{example}`"));
            return;
        }
        Value::Plain(text) => show(text),
        Value::Quoted(text) => format!("the quoted text {}", show(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    };
    report.add(node.at, format!("{what} must be {expected}, not {kind}"), format!("write it as `{example}`"));
}

/// How `value` is written for `what`, if that is a key in backticks.
fn assign(what: &str, value: &str) -> String {
    let key = what.strip_prefix('`').and_then(|what| what.strip_suffix('`'));
    key.map_or_else(|| value.to_owned(), |key| format!("{key}: {value}"))
}

/// A scalar that may be quoted.
pub(super) fn text<'t>(
    node: &'t Node,
    what: &str,
    expected: &str,
    example: &str,
    report: &mut Report,
) -> Option<&'t str> {
    match &node.value {
        Value::Plain(text) | Value::Quoted(text) => Some(text),
        _ => {
            wrong_type(node, what, expected, example, report);
            None
        }
    }
}

/// A whole number within `range`.
pub(super) fn integer(
    node: &Node,
    what: &str,
    range: RangeInclusive<u64>,
    example: &str,
    report: &mut Report,
) -> Option<u64> {
    let (low, high) = (range.start(), range.end());
    match &node.value {
        Value::Plain(text) if is_decimal(text) => {
            let number = text.parse().ok().filter(|n| range.contains(n));
            if number.is_none() {
                let message = format!("{what} is out of range: {}", show(text));
                report.add(node.at, message, format!("from {low} to {high}"));
            }
            number
        }
        Value::Quoted(text) if is_decimal(text) => {
            report.add(node.at, format!("{what} must be a number, not a text"), "remove the quotes");
            None
        }
        _ => {
            wrong_type(node, what, &format!("a whole number from {low} to {high}"), example, report);
            None
        }
    }
}

/// As `integer`, for ranges that fit.
pub(super) fn integer32(
    node: &Node,
    what: &str,
    range: RangeInclusive<u32>,
    example: &str,
    report: &mut Report,
) -> Option<u32> {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    integer(node, what, range, example, report).and_then(|n| u32::try_from(n).ok())
}

/// Digits without a leading zero, which YAML 1.1 reads as octal.
pub(super) fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node, what: &str, report: &mut Report) -> Option<bool> {
    let (message, hint) = match &node.value {
        Value::Plain(word) if word == "true" => return Some(true),
        Value::Plain(word) if word == "false" => return Some(false),
        Value::Plain(word) if is_yaml_word(word) || matches!(word.as_str(), "y" | "Y" | "n" | "N") => {
            let meant = matches!(word.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "y");
            let message = format!("{what} must be true or false, not {}", show(word));
            (message, format!("write `{meant}`: not every reader of YAML takes other words for it"))
        }
        Value::Quoted(word) if word == "true" || word == "false" => {
            (format!("{what} must be true or false, not a text"), "remove the quotes".to_owned())
        }
        _ => {
            wrong_type(node, what, "true or false", &assign(what, "true"), report);
            return None;
        }
    };
    report.add(node.at, message, hint);
    None
}

/// Words that some YAML reader takes for a bool or for nothing.
pub(super) fn is_yaml_word(word: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off", "null"].iter().any(|w| word.eq_ignore_ascii_case(w))
}

/// One of a few words.
pub(super) fn word<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], report: &mut Report) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let choice = names.join(", ");
    let example = assign(what, names.first().unwrap_or(&""));
    let given = text(node, what, &format!("one of {choice}"), &example, report)?;
    let found = words.iter().find(|(name, _)| *name == given).map(|(_, value)| *value);
    if found.is_none() {
        let hint = match closest(given, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {choice}"),
        };
        report.add(node.at, format!("{what} cannot be {}", show(given)), hint);
    }
    found
}

/// A span of time within `range`. `why` names the rule behind the lower limit.
pub(super) fn span(
    node: &Node,
    what: &str,
    range: RangeInclusive<Nanos>,
    why: Option<&str>,
    report: &mut Report,
) -> Option<Nanos> {
    let limits = format!("{} to {}", show_span(*range.start()), show_span(*range.end()));
    let example = assign(what, &show_span(*range.start()));
    let given = text(node, what, &format!("a time from {limits}"), &example, report)?;
    if is_decimal(given) {
        let message = format!("{what} has no unit: {}", show(given));
        report.add(node.at, message, format!("add one of us, ms, s, m, h, as `{given}s`"));
        return None;
    }
    let Some(span) = parse_span(given) else {
        let hint = "whole numbers with us, ms, s, m, h, larger units first, as `2h4m`";
        report.add(node.at, format!("{what} is not a time: {}", show(given)), hint);
        return None;
    };
    if span < *range.start() {
        let rule = why.map_or(String::new(), |why| format!(" ({why})"));
        let message =
            format!("{what} must be at least {}{rule}, not {}", show_span(*range.start()), show(given));
        report.add(node.at, message, format!("from {limits}"));
        return None;
    }
    if span > *range.end() {
        let message = format!("{what} must be at most {}, not {}", show_span(*range.end()), show(given));
        report.add(node.at, message, format!("from {limits}"));
        return None;
    }
    Some(span)
}

/// `2h4m`, `250ms`: each unit at most once, larger ones first.
pub(super) fn parse_span(text: &str) -> Option<Nanos> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(letters)?;
        // `units` goes on where the last unit was, which refuses what is out of order.
        let (_, size) = units.find(|(name, _)| *name == unit)?;
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(*size)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(Nanos(total))
}

/// A span as a profile writes it.
pub(super) fn show_span(span: Nanos) -> String {
    let mut rest = span.0;
    let mut out = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// An IPv4 address.
pub(super) fn address(node: &Node, what: &str, report: &mut Report) -> Option<Ipv4Addr> {
    let example = "192.0.2.1";
    let given = text(node, what, "an IPv4 address", &assign(what, example), report)?;
    let found = given.parse().ok();
    if found.is_none() {
        let hint = if given.contains('/') {
            "write the address alone, without a prefix length".to_owned()
        } else {
            no_address_hint(given, example)
        };
        report.add(node.at, format!("{what} is not an IPv4 address: {}", show(given)), hint);
    }
    found
}

/// An IPv4 network or an address in one, with its prefix length.
pub(super) fn network(node: &Node, what: &str, report: &mut Report) -> Option<Ipv4Net> {
    let example = "192.0.2.1/24";
    let given = text(node, what, "an IPv4 address with a prefix length", &assign(what, example), report)?;
    let found = given.parse().ok();
    if found.is_none() {
        let hint = if given.parse::<Ipv4Addr>().is_ok() {
            format!("add the prefix length, as `{given}/24`")
        } else {
            no_address_hint(given, example)
        };
        let message = format!("{what} is not an IPv4 address with a prefix length: {}", show(given));
        report.add(node.at, message, hint);
    }
    found
}

fn no_address_hint(given: &str, example: &str) -> String {
    if given.split('/').next().is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()) {
        "IPv6 is not supported; give an IPv4 address".to_owned()
    } else {
        format!("four numbers from 0 to 255, as `{example}`")
    }
}

/// A port: PCI address, Linux interface or virtual device.
pub(super) fn port(node: &Node, report: &mut Report) -> Option<PortSpec> {
    let forms = "a PCI address `0000:03:00.0`, `linux:NAME` or a device `net_*`";
    let given = text(node, "`port`", "a text", "port: \"0000:03:00.0\"", report)?;
    let (fault, hint) = if let Some(name) = given.strip_prefix("linux:") {
        if is_linux_name(name) {
            return Some(PortSpec::Linux(name.to_owned()));
        }
        (
            "no name of a Linux interface",
            "1 to 15 letters, digits and signs, without `/ : , = [ ]`".to_owned(),
        )
    } else if given.starts_with("net_") {
        if is_vdev(given) {
            return Some(PortSpec::Vdev(given.to_owned()));
        }
        ("no virtual device", "a name of a-z, 0-9 and _, then arguments after a comma, no spaces".to_owned())
    } else if is_pci(given) {
        // The packet library spells them in lower case.
        return Some(PortSpec::Pci(given.to_ascii_lowercase()));
    } else if is_pci(&format!("0000:{given}")) {
        ("a PCI address without its domain", format!("write `0000:{given}`"))
    } else if is_linux_name(given) {
        ("no port", format!("a Linux interface is written `linux:{given}`; else {forms}"))
    } else {
        ("no port", forms.to_owned())
    };
    report.add(node.at, format!("{} is {fault}", show(given)), hint);
    None
}

/// What the kernel takes, less the characters that have a meaning in the packet library's arguments.
fn is_linux_name(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_graphic() && !b"/:,=[]\"'".contains(&b);
    (1..=15).contains(&name.len()) && name.bytes().all(fit) && name != "." && name != ".."
}

fn is_vdev(given: &str) -> bool {
    let (name, arguments) = given.split_once(',').unwrap_or((given, ""));
    let fit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    // 64 bytes is the library's limit for a name with its closing zero.
    (5..64).contains(&name.len())
        && name.bytes().all(fit)
        && arguments.bytes().all(|b| b.is_ascii_graphic())
        && given.len() <= 1024
}

/// `DOMAIN:BUS:DEVICE.FUNCTION` in hexadecimal; 4 to 8 digits, 2, 2 (below 0x20), 1 (below 8).
fn is_pci(given: &str) -> bool {
    let hex = |part: &str, digits: RangeInclusive<usize>| {
        (digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| u32::from_str_radix(part, 16).ok())
            .flatten()
    };
    let mut parts = given.split([':', '.']);
    let mut next = |digits| parts.next().and_then(|part| hex(part, digits));
    let fit = next(4..=8).is_some()
        && next(2..=2).is_some()
        && next(2..=2).is_some_and(|device| device < 0x20)
        && next(1..=1).is_some_and(|function| function < 8);
    let shape: String = given.chars().filter(|c| matches!(c, ':' | '.')).collect();
    fit && parts.next().is_none() && shape == "::."
}
