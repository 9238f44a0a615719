//! The Linux host under a simulated router: what it gets, and what it sends.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Site;
use super::frames::{Packet, Seen};
use crate::base::Mac;
use crate::engine::frames::WholeFrame;
use crate::engine::host::{self, HostFrame, HostReport, HostRings};
use crate::engine::steer::Steer;
use crate::path::View;
use crate::table::routes::Route;

/// What is under a router.
#[derive(Debug, Default)]
pub(super) struct Under {
    rings: Vec<HostRings>,
    told: Option<(Sender<HostReport>, Receiver<Arc<View>>)>,
}

impl Site {
    /// From now on there is a host under the router.
    pub fn attach_host(&mut self) {
        for lcore in &mut self.lcores {
            let (rings, end) = host::connect();
            lcore.attach(end);
            self.host.rings.push(rings);
        }
        let ((tell, reports), (views, told)) = (bounded(8), bounded(8));
        self.manager.hear_host(reports, views);
        self.host.told = Some((tell, told));
    }

    /// The host's kernel has these routes now, and so many more.
    pub fn host_routes(&mut self, routes: Vec<Route>, more: usize) {
        if let Some((tell, _)) = &self.host.told {
            // There is room as long as the manager takes its turns.
            let _ = tell.try_send(HostReport::Routes { routes, more });
        }
        self.settle();
    }

    /// The views that the host was told of since the last time.
    pub fn host_told(&mut self) -> Vec<Arc<View>> {
        self.host.told.iter().flat_map(|(_, told)| told.try_iter()).collect()
    }

    /// What the host has got since the last time: by which interface, and the frame.
    pub fn host_got(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for rings in &mut self.host.rings {
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
        let worker = Steer::new(self.host.rings.len()).of_host(frame);
        if let (Some(rings), Some(frame)) = (self.host.rings.get_mut(worker.index()), WholeFrame::new(frame))
        {
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
