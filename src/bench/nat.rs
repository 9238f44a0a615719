//! `turnout bench nat`: N live sessions, packets of them in any order, cycles from receive to send.

use std::sync::{Arc, Barrier};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::traffic::{Arrays, GATEWAY, LAN, PEER_MAC, WAN, flows, order, view};
use crate::base::{Nanos, WorkerId};
use crate::dpdk::{Eal, EalConfig, Mbuf, Pool, tsc, tsc_hz};
use crate::engine::steer::Steer;
use crate::engine::{BURST, HandOver, Lcore, ManagerEnd, connect, hand_overs};
use crate::nat::{Nat, NatConfig, Timeouts};
use crate::packet::PacketBuf;
use crate::path::Router;
use crate::table::hash::HashKey;
use crate::table::neighbors::Neighbors;
use crate::wire::be16;
use crate::worker::now;

/// Which way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// LAN to WAN
    Up,
    /// WAN to LAN
    Down,
    /// Burst by burst in turn
    Both,
}

/// In which order the packets take the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By chance
    Shuffled,
    /// As they were made
    Created,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct NatOptions {
    /// Live sessions, over all workers
    pub sessions: u32,
    /// Workers, a core each
    pub workers: usize,
    /// Which way
    pub direction: Direction,
    /// In which order
    pub order: Order,
    /// Bytes of a frame without its check sequence, 60 to 1514
    pub bytes: usize,
    /// Packets in a burst, 1 to 32
    pub burst: usize,
    /// Packets to measure, each worker
    pub packets: u64,
}

/// What was measured.
#[derive(Debug)]
pub struct Row {
    options: NatOptions,
    endpoints: u32,
    packets: u64,
    cycles: Histogram<u64>,
    mean: f64,
    setup_cycles: f64,
    tsc_hz: u64,
}

impl Row {
    /// As JSON, one object.
    pub fn json(&self) -> Value {
        let o = &self.options;
        let round = |x: f64| (x * 10.0).round() / 10.0;
        json!({
            "sessions": o.sessions,
            "endpoints": self.endpoints,
            "workers": o.workers,
            "packet_bytes": o.bytes,
            "burst": o.burst,
            "direction": match o.direction { Direction::Up => "up", Direction::Down => "down", Direction::Both => "both" },
            "order": match o.order { Order::Shuffled => "shuffled", Order::Created => "created" },
            "packets": self.packets,
            "mpps": round(self.tsc_hz as f64 / self.mean / 1e6 * o.workers as f64),
            "cycles_per_packet": {
                "mean": round(self.mean),
                "p50": self.cycles.value_at_quantile(0.5),
                "p99": self.cycles.value_at_quantile(0.99),
            },
            "tsc_hz": self.tsc_hz,
            "setup_per_second": (self.tsc_hz as f64 / self.setup_cycles) as u64,
        })
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn nat(options: &NatOptions) -> Result<Row, Failure> {
    if options.burst == 0 || options.burst > BURST {
        return Err(format!("a burst has 1 to {BURST} packets").into());
    }
    if !(60..=1514).contains(&options.bytes) {
        return Err("a frame has 60 to 1514 bytes".into());
    }
    let allowed: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|c| c.id).collect();
    if options.workers == 0 || options.workers > allowed.len() {
        return Err(format!("this machine has {} cores to measure on", allowed.len()).into());
    }
    // The manager's core comes first; it does nothing here but wait.
    let cores: Vec<usize> = allowed.iter().rev().take(options.workers).copied().collect();
    let config = EalConfig { manager_core: allowed[0], worker_cores: cores.clone(), ..EalConfig::default() };
    let eal = Eal::start(&config)?;
    let pool = Pool::new(&eal, "bench", 8192, Pool::DATA_ROOM)?;
    let barrier = Arc::new(Barrier::new(options.workers));
    let mut threads = Vec::new();
    for (w, hand_over) in hand_overs::<Mbuf>(options.workers).into_iter().enumerate() {
        let (options, core, eal, pool, barrier) =
            (*options, cores[w], eal.share(), pool.clone(), barrier.clone());
        threads.push(std::thread::spawn(move || -> Result<Measured, Failure> {
            let _registered = eal.register_worker(core)?;
            Lane::new(&options, WorkerId(w as u8), hand_over, pool)?.measure(&options, &barrier)
        }));
    }
    let mut cycles: Histogram<u64> = Histogram::new(3)?;
    let (mut mean, mut setup_cycles, mut packets, mut endpoints) = (0.0, 0.0, 0, 0);
    for thread in threads {
        let one = thread.join().map_err(|_| "a worker has panicked")??;
        cycles.add(&one.cycles)?;
        mean += one.total_cycles as f64 / one.packets as f64 / options.workers as f64;
        // Workers set up side by side: their rates add up.
        setup_cycles += one.setup_cycles / (options.workers * options.workers) as f64;
        packets += one.packets;
        endpoints += one.endpoints;
    }
    let options = *options;
    Ok(Row { options, endpoints, packets, cycles, mean, setup_cycles, tsc_hz: tsc_hz(&eal) })
}

struct Measured {
    cycles: Histogram<u64>,
    total_cycles: u64,
    packets: u64,
    setup_cycles: f64,
    endpoints: u32,
}

/// One worker of the measurement.
pub(super) struct Lane {
    pub(super) lcore: Lcore<Mbuf>,
    pub(super) ports: Arrays,
    pub(super) flows: Vec<super::traffic::Flow>,
    endpoints: u32,
    /// Kept, so that the rings have another end.
    _manager: ManagerEnd,
}

impl Lane {
    pub(super) fn new(
        o: &NatOptions,
        id: WorkerId,
        hand_over: HandOver<Mbuf>,
        pool: Pool,
    ) -> Result<Lane, Failure> {
        let steer = Steer::new(o.workers);
        let share = o.sessions / o.workers as u32 + u32::from(id.index() < o.sessions as usize % o.workers);
        let (flows, endpoints) = flows(share.max(1), steer, id);
        let view = view().ok_or("the view of the measurement is wrong")?;
        let s = Nanos::from_s;
        let timeouts = Timeouts::new(s(7440), s(240), s(3600), &[], s(60));
        let config = NatConfig { sessions: share.max(1), timeouts, wans: 1, seed: rand::random() };
        let nat = Nat::new(&config, &|port: u16| steer.port(port) == id);
        let hosts = flows.len() as u32 + 16;
        let neighbors = Neighbors::new(hosts, HashKey::draw(&mut rand::rng()));
        let router = Router::new(nat, neighbors, 2, &view.icmp);
        let (manager, end) = connect(2, 1);
        let mut lcore = Lcore::new(id, steer, view.clone(), router, end, hand_over);
        lcore.router.learn(&view, WAN, GATEWAY, PEER_MAC);
        for flow in &flows {
            lcore.router.learn(&view, LAN, flow.host, PEER_MAC);
        }
        Ok(Lane { lcore, ports: Arrays::new(pool, o.bytes), flows, endpoints, _manager: manager })
    }

    /// One burst of these flows; gives its cycles.
    pub(super) fn burst(&mut self, flows: &[u32], from: crate::base::IfaceId) -> Result<u64, Failure> {
        for flow in flows {
            if !self.ports.put(from, &self.flows[*flow as usize]) {
                return Err("the pool of mbufs is empty".into());
            }
        }
        let start = tsc();
        self.lcore.turn(&mut self.ports, now());
        let cycles = tsc().wrapping_sub(start);
        let to = if from == LAN { WAN } else { LAN };
        let sent = self.ports.sent[to.index()].len();
        if sent != flows.len() {
            return Err(format!(
                "{sent} of {} packets came out: {:?}",
                flows.len(),
                self.lcore.router.counters
            )
            .into());
        }
        Ok(cycles)
    }

    /// Sets up, waits for the others, measures, waits again: no worker is measured without its neighbours. One that fails
    /// keeps the others waiting no longer than one that does not.
    fn measure(mut self, o: &NatOptions, barrier: &Barrier) -> Result<Measured, Failure> {
        let setup = self.set_up(o);
        barrier.wait();
        let measured = setup.and_then(|setup_cycles| self.run(o, setup_cycles));
        barrier.wait();
        measured
    }

    /// Opens every flow; gives the cycles of one.
    pub(super) fn set_up(&mut self, o: &NatOptions) -> Result<f64, Failure> {
        let created = order(self.flows.len(), false);
        let mut cycles = 0;
        for burst in created.chunks(o.burst) {
            cycles += self.burst(burst, LAN)?;
            for (flow, buf) in burst.iter().zip(&self.ports.sent[WAN.index()]) {
                self.flows[*flow as usize].outside_port = be16(buf.bytes(), 34);
            }
            self.ports.recycle();
        }
        Ok(cycles as f64 / self.flows.len() as f64)
    }

    fn run(&mut self, o: &NatOptions, setup_cycles: f64) -> Result<Measured, Failure> {
        let order = order(self.flows.len(), o.order == Order::Shuffled);
        let mut cycles: Histogram<u64> = Histogram::new(3)?;
        let (mut total, mut packets, mut turn) = (0u64, 0u64, 0u64);
        // A round to warm up, not counted.
        let warm = (order.len() as u64).min(o.packets / 4).max(1000);
        while packets < o.packets + warm {
            for burst in order.chunks(o.burst) {
                let from = match o.direction {
                    Direction::Up => LAN,
                    Direction::Down => WAN,
                    Direction::Both if turn.is_multiple_of(2) => LAN,
                    Direction::Both => WAN,
                };
                turn += 1;
                let spent = self.burst(burst, from)?;
                self.ports.recycle();
                packets += burst.len() as u64;
                if packets > warm {
                    total += spent;
                    cycles.record(spent / burst.len() as u64)?;
                }
                if packets >= o.packets + warm {
                    break;
                }
            }
        }
        let (packets, endpoints) = (packets - warm, self.endpoints);
        Ok(Measured { cycles, total_cycles: total, packets, setup_cycles, endpoints })
    }
}
