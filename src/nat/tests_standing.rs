//! What still stands when bonds, addresses or WANs have changed, and what begins elsewhere.

use super::mapping::Mapping;
use super::outbound::FromInside;
use super::rules::Match;
use super::session::{INSIDE, Kind, NONE, OUTSIDE};
use super::standing::Standing::{self, Firm, Grace, Left};
use super::statics::Statics;
use super::tests_place::{REMOTE, World};
use super::uplinks::LEFT;
use super::{Addresses, Choice, Env, Outbound, Translation};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{DropReason, Stat, Tuple};
use crate::wire::protocol::{TCP, UDP};
use crate::wire::tcp::{Flags, Tcp};

fn world() -> World {
    World::new(&[2, 2], 64, |_| true)
}

/// Another view, as the path takes it.
fn renew(world: &mut World, change: impl Fn(&mut super::Uplinks)) {
    let old = world.up.clone();
    change(&mut world.up);
    world.nat.renewed(&old, &world.up, world.now);
}

/// A segment from the first host, from this port, with these flags.
fn segment(world: &mut World, port: u16, flags: u8) -> Outbound {
    let tuple = Tuple { protocol: TCP, src: [10, 0, 0, 1].into(), src_port: port, dst: REMOTE, dst_port: 80 };
    let tcp = Tcp { src: port, dst: 80, seq: 1, ack: 1, header_len: 20, flags: Flags(flags) };
    let mut env = Env { up: &world.up, rules: &world.rules, now: world.now, counters: &mut world.counters };
    let ingress = IfaceId(0);
    let packet = FromInside { ingress, tuple: &tuple, tcp: Some(tcp), reply: false, bytes: 60, pin: None };
    world.nat.outbound(&packet, &mut env)
}

fn wan(out: Outbound) -> Option<WanId> {
    if let Outbound::Translate(Translation { wan, .. }) = out { Some(wan) } else { None }
}

#[test]
fn a_mapping_stands_by_its_epoch_and_tcp_by_its_own_besides() {
    let mut world = world();
    world.send(UDP, 1, 5000).unwrap();
    let placed = *world.nat.mappings.get(0);
    let other_address = Mapping { outside: REMOTE, ..placed };
    let bond = &mut world.up.groups[0].bonds[0];
    (bond.epoch, bond.tcp) = (5, 4);
    for moved in [false, true] {
        let stands = |world: &World, protocol, epoch, tcp, m: Mapping| -> Standing {
            world.nat.standing(&Mapping { protocol, epoch, tcp, ..m }, &world.up)
        };
        for (protocol, epoch, tcp, is) in [
            (UDP, 5, 4, Firm),
            (UDP, 5, 3, Firm),
            (UDP, 4, 4, Left),
            (UDP, LEFT, LEFT, Left),
            (TCP, 5, 4, Firm),
            (TCP, 5, 3, Left),
            (TCP, 4, 4, Grace),
            (TCP, LEFT, 4, Grace),
            (TCP, 4, 3, Left),
            (TCP, LEFT, LEFT, Left),
        ] {
            let case = format!("{protocol} {epoch} {tcp}, moved: {moved}");
            assert_eq!(stands(&world, protocol, epoch, tcp, placed), is, "{case}");
            if moved {
                assert_eq!(stands(&world, protocol, epoch, tcp, other_address), Left, "{case}");
            }
        }
        let bond = &mut world.up.groups[0].bonds[0];
        (bond.epoch, bond.tcp) = (LEFT, LEFT);
        for protocol in [UDP, TCP] {
            assert_eq!(stands(&world, protocol, LEFT, LEFT, placed), Left, "what is left is never current");
        }
        let bond = &mut world.up.groups[0].bonds[0];
        (bond.epoch, bond.tcp) = (5, 4);
        // The addresses of another WAN change.
        renew(&mut world, |up| up.wans[1].addresses = Addresses::one([100, 65, 9, 9].into()));
    }
}

#[test]
fn what_is_bound_to_an_address_that_is_no_more_is_left_and_nothing_else_is() {
    let mut world = world();
    let (mut gone, mut kept) = (0, 0);
    for host in 0..16 {
        for protocol in [UDP, 47] {
            // Only one host at a time has a remote by an address.
            let _ = world.send(protocol, host, 0);
        }
    }
    let address = world.up.wans[0].addresses.get(0).unwrap();
    renew(&mut world, |up| up.wans[0].addresses = Addresses::one(address));
    for slot in 0..world.nat.sessions.used() {
        let (session, root) = (world.nat.sessions.get(slot), world.nat.roots[slot as usize]);
        let stays = session.outside().0 == address;
        assert_eq!(world.nat.left(session, &root, &world.up), !stays, "{session:?}");
        *(if stays { &mut kept } else { &mut gone }) += usize::from(root.kind == Kind::Portless) + 10;
    }
    assert!(gone % 10 == 1 && kept % 10 == 1 && gone > 30 && kept > 30, "{gone} {kept}");
}

#[test]
fn a_connection_begins_where_its_group_goes_now_and_one_that_is_open_stays() {
    let mut world = world();
    for port in [5000, 5001] {
        assert_eq!(wan(segment(&mut world, port, Flags::SYN)), Some(WanId(0)));
    }
    // It drains: new flows go elsewhere, and TCP that is there goes on.
    renew(&mut world, |up| {
        up.groups[0].choice = Choice::One(WanId(1));
        up.groups[0].bonds[0].epoch = 2;
    });
    assert_eq!(wan(segment(&mut world, 5000, Flags::SYN)), Some(WanId(1)));
    assert_eq!(wan(segment(&mut world, 5001, Flags::ACK)), Some(WanId(0)));
    assert!(world.nat.resets_are_over());
    // It is down, and TCP that is there is held; a SYN is not.
    renew(&mut world, |up| (up.wans[0].fit, up.wans[0].holds) = (false, true));
    assert_eq!(wan(segment(&mut world, 5001, Flags::ACK)), Some(WanId(0)));
    assert_eq!(wan(segment(&mut world, 5001, Flags::SYN)), Some(WanId(1)));
    world.nat.audit().unwrap();
}

#[test]
fn a_connection_that_its_wan_has_lost_is_reset_when_it_speaks_and_its_mapping_begins_anew() {
    let mut world = world();
    segment(&mut world, 5000, Flags::SYN);
    renew(&mut world, |up| {
        let bond = &mut up.groups[0].bonds[0];
        (bond.epoch, bond.tcp) = (2, 2);
    });
    let other = world.send_to(TCP, 1, 5000, 443).unwrap();
    assert_eq!(world.counters.get(Stat::MappingsMoved), 1);
    let root = world.nat.roots[other.slot as usize];
    assert!(!world.nat.left(world.nat.sessions.get(other.slot), &root, &world.up));
    assert_eq!(segment(&mut world, 5000, Flags::ACK), Outbound::Reset(DropReason::NatTcpFailover));
}

#[test]
fn what_is_held_and_what_only_outside_has_spoken_in_go_the_long_way() {
    let mut world = world();
    let stamped = |world: &mut World, slot, side| {
        world.nat.sessions.get_mut(slot).stamps = [0; 2];
        let hops = [0, 1].map(|s| (s == side).then_some(3));
        world.nat.establish(slot, hops, IfaceId(4), 9, &world.up);
        let session = world.nat.sessions.get(slot);
        assert!(session.stamps[1 - side] == 0 && (session.stamps[side] == 0 || session.hops[side] == 3));
        session.stamps[side] == 9
    };
    let tcp = world.send_to(TCP, 1, 5000, 80).unwrap().slot;
    let udp = world.send(UDP, 1, 5000).unwrap().slot;
    let all = [(tcp, INSIDE), (tcp, OUTSIDE), (udp, INSIDE), (udp, OUTSIDE)];
    let each = |world: &mut World| all.map(|(slot, side)| stamped(world, slot, side));
    assert_eq!(each(&mut world), [true; 4]);
    world.up.groups[0].bonds[0].epoch = 2;
    assert_eq!(each(&mut world), [false, true, true, true], "of TCP a SYN may begin elsewhere");
    world.up.groups[0].bonds[0].epoch = 1;
    (world.up.wans[0].fit, world.up.wans[0].holds) = (false, true);
    assert_eq!(each(&mut world), [false, true, true, true]);
    world.nat.roots[tcp as usize].kind = Kind::Away;
    assert_eq!(each(&mut world), [true; 4], "what the partner sends");
    (world.nat.roots[tcp as usize].kind, world.nat.roots[tcp as usize].mapping) = (Kind::Plain, NONE);
    assert_eq!(each(&mut world), [false, true, true, true]);
    world.up.wans[0].fit = true;
    assert_eq!(each(&mut world), [true; 4]);
    world.nat.roots[tcp as usize].origin = super::session::Origin::Stranger;
    assert_eq!(each(&mut world), [false, false, true, true]);
}

#[test]
fn what_goes_as_it_is_moves_with_its_group_and_tcp_is_counted() {
    let mut world = world();
    world.rules.statics = Statics::new(None, vec![Match::default()], vec![], vec![]);
    let before = segment(&mut world, 5000, Flags::SYN);
    renew(&mut world, |up| {
        up.groups[0].choice = Choice::One(WanId(1));
        let bond = &mut up.groups[0].bonds[0];
        (bond.epoch, bond.tcp) = (2, 2);
    });
    let after = segment(&mut world, 5000, Flags::ACK);
    assert_eq!((wan(before), wan(after)), (Some(WanId(0)), Some(WanId(1))));
    let moved = [Stat::SessionsMoved, Stat::SessionsMovedTcp, Stat::SessionsMovedIcmp];
    assert_eq!(moved.map(|stat| world.counters.get(stat)), [1, 1, 0]);
    world.nat.audit().unwrap();
}

#[test]
fn a_flow_whose_place_another_one_has_by_now_is_not_lost() {
    // One port for each parity.
    let mut world = World::new(&[1, 1], 64, |port| port / 2 == 1000);
    for remote in [1, 53] {
        world.send_to(UDP, 1, 5000, remote).unwrap();
    }
    let away = |world: &mut World, to| {
        renew(world, |up| {
            up.groups[0].choice = Choice::One(WanId(to));
            let bond = &mut up.groups[0].bonds[usize::from(1 - to)];
            (bond.epoch, bond.tcp) = (bond.epoch + 1, bond.tcp + 1);
        })
    };
    away(&mut world, 1);
    assert_eq!(world.send_to(UDP, 1, 5000, 1).unwrap().wan, WanId(1));
    world.now += Nanos::from_s(130);
    renew(&mut world, |up| up.groups[0].choice = Choice::One(WanId(0)));
    let other = world.send_to(UDP, 2, 5000, 53).unwrap();
    assert_eq!((other.wan, other.port), (WanId(0), 2000));
    assert_eq!((world.nat.live(), world.counters.get(Stat::SessionsExpired)), (3, 0));
    let moved = world.send_to(UDP, 1, 5000, 53).unwrap();
    assert_eq!((moved.wan, world.nat.sessions.get(moved.slot).packets(INSIDE)), (WanId(1), 2));
    assert_eq!(world.send_to(UDP, 2, 5000, 53).unwrap().slot, other.slot);
    world.nat.audit().unwrap();
}
