//! What is probed and how, and what comes out of it: plain values.

use std::net::Ipv4Addr;

use super::bfd::Bfd;
use crate::base::{Mac, Nanos, WanId};
use crate::wan::BfdSays;

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Here
    Address(Ipv4Addr),
    /// Where this name says
    Name(String),
}

/// How a target is asked, and what it must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// An echo
    Icmp,
    /// A connection
    Tcp {
        /// To this port
        port: u16,
    },
    /// The address of a name
    Dns {
        /// The server's port
        port: u16,
        /// The name
        name: String,
        /// One of these; any if there are none
        expect: Vec<Ipv4Addr>,
    },
    /// A page
    Http {
        /// The server's port
        port: u16,
        /// As the URL has it: the header `Host`
        host: String,
        /// As the URL has it, from its first slash on
        path: String,
        /// Exactly this status
        status: u16,
    },
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// Where
    pub host: Host,
    /// How
    pub ask: Ask,
}

/// What one WAN is probed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WanProbes {
    /// So long may an answer take
    pub timeout: Nanos,
    /// By the number of the target; beyond `TARGETS` they are cut off
    pub targets: Vec<TargetSpec>,
    /// BFD
    pub bfd: Option<Bfd>,
}

/// How a packet leaves by a WAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The router's address there
    pub src: Ipv4Addr,
    /// The interface's own
    pub mac: Mac,
    /// Longest IP packet
    pub mtu: u16,
    /// The gateway, or the target itself on the link
    pub next_hop: Ipv4Addr,
    /// Where that is, if it is known
    pub next_mac: Option<Mac>,
    /// That is to be asked for, or confirmed
    pub confirm: bool,
}

/// What is to be done, or has come out. Targets and rounds are the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A frame to be sent by a WAN; with a tag, `Probes::sent` wants to know when it has left.
    Send(WanId, Vec<u8>, Option<u64>),
    /// A next hop to be asked for.
    Resolve(WanId, Ipv4Addr),
    /// The probe has left at that time (or could not, as its next hop is not there).
    Sent(WanId, u8, u32, Nanos),
    /// It was answered, at that time.
    Reply(WanId, u8, u32, Nanos),
    /// It was answered wrongly, or not in time: why.
    Failed(WanId, u8, u32, String),
    /// It was not asked, as the target has no address: why.
    Unresolved(WanId, u8, u32, String),
    /// BFD: what a worker is to send from now on, how often, and how much of that time in percent at most; or nothing more.
    Repeat(WanId, Option<(Vec<u8>, Nanos, u8)>),
    /// BFD: what has become of the session.
    Bfd(WanId, BfdSays),
    /// What may come back has changed: `Probes::probing` is to be published.
    Probing,
}
