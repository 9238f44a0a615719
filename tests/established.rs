//! The established path against the long way: two sites that differ in nothing else get the same frames, the same
//! failures and the same time, and must not be told apart: frames out, their order, counters, sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
mod pair;
use common::*;
use pair::{Kind, PROFILE, Pair, WANS};

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use rand::{SeedableRng, rngs::StdRng};
use turnout::base::{IfaceId, Mac};
use turnout::packet::VecBuf;
use turnout::sim::seeds::{seeds, whole};
use turnout::table::hash::HashKey;
use turnout::table::neighbors::Neighbors;

fn story(seed: u64, kind: Kind, steps: usize) -> BTreeSet<String> {
    let mut pair = Pair::new(seed, kind);
    for _ in 0..steps {
        if pair.chance(6) {
            pair.event();
        } else {
            pair.traffic();
        }
        pair.compare();
    }
    let all = || Request::Sessions(SessionFilter::default());
    assert_eq!(pair.fast.ask(all()), pair.long.ask(all()));
    pair.both(|site| WANS.iter().for_each(|wan| site.set_room(wan, None)));
    pair.compare();
    let moved: Vec<String> = pair.fast.counters().iter().map(|(name, _)| name.to_string()).collect();
    let moved: BTreeSet<String> = moved.into_iter().filter(|name| pair.fast.moved(name) > 0).collect();
    let names: Vec<&str> = moved.iter().map(String::as_str).collect();
    pair.fast.finish(&names).unwrap();
    pair.long.finish(&names).unwrap();
    moved
}

/// Thousands of bursts, and they come to most of what can happen to a packet.
#[test]
fn the_established_path_does_what_the_long_way_does() {
    let mut moved = BTreeSet::new();
    for seed in seeds(24) {
        let kind = Kind {
            workers: 1 + seed as usize % 3,
            ports: if seed % 4 == 3 { 3000 } else { 2 },
            crowded: seed % 5 == 1,
            renews: seed % 2 == 1,
        };
        moved.append(&mut story(seed, kind, 200));
    }
    for name in [
        "mappings_moved",
        "sessions_moved",
        "sessions_reset",
        "sessions_expired",
        "handed_in",
        "drop_eth_not_for_us",
        "drop_eth_source",
        "drop_ipv4_checksum",
        "drop_ipv4_total_length",
        "drop_transport_malformed",
        "drop_fragment_malformed",
        "drop_fragment_timeout",
        "drop_fragment_tiny",
        "drop_spoofed_source",
        "drop_link_broadcast",
        "drop_ttl_expired",
        "fragments_made",
        "drop_fragmentation_needed",
        "drop_neighbor_unresolved",
        "drop_link_down",
        "drop_tx_full",
        "drop_wan_left",
        "drop_wan_down",
        "drop_wan_none",
        "drop_nat_filtered",
        "drop_nat_no_mapping",
        "drop_nat_table_full",
        "drop_nat_tcp_midstream",
        "drop_nat_tcp_failover",
    ] {
        assert!(!whole() || moved.contains(name), "{name} did not move");
    }
}

#[test]
fn a_known_flow_takes_the_established_path_both_ways_and_with_the_switch_it_does_not() {
    for long in [false, true] {
        let mut site = site(1);
        meet(&mut site);
        if long {
            site.lcores()[0].router.long_way();
        }
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)));
        let view = site.view().clone();
        let now = site.now();
        for (at, link, packet) in
            [(0, "lan", Packet::udp((H1, 5000), (E1, 80), b"x")), (1, "isp1", Packet::udp((E1, 80), x, b"x"))]
        {
            let mut frames = vec![VecBuf::new(&site.frame_of(link, &packet))];
            let router = &mut site.lcores()[0].router;
            let from = router.from(&view, IfaceId(at), now);
            router.look_up(&view, &from, 0, &frames, 0);
            let known = router.established(&view, &from, &mut frames, 0);
            assert_eq!(known, usize::from(!long), "{link}");
            router.queue(&mut frames, 0, known);
            assert_eq!(frames.len(), usize::from(long));
            router.out.iter_mut().for_each(|out| _ = out.drain(|_| ()));
        }
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn a_new_flow_that_finds_the_table_full_makes_no_mapping() {
    let mut site = Site::new(PROFILE, 1).unwrap();
    meet(&mut site);
    // A flow a host: of fewer none would have the last tenth, as each keeps a share for whoever comes next.
    let of = |n: u32| Packet::udp((Ipv4Addr::from_bits(0x0a02_0000 + n), 5000), (E1, 80), b"x");
    flood(&mut site, "lan", (0..1024).map(of));
    assert_eq!(live(&mut site), 1024);
    site.pass("lan", &of(1024));
    assert_eq!(site.moved("drop_nat_table_full"), 1);
    assert_eq!((site.moved("mappings_created"), site.moved("mappings_removed")), (1024, 0));
    site.finish(&and(&[&OPENED, &["drop_nat_table_full", "sessions_refused", "icmp_errors_sent"]])).unwrap();
}

#[test]
fn a_flow_does_not_follow_the_number_of_its_neighbour_to_another_one() {
    let mut site = site(1);
    let key = HashKey::draw(&mut StdRng::seed_from_u64(7));
    site.lcores()[0].router.neighbors = Neighbors::new(2, key);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    for _ in 0..2 {
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)));
    }
    let (view, now, lan) = (site.view().clone(), site.now(), IfaceId(0));
    let router = &mut site.lcores()[0].router;
    let hop = router.neighbors.hop(lan, H1);
    router.give_up(&view, lan, H1, now);
    router.learn(&view, lan, H2, Mac([2, 0, 0, 8, 0, 1]));
    assert_eq!(router.neighbors.hop(lan, H2), hop);
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), None);
    site.finish(&OPENED).unwrap();
}
