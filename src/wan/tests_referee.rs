//! The referee of the simulation: what holds after every step, judged by inputs and effects alone.

use std::collections::BTreeMap;

use super::tests_witness::Witness;
use super::*;

pub(super) struct Referee {
    seed: u64,
    pub(super) config: Config,
    witness: Vec<Witness>,
    /// Targets that count, by their number among all, and since when.
    book: BTreeMap<usize, Nanos>,
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
        let witness = config.wans.iter().map(|health| Witness::new(health, config.groups.len())).collect();
        Referee { seed, witness, config, book: BTreeMap::new() }
    }

    /// The number of a WAN's target among all.
    pub(super) fn target(&self, wan: WanId, n: u8) -> usize {
        self.config.wans[wan.index()].targets[usize::from(n)].name.parse().unwrap()
    }

    pub(super) fn before(&mut self, wans: &Wans, now: Nanos, input: Input) -> Before {
        match input {
            Input::ProbeSent { wan, probe, round, at } => self.witness[wan.index()].sent(probe, round, at),
            Input::ProbeReply { wan, probe, round, at }
                if wans.get(wan).link != Some(false) && self.witness[wan.index()].leased =>
            {
                self.answered(wan, probe, round, (now, at));
            }
            Input::Tick => {
                let late = now.since(wans.next_deadline().min(now)) >= GAP;
                for wan in 0..self.witness.len() {
                    if late {
                        self.witness[wan].void();
                    }
                    self.judge(WanId(wan as u8), now, true);
                }
            }
            Input::Link { wan, up } if wans.get(wan).link != Some(up) && wans.get(wan).link.is_some() => {
                self.witness[wan.index()].anew(now);
            }
            Input::Lease { wan, held }
                if self.config.wans[wan.index()].dhcp && self.witness[wan.index()].leased != held =>
            {
                self.witness[wan.index()].leased = held;
                self.witness[wan.index()].anew(now);
            }
            Input::Bfd { wan, says } => self.witness[wan.index()].bfd(says, wans.get(wan).bfd),
            _ => {}
        }
        Before {
            now,
            input,
            wans: wans.iter().map(|(_, status)| status.clone()).collect(),
            groups: wans.groups().cloned().collect(),
        }
    }

    fn answered(&mut self, wan: WanId, probe: Probe, round: Option<u32>, (now, at): (Nanos, Nanos)) {
        self.witness[wan.index()].answered(probe, round, at);
        let Probe::Target(n) = probe else { return };
        let target = self.target(wan, n);
        let fresh = self.book.insert(target, *self.book.get(&target).unwrap_or(&now)).is_none();
        self.judge(wan, now, false);
        if fresh {
            self.acquit(target);
        }
    }

    fn judge(&mut self, wan: WanId, now: Nanos, over: bool) {
        let targets: Vec<usize> =
            (0..self.config.wans[wan.index()].targets.len()).map(|n| self.target(wan, n as u8)).collect();
        let book = &self.book;
        self.witness[wan.index()].judge(now, over, &|n| book.get(&targets[usize::from(n)]).copied());
    }

    /// A target counts from now on, or no more: what was lost of it before is nobody's.
    fn acquit(&mut self, target: usize) {
        for wan in 0..self.witness.len() {
            let its = self.config.wans[wan].targets.iter().any(|own| own.name == target.to_string());
            self.witness[wan].targets.bad *= u32::from(!its);
        }
    }

    /// One of its targets counts.
    fn by_targets(&self, wan: WanId) -> bool {
        (0..self.config.wans[wan.index()].targets.len())
            .any(|n| self.book.contains_key(&self.target(wan, n as u8)))
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
        // As they are in the middle of the step.
        let mut fit: Vec<(State, Admin)> = before.wans.iter().map(|wan| (wan.state, wan.admin)).collect();
        for effect in effects {
            match effect {
                Effect::Probe { wan, probe, round } => {
                    let seen = &mut self.witness[wan.index()];
                    let can = seen.leased && before.wans[wan.index()].link != Some(false);
                    assert!(can, "seed {seed}: {wan:?} asks without a link or an address");
                    let confirms = before.wans[wan.index()].confirming || seen.confirming.is_some();
                    seen.probed(before.now, *probe, *round, confirms);
                    let (asked, most) = seen.pace();
                    assert!(asked <= most, "seed {seed}: {asked} ARP requests a second");
                }
                Effect::State(change) => {
                    let none_fit = !fit.iter().any(|(state, admin)| state.is_up() && *admin == Admin::Auto);
                    self.changed(change, &before, none_fit);
                    fit[change.wan.index()].0 = change.to;
                }
                Effect::Admin { wan, to, .. } => fit[wan.index()].1 = *to,
                Effect::Confirming { wan } => self.witness[wan.index()].confirming = Some(before.now),
                Effect::Cleared { wan } => self.witness[wan.index()].confirming = None,
                Effect::Blamed { targets } => {
                    for target in targets.iter().map(|target| target.parse().unwrap()) {
                        self.book.remove(&target);
                        self.acquit(target);
                    }
                }
                _ => {}
            }
        }
        for (index, group) in wans.groups().enumerate() {
            self.group(index, group, wans, &before, effects);
        }
    }

    fn changed(&mut self, change: &StateChange, before: &Before, none_fit: bool) {
        let (seed, now) = (self.seed, before.now);
        let health = &self.config.wans[change.wan.index()];
        let was = &before.wans[change.wan.index()];
        let by_targets = self.by_targets(change.wan);
        let seen = &mut self.witness[change.wan.index()];
        assert_eq!(change.from, was.state, "seed {seed}");
        assert_ne!(change.from, change.to, "seed {seed}");
        let row = if by_targets { &seen.targets } else { &seen.gateway };
        match change.reason {
            Reason::GatewaySilent | Reason::TargetsSilent => {
                assert_eq!(by_targets, change.reason == Reason::TargetsSilent, "seed {seed}: {change:?}");
                assert!(row.bad >= health.failures, "seed {seed}: {change:?} {row:?}");
            }
            Reason::Silent => {
                let since = seen.confirming.unwrap();
                assert!(now >= since + Nanos::from_ms(110), "seed {seed}");
                assert!(health.passive, "seed {seed}");
            }
            Reason::Bfd => assert!(health.bfd, "seed {seed}"),
            Reason::Recovered => {
                assert!(row.good >= health.successes, "seed {seed}: {change:?} {row:?}");
                let held = now.since(row.since) >= seen.hold();
                assert!(none_fit || held, "seed {seed}: {change:?} {row:?} {:?}", seen.hold());
            }
            _ => {}
        }
        seen.turned(now, change.from, change.to, change.reason == Reason::Recovered && !none_fit);
        let ups = seen.too_many_ups();
        assert_eq!(ups, None, "seed {seed}: so many ups, in so long, and there may be");
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
