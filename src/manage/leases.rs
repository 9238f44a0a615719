//! The addresses of WANs that come by DHCP: each such WAN's client (`wan::dhcp`), its frames, and what a lease changes.
//!
//! A lease is taken up as if its address, gateway, next hops and MTU stood in the profile, in one transaction: the view has them, and the
//! WANs' machines hear of it (`Input::Lease`, `Input::Address`). Without one the WAN has no address, is down ("no lease"), and nobody is
//! asked by it. What the clients hear comes by the rings for whole frames; a renewal goes to its server by the WAN's own next hop,
//! and waits for that to be known.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::probes::packets::{self, What};
use super::probes::{Output, Way};
use super::probing::way;
use super::views::{self, PortInfo};
use super::{Manager, hooks};
use crate::base::{Hop, IfaceId, Ipv4Net, Mac, Nanos, WanId};
use crate::path::answers::Probing;
use crate::path::{Iface, View};
use crate::profile::{self, Profile};
use crate::wan::Input;
use crate::wan::dhcp::{
    CLIENT_PORT, Client, Config, Lease, LeftOut, Message, Out, ROUTES, SERVER_PORT, Said, Send,
};

/// A renewal waits so long for its next hop.
const PATIENCE: Nanos = Nanos::from_s(5);

#[derive(Debug)]
struct Holder {
    interface: usize,
    client: Client,
    /// The lease that the view has
    shown: Option<Lease>,
    /// Waits for its next hop, and how long at most
    waits: Option<(Send, Nanos)>,
}

/// The clients, by `WanId`.
#[derive(Debug, Default)]
pub(super) struct Leases {
    wans: Vec<Option<Holder>>,
}

impl Leases {
    /// Those that a profile asks for, without a link yet.
    pub(super) fn of(profile: &Profile, ports: &[PortInfo], now: Nanos) -> Leases {
        let holder = |wan: &profile::Wan| {
            let mac = ports.get(wan.interface)?.mac;
            let config = config(profile, wan.interface, mac)?;
            let client = Client::new(config, mac.bits() ^ now.0);
            Some(Holder { interface: wan.interface, client, shown: None, waits: None })
        };
        Leases { wans: profile.wans.iter().map(holder).collect() }
    }

    fn any(&self) -> bool {
        self.wans.iter().any(Option::is_some)
    }

    fn get(&self, wan: WanId) -> Option<&Holder> {
        self.wans.get(wan.index())?.as_ref()
    }

    fn get_mut(&mut self, wan: WanId) -> Option<&mut Holder> {
        self.wans.get_mut(wan.index())?.as_mut()
    }

    /// The numbers of exchanges are drawn otherwise from now on. `seed` is secret.
    pub(super) fn stir(&mut self, seed: u64) {
        for (holder, at) in self.wans.iter_mut().zip(1u64..) {
            let mixed = seed.rotate_left(17).wrapping_mul(at);
            holder.iter_mut().for_each(|holder| holder.client.stir(mixed));
        }
    }

    /// A profile, with the leases as if they stood there.
    pub(super) fn applied(&self, profile: &Profile) -> Profile {
        let mut out = profile.clone();
        for holder in self.wans.iter().flatten() {
            let (Some(lease), Some(interface)) = (&holder.shown, out.interfaces.get_mut(holder.interface))
            else {
                continue;
            };
            interface.addresses = vec![lease.address];
            interface.gateway = Some(lease.gateway);
            interface.hops.clone_from(&lease.hops);
            interface.mtu = interface.mtu.into_iter().chain(lease.mtu).min();
        }
        out
    }

    /// What the workers let in for the clients.
    pub(super) fn mark(&self, probing: &mut Probing) {
        if self.any() {
            probing.wans.resize_with(probing.wans.len().max(self.wans.len()), Default::default);
        }
        for (holder, probed) in self.wans.iter().zip(&mut probing.wans) {
            probed.dhcp = holder.is_some();
            probed.claim = holder.as_ref().and_then(|holder| holder.client.claim());
        }
    }

    /// A WAN's lease, as JSON; `null` if its address does not come by DHCP.
    pub(super) fn json(&self, wan: WanId, now: Nanos) -> Value {
        let Some(Holder { client, shown, .. }) = self.get(wan) else { return Value::Null };
        let left = |at: Nanos| (at != Nanos::NEVER).then(|| at.since(now).as_s());
        let times = client.times();
        let lease = shown.as_ref();
        json!({
            "state": client.phase().name(),
            "address": lease.map(|lease| lease.address.to_string()),
            "gateway": lease.map(|lease| lease.gateway),
            "routes": lease.map(|lease| lease.hops.iter().map(route).collect::<Vec<_>>()),
            "server": lease.map(|lease| lease.server),
            "lease_s": times.and_then(|(_, expires)| left(expires)),
            "renew_s": times.and_then(|(renew, _)| left(renew)),
            "dns": lease.map(|lease| &lease.dns),
            "mtu": lease.and_then(|lease| lease.mtu),
            "trouble": client.said().map(in_words),
        })
    }
}

/// The client of an interface, if it has one.
fn config(profile: &Profile, interface: usize, mac: Mac) -> Option<Config> {
    let dhcp = profile.interfaces.get(interface)?.dhcp.as_ref()?;
    let inside = |at: &usize| profile.wans.iter().all(|wan| wan.interface != *at);
    let inside = (0..profile.interfaces.len()).filter(inside).filter_map(|at| profile.interfaces.get(at));
    let taken: Vec<Ipv4Net> = inside.flat_map(|interface| interface.addresses.iter().copied()).collect();
    let routes = profile.routes.iter().map(|route| route.to);
    Some(Config {
        mac,
        hostname: dhcp.hostname.clone(),
        reject_from: dhcp.reject_from.clone(),
        taken: taken.into_iter().chain(routes).collect(),
    })
}

fn in_words(said: Said) -> String {
    match said {
        Said::Silent => "no DHCP server answers".into(),
        Said::Refused(Some(server), why) => format!("the offer of {server} is refused: {}", why.why()),
        Said::Refused(None, why) => format!("an offer is refused: {}", why.why()),
        Said::Nak(server) => format!("{server} refuses the address"),
        Said::Conflict(address) => format!("{address} is in use by another station"),
        Said::Expired => "the lease has expired".into(),
        Said::Routes(LeftOut { astray, over: 0 }) => {
            format!("routes of the lease that are not followed: {astray} by routers that are not on the link")
        }
        Said::Routes(LeftOut { astray: 0, over }) => {
            format!("routes of the lease that are not followed: {over} over {ROUTES}")
        }
        Said::Routes(LeftOut { astray, over }) => format!(
            "routes of the lease that are not followed: {astray} by routers that are not on the link, {over} over {ROUTES}"
        ),
    }
}

fn route(hop: &Hop) -> Value {
    json!({ "to": hop.to.to_string(), "via": hop.via })
}

impl Manager {
    /// The link of a WAN has come or gone.
    pub(super) fn lease_link(&mut self, now: Nanos, wan: WanId, up: bool) {
        self.client(now, wan, |client, out| client.link(now, up, &mut |o| out.push(o)));
    }

    /// Whether a frame that came by a WAN is for its client, which hears it.
    pub(super) fn lease_frame(&mut self, now: Nanos, wan: WanId, frame: &[u8]) -> bool {
        if self.leases.get(wan).is_none() {
            return false;
        }
        let Some(heard) = packets::read(frame) else { return false };
        let What::Udp { src: SERVER_PORT, dst: CLIENT_PORT, data } = heard.what else { return false };
        if let Some(message) = Message::read(data) {
            self.client(now, wan, |client, out| client.heard(now, heard.src, &message, &mut |o| out.push(o)));
        }
        true
    }

    /// Whether another station's claim on an address is a client's business.
    pub(super) fn lease_conflict(&mut self, now: Nanos, iface: IfaceId, ip: Ipv4Addr) -> bool {
        let Some(wan) = self.view.ifaces.get(iface.index()).and_then(|port| port.wan) else { return false };
        let its = self.leases.get(wan).is_some_and(|holder| holder.client.claim() == Some(ip));
        if its {
            self.client(now, wan, |client, out| client.conflict(now, ip, &mut |o| out.push(o)));
        }
        its
    }

    /// Lets the clients' time pass.
    pub(super) fn lease_tick(&mut self, now: Nanos) {
        for at in 0..self.leases.wans.len() {
            let wan = WanId(at as u8);
            let Some(holder) = self.leases.get_mut(wan) else { continue };
            if now >= holder.client.due() {
                self.client(now, wan, |client, out| client.tick(now, &mut |o| out.push(o)));
            }
            let waits = self.leases.get_mut(wan).and_then(|holder| holder.waits.take());
            if let Some((send, until)) = waits.filter(|(_, until)| now < *until) {
                self.lease_send(now, wan, send, until);
            }
        }
    }

    /// What another profile says of the clients.
    pub(super) fn reconfigure_leases(&mut self, now: Nanos) {
        for at in 0..self.leases.wans.len() {
            let wan = WanId(at as u8);
            let Some(holder) = self.leases.get(wan) else { continue };
            let mac = self.ports_info.get(holder.interface).map(|port| port.mac).unwrap_or_default();
            if let Some(config) = config(&self.profile, holder.interface, mac) {
                self.client(now, wan, |client, out| client.reconfigure(now, config, &mut |o| out.push(o)));
            }
        }
    }

    /// Lets a client take something in, and does what follows.
    fn client(&mut self, now: Nanos, wan: WanId, what: impl FnOnce(&mut Client, &mut Vec<Out>)) {
        let Some(holder) = self.leases.get_mut(wan) else { return };
        let mut outs = Vec::new();
        let claim = holder.client.claim();
        what(&mut holder.client, &mut outs);
        if holder.client.claim() != claim {
            // Before it is asked: the answer must find somebody who waits for it.
            self.probing_changed();
        }
        for out in outs {
            match out {
                Out::Send(send) => self.lease_send(now, wan, send, now + PATIENCE),
                Out::Claim(ip) => self.lease_claim(now, wan, ip),
                Out::Lease(lease) => self.lease_shown(now, wan, Some(lease), "lease"),
                Out::Lost(said) => self.lease_shown(now, wan, None, &in_words(said)),
                Out::Said(said) => {
                    let fields = json!({ "wan": self.wan_name(wan), "reason": in_words(said) });
                    self.event(now, "dhcp", fields);
                }
            }
        }
    }

    /// Asks who has an address, as RFC 5227 2.1.1 wants it: from 0.0.0.0.
    fn lease_claim(&mut self, now: Nanos, wan: WanId, ip: Ipv4Addr) {
        let Some((iface, port)) = port(&self.view, wan) else { return };
        let request = crate::wire::arp::Arp::request(port.station, Ipv4Addr::UNSPECIFIED, ip, None);
        self.send(iface, request, None);
        self.noted(now, iface);
    }

    fn lease_send(&mut self, now: Nanos, wan: WanId, send: Send, until: Nanos) {
        let Some((_, port)) = port(&self.view, wan) else { return };
        let (to, mac, confirm) = match send.to {
            None => (Ipv4Addr::BROADCAST, Mac::BROADCAST, None),
            Some(server) => {
                let Some(by) = way(&self.view, &self.neighbors, wan, server) else { return };
                let Some(mac) = by.next_mac else {
                    let first = now + PATIENCE == until;
                    if let Some(holder) = self.leases.get_mut(wan) {
                        holder.waits = Some((send, until));
                    }
                    if first {
                        self.output(now, Output::Resolve(wan, by.next_hop));
                    }
                    return;
                };
                (server, mac, by.confirm.then_some(by.next_hop))
            }
        };
        let from = Way {
            src: send.from,
            mac: port.station,
            mtu: port.mtu,
            next_hop: to,
            next_mac: None,
            confirm: false,
        };
        let frame = packets::udp(&from, mac, to, (CLIENT_PORT, SERVER_PORT), &send.bytes);
        self.output(now, Output::Send(wan, frame, None));
        if let Some(next_hop) = confirm {
            self.output(now, Output::Resolve(wan, next_hop));
        }
    }

    /// From now on this is a WAN's lease: the address is another one, or none, in one transaction.
    fn lease_shown(&mut self, now: Nanos, wan: WanId, lease: Option<Lease>, cause: &str) {
        let before = self.applied(&self.profile);
        let Some(holder) = self.leases.get_mut(wan) else { return };
        let had = std::mem::replace(&mut holder.shown, lease.clone());
        // It was from the address of before.
        holder.waits = None;
        if had == lease {
            return;
        }
        let profile = self.applied(&self.profile);
        let old = self.view.clone();
        self.renew_view(&profile);
        let of = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.address.addr);
        let (from, to) = (of(&had), of(&lease));
        if from != to {
            let fields =
                json!({ "wan": self.wan_name(wan), "from": from, "to": to, "address": to, "cause": cause });
            self.event(now, hooks::ADDRESS, fields);
        }
        match (from, to) {
            (_, None) => drop(self.input(now, Input::Lease { wan, held: false })),
            (None, Some(_)) => drop(self.input(now, Input::Lease { wan, held: true })),
            (Some(from), Some(to)) if from != to => drop(self.input(now, Input::Address { wan })),
            _ => {}
        }
        // Unless that has just been part of a transaction.
        if self.view.generation == old.generation {
            self.publish();
        }
        self.announce_changed(now, &old);
        let probes = views::probes(&profile);
        if probes != views::probes(&before) {
            self.change_probes(probes);
        }
    }
}

fn port(view: &View, wan: WanId) -> Option<(IfaceId, &Iface)> {
    let iface = view.wans.get(wan.index())?.iface;
    Some((iface, view.ifaces.get(iface.index())?))
}
