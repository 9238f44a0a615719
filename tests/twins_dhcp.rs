//! Two whole routers as a pair whose WANs get their addresses by DHCP, on one virtual clock: what a lease counts for who has the role.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::Ipv4Addr;

use turnout::manage::protocol::Request;
use turnout::sim::{LeaseServer, Twins};

const PROFILE: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\" }
  isp1: { port: \"linux:isp1\", addresses: dhcp }
wans: { isp1: { health: quick } }
health:
  quick: { gateway: { arp: 100ms }, up: { successes: 2, stable: 500ms, flap_max: 1s } }
engine: { sessions: 4096 }
cluster:
  members:
    a: { interfaces: { lan: { addresses: [192.168.10.2/24] } } }
    b: { interfaces: { lan: { addresses: [192.168.10.3/24] } } }
  heartbeat: { paths: [{ interface: lan }], every: 100ms, timeout: 500ms, key_file: /etc/turnout/cluster.key }
  failback: { mode: automatic, after: 5s }
  virtual:
    - { interface: lan, address: 192.168.10.1/24, vrid: 17 }
";
const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 6);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const LEASE_S: u32 = 60;
/// Longer than a lease, and than a member is new.
const EXPIRED_MS: u64 = 65_000;

/// Both with a lease, and up; `a` is active.
fn leased() -> Twins {
    let mut twins = Twins::new(PROFILE, 1).unwrap();
    for (at, member) in twins.members.iter_mut().enumerate() {
        let given = Ipv4Addr::new(203, 0, 113, 3 + at as u8);
        member.lease_from("isp1", LeaseServer::new(SERVER, given, GATEWAY, LEASE_S));
        member.add_host("isp1", GATEWAY);
    }
    twins.run_ms(20_000);
    twins.take();
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    for at in 0..2 {
        assert!(says(&mut twins, at)["healthy"] == true);
    }
    twins
}

fn says(twins: &mut Twins, at: usize) -> serde_json::Value {
    twins.members[at].ask(Request::Cluster).unwrap()
}

fn roles(twins: &mut Twins) -> [String; 2] {
    [0, 1].map(|at| says(twins, at)["role"].as_str().unwrap().to_owned())
}

fn serves(twins: &mut Twins, at: usize, alive: bool) {
    twins.members[at].lease_server("isp1", |server| server.dead = !alive);
}

#[test]
fn a_member_whose_lease_is_lost_hands_over_and_takes_back_when_it_has_one() {
    let mut twins = leased();
    serves(&mut twins, 0, false);
    // The lease lasts yet.
    twins.run_ms(10_000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    twins.run_ms(EXPIRED_MS);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    let said = says(&mut twins, 0);
    assert!(said["healthy"] == false && said["reasons"].to_string().contains("no_wan"), "{said}");
    serves(&mut twins, 0, true);
    // It asks again after a minute at the latest (RFC 2131 4.1), and is as fit for `after`.
    twins.run_ms(100_000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
}

#[test]
fn where_no_wan_is_up_a_lease_counts() {
    let mut twins = leased();
    for at in 0..2 {
        twins.members[at].remove_host("isp1", GATEWAY);
    }
    twins.run_ms(5_000);
    assert_eq!(roles(&mut twins), ["active", "standby"], "nobody is better off");
    for at in 0..2 {
        assert!(says(&mut twins, at)["healthy"] == false);
    }
    serves(&mut twins, 0, false);
    twins.run_ms(EXPIRED_MS);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
}
