//! The log and its follower over a pipe that loses, reorders and doubles, against a plain map. Seeds that fail are in the message.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::base::{Nanos, WanId};
use crate::cluster::Key as Shared;
use crate::sim::seeds::{seeds, whole};
use crate::wire::protocol::{TCP, UDP};
use crate::wire::record::{Entry, Key, Record};

fn key() -> Shared {
    Shared::new(b"a key of both members").unwrap()
}

/// A copy that is nothing but a copy. What was there before a new run stays until the run's copy is whole.
#[derive(Default)]
struct Shadow {
    /// With the run in which it was told last.
    entries: BTreeMap<Key, (Entry, u64)>,
    run: u64,
}

impl Shadow {
    fn apply(&mut self, apply: Apply) {
        match apply {
            Apply::Begin => self.run += 1,
            Apply::Whole => self.entries.retain(|_, (_, run)| *run == self.run),
            Apply::Record(Record::Ended(key)) => drop(self.entries.remove(&key)),
            Apply::Record(Record::Is(entry)) => drop(self.entries.insert(entry.key, (entry, self.run))),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|(entry, _)| entry)
    }
}

/// Who has the sessions, who copies them, and what is between.
struct Rig {
    rng: SmallRng,
    seed: u64,
    now: Nanos,
    truth: BTreeMap<Key, Entry>,
    log: Log,
    /// Where the walk of a run is.
    walk: Option<(u32, Option<Key>)>,
    follower: Follower,
    shadow: Shadow,
    /// To the follower, and back; with when they arrive.
    pipes: [Vec<(Nanos, Vec<u8>)>; 2],
    /// Of a thousand.
    loss: u32,
    boots: u64,
}

impl Rig {
    fn new(seed: u64, capacity: usize) -> Rig {
        Rig {
            rng: SmallRng::seed_from_u64(seed),
            seed,
            now: Nanos::from_s(1),
            truth: BTreeMap::new(),
            log: Log::with_capacity(key(), 5, capacity),
            walk: None,
            follower: Follower::new(key(), 9),
            shadow: Shadow::default(),
            pipes: [Vec::new(), Vec::new()],
            loss: 0,
            boots: 9,
        }
    }

    fn set(&mut self, entry: Entry) {
        self.truth.insert(entry.key, entry);
        self.log.put(self.now, Record::Is(entry));
    }

    fn end(&mut self, of: Key) {
        self.truth.remove(&of);
        self.log.put(self.now, Record::Ended(of));
    }

    fn some_key(&mut self) -> Option<Key> {
        let at = self.rng.random_range(0..self.truth.len().max(1));
        self.truth.keys().nth(at).copied()
    }

    /// One change.
    fn change(&mut self) {
        let inside = (Ipv4Addr::new(10, 0, 0, self.rng.random_range(0..4)), self.rng.random_range(0..16));
        let wan = WanId(self.rng.random_range(0..2));
        let protocol = [TCP, UDP][self.rng.random_range(0..2)];
        if self.rng.random_range(0..20) < 13 {
            let outside = (Ipv4Addr::new(203, 0, 113, wan.0), 1000 + inside.1);
            let remote = (Ipv4Addr::new(9, 9, 9, 9), 53);
            let key = Key::Flow { protocol, inside, remote };
            let state = self.rng.random_range(0..9);
            self.set(Entry { wan, outside, state, ..Entry::new(key) });
        } else if let Some(key) = self.some_key() {
            self.end(key);
        }
    }

    /// The walk that the log asks for, a little at a time.
    fn walk_on(&mut self) {
        let Some(run) = self.log.walk() else { return };
        let from = self.walk.filter(|(of, _)| *of == run).and_then(|(_, from)| from);
        let most = self.log.room().min(self.rng.random_range(1..64));
        let rest = self.truth.iter().filter(|(key, _)| from.is_none_or(|from| **key > from));
        let found: Vec<Entry> = rest.map(|(_, entry)| *entry).take(most).collect();
        if found.is_empty() && most > 0 {
            self.log.walked(run);
            return;
        }
        for entry in &found {
            self.log.put(self.now, Record::Is(*entry));
        }
        self.walk = Some((run, found.last().map(|entry| entry.key).or(from)));
    }

    fn post(&mut self, to: usize, frame: Vec<u8>) {
        for _ in 0..1 + u32::from(self.loss > 0 && self.rng.random_range(0..8) == 0) {
            if self.rng.random_range(0..1000) >= self.loss {
                let slow = if self.loss > 0 { 80_000_000 } else { 1_000_000 };
                let due = self.now + Nanos(self.rng.random_range(100_000..slow));
                self.pipes[to].push((due, frame.clone()));
            }
        }
    }

    /// A few milliseconds.
    fn pass(&mut self) {
        self.now += Nanos::from_ms(self.rng.random_range(1..20));
        self.walk_on();
        // as much as a slow line takes
        for _ in 0..8 {
            let Some(frame) = self.log.next_frame(self.now) else { break };
            self.post(0, frame);
        }
        if let Some(frame) = self.follower.next_frame(self.now) {
            self.post(1, frame);
        }
        for to in 0..2 {
            while let Some(at) = self.pipes[to].iter().position(|(due, _)| *due <= self.now) {
                let (_, frame) = self.pipes[to].swap_remove(at);
                let heard = if to == 0 {
                    let shadow = &mut self.shadow;
                    self.follower.hear(&frame, &mut |apply| shadow.apply(apply))
                } else {
                    self.log.hear(self.now, &frame)
                };
                assert_eq!(heard, Ok(()), "seed {}", self.seed);
            }
        }
    }

    /// The follower's member is started anew, with nothing.
    fn restart_follower(&mut self) {
        self.boots += 1;
        (self.follower, self.shadow) = (Follower::new(key(), self.boots), Shadow::default());
    }

    /// Nothing changes any more, and the pipe is whole: the copy must become the truth.
    fn settle(&mut self) {
        self.loss = 0;
        for _ in 0..2_000 {
            self.pass();
            let behind = self.log.status();
            if behind.state == SyncState::Following && behind.behind == 0 && self.follower.in_sync() {
                break;
            }
        }
        assert!(self.follower.in_sync() && self.follower.behind() == 0, "seed {}: never in sync", self.seed);
        let copy: BTreeMap<Key, Entry> = self.shadow.iter().map(|entry| (entry.key, *entry)).collect();
        assert_eq!(copy, self.truth, "seed {}", self.seed);
    }
}

#[test]
fn x_17_replaying_the_log_on_an_empty_standby_gives_the_same_sessions() {
    let mut runs = 0;
    for seed in seeds(2_000) {
        let mut rig = Rig::new(seed, 128);
        for _ in 0..rig.rng.random_range(0..200) {
            rig.change();
        }
        for _ in 0..3 {
            rig.loss = [0, 50, 300, 700][rig.rng.random_range(0..4)];
            for _ in 0..rig.rng.random_range(10..120) {
                for _ in 0..rig.rng.random_range(0..6) {
                    rig.change();
                }
                rig.pass();
                assert!(rig.log.kept() <= 128, "seed {seed}");
            }
            if rig.rng.random_range(0..3) == 0 {
                rig.restart_follower();
            }
            if rig.rng.random() {
                rig.settle();
            }
        }
        rig.settle();
        runs += rig.log.runs();
    }
    assert!(!whole() || runs > 3_000, "{runs} runs: neither joins nor slow partners were tried");
}

fn flow(port: u16) -> Entry {
    let inside = (Ipv4Addr::new(10, 0, 0, 1), port);
    Entry::new(Key::Flow { protocol: UDP, inside, remote: (Ipv4Addr::new(9, 9, 9, 9), 53) })
}

#[test]
fn a_slow_partner_costs_bounded_memory_and_a_pause_and_keeps_its_old_copy_meanwhile() {
    let mut rig = Rig::new(1, 256);
    (0..100).for_each(|port| rig.set(flow(port)));
    rig.settle();
    let runs = rig.log.runs();
    // Nothing comes through, and more changes than are kept.
    rig.loss = 1000;
    (1_000..2_000).for_each(|port| rig.set(flow(port)));
    assert_eq!((rig.log.status().state, rig.log.kept()), (SyncState::Paused, 0));
    (0..50).for_each(|port| rig.end(flow(port).key));
    (0..20).for_each(|_| rig.pass());
    assert_eq!(rig.shadow.iter().count(), 100, "the old copy stays");
    // As soon as the line is whole the follower knows that it lacks something.
    rig.loss = 0;
    (0..40).for_each(|_| rig.pass());
    assert!(!rig.follower.in_sync());
    rig.settle();
    assert_eq!(rig.log.runs(), runs + 1);
    assert_eq!(rig.shadow.iter().count(), 1_050);
}

#[test]
fn changes_of_one_session_that_wait_become_one() {
    let mut rig = Rig::new(1, 128);
    rig.settle();
    for state in 0..200 {
        rig.set(Entry { state, ..flow(1) });
    }
    assert_eq!(rig.log.kept(), 1);
    rig.end(flow(1).key);
    assert_eq!(rig.log.kept(), 1);
    rig.settle();
    assert_eq!(rig.shadow.iter().count(), 0);
}

#[test]
fn what_is_sent_again_comes_from_the_first_that_is_missing() {
    let mut rig = Rig::new(1, 4_096);
    rig.settle();
    rig.loss = 1000;
    (0..64).for_each(|port| rig.set(flow(port)));
    rig.pass();
    assert_eq!(rig.log.next_frame(rig.now), None, "all is under way");
    assert!(rig.log.next_deadline() <= rig.now + Nanos::from_ms(200));
    rig.now = rig.log.next_deadline();
    assert!(rig.log.next_frame(rig.now).is_some_and(|frame| frame.len() == LONGEST));
    rig.settle();
}

#[test]
fn one_frame_that_is_lost_is_sent_again_at_once_and_nobody_is_asked_by_one_frame_only() {
    let mut rig = Rig::new(1, 4_096);
    rig.settle();
    (0..320).for_each(|port| rig.set(flow(port)));
    let frames: Vec<_> = std::iter::from_fn(|| rig.log.next_frame(rig.now)).collect();
    assert_eq!(frames.len(), 10);
    for frame in &frames[1..] {
        rig.follower.hear(frame, &mut |_| panic!("the first one is missing")).unwrap();
        let ack = rig.follower.next_frame(rig.now).unwrap();
        rig.log.hear(rig.now, &ack).unwrap();
    }
    let again: Vec<_> = std::iter::from_fn(|| rig.log.next_frame(rig.now)).collect();
    assert_eq!((again.len(), &again[0]), (10, &frames[0]), "once, however often that is said");
    // Silence: one frame, then as many as are acknowledged twice over.
    rig.now += Nanos::from_ms(200);
    let shadow = &mut rig.shadow;
    for sent in [1, 2, 4] {
        let frames: Vec<_> = std::iter::from_fn(|| rig.log.next_frame(rig.now)).collect();
        assert_eq!(frames.len(), sent);
        for frame in frames {
            rig.follower.hear(&frame, &mut |apply| shadow.apply(apply)).unwrap();
        }
        let ack = rig.follower.next_frame(rig.now).unwrap();
        rig.log.hear(rig.now, &ack).unwrap();
    }
    rig.settle();
}

#[test]
fn a_follower_that_closes_takes_the_rest_and_one_that_begins_anew_nothing_from_before() {
    let mut rig = Rig::new(1, 4_096);
    let tell = |rig: &mut Rig| {
        let mut got = Vec::new();
        while let Some(frame) = rig.log.next_frame(rig.now) {
            rig.follower.hear(&frame, &mut |apply| got.push(apply)).unwrap();
        }
        got
    };
    rig.settle();
    rig.follower.close();
    rig.set(flow(1));
    assert_eq!(tell(&mut rig), [Apply::Record(Record::Is(flow(1)))]);
    rig.log.renew(rig.now);
    rig.set(flow(2));
    assert_eq!(tell(&mut rig), [], "another run");
    rig.follower.renew();
    assert_eq!((rig.follower.in_sync(), rig.follower.status().state), (false, SyncState::Waiting));
    let ack = rig.follower.next_frame(rig.now).unwrap();
    rig.log.hear(rig.now, &ack).unwrap();
    assert_eq!((rig.log.status().state, tell(&mut rig)), (SyncState::Bulk, vec![Apply::Begin]));
    // A log that closes begins no other run.
    rig.settle();
    let runs = rig.log.runs();
    rig.log.close();
    rig.follower.renew();
    let ack = rig.follower.next_frame(rig.now).unwrap();
    rig.log.hear(rig.now, &ack).unwrap();
    rig.log.lost(rig.now);
    assert_eq!((rig.log.runs(), rig.log.status().state), (runs, SyncState::Alone));
}

#[test]
fn what_changed_without_a_word_comes_with_a_new_run() {
    let mut rig = Rig::new(1, 256);
    rig.log.renew(rig.now);
    assert_eq!(rig.log.status().state, SyncState::Alone, "nobody follows");
    (0..30).for_each(|port| rig.set(flow(port)));
    rig.settle();
    rig.truth = (20..60).map(|port| (flow(port).key, flow(port))).collect();
    rig.log.renew(rig.now);
    rig.settle();
}
