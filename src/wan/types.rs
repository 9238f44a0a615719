//! The vocabulary of the WAN machinery: what goes in, what comes out, and how one WAN stands.
//!
//! Inputs and effects are plain values that can be written down and read back: a journal of inputs with their times
//! is all that is needed to come to the same effects again. Times are those of the hand that measured them: a
//! worker stamps what it sends and receives, the caller's `now` says when the machinery got to know.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Nanos, WanId};

/// When a WAN counts as dead, and when as well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The time from one ARP request to the gateway to the next.
    pub arp_every: Nanos,
    /// So many lost probes in a row make it down.
    pub failures: u32,
    /// So many answered probes in a row are the least that brings it up after a down.
    pub successes: u32,
    /// And so long must nothing be lost meanwhile.
    pub stable: Nanos,
}

impl Default for Health {
    fn default() -> Health {
        Health { arp_every: Nanos::from_ms(250), failures: 3, successes: 5, stable: Nanos::from_s(10) }
    }
}

/// What the probes say of a WAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing known yet.
    #[default]
    Probing,
    /// The link is there and the gateway answers.
    Up,
    /// No link, or a silent gateway, or not long enough well since.
    Down,
}

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

/// What a WAN is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// New sessions go here.
    Carrying,
    /// Existing sessions stay, no new ones come.
    #[default]
    Kept,
    /// A failover left it: its mappings move, or are reset, with their next packet.
    Left,
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
        /// When it was put on the wire.
        at: Nanos,
    },
    /// The gateway has answered an ARP request.
    ProbeReply {
        /// On which WAN.
        wan: WanId,
        /// When it was taken off the wire.
        at: Nanos,
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

/// What is to be done, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Send one ARP request to the gateway now, and confirm it with `Input::ProbeSent`.
    Probe {
        /// By which WAN.
        wan: WanId,
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
    /// New sessions go elsewhere from now on.
    Selected(Selection),
    /// A WAN is used in another way from now on. Comes after the `Selected` of the same transaction.
    Standing(StandingChange),
}

/// A WAN's state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// Of which WAN.
    pub wan: WanId,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// A WAN is used in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingChange {
    /// Which WAN.
    pub wan: WanId,
    /// How it stood.
    pub from: Standing,
    /// How it stands.
    pub to: Standing,
    /// Its epoch, already counted up if `to` is `Left`.
    pub epoch: u16,
}

/// New sessions go elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The WAN that carried last, be it now or before an outage; `None` before the first.
    pub from: Option<WanId>,
    /// The WAN that carries from now on; `None` if none is fit.
    pub to: Option<WanId>,
    /// What kind of change it is.
    pub kind: Kind,
    /// What brought it about.
    pub cause: Cause,
    /// The last good sign of the WAN that `cause` speaks of: `from` if that one is unfit, else `to`.
    pub last_ok: Option<Nanos>,
    /// When it was decided.
    pub detected: Nanos,
}

/// The kinds of a change of selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The first WAN that ever carries.
    Initial,
    /// `from` is down, `to` takes over and its sessions follow.
    Failover,
    /// A preferred WAN is fit again; `from` is fit as well and keeps its sessions.
    Failback,
    /// `from` is drained: it keeps its sessions, `to` gets the new ones.
    Handover,
    /// No WAN is fit. Nothing moves.
    Lost,
    /// After `Lost`, the WAN that carried last is fit again.
    Resumed,
}

/// Why a WAN is in its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing has happened yet.
    #[default]
    Start,
    /// The link is gone.
    LinkLost,
    /// `failures` probes in a row were lost.
    GatewaySilent,
    /// For `UNSENT` rounds no probe could be sent, and nothing was heard.
    CannotSend,
    /// The first good round after the start.
    FirstAnswer,
    /// `successes` and `stable` are fulfilled.
    Recovered,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Start => "no answer yet",
            Reason::LinkLost => "link lost",
            Reason::GatewaySilent => "gateway silent",
            Reason::CannotSend => "nothing can be sent",
            Reason::FirstAnswer => "gateway answers",
            Reason::Recovered => "stable again",
        })
    }
}

/// What brought a change of selection about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The link went.
    LinkLost,
    /// The gateway fell silent.
    GatewaySilent,
    /// Nothing could be sent there any more.
    CannotSend,
    /// The first good round after the start.
    FirstAnswer,
    /// A WAN that was down is well again.
    Recovered,
    /// The operator's override, or its end.
    Operator,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::LinkLost => "link lost",
            Cause::GatewaySilent => "gateway silent",
            Cause::CannotSend => "nothing can be sent",
            Cause::FirstAnswer => "gateway answers",
            Cause::Recovered => "stable again",
            Cause::Operator => "operator",
        })
    }
}

/// Why the operator's word was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It would leave no WAN for new sessions.
    #[error("it is the last fit WAN: new sessions would have nowhere to go (--force does it all the same)")]
    LastFit,
}

/// How a WAN is and stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WanStatus {
    /// What the probes say.
    pub state: State,
    /// What the operator says.
    pub admin: Admin,
    /// The link; `None` until first told.
    pub link: Option<bool>,
    /// New sessions go here: the same as `standing == Carrying`.
    pub carrying: bool,
    /// What it is used for.
    pub standing: Standing,
    /// Counts up each time the WAN becomes `Left`; what was made under an older one is stale.
    pub epoch: u16,
    /// Since when `state` holds.
    pub since: Nanos,
    /// Why `state` holds.
    pub reason: Reason,
    /// The last reply of the gateway.
    pub last_ok: Option<Nanos>,
    /// Probes lost in a row, as of now.
    pub misses: u32,
    /// Probes answered in a row with the link up, as of now.
    pub successes: u32,
    /// Smoothed round trip time to the gateway; none while down.
    pub rtt_us: Option<u32>,
    /// Smoothed difference between one round trip and the next; none while down.
    pub jitter_us: Option<u32>,
    /// Lost probes of the last 100; none before the first.
    pub loss_percent: Option<u8>,
}

impl WanStatus {
    /// Fit for new sessions: up, and left to the probes by the operator.
    pub fn fit(&self) -> bool {
        self.state == State::Up && self.admin == Admin::Auto
    }

    /// Packets of existing sessions can be sent: up, and not put down by the operator.
    pub fn sends(&self) -> bool {
        self.state == State::Up && self.admin != Admin::Down
    }
}
