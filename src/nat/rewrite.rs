//! Putting a translation into the bytes: address, port and checksums of one side of a packet; nothing else changes.
//!
//! Checksums are updated, never recomputed, so that a wrong one stays wrong (RFC 1624, RFC 5382 7.3). UDP without a
//! checksum stays without (RFC 768).

use std::net::Ipv4Addr;

use crate::wire::checksum::Delta;
use crate::wire::{be16, icmp, ipv4, protocol, put16, tcp, udp};

/// Which end of the packet is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Source, as from inside to outside
    Source,
    /// Destination, as from outside to inside
    Destination,
}

/// Rewrites one end of the IPv4 packet `packet`, whose transport header starts at `l4` and was checked to be whole.
#[inline(always)]
pub fn rewrite(packet: &mut [u8], l4: usize, protocol: u8, end: End, addr: Ipv4Addr, port: u16) {
    let at = if end == End::Source { 12 } else { 16 };
    let Some(header) = packet.first_chunk_mut::<{ ipv4::MIN_LEN }>() else { return };
    let old = Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    header[at..at + 4].copy_from_slice(&addr.octets());
    let delta = Delta::NONE.addr(old, addr);
    let sum = delta.apply(be16(header, 10));
    put16(header, 10, sum);
    let Some(segment) = packet.get_mut(l4..) else { return };
    match protocol {
        protocol::ICMP => {
            // No pseudo header: only the identifier counts.
            let sum = Delta::NONE.word(be16(segment, 4), port).apply(be16(segment, icmp::CHECKSUM));
            put16(segment, 4, port);
            put16(segment, icmp::CHECKSUM, sum);
        }
        protocol::UDP => {
            let at = if end == End::Source { 0 } else { 2 };
            let sum = delta.word(be16(segment, at), port).apply_udp(be16(segment, udp::CHECKSUM));
            put16(segment, at, port);
            put16(segment, udp::CHECKSUM, sum);
        }
        protocol::TCP => {
            let at = if end == End::Source { 0 } else { 2 };
            let sum = delta.word(be16(segment, at), port).apply(be16(segment, tcp::CHECKSUM));
            put16(segment, at, port);
            put16(segment, tcp::CHECKSUM, sum);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum;
    use proptest::prelude::*;

    /// A packet with options, payload and right checksums.
    fn packet(protocol: u8, options: usize, src: Ipv4Addr, dst: Ipv4Addr, data: &[u8]) -> Vec<u8> {
        let (l4, header) = (ipv4::MIN_LEN + options * 4, if protocol == protocol::TCP { 20 } else { 8 });
        let mut p = vec![1; l4 + header];
        p.extend_from_slice(data);
        let total = p.len() as u16;
        p[..ipv4::MIN_LEN]
            .copy_from_slice(&[0x45, 0, 0, 0, 1, 2, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        p[0] = 0x45 + options as u8;
        put16(&mut p, 2, total);
        p[12..16].copy_from_slice(&src.octets());
        p[16..20].copy_from_slice(&dst.octets());
        if protocol == protocol::UDP {
            put16(&mut p[l4..], 4, (header + data.len()) as u16);
        }
        sums(&mut p, l4, protocol);
        p
    }

    fn at(protocol: u8) -> usize {
        match protocol {
            protocol::UDP => udp::CHECKSUM,
            protocol::TCP => tcp::CHECKSUM,
            _ => icmp::CHECKSUM,
        }
    }

    /// Computes both checksums from scratch.
    fn sums(p: &mut [u8], l4: usize, protocol: u8) {
        put16(p, 10, 0);
        let sum = checksum::internet(&p[..l4]);
        put16(p, 10, sum);
        let src = Ipv4Addr::new(p[12], p[13], p[14], p[15]);
        let dst = Ipv4Addr::new(p[16], p[17], p[18], p[19]);
        put16(&mut p[l4..], at(protocol), 0);
        let sum = match protocol {
            protocol::ICMP => checksum::internet(&p[l4..]),
            _ => checksum::transport(src, dst, protocol, &p[l4..]),
        };
        put16(&mut p[l4..], at(protocol), sum);
    }

    fn protocols() -> impl Strategy<Value = u8> {
        prop::sample::select(vec![protocol::UDP, protocol::TCP, protocol::ICMP])
    }

    proptest! {
        #[test]
        fn a_rewrite_gives_what_computing_all_checksums_anew_gives(
            protocol in protocols(), options in 0usize..=10, src: u32, dst: u32, addr: u32, port: u16, source: bool,
            data in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let (src, dst, addr) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst), Ipv4Addr::from_bits(addr));
            let l4 = ipv4::MIN_LEN + options * 4;
            let mut p = packet(protocol, options, src, dst, &data);
            let mut expected = p.clone();
            let end = if source { End::Source } else { End::Destination };
            let (ip_at, port_at) = if source { (12, 0) } else { (16, 2) };
            expected[ip_at..ip_at + 4].copy_from_slice(&addr.octets());
            put16(&mut expected[l4..], if protocol == protocol::ICMP { 4 } else { port_at }, port);
            sums(&mut expected, l4, protocol);
            rewrite(&mut p, l4, protocol, end, addr, port);
            prop_assert_eq!(p, expected);
        }

        #[test]
        fn a_rewrite_back_gives_the_packet_and_a_wrong_checksum_stays_as_wrong_as_it_was(
            protocol in protocols(), src: u32, dst: u32, addr: u32, port: u16, source: bool, wrong in 1u16..,
            data in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let (src, dst, addr) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst), Ipv4Addr::from_bits(addr));
            let (l4, end) = (ipv4::MIN_LEN, if source { End::Source } else { End::Destination });
            let mut p = packet(protocol, 0, src, dst, &data);
            let before = p.clone();
            let old = be16(&p[l4..], if protocol == protocol::ICMP { 4 } else if source { 0 } else { 2 });
            rewrite(&mut p, l4, protocol, end, addr, port);
            rewrite(&mut p, l4, protocol, end, if source { src } else { dst }, old);
            prop_assert_eq!(&p, &before);
            let sum = be16(&p[l4..], at(protocol));
            put16(&mut p[l4..], at(protocol), wrong);
            rewrite(&mut p, l4, protocol, end, addr, port);
            let became = be16(&p[l4..], at(protocol));
            sums(&mut p, l4, protocol);
            // 0 and 0xffff are one number here.
            prop_assert_eq!(became % 0xffff == be16(&p[l4..], at(protocol)) % 0xffff, wrong % 0xffff == sum % 0xffff);
        }
    }
}
