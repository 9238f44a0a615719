//! How long each kind of failure takes to be found and left, ten times each: medians for bench/RESULTS.md.
//!
//! Tight times of a shared machine are no test: it runs with TURNOUT_LONG=1 only (`bench/detection.sh`, on an idle one), and fails where a
//! median is above its goal.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "netns/frr.rs"]
mod frr;
mod netns;

use std::cell::RefCell;
use std::time::Duration;

use frr::{Bfdd, installed};
use netns::Site;
use netns::pulse::{Pulse, tellers};
use netns::scene::{becomes, scene, settles};
use nix::sys::signal::Signal;
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{Fault, WAN1, WAN2};

const ROUNDS: usize = 10;
const SOON: Duration = Duration::from_secs(5);

type Deed<'a> = &'a dyn Fn(&Site) -> Nanos;

/// One kind of failure.
struct Case<'a> {
    name: &'a str,
    health: &'a str,
    /// The most that an outage may last in the middle of ten.
    goal: Nanos,
    /// How long the line is in use before it fails.
    use_for: Duration,
    harm: Deed<'a>,
    mend: Deed<'a>,
}

fn median(mut of: Vec<u64>) -> (u64, u64) {
    of.sort_unstable();
    (of[of.len() / 2], *of.last().unwrap())
}

/// Runs it, and prints its row. Returns what is wrong with it.
fn measure(case: &Case) -> Option<String> {
    let health = format!("up: {{ successes: 2, stable: 300ms, flap_max: 300ms }}, {}", case.health);
    let site = Site::start(&scene(&health, ""))?;
    let _servers = tellers(site.host("inet"));
    settles(&site);
    let stream = Pulse::stream(site.host("lan1"));
    let (mut detected, mut outages, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    let mut cause = String::new();
    for _ in 0..ROUNDS {
        assert!(stream.leaves_by(WAN1, SOON));
        let seq = site.seq();
        let at = (case.harm)(&site);
        let event = site.event_after(seq, "failover", SOON);
        assert!(stream.leaves_by(WAN2, SOON));
        std::thread::sleep(Duration::from_millis(500));
        let harm = stream.harm(at.since(Nanos::from_ms(5)), clock::now());
        let took = Nanos(event["detected_ns"].as_u64().unwrap()).since(at);
        if took > case.goal {
            println!("{} ms in one round: {event}", took.as_ms());
        }
        detected.push(took.0);
        outages.push(harm.outage.0);
        lost.push(harm.lost);
        cause = event["cause"].as_str().unwrap().to_owned();
        (case.mend)(&site);
        becomes(&site, "isp1", "up", SOON * 2);
        // Everything goes back to the first line for the next round.
        site.event_after(event["seq"].as_u64().unwrap(), "failback", SOON);
        assert!(site.turnout(&["wan", "down", "isp2"]).status.success());
        assert!(stream.leaves_by(WAN1, SOON));
        assert!(site.turnout(&["wan", "auto", "isp2"]).status.success());
        becomes(&site, "isp2", "up", SOON);
        std::thread::sleep(case.use_for);
    }
    let ms = |ns: u64| format!("{:.1}", ns as f64 / 1e6);
    let (detected, outage, lost) = (median(detected), median(outages), median(lost));
    println!(
        "| {} | {cause} | {} | {} | {} | {} | {} | {} |",
        case.name,
        ms(detected.0),
        ms(detected.1),
        ms(outage.0),
        ms(outage.1),
        lost.0,
        case.goal.as_ms()
    );
    // A peer that stops to speak harms nobody: there the finding is what counts.
    let took = outage.0.max(detected.0);
    let bad = took > case.goal.0;
    bad.then(|| format!("{}: {} ms, the goal is {}", case.name, ms(took), case.goal.as_ms()))
}

#[test]
fn each_kind_of_failure_is_found_in_its_time() {
    if std::env::var_os("TURNOUT_LONG").is_none() {
        return netns::skipped("takes minutes; set TURNOUT_LONG=1");
    }
    println!(
        "| failure | cause told | detected, median ms | worst | outage, median ms | worst | lost, median | goal ms |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    let bfdd: RefCell<Option<Bfdd>> = RefCell::new(None);
    let mut cases = vec![
        Case {
            name: "link lost",
            health: "gateway: { arp: 250ms }",
            goal: Nanos::from_ms(20),
            use_for: Duration::from_millis(700),
            harm: &|s| s.lab.link_down("isp1").unwrap(),
            mend: &|s| s.lab.link_up("isp1").unwrap(),
        },
        Case {
            name: "gateway silent, ARP every 50 ms",
            health: "gateway: { arp: 50ms }, passive: false",
            goal: Nanos::from_ms(250),
            use_for: Duration::from_millis(700),
            harm: &|s| s.lab.blackhole("isp1").unwrap(),
            mend: &|s| s.lab.heal("isp1").unwrap(),
        },
        Case {
            name: "dead internet, three ICMP targets every 100 ms",
            health: "passive: false, targets: { icmp: [1.1.1.1, 9.9.9.9, 8.8.8.8], every: 100ms, timeout: 200ms }",
            goal: Nanos::from_ms(600),
            use_for: Duration::from_millis(700),
            harm: &|s| s.lab.fault("isp1", Fault::DeadInternet).unwrap(),
            mend: &|s| s.lab.mend("isp1", Fault::DeadInternet).unwrap(),
        },
        Case {
            name: "silence on a busy line, passive",
            health: "gateway: { arp: 250ms }, targets: { icmp: [1.1.1.1, 9.9.9.9, 8.8.8.8] }",
            goal: Nanos::from_ms(300),
            // The gap of the time when it was not used is forgotten.
            use_for: Duration::from_secs(11),
            harm: &|s| s.lab.blackhole("isp1").unwrap(),
            mend: &|s| s.lab.heal("isp1").unwrap(),
        },
    ];
    let signal = |site: &Site, signal: Signal| {
        // Its first call starts it: the session needs the lab.
        let mut bfdd = bfdd.borrow_mut();
        let bfdd = bfdd.get_or_insert_with(|| Bfdd::start(&site.lab, "isp1", &WAN1.to_string(), 10));
        if signal == Signal::SIGSTOP {
            bfdd.sees("up");
            std::thread::sleep(Duration::from_millis(200));
        }
        let at = clock::now();
        bfdd.signal(signal);
        at
    };
    let (stop, go) = (|s: &Site| signal(s, Signal::SIGSTOP), |s: &Site| signal(s, Signal::SIGCONT));
    if installed() {
        cases.push(Case {
            name: "BFD session lost, 10 ms x 3",
            health: "bfd: { peer: gateway, every: 10ms, multiplier: 3 }, passive: false",
            goal: Nanos::from_ms(60),
            use_for: Duration::from_millis(700),
            harm: &stop,
            mend: &go,
        });
    }
    let wrong: Vec<String> = cases.iter().filter_map(measure).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
