//! Anything at all, into every port of a router with live state: nothing breaks, all is counted, the living live on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::net::Ipv4Addr;

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use turnout::base::Mac;
use turnout::sim::seeds::seeds;
use turnout::wire::arp::{Arp, Op};

/// Frames into each port.
const FRAMES: usize = 100_000;
const PORTS: [&str; 3] = ["lan", "isp1", "isp2"];

/// What lives in the router: a datagram flow, a connection, an echo.
struct Living {
    udp: End,
    tcp: End,
    echo: u16,
}

fn living(site: &mut Site) -> Living {
    meet(site);
    let (_, udp) = udp_out(site, (H1, 5000), (E1, 80)).unwrap();
    let (_, tcp) = connect(site, (H1, 6000), (E1, 80));
    let echo = site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap().1.src().1;
    Living { udp, tcp, echo }
}

/// Frames that pass most checks, as seeds for damage; some of them are of the living flows.
fn good(site: &Site, rng: &mut StdRng, link: &str, living: &Living) -> Vec<u8> {
    let any = |rng: &mut StdRng| Ipv4Addr::from_bits(rng.random());
    let inside = Ipv4Addr::new(192, 168, 10, rng.random());
    let (src, dst) = match (link, rng.random_range(0..8)) {
        ("lan", 0) => (inside, LAN),
        ("lan", 1) => (inside, [P1, P2][rng.random_range(0..2usize)]),
        ("lan", 2) => (any(rng), any(rng)),
        ("lan", 3) => (inside, Ipv4Addr::new(192, 168, 10, rng.random())),
        ("lan", _) => (inside, any(rng)),
        (_, 0) => (any(rng), any(rng)),
        (_, 1) => (any(rng), H1),
        ("isp1", _) => ([E1, any(rng)][rng.random_range(0..2usize)], P1),
        _ => ([E1, any(rng)][rng.random_range(0..2usize)], P2),
    };
    let port = |rng: &mut StdRng| {
        [80, 5000, 6000, living.udp.1, living.tcp.1, rng.random()][rng.random_range(0..6usize)]
    };
    let (from, to) = ((src, port(rng)), (dst, port(rng)));
    let data: Vec<u8> = (0..rng.random_range(0..64usize)).map(|_| rng.random()).collect();
    let mut packet = match rng.random_range(0..8) {
        0..3 => Packet::udp(from, to, &data),
        // no resets and no FIN into the living connection: that it heeds them is right
        3..5 => Packet::tcp(
            from,
            to,
            [SYN, ACK, SYN | ACK, 0][rng.random_range(0..4usize)],
            rng.random(),
            rng.random(),
            &data,
        ),
        5 => Packet::icmp(
            src,
            dst,
            [0, 8][rng.random_range(0..2usize)],
            0,
            [living.echo, 7, rng.random()][rng.random_range(0..3usize)],
            1,
            &data,
        ),
        6 => Packet::icmp(src, dst, rng.random(), rng.random(), rng.random(), rng.random(), &data),
        _ => {
            let mut other = Packet::udp(from, to, &data);
            other.ip.protocol = rng.random();
            other
        }
    };
    if rng.random_range(0..8) == 0 {
        packet.ip.dont_fragment = rng.random();
        packet.ip.more_fragments = rng.random();
        packet.ip.fragment_offset = rng.random_range(0..0x2000u16) * 8;
    }
    packet.ip.ttl = [0, 1, 2, 64, 255][rng.random_range(0..5usize)];
    packet.ip.tos = rng.random();
    packet.ip.id = rng.random();
    site.frame_of(link, &packet)
}

fn random_arp(site: &Site, rng: &mut StdRng, link: &str) -> Vec<u8> {
    let ours = site.view().ifaces[PORTS.iter().position(|p| *p == link).unwrap()].addresses[0].addr;
    // Not for the living host nor for a gateway: whose place they took would be where packets go, as ARP is.
    let near = Ipv4Addr::from_bits(ours.to_bits() & !0xff | rng.random_range(100..256u32));
    let ip = |rng: &mut StdRng| {
        [ours, near, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(8, 8, 8, rng.random())][rng.random_range(0..4usize)]
    };
    let mac = |rng: &mut StdRng| Mac([rng.random::<u8>() & 3, 0, rng.random(), 0, 0, rng.random()]);
    let arp = Arp {
        op: if rng.random() { Op::Request } else { Op::Reply },
        sender_mac: mac(rng),
        sender_ip: ip(rng),
        target_mac: mac(rng),
        target_ip: ip(rng),
    };
    let mut frame = arp.frame(arp.sender_mac, Mac::BROADCAST).to_vec();
    if rng.random_range(0..4) == 0 {
        let at = rng.random_range(0..22usize);
        frame[at] = rng.random();
    }
    frame
}

fn hostile(site: &Site, rng: &mut StdRng, link: &str, living: &Living) -> Vec<u8> {
    let mut frame = match rng.random_range(0..8) {
        0 => {
            let mut bytes = vec![0; rng.random_range(0..=1518usize)];
            rng.fill_bytes(&mut bytes);
            // half of them come as far as the IP checks
            if bytes.len() >= 14 && rng.random() {
                let good = good(site, rng, link, living);
                bytes[..14].copy_from_slice(&good[..14]);
            }
            return bytes;
        }
        1 => return random_arp(site, rng, link),
        _ => good(site, rng, link, living),
    };
    match rng.random_range(0..6) {
        // bits flipped anywhere past the addresses of the frame
        0 => {
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(12..frame.len());
                frame[at] ^= 1 << rng.random_range(0..8);
            }
        }
        // the same, with the header's checksum right again
        1 => {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(14..34usize);
                frame[at] ^= 1 << rng.random_range(0..8);
            }
            mend(&mut frame);
        }
        2 => frame.truncate(rng.random_range(0..=frame.len())),
        3 => frame.resize(rng.random_range(frame.len()..=1518), rng.random()),
        // options
        4 => {
            let words = rng.random_range(1..=10usize);
            let options: Vec<u8> = (0..words * 4)
                .map(|_| [0, 1, 7, 68, 131, 4, rng.random()][rng.random_range(0..7usize)])
                .collect();
            let total = u16::from_be_bytes([frame[16], frame[17]]) + options.len() as u16;
            frame.splice(34..34, options);
            frame[14] = 0x45 + words as u8;
            put16(&mut frame, 16, total);
            mend(&mut frame);
        }
        _ => {}
    }
    // A reset, even a damaged one, may not hit the living connection by chance.
    if frame.len() > 47 && frame[23] == 6 {
        frame[47] &= !(Flags::RST | Flags::FIN);
    }
    frame
}

fn alive(site: &mut Site, living: &Living) {
    site.run_ms(1);
    site.take_all();
    let changes = site.events("wan_state").len();
    assert_eq!(changes, 2, "the lines are as they were: {:?}", site.events("wan_state"));
    assert_eq!(udp_out(site, (H1, 5000), (E1, 80)), Some(("isp1".into(), living.udp)));
    assert_eq!(udp_in(site, "isp1", (E1, 80), living.udp), Some((H1, 5000)));
    assert_eq!(tcp_out(site, (H1, 6000), (E1, 80), ACK, 1001, 9001).unwrap().1.src(), living.tcp);
    assert_eq!(tcp_in(site, "isp1", (E1, 80), living.tcp, ACK).unwrap().dst(), (H1, 6000));
    let reply = Packet::icmp(E1, P1, 0, 0, living.echo, 1, b"sixteen bytes...");
    assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap().1.src(), (P1, living.echo));
    assert_eq!(site.pass("isp1", &reply).unwrap().1.dst(), (H1, 7));
}

#[test]
fn x_9_a_hundred_thousand_hostile_frames_into_each_port_break_nothing() {
    for seed in seeds(6) {
        let link = PORTS[seed as usize % 3];
        let mut rng = StdRng::seed_from_u64(seed);
        // Of two workers each has room for 50 000 sessions: that the table is full is another test.
        let profile = unlimited(100_000, "timeouts: { icmp: 5m }");
        let mut site = Site::new(&profile, 2).unwrap();
        let living = living(&mut site);
        let rx = site.moved("rx_packets");
        let bytes = site.lcores().iter().map(|l| l.router.nat.bytes()).sum::<usize>();
        let mut put = 0;
        for n in 0..FRAMES {
            site.use_queue(n % 2);
            let frame = hostile(&site, &mut rng, link, &living);
            site.put_raw(link, &frame);
            put += 1;
            if n % 100 == 99 {
                match n % 5000 {
                    4999 => site.run_coarse(5, 250),
                    _ => site.run_ms(1),
                }
                site.take_all();
            }
        }
        assert!(site.moved("rx_packets") >= rx + put);
        alive(&mut site, &living);
        let neighbors = site.ask(Request::Neighbors).unwrap().as_array().unwrap().len();
        assert!(neighbors < 2000, "{neighbors}");
        assert_eq!(site.lcores().iter().map(|l| l.router.nat.bytes()).sum::<usize>(), bytes);
        assert!(site.lcores().iter().all(|l| l.router.hold.len() <= 256));
        if link != "lan" {
            // What comes from outside opens sessions only where a mapping is.
            assert_eq!(site.moved("mappings_created"), 3);
        }
        let moved: Vec<&str> =
            site.counters().iter().map(|(name, _)| name).filter(|name| site.moved(name) > 0).collect();
        assert!(moved.iter().filter(|m| m.starts_with("drop_")).count() > 15, "{moved:?}");
        for never in
            ["drop_hand_over_full", "drop_tx_full", "drop_no_buffer", "notices_lost", "mappings_on_left_wan"]
        {
            assert_eq!(site.moved(never), 0, "{never}");
        }
        site.finish(&moved).unwrap();
    }
}

#[test]
fn x_9_every_length_of_every_kind_of_packet_gets_a_verdict() {
    let mut site = site(2);
    let living = living(&mut site);
    let before = site.moved("rx_packets");
    let mut put = 0;
    for link in PORTS {
        let (from, to) = match link {
            "lan" => (H1, E1),
            "isp1" => (E1, P1),
            _ => (E1, P2),
        };
        for packet in [
            Packet::udp((from, 80), (to, living.udp.1), &[7; 40]),
            Packet::tcp((from, 80), (to, living.tcp.1), ACK, 1, 1, &[7; 40]),
            Packet::icmp(from, to, 8, 0, 7, 1, &[7; 40]),
            Packet::icmp(from, to, 3, 3, 0, 0, &[0x45; 40]),
        ] {
            let frame = site.frame_of(link, &packet);
            for length in 0..=frame.len() {
                // cut off; and cut off with a total length that says so
                let mut short = frame[..length].to_vec();
                site.put_raw(link, &short);
                if length >= 34 {
                    put16(&mut short, 16, length as u16 - 14);
                    mend(&mut short);
                }
                site.put_raw(link, &short);
                put += 2;
            }
            site.run_ms(10);
            site.take_all();
        }
    }
    assert!(site.moved("rx_packets") >= before + put);
    alive(&mut site, &living);
    let moved: Vec<&str> =
        site.counters().iter().map(|(name, _)| name).filter(|name| site.moved(name) > 0).collect();
    site.finish(&moved).unwrap();
}
