//! How WANs and groups stand, to be read between two steps.
//!
//! A WAN's status is what it is by itself, judged once for all groups. What a group makes of its WANs is the group's:
//! who carries, and for each WAN a standing and a bond. Epochs are compared for equality by those who remember them.

use serde::{Deserialize, Serialize};

use super::config::Fate;
use super::types::{Admin, Evidence, Reason};
use crate::base::{Nanos, WanId};

/// What the probes say of a WAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing known yet.
    #[default]
    Probing,
    /// The link is there and who is asked answers.
    Up,
    /// As `Up`, but badly: new sessions prefer others.
    Degraded,
    /// No link, or silence, or not long enough well since.
    Down,
}

impl State {
    /// Up or degraded.
    pub fn is_up(self) -> bool {
        matches!(self, State::Up | State::Degraded)
    }
}

/// What a group uses a WAN for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// New sessions go here.
    Carrying,
    /// Existing sessions stay, no new ones come.
    #[default]
    Kept,
    /// As `Kept`, and then left, at this time: the group has returned to a better WAN.
    Draining {
        /// When it is left, should there be somewhere to go.
        until: Nanos,
    },
    /// It was left: its mappings move, or end, with their next packet.
    Left,
}

/// What ties a group's sessions to a WAN: what was made under other epochs is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bond {
    /// Of all but TCP; 1 to 255, counts up when the group leaves the WAN.
    pub epoch: u8,
    /// Of TCP; 1 to 255, counts up when TCP is to be reset.
    pub tcp: u8,
    /// What becomes of UDP that is stale.
    pub udp: Fate,
    /// What becomes of ICMP that is stale.
    pub icmp: Fate,
}

impl Default for Bond {
    fn default() -> Bond {
        Bond { epoch: 1, tcp: 1, udp: Fate::Rebind, icmp: Fate::Rebind }
    }
}

/// How a group stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Where new sessions go, and by which weights; the first is the one that stands for all.
    pub carrying: Vec<(WanId, u16)>,
    /// The carrier is not fit; there is none better.
    pub resort: bool,
    /// By `WanId`.
    pub bonds: Vec<Bond>,
    /// By `WanId`.
    pub standings: Vec<Standing>,
}

impl GroupStatus {
    pub(super) const fn none() -> GroupStatus {
        GroupStatus { carrying: Vec::new(), resort: false, bonds: Vec::new(), standings: Vec::new() }
    }

    /// Whether new sessions of this group go to `wan`.
    pub fn carries(&self, wan: WanId) -> bool {
        self.carrying.iter().any(|(id, _)| *id == wan)
    }

    /// Whether a fit WAN carries, so that others can be left.
    pub fn somewhere(&self) -> bool {
        !self.resort && !self.carrying.is_empty()
    }
}

/// How a target is, as seen by one WAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Probes lost in a row.
    pub misses: u32,
    /// It has never answered on any WAN, and does not count.
    pub mute: bool,
    /// All WANs lost it at the same time: it does not count till it answers one of them.
    pub blamed: bool,
    /// Smoothed round trip time.
    pub rtt_us: Option<u32>,
    /// Lost probes of the last 100.
    pub loss_percent: Option<u8>,
    /// Its last answer.
    pub last_ok: Option<Nanos>,
}

/// How a WAN is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WanStatus {
    /// What the probes say.
    pub state: State,
    /// What the operator says.
    pub admin: Admin,
    /// The link; `None` until first told.
    pub link: Option<bool>,
    /// Some group's new sessions go here.
    pub carrying: bool,
    /// It carries though it is not fit, for want of a better one.
    pub resort: bool,
    /// It is left, but TCP that is there still leaves by it for a while.
    pub holds: bool,
    /// Since when `state` holds.
    pub since: Nanos,
    /// Why `state` holds.
    pub reason: Reason,
    /// What `state` was decided by.
    pub evidence: Vec<Evidence>,
    /// The last good sign: an answer of the gateway, or of a target.
    pub last_ok: Option<Nanos>,
    /// Probes of the gateway lost in a row.
    pub misses: u32,
    /// Rounds of the targets that were bad, in a row.
    pub bad_rounds: u32,
    /// Good rounds in a row of what decides: the targets, or the gateway.
    pub successes: u32,
    /// By the targets of `Health`.
    pub targets: Vec<TargetStatus>,
    /// Its traffic fell silent: probes are under way to find out.
    pub confirming: bool,
    /// The BFD session; `None` while there never was one.
    pub bfd: Option<bool>,
    /// Its last ups that did not hold: each doubles `stable`.
    pub flaps: u32,
    /// While it is down and answers: not up before this.
    pub hold_until: Option<Nanos>,
    /// Smoothed round trip time to the gateway; none while down.
    pub rtt_us: Option<u32>,
    /// Smoothed difference between one round trip and the next; none while down.
    pub jitter_us: Option<u32>,
    /// Lost probes of the last 100 to the gateway; none before the first.
    pub loss_percent: Option<u8>,
}

impl WanStatus {
    /// Fit for new sessions: up, be it degraded, and left to the probes by the operator.
    pub fn fit(&self) -> bool {
        self.state.is_up() && self.admin == Admin::Auto
    }

    /// Packets of existing sessions can be sent: up, and not put down by the operator; or the last resort.
    pub fn sends(&self) -> bool {
        (self.state.is_up() && self.admin != Admin::Down) || self.resort
    }

    /// A host that is here already may open more here: up, not degraded, not drained.
    pub fn takes(&self) -> bool {
        self.state == State::Up && self.admin == Admin::Auto
    }

    /// Sessions cannot stay: down, by its state or by the operator.
    pub(super) fn gone(&self) -> bool {
        self.state == State::Down || self.admin == Admin::Down
    }
}
