//! BFD with another implementation at the ISP, FRR's bfdd: the session comes up, its loss is the line's, its orderly end is not.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "netns/frr.rs"]
mod frr;
mod netns;

use std::time::Duration;

use frr::{Bfdd, installed};
use netns::Site;
use netns::pulse::{Pulse, tellers};
use netns::scene::{QUICK, becomes, changes, failovers, finish, scene, settles};
use nix::sys::signal::Signal;
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{WAN1, WAN2};

const SOON: Duration = Duration::from_secs(4);

/// The site, its stream over the first WAN, and the session of that WAN.
fn speaking(every_ms: u32) -> Option<(Site, Vec<netns::Service>, Pulse, Bfdd)> {
    if !installed() {
        return None;
    }
    // A session that does not return holds its line down for this long; for as long as the test.
    let quick = QUICK.replace("flap_max: 1s", "flap_max: 30s");
    let health = format!("{quick}, bfd: {{ peer: gateway, every: {every_ms}ms, multiplier: 3 }}");
    let site = Site::start(&scene(&health, ""))?;
    let servers = tellers(site.host("inet"));
    let bfdd = Bfdd::start(&site.lab, "isp1", &WAN1.to_string(), every_ms);
    // The second line has nobody who speaks it, which is no fault.
    settles(&site);
    bfdd.sees("up");
    let stream = Pulse::stream(site.host("lan1"));
    assert_eq!(*stream.source().unwrap().ip(), WAN1);
    Some((site, servers, stream, bfdd))
}

#[test]
fn a_lost_session_is_a_lost_line_within_three_intervals_and_its_return_brings_it_back() {
    const EVERY: u32 = 100;
    let Some((site, _servers, stream, bfdd)) = speaking(EVERY) else { return };
    let seq = site.seq();
    let at = clock::now();
    bfdd.signal(Signal::SIGSTOP);
    let event = site.event_after(seq, "failover", SOON);
    let took = Nanos(event["detected_ns"].as_u64().unwrap()).since(at);
    println!("lost after {took:?}");
    assert_eq!([&event["from"], &event["to"], &event["cause"]], ["isp1", "isp2", "BFD session lost"]);
    // Three intervals after the last packet; the rest is for a machine with other work.
    assert!(took >= Nanos::from_ms(150) && took < Nanos::from_ms(700), "{took:?}");
    assert!(stream.leaves_by(WAN2, SOON));
    assert_eq!(site.wan("isp1", "state"), "down");
    // The gateway answers all the same: for as long as the session is away the line is not fit.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(site.wan("isp1", "state"), "down");

    let at = clock::now();
    bfdd.signal(Signal::SIGCONT);
    bfdd.sees("up");
    becomes(&site, "isp1", "up", Duration::from_secs(8));
    site.event_after(seq, "failback", SOON);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(stream.lost_since(at), 0);
    drop((stream, bfdd));
    let why = finish(site);
    assert_eq!(failovers(&why), ["isp1 to isp2: BFD session lost"]);
    let story = why.iter().find(|s| s["kind"] == "failover").unwrap();
    assert_eq!(story["evidence"][0]["probe"], "bfd", "{story:#}");
}

#[test]
fn a_session_taken_down_in_good_order_is_no_failure_of_the_line() {
    let Some((site, _servers, stream, bfdd)) = speaking(100) else { return };
    let (seq, at) = (site.seq(), clock::now());
    let order = |word| drop(bfdd.vtysh(&["configure terminal", "bfd", &format!("peer {WAN1}"), word]));
    order("shutdown");
    std::thread::sleep(Duration::from_secs(2));
    assert!(bfdd.vtysh(&["show bfd peers"]).contains("Status: shutdown"));
    order("no shutdown");
    bfdd.sees("up");
    std::thread::sleep(Duration::from_millis(500));
    let told = changes(&site, seq);
    assert!(told.is_empty(), "{told:#?}");
    assert_eq!((stream.lost_since(at), stream.sources(at, clock::now()).len()), (0, 1));
    // It counts again from then on.
    bfdd.signal(Signal::SIGSTOP);
    site.event_after(seq, "failover", SOON);
    drop((stream, bfdd));
    finish(site);
}
