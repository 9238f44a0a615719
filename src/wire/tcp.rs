//! The TCP header (RFC 9293 3.1).

use super::{be16, be32};

/// Length without options.
pub const MIN_LEN: usize = 20;
/// Where the checksum stands.
pub const CHECKSUM: usize = 16;

/// The control bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers
    pub const SYN: u8 = 0x02;
    /// Reset the connection
    pub const RST: u8 = 0x04;
    /// The acknowledgement field counts
    pub const ACK: u8 = 0x10;

    /// FIN
    pub const fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
    /// SYN, with or without ACK
    pub const fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }
    /// RST
    pub const fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }
    /// ACK
    pub const fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
    /// Neither SYN nor FIN nor RST: nothing that changes an established connection.
    pub const fn is_plain(self) -> bool {
        self.0 & (Self::SYN | Self::FIN | Self::RST) == 0
    }
    /// The first segment of a connection: SYN and neither ACK nor RST.
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::SYN
    }
}

/// The fields that the router reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port
    pub src: u16,
    /// Destination port
    pub dst: u16,
    /// Sequence number
    pub seq: u32,
    /// Acknowledgement number; counts if ACK is set
    pub ack: u32,
    /// Bytes of the header, options included: 20 to 60
    pub header_len: u8,
    /// Control bits
    pub flags: Flags,
}

impl Tcp {
    /// Reads the header at the start of an IP payload. `None` if it is cut off or its data offset is impossible.
    #[inline(always)]
    pub fn parse(segment: &[u8]) -> Option<Tcp> {
        let tcp = Tcp::read(segment.first_chunk()?);
        let header_len = usize::from(tcp.header_len);
        (header_len >= MIN_LEN && header_len <= segment.len()).then_some(tcp)
    }

    /// The fields as they stand, nothing checked: of a first fragment, which may end before the options do.
    #[inline(always)]
    pub fn read(h: &[u8; MIN_LEN]) -> Tcp {
        Tcp {
            src: be16(h, 0),
            dst: be16(h, 2),
            seq: be32(h, 4),
            ack: be32(h, 8),
            header_len: (h[12] >> 4) * 4,
            flags: Flags(h[13]),
        }
    }

    /// Writes a header without options, data, or checksum (which is left zero). False if it does not fit.
    pub fn emit(&self, out: &mut [u8]) -> bool {
        let Some(h) = out.first_chunk_mut::<MIN_LEN>() else { return false };
        *h = [0; MIN_LEN];
        h[..2].copy_from_slice(&self.src.to_be_bytes());
        h[2..4].copy_from_slice(&self.dst.to_be_bytes());
        h[4..8].copy_from_slice(&self.seq.to_be_bytes());
        h[8..12].copy_from_slice(&self.ack.to_be_bytes());
        h[12] = 5 << 4;
        h[13] = self.flags.0;
        true
    }
}
