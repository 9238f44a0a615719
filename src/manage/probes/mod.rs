//! Probes of targets behind a WAN: requests (WAN, target, round) become packets, and what comes back becomes answers to them.
//!
//! - Every probe leaves by the WAN that it judges, from that WAN's address, to that WAN's next hop: the frame is made here and sent by
//!   that interface; no route and no selection has a say in it.
//! - What counts as an answer: an echo reply with the data that was sent; a SYN-ACK; the status that was asked for; RCODE 0, with one of the
//!   expected addresses if there are any. An answer is of its round, or it is nothing's. An ICMP error or a wrong answer is kept as evidence.
//! - Errors by ICMP do not end a probe before its time (RFC 5927): anybody can forge one. A reset that fits, and a server's own word, do.
//! - A target whose name has no address is not judged. A next hop that is not there is a probe without an answer.
//! - No clock, no socket: time is handed in, frames come out, and names are asked for by a thread (`names`).
//!
//! RFC 792, RFC 1035, RFC 9112, RFC 9293; BFD (`bfd`): RFC 5880, RFC 5881.

pub mod bfd;
pub mod names;
pub(super) mod packets;
mod target;
mod tcp;
mod types;
mod wan;

use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::base::{Nanos, WanId};
use crate::path::answers::{BFD_PORT, OWN_PORTS, Probed, Probing};
use bfd::Session;
use names::{Names, Resolver};
use packets::{What, read};
use target::{Sign, Target};
use tcp::Stack;
pub use types::{Ask, Host, Output, TargetSpec, WanProbes, Way};
use wan::{BfdSide, Wan, tell};

/// Targets of one WAN, at most.
pub const TARGETS: usize = 64;
/// The number that a probe's frame carries to the worker and back. The highest bit is left to the caller.
pub const fn tag(target: u8, round: u32) -> u64 {
    (target as u64) << 32 | round as u64
}

/// All probes of a router.
#[derive(Debug)]
pub struct Probes {
    wans: Vec<Wan>,
    names: Names,
    rng: StdRng,
    secret: [u8; 8],
}

impl Default for Probes {
    fn default() -> Probes {
        Probes::new(None, 0)
    }
}

impl Probes {
    /// The probes of each WAN, by `WanId`. `seed` must be secret.
    pub fn new(resolver: Option<Resolver>, seed: u64) -> Probes {
        let mut rng = StdRng::seed_from_u64(seed);
        let secret = rng.random();
        Probes { wans: Vec::new(), names: Names::new(resolver, std::iter::empty()), rng, secret }
    }

    /// Others from now on; what was under way is forgotten.
    pub fn renew(&mut self, wans: Vec<WanProbes>) {
        let name = |spec: &TargetSpec| match &spec.host {
            Host::Name(name) => Some(name.clone()),
            Host::Address(_) => None,
        };
        self.names.renew(wans.iter().flat_map(|wan| &wan.targets).filter_map(name));
        let rng = &mut self.rng;
        let wan = |wan: WanProbes| Wan {
            timeout: wan.timeout,
            targets: wan.targets.into_iter().take(TARGETS).map(Target::new).collect(),
            stack: None,
            next_port: rng.random_range(OWN_PORTS),
            bfd: wan.bfd.map(|config| BfdSide {
                session: Session::new(config, rng.random_range(1..=u32::MAX)),
                said: None,
                port: rng.random_range(OWN_PORTS),
                due: Nanos::ZERO,
            }),
        };
        self.wans = wans.into_iter().map(wan).collect();
    }

    /// What may come back, for the workers.
    pub fn probing(&self) -> Probing {
        let probed = |wan: &Wan| {
            let mut targets: Vec<Ipv4Addr> = wan.targets.iter().flat_map(Target::addresses).collect();
            targets.sort_unstable();
            targets.dedup();
            Probed {
                targets,
                bfd: wan.bfd.as_ref().map(|side| side.session.config().peer),
                ..Probed::default()
            }
        };
        Probing { secret: self.secret, wans: self.wans.iter().map(probed).collect(), ..Probing::default() }
    }

    /// Asks a target, in round `round`. `ways` tells how a packet to an address leaves by a WAN.
    pub fn ask(
        &mut self,
        now: Nanos,
        (id, target, round): (WanId, u8, u32),
        ways: &dyn Fn(WanId, Ipv4Addr) -> Option<Way>,
        out: &mut dyn FnMut(Output),
    ) {
        let Some(wan) = self.wans.get_mut(id.index()) else { return };
        let Some(asked) = wan.targets.get_mut(usize::from(target)) else { return };
        let to = match asked.address() {
            Ok(to) => to,
            Err(why) => return out(Output::Unresolved(id, target, round, why.to_owned())),
        };
        let way = ways(id, to);
        if let Some(way) = way.filter(|way| way.confirm) {
            out(Output::Resolve(id, way.next_hop));
        }
        let Some((way, mac)) = way.and_then(|way| Some((way, way.next_mac?))) else {
            let why = way.map_or("no way".into(), |way| format!("next hop {} not resolved", way.next_hop));
            out(Output::Sent(id, target, round, now));
            return out(Output::Failed(id, target, round, why));
        };
        if let Some((old, tcp, why)) = asked.forget_oldest() {
            let far = wan.stack.as_mut().filter(|_| tcp).map(|stack| stack.end((target, old)));
            let why = why.unwrap_or_else(|| far.unwrap_or("no answer").into());
            out(Output::Failed(id, target, old, why));
        }
        let tag = Some(tag(target, round));
        let mut given_up = None;
        let sign = match &asked.spec().ask {
            Ask::Icmp => {
                let cookie = self.rng.random();
                let data = [self.secret, cookie].concat();
                let place = (OWN_PORTS.start() + u16::from(target), round as u16);
                out(Output::Send(id, packets::echo(&way, mac, to, place, &data), tag));
                Sign::Echo { seq: place.1, cookie }
            }
            Ask::Dns { port, name, .. } => {
                let Some(question) = crate::wire::dns::question(self.rng.random(), name) else { return };
                let own = self.rng.random_range(OWN_PORTS);
                out(Output::Send(id, packets::udp(&way, mac, to, (own, *port), &question), tag));
                Sign::Dns { port: own, question }
            }
            ask @ (Ask::Tcp { port, .. } | Ask::Http { port, .. }) => {
                let page = match ask {
                    Ask::Http { host, path, status, .. } => Some(tcp::Page::new(host, path, *status)),
                    _ => None,
                };
                if let Some(stack) = wan.stack.take().filter(|stack| stack.is_of(&way)) {
                    wan.stack = Some(stack);
                }
                let seed = self.rng.random();
                let stack = wan.stack.get_or_insert_with(|| Stack::new(&way, seed, now));
                let mut frames = Vec::new();
                if let Some(old) = stack.in_the_way() {
                    given_up = Some((old, stack.end(old)));
                    stack.turn(now, &mut frames);
                    frames.drain(..).for_each(|frame| out(Output::Send(id, frame, None)));
                }
                let first = wan.next_port;
                let next =
                    |port: &u16| Some(if port == OWN_PORTS.end() { *OWN_PORTS.start() } else { port + 1 });
                let mut ports = std::iter::successors(Some(first), next).take(OWN_PORTS.len());
                let opened = ports.find(|port| !stack.uses(*port)).is_some_and(|own| {
                    wan.next_port = next(&own).unwrap_or(own);
                    stack.open((target, round), own, (to, *port), mac, page)
                });
                if !opened {
                    return out(Output::Failed(id, target, round, "no room for another connection".into()));
                }
                stack.turn(now, &mut frames);
                let mut tag = tag;
                frames.into_iter().for_each(|frame| out(Output::Send(id, frame, tag.take())));
                Sign::Tcp
            }
        };
        asked.asked(round, now, to, way.src, sign);
        if let Some(((target, round), far)) = given_up
            && wan.targets.get_mut(usize::from(target)).is_some_and(|asked| asked.connection(round))
        {
            out(Output::Failed(id, target, round, far.into()));
        }
    }

    /// A frame with this tag has left.
    pub fn sent(&mut self, id: WanId, tag: u64, at: Nanos, out: &mut dyn FnMut(Output)) {
        let (target, round) = ((tag >> 32) as usize, tag as u32);
        let Some(asked) = self.wans.get_mut(id.index()).and_then(|wan| wan.targets.get_mut(target)) else {
            return;
        };
        if asked.sent(round, at) {
            out(Output::Sent(id, target as u8, round, at));
        }
    }

    /// What was to be repeated on behalf of a WAN did not get to the worker: it is said again.
    pub fn unsaid(&mut self, id: WanId) {
        if let Some(side) = self.wans.get_mut(id.index()).and_then(|wan| wan.bfd.as_mut()) {
            side.said = None;
        }
    }

    /// A frame that came in by a WAN at `at`, for a probe as it seems.
    pub fn heard(&mut self, now: Nanos, id: WanId, frame: &[u8], at: Nanos, out: &mut dyn FnMut(Output)) {
        let Some(wan) = self.wans.get_mut(id.index()) else { return };
        let Some(heard) = read(frame) else { return };
        match heard.what {
            What::Udp { dst: BFD_PORT, data, .. } => wan.bfd_heard(id, heard.src, data, at, out),
            What::Udp { src, dst, data } => {
                for (target, asked) in wan.targets.iter_mut().enumerate() {
                    let place = (heard.dst, heard.src, src, dst);
                    if let Some((round, verdict)) = asked.datagram(place, data) {
                        return tell(id, target, round, verdict, at, out);
                    }
                }
            }
            What::EchoReply { id: own, seq, data } => {
                let target = usize::from(own.wrapping_sub(*OWN_PORTS.start()));
                let Some(cookie) = data.strip_prefix(&self.secret) else { return };
                let Some(asked) = wan.targets.get_mut(target) else { return };
                if let Some(round) = asked.echo((heard.dst, heard.src), seq, cookie) {
                    tell(id, target, round, Ok(()), at, out);
                }
            }
            What::Tcp(packet) => {
                let Some(stack) = &mut wan.stack else { return };
                let mut frames = Vec::new();
                stack.heard(packet, heard.from_mac, now, &mut frames);
                frames.into_iter().for_each(|frame| out(Output::Send(id, frame, None)));
                wan.turn(id, now, at, out);
            }
            What::Error(error) => {
                let connection = wan.stack.as_ref().and_then(|stack| stack.whose(error.port, error.to));
                for (target, asked) in wan.targets.iter_mut().enumerate() {
                    let own = OWN_PORTS.start() + target as u16;
                    let of = connection.filter(|(its, _)| usize::from(*its) == target);
                    asked.told(&error, own, of.map(|(_, round)| round), heard.src);
                }
            }
        }
    }

    /// Time has passed. Hand in what has been heard before.
    pub fn tick(
        &mut self,
        now: Nanos,
        ways: &dyn Fn(WanId, Ipv4Addr) -> Option<Way>,
        out: &mut dyn FnMut(Output),
    ) {
        let mut changed = false;
        for (name, said) in self.names.tick(now) {
            for target in self.wans.iter_mut().flat_map(|wan| &mut wan.targets) {
                changed |= target.named(&name, &said);
            }
        }
        if changed {
            out(Output::Probing);
        }
        for (wan, id) in self.wans.iter_mut().zip(0..=u8::MAX) {
            let id = WanId(id);
            let timeout = wan.timeout;
            for (target, asked) in wan.targets.iter_mut().enumerate() {
                asked.expire(now, timeout, |round, tcp, why| {
                    let stack = wan.stack.as_mut().filter(|_| tcp);
                    let far = stack.map_or("no answer", |stack| stack.end((target as u8, round)));
                    out(Output::Failed(id, target as u8, round, why.unwrap_or_else(|| far.into())));
                });
            }
            wan.turn(id, now, now, out);
            wan.bfd_tick(id, now, ways, out);
        }
    }

    /// When `tick` is next wanted.
    pub fn next_deadline(&mut self, now: Nanos) -> Nanos {
        let wan = |wan: &mut Wan| {
            let timeout = wan.timeout;
            let targets = wan.targets.iter().map(|target| target.due(timeout)).min();
            let stack = wan.stack.as_mut().map(|stack| stack.due(now));
            let bfd = wan.bfd.as_ref().map(|side| side.due.min(side.session.due()));
            [targets, stack, bfd].into_iter().flatten().min().unwrap_or(Nanos::NEVER)
        };
        self.wans.iter_mut().map(wan).min().unwrap_or(Nanos::NEVER).min(self.names.due())
    }
}
