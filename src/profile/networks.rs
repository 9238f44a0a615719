//! The rules between addresses: hosts and networks, overlaps, gateways, routes.
//!
//! Two WANs may share a network, as each WAN has routes and neighbours of its own; any other two interfaces may not.
//! Networks of 31 and 32 bits have no network and no broadcast address (RFC 3021).

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::base::Ipv4Net;

use super::check::Role;
use super::dhcp;
use super::mistake::{Report, show};
use super::raw::{At, RawInterface, RawRoute};
use super::types::{MAX_INTERFACES, Route};

/// The most addresses of one interface; bounds the work of comparing all with all.
pub(super) const MAX_ADDRESSES: usize = 32;

/// Judges all addresses, and finds the interface of each route. `roles` has the role of each interface.
pub(super) fn check(
    interfaces: &[RawInterface],
    roles: &[Role],
    routes: &[RawRoute],
    report: &mut Report,
) -> Vec<Route> {
    for (interface, role) in interfaces.iter().zip(roles) {
        addresses(interface, report);
        gateway(interface, *role, report);
        dhcp::check(interface, *role, report);
        if let Some(extra) = interface.addresses.get(MAX_ADDRESSES) {
            let hint = "remove addresses from here on";
            report.add(extra.at, format!("more than {MAX_ADDRESSES} addresses"), hint);
        }
    }
    // With too many the rest would take long, and is refused anyway.
    if too_many(interfaces) {
        return Vec::new();
    }
    overlaps(interfaces, roles, report);
    judge_routes(routes, interfaces, roles, report)
}

/// Whether there are more interfaces or addresses than are compared with each other.
pub(super) fn too_many(interfaces: &[RawInterface]) -> bool {
    interfaces.len() > MAX_INTERFACES
        || interfaces.iter().any(|interface| interface.addresses.len() > MAX_ADDRESSES)
}

fn addresses(interface: &RawInterface, report: &mut Report) {
    let mut lines = HashMap::new();
    for At { value: net, at } in &interface.addresses {
        if let Some(line) = lines.insert(net.addr, at.line) {
            let hint = format!("it is already on line {line}; keep one of them");
            report.add(*at, format!("{} is given twice", net.addr), hint);
        } else if let Some(kind) = no_host(net.addr) {
            report.add(
                *at,
                format!("{} cannot be an interface's address: it is {kind}", net.addr),
                "choose the address of a host",
            );
        } else if let Some((kind, near)) = no_host_of(*net, net.addr) {
            let hint = format!("a host has another one, as `{near}/{}`", net.len);
            report.add(*at, format!("{} is the {kind} address of {}", net.addr, whole(*net)), hint);
        }
    }
}

/// Why `ip` is no host's address anywhere.
pub(super) fn no_host(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets()[0] {
        0 => Some("in 0.0.0.0/8, \"this network\""),
        127 => Some("a loopback address"),
        224..=239 => Some("a multicast address"),
        240.. => Some("in the reserved 240.0.0.0/4"),
        _ => None,
    }
}

/// Why `ip` is no host's address in `net`, and a near one that is.
pub(super) fn no_host_of(net: Ipv4Net, ip: Ipv4Addr) -> Option<(&'static str, Ipv4Addr)> {
    let broadcast = net.broadcast()?;
    if ip == net.network() {
        Some(("network", Ipv4Addr::from_bits(ip.to_bits().wrapping_add(1))))
    } else if ip == broadcast {
        Some(("broadcast", Ipv4Addr::from_bits(ip.to_bits().wrapping_sub(1))))
    } else {
        None
    }
}

/// The network without host bits.
pub(super) fn whole(net: Ipv4Net) -> Ipv4Net {
    Ipv4Net { addr: net.network(), len: net.len }
}

fn overlaps(list: &[RawInterface], roles: &[Role], report: &mut Report) {
    let mut seen: Vec<(&RawInterface, Role, &At<Ipv4Net>)> = Vec::new();
    for (interface, role) in list.iter().zip(roles) {
        let before = seen.len();
        for (i, address) in interface.addresses.iter().enumerate() {
            // The same network again, as that of a virtual address: said once.
            let mut earlier = interface.addresses.iter().take(i);
            if earlier.any(|other| whole(other.value) == whole(address.value)) {
                continue;
            }
            let clash = seen.iter().take(before).find(|(_, other, net)| {
                (*role == Role::Inside || *other == Role::Inside) && address.value.overlaps(net.value)
            });
            if let Some((other, other_role, net)) = clash {
                let (mine, theirs) = (whole(address.value), whole(net.value));
                let (name, other_name) = (show(&interface.name), show(&other.name));
                let message = match (*role, *other_role) {
                    (Role::Inside, Role::Wan) => {
                        format!(
                            "the inside network {mine} of {name} is also that of WAN {other_name}: {theirs}"
                        )
                    }
                    (Role::Wan, Role::Inside) => {
                        format!(
                            "the network {mine} of WAN {name} is also the inside network {theirs} of {other_name}"
                        )
                    }
                    _ => format!("the network {mine} of {name} overlaps {theirs} of {other_name}"),
                };
                let hint = format!("see line {}; only two WANs may share a network", net.at.line);
                report.add(address.at, message, hint);
            }
            seen.push((interface, *role, address));
        }
    }
}

fn gateway(interface: &RawInterface, role: Role, report: &mut Report) {
    let name = show(&interface.name);
    if role == Role::Wan && !interface.gateway_given && interface.dhcp.wanted.is_none() {
        let example = interface.addresses.first().map_or(Ipv4Addr::new(192, 0, 2, 1), |first| {
            let host = Ipv4Addr::from_bits(first.value.network().to_bits().wrapping_add(1));
            if host == first.value.addr { first.value.last() } else { host }
        });
        let hint = format!("add the address of the provider's router, as `gateway: {example}`");
        report.add(interface.at, format!("the WAN {name} has no gateway"), hint);
    }
    let Some(At { value: gateway, at }) = &interface.gateway else { return };
    if role == Role::Inside {
        let hint = format!("list {name} in `wans`; or remove it, and name what is behind it in `routes`");
        report.add(*at, format!("{name} has a gateway but is no WAN"), hint);
        return;
    }
    if !interface.addresses_known {
        return;
    }
    let nets = || interface.addresses.iter().map(|address| address.value);
    if nets().any(|net| net.addr == *gateway) {
        let hint = "the gateway is the provider's router, another host in the same network";
        report.add(*at, format!("the gateway {gateway} is the address of {name} itself"), hint);
    } else if !nets().any(|net| net.contains(*gateway)) {
        let nets: Vec<String> = nets().take(4).map(|net| whole(net).to_string()).collect();
        let message = format!("the gateway {gateway} is outside the networks of {name}");
        report.add(*at, message, format!("choose it from {}", nets.join(", ")));
    } else if let Some((kind, net)) = nets().filter(|net| net.contains(*gateway)).find_map(|net| {
        let (kind, _) = no_host_of(net, *gateway)?;
        Some((kind, whole(net)))
    }) {
        let hint = "the gateway is a host; ask the provider for its address";
        report.add(*at, format!("the gateway {gateway} is the {kind} address of {net}"), hint);
    }
}

fn judge_routes(
    list: &[RawRoute],
    interfaces: &[RawInterface],
    roles: &[Role],
    report: &mut Report,
) -> Vec<Route> {
    let mut lines = HashMap::new();
    let mut out = Vec::new();
    for route in list {
        if let Some(to) = &route.to {
            destination(to, interfaces, report);
            if let Some(line) = lines.insert(whole(to.value), to.at.line) {
                let hint = format!("line {line} has one already; keep one of them");
                report.add(to.at, format!("a second route to {}", whole(to.value)), hint);
            }
        }
        let interface = route.via.as_ref().and_then(|via| next_hop(via, interfaces, roles, report));
        if let (Some(to), Some(via), Some(interface)) = (&route.to, &route.via, interface) {
            out.push(Route { to: to.value, via: via.value, interface });
        }
    }
    out
}

fn destination(to: &At<Ipv4Net>, interfaces: &[RawInterface], report: &mut Report) {
    let At { value: net, at } = to;
    if net.addr != net.network() {
        let message = format!("{net} is an address in a network, not a network");
        report.add(*at, message, format!("write `{}`, or `{}/32` for one host", whole(*net), net.addr));
        return;
    }
    if net.len == 0 {
        let hint = "remove it: what no route names goes out by a WAN";
        report.add(*at, "a route cannot lead everywhere", hint);
        return;
    }
    if let Some(kind) = no_host(net.addr) {
        report.add(*at, format!("no route can lead to {net}: it is {kind}"), "choose a network of hosts");
        return;
    }
    let own = interfaces.iter().find_map(|interface| {
        let inside = |own: &&At<Ipv4Net>| own.value.len <= net.len && own.value.contains(net.addr);
        interface.addresses.iter().find(inside).map(|own| (interface, whole(own.value)))
    });
    if let Some((interface, own)) = own {
        let message = format!("{net} is reached directly: {own} is the network of {}", show(&interface.name));
        report.add(*at, message, "remove the route; routes are for networks behind another router");
    }
}

fn next_hop(
    via: &At<Ipv4Addr>,
    interfaces: &[RawInterface],
    roles: &[Role],
    report: &mut Report,
) -> Option<usize> {
    let At { value: hop, at } = via;
    let holds = |interface: &RawInterface| interface.addresses.iter().any(|own| own.value.contains(*hop));
    let mut inside = interfaces.iter().zip(roles).enumerate().filter(|(_, (_, role))| **role != Role::Wan);
    // The inside half of a WAN reaches what is in the WAN's own network: it is on the same wire.
    let wire = |half: &RawInterface| half.arm.and_then(|wan| interfaces.get(wan));
    let near = inside.clone().find(|(_, (interface, _))| holds(interface));
    let on_wire = || inside.clone().find(|(_, (half, _))| wire(half).is_some_and(holds));
    let Some((index, (interface, _))) = near.or_else(on_wire) else {
        // An address that could not be read might have held it.
        if inside.all(|(_, (interface, _))| interface.addresses_known) {
            let hint = match interfaces.iter().find(|interface| holds(interface)) {
                Some(wan) => format!("it is in the network of WAN {}; routes lead inside", show(&wan.name)),
                None => "the next hop is a host that an inside interface reaches directly".to_owned(),
            };
            report.add(*at, format!("`via` {hop} is in no inside network"), hint);
        }
        return None;
    };
    let nets = interface.addresses.iter().chain(wire(interface).into_iter().flat_map(|wan| &wan.addresses));
    for own in nets.map(|own| own.value).filter(|own| own.contains(*hop)) {
        let hint = "the next hop is another router in that network";
        if own.addr == *hop {
            report.add(*at, format!("`via` {hop} is the address of {} itself", show(&interface.name)), hint);
        } else if let Some((kind, _)) = no_host_of(own, *hop) {
            report.add(*at, format!("`via` {hop} is the {kind} address of {}", whole(own)), hint);
        }
    }
    Some(index)
}
