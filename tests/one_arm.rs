//! One arm: a WAN on whose wire the inside hosts are as well, told apart by `nat.inside`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use turnout::base::Mac;
use turnout::sim::frames::End;
use turnout::wire::arp::{Arp, Op};

const ARM: &str = "version: 1
interfaces:
  dmz: { port: \"linux:dmz0\", addresses: [192.168.50.10/24, 10.1.0.1/24], gateway: 192.168.50.1 }
wans: [dmz]
nat: { inside: [10.1.0.0/16] }
groups: { default: { when_none_fit: unreachable } }
routes: [{ to: 10.1.64.0/18, via: 192.168.50.2 }, { to: 10.1.32.0/20, via: 192.168.50.1 }]
forwards: [{ protocol: [udp], port: 9000, to: \"10.1.0.5:9000\" }]
";
/// The inside half.
const IN: &str = "dmz-inside";
const OUT: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 10);
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 6);
/// A host behind the router `HOP`, and one behind the gateway.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 1, 64, 5);
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 1, 32, 5);
const HOP: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 1);
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 77);

fn arm(profile: &str, workers: usize, queue: usize) -> Site {
    let mut site = Site::new(profile, workers).unwrap();
    site.add_host(IN, HOST);
    site.add_host(IN, OTHER);
    site.add_host("dmz", HOP);
    site.add_host("dmz", STRANGER);
    site.use_queue(queue);
    site
}

/// On every shape, without a tag and with one.
fn each(test: impl Fn(Site)) {
    for profile in [ARM.to_owned(), ARM.replace("dmz0\",", "dmz0\", vlan: 50,")] {
        for (workers, queue) in SHAPES {
            let mut site = arm(&profile, workers, queue);
            for (link, host, own) in [(IN, HOST, INSIDE), (IN, OTHER, INSIDE), ("dmz", STRANGER, OUT)] {
                site.pass(link, &Packet::ping(host, own, 1, 1)).unwrap();
            }
            test(site);
        }
    }
}

/// A datagram; the one packet that comes of it, and where.
fn pass(site: &mut Site, link: &str, src: End, dst: End) -> (String, Seen) {
    let out = site.send(link, &Packet::udp(src, dst, b"data"));
    assert_eq!(out.len(), 1, "{src:?} > {dst:?}: {out:?}: {:?}", site.counters());
    out.into_iter().next().unwrap()
}

#[test]
fn what_comes_in_by_a_port_goes_out_by_it_translated() {
    each(|mut site| {
        for round in 0..3 {
            let (link, seen) = pass(&mut site, IN, (HOST, 5000), (E1, 53));
            assert_eq!((link.as_str(), seen.ip.src, seen.ip.ttl), ("dmz", OUT, 63), "{round}");
            assert_eq!(seen.eth.dst, Mac([2, 0, 0, 0, 2, 0]), "the gateway's");
            let (link, seen) = pass(&mut site, "dmz", (E1, 53), seen.src());
            assert_eq!((link.as_str(), seen.dst()), (IN, (HOST, 5000)));
        }
        // To a host of the DMZ, which sees the router's address there, and goes past the gateway
        let (link, seen) = pass(&mut site, IN, (HOST, 5001), (STRANGER, 80));
        assert_eq!((link.as_str(), seen.ip.src, seen.eth.dst), ("dmz", OUT, Mac([2, 0, 0, 3, 50, 77])));
        // From outside by a forward, and from inside by the same outside address
        let (link, seen) = pass(&mut site, "dmz", (STRANGER, 7), (OUT, 9000));
        assert_eq!((link.as_str(), seen.ip.src, seen.dst()), (IN, STRANGER, (HOST, 9000)));
        let (link, seen) = pass(&mut site, IN, (OTHER, 7000), (OUT, 9000));
        assert_eq!((link.as_str(), seen.ip.src, seen.dst()), (IN, OUT, (HOST, 9000)));
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn hosts_behind_a_router_on_the_wire_are_reached_by_it_and_no_redirect_is_sent() {
    each(|mut site| {
        for (host, mac) in [(FAR, Mac([2, 0, 0, 3, 50, 2])), (BEHIND, Mac([2, 0, 0, 0, 2, 0]))] {
            let (link, out) = pass(&mut site, IN, (host, 5000), (E1, 53));
            assert_eq!((link.as_str(), out.ip.src), ("dmz", OUT));
            // The router is asked for by the address of its own network.
            let frame = site.frame_of("dmz", &Packet::udp((E1, 53), out.src(), b"data"));
            let sent = site.send_raw("dmz", &frame);
            for asked in sent.iter().filter_map(|(_, frame)| Arp::parse(&frame[14..])) {
                assert_eq!((asked.op, asked.sender_ip), (Op::Request, OUT), "{asked:?}");
            }
            let seen: Vec<Seen> = sent.iter().filter_map(|(_, frame)| Seen::read(frame)).collect();
            assert_eq!((seen.len(), seen[0].dst(), seen[0].eth.dst), (1, (host, 5000), mac));
            // From inside to inside: in and out by the same wire, and nobody is told to go another way.
            let (link, seen) = pass(&mut site, IN, (HOST, 1), (host, 2));
            assert_eq!((link.as_str(), seen.ip.src, seen.eth.dst), (IN, HOST, mac));
            assert_eq!(seen.icmp(), None);
            let (_, seen) = pass(&mut site, IN, (host, 2), (HOST, 1));
            assert_eq!(seen.ip.src, host);
        }
        // The router moves: what is heard on the wire counts for both halves.
        let mac = Mac([2, 9, 9, 9, 9, 9]);
        site.put_raw("dmz", &Arp::announcement(mac, HOP));
        site.run_ms(2);
        site.take_all();
        let (_, seen) = pass(&mut site, IN, (HOST, 1), (FAR, 2));
        assert_eq!(seen.eth.dst, mac);
        site.finish(&and(&[&OPENED, &["drop_arp_not_for_us"]])).unwrap();
    });
}

#[test]
fn arp_is_answered_to_both_sides_and_for_nobody_else() {
    each(|mut site| {
        let mac = Mac([2, 0, 0, 3, 0, 5]);
        for (link, sender, target, answered) in [
            (IN, HOST, INSIDE, true),
            ("dmz", GATEWAY, OUT, true),
            (IN, HOST, OUT, true),
            ("dmz", HOP, INSIDE, true),
            (IN, HOST, Ipv4Addr::new(10, 1, 0, 77), false),
            ("dmz", STRANGER, GATEWAY, false),
            // A probe before an address is used (RFC 5227), of the router's own
            (IN, Ipv4Addr::UNSPECIFIED, INSIDE, true),
            ("dmz", Ipv4Addr::UNSPECIFIED, OUT, true),
        ] {
            let out = site.send_raw(link, &Arp::request(mac, sender, target, None));
            let replies: Vec<Arp> =
                out.iter().filter_map(|(_, f)| Arp::parse(&f[14..])).filter(|a| a.op == Op::Reply).collect();
            assert_eq!(replies.len(), usize::from(answered), "{sender} asks for {target}: {replies:?}");
            assert!(replies.iter().all(|reply| reply.sender_ip == target && reply.target_mac == mac));
        }
        site.finish(&["drop_arp_not_for_us"]).unwrap();
    });
}

#[test]
fn who_is_not_inside_gets_in_nowhere() {
    each(|mut site| {
        let refused = |site: &mut Site, link: &str, src, dst, counter: &str| {
            let before = site.moved(counter);
            assert_eq!(site.send(link, &Packet::udp(src, dst, b"")), [], "{src:?} > {dst:?}");
            assert_eq!(site.moved(counter), before + 1, "{src:?} > {dst:?}: {counter}");
        };
        refused(&mut site, "dmz", (STRANGER, 1), (HOST, 2), "drop_wan_transit");
        refused(&mut site, "dmz", (STRANGER, 1), (E1, 2), "drop_wan_transit");
        refused(&mut site, "dmz", (E1, 1), (FAR, 2), "drop_wan_transit");
        refused(&mut site, "dmz", (STRANGER, 1), (OUT, 5000), "drop_nat_no_mapping");
        // From an inside network that is nowhere, and with the router's own addresses
        refused(&mut site, IN, (Ipv4Addr::new(10, 1, 200, 1), 1), (E1, 2), "drop_spoofed_source");
        refused(&mut site, IN, (INSIDE, 1), (E1, 2), "drop_spoofed_source");
        refused(&mut site, "dmz", (OUT, 1), (OUT, 2), "drop_spoofed_source");
        // The router's own addresses answer inside, and that of the WAN outside.
        for (link, from, to) in [(IN, HOST, INSIDE), (IN, HOST, OUT), ("dmz", STRANGER, OUT)] {
            let (back, seen) = site.pass(link, &Packet::ping(from, to, 7, 7)).unwrap();
            assert_eq!((back.as_str(), seen.ip.src), (link, to));
        }
        refused_ping(&mut site);
        let counters = ["drop_wan_transit", "drop_nat_no_mapping", "drop_spoofed_source"];
        site.finish(&counters).unwrap();
    });
}

fn refused_ping(site: &mut Site) {
    assert_eq!(site.send("dmz", &Packet::ping(STRANGER, INSIDE, 7, 7)), []);
}

#[test]
fn errors_are_told_on_the_right_side_and_a_dead_gateway_to_those_inside() {
    each(|mut site| {
        let (link, seen) = site.pass(IN, &Packet::udp((HOST, 1), (E1, 2), b"x").ttl(1)).unwrap();
        assert_eq!((link.as_str(), seen.ip.src, error(&seen)), (IN, INSIDE, Some((11, 0, 0))));
        // Of a host behind a router of the DMZ: by the address that the router knows
        let (link, seen) = site.pass(IN, &Packet::udp((FAR, 1), (E1, 2), b"x").ttl(1)).unwrap();
        assert_eq!((link.as_str(), seen.ip.src, error(&seen)), (IN, OUT, Some((11, 0, 0))));
        // An error about a flow goes to its host.
        let (_, out) = pass(&mut site, IN, (HOST, 5000), (E1, 53));
        let mut quote = out.header.clone();
        quote.extend_from_slice(&out.payload);
        let told = Packet::icmp(GATEWAY, OUT, 3, 1, 0, 0, &quote);
        let (link, seen) = site.pass("dmz", &told).unwrap();
        assert_eq!((link.as_str(), seen.ip.dst, error(&seen)), (IN, HOST, Some((3, 1, 0))));
        assert_eq!(seen.quoted().unwrap().0.src, HOST);
        site.remove_host("dmz", GATEWAY);
        site.run_ms(3000);
        site.take_all();
        let (link, seen) = site.pass(IN, &Packet::udp((HOST, 6000), (E1, 2), b"x")).unwrap();
        assert_eq!((link.as_str(), error(&seen)), (IN, Some((3, 0, 0))));
        // Inside goes on: it needs no WAN.
        assert_eq!(pass(&mut site, IN, (FAR, 1), (HOST, 2)).0, IN);
        site.finish(&and(&[
            &OPENED,
            &["drop_ttl_expired", "icmp_errors_sent", "icmp_errors_translated", "drop_wan_none"],
        ]))
        .unwrap();
    });
}

#[test]
fn inside_and_wan_by_vlans_of_one_port_need_no_sorting_by_address() {
    let profile = "version: 1
interfaces:
  wan: { port: \"linux:p0\", vlan: 50, addresses: [192.168.50.10/24], gateway: 192.168.50.1 }
  lan: { port: \"linux:p0\", vlan: 10, addresses: [192.168.10.1/24] }
wans: [wan]
";
    for (workers, queue) in SHAPES {
        let mut site = Site::new(profile, workers).unwrap();
        site.use_queue(queue);
        meet(&mut site);
        let (link, seen) = pass(&mut site, "lan", (H1, 5000), (E1, 53));
        assert_eq!((link.as_str(), seen.ip.src), ("wan", OUT));
        assert_eq!(pass(&mut site, "wan", (E1, 53), seen.src()).0, "lan");
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn what_sorts_frames_needs_a_restart() {
    let mut site = arm(ARM, 1, 0);
    let other = ARM.replace("[10.1.0.0/16]", "[10.1.0.0/16, 10.7.0.0/16]");
    let refused = site.reload(&other, None).unwrap_err();
    assert!(refused.contains("nat.inside (on one arm)"), "{refused}");
    // The port was opened for what it carries.
    let longer = ARM.replace("gateway: 192.168.50.1 }", "gateway: 192.168.50.1, mtu: 9000 }");
    let refused = site.reload(&longer, None).unwrap_err();
    assert!(refused.contains("interfaces.dmz.mtu (above 1500)"), "{refused}");
    let routed = ARM.replace("10.1.64.0/18", "10.1.64.0/19");
    site.reload(&routed, None).unwrap();
    assert_eq!(pass(&mut site, IN, (FAR, 5000), (E1, 53)).0, "dmz");
}
