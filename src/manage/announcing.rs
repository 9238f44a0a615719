//! Where the router's addresses are: a link is told when it comes, when they change, and when a member of a pair takes over (RFC 5227 2.3).
//!
//! On an inside interface all are told at once. On a WAN its own address and the virtual one are, at once and whenever the pair calls
//! again; what it has besides (pools, one-to-one, forwards) does so too when a member takes over without a virtual MAC. Else it follows in the order of the view, as fast as the WAN's `Pace` lets it, the
//! first `ANNOUNCED` of them: the others are found when they are asked for. What is still to be told is a number, not a list: a view that
//! changes meanwhile is told as it then is.

use std::net::Ipv4Addr;

use super::Manager;
use super::pace::{Pace, Why};
use crate::base::{IfaceId, Mac, Nanos};
use crate::path::View;
use crate::wan;
use crate::wire::arp::Arp;

/// Addresses besides its own that an interface announces, at most.
const ANNOUNCED: usize = 64;

/// The pace of each interface, by `IfaceId`.
#[derive(Debug, Default)]
pub(super) struct Paces(Vec<Pace>);

impl Paces {
    pub(super) fn new(ifaces: usize) -> Paces {
        Paces(vec![Pace::default(); ifaces])
    }

    pub(super) fn of(&mut self, iface: IfaceId) -> Option<&mut Pace> {
        self.0.get_mut(iface.index())
    }

    /// Whether a message may leave by an interface now; if so, it does. By one inside it always may.
    pub(super) fn leave(
        &mut self,
        now: Nanos,
        iface: IfaceId,
        why: Why,
        view: &View,
        config: &wan::Config,
    ) -> bool {
        let wan = view.ifaces.get(iface.index()).and_then(|port| port.wan);
        let health = wan.and_then(|wan| config.wans.get(wan.index()));
        match (health, self.of(iface)) {
            (Some(health), Some(pace)) => pace.take(now, why, health.arp_every),
            _ => true,
        }
    }
}

/// What a WAN answers for besides its own addresses.
fn others(view: &View, iface: IfaceId) -> impl Iterator<Item = Ipv4Addr> {
    let wan = view.ifaces.get(iface.index()).and_then(|port| port.wan);
    let pool = wan.and_then(|wan| view.uplinks.wans.get(wan.index())).map(|uplink| &uplink.addresses);
    let pool = pool.into_iter().flat_map(|pool| (0..pool.len()).map_while(|at| pool.get(at)));
    let all = wan.into_iter().flat_map(|wan| view.rules.statics.outside(wan)).chain(pool);
    all.filter(move |ip| !view.main(iface, *ip) && view.answers(iface, *ip)).take(ANNOUNCED)
}

impl Manager {
    /// Tells a link where the router's addresses are: its own at once, the others from the first one on.
    pub(super) fn announce_addresses(&mut self, now: Nanos, iface: IfaceId) {
        let view = self.view.clone();
        let Some(port) = view.ifaces.get(iface.index()) else { return };
        let mut own: Vec<Ipv4Addr> = port.addresses.iter().map(|address| address.addr).collect();
        own.sort_by_key(|ip| Some(*ip) != port.floating);
        for address in own {
            self.call(now, iface, port.mac_of(address), address);
        }
        if let Some(pace) = self.paces.of(iface) {
            pace.announced = others(&view, iface).next().map(|_| 0);
        }
    }

    /// The same once more, for whoever has missed it: what is under way goes on where it is.
    pub(super) fn announce_again(&mut self, now: Nanos, iface: IfaceId) {
        let under_way = self.paces.of(iface).and_then(|pace| pace.announced);
        self.announce_addresses(now, iface);
        if let Some(pace) = self.paces.of(iface) {
            pace.announced = under_way.or(pace.announced);
        }
    }

    /// All others at once: where a virtual address has this station's own MAC, they are found elsewhere now.
    pub(super) fn announce_moved(&mut self, now: Nanos) {
        let view = self.view.clone();
        for (at, port) in view.ifaces.iter().enumerate() {
            let iface = IfaceId(at as u8);
            if port.floating.is_none_or(|ip| port.mac_of(ip) != port.station) {
                continue;
            }
            for address in others(&view, iface) {
                self.call(now, iface, port.mac_of(address), address);
            }
            if let Some(pace) = self.paces.of(iface) {
                pace.announced = None;
            }
        }
    }

    /// Tells those links whose addresses are others than in `old`.
    pub(super) fn announce_changed(&mut self, now: Nanos, old: &View) {
        let new = self.view.clone();
        for (at, (new, old)) in new.ifaces.iter().zip(&old.ifaces).enumerate() {
            if new.addresses != old.addresses {
                self.announce_addresses(now, IfaceId(at as u8));
            }
        }
    }

    /// Tells a link where an address is, at once.
    fn call(&mut self, now: Nanos, iface: IfaceId, mac: Mac, address: Ipv4Addr) {
        self.send(iface, Arp::announcement(mac, address), None);
        self.noted(now, iface);
    }

    /// The next of the other addresses, on each link that has not been told all.
    pub(super) fn announce_next(&mut self, now: Nanos) {
        let view = self.view.clone();
        for (at, port) in view.ifaces.iter().enumerate() {
            let iface = IfaceId(at as u8);
            let Some(told) = self.paces.of(iface).and_then(|pace| pace.announced) else { continue };
            let next = others(&view, iface).nth(told);
            if let Some(address) = next {
                if !self.paces.leave(now, iface, Why::Announcement, &view, &self.config) {
                    continue;
                }
                self.send(iface, Arp::announcement(port.mac_of(address), address), None);
            }
            if let Some(pace) = self.paces.of(iface) {
                pace.announced = next.map(|_| told + 1);
            }
        }
    }

    /// A message has left that waits for nobody.
    pub(super) fn noted(&mut self, now: Nanos, iface: IfaceId) {
        if let Some(pace) = self.paces.of(iface) {
            pace.note(now, Why::Own);
        }
    }
}
