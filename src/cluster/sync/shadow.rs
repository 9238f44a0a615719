//! A copy of the partner's sessions that is nothing but a copy: what a follower's records come to.
//!
//! What was there before a new run stays until the run's copy is whole. What is bound to a WAN stands as long as its bond has the epoch
//! that it was put there with.

use std::collections::HashMap;

use super::follower::Apply;
use crate::wire::protocol;
use crate::wire::record::{Entry, Key, Record};

/// The copy.
#[derive(Clone, Debug)]
pub struct Shadow {
    /// With the run in which it was told last.
    entries: HashMap<Key, (Entry, u64)>,
    run: u64,
    capacity: usize,
    refused: u64,
}

impl Shadow {
    /// An empty one, of so many entries at most.
    pub fn new(capacity: usize) -> Shadow {
        Shadow { entries: HashMap::new(), run: 0, capacity, refused: 0 }
    }

    /// What the follower says.
    pub fn apply(&mut self, apply: Apply) {
        match apply {
            Apply::Begin => self.run += 1,
            Apply::Whole => self.entries.retain(|_, (_, run)| *run == self.run),
            Apply::Record(Record::Ended(key)) => drop(self.entries.remove(&key)),
            Apply::Record(Record::Is(entry)) => {
                if self.entries.len() < self.capacity || self.entries.contains_key(&entry.key) {
                    self.entries.insert(entry.key, (entry, self.run));
                } else {
                    self.refused += 1;
                }
            }
        }
    }

    /// All that is there, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|(entry, _)| entry)
    }

    /// What is there about `key`.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).map(|(entry, _)| entry)
    }

    /// Whether an entry still stands: its group has not left its WAN since.
    pub fn stands(&self, entry: &Entry) -> bool {
        let bond = Key::Bond { group: entry.group, wan: entry.wan };
        let (Key::Mapping { protocol, .. } | Key::Flow { protocol, .. }) = entry.key else { return true };
        self.get(&bond).is_none_or(|bond| {
            if protocol == protocol::TCP {
                bond.tcp_epoch == entry.tcp_epoch
            } else {
                bond.epoch == entry.epoch
            }
        })
    }

    /// Entries that found no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
