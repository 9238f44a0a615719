//! What becomes of sessions when a line dies, blinks, comes back or changes its address: calls that stay together, downloads
//! that go on, connections that are told in time or not at all, answers that leave by the WAN of the question.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;
#[path = "netns/quic.rs"]
mod quic;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use netns::capture::Capture;
use netns::pulse::{Pulse, TELLER, teller, tellers};

use netns::scene::{QUICK, Talk, becomes, failovers, finish, metered, scene, settles, tcp_echo};
use netns::servers::tcp_server;
use netns::{Site, eventually, stderr};
use quic::{Download, server};
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{INTERNET, ISP_PORT, Inside, LAN2, Netns, WAN1, WAN2};

const SOON: Duration = Duration::from_secs(4);
const ECHO: SocketAddrV4 = SocketAddrV4::new(INTERNET[0], 7007);

fn told_by(host: u8) -> SocketAddrV4 {
    SocketAddrV4::new(INTERNET[usize::from(host)], TELLER)
}

/// A conversation of a phone from a port of its own.
fn call(site: &Site, port: u16, with: u8, every: u64) -> Pulse {
    let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    Pulse::start(site.host("lan1"), from, told_by(with), Nanos::from_ms(every))
}

#[test]
fn a_phone_registers_and_speaks_by_the_same_address_before_and_after_failover_and_failback() {
    let rest = "policy: [{ from: 192.168.10.10, use: default }]\n";
    let Some(site) = Site::start(&scene(QUICK, rest)) else { return };
    let _servers = tellers(site.host("inet"));
    settles(&site);
    let signalling = call(&site, 5060, 0, 1000);
    let media = [call(&site, 10_000, 1, 20), call(&site, 10_002, 2, 20)];
    let together = |what: &[&Pulse], wan: Ipv4Addr| {
        for pulse in what {
            assert!(pulse.leaves_by(wan, SOON), "{:?} instead of {wan}", pulse.source());
        }
        let at = clock::now();
        std::thread::sleep(Duration::from_millis(2_200));
        for pulse in what {
            let sources = pulse.sources(at, clock::now());
            assert_eq!(sources.iter().collect::<Vec<_>>(), [&wan], "of {:?}", pulse.source());
        }
    };
    together(&[&signalling, &media[0], &media[1]], WAN1);

    let seq = site.seq();
    site.lab.link_down("isp1").unwrap();
    site.event_after(seq, "failover", SOON);
    let next = call(&site, 10_004, 1, 20);
    together(&[&signalling, &media[0], &media[1], &next], WAN2);

    // Back on the first line nothing moves by itself, and what this phone opens goes where it is registered.
    let at = site.lab.link_up("isp1").unwrap();
    site.event_after(seq, "failback", Duration::from_secs(8));
    let last = call(&site, 10_006, 2, 20);
    together(&[&signalling, &media[0], &media[1], &next, &last], WAN2);
    let other = Pulse::stream(site.host("lan2"));
    assert_eq!(*other.source().unwrap().ip(), WAN1, "a host without a call uses the better line");
    for pulse in [&signalling, &media[0], &media[1], &next] {
        assert_eq!(pulse.lost_since(at), 0);
    }
    drop((signalling, media, next, last, other));
    // Told once for each group that has moved.
    assert!(failovers(&finish(site)).iter().all(|f| f == "isp1 to isp2: link lost"));
}

#[test]
fn a_quic_download_outlives_its_wan_without_a_word_to_the_application() {
    const SIZE: usize = 12 << 20;
    let Some(site) = Site::start(&scene(QUICK, "")) else { return };
    settles(&site);
    let at = SocketAddrV4::new(INTERNET[0], 4433).into();
    let (server, certificate) = server(site.host("inet"), at, SIZE);
    let download = Download::start(site.host("lan1"), at, certificate, SIZE);
    assert!(eventually(SOON, || download.got() > 1 << 20), "{}", download.got());
    let seq = site.seq();
    site.lab.link_down("isp1").unwrap();
    let before = download.got();
    site.event_after(seq, "failover", SOON);
    let began = clock::now();
    assert!(
        eventually(Duration::from_secs(5), || download.got() > before + (1 << 20)),
        "{before}: {}",
        download.got()
    );
    println!("another MiB {:?} after the failover", clock::now().since(began));
    assert!(!download.over(), "too short to have seen anything");
    // And back, while it runs.
    site.lab.link_up("isp1").unwrap();
    assert!(eventually(Duration::from_secs(20), || download.over()), "{} of {SIZE}", download.got());
    assert_eq!(download.join(), Ok(()));
    assert_eq!(server.served.load(std::sync::atomic::Ordering::Relaxed), 1, "it has called again");
    finish(site);
}

const PART: usize = 16 * 1024;

/// Asks for the rest of an object from a place on, again and again until it has all. Returns what came, and each cut: when,
/// after how many bytes, by what.
fn resuming(host: &Netns, size: usize) -> Inside<(Vec<u8>, Vec<Cut>)> {
    let to = SocketAddrV4::new(INTERNET[0], 8000);
    let work = move || {
        let (mut got, mut cuts) = (Vec::new(), Vec::new());
        while got.len() < size {
            let mut once = || {
                let mut stream = TcpStream::connect_timeout(&to.into(), Duration::from_secs(3))?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                writeln!(stream, "{:08}", got.len())?;
                let mut part = vec![0u8; PART];
                while got.len() < size {
                    match stream.read(&mut part)? {
                        0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                        n => got.extend_from_slice(&part[..n]),
                    }
                }
                Ok(())
            };
            let end: std::io::Result<()> = once();
            if let Err(e) = end {
                cuts.push((clock::now(), got.len(), e.kind()));
                assert!(cuts.len() < 10, "{cuts:?}");
            }
        }
        (got, cuts)
    };
    host.spawn(work).unwrap()
}

type Cut = (Nanos, usize, std::io::ErrorKind);

#[test]
fn a_download_is_reset_in_time_and_resumes_and_an_idle_connection_is_told_within_half_a_minute() {
    const SIZE: usize = 24 << 20;
    let rest = "on_failover: { tcp: { reset_after: 1s } }\n";
    let Some(site) = Site::start(&scene(QUICK, rest)) else { return };
    settles(&site);
    let _server = tcp_server(site.host("inet"), INTERNET[0], 8000, |mut stream, _| {
        let mut from = [0u8; 9];
        if stream.read_exact(&mut from).is_err() {
            return;
        }
        let from: usize = std::str::from_utf8(&from).unwrap().trim().parse().unwrap();
        let content: Vec<u8> = (from..SIZE).map(quic::byte).collect();
        for part in content.chunks(PART) {
            if stream.write_all(part).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    });
    let _echo = tcp_echo(site.host("inet"), INTERNET[0], ECHO.port());
    let idle = Talk::start(site.host("lan2"), ECHO, None);
    // Long enough quiet to be no active one.
    std::thread::sleep(Duration::from_secs(6));
    let download = resuming(site.host("lan1"), SIZE);
    std::thread::sleep(Duration::from_millis(1_500));
    let seq = site.seq();
    site.lab.link_down("isp1").unwrap();
    let event = site.event_after(seq, "failover", SOON);
    let published = Nanos(event["published_ns"].as_u64().unwrap());
    let told = idle.reset_within(Duration::from_secs(32));
    println!("the idle one was told {:?} after the failover", told.since(published));
    assert!(told.since(published) >= Nanos::from_ms(900), "{:?}", told.since(published));
    let (got, cuts) = download.join().unwrap();
    println!("cuts: {:?}", cuts.iter().map(|c| (c.0.since(published), c.1, c.2)).collect::<Vec<_>>());
    assert_eq!(cuts.len(), 1);
    let (at, _, kind) = cuts[0];
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
    let after = at.since(published);
    assert!(after >= Nanos::from_ms(900) && after <= Nanos::from_ms(2_600), "{after:?}");
    assert!(got.len() == SIZE && got.iter().enumerate().all(|(i, b)| *b == quic::byte(i)));
    drop(idle);
    let why = finish(site);
    assert_eq!(why[0]["moved"]["tcp_reset"], 2, "{:#}", why[0]);
}

#[test]
fn a_blip_shorter_than_the_patience_resets_nothing() {
    let rest = "on_failover: { tcp: { reset_after: 4s } }\n";
    let profile = scene(&QUICK.replace("stable: 500ms", "stable: 200ms"), rest);
    let Some(site) = Site::start(&profile) else { return };
    settles(&site);
    let _echo = tcp_echo(site.host("inet"), INTERNET[0], ECHO.port());
    let talk = Talk::start(site.host("lan1"), ECHO, Some(Duration::from_millis(20)));
    let idle = Talk::start(site.host("lan2"), ECHO, None);
    type Deed = fn(&Site) -> Nanos;
    let deeds: [(Deed, Deed); 2] = [
        (|s| s.lab.link_down("isp1").unwrap(), |s| s.lab.link_up("isp1").unwrap()),
        (|s| s.lab.blackhole("isp1").unwrap(), |s| s.lab.heal("isp1").unwrap()),
    ];
    for (harm, mend) in deeds {
        let seq = site.seq();
        harm(&site);
        site.event_after(seq, "failover", SOON);
        // What is new does not wait for the line.
        let new = Talk::start(site.host("lan2"), ECHO, Some(Duration::from_millis(20)));
        assert!(new.goes_on(SOON));
        std::thread::sleep(Duration::from_millis(700));
        mend(&site);
        site.event_after(seq, "failback", Duration::from_secs(8));
        assert!(talk.goes_on(SOON), "{:?}", talk.end.lock().unwrap());
        std::thread::sleep(Duration::from_secs(5));
        assert!(talk.goes_on(SOON) && new.goes_on(SOON) && idle.end.lock().unwrap().is_none());
    }
    assert_eq!(site.json(&["counters"])["sessions_reset"], 0);
    drop((talk, idle));
    assert_eq!(failovers(&finish(site)), ["isp1 to isp2: gateway silent", "isp1 to isp2: link lost"]);
}

const FORWARDS: &str = "forwards:
  - { wans: [isp1, isp2], protocol: [tcp], port: 8443, to: \"192.168.10.11:7007\" }
  - { wans: [isp1, isp2], protocol: [udp], port: 5000, to: \"192.168.10.11:4000\" }
";

#[test]
fn what_was_asked_from_outside_is_answered_by_the_wan_of_the_question_whichever_is_preferred() {
    let Some(site) = Site::start(&scene(QUICK, FORWARDS)) else { return };
    settles(&site);
    let _tcp = tcp_echo(site.host("lan2"), LAN2, 7007);
    let _udp = teller(site.host("lan2"), SocketAddrV4::new(LAN2, TELLER));
    let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    let inet = site.host("inet");
    let by = |wan| {
        (
            Talk::start(inet, SocketAddrV4::new(wan, 8443), Some(Duration::from_millis(20))),
            Pulse::start(inet, any, SocketAddrV4::new(wan, 5000), Nanos::from_ms(10)),
        )
    };
    let captures = [("isp1", WAN1), ("isp2", WAN2)]
        .map(|(isp, own)| (isp, own, Capture::start(site.host(isp), ISP_PORT)));
    let (first, second) = (by(WAN1), by(WAN2));
    assert!(first.1.answers(SOON) && second.1.answers(SOON));
    let at = clock::now();
    let seq = site.seq();
    site.lab.link_down("isp1").unwrap();
    site.event_after(seq, "failover", SOON);
    assert!(second.0.goes_on(SOON) && second.1.answers(SOON));
    site.lab.link_up("isp1").unwrap();
    site.event_after(seq, "failback", Duration::from_secs(8));
    // Through it all the second was not touched; the first is asked anew.
    let again = by(WAN1);
    assert!(again.0.goes_on(SOON) && again.1.answers(SOON));
    std::thread::sleep(Duration::from_millis(500));
    assert!(second.0.goes_on(SOON));
    assert_eq!(second.1.lost_since(at), 0);
    drop((first, second, again));
    for (isp, own, capture) in captures {
        let seen = capture.stop();
        assert_eq!(seen.sources.keys().collect::<Vec<_>>(), [&own], "{isp}: {seen:?}");
        assert!(seen.frames() > 100, "{isp}: {seen:?}");
    }
    finish(site);
}

#[test]
fn a_wan_whose_address_changes_by_reload_takes_its_flows_along_and_leaves_the_other_line_alone() {
    let profile = scene(QUICK, &format!("{FORWARDS}policy: [{{ from: 192.168.10.11, use: isp2 }}]\n"));
    let Some(mut site) = Site::start(&profile) else { return };
    settles(&site);
    let _servers = tellers(site.host("inet"));
    let _echo = tcp_echo(site.host("inet"), INTERNET[0], ECHO.port());
    let stream = Pulse::stream(site.host("lan1"));
    let other = Pulse::stream(site.host("lan2"));
    let cut = Talk::start(site.host("lan1"), ECHO, Some(Duration::from_millis(20)));
    let kept = Talk::start(site.host("lan2"), ECHO, Some(Duration::from_millis(20)));
    assert!(stream.leaves_by(WAN1, SOON) && other.leaves_by(WAN2, SOON));

    let at = clock::now();
    let moved = Ipv4Addr::new(203, 0, 113, 3);
    let changed = profile.replace("203.0.113.2/29", "203.0.113.3/29");
    assert_ne!(changed, profile);
    std::fs::write(site.router.profile(), changed.replace("@SOCKET@", site.lab.socket().to_str().unwrap()))
        .unwrap();
    let out = site.turnout(&["reload"]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert!(stream.leaves_by(moved, SOON), "{:?}", stream.source());
    let reset = cut.reset_within(SOON);
    println!("reset {:?} after the order", reset.since(at));
    assert_eq!(site.wan("isp1", "address"), "203.0.113.3");
    assert!(kept.goes_on(SOON) && other.leaves_by(WAN2, SOON));

    // And back, by a signal; what has no mistakes left is lost to nobody else.
    site.router.reload(&profile).unwrap();
    assert!(stream.leaves_by(WAN1, SOON), "{:?}", stream.source());
    std::thread::sleep(Duration::from_millis(500));
    assert!(kept.goes_on(SOON));
    let harm = stream.harm(at, clock::now());
    println!("the stream through both changes: {harm:?}");
    assert!(harm.outage < Nanos::from_ms(1_500), "{harm:?}");
    assert_eq!((other.lost_since(at), other.sources(at, clock::now()).len()), (0, 1));
    drop((stream, other, cut, kept));
    finish(site);
}

#[test]
fn what_is_left_on_a_metered_line_moves_when_its_time_is_over_and_loses_nothing() {
    let rest = "on_failback: { metered: 2s, then: { tcp: reset, udp: rebind } }\n\
         policy: [{ from: 192.168.10.11, use: isp2 }]\n";
    let Some(site) = Site::start(&metered(&scene(QUICK, rest))) else { return };
    settles(&site);
    let _servers = tellers(site.host("inet"));
    let _echo = tcp_echo(site.host("inet"), INTERNET[0], ECHO.port());
    let stream = Pulse::stream(site.host("lan1"));
    // Whose place is the metered line, whatever the others do.
    let resident = Pulse::stream(site.host("lan2"));
    let stays = Talk::start(site.host("lan2"), ECHO, Some(Duration::from_millis(20)));
    let seq = site.seq();
    site.lab.link_down("isp1").unwrap();
    assert!(stream.leaves_by(WAN2, SOON));
    let talk = Talk::start(site.host("lan1"), ECHO, Some(Duration::from_millis(20)));
    let at = site.lab.link_up("isp1").unwrap();
    let event = site.event_after(seq, "failback", Duration::from_secs(8));
    let back = Nanos(event["published_ns"].as_u64().unwrap());
    assert!(stream.leaves_by(WAN1, SOON), "{:?}", stream.source());
    let reset = talk.reset_within(SOON).since(back);
    assert!(reset >= Nanos::from_ms(1_900) && reset < Nanos::from_s(4), "{reset:?}");
    std::thread::sleep(Duration::from_millis(400));
    let early = stream.sources(back, back + Nanos::from_ms(1_900));
    assert_eq!(early.iter().collect::<Vec<_>>(), [&WAN2], "moved before its time");
    assert_eq!(stream.lost_since(at), 0);
    assert_eq!((resident.lost_since(at), resident.sources(at, clock::now()).len()), (0, 1));
    assert!(stays.goes_on(SOON));
    drop((stream, resident, talk, stays));
    becomes(&site, "isp1", "up", SOON);
    finish(site);
}
