//! Mapping and filtering of UDP and echoes through the whole router (RFC 4787, RFC 5508, RFC 6888), and what a full table costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;

#[test]
fn rfc4787_1_the_mapping_does_not_depend_on_the_remote() {
    each_shape(|mut site| {
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!(x.0, P1);
        for remote in [(E1, 81), (E2, 80), (E2, 53)] {
            assert_eq!(udp_out(&mut site, (H1, 5000), remote), Some(("isp1".into(), x)));
        }
        assert_eq!((site.moved("mappings_created"), site.moved("sessions_created")), (1, 4));
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc4787_3_the_same_inside_port_of_two_hosts_gets_two_outside_ports() {
    each_shape(|mut site| {
        let (_, a) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, b) = udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap();
        assert_ne!(a, b);
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), a), Some((H1, 5000)));
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), b), Some((H2, 5000)));
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc4787_3a1_and_rfc4787_3a2_and_rfc4787_4_a_port_keeps_its_range_and_its_parity() {
    each_shape(|mut site| {
        for port in (1..1024).step_by(41).chain((1024..=65535).step_by(2003)) {
            let (_, x) = udp_out(&mut site, (H1, port), (E1, 80)).unwrap();
            assert_eq!((x.1 < 1024, x.1 % 2), (port < 1024, port % 2), "{port} -> {x:?}");
            assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, port)));
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc4787_8a_anybody_may_answer_a_mapping_and_rfc6888_7_that_is_the_default() {
    each_shape(|mut site| {
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!(udp_in(&mut site, "isp1", (E2, 9999), x), Some((H1, 5000)));
        // and is answered from the same endpoint
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 9999)), Some(("isp1".into(), x)));
        assert_eq!(site.moved("sessions_created"), 2);
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc4787_10_addresses_in_the_payload_are_left_alone() {
    let mut site = site(1);
    let sip = b"INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.10.10:5060\r\nContact: <sip:a@192.168.10.10>\r\n\r\n";
    let (_, out) = site.pass("lan", &Packet::udp((H1, 5060), (E1, 5060), sip)).unwrap();
    assert_eq!(out.data(), sip);
    site.finish(&OPENED).unwrap();
}

#[test]
fn rfc4787_11a_the_mapping_class_is_the_same_when_nearly_full_and_after_a_failover() {
    let mut site = Site::new(&unlimited(1024, ""), 1).unwrap();
    let class = |site: &mut Site, port: u16| {
        let ends: BTreeSet<End> = [(E1, 80), (E1, 81), (E2, 80)]
            .iter()
            .map(|to| udp_out(site, (H1, port), *to).unwrap().1)
            .collect();
        assert_eq!(ends.len(), 1, "{ends:?}");
    };
    class(&mut site, 1);
    flood(&mut site, "lan", (2000..3018).map(|p| Packet::udp((H2, p), (E1, 80), b"")));
    class(&mut site, 2);
    assert_eq!(live(&mut site), 1024);
    site.set_link("isp1", false);
    class(&mut site, 1);
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
}

#[test]
fn rfc5508_1_1_and_rfc5508_1_2_and_rfc5508_1a_an_echo_gets_an_identifier_and_its_reply_comes_home() {
    each_shape(|mut site| {
        let (link, out) = site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
        assert_eq!((link.as_str(), out.src().0), ("isp1", P1));
        // rfc5508_1a: the identifier does not depend on the remote
        let (_, other) = site.pass("lan", &Packet::ping(H1, E2, 7, 1)).unwrap();
        assert_eq!(other.src(), out.src());
        // and is nobody else's
        let (_, second) = site.pass("lan", &Packet::ping(H2, E1, 7, 1)).unwrap();
        assert_ne!(second.src().1, out.src().1);
        let reply = Packet::icmp(E1, P1, 0, 0, out.src().1, 1, b"sixteen bytes...");
        let (link, back) = site.pass("isp1", &reply).unwrap();
        assert_eq!((link.as_str(), back.dst()), ("lan", (H1, 7)));
        // nobody else may answer
        assert_eq!(site.send("isp1", &Packet::icmp(G1, P1, 0, 0, out.src().1, 1, b"")), []);
        site.finish(&and(&[&OPENED, &["drop_nat_filtered"]])).unwrap();
    });
}

#[test]
fn rfc7857_6_protocols_map_and_filter_apart_and_rfc7857_7() {
    each_shape(|mut site| {
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        // 7857-7: the datagram's mapping opens nothing for TCP
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 80), x, SYN), None);
        assert_eq!(site.moved("drop_nat_no_mapping"), 1);
        tcp_out(&mut site, (H1, 5000), (E1, 80), SYN, 1, 0).unwrap();
        assert_eq!(site.moved("mappings_created"), 2);
        site.finish(&and(&[&OPENED, &["drop_nat_no_mapping"]])).unwrap();
    });
}

#[test]
fn x_5_what_nobody_asked_for_changes_nothing() {
    each_shape(|mut site| {
        let (_, udp) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, tcp) = connect(&mut site, (H1, 5000), (E1, 80));
        let before = digest(&mut site);
        for port in [0, 1, 1023, 1024, udp.1 ^ 1, tcp.1 ^ 1, 65535] {
            assert_eq!(site.send("isp1", &Packet::udp((E1, 80), (P1, port), b"x")), []);
            assert_eq!(site.send("isp1", &Packet::tcp((E1, 80), (P1, port), SYN, 1, 0, b"")), []);
            assert_eq!(site.send("isp1", &Packet::icmp(E1, P1, 0, 0, port, 0, b"")), []);
        }
        // TCP from a remote that was not spoken to: address-and-port-dependent filtering
        assert_eq!(site.send("isp1", &Packet::tcp((E2, 80), tcp, SYN, 1, 0, b"")), []);
        // a mapping of one WAN is none of the other's
        assert_eq!(site.send("isp2", &Packet::udp((E1, 80), (P2, udp.1), b"x")), []);
        assert_eq!(digest(&mut site), before);
        site.finish(&and(&[&OPENED, &["drop_nat_no_mapping", "drop_nat_filtered"]])).unwrap();
    });
}

#[test]
fn x_6_and_rfc5508_8a_and_rfc5508_8b_a_full_table_refuses_the_new_and_harms_nobody() {
    let mut site = Site::new(&unlimited(1024, ""), 1).unwrap();
    let (_, first) = udp_out(&mut site, (H1, 1), (E1, 80)).unwrap();
    flood(&mut site, "lan", (1..1024).map(|p| Packet::udp((H2, p), (E1, 80), b"")));
    let before = digest(&mut site);
    // 5508-8a, 8b: told to its sender, counted with its own reason
    let (link, answer) = site.pass("lan", &Packet::udp((H2, 5000), (E1, 80), b"one more")).unwrap();
    assert_eq!((link.as_str(), error(&answer)), ("lan", Some((3, 13, 0))));
    assert_eq!(site.send("lan", &Packet::tcp((H2, 5000), (E1, 80), SYN, 1, 0, b"")).len(), 1);
    assert_eq!(site.send("lan", &Packet::udp((H1, 1), (E2, 80), b"another remote")).len(), 1);
    // a new remote from outside: dropped, nobody is told
    assert_eq!(site.send("isp1", &Packet::udp((E2, 1), first, b"")), []);
    assert_eq!(digest(&mut site), before);
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), first), Some((H1, 1)));
    assert_eq!(udp_out(&mut site, (H1, 1), (E1, 80)).unwrap().1, first);
    assert_eq!(site.moved("drop_nat_table_full"), 4);
    site.finish(&and(&[&OPENED, &["drop_nat_table_full", "sessions_refused", "icmp_errors_sent"]])).unwrap();
}

#[test]
fn rfc6888_13_and_rfc4787_3_the_whole_pool_can_be_had_and_rfc6888_11a_and_rfc6888_11d_nobody_is_evicted() {
    let mut site = Site::new(&unlimited(200_000, ""), 2).unwrap();
    meet(&mut site);
    let host = |n: u32| Ipv4Addr::from_bits(0xc0a8_0a0a + n % 2);
    let flows = |from: u32, to: u32| {
        (from..to).map(move |n| Packet::udp((host(n), (1024 + n / 2) as u16), (E1, 80), &n.to_be_bytes()))
    };
    let out = flood(&mut site, "lan", flows(0, 64_000));
    let mut ends = BTreeMap::new();
    for (_, seen) in out.iter().filter(|(link, _)| link == "isp1") {
        let n = u32::from_be_bytes(seen.data().try_into().unwrap());
        assert_eq!(ends.insert(seen.src(), n), None, "rfc4787_3: no overloading");
    }
    // The slices of the two workers differ by a few per cent, and what they lend each other may come a moment late.
    assert!(ends.len() > 63_000, "{}", ends.len());
    let out = flood(&mut site, "lan", flows(64_000, 70_000));
    for (_, seen) in out.iter().filter(|(link, _)| link == "isp1") {
        assert_eq!(ends.insert(seen.src(), u32::from_be_bytes(seen.data().try_into().unwrap())), None);
    }
    assert_eq!(ends.len(), 64_447, "every port from 1024 on was given out, but 65 of the router's own");
    // 6888-11a, 11b (as 5508-8a has it): the next is dropped, and told
    let refused = site.moved("drop_nat_ports_exhausted");
    assert_eq!(refused, 70_000 - 64_447);
    // 6888-11d
    for (x, n) in ends.into_iter().step_by(997) {
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((host(n), (1024 + n / 2) as u16)));
    }
    // a port in use serves another remote all the same
    assert!(udp_out(&mut site, (host(0), 1024), (E2, 80)).is_some());
    let moved = ["drop_nat_ports_exhausted", "sessions_refused", "icmp_errors_sent", "icmp_errors_limited"];
    site.finish(&and(&[&OPENED, &moved, &["ports_lent", "ports_borrowed"]])).unwrap();
}

#[test]
fn rfc768_1_a_datagram_without_checksum_stays_without_and_rfc768_2_a_computed_zero_is_all_ones() {
    let mut site = site(1);
    let mut bare = Packet::udp((H1, 5000), (E1, 80), b"no checksum");
    put16(&mut bare.payload, 6, 0);
    let (_, out) = site.pass("lan", &bare).unwrap();
    assert_eq!(out.payload[6..8], [0, 0]);
    // All values of two data bytes: one of them makes the translated sum zero. watch.
    let mut ones = 0;
    for n in 0..=u16::MAX {
        let packet = Packet::udp((H1, 5000), (E1, 80), &n.to_be_bytes());
        let frame = site.frame_of("lan", &packet);
        site.put_raw("lan", &frame);
        if n % 128 == 127 {
            site.run_ms(1);
            for (_, seen) in taken(&mut site) {
                assert_ne!(seen.payload[6..8], [0, 0]);
                ones += u32::from(seen.payload[6..8] == [0xff, 0xff]);
            }
        }
    }
    assert_eq!(ones, 1);
    site.finish(&OPENED).unwrap();
}

/// One step of a random conversation: who, with whom, by what, which way.
type Step = (usize, u16, usize, usize, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..4usize, 1..4u16, 0..4usize, 0..3usize, any::<bool>()), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Against a model: a mapping per inside endpoint, its filter, and nobody shares an outside endpoint.
    #[test]
    fn x_8_both_directions_agree_and_rfc4787_3_nobody_shares(steps in steps(), shape in 0..SHAPES.len(), wrong in any::<bool>()) {
        let (workers, queue) = SHAPES[shape];
        let mut site = site(workers);
        let hosts = [H1, H2, Ipv4Addr::new(192, 168, 10, 12), Ipv4Addr::new(192, 168, 10, 13)];
        hosts.iter().for_each(|h| site.add_host("lan", *h));
        let remotes = [(E1, 80), (E1, 81), (E2, 80), (E2, 5000)];
        // (protocol, inside) -> outside; (protocol, inside, remote) of what was opened
        let mut mappings: BTreeMap<(usize, End), End> = BTreeMap::new();
        let mut sessions = BTreeSet::new();
        let mut filtered = false;
        for (i, (host, port, remote, kind, inward)) in steps.into_iter().enumerate() {
            site.use_queue(if wrong { i % workers } else { queue });
            let (inside, remote) = ((hosts[host], port), remotes[remote]);
            let far = if kind == 2 { (remote.0, 0) } else { remote };
            let data = (i as u32).to_be_bytes();
            let Some(x) = mappings.get(&(kind, inside)).copied().filter(|_| inward) else {
                let packet = match kind {
                    0 => Packet::udp(inside, remote, &data),
                    1 => Packet::tcp(inside, remote, SYN, 1, 0, &data),
                    _ => Packet::icmp(inside.0, remote.0, 8, 0, port, 1, &data),
                };
                let (link, out) = site.pass("lan", &packet).unwrap();
                prop_assert_eq!(link, "isp1");
                let known = *mappings.entry((kind, inside)).or_insert(out.src());
                prop_assert_eq!(known, out.src());
                sessions.insert((kind, inside, far));
                let ends: BTreeSet<_> = mappings.iter().map(|((kind, _), x)| (*kind, *x)).collect();
                prop_assert_eq!(ends.len(), mappings.len());
                continue;
            };
            let packet = match kind {
                0 => Packet::udp(remote, x, &data),
                1 => Packet::tcp(remote, x, SYN | ACK, 1, 2, &data),
                _ => Packet::icmp(remote.0, x.0, 0, 0, x.1, 1, &data),
            };
            let got = site.pass("isp1", &packet);
            if kind == 0 {
                sessions.insert((kind, inside, far));
            }
            let open = sessions.contains(&(kind, inside, far));
            prop_assert_eq!(got.is_some(), open);
            filtered |= !open;
            if let Some((link, seen)) = got {
                prop_assert_eq!((link.as_str(), seen.dst()), ("lan", inside));
                // and back: out(in(p)) = p, with the ends exchanged
                let back = match kind {
                    0 => Packet::udp(seen.dst(), seen.src(), &data),
                    1 => Packet::tcp(seen.dst(), seen.src(), ACK, 1, 2, &data),
                    _ => Packet::icmp(inside.0, remote.0, 8, 0, port, 1, &data),
                };
                let (_, out) = site.pass("lan", &back).unwrap();
                prop_assert_eq!(out.src(), x);
                prop_assert_eq!(out.ip.dst, remote.0);
            }
        }
        prop_assert_eq!(live(&mut site), sessions.len());
        let expected = if filtered { and(&[&OPENED, &["drop_nat_filtered"]]) } else { OPENED.to_vec() };
        site.finish(&expected).map_err(TestCaseError::fail)?;
    }
}
