//! Keys that an index cannot tell apart, of one bucket and one tag: whose a packet is then, the keys themselves say.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::outbound::FromInside;
use super::tests_inbound::{knock, syn};
use super::tests_place::{REMOTE, World};
use super::{Env, Key, Outbound};
use crate::base::{IfaceId, WanId};
use crate::packet::{DropReason, Tuple};
use crate::wire::protocol::{TCP, UDP};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// Two of them whose hashes look alike: in all that tables as small as these read of them, and more.
fn alike(all: impl Iterator<Item = u16>, hash: impl Fn(u16) -> u64) -> (u16, u16) {
    let mut seen = HashMap::new();
    let mut pairs = all.filter_map(|n| {
        let hash = hash(n);
        seen.insert((hash & 0xff, hash >> 49), n).map(|other| (other, n))
    });
    pairs.next().expect("no two are alike")
}

fn tuple(protocol: u8, src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Tuple {
    Tuple { protocol, src: src.0, src_port: src.1, dst: dst.0, dst_port: dst.1 }
}

#[test]
fn a_flow_that_looks_like_another_one_from_inside_has_a_session_of_its_own() {
    let mut world = World::new(&[1], 64, |_| true);
    let key = |port| Key::outbound(&tuple(UDP, (HOST, 5000), (REMOTE, port)));
    let (a, b) = alike(1..u16::MAX, |port| world.nat.hash(key(port)));
    let first = world.send_to(UDP, 1, 5000, a).unwrap();
    let second = world.send_to(UDP, 1, 5000, b).unwrap();
    assert_ne!(first.slot, second.slot);
    assert_eq!((first.addr, first.port), (second.addr, second.port));
    for (port, slot) in [(a, first.slot), (b, second.slot)] {
        assert_eq!(world.send_to(UDP, 1, 5000, port).unwrap().slot, slot);
    }
    assert_eq!(world.nat.live(), 2);
    world.nat.audit().unwrap();
}

#[test]
fn a_flow_that_looks_like_another_one_from_outside_leaves_it_its_place() {
    let mut world = World::new(&[1], 64, |_| true);
    let to = world.send_to(UDP, 1, 5000, 1).unwrap();
    let key = |port| Key::inbound(WanId(0), &tuple(UDP, (REMOTE, port), (to.addr, to.port)));
    let (a, b) = alike(2..u16::MAX, |port| world.nat.hash(key(port)));
    let slots = [a, b].map(|port| world.send_to(UDP, 1, 5000, port).unwrap().slot);
    world.nat.audit().unwrap();
    for (port, slot) in [a, b].into_iter().zip(slots) {
        assert_eq!(knock(&mut world, UDP, (REMOTE, port), to, None, false).unwrap().slot, slot);
    }
    assert_eq!(world.nat.live(), 3);
}

#[test]
fn a_mapping_lets_in_nobody_who_only_looks_like_someone_it_has_spoken_to() {
    let mut world = World::new(&[1], 64, |_| true);
    let remote = |n: u16| Ipv4Addr::from_bits(0xc633_0000 + u32::from(n));
    let of_ring = |n: u16| world.nat.key.hash(u64::from(remote(n).to_bits()) << 32, u64::MAX);
    let (a, b) = alike(1..u16::MAX, of_ring);
    let mut to = None;
    // The first one's ring is the mapping's own.
    for n in [0, a] {
        let tuple = tuple(TCP, (HOST, 5000), (remote(n), 80));
        let (tcp, ingress) = (syn(TCP), IfaceId(0));
        let packet = FromInside { ingress, tuple: &tuple, tcp, reply: false, bytes: 60, pin: None };
        let mut env =
            Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
        match world.nat.outbound(&packet, &mut env) {
            Outbound::Translate(translation) => to = Some(translation),
            other => panic!("{other:?}"),
        }
    }
    let to = to.unwrap();
    assert_eq!((world.nat.mappings.len(), world.nat.mappings.get(0).further), (1, 1));
    assert!(knock(&mut world, TCP, (remote(a), 81), to, None, false).is_ok());
    let refused = knock(&mut world, TCP, (remote(b), 80), to, None, false);
    assert_eq!((refused, world.nat.live()), (Err(DropReason::NatFiltered), 3));
    world.nat.audit().unwrap();
}
