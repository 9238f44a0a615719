//! Several interfaces on one port: between the ports and the lcore, frames are sorted to the interface that they are for,
//! and tagged on their way out (IEEE 802.1Q). The packet path never sees a tag.
//!
//! A tag is popped on receive, if the NIC has not done so, and pushed on send; VLAN 0 only tells a priority and counts as no tag. An interface that is
//! one arm of two gets of its VLAN what comes from an inside network, its other half the rest. What is for no interface
//! (an unknown VLAN, a second tag, no tag where all have one) ends here, as one of the `strays` that the lcore counts.
//!
//! A port is asked for a burst when its first interface is, and only when nothing of the one before waits; each interface
//! then gets its share, in the order of arrival. So at most a burst waits, however the frames are spread, and nobody's
//! frames wait for another's. Where every interface has an untagged port of its own, nothing is looked at.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{BURST, Ports};
use crate::base::{IfaceId, Ipv4Net};
use crate::packet::{PacketBuf, tag};
use crate::wire::arp::Arp;
use crate::wire::be32;
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::vlan::PRIORITY;

/// Which frames are an interface's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The number of its port: ports are numbered in the order of their first interfaces
    pub port: u8,
    /// Its VLAN, 1 to 4094; `None`: frames without a tag
    pub vlan: Option<u16>,
    /// It shares port and VLAN with another interface, and gets what comes from these networks
    pub sources: Option<Vec<Ipv4Net>>,
}

/// Who gets the frames of one VLAN of a port.
#[derive(Clone, Debug, Default)]
struct Lane {
    vlan: u16,
    /// Whoever no source says otherwise for
    rest: Option<IfaceId>,
    /// First and last address, sorted and apart
    sources: Vec<(u32, u32)>,
    arm: Option<IfaceId>,
}

#[derive(Clone, Debug, Default)]
struct PortLanes {
    /// The interface that is asked first in a turn
    first: usize,
    /// It is the only one, and untagged
    alone: bool,
    /// By VLAN, `PRIORITY` for untagged frames
    lanes: Vec<Lane>,
    members: Vec<usize>,
}

/// Which frames of which port are which interface's.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// By `IfaceId`: port and VLAN
    members: Vec<(u8, Option<u16>)>,
    ports: Vec<PortLanes>,
    straight: bool,
}

impl Layout {
    /// Of the members, by `IfaceId`.
    pub fn new(given: &[Member]) -> Layout {
        let count = given.iter().map(|m| usize::from(m.port) + 1).max().unwrap_or(0);
        let mut ports = vec![PortLanes::default(); count];
        for (at, member) in given.iter().enumerate() {
            let port = &mut ports[usize::from(member.port)];
            if port.members.is_empty() {
                port.first = at;
            }
            port.members.push(at);
            let vlan = member.vlan.unwrap_or(PRIORITY);
            let found = port.lanes.iter().position(|lane| lane.vlan == vlan);
            let found = found.unwrap_or_else(|| {
                port.lanes.push(Lane { vlan, ..Lane::default() });
                port.lanes.len() - 1
            });
            let lane = &mut port.lanes[found];
            match &member.sources {
                Some(nets) => (lane.arm, lane.sources) = (Some(IfaceId(at as u8)), merged(nets)),
                None => lane.rest = Some(IfaceId(at as u8)),
            }
        }
        for port in &mut ports {
            port.lanes.sort_unstable_by_key(|lane| lane.vlan);
            port.alone = port.members.len() == 1 && port.lanes.iter().all(|lane| lane.vlan == PRIORITY);
        }
        let members: Vec<_> = given.iter().map(|m| (m.port, m.vlan)).collect();
        let own = members.iter().enumerate().all(|(at, (port, _))| usize::from(*port) == at);
        let straight = own && ports.iter().all(|port| port.alone);
        Layout { members, ports, straight }
    }

    /// How many ports there are.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// The interfaces of a port.
    pub fn interfaces(&self, port: usize) -> impl Iterator<Item = usize> {
        self.ports.get(port).into_iter().flat_map(|port| port.members.iter().copied())
    }

    /// The port of an interface.
    pub fn port(&self, iface: usize) -> usize {
        self.members.get(iface).map_or(0, |(port, _)| usize::from(*port))
    }

    /// Takes the tag off a frame of a port, and gives whose it is.
    #[inline]
    fn sort<B: PacketBuf>(&self, port: usize, buf: &mut B) -> Option<IfaceId> {
        let mut taken = buf.tag_taken();
        if taken.is_none() && Eth::parse(buf.bytes())?.ethertype == ethertype::VLAN {
            taken = Some(tag::pop(buf)?);
        }
        // A second tag, or one of a provider's.
        if matches!(Eth::parse(buf.bytes())?.ethertype, ethertype::VLAN | ethertype::QINQ) {
            return None;
        }
        let vlan = taken.unwrap_or(PRIORITY);
        let lanes = &self.ports.get(port)?.lanes;
        let lane = lanes.get(lanes.binary_search_by_key(&vlan, |lane| lane.vlan).ok()?)?;
        match lane.arm {
            Some(arm) if lane.is_inside(buf.bytes()) => Some(arm),
            _ => lane.rest,
        }
    }
}

impl Lane {
    /// Whether a frame comes from one of the sources. An ARP probe (RFC 5227) has no sender: what it asks for counts.
    fn is_inside(&self, frame: &[u8]) -> bool {
        let message = frame.get(eth::LEN..).unwrap_or_default();
        let ip = match Eth::parse(frame).map(|eth| eth.ethertype) {
            Some(ethertype::IPV4) => be32(message, 12),
            Some(ethertype::ARP) => match Arp::parse(message) {
                Some(arp) if arp.sender_ip.is_unspecified() => arp.target_ip.to_bits(),
                Some(arp) => arp.sender_ip.to_bits(),
                None => return false,
            },
            _ => return false,
        };
        let before = self.sources.partition_point(|(first, _)| *first <= ip);
        before.checked_sub(1).and_then(|at| self.sources.get(at)).is_some_and(|(_, last)| ip <= *last)
    }
}

/// The same addresses in ranges that are sorted and apart.
fn merged(nets: &[Ipv4Net]) -> Vec<(u32, u32)> {
    let mut all: Vec<(u32, u32)> =
        nets.iter().map(|net| (net.network().to_bits(), Ipv4Addr::to_bits(net.last()))).collect();
    all.sort_unstable();
    let mut out: Vec<(u32, u32)> = Vec::new();
    for (first, last) in all {
        match out.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out
}

/// Ports that are asked by interface. The ports inside are asked by their numbers, as the `IfaceId` of that number.
#[derive(Debug)]
pub struct Trunk<P: Ports> {
    ports: P,
    layout: Arc<Layout>,
    /// By interface: received, not asked for yet
    pending: Vec<Vec<P::Buf>>,
    /// A burst of a port, being sorted
    mixed: Vec<P::Buf>,
    /// Without room for a tag; gone through once
    bare: Vec<P::Buf>,
    /// By port: when its last burst came, in ticks
    came: Vec<u64>,
    strays: u64,
}

impl<P: Ports> Trunk<P> {
    /// Of these ports.
    pub fn new(ports: P, layout: Arc<Layout>) -> Trunk<P> {
        let pending = layout.members.iter().map(|_| Vec::with_capacity(BURST)).collect();
        let came = vec![0; layout.ports()];
        let [mixed, bare] = [(), ()].map(|()| Vec::with_capacity(BURST));
        Trunk { ports, layout, pending, mixed, bare, came, strays: 0 }
    }

    /// The ports themselves.
    pub fn ports(&mut self) -> &mut P {
        &mut self.ports
    }

    /// A burst of the port, sorted.
    fn fill(&mut self, port: usize) {
        let mut burst = std::mem::take(&mut self.mixed);
        self.ports.receive(IfaceId(port as u8), &mut burst);
        if !burst.is_empty()
            && let Some(came) = self.came.get_mut(port)
        {
            *came = self.ports.ticks();
        }
        for mut buf in burst.drain(..) {
            let whose = self.layout.sort(port, &mut buf);
            match whose.and_then(|iface| self.pending.get_mut(iface.index())) {
                // There is room: they were empty, and take a burst.
                Some(pending) if pending.len() < BURST => pending.push(buf),
                _ => self.strays += 1,
            }
        }
        self.mixed = burst;
    }
}

impl<P: Ports> Ports for Trunk<P> {
    type Buf = P::Buf;

    #[inline]
    fn receive(&mut self, iface: IfaceId, into: &mut Vec<P::Buf>) {
        if self.layout.straight {
            return self.ports.receive(iface, into);
        }
        let number = self.layout.port(iface.index());
        let Some(port) = self.layout.ports.get(number) else { return };
        if port.alone {
            return self.ports.receive(IfaceId(number as u8), into);
        }
        let waiting = |at: &usize| self.pending.get(*at).is_some_and(|pending| !pending.is_empty());
        if port.first == iface.index() && !port.members.iter().any(waiting) {
            self.fill(number);
        }
        if let Some(pending) = self.pending.get_mut(iface.index()) {
            into.append(pending);
        }
    }

    #[inline]
    fn send(&mut self, iface: IfaceId, from: &mut Vec<P::Buf>) {
        if self.layout.straight {
            return self.ports.send(iface, from);
        }
        let Some((port, vlan)) = self.layout.members.get(iface.index()).copied() else { return };
        let Some(vlan) = vlan else { return self.ports.send(IfaceId(port), from) };
        self.bare.extend(from.extract_if(.., |buf| !tag::push(buf, vlan)));
        self.ports.send(IfaceId(port), from);
        // What stays is the caller's, as it was.
        for buf in from.iter_mut() {
            let _ = tag::pop(buf);
        }
        from.append(&mut self.bare);
    }

    fn alloc(&mut self) -> Option<P::Buf> {
        self.ports.alloc()
    }

    fn refused(&self) -> u64 {
        self.ports.refused()
    }

    #[inline]
    fn strays(&self) -> u64 {
        self.strays
    }

    #[inline]
    fn since(&self, iface: IfaceId) -> Option<u64> {
        if self.layout.straight {
            return None;
        }
        let number = self.layout.port(iface.index());
        let later = self.layout.ports.get(number).is_some_and(|port| port.first != iface.index());
        if later { self.came.get(number).copied() } else { None }
    }

    #[inline]
    fn ticks(&self) -> u64 {
        self.ports.ticks()
    }

    #[inline]
    fn began(&self) -> u64 {
        self.ports.began()
    }
}
