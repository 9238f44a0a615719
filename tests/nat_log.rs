//! The log of mappings: what is told of whom and when, and that telling costs nothing but what is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use serde_json::{Value, json};

const LOG: &str = "nat: { log: [mappings] }\n";

fn each(text: &str, test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = Site::new(&format!("{DUAL_WAN}{text}"), workers).unwrap();
        meet(&mut site);
        site.use_queue(queue);
        test(site);
    }
}

/// Event, protocol, inside, outside, WAN, moved: in the order of time.
fn told(site: &mut Site) -> Vec<(String, String, String, String, String, bool)> {
    let mut lines = site.log();
    lines.sort_by_key(|line| line["at_ns"].as_u64());
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let row = |line: &Value| {
        let [event, protocol, inside, outside, wan] =
            ["event", "protocol", "inside", "outside", "wan"].map(|key| word(line, key));
        (event, protocol, inside, outside, wan, line["moved"] == true)
    };
    lines.iter().map(row).collect()
}

fn row(
    event: &str,
    protocol: &str,
    inside: End,
    (wan, outside): &(String, End),
    moved: bool,
) -> (String, String, String, String, String, bool) {
    let end = |(ip, port): End| format!("{ip}:{port}");
    (event.into(), protocol.into(), end(inside), end(*outside), wan.clone(), moved)
}

#[test]
fn rfc6888_12_a_mapping_is_told_when_it_begins_and_ends_and_never_whom_it_talks_to() {
    each(LOG, |mut site| {
        let udp = udp_out(&mut site, (H1, 5000), (E1, 4444)).unwrap();
        // The same mapping, whoever it speaks to.
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 5555)).unwrap(), udp);
        let tcp = connect(&mut site, (H2, 6000), (E1, 4444));
        let (link, ping) = site.pass("lan", &Packet::ping(H1, E2, 77, 1)).unwrap();
        let echo = (link, (P1, ping.icmp().unwrap().id));
        let lines = site.log();
        let text = Value::Array(lines.clone()).to_string();
        for remote in [E1.to_string(), E2.to_string(), "4444".into(), "5555".into()] {
            assert!(
                !text.contains(&format!("\"{remote}")) && !text.contains(&format!(":{remote}\"")),
                "{text}"
            );
        }
        assert_eq!(lines.len(), 3, "{text}");
        let at = site.now().0;
        assert!(lines.iter().all(|l| l["id"] == 8 && l["at_ns"] == at && l["time_ms"] == at / 1_000_000));
        // As long as TCP may live.
        site.run_coarse(2 * 3600 + 400, 1000);
        let mut ends = told(&mut site);
        ends.sort();
        let mut want = vec![
            row("nat44_bib_delete", "udp", (H1, 5000), &udp, false),
            row("nat44_bib_delete", "tcp", (H2, 6000), &tcp, false),
            row("nat44_bib_delete", "icmp", (H1, 77), &echo, false),
        ];
        want.sort();
        assert_eq!(ends, want);
        site.finish(&and(&[&OPENED, &["sessions_expired"]])).unwrap();
    });
}

#[test]
fn a_mapping_that_moves_ends_at_one_place_and_begins_at_the_other() {
    each(LOG, |mut site| {
        let first = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        site.set_link("isp1", false);
        let second = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let want = [
            row("nat44_bib_create", "udp", (H1, 5000), &first, false),
            row("nat44_bib_delete", "udp", (H1, 5000), &first, true),
            row("nat44_bib_create", "udp", (H1, 5000), &second, true),
        ];
        assert_eq!(told(&mut site), want);
        assert_eq!((first.0.as_str(), second.0.as_str()), ("isp1", "isp2"));
        site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
    });
}

#[test]
fn what_the_profile_gives_a_host_is_in_the_profile_and_not_in_the_log() {
    let text = LOG.to_owned()
        + "forwards: [{ protocol: [tcp, udp], port: 8443, to: \"192.168.10.11:443\" }]\n\
           one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.10 }]\n";
    each(&text, |mut site| {
        assert_eq!(udp_in(&mut site, "isp1", (E1, 5), (P1, 8443)), Some((H2, 443)));
        assert!(udp_out(&mut site, (H1, 5), (E1, 5)).is_some());
        assert_eq!(site.log(), [] as [Value; 0]);
        // A protocol without ports has no mapping: its session says who has the address.
        let mut packet = Packet::udp((H2, 1), (E1, 2), b"esp");
        packet.ip.protocol = 50;
        let (wan, _) = site.pass("lan", &packet).unwrap();
        let begun = row("nat44_session_create", "50", (H2, 0), &(wan, (P1, 0)), false);
        assert_eq!(told(&mut site), [begun]);
        site.finish(&["sessions_created"]).unwrap();
    });
}

#[test]
fn rfc6888_11c_the_operator_is_told_of_ports_that_are_used_up_and_of_a_host_that_wants_too_many() {
    let small = "forwards: [{ protocol: [udp], port: \"1024-65469\", to: \"192.168.10.11:1024\" }]\n";
    let mut site = Site::new(&(unlimited(4096, "log: [mappings]") + small), 1).unwrap();
    meet(&mut site);
    for port in 5000..5003 {
        site.send("lan", &Packet::udp((H1, port), (E1, 80), b""));
    }
    site.run_ms(1);
    let event = site.events("nat_full");
    assert_eq!((event.len(), &event[0]["reason"]), (1, &json!("drop_nat_ports_exhausted")));
    let last = site.log().pop().unwrap();
    let [what, id, inside, outside] = ["event", "id", "inside", "outside"].map(|key| last[key].clone());
    let want = (json!("nat_ports_exhausted"), json!(12), json!("192.168.10.10:5002"), json!("203.0.113.2"));
    assert_eq!((what, id, inside, outside), want);
    let told = ["drop_nat_ports_exhausted", "sessions_refused", "icmp_errors_sent"];
    site.finish(&and(&[&OPENED, &told])).unwrap();

    let text = DUAL_WAN.to_owned() + "nat: { log: [mappings], ports_per_host: 2 }\n";
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    for port in 5000..5003 {
        site.send("lan", &Packet::udp((H1, port), (E1, 80), b""));
    }
    site.run_ms(1);
    assert_eq!(site.events("nat_full")[0]["reason"], "drop_nat_host_ports");
    let last = site.log().pop().unwrap();
    let want = [json!("quota_exceeded"), json!(13), json!(3), json!("drop_nat_host_ports")];
    assert_eq!(["event", "id", "quota", "reason"].map(|key| last[key].clone()), want);
    let told = ["drop_nat_host_ports", "sessions_refused", "icmp_errors_sent"];
    site.finish(&and(&[&OPENED, &told])).unwrap();
}

#[test]
fn who_shares_a_port_is_told_by_session_and_still_not_with_whom_it_talks() {
    let mut site = Site::new(&unlimited(80_000, "log: [mappings]"), 1).unwrap();
    meet(&mut site);
    let syn = |port: u16| {
        let [a, b] = port.to_be_bytes();
        Packet::tcp((H1, port), (Ipv4Addr::new(9, 9, a, b), 443), SYN, 1, 0, b"")
    };
    // Nine in ten ports of an address serve one host each; what is told in a second is bounded.
    flood(&mut site, "lan", (5000..54_000).map(syn));
    let first = site.log().len();
    site.run_ms(1000);
    flood(&mut site, "lan", (54_000..65_000).map(syn));
    let lines = site.log();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count() as u64;
    let shared = site.moved("sessions_shared");
    assert!(first == 49_000 && shared > 1000, "{first} {shared}");
    assert_eq!((count("nat44_bib_create"), count("nat44_session_create")), (11_000 - shared, shared));
    let text = Value::Array(lines).to_string();
    assert!(!text.contains("\"9.9.") && !text.contains(":443\""));
    let mut ended = 0;
    for _ in 0..300 {
        site.run_coarse(1, 20);
        ended += site.log().iter().filter(|line| line["event"] == "nat44_session_delete").count() as u64;
    }
    assert_eq!(ended, shared);
    site.finish(&and(&[&OPENED, &["sessions_shared", "sessions_expired"]])).unwrap();
}

#[test]
fn rfc6888_14_what_a_log_that_nobody_writes_has_no_room_for_is_counted_and_told_and_rates_are_bounded() {
    let text = unlimited(150_000, "log: [mappings]");
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    let flows =
        |from: u16, to: u16, host| (from..to).map(move |port| Packet::udp((host, port), (E1, 80), b""));
    // 60 thousand in three tenths of a second: 50 thousand of them are told.
    flood(&mut site, "lan", flows(5000, 65_000, H1));
    assert_eq!((site.moved("mappings_created"), site.moved("log_suppressed")), (60_000, 10_000));
    // All move, twice as many records: beyond 65 536 they are lost.
    site.set_link("isp1", false);
    site.run_ms(1000);
    flood(&mut site, "lan", flows(5000, 45_000, H1));
    let (lost, suppressed) = (site.moved("log_lost"), site.moved("log_suppressed"));
    assert!(lost > 30_000 && suppressed == 40_000, "{lost} {suppressed}");
    let lines = site.log();
    assert_eq!(lines.len(), 65_536);
    let gap = |lines: &[Value], what: &str| -> u64 {
        lines.iter().filter(|l| l["event"] == what).map(|l| l["records"].as_u64().unwrap()).sum()
    };
    assert_eq!((gap(&lines, "suppressed"), gap(&lines, "lost")), (10_000, 0));
    // Whoever reads on is told, though nothing else happens.
    site.run_ms(1001);
    let lines = site.log();
    assert_eq!((gap(&lines, "suppressed"), gap(&lines, "lost")), (30_000, lost));
    let counts = ["log_lost", "log_suppressed", "sessions_moved", "mappings_moved"];
    site.finish(&and(&[&OPENED, &counts])).unwrap();
}

#[test]
fn without_the_profiles_word_nothing_is_told() {
    each("", |mut site| {
        udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        assert_eq!(site.log(), [] as [Value; 0]);
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn rfc6888_10_every_counter_can_be_read_by_a_machine() {
    let mut site = site(2);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let answer = site.ask(Request::Counters).unwrap();
    let counters = site.counters();
    let known: Vec<_> = counters.iter().map(|(name, n)| (name.to_owned(), json!(n))).collect();
    assert_eq!(answer.as_object().unwrap().clone().into_iter().collect::<Vec<_>>(), known);
    assert!(known.len() > 80 && answer["mappings_created"] == 1);
    site.finish(&OPENED).unwrap();
}
