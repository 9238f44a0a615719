//! `turnout bench failover`: from the decision to leave a WAN to the last packet by it and the first by the other one.
//!
//! A manager's thread decides at a moment that the worker cannot know, makes the view and publishes it by the real ring. A worker
//! on a core of its own turns without a pause, in bursts of 32, over packets of all its sessions and one of a new flow in each burst.
//! All stamps are of the cycle counter: the decision before the view is made, a packet where a driver would be called. Before
//! the next decision every session has moved and has had its packet: each round begins with established flows. A round in
//! which the kernel took the core away from one of the two is done once more, and counted. Of what RFC 6414 calls
//! failover time this is the part after detection; `bench/detection.sh` has the other one.

mod exits;
mod row;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use arrayvec::ArrayVec;
use nix::sys::resource::{UsageWho, getrusage};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

pub use row::FailoverRow;

use self::exits::Exits;
use super::Failure;
use super::lane::{Clock, Lane, Place};
use super::nat::{Direction, Order, start};
use super::traffic::{Frames, LAN, Walk, Writer, fresh};
use crate::base::{Generation, IfaceId, Nanos, WanId};
use crate::dpdk::{Eal, Mbuf, Pool, tsc, tsc_hz};
use crate::engine::{BURST, HandOver, ManagerEnd, ToManager, ToWorker, connect, hand_overs};
use crate::nat::Choice;
use crate::path::View;
use crate::table::ports::Quarantine;
use crate::worker::{self, now};

/// New flows that a measurement may open beside its sessions; they stay.
const FRESH: u32 = 65_536;
/// In a round, at most: a manager that comes later than that was interrupted.
const FRESH_EACH: u32 = 128;
/// The decision comes so many us after the worker is ready, at random.
const WAIT_US: std::ops::Range<u64> = 20..100;
/// Turns before a round, at least.
const SETTLE: usize = 64;
/// Ports of an address that rest at most: sessions go to and fro, faster than any line fails.
const RESTING: u32 = 8192;
/// Who hears nothing of the other for so long gives up.
const PATIENCE: Nanos = Nanos::from_s(10);
/// So many times as many rounds are tried as are wanted.
const TRIES: u64 = 20;

/// What the two threads see of each other.
#[derive(Default)]
struct Between {
    /// The round for which the worker is ready
    ready: AtomicU64,
    /// The round that is decided; the stamps are there
    decided: AtomicU64,
    /// When it was decided, and when the view was in the ring; cycles
    stamps: [AtomicU64; 2],
    /// The manager was interrupted in between
    broken: AtomicBool,
    /// One of the two has ended
    ended: AtomicBool,
}

/// Measures with each of these numbers of sessions; `each` hears of a row when it is there.
///
/// # Errors
/// What is wrong and what to do, in one line; the first error of `each`.
pub fn failover(
    sessions: &[u32],
    rounds: u64,
    mut each: impl FnMut(&FailoverRow) -> Result<(), String>,
) -> Result<(), Failure> {
    let (eal, cores) = start(2)?;
    let [deciding, turning] = cores.as_slice() else { return Err("two cores are needed".into()) };
    let pool = Pool::new(&eal, "bench", 8192, Pool::DATA_ROOM)?;
    for sessions in sessions.iter().copied() {
        let between = Arc::new(Between::default());
        let (tell, hear) = channel();
        let hand_over = hand_overs::<Mbuf>(1).pop().ok_or("no worker")?;
        let (handle, shared, packets, core) = (eal.share(), between.clone(), pool.clone(), *turning);
        let turning = std::thread::spawn(move || -> Result<FailoverRow, Failure> {
            let _registered = handle.register_worker(core)?;
            let result = lane(sessions, hand_over, &handle, packets)
                .and_then(|lane| turns(lane, sessions, rounds, tsc_hz(&handle), &shared, &tell));
            shared.ended.store(true, Ordering::Release);
            result
        });
        let (handle, core, hz) = (eal.share(), *deciding, tsc_hz(&eal));
        let deciding = std::thread::spawn(move || -> Result<(), Failure> {
            let _registered = handle.register_worker(core)?;
            let result = decide(&between, &hear, hz);
            between.ended.store(true, Ordering::Release);
            result
        });
        let row = turning.join().map_err(|_| "the worker has panicked")?;
        deciding.join().map_err(|_| "the manager has panicked")??;
        each(&row?)?;
    }
    Ok(())
}

fn lane(sessions: u32, rings: HandOver<Mbuf>, eal: &Eal, pool: Pool) -> Result<Lane<Exits>, Failure> {
    let place = Place {
        sessions,
        spare: FRESH,
        wans: 2,
        quarantine: Quarantine { most: RESTING, ..Quarantine::default() },
        ..Place::of(rand::random())
    };
    let clock = Clock::Machine(worker::Clock::new(tsc_hz(eal), tsc()));
    let writer = Writer::new(pool.clone(), Frames::Fixed(60));
    Lane::new(&place, rings, clock, (Exits::new(pool), writer))
}

/// How often the kernel took the calling thread's core away.
fn interruptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

/// The WAN that is left in a round, and the one that is taken.
fn wans(round: u64) -> [WanId; 2] {
    if round % 2 == 1 { [WanId(0), WanId(1)] } else { [WanId(1), WanId(0)] }
}

/// The manager's part: each time that the worker is ready it waits a little, and decides.
fn decide(between: &Between, hear: &Receiver<(ManagerEnd, View)>, hz: u64) -> Result<(), Failure> {
    // The worker says itself what is wrong.
    let Ok((mut end, mut view)) = hear.recv() else { return Ok(()) };
    let mut rng = StdRng::seed_from_u64(hz);
    for round in 1.. {
        while between.ready.load(Ordering::Acquire) < round {
            if between.ended.load(Ordering::Acquire) {
                return Ok(());
            }
            drain(&mut end);
            std::hint::spin_loop();
        }
        let until = tsc() + rng.random_range(WAIT_US) * hz / 1_000_000;
        while tsc() < until {
            std::hint::spin_loop();
        }
        let before = interruptions();
        let decided = tsc();
        leave(&mut view, wans(round));
        let sent = end.to_worker.push(ToWorker::View(Arc::new(view.clone())));
        let published = tsc();
        sent.map_err(|_| "the worker takes no message")?;
        for (stamp, cycles) in between.stamps.iter().zip([decided, published]) {
            stamp.store(cycles, Ordering::Relaxed);
        }
        between.broken.store(interruptions() != before, Ordering::Relaxed);
        between.decided.store(round, Ordering::Release);
    }
    Ok(())
}

/// What a failover changes in a view, all of it.
fn leave(view: &mut View, [from, to]: [WanId; 2]) {
    view.generation = Generation(view.generation.0 + 1);
    if let Some(group) = view.uplinks.groups.first_mut() {
        if let Some(bond) = group.bonds.get_mut(from.index()) {
            bond.epoch = bond.epoch.wrapping_add(1);
            bond.tcp = bond.tcp.wrapping_add(1);
        }
        group.choice = Choice::One(to);
    }
    for (wan, uplink) in view.uplinks.wans.iter_mut().enumerate() {
        uplink.fit = wan != from.index();
    }
}

/// Takes what the worker says, and ends the old views.
fn drain(end: &mut ManagerEnd) {
    while let Ok(message) = end.from_worker.pop() {
        drop::<ToManager>(message);
    }
}

/// The worker's part.
fn turns(
    mut lane: Lane<Exits>,
    sessions: u32,
    rounds: u64,
    hz: u64,
    between: &Between,
    tell: &Sender<(ManagerEnd, View)>,
) -> Result<FailoverRow, Failure> {
    lane.set_up(BURST)?;
    // The order is the flows' own then: sessions are met by chance, but what writes the packets finds the next flow in its cache.
    lane.flows.shuffle(&mut StdRng::seed_from_u64(1));
    // The other end of these rings stays unused.
    let (spare, _) = connect(1, 1, 0);
    let end = std::mem::replace(&mut lane.manager, spare);
    tell.send((end, lane.lcore.view().clone())).map_err(|_| "the manager is gone")?;
    let walk = Walk::new(lane.flows.len(), Order::Created, Direction::Up);
    let mut site = Site { lane, walk, opened: 0, row: FailoverRow::new(sessions, hz)? };
    let mut round = 0;
    site.settle(None)?;
    while site.row.rounds < rounds {
        round += 1;
        if round > rounds.saturating_mul(TRIES) {
            return Err("the machine is too busy: nearly every round was interrupted".into());
        }
        let decided = site.round(round, between)?;
        // Each session moves with its next packet; after a second one it is established.
        site.settle(Some(decided))?;
    }
    Ok(site.row)
}

/// A worker with its sessions.
struct Site {
    lane: Lane<Exits>,
    walk: Walk,
    /// New flows so far
    opened: u32,
    row: FailoverRow,
}

impl Site {
    /// One turn, all of whose packets must come out: gives its cycles.
    fn step(&mut self, fresh_one: bool) -> Result<u64, Failure> {
        let mut which = ArrayVec::new();
        self.walk.next(if fresh_one { BURST - 1 } else { BURST }, &mut which);
        let lane = &mut self.lane;
        let none = "the pool of mbufs is empty";
        let mut burst = lane.writer.burst(LAN, &lane.flows, &which).ok_or(none)?;
        if fresh_one {
            burst.push(lane.writer.packet(LAN, &fresh(self.opened)).ok_or(none)?);
            self.opened += 1;
        }
        let cycles = lane.turn(burst, LAN)?;
        if lane.sent.len() != BURST {
            let counters = &lane.lcore.router.counters;
            return Err(format!("{} of {BURST} packets came out: {counters:?}", lane.sent.len()).into());
        }
        lane.recycle();
        Ok(cycles)
    }

    /// One round; gives when it was decided.
    fn round(&mut self, round: u64, between: &Between) -> Result<u64, Failure> {
        let generation = self.lane.lcore.view().generation;
        let [old, new] = wans(round).map(|wan| IfaceId(wan.0 + 1));
        if self.opened + FRESH_EACH > FRESH {
            return Err("there is no room for more new flows; measure fewer rounds".into());
        }
        self.lane.ports.forget();
        let (before, began, mut calm) = (interruptions(), now(), ArrayVec::<u64, 64>::new());
        between.ready.store(round, Ordering::Release);
        let (last, mut late) = (self.opened + FRESH_EACH, false);
        while self.lane.ports.left(new).fresh.is_none()
            && !(late && self.lane.ports.left(new).first.is_some())
        {
            late |= self.opened == last;
            let cycles = self.step(!late)?;
            if self.lane.lcore.view().generation == generation {
                let _ = calm.try_push(cycles);
            }
            let ended = between.ended.load(Ordering::Relaxed);
            if ended || now().since(began) >= PATIENCE {
                return Err("the manager decides nothing".into());
            }
        }
        // In the ring is only what was stamped before, but the stamps may come a moment later.
        while between.decided.load(Ordering::Acquire) < round {
            std::hint::spin_loop();
        }
        let [decided, published] = [0, 1].map(|at: usize| between.stamps[at].load(Ordering::Relaxed));
        if late || interruptions() != before || between.broken.load(Ordering::Relaxed) {
            self.row.interrupted += 1;
            return Ok(decided);
        }
        let ([old, new], row) = ([old, new].map(|wan| self.lane.ports.left(wan)), &mut self.row);
        let since = |stamp: Option<u64>| stamp.map_or(0, |stamp| stamp.saturating_sub(decided));
        row.published.add(published.saturating_sub(decided))?;
        row.last.add(since(old.last))?;
        row.first.add(since(new.first))?;
        row.fresh.add(since(new.fresh))?;
        calm.iter().try_for_each(|cycles| row.calm.add(*cycles))?;
        row.rounds += 1;
        Ok(decided)
    }

    /// Every session has a packet; after a decision they move with it.
    fn settle(&mut self, decided: Option<u64>) -> Result<(), Failure> {
        let moving = self.walk.len().div_ceil(BURST);
        for at in 0..moving.max(SETTLE) {
            let cycles = self.step(false)?;
            if let Some(decided) = decided.filter(|_| at < moving) {
                self.row.moving.add(cycles)?;
                if at + 1 == moving {
                    self.row.moved.add(tsc().saturating_sub(decided))?;
                }
            }
        }
        Ok(())
    }
}
