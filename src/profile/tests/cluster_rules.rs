//! What a pair's profile may not say: every mistake of each text, with its place and what to do.

use super::cluster::PAIR;
use super::{and, bad, with};

/// `PAIR` with `old` replaced, which has to be there.
pub(super) fn pair(old: &str, new: &str) -> String {
    assert!(PAIR.contains(old), "{old}");
    PAIR.replacen(old, new, 1)
}

/// A text, and what is said of it: place, words of the message, words of the hint.
pub(super) type Case = (String, &'static [(&'static str, &'static str, &'static str)]);

/// Every text has these mistakes and no others.
#[track_caller]
pub(super) fn all(cases: &[Case]) {
    let mut wrong = String::new();
    for (text, expected) in cases {
        let found = bad(text);
        let fits = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, (place, message, hint))| {
                format!("{}:{}", found.line, found.column) == *place
                    && found.message.contains(message)
                    && found.hint.contains(hint)
                    && !found.hint.is_empty()
            });
        if !fits {
            wrong += &format!("expected {expected:?}, found\n{found}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

const MEMBERS: &str = "  members:
    a: { interfaces: { lan: { addresses: [192.168.10.2/24] }, isp1: { addresses: [203.0.113.3/29] } } }
    b: { name: spare, interfaces: { lan: { addresses: [192.168.10.3/24] }, isp1: { addresses: [203.0.113.4/29] } } }
";
const HEARTBEAT: &str = "  heartbeat:
    paths: [{ interface: lan }, { interface: isp1 }]
    key_file: /etc/turnout/cluster.key
";
const PATHS: &str = "[{ interface: lan }, { interface: isp1 }]";
const KEY: &str = "key_file: /etc/turnout/cluster.key";
const LAN: &str = "{ interface: lan, address: 192.168.10.1/24, vrid: 17 }";
const ISP1: &str = "{ interface: isp1, address: 203.0.113.2/29, mac: own }";
const STATUS: &str = "{ interface: lan }\n";

#[test]
fn a_cluster_has_two_members() {
    all(&[
        (pair(MEMBERS, ""), &[("8:1", "`cluster` has no `members`", "members: { a: {}, b: {} }")]),
        (and("cluster: 5"), &[("7:10", "`cluster` must be a map", "key: value")]),
        (
            and("cluster:"),
            &[("7:1", "no `members`", "a: {}"), ("7:1", "`cluster` has no `heartbeat`", "key_file")],
        ),
        (pair("    b: {", "    # b: {"), &[("9:3", "a cluster has two members", "name both")]),
        (pair("  heartbeat:", "    c: {}\n  heartbeat:"), &[("12:5", "more than two members", "remove")]),
        (pair("    a: {", "    \"a b\": {"), &[("10:5", "`a b` cannot be a member's name", "1 to 16")]),
        (pair("    a: {", "    seventeen-letters: {"), &[("10:5", "cannot be a member's name", "1 to 16")]),
        (
            // An overlay with nothing in it is none.
            pair("    b: {", "    b: # {"),
            &[
                ("13:26", "the members have no addresses in one network on `lan`", "`members`"),
                ("13:46", "the members have no addresses in one network on `isp1`", "`members`"),
                ("18:24", "member `b` has no address of its own on `lan`", "give it one in `members`"),
            ],
        ),
    ]);
}

#[test]
fn an_overlay_is_judged_as_the_file_is() {
    all(&[
        (pair("b: { name", "b: { version: 1, name"), &[("11:10", "`version` cannot differ", "remove it")]),
        (pair("b: { name", "b: { cluster: {}, name"), &[("11:10", "`cluster` cannot differ", "remove it")]),
        (pair("b: { name", "b: { nome"), &[("11:10", "member `b`: unknown key `nome`", "`name`")]),
        (
            pair("    b: { name: spare,", "    b: 7 # {"),
            &[("11:8", "the overlay of member `b` must be a map", "key: value")],
        ),
        (
            pair("192.168.10.3/24", "192.168.10.3/33"),
            &[("11:56", "member `b`: an address in `addresses` is not an IPv4 address", "four numbers")],
        ),
        // What is wrong for both is said once, without a name.
        (
            pair("gateway: 198.51.100.1 }", "gateway: 198.51.101.1 }"),
            &[("6:70", "the gateway 198.51.101.1 is outside", "198.51.100.0/29")],
        ),
        (pair("wans: [", "wans: [lan0, "), &[("7:8", "no interface is called `lan0`", "`lan`")]),
        (
            pair("b: { name", "b: { icmp: { errors_per_second: 0 }, nat: { hairpins: 1 }, name"),
            &[
                ("11:37", "member `b`: `errors_per_second` is out of range", "1"),
                ("11:49", "member `b`: unknown key `hairpins`", "`hairpin`"),
            ],
        ),
        (
            pair("b: { name", "b: { wans: [isp2, isp1], name"),
            &[("11:5", "`isp1` has another place in `wans` of `b` than of `a`", "in one order")],
        ),
        (
            pair(
                "b: { name",
                "b: { groups: { voice: { members: [{ wan: isp2 }] } }, policy: [{ in: lan, use: voice }], name",
            ),
            &[("11:5", "the groups of `b` are others than those of `a`", "the same groups")],
        ),
    ]);
}

#[test]
fn the_members_hear_each_other() {
    all(&[
        (pair(HEARTBEAT, ""), &[("8:1", "`cluster` has no `heartbeat`", "key_file")]),
        (pair(KEY, "port: 1"), &[("12:3", "`heartbeat` has no `key_file`", "key_file: /etc")]),
        (pair(KEY, "key_file: cluster.key"), &[("14:15", "`key_file` must be an absolute path", "`/`")]),
        (pair(KEY, "key_file: /etc/"), &[("14:15", "`key_file` names a folder", "add the name")]),
        (pair(PATHS, "[]"), &[("13:12", "`paths` is empty", "paths: [{ interface: lan }]")]),
        (
            pair("    paths: [{ interface: lan }, { interface: isp1 }]\n", ""),
            &[("12:3", "`heartbeat` has no `paths`", "paths: [")],
        ),
        (
            pair(PATHS, "[{ interfaces: lan }]"),
            &[
                ("13:13", "a path has no `interface`", "interface: lan"),
                ("13:15", "unknown key `interfaces`", "`interface`"),
            ],
        ),
        (pair(PATHS, "[{ interface: len }]"), &[("13:26", "no interface is called `len`", "`lan`")]),
        (
            pair(PATHS, "[{ interface: isp2 }]"),
            &[("6:43", "both members have the address 198.51.100.2 on `isp2`", "`virtual`")],
        ),
        (
            pair(PATHS, "[{ interface: lan }, { interface: lan }]"),
            &[("13:46", "a second path over `lan`", "line 13")],
        ),
        (
            pair(
                "isp1: { addresses: [203.0.113.4/29] }",
                "isp1: { addresses: [203.0.113.12/29], gateway: 203.0.113.9 }",
            )
            .replacen(ISP1, "{ interface: isp2, address: 198.51.100.3/29, mac: own }", 1),
            &[
                ("6:43", "both members have the address 198.51.100.2 on `isp2`", "`members`"),
                ("13:46", "the members have no addresses in one network on `isp1`", "a virtual one is not"),
            ],
        ),
        (
            pair("addresses: [198.51.100.2/29], gateway: 198.51.100.1", "addresses: dhcp").replacen(
                "interface: isp1 }]",
                "interface: isp2 }]",
                1,
            ),
            &[("13:46", "a path over `isp2`, whose address comes by DHCP", "by hand")],
        ),
        (
            pair(
                "b: { name: spare, interfaces: {",
                "b: { interfaces: { dmz: { port: \"linux:dmz0\", addresses: [10.0.0.1/24] },",
            )
            .replacen("interface: isp1 }]", "interface: dmz }]", 1),
            &[("13:46", "member `a` has no interface `dmz`", "that both members have")],
        ),
    ]);
    let many: String = (0..9).map(|n| format!("{{ interface: i{n} }}, ")).collect();
    let text = pair(PATHS, &format!("[{many}]"));
    assert!(bad(&text).iter().any(|found| found.message == "more than 8 paths" && found.column == 165));
}

/// Each member has a WAN of its own; they hear each other over what `paths` says.
fn two_isps(paths: &str, same: bool) -> String {
    let (b, net) = if same { ("isp1", "203.0.113.3/29") } else { ("isp2", "203.0.113.11/29") };
    let gateway = if same { "203.0.113.1" } else { "203.0.113.9" };
    format!(
        "version: 1
interfaces: {{ lan: {{ port: \"linux:lan0\" }}, link: {{ port: \"linux:l0\" }} }}
wans: []
cluster:
  members:
    a:
      wans: [isp1, link]
      interfaces:
        lan: {{ addresses: [192.168.10.2/24] }}
        link: {{ addresses: [198.51.100.2/29], gateway: 198.51.100.1 }}
        isp1: {{ port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }}
    b:
      wans: [{b}]
      interfaces:
        lan: {{ addresses: [192.168.10.3/24] }}
        link: {{ addresses: [198.51.100.3/29] }}
        {b}: {{ port: \"linux:isp2\", addresses: [{net}], gateway: {gateway} }}
  heartbeat: {{ paths: [{paths}], key_file: /k }}
"
    )
}

#[test]
fn members_without_a_common_wan_meet_inside() {
    for (paths, same) in [("{ interface: lan }", false), ("{ interface: link }", true)] {
        super::super::load_all(&two_isps(paths, same), "p.yaml").unwrap();
    }
    all(&[(
        two_isps("{ interface: link }", false),
        &[("18:16", "no WAN in common, and no path over an interface inside", "over a network inside")],
    )]);
}

#[test]
fn beats_have_a_time() {
    let more = |line: &str| pair(KEY, &format!("{KEY}\n    {line}"));
    all(&[
        (more("timeout: 200ms"), &[("15:14", "`timeout` 200ms is not longer than two of `every`", "200ms")]),
        (more("every: 250ms"), &[("15:12", "`timeout` 500ms is not longer than two of `every`", "500ms")]),
        (more("every: 999us"), &[("15:12", "`every` must be at least 1ms", "10s")]),
        (more("every: 11s"), &[("15:12", "`every` must be at most 10s", "1ms")]),
        (more("timeout: 61s"), &[("15:14", "`timeout` must be at most 1m", "2ms")]),
        (more("port: 0"), &[("15:11", "`port` is out of range", "from 1 to 65535")]),
    ]);
}

#[test]
fn the_preferred_one_is_a_member() {
    let more = |line: &str| format!("{PAIR}  {line}\n");
    all(&[
        (more("preferred: c"), &[("19:14", "no member is called `c`", "there are `a`, `b`")]),
        (more("failback: { mode: never }"), &[("19:21", "`mode` cannot be `never`", "automatic, manual")]),
        (
            more("failback: { mode: manual, after: 1s }"),
            &[("19:36", "`after` does nothing where `mode` is `manual`", "remove it")],
        ),
        (more("failback: { after: 25h }"), &[("19:22", "`after` must be at most 24h", "0s")]),
    ]);
}

#[test]
fn a_virtual_address_says_all_of_itself() {
    let lan = |given: &str| pair(LAN, given);
    all(&[
        (
            lan("{ interface: lan, vrid: 17 }"),
            &[("16:7", "a virtual address has no `address`", "address: 192")],
        ),
        (lan("{ address: 192.168.10.1/24, vrid: 17 }"), &[("16:7", "has no `interface`", "interface: lan")]),
        (lan("{ interface: lan, address: 192.168.10.1/24 }"), &[("16:7", "has no `vrid`", "vrid: 17")]),
        (
            lan("{ interface: lan, address: 192.168.10.1/24, vrid: 0 }"),
            &[("16:57", "`vrid` is out of range: `0`", "from 1 to 255")],
        ),
        (
            lan("{ interface: lan, address: 192.168.10.1/24, vrid: 256 }"),
            &[("16:57", "`vrid` is out of range: `256`", "from 1 to 255")],
        ),
        (
            lan("{ interface: lan, address: 192.168.10.1/24, mac: own, vrid: 1 }"),
            &[("16:67", "`vrid` does nothing where `mac` is `own`", "mac: virtual")],
        ),
        (
            lan("{ interface: lan, address: 192.168.10.1/24, mac: none, vrid: 1 }"),
            &[("16:56", "`mac` cannot be `none`", "virtual, own")],
        ),
        (
            pair("mac: own }", "vrid: 17 }").replace("port: \"linux:isp1\"", "port: \"linux:lan0\", vlan: 9"),
            &[("17:57", "`vrid` 17 is given twice on one port", "line 16")],
        ),
    ]);
}

#[test]
fn a_virtual_address_is_nobodys_own() {
    let lan = |address: &str| pair("192.168.10.1/24", address);
    all(&[
        (
            pair(LAN, "{ interface: lane, address: 10.0.0.1/24, vrid: 1 }"),
            &[("16:20", "called `lane`", "`lan`")],
        ),
        (
            lan("192.168.10.1/25"),
            &[
                ("16:34", "is in no network of `lan` of member `a`", "write `192.168.10.1/24`"),
                ("16:34", "is in no network of `lan` of member `b`", "write `192.168.10.1/24`"),
            ],
        ),
        (
            lan("192.168.9.1/24"),
            &[
                ("16:34", "192.168.9.1/24 is in no network of `lan` of member `a`", "192.168.10.0/24"),
                ("16:34", "192.168.9.1/24 is in no network of `lan` of member `b`", "192.168.10.0/24"),
            ],
        ),
        (
            lan("192.168.10.3/24"),
            &[("16:34", "192.168.10.3 is the own one of member `b` on `lan`", "choose another")],
        ),
        (lan("192.168.10.255/24"), &[("16:34", "192.168.10.255 is the broadcast address", "254")]),
        (
            pair(LAN, "{ interface: isp1, address: 203.0.113.5/29, mac: own }"),
            &[("17:20", "a second virtual address of `isp1`", "line 16")],
        ),
        (
            pair("addresses: [198.51.100.2/29], gateway: 198.51.100.1", "addresses: dhcp").replacen(
                ISP1,
                "{ interface: isp2, address: 10.0.0.1/24, mac: own }",
                1,
            ),
            &[("17:20", "a virtual address of `isp2`, whose address comes by DHCP", "by hand")],
        ),
        // It counts among the addresses for every other rule.
        (
            pair("203.0.113.2/29", "203.0.113.1/29"),
            &[("5:40", "the gateway 203.0.113.1 is the address of `isp1` itself", "another host")],
        ),
        (
            format!("{PAIR}forwards: [{{ protocol: tcp, port: 80, to: \"192.168.10.1:80\" }}]\n"),
            &[("19:43", "`to` 192.168.10.1 is the address of `lan` itself", "behind the router")],
        ),
        (
            pair("isp1: { addresses: [203.0.113.3/29] }", "isp1: {}")
                .replacen("isp1: { addresses: [203.0.113.4/29] }", "isp1: {}", 1)
                .replacen(PATHS, "[{ interface: lan }]", 1)
                .replacen("203.0.113.2/29", "203.0.114.2/29", 1),
            &[("5:40", "the gateway 203.0.113.1 is outside the networks of `isp1`", "203.0.114.0/29")],
        ),
        (
            pair(LAN, "{ interface: lan, address: 192.168.10.0, vrid: 1 }"),
            &[("16:34", "`address` is not an IPv4 address with a prefix length", "`192.168.10.0/24`")],
        ),
    ]);
}

#[test]
fn the_status_has_an_address_and_a_port() {
    let status = |given: &str| pair(STATUS, &format!("{given}\n"));
    all(&[
        (status("{ port: 80 }"), &[("18:3", "`status` has no `interface`", "interface: lan")]),
        (status("{ interface: wan }"), &[("18:24", "no interface is called `wan`", "`lan`")]),
        (status("{ interface: lan, port: 0 }"), &[("18:35", "`port` is out of range", "65535")]),
        (
            status("{ interface: lan, from: 10.0.0.1/8 }"),
            &[("18:35", "is an address in a network", "10.0.0.0/8")],
        ),
        (
            status("{ interface: lan, port: 9000 }"),
            &[("18:35", "port 9000 is that of the heartbeat on `lan`", "another one for `status`")],
        ),
        (
            pair("addresses: [198.51.100.2/29], gateway: 198.51.100.1", "addresses: dhcp").replacen(
                STATUS,
                "{ interface: isp2 }\n",
                1,
            ),
            &[("18:24", "`status` on `isp2`, whose address comes by DHCP", "by hand")],
        ),
    ]);
}

#[test]
fn watch_needs_a_cluster_and_something_to_watch() {
    all(&[
        (
            with("[192.168.10.1/24] }", "[192.168.10.1/24], watch: false }"),
            &[("3:68", "`watch` does nothing without `cluster`", "fitness of a cluster's member")],
        ),
        (
            pair("\"linux:lan0\" }", "\"linux:lan0\", watch: 1 }"),
            &[("4:38", "`watch` must be true or false", "")],
        ),
    ]);
}

#[test]
fn a_hostile_pair_is_judged_in_time() {
    let many = |n: usize, what: &dyn Fn(usize) -> String| (0..n).map(what).collect::<String>();
    let base = many(20_000, &|n| format!("k{n}: 1\n"));
    let over = many(20_000, &|n| format!("k{n}: 2, "));
    let ports = many(9_000, &|n| format!("i{n}: {{ addresses: [10.0.0.{}/8] }}, ", n % 250));
    let nets = many(20_000, &|n| format!("10.{}.{}.1/30, ", n / 250, n % 250));
    let nets2 = nets.replace(".1/30", ".9/30");
    let wans = many(40_000, &|n| format!("w{n}, "));
    let start = std::time::Instant::now();
    for text in [
        format!("{PAIR}{base}").replace("    b: {", &format!("    b: {{ {over}")),
        pair("b: { name: spare, interfaces: {", &format!("b: {{ interfaces: {{ {ports}")),
        pair("192.168.10.2/24", &nets).replacen("192.168.10.3/24", &nets2, 1),
        pair("    a: {", &format!("    a: {{ wans: [{wans}],"))
            .replace("    b: {", &format!("    b: {{ wans: [{wans}],")),
    ] {
        assert!(text.len() < super::super::MAX_BYTES, "{}", text.len());
        assert!(bad(&text).len() <= 2001);
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
