//! Classification: where does an admitted packet want to go, and may it, judged by its addresses (RFC 1812 5.3)?
//!
//! Nothing is looked up here that a worker owns, so any worker can do it for any packet; the class then tells who owns it.

use std::net::Ipv4Addr;

use super::View;
use super::answers::{self, Source, answer, lease, partner};
use super::places::{Kind, Place};
use super::quoted::{about, quotes, unhandled};
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
    /// To one of the router's own probes, or from the partner of a pair
    Answer {
        /// From whom
        from: Source,
        /// By what it answers
        kind: answers::Kind,
    },
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
    /// An ICMP error for an inside host, about a packet of a flow: translated with that
    ToldInside {
        /// Where it came in
        wan: WanId,
        /// The flow, by the packet that goes the same way as the error
        about: Tuple,
        /// Where a rule leads such a packet
        target: Option<Target>,
        /// It comes from inside
        hairpin: bool,
    },
    /// The same, from an inside host
    ToldOutside {
        /// As above
        about: Tuple,
    },
    /// From the host under the router, by an address of its own on a WAN, as it is
    FromHost {
        /// The WAN
        wan: WanId,
    },
    /// Where the first fragment of its datagram goes
    Rest,
}

/// Where an admitted packet goes.
///
/// # Errors
/// Why it goes nowhere.
#[inline]
pub fn classify<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Result<Class, DropReason> {
    let (src, dst) = (view.place(frame.ip.src), view.place(frame.ip.dst));
    match dst.kind {
        Kind::Broadcast => return leased(view, frame).ok_or(DropReason::Broadcast),
        Kind::Multicast => return Err(DropReason::Multicast),
        Kind::Martian => return Err(DropReason::MartianDestination),
        Kind::Unicast => {}
    }
    if frame.link_group {
        return leased(view, frame).ok_or(DropReason::LinkBroadcast);
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
    if let Some(path) = partner(view, frame) {
        return Ok(Class::Answer { from: Source::Path(path), kind: answers::Kind::Partner });
    }
    match view.ifaces[frame.ingress.index()].wan {
        Some(wan) => from_outside(view, frame, wan, (src, dst)),
        None => from_inside(view, frame, src, dst),
    }
}

/// What a DHCP server says to this client is for it, however it is sent.
#[cold]
fn leased<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Option<Class> {
    lease(view, frame).map(|(wan, kind)| Class::Answer { from: Source::Wan(wan), kind })
}

fn from_outside<B: PacketBuf>(
    view: &View,
    frame: &Frame<B>,
    wan: WanId,
    (src, dst): (&Place, &Place),
) -> Result<Class, DropReason> {
    if let Some(kind) = answer(view, frame, wan) {
        return Ok(Class::Answer { from: Source::Wan(wan), kind });
    }
    if src.behind.is_some() && !view.on_link(frame.ingress, frame.ip.src) {
        return Err(DropReason::SpoofedSource);
    }
    let own = view.owns(frame.ingress, frame.ip.dst);
    // Inside addresses are spoken to from outside where some go untranslated.
    let plainly = dst.inside.is_some() && view.rules.statics.any_plain();
    if !(own || plainly) {
        return Err(DropReason::WanTransit);
    }
    if frame.ip.fragment_offset != 0 {
        return Ok(Class::Rest);
    }
    let told = told(frame)?;
    let tuple = told.or_else(|| frame.tuple()).ok_or(DropReason::Protocol)?;
    let target = match own {
        true => view.rules.statics.target(wan, view.main(frame.ingress, frame.ip.dst), &tuple),
        false => Some(plain(view, frame.ingress, &tuple).ok_or(DropReason::WanTransit)?),
    };
    if let Some(about) = told {
        return Ok(Class::ToldInside { wan, about, target, hairpin: false });
    }
    match frame.transport {
        Transport::Icmp(icmp) => match icmp.kind {
            kind::ECHO_REQUEST if target.is_none() => Ok(Class::Own),
            kind::ECHO_REQUEST | kind::ECHO_REPLY => Ok(Class::Inbound { wan, target, hairpin: false }),
            kind => Err(unhandled(kind)),
        },
        _ => Ok(Class::Inbound { wan, target, hairpin: false }),
    }
}

/// The flow that an ICMP error tells of; `None` if it is none.
#[inline]
fn told<B: PacketBuf>(frame: &Frame<B>) -> Result<Option<Tuple>, DropReason> {
    match frame.transport {
        Transport::Icmp(icmp) if quotes(icmp.kind) => about(frame).map(Some),
        _ => Ok(None),
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
    if src.behind != Some(frame.ingress) && !comes_back(view, frame.ingress, src, dst) {
        return Err(DropReason::SpoofedSource);
    }
    if let Some(owner) = dst.own {
        if frame.ip.fragment_offset != 0 {
            return Ok(Class::Rest);
        }
        return match view.ifaces[owner.index()].wan {
            Some(wan) => hairpin(view, frame, wan, owner),
            None => Ok(Class::Own),
        };
    }
    if let Some(route) = dst.inside {
        return Ok(Class::Inside { egress: route.iface, next_hop: route.via.unwrap_or(frame.ip.dst) });
    }
    outward(view, frame, dst.pin)
}

/// From the outside to the host, which speaks to it by another member, on a network inside.
#[cold]
fn comes_back(view: &View, ingress: IfaceId, src: &Place, dst: &Place) -> bool {
    let by = view.through.map(|(iface, _)| iface);
    by == Some(ingress) && dst.own == by && src.behind.is_none()
}

/// To a WAN, as far as its protocol is translated.
pub(super) fn outward<B: PacketBuf>(
    view: &View,
    frame: &Frame<B>,
    pin: Option<WanId>,
) -> Result<Class, DropReason> {
    if frame.ip.fragment_offset != 0 {
        return Ok(Class::Rest);
    }
    match frame.transport {
        Transport::Udp { .. } | Transport::Tcp(_) => {}
        Transport::Icmp(icmp) if matches!(icmp.kind, kind::ECHO_REQUEST | kind::ECHO_REPLY) => {}
        Transport::Icmp(icmp) if quotes(icmp.kind) => {
            return Ok(Class::ToldOutside { about: about(frame)? });
        }
        Transport::Icmp(icmp) => return Err(unhandled(icmp.kind)),
        Transport::Other if frame.portless().is_some() => {}
        Transport::Other => return Err(DropReason::Protocol),
    }
    if view.wans.is_empty() {
        return Err(DropReason::NoRoute);
    }
    Ok(Class::Outbound { pin })
}

/// Where a packet goes that has become one from outside, having left by an outside address: in again, as from `wan`.
pub(super) fn turned<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Option<Class> {
    let wan = view.ifaces[frame.ingress.index()].wan?;
    if frame.ip.fragment_offset != 0 {
        return Some(Class::Rest);
    }
    let main = view.main(frame.ingress, frame.ip.dst);
    let told = told(frame).ok()?;
    let target = view.rules.statics.target(wan, main, &told.or_else(|| frame.tuple())?);
    if let Some(about) = told {
        return Some(Class::ToldInside { wan, about, target, hairpin: true });
    }
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
        Transport::Icmp(icmp) if quotes(icmp.kind) => Ok(Class::ToldOutside { about: about(frame)? }),
        Transport::Icmp(icmp) if !matches!(icmp.kind, kind::ECHO_REQUEST | kind::ECHO_REPLY) => {
            Err(unhandled(icmp.kind))
        }
        _ if !view.rules.hairpin => Err(DropReason::Hairpin),
        _ => Ok(Class::Hairpin { wan, target }),
    }
}
