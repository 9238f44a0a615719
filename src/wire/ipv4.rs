//! The IPv4 header (RFC 791), read in the order of RFC 1812 5.2.2's checks.

use std::net::Ipv4Addr;

use super::checksum::Verified;
use super::{be16, checksum, put16};

/// Length without options.
pub const MIN_LEN: usize = 20;
/// Length with all options.
pub const MAX_LEN: usize = 60;

/// Why bytes are no IPv4 header. The order is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Error {
    /// Fewer than 20 bytes.
    Truncated,
    /// The checksum does not hold.
    Checksum,
    /// The version is not 4.
    Version,
    /// The header length is under 20 or beyond the packet.
    HeaderLength,
    /// The total length is under the header's or beyond the frame.
    TotalLength,
}

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Bytes, options included: 20 to 60
    pub header_len: u8,
    /// DSCP and ECN
    pub tos: u8,
    /// Bytes of header and payload
    pub total_len: u16,
    /// Identification
    pub id: u16,
    /// DF
    pub dont_fragment: bool,
    /// MF
    pub more_fragments: bool,
    /// Fragment offset in bytes
    pub fragment_offset: u16,
    /// Time to live
    pub ttl: u8,
    /// See `wire::protocol`
    pub protocol: u8,
    /// Source
    pub src: Ipv4Addr,
    /// Destination
    pub dst: Ipv4Addr,
}

impl Ipv4 {
    /// Reads and checks the header at the start of `packet`, which may be followed by padding.
    ///
    /// # Errors
    /// The first check of RFC 1812 5.2.2 that fails.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Ipv4, Ipv4Error> {
        Ipv4::parse_verified(packet, Verified::Unknown)
    }

    /// As `parse`, with the sum left out where a NIC has done it: `verified` is its result.
    ///
    /// # Errors
    /// As `parse`, in the same order.
    #[inline]
    pub fn parse_verified(packet: &[u8], verified: Verified) -> Result<Ipv4, Ipv4Error> {
        let h = packet.first_chunk::<MIN_LEN>().ok_or(Ipv4Error::Truncated)?;
        let header_len = usize::from(h[0] & 0xf) * 4;
        // The checksum covers what the length field names; where that names nothing sensible, the length is at fault.
        if h[0] >> 4 == 4 && header_len >= MIN_LEN {
            let header = packet.get(..header_len).ok_or(Ipv4Error::HeaderLength)?;
            let holds = match verified {
                Verified::Unknown => checksum::holds(header),
                Verified::Good => true,
                Verified::Bad => false,
            };
            if !holds {
                return Err(Ipv4Error::Checksum);
            }
        }
        let ip = Ipv4::read(h);
        if h[0] >> 4 != 4 {
            return Err(Ipv4Error::Version);
        }
        if header_len < MIN_LEN {
            return Err(Ipv4Error::HeaderLength);
        }
        if usize::from(ip.total_len) < header_len || usize::from(ip.total_len) > packet.len() {
            return Err(Ipv4Error::TotalLength);
        }
        Ok(ip)
    }

    /// The fields as they stand, nothing checked: for headers quoted in ICMP errors, whose packet is cut off.
    #[inline(always)]
    pub fn read(h: &[u8; MIN_LEN]) -> Ipv4 {
        let fragment = be16(h, 6);
        Ipv4 {
            header_len: (h[0] & 0xf) * 4,
            tos: h[1],
            total_len: be16(h, 2),
            id: be16(h, 4),
            dont_fragment: fragment & 0x4000 != 0,
            more_fragments: fragment & 0x2000 != 0,
            fragment_offset: (fragment & 0x1fff) * 8,
            ttl: h[8],
            protocol: h[9],
            src: Ipv4Addr::new(h[12], h[13], h[14], h[15]),
            dst: Ipv4Addr::new(h[16], h[17], h[18], h[19]),
        }
    }

    /// Writes a header without options, its checksum included. False if it does not fit.
    pub fn emit(&self, out: &mut [u8]) -> bool {
        let Some(h) = out.first_chunk_mut::<MIN_LEN>() else { return false };
        h[0] = 0x45;
        h[1] = self.tos;
        put16(h, 2, self.total_len);
        put16(h, 4, self.id);
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        put16(h, 6, flags | (self.fragment_offset / 8));
        h[8] = self.ttl;
        h[9] = self.protocol;
        put16(h, 10, 0);
        h[12..16].copy_from_slice(&self.src.octets());
        h[16..20].copy_from_slice(&self.dst.octets());
        let sum = checksum::internet(h);
        put16(h, 10, sum);
        true
    }

    /// A fragment, the first one included.
    pub fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// Which bytes of its datagram's data a fragment has: from where up to where. Of one that was admitted.
    pub fn span(&self) -> (u16, u16) {
        let data = self.total_len.saturating_sub(self.header_len.into());
        (self.fragment_offset, self.fragment_offset.saturating_add(data))
    }
}

/// What the options of a header hold that concerns a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Nothing that a router acts on.
    Plain,
    /// Loose or strict source route.
    SourceRoute,
    /// A length that is under 2 or beyond the header.
    Malformed,
}

/// Walks the options of a header (the bytes after the first 20).
pub fn options(mut rest: &[u8]) -> Options {
    while let Some((&kind, tail)) = rest.split_first() {
        match kind {
            0 => return Options::Plain,
            1 => rest = tail,
            131 | 137 => return Options::SourceRoute,
            _ => {
                let length = tail.first().copied().unwrap_or(0);
                match rest.get(usize::from(length)..) {
                    Some(next) if length >= 2 => rest = next,
                    _ => return Options::Malformed,
                }
            }
        }
    }
    Options::Plain
}

/// Takes one from the TTL of the header at the start of `packet`, which must be 1 at least, and mends its checksum.
#[inline(always)]
pub fn decrement_ttl(packet: &mut [u8]) {
    if let Some(h) = packet.first_chunk_mut::<MIN_LEN>() {
        let old = be16(h, 8);
        h[8] = h[8].saturating_sub(1);
        let sum = checksum::Delta::NONE.word(old, be16(h, 8)).apply(be16(h, 10));
        put16(h, 10, sum);
    }
}

/// Sets the TTL of the header at the start of `packet`, and mends its checksum.
pub fn set_ttl(packet: &mut [u8], ttl: u8) {
    if let Some(h) = packet.first_chunk_mut::<MIN_LEN>() {
        let old = be16(h, 8);
        h[8] = ttl;
        let sum = checksum::Delta::NONE.word(old, be16(h, 8)).apply(be16(h, 10));
        put16(h, 10, sum);
    }
}

/// Sets the identification of the header at the start of `packet`, and mends its checksum.
pub fn identify(packet: &mut [u8], id: u16) {
    if let Some(h) = packet.first_chunk_mut::<MIN_LEN>() {
        let sum = checksum::Delta::NONE.word(be16(h, 4), id).apply(be16(h, 10));
        put16(h, 4, id);
        put16(h, 10, sum);
    }
}

/// Sets both addresses of the header at the start of `packet`, and mends its checksum; nothing else changes.
pub fn readdress(packet: &mut [u8], src: Ipv4Addr, dst: Ipv4Addr) {
    if let Some(h) = packet.first_chunk_mut::<MIN_LEN>() {
        let old = Ipv4::read(h);
        let sum = checksum::Delta::NONE.addr(old.src, src).addr(old.dst, dst).apply(be16(h, 10));
        h[12..16].copy_from_slice(&src.octets());
        h[16..20].copy_from_slice(&dst.octets());
        put16(h, 10, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Ipv4 {
        Ipv4 {
            header_len: 20,
            tos: 0xb8,
            total_len: 28,
            id: 7,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: 17,
            src: Ipv4Addr::new(10, 0, 0, 1),
            dst: Ipv4Addr::new(9, 9, 9, 9),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = [0; 28];
        assert!(sample().emit(&mut bytes));
        assert_eq!(Ipv4::parse(&bytes), Ok(sample()));
    }

    #[test]
    fn every_single_bit_flip_is_noticed() {
        let mut bytes = [0; 28];
        sample().emit(&mut bytes);
        for at in 0..20 {
            for bit in 0..8 {
                let mut bad = bytes;
                bad[at] ^= 1 << bit;
                assert!(Ipv4::parse(&bad).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn a_nics_verdict_stands_for_the_sum_alone_and_in_its_place() {
        use Ipv4Error::*;
        use Verified::*;
        let mut good = [0; 28];
        assert!(sample().emit(&mut good));
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            bytes
        };
        // What Unknown, Good and Bad make of it. The changes after the first break the checksum, too.
        let cases: [(&[u8], [Option<Ipv4Error>; 3]); 8] = [
            (&good, [None, None, Some(Checksum)]),
            (&with(8, 63), [Some(Checksum), None, Some(Checksum)]),
            (&good[..19], [Some(Truncated); 3]),
            (&with(0, 0x65), [Some(Version); 3]),
            (&with(0, 0x44), [Some(HeaderLength); 3]),
            (&with(0, 0x4f), [Some(HeaderLength); 3]),
            (&with(3, 19), [Some(Checksum), Some(TotalLength), Some(Checksum)]),
            (&with(3, 29), [Some(Checksum), Some(TotalLength), Some(Checksum)]),
        ];
        for (bytes, expected) in cases {
            let got = [Unknown, Good, Bad].map(|v| Ipv4::parse_verified(bytes, v).err());
            assert_eq!(got, expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn options_are_walked_to_their_end_and_never_beyond() {
        assert_eq!(options(&[]), Options::Plain);
        assert_eq!(options(&[1, 1, 1, 0]), Options::Plain);
        assert_eq!(options(&[7, 4, 4, 0]), Options::Plain);
        assert_eq!(options(&[1, 131, 3, 4]), Options::SourceRoute);
        assert_eq!(options(&[68, 1, 0, 0]), Options::Malformed);
        assert_eq!(options(&[68, 5, 0, 0]), Options::Malformed);
        assert_eq!(options(&[1, 1, 1, 68]), Options::Malformed);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(ip) = Ipv4::parse(&bytes) {
                prop_assert!(usize::from(ip.total_len) <= bytes.len());
                prop_assert!(ip.header_len >= 20);
                let _ = options(&bytes[20..usize::from(ip.header_len)]);
            }
        }

        #[test]
        fn rfc1812_4_2_2_5_a_ttl_step_keeps_the_checksum(ttl in 1u8.., tos: u8, id: u16) {
            let mut bytes = [0; 28];
            Ipv4 { ttl, tos, id, ..sample() }.emit(&mut bytes);
            decrement_ttl(&mut bytes);
            prop_assert_eq!(Ipv4::parse(&bytes), Ok(Ipv4 { ttl: ttl - 1, tos, id, ..sample() }));
        }

        #[test]
        fn fields_that_are_set_keep_the_checksum(ttl: u8, new: u8, id: u16, other: u16, src: u32, dst: u32) {
            let (src, dst) = (Ipv4Addr::from_bits(src), Ipv4Addr::from_bits(dst));
            let mut bytes = [0; 28];
            Ipv4 { ttl, id, ..sample() }.emit(&mut bytes);
            set_ttl(&mut bytes, new);
            identify(&mut bytes, other);
            readdress(&mut bytes, src, dst);
            prop_assert_eq!(Ipv4::parse(&bytes), Ok(Ipv4 { ttl: new, id: other, src, dst, ..sample() }));
        }
    }
}
