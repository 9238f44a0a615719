//! Fragments that the router makes, and those that are for itself (RFC 1812 4.2.2.7, 4.2.2.8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "common/pieces.rs"]
mod pieces;
use common::*;
use pieces::*;

use std::collections::HashSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

fn may_be_cut(mut packet: Packet) -> Packet {
    packet.ip.dont_fragment = false;
    packet
}

#[test]
fn rfc4787_13_and_rfc4787_13a_and_rfc4787_13b_and_rfc5508_s7_1_1c_too_big_for_the_wan_is_told_or_cut() {
    for (workers, queue) in SHAPES {
        let mut site = narrow(workers, &[("isp1", 1400)]);
        site.use_queue(queue);
        let packet = Packet::udp((H1, 5000), (E1, 80), &data(1472));
        // rfc5508_s7_1_1b, rfc6864_2
        let (link, told) = site.pass("lan", &packet).unwrap();
        assert_eq!((link.as_str(), error(&told)), ("lan", Some((3, 4, 1400))));
        let out = all_by("isp1", site.send("lan", &may_be_cut(packet.clone())));
        let lengths: Vec<u16> = out.iter().map(|p| p.ip.total_len).collect();
        assert_eq!(lengths, [20 + 1376, 20 + 104], "as few as can be, in order");
        let all = whole(&out).unwrap();
        assert_eq!((all.ip.src, all.dst(), all.data()), (P1, (E1, 80), packet_data(&packet)));
        assert!(all.checksum_holds());
        assert_ne!(all.ip.id, packet.ip.id, "rfc7857_10");
        // what fits is whole, to the byte
        let fits = may_be_cut(Packet::udp((H1, 5000), (E1, 80), &data(1372)));
        assert_eq!(site.pass("lan", &fits).unwrap().1.ip.id, fits.ip.id);
        // TCP as well, and echoes
        for packet in [
            Packet::tcp((H1, 5000), (E1, 80), SYN, 1, 0, &data(1450)),
            Packet::icmp(H1, E1, 8, 0, 7, 1, &data(1450)),
        ] {
            let out = all_by("isp1", site.send("lan", &may_be_cut(packet)));
            assert!(out.len() == 2 && whole(&out).unwrap().checksum_holds());
        }
        assert_eq!(site.moved("fragments_made"), 3);
        let moved = ["fragments_made", "drop_fragmentation_needed", "icmp_errors_sent"];
        site.finish(&and(&[&OPENED, &moved])).unwrap();
    }
}

fn packet_data(packet: &Packet) -> &[u8] {
    &packet.payload[8..]
}

#[test]
fn rfc1812_4_2_2_7c_and_rfc1812_frag_re_what_comes_in_too_big_for_the_lan_is_cut_and_cut_again() {
    for (workers, queue) in SHAPES {
        let mut site = narrow(workers, &[("lan", 1000)]);
        site.use_queue(queue);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let reply = may_be_cut(Packet::udp((E1, 80), x, &data(1472)));
        let out = all_by("lan", site.send("isp1", &reply));
        assert_eq!(out.iter().map(|p| p.ip.fragment_offset).collect::<Vec<_>>(), [0, 976]);
        let all = whole(&out).unwrap();
        assert_eq!((all.dst(), all.ip.id, all.checksum_holds()), ((H1, 5000), reply.ip.id, true));
        // fragments: each is cut again, the last keeps that it is
        let reply = Packet::udp((E1, 80), x, &data(4000));
        let out = all_by("lan", send_all(&mut site, "isp1", &fragments(&reply, 9, 1480)));
        assert_eq!(
            out.iter().map(|p| (p.ip.fragment_offset, p.ip.more_fragments)).collect::<Vec<_>>(),
            [(0, true), (976, true), (1480, true), (2456, true), (2960, true), (3936, false)]
        );
        assert!(whole(&out).unwrap().checksum_holds());
        assert_eq!(site.moved("fragments_made"), 4);
        site.finish(&and(&[&OPENED, &["fragments_made"]])).unwrap();
    }
}

#[test]
fn rfc1812_frag_min_68_bytes_go_over_the_narrowest_link_whole_and_rfc1812_frag_opt_options_with_them() {
    let mut site = narrow(2, &[("isp1", 68)]);
    let small = may_be_cut(Packet::udp((H1, 5000), (E1, 80), &data(40)));
    assert_eq!(site.pass("lan", &small).unwrap().1.ip.total_len, 68);
    assert_eq!(site.send("lan", &may_be_cut(Packet::udp((H1, 5000), (E1, 80), &data(41)))).len(), 2);
    // Router alert (copied) and a timestamp (not copied)
    let mut frame = site.frame_of("lan", &may_be_cut(Packet::udp((H1, 5000), (E1, 80), &data(100))));
    frame.splice(34..34, [0x94, 4, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0]);
    frame[14] = 0x48;
    put16(&mut frame, 16, 140);
    mend(&mut frame);
    let out: Vec<Seen> = site.send_raw("lan", &frame).iter().map(|(_, f)| Seen::read(f).unwrap()).collect();
    assert_eq!(out[0].header[20..], [0x94, 4, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0]);
    assert!(out[1..].iter().all(|p| p.header[20..] == [0x94, 4, 0, 0] && p.ip.total_len <= 68));
    assert_eq!(out.iter().map(|p| p.payload.len()).sum::<usize>(), 108);
    site.finish(&and(&[&OPENED, &["fragments_made"]])).unwrap();
}

#[test]
fn without_a_buffer_for_every_piece_none_is_sent_and_that_is_counted() {
    let mut site = narrow(1, &[("isp1", 68)]);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    // 31 pieces each; 64 spare buffers a burst
    let packets = (0..5).map(|_| may_be_cut(Packet::udp((H1, 5000), (E1, 80), &data(1472))));
    let out = flood(&mut site, "isp1", std::iter::empty()).len() + flood(&mut site, "lan", packets).len();
    assert_eq!((out, site.moved("drop_no_buffer"), site.moved("fragments_made")), (62, 3, 60));
    // the next burst has its own again
    assert_eq!(site.send("lan", &may_be_cut(Packet::udp((H1, 5000), (E1, 80), &data(1472)))).len(), 31);
    site.finish(&and(&[&OPENED, &["fragments_made", "drop_no_buffer"]])).unwrap();
}

#[test]
fn what_waits_for_its_next_hop_is_cut_when_that_is_known() {
    let mut site = narrow(2, &[("lan", 600)]);
    let late = Ipv4Addr::new(192, 168, 10, 50);
    let (_, x) = udp_out(&mut site, (late, 5000), (E1, 80)).unwrap();
    let reply = may_be_cut(Packet::udp((E1, 80), x, &data(1400)));
    assert_eq!(site.send("isp1", &reply), []);
    assert_eq!(site.moved("held"), 1);
    site.add_host("lan", late);
    site.run_ms(1_500);
    let out = all_by("lan", taken(&mut site));
    assert_eq!((out.len(), site.moved("held")), (3, 0));
    assert!(whole(&out).unwrap().checksum_holds());
    site.finish(&and(&[&OPENED, &["fragments_made"]])).unwrap();
}

#[test]
fn rfc7857_10_and_rfc6864_2_what_is_cut_for_a_wan_has_an_identification_of_its_own() {
    let mut site = narrow(3, &[("isp1", 1400)]);
    let mut ids = HashSet::new();
    for n in 0..100 {
        for host in [H1, H2] {
            site.use_queue(n % 3);
            let mut packet = may_be_cut(Packet::udp((host, 5000), (E1, 80), &data(1472)));
            packet.ip.id = n as u16;
            let out = all_by("isp1", site.send("lan", &packet));
            assert!(whole(&out).is_some() && ids.insert(out[0].ip.id));
        }
    }
    // mixed with datagrams that came in fragments
    let cut = fragments(&Packet::udp((H1, 5000), (E1, 80), &data(3000)), 1, 1480);
    let out = all_by("isp1", send_all(&mut site, "lan", &cut));
    assert!(whole(&out).is_some() && ids.insert(out[0].ip.id));
    site.finish(&and(&[&OPENED, &["fragments_made"]])).unwrap();
}

#[test]
fn rfc1812_4_2_2_8_and_rfc1812_4_3_3_6a_an_echo_request_in_fragments_is_answered_in_any_order() {
    each_shape(|mut site| {
        meet(&mut site);
        let cases = [
            ("lan", H1, LAN, 3000),
            ("lan", H2, P1, 3000),
            ("isp1", E1, P1, 3000),
            ("isp2", E2, P2, 9000),
            ("isp1", G1, P1, 23_000),
        ];
        for (n, (link, from, to, length)) in cases.into_iter().enumerate() {
            for turn in 0..4 {
                let ping = Packet::icmp(from, to, 8, 0, 77, 5, &data(length));
                let mut cut = fragments(&ping, (n * 10 + turn) as u16, 1480);
                match turn {
                    0 => {}
                    1 => cut.reverse(),
                    _ => cut.rotate_left(turn - 1),
                }
                let out = all_by(link, send_all(&mut site, link, &cut));
                assert_eq!(out.len(), cut.len());
                let all = whole(&out).unwrap();
                assert_eq!((all.ip.src, all.ip.dst, all.ip.ttl), (to, from, 64));
                let icmp = all.icmp().unwrap();
                assert_eq!((icmp.kind, icmp.code, icmp.id, icmp.seq), (0, 0, 77, 5));
                assert!(all.checksum_holds() && all.data() == data(length));
            }
        }
        assert_eq!(site.moved("held"), 0);
        // a wrong checksum is not made a right one
        let mut ping = Packet::icmp(H1, LAN, 8, 0, 77, 5, &data(3000));
        ping.payload[2500] ^= 1;
        assert_eq!(send_all(&mut site, "lan", &fragments(&ping, 900, 1480)), []);
        // what else is for the router is refused by its first fragment
        let out = send_all(
            &mut site,
            "lan",
            &fragments(&Packet::udp((H1, 5000), (LAN, 53), &data(3000)), 901, 1480),
        );
        assert_eq!(out.iter().filter_map(|(_, s)| error(s)).collect::<Vec<_>>(), [(3, 3, 0)]);
        let moved =
            ["drop_icmp_checksum", "drop_local_no_service", "drop_fragment_refused", "icmp_errors_sent"];
        site.finish(&moved).unwrap();
    });
}

#[test]
fn rfc1812_4_2_2_8_what_is_gathered_is_bounded_and_its_end_is_told() {
    let mut site = site(1);
    meet(&mut site);
    let ping = |id, length| fragments(&Packet::icmp(H1, LAN, 8, 0, id, 5, &data(length)), id, 1480);
    // five at a time: the oldest gives way
    let all: Vec<Vec<Packet>> = (0..5).map(|id| ping(id, 3000)).collect();
    for cut in &all {
        assert_eq!(send_all(&mut site, "lan", &cut[..2]), []);
    }
    assert_eq!((site.moved("held"), site.moved("drop_fragment_hold")), (8, 2));
    let answered: Vec<usize> = all.iter().map(|cut| site.send("lan", &cut[2]).len()).collect();
    assert_eq!(answered, [0, 3, 3, 3, 3]);
    assert_eq!(site.moved("drop_fragment_refused"), 1);
    // 17 fragments
    assert_eq!(send_all(&mut site, "lan", &ping(6, 16 * 1480)), []);
    assert_eq!(site.moved("drop_fragment_hold"), 2 + 17);
    // an overlap
    let mut cut = ping(7, 3000);
    cut[1].ip.fragment_offset = 1472;
    assert_eq!(send_all(&mut site, "lan", &cut), []);
    assert_eq!((site.moved("drop_fragment_overlap"), site.moved("held")), (3, 0));
    // one that never ends: told once, 30 s after the first (RFC 1122 3.3.2)
    assert_eq!(send_all(&mut site, "lan", &ping(8, 3000)[..2]), []);
    site.run_coarse(29, 10);
    assert_eq!((taken(&mut site), site.moved("held")), (vec![], 2));
    site.run_coarse(2, 10);
    let out = all_by("lan", taken(&mut site));
    assert_eq!((out.len(), error(&out[0]), site.moved("held")), (1, Some((11, 1, 0)), 0));
    assert_eq!(out[0].quoted().unwrap().0.id, 8);
    let moved = [
        "drop_fragment_hold",
        "drop_fragment_refused",
        "drop_fragment_overlap",
        "drop_fragment_timeout",
        "icmp_errors_sent",
    ];
    site.finish(&moved).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn rfc1812_4_2_2_7a_and_rfc1812_4_2_2_7b_and_rfc4787_13a_what_leaves_is_the_translation_of_the_whole(
        workers in 1usize..4, queue in 0usize..3, mtu in 200u16..1500,
        packets in prop::collection::vec((0u16..3, 8usize..1472, 1usize..12, any::<bool>(), any::<bool>()), 1..10),
    ) {
        let mut site = narrow(workers, &[("isp1", mtu), ("lan", mtu.max(300) - 100)]);
        site.use_queue(queue.min(workers - 1));
        let flows: Vec<End> = (0..3).map(|n| udp_out(&mut site, (H1, 5000 + n), (E1, 80)).unwrap().1).collect();
        let (mut came, mut left) = (0, 0);
        for (id, (flow, length, step, inbound, cut)) in packets.into_iter().enumerate() {
            let (link, by, packet, most) = match inbound {
                true => ("isp1", "lan", Packet::udp((E1, 80), flows[usize::from(flow)], &data(length)), mtu.max(300) - 100),
                false => ("lan", "isp1", Packet::udp((H1, 5000 + flow), (E1, 80), &data(length)), mtu),
            };
            let step = if cut { step * 128 } else { 1480 };
            let sent = match length + 8 <= step {
                true => vec![may_be_cut(packet)],
                false => fragments(&packet, id as u16, step),
            };
            let out = all_by(by, send_all(&mut site, link, &sent));
            let expected: usize = sent.iter().map(|p| {
                let (data, room) = (p.payload.len(), usize::from(most) - 20);
                1 + data.saturating_sub(room).div_ceil(room & !7)
            }).sum();
            prop_assert_eq!(out.len(), expected, "as few as can be");
            prop_assert!(out.iter().all(|p| p.ip.total_len <= most));
            let all = whole(&out);
            prop_assert!(all.is_some(), "{:?}", out);
            let all = all.unwrap();
            prop_assert!(all.checksum_holds() && all.data() == data(length));
            prop_assert_eq!(if inbound { all.dst() } else { all.src() }, if inbound { (H1, 5000 + flow) } else { flows[usize::from(flow)] });
            (came, left) = (came + sent.len() as u64, left + out.len() as u64);
        }
        prop_assert_eq!(site.moved("fragments_made"), left - came);
        let mut moved = OPENED.to_vec();
        moved.extend((left > came).then_some("fragments_made"));
        prop_assert_eq!(site.finish(&moved), Ok(()));
    }
}

#[test]
fn rfc1812_4_3_2_3a_an_error_over_a_narrow_link_quotes_what_fits() {
    let mut site = narrow(1, &[("lan", 300)]);
    let (link, seen) = site.pass("lan", &Packet::udp((H1, 5000), (E1, 80), &data(900)).ttl(1)).unwrap();
    assert_eq!((link.as_str(), seen.ip.total_len, error(&seen)), ("lan", 300, Some((11, 0, 0))));
    site.finish(&["drop_ttl_expired", "icmp_errors_sent"]).unwrap();
}
