//! The host's devices: which there are, how they are set up, and what the kernel's routes by them mean to the router.
//!
//! Followed are routes to networks behind an inside interface, whose next hop is on its link; of several to the same network that
//! with the lowest metric. The default route is not: where the internet is the router knows by itself.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::iface;
use crate::base::{IfaceId, Ipv4Net};
use crate::dpdk::{KernelRoute, Tap, TapConfig};
use crate::engine::frames::PACKET_LEN;
use crate::engine::host::HostReport;
use crate::path::{Iface, View};
use crate::table::routes::Route;

/// Routes that are followed, at most: every view has them all.
const ROUTES: usize = 1024;
/// The longest name that the kernel gives a device.
const LONGEST_NAME: usize = 15;

/// The devices, by interface.
#[derive(Debug)]
pub(super) struct Devices {
    taps: Vec<Option<Tap>>,
    /// The source of the host's way out, which goes with it
    out: Option<Ipv4Addr>,
}

/// How the device of an interface is set up.
fn config(port: &Iface) -> TapConfig {
    TapConfig {
        mac: port.station,
        // What a slot of the rings holds, however long the interface's own are.
        mtu: port.mtu.min(PACKET_LEN),
        addresses: port.addresses.clone(),
        arp: port.wan.is_none(),
    }
}

/// Why an interface has no device, and whether it is for its names.
fn refused(name: &str, other: &str, e: &io::Error) -> (String, bool) {
    match e.kind() {
        io::ErrorKind::AddrInUse => (format!("the names {name} and {other} are taken"), true),
        // Its own was tried first.
        io::ErrorKind::InvalidInput if name.len() <= LONGEST_NAME => {
            (format!("{name} is taken, and {other} is {e}"), true)
        }
        io::ErrorKind::InvalidInput => (format!("{name} is {e}"), true),
        _ => (format!("no host path: /dev/net/tun: {e}"), false),
    }
}

/// Tells what is missing. With no room for it nobody listens.
pub(super) fn trouble(tell: &Sender<HostReport>, interface: &str, text: &str) {
    let _ = tell.try_send(HostReport::Device { interface: interface.into(), device: Err(text.into()) });
}

impl Devices {
    /// Makes a device for each interface, as far as that goes.
    pub(super) fn open(view: &View, tell: &Sender<HostReport>) -> Devices {
        let mut taps = Vec::new();
        for port in &view.ifaces {
            let name = port.name.as_str();
            let other = format!("t-{name}");
            let opened = match Tap::open(name) {
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => Tap::open(&other),
                opened => opened,
            };
            taps.push(match opened {
                Ok(tap) => Some(tap),
                Err(e) => {
                    let (text, of_name) = refused(name, &other, &e);
                    trouble(tell, name, &text);
                    if !of_name {
                        // What one device is refused, all are.
                        return Devices { taps: Vec::new(), out: None };
                    }
                    None
                }
            });
        }
        Devices { taps, out: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.taps.iter().all(Option::is_none)
    }

    /// Sets the devices up as the interfaces are now, the first inside one as the host's way out.
    pub(super) fn configure(&mut self, view: &Arc<View>, tell: &Sender<HostReport>) {
        let mut first = true;
        for (port, tap) in view.ifaces.iter().zip(&mut self.taps) {
            let Some(tap) = tap else { continue };
            let inside = port.wan.is_none();
            let mut done = tap.configure(&config(port));
            let stands = self.out.is_some_and(|out| port.addresses.iter().any(|a| a.addr == out));
            let leads = inside && std::mem::take(&mut first);
            if let (true, Ok(()), Some(address)) = (leads, &done, port.addresses.first()) {
                done = if stands {
                    tap.show_beyond(port.station)
                } else {
                    self.out = Some(address.addr);
                    tap.lead_out(port.station, address.addr)
                };
            }
            let device = done.map(|()| tap.name().to_owned()).map_err(|e| e.to_string());
            // As above.
            let _ = tell.try_send(HostReport::Device { interface: port.name.clone(), device });
        }
    }

    pub(super) fn get(&self, iface: IfaceId) -> Option<&Tap> {
        self.taps.get(iface.index())?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IfaceId, &Tap)> {
        self.taps.iter().enumerate().filter_map(|(at, tap)| Some((iface(at), tap.as_ref()?)))
    }

    /// A device was taken away, by whoever may.
    pub(super) fn gone(&mut self, view: &View, gone: IfaceId, tell: &Sender<HostReport>) {
        if let (Some(tap), Some(port)) = (self.taps.get_mut(gone.index()), view.ifaces.get(gone.index())) {
            *tap = None;
            trouble(tell, &port.name, "the device was removed; the next start makes it again");
        }
    }

    /// The numbers of the devices inside.
    pub(super) fn inside(&self, view: &View) -> Vec<u32> {
        let inside = |at: IfaceId| view.ifaces.get(at.index()).is_some_and(|port| port.wan.is_none());
        self.iter().filter(|(at, _)| inside(*at)).map(|(_, tap)| tap.ifindex()).collect()
    }

    /// What of the kernel's routes, which come sorted, the router follows.
    pub(super) fn routes(&self, view: &View, found: Vec<KernelRoute>) -> HostReport {
        let mut nets = BTreeSet::new();
        let mut routes: Vec<Route> = found
            .into_iter()
            .filter_map(|route| {
                let (iface, _) = self.iter().find(|(_, tap)| tap.ifindex() == route.ifindex)?;
                let net = Ipv4Net::new(route.net.1, route.net.0).filter(|net| net.len > 0)?;
                let near = route.via.is_none_or(|via| view.on_link(iface, via) && view.own(via).is_none());
                (near && nets.insert(route.net)).then_some(Route { net, iface, via: route.via })
            })
            .collect();
        let more = routes.len().saturating_sub(ROUTES);
        routes.truncate(ROUTES);
        HostReport::Routes { routes, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Mac, WanId};

    #[test]
    fn both_names_are_told_where_neither_can_be_had() {
        let said = |name: &str, kind| {
            let e = io::Error::new(kind, "no name that a device can have");
            refused(name, &format!("t-{name}"), &e)
        };
        let (taken, invalid) = (io::ErrorKind::AddrInUse, io::ErrorKind::InvalidInput);
        assert_eq!(said("lan", taken), ("the names lan and t-lan are taken".into(), true));
        let text = "building-4-voip is taken, and t-building-4-voip is no name that a device can have";
        assert_eq!(said("building-4-voip", invalid), (text.into(), true));
        let text = "building-4-voice is no name that a device can have";
        assert_eq!(said("building-4-voice", invalid), (text.into(), true));
        assert!(!said("lan", io::ErrorKind::PermissionDenied).1);
    }

    #[test]
    fn a_device_sends_nothing_that_a_slot_has_no_room_for() {
        let mac = Mac([2, 0, 0, 0, 0, 7]);
        let port = |mtu| Iface {
            name: "lan".into(),
            mac,
            station: mac,
            former: mac,
            floating: None,
            mute: false,
            mtu,
            up: true,
            addresses: Vec::new(),
            wan: Some(WanId(0)),
            silent: Default::default(),
            arm: None,
        };
        let device = [576, 1492, 1500, 1501, 9216].map(|mtu| config(&port(mtu)).mtu);
        assert_eq!(device, [576, 1492, 1500, 1500, 1500]);
    }
}
