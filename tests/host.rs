//! The host under the router: what it gets and what not, what it may send and which way that goes, and that no flood at the
//! router's address takes more than its share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;
use turnout::base::IfaceId;
use turnout::base::Mac;
use turnout::table::routes::Route;
use turnout::wire::arp::{Arp, Op};

const ALL: Ipv4Addr = Ipv4Addr::BROADCAST;
const NEAR_ALL: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 255);

fn hosted(more: &str, workers: usize) -> Site {
    let mut site = Site::new(&(DUAL_WAN.to_owned() + more), workers).unwrap();
    meet(&mut site);
    site.attach_host();
    site
}

fn each(more: &str, test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = hosted(more, workers);
        site.use_queue(queue);
        test(site);
    }
}

/// A packet arrives: how many come out of the router, and by which devices the host gets it.
fn arrives(site: &mut Site, link: &str, packet: &Packet) -> (usize, Vec<String>) {
    let out = site.send(link, packet).len();
    let heard = site.host_heard();
    for (_, seen) in &heard {
        assert_eq!(
            (seen.ip.src, seen.ip.dst, &seen.payload),
            (packet.ip.src, packet.ip.dst, &packet.payload)
        );
    }
    (out, heard.into_iter().map(|(link, _)| link).collect())
}

fn to_all(site: &mut Site, packet: &Packet, to: Mac) -> usize {
    let mac = Mac([2, 0, 0, 3, 10, 10]);
    assert!(site.send_raw("lan", &packet.frame(mac, to)).is_empty());
    site.host_got().len()
}

#[test]
fn what_is_for_the_router_from_inside_is_the_hosts_but_echoes() {
    each("", |mut site| {
        let lan = vec!["lan".to_owned()];
        let own = [
            Packet::tcp((H1, 5000), (LAN, 22), SYN, 41, 0, b""),
            Packet::tcp((H1, 5000), (LAN, 22), RST, 41, 0, b""),
            Packet::udp((H1, 5000), (LAN, 53), b"query").ttl(1),
            Packet::icmp(H1, LAN, 0, 0, 9, 1, b"an echo's reply"),
        ];
        for packet in own {
            assert_eq!(arrives(&mut site, "lan", &packet), (0, lan.clone()), "{packet:?}");
        }
        assert_eq!(arrives(&mut site, "lan", &Packet::ping(H1, LAN, 1, 1)), (1, vec![]));
        assert_eq!(arrives(&mut site, "lan", &Packet::icmp(H1, LAN, 5, 1, 0, 0, &[69; 28])), (0, vec![]));
        assert_eq!(live(&mut site), 0);
        site.finish(&["to_host", "drop_icmp_redirect"]).unwrap();
    });
}

#[test]
fn from_a_wan_the_host_gets_what_a_rule_lets_in_and_nothing_else() {
    let rule = "firewall: [{ in: isp1, to: self, protocol: [tcp], port: 2222, action: accept }]\n";
    for (rule, open) in [("", false), (rule, true)] {
        each(rule, |mut site| {
            for (link, to, port) in
                [("isp1", P1, 22), ("isp1", P1, 53), ("isp2", P2, 2222), ("isp1", LAN, 22)]
            {
                let syn = Packet::tcp((E1, 5000), (to, port), SYN, 1, 0, b"");
                assert_eq!(arrives(&mut site, link, &syn), (0, vec![]), "{link} {to}:{port}");
                let query = Packet::udp((E1, 5000), (to, port), b"x");
                assert_eq!(arrives(&mut site, link, &query), (0, vec![]), "{link} {to}:{port}");
            }
            let mut group = Packet::udp((G1, 68), (ALL, 67), b"who is there");
            let mac = Mac([2, 0, 0, 0, 2, 1]);
            assert!(site.send_raw("isp1", &group.frame(mac, Mac::BROADCAST)).is_empty());
            group.ip.dst = Ipv4Addr::new(224, 0, 0, 5);
            assert!(site.send_raw("isp1", &group.frame(mac, Mac([1, 0, 0x5e, 0, 0, 5]))).is_empty());
            let syn = Packet::tcp((E1, 5000), (P1, 2222), SYN, 1, 0, b"");
            assert_eq!(arrives(&mut site, "isp1", &syn).1.len(), usize::from(open));
            let mut moved =
                vec!["drop_nat_no_mapping", "drop_wan_transit", "drop_broadcast", "drop_multicast"];
            if open {
                moved.push("to_host");
                // The answer leaves as it is, by the WAN of the question.
                let answer = Packet::tcp((P1, 2222), (E1, 5000), SYN | ACK, 9, 2, b"");
                let out = site.host_sends("lan", &answer, None);
                assert_eq!((out.len(), out[0].0.as_str()), (1, "isp1"));
                assert_eq!((out[0].1.src(), out[0].1.dst()), ((P1, 2222), (E1, 5000)));
                moved.push("from_host");
            }
            assert_eq!(live(&mut site), 0);
            site.finish(&moved).unwrap();
        });
    }
}

#[test]
fn the_firewall_guards_the_host_from_inside() {
    let rules = "firewall:
  - { in: lan, to: self, from: 192.168.10.10, protocol: [tcp], port: [22], action: accept }
  - { in: lan, to: self, protocol: [tcp], action: reject }
  - { in: lan, to: self, protocol: [udp], port: 67, action: drop }
";
    each(rules, |mut site| {
        let ssh = |from| Packet::tcp((from, 5000), (LAN, 22), SYN, 1, 0, b"");
        assert_eq!(arrives(&mut site, "lan", &ssh(H1)).1.len(), 1);
        assert_eq!(arrives(&mut site, "lan", &ssh(H2)), (1, vec![]));
        let dhcp = Packet::udp((Ipv4Addr::UNSPECIFIED, 68), (ALL, 67), b"discover");
        assert_eq!(to_all(&mut site, &dhcp, Mac::BROADCAST), 0);
        site.finish(&["to_host", "drop_firewall", "drop_firewall_rejected", "icmp_errors_sent"]).unwrap();
    });
}

#[test]
fn the_host_hears_what_is_for_all_on_a_link_inside() {
    each("", |mut site| {
        let none = Ipv4Addr::UNSPECIFIED;
        let ospf = Ipv4Addr::new(224, 0, 0, 5);
        let group = Mac([1, 0, 0x5e, 0, 0, 5]);
        for (src, dst, mac, heard) in [
            (none, ALL, Mac::BROADCAST, 1),
            (H1, ALL, Mac::BROADCAST, 1),
            (H1, NEAR_ALL, Mac::BROADCAST, 1),
            (H1, ospf, group, 1),
            (none, ospf, group, 1),
            // not behind the LAN, or the router's own
            (E1, ospf, group, 0),
            (LAN, ALL, Mac::BROADCAST, 0),
            (P1, ALL, Mac::BROADCAST, 0),
            // another network's
            (H1, Ipv4Addr::new(203, 0, 113, 7), Mac::BROADCAST, 0),
            // for all, but not told to all
            (H1, ALL, Mac([2, 0, 0, 0, 1, 0]), 0),
            // the host alone, but told to all (RFC 1122 3.3.6)
            (H1, LAN, Mac::BROADCAST, 0),
        ] {
            let packet = Packet::udp((src, 68), (dst, 67), b"x");
            assert_eq!(to_all(&mut site, &packet, mac), heard, "{src} {dst} {mac}");
        }
        site.finish(&["to_host", "drop_spoofed_source", "drop_broadcast", "drop_link_broadcast"]).unwrap();
    });
}

#[test]
fn the_hosts_own_flows_are_translated_as_any_inside_hosts_and_follow_a_failover() {
    each("", |mut site| {
        let out = |site: &mut Site, packet: &Packet| {
            let mut out = site.host_sends("lan", packet, None);
            assert_eq!(out.len(), 1, "{packet:?}");
            out.pop().unwrap()
        };
        let (link, seen) = out(&mut site, &Packet::udp((LAN, 4000), (E1, 80), b"x"));
        let x = seen.src();
        assert_eq!((link.as_str(), x.0, seen.dst(), seen.ip.ttl), ("isp1", P1, (E1, 80), 63));
        // Back by the same, to the host and nobody else.
        let mut back = Packet::udp((E1, 80), x, b"y");
        assert_eq!(site.send("isp1", &back).len(), 0);
        let heard = site.host_heard();
        assert_eq!((heard.len(), heard[0].0.as_str(), heard[0].1.dst()), (1, "lan", (LAN, 4000)));
        // An error about it as well.
        let sent = seen.header.iter().chain(&seen.payload).copied().collect::<Vec<_>>();
        assert_eq!(site.send("isp1", &Packet::icmp(E1, P1, 3, 3, 0, 0, &sent)).len(), 0);
        let heard = site.host_heard();
        assert_eq!((heard.len(), heard[0].1.ip.dst, error(&heard[0].1)), (1, LAN, Some((3, 3, 0))));
        // It is nobody else's from a wire, though the flow is known.
        let spoofed = Packet::udp((LAN, 4000), (E1, 80), b"x");
        assert_eq!(site.send("lan", &spoofed), []);
        // By an address on a WAN it stays there.
        let (link, seen) = out(&mut site, &Packet::udp((P2, 4001), (E1, 80), b"x"));
        assert_eq!((link.as_str(), seen.src().0), ("isp2", P2));
        assert_eq!(site.send("isp2", &Packet::udp((E1, 80), seen.src(), b"y")).len(), 0);
        let heard = site.host_heard();
        assert_eq!((heard.len(), heard[0].0.as_str(), heard[0].1.dst()), (1, "isp2", (P2, 4001)));
        site.set_link("isp1", false);
        site.take_all();
        let (link, seen) = out(&mut site, &Packet::udp((LAN, 4000), (E1, 80), b"x"));
        assert_eq!((link.as_str(), seen.src().0), ("isp2", P2));
        back = Packet::udp((E1, 80), seen.src(), b"y");
        assert_eq!(site.send("isp2", &back).len(), 0);
        assert_eq!(site.host_heard().len(), 1);
        let moved = ["to_host", "from_host", "drop_spoofed_source", "icmp_errors_translated"];
        site.finish(&and(&[&OPENED, &moved, &["mappings_moved", "sessions_moved"]])).unwrap();
    });
}

#[test]
fn what_becomes_of_the_hosts_flows_is_told_to_the_host() {
    let rules = "firewall: [{ in: lan, to: 8.0.0.0/8, action: reject }]\n";
    each(rules, |mut site| {
        let (_, x) = {
            let mut out = site.host_sends("lan", &Packet::tcp((LAN, 4000), (E1, 80), SYN, 1, 0, b""), None);
            let (link, seen) = out.pop().unwrap();
            (link, seen.src())
        };
        let answer = Packet::tcp((E1, 80), x, SYN | ACK, 9000, 2, b"");
        assert_eq!(site.send("isp1", &answer).len(), 0);
        assert_eq!(site.host_heard().len(), 1);
        site.host_sends("lan", &Packet::tcp((LAN, 4000), (E1, 80), ACK, 2, 9001, b""), None);
        // Forbidden: ICMP 3/13. The TTL has run out: 11/0.
        for (packet, said) in [
            (Packet::udp((LAN, 1), (E2, 80), b"x"), (3, 13, 0)),
            (Packet::udp((LAN, 1), (E1, 80), b"x").ttl(1), (11, 0, 0)),
        ] {
            assert_eq!(site.host_sends("lan", &packet, None), []);
            let heard = site.host_heard();
            assert_eq!((heard.len(), error(&heard[0].1), heard[0].1.ip.dst), (1, Some(said), LAN));
        }
        // A TCP session that cannot follow is reset.
        site.set_link("isp1", false);
        site.run_ms(1200);
        let heard = site.host_heard();
        assert!(heard.iter().any(|(_, seen)| seen.tcp().is_some_and(|tcp| tcp.flags.rst())), "{heard:?}");
        let moved =
            ["to_host", "from_host", "drop_firewall_rejected", "drop_ttl_expired", "icmp_errors_sent"];
        site.finish(&and(&[&OPENED, &moved, &["sessions_reset", "tcp_resets_sent"]])).unwrap();
    });
}

#[test]
fn to_its_neighbours_the_host_speaks_as_it_is_and_only_by_its_own_addresses() {
    each("", |mut site| {
        let mac = Mac([2, 0, 0, 3, 10, 10]);
        let out = site.host_sends("lan", &Packet::udp((LAN, 53), (H1, 5000), b"answer").ttl(1), Some(mac));
        assert_eq!((out.len(), out[0].0.as_str(), out[0].1.eth.dst, out[0].1.ip.ttl), (1, "lan", mac, 1));
        let offer = Packet::udp((LAN, 67), (ALL, 68), b"offer");
        assert_eq!(site.host_sends("lan", &offer, Some(Mac::BROADCAST)).len(), 1);
        let own = site.view().ifaces[0].mac;
        let request = Arp::request(own, LAN, H1, None);
        assert_eq!(site.host_sends_raw("lan", &request).len(), 1);
        site.run_ms(1);
        let got = site.host_got();
        assert_eq!(got.len(), 1, "the answer");
        let answer = Arp::parse(&got[0].1[14..]).unwrap();
        assert_eq!((answer.op, answer.sender_ip), (Op::Reply, H1));
        // Others' addresses, to either side; what is no IPv4; into nowhere; to another address of the router's.
        let stray = [
            (Packet::udp((H2, 53), (H1, 5000), b"x"), Some(mac), "lan"),
            (Packet::udp((H2, 53), (E1, 5000), b"x"), None, "lan"),
            (Packet::udp((LAN, 53), (ALL, 5000), b"x"), None, "lan"),
            (Packet::udp((LAN, 53), (P1, 5000), b"x"), None, "lan"),
            (Packet::udp((H2, 53), (E1, 5000), b"x"), None, "isp1"),
            (Packet::udp((P1, 53), (ALL, 5000), b"x"), Some(Mac::BROADCAST), "isp1"),
            (Packet::udp((LAN, 53), (Ipv4Addr::new(127, 0, 0, 1), 5000), b"x"), None, "lan"),
        ];
        for (packet, to, link) in stray {
            assert_eq!(site.host_sends(link, &packet, to), [], "{packet:?}");
        }
        let reply = Arp { op: Op::Reply, sender_mac: own, sender_ip: LAN, target_mac: mac, target_ip: H1 };
        for (link, frame) in [
            ("lan", reply.frame(own, mac).to_vec()),
            ("lan", Arp::request(own, H2, H1, None).to_vec()),
            ("isp1", Arp::request(site.view().ifaces[1].mac, P1, G1, None).to_vec()),
            ("lan", vec![0; 13]),
            ("lan", vec![0; 60]),
            ("lan", Packet::udp((LAN, 1), (E1, 1), b"x").frame(own, own)[..30].to_vec()),
        ] {
            assert!(site.host_sends_raw(link, &frame).is_empty());
        }
        assert_eq!(live(&mut site), 0);
        let moved = ["from_host", "to_host", "drop_host_stray", "drop_spoofed_source", "drop_ipv4_truncated"];
        site.finish(&moved).unwrap();
    });
}

#[test]
fn fragments_to_and_from_the_host_stay_together() {
    each("", |mut site| {
        let whole = Packet::udp((H1, 5000), (LAN, 2049), &[7; 64]);
        let parts = |whole: &Packet| {
            let cut = |from: usize, to: usize| {
                let mut part = whole.clone();
                part.payload = whole.payload[from..to].to_vec();
                part.ip.fragment_offset = from as u16;
                part.ip.dont_fragment = false;
                part.ip.more_fragments = to < whole.payload.len();
                part.ip.total_len = (20 + part.payload.len()) as u16;
                part
            };
            [cut(0, 24), cut(24, 72)]
        };
        let [first, second] = parts(&whole);
        assert_eq!(arrives(&mut site, "lan", &first).1.len(), 1);
        assert_eq!(arrives(&mut site, "lan", &second).1.len(), 1);
        // Out: both by the same endpoint.
        let [first, second] = parts(&Packet::udp((LAN, 4000), (E1, 80), &[7; 64]));
        let a = site.host_sends("lan", &first, None);
        let b = site.host_sends("lan", &second, None);
        assert_eq!((a.len(), b.len(), a[0].1.ip.id), (1, 1, b[0].1.ip.id));
        assert_eq!((a[0].1.ip.src, b[0].1.ip.src), (P1, P1));
        // And back to it.
        let [first, second] = parts(&Packet::udp((E1, 80), a[0].1.src(), &[8; 64]));
        assert!(site.send("isp1", &first).is_empty() && site.send("isp1", &second).is_empty());
        let heard = site.host_heard();
        assert!(heard.len() == 2 && heard.iter().all(|(_, seen)| seen.ip.dst == LAN), "{heard:?}");
        site.finish(&and(&[&OPENED, &["to_host", "from_host"]])).unwrap();
    });
}

#[test]
fn a_flood_at_the_router_is_held_to_its_rate_and_a_full_ring_to_its_room() {
    let mut site = hosted("", 1);
    let syn = |n: u32| Packet::tcp((H1, 1024 + (n % 60000) as u16), (LAN, 22), SYN, n, 0, b"");
    // Nobody takes anything: what the ring holds, and no more.
    flood(&mut site, "lan", (0..2000).map(syn));
    assert_eq!((site.moved("to_host"), site.host_got().len()), (512, 512));
    assert_eq!(site.moved("drop_host_full"), 1488);
    // As fast as it is taken: the rate. 100 ms are saved up at most.
    site.run_ms(200);
    let mut got = 0;
    for burst in 0..500u32 {
        flood(&mut site, "lan", (0..200).map(|n| syn(burst * 200 + n)));
        got += site.host_got().len();
    }
    assert!((10_000..=12_100).contains(&got), "{got} of 100000 in half a second");
    // A storm for all takes nobody's room.
    let storm = Packet::udp((H1, 68), (ALL, 67), b"x").frame(Mac([2, 0, 0, 3, 10, 10]), Mac::BROADCAST);
    site.run_ms(200);
    for _ in 0..1000 {
        site.put_raw("lan", &storm);
    }
    site.run_ms(10);
    assert!((100..=112).contains(&site.host_got().len()));
    assert_eq!(arrives(&mut site, "lan", &syn(1)).1.len(), 1);
    // Nor does it touch what is forwarded.
    assert!(udp_out(&mut site, (H1, 5000), (E1, 80)).is_some());
    site.finish(&and(&[&OPENED, &["to_host", "drop_host_full", "drop_host_limit"]])).unwrap();
}

#[test]
fn routes_of_the_hosts_kernel_are_followed_and_withdrawn_and_the_profiles_come_first() {
    let far = |last: u8| Ipv4Addr::new(10, 77, 0, last);
    let route = |net: &str, via| Route { net: net.parse().unwrap(), iface: IfaceId(0), via: Some(via) };
    each("routes: [{ to: 10.77.0.128/25, via: 192.168.10.11 }]\n", |mut site| {
        let to = |site: &mut Site, dst| {
            let out = site.send("lan", &Packet::udp((H1, 5), (dst, 6), b"x"));
            (out.len() == 1).then(|| (out[0].0.clone(), out[0].1.eth.dst.0[5]))
        };
        assert!(to(&mut site, far(1)).is_some_and(|(link, _)| link == "isp1"), "no route");
        let both = vec![route("10.77.0.128/25", H1), route("10.77.0.0/24", H2)];
        site.host_routes(both.clone(), 3);
        assert_eq!(to(&mut site, far(1)), Some(("lan".into(), 11)));
        assert_eq!(to(&mut site, far(200)), Some(("lan".into(), 11)), "the profile's");
        // From there as well: it is no spoofed source any more.
        assert!(site.pass("lan", &Packet::udp((far(1), 5), (E1, 80), b"x")).is_some());
        // Through a failover and a reload they stay, and go when they are withdrawn.
        site.set_link("isp2", false);
        assert_eq!(to(&mut site, far(1)), Some(("lan".into(), 11)));
        site.reload(&(DUAL_WAN.replace("192.168.10.1/24", "192.168.10.1/24, 172.16.0.1/24")), None).unwrap();
        assert_eq!(site.host_told().len(), 1, "an address has come");
        assert_eq!(to(&mut site, far(1)), Some(("lan".into(), 11)));
        assert_eq!(to(&mut site, far(200)), Some(("lan".into(), 10)), "the profile's is gone");
        site.host_routes(vec![], 0);
        assert!(to(&mut site, far(1)).is_some_and(|(link, _)| link == "isp1"));
        let told = site.events("route");
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0]["added"][0], "10.77.0.128/25 via 192.168.10.10 dev lan");
        assert_eq!((&told[0]["not_followed"], &told[1]["followed"]), (&3.into(), &0.into()));
        assert_eq!(told[1]["withdrawn"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_port_that_a_rule_opens_to_the_host_is_nobody_elses() {
    let port = 40_000;
    let mine = |rule: &str| {
        let mut site = Site::new(&(unlimited(200_000, "") + rule), 1).unwrap();
        site.attach_host();
        meet(&mut site);
        // All of the pool: was it among them?
        let flows = (0..64_512u32).map(|n| Packet::udp((H1, 1024 + n as u16), (E1, 80), b"x"));
        let out = flood(&mut site, "lan", flows);
        assert!(out.len() > 60_000, "{}", out.len());
        out.iter().filter(|(_, seen)| seen.src() == (P1, port)).count()
    };
    assert_eq!(mine(""), 1);
    let rule = |more: &str| format!("firewall: [{{ to: self, {more}, action: accept }}]\n");
    assert_eq!(mine(&rule("in: isp1, protocol: [udp], port: 40000")), 0);
    assert_eq!(mine(&rule("protocol: [tcp, udp], port: [22, 40000]")), 0);
    assert_eq!(mine(&rule("in: isp2, protocol: [udp], port: 40000")), 1);
}
