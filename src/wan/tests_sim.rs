//! The WAN machinery in seeded weather: losses, slow and reordered replies, dead targets, flaps, stalled workers, late ticks,
//! BFD, silence, new addresses, operators, a clock that jumps; groups of every make.
//!
//! A referee (`tests_referee`) that knows only what went in and what came out holds the invariants after every step. A
//! failing seed is in the message and fails again.

use super::tests_referee::Referee;
use super::*;
use crate::sim::seeds::{seeds, whole};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Targets there are.
const TARGETS: usize = 4;

pub(super) struct Sim {
    seed: u64,
    pub(super) rng: SmallRng,
    pub(super) wans: Wans,
    pub(super) now: Nanos,
    /// Sent and reply messages on their way to the machinery, by time of arrival.
    mail: Vec<(Nanos, Input)>,
    journal: Vec<(Nanos, Input)>,
    pub(super) effects: Vec<Effect>,
    pub(super) referee: Referee,
    /// Chance in a thousand that a probe is lost, by WAN: of the line, and of what is beyond the gateway.
    pub(super) loss: Vec<(u32, u32)>,
    /// Targets that are dead for everybody.
    dead: [bool; TARGETS],
    stalled_until: Nanos,
    /// Late sends and ticks, stalls, operators.
    rough: bool,
    /// Late ticks alone; what has come until then is heard before.
    pub(super) late: bool,
    spins: u32,
}

pub(super) fn health(rng: &mut SmallRng) -> Health {
    let target = |n: usize| Target { kind: TargetKind::Icmp, name: n.to_string() };
    let degraded = Degraded {
        window: Nanos::from_ms(rng.random_range(1_000..6_000)),
        loss_percent: rng.random_range(5..60),
        latency: Nanos::from_ms(rng.random_range(10..300)),
        jitter: Nanos::from_ms(rng.random_range(5..200)),
    };
    Health {
        arp_every: Nanos::from_ms(rng.random_range(50..=400)),
        failures: rng.random_range(1..=4),
        successes: rng.random_range(1..=8),
        stable: Nanos::from_ms(rng.random_range(0..=5_000)),
        flap_max: Nanos::from_ms(rng.random_range(0..=30_000)),
        targets: (0..TARGETS).filter(|_| rng.random_range(0..3) == 0).map(target).collect(),
        every: Nanos::from_ms(rng.random_range(200..=1_000)),
        timeout: Nanos::from_ms(rng.random_range(100..=1_500)),
        need: rng.random_range(1..=2),
        bfd: rng.random_range(0..2) == 0,
        degraded: (rng.random_range(0..3) == 0).then_some(degraded),
        passive: rng.random(),
        metered: rng.random_range(0..3) == 0,
        dhcp: rng.random_range(0..4) == 0,
    }
}

pub(super) fn group(rng: &mut SmallRng, wans: usize) -> GroupConfig {
    let mut members = Vec::new();
    for wan in 0..wans as u8 {
        if rng.random_range(0..4) > 0 {
            let (tier, weight) = (rng.random_range(1..=3), rng.random_range(1..5));
            members.push(Member { wan: WanId(wan), tier, weight });
        }
    }
    let span = |rng: &mut SmallRng, most| Nanos::from_ms(rng.random_range(0..most));
    let fate = |rng: &mut SmallRng| if rng.random() { Fate::Rebind } else { Fate::Drop };
    GroupConfig {
        name: String::new(),
        members,
        mode: if rng.random() { Mode::Failover } else { Mode::Balance },
        failback: Failback { automatic: rng.random_range(0..3) > 0, after: span(rng, 8_000) },
        none_fit: if rng.random() { NoneFit::Best } else { NoneFit::Unreachable },
        on_failover: OnFailover { tcp_reset_after: span(rng, 4_000), udp: fate(rng), icmp: fate(rng) },
        on_failback: OnFailback {
            drain: span(rng, 10_000),
            metered: span(rng, 5_000),
            tcp: if rng.random() { TcpFate::Reset } else { TcpFate::Keep },
            udp: fate(rng),
        },
    }
}

impl Sim {
    pub(super) fn new(seed: u64, rough: bool) -> Sim {
        let mut rng = SmallRng::seed_from_u64(seed);
        let count = rng.random_range(2..=4);
        let wans: Vec<Health> = (0..count).map(|_| health(&mut rng)).collect();
        let groups = (0..rng.random_range(1..=3)).map(|_| group(&mut rng, count)).collect();
        Sim::of(seed, rough, Config { wans, groups }, rng)
    }

    pub(super) fn of(seed: u64, rough: bool, config: Config, rng: SmallRng) -> Sim {
        Sim {
            seed,
            rng,
            wans: Wans::new(config.clone(), Nanos::ZERO),
            now: Nanos::ZERO,
            mail: Vec::new(),
            journal: Vec::new(),
            effects: Vec::new(),
            loss: vec![(0, 0); config.wans.len()],
            referee: Referee::new(seed, config),
            dead: [false; TARGETS],
            stalled_until: Nanos::ZERO,
            rough,
            late: false,
            spins: 0,
        }
    }

    pub(super) fn run(&mut self, end: Nanos, weather: fn(&mut Sim)) {
        let mut next_weather = self.now;
        while self.now < end {
            let mail = self.mail.iter().map(|(at, _)| *at).min().unwrap_or(Nanos::NEVER);
            let tick = self.wans.next_deadline();
            self.now = self.now.max(mail.min(tick).min(next_weather));
            if self.now >= next_weather {
                weather(self);
                next_weather = self.now + Nanos::from_ms(self.rng.random_range(20..2_500));
            }
            self.deliver();
            if self.now >= tick {
                if (self.rough || self.late) && self.rng.random_range(0..10) == 0 {
                    self.now += Nanos::from_ms(self.rng.random_range(0..200));
                }
                if self.late {
                    self.deliver();
                }
                self.step(Input::Tick);
                // one that is asked faster from now on is asked at once
                self.spins = if self.wans.next_deadline() > self.now { 0 } else { self.spins + 1 };
                assert!(self.spins < 4, "seed {}: it spins", self.seed);
            }
        }
    }

    fn deliver(&mut self) {
        while let Some(next) = self.mail.iter().position(|(at, _)| *at <= self.now) {
            let (_, input) = self.mail.remove(next);
            self.step(input);
        }
    }

    pub(super) fn wan(&mut self) -> WanId {
        WanId(self.rng.random_range(0..self.loss.len()) as u8)
    }

    fn weather(&mut self) {
        let wan = self.wan();
        let loss = &mut self.loss[wan.index()];
        match self.rng.random_range(0..18) {
            0..=1 => loss.0 = 1000,
            2..=3 => loss.1 = 1000,
            4..=6 => *loss = (0, 0),
            7 => *loss = (self.rng.random_range(0..500), self.rng.random_range(0..500)),
            8 => self.step(Input::Link { wan, up: false }),
            9..=10 => (0..self.loss.len() as u8)
                .for_each(|wan| self.step(Input::Link { wan: WanId(wan), up: true })),
            11 => {
                let dead = self.rng.random();
                let target = self.rng.random_range(0..TARGETS);
                self.dead[target] = dead;
            }
            12 => self.step(Input::Silence { wan }),
            13 => {
                let ends = [BfdSays::Lost, BfdSays::Lost, BfdSays::Withdrawn][self.rng.random_range(0..3)];
                let says = if self.wans.get(wan).bfd == Some(true) { ends } else { BfdSays::Up };
                self.step(Input::Bfd { wan, says });
            }
            14 if self.rough => self.step(Input::Address { wan }),
            15 if self.rough => match self.rng.random_range(0..6) {
                5 => {
                    let span = Nanos::from_ms(self.rng.random_range(1..5_000));
                    self.jump(span);
                }
                3..=4 => self.stalled_until = self.now + Nanos::from_ms(self.rng.random_range(0..3_000)),
                n => {
                    let admin = [Admin::Auto, Admin::Down, Admin::Drain][n % 3];
                    let force = self.rng.random();
                    self.step(Input::Admin { wan, admin, force });
                }
            },
            16..=17 => {
                let held = self.rng.random_range(0..4) > 0;
                self.step(Input::Lease { wan, held });
            }
            _ => {}
        }
    }

    /// The machine stands still and its clock does not; what comes meanwhile is lost.
    pub(super) fn jump(&mut self, span: Nanos) {
        self.now += span;
        let now = self.now;
        self.mail.retain(|(at, _)| *at > now);
    }

    pub(super) fn step(&mut self, input: Input) {
        self.journal.push((self.now, input));
        let before = self.referee.before(&self.wans, self.now, input);
        let mut effects = Vec::new();
        let result = self.wans.step(self.now, input, &mut |effect| effects.push(effect));
        self.referee.after(&self.wans, before, result, &effects);
        for effect in &effects {
            if let &Effect::Probe { wan, probe, round } = effect {
                self.send(wan, probe, round);
            }
        }
        self.effects.extend(effects);
    }

    fn send(&mut self, wan: WanId, probe: Probe, round: u32) {
        let wait = if self.rough { self.rng.random_range(0..150) } else { self.rng.random_range(0..10) };
        let at = self.now + Nanos::from_ms(wait);
        // a stalled worker drops what it is asked
        if self.now < self.stalled_until {
            return;
        }
        self.mail.push((at, Input::ProbeSent { wan, probe, round, at }));
        let (line, beyond) = self.loss[wan.index()];
        let lost = |rng: &mut SmallRng, loss| rng.random_range(0..1000) < loss;
        let dead = match probe {
            Probe::Gateway => false,
            Probe::Target(n) => lost(&mut self.rng, beyond) || self.dead[self.referee.target(wan, n)],
        };
        if !dead && !lost(&mut self.rng, line) {
            let at = at + Nanos::from_ms(self.rng.random_range(0..if self.rough { 600 } else { 40 }));
            let round = (probe != Probe::Gateway).then_some(round);
            self.mail.push((at, Input::ProbeReply { wan, probe, round, at }));
        }
    }

    /// The journal, taken in by fresh WANs.
    pub(super) fn replay(&self) {
        let mut again = Vec::new();
        let mut wans = Wans::new(self.referee.config.clone(), Nanos::ZERO);
        for &(now, input) in &self.journal {
            let _ = wans.step(now, input, &mut |effect| again.push(effect));
        }
        assert!(again == self.effects, "seed {}: replays otherwise", self.seed);
    }
}

#[test]
fn x10_x11_x14_x15_hold_in_thousands_of_storms() {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for seed in seeds(3_000) {
        let mut sim = Sim::new(seed, seed % 2 == 0);
        sim.run(Nanos::from_s(25), Sim::weather);
        sim.replay();
        for effect in &sim.effects {
            let name = match effect {
                Effect::State(change) => format!("{:?}", change.reason),
                Effect::Selected(selection) => format!("{:?}", selection.kind),
                Effect::Blamed { .. } => "blamed".into(),
                Effect::Cleared { .. } => "cleared".into(),
                _ => continue,
            };
            *seen.entry(name).or_default() += 1;
        }
    }
    let all = [
        "LinkLost",
        "NoLease",
        "GatewaySilent",
        "TargetsSilent",
        "Silent",
        "Bfd",
        "CannotSend",
        "Loss",
        "Latency",
        "Jitter",
        "FirstAnswer",
        "Recovered",
        "Steady",
        "Initial",
        "Failover",
        "Failback",
        "Handover",
        "Lost",
        "Resort",
        "Resumed",
        "blamed",
        "cleared",
    ];
    for name in all {
        assert!(
            !whole() || seen.get(name).is_some_and(|count| *count > 20),
            "the weather was too calm: {name} in {seen:?}"
        );
    }
}
