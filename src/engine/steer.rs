//! Who owns a packet: an inside host belongs to one worker, with all its mappings; an outside port belongs to the worker
//! whose slice it is in, or to the one that has borrowed it (`table::lent`). So any worker that receives one knows its owner.
//!
//! Hosts go to workers by address, ports in blocks of 64, both mixed, so that neither neighbouring hosts nor a range of
//! ports fall on one worker. `rss` has the rule, in which a NIC delivers to the owner at once; everywhere else the
//! hand-over rings make it right. A NIC knows nothing of loans: packets to a borrowed port come to the worker of the rule,
//! which hands them over. An ICMP error has the owner of the flow that it tells of.

use std::net::Ipv4Addr;

use super::rss;
use crate::base::{WanId, WorkerId};
use crate::packet::{Frame, PacketBuf, Tuple};
use crate::path::{Class, View};
use crate::wire::ipv4::Ipv4;
use crate::wire::record::Key;
use crate::wire::{eth, protocol};

/// The rule for a number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steer {
    workers: u8,
    /// By the index read backwards.
    owners: [WorkerId; rss::INDICES],
}

impl Steer {
    /// The rule for so many workers, 1 to 128.
    pub fn new(workers: usize) -> Steer {
        let workers = workers.clamp(1, rss::INDICES);
        let owner = |at: usize| rss::queue(usize::from(rss::read_backwards(at as u8)), workers);
        let owners = std::array::from_fn(|at| WorkerId(owner(at) as u8));
        Steer { workers: workers as u8, owners }
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        usize::from(self.workers)
    }

    /// The worker that owns an inside host.
    #[inline(always)]
    pub fn host(&self, host: Ipv4Addr) -> WorkerId {
        self.owners[usize::from(rss::host(host) & 0x7f)]
    }

    /// The worker that owns an outside port or echo identifier.
    #[inline(always)]
    pub fn port(&self, port: u16) -> WorkerId {
        self.owners[usize::from(rss::port(port) & 0x7f)]
    }

    /// The gate of a datagram that comes in fragments: the worker that all of them pass.
    pub fn gate(&self, ip: &Ipv4) -> WorkerId {
        let addresses = u64::from(ip.src.to_bits()) << 32 | u64::from(ip.dst.to_bits());
        let rest = u64::from(ip.id) << 37 | u64::from(ip.protocol) << 29;
        let mixed = (addresses ^ rest).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.owners[(mixed >> 57) as usize]
    }

    /// Who gets a frame from the host under the router: by its addresses alone, so that the fragments of a datagram stay
    /// together. What is no IPv4 goes anywhere.
    pub fn of_host(&self, frame: &[u8]) -> WorkerId {
        let Some(ip) = frame.get(eth::LEN..).and_then(|packet| packet.first_chunk()).map(Ipv4::read) else {
            return WorkerId(0);
        };
        let ports = matches!(ip.protocol, protocol::UDP | protocol::TCP | protocol::ICMP);
        self.host(if ports { ip.src } else { ip.dst })
    }

    /// The worker that has a flow which a partner tells of.
    pub fn record(&self, key: &Key) -> WorkerId {
        let (inside, remote) = (key.inside().0, key.remote().0);
        match key {
            Key::Internal { .. } => self.host(inside.min(remote)),
            Key::Flow { protocol: protocol::UDP | protocol::TCP | protocol::ICMP, .. } => self.host(inside),
            Key::Flow { .. } => self.host(remote),
        }
    }

    /// The owner of a classified packet. `None`: whoever has it.
    #[inline(always)]
    pub fn owner<B: PacketBuf>(&self, view: &View, frame: &Frame<B>, class: Class) -> Option<WorkerId> {
        if self.workers == 1 {
            return None;
        }
        match class {
            // Both ways to the same one.
            Class::Inside { .. } if view.internal => Some(self.host(frame.ip.src.min(frame.ip.dst))),
            Class::Own | Class::Answer { .. } | Class::Inside { .. } | Class::Rest => None,
            Class::FromHost { .. } => None,
            // Without ports nothing that comes from outside tells the host.
            Class::Outbound { .. } | Class::Hairpin { .. } if frame.portless().is_some() => {
                Some(self.host(frame.ip.dst))
            }
            Class::Outbound { .. } | Class::Hairpin { .. } => Some(self.host(frame.ip.src)),
            Class::Inbound { .. } if frame.portless().is_some() => Some(self.host(frame.ip.src)),
            Class::Inbound { target: Some(target), .. } => Some(self.host(target.inside)),
            Class::Inbound { wan, target: None, .. } => frame.tuple().map(|t| self.outside(view, wan, &t)),
            Class::ToldOutside { about } => {
                Some(self.host(if about.has_ports() { about.src } else { about.dst }))
            }
            Class::ToldInside { about, .. } if !about.has_ports() => Some(self.host(about.src)),
            Class::ToldInside { target: Some(target), .. } => Some(self.host(target.inside)),
            Class::ToldInside { wan, about, target: None, .. } => Some(self.outside(view, wan, &about)),
        }
    }

    /// The worker that has the outside port of a packet from a WAN.
    #[inline(always)]
    fn outside(&self, view: &View, wan: WanId, t: &Tuple) -> WorkerId {
        let lent = view.borrower(wan, t.protocol, (t.dst, t.dst_port));
        lent.unwrap_or_else(|| self.port(t.dst_port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKERS: [usize; 4] = [2, 3, 4, 8];

    /// The least and the most that a worker has, as parts of its fair share.
    fn shares(workers: usize, owners: impl Iterator<Item = WorkerId>) -> (f64, f64) {
        let mut counts = vec![0usize; workers];
        owners.for_each(|owner| counts[owner.index()] += 1);
        let fair = counts.iter().sum::<usize>() as f64 / workers as f64;
        let part = |count: Option<&usize>| count.copied().unwrap_or(0) as f64 / fair;
        (part(counts.iter().min()), part(counts.iter().max()))
    }

    #[test]
    fn a_network_of_hosts_spreads_to_within_a_tenth() {
        for (workers, net) in WORKERS.into_iter().flat_map(|w| [10 << 24, 0xc0a8_0a00].map(|net| (w, net))) {
            let steer = Steer::new(workers);
            let hosts = (1..255).map(|h| steer.host(Ipv4Addr::from_bits(net | h)));
            let (least, most) = shares(workers, hosts);
            assert!(least >= 0.9 && most <= 1.1, "{workers} workers: {least} to {most}");
        }
    }

    /// 50 of 128 indices by lot are uneven: with 8 workers 6 hosts are a share, and 3 or 10 may come out.
    #[test]
    fn one_host_in_each_of_fifty_networks_spreads_to_within_six_tenths() {
        for workers in WORKERS {
            let steer = Steer::new(workers);
            for (base, host) in [0x0a00_0000u32, 0x0a14_0000, 0xac10_0000, 0xc0a8_0000, 0xc0a8_6400]
                .into_iter()
                .flat_map(|base| (1..255).map(move |host| (base, host)))
            {
                let hosts = (0..50).map(|net| steer.host(Ipv4Addr::from_bits(base + (net << 8) + host)));
                let (least, most) = shares(workers, hosts);
                assert!(least >= 0.4 && most <= 1.6, "{workers} workers, host {host}: {least} to {most}");
            }
        }
    }

    #[test]
    fn ports_spread_to_within_a_twentieth_in_blocks_of_64() {
        for workers in WORKERS {
            let steer = Steer::new(workers);
            let (least, most) = shares(workers, (1024..=u16::MAX).map(|p| steer.port(p)));
            assert!(least >= 0.95 && most <= 1.05, "{workers} workers: {least} to {most}");
            assert!((0..=u16::MAX).all(|p| steer.port(p) == steer.port(p & !63)));
        }
    }
}
