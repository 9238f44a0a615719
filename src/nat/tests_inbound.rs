//! Who comes in, who does not, and why: strangers, those who come by way of an outside address, and what stands in their way.

use std::net::Ipv4Addr;

use super::inbound::FromOutside;
use super::outbound::FromInside;
use super::session::Kind;
use super::statics::Target;
use super::tests_place::{REMOTE, World};
use super::{Choice, Env, Outbound, Translation};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Tuple};
use crate::wire::protocol::{TCP, UDP};
use crate::wire::tcp::{Flags, Tcp};

type End = (Ipv4Addr, u16);

pub(super) fn syn(protocol: u8) -> Option<Tcp> {
    let flags = Flags(Flags::SYN);
    (protocol == TCP).then_some(Tcp { src: 0, dst: 0, seq: 1, ack: 0, header_len: 20, flags })
}

/// A packet from `src` to the outside endpoint that something was translated to.
pub(super) fn knock(
    world: &mut World,
    protocol: u8,
    src: End,
    to: Translation,
    target: Option<Target>,
    hairpin: bool,
) -> Result<Translation, DropReason> {
    let tuple = Tuple { protocol, src: src.0, src_port: src.1, dst: to.addr, dst_port: to.port };
    let (ingress, tcp, reply) = (IfaceId(1), syn(protocol), false);
    let packet = FromOutside { wan: to.wan, ingress, tuple: &tuple, tcp, bytes: 60, target, reply, hairpin };
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    world.nat.inbound(&packet, &mut env)
}

fn later(world: &mut World, s: u64) {
    world.now += Nanos::from_s(s);
}

#[test]
fn a_mapping_in_which_nobody_speaks_any_more_lets_in_nobody_from_inside_either() {
    let neighbour = (Ipv4Addr::new(10, 0, 0, 2), 6000);
    let mut world = World::new(&[1], 64, |_| true);
    let udp = world.send(UDP, 1, 5000).unwrap();
    assert!(knock(&mut world, UDP, neighbour, udp, None, true).is_ok());
    later(&mut world, 300);
    let refused = Err(DropReason::NatNoMapping);
    assert_eq!(knock(&mut world, UDP, neighbour, udp, None, true), refused);
    assert_eq!(world.nat.mappings.len(), 0);
    // Outside has, and inside has not.
    let tcp = world.send_to(TCP, 1, 5000, 80).unwrap();
    knock(&mut world, TCP, (REMOTE, 81), tcp, None, false).unwrap();
    world.nat.remove_session(tcp.slot, world.now, &mut world.counters);
    assert_eq!((world.nat.live(), world.nat.mappings.len()), (1, 1));
    assert_eq!(knock(&mut world, TCP, neighbour, tcp, None, true), refused);
    world.nat.audit().unwrap();
}

#[test]
fn strangers_have_64_at_a_mapping_and_one_in_eight_sessions_in_all() {
    let mut world = World::new(&[1], 1024, |_| true);
    for (port, most) in [(5000, 64), (5001, 64), (5002, 0)] {
        let to = world.send(UDP, 1, port).unwrap();
        for n in 0..70 {
            let came = knock(&mut world, UDP, (REMOTE, 10_000 + n), to, None, false);
            assert_eq!(came.err(), (n >= most).then_some(DropReason::NatStrangers), "{port} {n}");
        }
    }
    assert_eq!(world.nat.live(), 3 + 128);
    world.nat.audit().unwrap();
}

#[test]
fn who_speaks_already_by_another_way_is_told_apart_from_who_is_not_let_in() {
    let mut world = World::new(&[1], 64, |_| true);
    let forward = |port| Some(Target { inside: [10, 0, 0, 1].into(), port, kind: Kind::Forward });
    let mapped = world.send_to(UDP, 1, 7000, 53).unwrap();
    let forwarded = Translation { port: 1, ..mapped };
    let clash = knock(&mut world, UDP, (REMOTE, 53), forwarded, forward(7000), false);
    assert_eq!(clash, Err(DropReason::NatClash));
    knock(&mut world, UDP, (REMOTE, 53), forwarded, forward(7001), false).unwrap();
    let mapped = world.send_to(UDP, 1, 7001, 54).unwrap();
    let filtered = knock(&mut world, UDP, (REMOTE, 53), mapped, None, false);
    assert_eq!(filtered, Err(DropReason::NatFiltered));
    world.nat.audit().unwrap();
}

#[test]
fn whose_session_has_expired_where_its_mapping_was_comes_in_where_that_is_now() {
    let mut world = World::new(&[1, 1], 64, |_| true);
    for remote in [1, 53] {
        world.send_to(UDP, 1, 5000, remote).unwrap();
    }
    later(&mut world, 200);
    let old = world.up.clone();
    world.up.groups[0].choice = Choice::One(WanId(1));
    (world.up.groups[0].bonds[0].epoch, world.up.groups[0].bonds[0].tcp) = (2, 2);
    world.nat.renewed(&old, &world.up, world.now);
    let moved = world.send_to(UDP, 1, 5000, 1).unwrap();
    assert_eq!(moved.wan, WanId(1));
    later(&mut world, 110);
    let back = knock(&mut world, UDP, (REMOTE, 53), moved, None, false).unwrap();
    assert_eq!(((back.addr, back.port), world.nat.live()), (([10, 0, 0, 1].into(), 5000), 2));
    world.nat.audit().unwrap();
}

#[test]
fn a_connection_that_finds_no_room_to_let_its_remote_in_is_refused_and_leaves_nothing() {
    let mut world = World::new(&[1], 64, |_| true);
    let (mut opened, mut refused) = (0, 0);
    for n in 0..40 {
        let dst = Ipv4Addr::new(192, 0, 2, n);
        let tuple = Tuple { protocol: TCP, src: [10, 0, 0, 1].into(), src_port: 5000, dst, dst_port: 80 };
        let tcp = syn(TCP);
        let packet =
            FromInside { ingress: IfaceId(0), tuple: &tuple, tcp, reply: false, bytes: 60, pin: None };
        let mut env =
            Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
        match world.nat.outbound(&packet, &mut env) {
            Outbound::Translate(_) => opened += 1,
            other => {
                assert_eq!(other, Outbound::Drop(DropReason::NatTableFull));
                refused += 1;
            }
        }
        world.nat.audit().unwrap();
    }
    let mapping = world.nat.mappings.get(0);
    assert_eq!((mapping.sessions, mapping.further), (opened, opened - 1));
    assert!(opened > 8 && refused > 8, "{opened} {refused}");
}
