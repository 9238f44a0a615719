//! `turnout bench handover`: what a packet costs that reaches the wrong worker.
//!
//! One worker receives every packet, another, on a core of its own, owns all of them. Beside it the same packets by the
//! same owner received by itself. The difference is the price of a port that cannot be told who owns what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use super::nat::{Direction, Lane, NatOptions, Order};
use super::traffic::{Flow, LAN, WAN, order};
use crate::base::{IfaceId, Nanos, WorkerId};
use crate::dpdk::{Eal, EalConfig, Mbuf, Pool, tsc, tsc_hz};
use crate::engine::{BURST, hand_overs};
use crate::packet::Stat;
use crate::worker::now;

/// Packets under way, at most: half a ring, so that none is dropped and the owner finds whole bursts.
const WINDOW: u64 = 512;
/// The owner gives up a receiver that says nothing for so long.
const PATIENCE: Nanos = Nanos::from_s(10);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct HandoverOptions {
    /// Live sessions, all of one worker
    pub sessions: u32,
    /// LAN to WAN, or WAN to LAN
    pub direction: Direction,
    /// Bytes of a frame without its check sequence, 60 to 1514
    pub bytes: usize,
    /// Packets to measure
    pub packets: u64,
}

/// Cycles of the TSC a packet.
#[derive(Clone, Debug)]
pub struct HandoverRow {
    options: HandoverOptions,
    /// Received by its owner: the whole turn
    direct: f64,
    /// The receiver's part of a packet that is handed over
    receiver: f64,
    /// The owner's part
    owner: f64,
    /// Packets in a turn of the owner
    burst: f64,
    tsc_hz: u64,
}

impl HandoverRow {
    /// As JSON, one object.
    pub fn json(&self) -> Value {
        let round = |x: f64| (x * 10.0).round() / 10.0;
        json!({
            "sessions": self.options.sessions,
            "direction": if self.options.direction == Direction::Down { "down" } else { "up" },
            "packet_bytes": self.options.bytes,
            "packets": self.options.packets,
            "cycles_per_packet": {
                "direct": round(self.direct),
                "receiver": round(self.receiver),
                "owner": round(self.owner),
                "price": round(self.receiver + self.owner - self.direct),
            },
            "owner_burst": round(self.burst),
            "mpps": round(self.tsc_hz as f64 / self.receiver.max(self.owner) / 1e6),
            "tsc_hz": self.tsc_hz,
        })
    }
}

/// What the two threads see of each other.
#[derive(Default)]
struct Between {
    /// Packets that the owner has sent
    done: AtomicU64,
    /// The receiver has stopped
    ended: AtomicBool,
}

/// Cycles, over so many packets and turns.
#[derive(Clone, Copy, Default)]
struct Sum {
    cycles: u64,
    packets: u64,
    turns: u64,
}

impl Sum {
    fn add(&mut self, cycles: u64, packets: usize) {
        *self = Sum {
            cycles: self.cycles + cycles,
            packets: self.packets + packets as u64,
            turns: self.turns + 1,
        };
    }

    fn each(self) -> f64 {
        self.cycles as f64 / self.packets.max(1) as f64
    }
}

/// Measures.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn handover(o: &HandoverOptions) -> Result<HandoverRow, Failure> {
    if !(60..=1514).contains(&o.bytes) {
        return Err("a frame has 60 to 1514 bytes".into());
    }
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|c| c.id).collect();
    let &[.., receiver, owner] = &cores[..] else {
        return Err("two cores are needed: one receives, the other owns".into());
    };
    let config =
        EalConfig { manager_core: cores[0], worker_cores: vec![receiver, owner], ..EalConfig::default() };
    let eal = Eal::start(&config)?;
    let pool = Pool::new(&eal, "bench", 8192, Pool::DATA_ROOM)?;
    // Half of the sessions are one worker's: twice as many, of which the receiver opens none.
    let options = NatOptions {
        sessions: o.sessions.saturating_mul(2),
        workers: 2,
        direction: o.direction,
        order: Order::Shuffled,
        bytes: o.bytes,
        burst: BURST,
        packets: o.packets,
    };
    let mut ends = hand_overs::<Mbuf>(2);
    let (Some(to_owner), Some(to_receiver)) = (ends.pop(), ends.pop()) else {
        return Err("no rings".into());
    };
    let between = Arc::new(Between::default());
    let (tell, hear) = channel();
    let (shared, handle, packets) = (between.clone(), eal.share(), pool.clone());
    let owning = std::thread::spawn(move || -> Result<(Sum, Sum), Failure> {
        let _registered = handle.register_worker(owner)?;
        let mut lane = Lane::new(&options, WorkerId(1), to_owner, packets)?;
        own(&mut lane, &options, &shared, &tell)
    });
    let handle = eal.share();
    let receiving = std::thread::spawn(move || -> Result<Sum, Failure> {
        let _registered = handle.register_worker(receiver)?;
        let mut lane = Lane::new(&options, WorkerId(0), to_receiver, pool)?;
        let result = receive(&mut lane, &options, &between, &hear);
        between.ended.store(true, Ordering::Release);
        result
    });
    let received = receiving.join().map_err(|_| "the receiver has panicked")?;
    let (direct, owned) = owning.join().map_err(|_| "the owner has panicked")??;
    Ok(HandoverRow {
        options: *o,
        direct: direct.each(),
        receiver: received?.each(),
        owner: owned.each(),
        burst: owned.packets as f64 / owned.turns.max(1) as f64,
        tsc_hz: tsc_hz(&eal),
    })
}

fn sides(direction: Direction) -> (IfaceId, IfaceId) {
    if direction == Direction::Down { (WAN, LAN) } else { (LAN, WAN) }
}

/// Opens its sessions, measures its own packets, then what the other worker hands over.
fn own(
    lane: &mut Lane,
    o: &NatOptions,
    between: &Between,
    tell: &Sender<Vec<Flow>>,
) -> Result<(Sum, Sum), Failure> {
    lane.set_up(o)?;
    let (from, to) = sides(o.direction);
    let order = order(lane.flows.len(), true);
    let mut direct = Sum::default();
    for burst in order.chunks(BURST).cycle() {
        direct.add(lane.burst(burst, from)?, burst.len());
        lane.ports.recycle();
        if direct.packets >= o.packets {
            break;
        }
    }
    tell.send(lane.flows.clone()).map_err(|_| "the receiver is gone")?;
    let (mut handed, mut last) = (Sum::default(), now());
    loop {
        let ended = between.ended.load(Ordering::Acquire);
        let start = tsc();
        let came = lane.lcore.turn(&mut lane.ports, now());
        let cycles = tsc().wrapping_sub(start);
        if came > 0 {
            let sent = lane.ports.sent[to.index()].len();
            if sent != came {
                return Err(format!("{sent} of {came} came out: {:?}", lane.lcore.router.counters).into());
            }
            handed.add(cycles, came);
            // Back to the pool, where the receiver takes them from.
            lane.ports.sent[to.index()].clear();
            between.done.fetch_add(came as u64, Ordering::Release);
            last = now();
        } else if ended {
            return Ok((direct, handed));
        } else if now().since(last) >= PATIENCE {
            return Err("nothing was handed over".into());
        }
    }
}

/// Receives packets of the other worker's sessions, never too many at a time.
fn receive(
    lane: &mut Lane,
    o: &NatOptions,
    between: &Between,
    hear: &Receiver<Vec<Flow>>,
) -> Result<Sum, Failure> {
    // The owner says itself what is wrong.
    let Ok(flows) = hear.recv() else { return Ok(Sum::default()) };
    let (from, _) = sides(o.direction);
    let order = order(flows.len(), true);
    let mut sum = Sum::default();
    for burst in order.chunks(BURST).cycle() {
        let start = now();
        while sum.packets - between.done.load(Ordering::Acquire) > WINDOW {
            std::hint::spin_loop();
            if now().since(start) >= PATIENCE {
                return Err("the owner takes nothing".into());
            }
        }
        for flow in burst {
            if !lane.ports.put(from, &flows[*flow as usize]) {
                return Err("the pool of mbufs is empty".into());
            }
        }
        let start = tsc();
        lane.lcore.turn(&mut lane.ports, now());
        sum.add(tsc().wrapping_sub(start), burst.len());
        if sum.packets >= o.packets {
            break;
        }
    }
    let handed = lane.lcore.router.counters.get(Stat::HandedOut);
    if handed != sum.packets {
        let counters = &lane.lcore.router.counters;
        return Err(format!("{handed} of {} were handed over: {counters:?}", sum.packets).into());
    }
    Ok(sum)
}
