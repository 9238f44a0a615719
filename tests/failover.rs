//! What a failover does to mappings and connections: it moves, resets and tells, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

const MOVED: [&str; 2] = ["mappings_moved", "sessions_moved"];

#[test]
fn x_12_after_a_lost_link_the_next_packet_leaves_by_the_other_wan() {
    each_shape(|mut site| {
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, ping) = site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
        site.set_link("isp1", false);
        // a new flow, the flow of a mapping, an echo
        assert_eq!(udp_out(&mut site, (H2, 1), (E1, 80)).unwrap().0, "isp2");
        let (link, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!((link.as_str(), y.0), ("isp2", P2));
        assert_eq!(udp_in(&mut site, "isp2", (E1, 80), y), Some((H1, 5000)));
        let (link, again) = site.pass("lan", &Packet::ping(H1, E1, 7, 2)).unwrap();
        assert_eq!((link.as_str(), again.ip.src), ("isp2", P2));
        let reply = Packet::icmp(E1, P2, 0, 0, again.src().1, 2, b"sixteen bytes...");
        assert_eq!(site.pass("isp2", &reply).unwrap().1.dst(), (H1, 7));
        assert_eq!((ping.ip.src, x.0), (P1, P1));
        site.finish(&and(&[&OPENED, &MOVED])).unwrap();
    });
}

#[test]
fn a_mapping_moves_with_all_its_flows_to_one_new_endpoint() {
    each_shape(|mut site| {
        let remotes = [(E1, 80), (E2, 80), (E1, 81)];
        for remote in remotes {
            udp_out(&mut site, (H1, 5000), remote).unwrap();
        }
        site.set_link("isp1", false);
        let new: Vec<_> = remotes.iter().map(|r| udp_out(&mut site, (H1, 5000), *r).unwrap()).collect();
        assert!(new.iter().all(|n| *n == new[0]) && new[0].0 == "isp2", "{new:?}");
        assert_eq!((site.moved("mappings_moved"), site.moved("sessions_moved")), (1, 3));
        for remote in remotes {
            assert_eq!(udp_in(&mut site, "isp2", remote, new[0].1), Some((H1, 5000)));
        }
        site.finish(&and(&[&OPENED, &MOVED])).unwrap();
    });
}

#[test]
fn whoever_was_spoken_to_reaches_a_moved_mapping_before_the_next_packet_of_its_own_flow() {
    each_shape(|mut site| {
        udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        udp_out(&mut site, (H1, 5000), (E2, 80)).unwrap();
        site.set_link("isp1", false);
        let (_, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        // E2 has learned the new endpoint from E1: endpoint-independent filtering lets it in (RFC 4787 REQ-8)
        assert_eq!(udp_in(&mut site, "isp2", (E2, 80), y), Some((H1, 5000)));
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 80)).unwrap().1, y);
        assert_eq!((live(&mut site), site.moved("sessions_moved")), (2, 2));
        site.finish(&and(&[&OPENED, &MOVED])).unwrap();
    });
}

#[test]
fn what_still_comes_in_by_the_left_wan_is_dropped_and_changes_nothing() {
    each_shape(|mut site| {
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
        let admin = Request::Wan { name: "isp1".into(), admin: Admin::Down, force: false };
        site.ask(admin).unwrap();
        let before = digest(&mut site);
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), None);
        assert_eq!(udp_in(&mut site, "isp1", (E2, 9), x), None, "nobody new is let in either");
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 80), t, ACK), None);
        assert_eq!(digest(&mut site), before);
        let (_, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), None, "nor after the move");
        assert_eq!(udp_in(&mut site, "isp2", (E1, 80), y), Some((H1, 5000)));
        site.finish(&and(&[&OPENED, &MOVED, &["drop_wan_left", "drop_nat_no_mapping"]])).unwrap();
    });
}

#[test]
fn rfc5382_5c_a_connection_is_reset_with_its_next_packet_by_a_reset_that_its_client_accepts() {
    each_shape(|mut site| {
        meet(&mut site);
        let server = (E1, 80);
        connect(&mut site, (H1, 5000), server);
        connect(&mut site, (H2, 5000), server);
        site.set_link("isp1", false);
        // RFC 5961 3: the sequence number must be exactly what the client expects next
        let data = Packet::tcp((H1, 5000), server, ACK, 1001, 0xffff_fff0, b"GET /");
        let (link, reset) = site.pass("lan", &data).unwrap();
        let tcp = reset.tcp().unwrap();
        assert_eq!((link.as_str(), reset.src(), reset.dst()), ("lan", server, (H1, 5000)));
        assert_eq!((tcp.flags, tcp.seq), (Flags(RST), 0xffff_fff0));
        // one packet, one reset; the session is gone, so a second one is answered as any stray
        assert_eq!(site.moved("sessions_reset"), 1);
        site.pass("lan", &data).unwrap();
        assert_eq!((site.moved("sessions_reset"), site.moved("drop_nat_tcp_midstream")), (1, 1));
        // a reset of the client's own ends it in silence
        assert_eq!(site.send("lan", &Packet::tcp((H2, 5000), server, RST, 1001, 0, b"")), []);
        // and a new connection from the same port goes out by the other WAN
        let (link, x) = connect(&mut site, (H1, 5000), server);
        assert_eq!((link.as_str(), x.0), ("isp2", P2));
        site.finish(&and(&[
            &OPENED,
            &["sessions_reset", "tcp_resets_sent", "drop_nat_tcp_failover", "drop_nat_tcp_midstream"],
        ]))
        .unwrap();
    });
}

#[test]
fn a_syn_sent_again_after_the_failover_just_goes_out_by_the_new_wan() {
    each_shape(|mut site| {
        tcp_out(&mut site, (H1, 5000), (E1, 80), SYN, 1000, 0).unwrap();
        site.set_link("isp1", false);
        let (link, syn) = tcp_out(&mut site, (H1, 5000), (E1, 80), SYN, 1000, 0).unwrap();
        assert_eq!((link.as_str(), syn.ip.src), ("isp2", P2));
        assert_eq!(tcp_in(&mut site, "isp2", (E1, 80), syn.src(), SYN | ACK).unwrap().dst(), (H1, 5000));
        assert_eq!(live(&mut site), 1);
        site.finish(&and(&[&OPENED, &["sessions_reset"]])).unwrap();
    });
}

#[test]
fn x_10_a_silent_gateway_is_found_within_a_second_and_a_few_lost_probes_are_not() {
    for workers in [1, 2] {
        // two lost probes are no failover
        let mut site = site(workers);
        site.set_silent("isp1", true);
        site.run_ms(600);
        site.set_silent("isp1", false);
        site.run_ms(3000);
        assert_eq!(site.events("failover").len(), 0);
        // three are, whenever the silence begins
        let began = site.now();
        site.set_silent("isp1", true);
        let mut at = None;
        for ms in 1..=2000u64 {
            site.run_ms(1);
            if at.is_none() && site.view().uplinks.chosen(0, H1) == Some(turnout::base::WanId(1)) {
                at = Some(ms);
            }
        }
        assert!((500..=1001).contains(&at.unwrap()), "{at:?}");
        let event = site.events("failover").pop().unwrap();
        let time = |key: &str| event[key].as_u64().unwrap();
        assert!(began.0 < time("detected_ns"));
        assert!(time("detected_ns") <= time("published_ns") && time("published_ns") <= time("applied_ns"));
        assert!(time("applied_ns") - began.0 <= 1_001_000_000);
        assert_eq!(
            (&event["from"], &event["to"], &event["cause"]),
            (&"isp1".into(), &"isp2".into(), &"gateway silent".into())
        );
        let states = site.events("wan_state");
        assert_eq!(states.last().unwrap()["reason"], "gateway silent");
        site.finish(&[]).unwrap();
    }
}

#[test]
fn x_15_with_both_wans_down_inside_is_told_and_state_is_kept_and_resumes() {
    each_shape(|mut site| {
        meet(&mut site);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
        site.set_silent("isp2", true);
        site.run_ms(1500);
        site.set_link("isp1", false);
        site.take_all();
        for packet in [
            Packet::udp((H1, 5000), (E1, 80), b"x"),
            Packet::udp((H2, 5000), (E1, 80), b"x"),
            Packet::tcp((H1, 6000), (E1, 80), ACK, 1001, 9001, b"x"),
        ] {
            let (link, seen) = site.pass("lan", &packet).unwrap();
            assert_eq!((link.as_str(), error(&seen)), ("lan", Some((3, 0, 0))));
        }
        assert_eq!(site.events("wan_none").len(), 1);
        assert_eq!((live(&mut site), site.moved("sessions_created")), (2, 2), "kept, and nothing made");
        // the same WAN comes back: everything goes on where it was
        site.set_link("isp1", true);
        site.run_ms(12_000);
        site.take_all();
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp1".into(), x)));
        assert_eq!(tcp_out(&mut site, (H1, 6000), (E1, 80), ACK, 1001, 9001).unwrap().1.src(), t);
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 80), t, ACK).unwrap().dst(), (H1, 6000));
        site.finish(&and(&[&OPENED, &["drop_wan_none", "drop_wan_down", "icmp_errors_sent"]])).unwrap();
    });
}

#[test]
fn x_15_with_no_wan_to_go_to_no_session_is_made_for_packets_that_are_not_sent() {
    let mut site = site(2);
    meet(&mut site);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    site.set_link("isp2", false);
    site.set_link("isp1", false);
    let before = digest(&mut site);
    for port in 100..200 {
        site.send("lan", &Packet::udp((H1, 5000), (E1, port), b"another remote of a mapping that exists"));
    }
    assert_eq!(digest(&mut site), before);
    assert_eq!(live(&mut site), 1);
    site.finish(&and(&[&OPENED, &["drop_wan_down", "icmp_errors_sent", "icmp_errors_limited"]])).unwrap();
}

#[test]
fn what_is_on_the_link_of_a_wan_leaves_there_and_by_the_other_once_it_is_dead() {
    let mut site = site(2);
    meet(&mut site);
    let neighbor = Ipv4Addr::new(198, 51, 100, 5);
    site.add_host("isp2", neighbor);
    let (link, x) = udp_out(&mut site, (H1, 5000), (neighbor, 80)).unwrap();
    assert_eq!((link.as_str(), x.0), ("isp2", P2), "on the link of isp2, though isp1 carries");
    // the same inside endpoint elsewhere goes by the selection
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp1");
    site.set_link("isp2", false);
    let (link, y) = udp_out(&mut site, (H1, 5000), (neighbor, 80)).unwrap();
    assert_eq!((link.as_str(), y.0), ("isp1", P1), "its next packet leaves by a healthy WAN");
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
}

#[test]
fn a_failover_costs_the_same_with_ten_sessions_and_with_four_thousand() {
    let cost = |sessions: u16| {
        let mut site = Site::new(&unlimited(16_384, ""), 2).unwrap();
        site.run_ms(600);
        flood(&mut site, "lan", (0..sessions).map(|p| Packet::udp((H1, p), (E1, 80), b"")));
        // the same moment of the probes' rhythm
        while site.now().as_ms() % 1000 != 137 {
            site.run_ms(1);
        }
        assert_eq!(live(&mut site), usize::from(sessions));
        let (generation, before) = (site.view().generation.0, site.counters());
        let events = site.ask(Request::Events { follow: false }).unwrap().as_array().unwrap().len();
        site.take_all();
        site.set_link("isp1", false);
        site.run_ms(100);
        let sent = site.take_all().len();
        let told = site.ask(Request::Events { follow: false }).unwrap().as_array().unwrap().len() - events;
        let moved: Vec<_> = site
            .counters()
            .iter()
            .zip(before.iter())
            .map(|(a, b)| (a.0, a.1 - b.1))
            .filter(|m| m.1 != 0)
            .collect();
        let views = site.view().generation.0 - generation;
        site.finish(&OPENED).unwrap();
        (views, told, sent, moved)
    };
    let few = cost(10);
    assert_eq!(few.0, 1, "one view");
    assert_eq!(cost(4000), few);
}

#[test]
fn a_probe_that_could_not_leave_is_no_lost_probe_whatever_else_left_at_that_moment() {
    let mut site = Site::new(&DUAL_WAN.replace("192.168.10.1/24", "192.168.10.1/16"), 1).unwrap();
    site.set_room("isp1", Some(0));
    // Every ms another neighbour is learned, and what waited for it leaves.
    for n in 0..2000u16 {
        let [c, d] = n.to_be_bytes();
        let host = Ipv4Addr::new(192, 168, 100 + c, d.max(1));
        site.add_host("lan", host);
        let ping = site.frame_of("lan", &Packet::ping(H1, host, 1, n));
        site.put_raw("lan", &ping);
        site.run_ms(1);
    }
    assert_eq!(site.events("wan_state").len(), 2, "{:?}", site.events("wan_state"));
    site.finish(&["drop_tx_full"]).unwrap();
}
