//! Single values: their forms and their limits.

use crate::base::Nanos;
use crate::profile::value::{parse_span, show_span};

use super::{and, good, health, one, with};

fn timeouts(map: &str) -> String {
    and(&format!("nat: {{ timeouts: {map} }}"))
}

#[test]
fn spans_add_up_their_units() {
    for (text, nanos) in [
        ("0s", 0),
        ("1us", 1_000),
        ("250ms", 250_000_000),
        ("2h4m", 7_440_000_000_000),
        ("1h2m3s4ms5us", 3_723_004_005_000),
        ("90s", 90_000_000_000),
    ] {
        assert_eq!(parse_span(text), Some(Nanos(nanos)), "{text}");
    }
    for text in [
        "",
        "s",
        "5",
        "1.5s",
        "-1s",
        "+1s",
        "1 s",
        "1d",
        "1ns",
        "4m2h",
        "1s1s",
        "1sm",
        "99999999999999999999s",
        "5s5",
        "1h 2m",
        "1S",
        "9999999h",
    ] {
        assert_eq!(parse_span(text), None, "{text}");
    }
    assert_eq!(show_span(Nanos::from_s(7440)), "2h4m");
    assert_eq!(show_span(Nanos::ZERO), "0s");
}

#[test]
fn a_time_needs_a_unit() {
    one(&health("{ gateway: { arp: 250 } }"), "7:32", "`arp` has no unit: `250`", "as `250s`");
    one(&health("{ up: { stable: 0 } }"), "7:30", "`stable` has no unit", "us, ms, s, m, h");
    one(&health("{ up: { stable: 1.5s } }"), "7:30", "`stable` is not a time: `1.5s`", "as `2h4m`");
    one(&health("{ up: { stable: [1s] } }"), "7:30", "`stable` must be a time", "write it as");
    one(&health("{ up: { stable: } }"), "7:22", "`stable` has no value", "write it as");
}

#[test]
fn health_keeps_its_limits() {
    for map in [
        "{ gateway: { arp: 50ms }, down: { failures: 1 }, up: { successes: 1, stable: 0s } }",
        "{ gateway: { arp: 10s }, down: { failures: 100 }, up: { successes: 1000, stable: 1h } }",
    ] {
        good(&health(map));
    }
    one(&health("{ gateway: { arp: 49ms } }"), "7:32", "at least 50ms", "from 50ms to 10s");
    one(&health("{ gateway: { arp: 10s1us } }"), "7:32", "at most 10s", "from 50ms to 10s");
    one(&health("{ down: { failures: 0 } }"), "7:34", "`failures` is out of range: `0`", "from 1 to 100");
    one(&health("{ down: { failures: 101 } }"), "7:34", "`failures` is out of range", "from 1 to 100");
    one(&health("{ up: { successes: 0 } }"), "7:33", "`successes` is out of range", "from 1 to 1000");
    one(&health("{ up: { successes: 1001 } }"), "7:33", "`successes` is out of range", "from 1 to 1000");
    one(&health("{ up: { stable: 61m } }"), "7:30", "`stable` must be at most 1h", "from 0s to 1h");
}

#[test]
fn rfc4787_5b_timeouts_keep_the_rfcs() {
    good(&timeouts(
        "{ tcp: 2h4m, tcp_transitory: 10s, udp: 2m, icmp: 60s, udp_ports: { 1: 1s, 1023: 1s, 1024: 2m } }",
    ));
    good(&timeouts("{ tcp: 24h, tcp_transitory: 24h, udp: 24h, icmp: 24h, udp_ports: { 65535: 24h } }"));
    one(&timeouts("{ tcp: 2h3m59s }"), "7:25", "at least 2h4m (RFC 5382 REQ-5)", "from 2h4m to 24h");
    one(&timeouts("{ tcp_transitory: 9s }"), "7:36", "at least 10s", "from 10s");
    one(&timeouts("{ udp: 119s }"), "7:25", "at least 2m (RFC 4787 REQ-5)", "from 2m");
    one(&timeouts("{ icmp: 59s }"), "7:26", "at least 1m (RFC 5508 REQ-2)", "from 1m");
    for key in ["tcp", "tcp_transitory", "udp", "icmp"] {
        let place = format!("7:{}", 22 + key.len());
        one(&timeouts(&format!("{{ {key}: 24h1s }}")), &place, "at most 24h", "to 24h");
    }
    one(&timeouts("{ udp_ports: { 53: 999ms } }"), "7:37", "`53` must be at least 1s", "from 1s");
    one(&timeouts("{ udp_ports: { 1024: 119s } }"), "7:39", "RFC 4787 REQ-5", "from 2m");
    one(&timeouts("{ udp_ports: [53] }"), "7:31", "`udp_ports` must be a map, not a list", "key: value");
    for port in ["0", "65536", "dns", "-1", "053"] {
        let text = timeouts(&format!("{{ udp_ports: {{ {port}: 10m }} }}"));
        one(&text, "7:33", &format!("`{port}` is no UDP port"), "1 to 65535");
    }
}

#[test]
fn given_udp_ports_take_the_place_of_the_default_ones() {
    assert_eq!(
        good(&timeouts("{ udp_ports: { 500: 20s } }")).nat.timeouts.udp_ports,
        [(500, Nanos::from_s(20))]
    );
    assert_eq!(good(&timeouts("{ udp_ports: {} }")).nat.timeouts.udp_ports, []);
}

#[test]
fn numbers_are_whole_and_in_range() {
    let sessions = |value: &str| and(&format!("engine: {{ sessions: {value} }}"));
    for n in [1024, 16_515_072] {
        assert_eq!(good(&sessions(&n.to_string())).engine.sessions, n);
    }
    for n in ["0", "1023", "16515073", "99999999999999999999999"] {
        one(&sessions(n), "7:21", "`sessions` is out of range", "from 1024 to 16515072");
    }
    for n in ["1e6", "1_000_000", "1000000.0", "-5", "0x10000", "01024", "many", "[1024]", "{ a: 1 }", "true"]
    {
        one(&sessions(n), "7:21", "`sessions` must be a whole number", "sessions: 1000000");
    }
    one(&sessions("\"4096\""), "7:21", "must be a number, not a text", "remove the quotes");
    one(&sessions(""), "7:11", "`sessions` has no value", "sessions: 1000000");
    let errors = |n: &str| and(&format!("icmp: {{ errors_per_second: {n} }}"));
    good(&errors("1"));
    good(&errors("1000000"));
    one(&errors("0"), "7:28", "out of range", "from 1 to 1000000");
    one(&errors("1000001"), "7:28", "out of range", "from 1 to 1000000");
}

#[test]
fn only_true_and_false_are_bools() {
    let flag = |value: &str| and(&format!("icmp: {{ time_exceeded: {value} }}"));
    assert!(good(&flag("true")).icmp.time_exceeded);
    assert!(!good(&flag("false")).icmp.time_exceeded);
    for word in ["on", "yes", "Yes", "ON", "True", "TRUE", "y"] {
        one(&flag(word), "7:24", &format!("must be true or false, not `{word}`"), "write `true`");
    }
    for word in ["off", "no", "No", "False", "n"] {
        one(&flag(word), "7:24", "must be true or false", "write `false`");
    }
    one(&flag("\"true\""), "7:24", "not a text", "remove the quotes");
    one(&flag("1"), "7:24", "must be true or false, not `1`", "true");
    one(&flag("maybe"), "7:24", "must be true or false, not `maybe`", "true");
}

#[test]
fn words_come_from_their_list() {
    one(&and("engine: { hugepages: requird }"), "7:22", "cannot be `requird`", "did you mean `required`?");
    one(&and("engine: { idle: nap }"), "7:17", "cannot be `nap`", "one of auto, poll, sleep");
    one(&and("engine: { idle: [poll] }"), "7:17", "must be one of auto, poll, sleep, not a list", "auto");
}

#[test]
fn cores_are_unique_and_below_1024() {
    assert_eq!(good(&and("engine: { workers: [0, 1023] }")).engine.workers, Some(vec![0, 1023]));
    one(&and("engine: { workers: [1024] }"), "7:21", "out of range: `1024`", "from 0 to 1023");
    one(&and("engine: { workers: [2, 3, 2] }"), "7:27", "core 2 is given twice", "line 7");
    one(&and("engine: { workers: [2], manager: 2 }"), "7:34", "core 2 is given twice", "of its own");
    one(&and("engine: { workers: [] }"), "7:20", "`workers` is empty", "workers: [2, 3]");
    one(&and("engine: { workers: 2 }"), "7:20", "must be a list, not `2`", "workers: [2, 3]");
    let many: Vec<String> = (0..129).map(|n| n.to_string()).collect();
    one(
        &and(&format!("engine: {{ workers: [{}] }}", many.join(","))),
        "7:423",
        "more than 128 workers",
        "remove",
    );
}

#[test]
fn arguments_of_the_library_are_single_words_of_text() {
    one(&and("engine: { eal: [\"\"] }"), "7:17", "cannot be an argument", "one argument an item");
    one(&and("engine: { eal: [\"a\\0\"] }"), "7:17", "cannot be an argument", "one argument an item");
    one(&and("engine: { eal: [[]] }"), "7:17", "must be a text, not a list", "write it as");
    one(&and("engine: { eal: --in-memory }"), "7:16", "`eal` must be a list", "eal: [");
}

#[test]
fn only_version_1_is_known() {
    one(&with("version: 1", "version: 2"), "1:10", "version `2` is not known", "version: 1");
    one(&with("version: 1", "version: 1.0"), "1:10", "version `1.0` is not known", "version: 1");
    one(&with("version: 1", "version: \"1\""), "1:10", "must be a number, not a text", "remove the quotes");
    one(&with("version: 1", "version: one"), "1:10", "`version` must be the number 1", "version: 1");
    one(&with("version: 1\n", "\n"), "1:1", "the profile has no `version`", "add `version: 1`");
}

#[test]
fn ports_have_three_forms() {
    let port = |value: &str| with("\"linux:lan0\"", &format!("\"{value}\""));
    for value in [
        "0000:03:00.0",
        "10000:e1:1f.7",
        "abcd:ef:00.1",
        "linux:eth0",
        "linux:abcdefghijklmno",
        "linux:eth0.30",
        "linux:br-lan_1@x",
        "net_null0",
        "net_tap1,iface=tap0,mac=fixed",
        "net_af_packet0,iface=veth0,blocksz=4096",
    ] {
        assert_eq!(good(&port(value)).interfaces[0].port.to_string(), value);
    }
    for (value, message, hint) in [
        ("03:00.0", "without its domain", "write `0000:03:00.0`"),
        ("eth0", "`eth0` is no port", "linux:eth0"),
        ("0000:03:20.0", "is no port", "a PCI address"),
        ("0000:03:00.8", "is no port", "a PCI address"),
        ("0000.03.00:0", "is no port", "a PCI address"),
        ("0000:03:00.0.0", "is no port", "a PCI address"),
        ("linux:", "no name of a Linux interface", "1 to 15"),
        ("linux:abcdefghijklmnop", "no name of a Linux interface", "1 to 15"),
        ("linux:a/b", "no name of a Linux interface", "without"),
        ("linux:a b", "no name of a Linux interface", "without"),
        ("linux:..", "no name of a Linux interface", "1 to 15"),
        ("linux:a,b=c", "no name of a Linux interface", "without"),
        ("net_", "no virtual device", "a name"),
        ("net_Null", "no virtual device", "a name"),
        ("net_null0,a b", "no virtual device", "no spaces"),
        ("", "is no port", "linux:NAME"),
        ("igb uio", "is no port", "linux:NAME"),
    ] {
        one(&port(value), "3:17", message, hint);
    }
    one(&with("port: \"linux:lan0\", ", ""), "3:3", "interface `lan` has no `port`", "add `port:");
    one(&with("\"linux:lan0\"", "[a]"), "3:17", "`port` must be a text, not a list", "port:");
}

#[test]
fn addresses_are_written_with_their_prefix() {
    let lan = |value: &str| with("[192.168.10.1/24]", value);
    one(&lan("[192.168.10.1]"), "3:43", "`192.168.10.1`", "as `192.168.10.1/24`");
    one(&lan("192.168.10.1/24"), "3:42", "`addresses` must be a list", "[192.168.10.1/24]");
    one(&lan("static"), "3:42", "`addresses` must be a list, not `static`", "addresses: [");
    one(&lan("[]"), "3:42", "`addresses` is empty", "addresses: [");
    one(&lan(""), "3:31", "`addresses` has no value", "addresses: [");
    one(&lan("[192.168.10.256/24]"), "3:43", "is not an IPv4 address", "0 to 255");
    one(&lan("[192.168.10.1/33]"), "3:43", "is not an IPv4 address with a prefix length", "as `");
    one(&lan("[\"2001:db8::1/64\"]"), "3:43", "is not an IPv4 address", "IPv6 is not supported");
    one(&with(", addresses: [192.168.10.1/24]", ""), "3:3", "interface `lan` has no `addresses`", "add");
    one(
        &with("203.0.113.1 }", "203.0.113.1/29 }"),
        "4:69",
        "`gateway` is not an IPv4 address",
        "without a prefix",
    );
    one(&with("203.0.113.1 }", "}"), "4:60", "`gateway` has no value", "192.0.2.1");
}

#[test]
fn the_socket_is_an_absolute_path_that_fits() {
    let socket = |path: &str| and(&format!("management: {{ socket: {path} }}"));
    let longest = format!("/{}", "a".repeat(106));
    assert_eq!(good(&socket(&longest)).management.socket.to_str(), Some(longest.as_str()));
    one(&socket(&format!("{longest}a")), "7:23", "longer than 107 bytes", "shorter");
    one(&socket("run/turnout.sock"), "7:23", "must be an absolute path", "begin it with `/`");
    one(&socket("\"/run/\\0\""), "7:23", "control characters", "plain path");
    one(&socket("/run/turnout/"), "7:23", "names a folder", "add the name");
    one(&socket("[]"), "7:23", "`socket` must be a path, not a list", "socket: /run");
}

#[test]
fn the_journal_is_an_absolute_folder() {
    let journal = |path: &str| and(&format!("management: {{ journal: {path} }}"));
    for path in ["/var/lib/turnout", "/j/", &format!("/{}", "a".repeat(3839))] {
        assert_eq!(good(&journal(path)).management.journal.to_str(), Some(path));
    }
    one(&journal("journal"), "7:24", "`journal` must be an absolute path", "begin it with `/`");
    one(&journal(&format!("/{}", "a".repeat(3840))), "7:24", "longer than 3840 bytes", "shorter");
    one(&journal("\"/a\\nb\""), "7:24", "control characters", "plain path");
    one(&journal("[/a]"), "7:24", "`journal` must be the path of a folder, not a list", "journal: /var/lib");
}
