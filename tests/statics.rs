//! What the profile translates by hand: forwards, addresses of hosts' own, untranslated flows, pools; and inside by way of outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);
const OPENED_FIXED: [&str; 1] = ["sessions_created"];

fn with(text: &str, workers: usize) -> Site {
    let mut site = Site::new(&format!("{DUAL_WAN}{text}"), workers).unwrap();
    meet(&mut site);
    site
}

/// Runs a test on each of the `SHAPES`.
fn each(text: &str, test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = with(text, workers);
        site.use_queue(queue);
        test(site);
    }
}

const FORWARDS: &str = "forwards:
  - { wans: [isp1, isp2], protocol: [tcp, udp], port: 8443, to: \"192.168.10.11:443\" }
  - { wans: [isp1], protocol: [udp], port: \"20000-20009\", from: 9.9.9.0/24, to: \"192.168.10.10:30000\" }
";

#[test]
fn rfc5382_2_2_a_handshake_from_outside_reaches_the_forward_and_its_answer_leaves_by_the_wan_of_the_question()
{
    each(FORWARDS, |mut site| {
        for (link, own) in [("isp1", P1), ("isp2", P2)] {
            let client = (E1, if link == "isp1" { 1000 } else { 2000 });
            let syn = Packet::tcp(client, (own, 8443), SYN, 7, 0, b"");
            let (to, seen) = site.pass(link, &syn).unwrap();
            assert_eq!((to.as_str(), seen.src(), seen.dst()), ("lan", client, (H2, 443)));
            let (out, seen) = tcp_out(&mut site, (H2, 443), client, SYN | ACK, 9, 8).unwrap();
            assert_eq!((out.as_str(), seen.src(), seen.dst()), (link, (own, 8443), client));
            assert_eq!(tcp_in(&mut site, link, client, (own, 8443), ACK).unwrap().dst(), (H2, 443));
            let data = Packet::tcp((H2, 443), client, ACK, 10, 8, b"answer");
            let (out, seen) = site.pass("lan", &data).unwrap();
            assert_eq!((out.as_str(), seen.src(), seen.data()), (link, (own, 8443), &b"answer"[..]));
        }
        site.finish(&OPENED_FIXED).unwrap();
    });
}

#[test]
fn a_host_keeps_its_place_when_its_only_session_makes_way_for_the_next_one() {
    let forwards = "forwards:
  - { wans: [isp1], protocol: [udp], port: 5000, to: \"192.168.10.11:53\" }
  - { wans: [isp1], protocol: [udp], port: 5001, to: \"192.168.10.11:53\" }
";
    each(forwards, |mut site| {
        for round in 0..12 {
            // By the other forward, from the same port: inside it is the same flow.
            assert_eq!(udp_in(&mut site, "isp1", (E1, 7), (P1, 5000 + round % 2)), Some((H2, 53)), "{round}");
            site.run_ms(10_001);
        }
        site.finish(&and(&[&OPENED_FIXED, &["sessions_expired"]])).unwrap();
    });
}

#[test]
fn a_forward_lets_in_whom_it_names_and_keeps_the_place_in_its_range() {
    each(FORWARDS, |mut site| {
        assert_eq!(udp_in(&mut site, "isp1", (E1, 5), (P1, 20007)), Some((H1, 30007)));
        assert_eq!(udp_in(&mut site, "isp1", (E2, 5), (P1, 20007)), None, "8.8.4.4 is not in 9.9.9.0/24");
        assert_eq!(udp_in(&mut site, "isp2", (E1, 5), (P2, 20007)), None, "isp1 alone");
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 5), (P1, 20007), SYN), None, "UDP alone");
        assert_eq!(udp_out(&mut site, (H1, 30007), (E1, 5)), Some(("isp1".into(), (P1, 20007))));
        assert_eq!(site.moved("drop_nat_no_mapping"), 3);
        site.finish(&and(&[&OPENED_FIXED, &["drop_nat_no_mapping"]])).unwrap();
    });
}

#[test]
fn an_on_link_peer_is_answered_directly_and_not_by_the_gateway() {
    let mut site = with(FORWARDS, 1);
    let peer = Ipv4Addr::new(203, 0, 113, 5);
    site.add_host("isp1", peer);
    udp_in(&mut site, "isp1", (peer, 5), (P1, 8443)).unwrap();
    let (_, seen) = site.pass("lan", &Packet::udp((H2, 443), (peer, 5), b"x")).unwrap();
    assert_eq!(seen.eth.dst.0, [2, 0, 0, 3, 113, 5]);
    site.finish(&OPENED_FIXED).unwrap();
}

#[test]
fn a_forwards_port_is_never_given_to_a_mapping() {
    let text =
        unlimited(66_000, "").replace("wans: [isp1, isp2]", "wans: [isp1]").replace("  isp2:", "  spare:");
    let text = text.replace(", gateway: 198.51.100.1", "")
        + "forwards: [{ protocol: [udp], port: \"1024-60000\", to: \"192.168.10.11:1024\" }]\n";
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    let out = flood(&mut site, "lan", (1024..8000).map(|p| Packet::udp((H1, p), (E1, 80), b"")));
    let ports: Vec<u16> = out.iter().filter(|(l, _)| l == "isp1").map(|(_, s)| s.src().1).collect();
    assert_eq!(ports.len(), 5471, "60001 to 65471: the last are the router's own");
    assert!(ports.iter().all(|p| (60_001..65_472).contains(p)));
    let refused = ["drop_nat_ports_exhausted", "sessions_refused", "icmp_errors_sent", "icmp_errors_limited"];
    site.finish(&and(&[&OPENED, &refused])).unwrap();
}

#[test]
fn what_was_opened_from_outside_is_dropped_by_a_failover_and_never_moved() {
    each(FORWARDS, |mut site| {
        udp_in(&mut site, "isp1", (E1, 5), (P1, 8443)).unwrap();
        assert!(udp_out(&mut site, (H2, 443), (E1, 5)).is_some());
        tcp_in(&mut site, "isp1", (E1, 6), (P1, 8443), SYN).unwrap();
        tcp_out(&mut site, (H2, 443), (E1, 6), SYN | ACK, 1, 2).unwrap();
        site.set_link("isp1", false);
        assert_eq!(udp_out(&mut site, (H2, 443), (E1, 5)), None);
        let (link, reset) = tcp_out(&mut site, (H2, 443), (E1, 6), ACK, 2, 2).unwrap();
        assert_eq!((link.as_str(), reset.tcp().unwrap().flags.rst()), ("lan", true));
        // By the other WAN it is asked anew.
        assert_eq!(udp_in(&mut site, "isp2", (E1, 7), (P2, 8443)), Some((H2, 443)));
        let drops = ["drop_wan_left", "drop_nat_tcp_failover", "tcp_resets_sent", "sessions_reset"];
        site.finish(&and(&[&OPENED_FIXED, &drops])).unwrap();
    });
}

const ONE: &str = "one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.10, when_down: WHEN }]
firewall:
  - { in: isp1, to: 192.168.10.10, protocol: [tcp], port: [25, 443], action: accept }
  - { in: isp1, to: 192.168.10.10, protocol: [icmp, esp], action: accept }
";

#[test]
fn an_address_of_its_own_keeps_ports_and_carries_every_protocol() {
    each(&ONE.replace("WHEN", "drop"), |mut site| {
        assert_eq!(udp_out(&mut site, (H1, 53), (E1, 80)), Some(("isp1".into(), (OWN, 53))));
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), (OWN, 53)), Some((H1, 53)));
        // Unasked: what a rule accepts, and nothing else.
        assert_eq!(tcp_in(&mut site, "isp1", (E2, 9), (OWN, 25), SYN).unwrap().dst(), (H1, 25));
        assert!(tcp_in(&mut site, "isp1", (E2, 9), (OWN, 26), SYN).is_none());
        assert_eq!(udp_in(&mut site, "isp1", (E2, 9), (OWN, 25)), None);
        let (link, echo) = site.pass("isp1", &Packet::ping(E2, OWN, 77, 1)).unwrap();
        assert_eq!((link.as_str(), echo.dst()), ("lan", (H1, 77)));
        let reply = Packet::icmp(H1, E2, 0, 0, 77, 1, b"sixteen bytes...");
        let (link, back) = site.pass("lan", &reply).unwrap();
        assert_eq!((link.as_str(), back.src()), ("isp1", (OWN, 77)));
        let mut esp = Packet::udp((E2, 1), (OWN, 2), b"sealed");
        esp.ip.protocol = 50;
        let (link, seen) = site.pass("isp1", &esp).unwrap();
        assert_eq!((link.as_str(), seen.ip.dst, seen.payload), ("lan", H1, esp.payload.clone()));
        (esp.ip.src, esp.ip.dst) = (H1, E2);
        assert_eq!(site.pass("lan", &esp).unwrap().1.ip.src, OWN);
        // Another host goes by the WAN's address, which leads to nobody.
        assert_eq!(udp_out(&mut site, (H2, 53), (E1, 80)).unwrap().1.0, P1);
        assert_eq!(site.moved("drop_firewall"), 2);
        site.finish(&and(&[&OPENED, &["drop_firewall"]])).unwrap();
    });
}

#[test]
fn while_its_wan_is_down_it_is_dropped_or_masqueraded_as_the_profile_says() {
    for (when, expected) in [("drop", None), ("masquerade", Some(P2))] {
        let mut site = with(&ONE.replace("WHEN", when), 2);
        assert_eq!(udp_out(&mut site, (H1, 53), (E1, 80)).unwrap().1, (OWN, 53));
        site.set_link("isp1", false);
        let seen = udp_out(&mut site, (H1, 53), (E1, 80)).filter(|(link, _)| link != "lan");
        assert_eq!(seen.map(|(_, x)| x.0), expected, "{when}");
        let moved: Vec<&str> = site
            .counters()
            .iter()
            .map(|(name, _)| name)
            .filter(|name| ["drop_wan_down", "icmp_errors_sent", "mappings_created"].contains(name))
            .filter(|name| site.moved(name) > 0)
            .collect();
        assert_eq!(moved.contains(&"drop_wan_down"), when == "drop");
        site.finish(&and(&[&OPENED_FIXED, &["sessions_moved"], &moved])).unwrap();
    }
}

#[test]
fn arp_is_answered_for_an_address_of_a_hosts_own() {
    use turnout::wire::arp::{Arp, Op};
    let mut site = with(&ONE.replace("WHEN", "drop"), 1);
    let mac = turnout::base::Mac([2, 0, 0, 0, 2, 1]);
    let ask = |ip| Arp {
        op: Op::Request,
        sender_mac: mac,
        sender_ip: G1,
        target_mac: turnout::base::Mac::ZERO,
        target_ip: ip,
    };
    let frame = ask(OWN).frame(mac, turnout::base::Mac::BROADCAST);
    let out = site.send_raw("isp1", &frame);
    let answer = Arp::parse(&out[0].1[14..]).unwrap();
    assert_eq!((answer.op, answer.sender_ip, answer.target_ip), (Op::Reply, OWN, G1));
    let other = ask(Ipv4Addr::new(203, 0, 113, 5)).frame(mac, turnout::base::Mac::BROADCAST);
    assert!(site.send_raw("isp1", &other).is_empty());
    site.finish(&["drop_arp_not_for_us"]).unwrap();
}

#[test]
fn an_exception_of_a_protocol_and_port_excepts_nothing_else() {
    each("nat: { except: [{ to: 9.9.9.0/24, protocol: [udp], port: 80 }] }\n", |mut site| {
        let udp = |site: &mut Site, remote: End| udp_out(site, (H1, 5000), remote).unwrap().1;
        assert_eq!(udp(&mut site, (E1, 80)), (H1, 5000));
        assert_eq!(udp(&mut site, (E1, 81)).0, P1, "another port");
        assert_eq!(udp(&mut site, (E2, 80)).0, P1, "another network");
        assert_eq!(connect(&mut site, (H1, 5000), (E1, 80)).1.0, P1, "another protocol");
        assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 80, 1)).unwrap().1.ip.src, P1, "an echo");
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), (H1, 5000)), Some((H1, 5000)));
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc6888_6_what_is_excepted_goes_as_it_is_and_the_rest_is_translated() {
    each("nat: { except: [{ from: 192.168.10.0/24, to: 9.9.9.0/24 }] }\n", |mut site| {
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp1".into(), (H1, 5000))));
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 80)).unwrap().1.0, P1);
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), (H1, 5000)), Some((H1, 5000)));
        // Stateful: only answers come in.
        assert_eq!(udp_in(&mut site, "isp1", (E1, 81), (H1, 5000)), None);
        assert_eq!(udp_in(&mut site, "isp1", (E2, 80), (H1, 5000)), None);
        assert_eq!((site.moved("drop_firewall"), site.moved("drop_wan_transit")), (1, 1));
        // A failover breaks nothing that has no address to lose.
        let (_, x) = connect(&mut site, (H2, 6000), (E1, 443));
        assert_eq!(x, (H2, 6000));
        site.set_link("isp1", false);
        assert_eq!(tcp_out(&mut site, (H2, 6000), (E1, 443), ACK, 1001, 9001).unwrap().0, "isp2");
        assert_eq!(tcp_in(&mut site, "isp2", (E1, 443), x, ACK).unwrap().dst(), x);
        site.finish(&and(&[&OPENED, &["drop_firewall", "drop_wan_transit", "sessions_moved"]])).unwrap();
    });
}

#[test]
fn sources_that_are_not_nats_inside_go_as_they_are() {
    each("nat: { inside: [192.168.10.10/32] }\n", |mut site| {
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().1.0, P1);
        assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().1, (H2, 5000));
        site.finish(&OPENED).unwrap();
    });
}

const POOL: &str = "wans:
  isp1: { pool: [{ addresses: [203.0.113.3/32, \"203.0.113.5-203.0.113.6\"] }] }
  isp2: {}
";

#[test]
fn rfc4787_2_and_rfc6888_2a_a_host_keeps_to_one_address_of_the_pool_and_hosts_spread() {
    for workers in [1, 3] {
        let text = DUAL_WAN.replace("wans: [isp1, isp2]\n", POOL);
        let mut site = Site::new(&text, workers).unwrap();
        let mut used = BTreeSet::new();
        for host in 10..60u8 {
            let host = Ipv4Addr::new(192, 168, 10, host);
            site.add_host("lan", host);
            let mut its = BTreeSet::new();
            for port in (1..200).step_by(if host == H1 { 1 } else { 60 }) {
                its.insert(udp_out(&mut site, (host, 4000 + port), (E1, 80)).unwrap().1.0);
            }
            its.insert(site.pass("lan", &Packet::ping(host, E1, 1, 1)).unwrap().1.src().0);
            assert_eq!(its.len(), 1, "{host}: {its:?}");
            used.extend(its);
        }
        let pool: BTreeSet<Ipv4Addr> = [3, 5, 6].map(|n| Ipv4Addr::new(203, 0, 113, n)).into();
        assert_eq!(used, pool, "rfc6888_3b: ranges that do not touch, all used");
        let (_, x) = udp_out(&mut site, (H1, 1), (E1, 80)).unwrap();
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 1)));
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn rfc4787_9_and_rfc4787_9a_inside_reaches_inside_by_its_outside_endpoint_and_shows_its_own() {
    each("", |mut site| {
        let (_, x1) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, x2) = udp_out(&mut site, (H2, 6000), (E1, 80)).unwrap();
        let (link, seen) = site.pass("lan", &Packet::udp((H1, 5000), x2, b"hello")).unwrap();
        assert_eq!((link.as_str(), seen.src(), seen.dst()), ("lan", x1, (H2, 6000)));
        assert_eq!((seen.ip.ttl, seen.data()), (63, &b"hello"[..]));
        let (link, seen) = site.pass("lan", &Packet::udp((H2, 6000), x1, b"hi")).unwrap();
        assert_eq!((link.as_str(), seen.src(), seen.dst()), ("lan", x2, (H1, 5000)));
        // Whom nobody maps, nobody reaches.
        assert_eq!(site.send("lan", &Packet::udp((H1, 5000), (P1, x2.1 ^ 1), b"")), []);
        site.finish(&and(&[&OPENED, &["drop_nat_no_mapping"]])).unwrap();
    });
}

#[test]
fn rfc5382_8_and_rfc5382_8a_connections_from_inside_to_inside_by_outside_endpoints_and_forwards() {
    each(FORWARDS, |mut site| {
        let (_, x2) = connect(&mut site, (H2, 80), (E1, 443));
        let (link, syn) = tcp_out(&mut site, (H1, 5000), x2, SYN, 1, 0).unwrap();
        assert_eq!((link.as_str(), syn.dst(), syn.src().0), ("lan", (H2, 80), P1));
        let x1 = syn.src();
        let (_, answer) = tcp_out(&mut site, (H2, 80), x1, SYN | ACK, 1, 2).unwrap();
        assert_eq!((answer.src(), answer.dst()), (x2, (H1, 5000)));
        // A forward serves inside as well: one name for a server, wherever its client is.
        for (own, port) in [(P1, 5001), (P2, 5002)] {
            let (link, syn) = tcp_out(&mut site, (H1, port), (own, 8443), SYN, 1, 0).unwrap();
            assert_eq!((link.as_str(), syn.dst()), ("lan", (H2, 443)));
            let (_, answer) = tcp_out(&mut site, (H2, 443), syn.src(), SYN | ACK, 1, 2).unwrap();
            assert_eq!((answer.src(), answer.dst()), ((own, 8443), (H1, port)));
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc5508_7_1_an_echo_to_an_address_of_a_hosts_own_comes_back_by_it() {
    each(&ONE.replace("WHEN", "drop"), |mut site| {
        let (link, echo) = site.pass("lan", &Packet::ping(H2, OWN, 9, 1)).unwrap();
        // An echo has one identifier: it is the outside one on both halves.
        assert_eq!((link.as_str(), echo.dst().0, echo.src().0), ("lan", H1, P1));
        let reply = Packet::icmp(H1, P1, 0, 0, echo.src().1, 1, b"sixteen bytes...");
        let (link, back) = site.pass("lan", &reply).unwrap();
        assert_eq!((link.as_str(), back.src(), back.dst()), ("lan", (OWN, 9), (H2, 9)));
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn without_hairpin_inside_does_not_reach_itself_from_outside() {
    let mut site = with("nat: { hairpin: false }\n", 1);
    let (_, x) = udp_out(&mut site, (H2, 6000), (E1, 80)).unwrap();
    assert_eq!(site.send("lan", &Packet::udp((H1, 5000), x, b"")), []);
    site.finish(&and(&[&OPENED, &["drop_hairpin"]])).unwrap();
}

#[test]
fn rfc6888_5_and_x_7_a_flow_of_protocol_0_ends_like_any_other_and_gives_its_slot_back() {
    each("", |mut site| {
        let mut packet = Packet::udp((H1, 0), (E1, 0), b"hop by hop");
        packet.ip.protocol = 0;
        assert_eq!(site.pass("lan", &packet).unwrap().1.ip.src, P1);
        let listed = site.ask(Request::Sessions(SessionFilter::default())).unwrap();
        assert_eq!(listed[0]["protocol"], "0");
        site.run_coarse(620, 250);
        assert_eq!(live(&mut site), 0);
        site.finish(&and(&[&OPENED_FIXED, &["sessions_expired"]])).unwrap();
    });
}

#[test]
fn arp_is_answered_for_a_pool_unless_the_profile_says_never() {
    use turnout::base::Mac;
    use turnout::wire::arp::{Arp, Op};
    for (arp, answers) in [("", true), (", arp: never", false)] {
        let pool = POOL.replace("203.0.113.6\"]", &format!("203.0.113.6\"]{arp}"));
        let mut site = Site::new(&DUAL_WAN.replace("wans: [isp1, isp2]\n", &pool), 1).unwrap();
        let mac = Mac([2, 0, 0, 0, 2, 1]);
        let target_ip = Ipv4Addr::new(203, 0, 113, 5);
        let ask = Arp { op: Op::Request, sender_mac: mac, sender_ip: G1, target_mac: Mac::ZERO, target_ip };
        let out = site.send_raw("isp1", &ask.frame(mac, Mac::BROADCAST));
        assert_eq!(!out.is_empty(), answers, "{arp}");
        // What is the router's own it answers for all the same.
        let ask = Arp { target_ip: P1, ..ask };
        assert_eq!(site.send_raw("isp1", &ask.frame(mac, Mac::BROADCAST)).len(), 1);
        // A link that comes up is told where the addresses are, those of a pool two a second.
        site.set_link("isp1", false);
        site.set_link("isp1", true);
        site.run_ms(5_000);
        let told = site.take_all().into_iter().filter_map(|(link, frame)| {
            let arp = Arp::parse(frame.get(14..)?).filter(|_| link == "isp1" && frame[12..14] == [8, 6])?;
            (arp.sender_ip == arp.target_ip).then_some(arp.sender_ip)
        });
        assert_eq!(told.collect::<BTreeSet<_>>().contains(&target_ip), answers);
        site.finish(if answers { &[] } else { &["drop_arp_not_for_us"] }).unwrap();
    }
}

#[test]
fn a_host_with_an_address_on_each_wan_goes_by_the_one_that_carries() {
    let two = "one_to_one:
  - { wan: isp1, outside: 203.0.113.4, inside: 192.168.10.10 }
  - { wan: isp2, outside: 198.51.100.4, inside: 192.168.10.10 }
";
    let mut site = with(two, 1);
    assert_eq!(udp_out(&mut site, (H1, 53), (E1, 80)), Some(("isp1".into(), (OWN, 53))));
    let request = Request::Wan { name: "isp1".into(), admin: Admin::Drain, force: false };
    site.ask(request).unwrap();
    site.run_ms(10);
    let second = Ipv4Addr::new(198, 51, 100, 4);
    assert_eq!(udp_out(&mut site, (H1, 53), (E1, 81)), Some(("isp2".into(), (second, 53))));
    assert_eq!(udp_out(&mut site, (H1, 53), (E1, 80)), Some(("isp1".into(), (OWN, 53))), "it drains");
    site.finish(&OPENED_FIXED).unwrap();
}
