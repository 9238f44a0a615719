//! The TCP of the demo: downloads of a known content, one after the other, at a modest pace.
//!
//! The internet host sends each caller one object and closes; the LAN host reads it, compares every byte, and calls again
//! at once, whether it got all of it or was cut off. What became of each session is kept with its begin and end, so that
//! one can ask afterwards which sessions were open at a certain moment and outlived it.
//!
//! The pace leaves the cores to the router: the demo is about continuity, not about throughput. All waits are bounded:
//! a second for a call, two for silence.
#![forbid(unsafe_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::base::Nanos;
use crate::demo::clock;

const PORT: u16 = 8080;
/// Bytes of one download: two seconds of it.
const OBJECT: usize = 6_000_000;
const CHUNK: usize = 16 * 1024;
/// 16 KiB each: 24 Mbit/s.
const CHUNK_EVERY: Nanos = Nanos::from_us(5_461);
/// A prime, so that no shift by a segment or a page looks like the right content.
const PERIOD: usize = 65_521;
const MOST_CALLERS: usize = 32;
const MOST_SESSIONS: usize = 4096;
const CALL: Duration = Duration::from_secs(1);
const SILENCE: Nanos = Nanos::from_s(2);
const SLICE: Duration = Duration::from_millis(100);
/// What is heard last may have been sent a little before the fault.
const SLACK: Nanos = Nanos::from_ms(100);

/// How a download ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Whole and right.
    Whole,
    /// Reset or closed too early.
    Reset,
    /// Nothing came for two seconds.
    Stalled,
    /// Nobody took the call.
    NoAnswer,
    /// A byte was wrong.
    Corrupt,
    /// Still going when the demo ended.
    Unfinished,
}

/// One download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// When the call was answered (or given up).
    pub begin: Nanos,
    /// When it ended.
    pub end: Nanos,
    /// How it ended.
    pub how: End,
}

/// What the downloads came to, at certain moments and in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Downloads open at one of the moments that went on as if nothing had happened.
    pub survived: u64,
    /// Downloads open at one of the moments that were reset or stalled.
    pub cut: u64,
    /// All that came whole.
    pub whole: u64,
    /// Calls made because the one before had failed.
    pub redials: u64,
    /// Downloads with a wrong byte.
    pub corrupt: u64,
}

/// Judges sessions by the moments at which something happened.
pub fn tally(sessions: &[Session], moments: &[Nanos]) -> Tally {
    let mut tally = Tally::default();
    for session in sessions {
        let open = moments.iter().filter(|at| session.begin < **at && **at < session.end).count() as u64;
        match session.how {
            End::Whole | End::Unfinished => tally.survived += open,
            End::Reset | End::Stalled => {
                tally.cut += open.min(1);
                tally.survived += open.saturating_sub(1);
            }
            End::NoAnswer | End::Corrupt => {}
        }
        tally.whole += u64::from(session.how == End::Whole);
        tally.corrupt += u64::from(session.how == End::Corrupt);
        tally.redials += u64::from(matches!(session.how, End::Reset | End::Stalled | End::NoAnswer));
    }
    tally
}

/// Downloads that were cut, by the moment that did it: the last one before nothing came any more.
pub fn cut_by(sessions: &[Session], moments: &[Nanos]) -> Vec<u64> {
    let mut cut = vec![0; moments.len()];
    for session in sessions {
        let until = match session.how {
            End::Reset => session.end,
            End::Stalled => session.end.since(SILENCE) + SLACK,
            _ => continue,
        };
        let blamed = moments.iter().rposition(|at| session.begin < *at && *at <= until);
        if let Some(count) = blamed.and_then(|at| cut.get_mut(at)) {
            *count += 1;
        }
    }
    cut
}

/// What the threads of the downloads write and others read.
#[derive(Debug, Default)]
pub struct Downloads {
    sessions: Mutex<Vec<Session>>,
    callers: Mutex<Vec<Ipv4Addr>>,
    bytes: AtomicU64,
    over: AtomicBool,
}

impl Downloads {
    /// Ends every thread, at the latest when its current wait ends.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Bytes that arrived and were right.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What became of every download so far.
    pub fn sessions(&self) -> Vec<Session> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses that called the internet host.
    pub fn callers(&self) -> Vec<Ipv4Addr> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn called(&self, source: Ipv4Addr) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() < 16 && !callers.contains(&source) {
            callers.push(source);
        }
    }
}

fn content() -> Arc<[u8]> {
    // Twice the period, so that a chunk from any offset within it is one slice.
    let byte = |i: usize| {
        let mixed = (i % PERIOD) as u32;
        (mixed.wrapping_mul(2_654_435_761) >> 24) as u8
    };
    (0..2 * PERIOD).map(byte).collect()
}

/// Opens the internet host's listener in the calling thread's namespace.
///
/// # Errors
/// If the system refuses it.
pub fn open(at: Ipv4Addr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddrV4::new(at, PORT))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves callers until the end, each on a thread of its own.
pub fn serve(listener: &TcpListener, downloads: &Arc<Downloads>) {
    let content = content();
    let busy = Arc::new(AtomicUsize::new(0));
    while !downloads.over() {
        let Ok((caller, from)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        if let SocketAddr::V4(from) = from {
            downloads.called(*from.ip());
        }
        if busy.load(Ordering::Relaxed) >= MOST_CALLERS {
            continue;
        }
        busy.fetch_add(1, Ordering::Relaxed);
        let (downloads, content, count) = (downloads.clone(), content.clone(), busy.clone());
        let served = thread::Builder::new().name("inet-tcp".into()).spawn(move || {
            // A caller that vanished is the caller's finding.
            let _ = give(caller, &content, &downloads);
            count.fetch_sub(1, Ordering::Relaxed);
        });
        if served.is_err() {
            busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn give(mut caller: TcpStream, content: &[u8], downloads: &Downloads) -> io::Result<()> {
    caller.set_nonblocking(false)?;
    caller.set_write_timeout(Some(Duration::from_secs(3)))?;
    caller.set_nodelay(true)?;
    let mut due = clock::now();
    let mut offset = 0;
    while offset < OBJECT && !downloads.over() {
        let length = CHUNK.min(OBJECT - offset);
        let start = offset % PERIOD;
        caller.write_all(content.get(start..start + length).unwrap_or_default())?;
        offset += length;
        // Not made up for after a stall: the pace is a ceiling.
        due = due.max(clock::now().since(CHUNK_EVERY)) + CHUNK_EVERY;
        clock::sleep_until(due);
    }
    caller.shutdown(Shutdown::Write)
}

/// Downloads until the end; to be called inside the LAN host's namespace.
pub fn download(from: Ipv4Addr, downloads: &Downloads) {
    let content = content();
    while !downloads.over() {
        let session = one(SocketAddrV4::new(from, PORT).into(), &content, downloads);
        let mut sessions = downloads.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() < MOST_SESSIONS {
            sessions.push(session);
        }
        drop(sessions);
        if session.how != End::Whole {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn one(from: SocketAddr, content: &[u8], downloads: &Downloads) -> Session {
    let connected = TcpStream::connect_timeout(&from, CALL);
    let begin = clock::now();
    let ended = |how| Session { begin, end: clock::now(), how };
    let Ok(mut stream) = connected else { return ended(End::NoAnswer) };
    if stream.set_read_timeout(Some(SLICE)).is_err() {
        return ended(End::NoAnswer);
    }
    let mut buffer = vec![0u8; CHUNK];
    let (mut offset, mut heard) = (0, begin);
    loop {
        if downloads.over() {
            return ended(End::Unfinished);
        }
        match stream.read(&mut buffer) {
            Ok(0) if offset == OBJECT => return ended(End::Whole),
            Ok(0) if downloads.over() => return ended(End::Unfinished),
            Ok(0) => return ended(End::Reset),
            Ok(length) => {
                let start = offset % PERIOD;
                if buffer.get(..length) != content.get(start..start + length) {
                    return ended(End::Corrupt);
                }
                offset += length;
                heard = clock::now();
                downloads.bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if clock::now().since(heard) >= SILENCE {
                    return ended(End::Stalled);
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return ended(End::Reset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(begin: u64, end: u64, how: End) -> Session {
        Session { begin: Nanos::from_ms(begin), end: Nanos::from_ms(end), how }
    }

    #[test]
    fn sessions_open_at_a_moment_survive_it_or_not() {
        let sessions = [
            session(0, 2000, End::Whole),
            session(2001, 2500, End::Reset),
            session(2600, 2600, End::NoAnswer),
            session(2650, 4000, End::Whole),
            session(4001, 4500, End::Unfinished),
        ];
        let moments = [1000, 2499, 3000, 4200].map(Nanos::from_ms);
        let tally = tally(&sessions, &moments);
        assert_eq!((tally.survived, tally.cut), (3, 1));
        assert_eq!((tally.whole, tally.redials, tally.corrupt), (2, 2, 0));
    }

    #[test]
    fn a_cut_is_laid_to_the_last_moment_before_it() {
        let sessions = [
            session(0, 1500, End::Reset),
            session(2000, 4200, End::Stalled),
            session(4300, 6000, End::Whole),
            session(6100, 6500, End::Reset),
        ];
        // The stalled one was heard last at 2200.
        let moments = [1000, 2250, 3500, 5000, 6600].map(Nanos::from_ms);
        assert_eq!(cut_by(&sessions, &moments), [1, 1, 0, 0, 0]);
    }

    #[test]
    fn the_content_repeats_only_with_its_period() {
        let content = content();
        assert_eq!(content[..100], content[PERIOD..PERIOD + 100]);
        for shift in [1, 1448, 1460, 4096, CHUNK] {
            assert_ne!(content[..100], content[shift..shift + 100], "{shift}");
        }
    }
}
