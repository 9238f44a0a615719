//! A thousand hosts on one wire, each of whom gets its own answer: frames that the test makes itself.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netns::{Service, Site, eventually, raw_socket, service, usual};
use nix::sys::socket::{LinkAddr, MsgFlags, recvfrom, sendto, setsockopt, sockopt};
use turnout::base::Mac;
use turnout::demo::lab::{INTERNET, WAN1};
use turnout::sim::Packet;
use turnout::sim::frames::Seen;
use turnout::wire::arp::{Arp, Op};

const HOSTS: u16 = 1000;
const PORT: u16 = 4000;

fn host(n: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(172, 16, 0, 10).to_bits() + u32::from(n))
}

fn number(ip: Ipv4Addr) -> Option<u16> {
    let n = ip.to_bits().checked_sub(host(0).to_bits())?;
    u16::try_from(n).ok().filter(|n| *n < HOSTS)
}

fn mac(n: u16) -> Mac {
    let [a, b] = n.to_be_bytes();
    Mac([2, 0, 0, 5, a, b])
}

/// An echo that remembers from which ports it was asked.
fn server(site: &Site, ports: Arc<Mutex<BTreeSet<u16>>>) -> Service {
    let inet = site.host("inet");
    let socket = inet.run(|| UdpSocket::bind((INTERNET[0], 7)).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
    service(inet, move |over, served| {
        let mut packet = [0u8; 2048];
        while !over.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
            assert_eq!(from.ip(), WAN1);
            ports.lock().unwrap().insert(from.port());
            served.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&packet[..length], from);
        }
    })
}

/// Answers for the hosts that the router asks for, and marks those that have got their own number back.
fn wire(site: &Site, (fd, to): (OwnedFd, LinkAddr), got: Arc<Mutex<BTreeSet<u16>>>) -> Service {
    service(site.host("lan"), move |over, served| {
        let mut frame = vec![0u8; 2048];
        while !over.load(Ordering::Relaxed) {
            let Ok((length, _)) = recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut frame) else { continue };
            let frame = &frame[..length];
            if frame.get(12..14) == Some(&[8, 6]) {
                let Some(asked) = frame.get(14..).and_then(Arp::parse) else { continue };
                let Some(n) = number(asked.target_ip).filter(|_| asked.op == Op::Request) else { continue };
                let reply = Arp {
                    op: Op::Reply,
                    sender_mac: mac(n),
                    sender_ip: host(n),
                    target_mac: asked.sender_mac,
                    target_ip: asked.sender_ip,
                };
                let _ =
                    sendto(fd.as_raw_fd(), &reply.frame(mac(n), asked.sender_mac), &to, MsgFlags::empty());
                continue;
            }
            let Some(seen) = Seen::read(frame).filter(|seen| seen.ip.src == INTERNET[0]) else { continue };
            let Some(n) = number(seen.ip.dst) else { continue };
            assert!(seen.checksum_holds() && seen.data() == n.to_be_bytes() && seen.dst().1 == PORT);
            assert_eq!(seen.eth.dst, mac(n));
            served.fetch_add(1, Ordering::Relaxed);
            got.lock().unwrap().insert(n);
        }
    })
}

#[test]
fn a_thousand_hosts_get_each_its_own_answer_and_rfc4787_3_its_own_outside_port() {
    let profile = usual().replace("[192.168.10.1/24]", "[192.168.10.1/24, 172.16.0.1/16]");
    let Some(site) = Site::start(&profile) else { return };
    let ports = Arc::new(Mutex::new(BTreeSet::new()));
    let got = Arc::new(Mutex::new(BTreeSet::new()));
    let server = server(&site, ports.clone());
    let (fd, to) = raw_socket(site.host("lan"), "trunk");
    let _wire = wire(&site, raw_socket(site.host("lan"), "trunk"), got.clone());
    let router = site.host("router").output("cat", &["/sys/class/net/lan0/address"], "").unwrap();
    let router: Vec<u8> = router.trim().split(':').map(|b| u8::from_str_radix(b, 16).unwrap()).collect();
    let router = Mac(router.try_into().unwrap());

    let began = Instant::now();
    let all = eventually(Duration::from_secs(6), || {
        let missing: Vec<u16> = (0..HOSTS).filter(|n| !got.lock().unwrap().contains(n)).collect();
        // What waits for a neighbour is bounded: a few at a time, and again who got nothing.
        for some in missing.chunks(50) {
            for n in some {
                let packet = Packet::udp((host(*n), PORT), (INTERNET[0], 7), &n.to_be_bytes());
                let _ = sendto(fd.as_raw_fd(), &packet.frame(mac(*n), router), &to, MsgFlags::empty());
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        missing.is_empty()
    });
    let (answered, ports) = (got.lock().unwrap().len(), ports.lock().unwrap().len());
    println!(
        "{answered} hosts in {:?}, {} questions",
        began.elapsed(),
        server.served.load(Ordering::Relaxed)
    );
    assert!(all, "{answered} hosts: {}", site.json(&["counters"]));
    assert_eq!(ports, usize::from(HOSTS), "two hosts share an outside port");
    let counters = site.json(&["counters"]);
    assert_eq!(counters["mappings_created"], HOSTS, "{counters}");
}
