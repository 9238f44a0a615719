//! Views: what the workers read, made from the profile, the ports and the WANs' standing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::rules;
use crate::base::{Generation, IfaceId, Mac, Nanos, WanId};
use crate::nat::{Addresses, NatConfig, Uplink, Uplinks};
use crate::path::{IcmpPolicy, Iface, Places, View, WanLink};
use crate::profile::Profile;
use crate::table::lent::Lent;
use crate::table::routes::{Route, Routes};
use crate::wan;

/// What a port says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// Its address
    pub mac: Mac,
    /// Longest IP packet
    pub mtu: u16,
}

/// The first view, in which no WAN is fit. `ports` are in the order of the profile's interfaces.
pub fn first(profile: &Profile, ports: &[PortInfo], workers: usize) -> View {
    let wan_of = |i: usize| profile.wans.iter().position(|w| w.interface == i).map(|w| WanId(w as u8));
    let iface = |(i, (interface, port)): (usize, (&crate::profile::Interface, &PortInfo))| Iface {
        name: interface.name.clone(),
        mac: port.mac,
        mtu: interface.mtu.unwrap_or(port.mtu).min(port.mtu),
        up: true,
        addresses: interface.addresses.clone(),
        wan: wan_of(i),
        silent: rules::silent(profile, i),
    };
    let ifaces: Vec<Iface> = profile.interfaces.iter().zip(ports).enumerate().map(iface).collect();
    let link = |w: &crate::profile::Wan| WanLink {
        iface: IfaceId(w.interface as u8),
        gateway: profile.interfaces[w.interface].gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
    };
    // The address that the gateway's link knows: probes and translation speak from it.
    let uplink = |w: &crate::profile::Wan| {
        let interface = &profile.interfaces[w.interface];
        let near = interface.addresses.iter().find(|a| interface.gateway.is_some_and(|g| a.contains(g)));
        let address = near.or(interface.addresses.first()).map_or(Ipv4Addr::UNSPECIFIED, |a| a.addr);
        let addresses = rules::pool(w).unwrap_or_else(|| Addresses::one(address));
        Uplink { addresses, epoch: 0, fit: false }
    };
    let connected = ifaces.iter().enumerate().filter(|(_, i)| i.wan.is_none()).flat_map(|(n, i)| {
        i.addresses.iter().map(move |net| Route { net: *net, iface: IfaceId(n as u8), via: None })
    });
    let fixed = profile.routes.iter().map(|r| Route {
        net: r.to,
        iface: IfaceId(r.interface as u8),
        via: Some(r.via),
    });
    View {
        generation: Generation(0),
        wans: profile.wans.iter().map(link).collect(),
        uplinks: Uplinks { wans: profile.wans.iter().map(uplink).collect(), carrying: None },
        routes: Routes::new(connected.chain(fixed).collect()),
        rules: Arc::new(rules::rules(profile)),
        internal: rules::internal(profile),
        clamp: rules::clamp(profile),
        clamping: false,
        icmp: icmp_policy(profile, workers),
        ifaces,
        places: Places::default(),
        lent: Arc::new(Lent::new(addresses(profile))),
        probing: Arc::default(),
    }
    .indexed()
}

/// The next view: as `last`, with the links and the WANs as they stand now.
pub fn next(last: &View, wans: &wan::Wans, links: &[bool]) -> View {
    let mut view = last.clone();
    for (iface, up) in view.ifaces.iter_mut().zip(links) {
        iface.up = *up;
    }
    view.generation = Generation(last.generation.0 + 1);
    view.uplinks.carrying = wans.carrying();
    for (id, status) in wans.iter() {
        let uplink = &mut view.uplinks.wans[id.index()];
        uplink.epoch = status.epoch;
        uplink.fit = status.sends();
    }
    view.indexed()
}

/// ICMP, as the profile wants it of the whole router, shared out to `workers`.
pub fn icmp_policy(profile: &Profile, workers: usize) -> IcmpPolicy {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    IcmpPolicy {
        errors_per_second: profile.icmp.errors_per_second.div_ceil(workers),
        time_exceeded: profile.icmp.time_exceeded,
    }
}

/// How many addresses of each WAN are translated to.
fn addresses(profile: &Profile) -> Vec<usize> {
    profile.wans.iter().map(|wan| rules::pool(wan).map_or(1, |pool| pool.len())).collect()
}

/// The NAT of one of `workers` workers. `seed` must be secret and another one for each.
pub fn nat_config(profile: &Profile, workers: usize, seed: u64) -> NatConfig {
    let sessions = (profile.engine.sessions as usize).div_ceil(workers.max(1));
    NatConfig {
        sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
        timeouts: rules::timeouts(profile),
        wans: addresses(profile),
        filtering: rules::filtering(profile),
        quarantine: rules::quarantine(profile),
        reserved: rules::reserved(profile),
        reserve: profile.engine.hugepages != crate::profile::Hugepages::Never,
        seed,
    }
}

/// The health of the WANs, as the profile wants it.
pub fn health(profile: &Profile) -> Vec<wan::Health> {
    let health = |w: &crate::profile::Wan| wan::Health {
        arp_every: w.health.arp_every,
        failures: w.health.failures,
        successes: w.health.successes,
        stable: w.health.stable,
    };
    profile.wans.iter().map(health).collect()
}

/// How long a published view may take to be taken by all workers before it is told without.
pub const CONFIRM: Nanos = Nanos::from_ms(100);
