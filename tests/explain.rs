//! `turnout explain`: what it says of a packet is what becomes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use serde_json::Value;

fn explain(site: &mut Site, packet: &str, assume: &[(&str, bool)]) -> Value {
    let assume = assume.iter().map(|(wan, up)| (wan.to_string(), *up)).collect();
    let before = digest(site);
    let answer = site.ask(Request::Explain { packet: packet.into(), assume, interface: None }).unwrap();
    assert_eq!(digest(site), before, "nothing changes");
    answer
}

fn step(answer: &Value, name: &str) -> String {
    let steps = answer["steps"].as_array().unwrap();
    steps.iter().find(|s| s["step"] == name).map_or(String::new(), |s| s["says"].as_str().unwrap().to_owned())
}

#[test]
fn a_packet_from_inside_is_followed_through_firewall_policy_group_and_nat() {
    let text = DUAL_WAN.to_owned()
        + "policy: [{ from: 192.168.10.11, use: isp2 }]\n\
           firewall: [{ in: lan, protocol: [udp], port: [123], action: reject }]\n";
    for workers in [1, 3] {
        let mut site = Site::new(&text, workers).unwrap();
        let new = explain(&mut site, "udp 192.168.10.10:5000 > 9.9.9.9:53", &[]);
        assert_eq!((&new["sent"], &new["wan"]), (&true.into(), &"isp1".into()), "{new}");
        assert!(step(&new, "policy").contains("group default"), "{new}");
        let other = explain(&mut site, "udp 192.168.10.11:5000 > 9.9.9.9:53", &[]);
        assert_eq!(other["wan"], "isp2", "{other}");
        assert!(step(&other, "policy").starts_with("rule 1"), "{other}");
        let refused = explain(&mut site, "udp 192.168.10.10:5000 > 9.9.9.9:123", &[]);
        assert_eq!((&refused["sent"], &refused["reason"]), (&false.into(), &"drop_firewall_rejected".into()));
        let down = explain(&mut site, "udp 192.168.10.10:5000 > 9.9.9.9:53", &[("isp1", false)]);
        assert_eq!(down["wan"], "isp2", "{down}");
        let (link, x) = udp_out(&mut site, (H1, 5000), (E1, 53)).unwrap();
        assert_eq!(link, "isp1");
        let known = explain(&mut site, "udp 192.168.10.10:5000 > 9.9.9.9:53", &[]);
        assert!(step(&known, "session").contains(&format!("{}:{}", x.0, x.1)), "{known}");
        let moves = explain(&mut site, "udp 192.168.10.10:5000 > 9.9.9.9:53", &[("isp1", false)]);
        assert!(moves["verdict"].as_str().unwrap().contains("moves"), "{moves}");
        assert_eq!(moves["wan"], "isp2");
        // What was said happens.
        site.set_link("isp1", false);
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 53)).unwrap().0, "isp2");
        site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
    }
}

#[test]
fn one_from_outside_says_where_it_goes_and_bad_questions_are_refused_in_a_line() {
    let text =
        DUAL_WAN.to_owned() + "forwards: [{ protocol: [tcp], port: 8443, to: \"192.168.10.11:443\" }]\n";
    let mut site = Site::new(&text, 2).unwrap();
    let forward = explain(&mut site, "tcp 198.18.0.1:5000 > 203.0.113.2:8443", &[]);
    assert!(forward["verdict"].as_str().unwrap().contains("192.168.10.11:443"), "{forward}");
    let stranger = explain(&mut site, "udp 198.18.0.1:5000 > 203.0.113.2:9999", &[]);
    assert_eq!(stranger["reason"], "drop_nat_no_mapping", "{stranger}");
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let answer = explain(&mut site, &format!("udp 9.9.9.9:80 > 203.0.113.2:{}", x.1), &[]);
    assert!(answer["verdict"].as_str().unwrap().contains("192.168.10.10:5000"), "{answer}");
    for (packet, assume, about) in [
        ("udp nonsense", vec![], "`>`"),
        ("udp 192.168.10.10:5 > 9.9.9.9:53", vec![("isp9".to_owned(), true)], "isp9"),
        ("udp 198.18.0.1:5 > 198.18.0.2:5", vec![], "--in"),
    ] {
        let refused =
            site.ask(Request::Explain { packet: packet.into(), assume, interface: None }).unwrap_err();
        assert!(refused.contains(about), "{refused}");
    }
    site.finish(&OPENED).unwrap();
}

#[test]
fn of_a_wan_without_a_lease_it_says_that_the_address_is_not_known() {
    let text = DUAL_WAN.replace("addresses: [198.51.100.2/29], gateway: 198.51.100.1", "addresses: dhcp");
    let mut site = Site::new(&text, 1).unwrap();
    let assume = [("isp1", false), ("isp2", true)];
    let answer = explain(&mut site, "udp 192.168.10.10:5000 > 9.9.9.9:53", &assume);
    assert_eq!(answer["wan"], "isp2", "{answer}");
    assert!(step(&answer, "nat").contains("not known: it has no lease"), "{answer}");
    assert_eq!(step(&answer, "next hop"), "not known: it has no lease");
    assert!(!answer.to_string().contains("0.0.0.0"), "{answer}");
}
