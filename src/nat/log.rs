//! What the log of mappings is told: who had which outside endpoint, from when to when (RFC 6888 section 4, RFC 8158).
//!
//! A record is 32 bytes and goes into a ring of the worker's own, at whose other end a thread writes lines. Nothing here waits: a
//! record that finds the ring full is lost, one beyond `PER_SECOND` is suppressed; both are counted, and how many it
//! was is a record of its own as soon as there is room, or the second is over. Invariants:
//! - the remote is never in a record (RFC 6888 REQ-12);
//! - a worker makes at most `PER_SECOND` and a few records a second, whatever the packets are (RFC 6888 REQ-14);
//! - a mapping that moves is two records, its old place's end and its new place's begin: each says what held.

use std::net::Ipv4Addr;

use rtrb::{Consumer, Producer, RingBuffer};

use super::mapping::{Course, Mapping};
use super::outbound::FromInside;
use super::session::{Kind, Session};
use super::{Env, Nat};
use crate::base::{Nanos, WanId};
use crate::packet::{Counters, DropReason, Stat};

/// Records a second and worker, at most.
pub const PER_SECOND: u32 = 50_000;
/// Records that wait for the writer, a worker: more than a second's.
pub const WAITING: usize = 1 << 16;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A mapping begins; by a failover, if it has `moved`
    Created {
        /// It had another place before
        moved: bool,
    },
    /// A mapping ends; by a failover, if it has `moved`
    Deleted {
        /// It has another place now
        moved: bool,
    },
    /// A session without a mapping begins: TCP by a port that it shares, or a protocol without ports
    SessionCreated,
    /// Such a session ends
    SessionDeleted,
    /// A flow was refused for want of this
    Refused(DropReason),
    /// So many records were more than may be made in a second
    Suppressed(u32),
    /// So many records found the ring full
    Lost(u32),
}

/// One record. What does not belong to it is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When
    pub at: Nanos,
    /// What
    pub what: What,
    /// The inside endpoint
    pub inside: (Ipv4Addr, u16),
    /// The outside endpoint; without a port that of all ports
    pub outside: (Ipv4Addr, u16),
    /// See `wire::protocol`
    pub protocol: u8,
    /// The outside endpoint's WAN
    pub wan: WanId,
}

const _: () = assert!(size_of::<Record>() == 32);

const NOWHERE: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 0);

/// The two ends of a worker's log.
pub fn ring() -> (Producer<Record>, Consumer<Record>) {
    RingBuffer::new(WAITING)
}

/// One worker's end.
#[derive(Debug)]
pub(super) struct Log {
    to: Producer<Record>,
    /// The second that is counted in
    second: u64,
    /// Records that it may have yet
    left: u32,
    suppressed: u32,
    lost: u32,
}

impl Log {
    fn new(to: Producer<Record>) -> Log {
        Log { to, second: 0, left: PER_SECOND, suppressed: 0, lost: 0 }
    }

    fn tell(&mut self, record: Record, counters: &mut Counters) {
        self.settle(record.at);
        let Some(left) = self.left.checked_sub(1) else {
            self.suppressed = self.suppressed.saturating_add(1);
            return counters.add(Stat::LogSuppressed, 1);
        };
        self.left = left;
        // While a loss is untold the ring is full.
        if self.lost > 0 || self.to.push(record).is_err() {
            self.lost = self.lost.saturating_add(1);
            counters.add(Stat::LogLost, 1);
        }
    }

    /// Begins another second, and tells of what is missing as soon as that can be told.
    fn settle(&mut self, now: Nanos) {
        let blank =
            |what| Record { at: now, what, inside: NOWHERE, outside: NOWHERE, protocol: 0, wan: WanId(0) };
        if self.lost > 0 && self.to.push(blank(What::Lost(self.lost))).is_ok() {
            self.lost = 0;
        }
        if self.second != now.as_s() {
            (self.second, self.left) = (now.as_s(), PER_SECOND);
        }
        if self.suppressed > 0
            && self.left > 0
            && self.to.push(blank(What::Suppressed(self.suppressed))).is_ok()
        {
            self.suppressed = 0;
        }
    }
}

impl Nat {
    /// From now on this is told what becomes of mappings.
    pub fn log_to(&mut self, to: Producer<Record>) {
        self.log = Some(Box::new(Log::new(to)));
    }

    /// A mapping has begun or ended.
    #[inline(always)]
    pub(super) fn log_mapping(&mut self, what: What, mapping: &Mapping, now: Nanos, counters: &mut Counters) {
        if let Some(log) = &mut self.log
            && mapping.has_place()
        {
            log_mapping(log, what, mapping, now, counters);
        }
    }

    /// A session without a mapping has begun or ended. What the profile gives a host for itself is in the profile.
    #[inline(always)]
    pub(super) fn log_session(
        &mut self,
        what: What,
        session: &Session,
        kind: Kind,
        now: Nanos,
        counters: &mut Counters,
    ) {
        if let Some(log) = &mut self.log
            && matches!(kind, Kind::Shared | Kind::Portless)
        {
            let (inside, outside) = (session.inside(), session.outside());
            let (protocol, wan) = (session.protocol(), session.wan());
            log.tell(Record { at: now, what, inside, outside, protocol, wan }, counters);
        }
    }

    /// A flow from inside was refused. The caller bounds the rate.
    pub fn log_refused(&mut self, reason: DropReason, packet: &FromInside<'_>, env: &mut Env<'_>) {
        let (up, now, t) = (env.up, env.now, packet.tuple);
        let course = Course { group: env.rules.group(packet.ingress, t), pin: packet.pin };
        let wan = self.choose(self.hosts.find(&self.key, t.src), t.src, course, up).unwrap_or(WanId(0));
        let at = self.address(t.src, wan, up);
        if let Some(log) = &mut self.log {
            let ports = reason == DropReason::NatPortsExhausted;
            let outside = if ports { (up.address(wan, at as u16), 0) } else { NOWHERE };
            let (what, inside) = (What::Refused(reason), (t.src, t.src_port));
            log.tell(Record { at: now, what, inside, outside, protocol: t.protocol, wan }, env.counters);
        }
    }

    /// Tells the log of what is missing in it, should nothing happen that it is told of.
    #[inline(always)]
    pub(super) fn settle_log(&mut self, now: Nanos) {
        if let Some(log) = &mut self.log
            && (log.lost > 0 || log.suppressed > 0)
        {
            log.settle(now);
        }
    }
}

#[inline(never)]
fn log_mapping(log: &mut Log, what: What, mapping: &Mapping, now: Nanos, counters: &mut Counters) {
    let record = Record {
        at: now,
        what,
        inside: (mapping.inside, mapping.inside_port),
        outside: (mapping.outside, mapping.outside_port),
        protocol: mapping.protocol,
        wan: mapping.wan,
    };
    log.tell(record, counters);
}

#[cfg(test)]
mod tests {
    use super::super::tests_place::World;
    use super::*;

    fn log(room: usize) -> (Log, Consumer<Record>) {
        let (to, from) = RingBuffer::new(room);
        (Log::new(to), from)
    }

    fn tell(log: &mut Log, at: Nanos, counters: &mut Counters) {
        let mapping = Mapping { outside_port: 7, ..Mapping::default() };
        log_mapping(log, What::Created { moved: false }, &mapping, at, counters);
    }

    fn all(from: &mut Consumer<Record>) -> Vec<What> {
        std::iter::from_fn(|| from.pop().ok()).map(|record| record.what).collect()
    }

    #[test]
    fn rfc6888_14_a_worker_tells_so_much_a_second_and_then_how_much_it_was() {
        let (mut log, mut from) = log(WAITING * 2);
        let counters = &mut Counters::default();
        for n in 0..u64::from(PER_SECOND) * 3 {
            tell(&mut log, Nanos::from_s(5) + Nanos(n), counters);
        }
        log.settle(Nanos::from_ms(5_999));
        assert_eq!(all(&mut from).len(), PER_SECOND as usize);
        log.settle(Nanos::from_s(6));
        assert_eq!(all(&mut from), [What::Suppressed(PER_SECOND * 2)]);
        assert_eq!(counters.get(Stat::LogSuppressed), u64::from(PER_SECOND) * 2);
        tell(&mut log, Nanos::from_s(6), counters);
        assert_eq!(all(&mut from), [What::Created { moved: false }]);
        assert_eq!(counters.get(Stat::LogLost), 0);
    }

    #[test]
    fn a_full_ring_loses_records_and_says_how_many_where_they_are_missing() {
        let (mut log, mut from) = log(4);
        let counters = &mut Counters::default();
        (0..9).for_each(|_| tell(&mut log, Nanos::from_s(5), counters));
        let made = What::Created { moved: false };
        assert_eq!((all(&mut from), counters.get(Stat::LogLost)), (vec![made; 4], 5));
        tell(&mut log, Nanos::from_s(5), counters);
        assert_eq!(all(&mut from), [What::Lost(5), made]);
    }
    #[test]
    fn what_is_missing_is_told_though_nothing_happens_any_more() {
        for (lost, suppressed, said) in [(5, 0, What::Lost(5)), (0, 3, What::Suppressed(3))] {
            let mut world = World::new(&[1], 64, |_| true);
            let (to, mut from) = RingBuffer::new(4);
            world.nat.log_to(to);
            let log = world.nat.log.as_mut().unwrap();
            (log.lost, log.suppressed) = (lost, suppressed);
            world.nat.expire(world.now, 1, &world.up, &mut world.counters);
            assert_eq!(all(&mut from), [said]);
        }
    }
}
