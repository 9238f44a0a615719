//! The lab of network namespaces: built twice, used, and gone without a trace.
//!
//! Needs the right to make network namespaces; without it the test says so and passes.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as its body does")]

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

#[path = "common/skip.rs"]
mod skip;
use skip::skipped;
use turnout::demo::lab::{Fault, LEASED, Lab, LabError, Shape, privileged};

/// How many namespaces of that lab the system has; other tests have labs of their own.
fn namespaces(prefix: &str) -> usize {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.starts_with(prefix)).count()
}

fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    lab.host(from).unwrap().output("ping", &["-c", "1", "-W", "1", to], "").is_ok()
}

#[test]
fn a_lab_is_built_used_and_removed_twice() {
    if let Err(e) = privileged() {
        skipped(e);
        return;
    }
    for round in 0..2 {
        let start = Instant::now();
        let lab = Lab::dual_wan().unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_millis(1_500), "round {round}: built in {took:?}");
        let prefix = lab.host("lan1").unwrap().name().trim_end_matches("lan1").to_owned();
        assert_eq!(namespaces(&prefix), 7);
        let dir = lab.dir().to_path_buf();

        // The kernel's part of every way: the LAN's bridge, the ISPs' forwarding, the internet host's answers.
        assert!(pings(&lab, "lan1", "192.168.10.11"));
        assert!(pings(&lab, "isp1", "9.9.9.9"));
        assert!(pings(&lab, "isp2", "8.8.8.8"));
        assert!(pings(&lab, "inet", "203.0.113.1"));
        assert!(pings(&lab, "inet", "198.51.100.1"));
        // Between the lines there is only the router, and there is none.
        assert!(!pings(&lab, "lan1", "9.9.9.9"));

        // A thread inside sees that namespace's interfaces, and the router's have no address.
        let router = lab.host("router").unwrap();
        let list = router.output("ip", &["-br", "address"], "").unwrap();
        for port in ["lan0", "isp1", "isp2"] {
            let line = list.lines().find(|line| line.starts_with(&format!("{port}@"))).unwrap();
            assert_eq!(line.split_whitespace().collect::<Vec<_>>()[1..], ["UP"], "{line}");
        }

        // What still runs inside ends with the lab.
        let mut straggler = lab.host("lan2").unwrap().command("sleep").arg("100").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(lab);
        assert!(!straggler.wait().unwrap().success());
        assert_eq!(namespaces(&prefix), 0);
        assert!(!dir.exists());
    }
}

#[test]
fn lines_die_and_recover_as_told() {
    if let Err(e) = privileged() {
        skipped(e);
        return;
    }
    let lab = Lab::dual_wan().unwrap();
    let router = lab.host("router").unwrap();
    // The kernel stands in for the router on one line.
    router.ip("address add 203.0.113.2/29 dev isp1\nroute add default via 203.0.113.1\n").unwrap();
    assert!(pings(&lab, "router", "9.9.9.9"));

    lab.link_down("isp1").unwrap();
    assert_eq!(carrier(&lab), "0");
    lab.link_up("isp1").unwrap();
    assert_eq!(carrier(&lab), "1");
    assert!(pings(&lab, "router", "9.9.9.9"));

    lab.blackhole("isp1").unwrap();
    assert_eq!(carrier(&lab), "1");
    assert!(!pings(&lab, "router", "9.9.9.9"));
    assert!(!pings(&lab, "inet", "203.0.113.2"));
    lab.heal("isp1").unwrap();
    assert!(pings(&lab, "router", "9.9.9.9"));

    assert!(lab.link_down("isp9").is_err());
}

#[test]
fn faults_behind_a_gateway_that_answers_begin_and_end_each_alone() {
    if let Err(e) = privileged() {
        skipped(e);
        return;
    }
    let lab = Lab::dual_wan().unwrap();
    let router = lab.host("router").unwrap();
    router.ip("address add 203.0.113.2/29 dev isp1\nroute add default via 203.0.113.1\n").unwrap();
    // Answers to 40 pings, copies included.
    let answers = |to: &str| {
        let text =
            router.output("ping", &["-c", "40", "-i", "0.002", "-W", "0.3", to], "").unwrap_or_default();
        let number = |word: &str| {
            let before = text.split(word).next().unwrap_or_default();
            before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|n| n.parse::<u32>().ok())
        };
        number(" received").unwrap_or(0)
            + text.contains("duplicates").then(|| number(" duplicates")).flatten().unwrap_or(0)
    };
    let target = Ipv4Addr::new(1, 1, 1, 1);
    let all = [Fault::DeadInternet, Fault::Refused, Fault::DeadTarget(target), Fault::Loss(50), Fault::Twice];
    for fault in all {
        lab.fault("isp1", fault).unwrap();
        let (dead, other) = (answers("1.1.1.1"), answers("9.9.9.9"));
        match fault {
            Fault::DeadInternet | Fault::Refused => assert_eq!((dead, other), (0, 0), "{fault:?}"),
            Fault::DeadTarget(_) => assert_eq!((dead, other), (0, 40), "{fault:?}"),
            Fault::Loss(_) => assert!((5..=35).contains(&dead), "{fault:?}: {dead}"),
            Fault::Twice | Fault::Portal => assert!(dead > 70 && other > 70, "{fault:?}: {dead} {other}"),
        }
        assert!(answers("203.0.113.1") >= 40, "{fault:?}: the gateway answers");
        lab.mend("isp1", fault).unwrap();
        assert!(lab.mend("isp1", fault).is_err(), "{fault:?} was mended already");
        assert_eq!((answers("1.1.1.1"), answers("9.9.9.9")), (40, 40), "after {fault:?}");
    }
}

fn carrier(lab: &Lab) -> String {
    let router = lab.host("router").unwrap();
    router.output("cat", &["/sys/class/net/isp1/carrier"], "").unwrap().trim().to_owned()
}

#[test]
fn a_router_that_does_not_start_is_quoted() {
    if let Err(e) = privileged() {
        skipped(e);
        return;
    }
    let lab = Lab::dual_wan().unwrap();
    let script = lab.dir().join("broken");
    std::fs::write(&script, "#!/bin/sh\necho \"no such port in $2\" >&2\nexit 7\n").unwrap();
    executable(&script);
    let error = lab.start_router_from(&script, "version: 1\n", &Default::default()).unwrap_err().to_string();
    assert!(error.contains("exit status: 7") && error.contains("no such port in /"), "{error}");

    let script = lab.dir().join("stubborn");
    std::fs::write(&script, "#!/bin/sh\ntrap '' TERM\necho ready\nwhile :; do sleep 1; done\n").unwrap();
    executable(&script);
    let mut router = lab.start_router_from(&script, "socket: @SOCKET@\n", &Default::default()).unwrap();
    let profile = std::fs::read_to_string(router.profile()).unwrap();
    assert_eq!(profile, format!("socket: {}\n", lab.socket().display()));
    assert!(router.ended().is_none());
    assert!(router.stop().is_err(), "it had to be killed");
    assert!(router.ended().is_some());
}

fn executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_places_of_a_pair_are_cabled_and_lead_to_the_internet() {
    if let Err(e) = privileged() {
        skipped(e);
        return;
    }
    // The kernel stands in for member a, or for both.
    let stand_in = |lab: &Lab, member: &str, port: &str, address: &str, gateway: &str| {
        let lines = format!("address add {address} dev {port}\nroute add default via {gateway}\n");
        lab.host(member).unwrap().ip(&lines).unwrap();
        assert!(pings(lab, member, "9.9.9.9"), "{member} by {port}");
    };
    for (shape, (a_port, a, a_via), (b_port, b, b_via)) in [
        (
            Shape::PairDualWan,
            ("isp1", "203.0.113.3/29", "203.0.113.1"),
            ("isp2", "198.51.100.4/29", "198.51.100.1"),
        ),
        (
            Shape::PairTwoIsps,
            ("wan0", "203.0.113.2/29", "203.0.113.1"),
            ("wan0", "198.51.100.2/29", "198.51.100.1"),
        ),
        (
            Shape::PairTwoDmzs,
            ("wan0", "192.168.51.10/24", "192.168.51.1"),
            ("wan0", "192.168.52.10/24", "192.168.52.1"),
        ),
        (
            Shape::PairMixed,
            ("wan0", "192.168.51.10/24", "192.168.51.1"),
            ("wan0", "198.51.100.2/29", "198.51.100.1"),
        ),
    ] {
        let lab = Lab::build(shape).unwrap();
        stand_in(&lab, "a", a_port, a, a_via);
        stand_in(&lab, "b", b_port, b, b_via);
        // An ISP that is dead behind its gateway is dead for one of them.
        lab.fault("isp1", Fault::DeadInternet).unwrap();
        assert!(!pings(&lab, "a", "9.9.9.9") && pings(&lab, "a", a_via) && pings(&lab, "b", "9.9.9.9"));
        lab.mend("isp1", Fault::DeadInternet).unwrap();
        lab.unplug("a", a_port).unwrap();
        assert!(!pings(&lab, "a", a_via) && pings(&lab, "b", b_via));
        lab.plug("a", a_port).unwrap();
        assert!(matches!(lab.unplug("a", "none"), Err(LabError::NoHost(_))));
    }
    // In the DMZ they see each other, and on the LAN.
    let lab = Lab::build(Shape::PairBehindFirewall).unwrap();
    for (port, network) in [("lan0", "192.168.10"), ("wan0", "192.168.50")] {
        for (member, host) in [("a", 2), ("b", 3)] {
            let line = format!("address add {network}.{host}/24 dev {port}\n");
            lab.host(member).unwrap().ip(&line).unwrap();
        }
        assert!(pings(&lab, "a", &format!("{network}.3")), "{port}");
    }
    assert!(pings(&lab, "lan1", "192.168.10.2"));
}

#[test]
fn a_firewall_gives_an_address() {
    if let Err(e) = privileged() {
        skipped(e);
        return;
    }
    let lab = Lab::build(Shape::PairMixed).unwrap();
    let leases = match lab.serve_dhcp() {
        Err(e @ LabError::Tool(..)) => return skipped(e),
        other => other.unwrap(),
    };
    // It listens there; that it gives `LEASED` is for a client to tell (tests/netns_cluster.rs).
    let bound = || lab.host("fw1").unwrap().output("cat", &["/proc/net/udp"], "").unwrap();
    let deadline = Instant::now() + Duration::from_secs(3);
    while !bound().contains(":0043 ") {
        assert!(Instant::now() < deadline, "{}", bound());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(LEASED, "192.168.51.10");
    drop(leases);
    assert!(!bound().contains(":0043 "));
}
