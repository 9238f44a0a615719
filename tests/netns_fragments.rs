//! Datagrams in fragments, between real stacks.
//!
//! An AF_PACKET port would not do: the kernel joins fragments for it. So the router's ports are TAPs here, each in a bridge with
//! the veth that leads to the hosts, which passes fragments as they are.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::time::Duration;

use netns::Site;
use turnout::demo::lab::{INTERNET, WAN1};

const PROFILE: &str = "version: 1
interfaces:
  lan:  { port: \"net_tap0,iface=tlan\", addresses: [192.168.10.1/24] }
  isp1: { port: \"net_tap1,iface=tisp\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
wans: [isp1]
management: { socket: \"@SOCKET@\", journal: \"@SOCKET@.d/journal\" }
";

/// The TAPs' kernel ends have the ports' own addresses, which a bridge would take for its own. The kernel would answer ARP on
/// the bridges for the addresses of the host under the router.
const BRIDGES: &str = "link set tlan address 02:00:00:00:01:01
link set tisp address 02:00:00:00:01:02
link add brl type bridge forward_delay 0
link add bri type bridge forward_delay 0
link set tlan master brl
link set lan0 master brl
link set tisp master bri
link set isp1 master bri
link set tlan up
link set tisp up
link set brl arp off
link set bri arp off
link set brl up
link set bri up
";

fn ping(site: &Site, from: &str, args: &[&str]) -> String {
    let mut command = site.host(from).command("ping");
    command.args(args);
    netns::stdout(&netns::output_within(command, Duration::from_secs(20)))
}

#[test]
fn pings_of_4000_bytes_pass_both_ways_and_the_router_answers_them_itself() {
    let Some(site) = Site::start(PROFILE) else { return };
    site.host("router").ip(BRIDGES).unwrap();
    assert!(netns::eventually(Duration::from_secs(5), || site.wan("isp1", "state") == "up"));
    let (server, own) = (INTERNET[0].to_string(), WAN1.to_string());
    let sent = || site.wan("isp1", "tx_packets").as_u64().unwrap();
    for (host, to, size, pieces) in [
        ("lan1", server.as_str(), "4000", 3),
        ("lan2", &server, "1473", 2),
        ("lan1", &server, "20000", 14),
        ("isp1", &own, "4000", 3),
        ("lan1", "192.168.10.1", "4000", 0),
    ] {
        let before = sent();
        let text = ping(&site, host, &["-c", "5", "-i", "0.2", "-W", "2", "-s", size, to]);
        assert!(text.contains(" 5 received"), "{host} to {to}, {size} bytes: {text}");
        // They went as fragments, not joined by somebody on the way.
        let went = sent() - before;
        assert!(went >= 5 * pieces && went < 5 * pieces + 20, "{host} to {to}, {size} bytes: {went} frames");
    }
}
