//! Forwards and one-to-one addresses: where they lead, and what they may not take.

use std::net::Ipv4Addr;

use crate::profile::*;

use super::{and, good, one, said, with};

const ROUTE: &str = "routes: [{ to: 10.0.0.0/8, via: 192.168.10.254 }]\n";

fn forward(map: &str) -> String {
    and(&format!("forwards: [{{ {map} }}]"))
}

/// Two forwards of TCP, on lines 8 and 9; the port of the second from column 20 on.
fn two(first: &str, second: &str) -> String {
    let to = "protocol: tcp, to: 192.168.10.11";
    and(&format!("forwards:\n- {{ port: {first}, {to} }}\n- {{ from: any, port: {second}, {to} }}"))
        .replace("from: any, ", "")
}

fn pair(map: &str) -> String {
    and(&format!("one_to_one: [{{ {map} }}]"))
}

#[test]
fn forwards_are_read_with_their_defaults() {
    let profile = good(&and(&format!(
        "{ROUTE}forwards:\n\
         - {{ wans: [isp2, isp1], protocol: [tcp], port: 8443, from: 0.0.0.0/0, to: \"192.168.10.11:443\" }}\n\
         - {{ protocol: [udp, tcp], port: 8000-8100, from: 192.0.2.0/24, to: 10.1.2.3 }}\n\
         - {{ wans: isp1, protocol: udp, port: \"9000-9001\", to: 192.168.10.11:65534 }}"
    )));
    let [a, b, c] = profile.forwards.as_slice() else { panic!("{:?}", profile.forwards) };
    assert_eq!((a.wans.as_slice(), a.protocols.as_slice()), ([0, 1].as_slice(), [6].as_slice()));
    assert_eq!((a.ports, a.from.len(), a.to_port), ((8443, 8443), 0, 443));
    assert_eq!((a.to, a.at.line), (Ipv4Addr::new(192, 168, 10, 11), 9));
    assert_eq!((b.wans.as_slice(), b.protocols.as_slice()), ([0, 1].as_slice(), [6, 17].as_slice()));
    assert_eq!((b.ports, b.to_port, b.to), ((8000, 8100), 8000, Ipv4Addr::new(10, 1, 2, 3)));
    assert_eq!(b.from, ["192.0.2.0/24".parse().unwrap()]);
    assert_eq!((c.wans.as_slice(), c.ports, c.to_port), ([0].as_slice(), (9000, 9001), 65_534));
    let moved = Forward { at: Position::START, ..a.clone() };
    assert_eq!(*a, moved);
    assert_ne!(*a, Forward { to_port: 1, ..a.clone() });
}

#[test]
fn a_forward_says_what_and_where() {
    one(&forward("port: 1, to: 192.168.10.11"), "7:12", "a forward has no `protocol`", "protocol: tcp");
    one(&forward("protocol: tcp, to: 192.168.10.11"), "7:12", "a forward has no `port`", "port: 8443");
    one(&forward("protocol: tcp, port: 1"), "7:12", "a forward has no `to`", "192.168.10.11:8443");
    let to = |to: &str| forward(&format!("protocol: tcp, port: 1, to: {to}"));
    for (given, hint) in [
        ("192.168.10.11:0", "a number from 1 to 65535"),
        ("192.168.10.11:65536", "a number from 1 to 65535"),
        ("192.168.10.11:http", "a number from 1 to 65535"),
        ("192.168.10.11:80-90", "give the first port alone"),
        ("192.168.10.0/24", "without a prefix length"),
        ("server", "an IPv4 address, then a port"),
    ] {
        one(&to(given), "7:42", &format!("`to` leads nowhere: `{given}`"), hint);
    }
    one(&to("[192.168.10.11]"), "7:42", "`to` must be an address", "to: \"192.168.10.11:8443\"");
    let text = forward("protocol: [tcp, esp], port: 1, to: 192.168.10.11");
    one(&text, "7:24", "a forward needs protocols that have ports", "only tcp and udp");
    let text = forward("protocol: tcp, port: [1, 2], to: 192.168.10.11");
    one(&text, "7:35", "`port` cannot be a list here", "a forward for each");
    let text = forward("protocol: tcp, port: 100-300, to: 192.168.10.11:65400");
    one(&text, "7:48", "the ports there would end at 65600", "choose a lower first port");
    good(&forward("protocol: tcp, port: 100-235, to: 192.168.10.11:65400"));
}

#[test]
fn a_forward_leads_to_an_inside_host() {
    let to = |to: &str| forward(&format!("protocol: tcp, port: 1, to: {to}"));
    one(&to("192.168.11.5"), "7:42", "`to` 192.168.11.5 is in no inside network", "or add a route");
    one(&to("203.0.113.5"), "7:42", "in no inside network", "an inside interface");
    one(&to("192.168.10.1"), "7:42", "is the address of `lan` itself", "to: self");
    one(&to("203.0.113.2"), "7:42", "is the address of `isp1` itself", "to: self");
    one(&to("192.168.10.0"), "7:42", "is the network address of 192.168.10.0/24", "one host");
    one(&to("192.168.10.255"), "7:42", "is the broadcast address of 192.168.10.0/24", "one host");
    let routed = |to: &str| and(&format!("{ROUTE}forwards: [{{ protocol: tcp, port: 1, to: {to} }}]"));
    good(&routed("10.255.0.1"));
    one(&routed("11.0.0.1"), "8:42", "in no inside network", "or add a route");
    // While a route is wrong, nobody can tell.
    let text =
        and("routes: [{ to: 10.0.0.0/8, via: 1.2.3 }]\nforwards: [{ protocol: tcp, port: 1, to: 10.1.1.1 }]");
    assert_eq!(said(&text), ["7:33: `via` is not an IPv4 address: `1.2.3`"]);
}

#[test]
fn a_forward_names_wans() {
    let wans = |wans: &str| forward(&format!("wans: {wans}, protocol: tcp, port: 1, to: 192.168.10.11"));
    one(&wans("[isp1, ips2]"), "7:27", "no WAN is called `ips2`", "did you mean `isp2`?");
    one(&wans("lan"), "7:20", "no WAN is the interface `lan`", "there are `isp1`, `isp2`");
    one(&wans("[isp1, isp1]"), "7:27", "`isp1` is given twice", "keep one");
    one(&wans("[]"), "7:20", "`wans` is empty", "wans: [isp1]");
    // While `wans` is wrong, nobody can tell.
    let text = with("[isp1, isp2]", "[isp1, isp3]")
        + "forwards: [{ wans: isp2, protocol: tcp, port: 1, to: 192.168.10.11 }]\n";
    assert_eq!(said(&text), ["6:14: no interface is called `isp3`"]);
}

#[test]
fn an_outside_port_leads_to_one_place() {
    one(&two("443", "443"), "9:11", "port 443 leads elsewhere already", "see line 8");
    one(&two("8000-8100", "8100"), "9:11", "port 8100 leads elsewhere already", "see line 8");
    one(&two("80", "1-65535"), "9:11", "a port of 1-65535 leads elsewhere already", "see line 8");
    one(&two("90", "80-90"), "9:11", "a port of 80-90 leads elsewhere", "see line 8");
    good(&two("80-89", "90"));
    let both = |first: &str, second: &str| {
        let to = "port: 5, to: 192.168.10.11";
        and(&format!("forwards:\n- {{ {first}, {to} }}\n- {{ {second}, {to} }}"))
    };
    good(&both("protocol: tcp", "protocol: udp"));
    good(&both("wans: isp1, protocol: tcp", "wans: isp2, protocol: tcp"));
    // A narrower one first, then one for the rest; and two that are for different senders.
    good(&both("from: 192.0.2.1, protocol: tcp", "protocol: tcp"));
    good(&both("from: 192.0.2.1, protocol: tcp", "from: 192.0.2.2, protocol: tcp"));
    let text = both("from: 192.0.2.1, protocol: tcp", "from: 192.0.2.1, protocol: [udp, tcp]");
    one(&text, "9:50", "port 5 leads elsewhere already", "only a narrower one may come before");
    let text = both("protocol: tcp", "from: 192.0.2.1, protocol: tcp");
    one(&text, "9:43", "port 5 leads elsewhere already", "only a narrower one may come before");
    let text = both("protocol: tcp", "wans: isp2, protocol: tcp");
    one(&text, "9:38", "port 5 leads elsewhere already", "see line 8");
}

#[test]
fn one_to_one_addresses_are_read() {
    let profile = good(&pair("wan: isp1, outside: 203.0.113.4, inside: 192.168.10.20"));
    let given = &profile.one_to_one[0];
    assert_eq!((given.wan, given.when_down), (0, WhenDown::Drop));
    assert_eq!(given.outside, Ipv4Addr::new(203, 0, 113, 4));
    assert_eq!(given.inside, Ipv4Addr::new(192, 168, 10, 20));
    assert_eq!(*given, OneToOne { at: Position::START, ..given.clone() });
    assert_ne!(*given, OneToOne { wan: 1, ..given.clone() });
    // The provider may route the address here.
    let text = pair("wan: isp2, outside: 192.0.2.9, inside: 192.168.10.20, when_down: masquerade");
    assert_eq!(good(&text).one_to_one[0].when_down, WhenDown::Masquerade);
    one(&pair("outside: 203.0.113.4, inside: 192.168.10.20"), "7:14", "has no `wan`", "wan: isp1");
    one(&pair("wan: isp1, inside: 192.168.10.20"), "7:14", "has no `outside`", "outside: ");
    one(&pair("wan: isp1, outside: 203.0.113.4"), "7:14", "has no `inside`", "inside: ");
    let text = pair("wan: isp3, outside: 203.0.113.4, inside: 192.168.10.20, when_down: drop");
    one(&text, "7:21", "no WAN is called `isp3`", "did you mean `isp1`?");
    let text = pair("wan: isp1, outside: 203.0.113.4, inside: 192.168.10.20, when_down: wait");
    one(&text, "7:83", "`when_down` cannot be `wait`", "drop, masquerade");
}

#[test]
fn an_outside_address_is_nobody_elses() {
    let outside = |ip: &str| pair(&format!("wan: isp1, outside: {ip}, inside: 192.168.10.20"));
    for (ip, fault) in [
        ("203.0.113.2", "the address of `isp1` itself"),
        ("198.51.100.2", "the address of `isp2` itself"),
        ("203.0.113.1", "the gateway of `isp1`"),
        ("203.0.113.0", "the network address of 203.0.113.0/29"),
        ("203.0.113.7", "the broadcast address of 203.0.113.0/29"),
        ("192.168.10.9", "in the inside network 192.168.10.0/24 of `lan`"),
        ("224.0.0.5", "a multicast address"),
        ("127.0.0.1", "a loopback address"),
    ] {
        one(&outside(ip), "7:36", &format!("`outside` {ip} is {fault}"), "nobody else has");
    }
    let text = with("[isp1, isp2]", "{ isp1: { pool: [{ addresses: 203.0.113.4-203.0.113.6 }] }, isp2: {} }")
        + "one_to_one: [{ wan: isp1, outside: 203.0.113.5, inside: 192.168.10.20 }]\n";
    one(&text, "7:36", "`outside` 203.0.113.5 is in a pool of `isp1`", "nobody else has");
}

#[test]
fn one_to_one_is_one_to_one() {
    let two = |a: &str, b: &str| and(&format!("one_to_one:\n- {{ {a} }}\n- {{ {b} }}"));
    let first = "wan: isp1, outside: 203.0.113.4, inside: 192.168.10.20";
    good(&two(first, "wan: isp2, outside: 198.51.100.4, inside: 192.168.10.20"));
    let text = two(first, "wan: isp1, outside: 203.0.113.4, inside: 192.168.10.21");
    one(&text, "9:25", "`outside` 203.0.113.4 is given twice", "already on line 8");
    let text = two(first, "wan: isp1, outside: 203.0.113.5, inside: 192.168.10.20");
    one(&text, "9:46", "192.168.10.20 has an outside address of this WAN already", "see line 8");
    let text = pair("wan: isp1, outside: 203.0.113.4, inside: 10.0.0.1");
    one(&text, "7:57", "`inside` 10.0.0.1 is in no inside network", "or add a route");
}
