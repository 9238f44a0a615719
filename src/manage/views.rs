//! Views: what the workers read, made from the profile, the ports and the WANs' standing.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::groups::Groups;
use super::probes::bfd::Bfd;
use super::probes::{Ask, Host, TargetSpec, WanProbes};
use super::{balance, roles, rules};
use crate::base::{Generation, IfaceId, Mac, Nanos, WanId};
use crate::nat::{Addresses, Bond, Group, NatConfig, Uplink, Uplinks};
use crate::path::{IcmpPolicy, Iface, Places, View, WanLink};
use crate::profile::{self, Profile};
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
    // `profile` refuses more groups than there may be.
    let groups = Groups::of(profile, &Groups::default()).unwrap_or_default();
    of(profile, &groups, ports, workers)
}

/// The same, of a profile with these groups.
pub fn of(profile: &Profile, groups: &Groups, ports: &[PortInfo], workers: usize) -> View {
    let wan_of = |i: usize| profile.wans.iter().position(|w| w.interface == i).map(|w| WanId(w as u8));
    let iface = |(i, (interface, port)): (usize, (&profile::Interface, &PortInfo))| Iface {
        name: interface.name.clone(),
        mac: interface.mac.unwrap_or(port.mac),
        station: interface.mac.unwrap_or(port.mac),
        former: interface.mac.unwrap_or(port.mac),
        floating: None,
        mute: false,
        mtu: interface.mtu.unwrap_or(port.mtu).min(port.mtu),
        up: true,
        addresses: interface.addresses.clone(),
        wan: wan_of(i),
        silent: rules::silent(profile, i),
        arm: interface.arm.map(|wan| IfaceId(wan as u8)),
    };
    let mut ifaces: Vec<Iface> = profile.interfaces.iter().zip(ports).enumerate().map(iface).collect();
    if let Some(cluster) = &profile.cluster {
        ifaces.iter_mut().enumerate().for_each(|(at, iface)| roles::float(iface, cluster, at));
    }
    let link = |w: &profile::Wan| WanLink {
        iface: IfaceId(w.interface as u8),
        gateway: profile.interfaces[w.interface].gateway.unwrap_or(Ipv4Addr::UNSPECIFIED),
        hops: profile.interfaces[w.interface].hops.clone(),
    };
    // The address that the gateway's link knows: probes and translation speak from it.
    let uplink = |w: &profile::Wan| {
        let interface = &profile.interfaces[w.interface];
        let near = interface.addresses.iter().find(|a| interface.gateway.is_some_and(|g| a.contains(g)));
        let cluster = profile.cluster.as_ref();
        // Who is active has the sessions, and they have its address.
        let floating = cluster.and_then(|cluster| cluster.floating(w.interface)).map(|f| &f.address);
        let address = floating.or(near).or(interface.addresses.first());
        let address = address.map_or(Ipv4Addr::UNSPECIFIED, |a| a.addr);
        let addresses = rules::pool(w).unwrap_or_else(|| Addresses::one(address));
        Uplink { addresses, ..Uplink::default() }
    };
    View {
        generation: Generation(0),
        wans: profile.wans.iter().map(link).collect(),
        uplinks: Uplinks {
            wans: profile.wans.iter().map(uplink).collect(),
            groups: vec![
                Group { bonds: vec![Bond::default(); profile.wans.len()], ..Group::default() };
                groups.list().len().max(1)
            ],
            outside: vec![Bond::default(); profile.wans.len()],
            away: false,
        },
        routes: Routes::new(routes(profile, &ifaces)),
        rules: Arc::new(rules::rules(profile, groups)),
        internal: rules::internal(profile),
        clamp: rules::clamp(profile),
        clamping: false,
        icmp: icmp_policy(profile, workers),
        ifaces,
        places: Places::default(),
        lent: Arc::new(Lent::new(addresses(profile))),
        probing: Arc::default(),
        through: roles::through(profile),
        partner: None,
        standby: profile.cluster.as_ref().is_some_and(|cluster| !cluster.active),
    }
    .indexed()
}

/// The inside networks, and what the profile says is behind them.
pub fn routes(profile: &Profile, ifaces: &[Iface]) -> Vec<Route> {
    let connected = ifaces.iter().enumerate().filter(|(_, i)| i.wan.is_none()).flat_map(|(n, i)| {
        i.addresses.iter().map(move |net| Route { net: *net, iface: IfaceId(n as u8), via: None })
    });
    let fixed = profile.routes.iter().map(|r| Route {
        net: r.to,
        iface: IfaceId(r.interface as u8),
        via: Some(r.via),
    });
    connected.chain(fixed).collect()
}

/// A group, as the NAT sees it.
fn group(status: &wan::GroupStatus) -> Group {
    Group { choice: balance::choice(&status.carrying), bonds: bonds(&status.bonds) }
}

fn bonds(bonds: &[wan::Bond]) -> Vec<Bond> {
    let bond = |b: &wan::Bond| Bond { epoch: b.epoch, tcp: b.tcp, udp: b.udp, icmp: b.icmp };
    bonds.iter().map(bond).collect()
}

/// The address of a WAN, the first of those that it translates to.
pub fn address(view: &View, wan: WanId) -> Option<Ipv4Addr> {
    let uplink = view.uplinks.wans.get(wan.index())?;
    uplink.addresses.get(0).filter(|address| !address.is_unspecified())
}

/// The next view: as `last`, with the links and the WANs as they stand now.
pub fn next(last: &View, wans: &wan::Wans, links: &[bool]) -> View {
    let mut view = last.clone();
    for (iface, up) in view.ifaces.iter_mut().zip(links) {
        iface.up = *up;
    }
    view.generation = Generation(last.generation.0 + 1);
    for (id, status) in wans.iter() {
        let uplink = &mut view.uplinks.wans[id.index()];
        (uplink.fit, uplink.holds, uplink.takes) = (status.sends(), status.holds, status.takes());
    }
    view.uplinks.groups = wans.groups().map(group).collect();
    view.uplinks.outside = bonds(wans.outside());
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
        paired: profile.cluster.is_some(),
        reserve: profile.engine.hugepages != profile::Hugepages::Never,
        seed,
    }
}

/// The WANs and their groups, as the profile wants them.
pub fn config(profile: &Profile, groups: &Groups) -> wan::Config {
    let health = |w: &profile::Wan| {
        let profile::Health {
            arp_every,
            failures,
            successes,
            stable,
            flap_max,
            targets,
            bfd,
            degraded,
            passive,
        } = &w.health;
        wan::Health {
            arp_every: *arp_every,
            failures: *failures,
            successes: *successes,
            stable: *stable,
            flap_max: *flap_max,
            targets: targets.list.iter().map(target).collect(),
            every: targets.every,
            timeout: targets.timeout,
            need: targets.need,
            bfd: bfd.is_some(),
            degraded: degraded.as_ref().map(|limits| wan::Degraded {
                window: limits.window,
                loss_percent: limits.loss_percent,
                latency: limits.latency,
                jitter: limits.jitter,
            }),
            passive: *passive,
            metered: w.metered,
            dhcp: profile.interfaces[w.interface].dhcp.is_some(),
        }
    };
    wan::Config { wans: profile.wans.iter().map(health).collect(), groups: groups.list().to_vec() }
}

/// What each WAN is probed by, as the profile wants it.
pub fn probes(profile: &Profile) -> Vec<WanProbes> {
    let of = |w: &profile::Wan| {
        let interface = &profile.interfaces[w.interface];
        let bfd = w.health.bfd.as_ref().and_then(|bfd| {
            let peer = match bfd.peer {
                profile::BfdPeer::Gateway => interface.gateway?,
                profile::BfdPeer::Address(peer) => peer,
            };
            Some(Bfd { peer, every: bfd.every, multiplier: bfd.multiplier })
        });
        let targets = w.health.targets.list.iter().map(spec).collect();
        WanProbes { timeout: w.health.targets.timeout, targets, bfd }
    };
    profile.wans.iter().map(of).collect()
}

fn spec(target: &profile::Target) -> TargetSpec {
    let host = |host: &profile::Host| match host {
        profile::Host::Address(ip) => Host::Address(*ip),
        profile::Host::Name(name) => Host::Name(name.clone()),
    };
    use profile::TargetProbe;
    match &target.probe {
        TargetProbe::Icmp { host: to } => TargetSpec { host: host(to), ask: Ask::Icmp },
        TargetProbe::Tcp { host: to, port } => TargetSpec { host: host(to), ask: Ask::Tcp { port: *port } },
        TargetProbe::Dns { server, port, question, answer } => TargetSpec {
            host: Host::Address(*server),
            ask: Ask::Dns { port: *port, name: question.clone(), expect: answer.clone() },
        },
        TargetProbe::Http { host: to, port, path, status } => {
            let named = if *port == 80 { to.to_string() } else { format!("{to}:{port}") };
            let ask = Ask::Http { port: *port, host: named, path: path.clone(), status: *status };
            TargetSpec { host: host(to), ask }
        }
    }
}

fn target(target: &profile::Target) -> wan::Target {
    let kind = match &target.probe {
        profile::TargetProbe::Icmp { .. } => wan::TargetKind::Icmp,
        profile::TargetProbe::Tcp { .. } => wan::TargetKind::Tcp,
        profile::TargetProbe::Dns { .. } => wan::TargetKind::Dns,
        profile::TargetProbe::Http { .. } => wan::TargetKind::Http,
    };
    wan::Target { kind, name: target.name.clone() }
}

/// How long a published view may take to be taken by all workers before it is told without.
pub const CONFIRM: Nanos = Nanos::from_ms(100);
