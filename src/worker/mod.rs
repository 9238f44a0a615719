//! The worker thread: one core, its DPDK queues, and `engine::Lcore` turning between them until it is told to stop.
//!
//! Idle is a policy: on NICs it polls without end; on Linux ports, where a peer may need the very core, it naps once a few
//! turns brought nothing. The clock is CLOCK_MONOTONIC, the management thread's, told by the cycle counter, which is read once
//! a turn; busy time and latencies are counted in cycles. At the end the lcore and its frames go before the queues, the queues before their ports.
#![forbid(unsafe_code)]

mod clock;

pub use clock::Clock;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::base::{IfaceId, Nanos};
use crate::dpdk::{DpdkError, Eal, Mbuf, Pool, Queue, set_timer_slack_ns, tsc, tsc_hz};
use crate::engine::{Lcore, Load, Ports, Trunk};
use crate::packet::BufPool;

const _: () = assert!(crate::dpdk::BURST <= crate::engine::BURST, "what a queue gives at once is a burst");

/// Turns without a frame before a worker naps.
const PATIENCE: u32 = 64;
/// How long a nap is.
const NAP: Duration = Duration::from_micros(50);
/// The load is shown this often.
const SHOW: Nanos = Nanos::from_ms(10);

/// What a worker does without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Looks again at once
    Poll,
    /// Naps
    Sleep,
}

/// The machine's monotonic clock, which all threads share.
pub fn now() -> Nanos {
    match clock_gettime(ClockId::CLOCK_MONOTONIC) {
        Ok(t) => Nanos(t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64),
        Err(_) => Nanos::ZERO,
    }
}

/// A worker's queues, one pair for each port in the order of their first interfaces, and where its own frames come from.
pub struct Queues {
    queues: Vec<Queue>,
    pool: Pool,
    /// The cycle counter at the start of the turn
    began: u64,
}

impl Queues {
    /// These queues, by the number of the port.
    pub fn new(queues: Vec<Queue>, pool: Pool) -> Queues {
        Queues { queues, pool, began: 0 }
    }
}

impl Ports for Queues {
    type Buf = Mbuf;

    fn receive(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        self.queues[iface.index()].rx(into);
    }

    fn send(&mut self, iface: IfaceId, from: &mut Vec<Mbuf>) {
        self.queues[iface.index()].tx(from);
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.pool.alloc()
    }

    fn refused(&self) -> u64 {
        self.queues.iter().map(|queue| queue.stats().rx_too_long).sum()
    }

    fn ticks(&self) -> u64 {
        tsc()
    }

    fn began(&self) -> u64 {
        self.began
    }
}

/// What a worker is started with.
pub struct Worker {
    /// The EAL
    pub eal: Eal,
    /// Its core
    pub core: usize,
    /// Its router
    pub lcore: Lcore<Mbuf>,
    /// Its queues, by interface
    pub queues: Trunk<Queues>,
    /// What it does without work
    pub idle: Idle,
    /// Set to end it
    pub stop: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread, pinned to its core and known to DPDK.
    ///
    /// # Errors
    /// If the system gives no thread. What fails in the thread itself is its result.
    pub fn spawn(self) -> std::io::Result<JoinHandle<Result<(), DpdkError>>> {
        Builder::new().name(format!("worker-{}", self.lcore.id().0)).spawn(move || self.run())
    }

    fn run(self) -> Result<(), DpdkError> {
        let Worker { eal, core, mut lcore, mut queues, idle, stop } = self;
        let _registered = eal.register_worker(core)?;
        if idle == Idle::Sleep {
            // Without it a nap takes 50 us more.
            set_timer_slack_ns(1);
        }
        let hz = tsc_hz(&eal).max(1);
        lcore.shared().latency.set_ticks_per_second(hz);
        let mut load = Load::default();
        let mut clock = Clock::new(hz, tsc());
        let (mut last, mut shown, mut quiet) = (now(), Nanos::ZERO, 0u32);
        while !stop.load(Relaxed) {
            let began = tsc();
            queues.ports().began = began;
            let at = clock.at(began);
            let frames = lcore.turn(&mut queues, at);
            load.total_ns += at.since(last).0;
            last = at;
            if frames > 0 {
                let cycles = tsc().wrapping_sub(began);
                lcore.shared().latency.turn(cycles);
                load.busy_cycles += cycles;
                load.packets += frames as u64;
                quiet = 0;
            } else {
                quiet = quiet.saturating_add(1);
                if idle == Idle::Sleep && quiet > PATIENCE {
                    std::thread::sleep(NAP);
                } else {
                    std::hint::spin_loop();
                }
            }
            if at.since(shown) >= SHOW {
                load.busy_ns = (u128::from(load.busy_cycles) * 1_000_000_000 / u128::from(hz)) as u64;
                lcore.shared().show_load(load);
                shown = at;
            }
        }
        lcore.show(now());
        drop(lcore);
        drop(queues);
        Ok(())
    }
}
