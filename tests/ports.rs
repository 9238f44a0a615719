//! Workers lend external ports to each other: an address gives out every port it has, whoever owns the hosts, each port is
//! in one place, replies find it, and nobody can take them all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use turnout::base::{WanId, WorkerId};
use turnout::engine::steer::Steer;
use turnout::sim::seeds::seeds;
use turnout::table::lent::PoolId;
use turnout::wire::protocol;

/// From 1024 on, without those of the router's own probes.
const PORTS: usize = 64_512 - 65;
/// UDP on the address of isp1.
const POOL: PoolId = PoolId { wan: WanId(0), address: 0, protocol: protocol::UDP };
/// Of the flows that are opened.
const REMOTE: End = (E1, 80);
/// Whether a test met them depends on its last ports.
const PERHAPS: [&str; 6] = [
    "sessions_refused",
    "drop_nat_ports_exhausted",
    "icmp_errors_sent",
    "icmp_errors_limited",
    "sessions_expired",
    "drop_neighbor_hold",
];

fn wide(workers: usize) -> Site {
    let text = unlimited(400_000, "").replace("192.168.10.1/24", "10.0.0.1/16");
    Site::new(&text, workers).unwrap()
}

/// As CSIT has them: one address after the other.
fn hosts() -> impl Iterator<Item = Ipv4Addr> {
    (0x0a00_0100u32..).map(Ipv4Addr::from_bits)
}

/// Hosts of one worker.
fn hosts_of(workers: usize, worker: usize) -> impl Iterator<Item = Ipv4Addr> {
    let steer = Steer::new(workers);
    hosts().filter(move |host| steer.host(*host) == WorkerId(worker as u8))
}

fn packet((host, port): End) -> Packet {
    let data = [&host.octets()[..], &port.to_be_bytes()].concat();
    Packet::udp((host, port), REMOTE, &data)
}

/// Opens flows from these endpoints, 200 a millisecond; gives the outside endpoints of those that got one.
fn open(site: &mut Site, ends: &[End]) -> Vec<(End, End)> {
    // Else what tells them that they were refused waits for their address.
    ends.iter().for_each(|(host, _)| site.add_host("lan", *host));
    let out = flood(site, "lan", ends.iter().map(|end| packet(*end)));
    let sent = out.iter().filter(|(link, _)| link == "isp1");
    sent.map(|(_, seen)| {
        let d = seen.data();
        let host = Ipv4Addr::new(d[0], d[1], d[2], d[3]);
        ((host, u16::from_be_bytes([d[4], d[5]])), seen.src())
    })
    .collect()
}

/// Every port is in one place at most, that of its owner. Gives how many are in none: on their way.
fn missing(site: &mut Site) -> usize {
    let steer = Steer::new(site.lcores().len());
    let lent = site.view().lent.clone();
    let mut seen = HashSet::new();
    for (worker, lcore) in site.lcores().iter_mut().enumerate() {
        for port in lcore.router.nat.ports_of(POOL) {
            let owner = lent.holder(POOL, port).unwrap_or_else(|| steer.port(port));
            assert_eq!(owner.index(), worker, "{port} is in a pool of another one than its owner");
            assert!(port > 0 && seen.insert(port), "{port} is in two places");
        }
    }
    // The low ones are not lent: none of them is ever on its way.
    assert_eq!(seen.iter().filter(|port| **port < 1024).count(), 1023);
    PORTS + 1023 - seen.len()
}

/// Outside endpoints of live sessions, each of one inside endpoint.
fn endpoints(site: &mut Site) -> HashMap<End, End> {
    let now = site.now();
    let mut all = HashMap::new();
    for lcore in site.lcores() {
        lcore.router.nat.list(0, u32::MAX, now, |session, _| {
            let before = all.insert(session.outside(), session.inside());
            assert!(before.is_none_or(|inside| inside == session.inside()), "rfc4787_3: overloading");
        });
    }
    all
}

/// Ends a test in which ports were lent.
fn finish(mut site: Site) {
    site.run_ms(50);
    assert_eq!(missing(&mut site), 0, "a port is in no place");
    assert_eq!(site.moved("ports_lent"), site.moved("ports_borrowed"));
    let perhaps: Vec<&str> = PERHAPS.into_iter().filter(|name| site.moved(name) > 0).collect();
    site.finish(&and(&[&OPENED, &["ports_lent", "ports_borrowed"], &perhaps])).unwrap();
}

/// 63 flows of each host, all ports of the address; gives who has which.
fn fill(site: &mut Site, hosts: &[Ipv4Addr]) -> BTreeMap<End, End> {
    let mut given = BTreeMap::new();
    let workers = site.lcores().len();
    for (n, host) in hosts.iter().enumerate() {
        let left = PORTS - given.len();
        let mut ends: Vec<End> = (0..63).take(left).map(|port| (*host, 10_000 + port)).collect();
        site.use_queue(n % workers);
        // The last ports are everywhere: a host that is refused tries again.
        for round in 0..400 {
            for (inside, outside) in open(site, &ends) {
                assert_eq!(given.insert(outside, inside), None, "rfc4787_3: given out twice");
                ends.retain(|end| *end != inside);
            }
            if ends.is_empty() {
                break;
            }
            assert!(given.len() > PORTS * 98 / 100, "host {n} was refused, {} ports are given", given.len());
            assert!(round < 399, "host {n}: {} of 63 got no port, {} given", ends.len(), given.len());
            site.run_ms(5);
        }
    }
    given
}

fn every_port(workers: usize, hosts: &[Ipv4Addr]) {
    let mut site = wide(workers);
    let given = fill(&mut site, hosts);
    assert_eq!(given.len(), PORTS);
    assert_eq!(endpoints(&mut site).len(), PORTS);
    // Replies arrive wherever they are received, the borrowed ports' as well, with or without a session that is known.
    let lent = site.view().lent.clone();
    let (borrowed, own): (Vec<_>, Vec<_>) =
        given.iter().partition(|((_, port), _)| lent.holder(POOL, *port).is_some());
    assert!(!borrowed.is_empty());
    let some = borrowed.iter().step_by(borrowed.len() / 8 + 1).chain(own.iter().step_by(own.len() / 4 + 1));
    for (n, (outside, inside)) in some.enumerate() {
        // So that the router knows where it is.
        site.send("lan", &Packet::ping(inside.0, Ipv4Addr::new(10, 0, 0, 1), 1, 1));
        site.run_ms(1);
        site.take_all();
        site.use_queue(n % workers);
        for _ in 0..2 {
            assert_eq!(udp_in(&mut site, "isp1", REMOTE, **outside), Some(**inside));
        }
    }
    finish(site);
}

#[test]
fn rfc6888_13_two_workers_give_out_every_port_though_one_has_53_per_cent_of_the_hosts() {
    let mut hosts: Vec<Ipv4Addr> = hosts_of(2, 0).take(543).chain(hosts_of(2, 1).take(481)).collect();
    hosts.sort();
    every_port(2, &hosts);
}

#[test]
fn rfc6888_13_three_workers_give_out_every_port_to_1024_hosts_in_a_row() {
    every_port(3, &hosts().take(1024).collect::<Vec<_>>());
}

#[test]
fn rfc6888_13_four_workers_give_out_every_port_to_1024_hosts_in_a_row() {
    every_port(4, &hosts().take(1024).collect::<Vec<_>>());
}

#[test]
fn rfc6888_13_eight_workers_give_out_every_port_to_1024_hosts_in_a_row() {
    every_port(8, &hosts().take(1024).collect::<Vec<_>>());
}

#[test]
fn a_host_that_takes_all_it_can_get_leaves_the_others_something_to_begin_with() {
    let workers = 4;
    let mut site = wide(workers);
    let glutton = hosts_of(workers, 0).next().unwrap();
    let all: Vec<End> = (0..u16::MAX).map(|port| (glutton, port)).collect();
    // At its leisure, so that it gets all that is lent.
    let mut got = 0;
    for some in all.chunks(1000) {
        got += open(&mut site, some).len();
        site.run_ms(20);
    }
    assert!(got > PORTS * 9 / 10, "{got}: what nobody else needs is lent");
    assert!(site.moved("drop_nat_ports_exhausted") > 0);
    for worker in 1..workers {
        let ends: Vec<End> = hosts_of(workers, worker)
            .take(4)
            .flat_map(|host| (0..60).map(move |p| (host, 5000 + p)))
            .collect();
        assert_eq!(open(&mut site, &ends).len(), ends.len(), "worker {worker}");
    }
    endpoints(&mut site);
    finish(site);
}

#[test]
fn every_port_is_in_one_place_whatever_is_opened_and_expires() {
    for seed in seeds(6) {
        let mut rng = StdRng::seed_from_u64(seed);
        let workers = [2, 3, 5, 8, 16, 40][seed as usize % 6];
        let mut site = wide(workers);
        let hosts: Vec<Vec<Ipv4Addr>> =
            (0..workers).map(|w| hosts_of(workers, w).take(4).collect()).collect();
        let mut next = 0u16;
        for _ in 0..12 {
            let worker = rng.random_range(0..workers);
            let slice = PORTS / workers;
            let ends: Vec<End> = (0..rng.random_range(slice / 2..slice * 2).min(9000))
                .map(|n| (hosts[worker][n % 4], next.wrapping_add(n as u16)))
                .collect();
            next = next.wrapping_add(ends.len() as u16);
            for some in ends.chunks(1000) {
                site.use_queue(rng.random_range(0..workers));
                open(&mut site, some);
                missing(&mut site);
            }
            endpoints(&mut site);
            if rng.random_bool(0.4) {
                site.run_coarse(rng.random_range(1..250), 500);
            }
        }
        finish(site);
    }
}
