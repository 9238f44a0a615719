//! Two members with workers that are plain maps, over a line that loses, reorders and doubles.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rtrb::RingBuffer;

use super::*;
use crate::base::WanId;
use crate::cluster::sync::SyncState;
use crate::engine::copies::CopyEnd;
use crate::wire::protocol::{TCP, UDP};
use crate::wire::record::{Entry, Record};

pub(super) fn key() -> cluster::Key {
    cluster::Key::new(b"a key of both members").unwrap()
}

pub(super) fn owner(workers: usize) -> impl Fn(&Key) -> WorkerId {
    move |key| WorkerId((usize::from(key.inside().0.octets()[3]) % workers) as u8)
}

/// A worker: a table, and what of it is to be told.
pub(super) struct Fake {
    pub(super) end: CopyEnd,
    /// With the run in which the partner told of it last
    pub(super) table: BTreeMap<Key, (Entry, u32)>,
    pub(super) begun: u32,
    pub(super) telling: bool,
    lost: bool,
    walk: Option<(u32, Vec<Key>)>,
}

impl Fake {
    pub(super) fn tell(&mut self, record: Record) {
        if self.telling {
            self.lost |= self.end.changes.push(Change::Record(record)).is_err();
        }
    }

    pub(super) fn set(&mut self, entry: Entry) {
        self.table.insert(entry.key, (entry, self.begun));
        self.tell(Record::Is(entry));
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if self.table.remove(key).is_some() {
            self.tell(Record::Ended(*key));
        }
    }

    pub(super) fn turn(&mut self) {
        for _ in 0..64 {
            match self.end.orders.pop() {
                Ok(Order::Tell(run)) => {
                    (self.telling, self.lost) = (true, false);
                    self.walk = Some((run, self.table.keys().copied().collect()));
                }
                Ok(Order::Rest) => (self.telling, self.lost, self.walk) = (false, false, None),
                Ok(Order::Begin) => self.begun += 1,
                Ok(Order::Record(Record::Is(entry))) => self.set(entry),
                Ok(Order::Record(Record::Ended(key))) => self.remove(&key),
                Ok(Order::Whole) => self.table.retain(|_, (_, begun)| *begun == self.begun),
                Err(_) => break,
            }
        }
        if self.lost && self.end.changes.push(Change::Lost).is_ok() {
            self.lost = false;
        }
        let half = self.end.changes.buffer().capacity() / 2;
        while let Some((run, left)) = self.walk.as_mut().filter(|_| self.end.changes.slots() > half) {
            let change = match left.pop() {
                None => Change::Walked(*run),
                Some(key) => match self.table.get(&key) {
                    Some((entry, _)) => Change::Record(Record::Is(*entry)),
                    None => continue,
                },
            };
            if matches!(change, Change::Walked(_)) {
                self.walk = None;
            }
            self.end.changes.push(change).unwrap();
        }
    }
}

pub(super) struct Member {
    pub(super) copying: Copying,
    pub(super) workers: Vec<Fake>,
    pub(super) rings: Vec<CopyRings>,
    /// It is down.
    pub(super) down: bool,
    boot: u64,
}

impl Member {
    pub(super) fn new(boot: u64, workers: usize, changes: usize, orders: usize) -> Member {
        let (mut fakes, mut rings) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (to, from) = (RingBuffer::new(changes), RingBuffer::new(orders));
            rings.push(CopyRings { changes: to.1, orders: from.0 });
            let end = CopyEnd { changes: to.0, orders: from.1 };
            let table = BTreeMap::new();
            fakes.push(Fake { end, table, begun: 0, telling: false, lost: false, walk: None });
        }
        Member { copying: Copying::new(key(), boot, workers), workers: fakes, rings, down: false, boot }
    }

    pub(super) fn table(&self) -> BTreeMap<Key, Entry> {
        let all = self.workers.iter().flat_map(|worker| &worker.table);
        all.map(|(key, (entry, _))| (*key, *entry)).collect()
    }

    pub(super) fn worker(&mut self, key: &Key) -> &mut Fake {
        let its = owner(self.workers.len())(key).index();
        &mut self.workers[its]
    }
}

pub(super) struct Rig {
    pub(super) rng: SmallRng,
    seed: u64,
    pub(super) now: Nanos,
    pub(super) members: [Member; 2],
    pub(super) active: usize,
    /// To each member, with when they arrive.
    pipes: [Vec<(Nanos, Vec<u8>)>; 2],
    /// Of a thousand.
    pub(super) loss: u32,
    /// The most bytes that ever waited.
    pub(super) most: usize,
    /// To each member, the last frame of a log.
    pub(super) last: [Vec<u8>; 2],
}

impl Rig {
    pub(super) fn new(seed: u64, changes: usize, orders: usize) -> Rig {
        let mut rng = SmallRng::seed_from_u64(seed);
        let workers = [rng.random_range(1..4), rng.random_range(1..4)];
        let mut members = workers.map(|workers| Member::new(7, workers, changes, orders));
        members[0].copying.take(Nanos::from_s(1));
        let now = Nanos::from_s(1);
        Rig {
            rng,
            seed,
            now,
            members,
            active: 0,
            pipes: [Vec::new(), Vec::new()],
            loss: 0,
            most: 0,
            last: Default::default(),
        }
    }

    pub(super) fn flow(host: u8, port: u16, protocol: u8) -> Key {
        let (inside, remote) = ((Ipv4Addr::new(10, 0, 0, host), port), (Ipv4Addr::new(9, 9, 9, 9), 53));
        if protocol == TCP && port.is_multiple_of(4) {
            return Key::Internal { protocol, inside, remote };
        }
        Key::Flow { protocol, inside, remote }
    }

    /// One change on the active member.
    pub(super) fn change(&mut self) {
        let (from, port) = (self.rng.random_range(1..9), self.rng.random_range(0..40));
        let key = Rig::flow(from, port, [TCP, UDP][self.rng.random_range(0..2)]);
        let entry = Entry {
            state: self.rng.random_range(0..9),
            wan: WanId(self.rng.random_range(0..2)),
            ..Entry::new(key)
        };
        let end = self.rng.random_range(0..3) == 0;
        let member = &mut self.members[self.active];
        if !member.down {
            let worker = member.worker(&key);
            if end { worker.remove(&key) } else { worker.set(entry) }
        }
    }

    fn post(&mut self, to: usize, frame: Vec<u8>) {
        if frame[4] == 0 {
            self.last[to].clone_from(&frame);
        }
        for _ in 0..1 + u32::from(self.loss > 0 && self.rng.random_range(0..8) == 0) {
            if self.rng.random_range(0..1000) >= self.loss {
                let slow = if self.loss > 0 { 40_000_000 } else { 500_000 };
                let due = self.now + Nanos(self.rng.random_range(100_000..slow));
                self.pipes[to].push((due, frame.clone()));
            }
        }
    }

    /// A ms.
    pub(super) fn pass(&mut self) {
        self.now += Nanos::from_ms(1);
        let now = self.now;
        for at in 0..2 {
            while let Some(arrived) = self.pipes[at].iter().position(|(due, _)| *due <= now) {
                let (_, frame) = self.pipes[at].swap_remove(arrived);
                if !self.members[at].down {
                    self.members[at].copying.hear(&frame);
                }
            }
            let member = &mut self.members[at];
            if member.down {
                continue;
            }
            let mut sent = Vec::new();
            let mut rings: Vec<&mut CopyRings> = member.rings.iter_mut().collect();
            let owner = owner(member.workers.len());
            member.copying.step(now, &mut rings, &owner, &mut |frame| sent.push(frame));
            self.most = self.most.max(member.copying.kept());
            let busy = self.loss > 0 && self.rng.random_range(0..3) == 0;
            member.workers.iter_mut().filter(|_| !busy).for_each(Fake::turn);
            assert!(sent.len() <= FRAMES + 1);
            sent.into_iter().for_each(|frame| self.post(1 - at, frame));
        }
    }

    pub(super) fn pass_ms(&mut self, ms: u32) {
        (0..ms).for_each(|_| self.pass());
    }

    /// The standby takes over; the one that was active lets go when it has heard of it.
    pub(super) fn hand_over(&mut self) {
        let (old, new) = (self.active, 1 - self.active);
        if self.members[old].down || self.members[new].down {
            return;
        }
        self.members[new].copying.take(self.now);
        for _ in 0..self.rng.random_range(1..4) {
            self.change();
            self.pass();
        }
        // The last words are with the workers yet.
        (0..5).for_each(|_| self.change());
        self.members[old].copying.release(self.now);
        self.active = new;
    }

    /// A member dies, and is started anew later, with nothing.
    pub(super) fn crash(&mut self, at: usize) {
        if self.members[1 - at].down {
            return;
        }
        self.members[at].down = true;
        self.pass_ms(50);
        if at == self.active {
            self.active = 1 - at;
            self.members[self.active].copying.take(self.now);
        }
    }

    pub(super) fn start(&mut self, at: usize) {
        let old = &self.members[at];
        if old.down {
            let (boot, workers, ring) = (old.boot + 1, old.workers.len(), &old.rings[0]);
            let orders = ring.orders.buffer().capacity();
            self.members[at] = Member::new(boot, workers, ring.changes.buffer().capacity(), orders);
        }
    }

    /// Nothing changes any more, and the line is whole: the copy must become the truth.
    pub(super) fn settle(&mut self) {
        self.loss = 0;
        (0..2).for_each(|at| self.start(at));
        // The last words of a change of role are changes.
        self.pass_ms(1_100);
        let (active, standby) = (self.active, 1 - self.active);
        for _ in 0..8_000 {
            self.pass();
            let (log, copy) = (self.members[active].copying.status(), &self.members[standby].copying);
            if log.state == SyncState::Following && log.behind == 0 && copy.synced() && copy.behind() == 0 {
                break;
            }
        }
        self.pass_ms(20);
        let [log, copy] = [active, standby].map(|at| self.members[at].copying.status());
        assert!(self.members[standby].copying.synced(), "seed {}: {log:?} {copy:?}", self.seed);
        assert_eq!((log.behind, copy.behind), (0, 0), "seed {}", self.seed);
        let (truth, copy) = (self.members[active].table(), self.members[standby].table());
        assert_eq!(copy, truth, "seed {}", self.seed);
    }
}
