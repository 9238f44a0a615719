//! How a WAN's fitness is found, as values: gateway, targets, BFD, limits of a degraded line.
//!
//! Defaults are those of a careful operator: the gateway is asked, nobody else, and live traffic is a sensor. What a
//! section leaves out has its default; `Degraded` and `Bfd` begin with their section. A `Target` is the same one on
//! every WAN that asks it if its kind and name are the same. Serialized, spans of time are whole nanoseconds with the
//! unit in the key, hosts and peers are text.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Serialize, Serializer};

use crate::base::Nanos;

use super::types::{nanos, text};

/// How a WAN's fitness is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Span between two probes of the gateway; 50 ms to 10 s.
    #[serde(rename = "arp_every_ns", serialize_with = "nanos")]
    pub arp_every: Nanos,
    /// Probes lost in a row until the WAN is down; 1 to 100.
    pub failures: u32,
    /// Probes answered in a row until it may be up again; 1 to 1000.
    pub successes: u32,
    /// How long it has to stay fit until it is up again; 0 to 1 h. Doubles with each flap.
    #[serde(rename = "stable_ns", serialize_with = "nanos")]
    pub stable: Nanos,
    /// What `stable` grows to at most; `stable` to 24 h. Left out: 10 min, or `stable` if that is longer.
    #[serde(rename = "flap_max_ns", serialize_with = "nanos")]
    pub flap_max: Nanos,
    /// Hosts behind the gateway that are asked.
    pub targets: Targets,
    /// Whether and how BFD watches the line (RFC 5880, RFC 5881).
    pub bfd: Option<Bfd>,
    /// What makes a line degraded; `None`: nothing does.
    pub degraded: Option<Degraded>,
    /// Live traffic as a sensor: silence of a busy WAN is confirmed by probes, alone it never decides.
    pub passive: bool,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            arp_every: Nanos::from_ms(250),
            failures: 3,
            successes: 5,
            stable: Nanos::from_s(10),
            flap_max: Nanos::from_s(600),
            targets: Targets::default(),
            bfd: None,
            degraded: None,
            passive: true,
        }
    }
}

/// Hosts behind the gateway that are asked. A round asks all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Targets {
    /// At most 16, none twice: those of ICMP first, then TCP, DNS, HTTP, each in the order of the file.
    pub list: Vec<Target>,
    /// Span between two rounds; 20 ms to 60 s.
    #[serde(rename = "every_ns", serialize_with = "nanos")]
    pub every: Nanos,
    /// When an answer counts as lost; 10 ms to 10 s, and at most 64 times `every`: so many rounds are under way.
    #[serde(rename = "timeout_ns", serialize_with = "nanos")]
    pub timeout: Nanos,
    /// How many have to answer; 1 to their number if there are any, else 1.
    pub need: u32,
}

impl Default for Targets {
    fn default() -> Targets {
        Targets { list: Vec::new(), every: Nanos::from_ms(500), timeout: Nanos::from_s(1), need: 1 }
    }
}

/// A host that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Target {
    /// As the operator wrote it: host, `HOST:PORT`, or URL; of DNS `NAME@SERVER`.
    pub name: String,
    /// What is asked.
    #[serde(flatten)]
    pub probe: TargetProbe,
}

/// What a target is asked, and what counts as an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "probe", rename_all = "snake_case")]
pub enum TargetProbe {
    /// An echo (RFC 792); its reply.
    Icmp {
        /// Who is asked.
        host: Host,
    },
    /// A connection to a port (RFC 9293); that it is taken, or refused by a reset.
    Tcp {
        /// Who is asked.
        host: Host,
        /// From 1 up.
        port: u16,
    },
    /// An A record (RFC 1035); an answer with one of the addresses, or any answer that has one.
    Dns {
        /// The name server.
        server: Ipv4Addr,
        /// Its port, from 1 up; 53 unless it is given.
        port: u16,
        /// The name that is asked for, in the form of `Host::Name`. Written `name`.
        question: String,
        /// What has to be among the answers: one of these, ascending; empty: anything.
        answer: Vec<Ipv4Addr>,
    },
    /// A GET (RFC 9110) without TLS; the status.
    Http {
        /// Who is asked; named in the request as well.
        host: Host,
        /// From 1 up; 80 unless it is given.
        port: u16,
        /// Begins with `/`; printable ASCII without spaces, at most 1024 bytes.
        path: String,
        /// The only good status; 100 to 599, 204 unless it is given.
        status: u16,
    },
}

impl TargetProbe {
    /// The kind of probe, as events and commands name it: `icmp`, `tcp`, `dns` or `http`.
    pub fn kind(&self) -> &'static str {
        match self {
            TargetProbe::Icmp { .. } => "icmp",
            TargetProbe::Tcp { .. } => "tcp",
            TargetProbe::Dns { .. } => "dns",
            TargetProbe::Http { .. } => "http",
        }
    }
}

/// A host by its address or its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A host's address, no interface's own and in no inside network.
    Address(Ipv4Addr),
    /// 1 to 253 bytes: labels of letters, digits and `-` (RFC 1123 section 2.1), in lower case, the last no number.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(ip) => ip.fmt(f),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A BFD session on the link (RFC 5881: one hop).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bfd {
    /// The other end.
    #[serde(serialize_with = "text")]
    pub peer: BfdPeer,
    /// Span between two packets, sent and wanted; 10 ms to 10 s.
    #[serde(rename = "every_ns", serialize_with = "nanos")]
    pub every: Nanos,
    /// Packets lost in a row until the session is down; 2 to 50.
    pub multiplier: u8,
}

impl Default for Bfd {
    fn default() -> Bfd {
        Bfd { peer: BfdPeer::Gateway, every: Nanos::from_ms(300), multiplier: 3 }
    }
}

/// The other end of a BFD session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BfdPeer {
    /// The gateway of the WAN.
    #[default]
    Gateway,
    /// A host in a network of every WAN that has this health, no address of an interface.
    Address(Ipv4Addr),
}

impl fmt::Display for BfdPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BfdPeer::Gateway => f.write_str("gateway"),
            BfdPeer::Address(ip) => ip.fmt(f),
        }
    }
}

/// What makes a line degraded: new flows prefer another WAN, existing ones stay. Any one limit is enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degraded {
    /// What is looked back on; 1 s to 10 min, at least ten rounds of probes.
    #[serde(rename = "window_ns", serialize_with = "nanos")]
    pub window: Nanos,
    /// Percent of the probes lost in the window; 1 to 100.
    pub loss_percent: u8,
    /// Time of an answer, mean of the window; 1 ms to 10 s.
    #[serde(rename = "latency_ns", serialize_with = "nanos")]
    pub latency: Nanos,
    /// Variation of that time; 1 ms to 10 s.
    #[serde(rename = "jitter_ns", serialize_with = "nanos")]
    pub jitter: Nanos,
}

impl Default for Degraded {
    fn default() -> Degraded {
        Degraded {
            window: Nanos::from_s(30),
            loss_percent: 20,
            latency: Nanos::from_ms(500),
            jitter: Nanos::from_ms(100),
        }
    }
}
