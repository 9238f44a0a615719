//! ARP through the whole router (RFC 826, RFC 1122 2.3.2, RFC 5227), and packets whose next hop is not known yet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::wire::arp::{Arp, Op};

const ASKER: Mac = Mac([2, 0, 0, 3, 10, 10]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 1, 0]);
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 77);

fn arp(op: Op, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Arp {
    Arp { op, sender_mac: sender.0, sender_ip: sender.1, target_mac: target.0, target_ip: target.1 }
}

/// The ARP messages of what was sent on a link.
fn heard(out: &[(String, Vec<u8>)], link: &str) -> Vec<(Arp, Mac)> {
    let on = out.iter().filter(|(l, frame)| l == link && frame[12..14] == [8, 6]);
    on.map(|(_, f)| (Arp::parse(&f[14..]).unwrap(), Mac(f[..6].try_into().unwrap()))).collect()
}

/// What `neighbors` says of an address.
fn neighbor(site: &mut Site, ip: Ipv4Addr) -> Option<(String, String)> {
    let rows = site.ask(Request::Neighbors).unwrap();
    let row = rows.as_array().unwrap().iter().find(|r| r["address"] == ip.to_string())?.clone();
    Some((row["mac"].as_str().unwrap_or("-").into(), row["state"].as_str().unwrap().into()))
}

#[test]
fn rfc826_1_a_request_for_the_router_is_answered_to_the_asker() {
    each_shape(|mut site| {
        let ask = arp(Op::Request, (ASKER, H1), (Mac::ZERO, LAN));
        let out = site.send_raw("lan", &ask.frame(ASKER, Mac::BROADCAST));
        assert_eq!(heard(&out, "lan"), [(arp(Op::Reply, (ROUTER, LAN), (ASKER, H1)), ASKER)]);
        // the asker is known by that
        assert_eq!(neighbor(&mut site, H1), Some((ASKER.to_string(), "reachable".into())));
        // an address of another port is not answered here
        let ask = arp(Op::Request, (ASKER, H1), (Mac::ZERO, P1));
        assert_eq!(site.send_raw("lan", &ask.frame(ASKER, Mac::BROADCAST)), []);
        site.finish(&["drop_arp_not_for_us"]).unwrap();
    });
}

#[test]
fn rfc826_2_talk_among_others_changes_only_who_is_known() {
    let mut site = site(2);
    let other = Mac([2, 0, 0, 9, 9, 9]);
    let overheard = arp(Op::Request, (other, H2), (Mac::ZERO, NOBODY)).frame(other, Mac::BROADCAST);
    site.send_raw("lan", &overheard);
    assert_eq!(neighbor(&mut site, H2), None);
    meet(&mut site);
    assert!(neighbor(&mut site, H2).is_some());
    site.send_raw("lan", &overheard);
    assert_eq!(neighbor(&mut site, H2), Some((other.to_string(), "reachable".into())));
    assert_eq!(site.events("neighbor").last().unwrap()["state"], "moved");
    let (_, back) = site.pass("lan", &Packet::ping(H2, LAN, 1, 1)).unwrap();
    assert_eq!(back.eth.dst, other, "the workers know as well");
    site.finish(&["drop_arp_not_for_us"]).unwrap();
}

#[test]
fn rfc826_3_wrong_types_lengths_and_senders_end() {
    let mut site = site(2);
    let good = arp(Op::Request, (ASKER, H1), (Mac::ZERO, LAN)).frame(ASKER, Mac::BROADCAST);
    for at in 14..21 {
        let mut bad = good;
        bad[at] ^= 0x10;
        assert_eq!(site.send_raw("lan", &bad), []);
    }
    for length in 14..42 {
        assert_eq!(site.send_raw("lan", &good[..length]), []);
    }
    // sender: not on the link, or not one station; frame to another group
    for ask in [
        arp(Op::Request, (ASKER, E1), (Mac::ZERO, LAN)),
        arp(Op::Request, (Mac::BROADCAST, H1), (Mac::ZERO, LAN)),
        arp(Op::Request, (Mac::ZERO, H1), (Mac::ZERO, LAN)),
    ] {
        assert_eq!(site.send_raw("lan", &ask.frame(ASKER, Mac::BROADCAST)), []);
    }
    let multicast = arp(Op::Request, (ASKER, H1), (Mac::ZERO, LAN)).frame(ASKER, Mac([1, 0, 0x5e, 0, 0, 1]));
    assert_eq!(site.send_raw("lan", &multicast), []);
    assert_eq!(site.moved("drop_arp_malformed"), 7 + 28 + 3 + 1);
    assert_eq!(neighbor(&mut site, H1), None);
    site.finish(&["drop_arp_malformed"]).unwrap();
}

#[test]
fn rfc5227_1_a_probe_is_answered_and_a_conflict_is_counted_and_told_once() {
    let mut site = site(2);
    let probe = arp(Op::Request, (ASKER, Ipv4Addr::UNSPECIFIED), (Mac::ZERO, LAN));
    let out = site.send_raw("lan", &probe.frame(ASKER, Mac::BROADCAST));
    assert_eq!(heard(&out, "lan").len(), 1);
    for (link, ip) in [("lan", LAN), ("isp1", P1)] {
        for _ in 0..5 {
            let claim = arp(Op::Request, (ASKER, ip), (Mac::ZERO, ip));
            assert_eq!(site.send_raw(link, &claim.frame(ASKER, Mac::BROADCAST)), []);
        }
    }
    assert_eq!(site.moved("arp_conflicts"), 10);
    let told: Vec<_> = site.events("neighbor").iter().map(|e| e["address"].clone()).collect();
    assert_eq!(told, [LAN.to_string(), P1.to_string()]);
    assert_eq!(site.events("neighbor")[0]["mac"], ASKER.to_string());
    site.finish(&["arp_conflicts"]).unwrap();
}

#[test]
fn rfc1122_arp_1_one_request_a_second_and_rfc1812_4_3_3_1b_then_host_unreachable() {
    let mut site = site(2);
    meet(&mut site);
    let mut out = Vec::new();
    for n in 0..4000u64 {
        let to = Packet::icmp(H1, NOBODY, 8, 0, 1, n as u16, b"");
        site.put_raw("lan", &site.frame_of("lan", &to));
        site.run_ms(1);
        out.extend(site.take_all());
    }
    let asked: Vec<_> = heard(&out, "lan").into_iter().filter(|(a, _)| a.target_ip == NOBODY).collect();
    // at 0, 1, 2 s; given up at 3 s; asked for again with the next packet
    assert!((4..=5).contains(&asked.len()), "{}", asked.len());
    assert!(asked.iter().all(|(a, to)| *to == Mac::BROADCAST && a.sender_ip == LAN));
    let errors: Vec<_> =
        out.iter().filter_map(|(_, f)| Seen::read(f)).filter(|s| s.icmp().unwrap().is_error()).collect();
    assert_eq!(errors.len(), 8, "what was still held is told");
    for (n, seen) in errors.iter().enumerate() {
        assert_eq!((error(seen), seen.ip.src, seen.ip.dst), (Some((3, 1, 0)), LAN, H1));
        let (quoted, data) = seen.quoted().unwrap();
        assert_eq!((quoted.src, quoted.dst), (H1, NOBODY));
        // 1122-arp-2: the newest were kept
        assert!(u16::from_be_bytes([data[6], data[7]]) > 2990, "{n}");
    }
    site.finish(&["drop_neighbor_hold", "drop_neighbor_unresolved", "icmp_errors_sent"]).unwrap();
}

#[test]
fn rfc1122_arp_2_the_newest_packets_are_kept_and_sent_in_order_when_the_neighbour_answers() {
    let mut site = site(2);
    let newcomer = Ipv4Addr::new(192, 168, 10, 50);
    for n in 0..20 {
        site.send("lan", &Packet::icmp(H1, newcomer, 8, 0, 1, n, b"data"));
    }
    assert_eq!(site.counters().iter().find(|(n, _)| *n == "held").unwrap().1, 8);
    site.add_host("lan", newcomer);
    site.run_ms(1200);
    let sent: Vec<u16> = taken(&mut site).iter().map(|(_, s)| s.icmp().unwrap().seq).collect();
    assert_eq!(sent, (12..20).collect::<Vec<_>>());
    assert_eq!(site.moved("drop_neighbor_hold"), 12);
    site.finish(&["drop_neighbor_hold"]).unwrap();
}

#[test]
fn rfc1122_arp_3_a_stale_neighbour_serves_on_while_it_is_confirmed_and_a_dead_one_goes() {
    let mut site = site(2);
    meet(&mut site);
    site.run_coarse(31, 250);
    assert_eq!(neighbor(&mut site, H1).unwrap().1, "stale");
    site.take_all();
    let out = site.send("lan", &Packet::ping(H1, LAN, 1, 1));
    assert_eq!(out.len(), 1, "answered at once");
    site.run_ms(1);
    assert_eq!(neighbor(&mut site, H1).unwrap().1, "reachable");
    site.remove_host("lan", H1);
    site.run_coarse(31, 250);
    assert_eq!(site.send("lan", &Packet::ping(H1, LAN, 1, 1)).len(), 1);
    site.run_coarse(4, 250);
    assert_eq!(neighbor(&mut site, H1), None);
    site.finish(&[]).unwrap();
}

#[test]
fn a_translated_packet_that_its_next_hop_keeps_waiting_is_told_about_as_it_was_sent() {
    let mut site = site(2);
    meet(&mut site);
    // on the link of isp1, where nobody has this address
    let absent = Ipv4Addr::new(203, 0, 113, 5);
    assert_eq!(site.send("lan", &Packet::udp((H1, 5000), (absent, 80), b"hello")), []);
    site.run_ms(3100);
    let out = taken(&mut site);
    assert_eq!(out.len(), 1, "{out:?}");
    let (quoted, data) = out[0].1.quoted().unwrap();
    assert_eq!((error(&out[0].1), quoted.src, quoted.dst), (Some((3, 1, 0)), H1, absent));
    let original = Packet::udp((H1, 5000), (absent, 80), b"hello");
    assert_eq!(data, original.payload, "ports and checksum as they came");
    site.finish(&and(&[&OPENED, &["drop_neighbor_unresolved", "icmp_errors_sent"]])).unwrap();
}

#[test]
fn who_scans_a_network_does_not_keep_the_router_from_hearing_another_host() {
    let dmz = "  dmz: { port: \"linux:dmz0\", addresses: [172.16.0.1/16] }\n";
    let mut site = Site::new(&DUAL_WAN.replace("  isp1:", &format!("{dmz}  isp1:")), 1).unwrap();
    meet(&mut site);
    let there = Ipv4Addr::new(172, 16, 0, 5);
    site.send("lan", &Packet::udp((H1, 1), (there, 2), b"first"));
    let scan = (0..5000u16).map(|n| {
        let [a, b] = n.to_be_bytes();
        Packet::udp((H2, 1), (Ipv4Addr::new(172, 16, 1 + a, b), 2), b"?")
    });
    flood(&mut site, "lan", scan);
    // More was asked than is passed on; the answer is heard all the same.
    let mac = Mac([2, 0, 0, 3, 0, 5]);
    let router = site.view().ifaces[1].mac;
    let reply = arp(Op::Reply, (mac, there), (router, Ipv4Addr::new(172, 16, 0, 1)));
    site.send_raw("dmz", &reply.frame(mac, router));
    let (link, seen) = site.pass("lan", &Packet::udp((H1, 1), (there, 2), b"second")).unwrap();
    assert_eq!((link.as_str(), seen.eth.dst), ("dmz", mac));
    site.finish(&["drop_neighbor_hold"]).unwrap();
}
