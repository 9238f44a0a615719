//! What a pair's profile may not say of what both members have: one identity on one wire, other cores, no WAN that counts.

use super::cluster_rules::{all, pair};
use crate::profile::load_all;

const ISP2: &str = "isp2: { port: \"linux:isp2\",";
const OWN2: &str = "addresses: [198.51.100.2/29], ";
const VIRTUAL: &str = "    - { interface: isp1, address: 203.0.113.2/29, mac: own }\n";

/// `isp2` with an address of its own for each member, heard over; `more` stands at the end of the file.
fn path2(more: &str) -> String {
    let text = pair(OWN2, "")
        .replacen("[203.0.113.3/29] }", "[203.0.113.3/29] }, isp2: { addresses: [198.51.100.3/29] }", 1)
        .replacen("[203.0.113.4/29] }", "[203.0.113.4/29] }, isp2: { addresses: [198.51.100.4/29] }", 1)
        .replacen("{ interface: isp1 }]", "{ interface: isp1 }, { interface: isp2 }]", 1);
    text + more
}

#[test]
fn an_address_is_one_members_where_both_are_on_the_wire() {
    let moving = format!("{VIRTUAL}    - {{ interface: isp2, address: 198.51.100.3/29, mac: own }}\n");
    let voice = "  voice: { port: \"linux:v0\", addresses: [192.168.30.1/24] }\nwans: [";
    all(&[
        // A virtual address moves between them.
        (
            pair(VIRTUAL, &moving),
            &[("6:43", "both members have the address 198.51.100.2 on `isp2`", "its own in `members`")],
        ),
        // Inside, without one.
        (
            pair("wans: [", voice),
            &[("7:42", "both members have the address 192.168.30.1 on `voice`", "goes into `virtual`")],
        ),
        // One of two.
        (
            pair("[192.168.10.2/24]", "[192.168.10.2/24, 10.9.0.1/24]").replacen(
                "[192.168.10.3/24]",
                "[192.168.10.3/24, 10.9.0.1/24]",
                1,
            ),
            &[("11:73", "both members have the address 10.9.0.1 on `lan`", "`members`")],
        ),
    ]);
    // Two ISPs may give out the same network, and what one member has alone is its own.
    load_all(&pair("", ""), "p.yaml").unwrap();
}

#[test]
fn a_mac_is_one_members_where_both_are_on_the_wire() {
    let mac = "mac: \"02:00:5e:10:00:01\"";
    all(&[(
        pair("\"linux:lan0\" }", &format!("\"linux:lan0\", {mac} }}")),
        &[("4:36", "both members have the mac 02:00:5e:10:00:01 on `lan`", "its `vrid`")],
    )]);
    load_all(&pair(ISP2, &format!("{ISP2} {mac},")), "p.yaml").unwrap();
}

#[test]
fn what_is_translated_to_is_answered_for_by_one_member() {
    let pool = |range: &str| {
        path2("").replacen("[isp1, isp2]", &format!("{{ isp1: {{}}, isp2: {{ pool: [{range}] }} }}"), 1)
    };
    let to = "one_to_one: [{ wan: isp2, outside: 198.51.100.5, inside: 192.168.10.9 }]\n";
    all(&[
        (
            pool("{ addresses: 198.51.100.5-198.51.100.6 }"),
            &[("7:47", "both members would answer for 198.51.100.5 on `isp2`", "a `virtual` address")],
        ),
        (path2(to), &[("19:36", "both members would answer for 198.51.100.5 on `isp2`", "`virtual`")]),
    ]);
    for good in [
        path2(""),
        pool("{ addresses: 198.51.100.5-198.51.100.6, arp: never }"),
        pool("{ addresses: 192.0.2.0/28 }"),
        path2(to).replacen(
            VIRTUAL,
            &format!("{VIRTUAL}    - {{ interface: isp2, address: 198.51.100.2/29, mac: own }}\n"),
            1,
        ),
    ] {
        load_all(&good, "p.yaml").unwrap_or_else(|mistakes| panic!("{good}\n{mistakes}"));
    }
}

#[test]
fn members_have_as_many_cores() {
    let cores = |a: &str, b: &str| {
        pair("    a: {", &format!("    a: {{ {a}")).replacen("    b: {", &format!("    b: {{ {b}"), 1)
    };
    all(&[(
        cores("engine: { workers: [1, 2] },", "engine: { workers: [1, 2, 3] },"),
        &[("11:5", "`b` has 3 cores in `workers`, `a` has 2", "as many")],
    )]);
    for (a, b) in [("[1, 2]", "[5, 6]"), ("[1, 2]", ""), ("", "[3]")] {
        let given = |list: &str| match list {
            "" => String::new(),
            list => format!("engine: {{ workers: {list} }},"),
        };
        load_all(&cores(&given(a), &given(b)), "p.yaml").unwrap();
    }
}

#[test]
fn something_inside_and_a_wan_are_watched() {
    all(&[(
        pair("\"linux:lan0\" }", "\"linux:lan0\", watch: false }"),
        &[("4:38", "no interface inside is watched", "could never have the role")],
    )]);
    let one = pair("isp1\", gateway", "isp1\", watch: false, gateway");
    load_all(&one, "p.yaml").unwrap();
    all(&[(
        one.replacen("isp2\", addresses", "isp2\", watch: false, addresses", 1),
        &[("5:38", "no WAN is watched", "could never be fit")],
    )]);
}
