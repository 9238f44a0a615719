//! What the reference loop makes of packets.

use super::*;
use crate::nat::rewrite::{End, rewrite as by_the_path};
use crate::packet::VecBuf;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::put16;

const MACS: [(Mac, Mac); 2] = [(Mac([2; 6]), Mac([4; 6])), (Mac([6; 6]), Mac([8; 6]))];

fn entry(n: u32) -> Entry {
    Entry {
        protocol: if n.is_multiple_of(2) { protocol::UDP } else { protocol::TCP },
        inside: (Ipv4Addr::from_bits(0x0a00_0000 + n / 63), (n % 63) as u16 + 9),
        outside: (Ipv4Addr::new(203, 0, 113, 2), (n % 60_000) as u16 + 1024),
        remote: (Ipv4Addr::from_bits(0x0909_0000 + n / 60_000), 53),
        up: MACS[0],
        down: MACS[1],
    }
}

fn packet(protocol: u8, (src, sport): Endpoint, (dst, dport): Endpoint, sum: u16) -> VecBuf {
    let mut frame = [0u8; 60];
    Eth { dst: Mac([1; 6]), src: Mac([3; 6]), ethertype: ethertype::IPV4 }.emit(&mut frame);
    let ip = Ipv4 {
        header_len: ipv4::MIN_LEN as u8,
        tos: 0,
        total_len: 46,
        id: 1,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol,
        src,
        dst,
    };
    ip.emit(&mut frame[14..]);
    put16(&mut frame, 34, sport);
    put16(&mut frame, 36, dport);
    put16(&mut frame, if protocol == protocol::UDP { UDP_SUM } else { TCP_SUM }, sum);
    VecBuf::new(&frame)
}

#[test]
fn it_makes_of_every_packet_what_the_path_makes_of_it_at_the_highest_load() {
    // 1024 buckets take 7168 entries.
    let mut reference = Reference::new(3583);
    assert_eq!(reference.buckets.len(), 1024);
    assert!((0..3583).all(|n| reference.add(&entry(n))) && !reference.add(&entry(3583)));
    for n in 0..3583 {
        let (e, sum) = (entry(n), [0, 0x1234, 0xffff, n as u16][n as usize % 4]);
        let mut both =
            [packet(e.protocol, e.inside, e.remote, sum), packet(e.protocol, e.remote, e.outside, sum)];
        let mut expected = both.clone();
        for (at, (end, to)) in
            [(End::Source, e.outside), (End::Destination, e.inside)].into_iter().enumerate()
        {
            let frame = expected[at].bytes_mut();
            by_the_path(&mut frame[14..], 20, e.protocol, end, to.0, to.1);
            ipv4::decrement_ttl(&mut frame[14..]);
            Eth { dst: MACS[at].0, src: MACS[at].1, ethertype: ethertype::IPV4 }.emit(frame);
        }
        assert_eq!(reference.burst(&mut both), 2, "session {n}");
        assert_eq!(both, expected, "session {n}");
    }
}

#[test]
fn what_it_does_not_know_stays_as_it_came() {
    let mut reference = Reference::new(100);
    (0..100).for_each(|n| assert!(reference.add(&entry(n))));
    let e = entry(0);
    let known = packet(protocol::UDP, e.inside, e.remote, 7);
    let with = |at: usize, value: u8| {
        let mut buf = known.clone();
        buf.bytes_mut()[at] = value;
        buf
    };
    // Another type, options, protocol, address, port; a short frame.
    let mut burst =
        [with(13, 6), with(14, 0x46), with(23, 1), with(23, 6), with(26, 11), with(35, 99), known.clone()];
    assert!(burst[6].resize(53));
    let before = burst.clone();
    assert_eq!(reference.burst(&mut burst), 0);
    assert_eq!(burst, before);
    assert_eq!(reference.burst(&mut [known]), 1);
    assert_eq!(Reference::new(0).burst(&mut burst), 0);
}
