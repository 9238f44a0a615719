//! The whole router on a virtual clock and virtual wires: manager, lcores, rings and profile are the real ones; ports are
//! vectors, time is a number, and nothing happens unless the test makes it.
//!
//! A `Site` watches itself: every frame that leaves is held against X-2 (no inside address towards a WAN), X-3 (checksums) and X-4 (what
//! translation does not name is unchanged), the books against X-1 after every step, the NAT's state against X-5; and
//! `Site::finish` wants exactly the counters that the test names to have moved. What is found is told at `finish`.
#![forbid(unsafe_code)]

pub mod bulk;
mod check;
pub mod frames;
mod host;
pub mod internet;
mod leases;
pub mod pair;
mod pair_referee;
pub mod seeds;
mod site;
mod talk;
pub mod traffic;
mod twins;
mod twins_referee;
mod twins_rounds;
mod weather;
mod wire;

pub use frames::{Packet, Seen};
pub use leases::{LeaseAsked, LeaseServer};
pub use site::{DUAL_WAN, Site};
pub use twins::Twins;
pub use twins_referee::SLOWEST;
pub use weather::Air;
