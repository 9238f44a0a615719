//! Two whole routers as a pair, on one virtual clock: who answers for the virtual addresses, when the role moves, and what each key of the
//! pair changes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod twins_rig;

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::manage::protocol::Request;
use turnout::sim::{Packet, Twins};
use turnout::wire::arp::Arp;
use twins_rig::*;

#[test]
fn the_preferred_member_takes_the_role_and_alone_answers_for_the_virtual_address() {
    let mut twins = twins();
    assert_eq!(roles(&mut twins), ["active", "standby"]);
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
    twins.restart(PROFILE, 0).unwrap();
    twins.run_ms(4000);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    twins.run_ms(6000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    assert_eq!(answers(&mut twins, "lan", GATEWAY), [(0, Mac([0, 0, 0x5e, 0, 1, 17]))]);
}

#[test]
fn the_operator_s_yield_and_prefer_move_the_role_at_once() {
    let mut twins = twins();
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(300);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    let refused = twins.members[0].ask(Request::Yield).unwrap_err();
    assert_eq!(refused, "this member is not active");
    twins.members[1].ask(Request::Prefer { member: "a".into() }).unwrap();
    twins.run_ms(500);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    let refused = twins.members[1].ask(Request::Prefer { member: "c".into() }).unwrap_err();
    assert_eq!(refused, "no member has this name; there are b and a");
}

#[test]
fn a_member_whose_link_inside_is_gone_hands_the_role_over() {
    let mut twins = twins();
    // By the heartbeat's only path neither hears the other any more, and the one without inside lets go.
    twins.members[0].set_link("lan", false);
    twins.run_ms(800);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
}

#[test]
fn who_cannot_hear_the_other_is_active_and_one_remains_when_the_line_is_whole() {
    let mut twins = twins();
    twins.cut = vec!["lan".into()];
    twins.run_ms(800);
    assert_eq!(roles(&mut twins), ["active", "active"]);
    twins.cut.clear();
    twins.run_ms(250);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
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
    // What is said to it comes back the same way, and to nobody else: an active member takes in no such source from inside.
    let answer = Packet::udp(([9, 9, 9, 9].into(), 53), seen.src(), b"noon");
    let back = twins.members[0].send("isp1", &answer);
    let [(link, seen)] = back.as_slice() else { panic!("{back:?}") };
    assert_eq!((link.as_str(), seen.dst()), ("lan", ([192, 168, 10, 3].into(), 5000)));
    let heard = |twins: &Twins, at: usize| {
        ["to_host", "drop_spoofed_source"].map(|name| twins.members[at].moved(name))
    };
    let before = heard(&twins, 1);
    let told = |to: u8| Packet::udp(([9, 9, 9, 9].into(), 53), ([192, 168, 10, to].into(), 5000), b"noon");
    twins.members[1].send("lan", &told(3));
    assert_eq!(heard(&twins, 1), [before[0] + 1, before[1]]);
    let before = heard(&twins, 0);
    twins.members[0].send("lan", &told(2));
    assert_eq!(heard(&twins, 0), [before[0], before[1] + 1]);
}

#[test]
fn one_silent_path_of_two_is_told_and_moves_nothing() {
    let mut twins =
        started(&with("paths: [{ interface: lan }]", "paths: [{ interface: lan }, { interface: isp1 }]"));
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    twins.cut = vec!["lan".into()];
    twins.run_ms(3000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    assert!(said(&mut twins, 0).contains("path_silent"));
    twins.cut = vec!["lan".into(), "isp1".into()];
    twins.run_ms(1000);
    assert_eq!(roles(&mut twins), ["active", "active"]);
}

#[test]
fn silence_counts_by_the_timeout_also_by_one_that_is_changed_while_it_runs() {
    let takes = |twins: &mut Twins| {
        twins.dead[0] = true;
        (1..200).find(|_| {
            twins.run_ms(10);
            role(twins, 1) == "active"
        })
    };
    let mut twins = twins();
    let slow = takes(&mut twins).unwrap() * 10;
    assert!((400..=700).contains(&slow), "{slow} ms");
    let mut twins = self::twins();
    let quick = with("every: 100ms, timeout: 500ms", "every: 10ms, timeout: 50ms");
    for at in 0..2 {
        twins.reload(&quick, at).unwrap();
    }
    twins.run_ms(1000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    let quick = takes(&mut twins).unwrap() * 10;
    assert!((30..=80).contains(&quick), "{quick} ms");
}

#[test]
fn members_with_different_keys_are_strangers() {
    let keys: [&[u8]; 2] = [b"the key of both members", b"the key of some others"];
    let mut twins = Twins::of([PROFILE; 2], keys, 1).unwrap();
    twins.run_ms(3000);
    assert_eq!(roles(&mut twins), ["active", "active"]);
}

#[test]
fn members_whose_files_differ_say_so() {
    let other = with("engine: { sessions: 4096 }", "engine: { sessions: 8192 }");
    let mut twins = Twins::of([PROFILE, &other], [b"the key of both members"; 2], 1).unwrap();
    twins.run_ms(3000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    for at in 0..2 {
        assert!(said(&mut twins, at).contains("config_differs"));
    }
    let mut same = self::twins();
    assert!(!said(&mut same, 0).contains("config_differs"));
}

#[test]
fn who_is_preferred_has_the_role_at_the_start() {
    let mut twins = started(&with("preferred: a", "preferred: b"));
    assert_eq!(roles(&mut twins), ["standby", "active"]);
}

#[test]
fn with_manual_failback_the_role_stays_where_it_is() {
    let text = with("mode: automatic, after: 5s", "mode: manual");
    let mut twins = started(&text);
    twins.dead[0] = true;
    twins.run_ms(1000);
    twins.restart(&text, 0).unwrap();
    twins.run_ms(20_000);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
}

#[test]
fn an_address_that_goes_with_the_interface_s_own_mac_is_called_for_when_it_moves() {
    let mut twins = started(&with("vrid: 17", "mac: own"));
    assert_eq!(answers(&mut twins, "lan", GATEWAY), [(0, Mac([2, 0, 0, 1, 1, 0]))]);
    twins.dead[0] = true;
    twins.run_ms(1000);
    assert_eq!(answers(&mut twins, "lan", GATEWAY), [(1, Mac([2, 0, 0, 2, 1, 0]))]);
}

#[test]
fn the_role_goes_to_the_member_whose_wan_is_up() {
    let mut twins = twins();
    twins.members[0].set_link("isp1", false);
    twins.run_ms(500);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    assert!(said(&mut twins, 0).contains("no_wan"));
    twins.members[0].set_link("isp1", true);
    twins.run_ms(25_000);
    assert_eq!(roles(&mut twins), ["active", "standby"], "it is as fit again");
}

#[test]
fn what_is_not_watched_does_not_count() {
    let voice = "  voice: { port: \"linux:voice0\", addresses: [192.168.30.9/24] }\n";
    let three = with("wans: [isp1]\n", &format!("{voice}wans: [isp1]\n"));
    let two = |own: &str, number: u8| {
        format!(
            "lan: {{ addresses: [192.168.10.{own}/24] }}, voice: {{ addresses: [192.168.30.{number}/24] }}"
        )
    };
    let three = three
        .replace("lan: { addresses: [192.168.10.2/24] }", &two("2", 2))
        .replace("lan: { addresses: [192.168.10.3/24] }", &two("3", 3));
    let mut twins = started(&three);
    twins.members[0].set_link("voice", false);
    twins.run_ms(1000);
    assert_eq!(roles(&mut twins), ["standby", "active"], "fewer links inside");
    let mut twins = started(&three.replace("[192.168.30.9/24] }", "[192.168.30.9/24], watch: false }"));
    twins.members[0].set_link("voice", false);
    twins.run_ms(5000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
}

#[test]
fn a_standby_without_an_address_on_a_wan_asks_for_the_gateway_from_none_and_gets_the_address_with_the_role() {
    let text = with("addresses: [203.0.113.3/29], gateway", "addresses: [], gateway")
        .replace(", isp1: { addresses: [203.0.113.3/29] }", "")
        .replace(", isp1: { addresses: [203.0.113.4/29] }", "");
    let mut twins = started(&text);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    twins.run_ms(3000);
    let asked = twins.take().into_iter().filter_map(|(from, link, frame)| {
        let arp = Arp::parse(frame.get(14..)?).filter(|_| link == "isp1" && frame[12..14] == [8, 6])?;
        Some((from, arp.sender_ip))
    });
    let asked: Vec<_> = asked.collect();
    assert!(asked.contains(&(0, [203, 0, 113, 2].into())) && asked.contains(&(1, [0, 0, 0, 0].into())));
    assert!(!asked.contains(&(1, [203, 0, 113, 2].into())));
    // It is known to be up all the same.
    assert!(!said(&mut twins, 1).contains("no_wan"));
    twins.dead[0] = true;
    twins.run_ms(1000);
    assert_eq!(role(&mut twins, 1), "active");
    let packet = Packet::udp((HOST, 5000), ([9, 9, 9, 9].into(), 53), b"query");
    let out = twins.members[1].send("lan", &packet);
    assert_eq!(
        out.iter().map(|(link, seen)| (link.as_str(), seen.ip.src)).collect::<Vec<_>>(),
        [("isp1", [203, 0, 113, 2].into())]
    );
}

#[test]
fn the_members_speak_at_the_port_of_the_profile() {
    let mut twins = started(&with("heartbeat: { paths", "heartbeat: { port: 9100, paths"));
    twins.run_ms(500);
    let sent = twins.take();
    let to = |port: u16| {
        sent.iter()
            .filter(|(.., frame)| frame[12..14] == [8, 0] && frame[36..38] == port.to_be_bytes())
            .count()
    };
    assert!(to(9100) >= 8 && to(9000) == 0);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
}

#[test]
fn members_that_end_one_after_the_other_do_not_wait_for_each_other() {
    // The standby first: who is active has nobody to hand over to, and knows.
    let mut one = twins();
    assert!(one.members[1].leave(), "it has no role");
    one.members[1].farewell();
    one.dead[1] = true;
    one.run_ms(2);
    assert!(one.members[0].leave(), "{}", said(&mut one, 0));
    // The active one first: it hands over, and then the other one is alone.
    let mut other = twins();
    assert!(!other.members[0].leave());
    let mut ms = 0;
    while !other.members[0].left() {
        assert!(ms < 500, "{}", said(&mut other, 1));
        other.run_ms(1);
        ms += 1;
    }
    other.members[0].farewell();
    other.dead[0] = true;
    other.run_ms(2);
    assert_eq!(role(&mut other, 1), "active");
    assert!(other.members[1].leave(), "{}", said(&mut other, 1));
}

/// Member a is killed: by the ms, what member b announces where.
fn announced(profile: &str, ms: u64) -> Vec<(u64, String, Ipv4Addr)> {
    let mut twins = started(profile);
    twins.dead[0] = true;
    twins.take();
    let mut told = Vec::new();
    for ms in 0..ms {
        twins.run_ms(1);
        for (from, link, frame) in twins.take() {
            let arp = Arp::parse(&frame[14..]).filter(|_| from == 1 && frame[12..14] == [8, 6]);
            if let Some(arp) = arp.filter(|arp| arp.sender_ip == arp.target_ip) {
                told.push((ms, link, arp.sender_ip));
            }
        }
    }
    told
}

#[test]
fn who_takes_over_with_its_own_mac_tells_at_once_where_all_addresses_are() {
    let pool = "wans: { isp1: { pool: [{ addresses: 203.0.113.128-203.0.113.191 }] } }\n";
    let profile = with("wans: [isp1]\n", pool).replace("/29", "/24").replace("vrid: 18", "mac: own");
    let told = announced(&profile, 1000);
    let first = told[0].0;
    for last in 128..192 {
        let ip = Ipv4Addr::new(203, 0, 113, last);
        let when: Vec<u64> = told.iter().filter(|(_, _, its)| *its == ip).map(|(ms, ..)| *ms).collect();
        assert!(matches!(when[..], [at] if at <= first + 2), "{ip}: {when:?}, the first at {first}");
    }
}

#[test]
fn who_takes_over_calls_at_once_and_again_on_every_port_and_the_addresses_of_a_pool_follow_in_turn() {
    let pool = "wans: { isp1: { pool: [{ addresses: 203.0.113.128-203.0.113.191 }] } }\n";
    let told = announced(&with("wans: [isp1]\n", pool).replace("/29", "/24"), 45_000);
    let of = |link: &str, ip: Ipv4Addr| -> Vec<u64> {
        told.iter().filter(|(_, on, its)| on == link && *its == ip).map(|(ms, ..)| *ms).collect()
    };
    let (inside, outside) = (of("lan", GATEWAY), of("isp1", Ipv4Addr::new(203, 0, 113, 2)));
    assert_eq!(inside, outside, "on every port in the same turn");
    let first = inside[0];
    assert_eq!(first, told[0].0, "before everything else");
    for after in [100, 500, 2_000, 5_000] {
        assert!(
            inside.iter().any(|ms| (0..=2).contains(&(ms - first).abs_diff(after))),
            "{after} ms: {inside:?}"
        );
    }
    let pool: Vec<u64> = (128..192).flat_map(|d| of("isp1", Ipv4Addr::new(203, 0, 113, d))).collect();
    assert!(pool.len() >= 64 && pool.is_sorted() && pool[0] < first + 2_500, "{pool:?}");
    let most =
        (0..45).map(|s| pool.iter().filter(|ms| (s * 1_000..s * 1_000 + 1_000).contains(*ms)).count()).max();
    assert!(most <= Some(2), "{most:?} of them in a second");
}
