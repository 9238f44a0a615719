//! The engine: what one worker does again and again, without knowing what a port is made of.
//!
//! An `Lcore` is one core's router: its turn takes messages, receives, runs the path, sends, sweeps. Lcores share nothing
//! that is written on the packet path; they hear from the management thread, and tell it, by one ring each way (and another for frames of the router's own), and hand
//! frames to each other by one ring for each pair. `Ports` is what it needs of the world: queues in production, vectors in simulations.
#![forbid(unsafe_code)]

pub mod beats;
pub mod copies;
mod copying;
pub mod frames;
mod handing;
pub mod host;
pub mod inquiry;
mod latency;
mod lcore;
mod rings;
pub mod rss;
mod sending;
mod shared;
pub mod steer;
mod trunk;
mod walks;

pub use latency::{Latencies, Latency};
pub use lcore::{KILLS, Lcore};
pub use rings::{
    HandOver, LcoreEnd, ManagerEnd, PROBE_LEN, SessionRow, ToManager, ToWorker, connect, hand_overs,
};
pub use shared::{Load, Shared, Snapshot};
pub use trunk::{Layout, Member, Trunk};

use crate::base::IfaceId;
use crate::packet::PacketBuf;
pub use crate::path::BURST;

/// One core's queues, one pair for each interface, and its buffers.
pub trait Ports {
    /// What a frame lies in.
    type Buf: PacketBuf;
    /// Receives up to a burst into a list that is empty.
    fn receive(&mut self, iface: IfaceId, into: &mut Vec<Self::Buf>);
    /// Sends from the front; what does not fit stays.
    fn send(&mut self, iface: IfaceId, from: &mut Vec<Self::Buf>);
    /// An empty buffer. `None`: none is left.
    fn alloc(&mut self) -> Option<Self::Buf>;
    /// Frames that the ports have refused so far, because they fit into no buffer.
    fn refused(&self) -> u64 {
        0
    }
    /// Frames so far that came to a port and were for no interface of it: received, and dropped there.
    #[inline]
    fn strays(&self) -> u64 {
        0
    }
    /// When the burst came that an interface has just had its share of, if that was before it was asked for.
    #[inline]
    fn since(&self, _iface: IfaceId) -> Option<u64> {
        None
    }
    /// A clock that never runs back, for latencies; `Latency::set_ticks_per_second` says what it counts. Read once a burst at most.
    fn ticks(&self) -> u64 {
        0
    }
    /// That clock when the turn began. Who has read it anyway spares a reading.
    fn began(&self) -> u64 {
        self.ticks()
    }
}
