//! The profile of a pair: one file, read for either member.

use std::net::Ipv4Addr;

use crate::base::{Mac, Nanos};
use crate::profile::*;

use super::{SHORT, and, good};

/// Two members on both ISPs.
pub(super) const PAIR: &str = r#"version: 1
name: site
interfaces:
  lan:  { port: "linux:lan0" }
  isp1: { port: "linux:isp1", gateway: 203.0.113.1 }
  isp2: { port: "linux:isp2", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
wans: [isp1, isp2]
cluster:
  members:
    a: { interfaces: { lan: { addresses: [192.168.10.2/24] }, isp1: { addresses: [203.0.113.3/29] } } }
    b: { name: spare, interfaces: { lan: { addresses: [192.168.10.3/24] }, isp1: { addresses: [203.0.113.4/29] } } }
  heartbeat:
    paths: [{ interface: lan }, { interface: isp1 }]
    key_file: /etc/turnout/cluster.key
  virtual:
    - { interface: lan, address: 192.168.10.1/24, vrid: 17 }
    - { interface: isp1, address: 203.0.113.2/29, mac: own }
  status: { interface: lan }
"#;

/// The profile of one member.
fn of(text: &str, member: &str) -> Profile {
    load_member(text, "p.yaml", member).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
}

fn cluster(text: &str, member: &str) -> Cluster {
    of(text, member).cluster.unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn both_members_are_read_from_one_file() {
    let (a, b) = (of(PAIR, "a"), of(PAIR, "b"));
    assert_eq!((a.name.as_str(), b.name.as_str()), ("site", "spare"));
    // Virtual addresses are nobody's own.
    assert_eq!(a.interfaces[0].addresses, ["192.168.10.2/24".parse().unwrap()]);
    assert_eq!(b.interfaces[1].addresses, ["203.0.113.4/29".parse().unwrap()]);
    let expected = Cluster {
        member: "a".into(),
        partner: "b".into(),
        paths: vec![
            HeartbeatPath { interface: 0, own: ip("192.168.10.2"), partner: ip("192.168.10.3") },
            HeartbeatPath { interface: 1, own: ip("203.0.113.3"), partner: ip("203.0.113.4") },
        ],
        port: 9000,
        every: Nanos::from_ms(100),
        timeout: Nanos::from_ms(500),
        key_file: "/etc/turnout/cluster.key".into(),
        preferred: "a".into(),
        failback: ClusterFailback { automatic: true, after: Nanos::from_s(60) },
        virtuals: vec![
            VirtualAddress {
                interface: 0,
                address: "192.168.10.1/24".parse().unwrap(),
                mac: Some(Mac([0, 0, 0x5e, 0, 1, 17])),
            },
            VirtualAddress { interface: 1, address: "203.0.113.2/29".parse().unwrap(), mac: None },
        ],
        status: Some(StatusEndpoint { interface: 0, port: 8080, from: "192.168.10.0/24".parse().unwrap() }),
        hash: a.cluster.as_ref().unwrap().hash,
        active: false,
    };
    assert_eq!(a.cluster.unwrap(), expected);
    let other = b.cluster.unwrap();
    assert_eq!((other.member.as_str(), other.partner.as_str()), ("b", "a"));
    assert_eq!(other.paths[0].own, ip("192.168.10.3"));
    assert_eq!(other.paths[1].partner, ip("203.0.113.3"));
    assert_eq!((other.hash, other.preferred.as_str()), (expected.hash, "a"));
}

#[test]
fn every_key_is_taken_up() {
    let text = PAIR.replace(
        "    key_file: /etc/turnout/cluster.key\n",
        "    key_file: /k\n    port: 9001\n    every: 20ms\n    timeout: 41ms\n",
    );
    let text =
        text.replace("status: { interface: lan }", "status: { interface: lan, port: 81, from: 10.0.0.0/8 }");
    let text = text + "  preferred: b\n  failback: { mode: manual }\n";
    let read = cluster(&text, "a");
    assert_eq!((read.port, read.every, read.timeout), (9001, Nanos::from_ms(20), Nanos::from_ms(41)));
    assert_eq!((read.key_file.to_str(), read.preferred.as_str()), (Some("/k"), "b"));
    assert!(!read.failback.automatic);
    let status = read.status.unwrap();
    assert_eq!((status.port, status.from), (81, "10.0.0.0/8".parse().unwrap()));
    let text = PAIR.to_owned() + "  failback: { after: 5m }\n";
    assert_eq!(cluster(&text, "b").failback, ClusterFailback { automatic: true, after: Nanos::from_s(300) });
    assert_eq!(cluster(&PAIR.replace("  status: { interface: lan }\n", ""), "b").status, None);
}

#[test]
fn a_member_may_have_what_the_other_has_not() {
    // Each has an ISP of its own, and hears the other inside.
    let text = r#"version: 1
interfaces: { lan: { port: "linux:lan0" } }
wans: []
cluster:
  members:
    a:
      wans: [isp1]
      interfaces:
        lan: { addresses: [192.168.10.2/24] }
        isp1: { port: "linux:isp1", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
    b:
      wans: [isp2]
      interfaces:
        lan: { addresses: [192.168.10.3/24] }
        isp2: { port: "linux:isp2", addresses: dhcp }
  heartbeat: { paths: [{ interface: lan }], key_file: /k }
  virtual: [{ interface: lan, address: 192.168.10.1/24, vrid: 1 }]
"#;
    let (a, b) = (of(text, "a"), of(text, "b"));
    assert_eq!((a.interfaces[1].name.as_str(), b.interfaces[1].name.as_str()), ("isp1", "isp2"));
    assert_eq!((a.wans.len(), b.wans[0].interface), (1, 1));
    assert!(b.interfaces[1].dhcp.is_some());
}

#[test]
fn a_wan_may_have_the_virtual_address_only() {
    for own in ["", ", addresses: []"] {
        let text = PAIR.replace("isp1: { addresses: [203.0.113.3/29] }", "isp1: {}");
        let text = text.replace("isp1: { addresses: [203.0.113.4/29] }", "isp1: {}");
        let text =
            text.replace("paths: [{ interface: lan }, { interface: isp1 }]", "paths: [{ interface: lan }]");
        let text = text.replace("linux:isp1\"", &format!("linux:isp1\"{own}"));
        let a = of(&text, "a");
        assert_eq!(a.interfaces[1].addresses, []);
        assert_eq!(a.cluster.unwrap().virtuals[1].interface, 1);
    }
}

#[test]
fn the_virtual_address_of_an_arm_is_on_its_half() {
    let text = r#"version: 1
interfaces: { dmz: { port: "linux:dmz0", gateway: 203.0.113.1 } }
wans: [dmz]
nat: { inside: [192.168.10.0/24] }
cluster:
  members:
    a: { interfaces: { dmz: { addresses: [203.0.113.3/29, 192.168.10.2/24] } } }
    b: { interfaces: { dmz: { addresses: [203.0.113.4/29, 192.168.10.3/24] } } }
  heartbeat: { paths: [{ interface: dmz }, { interface: dmz-inside }], key_file: /k }
  virtual:
    - { interface: dmz, address: 203.0.113.2/29, mac: own }
    - { interface: dmz, address: 192.168.10.1/24, mac: own }
"#;
    let b = of(text, "b");
    assert_eq!(b.interfaces[1].addresses, ["192.168.10.3/24".parse().unwrap()]);
    let cluster = b.cluster.unwrap();
    assert_eq!(cluster.virtuals.iter().map(|given| given.interface).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(cluster.paths[1].partner, ip("192.168.10.2"));
}

#[test]
fn overlays_merge_maps_and_replace_the_rest() {
    let text = PAIR.replace(
        "b: { name: spare, ",
        "b: { name: spare, icmp: { errors_per_second: 5 }, routes: [{ to: 10.0.0.0/8, via: 192.168.10.9 }],
         management: { journal: /var/lib/b }, nat: , ",
    ) + "icmp: { time_exceeded: false }
routes: [{ to: 10.0.0.0/8, via: 192.168.10.7 }, { to: 172.16.0.0/12, via: 192.168.10.8 }]
nat: { hairpin: false }
management: { socket: /run/t.sock }\n";
    let (a, b) = (of(&text, "a"), of(&text, "b"));
    assert_eq!((b.icmp.errors_per_second, b.icmp.time_exceeded), (5, false));
    assert_eq!((a.icmp.errors_per_second, a.routes.len(), b.routes.len()), (1000, 2, 1));
    assert_eq!(b.routes[0].via, ip("192.168.10.9"));
    assert!(!b.nat.hairpin);
    assert_eq!(b.management.journal.to_str(), Some("/var/lib/b"));
    assert_eq!(a.management.socket, b.management.socket);
}

#[test]
fn the_hash_is_of_what_the_file_says() {
    let hash = |text: &str| cluster(text, "a").hash;
    let base = hash(PAIR);
    // Build after build the same: members of two builds compare it.
    assert_eq!(base, 14_941_658_893_604_913_496);
    let same = PAIR.replace("    key_file: /etc/turnout/cluster.key\n", "").replace(
        "  heartbeat:\n",
        "  heartbeat:\n    # the key goes first\n    key_file:   \"/etc/turnout/cluster.key\"\n",
    );
    assert_ne!(same, PAIR);
    assert_eq!(hash(&same), base);
    for (old, new) in [
        ("name: site", "name: side"),
        ("203.0.113.4/29", "203.0.113.5/29"),
        ("name: spare", "name: Spare"),
        ("vrid: 17", "vrid: 18"),
        ("wans: [isp1, isp2]", "wans: [isp2, isp1]"),
        ("wans: [isp1, isp2]", "wans: { isp1: {}, isp2: {} }"),
        ("wans: [isp1, isp2]", "wans: { isp2: {}, isp1: {} }"),
        ("    b: {", "    c: {"),
    ] {
        assert_ne!(hash(&PAIR.replacen(old, new, 1)), base, "{new}");
    }
    let in_order = |wans: &str| hash(&PAIR.replace("wans: [isp1, isp2]", wans));
    assert_ne!(in_order("wans: { isp1: {}, isp2: {} }"), in_order("wans: { isp2: {}, isp1: {} }"));
}

#[test]
fn what_of_a_pair_can_change_while_it_runs() {
    let old = of(PAIR, "a");
    let changed = |from: &str, to: &str| {
        assert!(PAIR.contains(from), "{from}");
        differences(&old, &of(&PAIR.replace(from, to), "a"))
    };
    let key = "key_file: /etc/turnout/cluster.key";
    for (from, to, path) in [
        (key, &*format!("{key}\n    every: 20ms"), "cluster.heartbeat.every"),
        (key, &format!("{key}\n    timeout: 1s"), "cluster.heartbeat.timeout"),
        (key, &format!("{key}\n    port: 9001"), "cluster.heartbeat.port"),
        (", { interface: isp1 }", "", "cluster.heartbeat.paths"),
        ("status: {", "preferred: b\n  status: {", "cluster.preferred"),
        ("status: {", "failback: { after: 1s }\n  status: {", "cluster.failback.after"),
        ("status: { interface: lan }", "status: { interface: lan, port: 81 }", "cluster.status.port"),
        ("vrid: 17", "vrid: 18", "cluster.virtual"),
        ("\"linux:lan0\"", "\"linux:lan0\", watch: true", "cluster.members"),
        ("\"linux:isp1\"", "\"linux:isp1\", watch: false", "interfaces.isp1.watch"),
        ("name: spare", "name: other", "cluster.members"),
    ] {
        let paths = changed(from, to);
        assert_eq!(paths, [path]);
        assert_eq!(needs_restart(&paths), [""; 0], "{path}");
    }
    for (from, to, path) in [
        ("cluster.key", "other.key", "cluster.heartbeat.key_file"),
        ("    b: {", "    c: {", "cluster.members.partner"),
    ] {
        assert_eq!(needs_restart(&changed(from, to)), [path]);
    }
    assert_eq!(differences(&old, &old), [""; 0]);
    assert!(needs_restart(&differences(&old, &of(PAIR, "b"))).contains(&"cluster.members.own".into()));
    let alone = good(&and("").replace("192.168.10.1", "192.168.10.2"));
    assert!(needs_restart(&differences(&alone, &old)).contains(&"cluster".into()));
    assert!(needs_restart(&differences(&old, &alone)).contains(&"cluster".into()));
}

#[test]
fn the_machine_says_which_member_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (pair, lone) = (path("pair.yaml", PAIR), path("lone.yaml", SHORT));
    let who = |given: Option<&str>, file: &std::path::Path| Identity {
        given: given.map(str::to_owned),
        file: file.to_owned(),
    };
    let member = |identity: &Identity| read(&pair, identity).map(|view| view.cluster.unwrap().member);
    let nowhere = folder.path().join("none");
    let is_b = path("member", " b\n");
    assert_eq!(member(&who(Some("a"), &nowhere)).unwrap(), "a");
    assert_eq!(member(&who(None, &is_b)).unwrap(), "b");
    assert_eq!(member(&who(Some("a"), &is_b)).unwrap(), "a");
    assert_eq!(Identity::default(), who(None, std::path::Path::new("/etc/turnout/member")));
    for (identity, words) in [
        (who(None, &nowhere), vec!["`a` and `b`", "give `--member NAME`, or write the name into", "none"]),
        (who(Some("c"), &nowhere), vec!["no member `c`, which `--member` says", "`a` and `b`"]),
        (who(None, &path("other", "c\n")), vec!["no member `c`", "other says this is"]),
        (who(None, &path("empty", "\n")), vec!["empty is not one word but ``"]),
        (who(None, &path("two", "a b\n")), vec!["two is not one word but `a b`"]),
        (who(None, folder.path()), vec!["cannot read"]),
    ] {
        let text = member(&identity).unwrap_err().to_string();
        assert!(!text.contains('\n') && words.iter().all(|word| text.contains(word)), "{text}");
    }
    // By itself a router is nobody's member: the file is not looked at.
    assert!(read(&lone, &who(None, folder.path())).unwrap().cluster.is_none());
    let text = read(&lone, &who(Some("a"), &nowhere)).unwrap_err().to_string();
    assert!(text.contains("has no `cluster`") && text.contains("leave `--member` out"), "{text}");
    assert_eq!(read_all(&pair).unwrap().len(), 2);
    assert_eq!(read_all(&lone).unwrap().len(), 1);
    let text = load(PAIR, "p.yaml").unwrap_err().to_string();
    assert!(text.contains("for the members of a pair"), "{text}");
    let text = load_member(PAIR, "p.yaml", "c").unwrap_err().to_string();
    assert!(text.contains("no member `c`"), "{text}");
}
