//! From worker to worker: what another one owns is handed over, what others have handed over is taken in, in its order.

use arrayvec::ArrayVec;

use super::rings::{Handed, Outgoing};
use super::{BURST, Lcore, Ports};
use crate::base::{IfaceId, Nanos, WorkerId};
use crate::packet::{DropReason, Frame, PacketBuf, Stat};
use crate::path::{Class, DatagramKey};

impl<B: PacketBuf> Lcore<B> {
    /// The second half of a hairpin: from outside, to the owner of where it goes.
    #[cold]
    pub(super) fn turn_in(&mut self, frame: Frame<B>, class: Class, now: Nanos) {
        if frame.ip.is_fragment() {
            return self.fragment(frame, class, now, (true, true));
        }
        match self.steer.owner(&self.view, &frame, class) {
            Some(owner) if owner != self.id => self.hand(frame, owner, true),
            _ => {
                self.router.forward(&self.view, frame, class, now);
            }
        }
    }

    /// The same, handed over by the worker that had the first half.
    fn come_in(&mut self, ingress: IfaceId, buf: B, now: Nanos) {
        match self.router.come_in(&self.view, ingress, buf) {
            Some((frame, class)) if frame.ip.is_fragment() => self.fragment(frame, class, now, (false, true)),
            Some((frame, class)) => _ = self.router.forward(&self.view, frame, class, now),
            None => {}
        }
    }

    /// A fragment that needs others of its datagram goes to its gate, and from there to its owner: what comes by a ring to a
    /// worker that is not its gate has passed that. `turned`: it is in the second half of a hairpin.
    #[cold]
    pub(super) fn fragment(
        &mut self,
        frame: Frame<B>,
        class: Class,
        now: Nanos,
        (hands, turned): (bool, bool),
    ) {
        let gate = if self.steer.workers() == 1 { self.id } else { self.steer.gate(&frame.ip) };
        if gate != self.id {
            return match hands {
                true => self.hand(frame, gate, turned),
                false => self.follow(frame, class, now),
            };
        }
        let key = DatagramKey::of(&frame.ip, frame.ingress);
        let owner = self.steer.owner(&self.view, &frame, class).unwrap_or(self.id);
        let (mut class, mut next) = (class, self.router.order(frame, owner, now));
        while let Some((frame, owner)) = next {
            if owner == self.id {
                self.follow(frame, class, now);
            } else {
                self.hand(frame, owner, turned);
            }
            class = Class::Rest;
            next = self.router.next_in_order(key, now);
        }
    }

    /// What has been turned does not turn again.
    fn follow(&mut self, frame: Frame<B>, class: Class, now: Nanos) {
        self.router.follow(&self.view, frame, class, now);
        if let Some((frame, class)) = self.router.turned.take() {
            self.turn_in(frame, class, now);
        }
    }

    /// To its owner, with what else goes there before the turn ends.
    pub(super) fn hand(&mut self, frame: Frame<B>, owner: WorkerId, turned: bool) {
        let handed = Handed { buf: frame.buf, ingress: frame.ingress, turned };
        let poured = match self.hand_over.to.get_mut(owner.index()).and_then(Option::as_mut) {
            Some(to) => to.add(handed),
            None => (0, 1),
        };
        self.hand_over.waiting = true;
        self.count_handed(poured);
    }

    /// What waits for its owner goes into the rings.
    #[inline(always)]
    pub(super) fn pour(&mut self) {
        if self.hand_over.waiting {
            self.pour_all();
        }
    }

    #[inline(never)]
    fn pour_all(&mut self) {
        self.hand_over.waiting = false;
        for at in 0..self.hand_over.to.len() {
            let poured = self.hand_over.to.get_mut(at).and_then(Option::as_mut).map(Outgoing::pour);
            self.count_handed(poured.unwrap_or_default());
        }
    }

    fn count_handed(&mut self, (into, lost): (u64, u64)) {
        self.router.counters.add(Stat::HandedOut, into);
        self.router.counters.drop_many(DropReason::HandOverFull, lost);
    }

    /// What others have handed over.
    #[inline]
    pub(super) fn handed_in<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> usize {
        if self.hand_over.from.is_empty() { 0 } else { self.take_handed(ports, now) }
    }

    /// Bursts of what came in at one interface.
    #[inline(never)]
    fn take_handed<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> usize {
        let mut came = 0;
        for at in 0..self.hand_over.from.len() {
            let mut handed = ArrayVec::<Handed<B>, BURST>::new();
            let Some(ring) = self.hand_over.from.get_mut(at) else { break };
            if let Ok(frames) = ring.read_chunk(ring.slots().min(BURST)) {
                handed.extend(frames);
            }
            came += handed.len();
            self.router.counters.add(Stat::HandedIn, handed.len() as u64);
            let (mut burst, mut ingress) = (std::mem::take(&mut self.burst), IfaceId(0));
            for next in handed {
                if (next.turned || next.ingress != ingress) && !burst.is_empty() {
                    self.route(ports, ingress, &mut burst, now, false);
                }
                if next.turned {
                    self.come_in(next.ingress, next.buf, now);
                } else {
                    ingress = next.ingress;
                    burst.push(next.buf);
                }
            }
            if !burst.is_empty() {
                self.route(ports, ingress, &mut burst, now, false);
            }
            self.burst = burst;
        }
        came
    }
}
