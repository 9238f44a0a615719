//! What comes back to the router's own probes, told from everything else that comes in by a WAN, and set apart for the management
//! thread, which alone judges it.
//!
//! - The ports and echo identifiers of `OWN_PORTS`, and the port of BFD, are in no pool of a WAN's main address (`manage::rules::reserved`):
//!   no mapping has them, so no packet of a mapping is taken for a probe's answer, nor the other way round.
//! - An answer is what comes by that WAN, to its main address and such a port, from an address that is probed there; an echo
//!   reply must carry the secret besides. Everything else goes on as if there were no probes, to a forward for instance.
//! - It is asked before the source is judged: a probed address may lie behind the inside as well, and is on this WAN all the same.
//! - A DHCP server's messages to this client come to whichever address; they are told by the WAN, by their ports and the client's Ethernet
//!   address in them (`lease`). Those to others end like any other broadcast.
//! - What the partner of a pair says comes by a path of theirs, from its address there to this member's.
//! - Each kind of answer has its own rate on each WAN: a flood of one drowns neither the others nor another WAN's.
//!
//! RFC 5881 5 (TTL 255), RFC 5508 4.1 (what an ICMP error tells of).

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use super::quoted::{about, quotes};
use super::{Limit, Router, View};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Transport, Verdict};
use crate::wire::icmp::{self, kind};
use crate::wire::udp;

/// Ports of UDP and TCP, and echo identifiers, from which the router's own probes speak.
pub const OWN_PORTS: RangeInclusive<u16> = 0xffc0..=0xffff;
/// Where a BFD neighbour sends to (RFC 5881 4).
pub const BFD_PORT: u16 = 3784;
/// From where and to where a DHCP server answers (RFC 2131 4.1).
const LEASE_PORTS: (u16, u16) = (67, 68);
/// Where a client's Ethernet address stands in its message (RFC 2131 2).
const LEASE_MAC: std::ops::Range<usize> = 28..34;
/// The only TTL that has crossed no router.
pub const BFD_TTL: u8 = 255;

/// Answers of one kind a second that one worker takes from one WAN.
const ANSWERS: u32 = 1000;
/// And ICMP errors about probes, and messages of DHCP servers.
const RARE: u32 = 100;
/// And datagrams of the partner: beats and sessions.
const PARTNER: u32 = 50_000;

/// What a WAN's answers come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// Addresses that are probed, in order
    pub targets: Vec<Ipv4Addr>,
    /// The BFD neighbour, on the link
    pub bfd: Option<Ipv4Addr>,
    /// The WAN's address comes by DHCP
    pub dhcp: bool,
    /// An address that it was granted, while ARP is asked whether somebody has it (RFC 5227 2.1)
    pub claim: Option<Ipv4Addr>,
}

/// A network over which the partner of a pair is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairPath {
    /// By which interface
    pub iface: IfaceId,
    /// To which of the router's addresses there
    pub own: Ipv4Addr,
    /// From which address
    pub partner: Ipv4Addr,
}

/// Whom an answer is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody whom the router asked by a WAN
    Wan(WanId),
    /// The partner, by a path
    Path(u8),
}

/// What the router probes. Nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probing {
    /// The first bytes of every echo's data
    pub secret: [u8; 8],
    /// By `WanId`
    pub wans: Vec<Probed>,
    /// Where the partner of a pair is heard
    pub paths: Vec<PairPath>,
    /// At which UDP port
    pub port: u16,
}

/// A kind of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An echo reply
    Echo,
    /// A datagram
    Udp,
    /// A segment
    Tcp,
    /// A BFD control packet
    Bfd,
    /// An ICMP error about a probe
    Error,
    /// What a DHCP server says to this client
    Lease,
    /// What the partner of a pair says
    Partner,
}

/// An answer, for the management thread.
#[derive(Debug)]
pub struct Answer<B> {
    /// From whom
    pub from: Source,
    /// When
    pub at: Nanos,
    /// The frame
    pub buf: B,
}

/// The rates of one interface, by kind.
pub(super) type Limits = [Limit; 7];

/// Full ones.
pub(super) fn limits() -> Limits {
    let rate = |kind| match kind {
        Kind::Error | Kind::Lease => RARE,
        Kind::Partner => PARTNER,
        _ => ANSWERS,
    };
    [Kind::Echo, Kind::Udp, Kind::Tcp, Kind::Bfd, Kind::Error, Kind::Lease, Kind::Partner]
        .map(|kind| Limit::new(rate(kind)))
}

/// Which kind of answer a packet is that came in by `wan`. `None`: it is nothing of the router's own.
#[inline]
pub(super) fn answer<B: PacketBuf>(view: &View, frame: &Frame<B>, wan: WanId) -> Option<Kind> {
    let probed = view.probing.wans.get(wan.index())?;
    if probed.targets.is_empty() && probed.bfd.is_none() && !probed.dhcp {
        return None;
    }
    match frame.transport {
        Transport::Udp { src, dst } if (src, dst) == LEASE_PORTS => {
            return lease(view, frame).map(|(_, kind)| kind);
        }
        Transport::Udp { dst: BFD_PORT, .. } => {}
        Transport::Udp { dst, .. } if OWN_PORTS.contains(&dst) => {}
        Transport::Tcp(tcp) if OWN_PORTS.contains(&tcp.dst) => {}
        Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REPLY && OWN_PORTS.contains(&icmp.id) => {}
        Transport::Icmp(icmp) if quotes(icmp.kind) => {}
        _ => return None,
    }
    if frame.ip.is_fragment() || frame.link_group || !view.main(frame.ingress, frame.ip.dst) {
        return None;
    }
    let from = frame.ip.src;
    let target = |ip: Ipv4Addr| probed.targets.binary_search(&ip).is_ok();
    let is_it = |kind: Kind, is_it: bool| is_it.then_some(kind);
    match frame.transport {
        Transport::Udp { dst: BFD_PORT, .. } => {
            let near = frame.ip.ttl == BFD_TTL && view.on_link(frame.ingress, from);
            is_it(Kind::Bfd, near && probed.bfd == Some(from))
        }
        Transport::Udp { .. } => is_it(Kind::Udp, target(from)),
        Transport::Tcp(_) => is_it(Kind::Tcp, target(from)),
        Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REPLY => {
            let data = frame.buf.bytes().get(frame.l4() + icmp::LEN..).unwrap_or_default();
            is_it(Kind::Echo, target(from) && data.starts_with(&view.probing.secret))
        }
        Transport::Icmp(_) => {
            let told = about(frame).ok()?;
            let of = target(told.src) || probed.bfd == Some(told.src);
            is_it(Kind::Error, OWN_PORTS.contains(&told.dst_port) && told.has_ports() && of)
        }
        Transport::Other => None,
    }
}

/// Whether a packet is what a DHCP server says to this client: by the WAN that asks, to its Ethernet address in the message. To which IP
/// address says nothing: to the one that is offered, to all, to the one that it has (RFC 2131 4.1).
#[cold]
pub(super) fn lease<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Option<(WanId, Kind)> {
    let port = view.ifaces.get(frame.ingress.index())?;
    let wan = port.wan.filter(|wan| view.probing.wans.get(wan.index()).is_some_and(|probed| probed.dhcp))?;
    let Transport::Udp { src, dst } = frame.transport else { return None };
    let client = frame.buf.bytes().get(frame.l4() + udp::LEN..)?.get(LEASE_MAC)?;
    let its = (src, dst) == LEASE_PORTS && !frame.ip.is_fragment() && client == port.mac.0;
    its.then_some((wan, Kind::Lease))
}

/// The path by which the partner has sent a packet to this member.
#[inline]
pub(super) fn partner<B: PacketBuf>(view: &View, frame: &Frame<B>) -> Option<u8> {
    if view.probing.paths.is_empty() {
        return None;
    }
    let its =
        |path: &PairPath| (path.iface, path.own, path.partner) == (frame.ingress, frame.ip.dst, frame.ip.src);
    let Transport::Udp { dst, .. } = frame.transport else { return None };
    if dst != view.probing.port || frame.ip.is_fragment() {
        return None;
    }
    view.probing.paths.iter().position(its).and_then(|at| u8::try_from(at).ok())
}

impl<B: PacketBuf> Router<B> {
    /// Sets an answer apart for the management thread, as far as its rate goes.
    pub(super) fn answered(&mut self, frame: Frame<B>, from: Source, kind: Kind, now: Nanos) -> Verdict {
        let limit =
            self.answer_limits.get_mut(frame.ingress.index()).map(|limits| &mut limits[kind as usize]);
        if self.answers.len() == self.answers.capacity() || !limit.is_some_and(|limit| limit.take(now)) {
            return self.ended(DropReason::AnswerLimit);
        }
        self.counters.add(Stat::Local, 1);
        self.answers.push(Answer { from, at: now, buf: frame.buf });
        Verdict::Local
    }
}
