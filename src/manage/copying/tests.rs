//! Through changes of role and crashes: what the standby has in the end, and what is not lost on the way. Seeds that fail are in the message.

use rand::RngExt;

use super::rig::{Rig, owner};
use super::*;
use crate::cluster::sync::{CAPACITY, SyncState};
use crate::sim::seeds::{seeds, whole};
use crate::wire::protocol::UDP;
use crate::wire::record::Entry;

#[test]
fn whatever_happens_the_standby_has_what_the_active_member_has_once_it_is_quiet() {
    let mut runs = 0;
    for seed in seeds(120) {
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
    assert!(!whole() || runs > 150, "{runs} runs");
}

#[test]
fn a_planned_change_of_role_loses_no_session_that_was_told_late() {
    for seed in seeds(60) {
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
    // A frame of a run before the last change of role counts for nothing.
    let late = rig.last[old].clone();
    rig.hand_over();
    rig.settle();
    rig.loss = 1000;
    rig.hand_over();
    rig.pass_ms(1_100);
    rig.members[old].copying.hear(&late);
    rig.pass_ms(10);
    assert!(!rig.members[old].copying.synced());
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
            rig.members[0].worker(&key).set(Entry::new(key));
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
    (0..8).for_each(|from| {
        for port in 0..200 {
            let key = Rig::flow(from + 1, port, UDP);
            rig.members[0].worker(&key).set(Entry::new(key));
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
        rig.members[0].workers.iter_mut().for_each(super::rig::Fake::turn);
    }
    let status = rig.members[0].copying.status();
    assert!(status.acked < 200 && status.behind > 1_000, "{status:?}");
    rig.settle();
}

#[test]
fn changes_that_found_no_room_are_told_with_everything_a_while_later() {
    let mut rig = Rig::new(6, 64, 256);
    rig.settle();
    for _ in 0..3 {
        (0..500).for_each(|_| rig.change());
        rig.pass_ms(5);
    }
    assert_eq!(rig.members[0].copying.status().state, SyncState::Paused);
    rig.settle();
}

#[test]
fn what_was_told_for_an_older_run_is_no_part_of_a_new_one() {
    let mut rig = Rig::new(4, 8192, 256);
    rig.settle();
    let keys: Vec<Key> = (0..6_000).map(|port| Rig::flow(1, port, UDP)).collect();
    keys.iter().for_each(|key| rig.members[0].worker(key).set(Entry::new(*key)));
    // Another standby wants everything, while most of that is still in the ring; it ends while the worker tells nothing.
    rig.members[1].down = true;
    rig.start(1);
    while rig.members[0].workers.iter().any(|worker| worker.telling) {
        rig.pass();
    }
    keys.iter().for_each(|key| rig.members[0].worker(key).remove(key));
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
