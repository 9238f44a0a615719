//! Pools: addresses of a WAN that mappings may use besides the interface's own.
//!
//! Pools may be of any size and in pieces (RFC 6888 REQ-3), but no address is in two of them, of whatever WAN, as what
//! comes in for it could not be told apart. An address that is somebody else's on the link is refused: the WAN's
//! gateway, the router itself, the network and broadcast addresses.

use std::net::Ipv4Addr;

use super::check::Role;
use super::mistake::{Report, show};
use super::networks::{no_host, whole};
use super::raw::{At, RawInterface};
use super::rule_types::{Pool, PoolArp};
use super::schema::{POOL, Section, items};
use super::value::word;
use super::vocabulary::{one_or_more, range};

/// The most addresses in the pools of one WAN.
const MAX_POOL: u64 = 65_536;
/// The most ranges of one pool, and the most pools of a WAN.
const MAX_RANGES: usize = 256;
const MAX_POOLS: usize = 16;

pub(super) type Range = (Ipv4Addr, Ipv4Addr);

pub(super) struct RawPool {
    pub(super) ranges: Vec<At<Range>>,
    arp: PoolArp,
}

impl RawPool {
    pub(super) fn holds(&self, ip: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| contains(range.value, ip))
    }

    /// Whether ARP is answered for its addresses.
    pub(super) fn is_answered(&self) -> bool {
        self.arp != PoolArp::Never
    }

    pub(super) fn pool(&self) -> Pool {
        let mut addresses: Vec<Range> = self.ranges.iter().map(|range| range.value).collect();
        addresses.sort_unstable();
        Pool { addresses, arp: self.arp }
    }
}

/// The key `pool` of a WAN.
pub(super) fn read(wan: &Section<'_>, report: &mut Report) -> Vec<RawPool> {
    let example = "pool: [{ addresses: 203.0.113.3/32 }]";
    let Some(node) = wan.get("pool") else { return Vec::new() };
    let list = items(node, "`pool`", example, report).unwrap_or_default();
    if let Some(extra) = list.get(MAX_POOLS) {
        report.add(extra.at, format!("more than {MAX_POOLS} pools"), "join their addresses");
    }
    let mut out = Vec::new();
    for item in list.iter().take(MAX_POOLS) {
        let Some(section) = POOL.open(item, item.at, "a pool", report) else { continue };
        let example = "addresses: 203.0.113.3/32";
        let ranges = section.require("addresses", example, report).map(|node| {
            let list = one_or_more(node, "`addresses`", MAX_RANGES, example, report);
            list.iter().filter_map(|item| range(item, "`addresses`", report)).collect()
        });
        let words = [("auto", PoolArp::Auto), ("never", PoolArp::Never)];
        let arp = section.get("arp").and_then(|node| word(node, "`arp`", &words, report));
        out.push(RawPool { ranges: ranges.unwrap_or_default(), arp: arp.unwrap_or_default() });
    }
    out
}

/// Judges the pools of all WANs; `wans` has each with the index of its interface.
pub(super) fn check(
    wans: &[(usize, &[RawPool])],
    interfaces: &[RawInterface],
    roles: &[Role],
    report: &mut Report,
) {
    for (interface, pools) in wans {
        if let Some(leased) = interfaces.get(*interface).filter(|interface| interface.dhcp.wanted.is_some())
            && let Some(range) = pools.iter().flat_map(|pool| &pool.ranges).next()
        {
            let message = format!("the pool of {}, whose address comes by DHCP", show(&leased.name));
            report.add(range.at, message, "remove it; the leased address is the only one there");
            continue;
        }
        let mut room = MAX_POOL;
        for range in pools.iter().flat_map(|pool| &pool.ranges) {
            let Some(left) = room.checked_sub(size(range.value)) else {
                let message = format!("more than {MAX_POOL} addresses in the pools of a WAN");
                report.add(range.at, message, "remove addresses, or name smaller networks");
                break;
            };
            room = left;
            one(range, *interface, interfaces, roles, report);
        }
    }
    overlaps(wans, report);
}

fn size((first, last): Range) -> u64 {
    u64::from(last.to_bits()).saturating_sub(u64::from(first.to_bits())).saturating_add(1)
}

fn contains((first, last): Range, ip: Ipv4Addr) -> bool {
    (first..=last).contains(&ip)
}

fn one(
    At { value, at }: &At<Range>,
    wan: usize,
    interfaces: &[RawInterface],
    roles: &[Role],
    report: &mut Report,
) {
    // 65536 addresses span no more than two /16, so that the ends are enough.
    if let Some(kind) = no_host(value.0).or_else(|| no_host(value.1)) {
        let message = format!("the pool has an address that no host can have: it is {kind}");
        report.add(*at, message, "name the addresses that the provider gave you");
        return;
    }
    let taken = interfaces
        .iter()
        .zip(roles)
        .enumerate()
        .find_map(|(index, (interface, role))| taken(*value, interface, *role, index == wan));
    if let Some(taken) = taken {
        let hint = "leave it out, as ranges around it: `[a.b.c.d-a.b.c.e, ...]`";
        report.add(*at, format!("the pool has {taken}"), hint);
    }
}

/// What in `range` is not the pool's to use.
fn taken(range: Range, interface: &RawInterface, role: Role, own: bool) -> Option<String> {
    let name = &interface.name;
    for net in interface.addresses.iter().map(|address| address.value) {
        if contains(range, net.addr) {
            return Some(format!("{}, the address of `{name}` itself", net.addr));
        }
        if role == Role::Inside && range.0 <= net.last() && net.network() <= range.1 {
            return Some(format!("addresses of the inside network {} of `{name}`", whole(net)));
        }
        if let (true, Some(broadcast)) = (own, net.broadcast()) {
            if contains(range, net.network()) {
                return Some(format!("{}, the network address of {}", net.network(), whole(net)));
            }
            if contains(range, broadcast) {
                return Some(format!("{broadcast}, the broadcast address of {}", whole(net)));
            }
        }
    }
    let gateway = interface.gateway.as_ref().map(|gateway| gateway.value)?;
    contains(range, gateway).then(|| format!("{gateway}, the gateway of `{name}`"))
}

fn overlaps(wans: &[(usize, &[RawPool])], report: &mut Report) {
    let mut all: Vec<&At<Range>> =
        wans.iter().flat_map(|(_, pools)| pools.iter().flat_map(|pool| &pool.ranges)).collect();
    all.sort_by_key(|range| (range.value, range.at));
    let mut widest: Option<&At<Range>> = None;
    for range in all {
        if let Some(before) = widest.filter(|before| range.value.0 <= before.value.1) {
            let (first, second) = if before.at < range.at { (before, range) } else { (range, before) };
            let message = format!("{} is in a pool already", range.value.0);
            let hint = format!("see line {}, column {}; keep one", first.at.line, first.at.column);
            report.add(second.at, message, hint);
        }
        if widest.is_none_or(|before| before.value.1 < range.value.1) {
            widest = Some(range);
        }
    }
}
