//! Classification: where does an admitted packet want to go, and may it, judged by its addresses (RFC 1812 5.3)?
//!
//! Nothing is looked up here that a worker owns, so any worker can do it for any packet; the class then tells who owns it.

use std::net::Ipv4Addr;

use super::View;
use super::places::{Kind, Place};
use crate::base::{IfaceId, WanId};
use crate::nat::session::Kind as SessionKind;
use crate::nat::statics::Target;
use crate::packet::{DropReason, Frame, PacketBuf, Transport, Tuple};
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
        /// Where a rule leads it
        target: Option<Target>,
        /// It comes from inside, by way of its own outside address
        hairpin: bool,
    },
    /// From inside to inside, by an outside address: out as to a WAN, and in again as from one
    Hairpin {
        /// The WAN whose address it is for
        wan: WanId,
        /// Where a rule leads it from there
        target: Option<Target>,
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
        Some(wan) => from_outside(view, frame, wan, (src, dst)),
        None => from_inside(view, frame, src, dst),
    }
}

fn from_outside<B: PacketBuf>(
    view: &View,
    frame: &Frame<B>,
    wan: WanId,
    (src, dst): (&Place, &Place),
) -> Result<Class, DropReason> {
    if src.behind.is_some() && !view.on_link(frame.ingress, frame.ip.src) {
        return Err(DropReason::SpoofedSource);
    }
    let own = view.owns(frame.ingress, frame.ip.dst);
    // Inside addresses are spoken to from outside where some go untranslated.
    let plainly = dst.inside.is_some() && view.rules.statics.any_plain();
    if !(own || plainly) {
        return Err(DropReason::WanTransit);
    }
    if frame.ip.is_fragment() {
        return Err(DropReason::Fragment);
    }
    let tuple = frame.tuple().ok_or(DropReason::Protocol)?;
    let target = match own {
        true => view.rules.statics.target(wan, view.main(frame.ingress, frame.ip.dst), &tuple),
        false => Some(plain(view, frame.ingress, &tuple).ok_or(DropReason::WanTransit)?),
    };
    match frame.transport {
        Transport::Icmp(icmp) => match icmp.kind {
            kind::ECHO_REQUEST if target.is_none() => Ok(Class::Own),
            kind::ECHO_REQUEST | kind::ECHO_REPLY => Ok(Class::Inbound { wan, target, hairpin: false }),
            _ if icmp.is_error() => Err(DropReason::IcmpErrorTransit),
            _ => Err(DropReason::IcmpUnhandled),
        },
        _ => Ok(Class::Inbound { wan, target, hairpin: false }),
    }
}

/// Where a packet to an inside address leads, if flows between the two go untranslated.
fn plain(view: &View, ingress: IfaceId, t: &Tuple) -> Option<Target> {
    let back = Tuple { src: t.dst, src_port: t.dst_port, dst: t.src, dst_port: t.src_port, ..*t };
    let statics = &view.rules.statics;
    let target = Target { inside: t.dst, port: t.dst_port, kind: SessionKind::Plain };
    statics.plain(ingress, &back).then_some(target)
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
        return match view.ifaces[owner.index()].wan {
            Some(wan) => hairpin(view, frame, wan, owner),
            None => Ok(Class::Own),
        };
    }
    if let Some(route) = dst.inside {
        return Ok(Class::Inside { egress: route.iface, next_hop: route.via.unwrap_or(frame.ip.dst) });
    }
    if frame.ip.is_fragment() {
        return Err(DropReason::Fragment);
    }
    match frame.transport {
        Transport::Udp { .. } | Transport::Tcp(_) => {}
        Transport::Icmp(icmp) if matches!(icmp.kind, kind::ECHO_REQUEST | kind::ECHO_REPLY) => {}
        Transport::Icmp(icmp) if icmp.is_error() => return Err(DropReason::IcmpErrorTransit),
        Transport::Icmp(_) => return Err(DropReason::IcmpUnhandled),
        Transport::Other if frame.portless().is_some() => {}
        Transport::Other => return Err(DropReason::Protocol),
    }
    if view.wans.is_empty() {
        return Err(DropReason::NoRoute);
    }
    Ok(Class::Outbound { pin: dst.pin })
}

/// Where a packet goes that has become one from outside, having left by an outside address: in again, as from `wan`.
pub(super) fn turned<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Option<Class> {
    let wan = view.ifaces[frame.ingress.index()].wan?;
    let main = view.main(frame.ingress, frame.ip.dst);
    let target = view.rules.statics.target(wan, main, &frame.tuple()?);
    Some(Class::Inbound { wan, target, hairpin: true })
}

/// From inside to one of the router's addresses on a WAN (RFC 4787 6).
fn hairpin<B: PacketBuf>(
    view: &View,
    frame: &Frame<B>,
    wan: WanId,
    owner: IfaceId,
) -> Result<Class, DropReason> {
    let tuple = frame.tuple().ok_or(DropReason::Protocol)?;
    let target = view.rules.statics.target(wan, view.main(owner, frame.ip.dst), &tuple);
    match frame.transport {
        Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REQUEST && target.is_none() => Ok(Class::Own),
        Transport::Icmp(icmp) if !matches!(icmp.kind, kind::ECHO_REQUEST | kind::ECHO_REPLY) => {
            Err(if icmp.is_error() { DropReason::IcmpErrorTransit } else { DropReason::IcmpUnhandled })
        }
        _ if !view.rules.hairpin => Err(DropReason::Hairpin),
        _ => Ok(Class::Hairpin { wan, target }),
    }
}
