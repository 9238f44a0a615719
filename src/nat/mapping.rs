//! An inside endpoint's place on a WAN: whatever the remote, it is the same (RFC 4787 REQ-1).
//!
//! Mappings remember the epoch of their WAN: when a failover leaves a WAN its epoch grows, and with that everything
//! bound to it is stale at once, however much it is.

use std::net::Ipv4Addr;

use super::session::{Key, NONE};
use crate::base::WanId;

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
    /// Port or echo identifier of the inside host
    pub inside_port: u16,
    /// Port or echo identifier on the WAN
    pub outside_port: u16,
    /// Which of the WAN's addresses
    pub address: u16,
    /// The WAN's epoch when it was put there
    pub epoch: u16,
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
            inside_port: 0,
            outside_port: 0,
            address: 0,
            epoch: 0,
            protocol: 0,
            pin: 0,
            wan: WanId(0),
        }
    }
}

impl Mapping {
    /// The key by which new flows from inside find it.
    #[inline(always)]
    pub fn key(&self) -> Key {
        Key::mapping(self.protocol, self.pin, self.inside, self.inside_port)
    }
}
