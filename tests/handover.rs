//! A role that moves from one whole router to the other, on one virtual clock: what is on its way meanwhile is not lost, and who comes
//! beside an active member disturbs nobody.
#![allow(clippy::unwrap_used, clippy::panic)]

mod twins_rig;

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::manage::protocol::Request;
use turnout::sim::{Packet, Twins};
use turnout::wire::arp::Arp;
use twins_rig::*;

/// A pair with beats every 20 ms, whose role comes back by hand.
fn text() -> String {
    with("every: 100ms, timeout: 500ms", "every: 20ms, timeout: 100ms")
        .replace("mode: automatic, after: 5s", "mode: manual")
}

fn quick() -> Twins {
    started(&text())
}

/// The MAC of the virtual address inside.
const VIRTUAL: [u8; 6] = [0, 0, 0x5e, 0, 1, 17];

/// What a member sends on when a host sends it a packet to the virtual MAC.
fn forwards(twins: &mut Twins, by: usize) -> usize {
    let mut frame = twins.members[by].frame_of("lan", &Packet::udp((HOST, 5000), SERVER, b"datagram"));
    frame[..6].copy_from_slice(&VIRTUAL);
    let out = twins.members[by].send_raw("lan", &frame);
    out.iter().filter(|(link, frame)| link == "isp1" && frame[12..14] == [8, 0]).count()
}

#[test]
fn who_has_let_go_takes_in_what_is_still_sent_to_the_virtual_mac_for_a_second() {
    let mut twins = quick();
    twins.members[0].send("lan", &Packet::udp((HOST, 5000), SERVER, b"datagram"));
    twins.run_ms(1500);
    assert_eq!((forwards(&mut twins, 0), forwards(&mut twins, 1)), (1, 0));
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(100);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    assert_eq!((forwards(&mut twins, 0), forwards(&mut twins, 1)), (1, 1));
    // A switch that floods would have it go out twice for ever.
    twins.run_ms(1000);
    assert_eq!((forwards(&mut twins, 0), forwards(&mut twins, 1)), (0, 1));
}

#[test]
fn the_new_holder_calls_again_when_the_old_one_has_let_go() {
    let mut twins = quick();
    twins.members[0].ask(Request::Yield).unwrap();
    // The first repetition by the clock is due after 100 ms.
    twins.run_ms(80);
    assert_eq!(role(&mut twins, 1), "active");
    let calls = |(from, link, frame): &(usize, String, Vec<u8>)| {
        let arp = frame.get(14..).and_then(Arp::parse);
        let is = arp.is_some_and(|arp| (arp.sender_ip, arp.sender_mac) == (GATEWAY, Mac(VIRTUAL)));
        (*from, link.as_str(), is && frame[12..14] == [8, 6]) == (1, "lan", true)
    };
    let sent = twins.take();
    let first = sent.iter().position(calls).unwrap();
    let last = sent.iter().rposition(calls).unwrap();
    let a_sends = |(from, _, frame): &(usize, String, Vec<u8>)| *from == 0 && frame[6..12] == VIRTUAL;
    let of_a = sent.iter().rposition(a_sends).unwrap_or(0);
    assert!(first < last && of_a < last, "{first} {of_a} {last}");
    assert!(sent[first..last].iter().any(|(from, ..)| *from == 0), "called twice at once");
}

#[test]
fn who_takes_over_calls_for_its_addresses_on_every_port_at_once_and_four_times_more() {
    let mut twins = quick();
    twins.dead[0] = true;
    let (mut called, mut since) = (Vec::new(), None);
    for ms in 0..6_500u64 {
        twins.run_ms(1);
        if since.is_none() && role(&mut twins, 1) == "active" {
            since = Some(ms);
        }
        for (from, link, frame) in twins.take() {
            let arp = Arp::parse(&frame[14..]).filter(|_| from == 1 && frame[12..14] == [8, 6]);
            if let Some(arp) = arp.filter(|arp| arp.sender_ip == arp.target_ip) {
                called.push((ms - since.unwrap_or(0), link, arp.sender_ip, arp.sender_mac.0[5]));
            }
        }
    }
    for (link, ip, vrid) in [("lan", GATEWAY, 17), ("isp1", [203, 0, 113, 2].into(), 18)] {
        let its = called.iter().filter(|(_, at, of, mac)| (at.as_str(), *of, *mac) == (link, ip, vrid));
        let mut at: Vec<u64> = its.map(|(ms, ..)| ms.next_multiple_of(10)).collect();
        at.dedup();
        assert_eq!(at, [0, 100, 500, 2_000, 5_000], "{link}: {called:?}");
    }
}

#[test]
fn a_standby_knows_where_the_hosts_of_its_copies_are() {
    let mut twins = quick();
    twins.members[0].send("lan", &Packet::udp((HOST, 5000), SERVER, b"datagram"));
    twins.run_ms(1500);
    let known = twins.members[1].ask(Request::Neighbors).unwrap();
    let host = known.as_array().unwrap().iter().find(|row| row["address"] == HOST.to_string());
    assert!(host.is_some_and(|row| row["mac"].is_string()), "{known:#}");
}

#[test]
fn who_starts_beside_an_active_member_hears_it_before_it_would_take_the_role() {
    let text = text();
    // Nobody has ever seen the other one, and has given up asking where it is.
    for alone in [10_000, 10_037, 10_114, 10_171] {
        let mut twins = Twins::new(&text, 1).unwrap();
        twins.dead[1] = true;
        twins.run_ms(alone);
        twins.restart(&text, 1).unwrap();
        for _ in 0..150 {
            twins.run_ms(1);
            assert_ne!(role(&mut twins, 1), "active", "after {alone} ms");
        }
        assert_eq!(roles(&mut twins), ["active", "standby"]);
    }
}

/// The MAC of a member's own on the LAN.
fn station(twins: &mut Twins, of: usize, ip: Ipv4Addr) -> [u8; 6] {
    let asks = Arp::request(Mac([2, 0, 0, 3, 10, 10]), HOST, ip, None);
    let out = twins.members[of].send_raw("lan", &asks);
    let told = out.iter().find_map(|(_, frame)| Arp::parse(frame.get(14..)?));
    told.filter(|arp| arp.sender_ip == ip).unwrap().sender_mac.0
}

#[test]
fn while_both_are_active_what_one_hands_to_the_other_is_taken() {
    let mut twins = quick();
    let own = station(&mut twins, 0, Ipv4Addr::new(192, 168, 10, 2));
    assert_ne!(own, VIRTUAL);
    let mut frame = twins.members[0].frame_of("lan", &Packet::udp((HOST, 5000), SERVER, b"datagram"));
    let mut from_virtual = |to: [u8; 6]| {
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&VIRTUAL);
        let out = twins.members[0].send_raw("lan", &frame);
        out.iter().filter(|(link, frame)| link == "isp1" && frame[12..14] == [8, 0]).count()
    };
    from_virtual(own);
    assert_eq!(from_virtual(own), 1);
    // A frame of its own that comes round a loop is not.
    assert_eq!(from_virtual(VIRTUAL), 0);
}

#[test]
fn who_takes_over_just_after_it_has_started_goes_on_with_every_session() {
    let mut twins = quick();
    let udp = Packet::udp((HOST, 5000), SERVER, b"datagram");
    let tcp = |flags, seq| Packet::tcp((HOST, 7000), SERVER, flags, seq, 1, b"");
    twins.members[0].send("lan", &udp);
    twins.run_ms(1500);
    let leaves = |twins: &mut Twins, by: usize, packet: &Packet| {
        let out = twins.send(by, "lan", packet);
        out.iter().find(|(link, _)| link == "isp1").map(|(_, seen)| seen.src())
    };
    let talks = leaves(&mut twins, 0, &udp);
    let syn = leaves(&mut twins, 0, &tcp(2, 1));
    twins.send(0, "isp1", &Packet::tcp(SERVER, syn.unwrap(), 18, 1, 2, b""));
    assert_eq!(leaves(&mut twins, 0, &tcp(16, 2)), syn);
    twins.restart(&text(), 1).unwrap();
    // What it is told comes before its WAN is up, and less than a round of the sweep passes.
    let mut ms = 0;
    loop {
        twins.run_ms(10);
        ms += 10;
        let said = twins.members[1].ask(Request::Cluster).unwrap();
        if said["sync"]["state"] == "whole" && said["sync"]["behind"] == 0 {
            break;
        }
        assert!(ms < 5_000, "{said}");
    }
    while twins.members[1].ask(Request::Wans).unwrap()[0]["state"] != "up" {
        twins.run_ms(10);
        ms += 10;
        assert!(ms < 5_000);
    }
    twins.members[0].ask(Request::Yield).unwrap();
    twins.run_ms(300);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
    assert_eq!(leaves(&mut twins, 1, &tcp(16, 2)), syn);
    assert_eq!(leaves(&mut twins, 1, &udp), talks);
    assert_eq!(twins.members[1].moved("sessions_reset"), 0);
}
