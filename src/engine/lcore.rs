//! One core's router and its turn. At the end of every turn the books balance, which debug builds assert.

use std::collections::VecDeque;
use std::sync::Arc;

use rtrb::Producer;

use super::beats::Train;
use super::copies::CopyEnd;
use super::host::HostEnd;
use super::latency::Watch;
use super::rings::{HandOver, LcoreEnd, SessionRow, ToManager, ToWorker};
use super::sending::Repeats;
use super::steer::Steer;
use super::{BURST, Ports};
use crate::base::{IfaceId, Nanos, WorkerId};
use crate::nat::kill::Kill;
use crate::packet::{DropReason, PacketBuf, Stat};
use crate::path::{Class, From, PART, Router, View};
use crate::table::neighbors::State;

/// Messages taken in one turn.
const MESSAGES: usize = 64;
/// Listings at a time; the control socket has fewer clients.
const LISTINGS: usize = 64;
/// Walks at a time that end sessions, in all.
pub const KILLS: usize = 4;
/// Packets of a turn, at most: a burst of each interface and of each other worker.
const STEPPED: usize = 2 * 128 * BURST;
/// Of a burst whose sessions move to another WAN so many are sent at a time.
const MOVES: u64 = 4;
/// The numbers are shown this often.
const SHOW: Nanos = Nanos::from_ms(1);

/// One core's router.
pub struct Lcore<B> {
    pub(super) id: WorkerId,
    pub(super) steer: Steer,
    pub(super) view: Arc<View>,
    /// The packet path and what it writes to
    pub router: Router<B>,
    pub(super) end: LcoreEnd,
    pub(super) hand_over: HandOver<B>,
    pub(super) interfaces: usize,
    /// Empty between bursts
    pub(super) burst: Vec<B>,
    pub(super) repeats: Repeats,
    pub(super) train: Train,
    pub(super) host: Option<HostEnd>,
    /// Where to, and from which slot on: each in its turn.
    pub(super) listings: VecDeque<(Producer<SessionRow>, u32)>,
    /// One after the other
    pub(super) kills: VecDeque<Box<Kill>>,
    shown: Nanos,
    watch: Watch,
    /// As the ports have told so far
    strays: u64,
}

impl<B: PacketBuf> Lcore<B> {
    /// A core's router at rest.
    pub fn new(
        id: WorkerId,
        steer: Steer,
        view: Arc<View>,
        mut router: Router<B>,
        end: LcoreEnd,
        hand_over: HandOver<B>,
    ) -> Lcore<B> {
        router.shares(id, steer.workers());
        router.nat.stand_by(view.standby, Nanos::ZERO);
        if router.nat.is_paired() {
            router.stepped.reserve_exact(STEPPED);
        }
        let interfaces = view.ifaces.len();
        let listings = VecDeque::with_capacity(LISTINGS);
        let repeats = Repeats::new(view.wans.len(), 0x9e37_79b9_7f4a_7c15 ^ u64::from(id.0));
        Lcore {
            id,
            steer,
            view,
            router,
            end,
            hand_over,
            interfaces,
            burst: Vec::with_capacity(BURST),
            repeats,
            train: Train::new(),
            host: None,
            listings,
            kills: VecDeque::with_capacity(KILLS),
            shown: Nanos::ZERO,
            watch: Watch::new(),
            strays: 0,
        }
    }

    /// Who it is.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// From now on copies come from here, and changes go there: for simulations that play the management thread's part in that.
    pub fn set_copies(&mut self, end: CopyEnd) {
        self.end.copies = end;
    }

    /// What it reads.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Reads another view from now on; gives the old one.
    pub fn take(&mut self, view: Arc<View>, now: Nanos) -> Arc<View> {
        let old = std::mem::replace(&mut self.view, view);
        self.router.take(&old, &self.view, now);
        old
    }

    /// The numbers that everybody may read.
    pub fn shared(&self) -> &super::Shared {
        &self.end.shared
    }

    /// One turn. Gives how many frames came in.
    pub fn turn<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> usize {
        let mut came = 0;
        self.watch.begin(ports, &self.router.counters);
        let mut burst = std::mem::take(&mut self.burst);
        for iface in (0..self.interfaces).map(|i| IfaceId(i as u8)) {
            ports.receive(iface, &mut burst);
            if !burst.is_empty() {
                came += burst.len();
                let packets = burst.len() as u64;
                self.router.refill(|| ports.alloc());
                let bytes = self.route(ports, iface, &mut burst, now, true);
                self.router.came(iface, packets, bytes);
                self.flush(ports);
                let since = ports.since(iface);
                self.watch.burst(ports, since, &self.router.counters, &self.end.shared.latency);
            }
        }
        self.burst = burst;
        self.count_strays(ports.strays());
        self.router.refill(|| ports.alloc());
        let handed_in = self.handed_in(ports, now) + self.host_in(ports, now);
        if handed_in > 0 {
            came += handed_in;
            // Not after the sweep: they have waited once.
            self.flush(ports);
            self.watch.burst(ports, None, &self.router.counters, &self.end.shared.latency);
        }
        self.router.expire(&self.view, now);
        self.router.reset_left(&self.view, now);
        self.router.give_up_old(&self.view, now);
        self.router.tell_unasked(&self.view, now);
        self.list(now);
        self.kill(now);
        self.copy(now);
        self.want_ports();
        self.flush(ports);
        // After receiving: what a probe sent now brings back is stamped by a later turn.
        if self.messages(ports, now) {
            self.flush(ports);
            self.send_frames(ports, now);
        }
        if now.since(self.shown) >= SHOW {
            self.send_frames(ports, now);
            let known = self.router.counters.get(Stat::RefusedByPort);
            self.router.counters.add(Stat::RefusedByPort, ports.refused().saturating_sub(known));
            self.show(now);
        }
        self.watch.end(came);
        #[cfg(debug_assertions)]
        {
            let (had, made) = self.router.counters.balance();
            debug_assert_eq!(had, made, "X-1: {:?}", self.router.counters);
        }
        came
    }

    /// Shows the numbers now, not only every millisecond.
    pub fn show(&mut self, now: Nanos) {
        let (r, nat) = (&self.router, &self.router.nat);
        self.end.shared.show(
            &r.counters,
            &r.traffic,
            nat.per_wan(),
            nat.live() as u64,
            nat.capacity().into(),
        );
        let ties = self.view.uplinks.groups.len() * self.view.wans.len();
        let ties = nat.per_tie().get(..ties).unwrap_or_default();
        self.end.shared.show_wans(ties, nat.tcp_gauges());
        self.shown = now;
    }

    /// A burst's way from receive to send: established flows in stages over all of it, everything else the long way, in
    /// the order of arrival. `hands`: what another worker owns is handed over to it. Gives the burst's bytes.
    ///
    /// Sessions that move to another WAN cost a few misses each: a burst of them is sent in parts, so that the first need not wait for
    /// the last.
    #[inline(always)]
    pub(super) fn route<P: Ports<Buf = B>>(
        &mut self,
        ports: &mut P,
        ingress: IfaceId,
        burst: &mut Vec<B>,
        now: Nanos,
        hands: bool,
    ) -> u64 {
        let from = self.router.from(&self.view, ingress, now);
        let mut moved = self.router.counters.get(Stat::SessionsMoved);
        let frames = burst.len();
        assert!(frames <= BURST, "no more than a burst is marked");
        // Translated up to `at`; up to `gone` they are in `burst` no more.
        let (mut bytes, mut gone, mut at) = (0, 0, 0);
        for part in 0..=frames.div_ceil(PART) {
            bytes += self.router.look_up(&self.view, &from, part, burst, gone);
            let end = (part * PART).min(frames);
            loop {
                at += self.router.established(&self.view, &from, &mut burst[at - gone..end - gone], at);
                if at == end {
                    break;
                }
                if self.open(ingress, &from, &mut burst[at - gone], at, now, hands) {
                    at += 1;
                    continue;
                }
                self.router.queue(burst, gone, at - gone);
                let buf = burst.remove(0);
                self.route_anew(ingress, buf, now, hands);
                if self.router.counters.get(Stat::SessionsMoved) - moved >= MOVES {
                    moved = self.router.counters.get(Stat::SessionsMoved);
                    self.transmit(ports);
                }
                at += 1;
                gone = at;
            }
        }
        self.router.queue(burst, gone, at - gone);
        bytes
    }

    /// What the ports have dropped as it was for no interface came in all the same.
    #[inline]
    fn count_strays(&mut self, strays: u64) {
        let more = strays.wrapping_sub(self.strays);
        if more > 0 {
            self.strays = strays;
            self.router.counters.add(Stat::Received, more);
            self.router.counters.drop_many(DropReason::Vlan, more);
        }
    }

    /// Opens a flow of this worker's by its first frame, and has that translated as of a flow that is known. False: it has to go the long way.
    #[inline(never)]
    fn open(
        &mut self,
        ingress: IfaceId,
        from: &From,
        buf: &mut B,
        at: usize,
        now: Nanos,
        hands: bool,
    ) -> bool {
        let alone = !hands || self.steer.workers() == 1;
        let source = self.router.opener(&self.view, from, buf, at);
        source.is_some_and(|host| alone || self.steer.host(host) == self.id)
            && self.router.open(&self.view, (ingress, from), buf, at, now)
    }

    /// The way of a frame that is of no flow that is known, and opens none of the plain kind.
    #[inline(never)]
    fn route_anew(&mut self, ingress: IfaceId, buf: B, now: Nanos, hands: bool) {
        let Some((frame, class)) = self.router.receive(&self.view, ingress, buf, now) else { return };
        // What nothing is asked about goes as it comes.
        if frame.ip.is_fragment() && (self.view.internal || !matches!(class, Class::Inside { .. })) {
            return self.fragment(frame, class, now, (hands, false));
        }
        match self.steer.owner(&self.view, &frame, class) {
            Some(owner) if owner != self.id && hands => self.hand(frame, owner, false),
            _ => {
                self.router.forward(&self.view, frame, class, now);
                if let Some((frame, class)) = self.router.turned.take() {
                    self.turn_in(frame, class, now);
                }
            }
        }
    }

    /// Sends what the path put out, and passes on what it noticed.
    fn flush<P: Ports<Buf = B>>(&mut self, ports: &mut P) {
        self.transmit(ports);
        self.pour();
        if !self.router.answers.is_empty() {
            self.tell_answers();
        }
        if self.router.host.as_ref().is_some_and(|door| !door.waiting.is_empty()) {
            self.give_host();
        }
        for notice in self.router.notices.drain(..) {
            if self.end.to_manager.push(ToManager::Notice(notice)).is_err() {
                self.router.counters.add(Stat::NoticesLost, 1);
            }
        }
    }

    /// Sends what the path put out, in order. What a queue does not take is dropped.
    pub(super) fn transmit<P: Ports<Buf = B>>(&mut self, ports: &mut P) {
        for (iface, out) in self.router.out.iter_mut().enumerate().filter(|(_, out)| !out.is_empty()) {
            let (packets, bytes, dropped) = out.drain(|frames| ports.send(IfaceId(iface as u8), frames));
            self.router.counters.add(Stat::Sent, packets);
            self.router.counters.drop_many(DropReason::TxFull, dropped);
            let traffic = &mut self.router.traffic[iface];
            traffic.tx_packets += packets;
            traffic.tx_bytes += bytes;
        }
    }

    /// Whether there were any.
    fn messages<P: Ports<Buf = B>>(&mut self, ports: &mut P, now: Nanos) -> bool {
        if self.end.from_manager.is_empty() {
            return false;
        }
        self.router.refill(|| ports.alloc());
        // Room for an answer to each message first: none may be lost. Notices wait until the end of the turn.
        let room = self.end.to_manager.slots().min(MESSAGES);
        for _ in 0..room {
            let Ok(message) = self.end.from_manager.pop() else { break };
            match message {
                ToWorker::View(view) => {
                    let generation = view.generation;
                    let old = self.take(view, now);
                    self.tell(ToManager::Taken { generation, at: now, old });
                }
                ToWorker::Learn { iface, ip, mac } => self.router.learn(&self.view, iface, ip, mac),
                ToWorker::Stale { iface, ip } => {
                    if let Some(neighbor) = self.router.neighbors.find(iface, ip) {
                        neighbor.set_state(State::Stale);
                    }
                }
                ToWorker::GiveUp { iface, ip } => self.router.give_up(&self.view, iface, ip, now),
                ToWorker::Send { iface, frame, probe } => self.send(ports, iface, &frame, probe, now),
                ToWorker::Frames => {}
                ToWorker::Repeat { wan, repeat } => self.repeats.set(wan, repeat, now),
                ToWorker::List(rows) if self.listings.len() < LISTINGS => self.listings.push_back((rows, 0)),
                ToWorker::List(rows) => self.tell(ToManager::Listed(rows)),
                ToWorker::LendPorts(mut loan) => {
                    let foreign = |port| self.steer.port(port) != self.id;
                    self.router.nat.lend(&mut loan, foreign, now, &mut self.router.counters);
                    self.tell(ToManager::PortsLent(loan));
                }
                ToWorker::TakePorts(mut loan) => {
                    self.router.nat.take_in(&mut loan, &mut self.router.counters);
                    self.tell(ToManager::PortsTaken(loan));
                }
                // The manager sends few at a time.
                ToWorker::Kill(kill) => self.kills.push_back(kill),
                ToWorker::Beats(beats) => self.take_beats(beats, now),
                ToWorker::Explain(mut inquiry) => {
                    inquiry.answer(self.id, self.steer, &self.router.nat, now);
                    self.tell(ToManager::Explained(inquiry));
                }
            }
        }
        true
    }

    pub(super) fn tell(&mut self, message: ToManager) {
        // `messages` has made sure of the room.
        if self.end.to_manager.push(message).is_err() {
            self.router.counters.add(Stat::NoticesLost, 1);
        }
    }

    /// Asks for ports where a pool runs low. What finds the ring full asks again next turn.
    #[inline]
    fn want_ports(&mut self) {
        while let Some((pool, free)) = self.router.nat.wants_ports() {
            if self.end.to_manager.push(ToManager::PortsLow { pool, free }).is_err() {
                break;
            }
            self.router.nat.told();
        }
    }
}
