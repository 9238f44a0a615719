//! What holds of whole runs of the simulation: a standby's troubles, clocks that jump, a line that flaps for as long as it is let.

use super::tests_rig::*;
use super::tests_sim::{Sim, group, health};
use super::*;
use crate::sim::seeds::{seeds, whole};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

#[test]
fn a_clock_that_jumps_takes_no_healthy_wan_down() {
    for seed in seeds(500) {
        let mut sim = Sim::new(seed, false);
        for health in &mut sim.referee.config.wans {
            // whatever is lost by a jump would be seen at once; quality is another matter
            (health.failures, health.degraded, health.timeout) = (1, None, Nanos::from_ms(500));
            health.dhcp = false;
        }
        sim = Sim::of(seed, false, sim.referee.config.clone(), sim.rng);
        for wan in 0..sim.loss.len() as u8 {
            sim.step(Input::Link { wan: WanId(wan), up: true });
        }
        sim.run(Nanos::from_s(5), |_| {});
        assert!(sim.wans.iter().all(|(_, wan)| wan.state == State::Up), "seed {seed}");
        for _ in 0..20 {
            let wan = sim.wan();
            if sim.rng.random() {
                sim.step(Input::Silence { wan });
            }
            let span = Nanos::from_ms(sim.rng.random_range(0..1_500));
            sim.run(sim.now + span, |_| {});
            let span =
                Nanos::from_ms([sim.rng.random_range(1_500..5_000), 60_000, 3_600_000][seed as usize % 3]);
            sim.jump(span);
            sim.run(sim.now + Nanos::from_s(3), |_| {});
            for (id, wan) in sim.wans.iter() {
                assert_eq!(wan.state, State::Up, "seed {seed}: {id:?} {:?} {:?}", wan.reason, wan.evidence);
            }
        }
        sim.replay();
    }
}

#[test]
fn what_has_to_last_does_not_count_the_time_that_nobody_saw() {
    let mut rig = Rig::up(2);
    rig.link(A, false);
    rig.run(1_000);
    rig.link(A, true);
    rig.run(3_000);
    rig.now += Nanos::from_s(3_600);
    rig.mail.clear();
    rig.run(6_000);
    assert_eq!(rig.state(A), State::Down, "9 s of good rounds, and an hour in which nobody looked");
    rig.run(2_000);
    assert_eq!(rig.state(A), State::Up);
}

#[test]
fn a_wan_that_dies_while_nobody_looks_is_found_out_as_soon_as_any() {
    let mut rig = Rig::up(2);
    rig.run(1_000);
    rig.life(A, false);
    rig.now += Nanos::from_s(60);
    rig.mail.clear();
    rig.run(4 * T);
    assert_eq!((rig.state(A), rig.wans.carrying()), (State::Down, Some(B)));
}

/// What may befall a standby: all that there is but for what the first WAN sees as well.
fn trouble(sim: &mut Sim) {
    let wan = WanId(sim.rng.random_range(1..sim.loss.len()) as u8);
    match sim.rng.random_range(0..14) {
        0..=3 => {
            sim.loss[wan.index()] = [(0, 0), (500, 0), (1000, 0), (0, 1000)][sim.rng.random_range(0..4)];
        }
        4..=5 => {
            let up = sim.rng.random();
            sim.step(Input::Link { wan, up });
        }
        6 => sim.step(Input::Silence { wan }),
        7..=8 => {
            let says = [BfdSays::Up, BfdSays::Lost, BfdSays::Withdrawn][sim.rng.random_range(0..3)];
            sim.step(Input::Bfd { wan, says });
        }
        9..=10 => {
            let held = sim.rng.random();
            sim.step(Input::Lease { wan, held });
        }
        11 => sim.step(Input::Address { wan }),
        12 => {
            let admin = [Admin::Auto, Admin::Down, Admin::Drain][sim.rng.random_range(0..3)];
            let force = sim.rng.random();
            sim.step(Input::Admin { wan, admin, force });
        }
        _ => {
            // Longer than what a late tick may be: what it swallows is asked anew.
            let span = Nanos::from_ms(sim.rng.random_range(1_500..60_000));
            sim.jump(span);
        }
    }
}

#[test]
fn a_standbys_troubles_change_nothing_for_the_active_one() {
    let mut told = std::collections::BTreeSet::new();
    for seed in seeds(1_000) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let count = rng.random_range(2..=4);
        let mut wans: Vec<Health> = (0..count).map(|_| health(&mut rng)).collect();
        // What the first one answers is in time and even, and its address its own.
        (wans[0].timeout, wans[0].degraded, wans[0].dhcp) = (Nanos::from_ms(500), None, false);
        // After a late tick the gateway is only sure of half a round to answer in.
        wans[0].arp_every = wans[0].arp_every.max(Nanos::from_ms(100));
        let groups = (0..3).map(|_| {
            let mut group = group(&mut rng, count);
            group.members.retain(|member| member.wan != WanId(0));
            group.members.push(Member { wan: WanId(0), tier: 0, weight: 1 });
            group
        });
        let config = Config { wans, groups: groups.collect() };
        let mut sim = Sim::of(seed, false, config, rng);
        sim.late = true;
        for wan in 0..count as u8 {
            // Who has no lease does not begin.
            sim.step(Input::Lease { wan: WanId(wan), held: true });
            sim.step(Input::Link { wan: WanId(wan), up: true });
        }
        sim.run(Nanos::from_s(8), |_| {});
        let effects = sim.effects.len();
        sim.run(sim.now + Nanos::from_s(25), trouble);
        for effect in &sim.effects[effects..] {
            assert!(!matches!(effect, Effect::Selected(_)), "seed {seed}: {effect:?}");
            let Effect::State(change) = effect else { continue };
            assert_ne!(change.wan, WanId(0), "seed {seed}: {change:?}");
            told.insert(format!("{:?}", change.reason));
        }
        for group in sim.wans.groups() {
            assert_eq!((group.carrying[0].0, group.bonds[0]), (WanId(0), Bond::default()), "seed {seed}");
        }
        assert_eq!(sim.wans.outside()[0], Bond::default(), "seed {seed}");
        sim.replay();
    }
    for name in ["LinkLost", "NoLease", "GatewaySilent", "TargetsSilent", "Silent", "Bfd", "Recovered"] {
        assert!(!whole() || told.contains(name), "no standby had its share of trouble: {name} in {told:?}");
    }
}

#[test]
fn a_line_that_dies_as_soon_as_it_is_up_comes_up_ever_less_often() {
    for seed in seeds(40) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut wans = vec![Health::default(); 2];
        // An up of a moment is short, whatever was drawn.
        let stable = rng.random_range(500..5_000);
        wans[0].stable = Nanos::from_ms(stable);
        wans[0].flap_max = Nanos::from_ms(rng.random_range(10_000..200_000));
        let (max, doubled) = (wans[0].flap_max.as_ms(), (wans[0].flap_max.as_ms() / stable).ilog2());
        let mut sim = Sim::of(seed, false, Config::plain(wans), rng);
        (0..2).for_each(|wan| sim.step(Input::Link { wan: WanId(wan), up: true }));
        sim.run(Nanos::from_s(1), |_| {});
        let end = Nanos::from_s(900);
        sim.run(end, |sim| {
            let up = sim.wans.get(A).state != State::Up;
            sim.step(Input::Link { wan: A, up });
        });
        let up = |effect: &&Effect| matches!(effect, Effect::State(c) if c.wan == A && c.to == State::Up);
        let ups = sim.effects.iter().filter(up).count() as u64;
        // The first, one for each doubling, and then one in the longest time.
        let most = 2 + u64::from(doubled) + end.as_ms() / max;
        assert!((2..=most).contains(&ups), "seed {seed}: {ups} ups, {most} at most");
    }
}
