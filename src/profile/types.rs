//! The profile as a value: what `load` returns and the rest of the program reads.
//!
//! Every field holds what its doc says, in its unit and range; defaults are here, in the `Default` of each section.
//! Interfaces are named by their index in `Profile::interfaces`, WANs by their index in `Profile::wans`.
//! Serialized, spans of time are whole nanoseconds with the unit in the key, addresses and ports are text.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::base::{Hop, Ipv4Net, Mac, Nanos};

use super::cluster_types::Cluster;
use super::group_types::{Group, Hook, OnFailback, OnFailover, Policy};
use super::health_types::Health;
use super::nat_types::Nat;
use super::rule_types::{Forward, OneToOne, Pool, Rule};

/// Where the control socket is unless the profile says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/turnout/turnout.sock";
/// Where the journal is unless the profile says otherwise.
pub const DEFAULT_JOURNAL: &str = "/var/lib/turnout";
/// The most interfaces a profile may have.
pub const MAX_INTERFACES: usize = 64;
/// The most WANs a profile may have.
pub const MAX_WANS: usize = 16;

/// A place in the profile's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The first character.
    pub const START: Position = Position { line: 1, column: 1 };

    /// The place of the byte `offset` of `text`.
    pub(super) fn of_offset(text: &str, offset: usize) -> Position {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Position { line: to_u32(line), column: to_u32(column) }
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A whole profile that keeps every rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Profile {
    /// The router's name; `turnout` by default.
    pub name: String,
    /// Cores, memory and the packet library.
    pub engine: Engine,
    /// In the order of the file; 2 to `MAX_INTERFACES`.
    pub interfaces: Vec<Interface>,
    /// Networks behind inside routers; no two for the same network.
    pub routes: Vec<Route>,
    /// In order of preference; 1 to `MAX_WANS`, no interface twice.
    pub wans: Vec<Wan>,
    /// WANs that stand in for each other; the first is `default`.
    pub groups: Vec<Group>,
    /// In the order of the file; the first that fits decides.
    pub policy: Vec<Policy>,
    /// What becomes of flows whose WAN is left for being unfit.
    pub on_failover: OnFailover,
    /// What becomes of flows on a stand-in when a better WAN is back.
    pub on_failback: OnFailback,
    /// In the order of the file; at most 16.
    pub hooks: Vec<Hook>,
    /// Ports that lead inside, in the order of the file; the first that fits serves.
    pub forwards: Vec<Forward>,
    /// Outside addresses of single inside hosts.
    pub one_to_one: Vec<OneToOne>,
    /// In the order of the file; the first that fits decides.
    pub firewall: Vec<Rule>,
    /// Address translation.
    pub nat: Nat,
    /// ICMP errors of the router itself.
    pub icmp: Icmp,
    /// How the router is reached by its operator.
    pub management: Management,
    /// The pair that this router is a member of.
    pub cluster: Option<Cluster>,
}

/// Cores, memory and the packet library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Engine {
    /// One core (below 1024) a worker, no core twice, never empty; `None`: every allowed core but the first.
    pub workers: Option<Vec<usize>>,
    /// Core of the management thread (below 1024), no worker's; `None`: the first allowed core.
    pub manager: Option<usize>,
    /// Capacity of the session table, all workers together; 1024 to `16_515_072`.
    pub sessions: u32,
    /// Whether packet memory lies in huge pages.
    pub hugepages: Hugepages,
    /// What a worker does without packets.
    pub idle: Idle,
    /// Further arguments of the packet library's start, as given, without control characters.
    pub eal: Vec<String>,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine {
            workers: None,
            manager: None,
            sessions: 1_000_000,
            hugepages: Hugepages::Auto,
            idle: Idle::Auto,
            eal: Vec::new(),
        }
    }
}

/// Whether packet memory lies in huge pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hugepages {
    /// If the machine has some.
    #[default]
    Auto,
    /// Or the router does not start.
    Required,
    /// Ordinary pages.
    Never,
}

/// What a worker does without packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Polls on NICs, sleeps on Linux ports.
    #[default]
    Auto,
    /// Polls without pause.
    Poll,
    /// Sleeps for short spans.
    Sleep,
}

/// What an interface is made of. Those that share a port differ in their VLANs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortSpec {
    /// A PCI address with its domain, as `0000:03:00.0`.
    Pci(String),
    /// A Linux interface by its name (1 to 15 characters), written `linux:NAME`.
    Linux(String),
    /// A virtual device of the packet library with its arguments, as `net_null0,size=64`.
    Vdev(String),
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortSpec::Pci(s) | PortSpec::Vdev(s) => f.write_str(s),
            PortSpec::Linux(s) => write!(f, "linux:{s}"),
        }
    }
}

impl Serialize for PortSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// An interface: a port with addresses.
#[derive(Clone, Debug, Eq, Serialize)]
pub struct Interface {
    /// `[A-Za-z0-9_-]`, 1 to 32 characters, a letter first; no other interface has it.
    pub name: String,
    /// What it is made of.
    pub port: PortSpec,
    /// One or more, or none on an inside half, with `dhcp` and where the cluster has a virtual one, each with its network's prefix length; addresses of hosts, never of
    /// networks.
    #[serde(serialize_with = "texts")]
    pub addresses: Vec<Ipv4Net>,
    /// The next hop; on every WAN, on no other interface, inside one of the interface's networks. With `dhcp` the lease brings it.
    pub gateway: Option<Ipv4Addr>,
    /// Next hops beside it, the longest prefix first: only a lease brings them.
    #[serde(skip)]
    pub hops: Vec<Hop>,
    /// A WAN whose address comes by DHCP.
    pub dhcp: Option<Dhcp>,
    /// The largest IP packet in bytes, 68 to 9216 (RFC 791); `None`: what the port takes. The smaller one counts.
    pub mtu: Option<u16>,
    /// The VLAN of its frames, 1 to 4094; `None`: they have no tag.
    pub vlan: Option<u16>,
    /// The address that it sends from, of one station; `None`: the port's.
    #[serde(serialize_with = "maybe_text")]
    pub mac: Option<Mac>,
    /// It is the inside half of this WAN, the index of an interface, whose port, VLAN and address it has: it gets what
    /// comes from `nat.inside`. It may have no addresses.
    pub arm: Option<usize>,
    /// Whether it counts for the fitness of a cluster's member.
    pub watch: bool,
    /// Where its name stands in the text.
    #[serde(skip)]
    pub at: Position,
}

/// Equal if they mean the same: a line that moved is no difference.
impl PartialEq for Interface {
    fn eq(&self, other: &Interface) -> bool {
        let Interface { name, port, addresses, gateway, hops, dhcp, mtu, vlan, mac, arm, watch, at: _ } =
            self;
        *name == other.name
            && *port == other.port
            && *addresses == other.addresses
            && *gateway == other.gateway
            && *hops == other.hops
            && *dhcp == other.dhcp
            && *mtu == other.mtu
            && *vlan == other.vlan
            && *mac == other.mac
            && *arm == other.arm
            && *watch == other.watch
    }
}

/// How a WAN asks for its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Dhcp {
    /// What servers are told as its name; letters, digits, `-` and dots, at most 63.
    pub hostname: Option<String>,
    /// Servers that are not listened to; at most 64.
    pub reject_from: Vec<Ipv4Addr>,
}

/// A network behind an inside router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The network; no host bits, no network of an interface or within one.
    #[serde(serialize_with = "text")]
    pub to: Ipv4Net,
    /// The next hop, a host in a network of `interface`.
    pub via: Ipv4Addr,
    /// Index of the interface, which is no WAN.
    pub interface: usize,
}

/// A WAN. Its name is its interface's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wan {
    /// Index of the interface.
    pub interface: usize,
    /// How its fitness is found.
    pub health: Health,
    /// What leaves by it costs: flows do not stay on it for longer than they must.
    pub metered: bool,
    /// Addresses for mappings besides the interface's own; apart from each other and from those of other WANs.
    pub pool: Vec<Pool>,
}

/// ICMP errors of the router itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Icmp {
    /// The most it sends; 1 to `1_000_000`.
    pub errors_per_second: u32,
    /// Whether it says that a TTL ran out.
    pub time_exceeded: bool,
}

impl Default for Icmp {
    fn default() -> Icmp {
        Icmp { errors_per_second: 1000, time_exceeded: true }
    }
}

/// How the router is reached by its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Management {
    /// The control socket; absolute, at most 107 bytes.
    pub socket: PathBuf,
    /// The folder of the journal; absolute, at most 3840 bytes.
    pub journal: PathBuf,
}

impl Default for Management {
    fn default() -> Management {
        Management { socket: PathBuf::from(DEFAULT_SOCKET), journal: PathBuf::from(DEFAULT_JOURNAL) }
    }
}

pub(super) fn nanos<S: Serializer>(span: &Nanos, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(span.0)
}

pub(super) fn text<S: Serializer>(value: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

pub(super) fn maybe_text<S: Serializer>(value: &Option<Mac>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.collect_str(value),
        None => to.serialize_none(),
    }
}

pub(super) fn texts<S: Serializer>(values: &[Ipv4Net], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values.iter().map(Ipv4Net::to_string))
}
