//! An inside endpoint's place on a WAN: whatever the remote, it is the same (RFC 4787 REQ-1). It has one in each group that
//! its flows belong to.
//!
//! Mappings remember the epoch of their bond (`uplinks`): when a group leaves a WAN that is another one, and with that everything
//! bound to it is stale at once, however much it is. TCP is held to the WAN by an epoch of its own, which stands longer. As long as only
//! that one does, a mapping serves the flows that it has and no other: a new flow gets a new one, and the old one is an orphan,
//! which owns its outside port and is not found from inside any more.

use std::net::Ipv4Addr;

use super::session::{Key, NONE};
use super::uplinks::{DEFAULT_GROUP, LEFT};
use crate::base::WanId;
use crate::wire::protocol;

/// The `pin` of a mapping that is not found from inside any more.
const ORPHAN: u8 = u8::MAX;

/// What a flow from inside goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// The group that chooses its WAN
    pub group: u8,
    /// The WAN whose link its remote is on: it leaves there, as long as that is fit
    pub pin: Option<WanId>,
}

impl Course {
    /// `Mapping::pin`
    #[inline(always)]
    pub(super) fn pinned(&self) -> u8 {
        self.pin.map_or(0, |wan| wan.0 + 1)
    }
}

/// A mapping.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The inside host
    pub inside: Ipv4Addr,
    /// How many sessions it has; it ends with the last
    pub sessions: u32,
    /// Those of them in which inside has spoken: without any it lets nobody new in
    pub spoken: u32,
    /// A session of the ring that lets in the remotes of `peers`; `NONE`: nobody is let in by it
    pub first: u32,
    /// Whose ring that is, where it depends on the address
    pub peer: Ipv4Addr,
    /// Rings for other addresses
    pub further: u32,
    /// Its host's number; `NONE`: there was no room for that
    pub host: u32,
    /// The WAN's address that it is on
    pub outside: Ipv4Addr,
    /// Port or echo identifier of the inside host
    pub inside_port: u16,
    /// Port or echo identifier on the WAN
    pub outside_port: u16,
    /// Which of the WAN's addresses that is
    pub address: u16,
    /// The bond's epoch when it was put there; `LEFT`: it is stale, whatever the bond says
    pub epoch: u8,
    /// The same of the bond's `tcp`
    pub tcp: u8,
    /// The group that chooses its WAN
    pub group: u8,
    /// See `wire::protocol`
    pub protocol: u8,
    /// 0: goes with the selection; 1 + w: keeps to WAN w while that is fit, because its remotes are on that WAN's link
    pub pin: u8,
    /// The WAN it is on
    pub wan: WanId,
}

impl Default for Mapping {
    fn default() -> Mapping {
        Mapping {
            inside: Ipv4Addr::UNSPECIFIED,
            sessions: 0,
            spoken: 0,
            first: NONE,
            peer: Ipv4Addr::UNSPECIFIED,
            further: 0,
            host: NONE,
            outside: Ipv4Addr::UNSPECIFIED,
            inside_port: 0,
            outside_port: 0,
            address: 0,
            epoch: LEFT,
            tcp: LEFT,
            group: 0,
            protocol: 0,
            pin: 0,
            wan: WanId(0),
        }
    }
}

/// Where a mapping is put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) outside: Ipv4Addr,
    pub(super) outside_port: u16,
    pub(super) address: u16,
    pub(super) wan: WanId,
    pub(super) epoch: u8,
    pub(super) tcp: u8,
}

impl Mapping {
    /// Puts it somewhere.
    #[inline(always)]
    pub(super) fn put(&mut self, place: &Place) {
        (self.outside, self.outside_port, self.address) = (place.outside, place.outside_port, place.address);
        (self.wan, self.epoch, self.tcp) = (place.wan, place.epoch, place.tcp);
    }

    /// The key by which new flows from inside find it.
    #[inline(always)]
    pub fn key(&self) -> Key {
        Key::mapping(self.protocol, self.course(), self.inside, self.inside_port)
    }

    /// What it goes by.
    #[inline(always)]
    pub fn course(&self) -> Course {
        Course { group: self.group, pin: self.pin.checked_sub(1).map(WanId) }
    }

    /// The epoch that a session on it remembers.
    #[inline(always)]
    pub fn of_session(&self) -> u8 {
        if self.protocol == protocol::TCP { self.tcp } else { self.epoch }
    }

    /// It serves the flows that it has, and is not found from inside.
    #[inline]
    pub fn is_orphan(&self) -> bool {
        self.pin == ORPHAN
    }

    /// Makes an orphan of it.
    pub fn orphan(&mut self) {
        (self.pin, self.epoch) = (ORPHAN, LEFT);
    }

    /// A pin that says so.
    pub(super) fn is_orphans(pin: u8) -> bool {
        pin == ORPHAN
    }

    /// It has a place on a WAN: another copy may have got it (`copying`).
    pub(super) fn has_place(&self) -> bool {
        self.outside_port != 0
    }

    /// Its place is another one's. Its sessions are stale.
    pub(super) fn lose_place(&mut self) {
        self.orphan();
        (self.tcp, self.outside, self.outside_port) = (LEFT, Ipv4Addr::UNSPECIFIED, 0);
    }

    /// It is a reason for its host to open more by the same WAN: a rule of the policy keeps what it is for together, whereas what no
    /// rule is for goes back to the better line flow by flow.
    #[inline(always)]
    pub fn sticks(&self) -> bool {
        self.pin == 0 && self.epoch != LEFT && self.group != DEFAULT_GROUP
    }
}
