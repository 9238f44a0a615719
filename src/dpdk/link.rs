//! The links of all ports behind one call that never blocks, meant to be made every millisecond.
//!
//! Linux ports are watched by netlink (`carrier`), as `net_af_packet` says "up" whatever happens; other ports are asked
//! (`rte_eth_link_get_nowait`: the fastest way with some drivers, whose interrupt comes seconds late).

use std::io;

use super::carrier::CarrierWatch;
use super::port::LinkProbe;
use crate::base::{Nanos, PortId};

/// How a port's link is known.
pub enum LinkSource {
    /// By the carrier of this Linux interface (`LinuxPort::ifindex`).
    Linux(u32),
    /// By asking the port (`Port::link_probe`).
    Ask(LinkProbe),
}

/// Watches the links of a router's ports.
pub struct LinkWatcher {
    carrier: Option<CarrierWatch>,
    linux: Vec<(u32, PortId)>,
    asked: Vec<(PortId, LinkProbe, Option<bool>)>,
}

impl LinkWatcher {
    /// Starts to watch, in the calling thread's network namespace.
    pub fn new(ports: impl IntoIterator<Item = (PortId, LinkSource)>) -> io::Result<LinkWatcher> {
        let (mut linux, mut asked) = (Vec::new(), Vec::new());
        for (port, source) in ports {
            match source {
                LinkSource::Linux(ifindex) => linux.push((ifindex, port)),
                LinkSource::Ask(probe) => asked.push((port, probe, None)),
            }
        }
        let ifindexes: Vec<u32> = linux.iter().map(|&(ifindex, _)| ifindex).collect();
        let carrier = if linux.is_empty() { None } else { Some(CarrierWatch::new(&ifindexes)?) };
        Ok(LinkWatcher { carrier, linux, asked })
    }

    /// Reports every port's state once, in the first calls, and then each change.
    pub fn poll(&mut self, now: Nanos, report: &mut impl FnMut(PortId, bool)) {
        if let Some(carrier) = &mut self.carrier {
            let linux = &self.linux;
            carrier.poll(now, &mut |ifindex, up| {
                linux.iter().filter(|&&(i, _)| i == ifindex).for_each(|&(_, port)| report(port, up));
            });
        }
        for (port, probe, last) in &mut self.asked {
            let up = probe.link().up;
            if last.replace(up) != Some(up) {
                report(*port, up);
            }
        }
    }
}
