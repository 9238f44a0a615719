//! The ports of a profile, each opened once however many interfaces are on it: what they ask of it together, and which of
//! them a port's link is that of.
#![forbid(unsafe_code)]

use tracing::info;
use turnout::base::{Mac, PortId};
use turnout::dpdk::{Eal, LinkSource, LinkWatcher, LinuxPort, Pool, Port, PortConfig, PortSource, RssRule};
use turnout::engine::Layout;
use turnout::engine::rss::{self, Role};
use turnout::manage::views::PortInfo;
use turnout::profile::{Interface, PortSpec, Profile};

use super::Failure;

/// Receive and transmit descriptors of a queue.
pub(super) const DESCRIPTORS: u16 = 1024;
/// The MTU of an interface that asks for none, at most.
const MTU: u16 = 1500;
/// Ethernet's header and check sequence, and two tags.
const AROUND: u16 = 14 + 4 + 8;

/// The interfaces of each port, in the order of the profile.
pub(super) fn of_ports<'p>(profile: &'p Profile, layout: &Layout) -> Vec<Vec<(usize, &'p Interface)>> {
    let all = |port: usize| {
        let interfaces = layout.interfaces(port);
        interfaces.filter_map(|at| Some((at, profile.interfaces.get(at)?))).collect()
    };
    (0..layout.ports()).map(all).collect()
}

/// Takes the Linux interfaces among the ports from the kernel.
pub(super) fn claim(profile: &Profile, layout: &Layout) -> Result<Vec<Option<LinuxPort>>, Failure> {
    let claim = |interfaces: &Vec<(usize, &Interface)>| match interfaces.first().map(|(_, first)| &first.port)
    {
        Some(PortSpec::Linux(name)) => LinuxPort::claim(name).map(Some),
        _ => Ok(None),
    };
    Ok(of_ports(profile, layout).iter().map(claim).collect::<Result<_, _>>()?)
}

/// Bytes of a frame that each buffer must have room for.
pub(super) fn data_room(profile: &Profile) -> u16 {
    let longest = profile.interfaces.iter().filter_map(|interface| interface.mtu).max().unwrap_or(MTU);
    Pool::DATA_ROOM.max(longest.saturating_add(AROUND).next_multiple_of(64))
}

/// Opens and starts every port, and gives what each interface has of its own.
pub(super) fn open(
    profile: &Profile,
    layout: &Layout,
    (eal, pool, workers): (&Eal, &Pool, usize),
) -> Result<(Vec<Port>, Vec<PortInfo>), Failure> {
    let mut ports = Vec::new();
    for (number, interfaces) in of_ports(profile, layout).iter().enumerate() {
        let Some((_, first)) = interfaces.first() else { continue };
        let own: Vec<Option<Mac>> = interfaces.iter().map(|(_, interface)| interface.mac).collect();
        let one = own.first().copied().flatten().filter(|mac| own.iter().all(|other| *other == Some(*mac)));
        let config = PortConfig {
            queues: workers as u16,
            rx_desc: DESCRIPTORS,
            tx_desc: DESCRIPTORS,
            rss: rule(profile, interfaces),
            mtu: interfaces.iter().map(|(_, interface)| interface.mtu.unwrap_or(MTU)).max(),
            mac: one,
            promiscuous: (one.is_none() && own.iter().any(Option::is_some)) || floats(profile, interfaces),
            // Only where every frame is sorted by its tag: elsewhere a tagged one would pass for one without.
            strip_vlan: interfaces.iter().any(|(_, interface)| interface.vlan.is_some()),
            ..PortConfig::new(pool.clone())
        };
        let mut port = Port::open(eal, &source(&first.port), PortId(number as u16), &config)?;
        if let Some((_, interface)) = interfaces.iter().find(|(_, i)| i.mtu.is_some_and(|m| m > port.mtu())) {
            let (name, mtu) = (&interface.name, interface.mtu.unwrap_or(MTU));
            let message =
                format!("{}: {name} asks for an mtu of {mtu}, the port carries {}", port.name(), port.mtu());
            return Err(message.into());
        }
        port.start()?;
        ports.push(port);
    }
    let info = |(at, interface): (usize, &Interface)| {
        let port = ports.get(layout.port(at))?;
        let mtu = port.mtu().min(interface.mtu.unwrap_or(MTU).max(MTU));
        Some(PortInfo { mac: interface.mac.unwrap_or(port.mac()), mtu })
    };
    let infos: Vec<PortInfo> = profile.interfaces.iter().enumerate().filter_map(info).collect();
    // Once all are open: a start that fails says that alone.
    for (interfaces, port) in of_ports(profile, layout).iter().zip(&ports) {
        let names: Vec<String> = interfaces.iter().map(|(_, interface)| named(interface)).collect();
        info!("{}: {}, {}, mtu {}", names.join(", "), port.name(), port.caps(), port.mtu());
    }
    Ok((ports, infos))
}

/// Whether one of a port's interfaces has a virtual MAC while this member of a pair is active.
fn floats(profile: &Profile, interfaces: &[(usize, &Interface)]) -> bool {
    let cluster = profile.cluster.as_ref();
    let floating = |at: usize| cluster.and_then(|cluster| cluster.floating(at));
    interfaces.iter().any(|(at, _)| floating(*at).is_some_and(|floating| floating.mac.is_some()))
}

fn named(interface: &Interface) -> String {
    match interface.vlan {
        Some(vlan) => format!("{} (VLAN {vlan})", interface.name),
        None => interface.name.clone(),
    }
}

/// What a NIC is told of who owns what comes in there: nothing if that is another one from interface to interface.
fn rule(profile: &Profile, interfaces: &[(usize, &Interface)]) -> Option<RssRule> {
    let mut roles = interfaces.iter().map(|(at, _)| profile.wans.iter().any(|wan| wan.interface == *at));
    let wan = roles.next()?;
    if roles.any(|other| other != wan) {
        return None;
    }
    let key: fn(usize) -> Option<Vec<u8>> =
        if wan { |len| rss::key(Role::Wan, len) } else { |len| rss::key(Role::Inside, len) };
    Some(RssRule { key, redirection: rss::redirection })
}

fn source(spec: &PortSpec) -> PortSource {
    match spec {
        PortSpec::Pci(address) => PortSource::Pci(address.clone()),
        PortSpec::Linux(name) => PortSource::Linux(name.clone()),
        PortSpec::Vdev(args) => PortSource::Vdev(args.clone()),
    }
}

/// Watches the links of all ports.
pub(super) fn watch(ports: &[Port], claimed: &[Option<LinuxPort>]) -> std::io::Result<LinkWatcher> {
    let link = |(i, port): (usize, &Port)| match claimed.get(i).and_then(Option::as_ref) {
        Some(linux) => (PortId(i as u16), LinkSource::Linux(linux.ifindex())),
        None => (PortId(i as u16), LinkSource::Ask(port.link_probe())),
    };
    LinkWatcher::new(ports.iter().enumerate().map(link))
}
