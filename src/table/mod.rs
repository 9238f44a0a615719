//! The tables that the packet path looks things up in: a keyed index, slots, external ports and who has them,
//! neighbours, routes.
//!
//! All have a fixed capacity, taken when they are made: no allocation, no rehash and no unbounded chain afterwards.
//! `store` is their memory; the only file outside `dpdk` that may hold unsafe code.
#![deny(unsafe_code)]

pub mod ahead;
pub mod bags;
pub mod datagrams;
pub mod hash;
pub mod index;
pub mod lent;
pub mod neighbors;
pub mod ports;
pub mod routes;
pub mod slab;
#[allow(unsafe_code)]
pub mod store;
mod taken;

#[cfg(test)]
mod tests_ports;
