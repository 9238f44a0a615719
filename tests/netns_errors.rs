//! ICMP errors about translated packets, as programs on both sides get them: traceroute, refused ports, a smaller MTU on the way.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use netns::{Site, eventually, raw_socket, udp_socket, usual};
use nix::sys::socket::{getsockopt, sockopt};
use turnout::demo::lab::{INTERNET, LAN1, WAN1};
use turnout::sim::Seen;
use turnout::wire::be16;

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
const ISP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// The next ICMP error that reaches the host about what this socket has sent: who says it, type, code.
fn told(frames: &mut File, socket: &UdpSocket) -> Option<(Ipv4Addr, u8, u8)> {
    let port = socket.local_addr().unwrap().port();
    let mut frame = [0u8; 2048];
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let Ok(length) = frames.read(&mut frame) else { continue };
        let Some(seen) = Seen::read(&frame[..length]) else { continue };
        if let (Some(icmp), Some((ip, segment))) = (seen.icmp(), seen.quoted())
            && (ip.src, be16(&segment, 0)) == (LAN1, port)
        {
            return Some((seen.ip.src, icmp.kind, icmp.code));
        }
    }
    None
}

#[test]
fn rfc5508_12_a_traceroute_shows_every_hop_by_udp_and_by_ping() {
    let Some(site) = Site::start(&usual()) else { return };
    let target = INTERNET[0];
    let mut frames = File::from(raw_socket(site.host("lan1"), "eth0").0);
    let hops = [(ROUTER, 11, 0), (ISP, 11, 0), (target, 3, 3)];
    for (ttl, hop) in (1..).zip(hops) {
        let socket = udp_socket(site.host("lan1"));
        socket.set_ttl(ttl).unwrap();
        let mut answer = None;
        let heard = eventually(Duration::from_secs(3), || {
            // A lost one is asked again, as traceroute does.
            let _ = socket.send_to(b"traceroute", SocketAddrV4::new(target, 33434));
            answer = told(&mut frames, &socket);
            answer.is_some()
        });
        assert!(heard && answer == Some(hop), "hop {ttl}: {answer:?}");
    }
    for (ttl, hop) in [("1", ROUTER), ("2", ISP)] {
        let mut command = site.host("lan1").command("ping");
        command.args(["-c", "3", "-i", "0.1", "-W", "1", "-t", ttl, &target.to_string()]);
        let text = netns::stdout(&netns::output_within(command, Duration::from_secs(10)));
        assert_eq!(text.matches(&format!("From {hop} icmp_seq=")).count(), 3, "{text}");
        assert!(text.contains("Time to live exceeded"), "{text}");
    }
    assert!(site.pings("lan1", target), "the third hop is the target");
    let counters = site.json(&["counters"]);
    assert!(counters["icmp_errors_translated"].as_u64().unwrap() >= 5, "{counters}");
}

/// Sends on a connected socket until the kernel says that the other end has refused it.
fn refused(socket: &UdpSocket) -> bool {
    eventually(Duration::from_secs(3), || {
        let sent = socket.send(b"anybody there?").and_then(|_| socket.recv(&mut [0; 64]));
        sent.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    })
}

#[test]
fn rfc4787_12a_a_closed_udp_port_gives_econnrefused_on_either_side() {
    let Some(site) = Site::start(&usual()) else { return };
    let closed = SocketAddrV4::new(INTERNET[0], 9009);
    let client = udp_socket(site.host("lan1"));
    client.connect(closed).unwrap();
    assert!(refused(&client), "inside");

    // The other way: the inside host leaves, and says so to who still speaks to it.
    let server = site.host("inet").run(move || UdpSocket::bind(closed).unwrap()).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut from = None;
    assert!(eventually(Duration::from_secs(3), || {
        client.send(b"now it is open").is_ok() && {
            from = server.recv_from(&mut [0; 64]).ok().map(|(_, from)| from);
            from.is_some()
        }
    }));
    drop(client);
    server.connect(from.unwrap()).unwrap();
    assert!(refused(&server), "outside");
    let counters = site.json(&["counters"]);
    assert!(counters["icmp_errors_translated"].as_u64().unwrap() >= 2, "{counters}");
}

/// Sends 4 MB from a LAN host to a server outside and back, by one connection; all of it arrives. Gives the longest segment that each
/// of them may send, in bytes.
fn both_ways(site: &Site, host: &str) -> [u32; 2] {
    const SIZE: usize = 4 << 20;
    let server = SocketAddrV4::new(INTERNET[0], 8081);
    let listener = site.host("inet").run(move || TcpListener::bind(server).unwrap()).unwrap();
    let content: Vec<u8> = (0..SIZE as u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    let echo = site.host("inet").spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut got = vec![0; SIZE];
        stream.read_exact(&mut got).unwrap();
        stream.write_all(&got).unwrap();
        getsockopt(&stream, sockopt::TcpMaxSeg).unwrap()
    });
    let echo = echo.unwrap();
    let sent = content.clone();
    let got = site.host(host).run(move || {
        let mut stream = TcpStream::connect_timeout(&server.into(), Duration::from_secs(3)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(&sent).unwrap();
        let mut got = vec![0; SIZE];
        stream.read_exact(&mut got).map(|()| (got, getsockopt(&stream, sockopt::TcpMaxSeg).unwrap()))
    });
    let (got, own) = got.unwrap().unwrap();
    assert!(got == content, "other bytes than were sent");
    [own, echo.join().unwrap()]
}

/// The MTU that a host has learned of the way to the server.
fn learned(site: &Site, host: &str) -> String {
    site.host(host).output("ip", &["route", "get", &INTERNET[0].to_string()], "").unwrap()
}

#[test]
fn rfc5508_s7_1_2_a_smaller_mtu_behind_the_gateway_is_found_and_all_bytes_arrive() {
    let Some(site) = Site::start(&usual()) else { return };
    // On the gateway's way out alone: the server still asks for segments of 1460 bytes.
    site.host("isp1").ip("link set core mtu 1300").unwrap();
    both_ways(&site, "lan1");
    let route = learned(&site, "lan1");
    assert!(route.contains("mtu 1300"), "{route}");
    let counters = site.json(&["counters"]);
    assert!(counters["icmp_errors_translated"].as_u64().unwrap() >= 1, "{counters}");
}

#[test]
fn a_narrow_wan_carries_all_bytes_by_shorter_segments_or_by_what_the_router_says_of_its_mtu() {
    let narrow = usual().replace("gateway: 203.0.113.1", "gateway: 203.0.113.1, mtu: 1400");
    let Some(mut site) = Site::start(&narrow) else { return };
    let route = site.host("isp1").output("ip", &["-o", "route", "get", &WAN1.to_string()], "").unwrap();
    let link = route.split_whitespace().skip_while(|word| *word != "dev").nth(1).unwrap().to_owned();
    site.host("isp1").ip(&format!("link set {link} mtu 1400")).unwrap();
    let count = |site: &Site, name: &str| site.json(&["counters"])[name].as_u64().unwrap();

    // Both SYNs are told: nobody sends what is too long, and nothing has to be said.
    let segments = both_ways(&site, "lan1");
    assert!(segments.iter().all(|most| (1200..=1360).contains(most)), "{segments:?}");
    assert!(count(&site, "mss_clamped") >= 2);
    assert_eq!((count(&site, "drop_fragmentation_needed"), count(&site, "icmp_errors_translated")), (0, 0));

    // A datagram that may not be cut is refused, with the MTU; the kernel cuts the next one itself.
    let at = SocketAddrV4::new(INTERNET[0], 9009);
    let server = site.host("inet").run(move || UdpSocket::bind(at).unwrap()).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let client = udp_socket(site.host("lan1"));
    let mut frames = File::from(raw_socket(site.host("lan1"), "eth0").0);
    client.send_to(&[7; 1472], at).unwrap();
    assert_eq!(told(&mut frames, &client), Some((ROUTER, 3, 4)));
    let route = learned(&site, "lan1");
    assert!(route.contains("mtu 1400"), "{route}");
    let mut got = [0; 2048];
    let whole = eventually(Duration::from_secs(3), || {
        let _ = client.send_to(&[7; 1472], at);
        server.recv(&mut got).is_ok_and(|length| length == 1472)
    });
    assert!(whole && got[..1472] == [7; 1472]);
    assert!(count(&site, "drop_fragmentation_needed") >= 1);

    // Without the clamp both ends believe in 1460 bytes until they are told: inside by the router, outside by its gateway.
    assert!(site.router.stop().unwrap().success(), "{}", site.router.said());
    site.router = netns::start(&site.lab, &(narrow + "nat: { mss_clamp: never }\n"));
    let segments = both_ways(&site, "lan2");
    assert!(segments.iter().all(|most| (1200..=1360).contains(most)), "{segments:?}");
    let route = learned(&site, "lan2");
    assert!(route.contains("mtu 1400"), "{route}");
    assert_eq!(count(&site, "mss_clamped"), 0);
    assert!(count(&site, "drop_fragmentation_needed") >= 1);
}
