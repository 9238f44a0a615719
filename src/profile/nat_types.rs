//! The section `nat` as a value: timeouts, limits, and what translation does at its edges.
//!
//! Defaults are those of a careful operator, in the `Default` of each type. What an RFC forbids cannot be said here:
//! mapping is always endpoint-independent for UDP (RFC 4787 REQ-1), so that `WhenFull::udp` is never `Share`.
//! Serialized, spans of time are whole nanoseconds with the unit in the key, networks are text.

use serde::{Serialize, Serializer};

use crate::base::{Ipv4Net, Nanos};

use super::rule_types::Match;
use super::types::{nanos, texts};

/// Address translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nat {
    /// Networks whose hosts are translated, without host bits, none that of a WAN; `None`: the networks of all
    /// interfaces that are no WAN, and the routes behind them.
    #[serde(serialize_with = "inside")]
    pub inside: Option<Vec<Ipv4Net>>,
    /// What is forwarded untranslated; each has `from` or `to`, no interface, never `To::Own`.
    pub except: Vec<Match>,
    /// Who outside may use a mapping.
    pub filtering: Filtering,
    /// What a new flow gets once the ports are used up.
    pub when_full: WhenFull,
    /// The most ports of one inside host and protocol; a limit is 1 to `65_536`.
    pub ports_per_host: Share,
    /// The most sessions of one inside host; a limit is 1 to `16_000_000`.
    pub sessions_per_host: Share,
    /// How long a port rests before it serves another host.
    pub quarantine: Quarantine,
    /// New mappings a second and inside host; 1 to `10_000_000`.
    pub creation_rate: u32,
    /// Inside hosts reach each other by their outside addresses (RFC 4787 REQ-9).
    pub hairpin: bool,
    /// What is done to the segment size that a TCP SYN announces.
    pub mss_clamp: MssClamp,
    /// What becomes of TCP from inside that has no session and is no SYN.
    pub midstream: Midstream,
    /// Unsolicited packets from outside get no answer.
    pub stealth: bool,
    /// What is written to the journal.
    pub log: Log,
    /// How long sessions live without packets.
    pub timeouts: Timeouts,
}

impl Default for Nat {
    fn default() -> Nat {
        Nat {
            inside: None,
            except: Vec::new(),
            filtering: Filtering::default(),
            when_full: WhenFull::default(),
            ports_per_host: Share::Auto,
            sessions_per_host: Share::Auto,
            quarantine: Quarantine::default(),
            creation_rate: 10_000,
            hairpin: true,
            mss_clamp: MssClamp::Auto,
            midstream: Midstream::Reset,
            stealth: true,
            log: Log::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Who outside may use a mapping, by protocol (RFC 4787 REQ-8, RFC 5382 REQ-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Filtering {
    /// TCP; address-dependent by default.
    pub tcp: Filter,
    /// UDP; endpoint-independent by default.
    pub udp: Filter,
}

impl Default for Filtering {
    fn default() -> Filtering {
        Filtering { tcp: Filter::AddressDependent, udp: Filter::EndpointIndependent }
    }
}

/// Who outside may use a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Everybody.
    EndpointIndependent,
    /// The addresses that the inside host has sent to.
    AddressDependent,
    /// The addresses and ports that the inside host has sent to.
    AddressAndPortDependent,
}

/// What a new flow gets once the ports are used up, by protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WhenFull {
    /// TCP; share by default.
    pub tcp: Full,
    /// UDP; always refuse, as a shared port is no endpoint-independent mapping.
    pub udp: Full,
}

impl Default for WhenFull {
    fn default() -> WhenFull {
        WhenFull { tcp: Full::Share, udp: Full::Refuse }
    }
}

/// What a new flow gets once the ports are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Full {
    /// A port that serves another remote, once nine in ten are used.
    Share,
    /// Nothing: the packet is dropped and counted.
    Refuse,
}

/// How much of something one inside host may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// No limit until there is little left, then a fair share.
    #[default]
    Auto,
    /// At most so many.
    Limit(u32),
}

/// How long a port rests before it serves another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantine {
    /// The rest; 0 to 1 h, 120 s by default (RFC 6888 REQ-8).
    #[serde(rename = "time_ns", serialize_with = "nanos")]
    pub time: Nanos,
    /// The most ports of one address and protocol that rest; 1 to `65_536`. The longest rest ends for one more.
    pub ports: u32,
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine { time: Nanos::from_s(120), ports: 65_536 }
    }
}

/// What is done to the segment size that a TCP SYN announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MssClamp {
    /// Lowered to what the MTUs of the way leave.
    #[default]
    Auto,
    /// Nothing.
    Never,
    /// Lowered to at most so many bytes; 536 to 65495.
    To(u16),
}

/// What becomes of TCP from inside that has no session and is no SYN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Midstream {
    /// A reset to the sender, who then opens anew.
    #[default]
    Reset,
    /// A session, as if it had been opened here.
    Adopt,
    /// Silence.
    Drop,
}

/// What is written to the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Log {
    /// Each mapping's creation and end.
    pub mappings: bool,
}

/// How long sessions live without packets; each at most 24 h.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// TCP, established; at least 2 h 4 min (RFC 5382 REQ-5).
    #[serde(rename = "tcp_ns", serialize_with = "nanos")]
    pub tcp: Nanos,
    /// TCP, opening or closing; at least 10 s (RFC 7857 section 2.2 lets an operator go below RFC 5382's 4 min).
    #[serde(rename = "tcp_transitory_ns", serialize_with = "nanos")]
    pub tcp_transitory: Nanos,
    /// TCP, opening, if that has a time of its own; at least 10 s.
    #[serde(rename = "tcp_opening_ns", serialize_with = "some_nanos")]
    pub tcp_opening: Option<Nanos>,
    /// TCP, closing, if that has a time of its own; at least 10 s.
    #[serde(rename = "tcp_closing_ns", serialize_with = "some_nanos")]
    pub tcp_closing: Option<Nanos>,
    /// UDP; at least 2 min (RFC 4787 REQ-5).
    #[serde(rename = "udp_ns", serialize_with = "nanos")]
    pub udp: Nanos,
    /// UDP by the remote port, ascending, no port twice; ports below 1024 may go down to 1 s (RFC 4787 REQ-5a).
    #[serde(rename = "udp_ports_ns", serialize_with = "ports")]
    pub udp_ports: Vec<(u16, Nanos)>,
    /// ICMP queries; at least 60 s (RFC 5508 REQ-2).
    #[serde(rename = "icmp_ns", serialize_with = "nanos")]
    pub icmp: Nanos,
    /// Every other protocol; at least 10 s.
    #[serde(rename = "other_ns", serialize_with = "nanos")]
    pub other: Nanos,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            tcp: Nanos::from_s(2 * 3600 + 4 * 60),
            tcp_transitory: Nanos::from_s(4 * 60),
            tcp_opening: None,
            tcp_closing: None,
            udp: Nanos::from_s(5 * 60),
            udp_ports: vec![(53, Nanos::from_s(10)), (123, Nanos::from_s(30))],
            icmp: Nanos::from_s(60),
            other: Nanos::from_s(10 * 60),
        }
    }
}

fn inside<S: Serializer>(nets: &Option<Vec<Ipv4Net>>, to: S) -> Result<S::Ok, S::Error> {
    match nets {
        Some(nets) => texts(nets, to),
        None => to.serialize_none(),
    }
}

fn some_nanos<S: Serializer>(span: &Option<Nanos>, to: S) -> Result<S::Ok, S::Error> {
    match span {
        Some(span) => nanos(span, to),
        None => to.serialize_none(),
    }
}

fn ports<S: Serializer>(values: &[(u16, Nanos)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(values.iter().map(|(port, span)| (port, span.0)))
}
