//! The tree to values that still carry their places, key by key.
//!
//! Here each value is judged alone; what has to fit together (names, networks, roles) is for `check`. Whatever could
//! not be read is missing from `Raw` and has been reported; flags say where something is missing, so that `check`
//! draws no wrong conclusions from the gap.

use std::net::Ipv4Addr;

use crate::base::{Ipv4Net, Mac};

use super::cluster::{RawCluster, RawVirtual};
use super::dhcp::{self, RawDhcp};
use super::failover;
use super::forwards::{self, RawForward, RawOneToOne};
use super::group_types::{Hook, OnFailback, OnFailover};
use super::groups::{self, RawGroups};
use super::health::{self, RawHealth};
use super::mistake::{Report, show};
use super::nat::{self, RawNat};
use super::policy::{self, RawPolicy};
use super::pools::{self, RawPool};
use super::rules::{self, RawRule};
use super::schema::{INTERFACE, ROUTE, Section, TOP, WAN, entries, items};
use super::settings;
use super::sharing;
use super::tree::{Node, Value};
use super::types::{Engine, Icmp, Management, PortSpec, Position};
use super::value::{address, boolean, integer32, network, port, text, wrong_type};

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: Position,
}

pub(super) struct Raw {
    pub(super) name: Option<At<String>>,
    pub(super) engine: Engine,
    pub(super) interfaces: RawInterfaces,
    pub(super) routes: Vec<RawRoute>,
    pub(super) wans: RawWans,
    pub(super) health: Vec<RawHealth>,
    pub(super) groups: RawGroups,
    pub(super) policy: Vec<RawPolicy>,
    pub(super) on_failover: OnFailover,
    pub(super) on_failback: OnFailback,
    pub(super) hooks: Vec<Hook>,
    pub(super) nat: RawNat,
    pub(super) forwards: Vec<RawForward>,
    pub(super) one_to_one: Vec<RawOneToOne>,
    pub(super) firewall: Vec<RawRule>,
    pub(super) icmp: Icmp,
    pub(super) management: Management,
}

pub(super) struct RawInterfaces {
    /// Where to report that one is missing.
    pub(super) at: Position,
    /// The section was there and a map.
    pub(super) known: bool,
    pub(super) list: Vec<RawInterface>,
}

pub(super) struct RawInterface {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) port: Option<At<PortSpec>>,
    /// The key is there, even if its value could not be read.
    pub(super) vlan_given: bool,
    pub(super) vlan: Option<At<u16>>,
    pub(super) mac: Option<At<Mac>>,
    pub(super) addresses: Vec<At<Ipv4Net>>,
    /// Every address that was given could be read.
    pub(super) addresses_known: bool,
    /// Asked for DHCP, which brings address and gateway.
    pub(super) dhcp: RawDhcp,
    pub(super) gateway: Option<At<Ipv4Addr>>,
    /// The key is there, even if its value could not be read.
    pub(super) gateway_given: bool,
    pub(super) mtu: Option<u16>,
    /// The inside half of this WAN: see `arms`.
    pub(super) arm: Option<usize>,
    pub(super) watch: Option<At<bool>>,
    /// Where those of `addresses` stand that are virtual.
    pub(super) virtuals: Vec<Position>,
}

pub(super) struct RawRoute {
    pub(super) to: Option<At<Ipv4Net>>,
    pub(super) via: Option<At<Ipv4Addr>>,
}

pub(super) struct RawWans {
    pub(super) at: Position,
    /// Every WAN that was given could be read.
    pub(super) known: bool,
    pub(super) list: Vec<RawWan>,
}

pub(super) struct RawWan {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) health: Option<At<String>>,
    pub(super) metered: bool,
    pub(super) pool: Vec<RawPool>,
}

/// `None` if the document is no map. `cluster` is the pair that it is a member's reading of.
pub(super) fn read(root: &Node, cluster: Option<&RawCluster<'_>>, report: &mut Report) -> Option<Raw> {
    let top = TOP.open(root, Position::START, "the profile", report)?;
    version(&top, report);
    let name = top.get("name").and_then(|node| {
        let name = text(node, "`name`", "a name", "name: edge-1", report)?;
        Some(At { value: name.to_owned(), at: node.at })
    });
    let mut on_failover = OnFailover::default();
    failover::on_failover(&top, &mut on_failover, report);
    Some(Raw {
        name,
        engine: settings::engine(&top, report),
        interfaces: interfaces(&top, cluster, report),
        routes: routes(&top, report),
        wans: wans(&top, report),
        health: health::health(&top, report),
        groups: groups::read(&top, report),
        policy: policy::read(&top, on_failover, report),
        on_failover,
        on_failback: failover::on_failback(&top, report),
        hooks: failover::hooks(&top, report),
        nat: nat::nat(&top, report),
        forwards: forwards::forwards(&top, report),
        one_to_one: forwards::one_to_one(&top, report),
        firewall: rules::firewall(&top, report),
        icmp: settings::icmp(&top, report),
        management: settings::management(&top, report),
    })
}

fn version(top: &Section<'_>, report: &mut Report) {
    let Some(node) = top.require("version", "version: 1", report) else { return };
    match &node.value {
        Value::Plain(text) if text == "1" => {}
        Value::Plain(text) if text.parse::<f64>().is_ok() => {
            let message = format!("version {} is not known", show(text));
            report.add(node.at, message, "this build reads `version: 1`");
        }
        Value::Quoted(text) if text == "1" => {
            report.add(node.at, "`version` must be a number, not a text", "remove the quotes");
        }
        _ => wrong_type(node, "`version`", "the number 1", "version: 1", report),
    }
}

fn interfaces(top: &Section<'_>, cluster: Option<&RawCluster<'_>>, report: &mut Report) -> RawInterfaces {
    let example = "interfaces: { lan: { port: ..., addresses: [...] } }";
    let node = top.require("interfaces", example, report);
    let at = top.entry("interfaces").map_or(top.at, |entry| entry.at);
    let Some(given) = node.and_then(|node| entries(node, "`interfaces`", report)) else {
        return RawInterfaces { at, known: false, list: Vec::new() };
    };
    let list = given.iter().map(|entry| {
        let mut out = RawInterface {
            name: entry.key.clone(),
            at: entry.at,
            port: None,
            vlan_given: false,
            vlan: None,
            mac: None,
            addresses: Vec::new(),
            addresses_known: false,
            dhcp: RawDhcp::default(),
            gateway: None,
            gateway_given: false,
            mtu: None,
            arm: None,
            watch: None,
            virtuals: Vec::new(),
        };
        let what = format!("interface {}", show(&entry.key));
        let Some(section) = INTERFACE.open(&entry.node, entry.at, &what, report) else {
            return out;
        };
        out.vlan_given = section.get("vlan").is_some();
        out.vlan = section.get("vlan").and_then(|node| sharing::vlan(node, report));
        out.mac = section.get("mac").and_then(|node| sharing::mac(node, report));
        if let Some(node) = section.require("port", "port: \"0000:03:00.0\"", report) {
            out.port = port(node, report).map(|value| At { value, at: node.at });
        }
        let virtuals = cluster.map_or(&[][..], |cluster| &cluster.virtuals);
        let moving = virtuals.iter().any(|given| given.interface.value == entry.key);
        match section.get("addresses") {
            // An interface may have nothing but the address that moves between the members.
            None if moving => out.addresses_known = true,
            Some(Node { value: Value::List(list), .. }) if moving && list.is_empty() => {
                out.addresses_known = true;
            }
            None => drop(section.require("addresses", "addresses: [192.0.2.1/24]", report)),
            Some(node) => addresses(node, &mut out, report),
        }
        moving_addresses(virtuals, &mut out);
        if let Some(node) = section.get("watch") {
            out.watch = watch(node, top, report);
        }
        dhcp::read(&section, &mut out.dhcp, report);
        if let Some(node) = section.get("gateway") {
            out.gateway_given = true;
            out.gateway = address(node, "`gateway`", report).map(|value| At { value, at: node.at });
        }
        if let Some(node) = section.get("mtu") {
            let given = integer32(node, "`mtu`", 68..=9216, "mtu: 1492", report);
            out.mtu = given.and_then(|mtu| u16::try_from(mtu).ok());
        }
        out
    });
    RawInterfaces { at, known: true, list: list.collect() }
}

/// Puts the virtual addresses of an interface among its addresses, so that all rules count them.
fn moving_addresses(virtuals: &[RawVirtual], out: &mut RawInterface) {
    for given in virtuals.iter().filter(|given| given.interface.value == out.name) {
        match &given.address {
            None => out.addresses_known = false,
            // What it has for its own, or by DHCP, is refused where both members are judged.
            Some(address) if out.dhcp.wanted.is_some() || has(out, address.value.addr) => {}
            Some(address) => {
                out.virtuals.push(address.at);
                out.addresses.push(address.clone());
            }
        }
    }
}

fn has(interface: &RawInterface, ip: Ipv4Addr) -> bool {
    interface.addresses.iter().any(|own| own.value.addr == ip)
}

/// Whether a member's fitness counts the interface. By itself a router has none.
fn watch(node: &Node, top: &Section<'_>, report: &mut Report) -> Option<At<bool>> {
    let value = boolean(node, "`watch`", report)?;
    if top.get("cluster").is_none() {
        let hint = "remove it; it says which interfaces count for the fitness of a cluster's member";
        report.add(node.at, "`watch` does nothing without `cluster`", hint);
        return None;
    }
    Some(At { value, at: node.at })
}

fn addresses(node: &Node, out: &mut RawInterface, report: &mut Report) {
    let example = "addresses: [192.0.2.1/24]";
    match &node.value {
        Value::Plain(text) | Value::Quoted(text) if text == "dhcp" => {
            out.dhcp.wanted = Some(node.at);
        }
        Value::Plain(text) | Value::Quoted(text) if text.parse::<Ipv4Net>().is_ok() => {
            let hint = format!("put it into brackets: `addresses: [{text}]`");
            report.add(node.at, "`addresses` must be a list", hint);
        }
        Value::List(list) if list.is_empty() => {
            report.add(node.at, "`addresses` is empty", format!("write it as `{example}`"));
        }
        Value::List(list) => {
            for item in list {
                let given = network(item, "an address in `addresses`", report);
                out.addresses.extend(given.map(|value| At { value, at: item.at }));
            }
            out.addresses_known = out.addresses.len() == list.len();
        }
        _ => wrong_type(node, "`addresses`", "a list", example, report),
    }
}

fn routes(top: &Section<'_>, report: &mut Report) -> Vec<RawRoute> {
    let example = "routes: [{ to: 10.0.0.0/8, via: 192.168.10.254 }]";
    let Some(node) = top.get("routes") else { return Vec::new() };
    let mut out = Vec::new();
    for item in items(node, "`routes`", example, report).unwrap_or_default() {
        let Some(section) = ROUTE.open(item, item.at, "a route", report) else { continue };
        let to = section.require("to", "to: 10.0.0.0/8", report).and_then(|node| {
            let value = network(node, "`to`", report)?;
            Some(At { value, at: node.at })
        });
        let via = section.require("via", "via: 192.168.10.254", report).and_then(|node| {
            let value = address(node, "`via`", report)?;
            Some(At { value, at: node.at })
        });
        out.push(RawRoute { to, via });
    }
    out
}

fn wans(top: &Section<'_>, report: &mut Report) -> RawWans {
    let example = "wans: [isp1, isp2]";
    let at = top.entry("wans").map_or(top.at, |entry| entry.at);
    let mut out = RawWans { at, known: false, list: Vec::new() };
    let Some(node) = top.require("wans", example, report) else { return out };
    match &node.value {
        Value::List(list) => {
            let with_options = "wans: { isp1: { health: internet } }";
            for item in list {
                let name =
                    text(item, "an item of the list", "the name of an interface", with_options, report);
                out.list.extend(name.map(|name| RawWan {
                    name: name.to_owned(),
                    at: item.at,
                    health: None,
                    metered: false,
                    pool: Vec::new(),
                }));
            }
            out.known = out.list.len() == list.len();
        }
        Value::Map(list) => {
            out.known = true;
            for entry in list {
                let what = format!("WAN {}", show(&entry.key));
                let section = WAN.open(&entry.node, entry.at, &what, report);
                let health = section.as_ref().and_then(|section| section.get("health")).and_then(|node| {
                    let name = text(
                        node,
                        "`health`",
                        "the name of a section of `health`",
                        "health: internet",
                        report,
                    )?;
                    Some(At { value: name.to_owned(), at: node.at })
                });
                let metered = section.as_ref().and_then(|section| section.get("metered"));
                let metered = metered.and_then(|node| boolean(node, "`metered`", report)).unwrap_or(false);
                let pool = section.map(|section| pools::read(&section, report)).unwrap_or_default();
                out.list.push(RawWan { name: entry.key.clone(), at: entry.at, health, metered, pool });
            }
        }
        Value::Null => out.known = true,
        _ => wrong_type(node, "`wans`", "a list or a map", example, report),
    }
    out
}
