//! Every key of the profile's sections `groups`, `policy`, `on_failover`, `on_failback` and `hooks`: what it says is what happens. Each key
//! has a test that fails if it is read and not honoured. The table is in docs/testing.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use turnout::manage::hooks::{ADDRESS, FAILBACK, FAILOVER, NONE, SELECTION};
use turnout::manage::reload::wanted_hooks;

/// A site of two WANs that are back a second after their link is; `rest` are more sections.
fn of(rest: &str) -> Site {
    let base: String = DUAL_WAN
        .lines()
        .filter(|line| !["wans:", "groups:", "on_failover:"].iter().any(|key| line.starts_with(key)))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = base
        + "wans: { isp1: { health: h }, isp2: { health: h, metered: true } }\n\
           health: { h: { gateway: { arp: 100ms }, up: { successes: 1, stable: 1s } } }\n"
        + rest;
    let mut site = Site::new(&text, 1).unwrap_or_else(|e| panic!("{e}"));
    meet(&mut site);
    for host in 20..60 {
        site.add_host("lan", Ipv4Addr::new(192, 168, 10, host));
    }
    site
}

/// Where a new flow of a host leaves.
fn leaves(site: &mut Site, from: Ipv4Addr, port: u16) -> Option<String> {
    udp_out(site, (from, port), (E1, 80)).map(|(link, _)| link)
}

/// How many of forty hosts leave by isp1.
fn share(site: &mut Site) -> usize {
    let hosts = (20..60).map(|host| Ipv4Addr::new(192, 168, 10, host));
    hosts.filter(|host| leaves(site, *host, 5000).as_deref() == Some("isp1")).count()
}

#[test]
fn group_mode_members_tier_and_weight_say_who_carries() {
    let group = |map: &str| of(&format!("groups: {{ default: {{ {map} }} }}\n"));
    assert_eq!(share(&mut group("mode: failover")), 40);
    let even = share(&mut group("mode: balance"));
    assert!((8..=32).contains(&even), "{even}");
    let uneven = "mode: balance, members: [{ wan: isp1, weight: 1 }, { wan: isp2, weight: 100 }]";
    assert!(share(&mut group(uneven)) <= 4);
    assert_eq!(share(&mut group("members: [{ wan: isp1, tier: 2 }, { wan: isp2, tier: 1 }]")), 0);
    let mut alone = group("members: [{ wan: isp1 }]");
    alone.set_link("isp1", false);
    assert_ne!(leaves(&mut alone, H1, 5000).as_deref(), Some("isp2"), "it is no member");
}

/// How many ms after the return of its line isp1 carries again.
fn returns(failback: &str) -> Option<u64> {
    let mut site = of(&format!("groups: {{ default: {{ failback: {failback} }} }}\n"));
    site.set_link("isp1", false);
    site.run_ms(100);
    site.set_link("isp1", true);
    // By default it takes 30 s.
    (0..800).map(|n| n * 50).find(|_| {
        site.run_ms(50);
        site.ask(Request::Wans).unwrap()[0]["carrying"] == true
    })
}

#[test]
fn failback_mode_and_after_say_when_the_better_one_carries_again() {
    let (soon, late) = (returns("{ after: 0s }").unwrap(), returns("{ after: 5s }").unwrap());
    assert!((900..=1_300).contains(&soon) && (5_900..=6_300).contains(&late), "{soon} {late}");
    assert_eq!(returns("{ mode: manual }"), None);
}

#[test]
fn when_none_fit_says_whether_the_best_carries_all_the_same() {
    for (word, goes) in [("best", true), ("unreachable", false)] {
        let health = "passive: false, targets: { icmp: [192.0.2.1], every: 100ms, timeout: 100ms }";
        // The gateways live, what is behind them does not.
        let text = DUAL_WAN
            .replace("wans: [isp1, isp2]", "wans: { isp1: { health: h }, isp2: { health: h } }")
            .replace("when_none_fit: unreachable", &format!("when_none_fit: {word}"))
            + &format!("health: {{ h: {{ {health} }} }}\n");
        let mut site = Site::new(&text, 1).unwrap();
        for link in ["isp1", "isp2"] {
            site.serve(link, Ipv4Addr::new(192, 0, 2, 1), Default::default());
        }
        site.run_ms(2_000);
        // One after the other: what dies everywhere at once is to blame itself.
        site.set_internet_dead("isp2", true);
        site.run_ms(2_000);
        site.set_internet_dead("isp1", true);
        site.run_ms(2_000);
        site.take_all();
        let wans = site.ask(Request::Wans).unwrap();
        assert_eq!([&wans[0]["state"], &wans[1]["state"]], ["down", "down"], "{wans}");
        meet(&mut site);
        let left = site.send("lan", &Packet::udp((H1, 5000), (E1, 80), b"x"));
        assert_eq!(left.iter().any(|(link, _)| link != "lan"), goes, "{word}");
    }
}

#[test]
fn policy_sends_what_it_names_to_what_it_uses() {
    for (when, other) in [
        ("from: 192.168.10.10", (H2, E1, 80)),
        ("to: 9.9.9.9", (H1, E2, 80)),
        ("in: lan, port: 80, protocol: [udp]", (H1, E1, 81)),
        ("protocol: [udp], port: 80-90", (H1, E1, 91)),
    ] {
        let mut site = of(&format!("policy: [{{ {when}, use: isp2 }}]\n"));
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2", "{when}");
        let (host, remote, port) = other;
        assert_eq!(udp_out(&mut site, (host, 6000), (remote, port)).unwrap().0, "isp1", "{when}");
    }
    let mut site = of("policy: [{ protocol: [tcp], use: isp2 }]\n");
    assert_eq!(leaves(&mut site, H1, 5000).unwrap(), "isp1");
    assert_eq!(connect(&mut site, (H1, 6000), (E1, 80)).0, "isp2");
    let group = "groups: { phones: { members: [{ wan: isp2 }, { wan: isp1 }] } }\n";
    let mut site = of(&format!("{group}policy: [{{ from: 192.168.10.10, use: phones }}]\n"));
    assert_eq!([leaves(&mut site, H1, 1).unwrap(), leaves(&mut site, H2, 1).unwrap()], ["isp2", "isp1"]);
}

#[test]
fn policy_in_names_the_interface() {
    let guest = "  guest: { port: \"linux:guest\", addresses: [192.168.20.1/24] }\n  isp1:";
    let text = DUAL_WAN.replacen("  isp1:", guest, 1) + "policy: [{ in: guest, use: isp2 }]\n";
    let mut site = Site::new(&text, 1).unwrap();
    let guest = Ipv4Addr::new(192, 168, 20, 7);
    site.add_host("guest", guest);
    let out = site.pass("guest", &Packet::udp((guest, 5000), (E1, 80), b"x")).unwrap();
    assert_eq!((out.0, leaves(&mut site, H1, 5000).unwrap()), ("isp2".into(), "isp1".into()));
}

#[test]
fn policy_otherwise_says_what_happens_without_its_wan() {
    for (otherwise, goes) in [("default", Some("isp1")), ("reject", None)] {
        let mut site = of(&format!("policy: [{{ use: isp2, otherwise: {otherwise} }}]\n"));
        // Its link is up and its gateway has been there: the best of nothing would carry all the same.
        site.set_silent("isp2", true);
        site.run_ms(1_000);
        site.take_all();
        let sent = site.send("lan", &Packet::udp((H1, 5000), (E1, 80), b"x"));
        let link = sent.iter().map(|(link, _)| link.as_str()).find(|link| *link != "lan");
        assert_eq!(link, goes, "{otherwise}");
    }
}

/// Whether what a host has open on isp1 goes on by isp2 when isp1 is lost: UDP, ICMP.
fn moves(rest: &str) -> [bool; 2] {
    let mut site = of(rest);
    let udp = Packet::udp((H1, 5000), (E1, 80), b"x");
    let echo = Packet::ping(H1, E1, 7, 1);
    for packet in [&udp, &echo] {
        assert_eq!(site.pass("lan", packet).unwrap().0, "isp1");
    }
    site.set_link("isp1", false);
    site.run_ms(10);
    site.take_all();
    [udp, echo].map(|packet| site.send("lan", &packet).iter().any(|(link, _)| link == "isp2"))
}

#[test]
fn on_failover_udp_and_icmp_say_what_becomes_of_them_and_a_rule_has_its_own() {
    assert_eq!(moves(""), [true, true]);
    assert_eq!(moves("on_failover: { udp: drop }\n"), [false, true]);
    assert_eq!(moves("on_failover: { icmp: drop }\n"), [true, false]);
    assert_eq!(moves("policy: [{ use: isp1, on_failover: { udp: drop } }]\n"), [false, true]);
    assert_eq!(moves("policy: [{ use: isp1, on_failover: { icmp: drop } }]\n"), [true, false]);
}

/// How many ms after `what` a connection on the link is reset; `None`: not within so many.
fn reset(site: &mut Site, within: u64) -> Option<u64> {
    (0..within / 50).map(|n| n * 50).find(|_| {
        site.run_ms(50);
        let sent = site.take_all();
        let tcp = |frame: &Vec<u8>| Seen::read(frame).and_then(|seen| seen.tcp());
        sent.iter().any(|(link, frame)| link == "lan" && tcp(frame).is_some_and(|tcp| tcp.flags.0 & RST != 0))
    })
}

#[test]
fn on_failover_tcp_reset_after_says_how_long_a_connection_waits() {
    let after = |rest: &str| {
        let mut site = of(rest);
        assert_eq!(connect(&mut site, (H1, 6000), (E1, 80)).0, "isp1");
        site.set_link("isp1", false);
        reset(&mut site, 12_000).unwrap()
    };
    for rest in [
        "on_failover: { tcp: { reset_after: 0s } }\n",
        "policy: [{ use: isp1, on_failover: { tcp: { reset_after: 0s } } }]\n",
    ] {
        let took = after(rest);
        assert!(took <= 1_500, "{rest} {took}");
    }
    let took = after("on_failover: { tcp: { reset_after: 6s } }\n");
    assert!((5_900..=7_500).contains(&took), "{took}");
}

/// A site whose isp1 is back, with flows that were opened on isp2 meanwhile; whether isp2 is metered, and what `on_failback` says.
fn drained(metered: bool, on_failback: &str) -> Site {
    let text = DUAL_WAN.replace(
        "wans: [isp1, isp2]",
        &format!("wans: {{ isp1: {{ health: h }}, isp2: {{ health: h, metered: {metered} }} }}"),
    ) + &format!(
        "health: {{ h: {{ up: {{ successes: 1, stable: 0s }} }} }}\non_failback: {on_failback}\n"
    );
    let mut site = Site::new(&text, 1).unwrap();
    site.set_link("isp1", false);
    assert_eq!(leaves(&mut site, H1, 5000).unwrap(), "isp2");
    assert_eq!(connect(&mut site, (H1, 6000), (E1, 80)).0, "isp2");
    site.set_link("isp1", true);
    while site.ask(Request::Wans).unwrap()[0]["carrying"] != true {
        site.run_ms(10);
    }
    site.take_all();
    site
}

#[test]
fn on_failback_drain_and_metered_say_how_long_what_is_there_may_stay() {
    let stays = |metered: bool, map: &str| {
        let mut site = drained(metered, map);
        (0..200).map(|n| n * 100).find(|_| {
            site.run_ms(100);
            leaves(&mut site, H1, 5000).unwrap() == "isp1"
        })
    };
    let map = "{ drain: 10s, metered: 2s }";
    let (plain, metered) = (stays(false, map).unwrap(), stays(true, map).unwrap());
    assert!((9_500..=10_500).contains(&plain) && (1_500..=2_500).contains(&metered), "{plain} {metered}");
    assert_eq!(stays(false, "{ metered: 2s }"), None, "an hour without a word");
}

#[test]
fn on_failback_then_says_what_becomes_of_it_at_last() {
    let after = |then: &str| {
        let mut site = drained(false, &format!("{{ drain: 1s, then: {then} }}"));
        let reset = reset(&mut site, 5_000).is_some();
        let moved = site.send("lan", &Packet::udp((H1, 5000), (E1, 80), b"x"));
        (reset, moved.iter().any(|(link, _)| link == "isp1"))
    };
    assert_eq!(after("{}"), (true, true));
    assert_eq!(after("{ tcp: keep }"), (false, true));
    assert_eq!(after("{ udp: drop }"), (true, false));
}

#[test]
fn hooks_event_and_run_say_who_hears_of_what() {
    let text = DUAL_WAN.to_owned()
        + "hooks: [{ event: [failover, address], run: /bin/a }, { event: failback, run: /bin/b }]\n";
    let hooks = wanted_hooks(&turnout::profile::load(&text, "p.yaml").unwrap());
    let of = |at: usize| (hooks[at].events.clone(), hooks[at].run.clone());
    // That they do is held by tests/hooks.rs.
    assert_eq!(of(0), (vec![FAILOVER, SELECTION, NONE, ADDRESS], PathBuf::from("/bin/a")));
    assert_eq!(of(1), (vec![FAILBACK], PathBuf::from("/bin/b")));
}
