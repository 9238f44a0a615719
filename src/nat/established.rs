//! What the established path asks of the NAT: one step of a look-up at a time, so that a burst takes each step together.
//! `call_` means: the line that the next step reads is called for.

use super::place::address_of;
use super::session::{INSIDE, Key, Kind, NONE, Origin, Session};
use super::standing::Standing;
use super::uplinks::DEFAULT_GROUP;
use super::{Env, Nat, Outbound, Timeouts, Uplinks};
use crate::base::{IfaceId, WanId};
use crate::packet::Tuple;
use crate::table::lent::class_of;
use crate::wire::protocol;

impl Nat {
    /// The hash of a key, as `call_session` wants it; calls for its first line of the index.
    #[inline(always)]
    pub fn call_index(&self, key: Key) -> u64 {
        self.index.call(self.hash(key))
    }

    /// The entry (slot * 2 + side) that may be the key's by the first line; calls for its session.
    #[inline(always)]
    pub fn call_session(&self, hash: u64) -> Option<u32> {
        let entry = self.index.guess(hash)?;
        self.sessions.prefetch(entry >> 1);
        Some(entry)
    }

    /// Calls for the second line of the index.
    #[inline]
    pub fn call_further(&self, hash: u64) {
        self.index.prefetch_other(hash);
    }

    /// Calls for what a new session of a packet from inside needs: the line of its mapping, and, if it gets the port that
    /// is next, that of its packets from outside.
    #[inline]
    pub fn call_opening(&mut self, key: Key, up: &Uplinks) {
        self.mapping_index.prefetch(self.hash(key.of_mapping()));
        let (host, inside_port) = key.source();
        let chosen = up.chosen(DEFAULT_GROUP, host);
        let Some((wan, uplink)) = chosen.and_then(|wan| Some((wan, up.get(wan)?))) else { return };
        let Some(pools) = self.ports.get_mut(wan.index()) else { return };
        let pools = &mut pools[class_of(key.protocol())];
        let at = address_of(&self.key, host, pools.len().min(uplink.addresses.len()));
        let Some(port) = pools.call(at, inside_port) else { return };
        let Some(outside) = uplink.addresses.get(at) else { return };
        self.index.prefetch(self.hash(key.reply(wan, (outside, port))));
    }

    /// As `call_session`, by the second line.
    pub fn call_far_session(&self, hash: u64) -> Option<u32> {
        let entry = self.index.guess_other(hash)?;
        self.sessions.prefetch(entry >> 1);
        Some(entry)
    }

    /// A session, whosever it is.
    #[inline(always)]
    pub fn session(&mut self, slot: u32) -> (&mut Session, &Timeouts) {
        (self.sessions.get_mut(slot), &self.timeouts)
    }

    /// The session of a packet from inside, whose WAN it is on the link of in `pin`, with this hash: that which is there, or a new one.
    ///
    /// # Errors
    /// As `outbound`, and then nothing has changed.
    #[inline]
    pub fn find_or_open(
        &mut self,
        tuple: &Tuple,
        key: Key,
        from: (IfaceId, Option<WanId>),
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, Outbound> {
        match self.find_hashed(hash, key, INSIDE) {
            Some(slot) => Ok(slot),
            None => self.open(tuple, from, hash, env),
        }
    }

    /// A packet came in at `ingress`, passed every check, and went to the hop of its side: so may those that follow, as
    /// long as `stamp` stands. Not what only outside has spoken in, and not TCP that is held: of that a SYN may begin elsewhere.
    #[inline(always)]
    pub fn establish(
        &mut self,
        slot: u32,
        hops: [Option<u16>; 2],
        ingress: IfaceId,
        stamp: u16,
        up: &Uplinks,
    ) {
        let (root, session) = (&self.roots[slot as usize], self.sessions.get(slot));
        let tcp = hops[INSIDE].is_some() && session.protocol() == protocol::TCP;
        let firm =
            || root.mapping == NONE || self.standing(self.mappings.get(root.mapping), up) == Standing::Firm;
        if root.origin == Origin::Stranger
            || self.gauges.watches(slot)
            || (tcp && root.kind != Kind::Away && !(up.fit(session.wan()) && firm()))
        {
            return;
        }
        let session = self.sessions.get_mut(slot);
        // Outside the WAN says it, which is a part of the key.
        if hops[INSIDE].is_some() {
            session.set_ingress(ingress);
        }
        for (side, hop) in hops.into_iter().enumerate() {
            if let Some(hop) = hop {
                session.hops[side] = hop;
                session.stamps[side] = stamp;
            }
        }
    }
}
