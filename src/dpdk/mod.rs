//! Real ports: the one module that speaks to DPDK, and the one with unsafe code.
//!
//! Everything that comes out of it is safe to use wrongly: a queue keeps its port alive, a port its pool, a pool the
//! EAL, so that nothing is unmapped while something points at it (`eal` has the argument for mbufs in flight). Each
//! unsafe block carries the argument why it holds. Blocking calls (opening, claiming) belong to the start; `rx`, `tx`,
//! `LinkWatcher::poll` and `Port::link` never block.
//!
//! | file | what |
//! |---|---|
//! | `eal` | starting DPDK once a process, worker threads |
//! | `pool`, `mbuf` | packet memory |
//! | `port`, `queue` | Ethernet ports and one core's share of them |
//! | `linux`, `linux_state`, `command` | a Linux interface, taken from the kernel and given back |
//! | `link`, `carrier` | link up and down, in milliseconds |
//! | `time` | the cycle counter, timer slack |
//!
//! It uses of this crate `base` and `packet` alone.
#![allow(unsafe_code)]

mod carrier;
mod command;
mod eal;
mod error;
mod ffi;
mod link;
mod linux;
mod linux_state;
mod mbuf;
mod pool;
mod port;
mod queue;
mod time;

pub use carrier::CarrierWatch;
pub use eal::{Eal, EalConfig, Hugepages, LcoreGuard};
pub use error::DpdkError;
pub use link::{LinkSource, LinkWatcher};
pub use linux::{LinuxError, LinuxPort, STATE_DIR};
pub use mbuf::Mbuf;
pub use pool::Pool;
pub use port::{Caps, LinkProbe, LinkState, Port, PortConfig, PortSource, PortStats};
pub use queue::{BURST, Queue, QueueStats, TxBatch};
pub use time::{set_timer_slack_ns, tsc, tsc_hz};
