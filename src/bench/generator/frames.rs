//! The generator's traffic: UDP flows of inside hosts with 63 ports each, their frames, and what a frame says of its flow.
//!
//! Each frame carries its flow's number behind the UDP header, so that one that comes back is known whatever the router
//! did to its addresses. Frames for the race are built once, in the order in which they are sent.

use std::net::Ipv4Addr;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::base::Mac;
use crate::wire::checksum;
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{be16, be32, protocol, put16, udp};

/// Ports that each host uses, as in FD.io CSIT's NAT44 tests.
const PORTS_PER_HOST: u32 = 63;
/// So many inside endpoints, then further remotes: 1022 hosts, for which one address has ports (64 447 of UDP).
const ENDPOINTS: u32 = 1022 * PORTS_PER_HOST;
const FIRST_HOST: u32 = 0x0a00_0100;
const FIRST_PORT: u16 = 10_000;
const FIRST_REMOTE: u32 = 0x0909_0000;
const REMOTE_PORT: u16 = 4000;
const UDP_AT: usize = eth::LEN + ipv4::MIN_LEN;
const MARK_AT: usize = UDP_AT + udp::LEN;
/// Before a flow's number: the frame is one of ours.
const MARK: u32 = 0x7475_726e;

/// One end of a flow, and the other, as one side of the router sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Address and port of the source
    pub(super) src: (Ipv4Addr, u16),
    /// Address and port of the destination
    pub(super) dst: (Ipv4Addr, u16),
}

impl Ends {
    /// The way back.
    pub(super) fn back(self) -> Ends {
        Ends { src: self.dst, dst: self.src }
    }
}

/// A flow as it leaves its inside host: 10.0.1.0 and on, 63 ports each, then the same hosts to further remotes.
pub(super) fn inside(flow: u32) -> Ends {
    let (endpoint, remote) = (flow % ENDPOINTS, flow / ENDPOINTS);
    let host = Ipv4Addr::from_bits(FIRST_HOST + endpoint / PORTS_PER_HOST);
    let port = FIRST_PORT + (endpoint % PORTS_PER_HOST) as u16;
    Ends { src: (host, port), dst: (Ipv4Addr::from_bits(FIRST_REMOTE + remote), REMOTE_PORT) }
}

/// Writes the frame of a flow into all of `out`, at least 60 bytes, every checksum right.
pub(super) fn write(out: &mut [u8], flow: u32, ends: Ends, src: Mac, dst: Mac) {
    let total_len = (out.len() - eth::LEN) as u16;
    out.fill(0);
    Eth { dst, src, ethertype: ethertype::IPV4 }.emit(out);
    let ip = Ipv4 {
        header_len: ipv4::MIN_LEN as u8,
        tos: 0,
        total_len,
        id: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: protocol::UDP,
        src: ends.src.0,
        dst: ends.dst.0,
    };
    ip.emit(&mut out[eth::LEN..]);
    out[MARK_AT..MARK_AT + 4].copy_from_slice(&MARK.to_be_bytes());
    out[MARK_AT + 4..MARK_AT + 8].copy_from_slice(&flow.to_be_bytes());
    let segment = &mut out[UDP_AT..];
    put16(segment, 0, ends.src.1);
    put16(segment, 2, ends.dst.1);
    put16(segment, 4, total_len - ipv4::MIN_LEN as u16);
    let sum = checksum::transport(ends.src.0, ends.dst.0, protocol::UDP, segment);
    put16(segment, udp::CHECKSUM, sum);
}

/// What a frame that came back says: its flow, and its ends now. `None`: it is none of ours, or it was damaged.
pub(super) fn read(frame: &[u8]) -> Option<(u32, Ends)> {
    let ours =
        frame.len() >= eth::MIN_FRAME && be16(frame, 12) == ethertype::IPV4 && be32(frame, MARK_AT) == MARK;
    let ip = ours.then(|| Ipv4::parse(&frame[eth::LEN..]).ok()).flatten()?;
    let end = (eth::LEN + usize::from(ip.total_len)).min(frame.len());
    let segment = &frame[UDP_AT..end];
    let length = u16::try_from(segment.len()).ok()?;
    let pseudo = checksum::pseudo(ip.src, ip.dst, ip.protocol, length);
    if checksum::fold(u32::from(checksum::sum(segment)) + u32::from(pseudo)) != 0xffff {
        return None;
    }
    let ends = Ends { src: (ip.src, be16(segment, 0)), dst: (ip.dst, be16(segment, 2)) };
    Some((be32(frame, MARK_AT + 4), ends))
}

/// Frames in the order in which they are sent, again and again.
pub(super) struct Belt {
    bytes: usize,
    /// Whole cache lines a frame
    stride: usize,
    all: Vec<u8>,
    at: usize,
}

impl Belt {
    /// A frame for each flow, shuffled: real traffic does not walk a table in the order in which it was filled.
    pub(super) fn new(flows: u32, bytes: usize, src: Mac, dst: Mac, ends: impl Fn(u32) -> Ends) -> Belt {
        let mut order: Vec<u32> = (0..flows).collect();
        order.shuffle(&mut StdRng::seed_from_u64(1));
        let stride = bytes.next_multiple_of(64);
        let mut all = vec![0; stride * order.len()];
        for (frame, flow) in all.chunks_exact_mut(stride).zip(order) {
            write(&mut frame[..bytes], flow, ends(flow), src, dst);
        }
        Belt { bytes, stride, all, at: 0 }
    }

    /// The next one.
    #[inline]
    pub(super) fn next(&mut self) -> &[u8] {
        let from = self.at;
        self.at = if from + self.stride == self.all.len() { 0 } else { from + self.stride };
        &self.all[from..from + self.bytes]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn flows_are_63_a_host_and_all_different_also_beyond_one_address() {
        let all: HashSet<_> = (0..3 * ENDPOINTS).map(|f| format!("{:?}", inside(f))).collect();
        assert_eq!(all.len(), 3 * ENDPOINTS as usize);
        let hosts: HashSet<_> = (0..3 * ENDPOINTS).map(|f| inside(f).src.0).collect();
        assert_eq!(hosts.len(), 1022);
    }

    #[test]
    fn what_is_written_is_read_and_a_damaged_frame_is_not() {
        for bytes in [60, 61, 128, 1514] {
            let mut frame = vec![0; bytes];
            write(&mut frame, 77, inside(77), A, B);
            assert_eq!(read(&frame), Some((77, inside(77))), "{bytes}");
            for at in 12..bytes {
                let mut bad = frame.clone();
                bad[at] ^= 0x10;
                assert_ne!(read(&bad), Some((77, inside(77))), "{bytes} bytes, byte {at}");
            }
        }
        assert_eq!(read(&[0; 60]), None);
    }

    #[test]
    fn a_belt_has_every_flow_once_a_round_in_another_order_and_turns() {
        let mut belt = Belt::new(100, 60, A, B, inside);
        let mut round = || (0..100).map(|_| read(belt.next()).unwrap().0).collect::<Vec<_>>();
        let first = round();
        assert_ne!(first, (0..100).collect::<Vec<_>>());
        assert_eq!(first.iter().collect::<HashSet<_>>().len(), 100);
        assert_eq!(round(), first);
    }
}
