//! A virtual link, one for each interface, however many share a port: the tags are put on and taken off here, as a switch does. The stations on it answer ARP for the router, servers behind them what they are for, everything else that reaches them is kept for the test.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::internet::Internet;
use super::leases::LeaseServer;
use crate::base::{IfaceId, Ipv4Net, Mac, Nanos};
use crate::engine::{BURST, Layout, Ports};
use crate::packet::{PacketBuf, VecBuf};
use crate::profile::Profile;
use crate::wire::arp::{Arp, Op};
use crate::wire::be32;
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
    /// The same, as they are: without the tag that belongs here, or with another
    pub(super) as_is: Vec<VecDeque<VecBuf>>,
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
            as_is: vec![VecDeque::new(); queues],
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

    /// Something waits for the router to take it.
    pub(super) fn brings(&self) -> bool {
        self.to_router.iter().chain(&self.as_is).any(|queue| !queue.is_empty())
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

/// What a port's frames are to be on one of its links.
#[derive(Debug)]
pub(super) struct Plug {
    pub(super) iface: usize,
    pub(super) vlan: Option<u16>,
    /// Only what is for these
    pub(super) inside: Option<Vec<Ipv4Net>>,
}

impl Plug {
    /// Those of every port of a profile.
    pub(super) fn all(profile: &Profile, layout: &Layout) -> Vec<Vec<Plug>> {
        let plug = |iface: usize| {
            let given = &profile.interfaces[iface];
            let inside = given.arm.and(profile.nat.inside.clone());
            Plug { iface, vlan: given.vlan, inside }
        };
        (0..layout.ports()).map(|port| layout.interfaces(port).map(plug).collect()).collect()
    }

    /// Whether a frame without its tag goes to this link, of those with that tag.
    fn takes(&self, frame: &[u8]) -> bool {
        let message = frame.get(eth::LEN..).unwrap_or_default();
        let to = match Eth::parse(frame).map(|eth| eth.ethertype) {
            Some(ethertype::ARP) => be32(message, 24),
            _ => be32(message, 16),
        };
        self.inside.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(Ipv4Addr::from_bits(to))))
    }
}

/// One lcore's queues on the shared wires, by port.
#[derive(Debug)]
pub(super) struct SimPorts {
    pub(super) queue: usize,
    /// By port
    pub(super) plugs: Rc<Vec<Vec<Plug>>>,
    pub(super) wires: Rc<RefCell<Vec<Wire>>>,
    /// The time within a turn
    pub(super) clock: Rc<Cell<Nanos>>,
}

impl Ports for SimPorts {
    type Buf = VecBuf;

    fn receive(&mut self, port: IfaceId, into: &mut Vec<VecBuf>) {
        let mut wires = self.wires.borrow_mut();
        let plugs = &self.plugs[port.index()];
        plugs.iter().for_each(|plug| wires[plug.iface].deliver(self.clock.get()));
        let mut came = true;
        while std::mem::replace(&mut came, false) {
            for plug in plugs {
                let wire = &mut wires[plug.iface];
                let as_is = wire.as_is[self.queue].front().is_some();
                let queue = if as_is { &mut wire.as_is } else { &mut wire.to_router };
                if into.len() < BURST
                    && let Some(buf) = queue[self.queue].pop_front()
                {
                    came = true;
                    into.push(match plug.vlan.filter(|_| !as_is) {
                        Some(vlan) => tagged(buf.bytes(), vlan),
                        None => buf,
                    });
                }
            }
        }
    }

    fn send(&mut self, port: IfaceId, from: &mut Vec<VecBuf>) {
        let mut wires = self.wires.borrow_mut();
        let plugs = &self.plugs[port.index()];
        let mut gone = 0;
        for buf in from.iter() {
            let (vlan, frame) = untagged(buf.bytes());
            let of_tag = || plugs.iter().filter(|plug| plug.vlan == vlan);
            let special = of_tag().find(|plug| plug.inside.is_some() && plug.takes(&frame));
            let found = special.or(of_tag().find(|plug| plug.inside.is_none()));
            // With a tag that nobody has it stays as it is, for a test to wonder at.
            let (at, frame) =
                found.map_or((plugs[0].iface, buf.bytes().to_vec()), |plug| (plug.iface, frame));
            let wire = &mut wires[at];
            if gone == 0 {
                self.clock.set(self.clock.get() + wire.send_takes);
            }
            if wire.room == 0 {
                break;
            }
            wire.room -= usize::from(wire.room != usize::MAX);
            wire.arrive(frame, self.clock.get());
            gone += 1;
        }
        from.drain(..gone);
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

/// A frame with a tag in it.
fn tagged(frame: &[u8], vlan: u16) -> VecBuf {
    let mut bytes = frame.to_vec();
    let [high, low] = vlan.to_be_bytes();
    bytes.splice(12.min(frame.len())..12.min(frame.len()), [0x81, 0, high, low]);
    VecBuf::new(&bytes)
}

/// The VLAN of a frame's tag, which has no priority, and the frame without it.
fn untagged(frame: &[u8]) -> (Option<u16>, Vec<u8>) {
    match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x81, 0, high, low, ..] => {
            let rest = frame.iter().enumerate().filter(|(at, _)| !(12..16).contains(at)).map(|(_, b)| *b);
            (Some(u16::from_be_bytes([*high, *low])), rest.collect())
        }
        _ => (None, frame.to_vec()),
    }
}
