//! Who owns a packet: an inside host belongs to one worker, with all its mappings; an outside port belongs to the worker
//! whose slice it is in. Both follow from the packet alone, so any worker that receives one knows its owner.
//!
//! Ports go to workers in blocks of 64, hosts by address, both mixed, so that neither neighbouring hosts nor a range of
//! ports fall on one worker. A NIC that can be told the same rule delivers to the owner at once; everywhere else the
//! hand-over rings make it right.

use std::net::Ipv4Addr;

use crate::base::WorkerId;
use crate::packet::{Frame, PacketBuf};
use crate::path::Class;

/// The rule for a number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steer {
    workers: u32,
}

fn mix(n: u32) -> u32 {
    let n = (n ^ (n >> 16)).wrapping_mul(0x7feb_352d);
    let n = (n ^ (n >> 15)).wrapping_mul(0x846c_a68b);
    n ^ (n >> 16)
}

impl Steer {
    /// The rule for so many workers, at least one.
    pub fn new(workers: usize) -> Steer {
        Steer { workers: u32::try_from(workers).unwrap_or(1).max(1) }
    }

    /// How many workers there are.
    pub fn workers(self) -> usize {
        self.workers as usize
    }

    /// The worker that owns an inside host.
    #[inline(always)]
    pub fn host(self, host: Ipv4Addr) -> WorkerId {
        WorkerId((mix(host.to_bits()) % self.workers) as u8)
    }

    /// The worker that owns an outside port or echo identifier.
    #[inline(always)]
    pub fn port(self, port: u16) -> WorkerId {
        WorkerId((mix(u32::from(port >> 6) | 1 << 16) % self.workers) as u8)
    }

    /// The owner of a classified packet. `None`: whoever has it.
    #[inline(always)]
    pub fn owner<B: PacketBuf>(self, frame: &Frame<B>, class: Class) -> Option<WorkerId> {
        if self.workers == 1 {
            return None;
        }
        match class {
            Class::Own | Class::Inside { .. } => None,
            Class::Outbound { .. } => Some(self.host(frame.ip.src)),
            Class::Inbound { .. } => frame.tuple().map(|t| self.port(t.dst_port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_a_network_of_hosts_spread_evenly_over_2_3_4_and_8_workers() {
        for workers in [2usize, 3, 4, 8] {
            let steer = Steer::new(workers);
            let mut ports = vec![0usize; workers];
            (1024..=u16::MAX).for_each(|p| ports[steer.port(p).index()] += 1);
            let mut hosts = vec![0usize; workers];
            (1..255).for_each(|h| hosts[steer.host(Ipv4Addr::new(192, 168, 10, h)).index()] += 1);
            for w in 0..workers {
                assert!(ports[w] * workers > 64512 * 8 / 10, "{workers} workers: ports {ports:?}");
                assert!(hosts[w] * workers > 254 * 6 / 10, "{workers} workers: hosts {hosts:?}");
            }
        }
    }
}
