//! The Linux host under the router: a TAP for each interface, and the thread that moves frames between these and the workers.
//!
//! - A device has its interface's name, or `t-NAME` where that is taken, its MAC and its addresses. It goes with this process,
//!   however that ends.
//! - The thread is all that makes system calls for it: a worker copies into its ring and out of it. What the kernel sends while a ring
//!   is full stays in the device's own queue, which drops and counts (`ip -s link`).
//! - Devices inside ask for their neighbours as any host's do. Those of WANs do not: what is sent there goes the router's way.
//! - Without devices (no /dev/net/tun, no CAP_NET_ADMIN) there is no host path: the router refuses by itself, as in a simulation.
#![forbid(unsafe_code)]

mod devices;

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::base::{IfaceId, Nanos};
use crate::dpdk::RouteWatch;
use crate::engine::frames::{FRAME_LEN, WholeFrame};
use crate::engine::host::{HostEnd, HostFrame, HostReport, HostRings, connect};
use crate::engine::steer::Steer;
use crate::path::View;
use devices::Devices;

/// Frames taken from a ring or a device at a time.
const AT_ONCE: usize = 64;
/// The thread looks again after so long: while there is something to do, and else.
const AWAKE: i64 = 200_000;
const ASLEEP: i64 = 1_000_000;
/// It stays awake so long after the last frame.
const STAYS: Nanos = Nanos::from_ms(50);
/// Reports and orders on their way, at most.
const TOLD: usize = 64;

/// The host's thread. It ends with this.
#[derive(Debug)]
pub struct Host {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ending.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has said what it had to.
            let _ = thread.join();
        }
    }
}

/// What the router needs of its host.
#[derive(Debug)]
pub struct Started {
    /// Keeps it
    pub host: Option<Host>,
    /// Each worker's end; none without a host
    pub ends: Vec<HostEnd>,
    /// What it tells
    pub reports: Receiver<HostReport>,
    /// Where it is told how the interfaces are from now on
    pub views: Sender<Arc<View>>,
}

/// Makes the devices of a view's interfaces and starts the thread, in the calling thread's network namespace.
///
/// # Errors
/// If the system gives no thread. What is missing for a host is reported.
pub fn start(view: &Arc<View>, workers: usize, now: fn() -> Nanos) -> std::io::Result<Started> {
    let (tell, reports) = bounded(TOLD + view.ifaces.len());
    let (views, orders) = bounded(TOLD);
    let mut devices = Devices::open(view, &tell);
    if devices.is_empty() {
        return Ok(Started { host: None, ends: Vec::new(), reports, views });
    }
    devices.configure(view, &tell);
    let (rings, ends) = (0..workers).map(|_| connect()).unzip();
    let ending = Arc::new(AtomicBool::new(false));
    let routes = match RouteWatch::new(devices.inside(view)) {
        Ok(watch) => Some(watch),
        Err(e) => {
            devices::trouble(&tell, "routes", &format!("the kernel's routes cannot be watched: {e}"));
            None
        }
    };
    let keeper = Keeper {
        steer: Steer::new(workers),
        view: view.clone(),
        devices,
        rings,
        routes,
        untold: None,
        tell,
        orders,
        ending: ending.clone(),
        now,
    };
    let thread = Builder::new().name("host".into()).spawn(move || keeper.run())?;
    Ok(Started { host: Some(Host { ending, thread: Some(thread) }), ends, reports, views })
}

struct Keeper {
    steer: Steer,
    view: Arc<View>,
    devices: Devices,
    /// By `WorkerId`
    rings: Vec<HostRings>,
    routes: Option<RouteWatch>,
    /// Found no room among the reports
    untold: Option<HostReport>,
    tell: Sender<HostReport>,
    orders: Receiver<Arc<View>>,
    ending: Arc<AtomicBool>,
    now: fn() -> Nanos,
}

impl Keeper {
    fn run(mut self) {
        let mut last = (self.now)();
        while !self.ending.load(Relaxed) {
            let now = (self.now)();
            let moved = self.give() + self.take();
            if moved > 0 {
                last = now;
            }
            while let Ok(view) = self.orders.try_recv() {
                self.devices.configure(&view, &self.tell);
                self.view = view;
            }
            self.follow_routes(now);
            if moved < AT_ONCE {
                self.wait(if now.since(last) < STAYS { AWAKE } else { ASLEEP });
            }
        }
    }

    /// What the workers have for the host.
    fn give(&mut self) -> usize {
        let mut moved = 0;
        for rings in &mut self.rings {
            for _ in 0..AT_ONCE {
                let Ok(HostFrame { iface, frame }) = rings.from_worker.pop() else { break };
                moved += 1;
                if let Some(tap) = self.devices.get(iface) {
                    // A kernel that does not take it has no room for it, or has the device down.
                    let _ = tap.write(frame.bytes());
                }
            }
        }
        moved
    }

    /// What the host sends. Nothing is read for which there may be no room.
    fn take(&mut self) -> usize {
        let (mut moved, mut bytes, mut gone) = (0, [0; FRAME_LEN], None);
        for (iface, tap) in self.devices.iter() {
            for _ in 0..AT_ONCE {
                if self.rings.iter().any(|rings| rings.to_worker.slots() == 0) {
                    return moved;
                }
                let length = match tap.read(&mut bytes) {
                    Ok(length) => length,
                    Err(e) => {
                        let none = matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted);
                        gone = gone.or((!none).then_some(iface));
                        break;
                    }
                };
                moved += 1;
                let frame = bytes.get(..length).unwrap_or_default();
                let worker = self.steer.of_host(frame).index();
                if let (Some(rings), Some(frame)) = (self.rings.get_mut(worker), WholeFrame::new(frame)) {
                    // There is room.
                    let _ = rings.to_worker.push(HostFrame { iface, frame });
                }
            }
        }
        if let Some(iface) = gone {
            self.devices.gone(&self.view, iface, &self.tell);
        }
        moved
    }

    fn follow_routes(&mut self, now: Nanos) {
        if let Some(found) = self.routes.as_mut().and_then(|watch| watch.poll(now)) {
            self.untold = Some(self.devices.routes(&self.view, found));
        }
        if let Some(report) = self.untold.take()
            && let Err(TrySendError::Full(report)) = self.tell.try_send(report)
        {
            self.untold = Some(report);
        }
    }

    /// Until the host sends, or for so many nanoseconds: then a worker may have something.
    fn wait(&self, nanoseconds: i64) {
        let timeout = TimeSpec::new(0, nanoseconds);
        // With a full ring there is nothing to be read for.
        let full = self.rings.iter().any(|rings| rings.to_worker.slots() == 0);
        let mut fds: Vec<PollFd<'_>> = match full {
            true => Vec::new(),
            false => {
                self.devices.iter().map(|(_, tap)| PollFd::new(tap.as_fd(), PollFlags::POLLIN)).collect()
            }
        };
        // Whatever it says, the devices are looked at next.
        let _ = ppoll(&mut fds, Some(timeout), None);
    }
}

/// The number of an interface.
fn iface(at: usize) -> IfaceId {
    IfaceId(at as u8)
}
