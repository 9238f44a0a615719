//! Timers and keys of sessions.

use std::net::Ipv4Addr;

use super::session::{Key, Session, Timeouts};
use super::tcp::TcpState;
use crate::base::{Nanos, WanId};
use crate::packet::Tuple;
use crate::wire::protocol;

fn timeouts() -> Timeouts {
    let s = Nanos::from_s;
    Timeouts::new(s(7440), s(240), s(300), &[(53, s(10)), (123, s(20))], s(60))
}

#[test]
fn each_protocol_state_and_port_has_its_timer() {
    let t = timeouts();
    let ms = |protocol, state| Session { protocol, state, ..Session::default() }.timeout_ms(&t);
    for (port, span) in [(53, 10_000), (123, 20_000), (80, 300_000), (0, 300_000)] {
        assert_eq!(ms(protocol::UDP, t.udp_class(port)), span, "port {port}");
    }
    for state in TcpState::ALL {
        let span = if state == TcpState::Established { 7_440_000 } else { 240_000 };
        assert_eq!(ms(protocol::TCP, state as u8), span, "{state:?}");
    }
    assert_eq!(ms(protocol::ICMP, 0), 60_000);
}

#[test]
fn x_7_a_timer_runs_out_exactly_and_across_the_wrap_of_the_clock() {
    let t = timeouts();
    for start in [0, 1, u32::MAX - 5, u32::MAX - 60_000, u32::MAX] {
        let session = Session { protocol: protocol::ICMP, refreshed: start, ..Session::default() };
        for (later, over) in [(0, false), (59_999, false), (60_000, true), (60_001, true)] {
            assert_eq!(session.expired(&t, start.wrapping_add(later)), over, "{start} + {later}");
        }
    }
}

#[test]
fn more_than_255_ports_of_their_own_and_endless_spans_do_no_harm() {
    let many: Vec<_> = (1..=1000u16).map(|p| (p, Nanos::from_s(u64::from(p)))).collect();
    let t = Timeouts::new(Nanos::NEVER, Nanos::NEVER, Nanos::from_s(300), &many, Nanos::NEVER);
    assert_eq!((t.udp_class(255), t.udp_class(256)), (255, 0));
    let session = |state| Session { protocol: protocol::UDP, state, ..Session::default() };
    assert_eq!(session(255).timeout_ms(&t), 255_000);
    assert_eq!(session(0).timeout_ms(&t), 300_000);
    let tcp = Session { protocol: protocol::TCP, state: TcpState::Established as u8, ..Session::default() };
    assert!(!tcp.expired(&t, 1 << 30));
}

#[test]
fn the_keys_of_a_session_are_those_of_its_packets() {
    let a = |n| Ipv4Addr::new(10, 0, 0, n);
    for protocol in [protocol::UDP, protocol::TCP, protocol::ICMP] {
        let icmp = protocol == protocol::ICMP;
        let session = Session {
            protocol,
            inside: a(1),
            inside_port: 5,
            outside: a(2),
            outside_port: 6,
            remote: a(3),
            remote_port: if icmp { 0 } else { 7 },
            wan: WanId(1),
            ..Session::default()
        };
        let out = Tuple { protocol, src: a(1), src_port: 5, dst: a(3), dst_port: if icmp { 5 } else { 7 } };
        let back = Tuple { protocol, src: a(3), src_port: if icmp { 6 } else { 7 }, dst: a(2), dst_port: 6 };
        assert_eq!(Key::outbound(&out), session.outbound_key());
        assert_eq!(Key::inbound(WanId(1), &back), session.inbound_key());
        assert_ne!(Key::inbound(WanId(0), &back), session.inbound_key());
    }
}
