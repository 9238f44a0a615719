//! The firewall's rules, and the words that all rules share.

use crate::profile::*;

use super::{and, bad, good, one, said, with};

fn rule(map: &str) -> String {
    and(&format!("firewall: [{{ {map}, action: accept }}]"))
}

fn when(map: &str) -> Match {
    good(&rule(map)).firewall[0].when.clone()
}

fn nets(list: &[&str]) -> Vec<crate::base::Ipv4Net> {
    list.iter().map(|net| net.parse().unwrap()).collect()
}

#[test]
fn rules_keep_their_order_and_their_words() {
    let profile = good(&and("firewall:\n\
         - { in: isp1, to: 192.168.10.20, protocol: [tcp], port: [25, 443], action: accept }\n\
         - { in: lan, to: self, protocol: [tcp], port: [22], action: accept }\n\
         - { from: [192.168.10.7, 192.168.10.128/25], to: [10.0.0.0/8], action: reject }\n\
         - { action: drop }"));
    let expected = [
        Rule {
            when: Match {
                interface: Some(1),
                from: Vec::new(),
                to: To::Nets(nets(&["192.168.10.20/32"])),
                protocols: vec![6],
                ports: vec![(25, 25), (443, 443)],
            },
            action: Action::Accept,
        },
        Rule {
            when: Match {
                interface: Some(0),
                from: Vec::new(),
                to: To::Own,
                protocols: vec![6],
                ports: vec![(22, 22)],
            },
            action: Action::Accept,
        },
        Rule {
            when: Match {
                from: nets(&["192.168.10.7/32", "192.168.10.128/25"]),
                to: To::Nets(nets(&["10.0.0.0/8"])),
                ..Match::default()
            },
            action: Action::Reject,
        },
        Rule { when: Match::default(), action: Action::Drop },
    ];
    assert_eq!(profile.firewall, expected);
    let json = serde_json::to_value(&profile).unwrap();
    assert_eq!(json["firewall"][1]["when"]["to"], "self");
    assert_eq!(json["firewall"][2]["when"]["to"][0], "10.0.0.0/8");
    assert_eq!(json["firewall"][3]["when"]["to"], "any");
    assert_eq!(json["firewall"][3]["action"], "drop");
}

#[test]
fn one_value_stands_for_a_list_of_one() {
    for (scalar, list) in [
        ("from: 192.168.10.12", "from: [192.168.10.12/32]"),
        ("to: 10.0.0.0/8", "to: [10.0.0.0/8]"),
        ("protocol: udp", "protocol: [17]"),
        ("protocol: tcp, port: 443", "protocol: [tcp], port: [443-443]"),
        ("protocol: tcp, port: \"80-90\"", "protocol: [tcp], port: [80-90]"),
    ] {
        assert_eq!(when(scalar), when(list), "{scalar}");
    }
}

#[test]
fn values_come_out_in_one_form() {
    assert_eq!(when("from: [10.0.0.0/8, 0.0.0.0/0]"), Match::default());
    assert_eq!(when("to: 0.0.0.0/0").to, To::Any);
    assert_eq!(
        when("from: [10.2.0.0/16, 10.1.0.0/16, 10.2.0.0/16]").from,
        nets(&["10.1.0.0/16", "10.2.0.0/16"])
    );
    let given = when("protocol: [udp, tcp, 6], port: [443, 90-100, 80-95, 101, 1-3]");
    assert_eq!(given.protocols, [6, 17]);
    assert_eq!(given.ports, [(1, 3), (80, 101), (443, 443)]);
    assert_eq!(when("protocol: tcp, port: [65535, 1-65535]").ports, [(1, 65_535)]);
}

#[test]
fn protocols_have_names_and_numbers() {
    let given = when("protocol: [tcp, udp, icmp, esp, gre, ah, sctp, ipip, 89, 1, 255]").protocols;
    assert_eq!(given, [1, 4, 6, 17, 47, 50, 51, 89, 132, 255]);
    one(&rule("protocol: 0"), "7:24", "a protocol is out of range: `0`", "from 1 to 255");
    one(&rule("protocol: [256]"), "7:25", "out of range", "from 1 to 255");
    one(&rule("protocol: tpc"), "7:24", "no protocol is called `tpc`", "did you mean `tcp`?");
    one(&rule("protocol: quic"), "7:24", "no protocol is called `quic`", "or a number from 1 to 255");
    one(&rule("protocol: \"6\""), "7:24", "no protocol is called `6`", "one of tcp");
    one(&rule("protocol: []"), "7:24", "`protocol` is empty", "protocol: [tcp, udp]");
    one(&rule("protocol: [[tcp]]"), "7:25", "a protocol must be a name or a number, not a list", "tcp");
}

#[test]
fn ports_are_numbers_and_ranges() {
    let port = |value: &str| rule(&format!("protocol: tcp, port: {value}"));
    one(&port("0"), "7:35", "`port` is out of range: `0`", "from 1 to 65535");
    one(&port("65536"), "7:35", "out of range", "from 1 to 65535");
    for range in ["0-5", "5-65536", "5-", "-5", "a-b", "1-2-3", "01-2"] {
        one(&port(range), "7:35", &format!("no range of ports: `{range}`"), "as `8000-8100`");
    }
    one(&port("9-8"), "7:35", "the range 9-8 ends before it begins", "write `8-9`");
    one(&port("\"443\""), "7:35", "`port` must be a number, not a text", "remove the quotes");
    one(&port("https"), "7:35", "`port` must be a whole number", "port: 443");
}

#[test]
fn ports_need_protocols_that_have_ports() {
    for protocol in ["tcp", "udp", "[udp, tcp]"] {
        good(&rule(&format!("protocol: {protocol}, port: 53")));
    }
    one(&rule("port: 53"), "7:20", "`port` needs protocols that have ports", "add `protocol: [tcp]`");
    one(&rule("protocol: [tcp, icmp], port: 5"), "7:43", "`port` needs protocols", "only tcp and udp");
    one(&rule("protocol: sctp, port: 5"), "7:36", "`port` needs protocols", "only tcp and udp");
}

#[test]
fn addresses_are_networks_or_hosts() {
    one(
        &rule("from: 10.0.0.1/8"),
        "7:20",
        "is an address in a network",
        "write `10.0.0.0/8`, or `10.0.0.1` for",
    );
    one(&rule("to: 2001:db8::1"), "7:18", "`to` is not an IPv4 address", "IPv6 is not supported");
    one(&rule("from: isp1"), "7:20", "`from` is not an IPv4 address", "four numbers");
    one(&rule("from: []"), "7:20", "`from` is empty", "from: 192.0.2.0/24");
    one(&rule("from: { a: b }"), "7:20", "`from` must be a value or a list, not a map", "from: ");
    one(&rule("to: [self, 10.0.0.0/8]"), "7:19", "`self` cannot stand in a list", "to: self");
    let many: Vec<String> = (0..257).map(|i| format!("10.0.{}.{}", i / 250, i % 250)).collect();
    one(&rule(&format!("from: [{}]", many.join(", "))), "7:2971", "more than 256 items in `from`", "remove");
}

#[test]
fn a_rule_names_an_interface_and_what_to_do() {
    one(&rule("in: lam"), "7:18", "no interface is called `lam`", "did you mean `lan`?");
    one(&rule("in: guests"), "7:18", "no interface is called `guests`", "there are `lan`, `isp1`, `isp2`");
    one(&rule("in: [lan]"), "7:18", "`in` must be the name of an interface, not a list", "in: lan");
    one(&and("firewall: [{ in: lan }]"), "7:12", "a rule has no `action`", "add `action: accept`");
    let text = and("firewall: [{ action: deny }]");
    one(&text, "7:22", "`action` cannot be `deny`", "one of accept, drop, reject");
    one(&and("firewall: { in: lan }"), "7:11", "`firewall` must be a list, not a map", "firewall: [{");
    one(&and("firewall: [lan]"), "7:12", "a rule must be a map", "key: value");
    let rules = "{ action: drop },".repeat(1025);
    let text = bad(&and(&format!("firewall: [{rules}]"))).to_string();
    assert!(text.contains("more than 1024 rules"), "{text}");
}

#[test]
fn an_interface_that_could_not_be_read_is_named_without_harm() {
    let text = with("linux:isp2\"", "isp2\"") + "firewall: [{ in: isp2, action: drop }]\n";
    assert_eq!(said(&text), ["5:17: `isp2` is no port"]);
    let text = "version: 1\ninterfaces: 5\nwans: [a]\nfirewall: [{ in: a, action: drop }]\n";
    assert_eq!(said(text), ["2:13: `interfaces` must be a map, not `5`"]);
}
