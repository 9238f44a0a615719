//! The rules between health and the interfaces: whom a WAN may ask.
//!
//! A target lies behind the WAN that asks it: the router itself or an inside host would answer however dead the line
//! is. A BFD peer is one hop away (RFC 5881 section 3), in a network of each WAN that has it. While addresses of an
//! interface could not be read, nobody is told that a peer is in none of its networks.

use std::net::Ipv4Addr;

use super::check::Role;
use super::health::RawHealth;
use super::health_types::{Host, Target, TargetProbe};
use super::mistake::{Report, show};
use super::networks::{no_host, no_host_of, whole};
use super::outside::Ground;
use super::raw::{At, RawInterface};

/// Judges the health sections; `wans` are the interfaces of those WANs that name one, with its name.
pub(super) fn check(
    healths: &[RawHealth],
    wans: &[(&str, &RawInterface)],
    ground: &Ground<'_>,
    report: &mut Report,
) {
    for health in healths {
        for target in &health.targets {
            beyond(target, ground, report);
        }
        let Some(At { value: peer, at }) = &health.peer else { continue };
        let users = wans.iter().filter(|(name, _)| *name == health.name);
        // One mistake a peer: the first WAN that cannot have it.
        if let Some((message, hint)) = users.filter_map(|(_, wan)| fault(*peer, wan, ground)).next() {
            report.add(*at, message, hint);
        }
    }
}

/// The address that is asked, if it is known.
fn asked(target: &Target) -> Option<Ipv4Addr> {
    match &target.probe {
        TargetProbe::Icmp { host } | TargetProbe::Tcp { host, .. } | TargetProbe::Http { host, .. } => {
            match host {
                Host::Address(ip) => Some(*ip),
                Host::Name(_) => None,
            }
        }
        TargetProbe::Dns { server, .. } => Some(*server),
    }
}

fn beyond(target: &At<Target>, ground: &Ground<'_>, report: &mut Report) {
    let Some(ip) = asked(&target.value) else { return };
    let fault = if let Some(own) = ground.owner(ip) {
        format!("the address of {} itself", show(&own.name))
    } else if let Some((inside, net)) = ground.nets(Role::Inside).find(|(_, net)| net.contains(ip)) {
        format!("in the inside network {} of {}", whole(net), show(&inside.name))
    } else if let Some(net) = ground.routes.iter().find(|net| net.contains(ip)) {
        format!("in {net}, which a route leads to inside")
    } else {
        return;
    };
    let hint = "choose a host on the internet; this one answers however dead the line is";
    report.add(target.at, format!("the target {ip} is {fault}"), hint);
}

fn fault(peer: Ipv4Addr, wan: &RawInterface, ground: &Ground<'_>) -> Option<(String, String)> {
    let what = format!("`peer` {peer}");
    let nets = || wan.addresses.iter().map(|address| address.value);
    if let Some(own) = ground.owner(peer) {
        let hint = "the peer is the provider's router, or another host on the link";
        return Some((format!("{what} is the address of {} itself", show(&own.name)), hint.to_owned()));
    }
    if let Some(kind) = no_host(peer) {
        return Some((format!("{what} is no host: it is {kind}"), "give the address of a host".to_owned()));
    }
    if let Some(net) = nets().find(|net| net.contains(peer)) {
        let (kind, _) = no_host_of(net, peer)?;
        let hint = "the peer is a host; ask the provider for its address";
        return Some((format!("{what} is the {kind} address of {}", whole(net)), hint.to_owned()));
    }
    if !wan.addresses_known {
        return None;
    }
    let hint = "BFD is spoken on the link only; WANs with other peers need a health of their own";
    Some((format!("{what} is in no network of WAN {}", show(&wan.name)), hint.to_owned()))
}
