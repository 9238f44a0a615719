//! The UDP header (RFC 768).

use super::be16;

/// Length of the header.
pub const LEN: usize = 8;
/// Where the checksum stands.
pub const CHECKSUM: usize = 6;

/// The fields that the router reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source port
    pub src: u16,
    /// Destination port
    pub dst: u16,
    /// Bytes of header and payload, at most those of the IP payload
    pub length: u16,
}

impl Udp {
    /// Reads the header at the start of an IP payload. `None` if it is cut off or its length is impossible.
    #[inline(always)]
    pub fn parse(segment: &[u8]) -> Option<Udp> {
        let h = segment.first_chunk::<LEN>()?;
        let length = be16(h, 4);
        let fits = usize::from(length) >= LEN && usize::from(length) <= segment.len();
        fits.then_some(Udp { src: be16(h, 0), dst: be16(h, 2), length })
    }
}
