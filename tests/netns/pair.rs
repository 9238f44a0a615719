//! Two members of a pair in a lab: on one LAN and on one ISP's line, by a switch each. They share an address on both, and hear each other
//! on both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, sendto};
use serde_json::Value;
use turnout::base::{Mac, Nanos};
use turnout::demo::clock;
use turnout::demo::lab::{Lab, Netns, Shape, Stop, WAN1};
use turnout::wire::arp::Arp;

use super::scene::TARGETS;
use super::{Kept, TURNOUT, Turn, cores, eventually, lab_of, output_within, raw_socket, stderr, stdout};

/// The hosts' gateway: whoever is active.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
/// The port of the status endpoint.
pub const STATUS: u16 = 8080;

/// A member's own address inside.
pub fn inside(member: &str) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, if member == "a" { 2 } else { 3 })
}

/// A member's own address on the ISP's line.
pub fn outside(member: &str) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, if member == "a" { 3 } else { 4 })
}

/// The other one.
pub fn other(member: &str) -> &'static str {
    if member == "a" { "b" } else { "a" }
}

/// A profile: beats and timeout in ms, the failback's section, further sections.
pub fn profile(every: u64, timeout: u64, failback: &str, rest: &str) -> String {
    let cores = cores();
    let (manager, worker) = (cores.first().unwrap(), cores.last().unwrap());
    let member = |name: &str| {
        format!(
            "    {name}:
      name: {name}
      management: {{ socket: \"@DIR@/{name}.sock\", journal: \"@DIR@/{name}.sock.d/journal\" }}
      interfaces:
        lan:  {{ addresses: [{}/24] }}
        isp1: {{ addresses: [{}/29] }}
",
            inside(name),
            outside(name)
        )
    };
    let (a, b) = (member("a"), member("b"));
    format!(
        "version: 1
engine: {{ workers: [{worker}], manager: {manager}, sessions: 65536 }}
interfaces:
  lan:  {{ port: \"linux:lan0\" }}
  isp1: {{ port: \"linux:isp1\", gateway: 203.0.113.1 }}
wans: {{ isp1: {{ health: quick }} }}
health:
  quick: {{ {TARGETS} }}
cluster:
  members:
{a}{b}  heartbeat:
    paths: [{{ interface: lan }}, {{ interface: isp1 }}]
    every: {every}ms
    timeout: {timeout}ms
    key_file: \"@DIR@/cluster.key\"
  failback: {{ {failback} }}
  virtual:
    - {{ interface: lan, address: {GATEWAY}/24, vrid: 10 }}
    - {{ interface: isp1, address: {WAN1}/29, vrid: 11 }}
  status: {{ interface: lan, port: {STATUS} }}
{rest}"
    )
}

/// The members and their lab.
pub struct Couple {
    // Dropped in this order.
    members: [Option<Kept>; 2],
    pub lab: Lab,
    text: String,
    _turn: Turn,
}

impl Couple {
    /// The lab alone; `None` where there are no namespaces.
    pub fn apart(text: &str) -> Option<Couple> {
        let (turn, lab) = lab_of(Shape::PairDualWan)?;
        Some(Couple { members: [None, None], lab, text: text.to_owned(), _turn: turn })
    }

    /// Both run, `a` is active, `b` has its sessions.
    pub fn start(text: &str) -> Option<Couple> {
        let mut couple = Couple::apart(text)?;
        couple.launch("a");
        couple.launch("b");
        couple.settles("a");
        Some(couple)
    }

    fn at(&mut self, member: &str) -> &mut Option<Kept> {
        &mut self.members[usize::from(member != "a")]
    }

    /// Starts a member, which has ended if it ever ran.
    pub fn launch(&mut self, member: &'static str) {
        self.try_launch(member).unwrap();
    }

    /// The same; why it does not start.
    pub fn try_launch(&mut self, member: &'static str) -> Result<(), String> {
        // The journal of its last run is decided again first.
        *self.at(member) = None;
        let started = self.lab.start_member(member, Path::new(TURNOUT), &self.text, &Stop::default());
        *self.at(member) = Some(Kept(started.map_err(|e| e.to_string())?));
        Ok(())
    }

    /// Kills a member (kill -9). Returns just before.
    pub fn kill(&mut self, member: &str) -> Nanos {
        let at = clock::now();
        self.at(member).as_mut().unwrap().kill();
        at
    }

    /// Stops a member (SIGTERM): it ends well. Returns just before.
    pub fn stop(&mut self, member: &str) -> Nanos {
        let at = clock::now();
        let router = self.at(member).as_mut().unwrap();
        let status = router.stop().unwrap();
        assert!(status.success(), "{}", router.said());
        at
    }

    pub fn host(&self, name: &str) -> &Netns {
        self.lab.host(name).unwrap()
    }

    /// Runs a command that talks to a member.
    pub fn turnout(&self, member: &str, args: &[&str]) -> Output {
        let mut command = Command::new(TURNOUT);
        command.args(args).arg("--socket").arg(self.lab.socket_of(member));
        output_within(command, Duration::from_secs(10))
    }

    /// The JSON that a command prints.
    pub fn json(&self, member: &str, args: &[&str]) -> Value {
        let out = self.turnout(member, &[args, &["--json"]].concat());
        assert!(out.status.success(), "{member} {args:?}: {}", stderr(&out));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// The pair, as a member sees it.
    pub fn view(&self, member: &str) -> Value {
        self.json(member, &["cluster"])
    }

    pub fn role(&self, member: &str) -> String {
        self.view(member)["role"].as_str().unwrap().to_owned()
    }

    /// Waits for a member's role.
    pub fn becomes(&self, member: &str, role: &str, within: Duration) {
        let so = eventually(within, || self.role(member) == role);
        assert!(so, "{member} is not {role}: {:#}\n{:#?}", self.view(member), self.events(member));
    }

    /// Waits until this one is active, the other one its standby with all sessions, and the site well.
    pub fn settles(&self, active: &str) {
        let standby = other(active);
        let so = || {
            let (holds, waits) = (self.view(active), self.view(standby));
            holds["role"] == "active"
                && waits["role"] == "standby"
                && waits["sync"]["state"] == "whole"
                && [&holds, &waits].iter().all(|view| view["site"] == "healthy")
        };
        let settled = eventually(Duration::from_secs(15), so);
        assert!(settled, "{:#}\n{:#}", self.view(active), self.view(standby));
    }

    pub fn events(&self, member: &str) -> Vec<Value> {
        let out = self.turnout(member, &["events", "--json"]);
        assert!(out.status.success(), "{}", stderr(&out));
        stdout(&out).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for an event of a member that is so, and gives it.
    pub fn event(&self, member: &str, within: Duration, so: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(within, || {
            found = self.events(member).into_iter().rfind(&so);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("not told by {member}: {:#?}", self.events(member)))
    }

    /// The members do not hear each other by this switch any more; everything else passes.
    pub fn deafen(&self, switch: &str) -> Nanos {
        let chain = |port: &str| {
            format!(
                "chain {port} {{ type filter hook ingress device \"{port}\" priority -500; udp dport 9000 drop; }};"
            )
        };
        self.nft(switch, &format!("table netdev deaf {{ {} {} }}\n", chain("pa"), chain("pb")))
    }

    /// They hear each other again.
    pub fn undeafen(&self, switch: &str) -> Nanos {
        self.nft(switch, "delete table netdev deaf\n")
    }

    /// Behind the ISP's gateway there is nothing for a member any more.
    pub fn strand(&self, member: &str) -> Nanos {
        self.nft(
            "sw1",
            &format!(
                "table netdev {member} {{ chain only {{ type filter hook ingress device \"p{member}\" priority -500; \
                 ip daddr != 203.0.113.0/29 drop; }}; }}\n"
            ),
        )
    }

    /// The internet is back for it.
    pub fn rejoin(&self, member: &str) -> Nanos {
        self.nft("sw1", &format!("delete table netdev {member}\n"))
    }

    /// `turnout run` as a member, which is to end at once.
    pub fn run_once(&self, member: &str) -> Output {
        let dir = self.lab.dir();
        let file = dir.join("pair.yaml");
        std::fs::write(&file, self.text.replace("@DIR@", &dir.to_string_lossy())).unwrap();
        let mut command = self.host(member).command(TURNOUT);
        command.arg("run").arg(file).args(["--member", member]);
        output_within(command, Duration::from_secs(5))
    }

    /// A host on the LAN says to everybody that it has this address (RFC 5227 2.3). Returns its MAC.
    pub fn claims(&self, host: &str, ip: Ipv4Addr) -> Mac {
        let (fd, address) = raw_socket(self.host(host), "eth0");
        let mac = Mac(address.addr().unwrap());
        let frame = Arp::request(mac, ip, ip, None);
        assert_eq!(sendto(fd.as_raw_fd(), &frame, &address, MsgFlags::empty()).unwrap(), frame.len());
        mac
    }

    fn nft(&self, host: &str, lines: &str) -> Nanos {
        let at = clock::now();
        self.host(host).output("nft", &["-f", "-"], lines).unwrap();
        at
    }

    /// What the status endpoint of a member says to a host: the status and the body. `None`: nothing.
    pub fn asked(&self, from: &str, member: &str) -> Option<(u16, Value)> {
        ask(self.host(from), SocketAddrV4::new(inside(member), STATUS))
    }
}

/// What is said to `GET /`.
pub fn ask(host: &Netns, at: SocketAddrV4) -> Option<(u16, Value)> {
    let asks = move || {
        let mut stream = TcpStream::connect_timeout(&at.into(), Duration::from_millis(500)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: member\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    };
    host.run(asks).unwrap()
}
