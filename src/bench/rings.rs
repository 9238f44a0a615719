//! Ports of DPDK's `net_ring` instead of arrays: the figures then hold what `rte_eth_rx_burst` and `rte_eth_tx_burst`
//! cost with the least of drivers.
//!
//! A queue of such a port gives back what is sent into it. So each worker has two queues of each port, one to receive
//! from and one to send into; the measurement fills the one and empties the other outside the measured part.

use arrayvec::ArrayVec;

use super::Failure;
use super::traffic::{Bed, LAN, WAN};
use crate::base::{IfaceId, PortId};
use crate::dpdk::{Eal, Mbuf, Pool, Port, PortConfig, PortSource, Queue, tsc};
use crate::engine::{BURST, Ports};
use crate::packet::BufPool;

/// One worker's queues of the LAN's and the WAN's port: to receive from, and to send into.
pub(super) struct Rings {
    pool: Pool,
    receive: [Queue; 2],
    send: [Queue; 2],
    began: u64,
    /// Packets on their way into or out of a ring
    hand: Vec<Mbuf>,
}

/// Opens the two ports and gives each worker its queues. The ports close when they and all queues are dropped.
pub(super) fn open(eal: &Eal, pool: &Pool, workers: usize) -> Result<(Vec<Port>, Vec<Rings>), Failure> {
    let (mut ports, mut queues) = (Vec::new(), Vec::new());
    for iface in [LAN, WAN] {
        let source = PortSource::Vdev(format!("net_ring{}", iface.0));
        let config = PortConfig { queues: workers as u16 * 2, ..PortConfig::new(pool.clone()) };
        let mut port = Port::open(eal, &source, PortId(iface.0.into()), &config)?;
        port.start()?;
        queues.push(port.take_queues()?.into_iter());
        ports.push(port);
    }
    let mut next = |at: usize| queues[at].next().ok_or("the port has too few queues");
    let mut all = Vec::new();
    for _ in 0..workers {
        let (receive, send) = ([next(0)?, next(1)?], [next(0)?, next(1)?]);
        all.push(Rings { pool: pool.clone(), receive, send, began: 0, hand: Vec::with_capacity(BURST) });
    }
    Ok((ports, all))
}

impl Bed for Rings {
    fn feed(&mut self, iface: IfaceId, burst: ArrayVec<Mbuf, BURST>) -> bool {
        self.hand.extend(burst);
        self.receive[iface.index()].tx(&mut self.hand);
        self.hand.is_empty()
    }

    fn begin(&mut self, cycles: u64) {
        self.began = cycles;
    }

    fn collect(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        loop {
            if self.send[iface.index()].rx(into) == 0 {
                return;
            }
        }
    }
}

impl Ports for Rings {
    type Buf = Mbuf;

    fn receive(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        self.receive[iface.index()].rx(into);
    }

    fn send(&mut self, iface: IfaceId, from: &mut Vec<Mbuf>) {
        self.send[iface.index()].tx(from);
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn ticks(&self) -> u64 {
        tsc()
    }

    fn began(&self) -> u64 {
        self.began
    }
}
