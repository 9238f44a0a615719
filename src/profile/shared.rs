//! What the members of a pair may not both have on one wire: an address, a MAC, addresses that are translated to.
//!
//! They read one file, so all that stands in its shared part is both's. Two interfaces of a name are surely on one wire if they are inside, if a
//! virtual address moves between them, or if the members hear each other there. Of others nobody can tell: two ISPs may give out the same private
//! network. What a WAN with a virtual address translates to is answered for by the active member alone (`manage::roles`).

use std::net::Ipv4Addr;

use crate::base::Ipv4Net;

use super::check::Role;
use super::mistake::{Report, show};
use super::pair::{Port, Side};
use super::pools::Range;
use super::raw::At;

/// Judges the interfaces of both members, name by name; `paths` has those over which they hear each other.
pub(super) fn judge([first, second]: [&Side; 2], paths: &[At<String>], report: &mut Report) {
    for there in &second.interfaces {
        let Some(here) = first.interfaces.iter().find(|port| port.name == there.name) else { continue };
        let path = paths.iter().any(|path| path.value == there.name);
        let inside = [here, there].iter().all(|port| port.role == Role::Inside);
        if path || inside || !there.virtuals.is_empty() {
            addresses(here, there, report);
            mac(here, there, report);
        }
        if path && there.virtuals.is_empty() {
            outside(here, there, report);
        }
    }
}

fn addresses(here: &Port, there: &Port, report: &mut Report) {
    let both = |own: &&At<Ipv4Net>| here.own.iter().any(|other| other.value.addr == own.value.addr);
    let Some(own) = there.own.iter().find(both) else { return };
    let message = format!("both members have the address {} on {}", own.value.addr, show(&there.name));
    let hint = "give each its own in `members`; one that moves between them goes into `virtual`";
    report.add(own.at, message, hint);
}

fn mac(here: &Port, there: &Port, report: &mut Report) {
    let (Some(first), Some(second)) = (&here.mac, &there.mac) else { return };
    if first.value == second.value {
        let message = format!("both members have the mac {} on {}", second.value, show(&there.name));
        let hint =
            "give each its own in `members`, or leave it out; a virtual address has that of its `vrid`";
        report.add(second.at, message, hint);
    }
}

/// Both would answer for these.
fn outside(here: &Port, there: &Port, report: &mut Report) {
    let (mut a, mut b) = (sorted(here), sorted(there));
    while let (Some(first), Some(second)) = (a.last(), b.last()) {
        let ((low, high), (from, to)) = (first.value, second.value);
        if low <= to && from <= high {
            let message = format!("both members would answer for {} on {}", low.max(from), show(&there.name));
            let hint =
                "give the interface a `virtual` address: then the active one answers; or each other ones";
            report.add(second.at, message, hint);
            return;
        }
        // That which is higher than all of the other's.
        if low > to { a.truncate(a.len() - 1) } else { b.truncate(b.len() - 1) }
    }
}

/// What an interface answers for, besides its own addresses, the highest last.
fn sorted(port: &Port) -> Vec<At<Range>> {
    let near = |ip: Ipv4Addr| port.own.iter().any(|own| own.value.contains(ip));
    let near = |range: &&At<Range>| near(range.value.0) || near(range.value.1);
    let mut out: Vec<At<Range>> = port.outside.iter().filter(near).cloned().collect();
    out.sort_by_key(|range| range.value);
    out
}
