//! What a host receives on an interface, judged frame by frame while it comes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{LinkAddr, recvfrom};
use turnout::demo::lab::{Inside, Netns};

/// What came in.
#[derive(Debug, Default)]
pub struct Seen {
    /// Frames, by `arp`, `icmp`, `icmp-error`, `tcp`, `udp`, `other`.
    pub kinds: BTreeMap<&'static str, u64>,
    /// IPv4 source addresses, with their frames.
    pub sources: BTreeMap<Ipv4Addr, u64>,
    /// Frames that name an inside host, the first few of them, and why.
    pub leaks: Vec<String>,
}

/// A running capture.
pub struct Capture {
    over: Arc<AtomicBool>,
    thread: Inside<Seen>,
}

impl Capture {
    /// Captures what `host` receives on `ifname`; what it sends itself is left out.
    pub fn start(host: &Netns, ifname: &str) -> Capture {
        const OUTGOING: u8 = 4;
        let (fd, _) = super::raw_socket(host, ifname);
        let over = Arc::new(AtomicBool::new(false));
        let flag = over.clone();
        let work = move || {
            let mut seen = Seen::default();
            let mut frame = vec![0u8; 65536];
            let mut end = None;
            loop {
                let heard = recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut frame);
                match heard {
                    Ok((_, Some(from))) if from.pkttype() == OUTGOING => {}
                    Ok((length, _)) => seen.judge(&frame[..length]),
                    Err(_) => {}
                }
                // What has arrived by the end is still judged; on a line that is never quiet, for a while.
                if flag.load(Ordering::Relaxed) {
                    let end = *end.get_or_insert_with(|| Instant::now() + Duration::from_millis(500));
                    if heard.is_err() || Instant::now() >= end {
                        return seen;
                    }
                }
            }
        };
        Capture { over, thread: host.spawn(work).unwrap() }
    }

    /// Ends it.
    pub fn stop(self) -> Seen {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn inside(ip: Ipv4Addr) -> bool {
    ip.is_private() && !ip.octets().starts_with(&[10, 255])
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    bytes.get(at..at + 4).map(|b| Ipv4Addr::new(b[0], b[1], b[2], b[3]))
}

impl Seen {
    /// All frames.
    pub fn frames(&self) -> u64 {
        self.kinds.values().sum()
    }

    fn judge(&mut self, frame: &[u8]) {
        let (kind, named) = addresses(frame);
        *self.kinds.entry(kind).or_default() += 1;
        if let Some((_, source)) = named.first().filter(|(what, _)| *what == "source") {
            *self.sources.entry(*source).or_default() += 1;
        }
        for (what, ip) in named.into_iter().filter(|(_, ip)| inside(*ip)) {
            if self.leaks.len() < 10 {
                self.leaks.push(format!("{kind} {what} {ip}: {:02x?}", &frame[..frame.len().min(80)]));
            }
        }
    }
}

/// The kind of a frame, and every address that it shows, ICMP quotes included.
fn addresses(frame: &[u8]) -> (&'static str, Vec<(&'static str, Ipv4Addr)>) {
    let mut named = Vec::new();
    let mut name = |what, bytes: &[u8], at| {
        if let Some(ip) = address(bytes, at) {
            named.push((what, ip));
        }
    };
    let kind = match frame.get(12..14) {
        Some([8, 6]) => {
            name("sender", frame, 28);
            name("target", frame, 38);
            "arp"
        }
        Some([8, 0]) => {
            let ip = &frame[14..];
            name("source", ip, 12);
            name("destination", ip, 16);
            let header = ip.first().map_or(20, |b| usize::from(b & 15) * 4);
            match (ip.get(9), ip.get(header)) {
                (Some(1), Some(3 | 4 | 5 | 11 | 12)) => {
                    name("quoted source", ip, header + 8 + 12);
                    name("quoted destination", ip, header + 8 + 16);
                    "icmp-error"
                }
                (Some(1), _) => "icmp",
                (Some(6), _) => "tcp",
                (Some(17), _) => "udp",
                _ => "other",
            }
        }
        _ => "other",
    };
    (kind, named)
}
