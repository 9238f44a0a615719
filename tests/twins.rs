//! Two whole routers as a pair, on one virtual clock: who answers for the virtual addresses, what a take-over and its way back cost, what
//! members do that cannot hear each other.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::manage::protocol::Request;
use turnout::sim::{Packet, Twins};
use turnout::wire::arp::Arp;

const PROFILE: &str = "version: 1
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
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);

fn twins() -> Twins {
    let mut twins = Twins::new(PROFILE, ["a", "b"], 1).unwrap();
    twins.run_ms(3000);
    twins.take();
    twins
}

fn role(twins: &mut Twins, at: usize) -> String {
    let said = twins.members[at].ask(Request::Cluster).unwrap();
    said["role"].as_str().unwrap().to_owned()
}

/// Who answers for an address on a link, and with which MAC.
fn answers(twins: &mut Twins, link: &str, ip: Ipv4Addr) -> Vec<(usize, Mac)> {
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

#[test]
fn the_preferred_member_takes_the_role_and_alone_answers_for_the_virtual_address() {
    let mut twins = twins();
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("active", "standby"));
    let virtual_mac = Mac([0, 0, 0x5e, 0, 1, 17]);
    assert_eq!(answers(&mut twins, "lan", GATEWAY), [(0, virtual_mac)]);
    // Their own are with their own MACs.
    assert_eq!(answers(&mut twins, "lan", [192, 168, 10, 2].into()), [(0, Mac([2, 0, 0, 1, 1, 0]))]);
    assert_eq!(answers(&mut twins, "lan", [192, 168, 10, 3].into()), [(1, Mac([2, 0, 0, 2, 1, 0]))]);
}

#[test]
fn a_member_that_dies_is_followed_within_timeout_and_two_beats() {
    let mut twins = twins();
    twins.dead[0] = true;
    let mut ms = 0;
    while role(&mut twins, 1) != "active" {
        twins.run_ms(10);
        ms += 10;
        assert!(ms <= 700, "after {ms} ms");
    }
    let called = twins.take().into_iter().any(|(from, link, frame)| {
        let arp = Arp::parse(&frame[14..]).filter(|_| frame[12..14] == [8, 6]);
        from == 1
            && link == "lan"
            && arp.is_some_and(|arp| (arp.sender_ip, arp.target_ip) == (GATEWAY, GATEWAY))
    });
    assert!(called, "the link is told where the address is now");
    assert_eq!(answers(&mut twins, "lan", GATEWAY), [(1, Mac([0, 0, 0x5e, 0, 1, 17]))]);
    // It comes back, and gets the role when it has been as fit for long enough.
    twins.restart(PROFILE, "a", 0).unwrap();
    twins.run_ms(4000);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("standby", "active"));
    twins.run_ms(6000);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("active", "standby"));
    assert_eq!(answers(&mut twins, "lan", GATEWAY), [(0, Mac([0, 0, 0x5e, 0, 1, 17]))]);
}

#[test]
fn the_operator_s_yield_and_prefer_move_the_role_at_once() {
    let mut twins = twins();
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(300);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("standby", "active"));
    let refused = twins.members[0].ask(Request::Yield).unwrap_err();
    assert_eq!(refused, "this member is not active");
    twins.members[1].ask(Request::Prefer { member: "a".into() }).unwrap();
    twins.run_ms(500);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("active", "standby"));
    let refused = twins.members[1].ask(Request::Prefer { member: "c".into() }).unwrap_err();
    assert_eq!(refused, "no member has this name; there are b and a");
}

#[test]
fn a_member_whose_link_inside_is_gone_hands_the_role_over() {
    let mut twins = twins();
    // By the heartbeat's only path neither hears the other any more, and the one without inside lets go.
    twins.members[0].set_link("lan", false);
    twins.run_ms(800);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("standby", "active"));
}

#[test]
fn who_cannot_hear_the_other_is_active_and_one_remains_when_the_line_is_whole() {
    let mut twins = twins();
    twins.cut = vec!["lan".into()];
    twins.run_ms(800);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("active", "active"));
    twins.cut.clear();
    twins.run_ms(250);
    assert_eq!((role(&mut twins, 0).as_str(), role(&mut twins, 1).as_str()), ("active", "standby"));
}

#[test]
fn the_host_of_a_standby_reaches_the_outside_by_the_active_member() {
    let mut twins = twins();
    twins.members[1].attach_host();
    let packet =
        Packet::udp(([192, 168, 10, 3].into(), 5000), ([9, 9, 9, 9].into(), 53), b"what time is it?");
    // The first one asks for the next hop.
    twins.members[1].host_sends("lan", &packet, None);
    twins.run_ms(1500);
    twins.take();
    let sent = twins.members[1].host_sends("lan", &packet, None);
    let [(link, seen)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((link.as_str(), seen.eth.dst), ("lan", Mac([0, 0, 0x5e, 0, 1, 17])));
    let out = twins.members[0].send("lan", &packet);
    let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((link.as_str(), seen.ip.src), ("isp1", Ipv4Addr::new(203, 0, 113, 2)));
}
