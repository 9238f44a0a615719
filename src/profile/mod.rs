//! The profile: what the operator wants, read from YAML and judged as a whole.
//!
//! Text comes in, a typed `Profile` comes out, or `Mistakes`: all of them at once, each with its line, its column
//! and what to do. Three steps: `tree` (YAML to nodes with positions); `raw` with `settings`, `health`, `targets`,
//! `groups`, `policy`, `failover`, `nat`, `rules`, `forwards`, `pools`, `dhcp` (nodes to values, by the key tables of `schema`,
//! in the words of `value` and `vocabulary`); `check` with `networks`, `outside` and `probes` (the rules between values).
//!
//! Invariants: nothing in a file is ever ignored; what is wrong, unknown or not built yet is a mistake. A `Profile`
//! that was returned keeps every rule, so that its users need no checks of their own. No input makes it panic, and
//! its work is bounded by the size limit of the file.
#![forbid(unsafe_code)]

mod arms;
mod check;
mod cluster;
mod cluster_types;
mod dhcp;
mod diff;
mod failover;
mod forwards;
mod group_types;
mod groups;
mod health;
mod health_types;
mod identity;
mod members;
mod mistake;
mod names;
mod nat;
mod nat_types;
mod networks;
mod outside;
mod pair;
mod policy;
mod pools;
mod probes;
mod raw;
mod rule_types;
mod rules;
mod schema;
mod settings;
mod shared;
mod sharing;
mod targets;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod value;
mod vocabulary;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use cluster_types::{Cluster, ClusterFailback, HeartbeatPath, StatusEndpoint, VirtualAddress};
pub use diff::{differences, needs_restart};
pub use group_types::{
    Failback, Fate, Group, Hook, HookEvent, MAX_GROUPS, Member, Mode, NoneFit, OnFailback, OnFailover,
    Otherwise, Policy, TcpFate, Use,
};
pub use health_types::{Bfd, BfdPeer, Degraded, Health, Host, Target, TargetProbe, Targets};
pub use identity::{Identity, MEMBER_FILE};
pub use mistake::{Mistake, Mistakes};
pub use nat_types::{
    Filter, Filtering, Full, Log, Midstream, MssClamp, Nat, Quarantine, Share, Timeouts, WhenFull,
};
pub use rule_types::{Action, Forward, Match, OneToOne, Pool, PoolArp, Rule, To, WhenDown};
pub use types::{
    DEFAULT_JOURNAL, DEFAULT_SOCKET, Dhcp, Engine, Hugepages, Icmp, Idle, Interface, MAX_INTERFACES,
    MAX_WANS, Management, PortSpec, Position, Profile, Route, Wan,
};

use mistake::Report;

/// The largest profile that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Why a profile could not be read from a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("cannot read {}: {error}; {}", path.display(), remedy(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Which member of the pair this machine is cannot be said.
    #[error("{text}")]
    Member {
        /// What is wrong and what to do, in one line.
        text: String,
    },
    /// The file was read, and is wrong.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "give the path of the profile, or write one there",
        io::ErrorKind::PermissionDenied => "run as a user who may read it, or change its mode",
        io::ErrorKind::IsADirectory => "give the path of the file itself",
        _ => "check the path and the disk",
    }
}

/// Reads and judges a profile file; that of a pair for the member that this machine is. Both members are judged all the same.
///
/// # Errors
/// `Io` if a file cannot be read, `Member` if nobody says which member this is, or the profile has none of that name, `Mistakes` if
/// the content of the profile is wrong.
pub fn read(path: &Path, identity: &Identity) -> Result<Profile, ReadError> {
    let mut views = read_all(path)?;
    let is_pair = views.len() > 1;
    let name = if is_pair { identity.name()? } else { identity.given.clone() };
    let member = |view: &Profile| view.cluster.as_ref().map(|cluster| cluster.member.clone());
    let index = match &name {
        None if is_pair => None,
        None => Some(0),
        Some(_) => views.iter().position(|view| name == member(view)),
    };
    if let Some(index) = index.filter(|index| *index < views.len()) {
        return Ok(views.swap_remove(index));
    }
    let (path, file) = (path.display(), identity.file.display());
    let names: Vec<String> = views.iter().filter_map(member).map(|name| mistake::show(&name)).collect();
    let names = names.join(" and ");
    let text = match name.as_deref().map(mistake::show) {
        None => {
            format!(
                "{path} is for the members {names}, and nothing says which one this is; give `--member NAME`, or \
                 write the name into {file}"
            )
        }
        Some(name) if is_pair => {
            let place = if identity.given.is_some() { "`--member`".to_owned() } else { file.to_string() };
            format!("{path} has no member {name}, which {place} says this is; its members are {names}")
        }
        Some(name) => {
            format!("{path} has no `cluster`, so that it has no member {name}; leave `--member` out")
        }
    };
    Err(ReadError::Member { text })
}

/// Reads and judges a profile file for all that run by it: one router, or both members of a pair.
///
/// # Errors
/// `Io` if the file cannot be read, `Mistakes` if its content is wrong.
pub fn read_all(path: &Path) -> Result<Vec<Profile>, ReadError> {
    let io_error = |error| ReadError::Io { path: path.to_path_buf(), error };
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" from "just fits", even for a pipe or a device.
    let limit = MAX_BYTES as u64 + 1;
    File::open(path).map_err(io_error)?.take(limit).read_to_end(&mut bytes).map_err(io_error)?;
    Ok(load_bytes(&bytes, &path.display().to_string())?)
}

/// Judges the bytes of a profile, which need not be UTF-8. `file` is the name shown in messages.
///
/// # Errors
/// Every mistake of the text.
pub fn load_bytes(bytes: &[u8], file: &str) -> Result<Vec<Profile>, Mistakes> {
    match std::str::from_utf8(bytes) {
        Ok(text) => load_all(text, file),
        // A character cut by the reader's limit is no mistake of the author's.
        Err(_) if bytes.len() > MAX_BYTES => Err(too_large(file)),
        Err(error) => {
            let (good, rest) = bytes.split_at(error.valid_up_to());
            let text = format!("{}{}", String::from_utf8_lossy(good), String::from_utf8_lossy(rest));
            let mut report = Report::default();
            report.add(
                Position::of_offset(&text, good.len()),
                "the file is not UTF-8 from here on",
                "save the profile as UTF-8 text",
            );
            Err(report.finish(&text, file))
        }
    }
}

/// Judges the text of a profile for a router by itself. `file` is the name shown in messages.
///
/// # Errors
/// Every mistake of the text; if it is not even YAML, the first place where it is not. That of a pair is one.
pub fn load(text: &str, file: &str) -> Result<Profile, Mistakes> {
    let mut views = load_all(text, file)?;
    match (views.pop(), views.is_empty()) {
        (Some(profile), true) => Ok(profile),
        _ => {
            Err(lone(text, file, "this profile is for the members of a pair", "say for which one it is read"))
        }
    }
}

/// Judges the text of a pair's profile for both members, and returns that of `member`. `file` is the name shown in messages.
///
/// # Errors
/// Every mistake of the text; and if it is not of a pair with this member.
pub fn load_member(text: &str, file: &str, member: &str) -> Result<Profile, Mistakes> {
    let mut views = load_all(text, file)?.into_iter();
    let is = |view: &Profile| view.cluster.as_ref().is_some_and(|cluster| cluster.member == member);
    let message = format!("this profile has no member {}", mistake::show(member));
    views.find(is).ok_or_else(|| lone(text, file, &message, "name one of `cluster.members`"))
}

/// Judges the text of a profile for all that run by it: one router, or both members of a pair, in the order of the file.
/// `file` is the name shown in messages.
///
/// # Errors
/// Every mistake of the text; if it is not even YAML, the first place where it is not.
pub fn load_all(text: &str, file: &str) -> Result<Vec<Profile>, Mistakes> {
    if text.len() > MAX_BYTES {
        return Err(too_large(file));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let mut views = Vec::new();
    if let Some(root) = tree::parse(text, &mut report) {
        match cluster::of(&root) {
            Some(entry) => views = members::judge(&root, entry, &mut report),
            None => {
                let raw = raw::read(&root, None, &mut report);
                views.extend(raw.map(|raw| check::check(raw, &mut report).0));
            }
        }
    }
    if report.is_empty() && !views.is_empty() { Ok(views) } else { Err(report.finish(text, file)) }
}

/// A mistake of the whole file.
fn lone(text: &str, file: &str, message: &str, hint: &str) -> Mistakes {
    let mut report = Report::default();
    report.add(Position::START, message, hint);
    report.finish(text, file)
}

fn too_large(file: &str) -> Mistakes {
    lone("", file, "the file is larger than 1 MiB", "this is hardly a profile; check the path")
}
