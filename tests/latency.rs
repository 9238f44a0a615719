//! What the router says of the time that packets spend in it, on a clock that only the test moves.
#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

mod common;
use common::*;

use serde_json::{Value, json};
use turnout::base::Nanos;

fn latency(site: &mut Site) -> Value {
    site.ask(Request::Latency).unwrap()
}

/// 1/64 off at most.
fn near(value: &Value, ns: u64) -> bool {
    value.as_u64().is_some_and(|got| got.abs_diff(ns) <= ns / 64)
}

/// A site whose hosts and gateways are known, and how many packets it has counted until then.
fn known(workers: usize) -> (Site, u64) {
    let mut site = site(workers);
    for host in [H1, H2] {
        site.send("lan", &Packet::ping(host, LAN, 1, 1));
    }
    site.run_ms(100);
    site.take_all();
    let packets = latency(&mut site)["packets"].as_u64().unwrap();
    (site, packets)
}

#[test]
fn a_burst_counts_for_each_packet_that_it_sends_with_the_time_it_took() {
    let (mut site, before) = known(1);
    site.set_send_takes("isp1", Nanos::from_us(150));
    for n in 0..20 {
        let frame = site.frame_of("lan", &Packet::udp((H1, 5000 + n), (E1, 80), b""));
        site.put_raw("lan", &frame);
    }
    // A dropped one has no way from receive to send.
    let frame = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b"").ttl(1));
    site.put_raw("lan", &frame);
    site.run_ms(1);
    let told = latency(&mut site);
    // The ICMP error about the dropped one is a packet that was sent.
    assert_eq!(told["packets"], before + 21, "{told}");
    for key in ["p90_ns", "p99_ns", "p999_ns", "max_ns", "longest_turn_ns"] {
        assert!(near(&told[key], 150_000), "{key}: {told}");
    }
    assert_eq!(told["workers"][0]["packets"], told["packets"]);
    assert_eq!((&told["workers"][0]["worker"], &told["workers"][0]["core"]), (&json!(0), &json!(0)));
    let status = site.ask(Request::Status).unwrap();
    assert_eq!(
        status["latency"],
        json!({ "p50_ns": told["p50_ns"], "p99_ns": told["p99_ns"], "max_ns": told["max_ns"] })
    );
    site.finish(&and(&[&OPENED, &["drop_ttl_expired", "icmp_errors_sent"]])).unwrap();
}

#[test]
fn quantiles_are_weighed_by_packets_and_the_longest_turn_has_all_its_bursts() {
    let (mut site, before) = known(1);
    let (_, outside) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!(before + 1, latency(&mut site)["packets"]);
    site.set_send_takes("isp1", Nanos::from_us(10));
    site.set_send_takes("lan", Nanos::from_us(40));
    for _ in 0..60 {
        let up = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b""));
        let down = site.frame_of("isp1", &Packet::udp((E1, 80), outside, b""));
        for _ in 0..2 {
            site.put_raw("lan", &up);
        }
        site.put_raw("isp1", &down);
        site.run_ms(1);
    }
    let told = latency(&mut site);
    assert!(near(&told["p50_ns"], 10_000) && near(&told["p90_ns"], 40_000), "{told}");
    assert_eq!((&told["max_ns"], &told["longest_turn_ns"]), (&json!(40_000), &json!(50_000)), "{told}");
    assert_eq!(told["packets"], before + 181);
    site.finish(&OPENED).unwrap();
}

#[test]
fn a_packet_is_counted_by_the_worker_that_sends_it() {
    let (mut site, _) = known(2);
    let row = |told: &Value, w: usize| told["workers"][w]["packets"].as_u64().unwrap();
    let before = latency(&mut site);
    // The host's owner, whichever queue its frames come by.
    let count = |site: &mut Site, queue: usize| {
        let at = latency(site);
        site.use_queue(queue);
        assert!(udp_out(site, (H1, 5000), (E1, 80)).is_some());
        let told = latency(site);
        [0, 1].map(|w| row(&told, w) - row(&at, w))
    };
    site.set_send_takes("isp1", Nanos::from_us(70));
    let (first, second) = (count(&mut site, 0), count(&mut site, 1));
    assert_eq!(first, second);
    assert_eq!(first.iter().sum::<u64>(), 1);
    let told = latency(&mut site);
    assert_eq!(told["max_ns"], 70_000, "what is handed over has its span too: {told}");
    assert_eq!(told["packets"], row(&told, 0) + row(&told, 1));
    assert_eq!(told["packets"], before["packets"].as_u64().unwrap() + 2);
    site.finish(&OPENED).unwrap();
}

#[test]
fn a_packet_that_waits_for_its_next_hop_is_not_counted() {
    let (mut site, _) = known(1);
    let (_, outside) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let before = latency(&mut site);
    site.set_send_takes("lan", Nanos::from_ms(3));
    let unknown = "192.168.10.77".parse().unwrap();
    site.add_host("lan", unknown);
    // Routed inside, to a host that nobody has asked for yet.
    assert_eq!(site.send("lan", &Packet::udp((H1, 7), (unknown, 7), b"")).len(), 1);
    assert!(site.moved("originated") > 0, "somebody asked for it");
    assert_eq!(latency(&mut site)["packets"], before["packets"]);
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), outside), Some((H1, 5000)));
    assert_eq!(latency(&mut site)["max_ns"], 3_000_000);
    site.finish(&OPENED).unwrap();
}

#[test]
fn a_turn_of_a_busy_worker_counts_for_seven_and_the_longest_is_of_all() {
    let (mut site, before) = known(1);
    let burst = |site: &mut Site| {
        for n in 0..32 {
            let frame = site.frame_of("lan", &Packet::udp((H1, 5000 + n), (E1, 80), b""));
            site.put_raw("lan", &frame);
        }
        site.run_ms(1);
    };
    site.set_send_takes("isp1", Nanos::from_us(20));
    for turn in 1..=15 {
        if turn == 3 {
            site.set_send_takes("isp1", Nanos::from_us(900));
            burst(&mut site);
            site.set_send_takes("isp1", Nanos::from_us(20));
        } else {
            burst(&mut site);
        }
        let counted = [15, 8, 1].iter().find(|at| **at <= turn).unwrap();
        assert_eq!(latency(&mut site)["packets"], before + 32 * counted, "turn {turn}");
    }
    let told = latency(&mut site);
    assert_eq!((&told["max_ns"], &told["longest_turn_ns"]), (&json!(20_000), &json!(900_000)), "{told}");
    site.finish(&OPENED).unwrap();
}

#[test]
fn before_the_first_packet_there_is_no_quantile() {
    let mut site = Site::cold(DUAL_WAN, 1).unwrap();
    let told = latency(&mut site);
    assert_eq!((&told["packets"], &told["p50_ns"], &told["max_ns"]), (&json!(0), &Value::Null, &Value::Null));
    let status = site.ask(Request::Status).unwrap();
    assert_eq!(status["latency"], json!({ "p50_ns": null, "p99_ns": null, "max_ns": null }));
}

#[test]
fn what_came_in_one_burst_of_a_port_has_waited_for_its_other_interfaces() {
    let trunk = DUAL_WAN.replace("linux:isp1\"", "linux:lan0\", vlan: 101");
    for (profile, longest) in [(DUAL_WAN, 40_000), (&trunk, 50_000)] {
        let mut site = Site::new(profile, 1).unwrap();
        meet(&mut site);
        let (_, outside) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        site.run_ms(100);
        site.set_send_takes("isp1", Nanos::from_us(10));
        site.set_send_takes("lan", Nanos::from_us(40));
        let up = site.frame_of("lan", &Packet::udp((H1, 5000), (E1, 80), b""));
        let down = site.frame_of("isp1", &Packet::udp((E1, 80), outside, b""));
        for _ in 0..20 {
            site.put_raw("lan", &up);
            site.put_raw("isp1", &down);
            site.run_ms(1);
        }
        let told = latency(&mut site);
        assert!(near(&told["max_ns"], longest), "{longest}: {told}");
        site.finish(&OPENED).unwrap();
    }
}
