//! `turnout bench`: measures the packet path on this machine, by the very functions that a worker runs.
//!
//! Receive and send are replaced by arrays of mbufs; everything between them is `Lcore::turn`, a worker's whole turn with
//! its reading of the clock. Cycles are of the TSC, per burst, into a histogram. Packets are written outside the measured part.
#![forbid(unsafe_code)]

mod generator;
mod handover;
mod nat;
mod traffic;

pub use generator::{Count, GeneratorOptions, generator};
pub use handover::{HandoverOptions, HandoverRow, handover};
pub use nat::{Direction, NatOptions, Order, Row, nat};
