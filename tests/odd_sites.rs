//! Sites that are laid out in less usual ways, and neighbours who mean no good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use turnout::base::{IfaceId, Mac};
use turnout::packet::{DropReason, VecBuf};
use turnout::wire::arp::{Arp, Op};
use turnout::wire::eth::{self, Eth, ethertype};

#[test]
fn a_gateway_in_the_second_network_of_a_wan_is_asked_by_the_address_it_knows() {
    let text = DUAL_WAN.replace(
        "addresses: [203.0.113.2/29], gateway: 203.0.113.1",
        "addresses: [203.0.113.2/29, 100.64.0.2/24], gateway: 100.64.0.1",
    );
    let mut site = Site::new(&text, 1).unwrap();
    let (link, out) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), out.0), ("isp1", Ipv4Addr::new(100, 64, 0, 2)));
    site.take_all();
    site.run_ms(300);
    let asked: Vec<Ipv4Addr> = site
        .take_all()
        .iter()
        .filter(|(link, frame)| link == "isp1" && Eth::parse(frame).unwrap().ethertype == ethertype::ARP)
        .map(|(_, frame)| Arp::parse(&frame[eth::LEN..]).unwrap().sender_ip)
        .collect();
    assert_eq!(asked, [Ipv4Addr::new(100, 64, 0, 2)]);
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc1812_5_2_4_3a_the_network_of_a_wan_is_longer_than_a_route_inside_that_holds_it() {
    let text = format!("{DUAL_WAN}routes: [{{ to: 203.0.0.0/16, via: 192.168.10.10 }}]\n");
    let mut site = Site::new(&text, 2).unwrap();
    // the gateway itself
    assert_eq!(udp_out(&mut site, (H2, 5000), (G1, 53)).unwrap().0, "isp1");
    let (link, echo) = site.pass("isp1", &Packet::ping(G1, P1, 7, 1)).unwrap();
    assert_eq!((link.as_str(), echo.ip.dst), ("isp1", G1));
    // the rest of the route
    let inside = Ipv4Addr::new(203, 0, 7, 7);
    let (link, seen) = site.send("lan", &Packet::udp((H2, 5000), (inside, 53), b"x")).pop().unwrap();
    assert_eq!((link.as_str(), seen.ip.src), ("lan", H2));
    site.finish(&OPENED).unwrap();
}

#[test]
fn the_last_wan_that_still_sends_is_not_put_down_without_force_though_it_is_drained() {
    let mut site = site(1);
    site.set_link("isp2", false);
    let order = |admin, force| Request::Wan { name: "isp1".into(), admin, force };
    assert!(site.ask(order(Admin::Drain, false)).is_err());
    site.ask(order(Admin::Drain, true)).unwrap();
    assert!(site.ask(order(Admin::Down, false)).is_err(), "it carries what it has");
    site.ask(order(Admin::Down, true)).unwrap();
    site.finish(&[]).unwrap();
}

#[test]
fn a_wan_on_which_nothing_can_be_sent_is_left() {
    let mut site = site(1);
    site.set_room("isp1", Some(0));
    site.run_ms(6_000);
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
    let failover = site.events("failover").pop().unwrap();
    assert_eq!(failover["cause"], "nothing can be sent");
    site.finish(&and(&[&OPENED, &["drop_tx_full"]])).unwrap();
}

#[test]
fn a_flood_of_forged_gateways_and_moving_hosts_hides_no_event_and_silences_no_other_gateway() {
    let mut site = site(1);
    let router = |site: &Site, iface: usize| site.view().ifaces[iface].mac;
    let (isp1, lan) = (router(&site, 1), router(&site, 0));
    for n in 0..20_000u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let mac = Mac([2, 9, 9, a, b, c]);
        let forge = |ip, me, mine| Arp {
            op: Op::Reply,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: me,
            target_ip: mine,
        };
        site.put_raw("isp1", &forge(G1, isp1, P1).frame(mac, isp1));
        site.put_raw("lan", &forge(H1, lan, LAN).frame(mac, lan));
        if n % 20 == 0 {
            site.run_ms(1);
        }
    }
    assert_eq!(site.events("start").len(), 1, "the oldest event is still there");
    assert!(site.events("neighbor").len() < 20);
    let wans = site.ask(Request::Wans).unwrap();
    assert!(wans.as_array().unwrap().iter().all(|w| w["state"] == "up"), "{wans}");
    site.finish(&[]).unwrap();
}

#[test]
fn nothing_is_queued_on_a_port_without_link() {
    let mut site = site(1);
    meet(&mut site);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    site.set_link("lan", false);
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), None);
    site.set_link("lan", true);
    site.take_all();
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)), "alone: nothing old comes after it");
    site.finish(&and(&[&OPENED, &["drop_link_down"]])).unwrap();
}

#[test]
fn a_frame_that_fits_into_no_buffer_is_counted_by_its_port() {
    let mut site = site(2);
    site.use_queue(1);
    site.put_raw("isp1", &[0; 2049]);
    site.run_ms(2);
    assert_eq!(site.moved("rx_refused"), 1);
    site.finish(&["rx_refused"]).unwrap();
}

#[test]
fn rfc1812_5_2_4_3b_without_a_route_and_without_a_wan_the_sender_is_told() {
    let mut site = site(1);
    meet(&mut site);
    site.take_all();
    let mut view = site.view().clone();
    view.wans.clear();
    let frame = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b"x"));
    let now = site.now();
    let router = &mut site.lcores()[0].router;
    router.came(IfaceId(0), 1, frame.len() as u64);
    assert!(router.receive(&view, IfaceId(0), VecBuf::new(&frame), now).is_none());
    assert_eq!(router.counters.dropped(DropReason::NoRoute), 1);
    site.run_ms(1);
    let told: Vec<Seen> = site.take_all().iter().filter_map(|(_, frame)| Seen::read(frame)).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].ip.dst, told[0].icmp().map(|i| (i.kind, i.code))), (H1, Some((3, 0))));
    site.finish(&["drop_no_route", "icmp_errors_sent"]).unwrap();
}
