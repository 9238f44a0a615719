//! From what the profile says of translation and firewall to what the path reads.

use super::groups::Groups;
use crate::base::{IfaceId, WanId};
use crate::nat::rules::{self, Firewall, Rate, Rules};
use crate::nat::statics::{Forward, OneToOne, Statics};
use crate::nat::{Addresses, Reserved, Timeouts};
use crate::path::Clamp;
use crate::path::answers::{BFD_PORT, OWN_PORTS};
use crate::profile::{self, Profile};
use crate::table::lent::CLASSES;
use crate::table::ports::Quarantine;
use crate::wan::dhcp::CLIENT_PORT;
use crate::wire::protocol;

/// Ports that a rule may take out of a WAN's pool for the host.
const HOSTED: u32 = 1024;

/// The rules of a profile with these groups.
pub fn rules(profile: &Profile, groups: &Groups) -> Rules {
    let nat = &profile.nat;
    Rules {
        share_ports: nat.when_full.tcp == profile::Full::Share,
        ports_per_host: share(nat.ports_per_host),
        sessions_per_host: share(nat.sessions_per_host),
        creation_rate: Rate::per_second(nat.creation_rate),
        hairpin: nat.hairpin,
        midstream: match nat.midstream {
            profile::Midstream::Reset => rules::Midstream::Reset,
            profile::Midstream::Adopt => rules::Midstream::Adopt,
            profile::Midstream::Drop => rules::Midstream::Drop,
        },
        stealth: nat.stealth,
        firewall: Firewall::new(profile.firewall.iter().map(rule).collect()),
        statics: statics(profile),
        timeouts: Some(timeouts(profile)),
        // As long as there is but the default group.
        policy: profile.policy.iter().map(|p| (when(&p.when), groups.of_policy(p, profile))).collect(),
    }
}

fn statics(profile: &Profile) -> Statics {
    let nat = &profile.nat;
    Statics::new(
        nat.inside.clone(),
        nat.except.iter().map(when).collect(),
        profile.forwards.iter().map(forward).collect(),
        profile.one_to_one.iter().map(one_to_one).collect(),
    )
}

/// Whether a rule of the firewall may forbid something from inside to inside.
pub fn internal(profile: &Profile) -> bool {
    let inside = |at: usize| profile.wans.iter().all(|wan| wan.interface != at);
    profile.firewall.iter().any(|rule| {
        let forbids = rule.action != profile::Action::Accept && rule.when.to != profile::To::Own;
        forbids && rule.when.interface.is_none_or(inside)
    })
}

/// Who may answer a mapping. Echoes are answered by whom they were sent to.
pub fn filtering(profile: &Profile) -> [rules::Filter; CLASSES] {
    let filter = |filter| match filter {
        profile::Filter::EndpointIndependent => rules::Filter::EndpointIndependent,
        profile::Filter::AddressDependent => rules::Filter::AddressDependent,
        profile::Filter::AddressAndPortDependent => rules::Filter::AddressAndPortDependent,
    };
    let profile::Filtering { tcp, udp } = profile.nat.filtering;
    [filter(udp), filter(tcp), rules::Filter::AddressAndPortDependent]
}

/// What is done to the MSS.
pub fn clamp(profile: &Profile) -> Clamp {
    match profile.nat.mss_clamp {
        profile::MssClamp::Auto => Clamp::Auto,
        profile::MssClamp::Never => Clamp::Never,
        profile::MssClamp::To(mss) => Clamp::To(mss),
    }
}

/// How long sessions live.
pub fn timeouts(profile: &Profile) -> Timeouts {
    let t = &profile.nat.timeouts;
    Timeouts::new(t.tcp, t.tcp_transitory, t.udp, &t.udp_ports, t.icmp, t.other)
        .opening(t.tcp_opening.unwrap_or(t.tcp_transitory))
        .closing(t.tcp_closing.unwrap_or(t.tcp_transitory))
}

/// A WAN's pool, if it has one.
pub fn pool(wan: &profile::Wan) -> Option<Addresses> {
    let all = Addresses::new(wan.pool.iter().flat_map(|pool| pool.addresses.iter().copied()));
    (!all.is_empty()).then_some(all)
}

/// The addresses of an interface's pools for which ARP is not answered.
pub fn silent(profile: &Profile, interface: usize) -> Addresses {
    let pools = profile.wans.iter().filter(|wan| wan.interface == interface).flat_map(|wan| &wan.pool);
    let never = pools.filter(|pool| pool.arp == profile::PoolArp::Never);
    Addresses::new(never.flat_map(|pool| pool.addresses.iter().copied()))
}

/// How ports rest.
pub fn quarantine(profile: &Profile) -> Quarantine {
    Quarantine { rest: profile.nat.quarantine.time, most: profile.nat.quarantine.ports }
}

/// The ports that are never given out on a WAN's own address, where that is translated to: forwards', the router's own, and those
/// by which the firewall lets others speak to the host.
pub fn reserved(profile: &Profile) -> Vec<Reserved> {
    let forwards = statics(profile).forwarded().collect::<Vec<_>>();
    let translated = |wan: &WanId| profile.wans.get(wan.index()).is_some_and(|wan| wan.pool.is_empty());
    let wans = (0..profile.wans.len()).map(|wan| WanId(wan as u8));
    let (first, last) = (*OWN_PORTS.start(), *OWN_PORTS.end());
    let own = wans.flat_map(|wan| {
        let each = [protocol::UDP, protocol::TCP, protocol::ICMP].map(|p| (wan, p, first, last));
        each.into_iter().chain([(wan, protocol::UDP, BFD_PORT, BFD_PORT)])
    });
    let leased =
        (0..profile.wans.len()).filter(|wan| profile.interfaces[profile.wans[*wan].interface].dhcp.is_some());
    let own = own.chain(leased.map(|wan| (WanId(wan as u8), protocol::UDP, CLIENT_PORT, CLIENT_PORT)));
    let all = forwards.into_iter().chain(own).chain(hosted(profile)).filter(|(wan, ..)| translated(wan));
    all.map(|(wan, protocol, first, last)| (wan, 0, protocol, first, last)).collect()
}

/// The ports of WANs that the firewall opens to the host, rule by rule. Those of a rule for more than `HOSTED` of them stay with
/// the translation: what it has given out comes first there.
fn hosted(profile: &Profile) -> Vec<(WanId, u8, u16, u16)> {
    let opens = |rule: &&profile::Rule| {
        let ports: u32 =
            rule.when.ports.iter().map(|(first, last)| u32::from(last.saturating_sub(*first)) + 1).sum();
        rule.action == profile::Action::Accept && rule.when.to == profile::To::Own && ports <= HOSTED
    };
    let mut all = Vec::new();
    for when in profile.firewall.iter().filter(opens).map(|rule| &rule.when) {
        let meant = |wan: &profile::Wan| when.interface.is_none_or(|at| at == wan.interface);
        for (at, _) in profile.wans.iter().enumerate().filter(|(_, wan)| meant(wan)) {
            let named = |p: &u8| when.protocols.is_empty() || when.protocols.contains(p);
            for p in [protocol::UDP, protocol::TCP].into_iter().filter(named) {
                all.extend(when.ports.iter().map(|(first, last)| (WanId(at as u8), p, *first, *last)));
            }
        }
    }
    all
}

fn share(share: profile::Share) -> rules::Share {
    match share {
        profile::Share::Auto => rules::Share::Auto,
        profile::Share::Limit(most) => rules::Share::Limit(most),
    }
}

fn when(given: &profile::Match) -> rules::Match {
    rules::Match {
        iface: given.interface.map(|at| IfaceId(at as u8)),
        from: given.from.clone(),
        to: match &given.to {
            profile::To::Any => rules::To::Any,
            profile::To::Nets(nets) => rules::To::Nets(nets.clone()),
            profile::To::Own => rules::To::Own,
        },
        protocols: given.protocols.clone(),
        ports: given.ports.clone(),
    }
}

fn rule(given: &profile::Rule) -> (rules::Match, rules::Action) {
    let action = match given.action {
        profile::Action::Accept => rules::Action::Accept,
        profile::Action::Drop => rules::Action::Drop,
        profile::Action::Reject => rules::Action::Reject,
    };
    (when(&given.when), action)
}

fn forward(given: &profile::Forward) -> Forward {
    Forward {
        wans: given.wans.iter().map(|wan| WanId(*wan as u8)).collect(),
        protocols: given.protocols.clone(),
        ports: given.ports,
        from: given.from.clone(),
        to: given.to,
        to_port: given.to_port,
    }
}

fn one_to_one(given: &profile::OneToOne) -> OneToOne {
    OneToOne {
        wan: WanId(given.wan as u8),
        outside: given.outside,
        inside: given.inside,
        masquerade: given.when_down == profile::WhenDown::Masquerade,
    }
}
