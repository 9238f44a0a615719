//! `turnout bench`: measures the packet path on this machine, by the very functions that a worker runs.
//!
//! Receive and send are replaced by arrays of mbufs; everything between them is `Lcore::turn`, a worker's whole turn with
//! its reading of the clock. Cycles are of the TSC, per burst, into a histogram. Packets are written outside the measured part.
//! `reference` is the yardstick that the path is held against in the same process.
#![forbid(unsafe_code)]

mod failover;
mod generator;
mod handover;
mod lane;
mod nat;
mod reference;
mod rings;
mod row;
mod stalls;
mod tally;
mod traffic;

pub use failover::{FailoverRow, failover};
pub use generator::{Count, GeneratorOptions, generator};
pub use handover::{HandoverOptions, HandoverRow, handover};
pub use nat::{Direction, NatOptions, Order, Wires, nat};
pub use reference::{Endpoint, Entry, Reference};
pub use row::Row;
pub use stalls::{Stall, stalls};
pub use traffic::Frames;

/// What is wrong and what to do, in one line.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
