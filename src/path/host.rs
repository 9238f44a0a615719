//! The host path: the Linux host under the router stays a host. What is for the router's own addresses and is not its own
//! business waits here for the engine, which gives it to the host's thread; what the host sends comes in by `from_host`.
//!
//! - From inside the host gets what the firewall lets in (`to: self`), and what is for everybody on the link: it has DHCP, routing
//!   protocols and the like to serve. From a WAN it gets what a rule lets in and what the NAT knows as its own, nothing else.
//! - Each interface has two rates, one for the host alone and one for everybody: neither a flood at the router's address nor a storm of
//!   broadcasts costs the worker more than that, or takes the other's room.
//! - What the host sends to its neighbours inside leaves as it is; everything else has the router's own MAC as its destination and
//!   goes the way of any inside host's, translated from the same ports. By an address on a WAN it speaks as it is only where
//!   the firewall lets others speak to it; else that is translated too, and stays on that WAN.
//! - The source must be one of the router's (RFC 1122 3.3.4.2): the host is no second router.
//!
//! No session of the host's is ever established (`translate`): on a wire its address is a spoofed one.

use super::classify::outward;
use super::places::Kind;
use super::quoted::quotes;
use super::{Admitted, Class, Limit, Router, View, Way, admit};
use crate::base::{IfaceId, Mac, Nanos, WanId};
use crate::nat::rules::Action;
use crate::packet::{DropReason, Frame, PacketBuf, Transport, Tuple, Verdict};
use crate::wire::arp::{Arp, Op};
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::icmp::kind;
use crate::wire::ipv4::Ipv4;

/// Where frames come from that the router has made for the host, and the host for the router: nobody else sees it.
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
/// Packets a second for the host alone that a worker gives it, from one inside interface and from one WAN.
const FROM_INSIDE: u32 = 20_000;
const FROM_WAN: u32 = 4_000;
/// Packets a second for everybody on a link, and answers to its ARP.
const FOR_ALL: u32 = 1_000;
/// Packets that wait for the engine, at most. It takes them after each burst.
const WAITING: usize = super::BURST * 4;

/// Where what is the host's business waits for the engine.
#[derive(Debug)]
pub struct HostDoor<B> {
    /// By which interface it goes to the host, and the frame
    pub waiting: Vec<(IfaceId, B)>,
    /// By interface: for the host alone, and for everybody
    limits: Vec<[Limit; 2]>,
}

impl<B> HostDoor<B> {
    /// A door for the interfaces of a view.
    pub fn new(view: &View) -> HostDoor<B> {
        let limits = |wan: bool| [Limit::new(if wan { FROM_WAN } else { FROM_INSIDE }), Limit::new(FOR_ALL)];
        let limits = view.ifaces.iter().map(|iface| limits(iface.wan.is_some())).collect();
        HostDoor { waiting: Vec::with_capacity(WAITING), limits }
    }
}

/// What for the router's own address is the host's business. Of ICMP what nobody asked for is not, as without a host.
pub(super) fn is_for(transport: &Transport) -> bool {
    match transport {
        Transport::Icmp(icmp) => icmp.kind == kind::ECHO_REPLY || quotes(icmp.kind),
        _ => true,
    }
}

/// Where a packet that the host sends goes.
fn classify<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Result<Class, DropReason> {
    let (src, dst) = (view.place(frame.ip.src), view.place(frame.ip.dst));
    let owner = src.own.ok_or(DropReason::SpoofedSource)?;
    if !view.main(owner, frame.ip.src) {
        return Err(DropReason::SpoofedSource);
    }
    if dst.kind != Kind::Unicast || dst.own.is_some() {
        return Err(DropReason::HostStray);
    }
    if let Some(route) = dst.inside {
        return Ok(Class::Inside { egress: route.iface, next_hop: route.via.unwrap_or(frame.ip.dst) });
    }
    let wan = view.ifaces[owner.index()].wan;
    if let (Some(wan), Some(t)) = (wan, frame.tuple()) {
        let back = Tuple { src: t.dst, src_port: t.dst_port, dst: t.src, dst_port: t.src_port, ..t };
        let firewall = &view.rules.firewall;
        if firewall.lets_own() && firewall.judge(owner, &back, true, Action::Drop).is_ok() {
            return Ok(Class::FromHost { wan });
        }
    }
    if let (Some((egress, next_hop)), None) = (view.through, wan) {
        return Ok(Class::Inside { egress, next_hop });
    }
    outward(view, frame, wan.or(dst.pin))
}

impl<B: PacketBuf> Router<B> {
    /// Puts a frame where the engine takes it to the host, as far as the rate goes. `all`: it is for everybody on the link.
    pub(super) fn give(&mut self, iface: IfaceId, all: bool, buf: B, now: Nanos) -> Verdict {
        let Some(door) = &mut self.host else { return self.ended(DropReason::LocalNoService) };
        let limit = door.limits.get_mut(iface.index()).map(|limits| &mut limits[usize::from(all)]);
        if door.waiting.len() == door.waiting.capacity() || !limit.is_some_and(|limit| limit.take(now)) {
            return self.ended(DropReason::HostLimit);
        }
        door.waiting.push((iface, buf));
        Verdict::Local
    }

    /// A packet for the router's own address, as it came.
    pub(super) fn give_own(&mut self, view: &View, mut frame: Frame<B>, now: Nanos) -> Verdict {
        self.trace(view, frame.ingress, frame.ip.dst, &mut frame.buf);
        let port = &view.ifaces[frame.ingress.index()];
        if let Some(dst) = frame.buf.bytes_mut().first_chunk_mut().filter(|_| port.mac != port.station) {
            // The kernel knows its device by that.
            *dst = port.station.0;
        }
        self.give(frame.ingress, false, frame.buf, now)
    }

    /// A packet whose next hop is the host itself: translated back, or made by the router.
    pub(super) fn deliver(&mut self, view: &View, iface: IfaceId, mut buf: B, now: Nanos) -> Verdict {
        let dst = view.ifaces[iface.index()].station;
        Eth { dst, src: ROUTER, ethertype: ethertype::IPV4 }.emit(buf.bytes_mut());
        self.give(iface, false, buf, now)
    }

    /// A broadcast or multicast: routed nowhere, but a host inside may want to hear it.
    #[cold]
    pub(super) fn give_group(&mut self, view: &View, frame: Frame<B>, reason: DropReason, now: Nanos) {
        let port = &view.ifaces[frame.ingress.index()];
        let (dst, src) = (frame.ip.dst, view.place(frame.ip.src));
        let here = dst.is_broadcast()
            || dst.is_multicast()
            || port.addresses.iter().any(|address| address.broadcast() == Some(dst));
        if self.host.is_none() || port.wan.is_some() || !frame.link_group || !here {
            return self.counters.drop(reason);
        }
        let of_link = src.kind == Kind::Unicast && src.own.is_none() && src.behind == Some(frame.ingress);
        // Who has no address yet asks for one.
        if !of_link && !frame.ip.src.is_unspecified() {
            return self.counters.drop(DropReason::SpoofedSource);
        }
        let judged = frame
            .tuple()
            .map_or(Ok(()), |tuple| view.rules.firewall.judge(frame.ingress, &tuple, true, Action::Accept));
        match judged {
            Ok(()) => _ = self.give(frame.ingress, true, frame.buf, now),
            // Nobody is told: it was for all.
            Err(reason) => self.counters.drop(reason),
        }
    }

    /// A frame that the host sends by `iface`. Gives what is to be forwarded, on this worker; everything else ended here.
    pub fn from_host(&mut self, view: &View, iface: IfaceId, buf: B) -> Option<(Frame<B>, Class)> {
        let Some(port) = view.ifaces.get(iface.index()) else {
            self.counters.drop(DropReason::HostStray);
            return None;
        };
        let as_it_is = |eth: &Eth| port.wan.is_none() && eth.dst != port.station;
        let end = match Eth::parse(buf.bytes()) {
            Some(eth) if as_it_is(&eth) => self.send_near(view, iface, &eth, buf),
            Some(eth) if eth.ethertype == ethertype::IPV4 && !eth.dst.is_group() => {
                match self.routed(view, iface, buf) {
                    Ok(found) => return Some(found),
                    Err(reason) => Err(reason),
                }
            }
            _ => Err(DropReason::HostStray),
        };
        if let Err(reason) = end {
            self.counters.drop(reason);
        }
        None
    }

    /// A frame to a neighbour inside, whom the host knows by its own ARP, or to all of them.
    fn send_near(&mut self, view: &View, iface: IfaceId, eth: &Eth, mut buf: B) -> Result<(), DropReason> {
        let port = &view.ifaces[iface.index()];
        let payload = buf.bytes().get(eth::LEN..).unwrap_or_default();
        let may = match eth.ethertype {
            ethertype::ARP => Arp::parse(payload).is_some_and(|arp| {
                arp.op == Op::Request && arp.sender_mac == port.station && view.main(iface, arp.sender_ip)
            }),
            ethertype::IPV4 => Ipv4::parse(payload)
                .is_ok_and(|ip| view.own(ip.src).is_some_and(|owner| view.main(owner, ip.src))),
            _ => false,
        };
        let len = buf.bytes().len();
        if !may || len > eth::LEN + usize::from(port.mtu) {
            return Err(DropReason::HostStray);
        }
        if !port.up {
            return Err(DropReason::LinkDown);
        }
        Eth { dst: eth.dst, src: port.station, ethertype: eth.ethertype }.emit(buf.bytes_mut());
        if len < eth::MIN_FRAME {
            if !buf.resize(eth::MIN_FRAME) {
                return Err(DropReason::NoBuffer);
            }
            buf.bytes_mut().get_mut(len..).unwrap_or_default().fill(0);
        }
        self.out[iface.index()].put(buf);
        Ok(())
    }

    /// A packet that the router is to forward, as from an inside interface.
    fn routed(&mut self, view: &View, iface: IfaceId, mut buf: B) -> Result<(Frame<B>, Class), DropReason> {
        let dst = view.ifaces[iface.index()].mac;
        Eth { dst, src: ROUTER, ethertype: ethertype::IPV4 }.emit(buf.bytes_mut());
        let Admitted::Ip(mut frame) = admit(view, iface, buf)? else { return Err(DropReason::HostStray) };
        let class = classify(view, &frame)?;
        // An address on a WAN is the host's as one inside is.
        let inside = |at: &usize| view.ifaces[*at].wan.is_none();
        if !inside(&iface.index()) {
            let first = (0..view.ifaces.len()).find(inside).ok_or(DropReason::HostStray)?;
            frame.ingress = IfaceId(first as u8);
        }
        Ok((frame, class))
    }

    /// The way of what `from_host` gave.
    pub fn forward_host(&mut self, view: &View, frame: Frame<B>, class: Class, now: Nanos) -> Verdict {
        self.by_host = true;
        let verdict = match frame.ip.is_fragment() {
            // In their order, from one queue: they need no gate.
            true => self.follow(view, frame, class, now),
            false => self.forward(view, frame, class, now),
        };
        self.by_host = false;
        verdict
    }

    /// By the host's own address on a WAN, to whom the firewall lets speak to it.
    pub(super) fn leave_as_it_is(&mut self, view: &View, frame: Frame<B>, wan: WanId, now: Nanos) -> Way {
        let link = &view.wans[wan.index()];
        let next_hop = view.next_hop(link, frame.ip.dst);
        let frame = self.fit(view, frame, link.iface, now)?;
        Ok(self.resolve(view, link.iface, next_hop, frame.buf, None, now))
    }
}
