//! What is told of the tables: how large they are, what is in them, and where that is counted.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::internal::Internal;
use super::kill::{Kill, Which};
use super::mapping::Mapping;
use super::place::pools;
use super::rules::{Action, Firewall, Match, Share, To};
use super::session::{INSIDE, Key, Kind, OUTSIDE};
use super::statics::{OneToOne, Statics};
use super::tcp::TcpState;
use super::tests_place::{REMOTE, World, config};
use super::timeouts::tick;
use super::{Choice, Env, Nat};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Stat, Tuple};
use crate::table::lent::CLASSES;
use crate::table::ports::PortPools;
use crate::wire::protocol::{ICMP, TCP, UDP};
use crate::wire::tcp::{Flags, Tcp};

#[test]
fn there_are_as_many_mappings_as_sessions_but_no_more_than_ports() {
    let of = |wans: &[usize], sessions| Nat::new(&config(wans, sessions), &|_: u16| true).mappings.capacity();
    assert_eq!(of(&[1], 100_000), 100_000);
    assert_eq!(of(&[1], 300_000), 3 * 65_536);
    assert_eq!(of(&[1, 1], 300_000), 300_000);
    assert_eq!(of(&[0], 100), 1);
}

#[test]
fn the_memory_that_is_told_is_that_of_every_table() {
    let nat = Nat::new(&config(&[2, 1], 64_512), &|_: u16| true);
    assert_eq!(nat.capacity(), 64_512);
    assert_eq!(nat.session_bytes(), 64_512 * (64 + 24 + 4) + nat.index.bytes());
    let ports: usize = nat.ports.iter().flatten().map(PortPools::bytes).sum();
    let mappings = nat.mappings.capacity() as usize * (size_of::<Mapping>() + 4);
    let all = nat.session_bytes() + mappings + nat.mapping_index.bytes() + ports + nat.hosts.bytes();
    assert_eq!(nat.bytes(), all);
}

#[test]
fn a_digest_is_another_one_after_every_change_and_no_other_after_traffic() {
    let mut world = World::new(&[1], 64, |_| true);
    let mut seen = HashSet::new();
    let mut changed = |world: &World| assert!(seen.insert(world.nat.digest()), "nothing is seen of it");
    changed(&world);
    for (protocol, port, to) in [(UDP, 5000, 53), (UDP, 5000, 54), (UDP, 5001, 53), (TCP, 5000, 80)] {
        world.send_to(protocol, 1, port, to).unwrap();
        changed(&world);
    }
    let before = world.nat.digest();
    world.send_to(UDP, 1, 5000, 53).unwrap();
    assert_eq!(world.nat.digest(), before);
    world.now += Nanos::from_ms(1);
    world.send_to(UDP, 1, 5000, 53).unwrap();
    changed(&world);
    world.nat.sessions.get_mut(3).state = TcpState::Established as u8;
    changed(&world);
    world.nat.remove_session(1, world.now, &mut world.counters);
    changed(&world);
}

#[test]
fn a_list_goes_on_where_it_stopped_and_leaves_out_what_has_expired() {
    let mut world = World::new(&[1], 64, |_| true);
    (0..5).for_each(|n| assert!(world.send(UDP, 1, 5000 + n).is_ok()));
    world.nat.remove_session(1, world.now, &mut world.counters);
    world.nat.sessions.get_mut(3).refreshed = tick(world.now).wrapping_sub(300_000);
    let (mut ports, mut from) = (vec![], Some(0));
    for next in [Some(2), Some(4), None] {
        let mut each = |s: &super::Session, _: &super::session::Root| ports.push(s.inside().1);
        from = world.nat.list(from.unwrap(), 2, world.now, &mut each);
        assert_eq!(from, next);
    }
    assert_eq!(ports, [5000, 5002, 5004]);
    assert_eq!(world.nat.list(0, 5, world.now, |_, _| {}), None);
}

#[test]
fn sessions_are_counted_where_their_group_has_put_them() {
    let mut world = World::new(&[1, 1, 1], 64, |_| true);
    let group = super::Group { choice: Choice::One(WanId(2)), ..world.up.groups[0].clone() };
    world.up.groups.push(group);
    let voice = Match { ports: vec![(53, 53)], ..Match::default() };
    world.rules.policy = vec![(voice, 1)];
    for (port, to) in [(1, 53), (2, 53), (3, 80)] {
        assert_eq!(world.send_to(UDP, 1, port, to).unwrap().wan, WanId(if to == 53 { 2 } else { 0 }));
    }
    assert_eq!(world.nat.per_tie()[..6], [1, 0, 0, 0, 0, 2]);
    assert_eq!(world.nat.per_wan(), [1, 0, 2]);
    assert_eq!(world.nat.tie(0, WanId(3)), None);
}

#[test]
fn a_walk_that_ends_sessions_spares_what_has_expired_or_came_later() {
    let mut world = World::new(&[1], 256, |_| true);
    let mut kill = Kill::new(1, Which::default());
    assert!(!kill.is_over());
    (0..4).for_each(|n| assert!(world.send(UDP, 1, 5000 + n).is_ok()));
    world.nat.sessions.get_mut(1).refreshed = tick(world.now).wrapping_sub(300_000);
    let mut budget = 1;
    assert_eq!(world.nat.kill_next(&mut kill, &mut budget, world.now, &mut world.counters), None);
    assert_eq!((kill.killed, budget), (1, 0), "one slot, one turn");
    // In the same second one where the walk has been and one behind its end, and a second later one within.
    world.nat.remove_session(3, world.now, &mut world.counters);
    world.send(UDP, 1, 6000).unwrap();
    world.send(UDP, 1, 6001).unwrap();
    world.send(UDP, 1, 6002).unwrap();
    world.nat.roots[3].created += 1;
    let mut budget = world.nat.kill_budget();
    let before = budget;
    assert_eq!(world.nat.kill_next(&mut kill, &mut budget, world.now, &mut world.counters), None);
    assert!(kill.is_over());
    assert_eq!(before - budget, 3 + 64, "three slots, and an end");
    assert!(before >= 1024, "a table of a million is walked in a second");
    let left: Vec<u32> = (0..6).filter(|slot| !world.nat.sessions.get(*slot).is_free()).collect();
    assert_eq!((kill.killed, world.counters.get(Stat::SessionsKilled)), (2, 2));
    assert_eq!(left, [0, 1, 3, 4], "passed by, expired, later, behind the end");
    world.nat.audit().unwrap();
}

#[test]
fn reserved_ports_are_taken_out_of_each_pool_that_has_some() {
    let wan = WanId(0);
    let mut config = config(&[1], 64);
    config.reserved = vec![(wan, 0, UDP, 2000, 2009), (wan, 0, TCP, 2000, 2000), (wan, 0, UDP, 3000, 3000)];
    let mut all = pools(&config, &|port| (2000..2020).contains(&port) || port == 3000);
    let has: [Vec<u16>; CLASSES] = [0, 1, 2].map(|class| {
        let mut ports = all[0][class].pool(0).unwrap().all();
        ports.sort_unstable();
        ports
    });
    assert_eq!(has[0], (2010..2020).collect::<Vec<u16>>());
    assert_eq!((has[1].len(), has[1].contains(&2000), has[2].len()), (20, false, 21));
}

#[test]
fn a_share_of_ports_is_one_of_all_that_the_wans_addresses_have() {
    let mut world = World::new(&[4], 4096, |port| (2000..2100).contains(&port));
    let mine = world.send(UDP, 1, 2001).unwrap();
    let tuple = Tuple { protocol: UDP, src: [10, 0, 0, 1].into(), src_port: 1, dst: REMOTE, dst_port: 53 };
    assert_eq!(world.nat.runs_short(&tuple, Some(mine.wan), &world.up), None);
    (1..95).for_each(|n| assert!(world.send(UDP, 1, 2001 + n).is_ok()));
    assert_eq!(world.nat.runs_short(&tuple, Some(mine.wan), &world.up), Some(400));
}

#[test]
fn what_has_no_port_has_its_hosts_address_and_counts_for_its_host() {
    let mut world = World::new(&[8], 4096, |_| true);
    for host in 0..40 {
        let mine = world.send(UDP, host, 5000).unwrap().addr;
        // Only one host at a time has a remote by an address.
        let gre = world.send(47, host, 0);
        assert!(gre.is_err() || gre.unwrap().addr == mine);
    }
    world.rules.sessions_per_host = Share::Limit(2);
    let mut send = |protocol, dst: u8| {
        let src = Ipv4Addr::new(10, 9, 9, 9);
        let tuple = Tuple { protocol, src, src_port: 0, dst: [192, 0, 2, dst].into(), dst_port: 0 };
        let mut env =
            Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
        let hash = world.nat.hash(Key::outbound(&tuple));
        world.nat.open(&tuple, (IfaceId(0), None), hash, &mut env)
    };
    assert!(send(47, 1).is_ok() && send(50, 2).is_ok());
    let refused = super::Outbound::Drop(DropReason::NatHostSessions);
    assert_eq!(send(47, 3), Err(refused));
    world.nat.audit().unwrap();
}

#[test]
fn from_inside_to_inside_what_has_begun_is_found_from_both_sides_and_what_has_not_does_not_pass() {
    let mut world = World::new(&[1], 64, |_| true);
    let [a, b] = [1, 2].map(|n| Ipv4Addr::new(10, 0, 0, n));
    let mut pass = |protocol, (src, src_port), (dst, dst_port), flags: u8, reply| {
        let tuple = Tuple { protocol, src, src_port, dst, dst_port };
        let tcp = Tcp { src: src_port, dst: dst_port, seq: 1, ack: 1, header_len: 20, flags: Flags(flags) };
        let tcp = (protocol == TCP).then_some(tcp);
        let packet = Internal { ingress: IfaceId(0), tuple: &tuple, tcp, reply, bytes: 60 };
        let mut env =
            Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
        let passed = world.nat.internal(&packet, &mut env);
        (passed.is_ok(), world.nat.live())
    };
    assert_eq!(pass(TCP, (a, 5), (b, 80), Flags::ACK, false), (false, 0));
    assert_eq!(pass(ICMP, (a, 7), (b, 7), 0, true), (false, 0));
    assert_eq!(pass(TCP, (a, 5), (b, 80), Flags::SYN, false), (true, 1));
    assert_eq!(pass(TCP, (b, 80), (a, 5), Flags::ACK, false), (true, 1));
    for _ in 0..2 {
        assert_eq!(pass(ICMP, (a, 7), (b, 7), 0, false), (true, 2));
        assert_eq!(pass(ICMP, (b, 7), (a, 7), 0, true), (true, 2));
    }
    for slot in 0..2 {
        let session = *world.nat.sessions.get(slot);
        assert_eq!((session.packets(INSIDE) > 0, session.packets(OUTSIDE) > 0), (true, true));
        assert_eq!(world.nat.roots[slot as usize].kind, Kind::Internal);
    }
    world.nat.audit().unwrap();
}

#[test]
fn a_rule_is_found_by_its_number_and_only_one_that_speaks_speaks_for_the_router() {
    let lan = IfaceId(0);
    let tuple = Tuple { protocol: UDP, src: REMOTE, src_port: 1, dst: REMOTE, dst_port: 53 };
    let of = |protocol, to, action| (Match { protocols: vec![protocol], to, ..Match::default() }, action);
    let firewall = Firewall::new(vec![of(TCP, To::Any, Action::Drop), of(UDP, To::Own, Action::Reject)]);
    assert_eq!((firewall.find(lan, &tuple, true), firewall.find(lan, &tuple, false)), (Some(1), None));
    assert!(firewall.lets_own());
    assert!(!Firewall::new(vec![of(TCP, To::Any, Action::Drop)]).lets_own());
    assert!(!Firewall::new(vec![of(TCP, To::Nets(vec![]), Action::Accept)]).lets_own());
    let one = |wan, n| {
        let [inside, outside] = [10, 203].map(|a| Ipv4Addr::new(a, 0, 0, n));
        OneToOne { wan: WanId(wan), outside, inside, masquerade: false }
    };
    let statics = Statics::new(None, vec![], vec![], vec![one(0, 1), one(1, 2), one(1, 3)]);
    let outside: Vec<u8> = statics.outside(WanId(1)).map(|ip| ip.octets()[3]).collect();
    assert_eq!(outside, [2, 3]);
    assert!(!statics.any_plain() && !statics.is_empty() && Statics::default().is_empty());
}
