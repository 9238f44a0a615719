//! The pair as a value: what `cluster` says to the member that this profile was read for.
//!
//! Interfaces are named by their index in `Profile::interfaces`. What the members' overlays say is in the rest of the profile already; here
//! is only what concerns the two.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use super::types::{maybe_text, nanos, text};
use crate::base::{Ipv4Net, Mac, Nanos};

/// A pair, from the point of view of one of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cluster {
    /// This member: 1 to 16 printable ASCII characters.
    pub member: String,
    /// The other one.
    pub partner: String,
    /// Over what the members hear each other; 1 to 8, no interface twice.
    pub paths: Vec<HeartbeatPath>,
    /// UDP port of the beats, and of what is told of sessions.
    pub port: u16,
    /// Time from one beat to the next; 1 ms to 10 s.
    #[serde(rename = "every_ns", serialize_with = "nanos")]
    pub every: Nanos,
    /// Silent for so long on all paths, the partner is lost. More than twice `every`.
    #[serde(rename = "timeout_ns", serialize_with = "nanos")]
    pub timeout: Nanos,
    /// What both sign with. Whether it is there is for those who run it.
    pub key_file: PathBuf,
    /// Who has the role where nothing else decides, until an operator says otherwise.
    pub preferred: String,
    /// When the preferred member gets the role back.
    pub failback: ClusterFailback,
    /// Addresses that the active member has.
    pub virtuals: Vec<VirtualAddress>,
    /// The endpoint that tells whether this member serves.
    pub status: Option<StatusEndpoint>,
    /// Of what the whole file says, for both members the same: 64 bits of a SHA-256, alike in every build.
    pub hash: u64,
    /// This member is active. Never so in a profile that was read: its router says so (`manage::roles`).
    #[serde(skip)]
    pub active: bool,
}

impl Cluster {
    /// The virtual address of an interface, by its index.
    pub fn floating(&self, interface: usize) -> Option<&VirtualAddress> {
        self.virtuals.iter().find(|floating| floating.interface == interface)
    }
}

/// A network over which the members hear each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeartbeatPath {
    /// By which interface.
    pub interface: usize,
    /// This member's address there.
    pub own: Ipv4Addr,
    /// The partner's, in the same network.
    pub partner: Ipv4Addr,
}

/// When the preferred member gets the role back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterFailback {
    /// By itself; otherwise when the holder fails, or the preference changes.
    pub automatic: bool,
    /// After it has been as fit for so long.
    #[serde(rename = "after_ns", serialize_with = "nanos")]
    pub after: Nanos,
}

/// An address of whoever is active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VirtualAddress {
    /// On which interface.
    pub interface: usize,
    /// With its network.
    #[serde(serialize_with = "text")]
    pub address: Ipv4Net,
    /// The MAC that goes with it, 00:00:5e:00:01:VRID (RFC 9568 7.3); `None`: the interface's own.
    #[serde(serialize_with = "maybe_text")]
    pub mac: Option<Mac>,
}

/// Where HTTP tells whether this member serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StatusEndpoint {
    /// At this member's first address of this interface.
    pub interface: usize,
    /// TCP port.
    pub port: u16,
    /// Who may ask.
    #[serde(serialize_with = "text")]
    pub from: Ipv4Net,
}
