//! Whole routers in seeded storms: two to four WANs, the real machines, real packets; links, silent lines and operators by lot.
//!
//! What holds after every step of every seed: nothing is made on a WAN that was left, and nothing new goes to one that is not fit while
//! one of its group is; the books balance (X-1, by the site); a way back comes neither before its time nor by itself where it is the
//! operator's. At the end all is mended, and new flows go where they did at first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use turnout::base::Nanos;
use turnout::sim::seeds::{seeds, whole};

/// Names, own addresses and gateways of the WANs.
const LINES: [(&str, Ipv4Addr, &str); 4] = [
    ("isp1", P1, "203.0.113.1"),
    ("isp2", P2, "198.51.100.1"),
    ("isp3", Ipv4Addr::new(100, 127, 3, 2), "100.127.3.1"),
    ("isp4", Ipv4Addr::new(100, 127, 4, 2), "100.127.4.1"),
];
/// Flows to this port have a group of their own.
const VOICE: u16 = 5060;

/// A group as the profile has it.
#[derive(Debug, Default)]
struct Group {
    /// WANs and their tiers.
    members: Vec<(usize, u64)>,
    balance: bool,
    /// `None`: the operator's.
    after: Option<u64>,
}

struct Storm {
    seed: u64,
    rng: StdRng,
    site: Site,
    wans: usize,
    groups: [Group; 2],
    /// The last event that was looked at.
    seq: u64,
    /// When each WAN came to be as it is, or was before, in ns.
    since: [Vec<u64>; 4],
    port: u16,
    id: u16,
    backs: u32,
    overs: u32,
}

fn draw(rng: &mut StdRng, wans: usize) -> Group {
    let mut members: Vec<_> = (0..wans).map(|wan| (wan, rng.random_range(1..=3))).collect();
    members.retain(|_| rng.random_range(0..5) > 0);
    if members.is_empty() {
        members.push((0, 1));
    }
    let after = (rng.random_range(0..4) > 0).then(|| rng.random_range(0..4_000));
    Group { members, balance: rng.random(), after }
}

fn written(group: &Group, name: &str, best: bool) -> String {
    let member = |(wan, tier): &(usize, u64)| format!("{{ wan: {}, tier: {tier} }}", LINES[*wan].0);
    let members: Vec<String> = group.members.iter().map(member).collect();
    let mode = if group.balance { "balance" } else { "failover" };
    let back = group.after.map_or("mode: manual".into(), |after| format!("after: {after}ms"));
    let none = if best { "best" } else { "unreachable" };
    format!(
        "  {name}: {{ mode: {mode}, members: [{}], failback: {{ {back} }}, when_none_fit: {none} }}\n",
        members.join(", ")
    )
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut rng = StdRng::seed_from_u64(seed);
        let wans = rng.random_range(2..=4);
        let groups = [draw(&mut rng, wans), draw(&mut rng, wans)];
        let mut text = String::from("version: 1\ninterfaces:\n");
        text += "  lan: { port: \"linux:lan0\", addresses: [192.168.10.1/24] }\n";
        for (name, own, gateway) in &LINES[..wans] {
            let _ = writeln!(
                text,
                "  {name}: {{ port: \"linux:{name}\", addresses: [{own}/29], gateway: {gateway} }}"
            );
        }
        let each = |(name, ..): &(&str, Ipv4Addr, &str)| format!("{name}: {{ health: h }}");
        let each: Vec<String> = LINES[..wans].iter().map(each).collect();
        let _ = writeln!(text, "wans: {{ {} }}", each.join(", "));
        let (failures, successes) = (rng.random_range(1..=3), rng.random_range(1..=4));
        let stable = rng.random_range(0..1_500);
        let _ = writeln!(
            text,
            "health: {{ h: {{ gateway: {{ arp: 100ms }}, down: {{ failures: {failures} }}, \
             up: {{ successes: {successes}, stable: {stable}ms, flap_max: 3s }} }} }}"
        );
        text += "groups:\n";
        text += &written(&groups[0], "default", rng.random());
        text += &written(&groups[1], "voice", rng.random());
        let _ = writeln!(
            text,
            "policy: [{{ protocol: [tcp, udp], port: {VOICE}, use: voice, otherwise: reject }}]"
        );
        let fate = |rng: &mut StdRng| if rng.random() { "rebind" } else { "drop" };
        let (reset, udp, icmp) = (rng.random_range(0..2_000), fate(&mut rng), fate(&mut rng));
        let _ =
            writeln!(text, "on_failover: {{ tcp: {{ reset_after: {reset}ms }}, udp: {udp}, icmp: {icmp} }}");
        let _ = writeln!(text, "on_failback: {{ drain: {}s }}", rng.random_range(1..20));
        text += "engine: { sessions: 4096 }\n";
        let site = Site::new(&text, 1 + seed as usize % 3).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let mut storm = Storm {
            seed,
            rng,
            site,
            wans,
            groups,
            seq: 0,
            since: Default::default(),
            port: 5000,
            id: 0,
            backs: 0,
            overs: 0,
        };
        meet(&mut storm.site);
        // While a group is starting nobody waits.
        storm.events(false);
        storm
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(10) {
            self.site.leap(Nanos::from_ms(10));
        }
        self.site.take_all();
    }

    /// What happened since the last look; `judge`: held against the profile.
    fn events(&mut self, judge: bool) {
        let Ok(all) = self.site.ask(Request::Events { follow: false }) else { return };
        let seed = self.seed;
        for event in all.as_array().unwrap() {
            if event["seq"].as_u64().unwrap() <= self.seq {
                continue;
            }
            self.seq = event["seq"].as_u64().unwrap();
            let wan = |key: &str| LINES.iter().position(|line| event[key] == line.0);
            let group = usize::from(event["group"] != "default");
            match event["kind"].as_str().unwrap() {
                "wan_state" => self.since[wan("wan").unwrap()].push(event["at_ns"].as_u64().unwrap()),
                "failover" => self.overs += 1,
                "failback" if judge => {
                    let its = &self.groups[group];
                    let detected = event["detected_ns"].as_u64().unwrap();
                    let turns = &self.since[wan("to").unwrap()];
                    let waited = detected - turns.iter().rfind(|at| **at <= detected).unwrap();
                    let after = its.after.unwrap_or(0);
                    assert!(waited >= after * 1_000_000, "seed {seed}: back too early: {event} {its:?}");
                    assert!(its.after.is_some() || its.balance, "seed {seed}: by itself: {event} {its:?}");
                    self.backs += 1;
                }
                _ => {}
            }
        }
    }

    fn weather(&mut self) {
        let line = LINES[self.rng.random_range(0..self.wans)].0;
        match self.rng.random_range(0..12) {
            0..=1 => self.site.set_link(line, false),
            2..=3 => self.site.set_link(line, true),
            4..=5 => self.site.set_silent(line, true),
            6..=8 => self.site.set_silent(line, false),
            n => {
                let admin = [Admin::Auto, Admin::Auto, Admin::Down, Admin::Drain][(n - 9) % 4];
                let admin = if self.rng.random_range(0..3) == 0 { Admin::Drain } else { admin };
                let force = self.rng.random_range(0..4) == 0;
                let _ = self.site.ask(Request::Wan { name: line.into(), admin, force });
            }
        }
    }

    /// Who of a group is fit, by its number.
    fn fit(&mut self, group: usize) -> Vec<usize> {
        let wans = self.site.ask(Request::Wans).unwrap();
        let is = |wan: usize| {
            let its = &wans[wan];
            (its["state"] == "up" || its["state"] == "degraded") && its["admin"] == "auto"
        };
        self.groups[group].members.iter().map(|member| member.0).filter(|wan| is(*wan)).collect()
    }

    /// Packets of flows that are there, and of new ones; answers to what left.
    fn traffic(&mut self) {
        let seed = self.seed;
        let queue = self.rng.random_range(0..3usize);
        self.site.use_queue(queue);
        for _ in 0..8 {
            let fresh = self.rng.random_range(0..3) == 0;
            self.port += u16::from(fresh);
            let port = if fresh { self.port } else { self.rng.random_range(5000..=self.port) };
            let client = ([H1, H2][usize::from(port % 2)], port);
            let group = usize::from(port % 3 == 0);
            let remote = (E1, [80, VOICE][group]);
            let mut packet = match (port % 4, fresh) {
                (0, true) => Packet::tcp(client, remote, SYN, 1, 0, b""),
                (0, false) => Packet::tcp(client, remote, ACK, 2, 77, b"x"),
                (1, _) if group == 0 => Packet::ping(client.0, E1, port, 1),
                _ => Packet::udp(client, remote, b"x"),
            };
            self.id = self.id.wrapping_add(1);
            packet.ip.id = self.id;
            let fit = self.fit(group);
            for (link, seen) in self.site.send("lan", &packet) {
                let Some(wan) = LINES.iter().position(|line| line.0 == link) else { continue };
                assert_eq!(seen.ip.src, LINES[wan].1, "seed {seed}");
                // What waited for its next hop may come with it.
                if fresh && !fit.is_empty() && seen.ip.id == self.id {
                    assert!(
                        fit.contains(&wan),
                        "seed {seed}: new on {link}, which is not fit, of {:?}",
                        self.groups[group]
                    );
                }
                if let (Some(tcp), true) = (seen.tcp(), self.rng.random()) {
                    let flags = if tcp.flags.syn() { SYN | ACK } else { ACK };
                    self.site.send(&link, &Packet::tcp(seen.dst(), seen.src(), flags, 76, 2, b""));
                }
            }
            assert_eq!(self.site.moved("mappings_on_left_wan"), 0, "seed {seed}");
        }
    }
}

#[test]
fn whatever_befalls_its_lines_a_router_puts_nothing_where_it_has_left_and_comes_back_in_its_time() {
    let (mut overs, mut backs) = (0, 0);
    for seed in seeds(240) {
        let mut storm = Storm::new(seed);
        for _ in 0..40 {
            storm.weather();
            storm.traffic();
            let span = [0, 10, 150, 400, 1_500, 5_000][storm.rng.random_range(0..6usize)];
            storm.run(span);
            storm.traffic();
            storm.events(true);
        }
        for (name, ..) in &LINES[..storm.wans] {
            storm.site.set_silent(name, false);
            storm.site.set_link(name, true);
            storm.site.ask(Request::Wan { name: (*name).into(), admin: Admin::Auto, force: false }).unwrap();
        }
        // The longest of the holds, the longest wait, the longest drain.
        storm.run(30_000);
        storm.traffic();
        storm.events(true);
        for group in 0..2 {
            assert_eq!(
                storm.fit(group).len(),
                storm.groups[group].members.len(),
                "seed {seed}: all are well"
            );
        }
        for lcore in storm.site.lcores() {
            lcore.router.nat.audit().unwrap();
        }
        let sessions = storm.site.ask(Request::Wans).unwrap();
        let sessions: u64 =
            sessions.as_array().unwrap().iter().map(|wan| wan["sessions"].as_u64().unwrap()).sum();
        assert_eq!(sessions as usize, live(&mut storm.site), "seed {seed}");
        (overs, backs) = (overs + storm.overs, backs + storm.backs);
        let moved: Vec<&str> = storm.site.counters().iter().map(|(name, _)| name).collect();
        let moved: Vec<&str> = moved.into_iter().filter(|name| storm.site.moved(name) > 0).collect();
        storm.site.finish(&moved).unwrap_or_else(|faults| panic!("seed {seed}: {faults}"));
    }
    assert!(!whole() || overs > 500 && backs > 200, "the weather was too calm: {overs} {backs}");
}
