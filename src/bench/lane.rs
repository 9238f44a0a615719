//! A lane: one worker's router with its sessions open, and packets of them one burst at a time.

use arrayvec::ArrayVec;

use super::Failure;
use super::tally::Tally;
use super::traffic::{Bed, Flow, GATEWAY, LAN, PEER_MAC, SWITCH, WAN, Walk, Writer, addresses, flows, view};
use crate::base::{IfaceId, Nanos, WorkerId};
use crate::dpdk::{Mbuf, tsc};
use crate::engine::steer::Steer;
use crate::engine::{BURST, HandOver, Lcore, ManagerEnd, connect};
use crate::nat::{Nat, NatConfig, Timeouts};
use crate::packet::PacketBuf;
use crate::path::Router;
use crate::table::hash::HashKey;
use crate::table::neighbors::Neighbors;
use crate::wire::{be16, be32};
use crate::worker::Clock;

/// One worker of a measurement.
pub(super) struct Lane<P> {
    pub(super) lcore: Lcore<Mbuf>,
    ports: P,
    pub(super) writer: Writer,
    pub(super) flows: Vec<Flow>,
    sent: Vec<Mbuf>,
    clock: Clock,
    /// Kept, so that the rings have another end.
    _manager: ManagerEnd,
}

impl<P: Bed> Lane<P> {
    /// A router at rest, with room for its share of the sessions.
    pub(super) fn new(
        sessions: u32,
        workers: usize,
        id: WorkerId,
        hand_over: HandOver<Mbuf>,
        (ports, writer, hz): (P, Writer, u64),
    ) -> Result<Lane<P>, Failure> {
        let steer = Steer::new(workers);
        let share = sessions / workers as u32 + u32::from(id.index() < sessions as usize % workers);
        let flows = flows(share.max(1), steer, id);
        let view = view(sessions).ok_or("the view of the measurement is wrong")?;
        let s = Nanos::from_s;
        let timeouts = Timeouts::new(s(7440), s(240), s(3600), &[], s(60));
        let config = NatConfig {
            sessions: share.max(1),
            timeouts,
            wans: vec![addresses(sessions)],
            reserve: true,
            seed: rand::random(),
        };
        let nat = Nat::new(&config, &|port: u16| steer.port(port) == id);
        let neighbors = Neighbors::new(16, HashKey::draw(&mut rand::rng()));
        let router = Router::new(nat, neighbors, 2, &view.icmp);
        let (manager, end) = connect(2, 1);
        let mut lcore = Lcore::new(id, steer, view.clone(), router, end, hand_over);
        lcore.router.learn(&view, WAN, GATEWAY, PEER_MAC);
        lcore.router.learn(&view, LAN, SWITCH, PEER_MAC);
        let sent = Vec::with_capacity(BURST * 2);
        let clock = Clock::new(hz, tsc());
        Ok(Lane { lcore, ports, writer, flows, sent, clock, _manager: manager })
    }

    /// One burst of these flows, written and then taken through a turn; gives the turn's cycles. What was sent lies in
    /// `sent`.
    fn turn(&mut self, which: &[u32], from: IfaceId) -> Result<u64, Failure> {
        let burst = self.writer.burst(from, &self.flows, which).ok_or("the pool of mbufs is empty")?;
        if !self.ports.feed(from, burst) {
            return Err("the port does not take a burst".into());
        }
        let start = tsc();
        self.lcore.turn(&mut self.ports, self.clock.at(start));
        let cycles = tsc().wrapping_sub(start);
        self.ports.collect(if from == LAN { WAN } else { LAN }, &mut self.sent);
        if self.sent.len() != which.len() {
            let (sent, all, counters) = (self.sent.len(), which.len(), &self.lcore.router.counters);
            return Err(format!("{sent} of {all} packets came out: {counters:?}").into());
        }
        Ok(cycles)
    }

    /// The next burst of a walk; gives the cycles of its turn.
    pub(super) fn step(&mut self, walk: &mut Walk, burst: usize) -> Result<u64, Failure> {
        let mut which = ArrayVec::new();
        let from = walk.next(burst, &mut which);
        let cycles = self.turn(&which, from)?;
        self.writer.recycle(self.sent.drain(..));
        Ok(cycles)
    }

    /// Opens every flow, and learns what the router made of it. Gives the cycles of each burst.
    pub(super) fn set_up(&mut self, burst: usize) -> Result<Tally, Failure> {
        let all: Vec<u32> = (0..self.flows.len() as u32).collect();
        let mut tally = Tally::new(burst)?;
        for which in all.chunks(burst) {
            let cycles = self.turn(which, LAN)?;
            tally.record(cycles * burst as u64 / which.len() as u64)?;
            for (flow, buf) in which.iter().zip(&self.sent) {
                let address = be32(buf.bytes(), 26);
                self.flows[*flow as usize].outside = (address.into(), be16(buf.bytes(), 34));
            }
            self.writer.recycle(self.sent.drain(..));
        }
        Ok(tally)
    }
}
