//! Sessions in their tables: put in, found from both sides, taken out, with all that counts them.

use super::log::What;
use super::session::{INSIDE, Key, Kind, NONE, OUTSIDE, Origin, Root, Session};
use super::tcp::TcpState;
use super::timeouts::tick;
use super::{Env, Nat};
use crate::base::Nanos;
use crate::packet::{Counters, DropReason, Stat};
use crate::wire::protocol;

impl Nat {
    /// Puts a session into its slot, found from both sides. One without a mapping enters its host here and not before: what makes way
    /// may have been all that the host had.
    #[inline(always)]
    pub(super) fn add_session(
        &mut self,
        session: Session,
        out_hash: u64,
        mut root: Root,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let back = session.key(OUTSIDE);
        let in_hash = self.hash(back);
        self.make_way(back, in_hash, root.kind, env)?;
        let slot = self.sessions.insert(session).ok_or(DropReason::NatTableFull)?;
        if self.index.insert_both((out_hash, slot * 2), (in_hash, slot * 2 + 1)).is_err() {
            self.sessions.remove(slot);
            return Err(DropReason::NatTableFull);
        }
        if root.mapping == NONE {
            root.host = self.hosts.enter(&self.key, session.inside().0);
        }
        self.roots[slot as usize] = root;
        self.hosts.sessions(root.host, true);
        self.per_wan[session.wan().index()] += 1;
        if let Some(at) = self.tie(root.group, session.wan()) {
            self.per_tie[at] += 1;
        }
        let stranger = root.origin == Origin::Stranger;
        self.strangers += u32::from(stranger);
        if root.mapping != NONE {
            let mapping = self.mappings.get_mut(root.mapping);
            mapping.sessions += 1;
            mapping.spoken += u32::from(!stranger);
            if !stranger && let Err(full) = self.join(slot) {
                // Its mapping is for its maker to remove, should it have no other.
                self.mappings.get_mut(root.mapping).sessions += 1;
                self.remove_session(slot, env.now, env.counters);
                self.mappings.get_mut(root.mapping).sessions -= 1;
                return Err(full);
            }
        }
        env.counters.add(Stat::SessionsCreated, 1);
        self.gauges.opened(&session);
        self.changed(slot);
        Ok(slot)
    }

    /// Makes a place outside free for a session. A masqueraded one that stands there is stale, its port was given to another mapping
    /// since; any other must have ended.
    #[inline(always)]
    pub(super) fn make_way(
        &mut self,
        key: Key,
        hash: u64,
        kind: Kind,
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        let is_it = |entry: u32| entry & 1 == 1 && self.sessions.get(entry >> 1).key(OUTSIDE) == key;
        let Some(entry) = self.index.find(hash, is_it) else { return Ok(()) };
        let (slot, old) = (entry >> 1, *self.sessions.get(entry >> 1));
        let root = self.roots[slot as usize];
        if root.kind == Kind::Masquerade && kind == Kind::Masquerade {
            self.index.remove(hash, entry);
        } else if old.expired(&self.timeouts, tick(env.now)) || self.left(&old, &root, env.up) {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsExpired, 1);
        } else {
            return Err(DropReason::NatClash);
        }
        Ok(())
    }

    /// Ends a session, and its mapping if it was the last one.
    pub(super) fn remove_session(&mut self, slot: u32, now: Nanos, counters: &mut Counters) {
        let session = *self.sessions.get(slot);
        let root = self.roots[slot as usize];
        let (out_hash, in_hash) = (self.hash(session.key(INSIDE)), self.hash(session.key(OUTSIDE)));
        self.index.remove(out_hash, slot * 2);
        self.index.remove(in_hash, slot * 2 + 1);
        self.part(slot);
        self.sessions.remove(slot);
        self.per_wan[session.wan().index()] -= 1;
        if let Some(at) = self.tie(root.group, session.wan()) {
            self.per_tie[at] -= 1;
        }
        self.gauges.forget(slot);
        self.ended(slot, &session, &root);
        let stranger = root.origin == Origin::Stranger;
        self.strangers -= u32::from(stranger);
        self.hosts.sessions(root.host, false);
        if root.mapping == NONE {
            self.log_session(What::SessionDeleted, &session, root.kind, now, counters);
            return self.hosts.leave(&self.key, root.host);
        }
        let mapping = self.mappings.get_mut(root.mapping);
        mapping.sessions -= 1;
        mapping.spoken -= u32::from(!stranger);
        if mapping.sessions == 0 {
            let closed = session.protocol() == protocol::TCP && TcpState::from_u8(session.state).closed();
            self.remove_mapping(root.mapping, closed, now, counters);
        }
    }
}
