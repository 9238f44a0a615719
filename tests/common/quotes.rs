//! Flows of every protocol as both sides see them, and ICMP errors about their packets: made from scratch, so that what a
//! translated error must look like is known to the byte.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::Ipv4Addr;

use super::common::*;
use turnout::wire::icmp;

/// Somebody on the way, who is neither end.
pub const Q: Ipv4Addr = Ipv4Addr::new(100, 64, 7, 7);
/// What a site counts in which flows were opened and errors translated.
pub const TOLD: [&str; 3] = ["sessions_created", "mappings_created", "icmp_errors_translated"];

/// UDP, TCP, echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Udp,
    Tcp,
    Echo,
}

pub const KINDS: [Kind; 3] = [Kind::Udp, Kind::Tcp, Kind::Echo];

/// A flow that was opened from inside.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub kind: Kind,
    pub inside: End,
    pub outside: End,
    pub remote: End,
    /// The WAN's link
    pub link: &'static str,
}

impl Flow {
    /// Opens a flow; the router knows both ends afterwards.
    pub fn open(site: &mut Site, kind: Kind, inside: End, remote: End) -> Flow {
        let mut flow = Flow { kind, inside, outside: inside, remote, link: "isp1" };
        if kind == Kind::Tcp {
            flow.outside = connect(site, inside, remote).1;
        } else {
            let (link, seen) = site.pass("lan", &flow.out(inside, b"first")).unwrap();
            assert_eq!(link, "isp1");
            flow.outside = seen.src();
            assert!(flow.works(site));
        }
        flow
    }

    /// Its packet to the remote, from the host itself or from its place on the WAN.
    pub fn out(&self, from: End, data: &[u8]) -> Packet {
        match self.kind {
            Kind::Udp => Packet::udp(from, self.remote, data),
            Kind::Tcp => Packet::tcp(from, self.remote, ACK, 0x0102_0304, 0x0506_0708, data),
            Kind::Echo => Packet::icmp(from.0, self.remote.0, 8, 0, from.1, 9, data),
        }
    }

    /// Its packet from the remote.
    pub fn back(&self, to: End, data: &[u8]) -> Packet {
        match self.kind {
            Kind::Udp => Packet::udp(self.remote, to, data),
            Kind::Tcp => Packet::tcp(self.remote, to, ACK, 0x0506_0708, 0x0102_0304, data),
            Kind::Echo => Packet::icmp(self.remote.0, to.0, 0, 0, to.1, 9, data),
        }
    }

    /// Whether a packet from the remote still comes home.
    pub fn works(&self, site: &mut Site) -> bool {
        let came = site.pass(self.link, &self.back(self.outside, b"still there"));
        came.is_some_and(|(link, seen)| link == "lan" && seen.dst() == self.inside)
    }

    /// An error from outside about what the flow sent: as it comes, and as the host must get it.
    pub fn told_inside(&self, from: Ipv4Addr, says: Says, data: &[u8], quote: &Quoting) -> (Packet, Vec<u8>) {
        let came = says.packet(from, self.outside.0, &quote.bytes(&self.out(self.outside, data)));
        let told = says.packet(from, self.inside.0, &quote.bytes(&self.out(self.inside, data)));
        (came, told.payload)
    }

    /// An error from inside about what the flow got: as it comes, and as the remote must get it.
    pub fn told_outside(
        &self,
        from: Ipv4Addr,
        says: Says,
        data: &[u8],
        quote: &Quoting,
    ) -> (Packet, Vec<u8>) {
        let came = says.packet(from, self.remote.0, &quote.bytes(&self.back(self.inside, data)));
        let told = says.packet(self.outside.0, self.remote.0, &quote.bytes(&self.back(self.outside, data)));
        (came, told.payload)
    }
}

/// What an error says: type, code, the second word of its header.
#[derive(Clone, Copy, Debug)]
pub struct Says(pub u8, pub u8, pub u32);

/// Port unreachable.
pub const PORT: Says = Says(3, 3, 0);

impl Says {
    pub fn packet(self, from: Ipv4Addr, to: Ipv4Addr, data: &[u8]) -> Packet {
        Packet::icmp(from, to, self.0, self.1, (self.2 >> 16) as u16, self.2 as u16, data)
    }
}

/// How a packet is quoted.
#[derive(Clone, Debug, Default)]
pub struct Quoting {
    /// IP options, a multiple of four bytes
    pub options: Vec<u8>,
    /// So much of what follows the IP header; all if there is less
    pub cut: Option<usize>,
    /// After that: zeros up to so many bytes in all, and then this
    pub padded: Option<(usize, Vec<u8>)>,
}

impl Quoting {
    /// The IP packet's bytes, all of its checksums right, then cut and padded.
    pub fn bytes(&self, packet: &Packet) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        packet.ip.emit(&mut bytes);
        bytes.extend_from_slice(&self.options);
        let length = bytes.len();
        bytes[0] = 0x40 | (length / 4) as u8;
        put16(&mut bytes, 2, (length + packet.payload.len()) as u16);
        put16(&mut bytes, 10, 0);
        let sum = checksum::internet(&bytes);
        put16(&mut bytes, 10, sum);
        bytes.extend_from_slice(&packet.payload);
        bytes.truncate(length + self.cut.unwrap_or(usize::MAX - length));
        if let Some((to, rest)) = &self.padded {
            bytes.resize(bytes.len().max(*to), 0);
            bytes.extend_from_slice(rest);
        }
        bytes
    }
}

/// Everything, as it was.
pub fn whole() -> Quoting {
    Quoting::default()
}

/// The least that RFC 792 asks for.
pub fn eight() -> Quoting {
    Quoting { cut: Some(8), ..Quoting::default() }
}

/// Sets the checksum of an ICMP message right.
pub fn mend_icmp(packet: &mut Packet) {
    put16(&mut packet.payload, icmp::CHECKSUM, 0);
    let sum = checksum::internet(&packet.payload);
    put16(&mut packet.payload, icmp::CHECKSUM, sum);
}
