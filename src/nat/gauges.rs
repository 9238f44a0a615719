//! Gauges of live TCP, by WAN: SYNs that nobody answered, round trips, segments that were sent again. Sums since the start; who reads
//! them makes rates of them.
//!
//! They cost the established path nothing. A SYN is counted when its session begins or when it comes again, its round trip ends with
//! the first packet from outside: all of them go the long way. What is sent again is seen in a few flows only (`FLOWS`), taken from
//! the table by the sweep as they come, each for `SPAN` or `PACKETS`: so long a flow has no stamp, so its packets go the long way and
//! are held against the highest sequence number before them. Below it is sent again, but for what comes within `REORDERED` after a
//! gap (RFC 9293 3.4 for the numbers, RFC 6298 3 for round trips: none of a SYN that was repeated).

use arrayvec::ArrayVec;

use super::Nat;
use super::session::{INSIDE, OUTSIDE, Session};
use super::tcp::TcpState;
use super::timeouts::tick;
use crate::base::Nanos;
use crate::wire::protocol;
use crate::wire::tcp::{Flags, Tcp};

/// Flows that are watched at a time, at most, and of one WAN.
const FLOWS: usize = 8;
const FLOWS_A_WAN: usize = 2;
/// How long a flow is watched, and for how many packets at most.
const SPAN: Nanos = Nanos::from_s(2);
const PACKETS: u32 = 512;
/// From one flow of a WAN to its next: what goes the long way is bounded so.
const PAUSE: Nanos = Nanos::from_ms(250);
/// A flow that was silent for longer shows nothing, in ms.
const LATELY_MS: u32 = 250;
/// What fills a gap so soon was overtaken, not lost, in ms.
const REORDERED_MS: u32 = 3;
/// The header of IP. Options are not sent with TCP.
const IP: u32 = 20;

/// What is known of a WAN's TCP, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpGauge {
    /// SYNs from inside, repeated ones too
    pub syns: u64,
    /// Those that were repeated, since nobody had answered
    pub unanswered: u64,
    /// Round trips that were measured, from a SYN to its answer
    pub trips: u64,
    /// All of them together, in us
    pub trips_us: u64,
    /// Segments with data of the flows watched
    pub segments: u64,
    /// Those that were there before, or fill a gap
    pub resent: u64,
}

impl TcpGauge {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &TcpGauge) -> TcpGauge {
        self.with(other, u64::wrapping_add)
    }

    /// What has come since.
    #[must_use]
    pub fn since(&self, before: &TcpGauge) -> TcpGauge {
        self.with(before, u64::saturating_sub)
    }

    fn with(&self, other: &TcpGauge, both: impl Fn(u64, u64) -> u64) -> TcpGauge {
        TcpGauge {
            syns: both(self.syns, other.syns),
            unanswered: both(self.unanswered, other.unanswered),
            trips: both(self.trips, other.trips),
            trips_us: both(self.trips_us, other.trips_us),
            segments: both(self.segments, other.segments),
            resent: both(self.resent, other.resent),
        }
    }
}

/// One direction of a flow that is watched.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// What follows the highest byte seen; `None` before the first segment
    high: Option<u32>,
    /// When a gap came last, as sessions know it
    gap: Option<u32>,
}

impl Side {
    /// Takes a segment with data; whether it was sent again.
    fn take(&mut self, seq: u32, len: u32, tick: u32) -> bool {
        let end = seq.wrapping_add(len);
        let Some(high) = self.high else {
            self.high = Some(end);
            return false;
        };
        let ahead = seq.wrapping_sub(high) as i32;
        if ahead > 0 {
            self.gap = Some(tick);
        }
        if end.wrapping_sub(high) as i32 > 0 {
            self.high = Some(end);
        }
        ahead < 0 && self.gap.is_none_or(|at| tick.wrapping_sub(at) >= REORDERED_MS)
    }
}

/// A flow that is watched.
#[derive(Clone, Copy, Debug)]
struct Flow {
    slot: u32,
    wan: u8,
    packets: u32,
    until: Nanos,
    sides: [Side; 2],
}

/// The gauges, and who is watched.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// By `WanId`
    wans: Vec<TcpGauge>,
    /// When the next flow of a WAN may be taken
    next: Vec<Nanos>,
    flows: ArrayVec<Flow, FLOWS>,
    /// A WAN wants a flow
    wanting: bool,
}

impl Gauges {
    pub(super) fn new(wans: usize) -> Gauges {
        let (gauges, next) = (vec![TcpGauge::default(); wans], vec![Nanos::ZERO; wans]);
        Gauges { wans: gauges, next, ..Gauges::default() }
    }

    /// A session with a SYN from inside has begun.
    #[inline(always)]
    pub(super) fn opened(&mut self, session: &Session) {
        if session.protocol() == protocol::TCP
            && session.state == TcpState::SynOut as u8
            && let Some(wan) = self.wans.get_mut(session.wan().index())
        {
            wan.syns += 1;
        }
    }

    /// It was no SYN.
    pub(super) fn unopened(&mut self, session: &Session) {
        if let Some(wan) = self.wans.get_mut(session.wan().index()) {
            wan.syns = wan.syns.saturating_sub(1);
        }
    }

    /// Whether a flow is watched: it must go the long way.
    #[inline(always)]
    pub(super) fn watches(&self, slot: u32) -> bool {
        !self.flows.is_empty() && self.flows.iter().any(|flow| flow.slot == slot)
    }

    /// A session ends, or moves.
    #[inline(always)]
    pub(super) fn forget(&mut self, slot: u32) {
        if !self.flows.is_empty() {
            self.flows.retain(|flow| flow.slot != slot);
        }
    }

    /// Some WAN wants a flow.
    #[inline(always)]
    pub(super) fn wanting(&self) -> bool {
        self.wanting
    }

    /// Lets go whose time is over.
    #[inline(always)]
    pub(super) fn turn(&mut self, now: Nanos) {
        if !self.flows.is_empty() {
            self.flows.retain(|flow| now < flow.until && flow.packets < PACKETS);
        }
        self.wanting = self.flows.len() < FLOWS && self.next.iter().any(|at| now >= *at);
    }

    /// A segment of `bytes` from the IP header on, of a session that may be watched.
    #[inline(always)]
    pub(super) fn segment(&mut self, slot: u32, side: usize, tcp: Tcp, bytes: u32, now: Nanos) {
        if !self.flows.is_empty() {
            self.look(slot, side, tcp, bytes, now);
        }
    }

    #[inline(never)]
    fn look(&mut self, slot: u32, side: usize, tcp: Tcp, bytes: u32, now: Nanos) {
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.slot == slot) else { return };
        flow.packets += 1;
        let len = bytes.saturating_sub(IP + u32::from(tcp.header_len));
        // A single byte may be a probe of an idle connection, which repeats one that was sent.
        if len <= 1 || tcp.flags.syn() {
            return;
        }
        let resent = flow.sides[side & 1].take(tcp.seq, len, tick(now));
        if let Some(wan) = self.wans.get_mut(usize::from(flow.wan)) {
            wan.segments += 1;
            wan.resent += u64::from(resent);
        }
    }

    /// The sums of all WANs.
    pub(super) fn sums(&self) -> &[TcpGauge] {
        &self.wans
    }
}

/// The time of a SYN, as its session remembers it until it is answered (`Session::last_ack`): in 1024 ns, wraps after 73 minutes.
#[inline(always)]
pub(super) fn syn_time(now: Nanos) -> u32 {
    (now.0 >> 10) as u32
}

impl Nat {
    /// A SYN from inside that has a session: the answer to the one before it stays away. Gives the WAN that is to count it,
    /// should it be sent.
    #[cold]
    pub(super) fn syn_again(&mut self, slot: u32) -> bool {
        let session = self.sessions.get(slot);
        let state = TcpState::from_u8(session.state);
        let (waits, packets) = (state == TcpState::SynOut, session.packets(INSIDE));
        let Some(wan) = self.gauges.wans.get_mut(session.wan().index()) else { return false };
        wan.unanswered += u64::from(waits && packets > 0);
        waits || matches!(state, TcpState::FinBoth | TcpState::Transitory)
    }

    /// It was sent again.
    #[cold]
    pub(super) fn syn_sent(&mut self, slot: u32) {
        if let Some(wan) = self.gauges.wans.get_mut(self.sessions.get(slot).wan().index()) {
            wan.syns += 1;
        }
    }

    /// A segment from outside for a session. The first one, if it answers the only SYN: that was a round trip.
    #[inline(always)]
    pub(super) fn answers_syn(&mut self, slot: u32, flags: Flags, now: Nanos) {
        let session = self.sessions.get_mut(slot);
        // A SYN takes the long way in either case, so the established path leaves the same behind.
        if !flags.syn() || session.state != TcpState::SynOut as u8 {
            return;
        }
        let asked = std::mem::take(&mut session.last_ack);
        let first = session.packets(INSIDE) == 1 && session.packets(OUTSIDE) == 0;
        if first && let Some(wan) = self.gauges.wans.get_mut(session.wan().index()) {
            wan.trips += 1;
            wan.trips_us += u64::from(syn_time(now).wrapping_sub(asked)) * 1024 / 1000;
        }
    }

    /// The sweep is at a session: it is watched from now on, if its WAN wants one and it is in use.
    #[inline(never)]
    pub(super) fn consider(&mut self, slot: u32, now: Nanos) {
        let session = self.sessions.get(slot);
        let wan = session.wan().index();
        if self.gauges.next.get(wan).is_none_or(|at| now < *at) {
            return;
        }
        let lately = tick(now).wrapping_sub(session.refreshed) <= LATELY_MS;
        let live = session.state == TcpState::Established as u8 && lately;
        if session.is_free() || session.protocol() != protocol::TCP || !live || self.gauges.watches(slot) {
            return;
        }
        let its = self.gauges.flows.iter().filter(|flow| usize::from(flow.wan) == wan).count();
        let flow = Flow { slot, wan: wan as u8, packets: 0, until: now + SPAN, sides: Default::default() };
        if its < FLOWS_A_WAN && self.gauges.flows.try_push(flow).is_ok() {
            self.gauges.next[wan] = now + PAUSE;
            self.sessions.get_mut(slot).stamps = [0; 2];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_the_highest_is_sent_again_and_what_is_overtaken_is_not() {
        let mut side = Side::default();
        assert!(!side.take(u32::MAX - 9, 10, 0), "nothing is known before the first");
        assert!(!side.take(0, 100, 0), "numbers wrap");
        assert!(side.take(0, 100, 0), "the same again");
        assert!(!side.take(200, 100, 10), "a gap");
        assert!(!side.take(100, 100, 12), "filled at once: it was overtaken");
        assert!(side.take(100, 100, 13), "filled later: it was lost");
        assert!(side.take(250, 100, 50), "half of it was there");
        assert!(!side.take(350, 100, 50));
    }
}
