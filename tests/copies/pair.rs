//! Two members with the same profile, of which one copies the other's flows: the test plays both management threads' part.

use std::collections::{BTreeMap, VecDeque};

use rtrb::RingBuffer;
use turnout::base::{Nanos, WorkerId};
use turnout::engine::copies::{Change, CopyEnd, CopyRings, Order};
use turnout::engine::steer::Steer;
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

/// The pair: `a` has the role, `b` copies.
pub struct Pair {
    pub a: Bulk,
    pub b: Bulk,
    from: Vec<CopyRings>,
    to: Vec<CopyRings>,
    queues: Vec<VecDeque<Order>>,
    steer: Steer,
    /// Runs that were begun.
    pub runs: u32,
    walked: usize,
    /// Records that were told.
    pub told: Vec<Record>,
}

impl Pair {
    pub fn new(text: &str, workers: usize, room: usize) -> Pair {
        let ((a, from), (mut b, to)) = (member(text, workers, room), member(text, workers, 64));
        b.edit_view(|view| view.standby = true);
        let mut pair = Pair {
            a: Bulk::new(a, Every::SOME),
            b: Bulk::new(b, Every::SOME),
            from,
            to,
            queues: vec![VecDeque::new(); workers],
            steer: Steer::new(workers),
            runs: 0,
            walked: 0,
            told: Vec::new(),
        };
        pair.begin();
        pair
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
        for _ in 0..4000 {
            self.pump();
            let over = self.walked == self.from.len()
                && self.queues.iter().all(VecDeque::is_empty)
                && self.from.iter().all(|worker| worker.changes.is_empty());
            quiet = if over { quiet + 1 } else { 0 };
            if quiet > 64 {
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
