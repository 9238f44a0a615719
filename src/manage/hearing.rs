//! What the workers have seen, and what is sent in answer: the neighbours' book kept, probes' times passed on, conflicts told.

use std::net::Ipv4Addr;

use serde_json::json;

use super::pace::Why;
use super::probing::GATEWAY;
use super::{Manager, ODD_EVERY, ODD_MOST, neighbors};
use crate::base::{IfaceId, Mac, Nanos, WanId};
use crate::engine::{PROBE_LEN, ToManager, ToWorker};
use crate::path::Notice;
use crate::wan::{Input, Probe};
use crate::wire::arp::Arp;

impl Manager {
    pub(super) fn message(&mut self, lane: usize, message: ToManager, now: Nanos) {
        match message {
            ToManager::Notice(Notice::Resolve { iface, ip }) => {
                self.neighbors(now, |book, may, out| {
                    book.resolve(now, (iface, ip), may, &mut |e| out.push(e))
                });
            }
            ToManager::Notice(Notice::Heard { iface, ip, mac, reply, at }) => {
                if let Some(wan) = self.view.ifaces.get(iface.index()).and_then(|port| port.wan) {
                    self.own_frame(wan, false);
                }
                // The inside half of a WAN hears all that is said on its wire: of those outside it knows whom it asks for.
                let strange = || !self.view.on_link(iface, ip) && self.neighbors.get(iface, ip).is_none();
                if self.view.ifaces.get(iface.index()).is_some_and(|port| port.arm.is_some()) && strange() {
                    return;
                }
                self.neighbors(now, |book, _, out| book.heard(now, iface, ip, mac, &mut |e| out.push(e)));
                let probed = self.view.wans.iter().position(|w| w.iface == iface && w.gateway == ip);
                if let Some(wan) = probed.filter(|_| reply) {
                    self.input(
                        now,
                        Input::ProbeReply { wan: WanId(wan as u8), probe: Probe::Gateway, round: None, at },
                    );
                }
            }
            ToManager::Notice(Notice::Refused { reason }) => {
                self.refused.retain(|(_, at)| now.since(*at) < ODD_EVERY);
                if !self.refused.iter().any(|(known, _)| *known == reason) {
                    self.refused.push((reason, now));
                    let fields = json!({ "reason": reason.name(), "meaning": reason.meaning().trim() });
                    self.event(now, "nat_full", fields);
                }
            }
            ToManager::Notice(Notice::Conflict { iface, ip, .. }) if self.lease_conflict(now, iface, ip) => {}
            ToManager::Notice(Notice::Conflict { iface, ip, mac }) => {
                self.odd(now, iface, ip, "conflict", mac, None);
            }
            ToManager::ProbeSent { wan, tag, at } if tag & GATEWAY == 0 => {
                self.target_sent(now, wan, tag, at);
            }
            ToManager::ProbeSent { wan, tag, at } => {
                let round = (tag & !GATEWAY) as u32;
                self.input(now, Input::ProbeSent { wan, probe: Probe::Gateway, round, at });
            }
            ToManager::Taken { generation, at, old } => {
                (self.lanes[lane].taken, self.lanes[lane].taken_at) = (generation, at);
                drop(old);
            }
            // Freed here, not by the worker.
            ToManager::Listed(rows) => drop(rows),
            ToManager::PortsLow { pool, free } => self.ports.low(lane, pool, free, now),
            ToManager::PortsLent(loan) => self.ports.lent(loan, now),
            ToManager::PortsTaken(loan) => drop(loan),
            ToManager::Killed(kill) => self.killed(&kill, now),
            ToManager::BeatsBack(beats) => drop(beats),
            ToManager::Explained(inquiry) => self.explained(&inquiry, now),
        }
    }

    /// How writers and hooks fare.
    pub(super) fn reports(&mut self, now: Nanos) {
        // A writer makes a second's pause after each failure, and hooks take their time: there are never many.
        let heard: Vec<_> = self
            .writers
            .iter()
            .flat_map(|writing| writing.reports.try_iter().map(|report| (writing.kind, report)))
            .collect();
        for (kind, report) in heard {
            let fields =
                json!({ "folder": report.folder, "writes": report.error.is_none(), "error": report.error });
            self.event(now, kind, fields);
        }
        let ran: Vec<_> = self.hooks.iter().flat_map(|hooks| hooks.reports.try_iter()).collect();
        for report in ran {
            let took = u64::try_from(report.took.as_nanos()).unwrap_or(u64::MAX);
            let fields = json!({
                "run": report.run, "event": report.seq, "status": report.status, "error": report.error, "took_ns": took,
            });
            self.event(now, "hook", fields);
        }
    }

    /// An event about a neighbour, at a bounded rate: anybody on a link can cause it.
    fn odd(&mut self, now: Nanos, iface: IfaceId, ip: Ipv4Addr, state: &str, mac: Mac, was: Option<Mac>) {
        self.odd_told.retain(|(_, _, at)| now.since(*at) < ODD_EVERY);
        let told = self.odd_told.iter().any(|(i, a, _)| *i == iface && *a == ip);
        if told || self.odd_told.len() >= ODD_MOST {
            return;
        }
        self.odd_told.push((iface, ip, now));
        let fields = json!({
            "interface": self.view.ifaces[iface.index()].name, "address": ip, "state": state,
            "from": was.map(|m| m.to_string()), "mac": mac.to_string(),
        });
        self.event(now, "neighbor", fields);
    }

    /// Lets the book take something in, and does what follows. The second of what it is given is the leave to ask.
    pub(super) fn neighbors(
        &mut self,
        now: Nanos,
        what: impl FnOnce(
            &mut neighbors::Neighbors,
            &mut &mut dyn FnMut(IfaceId, Ipv4Addr) -> bool,
            &mut Vec<neighbors::Effect>,
        ),
    ) {
        let mut effects = Vec::new();
        let (paces, view, config) = (&mut self.paces, &self.view, &self.config);
        let paths = self.profile.cluster.as_ref().map_or(&[][..], |cluster| &cluster.paths);
        let partner = |iface: IfaceId, ip| {
            paths.iter().any(|path| (path.interface, path.partner) == (iface.index(), ip))
        };
        let mut may: &mut dyn FnMut(IfaceId, Ipv4Addr) -> bool = &mut |iface, ip| {
            let why = if partner(iface, ip) { Why::Partner } else { Why::Question };
            paces.leave(now, iface, why, view, config)
        };
        what(&mut self.neighbors, &mut may, &mut effects);
        for effect in effects {
            match effect {
                neighbors::Effect::Request(iface, ip, to) => {
                    let port = &self.view.ifaces[iface.index()];
                    let own = self.view.source(iface, ip);
                    let request = Arp::request(port.mac_of(own), own, ip, to);
                    self.send(iface, request, None);
                }
                neighbors::Effect::Learn(iface, ip, mac) => {
                    self.tell_all(|| ToWorker::Learn { iface, ip, mac });
                    self.met(now, iface, ip);
                }
                neighbors::Effect::Stale(iface, ip) => self.tell_all(|| ToWorker::Stale { iface, ip }),
                neighbors::Effect::GiveUp(iface, ip) => self.tell_all(|| ToWorker::GiveUp { iface, ip }),
                neighbors::Effect::Moved(iface, ip, from, to) => {
                    self.odd(now, iface, ip, "moved", to, Some(from));
                }
            }
        }
    }

    pub(super) fn send(&mut self, iface: IfaceId, frame: [u8; PROBE_LEN], probe: Option<(WanId, u64)>) {
        if let Some(wan) = self.view.ifaces.get(iface.index()).and_then(|port| port.wan) {
            self.own_frame(wan, true);
        }
        // Should the ring be full, the frame is lost like one on the wire.
        if let Some(lane) = self.lanes.first_mut() {
            let _ = lane.end.to_worker.push(ToWorker::Send { iface, frame, probe });
        }
    }

    pub(super) fn tell_all(&mut self, message: impl Fn() -> ToWorker) {
        for lane in &mut self.lanes {
            // A worker that missed it asks again.
            let _ = lane.end.to_worker.push(message());
        }
    }
}
