//! What comes from outside and nobody inside has asked for. By default it ends in silence (`nat.stealth`).
//!
//! Without stealth a datagram is told at once that the port is closed, and a SYN after 6 s, unless inside has by then sent
//! its own to the same remote: two that open towards each other must not be told that the other is not there (RFC 5382 REQ-4). A bounded number of SYNs waits
//! for that; what finds no place ends in silence.

use std::collections::VecDeque;

use super::{Router, View};
use crate::base::Nanos;
use crate::nat::Translation;
use crate::nat::rules::Action;
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Transport, Tuple, Verdict};
use crate::wire::icmp::{kind, unreachable};

/// So long is a SYN left unanswered.
const WAIT: Nanos = Nanos::from_s(6);
/// SYNs that wait, at most.
const MOST: usize = 128;

/// SYNs that wait for their answer, oldest first.
#[derive(Debug)]
pub struct Unasked<B> {
    waiting: VecDeque<(Nanos, Tuple, Frame<B>)>,
}

impl<B> Unasked<B> {
    /// None waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn new() -> Unasked<B> {
        Unasked { waiting: VecDeque::with_capacity(MOST) }
    }
}

impl<B: PacketBuf> Router<B> {
    /// Ends a packet from outside that the NAT has refused for `reason`, or gives it to the router itself.
    pub(super) fn unsolicited(
        &mut self,
        view: &View,
        frame: Frame<B>,
        reason: DropReason,
        hairpin: bool,
        now: Nanos,
    ) -> Verdict {
        let (Some(tuple), false) = (frame.tuple(), hairpin) else { return self.ended(reason) };
        if matches!(reason, DropReason::Firewall | DropReason::FirewallRejected) {
            return self.refuse(view, frame, reason, now);
        }
        let nobody = matches!(reason, DropReason::NatNoMapping | DropReason::NatFiltered);
        if !nobody || frame.is_echo_reply() {
            return self.ended(reason);
        }
        let firewall = &view.rules.firewall;
        let own = match firewall.lets_own() {
            true => firewall.judge(frame.ingress, &tuple, true, Action::Drop),
            false => Err(DropReason::Firewall),
        };
        match own {
            Ok(()) => return self.local(view, frame, now),
            Err(DropReason::FirewallRejected) => {
                return self.refuse(view, frame, DropReason::FirewallRejected, now);
            }
            Err(_) if view.rules.stealth => return self.ended(reason),
            Err(_) => {}
        }
        match frame.transport {
            Transport::Tcp(tcp) if tcp.flags.opens() => {
                if self.unasked.waiting.len() >= MOST {
                    return self.ended(reason);
                }
                self.counters.add(Stat::Held, 1);
                self.unasked.waiting.push_back((now + WAIT, tuple, frame));
                Verdict::Held
            }
            Transport::Udp { .. } => {
                self.counters.drop(reason);
                self.error(view, frame, kind::UNREACHABLE, unreachable::PORT, 0, now);
                Verdict::Dropped(reason)
            }
            _ => self.ended(reason),
        }
    }

    /// Inside has opened a connection `t`, which leaves as `to`: a SYN from there that waits is not told anything any more.
    #[inline]
    pub(super) fn asked(&mut self, t: &Tuple, to: &Translation) {
        if self.unasked.waiting.is_empty() {
            return;
        }
        let (src, src_port, dst, dst_port) = (t.dst, t.dst_port, to.addr, to.port);
        let waits = Tuple { src, src_port, dst, dst_port, ..*t };
        while let Some(at) = self.unasked.waiting.iter().position(|(_, its, _)| *its == waits) {
            self.unasked.waiting.remove(at);
            self.counters.sub(Stat::Held, 1);
            self.counters.drop(DropReason::NatFiltered);
        }
    }

    /// Tells those that have waited long enough.
    pub fn tell_unasked(&mut self, view: &View, now: Nanos) {
        while self.unasked.waiting.front().is_some_and(|(until, _, _)| *until <= now) {
            let Some((_, _, frame)) = self.unasked.waiting.pop_front() else { return };
            self.counters.sub(Stat::Held, 1);
            self.counters.drop(DropReason::NatNoMapping);
            self.error(view, frame, kind::UNREACHABLE, unreachable::PORT, 0, now);
        }
    }
}
