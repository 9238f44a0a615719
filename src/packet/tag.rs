//! VLAN tags, put into a frame and taken out in place: only its twelve bytes of addresses move.

use super::PacketBuf;
use crate::wire::vlan::{AT, LEN, read, tag};

/// Takes the 802.1Q tag out of a frame and gives its VLAN. `None`, and nothing done, if there is none.
#[inline]
pub fn pop<B: PacketBuf>(buf: &mut B) -> Option<u16> {
    let vlan = read(buf.bytes())?;
    buf.bytes_mut().get_mut(..AT + LEN)?.copy_within(..AT, LEN);
    buf.trim(LEN).then_some(vlan)
}

/// Puts the tag of a VLAN into a frame. False, and nothing done, without room for it or without a frame.
#[must_use]
#[inline]
pub fn push<B: PacketBuf>(buf: &mut B, vlan: u16) -> bool {
    if buf.bytes().len() < AT || !buf.prepend(LEN) {
        return false;
    }
    if let Some(head) = buf.bytes_mut().first_chunk_mut::<{ AT + LEN }>() {
        head.copy_within(LEN.., 0);
        head[AT..].copy_from_slice(&tag(vlan));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::VecBuf;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_pushed_is_popped_and_the_frame_is_as_it_was(
            frame in prop::collection::vec(any::<u8>(), 0..2048), vlan in 0u16..4096,
        ) {
            let mut buf = VecBuf::new(&frame);
            let fits = push(&mut buf, vlan);
            prop_assert_eq!(fits, frame.len() >= AT);
            if fits {
                prop_assert_eq!(buf.bytes().len(), frame.len() + LEN);
                prop_assert_eq!(&buf.bytes()[..AT], &frame[..AT]);
                prop_assert_eq!(&buf.bytes()[AT..AT + LEN], &tag(vlan));
                prop_assert_eq!(&buf.bytes()[AT + LEN..], &frame[AT..]);
            }
            // Without a type behind it a tag is none.
            let tagged = frame.len() >= AT + 2;
            prop_assert_eq!(pop(&mut buf), (fits && tagged).then_some(vlan));
            if tagged {
                prop_assert_eq!(buf.bytes(), &frame[..]);
            }
        }
    }

    #[test]
    fn priority_bits_are_no_part_of_the_vlan_and_other_tags_stay() {
        let mut frame = [0u8; 64];
        frame[12..16].copy_from_slice(&[0x81, 0x00, 0xe0 | 0x10, 7]);
        assert_eq!(read(&frame), Some(7));
        frame[12..14].copy_from_slice(&[0x88, 0xa8]);
        let mut buf = VecBuf::new(&frame);
        assert_eq!((pop(&mut buf), buf.bytes()), (None, &frame[..]));
        // No headroom, no tag.
        let mut full = VecBuf::new(&frame);
        assert!(full.prepend(VecBuf::HEADROOM) && !push(&mut full, 7));
        assert_eq!(full.bytes().len(), VecBuf::HEADROOM + frame.len());
    }
}
