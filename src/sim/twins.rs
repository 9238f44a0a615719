//! Two whole routers that are the members of a pair, on one clock: workers, rings, managers and all. Their links are joined, as by a switch on
//! each network that both are on; what one sends there comes to the other, unless the line between them is cut or the weather (`weather`) has it.
//!
//! In a pair made `in_weather` members can crash and come back with their disks, and `twins_referee` watches after each step.

use crate::base::{IfaceId, Nanos};
use crate::cluster::{Kept, Key};
use crate::manage::Joining;
use crate::manage::keeping::Keeper;
use crate::profile;

use super::frames::{Packet, Seen};
use super::site::Site;
use super::twins_referee::Referee;
use super::weather::{Air, Letter, Plate, Weather};

/// The port of the heartbeat.
const BEATS: u16 = 9000;
/// What both sign with.
pub(super) const KEY: &[u8] = b"the key of both members";
/// No step of `run` is longer: what workers do by the clock is late by no more.
pub const STEP: Nanos = Nanos::from_ms(4);

/// The members of a pair.
pub struct Twins {
    /// Both, in the order of the profile
    pub members: [Site; 2],
    /// One that was killed runs no more
    pub dead: [bool; 2],
    /// Links whose members do not hear each other
    pub cut: Vec<String>,
    /// What both have sent since it was taken: who, by which link, what
    pub sent: Vec<(usize, String, Vec<u8>)>,
    /// Their disks; used if they are `in_weather`
    pub disks: [Plate; 2],
    /// The management thread stands still until then, while the workers go on
    pub stalled: [Nanos; 2],
    pub(super) weather: Weather,
    pub(super) referee: Option<Box<Referee>>,
    starts: u64,
}

/// Whose router it is, and how it starts.
struct Start<'a> {
    name: &'a str,
    number: u8,
    workers: usize,
    key: &'a [u8],
    boot: u64,
    kept: Option<Kept>,
    keeper: Option<Keeper>,
    now: Option<Nanos>,
}

impl Start<'_> {
    fn new(at: usize, workers: usize) -> Start<'static> {
        let name = ["a", "b"].get(at).copied().unwrap_or_default();
        Start { name, number: at as u8 + 1, workers, key: KEY, boot: 1, kept: None, keeper: None, now: None }
    }

    fn site(self, text: &str) -> Result<Site, profile::Mistakes> {
        let profile = profile::load_member(text, "sim.yaml", self.name)?;
        let mut site = Site::of(&profile, self.workers, self.number);
        if let Some(now) = self.now {
            site.now = now;
        }
        if let Some(key) = Key::new(self.key) {
            let Start { kept, boot, keeper, workers, .. } = self;
            site.manager.join(Joining { key, kept, boot, keeper, workers, endpoint: None }, site.now);
        }
        for at in 0..site.names.len() {
            site.manager.link(site.now, IfaceId(at as u8), true);
        }
        Ok(site)
    }
}

impl Twins {
    /// Both members, `a` and `b`, of a profile, started at once, all links up; nothing has happened yet.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn new(text: &str, workers: usize) -> Result<Twins, profile::Mistakes> {
        Twins::of([text; 2], [KEY; 2], workers)
    }

    /// The same, each with its own profile and key: they should not differ.
    ///
    /// # Errors
    /// The profiles' mistakes.
    pub fn of(texts: [&str; 2], keys: [&[u8]; 2], workers: usize) -> Result<Twins, profile::Mistakes> {
        let a = Start { key: keys[0], ..Start::new(0, workers) }.site(texts[0])?;
        let b = Start { key: keys[1], ..Start::new(1, workers) }.site(texts[1])?;
        Ok(Twins {
            members: [a, b],
            dead: [false; 2],
            cut: Vec::new(),
            sent: Vec::new(),
            disks: [Plate::default(), Plate::default()],
            stalled: [Nanos::ZERO; 2],
            weather: Weather::new(0),
            referee: None,
            starts: 1,
        })
    }

    /// Both of one profile and not started yet (`revive`), with disks, lines of which the seed decides, and a referee. What they send is not kept.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn in_weather(text: &str, workers: usize, seed: u64) -> Result<Twins, profile::Mistakes> {
        let mut twins = Twins::new(text, workers)?;
        (twins.weather, twins.dead) = (Weather::new(seed), [true; 2]);
        twins.referee = Some(Box::new(Referee::new(seed, &profile::load_member(text, "sim.yaml", "a")?)));
        Ok(twins)
    }

    /// A member is started anew, with nothing but its profile.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn restart(&mut self, text: &str, at: usize) -> Result<(), profile::Mistakes> {
        let workers = self.members[at].lcores.len();
        self.restart_with(text, at, workers)
    }

    /// The same, with so many workers.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn restart_with(&mut self, text: &str, at: usize, workers: usize) -> Result<(), profile::Mistakes> {
        self.starts += 1;
        let now = Some(self.members[1 - at].now);
        self.members[at] = Start { boot: self.starts, now, ..Start::new(at, workers) }.site(text)?;
        self.dead[at] = false;
        Ok(())
    }

    /// Starts a member that does not run, with its disk. The time of day is anybody's guess: only what was kept counts.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn revive(&mut self, text: &str, at: usize) -> Result<(), profile::Mistakes> {
        let (now, workers) = (Some(self.now()), self.members[at].lcores.len());
        let disk = &mut self.disks[at];
        let (kept, keeper) = (disk.kept, Some(disk.plug()));
        let boot = Kept::next_boot(kept.as_ref(), 1);
        self.members[at] = Start { boot, kept, keeper, now, ..Start::new(at, workers) }.site(text)?;
        (self.dead[at], self.stalled[at]) = (false, Nanos::ZERO);
        if let Some(referee) = &mut self.referee {
            referee.restarted(at);
        }
        self.watch();
        Ok(())
    }

    /// Kills a member: what was not on disk is gone. What it has sent is under way.
    pub fn crash(&mut self, at: usize) {
        if !self.dead[at] {
            self.carry();
            self.dead[at] = true;
            self.disks[at].pull();
            let site = &mut self.members[at];
            if let Some(referee) = &mut self.referee {
                referee.bury(site);
            }
            site.take_all();
            self.watch();
        }
    }

    /// A member takes up another profile.
    ///
    /// # Errors
    /// What is wrong with it, or needs a restart.
    pub fn reload(&mut self, text: &str, at: usize) -> Result<Vec<String>, String> {
        let profile = profile::load_member(text, "sim.yaml", ["a", "b"][at]).map_err(|e| e.to_string())?;
        let site = &mut self.members[at];
        site.manager.reload(profile, None, site.now)
    }

    /// What a member sends by a link meets this from now on.
    pub fn set_air(&mut self, from: usize, link: &str, air: Air) {
        self.weather.set(from, link, air);
        self.watch();
    }

    /// The time.
    pub fn now(&self) -> Nanos {
        self.members[0].now
    }

    /// Lets time pass, millisecond by millisecond.
    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.pass(self.now() + Nanos::from_ms(1));
        }
    }

    /// Lets time pass, by steps that are as long as nothing arrives, and `STEP` at most.
    pub fn run(&mut self, span: Nanos) {
        let end = self.now() + span;
        while self.now() < end {
            self.pass(self.weather.next().max(self.now()).min(self.now() + STEP).min(end));
        }
    }

    /// It is `now`, and everything happens that comes of it.
    fn pass(&mut self, now: Nanos) {
        self.carry();
        self.members.iter_mut().for_each(|member| member.now = now);
        self.deliver();
        for _ in 0..4 {
            for at in (0..2).filter(|at| !self.dead[*at]) {
                if now < self.stalled[at] {
                    self.members[at].turn();
                } else {
                    self.members[at].settle();
                }
            }
            if !self.carry() {
                break;
            }
        }
        self.watch();
    }

    /// What was sent goes on its way to the other member. Whether something has arrived.
    fn carry(&mut self) -> bool {
        for from in 0..2 {
            for (link, frame) in self.members[from].take_all() {
                self.post(from, &link, &frame);
                if let Some(referee) = &mut self.referee {
                    referee.sent(&self.members[from], &self.disks[from], &frame);
                } else {
                    self.sent.push((from, link, frame));
                }
            }
        }
        self.deliver()
    }

    fn post(&mut self, from: usize, link: &str, frame: &[u8]) {
        if !self.cut.iter().any(|cut| cut == link) && self.members[from].is_on(link) {
            self.weather.post(self.members[from].now, from, link, frame);
        }
    }

    fn deliver(&mut self) -> bool {
        let mut any = false;
        while let Some(Letter { to, link, frame }) = self.weather.arrived(self.members[0].now) {
            let site = &mut self.members[to];
            if !self.dead[to] && site.names.contains(&link) {
                site.arrive(site.iface(&link), &frame);
                any = true;
                if let Some(referee) = self.referee.as_mut().filter(|_| site.is_on(&link)) {
                    referee.delivered(site.now, to, &link, &frame);
                }
            }
        }
        any
    }

    /// The disks write, and the referee looks.
    pub(super) fn watch(&mut self) {
        let Some(mut referee) = self.referee.take() else { return };
        for at in 0..2 {
            for (before, kept) in self.disks[at].turn(self.members[at].now) {
                referee.kept(self.members[at].now, at, before, kept);
            }
        }
        referee.watch(self);
        self.referee = Some(referee);
    }

    /// Sends a packet to a member, as `Site::send`; what the members say to each other meanwhile comes through.
    pub fn send(&mut self, to: usize, link: &str, packet: &Packet) -> Vec<(String, Seen)> {
        let frame = self.members[to].frame_of(link, packet);
        self.send_raw(to, link, &frame)
    }

    /// The same, of a frame.
    pub fn send_raw(&mut self, to: usize, link: &str, frame: &[u8]) -> Vec<(String, Seen)> {
        let mut out = Vec::new();
        for (link, frame) in self.members[to].send_raw(link, frame) {
            match Seen::read(&frame) {
                Some(seen) if seen.dst().1 != BEATS => out.push((link, seen)),
                _ => self.post(to, &link, &frame),
            }
        }
        self.deliver();
        self.watch();
        out
    }

    /// Takes what was sent.
    pub fn take(&mut self) -> Vec<(usize, String, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }
}

impl std::fmt::Debug for Twins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twins").field("members", &self.members).finish_non_exhaustive()
    }
}
