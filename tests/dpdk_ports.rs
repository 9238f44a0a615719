//! Real ports: mbufs, rings, Linux interfaces on veth pairs.
//!
//! DPDK starts once in a process, so each test runs in a process of its own: the test binary runs itself again, for the
//! tests with interfaces in a new network namespace, which ends with that process whatever happens. Where the kernel
//! refuses a namespace these tests say so and pass.
#![cfg(feature = "dpdk")]

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use turnout::base::{Mac, Nanos, PortId};
use turnout::dpdk::*;
use turnout::packet::{BufPool, PacketBuf};

const CHILD: &str = "TURNOUT_TEST_CHILD";

/// Runs `body` in a new process: this test's again, told apart by its environment.
fn alone(test: &str, netns: bool, body: impl FnOnce()) {
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return body();
    }
    let me = std::env::current_exe().unwrap();
    let mut command = if netns {
        let flag = if nix::unistd::geteuid().is_root() { "-n" } else { "-rn" };
        let works = Command::new("unshare").args([flag, "true"]).stderr(Stdio::null()).status();
        if !works.is_ok_and(|s| s.success()) {
            println!("skipped: this kernel gives this user no network namespace");
            return;
        }
        let mut command = Command::new("unshare");
        command.arg(flag).arg(me);
        command
    } else {
        Command::new(me)
    };
    let out = command.args([test, "--exact", "--nocapture"]).env(CHILD, test).output().unwrap();
    print!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{test}: {} (signal {:?})", out.status, out.status.signal());
}

fn start() -> Eal {
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap().iter().map(|c| c.id).collect();
    let config = EalConfig {
        manager_core: cores[0],
        worker_cores: cores,
        hugepages: Hugepages::Never,
        memory_mb: 64,
        ..EalConfig::default()
    };
    let began = Instant::now();
    let eal = Eal::start(&config).unwrap();
    println!("EAL started in {:?}", began.elapsed());
    eal
}

fn frame(pool: &mut Pool, bytes: &[u8]) -> Mbuf {
    let mut mbuf = pool.alloc().unwrap();
    assert!(mbuf.resize(bytes.len()));
    mbuf.bytes_mut().copy_from_slice(bytes);
    mbuf
}

fn receive(queue: &mut Queue, within: Duration, mut stop: impl FnMut(&[u8]) -> bool) -> bool {
    let end = Instant::now() + within;
    let mut burst = ArrayVec::<Mbuf, BURST>::new();
    while Instant::now() < end {
        queue.rx(&mut burst);
        for mbuf in burst.drain(..) {
            if stop(mbuf.bytes()) {
                return true;
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

#[test]
fn memory() {
    alone("memory", false, || {
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
    alone("clean_shutdown_leaves_no_folder", false, || {
        let eal = start();
        let pool = Pool::new(&eal, "p", 255, 2048).unwrap();
        drop((eal, pool));
        let name = format!("turnout-{}", std::process::id());
        assert!(!Path::new("/var/run/dpdk").join(&name).exists());
    });
}

#[test]
fn rings_loop_bursts_in_order() {
    alone("rings_loop_bursts_in_order", false, || {
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 4095, 2048).unwrap();
        let source = PortSource::Vdev("net_ring0".into());
        let config = PortConfig { queues: 2, ..PortConfig::new(pool.clone()) };
        assert!(matches!(
            Port::open(&eal, &source, PortId(0), &PortConfig { queues: 999, ..config.clone() }),
            Err(DpdkError::Queues { asked: 999, .. })
        ));
        let mut port = Port::open(&eal, &source, PortId(0), &config).unwrap();
        println!("{:?} mtu {} mac {}", port.caps(), port.mtu(), port.mac());
        assert!(matches!(Port::open(&eal, &source, PortId(1), &config), Err(DpdkError::PortTwice(_))));
        assert!(!port.caps().rss);
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
        let mut burst = ArrayVec::<Mbuf, BURST>::new();
        assert_eq!(queues[1].rx(&mut burst), 0);
        let mut next = 0u32;
        while queues[0].rx(&mut burst) > 0 {
            for mbuf in burst.drain(..) {
                assert_eq!(mbuf.bytes(), next.to_be_bytes());
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
            let mut small = ArrayVec::<Mbuf, 5>::new();
            assert_eq!(second.rx(&mut small), 5);
            assert_eq!(second.rx(&mut small), 0);
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
        // Three mbufs were left in a ring, which outlives its port.
        println!("available after close: {}", pool.available());
        assert!(pool.available() >= 4095 - 3);
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
    alone("null_port_gives_and_takes", false, || {
        let eal = start();
        let pool = Pool::new(&eal, "p", 1023, 2048).unwrap();
        let source = PortSource::Vdev("net_null0,size=60".into());
        let mut port = Port::open(&eal, &source, PortId(0), &PortConfig::new(pool.clone())).unwrap();
        port.start().unwrap();
        let mut queue = port.take_queues().unwrap().remove(0);
        let mut burst = ArrayVec::<Mbuf, BURST>::new();
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

// ---- Linux interfaces: a0 is the router's, b0 the peer's -------------------------------------------------------

fn sh(line: &str) -> String {
    let out = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A veth pair; the kernel has 10.9.9.9 on lo, for which it answers ARP on every interface.
fn wire() {
    sh("ip link set lo up && ip addr add 10.9.9.9/32 dev lo \
        && ip link add a0 address 02:00:00:00:00:0a type veth peer name b0 address 02:00:00:00:00:0b \
        && ip link set b0 up && ethtool -K a0 gro on && ethtool -K b0 tx off >/dev/null");
}

/// Everything of an interface that a claim may touch.
fn picture(ifname: &str) -> String {
    sh(&format!(
        "ip -j link show {ifname} | grep -o '\"flags\":[^]]*'; tc qdisc show dev {ifname}; \
         ethtool -k {ifname} | grep -E 'generic-receive|large-receive|rx-gro|rx-udp-gro'; nft list tables"
    ))
}

fn a0() -> Mac {
    "02:00:00:00:00:0a".parse().unwrap()
}

fn arp_request() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0xb, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xb]);
    frame.extend(Ipv4Addr::new(10, 9, 9, 50).octets());
    frame.extend([0; 6]);
    frame.extend(Ipv4Addr::new(10, 9, 9, 9).octets());
    frame.resize(60, 0);
    frame
}

fn numbered(to: Mac, from: Mac, n: u16) -> Vec<u8> {
    let mut frame = [to.0, from.0].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend(n.to_be_bytes());
    frame.resize(60, 0);
    frame
}

fn open(eal: &Eal, pool: &Pool, ifname: &str, id: u16, queues: u16) -> (Port, Vec<Queue>) {
    let source = PortSource::Linux(ifname.into());
    let config = PortConfig { queues, ..PortConfig::new(pool.clone()) };
    let mut port = Port::open(eal, &source, PortId(id), &config).unwrap();
    port.start().unwrap();
    let queues = port.take_queues().unwrap();
    (port, queues)
}

#[test]
fn linux_port_is_silenced_and_given_back() {
    alone("linux_port_is_silenced_and_given_back", true, || {
        wire();
        sh("ip link set a0 up promisc on");
        let before = picture("a0");
        let dir = tempfile::tempdir().unwrap();
        let eal = start();
        let mut pool = Pool::new(&eal, "p", 8191, 2048).unwrap();
        let (peer, mut peer_queues) = open(&eal, &pool, "b0", 1, 1);
        let peer_queue = &mut peer_queues[0];

        // The control: unclaimed, the kernel answers.
        let mut ask = vec![frame(&mut pool, &arp_request())];
        let answered = |f: &[u8]| f[6..12] == a0().0 && f[12..14] == [8, 6];
        peer_queue.tx(&mut ask);
        assert!(receive(peer_queue, Duration::from_secs(2), answered), "the control failed");

        let began = Instant::now();
        let port = LinuxPort::claim_in("a0", dir.path()).unwrap();
        println!("claimed in {:?}", began.elapsed());
        assert_eq!((port.mac(), port.mtu(), port.ifname()), (a0(), 1500, "a0"));
        let (own, mut queues) = open(&eal, &pool, "a0", 0, 2);
        assert_eq!((own.mac(), own.mtu(), own.caps().rss), (a0(), 1500, false));
        receive(peer_queue, Duration::from_millis(100), |_| false);

        // What the peer sends arrives at the router, on one of two queues, and the kernel does not answer.
        ask.push(frame(&mut pool, &arp_request()));
        peer_queue.tx(&mut ask);
        let mut seen = |f: &[u8]| f == arp_request();
        let arrived =
            (0..20).any(|_| queues.iter_mut().any(|q| receive(q, Duration::from_millis(50), &mut seen)));
        assert!(arrived, "the router does not see the peer's frame");
        // What the kernel sends on its own (a neighbour solicitation, a broadcast) stays inside.
        sh("ip route add 10.8.8.0/24 dev a0 src 10.9.9.9; ping -c1 -W1 10.8.8.8 >/dev/null 2>&1; \
            ping -c1 -W1 -I a0 ff02::1 >/dev/null 2>&1; ip route del 10.8.8.0/24 dev a0");
        let kernels = |f: &[u8]| f[6..12] == a0().0 && f[12..14] != [0x88, 0xb5];
        assert!(
            !receive(peer_queue, Duration::from_millis(500), kernels),
            "the kernel speaks on a claimed interface"
        );

        // The router's own frames pass, all of them and in order.
        let mut out: Vec<Mbuf> = (0..64)
            .map(|n| frame(&mut pool, &numbered("02:00:00:00:00:0b".parse().unwrap(), a0(), n)))
            .collect();
        assert_eq!(queues[1].tx(&mut out), 64);
        let mut next = 0;
        receive(peer_queue, Duration::from_secs(2), |f| {
            if f[12..14] == [0x88, 0xb5] {
                assert_eq!(f[14..16], u16::to_be_bytes(next));
                next += 1;
            }
            next == 64
        });
        assert_eq!(next, 64);

        // A second router is told who has it.
        let text = LinuxPort::claim_in("a0", dir.path()).err().unwrap().to_string();
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");

        drop((queues, own));
        port.release().unwrap();
        assert_eq!(picture("a0"), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        ask.push(frame(&mut pool, &arp_request()));
        peer_queue.tx(&mut ask);
        assert!(receive(peer_queue, Duration::from_secs(2), answered), "the kernel is still silent");
        drop((ask, peer_queues, peer));
        assert_eq!(pool.available(), 8191);
    });
}

#[test]
fn claim_refuses_what_it_must() {
    alone("claim_refuses_what_it_must", true, || {
        wire();
        let dir = tempfile::tempdir().unwrap();
        let text = |ifname: &str| LinuxPort::claim_in(ifname, dir.path()).err().unwrap().to_string();
        assert!(text("zz9").contains("a0 ") || text("zz9").contains("a0)"), "{}", text("zz9"));
        assert!(text("../x").contains("is not there"));
        assert!(text("lo").contains("lo is no Ethernet interface"));
        sh("ip addr add 192.0.2.1/24 dev a0");
        assert!(
            text("a0").contains("192.0.2.1/24") && text("a0").ends_with("ip addr flush dev a0"),
            "{}",
            text("a0")
        );
        sh("ip addr flush dev a0 && ip addr add 2001:db8::1/64 dev a0");
        assert!(text("a0").contains("2001:db8::1/64"));
        sh("ip addr flush dev a0 && tc qdisc add dev a0 root handle 5: pfifo limit 10");
        assert!(text("a0").ends_with("tc qdisc del dev a0 root"), "{}", text("a0"));
        sh("tc qdisc del dev a0 root");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // Down and with a link-local address at most: taken, brought up, and down again afterwards.
        let before = picture("a0");
        let port = LinuxPort::claim_in("a0", dir.path()).unwrap();
        assert!(picture("a0").contains("\"UP\"") && picture("a0").contains("generic-receive-offload: off"));
        drop(port);
        assert_eq!(picture("a0"), before);
    });
}

/// A router that claims a0, and hangs until it is killed.
fn holder(dir: &Path) -> Child {
    let me = std::env::current_exe().unwrap();
    let mut command = Command::new(me);
    command.args(["holds_until_killed", "--exact", "--nocapture"]).env(CHILD, "holds_until_killed");
    let child = command.env("TURNOUT_TEST_DIR", dir).stdout(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while !dir.join("held").exists() {
        assert!(Instant::now() < end, "the holder does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn holds_until_killed() {
    let Some(dir) = std::env::var_os("TURNOUT_TEST_DIR") else { return };
    let dir = Path::new(&dir);
    let _port = LinuxPort::claim_in("a0", dir).unwrap();
    sh("ip link set a0 promisc off");
    std::fs::write(dir.join("held"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_router_is_mended() {
    alone("a_killed_router_is_mended", true, || {
        wire();
        sh("ip link set a0 promisc on");
        let before = picture("a0");
        let dir = tempfile::tempdir().unwrap();
        let mut child = holder(dir.path());
        let text = LinuxPort::claim_in("a0", dir.path()).err().unwrap().to_string();
        assert!(text.contains(&format!("(pid {}) holds a0", child.id())), "{text}");
        child.kill().unwrap();
        child.wait().unwrap();
        let left = picture("a0");
        assert!(
            left.contains("blackhole") && left.contains("turnout_a0") && left.contains("\"UP\""),
            "{left}"
        );
        let port = LinuxPort::claim_in("a0", dir.path()).unwrap();
        drop(port);
        assert_eq!(picture("a0"), before);
    });
}

#[test]
fn carrier_changes_are_seen_in_milliseconds() {
    alone("carrier_changes_are_seen_in_milliseconds", true, || {
        wire();
        let dir = tempfile::tempdir().unwrap();
        let port = LinuxPort::claim_in("a0", dir.path()).unwrap();
        let id = PortId(3);
        let mut watch = LinkWatcher::new([(id, LinkSource::Linux(port.ifindex()))]).unwrap();
        let origin = Instant::now();
        let mut wait = |want: bool, what: &str| {
            let began = Instant::now();
            let mut last = None;
            while last != Some((id, want)) {
                assert!(began.elapsed() < Duration::from_secs(2), "{what}: {last:?}");
                let now = Nanos(origin.elapsed().as_nanos() as u64);
                watch.poll(now, &mut |port, up| last = Some((port, up)));
                std::thread::sleep(Duration::from_micros(500));
            }
            began.elapsed()
        };
        println!("initial state after {:?}", wait(true, "initial"));
        for _ in 0..3 {
            sh("ip link set b0 down");
            let down = wait(false, "peer down");
            sh("ip link set b0 up");
            let up = wait(true, "peer up");
            println!("down seen {down:?} after the command, up {up:?}");
            assert!(down < Duration::from_millis(50) && up < Duration::from_millis(50));
        }
        // More notices than the socket holds: it asks again and ends up right.
        sh("for i in $(seq 300); do echo link set b0 mtu 1400; echo link set b0 mtu 1500; \
            echo link set a0 mtu 1400; echo link set a0 mtu 1500; done | ip -batch -; ip link set b0 down");
        wait(false, "after an overrun");
        sh(
            "ip link del a0 && ip link add a0 type veth peer name b0 && ip link set a0 up && ip link set b0 up",
        );
        let mut reports = 0;
        for _ in 0..50 {
            watch.poll(Nanos(origin.elapsed().as_nanos() as u64), &mut |_, _| reports += 1);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(reports, 0, "another interface under the old name is not ours");
    });
}
