//! What a member of a pair says of itself, and what its operator says to it: how well it could serve, how the site is served, who is to have the role.

use serde_json::{Value, json};

use super::member::Member;
use super::{Answer, Manager};
use crate::base::{Nanos, WanId};
use crate::cluster::{Fitness, Input, Known, Name, Role};
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

    /// The pair, as this member sees it; `None`: it is no member of one.
    pub(super) fn cluster_json(&self, now: Nanos) -> Option<Value> {
        let member = self.member.as_ref()?;
        let mut value = json!(member.pair.view(now));
        if let Some(object) = value.as_object_mut() {
            object.insert("sync".into(), json!(member.copying.status()));
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

    /// The operator wants the partner to have the role.
    pub(super) fn yield_role(&mut self, now: Nanos) -> Answer {
        self.member_word(now, Input::Yield)
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

    /// Whether the role is somebody else's, or nobody can have it.
    pub fn left(&self) -> bool {
        self.member.as_ref().is_none_or(|member| {
            let partner = member.pair.view(self.started).partner;
            let can_serve = partner.is_some_and(|partner| !partner.lost && partner.member.healthy);
            member.pair.role() != Role::Active || !can_serve
        })
    }
}
