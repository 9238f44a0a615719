//! The section `health`: targets, BFD, limits of a degraded line.

use std::net::Ipv4Addr;

use crate::base::Nanos;
use crate::profile::*;

use super::{and, good, one, said, with};

/// `SHORT` with both WANs under the health `h`, given as a flow map. It stands on line 7, from column 16 on.
fn health(map: &str) -> String {
    with("[isp1, isp2]", "{ isp1: { health: h }, isp2: { health: h } }")
        + &format!("health: {{ h: {map} }}\n")
}

/// With the map of `targets`, which begins in column 27.
fn targets(map: &str) -> String {
    health(&format!("{{ targets: {map} }}"))
}

/// The one target of the map of `targets`.
fn target(map: &str) -> Target {
    let profile = good(&targets(map));
    let list = &profile.wans[0].health.targets.list;
    assert_eq!(list.len(), 1, "{list:?}");
    list[0].clone()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

fn ten(host: impl Fn(usize) -> String, n: usize) -> String {
    (0..n).map(host).collect::<Vec<_>>().join(", ")
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
fn one_host_stands_for_a_list_of_one() {
    assert_eq!(target("{ icmp: 1.1.1.1 }"), target("{ icmp: [1.1.1.1] }"));
    assert_eq!(target("{ tcp: \"1.1.1.1:53\" }"), target("{ tcp: [\"1.1.1.1:53\"] }"));
}

#[test]
fn rfc1123_2_1_hosts_are_addresses_or_names() {
    let long = format!("{}.{}", "a".repeat(63), "b".repeat(63));
    for host in ["one.one.one.one", "a", "9to5.example", "xn--bcher-kva.example", "a.1.b2", &long] {
        let Target { name, probe } = target(&format!("{{ icmp: {host} }}"));
        assert_eq!((name.as_str(), probe), (host, TargetProbe::Icmp { host: Host::Name(host.into()) }));
    }
    let shout = target("{ icmp: Example.COM }");
    assert_eq!(shout.name, "Example.COM");
    assert_eq!(shout.probe, TargetProbe::Icmp { host: name("example.com") });
    let long = "a".repeat(64);
    for (host, message, hint) in [
        ("1.1.1", "`1.1.1` is no host", "an IPv4 address, or a name"),
        ("1.1.1.256", "`1.1.1.256` is no host", "an IPv4 address"),
        ("a..b", "`a..b` is no host", "between dots"),
        ("-a.b", "`-a.b` is no host", "letters, digits"),
        ("a-.b", "`a-.b` is no host", "letters, digits"),
        ("a_b.c", "`a_b.c` is no host", "letters, digits"),
        ("\"\"", "`` is no host", "letters, digits"),
        ("\"a b\"", "`a b` is no host", "letters, digits"),
        (&long, "is no host", "letters, digits"),
        ("example.com.", "ends with a dot", "without it"),
        ("\"2606:4700::1111\"", "is no host", "IPv6 is not supported"),
        ("127.0.0.1", "127.0.0.1 is no host: it is a loopback address", "a host"),
        ("224.0.0.1", "it is a multicast address", "a host"),
        ("[1.1.1.1]", "`icmp` must be an address or a name, not a list", "icmp:"),
    ] {
        one(&targets(&format!("{{ icmp: [{host}] }}")), "7:34", message, hint);
    }
    let long = ten(|_| "abcdefghi".into(), 26).replace(", ", ".");
    one(&targets(&format!("{{ icmp: [{long}] }}")), "7:34", "is no host", "letters");
}

#[test]
fn tcp_targets_have_a_port() {
    let found = target("{ tcp: [\"example.com:65535\"] }");
    assert_eq!(found.name, "example.com:65535");
    assert_eq!(found.probe, TargetProbe::Tcp { host: name("example.com"), port: 65_535 });
    for (given, message, hint) in [
        ("198.51.100.77", "has no port: `198.51.100.77`", "as `\"198.51.100.77:443\"`"),
        ("\"2606:4700::1111\"", "has no port", "add it after a colon"),
        ("\"example.com:0\"", "`0` is no port", "from 1 to 65535"),
        ("\"example.com:65536\"", "`65536` is no port", "from 1 to 65535"),
        ("\"example.com:https\"", "`https` is no port", "from 1 to 65535"),
        ("\"example.com:\"", "`` is no port", "from 1 to 65535"),
        ("\"[::1]:443\"", "`[::1]` is no host", "IPv6 is not supported"),
        ("\"0.0.0.0:443\"", "0.0.0.0 is no host", "a host"),
    ] {
        one(&targets(&format!("{{ tcp: [{given}] }}")), "7:33", message, hint);
    }
}

#[test]
fn dns_targets_have_a_server_and_a_name() {
    let found = target("{ dns: [{ server: \"9.9.9.9:5353\", name: Example.com, answer: 192.0.2.1 }] }");
    assert_eq!(found.name, "Example.com@9.9.9.9:5353");
    let probe = TargetProbe::Dns {
        server: ip("9.9.9.9"),
        port: 5353,
        question: "example.com".into(),
        answer: vec![ip("192.0.2.1")],
    };
    assert_eq!(found.probe, probe);
    let dns = |map: &str| targets(&format!("{{ dns: [{{ {map} }}] }}"));
    one(&dns("server: 9.9.9.9"), "7:33", "a target in `dns` has no `name`", "add `name: example.com`");
    one(&dns("name: example.com"), "7:33", "a target in `dns` has no `server`", "add `server: 9.9.9.9`");
    one(
        &dns("server: dns.quad9.net, name: a.b"),
        "7:43",
        "`server` is not an IPv4 address",
        "by its address",
    );
    one(&dns("server: \"9.9.9.9:x\", name: a.b"), "7:43", "`x` is no port", "from 1 to 65535");
    one(&dns("server: 9.9.9.9, name: 1.2.3.4"), "7:58", "`name` is an address, not a name", "to be resolved");
    one(
        &dns("server: 9.9.9.9, name: a.b, answer: x"),
        "7:71",
        "`answer` is not an IPv4 address",
        "four numbers",
    );
    one(&dns("server: 9.9.9.9, name: a.b, answer: []"), "7:71", "`answer` is empty", "answer: [192.0.2.1]");
    one(
        &dns("server: 9.9.9.9, name: a.b, type: A"),
        "7:63",
        "unknown key `type`",
        "known here: server, name",
    );
    let many = ten(|i| format!("192.0.2.{i}"), 17);
    let text = dns(&format!("server: 9.9.9.9, name: a.b, answer: [{many}]"));
    one(&text, "7:254", "more than 16 items in `answer`", "remove");
    one(&targets("{ dns: 9.9.9.9 }"), "7:32", "`dns` must be a list", "dns: [{ server");
    one(&targets("{ dns: [9.9.9.9] }"), "7:33", "a target in `dns` must be a map", "key: value");
}

#[test]
fn http_targets_have_a_plain_url() {
    let found = target("{ http: [{ url: \"http://Example.com/\" }] }");
    assert_eq!(found.name, "http://Example.com/");
    let probe = TargetProbe::Http { host: name("example.com"), port: 80, path: "/".into(), status: 204 };
    assert_eq!(found.probe, probe);
    let http = |map: &str| targets(&format!("{{ http: [{{ {map} }}] }}"));
    let longest = format!("http://a.b/{}", "x".repeat(1023));
    good(&http(&format!("url: \"{longest}\"")));
    for (url, message, hint) in [
        ("https://example.com/", "`https` is not supported", "no TLS is spoken here; ask the port with `tcp"),
        ("HTTPS://example.com/", "`https` is not supported", "no TLS"),
        ("example.com/x", "`url` is no `http` URL", "http://HOST/PATH"),
        ("ftp://example.com/", "`url` is no `http` URL", "http://HOST/PATH"),
        ("http://example.com", "`url` has no path", "add `/` after the host"),
        ("http:///x", "`` is no host", "a name"),
        ("http://me@example.com/", "`url` has a user", "nobody logs in"),
        ("http://example.com/#x", "`url` has a fragment", "never sent"),
        ("http://example.com/a b", "a character that no URL has", "two digits"),
        ("http://example.com/é", "a character that no URL has", "two digits"),
        ("http://example.com:0/", "`0` is no port", "from 1 to 65535"),
        ("http://[::1]/", "is no host", "IPv6 is not supported"),
        (&format!("{longest}x"), "longer than 1024 bytes", "shorter"),
    ] {
        one(&http(&format!("url: \"{url}\"")), "7:41", message, hint);
    }
    one(&http("status: 204"), "7:34", "a target in `http` has no `url`", "add `url: \"http://");
    for status in ["99", "600"] {
        let text = http(&format!("url: \"http://a.b/\", status: {status}"));
        one(&text, "7:64", "`status` is out of range", "from 100 to 599");
    }
}

#[test]
fn a_target_is_asked_once() {
    for (map, place, shown) in [
        ("{ icmp: [1.1.1.1, 9.9.9.9, 1.1.1.1] }", "7:52", "`1.1.1.1`"),
        ("{ icmp: [a.b, A.b] }", "7:39", "`A.b`"),
        ("{ tcp: [\"a.b:1\", \"a.b:2\", \"a.b:1\"] }", "7:51", "`a.b:1`"),
        (
            "{ http: [{ url: \"http://a.b/\" }, { url: \"http://a.b/\", status: 200 }] }",
            "7:58",
            "`http://a.b/`",
        ),
    ] {
        one(&targets(map), place, &format!("the target {shown} is given twice"), "already on line 7");
    }
    // Another kind of question is another target.
    good(&targets("{ icmp: [1.1.1.1], tcp: [\"1.1.1.1:53\"], dns: [{ server: 1.1.1.1, name: a.b }] }"));
}

#[test]
fn there_are_at_most_16_targets_and_no_empty_section() {
    let many = |icmp: usize, tcp: usize| {
        let icmp = ten(|i| format!("h{i}.example"), icmp);
        targets(&format!("{{ icmp: [{icmp}], tcp: [{}] }}", ten(|i| format!("\"a.b:{}\"", i + 1), tcp)))
    };
    assert_eq!(good(&many(15, 1)).wans[0].health.targets.list.len(), 16);
    for (icmp, tcp) in [(15, 2), (16, 1), (17, 1), (40, 40)] {
        let said = said(&many(icmp, tcp));
        assert!(said.len() == 1 && said[0].ends_with("more than 16 targets"), "{said:?}");
    }
    one(&targets("{ every: 1s }"), "7:16", "`targets` names no target", "icmp: [1.1.1.1, 9.9.9.9]");
    one(&targets("{ icmp: [] }"), "7:33", "`icmp` is empty", "icmp: [");
}

#[test]
fn targets_keep_their_limits() {
    let with = |map: &str| targets(&format!("{{ icmp: [1.1.1.1, 9.9.9.9], {map} }}"));
    good(&with("every: 20ms, timeout: 10ms"));
    good(&with("every: 60s, timeout: 10s, need: 2"));
    good(&with("every: 20ms, timeout: 1280ms"));
    one(&with("every: 19ms"), "7:60", "`every` must be at least 20ms", "to 1m");
    one(&with("every: 61s"), "7:60", "`every` must be at most 1m", "from 20ms");
    one(&with("timeout: 9ms"), "7:62", "`timeout` must be at least 10ms", "to 10s");
    one(&with("timeout: 11s"), "7:62", "`timeout` must be at most 10s", "from 10ms");
    one(
        &with("every: 20ms, timeout: 1281ms"),
        "7:75",
        "65 rounds would be under way",
        "wait 1s280ms at most",
    );
    good(&with("every: 20ms"));
    one(&with("timeout: 10s, every: 100ms"), "7:62", "100 rounds would be under way", "wait 6s400ms");
    one(&with("need: 0"), "7:59", "`need` is out of range", "from 1 to 16");
    one(&with("need: 3"), "7:59", "`need` is 3, but there are only 2 targets", "never be up");
    one(&with("need: many"), "7:59", "`need` must be a whole number", "need: 1");
    // A target that could not be read counts: it is reported already.
    assert_eq!(said(&targets("{ icmp: [1.1.1.1, x_], need: 2 }")), ["7:43: `x_` is no host"]);
}

#[test]
fn a_target_lies_behind_the_wan() {
    for (ip, message) in [
        ("203.0.113.2", "the target 203.0.113.2 is the address of `isp1` itself"),
        ("192.168.10.1", "the target 192.168.10.1 is the address of `lan` itself"),
        ("192.168.10.9", "is in the inside network 192.168.10.0/24 of `lan`"),
        ("10.1.2.3", "is in 10.0.0.0/8, which a route leads to inside"),
    ] {
        let routes = "routes: [{ to: 10.0.0.0/8, via: 192.168.10.254 }]\n";
        for (map, place) in [
            (format!("{{ icmp: [{ip}] }}"), "7:34"),
            (format!("{{ tcp: [\"{ip}:80\"] }}"), "7:33"),
            (format!("{{ dns: [{{ server: {ip}, name: a.b }}] }}"), "7:33"),
            (format!("{{ http: [{{ url: \"http://{ip}/\" }}] }}"), "7:34"),
        ] {
            one(&(targets(&map) + routes), place, message, "on the internet");
        }
    }
    good(&targets("{ icmp: [203.0.113.1, 198.51.100.1] }"));
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
