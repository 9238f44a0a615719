//! ICMP errors about translated packets: which flow they tell of, and the packet that they quote put into the words of the
//! side that is told (RFC 5508 4.1, 4.2; RFC 4787 9; RFC 5382 7.3).
//!
//! - Only the quote's own end, the ports there and the checksums change, each where it is there: a quote may be cut off after
//!   8 bytes of transport (RFC 792). Type, code, the next hop's MTU, padding and extensions (RFC 4884) stay as they came.
//! - Checksums are updated, not computed: a wrong one in the quote stays wrong and is no reason to stop the error.
//! - An error changes nothing in the NAT (`nat::quoted`), and no error answers it.
//! - Outer and inner addresses are turned together, so nothing that leaves by a WAN shows an inside address.

use std::net::Ipv4Addr;

use super::{Router, View, Way, hold};
use crate::base::{IfaceId, Nanos, WanId};
use crate::nat::rewrite::End;
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Tuple, Verdict};
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, kind};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{be16, be32, protocol, put16, tcp, udp};

/// The shortest field for the quote in an error with extensions (RFC 4884 4).
const SHORTEST: usize = 128;

/// A message of which a NAT makes sense by what it quotes. The other ones that RFC 792 calls errors end here: source quench
/// (RFC 6633) and redirects (RFC 1812 5.2.7.2).
pub(super) fn quotes(kind: u8) -> bool {
    matches!(kind, kind::UNREACHABLE | kind::TIME_EXCEEDED | kind::PARAMETER_PROBLEM)
}

/// Why an ICMP message that is neither an echo nor `quotes` goes nowhere (RFC 5508 7, 8).
pub(super) fn unhandled(kind: u8) -> DropReason {
    match kind {
        kind::SOURCE_QUENCH => DropReason::IcmpSourceQuench,
        kind::REDIRECT => DropReason::IcmpRedirect,
        9 | 10 => DropReason::IcmpRouterDiscovery,
        13 | 14 => DropReason::IcmpTimestamp,
        17 | 18 => DropReason::IcmpAddressMask,
        _ => DropReason::IcmpUnhandled,
    }
}

/// The flow that an error tells of, as the quoted packet's answer, which goes the same way as the error.
///
/// # Errors
/// The message or its quote is not sound, or it is not told to the one who sent what it quotes (RFC 1812 4.3.2).
pub(super) fn about<B: PacketBuf>(frame: &Frame<B>) -> Result<Tuple, DropReason> {
    let message = frame.buf.bytes().get(frame.l4()..).unwrap_or_default();
    if !checksum::holds(message) {
        return Err(DropReason::IcmpChecksum);
    }
    let quote = Quote::read(message).ok_or(DropReason::IcmpErrorQuote)?;
    let header = message.get(icmp::LEN..quote.l4).unwrap_or_default();
    if !checksum::holds(header) || quote.tuple.src != frame.ip.dst {
        return Err(DropReason::IcmpErrorQuote);
    }
    let Tuple { protocol, src, src_port, dst, dst_port } = quote.tuple;
    Ok(Tuple { protocol, src: dst, src_port: dst_port, dst: src, dst_port: src_port })
}

/// The packet that a message quotes. Places are counted from the start of the message.
struct Quote {
    tuple: Tuple,
    l4: usize,
    /// Where the transport checksum stands, if it is there
    sum: Option<usize>,
}

impl Quote {
    /// `None` for what belongs to no flow: cut off before the ports, a later fragment, an error itself.
    fn read(message: &[u8]) -> Option<Quote> {
        let field = message.get(..field_end(message))?;
        let ip = Ipv4::read(field.get(icmp::LEN..)?.first_chunk()?);
        let header_len = usize::from(ip.header_len);
        let version = field.get(icmp::LEN)? >> 4;
        if version != 4 || header_len < ipv4::MIN_LEN || ip.fragment_offset != 0 {
            return None;
        }
        let l4 = icmp::LEN + header_len;
        // What follows the quoted packet's own end is padding.
        let end = field.len().min(icmp::LEN + usize::from(ip.total_len));
        let segment = field.get(l4..end)?;
        let ports = (be16(segment, 0), be16(segment, 2));
        let ((src_port, dst_port), at) = match ip.protocol {
            protocol::UDP if segment.len() >= 4 => (ports, Some(udp::CHECKSUM)),
            protocol::TCP if segment.len() >= 4 => (ports, Some(tcp::CHECKSUM)),
            protocol::ICMP if segment.len() >= 6 && echo(segment) => {
                ((be16(segment, 4), be16(segment, 4)), Some(icmp::CHECKSUM))
            }
            protocol::UDP | protocol::TCP | protocol::ICMP => return None,
            _ => ((0, 0), None),
        };
        // Before extensions, zeros up to the end are no TCP checksum but what fills a quote that is cut off (RFC 4884 3).
        let filled = field.len() < message.len() && ip.protocol == protocol::TCP;
        let zeros = |at: usize| segment.get(at..).is_some_and(|rest| rest.iter().all(|b| *b == 0));
        let sum = at.filter(|at| segment.len() >= at + 2 && !(filled && zeros(*at)));
        let tuple = Tuple { protocol: ip.protocol, src: ip.src, src_port, dst: ip.dst, dst_port };
        Some(Quote { tuple, l4, sum: sum.map(|at| l4 + at) })
    }
}

/// Where the field for the quote ends: before the extensions, if there are any (RFC 4884 3). No length, or one that is too
/// short to be meant so, says that there are none (RFC 4884 5.4).
fn field_end(message: &[u8]) -> usize {
    let length = message.get(5).map_or(0, |words| usize::from(*words) * 4);
    if length < SHORTEST { message.len() } else { message.len().min(icmp::LEN + length) }
}

/// What has an identifier.
fn echo(segment: &[u8]) -> bool {
    matches!(segment.first(), Some(&(kind::ECHO_REPLY | kind::ECHO_REQUEST)))
}

/// Puts an endpoint in the place of the quoted packet's `end`, and `other` in the place of the error's own other end: who has
/// sent the one is told by the other.
fn translate<B: PacketBuf>(frame: &mut Frame<B>, end: End, (addr, port): (Ipv4Addr, u16), other: Ipv4Addr) {
    let l4 = usize::from(frame.ip.header_len);
    let packet = frame.packet_mut();
    let (outer, inner, port_at) = if end == End::Source { (16, 12, 0) } else { (12, 16, 2) };
    let Some(header) = packet.first_chunk_mut::<{ ipv4::MIN_LEN }>() else { return };
    let old = Ipv4Addr::from_bits(be32(header, outer));
    let sum = Delta::NONE.addr(old, other).apply(be16(header, 10));
    header[outer..outer + 4].copy_from_slice(&other.octets());
    put16(header, 10, sum);
    let Some(message) = packet.get_mut(l4..) else { return };
    let Some(quote) = Quote::read(message) else { return };
    let old = Ipv4Addr::from_bits(be32(message, icmp::LEN + inner));
    let (high, low) = ((addr.to_bits() >> 16) as u16, addr.to_bits() as u16);
    let moved = Delta::NONE.addr(old, addr);
    let mut words = Words { message, changed: Delta::NONE };
    words.put(icmp::LEN + inner, high);
    words.put(icmp::LEN + inner + 2, low);
    words.change(icmp::LEN + 10, |sum| moved.apply(sum));
    let (port_at, moved) = match quote.tuple.protocol {
        // No pseudo header: only the identifier counts.
        protocol::ICMP => (quote.l4 + 4, Delta::NONE),
        _ => (quote.l4 + port_at, moved),
    };
    let moved = moved.word(be16(words.message, port_at), port);
    if quote.tuple.has_ports() {
        words.put(port_at, port);
    }
    if let Some(at) = quote.sum {
        let udp = quote.tuple.protocol == protocol::UDP;
        words.change(at, |sum| if udp { moved.apply_udp(sum) } else { moved.apply(sum) });
    }
    let sum = words.changed.apply(be16(words.message, icmp::CHECKSUM));
    put16(words.message, icmp::CHECKSUM, sum);
}

/// An ICMP message, and what the changes of its words add to its checksum.
struct Words<'a> {
    message: &'a mut [u8],
    changed: Delta,
}

impl Words<'_> {
    fn put(&mut self, at: usize, value: u16) {
        self.changed = self.changed.word(be16(self.message, at), value);
        put16(self.message, at, value);
    }

    fn change(&mut self, at: usize, to: impl FnOnce(u16) -> u16) {
        let value = to(be16(self.message, at));
        self.put(at, value);
    }
}

impl<B: PacketBuf> Router<B> {
    /// An error for the inside host whose packet is quoted, on the worker that owns the flow.
    pub(super) fn told_inside(
        &mut self,
        view: &View,
        frame: Frame<B>,
        wan: WanId,
        about: &Tuple,
        hairpin: bool,
        now: Nanos,
    ) -> Way {
        let found = self.nat.quoted_from_inside(wan, about, &view.uplinks, now);
        let to = found.map_err(|reason| self.ended(reason))?;
        // Once for both halves of a hairpin.
        let frame = if hairpin { frame } else { self.age(view, frame, now)? };
        let Some((egress, next_hop)) = view.inward(to.addr) else {
            return Err(self.ended(DropReason::NoRoute));
        };
        let mut frame = self.fit(view, frame, egress, now)?;
        translate(&mut frame, End::Source, (to.addr, to.port), to.addr);
        Ok(self.tell(view, frame, (egress, next_hop), now))
    }

    /// An error from inside for the one whose packet is quoted, who knows the inside host by its place on the WAN.
    pub(super) fn told_outside(&mut self, view: &View, frame: Frame<B>, about: &Tuple, now: Nanos) -> Way {
        let found = self.nat.quoted_from_outside(about, &view.uplinks, now);
        let to = found.map_err(|reason| self.ended(reason))?;
        let mut frame = self.age(view, frame, now)?;
        let (src, dst) = (frame.ip.src, frame.ip.dst);
        let own = view.place(dst).own;
        if let Some(wan) = own.and_then(|iface| view.ifaces[iface.index()].wan) {
            // Hairpinned (RFC 5508 5): who is to be told is inside as well. From here on it is as if it came from the WAN.
            translate(&mut frame, End::Destination, (to.addr, to.port), to.addr);
            return self.turn_round(view, frame, wan);
        }
        let Some(link) = view.wans.get(to.wan.index()) else {
            return Err(self.ended(DropReason::IcmpErrorNoSession));
        };
        let next_hop = view.next_hop(link, dst);
        let error = Tuple { protocol: protocol::ICMP, src, src_port: 0, dst, dst_port: 0 };
        // Who goes untranslated speaks for itself, about what does as well.
        let plain = to.addr == about.src && view.rules.statics.plain(frame.ingress, &error);
        let mut frame = self.fit(view, frame, link.iface, now)?;
        translate(&mut frame, End::Destination, (to.addr, to.port), if plain { src } else { to.addr });
        Ok(self.tell(view, frame, (link.iface, next_hop), now))
    }

    fn tell(
        &mut self,
        view: &View,
        frame: Frame<B>,
        (egress, next_hop): (IfaceId, Ipv4Addr),
        now: Nanos,
    ) -> Verdict {
        self.counters.add(Stat::IcmpErrorsTranslated, 1);
        // Should the next hop not answer: no error is made about an error, so nobody asks what it was.
        let origin = hold::Origin::of(&frame, None);
        self.resolve(view, egress, next_hop, frame.buf, Some(origin), now)
    }
}
