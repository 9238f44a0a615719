//! Timers and keys of sessions.

use std::net::Ipv4Addr;

use super::mapping::Course;
use super::rules::FILTERING;
use super::session::{Ends, INSIDE, Key, NOWHERE, OUTSIDE, Session};
use super::tcp::TcpState;
use super::timeouts::{ICMP, Timeouts, UDP, UDP_PORTS};
use super::{Nat, NatConfig};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::Tuple;
use crate::table::index::Index;
use crate::wire::protocol;

fn in_state(protocol: u8, state: u8) -> Session {
    let mut session = session(protocol);
    session.state = state;
    session
}

fn timeouts() -> Timeouts {
    let s = Nanos::from_s;
    Timeouts::new(s(7440), s(240), s(300), &[(53, s(10)), (123, s(20))], s(60), s(600))
}

#[test]
fn each_protocol_state_and_port_has_its_timer() {
    let t = timeouts();
    let ms = |protocol, state| t.ms(in_state(protocol, state).state);
    for (port, span) in [(53, 10_000), (123, 20_000), (80, 300_000), (0, 300_000)] {
        assert_eq!(ms(protocol::UDP, t.first_state(protocol::UDP, port)), span, "port {port}");
    }
    for state in TcpState::ALL {
        let span = if state == TcpState::Established { 7_440_000 } else { 240_000 };
        assert_eq!(ms(protocol::TCP, state as u8), span, "{state:?}");
    }
    assert_eq!(ms(protocol::ICMP, t.first_state(protocol::ICMP, 53)), 60_000);
}

#[test]
fn x_7_a_timer_runs_out_exactly_and_across_the_wrap_of_the_clock() {
    let t = timeouts();
    for start in [0, 1, u32::MAX - 5, u32::MAX - 60_000, u32::MAX] {
        let mut session = in_state(protocol::ICMP, ICMP);
        session.refreshed = start;
        for (later, over) in [(0, false), (59_999, false), (60_000, true), (60_001, true)] {
            assert_eq!(session.expired(&t, start.wrapping_add(later)), over, "{start} + {later}");
        }
    }
}

#[test]
fn more_ports_of_their_own_than_there_is_room_for_and_endless_spans_do_no_harm() {
    let many: Vec<_> = (1..=1000u16).map(|p| (p, Nanos::from_s(u64::from(p)))).collect();
    let t = Timeouts::new(Nanos::NEVER, Nanos::NEVER, Nanos::from_s(300), &many, Nanos::NEVER, Nanos::NEVER);
    let last = UDP_PORTS as u16;
    let first = |port| t.first_state(protocol::UDP, port);
    assert_eq!((first(last), first(last + 1)), (UDP + last as u8, UDP));
    assert_eq!(t.ms(UDP + last as u8), u32::from(last) * 1000);
    assert_eq!(t.ms(UDP), 300_000);
    let tcp = in_state(protocol::TCP, TcpState::Established as u8);
    assert!(!tcp.expired(&t, 1 << 30));
}

fn session(protocol: u8) -> Session {
    let a = |n| Ipv4Addr::new(10, 0, 0, n);
    let remote_port = if protocol == protocol::ICMP { 0 } else { 7 };
    Session::new(&Ends {
        protocol,
        inside: (a(1), 5),
        outside: (a(2), 6),
        remote: (a(3), remote_port),
        wan: WanId(1),
    })
}

#[test]
fn the_keys_of_a_session_are_those_of_its_packets() {
    let a = |n| Ipv4Addr::new(10, 0, 0, n);
    for protocol in [protocol::UDP, protocol::TCP, protocol::ICMP] {
        let icmp = protocol == protocol::ICMP;
        let session = session(protocol);
        let out = Tuple { protocol, src: a(1), src_port: 5, dst: a(3), dst_port: if icmp { 5 } else { 7 } };
        let back = Tuple { protocol, src: a(3), src_port: if icmp { 6 } else { 7 }, dst: a(2), dst_port: 6 };
        assert_eq!(Key::outbound(&out), session.key(INSIDE));
        assert_eq!(Key::inbound(WanId(1), &back), session.key(OUTSIDE));
        assert_ne!(Key::inbound(WanId(0), &back), session.key(OUTSIDE));
        assert_eq!(Key::outbound(&out).of_mapping(), Key::mapping(protocol, Course::default(), a(1), 5));
        assert_eq!(Key::outbound(&out).reply(WanId(1), (a(2), 6)), Key::inbound(WanId(1), &back));
        assert_eq!((Key::outbound(&out).source(), Key::outbound(&out).destination().0), ((a(1), 5), a(3)));
    }
}

#[test]
fn the_keys_of_a_session_from_inside_to_inside_are_those_of_its_packets() {
    let a = |n| Ipv4Addr::new(10, 0, 0, n);
    for protocol in [protocol::UDP, protocol::TCP, protocol::ICMP] {
        let icmp = protocol == protocol::ICMP;
        let (inside, remote) = ((a(1), 5), (a(3), if icmp { 0 } else { 7 }));
        let session =
            Session::new(&Ends { protocol, inside, outside: inside, remote, wan: NOWHERE }).internal();
        let there = Tuple { protocol, src: a(1), src_port: 5, dst: a(3), dst_port: if icmp { 5 } else { 7 } };
        let back =
            Tuple { protocol, src: a(3), src_port: there.dst_port, dst: a(1), dst_port: there.src_port };
        assert_eq!(Key::internal(&there, INSIDE), session.key(INSIDE));
        assert_eq!(Key::internal(&back, OUTSIDE), session.key(OUTSIDE));
        assert_ne!(Key::outbound(&there), session.key(INSIDE));
    }
}

#[test]
fn a_packet_is_a_sessions_only_if_every_word_of_its_header_says_so() {
    let session = session(protocol::UDP);
    for side in [INSIDE, OUTSIDE] {
        let key = session.key(side);
        let (ports, kind) = (key.rest as u32, (key.rest >> 32) as u16);
        assert!(session.is_of(side, key.addresses, ports, kind));
        for bit in [0, 31, 32, 63] {
            assert!(!session.is_of(side, key.addresses ^ 1 << bit, ports, kind));
            assert!(!session.is_of(side, key.addresses, ports ^ 1 << (bit / 2), kind));
            assert!(!session.is_of(side, key.addresses, ports, kind ^ 1 << (bit / 4)));
        }
    }
}

#[test]
fn a_packet_from_inside_has_to_come_by_its_sessions_interface_which_is_no_part_of_its_key() {
    let mut session = session(protocol::UDP);
    let keys = [INSIDE, OUTSIDE].map(|side| session.key(side));
    for iface in [0, 1, 63] {
        session.set_ingress(IfaceId(iface));
        assert_eq!([INSIDE, OUTSIDE].map(|side| session.key(side)), keys);
        let key = keys[INSIDE];
        let is_of =
            |by: u8| session.is_of(INSIDE, key.addresses, key.rest as u32, u16::from_le_bytes([17, by]));
        assert_eq!((0..=255).filter(|by| is_of(*by)).collect::<Vec<_>>(), [iface]);
        session.bind(session.outside(), session.wan());
        assert_eq!([INSIDE, OUTSIDE].map(|side| session.key(side)), keys);
        assert_eq!(session.protocol(), protocol::UDP);
    }
}

#[test]
fn a_session_that_is_bound_anew_keeps_its_counts_and_loses_its_stamps() {
    let mut session = session(protocol::UDP);
    session.set_ingress(IfaceId(63));
    for side in [INSIDE, OUTSIDE] {
        session.stamps[side] = 7;
        session.count(side, u32::MAX);
        session.count(side, 2);
    }
    session.bind((Ipv4Addr::new(10, 0, 1, 1), 9), WanId(0));
    for side in [INSIDE, OUTSIDE] {
        assert_eq!((session.stamps[side], session.packets(side), session.bytes(side)), (0, 2, (1 << 32) + 1));
    }
    assert_eq!((session.outside(), session.wan()), ((Ipv4Addr::new(10, 0, 1, 1), 9), WanId(0)));
    assert_eq!(session.remote(), (Ipv4Addr::new(10, 0, 0, 3), 7));
}

#[test]
fn a_session_is_one_line_and_takes_at_most_128_bytes_with_its_index_however_many_there_are() {
    assert_eq!(size_of::<Session>(), 64);
    for sessions in [64_512, 1_032_192, 16_515_072] {
        let each = Nat::bytes_for(sessions) as f64 / f64::from(sessions);
        assert!((64.0..=128.0).contains(&each), "{sessions}: {each}");
    }
    let timeouts = Timeouts::new(Nanos::ZERO, Nanos::ZERO, Nanos::ZERO, &[], Nanos::ZERO, Nanos::ZERO);
    let config = NatConfig {
        sessions: 64_512,
        timeouts,
        wans: vec![1],
        filtering: FILTERING,
        quarantine: Default::default(),
        reserved: vec![],
        paired: false,
        reserve: false,
        seed: 7,
    };
    let nat = Nat::new(&config, &|_: u16| true);
    assert_eq!(nat.index.bytes(), Index::bytes_for(2 * 64_512));
}
