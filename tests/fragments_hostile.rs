//! Fragments that are meant to do harm: of nothing, too small, overlapping, at random (RFC 1858, RFC 3128, RFC 4787 REQ-14).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "common/pieces.rs"]
mod pieces;
use common::*;
use pieces::*;

use std::net::Ipv4Addr;

use proptest::prelude::*;

#[test]
fn rfc4787_14c_a_hundred_thousand_fragments_of_nothing_harm_neither_plain_nor_fragmented_traffic() {
    for workers in [1, 3] {
        let mut site = site(workers);
        meet(&mut site);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let stray = |n: u32| {
            let src = Ipv4Addr::from_bits(0x0909_0000 + n % 7);
            piece(src, P1, (n * 7919) as u16, 1480 + (n % 5 * 8) as u16, &[n as u8; 16], n.is_multiple_of(2))
        };
        let mut most = 0;
        for round in 0..100u32 {
            let out = flood(&mut site, "isp1", (0..1000).map(|n| stray(round * 1000 + n)));
            assert_eq!(out, [], "nothing of it comes in");
            most = most.max(site.moved("held"));
            assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)));
            // in order: does not wait at the gate
            let reply = Packet::udp((E1, 80), x, &data(4000));
            let came = fragments(&reply, 9000 + round as u16, 1480);
            let out = all_by("lan", send_all(&mut site, "isp1", &came));
            assert!(whole(&out).unwrap().checksum_holds());
            // and from inside
            let came = fragments(&Packet::udp((H1, 5000), (E1, 80), &data(4000)), round as u16, 1480);
            assert!(whole(&all_by("isp1", send_all(&mut site, "lan", &came))).is_some());
        }
        assert!(most <= 128 * workers as u64, "{most} held");
        let held = site.moved("held");
        assert_eq!(site.moved("drop_fragment_hold"), 100_000 - held);
        site.run_ms(2_100);
        assert_eq!(site.moved("held"), 0);
        assert_eq!(site.moved("drop_fragment_timeout"), held);
        site.finish(&and(&[&OPENED, &["drop_fragment_hold", "drop_fragment_timeout"]])).unwrap();
    }
}

#[test]
fn rfc1812_overlap_refuses_the_rest_of_the_datagram_and_a_fragment_that_comes_twice_itself() {
    each_shape(|mut site| {
        meet(&mut site);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let cut = |id| fragments(&Packet::udp((E1, 80), x, &data(4000)), id, 1000);
        // twice the same, before and after the first one
        let c = cut(1);
        let twice = [2, 2, 0, 0, 1, 1, 3, 4].map(|at: usize| c[at].clone());
        let out = all_by("lan", send_all(&mut site, "isp1", &twice));
        assert_eq!(out.len(), 5);
        assert!(whole(&out).unwrap().checksum_holds());
        assert_eq!(site.moved("drop_fragment_duplicate"), 3);
        // an overlap: what came before it has gone, nothing goes after
        let overlap = |id, offset| piece(E1, P1, id, offset, &[0xee; 64], true);
        for (id, offset) in [(10, 8), (11, 1992), (12, 1000), (13, 960)] {
            let c = cut(id);
            let sent = [c[0].clone(), c[1].clone(), overlap(id, offset), c[2].clone(), c[3].clone()];
            assert_eq!(send_all(&mut site, "isp1", &sent).len(), 2, "{offset}");
        }
        assert_eq!(site.moved("drop_fragment_overlap"), 12);
        // known before the first came: nothing of it goes in
        let c = cut(14);
        let sent = [c[1].clone(), overlap(14, 1992), c[2].clone(), c[0].clone(), c[3].clone(), c[4].clone()];
        assert_eq!(send_all(&mut site, "isp1", &sent), []);
        assert_eq!(site.moved("drop_fragment_overlap"), 18);
        // beyond the end
        let c = cut(15);
        let sent = [c[0].clone(), c[4].clone(), overlap(15, 4096), c[1].clone()];
        assert_eq!(send_all(&mut site, "isp1", &sent).len(), 2);
        let lists: [&[&str]; 2] = [&OPENED, &["drop_fragment_overlap", "drop_fragment_duplicate"]];
        site.finish(&and(&lists)).unwrap();
    });
}

#[test]
fn rfc1812_tiny_fragments_that_split_the_transport_header_or_cannot_be_are_dropped() {
    let mut site = site(2);
    meet(&mut site);
    let tcp = Packet::tcp((H1, 5000), (E1, 80), SYN, 1, 0, &data(100));
    let udp = Packet::udp((H1, 5000), (E1, 80), &data(100));
    let mut cases: Vec<(Packet, &str)> = vec![
        (fragments(&tcp, 1, 8)[0].clone(), "drop_fragment_tiny"),
        (fragments(&tcp, 2, 16)[0].clone(), "drop_fragment_tiny"),
        (fragments(&tcp, 3, 8)[1].clone(), "drop_fragment_tiny"),
        (fragments(&tcp, 3, 8)[2].clone(), "drop_fragment_tiny"),
        // 8 bytes short of a step, and empty ones
        (piece(H1, E1, 4, 0, &udp.payload[..100], true), "drop_fragment_malformed"),
        (piece(H1, E1, 4, 800, &[], false), "drop_fragment_malformed"),
        (piece(H1, E1, 4, 0, &[], true), "drop_fragment_malformed"),
        // beyond 65535 with a header
        (piece(H1, E1, 4, 65_512, &[7; 8], false), "drop_fragment_malformed"),
        (piece(H1, E1, 4, 65_512, &[7; 80], true), "drop_fragment_malformed"),
    ];
    let mut bad = fragments(&tcp, 5, 48)[0].clone();
    bad.payload[12] = 4 << 4;
    cases.push((bad, "drop_transport_malformed"));
    let mut bad = fragments(&udp, 5, 48)[0].clone();
    put16(&mut bad.payload, 4, 7);
    cases.push((bad, "drop_transport_malformed"));
    for (packet, counter) in &cases {
        let before = site.moved(counter);
        assert_eq!(site.send("lan", packet), [], "{packet:?}");
        assert_eq!(site.moved(counter), before + 1, "{counter}: {packet:?}");
    }
    // The last place there is, and a header whose options come later
    assert_eq!(site.send("lan", &piece(H1, E1, 6, 65_504, &[7; 8], false)), []);
    let mut options = tcp;
    options.payload[12] = 15 << 4;
    assert_eq!(site.send("lan", &fragments(&options, 7, 24)[0]).len(), 1);
    site.run_ms(2_001);
    let moved = [
        "drop_fragment_tiny",
        "drop_fragment_malformed",
        "drop_transport_malformed",
        "drop_fragment_timeout",
    ];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}

/// The most that waits on one worker: gate, gather, next hops.
const HELD: u64 = 256 + 4 * 16 + 256;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn rfc4787_14c_and_rfc1812_overlap_whatever_comes_the_books_balance_and_nothing_false_comes_out(
        workers in 1usize..4, seed: u64,
    ) {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut site = narrow(workers, &[("lan", 1000), ("isp1", 700)]);
        let flows: Vec<End> = (0..3).map(|n| udp_out(&mut site, (H1, 5000 + n), (E1, 80)).unwrap().1).collect();
        for _ in 0..1500 {
            site.use_queue(rng.random_range(0..workers));
            let flow = rng.random_range(0..3u16);
            let (link, packet) = match rng.random_range(0..4) {
                0 => ("lan", Packet::udp((H1, 5000 + flow), (E1, 80), &data(3000))),
                1 => ("isp1", Packet::udp((E1, 80), flows[usize::from(flow)], &data(3000))),
                2 => ("isp1", Packet::icmp(E1, P1, 8, 0, flow, 1, &data(3000))),
                _ => ("lan", Packet::icmp(H2, LAN, 8, 0, flow, 1, &data(3000))),
            };
            let step = [400, 800, 1480][rng.random_range(0..3usize)];
            let cut = fragments(&packet, rng.random_range(0..12), step);
            let mut one = cut[rng.random_range(0..cut.len())].clone();
            match rng.random_range(0..12) {
                0 => one.ip.fragment_offset = rng.random_range(0..0x2000) * 8,
                1 => one.ip.more_fragments = !one.ip.more_fragments,
                2 => one.ip.dont_fragment = true,
                3 => one.ip.ttl = 1,
                4 => {
                    one.payload.truncate(rng.random_range(0..one.payload.len()));
                    one.ip.total_len = (20 + one.payload.len()) as u16;
                }
                _ => {}
            }
            let frame = site.frame_of(link, &one);
            site.put_raw(link, &frame);
            if rng.random_range(0..4) == 0 {
                site.run_ms([1, 1, 1, 300][rng.random_range(0..4usize)]);
            }
            for (by, seen) in taken(&mut site) {
                let most = if by == "lan" { 1000 } else { 700 };
                prop_assert!(seen.ip.total_len <= most);
                prop_assert!(!seen.ip.more_fragments || seen.payload.len() % 8 == 0);
            }
            prop_assert!(site.moved("held") <= HELD * workers as u64);
        }
        // all of it ends, and then a datagram like any other goes its way
        site.run_coarse(32, 10);
        prop_assert_eq!(site.moved("held"), 0);
        taken(&mut site);
        let reply = fragments(&Packet::udp((E1, 80), flows[0], &data(3000)), 1, 1480);
        let out = all_by("lan", send_all(&mut site, "isp1", &reply));
        prop_assert!(whole(&out).is_some_and(|all| all.checksum_holds() && all.dst() == (H1, 5000)));
        let expected: Vec<&str> = site.counters().iter().map(|(name, _)| name).filter(|n| site.moved(n) > 0).collect();
        prop_assert_eq!(site.finish(&expected), Ok(()));
    }
}
