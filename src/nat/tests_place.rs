//! Where mappings are put: which address, which port, what is kept out, and what many addresses cost.

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Instant;

use super::outbound::FromInside;
use super::rules::{FILTERING, Rate, Rules, Share};
use super::{Addresses, Choice, Env, Nat, NatConfig, Outbound, Timeouts, Translation, Uplinks};
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{Counters, DropReason, Tuple};
use crate::table::lent::PoolId;
use crate::wire::protocol::{ICMP, TCP, UDP};
use crate::wire::tcp::{Flags, Tcp};

pub(super) const REMOTE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A NAT and its uplinks, with as many addresses as they have.
pub(super) struct World {
    pub(super) nat: Nat,
    pub(super) up: Uplinks,
    pub(super) rules: Rules,
    pub(super) counters: Counters,
    pub(super) now: Nanos,
}

impl World {
    pub(super) fn new(wans: &[usize], sessions: u32, slice: impl Fn(u16) -> bool) -> World {
        World::with(&config(wans, sessions), slice)
    }

    pub(super) fn with(config: &NatConfig, slice: impl Fn(u16) -> bool) -> World {
        let uplink = |(wan, n): (usize, &usize)| {
            let first = u32::from_be_bytes([100, 64 + wan as u8, 0, 0]);
            let addresses = (0..*n as u32).map(|at| Ipv4Addr::from_bits(first + at)).map(|ip| (ip, ip));
            Addresses::new(addresses)
        };
        let up = Uplinks::well(config.wans.iter().enumerate().map(uplink), Some(WanId(0)));
        World {
            nat: Nat::new(config, &slice),
            up,
            rules: unlimited(),
            counters: Counters::default(),
            now: Nanos::from_s(1000),
        }
    }

    pub(super) fn send(&mut self, protocol: u8, host: u32, port: u16) -> Result<Translation, DropReason> {
        self.send_to(protocol, host, port, if protocol == ICMP { port } else { 53 })
    }

    pub(super) fn send_to(
        &mut self,
        protocol: u8,
        host: u32,
        port: u16,
        dst_port: u16,
    ) -> Result<Translation, DropReason> {
        let src = Ipv4Addr::from_bits(0x0a00_0000 + host);
        let tuple = Tuple { protocol, src, src_port: port, dst: REMOTE, dst_port };
        let flags = Flags(Flags::SYN);
        let syn = Tcp { src: port, dst: dst_port, seq: 1, ack: 0, header_len: 20, flags };
        let tcp = (protocol == TCP).then_some(syn);
        let mut env = Env { up: &self.up, rules: &self.rules, now: self.now, counters: &mut self.counters };
        let packet =
            FromInside { ingress: IfaceId(0), tuple: &tuple, tcp, reply: false, bytes: 60, pin: None };
        match self.nat.outbound(&packet, &mut env) {
            Outbound::Translate(to) => Ok(to),
            Outbound::Drop(why) | Outbound::Reset(why) => Err(why),
        }
    }
}

fn unlimited() -> Rules {
    let share = Share::Limit(u32::MAX);
    let most = u32::MAX;
    Rules {
        ports_per_host: share,
        sessions_per_host: share,
        creation_rate: Rate::per_second(most),
        share_ports: false,
        ..Rules::default()
    }
}

pub(super) fn config(wans: &[usize], sessions: u32) -> NatConfig {
    let s = Nanos::from_s;
    let timeouts = Timeouts::new(s(7440), s(240), s(300), &[], s(60), s(600));
    NatConfig {
        sessions,
        timeouts,
        wans: wans.to_vec(),
        filtering: FILTERING,
        quarantine: Default::default(),
        reserved: Vec::new(),
        paired: false,
        reserve: false,
        seed: 7,
    }
}

#[test]
fn rfc4787_2_and_rfc6888_2a_a_host_has_one_address_of_the_pool_whatever_it_opens() {
    for addresses in [2, 8, 257] {
        let mut world = World::new(&[addresses], 60_000, |_| true);
        let mut hosts = BTreeMap::<Ipv4Addr, usize>::new();
        for host in 0..100 {
            let mut its = HashSet::new();
            for n in 0..200u16 {
                let protocol = [UDP, TCP, ICMP][usize::from(n % 3)];
                its.insert(world.send(protocol, host, 10_000 + n * 7).unwrap().addr);
            }
            assert_eq!(its.len(), 1, "{addresses} addresses");
            *hosts.entry(its.into_iter().next().unwrap()).or_default() += 1;
        }
        // And the hosts are spread over them.
        assert!(hosts.len() > addresses.min(60) / 2 && *hosts.values().max().unwrap() <= 66, "{hosts:?}");
    }
}

#[test]
fn rfc7857_5_and_rfc4787_2_a_host_whose_address_is_full_is_refused_and_not_put_onto_another() {
    // 20 ports for each of 4 addresses, and another worker, which may lend.
    let mut world = World::new(&[4], 4096, |port| (2000..2020).contains(&port));
    let mine = world.send(UDP, 1, 5000).unwrap().addr;
    let mut got = HashSet::new();
    for n in 1..200 {
        match world.send(UDP, 1, 5000 + n) {
            Ok(to) => {
                assert_eq!(to.addr, mine);
                assert!(got.insert(to.port), "rfc4787_3: no overloading");
            }
            Err(why) => assert_eq!(why, DropReason::NatPortsExhausted),
        }
    }
    assert_eq!(got.len(), 19);
    let address = world.up.wans[0].addresses.position(mine).unwrap();
    let pool = PoolId { wan: WanId(0), address, protocol: UDP };
    assert_eq!(world.nat.wants_ports(), Some((pool, 0)), "more ports were asked for");
    world.nat.told();
    assert_eq!(world.nat.wants_ports(), None, "once");
    // Those of other addresses, and its own of another protocol, are not touched.
    let other = (2..100).find_map(|host| world.send(UDP, host, 5000).ok()).unwrap();
    assert_ne!(other.addr, mine);
    assert_eq!(world.send(TCP, 1, 5000).unwrap().addr, mine);
    assert_eq!(world.send(UDP, 1, 5000).unwrap().addr, mine, "what it has, it keeps");
}

#[test]
fn rfc4787_3a1_and_rfc4787_3a2_and_rfc4787_4_outside_ports_are_as_inside_ones_and_identifiers_are_any() {
    for addresses in [1, 5, 3000] {
        let mut world = World::new(&[addresses], 60_000, |_| true);
        for host in 0..100 {
            for inside in [1, 22, 123, 500, 1023, 1024, 1025, 4500, 5060, 40_001, 65_534, 65_535] {
                for protocol in [UDP, TCP] {
                    let outside = world.send(protocol, host, inside).unwrap().port;
                    assert_eq!((outside % 2, outside < 1024), (inside % 2, inside < 1024), "{inside}");
                    assert!(outside > 0);
                }
            }
        }
        let ids: HashSet<u16> = (0..1000).map(|host| world.send(ICMP, host, 0).unwrap().port).collect();
        assert!(ids.iter().any(|id| id % 2 == 1) && !ids.contains(&0));
        assert!(addresses > 1 || ids.len() == 1000);
    }
}

#[test]
fn reserved_ports_are_never_given_out() {
    let wan = WanId(1);
    let mut config = config(&[1, 1], 200_000);
    config.reserved = vec![
        (wan, 0, UDP, 1024, 60_000),
        (wan, 0, UDP, 60_000, 60_009),
        (wan, 0, TCP, 443, 443),
        // Nothing to take out of.
        (WanId(9), 0, UDP, 1, 2),
        (wan, 9, UDP, 1, 2),
        (wan, 0, UDP, 9, 2),
    ];
    let mut world = World::with(&config, |_| true);
    world.up.groups[0].choice = Choice::One(wan);
    let open = |world: &mut World, protocol, inside: fn(u16) -> u16| -> HashSet<u16> {
        let all = (0..=u16::MAX).filter_map(|n| world.send(protocol, u32::from(n), inside(n)).ok());
        all.map(|to| to.port).collect()
    };
    let udp = open(&mut world, UDP, |n| n | 1024);
    assert_eq!(udp, (60_010..=u16::MAX).collect());
    let low = open(&mut world, TCP, |_| 443);
    assert_eq!(low.len(), 65_534);
    assert!(!low.contains(&443) && !low.contains(&0));
}

#[test]
fn rfc6888_3a_pools_of_1_to_65536_addresses_are_there_at_once_and_take_memory_as_they_are_used() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    for addresses in [1, 3, 257, 65_536] {
        let (before, start) = (resident(), Instant::now());
        let mut world = World::new(&[addresses, addresses], 4096, |port| port % 128 < 64);
        assert!(start.elapsed().as_secs() < 2, "{addresses}: {:?}", start.elapsed());
        let ends: HashSet<(Ipv4Addr, u16)> = (0..1000)
            .map(|host| {
                let to = world.send(UDP, host, 5000).unwrap();
                (to.addr, to.port)
            })
            .collect();
        assert_eq!(ends.len(), 1000);
        // Other tests take some meanwhile. All of it would be 206 GB.
        assert!(resident() < before + (300 << 20), "{addresses}: {} more", resident() - before);
        let used: HashSet<Ipv4Addr> = ends.iter().map(|(addr, _)| *addr).collect();
        assert!(used.len() > addresses.min(1000) / 2);
    }
}
