//! The hosts that a WAN asks: addresses, names, ports and URLs.
//!
//! At most `MAX_TARGETS` a section, none twice. A target's name is what the operator wrote, as that is how two WANs
//! know that they ask the same one. Names have the form of RFC 1123 section 2.1; whether they can be resolved is for
//! those who ask. No TLS is spoken: an `https` URL is refused, a port can be asked with `tcp`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::health_types::{Host, Target, TargetProbe};
use super::mistake::{Report, show};
use super::networks::no_host;
use super::raw::At;
use super::schema::{Section, TARGET_DNS, TARGET_HTTP, items};
use super::tree::{Node, Value};
use super::value::{address, integer32, is_decimal, text};
use super::vocabulary::one_or_more;

/// The most targets of one section.
pub(super) const MAX_TARGETS: usize = 16;
/// The longest name of a host in text (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
const MAX_PATH: usize = 1024;
/// The most answers that one question may have to name.
const MAX_ANSWERS: usize = 16;

/// The lists of targets, in the order in which they are returned.
const KINDS: [&str; 4] = ["icmp", "tcp", "dns", "http"];

/// How many targets `section` has, right or wrong.
pub(super) fn given(section: &Section<'_>) -> usize {
    let count = |key: &&str| match section.get(key).map(|node| &node.value) {
        None | Some(Value::Null) => 0,
        Some(Value::List(list)) => list.len(),
        Some(_) => 1,
    };
    KINDS.iter().map(count).sum()
}

/// The targets of the section `targets`.
pub(super) fn read(section: &Section<'_>, report: &mut Report) -> Vec<At<Target>> {
    let mut out: Vec<At<Target>> = Vec::new();
    let (mut room, mut full) = (MAX_TARGETS, false);
    for key in KINDS {
        let list = nodes(section, key, report);
        if let Some(extra) = list.get(room)
            && !full
        {
            report.add(extra.at, format!("more than {MAX_TARGETS} targets"), "remove targets from here on");
            full = true;
        }
        for node in list.iter().take(room) {
            let target = match key {
                "icmp" => echo(node, report),
                "tcp" => connection(node, report),
                "dns" => question(node, report),
                _ => get(node, report),
            };
            out.extend(target.map(|value| At { value, at: node.at }));
        }
        room = room.saturating_sub(list.len());
    }
    for (i, target) in out.iter().enumerate() {
        let same = |first: &&At<Target>| is_same(&first.value, &target.value);
        if let Some(first) = out.iter().take(i).find(same) {
            let hint = format!("it is already on line {}; keep one of them", first.at.line);
            report.add(target.at, format!("the target {} is given twice", show(&target.value.name)), hint);
        }
    }
    let empty = |key: &&str| matches!(section.get(key), Some(Node { value: Value::List(list), .. }) if list.is_empty());
    // An empty list of hosts has been reported.
    if given(section) == 0 && !section.is_empty() && !["icmp", "tcp"].iter().any(empty) {
        let hint = "add some, as `icmp: [1.1.1.1, 9.9.9.9]`, or remove the section";
        report.add(section.at, "`targets` names no target", hint);
    }
    out
}

fn is_same(a: &Target, b: &Target) -> bool {
    a.probe == b.probe || (a.probe.kind() == b.probe.kind() && a.name == b.name)
}

/// The items of one kind; a host alone stands for a list of one.
fn nodes<'t>(section: &Section<'t>, key: &str, report: &mut Report) -> &'t [Node] {
    let Some(node) = section.get(key) else { return &[] };
    let what = format!("`{key}`");
    match key {
        "icmp" => one_or_more(node, &what, usize::MAX, "icmp: [1.1.1.1, 9.9.9.9]", report),
        "tcp" => one_or_more(node, &what, usize::MAX, "tcp: [\"198.51.100.7:443\"]", report),
        "dns" => {
            items(node, &what, "dns: [{ server: 9.9.9.9, name: example.com }]", report).unwrap_or_default()
        }
        _ => {
            let example = "http: [{ url: \"http://198.51.100.7/generate_204\" }]";
            items(node, &what, example, report).unwrap_or_default()
        }
    }
}

fn echo(node: &Node, report: &mut Report) -> Option<Target> {
    let given = text(node, "a target in `icmp`", "an address or a name", "icmp: [1.1.1.1]", report)?;
    let host = host(node, given, report)?;
    Some(Target { name: given.to_owned(), probe: TargetProbe::Icmp { host } })
}

fn connection(node: &Node, report: &mut Report) -> Option<Target> {
    let example = "tcp: [\"198.51.100.7:443\"]";
    let given = text(node, "a target in `tcp`", "a host and a port", example, report)?;
    let Some((name, after)) = given.rsplit_once(':').filter(|_| given.parse::<Ipv6Addr>().is_err()) else {
        let hint = format!("add it after a colon, as `\"{}:443\"`", shown_host(given));
        report.add(node.at, format!("a target in `tcp` has no port: {}", show(given)), hint);
        return None;
    };
    let (host, port) = (host(node, name, report), port(node, after, report));
    Some(Target { name: given.to_owned(), probe: TargetProbe::Tcp { host: host?, port: port? } })
}

/// What of a wrong host is worth to be shown as part of an example.
fn shown_host(given: &str) -> &str {
    if given.len() <= 40 && given.parse::<Ipv6Addr>().is_err() { given } else { "198.51.100.7" }
}

fn question(node: &Node, report: &mut Report) -> Option<Target> {
    let section = TARGET_DNS.open(node, node.at, "a target in `dns`", report)?;
    let server = section.require("server", "server: 9.9.9.9", report).and_then(|node| {
        let given = text(node, "`server`", "the address of a name server", "server: 9.9.9.9", report)?;
        let (name, after) = given.split_once(':').map_or((given, None), |(name, port)| (name, Some(port)));
        let port = after.map_or(Some(53), |after| port(node, after, report));
        match host(node, name, report)? {
            Host::Address(server) => Some((given, server, port?)),
            Host::Name(_) => {
                let message = format!("`server` is not an IPv4 address: {}", show(given));
                report.add(node.at, message, "a name server is named by its address, as `server: 9.9.9.9`");
                None
            }
        }
    });
    let question = section.require("name", "name: example.com", report).and_then(|node| {
        let given = text(node, "`name`", "a name", "name: example.com", report)?;
        match host(node, given, report)? {
            Host::Name(name) => Some((given, name)),
            Host::Address(_) => {
                let message = format!("`name` is an address, not a name: {}", show(given));
                report.add(node.at, message, "give the name that is to be resolved, as `name: example.com`");
                None
            }
        }
    });
    let answer = section.get("answer").map(|node| {
        let list = one_or_more(node, "`answer`", MAX_ANSWERS, "answer: [192.0.2.1]", report);
        let mut out: Vec<Ipv4Addr> =
            list.iter().filter_map(|item| address(item, "`answer`", report)).collect();
        out.sort_unstable();
        out.dedup();
        out
    });
    let ((written, server, port), (name, question)) = (server?, question?);
    let probe = TargetProbe::Dns { server, port, question, answer: answer.unwrap_or_default() };
    Some(Target { name: format!("{name}@{written}"), probe })
}

fn get(node: &Node, report: &mut Report) -> Option<Target> {
    let section = TARGET_HTTP.open(node, node.at, "a target in `http`", report)?;
    let example = "url: \"http://198.51.100.7/generate_204\"";
    let status = section.get("status").map_or(Some(204), |node| {
        let given = integer32(node, "`status`", 100..=599, "status: 204", report)?;
        u16::try_from(given).ok()
    });
    let node = section.require("url", example, report)?;
    let given = text(node, "`url`", "a URL", example, report)?;
    let (host, port, path) = url(node, given, report)?;
    Some(Target { name: given.to_owned(), probe: TargetProbe::Http { host, port, path, status: status? } })
}

/// `http://HOST[:PORT]/PATH`.
fn url(node: &Node, given: &str, report: &mut Report) -> Option<(Host, u16, String)> {
    let mut bad = |message: &str, hint: &str| {
        report.add(node.at, format!("{message}: {}", show(given)), hint);
        None
    };
    if given.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        let hint = "no TLS is spoken here; ask the port with `tcp: [\"HOST:443\"]`, or give an `http` URL";
        return bad("`https` is not supported", hint);
    }
    let form = "write it as `http://HOST/PATH` or `http://HOST:PORT/PATH`";
    let Some(rest) = given.strip_prefix("http://") else { return bad("`url` is no `http` URL", form) };
    let Some(slash) = rest.find('/') else { return bad("`url` has no path", "add `/` after the host") };
    let (authority, path) = rest.split_at_checked(slash)?;
    if authority.contains('@') {
        return bad("`url` has a user", "remove what is before `@`; nobody logs in");
    }
    if path.contains('#') {
        return bad("`url` has a fragment", "remove `#` and what follows; it is never sent");
    }
    if path.len() > MAX_PATH {
        return bad("the path of `url` is longer than 1024 bytes", "choose a shorter one");
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return bad("the path of `url` has a character that no URL has", "write it as `%` and two digits");
    }
    let (name, after) =
        authority.split_once(':').map_or((authority, None), |(name, port)| (name, Some(port)));
    let host = host(node, name, report)?;
    let port = after.map_or(Some(80), |after| port(node, after, report))?;
    Some((host, port, path.to_owned()))
}

fn port(node: &Node, given: &str, report: &mut Report) -> Option<u16> {
    let port = given.parse().ok().filter(|port| is_decimal(given) && *port > 0);
    if port.is_none() {
        let hint = "the port after the colon is a number from 1 to 65535";
        report.add(node.at, format!("{} is no port", show(given)), hint);
    }
    port
}

/// The host that `given`, a part of `node`, means.
fn host(node: &Node, given: &str, report: &mut Report) -> Option<Host> {
    let (message, hint) = if let Ok(ip) = given.parse() {
        let Some(kind) = no_host(ip) else { return Some(Host::Address(ip)) };
        (format!("{ip} is no host: it is {kind}"), "give the address of a host")
    } else if given.starts_with('[') || given.parse::<Ipv6Addr>().is_ok() {
        (format!("{} is no host", show(given)), "IPv6 is not supported; give an IPv4 address")
    } else if given.ends_with('.') {
        (format!("{} ends with a dot", show(given)), "write the name without it")
    } else if let Some(name) = host_name(given) {
        return Some(Host::Name(name));
    } else {
        let hint = "an IPv4 address, or a name of letters, digits and `-` between dots";
        (format!("{} is no host", show(given)), hint)
    };
    report.add(node.at, message, hint);
    None
}

/// RFC 1123 section 2.1; a last label of digits alone would be half an address.
fn host_name(given: &str) -> Option<String> {
    let fit = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = given.rsplit('.').next()?;
    let good =
        given.len() <= MAX_NAME && given.split('.').all(fit) && !last.bytes().all(|b| b.is_ascii_digit());
    good.then(|| given.to_ascii_lowercase())
}
