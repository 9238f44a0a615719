//! The manager's side of the probes: frames to and from the workers, next hops from the neighbours' book, and what came out.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::json;

use super::probes::names::Resolver;
use super::probes::{Output, Probes, WanProbes, Way};
use super::{Manager, neighbors, talk};
use crate::base::{Nanos, WanId};
use crate::engine::ToWorker;
use crate::engine::frames::{Outgoing, Repeat, WholeFrame};
use crate::path::View;
use crate::path::answers::{Probing, Source};
use crate::wan::{Input, Probe, Sensor};

/// In the tag of a frame: it probes the gateway, by ARP. What else is in it are its target and round.
pub(super) const GATEWAY: u64 = 1 << 63;
/// What came out and was not taken is forgotten beyond this, the oldest first.
const OUTCOMES: usize = 1024;

/// A WAN's traffic.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    sensor: Sensor,
    /// Frames of the router itself, received and sent
    own: [u64; 2],
    /// Frames of users, received and sent
    users: [u64; 2],
}

/// The probes, and what came out of them.
#[derive(Debug, Default)]
pub(super) struct Probed {
    probes: Probes,
    /// What came out, where somebody takes it
    outcomes: Option<VecDeque<Output>>,
    /// What the last probe of a target failed by
    said: BTreeMap<(WanId, u8), String>,
    /// What the workers let in
    pub(super) probing: Arc<Probing>,
}

/// How a packet to an address leaves by a WAN: straight, if it is on the WAN's link, else by its next hop there.
pub(super) fn way(view: &View, book: &neighbors::Neighbors, wan: WanId, to: Ipv4Addr) -> Option<Way> {
    let link = view.wans.get(wan.index())?;
    let port = view.ifaces.get(link.iface.index())?;
    let next_hop = view.next_hop(link, to);
    let known = book.get(link.iface, next_hop);
    let src = view.source(link.iface, next_hop);
    // Without an address nobody can be asked.
    if src.is_unspecified() {
        return None;
    }
    Some(Way {
        src,
        mac: port.mac_of(src),
        mtu: port.mtu,
        next_hop,
        next_mac: known.and_then(|entry| entry.mac),
        confirm: known.is_none_or(|entry| entry.state == neighbors::NeighborState::Stale),
    })
}

impl Manager {
    /// From now on these are the targets, by `WanId`. `seed` must be secret.
    pub fn set_probes(&mut self, wans: Vec<WanProbes>, resolver: Option<Resolver>, seed: u64) {
        self.probed.probes = Probes::new(resolver, seed);
        self.leases.stir(seed);
        self.change_probes(wans);
    }

    /// From now on these are the targets; the resolver stays.
    pub(super) fn change_probes(&mut self, wans: Vec<WanProbes>) {
        for wan in 0..self.view.wans.len() {
            self.repeat(WanId(wan as u8), None);
        }
        self.probed.probes.renew(wans);
        self.probing_changed();
    }

    /// Asks a target of a WAN, by that WAN, in round `round`. What comes of it is an outcome.
    pub fn ask_target(&mut self, now: Nanos, wan: WanId, target: u8, round: u32) {
        self.probes(|probes, ways, out| probes.ask(now, (wan, target, round), ways, out), now);
    }

    /// Takes in the frames that came for probes, then lets their time pass. Before the WANs are told of that time.
    pub(super) fn hear_frames(&mut self, now: Nanos) {
        for lane in 0..self.lanes.len() {
            // What is there now and no more, as with messages.
            for _ in 0..self.lanes[lane].end.frames.from_worker.slots() {
                let Ok(came) = self.lanes[lane].end.frames.from_worker.pop() else { break };
                let wan = match came.from {
                    Source::Wan(wan) => wan,
                    Source::Path(path) => {
                        self.partner_frame(now, path, came.at, came.frame.bytes());
                        continue;
                    }
                };
                self.own_frame(wan, false);
                if self.lease_frame(now, wan, came.frame.bytes()) {
                    continue;
                }
                self.probes(|p, _, out| p.heard(now, wan, came.frame.bytes(), came.at, out), now);
            }
        }
        self.probes(|probes, ways, out| probes.tick(now, ways, out), now);
    }

    /// Looks whether a busy WAN has fallen silent: by what came in and went out there that was not the router's own.
    pub(super) fn sense(&mut self, now: Nanos) {
        for at in 0..self.lines.len() {
            // BFD tells sooner, and its packets, which the workers send by themselves, are not told apart here; nor are a pair's beats.
            if !self.config.wans.get(at).is_some_and(|health| health.passive && !health.bfd)
                || self.beats_on(self.view.wans[at].iface)
            {
                continue;
            }
            let iface = self.view.wans[at].iface.index();
            let (mut received, mut sent) = (0, 0);
            for lane in &self.lanes {
                let [rx, tx] = lane.end.shared.packets(iface);
                (received, sent) = (received + rx, sent + tx);
            }
            let line = &mut self.lines[at];
            // Workers show their counts every ms, and what the router sends is known before it is counted.
            line.users[0] = line.users[0].max(received.saturating_sub(line.own[0]));
            line.users[1] = line.users[1].max(sent.saturating_sub(line.own[1]));
            if line.sensor.feed(now, line.users[0], line.users[1]) {
                self.input(now, Input::Silence { wan: WanId(at as u8) });
            }
        }
    }

    /// A frame that came in by a WAN, or is to be sent there, is no user's.
    pub(super) fn own_frame(&mut self, wan: WanId, sent: bool) {
        if let Some(line) = self.lines.get_mut(wan.index()) {
            line.own[usize::from(sent)] += 1;
        }
    }

    /// A frame of a target's probe has left.
    pub(super) fn target_sent(&mut self, now: Nanos, wan: WanId, tag: u64, at: Nanos) {
        self.probes(|probes, _, out| probes.sent(wan, tag, at, out), now);
    }

    /// What comes of probes is kept from now on, for `outcomes`.
    pub fn keep_outcomes(&mut self) {
        self.probed.outcomes.get_or_insert_default();
    }

    /// What came of probes since the last time; nothing unless it is kept.
    pub fn outcomes(&mut self) -> impl Iterator<Item = Output> {
        self.probed.outcomes.iter_mut().flat_map(|outcomes| outcomes.drain(..))
    }

    /// Lets the probes take something in, and does what follows.
    fn probes(
        &mut self,
        what: impl FnOnce(&mut Probes, &dyn Fn(WanId, Ipv4Addr) -> Option<Way>, &mut dyn FnMut(Output)),
        now: Nanos,
    ) {
        let (view, book) = (&self.view, &self.neighbors);
        let mut outputs = Vec::new();
        what(&mut self.probed.probes, &|wan, to| way(view, book, wan, to), &mut |o| outputs.push(o));
        for output in outputs {
            self.output(now, output);
        }
    }

    pub(super) fn output(&mut self, now: Nanos, output: Output) {
        match output {
            Output::Send(wan, frame, tag) => {
                self.own_frame(wan, true);
                let iface = self.view.wans.get(wan.index()).map(|link| link.iface);
                let lane = self.lanes.first_mut();
                if let (Some(iface), Some(lane), Some(frame)) = (iface, lane, WholeFrame::new(&frame)) {
                    // Should the ring be full, it is lost like one that a port refuses, and never sent.
                    let probe = tag.map(|tag| (wan, tag));
                    let _ = lane.end.frames.to_worker.push(Outgoing { iface, probe, frame });
                    let _ = lane.end.to_worker.push(ToWorker::Frames);
                }
            }
            Output::Resolve(wan, ip) => {
                if let Some(iface) = self.view.wans.get(wan.index()).map(|link| link.iface) {
                    self.neighbors(now, |book, may, out| {
                        book.resolve(now, (iface, ip), may, &mut |e| out.push(e))
                    });
                }
            }
            Output::Repeat(wan, what) => {
                if !self.repeat(wan, what) {
                    self.probed.probes.unsaid(wan);
                }
            }
            Output::Probing => self.probing_changed(),
            Output::Sent(..)
            | Output::Reply(..)
            | Output::Failed(..)
            | Output::Unresolved(..)
            | Output::Bfd(..) => {
                self.outcome(now, &output);
                let Some(outcomes) = &mut self.probed.outcomes else { return };
                if outcomes.len() >= OUTCOMES {
                    outcomes.pop_front();
                }
                outcomes.push_back(output);
            }
        }
    }

    /// What came of a probe is the WANs' business.
    fn outcome(&mut self, now: Nanos, output: &Output) {
        let input = match output {
            Output::Sent(wan, target, round, at) => {
                Input::ProbeSent { wan: *wan, probe: Probe::Target(*target), round: *round, at: *at }
            }
            Output::Reply(wan, target, round, at) => {
                self.probed.said.remove(&(*wan, *target));
                Input::ProbeReply { wan: *wan, probe: Probe::Target(*target), round: Some(*round), at: *at }
            }
            // That it was not answered in time the WANs see by themselves.
            Output::Failed(wan, target, _, why) | Output::Unresolved(wan, target, _, why) => {
                self.probed.said.insert((*wan, *target), why.clone());
                return;
            }
            Output::Bfd(wan, says) => {
                let fields = json!({ "wan": self.wan_name(*wan), "session": says });
                self.event(now, "bfd", fields);
                Input::Bfd { wan: *wan, says: *says }
            }
            _ => return,
        };
        self.input(now, input);
    }

    /// What a target's last probe by a WAN failed by, if it did.
    pub(super) fn said(&self, wan: WanId, target: u8) -> Option<&str> {
        self.probed.said.get(&(wan, target)).map(String::as_str)
    }

    /// Whether it was taken: a worker has it.
    fn repeat(&mut self, wan: WanId, what: Option<(Vec<u8>, Nanos, u8)>) -> bool {
        let Some(link) = self.view.wans.get(wan.index()) else { return true };
        let repeat = what.and_then(|(frame, every, most_percent)| {
            let frame = frame.try_into().ok()?;
            Some(Repeat { iface: link.iface, every, most_percent, frame })
        });
        let lane = self.lanes.first_mut();
        lane.is_none_or(|lane| lane.end.to_worker.push(ToWorker::Repeat { wan, repeat }).is_ok())
    }

    pub(super) fn probing_changed(&mut self) {
        let mut probing = self.probed.probes.probing();
        self.leases.mark(&mut probing);
        if let Some(cluster) = self.profile.cluster.as_ref().filter(|_| self.member.is_some()) {
            talk::mark(&mut probing, cluster);
        }
        if *self.probed.probing != probing {
            self.probed.probing = Arc::new(probing);
            self.publish();
        }
    }
}
