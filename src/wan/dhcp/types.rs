//! Where a client stands, what it wants done, and what it has to tell.

use std::net::Ipv4Addr;

use super::lease::{Lease, Refusal};
use super::routes::LeftOut;

/// Where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No link.
    Off,
    /// About to begin.
    Init,
    /// Asking who has an address.
    Selecting,
    /// Asking for one that was offered.
    Requesting,
    /// Looking whether somebody uses the one that was granted.
    Checking,
    /// The lease is good.
    Bound,
    /// The same, and its server is asked to extend it.
    Renewing,
    /// The same, and all servers are asked.
    Rebinding,
    /// The link has come back: is the lease still good here?
    Rebooting,
}

impl Phase {
    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Off => "off",
            Phase::Init => "init",
            Phase::Selecting => "selecting",
            Phase::Requesting => "requesting",
            Phase::Checking => "checking",
            Phase::Bound => "bound",
            Phase::Renewing => "renewing",
            Phase::Rebinding => "rebinding",
            Phase::Rebooting => "rebooting",
        }
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// From this address, which may be 0.0.0.0
    pub from: Ipv4Addr,
    /// To this server; `None`: to all
    pub to: Option<Ipv4Addr>,
    /// The message
    pub bytes: Vec<u8>,
}

/// What an operator wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nobody answers.
    Silent,
    /// An offer is not taken.
    Refused(Option<Ipv4Addr>, Refusal),
    /// A server has refused the address, or taken it back.
    Nak(Ipv4Addr),
    /// Somebody else uses the address that was granted.
    Conflict(Ipv4Addr),
    /// The lease has run out.
    Expired,
    /// The lease is good, but not all its routes are.
    Routes(LeftOut),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Send this.
    Send(Send),
    /// Ask by ARP, from 0.0.0.0, who has this address; `Client::conflict` if somebody has.
    Claim(Ipv4Addr),
    /// This is the lease from now on.
    Lease(Lease),
    /// There is none any more: its address must not be used.
    Lost(Said),
    /// Tell this.
    Said(Said),
}
