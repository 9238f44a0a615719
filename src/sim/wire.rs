//! A virtual link: the stations on it answer ARP for the router, servers behind them what they are for, everything else that reaches them is kept for the test.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::rc::Rc;

use arrayvec::ArrayVec;

use super::internet::Internet;
use super::leases::LeaseServer;
use crate::base::{IfaceId, Mac, Nanos};
use crate::engine::{BURST, Ports};
use crate::packet::VecBuf;
use crate::wire::arp::{Arp, Op};
use crate::wire::eth::{self, Eth, ethertype};

/// A link and who is on it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Answer ARP at these places
    pub(super) stations: BTreeMap<Ipv4Addr, Mac>,
    /// Nothing gets through, though the link is up
    pub(super) silent: bool,
    /// No link
    pub(super) down: bool,
    /// To the router, by queue
    pub(super) to_router: Vec<VecDeque<VecBuf>>,
    /// Frames that fitted into no buffer, by queue
    pub(super) refused: Vec<u64>,
    /// From the router, in order
    pub(super) sent: Vec<Vec<u8>>,
    /// Frames that the router may send before its queue is full
    pub(super) room: usize,
    /// So long does a send take
    pub(super) send_takes: Nanos,
    /// Who answers more than ARP
    pub(super) internet: Internet,
    /// Who gives addresses
    pub(super) leases: Option<LeaseServer>,
    /// What is on its way to the router, and when it arrives
    later: Vec<(Nanos, Vec<u8>)>,
}

impl Wire {
    pub(super) fn new(queues: usize) -> Wire {
        Wire {
            to_router: vec![VecDeque::new(); queues],
            refused: vec![0; queues],
            room: usize::MAX,
            ..Wire::default()
        }
    }

    /// A frame from the router arrives.
    fn arrive(&mut self, frame: Vec<u8>, now: Nanos) {
        let dead = self.silent || self.down;
        let arp = Eth::parse(&frame).filter(|e| e.ethertype == ethertype::ARP);
        if arp.is_some()
            && let Some(arp) = Arp::parse(&frame[eth::LEN..])
        {
            let mac = self.stations.get(&arp.target_ip).copied();
            if let (Op::Request, Some(mac), false) = (arp.op, mac, dead) {
                let reply = Arp {
                    op: Op::Reply,
                    sender_mac: mac,
                    sender_ip: arp.target_ip,
                    target_mac: arp.sender_mac,
                    target_ip: arp.sender_ip,
                };
                self.to_router[0].push_back(VecBuf::new(&reply.frame(mac, arp.sender_mac)));
            }
        }
        if let Some((delay, answer)) = self.internet.answer(&frame).filter(|_| !dead) {
            match delay {
                Nanos::ZERO => self.bring(&answer),
                delay => self.later.push((now + delay, answer)),
            }
        }
        if let Some(answer) = self.leases.as_mut().filter(|_| !dead).and_then(|server| server.answer(&frame))
        {
            // Not at once: what was sent until then is judged by the address of then.
            self.later.push((now + Nanos::from_ms(1), answer));
        }
        self.sent.push(frame);
    }

    /// What is on its way arrives, if its time has come.
    fn deliver(&mut self, now: Nanos) {
        let due: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= now).collect();
        due.iter().for_each(|(_, frame)| self.bring(frame));
    }

    /// To the last worker: the one that has asked is the first.
    fn bring(&mut self, frame: &[u8]) {
        if let Some(queue) = self.to_router.last_mut() {
            queue.push_back(VecBuf::new(frame));
        }
    }
}

/// One lcore's queues on the shared wires.
#[derive(Debug)]
pub(super) struct SimPorts {
    pub(super) queue: usize,
    pub(super) wires: Rc<RefCell<Vec<Wire>>>,
    /// The time within a turn
    pub(super) clock: Rc<Cell<Nanos>>,
}

impl Ports for SimPorts {
    type Buf = VecBuf;

    fn receive(&mut self, iface: IfaceId, into: &mut ArrayVec<VecBuf, BURST>) {
        let wire = &mut self.wires.borrow_mut()[iface.index()];
        wire.deliver(self.clock.get());
        while !into.is_full()
            && let Some(buf) = wire.to_router[self.queue].pop_front()
        {
            into.push(buf);
        }
    }

    fn send(&mut self, iface: IfaceId, from: &mut Vec<VecBuf>) {
        use crate::packet::PacketBuf;
        let wire = &mut self.wires.borrow_mut()[iface.index()];
        self.clock.set(self.clock.get() + wire.send_takes);
        let fits = from.len().min(wire.room);
        wire.room = wire.room.saturating_sub(fits).max(if wire.room == usize::MAX { usize::MAX } else { 0 });
        for buf in from.drain(..fits) {
            wire.arrive(buf.bytes().to_vec(), self.clock.get());
        }
    }

    fn alloc(&mut self) -> Option<VecBuf> {
        Some(VecBuf::new(&[]))
    }

    fn refused(&self) -> u64 {
        self.wires.borrow().iter().map(|wire| wire.refused[self.queue]).sum()
    }

    fn ticks(&self) -> u64 {
        self.clock.get().0
    }
}
