//! Packets of probes: made with right headers, and read back with every checksum held against the bytes.

use std::net::Ipv4Addr;

use super::Way;
use crate::base::Mac;
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::icmp::{self, Icmp, kind};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::udp::{self, Udp};
use crate::wire::{be16, checksum, protocol, put16};

/// The TTL of a probe that may cross routers.
pub(in crate::manage) const TTL: u8 = 64;

/// The frame of an IP payload, from one machine to another.
pub(in crate::manage) fn frame(
    macs: (Mac, Mac),
    (src, dst): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    ttl: u8,
    payload: &[u8],
) -> Vec<u8> {
    let ip = Ipv4 {
        header_len: ipv4::MIN_LEN as u8,
        tos: 0,
        total_len: (ipv4::MIN_LEN + payload.len()) as u16,
        id: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl,
        protocol,
        src,
        dst,
    };
    let mut packet = vec![0; ipv4::MIN_LEN];
    ip.emit(&mut packet);
    packet.extend_from_slice(payload);
    wrapped(macs.0, macs.1, &packet)
}

/// The frame of an IP packet.
pub(super) fn wrapped(src: Mac, dst: Mac, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; eth::LEN];
    Eth { dst, src, ethertype: ethertype::IPV4 }.emit(&mut frame);
    frame.extend_from_slice(packet);
    frame.resize(frame.len().max(eth::MIN_FRAME), 0);
    frame
}

/// An echo request.
pub(super) fn echo(way: &Way, mac: Mac, to: Ipv4Addr, place: (u16, u16), data: &[u8]) -> Vec<u8> {
    frame((way.mac, mac), (way.src, to), protocol::ICMP, TTL, &echo_message(place, data))
}

/// The message of an echo request.
pub(in crate::manage) fn echo_message((id, seq): (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut message = vec![kind::ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0];
    put16(&mut message, 4, id);
    put16(&mut message, 6, seq);
    message.extend_from_slice(data);
    let sum = checksum::internet(&message);
    put16(&mut message, icmp::CHECKSUM, sum);
    message
}

/// A UDP datagram, without its IP header.
pub(in crate::manage) fn datagram(src: Ipv4Addr, dst: Ipv4Addr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut segment = vec![0; udp::LEN];
    put16(&mut segment, 0, ports.0);
    put16(&mut segment, 2, ports.1);
    put16(&mut segment, 4, (udp::LEN + data.len()) as u16);
    segment.extend_from_slice(data);
    let sum = checksum::transport(src, dst, protocol::UDP, &segment);
    // 0 would say that there is none (RFC 768).
    put16(&mut segment, udp::CHECKSUM, if sum == 0 { 0xffff } else { sum });
    segment
}

/// A datagram.
pub(in crate::manage) fn udp(way: &Way, mac: Mac, to: Ipv4Addr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    frame((way.mac, mac), (way.src, to), protocol::UDP, TTL, &datagram(way.src, to, ports, data))
}

/// A datagram that no router forwards.
pub(super) fn udp_on_link(way: &Way, mac: Mac, to: Ipv4Addr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    frame((way.mac, mac), (way.src, to), protocol::UDP, u8::MAX, &datagram(way.src, to, ports, data))
}

/// A packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) struct Heard<'a> {
    pub(in crate::manage) from_mac: Mac,
    pub(in crate::manage) src: Ipv4Addr,
    pub(in crate::manage) dst: Ipv4Addr,
    pub(in crate::manage) ttl: u8,
    pub(in crate::manage) what: What<'a>,
}

/// What is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) enum What<'a> {
    EchoReply {
        id: u16,
        seq: u16,
        data: &'a [u8],
    },
    Udp {
        src: u16,
        dst: u16,
        data: &'a [u8],
    },
    /// The whole IP packet
    Tcp(&'a [u8]),
    Error(Error),
}

/// An ICMP error, about a packet that the router has sent from port (or identifier) `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) struct Error {
    pub(in crate::manage) kind: u8,
    pub(in crate::manage) code: u8,
    pub(in crate::manage) protocol: u8,
    pub(in crate::manage) to: Ipv4Addr,
    pub(in crate::manage) port: u16,
}

/// Reads a frame. `None`: it is nothing that answers a probe, or not whole.
pub(in crate::manage) fn read(frame: &[u8]) -> Option<Heard<'_>> {
    let eth = Eth::parse(frame).filter(|e| e.ethertype == ethertype::IPV4)?;
    let packet = frame.get(eth::LEN..)?;
    let ip = Ipv4::parse(packet).ok().filter(|ip| !ip.is_fragment())?;
    let packet = packet.get(..usize::from(ip.total_len))?;
    let payload = packet.get(usize::from(ip.header_len)..)?;
    let sums = |segment: &[u8]| {
        let length = u16::try_from(segment.len()).unwrap_or(0);
        let pseudo = checksum::pseudo(ip.src, ip.dst, ip.protocol, length);
        checksum::fold(u32::from(checksum::sum(segment)) + u32::from(pseudo)) == 0xffff
    };
    let what = match ip.protocol {
        protocol::ICMP if checksum::holds(payload) => icmp_message(payload)?,
        protocol::UDP => {
            let udp = Udp::parse(payload)?;
            let segment = payload.get(..usize::from(udp.length))?;
            let whole = be16(segment, udp::CHECKSUM) == 0 || sums(segment);
            What::Udp { src: udp.src, dst: udp.dst, data: segment.get(udp::LEN..).filter(|_| whole)? }
        }
        protocol::TCP if sums(payload) => What::Tcp(packet),
        _ => return None,
    };
    Some(Heard { from_mac: eth.src, src: ip.src, dst: ip.dst, ttl: ip.ttl, what })
}

fn icmp_message(message: &[u8]) -> Option<What<'_>> {
    let icmp = Icmp::parse(message)?;
    let data = message.get(icmp::LEN..)?;
    match icmp.kind {
        kind::ECHO_REPLY => Some(What::EchoReply { id: icmp.id, seq: icmp.seq, data }),
        kind::UNREACHABLE | kind::TIME_EXCEEDED => {
            let ip = Ipv4::read(data.first_chunk()?);
            let segment = data.get(usize::from(ip.header_len)..).filter(|s| s.len() >= 8)?;
            let port = be16(segment, if ip.protocol == protocol::ICMP { 4 } else { 0 });
            let Icmp { kind, code, .. } = icmp;
            Some(What::Error(Error { kind, code, protocol: ip.protocol, to: ip.dst, port }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

    fn way() -> Way {
        let src = Ipv4Addr::new(203, 0, 113, 2);
        Way { src, mac: Mac([2; 6]), mtu: 1500, next_hop: HOST, next_mac: Some(Mac([4; 6])), confirm: false }
    }

    #[test]
    fn a_datagram_reads_back_and_one_with_a_wrong_bit_does_not() {
        let frame = udp(&way(), Mac([4; 6]), HOST, (0xffc0, 53), b"question");
        let heard = read(&frame).unwrap();
        assert_eq!((heard.src, heard.dst, heard.ttl), (way().src, HOST, 64));
        assert_eq!(heard.what, What::Udp { src: 0xffc0, dst: 53, data: b"question" });
        for at in eth::LEN..eth::LEN + 36 {
            let mut wrong = frame.clone();
            wrong[at] ^= 1;
            assert_eq!(read(&wrong), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..120), cut in 0usize..120) {
            read(&bytes);
            let message = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &bytes].concat();
            icmp_message(&message);
            let mut frame = udp(&way(), Mac([4; 6]), HOST, (1, 2), &bytes);
            frame.truncate(cut);
            read(&frame);
        }
    }
}
