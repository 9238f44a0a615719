//! Cutting an IPv4 packet into fragments (RFC 791 3.2): how many there are, and what the header of each says.
//!
//! As few as possible (RFC 1812 4.2.2.7): each is as long as the link allows, in steps of 8 bytes. The first keeps all
//! options, those after it only the ones with the copy bit (RFC 791 3.1). What is a fragment already can be cut again: offsets
//! add up, and the last piece keeps the MF that was there.

use super::ipv4::{Ipv4, MAX_LEN, MIN_LEN};
use super::{checksum, put16};

/// The shortest MTU that a link may have (RFC 791 3.2): room for the longest header and 8 bytes.
pub const LEAST_MTU: u16 = 68;

/// How a packet is cut. Lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    ip: Ipv4,
    /// The options of all pieces but the first, padded
    options: [u8; MAX_LEN - MIN_LEN],
    options_len: usize,
    /// Data of the first piece
    first: usize,
    /// Data of those between
    each: usize,
    /// Data in all
    data: usize,
    pieces: usize,
}

impl Cut {
    /// How the packet at the start of `packet` is cut for a link with this MTU. `None`: it may not be cut (DF), it fits as it
    /// is, it is cut off, or the MTU has no room for 8 bytes of data.
    pub fn new(packet: &[u8], mtu: u16) -> Option<Cut> {
        let ip = Ipv4::read(packet.first_chunk()?);
        let (header, mtu) = (usize::from(ip.header_len), usize::from(mtu));
        let options = packet.get(MIN_LEN..header)?;
        let data = usize::from(ip.total_len).checked_sub(header)?;
        if ip.dont_fragment || usize::from(ip.total_len) <= mtu {
            return None;
        }
        let mut cut =
            Cut { ip, options: [0; MAX_LEN - MIN_LEN], options_len: 0, first: 0, each: 0, data, pieces: 0 };
        cut.copy(options);
        let room = mtu.checked_sub(MIN_LEN + cut.options_len)?;
        (cut.first, cut.each) = (mtu.checked_sub(header)? & !7, room & !7);
        if cut.first == 0 || cut.each == 0 {
            return None;
        }
        // The last piece is as long as it likes. Data that does not fit into a piece: one more.
        let rest = data.saturating_sub(cut.first);
        cut.pieces = 2 + rest.saturating_sub(room).div_ceil(cut.each);
        Some(cut)
    }

    /// Collects the options that every fragment has. They were walked at admission: what is malformed ends it.
    fn copy(&mut self, mut rest: &[u8]) {
        while let Some((&kind, tail)) = rest.split_first() {
            let length = match kind {
                0 => break,
                1 => 1,
                _ => usize::from(tail.first().copied().unwrap_or(0)),
            };
            let Some((option, next)) = rest.split_at_checked(length).filter(|_| length > 0) else { break };
            let to = self.options.get_mut(self.options_len..self.options_len + length);
            if let Some(to) = to.filter(|_| kind & 0x80 != 0) {
                to.copy_from_slice(option);
                self.options_len += length;
            }
            rest = next;
        }
        self.options_len = self.options_len.next_multiple_of(4);
    }

    /// How many fragments it becomes, 2 at least.
    pub fn pieces(&self) -> usize {
        self.pieces
    }

    /// The length of the first one, from the IP header on. The rest of `packet` can be cut off.
    pub fn first_len(&self) -> usize {
        usize::from(self.ip.header_len) + self.first
    }

    /// Makes the header of `packet` that of the first one.
    pub fn shorten(&self, packet: &mut [u8]) {
        let header = packet.get_mut(..usize::from(self.ip.header_len)).unwrap_or_default();
        put16(header, 2, self.first_len() as u16);
        put16(header, 6, 0x2000 | (self.ip.fragment_offset / 8));
        seal(header);
    }

    /// The length of a later one (1 up to `pieces`), from the IP header on.
    pub fn len(&self, piece: usize) -> usize {
        let (from, to) = self.span(piece);
        MIN_LEN + self.options_len + (to - from)
    }

    /// Its data, as a part of all.
    fn span(&self, piece: usize) -> (usize, usize) {
        let from = (self.first + piece.saturating_sub(1) * self.each).min(self.data);
        let to = if piece + 1 >= self.pieces { self.data } else { (from + self.each).min(self.data) };
        (from, to)
    }

    /// Writes a later one of the uncut `packet` to `out`, which is as long as `len` says. False if it is not.
    pub fn write(&self, piece: usize, packet: &[u8], out: &mut [u8]) -> bool {
        let (from, to) = self.span(piece);
        let header_len = MIN_LEN + self.options_len;
        let old = usize::from(self.ip.header_len);
        let Some(data) = packet.get(old + from..old + to) else { return false };
        let Some((header, body)) = out.split_at_mut_checked(header_len) else { return false };
        let (Some(fixed), true) = (packet.get(..MIN_LEN), body.len() == data.len()) else { return false };
        header[..MIN_LEN].copy_from_slice(fixed);
        header[MIN_LEN..].copy_from_slice(&self.options[..self.options_len]);
        header[0] = 0x40 | (header_len / 4) as u8;
        put16(header, 2, (header_len + data.len()) as u16);
        let more = piece + 1 < self.pieces || self.ip.more_fragments;
        let offset = usize::from(self.ip.fragment_offset) + from;
        put16(header, 6, u16::from(more) << 13 | (offset / 8) as u16);
        seal(header);
        body.copy_from_slice(data);
        true
    }
}

/// Sets a header's checksum.
fn seal(header: &mut [u8]) {
    put16(header, 10, 0);
    let sum = checksum::internet(header);
    put16(header, 10, sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::be16;
    use proptest::prelude::*;

    fn packet(options: &[u8], data: usize, offset: u16, more: bool) -> Vec<u8> {
        let header = MIN_LEN + options.len();
        let mut p = vec![0; MIN_LEN];
        p[..10].copy_from_slice(&[0x40 | (header / 4) as u8, 0xb8, 0, 0, 7, 7, 0, 0, 64, 17]);
        p[12..20].copy_from_slice(&[10, 0, 0, 1, 9, 9, 9, 9]);
        put16(&mut p, 2, (header + data) as u16);
        put16(&mut p, 6, u16::from(more) << 13 | (offset / 8));
        p.extend_from_slice(options);
        seal(&mut p);
        p.extend((0..data).map(|n| (n * 7 + n / 256) as u8));
        p
    }

    fn pieces(p: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let Some(cut) = Cut::new(p, mtu) else { return vec![p.to_vec()] };
        let mut first = p[..cut.first_len()].to_vec();
        cut.shorten(&mut first);
        let later = (1..cut.pieces()).map(|n| {
            let mut out = vec![0; cut.len(n)];
            assert!(cut.write(n, p, &mut out));
            out
        });
        std::iter::once(first).chain(later).collect()
    }

    /// Copied: router alert. Not copied: timestamp, no-operation, record route.
    fn options() -> impl Strategy<Value = Vec<u8>> {
        let all =
            vec![vec![0x94, 4, 0, 0], vec![68, 8, 5, 0, 1, 2, 3, 4], vec![1], vec![7, 7, 4, 0, 0, 0, 0]];
        prop::collection::vec(prop::sample::select(all), 0..5).prop_map(|all| {
            let mut bytes = all.concat();
            bytes.resize(bytes.len().next_multiple_of(4).min(40), 0);
            bytes
        })
    }

    proptest! {
        #[test]
        fn rfc1812_4_2_2_7a_and_rfc1812_4_2_2_7b_and_rfc1812_frag_opt_and_rfc1812_frag_re_fragments_are_the_packet(
            options in options(), data in 0usize..2000, mtu in LEAST_MTU..1600, offset in 0u16..1000, more: bool,
        ) {
            let data = if more { data & !7 } else { data };
            let p = packet(&options, data, offset * 8, more);
            let whole = &p[MIN_LEN + options.len()..];
            let all = pieces(&p, mtu);
            let (mut at, mut room_left) = (0, false);
            for (n, piece) in all.iter().enumerate() {
                let ip = Ipv4::parse(piece).unwrap();
                let body = &piece[usize::from(ip.header_len)..];
                prop_assert!(piece.len() <= usize::from(mtu) && piece.len() == usize::from(ip.total_len));
                prop_assert_eq!(usize::from(ip.fragment_offset), usize::from(offset) * 8 + at);
                prop_assert_eq!(body, &whole[at..at + body.len()]);
                let last = n + 1 == all.len();
                prop_assert!(last || body.len() % 8 == 0);
                prop_assert_eq!(ip.more_fragments, !last || more);
                prop_assert_eq!((ip.tos, ip.id, ip.ttl, ip.protocol), (0xb8, 0x0707, 64, 17));
                // as few as can be: no piece but the last could have taken 8 bytes more
                room_left |= !last && piece.len() + 8 <= usize::from(mtu);
                if n > 0 {
                    let copied: Vec<u8> = options.chunks(4).filter(|o| o[0] == 0x94).flatten().copied().collect();
                    // only what stands on its own word is looked for by that simple means
                    prop_assert!(piece.len() >= MIN_LEN + copied.len());
                    prop_assert!(!piece[MIN_LEN..usize::from(ip.header_len)].contains(&68));
                }
                at += body.len();
            }
            prop_assert_eq!(at, whole.len());
            prop_assert!(!room_left);
            // and the last but one and the last would not have fitted into one
            if let [.., a, b] = all.as_slice() && !more {
                let b = b.len() - usize::from(b[0] & 15) * 4;
                prop_assert!(a.len() + b > usize::from(mtu));
            }
        }
    }

    #[test]
    fn rfc1812_frag_opt_copied_ones_are_in_every_fragment_others_in_the_first_only() {
        // timestamp, router alert, no-operation, a copied one of 3 bytes, end
        let options = [68, 4, 5, 0, 0x94, 4, 0, 0, 1, 0x88, 3, 9];
        let all = pieces(&packet(&options, 200, 0, false), 100);
        assert_eq!(all[0][MIN_LEN..MIN_LEN + 12], options);
        for later in &all[1..] {
            assert_eq!((later[0], &later[MIN_LEN..28]), (0x47, &[0x94, 4, 0, 0, 0x88, 3, 9, 0][..]));
        }
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [32 + 64, 28 + 72, 28 + 64]);
    }

    #[test]
    fn rfc1812_frag_min_what_fits_is_not_cut_and_rfc5508_s7_1_1a_nor_what_may_not_be() {
        assert!(Cut::new(&packet(&[0x94, 4, 0, 0].repeat(10), 8, 0, false), LEAST_MTU).is_none());
        assert_eq!(pieces(&packet(&[0x94, 4, 0, 0].repeat(10), 9, 0, false), LEAST_MTU).len(), 2);
        let mut p = packet(&[], 1000, 0, false);
        put16(&mut p, 6, 0x4000);
        assert!(Cut::new(&p, 500).is_none());
        assert!(Cut::new(&packet(&[], 1000, 0, false), 27).is_none());
        assert!(Cut::new(&p[..19], 500).is_none());
        assert_eq!(be16(&pieces(&packet(&[], 100, 800, true), 68)[2], 6), 0x2000 | 112);
    }
}
