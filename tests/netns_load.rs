//! Many at a time: parallel TCP connections, bursts of small questions, fifty hosts on one wire.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use netns::{Site, cores, eventually, profile, service, udp_echo, usual};
use turnout::demo::lab::INTERNET;

const WEB: SocketAddrV4 = SocketAddrV4::new(INTERNET[0], 80);
const DNS: SocketAddrV4 = SocketAddrV4::new(INTERNET[2], 53);
const PAGE: usize = 200_000;

/// Answers each request with a page that depends on it, a thread a connection.
fn web(site: &Site) -> netns::Service {
    let listener = site.host("inet").run(|| TcpListener::bind(WEB).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    service(site.host("inet"), move |over, served| {
        while !over.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    served.fetch_add(1, Ordering::Relaxed);
                    thread::spawn(move || {
                        stream.set_nonblocking(false).unwrap();
                        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                        let mut key = [0u8; 1];
                        if stream.read_exact(&mut key).is_ok() {
                            let _ = stream.write_all(&vec![key[0]; PAGE]);
                        }
                    });
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
                Err(e) => panic!("{e}"),
            }
        }
    })
}

/// So many connections at once; returns how many got their own page whole.
fn browse(many: u8) -> usize {
    let get = |key: u8| {
        move || {
            let mut stream = TcpStream::connect_timeout(&WEB.into(), Duration::from_secs(5)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            stream.write_all(&[key]).ok()?;
            let mut page = Vec::new();
            stream.read_to_end(&mut page).ok()?;
            Some(page.len() == PAGE && page.iter().all(|byte| *byte == key))
        }
    };
    // A thread that is born in a namespace stays there.
    let clients: Vec<_> = (0..many).map(|key| thread::spawn(get(key))).collect();
    clients.into_iter().map(|c| c.join().unwrap()).filter(|whole| *whole == Some(true)).count()
}

/// Questions, each from a socket of its own, all sent before the first answer is read; returns the answered ones.
fn resolve(many: u16) -> usize {
    let sockets: Vec<UdpSocket> = (0..many).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect();
    for (id, socket) in sockets.iter().enumerate() {
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket.send_to(&(id as u16).to_be_bytes(), DNS).unwrap();
    }
    let answered = |(id, socket): (usize, &UdpSocket)| {
        let mut answer = [0u8; 512];
        // As a resolver does: three tries.
        (0..3).any(|n| {
            if n > 0 {
                socket.send_to(&(id as u16).to_be_bytes(), DNS).unwrap();
            }
            socket.recv(&mut answer).is_ok_and(|length| answer[..length] == (id as u16).to_be_bytes())
        })
    };
    sockets.iter().enumerate().filter(|each| answered(*each)).count()
}

fn two_hosts_at_work(engine: &str) {
    let Some(site) = Site::start(&profile(engine, "1s")) else { return };
    let web = web(&site);
    let dns = udp_echo(site.host("inet"), *DNS.ip(), DNS.port());
    // A host's kernel drops what overruns its own queue for ARP.
    assert!(["lan1", "lan2"].iter().all(|host| site.pings(host, INTERNET[0])));
    let began = Instant::now();
    let browsing = ["lan1", "lan2"].map(|host| site.host(host).spawn(|| browse(32)).unwrap());
    let resolving = ["lan1", "lan2"].map(|host| site.host(host).spawn(|| resolve(300)).unwrap());
    let pages: Vec<_> = browsing.into_iter().map(|b| b.join().unwrap()).collect();
    let answers: Vec<_> = resolving.into_iter().map(|r| r.join().unwrap()).collect();
    let questions = dns.served.load(Ordering::Relaxed);
    println!(
        "{engine}: {pages:?} pages, {answers:?} answers to {questions} questions in {:?}",
        began.elapsed()
    );
    assert_eq!(pages, [32, 32]);
    assert_eq!(web.served.load(Ordering::Relaxed), 64);
    assert_eq!(answers, [300, 300]);

    let rows = site.json(&["sessions"]);
    let rows = rows.as_array().unwrap();
    let live = site.json(&["status"])["sessions"]["live"].as_u64().unwrap();
    let of = |protocol: &str| rows.iter().filter(|s| s["protocol"] == protocol).count();
    assert_eq!((of("tcp"), of("udp")), (64, 600));
    let outside: BTreeSet<_> =
        rows.iter().map(|s| (s["protocol"].as_str(), s["outside"].as_str().unwrap())).collect();
    assert_eq!(outside.len(), rows.len(), "two sessions share an outside port");
    assert_eq!(live, rows.len() as u64);
    let counters = site.json(&["counters"]);
    for key in ["drop_nat_ports_exhausted", "drop_nat_table_full", "drop_hand_over_full", "drop_no_buffer"] {
        assert_eq!(counters[key], 0, "{key}");
    }
}

#[test]
fn two_hosts_browse_and_resolve_with_one_worker() {
    two_hosts_at_work(&format!("workers: [{}]", cores().last().unwrap()));
}

#[test]
fn two_hosts_browse_and_resolve_with_two_workers() {
    let [first, second, ..] = cores()[..] else {
        netns::skipped("one core");
        return;
    };
    two_hosts_at_work(&format!("workers: [{first}, {second}]"));
}

#[test]
fn fifty_hosts_on_one_wire_are_all_found() {
    let Some(site) = Site::start(&usual()) else { return };
    let _server = udp_echo(site.host("inet"), *DNS.ip(), DNS.port());
    let hosts: Vec<Ipv4Addr> = (100..150).map(|n| Ipv4Addr::new(192, 168, 10, n)).collect();
    let mut lines = String::new();
    for ip in &hosts {
        writeln!(lines, "address add {ip}/24 dev eth0").unwrap();
    }
    site.host("lan2").ip(&lines).unwrap();
    let all = hosts.clone();
    let work = move || {
        let bind = |ip: &Ipv4Addr| UdpSocket::bind(SocketAddrV4::new(*ip, 0)).unwrap();
        let sockets: Vec<UdpSocket> = all.iter().map(bind).collect();
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
            socket.send_to(b"?", DNS).unwrap();
        }
        thread::sleep(Duration::from_millis(1500));
        // Nothing is sent twice: the first answer waits in the router until its host is found.
        sockets.iter().filter(|socket| socket.recv(&mut [0; 8]).is_ok()).count()
    };
    let answered = site.host("lan2").run(work).unwrap();
    let known = || {
        let neighbors = site.json(&["neighbors"]);
        let found =
            neighbors.as_array().unwrap().iter().filter(|n| n["interface"] == "lan" && n["mac"].is_string());
        let found: BTreeSet<Ipv4Addr> =
            found.map(|n| n["address"].as_str().unwrap().parse().unwrap()).collect();
        hosts.iter().all(|ip| found.contains(ip))
    };
    println!("{answered} of {} answered at the first try", hosts.len());
    assert_eq!(answered, hosts.len());
    assert!(eventually(Duration::from_secs(2), known), "{}", site.json(&["neighbors"]));
}
