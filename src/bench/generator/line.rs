//! One of the generator's two ports: sends, receives, and answers ARP for every address but the router's.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;

use super::frames::Belt;
use crate::base::{Mac, PortId};
use crate::dpdk::{BURST, DpdkError, Eal, Mbuf, Pool, Port, PortConfig, PortSource, Queue};
use crate::packet::{BufPool, PacketBuf};
use crate::wire::arp::{Arp, Op};
use crate::wire::be16;
use crate::wire::eth::{self, ethertype};

/// Descriptors each way; a memif takes its own number from its arguments.
const DESCRIPTORS: u16 = 1024;

/// Received, and seen: what is sent next is written into them, which spares the way through the pool.
pub(super) type Spare = Vec<Mbuf>;

/// A port with its queue.
pub(super) struct Line {
    queue: Queue,
    port: Port,
    pool: Pool,
    /// The router's address on this link
    router_ip: Ipv4Addr,
    /// Where it is, once it has answered
    pub(super) router: Option<Mac>,
    /// Built, and not yet taken by the queue
    waiting: ArrayVec<Mbuf, BURST>,
}

impl Line {
    /// Opens and starts the port.
    ///
    /// # Errors
    /// DPDK's, in one line.
    pub(super) fn open(
        eal: &Eal,
        pool: &Pool,
        name: &str,
        id: u16,
        router_ip: Ipv4Addr,
    ) -> Result<Line, DpdkError> {
        let source = if name.starts_with("net_") {
            PortSource::Vdev(name.to_owned())
        } else {
            PortSource::Pci(name.to_owned())
        };
        let config =
            PortConfig { rx_desc: DESCRIPTORS, tx_desc: DESCRIPTORS, ..PortConfig::new(pool.clone()) };
        let mut port = Port::open(eal, &source, PortId(id), &config)?;
        port.start()?;
        let queue = port.take_queues()?.remove(0);
        let pool = pool.clone();
        Ok(Line { queue, port, pool, router_ip, router: None, waiting: ArrayVec::new() })
    }

    /// Its own address.
    pub(super) fn mac(&self) -> Mac {
        self.port.mac()
    }

    /// Whether it carries; of a memif asking is also what makes it try to connect.
    pub(super) fn up(&self) -> bool {
        self.port.link().up
    }

    /// Asks who has the router's address, in nobody's name (RFC 5227 2.1.1): the router learns nothing from it.
    pub(super) fn ask(&mut self) -> bool {
        let mac = self.mac();
        self.say(&Arp::request(mac, Ipv4Addr::UNSPECIFIED, self.router_ip, None))
    }

    /// Sends one frame now. False if it did not go.
    pub(super) fn say(&mut self, frame: &[u8]) -> bool {
        let mut one: ArrayVec<Mbuf, 1> = self.pool.alloc().into_iter().collect();
        let Some(mbuf) = one.first_mut() else { return false };
        if !mbuf.resize(frame.len()) {
            return false;
        }
        mbuf.bytes_mut().copy_from_slice(frame);
        self.queue.tx(&mut one) == 1
    }

    /// Sends the next burst of the belt, the rest of the last one first. Gives how many frames went, and whether the
    /// queue took all it was given.
    #[inline]
    pub(super) fn feed(&mut self, belt: &mut Belt, spare: &mut Spare) -> (usize, bool) {
        while !self.waiting.is_full() {
            let Some(mut mbuf) = spare.pop().or_else(|| self.pool.alloc()) else { break };
            let frame = belt.next();
            if !mbuf.resize(frame.len()) {
                break;
            }
            mbuf.bytes_mut().copy_from_slice(frame);
            self.waiting.push(mbuf);
        }
        let sent = self.queue.tx(&mut self.waiting);
        (sent, self.waiting.is_empty())
    }

    /// Receives a burst: ARP is answered, IPv4 is shown. Gives how many IPv4 frames came.
    #[inline]
    pub(super) fn receive(&mut self, spare: &mut Spare, mut see: impl FnMut(&[u8])) -> usize {
        spare.clear();
        self.queue.rx(spare);
        let mut came = 0;
        for mbuf in spare.iter() {
            let frame = mbuf.bytes();
            match frame.len() >= eth::LEN {
                true if be16(frame, 12) == ethertype::IPV4 => {
                    came += 1;
                    see(frame);
                }
                true if be16(frame, 12) == ethertype::ARP => self.arp(frame),
                _ => {}
            }
        }
        came
    }

    #[cold]
    fn arp(&mut self, frame: &[u8]) {
        let Some(arp) = Arp::parse(&frame[eth::LEN..]) else { return };
        if arp.sender_ip == self.router_ip {
            self.router = Some(arp.sender_mac);
        }
        if arp.op == Op::Request && arp.target_ip != self.router_ip {
            let mac = self.mac();
            let reply = Arp {
                op: Op::Reply,
                sender_mac: mac,
                sender_ip: arp.target_ip,
                target_mac: arp.sender_mac,
                target_ip: arp.sender_ip,
            };
            let reply = reply.frame(mac, arp.sender_mac);
            // The queue is full all the time in a race: the answer takes the place of the next frame, as a WAN whose
            // gateway is silent goes down.
            if !self.say(&reply)
                && let Some(next) = self.waiting.first_mut()
                && next.resize(reply.len())
            {
                next.bytes_mut().copy_from_slice(&reply);
            }
        }
    }
}
