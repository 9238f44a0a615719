//! The bindings that `build.rs` writes from `shim.h`. Private to `dpdk`: nothing of C crosses the module's edge.
//!
//! The structs declared here are only ever pointed to; an mbuf's fields are reached by the offsets `TURNOUT_MBUF_*`.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unsafe_op_in_unsafe_fn,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]

macro_rules! pointed_to {
    ($($name:ident)*) => { $(#[repr(C)] pub struct $name { _private: [u8; 0] })* };
}

pointed_to!(rte_mbuf rte_mempool rte_eth_rxconf rte_eth_txconf);

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
