//! A NAT that is slow and obviously right: two lists, walked for every packet. What it cannot know, the port that a mapping
//! gets, it is told by what the router does.

use super::common::*;
use std::net::Ipv4Addr;

pub const UDP: u8 = 17;
pub const TCP: u8 = 6;
pub const ICMP: u8 = 1;
/// The host with an address of its own, and that address.
pub const H4: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 13);
pub const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);
/// Outside port and inside end of the forward that all have, and of that of 9.9.9.0/24 on isp1.
pub const FORWARD: (u16, End) = (8443, (H2, 443));
pub const NARROW: (u16, End) = (2000, (H1, 3000));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    Anybody,
    Address,
    Session,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midstream {
    Reset,
    Adopt,
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Masquerade,
    Alone,
    Fixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Inside,
    Answered,
    Stranger,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub protocol: u8,
    pub inside: End,
    pub remote: End,
    pub outside: End,
    pub wan: usize,
    pub state: &'static str,
    pub touched: u64,
    kind: Kind,
    origin: Origin,
    /// Of UDP and what has no ports: fixed when it is made, or answered
    span: u64,
}

/// A packet as the model sees it; `flags` of TCP, `reply` of echoes.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    pub protocol: u8,
    pub src: End,
    pub dst: End,
    pub flags: u8,
    pub reply: bool,
}

impl Shot {
    fn opens(&self) -> bool {
        self.protocol != TCP || self.flags & (SYN | ACK | RST) == SYN
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Nothing,
    /// Answered by the router itself
    Echo,
    /// By this link (0: LAN, 1 and 2: WANs), between these
    Passed(usize, End, End),
    /// As `Passed`, or nothing: by a mapping without a live session, which may not be cleared away yet
    Perhaps(usize, End, End),
}

/// What the router does that the model cannot know: the outside end of a flow that has just begun.
pub type Told<'a> = &'a mut dyn FnMut(u8, End, End) -> Option<End>;

#[derive(Clone, Debug)]
pub struct Model {
    pub now: u64,
    pub udp: Filter,
    pub tcp: Filter,
    pub midstream: Midstream,
    pub hairpin: bool,
    pub sessions: Vec<Session>,
    /// Sessions that have ended, and when: the sweep takes their mappings within 8 s
    pub ended: Vec<(Session, u64)>,
    /// What there is if a `Perhaps` has passed
    pub pending: Option<Session>,
}

/// The sweep's round, in ms.
const SWEEP: u64 = 8_000;

/// RFC 7857 2.1, by its rows.
fn after(state: &'static str, out: bool, flags: u8) -> &'static str {
    let (syn, fin, rst) = (flags & SYN != 0, flags & 1 != 0, flags & RST != 0);
    let opens = syn && flags & (ACK | RST) == 0;
    match state {
        "fin_both" | "transitory" if opens => {
            if out {
                "syn_out"
            } else {
                "syn_in"
            }
        }
        "syn_out" if !out && rst => "transitory",
        "syn_in" if out && rst => "transitory",
        "syn_out" if !out && syn => "established",
        "syn_in" if out && syn => "established",
        "established" | "fin_out" | "fin_in" if rst => "transitory",
        "established" if fin => {
            if out {
                "fin_out"
            } else {
                "fin_in"
            }
        }
        "fin_out" if fin && !out => "fin_both",
        "fin_in" if fin && out => "fin_both",
        "transitory" if !rst => "established",
        same => same,
    }
}

/// How long a flow of this kind lives, in ms.
fn span(protocol: u8, remote: End) -> u64 {
    match (protocol, remote.1) {
        (UDP, 53) => 10_000,
        (UDP, _) => 300_000,
        (ICMP, _) => 60_000,
        _ => 600_000,
    }
}

impl Session {
    fn lives(&self) -> u64 {
        match (self.protocol, self.state) {
            (TCP, "established") => 7_440_000,
            (TCP, _) => 240_000,
            _ => self.span,
        }
    }

    fn spoken(&self) -> bool {
        self.origin != Origin::Stranger
    }

    /// A packet of it: the state, and the timer.
    fn take(&mut self, shot: &Shot, out: bool, now: u64) {
        if out && !self.spoken() && !(self.protocol == TCP && shot.flags & RST != 0) {
            self.origin = Origin::Answered;
            self.span = span(self.protocol, self.remote);
        }
        let before = self.state;
        // Whom inside has refused can but ask again.
        if self.protocol == TCP && (out || self.spoken() || shot.opens()) {
            self.state = after(self.state, out, shot.flags);
        }
        // A reset starts the timer of an end; a refusal by inside ends nothing that was there.
        let ends = before != "syn_in" && self.state != before;
        let alive = self.protocol != TCP || shot.flags & RST == 0 || ends;
        // Whom nobody has answered keeps nothing alive.
        if alive && (out || self.spoken()) {
            self.touched = now;
        }
    }
}

impl Model {
    /// Ends what has had its time.
    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        let now = self.now;
        let over = self.sessions.extract_if(.., |s| now - s.touched >= s.lives());
        self.ended.extend(over.map(|s| (s, now)));
        self.ended.retain(|(_, at)| now - at <= SWEEP);
        self.pending = None;
    }

    fn own(dst: Ipv4Addr) -> Option<usize> {
        match dst {
            P1 | OWN => Some(1),
            P2 => Some(2),
            _ => None,
        }
    }

    /// A packet from inside.
    pub fn goes_out(&mut self, shot: &Shot, told: Told<'_>) -> Fate {
        if shot.dst.0.octets()[..3] == [192, 168, 10] {
            return Fate::Passed(0, shot.src, shot.dst);
        }
        let Some(wan) = Model::own(shot.dst.0) else {
            return match self.leave(shot, told) {
                Some((wan, src)) if shot.protocol == ICMP => Fate::Passed(wan, src, (shot.dst.0, src.1)),
                Some((wan, src)) => Fate::Passed(wan, src, shot.dst),
                None => Fate::Nothing,
            };
        };
        if shot.protocol == ICMP && !shot.reply && shot.dst.0 != OWN {
            return Fate::Echo;
        }
        if !self.hairpin {
            return Fate::Nothing;
        }
        let Some((_, src)) = self.leave(shot, told) else { return Fate::Nothing };
        let dst = if shot.protocol == ICMP { (shot.dst.0, src.1) } else { shot.dst };
        self.enter(wan, &Shot { src, dst, ..*shot }, true)
    }

    /// The way out: the WAN, and the end that it leaves from.
    fn leave(&mut self, shot: &Shot, told: Told<'_>) -> Option<(usize, End)> {
        let remote = (shot.dst.0, if shot.protocol == ICMP { 0 } else { shot.dst.1 });
        let same = |s: &&mut Session| (s.protocol, s.inside, s.remote) == (shot.protocol, shot.src, remote);
        if let Some(s) = self.sessions.iter_mut().find(same) {
            s.take(shot, true, self.now);
            return Some((s.wan, s.outside));
        }
        let adopted = self.midstream == Midstream::Adopt && shot.flags & (SYN | RST | 1) == 0;
        if shot.reply || !(shot.opens() || adopted) {
            return None;
        }
        let src = shot.src;
        let (outside, kind) = if shot.dst.0.octets()[0] == 10 {
            (src, Kind::Fixed)
        } else if src.0 == H4 {
            ((OWN, src.1), Kind::Fixed)
        } else if !matches!(shot.protocol, UDP | TCP | ICMP) {
            ((P1, 0), Kind::Alone)
        } else {
            // One mapping an inside end; one that has a live session stays.
            let live = self
                .sessions
                .iter()
                .find(|s| s.kind == Kind::Masquerade && (s.protocol, s.inside) == (shot.protocol, src));
            let live = live.map(|s| s.outside);
            let outside = told(shot.protocol, src, remote).expect("a flow from inside gets a place");
            assert!(
                live.is_none_or(|live| live == outside),
                "the mapping of {src:?} has moved: {live:?} {outside:?}"
            );
            let taken = |s: &&Session| (s.protocol, s.outside) == (shot.protocol, outside) && s.inside != src;
            assert_eq!(
                self.sessions.iter().find(taken).map(|s| s.inside),
                None,
                "{outside:?} is {src:?}'s as well"
            );
            (outside, Kind::Masquerade)
        };
        let state = match (shot.protocol, adopted && !shot.opens()) {
            (TCP, true) => "established",
            (TCP, false) => "syn_out",
            _ => "active",
        };
        let mut session = Session {
            protocol: shot.protocol,
            inside: src,
            remote,
            outside,
            wan: 1,
            state,
            touched: self.now,
            kind,
            origin: Origin::Inside,
            span: span(shot.protocol, remote),
        };
        if self.clashes(&session) {
            return None;
        }
        session.take(shot, true, self.now);
        self.sessions.push(session);
        Some((1, outside))
    }

    /// Another session is in the place, seen from outside or from inside.
    fn clashes(&self, new: &Session) -> bool {
        self.sessions.iter().any(|s| {
            let outside = (s.wan, s.outside, s.remote) == (new.wan, new.outside, new.remote);
            s.protocol == new.protocol && (outside || (s.inside, s.remote) == (new.inside, new.remote))
        })
    }

    /// A packet from outside.
    pub fn comes_in(&mut self, wan: usize, shot: &Shot) -> Fate {
        // Nobody outside has an address of the router's.
        if Model::own(shot.src.0).is_some() {
            return Fate::Nothing;
        }
        let own = Model::own(shot.dst.0) == Some(wan);
        if own && shot.protocol == ICMP && !shot.reply && shot.dst.0 != OWN {
            return Fate::Echo;
        }
        let plain = shot.src.0.octets()[0] == 10 && shot.dst.0.octets()[0] == 192;
        if own || plain { self.enter(wan, shot, false) } else { Fate::Nothing }
    }

    fn enter(&mut self, wan: usize, shot: &Shot, hairpin: bool) -> Fate {
        let remote = (shot.src.0, if shot.protocol == ICMP { 0 } else { shot.src.1 });
        let same = |s: &&mut Session| {
            (s.wan, s.protocol, s.outside, s.remote) == (wan, shot.protocol, shot.dst, remote)
        };
        if let Some(s) = self.sessions.iter_mut().find(same) {
            s.take(shot, false, self.now);
            let to = s.inside;
            return Fate::Passed(0, if shot.protocol == ICMP { (shot.src.0, to.1) } else { shot.src }, to);
        }
        if shot.reply || !shot.opens() {
            return Fate::Nothing;
        }
        let (inside, kind, sure) = match self.lead(wan, shot, hairpin) {
            Some(found) => found,
            None => return Fate::Nothing,
        };
        let stranger = if shot.protocol == TCP { "syn_in" } else { "active" };
        let session = Session {
            protocol: shot.protocol,
            inside,
            remote,
            outside: shot.dst,
            wan,
            state: stranger,
            touched: self.now,
            kind,
            origin: Origin::Stranger,
            span: 10_000,
        };
        if self.clashes(&session) {
            return Fate::Nothing;
        }
        let from = if shot.protocol == ICMP { (shot.src.0, inside.1) } else { shot.src };
        if sure {
            self.sessions.push(session);
            return Fate::Passed(0, from, inside);
        }
        self.pending = Some(session);
        Fate::Perhaps(0, from, inside)
    }

    /// Where a stranger is led, and whether surely.
    fn lead(&self, wan: usize, shot: &Shot, hairpin: bool) -> Option<(End, Kind, bool)> {
        let tcp_or_udp = matches!(shot.protocol, UDP | TCP);
        if shot.dst.0 == OWN {
            let accepted = hairpin || matches!(shot.protocol, TCP | ICMP);
            return accepted.then_some(((H4, shot.dst.1), Kind::Fixed, true));
        }
        if shot.dst.0.octets()[0] == 192 {
            let accepted = shot.dst.0 == H4 && wan == 1 && matches!(shot.protocol, TCP | ICMP);
            return accepted.then_some((shot.dst, Kind::Fixed, true));
        }
        if tcp_or_udp && shot.dst == (if wan == 1 { P1 } else { P2 }, FORWARD.0) {
            return Some((FORWARD.1, Kind::Fixed, true));
        }
        if shot.protocol == UDP && shot.dst == (P1, NARROW.0) && shot.src.0.octets()[..3] == [9, 9, 9] {
            return Some((NARROW.1, Kind::Fixed, true));
        }
        let its = |s: &&Session| {
            s.kind == Kind::Masquerade && (s.wan, s.protocol, s.outside) == (wan, shot.protocol, shot.dst)
        };
        let filter = match shot.protocol {
            UDP => self.udp,
            TCP => self.tcp,
            _ => Filter::Session,
        };
        let lets = |s: &Session| {
            s.spoken()
                && match filter {
                    Filter::Anybody => true,
                    Filter::Address => hairpin || s.remote.0 == shot.src.0,
                    Filter::Session => hairpin,
                }
        };
        let perhaps = hairpin && filter != Filter::Anybody;
        let Some(inside) = self.sessions.iter().find(its).map(|s| s.inside) else {
            // Inside may go by a mapping that has just ended, as long as it is there.
            let ended = self.ended.iter().find(|(s, _)| its(&s))?;
            return perhaps.then_some((ended.0.inside, Kind::Masquerade, false));
        };
        let lets_in = perhaps || self.sessions.iter().filter(its).any(lets);
        lets_in.then_some((inside, Kind::Masquerade, true))
    }
}
