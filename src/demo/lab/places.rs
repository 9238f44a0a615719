//! What each host of a lab is made of: addresses, routes, switches, firewalls, as lines of `ip -batch`, and the kernel's settings.
//!
//! A firewall is the kernel's: it forwards, and translates what goes up to its own address there. Where a member wants an address by DHCP
//! its firewall gives it one.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use super::{INTERNET, ISP_PORT, LAN1, LAN2, Shape, WAN1, WAN2};

/// What a firewall does besides forwarding.
pub(super) const MASQUERADE: &str =
    "table ip up { chain out { type nat hook postrouting priority 100; oifname \"uplink\" masquerade; }; }\n";

/// Whether a host is a firewall.
pub(super) fn is_firewall(host: &str) -> bool {
    host.starts_with("fw")
}

/// The lines that make a host what it is.
pub(super) fn lines(shape: Shape, host: &str) -> String {
    let mut out = "link set lo up\n".to_owned();
    out.push_str(&match host {
        "lan1" => lan_host(LAN1),
        "lan2" => lan_host(LAN2),
        "isp1" => isp("203.0.113.1", "10.255.1.1", "10.255.1.2"),
        "isp2" => isp("198.51.100.1", "10.255.2.1", "10.255.2.2"),
        "inet" => inet(),
        "fw1" => firewall(Ipv4Addr::new(192, 168, 51, 1), WAN1, "203.0.113.1"),
        "fw2" => firewall(Ipv4Addr::new(192, 168, 52, 1), WAN2, "198.51.100.1"),
        host => ports(shape, host),
    });
    out
}

fn lan_host(address: Ipv4Addr) -> String {
    format!("address add {address}/24 dev eth0\nlink set eth0 up\nroute add default via 192.168.10.1\n")
}

fn isp(address: &str, core: &str, inet: &str) -> String {
    format!(
        "address add {address}/29 dev {ISP_PORT}\naddress add {core}/30 dev core\n\
         link set {ISP_PORT} up\nlink set core up\nroute add default via {inet}\n"
    )
}

fn inet() -> String {
    let own = INTERNET.iter().map(|address| format!("address add {address}/32 dev lo\n"));
    let mut out: String = own.collect();
    out.push_str(
        "address add 10.255.1.2/30 dev isp1\naddress add 10.255.2.2/30 dev isp2\n\
         link set isp1 up\nlink set isp2 up\n\
         route add 203.0.113.0/29 via 10.255.1.1\nroute add 198.51.100.0/29 via 10.255.2.1\n",
    );
    out
}

fn firewall(dmz: Ipv4Addr, up: Ipv4Addr, gateway: &str) -> String {
    format!(
        "address add {dmz}/24 dev dmz\naddress add {up}/29 dev uplink\n\
         link set dmz up\nlink set uplink up\nroute add default via {gateway}\n"
    )
}

/// A router's ports, or a switch.
fn ports(shape: Shape, host: &str) -> String {
    let mut out = String::new();
    if Shape::bridges(host) {
        out.push_str("link add br0 type bridge forward_delay 0\n");
    }
    for port in shape.ports(host) {
        if Shape::bridges(host) {
            let _ = writeln!(out, "link set {port} master br0");
        }
        let _ = writeln!(out, "link set {port} up");
    }
    if Shape::bridges(host) {
        out.push_str("link set br0 up\n");
    }
    out
}

/// Kernel settings of the namespace that the calling thread lives in, set before any link is up.
pub(super) fn switches(host: &str) -> std::io::Result<()> {
    let ipv4 = "/proc/sys/net/ipv4";
    for interface in fs::read_dir(format!("{ipv4}/conf"))? {
        fs::write(interface?.path().join("rp_filter"), "0")?;
    }
    for scope in ["all", "default"] {
        // A kernel without IPv6 has nothing to switch off.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
    }
    // One host's answers must not fail for want of a kernel's patience with ICMP.
    let _ = fs::write(format!("{ipv4}/icmp_ratelimit"), "0");
    if host.starts_with("isp") || is_firewall(host) {
        fs::write(format!("{ipv4}/ip_forward"), "1")?;
    }
    Ok(())
}
