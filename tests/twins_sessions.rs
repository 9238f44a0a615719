//! Two whole routers as a pair, on one virtual clock: what a change of role is to the sessions, with a WAN in common and with one each.
#![allow(clippy::unwrap_used, clippy::panic)]

mod twins_rig;

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::manage::protocol::Request;
use turnout::sim::{Packet, Twins};
use twins_rig::*;

#[test]
fn every_session_goes_on_after_the_active_member_is_gone_at_the_same_place_outside() {
    for workers in [1, 2] {
        let mut twins = Twins::new(PROFILE, workers).unwrap();
        twins.run_ms(3000);
        let udp = |port: u16| Packet::udp((HOST, port), SERVER, b"datagram");
        let tcp = |flags, seq| Packet::tcp((HOST, 7000), SERVER, flags, seq, 1, b"");
        meet(&mut twins);
        let before: Vec<_> = (5000..5040).map(|port| leaves(&mut twins, 0, &udp(port))).collect();
        let syn = leaves(&mut twins, 0, &tcp(2, 1));
        answered(&mut twins, 0, &Packet::tcp(SERVER, syn, 18, 1, 2, b""));
        leaves(&mut twins, 0, &tcp(16, 2));
        twins.run_ms(300);
        let sync = twins.members[0].ask(Request::Cluster).unwrap()["sync"].clone();
        assert_eq!((sync["state"].as_str(), sync["behind"].as_u64()), (Some("following"), Some(0)), "{sync}");
        twins.dead[0] = true;
        twins.run_ms(1000);
        assert_eq!(role(&mut twins, 1), "active");
        for (port, outside) in (5000..5040).zip(before) {
            assert_eq!(answered(&mut twins, 1, &Packet::udp(SERVER, outside, b"answer")), (HOST, port));
            assert_eq!(leaves(&mut twins, 1, &udp(port)), outside, "{workers} workers");
        }
        assert_eq!(answered(&mut twins, 1, &Packet::tcp(SERVER, syn, 24, 2, 2, b"data")), (HOST, 7000));
        assert_eq!(leaves(&mut twins, 1, &tcp(24, 2)), syn);
    }
}

#[test]
fn a_copy_lives_as_long_as_its_session_however_long_the_standby_sees_nothing_of_it() {
    let mut twins = twins();
    meet(&mut twins);
    let udp = Packet::udp((HOST, 5000), SERVER, b"datagram");
    let outside = leaves(&mut twins, 0, &udp);
    // Longer than the timer of UDP.
    for _ in 0..40 {
        twins.run_ms(10_000);
        assert_eq!(leaves(&mut twins, 0, &udp), outside);
    }
    twins.dead[0] = true;
    twins.run_ms(1000);
    assert_eq!(leaves(&mut twins, 1, &udp), outside);
    // From now on it counts like any other.
    twins.run_ms(320_000);
    assert!(twins.members[1].send("isp1", &Packet::udp(SERVER, outside, b"late")).is_empty());
}

#[test]
fn a_yield_and_a_way_back_lose_no_session() {
    let mut twins = twins();
    meet(&mut twins);
    let udp = Packet::udp((HOST, 5000), SERVER, b"datagram");
    let outside = leaves(&mut twins, 0, &udp);
    twins.run_ms(300);
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(500);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    assert_eq!(leaves(&mut twins, 1, &udp), outside);
    let other = Packet::udp((HOST, 5001), SERVER, b"datagram");
    let later = leaves(&mut twins, 1, &other);
    twins.run_ms(1500);
    twins.members[0].ask(Request::Prefer { member: "a".into() }).unwrap();
    twins.run_ms(1000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    assert_eq!((leaves(&mut twins, 0, &udp), leaves(&mut twins, 0, &other)), (outside, later));
}

/// The first packet by each member: next hops are known after that.
fn meet(twins: &mut Twins) {
    for at in 0..2 {
        twins.send(at, "lan", &Packet::udp((HOST, 1), SERVER, b"first"));
    }
    twins.run_ms(1500);
}

const TWO_ISPS: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.9/24] }
engine: { sessions: 4096 }
cluster:
  members:
    a:
      interfaces:
        lan: { addresses: [192.168.10.2/24] }
        isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
      wans: [isp1]
    b:
      interfaces:
        lan: { addresses: [192.168.10.3/24] }
        isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
      wans: [isp2]
  heartbeat: { paths: [{ interface: lan }], every: 100ms, timeout: 500ms, key_file: /etc/turnout/cluster.key }
  failback: { mode: manual }
  virtual: [{ interface: lan, address: 192.168.10.1/24, vrid: 17 }]
";

/// Two members with a WAN each, a flow of UDP and one of TCP by that of the first, and the role with the second.
fn moved_to_the_other_isp() -> (Twins, [(Ipv4Addr, u16); 2]) {
    let mut twins = started(TWO_ISPS);
    let udp = Packet::udp((HOST, 5000), SERVER, b"datagram");
    meet(&mut twins);
    let by_first = |twins: &mut Twins, packet: &Packet| {
        let out = twins.send(0, "lan", packet);
        let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
        assert_eq!(link, "isp1");
        seen.src()
    };
    let udp = by_first(&mut twins, &udp);
    let tcp = by_first(&mut twins, &Packet::tcp((HOST, 7000), SERVER, 2, 1, 0, b""));
    twins.send(0, "isp1", &Packet::tcp(SERVER, tcp, 18, 1, 2, b""));
    by_first(&mut twins, &Packet::tcp((HOST, 7000), SERVER, 16, 2, 2, b""));
    twins.run_ms(500);
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(500);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    (twins, [udp, tcp])
}

#[test]
fn after_a_yield_to_another_isp_flows_go_on_by_the_one_where_they_live_and_new_ones_by_the_new_one() {
    let (mut twins, [udp, tcp]) = moved_to_the_other_isp();
    let old = [
        (Packet::udp((HOST, 5000), SERVER, b"more"), udp),
        (Packet::tcp((HOST, 7000), SERVER, 24, 2, 2, b"data"), tcp),
    ];
    for _ in 0..3 {
        for (packet, outside) in &old {
            // To the partner, as it is but for the TTL.
            let out = twins.send(1, "lan", packet);
            let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
            assert_eq!(
                (link.as_str(), seen.eth.dst, seen.ip.src),
                ("lan", Mac([2, 0, 0, 1, 1, 0]), packet.ip.src)
            );
            // Which translates as before, and brings the answer straight back.
            let out = twins.send(0, "lan", packet);
            let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
            assert_eq!((link.as_str(), seen.src()), ("isp1", *outside));
        }
        let out = twins.send(0, "isp1", &Packet::udp(SERVER, udp, b"answer"));
        assert_eq!(
            out.iter().map(|(link, seen)| (link.as_str(), seen.dst())).collect::<Vec<_>>(),
            [("lan", (HOST, 5000))]
        );
        twins.run_ms(100);
    }
    let out = twins.send(1, "lan", &Packet::udp((HOST, 5001), SERVER, b"new"));
    assert_eq!(
        out.iter().map(|(link, seen)| (link.as_str(), seen.ip.src)).collect::<Vec<_>>(),
        [("isp2", [198, 51, 100, 2].into())]
    );
}

#[test]
fn the_host_of_a_standby_leaves_by_its_own_wan_where_the_members_share_none() {
    let mut twins = started(TWO_ISPS);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    twins.members[1].attach_host();
    let own = (Ipv4Addr::new(192, 168, 10, 3), 5000);
    let packet = Packet::udp(own, SERVER, b"what time is it?");
    // The first one asks for the next hop.
    twins.members[1].host_sends("lan", &packet, None);
    twins.run_ms(1500);
    twins.members[1].host_heard();
    let sent = twins.members[1].host_sends("lan", &packet, None);
    let [(link, seen)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((link.as_str(), seen.ip.src), ("isp2", [198, 51, 100, 2].into()));
    let answer = Packet::udp(SERVER, seen.src(), b"noon");
    twins.members[1].send("isp2", &answer);
    let heard = twins.members[1].host_heard();
    assert!(heard.iter().any(|(_, seen)| (seen.src(), seen.dst()) == (SERVER, own)), "{heard:?}");
}

#[test]
fn flows_that_lived_with_a_partner_that_is_gone_begin_anew_and_tcp_is_told() {
    let (mut twins, _) = moved_to_the_other_isp();
    // By that it is known what a reset must carry.
    twins.send(1, "lan", &Packet::tcp((HOST, 7000), SERVER, 24, 2, 2, b"data"));
    twins.dead[0] = true;
    twins.take();
    twins.run_ms(1500);
    let told = twins.take().into_iter().any(|(from, link, frame)| {
        let reset = turnout::sim::Seen::read(&frame)
            .is_some_and(|seen| seen.ip.protocol == 6 && seen.dst() == (HOST, 7000));
        reset && (from, link.as_str()) == (1, "lan")
    });
    assert!(told, "a reset");
    let out = twins.send(1, "lan", &Packet::udp((HOST, 5000), SERVER, b"more"));
    assert_eq!(
        out.iter().map(|(link, seen)| (link.as_str(), seen.ip.src)).collect::<Vec<_>>(),
        [("isp2", [198, 51, 100, 2].into())]
    );
}

const ONE_ARM: &str = "version: 1
interfaces:
  dmz: { port: \"linux:dmz0\", addresses: [192.168.50.9/24, 10.1.0.9/24], gateway: 192.168.50.1 }
wans: [dmz]
nat: { inside: [10.1.0.0/16] }
engine: { sessions: 4096 }
cluster:
  members:
    a: { interfaces: { dmz: { addresses: [192.168.50.2/24, 10.1.0.2/24] } } }
    b: { interfaces: { dmz: { addresses: [192.168.50.3/24, 10.1.0.3/24] } } }
  heartbeat: { paths: [{ interface: dmz }], every: 100ms, timeout: 500ms, key_file: /etc/turnout/cluster.key }
  virtual:
    - { interface: dmz, address: 192.168.50.10/24, vrid: 18 }
    - { interface: dmz, address: 10.1.0.1/24, vrid: 17 }
";

#[test]
fn a_pair_on_one_arm_has_a_virtual_address_on_either_side_of_it() {
    let mut twins = started(ONE_ARM);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    let host = (Ipv4Addr::new(10, 1, 0, 77), 5000);
    for at in 0..2 {
        twins.members[at].add_host("dmz-inside", host.0);
    }
    let packet = Packet::udp(host, SERVER, b"datagram");
    for at in 0..2 {
        twins.send(at, "dmz-inside", &packet);
    }
    twins.run_ms(1500);
    let out = twins.send(0, "dmz-inside", &packet);
    let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(
        (link.as_str(), seen.ip.src, seen.eth.src),
        ("dmz", [192, 168, 50, 10].into(), Mac([0, 0, 0x5e, 0, 1, 18]))
    );
    let outside = seen.src();
    twins.run_ms(300);
    twins.dead[0] = true;
    twins.run_ms(1000);
    assert_eq!(role(&mut twins, 1), "active");
    let out = twins.send(1, "dmz-inside", &packet);
    let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((link.as_str(), seen.src()), ("dmz", outside));
    let out = twins.send(1, "dmz", &Packet::udp(SERVER, outside, b"answer"));
    let [(link, seen)] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!((link.as_str(), seen.dst(), seen.eth.src), ("dmz-inside", host, Mac([0, 0, 0x5e, 0, 1, 17])));
}

#[test]
fn a_connection_that_the_partner_may_know_is_not_reset_for_a_second_after_a_take_over_nor_on_standby() {
    let mut twins = started(PROFILE);
    let tcp = Packet::tcp((HOST, 7000), SERVER, 24, 100, 100, b"data");
    let resets = |twins: &mut Twins, by: usize| {
        let out = twins.send(by, "lan", &tcp);
        out.iter().filter(|(link, seen)| link == "lan" && seen.ip.protocol == 6).count()
    };
    meet(&mut twins);
    assert_eq!((resets(&mut twins, 0), resets(&mut twins, 1)), (1, 0));
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(300);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    assert_eq!((resets(&mut twins, 0), resets(&mut twins, 1)), (0, 0));
    twins.run_ms(1500);
    assert_eq!((resets(&mut twins, 0), resets(&mut twins, 1)), (0, 1));
}

#[test]
fn datagrams_that_are_no_beat_and_no_part_of_the_log_are_counted_for_the_operator() {
    let mut twins = started(PROFILE);
    let refused = |twins: &mut Twins| twins.members[0].ask(Request::Cluster).unwrap()["refused"].clone();
    let none = serde_json::json!({
        "beats": { "malformed": 0, "forged": 0, "replayed": 0, "strangers": 0 },
        "log": { "malformed": 0, "forged": 0, "crowded": 0 },
    });
    assert_eq!(refused(&mut twins), none);
    let partner = (Ipv4Addr::new(192, 168, 10, 3), 9000);
    let own = (Ipv4Addr::new(192, 168, 10, 2), 9000);
    for (data, part, why) in [
        (b"no beat".as_slice(), "beats", "malformed"),
        (b"tos\x01\x07", "log", "malformed"),
        (b"tos\x01\x01\x00\x00\x00", "log", "malformed"),
    ] {
        let before = refused(&mut twins)[part][why].as_u64().unwrap();
        twins.send(0, "lan", &Packet::udp(partner, own, data));
        twins.run_ms(20);
        let now = refused(&mut twins);
        assert_eq!(now[part][why].as_u64(), Some(before + 1), "{data:?}: {now}");
    }
}

#[test]
fn a_connection_in_the_middle_of_its_handshake_goes_on_after_a_yield_and_by_its_next_syn_after_a_crash() {
    for crash in [false, true] {
        let mut twins = started(PROFILE);
        meet(&mut twins);
        let tcp = |flags, seq| Packet::tcp((HOST, 7000), SERVER, flags, seq, 1, b"");
        let mut outside = leaves(&mut twins, 0, &tcp(2, 1));
        if crash {
            twins.run_ms(5);
            twins.dead[0] = true;
            twins.run_ms(1000);
            assert_eq!(role(&mut twins, 1), "active");
            // An answer to the first one comes to nothing, and resets nobody.
            assert!(twins.send(1, "isp1", &Packet::tcp(SERVER, outside, 18, 1, 2, b"")).is_empty());
            outside = leaves(&mut twins, 1, &tcp(2, 1));
        } else {
            twins.members[0].ask(Request::Yield).unwrap();
            twins.run_ms(300);
            assert_eq!(roles(&mut twins), ["standby", "active"]);
        }
        assert_eq!(answered(&mut twins, 1, &Packet::tcp(SERVER, outside, 18, 1, 2, b"")), (HOST, 7000));
        assert_eq!(leaves(&mut twins, 1, &tcp(16, 2)), outside);
    }
}
