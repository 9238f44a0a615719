//! What the router lets in: every check of RFC 1812 5.2.2 and 5.3 in its order, each with its own counter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use turnout::base::IfaceId;
use turnout::packet::{DropReason, PacketBuf, VecBuf, Verified};
use turnout::path::{Admitted, admit};

/// Sends a frame that must end with `counter` alone, and bring nothing out.
#[track_caller]
fn ends(site: &mut Site, link: &str, frame: &[u8], counter: &str) {
    let before = site.counters();
    let out = site.send_raw(link, frame);
    assert_eq!(out, [], "{counter}");
    let moved: Vec<_> =
        site.counters().iter().zip(before.iter()).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a).collect();
    let names: Vec<_> = moved.iter().map(|m| m.0).filter(|n| *n != "rx_packets").collect();
    assert_eq!(names, [counter], "{frame:02x?}");
}

/// A good frame from the LAN, with its bytes changed and the header's checksum set right again.
fn lan(site: &Site, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), &[7; 32]));
    change(&mut frame);
    mend(&mut frame);
    frame
}

fn ip(src: Ipv4Addr, dst: Ipv4Addr) -> Packet {
    Packet::udp((src, 5000), (dst, 80), b"data of a packet")
}

#[test]
fn ethernet_frames_for_others_from_nobody_or_of_unknown_kind_end() {
    let mut site = site(2);
    for length in 0..14 {
        let frame = lan(&site, |_| {});
        ends(&mut site, "lan", &frame[..length], "drop_eth_truncated");
    }
    let cases: [(usize, [u8; 6], &str); 4] = [
        (0, [2, 0, 0, 0, 9, 9], "drop_eth_not_for_us"),
        (6, [0; 6], "drop_eth_source"),
        (6, [1, 0, 0, 0, 9, 9], "drop_eth_source"),
        (6, [2, 0, 0, 0, 1, 0], "drop_eth_source"),
    ];
    for (at, mac, counter) in cases {
        let frame = lan(&site, |f| f[at..at + 6].copy_from_slice(&mac));
        ends(&mut site, "lan", &frame, counter);
    }
    let kinds = [
        (0x8100u16, "drop_vlan"),
        (0x88a8, "drop_vlan"),
        (0x86dd, "drop_ipv6"),
        (0x88cc, "drop_eth_type"),
        (46, "drop_eth_type"),
    ];
    for (kind, counter) in kinds {
        let frame = lan(&site, |f| put16(f, 12, kind));
        ends(&mut site, "lan", &frame, counter);
    }
    site.finish(&[
        "drop_eth_truncated",
        "drop_eth_not_for_us",
        "drop_eth_source",
        "drop_vlan",
        "drop_ipv6",
        "drop_eth_type",
    ])
    .unwrap();
}

#[test]
fn rfc1812_5_2_2_1_and_rfc1812_5_2_2_7_what_is_cut_off_in_its_header_ends_and_nothing_beyond_is_read() {
    let mut site = site(2);
    for length in 14..34 {
        let frame = lan(&site, |_| {});
        ends(&mut site, "lan", &frame[..length], "drop_ipv4_truncated");
    }
    // IHL * 4 beyond the frame
    let frame = lan(&site, |f| {
        f[14] = 0x4f;
        f.truncate(14 + 56);
    });
    ends(&mut site, "lan", &frame, "drop_ipv4_header_length");
    site.finish(&["drop_ipv4_truncated", "drop_ipv4_header_length"]).unwrap();
}

#[test]
fn rfc1812_5_2_2_2_every_flipped_bit_of_the_header_is_noticed() {
    let mut site = site(2);
    for at in 14..34 {
        for bit in 0..8 {
            let mut frame = lan(&site, |_| {});
            frame[at] ^= 1 << bit;
            let counter = match (at, bit) {
                (14, 4..) => "drop_ipv4_version",
                // with a length under 20, or one that reads beyond the header, that is at fault or the sum is
                (14, _) if frame[14] & 15 < 5 || usize::from(frame[14] & 15) * 4 + 14 > frame.len() => {
                    "drop_ipv4_header_length"
                }
                _ => "drop_ipv4_checksum",
            };
            ends(&mut site, "lan", &frame, counter);
        }
    }
    site.finish(&["drop_ipv4_checksum", "drop_ipv4_version", "drop_ipv4_header_length"]).unwrap();
}

/// A frame of which a NIC has said something.
struct Judged(VecBuf, Verified);

impl PacketBuf for Judged {
    fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }
    fn prepend(&mut self, n: usize) -> bool {
        self.0.prepend(n)
    }
    fn resize(&mut self, len: usize) -> bool {
        self.0.resize(len)
    }
    fn trim(&mut self, n: usize) -> bool {
        self.0.trim(n)
    }
    fn ip_checksum(&self) -> Verified {
        self.1
    }
}

#[test]
fn what_the_nic_says_of_the_ip_checksum_stands_for_the_sum_and_for_no_other_check() {
    let site = site(1);
    let judge =
        |frame: &[u8], verified| match admit(site.view(), IfaceId(0), Judged(VecBuf::new(frame), verified)) {
            Ok(Admitted::Ip(frame)) => Ok(frame.ip.dst),
            Ok(Admitted::Arp(..)) => panic!("no ARP"),
            Err(reason) => Err(reason),
        };
    let good = lan(&site, |_| {});
    let mut wrong = good.clone();
    wrong[24] ^= 1;
    let long = lan(&site, |f| put16(f, 16, 1500));
    let mut lost = good.clone();
    lost[5] ^= 1;
    let bad_sum = Err(DropReason::Ipv4Checksum);
    let not_for_us = Err(DropReason::EthNotForUs);
    for (frame, verified, expected) in [
        (&good, Verified::Unknown, Ok(E1)),
        (&good, Verified::Good, Ok(E1)),
        (&good, Verified::Bad, bad_sum),
        (&wrong, Verified::Unknown, bad_sum),
        (&wrong, Verified::Good, Ok(E1)),
        (&wrong, Verified::Bad, bad_sum),
        (&long, Verified::Good, Err(DropReason::Ipv4TotalLength)),
        (&long, Verified::Bad, bad_sum),
        (&lost, Verified::Good, not_for_us),
        (&lost, Verified::Bad, not_for_us),
    ] {
        assert_eq!(judge(frame, verified), expected, "{verified:?} {frame:02x?}");
    }
    site.finish(&[]).unwrap();
}

#[test]
fn rfc1812_5_2_2_3_and_rfc1812_5_2_2_4_and_rfc1812_5_2_2_5_and_rfc1812_5_2_2_6_what_cannot_be() {
    let mut site = site(2);
    for version in (0..16).filter(|v| *v != 4) {
        let frame = lan(&site, |f| f[14] = version << 4 | 5);
        ends(&mut site, "lan", &frame, "drop_ipv4_version");
    }
    for ihl in 0..5 {
        let frame = lan(&site, |f| f[14] = 0x40 | ihl);
        ends(&mut site, "lan", &frame, "drop_ipv4_header_length");
    }
    // total length under the header's, and beyond the frame
    for length in [0, 19, 61, 1500, 65535] {
        let frame = lan(&site, |f| put16(f, 16, length));
        ends(&mut site, "lan", &frame, "drop_ipv4_total_length");
    }
    site.finish(&["drop_ipv4_version", "drop_ipv4_header_length", "drop_ipv4_total_length"]).unwrap();
}

#[test]
fn rfc1812_4_2_2_6_unknown_options_are_carried_and_rfc1812_4_3_3_5_and_rfc1812_5_3_13_3_others_end() {
    let mut site = site(2);
    let with = |site: &Site, options: &[u8]| {
        let mut frame = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b"data"));
        let total = 32 + options.len();
        frame.truncate(14 + 32);
        frame.splice(34..34, options.iter().copied());
        frame[14] = 0x45 + (options.len() / 4) as u8;
        put16(&mut frame, 16, total as u16);
        mend(&mut frame);
        frame
    };
    for good in
        [&[1, 1, 1, 0][..], &[0x94, 4, 0, 0], &[0x1e, 8, 1, 2, 3, 4, 5, 6], &[7, 39, 4, 0].repeat(10)[..40]]
    {
        let frame = with(&site, good);
        let out = site.send_raw("lan", &frame);
        assert_eq!((out.len(), &out[0].1[34..34 + good.len()]), (1, good));
    }
    for bad in [[68, 1, 0, 0], [68, 5, 0, 0], [1, 1, 1, 68]] {
        let frame = with(&site, &bad);
        ends(&mut site, "lan", &frame, "drop_ipv4_option_malformed");
    }
    for route in [[131, 4, 4, 0], [137, 4, 4, 0]] {
        let frame = with(&site, &route);
        ends(&mut site, "lan", &frame, "drop_ipv4_source_route");
    }
    site.finish(&and(&[&OPENED, &["drop_ipv4_option_malformed", "drop_ipv4_source_route"]])).unwrap();
}

#[test]
fn rfc1812_5_2_2_8_padding_is_no_part_of_the_packet() {
    let mut site = site(2);
    meet(&mut site);
    let frame = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b"x"));
    assert_eq!(frame.len(), 60);
    assert_eq!(site.send_raw("lan", &frame)[0].1.len(), 14 + 29);
    let mut expired = frame.clone();
    expired[22] = 1;
    mend(&mut expired);
    let seen = Seen::read(&site.send_raw("lan", &expired)[0].1).unwrap();
    assert_eq!(seen.payload.len(), 8 + 29);
    site.finish(&and(&[&OPENED, &["drop_ttl_expired", "icmp_errors_sent"]])).unwrap();
}

#[test]
fn transport_headers_that_are_cut_off_or_lie_about_their_length_end() {
    let mut site = site(2);
    let mut end = |packet: Packet| {
        let frame = packet.frame(turnout::base::Mac([2, 0, 0, 3, 10, 10]), site.view().ifaces[0].mac);
        ends(&mut site, "lan", &frame, "drop_transport_malformed");
    };
    let cut = |packet: &Packet, length: usize| {
        let mut short = packet.clone();
        short.payload.truncate(length);
        short.ip.total_len = 20 + length as u16;
        short
    };
    let packets = [
        (Packet::udp((H1, 1), (E1, 2), b"1234"), 8),
        (Packet::tcp((H1, 1), (E1, 2), SYN, 1, 0, b""), 20),
        (Packet::ping(H1, E1, 1, 1), 8),
    ];
    for (packet, header) in &packets {
        (0..*header).for_each(|length| end(cut(packet, length)));
    }
    for length in [0, 7, 13, 65535] {
        let mut lying = packets[0].0.clone();
        put16(&mut lying.payload, 4, length);
        end(lying);
    }
    for words in [0, 4, 6, 15] {
        let mut lying = packets[1].0.clone();
        lying.payload[12] = words << 4;
        end(lying);
    }
    site.finish(&["drop_transport_malformed"]).unwrap();
}

#[test]
fn rfc1812_5_3_7a_and_rfc1812_5_3_7b_martians_end_and_rfc1812_5_3_4_and_rfc1812_5_3_5_1_and_rfc1812_5_3_5_2_broadcasts()
 {
    let mut site = site(2);
    let v4 = |a, b, c, d| Ipv4Addr::new(a, b, c, d);
    for link in ["lan", "isp1"] {
        let (from, to) = if link == "lan" { (H1, E1) } else { (E1, P1) };
        let sources = [
            v4(0, 0, 0, 0),
            v4(0, 1, 2, 3),
            v4(127, 0, 0, 1),
            v4(224, 0, 0, 1),
            v4(239, 1, 1, 1),
            v4(240, 0, 0, 1),
            Ipv4Addr::BROADCAST,
        ];
        for src in sources {
            let frame = site.frame_of(link, &ip(src, to));
            ends(&mut site, link, &frame, "drop_martian_source");
        }
        for dst in
            [v4(0, 0, 0, 0), v4(0, 9, 9, 9), v4(127, 0, 0, 1), v4(240, 0, 0, 1), v4(255, 255, 255, 254)]
        {
            let frame = site.frame_of(link, &ip(from, dst));
            ends(&mut site, link, &frame, "drop_martian_destination");
        }
        // 5.3.5.1 and 5.3.5.2: limited and directed broadcasts; multicast
        for dst in [Ipv4Addr::BROADCAST, v4(192, 168, 10, 255), v4(203, 0, 113, 7), v4(198, 51, 100, 7)] {
            let frame = site.frame_of(link, &ip(from, dst));
            ends(&mut site, link, &frame, "drop_broadcast");
        }
        for dst in [v4(224, 0, 0, 1), v4(239, 255, 255, 250)] {
            let frame = site.frame_of(link, &ip(from, dst));
            ends(&mut site, link, &frame, "drop_multicast");
        }
        // 5.3.4: to all on the link, though to one host by its address
        for mac in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            let mut frame = site.frame_of(link, &ip(from, to));
            frame[..6].copy_from_slice(&mac);
            ends(&mut site, link, &frame, "drop_link_broadcast");
        }
        // the router's own addresses and broadcasts are nobody's source
        for src in [LAN, P1, P2, v4(192, 168, 10, 255)] {
            let frame = site.frame_of(link, &ip(src, to));
            ends(&mut site, link, &frame, "drop_spoofed_source");
        }
    }
    site.finish(&[
        "drop_martian_source",
        "drop_martian_destination",
        "drop_broadcast",
        "drop_multicast",
        "drop_link_broadcast",
        "drop_spoofed_source",
    ])
    .unwrap();
}

#[test]
fn rfc1812_5_3_8_sources_that_do_not_belong_behind_their_port_and_transit_from_outside_end() {
    let mut site = site(2);
    for (link, packet, counter) in [
        ("lan", ip(E2, E1), "drop_spoofed_source"),
        ("lan", ip(Ipv4Addr::new(192, 168, 11, 1), E1), "drop_spoofed_source"),
        ("isp1", ip(H1, P1), "drop_spoofed_source"),
        ("isp1", ip(E1, H1), "drop_wan_transit"),
        ("isp1", ip(E1, E2), "drop_wan_transit"),
        ("isp1", ip(E1, P2), "drop_wan_transit"),
        ("isp2", ip(E1, LAN), "drop_wan_transit"),
    ] {
        let frame = site.frame_of(link, &packet);
        ends(&mut site, link, &frame, counter);
    }
    site.finish(&["drop_spoofed_source", "drop_wan_transit"]).unwrap();
}

#[test]
fn a_fragment_that_would_turn_ends_where_hairpinning_is_off() {
    let mut site = Site::new(&format!("{DUAL_WAN}nat: {{ hairpin: false }}\n"), 2).unwrap();
    let mut packet = Packet::udp((H1, 5000), (P1, 80), &[7; 40]);
    (packet.ip.dont_fragment, packet.ip.more_fragments) = (false, true);
    let frame = site.frame_of("lan", &packet);
    ends(&mut site, "lan", &frame, "drop_hairpin");
    site.finish(&["drop_hairpin"]).unwrap();
}
