//! What a group makes of its WANs, and when it leaves them: standings and bonds.
//!
//! A WAN is left when it is gone (down, by its state or by the operator) or when its drain is over, and only while a fit WAN
//! carries: with nowhere to go everything stays, and the leaving comes with the next carrier, in one transaction.
//! Leaving counts the epoch up. TCP's counts up `tcp_reset_after` later, and not while the WAN answers again: a blip is
//! survived, though `stable` keeps new sessions away for longer. If the WAN comes up, TCP was never left.
//! A WAN that was left after a drain is still well: should it die, it is left once more, for what was pinned to it since.

use serde::{Deserialize, Serialize};

use super::config::{OnFailback, OnFailover, TcpFate};
use super::status::{Bond, Standing};
use crate::base::Nanos;

/// How one WAN is, for this purpose.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    /// It carries for the group.
    pub(super) carries: bool,
    /// Sessions cannot stay.
    pub(super) gone: bool,
    /// Down, but it answers again.
    pub(super) answers: bool,
    /// A drain of it is short.
    pub(super) metered: bool,
}

/// What a group has with one WAN.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tie {
    pub(super) standing: Standing,
    pub(super) bond: Bond,
    /// It was left for the present outage.
    left: bool,
    /// `Left` because a drain is over, not because of an outage.
    drained: bool,
    /// When TCP is to be reset.
    tcp_due: Option<Nanos>,
    /// The WAN has just lost its address.
    #[serde(default)]
    disowned: bool,
}

impl Tie {
    /// Brings the tie in line. `returned` says that the group has just returned to a better WAN, `somewhere` that a fit
    /// WAN carries.
    pub(super) fn settle(
        &mut self,
        now: Nanos,
        wan: Seen,
        (returned, somewhere): (bool, bool),
        (failover, failback): (&OnFailover, &OnFailback),
    ) {
        // a last resort gets new sessions: they are to be left as well
        if !wan.gone || wan.carries {
            (self.left, self.tcp_due) = (false, None);
        }
        self.standing = match self.standing {
            _ if wan.carries => Standing::Carrying,
            Standing::Carrying if returned => {
                let span = if wan.metered { failback.metered } else { failback.drain };
                Standing::Draining { until: now + span }
            }
            Standing::Carrying => Standing::Kept,
            Standing::Left if !self.drained && !wan.gone => Standing::Kept,
            other => other,
        };
        if std::mem::take(&mut self.disowned) {
            self.leave(failover);
            self.bond.tcp = next(self.bond.tcp);
            (self.left, self.drained, self.tcp_due) = (true, false, None);
        }
        if wan.carries || !somewhere {
            return;
        }
        if wan.gone && !self.left {
            self.leave(failover);
            self.tcp_due = Some(now + failover.tcp_reset_after);
            (self.left, self.drained) = (true, false);
        } else if matches!(self.standing, Standing::Draining { until } if now >= until) {
            self.standing = Standing::Left;
            self.drained = true;
            self.bond.epoch = next(self.bond.epoch);
            (self.bond.udp, self.bond.icmp) = (failback.udp, failback.udp);
            if failback.tcp == TcpFate::Reset {
                self.bond.tcp = next(self.bond.tcp);
            }
        }
        if !wan.answers && self.tcp_due.is_some_and(|due| now >= due) {
            self.bond.tcp = next(self.bond.tcp);
            self.tcp_due = None;
        }
    }

    /// The WAN's address has changed: whatever is there cannot stay, TCP neither. How the WAN stands is untouched.
    pub(super) fn readdress(&mut self, failover: &OnFailover) {
        let standing = self.standing;
        self.leave(failover);
        self.standing = standing;
        self.bond.tcp = next(self.bond.tcp);
        self.tcp_due = None;
    }

    /// The WAN has lost its address: nothing can stay, somewhere to go or not.
    pub(super) fn disown(&mut self) {
        self.disowned = true;
    }

    fn leave(&mut self, failover: &OnFailover) {
        self.standing = Standing::Left;
        self.bond.epoch = next(self.bond.epoch);
        (self.bond.udp, self.bond.icmp) = (failover.udp, failover.icmp);
    }

    /// TCP was not left with the rest, not yet.
    pub(super) fn holds(&self) -> bool {
        self.tcp_due.is_some()
    }

    /// What time alone will do, the next of it.
    pub(super) fn due(&self) -> Nanos {
        let drain = match self.standing {
            Standing::Draining { until } => until,
            _ => Nanos::NEVER,
        };
        drain.min(self.tcp_due.unwrap_or(Nanos::NEVER))
    }
}

/// The epoch after `epoch`; never 0, which stands for what was left for good.
fn next(epoch: u8) -> u8 {
    epoch.checked_add(1).unwrap_or(1)
}
