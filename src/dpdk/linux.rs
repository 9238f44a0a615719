//! A Linux interface, taken from the kernel for a while: silenced, so that the kernel neither answers nor sends on it
//! while `net_af_packet` sees every frame and sends its own, and put back as it was.
//!
//! - Received frames: an nftables `netdev ingress` chain drops them, after the packet sockets have had their copy.
//! - The kernel's own frames: a `blackhole` root qdisc swallows them. The driver's frames pass beside it
//!   (`qdisc_bypass=1`). An nftables egress chain would not do: packets that bypass the qdisc still go through it.
//! - Merging of received packets (GRO, LRO) is off: a merged packet is longer than the MTU.
//!
//! How things were is on disk before the first change (`linux_state`); the next claim mends what a kill -9 has left.
//! Claim before the port is opened, release after it is closed: closing clears IFF_PROMISC.

use std::path::Path;

use serde::Deserialize;

use super::command::{require_capabilities, run};
use super::linux_state::{Before, StateFile};
use crate::base::Mac;

/// Where state files lie.
pub const STATE_DIR: &str = "/run/turnout";

/// What merges or holds back received packets, by ethtool's names.
const OFFLOADS: [&str; 5] =
    ["generic-receive-offload", "large-receive-offload", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding"];

/// Why an interface cannot be claimed or given back. One line each.
#[derive(Debug, thiserror::Error)]
pub enum LinuxError {
    /// There is none of that name here.
    #[error("interface {ifname} is not there (this network namespace has: {existing})")]
    NoInterface {
        /// The name.
        ifname: String,
        /// The names that exist.
        existing: String,
    },
    /// `lo`, or not Ethernet.
    #[error("interface {ifname} is no Ethernet interface ({kind}): name another")]
    NotEthernet {
        /// The name.
        ifname: String,
        /// What it is.
        kind: String,
    },
    /// It belongs to a bridge or bond.
    #[error("interface {ifname} is part of {master}: ip link set {ifname} nomaster")]
    Member {
        /// The name.
        ifname: String,
        /// The bridge or bond.
        master: String,
    },
    /// The kernel has an address on it.
    #[error(
        "interface {ifname} has the address {address}, which would be the router's: ip addr flush dev {ifname}"
    )]
    Addressed {
        /// The name.
        ifname: String,
        /// The first address that is in the way.
        address: String,
    },
    /// It has a root qdisc that somebody set up.
    #[error(
        "interface {ifname} has a queueing discipline of its own ({kind}): tc qdisc del dev {ifname} root"
    )]
    Shaped {
        /// The name.
        ifname: String,
        /// The discipline.
        kind: String,
    },
    /// Another router has it.
    #[error("another router (pid {pid}) holds {ifname}: stop it, or name another interface")]
    Held {
        /// The name.
        ifname: String,
        /// The holder's process id.
        pid: u32,
    },
    /// A tool is not installed.
    #[error("the command `{tool}` is missing: apt install {package}")]
    Missing {
        /// The command.
        tool: &'static str,
        /// Its Debian package.
        package: &'static str,
    },
    /// Not root, and not granted either.
    #[error(
        "using interface {ifname} needs {capability}: run as root, or grant it (setcap, AmbientCapabilities=)"
    )]
    Permission {
        /// The interface.
        ifname: String,
        /// The capability.
        capability: &'static str,
    },
    /// A tool failed.
    #[error("`{command}` failed: {text}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        text: String,
    },
    /// The state file cannot be kept.
    #[error("cannot keep {path}: {text}: make it writable")]
    State {
        /// The file or folder.
        path: String,
        /// Why.
        text: String,
    },
}

/// A claimed interface. Dropped, it is given back.
pub struct LinuxPort {
    state: StateFile,
    before: Before,
    mac: Mac,
    mtu: u32,
    released: bool,
}

impl LinuxPort {
    /// Claims `ifname` of this network namespace: mends what a killed router left, checks it, silences it, turns
    /// merging off and brings it up. Takes some 20 ms.
    pub fn claim(ifname: &str) -> Result<LinuxPort, LinuxError> {
        LinuxPort::claim_in(ifname, Path::new(STATE_DIR))
    }

    /// As [`LinuxPort::claim`], with the state file in `dir`.
    pub fn claim_in(ifname: &str, dir: &Path) -> Result<LinuxPort, LinuxError> {
        require_capabilities(ifname)?;
        // First of all: the name becomes a part of a path.
        interface(ifname)?;
        let (mut state, left) = StateFile::lock(dir, ifname)?;
        if let Some(left) = left {
            undo(&left)?;
        }
        // As it is now, mended. From here on a refusal leaves no file behind.
        let before = interface(ifname).and_then(|found| {
            check(&found)?;
            let before = Before {
                pid: std::process::id(),
                ifname: ifname.into(),
                ifindex: found.ifindex,
                mac: found.address.clone(),
                up: found.is("UP"),
                promisc: found.is("PROMISC"),
                offloads: offloads_on(ifname)?,
                table: table_name(ifname, found.ifindex),
            };
            state.save(&before)?;
            Ok((found, before))
        });
        let (found, before) = before.inspect_err(|_| state.remove())?;
        if let Err(e) = apply(&before) {
            if undo(&before).is_ok() {
                state.remove();
            }
            return Err(e);
        }
        let mac = found.address.parse().unwrap_or_default();
        Ok(LinuxPort { state, before, mac, mtu: found.mtu, released: false })
    }

    /// The interface's name.
    pub fn ifname(&self) -> &str {
        &self.before.ifname
    }

    /// The kernel's number of it.
    pub fn ifindex(&self) -> u32 {
        self.before.ifindex
    }

    /// Its address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Its MTU in bytes. `net_af_packet` carries frames of up to 1518 bytes, whatever this says.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Gives it back and says what could not be undone; that stays on disk for the next claim.
    pub fn release(mut self) -> Result<(), LinuxError> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<(), LinuxError> {
        if std::mem::replace(&mut self.released, true) {
            return Ok(());
        }
        undo(&self.before)?;
        self.state.remove();
        Ok(())
    }
}

impl Drop for LinuxPort {
    fn drop(&mut self) {
        let _ = self.give_back();
    }
}

/// What `ip -j addr show` says of one interface.
#[derive(Debug, Deserialize)]
pub(super) struct Interface {
    ifname: String,
    ifindex: u32,
    flags: Vec<String>,
    pub(super) mtu: u32,
    link_type: String,
    #[serde(default)]
    address: String,
    master: Option<String>,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    #[serde(default)]
    family: String,
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
    #[serde(default)]
    scope: String,
}

impl Interface {
    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }
}

/// Looks `ifname` up in this network namespace.
pub(super) fn interface(ifname: &str) -> Result<Interface, LinuxError> {
    let all = interfaces()?;
    let existing = all.iter().map(|i| i.ifname.as_str()).collect::<Vec<_>>().join(" ");
    let found = all.into_iter().find(|i| i.ifname == ifname);
    found.ok_or_else(|| LinuxError::NoInterface { ifname: ifname.into(), existing })
}

fn interfaces() -> Result<Vec<Interface>, LinuxError> {
    let text = run("ip", &["-j", "addr", "show"], "")?;
    // `ip -j` prints {} for what it leaves out.
    let list: Vec<serde_json::Value> = serde_json::from_str(&text)
        .map_err(|e| LinuxError::Command { command: "ip -j addr show".into(), text: e.to_string() })?;
    Ok(list.into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect())
}

fn check(found: &Interface) -> Result<(), LinuxError> {
    let ifname = found.ifname.clone();
    if found.is("LOOPBACK") || found.link_type != "ether" {
        return Err(LinuxError::NotEthernet { ifname, kind: found.link_type.clone() });
    }
    if let Some(master) = found.master.clone() {
        return Err(LinuxError::Member { ifname, master });
    }
    // A link-local IPv6 address is the kernel's own doing; silenced it does no harm.
    let own = |a: &&Address| a.family == "inet" || (a.family == "inet6" && a.scope != "link");
    if let Some(a) = found.addr_info.iter().find(own) {
        return Err(LinuxError::Addressed { ifname, address: format!("{}/{}", a.local, a.prefixlen) });
    }
    match root_qdisc(&ifname)? {
        Some((kind, handle)) if handle != "0:" && kind != "blackhole" => {
            Err(LinuxError::Shaped { ifname, kind })
        }
        _ => Ok(()),
    }
}

/// Kind and handle of the root qdisc. Handle `0:` is one that the kernel chose.
fn root_qdisc(ifname: &str) -> Result<Option<(String, String)>, LinuxError> {
    let text = run("tc", &["-j", "qdisc", "show", "dev", ifname], "")?;
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
    let text =
        |v: &serde_json::Value, key: &str| v.get(key).and_then(|v| v.as_str()).unwrap_or("").to_owned();
    let root = list.iter().find(|q| q.get("root").and_then(serde_json::Value::as_bool) == Some(true));
    Ok(root.map(|q| (text(q, "kind"), text(q, "handle"))))
}

/// The offloads of [`OFFLOADS`] that are on and can be turned off.
fn offloads_on(ifname: &str) -> Result<Vec<String>, LinuxError> {
    let text = run("ethtool", &["-k", ifname], "")?;
    let on = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        (value == "on" && OFFLOADS.contains(&name)).then(|| name.to_owned())
    };
    Ok(text.lines().filter_map(on).collect())
}

/// A name that nft takes: letters, digits and underscores. The number keeps `a.1` and `a_1` apart.
fn table_name(ifname: &str, ifindex: u32) -> String {
    let plain: String = ifname.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if plain == ifname { format!("turnout_{plain}") } else { format!("turnout_{plain}_{ifindex}") }
}

fn apply(before: &Before) -> Result<(), LinuxError> {
    let ifname = before.ifname.as_str();
    let table = &before.table;
    // Silence before it comes up, or the kernel greets its neighbours. The first two lines forget an older table.
    let rules = format!(
        "add table netdev {table}\n\
         delete table netdev {table}\n\
         table netdev {table} {{\n\
         chain ingress {{\n\
         type filter hook ingress device \"{ifname}\" priority -500; policy drop;\n\
         }}\n\
         }}\n"
    );
    run("nft", &["-f", "-"], &rules)?;
    run("tc", &["qdisc", "replace", "dev", ifname, "root", "blackhole"], "")?;
    switch_offloads(before, "off")?;
    if !before.up {
        run("ip", &["link", "set", "dev", ifname, "up"], "")?;
    }
    Ok(())
}

/// Puts everything back that still differs; does nothing where nothing does. Goes on after a failure, returns the first.
fn undo(before: &Before) -> Result<(), LinuxError> {
    let ifname = before.ifname.as_str();
    let mut results = Vec::new();
    // The name may belong to another interface by now: that one is not ours to change.
    let same = interface(ifname).ok().filter(|i| i.ifindex == before.ifindex && i.address == before.mac);
    if let Some(now) = same {
        results.push(switch_offloads(before, "on"));
        if now.is("PROMISC") != before.promisc {
            let value = if before.promisc { "on" } else { "off" };
            results.push(run("ip", &["link", "set", "dev", ifname, "promisc", value], "").map(drop));
        }
        if now.is("UP") && !before.up {
            results.push(run("ip", &["link", "set", "dev", ifname, "down"], "").map(drop));
        }
        results.push(root_qdisc(ifname).and_then(|root| match root {
            Some((kind, _)) if kind == "blackhole" => {
                run("tc", &["qdisc", "del", "dev", ifname, "root"], "").map(drop)
            }
            _ => Ok(()),
        }));
    }
    let table = &before.table;
    let rules = format!("add table netdev {table}\ndelete table netdev {table}\n");
    results.push(run("nft", &["-f", "-"], &rules).map(drop));
    results.into_iter().collect()
}

fn switch_offloads(before: &Before, to: &str) -> Result<(), LinuxError> {
    if before.offloads.is_empty() {
        return Ok(());
    }
    let mut args = vec!["-K", before.ifname.as_str()];
    for offload in &before.offloads {
        args.extend([offload.as_str(), to]);
    }
    run("ethtool", &args, "").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_plain_and_apart() {
        assert_eq!(table_name("lan0", 3), "turnout_lan0");
        assert_eq!(table_name("a.1", 3), "turnout_a_1_3");
        assert_ne!(table_name("a.1", 3), table_name("a_1", 4));
    }

    #[test]
    fn an_address_that_the_kernel_would_answer_for_is_in_the_way() {
        let with = |family: &str, local: &str, scope: &str| {
            let text = format!(
                r#"{{"ifname":"x0","ifindex":2,"flags":["UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:01",
                "addr_info":[{{"family":"{family}","local":"{local}","prefixlen":24,"scope":"{scope}"}}]}}"#
            );
            check(&serde_json::from_str(&text).unwrap())
        };
        let text = with("inet", "10.0.0.1", "global").unwrap_err().to_string();
        assert!(text.contains("10.0.0.1/24") && text.ends_with("ip addr flush dev x0"), "{text}");
        assert!(matches!(with("inet", "169.254.0.1", "link"), Err(LinuxError::Addressed { .. })));
        assert!(matches!(with("inet6", "2001:db8::1", "global"), Err(LinuxError::Addressed { .. })));
        assert!(!matches!(with("inet6", "fe80::1", "link"), Err(LinuxError::Addressed { .. })));
    }
}
