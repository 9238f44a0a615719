//! What goes between the members of a pair: beats, which are made here some time ahead and sent by a worker on time (`engine::beats`), and the
//! frames of the sessions' log. Both are UDP datagrams to the same port, and come in by the rings for whole frames.
//!
//! A beat goes by every path, a frame of the log by the first path that is heard. The partner's MAC is asked for like any neighbour's; one that was known is
//! kept until there is another one, since who is gone may come back as he was.

use std::net::Ipv4Addr;

use super::member::Member;
use super::neighbors::NeighborState;
use super::probes::Way;
use super::probes::packets::{self, What};
use super::{Lane, Manager};
use crate::base::{IfaceId, Mac, Nanos};
use crate::cluster::beat::LEN;
use crate::cluster::{Heard, Input, Role};
use crate::engine::ToWorker;
use crate::engine::beats::{BEAT_FRAME, BEAT_LEN, Beats};
use crate::engine::frames::{Outgoing, WholeFrame};
use crate::engine::steer::Steer;
use crate::packet::Stat;
use crate::path::View;
use crate::path::answers::{PairPath, Probing};
use crate::profile::{Cluster, HeartbeatPath};
use crate::wire::eth::Eth;

const _: () = assert!(LEN == BEAT_LEN);

/// The partner's neighbours' entries are looked after this often.
const LOOK: Nanos = Nanos::from_ms(200);
/// The first bytes of a frame of the log; a beat's are others.
const LOG: &[u8] = b"tos";

/// What the workers let in.
pub(super) fn mark(probing: &mut Probing, cluster: &Cluster) {
    let path = |path: &HeartbeatPath| PairPath {
        iface: IfaceId(path.interface as u8),
        own: path.own,
        partner: path.partner,
    };
    probing.paths = cluster.paths.iter().map(path).collect();
    probing.port = cluster.port;
}

/// How this member speaks by a path.
fn way(view: &View, path: &HeartbeatPath) -> Option<Way> {
    let port = view.ifaces.get(path.interface)?;
    Some(Way {
        src: path.own,
        mac: port.station,
        mtu: port.mtu,
        next_hop: path.partner,
        next_mac: None,
        confirm: false,
    })
}

impl Member {
    /// The path to be taken by what goes by one of them: the first that is heard, else the first.
    fn best_path(&self, now: Nanos, timeout: Nanos) -> usize {
        let fresh = |at: &Option<Nanos>| at.is_some_and(|at| now < at + timeout);
        self.heard.iter().position(fresh).unwrap_or(0)
    }
}

/// Copies that the workers have had no place for, so far.
pub(super) fn copies_refused(lanes: &[Lane]) -> u64 {
    lanes.iter().map(|lane| lane.end.shared.read().counters.get(Stat::CopiesRefused)).sum()
}

impl Manager {
    /// Whether the members hear each other by this interface.
    pub(super) fn beats_on(&self, iface: IfaceId) -> bool {
        let cluster = self.profile.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.paths.iter().any(|path| path.interface == iface.index()))
    }

    /// A frame has come from the partner, by a path.
    pub(super) fn partner_frame(&mut self, now: Nanos, path: u8, at: Nanos, frame: &[u8]) {
        let cluster = self.profile.cluster.as_ref();
        let iface =
            cluster.and_then(|cluster| cluster.paths.get(usize::from(path))).map(|path| path.interface);
        if let Some(wan) = iface.and_then(|at| self.view.ifaces.get(at)?.wan) {
            self.own_frame(wan, false);
        }
        let Some(member) = &mut self.member else { return };
        let Some(What::Udp { data, .. }) = packets::read(frame).map(|heard| heard.what) else { return };
        if data.starts_with(LOG) {
            member.copying.hear(data);
            return;
        }
        let input = match member.hearing.hear(path, data) {
            Heard::News(beat) => Input::Beat { path, at, beat },
            Heard::Again => Input::Path { path, at },
            Heard::Nothing => return,
        };
        if let Some(heard) = member.heard.get_mut(usize::from(path)) {
            *heard = Some(at);
        }
        // It is signed: where the partner is need not be asked any more.
        let unknown = member.macs.get_mut(usize::from(path)).filter(|mac| mac.is_none());
        let met = unknown.is_some_and(|mac| {
            *mac = Eth::parse(frame).map(|eth| eth.src);
            mac.is_some()
        });
        let partner = |member: &Member| member.pair.view(now).partner.map(|partner| partner.member.role);
        let before = partner(member);
        // Only the operator's word is ever refused.
        let _ = self.member_input(now, input);
        if met {
            self.send_train(now, true);
        }
        let Some(member) = self.member.as_ref().filter(|member| member.is_active()) else { return };
        if before == Some(Role::Active) && partner(member) != before {
            // Until just now the partner has sent from the virtual MACs as well: the switches may look for them there.
            self.call_all(now);
        }
    }

    /// Gives a worker beats for some time.
    pub(super) fn send_train(&mut self, now: Nanos, at_once: bool) {
        let (Some(member), Some(cluster)) = (&mut self.member, &self.profile.cluster) else { return };
        let (Some(beat), Some(lane)) = (member.beat, self.lanes.first_mut()) else { return };
        let view = &self.view;
        let way = |(path, mac): (&HeartbeatPath, &Option<Mac>)| {
            Some((IfaceId(path.interface as u8), way(view, path)?, (*mac)?, path.partner))
        };
        let ways: Vec<_> = cluster.paths.iter().zip(&member.macs).filter_map(way).collect();
        let count = (cluster.timeout.0 * 2).div_ceil(cluster.every.0.max(1)).clamp(8, 64);
        let mut beats = Beats { every: cluster.every, at_once, ..Beats::default() };
        beats.paths = ways.iter().map(|(iface, ..)| *iface).collect();
        for _ in 0..count {
            member.sequence += 1;
            let payload = beat.seal(&member.key, member.sequence);
            for (_, way, mac, to) in &ways {
                let frame = packets::udp(way, *mac, *to, (cluster.port, cluster.port), &payload);
                let mut bytes = [0; BEAT_FRAME];
                bytes.iter_mut().zip(&frame).for_each(|(into, byte)| *into = *byte);
                beats.frames.push(bytes);
            }
        }
        let sent = lane.end.to_worker.push(ToWorker::Beats(Box::new(beats))).is_ok();
        // Long before its end; soon again if the worker had no room for it.
        member.train_due = if sent { now + Nanos(cluster.every.0 * (count / 2)) } else { now };
    }

    /// Looks after the partner's MACs.
    pub(super) fn look_for_partner(&mut self, now: Nanos) {
        let (Some(member), Some(cluster)) = (&mut self.member, &self.profile.cluster) else { return };
        if now < member.look_due {
            return;
        }
        member.look_due = now + LOOK;
        let mut changed = false;
        for (at, path) in cluster.paths.clone().into_iter().enumerate() {
            let iface = IfaceId(path.interface as u8);
            let entry = self.neighbors.get(iface, path.partner);
            let mac = entry.and_then(|entry| entry.mac);
            if entry.is_none_or(|entry| entry.state == NeighborState::Stale) {
                self.neighbors(now, |book, may, out| {
                    book.resolve(now, (iface, path.partner), may, &mut |effect| out.push(effect));
                });
            }
            let known = self.member.as_mut().and_then(|member| member.macs.get_mut(at));
            if let (Some(known), Some(mac)) = (known, mac) {
                changed |= known.replace(mac) != Some(mac);
            }
        }
        if changed {
            self.send_train(now, true);
        }
    }

    /// A neighbour is known now: the partner hears of this member at once.
    pub(super) fn met(&mut self, now: Nanos, iface: IfaceId, ip: Ipv4Addr) {
        let (Some(member), Some(cluster)) = (&mut self.member, &self.profile.cluster) else { return };
        if cluster.paths.iter().any(|path| (path.interface, path.partner) == (iface.index(), ip)) {
            member.look_due = now;
        }
    }

    /// Copies sessions to the partner, or from it.
    pub(super) fn copy_sessions(&mut self, now: Nanos) {
        let (Some(member), Some(cluster)) = (&mut self.member, &self.profile.cluster) else { return };
        let path = member.best_path(now, cluster.timeout);
        let mut frames = Vec::new();
        let steer = Steer::new(self.lanes.len());
        let mut rings: Vec<_> = self.lanes.iter_mut().map(|lane| &mut lane.end.copies).collect();
        member.copying.step(now, &mut rings, &|key| steer.record(key), &mut |frame| frames.push(frame));
        if member.copying.begun() {
            member.refused_before = copies_refused(&self.lanes);
        }
        let (Some(path), Some(Some(mac))) = (cluster.paths.get(path), member.macs.get(path)) else { return };
        let Some(way) = way(&self.view, path) else { return };
        let Some(lane) = self.lanes.first_mut() else { return };
        if frames.is_empty() {
            return;
        }
        for frame in frames {
            let frame = packets::udp(&way, *mac, path.partner, (cluster.port, cluster.port), &frame);
            let iface = IfaceId(path.interface as u8);
            if let Some(frame) = WholeFrame::new(&frame) {
                // What finds no room is lost as on the wire: the log sends it again.
                let _ = lane.end.frames.to_worker.push(Outgoing { iface, probe: None, frame });
            }
        }
        let _ = lane.end.to_worker.push(ToWorker::Frames);
    }
}
