//! The bytes of one header each, in the order of the network.
//!
//! A header is read once by its `parse`, which checks lengths and gives a plain value; writing goes to arrays of known
//! size. So nothing here panics, whatever the bytes. What a value means is not judged here but in `path::admit`.
//! RFC 826 (ARP), RFC 1035 (DNS), RFC 791 (IPv4), RFC 792 (ICMP), RFC 768 (UDP), RFC 9293 (TCP), RFC 1624 (checksum updates), IEEE 802.1Q (VLAN tags).
#![forbid(unsafe_code)]

pub mod arp;
pub mod bfd;
pub mod checksum;
pub mod dns;
pub mod eth;
pub mod fragment;
pub mod icmp;
pub mod ipv4;
pub mod record;
pub mod tcp;
pub mod udp;
pub mod vlan;

/// IP protocol numbers that the router knows.
pub mod protocol {
    /// RFC 792
    pub const ICMP: u8 = 1;
    /// RFC 9293
    pub const TCP: u8 = 6;
    /// RFC 768
    pub const UDP: u8 = 17;
}

/// Reads a 16-bit field; 0 past the end.
#[inline(always)]
pub fn be16(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(b) => u16::from_be_bytes([b[0], b[1]]),
        None => 0,
    }
}

/// Reads a 32-bit field; 0 past the end.
#[inline(always)]
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(b) => u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
        None => 0,
    }
}

/// Writes a 16-bit field; nothing past the end.
#[inline(always)]
pub fn put16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(b) = bytes.get_mut(at..at + 2) {
        b.copy_from_slice(&value.to_be_bytes());
    }
}

macro_rules! little_endian {
    ($($int:ident $read:ident $write:ident;)*) => { $(
        /// Reads a field as it lies, little-endian; 0 past the end.
        #[inline(always)]
        pub fn $read<const N: usize>(bytes: &[u8; N], at: usize) -> $int {
            match bytes.get(at..).and_then(|b| b.first_chunk()) {
                Some(b) => $int::from_le_bytes(*b),
                None => 0,
            }
        }
        /// Writes a field as `
        #[doc = stringify!($read)]
        /// ` reads it; nothing past the end.
        #[inline(always)]
        pub fn $write<const N: usize>(bytes: &mut [u8; N], at: usize, value: $int) {
            if let Some(b) = bytes.get_mut(at..).and_then(|b| b.first_chunk_mut()) {
                *b = value.to_le_bytes();
            }
        }
    )* };
}

little_endian! {
    u16 le16 put_le16;
    u32 le32 put_le32;
    u64 le64 put_le64;
}
