//! The architecture, held: who may use whom, where unsafe code may be, how long a file may get.
//!
//! Reads every path of `src/` that starts at the crate's root, but for comments, strings and what is under
//! `#[cfg(test)]`, and lists every offence with its line. `docs/architecture.md` has the picture; an arrow that is to
//! be allowed is added there and here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A module, and the modules that it may use: whole, or a part of one.
const ARROWS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("wire", &["base"]),
    ("packet", &["wire", "base"]),
    ("table", &["packet", "wire", "base"]),
    ("nat", &["table", "packet", "wire", "base"]),
    ("path", &["nat", "table", "packet", "wire", "base"]),
    ("engine", &["path", "nat", "table", "packet", "wire", "base"]),
    ("worker", &["engine", "dpdk", "path", "nat", "table", "packet", "wire", "base"]),
    ("host", &["engine", "dpdk", "path", "table", "base"]),
    ("dpdk", &["table::store", "packet", "base"]),
    ("wan", &["wire", "base"]),
    ("cluster", &["wire", "base"]),
    ("profile", &["base"]),
    ("manage", &["wan", "cluster", "profile", "engine", "path", "nat", "table", "packet", "wire", "base"]),
    ("cli", &["demo", "bench", "profile", "base", "manage::protocol"]),
    ("demo", &["profile", "base", "manage::protocol"]),
    ("bench", &["engine", "worker", "dpdk", "path", "nat", "table", "packet", "wire", "base"]),
    (
        "sim",
        &["engine", "path", "wan", "cluster", "manage", "profile", "nat", "table", "packet", "wire", "base"],
    ),
];

const LINES: usize = 400;

/// The only file outside `dpdk` with unsafe code.
const UNSAFE_FILE: &str = "table/store.rs";

/// A source file, its path below `src/`, and its text without comments, strings and tests.
struct Source {
    path: PathBuf,
    raw: String,
    code: String,
    /// Its parent declares it under `#[cfg(test)]`.
    test: bool,
}

impl Source {
    fn new(path: &Path, raw: &str) -> Source {
        Source { path: path.to_owned(), raw: raw.to_owned(), code: without_tests(&blank(raw)), test: false }
    }

    /// The module that the file belongs to: its folder, or its name.
    fn module(&self) -> String {
        let first = self.path.iter().next().map(|part| part.to_string_lossy().into_owned());
        first.unwrap_or_default().trim_end_matches(".rs").to_owned()
    }

    /// A file of the binary, or the library's root, may use everything.
    fn is_root(&self) -> bool {
        ["main", "run", "lib"].contains(&self.module().as_str())
    }

    /// The folder of the files that it declares.
    fn folder(&self) -> PathBuf {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        match self.path.file_stem() {
            Some(stem) if stem != "mod" && !self.is_root() => parent.join(stem),
            _ => parent.to_owned(),
        }
    }

    /// So many `super::` lead to the crate's root.
    fn depth(&self) -> usize {
        self.folder().iter().count()
    }

    /// The files that it declares under `#[cfg(test)]`, without `.rs` or `/mod.rs`.
    fn test_files(&self) -> Vec<PathBuf> {
        let code = blank(&self.raw);
        let after = code.split("#[cfg(test)]").skip(1).filter_map(|rest| rest.split_once(';'));
        let names =
            after.filter_map(|(item, _)| item.split_once("mod ").map(|(_, name)| name.trim().to_owned()));
        let plain = |name: &String| name.chars().all(|c| c.is_alphanumeric() || c == '_');
        names.filter(plain).map(|name| self.folder().join(name)).collect()
    }

    /// The head of a module: its `mod.rs`, or its only file.
    fn is_head(&self) -> bool {
        self.path.iter().count() == 1 || self.path == Path::new(&self.module()).join("mod.rs")
    }

    fn at(&self, offset: usize) -> String {
        let line = self.code[..offset].matches('\n').count() + 1;
        format!("src/{}:{line}", self.path.display())
    }
}

/// The same text with comments, strings and character literals blanked; lines stay where they are.
fn blank(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &raw.as_bytes()[at..];
        let skip = if rest.starts_with(b"//") {
            rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block(rest)
        } else if let Some(length) = raw_string(rest, at.checked_sub(1).map(|before| bytes[before])) {
            length
        } else if rest[0] == b'"' {
            quoted(rest, b'"')
        } else if rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || char_ends(&raw[at + 1..])) {
            quoted(rest, b'\'')
        } else {
            at += 1;
            continue;
        };
        out[at..at + skip].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        at += skip;
    }
    String::from_utf8(out).unwrap()
}

/// `'x'` is a character, `'x` a lifetime.
fn char_ends(after_quote: &str) -> bool {
    after_quote.chars().nth(1) == Some('\'')
}

fn block(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if rest[0] != b'r' || before.is_some_and(|b| b != b'b' && (b.is_ascii_alphanumeric() || b == b'_')) {
        return None;
    }
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.extend(vec![b'#'; hashes]);
    let body = &rest[2 + hashes..];
    let found = body.windows(end.len()).position(|window| window == end).unwrap_or(body.len() - end.len());
    Some(2 + hashes + found + end.len())
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Blanks what follows a `#[cfg(test)]`, to its closing brace or semicolon.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) =
        ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| out[from..].find(mark)).min()
    {
        let start = from + found;
        let mut depth = 0;
        let mut end = out.len();
        for (offset, c) in out[start..].char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 && matches!(c, '}' | ';') {
                end = start + offset + 1;
                break;
            }
        }
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        // only ASCII is left in code but for names; keep the bytes in step all the same
        let pad = (end - start) - blank.len();
        out.replace_range(start..end, &(blank + &" ".repeat(pad)));
        from = end;
    }
    out
}

/// What is used of the crate, as `module::next`, with the offset of each.
fn uses(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (start, _) in code.match_indices(&root) {
            let before = code[..start].chars().next_back();
            // a longer name, or a longer chain; `$crate::` of a macro is meant as well
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                paths(&code[start + root.len()..], start + root.len(), "", &mut found);
            }
        }
    }
    found
}

/// Reads `a::b`, or each of `{a, b::{c, d}}`, to a depth of two names.
fn paths(rest: &str, offset: usize, parent: &str, found: &mut Vec<(usize, String)>) {
    let skipped = rest.len() - rest.trim_start().len();
    let (rest, offset) = (&rest[skipped..], offset + skipped);
    if let Some(inside) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    if !inside[start..at].trim().is_empty() {
                        paths(&inside[start..at], offset + 1 + start, parent, found);
                    }
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let after = &rest[name.len()..];
    match after.strip_prefix("::") {
        Some(deeper) if parent.is_empty() => paths(deeper, offset + name.len() + 2, &name, found),
        _ if parent.is_empty() => found.push((offset, name)),
        _ => found.push((offset, format!("{parent}::{name}"))),
    }
}

fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !part(code[..*at].chars().next_back()) && !part(code[at + word.len()..].chars().next())
    })
}

/// Every offence of one file.
fn offences(source: &Source) -> Vec<String> {
    let mut list = Vec::new();
    let module = source.module();
    let lines = source.raw.lines().count();
    if lines > LINES {
        list.push(format!("src/{}:{LINES}: {lines} lines, at most {LINES}", source.path.display()));
    }
    if module != "dpdk" {
        if source.path != Path::new(UNSAFE_FILE) {
            list.extend(
                words(&source.code, "unsafe").map(|at| format!("{}: unsafe outside dpdk", source.at(at))),
            );
        }
        // The head of the folder with the one file that may cannot forbid it, only deny it to the others.
        let level = if Path::new(UNSAFE_FILE).starts_with(&module) { "deny" } else { "forbid" };
        let line = format!("#![{level}(unsafe_code)]");
        if source.is_head() && !source.is_root() && !source.code.contains(&line) {
            list.push(format!("src/{}:1: no {line}", source.path.display()));
        }
    }
    if source.is_root() || source.test {
        return list;
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        list.push(format!("src/{}:1: the module {module} has no row in ARROWS", source.path.display()));
        return list;
    };
    for (at, used) in uses(&source.code, source.depth()) {
        let first = used.split("::").next().unwrap_or_default();
        let good = first == module || allowed.iter().any(|arrow| *arrow == first || *arrow == used);
        // what the crate's root defines itself (a macro) is nobody's module; nothing named is all of them
        if !good && (first.is_empty() || ARROWS.iter().any(|(name, _)| *name == first)) {
            list.push(format!("{}: {module} must not use {used}", source.at(at)));
        }
    }
    list
}

fn sources(folder: &Path, root: &Path, list: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, root, list);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let raw = fs::read_to_string(&path).unwrap();
            list.push(Source::new(path.strip_prefix(root).unwrap(), &raw));
        }
    }
}

#[test]
fn every_arrow_points_down_and_unsafe_stays_in_dpdk() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    sources(&root, &root, &mut all);
    assert!(all.len() > 3, "no sources in {}", root.display());
    let tests: Vec<PathBuf> = all.iter().flat_map(Source::test_files).collect();
    for source in &mut all {
        source.test = tests.iter().any(|test| source.folder().starts_with(test));
    }
    let mut list = String::new();
    for offence in all.iter().flat_map(offences) {
        let _ = writeln!(list, "{offence}");
    }
    assert!(list.is_empty(), "\n{list}");
}

#[test]
fn the_arrows_have_no_circle() {
    for (module, _) in ARROWS {
        let mut reached = BTreeSet::new();
        let mut open = vec![*module];
        while let Some(next) = open.pop() {
            let uses = ARROWS.iter().find(|(name, _)| *name == next).map_or(&[][..], |(_, uses)| uses);
            // the protocol is a leaf inside `manage`
            open.extend(uses.iter().filter(|used| !used.contains("::") && reached.insert(**used)));
        }
        assert!(!reached.contains(module), "{module} reaches itself");
    }
}

fn judged(path: &str, text: &str) -> Vec<String> {
    offences(&Source::new(Path::new(path), text))
}

#[test]
fn offences_are_found_however_they_are_written() {
    let head = "#![forbid(unsafe_code)]\n";
    let bad = [
        ("nat/mod.rs", "use crate::path::Path;", "src/nat/mod.rs:2: nat must not use path::Path"),
        ("wan/x.rs", "use crate::{base::Nanos,\n nat};", "src/wan/x.rs:3: wan must not use nat"),
        ("wan/x.rs", "fn f() { crate::engine::turn() }", "src/wan/x.rs:2: wan must not use engine::turn"),
        (
            "cli/x.rs",
            "use crate::manage::{protocol::ask, view};",
            "src/cli/x.rs:2: cli must not use manage::view",
        ),
        (
            "cli/x.rs",
            "pub(in crate::cli) use crate::wan::State;",
            "src/cli/x.rs:2: cli must not use wan::State",
        ),
        ("manage/x.rs", "use crate::dpdk;", "src/manage/x.rs:2: manage must not use dpdk"),
        ("base.rs", "unsafe fn f() {}", "src/base.rs:2: unsafe outside dpdk"),
        ("table/x.rs", "unsafe fn f() {}", "src/table/x.rs:2: unsafe outside dpdk"),
        ("wan/mod.rs", "use super::nat::Nat;", "src/wan/mod.rs:2: wan must not use nat::Nat"),
        ("wan/x.rs", "use super::super::nat;", "src/wan/x.rs:2: wan must not use nat"),
        ("wan/x.rs", "use crate::*;", "src/wan/x.rs:2: wan must not use "),
        ("newcomer/mod.rs", "", "src/newcomer/mod.rs:1: the module newcomer has no row in ARROWS"),
    ];
    for (path, line, want) in bad {
        assert_eq!(judged(path, &format!("{head}{line}\n")), [want], "{line}");
    }
    assert_eq!(judged("wan/mod.rs", "//! x\n"), ["src/wan/mod.rs:1: no #![forbid(unsafe_code)]"]);
    assert_eq!(judged("wan/x.rs", &"\n".repeat(401)), ["src/wan/x.rs:400: 401 lines, at most 400"]);
}

#[test]
fn tests_comments_and_strings_are_no_offence() {
    let good = [
        ("wan/x.rs", "// use crate::nat; unsafe\n/* crate::nat /* unsafe */ crate::nat */"),
        ("wan/x.rs", "const A: &str = \"crate::nat \\\" unsafe\"; const B: &str = r#\"crate::nat \" x\"#;"),
        ("wan/x.rs", "const Q: char = '\"'; fn f<'a>(x: &'a str) {} const R: char = '\\''; // crate::nat"),
        ("wan/x.rs", "#[cfg(test)]\nmod tests { use crate::nat::Nat; fn f() { unsafe {} } }"),
        ("wan/x.rs", "#[cfg(test)]\nuse crate::nat::Nat;\nuse crate::base::Nanos;"),
        ("wan/x.rs", "use super::nat::Nat;"),
        ("wan/x/y.rs", "use super::super::nat::Nat;"),
        ("cli/x.rs", "use crate::manage::protocol::{ask, Request};"),
        ("cli/x.rs", "use crate::{base::{Mac, Nanos}, manage::protocol};"),
        ("dpdk/x.rs", "unsafe { x() }"),
        ("table/store.rs", "unsafe { x() }"),
        ("lib.rs", "pub mod wan; use crate::dpdk;"),
    ];
    for (path, text) in good {
        assert_eq!(judged(path, text), [""; 0], "{text}");
    }
    let parent = Source::new(
        Path::new("wan/mod.rs"),
        "#[cfg(test)]\nmod tests_sim;\nmod x;\n#[cfg(test)] mod y { ; }",
    );
    assert_eq!(parent.test_files(), [Path::new("wan/tests_sim")]);
    let after = "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::nat;";
    assert_eq!(judged("wan/x.rs", after), ["src/wan/x.rs:3: wan must not use nat"]);
}
