//! Packets for simulations: made with right checksums, and read back.

use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::wire::eth::{Eth, ethertype};
use crate::wire::icmp::Icmp;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::tcp::{Flags, Tcp};
use crate::wire::udp::Udp;
use crate::wire::{be16, checksum, eth, icmp, protocol, put16, tcp, udp};

/// An endpoint: address and port.
pub type End = (Ipv4Addr, u16);

/// An IPv4 packet to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its header; lengths and checksum are set when it is sent
    pub ip: Ipv4,
    /// What follows the header
    pub payload: Vec<u8>,
}

impl Packet {
    fn new(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: Vec<u8>) -> Packet {
        let ip = Ipv4 {
            header_len: 20,
            tos: 0,
            total_len: (ipv4::MIN_LEN + payload.len()) as u16,
            id: 0x1234,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol,
            src,
            dst,
        };
        Packet { ip, payload }
    }

    fn transport(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, at: usize, mut segment: Vec<u8>) -> Packet {
        let sum = checksum::transport(src, dst, protocol, &segment);
        put16(&mut segment, at, sum);
        Packet::new(src, dst, protocol, segment)
    }

    /// A datagram.
    pub fn udp(src: End, dst: End, data: &[u8]) -> Packet {
        let mut s = vec![0; udp::LEN];
        put16(&mut s, 0, src.1);
        put16(&mut s, 2, dst.1);
        put16(&mut s, 4, (udp::LEN + data.len()) as u16);
        s.extend_from_slice(data);
        Packet::transport(src.0, dst.0, protocol::UDP, udp::CHECKSUM, s)
    }

    /// A segment.
    pub fn tcp(src: End, dst: End, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Packet {
        let mut s = vec![0; tcp::MIN_LEN];
        Tcp { src: src.1, dst: dst.1, seq, ack, header_len: 20, flags: Flags(flags) }.emit(&mut s);
        put16(&mut s, 14, 0xffff);
        s.extend_from_slice(data);
        Packet::transport(src.0, dst.0, protocol::TCP, tcp::CHECKSUM, s)
    }

    /// An ICMP message.
    pub fn icmp(src: Ipv4Addr, dst: Ipv4Addr, kind: u8, code: u8, id: u16, seq: u16, data: &[u8]) -> Packet {
        let mut m = vec![kind, code, 0, 0, 0, 0, 0, 0];
        put16(&mut m, 4, id);
        put16(&mut m, 6, seq);
        m.extend_from_slice(data);
        let sum = checksum::internet(&m);
        put16(&mut m, icmp::CHECKSUM, sum);
        Packet::new(src, dst, protocol::ICMP, m)
    }

    /// An echo request.
    pub fn ping(src: Ipv4Addr, dst: Ipv4Addr, id: u16, seq: u16) -> Packet {
        Packet::icmp(src, dst, icmp::kind::ECHO_REQUEST, 0, id, seq, b"sixteen bytes...")
    }

    /// With another TTL.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Packet {
        self.ip.ttl = ttl;
        self
    }

    /// The frame from one station to another.
    pub fn frame(&self, src: Mac, dst: Mac) -> Vec<u8> {
        let mut frame = vec![0; eth::LEN + ipv4::MIN_LEN];
        Eth { dst, src, ethertype: ethertype::IPV4 }.emit(&mut frame);
        self.ip.emit(&mut frame[eth::LEN..]);
        frame.extend_from_slice(&self.payload);
        frame.resize(frame.len().max(eth::MIN_FRAME), 0);
        frame
    }
}

/// A packet that the router sent, or was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The Ethernet header
    pub eth: Eth,
    /// The IP header
    pub ip: Ipv4,
    /// What follows it, without padding
    pub payload: Vec<u8>,
    /// The IP header's bytes
    pub header: Vec<u8>,
}

impl Seen {
    /// Reads a frame. `None` if it is no IPv4.
    pub fn read(frame: &[u8]) -> Option<Seen> {
        let eth = Eth::parse(frame).filter(|e| e.ethertype == ethertype::IPV4)?;
        let packet = &frame[eth::LEN..];
        let ip = Ipv4::parse(packet).ok()?;
        let (header, payload) = packet[..usize::from(ip.total_len)].split_at(usize::from(ip.header_len));
        Some(Seen { eth, ip, payload: payload.to_vec(), header: header.to_vec() })
    }

    /// Source address and port, or echo identifier.
    pub fn src(&self) -> End {
        (self.ip.src, be16(&self.payload, if self.ip.protocol == protocol::ICMP { 4 } else { 0 }))
    }

    /// Destination address and port, or echo identifier.
    pub fn dst(&self) -> End {
        (self.ip.dst, be16(&self.payload, if self.ip.protocol == protocol::ICMP { 4 } else { 2 }))
    }

    /// The TCP header.
    pub fn tcp(&self) -> Option<Tcp> {
        Tcp::parse(&self.payload).filter(|_| self.ip.protocol == protocol::TCP)
    }

    /// The ICMP header.
    pub fn icmp(&self) -> Option<Icmp> {
        Icmp::parse(&self.payload).filter(|_| self.ip.protocol == protocol::ICMP)
    }

    /// The packet quoted in an ICMP error: its header and the eight bytes after it at least.
    pub fn quoted(&self) -> Option<(Ipv4, Vec<u8>)> {
        let quote = self.icmp().filter(Icmp::is_error).and_then(|_| self.payload.get(icmp::LEN..))?;
        let ip = Ipv4::read(quote.first_chunk()?);
        Some((ip, quote.get(usize::from(ip.header_len)..)?.to_vec()))
    }

    /// Whether the transport checksum holds.
    pub fn checksum_holds(&self) -> bool {
        let (ip, p) = (&self.ip, &self.payload);
        match ip.protocol {
            _ if ip.is_fragment() => true,
            protocol::ICMP => checksum::holds(p),
            protocol::UDP if Udp::parse(p).is_some_and(|_| be16(p, udp::CHECKSUM) == 0) => true,
            protocol::UDP => {
                let Some(u) = Udp::parse(p) else { return false };
                let p = &p[..usize::from(u.length)];
                let sum = u32::from(checksum::sum(p))
                    + u32::from(checksum::pseudo(ip.src, ip.dst, ip.protocol, u.length));
                checksum::fold(sum) == 0xffff
            }
            protocol::TCP => {
                let length = p.len() as u16;
                let sum = u32::from(checksum::sum(p))
                    + u32::from(checksum::pseudo(ip.src, ip.dst, ip.protocol, length));
                checksum::fold(sum) == 0xffff
            }
            _ => true,
        }
    }

    /// What follows the transport header.
    pub fn data(&self) -> &[u8] {
        let skip = match self.ip.protocol {
            // Of a first fragment the options may be cut off.
            protocol::TCP => self.tcp().map_or(tcp::MIN_LEN, |t| usize::from(t.header_len)),
            protocol::UDP | protocol::ICMP => 8,
            _ => 0,
        };
        self.payload.get(skip..).unwrap_or_default()
    }
}
