//! One member's machine: what it remembers between two inputs, and what follows from each.
//!
//! `decide` has the rule. Here is what it is asked about: whether the partner is heard, since when something holds, what was promised. Silence
//! is judged by `Tick` alone, so that a machine that was held up hears what has arrived meanwhile first.

use serde::{Deserialize, Serialize};

use super::beat::Beat;
use super::decide::{Decision, Facts, Other, Side, decide};
use super::fitness::Fitness;
use super::hearing::PATHS;
use super::name::Name;
use super::types::{Cause, Config, Effect, Event, Identity, Input, Kept, Preference, Refused, Role, Status};
use crate::base::Nanos;

/// The partner, as last heard.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Partner {
    pub(super) beat: Beat,
    /// When.
    pub(super) at: Nanos,
    /// It is not lost.
    pub(super) alive: bool,
    /// It has not heard this member since, though it is heard.
    deaf_since: Option<Nanos>,
}

/// One member of a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pair {
    pub(super) config: Config,
    pub(super) who: Identity,
    pub(super) now: Nanos,
    pub(super) role: Role,
    pub(super) fitness: Fitness,
    pub(super) aside: bool,
    pub(super) synced: bool,
    pub(super) preference: Preference,
    pub(super) partner: Option<Partner>,
    /// When each path brought something last.
    pub(super) paths: [Option<Nanos>; PATHS],
    /// It hands the role over.
    pub(super) yields: Option<Cause>,
    /// The partner may still speak up: until then, and until a `Tick`.
    waiting: Option<Nanos>,
    /// The preference has changed, and nothing has come of it yet.
    asked: bool,
    /// The partner has been fitter since.
    fitter_since: Option<Nanos>,
    /// The preferred partner has been as fit since.
    pub(super) as_fit_since: Option<Nanos>,
    said: Option<Beat>,
    status: Option<Status>,
}

impl Pair {
    /// A member that starts. `kept` is what it kept on disk, `preferred` what the profile says; what was kept counts.
    /// `fitness` is what is known by now: nothing, as a rule, which is not the same as nothing being up.
    pub fn new(
        who: Identity,
        config: Config,
        preferred: Name,
        kept: Option<Kept>,
        fitness: Fitness,
        now: Nanos,
        out: &mut impl FnMut(Effect),
    ) -> Pair {
        let preference = kept.map_or(Preference { version: 0, member: preferred }, |kept| kept.preference);
        let mut pair = Pair {
            config,
            who,
            now,
            role: Role::Starting,
            fitness,
            aside: false,
            synced: false,
            preference,
            partner: None,
            paths: [None; PATHS],
            yields: None,
            waiting: Some(now + config.timeout),
            asked: false,
            fitter_since: None,
            as_fit_since: None,
            said: None,
            status: None,
        };
        pair.keep(out);
        pair.say(out);
        pair
    }

    /// Takes in what happened and hands out what follows from it.
    ///
    /// # Errors
    /// `Refused` for a word of the operator's that is not taken; nothing has changed then.
    pub fn step(&mut self, now: Nanos, input: Input, out: &mut impl FnMut(Effect)) -> Result<(), Refused> {
        self.now = self.now.max(now);
        match input {
            Input::Beat { path, at, beat } => self.hear(path, at.min(self.now), &beat, out),
            Input::Path { path, at } => self.hear_path(path, at.min(self.now)),
            Input::Fitness { fitness } => self.set_fitness(fitness),
            Input::Synced { synced } => self.synced = synced,
            Input::Prefer { member } => self.prefer(member, out)?,
            Input::Yield => self.step_aside()?,
            Input::Config { config } => self.set_config(config, out),
            Input::Tick => self.judge_silence(out),
        }
        self.conclude(out);
        Ok(())
    }

    fn hear_path(&mut self, path: u8, at: Nanos) {
        if let Some(heard) = self.paths.get_mut(usize::from(path)) {
            *heard = Some(at);
        }
    }

    fn hear(&mut self, path: u8, at: Nanos, beat: &Beat, out: &mut impl FnMut(Effect)) {
        self.hear_path(path, at);
        let before = self.partner.filter(|partner| partner.alive);
        let known = before.is_some_and(|partner| partner.beat.boot == beat.boot);
        let deaf = beat.hears != self.who.boot;
        let since = before.and_then(|partner| partner.deaf_since).filter(|_| known).unwrap_or(at);
        let offered = self.yields.is_some() || beat.yields;
        let was_two = before.is_some_and(|partner| partner.beat.role == Role::Active);
        if self.role == Role::Active && beat.role == Role::Active && !offered && !was_two {
            out(Effect::Event { event: Event::BothActive });
        }
        let differed = (self.config_differs(), self.workers_differ());
        self.waiting = None;
        self.partner = Some(Partner { beat: *beat, at, alive: true, deaf_since: deaf.then_some(since) });
        if !known {
            out(Effect::Event { event: Event::PartnerFound { boot: beat.boot } });
        }
        self.tell_config(differed.0, out);
        let differ = self.workers_differ();
        if differ != differed.1 {
            out(Effect::Event { event: Event::WorkersDiffer { differ } });
        }
        if beat.preference > self.preference {
            self.set_preference(beat.preference, true, out);
        }
    }

    /// Both are told apart by their hashes, as long as one was ever heard.
    pub(super) fn config_differs(&self) -> bool {
        self.partner.is_some_and(|partner| partner.beat.config != self.config.hash)
    }

    fn tell_config(&self, differed: bool, out: &mut impl FnMut(Effect)) {
        let differs = self.config_differs();
        if differs != differed {
            out(Effect::Event { event: Event::ConfigDiffers { differs } });
        }
    }

    fn set_fitness(&mut self, fitness: Fitness) {
        // The way back in may be the way on which the partner is heard.
        if fitness.able() && !self.fitness.able() && self.partner().is_none() && self.waiting.is_none() {
            self.waiting = Some(self.now + self.config.timeout);
        }
        self.fitness = fitness;
    }

    fn set_config(&mut self, config: Config, out: &mut impl FnMut(Effect)) {
        let differed = self.config_differs();
        self.config = config;
        self.tell_config(differed, out);
    }

    fn prefer(&mut self, member: Name, out: &mut impl FnMut(Effect)) -> Result<(), Refused> {
        if member != self.who.name && member != self.who.partner {
            return Err(Refused::NoSuchMember);
        }
        let version = self.preference.version.saturating_add(1);
        self.set_preference(Preference { version, member }, false, out);
        Ok(())
    }

    fn set_preference(&mut self, preference: Preference, adopted: bool, out: &mut impl FnMut(Effect)) {
        self.preference = preference;
        let mine = preference.member == self.who.name;
        self.aside &= !mine;
        self.asked = !mine && self.role == Role::Active;
        self.keep(out);
        out(Effect::Event { event: Event::Preferred { preference, adopted } });
    }

    fn keep(&self, out: &mut impl FnMut(Effect)) {
        out(Effect::Keep { kept: Kept { preference: self.preference, boot: self.who.boot } });
    }

    fn step_aside(&mut self) -> Result<(), Refused> {
        if self.role != Role::Active {
            return Err(Refused::NotActive);
        }
        let partner = self.partner().ok_or(Refused::NoPartner)?;
        if !partner.beat.fitness.fit() {
            return Err(Refused::PartnerUnfit);
        }
        self.aside = true;
        Ok(())
    }

    fn judge_silence(&mut self, out: &mut impl FnMut(Effect)) {
        self.waiting = self.waiting.filter(|until| *until > self.now);
        let (now, timeout) = (self.now, self.config.timeout);
        if let Some(partner) =
            self.partner.as_mut().filter(|partner| partner.alive && now >= partner.at + timeout)
        {
            partner.alive = false;
            partner.deaf_since = None;
            out(Effect::Event { event: Event::PartnerLost });
        }
    }

    /// What the partner has said last, unless it is lost.
    pub fn live(&self) -> Option<&Beat> {
        self.partner().map(|partner| &partner.beat)
    }

    /// The partner, unless it is lost.
    pub(super) fn partner(&self) -> Option<&Partner> {
        self.partner.as_ref().filter(|partner| partner.alive)
    }

    pub(super) fn prefers_partner(&self) -> bool {
        self.preference.member == self.who.partner
    }

    /// What is known now.
    pub(super) fn facts(&self) -> Facts {
        let me = Side {
            name: self.who.name,
            role: self.role,
            fitness: self.fitness,
            aside: self.aside,
            in_sync: self.in_sync(),
            preferred: self.preference.member == self.who.name,
        };
        let partner = self.partner().map(|partner| Other {
            side: Side {
                name: partner.beat.name,
                role: partner.beat.role,
                fitness: partner.beat.fitness,
                aside: partner.beat.aside,
                in_sync: partner.beat.in_sync,
                preferred: self.prefers_partner(),
            },
            yields: partner.beat.yields,
            deaf: self.over(partner.deaf_since, self.config.timeout),
        });
        let failback = self.config.failback;
        Facts {
            me,
            partner,
            waiting: self.waiting.is_some(),
            yielding: self.yields,
            settled: self.over(self.fitter_since, self.config.settle),
            asked: self.asked,
            due: failback.automatic && self.over(self.as_fit_since, failback.after),
        }
    }

    fn over(&self, since: Option<Nanos>, span: Nanos) -> bool {
        since.is_some_and(|since| self.now >= since + span)
    }

    /// Since when something holds without a break.
    fn since(now: Nanos, holds: bool, since: Option<Nanos>) -> Option<Nanos> {
        holds.then_some(since.unwrap_or(now))
    }

    fn note(&mut self) {
        let facts = self.facts();
        let held = facts.me.role == Role::Active;
        let them = facts.partner.map(|partner| partner.side).filter(|them| held && them.role != Role::Active);
        let fitter = them.is_some_and(|them| them.fitness.fitter(&self.fitness));
        let as_fit =
            them.is_some_and(|them| them.preferred && !them.aside && them.fitness.as_fit(&self.fitness));
        self.fitter_since = Pair::since(self.now, fitter, self.fitter_since);
        self.as_fit_since = Pair::since(self.now, as_fit, self.as_fit_since);
    }

    fn conclude(&mut self, out: &mut impl FnMut(Effect)) {
        self.note();
        let decision = decide(&self.facts());
        if decision.role == self.role {
            self.offer(decision.yields, out);
        } else {
            self.enter(&decision, out);
        }
        self.say(out);
    }

    fn offer(&mut self, yields: Option<Cause>, out: &mut impl FnMut(Effect)) {
        if let Some(cause) = yields.filter(|cause| self.yields != Some(*cause)) {
            out(Effect::Event { event: Event::Yields { cause } });
        }
        self.yields = yields;
    }

    fn enter(&mut self, decision: &Decision, out: &mut impl FnMut(Effect)) {
        let from = std::mem::replace(&mut self.role, decision.role);
        if let Some(cause) = decision.cause {
            let take = decision.role == Role::Active;
            out(if take { Effect::Take { cause } } else { Effect::Release { cause } });
            // Who takes the role is meant to have it.
            self.aside &= !take;
        }
        out(Effect::Event { event: Event::Role { from, to: decision.role, cause: decision.cause } });
        (self.asked, self.yields) = (false, None);
        if let Some(partner) = self.partner.as_mut().filter(|_| decision.role != Role::Active) {
            // What was just let go is not taken back because of a beat from before.
            partner.beat.yields = false;
        }
        self.note();
    }

    /// Tells the partner and the status endpoint what has changed.
    fn say(&mut self, out: &mut impl FnMut(Effect)) {
        let beat = self.beat();
        if self.said != Some(beat) {
            self.said = Some(beat);
            out(Effect::Send { beat });
        }
        let status = self.status();
        if self.status != Some(status) {
            self.status = Some(status);
            out(Effect::Status { status });
        }
    }

    /// What it says of itself now.
    pub fn beat(&self) -> Beat {
        Beat {
            name: self.who.name,
            software: self.who.software,
            boot: self.who.boot,
            hears: self.partner().map_or(0, |partner| partner.beat.boot),
            role: self.role,
            yields: self.yields.is_some(),
            aside: self.aside,
            in_sync: self.in_sync(),
            fitness: self.fitness,
            preference: self.preference,
            config: self.config.hash,
            workers: self.who.workers,
            reasons: self.reasons(),
        }
    }

    /// All that tells two states of the machine apart, but for the times.
    #[cfg(test)]
    pub(super) fn abstraction(&self) -> impl Eq + std::hash::Hash + use<> {
        let since =
            [self.fitter_since, self.as_fit_since, self.partner().and_then(|partner| partner.deaf_since)];
        let heard = self.partner.map(|partner| (partner.alive, partner.beat.hears, partner.beat.in_sync));
        (self.facts(), since.map(|since| since.is_some()), heard, self.preference, self.waiting.is_some())
    }

    /// What it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Who is preferred, as far as it knows.
    pub fn preference(&self) -> Preference {
        self.preference
    }

    /// When the next `Tick` is wanted; `Nanos::NEVER` if nothing is waited for.
    pub fn next_deadline(&self) -> Nanos {
        let partner = self.partner();
        let later =
            |since: Option<Nanos>, span: Nanos| since.map(|since| since + span).filter(|at| *at > self.now);
        let failback = self.config.failback;
        let as_fit = self.as_fit_since.filter(|_| failback.automatic);
        let deadlines = [
            partner.map(|partner| partner.at + self.config.timeout),
            self.waiting,
            later(partner.and_then(|partner| partner.deaf_since), self.config.timeout),
            later(self.fitter_since, self.config.settle),
            later(as_fit, failback.after),
            self.path_deadline(),
        ];
        deadlines.into_iter().flatten().min().unwrap_or(Nanos::NEVER)
    }
}
