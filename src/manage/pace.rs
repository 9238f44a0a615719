//! How much ARP a WAN's link gets: `ALL` messages a second, whatever asks for them.
//!
//! The gateway's probes come first: the rounds of its `gateway.arp` always leave, and of what confirms a silence (`Confirm`) so much
//! that it can be decided. What is left over, one a second at least, is the neighbours' book's, and that of the announcements after
//! the first: these take turns where both have something. What an operator has asked for in so many words, an interval below
//! 250 ms, comes on top. The partner of a pair never waits, as its beats do: the book asks for it once a second, and that one is kept
//! free where it is on this link. Pure, and bounded: what was sent in the last second. An inside interface has no such bound.

use std::collections::VecDeque;

use crate::base::Nanos;

/// ARP messages of a WAN in a second.
pub(super) const ALL: usize = 8;
/// Of them kept for a confirmation: fewer decide nothing.
const CONFIRM: usize = 2;
/// Remembered of the last second, at most.
const REMEMBERED: usize = 64;
const SECOND: Nanos = Nanos::from_s(1);

/// Why one is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// A round of the gateway's probes.
    Round,
    /// One more in it.
    Again,
    /// A neighbour is asked for.
    Question,
    /// The partner of a pair is.
    Partner,
    /// An address is announced, in its turn.
    Announcement,
    /// At once: its own address, or one that a lease has brought.
    Own,
}

/// What has been sent on one WAN lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    sent: VecDeque<(Nanos, Why)>,
    /// The last round of the gateway's probes
    round: Option<u32>,
    /// The last one that took its turn
    turn: Option<Why>,
    /// The partner has been asked for here
    partner: bool,
    /// How many of the addresses have been announced, as long as some have not
    pub(super) announced: Option<usize>,
}

impl Pace {
    /// A probe of the gateway, which is asked every so often. False if it may not be sent.
    pub(super) fn probe(&mut self, now: Nanos, round: u32, every: Nanos) -> bool {
        if self.round.replace(round) != Some(round) {
            self.note(now, Why::Round);
            return true;
        }
        self.forget(now);
        let again = self.count(Why::Again);
        let may = again < CONFIRM || self.rounds(every) + again + self.others() + self.free() < ALL;
        if may {
            self.note(now, Why::Again);
        }
        may
    }

    /// A question, or an announcement, on such a link. False if it has to wait.
    pub(super) fn take(&mut self, now: Nanos, why: Why, every: Nanos) -> bool {
        if why == Why::Question && self.announced.is_some() && self.turn == Some(Why::Question) {
            return false;
        }
        self.forget(now);
        self.partner |= why == Why::Partner;
        let kept = self.rounds(every) + CONFIRM.max(self.count(Why::Again)) + self.free();
        let none = self.others() == self.count(Why::Partner);
        let may = why == Why::Partner || none || self.others() + kept < ALL;
        if may {
            if why != Why::Partner {
                self.turn = Some(why);
            }
            self.note(now, why);
        }
        may
    }

    /// Rounds of a second: those that were, or those that will be.
    fn rounds(&self, every: Nanos) -> usize {
        (SECOND.0.div_ceil(every.0.max(1)) as usize).max(self.count(Why::Round))
    }

    /// Kept for the partner, which may be asked for at any time.
    fn free(&self) -> usize {
        usize::from(self.partner && self.count(Why::Partner) == 0)
    }

    fn others(&self) -> usize {
        self.sent.iter().filter(|(_, its)| !matches!(its, Why::Round | Why::Again)).count()
    }

    /// One has left.
    pub(super) fn note(&mut self, now: Nanos, why: Why) {
        self.forget(now);
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((now, why));
    }

    fn forget(&mut self, now: Nanos) {
        while self.sent.front().is_some_and(|(at, _)| now.since(*at) >= SECOND) {
            self.sent.pop_front();
        }
    }

    fn count(&self, why: Why) -> usize {
        self.sent.iter().filter(|(_, its)| *its == why).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages in the busiest second, and how many of each kind left, where everybody asks all the time.
    fn busiest(every: u64, confirms: bool, pair: bool) -> (usize, [usize; 3]) {
        let (mut pace, mut sent, mut kinds) =
            (Pace { announced: Some(0), ..Pace::default() }, Vec::new(), [0; 3]);
        for ms in 0..20_000u64 {
            let now = Nanos::from_ms(ms);
            let round = (ms / every) as u32;
            if ms % every == 0 {
                assert!(pace.probe(now, round, Nanos::from_ms(every)), "rounds always leave");
                sent.push(ms);
            }
            // Five in a row, 20 ms apart, and three of them at most, as the gateway's machine has it.
            if confirms && ms % 1_500 < 60 && ms % 20 == 0 && pace.probe(now, round, Nanos::from_ms(every)) {
                sent.push(ms);
                kinds[0] += 1;
            }
            // Asked for in vain: at first, then later in each second than the others.
            if pair && (ms == 0 || ms > 1_000 && ms % 1_000 == 900) {
                assert!(pace.take(now, Why::Partner, Nanos::from_ms(every)));
                sent.push(ms);
            }
            for (at, why) in [(1, Why::Question), (2, Why::Announcement)] {
                if pace.take(now, why, Nanos::from_ms(every)) {
                    sent.push(ms);
                    kinds[at] += 1;
                }
            }
        }
        let most =
            sent.iter().map(|at| sent.iter().filter(|to| (*at..*at + 1_000).contains(*to)).count()).max();
        (most.unwrap(), kinds)
    }

    #[test]
    fn all_together_send_eight_in_any_second_and_questions_and_announcements_take_turns() {
        for every in [250, 300, 500, 1_000, 5_000] {
            for (confirms, pair) in [(false, false), (true, false), (false, true), (true, true)] {
                let (most, [again, questions, announcements]) = busiest(every, confirms, pair);
                assert!(most <= ALL, "{every}: {most}");
                assert!(questions.abs_diff(announcements) <= 1 && questions >= 10, "{every}: {questions}");
                // Each time at least as many as decide.
                assert!(again >= if confirms { 2 * 20_000 / 1_500 } else { 0 }, "{every}: {again}");
            }
        }
    }

    #[test]
    fn a_gateway_that_is_asked_more_often_by_the_profile_leaves_one_a_second_to_the_others() {
        let (most, [_, questions, announcements]) = busiest(100, false, false);
        assert!(most <= 11, "{most}");
        assert!((19..=20).contains(&(questions + announcements)), "{questions} {announcements}");
    }
}
