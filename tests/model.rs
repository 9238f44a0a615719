//! The router against a model (`model/nat.rs`): the same traffic, at the same times, with every kind of profile. The same packets
//! must come out of both, and the listing must have the same sessions, in the same state, idle for as long.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "model/nat.rs"]
mod nat;
use common::*;
use nat::{FORWARD, Fate, Filter, H4, ICMP, Midstream, Model, NARROW, OWN, Shot, TCP, UDP};

use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use turnout::base::Nanos;
use turnout::sim::seeds::seeds;

const E3: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 7);
const PLAIN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LINKS: [&str; 3] = ["lan", "isp1", "isp2"];

fn profile(model: &Model) -> String {
    let filter = |f| match f {
        Filter::Anybody => "endpoint-independent",
        Filter::Address => "address-dependent",
        Filter::Session => "address-and-port-dependent",
    };
    let midstream = format!("{:?}", model.midstream).to_lowercase();
    let nat = format!(
        "filtering: {{ tcp: {}, udp: {} }}, midstream: {midstream}, hairpin: {}, \
         except: [{{ to: 10.0.0.0/8 }}], timeouts: {{ udp_ports: {{ 53: 10s }} }}",
        filter(model.tcp),
        filter(model.udp),
        model.hairpin,
    );
    unlimited(4096, &nat)
        + "forwards:
  - { wans: [isp1, isp2], protocol: [tcp, udp], port: 8443, to: \"192.168.10.11:443\" }
  - { wans: [isp1], protocol: [udp], port: 2000, from: 9.9.9.0/24, to: \"192.168.10.10:3000\" }
one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.13, when_down: drop }]
firewall: [{ in: isp1, to: 192.168.10.13, protocol: [tcp, icmp], action: accept }]
"
}

fn one<T: Copy>(rng: &mut StdRng, list: &[T]) -> T {
    list[rng.random_range(0..list.len())]
}

/// The next packet, and by which link it comes. Few ends, so that flows meet.
fn shot(rng: &mut StdRng, model: &Model) -> (usize, Shot) {
    let link = one(rng, &[0, 0, 0, 1, 1, 1, 2]);
    let protocol = one(rng, &[UDP, UDP, UDP, TCP, TCP, TCP, TCP, ICMP, 50, 0]);
    let flags = one(rng, &[SYN, SYN, SYN | ACK, ACK, ACK, FIN_ACK, RST, RST | ACK, SYN | 1, 0]);
    let remote = (one(rng, &[E1, E3, E2, PLAIN]), one(rng, &[80, 81, 53, 7000]));
    let live =
        (!model.sessions.is_empty()).then(|| &model.sessions[rng.random_range(0..model.sessions.len())]);
    let (mut src, mut dst) = match (link, live.filter(|_| rng.random_range(0..3) > 0)) {
        // A flow that lives, an other remote at its place, or somebody inside who speaks to that place.
        (0, Some(s)) if rng.random_range(0..4) == 0 => ((one(rng, &[H1, H2, H4]), 5000), s.outside),
        (0, Some(s)) => (s.inside, s.remote),
        (_, Some(s)) if rng.random_range(0..4) == 0 => (remote, s.outside),
        (_, Some(s)) => (s.remote, s.outside),
        (0, None) => {
            let host = (one(rng, &[H1, H2, H4]), one(rng, &[5000, 5001, 443, 3000]));
            let own = (one(rng, &[P1, P2, OWN]), one(rng, &[FORWARD.0, NARROW.0, 5000]));
            (host, if rng.random_range(0..6) == 0 { own } else { remote })
        }
        _ => {
            let to = one(rng, &[if link == 1 { P1 } else { P2 }, OWN, H1, P1]);
            (remote, (to, one(rng, &[FORWARD.0, NARROW.0, 5000, 5001])))
        }
    };
    if protocol == ICMP {
        // An echo has one identifier.
        let id = if link == 0 { src.1 } else { dst.1 };
        (src.1, dst.1) = (id, id);
    } else if protocol == 50 || protocol == 0 {
        (src.1, dst.1) = (0, 0);
    }
    let reply = protocol == ICMP && rng.random_range(0..2) == 0;
    (link, Shot { protocol, src, dst, flags: if protocol == TCP { flags } else { 0 }, reply })
}

fn packet(shot: &Shot, id: u16) -> Packet {
    let mut packet = match shot.protocol {
        UDP => Packet::udp(shot.src, shot.dst, b"data"),
        TCP => Packet::tcp(shot.src, shot.dst, shot.flags, 1, 1, b"data"),
        ICMP => {
            Packet::icmp(shot.src.0, shot.dst.0, if shot.reply { 0 } else { 8 }, 0, shot.dst.1, 1, b"data")
        }
        other => {
            let mut packet = Packet::udp((shot.src.0, 0), (shot.dst.0, 0), b"");
            packet.ip.protocol = other;
            packet
        }
    };
    packet.ip.id = id;
    packet
}

/// What became of a packet in the router.
fn fate(out: &[(String, Seen)], shot: &Shot, id: u16) -> Fate {
    let mut found = out.iter().filter(|(_, seen)| seen.ip.id == id && seen.ip.protocol == shot.protocol);
    let Some((link, seen)) = found.next() else { return Fate::Nothing };
    assert!(found.next().is_none(), "one packet came out twice: {out:?}");
    if !shot.reply && seen.icmp().is_some_and(|icmp| icmp.kind == 0) {
        return Fate::Echo;
    }
    let link = LINKS.iter().position(|l| l == link).unwrap();
    let end = |end: End| if matches!(shot.protocol, UDP | TCP | ICMP) { end } else { (end.0, 0) };
    Fate::Passed(link, end(seen.src()), end(seen.dst()))
}

fn rows(site: &mut Site) -> Vec<Value> {
    match site.ask(Request::Sessions(SessionFilter::default())).unwrap() {
        Value::Array(rows) => rows,
        one => vec![one],
    }
}

fn end(e: End) -> String {
    format!("{}:{}", e.0, e.1)
}

fn name(protocol: u8) -> &'static str {
    match protocol {
        UDP => "udp",
        TCP => "tcp",
        ICMP => "icmp",
        50 => "esp",
        _ => "0",
    }
}

fn listed(site: &mut Site) -> Vec<String> {
    let text = |row: &Value, key: &str| row[key].to_string().trim_matches('"').to_owned();
    let keys = ["protocol", "inside", "outside", "remote", "wan", "state", "idle_s"];
    let row = |row: &Value| keys.map(|key| text(row, key)).join(" ");
    let mut all: Vec<String> = rows(site).iter().map(row).collect();
    all.sort();
    all
}

fn predicted(model: &Model) -> Vec<String> {
    let row = |s: &nat::Session| {
        let idle = (model.now - s.touched) / 1000;
        let (inside, outside, remote) = (end(s.inside), end(s.outside), end(s.remote));
        format!("{} {inside} {outside} {remote} {} {} {idle}", name(s.protocol), LINKS[s.wan], s.state)
    };
    let mut all: Vec<String> = model.sessions.iter().map(row).collect();
    all.sort();
    all
}

fn play(seed: u64, steps: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let filters = [Filter::Anybody, Filter::Address, Filter::Session];
    let mut model = Model {
        now: 0,
        udp: one(&mut rng, &filters),
        tcp: one(&mut rng, &filters),
        midstream: one(&mut rng, &[Midstream::Reset, Midstream::Adopt, Midstream::Drop]),
        hairpin: rng.random_range(0..4) > 0,
        sessions: Vec::new(),
        ended: Vec::new(),
        pending: None,
    };
    let workers = rng.random_range(1..4);
    let mut site = Site::new(&profile(&model), workers).unwrap();
    site.add_host("lan", H4);
    meet(&mut site);
    site.pass("lan", &Packet::ping(H4, LAN, 1, 1)).unwrap();
    rows(&mut site).is_empty().then_some(()).unwrap();
    for step in 0..steps {
        if rng.random_range(0..12) == 0 {
            let ms = one(
                &mut rng,
                &[1, 999, 5_000, 9_999, 10_000, 59_999, 60_000, 239_999, 240_000, 299_999, 300_000],
            );
            site.leap(Nanos::from_ms(ms));
            model.pass(ms);
        }
        // What has come into a state of shorter life may have had it.
        model.pass(0);
        let (link, shot) = shot(&mut rng, &model);
        let id = step as u16 | 1;
        site.use_queue(rng.random_range(0..workers));
        let before = site.counters();
        let sent = site.send(LINKS[link], &packet(&shot, id));
        let is = fate(&sent, &shot, id);
        let listing = std::cell::OnceCell::new();
        let mut told = |protocol, inside: End, remote: End| {
            if let (Fate::Passed(1, src, _), 0) = (is, link) {
                return Some(src);
            }
            let rows = listing.get_or_init(|| rows(&mut site));
            let its = |row: &&Value| {
                row["protocol"] == name(protocol)
                    && row["inside"] == end(inside)
                    && row["remote"] == end(remote)
            };
            let outside = rows.iter().find(its)?["outside"].as_str()?.rsplit_once(':').unwrap();
            Some((outside.0.parse().unwrap(), outside.1.parse().unwrap()))
        };
        let should = if link == 0 { model.goes_out(&shot, &mut told) } else { model.comes_in(link, &shot) };
        let should = match should {
            Fate::Perhaps(..) if is == Fate::Nothing => Fate::Nothing,
            Fate::Perhaps(link, src, dst) => {
                model.sessions.extend(model.pending.take());
                Fate::Passed(link, src, dst)
            }
            sure => sure,
        };
        let near = |s: &&nat::Session| {
            [s.inside, s.outside, s.remote].iter().any(|e| *e == shot.src || *e == shot.dst)
        };
        let near = || model.sessions.iter().filter(near).map(|s| format!("\n{s:?}")).collect::<String>();
        let moved = || -> Vec<&str> {
            site.counters().iter().zip(before.iter()).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0).collect()
        };
        assert_eq!(
            is,
            should,
            "seed {seed}, step {step}: {shot:?} by {}: {:?}{}",
            LINKS[link],
            moved(),
            near()
        );
        if step % 16 == 0 {
            model.pass(0);
            assert_eq!(listed(&mut site), predicted(&model), "seed {seed}, step {step}: after {shot:?}");
        }
    }
    let moved: Vec<&str> = site.counters().iter().map(|(n, _)| n).filter(|n| site.moved(n) > 0).collect();
    site.finish(&moved).unwrap();
}

#[test]
fn x_7_and_x_8_and_rfc4787_1_the_router_does_what_a_model_of_two_lists_does() {
    for seed in seeds(24) {
        play(seed, 1500);
    }
}
