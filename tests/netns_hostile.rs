//! A hundred thousand random, mangled and truncated frames into each port of the running router.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use netns::capture::Capture;
use netns::{Site, cores, echoes, eventually, profile, raw_socket, udp_echo, udp_socket};
use nix::sys::socket::{MsgFlags, sendto};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::Value;
use turnout::demo::lab::{INTERNET, ISP_PORT, LAN1, WAN1, WAN2};
use turnout::wire::checksum;

const FRAMES: usize = 100_000;
const LONGEST: usize = 1514;

/// Whom a port's valid frames are for.
#[derive(Clone, Copy)]
struct Aim {
    router: [u8; 6],
    stranger: Ipv4Addr,
    sources: [Ipv4Addr; 3],
    targets: [Ipv4Addr; 4],
}

/// An IPv4 packet with right sums and a payload of any length: UDP, TCP with any flags, ICMP of any kind.
fn valid(random: &mut SmallRng, aim: &Aim) -> Vec<u8> {
    let length = random.random_range(28..200usize);
    let mut packet = vec![0u8; length];
    random.fill_bytes(&mut packet[20..]);
    let protocol = [1u8, 6, 17, 17, 47][random.random_range(0..5usize)];
    let (src, dst) =
        (aim.sources[random.random_range(0..3usize)], aim.targets[random.random_range(0..4usize)]);
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    packet[6] = if random.random_ratio(1, 8) { random.random() } else { 0x40 };
    packet[8] = if random.random_ratio(1, 8) { random.random_range(0..3) } else { 64 };
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&src.octets());
    packet[16..20].copy_from_slice(&dst.octets());
    let sum = checksum::internet(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let (field, pseudo) = match protocol {
        1 => {
            packet[20] = [0, 3, 5, 8, 8, 11, 13, 17][random.random_range(0..8usize)];
            (22, false)
        }
        6 if length >= 40 => {
            packet[32] = 0x50;
            (36, true)
        }
        17 => {
            packet[24..26].copy_from_slice(&(length as u16 - 20).to_be_bytes());
            (26, true)
        }
        _ => return framed(aim, [8, 0], &packet),
    };
    packet[field..field + 2].fill(0);
    let sum = match pseudo {
        true => checksum::transport(src, dst, protocol, &packet[20..]),
        false => checksum::internet(&packet[20..]),
    };
    packet[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    framed(aim, [8, 0], &packet)
}

fn arp(random: &mut SmallRng, aim: &Aim) -> Vec<u8> {
    let mut message = vec![0, 1, 8, 0, 6, 4, 0, random.random_range(1..3)];
    // Now and then somebody else's; never a gateway's or a host's address: that would be another test.
    message.extend([2, 0, 0, 0, 9, if random.random_ratio(1, 8) { 8 } else { 9 }]);
    message.extend(aim.stranger.octets());
    message.extend([0; 6]);
    message.extend(aim.targets[random.random_range(0..4usize)].octets());
    framed(aim, [8, 6], &message)
}

fn framed(aim: &Aim, ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let mut frame = aim.router.to_vec();
    frame.extend([2, 0, 0, 0, 9, 9]);
    frame.extend(ethertype);
    frame.extend(packet);
    frame
}

/// One of every kind of nonsense.
fn nonsense(random: &mut SmallRng, aim: &Aim) -> Vec<u8> {
    let kind = random.random_range(0..8u8);
    let mut frame = match kind {
        0 | 1 => {
            let mut frame = vec![0u8; random.random_range(14..=LONGEST)];
            random.fill_bytes(&mut frame);
            frame
        }
        2 => arp(random, aim),
        _ => valid(random, aim),
    };
    match kind {
        // At random, but for the router and of a type that it reads.
        1 => {
            frame[..6].copy_from_slice(&aim.router);
            frame[12..14].copy_from_slice(&[8, [0, 6][random.random_range(0..2usize)]]);
        }
        2 if random.random() => {
            flip(random, &mut frame);
            // One bit away is the gateway, and who claims to be it is believed (RFC 826).
            frame[28..32].copy_from_slice(&aim.stranger.octets());
        }
        3 | 4 => flip(random, &mut frame),
        5 => frame.truncate(random.random_range(14..=frame.len())),
        6 => {
            let padded = random.random_range(frame.len()..=LONGEST);
            frame.resize(padded, 0xa5);
        }
        _ => {}
    }
    frame
}

/// One to four bits.
fn flip(random: &mut SmallRng, frame: &mut [u8]) {
    for _ in 0..random.random_range(1..=4u8) {
        let at = random.random_range(0..frame.len());
        frame[at] ^= 1 << random.random_range(0..8u8);
    }
}

fn mac(site: &Site, port: &str) -> [u8; 6] {
    let text = site.host("router").output("cat", &[&format!("/sys/class/net/{port}/address")], "").unwrap();
    let bytes: Vec<u8> = text.trim().split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// Sends the frames and returns how many the kernel took.
fn attack(site: &Site, host: &str, ifname: &str, seed: u64, aim: Aim) -> usize {
    let (fd, address) = raw_socket(site.host(host), ifname);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut taken = 0;
    for n in 0..FRAMES {
        let frame = nonsense(&mut random, &aim);
        // A full queue is waited for: the frames shall arrive.
        taken += usize::from(eventually(Duration::from_millis(200), || {
            sendto(fd.as_raw_fd(), &frame, &address, MsgFlags::empty()).is_ok()
        }));
        if n % 64 == 0 {
            std::thread::sleep(Duration::from_micros(300));
        }
    }
    taken
}

fn number(counters: &Value, name: &str) -> u64 {
    counters[name].as_u64().unwrap_or_else(|| panic!("no {name}"))
}

/// What came in, was made or handed in must have gone somewhere.
fn balanced(counters: &Value) -> bool {
    let drops: u64 = counters
        .as_object()
        .unwrap()
        .iter()
        .filter(|(k, _)| k.starts_with("drop_"))
        .map(|(_, v)| v.as_u64().unwrap())
        .sum();
    let sum = |names: &[&str]| names.iter().map(|name| number(counters, name)).sum::<u64>();
    sum(&["rx_packets", "originated", "handed_in", "from_host"])
        == sum(&["tx_packets", "local", "held", "handed_out", "to_host"]) + drops
}

fn survives(engine: &str) {
    let Some(mut site) = Site::start(&profile(engine, "1s")) else { return };
    let to = SocketAddrV4::new(INTERNET[0], 7);
    let _server = udp_echo(site.host("inet"), INTERNET[0], 7);
    let client = udp_socket(site.host("lan1"));
    assert!(echoes(&client, to));
    let captures = ["isp1", "isp2"].map(|isp| Capture::start(site.host(isp), ISP_PORT));
    let lan = Ipv4Addr::new(192, 168, 10, 1);
    let odd = Ipv4Addr::new(192, 168, 10, 200);
    let before = number(&site.json(&["counters"]), "rx_packets");
    let began = Instant::now();
    let mut sent = 0;
    for (seed, (host, ifname, port, stranger, sources, targets)) in [
        (
            "lan",
            "trunk",
            "lan0",
            odd,
            [odd, LAN1, INTERNET[2]],
            [INTERNET[0], WAN1, lan, Ipv4Addr::new(192, 168, 10, 99)],
        ),
        (
            "isp1",
            ISP_PORT,
            "isp1",
            Ipv4Addr::new(203, 0, 113, 5),
            [INTERNET[0], Ipv4Addr::new(203, 0, 113, 1), LAN1],
            [WAN1, WAN1, WAN2, LAN1],
        ),
        (
            "isp2",
            ISP_PORT,
            "isp2",
            Ipv4Addr::new(198, 51, 100, 5),
            [INTERNET[0], Ipv4Addr::new(198, 51, 100, 1), lan],
            [WAN2, WAN2, WAN1, LAN1],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let aim = Aim { router: mac(&site, port), stranger, sources, targets };
        sent += attack(&site, host, ifname, 0x7u64.wrapping_add(seed as u64), aim);
        assert!(site.router.ended().is_none(), "after {host}: {}", site.router.said());
    }
    let took = began.elapsed();
    assert!(sent > 3 * FRAMES - 300, "the kernel took {sent} frames");

    // Held packets have been sent or given up after some seconds; a snapshot between two bursts may be uneven.
    let mut counters = Value::Null;
    let even = eventually(Duration::from_secs(3), || {
        counters = site.json(&["counters"]);
        balanced(&counters)
    });
    assert!(even, "{counters:#}");
    let arrived = number(&counters, "rx_packets") - before;
    println!("{sent} frames in {took:?}, {arrived} received; {counters}");
    assert!(arrived > FRAMES as u64, "{arrived} of {sent} have come through");

    // Alive, and at work as before.
    assert!(eventually(Duration::from_secs(5), || site
        .json(&["wans"])
        .as_array()
        .unwrap()
        .iter()
        .all(|w| w["state"] == "up")));
    let fresh = udp_socket(site.host("lan2"));
    assert!(eventually(Duration::from_secs(3), || echoes(&fresh, to)));
    assert!(echoes(&client, to) || echoes(&udp_socket(site.host("lan1")), to));
    for (host, to) in [("lan1", INTERNET[0]), ("inet", WAN1), ("inet", WAN2)] {
        assert!(eventually(Duration::from_secs(4), || site.pings(host, to)), "{host} to {to}");
    }
    let [isp1, isp2] = captures.map(Capture::stop);
    for (line, own, seen) in [("isp1", WAN1, isp1), ("isp2", WAN2, isp2)] {
        let strange: Vec<_> = seen.sources.keys().filter(|ip| **ip != own).collect();
        println!("{line}: {:?}, strange sources {strange:?}", seen.kinds);
        assert!(strange.is_empty(), "{line}: {strange:?} {:#?}", seen.leaks);
    }
    assert!(site.router.stop().unwrap().success(), "{}", site.router.said());
}

#[test]
fn random_and_mangled_frames_do_no_harm_to_one_worker() {
    survives(&format!("workers: [{}]", cores().last().unwrap()));
}

#[test]
fn random_and_mangled_frames_do_no_harm_to_two_workers() {
    let [first, second, ..] = cores()[..] else {
        netns::skipped("one core");
        return;
    };
    survives(&format!("workers: [{first}, {second}]"));
}
