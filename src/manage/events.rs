//! What happened, for people and programs: numbered, remembered for a while, passed on to whoever follows.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::{Map, Value, json};

use crate::base::Nanos;

/// Events remembered.
const REMEMBERED: usize = 1000;
/// Events that a follower may be behind; one that is more behind misses some, and sees it by the gap in `seq`.
const BEHIND: usize = 4096;

/// The log of events.
#[derive(Debug, Default)]
pub struct Events {
    seq: u64,
    past: VecDeque<Value>,
    followers: Vec<Sender<Value>>,
}

impl Events {
    /// Something happened. `fields` must be an object; its keys come after `at_ns`, `seq` and `kind`.
    pub fn add(&mut self, at: Nanos, kind: &str, fields: Value) {
        self.seq += 1;
        let mut event = Map::new();
        event.insert("at_ns".into(), json!(at.0));
        event.insert("seq".into(), json!(self.seq));
        event.insert("kind".into(), json!(kind));
        if let Value::Object(fields) = fields {
            event.extend(fields);
        }
        let event = Value::Object(event);
        self.followers.retain(|f| !matches!(f.try_send(event.clone()), Err(TrySendError::Disconnected(_))));
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(event);
    }

    /// The newest one.
    pub fn last(&self) -> Option<&Value> {
        self.past.back()
    }

    /// The events remembered, oldest first.
    pub fn past(&self) -> Vec<Value> {
        self.past.iter().cloned().collect()
    }

    /// The events remembered, then each as it comes.
    pub fn follow(&mut self) -> (Vec<Value>, Receiver<Value>) {
        let (to, from) = bounded(BEHIND);
        self.followers.push(to);
        (self.past(), from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_in_order_and_the_newest_thousand_are_remembered() {
        let mut events = Events::default();
        for n in 0..1500u64 {
            events.add(Nanos(n), "test", json!({ "n": n }));
        }
        let past = events.past();
        assert_eq!(past.len(), REMEMBERED);
        let numbers: Vec<u64> = past.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (501..=1500).collect::<Vec<_>>());
        let keys: Vec<&String> = past[0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["at_ns", "seq", "kind", "n"]);
    }

    #[test]
    fn a_follower_gets_past_and_future_without_a_gap_a_slow_one_with_one_and_a_gone_one_nothing() {
        let mut events = Events::default();
        events.add(Nanos(1), "before", json!({}));
        let (past, next) = events.follow();
        let (_, slow) = events.follow();
        drop(events.follow());
        for n in 0..BEHIND as u64 + 1 {
            events.add(Nanos(n), "after", json!({}));
            assert_eq!(next.recv().unwrap()["seq"], n + 2);
        }
        assert_eq!((past.len(), events.followers.len()), (1, 2));
        assert_eq!(slow.try_iter().count(), BEHIND);
        events.add(Nanos(0), "after", json!({}));
        assert_eq!(slow.recv().unwrap()["seq"], BEHIND as u64 + 3, "one is missing");
    }
}
