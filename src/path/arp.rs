//! ARP on the path (RFC 826, RFC 5227): requests for the router are answered at once; what was heard is told to the
//! management thread, which keeps the neighbours. A station that did not ask for the router only changes an entry that
//! exists (RFC 826 reception).

use std::net::Ipv4Addr;

use super::{Notice, Router, View};
use crate::base::{IfaceId, Nanos};
use crate::packet::{DropReason, PacketBuf, Stat};
use crate::table::neighbors::State;
use crate::wire::arp::{self, Arp, Op};

impl<B: PacketBuf> Router<B> {
    pub(super) fn arp(&mut self, view: &View, ingress: IfaceId, mut buf: B, arp: &Arp, now: Nanos) {
        let iface = &view.ifaces[ingress.index()];
        let probe = arp.sender_ip.is_unspecified();
        if arp.sender_mac.is_unicast() && self.claimed(view, ingress, arp, now) {
            return;
        }
        let near = || view.on_link(ingress, arp.sender_ip) || is_reached(view, ingress, arp.sender_ip);
        if !arp.sender_mac.is_unicast() || !(probe || near()) {
            return self.counters.drop(DropReason::ArpMalformed);
        }
        // A WAN without an address has 0.0.0.0, which is nobody's.
        if !probe && view.claims(ingress, arp.sender_ip) {
            self.counters.add(Stat::Local, 1);
            if arp.sender_mac != iface.mac && arp.sender_mac != iface.station {
                self.counters.add(Stat::ArpConflicts, 1);
                if self.chatter.take(now) {
                    let (ip, mac) = (arp.sender_ip, arp.sender_mac);
                    self.notices.push(Notice::Conflict { iface: ingress, ip, mac });
                }
            }
            return;
        }
        // On one arm both halves hear what is said on the wire, and either is asked for the other's address.
        let half = view.half(ingress);
        let other = half.or(iface.arm);
        let for_us = view.answers(ingress, arp.target_ip)
            || other.is_some_and(|other| view.answers(other, arp.target_ip));
        // Without an address of its own it asks from none.
        let for_us = for_us
            || (arp.op == Op::Reply
                && iface.addresses.is_empty()
                && arp.target_ip.is_unspecified()
                && arp.target_mac == iface.station);
        if !probe {
            self.heard(view, ingress, arp, for_us, now);
        }
        if let Some(half) = half.filter(|_| !probe) {
            self.heard(view, half, arp, for_us, now);
        }
        if !for_us {
            return self.counters.drop(DropReason::ArpNotForUs);
        }
        if arp.op == Op::Reply && self.host.is_some() && iface.wan.is_none() {
            // The host has neighbours of its own, whom it asks by itself.
            self.give(ingress, true, buf, now);
            return;
        }
        self.counters.add(Stat::Local, 1);
        if arp.op == Op::Request && buf.resize(arp::FRAME_LEN) {
            let here = view.answers(ingress, arp.target_ip);
            let its =
                other.filter(|_| !here).and_then(|other| view.ifaces.get(other.index())).unwrap_or(iface);
            let mac = its.mac_of(arp.target_ip);
            let reply = Arp {
                op: Op::Reply,
                sender_mac: mac,
                sender_ip: arp.target_ip,
                target_mac: arp.sender_mac,
                target_ip: arp.sender_ip,
            };
            buf.bytes_mut().copy_from_slice(&reply.frame(mac, arp.sender_mac));
            self.counters.add(Stat::Originated, 1);
            self.out[ingress.index()].put(buf);
        }
    }

    /// Whether somebody has the address, or is about to take it, that a WAN was granted and does not use yet (RFC 5227 2.1.1).
    fn claimed(&mut self, view: &View, ingress: IfaceId, arp: &Arp, now: Nanos) -> bool {
        let Some(wan) = view.ifaces[ingress.index()].wan else { return false };
        let Some(claim) = view.probing.wans.get(wan.index()).and_then(|probed| probed.claim) else {
            return false;
        };
        let probes = arp.sender_ip.is_unspecified() && arp.target_ip == claim;
        if arp.sender_ip != claim && !probes {
            return false;
        }
        self.counters.add(Stat::Local, 1);
        if self.chatter.take(now) {
            self.notices.push(Notice::Conflict { iface: ingress, ip: claim, mac: arp.sender_mac });
        }
        true
    }

    /// Tells what is news: an answer of a gateway always (it is a probe's), anything else if it changes the table.
    fn heard(&mut self, view: &View, iface: IfaceId, arp: &Arp, for_us: bool, now: Nanos) {
        let (ip, mac, reply) = (arp.sender_ip, arp.sender_mac, arp.op == Op::Reply && for_us);
        let gateway = view.wans.iter().any(|w| w.iface == iface && w.gateway == ip);
        let news = match self.neighbors.find(iface, ip) {
            Some(known) => known.mac() != mac || (known.state() == State::Stale && for_us) || reply,
            None => for_us,
        };
        let pass = if gateway && reply {
            self.gateways[iface.index()].take(now)
        } else {
            news && self.chatter.take(now)
        };
        if pass {
            self.notices.push(Notice::Heard { iface, ip, mac, reply, at: now });
        }
    }
}

/// A WAN's gateway, and whom its lease has routes by or to, may be outside the network of its address.
fn is_reached(view: &View, iface: IfaceId, ip: Ipv4Addr) -> bool {
    view.wans.iter().any(|w| w.iface == iface && w.reaches(ip))
}
