//! Who may open what: the firewall's rules in every direction, and silence or an answer for what nobody asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

const V: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 5);
const VOICE: &str = "  voice: { port: \"linux:voice0\", addresses: [192.168.30.1/24] }\n";

/// A site with two inside networks and these rules.
fn with(rules: &str, workers: usize) -> Site {
    let text = DUAL_WAN.replace("  isp1:", &format!("{VOICE}  isp1:")) + rules;
    let mut site = Site::new(&text, workers).unwrap();
    site.add_host("voice", V);
    meet(&mut site);
    site.pass("voice", &Packet::ping(V, Ipv4Addr::new(192, 168, 30, 1), 1, 1)).unwrap();
    site
}

fn each(rules: &str, test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = with(rules, workers);
        site.use_queue(queue);
        test(site);
    }
}

#[test]
fn what_voice_may_not_open_towards_the_lan_is_answered_when_the_lan_opens_it() {
    each("firewall: [{ in: voice, to: 192.168.10.0/24, action: drop }]\n", |mut site| {
        let out = |site: &mut Site, link, src, dst| site.pass(link, &Packet::udp(src, dst, b"x")).is_some();
        assert!(!out(&mut site, "voice", (V, 5), (H1, 6)));
        assert!(out(&mut site, "lan", (H1, 6), (V, 5)));
        assert!(out(&mut site, "voice", (V, 5), (H1, 6)), "an answer");
        assert!(!out(&mut site, "voice", (V, 5), (H1, 7)));
        // TCP and echoes as well
        let tcp = |site: &mut Site, link, src, dst, flags| {
            site.pass(link, &Packet::tcp(src, dst, flags, 1, 1, b"")).is_some()
        };
        assert!(!tcp(&mut site, "voice", (V, 5), (H1, 6), SYN));
        assert!(tcp(&mut site, "lan", (H1, 6), (V, 5), SYN));
        assert!(tcp(&mut site, "voice", (V, 5), (H1, 6), SYN | ACK));
        assert!(!tcp(&mut site, "voice", (V, 6), (H1, 6), ACK), "no session, no beginning");
        assert!(site.pass("voice", &Packet::ping(V, H1, 9, 1)).is_none());
        assert!(site.pass("lan", &Packet::ping(H1, V, 9, 1)).is_some());
        assert!(site.pass("voice", &Packet::icmp(V, H1, 0, 0, 9, 1, b"sixteen bytes...")).is_some());
        assert!(
            site.pass("voice", &Packet::ping(V, H1, 9, 1)).is_none(),
            "an answer's identifier is no answer"
        );
        // The internet is not the LAN.
        assert!(udp_voice(&mut site).is_some());
        assert_eq!(site.moved("drop_firewall"), 6);
        site.finish(&and(&[&OPENED, &["drop_firewall"]])).unwrap();
    });
}

fn udp_voice(site: &mut Site) -> Option<()> {
    site.pass("voice", &Packet::udp((V, 5), (E1, 80), b"x")).filter(|(link, _)| link == "isp1").map(|_| ())
}

#[test]
fn without_a_rule_that_forbids_inside_nothing_is_remembered_of_inside() {
    let mut site = with("firewall: [{ in: isp1, to: 192.168.10.10, action: drop }]\n", 2);
    assert!(site.pass("lan", &Packet::udp((H1, 6), (V, 5), b"x")).is_some());
    assert!(site.pass("voice", &Packet::tcp((V, 6), (H1, 6), ACK, 1, 1, b"")).is_some());
    assert_eq!(live(&mut site), 0);
    site.finish(&[]).unwrap();
}

#[test]
fn a_flow_from_inside_to_inside_ends_by_its_timer() {
    let mut site = with("firewall: [{ in: voice, to: 192.168.10.0/24, action: drop }]\n", 2);
    assert!(site.pass("lan", &Packet::udp((H1, 6), (V, 5), b"x")).is_some());
    site.run_coarse(310, 250);
    assert_eq!(live(&mut site), 0);
    assert!(site.pass("voice", &Packet::udp((V, 5), (H1, 6), b"x")).is_none());
    site.finish(&["sessions_created", "sessions_expired", "drop_firewall"]).unwrap();
}

#[test]
fn rfc1812_5_3_9_what_inside_may_not_open_ends_in_silence_or_is_told() {
    let rules = "firewall:
  - { in: lan, to: 9.9.9.9, protocol: [tcp], port: 443, action: accept }
  - { in: lan, to: 9.9.9.0/24, protocol: [tcp], action: reject }
  - { from: 192.168.10.11, to: 8.0.0.0/8, action: drop }
";
    each(rules, |mut site| {
        assert!(tcp_out(&mut site, (H1, 1), (E1, 443), SYN, 1, 0).is_some_and(|(link, _)| link == "isp1"));
        let (link, told) = tcp_out(&mut site, (H1, 1), (E1, 80), SYN, 1, 0).unwrap();
        assert_eq!((link.as_str(), error(&told)), ("lan", Some((3, 13, 0))));
        assert_eq!(udp_out(&mut site, (H2, 1), (E2, 80)), None);
        assert!(udp_out(&mut site, (H1, 1), (E1, 80)).is_some(), "no rule: inside may open anything");
        let moved = ["drop_firewall", "drop_firewall_rejected", "icmp_errors_sent"];
        site.finish(&and(&[&OPENED, &moved])).unwrap();
    });
}

#[test]
fn rules_on_what_comes_in_know_inside_addresses_and_stand_before_forwards_and_mappings() {
    let rules = "forwards: [{ protocol: [udp], port: 8443, to: \"192.168.10.11:443\" }]
firewall:
  - { in: isp1, from: 8.8.0.0/16, to: 192.168.10.11, port: 443, protocol: [udp], action: drop }
  - { in: isp2, to: 192.168.10.0/24, action: reject }
  - { in: isp1, from: 8.8.4.4, to: 192.168.10.10, action: drop }
";
    each(rules, |mut site| {
        assert_eq!(udp_in(&mut site, "isp1", (E1, 5), (P1, 8443)), Some((H2, 443)));
        assert_eq!(udp_in(&mut site, "isp1", (E2, 5), (P1, 8443)), None);
        let (link, told) = site.pass("isp2", &Packet::udp((E1, 6), (P2, 8443), b"x")).unwrap();
        assert_eq!((link.as_str(), error(&told)), ("isp2", Some((3, 13, 0))));
        // A mapping lets everybody in but whom a rule forbids; an answer is no new flow.
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!(udp_in(&mut site, "isp1", (E1, 81), x), Some((H1, 5000)));
        assert_eq!(udp_in(&mut site, "isp1", (E2, 81), x), None);
        udp_out(&mut site, (H1, 5000), (E2, 82)).unwrap();
        assert_eq!(udp_in(&mut site, "isp1", (E2, 82), x), Some((H1, 5000)));
        let moved = ["drop_firewall", "drop_firewall_rejected", "icmp_errors_sent"];
        site.finish(&and(&[&OPENED, &moved])).unwrap();
    });
}

#[test]
fn rules_to_self_are_for_the_router_alone() {
    let rules = "firewall:
  - { in: isp1, to: self, protocol: [icmp], action: drop }
  - { in: isp2, to: self, protocol: [tcp], port: 22, action: accept }
  - { in: isp2, to: self, protocol: [udp], port: 500, action: reject }
  - { in: lan, to: self, protocol: [udp], action: drop }
";
    each(rules, |mut site| {
        assert_eq!(site.send("isp1", &Packet::ping(E1, P1, 1, 1)), []);
        assert!(site.pass("isp2", &Packet::ping(E1, P2, 1, 1)).is_some());
        // Accepted, it comes as far as to be told that nobody listens.
        let (_, reset) = site.pass("isp2", &Packet::tcp((E1, 5), (P2, 22), SYN, 1, 0, b"")).unwrap();
        assert!(reset.tcp().unwrap().flags.rst());
        assert_eq!(site.send("isp2", &Packet::tcp((E1, 5), (P2, 23), SYN, 1, 0, b"")), []);
        let (_, told) = site.pass("isp2", &Packet::udp((E1, 5), (P2, 500), b"x")).unwrap();
        assert_eq!(error(&told), Some((3, 13, 0)));
        assert_eq!(site.send("lan", &Packet::udp((H1, 5), (LAN, 53), b"x")), []);
        assert!(site.pass("lan", &Packet::udp((H1, 5), (E1, 53), b"x")).is_some());
        let drops =
            ["drop_firewall", "drop_firewall_rejected", "drop_nat_no_mapping", "drop_local_no_service"];
        site.finish(&and(&[&OPENED, &drops, &["icmp_errors_sent", "tcp_resets_sent"]])).unwrap();
    });
}

#[test]
fn rfc5382_4a_by_default_what_nobody_asked_for_meets_silence() {
    let mut site = with("", 1);
    assert_eq!(site.send("isp1", &Packet::tcp((E1, 5), (P1, 5000), SYN, 1, 0, b"")), []);
    assert_eq!(site.send("isp1", &Packet::udp((E1, 5), (P1, 5000), b"x")), []);
    site.run_ms(7000);
    assert_eq!(taken(&mut site), []);
    site.finish(&["drop_nat_no_mapping"]).unwrap();
}

const OPEN: &str = "nat: { stealth: false }\n";

#[test]
fn rfc5382_4_1_and_rfc5382_4_3_an_unsolicited_syn_is_told_after_six_seconds_and_not_before() {
    each(OPEN, |mut site| {
        let syn = Packet::tcp((E1, 5), (P1, 5000), SYN, 1, 0, b"");
        assert_eq!(site.send("isp1", &syn), []);
        site.run_ms(5999);
        assert_eq!(taken(&mut site), []);
        site.run_ms(1);
        let out = taken(&mut site);
        assert_eq!(out.len(), 1);
        assert_eq!((out[0].0.as_str(), error(&out[0].1), out[0].1.ip.dst), ("isp1", Some((3, 3, 0)), E1));
        // A datagram is told at once.
        let (_, told) = site.pass("isp1", &Packet::udp((E1, 5), (P1, 5000), b"x")).unwrap();
        assert_eq!(error(&told), Some((3, 3, 0)));
        site.finish(&["drop_nat_no_mapping", "icmp_errors_sent"]).unwrap();
    });
}

#[test]
fn rfc5382_4_2_and_rfc5382_2a_a_syn_that_inside_crosses_with_its_own_is_never_answered() {
    let mut site = with("nat: { stealth: false, filtering: { tcp: address-and-port-dependent } }\n", 1);
    let (_, x) = connect(&mut site, (H1, 5000), (E2, 80));
    assert_eq!(site.send("isp1", &Packet::tcp((E1, 80), x, SYN, 1, 0, b"")), []);
    site.run_ms(3000);
    let (_, syn) = tcp_out(&mut site, (H1, 5000), (E1, 80), SYN, 7, 0).unwrap();
    assert_eq!(syn.src(), x);
    site.run_ms(10_000);
    assert_eq!(taken(&mut site), []);
    // rfc5382_2a: the other side's SYN comes again, and the two are connected.
    assert!(tcp_in(&mut site, "isp1", (E1, 80), x, SYN).is_some());
    assert!(tcp_out(&mut site, (H1, 5000), (E1, 80), SYN | ACK, 7, 2).is_some());
    assert!(tcp_in(&mut site, "isp1", (E1, 80), x, SYN | ACK).is_some());
    site.finish(&and(&[&OPENED, &["drop_nat_filtered"]])).unwrap();
}

#[test]
fn syns_that_wait_are_few_and_the_books_balance() {
    let mut site = with(OPEN, 1);
    flood(&mut site, "isp1", (0..1000).map(|p| Packet::tcp((E1, p), (P1, 5000), SYN, 1, 0, b"")));
    assert_eq!((site.moved("held"), site.moved("drop_nat_no_mapping")), (128, 872));
    site.run_ms(6100);
    assert_eq!(site.moved("held"), 0);
    site.take_all();
    let perhaps: Vec<&str> =
        ["icmp_errors_sent", "icmp_errors_limited"].into_iter().filter(|n| site.moved(n) > 0).collect();
    site.finish(&and(&[&["drop_nat_no_mapping"], &perhaps])).unwrap();
}
