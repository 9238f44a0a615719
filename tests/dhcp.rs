//! A WAN whose address comes by DHCP: it comes up by its lease, renews it by its own line, and loses it as it loses its gateway.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use serde_json::Value;
use turnout::base::Mac;
use turnout::sim::{LeaseAsked, LeaseServer};
use turnout::wire::arp::Arp;

const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 6);
const NEW: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 3);
const MOVED: [&str; 3] = ["mappings_moved", "sessions_moved", "sessions_reset"];

fn profile() -> String {
    let by_hand = "addresses: [203.0.113.2/29], gateway: 203.0.113.1";
    assert!(DUAL_WAN.contains(by_hand));
    DUAL_WAN.replace(by_hand, "addresses: dhcp, dhcp: { hostname: edge-1, reject_from: [192.168.100.1] }")
}

/// A site whose isp1 asks this server, `ms` after its links came.
fn started(text: &str, server: LeaseServer, ms: u64) -> Site {
    let mut site = Site::cold(text, 2).unwrap();
    site.lease_from("isp1", server);
    site.add_host("isp1", G1);
    for link in ["lan", "isp1", "isp2"] {
        site.set_link(link, true);
    }
    site.begin(ms);
    site
}

fn server(lease_s: u32) -> LeaseServer {
    LeaseServer::new(SERVER, P1, G1, lease_s)
}

/// With a lease, and up.
fn leased(lease_s: u32) -> Site {
    let mut site = started(&profile(), server(lease_s), 2000);
    assert_eq!(wan(&mut site)["state"], "up");
    site.lease_asked("isp1");
    site
}

fn wan(site: &mut Site) -> Value {
    site.ask(Request::Wans).unwrap()[0].clone()
}

fn addresses(site: &mut Site) -> Vec<(Value, Value, Value)> {
    let events = site.events("address");
    events.iter().map(|e| (e["from"].clone(), e["to"].clone(), e["cause"].clone())).collect()
}

/// Lets time pass; each frame is judged by the address of its moment.
fn watched(site: &mut Site, ms: u64) {
    for _ in 0..ms {
        site.run_ms(1);
        site.take_all();
    }
}

#[test]
fn rfc_2131_a_wan_comes_up_by_its_lease() {
    let mut site = started(&profile(), server(3600), 2000);
    let asked = site.lease_asked("isp1");
    let none = Ipv4Addr::UNSPECIFIED;
    let asks = |kind, wanted| LeaseAsked { kind, from: none, to: Ipv4Addr::BROADCAST, client: none, wanted };
    assert_eq!(asked, [asks(1, None), asks(3, Some(P1))]);
    site.lease_server("isp1", |server| assert_eq!(server.hostname, b"edge-1"));
    let shown = wan(&mut site);
    assert_eq!((shown["state"].as_str(), shown["address"].as_str()), (Some("up"), Some("203.0.113.2")));
    assert_eq!(
        (shown["gateway"].as_str(), shown["dhcp"]["state"].as_str()),
        (Some("203.0.113.1"), Some("bound"))
    );
    assert_eq!(
        (shown["dhcp"]["server"].as_str(), shown["dhcp"]["lease_s"].as_u64()),
        (Some("203.0.113.6"), Some(3598))
    );
    assert_eq!(site.ask(Request::Wans).unwrap()[1]["dhcp"], Value::Null);
    let (link, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), x.0), ("isp1", P1));
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)));
    assert_eq!(addresses(&mut site), [(Value::Null, "203.0.113.2".into(), "lease".into())]);
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_2131_without_a_server_it_is_down_and_says_nothing_but_what_dhcp_says() {
    let mut site = started(&profile(), LeaseServer { dead: true, ..server(3600) }, 0);
    // Somebody on the link looks for a free address, as RFC 5227 wants it: no conflict with one that is none.
    let other = Mac([2, 0, 0, 0, 7, 7]);
    site.put_raw("isp1", &Arp::request(other, Ipv4Addr::UNSPECIFIED, NEW, None));
    let mut sent = 0;
    for _ in 0..60 {
        site.run_ms(1000);
        for (link, frame) in site.take_all() {
            let seen = Seen::read(&frame);
            if link == "isp1" {
                assert!(seen.is_some_and(|s| s.src() == (Ipv4Addr::UNSPECIFIED, 68)), "{frame:?}");
                sent += 1;
            }
        }
    }
    assert_eq!(sent, 4, "after 4, 8, 16 and 32 s");
    let shown = wan(&mut site);
    assert_eq!((shown["state"].as_str(), shown["reason"].as_str()), (Some("down"), Some("no lease")));
    assert_eq!((&shown["address"], &shown["gateway"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["dhcp"]["trouble"], "no DHCP server answers");
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
    site.lease_server("isp1", |server| server.dead = false);
    site.run_ms(70_000);
    assert_eq!(wan(&mut site)["state"], "up");
    site.take_all();
    assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 80)).unwrap().0, "isp1");
    site.finish(&and(&[&OPENED, &["drop_arp_not_for_us"]])).unwrap();
}

#[test]
fn rfc_2131_it_renews_by_unicast_by_its_own_wan_and_nobody_notices() {
    let mut site = leased(100);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    for _ in 0..5 {
        site.run_coarse(51, 10);
        let asked = site.lease_asked("isp1");
        assert_eq!(asked, [LeaseAsked { kind: 3, from: P1, to: SERVER, client: P1, wanted: None }]);
        assert!(wan(&mut site)["dhcp"]["lease_s"].as_u64().unwrap() > 48);
        site.take_all();
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp1".into(), x)));
    }
    assert_eq!((site.events("address").len(), site.events("wan_state").len()), (1, 3));
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_2131_a_lease_that_runs_out_is_a_failover_and_another_one_is_a_return() {
    let mut site = leased(100);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
    assert_eq!((x.0, t.0), (P1, P1));
    site.lease_server("isp1", |server| server.dead = true);
    site.run_coarse(97, 10);
    let asked = site.lease_asked("isp1");
    assert!(asked.iter().all(|asked| (asked.kind, asked.from, asked.client) == (3, P1, P1)), "{asked:?}");
    assert!(
        asked.iter().any(|a| a.to == SERVER) && asked.iter().any(|a| a.to == Ipv4Addr::BROADCAST),
        "{asked:?}"
    );
    assert_eq!(wan(&mut site)["state"], "up", "it is good to the end");
    site.take_all();
    watched(&mut site, 1100);
    let shown = wan(&mut site);
    assert_eq!((shown["state"].as_str(), shown["reason"].as_str()), (Some("down"), Some("no lease")));
    let failovers = site.events("failover");
    assert_eq!((failovers.len(), failovers[0]["cause"].as_str()), (1, Some("no lease")));
    assert_eq!(addresses(&mut site)[1], ("203.0.113.2".into(), Value::Null, "the lease has expired".into()));
    assert_eq!(site.ask(Request::Why).unwrap()[0]["cause"], "no lease");
    site.run_ms(1000);
    assert_eq!(site.moved("sessions_reset"), 1, "what is bound to the address is told");
    site.take_all();
    let (link, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), y.0), ("isp2", P2));
    site.lease_server("isp1", |server| (server.dead, server.gives) = (false, NEW));
    site.run_coarse(90, 10);
    site.take_all();
    let (link, z) = udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), z.0), ("isp1", NEW));
    site.finish(&and(&[&OPENED, &MOVED, &["tcp_resets_sent"]])).unwrap();
}

#[test]
fn rfc_2131_a_nak_takes_the_address_back_at_once_and_the_next_one_is_another_address() {
    let mut site = leased(100);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    site.lease_server("isp1", |server| server.gives = NEW);
    watched(&mut site, 60_000);
    let told = addresses(&mut site);
    assert_eq!(told[1].2, "203.0.113.6 refuses the address");
    assert_eq!((&told[2].0, &told[2].1), (&Value::Null, &"203.0.113.3".into()));
    assert_eq!(wan(&mut site)["address"], "203.0.113.3");
    site.run_coarse(20, 10);
    site.take_all();
    assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().1.0, NEW);
    // Whoever was told the old address finds nobody there.
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), None);
    site.finish(&and(&[&OPENED, &["drop_wan_transit"]])).unwrap();
}

#[test]
fn rfc_3442_a_gateway_may_be_off_the_link_of_a_single_address() {
    let far = Ipv4Addr::new(10, 0, 0, 1);
    let routes = vec![32, 10, 0, 0, 1, 0, 0, 0, 0, 0, 10, 0, 0, 1];
    let options = vec![
        (1, vec![255; 4]),
        (121, routes),
        (3, vec![203, 0, 113, 1]),
        (26, vec![5, 0xd4]),
        (6, vec![9; 4]),
    ];
    let mut site = Site::cold(&profile(), 2).unwrap();
    site.lease_from("isp1", LeaseServer { options, ..server(3600) });
    site.add_host("isp1", far);
    for link in ["lan", "isp1", "isp2"] {
        site.set_link(link, true);
    }
    site.begin(2000);
    let shown = wan(&mut site);
    assert_eq!((shown["state"].as_str(), shown["gateway"].as_str()), (Some("up"), Some("10.0.0.1")));
    assert_eq!(
        (shown["dhcp"]["address"].as_str(), shown["dhcp"]["mtu"].as_u64()),
        (Some("203.0.113.2/32"), Some(1492))
    );
    assert_eq!(shown["dhcp"]["dns"], serde_json::json!(["9.9.9.9"]));
    assert_eq!(site.view().ifaces[1].mtu, 1492);
    let (link, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), x.0), ("isp1", P1));
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)));
    site.remove_host("isp1", far);
    site.run_ms(1500);
    assert_eq!(wan(&mut site)["reason"], "gateway silent");
    site.take_all();
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc_2131_an_offer_that_cannot_be_taken_is_told_and_not_taken() {
    let modem = Ipv4Addr::new(192, 168, 100, 1);
    let rejected = LeaseServer::new(modem, Ipv4Addr::new(192, 168, 100, 11), modem, 3600);
    let inside =
        LeaseServer::new(SERVER, Ipv4Addr::new(192, 168, 10, 99), Ipv4Addr::new(192, 168, 10, 254), 3600);
    for (server, why) in
        [(rejected, "`reject_from` names the server"), (inside, "overlaps one of the inside")]
    {
        let mut site = started(&profile(), server, 20_000);
        let told = site.events("dhcp");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0]["reason"].as_str().unwrap().contains(why), "{told:?}");
        assert_eq!(wan(&mut site)["reason"], "no lease");
        site.finish(&[]).unwrap();
    }
}

#[test]
fn rfc_5227_an_address_that_somebody_has_is_declined() {
    let mut site = Site::cold(&profile(), 1).unwrap();
    site.lease_from("isp1", server(3600));
    site.add_host("isp1", G1);
    site.add_host("isp1", P1);
    site.set_link("isp1", true);
    site.run_ms(2000);
    let kinds = |site: &mut Site| site.lease_asked("isp1").iter().map(|a| a.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&mut site), [1, 3, 4]);
    assert_eq!(wan(&mut site)["dhcp"]["trouble"], "203.0.113.2 is in use by another station");
    site.remove_host("isp1", P1);
    site.run_ms(11_000);
    assert_eq!(kinds(&mut site), [1, 3]);
    assert_eq!(wan(&mut site)["state"], "up");
}

#[test]
fn rfc_2131_a_link_that_returns_asks_for_the_same_address_and_sessions_are_as_after_any_lost_link() {
    let mut site = leased(3600);
    site.set_link("isp1", false);
    site.run_ms(500);
    site.set_link("isp1", true);
    site.run_ms(1000);
    let none = Ipv4Addr::UNSPECIFIED;
    let reboot = LeaseAsked { kind: 3, from: none, to: Ipv4Addr::BROADCAST, client: none, wanted: Some(P1) };
    assert_eq!(site.lease_asked("isp1"), [reboot]);
    let shown = wan(&mut site);
    assert_eq!(
        (shown["dhcp"]["state"].as_str(), shown["reason"].as_str()),
        (Some("bound"), Some("link lost"))
    );
    assert_eq!(site.events("address").len(), 1);
    site.run_ms(12_000);
    assert_eq!(wan(&mut site)["state"], "up");
    site.take_all();
    site.finish(&[]).unwrap();
}

/// A server's message is for this client by its Ethernet address in it, on a WAN that asks; any other one ends like any broadcast.
#[test]
fn rfc_2131_what_servers_say_to_others_is_not_heard() {
    let mut site = leased(3600);
    let mut message = vec![0; 300];
    message[..3].copy_from_slice(&[2, 1, 6]);
    for (link, client) in [("isp1", Mac([2, 0, 0, 0, 1, 7])), ("isp2", Mac([2, 0, 0, 0, 1, 2]))] {
        message[28..34].copy_from_slice(&client.0);
        let packet = Packet::udp((SERVER, 67), (Ipv4Addr::BROADCAST, 68), &message);
        let before = site.moved("drop_broadcast");
        site.put_raw(link, &packet.frame(Mac([2, 0, 0, 0, 9, 9]), Mac::BROADCAST));
        site.run_ms(1);
        assert_eq!(site.moved("drop_broadcast"), before + 1, "{link}");
    }
    // For this client, but a flood: some are heard.
    message[28..34].copy_from_slice(&Mac([2, 0, 0, 0, 1, 1]).0);
    for _ in 0..300 {
        let packet = Packet::udp((SERVER, 67), (Ipv4Addr::BROADCAST, 68), &message);
        site.put_raw("isp1", &packet.frame(Mac([2, 0, 0, 0, 9, 9]), Mac::BROADCAST));
        site.run_ms(1);
    }
    assert!((200..290).contains(&site.moved("drop_answer_limit")), "{}", site.moved("drop_answer_limit"));
    assert_eq!(wan(&mut site)["dhcp"]["state"], "bound");
    site.take_all();
    site.finish(&["drop_broadcast", "drop_answer_limit"]).unwrap();
}

#[test]
fn rfc_2131_a_server_that_answers_by_broadcast_is_heard_as_well() {
    let mut site = started(&profile(), LeaseServer { broadcast: true, ..server(3600) }, 2000);
    assert_eq!(wan(&mut site)["state"], "up");
    site.finish(&[]).unwrap();
}

#[test]
fn another_profile_keeps_the_lease_or_gives_it_up_and_by_hand_needs_a_restart() {
    let mut site = leased(3600);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let why = site.reload(DUAL_WAN, None).unwrap_err();
    assert!(why.contains("interfaces.isp1.addresses (by DHCP, or by hand)"), "{why}");
    assert_eq!(site.reload(&profile().replace("edge-1", "edge-2"), None).unwrap(), ["interfaces.isp1.dhcp"]);
    let rule = "firewall: [{ in: lan, to: 9.9.9.9, protocol: [udp], port: [53], action: drop }]\n";
    site.reload(&(profile() + rule), None).unwrap();
    site.run_ms(500);
    site.take_all();
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp1".into(), x)));
    assert_eq!((site.events("address").len(), wan(&mut site)["state"].as_str()), (1, Some("up")));
    site.reload(&profile().replace("192.168.100.1", "203.0.113.6"), None).unwrap();
    let shown = wan(&mut site);
    assert_eq!((shown["state"].as_str(), shown["address"].as_str()), (Some("down"), None));
    site.run_ms(500);
    site.take_all();
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
}

#[test]
fn every_decision_about_leases_is_the_same_when_it_is_decided_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = started(&profile(), LeaseServer { dead: true, ..server(60) }, 500);
    let writer = site.keep_journal(dir.path()).unwrap();
    for (dead, gives) in [(false, P1), (true, P1), (false, NEW), (false, P1)] {
        site.lease_server("isp1", |server| (server.dead, server.gives) = (dead, gives));
        site.run_coarse(130, 10);
    }
    assert!(addresses(&mut site).len() >= 5, "{:?}", addresses(&mut site));
    drop(writer);
    let again = turnout::manage::journal::replay::replay(dir.path()).unwrap();
    assert_eq!((again.differ, again.lost), (0, 0), "{again}");
    assert!(again.decisions > 20, "{again}");
}
