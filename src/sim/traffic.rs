//! Traffic for simulations that look for what nobody has thought of: frames of every kind, from all sides, whole and damaged, made from
//! throws of dice, which are a generator's or a fuzzer's.
//!
//! Few hosts and few ports, so that frames meet; and what left the router is learned, so that answers, strangers, hairpins and ICMP
//! errors are about flows that live. No frame depends on anything but the dice and what was learned.

use std::net::Ipv4Addr;

use super::bulk::Left;
use super::frames::{End, Packet, Seen};
use crate::base::{IfaceId, Mac, WanId};
use crate::path::View;
use crate::wire::arp::{Arp, Op};
use crate::wire::icmp::kind;
use crate::wire::ipv4::Ipv4;
use crate::wire::tcp::Flags;
use crate::wire::{be16, checksum, eth, ipv4, protocol, put16};

/// Where decisions come from.
pub trait Dice {
    /// A number below `sides`, which is 1 at least. A source that has no more gives 0.
    fn throw(&mut self, sides: u32) -> u32;
}

impl Dice for rand::rngs::StdRng {
    fn throw(&mut self, sides: u32) -> u32 {
        rand::RngExt::random_range(self, 0..sides.max(1))
    }
}

/// Every section of a profile that a packet meets; sites with few sessions, so that tables fill.
pub const PROFILES: [&str; 4] = [
    "engine: { sessions: 2048 }\n",
    "engine: { sessions: 2048 }
nat:
  except: [{ from: 192.168.10.12/32, to: 10.0.0.0/8 }, { to: 8.8.8.0/24 }]
  filtering: { tcp: endpoint-independent, udp: address-and-port-dependent }
  midstream: adopt
  stealth: false
forwards:
  - { wans: [isp1, isp2], protocol: [tcp, udp], port: 8443, to: \"192.168.10.11:443\" }
  - { wans: [isp1], protocol: [udp], port: \"2000-2009\", from: 9.9.9.0/24, to: \"192.168.10.10:3000\" }
one_to_one:
  - { wan: isp1, outside: 203.0.113.4, inside: 192.168.10.13, when_down: masquerade }
  - { wan: isp2, outside: 198.51.100.4, inside: 192.168.10.13, when_down: drop }
firewall:
  - { in: isp1, to: 192.168.10.13, protocol: [tcp, icmp], action: accept }
  - { in: lan, to: 8.8.4.4, protocol: [udp], port: [53], action: reject }
  - { in: isp2, to: self, protocol: [tcp], port: [80], action: accept }
",
    "engine: { sessions: 2048 }
nat: { filtering: { tcp: address-and-port-dependent, udp: address-dependent }, ports_per_host: 40, midstream: drop, quarantine: 5s,
       sessions_per_host: 60, creation_rate: 200, hairpin: false, timeouts: { udp: 120s, udp_ports: { 53: 10s }, icmp: 60s, other: 30s } }
forwards: [{ protocol: [tcp], port: 80, to: \"192.168.10.10:80\" }]
",
    "engine: { sessions: 1024 }
nat: { filtering: { tcp: address-dependent, udp: endpoint-independent }, stealth: false }
routes: [{ to: 10.20.0.0/16, via: 192.168.10.11 }]
",
];

/// The pool that the last of the profiles has on its first WAN.
const POOL: (&str, &str) =
    ("wans: [isp1, isp2]", "wans: { isp1: { pool: [{ addresses: 203.0.113.3-203.0.113.5 }] }, isp2: {} }");

/// A profile by number: a LAN and two WANs.
pub fn profile(at: usize) -> String {
    let at = at % PROFILES.len();
    let base = super::DUAL_WAN.replace("engine: { sessions: 4096 }\n", "");
    let base = if at == 3 { base.replace(POOL.0, POOL.1) } else { base };
    base + PROFILES[at]
}

const INSIDE: [Ipv4Addr; 5] = [
    Ipv4Addr::new(192, 168, 10, 10),
    Ipv4Addr::new(192, 168, 10, 11),
    Ipv4Addr::new(192, 168, 10, 12),
    Ipv4Addr::new(192, 168, 10, 13),
    Ipv4Addr::new(10, 20, 0, 5),
];
const OUTSIDE: [Ipv4Addr; 8] = [
    Ipv4Addr::new(9, 9, 9, 9),
    Ipv4Addr::new(9, 9, 9, 8),
    Ipv4Addr::new(8, 8, 4, 4),
    Ipv4Addr::new(8, 8, 8, 8),
    Ipv4Addr::new(10, 0, 0, 5),
    Ipv4Addr::new(203, 0, 113, 1),
    Ipv4Addr::new(203, 0, 113, 6),
    Ipv4Addr::new(198, 51, 100, 5),
];
const PORTS: [u16; 12] = [5000, 5001, 5002, 80, 53, 443, 8443, 2003, 3003, 1023, 40_000, 7];
const FLAGS: [u8; 8] = [
    Flags::SYN,
    Flags::SYN | Flags::ACK,
    Flags::ACK,
    Flags::ACK | 8,
    Flags::FIN | Flags::ACK,
    Flags::RST,
    Flags::RST | Flags::ACK,
    0,
];
/// Flows that are remembered.
const KNOWN: usize = 48;

/// A packet that the router has passed on: which way, and between whom.
#[derive(Clone, Copy, Debug)]
struct Known {
    iface: IfaceId,
    protocol: u8,
    src: End,
    dst: End,
}

/// Traffic of one site.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    known: Vec<Known>,
    next: usize,
    id: u16,
}

fn one<T: Copy>(dice: &mut impl Dice, list: &[T]) -> T {
    list[dice.throw(list.len() as u32) as usize]
}

fn any_ip(dice: &mut impl Dice) -> Ipv4Addr {
    Ipv4Addr::from_bits(dice.throw(1 << 16) << 16 | dice.throw(1 << 16))
}

fn port(dice: &mut impl Dice) -> u16 {
    if dice.throw(12) == 0 { dice.throw(1 << 16) as u16 } else { one(dice, &PORTS) }
}

impl Traffic {
    /// Remembers what left.
    pub fn learn(&mut self, left: &[Left]) {
        for (iface, frame) in left {
            let Some(seen) = Seen::read(frame) else { continue };
            let known = Known { iface: *iface, protocol: seen.ip.protocol, src: seen.src(), dst: seen.dst() };
            if self.known.len() < KNOWN {
                self.known.push(known);
            } else {
                self.known[self.next % KNOWN] = known;
            }
            self.next += 1;
        }
    }

    /// The next frame, and where it comes in.
    pub fn frame(&mut self, dice: &mut impl Dice, view: &View) -> (IfaceId, Vec<u8>) {
        let iface = IfaceId(dice.throw(view.ifaces.len() as u32) as u8);
        let frame = match dice.throw(40) {
            0 => arp(dice, view, iface),
            1 => (0..dice.throw(200)).map(|_| dice.throw(256) as u8).collect(),
            _ => self.ip(dice, view, iface),
        };
        let frame = if dice.throw(8) == 0 { damage(dice, frame) } else { frame };
        (iface, frame)
    }

    /// An IP packet: an answer to what left, or from anywhere to anywhere.
    fn ip(&mut self, dice: &mut impl Dice, view: &View, iface: IfaceId) -> Vec<u8> {
        let wan = view.ifaces[iface.index()].wan;
        let known = Some(dice.throw(4)).filter(|n| *n > 0 && !self.known.is_empty());
        let known = known.map(|_| one(dice, &self.known)).filter(|k| k.iface == iface);
        let (protocol, src, dst) = match known {
            // From the remote, from its other port, from another one to the same place.
            Some(k) => match dice.throw(6) {
                0 => (k.protocol, (k.dst.0, port(dice)), k.src),
                1 => (k.protocol, (one(dice, &OUTSIDE), k.dst.1), k.src),
                _ => (k.protocol, k.dst, k.src),
            },
            None => {
                let (src, dst) = match wan {
                    Some(wan) => (outsider(dice), self.target(dice, view, iface, wan)),
                    None => (insider(dice), self.destination(dice, view)),
                };
                let kinds = [
                    protocol::UDP,
                    protocol::UDP,
                    protocol::TCP,
                    protocol::TCP,
                    protocol::ICMP,
                    [50, 47, 0][dice.throw(3) as usize],
                ];
                (one(dice, &kinds), (src, port(dice)), dst)
            }
        };
        let mut packet = self.packet(dice, protocol, src, dst, wan.is_some());
        self.id = self.id.wrapping_add(1);
        packet.ip.id = self.id;
        packet.ip.tos = [0, 46 << 2, 1][dice.throw(3) as usize];
        packet.ip.ttl = [64, 64, 64, 255, 2, 1, 0][dice.throw(7) as usize];
        packet.ip.dont_fragment = dice.throw(2) == 0;
        if dice.throw(24) == 0 {
            packet.ip.more_fragments = dice.throw(2) == 0;
            packet.ip.fragment_offset = [0, 8, 1480, 65_528][dice.throw(4) as usize];
        }
        let [.., c, d] = src.0.octets();
        let station = if wan.is_some() { [2, 0, 0, 0, 2, iface.0] } else { [2, 0, 0, 3, c, d] };
        let own = view.ifaces[iface.index()].mac;
        let to = if dice.throw(60) == 0 { Mac::BROADCAST } else { own };
        packet.frame(Mac(station), to)
    }

    fn packet(&self, dice: &mut impl Dice, kind_of: u8, src: End, dst: End, outside: bool) -> Packet {
        let data: Vec<u8> = match dice.throw(20) {
            0 => vec![7; 1200 + dice.throw(300) as usize],
            _ => (0..dice.throw(24)).map(|n| n as u8).collect(),
        };
        match kind_of {
            protocol::UDP => {
                let mut packet = Packet::udp(src, dst, &data);
                if dice.throw(8) == 0 {
                    put16(&mut packet.payload, 6, 0);
                }
                packet
            }
            protocol::TCP => {
                let flags = if dice.throw(16) == 0 { dice.throw(256) as u8 } else { one(dice, &FLAGS) };
                Packet::tcp(src, dst, flags, dice.throw(1 << 16), dice.throw(1 << 16), &data)
            }
            protocol::ICMP => match dice.throw(4) {
                0 => self.error(dice, src.0, dst.0),
                // What answers is most often of the other kind.
                n if (n == 1) != outside => Packet::icmp(src.0, dst.0, kind::ECHO_REPLY, 0, dst.1, 1, &data),
                _ => Packet::icmp(src.0, dst.0, kind::ECHO_REQUEST, 0, dst.1, 1, &data),
            },
            other => {
                let mut packet = Packet::udp(src, dst, &data);
                packet.ip.protocol = other;
                packet
            }
        }
    }

    /// An ICMP error about a packet that left, or about none.
    fn error(&self, dice: &mut impl Dice, src: Ipv4Addr, dst: Ipv4Addr) -> Packet {
        let (code, mtu) = (dice.throw(16) as u8, [0, 1400, 576, 68][dice.throw(4) as usize]);
        let kind = [3, 11, 12, 4, 5, 13][dice.throw(6) as usize];
        let known = if self.known.is_empty() { None } else { Some(one(dice, &self.known)) };
        let about = known.filter(|_| dice.throw(8) > 0);
        let about = about.unwrap_or(Known {
            iface: IfaceId(0),
            protocol: protocol::UDP,
            src: (dst, 5),
            dst: (src, 6),
        });
        let quoted = match about.protocol {
            protocol::TCP => Packet::tcp(about.src, about.dst, Flags::ACK, 1, 1, b"quoted"),
            protocol::ICMP => Packet::ping(about.src.0, about.dst.0, about.src.1, 1),
            _ => Packet::udp(about.src, about.dst, b"quoted"),
        };
        let mut bytes = vec![0; ipv4::MIN_LEN];
        Ipv4 { ttl: 1, ..quoted.ip }.emit(&mut bytes);
        bytes.extend_from_slice(&quoted.payload);
        bytes.truncate(if dice.throw(3) == 0 { dice.throw(50) as usize } else { bytes.len() });
        let to = if dice.throw(3) == 0 { dst } else { about.src.0 };
        Packet::icmp(src, to, kind, code, 0, mtu, &bytes)
    }

    /// Where somebody outside sends to: a place that somebody inside has, one that a rule leads from, or any.
    fn target(&self, dice: &mut impl Dice, view: &View, iface: IfaceId, wan: WanId) -> End {
        let statics = &view.rules.statics;
        let own: Vec<Ipv4Addr> = view.ifaces[iface.index()].addresses.iter().map(|a| a.addr).collect();
        match dice.throw(8) {
            0 => (statics.outside(wan).next().unwrap_or(own[0]), port(dice)),
            1 => (one(dice, &INSIDE), port(dice)),
            2 => (any_ip(dice), port(dice)),
            3 => (own[0], statics.forwarded().next().map_or(80, |f| f.2)),
            4 => match self.known.iter().rev().find(|k| k.iface == iface) {
                Some(k) => k.src,
                None => (own[0], port(dice)),
            },
            _ => (one(dice, &own), port(dice)),
        }
    }

    /// Where somebody inside sends to.
    fn destination(&self, dice: &mut impl Dice, view: &View) -> End {
        let own = |iface: usize| view.ifaces.get(iface).and_then(|i| i.addresses.first()).map(|a| a.addr);
        match dice.throw(16) {
            0 => (one(dice, &INSIDE), port(dice)),
            1 => (any_ip(dice), port(dice)),
            2 => (own(dice.throw(3) as usize).unwrap_or(OUTSIDE[0]), port(dice)),
            3 | 4 if !self.known.is_empty() => one(dice, &self.known).src,
            _ => (one(dice, &OUTSIDE), port(dice)),
        }
    }
}

fn insider(dice: &mut impl Dice) -> Ipv4Addr {
    match dice.throw(24) {
        0 => any_ip(dice),
        1 => Ipv4Addr::new(192, 168, 10, dice.throw(256) as u8),
        _ => one(dice, &INSIDE),
    }
}

fn outsider(dice: &mut impl Dice) -> Ipv4Addr {
    if dice.throw(16) == 0 { any_ip(dice) } else { one(dice, &OUTSIDE) }
}

fn arp(dice: &mut impl Dice, view: &View, iface: IfaceId) -> Vec<u8> {
    let ours = view.ifaces[iface.index()].addresses.first().map_or(Ipv4Addr::UNSPECIFIED, |a| a.addr);
    let near = |dice: &mut _| Ipv4Addr::from_bits(ours.to_bits() & !7 | Dice::throw(dice, 8));
    let ip = |dice: &mut _| [ours, near(dice), Ipv4Addr::UNSPECIFIED][Dice::throw(dice, 3) as usize];
    let mac = |dice: &mut _| Mac([Dice::throw(dice, 4) as u8, 0, 0, 7, 0, Dice::throw(dice, 8) as u8]);
    let arp = Arp {
        op: if dice.throw(2) == 0 { Op::Request } else { Op::Reply },
        sender_mac: mac(dice),
        sender_ip: ip(dice),
        target_mac: mac(dice),
        target_ip: ip(dice),
    };
    arp.frame(arp.sender_mac, Mac::BROADCAST).to_vec()
}

/// Breaks a frame: bits, lengths, options; half of them with the header's checksum right again.
fn damage(dice: &mut impl Dice, mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < eth::LEN + ipv4::MIN_LEN {
        return frame;
    }
    let len = frame.len() as u32;
    match dice.throw(5) {
        0 => {
            for _ in 0..=dice.throw(4) {
                frame[dice.throw(len) as usize] ^= 1 << dice.throw(8);
            }
        }
        1 => {
            for _ in 0..=dice.throw(3) {
                frame[14 + dice.throw(40.min(len - 14)) as usize] = dice.throw(256) as u8;
            }
            mend(&mut frame);
        }
        2 => frame.truncate(dice.throw(len + 1) as usize),
        3 => frame.resize((len + dice.throw(1600)) as usize, 0xaa),
        _ => {
            let words = 1 + dice.throw(10) as usize;
            let options: Vec<u8> =
                (0..words * 4).map(|_| one(dice, &[0, 1, 7, 68, 131, 148, 4, 3])).collect();
            let total = be16(&frame, 16).wrapping_add(options.len() as u16);
            frame.splice(34..34, options);
            frame[14] = 0x45 + words as u8;
            put16(&mut frame, 16, total);
            mend(&mut frame);
        }
    }
    frame
}

/// Sets the checksum of the IPv4 header in a frame right.
fn mend(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(eth::LEN..) else { return };
    let header = usize::from(packet[0] & 0xf) * 4;
    if header >= ipv4::MIN_LEN && header <= packet.len() {
        put16(packet, 10, 0);
        let sum = checksum::internet(&packet[..header]);
        put16(packet, 10, sum);
    }
}
