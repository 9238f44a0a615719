//! An Ethernet port: opened, asked what it can do, started, shared out as queues, stopped and closed.
//!
//! A `Queue` and a `LinkProbe` hold the port: it closes when the last of them goes. `stop` is refused while queues are
//! out, so a queue never polls a stopped port.
//!
//! Promiscuous mode is off unless an interface has an address of its own that the port cannot be given: a router needs frames
//! to its own MACs (and broadcast) alone. DPDK sets or clears IFF_PROMISC of a Linux interface at start; `LinuxPort` puts it back.

use std::sync::Arc;

use super::device::PortInner;
use super::eal::Eal;
use super::error::DpdkError;
use super::port_types::{Caps, LinkState, PortConfig, PortSource, PortStats};
use super::queue::Queue;
use crate::base::{Mac, PortId};

/// An open Ethernet port. Dropped (and its queues and probes with it), it stops and closes.
pub struct Port {
    inner: Arc<PortInner>,
    caps: Caps,
    taken: bool,
}

impl Port {
    /// Finds or makes the port and sets up its queues; no packet moves before [`Port::start`]. `id` is turnout's number
    /// for it.
    pub fn open(eal: &Eal, source: &PortSource, id: PortId, config: &PortConfig) -> Result<Port, DpdkError> {
        let inner = Arc::new(PortInner::open(&eal.inner, source, id, config)?);
        Ok(Port { caps: inner.caps.clone(), inner, taken: false })
    }

    /// Its number in turnout.
    pub fn id(&self) -> PortId {
        self.inner.id
    }

    /// As written in the profile: `linux:eth0`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The address it sends from (`rte_eth_macaddr_get`).
    pub fn mac(&self) -> Mac {
        self.inner.mac
    }

    /// The longest IP packet, in bytes (`rte_eth_dev_get_mtu`; of a Linux port not over the interface's).
    pub fn mtu(&self) -> u16 {
        self.inner.mtu
    }

    /// What it can do.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The link now (`rte_eth_link_get_nowait`). Of a Linux port it says nothing: watch that by `LinkWatcher`.
    pub fn link(&self) -> LinkState {
        self.inner.link()
    }

    /// Asks for the link from another place, without borrowing the port.
    pub fn link_probe(&self) -> LinkProbe {
        LinkProbe { port: Arc::clone(&self.inner) }
    }

    /// Lets packets flow (`rte_eth_dev_start`), not promiscuous, and tells the NIC whose they are
    /// (`rte_eth_dev_rss_hash_update`, `rte_eth_dev_rss_reta_update`): `Caps::steering` says from here on whether it took
    /// that. A started port is told again.
    pub fn start(&mut self) -> Result<(), DpdkError> {
        self.caps.steering = self.inner.start()?;
        Ok(())
    }

    /// Stops it (`rte_eth_dev_stop`); its queues must have been dropped. It may start again, with new queues,
    /// but a Linux port must be opened again.
    pub fn stop(&mut self) -> Result<(), DpdkError> {
        self.inner.stop()?;
        self.taken = false;
        Ok(())
    }

    /// All its queues, once for each start.
    pub fn take_queues(&mut self) -> Result<Vec<Queue>, DpdkError> {
        if self.taken {
            return Err(self.inner.state("its queues were taken before"));
        }
        self.inner.lend_queues()?;
        self.taken = true;
        Ok((0..self.inner.queues).map(|q| Queue::new(Arc::clone(&self.inner), q)).collect())
    }

    /// Its counters (`rte_eth_stats_get`). Zeros if the driver keeps none.
    pub fn stats(&self) -> PortStats {
        self.inner.stats()
    }
}

/// Reads a port's link; the port stays open while it exists.
#[derive(Clone)]
pub struct LinkProbe {
    port: Arc<PortInner>,
}

impl LinkProbe {
    /// As [`Port::link`].
    pub fn link(&self) -> LinkState {
        self.port.link()
    }
}
