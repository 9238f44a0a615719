//! The rules between what is let in and the rest: WANs, inside networks, addresses of the router and of pools.
//!
//! A forward or a one-to-one address leads to a host that an inside interface or a route reaches. An outside port of a
//! WAN leads to one place: a later forward may share it only with earlier ones that are for fewer senders. While some
//! inside network could not be read, nobody is told that a host is in none.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use crate::base::Ipv4Net;

use super::check::Role;
use super::forwards::{RawForward, RawOneToOne};
use super::mistake::{Report, show};
use super::names::Names;
use super::networks::{no_host, no_host_of, whole};
use super::pools::RawPool;
use super::raw::{At, RawInterface};
use super::rule_types::{Forward, OneToOne};
use super::types::Position;

/// What is on which side.
pub(super) struct Ground<'a> {
    pub(super) interfaces: &'a [RawInterface],
    pub(super) roles: &'a [Role],
    /// Where the routes lead.
    pub(super) routes: &'a [Ipv4Net],
    /// Every route and every inside interface could be read.
    pub(super) sure: bool,
}

impl Ground<'_> {
    pub(super) fn nets(&self, role: Role) -> impl Iterator<Item = (&RawInterface, Ipv4Net)> {
        let of_role = self.interfaces.iter().zip(self.roles).filter(move |(_, other)| **other == role);
        of_role.flat_map(|(interface, _)| interface.addresses.iter().map(move |net| (interface, net.value)))
    }

    /// The interface whose own address `ip` is.
    pub(super) fn owner(&self, ip: Ipv4Addr) -> Option<&RawInterface> {
        self.interfaces.iter().find(|interface| interface.addresses.iter().any(|net| net.value.addr == ip))
    }

    /// Judges that `ip` is an inside host.
    fn inside_host(&self, ip: Ipv4Addr, what: &str, at: Position, report: &mut Report) {
        if let Some(own) = self.owner(ip) {
            let hint = "name a host behind the router; a firewall rule `to: self` lets in to the router";
            report.add(at, format!("{what} {ip} is the address of {} itself", show(&own.name)), hint);
        } else if let Some((_, net)) = self.nets(Role::Inside).find(|(_, net)| net.contains(ip)) {
            if let Some((kind, _)) = no_host_of(net, ip) {
                let message = format!("{what} {ip} is the {kind} address of {}", whole(net));
                report.add(at, message, "name one host");
            }
        } else if self.sure && (!self.routes.iter().any(|net| net.contains(ip)) || no_host(ip).is_some()) {
            let hint = "an inside interface or a route has to lead there; check the address, or add a route";
            report.add(at, format!("{what} {ip} is in no inside network"), hint);
        }
    }
}

/// The networks of `nat.inside`.
pub(super) fn inside(
    given: Option<Vec<At<Ipv4Net>>>,
    ground: &Ground<'_>,
    report: &mut Report,
) -> Option<Vec<Ipv4Net>> {
    let given = given?;
    for At { value, at } in &given {
        if let Some((wan, net)) = ground.nets(Role::Wan).find(|(_, net)| net.overlaps(*value)) {
            let message = format!("`inside` {value} overlaps {} of WAN {}", whole(net), show(&wan.name));
            report.add(*at, message, "name only networks that hosts inside have");
        }
    }
    let mut nets: Vec<Ipv4Net> = given.iter().map(|net| net.value).collect();
    nets.sort_unstable();
    nets.dedup();
    Some(nets)
}

/// Ports that lead somewhere already, by WAN, protocol and sender; each range by its first port: last port and line.
type Taken = HashMap<(usize, u8, Vec<Ipv4Net>), BTreeMap<u16, (u16, u32)>>;

/// The line of the range that shares a port with `ports`.
fn clash(taken: &Taken, key: &(usize, u8, Vec<Ipv4Net>), (first, last): (u16, u16)) -> Option<u32> {
    // Ranges in the map are apart: the last one that begins early enough is the one that reaches furthest.
    let (_, (end, line)) = taken.get(key)?.range(..=last).next_back()?;
    (*end >= first).then_some(*line)
}

pub(super) fn forwards(
    list: Vec<RawForward>,
    wans: usize,
    names: &Names<'_>,
    ground: &Ground<'_>,
    report: &mut Report,
) -> Vec<Forward> {
    let mut taken = Taken::new();
    let mut out = Vec::new();
    for forward in list {
        let RawForward { at, wans: given, protocols, ports, from, to } = forward;
        let indices = match given {
            None => (0..wans).collect(),
            Some(given) => wan_list(given, names, report),
        };
        if let Some(to) = &to {
            ground.inside_host(to.value.0, "`to`", to.at, report);
        }
        let Some(ports) = ports else { continue };
        let found = indices.iter().flat_map(|wan| protocols.iter().map(move |protocol| (*wan, *protocol)));
        let mut clashes = None;
        for (wan, protocol) in found {
            let mut key = (wan, protocol, Vec::new());
            clashes = clashes.or_else(|| clash(&taken, &key, ports.value));
            key.2.clone_from(&from);
            clashes = clashes.or_else(|| clash(&taken, &key, ports.value));
            if clashes.is_none() {
                taken.entry(key).or_default().insert(ports.value.0, (ports.value.1, at.line));
            }
        }
        if let Some(line) = clashes {
            let message = match ports.value {
                (first, last) if first == last => format!("port {first} leads elsewhere already"),
                (first, last) => format!("a port of {first}-{last} leads elsewhere already"),
            };
            let hint = format!(
                "see line {line}; the first that fits serves, so only a narrower one may come before"
            );
            report.add(ports.at, message, hint);
        }
        if let Some(At { value: (to, to_port), .. }) = to {
            let to_port = to_port.unwrap_or(ports.value.0);
            out.push(Forward { wans: indices, protocols, ports: ports.value, from, to, to_port, at });
        }
    }
    out
}

fn wan_list(given: Vec<At<String>>, names: &Names<'_>, report: &mut Report) -> Vec<usize> {
    let mut out = Vec::new();
    for name in given {
        let Some(index) = names.wan(&name, report) else { continue };
        if out.contains(&index) {
            report.add(name.at, format!("{} is given twice", show(&name.value)), "keep one of them");
        } else {
            out.push(index);
        }
    }
    out.sort_unstable();
    out
}

/// `pools` are those of all WANs, with the name of each WAN.
pub(super) fn one_to_one(
    list: Vec<RawOneToOne>,
    pools: &[(&str, &[RawPool])],
    names: &Names<'_>,
    ground: &Ground<'_>,
    report: &mut Report,
) -> Vec<OneToOne> {
    let mut outsides: HashMap<Ipv4Addr, u32> = HashMap::new();
    let mut insides: HashMap<(usize, Ipv4Addr), u32> = HashMap::new();
    let mut out = Vec::new();
    for RawOneToOne { at, wan, outside, inside, when_down } in list {
        let wan = wan.and_then(|name| names.wan(&name, report));
        let named = wan.and_then(|wan| pools.get(wan)).map(|(name, _)| *name);
        let leased = |interface: &&RawInterface| {
            Some(interface.name.as_str()) == named && interface.dhcp.wanted.is_some()
        };
        if let Some(interface) = ground.interfaces.iter().find(leased) {
            let message =
                format!("an outside address of {}, whose address comes by DHCP", show(&interface.name));
            report.add(at, message, "remove it; the leased address is the only one there");
            continue;
        }
        if let Some(outside) = &outside {
            match outsides.get(&outside.value) {
                Some(line) => {
                    let message = format!("`outside` {} is given twice", outside.value);
                    report.add(
                        outside.at,
                        message,
                        format!("it is already on line {line}; keep one of them"),
                    );
                }
                None => {
                    outsides.insert(outside.value, outside.at.line);
                    outside_address(outside, pools, ground, report);
                }
            }
        }
        if let Some(inside) = &inside {
            ground.inside_host(inside.value, "`inside`", inside.at, report);
            if let Some(line) = wan.and_then(|wan| insides.insert((wan, inside.value), inside.at.line)) {
                let message = format!("{} has an outside address of this WAN already", inside.value);
                report.add(inside.at, message, format!("see line {line}; a host has one of each WAN"));
            }
        }
        if let (Some(wan), Some(outside), Some(inside)) = (wan, outside, inside) {
            out.push(OneToOne { wan, outside: outside.value, inside: inside.value, when_down, at });
        }
    }
    out
}

fn outside_address(
    At { value: ip, at }: &At<Ipv4Addr>,
    pools: &[(&str, &[RawPool])],
    ground: &Ground<'_>,
    report: &mut Report,
) {
    let (ip, hint) = (*ip, "choose an address that the provider gave you and nobody else has");
    let gateway = |interface: &&RawInterface| interface.gateway.as_ref().is_some_and(|own| own.value == ip);
    let no_wan_host = || {
        let mut nets = ground.nets(Role::Wan).filter(|(_, net)| net.contains(ip));
        nets.find_map(|(_, net)| no_host_of(net, ip).map(|(kind, _)| (kind, whole(net))))
    };
    let fault = if let Some(own) = ground.owner(ip) {
        format!("the address of {} itself", show(&own.name))
    } else if let Some(kind) = no_host(ip) {
        kind.to_owned()
    } else if let Some(wan) = ground.interfaces.iter().find(gateway) {
        format!("the gateway of {}", show(&wan.name))
    } else if let Some((name, _)) = pools.iter().find(|(_, pools)| pools.iter().any(|pool| pool.holds(ip))) {
        format!("in a pool of {}", show(name))
    } else if let Some((interface, net)) = ground.nets(Role::Inside).find(|(_, net)| net.contains(ip)) {
        format!("in the inside network {} of {}", whole(net), show(&interface.name))
    } else if let Some((kind, net)) = no_wan_host() {
        format!("the {kind} address of {net}")
    } else {
        return;
    };
    report.add(*at, format!("`outside` {ip} is {fault}"), hint);
}
