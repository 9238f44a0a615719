//! A TCP download through the router arrives whole, with one worker and with two.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use netns::{Site, cores, profile, service};
use turnout::demo::lab::INTERNET;

const SIZE: usize = 20 << 20;
const PORT: u16 = 8080;

/// Bytes of which no two stretches are alike.
fn content() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(SIZE);
    while bytes.len() < SIZE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

fn downloads_whole(engine: &str, workers: usize) {
    let Some(site) = Site::start(&profile(engine, "1s")) else { return };
    let server = SocketAddrV4::new(INTERNET[0], PORT);
    let listener = site.host("inet").run(move || TcpListener::bind(server).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let _server = service(site.host("inet"), move |over, served| {
        while !over.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
                    // A client that has left is its own finding.
                    let _ = stream.write_all(&content());
                    served.fetch_add(1, Ordering::Relaxed);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
                Err(e) => panic!("{e}"),
            }
        }
    });
    // Several connections, so that both workers own some.
    for host in ["lan1", "lan2"] {
        let began = Instant::now();
        let get = move || {
            let mut stream = TcpStream::connect_timeout(&server.into(), Duration::from_secs(3)).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut got = Vec::with_capacity(SIZE);
            stream.read_to_end(&mut got).map(|_| got)
        };
        let got = site.host(host).run(get).unwrap().unwrap();
        let took = began.elapsed();
        println!("{host}, {workers} workers: {:.0} Mbit/s", SIZE as f64 * 8e-6 / took.as_secs_f64());
        assert_eq!(got.len(), SIZE, "{host}");
        assert!(got == content(), "{host}: other bytes than were sent");
        assert!(took < Duration::from_secs(20), "{host}: {took:?}");
    }
    let status = site.json(&["status"]);
    let load = status["workers"].as_array().unwrap();
    assert_eq!(load.len(), workers, "{status}");
    assert!(load.iter().all(|w| w["packets"].as_u64().unwrap() > 0), "an idle worker: {status}");
    let counters = site.json(&["counters"]);
    assert_eq!(counters["sessions_created"], 2, "{counters}");
    assert!(counters["drop_tx_full"].as_u64().unwrap() < 1000, "{counters}");
}

#[test]
fn a_download_arrives_whole_with_one_worker() {
    downloads_whole(&format!("workers: [{}]", cores().last().unwrap()), 1);
}

#[test]
fn a_download_arrives_whole_with_two_workers() {
    let [first, second, ..] = cores()[..] else {
        netns::skipped("one core");
        return;
    };
    downloads_whole(&format!("workers: [{first}, {second}]"), 2);
}
