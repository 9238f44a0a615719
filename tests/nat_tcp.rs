//! Connections through the whole router (RFC 5382, RFC 7857): what passes, what opens nothing, what resets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

const CLIENT: End = (H1, 5000);
const SERVER: End = (E1, 80);

#[test]
fn rfc5382_1_the_mapping_does_not_depend_on_the_remote() {
    each_shape(|mut site| {
        let (_, x) = connect(&mut site, CLIENT, SERVER);
        for remote in [(E1, 81), (E2, 80)] {
            assert_eq!(connect(&mut site, CLIENT, remote).1, x);
        }
        assert_eq!(site.moved("mappings_created"), 1);
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc5382_2_1_a_handshake_and_data_pass_with_options_and_payload_intact() {
    each_shape(|mut site| {
        // MSS, SACK permitted, timestamps, window scale
        let options = [2, 4, 5, 180, 4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7];
        let mut syn = Packet::tcp(CLIENT, SERVER, SYN, 1000, 0, &options);
        syn.payload[12] = 10 << 4;
        put16(&mut syn.payload, 16, 0);
        let sum = checksum::transport(syn.ip.src, syn.ip.dst, 6, &syn.payload);
        put16(&mut syn.payload, 16, sum);
        let (link, out) = site.pass("lan", &syn).unwrap();
        assert_eq!(out.payload[20..], options);
        let x = out.src();
        tcp_in(&mut site, &link, SERVER, x, SYN | ACK).unwrap();
        tcp_out(&mut site, CLIENT, SERVER, ACK, 1001, 9001).unwrap();
        for length in [1usize, 2, 535, 536, 1459, 1460] {
            let data: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let (_, out) = site.pass("lan", &Packet::tcp(CLIENT, SERVER, ACK, 1001, 9001, &data)).unwrap();
            assert_eq!((out.data(), out.src()), (&data[..], x));
            let (_, back) = site.pass(&link, &Packet::tcp(SERVER, x, ACK, 9001, 1001, &data)).unwrap();
            assert_eq!((back.data(), back.dst()), (&data[..], CLIENT));
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc5382_2_3_retransmissions_and_odd_segments_pass_by_the_one_mapping() {
    each_shape(|mut site| {
        let (_, first) = tcp_out(&mut site, CLIENT, SERVER, SYN, 1000, 0).unwrap();
        let x = first.src();
        // SYN again, and with data
        assert_eq!(tcp_out(&mut site, CLIENT, SERVER, SYN, 1000, 0).unwrap().1.src(), x);
        let fast = Packet::tcp(CLIENT, SERVER, SYN, 1000, 0, b"early");
        assert_eq!(site.pass("lan", &fast).unwrap().1.data(), b"early");
        for _ in 0..3 {
            assert_eq!(tcp_in(&mut site, "isp1", SERVER, x, SYN | ACK).unwrap().dst(), CLIENT);
        }
        // keep-alive, zero-window probe, URG, PSH
        for (flags, seq, data) in
            [(ACK, 1000, &b""[..]), (ACK, 1001, b"z"), (ACK | 0x20, 1002, b"u"), (ACK | 8, 1003, b"p")]
        {
            let out = site.pass("lan", &Packet::tcp(CLIENT, SERVER, flags, seq, 9001, data)).unwrap().1;
            assert_eq!((out.src(), out.tcp().unwrap().flags.0, out.data()), (x, flags, data));
            let back = site.pass("isp1", &Packet::tcp(SERVER, x, flags, seq, 9001, data)).unwrap().1;
            assert_eq!((back.dst(), back.tcp().unwrap().flags.0, back.data()), (CLIENT, flags, data));
        }
        assert_eq!((site.moved("mappings_created"), site.moved("sessions_created")), (1, 1));
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc5382_2_4_after_one_side_has_finished_the_other_may_go_on() {
    for from_inside in [true, false] {
        let mut site = site(2);
        let (_, x) = connect(&mut site, CLIENT, SERVER);
        let segment = |out: bool, flags: u8, seq: u32, data: &[u8]| match out {
            true => ("lan", Packet::tcp(CLIENT, SERVER, flags, seq, 1, data)),
            false => ("isp1", Packet::tcp(SERVER, x, flags, seq, 1, data)),
        };
        let (link, fin) = segment(from_inside, FIN_ACK, 1, b"");
        site.pass(link, &fin).unwrap();
        let data = [7u8; 1448];
        // 10 MB, with acknowledgements, over 13 minutes
        for n in 0..7243u32 {
            let (link, packet) = segment(!from_inside, ACK, n * 1448, &data);
            assert!(site.pass(link, &packet).is_some(), "segment {n}");
            if n % 64 == 0 {
                let (link, ack) = segment(from_inside, ACK, 2, b"");
                assert!(site.pass(link, &ack).is_some());
                site.run_coarse(7, 250);
                site.take_all();
            }
        }
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn rfc5382_4_1_an_unsolicited_syn_is_answered_by_nothing() {
    let mut site = site(2);
    tcp_out(&mut site, CLIENT, SERVER, SYN, 1, 0).unwrap();
    assert_eq!(site.send("isp1", &Packet::tcp((E2, 1), (P1, 4000), SYN, 1, 0, b"")), []);
    site.run_ms(6000);
    assert_eq!(taken(&mut site), []);
    site.finish(&and(&[&OPENED, &["drop_nat_no_mapping"]])).unwrap();
}

#[test]
fn rfc7857_3a_a_reset_passes_and_rfc7857_3b_does_not_cut_what_still_lives() {
    for from_inside in [true, false] {
        let mut site = site(2);
        let (_, x) = connect(&mut site, CLIENT, SERVER);
        let reset = match from_inside {
            true => site.pass("lan", &Packet::tcp(CLIENT, SERVER, RST, 1, 0, b"")),
            false => site.pass("isp1", &Packet::tcp(SERVER, x, RST, 1, 0, b"")),
        };
        assert!(reset.unwrap().1.tcp().unwrap().flags.rst());
        site.run_coarse(60, 250);
        assert!(tcp_in(&mut site, "isp1", SERVER, x, ACK).is_some(), "alive after 60 s");
        // data have brought it back: it stands the long timer again
        site.run_coarse(1000, 250);
        assert!(tcp_in(&mut site, "isp1", SERVER, x, ACK).is_some(), "alive after 1000 s");
        assert!(tcp_out(&mut site, CLIENT, SERVER, ACK, 1, 1).is_some());
        // and silence after a reset ends it, further resets do not keep it
        site.pass("isp1", &Packet::tcp(SERVER, x, RST, 1, 0, b"")).unwrap();
        site.run_coarse(239, 250);
        assert!(site.pass("isp1", &Packet::tcp(SERVER, x, RST, 1, 0, b"")).is_some());
        site.run_coarse(1, 250);
        assert_eq!(tcp_in(&mut site, "isp1", SERVER, x, ACK), None);
        site.finish(&and(&[&OPENED, &["sessions_expired", "drop_nat_no_mapping"]])).unwrap();
    }
}

#[test]
fn rfc5382_10a_and_rfc5382_10b_icmp_about_a_connection_neither_ends_it_nor_makes_a_reset() {
    each_shape(|mut site| {
        let (_, x) = connect(&mut site, CLIENT, SERVER);
        let about =
            Packet::tcp(x, SERVER, ACK, 1001, 9001, b"").frame(Default::default(), Default::default());
        let before = digest(&mut site);
        for kind in [3u8, 4, 5, 11, 12] {
            for code in 0..16 {
                let out = site.send("isp1", &Packet::icmp(G1, P1, kind, code, 0, 0, &about[14..]));
                assert!(out.iter().all(|(_, s)| s.tcp().is_none()), "{kind}/{code} {out:?}");
                assert_eq!(out.len(), usize::from([3, 11, 12].contains(&kind)));
            }
        }
        assert_eq!(digest(&mut site), before);
        assert_eq!(tcp_in(&mut site, "isp1", SERVER, x, ACK).unwrap().dst(), CLIENT);
        let icmp = ["icmp_errors_translated", "drop_icmp_source_quench", "drop_icmp_redirect"];
        site.finish(&and(&[&OPENED, &icmp])).unwrap();
    });
}

#[test]
fn a_segment_without_a_session_opens_none_and_is_reset_so_that_its_sender_starts_afresh() {
    each_shape(|mut site| {
        meet(&mut site);
        let ask = |site: &mut Site, flags: u8, data: &[u8]| {
            let out = site.send("lan", &Packet::tcp(CLIENT, SERVER, flags, 1000, 7000, data));
            out.into_iter().map(|(link, seen)| (link, seen.src(), seen.dst(), seen.tcp().unwrap())).next()
        };
        // RFC 9293 3.10.7.1: with an ACK the reset takes its number, without it acknowledges all
        for (flags, data) in [(ACK, &b"abc"[..]), (FIN_ACK, b""), (SYN | ACK, b"")] {
            let (link, src, dst, tcp) = ask(&mut site, flags, data).unwrap();
            assert_eq!((link.as_str(), src, dst), ("lan", SERVER, CLIENT));
            assert_eq!((tcp.flags, tcp.seq), (Flags(RST), 7000));
        }
        for (flags, data, next) in [(0, &b"abc"[..], 1003), (Flags::FIN, b"ab", 1003)] {
            let (_, _, _, tcp) = ask(&mut site, flags, data).unwrap();
            assert_eq!((tcp.flags, tcp.seq, tcp.ack), (Flags(RST | ACK), 0, next));
        }
        assert_eq!(ask(&mut site, RST, b""), None, "a reset is never answered");
        assert_eq!(live(&mut site), 0);
        site.finish(&["drop_nat_tcp_midstream", "tcp_resets_sent"]).unwrap();
    });
}
