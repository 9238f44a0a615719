//! Some WANs on a bench: a clock, and gateways and targets that answer or not.

use super::*;

pub(super) const A: WanId = WanId(0);
pub(super) const B: WanId = WanId(1);
pub(super) const T: u64 = 250;

pub(super) fn ms(n: u64) -> Nanos {
    Nanos::from_ms(n)
}

/// Some WANs, a clock, and gateways and targets that answer or not.
pub(super) struct Rig {
    pub(super) wans: Wans,
    pub(super) now: Nanos,
    /// Gateways, by WAN.
    pub(super) alive: [bool; 4],
    /// Targets that do not answer, as seen by a WAN.
    pub(super) dead: Vec<(WanId, u8)>,
    /// Round trips in ms, by WAN.
    pub(super) rtt: [u64; 4],
    pub(super) mail: Vec<(Nanos, Input)>,
    pub(super) seen: Vec<Effect>,
}

impl Rig {
    pub(super) fn of(config: Config) -> Rig {
        Rig {
            wans: Wans::new(config, ms(0)),
            now: ms(0),
            alive: [true; 4],
            dead: Vec::new(),
            rtt: [0; 4],
            mail: Vec::new(),
            seen: Vec::new(),
        }
    }

    pub(super) fn new(count: usize) -> Rig {
        Rig::of(Config::plain(vec![Health::default(); count]))
    }

    /// All WANs of `config` up; the first carries.
    pub(super) fn up_with(config: Config) -> Rig {
        let count = config.wans.len() as u8;
        let mut rig = Rig::of(config);
        (0..count).for_each(|wan| rig.link(WanId(wan), true));
        rig.run(T);
        assert_eq!(rig.wans.carrying(), Some(A));
        rig.seen.clear();
        rig
    }

    /// `count` WANs that are up; the first carries.
    pub(super) fn up(count: usize) -> Rig {
        Rig::up_with(Config::plain(vec![Health::default(); count]))
    }

    pub(super) fn step(&mut self, input: Input) -> Result<(), Refused> {
        let first = self.seen.len();
        let seen = &mut self.seen;
        let result = self.wans.step(self.now, input, &mut |effect| seen.push(effect));
        let at = self.now;
        for effect in self.seen.get(first..).unwrap_or_default() {
            let &Effect::Probe { wan, probe, round } = effect else { continue };
            self.mail.push((at, Input::ProbeSent { wan, probe, round, at }));
            let answers = match probe {
                Probe::Gateway => self.alive[wan.index()],
                Probe::Target(target) => !self.dead.contains(&(wan, target)),
            };
            if answers {
                let at = at + ms(self.rtt[wan.index()]);
                let round = (probe != Probe::Gateway).then_some(round);
                self.mail.push((at, Input::ProbeReply { wan, probe, round, at }));
            }
        }
        result
    }

    pub(super) fn link(&mut self, wan: WanId, up: bool) {
        self.step(Input::Link { wan, up }).unwrap();
    }

    pub(super) fn admin(&mut self, wan: WanId, admin: Admin) -> Result<(), Refused> {
        self.step(Input::Admin { wan, admin, force: false })
    }

    /// The gateway and all targets of a WAN answer, or not.
    pub(super) fn life(&mut self, wan: WanId, alive: bool) {
        self.alive[wan.index()] = alive;
        self.internet(wan, alive);
    }

    /// The targets of a WAN answer, or not.
    pub(super) fn internet(&mut self, wan: WanId, alive: bool) {
        self.dead.retain(|(dead, _)| *dead != wan);
        if !alive {
            self.dead.extend((0..8).map(|target| (wan, target)));
        }
    }

    /// Lets `span` ms pass; probes leave at once, who lives answers in its time.
    pub(super) fn run(&mut self, span: u64) {
        let end = self.now + ms(span);
        let mut steps = 0;
        loop {
            let mail = self.mail.iter().map(|(at, _)| *at).min().unwrap_or(Nanos::NEVER);
            let due = self.wans.next_deadline();
            let next = mail.min(due).max(self.now);
            if next >= end {
                break;
            }
            steps = if next == self.now { steps + 1 } else { 0 };
            assert!(steps < 10_000, "time stands still at {:?}", self.now);
            self.now = next;
            self.deliver();
            if due <= self.now {
                self.step(Input::Tick).unwrap();
            }
        }
        self.now = end;
    }

    /// What has arrived.
    pub(super) fn deliver(&mut self) {
        while let Some(index) = self.mail.iter().position(|(at, _)| *at <= self.now) {
            let (_, input) = self.mail.remove(index);
            self.step(input).unwrap();
        }
    }

    pub(super) fn state(&self, wan: WanId) -> State {
        self.wans.get(wan).state
    }

    /// Of the default group.
    pub(super) fn standing(&self, wan: WanId) -> Standing {
        let (status, group) = (self.wans.get(wan), self.wans.group(0));
        let standing = group.standings[wan.index()];
        assert_eq!(group.carries(wan), standing == Standing::Carrying);
        assert!(status.carrying || standing != Standing::Carrying);
        standing
    }

    /// Epochs of the default group: of all but TCP, and of TCP.
    pub(super) fn bond(&self, wan: WanId) -> (u8, u8) {
        let bond = self.wans.group(0).bonds[wan.index()];
        (bond.epoch, bond.tcp)
    }

    /// What was selected since the last look, and everything else forgotten.
    pub(super) fn selected(&mut self) -> Vec<(Option<WanId>, Option<WanId>, Kind, Cause)> {
        self.selections().into_iter().map(|s| (s.from, s.to, s.kind, s.cause)).collect()
    }

    pub(super) fn selections(&mut self) -> Vec<Selection> {
        let selections = self.seen.drain(..).filter_map(|effect| match effect {
            Effect::Selected(selection) => Some(selection),
            _ => None,
        });
        selections.collect()
    }

    /// Changes of state since the last look, and everything else forgotten.
    pub(super) fn states(&mut self) -> Vec<(WanId, State, Reason)> {
        let states = self.seen.drain(..).filter_map(|effect| match effect {
            Effect::State(change) => Some((change.wan, change.to, change.reason)),
            _ => None,
        });
        states.collect()
    }
}
