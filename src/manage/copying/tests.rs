//! Two members with workers that are plain maps, over a line that loses, reorders and doubles, through changes of role and crashes. Seeds that
//! fail are in the message.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rtrb::RingBuffer;

use super::*;
use crate::base::WanId;
use crate::cluster::sync::{CAPACITY, SyncState};
use crate::engine::copies::CopyEnd;
use crate::wire::protocol::{TCP, UDP};
use crate::wire::record::{Entry, Record};

fn key() -> cluster::Key {
    cluster::Key::new(b"a key of both members").unwrap()
}

fn owner(workers: usize) -> impl Fn(Ipv4Addr) -> WorkerId {
    move |host| WorkerId((usize::from(host.octets()[3]) % workers) as u8)
}

/// A worker: a table, and what of it is to be told.
struct Fake {
    end: CopyEnd,
    /// With the run in which the partner told of it last
    table: BTreeMap<Key, (Entry, u32)>,
    begun: u32,
    telling: bool,
    lost: bool,
    walk: Option<(u32, Vec<Key>)>,
}

impl Fake {
    fn tell(&mut self, record: Record) {
        if self.telling {
            self.lost |= self.end.changes.push(Change::Record(record)).is_err();
        }
    }

    fn set(&mut self, entry: Entry) {
        self.table.insert(entry.key, (entry, self.begun));
        self.tell(Record::Is(entry));
    }

    fn remove(&mut self, key: &Key) {
        if self.table.remove(key).is_some() {
            self.tell(Record::Ended(*key));
        }
    }

    fn turn(&mut self) {
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

struct Member {
    copying: Copying,
    workers: Vec<Fake>,
    rings: Vec<CopyRings>,
    /// It is down.
    down: bool,
    boot: u64,
}

impl Member {
    fn new(boot: u64, workers: usize, changes: usize, orders: usize) -> Member {
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

    fn table(&self) -> BTreeMap<Key, Entry> {
        let all = self.workers.iter().flat_map(|worker| &worker.table);
        all.map(|(key, (entry, _))| (*key, *entry)).collect()
    }

    fn worker(&mut self, host: Ipv4Addr) -> &mut Fake {
        let its = owner(self.workers.len())(host).index();
        &mut self.workers[its]
    }
}

struct Rig {
    rng: SmallRng,
    seed: u64,
    now: Nanos,
    members: [Member; 2],
    active: usize,
    /// To each member, with when they arrive.
    pipes: [Vec<(Nanos, Vec<u8>)>; 2],
    /// Of a thousand.
    loss: u32,
    most: usize,
}

impl Rig {
    fn new(seed: u64, changes: usize, orders: usize) -> Rig {
        let mut rng = SmallRng::seed_from_u64(seed);
        let workers = [rng.random_range(1..4), rng.random_range(1..4)];
        let mut members = workers.map(|workers| Member::new(7, workers, changes, orders));
        members[0].copying.take(Nanos::from_s(1));
        let now = Nanos::from_s(1);
        Rig { rng, seed, now, members, active: 0, pipes: [Vec::new(), Vec::new()], loss: 0, most: 0 }
    }

    fn flow(host: u8, port: u16, protocol: u8) -> Key {
        let (inside, remote) = ((Ipv4Addr::new(10, 0, 0, host), port), (Ipv4Addr::new(9, 9, 9, 9), 53));
        if protocol == TCP && port.is_multiple_of(4) {
            return Key::Internal { protocol, inside, remote };
        }
        Key::Flow { protocol, inside, remote }
    }

    /// One change on the active member.
    fn change(&mut self) {
        let (host, port) = (self.rng.random_range(1..9), self.rng.random_range(0..40));
        let key = Rig::flow(host, port, [TCP, UDP][self.rng.random_range(0..2)]);
        let entry = Entry {
            state: self.rng.random_range(0..9),
            wan: WanId(self.rng.random_range(0..2)),
            ..Entry::new(key)
        };
        let end = self.rng.random_range(0..3) == 0;
        let member = &mut self.members[self.active];
        if !member.down {
            let worker = member.worker(host_of(&key));
            if end { worker.remove(&key) } else { worker.set(entry) }
        }
    }

    fn post(&mut self, to: usize, frame: Vec<u8>) {
        for _ in 0..1 + u32::from(self.loss > 0 && self.rng.random_range(0..8) == 0) {
            if self.rng.random_range(0..1000) >= self.loss {
                let slow = if self.loss > 0 { 40_000_000 } else { 500_000 };
                let due = self.now + Nanos(self.rng.random_range(100_000..slow));
                self.pipes[to].push((due, frame.clone()));
            }
        }
    }

    /// A ms.
    fn pass(&mut self) {
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

    fn pass_ms(&mut self, ms: u32) {
        (0..ms).for_each(|_| self.pass());
    }

    /// The standby takes over; the one that was active lets go when it has heard of it.
    fn hand_over(&mut self) {
        let (old, new) = (self.active, 1 - self.active);
        if self.members[old].down || self.members[new].down {
            return;
        }
        self.members[new].copying.take(self.now);
        for _ in 0..self.rng.random_range(1..4) {
            self.change();
            self.pass();
        }
        self.members[old].copying.release(self.now);
        self.active = new;
    }

    /// A member dies, and is started anew later, with nothing.
    fn crash(&mut self, at: usize) {
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

    fn start(&mut self, at: usize) {
        let old = &self.members[at];
        if old.down {
            let (boot, workers, ring) = (old.boot + 1, old.workers.len(), &old.rings[0]);
            let orders = ring.orders.buffer().capacity();
            self.members[at] = Member::new(boot, workers, ring.changes.buffer().capacity(), orders);
        }
    }

    /// Nothing changes any more, and the line is whole: the copy must become the truth.
    fn settle(&mut self) {
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

fn host_of(key: &Key) -> Ipv4Addr {
    host(key)
}

#[test]
fn whatever_happens_the_standby_has_what_the_active_member_has_once_it_is_quiet() {
    let mut runs = 0;
    for seed in 0..120 {
        let mut rig = Rig::new(seed, 256, 64);
        for _ in 0..6 {
            rig.loss = [0, 50, 300, 700][rig.rng.random_range(0..4)];
            for _ in 0..rig.rng.random_range(1..250) {
                (0..rig.rng.random_range(0..4)).for_each(|_| rig.change());
                rig.pass();
            }
            match rig.rng.random_range(0..6) {
                0 | 1 => rig.hand_over(),
                2 => rig.crash(rig.active),
                3 => rig.crash(1 - rig.active),
                4 => rig.settle(),
                _ => {}
            }
            let at = rig.rng.random_range(0..2);
            if rig.members[1 - at].down || rig.rng.random() {
                (0..2).for_each(|at| rig.start(at));
            }
        }
        rig.settle();
        runs += rig.members[rig.active].copying.log.runs();
        for member in &rig.members {
            assert_eq!(member.copying.waste(), Waste::default(), "seed {seed}");
        }
    }
    assert!(runs > 150, "{runs} runs");
}

#[test]
fn a_planned_change_of_role_loses_no_session_that_was_told_late() {
    for seed in 0..60 {
        let mut rig = Rig::new(seed, 1024, 256);
        rig.settle();
        for _ in 0..60 {
            (0..20).for_each(|_| rig.change());
            rig.pass();
        }
        let old = rig.active;
        rig.hand_over();
        let truth = rig.members[old].table();
        rig.pass_ms(990);
        assert_eq!(rig.members[rig.active].table(), truth, "seed {seed}");
        assert!(!rig.members[rig.active].copying.synced(), "an active member has no copy");
        rig.settle();
    }
}

#[test]
fn who_lets_go_is_in_sync_only_when_all_has_been_told_anew() {
    let mut rig = Rig::new(3, 1024, 256);
    (0..100).for_each(|_| rig.change());
    rig.settle();
    rig.loss = 1000;
    rig.hand_over();
    let (old, new) = (1 - rig.active, rig.active);
    rig.pass_ms(2_000);
    assert!(!rig.members[old].copying.synced());
    assert_eq!(rig.members[old].copying.status().state, SyncState::Waiting);
    assert_eq!(rig.members[new].copying.status().state, SyncState::Alone);
    rig.settle();
    // It has all, and goes on to when the other one dies.
    assert_eq!(rig.members[old].copying.status().state, SyncState::Whole);
    rig.members[new].down = true;
    rig.pass_ms(20_000);
    assert!(rig.members[old].copying.synced());
}

#[test]
fn a_partner_that_never_answers_costs_nothing_and_one_that_falls_silent_a_bounded_log() {
    let mut rig = Rig::new(5, 4096, 256);
    rig.members[1].down = true;
    (0..3_000).for_each(|_| rig.change());
    rig.pass_ms(100);
    assert_eq!((rig.most, rig.members[0].copying.status().state), (0, SyncState::Alone));
    rig.settle();
    rig.members[1].down = true;
    let mut flows = 0..;
    for _ in 0..300 {
        for n in (&mut flows).take(400) {
            let key = Rig::flow((n >> 16) as u8 + 1, n as u16, UDP);
            rig.members[0].worker(host_of(&key)).set(Entry::new(key));
        }
        rig.pass();
    }
    let bound = CAPACITY * record::LEN + 2 * WAITING * LONGEST;
    assert!(rig.most > 30_000 * record::LEN && rig.most <= bound, "{}", rig.most);
    rig.pass_ms(5_100);
    let member = &rig.members[0];
    assert_eq!((member.copying.status().state, member.copying.kept()), (SyncState::Alone, 0));
    assert!(member.workers.iter().all(|worker| !worker.telling), "nobody is to be told");
}

#[test]
fn a_busy_worker_holds_up_the_follower_and_nothing_is_lost() {
    let mut rig = Rig::new(9, 8192, 64);
    (0..8).for_each(|host| {
        for port in 0..200 {
            let key = Rig::flow(host + 1, port, UDP);
            rig.members[0].worker(host_of(&key)).set(Entry::new(key));
        }
    });
    for _ in 0..400 {
        rig.now += Nanos::from_ms(1);
        let now = rig.now;
        for at in 0..2 {
            let member = &mut rig.members[at];
            let mut rings: Vec<&mut CopyRings> = member.rings.iter_mut().collect();
            let (owner, mut sent) = (owner(member.workers.len()), Vec::new());
            member.copying.step(now, &mut rings, &owner, &mut |frame| sent.push(frame));
            sent.iter().for_each(|frame| rig.members[1 - at].copying.hear(frame));
        }
        // The standby's workers do nothing.
        rig.members[0].workers.iter_mut().for_each(Fake::turn);
    }
    let status = rig.members[0].copying.status();
    assert!(status.acked < 200 && status.behind > 1_000, "{status:?}");
    rig.settle();
}

#[test]
fn what_was_told_for_an_older_run_is_no_part_of_a_new_one() {
    let mut rig = Rig::new(4, 8192, 256);
    rig.settle();
    let keys: Vec<Key> = (0..6_000).map(|port| Rig::flow(1, port, UDP)).collect();
    keys.iter().for_each(|key| rig.members[0].worker(host_of(key)).set(Entry::new(*key)));
    // Another standby wants everything, while most of that is still in the ring; it ends while the worker tells nothing.
    rig.members[1].down = true;
    rig.start(1);
    while rig.members[0].workers.iter().any(|worker| worker.telling) {
        rig.pass();
    }
    keys.iter().for_each(|key| rig.members[0].worker(host_of(key)).remove(key));
    rig.settle();
    assert_eq!(rig.members[1].table().len(), rig.members[0].table().len());
}

#[test]
fn what_is_no_frame_is_counted_and_does_nothing() {
    let mut rig = Rig::new(1, 256, 64);
    rig.settle();
    let copying = &mut rig.members[1].copying;
    copying.hear(b"");
    copying.hear(&[0; 3000]);
    copying.hear(b"tos\x01\x00\x00\x00\x00");
    let mut forged = Follower::new(cluster::Key::new(b"another key, as long").unwrap(), 99);
    let forged = forged.next_frame(rig.now).unwrap();
    (0..300).for_each(|_| rig.members[0].copying.hear(&forged));
    rig.pass_ms(20);
    assert_eq!(rig.members[1].copying.waste(), Waste { malformed: 3, forged: 0, crowded: 0 });
    assert_eq!(rig.members[0].copying.waste(), Waste { malformed: 0, forged: 256, crowded: 44 });
    rig.settle();
}
