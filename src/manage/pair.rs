//! What a member of a pair says of itself, and what its operator says to it: how well it could serve, how the site is served, who is to have the role.

use serde_json::{Value, json};

use super::member::Member;
use super::talk::copies_refused;
use super::{Answer, Manager};
use crate::base::{Nanos, WanId};
use crate::cluster::sync::LogStatus;
use crate::cluster::{ClusterView, Fitness, Input, Known, Name, Role};
use crate::wan::{Admin, Reason, State, WanStatus};

/// A lease that is not there yet counts as unknown for so long after the start.
const LEASE_GRACE: Nanos = Nanos::from_s(15);
/// The tier of WANs that are in the default group of nobody.
const LAST_TIER: u8 = u8::MAX - 1;

/// Whether a WAN would serve.
fn known(status: &WanStatus, early: bool) -> Known {
    let leaseless = status.reason == Reason::NoLease;
    match status.state {
        _ if status.link == Some(false) || status.admin != Admin::Auto => Known::Down,
        State::Probing => Known::Unknown,
        State::Down if leaseless && early => Known::Unknown,
        State::Down => Known::Down,
        State::Up | State::Degraded => Known::Up,
    }
}

/// The answer of a router that is no member of a pair.
pub(super) fn none() -> Answer {
    Answer::Refused("there is no cluster in the profile".into())
}

/// What keeps a partner that could take the role from having all sessions.
fn lacking(member: &Member) -> Option<String> {
    let partner = member.pair.live().filter(|partner| partner.fitness.fit() && !partner.in_sync)?;
    let (own, theirs) = (member.pair.beat().workers, partner.workers);
    let behind = member.copying.behind();
    member.is_active().then(|| match () {
        () if theirs != 0 && own != theirs => format!("{own} workers here, {theirs} there"),
        () if behind > 0 => format!("{behind} behind"),
        () => "it has not said so".to_owned(),
    })
}

/// Datagrams that came to the port of the beats and came to nothing, since the start.
fn refused(member: &Member) -> Value {
    let (beats, log) = (member.hearing.counts(), member.copying.waste());
    json!({
        "beats": {
            "malformed": beats.malformed, "forged": beats.forged, "replayed": beats.replayed, "strangers": beats.strangers,
        },
        "log": { "malformed": log.malformed, "forged": log.forged, "crowded": log.crowded },
    })
}

impl Manager {
    /// How well this member could serve, by what it watches.
    pub(super) fn fitness(&self, links: &[Known], now: Nanos) -> Fitness {
        let early = now.since(self.started) < LEASE_GRACE;
        let watched = |at: usize| self.profile.interfaces.get(at).is_some_and(|interface| interface.watch);
        let inside = self.view.ifaces.iter().zip(links).enumerate();
        let inside = inside.filter(|(at, (iface, _))| iface.wan.is_none() && watched(*at));
        let tier = |wan: WanId| {
            let default = self.groups.list().first();
            let members = default.into_iter().flat_map(|group| &group.members);
            members.filter(|member| member.wan == wan).map(|member| member.tier).min().unwrap_or(LAST_TIER)
        };
        let of = |wan: WanId| self.view.wans.get(wan.index()).map_or(usize::MAX, |link| link.iface.index());
        let wans = || self.wans.iter().filter(|(wan, _)| watched(of(*wan)));
        let leases = wans().filter(|(wan, _)| {
            self.profile.interfaces.get(of(*wan)).is_some_and(|interface| interface.dhcp.is_some())
        });
        let lease = |status: &WanStatus| match status.reason == Reason::NoLease {
            false => Known::Up,
            true if early => Known::Unknown,
            true => Known::Down,
        };
        Fitness::of(
            inside.map(|(_, (_, known))| *known),
            wans().map(|(wan, status)| (tier(wan), known(status, early))),
            leases.map(|(_, status)| lease(status)),
        )
    }

    /// The pair, as this member sees it, and how the sessions stand; `None`: it is no member of one.
    pub fn pair(&self, now: Nanos) -> Option<(ClusterView, LogStatus)> {
        self.member.as_ref().map(|member| (member.pair.view(now), member.copying.status()))
    }

    /// The same, for who asks.
    pub(super) fn cluster_json(&self, now: Nanos) -> Option<Value> {
        let (member, (view, sync)) = (self.member.as_ref()?, self.pair(now)?);
        let mut value = json!(view);
        if let Some(object) = value.as_object_mut() {
            let mut sync = json!(sync);
            // Of what an active member tells only its partner knows.
            let lacks = copies_refused(&self.lanes).saturating_sub(member.refused_before);
            sync["refused"] = if member.is_active() { Value::Null } else { lacks.into() };
            object.insert("sync".into(), sync);
            object.insert("refused".into(), refused(member));
        }
        Some(value)
    }

    /// The operator prefers a member.
    pub(super) fn prefer(&mut self, name: &str, now: Nanos) -> Answer {
        match name.parse::<Name>() {
            Ok(member) => self.member_word(now, Input::Prefer { member }),
            Err(why) => Answer::Refused(format!("{name}: {why}")),
        }
    }

    /// The operator wants the partner to have the role; `at_once`: though sessions end by it.
    pub(super) fn yield_role(&mut self, at_once: bool, now: Nanos) -> Answer {
        match self.member.as_ref().and_then(|member| lacking(member)).filter(|_| !at_once) {
            Some(why) => Answer::Refused(format!(
                "the partner does not have all sessions yet ({why}): wait until `turnout cluster` says so, or \
                 `turnout cluster yield --now`"
            )),
            None => self.member_word(now, Input::Yield),
        }
    }

    fn member_word(&mut self, now: Nanos, input: Input) -> Answer {
        let Some(cluster) = &self.profile.cluster else { return none() };
        let names = format!("{} and {}", cluster.member, cluster.partner);
        match self.member_input(now, input) {
            Ok(()) => self.cluster_json(now).map_or_else(none, |pair| Answer::Items(vec![pair])),
            Err(crate::cluster::Refused::NoSuchMember) => {
                Answer::Refused(format!("no member has this name; there are {names}"))
            }
            Err(why) => Answer::Refused(why.to_string()),
        }
    }

    /// The router is to end: a partner that can serve gets the role first. True: nothing is waited for.
    pub fn leave(&mut self, now: Nanos) -> bool {
        let _ = self.member_input(now, Input::Yield);
        self.left()
    }

    /// The last word of a member that ends and has no role: it cannot serve any more. A partner that ends as well would wait for it until it
    /// counts as lost. Whether there is something to send.
    pub fn farewell(&mut self, now: Nanos) -> bool {
        let Some(member) = self.member.as_mut().filter(|member| member.pair.role() != Role::Active) else {
            return false;
        };
        member.fitness = Fitness::default();
        let _ = self.member_input(now, Input::Fitness { fitness: Fitness::default() });
        true
    }

    /// Whether the role is somebody else's, or nobody can have it.
    pub fn left(&self) -> bool {
        self.member
            .as_ref()
            .is_none_or(|member| member.pair.role() != Role::Active || !member.partner_serves())
    }
}
