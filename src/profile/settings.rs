//! The sections whose values stand for themselves: engine, icmp, management.
//!
//! Each reader begins with the defaults and overwrites what is given and right. A value that is wrong has been
//! reported; its default stays, which nobody sees, as a profile with a mistake is never returned.

use std::collections::HashMap;
use std::path::PathBuf;

use super::mistake::{Report, show};
use super::schema::{ENGINE, ICMP, MANAGEMENT, Section, items};
use super::tree::Node;
use super::types::{Engine, Hugepages, Icmp, Idle, Management};
use super::value::{boolean, integer, integer32, text, word};

/// The packet library's limit of threads.
const MAX_WORKERS: usize = 128;
/// The packet library's limit of core numbers that is asked of it.
const MAX_CORE: u64 = 1023;
/// `sun_path` less its closing zero.
const MAX_SOCKET: usize = 107;
/// `PATH_MAX` less its closing zero and the longest name of a file.
const MAX_FOLDER: usize = 3840;

pub(super) fn engine(top: &Section<'_>, report: &mut Report) -> Engine {
    let mut out = Engine::default();
    let Some(section) = top.sub("engine", &ENGINE, report) else { return out };
    let mut lines = HashMap::new();
    if let Some(node) = section.get("workers") {
        out.workers = workers(node, &mut lines, report);
    }
    if let Some(node) = section.get("manager") {
        out.manager = core(node, "`manager`", &mut lines, report);
    }
    if let Some(node) = section.get("sessions")
        && let Some(n) = integer32(node, "`sessions`", 1024..=16_515_072, "sessions: 1000000", report)
    {
        out.sessions = n;
    }
    if let Some(node) = section.get("hugepages") {
        let words =
            [("auto", Hugepages::Auto), ("required", Hugepages::Required), ("never", Hugepages::Never)];
        out.hugepages = word(node, "`hugepages`", &words, report).unwrap_or_default();
    }
    if let Some(node) = section.get("idle") {
        let words = [("auto", Idle::Auto), ("poll", Idle::Poll), ("sleep", Idle::Sleep)];
        out.idle = word(node, "`idle`", &words, report).unwrap_or_default();
    }
    if let Some(node) = section.get("eal") {
        for item in items(node, "`eal`", "eal: [\"--log-level=7\"]", report).unwrap_or_default() {
            let Some(argument) = text(item, "an argument in `eal`", "a text", "\"--log-level=7\"", report)
            else {
                continue;
            };
            if argument.is_empty() || argument.contains(char::is_control) {
                let message = format!("{} cannot be an argument", show(argument));
                report.add(item.at, message, "one argument an item, without line breaks");
            }
            out.eal.push(argument.to_owned());
        }
    }
    out
}

fn workers(node: &Node, lines: &mut HashMap<u64, u32>, report: &mut Report) -> Option<Vec<usize>> {
    let list = items(node, "`workers`", "workers: [2, 3]", report)?;
    if list.is_empty() {
        let hint =
            "name the cores, as `workers: [2, 3]`; without the key every allowed core but the first works";
        report.add(node.at, "`workers` is empty", hint);
    }
    if let Some(extra) = list.get(MAX_WORKERS) {
        report.add(extra.at, format!("more than {MAX_WORKERS} workers"), "remove cores from here on");
        return None;
    }
    let cores: Vec<usize> =
        list.iter().filter_map(|item| core(item, "a core in `workers`", lines, report)).collect();
    (cores.len() == list.len()).then_some(cores)
}

fn core(node: &Node, what: &str, lines: &mut HashMap<u64, u32>, report: &mut Report) -> Option<usize> {
    let core = integer(node, what, 0..=MAX_CORE, "2", report)?;
    if let Some(line) = lines.get(&core) {
        let message = format!("core {core} is given twice");
        report.add(node.at, message, format!("line {line} has it already; a thread needs a core of its own"));
        return None;
    }
    lines.insert(core, node.at.line);
    usize::try_from(core).ok()
}

pub(super) fn icmp(top: &Section<'_>, report: &mut Report) -> Icmp {
    let mut out = Icmp::default();
    let Some(section) = top.sub("icmp", &ICMP, report) else { return out };
    if let Some(node) = section.get("errors_per_second")
        && let Some(n) =
            integer32(node, "`errors_per_second`", 1..=1_000_000, "errors_per_second: 1000", report)
    {
        out.errors_per_second = n;
    }
    if let Some(node) = section.get("time_exceeded")
        && let Some(given) = boolean(node, "`time_exceeded`", report)
    {
        out.time_exceeded = given;
    }
    out
}

pub(super) fn management(top: &Section<'_>, report: &mut Report) -> Management {
    let mut out = Management::default();
    let Some(section) = top.sub("management", &MANAGEMENT, report) else { return out };
    if let Some(node) = section.get("socket") {
        socket(node, &mut out.socket, report);
    }
    if let Some(node) = section.get("journal") {
        journal(node, &mut out.journal, report);
    }
    out
}

fn socket(node: &Node, out: &mut PathBuf, report: &mut Report) {
    let example = "socket: /run/turnout/turnout.sock";
    let Some(path) = path(node, "socket", "a path", example, MAX_SOCKET, report) else { return };
    if path.ends_with('/') {
        report.add(node.at, "`socket` names a folder", "add the name of the socket itself");
    } else {
        *out = PathBuf::from(path);
    }
}

fn journal(node: &Node, out: &mut PathBuf, report: &mut Report) {
    let example = "journal: /var/lib/turnout";
    if let Some(path) = path(node, "journal", "the path of a folder", example, MAX_FOLDER, report) {
        *out = PathBuf::from(path);
    }
}

/// The absolute path of `key`, at most `most` bytes long.
pub(super) fn path<'t>(
    node: &'t Node,
    key: &str,
    expected: &str,
    example: &str,
    most: usize,
    report: &mut Report,
) -> Option<&'t str> {
    let path = text(node, &format!("`{key}`"), expected, example, report)?;
    let (message, hint) = if !path.starts_with('/') {
        ("must be an absolute path".to_owned(), "begin it with `/`")
    } else if path.len() > most {
        (format!("is longer than {most} bytes"), "Linux takes no longer path here; choose a shorter one")
    } else if path.contains(char::is_control) {
        ("has control characters".to_owned(), "choose a plain path")
    } else {
        return Some(path);
    };
    report.add(node.at, format!("`{key}` {message}"), hint);
    None
}
