//! `turnout bench handover`: what a packet costs that reaches the wrong worker.
//!
//! One worker receives every packet, another, on a core of its own, owns all of them. Beside it the same packets by the
//! same owner received by itself. The difference is the price of a port that cannot be told who owns what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use arrayvec::ArrayVec;
use serde_json::{Value, json};

use super::Failure;
use super::lane::{Clock, Lane, Place};
use super::nat::{Direction, Order, start};
use super::tally::tenths;
use super::traffic::{Arrays, Flow, Frames, Walk, Writer};
use crate::base::{IfaceId, Nanos, WorkerId};
use crate::dpdk::{Eal, Mbuf, Pool, tsc, tsc_hz};
use crate::engine::{BURST, HandOver, hand_overs};
use crate::packet::Stat;
use crate::worker::{self, now};

/// Packets under way, at most: half a ring, so that none is dropped and the owner finds whole bursts.
const WINDOW: u64 = 512;
const RECEIVER: WorkerId = WorkerId(0);
const OWNER: WorkerId = WorkerId(1);
/// The owner gives up a receiver that says nothing for so long.
const PATIENCE: Nanos = Nanos::from_s(10);

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
        json!({
            "sessions": self.options.sessions,
            "direction": self.options.direction.text(),
            "packet_bytes": self.options.bytes,
            "packets": self.options.packets,
            "cycles_per_packet": {
                "direct": tenths(self.direct),
                "receiver": tenths(self.receiver),
                "owner": tenths(self.owner),
                "price": tenths(self.receiver + self.owner - self.direct),
            },
            "owner_burst": tenths(self.burst),
            "mpps": tenths(self.tsc_hz as f64 / self.receiver.max(self.owner) / 1e6),
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
    let (eal, cores) = start(2)?;
    let pool = Pool::new(&eal, "bench", 8192, Pool::DATA_ROOM)?;
    let (o, mut ends) = (*o, hand_overs::<Mbuf>(2));
    let (Some(to_owner), Some(to_receiver)) = (ends.pop(), ends.pop()) else {
        return Err("no rings".into());
    };
    let between = Arc::new(Between::default());
    let (tell, hear) = channel();
    let (shared, handle, packets, core) = (between.clone(), eal.share(), pool.clone(), cores[1]);
    let owning = std::thread::spawn(move || -> Result<(Sum, Sum), Failure> {
        let _registered = handle.register_worker(core)?;
        own(&mut lane(&o, OWNER, to_owner, &handle, packets)?, &o, &shared, &tell)
    });
    let (handle, core) = (eal.share(), cores[0]);
    let receiving = std::thread::spawn(move || -> Result<Sum, Failure> {
        let _registered = handle.register_worker(core)?;
        let result = lane(&o, RECEIVER, to_receiver, &handle, pool)
            .and_then(|mut lane| receive(&mut lane, &o, &between, &hear));
        between.ended.store(true, Ordering::Release);
        result
    });
    let received = receiving.join().map_err(|_| "the receiver has panicked")?;
    let (direct, owned) = owning.join().map_err(|_| "the owner has panicked")??;
    Ok(HandoverRow {
        options: o,
        direct: direct.each(),
        receiver: received?.each(),
        owner: owned.each(),
        burst: owned.packets as f64 / owned.turns.max(1) as f64,
        tsc_hz: tsc_hz(&eal),
    })
}

fn lane(
    o: &HandoverOptions,
    id: WorkerId,
    rings: HandOver<Mbuf>,
    eal: &Eal,
    pool: Pool,
) -> Result<Lane<Arrays>, Failure> {
    // Half of the sessions are one worker's: twice as many, of which the receiver opens none.
    let sessions = o.sessions.saturating_mul(2);
    let place = Place { id, workers: 2, sessions, ..Place::of(rand::random()) };
    let clock = Clock::Machine(worker::Clock::new(tsc_hz(eal), tsc()));
    let writer = Writer::new(pool.clone(), Frames::Fixed(o.bytes));
    Lane::new(&place, rings, clock, (Arrays::new(pool), writer))
}

/// Opens its sessions, measures its own packets, then what the other worker hands over.
fn own(
    lane: &mut Lane<Arrays>,
    o: &HandoverOptions,
    between: &Between,
    tell: &Sender<Vec<Flow>>,
) -> Result<(Sum, Sum), Failure> {
    lane.set_up(BURST)?;
    let mut walk = Walk::new(lane.flows.len(), Order::Shuffled, o.direction);
    let mut direct = Sum::default();
    while direct.packets < o.packets {
        direct.add(lane.step(&mut walk, BURST)?, BURST);
    }
    tell.send(lane.flows.clone()).map_err(|_| "the receiver is gone")?;
    let (mut handed, mut last) = (Sum::default(), now());
    loop {
        let ended = between.ended.load(Ordering::Acquire);
        let cycles = lane.turn(ArrayVec::new(), IfaceId(0))?;
        let sent = lane.sent.len();
        if sent > 0 {
            handed.add(cycles, sent);
            // Back to the pool, where the receiver takes them from.
            lane.sent.clear();
            between.done.fetch_add(sent as u64, Ordering::Release);
            last = now();
        } else if ended {
            break;
        } else if now().since(last) >= PATIENCE {
            return Err("nothing was handed over".into());
        }
    }
    let came = lane.lcore.router.counters.get(Stat::HandedIn);
    if came != handed.packets {
        let counters = &lane.lcore.router.counters;
        return Err(format!("{} of {came} came out: {counters:?}", handed.packets).into());
    }
    Ok((direct, handed))
}

/// Receives packets of the other worker's sessions, never too many at a time.
fn receive(
    lane: &mut Lane<Arrays>,
    o: &HandoverOptions,
    between: &Between,
    hear: &Receiver<Vec<Flow>>,
) -> Result<Sum, Failure> {
    // The owner says itself what is wrong.
    let Ok(flows) = hear.recv() else { return Ok(Sum::default()) };
    let mut walk = Walk::new(flows.len(), Order::Shuffled, o.direction);
    let mut which = ArrayVec::new();
    let mut sum = Sum::default();
    while sum.packets < o.packets {
        let start = now();
        while sum.packets - between.done.load(Ordering::Acquire) > WINDOW {
            std::hint::spin_loop();
            if now().since(start) >= PATIENCE {
                return Err("the owner takes nothing".into());
            }
        }
        let from = walk.next(BURST, &mut which);
        let burst = lane.writer.burst(from, &flows, &which).ok_or("the pool of mbufs is empty")?;
        sum.add(lane.turn(burst, from)?, BURST);
    }
    let handed = lane.lcore.router.counters.get(Stat::HandedOut);
    if handed != sum.packets {
        let counters = &lane.lcore.router.counters;
        return Err(format!("{handed} of {} were handed over: {counters:?}", sum.packets).into());
    }
    Ok(sum)
}
