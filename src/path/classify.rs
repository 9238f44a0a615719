//! Classification: where does an admitted packet want to go, and may it, judged by its addresses (RFC 1812 5.3)?
//!
//! Nothing is looked up here that a worker owns, so any worker can do it for any packet; the class then tells who owns it.

use std::net::Ipv4Addr;

use super::View;
use super::places::{Kind, Place};
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

/// Where an admitted packet goes.
///
/// # Errors
/// Why it goes nowhere.
#[inline]
pub fn classify<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Result<Class, DropReason> {
    let (src, dst) = (view.place(frame.ip.src), view.place(frame.ip.dst));
    match dst.kind {
        Kind::Broadcast => return Err(DropReason::Broadcast),
        Kind::Multicast => return Err(DropReason::Multicast),
        Kind::Martian => return Err(DropReason::MartianDestination),
        Kind::Unicast => {}
    }
    if frame.link_group {
        return Err(DropReason::LinkBroadcast);
    }
    match src.kind {
        Kind::Martian | Kind::Multicast => return Err(DropReason::MartianSource),
        // 255.255.255.255 is in 240/4 as well.
        Kind::Broadcast if frame.ip.src == Ipv4Addr::BROADCAST => return Err(DropReason::MartianSource),
        Kind::Broadcast => return Err(DropReason::SpoofedSource),
        Kind::Unicast => {}
    }
    if src.own.is_some() {
        return Err(DropReason::SpoofedSource);
    }
    match view.ifaces[frame.ingress.index()].wan {
        Some(wan) => from_outside(view, frame, wan, &src),
        None => from_inside(view, frame, &src, &dst),
    }
}

fn from_outside<B: PacketBuf>(
    view: &View,
    frame: &Frame<B>,
    wan: WanId,
    src: &Place,
) -> Result<Class, DropReason> {
    if src.behind.is_some() && !view.on_link(frame.ingress, frame.ip.src) {
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

fn from_inside<B: PacketBuf>(
    view: &View,
    frame: &Frame<B>,
    src: &Place,
    dst: &Place,
) -> Result<Class, DropReason> {
    if src.behind != Some(frame.ingress) {
        return Err(DropReason::SpoofedSource);
    }
    if let Some(owner) = dst.own {
        if frame.ip.is_fragment() {
            return Err(DropReason::Fragment);
        }
        let echo = matches!(frame.transport, Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REQUEST);
        if view.ifaces[owner.index()].wan.is_some() && !echo {
            return Err(DropReason::Hairpin);
        }
        return Ok(Class::Own);
    }
    if let Some(route) = dst.inside {
        return Ok(Class::Inside { egress: route.iface, next_hop: route.via.unwrap_or(frame.ip.dst) });
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
    Ok(Class::Outbound { pin: dst.pin })
}
