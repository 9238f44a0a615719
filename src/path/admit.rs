//! Admission: is this a frame for the router, and is it whole? The checks of RFC 1812 5.2.2 in their order, each with its counter.
//! What passes is a `Frame`, whose headers need not be checked again.

use super::View;
use crate::base::{IfaceId, Mac};
use crate::packet::{DropReason, Frame, PacketBuf, Transport, tag};
use crate::wire::arp::Arp;
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::{self, Ipv4, Ipv4Error, Options};
use crate::wire::tcp::{self, Tcp};
use crate::wire::udp::{self, Udp};
use crate::wire::{be16, protocol, vlan};

/// What was let in.
#[derive(Debug)]
pub enum Admitted<B> {
    /// An IPv4 packet
    Ip(Frame<B>),
    /// An ARP message
    Arp(B, Arp),
}

/// Checks a frame from the wire. It is cut to the length that its IP header names.
///
/// # Errors
/// The first check that fails.
#[inline]
pub fn admit<B: PacketBuf>(view: &View, ingress: IfaceId, mut buf: B) -> Result<Admitted<B>, DropReason> {
    let bytes = buf.bytes();
    let eth = Eth::parse(bytes).ok_or(DropReason::EthTruncated)?;
    let port = &view.ifaces[ingress.index()];
    let own = |mac: Mac| mac == port.mac || mac == port.station;
    if !own(eth.dst) && eth.dst != port.former && !eth.dst.is_group() {
        return Err(DropReason::EthNotForUs);
    }
    // While both members of a pair are active the partner hands over from the virtual MAC that is this one's as well.
    let partner = || port.floating.is_some() && eth.src == port.mac && eth.dst == port.station;
    if !eth.src.is_unicast() || (own(eth.src) && !partner()) {
        return Err(DropReason::EthSource);
    }
    match eth.ethertype {
        ethertype::IPV4 => {}
        ethertype::ARP if own(eth.dst) || eth.dst == Mac::BROADCAST => {
            let arp = Arp::parse(&bytes[eth::LEN..]).ok_or(DropReason::ArpMalformed)?;
            return Ok(Admitted::Arp(buf, arp));
        }
        ethertype::ARP => return Err(DropReason::ArpMalformed),
        ethertype::VLAN => return untagged(view, ingress, buf),
        ethertype::QINQ => return Err(DropReason::Vlan),
        ethertype::IPV6 => return Err(DropReason::Ipv6),
        _ => return Err(DropReason::EthType),
    }
    let packet = &bytes[eth::LEN..];
    let ip = Ipv4::parse_verified(packet, buf.ip_checksum()).map_err(|e| match e {
        Ipv4Error::Truncated => DropReason::Ipv4Truncated,
        Ipv4Error::Checksum => DropReason::Ipv4Checksum,
        Ipv4Error::Version => DropReason::Ipv4Version,
        Ipv4Error::HeaderLength => DropReason::Ipv4HeaderLength,
        Ipv4Error::TotalLength => DropReason::Ipv4TotalLength,
    })?;
    let header_len = usize::from(ip.header_len);
    if header_len > ipv4::MIN_LEN {
        match ipv4::options(packet.get(ipv4::MIN_LEN..header_len).unwrap_or_default()) {
            Options::Plain => {}
            Options::SourceRoute => return Err(DropReason::Ipv4SourceRoute),
            Options::Malformed => return Err(DropReason::Ipv4OptionMalformed),
        }
    }
    let payload = packet.get(header_len..usize::from(ip.total_len)).unwrap_or_default();
    let transport = if ip.is_fragment() {
        fragment(&ip, payload)?
    } else {
        transport(&ip, payload).ok_or(DropReason::TransportMalformed)?
    };
    // Padding is not part of the packet. Cutting never fails.
    let _ = buf.resize(eth::LEN + usize::from(ip.total_len));
    Ok(Admitted::Ip(Frame { buf, ingress, link_group: eth.dst.is_group(), ip, transport }))
}

/// A frame with a tag that only tells a priority is one without (IEEE 802.1Q 6.9): but not with a second tag.
#[cold]
fn untagged<B: PacketBuf>(view: &View, ingress: IfaceId, mut buf: B) -> Result<Admitted<B>, DropReason> {
    let popped = vlan::read(buf.bytes()) == Some(vlan::PRIORITY) && tag::pop(&mut buf).is_some();
    let next = Eth::parse(buf.bytes()).map(|eth| eth.ethertype);
    if !popped || next == Some(ethertype::VLAN) {
        return Err(DropReason::Vlan);
    }
    admit(view, ingress, buf)
}

#[inline(always)]
fn transport(ip: &Ipv4, payload: &[u8]) -> Option<Transport> {
    match ip.protocol {
        protocol::UDP => Udp::parse(payload).map(|u| Transport::Udp { src: u.src, dst: u.dst }),
        protocol::TCP => Tcp::parse(payload).map(Transport::Tcp),
        protocol::ICMP => Icmp::parse(payload).map(Transport::Icmp),
        _ => Some(Transport::Other),
    }
}

/// A fragment that can be one (RFC 791 3.2), and its transport header if it is the first: what the header says of what follows
/// it may be in fragments to come. A first one without its whole TCP header, or a second one that reaches into it, is meant
/// to slip past a filter (RFC 1858, RFC 3128 2.1).
#[cold]
fn fragment(ip: &Ipv4, payload: &[u8]) -> Result<Transport, DropReason> {
    let end = usize::from(ip.header_len) + usize::from(ip.fragment_offset) + payload.len();
    let aligned = !ip.more_fragments || payload.len().is_multiple_of(8);
    if payload.is_empty() || !aligned || end > usize::from(u16::MAX) {
        return Err(DropReason::FragmentMalformed);
    }
    let tiny = DropReason::FragmentTiny;
    if ip.fragment_offset != 0 {
        let reaches_in = ip.protocol == protocol::TCP && usize::from(ip.fragment_offset) < tcp::MIN_LEN;
        return if reaches_in { Err(tiny) } else { Ok(Transport::Other) };
    }
    match ip.protocol {
        protocol::UDP => {
            let h = payload.first_chunk::<{ udp::LEN }>().ok_or(tiny)?;
            let whole = usize::from(be16(h, 4)) >= udp::LEN;
            let ports = Transport::Udp { src: be16(h, 0), dst: be16(h, 2) };
            whole.then_some(ports).ok_or(DropReason::TransportMalformed)
        }
        protocol::TCP => {
            let tcp = payload.first_chunk().map(Tcp::read).ok_or(tiny)?;
            let whole = usize::from(tcp.header_len) >= tcp::MIN_LEN;
            whole.then_some(Transport::Tcp(tcp)).ok_or(DropReason::TransportMalformed)
        }
        protocol::ICMP => Icmp::parse(payload).map(Transport::Icmp).ok_or(tiny),
        _ => Ok(Transport::Other),
    }
}
