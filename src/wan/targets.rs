//! The targets of one WAN: asked together in rounds, judged round by round in the order of asking.
//!
//! A target of a round is answered if its reply was stamped within `timeout` of its probe's. Several rounds may be in flight, never
//! more than `MOST`. A round is good as soon as `need` targets that count have answered, and at its end if as many have as
//! could: of those that count and could be asked. Else it is bad; with no probe sent it is unsent, with none that counts mute.
//! A later round is not judged before an earlier one, so that a row of rounds is a row in time.
//! An answer that comes too late answers nothing, but shows that its target lives.

use serde::{Deserialize, Serialize};

use std::collections::VecDeque;

use super::book::Book;
use super::config::Health;
use super::quality::{Measure, Meter, Outcome};
use super::samples::{Rtt, Window, micros};
use super::status::TargetStatus;
use crate::base::Nanos;

/// Rounds in flight at most.
const MOST: usize = 64;

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    Good,
    Bad,
    /// Nothing was sent.
    Unsent,
    /// Nobody counts.
    Mute,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Cell {
    sent: Option<Nanos>,
    answered: Option<Nanos>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Round {
    number: u32,
    asked: Nanos,
    cells: Vec<Cell>,
    judged: bool,
}

impl Round {
    /// When no more answers count.
    fn end(&self, timeout: Nanos) -> Nanos {
        let last = self.cells.iter().filter_map(|cell| cell.sent).max();
        last.unwrap_or(self.asked).max(self.asked) + timeout
    }

    fn judge(&self, aims: &[Aim], book: &Book, need: usize, over: bool) -> Option<Verdict> {
        let (mut counted, mut sent, mut answered) = (0, 0, 0);
        for (aim, cell) in aims.iter().zip(&self.cells) {
            if book.counted(aim.id, self.asked) || (cell.answered.is_some() && book.counts(aim.id)) {
                counted += 1;
                sent += usize::from(cell.sent.is_some() || cell.answered.is_some());
                answered += usize::from(cell.answered.is_some());
            }
        }
        let none_sent = self.cells.iter().all(|cell| cell.sent.is_none() && cell.answered.is_none());
        match over {
            _ if answered >= need => Some(Verdict::Good),
            false => None,
            true if none_sent || (counted > 0 && sent == 0) => Some(Verdict::Unsent),
            true if counted == 0 => Some(Verdict::Mute),
            true if answered >= need.min(sent) => Some(Verdict::Good),
            true => Some(Verdict::Bad),
        }
    }
}

/// One target, as this WAN sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Aim {
    /// In the `Book`.
    id: usize,
    misses: u32,
    last_ok: Option<Nanos>,
    /// When the first probe was asked for that came after the last answered one, and is not answered itself.
    dry_since: Option<Nanos>,
    rtt: Option<Rtt>,
    window: Window,
    meter: Meter,
}

/// All of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Targets {
    every: Nanos,
    timeout: Nanos,
    need: usize,
    due: Nanos,
    asked: Option<Nanos>,
    /// Of the next round.
    number: u32,
    rounds: VecDeque<Round>,
    aims: Vec<Aim>,
}

impl Targets {
    /// The time from one round to the next at least, so that all that are in flight have room.
    fn spacing(every: Nanos, timeout: Nanos) -> Nanos {
        // a probe that leaves late may stretch its round to twice the timeout
        every.max(Nanos(timeout.0 / (MOST as u64 / 4))).max(Nanos::from_ms(1))
    }

    pub(super) fn new(health: &Health, book: &mut Book, window: Nanos, now: Nanos) -> Targets {
        let aim = |id| Aim {
            id,
            misses: 0,
            last_ok: None,
            dry_since: None,
            rtt: None,
            window: Window::default(),
            meter: Meter::new(window, now),
        };
        let aims: Vec<Aim> = health.targets.iter().take(256).map(|t| aim(book.enter(t))).collect();
        Targets {
            every: Targets::spacing(health.every, health.timeout),
            timeout: health.timeout,
            need: (health.need.max(1) as usize).min(aims.len().max(1)),
            due: if aims.is_empty() { Nanos::NEVER } else { now },
            asked: None,
            number: 0,
            rounds: VecDeque::new(),
            aims,
        }
    }

    /// Begins anew with a first round at `now`, or when one would be due.
    pub(super) fn start(&mut self, now: Nanos) {
        self.rounds.clear();
        if !self.aims.is_empty() {
            // a link that flaps makes no burst of probes
            self.due = self.asked.map_or(now, |asked| (asked + Nanos(self.every.0 / 4)).max(now));
        }
    }

    /// No more probes until `start`.
    pub(super) fn stop(&mut self) {
        self.rounds.clear();
        self.due = Nanos::NEVER;
        self.aims.iter_mut().for_each(|aim| (aim.misses, aim.dry_since, aim.rtt) = (0, None, None));
    }

    /// The rounds in flight are void: nobody was there to hear answers. What was lost before stays lost.
    pub(super) fn skip(&mut self, now: Nanos) {
        if self.due == Nanos::NEVER {
            return;
        }
        self.rounds.clear();
        self.due = self.due.min(now);
        self.aims.iter_mut().filter(|aim| aim.misses == 0).for_each(|aim| aim.dry_since = None);
    }

    /// Asks every so often from now on.
    pub(super) fn pace(&mut self, now: Nanos, every: Nanos) {
        let every = Targets::spacing(every, self.timeout);
        if every == self.every {
            return;
        }
        self.every = every;
        if let (Some(asked), true) = (self.asked, self.due != Nanos::NEVER) {
            self.due = (asked + every).max(now);
        }
    }

    /// Begins a round if it is due: all are to be asked, under this number.
    pub(super) fn ask(&mut self, now: Nanos) -> Option<u32> {
        if now < self.due || self.rounds.len() >= MOST {
            return None;
        }
        self.due = if now < self.due + self.every { self.due } else { now } + self.every;
        self.asked = Some(now);
        let number = self.reserve();
        let cells = vec![Cell::default(); self.aims.len()];
        self.rounds.push_back(Round { number, asked: now, cells, judged: false });
        Some(number)
    }

    /// A number that is no round's, for probes apart from them.
    pub(super) fn reserve(&mut self) -> u32 {
        let number = self.number;
        self.number = number.wrapping_add(1);
        number
    }

    pub(super) fn sent(&mut self, target: u8, number: u32, at: Nanos) {
        let Some(round) = self.rounds.iter_mut().find(|round| round.number == number) else { return };
        let asked = round.asked;
        let Some((cell, aim)) = cell(round, &mut self.aims, target) else { return };
        if cell.sent.is_some() || at < asked {
            return;
        }
        cell.sent = Some(at);
        match cell.answered {
            // the reply overtook the confirmation
            Some(answered) => aim.measure(at, answered),
            None => aim.dry_since = aim.dry_since.or(Some(asked)),
        }
    }

    /// An answer. The target's number in the book; none if it answers nothing that was asked.
    pub(super) fn reply(&mut self, target: u8, number: u32, at: Nanos) -> Option<usize> {
        // the newest was the one before `self.number`; what is further ahead, or too far back, was never asked
        let age = self.number.wrapping_sub(number);
        if age == 0 || age > u32::MAX / 2 {
            return None;
        }
        let timeout = self.timeout;
        if let Some(round) = self.rounds.iter_mut().find(|round| round.number == number)
            && let Some((cell, aim)) = cell(round, &mut self.aims, target)
            && cell.answered.is_none()
            && at <= cell.sent.map_or(Nanos::NEVER, |sent| sent + timeout)
        {
            cell.answered = Some(at);
            if let Some(sent) = cell.sent {
                aim.measure(sent, at);
            }
        }
        let index = usize::from(target);
        let later = |round: &&Round| number.wrapping_sub(round.number) > u32::MAX / 2;
        let dry = |round: &&Round| {
            round.cells.get(index).is_some_and(|cell| cell.sent.is_some() && cell.answered.is_none())
        };
        let dry_since = self.rounds.iter().filter(later).find(dry).map(|round| round.asked);
        let aim = self.aims.get_mut(index)?;
        aim.last_ok = aim.last_ok.max(Some(at));
        aim.dry_since = dry_since;
        Some(aim.id)
    }

    /// The next verdict. At a tick (`over`) rounds end and are judged by what they have.
    pub(super) fn judge(&mut self, now: Nanos, book: &Book, over: bool) -> Option<Verdict> {
        let round = self.rounds.iter_mut().find(|round| !round.judged)?;
        let over = over && now >= round.end(self.timeout);
        let verdict = round.judge(&self.aims, book, self.need, over)?;
        round.judged = true;
        Some(verdict)
    }

    /// Forgets the rounds that are judged and over, and counts what they showed of each target.
    pub(super) fn clear(&mut self, now: Nanos) -> bool {
        let mut any = false;
        let over = |round: &Round| round.judged && now >= round.end(self.timeout);
        while self.rounds.front().is_some_and(over) {
            let Some(round) = self.rounds.pop_front() else { break };
            for (aim, cell) in self.aims.iter_mut().zip(&round.cells) {
                let trip = |at: Nanos| cell.sent.filter(|sent| at >= *sent).map(|sent| at.since(sent).0);
                let outcome = match (cell.sent, cell.answered) {
                    (_, Some(at)) => Outcome::Answered(trip(at)),
                    (Some(_), None) => Outcome::Lost,
                    (None, None) => continue,
                };
                any = true;
                aim.misses = if outcome == Outcome::Lost { aim.misses.saturating_add(1) } else { 0 };
                aim.window.push(outcome == Outcome::Lost);
                aim.meter.add(now, outcome);
            }
        }
        any
    }

    /// When `ask` or `judge` is next wanted.
    pub(super) fn due(&self) -> Nanos {
        let end = self.rounds.front().map_or(Nanos::NEVER, |round| round.end(self.timeout));
        let due = if self.rounds.len() >= MOST { Nanos::NEVER } else { self.due };
        due.min(end)
    }

    /// By the order of the WAN's targets: the number in the book.
    pub(super) fn ids(&self) -> impl Iterator<Item = usize> {
        self.aims.iter().map(|aim| aim.id)
    }

    /// Whether one of them counts.
    pub(super) fn count(&self, book: &Book) -> bool {
        self.ids().any(|id| book.counts(id))
    }

    /// Since when a target has not answered, and how many of its probes were lost.
    pub(super) fn dry(&self, id: usize) -> Option<(Nanos, u32)> {
        let aim = self.aims.iter().find(|aim| aim.id == id)?;
        aim.dry_since.map(|since| (since, aim.misses))
    }

    /// Probes of a target lost in a row.
    pub(super) fn misses(&self, id: usize) -> u32 {
        self.aims.iter().find(|aim| aim.id == id).map_or(0, |aim| aim.misses)
    }

    /// The last answer of one that counts.
    pub(super) fn last_ok(&self, book: &Book) -> Option<Nanos> {
        self.aims.iter().filter(|aim| book.counts(aim.id)).filter_map(|aim| aim.last_ok).max()
    }

    /// So long an answer of those that count takes, at most, as a rule.
    pub(super) fn patience(&self, book: &Book) -> Nanos {
        let counted = self.aims.iter().filter(|aim| book.counts(aim.id));
        counted.filter_map(|aim| aim.rtt).map(Rtt::patience).max().unwrap_or(Nanos::ZERO)
    }

    /// By the order of the WAN's targets.
    pub(super) fn measures(&self, book: &Book, now: Nanos) -> impl Iterator<Item = Measure> {
        self.aims.iter().filter(|aim| book.counts(aim.id)).filter_map(move |aim| aim.meter.read(now))
    }

    /// Measures quality anew.
    pub(super) fn start_meters(&mut self, now: Nanos) {
        self.aims.iter_mut().for_each(|aim| aim.meter.start(now));
    }

    pub(super) fn show(&self, book: &Book, into: &mut Vec<TargetStatus>) {
        into.clear();
        into.extend(self.aims.iter().map(|aim| TargetStatus {
            misses: aim.misses,
            mute: book.is_mute(aim.id),
            blamed: !book.is_mute(aim.id) && !book.counts(aim.id),
            rtt_us: aim.rtt.map(|rtt| micros(rtt.smooth)),
            loss_percent: aim.window.percent(),
            last_ok: aim.last_ok,
        }));
    }
}

impl Aim {
    fn measure(&mut self, sent: Nanos, answered: Nanos) {
        if answered >= sent {
            let trip = answered.since(sent).0;
            self.rtt = Some(self.rtt.map_or(Rtt::first(trip), |rtt| rtt.next(trip)));
        }
    }
}

fn cell<'a>(round: &'a mut Round, aims: &'a mut [Aim], target: u8) -> Option<(&'a mut Cell, &'a mut Aim)> {
    Some((round.cells.get_mut(usize::from(target))?, aims.get_mut(usize::from(target))?))
}
