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
