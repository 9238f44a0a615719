//! Two whole members of a pair on one clock, over a network that loses, delays, doubles, repeats, cuts one way or both; with crashes,
//! stalls, dead lines and operators in any order. What must hold is watched at every step (`sim::pair`); here is what happens to them,
//! and where they must end. A seed that fails is in the message, and fails again.
#![allow(clippy::unwrap_used)]

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use turnout::base::Nanos;
use turnout::cluster::{Cause, Config, Effect, Event, Failback, Input, NO_TIER, Pair, Role, Site};
use turnout::sim::pair::{Health, Line, Pairs, SLOWEST, name};

const ms: fn(u64) -> Nanos = Nanos::from_ms;

fn config() -> Config {
    let failback = Failback { automatic: true, after: ms(3_000) };
    Config { every: ms(100), timeout: ms(500), settle: ms(1_000), failback, hash: 1 }
}

fn no_faults(pairs: &Pairs) {
    assert!(pairs.referee.faults.is_empty(), "{:#?}", pairs.referee.faults);
}

/// Two members that run, hear each other, and have each other's sessions.
fn settled(seed: u64, config: Config) -> Pairs {
    let mut pairs = Pairs::new(seed, config);
    for at in 0..2 {
        pairs.start(at);
        pairs.step(at, Input::Synced { synced: true });
    }
    pairs.run(config.bound());
    assert_eq!(pairs.active(), ["a"], "seed {seed}");
    pairs
}

fn weather(pairs: &mut Pairs, rng: &mut SmallRng) {
    let at = rng.random_range(0..2);
    let other = Line { loss: 0, twice: 0, replay: 0 };
    match rng.random_range(0..22) {
        0 => pairs.set_lines(Line::CUT),
        1..=3 => pairs.set_lines(other),
        4 => pairs.lines[at] = [Line::CUT; 2],
        5 => pairs.lines[at][rng.random_range(0..2)] = Line::CUT,
        6..=7 => pairs.set_lines(Line {
            loss: rng.random_range(0..700),
            twice: rng.random_range(0..300),
            replay: rng.random_range(0..300),
        }),
        8..=9 => pairs.crash(at),
        10..=13 => pairs.start(at),
        14..=16 => {
            let (inside, tier) = (rng.random_range(0..3), [1, 1, 2, NO_TIER][rng.random_range(0..4)]);
            pairs.set_health(at, Health { inside, tier });
        }
        17 => pairs.set_health(at, Health::WHOLE),
        18 => {
            let member = name(rng.random_range(0..2));
            pairs.step(at, Input::Prefer { member });
        }
        19 => drop(pairs.step(at, Input::Yield)),
        20 => drop(pairs.step(at, Input::Synced { synced: rng.random() })),
        _ => pairs.stall(at, ms(rng.random_range(0..1_500))),
    }
}

/// Everything works again, for long enough.
fn calm(pairs: &mut Pairs) {
    pairs.set_lines(Line::default());
    for at in 0..2 {
        pairs.start(at);
        pairs.set_health(at, Health::WHOLE);
        pairs.step(at, Input::Synced { synced: true });
    }
    let config = pairs.config;
    pairs.run(ms(1_500) + config.bound() + config.settle + config.failback.after + config.bound());
}

/// A run of one seed: weather, calm, and again.
fn run(seed: u64) -> Pairs {
    let mut rng = SmallRng::seed_from_u64(seed);
    let every = rng.random_range(60..200);
    let failback = Failback { automatic: rng.random(), after: ms(rng.random_range(0..3_000)) };
    let (timeout, settle) = (ms(every * rng.random_range(3..6)), ms(rng.random_range(0..1_000)));
    let mut pairs = Pairs::new(seed, Config { every: ms(every), timeout, settle, failback, hash: 1 });
    for _ in 0..2 {
        for _ in 0..rng.random_range(2..12) {
            weather(&mut pairs, &mut rng);
            let longest = if rng.random_range(0..3) == 0 { 3_000 } else { 300 };
            pairs.run(ms(rng.random_range(0..longest)));
        }
        calm(&mut pairs);
        let active = pairs.active();
        assert_eq!(active.len(), 1, "seed {seed}: {active:?}");
        let member = &pairs.members[0];
        let preferred = member.disk.unwrap().preference.member;
        let aside = pairs.members.iter().any(|member| member.pair.as_ref().unwrap().beat().aside);
        if failback.automatic && !aside {
            assert_eq!(active, [preferred.as_str()], "seed {seed}");
        }
        let site = member.pair.as_ref().unwrap().site();
        assert_eq!(site, Site::Healthy, "seed {seed}");
    }
    pairs
}

#[test]
fn x_19_never_two_active_for_longer_than_two_beats_and_never_none_for_longer_than_the_bound() {
    let (mut takes, mut twos) = (0, 0);
    for seed in 0..2_000 {
        let pairs = run(seed);
        no_faults(&pairs);
        for effect in pairs.members.iter().flat_map(|member| &member.effects) {
            takes += u32::from(matches!(effect, Effect::Take { .. }));
            twos += u32::from(matches!(effect, Effect::Event { event: Event::BothActive }));
        }
    }
    // Else the weather was too fair to show anything.
    assert!(takes > 4_000 && twos > 400, "{takes} {twos}");
}
