//! What the full schema has and this build does not, and keys that nobody knows.

use crate::profile::schema::*;

use super::{and, one, said, with};

/// Every key that is known but not built, once.
const FULL: &str = r#"version: 1
name: site-7
interfaces:
  office: { port: "0000:05:00.0", addresses: [172.16.0.1/24] }
  phones: { port: "0000:05:00.1", vlan: 12, addresses: [172.16.1.1/24] }
  fibre: { port: "0000:05:00.2", addresses: [192.0.2.10/28], gateway: 192.0.2.1, mtu: 1492 }
  cable: { port: "0000:05:00.3", addresses: [198.51.100.9/29], gateway: 198.51.100.14,
           mac: "02:00:00:00:00:01" }
wans: [fibre, cable]
management: { metrics: 127.0.0.1:9469 }
"#;

#[test]
fn every_key_that_is_not_built_yet_is_refused_at_its_place() {
    let expected = ["10:15: metrics"];
    let expected: Vec<String> = expected
        .iter()
        .map(|line| {
            let (place, key) = line.split_once(": ").unwrap();
            format!("{place}: `{key}` is not supported yet")
        })
        .collect();
    assert_eq!(said(FULL), expected);
    // None of the tables has a key that the example above forgets.
    let tables = [
        &TOP,
        &ENGINE,
        &INTERFACE,
        &ROUTE,
        &WAN,
        &HEALTH,
        &HEALTH_UP,
        &HEALTH_BFD,
        &HEALTH_DEGRADED,
        &TARGETS,
        &TARGET_DNS,
        &TARGET_HTTP,
        &GROUP,
        &MEMBER,
        &FAILBACK,
        &POLICY,
        &ON_FAILOVER,
        &ON_FAILOVER_TCP,
        &ON_FAILBACK,
        &HOOK,
        &NAT,
        &TIMEOUTS,
        &ICMP,
        &CLUSTER,
        &HEARTBEAT,
        &HEARTBEAT_PATH,
        &CLUSTER_VIRTUAL,
        &CLUSTER_STATUS,
        &MANAGEMENT,
    ];
    assert_eq!(tables.iter().map(|keys| keys.later.len()).sum::<usize>(), expected.len());
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one() {
    for (text, place, key, hint) in [
        (and("rutes: []"), "7:1", "`rutes`", "did you mean `routes`?"),
        (and("firewal: []"), "7:1", "`firewal`", "did you mean `firewall`?"),
        (and("zebra: []"), "7:1", "`zebra`", "known here: version, name"),
        (and("engine: { worker: [1] }"), "7:11", "`worker`", "did you mean `workers`?"),
        (and("engine:\n  hugepage: auto"), "8:3", "`hugepage`", "`hugepages`"),
        (
            with("gateway: 203.0.113.1", "gateway: 203.0.113.1, adresses: []"),
            "4:82",
            "`adresses`",
            "`addresses`",
        ),
        (
            and("routes: [{ to: 10.0.0.0/8, via: 192.168.10.9, metric: 1 }]"),
            "7:47",
            "`metric`",
            "known here: to, via",
        ),
        (
            with("[isp1, isp2]", "{ isp1: {}, isp2: { weight: 1 } }"),
            "6:27",
            "`weight`",
            "known here: health, pool",
        ),
        (and("nat: { timeout: {} }"), "7:8", "`timeout`", "`timeouts`"),
        (and("nat: { timeouts: { tpc: 3h } }"), "7:20", "`tpc`", "`tcp`"),
        (and("icmp: { error_per_second: 1 }"), "7:9", "`error_per_second`", "`errors_per_second`"),
        (and("management: { sockets: /a }"), "7:15", "`sockets`", "`socket`"),
        (and("nat: { quarantine: { times: 1s } }"), "7:22", "`times`", "`time`"),
        (and("nat: { filtering: { icmp: 1 } }"), "7:21", "`icmp`", "known here: tcp, udp"),
        (and("nat: { except: [{ in: lan, to: 10.0.0.0/8 }] }"), "7:19", "`in`", "known here: from, to"),
        (and("firewall: [{ form: 10.0.0.1, action: drop }]"), "7:14", "`form`", "`from`"),
        (
            and("one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.9, when: 1 }]"),
            "7:71",
            "`when`",
            "known here: wan",
        ),
    ] {
        one(&text, place, &format!("unknown key {key}"), hint);
    }
}

#[test]
fn keys_inside_health_are_judged_as_well() {
    let wans = with("[isp1, isp2]", "{ isp1: { health: h }, isp2: {} }");
    for (health, key) in [
        ("{ gatway: { arp: 1s } }", "gatway"),
        ("{ gateway: { icmp: 1s } }", "icmp"),
        ("{ down: { failure: 1 } }", "failure"),
        ("{ up: { succeses: 1 } }", "succeses"),
        ("{ targets: { icmp: 1.1.1.1, udp: 9.9.9.9 } }", "udp"),
        ("{ bfd: { intervall: 1s } }", "intervall"),
        ("{ degraded: { los: 1% } }", "los"),
    ] {
        let text = format!("{wans}health: {{ h: {health} }}\n");
        assert_eq!(said(&text).len(), 1);
        assert!(said(&text)[0].ends_with(&format!("unknown key `{key}`")), "{:?}", said(&text));
    }
}
