//! The MSS clamp: a TCP connection is told at its beginning how much goes through the links on its way, so that nobody needs to
//! find out by losing packets (RFC 9293 3.7.1, RFC 4459 3.2). Only the option's value and the checksum change.

use super::{Router, View};
use crate::base::IfaceId;
use crate::packet::{Frame, PacketBuf, Stat, Transport};
use crate::wire::checksum::Delta;
use crate::wire::{be16, put16, tcp};

/// What is done to the MSS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clamp {
    /// Down to what the smaller one of the two links carries
    #[default]
    Auto,
    /// Nothing
    Never,
    /// Down to this
    To(u16),
}

/// IP and TCP headers without options.
const HEADERS: u16 = 40;

impl View {
    /// Whether the beginning of any connection may have to be changed.
    #[inline]
    pub fn clamps(&self) -> bool {
        self.clamping
    }

    /// Whether `clamps` is to say so.
    pub(super) fn find_clamping(&self) -> bool {
        match self.clamp {
            Clamp::Never => false,
            Clamp::To(_) => true,
            Clamp::Auto => self.ifaces.iter().any(|iface| iface.mtu < 1500),
        }
    }
}

impl<B: PacketBuf> Router<B> {
    /// Lowers the MSS of a segment that begins a connection to what its links carry.
    #[inline]
    pub(super) fn clamp(&mut self, view: &View, frame: &mut Frame<B>, egress: IfaceId) {
        let Transport::Tcp(segment) = frame.transport else { return };
        if !segment.flags.syn() || !view.clamps() {
            return;
        }
        let mtu = view.ifaces[egress.index()].mtu.min(view.ifaces[frame.ingress.index()].mtu);
        let most = match view.clamp {
            Clamp::To(mss) => mss.min(mtu.saturating_sub(HEADERS)),
            _ => mtu.saturating_sub(HEADERS),
        };
        let (l4, header) = (usize::from(frame.ip.header_len), usize::from(segment.header_len));
        let Some(header) = frame.packet_mut().get_mut(l4..l4 + header) else { return };
        if lower(header, most) {
            self.counters.add(Stat::MssClamped, 1);
        }
    }
}

/// Lowers the MSS option in a TCP header to `most`. False if nothing had to be done.
fn lower(header: &mut [u8], most: u16) -> bool {
    let mut at = tcp::MIN_LEN;
    while let Some(&kind) = header.get(at) {
        let length = match kind {
            0 => return false,
            1 => 1,
            _ => usize::from(header.get(at + 1).copied().unwrap_or(0)),
        };
        if kind == 2 && length == 4 && at + 4 <= header.len() {
            let old = be16(header, at + 2);
            if old <= most {
                return false;
            }
            put16(header, at + 2, most);
            // At an odd place its bytes stand in two words, the other way round each.
            let (old, new) =
                if at.is_multiple_of(2) { (old, most) } else { (old.swap_bytes(), most.swap_bytes()) };
            let sum = Delta::NONE.word(old, new).apply(be16(header, tcp::CHECKSUM));
            put16(header, tcp::CHECKSUM, sum);
            return true;
        }
        if length == 0 || (kind != 1 && length < 2) {
            return false;
        }
        at += length;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::checksum;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_options_are_walked_and_the_checksum_is_right_after(
            options in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 4, 8, 5, 180]), 0..40),
            most in 0u16..2000, ports: u32,
        ) {
            let mut header = vec![0u8; 20];
            header[..4].copy_from_slice(&ports.to_be_bytes());
            header.extend(options);
            header.resize(header.len().next_multiple_of(4), 1);
            let sum = checksum::internet(&header);
            put16(&mut header, tcp::CHECKSUM, sum);
            let before = header.clone();
            if lower(&mut header, most) {
                prop_assert!(checksum::holds(&header));
                prop_assert!(header != before && !lower(&mut header, most));
            } else {
                prop_assert_eq!(header, before);
            }
        }
    }

    #[test]
    fn the_option_is_lowered_never_raised_wherever_it_stands() {
        for pad in 0..3usize {
            let mut header = vec![0u8; 20];
            header.extend(std::iter::repeat_n(1, pad).chain([2, 4, 5, 180, 0, 0, 0]));
            assert!(!lower(&mut header.clone(), 1460));
            assert!(lower(&mut header, 1452));
            assert_eq!(be16(&header, 22 + pad), 1452);
        }
    }
}
