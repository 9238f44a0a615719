//! What is matched and what is let in, as values: firewall rules, forwards, one-to-one addresses, pools.
//!
//! One `Match` serves the firewall and `nat.except`; an empty list in it means any. Networks have no host bits; ranges
//! of ports and addresses hold both ends. Interfaces are named by their index in `Profile::interfaces`, WANs by their
//! index in `Profile::wans`.

use std::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use crate::base::Ipv4Net;

use super::types::{Position, texts};

/// Which packets are meant: all that fit every field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Index of the interface that they come in by; `None`: any. Written `in`.
    pub interface: Option<usize>,
    /// Networks of the source; empty: any.
    #[serde(serialize_with = "texts")]
    pub from: Vec<Ipv4Net>,
    /// The destination, as inside hosts see it: after the translation of what comes from outside.
    pub to: To,
    /// IP protocol numbers, 1 to 255, ascending, none twice; empty: any.
    pub protocols: Vec<u8>,
    /// Ranges of destination ports, each from 1 up, ascending, apart; empty: any. Only where `protocols` are TCP, UDP.
    pub ports: Vec<(u16, u16)>,
}

/// A destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum To {
    /// Everywhere.
    #[default]
    Any,
    /// These networks; never empty.
    Nets(Vec<Ipv4Net>),
    /// The router itself: its interfaces' addresses. Written `self`.
    Own,
}

impl Serialize for To {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            To::Any => to.serialize_str("any"),
            To::Nets(nets) => texts(nets, to),
            To::Own => to.serialize_str("self"),
        }
    }
}

/// A rule of the firewall; the first that fits decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The packets that it decides.
    pub when: Match,
    /// What becomes of them.
    pub action: Action,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It goes on.
    Accept,
    /// Nothing is said.
    Drop,
    /// The sender is told by ICMP "communication administratively prohibited" (3/13).
    Reject,
}

/// A port of the WANs' own addresses that leads to an inside host.
#[derive(Clone, Debug, Eq, Serialize)]
pub struct Forward {
    /// Indices of the WANs, ascending, none twice, never empty; all if the key is left out.
    pub wans: Vec<usize>,
    /// TCP (6), UDP (17) or both, ascending.
    pub protocols: Vec<u8>,
    /// Outside ports, from 1 up, both ends included.
    pub ports: (u16, u16),
    /// Networks of those who may use it; empty: everybody.
    #[serde(serialize_with = "texts")]
    pub from: Vec<Ipv4Net>,
    /// The inside host, in a network of an inside interface or of a route.
    pub to: Ipv4Addr,
    /// The port there that the first outside port leads to; the range there is as long and ends at 65535 at most.
    pub to_port: u16,
    /// Where it stands in the text.
    #[serde(skip)]
    pub at: Position,
}

/// Equal if they mean the same: a line that moved is no difference.
impl PartialEq for Forward {
    fn eq(&self, other: &Forward) -> bool {
        let Forward { wans, protocols, ports, from, to, to_port, at: _ } = self;
        (wans, protocols, ports, from, to, to_port)
            == (&other.wans, &other.protocols, &other.ports, &other.from, &other.to, &other.to_port)
    }
}

/// An outside address that is one inside host's alone. What comes in by it still needs a firewall rule.
#[derive(Clone, Debug, Eq, Serialize)]
pub struct OneToOne {
    /// Index of the WAN.
    pub wan: usize,
    /// The outside address; no interface's own, in no pool of the WAN, no other entry's of the WAN.
    pub outside: Ipv4Addr,
    /// The inside host, in a network of an inside interface or of a route; no other entry's of the WAN.
    pub inside: Ipv4Addr,
    /// What becomes of the host's packets while the WAN is down.
    pub when_down: WhenDown,
    /// Where it stands in the text.
    #[serde(skip)]
    pub at: Position,
}

/// Equal if they mean the same: a line that moved is no difference.
impl PartialEq for OneToOne {
    fn eq(&self, other: &OneToOne) -> bool {
        let OneToOne { wan, outside, inside, when_down, at: _ } = self;
        (wan, outside, inside, when_down) == (&other.wan, &other.outside, &other.inside, &other.when_down)
    }
}

/// What becomes of a one-to-one host's packets while its WAN is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenDown {
    /// They are dropped.
    #[default]
    Drop,
    /// They leave by another WAN with its address, as everybody's do.
    Masquerade,
}

/// Addresses of a WAN that mappings may use besides the interface's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pool {
    /// Ranges, both ends included, ascending, apart; with the WAN's other pools at most `65_536` addresses.
    pub addresses: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Who answers ARP for them.
    pub arp: PoolArp,
}

/// Who answers ARP for a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolArp {
    /// The router, for what is in a network of the interface.
    #[default]
    Auto,
    /// Nobody; the provider routes them here.
    Never,
}
