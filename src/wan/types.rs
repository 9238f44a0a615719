//! The vocabulary of the WAN machinery: what goes in, and what comes out.
//!
//! Inputs and effects are plain values that can be written down and read back: a journal of inputs with their times
//! is all that is needed to come to the same effects again. Times are those of the hand that measured them: a
//! worker stamps what it sends and receives, the caller's `now` says when the machinery got to know.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::config::Config;
pub use super::reasons::{Cause, Kind, Reason};
use super::status::{Bond, Standing, State};
use crate::base::{Nanos, WanId};

/// The operator's word on a WAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// The probes decide.
    #[default]
    Auto,
    /// As if it had failed.
    Down,
    /// Keeps what it has, gets nothing new.
    Drain,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    /// The gateway, by ARP.
    Gateway,
    /// The so-manieth target of the WAN's `Health`.
    Target(u8),
}

/// What has become of a WAN's BFD session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BfdSays {
    /// It is up.
    Up,
    /// It was up and is not: the WAN is down.
    Lost,
    /// The peer has taken it down on purpose, which says nothing of the WAN (RFC 5882 3.2).
    Withdrawn,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub enum Input {
    /// The link of the WAN's port, as polled; saying it again changes nothing.
    Link {
        /// Whose link.
        wan: WanId,
        /// Whether it is there.
        up: bool,
    },
    /// An asked-for probe has left.
    ProbeSent {
        /// By which WAN.
        wan: WanId,
        /// To whom.
        probe: Probe,
        /// As it was asked for.
        round: u32,
        /// When it was put on the wire.
        at: Nanos,
    },
    /// A probe was answered.
    ProbeReply {
        /// On which WAN.
        wan: WanId,
        /// By whom.
        probe: Probe,
        /// The probe that it answers; `None` from the gateway, as ARP carries no number.
        round: Option<u32>,
        /// When it was taken off the wire.
        at: Nanos,
    },
    /// Of the BFD session with the gateway.
    Bfd {
        /// On which WAN.
        wan: WanId,
        /// What has become of it.
        says: BfdSays,
    },
    /// The traffic of a busy WAN has fallen silent, says its `Sensor`.
    Silence {
        /// Which WAN.
        wan: WanId,
    },
    /// A WAN whose address comes by DHCP has a lease, or has none any more: then everything on it is left, TCP at once.
    Lease {
        /// Which WAN.
        wan: WanId,
        /// Whether it has one.
        held: bool,
    },
    /// The address of a WAN has changed: everything on it is left, TCP at once.
    Address {
        /// Which WAN.
        wan: WanId,
    },
    /// The operator has spoken.
    Admin {
        /// On which WAN.
        wan: WanId,
        /// What is wanted.
        admin: Admin,
        /// Even if no fit WAN is left then.
        force: bool,
    },
    /// Time has passed. The only input that judges probes: hand in what has arrived before it.
    Tick,
}

/// Another configuration, and what came with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconfigured {
    /// Of the same WANs; as large as the head of a journal, so no `Input`
    pub config: Config,
    /// WANs that have another address with it
    pub addresses: Vec<WanId>,
}

/// What is to be done, or told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Send one probe now, and confirm it with `Input::ProbeSent`.
    Probe {
        /// By which WAN.
        wan: WanId,
        /// To whom.
        probe: Probe,
        /// Its number: comes back with what is told of it.
        round: u32,
    },
    /// The link has come or gone, or is known for the first time.
    Link {
        /// Whose link.
        wan: WanId,
        /// Whether it is there.
        up: bool,
    },
    /// The operator's override has changed.
    Admin {
        /// Of which WAN.
        wan: WanId,
        /// What it was.
        from: Admin,
        /// What it is.
        to: Admin,
    },
    /// A WAN's state has changed.
    State(StateChange),
    /// A group's new sessions go elsewhere from now on.
    Selected(Selection),
    /// A group uses a WAN in another way, or its bond has changed. Comes after the `Selected` of the same transaction.
    Standing(StandingChange),
    /// Targets have died for all WANs at once: no WAN is taken down for them.
    Blamed {
        /// As the operator wrote them.
        targets: Vec<String>,
    },
    /// A busy WAN has fallen silent: probes find out.
    Confirming {
        /// Which WAN.
        wan: WanId,
    },
    /// It answers, or cannot be asked: it stays.
    Cleared {
        /// Which WAN.
        wan: WanId,
    },
}

/// A measured value against its threshold: what a decision was made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// On which WAN.
    pub wan: WanId,
    /// `link lease gateway icmp tcp dns http bfd loss latency jitter silence`
    pub probe: Cow<'static, str>,
    /// Whom it was measured at, as the operator wrote it; empty if that is clear.
    pub target: String,
    /// What was measured.
    pub value: u64,
    /// What it was held against.
    pub threshold: u64,
    /// `probes rounds percent us ms`; empty if it has none.
    pub unit: Cow<'static, str>,
}

impl Evidence {
    pub(super) fn new(
        wan: WanId,
        probe: &'static str,
        value: u64,
        threshold: u64,
        unit: &'static str,
    ) -> Evidence {
        Evidence { wan, probe: probe.into(), target: String::new(), value, threshold, unit: unit.into() }
    }
}

/// A WAN's state has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// Of which WAN.
    pub wan: WanId,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// What was measured.
    pub evidence: Vec<Evidence>,
}

/// A group uses a WAN in another way, or its bond has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingChange {
    /// Which group.
    pub group: u8,
    /// Which WAN.
    pub wan: WanId,
    /// How it stood.
    pub from: Standing,
    /// How it stands; the same if only the bond has changed.
    pub to: Standing,
    /// The bond from now on.
    pub bond: Bond,
}

/// A group's new sessions go elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Which group.
    pub group: u8,
    /// The WAN that carries no more; in balance, when one only joins, one of those that go on. `None` before the first.
    pub from: Option<WanId>,
    /// The WAN that carries from now on; in balance, when one only goes, one of those that go on. `None` if nobody does.
    pub to: Option<WanId>,
    /// All that carry from now on.
    pub carrying: Vec<WanId>,
    /// What kind of change it is.
    pub kind: Kind,
    /// What brought it about.
    pub cause: Cause,
    /// The last good sign of the WAN that `cause` speaks of: `from` if that one is unfit, else `to`.
    pub last_ok: Option<Nanos>,
    /// When it was decided.
    pub detected: Nanos,
    /// What was measured at the WAN that `cause` speaks of.
    pub evidence: Vec<Evidence>,
}

/// Why the operator's word was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would leave no WAN for new sessions.
    #[error("it is the last fit WAN: new sessions would have nowhere to go (--force does it all the same)")]
    LastFit,
}
