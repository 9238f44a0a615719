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
//! | `port`, `device`, `queue` | Ethernet ports, what is behind them, one core's share of them |
//! | `find`, `af_packet` | from a port's name to DPDK's number; the driver of Linux ports and its limits |
//! | `linux` (`_error`, `_state`), `command` | a Linux interface, taken from the kernel and given back |
//! | `link`, `carrier` | link up and down, in milliseconds |
//! | `tap`, `kernel_routes` | the devices of the Linux host under the router, and its kernel's routes by them |
//! | `time`, `simd` | the cycle counter, timer slack; CRC32 |
//!
//! It uses of this crate `base` and `packet` alone.
#![allow(unsafe_code)]

mod af_packet;
mod carrier;
mod command;
mod device;
mod eal;
mod error;
mod ffi;
mod find;
mod kernel_routes;
mod link;
mod linux;
mod linux_error;
mod linux_state;
mod mbuf;
mod pool;
mod port;
mod port_types;
mod queue;
pub mod simd;
mod steering;
mod tap;
mod time;

pub use carrier::CarrierWatch;
pub use eal::{Eal, EalConfig, Hugepages, LcoreGuard};
pub use error::DpdkError;
pub use kernel_routes::{KernelRoute, RouteWatch};
pub use link::{LinkSource, LinkWatcher};
pub use linux::LinuxPort;
pub use linux_error::LinuxError;
pub use linux_state::{STATE_DIR, state_dir};
pub use mbuf::Mbuf;
pub use pool::Pool;
pub use port::{LinkProbe, Port};
pub use port_types::{Caps, LinkState, PortConfig, PortSource, PortStats};
pub use queue::{BURST, Queue, QueueStats, TxBatch};
pub use steering::{RssRule, Steering, soft_rss};
pub use tap::{Tap, TapConfig};
pub use time::{set_timer_slack_ns, tsc, tsc_hz};
