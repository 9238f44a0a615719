//! Copies of a partner's flows, one record at a time: where they go, what they displace, and what becomes of them at a take-over.

use super::inbound::FromOutside;
use super::mapping::Mapping;
use super::session::{AWAY, INSIDE, Kind, NONE, Origin};
use super::statics::{OneToOne, Statics, Target};
use super::tcp::TcpState;
use super::tests_place::{REMOTE, World, config};
use super::timeouts::tick;
use super::uplinks::{LEFT, NO_GROUP};
use super::{Choice, Env, Outbound};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Stat, Tuple};
use crate::wire::protocol::{TCP, UDP};
use crate::wire::record::{Entry, Key, Record};
use crate::wire::tcp::{Flags, Tcp};

type End = (std::net::Ipv4Addr, u16);

/// A member of a pair with two WANs and two groups.
fn member(sessions: u32) -> World {
    let mut config = config(&[1, 1], sessions);
    config.paired = true;
    let mut world = World::with(&config, |_| true);
    world.up.groups.push(world.up.groups[0].clone());
    world
}

fn inside(host: u8) -> End {
    ([10, 0, 0, host].into(), 5000)
}

/// The only address of the first WAN, with this port.
fn place(port: u16) -> End {
    ([100, 64, 0, 0].into(), port)
}

fn entry(protocol: u8, host: u8, outside: u16, remote: u16) -> Entry {
    let key = Key::Flow { protocol, inside: inside(host), remote: (REMOTE, remote) };
    Entry { outside: place(outside), state: TcpState::Established as u8, ..Entry::new(key) }
}

/// Whether others have lost their place.
fn tell(world: &mut World, entry: &Entry) -> bool {
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    world.nat.copy(entry, |_, _| false, &mut env)
}

fn counts(world: &World) -> [u64; 4] {
    [Stat::CopiesMade, Stat::CopiesRefused, Stat::CopiesForeign, Stat::CopiesEnded]
        .map(|stat| world.counters.get(stat))
}

fn slot(world: &World, entry: &Entry) -> Option<u32> {
    world.nat.find_copied(&entry.key)
}

fn mapping(world: &World, entry: &Entry) -> Mapping {
    *world.nat.mappings.get(world.nat.roots[slot(world, entry).unwrap() as usize].mapping)
}

#[test]
fn a_flow_that_is_told_twice_is_one_and_its_group_and_its_mapping_are_as_told_last() {
    let mut world = member(64);
    let flow = entry(UDP, 1, 4000, 53);
    for _ in 0..2 {
        assert!(!tell(&mut world, &flow));
        assert_eq!((counts(&world), world.nat.live()), ([1, 0, 0, 0], 1));
        assert!(!mapping(&world, &flow).is_orphan());
    }
    for (group, is) in [(1, 1), (2, 0), (7, 0), (NO_GROUP, NO_GROUP), (0, 0)] {
        tell(&mut world, &Entry { group, ..flow });
        assert_eq!(world.nat.roots[slot(&world, &flow).unwrap() as usize].group, is);
    }
    for (pin, is) in [(0, 0), (2, 2), (3, 0), (1, 1)] {
        let other = Entry { pin, ..entry(UDP, 2 + pin, 4100 + u16::from(pin), 53) };
        tell(&mut world, &other);
        assert_eq!(mapping(&world, &other).pin, is, "there are two WANs");
    }
    tell(&mut world, &Entry { pin: 255, ..flow });
    assert!(mapping(&world, &flow).is_orphan(), "new flows have another one");
    world.nat.audit().unwrap();
}

#[test]
fn a_flow_that_has_begun_again_is_by_whom_it_was_begun_last() {
    let mut world = member(64);
    let flow = entry(UDP, 1, 4000, 53);
    for origin in [Origin::Inside, Origin::Answered, Origin::Inside] {
        tell(&mut world, &Entry { origin: origin as u8, ..flow });
        assert_eq!(world.nat.roots[slot(&world, &flow).unwrap() as usize].origin, origin);
        assert_eq!(counts(&world), [1, 0, 0, 0]);
        world.nat.audit().unwrap();
    }
}

#[test]
fn four_places_a_ms_are_taken_from_older_copies_and_who_has_lost_one_may_get_it_again() {
    let mut world = member(64);
    world.nat.stand_by(true, world.now);
    let [old, new] = [0u8, 16].map(|first| -> Vec<Entry> {
        (0..6).map(|n| entry(UDP, first + n, 4000 + u16::from(n), 53)).collect()
    });
    assert!(old.iter().all(|entry| !tell(&mut world, entry)));
    let taken: Vec<bool> = new.iter().map(|entry| tell(&mut world, entry)).collect();
    assert_eq!(taken, [true, true, true, true, false, false]);
    assert_eq!(counts(&world), [10, 2, 0, 0], "what has lost its place ends with the sweep");
    assert!(old[..4].iter().all(|entry| !mapping(&world, entry).has_place()));
    world.now += Nanos::from_ms(1);
    assert!(tell(&mut world, &new[4]) && tell(&mut world, &old[0]));
    let [first, last] = [&old[0], &new[0]].map(|entry| mapping(&world, entry));
    assert!(first.has_place() && !last.has_place() && last.is_orphan());
    world.nat.audit().unwrap();
}

/// A stranger comes in by a rule, and so has a place of this member's own.
fn forwarded(world: &mut World, port: u16) {
    let tuple = Tuple { protocol: UDP, src: REMOTE, src_port: 53, dst: place(port).0, dst_port: port };
    let target = Some(Target { inside: inside(9).0, port: 7000, kind: Kind::Forward });
    let (wan, ingress, tcp) = (WanId(0), IfaceId(1), None);
    let packet =
        FromOutside { wan, ingress, tuple: &tuple, tcp, bytes: 60, target, reply: false, hairpin: false };
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    world.nat.inbound(&packet, &mut env).unwrap();
}

#[test]
fn a_copy_that_finds_its_place_in_use_is_refused_and_leaves_no_mapping_behind() {
    let mut world = member(64);
    forwarded(&mut world, 4000);
    tell(&mut world, &entry(UDP, 1, 4000, 53));
    assert_eq!((counts(&world), world.nat.mappings.len()), ([0, 1, 0, 0], 0));
    world.nat.audit().unwrap();
    // Its mapping has another flow.
    let other = entry(UDP, 1, 4000, 54);
    tell(&mut world, &other);
    tell(&mut world, &entry(UDP, 1, 4000, 53));
    assert_eq!((counts(&world), mapping(&world, &other).sessions), ([1, 2, 0, 0], 1));
    world.nat.audit().unwrap();
}

#[test]
fn an_older_copy_gives_way_to_one_that_is_carried_in_another_way() {
    let masquerade = entry(TCP, 1, 4000, 80);
    let shared = Entry { kind: Kind::Shared as u8, ..entry(TCP, 2, 4000, 80) };
    for (first, second) in [(masquerade, shared), (shared, masquerade)] {
        let mut world = member(64);
        tell(&mut world, &first);
        tell(&mut world, &second);
        assert_eq!((counts(&world), world.nat.live()), ([2, 0, 0, 1], 1));
        assert!(slot(&world, &first).is_none() && slot(&world, &second).is_some());
        world.nat.audit().unwrap();
    }
}

#[test]
fn a_syn_of_the_partners_is_none_that_came_here() {
    let mut world = member(64);
    tell(&mut world, &Entry { state: TcpState::SynOut as u8, ..entry(TCP, 1, 4000, 80) });
    assert_eq!(world.nat.tcp_gauges()[0].syns, 0);
    world.send_to(TCP, 2, 5000, 80).unwrap();
    tell(&mut world, &entry(TCP, 3, 4001, 80));
    tell(&mut world, &entry(UDP, 3, 4001, 80));
    assert_eq!((world.nat.tcp_gauges()[0].syns, world.nat.live()), (1, 4));
}

#[test]
fn what_a_record_says_must_fit_together_and_what_is_on_no_wan_of_ours_is_the_partners() {
    let mut world = member(64);
    let plain = Entry { kind: Kind::Plain as u8, outside: inside(1), ..entry(UDP, 1, 0, 53) };
    let refused = |world: &mut World, entry: Entry| {
        let before = counts(world)[1];
        tell(world, &entry);
        counts(world)[1] > before
    };
    assert!(refused(&mut world, Entry { outside: place(4000), ..plain }));
    for (wan, is) in [(0, WanId(0)), (1, WanId(1)), (2, AWAY)] {
        assert!(!refused(&mut world, Entry { wan: WanId(wan), ..plain }));
        let slot = slot(&world, &plain).unwrap();
        let kind = if is == AWAY { Kind::Away } else { Kind::Plain };
        assert_eq!((world.nat.sessions.get(slot).wan(), world.nat.roots[slot as usize].kind), (is, kind));
    }
    assert_eq!(counts(&world)[2], 1);
    let tcp = entry(TCP, 1, 4000, 80);
    for (state, none) in [(TcpState::Transitory as u8, false), (7, true)] {
        assert_eq!(refused(&mut world, Entry { state, ..tcp }), none);
    }
    assert!(refused(&mut world, Entry { kind: Kind::Shared as u8, ..entry(UDP, 1, 4000, 54) }));
    // An address of the host's own is none of those that are shared.
    let own = OneToOne { wan: WanId(1), outside: REMOTE, inside: inside(3).0, masquerade: false };
    world.rules.statics = Statics::new(None, vec![], vec![], vec![own]);
    let flow = Entry { kind: Kind::OneToOne as u8, outside: (REMOTE, 5000), ..entry(UDP, 3, 0, 53) };
    assert!(!refused(&mut world, flow));
    let slot = slot(&world, &flow).unwrap();
    assert_eq!(world.nat.sessions.get(slot).wan(), WanId(1));
    assert_ne!(world.nat.roots[slot as usize].epoch, LEFT, "it goes on at a take-over");
}

/// A segment from inside, in the middle of the copy's connection.
fn speak(world: &mut World, host: u8) -> Outbound {
    let (src, src_port) = inside(host);
    let tuple = Tuple { protocol: TCP, src, src_port, dst: REMOTE, dst_port: 80 };
    let tcp = Tcp { src: src_port, dst: 80, seq: 1, ack: 1, header_len: 20, flags: Flags(Flags::ACK) };
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    let ingress = IfaceId(0);
    let packet = super::outbound::FromInside {
        ingress,
        tuple: &tuple,
        tcp: Some(tcp),
        reply: false,
        bytes: 60,
        pin: None,
    };
    world.nat.outbound(&packet, &mut env)
}

/// Its groups leave the first WAN and come back to it.
fn fail_over(world: &mut World) {
    let old = world.up.clone();
    for group in &mut world.up.groups {
        group.choice = Choice::One(WanId(0));
        (group.bonds[0].epoch, group.bonds[0].tcp) = (group.bonds[0].epoch + 1, group.bonds[0].tcp + 1);
    }
    world.nat.renewed(&old, &world.up, world.now);
}

#[test]
fn a_copy_goes_on_after_the_take_over_though_the_sweep_has_not_been_there_and_nothing_else_does() {
    let mut world = member(64);
    let copy = entry(TCP, 1, 4000, 80);
    tell(&mut world, &copy);
    world.nat.stand_by(true, world.now);
    fail_over(&mut world);
    assert_eq!(speak(&mut world, 1), Outbound::Drop(DropReason::WanLeft), "the partner has the role");
    let slot = slot(&world, &copy).unwrap();
    assert!(world.nat.copies.as_ref().is_some_and(|copies| copies.is_copy(slot)));
    world.now += Nanos::from_s(100);
    world.nat.stand_by(false, world.now);
    assert!(matches!(speak(&mut world, 1), Outbound::Translate(to) if (to.addr, to.port) == place(4000)));
    assert!(!world.nat.copies.as_ref().unwrap().is_copy(slot), "it is this member's own now");
    assert_eq!(world.nat.sessions.get(slot).refreshed, tick(world.now));
    // And so it ends with the next failover.
    fail_over(&mut world);
    assert_eq!(speak(&mut world, 1), Outbound::Reset(DropReason::NatTcpFailover));
    world.nat.audit().unwrap();
}

#[test]
fn a_member_that_has_had_the_role_all_the_time_knows_its_flows() {
    let mut world = member(64);
    world.send(UDP, 2, 5000).unwrap();
    (0..3).for_each(|_| world.nat.stand_by(false, world.now));
    assert!(!world.nat.may_not_know(world.now) && world.nat.resets_are_over());
    assert_eq!(speak(&mut world, 1), Outbound::Reset(DropReason::NatTcpMidstream));
    world.nat.stand_by(true, world.now);
    world.nat.stand_by(false, world.now);
    assert!(world.nat.may_not_know(world.now) && !world.nat.resets_are_over());
    assert_eq!(speak(&mut world, 1), Outbound::Drop(DropReason::NatTcpMidstream));
    world.now += Nanos::from_s(1);
    world.nat.stand_by(false, world.now);
    assert!(!world.nat.may_not_know(world.now));
}

/// What is told, as its inside port and whether it is an end.
fn told(world: &mut World) -> Vec<(u16, bool)> {
    let mut all = vec![];
    world.nat.tell(|record| all.push((record.key().inside().1, matches!(record, Record::Ended(_)))));
    all
}

#[test]
fn nothing_is_noted_while_nobody_is_told_and_a_change_is_noted_once() {
    let mut world = member(8192);
    let gone = world.send(UDP, 1, 5000).unwrap().slot;
    world.nat.remove_session(gone, world.now, &mut world.counters);
    world.nat.tell_all(1);
    assert_eq!(told(&mut world), []);
    let slot = world.send(UDP, 1, 5001).unwrap().slot;
    (0..3).for_each(|_| world.nat.turned(slot));
    assert_eq!(told(&mut world), [(5001, false)]);
    // Of a connection what runs another timer.
    let tcp = world.send_to(TCP, 1, 5002, 80).unwrap().slot;
    for (before, now, is) in [
        (TcpState::SynOut, TcpState::Established, true),
        (TcpState::Established, TcpState::Established, false),
        (TcpState::Established, TcpState::FinOut, true),
        (TcpState::FinOut, TcpState::FinBoth, false),
    ] {
        world.nat.sessions.get_mut(tcp).state = now as u8;
        world.nat.stepped(tcp, before as u8);
        assert_eq!(told(&mut world), vec![(5002, false); usize::from(is)], "{before:?} {now:?}");
    }
    forwarded(&mut world, 4000);
    let stranger = world.nat.sessions.used() - 1;
    world.nat.remove_session(stranger, world.now, &mut world.counters);
    assert_eq!(told(&mut world), [], "a stranger's end is nobody's business");
    for n in 0..=4096 {
        assert!(!world.nat.has_lost(), "{n}");
        world.send(UDP, 2, 1024 + n).unwrap();
    }
    assert!(world.nat.has_lost(), "the room for notes is fixed");
}

#[test]
fn who_gives_up_the_role_tells_what_is_half_open_and_nothing_else() {
    let mut world = member(64);
    world.nat.tell_all(1);
    let slots = [5000, 5001, 5002, 5003].map(|port| world.send_to(TCP, 1, port, 80).unwrap().slot);
    world.nat.sessions.get_mut(slots[1]).state = TcpState::Established as u8;
    world.nat.sessions.get_mut(slots[2]).refreshed = tick(world.now).wrapping_sub(240_000);
    world.nat.remove_session(slots[3], world.now, &mut world.counters);
    let mut all = vec![];
    world.nat.tell_begun(world.now, |record| all.push(record.key().inside().1));
    assert_eq!(all, [5000]);
    assert_eq!(world.nat.sessions.get(slots[0]).packets(INSIDE), 1);
    assert_eq!(world.nat.roots[slots[3] as usize].ring, [NONE; 2]);
}
