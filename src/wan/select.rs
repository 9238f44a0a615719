//! Which members of a group carry. A pure choice; what follows from it is in `groups`.
//!
//! Members that are up come before degraded ones, whatever the tier; then the best tier. One of it carries, the first
//! in order, or in balance all of it. What carries and is as good as any stays, so that equals never push each other
//! out. A better tier takes over only if failback allows it: by itself, `after` its coming up, and never from one degraded WAN
//! to another. In balance an equal joins after the same time. While the group is starting nobody waits: whoever
//! comes up for the first time takes its place at once.
//! With no fit member, under `best`, the best tier with link and a gateway that has answered since the link came carries;
//! among them those whose gateway answers now come first.

use serde::{Deserialize, Serialize};

use super::config::{GroupConfig, Member, Mode, NoneFit};
use super::state::Wan;
use super::status::State;
use super::types::Admin;
use crate::base::{Nanos, WanId};

/// Who carries, and whether only for want of a better one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) carrying: Vec<(WanId, u16)>,
    pub(super) resort: bool,
}

impl Choice {
    pub(super) fn has(&self, wan: WanId) -> bool {
        self.carrying.iter().any(|(id, _)| *id == wan)
    }
}

/// The group of `config` at a moment.
pub(super) struct Scene<'a> {
    pub(super) config: &'a GroupConfig,
    pub(super) wans: &'a [Wan],
    pub(super) now: Nanos,
    /// Not every member has been judged yet.
    pub(super) starting: bool,
    /// Nobody has carried yet.
    pub(super) fresh: bool,
}

impl Scene<'_> {
    /// Who is to carry after `present`.
    pub(super) fn choose(&self, present: &Choice) -> Choice {
        let fit = || self.members().filter(|(_, wan)| wan.status.fit());
        let class = fit().map(|(_, wan)| wan.status.state == State::Degraded).min();
        let Some(degraded) = class else { return self.resort() };
        let usable: Vec<&Member> = fit()
            .filter(|(_, wan)| (wan.status.state == State::Degraded) == degraded)
            .map(|(member, _)| member)
            .collect();
        let carries = |member: &Member| !present.resort && present.has(member.wan);
        let tier = usable.iter().filter(|m| carries(m)).map(|m| m.tier).min();
        let Some(tier) = tier else { return self.of_best_tier(usable.into_iter()) };
        let due = |member: &Member| self.starting || (!degraded && self.now >= self.back_at(member));
        let better = |member: &&Member| {
            member.tier < tier && due(member) && (self.starting || self.config.failback.automatic)
        };
        if usable.iter().copied().any(|m| better(&m)) {
            return self.of_best_tier(usable.into_iter().filter(better));
        }
        let joins = |member: &Member| self.config.mode == Mode::Balance && due(member);
        self.of_best_tier(usable.into_iter().filter(|m| m.tier == tier && (carries(m) || joins(m))))
    }

    /// When time alone will change the choice, at the earliest.
    pub(super) fn due(&self, present: &Choice) -> Nanos {
        let waits =
            |(member, wan): &(&Member, &Wan)| wan.status.state == State::Up && !present.has(member.wan);
        let due = self.members().filter(waits).map(|(member, _)| self.back_at(member));
        due.filter(|at| *at > self.now).min().unwrap_or(Nanos::NEVER)
    }

    /// Whether a member is not judged yet.
    pub(super) fn unjudged(&self) -> bool {
        self.members().any(|(_, wan)| wan.status.state == State::Probing)
    }

    /// The tier of a member.
    pub(super) fn tier(&self, wan: WanId) -> Option<u8> {
        self.config.members.iter().find(|member| member.wan == wan).map(|member| member.tier)
    }

    fn back_at(&self, member: &Member) -> Nanos {
        let since = self.wans.get(member.wan.index()).map_or(Nanos::NEVER, |wan| wan.status.since);
        since + self.config.failback.after
    }

    fn members(&self) -> impl Iterator<Item = (&Member, &Wan)> {
        let wan = |member: &Member| self.wans.get(member.wan.index());
        self.config.members.iter().filter_map(move |member| wan(member).map(|wan| (member, wan)))
    }

    fn of_best_tier<'m>(&self, members: impl Iterator<Item = &'m Member> + Clone) -> Choice {
        let best = members.clone().map(|m| m.tier).min();
        let most = if self.config.mode == Mode::Balance { usize::MAX } else { 1 };
        let carrying = members.filter(|m| Some(m.tier) == best).take(most).map(|m| (m.wan, m.weight));
        Choice { carrying: carrying.collect(), resort: false }
    }

    fn resort(&self) -> Choice {
        // before the first verdicts nobody is a last resort
        if self.config.none_fit == NoneFit::Unreachable || (self.starting && self.fresh) {
            return Choice::default();
        }
        let can = self.members().filter(|(_, wan)| wan.status.admin == Admin::Auto && wan.reachable());
        let best = can.min_by_key(|(member, wan)| (!wan.gateway_well(), member.tier));
        let carrying = best.map(|(member, _)| (member.wan, member.weight));
        Choice { resort: carrying.is_some(), carrying: carrying.into_iter().collect() }
    }
}
