//! Who watches the simulated pair, knowing only lines, roles and preferences.
//!
//! - Both active: for two beats at most while the network is whole and both are awake.
//! - Nobody active, though a member that could serve runs: for `Config::bound` at most, while no line loses by chance.
//! - While the network is whole and the pair has settled, the role never goes before somebody else has it.
//! - No preference of a lower version is ever kept, or said before it is kept; where the network is whole both have the same.

use super::pair::{Health, Line, Member, PATHS, SLOWEST};
use crate::base::Nanos;
use crate::cluster::{Beat, Config, Kept, NO_TIER, Role};

/// What one moment looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scene {
    lines: [[Line; PATHS]; 2],
    health: [Health; 2],
    runs: [bool; 2],
    awake: [bool; 2],
}

/// The one who watches.
pub struct Referee {
    seed: u64,
    scene: Option<Scene>,
    /// The network is whole and both run since; `NEVER`: they do not.
    whole_since: Nanos,
    /// No line loses by chance, and the same members run awake and as well, since.
    sure_since: Nanos,
    two_since: Option<Nanos>,
    none_since: Option<Nanos>,
    restarted: [bool; 2],
    had: usize,
    /// When the operator preferred a member last.
    pub(super) spoke: Nanos,
    /// What was wrong, in order.
    pub faults: Vec<String>,
}

impl Referee {
    /// For a run.
    pub fn new(seed: u64) -> Referee {
        Referee {
            seed,
            scene: None,
            whole_since: Nanos::NEVER,
            sure_since: Nanos::ZERO,
            two_since: None,
            none_since: None,
            restarted: [false; 2],
            had: 0,
            spoke: Nanos::ZERO,
            faults: Vec::new(),
        }
    }

    /// Notes a fault.
    pub fn tell(&mut self, now: Nanos, what: &str) {
        if self.faults.len() < 8 {
            self.faults.push(format!("seed {}, {} ms: {what}", self.seed, now.as_ms()));
        }
    }

    /// A member has started anew.
    pub(super) fn restarted(&mut self, at: usize) {
        self.restarted[at] = true;
    }

    /// A member writes to its disk.
    pub(super) fn kept(&mut self, now: Nanos, at: usize, before: Option<Kept>, kept: Kept) {
        if before.is_some_and(|before| before.preference > kept.preference || before.boot > kept.boot) {
            self.tell(now, &format!("member {at} keeps {kept:?} in place of {before:?}"));
        }
    }

    /// A member speaks.
    pub(super) fn said(&mut self, now: Nanos, disk: Option<Kept>, beat: &Beat) {
        if disk.is_none_or(|kept| kept.preference != beat.preference || kept.boot != beat.boot) {
            self.tell(now, &format!("{} says what it has not kept", beat.name));
        }
    }

    /// Looks at everything.
    pub(super) fn watch(
        &mut self,
        now: Nanos,
        config: &Config,
        members: &[Member; 2],
        lines: &[[Line; PATHS]; 2],
    ) {
        let scene = Scene {
            lines: *lines,
            health: [members[0].health, members[1].health],
            runs: [members[0].pair.is_some(), members[1].pair.is_some()],
            awake: [members[0].stalled_until <= now, members[1].stalled_until <= now],
        };
        if self.scene != Some(scene) || self.restarted != [false; 2] {
            (self.scene, self.restarted) = (Some(scene), [false; 2]);
            // A beat that is under way may say what was.
            self.sure_since = now;
        }
        let both = scene.runs == [true; 2] && scene.awake == [true; 2];
        let whole = both && lines.iter().flatten().all(|line| line.loss == 0);
        if !whole {
            self.whole_since = Nanos::NEVER;
        } else if self.whole_since == Nanos::NEVER {
            self.whole_since = now;
        }
        let active = |member: &Member| member.pair.as_ref().is_some_and(|pair| pair.role() == Role::Active);
        let count = members.iter().filter(|member| active(member)).count();
        self.two(now, config, count);
        self.none(now, config, members, &scene);
        self.hand_overs(now, config, count, &scene);
        self.preferences(now, config, members);
        self.had = count;
    }

    fn two(&mut self, now: Nanos, config: &Config, count: usize) {
        if count < 2 || self.whole_since == Nanos::NEVER {
            self.two_since = None;
            return;
        }
        let since = self.two_since.unwrap_or(now);
        if now.since(since) > config.every + config.every + SLOWEST {
            self.tell(now, "both are active for more than two beats");
        }
        self.two_since = Some(since);
    }

    fn none(&mut self, now: Nanos, config: &Config, members: &[Member; 2], scene: &Scene) {
        let can = |at: usize| {
            let health = scene.health[at];
            scene.runs[at] && scene.awake[at] && health.inside > 0 && health.tier != NO_TIER
        };
        let serves = |at: usize| {
            let role = members[at].pair.as_ref().map(|pair| pair.role());
            role == Some(Role::Active) && scene.health[at].inside > 0
        };
        let sure = scene.lines.iter().flatten().all(Line::is_sure) && scene.awake == [true; 2];
        if !sure || serves(0) || serves(1) || !(can(0) || can(1)) {
            self.none_since = None;
            return;
        }
        // A change of lines in between may make a member hear what it had given up, or the other way round.
        let since = self.none_since.unwrap_or(now).max(self.sure_since);
        if now.since(since) > config.bound() + SLOWEST + SLOWEST {
            self.tell(now, "nobody is active, though somebody could be");
        }
        self.none_since = Some(since);
    }

    fn hand_overs(&mut self, now: Nanos, config: &Config, count: usize, scene: &Scene) {
        let settled =
            self.whole_since != Nanos::NEVER && now.since(self.whole_since) > config.bound() + SLOWEST;
        let could = scene.health.iter().any(|health| health.inside > 0);
        if settled && could && self.had > 0 && count == 0 {
            self.tell(now, "the role was let go before the other had it");
        }
    }

    fn preferences(&mut self, now: Nanos, config: &Config, members: &[Member; 2]) {
        let spoken = config.every + config.every + SLOWEST;
        let settled = self.whole_since != Nanos::NEVER && now.since(self.whole_since) > spoken;
        let [Some(a), Some(b)] = members.each_ref().map(|member| member.pair.as_ref()) else { return };
        let differ = a.preference() != b.preference();
        // One that was just set is under way.
        if settled && differ && now.since(self.spoke) > spoken {
            self.tell(now, "they prefer different members");
        }
    }
}
