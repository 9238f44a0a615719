//! Two members of a pair on one virtual clock, and the network between them: lossy, slow, one-way, or not there.
//!
//! Machines, beats, key and ears are the real ones; every beat goes over each path as bytes. Members have clocks of their own, disks that
//! survive a crash, and lines that the caller takes down. `pair_referee` watches after every step and tells what must not be. The same seed
//! and the same calls give the same run.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::pair_referee::Referee;
use crate::base::Nanos;
use crate::cluster::beat;
use crate::cluster::{
    Beat, Config, Effect, Fitness, Heard, Hearing, Identity, Input, Kept, Key, Known, NO_TIER, Name, Pair,
    Role,
};

/// Paths of the heartbeat.
pub const PATHS: usize = 2;
/// No beat is under way for longer.
pub const SLOWEST: Nanos = Nanos::from_ms(30);

/// One direction of one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Lost beats of a thousand; 1000: it is cut.
    pub loss: u32,
    /// Doubled beats of a thousand.
    pub twice: u32,
    /// Old beats that somebody plays again, of a thousand.
    pub replay: u32,
}

impl Line {
    /// Nothing comes through.
    pub const CUT: Line = Line { loss: 1000, twice: 0, replay: 0 };

    /// What comes through is not by chance.
    pub fn is_sure(&self) -> bool {
        self.loss == 0 || self.loss >= 1000
    }
}

/// What a member's lines are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Inside links that are up, of two.
    pub inside: u8,
    /// Tier of the best WAN; `NO_TIER`: none is up.
    pub tier: u8,
}

impl Health {
    /// Everything is up.
    pub const WHOLE: Health = Health { inside: 2, tier: 1 };
}

impl Health {
    fn fitness(self) -> Fitness {
        Fitness::known(self.inside, self.tier, u8::from(self.tier != NO_TIER), 0)
    }

    /// As a member that starts sees them: it knows its links, and has asked nobody beyond.
    fn at_first(self) -> Fitness {
        let link = |up: bool| if up { Known::Up } else { Known::Down };
        Fitness::of([link(self.inside > 0), link(self.inside > 1)], [(1, Known::Unknown)], [])
    }
}

/// One member.
pub struct Member {
    /// `None`: it has crashed.
    pub pair: Option<Pair>,
    /// What survives a crash.
    pub disk: Option<Kept>,
    /// How its lines are.
    pub health: Health,
    ear: Hearing,
    /// Its clock is ahead of the others' by so much.
    offset: Nanos,
    said: Option<Beat>,
    sequence: u64,
    next_beat: Nanos,
    /// It does nothing till then, though its worker goes on beating.
    pub stalled_until: Nanos,
    /// When its WANs have answered for the first time since its start.
    knows: Option<Nanos>,
    /// The machine as it started, and every input with its time, for a replay.
    pub began: Option<Pair>,
    /// See `began`.
    pub journal: Vec<(Nanos, Input)>,
    /// What came of them.
    pub effects: Vec<Effect>,
}

type Bytes = [u8; beat::LEN];
/// A beat, and the boot id of its receiver.
type Recording = (Bytes, u64);

/// On its way.
struct Letter {
    due: Nanos,
    to: usize,
    path: usize,
    bytes: Bytes,
}

/// The two of them.
pub struct Pairs {
    /// Time, as the network has it.
    pub now: Nanos,
    /// What both profiles say.
    pub config: Config,
    /// The two.
    pub members: [Member; 2],
    /// By sender and path.
    pub lines: [[Line; PATHS]; 2],
    /// Steps of machines so far.
    pub steps: u64,
    /// What must not be.
    pub referee: Referee,
    /// At this step that member crashes, and starts again after that time.
    pub crash_at: Option<(u64, usize, Nanos)>,
    restart: [Option<Nanos>; 2],
    rng: SmallRng,
    letters: Vec<Letter>,
    /// What was recorded on a path, for the receiver that was up then.
    records: [[Option<Recording>; PATHS]; 2],
}

fn key() -> Key {
    Key::new(b"the key of the simulated pair").unwrap_or_else(|| unreachable!("it is long enough"))
}

/// The name of a member.
pub fn name(member: usize) -> Name {
    Name::cut(if member == 0 { "a" } else { "b" })
}

impl Pairs {
    /// Two members that have not started.
    pub fn new(seed: u64, config: Config) -> Pairs {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut member = |at: usize| Member {
            pair: None,
            disk: None,
            health: Health::WHOLE,
            ear: Hearing::new(key(), name(1 - at)),
            offset: Nanos(rng.random_range(0..1 << 50)),
            said: None,
            sequence: 0,
            next_beat: Nanos::NEVER,
            stalled_until: Nanos::ZERO,
            knows: None,
            began: None,
            journal: Vec::new(),
            effects: Vec::new(),
        };
        let members = [member(0), member(1)];
        Pairs {
            now: Nanos::from_s(1),
            config,
            members,
            lines: Default::default(),
            steps: 0,
            referee: Referee::new(seed),
            crash_at: None,
            restart: [None; 2],
            rng,
            letters: Vec::new(),
            records: Default::default(),
        }
    }

    /// Starts a member that is not running.
    pub fn start(&mut self, at: usize) {
        if self.members[at].pair.is_some() {
            return;
        }
        let member = &mut self.members[at];
        // The time of day is anybody's guess, hence only what was kept counts.
        let boot = Kept::next_boot(member.disk.as_ref(), 1);
        let who =
            Identity { name: name(at), partner: name(1 - at), software: Name::cut("1"), boot, workers: 1 };
        let now = self.now + member.offset;
        let (kept, first, mut effects) = (member.disk, member.health.at_first(), Vec::new());
        member.ear = Hearing::new(key(), name(1 - at));
        (member.sequence, member.said, member.stalled_until) = (0, None, Nanos::ZERO);
        member.pair =
            Some(Pair::new(who, self.config, name(0), kept, first, now, &mut |effect| effects.push(effect)));
        (member.began, member.journal, member.effects) = (member.pair.clone(), Vec::new(), Vec::new());
        self.records[1 - at] = Default::default();
        self.apply(at, effects);
        self.members[at].knows = Some(self.now + Nanos(self.rng.random_range(0..150_000_000)));
        self.referee.restarted(at);
        self.watch();
    }

    /// Kills a member: what was not on disk is gone. What it has sent is under way.
    pub fn crash(&mut self, at: usize) {
        let member = &mut self.members[at];
        (member.pair, member.said, member.next_beat) = (None, None, Nanos::NEVER);
        self.watch();
    }

    /// Changes a member's lines.
    pub fn set_health(&mut self, at: usize, health: Health) {
        self.members[at].health = health;
        self.step(at, Input::Fitness { fitness: health.fitness() });
    }

    /// All lines alike.
    pub fn set_lines(&mut self, line: Line) {
        self.lines = [[line; PATHS]; 2];
        self.watch();
    }

    /// Hands a member an input. False: it is not running, or does not take it.
    pub fn step(&mut self, at: usize, input: Input) -> bool {
        let member = &mut self.members[at];
        let Some(pair) = &mut member.pair else { return false };
        let now = self.now + member.offset;
        let mut effects = Vec::new();
        if matches!(input, Input::Prefer { .. }) {
            self.referee.spoke = self.now;
        }
        member.journal.push((now, input));
        let taken = pair.step(now, input, &mut |effect| effects.push(effect)).is_ok();
        if matches!(input, Input::Tick) && pair.next_deadline() <= now {
            self.referee.tell(self.now, "it spins");
        }
        self.apply(at, effects);
        self.watch();
        self.steps += 1;
        if let Some((_, victim, after)) = self.crash_at.filter(|(step, ..)| *step == self.steps) {
            self.crash(victim);
            self.restart[victim] = Some(self.now + after);
        }
        taken
    }

    fn apply(&mut self, at: usize, effects: Vec<Effect>) {
        for effect in &effects {
            match *effect {
                Effect::Keep { kept } => {
                    self.referee.kept(self.now, at, self.members[at].disk, kept);
                    self.members[at].disk = Some(kept);
                }
                Effect::Send { beat } => {
                    self.referee.said(self.now, self.members[at].disk, &beat);
                    self.members[at].said = Some(beat);
                    self.beat(at);
                }
                _ => {}
            }
        }
        self.members[at].effects.extend(effects);
    }

    fn beat(&mut self, from: usize) {
        let member = &mut self.members[from];
        let Some(beat) = member.said else { return };
        member.sequence += 1;
        member.next_beat = self.now + self.config.every;
        let bytes = beat.seal(&key(), member.sequence);
        for path in 0..PATHS {
            let line = self.lines[from][path];
            let mut post = |bytes, rng: &mut SmallRng| {
                let due = self.now + Nanos(rng.random_range(100_000..SLOWEST.0));
                self.letters.push(Letter { due, to: 1 - from, path, bytes });
            };
            let chance = |of: u32, rng: &mut SmallRng| of > 0 && rng.random_range(0..1000) < of;
            if chance(line.loss, &mut self.rng) {
                continue;
            }
            post(bytes, &mut self.rng);
            if chance(line.twice, &mut self.rng) {
                post(bytes, &mut self.rng);
            }
            // An old recording is only worth something to who has not heard it.
            let record = &mut self.records[from][path];
            let receiver = self.members[1 - from].disk.map_or(0, |kept| kept.boot);
            if let Some((old, _)) = record.filter(|(_, boot)| *boot == receiver) {
                if chance(line.replay, &mut self.rng) {
                    post(old, &mut self.rng);
                }
            } else if self.members[1 - from].pair.is_some() {
                *record = Some((bytes, receiver));
            }
        }
    }

    /// When something happens next.
    fn next(&self) -> Nanos {
        let mut next = self
            .letters
            .iter()
            .map(|letter| letter.due.max(self.members[letter.to].stalled_until))
            .min()
            .unwrap_or(Nanos::NEVER);
        for (member, restart) in self.members.iter().zip(self.restart) {
            let Some(pair) = &member.pair else {
                next = next.min(restart.unwrap_or(Nanos::NEVER));
                continue;
            };
            let tick = pair.next_deadline();
            let tick = if tick == Nanos::NEVER { tick } else { tick - member.offset };
            let knows = member.knows.unwrap_or(Nanos::NEVER);
            next = next.min(tick.min(knows).max(member.stalled_until)).min(member.next_beat);
        }
        next
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.next().max(self.now).min(end);
            for at in 0..2 {
                if self.restart[at].is_some_and(|due| due <= self.now) {
                    self.restart[at] = None;
                    self.start(at);
                }
            }
            self.deliver();
            for at in 0..2 {
                let member = &self.members[at];
                if member.pair.is_some() && member.next_beat <= self.now {
                    self.beat(at);
                }
                let member = &self.members[at];
                let awake = member.stalled_until <= self.now;
                if awake && member.knows.is_some_and(|at| at <= self.now) {
                    self.members[at].knows = None;
                    self.set_health(at, self.members[at].health);
                }
                let member = &self.members[at];
                let due = |pair: &Pair| pair.next_deadline() <= self.now + member.offset;
                if awake && member.pair.as_ref().is_some_and(due) {
                    self.step(at, Input::Tick);
                }
            }
            self.watch();
        }
    }

    fn deliver(&mut self) {
        loop {
            let (now, members) = (self.now, &self.members);
            let ready = |letter: &Letter| letter.due <= now && members[letter.to].stalled_until <= now;
            let Some(next) = self.letters.iter().position(ready) else { return };
            let letter = self.letters.remove(next);
            let member = &mut self.members[letter.to];
            if member.pair.is_none() {
                continue;
            }
            let (path, at) = (letter.path as u8, letter.due + member.offset);
            match member.ear.hear(path, &letter.bytes) {
                Heard::News(beat) => self.step(letter.to, Input::Beat { path, at, beat }),
                Heard::Again => self.step(letter.to, Input::Path { path, at }),
                Heard::Nothing => false,
            };
        }
    }

    /// A member does nothing for a while; its worker goes on beating.
    pub fn stall(&mut self, at: usize, span: Nanos) {
        self.members[at].stalled_until = self.now + span;
        self.watch();
    }

    /// What a member is; `None`: not running.
    pub fn role(&self, at: usize) -> Option<Role> {
        self.members[at].pair.as_ref().map(Pair::role)
    }

    /// Who is active.
    pub fn active(&self) -> Vec<&'static str> {
        let names = ["a", "b"].into_iter().enumerate();
        names.filter(|(at, _)| self.role(*at) == Some(Role::Active)).map(|(_, name)| name).collect()
    }

    /// A number of the run's lot.
    pub fn lot(&mut self, below: u64) -> u64 {
        self.rng.random_range(0..below.max(1))
    }

    fn watch(&mut self) {
        self.referee.watch(self.now, &self.config, &self.members, &self.lines);
    }
}
