//! What a worker shows of itself: numbers that it alone writes, some thousand times a second, and anybody may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Latency;
use crate::nat::TcpGauge;
use crate::packet::{COUNTERS, Counters};
use crate::path::Traffic;

/// How much a worker has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Time with packets
    pub busy_ns: u64,
    /// Time in all
    pub total_ns: u64,
    /// Cycles of turns with packets; 0 where cycles are not counted
    pub busy_cycles: u64,
    /// Packets in those turns
    pub packets: u64,
}

/// The numbers of one worker.
#[derive(Debug)]
pub struct Shared {
    counters: Vec<AtomicU64>,
    traffic: Vec<[AtomicU64; 4]>,
    per_wan: Vec<AtomicU64>,
    per_tie: Vec<AtomicU64>,
    tcp: Vec<[AtomicU64; 6]>,
    live: AtomicU64,
    capacity: AtomicU64,
    load: [AtomicU64; 4],
    /// From receive to send; written as it happens
    pub latency: Latency,
}

/// A copy of them, or the sum over workers.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counters
    pub counters: Counters,
    /// By interface
    pub traffic: Vec<Traffic>,
    /// Sessions by WAN
    pub per_wan: Vec<u64>,
    /// Sessions by group and WAN (`Nat::per_tie`)
    pub per_tie: Vec<u64>,
    /// TCP by WAN
    pub tcp: Vec<TcpGauge>,
    /// Sessions
    pub live: u64,
    /// Room for sessions
    pub capacity: u64,
    /// Load
    pub load: Load,
}

/// Groups there may be, and none.
const GROUPS: usize = 65;

fn zeros(n: usize) -> Vec<AtomicU64> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

impl Shared {
    /// All zero.
    pub fn new(interfaces: usize, wans: usize) -> Shared {
        Shared {
            counters: zeros(COUNTERS),
            traffic: (0..interfaces).map(|_| Default::default()).collect(),
            per_wan: zeros(wans),
            per_tie: zeros(GROUPS * wans),
            tcp: (0..wans).map(|_| Default::default()).collect(),
            live: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            load: Default::default(),
            latency: Latency::new(),
        }
    }

    /// Shows the state of a worker. Only its own thread calls this.
    pub fn show(&self, counters: &Counters, traffic: &[Traffic], per_wan: &[u64], live: u64, capacity: u64) {
        for (shown, value) in self.counters.iter().zip(counters.values()) {
            shown.store(*value, Relaxed);
        }
        for (shown, t) in self.traffic.iter().zip(traffic) {
            for (cell, value) in shown.iter().zip([t.rx_packets, t.rx_bytes, t.tx_packets, t.tx_bytes]) {
                cell.store(value, Relaxed);
            }
        }
        for (shown, value) in self.per_wan.iter().zip(per_wan) {
            shown.store(*value, Relaxed);
        }
        self.live.store(live, Relaxed);
        self.capacity.store(capacity, Relaxed);
    }

    /// Shows its sessions by group and WAN, from the first group on, and its WANs' TCP. Only its own thread calls this.
    pub fn show_wans(&self, per_tie: &[u64], tcp: &[TcpGauge]) {
        for (shown, value) in self.per_tie.iter().zip(per_tie) {
            shown.store(*value, Relaxed);
        }
        for (shown, t) in self.tcp.iter().zip(tcp) {
            let values = [t.syns, t.unanswered, t.trips, t.trips_us, t.segments, t.resent];
            for (cell, value) in shown.iter().zip(values) {
                cell.store(value, Relaxed);
            }
        }
    }

    /// A WAN's TCP, since the start.
    pub fn tcp(&self) -> Vec<TcpGauge> {
        let gauge = |cells: &[AtomicU64; 6]| {
            let [syns, unanswered, trips, trips_us, segments, resent] =
                cells.each_ref().map(|cell| cell.load(Relaxed));
            TcpGauge { syns, unanswered, trips, trips_us, segments, resent }
        };
        self.tcp.iter().map(gauge).collect()
    }

    /// Shows the load of a worker. Only its own thread calls this.
    pub fn show_load(&self, load: Load) {
        let values = [load.busy_ns, load.total_ns, load.busy_cycles, load.packets];
        for (cell, value) in self.load.iter().zip(values) {
            cell.store(value, Relaxed);
        }
    }

    /// Packets that an interface has received and sent.
    pub fn packets(&self, iface: usize) -> [u64; 2] {
        let of = |cell: usize| self.traffic.get(iface).map_or(0, |cells| cells[cell].load(Relaxed));
        [of(0), of(2)]
    }

    /// A copy.
    pub fn read(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (value, shown) in snapshot.counters.values_mut().iter_mut().zip(&self.counters) {
            *value = shown.load(Relaxed);
        }
        let traffic = |t: &[AtomicU64; 4]| Traffic {
            rx_packets: t[0].load(Relaxed),
            rx_bytes: t[1].load(Relaxed),
            tx_packets: t[2].load(Relaxed),
            tx_bytes: t[3].load(Relaxed),
        };
        snapshot.traffic = self.traffic.iter().map(traffic).collect();
        snapshot.per_wan = self.per_wan.iter().map(|n| n.load(Relaxed)).collect();
        snapshot.per_tie = self.per_tie.iter().map(|n| n.load(Relaxed)).collect();
        snapshot.tcp = self.tcp();
        snapshot.live = self.live.load(Relaxed);
        snapshot.capacity = self.capacity.load(Relaxed);
        let [busy_ns, total_ns, busy_cycles, packets] =
            [0, 1, 2, 3].map(|i: usize| self.load[i].load(Relaxed));
        snapshot.load = Load { busy_ns, total_ns, busy_cycles, packets };
        snapshot
    }
}

impl Snapshot {
    /// Adds another worker's numbers.
    pub fn add(&mut self, other: &Snapshot) {
        for (sum, n) in self.counters.values_mut().iter_mut().zip(other.counters.values()) {
            *sum += n;
        }
        self.traffic.resize(self.traffic.len().max(other.traffic.len()), Traffic::default());
        for (sum, t) in self.traffic.iter_mut().zip(&other.traffic) {
            sum.rx_packets += t.rx_packets;
            sum.rx_bytes += t.rx_bytes;
            sum.tx_packets += t.tx_packets;
            sum.tx_bytes += t.tx_bytes;
        }
        self.per_wan.resize(self.per_wan.len().max(other.per_wan.len()), 0);
        for (sum, n) in self.per_wan.iter_mut().zip(&other.per_wan) {
            *sum += n;
        }
        self.per_tie.resize(self.per_tie.len().max(other.per_tie.len()), 0);
        for (sum, n) in self.per_tie.iter_mut().zip(&other.per_tie) {
            *sum += n;
        }
        self.tcp.resize(self.tcp.len().max(other.tcp.len()), TcpGauge::default());
        for (sum, n) in self.tcp.iter_mut().zip(&other.tcp) {
            *sum = sum.plus(n);
        }
        self.live += other.live;
        self.capacity += other.capacity;
    }
}
