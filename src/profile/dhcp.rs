//! A WAN whose address comes by DHCP: the keys `addresses: dhcp` and `dhcp`, and what does not go with them.
//!
//! Address and gateway come with the lease, so that neither a gateway nor addresses besides the leased one can be given by hand, and
//! only a WAN asks for one.

use std::net::Ipv4Addr;

use super::check::Role;
use super::mistake::{Report, show};
use super::networks::no_host;
use super::raw::RawInterface;
use super::schema::{DHCP, Section};
use super::types::{Dhcp, Position};
use super::value::{address, text};
use super::vocabulary::one_or_more;

/// The most servers that are rejected.
const MAX_REJECTED: usize = 64;
/// The longest label of a name (RFC 1035 2.3.4).
const MAX_NAME: usize = 63;

/// What was given.
#[derive(Default)]
pub(super) struct RawDhcp {
    /// Where `addresses: dhcp` stands.
    pub(super) wanted: Option<Position>,
    /// Where the section stands.
    pub(super) section: Option<Position>,
    pub(super) value: Dhcp,
}

impl RawDhcp {
    pub(super) fn dhcp(self) -> Option<Dhcp> {
        self.wanted.map(|_| self.value)
    }
}

/// The key `dhcp` of an interface.
pub(super) fn read(interface: &Section<'_>, out: &mut RawDhcp, report: &mut Report) {
    out.section = interface.entry("dhcp").map(|entry| entry.at);
    let Some(section) = interface.sub("dhcp", &DHCP, report) else { return };
    if let Some(node) = section.get("hostname")
        && let Some(name) = text(node, "`hostname`", "a name", "hostname: edge-1", report)
    {
        let mut parts = name.split('.');
        let plain = |part: &str| {
            let fit = part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            fit && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
        };
        if name.len() <= MAX_NAME && parts.all(plain) {
            out.value.hostname = Some(name.to_owned());
        } else {
            let hint = format!("1 to {MAX_NAME} letters, digits and `-`, as `edge-1`");
            report.add(node.at, format!("{} is no name of a host", show(name)), hint);
        }
    }
    if let Some(node) = section.get("reject_from") {
        let example = "reject_from: [192.168.100.1]";
        let list = one_or_more(node, "`reject_from`", MAX_REJECTED, example, report);
        out.value.reject_from = list.iter().filter_map(|item| server(item, report)).collect();
    }
}

fn server(node: &super::tree::Node, report: &mut Report) -> Option<Ipv4Addr> {
    let ip = address(node, "a server in `reject_from`", report)?;
    let Some(kind) = no_host(ip) else { return Some(ip) };
    report.add(node.at, format!("{ip} is no server: it is {kind}"), "name the server's own address");
    None
}

/// Judges an interface of this role.
pub(super) fn check(interface: &RawInterface, role: Role, report: &mut Report) {
    let name = show(&interface.name);
    match (interface.dhcp.wanted, interface.dhcp.section) {
        (Some(at), _) if role == Role::Inside => {
            let hint = format!("list {name} in `wans`; or give its address by hand, as `[192.0.2.1/24]`");
            report.add(at, format!("{name} asks for its address by DHCP but is no WAN"), hint);
        }
        (Some(_), _) => {
            if let Some(gateway) = &interface.gateway {
                let hint = "remove it; the gateway comes with the lease";
                report.add(gateway.at, format!("{name} has a gateway, and its address by DHCP"), hint);
            }
        }
        (None, Some(at)) if interface.addresses_known => {
            let hint = "write `addresses: dhcp`, or remove it";
            report.add(at, format!("{name} has a section `dhcp`, and addresses by hand"), hint);
        }
        (None, _) => {}
    }
}
