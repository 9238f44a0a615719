//! ICMP errors about translated packets: who is told, what is told, and that nothing else happens (RFC 5508 4, RFC 4787 9,
//! RFC 5382 7.3).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/quotes.rs"]
mod quotes;
use quotes::*;

use std::net::Ipv4Addr;

use turnout::wire::icmp;

const INSIDE: End = (H1, 5000);
const REMOTE: End = (E1, 80);

#[test]
fn rfc4787_12a_and_rfc5508_4a_and_rfc5508_4c_an_error_from_anybody_on_the_way_reaches_the_inside_host() {
    for kind in KINDS {
        each_shape(|mut site| {
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            for from in [Q, E1, E2, G1] {
                for quote in [whole(), eight()] {
                    let (came, told) = flow.told_inside(from, PORT, b"what was sent", &quote);
                    let (link, seen) = site.pass("isp1", &came).unwrap();
                    assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst), ("lan", from, H1));
                    assert_eq!(seen.payload, told, "{kind:?} from {from}");
                }
            }
            assert!(flow.works(&mut site));
            site.finish(&TOLD).unwrap();
        });
    }
}

#[test]
fn rfc5382_9_and_rfc4787_12b_and_rfc5508_4b_every_code_is_told_as_it_came_and_rfc5508_s7_1_2_with_its_mtu() {
    for kind in KINDS {
        let mut site = site(2);
        let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
        // The second word: nothing, the next hop's MTU, a pointer
        let says = (0..16).map(|code| Says(3, code, if code == 4 { 1400 } else { 0 }));
        let says = says.chain([Says(11, 0, 0), Says(11, 1, 0), Says(12, 0, 0x0c00_0000), Says(12, 1, 0)]);
        for says in says {
            let (came, told) = flow.told_inside(Q, says, b"", &whole());
            let (_, seen) = site.pass("isp1", &came).unwrap();
            assert_eq!(seen.payload, told, "{kind:?} {says:?}");
            if says.1 == 4 {
                assert_eq!(error(&seen), Some((3, 4, 1400)));
            }
        }
        site.finish(&TOLD).unwrap();
    }
}

#[test]
fn rfc4787_12_no_icmp_of_any_type_and_code_ends_a_mapping() {
    for kind in KINDS {
        let mut site = site(2);
        let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
        let quote = whole().bytes(&flow.out(flow.outside, b""));
        let before = digest(&mut site);
        for (kind, code) in (0..=255).flat_map(|kind| (0..16).map(move |code| (kind, code))) {
            site.send("isp1", &Packet::icmp(Q, P1, kind, code, 0, 0, &quote));
        }
        assert_eq!(digest(&mut site), before);
        assert!(flow.works(&mut site));
        let others = [
            "drop_icmp_source_quench",
            "drop_icmp_redirect",
            "drop_icmp_router_discovery",
            "drop_icmp_timestamp",
            "drop_icmp_address_mask",
            "drop_icmp_unhandled",
            "drop_nat_no_mapping",
        ];
        site.finish(&and(&[&TOLD, &others])).unwrap();
    }
}

#[test]
fn rfc5508_4_an_error_from_outside_about_nothing_that_was_sent_is_dropped_and_changes_nothing() {
    for kind in KINDS {
        each_shape(|mut site| {
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            let before = digest(&mut site);
            let others = [
                Flow { outside: (P1, flow.outside.1 ^ 1), ..flow },
                Flow { remote: (E2, 80), ..flow },
                Flow { kind: KINDS[(kind as usize + 1) % 3], ..flow },
            ];
            for other in others {
                let (came, _) = other.told_inside(Q, PORT, b"", &whole());
                assert_eq!(site.send("isp1", &came), [], "{other:?}");
            }
            // on the other WAN, where it was never sent
            let other = Flow { outside: (P2, flow.outside.1), ..flow };
            assert_eq!(site.send("isp2", &other.told_inside(Q, PORT, b"", &whole()).0), []);
            assert_eq!(digest(&mut site), before);
            assert!(flow.works(&mut site));
            site.finish(&and(&[&OPENED, &["drop_icmp_error_no_session"]])).unwrap();
        });
    }
}

#[test]
fn rfc5508_5a_and_rfc5508_5b_an_error_from_the_inside_host_reaches_the_remote_about_the_outside_endpoint() {
    for kind in KINDS {
        each_shape(|mut site| {
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            for says in [PORT, Says(3, 2, 0), Says(3, 4, 1280), Says(11, 1, 0), Says(12, 0, 0x0900_0000)] {
                for quote in [whole(), eight()] {
                    let (came, told) = flow.told_outside(H1, says, b"what was got", &quote);
                    let (link, seen) = site.pass("lan", &came).unwrap();
                    assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst), ("isp1", P1, E1));
                    assert_eq!(seen.payload, told, "{kind:?} {says:?}");
                }
            }
            assert!(flow.works(&mut site));
            site.finish(&TOLD).unwrap();
        });
    }
}

#[test]
fn rfc5508_5c_an_inside_router_speaks_by_the_routers_own_address() {
    each_shape(|mut site| {
        for kind in KINDS {
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            // .11 has no mapping of its own
            let (came, told) = flow.told_outside(H2, Says(11, 0, 0), b"", &eight());
            let (link, seen) = site.pass("lan", &came).unwrap();
            assert_eq!((link.as_str(), seen.ip.src, seen.payload), ("isp1", P1, told));
        }
        // a remote on the link of the WAN is told there and not by the gateway
        let near = Ipv4Addr::new(203, 0, 113, 5);
        site.add_host("isp1", near);
        let flow = Flow::open(&mut site, Kind::Udp, INSIDE, (near, 80));
        let (_, seen) = site.pass("lan", &flow.told_outside(H1, PORT, b"", &eight()).0).unwrap();
        assert_eq!((seen.eth.dst.0, seen.ip.dst), ([2, 0, 0, 3, 113, 5], near));
        site.finish(&TOLD).unwrap();
    });
}

#[test]
fn rfc5508_5_an_error_from_inside_about_nothing_that_was_let_in_is_dropped() {
    each_shape(|mut site| {
        meet(&mut site);
        for kind in KINDS {
            let flow = Flow { kind, inside: INSIDE, outside: (P1, 5000), remote: REMOTE, link: "isp1" };
            assert_eq!(site.send("lan", &flow.told_outside(H1, PORT, b"", &whole()).0), []);
        }
        assert_eq!(live(&mut site), 0);
        site.finish(&["drop_icmp_error_no_session"]).unwrap();
    });
}

#[test]
fn rfc5508_6a_an_error_keeps_no_session_alive_and_rfc5508_6b_ends_none() {
    for kind in KINDS {
        for from_inside in [false, true] {
            let text = format!("{DUAL_WAN}nat: {{ timeouts: {{ icmp: 60s, udp: 120s, tcp: 2h4m }} }}\n");
            let mut site = Site::new(&text, 2).unwrap();
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            let life = match kind {
                Kind::Echo => 60,
                Kind::Udp => 120,
                Kind::Tcp => 7440,
            };
            let tell = |site: &mut Site| match from_inside {
                false => site.pass("isp1", &flow.told_inside(Q, PORT, b"", &eight()).0).is_some(),
                true => site.pass("lan", &flow.told_outside(H1, PORT, b"", &eight()).0).is_some(),
            };
            site.run_coarse(life - 1, 250);
            assert!(tell(&mut site), "it still lives");
            site.run_ms(999);
            assert!(tell(&mut site));
            site.run_ms(1);
            assert!(!tell(&mut site), "what has expired is told of no more");
            assert!(!flow.works(&mut site), "{kind:?} died at {life} s");
            let over = ["sessions_expired", "drop_icmp_error_no_session", "drop_nat_no_mapping"];
            site.finish(&and(&[&TOLD, &over])).unwrap();
        }
    }
    // 6b: an error, then the reply it did not expect
    let mut site = site(2);
    let flow = Flow::open(&mut site, Kind::Echo, (H1, 7), REMOTE);
    assert!(site.pass("isp1", &flow.told_inside(Q, Says(3, 1, 0), b"", &whole()).0).is_some());
    assert!(flow.works(&mut site));
    site.finish(&TOLD).unwrap();
}

#[test]
fn rfc5508_3_a_wrong_icmp_checksum_and_rfc5508_3a_a_wrong_one_in_the_quoted_header_end_it_silently() {
    for kind in KINDS {
        each_shape(|mut site| {
            let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
            let before = digest(&mut site);
            let errors = [
                ("isp1", flow.told_inside(Q, PORT, b"x", &whole()).0),
                ("lan", flow.told_outside(H1, PORT, b"x", &whole()).0),
            ];
            for (link, packet) in &errors {
                for at in [2, 5, 20, packet.payload.len() - 1] {
                    let mut bad = packet.clone();
                    bad.payload[at] ^= 4;
                    assert_eq!(site.send(link, &bad), [], "rfc5508_3, byte {at}");
                }
                // version, TOS, TTL, the checksum itself: the ICMP checksum is right over all of it
                for at in [8, 9, 16, 18] {
                    let mut bad = packet.clone();
                    bad.payload[at] ^= 1;
                    mend_icmp(&mut bad);
                    assert_eq!(site.send(link, &bad), [], "rfc5508_3a, byte {at}");
                }
            }
            assert_eq!(digest(&mut site), before);
            site.finish(&and(&[&OPENED, &["drop_icmp_checksum", "drop_icmp_error_quote"]])).unwrap();
        });
    }
}

#[test]
fn rfc5508_3c_a_wrong_or_missing_checksum_of_the_quoted_transport_does_not_stop_the_error() {
    for kind in KINDS {
        let mut site = site(2);
        let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
        let sum_at = 8 + 20 + [6, 16, 2][kind as usize];
        // Cut anywhere, from the ports (or the identifier) on
        let least = if kind == Kind::Echo { 6 } else { 4 };
        for cut in least..40 {
            let (came, told) = flow.told_inside(
                Q,
                PORT,
                b"data that is long enough",
                &Quoting { cut: Some(cut), ..whole() },
            );
            let (_, seen) = site.pass("isp1", &came).unwrap();
            // Half a checksum can only stay as it is.
            if 28 + cut != sum_at + 1 {
                assert_eq!(seen.payload, told, "{kind:?} cut at {cut}");
            }
        }
        for (link, (came, _)) in [
            ("isp1", flow.told_inside(Q, PORT, b"data", &whole())),
            ("lan", flow.told_outside(H1, PORT, b"data", &whole())),
        ] {
            let mut wrong = came.clone();
            wrong.payload[sum_at] ^= 0x55;
            mend_icmp(&mut wrong);
            let (_, seen) = site.pass(link, &wrong).unwrap();
            let (_, right) = site.pass(link, &came).unwrap();
            assert_ne!(seen.payload[sum_at..sum_at + 2], right.payload[sum_at..sum_at + 2], "it stays wrong");
        }
        if kind == Kind::Udp {
            // RFC 768: none stays none
            let (mut came, _) = flow.told_inside(Q, PORT, b"data", &whole());
            put16(&mut came.payload, sum_at, 0);
            mend_icmp(&mut came);
            let (_, seen) = site.pass("isp1", &came).unwrap();
            assert_eq!(seen.payload[sum_at..sum_at + 2], [0, 0]);
        }
        site.finish(&TOLD).unwrap();
    }
}

#[test]
fn rfc4884_1_a_length_of_zero_says_that_there_are_no_extensions_and_one_that_is_too_short_says_nothing() {
    let mut site = site(1);
    let flow = Flow::open(&mut site, Kind::Tcp, INSIDE, REMOTE);
    // Ends in what would be an extension after 128 bytes; all of it belongs to the quote, its checksum too
    for words in [0u32, 1, 5, 31] {
        let (came, told) = flow.told_inside(Q, Says(11, 0, words << 16), &[0x20; 120], &whole());
        assert_eq!(site.pass("isp1", &came).unwrap().1.payload, told, "{words} words");
    }
    site.finish(&TOLD).unwrap();
}

#[test]
fn what_belongs_to_no_flow_is_told_to_nobody() {
    let mut site = site(2);
    let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
    let before = digest(&mut site);
    let about = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut quote = whole().bytes(&flow.out(flow.outside, b"data"));
        change(&mut quote);
        put16(&mut quote, 10, 0);
        let sum = checksum::internet(quote.get(..20).unwrap_or(&quote));
        put16(&mut quote, 10, sum);
        PORT.packet(Q, P1, &quote)
    };
    let quotes = [
        about(&|q| q.truncate(0)),
        about(&|q| q.truncate(19)),
        about(&|q| q.truncate(20)),
        about(&|q| q.truncate(23)),
        // another version, a header of 16 bytes or of more than there is
        about(&|q| q[0] = 0x65),
        about(&|q| q[0] = 0x44),
        about(&|q| q[0] = 0x4f),
        // ends before its ports; a later fragment
        about(&|q| q[3] = 22),
        about(&|q| q[7] = 9),
        // an error about an error; an echo that is cut before its identifier
        about(&|q| (q[9], q[20]) = (1, 3)),
        about(&|q| {
            (q[9], q[20]) = (1, 8);
            q.truncate(25);
        }),
        // about a packet of somebody else than who is told
        about(&|q| q[12..16].copy_from_slice(&P2.octets())),
        about(&|q| q[12..16].copy_from_slice(&H1.octets())),
    ];
    for packet in &quotes {
        assert_eq!(site.send("isp1", packet), [], "{packet:?}");
    }
    assert_eq!(site.moved("drop_icmp_error_quote"), quotes.len() as u64);
    // a protocol without ports, which is not masqueraded
    assert_eq!(site.send("isp1", &about(&|q| q[9] = 47)), []);
    // the first fragment has the ports
    assert!(site.pass("isp1", &about(&|q| q[6] = 0x20)).is_some());
    assert_eq!(digest(&mut site), before);
    site.finish(&and(&[&TOLD, &["drop_icmp_error_quote", "drop_icmp_error_no_session"]])).unwrap();
}

#[test]
fn after_a_failover_what_was_sent_by_the_left_wan_is_told_of_no_more() {
    for kind in KINDS {
        let mut site = site(2);
        let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
        site.set_link("isp1", false);
        site.set_link("isp1", true);
        let error = flow.told_inside(Q, PORT, b"", &whole()).0;
        assert_eq!(site.send("isp1", &error), []);
        assert_eq!(site.send("lan", &flow.told_outside(H1, PORT, b"", &whole()).0), []);
        site.finish(&and(&[&OPENED, &["drop_wan_left"]])).unwrap();
    }
}

#[test]
fn an_error_that_cannot_go_on_is_answered_by_none() {
    let text = DUAL_WAN.replace("wans:", "routes:\n  - { to: 10.0.0.0/8, via: 192.168.10.99 }\nwans:");
    let mut site = Site::new(&text, 2).unwrap();
    let flow = Flow::open(&mut site, Kind::Udp, INSIDE, REMOTE);
    let far = Flow { inside: (Ipv4Addr::new(10, 1, 1, 1), 5000), ..flow };
    // its TTL runs out here
    let (came, _) = flow.told_inside(Q, PORT, b"", &whole());
    assert_eq!(site.send("isp1", &came.clone().ttl(1)), []);
    let (went, _) = flow.told_outside(H1, PORT, b"", &whole());
    assert_eq!(site.send("lan", &went.ttl(1)), []);
    // its next hop does not answer
    let opening = site.frame_of("lan", &far.out(far.inside, b""));
    let out = site.send_raw("lan", &opening);
    let outside = Seen::read(&out[0].1).unwrap().src();
    let far = Flow { outside, ..far };
    assert_eq!(site.send("isp1", &far.told_inside(Q, PORT, b"", &whole()).0), []);
    site.run_ms(5000);
    assert_eq!(taken(&mut site), []);
    let ends = ["drop_ttl_expired", "drop_neighbor_unresolved", "icmp_errors_forbidden"];
    site.finish(&and(&[&TOLD, &ends])).unwrap();
}

#[test]
fn the_routers_own_answers_and_unsound_errors_inside_are_nobodys_business() {
    let mut site = site(2);
    meet(&mut site);
    let reply = |from| whole().bytes(&Packet::icmp(from, H1, 0, 0, 1, 1, b""));
    assert_eq!(site.send("lan", &PORT.packet(H1, LAN, &reply(LAN))), []);
    assert_eq!(
        site.send("isp1", &PORT.packet(Q, P1, &whole().bytes(&Packet::icmp(P1, E1, 0, 0, 1, 1, b"")))),
        []
    );
    site.finish(&["drop_icmp_error_local", "drop_icmp_error_no_session"]).unwrap();
}

#[test]
fn an_error_between_two_inside_hosts_goes_as_it_is() {
    let text =
        DUAL_WAN.replace("  isp1:", "  dmz:  { port: \"linux:dmz0\", addresses: [172.16.0.1/24] }\n  isp1:");
    let mut site = Site::new(&text, 2).unwrap();
    let server = Ipv4Addr::new(172, 16, 0, 9);
    site.add_host("dmz", server);
    let packet = PORT.packet(server, H1, &whole().bytes(&Packet::udp((H1, 1), (server, 2), b"")));
    let (link, seen) = site.pass("dmz", &packet).unwrap();
    assert_eq!((link.as_str(), seen.ip.src, &seen.payload), ("lan", server, &packet.payload));
    assert_eq!(seen.payload[icmp::CHECKSUM..4], packet.payload[icmp::CHECKSUM..4]);
    site.finish(&[]).unwrap();
}
