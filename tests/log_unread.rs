//! A log that nobody reads: the router goes on deciding, answers, and stops in time.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use turnout::manage::protocol::{Admin, Request, ask_one};

#[test]
fn a_router_whose_log_is_not_read_decides_answers_and_stops_within_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let (profile, socket) = (dir.path().join("profile.yaml"), dir.path().join("socket"));
    let text = format!(
        "version: 1
interfaces:
  lan:  {{ port: \"net_null0\", addresses: [192.168.10.1/24] }}
  isp1: {{ port: \"net_null1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }}
  isp2: {{ port: \"net_null2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }}
wans: [isp1, isp2]
engine: {{ workers: [0], idle: sleep, sessions: 4096 }}
management: {{ socket: \"{0}\", journal: \"{0}.d\" }}
",
        socket.display()
    );
    std::fs::write(&profile, text).unwrap();
    let mut router = Command::new(env!("CARGO_BIN_EXE_turnout"))
        .arg("run")
        .arg(&profile)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(router.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    // Far more events than a pipe and the log's own buffers hold.
    let mut slowest = Duration::ZERO;
    for n in 0..1200 {
        let admin = if n % 2 == 0 { Admin::Drain } else { Admin::Auto };
        let asked = Instant::now();
        ask_one(&socket, &Request::Wan { name: "isp1".into(), admin, force: true }).unwrap();
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    kill(Pid::from_raw(router.id() as i32), Signal::SIGTERM).unwrap();
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = router.try_wait().unwrap() {
            break status;
        }
        if asked.elapsed() > Duration::from_secs(10) {
            router.kill().unwrap();
            panic!("it does not stop");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(!socket.exists());
}
