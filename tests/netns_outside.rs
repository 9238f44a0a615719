//! The outside sees the WANs' addresses only: every frame on both lines, while traffic of all kinds runs and a line fails.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use netns::capture::{Capture, Seen};
use netns::{Site, eventually, udp_socket, usual};
use turnout::demo::lab::{INTERNET, ISP_PORT, Stop, WAN1, WAN2};
use turnout::demo::traffic::Traffic;

/// Answers that are late, for a closed port, or out of hops: what provokes ICMP errors.
fn provoke(site: &Site, port: u16) {
    let at = SocketAddrV4::new(INTERNET[1], port);
    let server = site.host("inet").run(move || UdpSocket::bind(at).unwrap()).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let client = udp_socket(site.host("lan1"));
    client.send_to(b"?", at).unwrap();
    let Ok((_, from)) = server.recv_from(&mut [0; 64]) else { return };
    // Dies in the router, which says so to the outside.
    server.set_ttl(2).unwrap();
    server.send_to(b"out of hops", from).unwrap();
    server.set_ttl(64).unwrap();
    // The LAN host has closed its port and says so.
    drop(client);
    server.send_to(b"too late", from).unwrap();
    // A LAN host's packets die at the ISP, which quotes what it saw.
    let client = udp_socket(site.host("lan2"));
    client.set_ttl(2).unwrap();
    client.send_to(b"?", at).unwrap();
}

fn ping_for_a_while(site: &Site) -> std::process::Child {
    let mut command = site.host("lan2").command("ping");
    command.args(["-q", "-i", "0.02", "-c", "150", "-W", "1", "8.8.8.8"]);
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

fn judge(line: &str, seen: &Seen, own: std::net::Ipv4Addr) {
    println!("{line}: {:?} from {:?}", seen.kinds, seen.sources);
    assert!(seen.leaks.is_empty(), "{line}: {:#?}", seen.leaks);
    assert_eq!(seen.sources.keys().collect::<Vec<_>>(), [&own], "{line}");
    for kind in ["arp", "icmp", "tcp", "udp"] {
        assert!(seen.kinds.get(kind).is_some_and(|n| *n > 0), "{line} saw no {kind}: {:?}", seen.kinds);
    }
}

#[test]
fn x_2_the_outside_sees_wan_addresses_only() {
    let Some(site) = Site::start(&usual()) else { return };
    let isp1 = Capture::start(site.host("isp1"), ISP_PORT);
    let isp2 = Capture::start(site.host("isp2"), ISP_PORT);
    let mut traffic = Traffic::start(&site.lab).unwrap();
    assert!(traffic.flows(Duration::from_secs(5), &Stop::default()));
    let mut ping = ping_for_a_while(&site);
    provoke(&site, 9001);
    std::thread::sleep(Duration::from_millis(700));

    let seq = site.seq();
    site.lab.link_down("isp1").unwrap();
    site.event_after(seq, "failover", Duration::from_secs(3));
    provoke(&site, 9002);
    // A download that hears nothing gives up after two seconds and calls again.
    assert!(eventually(Duration::from_secs(6), || traffic.downloads.callers().contains(&WAN2)));

    let seq = site.seq();
    site.lab.link_up("isp1").unwrap();
    site.event_after(seq, "failback", Duration::from_secs(8));
    assert!(traffic.stream.dial());
    assert!(eventually(Duration::from_secs(2), || traffic.stream.source() == WAN1));
    provoke(&site, 9003);

    let seq = site.seq();
    site.lab.blackhole("isp1").unwrap();
    site.event_after(seq, "failover", Duration::from_secs(4));
    assert!(eventually(Duration::from_secs(2), || traffic.stream.source() == WAN2));
    site.lab.heal("isp1").unwrap();
    ping.wait().unwrap();
    traffic.finish();

    judge("isp1", &isp1.stop(), WAN1);
    judge("isp2", &isp2.stop(), WAN2);
    assert_eq!(traffic.sources().into_keys().collect::<Vec<_>>(), [WAN2, WAN1]);
}
