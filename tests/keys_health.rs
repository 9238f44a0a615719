//! Every key of the profile's section `health`: what it says is what happens. Each key has a test that fails if it is read and not
//! honoured: two values of it, and what a site does by the one and by the other. The table is in docs/testing.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use serde_json::Value;
use turnout::base::Nanos;
use turnout::sim::internet::{Server, Service};

const S1: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const S2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const FAR: u64 = 20_000;

fn server() -> Server {
    let tcp = [(443, Service::Accepts), (80, Service::Http(204))];
    Server { tcp: tcp.into(), dns: Some((0, vec![S1])), ..Server::default() }
}

/// A site whose first WAN has this health; the servers S1 and S2 are behind both, and have been heard.
fn of(health: &str) -> Site {
    let text = DUAL_WAN.replace("wans: [isp1, isp2]", "wans: { isp1: { health: h }, isp2: { health: h } }")
        + &format!("health: {{ h: {{ {health} }} }}\n");
    let mut site = Site::new(&text, 1).unwrap();
    for (link, ip) in [("isp1", S1), ("isp1", S2), ("isp2", S1), ("isp2", S2)] {
        site.serve(link, ip, server());
    }
    site.run_ms(3_000);
    site.take_all();
    site
}

/// The first WAN, as the router tells of it.
fn wan(site: &mut Site) -> Value {
    site.ask(Request::Wans).unwrap()[0].clone()
}

/// How many ms it takes until the first WAN is in this state; `FAR`: longer.
fn until(site: &mut Site, state: &str) -> u64 {
    for ms in (0..FAR).step_by(10) {
        if wan(site)["state"] == state {
            return ms;
        }
        site.run_ms(10);
    }
    FAR
}

/// How long a silent gateway takes to be a down.
fn silence(health: &str) -> u64 {
    let mut site = of(health);
    site.set_silent("isp1", true);
    until(&mut site, "down")
}

/// How long a dead internet behind a gateway that is well takes to be a down.
fn dead(health: &str) -> u64 {
    let mut site = of(health);
    site.set_internet_dead("isp1", true);
    until(&mut site, "down")
}

/// How long a link that was lost for a second takes to be up again, the `n`th time.
fn back(health: &str, n: usize) -> u64 {
    let mut site = of(health);
    let mut last = FAR;
    for _ in 0..n {
        site.set_link("isp1", false);
        site.run_ms(1_000);
        site.set_link("isp1", true);
        last = until(&mut site, "up");
    }
    last
}

#[test]
fn gateway_arp_and_down_failures_say_how_soon() {
    assert!((290..=410).contains(&silence("gateway: { arp: 100ms }, passive: false")));
    assert!((1_490..=2_010).contains(&silence("gateway: { arp: 500ms }, passive: false")));
    assert!(
        (490..=1_010).contains(&silence("gateway: { arp: 500ms }, down: { failures: 1 }, passive: false"))
    );
}

#[test]
fn up_successes_stable_and_flap_max_say_when_it_is_back() {
    let quick = "gateway: { arp: 100ms }, up: { successes: 2, stable: 0s }";
    assert!(back(quick, 1) <= 300);
    let many = back("gateway: { arp: 100ms }, up: { successes: 20, stable: 0s }", 1);
    assert!((1_800..=2_300).contains(&many), "{many}");
    let stable = back("gateway: { arp: 100ms }, up: { successes: 2, stable: 3s }", 1);
    assert!((2_900..=3_300).contains(&stable), "{stable}");
    let flaps = |most: &str| {
        back(&format!("gateway: {{ arp: 100ms }}, up: {{ successes: 2, stable: 1s, flap_max: {most} }}"), 4)
    };
    let (short, long) = (flaps("1s"), flaps("1h"));
    assert!((900..=1_300).contains(&short) && long >= 3_900, "{short} {long}");
}

#[test]
fn targets_of_every_kind_are_asked_and_judge() {
    assert_eq!(dead("gateway: { arp: 1s }"), FAR, "a live gateway is all that is asked for");
    for kind in [
        "icmp: [192.0.2.1]",
        "tcp: [\"192.0.2.1:443\"]",
        "dns: [{ server: 192.0.2.1, name: example.com }]",
        "http: [{ url: \"http://192.0.2.1/x\", status: 204 }]",
    ] {
        let took = dead(&format!("targets: {{ {kind}, every: 200ms, timeout: 300ms }}"));
        assert!((600..=1_200).contains(&took), "{kind}: {took}");
    }
}

#[test]
fn what_a_target_is_asked_and_has_to_say_is_the_profiles() {
    let mute = |target: &str| wan(&mut of(&format!("targets: {{ {target} }}")))["targets"][0]["mute"] == true;
    assert!(!mute("dns: [{ server: 192.0.2.1, name: a.b, answer: 192.0.2.1 }]"));
    assert!(mute("dns: [{ server: 192.0.2.1, name: a.b, answer: 192.0.2.9 }]"), "another answer is wanted");
    assert!(mute("dns: [{ server: 192.0.2.77, name: a.b }]"), "nobody is there");
    assert!(!mute("http: [{ url: \"http://192.0.2.1/x\", status: 204 }]"));
    assert!(mute("http: [{ url: \"http://192.0.2.1/x\", status: 200 }]"), "another status is wanted");
    assert!(mute("http: [{ url: \"http://192.0.2.1:81/x\", status: 204 }]"), "nobody listens there");
    // What goes out.
    let says = |target: &str, words: &[u8]| {
        let mut site = of(&format!("targets: {{ {target} }}"));
        site.run_ms(2_000);
        let sent = site.take_all();
        sent.iter().any(|(_, frame)| frame.windows(words.len()).any(|some| some == words))
    };
    let dns = "dns: [{ server: 192.0.2.1, name: probe.example }]";
    assert!(says(dns, b"\x05probe\x07example\0") && !says(dns, b"\x01a\x01b\0"));
    assert!(says("http: [{ url: \"http://192.0.2.1/generate\", status: 204 }]", b"GET /generate HTTP/1.0"));
}

#[test]
fn targets_every_timeout_and_need_say_how_soon_and_by_how_many() {
    let slow = dead("targets: { icmp: [192.0.2.1], every: 1s, timeout: 1s }");
    assert!((3_000..=4_100).contains(&slow), "{slow}");
    let quick = dead("targets: { icmp: [192.0.2.1], every: 200ms, timeout: 1s }");
    assert!((1_400..=1_800).contains(&quick), "{quick}");
    // An answer has `timeout`.
    for (timeout, falls) in [("500ms", true), ("900ms", false)] {
        let mut site = of(&format!("targets: {{ icmp: [192.0.2.1], every: 1s, timeout: {timeout} }}"));
        site.serve("isp1", S1, Server { delay: Nanos::from_ms(700), ..server() });
        assert_eq!(until(&mut site, "down") < FAR, falls, "{timeout}");
    }
    for (need, falls) in [(1, false), (2, true)] {
        let mut site = of(&format!("targets: {{ icmp: [192.0.2.1, 192.0.2.2], need: {need} }}"));
        site.serve("isp1", S2, Server { dead: true, ..server() });
        assert_eq!(until(&mut site, "down") < FAR, falls, "{need}");
    }
}

#[test]
fn bfd_speaks_to_its_peer_by_its_interval_and_multiplier() {
    let heard = |bfd: &str| {
        let text = DUAL_WAN.replace("wans: [isp1, isp2]", "wans: { isp1: { health: h }, isp2: {} }")
            + &format!("health: {{ h: {{ bfd: {bfd} }} }}\n");
        let mut site = Site::new(&text, 1).unwrap();
        site.add_host("isp1", Ipv4Addr::new(203, 0, 113, 5));
        site.run_ms(3_000);
        let sent = site.take_all();
        let control =
            sent.iter().filter_map(|(_, frame)| Seen::read(frame)).find(|seen| seen.dst().1 == 3784);
        let seen = control.expect("no word of BFD");
        let data = seen.data();
        (seen.ip.dst, data[2], u32::from_be_bytes(data[16..20].try_into().unwrap()))
    };
    assert_eq!(heard("{ peer: gateway, every: 50ms, multiplier: 4 }"), (G1, 4, 50_000));
    assert_eq!(heard("{ peer: 203.0.113.5, every: 2s }"), (Ipv4Addr::new(203, 0, 113, 5), 3, 2_000_000));
}

/// How long it takes until the first WAN is degraded, if its target answers as `odd` says.
fn worse(degraded: &str, odd: impl Fn(&mut Site, u64)) -> (Site, u64) {
    let text =
        format!("targets: {{ icmp: [192.0.2.1], every: 100ms, timeout: 1s }}, degraded: {{ {degraded} }}");
    let mut site = of(&text);
    // What was lost before the servers were there is forgotten.
    site.run_ms(15_000);
    assert_eq!(wan(&mut site)["state"], "up");
    for ms in (0..FAR).step_by(100) {
        odd(&mut site, ms / 100);
        site.run_ms(100);
        if wan(&mut site)["state"] == "degraded" {
            return (site, ms);
        }
    }
    (site, FAR)
}

fn delay(site: &mut Site, ms: u64) {
    site.serve("isp1", S1, Server { delay: Nanos::from_ms(ms), ..server() });
}

#[test]
fn degraded_latency_jitter_and_loss_are_limits() {
    let slow = |site: &mut Site, _: u64| delay(site, 300);
    assert!(worse("window: 2s, latency: 100ms, jitter: 1s", slow).1 < FAR);
    assert_eq!(worse("window: 2s, latency: 500ms, jitter: 1s", slow).1, FAR);
    let uneven = |site: &mut Site, n: u64| delay(site, if n.is_multiple_of(2) { 10 } else { 90 });
    assert!(worse("window: 2s, latency: 1s, jitter: 20ms", uneven).1 < FAR);
    assert_eq!(worse("window: 2s, latency: 1s, jitter: 500ms", uneven).1, FAR);
    let lossy = |site: &mut Site, n: u64| site.set_internet_dead("isp1", n.is_multiple_of(3));
    assert!(worse("window: 2s, loss: 10%, latency: 1s, jitter: 1s", lossy).1 < FAR);
    assert_eq!(worse("window: 2s, loss: 90%, latency: 1s, jitter: 1s", lossy).1, FAR);
    // Without the section nothing is.
    let mut site = of("targets: { icmp: [192.0.2.1], every: 100ms, timeout: 1s }");
    delay(&mut site, 900);
    site.run_ms(FAR);
    assert_eq!(wan(&mut site)["state"], "up");
}

#[test]
fn degraded_window_says_how_long_it_is_remembered() {
    let well_again = |window: &str| {
        let limits = format!("window: {window}, latency: 100ms, jitter: 1s");
        let (mut site, took) = worse(&limits, |site, _| delay(site, 300));
        assert!(took < FAR, "{window}");
        delay(&mut site, 1);
        until(&mut site, "up")
    };
    let (short, long) = (well_again("1s"), well_again("12s"));
    assert!(short + 4_000 < long, "{short} {long}");
}

#[test]
fn passive_takes_silence_for_a_hint() {
    let found = |passive: bool| {
        let mut site = of(&format!("gateway: {{ arp: 1s }}, passive: {passive}"));
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let speak = |site: &mut Site| {
            site.put_raw("lan", &site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b"out")));
            site.put_raw("isp1", &site.frame_of("isp1", &Packet::udp((E1, 80), x, b"in")));
            site.run_ms(5);
        };
        (0..1_000).for_each(|_| speak(&mut site));
        site.set_silent("isp1", true);
        let down = (0..1_000).find(|_| {
            speak(&mut site);
            wan(&mut site)["state"] == "down"
        });
        down.map_or(FAR, |n| n * 5)
    };
    let (with, without) = (found(true), found(false));
    assert!(with <= 400 && without >= 2_900, "{with} {without}");
}
