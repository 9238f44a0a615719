//! One target: its address, and the probes of it that are under way.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use super::packets::Error;
use super::{Ask, Host, TargetSpec};
use crate::base::Nanos;
use crate::wire::icmp::kind;
use crate::wire::{dns, protocol};

/// Probes of one target that are under way, at most: a timeout is no longer than so many rounds.
const UNDER_WAY: usize = 64;

/// By what the answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Echo {
        seq: u16,
        cookie: [u8; 8],
    },
    Dns {
        port: u16,
        question: Vec<u8>,
    },
    /// The stack knows
    Tcp,
}

#[derive(Debug)]
struct Asked {
    round: u32,
    at: Nanos,
    sent: Option<Nanos>,
    to: Ipv4Addr,
    own: Ipv4Addr,
    sign: Sign,
    /// What was told of it meanwhile
    hint: Option<String>,
}

/// A target of one WAN.
#[derive(Debug)]
pub(super) struct Target {
    spec: TargetSpec,
    address: Result<Ipv4Addr, String>,
    asked: VecDeque<Asked>,
}

impl Target {
    pub(super) fn new(spec: TargetSpec) -> Target {
        let address = match &spec.host {
            Host::Address(ip) => Ok(*ip),
            Host::Name(name) => Err(format!("{name} has no address yet")),
        };
        Target { spec, address, asked: VecDeque::new() }
    }

    pub(super) fn spec(&self) -> &TargetSpec {
        &self.spec
    }

    pub(super) fn address(&self) -> Result<Ipv4Addr, &str> {
        self.address.as_ref().copied().map_err(String::as_str)
    }

    /// Where answers may come from.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.address.iter().copied().chain(self.asked.iter().map(|asked| asked.to))
    }

    /// What is said of a name. Whether the address has changed.
    pub(super) fn named(&mut self, name: &str, said: &Result<Vec<Ipv4Addr>, String>) -> bool {
        if !matches!(&self.spec.host, Host::Name(its) if its == name) {
            return false;
        }
        match (said, &self.address) {
            (Ok(all), Ok(known)) if all.contains(known) => false,
            (Ok(all), _) => match all.first() {
                Some(first) => {
                    self.address = Ok(*first);
                    true
                }
                None => false,
            },
            // What was known may still be right.
            (Err(_), Ok(_)) => false,
            (Err(why), Err(_)) => {
                self.address = Err(format!("{name} does not resolve: {why}"));
                false
            }
        }
    }

    /// Makes room for one more. Gives what had to go: its round, whether it was a connection, and what was told of it.
    pub(super) fn forget_oldest(&mut self) -> Option<(u32, bool, Option<String>)> {
        let full = self.asked.len() >= UNDER_WAY;
        let old = if full { self.asked.pop_front() } else { None }?;
        Some((old.round, old.sign == Sign::Tcp, old.hint))
    }

    /// A probe is under way.
    pub(super) fn asked(&mut self, round: u32, at: Nanos, to: Ipv4Addr, own: Ipv4Addr, sign: Sign) {
        self.asked.push_back(Asked { round, at, sent: None, to, own, sign, hint: None });
    }

    /// It has left. Whether that is news.
    pub(super) fn sent(&mut self, round: u32, at: Nanos) -> bool {
        let asked = self.asked.iter_mut().find(|asked| asked.round == round && asked.sent.is_none());
        asked.is_some_and(|asked| {
            asked.sent = Some(at);
            true
        })
    }

    /// The round that a probe was of which is answered now.
    fn take(&mut self, is_it: impl Fn(&Asked) -> bool) -> Option<u32> {
        let at = self.asked.iter().position(is_it)?;
        self.asked.remove(at).map(|asked| asked.round)
    }

    /// An echo reply from `src` to `dst`.
    pub(super) fn echo(&mut self, (dst, src): (Ipv4Addr, Ipv4Addr), seq: u16, data: &[u8]) -> Option<u32> {
        self.take(|asked| {
            let sign =
                matches!(&asked.sign, Sign::Echo { seq: its, cookie } if *its == seq && cookie == data);
            sign && (asked.own, asked.to) == (dst, src)
        })
    }

    /// A datagram: which round it answers, and whether well.
    pub(super) fn datagram(
        &mut self,
        (dst, src, src_port, dst_port): (Ipv4Addr, Ipv4Addr, u16, u16),
        data: &[u8],
    ) -> Option<(u32, Result<(), String>)> {
        let Ask::Dns { port, expect, .. } = &self.spec.ask else { return None };
        let (at, answer) = self.asked.iter().enumerate().find_map(|(at, asked)| {
            let Sign::Dns { port: own, question } = &asked.sign else { return None };
            let place = (asked.own, asked.to, *port, *own) == (dst, src, src_port, dst_port);
            Some((at, dns::answer(question, data).filter(|_| place)?))
        })?;
        let verdict = match answer.code {
            0 if expect.is_empty() || answer.addresses.iter().any(|ip| expect.contains(ip)) => Ok(()),
            0 => Err(match answer.addresses.first() {
                Some(ip) => format!("dns says {ip}"),
                None => "dns says nothing".into(),
            }),
            code => Err(format!("dns {}", code_name(code))),
        };
        self.asked.remove(at).map(|asked| (asked.round, verdict))
    }

    /// The connection of a round was judged. Whether anybody waits for that.
    pub(super) fn connection(&mut self, round: u32) -> bool {
        self.take(|asked| asked.round == round && asked.sign == Sign::Tcp).is_some()
    }

    /// An ICMP error, perhaps about a probe of this target; `own` is its identifier, `connection` the round that it is about.
    pub(super) fn told(&mut self, error: &Error, own: u16, connection: Option<u32>, by: Ipv4Addr) {
        let about = |asked: &&mut Asked| {
            let it = match &asked.sign {
                Sign::Echo { .. } => error.protocol == protocol::ICMP && error.port == own,
                Sign::Dns { port, .. } => error.protocol == protocol::UDP && error.port == *port,
                Sign::Tcp => error.protocol == protocol::TCP && connection == Some(asked.round),
            };
            it && asked.to == error.to
        };
        if let Some(asked) = self.asked.iter_mut().rev().find(about) {
            let what = match (error.kind, error.code) {
                (kind::UNREACHABLE, 0) => "net unreachable".into(),
                (kind::UNREACHABLE, 1) => "host unreachable".into(),
                (kind::UNREACHABLE, 3) => "port unreachable".into(),
                (kind::UNREACHABLE, 9 | 10 | 13) => "prohibited".into(),
                (kind::TIME_EXCEEDED, _) => "TTL exceeded".into(),
                (kind, code) => format!("icmp {kind}/{code}"),
            };
            asked.hint = Some(format!("{what}, says {by}"));
        }
    }

    fn until(asked: &Asked, timeout: Nanos) -> Nanos {
        asked.sent.unwrap_or(asked.at) + timeout
    }

    /// Ends the probes that were not answered in time: round, whether it was a connection, and what was told of it.
    pub(super) fn expire(
        &mut self,
        now: Nanos,
        timeout: Nanos,
        mut failed: impl FnMut(u32, bool, Option<String>),
    ) {
        while self.asked.front().is_some_and(|asked| Target::until(asked, timeout) <= now) {
            let Some(old) = self.asked.pop_front() else { return };
            let unsent = old.sent.is_none().then(|| "could not be sent".to_owned());
            failed(old.round, old.sign == Sign::Tcp, old.hint.or(unsent));
        }
    }

    /// When `expire` is next wanted.
    pub(super) fn due(&self, timeout: Nanos) -> Nanos {
        self.asked.front().map_or(Nanos::NEVER, |asked| Target::until(asked, timeout))
    }
}

fn code_name(code: u8) -> String {
    match code {
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        code => format!("rcode {code}"),
    }
}
