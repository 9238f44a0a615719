//! Claiming a Linux interface and giving it back, its carrier.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use turnout::base::{Nanos, PortId};
use turnout::dpdk::*;

use crate::rig::*;

#[test]
fn linux_port_is_silenced_and_given_back() {
    alone("claim::linux_port_is_silenced_and_given_back", Where::Netns, || {
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
        let kernel = std::net::UdpSocket::bind("10.9.9.9:7777").unwrap();
        kernel.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let knock = |queue: &mut Queue, pool: &mut Pool| {
            queue.tx(&mut vec![frame(pool, &udp_to_the_kernel())]);
            kernel.recv(&mut [0; 9]).is_ok()
        };
        assert!(knock(peer_queue, &mut pool), "the second control failed");
        let kernels = |f: &[u8]| f[6..12] == a0().0 && f[12..14] != [0x88, 0xb5];
        let speak = || {
            sh("ip route add 10.8.8.0/24 dev a0 src 10.9.9.9");
            std::net::UdpSocket::bind("10.9.9.9:0").unwrap().send_to(b"?", "10.8.8.8:9").unwrap();
            sh("ip route del 10.8.8.0/24 dev a0");
        };
        speak();
        assert!(receive(peer_queue, Duration::from_secs(1), kernels), "the third control failed");

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
        speak();
        assert!(
            !receive(peer_queue, Duration::from_millis(500), kernels),
            "the kernel speaks on a claimed interface"
        );
        assert!(!knock(peer_queue, &mut pool), "the kernel receives on a claimed interface");

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

        let (began, mut burst) = (tsc(), Vec::<Mbuf>::with_capacity(BURST));
        for _ in 0..10_000 {
            queues[0].rx(&mut burst);
        }
        println!("{} cycles an empty poll", (tsc() - began) / 10_000);
        let (began, mut arrived) = (Instant::now(), 0);
        for n in 0..2000u16 {
            let to = "02:00:00:00:00:0b".parse().unwrap();
            out.extend((0..32).map(|_| frame(&mut pool, &numbered(to, a0(), n))));
            queues[1].tx(&mut out);
            while peer_queue.rx(&mut burst) > 0 {
                arrived += burst.len();
                burst.clear();
            }
        }
        println!("{arrived} of 64000 sent and received in {:?}", began.elapsed());

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
    alone("claim::claim_refuses_what_it_must", Where::Netns, || {
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

const HOLDER: &str = "claim::holds_until_killed";

/// A router that opens a0, and hangs until it is killed.
fn holder(dir: &Path) -> Child {
    let me = std::env::current_exe().unwrap();
    let mut command = Command::new(me);
    command.args([HOLDER, "--exact", "--nocapture"]).env(CHILD, HOLDER);
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
    let _claim = LinuxPort::claim_in("a0", dir).unwrap();
    let eal = start();
    let pool = Pool::new(&eal, "p", 1023, 2048).unwrap();
    let _open = open(&eal, &pool, "a0", 0, 1);
    std::fs::write(dir.join("held"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_router_is_mended() {
    alone("claim::a_killed_router_is_mended", Where::Netns, || {
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
        assert!(before.contains("PROMISC") && !left.contains("PROMISC"), "{left}");
        let port = LinuxPort::claim_in("a0", dir.path()).unwrap();
        drop(port);
        assert_eq!(picture("a0"), before);
    });
}

#[test]
fn carrier_changes_are_seen_in_milliseconds() {
    alone("claim::carrier_changes_are_seen_in_milliseconds", Where::Netns, || {
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
