//! A lane: one worker's router with its sessions open, and packets of them one burst at a time.

use arrayvec::ArrayVec;

use super::Failure;
use super::tally::Tally;
use super::traffic::{Bed, Flow, GATEWAY, LAN, PEER_MAC, SWITCH, Walk, Writer, addresses, flows, view};
use crate::base::{IfaceId, Nanos, WorkerId};
use crate::dpdk::{Mbuf, tsc};
use crate::engine::steer::Steer;
use crate::engine::{BURST, HandOver, Lcore, ManagerEnd, connect};
use crate::nat::rules::FILTERING;
use crate::nat::{Nat, NatConfig, Timeouts};
use crate::packet::PacketBuf;
use crate::path::Router;
use crate::table::hash::HashKey;
use crate::table::neighbors::Neighbors;
use crate::table::ports::Quarantine;
use crate::wire::{be16, be32};
use crate::worker;

/// How long a session of UDP lives here.
pub(super) const UDP_TIMEOUT: Nanos = Nanos::from_s(3600);

/// Which of how many workers, and with how much.
pub(super) struct Place {
    pub(super) id: WorkerId,
    pub(super) workers: usize,
    /// Of all workers together
    pub(super) sessions: u32,
    /// Room at each worker for more than these
    pub(super) spare: u32,
    pub(super) wans: usize,
    /// How ports rest
    pub(super) quarantine: Quarantine,
    /// Of the NAT's secret and its ports
    pub(super) seed: u64,
}

impl Place {
    /// A single worker with a WAN, and no session.
    pub(super) fn of(seed: u64) -> Place {
        let quarantine = Quarantine::default();
        Place { id: WorkerId(0), workers: 1, sessions: 0, spare: 0, wans: 1, quarantine, seed }
    }
}

/// What a lane's turns take for the time.
pub(super) enum Clock {
    /// The machine's, as a worker tells it
    Machine(worker::Clock),
    /// The time, and what it grows by with each turn: a measurement that is repeated does the same again
    Steps(Nanos, Nanos),
}

impl Clock {
    #[inline(always)]
    fn at(&mut self, cycles: u64) -> Nanos {
        match self {
            Clock::Machine(clock) => clock.at(cycles),
            Clock::Steps(at, step) => {
                *at += *step;
                *at
            }
        }
    }
}

/// One worker of a measurement.
pub(super) struct Lane<P> {
    pub(super) lcore: Lcore<Mbuf>,
    pub(super) manager: ManagerEnd,
    pub(super) clock: Clock,
    pub(super) writer: Writer,
    pub(super) flows: Vec<Flow>,
    pub(super) ports: P,
    pub(super) sent: Vec<Mbuf>,
}

impl<P: Bed> Lane<P> {
    /// A router at rest, with room for its share of the sessions, and `spare` more.
    pub(super) fn new(
        place: &Place,
        hand_over: HandOver<Mbuf>,
        clock: Clock,
        (ports, writer): (P, Writer),
    ) -> Result<Lane<P>, Failure> {
        let (steer, id, workers) = (Steer::new(place.workers), place.id, place.workers);
        let (all, more) = (place.sessions / workers as u32, place.sessions as usize % workers);
        let share = (all + u32::from(id.index() < more)).max(1);
        let flows = flows(share, steer, id);
        let room = place.sessions.saturating_add(place.spare);
        let view = view(place.wans, room).ok_or("the view of the measurement is wrong")?;
        let s = Nanos::from_s;
        let timeouts = Timeouts::new(s(7440), s(240), UDP_TIMEOUT, &[], s(60), s(600));
        let wans = vec![addresses(room); place.wans];
        let (filtering, reserve) = (FILTERING, true);
        let config = NatConfig {
            sessions: share.saturating_add(place.spare),
            timeouts,
            wans,
            filtering,
            quarantine: place.quarantine,
            reserved: vec![],
            paired: false,
            reserve,
            seed: place.seed,
        };
        let nat = Nat::new(&config, &|port: u16| steer.port(port) == id);
        let neighbors = Neighbors::new(16, HashKey::draw(&mut rand::rng()));
        let router = Router::new(nat, neighbors, &view);
        let (manager, end) = connect(view.ifaces.len(), place.wans, 0);
        let mut lcore = Lcore::new(id, steer, view.clone(), router, end, hand_over);
        for (wan, gateway) in GATEWAY.iter().enumerate().take(place.wans) {
            lcore.router.learn(&view, IfaceId(wan as u8 + 1), *gateway, PEER_MAC);
        }
        lcore.router.learn(&view, LAN, SWITCH, PEER_MAC);
        let sent = Vec::with_capacity(BURST * 4);
        Ok(Lane { lcore, manager, clock, writer, flows, ports, sent })
    }

    /// One turn with these packets; gives its cycles. What was sent lies in `sent`.
    pub(super) fn turn(&mut self, burst: ArrayVec<Mbuf, BURST>, from: IfaceId) -> Result<u64, Failure> {
        if !self.ports.feed(from, burst) {
            return Err("the port does not take a burst".into());
        }
        let start = tsc();
        self.ports.begin(start);
        let now = self.clock.at(start);
        self.lcore.turn(&mut self.ports, now);
        let cycles = tsc().wrapping_sub(start);
        for iface in 0..self.lcore.view().ifaces.len() {
            self.ports.collect(IfaceId(iface as u8), &mut self.sent);
        }
        Ok(cycles)
    }

    /// One turn with packets of these flows, all of which must come out.
    fn carry(&mut self, which: &[u32], from: IfaceId) -> Result<u64, Failure> {
        let burst = self.writer.burst(from, &self.flows, which).ok_or("the pool of mbufs is empty")?;
        let cycles = self.turn(burst, from)?;
        if self.sent.len() != which.len() {
            let (sent, all, counters) = (self.sent.len(), which.len(), &self.lcore.router.counters);
            return Err(format!("{sent} of {all} packets came out: {counters:?}").into());
        }
        Ok(cycles)
    }

    /// The buffers of what was sent are used again.
    pub(super) fn recycle(&mut self) {
        self.writer.recycle(self.sent.drain(..));
    }

    /// The next burst of a walk; gives the cycles of its turn.
    pub(super) fn step(&mut self, walk: &mut Walk, burst: usize) -> Result<u64, Failure> {
        let mut which = ArrayVec::new();
        let from = walk.next(burst, &mut which);
        let cycles = self.carry(&which, from)?;
        self.recycle();
        Ok(cycles)
    }

    /// Opens every flow, and learns what the router made of it. Gives the cycles of each burst.
    pub(super) fn set_up(&mut self, burst: usize) -> Result<Tally, Failure> {
        let all: Vec<u32> = (0..self.flows.len() as u32).collect();
        let mut tally = Tally::new(burst)?;
        for which in all.chunks(burst) {
            let cycles = self.open(which)?;
            tally.record(cycles * burst as u64 / which.len() as u64)?;
        }
        Ok(tally)
    }

    /// One turn with packets of these flows from inside, and a look at what the router made of them.
    pub(super) fn open(&mut self, which: &[u32]) -> Result<u64, Failure> {
        let cycles = self.carry(which, LAN)?;
        for (flow, buf) in which.iter().zip(&self.sent) {
            let address = be32(buf.bytes(), 26);
            self.flows[*flow as usize].outside = (address.into(), be16(buf.bytes(), 34));
        }
        self.recycle();
        Ok(cycles)
    }
}
