//! How much ARP a WAN sends, whatever is asked of the router: eight messages a second, the gateway's first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use turnout::wire::arp::Arp;

/// A station on the link of isp1 besides its gateway.
const NEXT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
/// The first of the pool's addresses, and how many there are.
const POOL: (u8, u8) = (128, 64);

/// A site whose first WAN has a /24 and a pool of 64 addresses there.
fn wide() -> Site {
    let [first, last] = [POOL.0, POOL.0 + POOL.1 - 1];
    let pool = format!(
        "wans: {{ isp1: {{ pool: [{{ addresses: 203.0.113.{first}-203.0.113.{last} }}] }}, isp2: {{}} }}"
    );
    let guest = "  guest: { port: \"linux:guest\", addresses: [192.168.20.1/24] }\n  isp1:";
    let text = DUAL_WAN
        .replace("203.0.113.2/29", "203.0.113.2/24")
        .replace("wans: [isp1, isp2]", &pool)
        .replacen("  isp1:", guest, 1);
    let mut site = Site::new(&text, 1).unwrap_or_else(|why| panic!("{why}"));
    site.add_host("isp1", NEXT);
    meet(&mut site);
    site
}

/// The ARP messages that a link sent, and in which ms.
#[derive(Default)]
struct Heard {
    all: Vec<(u64, Arp)>,
}

impl Heard {
    /// Gives what else was sent there.
    fn listen(&mut self, site: &mut Site, link: &str) -> Vec<Seen> {
        let now = site.now().as_ms();
        let frames: Vec<_> = site.take_all().into_iter().filter(|(l, _)| l == link).collect();
        for (_, frame) in frames.iter().filter(|(_, frame)| frame[12..14] == [8, 6]) {
            self.all.push((now, Arp::parse(&frame[14..]).unwrap()));
        }
        frames.iter().filter_map(|(_, frame)| Seen::read(frame)).collect()
    }

    /// In the busiest second.
    fn most(&self) -> usize {
        let second =
            |from: &u64| self.all.iter().filter(|(at, _)| (*from..*from + 1_000).contains(at)).count();
        self.all.iter().map(|(at, _)| second(at)).max().unwrap_or(0)
    }

    /// Announcements in order.
    fn announced(&self) -> Vec<Ipv4Addr> {
        self.all
            .iter()
            .filter(|(_, arp)| arp.sender_ip == arp.target_ip)
            .map(|(_, arp)| arp.target_ip)
            .collect()
    }
}

#[test]
fn a_scan_of_a_wans_link_and_a_pool_of_64_addresses_leave_it_at_eight_arp_messages_a_second() {
    let mut site = wide();
    site.set_link("isp1", false);
    site.run_ms(5_000);
    site.take_all();
    let mut heard = Heard::default();
    site.set_link("isp1", true);
    heard.listen(&mut site, "isp1");
    assert_eq!(heard.announced(), [P1], "its own address at once, and nothing else");
    for ms in 0..60_000u32 {
        site.run_ms(1);
        heard.listen(&mut site, "isp1");
        // isp1 carries again after 10 s.
        if ms < 15_000 {
            continue;
        }
        let to = Ipv4Addr::new(203, 0, 113, (3 + ms % 250) as u8);
        let frame = site.frame_of("lan", &Packet::udp((H1, 5000), (to, 80), b"x"));
        site.put_raw("lan", &frame);
    }
    assert!(heard.most() <= 8, "{} in a second", heard.most());
    // The rounds went on.
    let rounds = heard.all.iter().filter(|(_, arp)| arp.target_ip == G1).count();
    assert!((230..=260).contains(&rounds), "{rounds} in a minute");
    let asked = heard.all.len() - rounds - heard.announced().len();
    assert!(asked > 20, "{asked} questions");
    // All of the pool once, in their order.
    let pool: Vec<Ipv4Addr> = (POOL.0..POOL.0 + POOL.1).map(|d| Ipv4Addr::new(203, 0, 113, d)).collect();
    assert_eq!(heard.announced()[1..], pool);
    let state = site.ask(Request::Wans).unwrap();
    assert_eq!((&state[0]["state"], &state[0]["carrying"]), (&"up".into(), &true.into()));
}

#[test]
fn whom_packets_are_sent_to_all_the_while_is_confirmed_before_strangers_are_asked_for() {
    let mut site = wide();
    let mut heard = Heard::default();
    assert_eq!(udp_out(&mut site, (H1, 4000), (NEXT, 80)).unwrap().0, "isp1");
    for ms in 0..100_000u32 {
        let to = Ipv4Addr::new(203, 0, 113, (3 + ms % 70) as u8);
        let mut packets = vec![Packet::udp((H1, 5000), (to, 80), b"x")];
        if ms % 500 == 0 {
            packets.push(Packet::udp((H1, 4000), (NEXT, 80), b"x"));
        }
        for packet in packets {
            let frame = site.frame_of("lan", &packet);
            site.put_raw("lan", &frame);
        }
        site.run_ms(1);
        let left = heard.listen(&mut site, "isp1");
        assert!(ms % 500 > 0 || left.iter().any(|seen| seen.dst() == (NEXT, 80)), "after {ms} ms");
    }
    let confirmed = heard.all.iter().filter(|(_, arp)| arp.target_ip == NEXT).count();
    assert!((3..=8).contains(&confirmed), "{confirmed}: every 30 s, with one request");
    assert!(heard.most() <= 8, "{}", heard.most());
}

#[test]
fn an_inside_interface_asks_for_all_that_are_wanted_at_once() {
    let mut site = wide();
    let mut heard = Heard::default();
    for n in 10..200 {
        let to = Ipv4Addr::new(192, 168, 20, n);
        let frame = site.frame_of("lan", &Packet::udp((H1, 5000), (to, 80), b"x"));
        site.put_raw("lan", &frame);
        site.run_ms(1);
        heard.listen(&mut site, "guest");
    }
    let asked: BTreeSet<Ipv4Addr> = heard.all.iter().map(|(_, arp)| arp.target_ip).collect();
    assert_eq!(asked.len(), 190);
}
