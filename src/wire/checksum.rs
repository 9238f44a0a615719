//! The internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3).
//!
//! A `Delta` is what a rewrite adds to a checksum's complement: collected once for a set of fields, applied to any
//! number of headers. Equation 3 never turns a right checksum into the wrong zero (`rfc1624_1_*` below).

use std::net::Ipv4Addr;

use super::protocol;

/// What a NIC says of a checksum that it may have verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verified {
    /// Nothing: it is up to software.
    #[default]
    Unknown,
    /// It holds.
    Good,
    /// It does not.
    Bad,
}

/// Folds carries until 16 bits are left.
#[inline(always)]
pub const fn fold(mut sum: u32) -> u16 {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// What a rewrite adds to a checksum's complement, in the byte order of the wire, which a one's complement sum does not
/// mind (RFC 1071 2 B): fields and checksums are taken and put as they lie there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawDelta(u16);

impl RawDelta {
    /// Of a rewrite that changes nothing.
    pub const NONE: RawDelta = RawDelta(0);
    /// With a word that changes from `old` to `new`.
    #[inline(always)]
    pub const fn word(self, old: u16, new: u16) -> RawDelta {
        RawDelta(fold(self.0 as u32 + !old as u32 + new as u32))
    }

    /// With an address that changes.
    #[inline(always)]
    pub const fn addr(self, old: u32, new: u32) -> RawDelta {
        let old = !old;
        RawDelta(fold(self.0 as u32 + (old & 0xffff) + (old >> 16) + (new & 0xffff) + (new >> 16)))
    }

    /// Of the way back if `flip` is all ones, the same if it is 0.
    #[inline(always)]
    pub const fn flipped(self, flip: u16) -> RawDelta {
        RawDelta(self.0 ^ flip)
    }

    /// The checksum after the change (RFC 1624, equation 3).
    #[inline(always)]
    pub const fn apply(self, sum: u16) -> u16 {
        !plus(!sum, self.0)
    }

    /// As `apply`, for an IP header whose TTL becomes one less as well.
    #[inline(always)]
    pub const fn apply_aged(self, sum: u16) -> u16 {
        // The word of TTL and protocol becomes one less, as it lies there.
        let (sum, borrow) = 1u16.overflowing_sub(plus(!sum, self.0));
        sum.wrapping_sub(borrow as u16)
    }

    /// As `apply`, for UDP: 0 means that there is no checksum, and stays (RFC 768).
    #[inline(always)]
    pub const fn apply_udp(self, sum: u16) -> u16 {
        if sum == 0 {
            return 0;
        }
        let sum = self.apply(sum);
        sum.wrapping_sub((sum == 0) as u16)
    }
}

/// The one's complement sum of two words.
#[inline(always)]
const fn plus(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    // No overflow: with a carry the sum is below 0xffff.
    sum.wrapping_add(carry as u16)
}

/// Whether 20 bytes with their checksum in them add up, an IP header's without options: the first eight, the next eight and the last
/// four of them, in any byte order; not all of them 0.
#[inline(always)]
pub const fn adds_up(a: u64, b: u64, c: u32) -> bool {
    // 2^16 is 1 modulo 0xffff. So words of any width add up to a multiple of 0xffff, end-around carries included, if those of two
    // bytes do (RFC 1071). And n * 0xffff, times this, is -n modulo 2^64, for which no other number is near enough to 0.
    const ONES: u64 = u64::MAX / 0xffff;
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(c as u64 + first as u64);
    sum.wrapping_add(second as u64).wrapping_mul(ONES).wrapping_neg() <= ONES
}

/// One's complement sum of `bytes`, an odd last byte padded with zero. Up to 128 KiB.
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0u64;
    let mut words = bytes.chunks_exact(4);
    for w in &mut words {
        total += u64::from(u32::from_be_bytes([w[0], w[1], w[2], w[3]]));
    }
    for pair in words.remainder().chunks(2) {
        total += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + ((total >> 16) & 0xffff) + (total >> 32);
    fold(total as u32)
}

/// The checksum to be put into a header whose checksum field is zero.
pub fn internet(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// Whether `bytes` with their checksum in them add up.
pub fn holds(bytes: &[u8]) -> bool {
    sum(bytes) == 0xffff
}

/// The sum over the pseudo header of TCP and UDP (RFC 9293 3.1, RFC 768).
pub fn pseudo(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, length: u16) -> u16 {
    let (s, d) = (src.to_bits(), dst.to_bits());
    let total = (s >> 16) + (s & 0xffff) + (d >> 16) + (d & 0xffff) + u32::from(protocol) + u32::from(length);
    fold(total)
}

/// The checksum of a TCP or UDP segment whose checksum field is zero. UDP's zero is written as `0xffff` (RFC 768).
pub fn transport(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let sum = !fold(u32::from(sum(segment)) + u32::from(pseudo(src, dst, protocol, length)));
    if protocol == protocol::UDP && sum == 0 { 0xffff } else { sum }
}

/// What changes of fields add to a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u32);

impl Delta {
    /// Nothing changed.
    pub const NONE: Delta = Delta(0);

    /// Also: a 16-bit field goes from `old` to `new`. At most 30 000 changes in one delta.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, old: u16, new: u16) -> Delta {
        Delta(self.0 + (!old) as u32 + new as u32)
    }

    /// Also: an address goes from `old` to `new`.
    #[inline(always)]
    #[must_use]
    pub const fn addr(self, old: Ipv4Addr, new: Ipv4Addr) -> Delta {
        let (o, n) = (old.to_bits(), new.to_bits());
        self.word((o >> 16) as u16, (n >> 16) as u16).word(o as u16, n as u16)
    }

    /// The checksum after the change: HC' = ~(~HC + ~m + m').
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold((!checksum) as u32 + fold(self.0) as u32)
    }

    /// As `apply` for UDP: 0 means that there is none and stays, a computed 0 is sent as `0xffff` (RFC 768).
    #[inline(always)]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            sum => sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(word: u16) -> [u8; 20] {
        let mut h = [0x45, 0, 0, 60, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 9, 9, 9, 9];
        h[4..6].copy_from_slice(&word.to_be_bytes());
        h
    }

    #[test]
    fn rfc1624_1_incremental_equals_recomputed_near_zero_and_all_ones() {
        let near: Vec<u16> = (0..=64).chain(0xffbf..=0xffff).chain(0x7ff0..=0x800f).collect();
        for &old in &near {
            for &new in &near {
                let before = internet(&header(old));
                assert_eq!(
                    Delta::NONE.word(old, new).apply(before),
                    internet(&header(new)),
                    "{old:x} {new:x}"
                );
            }
        }
    }

    #[test]
    fn rfc1624_1_as_it_lies_on_the_wire_every_checksum_is_what_equation_3_says() {
        let swapped = |word: u16| word.swap_bytes();
        for (old, new) in
            [(0, 0), (0, 0xffff), (0xffff, 0), (0x1234, 0xfedc), (1, 2), (2, 1), (0x00ff, 0xff00)]
        {
            let raw = RawDelta::NONE.word(swapped(old), swapped(new));
            let delta = Delta::NONE.word(old, new);
            let aged = delta.word(0x4011, 0x3f11);
            // 0 and 0xffff are the same number.
            let same = |a: u16, b: u16| a == b || (a == 0 || a == 0xffff) && (b == 0 || b == 0xffff);
            for sum in 0..=u16::MAX {
                let lies = swapped(sum);
                assert!(same(swapped(raw.apply(lies)), delta.apply(sum)), "{old:x} {new:x} {sum:x}");
                assert!(same(swapped(raw.apply_aged(lies)), aged.apply(sum)), "{old:x} {new:x} {sum:x}");
                assert_eq!(raw.apply_udp(lies) == 0, sum == 0);
                assert!(same(swapped(raw.apply_udp(lies)), delta.apply_udp(sum)));
                assert_eq!(raw.flipped(0), raw);
            }
        }
    }

    proptest! {
        #[test]
        fn rfc1624_1_incremental_equals_recomputed(old: u16, new: u16, a: u32, b: u32) {
            let (a, b) = (Ipv4Addr::from_bits(a), Ipv4Addr::from_bits(b));
            let mut h = header(old);
            h[12..16].copy_from_slice(&a.octets());
            let before = internet(&h);
            h[4..6].copy_from_slice(&new.to_be_bytes());
            h[12..16].copy_from_slice(&b.octets());
            prop_assert_eq!(Delta::NONE.word(old, new).addr(a, b).apply(before), internet(&h));
        }

        #[test]
        fn sum_equals_the_plain_definition(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut total = 0u32;
            for pair in bytes.chunks(2) {
                total += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
            }
            prop_assert_eq!(sum(&bytes), fold(total));
        }

        #[test]
        fn twenty_bytes_add_up_as_words_of_any_width(mut h: [u8; 20], put: bool, off in -1i32..=1) {
            if put {
                h[10..12].fill(0);
                let sum = (i32::from(internet(&h)) + off) as u16;
                h[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            let word = |at: usize| u64::from_ne_bytes(h[at..at + 8].try_into().unwrap());
            let last = u32::from_ne_bytes(h[16..].try_into().unwrap());
            prop_assert_eq!(adds_up(word(0), word(8), last), h == [0; 20] || holds(&h));
        }

        #[test]
        fn rfc768_2_a_computed_zero_is_sent_as_all_ones(old: u16, new: u16, sum in 1u16..) {
            prop_assert_ne!(Delta::NONE.word(old, new).apply_udp(sum), 0);
        }

        #[test]
        fn rfc768_1_no_checksum_stays_none(old: u16, new: u16) {
            prop_assert_eq!(Delta::NONE.word(old, new).apply_udp(0), 0);
        }
    }
}
