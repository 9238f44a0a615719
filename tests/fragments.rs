//! Fragments that are translated: in any order, by any worker, whatever strangers send meanwhile (RFC 4787 REQ-14).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "common/pieces.rs"]
mod pieces;
use common::*;
use pieces::*;

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const DMZ: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);

/// A LAN, another inside network, and one WAN.
const ROUTED: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  dmz:  { port: \"linux:dmz0\", addresses: [172.16.0.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
wans: [isp1]
";

#[test]
fn rfc4787_14a_and_rfc4787_14b_and_rfc1812_5_2_6_a_reply_in_three_fragments_arrives_in_every_order() {
    each_shape(|mut site| {
        meet(&mut site);
        // Hosts, so that owner and gate are sometimes one worker and sometimes not
        for (n, order) in ORDERS.iter().cycle().take(18).enumerate() {
            let port = 5000 + n as u16;
            let (_, x) = udp_out(&mut site, (H1, port), (E1, 80)).unwrap();
            let reply = Packet::udp((E1, 80), x, &data(3500));
            let came = fragments(&reply, 7000 + n as u16, 1480);
            let sent: Vec<Packet> = order.iter().map(|at| came[*at].clone()).collect();
            let out = all_by("lan", send_all(&mut site, "isp1", &sent));
            assert_eq!(out.len(), 3, "{order:?}");
            assert_eq!(out[0].ip.fragment_offset, 0, "the first goes first");
            if order[2] == 0 {
                let offsets = out.iter().map(|p| p.ip.fragment_offset);
                assert_eq!(offsets.collect::<Vec<_>>(), [0, 1480, 2960], "what waited goes in order");
            }
            // The frames that came, but for translation and TTL
            for seen in &out {
                let like = came.iter().find(|c| c.ip.fragment_offset == seen.ip.fragment_offset).unwrap();
                assert_eq!(
                    (seen.ip.ttl, seen.ip.id, seen.payload.len()),
                    (63, 7000 + n as u16, like.payload.len())
                );
            }
            let all = whole(&out).unwrap();
            assert_eq!((all.src(), all.dst(), all.data()), ((E1, 80), (H1, port), &data(3500)[..]));
            assert!(all.checksum_holds());
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc4787_14b_fragments_from_inside_leave_by_one_wan_whatever_their_order_and_protocol() {
    each_shape(|mut site| {
        meet(&mut site);
        let syn = Packet::tcp((H1, 6000), (E1, 80), SYN, 1, 0, &data(3000));
        let packets = [
            Packet::udp((H1, 5000), (E1, 80), &data(3000)),
            syn,
            Packet::icmp(H1, E1, 8, 0, 77, 1, &data(3000)),
        ];
        for (n, packet) in packets.iter().enumerate() {
            for (m, order) in ORDERS.iter().enumerate() {
                let came = fragments(packet, (n * 10 + m) as u16, 1400);
                let sent: Vec<Packet> = order.iter().map(|at| came[*at].clone()).collect();
                let out = all_by("isp1", send_all(&mut site, "lan", &sent));
                let all = whole(&out).unwrap();
                assert_eq!((all.ip.src, all.ip.dst, all.data()), (P1, E1, packet_data(packet)));
                assert!(all.checksum_holds(), "{packet:?}");
                // and its answer finds back, whole
                if n == 0 {
                    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), all.src()), Some((H1, 5000)));
                }
            }
        }
        site.finish(&OPENED).unwrap();
    });
}

fn packet_data(packet: &Packet) -> &[u8] {
    let header = if packet.ip.protocol == 6 { 20 } else { 8 };
    &packet.payload[header..]
}

#[test]
fn rfc4787_14a_in_one_burst_and_among_others_no_fragment_overtakes_its_first() {
    for (workers, queue) in SHAPES {
        let mut site = site(workers);
        site.use_queue(queue);
        meet(&mut site);
        let flows: Vec<End> =
            (0..40).map(|n| udp_out(&mut site, (H1, 5000 + n), (E1, 80)).unwrap().1).collect();
        // Piece by piece: all firsts, all seconds and so on
        let cut: Vec<Vec<Packet>> = flows
            .iter()
            .enumerate()
            .map(|(n, x)| fragments(&Packet::udp((E1, 80), *x, &data(4000 + n)), n as u16, 1000))
            .collect();
        let sent: Vec<Packet> =
            (0..5).flat_map(|at| cut.iter().filter_map(move |c| c.get(at).cloned())).collect();
        let mut out = flood(&mut site, "isp1", sent.into_iter());
        site.run_ms(5);
        out.extend(taken(&mut site));
        let mut by_id: BTreeMap<u16, Vec<Seen>> = BTreeMap::new();
        for seen in all_by("lan", out) {
            by_id.entry(seen.ip.id).or_default().push(seen);
        }
        assert_eq!(by_id.len(), 40);
        for (id, pieces) in by_id {
            let offsets: Vec<u16> = pieces.iter().map(|p| p.ip.fragment_offset).collect();
            assert!(offsets.is_sorted(), "{offsets:?}");
            let all = whole(&pieces).unwrap();
            assert_eq!((all.dst(), all.data().len()), ((H1, 5000 + id), 4000 + usize::from(id)));
            assert!(all.checksum_holds());
        }
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn rfc4787_14b_fragments_that_come_to_different_workers_meet_at_one() {
    for workers in [2, 3] {
        let mut site = site(workers);
        meet(&mut site);
        for n in 0..60u16 {
            let (_, x) = udp_out(&mut site, (H1, 5000 + n), (E1, 80)).unwrap();
            let order = ORDERS[usize::from(n) % 6];
            let mut pass = |link: &str, packet: Packet| {
                let cut = fragments(&packet, n, 1480);
                for (turn, at) in order.into_iter().enumerate() {
                    site.use_queue((usize::from(n) + turn) % workers);
                    let frame = site.frame_of(link, &cut[at]);
                    site.put_raw(link, &frame);
                    site.run_ms(1);
                }
                let out: Vec<Seen> = taken(&mut site).into_iter().map(|(_, seen)| seen).collect();
                assert_eq!((out.len(), out[0].ip.fragment_offset), (3, 0), "{order:?}");
                whole(&out).unwrap()
            };
            let seen = pass("isp1", Packet::udp((E1, 80), x, &data(3500)));
            assert_eq!((seen.dst(), seen.checksum_holds()), ((H1, 5000 + n), true));
            let seen = pass("lan", Packet::udp((H1, 5000 + n), (E1, 80), &data(3500)));
            assert_eq!((seen.src(), seen.checksum_holds()), (x, true));
            // and what is for the router itself
            let seen = pass("isp1", Packet::icmp(E1, P1, 8, 0, n, 1, &data(3500)));
            assert_eq!((seen.icmp().unwrap().kind, seen.checksum_holds()), (0, true));
        }
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn what_becomes_of_the_first_fragment_becomes_of_all_and_is_told_once() {
    each_shape(|mut site| {
        meet(&mut site);
        let send = |site: &mut Site, link: &str, packet: Packet, id| {
            send_all(site, link, &fragments(&packet, id, 1480))
        };
        // no mapping
        assert_eq!(send(&mut site, "isp1", Packet::udp((E1, 80), (P1, 4000), &data(3000)), 1), []);
        assert_eq!(site.moved("drop_nat_no_mapping"), 1);
        assert_eq!(site.moved("drop_fragment_refused"), 2);
        // TTL
        let out = send(&mut site, "lan", Packet::udp((H1, 5000), (E1, 80), &data(3000)).ttl(1), 2);
        assert_eq!(out.iter().filter_map(|(_, s)| error(s)).collect::<Vec<_>>(), [(11, 0, 0)]);
        assert_eq!((out.len(), site.moved("drop_fragment_refused")), (1, 4));
        // a TTL that runs out in a later one ends that alone, and silently
        let mut cut = fragments(&Packet::udp((H1, 5000), (E1, 80), &data(3000)), 3, 1480);
        cut[1].ip.ttl = 1;
        assert_eq!(send_all(&mut site, "lan", &cut).len(), 2);
        // no first one at all
        assert_eq!(
            send_all(&mut site, "lan", &fragments(&Packet::udp((H1, 1), (E1, 1), &data(3000)), 4, 1480)[1..]),
            []
        );
        site.run_ms(2_001);
        assert_eq!(site.moved("drop_fragment_timeout"), 2);
        let moved = [
            "drop_nat_no_mapping",
            "drop_fragment_refused",
            "drop_fragment_timeout",
            "drop_ttl_expired",
            "icmp_errors_sent",
            "icmp_errors_forbidden",
        ];
        site.finish(&and(&[&OPENED, &moved])).unwrap();
    });
}

#[test]
fn rfc7857_10_what_leaves_in_fragments_has_identifications_that_no_other_host_has_there() {
    for workers in [1, 3] {
        let mut site = site(workers);
        meet(&mut site);
        let mut seen = HashSet::new();
        for n in 0..200u16 {
            for (host, other) in [(H1, 5000), (H2, 5000)] {
                // both use the same ones
                let cut = fragments(&Packet::udp((host, other), (E1, 80), &data(2000)), n, 1480);
                let out = all_by("isp1", send_all(&mut site, "lan", &cut));
                assert!(whole(&out).unwrap().checksum_holds());
                assert!(seen.insert(out[0].ip.id));
            }
        }
        // A whole one keeps its own (rfc6864_1), and so does what goes in
        let (_, out) = site.pass("lan", &Packet::udp((H1, 5000), (E1, 80), b"x")).unwrap();
        assert_eq!(out.ip.id, 0x1234);
        let cut = fragments(&Packet::udp((E1, 80), out.src(), &data(2000)), 4711, 1480);
        assert!(all_by("lan", send_all(&mut site, "isp1", &cut)).iter().all(|p| p.ip.id == 4711));
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn an_identification_that_comes_round_is_another_datagram() {
    each_shape(|mut site| {
        meet(&mut site);
        let flows: Vec<End> =
            (0..3).map(|n| udp_out(&mut site, (H1, 5000 + n), (E1, 80)).unwrap().1).collect();
        let cut = |to: End| fragments(&Packet::udp((E1, 80), to, &data(2500)), 1, 1000);
        // after a whole one at once
        for (n, x) in flows.iter().enumerate() {
            let all = whole(&all_by("lan", send_all(&mut site, "isp1", &cut(*x)))).unwrap();
            assert_eq!((all.dst(), all.checksum_holds()), ((H1, 5000 + n as u16), true));
        }
        // after one that was never complete a second later
        assert_eq!(send_all(&mut site, "isp1", &cut(flows[0])[..2]).len(), 2);
        site.run_ms(1_001);
        let all = whole(&all_by("lan", send_all(&mut site, "isp1", &cut(flows[1])))).unwrap();
        assert_eq!(all.dst(), (H1, 5001));
        // and 30 s after the first the rest is of nothing
        assert_eq!(send_all(&mut site, "isp1", &cut(flows[2])[..2]).len(), 2);
        site.run_coarse(30, 10);
        assert_eq!(send_all(&mut site, "isp1", &cut(flows[2])[2..]), []);
        site.run_ms(2_001);
        site.finish(&and(&[&OPENED, &["drop_fragment_timeout"]])).unwrap();
    });
}

#[test]
fn fragments_to_a_next_hop_that_is_looked_for_wait_like_others_and_are_told_as_they_came() {
    let mut site = Site::new(ROUTED, 2).unwrap();
    meet(&mut site);
    // inside, untranslated, to a host that is not there
    let nobody = Ipv4Addr::new(172, 16, 0, 200);
    let lost = fragments(&Packet::udp((H1, 5000), (nobody, 80), &data(3000)), 78, 1480);
    assert_eq!(send_all(&mut site, "lan", &lost), []);
    site.run_ms(4_100);
    let out = taken(&mut site);
    assert_eq!(out.iter().filter_map(|(_, s)| error(s)).collect::<Vec<_>>(), [(3, 1, 0)]);
    let quoted = out[0].1.quoted().unwrap().0;
    assert_eq!((quoted.id, quoted.src, quoted.more_fragments), (78, H1, true));
    // the same on a WAN's link, where the first one was translated
    let nobody = Ipv4Addr::new(203, 0, 113, 5);
    let lost = fragments(&Packet::udp((H1, 5000), (nobody, 80), &data(3000)), 80, 1480);
    assert_eq!(send_all(&mut site, "lan", &lost), []);
    site.run_ms(4_100);
    let out = all_by("lan", taken(&mut site));
    let (quoted, ports) = out[0].quoted().unwrap();
    assert_eq!((out.len(), quoted.id, quoted.src), (1, 80, H1));
    assert_eq!(ports, lost[0].payload[..ports.len()]);
    // and to one that appears while they wait
    let late = Ipv4Addr::new(172, 16, 0, 201);
    let held = fragments(&Packet::udp((H1, 5000), (late, 80), &data(3000)), 79, 1480);
    assert_eq!(send_all(&mut site, "lan", &held), []);
    site.add_host("dmz", late);
    site.run_ms(1_500);
    assert!(whole(&all_by("dmz", taken(&mut site))).unwrap().checksum_holds());
    let moved = ["drop_neighbor_unresolved", "icmp_errors_sent", "icmp_errors_forbidden"];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}

#[test]
fn rfc1812_5_2_6_fragments_from_inside_to_inside_go_as_they_come() {
    for (workers, queue) in SHAPES {
        let mut site = Site::new(ROUTED, workers).unwrap();
        site.use_queue(queue);
        site.add_host("dmz", DMZ);
        meet(&mut site);
        let cut = fragments(&Packet::udp((H1, 5000), (DMZ, 80), &data(3000)), 77, 1000);
        for at in [2, 0, 1, 3, 3] {
            let (link, seen) = site.pass("lan", &cut[at]).unwrap();
            assert_eq!((link.as_str(), seen.payload), ("dmz", cut[at].payload.clone()));
            assert_eq!((seen.ip.id, seen.ip.fragment_offset), (77, cut[at].ip.fragment_offset));
        }
        site.finish(&[]).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn rfc4787_14b_and_rfc1812_5_2_6_what_comes_out_is_the_translation_of_the_whole(
        workers in 1usize..4, queue in 0usize..3, seed: u64,
        datagrams in prop::collection::vec((0u16..4, 1usize..8, 100usize..6000, any::<bool>()), 1..12),
    ) {
        use rand::{SeedableRng, seq::SliceRandom};
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut site = site(workers);
        site.use_queue(queue.min(workers - 1));
        meet(&mut site);
        let flows: Vec<End> = (0..4).map(|n| udp_out(&mut site, (H1, 5000 + n), (E1, 80)).unwrap().1).collect();
        let mut frames = Vec::new();
        for (id, (flow, step, length, inbound)) in datagrams.iter().enumerate() {
            let outside = flows[usize::from(*flow)];
            let (link, packet) = match inbound {
                true => ("isp1", Packet::udp((E1, 80), outside, &data(*length))),
                false => ("lan", Packet::udp((H1, 5000 + *flow), (E1, 80), &data(*length))),
            };
            // at most 16 wait for a first one
            let step = (step * 128).max((length + 8).div_ceil(16).next_multiple_of(8));
            frames.extend(fragments(&packet, id as u16, step).into_iter().map(|p| (link, p)));
        }
        frames.shuffle(&mut rng);
        let fragmented = datagrams.iter().filter(|(_, step, length, _)| {
            length + 8 > (step * 128).max((length + 8).div_ceil(16).next_multiple_of(8))
        }).count();
        let mut out: BTreeMap<(String, u16, u16), Vec<Seen>> = BTreeMap::new();
        for (link, packet) in &frames {
            for (by, seen) in site.send(link, packet) {
                out.entry((by, seen.ip.id, u16::from(seen.ip.is_fragment()))).or_default().push(seen);
            }
        }
        let (mut done, mut whole_ones) = (0, 0);
        for ((by, ..), pieces) in &out {
            if !pieces[0].ip.is_fragment() {
                whole_ones += pieces.len();
                continue;
            }
            let all = whole(pieces);
            prop_assert!(all.is_some(), "{:?}", pieces);
            let all = all.unwrap();
            prop_assert!(all.checksum_holds());
            prop_assert_eq!(all.data(), &data(all.data().len())[..]);
            let inside = if by == "lan" { all.dst() } else { all.src() };
            prop_assert_eq!(inside.0, if by == "lan" { H1 } else { P1 });
            done += 1;
        }
        prop_assert_eq!((done, whole_ones), (fragmented, datagrams.len() - fragmented));
        prop_assert_eq!(site.finish(&OPENED), Ok(()));
    }
}

#[test]
fn rfc4787_14b_fragments_of_a_protocol_without_ports_follow_their_first_one() {
    each_shape(|mut site| {
        meet(&mut site);
        for (n, order) in ORDERS.iter().enumerate() {
            let cut = |src, dst| {
                let mut packet = Packet::udp((src, 1), (dst, 1), &data(3000));
                packet.ip.protocol = 47;
                let cut = fragments(&packet, n as u16, 1480);
                order.iter().map(|at| cut[*at].clone()).collect::<Vec<_>>()
            };
            let out = all_by("isp1", send_all(&mut site, "lan", &cut(H1, E1)));
            assert_eq!(whole(&out).map(|all| (all.ip.src, all.payload.len())), Some((P1, 3008)));
            let out = all_by("lan", send_all(&mut site, "isp1", &cut(E1, P1)));
            assert_eq!(whole(&out).map(|all| (all.ip.dst, all.payload.len())), Some((H1, 3008)));
        }
        site.finish(&["sessions_created"]).unwrap();
    });
}
