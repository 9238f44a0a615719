//! One arm: a WAN on whose wire the inside hosts are as well, told apart by `nat.inside`.
//!
//! Such a WAN is split in two before anything is judged: it keeps its name and the network of its gateway, and what of its
//! addresses lies in `nat.inside` becomes an interface of its own on the same port, called `NAME-inside`. So everything
//! else has an inside interface and a WAN, as ever; what comes in is sorted by its source. Routes into `nat.inside` by a
//! hop in the WAN's own network lead through the inside half.

use crate::base::Ipv4Net;

use super::dhcp::RawDhcp;
use super::mistake::{Report, show};
use super::raw::{At, Raw, RawInterface, RawRoute};
use super::types::Route;

/// What the inside half is called after the name of the WAN.
pub(super) const SUFFIX: &str = "-inside";

/// Splits every WAN that is one.
pub(super) fn split(raw: &mut Raw, report: &mut Report) {
    let nets = raw.nat.inside.as_deref().unwrap_or_default();
    if nets.is_empty() {
        return;
    }
    let mut halves = Vec::new();
    let list = &raw.interfaces.list;
    for (at, wan) in list.iter().enumerate() {
        let listed = raw.wans.list.iter().any(|given| given.name == wan.name);
        let gateway = wan.gateway.as_ref().map(|gateway| gateway.value);
        let inside = |net: &At<Ipv4Net>| {
            within(nets, net.value) && !gateway.is_some_and(|gateway| net.value.contains(gateway))
        };
        let behind = |route: &RawRoute| {
            let of_wan = |hop| wan.addresses.iter().any(|net| !inside(net) && net.value.contains(hop));
            route.to.as_ref().is_some_and(|to| within(nets, to.value))
                && route.via.as_ref().is_some_and(|via| of_wan(via.value))
        };
        let has_inside = wan.addresses.iter().any(inside);
        let all_inside = wan.addresses.iter().all(inside);
        if !listed || all_inside || !(has_inside || raw.routes.iter().any(behind)) {
            continue;
        }
        let name = format!("{}{SUFFIX}", wan.name);
        if let Some(other) = list.iter().find(|other| other.name == name) {
            let message = format!("the inside half of {} is called {}, too", show(&wan.name), show(&name));
            report.add(other.at, message, "choose another name for this interface");
        }
        if name.len() > 32 {
            let message = format!("{} is too long a name for one that serves both sides", show(&wan.name));
            report.add(wan.at, message, format!("its inside half is called {name}: 32 characters at most"));
        }
        let moved: Vec<bool> = wan.addresses.iter().map(inside).collect();
        halves.push((at, name, moved));
    }
    for (at, name, moved) in halves {
        let Some(wan) = raw.interfaces.list.get_mut(at) else { continue };
        let mut moved = moved.into_iter();
        let addresses = wan.addresses.extract_if(.., |_| moved.next() == Some(true)).collect();
        let half = RawInterface {
            name,
            at: wan.at,
            port: wan.port.clone(),
            vlan_given: wan.vlan_given,
            vlan: wan.vlan.clone(),
            mac: wan.mac.clone(),
            addresses,
            addresses_known: wan.addresses_known,
            dhcp: RawDhcp::default(),
            gateway: None,
            gateway_given: false,
            mtu: wan.mtu,
            arm: Some(at),
            watch: wan.watch.clone(),
            virtuals: wan.virtuals.clone(),
        };
        raw.interfaces.list.push(half);
    }
}

/// Judges that what is behind the inside half of a WAN is known for inside.
pub(super) fn routes(raw: &Raw, routes: &[Route], report: &mut Report) {
    let nets = raw.nat.inside.as_deref().unwrap_or_default();
    let of_arm = |route: &&Route| {
        raw.interfaces.list.get(route.interface).is_some_and(|interface| interface.arm.is_some())
    };
    for route in routes.iter().filter(of_arm).filter(|route| !within(nets, route.to)) {
        let mut given = raw.routes.iter().filter_map(|given| given.to.as_ref());
        let Some(to) = given.rfind(|to| to.value == route.to) else { continue };
        let message = format!("{} is on the wire of a WAN, but not in `nat.inside`", route.to);
        report.add(to.at, message, "name it there: by that its hosts are told apart from those outside");
    }
}

fn within(nets: &[At<Ipv4Net>], net: Ipv4Net) -> bool {
    nets.iter().any(|inside| inside.value.len <= net.len && inside.value.contains(net.addr))
}
