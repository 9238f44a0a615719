//! Every state times every event: of the rule itself, of two rules that see each other, and of one machine from its start.

use std::collections::{HashSet, VecDeque};

use super::tests::{beat, config, me, pair};
use super::*;
use crate::base::Nanos;

const ROLES: [Role; 3] = [Role::Starting, Role::Standby, Role::Active];
const BOOLS: [bool; 2] = [false, true];

fn fitnesses() -> [Fitness; 5] {
    let unknown = Fitness::of([Known::Unknown], [(1, Known::Unknown)], []);
    [
        Fitness::known(0, 1, 1, 0),
        Fitness::known(1, NO_TIER, 0, 0),
        Fitness::known(1, 2, 1, 0),
        Fitness::known(1, 1, 1, 0),
        unknown,
    ]
}

fn sides(name: &str) -> Vec<Side> {
    let mut list = Vec::new();
    for role in ROLES {
        for fitness in fitnesses() {
            for flags in 0..8 {
                let (aside, in_sync, preferred) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
                list.push(Side { name: Name::cut(name), role, fitness, aside, in_sync, preferred });
            }
        }
    }
    list
}

/// Both sides, of which one is preferred.
fn joint() -> Vec<(Side, Side)> {
    let (a, b) = (sides("a"), sides("b"));
    let all = a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b)));
    all.filter(|(a, b)| a.preferred != b.preferred).collect()
}

#[test]
fn of_two_members_exactly_one_is_the_stronger() {
    for (a, b) in joint() {
        assert_ne!(stronger(&a, &b), stronger(&b, &a), "{a:?} {b:?}");
    }
}

fn facts(me: Side, partner: Option<Other>, bits: u32) -> Facts {
    Facts {
        me,
        partner,
        waiting: bits & 1 != 0,
        yielding: (bits & 2 != 0).then_some(Cause::Failback),
        settled: bits & 4 != 0,
        asked: bits & 8 != 0,
        due: bits & 16 != 0,
    }
}

#[test]
fn the_rule_takes_and_lets_go_only_for_the_reasons_that_there_are() {
    let mut seen = 0;
    let mut judge = |facts: Facts| {
        seen += 1;
        let decision = decide(&facts);
        let (was, now) = (facts.me.role == Role::Active, decision.role == Role::Active);
        let able = facts.me.fitness.able();
        let why = format!("{facts:?} -> {decision:?}");
        assert_eq!(decision.cause.is_some(), was != now, "{why}");
        match (&facts.partner, was, now) {
            (None, false, true) => assert!(able && !facts.waiting, "{why}"),
            (None, false, false) => assert!(!able || facts.waiting, "{why}"),
            (None, true, now) => assert_eq!(now, able, "{why}"),
            (Some(other), false, true) => {
                let active = other.side.role == Role::Active;
                assert!(able && (other.yields || !active), "{why}");
            }
            (Some(other), true, false) => assert_eq!(other.side.role, Role::Active, "{why}"),
            (Some(other), false, false) if other.side.role == Role::Active => {
                assert!(!other.yields || !able, "{why}");
            }
            (Some(_), ..) => {}
        }
        if decision.yields.is_some() {
            let to = facts.partner.unwrap().side;
            assert!(was && to.role != Role::Active && to.fitness.able(), "{why}");
        }
        // Decided again, it is the same.
        let again = Facts {
            me: Side { role: decision.role, aside: facts.me.aside && !now, ..facts.me },
            partner: facts.partner.map(|other| Other { yields: other.yields && !was, ..other }),
            yielding: decision.yields,
            asked: facts.asked && was == now,
            due: facts.due && was == now,
            ..facts
        };
        if was != now {
            let next = decide(&again);
            assert_eq!((next.role, next.yields.filter(|_| !facts.settled)), (decision.role, None), "{why}");
        }
    };
    for bits in 0..32 {
        for me in sides("a") {
            judge(facts(me, None, bits));
        }
        for (me, side) in joint() {
            for flags in 0..4 {
                let (yields, deaf) = (flags & 1 != 0 && side.role == Role::Active, flags & 2 != 0);
                judge(facts(me, Some(Other { side, yields, deaf }), bits));
            }
        }
    }
    assert!(seen > 900_000, "{seen}");
}

/// Two members that hear each other at once, one after the other.
struct Two {
    sides: [Side; 2],
    yields: [Option<Cause>; 2],
    asked: bool,
    due: bool,
}

impl Two {
    fn step(&mut self, at: usize) -> bool {
        let other = 1 - at;
        let side = self.sides[other];
        let partner = Other { side, yields: self.yields[other].is_some(), deaf: false };
        let facts = Facts {
            me: self.sides[at],
            partner: Some(partner),
            waiting: true,
            yielding: self.yields[at],
            settled: true,
            asked: self.asked,
            due: self.due && !side.aside,
        };
        let decision = decide(&facts);
        let changes = decision.role != self.sides[at].role || decision.yields != self.yields[at];
        if decision.role == Role::Active && self.sides[at].role != Role::Active {
            (self.sides[at].aside, self.asked) = (false, false);
        }
        (self.sides[at].role, self.yields[at]) = (decision.role, decision.yields);
        changes
    }

    fn active(&self, at: usize) -> bool {
        self.sides[at].role == Role::Active
    }
}

/// The table of docs/cluster.md, written down a second time.
fn expected(a: &Side, b: &Side, due: bool) -> Option<usize> {
    let sides = [a, b];
    let active = [a, b].map(|side| side.role == Role::Active);
    let fit = [a, b].map(|side| side.fitness);
    if !fit[0].able() && !fit[1].able() {
        return None;
    }
    if fit[0].able() != fit[1].able() {
        return Some(usize::from(fit[1].able()));
    }
    // The operator's word, as long as there is somebody to serve.
    if a.aside != b.aside {
        let other = usize::from(a.aside);
        if fit[other].fit() {
            return Some(other);
        }
    }
    for at in 0..2 {
        if fit[at].fitter(&fit[1 - at]) {
            return Some(at);
        }
    }
    let preferred = usize::from(b.preferred);
    let holder = match active {
        [true, false] => 0,
        [false, true] => 1,
        [true, true] => preferred,
        _ if a.in_sync != b.in_sync => usize::from(b.in_sync),
        _ => preferred,
    };
    let back =
        due && sides[preferred].in_sync && fit[preferred].as_fit(&fit[holder]) && !sides[preferred].aside;
    Some(if back { preferred } else { holder })
}

#[test]
fn from_every_state_two_members_that_hear_each_other_come_to_what_the_table_says() {
    for (a, b) in joint() {
        // Both aside: the one that takes the role is aside no more, which the table has no row for.
        if a.aside && b.aside {
            continue;
        }
        for (due, first) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
            let mut two = Two { sides: [a, b], yields: [None; 2], asked: false, due };
            let why = format!("{a:?} {b:?} due {due}, {first} first");
            let mut had = two.active(0) || two.active(1);
            let mut quiet = 0;
            for round in 0.. {
                quiet = if two.step((first + round) % 2) { 0 } else { quiet + 1 };
                let has = two.active(0) || two.active(1);
                assert!(has || !had, "{why}: the role was let go too early");
                had = has;
                if quiet == 2 {
                    break;
                }
                assert!(round < 12, "{why}: it goes round");
            }
            let active: Vec<usize> = (0..2).filter(|at| two.active(*at)).collect();
            let held = a.role == Role::Active || b.role == Role::Active;
            match expected(&a, &b, due) {
                Some(want) => assert_eq!(active, [want], "{why}"),
                None => assert!(active.len() <= usize::from(held), "{why}: {active:?}"),
            }
        }
    }
}

/// What may happen to one machine.
fn events() -> Vec<(Nanos, Option<Input>)> {
    let config = config();
    let fits = [Fitness::known(0, 1, 1, 0), Fitness::known(1, 2, 1, 0), Fitness::known(1, 1, 1, 0)];
    let soon = Nanos::from_ms(1);
    let mut list: Vec<(Nanos, Option<Input>)> = Vec::new();
    for span in [config.timeout, config.settle, config.failback.after] {
        list.push((span, Some(Input::Tick)));
        list.push((span, None));
    }
    for fitness in fits {
        list.push((soon, Some(Input::Fitness { fitness })));
        for role in ROLES {
            for flags in 0..8 {
                let (yields, in_sync) = (flags & 1 != 0, flags & 2 != 0);
                let hears = if flags & 4 != 0 { me().boot } else { 0 };
                if yields && role != Role::Active || in_sync && role != Role::Standby {
                    continue;
                }
                let beat = Beat { role, yields, in_sync, hears, fitness, ..beat() };
                list.push((soon, Some(Input::Beat { path: 0, at: Nanos::NEVER, beat })));
            }
        }
    }
    list.extend(BOOLS.map(|synced| (soon, Some(Input::Synced { synced }))));
    list.extend([me().name, me().partner].map(|member| (soon, Some(Input::Prefer { member }))));
    list.push((soon, Some(Input::Yield)));
    list
}

#[test]
fn every_state_that_one_machine_can_come_to_takes_every_event() {
    let (events, mut seen, mut queue) = (events(), HashSet::new(), VecDeque::from([pair()]));
    let mut steps = 0;
    while let Some(from) = queue.pop_front() {
        for (span, input) in &events {
            let mut next = from.clone();
            let now = next.now + *span;
            let mut effects = Vec::new();
            // `None`: a beat of the partner's as it was, so that it stays heard while time passes.
            let input = match (input, from.partner.map(|partner| partner.beat)) {
                (Some(Input::Beat { path, at, beat }), _) => {
                    let beat = Beat { preference: from.preference, ..*beat };
                    Input::Beat { path: *path, at: *at, beat }
                }
                (Some(Input::Prefer { .. }), _) if from.preference.version > 1 => continue,
                (Some(input), _) => *input,
                (None, Some(beat)) => Input::Beat { path: 0, at: Nanos::NEVER, beat },
                (None, None) => continue,
            };
            let taken = next.step(now, input, &mut |effect| effects.push(effect));
            judge(&from, &next, &input, &effects, taken.is_ok());
            steps += 1;
            if seen.insert(next.abstraction()) {
                queue.push_back(next);
            }
        }
    }
    assert!(seen.len() > 1_000 && steps > 50_000, "{} states, {steps} steps", seen.len());
}

fn judge(from: &Pair, to: &Pair, input: &Input, effects: &[Effect], taken: bool) {
    let why = || format!("{from:?}\n{input:?}\n{effects:?}");
    assert!(taken || effects.is_empty(), "{}", why());
    let moves: Vec<bool> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Take { .. } => Some(true),
            Effect::Release { .. } => Some(false),
            _ => None,
        })
        .collect();
    let (was, is) = (from.role == Role::Active, to.role == Role::Active);
    let want: &[bool] = match (was, is) {
        (false, true) => &[true],
        (true, false) => &[false],
        _ => &[],
    };
    assert_eq!(moves, want, "{}", why());
    // What is said is what is so, and the disk knows it first.
    let at = |found: fn(&Effect) -> bool| effects.iter().position(found);
    let sends = at(|effect| matches!(effect, Effect::Send { .. }));
    assert_eq!(sends.is_some(), from.beat() != to.beat(), "{}", why());
    if to.preference != from.preference {
        assert!(at(|effect| matches!(effect, Effect::Keep { .. })) < sends, "{}", why());
    }
    if let (true, Some(sends)) = (was != is, sends) {
        let moved = at(|effect| matches!(effect, Effect::Take { .. } | Effect::Release { .. }));
        assert!(moved.unwrap() < sends, "{}", why());
    }
    assert!(!matches!(input, Input::Tick) || to.next_deadline() > to.now, "it spins: {}", why());
}
