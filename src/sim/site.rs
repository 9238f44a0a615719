//! A site: a router with a LAN and its WANs, on the virtual clock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use super::check;
use super::frames::{Packet, Seen};
use super::host::Under;
use super::wire::{Plug, SimPorts, Wire};
use crate::base::{IfaceId, Mac, Nanos, WorkerId};
use crate::engine::steer::Steer;
use crate::engine::{Layout, Lcore, Trunk, connect, hand_overs};
use crate::manage::log::{self, Logs};
use crate::manage::views::{self, PortInfo};
use crate::manage::{Manager, NEIGHBORS, layout};
use crate::nat::Nat;
use crate::packet::{Counters, VecBuf};
use crate::path::{Router, View};
use crate::profile;
use crate::table::hash::HashKey;
use crate::table::neighbors::Neighbors;

/// A LAN and two WANs, as in the shortest profile that routes, but impatient: failback and resets come at once.
pub const DUAL_WAN: &str = "version: 1
interfaces:
  lan:  { port: \"linux:lan0\", addresses: [192.168.10.1/24] }
  isp1: { port: \"linux:isp1\", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
  isp2: { port: \"linux:isp2\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
wans: [isp1, isp2]
engine: { sessions: 4096 }
groups: { default: { failback: { after: 0s }, when_none_fit: unreachable } }
on_failover: { tcp: { reset_after: 0s } }
";

/// Counters that move in every run and say nothing about a test.
const ALWAYS: [&str; 10] = [
    "rx_packets",
    "tx_packets",
    "originated",
    "local",
    "handed_in",
    "handed_out",
    "held",
    "mappings_removed",
    "sessions_moved_icmp",
    "sessions_moved_tcp",
];

/// A router and what is around it.
pub struct Site {
    pub(super) now: Nanos,
    pub(super) manager: Manager,
    pub(super) log: Option<Logs>,
    pub(super) lcores: Vec<Lcore<VecBuf>>,
    ports: Vec<Trunk<SimPorts>>,
    pub(super) layout: Arc<Layout>,
    pub(super) wires: Rc<RefCell<Vec<Wire>>>,
    /// The time within a turn, which `now` stands still for
    clock: Rc<Cell<Nanos>>,
    pub(super) names: Vec<String>,
    base: Counters,
    pub(super) faults: Vec<String>,
    pub(super) queue: usize,
    pub(super) host: Under,
    pub(super) wrong: check::Wrong,
}

impl Site {
    /// A site with `workers` workers, all links up, gateways and LAN hosts .10 and .11 present; the first second is over,
    /// so that every WAN is up; what was sent meanwhile is gone.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn new(profile: &str, workers: usize) -> Result<Site, profile::Mistakes> {
        let mut site = Site::cold(profile, workers)?;
        for i in 0..site.names.len() {
            site.manager.link(site.now, IfaceId(i as u8), true);
        }
        site.begin(1000);
        Ok(site)
    }

    /// So much later the test begins: what was sent till then is gone, and counters count from here.
    pub fn begin(&mut self, ms: u64) {
        self.run_ms(ms);
        self.take_all();
        self.base = self.counters();
    }

    /// A site at the moment of its start: no link is known yet.
    ///
    /// # Errors
    /// The profile's mistakes.
    pub fn cold(text: &str, workers: usize) -> Result<Site, profile::Mistakes> {
        Ok(Site::of(&profile::load(text, "sim.yaml")?, workers, 0))
    }

    /// The same, of a profile that is good. `member`: sets apart those of a pair, by their MACs.
    pub(super) fn of(profile: &profile::Profile, workers: usize, member: u8) -> Site {
        // Not zero, so that nothing depends on it.
        let now = Nanos::from_s(1_000_000);
        let mac = |i: usize| Mac([2, 0, 0, member, 1, i as u8]);
        let count = profile.interfaces.len();
        let layout = Arc::new(layout(profile));
        let info = |i: usize| PortInfo { mac: mac(layout.port(i)), mtu: 1500 };
        let infos: Vec<PortInfo> = (0..count).map(info).collect();
        let plugs = Rc::new(Plug::all(profile, &layout));
        let view = Arc::new(views::first(profile, &infos, workers));
        let wires = Rc::new(RefCell::new((0..count).map(|_| Wire::new(workers)).collect::<Vec<_>>()));
        let clock = Rc::new(Cell::new(now));
        let steer = Steer::new(workers);
        let (mut lcores, mut ports, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
        for (w, hand_over) in hand_overs(workers).into_iter().enumerate() {
            let (manager_end, lcore_end) = connect(count, profile.wans.len(), 8);
            let id = WorkerId(w as u8);
            let seed = 42 + w as u64 + (u64::from(member) << 32);
            let nat = Nat::new(&views::nat_config(profile, workers, seed), &|p: u16| steer.port(p) == id);
            let key = HashKey::draw(&mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(7));
            let neighbors = Neighbors::new(NEIGHBORS as u32, key);
            let router = Router::new(nat, neighbors, &view);
            lcores.push(Lcore::new(id, steer, view.clone(), router, lcore_end, hand_over));
            let queues =
                SimPorts { queue: w, plugs: plugs.clone(), wires: wires.clone(), clock: clock.clone() };
            ports.push(Trunk::new(queues, layout.clone()));
            lanes.push((w, manager_end));
        }
        let names = profile.interfaces.iter().map(|i| i.name.clone()).collect();
        let log = log::connect(profile, lcores.iter_mut().map(|l: &mut Lcore<_>| &mut l.router.nat));
        let mut manager = Manager::new(profile, &infos, view, lanes, now);
        manager.set_probes(views::probes(profile), None, 4711);
        manager.keep_outcomes();
        let (base, faults) = (Counters::default(), Vec::new());
        let mut site = Site {
            now,
            manager,
            log,
            lcores,
            ports,
            layout,
            wires,
            clock,
            names,
            base,
            faults,
            queue: 0,
            host: Under::default(),
            wrong: check::Wrong::default(),
        };
        for (i, interface) in profile.interfaces.iter().enumerate() {
            if let Some(gateway) = interface.gateway {
                site.wires.borrow_mut()[i].stations.insert(gateway, Mac([2, 0, 0, 0, 2, i as u8]));
            }
        }
        for host in [10, 11] {
            site.add_host("lan", Ipv4Addr::new(192, 168, 10, host));
        }
        site
    }

    pub(super) fn iface(&self, name: &str) -> IfaceId {
        IfaceId(self.names.iter().position(|n| n == name).unwrap_or(0) as u8)
    }

    /// The link is there, and whoever is on it hears the router.
    pub(super) fn is_on(&self, link: &str) -> bool {
        let at = self.names.iter().position(|name| name == link);
        at.is_some_and(|at| self.wires.borrow().get(at).is_some_and(|wire| !wire.down && !wire.silent))
    }

    /// What the workers read now.
    pub fn view(&self) -> &View {
        self.lcores[0].view()
    }

    /// The lcores, to look into.
    pub fn lcores(&mut self) -> &mut [Lcore<VecBuf>] {
        &mut self.lcores
    }

    /// A station on a link that answers ARP.
    pub fn add_host(&mut self, link: &str, ip: Ipv4Addr) {
        let [.., c, d] = ip.octets();
        let iface = self.iface(link);
        let mac = Mac([2, 0, 0, 3, c, d]);
        if let Some(wire) = self.wires.borrow_mut().get_mut(iface.index()) {
            wire.stations.insert(ip, mac);
        }
    }

    /// A station leaves its link.
    pub fn remove_host(&mut self, link: &str, ip: Ipv4Addr) {
        let iface = self.iface(link);
        self.wires.borrow_mut()[iface.index()].stations.remove(&ip);
    }

    /// Lets time pass, millisecond by millisecond.
    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Nanos::from_ms(1);
            self.settle();
        }
    }

    /// Lets much time pass in steps of `step_ms`.
    pub fn run_coarse(&mut self, s: u64, step_ms: u64) {
        for _ in 0..s * 1000 / step_ms {
            self.now += Nanos::from_ms(step_ms);
            self.settle();
        }
    }

    /// Everything that can happen without time passing.
    pub(super) fn settle(&mut self) {
        for _ in 0..8 {
            self.manager.step(self.now);
            if !self.turn() {
                break;
            }
        }
        self.manager.step(self.now);
    }

    /// A turn of each lcore; whether there may be something left to do.
    pub(super) fn turn(&mut self) -> bool {
        let mut came = 0;
        for (lcore, ports) in self.lcores.iter_mut().zip(&mut self.ports) {
            self.clock.set(self.now);
            let frames = lcore.turn(ports, self.now);
            if frames > 0 {
                lcore.shared().latency.turn(self.clock.get().since(self.now).0);
            }
            came += frames;
            if let Some(fault) = check::balance(&lcore.router.counters) {
                self.faults.push(fault);
            }
        }
        came > 0 || self.wires.borrow().iter().any(Wire::brings)
    }

    /// Puts a frame on a link as it is.
    pub fn put_raw(&mut self, link: &str, frame: &[u8]) {
        let iface = self.iface(link);
        if let Some(seen) = Seen::read(frame) {
            self.wrong.note(&seen, self.now);
        }
        self.arrive(iface, frame);
    }

    /// A frame arrives at the router.
    pub(super) fn arrive(&mut self, iface: IfaceId, frame: &[u8]) {
        let mut wires = self.wires.borrow_mut();
        let wire = &mut wires[iface.index()];
        if !wire.down && !wire.silent {
            let queue = self.queue.min(wire.to_router.len() - 1);
            if frame.len() > VecBuf::DATAROOM {
                wire.refused[queue] += 1;
            } else {
                wire.to_router[queue].push_back(VecBuf::new(frame));
            }
        }
    }

    /// Sends a frame to the router and gives what comes out on every link, in order. Forwarded packets are held against X-4.
    pub fn send_raw(&mut self, link: &str, frame: &[u8]) -> Vec<(String, Vec<u8>)> {
        let came = Seen::read(frame);
        let digests: Vec<u64> = self.lcores.iter().map(|l| l.router.nat.digest()).collect();
        let before = self.counters();
        self.put_raw(link, frame);
        self.settle();
        let after = self.counters();
        let refused = |name: &str| count(&after, name) > count(&before, name);
        // What has expired may be cleared away by the packet that finds it.
        let outside = self.view().ifaces[self.iface(link).index()].wan.is_some();
        let nothing_due = outside && !refused("sessions_expired");
        if nothing_due
            && ["drop_nat_no_mapping", "drop_nat_filtered", "drop_wan_left", "drop_icmp_error_no_session"]
                .into_iter()
                .any(refused)
        {
            let now: Vec<u64> = self.lcores.iter().map(|l| l.router.nat.digest()).collect();
            if now != digests {
                self.faults.push(format!("X-5: a refused packet changed the NAT: {came:?}"));
            }
        }
        let out = self.take_all();
        for (_, left) in &out {
            if let (Some(came), Some(left)) = (&came, Seen::read(left))
                && check::forwarded(came, &left)
                && let Some(fault) = check::unchanged(came, &left)
            {
                self.faults.push(fault);
            }
        }
        out
    }

    /// Sends a packet from the station that has its source address (a LAN host, or else the WAN's gateway) and gives
    /// the IPv4 packets that come out, with the link's name.
    pub fn send(&mut self, link: &str, packet: &Packet) -> Vec<(String, Seen)> {
        let frame = self.frame_of(link, packet);
        let out = self.send_raw(link, &frame);
        out.iter().filter_map(|(link, frame)| Some((link.clone(), Seen::read(frame)?))).collect()
    }

    /// As `send`, for packets of which exactly one must come out: `None` if it is none or several.
    pub fn pass(&mut self, link: &str, packet: &Packet) -> Option<(String, Seen)> {
        let mut out = self.send(link, packet);
        if out.len() == 1 { out.pop() } else { None }
    }

    /// The frame of a packet, as its station would send it.
    pub fn frame_of(&self, link: &str, packet: &Packet) -> Vec<u8> {
        let iface = self.iface(link);
        let wires = self.wires.borrow();
        let stations = &wires[iface.index()].stations;
        let src = stations.get(&packet.ip.src).or(stations.values().next()).copied().unwrap_or_default();
        packet.frame(src, self.view().ifaces[iface.index()].mac)
    }

    /// Takes what was sent on all links since the last time: each frame is checked.
    pub fn take_all(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let mut wires = self.wires.borrow_mut();
        for (i, wire) in wires.iter_mut().enumerate() {
            for frame in wire.sent.drain(..) {
                let was_right = Seen::read(&frame).is_none_or(|seen| self.wrong.was_right(&seen));
                if let Some(fault) = check::sent(self.lcores[0].view(), IfaceId(i as u8), &frame, was_right) {
                    self.faults.push(fault);
                }
                all.push((self.names[i].clone(), frame));
            }
        }
        self.wrong.forget(self.now);
        all
    }

    /// The counters of all workers.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for lcore in &self.lcores {
            for (a, b) in sum.values_mut().iter_mut().zip(lcore.router.counters.values()) {
                *a += b;
            }
        }
        sum
    }

    /// How far a counter has moved since the start.
    pub fn moved(&self, name: &str) -> u64 {
        count(&self.counters(), name) - count(&self.base, name)
    }

    /// Ends the test: no invariant was hurt, and exactly these counters moved besides those that always do.
    ///
    /// # Errors
    /// What was hurt, and which counters moved or did not.
    pub fn finish(mut self, moved: &[&str]) -> Result<(), String> {
        self.take_all();
        let now = self.counters();
        let mut faults = std::mem::take(&mut self.faults);
        faults.extend(self.lcores.iter().filter_map(|lcore| lcore.router.nat.audit().err()));
        let deltas: BTreeMap<&str, u64> =
            now.iter().zip(self.base.iter()).map(|((name, n), (_, base))| (name, n.abs_diff(base))).collect();
        for (name, delta) in deltas {
            let named = moved.contains(&name);
            if named && delta == 0 {
                faults.push(format!("{name} should have moved"));
            }
            if !named && delta != 0 && !ALWAYS.contains(&name) {
                faults.push(format!("{name} moved by {delta}"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }
}

fn count(counters: &Counters, name: &str) -> u64 {
    counters.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| n)
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site")
            .field("now", &self.now)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
