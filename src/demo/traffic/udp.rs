//! The UDP of the demo: one stream of a packet a millisecond, and a handful of small flows beside it.
//!
//! Each packet carries a flow and a number. The internet host notes the first arrival and sends the packet back to
//! where it came from; the LAN host notes the first echo. Flow 0 is the stream, which is accounted for packet by packet
//! and goes on by another socket with each call (`Stream::dial`); the others are chatter whose only question is whether they are still answered on the socket they began with.
//!
//! Sends happen at absolute deadlines: after a stall the overdue packets go at once, and the sum stays right. Times are
//! kept in arrays of a fixed length, written without locks.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::account::Log;
use crate::base::Nanos;
use crate::demo::clock;

/// Between two packets of the stream.
pub const SPACING: Nanos = Nanos::from_ms(1);
/// Small flows beside the stream.
pub const CHATTER: usize = 20;
/// Sockets that the stream may use, one after the other.
pub const CALLS: usize = 4;

/// The longest stream: a little over the longest demo.
const LONGEST: usize = 64_000;
const PORT: u16 = 7000;
const MAGIC: u32 = 0x7475_726e;
const SIZE: usize = 160;
/// Every so many packets of the stream one small flow speaks.
const CHATTER_EVERY: u64 = 10;
const PATIENCE: Duration = Duration::from_millis(100);

/// What the threads of the stream write and others read.
#[derive(Debug)]
pub struct Stream {
    sent: Vec<AtomicU64>,
    there: Vec<AtomicU64>,
    back: Vec<AtomicU64>,
    next: AtomicUsize,
    call: AtomicUsize,
    /// The stream's source address, as the internet host saw it last
    source: AtomicU32,
    echoes: AtomicU64,
    chatter: Vec<AtomicU64>,
    sources: Mutex<BTreeMap<Ipv4Addr, u64>>,
    over: AtomicBool,
}

impl Default for Stream {
    fn default() -> Stream {
        let times = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Stream {
            sent: times(LONGEST),
            there: times(LONGEST),
            back: times(LONGEST),
            next: AtomicUsize::new(0),
            call: AtomicUsize::new(0),
            source: AtomicU32::new(0),
            echoes: AtomicU64::new(0),
            chatter: times(CHATTER),
            sources: Mutex::default(),
            over: AtomicBool::new(false),
        }
    }
}

impl Stream {
    /// Ends the sending; the receivers stay until `end`.
    pub fn hush(&self) {
        self.next.fetch_add(LONGEST, Ordering::Relaxed);
    }

    /// Ends every thread within 100 ms.
    pub fn end(&self) {
        self.hush();
        self.over.store(true, Ordering::Relaxed);
    }

    /// From now on the stream is a new call: another socket, hence a new session in the router. False after the last.
    pub fn dial(&self) -> bool {
        self.call.fetch_add(1, Ordering::Relaxed) + 1 < CALLS
    }

    /// The stream's source address, as the internet host saw it last.
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.source.load(Ordering::Relaxed))
    }

    /// Echoes that came home so far.
    pub fn echoes(&self) -> u64 {
        self.echoes.load(Ordering::Relaxed)
    }

    /// The small flows that were answered at or after `since`.
    pub fn chatter_alive(&self, since: Nanos) -> usize {
        self.chatter.iter().filter(|last| last.load(Ordering::Relaxed) >= since.0).count()
    }

    /// The source addresses that the internet host saw, with the packets of each.
    pub fn sources(&self) -> BTreeMap<Ipv4Addr, u64> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The stream's packets up to the last one sent.
    pub fn log(&self) -> Log {
        let n = self.sent.iter().position(|sent| sent.load(Ordering::Relaxed) == 0).unwrap_or(LONGEST);
        let times = |all: &[AtomicU64]| all.iter().take(n).map(|time| time.load(Ordering::Relaxed)).collect();
        Log { sent: times(&self.sent), there: times(&self.there), back: times(&self.back) }
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn saw(&self, source: Ipv4Addr, packets: u64) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded, whatever comes: an address too many already is the finding.
        if sources.len() < 16 || sources.contains_key(&source) {
            *sources.entry(source).or_default() += packets;
        }
    }
}

/// The sockets of the LAN host, to be opened inside its namespace.
#[derive(Debug)]
pub struct Home {
    calls: Vec<UdpSocket>,
    chatter: Vec<UdpSocket>,
    to: SocketAddr,
}

impl Home {
    /// Opens the sockets in the calling thread's namespace.
    ///
    /// # Errors
    /// If the system refuses a socket.
    pub fn open(to: Ipv4Addr) -> io::Result<Home> {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let socket = roomy(any)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            calls.push(socket);
        }
        let mut chatter = Vec::new();
        for _ in 0..CHATTER {
            let socket = UdpSocket::bind(any)?;
            socket.set_nonblocking(true)?;
            chatter.push(socket);
        }
        Ok(Home { calls, chatter, to: SocketAddrV4::new(to, PORT).into() })
    }

    /// Second handles on the stream's sockets, for the threads that listen.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn ears(&self) -> io::Result<Vec<UdpSocket>> {
        self.calls.iter().map(UdpSocket::try_clone).collect()
    }

    /// Sends until hushed.
    pub fn send(&self, stream: &Stream) {
        clock::wake_on_time();
        let start = clock::now();
        let mut packet = [0u8; SIZE];
        loop {
            let number = stream.next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = stream.sent.get(number).filter(|_| !stream.over()) else { return };
            let n = number as u64;
            clock::sleep_until(start + Nanos(SPACING.0 * n));
            encode(&mut packet, 0, n);
            slot.store(clock::now().0, Ordering::Relaxed);
            // A send that fails is a packet lost, and counted as such by its missing echo.
            let call = stream.call.load(Ordering::Relaxed).min(CALLS - 1);
            let _ = self.calls.get(call).map(|socket| socket.send_to(&packet, self.to));
            if n.is_multiple_of(CHATTER_EVERY) {
                self.chat(stream, n / CHATTER_EVERY, &mut packet);
            }
        }
    }

    fn chat(&self, stream: &Stream, turn: u64, packet: &mut [u8; SIZE]) {
        let flow = (turn % CHATTER as u64) as usize;
        let (Some(socket), Some(last)) = (self.chatter.get(flow), stream.chatter.get(flow)) else { return };
        let mut echo = [0u8; SIZE];
        while let Ok(length) = socket.recv(&mut echo) {
            // The number is the time of sending: an echo that dawdled says nothing about now.
            if let Some((_, sent)) = echo.get(..length).and_then(decode) {
                last.fetch_max(sent, Ordering::Relaxed);
            }
        }
        encode(packet, flow as u32 + 1, clock::now().0);
        let _ = socket.send_to(packet, self.to);
    }
}

/// Notes the echoes of the stream until its end.
pub fn listen(ear: &UdpSocket, stream: &Stream) {
    let mut packet = [0u8; SIZE];
    while !stream.over() {
        let Ok(length) = ear.recv(&mut packet) else { continue };
        if let Some((0, number)) = packet.get(..length).and_then(decode)
            && note(&stream.back, number)
        {
            stream.echoes.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Opens the internet host's socket in the calling thread's namespace.
///
/// # Errors
/// If the system refuses it.
pub fn open_echo(at: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = roomy(SocketAddrV4::new(at, PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Notes and returns what comes, until the stream's end.
pub fn echo(socket: &UdpSocket, stream: &Stream) {
    let mut packet = [0u8; SIZE];
    let (mut last, mut packets) = (Ipv4Addr::UNSPECIFIED, 0);
    while !stream.over() {
        let Ok((length, from)) = socket.recv_from(&mut packet) else { continue };
        let Some((flow, number)) = packet.get(..length).and_then(decode) else { continue };
        if flow == 0 {
            note(&stream.there, number);
            if let SocketAddr::V4(from) = from {
                stream.source.store(from.ip().to_bits(), Ordering::Relaxed);
            }
        }
        let _ = socket.send_to(packet.get(..length).unwrap_or_default(), from);
        if let SocketAddr::V4(from) = from {
            if *from.ip() != last || packets == 100 {
                stream.saw(last, packets);
                (last, packets) = (*from.ip(), 0);
            }
            packets += 1;
        }
    }
    stream.saw(last, packets);
}

/// Notes the first arrival of a packet; false if there was one already.
fn note(times: &[AtomicU64], number: u64) -> bool {
    let slot = usize::try_from(number).ok().and_then(|n| times.get(n));
    slot.is_some_and(|slot| {
        slot.compare_exchange(0, clock::now().0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    })
}

/// A socket with room for a second of the stream: a reader that waits for a core loses nothing.
fn roomy(at: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    // In a user namespace the kernel keeps its ordinary limit, a quarter of a second.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &(1 << 21));
    Ok(socket)
}

fn encode(packet: &mut [u8; SIZE], flow: u32, number: u64) {
    let head = MAGIC.to_be_bytes().into_iter().chain(flow.to_be_bytes()).chain(number.to_be_bytes());
    for (place, byte) in packet.iter_mut().zip(head) {
        *place = byte;
    }
}

fn decode(packet: &[u8]) -> Option<(u32, u64)> {
    let (magic, rest) = packet.split_first_chunk::<4>()?;
    let (flow, rest) = rest.split_first_chunk::<4>()?;
    let (number, _) = rest.split_first_chunk::<8>()?;
    (u32::from_be_bytes(*magic) == MAGIC).then(|| (u32::from_be_bytes(*flow), u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_say_what_they_were_told() {
        let mut packet = [0u8; SIZE];
        encode(&mut packet, 7, 1234);
        assert_eq!(decode(&packet), Some((7, 1234)));
        assert_eq!(decode(&packet[..15]), None);
        assert_eq!(decode(&[0u8; SIZE]), None);
    }

    #[test]
    fn only_the_first_arrival_counts_and_unknown_numbers_do_not() {
        let times = [AtomicU64::new(0), AtomicU64::new(0)];
        assert!(note(&times, 1));
        assert!(!note(&times, 1));
        assert!(!note(&times, 2));
        assert_eq!(times[0].load(Ordering::Relaxed), 0);
    }
}
