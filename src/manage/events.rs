//! What happened, for people and programs: numbered, remembered for a while, passed on to whoever follows.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::{Map, Value, json};

use crate::base::Nanos;

/// Events remembered.
const REMEMBERED: usize = 1000;
/// Events that a follower may be behind; one that is more behind is cut off.
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
        self.followers.retain(|f| {
            !matches!(f.try_send(event.clone()), Err(TrySendError::Disconnected(_) | TrySendError::Full(_)))
        });
        if self.past.len() == REMEMBERED {
            self.past.pop_front();
        }
        self.past.push_back(event);
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
