//! The beats of a member of a pair: made by the management thread some time ahead, sent by a worker on time.
//!
//! A worker has a train of them, each with its own sequence number, and sends one each `every` by every path, whatever the management thread does meanwhile. It
//! stops at the train's end: a member that decides nothing any more must not go on saying that it is well.

use super::rings::ToManager;
use super::{Lcore, Ports};
use crate::base::{IfaceId, Nanos};
use crate::packet::PacketBuf;
use crate::wire::{eth, ipv4, udp};

/// Bytes of a beat.
pub const BEAT_LEN: usize = 120;
/// Length of its frame.
pub const BEAT_FRAME: usize = eth::LEN + ipv4::MIN_LEN + udp::LEN + BEAT_LEN;

/// Beats to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    /// Time from one to the next
    pub every: Nanos,
    /// The first one goes at once: it says something new
    pub at_once: bool,
    /// By which interfaces each of them goes
    pub paths: Vec<IfaceId>,
    /// The frames: of the first beat one for each path, then of the second
    pub frames: Vec<[u8; BEAT_FRAME]>,
}

/// What of a train has been sent.
#[derive(Debug)]
pub(super) struct Train {
    beats: Box<Beats>,
    next: usize,
    /// When the next one is due
    pub(super) due: Nanos,
}

impl Train {
    pub(super) fn new() -> Train {
        Train { beats: Box::default(), next: 0, due: Nanos::NEVER }
    }

    /// Another train takes the place of this one, which is given back.
    pub(super) fn renew(&mut self, beats: Box<Beats>, now: Nanos) -> Box<Beats> {
        if beats.frames.is_empty() {
            self.due = Nanos::NEVER;
        } else if beats.at_once || self.due == Nanos::NEVER {
            self.due = now;
        } else {
            self.due = self.due.min(now + beats.every);
        }
        self.next = 0;
        std::mem::replace(&mut self.beats, beats)
    }
}

impl<B: PacketBuf> Lcore<B> {
    /// Another train of beats; the old one goes back.
    pub(super) fn take_beats(&mut self, beats: Box<Beats>, now: Nanos) {
        let old = self.train.renew(beats, now);
        self.tell(ToManager::BeatsBack(old));
    }

    /// Sends the beat that is due.
    pub(super) fn beat<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) {
        if now < self.train.due {
            return;
        }
        let paths = self.train.beats.paths.len();
        for path in 0..paths {
            let frame = self.train.beats.frames.get(self.train.next + path).copied();
            let iface = self.train.beats.paths.get(path).copied();
            if let (Some(frame), Some(iface)) = (frame, iface) {
                self.send(ports, iface, &frame, None, now);
            }
        }
        let train = &mut self.train;
        train.next += paths;
        // What was late is not made up for.
        train.due = (train.due + train.beats.every).max(now + Nanos(train.beats.every.0 / 2));
        if paths == 0 || train.next >= train.beats.frames.len() {
            train.due = Nanos::NEVER;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(n: u8, at_once: bool) -> Box<Beats> {
        let frames = (0..n).map(|at| [at; BEAT_FRAME]).collect();
        Box::new(Beats { every: Nanos::from_ms(10), at_once, paths: vec![IfaceId(0)], frames })
    }

    #[test]
    fn what_is_new_goes_at_once_and_what_only_goes_on_waits_its_turn() {
        let mut train = Train::new();
        let at = Nanos::from_ms;
        assert_eq!(*train.renew(beats(3, false), at(5)), Beats::default());
        assert_eq!(train.due, at(5), "the first");
        train.due = at(15);
        assert_eq!(train.renew(beats(3, false), at(6)).frames.len(), 3);
        assert_eq!(train.due, at(15));
        train.renew(beats(3, true), at(7));
        assert_eq!(train.due, at(7));
        train.renew(beats(0, true), at(8));
        assert_eq!(train.due, Nanos::NEVER);
    }
}
