//! What the tests in network namespaces share: a site with its router, one at a time, the commands, raw sockets, traffic.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod capture;
pub mod pair;
pub mod pulse;
pub mod scene;
pub mod servers;
#[path = "../common/skip.rs"]
mod skip;

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::ifaddrs::getifaddrs;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, bind, setsockopt, socket, sockopt,
};
use nix::unistd::Pid;
use serde_json::Value;
use turnout::demo::lab::{Inside, Lab, Netns, Router, Shape, Stop, WAN1, WAN2, privileged};

pub use skip::skipped;

/// The program under test.
pub const TURNOUT: &str = env!("CARGO_BIN_EXE_turnout");

/// One lab at a time on this machine: polling routers share its few cores badly.
pub struct Turn(#[allow(dead_code, reason = "held")] Flock<File>);

/// A lab with a router in it.
pub struct Site {
    // Dropped in this order.
    pub router: Kept,
    pub lab: Lab,
    _turn: Turn,
}

/// Waits for this test's turn and builds a lab; `None`, and the reason told, where there are no namespaces.
pub fn lab() -> Option<(Turn, Lab)> {
    lab_of(Shape::DualWan)
}

/// The same, of another shape.
pub fn lab_of(shape: Shape) -> Option<(Turn, Lab)> {
    if let Err(e) = privileged() {
        skipped(e);
        return None;
    }
    let path = std::env::temp_dir().join("turnout-netns-tests.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
    let turn = Turn(Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| e).unwrap());
    Some((turn, Lab::build(shape).unwrap()))
}

/// A router under test. Whatever the test was about, at its end what the router has decided is decided again by its journal.
pub struct Kept(Router);

impl std::ops::Deref for Kept {
    type Target = Router;
    fn deref(&self) -> &Router {
        &self.0
    }
}

impl std::ops::DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Router {
        &mut self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let replayed = self.0.replay();
        if !std::thread::panicking() {
            replayed.unwrap();
        }
    }
}

impl Site {
    /// A lab with a running router.
    pub fn start(profile: &str) -> Option<Site> {
        let (turn, lab) = lab()?;
        let router = start(&lab, profile);
        Some(Site { router, lab, _turn: turn })
    }

    /// One that was built and started by parts.
    pub fn of(router: Kept, lab: Lab, turn: Turn) -> Site {
        Site { router, lab, _turn: turn }
    }

    pub fn host(&self, name: &str) -> &Netns {
        self.lab.host(name).unwrap()
    }

    /// Runs a command that talks to the router.
    pub fn turnout(&self, args: &[&str]) -> Output {
        turnout_at(&self.lab, args)
    }

    /// The JSON that a command prints.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.turnout(&[args, &["--json"]].concat());
        assert!(out.status.success(), "{args:?}: {}", stderr(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    pub fn events(&self) -> Vec<Value> {
        let out = self.turnout(&["events", "--json"]);
        assert!(out.status.success(), "{}", stderr(&out));
        stdout(&out).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// A field of a WAN.
    pub fn wan(&self, name: &str, key: &str) -> Value {
        let wans = self.json(&["wans"]);
        wans.as_array().unwrap().iter().find(|w| w["name"] == name).unwrap()[key].clone()
    }

    /// The event of this kind that comes after event `seq`.
    pub fn event_after(&self, seq: u64, kind: &str, within: Duration) -> Value {
        let found = || {
            self.events()
                .into_iter()
                .find(|e| e["kind"] == kind && e["seq"].as_u64().is_some_and(|s| s > seq))
        };
        let mut event = None;
        let came = eventually(within, || {
            event = found();
            event.is_some()
        });
        assert!(came, "no {kind} within {within:?}: {:#?}", self.events());
        event.unwrap()
    }

    /// The number of the last event.
    pub fn seq(&self) -> u64 {
        self.events().last().and_then(|e| e["seq"].as_u64()).unwrap_or(0)
    }

    /// Whether a ping goes through.
    pub fn pings(&self, from: &str, to: Ipv4Addr) -> bool {
        pings(&self.lab, from, to)
    }
}

pub fn start(lab: &Lab, profile: &str) -> Kept {
    Kept(lab.start_router_from(Path::new(TURNOUT), profile, &Stop::default()).unwrap())
}

pub fn pings(lab: &Lab, from: &str, to: Ipv4Addr) -> bool {
    let args = ["-c", "1", "-W", "2", &to.to_string()];
    lab.host(from).unwrap().output("ping", &args, "").is_ok()
}

/// Runs a command that talks to the router of this lab.
pub fn turnout_at(lab: &Lab, args: &[&str]) -> Output {
    let mut command = Command::new(TURNOUT);
    command.args(args).arg("--socket").arg(lab.socket());
    output_within(command, Duration::from_secs(10))
}

pub fn stdout(out: &Output) -> String {
    String::from_utf8(out.stdout.clone()).unwrap()
}

pub fn stderr(out: &Output) -> String {
    String::from_utf8(out.stderr.clone()).unwrap()
}

/// Ends its child, whatever happens.
struct Reaped(Option<Child>);

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a command that ends by itself within `patience`. Its output must fit in a pipe.
pub fn output_within(mut command: Command, patience: Duration) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Reaped(Some(command.spawn().unwrap()));
    let mut drain = Drain::of(child.0.as_mut().unwrap());
    let ended = eventually(patience, || child.0.as_mut().unwrap().try_wait().unwrap().is_some());
    assert!(ended, "{command:?} still ran after {patience:?}");
    let status = child.0.take().unwrap().wait().unwrap();
    let (stdout, stderr) = drain.join();
    Output { status, stdout, stderr }
}

/// Empties both pipes of a child, so that it never waits for us.
struct Drain([Option<std::thread::JoinHandle<Vec<u8>>>; 2]);

impl Drain {
    fn of(child: &mut Child) -> Drain {
        fn read(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                bytes
            })
        }
        Drain([child.stdout.take().map(read), child.stderr.take().map(read)])
    }

    fn join(&mut self) -> (Vec<u8>, Vec<u8>) {
        let [out, err] = &mut self.0;
        let take = |t: &mut Option<std::thread::JoinHandle<Vec<u8>>>| t.take().unwrap().join().unwrap();
        (take(out), take(err))
    }
}

/// Asks again and again until it is so, or the time is over.
pub fn eventually(within: Duration, mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        if so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The cores this process may use.
pub fn cores() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).collect()
}

/// The members that `default` has without a word as well, but a quick way back.
pub const BACK_AT_ONCE: &str =
    "groups: { default: { members: [{ wan: isp1 }, { wan: isp2 }], failback: { after: 100ms } } }\n";

/// A profile for the lab, whose journal is in the lab's folder: these workers (all text of the `engine` section), a WAN stable after `stable`.
pub fn profile(engine: &str, stable: &str) -> String {
    format!(
        "version: 1
name: netns
engine: {{ sessions: 65536, {engine} }}
interfaces:
  lan:  {{ port: \"linux:lan0\", addresses: [192.168.10.1/24] }}
  isp1: {{ port: \"linux:isp1\", addresses: [{WAN1}/29], gateway: 203.0.113.1 }}
  isp2: {{ port: \"linux:isp2\", addresses: [{WAN2}/29], gateway: 198.51.100.1 }}
wans:
  isp1: {{ health: quick }}
  isp2: {{ health: quick }}
health:
  quick: {{ up: {{ stable: {stable} }} }}
{BACK_AT_ONCE}management: {{ socket: \"@SOCKET@\", journal: \"@SOCKET@.d/journal\" }}
"
    )
}

/// The usual profile: one worker on the last core, the manager on the first.
pub fn usual() -> String {
    let cores = cores();
    let engine = match cores.as_slice() {
        [first, .., last] => format!("workers: [{last}], manager: {first}"),
        _ => format!("workers: [{}]", cores.first().unwrap()),
    };
    profile(&engine, "1s")
}

/// A packet socket on an interface of a host; whole frames in and out, reads wait 100 ms.
pub fn raw_socket(host: &Netns, ifname: &str) -> (OwnedFd, LinkAddr) {
    let name = ifname.to_owned();
    host.run(move || {
        let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .unwrap();
        let own = |i: &nix::ifaddrs::InterfaceAddress| i.interface_name == name;
        let found = getifaddrs().unwrap().filter(own).find_map(|i| i.address?.as_link_addr().copied());
        let address = found.unwrap();
        bind(fd.as_raw_fd(), &address).unwrap();
        setsockopt(&fd, sockopt::ReceiveTimeout, &nix::sys::time::TimeVal::new(0, 100_000)).unwrap();
        // A user namespace keeps the ordinary limit.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20));
        (fd, address)
    })
    .unwrap()
}

/// Something that runs in a host until it is dropped, and counts what it served.
pub struct Service {
    over: Arc<AtomicBool>,
    pub served: Arc<AtomicU64>,
    thread: Option<Inside<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A service; `work` runs until the flag is set and looks at it often.
pub fn service(host: &Netns, work: impl FnOnce(&AtomicBool, &AtomicU64) + Send + 'static) -> Service {
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (flag, count) = (over.clone(), served.clone());
    let thread = host.spawn(move || work(&flag, &count)).unwrap();
    Service { over, served, thread: Some(thread) }
}

/// Answers each UDP packet by itself.
pub fn udp_echo(host: &Netns, at: Ipv4Addr, port: u16) -> Service {
    let socket = host.run(move || UdpSocket::bind(SocketAddrV4::new(at, port)).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
    service(host, move |over, served| {
        let mut packet = [0u8; 2048];
        while !over.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
            served.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&packet[..length], from);
        }
    })
}

/// A UDP socket of a host, with a short patience.
pub fn udp_socket(host: &Netns) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    socket
}

/// Whether a UDP packet comes back, with three tries.
pub fn echoes(socket: &UdpSocket, to: SocketAddrV4) -> bool {
    let mut packet = [0u8; 2048];
    (0..3u8).any(|n| {
        socket.send_to(&[n; 64], to).unwrap();
        matches!(socket.recv_from(&mut packet), Ok((64, from)) if from == to.into())
    })
}
