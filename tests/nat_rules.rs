//! What the section `nat` of the profile says and does: filtering classes, shares and rates of hosts, shared ports, midstream, the MSS
//! clamp, protocols without ports.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::{BTreeMap, BTreeSet};

use turnout::wire::be16;

fn with(nat: &str, workers: usize) -> Site {
    let mut site = Site::new(&format!("{DUAL_WAN}nat: {{ {nat} }}\n"), workers).unwrap();
    meet(&mut site);
    site
}

fn each(nat: &str, test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = with(nat, workers);
        site.use_queue(queue);
        test(site);
    }
}

/// What of three probes from outside comes in: another port of whom was spoken to, another host, a new port after all expired.
fn probes(site: &mut Site, inside: End, tcp: bool) -> [bool; 2] {
    let open = |site: &mut Site| match tcp {
        true => connect(site, inside, (E1, 80)).1,
        false => udp_out(site, inside, (E1, 80)).unwrap().1,
    };
    let x = open(site);
    let mut probe = |from| match tcp {
        true => tcp_in(site, "isp1", from, x, SYN).is_some(),
        false => udp_in(site, "isp1", from, x).is_some(),
    };
    [probe((E1, 9999)), probe((E2, 80))]
}

#[test]
fn rfc4787_8a_and_rfc4787_8b_and_rfc4787_8c_and_rfc5382_3_and_rfc5382_3a_and_rfc5382_3b_each_class_lets_in_whom_it_says()
 {
    let classes = [
        ("endpoint-independent", [true, true]),
        ("address-dependent", [true, false]),
        ("address-and-port-dependent", [false, false]),
    ];
    for (udp, udp_lets) in classes {
        for (tcp, tcp_lets) in classes {
            each(&format!("filtering: {{ tcp: {tcp}, udp: {udp} }}"), |mut site| {
                assert_eq!(probes(&mut site, (H1, 5000), false), udp_lets, "udp {udp}");
                assert_eq!(probes(&mut site, (H1, 5000), true), tcp_lets, "tcp {tcp}");
                let filtered = udp_lets != [true, true] || tcp_lets != [true, true];
                let drops: &[&str] = if filtered { &["drop_nat_filtered"] } else { &[] };
                site.finish(&and(&[&OPENED, drops])).unwrap();
            });
        }
    }
}

#[test]
fn the_class_of_tcp_is_address_dependent_unless_said_otherwise() {
    let mut site = with("hairpin: true", 1);
    assert_eq!(probes(&mut site, (H1, 5000), true), [true, false]);
    site.finish(&and(&[&OPENED, &["drop_nat_filtered"]])).unwrap();
}

#[test]
fn rfc4787_11b_the_filtering_class_is_the_same_with_one_remote_and_with_hundreds() {
    for udp in ["address-dependent", "endpoint-independent"] {
        let mut site = Site::new(&unlimited(4096, &format!("filtering: {{ udp: {udp} }}")), 1).unwrap();
        meet(&mut site);
        let remote = |n: u16| std::net::Ipv4Addr::new(9, 9, (n / 200) as u8, (n % 200) as u8 + 1);
        let all = (0..1200).map(|n| Packet::udp((H1, 5000), (remote(n), 80), b""));
        let x = flood(&mut site, "lan", all)[0].1.src();
        for n in (0..1200).step_by(97) {
            assert_eq!(udp_in(&mut site, "isp1", (remote(n), 81), x), Some((H1, 5000)), "{udp}");
        }
        let other = udp_in(&mut site, "isp1", (E2, 80), x).is_some();
        assert_eq!(other, udp == "endpoint-independent");
        let drops: &[&str] = if other { &[] } else { &["drop_nat_filtered"] };
        site.finish(&and(&[&OPENED, drops])).unwrap();
    }
}

#[test]
fn x_7_a_permission_ends_with_the_session_that_gave_it_to_the_millisecond() {
    for class in ["endpoint-independent", "address-dependent"] {
        for shape in SHAPES {
            let mut site = with(&format!("timeouts: {{ udp: 2m }}, filtering: {{ udp: {class} }}"), shape.0);
            site.use_queue(shape.1);
            let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
            site.run_ms(60_000);
            // Another session of the same mapping and address gives it longer.
            udp_out(&mut site, (H1, 5000), (E1, 81)).unwrap();
            site.run_ms(119_999);
            assert_eq!(udp_in(&mut site, "isp1", (E1, 90), x), Some((H1, 5000)), "{class}");
            site.run_ms(1);
            assert_eq!(udp_in(&mut site, "isp1", (E1, 91), x), None, "{class}");
            let dropped = ["drop_nat_no_mapping", "drop_nat_filtered"].map(|name| site.moved(name));
            assert_eq!(dropped.iter().sum::<u64>(), 1);
            let drop = if dropped[0] == 1 { "drop_nat_no_mapping" } else { "drop_nat_filtered" };
            site.finish(&and(&[&OPENED, &["sessions_expired", drop]])).unwrap();
        }
    }
}

#[test]
fn rfc7857_7e_a_refusal_by_inside_lets_nobody_in() {
    let mut site = with("filtering: { tcp: endpoint-independent }", 1);
    let (_, x) = connect(&mut site, (H1, 5000), (E1, 80));
    tcp_in(&mut site, "isp1", (E2, 9), x, SYN).unwrap();
    tcp_out(&mut site, (H1, 5000), (E2, 9), RST | ACK, 0, 2).unwrap();
    let rows = site.ask(Request::Sessions(SessionFilter::default())).unwrap();
    let states: Vec<&str> = rows.as_array().unwrap().iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"transitory"), "{states:?}");
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc6888_4_and_rfc6888_4a_and_rfc6888_4b_a_host_has_its_ports_of_each_protocol_and_no_more() {
    for most in [100, 7] {
        let text = unlimited(4096, "").replace("ports_per_host: 65536", &format!("ports_per_host: {most}"));
        for (workers, queue) in SHAPES {
            let mut site = Site::new(&text, workers).unwrap();
            site.use_queue(queue);
            meet(&mut site);
            for port in 0..most {
                assert!(udp_out(&mut site, (H1, 5000 + port), (E1, 80)).is_some());
            }
            let (link, told) = site.pass("lan", &Packet::udp((H1, 4999), (E1, 80), b"")).unwrap();
            assert_eq!((link.as_str(), error(&told)), ("lan", Some((3, 13, 0))));
            // Another protocol, another host, another remote of a port it has: all well.
            assert_eq!(tcp_out(&mut site, (H1, 4999), (E1, 80), SYN, 1, 0).unwrap().0, "isp1");
            assert!(udp_out(&mut site, (H2, 4999), (E1, 80)).is_some());
            assert!(udp_out(&mut site, (H1, 5000), (E2, 80)).is_some_and(|(link, _)| link == "isp1"));
            assert_eq!(site.moved("drop_nat_host_ports"), 1);
            let moved = ["drop_nat_host_ports", "sessions_refused", "icmp_errors_sent"];
            site.finish(&and(&[&OPENED, &moved])).unwrap();
        }
    }
}

#[test]
fn rfc6888_5_and_rfc6888_5a_a_host_has_its_sessions_and_no_more() {
    let text = unlimited(4096, "").replace("sessions_per_host: 16000000", "sessions_per_host: 20");
    let mut site = Site::new(&text, 2).unwrap();
    meet(&mut site);
    for port in 0..20 {
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80 + port)).unwrap().0, "isp1");
    }
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 79)).unwrap().0, "lan");
    assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 79)).unwrap().0, "isp1");
    // What has ended counts no more.
    site.run_coarse(310, 250);
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 79)).unwrap().0, "isp1");
    let moved = ["drop_nat_host_sessions", "sessions_refused", "icmp_errors_sent", "sessions_expired"];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}

#[test]
fn when_the_table_runs_short_every_host_has_a_fair_share() {
    let mut site =
        Site::new(&unlimited(1024, "").replace("sessions_per_host: 16000000", "sessions_per_host: auto"), 1)
            .unwrap();
    meet(&mut site);
    flood(&mut site, "lan", (0..100).map(|p| Packet::udp((H2, 2000 + p), (E1, 80), b"")));
    flood(&mut site, "lan", (0..2000).map(|p| Packet::udp((H1, 2000 + p), (E1, 80), b"")));
    // Nine in ten went to whoever came; from there on the greedy one gets no more.
    assert_eq!(live(&mut site), 922);
    let got = flood(&mut site, "lan", (0..102).map(|p| Packet::udp((H2, 3000 + p), (E1, 80), b"")));
    assert_eq!(got.iter().filter(|(link, _)| link == "isp1").count(), 102);
    let moved = ["drop_nat_host_sessions", "sessions_refused", "icmp_errors_sent", "icmp_errors_limited"];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}

#[test]
fn rfc6888_4c_and_rfc6888_5b_a_host_that_asks_for_too_many_is_held_to_the_rate_and_others_are_unharmed() {
    let mut site =
        Site::new(&unlimited(70_000, "").replace("creation_rate: 10000000", "creation_rate: 1000"), 2)
            .unwrap();
    meet(&mut site);
    let (mut made, mut lost) = (0, 0);
    for ms in 0..1000u32 {
        for n in 0..10 {
            let frame = site.frame_of("lan", &Packet::udp((H1, (ms * 10 + n) as u16), (E1, 80), b""));
            site.put_raw("lan", &frame);
        }
        site.run_ms(1);
        made += taken(&mut site).iter().filter(|(link, _)| link == "isp1").count();
        if ms % 10 == 0 {
            lost += u32::from(udp_out(&mut site, (H2, ms as u16 + 1), (E1, 80)).is_none());
        }
    }
    assert!((1000..=1110).contains(&made), "{made} in a second, a tenth of it at once");
    assert_eq!(lost, 0);
    let moved = ["drop_nat_creation_rate", "sessions_refused", "icmp_errors_sent", "icmp_errors_limited"];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}

/// A site with 500 outside ports.
fn narrow(nat: &str) -> Site {
    let text = unlimited(16_384, nat)
        + "forwards: [{ protocol: [tcp, udp], port: \"1024-64971\", to: \"192.168.10.11:1024\" }]\n";
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    site
}

#[test]
fn tcp_shares_ports_among_remotes_when_nine_in_ten_are_used_and_every_flow_is_told_apart() {
    let mut site = Site::new(&unlimited(100_000, "when_full: { tcp: share }"), 1).unwrap();
    meet(&mut site);
    let flow = |n: u32| (([H1, H2][n as usize % 2], 1024 + (n / 2) as u16), (E1, 80 + (n % 5) as u16));
    let syn = |n: u32| {
        let (src, dst) = flow(n);
        Packet::tcp(src, dst, SYN, 1, 0, &n.to_be_bytes())
    };
    let mut flows = BTreeMap::new();
    for (link, seen) in flood(&mut site, "lan", (0..80_000).map(syn)) {
        let n = u32::from_be_bytes(seen.data().try_into().unwrap());
        assert_eq!((link.as_str(), seen.dst()), ("isp1", flow(n).1));
        assert_eq!(flows.insert((seen.src(), seen.dst()), n), None, "two flows with the same four ends");
    }
    assert_eq!(flows.len(), 80_000, "an address has some 64 450 ports");
    let shared = site.moved("sessions_shared");
    assert!((21_000..23_000).contains(&shared), "{shared}");
    for ((x, dst), n) in flows.iter().step_by(41) {
        assert_eq!(tcp_in(&mut site, "isp1", *dst, *x, SYN | ACK).unwrap().dst(), flow(*n).0);
    }
    // Mappings have their ports as before: a flow more on one keeps its outside endpoint.
    let x = flows.iter().find(|(_, n)| **n == 7).unwrap().0.0;
    assert_eq!(tcp_out(&mut site, flow(7).0, (E2, 1), SYN, 1, 0).unwrap().1.src(), x);
    site.finish(&and(&[&OPENED, &["sessions_shared"]])).unwrap();
}

#[test]
fn rfc5382_7_and_rfc6888_11a_and_rfc6888_11b_and_rfc6888_11c_told_to_refuse_tcp_shares_no_port() {
    let mut site = narrow("when_full: { tcp: refuse }");
    let mut ends = BTreeSet::new();
    let mut refused = 0;
    for n in 0..600u16 {
        match tcp_out(&mut site, (H1, 2000 + n), (E1, 80), SYN, 1, 0) {
            Some((link, syn)) if link == "isp1" => assert!(ends.insert(syn.src())),
            Some((_, told)) => {
                assert_eq!(error(&told), Some((3, 13, 0)));
                refused += 1;
            }
            None => refused += 1,
        }
    }
    assert_eq!((ends.len(), refused), (500, 100));
    let moved: Vec<&str> = ["icmp_errors_limited"].into_iter().filter(|n| site.moved(n) > 0).collect();
    let told = site.events("nat_full");
    assert_eq!(told[0]["reason"], "drop_nat_ports_exhausted", "rfc6888_11c");
    assert_eq!(told.len(), 1);
    site.finish(&and(&[
        &OPENED,
        &["drop_nat_ports_exhausted", "sessions_refused", "icmp_errors_sent"],
        &moved,
    ]))
    .unwrap();
}

#[test]
fn midstream_tcp_is_reset_adopted_or_dropped() {
    for (word, link, drops) in [
        ("reset", Some("lan"), &["drop_nat_tcp_midstream", "tcp_resets_sent"][..]),
        ("drop", None, &["drop_nat_tcp_midstream"][..]),
        ("adopt", Some("isp1"), &["sessions_created", "mappings_created"][..]),
    ] {
        each(&format!("midstream: {word}"), |mut site| {
            let out = tcp_out(&mut site, (H1, 5000), (E1, 80), ACK, 7, 8);
            assert_eq!(out.as_ref().map(|(link, _)| link.as_str()), link, "{word}");
            if word == "adopt" {
                let x = out.unwrap().1.src();
                assert!(tcp_in(&mut site, "isp1", (E1, 80), x, ACK).is_some());
                site.run_coarse(7000, 500);
                assert!(tcp_in(&mut site, "isp1", (E1, 80), x, ACK).is_some(), "as an established one");
            }
            site.finish(drops).unwrap();
        });
    }
}

fn syn_with_mss(src: End, dst: End, flags: u8, mss: u16) -> Packet {
    let mut packet = Packet::tcp(src, dst, flags, 1, 1, &[1, 2, 4, (mss >> 8) as u8, mss as u8, 0, 0, 0]);
    packet.payload[12] = 7 << 4;
    put16(&mut packet.payload, 16, 0);
    let sum = checksum::transport(src.0, dst.0, 6, &packet.payload);
    put16(&mut packet.payload, 16, sum);
    packet
}

#[test]
fn the_mss_of_both_directions_is_lowered_to_what_the_links_carry() {
    let narrow = DUAL_WAN.replace("gateway: 203.0.113.1", "gateway: 203.0.113.1, mtu: 1400");
    for (text, expected) in [
        (narrow.clone(), 1360),
        (format!("{narrow}nat: {{ mss_clamp: never }}\n"), 1460),
        (format!("{narrow}nat: {{ mss_clamp: 1200 }}\n"), 1200),
        (DUAL_WAN.to_owned(), 1460),
        (format!("{DUAL_WAN}nat: {{ mss_clamp: 1300 }}\n"), 1300),
    ] {
        let mut site = Site::new(&text, 2).unwrap();
        meet(&mut site);
        let (_, syn) = site.pass("lan", &syn_with_mss((H1, 5000), (E1, 80), SYN, 1460)).unwrap();
        assert_eq!(be16(&syn.payload, 23), expected, "{text}");
        let back = syn_with_mss((E1, 80), syn.src(), SYN | ACK, 1460);
        let (_, back) = site.pass("isp1", &back).unwrap();
        assert_eq!(be16(&back.payload, 23), expected);
        let moved: &[&str] = if expected < 1460 { &["mss_clamped"] } else { &[] };
        site.finish(&and(&[&OPENED, moved])).unwrap();
    }
}

fn of(protocol: u8, src: std::net::Ipv4Addr, dst: std::net::Ipv4Addr) -> Packet {
    let mut packet = Packet::udp((src, 0), (dst, 0), b"neither ports nor checksum");
    packet.ip.protocol = protocol;
    packet
}

#[test]
fn protocols_without_ports_go_by_host_remote_and_protocol() {
    each("timeouts: { other: 30s }", |mut site| {
        for protocol in [50, 47, 132] {
            let (link, out) = site.pass("lan", &of(protocol, H1, E1)).unwrap();
            assert_eq!((link.as_str(), out.ip.src, out.payload), ("isp1", P1, of(protocol, H1, E1).payload));
            let (link, back) = site.pass("isp1", &of(protocol, E1, P1)).unwrap();
            assert_eq!((link.as_str(), back.ip.dst), ("lan", H1));
        }
        // Whom nobody spoke to stays out; a second host cannot be told apart from the first.
        assert_eq!(site.send("isp1", &of(50, E2, P1)), []);
        let (link, told) = site.pass("lan", &of(50, H2, E1)).unwrap();
        assert_eq!((link.as_str(), error(&told)), ("lan", Some((3, 13, 0))));
        assert_eq!(site.pass("lan", &of(50, H2, E2)).unwrap().0, "isp1");
        site.run_ms(30_000);
        assert_eq!(site.send("isp1", &of(47, E1, P1)), []);
        assert_eq!(site.pass("lan", &of(50, H2, E1)).unwrap().0, "isp1");
        // With the WAN it moves.
        site.set_link("isp1", false);
        let (link, out) = site.pass("lan", &of(50, H2, E1)).unwrap();
        assert_eq!((link.as_str(), out.ip.src), ("isp2", P2));
        let moved = ["sessions_created", "sessions_expired", "sessions_moved", "sessions_refused"];
        site.finish(&and(&[&moved, &["drop_nat_no_mapping", "drop_nat_clash", "icmp_errors_sent"]])).unwrap();
    });
}

#[test]
fn rfc6888_8y_the_rest_of_ports_is_as_long_and_of_as_many_as_the_profile_says() {
    let text = |quarantine: &str| {
        narrow_text(&format!("quarantine: {quarantine}, timeouts: {{ udp_ports: {{ 53: 1s }} }}"))
    };
    for (quarantine, after, again) in
        [("0s", 10, true), ("30s", 10, false), ("30s", 45, true), ("{ time: 1h, ports: 100 }", 10, false)]
    {
        let mut site = Site::new(&text(quarantine), 1).unwrap();
        meet(&mut site);
        let all = |from: u16| (0..500).map(move |n| Packet::udp((H1, from + n), (E1, 53), b""));
        let count = |out: Vec<(String, Seen)>| out.iter().filter(|(link, _)| link == "isp1").count();
        assert_eq!(count(flood(&mut site, "lan", all(2000))), 500);
        site.run_coarse(after, 250);
        let second = count(flood(&mut site, "lan", all(3000)));
        match (again, quarantine.contains("ports")) {
            (true, _) => assert_eq!(second, 500, "{quarantine}"),
            (false, true) => assert_eq!(second, 400, "{quarantine}"),
            (false, false) => assert_eq!(second, 0, "{quarantine}"),
        }
    }
}

fn narrow_text(nat: &str) -> String {
    unlimited(16_384, nat)
        + "forwards: [{ protocol: [tcp, udp], port: \"1024-64971\", to: \"192.168.10.11:1024\" }]\n"
}

#[test]
fn a_remote_keeps_its_permission_while_any_session_with_it_lives_whichever_came_first() {
    let mut site = with("timeouts: { udp: 2m }, filtering: { udp: address-dependent }", 1);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    for port in [80, 81, 82] {
        udp_out(&mut site, (H1, 5000), (E2, port)).unwrap();
        site.run_ms(50_000);
    }
    // The first two with E2 are over, and memory of them is back; so is all with E1.
    site.run_ms(30_000);
    assert_eq!(site.moved("sessions_expired"), 3);
    assert_eq!(udp_in(&mut site, "isp1", (E2, 99), x), Some((H1, 5000)));
    assert_eq!(udp_in(&mut site, "isp1", (E1, 99), x), None);
    site.finish(&and(&[&OPENED, &["sessions_expired", "drop_nat_filtered"]])).unwrap();
}

#[test]
fn what_stayed_on_a_wan_that_was_left_is_in_nobodys_way_when_that_is_back() {
    let text = DUAL_WAN
        .replace("wans: [isp1, isp2]", "wans:\n  isp1: { health: quick }\n  isp2: { health: quick }")
        + "health: { quick: { gateway: { arp: 100ms }, up: { successes: 1, stable: 100ms } } }\n";
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    assert_eq!(site.pass("lan", &of(50, H1, E1)).unwrap().0, "isp1");
    site.set_link("isp1", false);
    site.set_link("isp1", true);
    site.run_ms(3000);
    site.take_all();
    let (link, out) = site.pass("lan", &of(50, H2, E1)).unwrap();
    assert_eq!((link.as_str(), out.ip.src), ("isp1", P1));
    site.finish(&["sessions_created", "sessions_expired"]).unwrap();
}
