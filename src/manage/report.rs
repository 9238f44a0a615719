//! The answers as JSON, in the shapes that scripts rely on.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::{Lane, Manager};
use crate::base::{Nanos, WanId};
use crate::engine::{Latencies, SessionRow, Snapshot};
use crate::nat::session::{INSIDE, OUTSIDE};
use crate::nat::timeouts::tick;
use crate::wan::{self, Standing, TargetStatus, WanStatus};
use crate::wire::protocol;

/// Busy time and packets of a worker over the last second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    last: crate::engine::Load,
    pub(super) busy_percent: Option<u64>,
    pub(super) cycles_per_packet: Option<u64>,
}

impl Gauge {
    /// Takes a sample; call it once a second.
    pub(super) fn sample(&mut self, load: crate::engine::Load) {
        let total = load.total_ns.saturating_sub(self.last.total_ns);
        let busy = load.busy_ns.saturating_sub(self.last.busy_ns);
        self.busy_percent = (busy * 100).checked_div(total).map(|p| p.min(100));
        let packets = load.packets.saturating_sub(self.last.packets);
        let cycles = load.busy_cycles.saturating_sub(self.last.busy_cycles);
        if let Some(n) = cycles.checked_div(packets).filter(|n| *n > 0) {
            self.cycles_per_packet = Some(n);
        }
        self.last = load;
    }
}

/// An address, unless there is none.
fn known(ip: Ipv4Addr) -> Option<Ipv4Addr> {
    (!ip.is_unspecified()).then_some(ip)
}

impl Manager {
    /// The sum over the workers.
    pub fn totals(&self) -> Snapshot {
        let mut sum = Snapshot::default();
        self.lanes.iter().for_each(|lane| sum.add(&lane.end.shared.read()));
        sum
    }

    pub(super) fn status(&self, now: Nanos) -> Value {
        let sum = self.totals();
        let active = |group: u8| -> Vec<&str> {
            self.wans.group(group).carrying.iter().map(|(wan, _)| self.wan_name(*wan)).collect()
        };
        let named: Vec<u8> = self.groups.named().map(|(number, _)| number).collect();
        let all = (0..=u8::MAX).zip(self.groups.list());
        let groups = all.filter_map(|(number, group)| {
            let draining = self.draining(number, &sum, now);
            // One that the policy has made of others is shown as long as it drains.
            let shown = named.contains(&number) || !draining.is_empty();
            shown.then(|| {
                json!({
                    "name": group.name, "active": active(number), "resort": self.wans.group(number).resort,
                    "draining": draining,
                })
            })
        });
        let worker = |lane: &Lane| {
            let load = lane.end.shared.read().load;
            json!({
                "core": lane.core, "packets": load.packets,
                "cycles_per_packet": lane.gauge.cycles_per_packet, "busy_percent": lane.gauge.busy_percent,
            })
        };
        use crate::packet::Stat;
        json!({
            "name": self.name,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": now.since(self.started).as_s(),
            "wans": self.wans_json(now),
            "groups": groups.collect::<Vec<_>>(),
            "sessions": {
                "live": sum.live,
                "capacity": sum.capacity,
                "created": sum.counters.get(Stat::SessionsCreated),
                "expired": sum.counters.get(Stat::SessionsExpired),
                "refused": sum.counters.get(Stat::SessionsRefused),
            },
            "workers": self.lanes.iter().map(worker).collect::<Vec<_>>(),
            "latency": self.latency_in_short(),
            "generation": self.view.generation.0,
            "cluster": self.cluster_json(now),
        })
    }

    /// The WANs that a group drains after a failback: what it has there yet, and when it leaves, should there be somewhere to go.
    fn draining(&self, group: u8, sum: &Snapshot, now: Nanos) -> Vec<Value> {
        let standings = &self.wans.group(group).standings;
        let row = |(wan, standing): (u8, &Standing)| {
            let Standing::Draining { until } = standing else { return None };
            let at = usize::from(group) * self.view.wans.len() + usize::from(wan);
            Some(json!({
                "wan": self.wan_name(WanId(wan)),
                "sessions": sum.per_tie.get(at).copied().unwrap_or(0),
                "drain_ends_s": until.since(now).0.div_ceil(1_000_000_000),
            }))
        };
        (0..=u8::MAX).zip(standings).filter_map(row).collect()
    }

    pub(super) fn wans_json(&self, now: Nanos) -> Value {
        let sum = self.totals();
        let row = |(id, status): (WanId, &WanStatus)| {
            let link = &self.view.wans[id.index()];
            let traffic = sum.traffic.get(link.iface.index()).copied().unwrap_or_default();
            json!({
                "name": self.wan_name(id),
                "state": status.state,
                "admin": status.admin,
                "link": status.link.unwrap_or(false),
                "carrying": status.carrying,
                "address": known(self.view.source(link.iface, link.gateway)),
                "gateway": known(link.gateway),
                "dhcp": self.leases.json(id, now),
                "rtt_us": status.rtt_us,
                "jitter_us": status.jitter_us,
                "loss_percent": status.loss_percent,
                "since_s": now.since(status.since).as_s(),
                "sessions": sum.per_wan.get(id.index()).copied().unwrap_or(0),
                "rx_packets": traffic.rx_packets,
                "tx_packets": traffic.tx_packets,
                "rx_bytes": traffic.rx_bytes,
                "tx_bytes": traffic.tx_bytes,
                "reason": status.reason.to_string(),
                "tcp": self.tcp.json(id.index(), &sum.tcp),
                "targets": self.targets_json(id, status),
                "bfd": status.bfd,
                "hold_s": status.hold_until.map(|until| until.since(now).0.div_ceil(1_000_000_000)),
                "flaps": status.flaps,
                "standing": self.wans.group(0).standings.get(id.index()).map(standing),
            })
        };
        Value::Array(self.wans.iter().map(row).collect())
    }

    /// The targets of a WAN, as it sees them.
    fn targets_json(&self, id: WanId, status: &WanStatus) -> Value {
        let row = |(target, is): (&wan::Target, &TargetStatus)| {
            json!({
                "probe": target.kind.name(), "target": target.name, "mute": is.mute, "lost_in_a_row": is.misses,
                "rtt_us": is.rtt_us, "loss_percent": is.loss_percent,
            })
        };
        let targets = self.config.wans.get(id.index()).map_or(&[][..], |health| &health.targets);
        targets.iter().zip(&status.targets).map(row).collect()
    }

    pub(super) fn neighbors_json(&self, now: Nanos) -> Value {
        let row = |(iface, ip, entry): (crate::base::IfaceId, Ipv4Addr, &super::neighbors::Entry)| {
            json!({
                "interface": self.view.ifaces[iface.index()].name,
                "address": ip,
                "mac": entry.mac.map(|m| m.to_string()),
                "state": entry.state.name(),
                "age_s": now.since(entry.since).as_s(),
            })
        };
        Value::Array(self.neighbors.iter().map(row).collect())
    }

    /// Latencies of all workers, and of each.
    pub(super) fn latency_json(&self) -> Value {
        let mut all = Latencies::default();
        let mut workers = Vec::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let own = lane.end.shared.latency.read();
            all.add(&own);
            let mut row =
                Map::from_iter([("worker".into(), json!(index)), ("core".into(), json!(lane.core))]);
            row.extend(spans(&own));
            workers.push(Value::Object(row));
        }
        let mut answer = spans(&all);
        answer.insert("workers".into(), workers.into());
        Value::Object(answer)
    }

    fn latency_in_short(&self) -> Value {
        let mut all = Latencies::default();
        self.lanes.iter().for_each(|lane| all.add(&lane.end.shared.latency.read()));
        let mut short = spans(&all);
        short.retain(|key, _| ["p50_ns", "p99_ns", "max_ns"].contains(&key.as_str()));
        Value::Object(short)
    }

    pub(super) fn counters_json(&self) -> Value {
        let sum = self.totals();
        Value::Object(sum.counters.iter().map(|(name, n)| (name.to_string(), json!(n))).collect())
    }
}

/// The name of a standing.
fn standing(standing: &Standing) -> &'static str {
    match standing {
        Standing::Carrying => "carrying",
        Standing::Kept => "kept",
        Standing::Draining { .. } => "draining",
        Standing::Left => "left",
    }
}

/// Latencies as numbers; without a packet there are none.
fn spans(of: &Latencies) -> Map<String, Value> {
    let packets = of.packets();
    let some = |ns: u64| (packets > 0).then_some(ns);
    let row = [
        ("packets", json!(packets)),
        ("p50_ns", json!(of.quantile_ns(0.5))),
        ("p90_ns", json!(of.quantile_ns(0.9))),
        ("p99_ns", json!(of.quantile_ns(0.99))),
        ("p999_ns", json!(of.quantile_ns(0.999))),
        ("max_ns", json!(some(of.max_ns))),
        ("longest_turn_ns", json!(some(of.longest_turn_ns))),
    ];
    row.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// What a listing needs to know besides the rows.
#[derive(Clone, Debug)]
pub struct RowContext {
    /// By `WanId`
    pub wan_names: Vec<String>,
    /// The moment of the listing
    pub now: Nanos,
}

impl RowContext {
    /// A row of `sessions`.
    pub fn json(&self, row: &SessionRow) -> Value {
        let s = &row.session;
        let end = |(ip, port): (Ipv4Addr, u16)| format!("{ip}:{port}");
        json!({
            "protocol": protocol_name(s.protocol()),
            "kind": row.kind.name(),
            "inside": end(s.inside()),
            "outside": end(s.outside()),
            "remote": end(s.remote()),
            "wan": self.wan_names.get(s.wan().index()),
            "state": s.state_name(),
            "age_s": (self.now.as_s() as u32).saturating_sub(row.created),
            "idle_s": (tick(self.now).wrapping_sub(s.refreshed) as i32).max(0) / 1000,
            "rx_packets": s.packets(OUTSIDE),
            "tx_packets": s.packets(INSIDE),
            "rx_bytes": s.bytes(OUTSIDE),
            "tx_bytes": s.bytes(INSIDE),
            "worker": row.worker.0,
        })
    }
}

/// The name of a protocol, or its number.
pub fn protocol_name(number: u8) -> String {
    match number {
        protocol::UDP => "udp".into(),
        protocol::TCP => "tcp".into(),
        protocol::ICMP => "icmp".into(),
        47 => "gre".into(),
        50 => "esp".into(),
        51 => "ah".into(),
        132 => "sctp".into(),
        number => number.to_string(),
    }
}
