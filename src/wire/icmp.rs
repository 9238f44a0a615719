//! ICMP for IPv4 (RFC 792, RFC 1191, RFC 1812 4.3).

use super::be16;

/// Length of the header of echoes and errors.
pub const LEN: usize = 8;
/// Where the checksum stands.
pub const CHECKSUM: usize = 2;

/// Values of the type field.
pub mod kind {
    /// Echo reply
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable
    pub const UNREACHABLE: u8 = 3;
    /// Source quench (RFC 6633: not sent, ignored)
    pub const SOURCE_QUENCH: u8 = 4;
    /// Redirect
    pub const REDIRECT: u8 = 5;
    /// Echo request
    pub const ECHO_REQUEST: u8 = 8;
    /// Time exceeded
    pub const TIME_EXCEEDED: u8 = 11;
    /// Parameter problem
    pub const PARAMETER_PROBLEM: u8 = 12;
}

/// Codes of destination unreachable that the router sends.
pub mod unreachable {
    /// No route
    pub const NET: u8 = 0;
    /// The next hop does not answer
    pub const HOST: u8 = 1;
    /// The router does not speak that protocol
    pub const PROTOCOL: u8 = 2;
    /// Nothing listens on that port of the router
    pub const PORT: u8 = 3;
    /// Too big for the next link and DF is set
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Refused by policy
    pub const ADMINISTRATIVELY_PROHIBITED: u8 = 13;
}

/// The header's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// See `kind`
    pub kind: u8,
    /// Meaning depends on the type
    pub code: u8,
    /// Identifier, in echoes
    pub id: u16,
    /// Sequence number in echoes; next-hop MTU in "fragmentation needed"
    pub seq: u16,
}

impl Icmp {
    /// Reads the header at the start of an IP payload. `None` if it is cut off.
    #[inline(always)]
    pub fn parse(message: &[u8]) -> Option<Icmp> {
        let h = message.first_chunk::<LEN>()?;
        Some(Icmp { kind: h[0], code: h[1], id: be16(h, 4), seq: be16(h, 6) })
    }

    /// An error message: it quotes a packet and is never answered by an error (RFC 1122 3.2.2).
    pub fn is_error(&self) -> bool {
        matches!(
            self.kind,
            kind::UNREACHABLE
                | kind::SOURCE_QUENCH
                | kind::REDIRECT
                | kind::TIME_EXCEEDED
                | kind::PARAMETER_PROBLEM
        )
    }
}
