//! What is known of live TCP: SYNs, their answers, and the flows that are watched.

use super::inbound::FromOutside;
use super::outbound::FromInside;
use super::rules::Midstream;
use super::session::{INSIDE, Key, OUTSIDE};
use super::tcp::TcpState;
use super::tests_place::{REMOTE, World};
use super::timeouts::tick;
use super::{Choice, Env, TcpGauge, Translation};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Tuple};
use crate::wire::protocol::{TCP, UDP};
use crate::wire::tcp::{Flags, Tcp};

const SYN: u8 = Flags::SYN;
const ACK: u8 = Flags::ACK;
const SYN_ACK: u8 = SYN | ACK;

fn header(flags: u8, seq: u32) -> Tcp {
    Tcp { src: 0, dst: 0, seq, ack: 77, header_len: 20, flags: Flags(flags) }
}

fn tuple(port: u16) -> Tuple {
    Tuple { protocol: TCP, src: [10, 0, 0, 1].into(), src_port: port, dst: REMOTE, dst_port: 80 }
}

/// A segment from inside.
fn out(world: &mut World, port: u16, flags: u8) -> Translation {
    let tuple = tuple(port);
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    let (ingress, tcp) = (IfaceId(0), Some(header(flags, 1)));
    let packet = FromInside { ingress, tuple: &tuple, tcp, reply: false, bytes: 40, pin: None };
    match world.nat.outbound(&packet, &mut env) {
        super::Outbound::Translate(to) => to,
        other => panic!("{other:?}"),
    }
}

/// The answer to what was translated.
fn back(world: &mut World, to: Translation, flags: u8) -> Result<Translation, DropReason> {
    let tuple = Tuple { protocol: TCP, src: REMOTE, src_port: 80, dst: to.addr, dst_port: to.port };
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    let (wan, ingress, tcp) = (to.wan, IfaceId(1), Some(header(flags, 1)));
    let (target, reply, hairpin) = (None, false, false);
    world.nat.inbound(
        &FromOutside { wan, ingress, tuple: &tuple, tcp, bytes: 40, target, reply, hairpin },
        &mut env,
    )
}

fn later(world: &mut World, ms: u64) {
    world.now += Nanos::from_ms(ms);
}

fn gauge(world: &World) -> TcpGauge {
    world.nat.tcp_gauges()[0]
}

fn syns(world: &World) -> (u64, u64, u64) {
    (gauge(world).syns, gauge(world).unanswered, gauge(world).trips)
}

#[test]
fn a_syn_is_counted_once_and_when_it_comes_again_and_its_first_answer_is_a_round_trip() {
    let mut world = World::new(&[1], 64, |_| true);
    let to = out(&mut world, 5000, SYN);
    later(&mut world, 30);
    back(&mut world, to, SYN_ACK).unwrap();
    assert_eq!(syns(&world), (1, 0, 1));
    let us = gauge(&world).trips_us;
    assert!((29_900..=30_100).contains(&us), "{us}");
    // Whatever comes later is none.
    out(&mut world, 5000, ACK);
    back(&mut world, to, SYN_ACK).unwrap();
    assert_eq!(world.nat.sessions.get(to.slot).last_ack, 77, "what inside has acknowledged stays known");
    out(&mut world, 5000, SYN);
    assert_eq!(syns(&world), (1, 0, 1), "a SYN in the middle");
    // Nobody answers at first.
    let to = out(&mut world, 5001, SYN);
    later(&mut world, 1000);
    out(&mut world, 5001, ACK);
    assert_eq!(syns(&world), (2, 0, 1));
    out(&mut world, 5001, SYN);
    assert_eq!(syns(&world), (3, 1, 1));
    back(&mut world, to, SYN_ACK).unwrap();
    assert_eq!(syns(&world), (3, 1, 1), "whose answer that is nobody knows");
    // A refusal is no measure.
    let to = out(&mut world, 5002, SYN);
    back(&mut world, to, Flags::RST).unwrap();
    assert_eq!(syns(&world), (4, 1, 1));
    out(&mut world, 5002, SYN);
    assert_eq!(syns(&world), (5, 1, 1), "it begins again");
}

#[test]
fn what_is_no_syn_from_inside_is_not_counted_as_one() {
    let mut world = World::new(&[1], 64, |_| true);
    (0..3).for_each(|_| assert!(world.send(UDP, 1, 5000).is_ok()));
    let mut session = *world.nat.sessions.get(0);
    session.state = TcpState::SynOut as u8;
    world.nat.gauges.opened(&session);
    world.rules.midstream = Midstream::Adopt;
    world.now = Nanos::from_s(2000);
    let to = out(&mut world, 5000, ACK);
    let mut session = *world.nat.sessions.get(to.slot);
    session.state = TcpState::SynIn as u8;
    world.nat.gauges.opened(&session);
    assert_eq!(syns(&world), (0, 0, 0));
    // One that was not sent is not unanswered.
    let (tuple, counters) = (tuple(6000), &mut world.counters);
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters };
    let hash = world.nat.hash(Key::outbound(&tuple));
    world.nat.open(&tuple, (IfaceId(0), None), hash, &mut env).unwrap();
    out(&mut world, 6000, SYN);
    assert_eq!(gauge(&world).unanswered, 0);
}

/// Connections that are open, one a port from 5000 on, each on a WAN.
fn connected(world: &mut World, wans: &[u8]) -> Vec<u32> {
    let mut slots = vec![];
    for (n, wan) in wans.iter().enumerate() {
        world.up.groups[0].choice = Choice::One(WanId(*wan));
        let to = out(world, 5000 + n as u16, SYN);
        back(world, to, SYN_ACK).unwrap();
        slots.push(to.slot);
    }
    slots
}

/// Whether the sweep takes it, being there now.
fn taken(world: &mut World, slot: u32) -> bool {
    world.nat.consider(slot, world.now);
    world.nat.gauges.watches(slot)
}

fn turn(world: &mut World) -> bool {
    world.nat.gauges.turn(world.now);
    world.nat.gauges.wanting()
}

#[test]
fn two_flows_of_a_wan_are_watched_for_two_seconds_each_one_a_quarter_after_the_other() {
    let mut world = World::new(&[1], 64, |_| true);
    let slots = connected(&mut world, &[0; 4]);
    world.nat.sessions.get_mut(slots[0]).stamps = [3; 2];
    assert!(turn(&mut world) && taken(&mut world, slots[0]));
    assert_eq!(world.nat.sessions.get(slots[0]).stamps, [0; 2], "it goes the long way");
    world.nat.establish(slots[0], [Some(1), None], IfaceId(0), 9, &world.up);
    assert_eq!(world.nat.sessions.get(slots[0]).stamps, [0; 2]);
    assert!(!turn(&mut world) && !taken(&mut world, slots[1]), "not so soon");
    later(&mut world, 250);
    assert!(turn(&mut world) && taken(&mut world, slots[1]));
    later(&mut world, 250);
    world.nat.sessions.get_mut(slots[2]).refreshed = tick(world.now);
    assert!(turn(&mut world) && !taken(&mut world, slots[2]), "there are two");
    let watched = |world: &World| slots.iter().filter(|slot| world.nat.gauges.watches(**slot)).count();
    world.nat.gauges.forget(slots[1]);
    assert!(world.nat.gauges.watches(slots[0]) && watched(&world) == 1);
    assert!(taken(&mut world, slots[2]));
    later(&mut world, 1499);
    turn(&mut world);
    assert_eq!(watched(&world), 2);
    later(&mut world, 1);
    turn(&mut world);
    assert!(!world.nat.gauges.watches(slots[0]) && watched(&world) == 1, "its time is over");
    let mut look = |packets| {
        (0..packets).for_each(|_| world.nat.gauges.segment(slots[2], INSIDE, header(ACK, 1), 40, world.now));
        turn(&mut world);
        watched(&world)
    };
    assert_eq!((look(511), look(1)), (1, 0), "so are its packets");
}

#[test]
fn eight_flows_are_watched_in_all() {
    let mut world = World::new(&[1; 5], 64, |_| true);
    let slots = connected(&mut world, &[0, 0, 1, 1, 2, 2, 3, 3, 4]);
    for pair in [0, 1] {
        (0..4).for_each(|n| assert!(taken(&mut world, slots[2 * n + pair])));
        assert_eq!(turn(&mut world), pair == 0);
        later(&mut world, 250);
    }
    assert!(!turn(&mut world) && !taken(&mut world, slots[8]));
}

#[test]
fn only_connections_that_are_in_use_are_watched() {
    let mut world = World::new(&[1], 64, |_| true);
    let slots = connected(&mut world, &[0; 4]);
    world.nat.sessions.get_mut(slots[0]).refreshed = tick(world.now).wrapping_sub(251);
    world.nat.sessions.get_mut(slots[1]).state = TcpState::FinOut as u8;
    let half_open = out(&mut world, 6000, SYN).slot;
    let udp = world.send(UDP, 1, 5000).unwrap().slot;
    world.nat.sessions.get_mut(udp).state = TcpState::Established as u8;
    world.nat.remove_session(slots[2], world.now, &mut world.counters);
    for slot in [slots[0], slots[1], slots[2], half_open, udp] {
        assert!(!taken(&mut world, slot), "slot {slot}");
    }
    world.nat.sessions.get_mut(slots[3]).refreshed = tick(world.now).wrapping_sub(250);
    assert!(taken(&mut world, slots[3]));
}

#[test]
fn segments_with_data_are_counted_and_each_way_has_its_own_numbers() {
    let mut world = World::new(&[1], 64, |_| true);
    let slots = connected(&mut world, &[0; 2]);
    assert!(taken(&mut world, slots[0]));
    let mut segment = |slot, side, flags, seq, len: u32| {
        world.nat.gauges.segment(slot, side, header(flags, seq), 40 + len, world.now);
        let all = world.nat.tcp_gauges()[0];
        (all.segments, all.resent)
    };
    assert_eq!(segment(slots[0], OUTSIDE, ACK, 1_000_000, 100), (1, 0));
    for (flags, len) in [(ACK, 0), (ACK, 1), (SYN, 100)] {
        assert_eq!(segment(slots[0], OUTSIDE, flags, 5, len), (1, 0), "no data, a probe, a beginning");
    }
    assert_eq!(segment(slots[0], INSIDE, ACK, 5, 2), (2, 0));
    assert_eq!(segment(slots[0], OUTSIDE, ACK, 1_000_000, 100), (3, 1));
    assert_eq!(segment(slots[1], OUTSIDE, ACK, 5, 100), (3, 1), "one that is not watched");
}
