//! Linux ports: what their driver hands over and takes, and what it does without.

use std::time::{Duration, Instant};

use turnout::base::{Mac, PortId};
use turnout::dpdk::*;
use turnout::packet::PacketBuf;

use crate::rig::*;

fn ours(f: &[u8]) -> bool {
    f[12..14] == [0x88, 0xb5]
}

#[test]
fn a_dead_link_never_blocks_and_works_again() {
    alone("af_packet::a_dead_link_never_blocks_and_works_again", Where::Netns, || {
        wire();
        let dir = tempfile::tempdir().unwrap();
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let _claim = LinuxPort::claim_in("a0", dir.path()).unwrap();
        let (own, mut queues) = open(&eal, &pool, "a0", 0, 1);
        let (_peer, mut peer_queues) = open(&eal, &pool, "b0", 1, 1);
        for cut in ["b0", "a0"] {
            sh(&format!("ip link set {cut} down"));
            let (began, mut longest, mut taken) = (Instant::now(), Duration::ZERO, 0);
            for n in 0..250 {
                let mut out: Vec<Mbuf> =
                    (0..32).map(|i| frame(&mut pool, &numbered(Mac::BROADCAST, a0(), n * 32 + i))).collect();
                let at = Instant::now();
                let sent = queues[0].tx(&mut out);
                longest = longest.max(at.elapsed());
                // What was not taken is the sender's still, from there on.
                assert_eq!(out.len(), 32 - sent);
                let first = out.first().map(|m| m.bytes()[14..16].to_vec());
                assert!(first.is_none_or(|f| f == (n * 32 + sent as u16).to_be_bytes()));
                taken += sent;
            }
            println!("{cut} down: {taken} of 8000 taken in {:?}, longest burst {longest:?}", began.elapsed());
            println!("{:?}", own.stats());
            assert!(longest < Duration::from_millis(50));
            sh(&format!("ip link set {cut} up"));
            let mut stale = 0;
            let last = frame(&mut pool, &numbered(Mac::BROADCAST, a0(), u16::MAX));
            let mut last = vec![last];
            let end = Instant::now() + Duration::from_secs(2);
            let mut arrived = false;
            while !arrived && Instant::now() < end {
                queues[0].tx(&mut last);
                arrived = receive(&mut peer_queues[0], Duration::from_millis(50), |f| {
                    stale += usize::from(ours(f));
                    f[12..16] == [0x88, 0xb5, 0xff, 0xff]
                });
            }
            println!("up again: {} late frames", stale.max(1) - 1);
            assert!(arrived, "it does not work again");
            receive(&mut peer_queues[0], Duration::from_millis(100), |_| false);
        }
    });
}

/// A fragment of a UDP datagram, with so many bytes of it.
fn fragment(id: u8, offset: u16, more: bool, payload: u16) -> Vec<u8> {
    let mut f = [a0().0, [2, 0, 0, 0, 0, 0xb]].concat();
    f.extend([8, 0, 0x45, 0]);
    f.extend((20 + payload).to_be_bytes());
    f.extend([0, id]);
    f.extend((if more { 0x2000 } else { 0 } | (offset / 8)).to_be_bytes());
    f.extend([64, 17, 0, 0, 10, 1, 1, 1, 10, 1, 1, 2]);
    let sum: u32 = f[14..34].chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    f[24..26].copy_from_slice(&sum.to_be_bytes());
    f.resize(34 + usize::from(payload), id);
    f
}

/// All that comes within half a second.
fn collect(queues: &mut [Queue]) -> Vec<Vec<u8>> {
    let (mut all, mut burst) = (Vec::new(), Vec::<Mbuf>::with_capacity(BURST));
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        for queue in &mut *queues {
            queue.rx(&mut burst);
            all.extend(burst.drain(..).map(|m| m.bytes().to_vec()));
        }
    }
    all
}

fn too_long(queues: &[Queue]) -> u64 {
    queues.iter().map(|q| q.stats().rx_too_long).sum()
}

#[test]
fn tags_and_lengths_pass_and_cut_frames_are_dropped() {
    alone("af_packet::tags_and_lengths_pass_and_cut_frames_are_dropped", Where::Netns, || {
        wire();
        sh("ip link set a0 mtu 4000; ip link set b0 mtu 4000");
        let dir = tempfile::tempdir().unwrap();
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let (_peer, mut peer_queues) = open(&eal, &pool, "b0", 1, 1);
        let _claim = LinuxPort::claim_in("a0", dir.path()).unwrap();
        let (own, mut queues) = open(&eal, &pool, "a0", 0, 2);
        assert_eq!(own.mtu(), 1500, "as much as the driver promises");

        let mut frames = Vec::new();
        for length in [60, 61, 1514] {
            let mut f = numbered(a0(), Mac::BROADCAST, length);
            f.resize(length.into(), 9);
            frames.push(f);
        }
        for length in [60, 1518] {
            let mut tagged = numbered(a0(), Mac::BROADCAST, 5);
            tagged.splice(12..12, [0x81, 0x00, 0x20, 0x2a]);
            tagged.resize(length, 7);
            frames.push(tagged);
        }
        let mut out: Vec<Mbuf> = frames.iter().map(|f| frame(&mut pool, f)).collect();
        assert_eq!(peer_queues[0].tx(&mut out), frames.len());
        let got = collect(&mut queues);
        for f in &frames {
            assert!(got.contains(f), "missing or changed: {} bytes {:02x?}", f.len(), &f[..20]);
        }
        assert_eq!(too_long(&queues), 0);

        // The kernel has joined the fragments, and cut what became too long.
        let small = [fragment(1, 0, true, 400), fragment(1, 400, false, 400)];
        let large =
            [fragment(2, 0, true, 1480), fragment(2, 1480, true, 1480), fragment(2, 2960, false, 1480)];
        let mut out: Vec<Mbuf> = small.iter().chain(&large).map(|f| frame(&mut pool, f)).collect();
        assert_eq!(peer_queues[0].tx(&mut out), 5);
        let got = collect(&mut queues);
        let udp: Vec<usize> =
            got.iter().filter(|f| f[12..14] == [8, 0] && f[23] == 17).map(Vec::len).collect();
        assert_eq!((udp, too_long(&queues)), (vec![34 + 800], 1));

        // The same for frames that are sent so long: the last that is whole for certain, and those at the edge.
        drop(peer_queues);
        let peer = std::process::Command::new("python3").args(["-c", LONG_FRAMES]).status();
        if !peer.is_ok_and(|s| s.success()) {
            println!("not tried: frames of more than a ring's frame (no python3 here)");
            return;
        }
        let lengths: Vec<usize> = collect(&mut queues).iter().filter(|f| ours(f)).map(Vec::len).collect();
        assert_eq!((lengths, too_long(&queues)), (vec![1900, 1981], 1 + 3));
    });
}

const LONG_FRAMES: &str = "
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('b0', 0))
for n in 1900, 1981, 1982, 1983, 3000:
    s.send(bytes.fromhex('ffffffffffff02000000000b88b5') + bytes(n - 14))
";

#[test]
fn not_promiscuous_once_started_and_open_once() {
    alone("af_packet::not_promiscuous_once_started_and_open_once", Where::Netns, || {
        wire();
        sh("ip link set a0 up promisc on");
        let eal = start();
        let pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let (mut own, queues) = open(&eal, &pool, "a0", 0, 1);
        assert_eq!((own.caps().driver.as_str(), own.caps().rss), ("net_af_packet", false));
        assert!(own.link().up && own.link().speed_mbps == 0);
        assert!(!sh("ip link show a0").contains("PROMISC"));

        let config = PortConfig::new(pool.clone());
        let again = |config: &PortConfig, ifname: &str| {
            Port::open(&eal, &PortSource::Linux(ifname.into()), PortId(9), config).err().unwrap()
        };
        assert!(matches!(again(&config, "a0"), DpdkError::PortTwice(_)));
        assert!(matches!(again(&config, "zz9"), DpdkError::Linux(LinuxError::NoInterface { .. })));
        let many = PortConfig { queues: 17, ..config.clone() };
        assert!(matches!(again(&many, "b0"), DpdkError::Queues { max: 16, asked: 17, .. }));

        drop(queues);
        own.stop().unwrap();
        assert!(own.start().unwrap_err().to_string().contains("open it again"));
        drop(own);
        let (_own, queues) = open(&eal, &pool, "a0", 0, 1);
        drop(queues);
    });
}

#[test]
fn three_ports_open_for_an_ordinary_user() {
    alone("af_packet::three_ports_open_for_an_ordinary_user", Where::User, || {
        sh("for i in 0 1 2 3 4; do ip link add a$i type veth peer name b$i; \
            ip link set a$i up; ip link set b$i up; ethtool -K b$i tx off >/dev/null; done");
        let dir = tempfile::tempdir().unwrap();
        let claims: Vec<LinuxPort> =
            (0..3).map(|i| LinuxPort::claim_in(&format!("a{i}"), dir.path()).unwrap()).collect();
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let mut ports: Vec<_> =
            claims.iter().zip(0..).map(|(c, i)| open(&eal, &pool, c.ifname(), i, 1)).collect();
        for (i, (_, queues)) in ports.iter_mut().enumerate() {
            let (_peer, mut peer_queues) = open(&eal, &pool, &format!("b{i}"), 7, 1);
            let f = numbered(Mac::BROADCAST, a0(), 7);
            assert_eq!(queues[0].tx(&mut vec![frame(&mut pool, &f)]), 1);
            assert!(receive(&mut peer_queues[0], Duration::from_secs(1), |got| got == f));
            assert_eq!(peer_queues[0].tx(&mut vec![frame(&mut pool, &f)]), 1);
            assert!(receive(&mut queues[0], Duration::from_secs(1), |got| got == f));
        }
        // The kernel holds each queue's rings against the limit, not their sum.
        assert!(std::fs::read_to_string("/proc/self/status").unwrap().contains("VmLck:\t       0 kB"));
        let (_fourth, four_queues) = open(&eal, &pool, "a3", 3, 4);
        assert_eq!(four_queues.len(), 4);
        // With less than the smallest rings take, the limit is named.
        sh(&format!("prlimit --memlock=524288:524288 --pid {}", std::process::id()));
        let source = PortSource::Linux("a4".into());
        let text = Port::open(&eal, &source, PortId(4), &PortConfig::new(pool.clone())).err().unwrap();
        let text = text.to_string();
        println!("{text}");
        assert!(
            text.contains("ulimit -l") && text.contains(" 1024 kB") && text.contains(" 512 kB"),
            "{text}"
        );
    });
}

#[test]
fn without_capabilities_it_says_so() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    alone("af_packet::without_capabilities_it_says_so", Where::Netns, || {
        wire();
        let eal = start();
        let pool = Pool::new(&eal, "p", 1023, 2048).unwrap();
        // The whole thread lets go of what root may do.
        nix::unistd::setresuid(65534.into(), 65534.into(), 65534.into()).unwrap();
        let source = PortSource::Linux("a0".into());
        let text = Port::open(&eal, &source, PortId(0), &PortConfig::new(pool.clone())).err().unwrap();
        assert!(text.to_string().contains("CAP_NET_ADMIN"), "{text}");
    });
}

#[test]
fn a_tag_that_the_driver_takes_off_is_told_of_its_frame_until_the_mbuf_moves_on() {
    let name = "af_packet::a_tag_that_the_driver_takes_off_is_told_of_its_frame_until_the_mbuf_moves_on";
    alone(name, Where::Netns, || {
        wire();
        let dir = tempfile::tempdir().unwrap();
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let (_peer, mut peer_queues) = open(&eal, &pool, "b0", 1, 1);
        let _claim = LinuxPort::claim_in("a0", dir.path()).unwrap();
        let config = PortConfig { strip_vlan: true, ..PortConfig::new(pool.clone()) };
        let mut own = Port::open(&eal, &PortSource::Linux("a0".into()), PortId(0), &config).unwrap();
        println!("{}", own.caps());
        assert!(own.caps().rx_vlan_strip);
        own.start().unwrap();
        let mut queue = own.take_queues().unwrap().remove(0);
        let ring = PortSource::Vdev("net_ring0".into());
        let mut ring = Port::open(&eal, &ring, PortId(2), &config).unwrap();
        assert!(!ring.caps().rx_vlan_strip);
        ring.start().unwrap();
        let mut loop_back = ring.take_queues().unwrap().remove(0);

        let mut plain = numbered(a0(), Mac::BROADCAST, 7);
        plain.resize(100, 7);
        let mut tagged = plain.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x60, 0x2a]);
        let mut out: Vec<Mbuf> = [&plain, &tagged].map(|f| frame(&mut pool, f)).into();
        assert_eq!(peer_queues[0].tx(&mut out), 2);
        let (mut seen, mut burst) = (Vec::new(), Vec::<Mbuf>::with_capacity(BURST));
        let end = Instant::now() + Duration::from_secs(5);
        while seen.len() < 2 && Instant::now() < end {
            queue.rx(&mut burst);
            for mbuf in burst.drain(..).filter(|mbuf| ours(mbuf.bytes())) {
                assert_eq!(mbuf.bytes(), plain, "without its tag");
                seen.push(mbuf.tag_taken());
                assert_eq!(loop_back.tx(&mut vec![mbuf]), 1);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [None, Some(42)]);
        loop_back.rx(&mut burst);
        assert_eq!(burst.iter().map(|mbuf| mbuf.tag_taken()).collect::<Vec<_>>(), [None, None]);
    });
}
