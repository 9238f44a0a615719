//! `turnout bench nat`: N live sessions, packets of them in any order, cycles from receive to send; beside them, if
//! asked for, those of the reference loop for the same packets.

use std::sync::{Arc, Barrier};

use arrayvec::ArrayVec;

use super::lane::{Clock, Lane, Place};
use super::reference::Reference;
use super::row::Row;
use super::tally::Tally;
use super::traffic::{Arrays, Bed, Frames, Walk, Writer};
use super::{Failure, rings};
use crate::base::WorkerId;
use crate::dpdk::{Eal, EalConfig, Mbuf, Pool, tsc, tsc_hz};
use crate::engine::{BURST, hand_overs};

/// The path and the reference loop take turns of so many bursts, so that what drifts falls on both.
const SLICE: u64 = 8192;
/// Of these, so many are not counted: the caches hold what the other one left.
const SETTLE: u64 = 1024;

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// LAN to WAN
    Up,
    /// WAN to LAN
    Down,
    /// Burst by burst in turn
    Both,
}

impl Direction {
    pub(super) fn text(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::Both => "both",
        }
    }
}

/// In which order the packets take the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By chance
    Shuffled,
    /// As they were made
    Created,
}

impl Order {
    pub(super) fn text(self) -> &'static str {
        match self {
            Order::Shuffled => "shuffled",
            Order::Created => "created",
        }
    }
}

/// What stands for the ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wires {
    /// Arrays: the path alone
    Arrays,
    /// DPDK's `net_ring`: the path with a driver
    Rings,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct NatOptions {
    /// Live sessions, over all workers: a row for each of these
    pub sessions: Vec<u32>,
    /// Workers, a core each
    pub workers: usize,
    /// Which way
    pub direction: Direction,
    /// In which order
    pub order: Order,
    /// How long the frames are
    pub frames: Frames,
    /// Packets in a burst, 1 to 32
    pub burst: usize,
    /// Packets to measure, each worker
    pub packets: u64,
    /// The reference loop as well
    pub compare: bool,
    /// What the packets come from and go into
    pub wires: Wires,
}

/// Measures; `each` hears of a row when it is there.
///
/// # Errors
/// What is wrong and what to do, in one line; the first error of `each`.
pub fn nat(options: &NatOptions, mut each: impl FnMut(&Row) -> Result<(), String>) -> Result<(), Failure> {
    if options.burst == 0 || options.burst > BURST {
        return Err(format!("a burst has 1 to {BURST} packets").into());
    }
    if matches!(options.frames, Frames::Fixed(bytes) if !(60..=1514).contains(&bytes)) {
        return Err("a frame has 60 to 1514 bytes".into());
    }
    let (eal, cores) = start(options.workers)?;
    let pool = Pool::new(&eal, "bench", 8192, Pool::DATA_ROOM)?;
    for sessions in &options.sessions {
        let row = match options.wires {
            Wires::Arrays => {
                let ports = cores.iter().map(|_| Arrays::new(pool.clone())).collect();
                row(options, *sessions, &eal, &cores, &pool, ports)?
            }
            Wires::Rings => {
                let (_ports, queues) = rings::open(&eal, &pool, options.workers)?;
                row(options, *sessions, &eal, &cores, &pool, queues)?
            }
        };
        each(&row)?;
    }
    Ok(())
}

/// Starts DPDK for so many workers; gives their cores.
pub(super) fn start(workers: usize) -> Result<(Eal, Vec<usize>), Failure> {
    let allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|c| c.id).collect();
    if workers == 0 || workers > allowed.len() {
        return Err(format!("this machine has {} cores to measure on", allowed.len()).into());
    }
    // The manager's core comes first; it does nothing here but wait.
    let cores: Vec<usize> = allowed.iter().rev().take(workers).copied().collect();
    let config = EalConfig { manager_core: allowed[0], worker_cores: cores.clone(), ..EalConfig::default() };
    Ok((Eal::start(&config)?, cores))
}

/// One row: all workers side by side.
fn row<P: Bed + Send + 'static>(
    o: &NatOptions,
    sessions: u32,
    eal: &Eal,
    cores: &[usize],
    pool: &Pool,
    ports: Vec<P>,
) -> Result<Row, Failure> {
    let barrier = Arc::new(Barrier::new(o.workers));
    let mut threads = Vec::new();
    for ((w, hand_over), ports) in hand_overs::<Mbuf>(o.workers).into_iter().enumerate().zip(ports) {
        let (o, core, eal, barrier) = (o.clone(), cores[w], eal.share(), barrier.clone());
        let writer = Writer::new(pool.clone(), o.frames);
        let place =
            Place { id: WorkerId(w as u8), workers: o.workers, sessions, ..Place::of(rand::random()) };
        threads.push(std::thread::spawn(move || -> Result<Measured, Failure> {
            let _registered = eal.register_worker(core)?;
            measure(
                Lane::new(
                    &place,
                    hand_over,
                    Clock::Machine(crate::worker::Clock::new(tsc_hz(&eal), tsc())),
                    (ports, writer),
                )?,
                &o,
                &barrier,
            )
        }));
    }
    let mut row = Row::new(o, sessions, tsc_hz(eal))?;
    for thread in threads {
        row.add(&thread.join().map_err(|_| "a worker has panicked")??)?;
    }
    Ok(row)
}

/// What one worker has measured.
pub(super) struct Measured {
    pub(super) path: Tally,
    pub(super) reference: Option<Tally>,
    pub(super) setup: Tally,
    pub(super) packets: u64,
    pub(super) bytes: usize,
}

/// Sets up, waits for the others, measures, waits again: no worker is measured without its neighbours. One that fails
/// keeps the others waiting no longer than one that does not.
fn measure<P: Bed>(mut lane: Lane<P>, o: &NatOptions, barrier: &Barrier) -> Result<Measured, Failure> {
    let ready = lane.set_up(o.burst).and_then(|setup| {
        let yardstick = if o.compare { Some(Yardstick::new(&lane, o)?) } else { None };
        Ok((setup, yardstick))
    });
    barrier.wait();
    let measured = ready.and_then(|(setup, yardstick)| run(&mut lane, o, setup, yardstick));
    barrier.wait();
    measured
}

fn run<P: Bed>(
    lane: &mut Lane<P>,
    o: &NatOptions,
    setup: Tally,
    mut yardstick: Option<Yardstick>,
) -> Result<Measured, Failure> {
    let mut walk = Walk::new(lane.flows.len(), o.order, o.direction);
    let mut path = Tally::new(o.burst)?;
    let bursts = o.packets.div_ceil(o.burst as u64);
    // A round to warm up, not counted.
    let warm = (walk.len().div_ceil(o.burst) as u64).min(bursts / 4).max(SETTLE);
    for at in 0..warm {
        lane.step(&mut walk, o.burst)?;
        if let Some(yardstick) = yardstick.as_mut() {
            yardstick.step(lane, at < warm)?;
        }
    }
    let mut counted = 0;
    while counted < bursts {
        for at in 0..SLICE.min(bursts - counted + SETTLE) {
            let cycles = lane.step(&mut walk, o.burst)?;
            if at >= SETTLE {
                path.record(cycles)?;
                counted += 1;
            }
        }
        if let Some(yardstick) = yardstick.as_mut() {
            for at in 0..SLICE.min(bursts - yardstick.counted + SETTLE) {
                yardstick.step(lane, at < SETTLE)?;
            }
        }
    }
    let bytes = lane.lcore.router.nat.bytes();
    let packets = counted * o.burst as u64;
    let reference = yardstick.map(|y| y.tally);
    Ok(Measured { path, reference, setup, packets, bytes })
}

/// The reference loop with the sessions of a lane, on a walk of its own along the same way.
struct Yardstick {
    reference: Reference,
    walk: Walk,
    burst: usize,
    tally: Tally,
    counted: u64,
}

impl Yardstick {
    fn new<P: Bed>(lane: &Lane<P>, o: &NatOptions) -> Result<Yardstick, Failure> {
        let mut reference = Reference::new(lane.flows.len());
        for flow in &lane.flows {
            if !reference.add(&flow.entry()) {
                return Err("the reference loop has no room".into());
            }
        }
        let walk = Walk::new(lane.flows.len(), o.order, o.direction);
        Ok(Yardstick { reference, walk, burst: o.burst, tally: Tally::new(o.burst)?, counted: 0 })
    }

    fn step<P: Bed>(&mut self, lane: &mut Lane<P>, settling: bool) -> Result<(), Failure> {
        let mut which = ArrayVec::new();
        let from = self.walk.next(self.burst, &mut which);
        let mut burst = lane.writer.burst(from, &lane.flows, &which).ok_or("the pool of mbufs is empty")?;
        let start = tsc();
        let known = self.reference.burst(&mut burst);
        let cycles = tsc().wrapping_sub(start);
        if known != which.len() {
            return Err(format!("the reference loop knew {known} of {} packets", which.len()).into());
        }
        lane.writer.recycle(burst);
        if !settling {
            self.tally.record(cycles)?;
            self.counted += 1;
        }
        Ok(())
    }
}
