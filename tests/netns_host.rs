//! The Linux host under a running router stays a host: its services are reached from inside and not from outside, it speaks to the
//! internet by the router, its kernel's routes are followed, dnsmasq serves the LAN, and what bgpd learns turnout forwards by.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netns::servers::{ask_who, who};
use netns::{Site, echoes, eventually, raw_socket, udp_echo, udp_socket, usual};
use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto};
use turnout::base::Mac;
use turnout::demo::lab::{INTERNET, LAN1, LAN2, Netns, WAN1, WAN2};
use turnout::sim::{Packet, Seen};

const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// A daemon, until it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(mut command: Command) -> Daemon {
        Daemon(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(profile: &str) -> Option<Site> {
    if !Path::new("/dev/net/tun").exists() {
        netns::skipped("no /dev/net/tun");
        return None;
    }
    let site = Site::start(profile)?;
    let there = || links(site.host("router")).contains("lan:");
    assert!(eventually(Duration::from_secs(3), there), "{:#?}", site.events());
    Some(site)
}

fn links(host: &Netns) -> String {
    host.output("ip", &["-o", "address"], "").unwrap() + &host.output("ip", &["-o", "link"], "").unwrap()
}

#[test]
fn a_service_of_the_host_is_reached_from_inside_and_from_a_wan_only_where_a_rule_says_so() {
    let rule = "firewall: [{ in: isp1, to: self, protocol: [tcp], port: 2222, action: accept }]\n";
    let Some(mut site) = started(&(usual() + rule)) else { return };
    let all = links(site.host("router"));
    let device = |name: &str, mac_of: &str| {
        let line = |name: &str| {
            all.lines()
                .find(|l| l.contains(&format!(": {name}")) && l.contains("link/ether"))
                .map(str::to_owned)
        };
        let mac = |name: &str| {
            let line = line(name).unwrap();
            line.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(mac(name), mac(mac_of), "{all}");
    };
    device("lan:", "lan0");
    device("t-isp1:", "isp1");
    for address in ["192.168.10.1/24", "203.0.113.2/29", "198.51.100.2/29"] {
        assert!(all.contains(address), "{all}");
    }
    let _services = [22, 53, 2222].map(|port| who(site.host("router"), ANY, port));
    let ask = |host: &str, ip, port| ask_who(site.host(host), SocketAddrV4::new(ip, port));
    let from = |told: &Option<String>, ip: Ipv4Addr| {
        told.as_ref().is_some_and(|told| told.starts_with(&format!("{ip}:")))
    };
    let told = ask("lan1", LAN, 22);
    assert!(from(&told, LAN1), "{told:?} {:#?}", site.json(&["counters"]));
    assert!(from(&ask("lan2", LAN, 53), LAN2));
    let told = ask("inet", WAN1, 2222);
    assert!(from(&told, [10, 255, 1, 2].into()), "{told:?} {:#?}", site.json(&["counters"]));
    for (ip, port) in [(WAN1, 22), (WAN1, 53), (WAN2, 2222)] {
        assert_eq!(ask("inet", ip, port), None, "{ip}:{port}");
    }
    // No service: the kernel says so.
    let refused = site
        .host("lan1")
        .run(|| std::net::TcpStream::connect((LAN, 99)).map_err(|e| e.kind()).map(drop))
        .unwrap();
    assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));
    // Another address, while it runs; and a device that somebody takes away takes nobody along.
    let more = (usual() + rule).replace("[192.168.10.1/24]", "[192.168.10.1/24, 172.16.0.1/24]");
    site.router.reload(&more).unwrap();
    let has = |address: &str| links(site.host("router")).contains(address);
    assert!(eventually(Duration::from_secs(3), || has("172.16.0.1/24")), "{:#?}", site.events());
    let refused = |e: &serde_json::Value| e["kind"] == "host" && e["error"].is_string();
    assert!(!site.events().iter().any(refused), "{:#?}", site.events());
    site.host("router").ip("link del t-isp2").unwrap();
    assert!(eventually(Duration::from_secs(3), || site.events().iter().any(refused)));
    // The host asks who its neighbours are, by itself.
    assert!(site.pings("router", LAN1) && site.pings("router", [203, 0, 113, 1].into()));
    assert!(site.router.stop().unwrap().success(), "{}", site.router.said());
    assert!(!links(site.host("router")).contains("192.168.10.1/24"), "the devices are gone");
}

#[test]
fn the_host_speaks_to_the_internet_and_follows_a_failover() {
    let Some(site) = started(&usual()) else { return };
    let web = SocketAddrV4::new(INTERNET[0], 80);
    let _web = who(site.host("inet"), INTERNET[0], 80);
    let _echo = udp_echo(site.host("inet"), INTERNET[0], 7777);
    let by = |wan: Ipv4Addr| {
        let told = ask_who(site.host("router"), web);
        told.as_ref().is_some_and(|told| told.starts_with(&format!("{wan}:")))
    };
    assert!(by(WAN1), "{:#?}", site.json(&["counters"]));
    let socket = udp_socket(site.host("router"));
    let echo = SocketAddrV4::new(INTERNET[0], 7777);
    assert!(echoes(&socket, echo));
    let inside = |s: &serde_json::Value| s["inside"].as_str().unwrap().starts_with("192.168.10.1:");
    let sessions = site.json(&["sessions"]);
    assert!(sessions.as_array().unwrap().iter().any(inside), "{sessions:#?}");
    site.lab.link_down("isp1").unwrap();
    assert!(eventually(Duration::from_secs(5), || site.wan("isp1", "state") == "down"));
    assert!(by(WAN2), "{:#?}", site.json(&["counters"]));
    assert!(echoes(&socket, echo), "the same flow");
}

#[test]
fn a_route_of_the_hosts_kernel_is_followed_and_withdrawn() {
    let Some(site) = started(&usual()) else { return };
    site.host("lan1").ip(&format!("address add {BEHIND}/32 dev lo")).unwrap();
    let reached = || site.pings("lan2", BEHIND);
    assert!(!reached());
    let seq = site.seq();
    site.host("router").ip(&format!("route add 10.77.0.0/16 via {LAN1} dev lan")).unwrap();
    let event = site.event_after(seq, "route", Duration::from_secs(3));
    assert_eq!(event["added"][0], "10.77.0.0/16 via 192.168.10.10 dev lan");
    assert!(eventually(Duration::from_secs(3), reached));
    site.host("router").ip("route del 10.77.0.0/16").unwrap();
    let event = site.event_after(event["seq"].as_u64().unwrap(), "route", Duration::from_secs(3));
    assert_eq!((event["withdrawn"][0].as_str().is_some(), &event["followed"]), (true, &serde_json::json!(0)));
    assert!(!reached());
    // A default route and one by a device of a WAN are the host's alone.
    site.host("router").ip(&format!("route add default via {LAN1} dev lan metric 9999")).unwrap();
    site.host("router").ip("route add 10.78.0.0/16 dev t-isp1").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(site.events().iter().filter(|e| e["kind"] == "route").count(), 2);
    assert!(site.pings("lan2", INTERNET[0]));
}

/// A DHCP message (RFC 2131 2) of `kind` from a client with a MAC.
fn dhcp(mac: Mac, kind: u8, broadcast: bool, options: &[u8]) -> Vec<u8> {
    let mut m = vec![0; 236];
    m[..4].copy_from_slice(&[1, 1, 6, 0]);
    m[4..8].copy_from_slice(&[9, 8, 7, mac.0[5]]);
    m[10] = if broadcast { 0x80 } else { 0 };
    m[28..34].copy_from_slice(&mac.0);
    m.extend([99, 130, 83, 99, 53, 1, kind]);
    m.extend(options);
    m.push(255);
    m.resize(300, 0);
    let packet = Packet::udp((ANY, 68), (Ipv4Addr::BROADCAST, 67), &m);
    packet.frame(mac, Mac::BROADCAST)
}

/// Sends a message from a host and gives the server's answer: its kind and the address that it gives.
fn lease(host: &Netns, mac: Mac, frame: &[u8], within: Duration) -> Option<(u8, Ipv4Addr)> {
    let (fd, address) = raw_socket(host, "eth0");
    sendto(fd.as_raw_fd(), frame, &address, MsgFlags::empty()).unwrap();
    let (end, mut bytes) = (Instant::now() + within, [0u8; 2048]);
    while Instant::now() < end {
        let Ok((length, _)) = recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut bytes) else { continue };
        let Some(seen) = Seen::read(&bytes[..length]) else { continue };
        let data = seen.payload.get(8..).unwrap_or_default();
        let to_us = seen.eth.dst == mac || seen.eth.dst == Mac::BROADCAST;
        if seen.ip.src == LAN && to_us && data.len() > 243 && data[0] == 2 && data[28..34] == mac.0 {
            let ip: [u8; 4] = data[16..20].try_into().unwrap();
            return Some((data[242], ip.into()));
        }
    }
    None
}

#[test]
fn dnsmasq_on_the_host_serves_the_lan_and_is_no_open_resolver() {
    if !Path::new("/usr/sbin/dnsmasq").exists() {
        return netns::skipped("no dnsmasq");
    }
    let Some(site) = started(&usual()) else { return };
    let mut command = site.host("router").command("/usr/sbin/dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
    ]);
    command.args(["--pid-file=", "--dhcp-range=192.168.10.100,192.168.10.110,5m", "--dhcp-authoritative"]);
    command.arg("--address=/printer.lan/192.168.10.77");
    command.arg(format!("--dhcp-leasefile={}", site.lab.dir().join("leases").display()));
    let _dnsmasq = Daemon::start(command);
    // A name, in the form of a question: printer.lan, A, IN.
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07printer\x03lan\0\0\x01\0\x01".to_vec();
    let asks = |host: &str, server: Ipv4Addr| {
        let socket = udp_socket(site.host(host));
        let mut answer = [0u8; 512];
        let asked = socket.send_to(&question, SocketAddrV4::new(server, 53)).is_ok();
        asked && socket.recv(&mut answer).is_ok_and(|n| answer[..n].ends_with(&[192, 168, 10, 77]))
    };
    assert!(eventually(Duration::from_secs(5), || asks("lan1", LAN)), "{:#?}", site.json(&["counters"]));
    assert!(!asks("inet", WAN1) && !asks("isp1", WAN1), "an open resolver");
    for (n, broadcast) in [(1u8, true), (2, false)] {
        let mac = Mac([2, 0, 0, 0, 9, n]);
        let host = site.host("lan1");
        let discover = dhcp(mac, 1, broadcast, &[]);
        // It pings the address that it would give first.
        let offer = lease(host, mac, &discover, Duration::from_secs(8));
        let Some((2, ip)) = offer else {
            panic!("broadcast {broadcast}: {offer:?} {:#?}", site.json(&["counters"]));
        };
        assert!((100..=110).contains(&ip.octets()[3]), "{ip}");
        let [a, b, c, d] = ip.octets();
        let request = dhcp(mac, 3, broadcast, &[50, 4, a, b, c, d, 54, 4, 192, 168, 10, 1]);
        assert_eq!(lease(host, mac, &request, Duration::from_secs(5)), Some((5, ip)));
    }
}

/// Daemons of FRR in a host, with these lines for bgpd.
fn frr(site: &Site, host: &str, daemons: &[&str], bgp: &str) -> Vec<Daemon> {
    let folder = site.lab.dir().join(format!("frr-{host}"));
    // They run as a user of their own, who has to get at their folder.
    std::fs::set_permissions(site.lab.dir(), Permissions::from_mode(0o711)).unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    std::fs::write(folder.join("zebra.conf"), "hostname zebra\n").unwrap();
    std::fs::write(folder.join("bgpd.conf"), bgp).unwrap();
    let start = |name: &&str| {
        let mut command = site.host(host).command(&format!("/usr/lib/frr/{name}"));
        for (option, file) in
            [("-f", format!("{name}.conf")), ("-i", format!("{name}.pid")), ("-z", "zserv".to_owned())]
        {
            command.arg(option).arg(folder.join(file));
        }
        command.arg("--vty_socket").arg(&folder);
        command.args(["-A", "127.0.0.1", "-P", "0"]);
        let daemon = Daemon::start(command);
        assert!(eventually(Duration::from_secs(5), || folder.join(format!("{name}.vty")).exists()), "{name}");
        daemon
    };
    daemons.iter().map(start).collect()
}

#[test]
fn what_bgpd_on_the_host_learns_turnout_forwards_by() {
    if !["bgpd", "zebra"].iter().all(|name| Path::new("/usr/lib/frr").join(name).exists()) {
        return netns::skipped("no bgpd; the package is frr");
    }
    let Some(site) = started(&usual()) else { return };
    site.host("lan1").ip(&format!("address add {BEHIND}/32 dev lo")).unwrap();
    let bgp = |own: u32, id: Ipv4Addr, other: u32, peer: Ipv4Addr, more: &str| {
        format!(
            "router bgp {own}\n bgp router-id {id}\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
             neighbor {peer} remote-as {other}\n neighbor {peer} timers connect 1\n{more}"
        )
    };
    let seq = site.seq();
    let _router = frr(&site, "router", &["zebra", "bgpd"], &bgp(65001, LAN, 65002, LAN1, ""));
    let network = " address-family ipv4 unicast\n  network 10.77.0.0/16\n exit-address-family\n";
    let peer = frr(&site, "lan1", &["zebra", "bgpd"], &bgp(65002, LAN1, 65001, LAN, network));
    let event = site.event_after(seq, "route", Duration::from_secs(30));
    assert_eq!(event["added"][0], "10.77.0.0/16 via 192.168.10.10 dev lan");
    assert!(eventually(Duration::from_secs(3), || site.pings("lan2", BEHIND)));
    drop(peer);
    let event = site.event_after(event["seq"].as_u64().unwrap(), "route", Duration::from_secs(30));
    assert_eq!(event["followed"], 0);
}
