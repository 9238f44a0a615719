//! Classification: where does an admitted packet want to go, and may it, judged by its addresses (RFC 1812 5.3)?
//!
//! Nothing is looked up here that a worker owns, so any worker can do it for any packet; the class then tells who owns it.

use std::net::Ipv4Addr;

use super::View;
use crate::base::{IfaceId, WanId};
use crate::packet::{DropReason, Frame, PacketBuf, Transport};
use crate::wire::icmp::kind;

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// To the router itself
    Own,
    /// From inside to inside, as it is
    Inside {
        /// The way out
        egress: IfaceId,
        /// The next hop
        next_hop: Ipv4Addr,
    },
    /// From inside to a WAN, translated
    Outbound {
        /// The WAN whose link the destination is on
        pin: Option<WanId>,
    },
    /// From a WAN to inside, if the NAT knows where
    Inbound {
        /// Where it came in
        wan: WanId,
    },
}

/// 0/8, 127/8, 240/4: no host has such an address (RFC 1812 5.3.7, RFC 6890).
fn martian(ip: Ipv4Addr) -> bool {
    matches!(ip.octets()[0], 0 | 127 | 240..)
}

/// Where an admitted packet goes.
///
/// # Errors
/// Why it goes nowhere.
#[inline]
pub fn classify<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Result<Class, DropReason> {
    let (src, dst) = (frame.ip.src, frame.ip.dst);
    if dst == Ipv4Addr::BROADCAST || view.broadcast(dst) {
        return Err(DropReason::Broadcast);
    }
    if dst.is_multicast() {
        return Err(DropReason::Multicast);
    }
    if martian(dst) {
        return Err(DropReason::MartianDestination);
    }
    if frame.link_group {
        return Err(DropReason::LinkBroadcast);
    }
    if martian(src) || src.is_multicast() {
        return Err(DropReason::MartianSource);
    }
    if view.own(src).is_some() || view.broadcast(src) {
        return Err(DropReason::SpoofedSource);
    }
    match view.ifaces[frame.ingress.index()].wan {
        Some(wan) => from_outside(view, frame, wan),
        None => from_inside(view, frame),
    }
}

fn from_outside<B: PacketBuf>(view: &View, frame: &Frame<B>, wan: WanId) -> Result<Class, DropReason> {
    if !view.on_link(frame.ingress, frame.ip.src) && view.routes.find(frame.ip.src).is_some() {
        return Err(DropReason::SpoofedSource);
    }
    if !view.owns(frame.ingress, frame.ip.dst) {
        return Err(DropReason::WanTransit);
    }
    if frame.ip.is_fragment() {
        return Err(DropReason::Fragment);
    }
    match frame.transport {
        Transport::Udp { .. } | Transport::Tcp(_) => Ok(Class::Inbound { wan }),
        Transport::Icmp(icmp) => match icmp.kind {
            kind::ECHO_REQUEST => Ok(Class::Own),
            kind::ECHO_REPLY => Ok(Class::Inbound { wan }),
            _ if icmp.is_error() => Err(DropReason::IcmpErrorTransit),
            _ => Err(DropReason::IcmpUnhandled),
        },
        Transport::Other => Err(DropReason::Protocol),
    }
}

fn from_inside<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Result<Class, DropReason> {
    let (src, dst) = (frame.ip.src, frame.ip.dst);
    if view.routes.find(src).is_none_or(|r| r.iface != frame.ingress) {
        return Err(DropReason::SpoofedSource);
    }
    if let Some(owner) = view.own(dst) {
        if frame.ip.is_fragment() {
            return Err(DropReason::Fragment);
        }
        let echo = matches!(frame.transport, Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REQUEST);
        if view.ifaces[owner.index()].wan.is_some() && !echo {
            return Err(DropReason::Hairpin);
        }
        return Ok(Class::Own);
    }
    let pin = view.wan_on_link(dst);
    // A route inside may be wider than a WAN's network: the longer prefix counts (RFC 1812 5.2.4.3).
    let inside = view.routes.find(dst).filter(|r| pin.is_none_or(|(_, len)| r.net.len > len));
    if let Some(route) = inside {
        return Ok(Class::Inside { egress: route.iface, next_hop: route.via.unwrap_or(dst) });
    }
    if frame.ip.is_fragment() {
        return Err(DropReason::Fragment);
    }
    match frame.transport {
        Transport::Udp { .. } | Transport::Tcp(_) => {}
        Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REQUEST => {}
        Transport::Icmp(icmp) if icmp.is_error() => return Err(DropReason::IcmpErrorTransit),
        Transport::Icmp(_) | Transport::Other => return Err(DropReason::Protocol),
    }
    if view.wans.is_empty() {
        return Err(DropReason::NoRoute);
    }
    Ok(Class::Outbound { pin: pin.map(|(wan, _)| wan) })
}
