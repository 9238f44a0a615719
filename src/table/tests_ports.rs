//! The pools of ports: preferences, rest, draws ahead, and a naive model of sets beside them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::bags::Bags;
use super::ports::{PortPool, PortPools, Quarantine};
use crate::base::Nanos;
use crate::sim::seeds::seeds;

const ZERO: Nanos = Nanos::ZERO;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn pools(addresses: usize, holds: impl Fn(u16) -> bool) -> PortPools {
    PortPools::new(addresses, Bags::new(false, holds), Quarantine::default(), (addresses <= 32, false))
}

/// All that a source gets until it is refused.
fn draw_all(pool: &mut PortPool<'_>, rng: &mut StdRng, now: Nanos, inside: u16) -> Vec<u16> {
    std::iter::from_fn(|| pool.draw(rng, now, inside, 1)).collect()
}

#[test]
fn rfc6888_13_every_port_is_handed_out_once_before_refusal() {
    for addresses in [1, 5, 2000] {
        let (rng, mut pools) = (&mut rng(1), pools(addresses, |_| true));
        let mut pool = pools.pool(addresses - 1).unwrap();
        let mut user = 0;
        let drawn: HashSet<u16> = std::iter::from_fn(|| {
            user += 1;
            let port = pool.draw(rng, ZERO, 1024 + user as u16 / 2, user)?;
            assert_eq!(pool.user(port), Some(user));
            Some(port)
        })
        .collect();
        assert_eq!(drawn.len(), 64512);
        assert!(drawn.iter().all(|port| *port >= 1024));
        assert_eq!(pool.free(), 0);
        assert_eq!(draw_all(&mut pool, rng, ZERO, 1023).len(), 1023);
    }
}

#[test]
fn rfc4787_3a1_and_rfc4787_3a2_and_rfc4787_4_range_and_parity_are_kept_while_there_are_ports() {
    for addresses in [1, 5, 2000] {
        for (inside, ports) in [(1024u16, 32_256), (65_535, 32_256), (0, 511), (1023, 512), (22, 511)] {
            let (rng, mut pools) = (&mut rng(2), pools(addresses, |_| true));
            let mut pool = pools.pool(0).unwrap();
            let drawn = draw_all(&mut pool, rng, ZERO, inside);
            let as_inside = |port: &u16| port % 2 == inside % 2 && (*port < 1024) == (inside < 1024);
            assert_eq!(drawn.iter().take_while(|port| as_inside(port)).count(), ports, "{inside}");
            // Never enforced: what it gets then are the other ones, its range first.
            let range = |port: &&u16| (**port < 1024) == (inside < 1024);
            let same = if inside < 1024 { 1023 } else { 64_512 };
            assert_eq!(drawn.iter().take_while(range).count(), same);
            assert_eq!(drawn.len(), if inside < 1024 { 65_535 } else { 64_512 });
        }
    }
}

#[test]
fn rfc6888_8_a_freed_port_rests_for_two_minutes() {
    let (rng, mut pools) = (&mut rng(1), pools(1, |port| port == 5000));
    let mut pool = pools.pool(0).unwrap();
    let mut draw = |pool: &mut PortPool<'_>, now| pool.draw(rng, now, 5001, 2);
    let port = draw(&mut pool, ZERO).unwrap();
    pool.release(port, Nanos::from_s(1));
    assert_eq!(pool.user(port), None, "it is nobody's while it rests");
    assert_eq!(draw(&mut pool, Nanos(Nanos::from_s(121).0 - 1)), None);
    assert_eq!(draw(&mut pool, Nanos::from_s(121)), Some(5000));
    pool.release_at_once(5000);
    assert_eq!(pool.user(5000), None);
    assert_eq!(draw(&mut pool, Nanos::from_s(121)), Some(5000));
    pool.release(5000, Nanos(Nanos::from_s(200).0 + 1));
    assert_eq!(draw(&mut pool, Nanos::from_s(320)), None, "not a nanosecond too early");
    assert_eq!(draw(&mut pool, Nanos::from_ms(320_001)), Some(5000));
}

#[test]
fn rfc6888_8y_how_long_and_how_many_rest_is_configured() {
    let all = |port: u16| (2000..2100).contains(&port);
    let s = Nanos::from_s;
    // Rest, most; how many are free at once, after 9 s, after 10 s, after a day.
    for (rest, most, free) in [
        (s(10), 65_536, [0, 0, 100, 100]),
        (s(10), 100, [0, 0, 100, 100]),
        (s(10), 30, [70, 70, 100, 100]),
        (s(10), 0, [100; 4]),
        (ZERO, 65_536, [100; 4]),
        (s(86_400), 65_536, [0, 0, 0, 100]),
        (Nanos::NEVER, u32::MAX, [0, 0, 0, 100]),
    ] {
        for (at, free) in [0, 9, 10, 86_400].into_iter().zip(free) {
            let quarantine = Quarantine { rest, most };
            let mut pools = PortPools::new(1, Bags::new(false, all), quarantine, (true, false));
            let (rng, mut pool) = (&mut rng(3), pools.pool(0).unwrap());
            let drawn = draw_all(&mut pool, rng, s(5), 2000);
            assert_eq!(drawn.len(), 100);
            drawn.iter().for_each(|port| pool.release(*port, s(5)));
            pool.wake(s(5 + at), 100);
            assert_eq!(pool.free(), free, "{rest:?} {most} after {at} s");
            if free == 70 && at == 0 {
                // Those that came first are free early.
                let early: HashSet<u16> = draw_all(&mut pool, rng, s(5), 2000).into_iter().collect();
                assert_eq!(early, drawn.iter().take(70).copied().collect());
            }
        }
    }
}

#[test]
fn what_is_called_for_is_what_the_draws_give_in_their_order() {
    for addresses in [1, 5] {
        let (rng, mut pools) = (&mut rng(3), pools(addresses, |port| (2000..2400).contains(&port)));
        assert_eq!(pools.call(0, 2000), None, "nothing was drawn ahead yet");
        for round in 0..20u16 {
            let n = round % 4 + 1;
            let insides: Vec<u16> = (0..n).map(|n| 3000 + n * (round % 3)).collect();
            let mut draw = |pools: &mut PortPools, inside| {
                let port = pools.pool(0).unwrap().draw(rng, ZERO, inside, 1).unwrap();
                assert_eq!(port % 2, inside % 2);
                port
            };
            draw(&mut pools, 2000);
            draw(&mut pools, 2001);
            let told: Vec<u16> = insides.iter().map(|i| pools.call(0, *i).unwrap()).collect();
            let drawn: Vec<u16> = insides.iter().map(|i| draw(&mut pools, *i)).collect();
            assert_eq!(told, drawn);
        }
    }
    let mut pools = pools(1, |_| true);
    let rng = &mut rng(1);
    for ready in [2, 4, 6] {
        pools.pool(0).unwrap().draw(rng, ZERO, 2000, 1).unwrap();
        let told = std::iter::from_fn(|| pools.call(0, 2000)).count();
        assert_eq!(told, ready, "two more with each draw");
    }
    pools.pool(0).unwrap().draw(rng, ZERO, 80, 1);
    assert_eq!(pools.call(0, 80), None, "low ports are not drawn ahead");
    assert_eq!(pools.call(1, 2000), None, "no such address");
}

#[test]
fn a_pool_that_nobody_draws_from_for_weeks_has_all_its_ports_back() {
    for days in [1, 24, 25, 30, 49, 50, 75] {
        let (rng, mut pools) = (&mut rng(1), pools(1, |port| (5000..5010).contains(&port)));
        let mut pool = pools.pool(0).unwrap();
        let begin = Nanos::from_s(1_000_000);
        draw_all(&mut pool, rng, begin, 5000).into_iter().for_each(|port| pool.release(port, begin));
        let later = begin + Nanos::from_s(days * 86_400);
        assert_eq!(draw_all(&mut pool, rng, later, 5000).len(), 10, "after {days} days");
    }
}

#[test]
fn all_ports_can_rest_and_come_back() {
    let bags = Bags::new(true, |_| true);
    let mut pools = PortPools::new(1, bags, Quarantine::default(), (true, false));
    let (rng, mut pool) = (&mut rng(2), pools.pool(0).unwrap());
    for round in 0..3u64 {
        let now = Nanos::from_s(round * 200);
        // The first draws of a round wake two sleepers each. Echo identifiers have neither parity nor range.
        let drawn = draw_all(&mut pool, rng, now, 7);
        assert_eq!(drawn.len(), 65_535, "round {round}");
        drawn.iter().for_each(|port| pool.release(*port, now));
        assert_eq!(pool.draw(rng, now, 7, 1), None);
    }
}

#[test]
fn rfc6888_15_and_rfc7857_9_successive_draws_do_not_tell_the_next() {
    let (rng, mut pools) = (&mut rng(7), pools(1, |_| true));
    let mut pool = pools.pool(0).unwrap();
    // As a host draws: its own ports in a row.
    let draws: Vec<i32> =
        (0..10_000).map(|n| i32::from(pool.draw(rng, ZERO, 40_000 + n, 1).unwrap())).collect();
    let deltas: HashSet<i32> = draws.windows(2).map(|w| w[1] - w[0]).collect();
    // Uniform draws give some 9 300 different odd steps; a counter or a stride would give a handful.
    assert!(deltas.len() > 8_500, "{}", deltas.len());
    let upper = draws.iter().filter(|d| **d > 33_279).count();
    assert!((4_700..5_300).contains(&upper), "{upper}");
}

#[test]
fn addresses_do_not_share_ports_and_an_untouched_one_is_as_at_the_beginning() {
    let (rng, mut pools) = (&mut rng(9), pools(65_536, |port| port % 3 == 0));
    assert_eq!(pools.len(), 65_536);
    for address in [0, 1, 40_000, 65_535] {
        let mut pool = pools.pool(address).unwrap();
        let drawn: HashSet<u16> = draw_all(&mut pool, rng, ZERO, 80).into_iter().collect();
        assert_eq!(drawn, (1..=u16::MAX).filter(|port| port % 3 == 0).collect());
        assert!((0..=u16::MAX).all(|port| pools.user(address, port).is_some() == drawn.contains(&port)));
    }
    assert_eq!(pools.user(2, 3000), None);
    assert!(pools.pool(65_536).is_none() && pools.user(65_536, 3000).is_none());
}

#[test]
fn a_pool_is_used_up_when_fewer_than_one_in_ten_are_free_and_then_finds_ports_in_use() {
    let (rng, mut pools) = (&mut rng(4), pools(1, |port| port < 3000));
    let mut pool = pools.pool(0).unwrap();
    assert_eq!(pool.random_in_use(rng), None);
    // 1976 high ports, of which 197 are not one in ten.
    let mut mine = HashSet::new();
    while pool.free() > 198 {
        assert!(!pool.used_up());
        mine.insert(pool.draw(rng, ZERO, 5000, 1).unwrap());
    }
    assert!(!pool.used_up());
    let last = pool.draw(rng, ZERO, 5000, 1).unwrap();
    assert!(pool.used_up());
    pool.release(last, ZERO);
    assert!(pool.used_up(), "a resting one is not free");
    let found: HashSet<u16> = (0..20_000).map(|_| pool.random_in_use(rng).unwrap()).collect();
    assert_eq!(found, mine);
    // The sizes change with what is lent.
    (0..100).for_each(|n| pool.take_in(10_000 + n));
    assert!(!pool.used_up());
    while pool.give_away(rng, |_| false).is_some() {}
    assert!(pool.used_up());
}

#[test]
fn removed_ports_are_never_drawn_nor_lent() {
    for addresses in [1, 5] {
        let (rng, mut pools) = (&mut rng(5), pools(addresses, |_| true));
        let mut pool = pools.pool(0).unwrap();
        pool.remove(|port| (8000..=8999).contains(&port) || port == 53);
        assert_eq!(pool.free(), 63_512);
        let lent: Vec<u16> = (0..30_000).map(|_| pool.give_away(rng, |_| false).unwrap()).collect();
        let drawn = draw_all(&mut pool, rng, ZERO, 53);
        assert_eq!(drawn.len() + lent.len(), 63_512 + 1022);
        assert!(drawn.iter().chain(&lent).all(|port| !(8000..=8999).contains(port) && *port != 53));
        assert!(lent.iter().all(|port| *port >= 1024), "low ports are not lent");
    }
}

/// What a pool should be, in sets.
#[derive(Default)]
struct Model {
    free: HashSet<u16>,
    used: BTreeMap<u16, u32>,
    /// Until when, in the order in which they came
    rests: Vec<(Nanos, u16)>,
}

impl Model {
    fn end_rests(&mut self, now: Nanos, most: usize) {
        for _ in 0..most {
            // Up to a ms more than asked for.
            if self.rests.first().is_none_or(|(until, _)| Nanos(until.0.next_multiple_of(1_000_000)) > now) {
                break;
            }
            self.free.insert(self.rests.remove(0).1);
        }
    }

    fn best(&self, one: bool, inside: u16) -> HashSet<u16> {
        let rank = |port: u16| match (one, inside < 1024, port < 1024) {
            (true, ..) => Some(0),
            (_, false, true) => None,
            (_, low, its) => Some(u16::from(low != its) * 2 + (port ^ inside) % 2),
        };
        let best = self.free.iter().filter_map(|port| rank(*port)).min();
        self.free.iter().filter(|port| best.is_some() && rank(**port) == best).copied().collect()
    }
}

#[test]
fn rfc4787_3_a_pool_is_as_a_naive_model_whatever_is_asked_of_it() {
    for seed in seeds(60) {
        let mut rng = rng(seed);
        let one = seed % 5 == 0;
        let quarantine = Quarantine {
            rest: Nanos::from_ms([120_000, 1, 0, 7][seed as usize % 4]),
            most: [65_536, 5, 0, 17][seed as usize / 4 % 4],
        };
        let addresses = [1, 5, 1500][seed as usize % 3];
        let few = rng.random_range(50..400);
        let its: HashSet<u16> =
            (0..few).map(|n| if n % 4 == 0 { n + 1 } else { rng.random_range(1..=u16::MAX) }).collect();
        let bags: Arc<Bags> = Bags::new(one, |port| its.contains(&port));
        let mut pools = PortPools::new(addresses, bags, quarantine, (addresses <= 32, false));
        let mut model = Model { free: its.clone(), ..Model::default() };
        let mut away = HashSet::new();
        let mut now = Nanos::from_s(4_294_900 + seed);
        for step in 0..3000u32 {
            let mut pool = pools.pool(0).unwrap();
            now += Nanos(rng.random_range(0..[1_000, 3_000_000, 5_000_000_000][step as usize / 1000]));
            match rng.random_range(0..23) {
                0..=9 => {
                    let inside = if rng.random_bool(0.3) { rng.random_range(0..1024) } else { rng.random() };
                    model.end_rests(now, 2);
                    let best = model.best(one, inside);
                    let drawn = pool.draw(&mut rng, now, inside, step);
                    assert_eq!(drawn.is_none(), best.is_empty(), "seed {seed} step {step}");
                    if let Some(port) = drawn {
                        assert!(best.contains(&port), "{inside} got {port}");
                        model.free.remove(&port);
                        model.used.insert(port, step);
                    }
                }
                what @ 10..=16 => {
                    let n = rng.random_range(0..=model.used.len());
                    let Some(port) = model.used.keys().nth(n).copied() else { continue };
                    model.used.remove(&port);
                    if what == 10 || quarantine.rest == ZERO || quarantine.most == 0 {
                        model.free.insert(port);
                    } else {
                        if model.rests.len() as u32 == quarantine.most {
                            model.free.insert(model.rests.remove(0).1);
                        }
                        model.rests.push((now + quarantine.rest, port));
                    }
                    if what == 10 { pool.release_at_once(port) } else { pool.release(port, now) }
                }
                17 => {
                    if let Some(port) = pool.give_away(&mut rng, |_| true) {
                        assert!(model.free.remove(&port) && (one || port >= 1024));
                        away.insert(port);
                    }
                }
                18 => {
                    if let Some(port) = away.iter().next().copied() {
                        away.remove(&port);
                        pool.take_in(port);
                        model.free.insert(port);
                    }
                }
                19..=21 => {
                    let n = rng.random_range(0..=its.len());
                    let port = its.iter().nth(n).copied().unwrap_or(rng.random());
                    model.end_rests(now, 2);
                    let can = its.contains(&port) && !away.contains(&port) && !model.used.contains_key(&port);
                    assert_eq!(pool.take(port, step, now), can, "seed {seed} step {step}: {port}");
                    if can {
                        model.free.remove(&port);
                        model.used.insert(port, step);
                    }
                    if let Some(at) = model.rests.iter().position(|(_, rests)| *rests == port) {
                        // The oldest takes its place.
                        model.rests.swap(0, at);
                        model.rests.remove(0);
                    }
                }
                _ => {
                    pool.wake(now, 5);
                    model.end_rests(now, 5);
                }
            }
            let open = |port: &&u16| one || **port >= 1024;
            let free = model.free.iter().filter(open).count();
            assert_eq!(pool.free(), free);
            let held = its.iter().filter(open).count() - away.len();
            assert_eq!(pool.used_up(), free * 10 < held);
            if step % 50 == 0 {
                let mut all = pool.all();
                all.sort_unstable();
                let mut kept: Vec<u16> = its.difference(&away).copied().collect();
                kept.sort_unstable();
                assert_eq!(all, kept, "no port twice, none lost");
                assert!(its.iter().all(|port| pool.user(*port) == model.used.get(port).copied()));
            }
        }
    }
}
