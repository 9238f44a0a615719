//! The VLAN tag (IEEE 802.1Q): four bytes between the addresses of a frame and its type.

use super::be16;
use super::eth::{self, ethertype};

/// Length of a tag: its type and the control information.
pub const LEN: usize = 4;
/// Where it stands: after both addresses.
pub const AT: usize = eth::LEN - 2;
/// The tag of no VLAN, which only tells a priority.
pub const PRIORITY: u16 = 0;
/// The least and the greatest VLAN.
pub const RANGE: std::ops::RangeInclusive<u16> = 1..=4094;

/// The VLAN of a frame with an 802.1Q tag, 0 to 4095; `None` for every other frame.
#[inline]
pub fn read(frame: &[u8]) -> Option<u16> {
    let whole = frame.len() >= eth::LEN + LEN;
    (whole && be16(frame, AT) == ethertype::VLAN).then(|| be16(frame, AT + 2) & 0xfff)
}

/// The tag of a VLAN, at the lowest priority.
pub fn tag(vlan: u16) -> [u8; LEN] {
    let ([a, b], [c, d]) = (ethertype::VLAN.to_be_bytes(), (vlan & 0xfff).to_be_bytes());
    [a, b, c, d]
}
