//! The section `health`: what is read, BFD, limits of a degraded line.

use std::net::Ipv4Addr;

use crate::base::Nanos;
use crate::profile::*;

use super::{and, good, health, one, said, with};

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

#[test]
fn defaults_are_those_of_a_careful_operator() {
    let health = Health::default();
    assert_eq!(health.flap_max, Nanos::from_s(600));
    assert_eq!((health.bfd, health.degraded, health.passive), (None, None, true));
    let Targets { list, every, timeout, need } = health.targets;
    assert_eq!((list.len(), every, timeout, need), (0, Nanos::from_ms(500), Nanos::from_s(1), 1));
    let found = good(&self::health("{ bfd: , degraded: {} }")).wans[1].health.clone();
    let bfd = Bfd { peer: BfdPeer::Gateway, every: Nanos::from_ms(300), multiplier: 3 };
    let degraded = Degraded {
        window: Nanos::from_s(30),
        loss_percent: 20,
        latency: Nanos::from_ms(500),
        jitter: Nanos::from_ms(100),
    };
    assert_eq!((found.bfd, found.degraded), (Some(bfd), Some(degraded)));
    assert_eq!(good(&self::health("{ targets: }")).wans[0].health, Health::default());
}

#[test]
fn every_key_of_health_is_read() {
    let text = health(
        "{ gateway: { arp: 1s }, bfd: { peer: gateway, every: 50ms, multiplier: 5 }, passive: false,
           targets: { icmp: [1.1.1.1, dns.example], tcp: [\"198.51.100.77:443\"],
                      dns: [{ server: 9.9.9.9, name: example.com, answer: [192.0.2.2, 192.0.2.1] }],
                      http: [{ url: \"http://198.51.100.77:8080/x?y=1\", status: 200 }],
                      every: 250ms, timeout: 2s, need: 3 },
           up: { successes: 2, stable: 1s, flap_max: 3m },
           degraded: { window: 1m, loss: 5%, latency: 80ms, jitter: 20ms } }",
    );
    let list = vec![
        Target { name: "1.1.1.1".into(), probe: TargetProbe::Icmp { host: Host::Address(ip("1.1.1.1")) } },
        Target { name: "dns.example".into(), probe: TargetProbe::Icmp { host: name("dns.example") } },
        Target {
            name: "198.51.100.77:443".into(),
            probe: TargetProbe::Tcp { host: Host::Address(ip("198.51.100.77")), port: 443 },
        },
        Target {
            name: "example.com@9.9.9.9".into(),
            probe: TargetProbe::Dns {
                server: ip("9.9.9.9"),
                port: 53,
                question: "example.com".into(),
                answer: vec![ip("192.0.2.1"), ip("192.0.2.2")],
            },
        },
        Target {
            name: "http://198.51.100.77:8080/x?y=1".into(),
            probe: TargetProbe::Http {
                host: Host::Address(ip("198.51.100.77")),
                port: 8080,
                path: "/x?y=1".into(),
                status: 200,
            },
        },
    ];
    let expected = Health {
        arp_every: Nanos::from_s(1),
        successes: 2,
        stable: Nanos::from_s(1),
        flap_max: Nanos::from_s(180),
        targets: Targets { list, every: Nanos::from_ms(250), timeout: Nanos::from_s(2), need: 3 },
        bfd: Some(Bfd { peer: BfdPeer::Gateway, every: Nanos::from_ms(50), multiplier: 5 }),
        degraded: Some(Degraded {
            window: Nanos::from_s(60),
            loss_percent: 5,
            latency: Nanos::from_ms(80),
            jitter: Nanos::from_ms(20),
        }),
        passive: false,
        ..Health::default()
    };
    let profile = good(&text);
    assert_eq!(profile.wans[0].health, expected);
    let kinds: Vec<&str> = expected.targets.list.iter().map(|target| target.probe.kind()).collect();
    assert_eq!(kinds, ["icmp", "icmp", "tcp", "dns", "http"]);
    let json = serde_json::to_value(&profile).unwrap();
    let health = &json["wans"][0]["health"];
    assert_eq!(health["targets"]["timeout_ns"], 2_000_000_000_u64);
    let dns = serde_json::json!({
        "name": "example.com@9.9.9.9", "probe": "dns", "server": "9.9.9.9", "port": 53,
        "question": "example.com", "answer": ["192.0.2.1", "192.0.2.2"],
    });
    assert_eq!(health["targets"]["list"][3], dns);
    assert_eq!(health["targets"]["list"][1]["host"], "dns.example");
    assert_eq!(health["bfd"]["peer"], "gateway");
    assert_eq!(health["degraded"]["loss_percent"], 5);
}

#[test]
fn a_bfd_peer_is_on_the_link() {
    let alone = |map: &str| {
        with("[isp1, isp2]", "{ isp1: { health: h }, isp2: {} }")
            + &format!("health: {{ h: {{ bfd: {map} }} }}\n")
    };
    let found = good(&alone("{ peer: 203.0.113.3, every: 10ms, multiplier: 2 }")).wans[0].health.bfd.clone();
    let peer = BfdPeer::Address(ip("203.0.113.3"));
    assert_eq!(found, Some(Bfd { peer, every: Nanos::from_ms(10), multiplier: 2 }));
    good(&alone("{ peer: 203.0.113.1, every: 10s, multiplier: 50 }"));
    for (peer, message, hint) in [
        ("198.51.100.3", "`peer` 198.51.100.3 is in no network of WAN `isp1`", "on the link only"),
        ("203.0.113.2", "is the address of `isp1` itself", "provider's router"),
        ("198.51.100.2", "is the address of `isp2` itself", "provider's router"),
        ("203.0.113.0", "is the network address of 203.0.113.0/29", "ask the provider"),
        ("203.0.113.7", "is the broadcast address", "ask the provider"),
        ("224.0.0.1", "it is a multicast address", "a host"),
        ("gatway", "neither `gateway` nor an IPv4 address: `gatway`", "peer: gateway"),
        ("[]", "`peer` must be an IPv4 address, not a list", "peer: 192.0.2.1"),
    ] {
        one(&alone(&format!("{{ peer: {peer} }}")), "7:29", message, hint);
    }
    // Each WAN that has it needs it on its link.
    one(&health("{ bfd: { peer: 203.0.113.3 } }"), "7:29", "in no network of WAN `isp2`", "of their own");
    one(&alone("{ every: 9ms }"), "7:30", "at least 10ms", "to 10s");
    one(&alone("{ every: 11s }"), "7:30", "at most 10s", "from 10ms");
    one(&alone("{ multiplier: 1 }"), "7:35", "`multiplier` is out of range", "from 2 to 50");
    one(&alone("{ multiplier: 51 }"), "7:35", "`multiplier` is out of range", "from 2 to 50");
    // Without the addresses nobody can tell.
    let text = alone("{ peer: 198.51.100.3 }").replace("[203.0.113.2/29]", "[203.0.113/29]");
    assert_eq!(said(&text).len(), 1);
}

#[test]
fn a_line_is_degraded_within_limits() {
    let degraded = |map: &str| health(&format!("{{ degraded: {map} }}"));
    good(&degraded("{ window: 10m, loss: 100%, latency: 10s, jitter: 10s }"));
    good(&degraded("{ window: 2500ms, loss: 1%, latency: 1ms, jitter: \"1ms\" }"));
    one(&degraded("{ window: 999ms }"), "7:36", "`window` must be at least 1s", "to 10m");
    one(&degraded("{ window: 601s }"), "7:36", "`window` must be at most 10m", "from 1s");
    one(
        &degraded("{ window: 2499ms }"),
        "7:36",
        "`window` 2s499ms holds too few probes",
        "at least 2s500ms, ten times `arp`",
    );
    one(&degraded("{ loss: 20 }"), "7:34", "`loss` has no `%`: `20`", "write `20%`");
    one(&degraded("{ loss: 0% }"), "7:34", "`loss` is out of range: `0%`", "from 1% to 100%");
    one(&degraded("{ loss: 101% }"), "7:34", "`loss` is out of range", "from 1% to 100%");
    one(&degraded("{ loss: 0.5% }"), "7:34", "`loss` is no percentage: `0.5%`", "as `20%`");
    one(&degraded("{ loss: [] }"), "7:34", "`loss` must be a percentage", "loss: 20%");
    one(&degraded("{ latency: 0s }"), "7:37", "`latency` must be at least 1ms", "to 10s");
    one(&degraded("{ jitter: 11s }"), "7:36", "`jitter` must be at most 10s", "from 1ms");
    one(
        &health("{ targets: { icmp: 1.1.1.1, every: 5s }, degraded: {} }"),
        "7:55",
        "`window` 30s holds too few probes",
        "at least 50s, ten times `every`",
    );
    one(
        &health("{ targets: { icmp: 1.1.1.1 }, degraded: { latency: 2s } }"),
        "7:65",
        "`latency` is longer than `timeout`, which is 1s",
        "counts as lost",
    );
    // The gateway has no `timeout`, and a default asks for nothing.
    good(&degraded("{ latency: 2s }"));
    good(&health("{ targets: { icmp: 1.1.1.1, timeout: 200ms }, degraded: {} }"));
}

#[test]
fn stable_may_grow_to_flap_max() {
    let up = |map: &str| good(&health(&format!("{{ up: {map} }}"))).wans[0].health.clone();
    assert_eq!(up("{ stable: 1h }").flap_max, Nanos::from_s(3600));
    assert_eq!(up("{ stable: 1h, flap_max: 1h }").flap_max, Nanos::from_s(3600));
    assert_eq!(up("{ stable: 0s, flap_max: 0s }").flap_max, Nanos::ZERO);
    assert_eq!(up("{ flap_max: 24h }").flap_max, Nanos::from_s(86_400));
    one(
        &health("{ up: { flap_max: 9s } }"),
        "7:32",
        "`flap_max` is shorter than `stable`, which is 10s",
        "doubles",
    );
    one(&health("{ up: { flap_max: 25h } }"), "7:32", "`flap_max` must be at most 24h", "from 0s");
}

#[test]
fn passive_and_metered_are_bools() {
    one(&health("{ passive: maybe }"), "7:25", "`passive` must be true or false", "true");
    let metered =
        |value: &str| with("[isp1, isp2]", &format!("{{ isp1: {{}}, isp2: {{ metered: {value} }} }}"));
    let wans = good(&metered("true")).wans;
    assert_eq!((wans[0].metered, wans[1].metered), (false, true));
    assert!(!good(&metered("false")).wans[1].metered);
    one(&metered("yes"), "6:36", "`metered` must be true or false, not `yes`", "write `true`");
}

#[test]
fn a_health_that_no_wan_uses_is_judged_all_the_same() {
    let text = and("health: { h: { targets: { icmp: [192.168.10.9] } } }");
    assert_eq!(
        said(&text),
        [
            "7:11: no WAN uses the health `h`",
            "7:34: the target 192.168.10.9 is in the inside network 192.168.10.0/24 of `lan`"
        ]
    );
}
