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

#[cfg(test)]
mod tests {
    use super::super::config::Fate;
    use super::*;

    const NOW: Nanos = Nanos::from_s(100);

    /// How a tie can stand before a step.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Place {
        Carries,
        Kept,
        /// Its drain ends later, or now.
        Drains,
        Drained,
        /// Left for an outage that goes on: TCP went with the rest, waits yet, or waits no more.
        Left,
        Waits,
        Due,
        /// Left at the end of a drain.
        Emptied,
    }

    const PLACES: [Place; 8] = [
        Place::Carries,
        Place::Kept,
        Place::Drains,
        Place::Drained,
        Place::Left,
        Place::Waits,
        Place::Due,
        Place::Emptied,
    ];

    fn placed(place: Place) -> Tie {
        let later = NOW + Nanos::from_s(1);
        let (standing, tcp_due) = match place {
            Place::Carries => (Standing::Carrying, None),
            Place::Kept => (Standing::Kept, None),
            Place::Drains => (Standing::Draining { until: later }, None),
            Place::Drained => (Standing::Draining { until: NOW }, None),
            Place::Left | Place::Emptied => (Standing::Left, None),
            Place::Waits => (Standing::Left, Some(later)),
            Place::Due => (Standing::Left, Some(NOW)),
        };
        let left = matches!(place, Place::Left | Place::Waits | Place::Due);
        Tie { standing, tcp_due, left, drained: place == Place::Emptied, ..Tie::default() }
    }

    /// What is to become of it: how it stands, whether it is left now, and TCP.
    fn wanted(
        place: Place,
        wan: Seen,
        (returned, somewhere): (bool, bool),
        keeps: bool,
    ) -> (Standing, u8, u8) {
        let Tie { standing, left: outage, .. } = placed(place);
        let fresh = Standing::Draining { until: NOW + Nanos::from_s(if wan.metered { 7 } else { 50 }) };
        let stays = match place {
            Place::Carries if returned => fresh,
            Place::Carries => Standing::Kept,
            Place::Left | Place::Waits | Place::Due if !wan.gone => Standing::Kept,
            _ => standing,
        };
        match (wan.carries, wan.gone, somewhere) {
            (true, ..) => (Standing::Carrying, 0, 0),
            // With nowhere to go nobody is left.
            (_, _, false) => (stays, 0, 0),
            (_, true, _) if outage => (Standing::Left, 0, u8::from(place == Place::Due && !wan.answers)),
            // TCP waits, from now on.
            (_, true, _) => (Standing::Left, 1, 0),
            _ if place == Place::Drained => (Standing::Left, 1, u8::from(!keeps)),
            _ => (stays, 0, 0),
        }
    }

    #[test]
    fn every_standing_of_a_tie_against_everything_that_it_can_see() {
        let failover = OnFailover { udp: Fate::Drop, ..OnFailover::default() };
        let bit = |bits: u32, n: u32| bits >> n & 1 == 1;
        for (place, bits) in PLACES.into_iter().flat_map(|place| (0..128).map(move |bits| (place, bits))) {
            let wan = Seen {
                carries: bit(bits, 0),
                gone: bit(bits, 1),
                answers: bit(bits, 2),
                metered: bit(bits, 3),
            };
            let (group, keeps) = ((bit(bits, 4), bit(bits, 5)), bit(bits, 6));
            let failback = OnFailback {
                drain: Nanos::from_s(50),
                metered: Nanos::from_s(7),
                tcp: if keeps { TcpFate::Keep } else { TcpFate::Reset },
                udp: Fate::Rebind,
            };
            let at = format!("{place:?} {wan:?} {group:?} {keeps}");
            let mut tie = placed(place);
            let was = tie;
            tie.settle(NOW, wan, group, (&failover, &failback));
            let (standing, left, cut) = wanted(place, wan, group, keeps);
            let bond = (tie.bond.epoch - was.bond.epoch, tie.bond.tcp - was.bond.tcp);
            assert_eq!((tie.standing, bond), (standing, (left, cut)), "{at}");
            // UDP goes by what the WAN was left for.
            let fate = if left == 1 && wan.gone { Fate::Drop } else { Fate::Rebind };
            assert_eq!(tie.bond.udp, fate, "{at}");
            let waits = match (wan.gone && !wan.carries, left == 1, place) {
                (false, ..) => None,
                (_, true, _) => Some(NOW + failover.tcp_reset_after),
                _ => was.tcp_due.filter(|_| cut == 0),
            };
            assert_eq!(tie.tcp_due, waits, "{at}");
            // Nothing more comes of the same: a step is taken once.
            let once = tie;
            tie.settle(NOW, wan, (false, group.1), (&failover, &failback));
            assert_eq!(
                (tie.standing, tie.bond, tie.tcp_due),
                (once.standing, once.bond, once.tcp_due),
                "{at}"
            );
        }
    }

    #[test]
    fn a_wan_that_has_lost_its_address_is_left_whatever_is_seen_of_it() {
        for (place, somewhere) in PLACES.into_iter().flat_map(|place| [(place, false), (place, true)]) {
            let mut tie = placed(place);
            tie.disown();
            let seen = Seen { carries: false, gone: true, answers: false, metered: false };
            tie.settle(NOW, seen, (false, somewhere), (&OnFailover::default(), &OnFailback::default()));
            let left = (tie.standing, tie.bond.epoch, tie.bond.tcp, tie.holds());
            assert_eq!(left, (Standing::Left, 2, 2, false), "{place:?} {somewhere}");
        }
    }
}
