//! A UDP conversation at a steady beat, in which every answer says from where the question came: what was lost, for how long,
//! and by which WAN it went, told by the far end and not by the router.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{INTERNET, Inside, Netns};
use turnout::demo::traffic::account::{Harm, Log, Window};

use super::{Service, eventually, service};

/// The tellers' port.
pub const TELLER: u16 = 4000;

/// A question is a number; the answer repeats it and adds the address and port of the asker.
pub fn teller(host: &Netns, at: SocketAddrV4) -> Service {
    let socket = host.run(move || UdpSocket::bind(at).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20));
    service(host, move |over, served| {
        let mut packet = [0u8; 256];
        while !over.load(Ordering::Relaxed) {
            let Ok((8, SocketAddr::V4(from))) = socket.recv_from(&mut packet) else { continue };
            packet[8..12].copy_from_slice(&from.ip().octets());
            packet[12..14].copy_from_slice(&from.port().to_be_bytes());
            served.fetch_add(1, Ordering::Relaxed);
            let _ = socket.send_to(&packet[..14], from);
        }
    })
}

/// A teller on each address of the internet host.
pub fn tellers(inet: &Netns) -> Vec<Service> {
    INTERNET.map(|ip| teller(inet, SocketAddrV4::new(ip, TELLER))).into()
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// When it was asked.
    pub sent: Nanos,
    /// When it was first answered, and as whom.
    pub back: Option<(Nanos, SocketAddrV4)>,
}

/// A conversation that goes on until it is dropped.
pub struct Pulse {
    every: Nanos,
    beats: Arc<Mutex<Vec<Beat>>>,
    over: Arc<AtomicBool>,
    threads: Vec<Inside<()>>,
}

impl Pulse {
    /// Asks `to` every so often from a socket of `host` bound to `from` (zeroes: whatever the host takes).
    pub fn start(host: &Netns, from: SocketAddrV4, to: SocketAddrV4, every: Nanos) -> Pulse {
        let socket = host.run(move || UdpSocket::bind(from).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let ear = socket.try_clone().unwrap();
        let beats: Arc<Mutex<Vec<Beat>>> = Arc::default();
        let over = Arc::new(AtomicBool::new(false));
        let (log, flag) = (beats.clone(), over.clone());
        let ask = move || {
            clock::wake_on_time();
            let begin = clock::now();
            for n in 0u64.. {
                clock::sleep_until(begin + Nanos(every.0 * n));
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                log.lock().unwrap().push(Beat { sent: clock::now(), back: None });
                // A refused send is a lost packet.
                let _ = socket.send_to(&n.to_be_bytes(), to);
            }
        };
        let (log, flag) = (beats.clone(), over.clone());
        let hear = move || {
            let mut packet = [0u8; 64];
            while !flag.load(Ordering::Relaxed) {
                let Ok(14) = ear.recv(&mut packet) else { continue };
                let number = u64::from_be_bytes(packet[..8].try_into().unwrap()) as usize;
                let ip = Ipv4Addr::new(packet[8], packet[9], packet[10], packet[11]);
                let asker = SocketAddrV4::new(ip, u16::from_be_bytes([packet[12], packet[13]]));
                if let Some(beat) = log.lock().unwrap().get_mut(number) {
                    beat.back.get_or_insert((clock::now(), asker));
                }
            }
        };
        let threads = vec![host.spawn(ask).unwrap(), host.spawn(hear).unwrap()];
        Pulse { every, beats, over, threads }
    }

    /// A packet a millisecond to the first internet host's teller.
    pub fn stream(host: &Netns) -> Pulse {
        let pulse = Pulse::start(
            host,
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            SocketAddrV4::new(INTERNET[0], TELLER),
            Nanos::from_ms(1),
        );
        assert!(pulse.answers(Duration::from_secs(5)), "no answer at the start");
        pulse
    }

    /// Every question so far.
    pub fn beats(&self) -> Vec<Beat> {
        self.beats.lock().unwrap().clone()
    }

    /// As whom the host was last answered.
    pub fn source(&self) -> Option<SocketAddrV4> {
        self.beats().iter().rev().find_map(|b| b.back).map(|(_, source)| source)
    }

    /// Whether a question that is asked from now on is answered in time.
    pub fn answers(&self, within: Duration) -> bool {
        let now = clock::now();
        eventually(within, || self.beats().iter().any(|b| b.sent >= now && b.back.is_some()))
    }

    /// Whether a question that is asked from now on goes by this address, in time.
    pub fn leaves_by(&self, wan: Ipv4Addr, within: Duration) -> bool {
        let now = clock::now();
        let by = |b: &Beat| b.sent >= now && b.back.is_some_and(|(_, source)| *source.ip() == wan);
        eventually(within, || self.beats().iter().any(by))
    }

    /// The addresses by which questions asked in this span went.
    pub fn sources(&self, from: Nanos, to: Nanos) -> BTreeSet<Ipv4Addr> {
        let asked = self.beats().into_iter().filter(|b| from <= b.sent && b.sent <= to);
        asked.filter_map(|b| b.back).map(|(_, source)| *source.ip()).collect()
    }

    /// The one place outside that it ever had.
    pub fn place(&self) -> SocketAddrV4 {
        let places: BTreeSet<_> = self.beats().into_iter().filter_map(|b| b.back).map(|(_, at)| at).collect();
        assert_eq!(places.len(), 1, "{places:?}");
        *places.first().unwrap()
    }

    /// What this span did to it; what was asked in the last 200 ms is not judged.
    pub fn harm(&self, from: Nanos, to: Nanos) -> Harm {
        let beats = self.beats();
        let back: Vec<u64> = beats.iter().map(|b| b.back.map_or(0, |(at, _)| at.0)).collect();
        let log = Log { sent: beats.iter().map(|b| b.sent.0).collect(), there: back.clone(), back };
        let to = to.min(clock::now().since(Nanos::from_ms(200)));
        log.harm(Window { from, to }, self.every)
    }

    /// What was lost since then.
    pub fn lost_since(&self, from: Nanos) -> u64 {
        self.harm(from, clock::now()).lost
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
