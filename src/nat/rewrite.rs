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
