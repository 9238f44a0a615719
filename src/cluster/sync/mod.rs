//! The log by which a standby gets its partner's sessions: as made, moved and ended, in sequence, acknowledged, resent, in bulk after a join.
//!
//! Pure: `Log` belongs to who has the sessions, `Follower` to who copies them; frames go between them over anything, which may lose,
//! reorder or double them. Every time that a copy has to begin anew (the follower is new, or was too slow) the log starts another **run**: numbers
//! begin at 0, all that there is is walked and put into the same sequence as what changes meanwhile, and from number `whole` on the copy is whole.
//! What the copy has from before stays until then, in case the partner dies in between.
//!
//! - Records of a key that wait to be sent become one: at most `CAPACITY` wait, and they are in the order in which keys changed first.
//! - Memory and work are bounded: a partner that is too slow costs a new run, after a pause; one that is silent costs nothing after 5 s.
//! - A follower takes each number once and in order, so a frame that comes twice changes nothing.

mod follower;
mod frame;
mod log;

#[cfg(test)]
mod tests;

pub use follower::{Apply, Follower};
pub use frame::{Bad, HEAD, LONGEST, length};
pub use log::{CAPACITY, Log, LogStatus, SyncState};
