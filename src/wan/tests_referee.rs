//! The referee of the simulation: what holds after every step, judged by inputs and effects alone.

use std::collections::VecDeque;

use super::*;

/// What is remembered of a WAN.
#[derive(Clone, Debug, Default)]
struct Witness {
    /// Gateway probes sent since its last reply.
    unanswered: u32,
    /// Answers since the last down, or lost link.
    answers: u32,
    /// Rounds of targets: number, when it left first, answers in time.
    rounds: VecDeque<(u32, Nanos, Vec<u8>)>,
    confirming: Option<Nanos>,
    /// When the gateway was asked.
    asked: VecDeque<Nanos>,
    /// By group: when it was left last.
    left: Vec<Nanos>,
    down_since: Nanos,
}

pub(super) struct Referee {
    seed: u64,
    pub(super) config: Config,
    witness: Vec<Witness>,
}

/// How all stood before a step.
pub(super) struct Before {
    now: Nanos,
    input: Input,
    wans: Vec<WanStatus>,
    groups: Vec<GroupStatus>,
}

impl Referee {
    pub(super) fn new(seed: u64, config: Config) -> Referee {
        let witness = Witness { left: vec![Nanos::ZERO; config.groups.len()], ..Witness::default() };
        Referee { seed, witness: vec![witness; config.wans.len()], config }
    }

    /// The number of a WAN's target among all.
    pub(super) fn target(&self, wan: WanId, n: u8) -> usize {
        self.config.wans[wan.index()].targets[usize::from(n)].name.parse().unwrap()
    }

    pub(super) fn before(&mut self, wans: &Wans, now: Nanos, input: Input) -> Before {
        match input {
            Input::ProbeSent { wan, probe: Probe::Gateway, .. } => self.witness[wan.index()].unanswered += 1,
            Input::ProbeSent { wan, round, at, .. } => {
                let rounds = &mut self.witness[wan.index()].rounds;
                if !rounds.iter().any(|(number, ..)| *number == round) {
                    rounds.push_back((round, at, Vec::new()));
                }
            }
            Input::ProbeReply { wan, probe, round, .. } if wans.get(wan).link != Some(false) => {
                let seen = &mut self.witness[wan.index()];
                seen.answers += 1;
                match probe {
                    Probe::Gateway => seen.unanswered = 0,
                    Probe::Target(n) => {
                        if let Some(row) = seen.rounds.iter_mut().find(|row| Some(row.0) == round) {
                            row.2.push(n);
                        }
                    }
                }
            }
            Input::Link { wan, up: false } => {
                self.witness[wan.index()].answers = 0;
                self.witness[wan.index()].rounds.clear();
            }
            Input::Lease { wan, held: false } if self.config.wans[wan.index()].dhcp => {
                self.witness[wan.index()].answers = 0;
                self.witness[wan.index()].rounds.clear();
            }
            _ => {}
        }
        Before {
            now,
            input,
            wans: wans.iter().map(|(_, status)| status.clone()).collect(),
            groups: wans.groups().cloned().collect(),
        }
    }

    pub(super) fn after(
        &mut self,
        wans: &Wans,
        before: Before,
        result: Result<(), Refused>,
        effects: &[Effect],
    ) {
        let seed = self.seed;
        if result.is_err() {
            assert!(effects.is_empty(), "seed {seed}: refused, yet {effects:?}");
            assert!(wans.iter().all(|(id, status)| *status == before.wans[id.index()]), "seed {seed}");
        }
        for effect in effects {
            match effect {
                Effect::Probe { wan, probe: Probe::Gateway, .. } => self.asked(*wan, before.now),
                Effect::State(change) => self.changed(change, &before),
                Effect::Confirming { wan } => self.witness[wan.index()].confirming = Some(before.now),
                Effect::Cleared { wan } => self.witness[wan.index()].confirming = None,
                _ => {}
            }
        }
        for (index, group) in wans.groups().enumerate() {
            self.group(index, group, wans, &before, effects);
        }
    }

    fn asked(&mut self, wan: WanId, now: Nanos) {
        let every = self.config.wans[wan.index()].arp_every;
        let asked = &mut self.witness[wan.index()].asked;
        asked.retain(|at| now.since(*at) < Nanos::from_s(1));
        asked.push_back(now);
        let most = 8.max(1_000 / every.as_ms() + 2);
        assert!(asked.len() as u64 <= most, "seed {}: {} ARP requests a second", self.seed, asked.len());
    }

    fn changed(&mut self, change: &StateChange, before: &Before) {
        let (seed, now) = (self.seed, before.now);
        let health = &self.config.wans[change.wan.index()];
        let was = &before.wans[change.wan.index()];
        let seen = &mut self.witness[change.wan.index()];
        assert_eq!(change.from, was.state, "seed {seed}");
        assert_ne!(change.from, change.to, "seed {seed}");
        match change.reason {
            Reason::GatewaySilent => {
                assert!(seen.unanswered >= health.failures, "seed {seed}: {change:?}");
            }
            Reason::TargetsSilent => {
                // rounds of one target that counts can be bad for want of it only
                let need = health.need as usize;
                let good = seen.rounds.iter().rposition(|row| row.2.len() >= need.min(health.targets.len()));
                let bad = seen.rounds.iter().skip(good.map_or(0, |at| at + 1));
                let over = bad.filter(|row| now >= row.1 + health.timeout).count();
                let late = seen.rounds.iter().any(|row| !row.2.is_empty());
                assert!(over >= health.failures as usize || late, "seed {seed}: {change:?}");
            }
            Reason::Silent => {
                let since = seen.confirming.unwrap();
                assert!(now >= since + Nanos::from_ms(110), "seed {seed}");
                assert!(health.passive, "seed {seed}");
            }
            Reason::Bfd => assert!(health.bfd, "seed {seed}"),
            Reason::Recovered => {
                assert!(seen.answers >= health.successes, "seed {seed}: {change:?}");
                let none_fit = !before.wans.iter().any(WanStatus::fit);
                // with the last fit one it may have died in this very step
                let died = !matches!(before.input, Input::ProbeReply { .. });
                let held = now.since(seen.down_since) >= health.stable;
                assert!(none_fit || died || held, "seed {seed}: {change:?}");
            }
            _ => {}
        }
        if change.to == State::Down {
            // rounds that are not over are judged yet, with the answers they have
            let open = seen.rounds.iter().filter(|row| now < row.1 + health.timeout);
            (seen.answers, seen.down_since) = (open.map(|row| row.2.len() as u32).sum(), now);
            seen.confirming = None;
        }
        if change.to == State::Degraded {
            assert!(change.evidence.iter().all(|e| e.value > e.threshold), "seed {seed}: {change:?}");
        }
        assert!(change.to != State::Down || !change.evidence.is_empty(), "seed {seed}: {change:?}");
    }

    fn group(&mut self, index: usize, group: &GroupStatus, wans: &Wans, before: &Before, effects: &[Effect]) {
        let (seed, now) = (self.seed, before.now);
        let config = &self.config.groups[index];
        let was = &before.groups[index];
        let fit = || config.members.iter().filter(|member| wans.get(member.wan).fit());
        let up = fit().any(|member| wans.get(member.wan).state == State::Up);
        for (wan, _) in &group.carrying {
            let status = wans.get(*wan);
            assert!(config.members.iter().any(|member| member.wan == *wan), "seed {seed}");
            assert!(status.fit() || fit().next().is_none(), "seed {seed}: unfit though a fit one exists");
            assert!(!up || status.state == State::Up, "seed {seed}: degraded though one is up");
            assert!(status.carrying && (status.sends() || !status.fit()), "seed {seed}");
        }
        assert_eq!(fit().next().is_some(), group.somewhere(), "seed {seed}: the fit are used");
        assert!(
            group.carrying.is_empty() || !group.resort || config.none_fit == NoneFit::Best,
            "seed {seed}"
        );
        assert!(config.mode == Mode::Balance || group.carrying.len() <= 1, "seed {seed}");
        self.selected(index, group, wans, before, effects);
        for wan in 0..before.wans.len() {
            let id = WanId(wan as u8);
            let (old, new) = (was.bonds[wan], group.bonds[wan]);
            let next = |epoch: u8| if epoch == 255 { 1 } else { epoch + 1 };
            let leased = before.input == Input::Lease { wan: id, held: false };
            let addressed = leased || before.input == Input::Address { wan: id };
            let gone = wans.get(id).state == State::Down || wans.get(id).admin == Admin::Down;
            let drained = matches!(was.standings[wan], Standing::Draining { until } if now >= until)
                || group.standings[wan] == Standing::Left && !gone;
            if old.epoch != new.epoch {
                assert_eq!(new.epoch, next(old.epoch), "seed {seed}");
                assert!(addressed || gone || drained, "seed {seed}: left though well");
                assert!(addressed || group.somewhere(), "seed {seed}: x15 nowhere to go");
                self.witness[wan].left[index] = now;
            }
            if old.tcp != new.tcp {
                assert_eq!(new.tcp, next(old.tcp), "seed {seed}");
                let since = self.witness[wan].left[index];
                let after = self.config.groups[index].on_failover.tcp_reset_after;
                let due = gone && now >= since + after;
                assert!(addressed || drained || due, "seed {seed}: TCP was left too early");
                assert!(addressed || group.somewhere(), "seed {seed}: x15 nowhere to go");
            }
            let told = effects.iter().filter(|effect| {
                matches!(effect, Effect::Standing(c) if usize::from(c.group) == index && c.wan == id)
            });
            let changes = u8::from(old != new || was.standings[wan] != group.standings[wan]);
            assert!(told.count() >= usize::from(changes), "seed {seed}: untold");
            let carries = group.carries(id) && was.carries(id) && !group.resort && !was.resort;
            assert!(!carries || addressed || old == new, "seed {seed}: the active one's sessions were left");
        }
    }

    fn selected(&self, index: usize, group: &GroupStatus, wans: &Wans, before: &Before, effects: &[Effect]) {
        let (seed, now) = (self.seed, before.now);
        let config = &self.config.groups[index];
        let was = &before.groups[index];
        let told: Vec<&Selection> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Selected(s) if usize::from(s.group) == index => Some(s),
                _ => None,
            })
            .collect();
        let changed = (&was.carrying, was.resort) != (&group.carrying, group.resort);
        assert_eq!(told.len(), usize::from(changed), "seed {seed}: told once");
        let Some(selection) = told.first() else { return };
        assert_eq!(selection.detected, now, "seed {seed}");
        assert!(selection.carrying.iter().copied().eq(group.carrying.iter().map(|c| c.0)), "seed {seed}");
        let judged =
            config.members.iter().all(|member| before.wans[member.wan.index()].state != State::Probing);
        let to = selection.to.map(|wan| wans.get(wan));
        if selection.kind == Kind::Failback && judged {
            assert!(to.unwrap().since + config.failback.after <= now, "seed {seed}: too early back");
            assert!(config.failback.automatic || config.mode == Mode::Balance, "seed {seed}: by itself");
        }
        assert_eq!(selection.kind == Kind::Resort, group.resort, "seed {seed}");
        assert_eq!(selection.kind == Kind::Lost, group.carrying.is_empty(), "seed {seed}");
    }
}
