//! What the path has seen and the management thread must decide on.

use std::net::Ipv4Addr;

use crate::base::{IfaceId, Mac, Nanos};
use crate::packet::DropReason;

/// A notice to the management thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A packet waits for this next hop, or uses one that is stale.
    Resolve {
        /// The link
        iface: IfaceId,
        /// The next hop
        ip: Ipv4Addr,
    },
    /// A station was heard by ARP.
    Heard {
        /// The link
        iface: IfaceId,
        /// Its address
        ip: Ipv4Addr,
        /// Where it is
        mac: Mac,
        /// It answered the router (rather than asked it)
        reply: bool,
        /// When the frame was received
        at: Nanos,
    },
    /// Another station claims one of the router's addresses (RFC 5227 2.4).
    Conflict {
        /// The link
        iface: IfaceId,
        /// The address
        ip: Ipv4Addr,
        /// Who claims it
        mac: Mac,
    },
    /// A flow was refused for want of room (RFC 6888 REQ-11).
    Refused {
        /// Of which room
        reason: DropReason,
    },
}
