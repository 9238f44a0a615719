//! Ping through the router and to it, and who says that a TTL has run out.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use netns::{Site, usual};
use turnout::demo::lab::{INTERNET, WAN1, WAN2};

/// The whole answer of `ping`, whatever its exit status.
fn ping(site: &Site, from: &str, args: &[&str]) -> String {
    let mut command = site.host(from).command("ping");
    command.args(args);
    netns::stdout(&netns::output_within(command, std::time::Duration::from_secs(10)))
}

#[test]
fn rfc5508_10a3_pings_pass_and_the_router_answers_for_itself() {
    let Some(site) = Site::start(&usual()) else { return };
    let [server, ..] = INTERNET.map(|ip| ip.to_string());
    let all = |text: &str, n: u32| text.contains(&format!("{n} packets transmitted, {n} received"));

    for host in ["lan1", "lan2"] {
        for size in ["0", "56", "1472"] {
            let text = ping(&site, host, &["-c", "5", "-i", "0.05", "-W", "1", "-s", size, &server]);
            assert!(all(&text, 5), "{host}, {size} bytes: {text}");
        }
    }
    // The router's own addresses: the LAN's, and every WAN's from both sides.
    let (wan1, wan2) = (WAN1.to_string(), WAN2.to_string());
    for (host, own) in [
        ("lan1", "192.168.10.1"),
        ("lan2", wan1.as_str()),
        ("lan1", wan2.as_str()),
        ("inet", wan1.as_str()),
        ("inet", wan2.as_str()),
        ("isp1", wan1.as_str()),
        ("isp2", wan2.as_str()),
    ] {
        let text = ping(&site, host, &["-c", "3", "-i", "0.05", "-W", "1", own]);
        assert!(all(&text, 3) && text.contains(&format!("from {own}")), "{host} to {own}: {text}");
    }
    // A neighbour that is not there.
    let text = ping(&site, "lan1", &["-c", "1", "-W", "1", "192.168.10.77"]);
    assert!(text.contains("0 received"), "{text}");
}

#[test]
fn the_first_hop_of_a_traceroute_is_the_routers_lan_address() {
    let Some(site) = Site::start(&usual()) else { return };
    let server = INTERNET[0].to_string();
    let text = ping(&site, "lan1", &["-c", "3", "-i", "0.1", "-W", "1", "-t", "1", &server]);
    let told = text.matches("From 192.168.10.1 icmp_seq=").count();
    assert!(told == 3 && text.contains("Time to live exceeded"), "{text}");
    // From outside the WAN's address tells it, about the address that the outside knows.
    let text = ping(&site, "isp1", &["-c", "1", "-W", "1", "-t", "1", &WAN1.to_string()]);
    assert!(text.contains("1 received"), "a TTL of 1 suffices for the router itself: {text}");

    let counters = site.json(&["counters"]);
    assert_eq!(counters["drop_ttl_expired"], 3);
    assert!(counters["icmp_errors_sent"].as_u64().unwrap() >= 3, "{counters}");
}
