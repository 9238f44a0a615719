//! The story that a scenario tells: steps, each a deed, what is waited for after it, and a quiet phase.
//!
//! Pure: the time and the router's events are handed in, deeds come out. A step does its deed, waits for the event that
//! the deed must cause (but not for ever), stays quiet for a while so that traffic can show what changed, and hands on.
//! The moment of each deed and of the event that answered it are kept as marks; they bound what is measured.
//!
//! Invariant: the story ends by its deadline, whatever the router does; steps that were not reached leave no mark.
#![forbid(unsafe_code)]

use crate::base::Nanos;

/// A story ends so long after the scenario's begin at the latest: a minute less the tidying up.
pub const LONGEST: Nanos = Nanos::from_s(55);
/// What a scenario takes if nothing else is asked for.
pub const DEFAULT_SECONDS: u64 = 38;

/// Seconds that pass besides the quiet phases: building, detection, failing back (the second time it takes longer).
const BUSY: Nanos = Nanos::from_s(18);
/// More than this is not used: the rest is for a router that takes its time.
const MOST_SECONDS: u64 = 52;
const SHORTEST_QUIET: Nanos = Nanos::from_ms(1_500);

/// Something done to the first ISP's line, or to the first member of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The cable is cut: the carrier goes.
    Cut,
    /// The cable is mended.
    Mend,
    /// Everything is swallowed, the carrier stays.
    Silence,
    /// What is sent arrives again.
    Heal,
    /// The ISP itself answers, the internet behind it does not.
    Strand,
    /// The internet is there again.
    Rejoin,
    /// The member dies without a word.
    Kill,
    /// The member is started again.
    Start,
    /// The member's cables to its ISPs are pulled.
    Unplug,
    /// They are put back.
    Plug,
    /// The operator asks the member to hand the role over.
    Yield,
}

impl Deed {
    /// Whether it breaks something: what is open is put to the test at once, else when the answer comes.
    pub const fn breaks(self) -> bool {
        matches!(self, Deed::Cut | Deed::Silence | Deed::Strand | Deed::Kill | Deed::Unplug)
    }
}

/// What is to be the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The router leaves the line.
    Failover,
    /// It returns to the line.
    Failback,
    /// The second member takes the role.
    TakeOver,
    /// The first member takes it back.
    TakeBack,
}

/// A step of the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What happens, in at most 60 columns.
    pub title: &'static str,
    /// What is done at its begin.
    pub deed: Option<Deed>,
    /// What is waited for, and how long at most.
    pub answer: Option<(Answer, Nanos)>,
    /// The cause that a transition of this step is listed under.
    pub cause: &'static str,
    /// The longest outage that is allowed; none: not a packet may be lost.
    pub limit: Option<Nanos>,
    /// TCP has to outlive it.
    pub keeps: bool,
}

impl Step {
    /// A step in which nothing is done.
    pub const fn quiet(title: &'static str) -> Step {
        Step { title, deed: None, answer: None, cause: "", limit: None, keeps: false }
    }

    /// A step with a deed that is to be answered within `patience` seconds, at the price of `limit`.
    pub const fn of(
        title: &'static str,
        deed: Deed,
        (answer, patience): (Answer, u64),
        (cause, limit): (&'static str, Option<Nanos>),
    ) -> Step {
        let answer = Some((answer, Nanos::from_s(patience)));
        Step { title, deed: Some(deed), answer, cause, limit, keeps: false }
    }

    /// The same, and TCP has to outlive it.
    pub const fn keeping(self) -> Step {
        Step { keeps: true, ..self }
    }
}

/// A deed that was done, and the answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The step's number.
    pub step: usize,
    /// When it was done.
    pub at: Nanos,
    /// When the router answered, by its own stamp.
    pub answered: Option<Nanos>,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Wait,
    /// This, then `done` is to be called.
    Do(Deed),
    /// The story is told.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The deed is still to be done.
    Fresh,
    /// An answer is awaited.
    Awaiting { since: Nanos, until: Nanos },
    /// Nothing happens.
    Quiet { until: Nanos },
}

/// A story on its way.
#[derive(Clone, Debug)]
pub struct Story {
    steps: &'static [Step],
    quiet: Nanos,
    deadline: Nanos,
    at: usize,
    phase: Phase,
    marks: Vec<Mark>,
}

impl Story {
    /// A story of `steps` that ends by `deadline`, its quiet phases stretched so that all of it takes about `seconds`.
    pub fn new(steps: &'static [Step], seconds: u64, deadline: Nanos) -> Story {
        let spare = Nanos::from_s(seconds.min(MOST_SECONDS)).since(BUSY);
        let quiet = Nanos(spare.0 / steps.len().max(1) as u64).max(SHORTEST_QUIET);
        Story { steps, quiet, deadline, at: 0, phase: Phase::Fresh, marks: Vec::new() }
    }

    /// The current step, none once it is told.
    pub fn step(&self) -> Option<&'static Step> {
        self.steps.get(self.at)
    }

    /// The number of the current step, from 1, and how many there are.
    pub fn place(&self) -> (usize, usize) {
        ((self.at + 1).min(self.steps.len()), self.steps.len())
    }

    /// All steps.
    pub fn steps(&self) -> &'static [Step] {
        self.steps
    }

    /// The deeds done so far.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// What is to be done at `now`.
    pub fn turn(&mut self, now: Nanos) -> Turn {
        loop {
            let Some(step) = self.step() else { return Turn::Over };
            if now >= self.deadline {
                self.at = self.steps.len();
                return Turn::Over;
            }
            match self.phase {
                Phase::Fresh => match step.deed {
                    Some(deed) => return Turn::Do(deed),
                    None => self.phase = Phase::Quiet { until: now + self.quiet },
                },
                Phase::Awaiting { until, .. } if now >= until => {
                    self.phase = Phase::Quiet { until: now + self.quiet };
                }
                Phase::Quiet { until } if now >= until => {
                    self.at += 1;
                    self.phase = Phase::Fresh;
                }
                Phase::Awaiting { .. } | Phase::Quiet { .. } => return Turn::Wait,
            }
        }
    }

    /// The deed of this step was done at `at`.
    pub fn done(&mut self, at: Nanos) {
        let Some(step) = self.step() else { return };
        self.marks.push(Mark { step: self.at, at, answered: None });
        self.phase = match step.answer {
            Some((_, patience)) => Phase::Awaiting { since: at, until: at + patience },
            None => Phase::Quiet { until: at + self.quiet },
        };
    }

    /// The router did something at `at`, noticed at `now`. True if it was what this step waits for.
    pub fn heard(&mut self, what: Answer, at: Nanos, now: Nanos) -> bool {
        let Phase::Awaiting { since, .. } = self.phase else { return false };
        let awaited = self.step().and_then(|step| step.answer).is_some_and(|(answer, _)| answer == what);
        if !awaited || at < since {
            return false;
        }
        if let Some(mark) = self.marks.last_mut() {
            mark.answered = Some(at);
        }
        self.phase = Phase::Quiet { until: now + self.quiet };
        true
    }

    /// Where the step stands: waited so far for its answer, or left of its quiet phase.
    pub fn clock(&self, now: Nanos) -> Clock {
        match self.phase {
            Phase::Fresh => Clock::Left(Nanos::ZERO, self.quiet),
            Phase::Awaiting { since, .. } => Clock::Waited(now.since(since)),
            Phase::Quiet { until } => Clock::Left(until.since(now), self.quiet),
        }
    }
}

/// The clock of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Waiting for the router so long already.
    Waited(Nanos),
    /// So much left of a quiet phase of that length.
    Left(Nanos, Nanos),
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Step] = &[
        Step::quiet("quiet"),
        Step::of("cut", Deed::Cut, (Answer::Failover, 3), ("link", None)),
        Step::of("mend", Deed::Mend, (Answer::Failback, 14), ("failback", None)),
    ];

    fn ms(n: u64) -> Nanos {
        Nanos::from_ms(n)
    }

    #[test]
    fn a_story_is_told_step_by_step() {
        let mut story = Story::new(STEPS, 24, LONGEST);
        assert_eq!(story.turn(ms(0)), Turn::Wait);
        assert_eq!(story.clock(ms(500)), Clock::Left(ms(1500), ms(2000)));
        assert_eq!(story.turn(ms(2000)), Turn::Do(Deed::Cut));
        story.done(ms(2010));
        assert!(!story.heard(Answer::Failback, ms(2015), ms(2016)));
        assert!(!story.heard(Answer::Failover, ms(2005), ms(2016)), "an event older than the deed");
        assert_eq!(story.clock(ms(2020)), Clock::Waited(ms(10)));
        assert!(story.heard(Answer::Failover, ms(2020), ms(2022)));
        assert!(!story.heard(Answer::Failover, ms(2030), ms(2031)), "only the first counts");
        assert_eq!(story.turn(ms(4021)), Turn::Wait);
        assert_eq!(story.turn(ms(4022)), Turn::Do(Deed::Mend));
        story.done(ms(4023));
        assert!(story.heard(Answer::Failback, ms(9000), ms(9001)));
        assert_eq!(story.turn(ms(11_001)), Turn::Over);
        let answers: Vec<_> = story.marks().iter().map(|mark| mark.answered).collect();
        assert_eq!(answers, [Some(ms(2020)), Some(ms(9000))]);
    }

    #[test]
    fn an_answer_that_stays_away_is_not_waited_for_for_ever() {
        let mut story = Story::new(STEPS, 24, LONGEST);
        story.turn(ms(0));
        assert_eq!(story.turn(ms(2000)), Turn::Do(Deed::Cut));
        story.done(ms(2000));
        assert_eq!(story.turn(ms(4999)), Turn::Wait);
        assert_eq!(story.turn(ms(5000)), Turn::Wait);
        assert_eq!(story.turn(ms(7000)), Turn::Do(Deed::Mend));
        assert_eq!(story.marks()[0].answered, None);
    }

    #[test]
    fn every_story_ends_in_time_and_no_quiet_phase_is_too_short() {
        for seconds in [0, 1, 24, 60, 10_000] {
            let mut story = Story::new(STEPS, seconds, LONGEST);
            assert!(story.quiet >= SHORTEST_QUIET);
            assert!(story.quiet.0 * 3 <= ms(42_000).0);
            assert_eq!(story.turn(LONGEST), Turn::Over);
            assert_eq!(story.turn(ms(0)), Turn::Over, "over stays over");
        }
    }
}
