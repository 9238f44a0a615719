//! The Linux host under a simulated router: what it gets, and what it sends.

use super::Site;
use super::frames::{Packet, Seen};
use crate::base::Mac;
use crate::engine::frames::WholeFrame;
use crate::engine::host::{self, HostFrame};
use crate::engine::steer::Steer;

impl Site {
    /// From now on there is a host under the router.
    pub fn attach_host(&mut self) {
        self.host = self
            .lcores
            .iter_mut()
            .map(|lcore| {
                let (rings, end) = host::connect();
                lcore.attach(end);
                rings
            })
            .collect();
    }

    /// What the host has got since the last time: by which interface, and the frame.
    pub fn host_got(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for rings in &mut self.host {
            while let Ok(HostFrame { iface, frame }) = rings.from_worker.pop() {
                all.push((self.names[iface.index()].clone(), frame.bytes().to_vec()));
            }
        }
        all
    }

    /// The IPv4 packets among that.
    pub fn host_heard(&mut self) -> Vec<(String, Seen)> {
        let got = self.host_got();
        got.iter().filter_map(|(link, frame)| Some((link.clone(), Seen::read(frame)?))).collect()
    }

    /// The host sends a frame as it is by its device; gives what comes out on the links.
    pub fn host_sends_raw(&mut self, link: &str, frame: &[u8]) -> Vec<(String, Vec<u8>)> {
        let iface = self.iface(link);
        let worker = Steer::new(self.host.len()).of_host(frame);
        if let (Some(rings), Some(frame)) = (self.host.get_mut(worker.index()), WholeFrame::new(frame)) {
            // Full, it is lost: that is what a test may want.
            let _ = rings.to_worker.push(HostFrame { iface, frame });
        }
        self.settle();
        self.take_all()
    }

    /// The host sends a packet by its device, to a neighbour or, without one, for the router to forward.
    pub fn host_sends(&mut self, link: &str, packet: &Packet, to: Option<Mac>) -> Vec<(String, Seen)> {
        let own = self.view().ifaces[self.iface(link).index()].mac;
        let out = self.host_sends_raw(link, &packet.frame(own, to.unwrap_or(own)));
        out.iter().filter_map(|(link, frame)| Some((link.clone(), Seen::read(frame)?))).collect()
    }
}
