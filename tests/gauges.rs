//! Gauges: what live TCP says of each WAN, and what a group drains.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use serde_json::Value;

fn tcp_of(site: &mut Site, wan: usize) -> Value {
    site.ask(Request::Wans).unwrap()[wan]["tcp"].clone()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} of {value}"))
}

#[test]
fn a_wan_that_answers_no_syn_shows_it_and_the_other_one_does_not() {
    for (workers, queue) in SHAPES {
        let mut site = site(workers);
        meet(&mut site);
        site.use_queue(queue);
        let silent = tcp_of(&mut site, 0);
        assert!(silent["syn_unanswered"].is_null() && silent["rtt_us"].is_null(), "{silent}");
        // By isp1 everybody is answered after 30 ms, twice.
        for port in [6000, 6001] {
            let (_, x) = tcp_out(&mut site, (H1, port), (E1, 80), SYN, 1000, 0).unwrap();
            site.run_ms(30);
            site.take_all();
            tcp_in(&mut site, "isp1", (E1, 80), (x.src().0, x.src().1), SYN | ACK).unwrap();
        }
        // By isp2 nobody is, and hosts ask again after 1 and 3 s.
        site.ask(Request::Wan { name: "isp1".into(), admin: Admin::Drain, force: false }).unwrap();
        let syn = |site: &mut Site| {
            for port in [7000, 7001, 7002] {
                assert_eq!(tcp_out(site, (H1, port), (E2, 80), SYN, 1000, 0).unwrap().0, "isp2");
            }
        };
        syn(&mut site);
        for wait in [1000, 2000] {
            site.run_ms(wait);
            site.take_all();
            syn(&mut site);
        }
        // One is answered after all: its round trip is not known, as it may be of any of three SYNs.
        let (_, x) = tcp_out(&mut site, (H1, 7000), (E2, 80), SYN, 1000, 0).unwrap();
        tcp_in(&mut site, "isp2", (E2, 80), (x.src().0, x.src().1), SYN | ACK).unwrap();
        site.run_ms(2);
        let (one, two) = (tcp_of(&mut site, 0), tcp_of(&mut site, 1));
        assert_eq!((number(&one, "syns"), number(&one, "syn_unanswered")), (2, 0), "{one}");
        assert!((30_000..32_000).contains(&number(&one, "rtt_us")), "{one}");
        assert_eq!((number(&two, "syns"), number(&two, "syn_unanswered")), (10, 7), "{two}");
        assert!(two["rtt_us"].is_null(), "{two}");
        // Ten seconds later nothing of it is left.
        site.run_coarse(12, 10);
        site.take_all();
        let two = tcp_of(&mut site, 1);
        assert!(number(&two, "syns") == 0 && two["syn_unanswered"].is_null(), "{two}");
        site.finish(&OPENED).unwrap();
    }
}

/// A download of 20 segments a ms for `ms`, of which every `lost`th is lost on its way to the router and comes 40 ms later.
fn download(site: &mut Site, x: End, ms: u32, lost: u32, seq: &mut u32) {
    let mut late: Vec<(u32, u32)> = Vec::new();
    for n in 0..ms {
        let send = |site: &mut Site, seq: u32| {
            let data = Packet::tcp((E1, 80), x, ACK, seq, 1001, &[7; 100]);
            assert_eq!(site.pass("isp1", &data).unwrap().0, "lan");
        };
        while late.first().is_some_and(|(at, _)| n >= *at) {
            send(site, late.remove(0).1);
        }
        for _ in 0..5 {
            if lost > 0 && (*seq / 100).is_multiple_of(lost) {
                late.push((n + 40, *seq));
            } else {
                send(site, *seq);
            }
            *seq = seq.wrapping_add(100);
        }
        let _ = site.pass("lan", &Packet::tcp((H1, 6000), (E1, 80), ACK, 1001, *seq, b""));
        site.run_ms(1);
    }
    site.take_all();
}

#[test]
fn what_is_sent_again_in_flows_that_are_watched_shows_and_a_clean_line_shows_nought() {
    let mut site = site(1);
    meet(&mut site);
    let (link, x) = connect(&mut site, (H1, 6000), (E1, 80));
    assert_eq!(link, "isp1");
    let mut seq = 0;
    download(&mut site, x, 9000, 0, &mut seq);
    let clean = tcp_of(&mut site, 0);
    assert!(number(&clean, "segments") > 100, "{clean}");
    assert_eq!(number(&clean, "retransmits"), 0, "{clean}");
    assert!(tcp_of(&mut site, 1)["retransmits"].is_null());
    download(&mut site, x, 18_000, 20, &mut seq);
    let lossy = tcp_of(&mut site, 0);
    let per_mille = number(&lossy, "retransmits") * 1000 / number(&lossy, "segments");
    assert!((25..100).contains(&per_mille), "one in twenty: {lossy}");
    site.finish(&OPENED).unwrap();
}

#[test]
fn a_drain_shows_what_it_has_left_and_when_it_ends() {
    for (workers, queue) in SHAPES {
        let mut site = Site::new(&format!("{DUAL_WAN}on_failback: {{ drain: 60s }}\n"), workers).unwrap();
        meet(&mut site);
        site.use_queue(queue);
        let draining = |site: &mut Site| -> Vec<(String, u64, u64)> {
            let status = site.ask(Request::Status).unwrap();
            let rows = status["groups"][0]["draining"].as_array().unwrap().clone();
            let row = |row: &Value| {
                let wan = row["wan"].as_str().unwrap().to_owned();
                (wan, number(row, "sessions"), number(row, "drain_ends_s"))
            };
            rows.iter().map(row).collect()
        };
        assert_eq!(draining(&mut site), []);
        site.set_link("isp1", false);
        (5000..5007).for_each(|port| drop(udp_out(&mut site, (H1, port), (E1, 80)).unwrap()));
        connect(&mut site, (H2, 6000), (E1, 80));
        assert_eq!(draining(&mut site), []);
        site.set_link("isp1", true);
        site.run_ms(11_000);
        site.take_all();
        udp_out(&mut site, (H1, 7000), (E1, 80)).unwrap();
        site.run_ms(2);
        let (wan, left, ends) = draining(&mut site).pop().unwrap();
        assert_eq!((wan.as_str(), left), ("isp2", 8));
        assert!((58..=60).contains(&ends), "{ends}");
        site.run_ms(30_000);
        site.take_all();
        for port in 5000..5003 {
            udp_out(&mut site, (H1, port), (E1, 80)).unwrap();
        }
        let (_, left, ends) = draining(&mut site).pop().unwrap();
        assert!(left == 8 && (28..=30).contains(&ends), "{left} {ends}");
        site.run_ms(31_000);
        site.take_all();
        assert_eq!(draining(&mut site), [], "it is over");
        for lcore in site.lcores() {
            lcore.router.nat.audit().unwrap();
        }
        let more = ["sessions_reset", "tcp_resets_sent"];
        site.finish(&and(&[&OPENED, &more])).unwrap();
    }
}
