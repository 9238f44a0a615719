//! Fragments that are translated (RFC 4787 REQ-14, RFC 1812 5.2.6: forwarded as they come, not put together).
//!
//! A datagram's fragments all pass one worker, its gate, which puts the first before the others (`order`), and go from there
//! to the flow's owner, by a ring, which keeps that order. There the first is treated as a whole packet is (session,
//! timers, filters); where it went, and with which addresses, is where the others `follow`. What became of the first
//! becomes of all. Overlapping fragments refuse the rest of their datagram (RFC 1858, RFC 3128).
//!
//! What is hairpinned goes that way twice: with its outside source it is another datagram, with a gate and an owner of its own.
//!
//! A datagram that leaves by a WAN in fragments gets an identification of its own there: those that two inside hosts chose
//! could be the same (RFC 7857 REQ-10, RFC 6864 5.3.1).

use std::net::Ipv4Addr;

use super::cut::Ids;
use super::gate::Gate;
use super::gather::Gather;
use super::{Class, Router, View, Way};
use crate::base::{IfaceId, Nanos, WanId, WorkerId};
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Transport, Verdict};
use crate::table::datagrams::{Added, Datagram, DatagramKey, Datagrams, Ranges};
use crate::table::hash::HashKey;
use crate::wire::icmp::kind;
use crate::wire::ipv4::{self, Ipv4};

/// A first fragment that comes so long after the one before with its key begins another datagram: identifications come round.
const ANOTHER: Nanos = Nanos::from_s(1);

/// Where the first fragment of a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trail {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    id: u16,
    egress: IfaceId,
    next_hop: Ipv4Addr,
}

/// With what the first fragment of a datagram came in again, and on which WAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    src: Ipv4Addr,
    id: u16,
    wan: WanId,
}

/// Whether it is noted where the packet goes that is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trace {
    #[default]
    Off,
    Open,
    Found(Trail),
    Turned(Turn),
}

/// What becomes of the fragments after the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Course {
    /// Nothing: the first went nowhere
    #[default]
    Ends,
    /// They go where it went
    Goes(Trail),
    /// They come in again with it (hairpin)
    Turns(Turn),
    /// They are gathered: it is an echo request to the router
    Gathers,
}

/// What is known of a datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Whom its gate hands it to
    owner: WorkerId,
    overlaps: bool,
    course: Course,
}

/// A worker's fragments.
#[derive(Debug)]
pub(super) struct Fragments<B> {
    pub(super) datagrams: Datagrams<Known>,
    gate: Gate<B>,
    pub(super) gather: Gather<B>,
    /// Buffers to make fragments in
    pub(super) spare: Vec<B>,
    pub(super) ids: Ids,
    trace: Trace,
}

impl<B> Fragments<B> {
    /// None, with all the memory but the spare buffers.
    pub(super) fn new(secret: HashKey) -> Fragments<B> {
        Fragments {
            datagrams: Datagrams::new(secret),
            gate: Gate::new(),
            gather: Gather::new(),
            spare: Vec::with_capacity(super::cut::SPARE),
            ids: Ids::new(secret),
            trace: Trace::Off,
        }
    }
}

/// Whether a fragment that is not the first may pass: whom to.
fn judge(datagram: &mut Datagram<Known>, ip: &Ipv4) -> Result<WorkerId, DropReason> {
    if datagram.known.overlaps {
        return Err(DropReason::FragmentOverlap);
    }
    let (from, to) = ip.span();
    match datagram.ranges.add(from, to, !ip.more_fragments) {
        Added::New => Ok(datagram.known.owner),
        Added::Again => Err(DropReason::FragmentDuplicate),
        Added::Scattered => Err(DropReason::FragmentHold),
        Added::Overlap => {
            datagram.known.overlaps = true;
            Err(DropReason::FragmentOverlap)
        }
    }
}

impl<B: PacketBuf> Router<B> {
    /// This router is one of so many workers': their identifications must not meet.
    pub fn shares(&mut self, worker: WorkerId, workers: usize) {
        self.fragments.ids.share(worker, workers);
    }

    /// A fragment at its gate. Gives it, and whom it is for, if it may go on now; `owner` is whom a first one is for. After
    /// a first one, `next_in_order` has those that waited for it.
    pub fn order(&mut self, frame: Frame<B>, owner: WorkerId, now: Nanos) -> Option<(Frame<B>, WorkerId)> {
        let key = DatagramKey::of(&frame.ip, frame.ingress);
        let first = frame.ip.fragment_offset == 0;
        let known = self.fragments.datagrams.find(key, now).filter(|d| !d.ranges.complete());
        let reason = match known {
            Some(d) if !first || now.since(d.since) < ANOTHER => match judge(d, &frame.ip) {
                Ok(owner) => return Some((frame, owner)),
                Err(reason) => reason,
            },
            _ if first => return self.begin(key, frame, owner, now),
            _ => {
                let gone = self.fragments.gate.put(key, frame, now);
                self.counters.add(Stat::Held, 1);
                self.counters.sub(Stat::Held, gone);
                self.counters.drop_many(DropReason::FragmentHold, gone);
                return None;
            }
        };
        self.counters.drop(reason);
        if reason == DropReason::FragmentOverlap {
            self.forget(key, reason);
        }
        None
    }

    /// The first fragment of a datagram that is not known.
    fn begin(
        &mut self,
        key: DatagramKey,
        frame: Frame<B>,
        owner: WorkerId,
        now: Nanos,
    ) -> Option<(Frame<B>, WorkerId)> {
        let fragments = &mut *self.fragments;
        let mut ranges = Ranges::default();
        let (from, to) = frame.ip.span();
        ranges.add(from, to, false);
        let mut all = ranges;
        let overlaps = fragments.gate.headers(key).any(|ip| {
            let (from, to) = ip.span();
            all.add(from, to, !ip.more_fragments) == Added::Overlap
        });
        if let Some(datagram) = fragments.datagrams.begin(key, now) {
            datagram.ranges = ranges;
            datagram.known = Known { owner, overlaps, course: Course::Ends };
        }
        // What is gathered of one with that key is of another datagram.
        self.forget(key, DropReason::FragmentTimeout);
        if !overlaps {
            return Some((frame, owner));
        }
        self.counters.drop(DropReason::FragmentOverlap);
        while self.next_in_order(key, now).is_some() {}
        None
    }

    /// The next fragment that has waited for the first one of its datagram, and whom it is for.
    pub fn next_in_order(&mut self, key: DatagramKey, now: Nanos) -> Option<(Frame<B>, WorkerId)> {
        loop {
            let frame = self.fragments.gate.take(key)?;
            self.counters.sub(Stat::Held, 1);
            let known = self.fragments.datagrams.find(key, now);
            match known.map_or(Err(DropReason::FragmentRefused), |d| judge(d, &frame.ip)) {
                Ok(owner) => return Some((frame, owner)),
                Err(reason) => self.counters.drop(reason),
            }
        }
    }

    /// The way of a fragment at its flow's owner, after its gate.
    pub fn follow(&mut self, view: &View, frame: Frame<B>, class: Class, now: Nanos) -> Verdict {
        let key = DatagramKey::of(&frame.ip, frame.ingress);
        if frame.ip.fragment_offset != 0 {
            return self.follow_first(view, key, frame, now);
        }
        let echo = matches!(frame.transport, Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REQUEST);
        // An error that is cut off cannot be judged.
        let followed = matches!(
            class,
            Class::Own
                | Class::Inside { .. }
                | Class::Outbound { .. }
                | Class::Inbound { .. }
                | Class::Hairpin { .. }
                | Class::FromHost { .. }
        );
        let (verdict, course) = if !followed {
            (self.ended(DropReason::FragmentRefused), Course::Ends)
        } else if class == Class::Own && echo {
            (self.gather(view, key, frame, now), Course::Gathers)
        } else {
            self.fragments.trace = Trace::Open;
            let verdict = self.forward(view, frame, class, now);
            let course = match (verdict, std::mem::take(&mut self.fragments.trace)) {
                (Verdict::Sent | Verdict::Held | Verdict::Local, Trace::Found(trail)) => Course::Goes(trail),
                (Verdict::Turned, Trace::Turned(turn)) => Course::Turns(turn),
                _ => Course::Ends,
            };
            (verdict, course)
        };
        let datagrams = &mut self.fragments.datagrams;
        if datagrams.find(key, now).is_none() {
            datagrams.begin(key, now);
        }
        if let Some(datagram) = datagrams.find(key, now) {
            datagram.since = now;
            datagram.known.course = course;
        }
        verdict
    }

    fn follow_first(&mut self, view: &View, key: DatagramKey, frame: Frame<B>, now: Nanos) -> Verdict {
        let course = self.fragments.datagrams.find(key, now).map(|d| d.known.course);
        match course.unwrap_or_default() {
            Course::Ends => self.ended(DropReason::FragmentRefused),
            Course::Gathers => self.gather(view, key, frame, now),
            Course::Goes(trail) => self.follow_trail(view, frame, &trail, now).unwrap_or_else(|end| end),
            Course::Turns(turn) => self.follow_turn(view, frame, &turn).unwrap_or_else(|end| end),
        }
    }

    /// Its TTL is for the second half, in which it goes by a trail.
    fn follow_turn(&mut self, view: &View, mut frame: Frame<B>, turn: &Turn) -> Way {
        let dst = frame.ip.dst;
        ipv4::readdress(frame.packet_mut(), turn.src, dst);
        ipv4::identify(frame.packet_mut(), turn.id);
        self.turn_round(view, frame, turn.wan)
    }

    /// A first fragment is about to come in again: with an identification of its own, as what several hosts send has one source now.
    #[cold]
    pub(super) fn note_turn(&mut self, view: &View, frame: &mut Frame<B>, wan: WanId) {
        let packet = frame.packet_mut();
        let Some(ip) = packet.first_chunk().map(Ipv4::read) else { return };
        let id = self.identify(view, view.wans[wan.index()].iface, packet, &ip);
        self.fragments.trace = Trace::Turned(Turn { src: ip.src, id, wan });
    }

    /// Only the header is rewritten: the transport checksum is in the first fragment, and covers all of them.
    fn follow_trail(&mut self, view: &View, frame: Frame<B>, trail: &Trail, now: Nanos) -> Way {
        let frame = self.age(view, frame, now)?;
        let mut frame = self.fit(view, frame, trail.egress, now)?;
        ipv4::readdress(frame.packet_mut(), trail.src, trail.dst);
        ipv4::identify(frame.packet_mut(), trail.id);
        Ok(self.resolve(view, trail.egress, trail.next_hop, frame.buf, None, now))
    }

    /// A packet is about to leave, or to wait for its next hop: where a first fragment goes is noted, if `follow` asks for it.
    #[inline]
    pub(super) fn trace(&mut self, view: &View, egress: IfaceId, next_hop: Ipv4Addr, buf: &mut B) {
        if self.fragments.trace == Trace::Open {
            self.note(view, egress, next_hop, buf);
        }
    }

    #[cold]
    fn note(&mut self, view: &View, egress: IfaceId, next_hop: Ipv4Addr, buf: &mut B) {
        let packet = buf.bytes_mut().get_mut(Frame::<B>::L3..).unwrap_or_default();
        let Some(ip) = packet.first_chunk().map(Ipv4::read).filter(Ipv4::is_fragment) else { return };
        let id = self.identify(view, egress, packet, &ip);
        let trail = Trail { src: ip.src, dst: ip.dst, id, egress, next_hop };
        self.fragments.trace = Trace::Found(trail);
    }

    /// Gives a datagram that leaves in fragments its identification, and tells which.
    pub(super) fn identify(&mut self, view: &View, egress: IfaceId, packet: &mut [u8], ip: &Ipv4) -> u16 {
        if view.ifaces[egress.index()].wan.is_none() {
            return ip.id;
        }
        let id = self.fragments.ids.next(ip);
        ipv4::identify(packet, id);
        id
    }

    /// Ends what has waited too long for the rest of its datagram.
    pub(super) fn expire_fragments(&mut self, view: &View, now: Nanos) {
        while self.fragments.gate.take_older(now).is_some() {
            self.counters.sub(Stat::Held, 1);
            self.counters.drop(DropReason::FragmentTimeout);
        }
        self.expire_gathered(view, now);
    }
}
