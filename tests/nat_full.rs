//! When external ports run short: mapping and filtering are what they were (RFC 4787 REQ-11), and nobody takes all that is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Another host in the network of `E1`.
const E3: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 7);
/// What is said where a port is missing.
const REFUSED: [&str; 2] = ["sessions_refused", "icmp_errors_sent"];

/// The profile of a site with 500 outside ports for UDP.
fn narrow(nat: &str) -> String {
    unlimited(16_384, nat)
        + "forwards: [{ protocol: [udp], port: \"1024-64971\", to: \"192.168.10.11:1024\" }]\n"
}

/// The one outside endpoint that an inside endpoint has for all remotes, held against the filter: whom it lets in.
fn class(site: &mut Site, inside: End, anybody: bool) -> End {
    let remotes = [(E1, 80), (E1, 81), (E3, 80)];
    let ends: BTreeSet<End> = remotes.iter().map(|to| udp_out(site, inside, *to).unwrap().1).collect();
    assert_eq!((ends.len(), ends.first().unwrap().0), (1, P1), "{inside:?}: {ends:?}");
    let x = ends.into_iter().next().unwrap();
    assert_eq!(udp_in(site, "isp1", (E1, 9999), x), Some(inside), "another port of who was spoken to");
    assert_eq!(udp_in(site, "isp1", (E2, 80), x).is_some(), anybody, "{inside:?}: somebody else");
    x
}

#[test]
fn rfc4787_11a_and_rfc4787_11b_the_classes_stay_when_ports_are_nearly_gone_when_ends_meet_and_over_a_reload()
{
    for (filter, anybody) in [("endpoint-independent", true), ("address-dependent", false)] {
        let text = narrow(&format!("filtering: {{ udp: {filter} }}"));
        let mut site = Site::new(&text, 1).unwrap();
        meet(&mut site);
        // The same inside port of two hosts, by a pool that nobody has used.
        let mut known = [H1, H2].map(|host| ((host, 5000), class(&mut site, (host, 5000), anybody))).to_vec();
        let out = flood(&mut site, "lan", (0..495).map(|n| Packet::udp((H2, 10_000 + n), (E1, 80), b"")));
        assert_eq!(out.iter().filter(|(link, _)| link == "isp1").count(), 495);
        // Three are left, of whatever parity.
        for inside in [(H1, 5001), (H2, 5001), (H1, 5002)] {
            known.push((inside, class(&mut site, inside, anybody)));
        }
        let outside: BTreeSet<End> = known.iter().map(|(_, x)| *x).collect();
        assert_eq!(outside.len(), known.len(), "two inside ends by one: {known:?}");
        let reloads = [
            text.clone() + "icmp: { errors_per_second: 900 }\n",
            narrow(&format!("filtering: {{ udp: {filter} }}, timeouts: {{ icmp: 90s }}")),
        ];
        for reload in [None, Some(&reloads[0]), Some(&reloads[1])] {
            if let Some(text) = reload {
                assert!(!site.reload(text, None).unwrap().is_empty());
            }
            site.run_ms(100);
            site.take_all();
            for (inside, x) in &known {
                assert_eq!(class(&mut site, *inside, anybody), *x, "{filter}");
            }
            // There is none more: refused, and nobody's port is given to a second one.
            let (link, told) = site.pass("lan", &Packet::udp((H2, 5002), (E1, 80), b"")).unwrap();
            assert_eq!((link.as_str(), error(&told)), ("lan", Some((3, 13, 0))));
        }
        let filtered: &[&str] = if anybody { &[] } else { &["drop_nat_filtered"] };
        site.finish(&and(&[&OPENED, &REFUSED, filtered, &["drop_nat_ports_exhausted"]])).unwrap();
    }
}

#[test]
fn with_ports_per_host_auto_a_greedy_host_gets_no_more_once_nine_in_ten_are_used() {
    let auto = narrow("when_full: { tcp: refuse }").replace("ports_per_host: 65536", "ports_per_host: auto");
    for (text, fair) in [(auto, true), (narrow("when_full: { tcp: refuse }"), false)] {
        let mut site = Site::new(&text, 1).unwrap();
        let third = Ipv4Addr::new(192, 168, 10, 12);
        site.add_host("lan", third);
        meet(&mut site);
        site.pass("lan", &Packet::ping(third, LAN, 1, 1)).unwrap();
        let got = |out: Vec<(String, Seen)>| out.iter().filter(|(link, _)| link == "isp1").count();
        let many = |host, n: u16| (0..n).map(move |p| Packet::udp((host, 3000 + p), (E1, 80), b""));
        let greedy = got(flood(&mut site, "lan", many(H1, 700)));
        let others =
            [got(flood(&mut site, "lan", many(H2, 20))), got(flood(&mut site, "lan", many(third, 20)))];
        if fair {
            // Below 50 free ones an even share counts, also of one who is alone so far.
            assert_eq!((greedy, others), (451, [20, 20]));
            assert!(site.moved("drop_nat_host_ports") > 0);
        } else {
            assert_eq!((greedy, others), (500, [0, 0]));
        }
        let reason = if fair { "drop_nat_host_ports" } else { "drop_nat_ports_exhausted" };
        site.finish(&and(&[&OPENED, &REFUSED, &[reason, "icmp_errors_limited"]])).unwrap();
    }
}
