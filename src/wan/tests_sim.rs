//! The WAN machinery in seeded weather: losses, slow replies, flaps, stalled workers, late ticks, operators.
//!
//! A referee that knows only what went in and what came out holds the invariants after every step. A failing seed is in the
//! message and fails again.

use super::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What the referee remembers of a WAN.
#[derive(Clone, Copy, Debug, Default)]
struct Witness {
    sent_since_reply: u32,
    replies_since_trouble: u32,
    first_reply: Option<Nanos>,
    last_reply: Option<Nanos>,
    was_down: bool,
    epoch: u16,
}

struct Sim {
    seed: u64,
    rng: SmallRng,
    health: Vec<Health>,
    wans: Wans,
    now: Nanos,
    /// Sent and reply messages on their way to the machinery, by time of arrival.
    mail: Vec<(Nanos, Input)>,
    journal: Vec<(Nanos, Input)>,
    effects: Vec<Effect>,
    witness: Vec<Witness>,
    /// Chance in a thousand that a probe is lost, by WAN.
    loss: Vec<u32>,
    stalled_until: Nanos,
    /// Late sends and ticks, stalls, operators: the bound on detection holds without them only.
    rough: bool,
    selections: u32,
}

impl Sim {
    fn new(seed: u64, rough: bool) -> Sim {
        let mut rng = SmallRng::seed_from_u64(seed);
        let count = rng.random_range(2..=4);
        let health: Vec<Health> = (0..count)
            .map(|_| Health {
                arp_every: Nanos::from_ms(rng.random_range(50..=400)),
                failures: rng.random_range(1..=4),
                successes: rng.random_range(1..=8),
                stable: Nanos::from_ms(rng.random_range(0..=5_000)),
            })
            .collect();
        let wans = Wans::new(health.clone(), Nanos::ZERO);
        Sim {
            seed,
            rng,
            wans,
            now: Nanos::ZERO,
            mail: Vec::new(),
            journal: Vec::new(),
            effects: Vec::new(),
            witness: vec![Witness::default(); count],
            loss: vec![0; count],
            health,
            stalled_until: Nanos::ZERO,
            rough,
            selections: 0,
        }
    }

    fn run(&mut self, end: Nanos) {
        let mut weather = Nanos::ZERO;
        while self.now < end {
            let mail = self.mail.iter().map(|(at, _)| *at).min().unwrap_or(Nanos::NEVER);
            let tick = self.wans.next_deadline();
            self.now = self.now.max(mail.min(tick).min(weather));
            if self.now >= weather {
                self.weather();
                weather = self.now + Nanos::from_ms(self.rng.random_range(20..2_500));
            }
            while let Some(next) = self.mail.iter().position(|(at, _)| *at <= self.now) {
                let (_, input) = self.mail.remove(next);
                self.step(input);
            }
            if self.now >= tick {
                if self.rough && self.rng.random_range(0..10) == 0 {
                    self.now += Nanos::from_ms(self.rng.random_range(0..200));
                }
                self.step(Input::Tick);
            }
        }
    }

    fn weather(&mut self) {
        let wan = WanId(self.rng.random_range(0..self.health.len()) as u8);
        match self.rng.random_range(0..10) {
            0..=2 => self.loss[wan.index()] = 1000,
            3..=5 => self.loss[wan.index()] = 0,
            6 => self.loss[wan.index()] = self.rng.random_range(0..800),
            7 => self.step(Input::Link { wan, up: false }),
            8 => (0..self.health.len() as u8)
                .for_each(|wan| self.step(Input::Link { wan: WanId(wan), up: true })),
            _ if self.rough => match self.rng.random_range(0..4) {
                0 => self.stalled_until = self.now + Nanos::from_ms(self.rng.random_range(0..3_000)),
                n => {
                    let admin = [Admin::Auto, Admin::Down, Admin::Drain][n - 1];
                    let force = self.rng.random();
                    self.step(Input::Admin { wan, admin, force });
                }
            },
            _ => {}
        }
    }

    fn step(&mut self, input: Input) {
        self.journal.push((self.now, input));
        self.note(input);
        let before: Vec<WanStatus> = self.wans.iter().map(|(_, status)| *status).collect();
        let carried = self.wans.carrying();
        let mut effects = Vec::new();
        let result = self.wans.step(self.now, input, &mut |effect| effects.push(effect));
        if result.is_err() {
            assert!(effects.is_empty(), "seed {}: refused, yet {effects:?}", self.seed);
            assert!(self.wans.iter().all(|(id, status)| *status == before[id.index()]), "seed {}", self.seed);
        }
        for &effect in &effects {
            self.judge(effect, &before);
            if let Effect::Probe { wan } = effect {
                self.send(wan);
            }
        }
        self.hold(carried, &before, &effects);
        self.effects.extend(effects);
    }

    fn send(&mut self, wan: WanId) {
        let wait = if self.rough { self.rng.random_range(0..150) } else { self.rng.random_range(0..10) };
        let at = self.now + Nanos::from_ms(wait);
        // a stalled worker drops what it is asked
        if self.now < self.stalled_until {
            return;
        }
        self.mail.push((at, Input::ProbeSent { wan, at }));
        if self.rng.random_range(0..1000) >= self.loss[wan.index()] {
            let at = at + Nanos::from_ms(self.rng.random_range(0..if self.rough { 600 } else { 40 }));
            self.mail.push((at, Input::ProbeReply { wan, at }));
        }
    }

    fn note(&mut self, input: Input) {
        match input {
            Input::ProbeSent { wan, .. } => self.witness[wan.index()].sent_since_reply += 1,
            Input::ProbeReply { wan, at } if self.wans.get(wan).link != Some(false) => {
                let seen = &mut self.witness[wan.index()];
                seen.sent_since_reply = 0;
                seen.last_reply = Some(at);
                if self.wans.get(wan).link == Some(true) {
                    seen.replies_since_trouble += 1;
                    seen.first_reply = seen.first_reply.or(Some(at));
                }
            }
            Input::Link { wan, up: false } => {
                let seen = &mut self.witness[wan.index()];
                *seen = Witness { was_down: seen.was_down, epoch: seen.epoch, ..Witness::default() };
            }
            _ => {}
        }
    }

    /// no transition under its thresholds, none late.
    fn judge(&mut self, effect: Effect, before: &[WanStatus]) {
        let seed = self.seed;
        match effect {
            Effect::State(StateChange { wan, to, from, reason }) => {
                let (health, seen) = (self.health[wan.index()], &mut self.witness[wan.index()]);
                assert_eq!(before[wan.index()].state, from, "seed {seed}");
                match to {
                    State::Probing => panic!("seed {seed}: {wan:?} back to probing"),
                    State::Up if seen.was_down => {
                        assert!(seen.replies_since_trouble >= health.successes, "seed {seed}: x10 successes");
                        let good = self.now.since(seen.first_reply.unwrap());
                        assert!(good >= health.stable, "seed {seed}: x10 stable {good:?}");
                    }
                    State::Up => assert!(seen.replies_since_trouble >= 1, "seed {seed}"),
                    State::Down => {
                        if reason == Reason::GatewaySilent {
                            assert!(seen.sent_since_reply >= health.failures, "seed {seed}: x10 failures");
                            let bound = health.arp_every.0 * (u64::from(health.failures) + 1);
                            if let (Some(last), false) = (seen.last_reply, self.rough) {
                                assert!(self.now.since(last).0 <= bound, "seed {seed}: detected late");
                            }
                        }
                        let seen = &mut self.witness[wan.index()];
                        seen.was_down = true;
                        seen.replies_since_trouble = 0;
                        seen.first_reply = None;
                    }
                }
            }
            Effect::Standing(StandingChange { wan, from, to, epoch }) => {
                let left = u16::from(to == Standing::Left);
                assert_ne!(from, to, "seed {seed}");
                assert_eq!(
                    epoch,
                    before[wan.index()].epoch + left,
                    "seed {seed}: epochs grow by leaving only"
                );
                self.witness[wan.index()].epoch = epoch;
            }
            Effect::Selected(selection) => {
                self.selections += 1;
                assert_eq!(selection.detected, self.now, "seed {seed}");
            }
            Effect::Probe { .. } | Effect::Link { .. } | Effect::Admin { .. } => {}
        }
    }

    /// What holds after every step.
    fn hold(&self, carried: Option<WanId>, before: &[WanStatus], effects: &[Effect]) {
        let seed = self.seed;
        let first_fit = self.wans.iter().find(|(_, status)| status.fit()).map(|(id, _)| id);
        assert_eq!(self.wans.carrying(), first_fit, "seed {seed}: the first fit one carries");
        let told = effects.iter().filter(|e| matches!(e, Effect::Selected(_))).count();
        assert_eq!(told, usize::from(carried != first_fit), "seed {seed}: told once");
        for (id, status) in self.wans.iter() {
            let was = before[id.index()];
            let down = status.state == State::Down || status.admin == Admin::Down;
            assert_eq!(status.epoch, self.witness[id.index()].epoch, "seed {seed}");
            assert_eq!(status.carrying, Some(id) == first_fit, "seed {seed}");
            match status.standing {
                Standing::Carrying => assert_eq!(Some(id), first_fit, "seed {seed}"),
                Standing::Kept => assert!(!down || first_fit.is_none(), "seed {seed}: kept though down"),
                Standing::Left => assert!(down || first_fit.is_none(), "seed {seed}: left though well"),
            }
            if first_fit.is_none() && was.standing != Standing::Left {
                assert_eq!(status.standing, Standing::Kept, "seed {seed}: x15 nowhere to go");
            }
            // a standby's troubles
            if carried == Some(id) && was.fit() && status.fit() && first_fit == Some(id) {
                assert_eq!((was.standing, was.epoch), (status.standing, status.epoch), "seed {seed}");
            }
        }
    }

    /// The journal, taken in by fresh WANs.
    fn replay(&self) {
        let mut again = Vec::new();
        let mut wans = Wans::new(self.health.clone(), Nanos::ZERO);
        for &(now, input) in &self.journal {
            let _ = wans.step(now, input, &mut |effect| again.push(effect));
        }
        assert!(again == self.effects, "seed {}: replays otherwise", self.seed);
    }
}

#[test]
fn x10_x11_x14_x15_hold_in_thousands_of_storms() {
    let mut selections = 0;
    for seed in 0..3_000 {
        let mut sim = Sim::new(seed, seed % 2 == 0);
        sim.run(Nanos::from_s(40));
        sim.replay();
        selections += sim.selections;
    }
    assert!(selections > 10_000, "the weather was too calm: {selections}");
}

#[test]
fn a_standbys_troubles_change_nothing_for_the_active_one() {
    for seed in 0..200 {
        let mut sim = Sim::new(seed, false);
        for wan in 0..sim.health.len() as u8 {
            sim.step(Input::Link { wan: WanId(wan), up: true });
        }
        sim.calm(Nanos::from_s(1));
        sim.effects.clear();
        while sim.now < Nanos::from_s(20) {
            let mut rng = sim.rng.clone();
            // the first one answers always
            let standby = WanId(rng.random_range(1..sim.health.len()) as u8);
            sim.loss[standby.index()] = [0, 500, 1000][rng.random_range(0..3)];
            let up = rng.random();
            sim.step(Input::Link { wan: standby, up });
            let pause = sim.now + Nanos::from_ms(rng.random_range(1..900));
            sim.rng = rng;
            sim.calm(pause);
        }
        assert!(!sim.effects.iter().any(|e| matches!(e, Effect::Selected(_))), "seed {seed}");
        assert_eq!(sim.wans.get(WanId(0)).epoch, 0, "seed {seed}");
        assert_eq!(sim.wans.carrying(), Some(WanId(0)), "seed {seed}");
    }
}

impl Sim {
    /// Mail and ticks until `end`, no weather.
    fn calm(&mut self, end: Nanos) {
        loop {
            let mail = self.mail.iter().map(|(at, _)| *at).min().unwrap_or(Nanos::NEVER);
            let tick = self.wans.next_deadline();
            if mail.min(tick) > end {
                self.now = self.now.max(end);
                return;
            }
            self.now = self.now.max(mail.min(tick));
            while let Some(next) = self.mail.iter().position(|(at, _)| *at <= self.now) {
                let (_, input) = self.mail.remove(next);
                self.step(input);
            }
            if self.now >= tick {
                self.step(Input::Tick);
            }
        }
    }
}
