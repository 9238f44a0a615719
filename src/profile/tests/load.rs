//! Good profiles, and how mistakes are shown.

use std::io::Write;
use std::net::Ipv4Addr;

use crate::base::Nanos;
use crate::profile::*;

use super::{SHORT, and, bad, good, said, with};

#[test]
fn the_shortest_profile_gets_every_default() {
    let profile = good(SHORT);
    assert_eq!(profile.name, "turnout");
    assert_eq!(profile.engine, Engine::default());
    assert_eq!(profile.nat, Nat::default());
    assert_eq!(profile.icmp, Icmp { errors_per_second: 1000, time_exceeded: true });
    assert_eq!(profile.management.socket.to_str(), Some(DEFAULT_SOCKET));
    assert_eq!(profile.management.journal.to_str(), Some("/var/lib/turnout"));
    assert!(profile.routes.is_empty());
    assert!(profile.forwards.is_empty() && profile.one_to_one.is_empty() && profile.firewall.is_empty());
    assert!(profile.wans.iter().all(|wan| wan.pool.is_empty()));
    let names: Vec<&str> = profile.interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["lan", "isp1", "isp2"]);
    let isp1 = &profile.interfaces[1];
    assert_eq!(isp1.port, PortSpec::Linux("isp1".into()));
    assert_eq!(isp1.addresses, ["203.0.113.2/29".parse().unwrap()]);
    assert_eq!(isp1.gateway, Some(Ipv4Addr::new(203, 0, 113, 1)));
    assert_eq!(isp1.at, Position { line: 4, column: 3 });
    assert_eq!(profile.wans.iter().map(|wan| wan.interface).collect::<Vec<_>>(), [1, 2]);
    assert!(profile.wans.iter().all(|wan| wan.health == Health::default() && !wan.metered));
}

#[test]
fn defaults_are_those_of_the_documents() {
    let engine = Engine::default();
    assert_eq!((engine.workers, engine.manager, engine.sessions), (None, None, 1_000_000));
    assert_eq!((engine.hugepages, engine.idle, engine.eal.len()), (Hugepages::Auto, Idle::Auto, 0));
    let timeouts = Timeouts::default();
    assert_eq!(timeouts.tcp, Nanos::from_s(7440));
    assert_eq!(timeouts.tcp_transitory, Nanos::from_s(240));
    assert_eq!(timeouts.udp, Nanos::from_s(300));
    assert_eq!(timeouts.udp_ports, [(53, Nanos::from_s(10)), (123, Nanos::from_s(30))]);
    assert_eq!(timeouts.icmp, Nanos::from_s(60));
    assert_eq!(timeouts.other, Nanos::from_s(600));
}

#[test]
fn every_supported_key_is_read() {
    let profile = good(
        "version: 1\nname: edge-1\n\
         engine: { workers: [3, 2], manager: 1, sessions: 2048, hugepages: never, idle: poll, eal: [-m, 64] }\n\
         interfaces:\n\
         \x20 wan: { port: 0000:03:00.1, addresses: [203.0.113.2/31, 198.51.100.9/24], gateway: 203.0.113.3, mtu: 1492 }\n\
         \x20 lan: { port: 'net_null0,size=64', addresses: [\"192.168.10.1/24\"] }\n\
         routes:\n- to: 10.0.0.0/8\n  via: 192.168.10.254\n\
         wans: { wan: { health: h } }\n\
         health: { h: { gateway: { arp: 50ms }, down: { failures: 100 }, up: { successes: 1000, stable: 1h } } }\n\
         nat: { timeouts: { tcp: 3h, tcp_transitory: 10s, tcp_closing: 20s, udp: 2m, udp_ports: { 5060: 1h, 53: 1s }, icmp: 1m30s, other: 10s } }\n\
         icmp: { errors_per_second: 1, time_exceeded: false }\n\
         management: { socket: /run/t.sock, journal: /srv/j }\n",
    );
    assert_eq!(profile.name, "edge-1");
    let engine = Engine {
        workers: Some(vec![3, 2]),
        manager: Some(1),
        sessions: 2048,
        hugepages: Hugepages::Never,
        idle: Idle::Poll,
        eal: vec!["-m".into(), "64".into()],
    };
    assert_eq!(profile.engine, engine);
    assert_eq!(profile.interfaces[0].port, PortSpec::Pci("0000:03:00.1".into()));
    assert_eq!(profile.interfaces[0].addresses.len(), 2);
    assert_eq!((profile.interfaces[0].mtu, profile.interfaces[1].mtu), (Some(1492), None));
    assert_eq!(profile.interfaces[1].port.to_string(), "net_null0,size=64");
    let route =
        Route { to: "10.0.0.0/8".parse().unwrap(), via: Ipv4Addr::new(192, 168, 10, 254), interface: 1 };
    assert_eq!(profile.routes, [route]);
    let health = Health {
        arp_every: Nanos::from_ms(50),
        failures: 100,
        successes: 1000,
        stable: Nanos::from_s(3600),
        flap_max: Nanos::from_s(3600),
        ..Health::default()
    };
    assert_eq!(profile.wans, [Wan { interface: 0, health, metered: false, pool: Vec::new() }]);
    let timeouts = Timeouts {
        tcp: Nanos::from_s(3 * 3600),
        tcp_transitory: Nanos::from_s(10),
        tcp_opening: None,
        tcp_closing: Some(Nanos::from_s(20)),
        udp: Nanos::from_s(120),
        udp_ports: vec![(53, Nanos::from_s(1)), (5060, Nanos::from_s(3600))],
        icmp: Nanos::from_s(90),
        other: Nanos::from_s(10),
    };
    assert_eq!(profile.nat, Nat { timeouts, ..Nat::default() });
    assert_eq!(profile.icmp, Icmp { errors_per_second: 1, time_exceeded: false });
    assert_eq!(profile.management.socket.to_str(), Some("/run/t.sock"));
    assert_eq!(profile.management.journal.to_str(), Some("/srv/j"));
}

#[test]
fn the_examples_are_good() {
    let profile = good(include_str!("../../../dpdk-config/dual-wan.yaml"));
    assert_eq!((profile.interfaces.len(), profile.wans.len(), profile.routes.len()), (3, 2, 1));
    assert!(profile.interfaces.iter().all(|i| matches!(i.port, PortSpec::Pci(_))));
    let profile = good(include_str!("../../../dpdk-config/single-behind-firewall.yaml"));
    assert!(profile.interfaces.iter().all(|i| i.vlan.is_some() && i.port == profile.interfaces[0].port));
    let profile = good(include_str!("../../../dpdk-config/single-interface.yaml"));
    assert_eq!((profile.interfaces[1].name.as_str(), profile.interfaces[1].arm), ("dmz-inside", Some(0)));
    for (text, wans) in [
        (include_str!("../../../dpdk-config/cluster-behind-firewall.yaml"), [1, 1]),
        (include_str!("../../../dpdk-config/cluster-dual-wan.yaml"), [2, 2]),
        (include_str!("../../../dpdk-config/cluster-two-isps.yaml"), [1, 1]),
        (include_str!("../../../dpdk-config/cluster-two-dmzs.yaml"), [1, 1]),
        (include_str!("../../../dpdk-config/cluster-mixed.yaml"), [1, 1]),
    ] {
        let both = load_all(text, "pair.yaml").unwrap();
        assert_eq!(both.iter().map(|profile| profile.wans.len()).collect::<Vec<_>>(), wans);
    }
    let profile = good(include_str!("../../../dpdk-config/veth.yaml"));
    assert_eq!(profile.wans.len(), 2);
    assert!(profile.interfaces.iter().all(|i| matches!(i.port, PortSpec::Linux(_))));
}

#[test]
fn what_the_example_leaves_commented_out_is_good_as_well() {
    let text = include_str!("../../../dpdk-config/dual-wan.yaml");
    let bare = |(i, line): (usize, &str)| {
        let indent = line.len() - line.trim_start().len();
        match line.trim_start().strip_prefix("# ") {
            Some(rest) if i > 4 => format!("{}{rest}\n", " ".repeat(indent)),
            _ => format!("{line}\n"),
        }
    };
    let full = good(&text.lines().enumerate().map(bare).collect::<String>());
    let plain = good(text);
    assert_eq!((full.policy.len(), full.hooks.len(), plain.hooks.len()), (1, 1, 0));
    // But for what has no default, it is the default.
    let health = Health {
        targets: full.wans[0].health.targets.clone(),
        bfd: Some(Bfd::default()),
        degraded: Some(Degraded::default()),
        ..Health::default()
    };
    assert_eq!(full.wans[0].health, health);
    assert_eq!(
        (full.groups, full.on_failover, full.on_failback),
        (plain.groups, plain.on_failover, plain.on_failback)
    );
    assert_eq!((full.nat, full.icmp, full.engine), (plain.nat, plain.icmp, plain.engine));
}

#[test]
fn two_wans_may_share_a_network() {
    let text = with("198.51.100.2/29], gateway: 198.51.100.1", "203.0.113.2/29], gateway: 203.0.113.1");
    assert_eq!(good(&text).wans.len(), 2);
}

#[test]
fn empty_sections_are_sections_of_defaults() {
    let plain = good(SHORT);
    assert_eq!(good(&and("engine:\nroutes:\nhealth:\nnat:\n  timeouts:\nicmp:\nmanagement: {}")), plain);
    assert_eq!(good(&with("wans: [isp1, isp2]", "wans: { isp1: , isp2: {} }")), plain);
}

#[test]
fn a_line_that_moved_is_no_difference() {
    assert_eq!(good(&format!("# a comment\n\n{SHORT}")), good(SHORT));
}

#[test]
fn three_mistakes_are_named_in_one_go() {
    let text = SHORT.replace("192.168.10.1/24", "192.168.10.1").replace("wans:", "wan:")
        + "engine: { sessions: 5 }\n";
    assert_eq!(
        said(&text),
        [
            "1:1: the profile has no `wans`",
            "3:43: an address in `addresses` is not an IPv4 address with a prefix length: `192.168.10.1`",
            "6:1: unknown key `wan`",
            "7:21: `sessions` is out of range: `5`",
        ]
    );
}

#[test]
fn a_mistake_shows_its_line_with_a_caret_and_a_hint() {
    let text = with("wans: [isp1, isp2]", "wans: [isp1, ips2]");
    assert_eq!(
        bad(&text).to_string(),
        "p.yaml:6:14: no interface is called `ips2`\n\
         \x20 wans: [isp1, ips2]\n\
         \x20              ^\n\
         hint: did you mean `isp2`?"
    );
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let text = and(&format!("engine: {{ eal: [{}], sesions: 5 }}", "\"-abc\", ".repeat(100)));
    let shown = bad(&text).to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].chars().count() <= 80 && lines[1].contains("sesions: 5"), "{shown}");
    assert_eq!(lines[1].find("sesions"), lines[2].find('^'), "{shown}");
}

#[test]
fn what_is_shown_of_a_file_cannot_steer_a_terminal() {
    let text = and("\"\\e[2Jx\\u202e\": 1\nname: \"\u{1b}[2J\"");
    let shown = bad(&text).to_string();
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    let text = with("[isp1, isp2]", "[isp1, is2]").replace("  isp2:", "  \"is\\e2\":");
    let shown = bad(&text).to_string();
    assert!(shown.contains("did you mean") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn mistakes_as_json_name_the_place() {
    let json = serde_json::to_value(bad(&and("engin: {}"))).unwrap();
    let expected = serde_json::json!([{
        "file": "p.yaml", "line": 7, "column": 1,
        "message": "unknown key `engin`", "hint": "did you mean `engine`?",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn a_profile_as_json_has_units_in_its_keys() {
    let json = serde_json::to_value(good(SHORT)).unwrap();
    assert_eq!(json["wans"][0]["health"]["arp_every_ns"], 250_000_000);
    assert_eq!(json["nat"]["timeouts"]["udp_ports_ns"]["53"], 10_000_000_000_u64);
    assert_eq!(json["interfaces"][0]["port"], "linux:lan0");
    assert_eq!(json["interfaces"][0]["addresses"][0], "192.168.10.1/24");
}

#[test]
fn a_file_is_read_and_its_name_is_in_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.yaml");
    std::fs::write(&path, SHORT).unwrap();
    assert_eq!(read(&path, &Identity::default()).unwrap(), good(SHORT));
    std::fs::File::options().append(true).open(&path).unwrap().write_all(b"\nfoo: 1\n").unwrap();
    let error = read(&path, &Identity::default()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:8:1: unknown key `foo`", path.display())), "{error}");
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = read(&folder.path().join("none.yaml"), &Identity::default()).unwrap_err();
    assert!(matches!(missing, ReadError::Io { .. }));
    let text = missing.to_string();
    assert!(text.starts_with("cannot read ") && text.contains("give the path of the profile"), "{text}");
    assert_eq!(text.lines().count(), 1);
    let text = read(folder.path(), &Identity::default()).unwrap_err().to_string();
    assert!(text.contains("give the path of the file itself"), "{text}");
    let path = folder.path().join("large.yaml");
    std::fs::write(&path, format!("{SHORT}{}", "\n".repeat(MAX_BYTES))).unwrap();
    let text = read(&path, &Identity::default()).unwrap_err().to_string();
    assert!(text.contains("larger than 1 MiB"), "{text}");
}
