//! Management: what is decided, published and told. `Manager` is the loop's body, free of sockets and clocks, so that a
//! simulation runs the same one; `control` speaks on the socket from threads of its own.
//!
//! A step drains the workers' rings, hands what was seen to the WANs' state machines and the neighbours' book, and does
//! what comes out: probes, messages, events, and one new view for all that changed in it. A failover is one such step:
//! select, publish, and with each session's next packet rebind or reset; then announce. It never waits for anybody.
#![forbid(unsafe_code)]

pub mod control;
mod events;
mod neighbors;
pub mod protocol;
mod report;
pub mod views;

use std::net::Ipv4Addr;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use rtrb::{Consumer, RingBuffer};
use serde_json::{Value, json};

use crate::base::{Generation, IfaceId, Mac, Nanos, WanId};
use crate::engine::{ManagerEnd, SessionRow, ToManager, ToWorker};
use crate::path::{Notice, View};
use crate::profile::Profile;
use crate::wan::{self, Effect, Input, Kind, Selection, Wans};
use crate::wire::arp::Arp;
pub use neighbors::CAPACITY as NEIGHBORS;
pub use report::RowContext;

/// The book of neighbours is gone through this often.
const NEIGHBOR_TICK: Nanos = Nanos::from_ms(100);
/// One station's claims to one of our addresses are told this often.
const CONFLICT_EVERY: Nanos = Nanos::from_s(10);
/// Rows of a listing that wait for their reader, a worker.
const ROWS: usize = 4096;

/// A worker, as the manager knows it.
#[derive(Debug)]
struct Lane {
    core: usize,
    end: ManagerEnd,
    /// The newest view did not fit into the ring yet.
    behind: bool,
    /// The view it works by.
    taken: Generation,
    gauge: report::Gauge,
}

/// A change of selection that is not told yet: the workers have not all taken it.
#[derive(Debug)]
struct Announcement {
    selection: Selection,
    generation: Generation,
    published: Nanos,
}

/// What a question gets.
#[derive(Debug)]
pub enum Answer {
    /// These, and no more.
    Items(Vec<Value>),
    /// These, then each that comes.
    Follow(Vec<Value>, Receiver<Value>),
    /// The rows of every worker.
    Rows(Vec<Consumer<SessionRow>>, RowContext),
    /// The operator's word was taken; these are the overrides to be kept over a restart.
    Taken(Value),
    /// Refused, in one line.
    Refused(String),
}

/// The management of one router.
#[derive(Debug)]
pub struct Manager {
    name: String,
    started: Nanos,
    view: Arc<View>,
    wans: Wans,
    /// By `IfaceId`
    links: Vec<bool>,
    lanes: Vec<Lane>,
    neighbors: neighbors::Neighbors,
    events: events::Events,
    announcements: Vec<Announcement>,
    neighbors_due: Nanos,
    gauges_due: Nanos,
    conflict_told: Vec<(IfaceId, Ipv4Addr, Nanos)>,
}

impl Manager {
    /// The management of the workers at the other ends of `lanes` (by core), which have `view`.
    pub fn new(profile: &Profile, view: Arc<View>, lanes: Vec<(usize, ManagerEnd)>, now: Nanos) -> Manager {
        let lane = |(core, end)| Lane {
            core,
            end,
            behind: false,
            taken: Generation(0),
            gauge: report::Gauge::default(),
        };
        let mut manager = Manager {
            name: profile.name.clone(),
            started: now,
            wans: Wans::new(views::health(profile), now),
            links: vec![true; view.ifaces.len()],
            lanes: lanes.into_iter().map(lane).collect(),
            neighbors: neighbors::Neighbors::default(),
            events: events::Events::default(),
            announcements: Vec::new(),
            neighbors_due: now,
            gauges_due: now,
            conflict_told: Vec::new(),
            view,
        };
        let count = manager.lanes.len();
        manager.events.add(now, "start", json!({ "version": env!("CARGO_PKG_VERSION"), "workers": count }));
        manager.announce_addresses();
        manager
    }

    /// Tells every link where the router's addresses are (RFC 5227 2.3).
    fn announce_addresses(&mut self) {
        let view = self.view.clone();
        for (i, iface) in view.ifaces.iter().enumerate() {
            for address in &iface.addresses {
                self.send(IfaceId(i as u8), Arp::announcement(iface.mac, address.addr), None);
            }
        }
    }

    /// The link of a port has come or gone.
    pub fn link(&mut self, now: Nanos, iface: IfaceId, up: bool) {
        let Some(port) = self.view.ifaces.get(iface.index()) else { return };
        let (wan, mac, addresses) = (port.wan, port.mac, port.addresses.clone());
        self.events.add(now, "link", json!({ "interface": port.name, "up": up }));
        self.links[iface.index()] = up;
        let generation = self.view.generation;
        if let Some(wan) = wan {
            self.input(now, Input::Link { wan, up });
        }
        // Unless that has just been part of a transaction.
        if self.view.generation == generation && self.view.ifaces[iface.index()].up != up {
            self.publish();
        }
        if up {
            // The other side may have forgotten us.
            for address in addresses {
                self.send(iface, Arp::announcement(mac, address.addr), None);
            }
        }
    }

    /// One round: take in what the workers say, let time pass, do what follows.
    pub fn step(&mut self, now: Nanos) {
        for lane in 0..self.lanes.len() {
            while let Ok(message) = self.lanes[lane].end.from_worker.pop() {
                self.message(lane, message, now);
            }
        }
        self.input(now, Input::Tick);
        if now >= self.neighbors_due {
            self.neighbors_due = now + NEIGHBOR_TICK;
            self.neighbors(now, |book, out| book.tick(now, &mut |e| out.push(e)));
        }
        if now >= self.gauges_due {
            self.gauges_due = now + Nanos::from_s(1);
            for lane in &mut self.lanes {
                lane.gauge.sample(lane.end.shared.read().load);
            }
        }
        self.push_views();
        self.announce(now);
    }

    fn message(&mut self, lane: usize, message: ToManager, now: Nanos) {
        match message {
            ToManager::Notice(Notice::Resolve { iface, ip }) => {
                self.neighbors(now, |book, out| book.resolve(now, iface, ip, &mut |e| out.push(e)));
            }
            ToManager::Notice(Notice::Heard { iface, ip, mac, reply, at }) => {
                self.neighbors(now, |book, out| book.heard(now, iface, ip, mac, &mut |e| out.push(e)));
                let probed = self.view.wans.iter().position(|w| w.iface == iface && w.gateway == ip);
                if let Some(wan) = probed.filter(|_| reply) {
                    self.input(now, Input::ProbeReply { wan: WanId(wan as u8), at });
                }
            }
            ToManager::Notice(Notice::Conflict { iface, ip, mac }) => self.conflict(now, iface, ip, mac),
            ToManager::ProbeSent { wan, at } => {
                self.input(now, Input::ProbeSent { wan, at });
            }
            ToManager::Taken { generation, old, .. } => {
                self.lanes[lane].taken = generation;
                drop(old);
            }
            // Freed here, not by the worker.
            ToManager::Listed(rows) => drop(rows),
        }
    }

    fn conflict(&mut self, now: Nanos, iface: IfaceId, ip: Ipv4Addr, mac: Mac) {
        self.conflict_told.retain(|(_, _, at)| now.since(*at) < CONFLICT_EVERY);
        if self.conflict_told.iter().any(|(i, a, _)| *i == iface && *a == ip) {
            return;
        }
        self.conflict_told.push((iface, ip, now));
        let name = &self.view.ifaces[iface.index()].name;
        let fields = json!({ "interface": name, "address": ip, "mac": mac.to_string(), "state": "conflict" });
        self.events.add(now, "neighbor", fields);
    }

    /// Lets the book take something in, and does what follows.
    fn neighbors(
        &mut self,
        now: Nanos,
        what: impl FnOnce(&mut neighbors::Neighbors, &mut Vec<neighbors::Effect>),
    ) {
        let mut effects = Vec::new();
        what(&mut self.neighbors, &mut effects);
        for effect in effects {
            match effect {
                neighbors::Effect::Request(iface, ip, to) => {
                    let port = &self.view.ifaces[iface.index()];
                    let request = Arp::request(port.mac, self.view.source(iface, ip), ip, to);
                    self.send(iface, request, None);
                }
                neighbors::Effect::Learn(iface, ip, mac) => {
                    self.tell_all(|| ToWorker::Learn { iface, ip, mac });
                }
                neighbors::Effect::Stale(iface, ip) => self.tell_all(|| ToWorker::Stale { iface, ip }),
                neighbors::Effect::GiveUp(iface, ip) => self.tell_all(|| ToWorker::GiveUp { iface, ip }),
                neighbors::Effect::Moved(iface, ip, from, to) => {
                    let name = &self.view.ifaces[iface.index()].name;
                    let fields = json!({
                        "interface": name, "address": ip, "state": "moved",
                        "from": from.to_string(), "mac": to.to_string(),
                    });
                    self.events.add(now, "neighbor", fields);
                }
            }
        }
    }

    /// Hands an input to the WANs' state machines and does what follows, in one transaction.
    fn input(&mut self, now: Nanos, input: Input) -> Option<wan::Refused> {
        let mut effects = Vec::new();
        let refused = self.wans.step(now, input, &mut |effect| effects.push(effect)).err();
        if effects.is_empty() {
            return refused;
        }
        let publish = effects.iter().any(|e| !matches!(e, Effect::Probe { .. } | Effect::Link { .. }));
        if publish {
            self.publish();
        }
        for effect in effects {
            self.effect(now, effect);
        }
        refused
    }

    fn effect(&mut self, now: Nanos, effect: Effect) {
        match effect {
            Effect::Probe { wan } => self.probe(wan),
            Effect::Link { .. } | Effect::Standing(_) => {}
            Effect::Admin { wan, from, to } => {
                let fields = json!({ "wan": self.wan_name(wan), "from": from, "to": to });
                self.events.add(now, "admin", fields);
            }
            Effect::State(change) => {
                let fields = json!({
                    "wan": self.wan_name(change.wan), "from": change.from, "to": change.to,
                    "reason": change.reason.to_string(),
                });
                self.events.add(now, "wan_state", fields);
            }
            Effect::Selected(selection) => {
                let generation = self.view.generation;
                self.announcements.push(Announcement { selection, generation, published: now });
            }
        }
    }

    fn probe(&mut self, wan: WanId) {
        let link = self.view.wans[wan.index()];
        let mac = self.view.ifaces[link.iface.index()].mac;
        // After a miss everybody is asked: the gateway may have another MAC by now.
        let known = self.neighbors.mac(link.iface, link.gateway).filter(|_| self.wans.get(wan).misses == 0);
        let request = Arp::request(mac, self.view.uplinks.wans[wan.index()].address, link.gateway, known);
        self.send(link.iface, request, Some(wan));
    }

    fn publish(&mut self) {
        self.view = Arc::new(views::next(&self.view, &self.wans, &self.links));
        self.lanes.iter_mut().for_each(|lane| lane.behind = true);
        self.push_views();
    }

    fn push_views(&mut self) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.behind) {
            lane.behind = lane.end.to_worker.push(ToWorker::View(self.view.clone())).is_err();
        }
    }

    /// Tells the changes that every worker has taken.
    fn announce(&mut self, now: Nanos) {
        let taken = self.lanes.iter().map(|lane| lane.taken).min().unwrap_or_default();
        let due = |a: &Announcement| taken >= a.generation || now.since(a.published) >= views::CONFIRM;
        let (ready, waiting) = std::mem::take(&mut self.announcements).into_iter().partition(due);
        self.announcements = waiting;
        let ready: Vec<Announcement> = ready;
        for Announcement { selection, generation, published } in ready {
            let kind = match selection.kind {
                Kind::Failback => "failback",
                Kind::Failover => "failover",
                Kind::Lost => "wan_none",
                Kind::Initial | Kind::Resumed | Kind::Handover => "selection",
            };
            let name = |wan: Option<WanId>| wan.map(|w| self.wan_name(w).to_string());
            let fields = json!({
                "from": name(selection.from), "to": name(selection.to), "cause": selection.cause.to_string(),
                "detected_ns": selection.detected.0, "published_ns": published.0,
                "applied_ns": (taken >= generation).then_some(now.0),
                "last_ok_ns": selection.last_ok.map(|at| at.0), "generation": generation.0,
            });
            self.events.add(now, kind, fields);
        }
    }

    fn send(&mut self, iface: IfaceId, frame: [u8; crate::engine::PROBE_LEN], probe: Option<WanId>) {
        // Should the ring be full, the frame is lost like one on the wire.
        if let Some(lane) = self.lanes.first_mut() {
            let _ = lane.end.to_worker.push(ToWorker::Send { iface, frame, probe });
        }
    }

    fn tell_all(&mut self, message: impl Fn() -> ToWorker) {
        for lane in &mut self.lanes {
            // A worker that missed it asks again.
            let _ = lane.end.to_worker.push(message());
        }
    }

    fn wan_name(&self, wan: WanId) -> &str {
        self.view.wans.get(wan.index()).map_or("?", |w| &self.view.ifaces[w.iface.index()].name)
    }

    /// Whether every WAN has been judged and every worker has the view: `ready`.
    pub fn settled(&self) -> bool {
        let known = self.wans.iter().all(|(_, s)| s.state != wan::State::Probing || s.link == Some(false));
        known && self.lanes.iter().all(|lane| lane.taken >= self.view.generation)
    }

    /// Answers a question.
    pub fn ask(&mut self, request: protocol::Request, now: Nanos) -> Answer {
        use protocol::Request;
        match request {
            Request::Status => Answer::Items(vec![self.status(now)]),
            Request::Wans => Answer::Items(vec![self.wans_json(now)]),
            Request::Neighbors => Answer::Items(vec![self.neighbors_json(now)]),
            Request::Counters => Answer::Items(vec![self.counters_json()]),
            Request::Events { follow: false } => Answer::Items(self.events.past()),
            Request::Events { follow: true } => {
                let (past, next) = self.events.follow();
                Answer::Follow(past, next)
            }
            Request::Sessions(_) => self.list(now),
            Request::Wan { name, admin, force } => self.operator(&name, admin, force, now),
        }
    }

    fn list(&mut self, now: Nanos) -> Answer {
        let mut rows = Vec::new();
        for lane in &mut self.lanes {
            let (to, from) = RingBuffer::new(ROWS);
            if lane.end.to_worker.push(ToWorker::List(to)).is_err() {
                return Answer::Refused("a worker is too busy to list its sessions; try again".into());
            }
            rows.push(from);
        }
        let wan_names =
            (0..self.view.wans.len()).map(|w| self.wan_name(WanId(w as u8)).to_string()).collect();
        Answer::Rows(rows, RowContext { wan_names, now })
    }

    fn operator(&mut self, name: &str, admin: protocol::Admin, force: bool, now: Nanos) -> Answer {
        let names: Vec<String> =
            (0..self.view.wans.len()).map(|w| self.wan_name(WanId(w as u8)).to_string()).collect();
        let Some(wan) = names.iter().position(|n| n == name) else {
            return Answer::Refused(format!("no WAN is called {name}; there are {}", names.join(", ")));
        };
        let admin = match admin {
            protocol::Admin::Auto => wan::Admin::Auto,
            protocol::Admin::Down => wan::Admin::Down,
            protocol::Admin::Drain => wan::Admin::Drain,
        };
        if let Some(refused) = self.input(now, Input::Admin { wan: WanId(wan as u8), admin, force }) {
            return Answer::Refused(format!("{name}: {refused}"));
        }
        let overrides = self.wans.iter().zip(&names).filter(|((_, s), _)| s.admin != wan::Admin::Auto);
        Answer::Taken(Value::Object(overrides.map(|((_, s), name)| (name.clone(), json!(s.admin))).collect()))
    }

    /// Takes up the overrides of an earlier run: an object of WAN names, as `Answer::Taken` gave it.
    pub fn restore(&mut self, overrides: &Value, now: Nanos) {
        for (name, admin) in overrides.as_object().into_iter().flatten() {
            let admin = match admin.as_str() {
                Some("down") => protocol::Admin::Down,
                Some("drain") => protocol::Admin::Drain,
                _ => continue,
            };
            self.operator(name, admin, true, now);
        }
    }
}
