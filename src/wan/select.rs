//! Selection: which WAN carries, and how all the others stand.
//!
//! The first fit WAN carries. While one carries, every other one that is down, by its state or by the operator, is `Left`, and
//! all the rest are `Kept`. While none is fit nothing is left or moved, since there is nowhere to move to: the last
//! carrier is `Kept` and all others stay as they are; the leaving comes with the next carrier, in one transaction.
//! A WAN's epoch counts up at the moment it becomes `Left` and never else.

use crate::base::{Nanos, WanId};

use super::state::Wan;
use super::types::{
    Admin, Cause, Effect, Kind, Reason, Selection, Standing, StandingChange, State, WanStatus,
};

/// Who carries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Selector {
    carrying: Option<WanId>,
    /// The carrier of now, or the last one before an outage.
    last: Option<WanId>,
}

impl Selector {
    pub(super) fn carrying(&self) -> Option<WanId> {
        self.carrying
    }

    /// Brings selection and standings in line with states and overrides. `operator` says that the operator is why.
    pub(super) fn run(&mut self, wans: &mut [Wan], now: Nanos, operator: bool, out: &mut impl FnMut(Effect)) {
        let to = ids(wans).find(|(_, wan)| wan.status.fit()).map(|(id, _)| id);
        if to != self.carrying {
            out(Effect::Selected(self.describe(wans, to, now, operator)));
            self.carrying = to;
            self.last = to.or(self.last);
        }
        for (wan, id) in wans.iter_mut().zip(0..=u8::MAX) {
            stand(WanId(id), &mut wan.status, to, out);
        }
    }

    fn describe(&self, wans: &[Wan], to: Option<WanId>, now: Nanos, operator: bool) -> Selection {
        let from = self.last;
        let status = |id: Option<WanId>| id.and_then(|id| wans.get(id.index())).map(|wan| &wan.status);
        let (old, new) = (status(from), status(to));
        let kind = match (old, new) {
            (None, _) => Kind::Initial,
            (Some(_), None) => Kind::Lost,
            (Some(_), Some(_)) if from == to => Kind::Resumed,
            (Some(old), Some(_)) if old.fit() => Kind::Failback,
            (Some(old), Some(_)) if old.state == State::Up && old.admin == Admin::Drain => Kind::Handover,
            (Some(_), Some(_)) => Kind::Failover,
        };
        let (subject, operator) = match kind {
            Kind::Initial | Kind::Failback | Kind::Resumed => (new, operator),
            Kind::Failover | Kind::Handover | Kind::Lost => {
                (old, old.is_some_and(|old| old.state == State::Up))
            }
        };
        let cause = if operator { Cause::Operator } else { subject.map_or(Cause::Operator, cause_of) };
        Selection { from, to, kind, cause, last_ok: subject.and_then(|wan| wan.last_ok), detected: now }
    }
}

fn ids(wans: &[Wan]) -> impl Iterator<Item = (WanId, &Wan)> {
    wans.iter().zip(0..=u8::MAX).map(|(wan, id)| (WanId(id), wan))
}

fn cause_of(status: &WanStatus) -> Cause {
    match status.reason {
        Reason::LinkLost => Cause::LinkLost,
        Reason::GatewaySilent => Cause::GatewaySilent,
        Reason::CannotSend => Cause::CannotSend,
        Reason::Start | Reason::FirstAnswer => Cause::FirstAnswer,
        Reason::Recovered => Cause::Recovered,
    }
}

fn stand(id: WanId, status: &mut WanStatus, carrier: Option<WanId>, out: &mut impl FnMut(Effect)) {
    let from = status.standing;
    let down = status.state == State::Down || status.admin == Admin::Down;
    let to = match carrier {
        Some(carrier) if carrier == id => Standing::Carrying,
        Some(_) if down => Standing::Left,
        Some(_) => Standing::Kept,
        None if from == Standing::Carrying => Standing::Kept,
        None => from,
    };
    if from == to {
        return;
    }
    if to == Standing::Left {
        status.epoch = status.epoch.wrapping_add(1);
    }
    status.standing = to;
    status.carrying = to == Standing::Carrying;
    out(Effect::Standing(StandingChange { wan: id, from, to, epoch: status.epoch }));
}
