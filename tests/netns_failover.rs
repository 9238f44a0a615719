//! A line dies by its link or in silence, and comes back: the stream goes on, the events and states tell it.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::Ipv4Addr;
use std::time::Duration;

use netns::{Site, eventually, usual};
use serde_json::Value;
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{LabError, Stop, WAN1, WAN2};
use turnout::demo::traffic::account::{Harm, Window};
use turnout::demo::traffic::{Traffic, tcp, udp::SPACING};

type Deed = fn(&Site) -> Result<Nanos, LabError>;

/// What a deed did to the stream, from just before it until the router's answer and half a second more.
fn harm_of(site: &Site, traffic: &Traffic, deed: Deed, answer: &str, within: Duration) -> (Harm, Value) {
    let seq = site.seq();
    let at = deed(site).unwrap();
    let event = site.event_after(seq, answer, within);
    std::thread::sleep(Duration::from_millis(700));
    let to = clock::now().since(Nanos::from_ms(200));
    let harm =
        traffic.stream.log().harm(Window { from: at.since(Nanos::from_ms(10)), to: Nanos(to.0) }, SPACING);
    println!(
        "{answer}: {harm:?}, detected in {:?}",
        event["detected_ns"].as_u64().map(|d| Nanos(d).since(at))
    );
    let stamps = ["detected_ns", "published_ns", "applied_ns"].map(|key| event[key].as_u64().unwrap());
    assert!(stamps.is_sorted() && stamps[0] >= at.0, "{event}");
    (harm, event)
}

fn leaves_by(traffic: &Traffic, wan: Ipv4Addr) {
    assert!(
        eventually(Duration::from_secs(2), || traffic.stream.source() == wan),
        "{}",
        traffic.stream.source()
    );
}

/// A site with a stream over the first WAN.
fn streaming() -> Option<(Site, Traffic)> {
    let site = Site::start(&usual())?;
    let traffic = Traffic::start(&site.lab).unwrap();
    assert!(traffic.flows(Duration::from_secs(5), &Stop::default()));
    std::thread::sleep(Duration::from_millis(300));
    leaves_by(&traffic, WAN1);
    Some((site, traffic))
}

fn wan(site: &Site, name: &str, expected: [(&str, Value); 4]) {
    for (key, value) in expected {
        assert_eq!(site.wan(name, key), value, "{name} {key}");
    }
}

/// Kinds of the events from `seq` on that this is about.
fn told(site: &Site, seq: u64) -> Vec<String> {
    let of = |e: &Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
    let line = |e: &Value| match e["kind"].as_str().unwrap() {
        "link" => Some(format!("link {} {}", of(e, "interface"), e["up"])),
        "wan_state" => Some(format!("{} {} by {}", of(e, "wan"), of(e, "to"), of(e, "reason"))),
        kind @ ("failover" | "failback") => {
            Some(format!("{kind} {} {}: {}", of(e, "from"), of(e, "to"), of(e, "cause")))
        }
        _ => None,
    };
    let events = site.events();
    let numbers: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let at: Vec<u64> = events.iter().map(|e| e["at_ns"].as_u64().unwrap()).collect();
    assert!(at.is_sorted(), "{at:?}");
    events.iter().filter(|e| e["seq"].as_u64().unwrap() > seq).filter_map(line).collect()
}

#[test]
fn the_stream_goes_on_when_the_link_dies_and_loses_nothing_when_it_returns() {
    let Some((site, mut traffic)) = streaming() else { return };
    let seq = site.seq();
    let (harm, event) =
        harm_of(&site, &traffic, |s| s.lab.link_down("isp1"), "failover", Duration::from_secs(3));
    assert!(harm.outage <= Nanos::from_ms(500) && harm.sent > 300, "{harm:?}");
    assert_eq!([&event["from"], &event["to"], &event["cause"]], ["isp1", "isp2", "link lost"]);
    leaves_by(&traffic, WAN2);
    wan(
        &site,
        "isp1",
        [
            ("state", "down".into()),
            ("link", false.into()),
            ("carrying", false.into()),
            ("reason", "link lost".into()),
        ],
    );
    wan(
        &site,
        "isp2",
        [("state", "up".into()), ("link", true.into()), ("carrying", true.into()), ("admin", "auto".into())],
    );
    let since = clock::now();
    assert!(
        eventually(Duration::from_secs(2), || traffic.stream.chatter_alive(since) == 20),
        "{} of 20 small flows go on",
        traffic.stream.chatter_alive(since)
    );

    let (harm, event) =
        harm_of(&site, &traffic, |s| s.lab.link_up("isp1"), "failback", Duration::from_secs(8));
    assert_eq!(harm.lost, 0, "{harm:?}");
    assert_eq!([&event["from"], &event["to"], &event["cause"]], ["isp2", "isp1", "stable again"]);
    // What has moved stays where it is; what is new leaves by the preferred line.
    assert_eq!(traffic.stream.source(), WAN2);
    assert!(traffic.stream.dial());
    leaves_by(&traffic, WAN1);
    traffic.finish();
    assert_eq!(
        told(&site, seq),
        [
            "link isp1 false",
            "isp1 down by link lost",
            "failover isp1 isp2: link lost",
            "link isp1 true",
            "isp1 up by stable again",
            "failback isp2 isp1: stable again",
        ]
    );
}

#[test]
fn the_stream_goes_on_when_the_line_falls_silent_and_loses_nothing_when_it_speaks_again() {
    let Some((site, mut traffic)) = streaming() else { return };
    let seq = site.seq();
    let (harm, event) =
        harm_of(&site, &traffic, |s| s.lab.blackhole("isp1"), "failover", Duration::from_secs(4));
    assert!(harm.outage <= Nanos::from_s(2) && harm.sent > 500, "{harm:?}");
    // A busy line is missed before the gateway has been asked three times.
    assert_eq!(event["cause"], "traffic and probes silent");
    assert!(event["last_ok_ns"].as_u64().unwrap() < event["detected_ns"].as_u64().unwrap());
    leaves_by(&traffic, WAN2);
    wan(
        &site,
        "isp1",
        [
            ("state", "down".into()),
            ("link", true.into()),
            ("carrying", false.into()),
            ("reason", "gateway silent".into()),
        ],
    );

    let (harm, event) = harm_of(&site, &traffic, |s| s.lab.heal("isp1"), "failback", Duration::from_secs(8));
    assert_eq!(harm.lost, 0, "{harm:?}");
    assert_eq!([&event["from"], &event["to"]], ["isp2", "isp1"]);
    traffic.finish();
    assert_eq!(
        told(&site, seq),
        [
            "isp1 down by traffic and probes silent",
            "failover isp1 isp2: traffic and probes silent",
            "isp1 up by stable again",
            "failback isp2 isp1: stable again",
        ]
    );
}

/// Does something by which nothing may be lost, until `answer` is told and half a second more. Gives the moment.
fn harmless(
    site: &mut Site,
    traffic: &Traffic,
    what: &str,
    answer: &str,
    deed: impl FnOnce(&mut Site),
) -> Nanos {
    let (seq, at) = (site.seq(), clock::now());
    deed(site);
    site.event_after(seq, answer, Duration::from_secs(10));
    std::thread::sleep(Duration::from_millis(700));
    let window = Window { from: at.since(Nanos::from_ms(10)), to: clock::now().since(Nanos::from_ms(200)) };
    let harm = traffic.stream.log().harm(window, SPACING);
    println!("{what}: {harm:?}");
    assert!(harm.lost == 0 && harm.sent > 100, "{what}: {harm:?}");
    at
}

fn admin(site: &Site, word: &str) {
    let out = site.turnout(&["wan", word, "isp1"]);
    assert!(out.status.success(), "{}", netns::stderr(&out));
}

#[test]
fn nothing_is_lost_by_a_reload_a_drain_a_sick_standby_or_a_failback_three_times_each() {
    let profile = usual().replace("stable: 1s", "stable: 1s, flap_max: 1s");
    let Some(mut site) = Site::start(&profile) else { return };
    let mut traffic = Traffic::start(&site.lab).unwrap();
    assert!(traffic.flows(Duration::from_secs(5), &Stop::default()));
    std::thread::sleep(Duration::from_millis(300));
    let changed = |round: usize| {
        format!(
            "{profile}firewall: [{{ in: lan, to: 198.18.9.{round}, protocol: [udp], port: [53], action: drop }}]\n\
             policy: [{{ from: 192.168.10.{}, use: isp2 }}]\n",
            200 + round
        )
    };
    // Those by which nothing may be lost, and those by which something may.
    let (mut harmless_at, mut harm_at) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        let moments = &mut harmless_at;
        let mut one = |site: &mut Site, what: &str, answer: &str, deed: &dyn Fn(&mut Site)| {
            moments.push(harmless(site, &traffic, what, answer, deed));
        };
        one(&mut site, "reload", "reload", &|s| s.router.reload(&changed(round)).unwrap());
        one(&mut site, "drain", "selection", &|s| admin(s, "drain"));
        one(&mut site, "end of the drain", "failback", &|s| admin(s, "auto"));
        one(&mut site, "sick standby", "wan_state", &|s| {
            for _ in 0..3 {
                s.lab.link_down("isp2").unwrap();
                std::thread::sleep(Duration::from_millis(50));
                s.lab.link_up("isp2").unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert!(eventually(Duration::from_secs(8), || site.wan("isp2", "state") == "up"));
        let seq = site.seq();
        harm_at.push(site.lab.link_down("isp1").unwrap());
        site.event_after(seq, "failover", Duration::from_secs(3));
        // Connections of before have been reset, and others begun.
        std::thread::sleep(Duration::from_secs(4));
        one(&mut site, "failback", "failback", &|s| {
            s.lab.link_up("isp1").unwrap();
        });
        assert!(traffic.stream.dial());
    }
    traffic.finish();
    let mut moments = [harmless_at.clone(), harm_at].concat();
    moments.sort();
    let sessions = traffic.downloads.sessions();
    let cut = tcp::cut_by(&sessions, &moments);
    let guilty: Vec<usize> =
        (0..moments.len()).filter(|at| cut[*at] > 0 && harmless_at.contains(&moments[*at])).collect();
    assert!(guilty.is_empty(), "{guilty:?} of {moments:?}: {sessions:#?}");
    let tally = tcp::tally(&sessions, &harmless_at);
    assert!(tally.survived >= 10 && tally.corrupt == 0, "{tally:?}");
}
