//! The pair, as the management thread has it.

use serde_json::Value;

use super::{Answer, Manager};
use crate::base::Nanos;

/// The answer of a router that is no member of a pair.
pub(super) fn none() -> Answer {
    Answer::Refused("there is no cluster in the profile".into())
}

impl Manager {
    /// The pair, as this member sees it; `None`: it is no member of one.
    pub(super) fn cluster_json(&self, _now: Nanos) -> Option<Value> {
        None
    }

    /// The operator prefers a member.
    pub(super) fn prefer(&mut self, _member: &str, _now: Nanos) -> Answer {
        none()
    }

    /// The operator wants the partner to have the role.
    pub(super) fn yield_role(&mut self, _now: Nanos) -> Answer {
        none()
    }
}
