//! What a member shows of the pair: the object `cluster` of `turnout status`, the status endpoint, and the reasons that go with a beat.

use serde::Serialize;

use super::beat::Beat;
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

/// One member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub role: Role,
    /// It is fit: reached from inside, and with a WAN.
    pub healthy: bool,
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

impl MemberView {
    fn of(beat: &Beat) -> MemberView {
        MemberView {
            name: beat.name,
            role: beat.role,
            healthy: beat.fitness.fit(),
            reasons: beat.reasons,
            version: beat.software,
            preference: beat.preference,
        }
    }
}

impl Pair {
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
        let other = self.partner().map(|partner| (partner.beat.role, partner.beat.fitness.fit()));
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
            .with(Reason::ConfigDiffers, self.config_differs());
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
            .with(Reason::NotInSync, theirs && !active && !self.synced)
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
