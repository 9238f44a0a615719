//! The routes of a lease (option 121, RFC 3442): whom what leaves by its WAN is handed to there, wherever it comes from.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "common/quotes.rs"]
mod quotes;
use common::*;
use quotes::{Flow, Kind, PORT, whole};

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use turnout::base::Mac;
use turnout::sim::LeaseServer;
use turnout::wire::arp::{Arp, Op};

const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 6);
/// Routers on the link: in the leased network, and beyond it
const NEAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);
const BEYOND: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
/// A station beyond the leased network that is on the link
const STATION: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 5);
/// Behind each of the routers
const BY_NEAR: Ipv4Addr = Ipv4Addr::new(172, 16, 7, 7);
const BY_BEYOND: Ipv4Addr = Ipv4Addr::new(172, 16, 200, 7);
const ON_LINK: [u8; 4] = [0; 4];

/// As `Site::add_host` has it.
fn mac(ip: Ipv4Addr) -> Mac {
    let [.., c, d] = ip.octets();
    Mac([2, 0, 0, 3, c, d])
}

fn profile() -> String {
    let by_hand = "addresses: [203.0.113.2/29], gateway: 203.0.113.1";
    assert!(DUAL_WAN.contains(by_hand));
    DUAL_WAN.replace(by_hand, "addresses: dhcp")
}

fn option(routes: &[([u8; 4], u8, [u8; 4])]) -> Vec<u8> {
    let bytes = |(to, len, router): &([u8; 4], u8, [u8; 4])| {
        [&[*len][..], &to[..usize::from(*len).div_ceil(8)], router].concat()
    };
    routes.iter().flat_map(bytes).collect()
}

/// The shorter prefix stands first.
fn routes() -> Vec<u8> {
    option(&[
        ([0; 4], 0, G1.octets()),
        ([172, 16, 0, 0], 12, NEAR.octets()),
        ([10, 9, 9, 9], 32, ON_LINK),
        ([172, 16, 200, 0], 24, BEYOND.octets()),
        ([198, 18, 5, 0], 24, ON_LINK),
    ])
}

fn server(routes: Option<Vec<u8>>, lease_s: u32) -> LeaseServer {
    let mut server = LeaseServer::new(SERVER, P1, G1, lease_s);
    server.options = vec![(1, vec![255, 255, 255, 248]), (3, G1.octets().to_vec())];
    server.options.extend(routes.map(|routes| (121, routes)));
    server
}

fn leased_as(text: &str, server: LeaseServer, workers: usize) -> Site {
    let mut site = Site::cold(text, workers).unwrap();
    site.lease_from("isp1", server);
    for station in [G1, NEAR, BEYOND, STATION] {
        site.add_host("isp1", station);
    }
    for link in ["lan", "isp1", "isp2"] {
        site.set_link(link, true);
    }
    site.begin(2000);
    assert_eq!(wan(&mut site)["state"], "up");
    site
}

fn leased(routes: Option<Vec<u8>>, workers: usize) -> Site {
    leased_as(&profile(), server(routes, 3600), workers)
}

fn wan(site: &mut Site) -> Value {
    site.ask(Request::Wans).unwrap()[0].clone()
}

/// Sends a packet, gives its next hop time to be found, and says to whom on isp1 it went, from which address.
fn sent(site: &mut Site, packet: &Packet) -> (Mac, End) {
    let mut out = site.send("lan", packet);
    if out.is_empty() {
        site.run_ms(20);
        out = taken(site);
    }
    out.retain(|(_, seen)| seen.dst() == (packet.ip.dst, 80));
    assert_eq!((out.len(), out[0].0.as_str()), (1, "isp1"), "{out:?}");
    (out[0].1.eth.dst, out[0].1.src())
}

fn hop(site: &mut Site, port: u16, to: Ipv4Addr) -> Mac {
    sent(site, &Packet::udp((H1, port), (to, 80), b"x")).0
}

const WAYS: [(Ipv4Addr, Ipv4Addr); 4] = [(E1, G1), (BY_NEAR, NEAR), (BY_BEYOND, BEYOND), (STATION, STATION)];

#[test]
fn rfc_3442_each_route_has_its_next_hop_and_all_else_goes_by_the_gateway() {
    for workers in [1, 2, 3] {
        let mut site = leased(Some(routes()), workers);
        for (to, by) in WAYS {
            // Of strangers on its link a WAN asks for two a second.
            site.run_ms(1_000);
            site.take_all();
            let (first, x) = sent(&mut site, &Packet::udp((H1, 5000), (to, 80), b"x"));
            assert_eq!((first, x.0), (mac(by), P1), "{to}");
            // Its flow, and others when the next hop is known.
            for port in [5000, 5001, 5002] {
                assert_eq!(hop(&mut site, port, to), mac(by), "{to} from {port}");
            }
            let tcp = Packet::tcp((H2, 5000), (to, 80), SYN, 1, 0, b"");
            assert_eq!(sent(&mut site, &tcp).0, mac(by), "{to} by TCP");
            let came = site.pass("isp1", &Packet::udp((to, 80), x, b"back"));
            assert_eq!(came.map(|(_, seen)| seen.dst()), Some((H1, 5000)), "{to}");
        }
        // A router is its own next hop, and so is whoever is in the leased network.
        for to in [BEYOND, NEAR, SERVER] {
            site.run_ms(1_000);
            site.take_all();
            let by = if to == SERVER { Mac([2, 0, 0, 0, 9, 9]) } else { mac(to) };
            assert_eq!(hop(&mut site, 5000, to), by, "{to}");
        }
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn rfc_3442_within_the_leased_network_a_longer_prefix_counts_and_one_of_its_length_does_not() {
    let apart = Ipv4Addr::new(203, 0, 113, 5);
    let routes =
        [([0; 4], 0, G1.octets()), ([203, 0, 113, 0], 29, NEAR.octets()), (apart.octets(), 32, G1.octets())];
    let mut site = leased(Some(option(&routes)), 1);
    assert_eq!(hop(&mut site, 5000, apart), mac(G1));
    assert_eq!(hop(&mut site, 5000, SERVER), Mac([2, 0, 0, 0, 9, 9]));
    assert_eq!(hop(&mut site, 5000, E1), mac(G1));
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_3442_routes_choose_no_wan() {
    let mut site = leased_as(
        &(profile() + "policy: [{ from: 192.168.10.11, use: isp2 }]\n"),
        server(Some(routes()), 3600),
        2,
    );
    assert_eq!(udp_out(&mut site, (H2, 5000), (BY_NEAR, 80)).unwrap().0, "isp2");
    site.set_link("isp1", false);
    site.run_ms(500);
    site.take_all();
    for (to, _) in WAYS {
        assert_eq!(udp_out(&mut site, (H1, 5000), (to, 80)).unwrap().0, "isp2", "{to}");
    }
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_3442_errors_answers_and_the_hosts_own_packets_go_by_the_route() {
    for workers in [1, 3] {
        let rule = "firewall: [{ in: isp1, to: self, protocol: [udp], port: 2222, action: accept }]\n";
        let mut site = leased_as(&(profile() + rule), server(Some(routes()), 3600), workers);
        site.attach_host();
        for (to, by) in [(BY_NEAR, NEAR), (BY_BEYOND, BEYOND), (E1, G1)] {
            assert_eq!(hop(&mut site, 4999, to), mac(by));
            let flow = Flow::open(&mut site, Kind::Udp, (H1, 5000), (to, 80));
            // What a host inside says of a packet.
            let (came, _) = flow.told_outside(H1, PORT, b"data", &whole());
            let (link, told) = site.pass("lan", &came).unwrap();
            assert_eq!((link.as_str(), told.eth.dst), ("isp1", mac(by)), "{to}");
            // What the host under the router says by the WAN's own address.
            let out = site.host_sends("lan", &Packet::udp((P1, 2222), (to, 80), b"x"), None);
            assert_eq!((out.len(), out[0].1.eth.dst, out[0].1.src()), (1, mac(by), (P1, 2222)), "{to}");
            // What the router says of a packet that came by the WAN.
            let late = Packet::udp((to, 80), flow.outside, b"late").ttl(1);
            let (link, told) = site.pass("isp1", &late).unwrap();
            assert_eq!((link.as_str(), told.eth.dst, told.ip.dst), ("isp1", mac(by), to));
        }
        let moved =
            ["from_host", "to_host", "icmp_errors_translated", "icmp_errors_sent", "drop_ttl_expired"];
        site.finish(&and(&[&OPENED, &moved])).unwrap();
    }
}

#[test]
fn rfc_3442_probes_go_by_the_route_and_who_is_beyond_the_network_is_heard() {
    let targets = format!("targets: {{ icmp: [{BY_BEYOND}], every: 500ms, timeout: 200ms }}");
    let text = profile().replace("wans: [isp1, isp2]", "wans: { isp1: { health: far }, isp2: {} }")
        + &format!("health: {{ far: {{ {targets} }} }}\n");
    let mut site = leased_as(&text, server(Some(routes()), 3600), 1);
    site.take_all();
    site.run_ms(1100);
    let pings: Vec<Mac> = taken(&mut site)
        .iter()
        .filter(|(link, seen)| link == "isp1" && seen.ip.dst == BY_BEYOND)
        .map(|(_, seen)| seen.eth.dst)
        .collect();
    assert!(pings.len() >= 2 && pings.iter().all(|by| *by == mac(BEYOND)), "{pings:?}");
    // Both ask for the router by ARP; a stranger gets no answer.
    let asks = |site: &mut Site, ip| {
        let out = site.send_raw("isp1", &Arp::request(mac(ip), ip, P1, None));
        out.iter().any(|(_, frame)| {
            Arp::parse(frame.get(14..).unwrap_or_default())
                .is_some_and(|arp| arp.op == Op::Reply && arp.target_ip == ip)
        })
    };
    assert!(asks(&mut site, BEYOND) && asks(&mut site, STATION));
    assert!(!asks(&mut site, Ipv4Addr::new(10, 9, 9, 8)));
    site.finish(&["drop_arp_malformed"]).unwrap();
}

#[test]
fn rfc_3442_a_lease_renewed_with_other_routes_is_one_new_view_and_sessions_stay() {
    let mut site = leased_as(&profile(), server(Some(routes()), 100), 2);
    let x = sent(&mut site, &Packet::udp((H1, 5000), (BY_NEAR, 80), b"x"));
    assert_eq!(x.0, mac(NEAR));
    let swapped = option(&[
        ([0; 4], 0, G1.octets()),
        ([172, 16, 7, 0], 24, BEYOND.octets()),
        ([10, 9, 9, 9], 32, ON_LINK),
    ]);
    for (now, by) in [(Some(swapped), BEYOND), (None, G1), (Some(routes()), NEAR), (Some(routes()), NEAR)] {
        let before = site.view().generation.0;
        let same = site.view().wans[0].hops.clone();
        site.lease_server("isp1", |s| s.options = server(now, 100).options);
        site.run_coarse(51, 10);
        site.take_all();
        let changed = u64::from(site.view().wans[0].hops != same);
        assert_eq!(site.view().generation.0, before + changed);
        assert_eq!(sent(&mut site, &Packet::udp((H1, 5000), (BY_NEAR, 80), b"x")), (mac(by), x.1));
    }
    assert_eq!(site.events("address").len(), 1);
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_3442_bytes_that_do_not_come_out_even_are_as_if_they_were_not_there() {
    let mut cut = routes();
    cut.pop();
    let long = [vec![33, 172, 16, 7, 7, 7], NEAR.octets().to_vec()].concat();
    for bytes in [cut, long, vec![], vec![255; 250], vec![24, 172], vec![0, 1, 2, 3]] {
        let mut site = leased(Some(bytes.clone()), 1);
        assert_eq!(wan(&mut site)["dhcp"]["routes"], json!([]), "{bytes:?}");
        assert_eq!(hop(&mut site, 5000, BY_NEAR), mac(G1), "{bytes:?}");
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn rfc_3442_routes_that_cannot_be_followed_are_left_out_and_told() {
    let stray = [192, 0, 2, 7];
    let mut all =
        vec![([0; 4], 0, G1.octets()), ([172, 16, 0, 0], 12, stray), ([9, 9, 9, 0], 24, [192, 168, 10, 9])];
    all.extend((0..18).map(|n| ([100, 64, n, 0], 24, NEAR.octets())));
    let mut site = leased(Some(option(&all)), 1);
    let said = "routes of the lease that are not followed: 2 by routers that are not on the link, 2 over 16";
    let told = site.events("dhcp");
    assert_eq!((told.len(), told[0]["reason"].as_str()), (1, Some(said)));
    assert_eq!(wan(&mut site)["dhcp"]["trouble"], said);
    for (to, by) in
        [(BY_NEAR, G1), (E1, G1), (Ipv4Addr::new(100, 64, 15, 1), NEAR), (Ipv4Addr::new(100, 64, 16, 1), G1)]
    {
        assert_eq!(hop(&mut site, 5000, to), mac(by), "{to}");
    }
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_3442_listings_and_explain_name_the_next_hop() {
    let mut site = leased(Some(routes()), 2);
    let shown = wan(&mut site)["dhcp"]["routes"].clone();
    let via = |to: &str, via: Option<Ipv4Addr>| json!({ "to": to, "via": via });
    assert_eq!(
        shown,
        json!([
            via("10.9.9.9/32", None),
            via("172.16.200.0/24", Some(BEYOND)),
            via("198.18.5.0/24", None),
            via("172.16.0.0/12", Some(NEAR))
        ])
    );
    for (to, says) in [
        (E1, "203.0.113.1, the gateway"),
        (BY_NEAR, "203.0.113.4, by a route of the lease"),
        (BY_BEYOND, "10.9.9.9, by a route of the lease"),
        (STATION, "198.18.5.5, on the link itself"),
    ] {
        let packet = format!("udp {H1}:5000 > {to}:80");
        let answer = site.ask(Request::Explain { packet, assume: Vec::new(), interface: None }).unwrap();
        let steps = answer["steps"].as_array().unwrap();
        assert!(steps.contains(&json!({ "step": "next hop", "says": says })), "{to}: {answer}");
    }
    site.finish(&[]).unwrap();
}
