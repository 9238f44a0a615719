//! `turnout bench stalls`: the longest turn of a worker while something else than packets is to be done, at a full table.
//!
//! A turn is the time that a burst waits at most behind the one before. All of it runs on a clock of its own, with the
//! same secret: a round is the round before, turn for turn. Of each turn the shortest time over the rounds counts: what
//! the kernel, another process or the hypervisor took is not in all of them, what the path does itself is.

use std::sync::Arc;

use arrayvec::ArrayVec;
use rtrb::RingBuffer;
use serde_json::{Value, json};

use super::Failure;
use super::lane::{Clock, Lane, Place, UDP_TIMEOUT};
use super::nat::{Direction, Order, start};
use super::row::grouped;
use super::tally::tenths;
use super::traffic::{Arrays, Frames, LAN, Walk, Writer};
use crate::base::{Generation, IfaceId, Nanos, WanId};
use crate::dpdk::{Eal, Pool, tsc_hz};
use crate::engine::{BURST, SessionRow, ToManager, ToWorker, hand_overs};
use crate::nat::Choice;
use crate::packet::Stat;
use crate::path::View;

/// Turns of what has no end of its own.
const TURNS: usize = 20_000;
/// A reload comes every so many turns.
const RELOAD: usize = 64;
/// Rows in flight of a listing.
const ROWS: usize = 4096;
/// The time of a turn.
const TURN: Nanos = Nanos::from_us(10);
/// During the expiry so many slots become due each turn, more than a turn ever sweeps (`nat::sweep`).
const DUE: u64 = 1024;
/// The sweep's period.
const PERIOD: Nanos = Nanos::from_s(8);
/// The WAN that is failed over to.
const BACKUP: IfaceId = IfaceId(2);

/// What was measured of one thing that happens.
#[derive(Debug)]
pub struct Stall {
    name: &'static str,
    /// Cycles of each turn, the least of all rounds; in order of size once all rounds are in.
    turns: Vec<u64>,
    /// The longest turn of all rounds, whoever was to blame
    seen: u64,
    tsc_hz: u64,
}

impl Stall {
    fn us(&self, cycles: u64) -> f64 {
        tenths(cycles as f64 * 1e6 / self.tsc_hz as f64)
    }

    fn at(&self, quantile: f64) -> f64 {
        let at = (self.turns.len() as f64 * quantile) as usize;
        self.us(self.turns.get(at.min(self.turns.len().saturating_sub(1))).copied().unwrap_or(0))
    }

    /// As JSON, one object.
    pub fn json(&self) -> Value {
        json!({
            "while": self.name,
            "turns": self.turns.len(),
            "turn_us": { "p50": self.at(0.5), "p999": self.at(0.999), "max": self.at(1.0) },
            "interrupted_max_us": self.us(self.seen),
            "tsc_hz": self.tsc_hz,
        })
    }

    /// What stands above the lines, in 80 columns.
    pub fn head(sessions: u64, rounds: u64) -> String {
        let sessions = grouped(sessions);
        format!(
            "{sessions} sessions in a full table; turns of 32 packets in us, of {rounds} rounds\n\n\
             {:<26} {:>9} {:>9} {:>9} {:>9} {:>12}\n",
            "while", "turns", "p50", "p99.9", "longest", "interrupted"
        )
    }

    /// As a line of the table.
    pub fn line(&self) -> String {
        let (turns, p50, p999, max) =
            (grouped(self.turns.len() as u64), self.at(0.5), self.at(0.999), self.at(1.0));
        let seen = self.us(self.seen);
        format!("{:<26} {turns:>9} {p50:>9.1} {p999:>9.1} {max:>9.1} {seen:>12.1}\n", self.name)
    }

    /// The same again: of each turn the shorter time stays.
    fn again(&mut self, other: &Stall) {
        self.turns.truncate(other.turns.len());
        for (least, turn) in self.turns.iter_mut().zip(&other.turns) {
            *least = (*least).min(*turn);
        }
        self.seen = self.seen.max(other.seen);
    }
}

/// Measures, at a table that so many sessions fill, so many rounds.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn stalls(sessions: u32, rounds: usize) -> Result<Vec<Stall>, Failure> {
    let (eal, cores) = start(1)?;
    let pool = Pool::new(&eal, "bench", 8192, Pool::DATA_ROOM)?;
    let mut all: Vec<Stall> = Vec::new();
    for _ in 0..rounds.max(1) {
        let (eal, pool, core) = (eal.share(), pool.clone(), cores[0]);
        let round = std::thread::spawn(move || -> Result<Vec<Stall>, Failure> {
            let _registered = eal.register_worker(core)?;
            round(&eal, &pool, sessions)
        });
        let round = round.join().map_err(|_| "the worker has panicked")??;
        match all.as_mut_slice() {
            [] => all = round,
            known => known.iter_mut().zip(&round).for_each(|(known, again)| known.again(again)),
        }
    }
    all.iter_mut().for_each(|stall| stall.turns.sort_unstable());
    Ok(all)
}

fn round(eal: &Eal, pool: &Pool, sessions: u32) -> Result<Vec<Stall>, Failure> {
    let hand_over = hand_overs(1).pop().ok_or("no worker")?;
    let place = Place { sessions, wans: 2, ..Place::of(1) };
    let ends = (Arrays::new(pool.clone()), Writer::new(pool.clone(), Frames::Fixed(60)));
    let mut lane = Lane::new(&place, hand_over, Clock::Steps(Nanos::from_s(1000), TURN), ends)?;
    lane.set_up(BURST)?;
    let walk = Walk::new(lane.flows.len(), Order::Shuffled, Direction::Both);
    let mut site = Site { lane, walk, list: None, listed: 0, tsc_hz: tsc_hz(eal) };
    Ok(vec![site.rest()?, site.listing()?, site.reload()?, site.flood()?, site.failover()?, site.expiry()?])
}

/// A full table, and its manager's end.
struct Site {
    lane: Lane<Arrays>,
    walk: Walk,
    list: Option<rtrb::Consumer<SessionRow>>,
    /// Rows so far
    listed: usize,
    tsc_hz: u64,
}

impl Site {
    fn stall(&self, name: &'static str, turns: Vec<u64>) -> Stall {
        let seen = turns.iter().copied().max().unwrap_or(0);
        Stall { name, turns, seen, tsc_hz: self.tsc_hz }
    }

    /// One turn of the walk, every packet of which must come out; then what the management thread does.
    fn step(&mut self) -> Result<u64, Failure> {
        let cycles = self.lane.step(&mut self.walk, BURST)?;
        self.manage();
        Ok(cycles)
    }

    /// Takes what the worker says. True if a listing is complete.
    fn manage(&mut self) -> bool {
        if let Some(list) = self.list.as_mut() {
            let rows = list.slots();
            self.listed += list.read_chunk(rows).map_or(0, |chunk| chunk.into_iter().count());
        }
        let mut complete = false;
        while let Ok(message) = self.lane.manager.from_worker.pop() {
            complete |= matches!(message, ToManager::Listed(_));
        }
        complete
    }

    fn tell(&mut self, message: ToWorker) -> Result<(), Failure> {
        self.lane.manager.to_worker.push(message).map_err(|_| "the worker takes no message".into())
    }

    /// A view as the last one, with `change`.
    fn publish(&mut self, change: impl FnOnce(&mut View)) -> Result<(), Failure> {
        let mut view = self.lane.lcore.view().clone();
        view.generation = Generation(view.generation.0 + 1);
        change(&mut view);
        self.tell(ToWorker::View(Arc::new(view)))
    }

    fn rest(&mut self) -> Result<Stall, Failure> {
        let turns: Result<_, _> = (0..TURNS).map(|_| self.step()).collect();
        Ok(self.stall("nothing else happens", turns?))
    }

    fn listing(&mut self) -> Result<Stall, Failure> {
        let (rows, list) = RingBuffer::new(ROWS);
        self.list = Some(list);
        self.tell(ToWorker::List(rows))?;
        let (mut turns, mut complete) = (Vec::new(), false);
        while !complete {
            turns.push(self.lane.step(&mut self.walk, BURST)?);
            complete = self.manage();
        }
        self.manage();
        self.list = None;
        if self.listed != self.lane.flows.len() {
            return Err(format!("{} of {} sessions were listed", self.listed, self.lane.flows.len()).into());
        }
        Ok(self.stall("all sessions are listed", turns))
    }

    fn reload(&mut self) -> Result<Stall, Failure> {
        let mut turns = Vec::new();
        for at in 0..TURNS {
            if at % RELOAD == 0 {
                self.publish(|_| ())?;
            }
            turns.push(self.step()?);
        }
        Ok(self.stall("the profile is reloaded", turns))
    }

    /// SYNs from ever new inside endpoints, for which there is no room.
    fn flood(&mut self) -> Result<Stall, Failure> {
        let (mut turns, live) = (Vec::new(), self.lane.lcore.router.nat.live());
        for at in (0..TURNS as u32 * BURST as u32).step_by(BURST) {
            let packets = (at..at + BURST as u32).map(|n| {
                let host = 0x0a80_0000 + n / 50_000;
                self.lane.writer.syn(host.into(), 10_000 + (n % 50_000) as u16)
            });
            let burst: Option<ArrayVec<_, BURST>> = packets.collect();
            turns.push(self.lane.turn(burst.ok_or("the pool of mbufs is empty")?, LAN)?);
            self.lane.recycle();
            self.manage();
        }
        if self.lane.lcore.router.nat.live() != live {
            return Err("the table was not full".into());
        }
        Ok(self.stall("SYNs flood the full table", turns))
    }

    /// The first WAN is lost; each session moves with its next packet from inside, in a whole round of them.
    fn failover(&mut self) -> Result<Stall, Failure> {
        self.publish(|view| {
            let group = &mut view.uplinks.groups[0];
            group.bonds[0].epoch += 1;
            group.bonds[0].tcp += 1;
            group.choice = Choice::One(WanId(1));
            view.uplinks.wans[0].fit = false;
        })?;
        // It is taken at the end of a turn.
        let empty = self.lane.turn(ArrayVec::new(), LAN)?;
        let flows = self.lane.flows.len();
        let mut walk = Walk::new(flows, Order::Shuffled, Direction::Up);
        let mut turns = vec![empty];
        for _ in 0..flows.div_ceil(BURST) {
            let mut which = ArrayVec::new();
            walk.next(BURST, &mut which);
            turns.push(self.lane.open(&which)?);
            self.manage();
        }
        let moved = self.lane.lcore.router.counters.get(Stat::SessionsMoved);
        if moved != flows as u64 {
            return Err(format!("{moved} of {flows} sessions have moved").into());
        }
        Ok(self.stall("a failover moves them all", turns))
    }

    /// The time jumps past all timers; packets from outside go on coming, to sessions that are no more.
    fn expiry(&mut self) -> Result<Stall, Failure> {
        if let Clock::Steps(at, step) = &mut self.lane.clock {
            let due = Nanos(PERIOD.0 * DUE / self.lane.flows.len() as u64);
            (*at, *step) = (*at + UDP_TIMEOUT + Nanos::from_s(1), due);
        }
        let mut turns = Vec::new();
        while self.lane.lcore.router.nat.live() > 0 {
            let mut which = ArrayVec::new();
            self.walk.next(BURST, &mut which);
            let burst = self.lane.writer.burst(BACKUP, &self.lane.flows, &which);
            turns.push(self.lane.turn(burst.ok_or("the pool of mbufs is empty")?, BACKUP)?);
            self.lane.recycle();
            self.manage();
            if turns.len() > self.lane.flows.len() + TURNS {
                return Err("the sessions do not expire".into());
            }
        }
        Ok(self.stall("all of them expire", turns))
    }
}
