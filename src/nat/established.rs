//! What the established path asks of the NAT: one step of a look-up at a time, so that a burst takes each step together.
//! `call_` means: the line that the next step reads is called for.

use super::session::{Key, Session};
use super::{Nat, Timeouts};
use crate::base::IfaceId;

impl Nat {
    /// The hash of a key; calls for its first line of the index.
    #[inline(always)]
    pub fn call_index(&self, key: Key) -> u64 {
        let hash = self.hash(key);
        self.index.prefetch(hash);
        hash
    }

    /// The entry (slot * 2 + side) that may be the key's by the first line; calls for its session.
    #[inline(always)]
    pub fn call_session(&self, hash: u64) -> Option<u32> {
        let entry = self.index.guess(hash)?;
        self.sessions.prefetch(entry >> 1);
        Some(entry)
    }

    /// Calls for the second line of the index.
    pub fn call_further(&self, hash: u64) {
        self.index.prefetch_other(hash);
    }

    /// As `call_session`, by the second line.
    pub fn call_far_session(&self, hash: u64) -> Option<u32> {
        let entry = self.index.guess_other(hash)?;
        self.sessions.prefetch(entry >> 1);
        Some(entry)
    }

    /// Calls for the mapping of a key from inside, which a new session needs.
    pub fn call_mapping(&self, key: Key) {
        self.mapping_index.prefetch(self.hash(key.of_mapping()));
    }

    /// A session, whosever it is.
    #[inline(always)]
    pub fn session(&mut self, slot: u32) -> (&mut Session, &Timeouts) {
        (self.sessions.get_mut(slot), &self.timeouts)
    }

    /// A packet of this side came in at `ingress`, passed every check, and went to `hop`: so may those that follow, as
    /// long as `stamp` stands.
    #[inline]
    pub fn establish(&mut self, slot: u32, side: usize, hop: u16, ingress: IfaceId, stamp: u16) {
        let session = self.sessions.get_mut(slot);
        session.ingress[side] = ingress;
        session.sides[side].hop = hop;
        session.sides[side].stamp = stamp;
    }
}
