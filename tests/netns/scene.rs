//! What the tests of failover share: profiles made of parts, a story for each failover at the end of a run, TCP that says how it ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{Inside, Netns};

use super::servers::tcp_server;
use super::{Service, Site, eventually, usual};

/// The gateway alone is asked; quick to come back.
pub const QUICK: &str = "gateway: { arp: 100ms }, up: { successes: 2, stable: 500ms, flap_max: 1s }";
/// Three hosts behind it are asked as well, by echo. Lost after three rounds, hence after 600 to 1000 ms.
pub const TARGETS: &str = "gateway: { arp: 100ms }, up: { successes: 2, stable: 500ms, flap_max: 1s }, \
    targets: { icmp: [1.1.1.1, 9.9.9.9, 8.8.8.8], every: 150ms, timeout: 400ms }";
/// A profile: this health for both WANs, these further sections.
pub fn scene(health: &str, rest: &str) -> String {
    let text = usual().replace("quick: { up: { stable: 1s } }", &format!("quick: {{ {health} }}"));
    assert!(text.contains(health), "{text}");
    text + rest
}

/// Makes the second WAN a metered one.
pub fn metered(profile: &str) -> String {
    let text = profile.replace("isp2: { health: quick }", "isp2: { health: quick, metered: true }");
    assert_ne!(text, profile);
    text
}

/// Stops the router: it ends well (then its journal is decided again, as every router's here), and every failover that it knows has a cause and
/// evidence. Returns those, the newest first.
pub fn finish(mut site: Site) -> Vec<Value> {
    let why = site.json(&["why"]);
    for story in why.as_array().unwrap() {
        let evidence = story["evidence"].as_array().unwrap();
        assert!(!story["cause"].as_str().unwrap().is_empty(), "{story}");
        if story["kind"] == "failover" && story["cause"] != "operator" {
            let whole = |e: &Value| {
                e["wan"] == story["from"]
                    && e["probe"].is_string()
                    && e["value"].is_u64()
                    && e["threshold"].is_u64()
            };
            assert!(evidence.iter().any(whole), "{story:#}");
        }
    }
    assert!(site.router.stop().unwrap().success(), "{}", site.router.said());
    why.as_array().unwrap().clone()
}

/// The failovers among them.
pub fn failovers(why: &[Value]) -> Vec<String> {
    let line = |s: &Value| format!("{} to {}: {}", s["from"], s["to"], s["cause"]).replace('"', "");
    why.iter().filter(|s| s["kind"] == "failover").map(line).collect()
}

/// The events since `seq` that speak of a change: of a WAN's state or of who carries.
pub fn changes(site: &Site, seq: u64) -> Vec<Value> {
    let kinds = ["wan_state", "failover", "failback", "selection", "wan_none", "targets_blamed"];
    let is = |e: &Value| e["seq"].as_u64().unwrap() > seq && kinds.iter().any(|k| e["kind"] == *k);
    site.events().into_iter().filter(is).collect()
}

/// Waits for a WAN's state.
pub fn becomes(site: &Site, wan: &str, state: &str, within: Duration) {
    let so = eventually(within, || site.wan(wan, "state") == state);
    assert!(so, "{wan} is not {state} after {within:?}: {:#}\n{:#?}", site.json(&["wans"]), site.events());
}

/// All three targets have been heard on both WANs: none is mute any more.
pub fn settles(site: &Site) {
    for wan in ["isp1", "isp2"] {
        becomes(site, wan, "up", Duration::from_secs(5));
    }
    std::thread::sleep(Duration::from_millis(700));
}

/// Gives back what comes, for as long as the client likes.
pub fn tcp_echo(host: &Netns, at: Ipv4Addr, port: u16) -> Service {
    tcp_server(host, at, port, |mut stream, _| {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
        let mut some = [0u8; 4096];
        while let Ok(n @ 1..) = stream.read(&mut some) {
            if stream.write_all(&some[..n]).is_err() {
                return;
            }
        }
    })
}

/// A TCP connection of a host that speaks every so often, or never, and notes how it ends.
pub struct Talk {
    /// When it ended, and how.
    pub end: Arc<Mutex<Option<(Nanos, ErrorKind)>>>,
    /// Answers so far.
    answers: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<Inside<()>>,
}

impl Talk {
    /// Calls `to` from `host`; says a word every `every`, or nothing.
    pub fn start(host: &Netns, to: SocketAddrV4, every: Option<Duration>) -> Talk {
        let connect = move || TcpStream::connect_timeout(&to.into(), Duration::from_secs(3)).unwrap();
        let mut stream = host.run(connect).unwrap();
        stream.set_read_timeout(Some(every.unwrap_or(Duration::from_millis(50)))).unwrap();
        stream.set_nodelay(true).unwrap();
        let end: Arc<Mutex<Option<(Nanos, ErrorKind)>>> = Arc::default();
        let (answers, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (ended, count, flag) = (end.clone(), answers.clone(), over.clone());
        let talk = move || {
            let mut word = [7u8; 64];
            let finish = |kind| *ended.lock().unwrap() = Some((clock::now(), kind));
            // A first word in any case: both ends know the connection then.
            if let Err(e) = stream.write_all(&word) {
                return finish(e.kind());
            }
            while !flag.load(Ordering::Relaxed) {
                match stream.read(&mut word) {
                    Ok(0) => return finish(ErrorKind::UnexpectedEof),
                    Ok(_) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        if let Some(every) = every {
                            std::thread::sleep(every);
                            if let Err(e) = stream.write_all(&word) {
                                return finish(e.kind());
                            }
                        }
                    }
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(e) => return finish(e.kind()),
                }
            }
        };
        let talk = Talk { end, answers, over, thread: Some(host.spawn(talk).unwrap()) };
        assert!(eventually(Duration::from_secs(3), || talk.answers() > 0), "no first answer from {to}");
        talk
    }

    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether it still speaks, and is answered, from now on.
    pub fn goes_on(&self, within: Duration) -> bool {
        let before = self.answers();
        eventually(within, || self.answers() > before + 1) && self.end.lock().unwrap().is_none()
    }

    /// When it was reset; it must have been, within this time.
    pub fn reset_within(&self, within: Duration) -> Nanos {
        assert!(eventually(within, || self.end.lock().unwrap().is_some()), "not ended after {within:?}");
        let (at, kind) = self.end.lock().unwrap().unwrap();
        assert_eq!(kind, ErrorKind::ConnectionReset);
        at
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
