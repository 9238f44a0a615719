//! Which interface is on which port, as the profile has it: by VLAN, and on one arm by `nat.inside`.

use crate::engine::{Layout, Member};
use crate::profile::{PortSpec, Profile};

/// The layout of a profile's interfaces. Ports are numbered in the order of their first interfaces.
pub fn layout(profile: &Profile) -> Layout {
    let mut ports: Vec<&PortSpec> = Vec::new();
    let members = profile.interfaces.iter().map(|interface| {
        let port = ports.iter().position(|port| **port == interface.port).unwrap_or_else(|| {
            ports.push(&interface.port);
            ports.len() - 1
        });
        let sources = interface.arm.map(|_| profile.nat.inside.clone().unwrap_or_default());
        Member { port: port as u8, vlan: interface.vlan, sources }
    });
    Layout::new(&members.collect::<Vec<_>>())
}
