//! The hosts that a WAN asks: their forms, their limits, and where they may lie.

use std::net::Ipv4Addr;

use crate::profile::*;

use super::{good, health, one, said};

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
fn one_host_stands_for_a_list_of_one() {
    assert_eq!(target("{ icmp: 1.1.1.1 }"), target("{ icmp: [1.1.1.1] }"));
    assert_eq!(target("{ tcp: \"1.1.1.1:53\" }"), target("{ tcp: [\"1.1.1.1:53\"] }"));
}

#[test]
fn rfc_1123_2_1_hosts_are_addresses_or_names() {
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
