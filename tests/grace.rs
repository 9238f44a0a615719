//! What a connection has of a short failure and of a long one: it survives the one, and is told of the other at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/lines.rs"]
mod lines;
use lines::*;

use std::collections::BTreeMap;

use turnout::nat::{Addresses, Choice, Fate};

const SERVER: End = (E1, 80);

fn sound(site: &mut Site) {
    for lcore in site.lcores() {
        lcore.router.nat.audit().unwrap();
    }
    assert_eq!(site.moved("mappings_on_left_wan"), 0);
}

/// The resets that came out since the last time: when is not told, whom and with which number is.
fn resets(site: &mut Site) -> Vec<(End, End, u32)> {
    let all = taken(site).into_iter().filter(|(link, _)| link == "lan");
    let all = all.filter_map(|(_, seen)| Some((seen.src(), seen.dst(), seen.tcp()?)));
    all.filter(|(.., tcp)| tcp.flags == Flags(RST)).map(|(src, dst, tcp)| (src, dst, tcp.seq)).collect()
}

/// A segment of an open connection, and its answer.
fn goes_on(site: &mut Site, client: End, link: &str, x: End) {
    let (out, seen) = tcp_out(site, client, SERVER, ACK, 1001, 9001).unwrap();
    assert_eq!((out.as_str(), seen.src()), (link, x));
    assert_eq!(tcp_in(site, link, SERVER, x, ACK).unwrap().dst(), client);
}

#[test]
fn a_short_failure_is_survived_by_what_is_open_and_what_is_new_goes_by_the_other_wan() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1)]);
        let (_, x) = connect(&mut site, (H1, 5000), SERVER);
        goes_on(&mut site, (H1, 5000), "isp1", x);
        lines(&mut site, |up| fail(up, W1, W2));
        site.run_ms(500);
        site.take_all();
        // Its own flow, both ways; a new one of the same endpoint; and that of another.
        goes_on(&mut site, (H1, 5000), "isp1", x);
        let (link, syn) = tcp_out(&mut site, (H1, 5000), (E2, 80), SYN, 1, 0).unwrap();
        assert_eq!((link.as_str(), syn.ip.src), ("isp2", P2));
        assert_eq!(connect(&mut site, (H2, 5000), SERVER).0, "isp2");
        sound(&mut site);
        // Nobody new is let in by the old place, and all of the new one's flows are its own.
        assert_eq!(tcp_in(&mut site, "isp1", (E1, 81), x, SYN), None);
        let (_, again) = tcp_out(&mut site, (H1, 5000), (E2, 81), SYN, 1, 0).unwrap();
        assert_eq!(again.src(), syn.src());
        site.run_ms(500);
        goes_on(&mut site, (H1, 5000), "isp1", x);
        // isp1 is back before the time is over: nothing has happened.
        lines(&mut site, |up| {
            mend_wan(up, W1);
            up.groups[0].choice = Choice::One(W1);
        });
        site.run_ms(40_000);
        site.take_all();
        goes_on(&mut site, (H1, 5000), "isp1", x);
        assert_eq!(resets(&mut site), []);
        sound(&mut site);
        site.finish(&and(&[&OPENED, &["drop_wan_left"]])).unwrap();
    });
}

#[test]
fn a_mapping_whose_wan_is_chosen_again_in_time_serves_new_flows_as_before() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1)]);
        let (_, x) = connect(&mut site, (H1, 5000), SERVER);
        lines(&mut site, |up| fail(up, W1, W2));
        lines(&mut site, |up| {
            mend_wan(up, W1);
            up.groups[0].choice = Choice::One(W1);
        });
        let (link, syn) = tcp_out(&mut site, (H1, 5000), (E2, 80), SYN, 1, 0).unwrap();
        assert_eq!((link.as_str(), syn.src()), ("isp1", x), "endpoint-independent still");
        goes_on(&mut site, (H1, 5000), "isp1", x);
        assert_eq!(site.moved("mappings_created"), 1);
        sound(&mut site);
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn a_connection_that_begins_again_in_the_grace_begins_by_the_new_wan() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1)]);
        tcp_out(&mut site, (H1, 5000), SERVER, SYN, 1000, 0).unwrap();
        connect(&mut site, (H2, 5000), SERVER);
        lines(&mut site, |up| fail(up, W1, W2));
        for host in [H1, H2] {
            let (link, syn) = tcp_out(&mut site, (host, 5000), SERVER, SYN, 7000, 0).unwrap();
            assert_eq!((link.as_str(), syn.ip.src), ("isp2", P2));
        }
        sound(&mut site);
        assert_eq!(live(&mut site), 2);
        site.finish(&and(&[&OPENED, &["sessions_reset"]])).unwrap();
    });
}

#[test]
fn rfc5382_5c_when_the_grace_is_over_inside_is_reset_unasked_by_resets_that_it_accepts() {
    each_shape(|mut site| {
        meet(&mut site);
        groups(&mut site, &[Choice::One(W1)]);
        let (_, x) = connect(&mut site, (H1, 5000), SERVER);
        goes_on(&mut site, (H1, 5000), "isp1", x);
        // A download: inside has acknowledged up to here, by the established path, and says nothing more.
        tcp_out(&mut site, (H1, 5000), SERVER, ACK, 1001, 0xffff_fff0).unwrap();
        connect(&mut site, (H2, 5000), SERVER);
        // Half open: its SYN is sent again anyway.
        tcp_out(&mut site, (H2, 5001), SERVER, SYN, 1000, 0).unwrap();
        lines(&mut site, |up| fail(up, W1, W2));
        site.run_ms(2000);
        assert_eq!(resets(&mut site), []);
        lines(&mut site, |up| give_up(up, W1));
        site.run_ms(100);
        let mut told = resets(&mut site);
        told.sort();
        assert_eq!(told, [(SERVER, (H1, 5000), 0xffff_fff0), (SERVER, (H2, 5000), 9001)]);
        assert_eq!((site.moved("sessions_reset"), live(&mut site)), (3, 0));
        assert_eq!(tcp_out(&mut site, (H2, 5001), SERVER, SYN, 1000, 0).unwrap().0, "isp2");
        sound(&mut site);
        site.finish(&and(&[&OPENED, &["sessions_reset", "tcp_resets_sent"]])).unwrap();
    });
}

#[test]
fn who_was_active_is_reset_within_a_second_the_idle_within_thirty_and_never_in_a_flood() {
    for workers in [1, 2] {
        let mut site = Site::new(&unlimited(16_384, ""), workers).unwrap();
        meet(&mut site);
        groups(&mut site, &[Choice::One(W1)]);
        let open = |site: &mut Site, ports: std::ops::Range<u16>| {
            let syn = |p| Packet::tcp((H1, p), SERVER, SYN, 1, 0, b"");
            let seen = flood(site, "lan", ports.clone().map(syn));
            let answer = |(link, seen): (String, Seen)| {
                (link == "isp1").then(|| Packet::tcp(SERVER, seen.src(), SYN | ACK, 1, 2, b""))
            };
            flood(site, "isp1", seen.into_iter().filter_map(answer));
            flood(site, "lan", ports.map(|p| Packet::tcp((H1, p), SERVER, ACK, 2, 77, b"")));
        };
        open(&mut site, 10_000..14_000);
        site.run_ms(15_000);
        open(&mut site, 20_000..22_000);
        assert_eq!(live(&mut site), 6000);
        lines(&mut site, |up| fail(up, W1, W2));
        site.run_ms(2000);
        site.take_all();
        lines(&mut site, |up| give_up(up, W1));
        let (mut active, mut idle) = (BTreeMap::new(), BTreeMap::new());
        for ms in 1..=30_000 {
            site.run_ms(1);
            let told = resets(&mut site);
            assert!(told.len() <= 300 * workers, "{} in a millisecond", told.len());
            for (_, to, seq) in told {
                assert_eq!(seq, 77);
                let list = if to.1 < 20_000 { &mut idle } else { &mut active };
                assert_eq!(list.insert(to, ms), None, "once each");
            }
        }
        assert_eq!((active.len(), idle.len(), live(&mut site)), (2000, 4000, 0));
        let last = |list: &BTreeMap<End, u64>| *list.values().max().unwrap();
        assert!(last(&active) <= 1000, "{}", last(&active));
        // The first walk is over before the second begins.
        assert!(workers > 1 || last(&active) <= *idle.values().min().unwrap());
        let most = active.values().fold(BTreeMap::<u64, u32>::new(), |mut all, ms| {
            *all.entry(*ms).or_default() += 1;
            all
        });
        assert!(most.values().all(|n| *n <= 150), "{most:?}");
        sound(&mut site);
        site.finish(&and(&[&OPENED, &["sessions_reset", "tcp_resets_sent"]])).unwrap();
    }
}

#[test]
fn udp_that_is_to_be_dropped_is_dropped_and_not_kept_alive_until_it_is_forgotten() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1)]);
        udp_out(&mut site, (H1, 5000), SERVER).unwrap();
        let (_, ping) = site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
        assert_eq!(ping.ip.src, P1);
        lines(&mut site, |up| {
            up.groups[0].bonds[0].udp = Fate::Drop;
            fail(up, W1, W2);
        });
        // Echoes have a fate of their own, and so have new flows.
        assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 7, 2)).unwrap().0, "isp2");
        assert_eq!(udp_out(&mut site, (H1, 5001), SERVER).unwrap().0, "isp2");
        for _ in 0..305 {
            if !site.send("lan", &Packet::udp((H1, 5000), SERVER, b"x")).is_empty() {
                break;
            }
            site.run_coarse(1, 100);
            site.take_all();
        }
        assert!((295..=301).contains(&site.moved("drop_wan_left")), "{}", site.moved("drop_wan_left"));
        assert_eq!(udp_out(&mut site, (H1, 5000), SERVER).unwrap().0, "isp2");
        sound(&mut site);
        let more = ["mappings_moved", "sessions_moved", "drop_wan_left", "sessions_expired"];
        site.finish(&and(&[&OPENED, &more])).unwrap();
    });
}

#[test]
fn an_inside_server_is_reset_as_well_when_the_line_of_its_client_is_left() {
    let profile = DUAL_WAN.to_owned()
        + "forwards: [{ wans: [isp1, isp2], protocol: [tcp], port: 8443, to: \"192.168.10.10:443\" }]\n";
    for workers in [1, 2] {
        let mut site = Site::new(&profile, workers).unwrap();
        meet(&mut site);
        groups(&mut site, &[Choice::One(W1)]);
        let client = (E1, 4000);
        assert_eq!(tcp_in(&mut site, "isp1", client, (P1, 8443), SYN).unwrap().dst(), (H1, 443));
        assert_eq!(tcp_out(&mut site, (H1, 443), client, SYN | ACK, 1000, 9001).unwrap().0, "isp1");
        tcp_out(&mut site, (H1, 443), client, ACK, 1001, 9100).unwrap();
        lines(&mut site, |up| fail(up, W1, W2));
        tcp_out(&mut site, (H1, 443), client, ACK, 1001, 9200).unwrap();
        lines(&mut site, |up| give_up(up, W1));
        site.run_ms(100);
        assert_eq!(resets(&mut site), [(client, (H1, 443), 9200)]);
        sound(&mut site);
        site.finish(&["sessions_created", "sessions_reset", "tcp_resets_sent"]).unwrap();
    }
}

#[test]
fn epochs_that_come_round_bring_nothing_back() {
    let mut site = site(2);
    groups(&mut site, &[Choice::One(W2)]);
    let (_, x) = connect(&mut site, (H1, 5000), SERVER);
    let (_, y) = udp_out(&mut site, (H1, 5000), SERVER).unwrap();
    // Both are silent from now on, and outlive all of it.
    for lcore in site.lcores() {
        assert!(lcore.router.nat.live() <= 2);
    }
    lines(&mut site, |up| {
        (up.wans[0].fit, up.groups[0].choice) = (true, Choice::One(W1));
        up.wans[1].takes = false;
    });
    let first = site.view().uplinks.groups[0].bonds[1];
    for round in 0..255 {
        lines(&mut site, |up| leave(up, 0, W2));
        // Long enough for the sweep, and now and then it is not.
        site.run_coarse(if round % 50 == 9 { 17 } else { 1 }, 100);
    }
    assert_eq!(site.view().uplinks.groups[0].bonds[1], first, "the numbers are the same again");
    assert_eq!(live(&mut site), 1, "UDP's timer has run out");
    // TCP is held as long as its own number stands, but its mapping is none for anybody new.
    let (link, syn) = tcp_out(&mut site, (H1, 5000), (E2, 80), SYN, 1, 0).unwrap();
    assert_eq!((link.as_str(), syn.ip.src), ("isp1", P1));
    goes_on(&mut site, (H1, 5000), "isp2", x);
    assert_eq!(udp_in(&mut site, "isp2", SERVER, y), None);
    sound(&mut site);
    site.finish(&and(&[&OPENED, &["sessions_expired", "drop_nat_no_mapping"]])).unwrap();
}

#[test]
fn epochs_that_come_round_resurrect_no_idle_session_of_udp() {
    let long = DUAL_WAN.to_owned() + "nat: { timeouts: { udp: 2h } }\n";
    let mut site = Site::new(&long, 2).unwrap();
    groups(&mut site, &[Choice::One(W2)]);
    let (_, y) = udp_out(&mut site, (H1, 5000), SERVER).unwrap();
    lines(&mut site, |up| up.groups[0].choice = Choice::One(W1));
    for _ in 0..255 {
        lines(&mut site, |up| leave(up, 0, W2));
        site.run_coarse(18, 200);
        site.take_all();
    }
    assert_eq!(live(&mut site), 1);
    assert_eq!(udp_in(&mut site, "isp2", SERVER, y), None, "it is left for good");
    let (link, z) = udp_out(&mut site, (H1, 5000), SERVER).unwrap();
    assert_eq!((link.as_str(), z.0), ("isp1", P1));
    sound(&mut site);
    let more = ["drop_wan_left", "mappings_moved", "sessions_moved"];
    site.finish(&and(&[&OPENED, &more])).unwrap();
}

#[test]
fn x_16_a_wan_with_another_address_ends_the_old_mappings_and_their_ports_rest() {
    each_shape(|mut site| {
        meet(&mut site);
        groups(&mut site, &[Choice::One(W1)]);
        let (_, x) = udp_out(&mut site, (H1, 5000), SERVER).unwrap();
        let (_, t) = connect(&mut site, (H1, 6000), SERVER);
        let (_, idle) = udp_out(&mut site, (H2, 5000), SERVER).unwrap();
        let address = std::net::Ipv4Addr::new(203, 0, 113, 5);
        site.edit_view(|view| {
            view.uplinks.wans[0].addresses = Addresses::one(address);
            let isp1 = view.wans[0].iface;
            // The manager goes on probing from the one that it knows.
            view.ifaces[isp1.index()].addresses.push("203.0.113.5/29".parse().unwrap());
        });
        assert_eq!(site.view().uplinks.groups[0].bonds[0].epoch, 1, "whatever the epoch says");
        // The datagrams go on from the new address, by another port; the connection is reset.
        let (link, y) = udp_out(&mut site, (H1, 5000), SERVER).unwrap();
        assert_eq!((link.as_str(), y.0), ("isp1", address));
        assert_ne!(y.1, x.1, "the old port rests");
        site.run_ms(100);
        assert_eq!(resets(&mut site), [(SERVER, (H1, 6000), 9001)]);
        assert_eq!(udp_in(&mut site, "isp1", SERVER, y), Some((H1, 5000)));
        // After a round of the sweep nothing rests on the flag any more.
        site.run_coarse(20, 20);
        site.take_all();
        let (_, z) = udp_out(&mut site, (H2, 5000), SERVER).unwrap();
        assert_eq!(z.0, address);
        assert_eq!(t.0, P1);
        assert_ne!(z.1, idle.1, "the old port rests");
        assert_eq!(site.moved("mappings_moved"), 2);
        sound(&mut site);
        let more = ["mappings_moved", "sessions_moved", "sessions_reset", "tcp_resets_sent"];
        site.finish(&and(&[&OPENED, &more])).unwrap();
    });
}
