//! What a member shows of the pair: the object `cluster` of `turnout status`, the status endpoint, and the reasons that go with a beat.

use serde::Serialize;

use super::beat::Beat;
use super::fitness::{Fitness, NO_TIER, Rank};
use super::name::Name;
use super::pair::Pair;
use super::reasons::{Reason, Reasons};
use super::types::{Preference, Role, Status};
use crate::base::Nanos;

/// How the site is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// One is active, both are fit.
    Healthy,
    /// One member is out, or both are active.
    Unhealthy,
    /// Nobody that is fit is active, as far as this member knows.
    Offline,
}

/// What counts of a member's fitness, by the fields of `Rank`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RankView {
    /// Inside links that are up.
    pub inside: u8,
    /// The tier of the best WAN that is up; `None`: none is.
    pub tier: Option<u8>,
    /// WANs of that tier that are up.
    pub wans: u8,
    /// Leases held.
    pub leases: u8,
}

/// How well a member could serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FitnessView {
    /// What is sure.
    #[serde(flatten)]
    pub sure: RankView,
    /// What it comes to if all that nobody knows yet is up; `None`: everything is known.
    pub hoped: Option<RankView>,
}

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub role: Role,
    /// It is fit: reached from inside, and with a WAN.
    pub healthy: bool,
    /// How well it could serve: of two members the fitter one is to have the role.
    pub fitness: FitnessView,
    /// Why it is not active, or not healthy.
    pub reasons: Reasons,
    /// The version of its software.
    pub version: Name,
    /// Who is preferred, as far as it knows.
    pub preference: Preference,
}

/// The partner, as it said itself when it was heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartnerView {
    /// What it said.
    #[serde(flatten)]
    pub member: MemberView,
    /// It is silent since.
    pub lost: bool,
    /// How long ago it was heard, in ms.
    pub heard_ms: u64,
}

/// The pair, as a member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClusterView {
    /// This member.
    #[serde(flatten)]
    pub member: MemberView,
    /// `None`: never heard.
    pub partner: Option<PartnerView>,
    /// How the site is served.
    pub site: Site,
}

impl From<Rank> for RankView {
    fn from(rank: Rank) -> RankView {
        let Rank { inside, tier, wans, leases } = rank;
        RankView { inside, tier: Some(tier).filter(|tier| *tier != NO_TIER), wans, leases }
    }
}

impl From<Fitness> for FitnessView {
    fn from(fitness: Fitness) -> FitnessView {
        let hoped = Some(fitness.hoped).filter(|hoped| *hoped != fitness.sure);
        FitnessView { sure: fitness.sure.into(), hoped: hoped.map(RankView::from) }
    }
}

impl MemberView {
    fn of(beat: &Beat) -> MemberView {
        MemberView {
            name: beat.name,
            role: beat.role,
            healthy: beat.fitness.fit(),
            fitness: beat.fitness.into(),
            reasons: beat.reasons,
            version: beat.software,
            preference: beat.preference,
        }
    }
}

impl Pair {
    /// Only a member with as many workers can have all sessions of the other one. As long as one was ever heard.
    pub(super) fn workers_differ(&self) -> bool {
        let theirs = self.partner.map_or(0, |partner| partner.beat.workers);
        theirs != 0 && self.who.workers != 0 && theirs != self.who.workers
    }

    /// Every session of the partner is here, as far as they can be.
    pub(super) fn in_sync(&self) -> bool {
        self.synced && !self.workers_differ()
    }

    /// The pair, as this member sees it at `now`.
    pub fn view(&self, now: Nanos) -> ClusterView {
        let partner = self.partner.map(|partner| PartnerView {
            member: MemberView::of(&partner.beat),
            lost: !partner.alive,
            heard_ms: now.since(partner.at).as_ms(),
        });
        ClusterView { member: MemberView::of(&self.beat()), partner, site: self.site() }
    }

    /// How the site is served.
    pub fn site(&self) -> Site {
        let other = self.live().map(|partner| (partner.role, partner.fitness.fit()));
        let me = (self.role, self.fitness.fit());
        let members = [Some(me), other];
        let serve = members.iter().flatten().filter(|(role, fit)| *role == Role::Active && *fit).count();
        let active = members.iter().flatten().filter(|(role, _)| *role == Role::Active).count();
        let fit = members.iter().flatten().filter(|(_, fit)| *fit).count();
        match (serve, active, fit) {
            (0, _, _) => Site::Offline,
            (1, 1, 2) => Site::Healthy,
            _ => Site::Unhealthy,
        }
    }

    /// What the status endpoint answers.
    pub fn status(&self) -> Status {
        Status { serves: self.role == Role::Active && self.fitness.fit(), reasons: self.reasons() }
    }

    /// Why it is not active or not healthy, and what is wrong with the pair.
    pub(super) fn reasons(&self) -> Reasons {
        let fitness = &self.fitness;
        let mut reasons = Reasons::default()
            .with(Reason::Starting, self.role == Role::Starting)
            .with(Reason::InsideDown, !fitness.able())
            .with(Reason::NoWan, !fitness.fit() && fitness.able())
            .with(Reason::Aside, self.aside)
            .with(Reason::ConfigDiffers, self.config_differs())
            .with(Reason::WorkersDiffer, self.workers_differ());
        let Some(partner) = self.partner() else {
            return reasons.with(Reason::PartnerLost, self.role != Role::Starting);
        };
        let (beat, facts) = (&partner.beat, self.facts());
        let (active, theirs) = (self.role == Role::Active, beat.role == Role::Active);
        let preferred = facts.me.preferred;
        reasons = reasons
            .with(Reason::PartnerActive, theirs && !active)
            .with(Reason::BothActive, theirs && active)
            .with(Reason::PartnerFitter, beat.fitness.fitter(fitness))
            .with(Reason::PartnerPreferred, !preferred && !active)
            .with(Reason::PartnerDeaf, facts.partner.is_some_and(|partner| partner.deaf))
            .with(Reason::SoftwareDiffers, beat.software != self.who.software)
            .with(Reason::PathSilent, self.path_silent());
        let waits = theirs && !active && !self.aside && preferred && fitness.as_fit(&beat.fitness);
        reasons
            .with(Reason::NotInSync, theirs && !active && !self.in_sync())
            .with(Reason::WaitsForFailback, waits)
    }

    /// A path that once brought something brings no more, though another one does.
    fn path_silent(&self) -> bool {
        let silent = |at: Nanos| self.now >= at + self.config.timeout;
        self.partner().is_some() && self.paths.iter().flatten().any(|at| silent(*at))
    }

    /// When the next path falls silent.
    pub(super) fn path_deadline(&self) -> Option<Nanos> {
        let due = self.paths.iter().flatten().map(|at| *at + self.config.timeout);
        due.filter(|at| *at > self.now).min()
    }
}
