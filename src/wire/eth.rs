//! Ethernet II: two addresses and a type.

use crate::base::Mac;

/// Length of the header.
pub const LEN: usize = 14;
/// The shortest frame without its check sequence; shorter ones are padded by the sender.
pub const MIN_FRAME: usize = 60;

/// Values of the type field.
pub mod ethertype {
    /// RFC 894
    pub const IPV4: u16 = 0x0800;
    /// RFC 826
    pub const ARP: u16 = 0x0806;
    /// IEEE 802.1Q
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad
    pub const QINQ: u16 = 0x88a8;
    /// RFC 2464
    pub const IPV6: u16 = 0x86dd;
}

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Eth {
    /// Destination
    pub dst: Mac,
    /// Source
    pub src: Mac,
    /// See `ethertype`
    pub ethertype: u16,
}

impl Eth {
    /// Reads the header. `None` if the frame is shorter.
    #[inline(always)]
    pub fn parse(frame: &[u8]) -> Option<Eth> {
        let h = frame.first_chunk::<LEN>()?;
        Some(Eth {
            dst: Mac([h[0], h[1], h[2], h[3], h[4], h[5]]),
            src: Mac([h[6], h[7], h[8], h[9], h[10], h[11]]),
            ethertype: u16::from_be_bytes([h[12], h[13]]),
        })
    }

    /// Writes the header at the start of `frame`. False if it does not fit.
    #[inline(always)]
    pub fn emit(&self, frame: &mut [u8]) -> bool {
        let Some(h) = frame.first_chunk_mut::<LEN>() else { return false };
        h[..6].copy_from_slice(&self.dst.0);
        h[6..12].copy_from_slice(&self.src.0);
        h[12..].copy_from_slice(&self.ethertype.to_be_bytes());
        true
    }
}
