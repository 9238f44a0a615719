//! Whom a mapping lets in: the sessions in which inside has spoken stand in rings, one for all that permit the same remotes.
//!
//! With endpoint-independent filtering (RFC 4787 REQ-8) that is one ring a mapping, with address-dependent one for each remote
//! address, with address-and-port-dependent none, as there the session itself is the permission. A ring with a session that has not
//! expired lets in. So a permission ends with the last timer it rests on, to the millisecond, and costs no walk however many
//! sessions a mapping has: what has expired is removed on the way, once.
//!
//! Rings of a mapping's first remote address hang on the mapping; those of further ones are found by an index. Few mappings
//! of TCP have any.

use std::net::Ipv4Addr;

use super::rules::Filter;
use super::session::NONE;
use super::timeouts::tick;
use super::{Env, Nat};
use crate::packet::{DropReason, Stat};
use crate::table::index::Index;
use crate::table::lent::class_of;

/// Sessions that have expired and are removed for one packet, at most.
const MOST: usize = 32;

/// How many entries the index of further rings needs.
pub(super) fn room(sessions: u32, filtering: &[Filter]) -> usize {
    let udp = filtering.first() == Some(&Filter::AddressDependent);
    if udp { sessions as usize } else { sessions as usize / 8 }
}

/// The hash of a ring beyond the first.
fn further(nat: &Nat, mapping: u32, remote: Ipv4Addr) -> u64 {
    nat.key.hash(u64::from(remote.to_bits()) << 32 | u64::from(mapping), u64::MAX)
}

impl Nat {
    fn is_head(&self, slot: u32, mapping: u32, remote: Ipv4Addr) -> bool {
        self.roots[slot as usize].mapping == mapping && self.sessions.get(slot).remote().0 == remote
    }

    /// A session of the ring that lets `remote` in at a mapping.
    fn head(&self, mapping: u32, remote: Ipv4Addr, filter: Filter) -> Option<u32> {
        let m = self.mappings.get(mapping);
        match filter {
            Filter::EndpointIndependent => Some(m.first).filter(|first| *first != NONE),
            Filter::AddressDependent if m.first != NONE && m.peer == remote => Some(m.first),
            Filter::AddressDependent if m.further > 0 => {
                let hash = further(self, mapping, remote);
                self.further.find(hash, |slot| self.is_head(slot, mapping, remote))
            }
            _ => None,
        }
    }

    /// Inside has spoken in a session: it lets in from now on.
    ///
    /// # Errors
    /// There is no room; nothing has changed.
    #[inline(always)]
    pub(super) fn join(&mut self, slot: u32) -> Result<(), DropReason> {
        let (mapping, remote) = (self.roots[slot as usize].mapping, self.sessions.get(slot).remote().0);
        if mapping == NONE {
            return Ok(());
        }
        let m = self.mappings.get_mut(mapping);
        let filter = self.filtering[class_of(m.protocol)];
        if filter == Filter::AddressAndPortDependent {
            return Ok(());
        }
        let others = m.first != NONE || m.further > 0;
        if others && self.join_ring(slot, mapping, remote, filter) {
            return Ok(());
        }
        let m = self.mappings.get_mut(mapping);
        if m.first == NONE {
            (m.first, m.peer) = (slot, remote);
        } else {
            self.begin_further(slot, mapping, remote)?;
        }
        self.roots[slot as usize].ring = [slot, slot];
        Ok(())
    }

    /// Puts a session into the ring that lets `remote` in, if there is one.
    #[inline(never)]
    fn join_ring(&mut self, slot: u32, mapping: u32, remote: Ipv4Addr, filter: Filter) -> bool {
        let Some(head) = self.head(mapping, remote, filter) else { return false };
        let last = self.roots[head as usize].ring[0];
        self.roots[slot as usize].ring = [last, head];
        self.roots[last as usize].ring[1] = slot;
        self.roots[head as usize].ring[0] = slot;
        true
    }

    /// A ring beyond a mapping's first begins with a session.
    #[inline(never)]
    fn begin_further(&mut self, slot: u32, mapping: u32, remote: Ipv4Addr) -> Result<(), DropReason> {
        let hash = further(self, mapping, remote);
        self.further.insert(hash, slot).map_err(|_| DropReason::NatTableFull)?;
        self.mappings.get_mut(mapping).further += 1;
        Ok(())
    }

    /// A session ends: it lets in no more. It must be in its slot still.
    #[inline]
    pub(super) fn part(&mut self, slot: u32) {
        let root = self.roots[slot as usize];
        let [last, next] = root.ring;
        if next == NONE {
            return;
        }
        self.roots[slot as usize].ring = [NONE; 2];
        let alone = next == slot;
        if !alone {
            self.roots[last as usize].ring[1] = next;
            self.roots[next as usize].ring[0] = last;
        }
        let m = self.mappings.get_mut(root.mapping);
        if m.first == slot {
            m.first = if alone { NONE } else { next };
            return;
        }
        if m.further > 0 {
            let hash = further(self, root.mapping, self.sessions.get(slot).remote().0);
            if self.further.remove(hash, slot) {
                // There is room: one has just gone from one of its two lines.
                let stays = !alone && self.further.insert(hash, next).is_ok();
                self.mappings.get_mut(root.mapping).further -= u32::from(!stays);
            }
        }
    }

    /// Whether a mapping lets in somebody who has no session.
    pub(super) fn lets_in(&mut self, mapping: u32, remote: Ipv4Addr, env: &mut Env<'_>) -> bool {
        let filter = self.filtering[class_of(self.mappings.get(mapping).protocol)];
        for _ in 0..MOST {
            let Some(head) = self.head(mapping, remote, filter) else { return false };
            if !self.sessions.get(head).expired(&self.timeouts, tick(env.now)) {
                return true;
            }
            // With the last one the mapping goes as well, and has no ring any more.
            self.remove_session(head, env.now, env.counters);
            env.counters.add(Stat::SessionsExpired, 1);
        }
        false
    }
}

/// The index of rings beyond each mapping's first.
pub(super) fn index(sessions: u32, filtering: &[Filter], reserve: bool) -> Index {
    Index::new(room(sessions, filtering), reserve)
}
