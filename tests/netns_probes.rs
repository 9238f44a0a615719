//! What probes of hosts behind the gateway find, and what they do not: a dead internet, one dead target, a lossy line, a standby
//! that flaps, targets that are dead everywhere, a captive portal.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use netns::capture::Capture;
use netns::pulse::{Pulse, tellers};
use netns::scene::{QUICK, TARGETS, Talk, becomes, changes, failovers, finish, scene, settles, tcp_echo};
use netns::servers::{dns, page};
use netns::{Service, Site, eventually};
use serde_json::Value;
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{Fault, INTERNET, ISP_PORT, Lab, WAN1, WAN2};

const SOON: Duration = Duration::from_secs(4);

/// A site with a stream over the first WAN.
fn streaming(profile: &str) -> Option<(Site, Vec<Service>, Pulse)> {
    let site = Site::start(profile)?;
    let servers = tellers(site.host("inet"));
    settles(&site);
    let stream = Pulse::stream(site.host("lan1"));
    assert_eq!(*stream.source().unwrap().ip(), WAN1);
    Some((site, servers, stream))
}

/// The stream is on the second WAN, and the first one is down, because of its targets. Returns the event.
fn left(site: &Site, stream: &Pulse, seq: u64, at: Nanos) -> Value {
    let event = site.event_after(seq, "failover", SOON);
    assert_eq!([&event["from"], &event["to"]], ["isp1", "isp2"], "{event}");
    assert!(stream.leaves_by(WAN2, Duration::from_secs(2)));
    std::thread::sleep(Duration::from_millis(400));
    let harm = stream.harm(at, clock::now());
    println!(
        "{}: {harm:?}, detected after {:?}",
        event["cause"],
        event["detected_ns"].as_u64().map(|d| Nanos(d).since(at))
    );
    assert!(harm.outage < Nanos::from_s(3), "{harm:?}");
    for (key, value) in [("state", Value::from("down")), ("link", true.into()), ("carrying", false.into())] {
        assert_eq!(site.wan("isp1", key), value, "{key}");
    }
    event
}

#[test]
fn a_dead_internet_behind_a_live_gateway_is_found_and_left() {
    let profile = scene(&format!("{TARGETS}, passive: false"), "");
    let Some((site, _servers, stream)) = streaming(&profile) else { return };
    // Mute, and by a word of the ISP's.
    for (round, fault) in [Fault::DeadInternet, Fault::Refused].into_iter().enumerate() {
        let seq = site.seq();
        let at = site.lab.fault("isp1", fault).unwrap();
        let event = left(&site, &stream, seq, at);
        assert_eq!(event["cause"], "targets silent");
        let seq = site.seq();
        let at = site.lab.mend("isp1", fault).unwrap();
        let event = site.event_after(seq, "failback", Duration::from_secs(8));
        assert_eq!([&event["from"], &event["to"]], ["isp2", "isp1"], "{event}");
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(stream.lost_since(at), 0);
        // What has moved stays; for the next round everything is to be on the first again.
        if round == 0 {
            assert_eq!(*stream.source().unwrap().ip(), WAN2);
            assert!(site.turnout(&["wan", "down", "isp2"]).status.success());
            assert!(stream.leaves_by(WAN1, SOON));
            assert!(site.turnout(&["wan", "auto", "isp2"]).status.success());
            becomes(&site, "isp2", "up", SOON);
        }
    }
    drop(stream);
    let why = finish(site);
    let stories: Vec<&Value> = why.iter().filter(|s| s["cause"] == "targets silent").collect();
    assert_eq!(stories.len(), 2, "{why:#?}");
    let named = |s: &&&Value, target: &str| {
        s["evidence"].as_array().unwrap().iter().any(|e| e["probe"] == "icmp" && e["target"] == target)
    };
    for target in ["1.1.1.1", "9.9.9.9", "8.8.8.8"] {
        assert_eq!(stories.iter().filter(|s| named(s, target)).count(), 2, "{target}: {why:#?}");
    }
}

#[test]
fn one_dead_target_of_three_changes_nothing_and_nor_do_answers_that_come_twice() {
    let Some((site, _servers, stream)) = streaming(&scene(TARGETS, "")) else { return };
    let (seq, at) = (site.seq(), clock::now());
    site.lab.fault("isp1", Fault::DeadTarget(INTERNET[1])).unwrap();
    site.lab.fault("isp2", Fault::Twice).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // Dead for everybody, it is nobody's fault either.
    site.lab.fault("isp2", Fault::DeadTarget(INTERNET[1])).unwrap();
    site.lab.fault("isp1", Fault::Twice).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let told: Vec<Value> =
        changes(&site, seq).into_iter().filter(|e| e["kind"] != "targets_blamed").collect();
    assert!(told.is_empty(), "{told:#?}");
    assert_eq!((stream.lost_since(at), stream.sources(at, clock::now()).len()), (0, 1));
    drop(stream);
    assert!(finish(site).is_empty());
}

#[test]
fn thirty_percent_loss_makes_a_line_degraded_and_moves_only_new_flows() {
    let health = format!("{TARGETS}, degraded: {{ window: 4s, loss: 15% }}");
    // A round fails only if all three are lost.
    let Some((site, _servers, stream)) = streaming(&scene(&health, "")) else { return };
    let seq = site.seq();
    site.lab.fault("isp1", Fault::Loss(30)).unwrap();
    becomes(&site, "isp1", "degraded", Duration::from_secs(12));
    let new = Pulse::stream(site.host("lan2"));
    assert!(new.leaves_by(WAN2, Duration::from_secs(2)), "{:?}", new.source());
    assert!(stream.leaves_by(WAN1, Duration::from_secs(1)), "what was there stays");
    let told = changes(&site, seq);
    assert!(told.iter().all(|e| e["to"] != "down" && e["kind"] != "failover"), "{told:#?}");
    let change = told.iter().find(|e| e["kind"] == "wan_state").unwrap();
    assert_eq!(change["reason"], "too much loss", "{change}");
    let at = clock::now();
    site.lab.mend("isp1", Fault::Loss(30)).unwrap();
    becomes(&site, "isp1", "up", Duration::from_secs(15));
    assert_eq!(new.lost_since(at), 0);
    drop((stream, new));
    assert!(failovers(&finish(site)).is_empty());
}

#[test]
fn a_flapping_standby_disturbs_nobody() {
    let Some((site, _servers, stream)) = streaming(&scene(TARGETS, "")) else { return };
    let talk = Talk::start(site.host("lan2"), echo_at(&site), Some(Duration::from_millis(20)));
    let (seq, at) = (site.seq(), clock::now());
    for _ in 0..4 {
        site.lab.link_down("isp2").unwrap();
        std::thread::sleep(Duration::from_millis(400));
        site.lab.link_up("isp2").unwrap();
        std::thread::sleep(Duration::from_millis(900));
    }
    site.lab.fault("isp2", Fault::DeadInternet).unwrap();
    becomes(&site, "isp2", "down", SOON);
    site.lab.blackhole("isp2").unwrap();
    std::thread::sleep(Duration::from_secs(1));
    site.lab.heal("isp2").unwrap();
    site.lab.mend("isp2", Fault::DeadInternet).unwrap();
    becomes(&site, "isp2", "up", Duration::from_secs(8));
    std::thread::sleep(Duration::from_millis(300));
    let told: Vec<Value> = changes(&site, seq).into_iter().filter(|e| e["kind"] != "wan_state").collect();
    assert!(told.is_empty(), "{told:#?}");
    assert_eq!((stream.lost_since(at), stream.sources(at, clock::now()).len()), (0, 1));
    assert!(talk.goes_on(Duration::from_secs(1)));
    drop((stream, talk));
    assert!(finish(site).is_empty());
}

/// Keeps a TCP echo running for as long as the process.
fn echo_at(site: &Site) -> SocketAddrV4 {
    std::mem::forget(tcp_echo(site.host("inet"), INTERNET[0], 7007));
    SocketAddrV4::new(INTERNET[0], 7007)
}

#[test]
fn both_lines_die_and_return_and_nothing_is_reset_that_had_nowhere_to_go() {
    let rest = "on_failover: { tcp: { reset_after: 1s } }\n";
    let Some((site, _servers, stream)) = streaming(&scene(QUICK, rest)) else { return };
    site.lab.link_down("isp1").unwrap();
    assert!(stream.leaves_by(WAN2, SOON));
    let talk = Talk::start(site.host("lan2"), echo_at(&site), Some(Duration::from_millis(20)));
    let (seq, resets) = (site.seq(), site.json(&["counters"])["sessions_reset"].as_u64());
    site.lab.blackhole("isp2").unwrap();
    becomes(&site, "isp2", "down", SOON);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!stream.answers(Duration::from_millis(300)));
    let told: Vec<Value> = changes(&site, seq).into_iter().filter(|e| e["kind"] != "wan_state").collect();
    assert!(told.len() <= 1, "one word for all of it: {told:#?}");

    // The line speaks again before anything has judged it: `best` never stopped to send.
    let at = site.lab.heal("isp2").unwrap();
    assert!(stream.answers(Duration::from_secs(1)));
    println!("answered {:?} after the line spoke again", clock::now().since(at));
    assert!(talk.goes_on(Duration::from_secs(8)), "it was reset: {:?}", talk.end.lock().unwrap());
    becomes(&site, "isp2", "up", SOON);
    assert_eq!(site.json(&["counters"])["sessions_reset"].as_u64(), resets);

    let at = site.lab.link_up("isp1").unwrap();
    site.event_after(seq, "failback", Duration::from_secs(8));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(stream.lost_since(at), 0);
    assert!(talk.goes_on(Duration::from_secs(1)));
    drop((stream, talk));
    assert_eq!(failovers(&finish(site)), ["isp1 to isp2: link lost"]);
}

#[test]
fn the_same_targets_dead_everywhere_are_to_blame() {
    let health = TARGETS.replace("[1.1.1.1, 9.9.9.9, 8.8.8.8]", "[1.1.1.1, 8.8.8.8]");
    let Some((site, _servers, stream)) = streaming(&scene(&health, "")) else { return };
    let (seq, at) = (site.seq(), clock::now());
    let each = |deed: fn(&Lab, &str, Fault) -> Nanos| {
        let faults = [Fault::DeadTarget(INTERNET[1]), Fault::DeadTarget(INTERNET[2])];
        // At once on both lines, as a target that dies is.
        std::thread::scope(|s| {
            for isp in ["isp1", "isp2"] {
                let lab = &site.lab;
                s.spawn(move || faults.map(|fault| deed(lab, isp, fault)));
            }
        });
    };
    each(|lab, isp, fault| lab.fault(isp, fault).unwrap());
    site.event_after(seq, "targets_blamed", SOON);
    std::thread::sleep(Duration::from_secs(2));
    each(|lab, isp, fault| lab.mend(isp, fault).unwrap());
    std::thread::sleep(Duration::from_secs(1));
    let told: Vec<Value> =
        changes(&site, seq).into_iter().filter(|e| e["kind"] != "targets_blamed").collect();
    assert!(told.is_empty(), "{told:#?}");
    assert_eq!((stream.lost_since(at), stream.sources(at, clock::now()).len()), (0, 1));
    // And one line's fault is still that line's.
    let seq = site.seq();
    let at = site.lab.fault("isp1", Fault::DeadInternet).unwrap();
    left(&site, &stream, seq, at);
    drop(stream);
    assert_eq!(failovers(&finish(site)).len(), 1);
}

#[test]
fn a_portal_that_answers_in_place_of_the_internet_is_no_internet() {
    let health = format!(
        "{QUICK}, targets: {{ http: [{{ url: \"http://9.9.9.9/generate_204\" }}], every: 200ms, timeout: 600ms }}"
    );
    let Some(site) = Site::start(&scene(&health, "")) else { return };
    let _servers = tellers(site.host("inet"));
    let _good = page(site.host("inet"), INTERNET[0], "204 No Content", "");
    let _portal =
        page(site.host("isp1"), Ipv4Addr::UNSPECIFIED, "302 Found", "Location: http://203.0.113.1/login\r\n");
    settles(&site);
    let stream = Pulse::stream(site.host("lan1"));
    let seq = site.seq();
    let at = site.lab.fault("isp1", Fault::Portal).unwrap();
    let event = left(&site, &stream, seq, at);
    assert_eq!(event["cause"], "targets silent");
    // All but the web went on; answers that were in the air when the stream moved come to an address that it has left.
    assert!(stream.lost_since(at) <= 2, "{}", stream.lost_since(at));
    site.lab.mend("isp1", Fault::Portal).unwrap();
    becomes(&site, "isp1", "up", Duration::from_secs(8));
    drop(stream);
    let why = finish(site);
    let evidence = why.iter().find(|s| s["kind"] == "failover").unwrap()["evidence"].to_string();
    assert!(evidence.contains("http") && evidence.contains("302"), "{evidence}");
}

#[test]
fn a_name_server_that_refuses_and_a_port_that_is_mute_are_found_by_their_targets() {
    let health = format!(
        "{QUICK}, targets: {{ dns: [{{ server: 9.9.9.9, name: example.com }}], tcp: [\"1.1.1.1:443\"], \
         every: 200ms, timeout: 600ms, need: 2 }}"
    );
    let Some(site) = Site::start(&scene(&health, "")) else { return };
    let _servers = tellers(site.host("inet"));
    let (_dns, refuse) = dns(site.host("inet"), INTERNET[0]);
    let _tcp = tcp_echo(site.host("inet"), INTERNET[1], 443);
    settles(&site);
    let stream = Pulse::stream(site.host("lan1"));
    // By this line alone.
    let seq = site.seq();
    let at = clock::now();
    *refuse.lock().unwrap() = Some(WAN1);
    left(&site, &stream, seq, at);
    *refuse.lock().unwrap() = None;
    let event = site.event_after(seq, "failback", Duration::from_secs(8));
    let seq = event["seq"].as_u64().unwrap();
    let fresh = Pulse::stream(site.host("lan2"));
    assert_eq!(*fresh.source().unwrap().ip(), WAN1);
    let at = site.lab.fault("isp1", Fault::DeadTarget(INTERNET[1])).unwrap();
    left(&site, &fresh, seq, at);
    drop((stream, fresh));
    let why = finish(site);
    // The one whose probes are lost is told from the one that answers.
    let blamed = |s: &Value| -> Vec<String> {
        let lost = |e: &&Value| e["value"].as_u64() >= e["threshold"].as_u64();
        let line = |e: &Value| format!("{} {}: {}", e["probe"], e["target"], e["said"]).replace('"', "");
        s["evidence"].as_array().unwrap().iter().filter(lost).map(line).collect()
    };
    let stories: Vec<Vec<String>> = why.iter().filter(|s| s["kind"] == "failover").map(blamed).collect();
    assert_eq!(
        stories,
        [["tcp 1.1.1.1:443: no answer"], ["dns example.com@9.9.9.9: dns REFUSED"]],
        "{why:#?}"
    );
}

#[test]
fn every_probe_leaves_by_its_own_wan_with_its_own_address() {
    let health = format!(
        "{QUICK}, targets: {{ icmp: [1.1.1.1, 8.8.8.8], tcp: [\"9.9.9.9:443\"], dns: [{{ server: 9.9.9.9, name: example.com }}], \
         http: [{{ url: \"http://1.1.1.1/generate_204\" }}], every: 100ms, timeout: 400ms }}"
    );
    let Some(site) = Site::start(&scene(&health, "")) else { return };
    let _dns = dns(site.host("inet"), INTERNET[0]);
    let _tcp = tcp_echo(site.host("inet"), INTERNET[0], 443);
    let _http = page(site.host("inet"), INTERNET[1], "204 No Content", "");
    settles(&site);
    // Whichever carries: with both well, with the first left, with its line silent.
    let deeds: [fn(&Site) -> Nanos; 3] = [
        |_| clock::now(),
        |site| site.lab.fault("isp1", Fault::DeadInternet).unwrap(),
        |site| site.lab.mend("isp1", Fault::DeadInternet).unwrap(),
    ];
    for (round, deed) in deeds.into_iter().enumerate() {
        deed(&site);
        let captures = [("isp1", WAN1), ("isp2", WAN2)]
            .map(|(isp, own)| (isp, own, Capture::start(site.host(isp), ISP_PORT)));
        std::thread::sleep(Duration::from_millis(1_500));
        for (isp, own, capture) in captures {
            let seen = capture.stop();
            assert!(seen.leaks.is_empty(), "{seen:?}");
            assert_eq!(seen.sources.keys().collect::<Vec<_>>(), [&own], "{round} {isp}: {seen:?}");
            for kind in ["icmp", "tcp", "udp"] {
                let frames = seen.kinds.get(kind).copied().unwrap_or(0);
                assert!(frames >= 8, "{round} {isp}: {frames} of {kind}: {seen:?}");
            }
        }
        if round == 1 {
            becomes(&site, "isp1", "down", SOON);
        }
    }
    // Each was answered where it was asked.
    becomes(&site, "isp1", "up", Duration::from_secs(8));
    assert!(eventually(SOON, || site.wan("isp1", "carrying") == true));
    finish(site);
}
