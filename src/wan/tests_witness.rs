//! What the referee remembers of one WAN, told from inputs and effects alone: rounds of probes, rows of good and bad ones, flaps.
//!
//! It counts rounds, never probes: one that is asked for again (a spare request, a duplicated answer) counts once. Where the
//! hand that stamps and the hand that ticks leave open which round something belongs to, it is counted in the machine's favour.
//! Flaps it counts by itself, by what `flap` says of them, not by what the machine shows.

use std::collections::VecDeque;

use super::*;

/// Good rounds, or bad ones, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// Since the last trouble: a bad round, a down, a lost link.
    pub(super) good: u32,
    /// Since the last good one.
    pub(super) bad: u32,
    /// When that trouble was, or the first answer was stamped, if that is earlier.
    pub(super) since: Nanos,
}

impl Row {
    fn trouble(&mut self, now: Nanos) {
        (self.good, self.since) = (0, now);
    }
}

/// The gateway's present round. What is stamped before `opened` may still belong to it: a late tick keeps the grid.
#[derive(Clone, Debug)]
struct Open {
    number: u32,
    opened: Nanos,
    /// A request has left, surely in this round if the second is set.
    left: (bool, bool),
    /// An answer came, surely to this round if the second is set.
    heard: (bool, bool),
}

/// A round of the targets.
#[derive(Clone, Debug)]
struct Round {
    number: u32,
    asked: Nanos,
    /// It may be no round, but a step of a confirmation.
    doubtful: bool,
    /// By target: when it was asked, whether it has answered in time.
    cells: Vec<(Option<Nanos>, bool)>,
}

enum Verdict {
    Good,
    Bad,
    Unsent,
    Mute,
}

/// What is remembered of a WAN.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    health: Health,
    open: Option<Open>,
    rounds: VecDeque<Round>,
    pub(super) gateway: Row,
    pub(super) targets: Row,
    pub(super) confirming: Option<Nanos>,
    pub(super) leased: bool,
    bfd_lost: bool,
    up_since: Option<Nanos>,
    /// It came up after a down.
    back: bool,
    flaps: u32,
    /// When it came up after having held still.
    ups: Vec<Nanos>,
    /// When the gateway was asked.
    asked: VecDeque<Nanos>,
    /// By group: when it was left last.
    pub(super) left: Vec<Nanos>,
}

impl Witness {
    pub(super) fn new(health: &Health, groups: usize) -> Witness {
        Witness {
            health: health.clone(),
            open: None,
            rounds: VecDeque::new(),
            gateway: Row::default(),
            targets: Row::default(),
            confirming: None,
            leased: !health.dhcp,
            bfd_lost: false,
            up_since: None,
            back: false,
            flaps: 0,
            ups: Vec::new(),
            asked: VecDeque::new(),
            left: vec![Nanos::ZERO; groups],
        }
    }

    /// Link or lease have gone, or come.
    pub(super) fn anew(&mut self, now: Nanos) {
        self.open = None;
        self.rounds.clear();
        (self.gateway, self.targets) = (Row::default(), Row::default());
        (self.gateway.since, self.targets.since) = (now, now);
    }

    /// A tick came so late that what is out is void.
    pub(super) fn void(&mut self) {
        self.open.take_if(|open| !open.heard.1);
        self.rounds.clear();
    }

    pub(super) fn bfd(&mut self, says: BfdSays, was: Option<bool>) {
        self.bfd_lost = self.health.bfd && says == BfdSays::Lost && was.is_some();
    }

    /// The gateway, or a target, is asked.
    pub(super) fn probed(&mut self, now: Nanos, probe: Probe, round: u32, confirms: bool) {
        if probe != Probe::Gateway {
            if !self.rounds.iter().any(|known| known.number == round) {
                let cells = vec![(None, false); self.health.targets.len()];
                self.rounds.push_back(Round { number: round, asked: now, doubtful: confirms, cells });
            }
            return;
        }
        self.asked.retain(|at| now.since(*at) < Nanos::from_s(1));
        self.asked.push_back(now);
        if self.open.as_ref().is_some_and(|open| open.number == round) {
            return;
        }
        let next = Open { number: round, opened: now, left: (false, false), heard: (false, false) };
        let Some(over) = self.open.replace(next) else { return };
        if over.left.0 && !over.heard.1 {
            self.gateway.bad += 1;
            if over.left.1 && !over.heard.0 {
                self.gateway.trouble(now);
            }
        }
    }

    /// Requests to the gateway in the last second, and how many they may be.
    pub(super) fn pace(&self) -> (usize, usize) {
        (self.asked.len(), 8.max(1_000 / self.health.arp_every.as_ms() as usize + 2))
    }

    pub(super) fn sent(&mut self, probe: Probe, number: u32, at: Nanos) {
        match probe {
            Probe::Gateway => {
                if let Some(open) = &mut self.open {
                    open.left = (true, open.left.1 || at >= open.opened);
                }
            }
            Probe::Target(n) => {
                let round = self.rounds.iter_mut().find(|round| round.number == number);
                if let Some(round) = round.filter(|round| at >= round.asked) {
                    round.cells[usize::from(n)].0.get_or_insert(at);
                }
            }
        }
    }

    pub(super) fn answered(&mut self, probe: Probe, number: Option<u32>, at: Nanos) {
        let Probe::Target(n) = probe else {
            self.gateway.bad = 0;
            self.gateway.since = self.gateway.since.min(at);
            if let Some(open) = &mut self.open {
                self.gateway.good += u32::from(!open.heard.1);
                open.heard = (true, open.heard.1 || at >= open.opened);
            }
            return;
        };
        let timeout = self.health.timeout;
        let round = self.rounds.iter_mut().find(|round| Some(round.number) == number);
        if let Some(cell) = round.and_then(|round| round.cells.get_mut(usize::from(n))) {
            cell.1 |= cell.0.is_none_or(|sent| at <= sent + timeout);
        }
    }

    /// Judges rounds in the order of asking; `over`: those whose time is over as well. `counts`: since when a target does.
    pub(super) fn judge(&mut self, now: Nanos, over: bool, counts: &impl Fn(u8) -> Option<Nanos>) {
        let (mut blocked, mut unsure) = (false, false);
        for round in std::mem::take(&mut self.rounds) {
            let sent = round.cells.iter().filter_map(|cell| cell.0).max();
            let over = over && now >= sent.unwrap_or(round.asked) + self.health.timeout;
            let verdict = self.verdict(&round, over, counts).filter(|_| !blocked || round.doubtful);
            let doubtful = round.doubtful || unsure;
            let row = &mut self.targets;
            match verdict {
                None => {
                    (blocked, unsure) = (blocked || !round.doubtful, unsure || round.doubtful);
                    self.rounds.push_back(round);
                }
                Some(Verdict::Good) => {
                    row.good += 1;
                    row.bad = if doubtful { row.bad } else { 0 };
                }
                Some(Verdict::Bad) => {
                    row.bad += 1;
                    if !doubtful {
                        row.trouble(now);
                    }
                }
                Some(Verdict::Mute) if !doubtful => *row = Row { since: now, ..Row::default() },
                Some(Verdict::Mute | Verdict::Unsent) => {}
            }
        }
    }

    fn verdict(&self, round: &Round, over: bool, counts: &impl Fn(u8) -> Option<Nanos>) -> Option<Verdict> {
        let since = |n| counts(n).map(|since| round.asked >= since);
        let counted = || {
            let cells = round.cells.iter().zip(0..=u8::MAX);
            cells.filter(|(cell, n)| since(*n).is_some_and(|asked| asked || cell.1)).map(|(cell, _)| cell)
        };
        let sent = counted().filter(|cell| cell.0.is_some() || cell.1).count();
        let answered = counted().filter(|cell| cell.1).count();
        let need = (self.health.need.max(1) as usize).min(round.cells.len().max(1));
        let asked = round.cells.iter().any(|cell| cell.0.is_some() || cell.1);
        match over {
            _ if answered >= need => Some(Verdict::Good),
            false => None,
            true if asked && counted().next().is_none() => Some(Verdict::Mute),
            true if sent == 0 => Some(Verdict::Unsent),
            true if answered >= need.min(sent) => Some(Verdict::Good),
            true => Some(Verdict::Bad),
        }
    }

    /// How long it has to be well, by the flaps that were seen.
    pub(super) fn hold(&self) -> Nanos {
        let max = self.health.flap_max.max(self.health.stable);
        let doubled = Nanos(self.health.stable.0.checked_shl(self.flaps).unwrap_or(u64::MAX)).min(max);
        if self.bfd_lost { doubled.max(self.health.flap_max) } else { doubled }
    }

    /// It has come up, or gone down. `held`: it had to hold still for it.
    pub(super) fn turned(&mut self, now: Nanos, from: State, to: State, held: bool) {
        let (stable, max) = (self.health.stable, self.health.flap_max.max(self.health.stable));
        if to == State::Down {
            self.gateway.trouble(now);
            self.targets.trouble(now);
            self.confirming = None;
            let hold = Nanos(stable.0 << self.flaps).min(max);
            match self.up_since.take().map(|since| now.since(since)) {
                Some(lasted) if lasted >= max => self.flaps = 0,
                Some(lasted) if self.back && lasted < Nanos(hold.0 * 10) && hold < max => self.flaps += 1,
                _ => {}
            }
        } else if to.is_up() && !from.is_up() {
            (self.up_since, self.back) = (Some(now), from == State::Down);
            if held {
                self.ups.push(now);
            }
        }
    }

    /// More ups in some time than there can be: each but the first costs its hold, and what does not double it ten of them, or
    /// `flap_max`. Gives how many, in which time, and how many there may be.
    pub(super) fn too_many_ups(&self) -> Option<(u64, Nanos, u64)> {
        let (stable, max) = (self.health.stable.0, self.health.flap_max.max(self.health.stable).0);
        let (last, doublings) = (*self.ups.last()?, u64::from(max.checked_div(stable)?.ilog2() + 1));
        let row = self.ups.iter().rev().zip(1u64..).map(|(first, count)| (count, last.since(*first)));
        let bound = |span: Nanos| 1 + doublings + (doublings + 1) * (span.0 / max) + span.0 / (11 * stable);
        row.map(|(count, span)| (count, span, bound(span))).find(|(count, _, most)| count > most)
    }
}
