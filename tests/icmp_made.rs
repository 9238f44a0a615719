//! What the router itself says by ICMP, when, and what it never says (RFC 1812 4.3, RFC 5508 7).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/quotes.rs"]
mod quotes;
use quotes::*;

use std::net::Ipv4Addr;

use proptest::prelude::*;

const INSIDE: End = (H1, 5000);
const REMOTE: End = (E1, 80);

/// Two networks on one inside link, and a route back out of it.
const ROUTED: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24, 172.16.0.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
routes:
  - { to: 10.0.0.0/8, via: 192.168.10.11 }
wans: [isp1, isp2]
";

/// A packet with IP options, in its frame.
fn with_options(site: &Site, link: &str, packet: &Packet, options: &[u8]) -> Vec<u8> {
    let mut frame = site.frame_of(link, packet);
    frame.truncate(14);
    frame.extend(Quoting { options: options.to_vec(), ..whole() }.bytes(packet));
    frame
}

#[test]
fn rfc5508_10a2_a_ttl_that_runs_out_is_told_to_either_side() {
    for kind in KINDS {
        each_shape(|mut site| {
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            for ttl in [0, 1] {
                let (link, seen) = site.pass("lan", &flow.out(INSIDE, b"x").ttl(ttl)).unwrap();
                assert_eq!((link.as_str(), error(&seen), seen.ip.dst), ("lan", Some((11, 0, 0)), H1));
                let (link, seen) = site.pass("isp1", &flow.back(flow.outside, b"x").ttl(ttl)).unwrap();
                assert_eq!((link.as_str(), error(&seen), seen.ip.dst), ("isp1", Some((11, 0, 0)), E1));
            }
            site.finish(&and(&[&OPENED, &["drop_ttl_expired", "icmp_errors_sent"]])).unwrap();
        });
    }
}

#[test]
fn rfc5508_10a3_echoes_to_the_router_are_answered_and_those_through_it_translated() {
    each_shape(|mut site| {
        meet(&mut site);
        let data = b"sixteen bytes...";
        for (link, from, own) in OWN {
            let (by, seen) = site.pass(link, &Packet::icmp(from, own, 8, 0, 7, 3, data)).unwrap();
            let icmp = seen.icmp().unwrap();
            assert_eq!((by.as_str(), seen.ip.src, seen.ip.dst), (link, own, from));
            assert_eq!((icmp.kind, icmp.code, icmp.id, icmp.seq, seen.data()), (0, 0, 7, 3, &data[..]));
        }
        for host in [H1, H2] {
            let (by, out) = site.pass("lan", &Packet::icmp(host, E1, 8, 0, 7, 3, data)).unwrap();
            assert_eq!((by.as_str(), out.ip.src, out.ip.dst, out.data()), ("isp1", P1, E1, &data[..]));
            let reply = Packet::icmp(E1, P1, 0, 0, out.src().1, 3, data);
            let (by, back) = site.pass("isp1", &reply).unwrap();
            assert_eq!((by.as_str(), back.dst(), back.data()), ("lan", (host, 7), &data[..]));
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc5508_s7_2b_that_can_be_muted_and_is_not_by_default() {
    for (text, told) in
        [("", 1), ("icmp: { time_exceeded: true }\n", 1), ("icmp: { time_exceeded: false }\n", 0)]
    {
        let mut site = Site::new(&format!("{DUAL_WAN}{text}"), 1).unwrap();
        meet(&mut site);
        assert_eq!(site.send("lan", &Packet::udp(INSIDE, REMOTE, b"").ttl(1)).len(), told);
        let sent: &[&str] = if told == 1 { &["icmp_errors_sent"] } else { &[] };
        site.finish(&and(&[&["drop_ttl_expired"], sent])).unwrap();
    }
}

#[test]
fn rfc5508_9_what_the_router_says_towards_a_wan_can_be_forbidden_as_can_echoes_through_it() {
    let forbid = "firewall:
  - { in: lan, protocol: [icmp], action: drop }
  - { in: isp1, to: self, protocol: [icmp], action: drop }
icmp: { time_exceeded: false }
";
    for (rules, goes) in [("", true), (forbid, false)] {
        let mut site = Site::new(&format!("{DUAL_WAN}{rules}"), 1).unwrap();
        let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
        assert_eq!(site.pass("isp1", &Packet::ping(E1, P1, 1, 1)).is_some(), goes, "its answer");
        assert_eq!(site.pass("isp1", &flow.back(flow.outside, b"").ttl(1)).is_some(), goes, "its error");
        assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 7, 1)).is_some(), goes, "an echo through it");
        assert!(site.pass("isp2", &Packet::ping(E1, P2, 1, 1)).is_some(), "by the other WAN");
        // What inside says of a flow that may go goes with it (RFC 5508 REQ-5).
        let (came, _) = flow.told_outside(H1, PORT, b"x", &eight());
        assert_eq!(site.pass("lan", &came).unwrap().0, "isp1");
        let moved: &[&str] = if goes { &["icmp_errors_sent"] } else { &["drop_firewall"] };
        site.finish(&and(&[&TOLD, moved, &["drop_ttl_expired"]])).unwrap();
    }
}

#[test]
fn rfc5508_10a1_what_cannot_be_delivered_is_told_to_the_inside_host() {
    let mut site = site(2);
    meet(&mut site);
    let silent = Ipv4Addr::new(203, 0, 113, 6);
    // a next hop that does not answer
    assert_eq!(site.send("lan", &Packet::udp(INSIDE, (silent, 9), b"x")), []);
    site.run_ms(5000);
    let (_, seen) = &taken(&mut site)[0];
    assert_eq!((error(seen), seen.quoted().unwrap().0.dst), (Some((3, 1, 0)), silent));
    // too big
    let (_, seen) = site.pass("lan", &Packet::udp(INSIDE, REMOTE, &[0; 1473])).unwrap();
    assert_eq!(error(&seen), Some((3, 4, 1500)));
    // no way out
    site.set_link("isp1", false);
    site.set_link("isp2", false);
    let (_, seen) = site.pass("lan", &Packet::udp((H1, 5001), REMOTE, b"x")).unwrap();
    assert_eq!(error(&seen), Some((3, 0, 0)));
    let ends = ["drop_neighbor_unresolved", "drop_fragmentation_needed", "drop_wan_none", "icmp_errors_sent"];
    site.finish(&and(&[&OPENED, &ends])).unwrap();
}

#[test]
fn rfc1812_4_3_2_4_an_errors_source_is_an_address_of_the_port_it_leaves_by() {
    let mut site = Site::new(ROUTED, 2).unwrap();
    let (near, far) = (Ipv4Addr::new(172, 16, 0, 9), Ipv4Addr::new(10, 1, 1, 1));
    site.add_host("lan", near);
    meet(&mut site);
    site.pass("lan", &Packet::ping(near, LAN, 1, 1)).unwrap();
    for (from, own) in [(H1, LAN), (near, Ipv4Addr::new(172, 16, 0, 1)), (far, LAN)] {
        let (_, seen) = site.pass("lan", &Packet::udp((from, 1), REMOTE, b"").ttl(1)).unwrap();
        assert_eq!((error(&seen), seen.ip.src, seen.ip.dst), (Some((11, 0, 0)), own, from));
    }
    let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
    let (_, seen) = site.pass("isp1", &flow.back(flow.outside, b"").ttl(1)).unwrap();
    assert_eq!(seen.ip.src, P1);
    site.finish(&and(&[&OPENED, &["drop_ttl_expired", "icmp_errors_sent"]])).unwrap();
}

/// Type and counter of ICMP messages that are not supported.
const OTHERS: [(u8, &str); 14] = [
    (4, "drop_icmp_source_quench"),
    (5, "drop_icmp_redirect"),
    (9, "drop_icmp_router_discovery"),
    (10, "drop_icmp_router_discovery"),
    (13, "drop_icmp_timestamp"),
    (14, "drop_icmp_timestamp"),
    (17, "drop_icmp_address_mask"),
    (18, "drop_icmp_address_mask"),
    (1, "drop_icmp_unhandled"),
    (6, "drop_icmp_unhandled"),
    (15, "drop_icmp_unhandled"),
    (30, "drop_icmp_unhandled"),
    (40, "drop_icmp_unhandled"),
    (255, "drop_icmp_unhandled"),
];

#[test]
fn rfc5508_10b_and_rfc5508_11_and_rfc1812_4_3_2_1_other_icmp_is_dropped_silently_each_kind_counted() {
    each_shape(|mut site| {
        let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
        let before = digest(&mut site);
        for (kind, counter) in OTHERS {
            let known = site.moved(counter);
            for (link, from, to) in [("isp1", E1, P1), ("isp1", G1, P1), ("lan", H1, LAN), ("lan", H1, E1)] {
                let quote = whole().bytes(&flow.out(flow.outside, b""));
                assert_eq!(site.send(link, &Packet::icmp(from, to, kind, 0, 1, 1, &quote)), [], "{kind}");
            }
            assert_eq!(site.moved(counter) - known, 4, "type {kind}");
        }
        // An echo reply to nobody's request
        assert_eq!(site.send("lan", &Packet::icmp(H1, LAN, 0, 0, 1, 1, b"")), []);
        assert_eq!(digest(&mut site), before);
        assert!(flow.works(&mut site));
        let counters: Vec<&str> = OTHERS.iter().map(|(_, counter)| *counter).collect();
        site.finish(&and(&[&OPENED, &counters])).unwrap();
    });
}

#[test]
fn rfc5508_10c_and_rfc1812_4_3_3_3_congestion_makes_no_source_quench() {
    let mut site = site(1);
    let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
    site.set_room("isp1", Some(0));
    let out = flood(&mut site, "lan", (0..50).map(|_| flow.out(INSIDE, b"too much")));
    assert_eq!(out.len(), 0);
    site.set_room("isp1", None);
    // one that comes is for nobody
    let (came, _) = flow.told_inside(G1, Says(4, 0, 0), b"", &whole());
    assert_eq!(site.send("isp1", &came), []);
    site.finish(&and(&[&OPENED, &["drop_tx_full", "drop_icmp_source_quench"]])).unwrap();
}

#[test]
fn rfc1812_5_2_7_2a_a_packet_that_leaves_where_it_came_makes_no_redirect() {
    let mut site = Site::new(ROUTED, 2).unwrap();
    meet(&mut site);
    let (link, seen) =
        site.pass("lan", &Packet::udp(INSIDE, (Ipv4Addr::new(10, 1, 1, 1), 80), b"x")).unwrap();
    assert_eq!((link.as_str(), seen.src(), seen.eth.dst.0), ("lan", INSIDE, [2, 0, 0, 3, 10, 11]));
    site.finish(&[]).unwrap();
}

#[test]
fn rfc1812_5_2_7_2b_a_redirect_changes_no_way() {
    each_shape(|mut site| {
        let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
        let other = Ipv4Addr::new(203, 0, 113, 5);
        site.add_host("isp1", other);
        let hop = |site: &mut Site| site.pass("lan", &flow.out(INSIDE, b"x")).unwrap().1.eth.dst;
        let before = hop(&mut site);
        for code in 0..4 {
            let says = Says(5, code, other.to_bits());
            assert_eq!(site.send("isp1", &flow.told_inside(G1, says, b"", &whole()).0), []);
            assert_eq!(
                site.send("lan", &flow.told_outside(H2, Says(5, code, H1.to_bits()), b"", &whole()).0),
                []
            );
        }
        assert_eq!(hop(&mut site), before);
        assert!(flow.works(&mut site));
        site.finish(&and(&[&OPENED, &["drop_icmp_redirect"]])).unwrap();
    });
}

#[test]
fn rfc5508_s7_3_source_routed_icmp_does_not_leave_and_rfc1812_4_3_3_5_a_broken_option_ends_it() {
    let mut site = site(2);
    let flow = Flow::open(&mut site, Kind::Echo, (H1, 7), REMOTE);
    for route in [131, 137] {
        let options = [route, 7, 4, 203, 0, 113, 1, 0];
        for (link, packet) in [
            ("lan", flow.out(flow.inside, b"x")),
            ("lan", flow.told_outside(H1, PORT, b"", &whole()).0),
            ("isp1", flow.told_inside(Q, PORT, b"", &whole()).0),
        ] {
            let frame = with_options(&site, link, &packet, &options);
            assert_eq!(site.send_raw(link, &frame), []);
        }
    }
    for length in [0, 1, 9, 255] {
        let frame = with_options(&site, "lan", &flow.out(flow.inside, b"x"), &[68, length, 5, 0, 0, 0, 0, 0]);
        assert_eq!(site.send_raw("lan", &frame), [], "length {length}");
    }
    // a sound option goes along
    let frame = with_options(&site, "lan", &flow.out(flow.inside, b"x"), &[148, 4, 0, 0]);
    assert_eq!(site.send_raw("lan", &frame).len(), 1);
    site.finish(&and(&[&OPENED, &["drop_ipv4_source_route", "drop_ipv4_option_malformed"]])).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Expired, too big or undeliverable, from inside or from outside: the quote is what its sender sent, but for the TTL.
    #[test]
    fn rfc1812_4_3_2_3b_a_quote_is_what_was_received_and_never_the_translated_form_and_rfc5508_10d1_with_its_dscp(
        shape in 0..SHAPES.len(), kind in prop::sample::select(KINDS.to_vec()), data in prop::collection::vec(any::<u8>(), 0..600),
        tos: u8, options in 0usize..4, inward: bool, why in 0..3usize,
    ) {
        let (workers, queue) = SHAPES[shape];
        let mut site = site(workers);
        site.use_queue(queue);
        meet(&mut site);
        // Nobody answers there. Outside is not told of an inside host that does not.
        let absent = Flow { kind, inside: INSIDE, outside: INSIDE, remote: (Ipv4Addr::new(203, 0, 113, 6), 80), link: "isp1" };
        let (flow, inward) = match why {
            2 => (absent, false),
            _ => (Flow::open(&mut site, kind, INSIDE, REMOTE), inward),
        };
        let data = if why == 1 { [data, vec![7; 1500]].concat() } else { data };
        let data = &data[..data.len().min(1600)];
        let (link, mut packet) = match inward {
            true => ("isp1", flow.back(flow.outside, data)),
            false if why == 2 && kind == Kind::Tcp => ("lan", Packet::tcp(INSIDE, flow.remote, SYN, 1, 0, data)),
            false => ("lan", flow.out(flow.inside, data)),
        };
        packet.ip.tos = tos;
        packet.ip.ttl = if why == 0 { 1 } else { 64 };
        let options = vec![1u8; options * 4];
        let bytes = Quoting { options: options.clone(), ..whole() }.bytes(&packet);
        let frame = with_options(&site, link, &packet, &options);
        site.put_raw(link, &frame);
        site.run_ms(5000);
        let errors: Vec<Seen> = taken(&mut site).into_iter().map(|(_, seen)| seen).filter(|s| error(s).is_some()).collect();
        prop_assert_eq!(errors.len(), 1);
        let expected = [(11, 0, 0), (3, 4, 1500), (3, 1, 0)][why];
        prop_assert_eq!(error(&errors[0]), Some(expected));
        prop_assert_eq!(errors[0].ip.tos, tos & !3);
        prop_assert_eq!(errors[0].ip.dst, packet.ip.src);
        let mut quote = errors[0].data().to_vec();
        prop_assert_eq!(quote.len(), bytes.len().min(576 - 28));
        if why != 0 {
            prop_assert_eq!(quote[8], packet.ip.ttl - 1);
            quote[8] += 1;
            put16(&mut quote, 10, 0);
            let length = usize::from(quote[0] & 15) * 4;
            let sum = checksum::internet(&quote[..length]);
            put16(&mut quote, 10, sum);
        }
        prop_assert_eq!(&quote[..], &bytes[..quote.len()]);
        let end = ["drop_ttl_expired", "drop_fragmentation_needed", "drop_neighbor_unresolved"][why];
        site.finish(&and(&[&OPENED, &[end, "icmp_errors_sent"]])).map_err(TestCaseError::fail)?;
    }
}
