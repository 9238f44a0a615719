//! Interfaces that share a port: VLANs and addresses of their own, and what may not be the same on one port.
//!
//! A port has at most one interface without a tag, and one for each VLAN. Two ports never have one MAC address: a switch
//! between them would not know where it is. Both halves of a one-armed interface (`arms`) are one here.

use std::collections::HashMap;

use crate::base::Mac;

use super::mistake::{Report, show};
use super::raw::{At, RawInterface};
use super::tree::Node;
use super::types::PortSpec;
use super::value::{integer32, text};

/// The VLAN of an interface (IEEE 802.1Q).
pub(super) fn vlan(node: &Node, report: &mut Report) -> Option<At<u16>> {
    let given = integer32(node, "`vlan`", 1..=4094, "vlan: 30", report)?;
    u16::try_from(given).ok().map(|value| At { value, at: node.at })
}

/// The address that an interface sends from.
pub(super) fn mac(node: &Node, report: &mut Report) -> Option<At<Mac>> {
    let example = "mac: \"02:00:5e:10:00:01\"";
    let given = text(node, "`mac`", "a MAC address", example, report)?;
    let Ok(value) = given.parse::<Mac>() else {
        let hint = format!("six pairs of hexadecimal digits, quoted, as `{example}`");
        report.add(node.at, format!("`mac` is not a MAC address: {}", show(given)), hint);
        return None;
    };
    if !value.is_unicast() {
        let message = format!("`mac` {value} is no address of one station");
        report.add(node.at, message, "the last bit of its first byte is 0, and not all of it");
        return None;
    }
    Some(At { value, at: node.at })
}

/// What a port is, however it is written.
pub(super) fn device(port: &PortSpec) -> String {
    match port {
        PortSpec::Pci(address) => address.to_ascii_lowercase(),
        linux @ PortSpec::Linux(_) => linux.to_string(),
        PortSpec::Vdev(device) => device.split(',').next().unwrap_or(device).to_owned(),
    }
}

/// Judges who shares what.
pub(super) fn check(list: &[RawInterface], report: &mut Report) {
    let mut ports: HashMap<String, &RawInterface> = HashMap::new();
    let mut tags: HashMap<(String, Option<u16>), &RawInterface> = HashMap::new();
    let mut macs: HashMap<Mac, (String, &RawInterface)> = HashMap::new();
    for interface in list.iter().filter(|interface| interface.arm.is_none()) {
        let Some(port) = &interface.port else { continue };
        let device = device(&port.value);
        if let Some(mac) = &interface.mac {
            match macs.get(&mac.value) {
                Some((other, first)) if *other != device => {
                    let message = format!("the mac {} is already that of {}", mac.value, show(&first.name));
                    let hint = format!("see line {}; two ports never have one address", first.at.line);
                    report.add(mac.at, message, hint);
                }
                Some(_) => {}
                None => drop(macs.insert(mac.value, (device.clone(), interface))),
            }
        }
        let first = *ports.entry(device.clone()).or_insert(interface);
        if first.port.as_ref().is_some_and(|other| other.value != port.value) {
            let message = format!("the port {} has other arguments for {}", show(&device), show(&first.name));
            let hint = format!("see line {}; write it the same way in both places", first.at.line);
            report.add(port.at, message, hint);
            continue;
        }
        // A VLAN that could not be read has been told.
        if interface.vlan_given && interface.vlan.is_none() {
            continue;
        }
        let vlan = interface.vlan.as_ref().map(|vlan| vlan.value);
        let Some(first) = tags.insert((device.clone(), vlan), interface) else { continue };
        match &interface.vlan {
            None => {
                let message = format!("the port {} is already that of {}", show(&device), show(&first.name));
                let hint =
                    format!("see line {}; give each interface a port of its own, or a `vlan`", first.at.line);
                report.add(port.at, message, hint);
            }
            Some(vlan) => {
                let message = format!(
                    "VLAN {} of the port {} is already that of {}",
                    vlan.value,
                    show(&device),
                    show(&first.name)
                );
                report.add(vlan.at, message, format!("see line {}; choose another VLAN", first.at.line));
            }
        }
    }
}
