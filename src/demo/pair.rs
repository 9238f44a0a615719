//! The scenarios of a pair: two members serve a site together, and one of them is lost, or its ISP.
//!
//! Both members read one profile: what they share stands in it once, what differs in `cluster.members`. The scenarios differ by where the
//! WANs lead: to a common DMZ, to both ISPs, to an ISP each, with or without a firewall between.
#![forbid(unsafe_code)]

use super::DemoError;
use super::behind::{ON_DMZ, router_profile};
use super::crew::{Part, Post};
use super::dual_wan::{self, cores};
use super::lab::{Shape, WAN1, WAN2};
use super::pair_steps::{BEHIND, BOTH, EACH};
use super::play::{self, Plot};
use super::report::Report;
use super::stage::Stage;

/// Both members in one DMZ, behind a router with two ISPs.
pub const BEHIND_FIREWALL: &str = "cluster-behind-firewall";
/// Both members on both ISPs.
pub const DUAL_WAN: &str = "cluster-dual-wan";
/// An ISP for each member.
pub const TWO_ISPS: &str = "cluster-two-isps";
/// The same, each behind a firewall.
pub const TWO_DMZS: &str = "cluster-two-dmzs";
/// The same, one of them behind a firewall.
pub const MIXED: &str = "cluster-mixed";

/// What a scenario's profile has of its own.
struct Parts {
    /// Interfaces besides `lan`, a line each
    interfaces: String,
    /// The WANs that both have
    wans: &'static str,
    /// Of whether a WAN is there
    health: &'static str,
    /// What member `a` has of its own, below its interface `lan`
    a: String,
    /// And what is the members' besides interfaces
    a_wans: &'static str,
    b: String,
    b_wans: &'static str,
    /// Paths of the heartbeat besides `lan`
    paths: &'static str,
    /// Virtual addresses besides that on the LAN, a line each
    virtuals: String,
}

/// Both sides of a lost member know within 180 ms.
const HEARTBEAT: &str = "every: 20ms, timeout: 100ms, key_file: \"@DIR@/cluster.key\"";
/// The gateway alone is asked, four times a second.
const GATEWAY: &str = "gateway: { arp: 250ms }";
/// What lies behind the gateway is asked.
const BEYOND: &str =
    "gateway: { arp: 250ms }, targets: { icmp: [9.9.9.9, 1.1.1.1, 8.8.8.8], every: 200ms, timeout: 400ms }";

fn profile(parts: &Parts) -> String {
    let cores = cores();
    let manager = cores.first().copied().unwrap_or(0);
    let worker = cores.get(1).copied().unwrap_or(manager);
    let Parts { interfaces, wans, health, a, a_wans, b, b_wans, paths, virtuals } = parts;
    let member = |name: &str, host: u8, interfaces: &str, wans: &str| {
        format!(
            "    {name}:
      name: {name}
      management: {{ socket: \"@DIR@/{name}.sock\", journal: \"@DIR@/{name}.sock.d/journal\" }}
      interfaces:
        lan: {{ addresses: [192.168.10.{host}/24] }}
{interfaces}{wans}"
        )
    };
    let (a, b) = (member("a", 2, a, a_wans), member("b", 3, b, b_wans));
    format!(
        "version: 1
engine: {{ workers: [{worker}], manager: {manager}, sessions: 65536 }}
interfaces:
  lan: {{ port: \"linux:lan0\" }}
{interfaces}{wans}health:
  demo: {{ {health}, up: {{ successes: 3, stable: 2s, flap_max: 2s }} }}
groups: {{ default: {{ failback: {{ after: 0s }} }} }}
cluster:
  members:
{a}{b}  heartbeat: {{ paths: [{{ interface: lan }}{paths}], {HEARTBEAT} }}
  failback: {{ after: 3s }}
  virtual:
    - {{ interface: lan, address: 192.168.10.1/24, vrid: 10 }}
{virtuals}"
    )
}

/// The pair's profile in the DMZ.
pub fn behind_firewall() -> String {
    profile(&Parts {
        interfaces: "  dmz: { port: \"linux:wan0\", gateway: 192.168.50.1 }\n".into(),
        wans: "wans: { dmz: { health: demo } }\n",
        health: GATEWAY,
        a: "        dmz: { addresses: [192.168.50.11/24] }\n".into(),
        a_wans: "",
        b: "        dmz: { addresses: [192.168.50.12/24] }\n".into(),
        b_wans: "",
        paths: ", { interface: dmz }",
        virtuals: "    - { interface: dmz, address: 192.168.50.10/24, vrid: 50 }\n".into(),
    })
}

/// The pair's profile on both ISPs.
pub fn dual_wan() -> String {
    profile(&Parts {
        interfaces: "  isp1: { port: \"linux:isp1\", gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", gateway: 198.51.100.1 }
"
        .into(),
        wans: "wans: { isp1: { health: demo }, isp2: { health: demo } }\n",
        health: GATEWAY,
        a: "        isp1: { addresses: [203.0.113.3/29] }
        isp2: { addresses: [198.51.100.3/29] }
"
        .into(),
        a_wans: "",
        b: "        isp1: { addresses: [203.0.113.4/29] }
        isp2: { addresses: [198.51.100.4/29] }
"
        .into(),
        b_wans: "",
        paths: ", { interface: isp2 }",
        virtuals: format!(
            "    - {{ interface: isp1, address: {WAN1}/29, vrid: 11 }}
    - {{ interface: isp2, address: {WAN2}/29, vrid: 12 }}
"
        ),
    })
}

/// The profile of a pair with an ISP for each member: this is each one's WAN.
fn each(a: &str, b: &str) -> String {
    profile(&Parts {
        interfaces: String::new(),
        wans: "",
        health: BEYOND,
        a: format!("        isp1: {{ port: \"linux:wan0\", {a} }}\n"),
        a_wans: "      wans: { isp1: { health: demo } }\n",
        b: format!("        isp2: {{ port: \"linux:wan0\", {b} }}\n"),
        b_wans: "      wans: { isp2: { health: demo } }\n",
        paths: "",
        virtuals: String::new(),
    })
}

/// On the second ISP's line.
fn on_isp2() -> String {
    format!("addresses: [{WAN2}/29], gateway: 198.51.100.1")
}

/// The pair's profile where each has an ISP.
pub fn two_isps() -> String {
    each(&format!("addresses: [{WAN1}/29], gateway: 203.0.113.1"), &on_isp2())
}

/// The pair's profile where each is behind a firewall.
pub fn two_dmzs() -> String {
    each(
        "addresses: [192.168.51.10/24], gateway: 192.168.51.1",
        "addresses: [192.168.52.10/24], gateway: 192.168.52.1",
    )
}

/// The pair's profile where one is.
pub fn mixed() -> String {
    each("addresses: dhcp", &on_isp2())
}

/// The two of a pair.
fn members(profile: &str) -> Vec<Post> {
    [("a", "member a"), ("b", "member b")]
        .map(|(host, called)| Post { host, called, profile: profile.to_owned(), part: Part::Member })
        .into()
}

/// Plays the scenario behind a router.
///
/// # Errors
/// As `play::play`.
pub fn play_behind_firewall(stage: &mut Stage) -> Result<Report, DemoError> {
    let mut posts = vec![dual_wan::router(router_profile(ON_DMZ))];
    posts.extend(members(&behind_firewall()));
    let shape = Shape::PairBehindFirewall;
    play::play(stage, Plot { name: BEHIND_FIREWALL, shape, posts, steps: BEHIND, cables: &["wan0"] })
}

/// Plays the scenario on both ISPs.
///
/// # Errors
/// As `play::play`.
pub fn play_dual_wan(stage: &mut Stage) -> Result<Report, DemoError> {
    let (shape, posts) = (Shape::PairDualWan, members(&dual_wan()));
    play::play(stage, Plot { name: DUAL_WAN, shape, posts, steps: BOTH, cables: &["isp1", "isp2"] })
}

fn play_each(
    stage: &mut Stage,
    name: &'static str,
    shape: Shape,
    profile: &str,
) -> Result<Report, DemoError> {
    play::play(stage, Plot { name, shape, posts: members(profile), steps: EACH, cables: &["wan0"] })
}

/// Plays the scenario with an ISP for each.
///
/// # Errors
/// As `play::play`.
pub fn play_two_isps(stage: &mut Stage) -> Result<Report, DemoError> {
    play_each(stage, TWO_ISPS, Shape::PairTwoIsps, &two_isps())
}

/// Plays the scenario with a firewall for each.
///
/// # Errors
/// As `play::play`.
pub fn play_two_dmzs(stage: &mut Stage) -> Result<Report, DemoError> {
    play_each(stage, TWO_DMZS, Shape::PairTwoDmzs, &two_dmzs())
}

/// Plays the scenario with a firewall for one.
///
/// # Errors
/// As `play::play`.
pub fn play_mixed(stage: &mut Stage) -> Result<Report, DemoError> {
    play_each(stage, MIXED, Shape::PairMixed, &mixed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::load_all;

    #[test]
    fn the_profiles_are_good_for_both_members() {
        let wans = [
            (behind_firewall(), ["dmz", "dmz"], 2),
            (dual_wan(), ["isp1", "isp1"], 3),
            (two_isps(), ["isp1", "isp2"], 1),
            (two_dmzs(), ["isp1", "isp2"], 1),
            (mixed(), ["isp1", "isp2"], 1),
        ];
        for (text, wans, virtuals) in wans {
            let text = text.replace("@DIR@", "/run/lab");
            let both = load_all(&text, "p.yaml").unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"));
            let clusters: Vec<_> = both.iter().map(|one| one.cluster.as_ref().unwrap()).collect();
            assert_eq!([clusters[0].hash, 2], [clusters[1].hash, both.len() as u64]);
            for (profile, wan) in both.iter().zip(wans) {
                assert_eq!(profile.interfaces[profile.wans[0].interface].name, wan);
                assert_eq!(profile.cluster.as_ref().unwrap().virtuals.len(), virtuals);
            }
        }
    }
}
