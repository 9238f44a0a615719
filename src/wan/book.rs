//! The targets of all WANs, each once: who of them counts.
//!
//! A target is known by its kind and its name, whichever WAN asks it. Until one WAN has had an answer of it, it is mute; once
//! all WANs lost it at the same time, it is blamed. Neither counts, and one answer anywhere lifts both. It
//! counts in rounds that were asked from then on: none is lost by a target that was not there when it was asked.

use serde::{Deserialize, Serialize};

use super::config::Target;
use crate::base::Nanos;

/// All targets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    target: Target,
    answered: bool,
    /// Since when it counts; not now if none.
    counts: Option<Nanos>,
}

impl Book {
    /// The number of a target, that of its twin if there is one.
    pub(super) fn enter(&mut self, target: &Target) -> usize {
        let known = self.rows.iter().position(|row| row.target == *target);
        known.unwrap_or_else(|| {
            self.rows.push(Row { target: target.clone(), answered: false, counts: None });
            self.rows.len() - 1
        })
    }

    /// It has answered somebody. True if it did not count before.
    pub(super) fn answered(&mut self, id: usize, now: Nanos) -> bool {
        let Some(row) = self.rows.get_mut(id) else { return false };
        row.answered = true;
        row.counts.replace(row.counts.unwrap_or(now)).is_none()
    }

    /// It does not count till it answers.
    pub(super) fn blame(&mut self, id: usize) {
        if let Some(row) = self.rows.get_mut(id) {
            row.counts = None;
        }
    }

    /// Whether it counts.
    pub(super) fn counts(&self, id: usize) -> bool {
        self.rows.get(id).is_some_and(|row| row.counts.is_some())
    }

    /// Whether it counts in a round that was asked at `asked`.
    pub(super) fn counted(&self, id: usize, asked: Nanos) -> bool {
        self.rows.get(id).and_then(|row| row.counts).is_some_and(|since| asked >= since)
    }

    pub(super) fn is_mute(&self, id: usize) -> bool {
        self.rows.get(id).is_none_or(|row| !row.answered)
    }

    pub(super) fn target(&self, id: usize) -> Option<&Target> {
        self.rows.get(id).map(|row| &row.target)
    }
}
