//! Who is to have the role: one function of what is known now, without memory. docs/cluster.md has it as a table.
//!
//! A standby takes the role only if it hears nobody, if the partner hands it over, or if nobody is active and it is the stronger. So as long
//! as members hear each other there is never a second active one but for the moment of a hand-over, in which the partner takes the role first.
//! An active member lets go only if it hears that its partner is active, or if it is out of reach itself.

use super::fitness::Fitness;
use super::name::Name;
use super::types::{Cause, Role};

/// One member, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Side {
    /// Its name
    pub name: Name,
    /// What it is
    pub role: Role,
    /// How well it could serve
    pub fitness: Fitness,
    /// The operator wants the other one
    pub aside: bool,
    /// It has the other's sessions
    pub in_sync: bool,
    /// It is the preferred one
    pub preferred: bool,
}

/// The partner, as long as it is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Other {
    /// As it says itself
    pub side: Side,
    /// It hands the role over
    pub yields: bool,
    /// It has not heard this member for a timeout, though it is heard
    pub deaf: bool,
}

/// What is known now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// This member
    pub me: Side,
    /// `None`: silent
    pub partner: Option<Other>,
    /// The partner may still speak up: less than a timeout has passed since the start, or since inside came back
    pub waiting: bool,
    /// This member was handing the role over
    pub yielding: Option<Cause>,
    /// The partner has been fitter for `Config::settle`
    pub settled: bool,
    /// The preference has changed, and nothing has come of it yet
    pub asked: bool,
    /// Failback is automatic, and the preferred partner has been as fit for its time
    pub due: bool,
}

/// What is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What this member is from now on
    pub role: Role,
    /// Why, if it takes the role or lets go
    pub cause: Option<Cause>,
    /// It is active, and the partner is to take the role: why
    pub yields: Option<Cause>,
}

const fn stays(role: Role) -> Decision {
    Decision { role, cause: None, yields: None }
}

const fn becomes(role: Role, cause: Cause) -> Decision {
    Decision { role, cause: Some(cause), yields: None }
}

/// Who is to have the role.
pub fn decide(facts: &Facts) -> Decision {
    let me = &facts.me;
    let Some(partner) = &facts.partner else { return alone(facts) };
    let them = &partner.side;
    match (me.role, them.role) {
        (Role::Active, Role::Active) => both(facts, partner),
        (Role::Active, _) => Decision { yields: hand_over(facts, them), ..stays(Role::Active) },
        (_, Role::Active) if partner.yields && me.fitness.able() => becomes(Role::Active, Cause::HandedOver),
        (_, Role::Active) => stays(Role::Standby),
        _ if me.fitness.able() && stronger(me, them) => becomes(Role::Active, Cause::NobodyActive),
        _ => stays(Role::Standby),
    }
}

/// Nobody is heard. Who is out of reach itself cannot know what the partner does, and could only disturb it.
fn alone(facts: &Facts) -> Decision {
    match (facts.me.role, facts.me.fitness.able()) {
        (Role::Active, true) => stays(Role::Active),
        (Role::Active, false) => becomes(Role::Standby, Cause::InsideDown),
        (role, _) if facts.waiting => stays(role),
        (_, true) => becomes(Role::Active, Cause::PartnerLost),
        (_, false) => stays(Role::Standby),
    }
}

/// Both are active. One lets go, and both find the same one: in a hand-over the one that yields, else the weaker one.
fn both(facts: &Facts, partner: &Other) -> Decision {
    let (me, them) = (&facts.me, &partner.side);
    match (facts.yielding, partner.yields) {
        (Some(cause), false) => return becomes(Role::Standby, cause),
        (None, true) => return stays(Role::Active),
        _ => {}
    }
    // It will never know that it should let go.
    if partner.deaf && them.fitness.able() && !me.fitness.fitter(&them.fitness) {
        return becomes(Role::Standby, Cause::PartnerDeaf);
    }
    if stronger(me, them) { stays(Role::Active) } else { becomes(Role::Standby, Cause::BothActive) }
}

/// Why an active member wants its partner, which is not active, to take the role.
fn hand_over(facts: &Facts, them: &Side) -> Option<Cause> {
    let (mine, theirs) = (&facts.me.fitness, &them.fitness);
    if !theirs.able() {
        return None;
    }
    if facts.me.aside && theirs.fit() {
        return Some(Cause::Operator);
    }
    if them.aside && mine.fit() {
        return None;
    }
    // What is known at once and for certain does not wait.
    let urgent = !mine.fit() || theirs.sure.inside > mine.hoped.inside;
    if theirs.fitter(mine) && (urgent || facts.settled) {
        return Some(Cause::PartnerFitter);
    }
    if !them.preferred || !them.in_sync || !theirs.as_fit(mine) {
        return None;
    }
    match (facts.asked, facts.due) {
        (true, _) => Some(Cause::Preference),
        (_, true) => Some(Cause::Failback),
        _ => None,
    }
}

/// Which of two equals in role is to be active. Of two members exactly one is the stronger.
pub fn stronger(a: &Side, b: &Side) -> bool {
    let (fit, other) = (&a.fitness, &b.fitness);
    if fit.able() != other.able() {
        return fit.able();
    }
    let wanted = if a.aside { other } else { fit };
    if a.aside != b.aside && wanted.fit() {
        return b.aside;
    }
    if fit.fitter(other) || other.fitter(fit) {
        return fit.fitter(other);
    }
    // Who has the sessions loses none.
    let has = |side: &Side| side.role == Role::Active || side.in_sync;
    if has(a) != has(b) {
        return has(a);
    }
    if a.preferred != b.preferred {
        return a.preferred;
    }
    a.name < b.name
}
