//! Frames between a worker and the thread that keeps the Linux host's devices: one lock-free ring each way, of slots of a
//! fixed size, apart from all others. A worker copies into a slot and out of one; what finds no room is dropped and counted.
//! Here as well what that thread tells the management thread.

use rtrb::{Consumer, Producer, RingBuffer};

use super::frames::WholeFrame;
use super::{Lcore, Ports};
use crate::base::{IfaceId, Nanos};
use crate::packet::{DropReason, PacketBuf, Stat};
use crate::path::{BURST, HostDoor};
use crate::table::routes::Route;

/// Frames on their way to the host from one worker, at most: 25 ms of what it may be given of one interface.
const TO_HOST: usize = 512;
/// Frames on their way from the host to one worker, at most.
const FROM_HOST: usize = 256;

/// A frame of the host's.
#[derive(Clone, Debug)]
pub struct HostFrame {
    /// By which interface it goes or came
    pub iface: IfaceId,
    /// The frame
    pub frame: WholeFrame,
}

/// The worker's end.
#[derive(Debug)]
pub struct HostEnd {
    from_host: Consumer<HostFrame>,
    to_host: Producer<HostFrame>,
}

/// The other end.
#[derive(Debug)]
pub struct HostRings {
    /// What the host sends
    pub to_worker: Producer<HostFrame>,
    /// What is for it
    pub from_worker: Consumer<HostFrame>,
}

/// The two ends of one worker's rings.
pub fn connect() -> (HostRings, HostEnd) {
    let (to_worker, from_host) = RingBuffer::new(FROM_HOST);
    let (to_host, from_worker) = RingBuffer::new(TO_HOST);
    (HostRings { to_worker, from_worker }, HostEnd { from_host, to_host })
}

/// What the management thread is told of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostReport {
    /// An interface is a device of the host's; or why not.
    Device {
        /// The interface's name in the profile
        interface: String,
        /// The device's name
        device: Result<String, String>,
    },
    /// What the router can follow of the routes that the host's kernel has by these devices, now.
    Routes {
        /// Sorted
        routes: Vec<Route>,
        /// There are so many more
        more: usize,
    },
}

impl<B: PacketBuf> Lcore<B> {
    /// From now on there is a host.
    pub fn attach(&mut self, end: HostEnd) {
        self.router.host = Some(Box::new(HostDoor::new(&self.view)));
        self.host = Some(end);
    }

    /// Gives the host what waits for it.
    #[cold]
    pub(super) fn give_host(&mut self) {
        let (Some(door), Some(end)) = (&mut self.router.host, &mut self.host) else { return };
        for (iface, buf) in door.waiting.drain(..) {
            // A worker's share of the host's time is what its ring holds.
            let put = end.to_host.slots() > 0
                && WholeFrame::new(buf.bytes())
                    .is_some_and(|frame| end.to_host.push(HostFrame { iface, frame }).is_ok());
            match put {
                true => self.router.counters.add(Stat::ToHost, 1),
                false => self.router.counters.drop(DropReason::HostFull),
            }
        }
    }

    /// Takes in a burst of what the host sends. Gives how many frames came.
    #[inline]
    pub(super) fn host_in<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> usize {
        match &self.host {
            Some(end) if !end.from_host.is_empty() => self.take_host(ports, now),
            _ => 0,
        }
    }

    #[cold]
    fn take_host<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> usize {
        let mut came = 0;
        while came < BURST
            && let Some(Ok(HostFrame { iface, frame })) = self.host.as_mut().map(|end| end.from_host.pop())
        {
            came += 1;
            self.router.counters.add(Stat::FromHost, 1);
            let bytes = frame.bytes();
            let Some(mut buf) = ports.alloc().filter(|_| !bytes.is_empty()) else {
                self.router.counters.drop(DropReason::NoBuffer);
                continue;
            };
            if !buf.resize(bytes.len()) {
                self.router.counters.drop(DropReason::NoBuffer);
                continue;
            }
            buf.bytes_mut().copy_from_slice(bytes);
            if let Some((frame, class)) = self.router.from_host(&self.view, iface, buf) {
                self.router.forward_host(&self.view, frame, class, now);
                if let Some((frame, class)) = self.router.turned.take() {
                    self.turn_in(frame, class, now);
                }
            }
        }
        came
    }
}
