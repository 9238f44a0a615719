//! The rules between two members: over what they hear each other, and what either of them may have the addresses of.
//!
//! Each member has been judged alone, with the virtual addresses among its own. Here both are looked at together: a path joins two addresses of one
//! network, a virtual address is nobody's own, and members that do not share a WAN share a network inside. While
//! interfaces of a member could not be read, nobody is told that it has none of a name.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::base::{Ipv4Net, Mac};

use super::check::Role;
use super::cluster::{RawCluster, RawStatus, RawVirtual};
use super::cluster_types::{Cluster, HeartbeatPath, StatusEndpoint, VirtualAddress};
use super::mistake::{Report, closest, show};
use super::names::did_you_mean;
use super::networks::{MAX_ADDRESSES, whole};
use super::pools::Range;
use super::raw::At;
use super::shared;
use super::types::{MAX_INTERFACES, MAX_WANS, Position};

/// A member, as far as the other one is concerned.
pub(super) struct Side {
    pub(super) interfaces: Vec<Port>,
    /// The interfaces could be read.
    pub(super) known: bool,
    /// The WANs could be read; by their names, in order.
    pub(super) wans: Option<Vec<String>>,
    /// The groups by their names.
    pub(super) groups: Vec<String>,
    /// How many cores are given.
    pub(super) workers: Option<usize>,
}

/// An interface of a member.
pub(super) struct Port {
    pub(super) name: String,
    pub(super) role: Role,
    /// What it is made of.
    pub(super) device: Option<String>,
    pub(super) dhcp: bool,
    /// All of `own` could be read.
    pub(super) sure: bool,
    pub(super) own: Vec<At<Ipv4Net>>,
    pub(super) mac: Option<At<Mac>>,
    /// What its pools and one-to-one addresses are, but for those for which ARP is not answered.
    pub(super) outside: Vec<At<Range>>,
    /// The virtual ones, by their places in the text.
    pub(super) virtuals: Vec<Position>,
}

impl Side {
    fn is_too_large(&self) -> bool {
        self.interfaces.len() > MAX_INTERFACES
            || self.interfaces.iter().any(|port| port.own.len() > MAX_ADDRESSES)
            || self.wans.as_ref().is_some_and(|wans| wans.len() > MAX_WANS)
    }

    fn find(&self, name: &str) -> Option<(usize, &Port)> {
        self.interfaces.iter().enumerate().find(|(_, port)| port.name == name)
    }
}

/// Both members, with their names.
struct Both<'a> {
    names: [&'a str; 2],
    sides: [&'a Side; 2],
}

/// What each member's profile says of the pair. `None` if something is wrong, which has been said.
pub(super) fn judge(
    raw: &RawCluster<'_>,
    sides: [&Side; 2],
    hash: u64,
    report: &mut Report,
) -> Option<[Cluster; 2]> {
    let [first, second] = raw.members.as_slice() else { return None };
    // With too many of anything the rest would take long, and is refused anyway.
    if sides.iter().any(|side| side.is_too_large()) {
        return None;
    }
    let both = Both { names: [first.name, second.name], sides };
    let paths = both.paths(raw, report);
    let virtuals = both.virtuals(&raw.virtuals, report);
    let status = raw.status.as_ref().map(|status| both.status(status, raw, report));
    both.same_numbers(second.at, report);
    shared::judge(sides, &raw.paths, report);
    let one = |own: usize| {
        Some(Cluster {
            member: both.names[own].to_owned(),
            partner: both.names[1 - own].to_owned(),
            paths: paths.iter().map(|path| path[own].clone()).collect(),
            port: raw.port,
            every: raw.every,
            timeout: raw.timeout,
            key_file: raw.key_file.clone(),
            preferred: raw.preferred.as_ref().map_or(first.name, |name| &name.value).to_owned(),
            failback: raw.failback,
            virtuals: virtuals.iter().map(|both| both[own].clone()).collect(),
            status: match status {
                Some(status) => Some(status?[own]),
                None => None,
            },
            hash,
            active: false,
        })
    };
    Some([one(0)?, one(1)?])
}

impl Both<'_> {
    /// The interface of that name at both members.
    fn find(&self, name: &At<String>, report: &mut Report) -> Option<[(usize, &Port); 2]> {
        let [a, b] = self.sides.map(|side| side.find(&name.value));
        let missing = match (a, b) {
            (Some(a), Some(b)) => return Some([a, b]),
            _ if self.sides.iter().any(|side| !side.known) => return None,
            (None, None) => {
                let names = || self.sides[0].interfaces.iter().map(|port| port.name.as_str());
                let hint = did_you_mean(closest(&name.value, names()), names());
                report.add(name.at, format!("no interface is called {}", show(&name.value)), hint);
                return None;
            }
            (Some(_), None) => self.names[1],
            (None, Some(_)) => self.names[0],
        };
        let message = format!("member {} has no interface {}", show(missing), show(&name.value));
        report.add(name.at, message, "name one that both members have");
        None
    }

    /// As `find`, for an interface whose address is given by hand at both.
    fn fixed(&self, name: &At<String>, what: &str, report: &mut Report) -> Option<[(usize, &Port); 2]> {
        let found = self.find(name, report)?;
        if found.iter().any(|(_, port)| port.dhcp) {
            let message = format!("{what} {}, whose address comes by DHCP", show(&name.value));
            report.add(name.at, message, "choose an interface whose address is given by hand");
            return None;
        }
        Some(found)
    }

    fn paths(&self, raw: &RawCluster<'_>, report: &mut Report) -> Vec<[HeartbeatPath; 2]> {
        let mut lines = HashMap::new();
        let mut inside = false;
        let mut out = Vec::new();
        for name in &raw.paths {
            if let Some(line) = lines.insert(name.value.as_str(), name.at.line) {
                let hint = format!("it is already on line {line}; keep one of them");
                report.add(name.at, format!("a second path over {}", show(&name.value)), hint);
                continue;
            }
            let Some(ports) = self.fixed(name, "a path over", report) else { continue };
            inside |= ports.iter().all(|(_, port)| port.role != Role::Wan);
            out.extend(self.path(name, ports, report));
        }
        let complete = raw.paths_known && out.len() == raw.paths.len();
        if complete && !inside && !self.share_a_wan() {
            let message = "the members have no WAN in common, and no path over an interface inside";
            let hint =
                "add a path over a network inside that both are on: each other's WAN fails with its ISP";
            report.add(raw.paths_at, message, hint);
        }
        out
    }

    fn path(
        &self,
        name: &At<String>,
        [(a, here), (b, there)]: [(usize, &Port); 2],
        report: &mut Report,
    ) -> Option<[HeartbeatPath; 2]> {
        let pairs =
            here.own.iter().flat_map(|own| there.own.iter().map(move |other| (own.value, other.value)));
        let mut joined = pairs.filter(|(own, other)| whole(*own) == whole(*other));
        let first = joined.clone().next();
        if let Some((own, other)) = joined.find(|(own, other)| own.addr != other.addr) {
            let of = |interface, own: Ipv4Net, partner: Ipv4Net| HeartbeatPath {
                interface,
                own: own.addr,
                partner: partner.addr,
            };
            return Some([of(a, own, other), of(b, other, own)]);
        }
        // One address for both is said where it stands (`shared`).
        if first.is_none() && here.sure && there.sure {
            let message = format!("the members have no addresses in one network on {}", show(&name.value));
            let hint = "give each an address of its own there, in `members`; a virtual one is not enough";
            report.add(name.at, message, hint);
        }
        None
    }

    /// Whether some WAN of both is one network.
    fn share_a_wan(&self) -> bool {
        let [Some(here), Some(there)] = self.sides.map(|side| side.wans.as_ref()) else { return true };
        here.iter().filter(|name| there.contains(name)).any(|name| {
            let [Some((_, a)), Some((_, b))] = self.sides.map(|side| side.find(name)) else { return false };
            !a.virtuals.is_empty()
                || a.own.iter().any(|own| b.own.iter().any(|other| whole(own.value) == whole(other.value)))
        })
    }

    /// Sessions are told by the numbers of their WAN and group: both members count alike.
    fn same_numbers(&self, at: Position, report: &mut Report) {
        let [a, b] = self.names.map(show);
        if let [Some(here), Some(there)] = self.sides.map(|side| side.wans.as_ref()) {
            let place = |name: &String| there.iter().position(|other| other == name);
            let moved = |(i, name): &(usize, &String)| place(name).is_some_and(|other| other != *i);
            if let Some((_, name)) = here.iter().enumerate().find(moved) {
                let message = format!("{} has another place in `wans` of {b} than of {a}", show(name));
                report.add(at, message, "list the WANs that both have first, in one order");
            }
        }
        if self.sides[0].groups != self.sides[1].groups {
            let message = format!("the groups of {b} are others than those of {a}, or in another order");
            report.add(at, message, "give both the same groups; what is in them may differ");
        }
        if let [Some(here), Some(there)] = self.sides.map(|side| side.workers)
            && here != there
        {
            let message = format!("{b} has {there} cores in `workers`, {a} has {here}");
            report.add(at, message, "give both as many: sessions are copied by worker");
        }
    }

    fn virtuals(&self, list: &[RawVirtual], report: &mut Report) -> Vec<[VirtualAddress; 2]> {
        let mut lines = HashMap::new();
        let mut addresses = HashMap::new();
        let mut vrids = HashMap::new();
        let mut out = Vec::new();
        for given in list {
            let name = &given.interface;
            let Some(found) = self.fixed(name, "a virtual address of", report) else { continue };
            if let (Some(vrid), (_, Port { device: Some(device), .. })) = (&given.vrid, found[0])
                && let Some(line) = vrids.insert((device.clone(), vrid.value), vrid.at.line)
            {
                let message = format!("`vrid` {} is given twice on one port", vrid.value);
                report.add(vrid.at, message, format!("it is already on line {line}; choose another one"));
            }
            let Some(address) = &given.address else { continue };
            // One interface may be two: the halves of one arm.
            let halves = [0, 1].map(|member| self.half(member, address.at).unwrap_or(found[member].0));
            if let Some(line) = lines.insert(halves[0], name.at.line) {
                let message = format!("a second virtual address of {}", show(&name.value));
                report.add(name.at, message, format!("line {line} has one already; keep one of them"));
                continue;
            }
            if let Some(line) = addresses.insert(address.value.addr, address.at.line) {
                let message = format!("the virtual address {} is given twice", address.value.addr);
                report.add(address.at, message, format!("it is already on line {line}; keep one of them"));
                continue;
            }
            if !self.is_free(address, report) {
                continue;
            }
            for member in [0, 1] {
                self.fits(member, halves[member], address, report);
            }
            let mac = given.vrid.as_ref().map(|vrid| Mac([0, 0, 0x5e, 0, 1, vrid.value]));
            out.push(halves.map(|interface| VirtualAddress { interface, address: address.value, mac }));
        }
        out
    }

    /// The interface that the virtual address at this place of the text has come to.
    fn half(&self, member: usize, at: Position) -> Option<usize> {
        self.sides[member].interfaces.iter().position(|port| port.virtuals.contains(&at))
    }

    /// Judges that no member has the address for its own.
    fn is_free(&self, address: &At<Ipv4Net>, report: &mut Report) -> bool {
        let has = |port: &&Port| port.own.iter().any(|own| own.value.addr == address.value.addr);
        for (side, name) in self.sides.iter().zip(self.names) {
            let Some(port) = side.interfaces.iter().find(has) else { continue };
            let message = format!(
                "the virtual address {} is the own one of member {} on {}",
                address.value.addr,
                show(name),
                show(&port.name)
            );
            let hint = "choose another one for it: it moves, and the member keeps its own";
            report.add(address.at, message, hint);
            return false;
        }
        true
    }

    /// Judges that the address is in a network of the interface, if that has one.
    fn fits(&self, member: usize, interface: usize, address: &At<Ipv4Net>, report: &mut Report) {
        let Some(port) = self.sides[member].interfaces.get(interface) else { return };
        let Some(first) = port.own.first() else { return };
        if !port.sure || port.own.iter().any(|own| whole(own.value) == whole(address.value)) {
            return;
        }
        let near = port.own.iter().find(|own| own.value.contains(address.value.addr));
        let message = format!(
            "the virtual address {} is in no network of {} of member {}",
            address.value,
            show(&port.name),
            show(self.names[member])
        );
        let hint = match near {
            Some(own) => format!("write `{}/{}`", address.value.addr, own.value.len),
            None => format!("choose it from {}", whole(first.value)),
        };
        report.add(address.at, message, hint);
    }

    fn status(
        &self,
        given: &RawStatus,
        raw: &RawCluster<'_>,
        report: &mut Report,
    ) -> Option<[StatusEndpoint; 2]> {
        let name = &given.interface;
        let found = self.fixed(name, "`status` on", report)?;
        if given.port.value == raw.port && raw.paths.iter().any(|path| path.value == name.value) {
            let message = format!("port {} is that of the heartbeat on {}", raw.port, show(&name.value));
            report.add(given.port.at, message, "choose another one for `status`");
        }
        let of = |member: usize| -> Option<(StatusEndpoint, Ipv4Addr)> {
            let (interface, port) = found[member];
            let own = port.own.first()?.value;
            let from = given.from.unwrap_or(whole(own));
            Some((StatusEndpoint { interface, port: given.port.value, from }, own.addr))
        };
        if let (Some((a, _)), Some((b, _))) = (of(0), of(1)) {
            return Some([a, b]);
        }
        for (member, (_, port)) in found.iter().enumerate() {
            if port.own.is_empty() && port.sure {
                let name = show(self.names[member]);
                let message = format!("member {name} has no address of its own on {}", show(&port.name));
                report.add(given.interface.at, message, "`status` answers at one: give it one in `members`");
            }
        }
        None
    }
}
