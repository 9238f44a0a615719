//! The way back and the operator's word: nothing is lost, what is under way drains.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use turnout::sim::seeds::seeds;

fn admin(site: &mut Site, name: &str, admin: Admin, force: bool) -> Result<serde_json::Value, String> {
    site.ask(Request::Wan { name: name.into(), admin, force })
}

/// A stream of one packet a ms each way between `client` and E1:80, for `ms`; everything must arrive.
fn stream(site: &mut Site, client: End, x: (&str, End), ms: u32) {
    for n in 0..ms {
        let data = n.to_be_bytes();
        let (link, out) = site.pass("lan", &Packet::udp(client, (E1, 80), &data)).unwrap();
        assert_eq!((link.as_str(), out.src(), out.data()), (x.0, x.1, &data[..]), "packet {n}");
        let (link, back) = site.pass(x.0, &Packet::udp((E1, 80), x.1, &data)).unwrap();
        assert_eq!((link.as_str(), back.dst()), ("lan", client), "answer {n}");
        site.run_ms(1);
        site.take_all();
    }
}

#[test]
fn x_14_failback_waits_for_a_stable_line_and_loses_nothing() {
    for (workers, queue) in SHAPES {
        let mut site = site(workers);
        site.use_queue(queue);
        site.set_link("isp1", false);
        let (link, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
        assert_eq!(link, "isp2");
        site.set_link("isp1", true);
        // not before 10 s of good probes
        stream(&mut site, (H1, 5000), ("isp2", y), 9_900);
        assert_eq!(site.events("failback").len(), 0);
        assert_eq!(udp_out(&mut site, (H2, 1), (E1, 80)).unwrap().0, "isp2");
        stream(&mut site, (H1, 5000), ("isp2", y), 1_000);
        let event = site.events("failback").pop().unwrap();
        let time = |key: &str| event[key].as_u64().unwrap();
        assert!(time("detected_ns") <= time("published_ns") && time("published_ns") <= time("applied_ns"));
        assert_eq!((&event["from"], &event["to"]), (&"isp2".into(), &"isp1".into()));
        // what is new goes to the preferred one, what is under way drains where it is
        assert_eq!(udp_out(&mut site, (H2, 2), (E1, 80)).unwrap().0, "isp1");
        assert_eq!(connect(&mut site, (H2, 6000), (E1, 80)).0, "isp1");
        stream(&mut site, (H1, 5000), ("isp2", y), 500);
        assert_eq!(tcp_out(&mut site, (H1, 6000), (E1, 80), ACK, 1001, 9001).unwrap().1.src(), t);
        assert_eq!(tcp_in(&mut site, "isp2", (E1, 80), t, ACK).unwrap().dst(), (H1, 6000));
        // a mapping that drains stays endpoint-independent
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 80)), Some(("isp2".into(), y)));
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn wan_drain_and_back_lose_nothing() {
    for workers in [1, 2] {
        let mut site = site(workers);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        stream(&mut site, (H1, 5000), ("isp1", x), 200);
        assert_eq!(admin(&mut site, "isp1", Admin::Drain, false).unwrap()["isp1"], "drain");
        stream(&mut site, (H1, 5000), ("isp1", x), 500);
        let (link, y) = udp_out(&mut site, (H1, 5001), (E1, 80)).unwrap();
        assert_eq!(link, "isp2");
        assert_eq!(site.events("selection").last().unwrap()["cause"], "operator");
        assert_eq!(admin(&mut site, "isp1", Admin::Auto, false), Ok(serde_json::json!({})));
        stream(&mut site, (H1, 5001), ("isp2", y), 500);
        stream(&mut site, (H1, 5000), ("isp1", x), 500);
        assert_eq!(udp_out(&mut site, (H1, 5002), (E1, 80)).unwrap().0, "isp1");
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn the_operator_cannot_take_the_last_fit_wan_but_by_force() {
    let mut site = site(2);
    meet(&mut site);
    let refused = admin(&mut site, "isp3", Admin::Down, false).unwrap_err();
    assert!(refused.contains("isp1, isp2"), "{refused}");
    admin(&mut site, "isp1", Admin::Down, false).unwrap();
    let (link, _) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!(link, "isp2");
    for word in [Admin::Down, Admin::Drain] {
        let refused = admin(&mut site, "isp2", word, false).unwrap_err();
        assert!(refused.contains("last fit WAN") && refused.contains("--force"), "{refused}");
    }
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2", "nothing changed");
    let kept = admin(&mut site, "isp2", Admin::Down, true).unwrap();
    assert_eq!(kept, serde_json::json!({ "isp1": "down", "isp2": "down" }));
    let (_, seen) = site.pass("lan", &Packet::udp((H2, 1), (E1, 80), b"x")).unwrap();
    assert_eq!(error(&seen), Some((3, 0, 0)));
    admin(&mut site, "isp2", Admin::Auto, false).unwrap();
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
    let told: Vec<_> = site.events("admin").iter().map(|e| (e["wan"].clone(), e["to"].clone())).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    site.finish(&and(&[&OPENED, &["drop_wan_none", "icmp_errors_sent"]])).unwrap();
}

#[test]
fn a_wan_put_down_by_the_operator_moves_and_resets_as_a_failure_does() {
    let mut site = site(2);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    admin(&mut site, "isp1", Admin::Down, false).unwrap();
    let (link, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!(link, "isp2");
    let event = site.events("failover").pop().unwrap();
    assert_eq!((&event["cause"], &event["to"]), (&"operator".into(), &"isp2".into()));
    // back at once, since it was well all the time; what moved stays
    admin(&mut site, "isp1", Admin::Auto, false).unwrap();
    assert_eq!(site.events("failback").len(), 1);
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp2".into(), y)));
    assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 80)).unwrap().0, "isp1");
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
}

#[test]
fn x_11_a_line_that_flaps_moves_flows_once() {
    let mut site = site(2);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    for _ in 0..10 {
        site.set_link("isp1", false);
        site.run_ms(200);
        site.set_link("isp1", true);
        site.run_ms(5000);
        site.take_all();
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
    }
    assert_eq!((site.events("failover").len(), site.events("failback").len()), (1, 0));
    assert_eq!(site.moved("mappings_moved"), 1);
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
}

#[test]
fn x_11_a_line_that_flaps_slower_than_it_is_held_back_moves_a_flow_once_a_direction() {
    let mut site = site(2);
    meet(&mut site);
    let moves = |site: &mut Site| (site.events("failover").len(), site.events("failback").len());
    let mut new = (6000..).map(|port| (H2, port));
    let mut by = move |site: &mut Site| udp_out(site, new.next().unwrap(), (E1, 80)).unwrap().0;
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let rides = |site: &mut Site| udp_out(site, (H1, 5000), (E1, 80)).unwrap().0;
    for (n, hold) in [10, 20, 40, 80].into_iter().enumerate() {
        site.set_link("isp1", false);
        site.run_ms(200);
        site.take_all();
        assert_eq!(
            (moves(&mut site), by(&mut site), rides(&mut site)),
            ((n + 1, n), "isp2".into(), "isp2".into())
        );
        site.set_link("isp1", true);
        site.run_coarse(hold - 1, 50);
        site.take_all();
        assert_eq!((moves(&mut site), by(&mut site)), ((n + 1, n), "isp2".into()), "held back {hold} s");
        // Up for longer than it is held back next time; what has moved drains where it is.
        site.run_coarse(2 * hold + 5, 50);
        site.take_all();
        assert_eq!(moves(&mut site), (n + 1, n + 1));
        assert_eq!((by(&mut site), rides(&mut site)), ("isp1".into(), "isp2".into()));
    }
    assert_eq!(site.moved("mappings_moved"), 1);
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved", "sessions_expired"]])).unwrap();
}

/// X-13 over anything that may happen to two lines: whatever leaves by a WAN has that WAN's address (the site scans it),
/// a mapping has one outside endpoint at a time, and at the end everything works.
fn storm(seed: u64, workers: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut site = site(workers);
    meet(&mut site);
    let clients: Vec<End> = (0..12).map(|n| (if n % 2 == 0 { H1 } else { H2 }, 5000 + n)).collect();
    let own: BTreeMap<&str, Ipv4Addr> = [("isp1", P1), ("isp2", P2)].into();
    let mut seq = 0u32;
    for _ in 0..400 {
        let wan = ["isp1", "isp2"][rng.random_range(0..2usize)];
        match rng.random_range(0..12) {
            0 => site.set_link(wan, false),
            1 | 2 => site.set_link(wan, true),
            3 => site.set_silent(wan, true),
            4 | 5 => site.set_silent(wan, false),
            6 => drop(admin(&mut site, wan, Admin::Down, rng.random())),
            7 => drop(admin(&mut site, wan, Admin::Drain, rng.random())),
            8 | 9 => drop(admin(&mut site, wan, Admin::Auto, false)),
            _ => {}
        }
        site.run_ms([0, 1, 50, 400, 1100, 12_000][rng.random_range(0..6usize)]);
        site.use_queue(rng.random_range(0..workers));
        // A connection that waits for its WAN may begin anew on the other one.
        let mut ends: BTreeMap<(Option<End>, End), End> = BTreeMap::new();
        for _ in 0..20 {
            let client = clients[rng.random_range(0..clients.len())];
            let remote = ([E1, E2][rng.random_range(0..2usize)], 80);
            let tcp = rng.random::<bool>();
            seq += 1;
            let flags = [SYN, ACK, ACK, FIN_ACK, RST][rng.random_range(0..5usize)];
            let packet = match tcp {
                true => Packet::tcp(client, remote, flags, seq, seq, &seq.to_be_bytes()),
                false => Packet::udp(client, remote, &seq.to_be_bytes()),
            };
            if flags == SYN {
                ends.remove(&(tcp.then_some(remote), client));
            }
            site.take_all();
            for (link, seen) in site.send("lan", &packet) {
                if let Some(own) = own.get(link.as_str()) {
                    assert_eq!(seen.ip.src, *own, "seed {seed}");
                    assert_eq!(
                        *ends.entry((tcp.then_some(remote), client)).or_insert(seen.src()),
                        seen.src(),
                        "seed {seed}"
                    );
                }
            }
            if let Some(x) = ends.get(&(tcp.then_some(remote), client)) {
                let link = if x.0 == P1 { "isp1" } else { "isp2" };
                let answer = match tcp {
                    true => Packet::tcp(
                        remote,
                        *x,
                        ACK | if flags == SYN { SYN } else { 0 },
                        1,
                        1,
                        &seq.to_be_bytes(),
                    ),
                    false => Packet::udp(remote, *x, &seq.to_be_bytes()),
                };
                for (link, seen) in site.send(link, &answer) {
                    assert_eq!((link.as_str(), seen.dst()), ("lan", client), "seed {seed}");
                }
            }
        }
    }
    for wan in ["isp1", "isp2"] {
        site.set_silent(wan, false);
        site.set_link(wan, true);
        admin(&mut site, wan, Admin::Auto, false).unwrap();
    }
    // after so many flaps it has to hold still for longer, ten minutes at most
    for _ in 0..60 {
        site.run_ms(12_000);
        if site.ask(Request::Wans).unwrap()[0]["carrying"] == true {
            break;
        }
    }
    site.take_all();
    assert_eq!(udp_out(&mut site, (H2, 1), (E1, 80)).unwrap().0, "isp1", "seed {seed}");
    let sessions: u64 = site
        .ask(Request::Wans)
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["sessions"].as_u64().unwrap())
        .sum();
    assert_eq!(sessions as usize, live(&mut site), "seed {seed}");
    assert_eq!(site.moved("mappings_on_left_wan"), 0);
    let moved: Vec<&str> =
        site.counters().iter().map(|(name, _)| name).filter(|name| site.moved(name) > 0).collect();
    let known = ["sessions_", "mappings_", "drop_wan_", "drop_nat_", "icmp_errors_", "tcp_resets_sent"];
    let always = ["rx_packets", "tx_packets", "originated", "local", "handed_in", "handed_out", "held"];
    assert!(
        moved.iter().all(|m| always.contains(m) || known.iter().any(|k| m.starts_with(k))),
        "seed {seed}: {moved:?}"
    );
    site.finish(&moved).unwrap();
}

#[test]
fn x_13_in_a_storm_of_flaps_nothing_leaves_with_the_other_wans_address() {
    for seed in seeds(24) {
        storm(seed, 1 + seed as usize % 2);
    }
}

/// A site whose drain is over after a minute, with a forward on both WANs.
fn with_forward(workers: usize) -> Site {
    let text = format!(
        "{DUAL_WAN}on_failback: {{ drain: 60s }}\n\
         forwards: [{{ wans: [isp1, isp2], protocol: [tcp, udp], port: 8443, to: \"192.168.10.11:443\" }}]\n"
    );
    let mut site = Site::new(&text, workers).unwrap();
    meet(&mut site);
    site
}

/// What a client outside has open with the forward on a WAN, by TCP and by UDP, goes on both ways.
fn forward_goes_on(site: &mut Site, link: &str, own: Ipv4Addr) {
    assert_eq!(tcp_in(site, link, (E1, 6), (own, 8443), ACK).unwrap().dst(), (H2, 443));
    let (out, seen) = tcp_out(site, (H2, 443), (E1, 6), ACK, 2, 9).unwrap();
    assert_eq!((out.as_str(), seen.src(), seen.tcp().unwrap().flags.rst()), (link, (own, 8443), false));
    assert_eq!(udp_in(site, link, (E1, 5), (own, 8443)), Some((H2, 443)));
    assert_eq!(udp_out(site, (H2, 443), (E1, 5)), Some((link.into(), (own, 8443))));
}

fn open_forward(site: &mut Site, link: &str, own: Ipv4Addr) {
    tcp_in(site, link, (E1, 6), (own, 8443), SYN).unwrap();
    tcp_out(site, (H2, 443), (E1, 6), SYN | ACK, 1, 9).unwrap();
    udp_in(site, link, (E1, 5), (own, 8443)).unwrap();
    forward_goes_on(site, link, own);
}

#[test]
fn what_outside_has_opened_on_a_wan_that_is_well_outlives_the_end_of_the_drain() {
    for (workers, queue) in SHAPES {
        let mut site = with_forward(workers);
        site.use_queue(queue);
        site.set_link("isp1", false);
        udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        connect(&mut site, (H1, 6000), (E1, 80));
        open_forward(&mut site, "isp2", P2);
        site.set_link("isp1", true);
        for _ in 0..90 {
            site.run_coarse(1, 10);
            site.take_all();
            forward_goes_on(&mut site, "isp2", P2);
            udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        }
        assert_eq!(site.events("failback").len(), 1);
        // The drain of the default group is over: what it had there has gone.
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp1");
        assert_eq!(site.moved("sessions_reset"), 1);
        let more = ["mappings_moved", "sessions_moved", "sessions_reset", "tcp_resets_sent"];
        site.finish(&and(&[&OPENED, &more])).unwrap();
    }
}

#[test]
fn what_outside_has_opened_ends_with_its_wan_and_never_moves() {
    for (workers, queue) in SHAPES {
        let mut site = with_forward(workers);
        site.use_queue(queue);
        // It goes by isp2, which no group has chosen.
        open_forward(&mut site, "isp2", P2);
        site.set_link("isp2", false);
        site.run_ms(100);
        let out = site.take_all();
        let seen: Vec<Seen> = out.iter().filter_map(|(_, frame)| Seen::read(frame)).collect();
        let reset = seen.iter().find(|seen| seen.tcp().is_some_and(|tcp| tcp.flags.rst())).unwrap();
        assert_eq!(reset.dst(), (H2, 443), "the server inside is told");
        assert_eq!(udp_out(&mut site, (H2, 443), (E1, 5)), None);
        site.set_link("isp2", true);
        site.run_coarse(20, 10);
        site.take_all();
        assert_eq!(udp_out(&mut site, (H2, 443), (E1, 5)), None, "a line that is back brings nothing back");
        assert_eq!(udp_in(&mut site, "isp2", (E1, 7), (P2, 8443)), Some((H2, 443)));
        site.finish(&["sessions_created", "drop_wan_left", "tcp_resets_sent", "sessions_reset"]).unwrap();
    }
}
