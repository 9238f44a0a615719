//! What the tests over a whole site share: who is where, and the packets they exchange.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::Ipv4Addr;

#[allow(unused_imports, reason = "each test file uses its part")]
pub use turnout::manage::protocol::{Admin, Request, SessionFilter};
pub use turnout::sim::frames::End;
pub use turnout::sim::{DUAL_WAN, Packet, Seen, Site};
pub use turnout::wire::tcp::Flags;
#[allow(unused_imports, reason = "each test file uses its part")]
pub use turnout::wire::{checksum, put16};

pub const H1: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);
pub const H2: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 11);
pub const LAN: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 1);
pub const P1: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub const P2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub const G1: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const E1: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
pub const E2: Ipv4Addr = Ipv4Addr::new(8, 8, 4, 4);

/// The router's own addresses: by which link who asks for each.
pub const OWN: [(&str, Ipv4Addr, Ipv4Addr); 6] = [
    ("lan", H1, LAN),
    ("lan", H2, P1),
    ("lan", H1, P2),
    ("isp1", E1, P1),
    ("isp1", G1, P1),
    ("isp2", E2, P2),
];

pub const SYN: u8 = Flags::SYN;
pub const ACK: u8 = Flags::ACK;
pub const FIN_ACK: u8 = Flags::FIN | Flags::ACK;
pub const RST: u8 = Flags::RST;

/// The counters of flows that were opened.
pub const OPENED: [&str; 2] = ["sessions_created", "mappings_created"];

/// Workers, and the receive queue that frames arrive in: the owner's and another's.
pub const SHAPES: [(usize, usize); 4] = [(1, 0), (2, 0), (2, 1), (3, 2)];

/// A site with two WANs, isp1 preferred.
pub fn site(workers: usize) -> Site {
    Site::new(DUAL_WAN, workers).unwrap()
}

/// The profile of a site with room for so many sessions, in which no host has limits of its own; `nat` says more of that section.
pub fn unlimited(sessions: u32, nat: &str) -> String {
    let more = if nat.is_empty() { "" } else { ", " };
    DUAL_WAN.replace("4096", &sessions.to_string())
        + "nat: { creation_rate: 10000000, ports_per_host: 65536, sessions_per_host: 16000000"
        + more
        + nat
        + " }\n"
}

/// Runs a test on each of the `SHAPES`.
pub fn each_shape(test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = site(workers);
        site.use_queue(queue);
        test(site);
    }
}

/// Several lists of counters as one.
pub fn and<'a>(lists: &[&[&'a str]]) -> Vec<&'a str> {
    lists.concat()
}

/// A datagram from inside; where it went and from which outside endpoint.
pub fn udp_out(site: &mut Site, src: End, dst: End) -> Option<(String, End)> {
    site.pass("lan", &Packet::udp(src, dst, b"out")).map(|(link, seen)| (link, seen.src()))
}

/// A datagram from outside; the inside endpoint that got it.
pub fn udp_in(site: &mut Site, link: &str, src: End, dst: End) -> Option<End> {
    site.pass(link, &Packet::udp(src, dst, b"in")).map(|(_, seen)| seen.dst())
}

/// A segment from inside.
pub fn tcp_out(site: &mut Site, src: End, dst: End, flags: u8, seq: u32, ack: u32) -> Option<(String, Seen)> {
    site.pass("lan", &Packet::tcp(src, dst, flags, seq, ack, b""))
}

/// A segment from outside.
pub fn tcp_in(site: &mut Site, link: &str, src: End, dst: End, flags: u8) -> Option<Seen> {
    site.pass(link, &Packet::tcp(src, dst, flags, 9000, 1001, b"")).map(|(_, seen)| seen)
}

/// A connection opened from inside, established; gives its outside endpoint.
pub fn connect(site: &mut Site, src: End, dst: End) -> (String, End) {
    let (link, syn) = tcp_out(site, src, dst, SYN, 1000, 0).unwrap();
    let x = syn.src();
    assert_eq!(tcp_in(site, &link, dst, x, SYN | ACK).unwrap().dst(), src);
    assert_eq!(tcp_out(site, src, dst, ACK, 1001, 9001).unwrap().1.src(), x);
    (link, x)
}

/// The NATs of all workers as one number.
pub fn digest(site: &mut Site) -> Vec<u64> {
    site.lcores().iter().map(|l| l.router.nat.digest()).collect()
}

/// Sessions in the tables of all workers.
pub fn live(site: &mut Site) -> usize {
    site.lcores().iter().map(|l| l.router.nat.live()).sum()
}

/// Makes the router know where the two LAN hosts are.
pub fn meet(site: &mut Site) {
    for host in [H1, H2] {
        site.pass("lan", &Packet::ping(host, LAN, 1, 1)).unwrap();
    }
}

/// Puts many frames on a link, as fast as they are taken, and gives the IPv4 packets that come out meanwhile.
pub fn flood(site: &mut Site, link: &str, packets: impl Iterator<Item = Packet>) -> Vec<(String, Seen)> {
    let packets: Vec<Packet> = packets.collect();
    let mut out = Vec::new();
    for some in packets.chunks(200) {
        for packet in some {
            let frame = site.frame_of(link, packet);
            site.put_raw(link, &frame);
        }
        site.run_ms(1);
        out.extend(taken(site));
    }
    out
}

/// The IPv4 packets sent since the last time.
pub fn taken(site: &mut Site) -> Vec<(String, Seen)> {
    let all = site.take_all();
    all.iter().filter_map(|(link, frame)| Some((link.clone(), Seen::read(frame)?))).collect()
}

/// Sets the checksum of the IPv4 header in a frame right.
pub fn mend(frame: &mut [u8]) {
    let length = usize::from(frame[14] & 0xf) * 4;
    let end = (14 + length).min(frame.len());
    if end >= 34 {
        put16(frame, 24, 0);
        let sum = checksum::internet(&frame[14..end]);
        put16(frame, 24, sum);
    }
}

/// What an ICMP error says: type, code, the second half of its second word.
pub fn error(seen: &Seen) -> Option<(u8, u8, u16)> {
    seen.icmp().filter(|i| i.is_error()).map(|i| (i.kind, i.code, i.seq))
}
