//! The rule of ownership against DPDK: its own Toeplitz hash, and a port that is told.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "dpdk_ports/rig.rs"]
mod rig;

use std::net::Ipv4Addr;

use turnout::base::PortId;
use turnout::dpdk::*;
use turnout::engine::rss::{self, Role};
use turnout::engine::steer::Steer;

use rig::{Where, alone, start};

/// The worker that a NIC with such a key and table gives a packet to, by DPDK's hash.
fn queue(role: Role, input: &[u32], size: usize, workers: usize) -> usize {
    let hash = soft_rss(input, &rss::key(role, 40).unwrap()).unwrap();
    usize::from(rss::redirection(size, workers).unwrap()[hash as usize % size])
}

/// Numbers without order, the same in every run (SplitMix64).
fn numbers() -> impl FnMut() -> u32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u32
    }
}

#[test]
fn the_inside_key_sees_the_source_alone_and_agrees_with_steer() {
    let mut random = numbers();
    for workers in [2, 3, 4, 8, 128] {
        let steer = Steer::new(workers);
        for size in [128, 512, 2048] {
            for _ in 0..300 {
                let src = random();
                let owner = steer.host(Ipv4Addr::from_bits(src)).index();
                for _ in 0..4 {
                    let (dst, ports) = (random(), random());
                    assert_eq!(queue(Role::Inside, &[src, dst], size, workers), owner);
                    assert_eq!(queue(Role::Inside, &[src, dst, ports], size, workers), owner);
                }
            }
        }
    }
}

#[test]
fn the_wan_key_sees_the_destination_port_alone_and_agrees_with_steer() {
    let mut random = numbers();
    for workers in [2, 3, 4, 8, 128] {
        let steer = Steer::new(workers);
        for port in (0..=u16::MAX).step_by(31) {
            let owner = steer.port(port).index();
            for size in [128, 512] {
                let ports = random() << 16 | u32::from(port);
                assert_eq!(queue(Role::Wan, &[random(), random(), ports], size, workers), owner);
            }
        }
        // What has no ports comes to one worker, which hands it over.
        let none = queue(Role::Wan, &[random(), random()], 128, workers);
        assert_eq!(none, queue(Role::Wan, &[random(), random()], 512, workers));
    }
}

#[test]
fn a_key_that_is_too_short_for_its_input_is_refused() {
    assert_eq!(soft_rss(&[1, 2, 3], &[0; 15]), None);
    assert_eq!(soft_rss(&[0; 13], &[0; 64]), None);
    assert_eq!(soft_rss(&[], &[0; 64]), None);
    assert_eq!(soft_rss(&[1, 2, 3], &[0; 16]), Some(0));
}

/// `net_null` has a key and a table that it keeps as told; `net_ring` has neither.
#[test]
fn a_port_is_told_or_says_why_not() {
    alone("a_port_is_told_or_says_why_not", Where::Here, || {
        let eal = start();
        let pool = Pool::new(&eal, "p", 2047, 2048).unwrap();
        let rule = RssRule { key: |len| rss::key(Role::Wan, len), redirection: rss::redirection };
        let open = |name: &str, id: u16, queues: u16, rss: RssRule| {
            let config = PortConfig { queues, rss: Some(rss), ..PortConfig::new(pool.clone()) };
            let mut port = Port::open(&eal, &PortSource::Vdev(name.into()), PortId(id), &config).unwrap();
            assert_eq!(port.caps().steering, Steering::Unasked);
            port.start().unwrap();
            println!("{}", port.caps());
            port
        };
        let mut null = open("net_null0", 0, 2, rule);
        assert_eq!(null.caps().steering, Steering::Nic);
        assert!(null.caps().to_string().ends_with(", steered by the NIC"));
        null.stop().unwrap();
        null.start().unwrap();
        assert_eq!(null.caps().steering, Steering::Nic);
        assert_eq!(open("net_null1", 1, 1, rule).caps().steering, Steering::Unasked);

        let small = RssRule { redirection: |_, _| None, ..rule };
        let port = open("net_null2", 2, 2, small);
        assert_eq!(port.caps().steering, Steering::Rings("its redirection table is too small"));

        let mut ring = open("net_ring0", 3, 2, rule);
        assert!(ring.caps().to_string().ends_with(", handed over by rings (no RSS)"));
        assert_eq!(ring.take_queues().unwrap().len(), 2);
        // No port relies on there being one pool: a second is no matter.
        assert!(Pool::new(&eal, "q", 63, 2048).is_ok());
    });
}
