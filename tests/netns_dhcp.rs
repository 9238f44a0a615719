//! A WAN by DHCP with the servers that providers run, dnsmasq and Kea: it gets, renews and loses its lease, and its address changes.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use netns::scene::{QUICK, becomes, failovers, finish, scene};
use netns::{Site, echoes, eventually, lab, start, udp_echo, udp_socket};
use turnout::demo::lab::{INTERNET, ISP_PORT, Lab, WAN1};

/// What the server gives first, and the other one.
const FIRST: Ipv4Addr = WAN1;
const OTHER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
const ROUTER: &str = "203.0.113.1";
const SOON: Duration = Duration::from_secs(8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Dnsmasq,
    Kea,
}

impl Kind {
    const fn program(self) -> &'static str {
        match self {
            Kind::Dnsmasq => "/usr/sbin/dnsmasq",
            Kind::Kea => "/usr/sbin/kea-dhcp4",
        }
    }

    fn installed(self) -> bool {
        let there = Path::new(self.program()).exists();
        if !there {
            netns::skipped(format!("no {}; see `ci/setup tests`", self.program()));
        }
        there
    }
}

/// A server in the first ISP's namespace, until it is dropped. It remembers nothing.
struct Server(Child);

impl Server {
    /// Gives `address` alone; wants to be asked again after 3 s.
    fn start(lab: &Lab, kind: Kind, address: Ipv4Addr) -> Server {
        let folder = lab.dir().join(format!("dhcp-{address}-{}", fs::read_dir(lab.dir()).unwrap().count()));
        fs::create_dir(&folder).unwrap();
        let mut command = lab.host("isp1").unwrap().command(kind.program());
        match kind {
            // No lease of its is shorter than 2 min.
            Kind::Dnsmasq => {
                let leases = format!("--dhcp-leasefile={}", folder.join("leases").display());
                let range = format!("--dhcp-range={address},{address},255.255.255.248,2m");
                let (port, router) = (format!("--interface={ISP_PORT}"), format!("--dhcp-option=3,{ROUTER}"));
                command.args([
                    "-k",
                    "--conf-file=/dev/null",
                    "--port=0",
                    "--user=root",
                    "--no-ping",
                    "--dhcp-authoritative",
                ]);
                command.args([
                    "--bind-interfaces",
                    "--pid-file=",
                    "--dhcp-option=option:T1,3",
                    "--dhcp-option=option:T2,6",
                ]);
                command.args([&leases, &range, &port, &router]);
            }
            Kind::Kea => {
                let text = format!(
                    r#"{{ "Dhcp4": {{ "interfaces-config": {{ "interfaces": ["{ISP_PORT}"] }}, "authoritative": true,
                    "lease-database": {{ "type": "memfile", "persist": false }},
                    "valid-lifetime": 12, "renew-timer": 3, "rebind-timer": 8,
                    "subnet4": [{{ "subnet": "203.0.113.0/29", "pools": [{{ "pool": "{address}-{address}" }}],
                    "option-data": [{{ "name": "routers", "data": "{ROUTER}" }}] }}] }} }}"#
                );
                let file = folder.join("kea.json");
                fs::write(&file, text).unwrap();
                for variable in ["KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR"] {
                    command.env(variable, &folder);
                }
                command.env("KEA_LOGGER_DESTINATION", folder.join("log")).arg("-c").arg(file);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Server(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The usual site, whose first WAN asks for its address.
fn profile() -> String {
    let by_hand = format!("addresses: [{WAN1}/29], gateway: {ROUTER}");
    let text = scene(QUICK, "");
    assert!(text.contains(&by_hand), "{text}");
    text.replace(&by_hand, "addresses: dhcp, dhcp: { hostname: edge-1 }")
}

fn site(kind: Kind) -> Option<(Site, Server)> {
    if !kind.installed() {
        return None;
    }
    let (turn, lab) = lab()?;
    let server = Server::start(&lab, kind, FIRST);
    let router = start(&lab, &profile());
    Some((Site::of(router, lab, turn), server))
}

fn life(kind: Kind) {
    let Some((site, server)) = site(kind) else { return };
    let to = SocketAddrV4::new(INTERNET[0], 7007);
    let _echo = udp_echo(site.host("inet"), *to.ip(), to.port());
    // It gets a lease.
    becomes(&site, "isp1", "up", SOON * 2);
    assert_eq!(site.wan("isp1", "address"), FIRST.to_string());
    let lease = site.wan("isp1", "dhcp");
    assert_eq!(
        (lease["address"].as_str(), lease["server"].as_str()),
        (Some("203.0.113.2/29"), Some(ROUTER)),
        "{lease}"
    );
    let socket = udp_socket(site.host("lan1"));
    assert!(echoes(&socket, to));
    // It renews it, twice and more, and nothing happens.
    let seq = site.seq();
    let whole = lease["lease_s"].as_u64().unwrap();
    std::thread::sleep(Duration::from_secs(9));
    let lease = site.wan("isp1", "dhcp");
    assert!(lease["lease_s"].as_u64().unwrap() + 5 > whole, "not renewed: {lease}");
    assert!(echoes(&socket, to));
    let told = |kind: &str| {
        site.events().iter().filter(|e| e["kind"] == kind && e["seq"].as_u64() > Some(seq)).count()
    };
    assert_eq!((told("address"), told("wan_state")), (0, 0), "{:#?}", site.events());
    // Its server gives another address from now on.
    drop(server);
    let server = Server::start(&site.lab, kind, OTHER);
    let changed = || site.wan("isp1", "address") == OTHER.to_string();
    assert!(eventually(SOON * 3, changed), "{:#?}\n{:#?}", site.json(&["wans"]), site.events());
    becomes(&site, "isp1", "up", SOON);
    assert!(eventually(SOON, || site.wan("isp1", "carrying") == true));
    assert!(echoes(&udp_socket(site.host("lan2")), to), "by the new address");
    // And then none at all: the lease is over, or is taken back.
    drop(server);
    if kind == Kind::Kea {
        becomes(&site, "isp1", "down", SOON * 3);
        assert_eq!(
            (&site.wan("isp1", "reason"), &site.wan("isp1", "address")),
            (&"no lease".into(), &serde_json::Value::Null)
        );
        assert!(echoes(&socket, to), "by the other WAN");
        assert!(site.pings("lan2", INTERNET[1]));
        let _server = Server::start(&site.lab, kind, FIRST);
        becomes(&site, "isp1", "up", SOON * 4);
        assert!(echoes(&udp_socket(site.host("lan2")), to));
        let lost = failovers(&finish(site));
        assert!(lost.contains(&"isp1 to isp2: no lease".to_owned()), "{lost:?}");
    } else {
        finish(site);
    }
}

#[test]
fn dnsmasq_gives_renews_and_changes_an_address() {
    life(Kind::Dnsmasq);
}

#[test]
fn kea_gives_renews_changes_and_takes_an_address() {
    life(Kind::Kea);
}
