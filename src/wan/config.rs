//! What the machinery is told at its start: how each WAN is judged, and which groups choose among them.
//!
//! A `Config` and the inputs with their times are all that a decision depends on, so it is the head of a journal.
//! Spans are `Nanos`, tiers count from the preferred one up, percents go from 0 to 100.

use serde::{Deserialize, Serialize};

pub use crate::base::Fate;
use crate::base::{Nanos, WanId};

/// All that is fixed while the machinery runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// By `WanId`, at most 256.
    pub wans: Vec<Health>,
    /// The default group first, at most 64; if there is none, all WANs make one, a tier each.
    pub groups: Vec<GroupConfig>,
}

impl Config {
    /// Groups at most.
    pub const GROUPS: usize = 64;

    /// These WANs in one group, a tier each in their order.
    pub fn plain(wans: Vec<Health>) -> Config {
        let groups = vec![GroupConfig::plain(wans.len())];
        Config { wans, groups }
    }
}

/// When a WAN counts as dead, and when as well again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The time from one ARP request to the gateway to the next.
    pub arp_every: Nanos,
    /// So many bad rounds in a row make it down.
    pub failures: u32,
    /// So many good rounds in a row are the least that brings it up after a down.
    pub successes: u32,
    /// And so long must they last; doubles with each flap.
    pub stable: Nanos,
    /// `stable` doubles up to here.
    pub flap_max: Nanos,
    /// Whom to ask beyond the gateway, at most 256.
    pub targets: Vec<Target>,
    /// The time from one round of the targets to the next; not less than a 16th of `timeout`.
    pub every: Nanos,
    /// A target's answer counts if it comes within this, from when it was asked.
    pub timeout: Nanos,
    /// A round is good if so many targets answer.
    pub need: u32,
    /// There is a BFD session with the gateway.
    pub bfd: bool,
    /// What makes a WAN degraded; nothing if left out.
    pub degraded: Option<Degraded>,
    /// Its traffic is watched for silence.
    pub passive: bool,
    /// It costs by the byte: as a standby it is asked rarely.
    pub metered: bool,
    /// It has an address only as long as it has a lease.
    #[serde(default)]
    pub dhcp: bool,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            arp_every: Nanos::from_ms(250),
            failures: 3,
            successes: 5,
            stable: Nanos::from_s(10),
            flap_max: Nanos::from_s(600),
            targets: Vec::new(),
            every: Nanos::from_ms(500),
            timeout: Nanos::from_s(1),
            need: 1,
            bfd: false,
            degraded: None,
            passive: false,
            metered: false,
            dhcp: false,
        }
    }
}

/// Somebody out there who is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// How it is asked.
    pub kind: TargetKind,
    /// As the operator wrote it: with the kind what tells it from others, on whichever WAN.
    pub name: String,
}

/// How a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// By an echo request.
    Icmp,
    /// By opening a connection.
    Tcp,
    /// By a query.
    Dns,
    /// By fetching a page.
    Http,
}

impl TargetKind {
    /// The name in evidence.
    pub const fn name(self) -> &'static str {
        match self {
            TargetKind::Icmp => "icmp",
            TargetKind::Tcp => "tcp",
            TargetKind::Dns => "dns",
            TargetKind::Http => "http",
        }
    }
}

/// What makes a WAN degraded: any of these above its threshold over the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded {
    /// Over how long it is measured.
    pub window: Nanos,
    /// Lost probes, 0 to 100.
    pub loss_percent: u8,
    /// Mean round trip time.
    pub latency: Nanos,
    /// Mean difference from one round trip to the next.
    pub jitter: Nanos,
}

/// A group of WANs: which of them new sessions take, and what becomes of the old ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// Whom it chooses from.
    pub members: Vec<Member>,
    /// One, or several at once.
    pub mode: Mode,
    /// When it returns to a better tier.
    pub failback: Failback,
    /// What it does when no member is fit.
    pub none_fit: NoneFit,
    /// What becomes of the sessions on a WAN that has died.
    pub on_failover: OnFailover,
    /// What becomes of the sessions on a WAN after a return to a better one.
    pub on_failback: OnFailback,
}

impl GroupConfig {
    /// `wans` WANs, a tier each; failback at once.
    pub fn plain(wans: usize) -> GroupConfig {
        let member = |wan: usize| Member { wan: WanId(wan as u8), tier: wan as u8, weight: 1 };
        GroupConfig {
            name: "default".into(),
            members: (0..wans.min(256)).map(member).collect(),
            mode: Mode::Failover,
            failback: Failback { automatic: true, after: Nanos::ZERO },
            none_fit: NoneFit::Unreachable,
            on_failover: OnFailover::default(),
            on_failback: OnFailback::default(),
        }
    }
}

/// A WAN in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub wan: WanId,
    /// The lower the better.
    pub tier: u8,
    /// Its share among the carriers of its tier, in balance.
    pub weight: u16,
}

/// How many members carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One: the first fit one of the best tier.
    #[default]
    Failover,
    /// All fit ones of the best tier, by weight.
    Balance,
}

/// When a group returns to a better tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failback {
    /// By itself; else it stays where it is as long as that is fit.
    pub automatic: bool,
    /// So long after the better WAN came up.
    pub after: Nanos,
}

/// What a group without a fit member does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoneFit {
    /// The best tier with link and a gateway that has answered since the link came carries all the same.
    #[default]
    Best,
    /// Nobody does.
    Unreachable,
}

/// What becomes of the sessions on a WAN that has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFailover {
    /// TCP is reset so long after, unless the WAN answers again by then.
    pub tcp_reset_after: Nanos,
    /// UDP, at once.
    pub udp: Fate,
    /// ICMP, at once.
    pub icmp: Fate,
}

impl Default for OnFailover {
    fn default() -> OnFailover {
        OnFailover { tcp_reset_after: Nanos::from_s(2), udp: Fate::Rebind, icmp: Fate::Rebind }
    }
}

/// What becomes of the sessions on a WAN after a return to a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFailback {
    /// So long they stay.
    pub drain: Nanos,
    /// So long on a metered WAN.
    pub metered: Nanos,
    /// What becomes of TCP then.
    pub tcp: TcpFate,
    /// What becomes of UDP and ICMP then.
    pub udp: Fate,
}

impl Default for OnFailback {
    fn default() -> OnFailback {
        OnFailback {
            drain: Nanos::from_s(3600),
            metered: Nanos::from_s(120),
            tcp: TcpFate::Reset,
            udp: Fate::Rebind,
        }
    }
}

/// What becomes of TCP at the end of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpFate {
    /// It is reset.
    #[default]
    Reset,
    /// It stays till it ends by itself.
    Keep,
}
