//! The detector of one WAN: probes in rounds, one verdict a round.
//!
//! A round begins when a probe is asked for and ends when the next one is due: `every` after its beginning, on a grid
//! that does not drift with late ticks, but not before the gateway had `every / 2` to answer (a worker that
//! sends late stretches the round). Whoever replies in a round answers it, be it to this probe or to an earlier one:
//! ARP replies carry no number, and a gateway that answers late is alive. A round whose probe was never confirmed as
//! sent has no verdict. A reply stamped before the round began is a sign of life but answers nothing.
//!
//! Round trips are smoothed as RFC 6298 section 2 does, their jitter as RFC 3550 section 6.4.1; after a round without an answer
//! the next reply is not timed, as nobody knows which request it answers (Karn).

use serde::{Deserialize, Serialize};

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
    /// The round before was answered, so a reply can be told to be this one's.
    timed: bool,
}

/// Rounds and what they showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Detector {
    every: Nanos,
    round: Option<Round>,
    due: Nanos,
    rtt: Option<Rtt>,
    window: Window,
}

impl Detector {
    /// The shortest round: guards against a busy loop.
    const SHORTEST: Nanos = Nanos::from_ms(1);

    pub(super) fn new(every: Nanos, now: Nanos) -> Detector {
        let every = every.max(Detector::SHORTEST);
        Detector { every, round: None, due: now, rtt: None, window: Window::default() }
    }

    /// When `turn` is next wanted.
    pub(super) fn due(&self) -> Nanos {
        self.due
    }

    /// Begins anew with a first round at `now`.
    pub(super) fn start(&mut self, now: Nanos) {
        self.round = None;
        self.due = now;
    }

    /// No more probes until `start`.
    pub(super) fn stop(&mut self) {
        self.round = None;
        self.due = Nanos::NEVER;
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
        if let (Some(sent), true) = (round.sent, round.timed) {
            self.measure(sent, at);
        }
        Sign::Success
    }

    /// Ends the round if it is due and begins the next; the probe is to be sent if there is a verdict.
    pub(super) fn turn(&mut self, now: Nanos) -> Option<Verdict> {
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
        match verdict {
            Verdict::Answered => self.window.push(false),
            Verdict::Lost => self.window.push(true),
            Verdict::None | Verdict::Unsent(_) => {}
        }
        let timed = matches!(verdict, Verdict::None | Verdict::Answered);
        self.round = Some(Round { asked, sent: None, answered: None, timed });
        self.due = asked + self.every;
        Some(verdict)
    }

    fn measure(&mut self, sent: Nanos, replied: Nanos) {
        if replied >= sent {
            let sample = replied.since(sent).0;
            self.rtt = Some(self.rtt.map_or(Rtt::first(sample), |rtt| rtt.next(sample)));
        }
    }

    /// A down forgets the round trips: they are of another line.
    pub(super) fn forget_rtt(&mut self) {
        self.rtt = None;
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

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rtt {
    last: u64,
    smooth: u64,
    jitter: u64,
}

impl Rtt {
    fn first(sample: u64) -> Rtt {
        Rtt { last: sample, smooth: sample, jitter: 0 }
    }

    fn next(self, sample: u64) -> Rtt {
        let apart = sample.abs_diff(self.last);
        Rtt {
            last: sample,
            smooth: self.smooth - self.smooth / 8 + sample / 8,
            jitter: self.jitter - self.jitter / 16 + apart / 16,
        }
    }
}

/// The last 100 judged rounds, the newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Window {
    lost: u128,
    rounds: u8,
}

impl Window {
    const ROUNDS: u8 = 100;

    fn push(&mut self, lost: bool) {
        self.lost = ((self.lost << 1) | u128::from(lost)) & ((1 << Window::ROUNDS) - 1);
        self.rounds = (self.rounds + 1).min(Window::ROUNDS);
    }

    fn percent(self) -> Option<u8> {
        let lost = self.lost.count_ones() * 100;
        lost.checked_div(u32::from(self.rounds)).and_then(|percent| u8::try_from(percent).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Nanos = Nanos::from_ms(250);

    fn ms(n: u64) -> Nanos {
        Nanos::from_ms(n)
    }

    fn answered(d: &mut Detector, at: Nanos, rtt: Nanos) {
        d.turn(at).unwrap();
        d.sent(at);
        assert_eq!(d.reply(at + rtt), Sign::Success);
    }

    #[test]
    fn a_round_ends_on_the_grid_however_late_the_ticks_come() {
        let mut d = Detector::new(T, ms(0));
        assert_eq!(d.turn(ms(3)), Some(Verdict::None));
        assert_eq!(d.due(), ms(250));
        d.sent(ms(5));
        assert_eq!(d.turn(ms(249)), None);
        assert_eq!(d.turn(ms(290)), Some(Verdict::Lost));
        assert_eq!(d.due(), ms(500));
        d.sent(ms(291));
        assert_eq!(d.turn(ms(800)), Some(Verdict::Lost), "a whole round missed");
        assert_eq!(d.due(), ms(1050), "starts another grid");
    }

    #[test]
    fn a_late_send_leaves_the_gateway_half_a_round() {
        let mut d = Detector::new(T, ms(0));
        d.turn(ms(0));
        d.sent(ms(125));
        assert_eq!(d.due(), ms(250));
        d.turn(ms(250));
        d.sent(ms(480));
        assert_eq!(d.due(), ms(605));
        d.sent(ms(490));
        assert_eq!(d.due(), ms(605), "the first confirmation counts");
    }

    #[test]
    fn a_probe_not_sent_has_no_verdict_and_an_old_confirmation_none_either() {
        let mut d = Detector::new(T, ms(0));
        d.turn(ms(0));
        assert_eq!(d.turn(ms(250)), Some(Verdict::Unsent(T)));
        d.sent(ms(249));
        assert_eq!(d.turn(ms(500)), Some(Verdict::Unsent(T)));
        assert_eq!(d.loss_percent(), None);
    }

    #[test]
    fn a_late_reply_answers_the_round_it_comes_in_and_an_old_stamp_answers_none() {
        let mut d = Detector::new(T, ms(0));
        d.turn(ms(0));
        d.sent(ms(0));
        assert_eq!(d.turn(ms(250)), Some(Verdict::Lost));
        d.sent(ms(250));
        assert_eq!(d.reply(ms(249)), Sign::Life);
        assert_eq!(d.reply(ms(300)), Sign::Success);
        assert_eq!(d.reply(ms(301)), Sign::Life, "one success a round");
        assert_eq!(d.rtt_us(), None, "nobody knows which request it answers");
        assert_eq!(d.turn(ms(500)), Some(Verdict::Answered));
    }

    #[test]
    fn round_trips_are_smoothed_and_a_reply_may_overtake_its_confirmation() {
        let mut d = Detector::new(T, ms(0));
        answered(&mut d, ms(0), ms(8));
        assert_eq!((d.rtt_us(), d.jitter_us()), (Some(8_000), Some(0)));
        d.turn(ms(250));
        d.reply(ms(266));
        assert_eq!(d.rtt_us(), Some(8_000));
        d.sent(ms(250));
        assert_eq!((d.rtt_us(), d.jitter_us()), (Some(9_000), Some(500)));
        d.forget_rtt();
        assert_eq!((d.rtt_us(), d.jitter_us()), (None, None));
    }

    #[test]
    fn loss_is_of_the_last_hundred_rounds() {
        let mut window = Window::default();
        assert_eq!(window.percent(), None);
        window.push(true);
        assert_eq!(window.percent(), Some(100));
        (0..99).for_each(|_| window.push(false));
        assert_eq!(window.percent(), Some(1));
        window.push(false);
        assert_eq!(window.percent(), Some(0));
        (0..300).for_each(|_| window.push(true));
        assert_eq!(window.percent(), Some(100));
    }
}
