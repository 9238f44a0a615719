//! Two members with the same profile, of which one copies the other's flows: the test plays both management threads' part, or lets their own code
//! (`manage::copying`) speak over a line that loses, doubles and reorders.

use std::collections::{BTreeMap, VecDeque};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use rtrb::RingBuffer;
use turnout::base::{Nanos, WorkerId};
use turnout::cluster;
use turnout::cluster::sync::SyncState;
use turnout::engine::copies::{Change, CopyEnd, CopyRings, Order};
use turnout::engine::steer::Steer;
use turnout::manage::copying::Copying;
use turnout::manage::views;
use turnout::nat::session::{Kind, Origin};
use turnout::nat::tcp::TcpState;
use turnout::nat::{Nat, NatConfig};
use turnout::packet::Stat;
use turnout::profile;
use turnout::sim::Site;
use turnout::sim::bulk::{Bulk, Every};
use turnout::sim::frames::End;
use turnout::wire::record::{Entry, Record};

/// Protocol, inside and remote endpoint, and how it is carried.
pub type Flow = (u8, End, End, u8);
/// Outside endpoint, WAN, TCP's timer (`TcpState::timer`), whether outside began.
pub type Place = (End, u8, u8, bool);

/// A site that can be a member, with room for so many changes in its rings.
fn member(text: &str, workers: usize, room: usize) -> (Site, Vec<CopyRings>) {
    let mut site = Site::new(text, workers).unwrap();
    let read = profile::load(text, "sim.yaml").unwrap();
    let steer = Steer::new(workers);
    let mut rings = Vec::new();
    for (w, lcore) in site.lcores().iter_mut().enumerate() {
        let config = NatConfig { paired: true, ..views::nat_config(&read, workers, 7 + w as u64) };
        let id = WorkerId(w as u8);
        lcore.router.nat = Nat::new(&config, &|port: u16| steer.port(port) == id);
        let (to_manager, changes) = RingBuffer::new(room);
        let (orders, from_manager) = RingBuffer::new(4096);
        lcore.set_copies(CopyEnd { changes: to_manager, orders: from_manager });
        rings.push(CopyRings { changes, orders });
    }
    for host in [12, 13] {
        site.add_host("lan", std::net::Ipv4Addr::new(192, 168, 10, host));
    }
    (site, rings)
}

/// Both ends of the log, and a bad line between them.
struct Line {
    ends: [Copying; 2],
    /// When it arrives, for whom
    frames: Vec<(Nanos, usize, Vec<u8>)>,
    dice: SmallRng,
    /// Lost frames of a thousand
    loss: u32,
}

impl Line {
    fn new(workers: usize, seed: u64, now: Nanos) -> Line {
        let key = cluster::Key::new(b"the key of both members").unwrap();
        let mut ends = [1, 2].map(|boot| Copying::new(key.clone(), boot, workers));
        ends[0].take(now);
        let mut dice = SmallRng::seed_from_u64(seed);
        let loss = dice.random_range(20..400);
        Line { ends, frames: Vec::new(), dice, loss }
    }

    fn step(&mut self, now: Nanos, rings: [&mut Vec<CopyRings>; 2], steer: &Steer) {
        for (at, rings) in rings.into_iter().enumerate() {
            let mut rings: Vec<&mut CopyRings> = rings.iter_mut().collect();
            let mut sent = Vec::new();
            let owner = |key: &turnout::wire::record::Key| steer.record(key);
            self.ends[at].step(now, &mut rings, &owner, &mut |frame| sent.push(frame));
            for frame in sent {
                for _ in 0..1 + u32::from(self.loss > 0 && self.dice.random_range(0..8) == 0) {
                    if self.dice.random_range(0..1000) >= self.loss {
                        let due = now + Nanos(self.dice.random_range(0..20_000_000));
                        self.frames.push((due, 1 - at, frame.clone()));
                    }
                }
            }
        }
        while let Some(at) = self.frames.iter().position(|(due, ..)| *due <= now) {
            let (_, to, frame) = self.frames.swap_remove(at);
            self.ends[to].hear(&frame);
        }
    }

    fn is_over(&self) -> bool {
        let [log, copy] = self.ends.each_ref().map(Copying::status);
        (log.state, copy.state) == (SyncState::Following, SyncState::Whole) && log.behind + copy.behind == 0
    }
}

/// The pair: `a` has the role, `b` copies.
pub struct Pair {
    pub a: Bulk,
    pub b: Bulk,
    from: Vec<CopyRings>,
    to: Vec<CopyRings>,
    queues: Vec<VecDeque<Order>>,
    steer: Steer,
    line: Option<Line>,
    /// Runs that were begun.
    pub runs: u32,
    walked: usize,
    /// Records that were told.
    pub told: Vec<Record>,
}

impl Pair {
    pub fn new(text: &str, workers: usize, room: usize) -> Pair {
        let mut pair = Pair::silent(text, workers, room);
        pair.begin();
        pair
    }

    /// Their logs speak, over a line of which the seed decides.
    pub fn over_a_bad_line(text: &str, workers: usize, room: usize, seed: u64) -> Pair {
        let mut pair = Pair::silent(text, workers, room);
        let now = pair.a.site().now();
        pair.line = Some(Line::new(workers, seed, now));
        pair
    }

    fn silent(text: &str, workers: usize, room: usize) -> Pair {
        let ((a, from), (mut b, to)) = (member(text, workers, room), member(text, workers, 64));
        b.edit_view(|view| view.standby = true);
        Pair {
            a: Bulk::new(a, Every::SOME),
            b: Bulk::new(b, Every::SOME),
            from,
            to,
            queues: vec![VecDeque::new(); workers],
            steer: Steer::new(workers),
            line: None,
            runs: 0,
            walked: 0,
            told: Vec::new(),
        }
    }

    /// The copy begins anew.
    pub fn begin(&mut self) {
        (self.runs, self.walked) = (self.runs + 1, 0);
        for worker in &mut self.from {
            worker.orders.push(Order::Tell(self.runs)).unwrap();
        }
        self.queues.iter_mut().for_each(|queue| queue.push_back(Order::Begin));
    }

    /// What `a` has told goes to `b`, and both have a turn.
    pub fn pump(&mut self) {
        if let Some(line) = &mut self.line {
            line.step(self.a.site().now(), [&mut self.from, &mut self.to], &self.steer);
            return self.pass(Nanos::from_ms(1));
        }
        let mut anew = false;
        for worker in 0..self.from.len() {
            while let Ok(change) = self.from[worker].changes.pop() {
                match change {
                    Change::Record(record) => {
                        self.told.push(record);
                        let to = self.steer.record(&record.key()).index();
                        self.queues[to].push_back(Order::Record(record));
                    }
                    Change::Walked(run) if run == self.runs => {
                        self.walked += 1;
                        if self.walked == self.from.len() {
                            self.queues.iter_mut().for_each(|queue| queue.push_back(Order::Whole));
                        }
                    }
                    Change::Walked(_) => {}
                    Change::Lost => anew = true,
                }
            }
        }
        if anew {
            self.begin();
        }
        self.feed();
        self.pass(Nanos::from_us(50));
    }

    fn feed(&mut self) {
        for (queue, worker) in self.queues.iter_mut().zip(&mut self.to) {
            while worker.orders.slots() > 0
                && let Some(order) = queue.pop_front()
            {
                worker.orders.push(order).unwrap();
            }
        }
    }

    /// `b` is told this, whatever `a` says.
    pub fn tell(&mut self, record: Record) {
        let to = self.steer.record(&record.key()).index();
        self.queues[to].push_back(Order::Record(record));
        self.feed();
        self.b.pass(Nanos::from_us(50));
    }

    /// `a` gives up the role: what its worker tells last goes to `b`.
    pub fn give_up(&mut self) {
        for worker in &mut self.from {
            worker.orders.push(Order::Rest).unwrap();
        }
        (0..200).for_each(|_| self.pump());
    }

    /// Time passes at both.
    pub fn pass(&mut self, span: Nanos) {
        self.a.pass(span);
        self.b.pass(span);
    }

    /// Until nothing is under way, and what no run has named has ended, some at a time.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        let loss = self.line.as_mut().map(|line| std::mem::take(&mut line.loss));
        for _ in 0..8000 {
            self.pump();
            let heard = self.line.as_ref().is_none_or(Line::is_over);
            let over = heard
                && (self.line.is_some() || self.walked == self.from.len())
                && self.queues.iter().all(VecDeque::is_empty)
                && self.from.iter().all(|worker| worker.changes.is_empty());
            quiet = if over { quiet + 1 } else { 0 };
            if quiet > 64 {
                if let (Some(line), Some(loss)) = (&mut self.line, loss) {
                    line.loss = loss;
                }
                return self.audit();
            }
        }
        panic!("never in sync");
    }

    pub fn audit(&mut self) {
        for bulk in [&mut self.a, &mut self.b] {
            for lcore in bulk.site().lcores() {
                lcore.router.nat.audit().unwrap();
            }
            assert_eq!(bulk.faults(), &[] as &[String]);
        }
    }

    /// `b` takes over: `a` is heard no more.
    pub fn take_over(&mut self) {
        self.b.site().edit_view(|view| view.standby = false);
    }

    pub fn counted(&mut self, stat: Stat) -> [u64; 2] {
        [&mut self.a, &mut self.b].map(|bulk| bulk.site().counters().get(stat))
    }
}

/// Flows in which inside has spoken, as a site lists them; of TCP those that are more than a SYN.
pub fn flows(bulk: &mut Bulk) -> BTreeMap<Flow, Place> {
    let now = bulk.site().now();
    let mut all = BTreeMap::new();
    for lcore in bulk.site().lcores() {
        lcore.router.nat.list(0, u32::MAX, now, |session, root| {
            let tcp = session.protocol() == 6;
            let half_open = tcp && session.state == TcpState::SynOut as u8;
            if root.origin != Origin::Stranger && !half_open {
                let state = if tcp { TcpState::from_u8(session.state).timer() } else { 0 };
                let flow = (session.protocol(), session.inside(), session.remote(), root.kind as u8);
                let place = (session.outside(), session.wan().0, state, root.origin == Origin::Answered);
                assert!(all.insert(flow, place).is_none(), "{flow:?} is there twice");
            }
        });
    }
    all
}

/// The record of a flow by a mapping.
pub fn entry(protocol: u8, inside: End, outside: End, remote: End) -> Entry {
    let key = turnout::wire::record::Key::Flow { protocol, inside, remote };
    Entry { outside, kind: Kind::Masquerade as u8, state: 2, ..Entry::new(key) }
}
