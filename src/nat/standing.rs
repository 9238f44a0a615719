//! What still stands: whether a session or a mapping is where its group holds it to be, and which WAN a new flow takes.
//!
//! A failover changes bonds and touches no session. So each packet that does not go the established way asks here first. Invariants:
//! - nothing stale translates;
//! - nothing new is put where `standing` is not `Firm`;
//! - a host that has mappings of a group on a WAN which takes more goes on there: signalling and media stay together.

use std::net::Ipv4Addr;

use super::mapping::{Course, Mapping};
use super::session::{AWAY, Kind, Root, Session};
use super::uplinks::{LEFT, NO_GROUP};
use super::{Fate, Nat, Uplinks};
use crate::base::{Nanos, WanId};
use crate::packet::DropReason;
use crate::wire::protocol;

/// How a mapping stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It serves
    Firm,
    /// Its WAN was left, but the TCP that is there still goes on
    Grace,
    /// It serves nobody any more
    Left,
}

impl Nat {
    /// Another view is read from now on. What it leaves is stale from here on; TCP that it leaves is reset from here on.
    pub fn renewed(&mut self, old: &Uplinks, new: &Uplinks, now: Nanos) {
        let (mut left, mut moved, mut reset) = (false, false, 0u128);
        if old.away && !new.away {
            reset |= 1 << AWAY.0;
        }
        for (at, uplink) in old.wans.iter().enumerate() {
            let wan = WanId(at as u8);
            let elsewhere = new.get(wan).is_none_or(|now| !now.addresses.same(&uplink.addresses));
            let (mut bonds, mut tcp) = (elsewhere, elsewhere);
            let groups = (0..NO_GROUP).zip(&old.groups).map(|(group, _)| group);
            for group in groups.chain([NO_GROUP]) {
                let [was, is] = [old, new].map(|up| up.bond(group, wan).map(|bond| (bond.epoch, bond.tcp)));
                bonds |= was != is;
                tcp |= was.map(|bond| bond.1) != is.map(|bond| bond.1);
            }
            (left, moved) = (left | bonds, moved | elsewhere);
            reset |= if tcp { 1u128.checked_shl(at as u32).unwrap_or(0) } else { 0 };
        }
        if left {
            self.sweep.mark(moved);
        }
        if reset != 0 {
            self.resets.start(reset, self.sessions.used(), now);
        }
    }

    /// A session's WAN was left, or it is bound to an address which that WAN has no more.
    #[inline(always)]
    pub(super) fn left(&self, session: &Session, root: &Root, up: &Uplinks) -> bool {
        if root.kind == Kind::Away {
            return !up.away;
        }
        let bond = up.bond(root.group, session.wan());
        let now = bond.map_or(LEFT, |bond| bond.of(session.protocol(), root.kind));
        now != root.epoch || now == LEFT || (self.sweep.moved() && self.elsewhere(session, root, up))
    }

    /// It is bound to an address which its WAN has no more. Addresses that the profile gives are for `uplinks` to tell of.
    #[cold]
    fn elsewhere(&self, session: &Session, root: &Root, up: &Uplinks) -> bool {
        let Some(uplink) = up.get(session.wan()) else { return true };
        match root.kind {
            Kind::Masquerade => {
                let m = self.mappings.get(root.mapping);
                let address = uplink.addresses.get(usize::from(m.address));
                address != Some(session.outside().0) || (m.outside, m.outside_port) != session.outside()
            }
            Kind::Shared | Kind::Portless => !uplink.addresses.contains(session.outside().0),
            Kind::Plain | Kind::OneToOne | Kind::Forward | Kind::Internal | Kind::Away => false,
        }
    }

    /// What becomes of a session whose WAN was left.
    pub(super) fn fate(&self, session: &Session, root: &Root, up: &Uplinks) -> Fate {
        up.bond(root.group, session.wan()).map_or(Fate::Rebind, |bond| bond.fate(session.protocol()))
    }

    /// How a mapping stands.
    #[inline(always)]
    pub(super) fn standing(&self, m: &Mapping, up: &Uplinks) -> Standing {
        let Some(bond) = up.bond(m.group, m.wan) else { return Standing::Left };
        let tcp = m.protocol == protocol::TCP;
        let held = !tcp || (m.tcp == bond.tcp && m.tcp != LEFT);
        if m.epoch == bond.epoch && m.epoch != LEFT && held && !self.sweep.moved() {
            return Standing::Firm;
        }
        let there = up.get(m.wan).and_then(|u| u.addresses.get(usize::from(m.address))) == Some(m.outside);
        match (there && held, m.epoch == bond.epoch && m.epoch != LEFT) {
            (true, true) => Standing::Firm,
            (true, false) if tcp => Standing::Grace,
            _ => Standing::Left,
        }
    }

    /// The WAN that a new flow of a host takes, which may be down: the one whose link its remote is on while that is fit, else where its
    /// host has others of the group, else what the group chooses.
    #[inline(always)]
    pub(super) fn choose(&self, host: u32, ip: Ipv4Addr, course: Course, up: &Uplinks) -> Option<WanId> {
        match course.pin {
            // What is on the link of a WAN that is down may be reached by another one all the same.
            Some(wan) if up.fit(wan) => Some(wan),
            _ => self.hosts.choose(host, ip, course.group, up),
        }
    }

    /// The same, for a host that is to be looked up.
    ///
    /// # Errors
    /// There is none, or it is down.
    pub(super) fn wan_for(&self, ip: Ipv4Addr, course: Course, up: &Uplinks) -> Result<WanId, DropReason> {
        let host = self.hosts.find(&self.key, ip);
        let wan = self.choose(host, ip, course, up).ok_or(DropReason::WanNone)?;
        if up.fit(wan) { Ok(wan) } else { Err(DropReason::WanDown) }
    }
}
