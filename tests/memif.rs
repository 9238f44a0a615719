//! Two processes over net_memif: `turnout run` on one side, `turnout bench generator` on the other.
//!
//! Nothing is asserted of speed: the machine may have one core, and others on it.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const TURNOUT: &str = env!("CARGO_BIN_EXE_turnout");

fn port(dir: &Path, number: u8, role: &str) -> String {
    let socket = dir.join(format!("{number}.sock"));
    format!("net_memif{number},role={role},id={number},socket={},socket-abstract=no", socket.display())
}

/// A router on memif ports of this role.
fn router(dir: &Path, role: &str) -> Child {
    let profile = dir.join("profile.yaml");
    let text = format!(
        "version: 1\n\
         engine: {{ idle: sleep, sessions: 4096 }}\n\
         interfaces:\n  \
         lan: {{ port: \"{}\", addresses: [192.168.10.1/24] }}\n  \
         isp1: {{ port: \"{}\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }}\n\
         routes: [{{ to: 10.0.0.0/8, via: 192.168.10.254 }}]\n\
         wans: [isp1]\n\
         management: {{ socket: {}, journal: {} }}\n",
        port(dir, 0, role),
        port(dir, 1, role),
        dir.join("control").display(),
        dir.join("journal").display()
    );
    fs::write(&profile, text).unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    Command::new(TURNOUT).arg("run").arg(profile).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn generator(dir: &Path, role: &str) -> Command {
    let mut command = Command::new(TURNOUT);
    // DPDK unmaps a memif whose peer goes, under a worker that is just reading it: the generator goes when the worker naps.
    command.args(["bench", "generator", "--json", "--sessions", "200", "--seconds", "1", "--linger", "1"]);
    command.args(["--lan", &port(dir, 0, role), "--wan", &port(dir, 1, role)]);
    command
}

/// Every race's line says that frames came through.
fn came_through(out: &[u8]) {
    let lines = String::from_utf8_lossy(out);
    let rows: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let ways: Vec<&str> = rows.iter().filter_map(|r| r["direction"].as_str()).collect();
    assert_eq!(ways, ["up", "down", "both"]);
    for row in &rows {
        assert!(row["received"].as_u64().unwrap() > 0, "{row}");
    }
}

fn stop(mut router: Child, dir: &Path) {
    let ended = router.try_wait().unwrap();
    let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
    assert!(ended.is_none(), "the router has ended by itself: {ended:?}\n{}", log());
    kill(Pid::from_raw(router.id() as i32), Signal::SIGTERM).unwrap();
    assert!(router.wait().unwrap().success(), "the router ends in good order");
}

fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Each of these keeps both cores busy, polling: they run one after the other.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn every_session_is_opened_and_answered_and_a_second_peer_is_served_like_the_first() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let router = router(dir.path(), "server");
    wait_for(&dir.path().join("1.sock"));
    for _ in 0..2 {
        let out = generator(dir.path(), "client").output().unwrap();
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(out.status.success(), "{}{log}", String::from_utf8_lossy(&out.stderr));
        came_through(&out.stdout);
    }
    stop(router, dir.path());
}

#[test]
fn a_router_that_is_the_client_connects_by_itself_and_both_end_in_good_order() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let generator =
        generator(dir.path(), "server").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&dir.path().join("1.sock"));
    let router = router(dir.path(), "client");
    // While the router, a client, tries to connect again: the generator's end must not be disturbed.
    let out = generator.wait_with_output().unwrap();
    assert!(out.status.success(), "{} {}", out.status, String::from_utf8_lossy(&out.stderr));
    came_through(&out.stdout);
    stop(router, dir.path());
}

#[test]
fn a_generator_without_a_router_says_who_is_missing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let out = generator(dir.path(), "client").arg("--plain").output().unwrap();
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("nobody is at the other end"));
}

#[test]
fn a_router_that_is_the_client_of_nobody_says_who_comes_first() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    assert!(!router(dir.path(), "client").wait().unwrap().success());
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(log.contains("start the memif server first"), "{log}");
}
