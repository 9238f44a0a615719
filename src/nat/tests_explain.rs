//! What is said of a packet from inside is what becomes of it, case by case.

use super::explain::Fortune;
use super::inbound::FromOutside;
use super::outbound::FromInside;
use super::rules::{Midstream, Rate, Share};
use super::session::Kind;
use super::statics::Target;
use super::tests_place::{REMOTE, World};
use super::{Choice, Env, Outbound};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Tuple};
use crate::wire::protocol::{TCP, UDP};
use crate::wire::tcp::{Flags, Tcp};

const GRE: u8 = 47;
const SYN: u8 = Flags::SYN;
const ACK: u8 = Flags::ACK;
const RST: u8 = Flags::RST;

/// What is said of a packet of a host, from a port, and how it is carried; that this is what becomes of it.
fn says(
    world: &mut World,
    protocol: u8,
    (host, port): (u8, u16),
    dst_port: u16,
    flags: u8,
) -> (Fortune, Kind) {
    let src = [10, 0, 0, host].into();
    let tuple = Tuple { protocol, src, src_port: port, dst: REMOTE, dst_port };
    let tcp = Tcp { src: port, dst: dst_port, seq: 1, ack: 1, header_len: 20, flags: Flags(flags) };
    let (ingress, tcp) = (IfaceId(0), (protocol == TCP).then_some(tcp));
    let packet = FromInside { ingress, tuple: &tuple, tcp, reply: false, bytes: 60, pin: None };
    let said = world.nat.explain(&packet, &world.up, &world.rules, world.now);
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    let done = world.nat.outbound(&packet, &mut env);
    let agrees = match (said.fortune, done) {
        (Fortune::Drop(said), Outbound::Drop(why)) | (Fortune::Reset(said), Outbound::Reset(why)) => {
            said == why
        }
        (Fortune::Drop(_) | Fortune::Reset(_), _) | (_, Outbound::Drop(_) | Outbound::Reset(_)) => false,
        (_, Outbound::Translate(to)) => said.wan == Some(to.wan),
    };
    assert!(agrees, "{packet:?}: {said:#?}, {done:?}");
    (said.fortune, said.kind)
}

fn world() -> World {
    World::new(&[1, 1], 256, |_| true)
}

/// The group leaves the first WAN, for the second.
fn fail_over(world: &mut World) {
    let old = world.up.clone();
    world.up.wans[0].fit = false;
    world.up.groups[0].choice = Choice::One(WanId(1));
    for bond in [&mut world.up.groups[0].bonds[0], &mut world.up.outside[0]] {
        (bond.epoch, bond.tcp) = (2, 2);
    }
    world.nat.renewed(&old, &world.up, world.now);
}

#[test]
fn what_a_failover_does_to_each_flow_is_said() {
    let mut world = world();
    for port in [5000, 5001, 5002] {
        assert_eq!(says(&mut world, TCP, (1, port), 80, SYN), (Fortune::Begins, Kind::Masquerade));
    }
    assert_eq!(says(&mut world, UDP, (1, 5000), 53, 0).0, Fortune::Begins);
    assert_eq!(says(&mut world, UDP, (1, 5000), 54, 0).0, Fortune::Joins);
    assert_eq!(says(&mut world, UDP, (1, 5000), 54, 0).0, Fortune::Goes);
    assert_eq!(says(&mut world, GRE, (1, 0), 0, 0), (Fortune::Begins, Kind::Portless));
    fail_over(&mut world);
    let reason = DropReason::NatTcpFailover;
    assert_eq!(says(&mut world, TCP, (1, 5000), 80, RST).0, Fortune::Drop(reason));
    assert_eq!(says(&mut world, TCP, (1, 5001), 80, ACK).0, Fortune::Reset(reason));
    assert_eq!(says(&mut world, TCP, (1, 5002), 80, SYN).0, Fortune::Begins);
    assert_eq!(says(&mut world, UDP, (1, 5000), 53, 0).0, Fortune::Moves);
    assert_eq!(says(&mut world, UDP, (1, 5000), 54, 0).0, Fortune::Moves);
    assert_eq!(says(&mut world, GRE, (1, 0), 0, 0), (Fortune::Begins, Kind::Portless));
    world.nat.audit().unwrap();
}

#[test]
fn what_finds_its_wan_down_is_said_to() {
    let mut world = world();
    says(&mut world, UDP, (1, 5000), 53, 0);
    fail_over(&mut world);
    world.up.wans[1].fit = false;
    let down = Fortune::Drop(DropReason::WanDown);
    assert_eq!(says(&mut world, UDP, (1, 5000), 53, 0).0, down, "a flow that would move");
    assert_eq!(says(&mut world, UDP, (2, 5000), 53, 0).0, down);
    assert_eq!(says(&mut world, GRE, (2, 0), 0, 0), (down, Kind::Portless));
}

#[test]
fn what_outside_has_opened_stays_where_it_was_asked_for() {
    let mut world = world();
    let tuple =
        Tuple { protocol: UDP, src: REMOTE, src_port: 53, dst: [100, 64, 0, 0].into(), dst_port: 2000 };
    let target = Some(Target { inside: [10, 0, 0, 1].into(), port: 5000, kind: Kind::Forward });
    let (wan, ingress, tcp) = (WanId(0), IfaceId(1), None);
    let packet =
        FromOutside { wan, ingress, tuple: &tuple, tcp, bytes: 60, target, reply: false, hairpin: false };
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    world.nat.inbound(&packet, &mut env).unwrap();
    let there = |world: &World, port| {
        let tuple = Tuple { dst_port: port, ..tuple };
        let found = world.nat.explain_outside(WanId(0), &tuple, &world.up, world.now);
        found.map(|found| (found.session.is_some(), found.mapping.is_some(), found.left))
    };
    assert_eq!((there(&world, 2000), there(&world, 2001)), (Some((true, false, false)), None));
    assert_eq!(says(&mut world, UDP, (1, 5000), 53, 0), (Fortune::Goes, Kind::Forward));
    let mapped = world.send(UDP, 2, 5000).unwrap().port;
    let other = Tuple { src_port: 99, dst_port: mapped, ..tuple };
    let found = world.nat.explain_outside(WanId(0), &other, &world.up, world.now).unwrap();
    assert!(found.session.is_none() && found.mapping.is_some());
    fail_over(&mut world);
    assert_eq!(there(&world, 2000), Some((true, false, true)));
    let left = (Fortune::Drop(DropReason::WanLeft), Kind::Forward);
    assert_eq!(says(&mut world, UDP, (1, 5000), 53, 0), left);
}

#[test]
fn what_begins_in_its_middle_is_told_or_adopted_or_dropped() {
    let why = DropReason::NatTcpMidstream;
    for (midstream, flags, is) in [
        (Midstream::Reset, ACK, Fortune::Reset(why)),
        (Midstream::Reset, RST, Fortune::Drop(why)),
        (Midstream::Drop, ACK, Fortune::Drop(why)),
        (Midstream::Drop, RST, Fortune::Drop(why)),
        (Midstream::Adopt, ACK, Fortune::Begins),
        (Midstream::Adopt, RST, Fortune::Drop(why)),
        (Midstream::Adopt, Flags::FIN | ACK, Fortune::Reset(why)),
    ] {
        let mut world = world();
        world.rules.midstream = midstream;
        assert_eq!(says(&mut world, TCP, (1, 5000), 80, flags).0, is, "{midstream:?} {flags}");
    }
}

#[test]
fn a_host_that_has_enough_is_refused_another_port_and_not_another_flow() {
    let mut world = world();
    says(&mut world, UDP, (1, 5000), 53, 0);
    world.rules.creation_rate = Rate::per_second(1);
    world.now += Nanos::from_s(1);
    assert_eq!(says(&mut world, UDP, (1, 5001), 53, 0).0, Fortune::Begins);
    let rate = Fortune::Drop(DropReason::NatCreationRate);
    assert_eq!(says(&mut world, UDP, (1, 5002), 53, 0).0, rate);
    assert_eq!(says(&mut world, UDP, (1, 5001), 54, 0).0, Fortune::Joins);
    world.now += Nanos::from_s(1);
    assert_eq!(says(&mut world, UDP, (1, 5002), 53, 0).0, Fortune::Begins);
}

#[test]
fn where_ports_run_short_a_host_has_its_share_and_tcp_shares_them() {
    // 100 ports, of which one host has more than half.
    for (share_ports, last) in [(false, Fortune::Drop(DropReason::NatHostPorts)), (true, Fortune::Begins)] {
        let mut world = World::new(&[1], 1024, |port| (2000..2100).contains(&port));
        world.rules.share_ports = share_ports;
        for (host, first, n) in [(1, 3000, 70), (2, 3000, 24)] {
            for port in first..first + n {
                for protocol in [UDP, TCP] {
                    says(&mut world, protocol, (host, port), port, SYN);
                }
            }
        }
        world.rules.ports_per_host = Share::Auto;
        let refused = Fortune::Drop(DropReason::NatHostPorts);
        assert_eq!(says(&mut world, UDP, (1, 4000), 53, 0).0, refused);
        assert_eq!(says(&mut world, UDP, (2, 4000), 53, 0).0, Fortune::Begins);
        assert_eq!(says(&mut world, UDP, (1, 3000), 54, 0).0, Fortune::Joins);
        assert_eq!(says(&mut world, TCP, (1, 4000), 53, SYN).0, last);
        assert_eq!(says(&mut world, TCP, (2, 4000), 53, SYN).0, Fortune::Begins);
        world.nat.audit().unwrap();
    }
}
