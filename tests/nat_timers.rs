//! How long sessions live, to the millisecond, and how long their ports rest (RFC 4787 4.3, RFC 5382 5, RFC 5508 3.2, RFC 6888).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::BTreeSet;

const IN: End = (H1, 5000);
const OUT: End = (E1, 8080);
const EXPIRED: [&str; 2] = ["sessions_expired", "drop_nat_no_mapping"];

fn with(timeouts: &str) -> Site {
    Site::new(&format!("{DUAL_WAN}nat: {{ timeouts: {{ {timeouts} }} }}\n"), 2).unwrap()
}

/// Lets so many ms pass, most of them in large steps.
fn idle(site: &mut Site, ms: u64) {
    site.run_coarse(ms / 1000, 250);
    site.run_ms(ms % 1000);
    site.take_all();
}

#[test]
fn rfc4787_5_a_udp_mapping_lives_its_two_minutes_and_x_7_not_longer() {
    for (wait, lives) in [(119_900, true), (119_999, true), (120_000, false), (120_001, false)] {
        let mut site = with("udp: 120s");
        let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
        idle(&mut site, wait);
        assert_eq!(udp_in(&mut site, "isp1", OUT, x).is_some(), lives, "{wait}");
        let expired: &[&str] = if lives { &[] } else { &EXPIRED };
        site.finish(&and(&[&OPENED, expired])).unwrap();
    }
}

#[test]
fn rfc4787_5c_the_default_is_five_minutes_at_least() {
    let mut site = site(1);
    let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
    idle(&mut site, 299_999);
    assert_eq!(udp_in(&mut site, "isp1", OUT, x), Some(IN));
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc4787_5a_a_short_timer_holds_for_its_well_known_port_alone() {
    let mut site = with("udp: 120s, udp_ports: { 53: 10s }");
    let (_, x) = udp_out(&mut site, IN, (E1, 53)).unwrap();
    udp_out(&mut site, IN, OUT).unwrap();
    let (_, y) = udp_out(&mut site, (H2, 1), (E1, 53)).unwrap();
    let (_, z) = udp_out(&mut site, (H2, 2), (E1, 54)).unwrap();
    idle(&mut site, 9_999);
    assert_eq!(udp_in(&mut site, "isp1", (E1, 53), y), Some((H2, 1)));
    idle(&mut site, 10_000);
    assert_eq!(udp_in(&mut site, "isp1", (E1, 53), y), None, "the short one is over");
    // the same mapping's other flow and other ports' mappings live on
    assert_eq!(udp_in(&mut site, "isp1", OUT, x), Some(IN));
    assert_eq!(udp_in(&mut site, "isp1", (E1, 54), z), Some((H2, 2)));
    site.finish(&and(&[&OPENED, &EXPIRED])).unwrap();
}

#[test]
fn rfc4787_6_traffic_from_inside_keeps_a_mapping() {
    let mut site = with("udp: 120s");
    let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
    for _ in 0..5 {
        idle(&mut site, 100_000);
        assert_eq!(udp_out(&mut site, IN, OUT).unwrap().1, x);
    }
    idle(&mut site, 119_900);
    assert_eq!(udp_in(&mut site, "isp1", OUT, x), Some(IN));
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc4787_6a_answers_of_whom_inside_spoke_to_keep_it_as_well() {
    let mut site = with("udp: 120s");
    let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
    for _ in 0..10 {
        idle(&mut site, 60_000);
        assert_eq!(udp_in(&mut site, "isp1", OUT, x), Some(IN));
    }
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc7857_7r_a_stranger_keeps_no_mapping_alive_whatever_ports_it_sends_from() {
    let mut site = with("udp: 120s");
    let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
    let mut delivered_at = 0;
    for n in 0..60u16 {
        idle(&mut site, 10_000);
        let same = udp_in(&mut site, "isp1", (E2, 7), x);
        let other = udp_in(&mut site, "isp1", (E2, 1000 + n), x);
        if same.is_some() || other.is_some() {
            delivered_at = u64::from(n + 1) * 10;
        }
    }
    // Opened within the life of the mapping, a stranger's flow has its own two minutes and no more.
    assert!(delivered_at <= 130, "still delivered after {delivered_at} s");
    site.finish(&and(&[&OPENED, &EXPIRED])).unwrap();
}

#[test]
fn rfc7857_7e_refusals_by_inside_keep_neither_a_strangers_session_nor_the_mapping() {
    let mut site =
        Site::new(&format!("{DUAL_WAN}nat: {{ filtering: {{ tcp: endpoint-independent }} }}\n"), 2).unwrap();
    let (_, x) = tcp_out(&mut site, IN, OUT, SYN, 1, 0).unwrap();
    let x = x.src();
    let stranger = (E2, 7);
    assert_eq!(tcp_in(&mut site, "isp1", stranger, x, SYN).unwrap().dst(), IN);
    tcp_out(&mut site, IN, stranger, RST | ACK, 0, 2).unwrap();
    idle(&mut site, 180_000);
    assert!(tcp_in(&mut site, "isp1", stranger, x, SYN).is_some());
    tcp_out(&mut site, IN, stranger, RST | ACK, 0, 2).unwrap();
    // Four minutes after the first SYN, to a few ms that the packets took.
    idle(&mut site, 59_900);
    assert!(tcp_in(&mut site, "isp1", stranger, x, SYN).is_some());
    tcp_out(&mut site, IN, stranger, RST | ACK, 0, 2).unwrap();
    idle(&mut site, 100);
    assert_eq!(tcp_in(&mut site, "isp1", stranger, x, SYN), None);
    idle(&mut site, 9_000);
    assert_eq!(live(&mut site), 0);
    assert_eq!(site.moved("mappings_removed"), 1);
    site.finish(&and(&[&OPENED, &EXPIRED])).unwrap();
}

#[test]
fn rfc7857_7e_whom_inside_has_refused_has_no_connection_whatever_it_sends() {
    let mut site =
        Site::new(&format!("{DUAL_WAN}nat: {{ filtering: {{ tcp: endpoint-independent }} }}\n"), 2).unwrap();
    let (_, x) = connect(&mut site, IN, OUT);
    let stranger = (E2, 7);
    let state = |site: &mut Site| {
        let rows = site.ask(Request::Sessions(SessionFilter::default())).unwrap();
        let its = rows.as_array().unwrap().iter().find(|row| row["remote"] == "8.8.4.4:7").cloned();
        its.map(|row| row["state"].as_str().unwrap().to_owned())
    };
    assert!(tcp_in(&mut site, "isp1", stranger, x, SYN).is_some());
    tcp_out(&mut site, IN, stranger, RST | ACK, 0, 2).unwrap();
    for flags in [ACK, SYN | ACK, FIN_ACK, RST] {
        assert!(tcp_in(&mut site, "isp1", stranger, x, flags).is_some());
        assert_eq!(state(&mut site).as_deref(), Some("transitory"), "{flags}");
    }
    assert!(tcp_in(&mut site, "isp1", stranger, x, SYN).is_some());
    assert_eq!(state(&mut site).as_deref(), Some("syn_in"));
    tcp_out(&mut site, IN, stranger, RST | ACK, 0, 2).unwrap();
    assert!(tcp_in(&mut site, "isp1", stranger, x, ACK).is_some());
    idle(&mut site, 240_000);
    assert_eq!(state(&mut site), None);
    // Who is answered after a refusal is connected.
    assert!(tcp_in(&mut site, "isp1", stranger, x, SYN).is_some());
    tcp_out(&mut site, IN, stranger, RST | ACK, 0, 2).unwrap();
    assert!(tcp_in(&mut site, "isp1", stranger, x, SYN).is_some());
    tcp_out(&mut site, IN, stranger, SYN | ACK, 0, 2).unwrap();
    assert_eq!(state(&mut site).as_deref(), Some("established"));
    site.finish(&and(&[&OPENED, &["sessions_expired"]])).unwrap();
}

#[test]
fn strangers_cannot_fill_the_table_of_those_who_are_spoken_to() {
    let mut site = Site::new(&unlimited(1024, ""), 1).unwrap();
    meet(&mut site);
    let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
    let delivered = (0..1100u16).filter(|n| udp_in(&mut site, "isp1", (E2, 1000 + n), x).is_some()).count();
    assert_eq!(delivered, 64, "as many as may wait for an answer");
    assert_eq!(udp_in(&mut site, "isp1", OUT, x), Some(IN), "whom inside has spoken to");
    assert!(udp_out(&mut site, (H2, 6000), OUT).is_some(), "another host");
    // What is not answered is forgotten soon, and the next strangers may ask.
    idle(&mut site, 20_000);
    assert!(udp_in(&mut site, "isp1", (E2, 5000), x).is_some());
    site.finish(&and(&[&OPENED, &["sessions_expired", "drop_nat_strangers"]])).unwrap();
}

#[test]
fn whom_inside_has_answered_is_no_stranger_any_more() {
    let mut site = with("udp: 120s");
    let (_, x) = udp_out(&mut site, IN, OUT).unwrap();
    assert_eq!(udp_in(&mut site, "isp1", (E2, 7), x), Some(IN));
    for _ in 0..4 {
        idle(&mut site, 100_000);
        assert_eq!(udp_out(&mut site, IN, (E2, 7)).unwrap().1, x);
    }
    // The flow that made the mapping is long over; the mapping is not, and lets in whom it let in before.
    assert_eq!(udp_in(&mut site, "isp1", (E2, 8), x), Some(IN));
    site.finish(&and(&[&OPENED, &["sessions_expired"]])).unwrap();
}

#[test]
fn rfc5382_5_2_an_idle_connection_lives_two_hours_and_four_minutes_and_rfc5382_5_1_no_longer() {
    let mut site = with("tcp: 7440s");
    let (_, x) = connect(&mut site, IN, OUT);
    idle(&mut site, 7_439_000);
    assert!(tcp_in(&mut site, "isp1", OUT, x, ACK).is_some());
    idle(&mut site, 7_439_999);
    assert!(tcp_out(&mut site, IN, OUT, ACK, 1001, 9001).is_some());
    idle(&mut site, 7_440_000);
    assert!(tcp_in(&mut site, "isp1", OUT, x, ACK).is_none());
    site.finish(&and(&[&OPENED, &EXPIRED])).unwrap();
}

#[test]
fn rfc5382_5_3_opening_and_closing_connections_live_four_minutes_and_rfc5382_5b_repeat_their_end() {
    let mut site = site(2);
    let (_, opening) = tcp_out(&mut site, (H1, 1), OUT, SYN, 1, 0).unwrap();
    let (_, closing) = connect(&mut site, (H1, 2), OUT);
    tcp_out(&mut site, (H1, 2), OUT, FIN_ACK, 1001, 9001).unwrap();
    tcp_in(&mut site, "isp1", OUT, closing, FIN_ACK).unwrap();
    idle(&mut site, 239_000);
    assert!(tcp_in(&mut site, "isp1", OUT, opening.src(), SYN | ACK).is_some());
    // 5382-5b: the last FIN again
    assert!(tcp_in(&mut site, "isp1", OUT, closing, FIN_ACK).is_some());
    assert!(tcp_out(&mut site, (H1, 2), OUT, ACK, 1002, 9002).is_some());
    idle(&mut site, 240_000);
    assert!(tcp_in(&mut site, "isp1", OUT, closing, FIN_ACK).is_none());
    assert!(tcp_in(&mut site, "isp1", OUT, opening.src(), ACK).is_some(), "established meanwhile");
    site.finish(&and(&[&OPENED, &EXPIRED])).unwrap();
}

#[test]
fn rfc5508_2_an_echo_is_waited_for_a_minute() {
    for (wait, lives) in [(59_900, true), (59_999, true), (60_000, false)] {
        let mut site = with("icmp: 60s");
        let (_, out) = site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
        idle(&mut site, wait);
        let reply = Packet::icmp(E1, P1, 0, 0, out.src().1, 1, b"sixteen bytes...");
        assert_eq!(site.pass("isp1", &reply).is_some(), lives, "{wait}");
        let expired: &[&str] = if lives { &[] } else { &EXPIRED };
        site.finish(&and(&[&OPENED, expired])).unwrap();
    }
}

#[test]
fn rfc5382_5a_and_rfc7857_2b_and_rfc5508_2a_times_that_are_set_are_used() {
    for (early, lives) in [(1, true), (0, false)] {
        let mut site = with("tcp: 3h, tcp_transitory: 30s, icmp: 90s");
        let (_, opening) = tcp_out(&mut site, (H1, 1), OUT, SYN, 1, 0).unwrap();
        idle(&mut site, 30_000 - early);
        assert_eq!(tcp_in(&mut site, "isp1", OUT, opening.src(), SYN | ACK).is_some(), lives);
        let (_, echo) = site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
        idle(&mut site, 90_000 - early);
        let reply = Packet::icmp(E1, P1, 0, 0, echo.src().1, 1, b"sixteen bytes...");
        assert_eq!(site.pass("isp1", &reply).is_some(), lives);
        let (_, x) = connect(&mut site, IN, OUT);
        idle(&mut site, 3 * 3_600_000 - early);
        assert_eq!(tcp_in(&mut site, "isp1", OUT, x, ACK).is_some(), lives);
        let moved = if lives { &EXPIRED[..1] } else { &EXPIRED };
        site.finish(&and(&[&OPENED, moved])).unwrap();
    }
}

#[test]
fn x_7_memory_of_expired_sessions_is_back_within_ten_seconds_whatever_the_pace() {
    // Steps between two turns for which the sweep's share of slots is no whole number.
    for (sessions, step) in [(3u16, 1), (100, 250), (1500, 10), (1999, 8), (4000, 4)] {
        let mut site = Site::new(&unlimited(8192, ""), 1).unwrap();
        flood(&mut site, "lan", (0..sessions).map(|p| Packet::udp((H1, p), (E1, 80), b"")));
        assert_eq!(live(&mut site), usize::from(sessions));
        idle(&mut site, 300_000);
        site.run_coarse(10, step);
        assert_eq!(live(&mut site), 0, "{sessions} sessions, a turn every {step} ms");
        assert_eq!(site.moved("sessions_expired"), u64::from(sessions));
        site.finish(&and(&[&OPENED, &["sessions_expired"]])).unwrap();
    }
}

/// A pool of which nothing is left but what comes back.
fn drained(closed_tcp: bool) -> (Site, BTreeSet<u16>) {
    let mut site = Site::new(&unlimited(70_000, ""), 1).unwrap();
    meet(&mut site);
    let make = |host, port| match closed_tcp {
        true => Packet::tcp((host, port), (E1, 80), SYN, 1, 0, b""),
        false => Packet::udp((host, port), (E1, 80), b""),
    };
    // one flow first, whose port is to be freed; then all others
    flood(&mut site, "lan", std::iter::once(make(H1, 2001)));
    let early = site.now();
    site.run_coarse(60, 250);
    let out = flood(&mut site, "lan", (0..64_446u32).map(|n| make(H2, 1024 + n as u16)));
    assert!(site.now().since(early).as_s() < 100);
    (site, out.iter().map(|(_, s)| s.src().1).collect())
}

#[test]
fn rfc6888_8_a_freed_port_rests_for_two_minutes_and_rfc6888_11b_who_gets_none_is_told() {
    let (mut site, others) = drained(false);
    assert_eq!(others.len(), 64_446);
    // The first flow ends at 300 s; the others are kept. Its memory is back some seconds later, and its port 120 s after that.
    let keep = |site: &mut Site| {
        let out =
            flood(site, "lan", (0..64_446u32).map(|n| Packet::udp((H2, 1024 + n as u16), (E1, 80), b"")));
        assert_eq!(out.len(), 64_446);
    };
    site.run_coarse(180, 250);
    keep(&mut site);
    while site.moved("sessions_expired") == 0 {
        site.run_coarse(1, 250);
    }
    site.run_coarse(118, 250);
    site.take_all();
    let refused = site.send("lan", &Packet::udp((H1, 2002), (E1, 80), b""));
    assert_eq!(refused.len(), 1);
    assert_eq!(error(&refused[0].1), Some((3, 13, 0)));
    site.run_coarse(3, 250);
    let (_, x) = udp_out(&mut site, (H1, 2003), (E1, 80)).unwrap();
    assert!(!others.contains(&x.1));
    let moved = ["sessions_expired", "drop_nat_ports_exhausted", "sessions_refused", "icmp_errors_sent"];
    site.finish(&and(&[&OPENED, &moved])).unwrap();
}
