//! Start and stop: ready in time, everything as it was afterwards, and one clear line where it cannot start.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use netns::{Site, TURNOUT, eventually, lab, output_within, start, stderr, stdout, usual};
use nix::sys::signal::Signal;
use turnout::demo::lab::{INTERNET, Lab};

const PORTS: [&str; 3] = ["lan0", "isp1", "isp2"];

/// What the kernel says of the router's interfaces: flags, promiscuity, offloads, qdiscs, nftables.
fn kernel(lab: &Lab) -> String {
    let router = lab.host("router").unwrap();
    let mut text = router.output("nft", &["list", "ruleset"], "").unwrap();
    for port in PORTS {
        for (program, args) in [
            ("ip", vec!["-d", "-j", "link", "show", "dev", port]),
            ("ethtool", vec!["-k", port]),
            ("tc", vec!["qdisc", "show", "dev", port]),
        ] {
            text.push_str(&router.output(program, &args, "").unwrap());
        }
    }
    // On a link that is down the kernel's own choice has two names, and none in `tc`.
    let text = text.replace(",\"", "\n\"").replace("\"noop\"", "\"noqueue\"");
    text.lines()
        .filter(|line| !line.starts_with("qdisc noqueue"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// What differs, line by line.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(come).collect()
}

fn unchanged(lab: &Lab, before: &str) {
    let after = kernel(lab);
    assert!(after == before, "{:#?}", difference(before, &after));
}

/// Runs `turnout run` on a profile, in the router's namespace.
fn run(lab: &Lab, text: &str) -> Output {
    let file = lab.dir().join("other.yaml");
    fs::write(&file, text.replace("@SOCKET@", &lab.socket().to_string_lossy())).unwrap();
    let mut command = lab.host("router").unwrap().command(TURNOUT);
    command.arg("run").arg(&file);
    output_within(command, Duration::from_secs(10))
}

/// Exit status 1 and one line that says all of `says`.
fn refused(what: &str, out: &Output, says: &[&str]) {
    let text = stderr(out);
    println!("{what}: {}", text.trim());
    assert_eq!(out.status.code(), Some(1), "{what}: {text}");
    assert_eq!(text.lines().count(), 1, "{what}: {text}");
    assert_eq!(stdout(out), "", "{what}");
    for word in says {
        assert!(text.contains(word), "{what} does not say `{word}`: {text}");
    }
}

#[test]
fn the_router_is_ready_soon_and_gone_soon_and_leaves_all_as_it_was() {
    let Some((_turn, lab)) = lab() else { return };
    // One port was down, and merges what it receives.
    let router = lab.host("router").unwrap();
    router.ip("link set isp2 down\n").unwrap();
    router.output("ethtool", &["-K", "lan0", "gro", "on"], "").unwrap();
    let before = kernel(&lab);
    for (round, signal) in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        let began = Instant::now();
        let mut router = start(&lab, &usual());
        let ready = began.elapsed();
        assert!(ready < Duration::from_secs(2), "round {round}: ready after {ready:?}");
        let during = kernel(&lab);
        assert!(
            during.contains("turnout_lan0") && during.contains("qdisc blackhole"),
            "{:#?}",
            difference(&before, &during)
        );
        assert!(!during.contains("generic-receive-offload: on"), "{:#?}", difference(&before, &during));
        assert!(netns::pings(&lab, "lan1", INTERNET[0]));

        let began = Instant::now();
        router.signal(signal);
        assert!(eventually(Duration::from_secs(3), || router.ended().is_some()));
        let stopped = began.elapsed();
        println!("round {round}: ready in {ready:?}, stopped in {stopped:?}");
        assert!(stopped < Duration::from_secs(2), "round {round}: stopped after {stopped:?}");
        assert_eq!(router.ended().unwrap().code(), Some(0), "{}", router.said());
        assert!(!router.said().contains("panicked"), "{}", router.said());
        assert!(!lab.socket().exists());
        unchanged(&lab, &before);
    }
}

#[test]
fn a_router_that_cannot_start_says_why_in_one_line() {
    let Some((_turn, lab)) = lab() else { return };
    let before = kernel(&lab);
    let with = |from: &str, to: &str| {
        let text = usual();
        assert!(text.contains(from));
        text.replace(from, to)
    };
    let out = run(&lab, &with("linux:isp2", "linux:isp9"));
    refused("a port that is not there", &out, &["isp9 is not there", "lan0 isp1 isp2"]);
    let out = run(&lab, &with("linux:isp2", "net_nonesuch0"));
    refused("a device that DPDK does not know", &out, &["net_nonesuch0"]);
    let out = run(&lab, &with("linux:isp2", "0000:ff:1f.7"));
    refused("a PCI device that is not there", &out, &["0000:ff:1f.7"]);
    let out = run(&lab, &netns::profile("workers: [77]", "1s"));
    refused("a core that is not there", &out, &["core 77 is not there", "name one of these"]);
    let out = run(&lab, &with("@SOCKET@", "/proc/nonesuch/turnout.sock"));
    refused("a socket that cannot be", &out, &["/proc/nonesuch/turnout.sock", "management.socket"]);
    let out = run(&lab, &with("sessions: 65536", "sessions: 65536, hugepages: required"));
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-1048576kB").exists() || out.status.code() == Some(1) {
        refused("no huge pages", &out, &["sysctl vm.nr_hugepages="]);
    }

    let router = lab.host("router").unwrap();
    router.ip("address add 192.168.10.1/24 dev lan0\n").unwrap();
    let out = run(&lab, &usual());
    refused("an address in the way", &out, &["192.168.10.1/24", "ip addr flush dev lan0"]);
    router.ip("address flush dev lan0\n").unwrap();

    let mut command = router.command(TURNOUT);
    command.args(["run", "/nonesuch.yaml"]);
    refused("no profile", &output_within(command, Duration::from_secs(5)), &["/nonesuch.yaml"]);
    unchanged(&lab, &before);
    assert!(!lab.socket().exists());
}

#[test]
fn a_second_router_is_refused_and_the_first_goes_on() {
    let Some(mut site) = Site::start(&usual()) else { return };
    let out = run(&site.lab, &usual());
    refused("the same socket", &out, &["another router runs on", "management.socket"]);
    let out = run(&site.lab, &usual().replace("@SOCKET@", "@SOCKET@2"));
    refused("the same ports", &out, &[&format!("(pid {})", site.router.pid()), "lan0"]);
    assert!(site.pings("lan1", INTERNET[0]));
    assert!(site.turnout(&["status"]).status.success());
    assert!(site.router.stop().unwrap().success());
}

#[test]
fn somebody_without_the_right_is_told_which() {
    let Some((_turn, lab)) = lab() else { return };
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let router = lab.host("router").unwrap();
    if router.output("setpriv", &[&nobody[..], &["true"]].concat(), "").is_err() {
        netns::skipped("no other user to be");
        return;
    }
    // Where that user may read and write.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let (binary, file) = (dir.path().join("turnout"), dir.path().join("profile.yaml"));
    fs::copy(TURNOUT, &binary).unwrap();
    let socket = dir.path().join("turnout.sock");
    fs::write(&file, usual().replace("@SOCKET@", &socket.to_string_lossy())).unwrap();
    let mut command = router.command("setpriv");
    command.args(nobody).arg(&binary).arg("run").arg(&file);
    let out = output_within(command, Duration::from_secs(5));
    refused("no permission", &out, &["CAP_NET_", "run as root"]);
    assert!(!socket.exists());
}

#[test]
fn a_profile_with_mistakes_is_not_run_and_wrong_usage_is_2() {
    let Some((_turn, lab)) = lab() else { return };
    let text = usual().replace("gateway: 203.0.113.1", "gateway: 203.0.113.99").replace("name:", "nome:");
    let out = run(&lab, &text);
    let said = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    let file = lab.dir().join("other.yaml");
    let places = said.lines().filter(|l| l.contains(&format!("{}:", file.display()))).count();
    assert!(places == 2 && !said.contains("panicked"), "{said}");
    assert_eq!(stdout(&out), "");

    for args in
        [&["run", "--nonesuch"][..], &["fly"], &["wan", "down"], &["sessions", "--protocol", "igmp"], &[]]
    {
        let mut command = Command::new(TURNOUT);
        command.args(args);
        let out = output_within(command, Duration::from_secs(5));
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", stderr(&out));
    }
}

#[test]
fn after_a_kill_the_next_start_mends_what_was_left() {
    let Some(mut site) = Site::start(&usual()) else { return };
    site.router.stop().unwrap();
    site.host("router").ip("link set isp2 down\n").unwrap();
    site.host("router").output("ethtool", &["-K", "lan0", "gro", "on"], "").unwrap();
    let before = kernel(&site.lab);
    for _ in 0..2 {
        site.router = start(&site.lab, &usual());
        site.router.kill();
        assert!(site.lab.socket().exists(), "a killed router cannot tidy up");
        assert!(kernel(&site.lab) != before);
        // A command says so, in one line.
        let out = site.turnout(&["status"]);
        refused("nobody answers", &out, &["is `turnout run` running"]);

        site.router = start(&site.lab, &usual());
        assert!(eventually(Duration::from_secs(3), || site.pings("lan1", INTERNET[0])));
        assert!(site.pings("inet", turnout::demo::lab::WAN2));
        assert!(site.router.stop().unwrap().success());
        unchanged(&site.lab, &before);
    }
}
