//! The gateway of one WAN: ARP requests in rounds, one verdict a round.
//!
//! A round begins when a probe is asked for and ends when the next one is due: `every` after its beginning, on a grid
//! that does not drift with late ticks, but not before the gateway had `every / 2` to answer (a worker that
//! sends late stretches the round). Whoever replies in a round answers it, be it to this probe or to an earlier one:
//! ARP replies carry no number, and a gateway that answers late is alive. A round whose probe was never confirmed as
//! sent has no verdict, nor has one in which nobody was there to hear (`skip`). A reply stamped before the round began is a sign of life but answers nothing.
//!
//! After a round without an answer the next reply is not timed, as nobody knows which request it answers (Karn).
//!
//! Requests besides the rounds' own (a link that has come, a confirmation) have a budget: with the rounds they are at most
//! `Spare::ALL` in any second, unless `every` alone asks for more.

use serde::{Deserialize, Serialize};

use std::collections::VecDeque;

use super::quality::{Meter, Outcome};
use super::samples::{Rtt, Window, micros};
use crate::base::Nanos;

/// The end of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// The first round opens: nothing to judge.
    None,
    /// A reply came.
    Answered,
    /// A probe left, no reply came.
    Lost,
    /// No probe left; the round took so long.
    Unsent(Nanos),
}

/// What a reply is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sign {
    /// The round's first reply: a success.
    Success,
    /// One more reply in a round, or one from before it.
    Life,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Round {
    asked: Nanos,
    sent: Option<Nanos>,
    answered: Option<Nanos>,
    /// One request is out, so a reply can be told to be to this one.
    timed: bool,
    sample: Option<u64>,
}

/// Requests besides the rounds' own.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Spare {
    most: usize,
    taken: VecDeque<Nanos>,
}

impl Spare {
    /// ARP requests in a second, all reasons together.
    const ALL: u64 = 8;

    fn new(every: Nanos) -> Spare {
        let second = Nanos::from_s(1).0;
        // late ticks can push one round more into a second
        let rounds = second.div_ceil(every.0.max(1)) + 1;
        Spare { most: Spare::ALL.saturating_sub(rounds) as usize, taken: VecDeque::new() }
    }

    fn take(&mut self, now: Nanos) -> bool {
        self.taken.retain(|at| now.since(*at) < Nanos::from_s(1));
        let free = self.taken.len() < self.most;
        if free {
            self.taken.push_back(now);
        }
        free
    }
}

/// Rounds and what they showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gateway {
    every: Nanos,
    round: Option<Round>,
    due: Nanos,
    asked: Option<Nanos>,
    /// Of the next round.
    number: u32,
    spare: Spare,
    rtt: Option<Rtt>,
    window: Window,
    pub(super) meter: Meter,
}

impl Gateway {
    /// The shortest round: guards against a busy loop.
    const SHORTEST: Nanos = Nanos::from_ms(1);

    pub(super) fn new(every: Nanos, window: Nanos, now: Nanos) -> Gateway {
        let every = every.max(Gateway::SHORTEST);
        Gateway {
            every,
            round: None,
            due: now,
            asked: None,
            number: 0,
            spare: Spare::new(every),
            rtt: None,
            window: Window::default(),
            meter: Meter::new(window, now),
        }
    }

    /// When `turn` is next wanted.
    pub(super) fn due(&self) -> Nanos {
        self.due
    }

    /// Begins anew with a first round at `now`, or when a round would be due.
    pub(super) fn start(&mut self, now: Nanos) {
        self.round = None;
        let regular = self.asked.map_or(now, |asked| (asked + self.every).max(now));
        self.due = if self.spare.take(now) { now } else { regular };
    }

    /// Asks once more in the present round, if there is one and the budget allows it.
    pub(super) fn again(&mut self, now: Nanos) -> Option<u32> {
        let round = self.round.as_mut()?;
        if !self.spare.take(now) {
            return None;
        }
        round.timed &= round.answered.is_some();
        Some(self.number.wrapping_sub(1))
    }

    /// No more probes until `start`.
    pub(super) fn stop(&mut self) {
        self.round = None;
        self.due = Nanos::NEVER;
    }

    /// A round without an answer is void: nobody was there to hear one.
    pub(super) fn skip(&mut self, now: Nanos) {
        if self.round.take_if(|round| round.answered.is_none()).is_some() {
            self.due = self.due.min(now);
        }
    }

    pub(super) fn sent(&mut self, at: Nanos) {
        let Some(round) = &mut self.round else { return };
        // an older stamp confirms an earlier round's probe
        if at < round.asked || round.sent.is_some() {
            return;
        }
        round.sent = Some(at);
        self.due = self.due.max(at + Nanos(self.every.0 / 2));
        // the reply overtook the confirmation
        let round = *round;
        if let (Some(replied), true) = (round.answered, round.timed) {
            self.measure(at, replied);
        }
    }

    pub(super) fn reply(&mut self, at: Nanos) -> Sign {
        let Some(round) = &mut self.round else { return Sign::Life };
        if at < round.asked || round.answered.is_some() {
            return Sign::Life;
        }
        round.answered = Some(at);
        let round = *round;
        if let (Some(sent), true) = (round.sent, round.timed) {
            self.measure(sent, at);
        }
        Sign::Success
    }

    /// Ends the round if it is due and begins the next, whose number comes with the verdict on the last.
    pub(super) fn turn(&mut self, now: Nanos) -> Option<(Verdict, u32)> {
        if now < self.due {
            return None;
        }
        // a late tick keeps the grid; one that missed a whole round starts another
        let asked = if now < self.due + self.every { self.due } else { now };
        let verdict = match self.round {
            None => Verdict::None,
            Some(Round { answered: Some(_), .. }) => Verdict::Answered,
            Some(Round { sent: Some(_), .. }) => Verdict::Lost,
            Some(round) => Verdict::Unsent(asked.since(round.asked)),
        };
        let sample = self.round.and_then(|round| round.sample);
        match verdict {
            Verdict::Answered => self.note(now, false, Outcome::Answered(sample)),
            Verdict::Lost => self.note(now, true, Outcome::Lost),
            Verdict::None | Verdict::Unsent(_) => {}
        }
        let timed = matches!(verdict, Verdict::None | Verdict::Answered);
        self.round = Some(Round { asked, sent: None, answered: None, timed, sample: None });
        self.due = asked + self.every;
        self.asked = Some(now);
        let number = self.number;
        self.number = number.wrapping_add(1);
        Some((verdict, number))
    }

    fn note(&mut self, now: Nanos, lost: bool, outcome: Outcome) {
        self.window.push(lost);
        self.meter.add(now, outcome);
    }

    fn measure(&mut self, sent: Nanos, replied: Nanos) {
        if replied >= sent {
            let sample = replied.since(sent).0;
            self.rtt = Some(self.rtt.map_or(Rtt::first(sample), |rtt| rtt.next(sample)));
            if let Some(round) = &mut self.round {
                round.sample = Some(sample);
            }
        }
    }

    /// A down forgets the round trips: they are of another line.
    pub(super) fn forget_rtt(&mut self) {
        self.rtt = None;
    }

    /// So long an answer takes, at most, as a rule: RFC 6298's smoothed time and four times the jitter.
    pub(super) fn patience(&self) -> Nanos {
        self.rtt.map_or(Nanos::ZERO, Rtt::patience)
    }

    pub(super) fn rtt_us(&self) -> Option<u32> {
        self.rtt.map(|rtt| micros(rtt.smooth))
    }

    pub(super) fn jitter_us(&self) -> Option<u32> {
        self.rtt.map(|rtt| micros(rtt.jitter))
    }

    pub(super) fn loss_percent(&self) -> Option<u8> {
        self.window.percent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Nanos = Nanos::from_ms(250);

    fn ms(n: u64) -> Nanos {
        Nanos::from_ms(n)
    }

    fn gateway() -> Gateway {
        Gateway::new(T, Nanos::from_s(30), ms(0))
    }

    fn turn(d: &mut Gateway, now: Nanos) -> Option<Verdict> {
        d.turn(now).map(|(verdict, _)| verdict)
    }

    fn answered(d: &mut Gateway, at: Nanos, rtt: Nanos) {
        d.turn(at).unwrap();
        d.sent(at);
        assert_eq!(d.reply(at + rtt), Sign::Success);
    }

    #[test]
    fn a_round_ends_on_the_grid_however_late_the_ticks_come() {
        let mut d = gateway();
        assert_eq!(turn(&mut d, ms(3)), Some(Verdict::None));
        assert_eq!(d.due(), ms(250));
        d.sent(ms(5));
        assert_eq!(turn(&mut d, ms(249)), None);
        assert_eq!(turn(&mut d, ms(290)), Some(Verdict::Lost));
        assert_eq!(d.due(), ms(500));
        d.sent(ms(291));
        assert_eq!(turn(&mut d, ms(800)), Some(Verdict::Lost), "a whole round missed");
        assert_eq!(d.due(), ms(1050), "starts another grid");
    }

    #[test]
    fn a_late_send_leaves_the_gateway_half_a_round() {
        let mut d = gateway();
        turn(&mut d, ms(0));
        d.sent(ms(125));
        assert_eq!(d.due(), ms(250));
        turn(&mut d, ms(250));
        d.sent(ms(480));
        assert_eq!(d.due(), ms(605));
        d.sent(ms(490));
        assert_eq!(d.due(), ms(605), "the first confirmation counts");
    }

    #[test]
    fn a_probe_not_sent_has_no_verdict_and_an_old_confirmation_none_either() {
        let mut d = gateway();
        turn(&mut d, ms(0));
        assert_eq!(turn(&mut d, ms(250)), Some(Verdict::Unsent(T)));
        d.sent(ms(249));
        assert_eq!(turn(&mut d, ms(500)), Some(Verdict::Unsent(T)));
        assert_eq!(d.loss_percent(), None);
    }

    #[test]
    fn a_late_reply_answers_the_round_it_comes_in_and_an_old_stamp_answers_none() {
        let mut d = gateway();
        turn(&mut d, ms(0));
        d.sent(ms(0));
        assert_eq!(turn(&mut d, ms(250)), Some(Verdict::Lost));
        d.sent(ms(250));
        assert_eq!(d.reply(ms(249)), Sign::Life);
        assert_eq!(d.reply(ms(300)), Sign::Success);
        assert_eq!(d.reply(ms(301)), Sign::Life, "one success a round");
        assert_eq!(d.rtt_us(), None, "nobody knows which request it answers");
        assert_eq!(turn(&mut d, ms(500)), Some(Verdict::Answered));
    }

    #[test]
    fn round_trips_are_smoothed_and_a_reply_may_overtake_its_confirmation() {
        let mut d = gateway();
        answered(&mut d, ms(0), ms(8));
        assert_eq!((d.rtt_us(), d.jitter_us()), (Some(8_000), Some(0)));
        turn(&mut d, ms(250));
        d.reply(ms(266));
        assert_eq!(d.rtt_us(), Some(8_000));
        d.sent(ms(250));
        assert_eq!((d.rtt_us(), d.jitter_us()), (Some(9_000), Some(500)));
        d.forget_rtt();
        assert_eq!((d.rtt_us(), d.jitter_us()), (None, None));
    }

    #[test]
    fn all_reasons_together_ask_eight_times_a_second() {
        for every in [125, 150, 200, 250, 400, 1000] {
            let mut d = Gateway::new(ms(every), Nanos::from_s(30), ms(0));
            let mut asked: VecDeque<u64> = VecDeque::new();
            for now in 0..20_000 {
                if now % 7 == 0 {
                    d.start(ms(now));
                }
                let extra = now % 3 == 0 && d.again(ms(now)).is_some();
                for at in d.turn(ms(now)).map(|_| now).into_iter().chain(extra.then_some(now)) {
                    asked.retain(|before| at - before < 1000);
                    asked.push_back(at);
                    assert!(asked.len() <= 8, "{every}: {asked:?}");
                }
            }
            assert!(!asked.is_empty());
        }
    }
}
