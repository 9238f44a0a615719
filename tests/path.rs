//! The way of a packet after admission: TTL, routes, what is for the router itself, and the errors it sends (RFC 1812).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

/// Two inside networks, and one behind a router on the first.
const ROUTED: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  dmz:  { port: \"linux:dmz0\", addresses: [172.16.0.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
routes:
  - { to: 10.0.0.0/8, via: 192.168.10.11 }
  - { to: 10.1.0.0/16, via: 172.16.0.9 }
wans: [isp1, isp2]
";
const DMZ: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 2, 3, 4);

fn routed(workers: usize) -> Site {
    let mut site = Site::new(ROUTED, workers).unwrap();
    site.add_host("dmz", DMZ);
    meet(&mut site);
    site
}

#[test]
fn rfc1812_5_3_1a_and_rfc1812_5_3_1b_and_rfc1812_5_3_1c_and_rfc1812_5_3_1d_and_rfc5508_10a2_and_rfc1812_4_3_2_3b_and_rfc1812_4_3_2_4_the_last_ttl_is_told()
 {
    each_shape(|mut site| {
        meet(&mut site);
        let (_, out) = site.pass("lan", &Packet::udp((H1, 5000), (E1, 80), b"x").ttl(2)).unwrap();
        assert_eq!(out.ip.ttl, 1, "rfc1812_5_3_1d: forwarded though it cannot get far");
        let x = out.src();
        for ttl in [1, 0] {
            let packet = Packet::udp((H1, 5000), (E1, 80), b"x").ttl(ttl);
            let (link, seen) = site.pass("lan", &packet).unwrap();
            assert_eq!((link.as_str(), error(&seen)), ("lan", Some((11, 0, 0))));
            // 4.3.2.4: its source is the address of the port it leaves by
            assert_eq!((seen.ip.src, seen.ip.dst), (LAN, H1));
            let (quoted, data) = seen.quoted().unwrap();
            assert_eq!((quoted, data), (packet.ip, packet.payload));
        }
        // from outside, where the packet was addressed to the router's address there
        let packet = Packet::udp((E1, 80), x, b"x").ttl(1);
        let (link, seen) = site.pass("isp1", &packet).unwrap();
        assert_eq!(
            (link.as_str(), seen.ip.src, seen.ip.dst, error(&seen)),
            ("isp1", P1, E1, Some((11, 0, 0)))
        );
        assert_eq!(seen.quoted().unwrap().0, packet.ip);
        site.finish(&and(&[&OPENED, &["drop_ttl_expired", "icmp_errors_sent"]])).unwrap();
    });
}

#[test]
fn rfc1812_4_2_2_9a_what_is_for_the_router_is_taken_at_any_ttl_and_rfc1812_4_3_3_6a_and_rfc1812_4_3_3_6b_echoes_are_answered()
 {
    each_shape(|mut site| {
        meet(&mut site);
        for (link, from, to) in OWN {
            for ttl in [0, 1, 64] {
                let ping = Packet::icmp(from, to, 8, 0, 77, 5, b"odd length data").ttl(ttl);
                let (back, seen) = site.pass(link, &ping).unwrap();
                assert_eq!((back.as_str(), seen.ip.src, seen.ip.dst, seen.ip.ttl), (link, to, from, 64));
                let icmp = seen.icmp().unwrap();
                assert_eq!((icmp.kind, icmp.code, icmp.id, icmp.seq), (0, 0, 77, 5));
                assert_eq!(seen.data(), b"odd length data");
            }
        }
        // 4.3.3.6b
        let mut broadcast = Packet::ping(H1, Ipv4Addr::new(192, 168, 10, 255), 1, 1);
        assert_eq!(site.send("lan", &broadcast), []);
        // a wrong checksum is not made a right one
        broadcast = Packet::ping(H1, LAN, 1, 1);
        broadcast.payload[10] ^= 1;
        assert_eq!(site.send("lan", &broadcast), []);
        assert_eq!(live(&mut site), 0);
        site.finish(&["drop_broadcast", "drop_icmp_checksum"]).unwrap();
    });
}

#[test]
fn a_closed_port_of_the_router_is_told_inside_and_silent_outside() {
    let mut site = site(2);
    meet(&mut site);
    let (_, seen) = site.pass("lan", &Packet::udp((H1, 5000), (LAN, 53), b"query")).unwrap();
    assert_eq!((error(&seen), seen.ip.src), (Some((3, 3, 0)), LAN));
    let (_, reset) = site.pass("lan", &Packet::tcp((H1, 5000), (LAN, 22), SYN, 41, 0, b"")).unwrap();
    let tcp = reset.tcp().unwrap();
    assert_eq!((tcp.flags, tcp.ack, reset.src(), reset.dst()), (Flags(RST | ACK), 42, (LAN, 22), (H1, 5000)));
    assert_eq!(site.send("lan", &Packet::tcp((H1, 5000), (LAN, 22), RST, 41, 0, b"")), []);
    assert_eq!(site.send("isp1", &Packet::udp((E1, 5000), (P1, 53), b"query")), []);
    site.finish(&["drop_local_no_service", "tcp_resets_sent", "icmp_errors_sent", "drop_nat_no_mapping"])
        .unwrap();
}

#[test]
fn rfc1812_4_3_2_3a_a_long_packet_is_quoted_up_to_576_bytes_and_rfc5508_10d1_with_its_dscp() {
    let mut site = site(1);
    meet(&mut site);
    for length in [0usize, 1, 500, 520, 521, 1000, 1472] {
        let mut packet = Packet::udp((H1, 5000), (E1, 80), &vec![7; length]).ttl(1);
        packet.ip.tos = 46 << 2 | 1;
        let (_, seen) = site.pass("lan", &packet).unwrap();
        assert_eq!(usize::from(seen.ip.total_len), (28 + 28 + length).min(576));
        assert_eq!(seen.ip.tos, 46 << 2);
        let (_, data) = seen.quoted().unwrap();
        assert_eq!(data, packet.payload[..data.len()]);
    }
    site.finish(&["drop_ttl_expired", "icmp_errors_sent"]).unwrap();
}

#[test]
fn rfc1812_4_3_2_7a_and_rfc1812_4_3_2_7b_and_rfc1812_4_3_2_7c_and_rfc1812_4_3_2_7d_and_rfc1812_4_3_2_7e_and_rfc1812_4_3_2_7f_and_rfc5508_10d2_no_error()
 {
    let mut site = routed(2);
    let mut silent = |link: &str, packet: &Packet, mac: Option<[u8; 6]>| {
        let mut frame = site.frame_of(link, packet);
        if let Some(mac) = mac {
            frame[..6].copy_from_slice(&mac);
        }
        assert_eq!(site.send_raw(link, &frame), [], "{packet:?}");
    };
    let dead = |packet: Packet| packet.ttl(1);
    // a: about an ICMP error (inside to inside, or they end earlier)
    for kind in [3, 4, 5, 11, 12] {
        silent("lan", &dead(Packet::icmp(H1, DMZ, kind, 0, 0, 0, &[0x45; 28])), None);
    }
    // f: about a fragment that is not the first
    let mut fragment = dead(Packet::udp((H1, 1), (DMZ, 1), b"data"));
    (fragment.ip.dont_fragment, fragment.ip.fragment_offset) = (false, 1480);
    silent("lan", &fragment, None);
    // c: to a broadcast or multicast address; d: in a link broadcast; e: from an address that is nobody's
    silent("lan", &dead(Packet::udp((H1, 1), (Ipv4Addr::new(192, 168, 10, 255), 1), b"")), None);
    silent("lan", &dead(Packet::udp((H1, 1), (Ipv4Addr::new(224, 0, 0, 5), 1), b"")), None);
    silent("lan", &dead(Packet::udp((H1, 1), (E1, 1), b"")), Some([0xff; 6]));
    for src in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
        silent("lan", &dead(Packet::udp((src.into(), 1), (E1, 1), b"")), None);
    }
    assert_eq!(site.moved("icmp_errors_forbidden"), 6);
    // b: about a broken header: checksum, version, length of the header and of the packet
    type Spoil = fn(&mut [u8]);
    let spoil: [(&str, Spoil); 4] = [
        ("drop_ipv4_checksum", |frame| frame[24] ^= 1),
        ("drop_ipv4_version", |frame| frame[14] = 0x65),
        ("drop_ipv4_header_length", |frame| frame[14] = 0x44),
        ("drop_ipv4_total_length", |frame| put16(frame, 16, 1400)),
    ];
    for (reason, spoil) in spoil {
        let mut frame = site.frame_of("lan", &dead(Packet::udp((H1, 1), (E1, 1), b"data")));
        spoil(&mut frame);
        if reason != "drop_ipv4_checksum" {
            mend(&mut frame);
        }
        assert_eq!(site.send_raw("lan", &frame), [], "{reason}");
        assert_eq!(site.moved(reason), 1, "{reason}");
    }
    site.finish(&[
        "icmp_errors_forbidden",
        "drop_ttl_expired",
        "drop_broadcast",
        "drop_multicast",
        "drop_link_broadcast",
        "drop_martian_source",
        "drop_ipv4_checksum",
        "drop_ipv4_version",
        "drop_ipv4_header_length",
        "drop_ipv4_total_length",
    ])
    .unwrap();
}

#[test]
fn rfc1812_4_3_2_8_a_storm_of_errors_is_held_to_the_rate_and_rfc5508_10d3() {
    let mut site = Site::new(&format!("{DUAL_WAN}icmp: {{ errors_per_second: 100 }}\n"), 1).unwrap();
    meet(&mut site);
    let mut errors = 0;
    for _ in 0..1000 {
        let out = flood(&mut site, "lan", (0..10).map(|n| Packet::udp((H1, n), (E1, 80), b"").ttl(1)));
        errors += out.len();
    }
    assert!((100..=111).contains(&errors), "{errors}");
    assert_eq!(site.moved("icmp_errors_limited") as usize, 10_000 - errors);
    site.finish(&["drop_ttl_expired", "icmp_errors_sent", "icmp_errors_limited"]).unwrap();
}

#[test]
fn rfc1812_5_2_4_3a_inside_goes_inside_untranslated_by_the_longest_match() {
    for workers in [1, 2] {
        let mut site = routed(workers);
        for (from, link, to, out_by, hop) in [
            (H1, "lan", DMZ, "dmz", [2, 0, 0, 3, 0, 9]),
            (H1, "lan", Ipv4Addr::new(10, 1, 2, 3), "dmz", [2, 0, 0, 3, 0, 9]),
            (DMZ, "dmz", FAR, "lan", [2, 0, 0, 3, 10, 11]),
            (DMZ, "dmz", H1, "lan", [2, 0, 0, 3, 10, 10]),
        ] {
            let packet = Packet::udp((from, 5000), (to, 80), b"inside");
            let (by, seen) = site.pass(link, &packet).unwrap();
            assert_eq!((by.as_str(), seen.src(), seen.dst()), (out_by, (from, 5000), (to, 80)));
            assert_eq!((seen.eth.dst.0, seen.ip.ttl), (hop, 63));
        }
        // What has no ports goes as well, fragments too (1812-5.2.6: as they come)
        let mut gre = Packet::udp((H1, 1), (DMZ, 1), b"a tunnel");
        gre.ip.protocol = 47;
        assert!(site.pass("lan", &gre).is_some());
        (gre.ip.dont_fragment, gre.ip.fragment_offset, gre.ip.more_fragments) = (false, 800, true);
        assert!(site.pass("lan", &gre).is_some());
        // A host behind the inside router is translated like any other, and its answers go by that router.
        let frame = Packet::udp((FAR, 5000), (E1, 80), b"x")
            .frame(turnout::base::Mac([2, 0, 0, 3, 10, 11]), site.view().ifaces[0].mac);
        let out = site.send_raw("lan", &frame);
        let x = Seen::read(&out[0].1).unwrap().src();
        let (by, back) = site.pass("isp1", &Packet::udp((E1, 80), x, b"y")).unwrap();
        assert_eq!((by.as_str(), back.ip.dst, back.eth.dst.0), ("lan", FAR, [2, 0, 0, 3, 10, 11]));
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn rfc1812_4_3_3_1b_an_inside_host_that_does_not_answer_is_told_inside() {
    for workers in [1, 2] {
        let mut site = routed(workers);
        let absent = Ipv4Addr::new(172, 16, 0, 200);
        let packet = Packet::udp((H1, 5000), (absent, 80), b"anybody there?");
        assert_eq!(site.send("lan", &packet), []);
        site.run_ms(3200);
        let out = taken(&mut site);
        assert_eq!(out.len(), 1);
        let (link, seen) = &out[0];
        assert_eq!((link.as_str(), error(seen), seen.ip.src, seen.ip.dst), ("lan", Some((3, 1, 0)), LAN, H1));
        let (quoted, data) = seen.quoted().unwrap();
        assert_eq!((quoted.src, quoted.dst, data), (H1, absent, packet.payload));
        site.finish(&["drop_neighbor_unresolved", "icmp_errors_sent"]).unwrap();
    }
}

#[test]
fn rfc1812_4_3_3_1a_and_rfc5508_10a1_without_a_wan_that_works_the_net_is_unreachable() {
    let mut site = site(2);
    meet(&mut site);
    site.set_link("isp1", false);
    site.set_link("isp2", false);
    let (link, seen) = site.pass("lan", &Packet::udp((H1, 5000), (E1, 80), b"x")).unwrap();
    assert_eq!((link.as_str(), error(&seen), seen.ip.src), ("lan", Some((3, 0, 0)), LAN));
    // 5508-10a1 holds for connections as well: no reset, the host may try again
    let (_, seen) = site.pass("lan", &Packet::tcp((H1, 5000), (E1, 80), SYN, 1, 0, b"")).unwrap();
    assert_eq!(error(&seen), Some((3, 0, 0)));
    assert_eq!(live(&mut site), 0);
    site.finish(&["drop_wan_none", "icmp_errors_sent"]).unwrap();
}

#[test]
fn a_full_transmit_queue_costs_the_packets_that_do_not_fit_and_counts_them() {
    let mut site = site(1);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    site.set_room("isp1", Some(3));
    for n in 0..11u8 {
        let frame = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), &[n]));
        site.put_raw("lan", &frame);
    }
    site.run_ms(1);
    let out = taken(&mut site);
    assert_eq!(out.iter().map(|(_, s)| s.data()[0]).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(site.moved("drop_tx_full"), 8);
    site.set_room("isp1", None);
    assert!(udp_out(&mut site, (H1, 5000), (E1, 80)).is_some());
    site.finish(&and(&[&OPENED, &["drop_tx_full"]])).unwrap();
}

#[test]
fn rfc1812_5_2_7_1d_and_rfc4787_13_and_rfc5508_s7_1_1a_and_rfc5508_s7_1_1b_what_is_too_big_and_may_not_be_cut_is_told()
 {
    let mut site = site(2);
    meet(&mut site);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let packet = Packet::udp((H1, 5000), (E1, 80), &[7; 1473]);
    let (link, seen) = site.pass("lan", &packet).unwrap();
    assert_eq!((link.as_str(), error(&seen)), ("lan", Some((3, 4, 1500))));
    assert_eq!(seen.quoted().unwrap().0.dst, E1);
    // from outside: told outside, about the outside address
    let (link, seen) = site.pass("isp1", &Packet::udp((E1, 80), x, &[7; 1473])).unwrap();
    assert_eq!((link.as_str(), error(&seen), seen.quoted().unwrap().0.dst), ("isp1", Some((3, 4, 1500)), P1));
    site.finish(&and(&[&OPENED, &["drop_fragmentation_needed", "icmp_errors_sent"]])).unwrap();
}
