//! What a router may and may not do with what it forwards, and what is its own (RFC 1812), besides what `admit` and `path` hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

#[test]
fn rfc1812_5_2_5_the_reserved_flag_is_passed_as_it_is() {
    each_shape(|mut site| {
        meet(&mut site);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        for (link, packet) in
            [("lan", Packet::udp((H1, 5000), (E1, 80), b"x")), ("isp1", Packet::udp((E1, 80), x, b"x"))]
        {
            // The first time by the long way, then by the established path.
            for _ in 0..3 {
                let mut frame = site.frame_of(link, &packet);
                frame[20] |= 0x80;
                mend(&mut frame);
                let out = site.send_raw(link, &frame);
                assert_eq!((out.len(), out[0].1[20] & 0x80), (1, 0x80));
            }
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc1812_5_2_3_what_is_the_routers_or_a_broadcast_stays_here_and_the_rest_goes_on() {
    each_shape(|mut site| {
        meet(&mut site);
        for own in [LAN, P1, P2] {
            assert_eq!(site.pass("lan", &Packet::ping(H1, own, 1, 1)).unwrap().1.src().0, own);
        }
        for everybody in [Ipv4Addr::BROADCAST, Ipv4Addr::new(192, 168, 10, 255)] {
            assert_eq!(site.send("lan", &Packet::udp((H1, 5), (everybody, 9), b"x")), []);
        }
        let near = Ipv4Addr::new(192, 168, 11, 255);
        assert_eq!(udp_out(&mut site, (H1, 5), (near, 9)).unwrap().0, "isp1", "nobody's broadcast here");
        site.finish(&and(&[&OPENED, &["drop_broadcast"]])).unwrap();
    });
}

#[test]
fn rfc1812_4_2_2_9b_no_ttl_goes_out_that_is_zero() {
    let mut site = site(2);
    meet(&mut site);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    for ttl in 0..=255u8 {
        for (link, packet) in [
            ("lan", Packet::udp((H1, 5000), (E1, 80), b"x")),
            ("isp1", Packet::udp((E1, 80), x, b"x")),
            ("lan", Packet::ping(H1, LAN, 1, 1)),
            ("lan", Packet::tcp((H1, 1), (E1, 80), ACK, 1, 1, b"")),
            ("lan", Packet::udp((H2, 5), x, b"x")),
        ] {
            for (_, seen) in site.send(link, &packet.ttl(ttl)) {
                assert!(seen.ip.ttl > 0, "{ttl}: {seen:?}");
            }
        }
    }
}

#[test]
fn rfc1812_4_3_3_1c_a_protocol_and_a_port_that_the_router_has_not_are_told_inside() {
    let mut site = site(1);
    meet(&mut site);
    let mut strange = Packet::udp((H1, 1), (LAN, 2), b"what is this?");
    assert_eq!(error(&site.pass("lan", &strange).unwrap().1), Some((3, 3, 0)));
    strange.ip.protocol = 99;
    assert_eq!(error(&site.pass("lan", &strange).unwrap().1), Some((3, 2, 0)));
    site.finish(&["drop_local_no_service", "drop_protocol", "icmp_errors_sent"]).unwrap();
}

#[test]
fn rfc1812_5_3_12_two_rules_keep_a_port_from_forwarding_in_and_out() {
    let text = DUAL_WAN
        .replace("  isp1:", "  admin: { port: \"linux:adm0\", addresses: [192.168.99.1/24] }\n  isp1:")
        + "firewall:\n  - { in: admin, to: self, action: accept }\n  - { in: admin, action: drop }\n  - { to: 192.168.99.0/24, action: drop }\n";
    let admin = Ipv4Addr::new(192, 168, 99, 5);
    let mut site = Site::new(&text, 2).unwrap();
    site.add_host("admin", admin);
    meet(&mut site);
    assert!(site.pass("admin", &Packet::ping(admin, Ipv4Addr::new(192, 168, 99, 1), 1, 1)).is_some());
    for (link, from, to) in [("admin", admin, E1), ("admin", admin, H1), ("lan", H1, admin)] {
        assert_eq!(site.send(link, &Packet::udp((from, 5), (to, 6), b"x")), [], "{from} to {to}");
    }
    assert!(udp_out(&mut site, (H1, 5), (E1, 6)).is_some());
    site.finish(&and(&[&OPENED, &["drop_firewall"]])).unwrap();
}

#[test]
fn rfc5382_6_addresses_in_a_tcp_payload_are_left_alone() {
    let mut site = site(1);
    let (_, x) = connect(&mut site, (H1, 5000), (E1, 21));
    let ftp = b"PORT 192,168,10,10,19,137\r\n";
    let (_, out) = site.pass("lan", &Packet::tcp((H1, 5000), (E1, 21), ACK, 1001, 9001, ftp)).unwrap();
    assert_eq!((out.src(), out.data()), (x, &ftp[..]));
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc5508_9_and_rfc5508_12_icmp_goes_out_unless_a_rule_forbids_it() {
    for (rules, goes) in [("", true), ("firewall: [{ in: lan, protocol: [icmp], action: drop }]\n", false)] {
        let mut site = Site::new(&format!("{DUAL_WAN}{rules}"), 1).unwrap();
        assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 7, 1)).is_some(), goes);
        site.finish(if goes { &OPENED } else { &["drop_firewall"] }).unwrap();
    }
}

#[test]
fn rfc7857_2a_opening_and_closing_have_times_of_their_own() {
    let idle = |site: &mut Site, s| site.run_coarse(s, 250);
    let text = format!("{DUAL_WAN}nat: {{ timeouts: {{ tcp_opening: 20s, tcp_closing: 40s }} }}\n");
    let mut site = Site::new(&text, 2).unwrap();
    meet(&mut site);
    let (link, syn) = tcp_out(&mut site, (H1, 5000), (E1, 80), SYN, 1000, 0).unwrap();
    idle(&mut site, 19);
    assert!(tcp_in(&mut site, &link, (E1, 80), syn.src(), SYN | ACK).is_some());
    let (_, late) = tcp_out(&mut site, (H1, 5001), (E1, 80), SYN, 1000, 0).unwrap();
    idle(&mut site, 20);
    assert!(tcp_in(&mut site, "isp1", (E1, 80), late.src(), SYN | ACK).is_none());
    for (wait, passes) in [(39, true), (40, false)] {
        let (_, x) = connect(&mut site, (H2, 6000 + wait as u16), (E1, 443));
        tcp_out(&mut site, (H2, 6000 + wait as u16), (E1, 443), FIN_ACK, 1001, 9001).unwrap();
        idle(&mut site, wait);
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 443), x, ACK).is_some(), passes, "{wait} s");
    }
    let dropped: Vec<&str> = ["drop_nat_filtered", "drop_nat_no_mapping"]
        .into_iter()
        .filter(|name| site.moved(name) > 0)
        .collect();
    site.finish(&and(&[&OPENED, &["sessions_expired"], &dropped])).unwrap();
}

#[test]
fn rfc7857_11_an_echos_mapping_goes_with_its_last_session() {
    let mut site = site(1);
    site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
    site.run_ms(20_000);
    site.pass("lan", &Packet::ping(H1, E2, 7, 1)).unwrap();
    site.run_ms(50_000);
    assert_eq!((site.moved("sessions_expired"), site.moved("mappings_removed")), (1, 0));
    site.run_ms(20_000);
    assert_eq!((site.moved("sessions_expired"), site.moved("mappings_removed")), (2, 1));
    site.finish(&and(&[&OPENED, &["sessions_expired"]])).unwrap();
}

#[test]
fn rfc6888_8x1_the_port_of_a_connection_that_both_have_closed_may_be_had_at_once() {
    let text = unlimited(16_384, "when_full: { tcp: refuse }, timeouts: { tcp_closing: 10s }")
        + "forwards: [{ protocol: [tcp], port: \"1024-65470\", to: \"192.168.10.11:1024\" }]\n";
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    let (_, x) = connect(&mut site, (H1, 5000), (E1, 80));
    tcp_out(&mut site, (H1, 5000), (E1, 80), FIN_ACK, 1001, 9001).unwrap();
    tcp_in(&mut site, "isp1", (E1, 80), x, FIN_ACK).unwrap();
    assert_eq!(tcp_out(&mut site, (H2, 5000), (E1, 80), SYN, 1, 0).unwrap().0, "lan", "the only port");
    site.run_coarse(20, 250);
    let (link, syn) = tcp_out(&mut site, (H2, 5000), (E1, 80), SYN, 1, 0).unwrap();
    assert_eq!((link.as_str(), syn.src()), ("isp1", x));
    // One that merely fell silent keeps its port for two minutes more.
    site.run_coarse(260, 250);
    assert_eq!(tcp_out(&mut site, (H1, 5000), (E1, 80), SYN, 1, 0).unwrap().0, "lan");
    let moved = ["drop_nat_ports_exhausted", "sessions_refused", "sessions_expired", "icmp_errors_sent"];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}

#[test]
fn rfc6864_1_the_id_of_a_packet_that_may_not_be_cut_means_nothing_and_is_kept() {
    each_shape(|mut site| {
        meet(&mut site);
        for host in [H1, H2] {
            for id in [0, 0, 7, u16::MAX] {
                let mut packet = Packet::udp((host, 5000), (E1, 80), b"x");
                (packet.ip.id, packet.ip.dont_fragment) = (id, true);
                let (link, seen) = site.pass("lan", &packet).unwrap();
                assert_eq!((link.as_str(), seen.ip.id, seen.ip.dont_fragment), ("isp1", id, true));
            }
        }
        site.finish(&OPENED).unwrap();
    });
}
