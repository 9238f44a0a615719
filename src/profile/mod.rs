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
mod cluster_types;
mod dhcp;
mod diff;
mod failover;
mod forwards;
mod group_types;
mod groups;
mod health;
mod health_types;
mod mistake;
mod names;
mod nat;
mod nat_types;
mod networks;
mod outside;
mod policy;
mod pools;
mod probes;
mod raw;
mod rule_types;
mod rules;
mod schema;
mod settings;
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

/// Reads and judges a profile file.
///
/// # Errors
/// `Io` if the file cannot be read, `Mistakes` if its content is wrong.
pub fn read(path: &Path) -> Result<Profile, ReadError> {
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
pub fn load_bytes(bytes: &[u8], file: &str) -> Result<Profile, Mistakes> {
    match std::str::from_utf8(bytes) {
        Ok(text) => load(text, file),
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

/// Judges the text of a profile. `file` is the name shown in messages.
///
/// # Errors
/// Every mistake of the text; if it is not even YAML, the first place where it is not.
pub fn load(text: &str, file: &str) -> Result<Profile, Mistakes> {
    if text.len() > MAX_BYTES {
        return Err(too_large(file));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::default();
    let profile = tree::parse(text, &mut report)
        .and_then(|root| raw::read(&root, &mut report))
        .map(|raw| check::check(raw, &mut report));
    match profile {
        Some(profile) if report.is_empty() => Ok(profile),
        _ => Err(report.finish(text, file)),
    }
}

fn too_large(file: &str) -> Mistakes {
    let mut report = Report::default();
    report.add(Position::START, "the file is larger than 1 MiB", "this is hardly a profile; check the path");
    report.finish("", file)
}
