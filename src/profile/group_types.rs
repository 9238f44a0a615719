//! Who leaves by which WAN, and what becomes of what is there when that changes, as values: groups, policy, hooks.
//!
//! `Profile::groups` begins with `default`, made of all WANs unless the file says otherwise. Defaults are those of a
//! careful operator, in the `Default` of each type. WANs are named by their index in `Profile::wans`, groups by their
//! index in `Profile::groups`. Serialized, spans of time are whole nanoseconds with the unit in the key.

use std::path::PathBuf;

use serde::Serialize;

pub use crate::base::Fate;
use crate::base::Nanos;

use super::rule_types::Match;
use super::types::nanos;

/// The most groups that run: those of the file, and one for each way that `policy` uses a group or a WAN.
pub const MAX_GROUPS: usize = 64;

/// WANs that stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// As an interface's name, but no WAN's and no other group's; the first group is `default`.
    pub name: String,
    /// How a host's WAN is chosen.
    pub mode: Mode,
    /// By rising tier, then in the order of the file; no WAN twice, never empty.
    pub members: Vec<Member>,
    /// How a better WAN that is fit again gets its flows back.
    pub failback: Failback,
    /// What is done while no member is fit.
    pub none_fit: NoneFit,
}

/// A WAN of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Index of the WAN.
    pub wan: usize,
    /// The lowest tier with a fit WAN carries; 1 to 16. Left out: in `Failover` the tier after that of the member
    /// before, in `Balance` the same; the first has 1.
    pub tier: u8,
    /// Its share of the hosts of its tier; 1 to 100, 1 if left out. Counts in `Balance` only: 1 in `Failover`.
    pub weight: u16,
}

/// How a host's WAN is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All by one: the first fit member.
    #[default]
    Failover,
    /// By weight among the fit members of the lowest tier that has one; a host stays with its WAN.
    Balance,
}

/// How a better WAN that is fit again gets its flows back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Failback {
    /// By itself; else only when the operator says so.
    pub automatic: bool,
    /// How long the WAN has to have been up before that; 0 to 24 h. Its default unless `automatic`.
    #[serde(rename = "after_ns", serialize_with = "nanos")]
    pub after: Nanos,
}

impl Default for Failback {
    fn default() -> Failback {
        Failback { automatic: true, after: Nanos::from_s(30) }
    }
}

/// What is done while no member of a group is fit. Written `when_none_fit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NoneFit {
    /// The lowest tier with link and a resolved gateway carries all the same.
    #[default]
    Best,
    /// Hosts are told that the destination is unreachable.
    Unreachable,
}

/// A rule of the policy; the first that fits a new flow from inside decides, and where none fits, group 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// The flows that it decides; never from a WAN, never `To::Own`.
    pub when: Match,
    /// Where they leave. Written `use`.
    pub uses: Use,
    /// What becomes of them while that is not fit.
    pub otherwise: Otherwise,
    /// What becomes of them when their WAN is left: the profile's, with what the rule says of its own.
    pub on_failover: OnFailover,
}

/// What a rule of the policy sends flows to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Index of a group.
    Group(usize),
    /// Index of a WAN.
    Wan(usize),
}

/// What becomes of flows while what they are to use is not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// They leave by the group `default`.
    #[default]
    Default,
    /// They are refused.
    Reject,
}

/// What becomes of what was opened from inside when its WAN is left for being unfit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OnFailover {
    /// How long TCP waits for its WAN before it is reset; 0 to 1 h. Written `tcp: { reset_after }`.
    #[serde(rename = "tcp_reset_after_ns", serialize_with = "nanos")]
    pub tcp_reset_after: Nanos,
    /// UDP.
    pub udp: Fate,
    /// ICMP.
    pub icmp: Fate,
}

impl Default for OnFailover {
    fn default() -> OnFailover {
        OnFailover { tcp_reset_after: Nanos::from_s(2), udp: Fate::Rebind, icmp: Fate::Rebind }
    }
}

/// What becomes of what is still on a WAN that was only a stand-in, when a better one is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OnFailback {
    /// How long it may stay; 0 to 24 h.
    #[serde(rename = "drain_ns", serialize_with = "nanos")]
    pub drain: Nanos,
    /// How long it may stay on a metered WAN; 0 to 24 h.
    #[serde(rename = "metered_ns", serialize_with = "nanos")]
    pub metered: Nanos,
    /// TCP that is there then.
    pub tcp: TcpFate,
    /// UDP that is there then.
    pub udp: Fate,
}

impl Default for OnFailback {
    fn default() -> OnFailback {
        OnFailback {
            drain: Nanos::from_s(3600),
            metered: Nanos::from_s(120),
            tcp: TcpFate::Reset,
            udp: Fate::Rebind,
        }
    }
}

/// What becomes of TCP once the time to drain is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpFate {
    /// Both ends are told.
    #[default]
    Reset,
    /// It stays until it ends.
    Keep,
}

/// A program of the operator's that is told of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Of which, ascending, none twice, never empty. Written `event`.
    pub events: Vec<HookEvent>,
    /// The program; absolute, at most 4095 bytes, no folder by its name.
    pub run: PathBuf,
}

/// What a hook may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// A group left a WAN that was not fit any more.
    Failover,
    /// A group went back to a better WAN.
    Failback,
    /// The address of a WAN changed.
    Address,
    /// The router's role in its cluster changed; never without a cluster (refused then).
    Role,
}
