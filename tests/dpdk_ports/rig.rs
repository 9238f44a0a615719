//! Processes of their own, veth pairs and frames.

#[path = "../common/skip.rs"]
mod skip;

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use turnout::base::{Mac, PortId};
use turnout::dpdk::*;
use turnout::packet::{BufPool, PacketBuf};

pub use skip::skipped;

pub const CHILD: &str = "TURNOUT_TEST_CHILD";

/// Where a test's process runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Here,
    /// In a network namespace of its own.
    Netns,
    /// There too, as a user without rights outside of it, who may lock 8 MB of memory.
    User,
}

/// Runs `body` in a new process: this test's again, told apart by its environment.
pub fn alone(test: &str, place: Where, body: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return body();
    }
    let root = nix::unistd::geteuid().is_root();
    let mut me = std::env::current_exe().unwrap();
    let open_to_all = tempfile::tempdir().unwrap();
    let mut words: Vec<&str> = Vec::new();
    if place == Where::User {
        words.extend(["prlimit", "--memlock=8388608:8388608"]);
    }
    if place == Where::User && root {
        let copy = open_to_all.path().join("test");
        std::fs::copy(&me, &copy).unwrap();
        sh(&format!("chmod 755 {}", open_to_all.path().display()));
        me = copy;
        words.extend(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    match place {
        Where::Here => {}
        Where::Netns if root => words.extend(["unshare", "--net"]),
        Where::Netns | Where::User => words.extend(["unshare", "--user", "--map-root-user", "--net"]),
    }
    let mut command = Command::new("env");
    command.args(words);
    let works = Command::new("env").args(command.get_args()).arg("true").stderr(Stdio::null()).status();
    if !works.is_ok_and(|s| s.success()) {
        skipped("this kernel gives this user no network namespace");
        return;
    }
    command.arg(me).args([test, "--exact", "--nocapture"]).env(CHILD, test);
    let out = command.output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr);
    print!("{}{told}", String::from_utf8_lossy(&out.stdout));
    told.lines().filter_map(|line| line.strip_prefix("skipped: ")).for_each(skipped);
    assert!(out.status.success(), "{test}: {} (signal {:?})", out.status, out.status.signal());
}

pub fn start() -> Eal {
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap().iter().map(|c| c.id).collect();
    let config = EalConfig {
        manager_core: cores[0],
        worker_cores: cores,
        hugepages: Hugepages::Never,
        memory_mb: 64,
        ..EalConfig::default()
    };
    let began = Instant::now();
    let eal = Eal::start(&config).unwrap();
    println!("EAL started in {:?}", began.elapsed());
    eal
}

pub fn frame(pool: &mut Pool, bytes: &[u8]) -> Mbuf {
    let mut mbuf = pool.alloc().unwrap();
    assert!(mbuf.resize(bytes.len()));
    mbuf.bytes_mut().copy_from_slice(bytes);
    mbuf
}

pub fn receive(queue: &mut Queue, within: Duration, mut stop: impl FnMut(&[u8]) -> bool) -> bool {
    let end = Instant::now() + within;
    let mut burst = Vec::<Mbuf>::with_capacity(BURST);
    while Instant::now() < end {
        queue.rx(&mut burst);
        for mbuf in burst.drain(..) {
            if stop(mbuf.bytes()) {
                return true;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

pub fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A veth pair; the kernel has 10.9.9.9 on lo, for which it answers ARP on every interface.
pub fn wire() {
    sh("ip link set lo up && ip addr add 10.9.9.9/32 dev lo \
        && ip link add a0 address 02:00:00:00:00:0a type veth peer name b0 address 02:00:00:00:00:0b \
        && ip link set b0 up && ethtool -K a0 gro on && ethtool -K b0 tx off >/dev/null");
}

/// Everything of an interface that a claim may touch.
pub fn picture(ifname: &str) -> String {
    sh(&format!(
        "ip -j link show {ifname} | grep -o '\"flags\":[^]]*'; tc qdisc show dev {ifname}; \
         ethtool -k {ifname} | grep -E 'generic-receive|large-receive|rx-gro|rx-udp-gro'; nft list tables"
    ))
}

pub fn a0() -> Mac {
    "02:00:00:00:00:0a".parse().unwrap()
}

pub fn arp_request() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0xb, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xb]);
    frame.extend(Ipv4Addr::new(10, 9, 9, 50).octets());
    frame.extend([0; 6]);
    frame.extend(Ipv4Addr::new(10, 9, 9, 9).octets());
    frame.resize(60, 0);
    frame
}

/// A UDP packet from the peer to what the kernel takes for its own address.
pub fn udp_to_the_kernel() -> Vec<u8> {
    let mut frame = [a0().0, [2, 0, 0, 0, 0, 0xb]].concat();
    frame.extend([8, 0, 0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 9, 50, 10, 9, 9, 9]);
    let sum: u32 = frame[14..34].chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend([0, 9, 0x1e, 0x61, 0, 9, 0, 0, b'!']);
    frame.resize(60, 0);
    frame
}

pub fn numbered(to: Mac, from: Mac, n: u16) -> Vec<u8> {
    let mut frame = [to.0, from.0].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend(n.to_be_bytes());
    frame.resize(60, 0);
    frame
}

pub fn open(eal: &Eal, pool: &Pool, ifname: &str, id: u16, queues: u16) -> (Port, Vec<Queue>) {
    let source = PortSource::Linux(ifname.into());
    let config = PortConfig { queues, ..PortConfig::new(pool.clone()) };
    let mut port = Port::open(eal, &source, PortId(id), &config).unwrap();
    port.start().unwrap();
    let queues = port.take_queues().unwrap();
    (port, queues)
}
