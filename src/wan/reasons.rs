//! Why a WAN is as it is, and why a group chose as it did, in the words that people read.
//!
//! A WAN's state has a reason. A selection has a cause: the reason of the WAN that it speaks of, or the operator.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kinds of a change of selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The first WAN that ever carries.
    Initial,
    /// `from` is down, `to` takes over and its sessions follow.
    Failover,
    /// A preferred WAN is fit again; `from` is fit as well and keeps its sessions for the time of the drain.
    Failback,
    /// `from` is drained by the operator, or degraded: it keeps its sessions, `to` gets the new ones.
    Handover,
    /// No WAN is fit, and none carries. Nothing moves.
    Lost,
    /// No WAN is fit; the best of them carries all the same. Nothing moves.
    Resort,
    /// After `Lost` or `Resort`, the WAN that carried last is fit again.
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
    /// It has no address: DHCP has brought no lease, or the last one is over.
    NoLease,
    /// `failures` probes of the gateway in a row were lost.
    GatewaySilent,
    /// In `failures` rounds in a row too few targets answered.
    TargetsSilent,
    /// Traffic fell silent, and probes found nobody either.
    Silent,
    /// The BFD session was lost.
    Bfd,
    /// For `UNSENT` rounds no probe could be sent, and nothing was heard.
    CannotSend,
    /// Too much is lost.
    Loss,
    /// Answers take too long.
    Latency,
    /// Answers come too unevenly.
    Jitter,
    /// The first good round after the start.
    FirstAnswer,
    /// `successes` and `stable` are fulfilled, or no other WAN was fit.
    Recovered,
    /// Degraded no more.
    Steady,
    /// The operator's override, or its end. The reason of no state, but of selections.
    Operator,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Start => "no answer yet",
            Reason::LinkLost => "link lost",
            Reason::NoLease => "no lease",
            Reason::GatewaySilent => "gateway silent",
            Reason::TargetsSilent => "targets silent",
            Reason::Silent => "traffic and probes silent",
            Reason::Bfd => "BFD session lost",
            Reason::CannotSend => "nothing can be sent",
            Reason::Loss => "too much loss",
            Reason::Latency => "latency too high",
            Reason::Jitter => "jitter too high",
            // the words of the first and simplest case stand for all
            Reason::FirstAnswer => "gateway answers",
            Reason::Recovered => "stable again",
            Reason::Steady => "quality good again",
            Reason::Operator => "operator",
        })
    }
}

/// What brought a change of selection about: what the WAN in question came to, or the operator.
pub type Cause = Reason;
