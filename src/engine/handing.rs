//! From worker to worker: what another one owns is handed over, what others have handed over is taken in, in its order.

use arrayvec::ArrayVec;

use super::rings::Handed;
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

    pub(super) fn hand(&mut self, frame: Frame<B>, owner: WorkerId, turned: bool) {
        let ring = self.hand_over.to.get_mut(owner.index()).and_then(Option::as_mut);
        let handed = Handed { buf: frame.buf, ingress: frame.ingress, turned };
        match ring.map(|ring| ring.push(handed)) {
            Some(Ok(())) => self.router.counters.add(Stat::HandedOut, 1),
            _ => self.router.counters.drop(DropReason::HandOverFull),
        }
    }

    /// What others have handed over: bursts of what came in at one interface.
    pub(super) fn handed_in<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> usize {
        let mut came = 0;
        for ring in 0..self.hand_over.from.len() {
            let mut burst = ArrayVec::<B, BURST>::new();
            let mut ingress = IfaceId(0);
            for _ in 0..BURST {
                let Some(ring) = self.hand_over.from.get_mut(ring) else { break };
                let Ok(next) = ring.peek() else { break };
                if !burst.is_empty() && (next.ingress != ingress || next.turned) {
                    break;
                }
                let Ok(next) = ring.pop() else { break };
                if next.turned {
                    came += 1;
                    self.router.counters.add(Stat::HandedIn, 1);
                    self.come_in(next.ingress, next.buf, now);
                    continue;
                }
                ingress = next.ingress;
                burst.push(next.buf);
            }
            if !burst.is_empty() {
                came += burst.len();
                self.router.counters.add(Stat::HandedIn, burst.len() as u64);
                self.route(ports, ingress, &mut burst, now, false);
            }
        }
        came
    }
}
