//! The rules between values: names, ports, roles, health. `networks` has those between addresses.
//!
//! An interface listed in `wans` is a WAN, every other one is inside. While `wans` itself is wrong, an interface that
//! looks like a WAN (it has a gateway, or a misspelt name may mean it) has no known role, and rules that depend on it
//! are silent: one mistake is not to be reported as three.
//!
//! Without a mistake every index in the `Profile` is good; with one the `Profile` is never returned.

use std::collections::{HashMap, HashSet};
use std::mem::take;

use crate::base::Ipv4Net;

use super::arms;
use super::group_types::{Group, Policy};
use super::groups;
use super::health::RawHealth;
use super::health_types::Health;
use super::mistake::{Report, closest, show};
use super::names::{Names, did_you_mean};
use super::nat_types::Nat;
use super::networks;
use super::outside::{self, Ground};
use super::pair::{Port, Side};
use super::policy;
use super::pools::{self, Range, RawPool};
use super::probes;
use super::raw::{At, Raw, RawInterface, RawWan};
use super::rule_types::{Forward, OneToOne, Rule};
use super::rules;
use super::sharing;
use super::types::{Interface, MAX_INTERFACES, MAX_WANS, Position, Profile, Route, Wan};
use super::value::is_yaml_word;

/// What an interface is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Wan,
    Inside,
    Unknown,
}

/// The profile, and what of it the other member of a pair is concerned with.
pub(super) fn check(mut raw: Raw, report: &mut Report) -> (Profile, Side) {
    arms::split(&mut raw, report);
    let list = &raw.interfaces.list;
    if let Some(name) = &raw.name {
        judge_name(&name.value, name.at, report);
    }
    for interface in list.iter().filter(|interface| interface.arm.is_none()) {
        judge_name(&interface.name, interface.at, report);
    }
    for health in &raw.health {
        judge_name(&health.name, health.at, report);
    }
    for group in &raw.groups.list {
        group.at.iter().for_each(|at| judge_name(&group.name, *at, report));
    }
    if raw.interfaces.known && list.is_empty() {
        report.add(
            raw.interfaces.at,
            "`interfaces` is empty",
            "a router needs an inside interface and a WAN",
        );
    }
    if let Some(extra) = list.get(MAX_INTERFACES) {
        let hint = "remove interfaces from here on";
        report.add(extra.at, format!("more than {MAX_INTERFACES} interfaces"), hint);
    }
    sharing::check(list, report);
    let (wans, roles) = wans(&raw, report);
    let routes = networks::check(list, &roles, &raw.routes, report);
    arms::routes(&raw, &routes, report);
    watched(list, &roles, report);
    let outside = claimed(&raw);
    let around = around(&mut raw, &wans, &roles, &routes, report);
    let side = side(&raw, &roles, outside);
    let interfaces = raw.interfaces.list.into_iter().filter_map(|interface| {
        let own = |at: &Position| !interface.virtuals.contains(at);
        Some(Interface {
            name: interface.name,
            port: interface.port?.value,
            addresses: interface.addresses.iter().filter(|net| own(&net.at)).map(|net| net.value).collect(),
            gateway: interface.gateway.map(|gateway| gateway.value),
            hops: Vec::new(),
            dhcp: interface.dhcp.dhcp(),
            mtu: interface.mtu,
            vlan: interface.vlan.map(|vlan| vlan.value),
            mac: interface.mac.map(|mac| mac.value),
            arm: interface.arm,
            watch: interface.watch.is_none_or(|watch| watch.value),
            at: interface.at,
        })
    });
    let profile = Profile {
        name: raw.name.map_or_else(|| "turnout".to_owned(), |name| name.value),
        engine: raw.engine,
        interfaces: interfaces.collect(),
        routes,
        wans,
        groups: around.groups,
        policy: around.policy,
        on_failover: raw.on_failover,
        on_failback: raw.on_failback,
        hooks: raw.hooks,
        forwards: around.forwards,
        one_to_one: around.one_to_one,
        firewall: around.firewall,
        nat: around.nat,
        icmp: raw.icmp,
        management: raw.management,
        cluster: None,
    };
    (profile, side)
}

/// A member of a pair is able while something inside is up, and fit while a WAN is.
fn watched(list: &[RawInterface], roles: &[Role], report: &mut Report) {
    let off =
        |interface: &RawInterface| interface.watch.as_ref().filter(|watch| !watch.value).map(|at| at.at);
    let both = list.iter().zip(roles);
    let never = |wan: bool| {
        let mut its = both.clone().filter(move |(_, role)| (**role == Role::Wan) == wan);
        let first = its.clone().find_map(|(interface, _)| off(interface));
        first.filter(|_| its.all(|(interface, _)| off(interface).is_some()))
    };
    let inside = never(false);
    if let Some(at) = inside {
        let hint = "the member could never have the role; leave `watch` out for one of them";
        report.add(at, "no interface inside is watched", hint);
    }
    // One arm is both.
    if let Some(at) = never(true).filter(|at| inside != Some(*at)) {
        let hint = "the member could never be fit; leave `watch` out for one of them";
        report.add(at, "no WAN is watched", hint);
    }
}

/// What else than its own addresses the router answers for, by the names of the WANs.
fn claimed(raw: &Raw) -> Vec<(String, At<Range>)> {
    let pools = raw.wans.list.iter().flat_map(|wan| {
        let answered = wan.pool.iter().filter(|pool| pool.is_answered());
        answered.flat_map(|pool| &pool.ranges).map(|range| (wan.name.clone(), range.clone()))
    });
    let single = raw.one_to_one.iter().filter_map(|given| {
        let (wan, outside) = (given.wan.as_ref()?, given.outside.as_ref()?);
        Some((wan.value.clone(), At { value: (outside.value, outside.value), at: outside.at }))
    });
    pools.chain(single).collect()
}

fn side(raw: &Raw, roles: &[Role], outside: Vec<(String, At<Range>)>) -> Side {
    let port = |(interface, role): (&RawInterface, &Role)| {
        let is_virtual = |at: &Position| interface.virtuals.contains(at);
        let (moving, own): (Vec<_>, Vec<_>) = interface.addresses.iter().partition(|net| is_virtual(&net.at));
        Port {
            name: interface.name.clone(),
            role: *role,
            device: interface.port.as_ref().map(|port| sharing::device(&port.value)),
            dhcp: interface.dhcp.wanted.is_some(),
            sure: interface.addresses_known,
            own: own.into_iter().cloned().collect(),
            mac: interface.mac.clone(),
            outside: outside
                .iter()
                .filter(|(wan, _)| *wan == interface.name)
                .map(|(_, range)| range.clone())
                .collect(),
            virtuals: moving.into_iter().map(|net| net.at).collect(),
        }
    };
    Side {
        interfaces: raw.interfaces.list.iter().zip(roles).map(port).collect(),
        known: raw.interfaces.known,
        wans: raw.wans.known.then(|| raw.wans.list.iter().map(|wan| wan.name.clone()).collect()),
        groups: raw.groups.list.iter().map(|group| group.name.clone()).collect(),
        workers: raw.engine.workers.as_ref().map(Vec::len),
    }
}

/// The sections that rest on interfaces and WANs.
struct Around {
    groups: Vec<Group>,
    policy: Vec<Policy>,
    forwards: Vec<Forward>,
    one_to_one: Vec<OneToOne>,
    firewall: Vec<Rule>,
    nat: Nat,
}

fn around(raw: &mut Raw, wans: &[Wan], roles: &[Role], routes: &[Route], report: &mut Report) -> Around {
    let (firewall, forwards) = (take(&mut raw.firewall), take(&mut raw.forwards));
    let (one_to_one, nat) = (take(&mut raw.one_to_one), take(&mut raw.nat));
    let policy = take(&mut raw.policy);
    let interfaces = raw.interfaces.list.as_slice();
    let name = |wan: &Wan| interfaces.get(wan.interface).map_or("", |interface| interface.name.as_str());
    let all_wans = raw.wans.known && wans.len() == raw.wans.list.len();
    let names = Names::new(
        (interfaces.iter().map(|interface| interface.name.as_str()), raw.interfaces.known),
        (wans.iter().map(name), all_wans),
        (raw.groups.list.iter().map(|group| group.name.as_str()), raw.groups.known),
    );
    let mut out = Around {
        groups: groups::place(&raw.groups.list, &raw.wans.list, wans.len(), &names, report),
        policy: policy::place(policy, wans, &raw.groups.list, &names, report),
        forwards: Vec::new(),
        one_to_one: Vec::new(),
        firewall: rules::place(firewall, &names, report),
        nat: nat.nat,
    };
    // With too many addresses the rest would take long, and is refused anyway.
    if networks::too_many(interfaces) {
        return out;
    }
    let of = |wan: &Wan| raw.wans.list.iter().find(|given| given.name == name(wan));
    let pools: Vec<(usize, &[RawPool])> =
        wans.iter().filter_map(|wan| Some((wan.interface, of(wan)?.pool.as_slice()))).collect();
    pools::check(&pools, interfaces, roles, report);
    let pools: Vec<(&str, &[RawPool])> =
        wans.iter().filter_map(|wan| Some((name(wan), of(wan)?.pool.as_slice()))).collect();
    let nets: Vec<Ipv4Net> = routes.iter().map(|route| route.to).collect();
    let fit = |(interface, role): (&RawInterface, &Role)| *role == Role::Wan || interface.addresses_known;
    let sure = raw.interfaces.known
        && routes.len() == raw.routes.len()
        && !roles.contains(&Role::Unknown)
        && interfaces.iter().zip(roles).all(fit);
    let ground = Ground { interfaces, roles, routes: &nets, sure };
    let healths = wans.iter().filter_map(|wan| {
        let health = of(wan)?.health.as_ref()?;
        Some((health.value.as_str(), interfaces.get(wan.interface)?))
    });
    probes::check(&raw.health, &healths.collect::<Vec<_>>(), &ground, report);
    out.forwards = outside::forwards(forwards, wans.len(), &names, &ground, report);
    out.one_to_one = outside::one_to_one(one_to_one, &pools, &names, &ground, report);
    out.nat.inside = outside::inside(nat.inside, &ground, report);
    out
}

fn judge_name(name: &str, at: Position, report: &mut Report) {
    let mut bytes = name.bytes();
    let fit = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && name.len() <= 32;
    if !fit {
        let hint = "1 to 32 letters, digits, `-` and `_`, a letter first";
        report.add(at, format!("{} cannot be a name", show(name)), hint);
    } else if is_yaml_word(name) {
        let hint = "YAML readers take this word for a bool or for nothing; choose another";
        report.add(at, format!("{} cannot be a name", show(name)), hint);
    }
}

fn wans(raw: &Raw, report: &mut Report) -> (Vec<Wan>, Vec<Role>) {
    let interfaces = &raw.interfaces.list;
    let index: HashMap<&str, usize> =
        interfaces.iter().enumerate().map(|(i, interface)| (interface.name.as_str(), i)).collect();
    let healths: HashMap<&str, &RawHealth> =
        raw.health.iter().map(|health| (health.name.as_str(), health)).collect();
    let mut known = raw.wans.known && !raw.wans.list.is_empty();
    let mut meant: HashSet<usize> = HashSet::new();
    let mut lines = HashMap::new();
    let mut used = HashSet::new();
    let mut out = Vec::new();
    if raw.wans.known && raw.wans.list.is_empty() {
        let hint = "name the interfaces that lead to the internet, as `wans: [isp1, isp2]`";
        report.add(raw.wans.at, "`wans` is empty", hint);
    }
    if let Some(extra) = raw.wans.list.get(MAX_WANS) {
        report.add(extra.at, format!("more than {MAX_WANS} WANs"), "remove WANs from here on");
    }
    for wan in &raw.wans.list {
        let health = wan_health(wan, &healths, &mut used, report);
        if let Some(line) = lines.get(wan.name.as_str()) {
            let hint = format!("it is already on line {line}; keep one of them");
            report.add(wan.at, format!("{} is given twice", show(&wan.name)), hint);
            continue;
        }
        lines.insert(wan.name.as_str(), wan.at.line);
        if let Some(&interface) = index.get(wan.name.as_str()) {
            let pool = wan.pool.iter().map(RawPool::pool).collect();
            out.push(Wan { interface, health, metered: wan.metered, pool });
            continue;
        }
        known = false;
        // Without a readable `interfaces` nobody can tell.
        if raw.interfaces.known && !report.is_full() {
            let names = interfaces.iter().take(MAX_INTERFACES).map(|i| i.name.as_str());
            let near = closest(&wan.name, names.clone());
            meant.extend(near.and_then(|near| index.get(near).copied()));
            let message = format!("no interface is called {}", show(&wan.name));
            report.add(wan.at, message, did_you_mean(near, names));
        }
    }
    for health in raw.health.iter().filter(|health| !used.contains(health.name.as_str())) {
        if raw.wans.known {
            let hint = format!("remove it, or use it: `wans: {{ isp1: {{ health: {} }} }}`", health.name);
            report.add(health.at, format!("no WAN uses the health {}", show(&health.name)), hint);
        }
    }
    let listed: HashSet<usize> = out.iter().map(|wan| wan.interface).collect();
    let role = |(i, interface): (usize, &RawInterface)| match () {
        () if listed.contains(&i) => Role::Wan,
        () if !known && (meant.contains(&i) || interface.gateway_given) => Role::Unknown,
        () => Role::Inside,
    };
    let roles: Vec<Role> = interfaces.iter().enumerate().map(role).collect();
    if !roles.is_empty() && roles.iter().all(|role| *role == Role::Wan) {
        let hint = "leave one interface out of `wans`; that is where the hosts are";
        report.add(raw.interfaces.at, "no interface is inside: all of them are WANs", hint);
    }
    (out, roles)
}

/// The health that a WAN names, else the default.
fn wan_health<'r>(
    wan: &'r RawWan,
    healths: &HashMap<&'r str, &RawHealth>,
    used: &mut HashSet<&'r str>,
    report: &mut Report,
) -> Health {
    let Some(name) = &wan.health else { return Health::default() };
    used.insert(name.value.as_str());
    if let Some(found) = healths.get(name.value.as_str()) {
        return found.health.clone();
    }
    if !report.is_full() {
        let mut names: Vec<&str> = healths.keys().copied().collect();
        names.sort_unstable();
        names.truncate(MAX_WANS);
        let near = closest(&name.value, names.iter().copied());
        let message = format!("no section of `health` is called {}", show(&name.value));
        report.add(name.at, message, did_you_mean(near, names.into_iter()));
    }
    Health::default()
}
