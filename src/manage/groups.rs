//! Groups: what the profile says of them, as the WAN machinery and the rules want it.
//!
//! The machinery knows groups by number. Number 0 is `default`; the other groups of the profile follow, then one for each way in which
//! the policy uses a group or a WAN: with what its rule says of a failover, and with the members of `default` in the tiers behind its own
//! where it says `otherwise: default`. Sessions bear the number, so a group keeps it as long as the router runs: a
//! changed profile finds its groups by what they are called, and what it has no more stays for the sessions that are in it.

use crate::base::{Fate, WanId};
use crate::profile::{self, Otherwise, Policy, Profile, Use};
use crate::wan::{Config, Failback, GroupConfig, Member, Mode, NoneFit, OnFailback, OnFailover, TcpFate};

/// The groups of a router, by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    list: Vec<GroupConfig>,
    /// How many of them the profile has of its own
    named: Vec<bool>,
}

/// There are too many: those that old sessions are in count as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {} groups and uses of them, with those that sessions are still in; restart to forget the old ones",
    Config::GROUPS
)]
pub struct TooMany;

impl Groups {
    /// The groups of a profile; those of `before` keep their numbers.
    ///
    /// # Errors
    /// If there are more than `Config::GROUPS`.
    pub fn of(profile: &Profile, before: &Groups) -> Result<Groups, TooMany> {
        let mut groups = before.clone();
        groups.named.iter_mut().for_each(|named| *named = false);
        for group in &profile.groups {
            let number = groups.put(config(group, &profile.on_failover, profile))?;
            groups.named[usize::from(number)] = true;
        }
        for policy in &profile.policy {
            if let Some(config) = instance(policy, profile) {
                groups.put(config)?;
            }
        }
        Ok(groups)
    }

    /// Adds a group, or changes the one that is called so.
    fn put(&mut self, config: GroupConfig) -> Result<u8, TooMany> {
        let known = self.list.iter().position(|group| group.name == config.name);
        let at = known.unwrap_or(self.list.len());
        if at >= Config::GROUPS {
            return Err(TooMany);
        }
        match self.list.get_mut(at) {
            Some(group) => *group = config,
            None => {
                self.list.push(config);
                self.named.push(false);
            }
        }
        Ok(at as u8)
    }

    /// All of them.
    pub fn list(&self) -> &[GroupConfig] {
        &self.list
    }

    /// Those that the profile has of its own, and their numbers.
    pub fn named(&self) -> impl Iterator<Item = (u8, &GroupConfig)> {
        let all = self.list.iter().enumerate().map(|(number, group)| (number as u8, group));
        all.zip(&self.named).filter(|(_, named)| **named).map(|(group, _)| group)
    }

    /// The group of a rule of the policy.
    pub fn of_policy(&self, policy: &Policy, profile: &Profile) -> u8 {
        let name = match instance(policy, profile) {
            Some(config) => config.name,
            None => used(policy.uses, profile).name,
        };
        // `of` has put it there.
        self.list.iter().position(|group| group.name == name).unwrap_or(0) as u8
    }
}

/// The group that a rule uses, for a single WAN one of its own.
fn used(uses: Use, profile: &Profile) -> GroupConfig {
    match uses {
        Use::Group(at) => config(&profile.groups[at], &profile.on_failover, profile),
        Use::Wan(wan) => {
            let interface = profile.wans[wan].interface;
            let alone = profile::Group {
                name: profile.interfaces[interface].name.clone(),
                mode: profile::Mode::Failover,
                members: vec![profile::Member { wan, tier: 1, weight: 1 }],
                failback: profile.groups[0].failback,
                none_fit: profile.groups[0].none_fit,
            };
            config(&alone, &profile.on_failover, profile)
        }
    }
}

/// The group of a rule, if none of the profile's own serves it as it is.
fn instance(policy: &Policy, profile: &Profile) -> Option<GroupConfig> {
    let mut group = used(policy.uses, profile);
    let own = group.clone();
    match policy.otherwise {
        Otherwise::Default => {
            let last = group.members.iter().map(|member| member.tier).max().unwrap_or(0);
            let has = |wan| own.members.iter().any(|member| member.wan == wan);
            let others = config(&profile.groups[0], &profile.on_failover, profile).members;
            let behind = others.into_iter().filter(|member| !has(member.wan));
            group.members.extend(behind.map(|member| Member { tier: member.tier + last, ..member }));
        }
        Otherwise::Reject => group.none_fit = NoneFit::Unreachable,
    }
    group.on_failover = on_failover(&policy.on_failover);
    // What no rule speaks of is in the default group itself, where hosts do not stick to a WAN.
    let of_profile = matches!(policy.uses, Use::Group(at) if at > 0);
    if of_profile && group == own {
        return None;
    }
    let otherwise = match policy.otherwise {
        Otherwise::Default => "default",
        Otherwise::Reject => "reject",
    };
    group.name = format!("{} or {otherwise}", own.name);
    if policy.on_failover != profile.on_failover {
        let on = &policy.on_failover;
        let fate = |fate: Fate| if fate == Fate::Drop { "drop" } else { "rebind" };
        let tcp = on.tcp_reset_after.0 / 1_000_000;
        group.name += &format!(" (udp {}, icmp {}, tcp {tcp}ms)", fate(on.udp), fate(on.icmp));
    }
    Some(group)
}

fn config(group: &profile::Group, on: &profile::OnFailover, profile: &Profile) -> GroupConfig {
    let member = |m: &profile::Member| Member { wan: WanId(m.wan as u8), tier: m.tier, weight: m.weight };
    let back = &profile.on_failback;
    GroupConfig {
        name: group.name.clone(),
        members: group.members.iter().map(member).collect(),
        mode: match group.mode {
            profile::Mode::Failover => Mode::Failover,
            profile::Mode::Balance => Mode::Balance,
        },
        failback: Failback { automatic: group.failback.automatic, after: group.failback.after },
        none_fit: match group.none_fit {
            profile::NoneFit::Best => NoneFit::Best,
            profile::NoneFit::Unreachable => NoneFit::Unreachable,
        },
        on_failover: on_failover(on),
        on_failback: OnFailback {
            drain: back.drain,
            metered: back.metered,
            tcp: match back.tcp {
                profile::TcpFate::Reset => TcpFate::Reset,
                profile::TcpFate::Keep => TcpFate::Keep,
            },
            udp: back.udp,
        },
    }
}

fn on_failover(on: &profile::OnFailover) -> OnFailover {
    OnFailover { tcp_reset_after: on.tcp_reset_after, udp: on.udp, icmp: on.icmp }
}
