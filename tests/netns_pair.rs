//! A pair of real processes under traffic: what a killed member costs, and that a move of the role that somebody wants costs nothing.
//!
//! The bounds of a kill are the promise (`timeout` and two beats) and what a machine adds whose two cores are shared by both members, the
//! hosts and the traffic: a thread that is to send or hear a beat may be woken some ten milliseconds late there. They hold for the median of three;
//! the worst may take twice as long.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use netns::pair::{Couple, other, profile};
use netns::pulse::{Pulse, tellers};
use netns::scene::{Talk, tcp_echo};
use netns::servers::tcp_server;
use netns::{Service, eventually, stderr};
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{INTERNET, Inside, WAN1};

const TALKS: u16 = 7000;
const FILES: u16 = 7001;
/// A download's pieces, and their number: some 4 s of it.
const PIECE: usize = 16 << 10;
const PIECES: usize = 1000;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The longest silence of a packet a millisecond, for each of three members that are killed one after the other.
fn outages(every: u64, timeout: u64) -> Option<Vec<Nanos>> {
    let mut couple = Couple::start(&profile(every, timeout, "mode: manual", ""))?;
    let _tellers = tellers(couple.host("inet"));
    let pulse = Pulse::stream(couple.host("lan1"));
    let mut outages = Vec::new();
    for active in ["a", "b", "a"] {
        couple.settles(active);
        std::thread::sleep(seconds(1));
        let at = couple.kill(active);
        std::thread::sleep(Duration::from_millis(timeout + 1500));
        let harm = pulse.harm(at, at + Nanos::from_ms(timeout + 1000));
        println!("{every}/{timeout} ms: {active} killed: {harm:?}");
        outages.push(harm.outage);
        // At the same place outside: it is the same session.
        assert_eq!(*pulse.place().ip(), WAN1);
        let took = couple.event(other(active), seconds(2), |e| e["kind"] == "cluster_role");
        assert_eq!((&took["to"], &took["cause"]), (&"active".into(), &"partner_lost".into()));
        couple.launch(active);
    }
    outages.sort_unstable();
    Some(outages)
}

#[test]
fn a_killed_member_costs_900_ms_at_most_by_beats_of_100_ms() {
    let Some(outages) = outages(100, 500) else { return };
    assert!(outages[1] <= Nanos::from_ms(900) && outages[2] <= Nanos::from_ms(1_800), "{outages:?}");
    // It was killed, and nobody knew at once.
    assert!(outages[0] >= Nanos::from_ms(300), "{outages:?}");
}

#[test]
fn a_killed_member_costs_150_ms_at_most_by_beats_of_10_ms() {
    let Some(outages) = outages(10, 50) else { return };
    assert!(outages[1] <= Nanos::from_ms(150) && outages[2] <= Nanos::from_ms(300), "{outages:?}");
}

/// The byte at a place of the file.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// Sends a file at a steady pace.
fn files(couple: &Couple) -> Service {
    tcp_server(couple.host("inet"), INTERNET[0], FILES, |mut stream, _| {
        stream.set_write_timeout(Some(seconds(20))).unwrap();
        for piece in 0..PIECES {
            let bytes: Vec<u8> = (piece * PIECE..(piece + 1) * PIECE).map(byte).collect();
            if stream.write_all(&bytes).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    })
}

/// A download that goes on; its thread says how it ended.
struct Download {
    got: Arc<AtomicU64>,
    thread: Inside<Result<usize, String>>,
}

fn download(couple: &Couple) -> Download {
    let got = Arc::new(AtomicU64::new(0));
    let count = got.clone();
    let get = move || {
        let at = SocketAddrV4::new(INTERNET[0], FILES);
        let mut stream = TcpStream::connect_timeout(&at.into(), seconds(3)).map_err(|e| e.to_string())?;
        stream.set_read_timeout(Some(seconds(10))).map_err(|e| e.to_string())?;
        let (mut some, mut all) = (vec![0; PIECE], 0);
        loop {
            let length = stream.read(&mut some).map_err(|e| format!("after {all}: {e}"))?;
            if some[..length].iter().zip(all..).any(|(is, at)| *is != byte(at)) {
                return Err(format!("other bytes than were sent, after {all}"));
            }
            all += length;
            count.store(all as u64, Ordering::Relaxed);
            if length == 0 {
                return Ok(all);
            }
        }
    };
    Download { got, thread: couple.host("lan2").spawn(get).unwrap() }
}

#[test]
fn a_download_and_a_conversation_go_on_through_a_kill_and_end_well() {
    let Some(mut couple) = Couple::start(&profile(50, 250, "mode: manual", "")) else { return };
    let _servers = [tcp_echo(couple.host("inet"), INTERNET[0], TALKS), files(&couple)];
    let talk = Talk::start(
        couple.host("lan1"),
        SocketAddrV4::new(INTERNET[0], TALKS),
        Some(Duration::from_millis(10)),
    );
    let download = download(&couple);
    let begun = || download.got.load(Ordering::Relaxed) > (PIECE * PIECES / 5) as u64;
    assert!(eventually(seconds(10), begun), "no download");
    couple.kill("a");
    let got = download.got.load(Ordering::Relaxed);
    assert!(!download.thread.is_finished() && got < (PIECE * PIECES) as u64, "too quick a download");
    couple.becomes("b", "active", seconds(2));
    assert_eq!(download.thread.join().unwrap(), Ok(PIECE * PIECES));
    assert!(talk.goes_on(seconds(5)), "{:?}", talk.end);
}

/// What goes through the pair while the role moves: a packet a millisecond, and a conversation by TCP.
struct Load {
    pulse: Pulse,
    talk: Talk,
    _servers: Vec<Service>,
}

impl Load {
    fn start(couple: &Couple) -> Load {
        let mut servers = tellers(couple.host("inet"));
        servers.push(tcp_echo(couple.host("inet"), INTERNET[0], TALKS));
        let to = SocketAddrV4::new(INTERNET[0], TALKS);
        let talk = Talk::start(couple.host("lan2"), to, Some(Duration::from_millis(5)));
        let pulse = Pulse::stream(couple.host("lan1"));
        std::thread::sleep(seconds(1));
        Load { pulse, talk, _servers: servers }
    }

    /// Nothing was lost since then, and all goes on from one place outside.
    fn lost_nothing(&self, since: Nanos, what: &str) {
        std::thread::sleep(Duration::from_millis(800));
        let harm = self.pulse.harm(since, clock::now());
        println!("{what}: {harm:?}");
        assert_eq!(harm.lost, 0, "{what}: {harm:?}");
        assert!(self.talk.goes_on(seconds(3)), "{what}: {:?}", self.talk.end);
        assert_eq!(*self.pulse.place().ip(), WAN1, "{what}");
    }
}

#[test]
fn a_yield_and_the_way_back_by_itself_lose_nothing() {
    let Some(couple) = Couple::start(&profile(50, 250, "after: 2s", "")) else { return };
    let load = Load::start(&couple);
    let at = clock::now();
    let out = couple.turnout("a", &["cluster", "yield"]);
    assert!(out.status.success(), "{}", stderr(&out));
    couple.becomes("b", "active", seconds(2));
    couple.becomes("a", "standby", seconds(2));
    load.lost_nothing(at, "yield");
    // Whom the operator set aside does not come back by himself.
    std::thread::sleep(seconds(4));
    assert_eq!(couple.role("b"), "active");
    let at = clock::now();
    let out = couple.turnout("b", &["cluster", "prefer", "a"]);
    assert!(out.status.success(), "{}", stderr(&out));
    couple.settles("a");
    load.lost_nothing(at, "prefer");
    let took = couple.event("a", seconds(2), |e| e["kind"] == "cluster_role");
    assert_eq!((&took["from"], &took["to"]), (&"standby".into(), &"active".into()), "{took}");
}

#[test]
fn a_member_that_is_stopped_hands_over_first_and_takes_back_by_itself_and_nothing_is_lost() {
    let Some(mut couple) = Couple::start(&profile(50, 250, "after: 2s", "")) else { return };
    let load = Load::start(&couple);
    let at = couple.stop("a");
    assert_eq!(couple.role("b"), "active");
    load.lost_nothing(at, "SIGTERM");
    let at = clock::now();
    couple.launch("a");
    couple.becomes("a", "active", seconds(15));
    couple.settles("a");
    load.lost_nothing(at, "the way back");
    let took = couple.event("a", seconds(2), |e| e["kind"] == "cluster_role" && e["to"] == "active");
    assert_eq!(took["cause"], "handed_over");
}

#[test]
fn both_members_are_replaced_one_after_the_other_and_nothing_is_lost() {
    let Some(mut couple) = Couple::start(&profile(50, 250, "mode: manual", "")) else { return };
    let load = Load::start(&couple);
    let at = couple.stop("b");
    couple.launch("b");
    couple.settles("a");
    let out = couple.turnout("a", &["cluster", "yield"]);
    assert!(out.status.success(), "{}", stderr(&out));
    couple.settles("b");
    couple.stop("a");
    couple.launch("a");
    couple.settles("b");
    load.lost_nothing(at, "both replaced");
}
