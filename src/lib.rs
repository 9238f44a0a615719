//! turnout: a userspace packet router for sites with two internet connections.
//!
//! The modules, from the bytes up; `docs/architecture.md` has the picture and `tests/layers.rs` holds the arrows.
//!
//! | module | job |
//! |---|---|
//! | `base` | ids, time, MAC addresses, networks |
//! | `wire` | the bytes of one header each |
//! | `packet` | a packet on its way: buffer, offsets, verdict, drop reasons |
//! | `table` | keyed index, port pool, neighbours, routes |
//! | `nat` | sessions, mappings, TCP state, rewriting |
//! | `path` | the way of a packet on one screen |
//! | `wan` | probes, detector, state, selection; pure |
//! | `cluster` | the pair: beats, roles, the log of sessions; pure |
//! | `profile` | the YAML profile: schema, check, errors |
//! | `engine` | a worker's turn, steering, rings; no DPDK |
//! | `dpdk` | ports, queues, mbufs; all unsafe code |
//! | `worker` | the pinned thread |
//! | `host` | the Linux host under the router: its devices and their thread |
//! | `manage` | the management thread and its helpers |
//! | `cli` | the commands |
//! | `demo`, `bench` | `turnout demo`, `turnout bench` |
//! | `sim` | the whole router on a virtual clock |

pub mod base;
#[cfg(feature = "dpdk")]
pub mod bench;
pub mod cli;
pub mod cluster;
pub mod demo;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod engine;
#[cfg(feature = "dpdk")]
pub mod host;
pub mod manage;
pub mod nat;
pub mod packet;
pub mod path;
pub mod profile;
pub mod sim;
pub mod table;
pub mod wan;
pub mod wire;
#[cfg(feature = "dpdk")]
pub mod worker;
