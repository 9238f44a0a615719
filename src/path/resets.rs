//! Resets that the router sends of its own accord: to inside hosts whose connections ended with the WAN that they left by (`nat::resets`),
//! or by the operator (`nat::kill`), in spare buffers, a bounded number a turn.

use super::local::write_reset;
use super::{Router, View};
use crate::base::Nanos;
use crate::nat::kill::Kill;
use crate::nat::resets::Reset;
use crate::packet::{DropReason, PacketBuf, Stat};
use crate::wire::tcp::{Flags, Tcp};

/// Resets a turn, at most: so many spare buffers are left for what is cut.
const MOST: usize = 32;

impl<B: PacketBuf> Router<B> {
    /// A turn's share of the resets that are due.
    #[inline(always)]
    pub fn reset_left(&mut self, view: &View, now: Nanos) {
        if !self.nat.resets_are_over() {
            self.reset_some(view, now);
        }
    }

    #[inline(never)]
    fn reset_some(&mut self, view: &View, now: Nanos) {
        let mut budget = self.nat.reset_budget();
        for _ in 0..MOST {
            // Without a buffer nobody is reset: the walk waits.
            let Some(buf) = self.fragments.spare.pop() else { return };
            match self.nat.next_reset(&mut budget, &view.uplinks, now, &mut self.counters) {
                Some(reset) => self.send_reset(view, buf, &reset, now),
                None => return self.fragments.spare.push(buf),
            }
        }
    }

    /// A turn's share of a walk that ends sessions.
    #[inline(never)]
    pub fn kill_some(&mut self, view: &View, kill: &mut Kill, now: Nanos) {
        let mut budget = self.nat.kill_budget();
        for _ in 0..MOST {
            // Without a buffer nobody is reset: the walk waits.
            let Some(buf) = self.fragments.spare.pop() else { return };
            match self.nat.kill_next(kill, &mut budget, now, &mut self.counters) {
                Some(reset) => self.send_reset(view, buf, &reset, now),
                None => return self.fragments.spare.push(buf),
            }
        }
    }

    fn send_reset(&mut self, view: &View, mut buf: B, reset: &Reset, now: Nanos) {
        self.counters.add(Stat::Originated, 1);
        let Some(route) = view.routes.find(reset.to.0) else {
            return self.counters.drop(DropReason::NoRoute);
        };
        let (egress, next_hop) = (route.iface, route.via.unwrap_or(reset.to.0));
        let ((from, src), (to, dst), seq) = (reset.from, reset.to, reset.seq);
        let segment = Tcp { src, dst, seq, ack: 0, header_len: 20, flags: Flags(Flags::RST) };
        if !write_reset(&mut buf, from, to, 0, &segment) {
            return self.counters.drop(DropReason::NoBuffer);
        }
        self.counters.add(Stat::TcpResetsSent, 1);
        self.resolve(view, egress, next_hop, buf, None, now);
    }
}
