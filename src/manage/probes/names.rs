//! Names of targets: asked for by a thread of its own, as the system resolves names, which may take long. What it says comes back by a
//! channel. Each name is asked for once a minute, and every ten seconds as long as it has no address.
//!
//! A name that does not resolve says nothing of a WAN: that is told, and not counted. An address that was known stays in use.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::thread::Builder;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::Nanos;

/// Questions and answers that wait, at most.
const WAITING: usize = 64;
/// A name is asked for again after so long.
const AGAIN: Nanos = Nanos::from_s(60);
/// And one that has no address.
const SOON: Nanos = Nanos::from_s(10);

/// What is said of a name: its addresses, or why it has none.
pub type Said = (String, Result<Vec<Ipv4Addr>, String>);

/// Who is asked.
#[derive(Debug)]
pub struct Resolver {
    ask: Sender<String>,
    said: Receiver<Said>,
}

/// The side that answers.
#[derive(Debug)]
pub struct Answering {
    /// What is asked
    pub asked: Receiver<String>,
    /// What is said
    pub say: Sender<Said>,
}

impl Resolver {
    /// A resolver, and the one who answers for it.
    pub fn pair() -> (Resolver, Answering) {
        let ((ask, asked), (say, said)) = (bounded(WAITING), bounded(WAITING));
        (Resolver { ask, said }, Answering { asked, say })
    }

    /// The system's, in a thread of its own, which ends with the resolver.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start() -> std::io::Result<Resolver> {
        let (resolver, Answering { asked, say }) = Resolver::pair();
        let run = move || {
            for name in asked {
                let said = resolve(&name);
                if say.send((name, said)).is_err() {
                    break;
                }
            }
        };
        Builder::new().name("names".into()).spawn(run)?;
        Ok(resolver)
    }
}

fn resolve(name: &str) -> Result<Vec<Ipv4Addr>, String> {
    let all = (name, 0).to_socket_addrs().map_err(|e| e.to_string())?;
    let v4 = all.filter_map(|a| if let IpAddr::V4(ip) = a.ip() { Some(ip) } else { None });
    let mut v4: Vec<Ipv4Addr> = v4.collect();
    v4.sort_unstable();
    v4.dedup();
    if v4.is_empty() { Err("it has no IPv4 address".into()) } else { Ok(v4) }
}

/// The names of all targets.
#[derive(Debug, Default)]
pub(super) struct Names {
    resolver: Option<Resolver>,
    due: BTreeMap<String, Nanos>,
}

impl Names {
    pub(super) fn new(resolver: Option<Resolver>, names: impl Iterator<Item = String>) -> Names {
        Names { resolver, due: names.map(|name| (name, Nanos::ZERO)).collect() }
    }

    /// Other names from now on.
    pub(super) fn renew(&mut self, names: impl Iterator<Item = String>) {
        // What is said of a name goes to targets, which are others now: all are asked for again.
        self.due = names.map(|name| (name, Nanos::ZERO)).collect();
    }

    pub(super) fn due(&self) -> Nanos {
        let waits = self.resolver.is_some();
        self.due.values().min().copied().filter(|_| waits).unwrap_or(Nanos::NEVER)
    }

    /// Asks for what is due, and gives what was said meanwhile.
    pub(super) fn tick(&mut self, now: Nanos) -> Vec<Said> {
        let Some(resolver) = &self.resolver else { return Vec::new() };
        let said: Vec<Said> = resolver.said.try_iter().take(WAITING).collect();
        for (name, what) in &said {
            if let (Some(due), Err(_)) = (self.due.get_mut(name), what) {
                *due = now + SOON;
            }
        }
        for (name, due) in self.due.iter_mut().filter(|(_, due)| **due <= now) {
            // Should it be busy with another name: soon.
            let taken = resolver.ask.try_send(name.clone()).is_ok();
            *due = now + if taken { AGAIN } else { SOON };
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_once_a_minute_and_sooner_if_it_has_no_address() {
        let (resolver, other) = Resolver::pair();
        let mut names = Names::new(Some(resolver), ["a", "b"].into_iter().map(String::from));
        assert!(names.tick(Nanos::from_s(100)).is_empty());
        assert_eq!(other.asked.try_iter().collect::<Vec<_>>(), ["a", "b"]);
        other.say.send(("a".into(), Ok(vec![Ipv4Addr::LOCALHOST]))).unwrap();
        other.say.send(("b".into(), Err("no".into()))).unwrap();
        assert_eq!(names.tick(Nanos::from_s(101)).len(), 2);
        assert_eq!(names.due(), Nanos::from_s(111));
        names.tick(Nanos::from_s(111));
        assert_eq!(other.asked.try_iter().collect::<Vec<_>>(), ["b"]);
        names.tick(Nanos::from_s(160));
        assert_eq!(other.asked.try_iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn the_system_resolves_addresses_and_the_host_itself() {
        assert_eq!(resolve("192.0.2.1"), Ok(vec![Ipv4Addr::new(192, 0, 2, 1)]));
        assert!(resolve("no such name").is_err());
        let resolver = Resolver::start().unwrap();
        resolver.ask.send("127.0.0.1".into()).unwrap();
        assert_eq!(resolver.said.recv().unwrap().1, Ok(vec![Ipv4Addr::LOCALHOST]));
    }
}
