//! Two whole members of a pair on one clock, over a network that loses, delays, doubles, repeats, cuts one way or both; with crashes,
//! stalls, dead lines and operators in any order. What must hold is watched at every step (`sim::pair`); here is what happens to them,
//! and where they must end. A seed that fails is in the message, and fails again.
#![allow(clippy::unwrap_used)]

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use turnout::base::Nanos;
use turnout::cluster::{Config, Effect, Event, Failback, Input, NO_TIER, Pair, Site};
use turnout::sim::pair::{Health, Line, Pairs, SLOWEST, name};
use turnout::sim::seeds::{seeds, whole};

fn ms(n: u64) -> Nanos {
    Nanos::from_ms(n)
}

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
    (0..2).for_each(|at| pairs.start(at));
    pairs.run(config.bound());
    assert_eq!(pairs.active(), ["a"], "seed {seed}");
    for at in 0..2 {
        pairs.step(at, Input::Synced { synced: true });
    }
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
    for seed in seeds(4_000) {
        let pairs = run(seed);
        no_faults(&pairs);
        for effect in pairs.members.iter().flat_map(|member| &member.effects) {
            takes += u32::from(matches!(effect, Effect::Take { .. }));
            twos += u32::from(matches!(effect, Effect::Event { event: Event::BothActive }));
        }
    }
    // Else the weather was too fair to show anything.
    assert!(!whole() || takes > 6_000 && twos > 800, "{takes} {twos}");
}

/// A start, a hand-over, a failure, a failback, a change of preference.
fn story(seed: u64, crash: Option<(u64, usize, Nanos)>) -> Pairs {
    let failback = Failback { automatic: true, after: ms(300) };
    let mut pairs = Pairs::new(seed, Config { settle: ms(200), failback, ..config() });
    pairs.crash_at = crash;
    for at in 0..2 {
        pairs.start(at);
        pairs.step(at, Input::Synced { synced: true });
    }
    pairs.run(ms(700));
    pairs.step(0, Input::Yield);
    pairs.run(ms(200));
    pairs.set_health(1, Health { inside: 2, tier: NO_TIER });
    pairs.run(ms(200));
    pairs.set_health(1, Health::WHOLE);
    pairs.run(ms(200));
    pairs.step(1, Input::Prefer { member: name(1) });
    pairs.run(ms(300));
    pairs
}

#[test]
fn x_19_a_member_that_crashes_at_any_step_and_comes_back_does_no_harm() {
    let steps = story(1, None).steps;
    assert!(steps > 60, "{steps}");
    for step in 1..=steps {
        for victim in 0..2 {
            for after in [ms(40), ms(300), ms(900)] {
                let mut pairs = story(1, Some((step, victim, after)));
                pairs.run(ms(1_000));
                calm(&mut pairs);
                no_faults(&pairs);
                let why = format!("member {victim} crashes at step {step} for {} ms", after.as_ms());
                let kept = pairs.members[0].disk.unwrap().preference;
                assert_eq!(pairs.active().len(), 1, "{why}");
                // Preferred last by an operator whose word was heard, a or b has it: the same on both disks.
                assert_eq!(kept, pairs.members[1].disk.unwrap().preference, "{why}");
            }
        }
    }
}

/// Its name, and how it is brought about.
type Fault = (&'static str, fn(&mut Pairs));

/// What may fail.
const FAULTS: [Fault; 12] = [
    ("nothing", |_| {}),
    ("a dies", |pairs| pairs.crash(0)),
    ("b dies", |pairs| pairs.crash(1)),
    ("a without wan", |pairs| pairs.set_health(0, Health { tier: NO_TIER, ..pairs.members[0].health })),
    ("b without wan", |pairs| pairs.set_health(1, Health { tier: NO_TIER, ..pairs.members[1].health })),
    ("a without lan", |pairs| pairs.set_health(0, Health { inside: 0, ..pairs.members[0].health })),
    ("b without lan", |pairs| pairs.set_health(1, Health { inside: 0, ..pairs.members[1].health })),
    ("a on tier 2", |pairs| pairs.set_health(0, Health { tier: 2, ..pairs.members[0].health })),
    ("one path", |pairs| (pairs.lines[0][0], pairs.lines[1][0]) = (Line::CUT, Line::CUT)),
    ("a mute", |pairs| pairs.lines[0] = [Line::CUT; 2]),
    ("b mute", |pairs| pairs.lines[1] = [Line::CUT; 2]),
    ("no path", |pairs| pairs.set_lines(Line::CUT)),
];

/// Who may be active with these lines and members, for good.
fn allowed(pairs: &Pairs) -> Vec<Vec<&'static str>> {
    let lives = [0, 1].map(|at| pairs.role(at).is_some());
    let health = [0, 1].map(|at| pairs.members[at].health);
    let able = [0, 1].map(|at| lives[at] && health[at].inside > 0);
    let heard = [0, 1].map(|at| lives[at] && pairs.lines[at].iter().any(|line| line.loss == 0));
    let both = lives == [true, true];
    let names = |who: [bool; 2]| {
        ["a", "b"].into_iter().zip(who).filter_map(|(name, is)| is.then_some(name)).collect::<Vec<_>>()
    };
    match heard {
        // They hear each other: the fitter one, else a, which is preferred.
        [true, true] if both => {
            let rank = |at: usize| (health[at].inside, std::cmp::Reverse(health[at].tier));
            match able {
                [true, true] if rank(1) > rank(0) => vec![vec!["b"]],
                [true, true] => vec![vec!["a"]],
                [false, false] => vec![vec![], vec!["a"], vec!["b"]],
                able => vec![names(able)],
            }
        }
        // One way: who is not heard hears; who hears nobody serves if it can. The other gives way, but not to a worse one.
        [true, false] | [false, true] if both => {
            let all = [vec![], vec!["a"], vec!["b"], vec!["a", "b"]];
            all.into_iter().filter(|who| one_way(pairs, who)).collect()
        }
        // Nobody hears: each serves that can.
        _ => vec![names(able)],
    }
}

/// With one way cut: the deaf one serves if it can; the one that hears it only if that is out, or worse.
fn one_way(pairs: &Pairs, who: &[&str]) -> bool {
    let cut = |at: usize| pairs.lines[at].iter().all(|line| line.loss > 0);
    // `deaf` is the one whose partner is mute.
    let deaf = usize::from(cut(0));
    let (deaf_name, other_name) = (["a", "b"][deaf], ["a", "b"][1 - deaf]);
    let (it, other) = (pairs.members[deaf].health, pairs.members[1 - deaf].health);
    let serves = it.inside > 0;
    let better = (other.inside, std::cmp::Reverse(other.tier)) > (it.inside, std::cmp::Reverse(it.tier));
    let want: &[&str] = match (serves, better) {
        (true, false) => &[deaf_name],
        (true, true) => return who.contains(&deaf_name),
        (false, _) if other.inside > 0 => &[other_name],
        (false, _) => &[],
    };
    who == want
}

#[test]
fn x_19_any_two_faults_end_where_the_table_allows() {
    for (first, one) in FAULTS {
        for (second, two) in FAULTS {
            for gap in [0, 250, 2_000] {
                let mut pairs = settled(gap, config());
                one(&mut pairs);
                pairs.run(ms(gap));
                two(&mut pairs);
                pairs.run(ms(8_000));
                let (active, allowed) = (pairs.active(), allowed(&pairs));
                assert!(
                    allowed.contains(&active),
                    "{first}, {gap} ms, {second}: {active:?}, not {allowed:?}"
                );
                no_faults(&pairs);
                calm(&mut pairs);
                assert_eq!(pairs.active(), ["a"], "{first}, {gap} ms, {second}, and all is well again");
                no_faults(&pairs);
            }
        }
    }
}

#[test]
fn a_planned_hand_over_has_no_gap_and_two_active_for_a_beats_way_only() {
    for seed in seeds(50) {
        let mut pairs = settled(seed, config());
        assert!(pairs.step(0, Input::Yield));
        let (mut two, start) = (Nanos::ZERO, pairs.now);
        while pairs.active() != ["b"] {
            pairs.run(ms(1));
            match pairs.active().len() {
                0 => panic!("seed {seed}: nobody"),
                2 => two += ms(1),
                _ => {}
            }
            assert!(pairs.now.since(start) < SLOWEST + SLOWEST + ms(2), "seed {seed}: it takes too long");
        }
        assert!(two <= SLOWEST + ms(1), "seed {seed}: {} ms", two.as_ms());
        no_faults(&pairs);
    }
}

#[test]
fn one_that_was_away_cannot_claim_with_an_old_preference() {
    for automatic in [true, false] {
        let failback = Failback { automatic, after: ms(500) };
        let mut pairs = settled(7, Config { failback, ..config() });
        pairs.crash(0);
        pairs.run(ms(1_000));
        pairs.step(1, Input::Prefer { member: name(1) });
        pairs.start(0);
        pairs.step(0, Input::Synced { synced: true });
        pairs.run(ms(5_000));
        assert_eq!(pairs.active(), ["b"]);
        assert_eq!(pairs.members[0].disk.unwrap().preference.member, name(1));
        no_faults(&pairs);
    }
}

#[test]
fn failback_is_as_the_table_of_the_documentation_says() {
    for (automatic, again) in [(true, "a"), (false, "b")] {
        let failback = Failback { automatic, after: ms(500) };
        let mut pairs = settled(3, Config { failback, ..config() });
        assert_eq!(pairs.active(), ["a"], "start");
        pairs.set_health(0, Health { inside: 2, tier: NO_TIER });
        pairs.run(ms(200));
        assert_eq!(pairs.active(), ["b"], "a less fit");
        pairs.set_health(0, Health::WHOLE);
        pairs.run(ms(2_000));
        assert_eq!(pairs.active(), [again], "a fit again");
        // Manual: not before somebody asks for it.
        pairs.step(1, Input::Prefer { member: name(0) });
        pairs.run(ms(200));
        assert_eq!(pairs.active(), ["a"]);
        no_faults(&pairs);
    }
}

#[test]
fn a_journal_of_inputs_decides_the_same_again() {
    let mut inputs = 0;
    for seed in seeds(100) {
        let pairs = run(seed);
        for (at, member) in pairs.members.iter().enumerate() {
            let Some(pair) = &member.pair else { continue };
            let began = serde_json::to_string(&member.began).unwrap();
            let mut again: Pair = serde_json::from_str(&began).unwrap();
            let mut effects = Vec::new();
            for line in &member.journal {
                let line = serde_json::to_string(line).unwrap();
                let (now, input): (Nanos, Input) = serde_json::from_str(&line).unwrap();
                let _ = again.step(now, input, &mut |effect| effects.push(effect));
                inputs += 1;
            }
            assert!(member.effects.ends_with(&effects), "seed {seed}, member {at}");
            assert_eq!(again.view(pairs.now), pair.view(pairs.now), "seed {seed}, member {at}");
        }
    }
    assert!(!whole() || inputs > 10_000, "{inputs}");
}
