//! Real ports: mbufs, rings, Linux interfaces on veth pairs.
//!
//! DPDK starts once in a process, so each test runs in a process of its own: the test binary runs itself again, for the
//! tests with interfaces in a new network namespace, which ends with that process whatever happens. Where the kernel
//! refuses a namespace these tests say so and pass.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "dpdk_ports/af_packet.rs"]
mod af_packet;
#[path = "dpdk_ports/claim.rs"]
mod claim;
#[path = "dpdk_ports/rig.rs"]
mod rig;

use std::path::Path;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use turnout::base::{Mac, Nanos, PortId};
use turnout::dpdk::*;
use turnout::packet::{BufPool, PacketBuf, Verified, tag};

use rig::{Where, alone, arp_request, frame, sh, skipped, start, udp_to_the_kernel};

#[test]
fn memory() {
    alone("memory", Where::Here, || {
        let wrong = EalConfig { manager_core: 4000, ..EalConfig::default() };
        assert!(matches!(Eal::start(&wrong), Err(DpdkError::Core { core: 4000, .. })));
        let eal = start();
        assert!(matches!(Eal::start(&EalConfig { ..Default::default() }), Err(DpdkError::StartedTwice)));
        assert!(eal.register_worker(4000).is_err());
        assert!(tsc_hz(&eal) > 100_000_000);
        assert!(tsc() < tsc());

        let mut pool = Pool::new(&eal, "p", 2047, Pool::DATA_ROOM).unwrap();
        assert_eq!(pool.available(), 2047);
        let mut all: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!((all.len(), pool.available()), (2047, 0));
        assert!(pool.alloc().is_none());

        let mut mbuf = all.pop().unwrap();
        assert_eq!((mbuf.bytes().len(), mbuf.headroom()), (0, 128));
        assert_eq!(mbuf.ip_checksum(), Verified::Unknown);
        assert!(mbuf.resize(2048) && !mbuf.resize(2049) && !mbuf.resize(70_000));
        assert!(mbuf.resize(3));
        mbuf.bytes_mut().copy_from_slice(b"abc");
        assert!(!mbuf.prepend(129) && !mbuf.prepend(70_000));
        assert!(mbuf.prepend(128) && !mbuf.prepend(1));
        assert_eq!((mbuf.bytes().len(), &mbuf.bytes()[128..]), (131, &b"abc"[..]));
        assert!(mbuf.resize(2176) && !mbuf.resize(2177));
        drop(mbuf);
        assert_eq!(pool.available(), 1);

        // Freed on another thread, through its cache; taken there, too.
        let (there, mut handle) = (eal.share(), pool.clone());
        std::thread::spawn(move || {
            let core = core_affinity::get_core_ids().unwrap()[0].id;
            let _guard = there.register_worker(core).unwrap();
            drop(all);
            let some: Vec<Mbuf> = (0..100).filter_map(|_| handle.alloc()).collect();
            assert_eq!(some.len(), 100);
        })
        .join()
        .unwrap();
        assert_eq!(pool.available(), 2047);

        let text = Pool::new(&eal, "big", 1 << 20, 2048).err().unwrap().to_string();
        assert!(text.contains("1048576") && text.lines().count() == 1, "{text}");
        let text = Pool::new(&eal, "p", 64, 2048).err().unwrap().to_string();
        println!("{text}");

        // A pool that is let go of before its mbufs stays for them.
        let mut brief = Pool::new(&eal, "brief", 63, 2048).unwrap();
        let mut last = frame(&mut brief, b"still here");
        drop(brief);
        drop(pool);
        drop(eal);
        last.bytes_mut()[0] = b'S';
        assert_eq!(last.bytes(), b"Still here");
        drop(last);
    });
}

#[test]
fn clean_shutdown_leaves_no_folder() {
    alone("clean_shutdown_leaves_no_folder", Where::Here, || {
        let eal = start();
        let pool = Pool::new(&eal, "p", 255, 2048).unwrap();
        drop((eal, pool));
        let name = format!("turnout-{}", std::process::id());
        assert!(!Path::new("/var/run/dpdk").join(&name).exists());
    });
}

#[test]
fn a_port_carries_what_is_asked_for_or_says_that_it_cannot() {
    alone("a_port_carries_what_is_asked_for_or_says_that_it_cannot", Where::Here, || {
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 2047, 9088).unwrap();
        let mac = Some(Mac([2, 0, 0x5e, 0x10, 0, 1]));
        let config = PortConfig { mtu: Some(9000), mac, ..PortConfig::new(pool.clone()) };
        let null = PortSource::Vdev("net_null0".into());
        let mut port = Port::open(&eal, &null, PortId(0), &config).unwrap();
        assert_eq!(port.mtu(), 9000);
        port.start().unwrap();
        let ring = PortSource::Vdev("net_ring0".into());
        let text = Port::open(&eal, &ring, PortId(1), &config).err().unwrap().to_string();
        assert!(text.contains("net_ring0") && text.contains("rte_eth_dev_set_mtu"), "{text}");

        // Tags move the front of an mbuf, within its memory.
        let bytes: Vec<u8> = (0..9000u32).map(|n| n as u8).collect();
        let mut mbuf = frame(&mut pool, &bytes);
        let room = mbuf.headroom();
        assert!(tag::push(&mut mbuf, 30));
        assert_eq!((mbuf.bytes().len(), mbuf.headroom()), (9004, room - 4));
        assert_eq!(mbuf.bytes()[12..16], [0x81, 0, 0, 30]);
        assert_eq!(tag::pop(&mut mbuf), Some(30));
        assert_eq!((mbuf.bytes(), mbuf.headroom()), (&bytes[..], room));
        assert!(!mbuf.trim(9001) && mbuf.trim(9000) && !mbuf.trim(1) && mbuf.trim(0));
        assert!(mbuf.bytes().is_empty());
    });
}

#[test]
fn rings_loop_bursts_in_order() {
    alone("rings_loop_bursts_in_order", Where::Here, || {
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 4095, 2048).unwrap();
        let source = PortSource::Vdev("net_ring0".into());
        let config = PortConfig { queues: 2, ..PortConfig::new(pool.clone()) };
        assert!(matches!(
            Port::open(&eal, &source, PortId(0), &PortConfig { queues: 999, ..config.clone() }),
            Err(DpdkError::Queues { asked: 999, .. })
        ));
        let mut port = Port::open(&eal, &source, PortId(0), &config).unwrap();
        println!("{} mtu {} mac {}", port.caps(), port.mtu(), port.mac());
        assert!(matches!(Port::open(&eal, &source, PortId(1), &config), Err(DpdkError::PortTwice(_))));
        assert!(!port.caps().rss && !port.caps().rx_checksum_ip);
        assert!(port.take_queues().is_err());
        port.start().unwrap();
        let mut queues = port.take_queues().unwrap();
        assert!(port.take_queues().is_err());
        assert!(matches!(port.stop(), Err(DpdkError::State { .. })));
        assert!(port.link().up);

        // A ring holds 1023: the rest stays with the sender, in order.
        let mut out: Vec<Mbuf> = (0..1500u32).map(|i| frame(&mut pool, &i.to_be_bytes())).collect();
        let sent = queues[0].tx(&mut out);
        assert_eq!((sent, out.len()), (1023, 1500 - 1023));
        assert_eq!(out[0].bytes(), 1023u32.to_be_bytes());
        assert_eq!(out.last().unwrap().bytes(), 1499u32.to_be_bytes());
        assert_eq!(queues[0].tx(&mut out), 0);
        let mut burst = Vec::<Mbuf>::with_capacity(BURST);
        assert_eq!(queues[1].rx(&mut burst), 0);
        let mut next = 0u32;
        while queues[0].rx(&mut burst) > 0 {
            for mbuf in burst.drain(..) {
                assert_eq!(mbuf.bytes(), next.to_be_bytes());
                assert_eq!(mbuf.ip_checksum(), Verified::Unknown);
                next += 1;
            }
        }
        assert_eq!(next, 1023);
        assert_eq!(queues[0].stats().rx_packets, 1023);
        assert_eq!(queues[0].stats().tx_packets, 1023);

        // The second queue is another ring, and a queue moves to another thread.
        let mut few: ArrayVec<Mbuf, 8> = (0..8u32).map(|i| frame(&mut pool, &i.to_be_bytes())).collect();
        let mut second = queues.pop().unwrap();
        let second = std::thread::spawn(move || {
            assert_eq!(second.tx(&mut few), 8);
            assert!(few.is_empty());
            let mut back = Vec::new();
            assert_eq!(second.rx(&mut back), 8);
            assert_eq!(second.rx(&mut back), 0);
            assert_eq!(second.tx(&mut back), 8);
            second
        })
        .join()
        .unwrap();
        println!("{:?}", port.stats());
        drop((second, queues, out));
        port.stop().unwrap();
        port.start().unwrap();
        assert_eq!(port.take_queues().unwrap().len(), 2);
        drop(port);
        // Eight mbufs were left in a ring, which outlives its port.
        println!("available after close: {}", pool.available());
        assert!(pool.available() >= 4095 - 8);
        // Its name is free again.
        let mut again = Port::open(&eal, &source, PortId(0), &config).unwrap();
        again.start().unwrap();
        let text =
            Port::open(&eal, &PortSource::Pci("0000:99:00.0".into()), PortId(7), &config).err().unwrap();
        assert!(text.to_string().contains("dpdk-devbind"), "{text}");
        let text =
            Port::open(&eal, &PortSource::Vdev("net_nothing0".into()), PortId(7), &config).err().unwrap();
        assert!(matches!(text, DpdkError::NoPort { .. }), "{text}");
    });
}

#[test]
fn null_port_gives_and_takes() {
    alone("null_port_gives_and_takes", Where::Here, || {
        let eal = start();
        let pool = Pool::new(&eal, "p", 1023, 2048).unwrap();
        let source = PortSource::Vdev("net_null0,size=60".into());
        let mut port = Port::open(&eal, &source, PortId(0), &PortConfig::new(pool.clone())).unwrap();
        port.start().unwrap();
        let mut queue = port.take_queues().unwrap().remove(0);
        let mut burst = Vec::<Mbuf>::with_capacity(BURST);
        let (began, mut packets) = (tsc(), 0);
        for _ in 0..10_000 {
            assert_eq!(queue.rx(&mut burst), BURST);
            assert!(burst.iter().all(|m| m.bytes().len() == 60));
            packets += queue.tx(&mut burst);
            assert!(burst.is_empty());
        }
        println!("{} cycles a packet, received and sent", (tsc() - began) / packets as u64);
        assert!(port.stats().ipackets >= 320_000);
        let probe = port.link_probe();
        let mut watch = LinkWatcher::new([(port.id(), LinkSource::Ask(probe))]).unwrap();
        let mut seen = Vec::new();
        for ms in 0..3 {
            watch.poll(Nanos::from_ms(ms), &mut |port, up| seen.push((port, up)));
        }
        assert_eq!(seen, [(PortId(0), true)]);
        drop((queue, port, watch));
        assert_eq!(pool.available(), 1023);
    });
}

/// `net_tap` is the virtual port that verifies IPv4 header checksums.
#[test]
fn a_port_that_verifies_ip_checksums_is_believed_until_the_mbuf_moves_on() {
    let name = "a_port_that_verifies_ip_checksums_is_believed_until_the_mbuf_moves_on";
    alone(name, Where::Netns, || {
        let eal = start();
        let pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let config = PortConfig::new(pool.clone());
        let tap = PortSource::Vdev("net_tap0,iface=t0".into());
        let mut tap = match Port::open(&eal, &tap, PortId(0), &config) {
            Ok(port) => port,
            Err(e) => return skipped(format!("no tap interface here: {e}")),
        };
        println!("{}", tap.caps());
        assert!(tap.caps().rx_checksum_ip);
        tap.start().unwrap();
        let mut from_tap = tap.take_queues().unwrap().remove(0);
        let ring = PortSource::Vdev("net_ring0".into());
        let mut ring = Port::open(&eal, &ring, PortId(1), &config).unwrap();
        ring.start().unwrap();
        let mut loop_back = ring.take_queues().unwrap().remove(0);

        let good = udp_to_the_kernel();
        let mut bad = good.clone();
        bad[24] ^= 1;
        let hex = |f: &[u8]| f.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let send = format!(
            "import socket\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('t0', 0))\n\
             for f in '{}', '{}', '{}': s.send(bytes.fromhex(f))",
            hex(&good),
            hex(&bad),
            hex(&arp_request())
        );
        sh("ip link set t0 up");
        if !std::process::Command::new("python3").args(["-c", &send]).status().is_ok_and(|s| s.success()) {
            return skipped("no python3 here");
        }
        let mut seen = Vec::new();
        let mut moved = Vec::new();
        let mut burst = Vec::<Mbuf>::with_capacity(BURST);
        let end = Instant::now() + Duration::from_secs(5);
        while seen.len() < 3 && Instant::now() < end {
            from_tap.rx(&mut burst);
            for mbuf in
                burst.drain(..).filter(|m| [&good, &bad, &arp_request()].contains(&&m.bytes().to_vec()))
            {
                seen.push(mbuf.ip_checksum());
                moved.push(mbuf);
            }
        }
        assert_eq!(seen, [Verified::Good, Verified::Bad, Verified::Unknown]);

        // A ring passes the mbuf on with all that is noted in it, and verifies nothing.
        assert_eq!(loop_back.tx(&mut moved), 3);
        assert_eq!(loop_back.rx(&mut burst), 3);
        assert!(burst.iter().all(|m| m.ip_checksum() == Verified::Unknown));
    });
}
