//! Why it switched: the last changes of selection, each with what brought it about, what followed, and how long each step took.
//!
//! What has moved is counted from the decision to the next one: sessions move with their own next packet, so a young story still grows.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::hooks;
use crate::base::{Generation, Nanos};
use crate::engine::Snapshot;
use crate::packet::Stat;
use crate::wan::{Kind, Selection};

/// Stories that are remembered.
const REMEMBERED: usize = 64;

/// A change of selection and what followed.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// What was decided
    pub(super) selection: Selection,
    /// In which view it was published
    pub(super) generation: Generation,
    /// When that was done
    pub(super) published: Nanos,
    /// When the last worker had it
    pub(super) applied: Option<Nanos>,
    /// What probes last failed by, by the place of their evidence
    pub(super) said: Vec<Option<String>>,
    before: Moved,
    after: Option<Moved>,
}

/// What has moved since the start.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    udp: u64,
    tcp: u64,
    icmp: u64,
    tcp_reset: u64,
}

impl Moved {
    fn so_far(all: &Snapshot) -> Moved {
        let (tcp, icmp) =
            (all.counters.get(Stat::SessionsMovedTcp), all.counters.get(Stat::SessionsMovedIcmp));
        Moved {
            udp: all.counters.get(Stat::SessionsMoved).saturating_sub(tcp + icmp),
            tcp,
            icmp,
            tcp_reset: all.counters.get(Stat::SessionsReset),
        }
    }

    fn since(self, before: Moved) -> Moved {
        Moved {
            udp: self.udp.saturating_sub(before.udp),
            tcp: self.tcp.saturating_sub(before.tcp),
            icmp: self.icmp.saturating_sub(before.icmp),
            tcp_reset: self.tcp_reset.saturating_sub(before.tcp_reset),
        }
    }
}

/// The name of a kind of change, as an event.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Failback => hooks::FAILBACK,
        Kind::Failover => hooks::FAILOVER,
        Kind::Lost => hooks::NONE,
        Kind::Initial | Kind::Resumed | Kind::Handover | Kind::Resort => hooks::SELECTION,
    }
}

/// The stories.
#[derive(Debug, Default)]
pub(super) struct Stories {
    list: VecDeque<Story>,
}

impl Stories {
    /// A change of selection has been published.
    pub(super) fn begin(
        &mut self,
        selection: &Selection,
        generation: Generation,
        published: Nanos,
        said: Vec<Option<String>>,
        now: &Snapshot,
    ) {
        let so_far = Moved::so_far(now);
        if let Some(last) = self.list.back_mut() {
            last.after = last.after.or(Some(so_far));
        }
        if self.list.len() == REMEMBERED {
            self.list.pop_front();
        }
        let (selection, before) = (selection.clone(), so_far);
        self.list.push_back(Story {
            selection,
            generation,
            published,
            applied: None,
            said,
            before,
            after: None,
        });
    }

    /// Every worker works by a view.
    pub(super) fn applied(&mut self, generation: Generation, at: Nanos) {
        for story in self.list.iter_mut().filter(|story| story.generation <= generation) {
            story.applied = story.applied.or(Some(at));
        }
    }

    /// All of them, newest first. Groups and WANs by their names.
    pub(super) fn json(&self, now: &Snapshot, groups: &[String], wans: &[String]) -> Value {
        let so_far = Moved::so_far(now);
        self.list.iter().rev().map(|story| story.json(so_far, groups, wans)).collect()
    }
}

impl Story {
    fn json(&self, so_far: Moved, groups: &[String], wans: &[String]) -> Value {
        let s = &self.selection;
        let wan = |wan: Option<crate::base::WanId>| wan.and_then(|wan| wans.get(wan.index()));
        let evidence = s.evidence.iter().enumerate().map(|(at, e)| {
            json!({
                "wan": wan(Some(e.wan)), "probe": e.probe, "target": e.target, "value": e.value,
                "threshold": e.threshold, "unit": e.unit, "said": self.said.get(at).cloned().flatten(),
            })
        });
        let us = |from: Nanos, to: Nanos| to.since(from).0 / 1000;
        let mut steps = Vec::new();
        if let Some(last) = s.last_ok {
            steps.push(json!({ "name": "detected", "us": us(last, s.detected) }));
        }
        steps.push(json!({ "name": "published", "us": us(s.detected, self.published) }));
        if let Some(applied) = self.applied {
            steps.push(json!({ "name": "applied", "us": us(s.detected, applied) }));
        }
        let moved = self.after.unwrap_or(so_far).since(self.before);
        json!({
            "at_ns": s.detected.0, "kind": kind_name(s.kind), "group": groups.get(usize::from(s.group)),
            "from": wan(s.from), "to": wan(s.to), "cause": s.cause.to_string(),
            "evidence": evidence.collect::<Vec<_>>(),
            "moved": { "udp": moved.udp, "tcp": moved.tcp, "icmp": moved.icmp, "tcp_reset": moved.tcp_reset },
            "steps": steps,
        })
    }
}
