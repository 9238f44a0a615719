//! Management: what is decided, published and told. `Manager` is the loop's body, free of sockets and clocks, so that a
//! simulation runs the same one; `control` speaks on the socket from threads of its own.
//!
//! A step drains the workers' rings, hands what was seen to the WANs' state machines and the neighbours' book, and does
//! what comes out: probes, messages, events, and one new view for all that changed in it. A failover is one such step:
//! select, publish, and with each session's next packet rebind or reset; then announce. It never waits for anybody.
#![forbid(unsafe_code)]

mod announcing;
mod apart;
mod asking;
mod balance;
pub mod control;
pub mod copying;
mod events;
mod explain;
mod files;
pub mod groups;
mod hearing;
pub mod hooks;
mod host;
pub mod journal;
pub mod keeping;
mod kills;
mod layout;
mod leases;
pub mod log;
mod member;
mod neighbors;
mod overrides;
mod pace;
mod packet_text;
mod pair;
mod ports;
pub mod probes;
mod probing;
pub mod protocol;
pub mod reload;
mod report;
mod roles;
mod rules;
pub mod status_http;
mod talk;
mod tcp;
mod transaction;
pub mod views;
mod why;
pub mod writer;

use std::net::Ipv4Addr;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use rtrb::Consumer;
use serde_json::{Value, json};

use crate::base::{Generation, IfaceId, Nanos, WanId};
use crate::engine::{ManagerEnd, SessionRow};
use crate::packet::DropReason;
use crate::path::View;
use crate::profile::Profile;
use crate::wan::{self, Input, Wans};
use groups::Groups;
use hooks::Hooks;
use journal::Journal;
pub use layout::layout;
pub use member::Joining;
pub use neighbors::CAPACITY as NEIGHBORS;
pub use report::RowContext;

/// The book of neighbours is gone through this often.
const NEIGHBOR_TICK: Nanos = Nanos::from_ms(100);
/// What is odd about one address is told this often.
const ODD_EVERY: Nanos = Nanos::from_s(10);
/// So many odd addresses are told in that time.
const ODD_MOST: usize = 64;
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
    /// Since when, by its own clock.
    taken_at: Nanos,
    gauge: report::Gauge,
}

/// A change of selection that is not told yet: the workers have not all taken it.
#[derive(Debug)]
struct Announcement {
    selection: wan::Selection,
    generation: Generation,
    published: Nanos,
    /// Groups of the same WANs that do the same for the same reason
    others: Vec<u8>,
}

/// Who writes what the router has to tell, and how that goes.
#[derive(Debug)]
struct Writing {
    /// The kind of its events
    kind: &'static str,
    reports: Receiver<writer::Report>,
}

/// What a question gets.
#[derive(Debug)]
pub enum Answer {
    /// These, and no more.
    Items(Vec<Value>),
    /// These, then each that comes.
    Follow(Vec<Value>, Receiver<Value>),
    /// This, when the workers have said what they know.
    Later(Receiver<Value>),
    /// This, when the workers are through, however long that takes.
    Slowly(Receiver<Value>),
    /// The rows of every worker.
    Rows(Vec<Consumer<SessionRow>>, RowContext),
    /// The operator's word was taken, the so-manieth; these are the overrides to be kept over a restart.
    Taken(u64, Value),
    /// Refused, in one line.
    Refused(String),
}

/// The management of one router.
#[derive(Debug)]
pub struct Manager {
    name: String,
    profile: Profile,
    /// In the order of the interfaces
    ports_info: Vec<views::PortInfo>,
    /// A profile before this one that may come back
    unconfirmed: Option<reload::Unconfirmed>,
    started: Nanos,
    view: Arc<View>,
    wans: Wans,
    /// What `wans` goes by
    config: wan::Config,
    /// By `IfaceId`
    links: Vec<bool>,
    lanes: Vec<Lane>,
    neighbors: neighbors::Neighbors,
    paces: announcing::Paces,
    ports: ports::Ports,
    probed: probing::Probed,
    leases: leases::Leases,
    events: events::Events,
    announcements: Vec<Announcement>,
    neighbors_due: Nanos,
    gauges_due: Nanos,
    tcp: tcp::Window,
    odd_told: Vec<(IfaceId, Ipv4Addr, Nanos)>,
    /// For want of what flows were refused lately, and when that was told.
    refused: Vec<(DropReason, Nanos)>,
    groups: Groups,
    /// By `WanId`
    lines: Vec<probing::Line>,
    stories: why::Stories,
    writers: Vec<Writing>,
    journal: Option<Journal>,
    hooks: Option<Hooks>,
    host: Option<host::Hosting>,
    /// What time it is within a step; without one a step takes none
    clock: Option<fn() -> Nanos>,
    /// Overrides taken so far.
    orders: u64,
    /// Packets whose fate was asked for
    inquiries: u64,
    waiting: Vec<explain::Waiting>,
    kills: kills::Kills,
    member: Option<Box<member::Member>>,
}

impl Manager {
    /// The management of the workers at the other ends of `lanes` (by core), which have `view`: the first of the profile on these ports.
    pub fn new(
        profile: &Profile,
        ports: &[views::PortInfo],
        view: Arc<View>,
        lanes: Vec<(usize, ManagerEnd)>,
        now: Nanos,
    ) -> Manager {
        let lane = |(core, end)| Lane {
            core,
            end,
            behind: false,
            taken: Generation(0),
            taken_at: now,
            gauge: report::Gauge::default(),
        };
        let count = lanes.len();
        // `profile` refuses more than there may be.
        let groups = Groups::of(profile, &Groups::default()).unwrap_or_default();
        let config = views::config(profile, &groups);
        let mut manager = Manager {
            name: profile.name.clone(),
            profile: profile.clone(),
            ports_info: ports.to_vec(),
            unconfirmed: None,
            started: now,
            wans: Wans::new(config.clone(), now),
            config,
            links: vec![true; view.ifaces.len()],
            lanes: lanes.into_iter().map(lane).collect(),
            neighbors: neighbors::Neighbors::default(),
            paces: announcing::Paces::new(view.ifaces.len()),
            ports: ports::Ports::new(count, view.lent.clone()),
            probed: probing::Probed::default(),
            leases: leases::Leases::of(profile, ports, now),
            events: events::Events::default(),
            announcements: Vec::new(),
            neighbors_due: now,
            gauges_due: now,
            tcp: tcp::Window::default(),
            odd_told: Vec::new(),
            refused: Vec::new(),
            groups,
            lines: vec![probing::Line::default(); view.wans.len()],
            stories: why::Stories::default(),
            writers: Vec::new(),
            journal: None,
            hooks: None,
            host: None,
            clock: None,
            orders: 0,
            inquiries: 0,
            waiting: Vec::new(),
            kills: kills::Kills::default(),
            member: None,
            view,
        };
        manager.event(now, "start", json!({ "version": env!("CARGO_PKG_VERSION"), "workers": count }));
        for iface in 0..manager.links.len() {
            manager.announce_addresses(now, IfaceId(iface as u8));
        }
        manager
    }

    /// The link of a port has come or gone.
    pub fn link(&mut self, now: Nanos, iface: IfaceId, up: bool) {
        let Some(port) = self.view.ifaces.get(iface.index()) else { return };
        let wan = port.wan;
        let fields = json!({ "interface": port.name, "up": up });
        self.event(now, "link", fields);
        self.links[iface.index()] = up;
        self.member_link(iface, up);
        let generation = self.view.generation;
        if let Some(wan) = wan {
            self.input(now, Input::Link { wan, up });
            self.lease_link(now, wan, up);
        }
        // Unless that has just been part of a transaction.
        if self.view.generation == generation && self.view.ifaces[iface.index()].up != up {
            self.publish();
        }
        if up {
            // The other side may have forgotten us.
            self.announce_addresses(now, iface);
            self.neighbors(now, |book, may, out| book.link_up(now, iface, may, &mut |e| out.push(e)));
        }
    }

    /// One round: take in what the workers say, let time pass, do what follows.
    pub fn step(&mut self, now: Nanos) {
        for lane in 0..self.lanes.len() {
            // What is there now and no more: whoever keeps a ring full must not keep time from passing.
            for _ in 0..self.lanes[lane].end.from_worker.slots() {
                let Ok(message) = self.lanes[lane].end.from_worker.pop() else { break };
                self.message(lane, message, now);
            }
        }
        self.hear_frames(now);
        self.lease_tick(now);
        self.reports(now);
        self.host_reports(now);
        self.sense(now);
        if now >= self.wans.next_deadline() {
            self.input(now, Input::Tick);
        }
        if now >= self.neighbors_due {
            self.neighbors_due = now + NEIGHBOR_TICK;
            self.neighbors(now, |book, may, out| book.tick(now, may, &mut |e| out.push(e)));
            self.announce_next(now);
        }
        if now >= self.gauges_due {
            self.gauges_due = now + Nanos::from_s(1);
            for lane in &mut self.lanes {
                lane.gauge.sample(lane.end.shared.read().load);
            }
            self.tcp.sample(tcp::sum(self.lanes.iter().map(|lane| lane.end.shared.tcp())));
        }
        self.member_step(now);
        self.go_back(now);
        self.push_views();
        let lanes = &mut self.lanes;
        self.ports.step(now, &mut |worker, message| lanes[worker].end.to_worker.push(message));
        self.announce(now);
    }

    /// A writer says here how it fares; its events are of this kind.
    pub fn hear_writer(&mut self, kind: &'static str, reports: Receiver<writer::Report>) {
        self.writers.push(Writing { kind, reports });
    }

    /// What the WANs' machines are told goes into this journal from now on.
    pub fn keep_journal(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// These hear of events from now on.
    pub fn call_hooks(&mut self, hooks: Hooks) {
        self.hooks = Some(hooks);
    }

    /// How long the steps of a decision take is read off this clock, that of `now`.
    pub fn read_clock(&mut self, clock: fn() -> Nanos) {
        self.clock = Some(clock);
    }

    /// Something has happened: it is remembered, and told to whoever wants to hear of it.
    fn event(&mut self, at: Nanos, kind: &str, fields: Value) {
        self.events.add(at, kind, fields);
        if let (Some(hooks), Some(event)) = (&self.hooks, self.events.last()) {
            hooks.tell(event);
        }
    }

    fn group_names(&self) -> Vec<String> {
        self.groups.list().iter().map(|group| group.name.clone()).collect()
    }

    fn wan_name(&self, wan: WanId) -> &str {
        self.view.wans.get(wan.index()).map_or("?", |w| &self.view.ifaces[w.iface.index()].name)
    }

    fn wan_names(&self) -> Vec<String> {
        (0..self.view.wans.len()).map(|w| self.wan_name(WanId(w as u8)).to_string()).collect()
    }

    /// Whether every WAN has been judged and every worker has the view: `ready`.
    pub fn settled(&self) -> bool {
        let judged = |s: &wan::WanStatus| s.state != wan::State::Probing && s.reason != wan::Reason::NoLease;
        let known = self.wans.iter().all(|(_, s)| judged(s) || s.link == Some(false));
        known && self.lanes.iter().all(|lane| lane.taken >= self.view.generation)
    }
}
