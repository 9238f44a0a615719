//! The client's states (RFC 2131 4.4) and what leads from one to the next.
//!
//! ```text
//!  Init -> Selecting -> Requesting -> Checking -> Bound -> Renewing -> Rebinding
//!    ^         (offer)      (ack)     (nobody has it)  ^  (T1)  |   (T2)    |
//!    |                                                 +--ack---+----ack----+
//!    +--- nak, no answer, declined, expired                     Rebooting: the link has come back, the lease is still good
//! ```
//!
//! A lease that is held stays in use through Renewing, Rebinding and Rebooting, and while the link is away, until it expires, to
//! the nanosecond. Answers count for the exchange that is going on, by its number; each renewal is an exchange of its own, so that
//! its time is counted from its own request. The address of a renewal is the one that was held, or it is no answer.

use std::net::Ipv4Addr;

use super::Config;
use super::lease::{self, Lease, Refusal, Spans};
use super::message::{Answer, Ask, Asking, Message};
use super::timing::{self, Lots};
use super::types::{Out, Phase, Said, Send};
use crate::base::Nanos;

/// A lease and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) lease: Lease,
    pub(super) whole: Nanos,
    pub(super) renew: Nanos,
    pub(super) rebind: Nanos,
    pub(super) expires: Nanos,
}

/// A WAN's client.
#[derive(Clone, Debug)]
pub struct Client {
    config: Config,
    lots: Lots,
    phase: Phase,
    /// Number of the exchange
    xid: u32,
    /// When it began to ask
    began: Nanos,
    /// When the request left that an ACK would answer
    asked: Nanos,
    tries: u32,
    due: Nanos,
    /// Answers by unicast do not come through, it seems
    broadcast: bool,
    offer: Option<Lease>,
    granted: Option<Held>,
    held: Option<Held>,
    /// The address that it had, to be asked for again
    last: Option<Ipv4Addr>,
    /// In a row
    refusals: u32,
    said: Option<Said>,
}

impl Client {
    /// A client without link. `seed`: two clients have different ones.
    pub fn new(config: Config, seed: u64) -> Client {
        Client {
            config,
            lots: Lots(seed),
            phase: Phase::Off,
            xid: 0,
            began: Nanos::ZERO,
            asked: Nanos::ZERO,
            tries: 0,
            due: Nanos::NEVER,
            broadcast: false,
            offer: None,
            granted: None,
            held: None,
            last: None,
            refusals: 0,
            said: None,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The lease, while it is good.
    pub fn lease(&self) -> Option<&Lease> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// When the lease is renewed, and when it expires; `Nanos::NEVER` if that never comes.
    pub fn times(&self) -> Option<(Nanos, Nanos)> {
        self.held.as_ref().map(|held| (held.renew, held.expires))
    }

    /// The address that is looked for on the link.
    pub fn claim(&self) -> Option<Ipv4Addr> {
        self.granted.as_ref().filter(|_| self.phase == Phase::Checking).map(|held| held.lease.address.addr)
    }

    /// What was told last, since the last lease.
    pub fn said(&self) -> Option<Said> {
        self.said
    }

    /// When `tick` is wanted.
    pub fn due(&self) -> Nanos {
        self.held.as_ref().map_or(self.due, |held| self.due.min(held.expires))
    }

    /// Draws other lots from now on.
    pub fn stir(&mut self, seed: u64) {
        self.lots.0 ^= seed;
    }

    /// Another configuration. A lease that it would not have taken is given up.
    pub fn reconfigure(&mut self, now: Nanos, config: Config, out: &mut impl FnMut(Out)) {
        self.config = config;
        let Some(lease) = self.lease() else { return };
        let refusal = if lease::rejected(lease.server, lease.server, &self.config) {
            Refusal::Rejected
        } else if self.config.taken.iter().any(|taken| taken.overlaps(lease.address)) {
            Refusal::Inside
        } else {
            return;
        };
        let said = Said::Refused(Some(lease.server), refusal);
        self.lose(now, said, out);
    }

    /// The link has come or gone.
    pub fn link(&mut self, now: Nanos, up: bool, out: &mut impl FnMut(Out)) {
        match (up, self.phase) {
            (false, _) => {
                (self.offer, self.granted) = (None, None);
                self.enter(Phase::Off, Nanos::NEVER);
            }
            (true, Phase::Off) if self.held.is_some() => {
                (self.began, self.asked) = (now, now);
                self.enter(Phase::Rebooting, now);
                self.xid = self.lots.next() as u32;
            }
            (true, Phase::Off) => self.enter(Phase::Init, now),
            (true, _) => {}
        }
        self.tick(now, out);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Nanos, out: &mut impl FnMut(Out)) {
        // After a long pause there may be several things to do, but never many.
        for _ in 0..8 {
            if self.held.as_ref().is_some_and(|held| now >= held.expires) {
                self.lose(now, Said::Expired, out);
            }
            if now < self.due {
                break;
            }
            self.turn(now, out);
        }
    }

    fn turn(&mut self, now: Nanos, out: &mut impl FnMut(Out)) {
        match self.phase {
            Phase::Off => self.due = Nanos::NEVER,
            Phase::Init => {
                self.xid = self.lots.next() as u32;
                self.began = now;
                self.enter(Phase::Selecting, now);
            }
            Phase::Selecting => {
                if self.tries == timing::TRIES {
                    self.say(Said::Silent, out);
                }
                self.broadcast |= self.tries >= 2;
                self.ask(now, Ask::Discover, self.last, None, out);
            }
            Phase::Requesting => match self.offer.clone().filter(|_| self.tries < timing::TRIES) {
                Some(offer) => {
                    self.ask(now, Ask::Request, Some(offer.address.addr), Some(offer.server), out);
                }
                None => self.anew(now),
            },
            Phase::Checking => match self.claim() {
                Some(address) if self.tries < timing::PROBES => {
                    out(Out::Claim(address));
                    self.tries += 1;
                    self.due = now + timing::PROBE_EVERY;
                }
                _ => self.bind(now, out),
            },
            Phase::Bound => {
                self.began = now;
                self.enter(Phase::Renewing, now);
            }
            Phase::Renewing if self.held.as_ref().is_none_or(|held| now >= held.rebind) => {
                self.enter(Phase::Rebinding, now);
            }
            Phase::Renewing | Phase::Rebinding => self.extend(now, out),
            Phase::Rebooting => match self.held.clone() {
                // Nobody answers: it is good till it expires (RFC 2131 3.2, 3.).
                Some(held) if self.tries >= timing::TRIES / 2 => self.enter(Phase::Bound, held.renew),
                Some(held) => self.ask(now, Ask::Request, Some(held.lease.address.addr), None, out),
                None => self.anew(now),
            },
        }
    }

    /// A server's message from the address `from` has come.
    pub fn heard(&mut self, now: Nanos, from: Ipv4Addr, message: &Message, out: &mut impl FnMut(Out)) {
        self.tick(now, out);
        let exchange = !matches!(self.phase, Phase::Off | Phase::Init | Phase::Checking | Phase::Bound);
        if !exchange || message.xid != self.xid || message.mac != self.config.mac {
            return;
        }
        match message.answer {
            Answer::Offer if self.phase == Phase::Selecting => {
                match lease::judge(message, from, &self.config) {
                    Ok((lease, _)) => {
                        self.offer = Some(lease);
                        self.asked = now;
                        self.enter(Phase::Requesting, now);
                        self.turn(now, out);
                    }
                    Err(refusal) => self.say(Said::Refused(message.server, refusal), out),
                }
            }
            Answer::Ack if self.phase != Phase::Selecting => self.acked(now, from, message, out),
            Answer::Nak if self.phase != Phase::Selecting => self.refused(now, from, message, out),
            Answer::Offer | Answer::Ack | Answer::Nak => {}
        }
        self.tick(now, out);
    }

    fn acked(&mut self, now: Nanos, from: Ipv4Addr, message: &Message, out: &mut impl FnMut(Out)) {
        let wanted = match self.phase {
            Phase::Requesting => self.offer.as_ref(),
            _ => self.lease(),
        };
        let Some(wanted) = wanted.filter(|lease| lease.address.addr == message.address) else { return };
        let same = message.server == Some(wanted.server);
        if !same && matches!(self.phase, Phase::Requesting | Phase::Renewing) {
            return;
        }
        let (lease, spans) = match lease::judge(message, from, &self.config) {
            Ok(granted) => granted,
            Err(refusal) => return self.say(Said::Refused(message.server, refusal), out),
        };
        let granted = self.times_of(lease, spans);
        if granted.expires <= now {
            return;
        }
        if self.phase == Phase::Requesting {
            self.granted = Some(granted);
            return self.enter(Phase::Checking, now);
        }
        let news = self.lease() != Some(&granted.lease);
        self.enter(Phase::Bound, granted.renew);
        self.refusals = 0;
        self.hold(granted, news, out);
    }

    fn refused(&mut self, now: Nanos, from: Ipv4Addr, message: &Message, out: &mut impl FnMut(Out)) {
        let Some(server) = message.server else { return };
        let its = match self.phase {
            Phase::Requesting => self.offer.as_ref().map(|lease| lease.server),
            Phase::Renewing => self.lease().map(|lease| lease.server),
            _ => Some(server),
        };
        if its != Some(server) || lease::rejected(server, from, &self.config) {
            return;
        }
        self.refusals = self.refusals.saturating_add(1);
        self.last = None;
        match self.held {
            Some(_) => self.lose(now, Said::Nak(server), out),
            None => {
                self.say(Said::Nak(server), out);
                self.anew(now);
            }
        }
    }

    /// Somebody else has an address, as ARP says.
    pub fn conflict(&mut self, now: Nanos, address: Ipv4Addr, out: &mut impl FnMut(Out)) {
        if self.claim() != Some(address) {
            return;
        }
        let Some(granted) = self.granted.take() else { return };
        self.xid = self.lots.next() as u32;
        self.last = None;
        self.ask(now, Ask::Decline, Some(address), Some(granted.lease.server), out);
        self.say(Said::Conflict(address), out);
        self.enter(Phase::Init, now + timing::DECLINED);
    }

    fn bind(&mut self, now: Nanos, out: &mut impl FnMut(Out)) {
        let Some(granted) = self.granted.take() else { return self.anew(now) };
        self.last = Some(granted.lease.address.addr);
        (self.refusals, self.broadcast) = (0, false);
        self.enter(Phase::Bound, granted.renew);
        self.hold(granted, true, out);
    }

    fn hold(&mut self, granted: Held, news: bool, out: &mut impl FnMut(Out)) {
        let lease = granted.lease.clone();
        self.said = (!lease.left_out.is_none()).then_some(Said::Routes(lease.left_out));
        self.held = Some(granted);
        if news {
            out(Out::Lease(lease));
            self.said.map(Out::Said).into_iter().for_each(out);
        }
    }

    fn lose(&mut self, now: Nanos, said: Said, out: &mut impl FnMut(Out)) {
        self.held = None;
        self.said = Some(said);
        out(Out::Lost(said));
        if self.phase != Phase::Off {
            self.anew(now);
        }
    }

    /// Begins with nothing.
    fn anew(&mut self, now: Nanos) {
        (self.offer, self.granted) = (None, None);
        let pause = if self.refusals > 0 { self.lots.pause(self.refusals) } else { Nanos::ZERO };
        self.enter(Phase::Init, now + pause);
    }

    fn enter(&mut self, phase: Phase, due: Nanos) {
        (self.phase, self.due, self.tries) = (phase, due, 0);
    }

    /// Counted from when it was asked for.
    fn times_of(&mut self, lease: Lease, spans: Spans) -> Held {
        let rebind = self.lots.fuzz(spans.rebind);
        let renew = self.lots.fuzz(spans.renew).min(rebind);
        let at = |span: Nanos| self.asked + span;
        Held { lease, whole: spans.whole, renew: at(renew), rebind: at(rebind), expires: at(spans.whole) }
    }

    /// Asks for more time: the server that granted it, or all.
    fn extend(&mut self, now: Nanos, out: &mut impl FnMut(Out)) {
        let Some(held) = self.held.clone() else { return self.anew(now) };
        let all = self.phase == Phase::Rebinding;
        self.xid = self.lots.next() as u32;
        self.asked = now;
        let asking = self.asking(now, Ask::Request, held.lease.address.addr);
        let to = (!all).then_some(held.lease.server);
        self.send(asking, to, out);
        let until = if all { held.expires } else { held.rebind };
        self.due = (now + timing::again(now, until, held.whole)).min(until);
    }

    /// Asks all, as one without an address.
    fn ask(
        &mut self,
        now: Nanos,
        ask: Ask,
        wanted: Option<Ipv4Addr>,
        server: Option<Ipv4Addr>,
        out: &mut impl FnMut(Out),
    ) {
        let asking = Asking { wanted, server, ..self.asking(now, ask, Ipv4Addr::UNSPECIFIED) };
        self.send(asking, None, out);
        self.due = now + self.lots.patience(self.tries);
        self.tries = self.tries.saturating_add(1);
    }

    fn asking(&self, now: Nanos, ask: Ask, address: Ipv4Addr) -> Asking {
        let secs = u16::try_from(now.since(self.began).as_s()).unwrap_or(u16::MAX);
        let broadcast = self.broadcast && address.is_unspecified() && ask != Ask::Decline;
        Asking { ask, xid: self.xid, secs, address, wanted: None, server: None, broadcast }
    }

    fn send(&self, asking: Asking, to: Option<Ipv4Addr>, out: &mut impl FnMut(Out)) {
        let bytes = asking.write(self.config.mac, self.config.hostname.as_deref());
        out(Out::Send(Send { from: asking.address, to, bytes }));
    }

    /// Says something that it has not just said.
    fn say(&mut self, said: Said, out: &mut impl FnMut(Out)) {
        if self.said.replace(said) != Some(said) {
            out(Out::Said(said));
        }
    }
}
