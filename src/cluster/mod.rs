//! The pair: two members that serve a site together, one active, one standby. All of it pure: (state, input, now) -> effects.
//!
//! No clock, no thread, no I/O: the caller hands in what happened and when, and does what comes out, in its order. The same inputs at the same
//! times give the same effects, so a journal of inputs replays every decision.
//!
//! - `Hearing` takes datagrams and finds the partner's beats in them; `Pair` decides; `Beat::seal` makes what is sent.
//! - `decide` is the whole rule, without memory: who hears nobody takes the role, who hears an active partner waits until that yields.
//! - With `timeout` and `every` of `Config`: nobody being active, or both, ends within `timeout + 2 every` of the moment from which on the
//!   network is whole, or broken for good. Two are active only while one does not hear the other, and for one way of a beat in a hand-over.
//! - Members that know of different preferences adopt the newer one before they decide.
//! - `sync` is the log by which a standby gets its partner's sessions.
#![forbid(unsafe_code)]

pub mod beat;
mod decide;
mod fitness;
mod hearing;
mod key;
mod name;
mod pair;
mod reasons;
pub mod sync;
mod types;
mod view;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_walk;

pub use beat::Beat;
pub use decide::{Decision, Facts, Other, Side, decide, stronger};
pub use fitness::{Fitness, Known, NO_TIER, Rank};
pub use hearing::{Counts, Heard, Hearing, PATHS};
pub use key::Key;
pub use name::Name;
pub use pair::Pair;
pub use reasons::{Reason, Reasons};
pub use types::{
    Cause, Config, Effect, Event, Failback, Identity, Input, Kept, Preference, Refused, Role, Status,
};
pub use view::{ClusterView, FitnessView, MemberView, PartnerView, RankView, Site};
