//! Two sites that get the same: one as it is, the other one by the long way alone; and traffic that has everything in it.

use std::net::Ipv4Addr;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use turnout::base::{IfaceId, Mac};
use turnout::packet::VecBuf;
use turnout::path::Router;
use turnout::table::hash::HashKey;
use turnout::table::neighbors::Neighbors;
use turnout::wire::arp::{Arp, Op};
use turnout::wire::{be16, protocol};

use crate::common::*;

/// Two inside networks, one behind a router on the first, and two WANs that come back soon.
pub const PROFILE: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  dmz:  { port: \"linux:dmz0\", addresses: [172.16.0.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
routes:
  - { to: 10.0.0.0/8, via: 192.168.10.11 }
wans:
  isp1: { health: quick }
  isp2: { health: quick }
health:
  quick: { gateway: { arp: 100ms }, down: { failures: 2 }, up: { successes: 1, stable: 100ms } }
nat: { timeouts: { tcp_transitory: 10s, udp_ports: { 53: 1s, 80: 5s } } }
engine: { sessions: 1024 }
groups: { default: { failback: { after: 0s }, when_none_fit: unreachable } }
on_failover: { tcp: { reset_after: 0s } }
";
const LINKS: [&str; 4] = ["lan", "dmz", "isp1", "isp2"];
pub const WANS: [&str; 2] = ["isp1", "isp2"];
const DMZ: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 9);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 2, 3, 4);
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 77);
/// On the link of isp2.
const NEAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 5);

/// What has left by a WAN: which, protocol, endpoint there, remote.
type Known = (usize, u8, End, End);

#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub workers: usize,
    /// Ports of inside hosts: few make flows with many packets, many fill the table
    pub ports: u16,
    /// Room for so few neighbours that their numbers are given away
    pub crowded: bool,
    /// A new stamp every so often, which must make no difference
    pub renews: bool,
}

pub struct Pair {
    pub fast: Site,
    pub long: Site,
    rng: StdRng,
    kind: Kind,
    known: Vec<Known>,
    id: u16,
}

impl Pair {
    pub fn new(seed: u64, kind: Kind) -> Pair {
        let site = |long: bool| {
            let fair = if kind.renews { "sessions_per_host: 16000000" } else { "sessions_per_host: auto" };
            let profile = PROFILE.replace("nat: { ", &format!("nat: {{ {fair}, "));
            let mut site = Site::new(&profile, kind.workers).unwrap();
            site.add_host("dmz", DMZ);
            site.add_host("isp2", NEAR);
            for lcore in site.lcores() {
                if kind.crowded {
                    let key = HashKey::draw(&mut StdRng::seed_from_u64(7));
                    lcore.router.neighbors = Neighbors::new(4, key);
                }
                if long {
                    lcore.router.long_way();
                }
            }
            site
        };
        let rng = StdRng::seed_from_u64(seed);
        Pair { fast: site(false), long: site(true), rng, kind, known: Vec::new(), id: 0 }
    }

    pub fn both(&mut self, deed: impl Fn(&mut Site)) {
        deed(&mut self.fast);
        deed(&mut self.long);
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.random_range(0..all.len())]
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn mac(&self, link: usize) -> Mac {
        Mac([2, 0, 0, 0, 1, link as u8])
    }

    /// What a host inside sends, and the link that it is on.
    fn inside(&mut self) -> (usize, u8, End, End) {
        let (link, host) = self.one_of(&[(0, H1), (0, H1), (0, H2), (0, NOBODY), (0, FAR), (1, DMZ)]);
        let remote = self.one_of(&[E1, E1, E2, NEAR]);
        let port = 1000 + self.rng.random_range(0..self.kind.ports);
        let protocol =
            self.one_of(&[protocol::UDP, protocol::UDP, protocol::TCP, protocol::TCP, protocol::ICMP]);
        (link, protocol, (host, port), (remote, self.one_of(&[53, 80, 443])))
    }

    /// What comes back, or tries to get in.
    fn outside(&mut self, wan: usize) -> (usize, u8, End, End) {
        let mut its = self.known.iter().filter(|k| k.0 == wan).copied().collect::<Vec<_>>();
        if its.is_empty() || self.chance(4) {
            its = vec![(
                wan,
                self.one_of(&[protocol::UDP, protocol::TCP]),
                ([P1, P2][wan - 2], 2000),
                (E1, 80),
            )];
        }
        let (_, protocol, outside, remote) = self.one_of(&its);
        let stranger = (self.one_of(&[E1, E2, NEAR]), self.one_of(&[53, 80, 9999]));
        (wan, protocol, if self.chance(8) { stranger } else { remote }, outside)
    }

    /// A frame for a link of `side`: the interface and the bytes.
    fn frame(&mut self, link: usize) -> Vec<u8> {
        let (home, protocol, src, dst) = match link {
            0 | 1 => loop {
                let from = self.inside();
                // Some are on the wrong link, which must not pass for theirs.
                if from.0 == link || self.chance(5) {
                    break from;
                }
            },
            wan => self.outside(wan),
        };
        let length = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(1440..1500),
            1..5 => 0,
            _ => self.rng.random_range(0..64),
        };
        let data: Vec<u8> = (0..length).map(|_| self.rng.random()).collect();
        let flags = match self.rng.random_range(0..10) {
            0..3 => SYN,
            3 => SYN | ACK,
            4 => self.rng.random(),
            _ => ACK,
        };
        let mut packet = match protocol {
            protocol::UDP => Packet::udp(src, dst, &data),
            protocol::TCP => Packet::tcp(src, dst, flags, self.rng.random(), self.rng.random(), &data),
            _ => {
                Packet::icmp(src.0, dst.0, if link < 2 { 8 } else { 0 }, 0, [src, dst][home / 2].1, 1, &data)
            }
        };
        self.id = self.id.wrapping_add(1);
        (packet.ip.id, packet.ip.tos, packet.ip.dont_fragment) =
            (self.id, self.rng.random(), self.rng.random());
        if self.chance(6) {
            packet.ip.ttl = self.one_of(&[0, 1, 2, 255]);
        }
        let mut frame = packet.frame(Mac([2, 0, 0, 9, 9, link as u8]), self.mac(link));
        if self.chance(25) {
            self.damage(&mut frame, link);
        }
        frame
    }

    fn damage(&mut self, frame: &mut Vec<u8>, link: usize) {
        let any: u8 = self.rng.random();
        let mends = self.chance(80);
        match self.rng.random_range(0..18) {
            0 => frame[14 + usize::from(any) % 20] ^= 1 << (any >> 5),
            1 => frame[20] |= [0x20, 0x80, 0x40, 0x10][usize::from(any) % 4],
            2 => frame[21] = any,
            3 => frame[14] = self.one_of(&[0x44, 0x46, 0x55, 0x65, 0x4f, 0x05]),
            4 => {
                let words = 1 + usize::from(any) % 4;
                frame.splice(34..34, vec![1; words * 4]);
                frame[14] = 0x45 + words as u8;
                let total = be16(frame, 16) + words as u16 * 4;
                put16(frame, 16, total);
            }
            5 => frame.resize(frame.len() + usize::from(any), any),
            6 => frame.truncate(self.rng.random_range(34..=60)),
            7 => {
                let length = self.rng.random_range(20..=46);
                frame.truncate(14 + usize::from(length));
                put16(frame, 16, length);
            }
            8 => {
                let macs = [
                    Mac::BROADCAST,
                    Mac([1, 0, 94, 0, 0, 1]),
                    Mac([2; 6]),
                    self.mac((link + 1) % 4),
                    Mac::ZERO,
                ];
                frame[..6].copy_from_slice(&self.one_of(&macs).0);
            }
            9 => {
                let macs = [
                    Mac::BROADCAST,
                    Mac([1, 0, 94, 0, 0, 1]),
                    self.mac(link),
                    Mac::ZERO,
                    Mac([0, 0, 0, 0, 0, 2]),
                ];
                frame[6..12].copy_from_slice(&self.one_of(&macs).0);
            }
            10 => put16(frame, 12, self.one_of(&[0x8100, 0x86dd, 0x0806, 0x88a8, 0x0008])),
            // UDP: length and checksum
            11 => {
                let length = be16(frame, 16).wrapping_sub(20);
                put16(frame, 38, self.one_of(&[0, 7, 8, 9, length, length + 1, 1000, u16::MAX]));
            }
            12 => put16(frame, 40, self.one_of(&[0, 1, u16::MAX])),
            // TCP: data offset and checksum
            13 => frame[46] = any,
            14 => put16(frame, 50, self.one_of(&[0, 1, u16::MAX])),
            15 => put16(frame, 16, self.one_of(&[0, 19, 20, 27, 28, 39, 40, 46, 47, 1500, 1501])),
            16 => frame[23] = self.one_of(&[protocol::UDP, protocol::TCP, protocol::ICMP, 47]),
            _ => {
                let odd = [
                    LAN,
                    P1,
                    P2,
                    G1,
                    H1,
                    DMZ,
                    Ipv4Addr::BROADCAST,
                    Ipv4Addr::new(192, 168, 10, 255),
                    Ipv4Addr::LOCALHOST,
                    Ipv4Addr::new(224, 0, 0, 1),
                ];
                let at = self.one_of(&[26, 30]);
                frame[at..at + 4].copy_from_slice(&self.one_of(&odd).octets());
            }
        }
        if mends {
            mend(frame);
        }
    }

    /// Frames into one queue of one link, with what happens in the middle of them.
    pub fn traffic(&mut self) {
        let link = self.one_of(&[0, 0, 1, 2, 2, 3]);
        let queue = self.rng.random_range(0..self.kind.workers);
        let most = if self.chance(10) { 100 } else { 24 };
        let frames: Vec<Vec<u8>> = (0..self.rng.random_range(1..=most)).map(|_| self.frame(link)).collect();
        self.both(|site| {
            site.use_queue(queue);
            frames.iter().for_each(|frame| site.put_raw(LINKS[link], frame));
        });
        if self.kind.renews && self.chance(50) {
            self.fast.lcores().iter_mut().for_each(|lcore| lcore.router.renew());
        }
        if self.chance(6) {
            self.event();
        }
        self.both(|site| site.run_ms(1));
    }

    /// Something that changes what the workers know.
    pub fn event(&mut self) {
        let (link, wan) = (self.one_of(&LINKS), self.one_of(&WANS));
        let up = self.chance(70);
        match self.rng.random_range(0..10) {
            _ if self.kind.crowded && up => self.swap(),
            0 | 1 => self.both(|site| site.set_link(link, up)),
            2 => self.both(|site| site.set_silent(wan, !up)),
            3 => {
                let admin = self.one_of(&[Admin::Auto, Admin::Auto, Admin::Drain, Admin::Down]);
                let order = Request::Wan { name: wan.into(), admin, force: true };
                self.both(|site| drop(site.ask(order.clone())));
            }
            4 => {
                let room = self.one_of(&[None, None, Some(5)]);
                self.both(|site| site.set_room(link, room));
            }
            5 => {
                let (link, host) =
                    self.one_of(&[("lan", H1), ("lan", H2), ("dmz", DMZ), ("isp2", NEAR), ("isp1", G1)]);
                self.both(|site| if up { site.add_host(link, host) } else { site.remove_host(link, host) });
            }
            6 | 7 => self.arp(),
            // Long enough for timers of sessions, and for neighbours to become stale.
            8 => {
                for _ in 0..self.rng.random_range(1..40) {
                    self.both(|site| site.run_coarse(1, 250));
                    self.compare();
                }
            }
            _ => {
                let ms = self.rng.random_range(1..1500);
                self.both(|site| site.run_ms(ms));
            }
        }
    }

    /// Every worker forgets a neighbour and learns another one, which has its number then.
    fn swap(&mut self) {
        let all = [(0, H1), (0, H2), (1, DMZ), (2, G1)];
        let (gone, new) = (self.one_of(&all), self.one_of(&all));
        self.both(|site| {
            let (view, now) = (site.view().clone(), site.now());
            for lcore in site.lcores() {
                lcore.router.give_up(&view, IfaceId(gone.0), gone.1, now);
                lcore.router.learn(&view, IfaceId(new.0), new.1, Mac([2, 0, 0, 8, 0, new.1.octets()[3]]));
            }
        });
    }

    /// A station says that it is at another place now.
    fn arp(&mut self) {
        let (link, ip, us) = self.one_of(&[(0, H1, LAN), (0, H2, LAN), (2, G1, P1), (3, NEAR, P2)]);
        let (mac, own) = (Mac([2, 0, 0, 7, 0, self.rng.random_range(0..3)]), self.mac(link));
        let arp =
            Arp { op: Op::Request, sender_mac: mac, sender_ip: ip, target_mac: Mac::ZERO, target_ip: us };
        self.both(|site| site.put_raw(LINKS[link], &arp.frame(mac, own)));
    }

    /// Nothing tells the two apart.
    pub fn compare(&mut self) {
        let (a, b) = (self.fast.take_all(), self.long.take_all());
        for (link, frame) in &a {
            let (Some(wan), Some(seen)) =
                (LINKS.iter().position(|l| l == link).filter(|l| *l > 1), Seen::read(frame))
            else {
                continue;
            };
            if seen.payload.len() >= 8 && [P1, P2].contains(&seen.ip.src) {
                let icmp = seen.ip.protocol == protocol::ICMP;
                let remote = (seen.ip.dst, if icmp { 0 } else { seen.dst().1 });
                self.known.push((wan, seen.ip.protocol, seen.src(), remote));
            }
        }
        let old = self.known.len().saturating_sub(60);
        self.known.drain(..old);
        assert_eq!(a.len(), b.len(), "frames sent");
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a, b, "{:?}\n{:?}", Seen::read(&a.1), Seen::read(&b.1));
        }
        let (a, b) = (shown(&mut self.fast), shown(&mut self.long));
        for (a, b) in a.lines().zip(b.lines()) {
            assert_eq!(a, b);
        }
        assert_eq!(a.len(), b.len());
    }
}

/// Everything that can be seen of a site's workers.
fn shown(site: &mut Site) -> String {
    let now = site.now();
    let worker = |router: &Router<VecBuf>| {
        let mut sessions = Vec::new();
        router.nat.list(0, u32::MAX, now, |s, root| {
            let counts = [0, 1].map(|side| (s.packets(side), s.bytes(side)));
            let ends = (s.inside(), s.outside(), s.remote(), s.protocol(), s.wan());
            sessions
                .push(format!("{ends:?} {} {} {:x} {counts:?} {root:?}", s.state, s.refreshed, s.last_ack));
        });
        let nat = (router.nat.digest(), router.nat.live(), router.nat.per_wan());
        let rest = (&router.counters, &router.traffic, router.hold.len());
        format!("{nat:?}\n{rest:?}\n{}", sessions.join("\n"))
    };
    site.lcores().iter().map(|lcore| worker(&lcore.router) + "\n").collect()
}
