//! What the tests of two whole routers as a pair have in common: a profile, who has which role, and who answers for what.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses a part of it, and ends by panicking"
)]

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::manage::protocol::Request;
use turnout::sim::{Packet, Twins};
use turnout::wire::arp::Arp;

pub const PROFILE: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.9/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.3/29], gateway: 203.0.113.1 }
wans: [isp1]
engine: { sessions: 4096 }
cluster:
  members:
    a: { interfaces: { lan: { addresses: [192.168.10.2/24] }, isp1: { addresses: [203.0.113.3/29] } } }
    b: { interfaces: { lan: { addresses: [192.168.10.3/24] }, isp1: { addresses: [203.0.113.4/29] } } }
  heartbeat: { paths: [{ interface: lan }], every: 100ms, timeout: 500ms, key_file: /etc/turnout/cluster.key }
  preferred: a
  failback: { mode: automatic, after: 5s }
  virtual:
    - { interface: lan, address: 192.168.10.1/24, vrid: 17 }
    - { interface: isp1, address: 203.0.113.2/29, vrid: 18 }
";
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);

pub fn twins() -> Twins {
    started(PROFILE)
}

pub fn started(profile: &str) -> Twins {
    let mut twins = Twins::new(profile, 1).unwrap();
    twins.run_ms(3000);
    twins.take();
    twins
}

pub fn roles(twins: &mut Twins) -> [String; 2] {
    [0, 1].map(|at| role(twins, at))
}

pub fn said(twins: &mut Twins, at: usize) -> String {
    twins.members[at].ask(Request::Cluster).unwrap().to_string()
}

pub fn role(twins: &mut Twins, at: usize) -> String {
    let said = twins.members[at].ask(Request::Cluster).unwrap();
    said["role"].as_str().unwrap().to_owned()
}

/// Who answers for an address on a link, and with which MAC.
pub fn answers(twins: &mut Twins, link: &str, ip: Ipv4Addr) -> Vec<(usize, Mac)> {
    twins.take();
    let asks = Arp::request(Mac([2, 0, 0, 3, 10, 10]), HOST, ip, None);
    for at in 0..2 {
        twins.members[at].put_raw(link, &asks);
    }
    twins.run_ms(2);
    let read = |(from, _, frame): (usize, String, Vec<u8>)| {
        let arp = Arp::parse(frame.get(14..)?)?;
        (arp.sender_ip == ip && arp.target_ip == HOST).then_some((from, arp.sender_mac))
    };
    twins
        .take()
        .into_iter()
        .filter(|(_, at, frame)| at == link && frame[12..14] == [8, 6])
        .filter_map(read)
        .collect()
}

/// The profile with something else in a place of it.
pub fn with(what: &str, other: &str) -> String {
    assert!(PROFILE.contains(what), "{what}");
    PROFILE.replace(what, other)
}

pub const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(9, 9, 9, 9), 443);

/// Sends a packet from inside by a member; gives where it is seen to be from.
pub fn leaves(twins: &mut Twins, by: usize, packet: &Packet) -> (Ipv4Addr, u16) {
    let out = twins.send(by, "lan", packet);
    let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(link, "isp1");
    seen.src()
}

/// What the server answers to an outside endpoint comes in by a member, to this host.
pub fn answered(twins: &mut Twins, by: usize, packet: &Packet) -> (Ipv4Addr, u16) {
    let out = twins.send(by, "isp1", packet);
    let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(link, "lan");
    seen.dst()
}
