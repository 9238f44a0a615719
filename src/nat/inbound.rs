//! The door from outside: what has a session goes in; UDP of a new remote goes in where a mapping is
//! (endpoint-independent filtering, RFC 4787 REQ-8); TCP and echoes need their session. Everything else changes nothing.

use super::session::{Ends, INSIDE, Key, OUTSIDE, Root, Session};
use super::timeouts::{STRANGER, tick};
use super::{Env, Nat, Translation};
use crate::base::WanId;
use crate::packet::{DropReason, Stat, Tuple};
use crate::wire::protocol;
use crate::wire::tcp::Tcp;

/// New remotes that may wait for an answer from inside, at one mapping.
const STRANGERS: u32 = 64;
/// All of them together have one in so many sessions of the table: the rest is for who is spoken to.
const STRANGERS_SHARE: u32 = 8;

/// A packet at the door from outside.
#[derive(Clone, Copy, Debug)]
pub struct FromOutside<'a> {
    /// The WAN it came in on
    pub wan: WanId,
    /// Its endpoints
    pub tuple: &'a Tuple,
    /// Its TCP header, if it is TCP
    pub tcp: Option<Tcp>,
    /// Bytes, from the IP header on
    pub bytes: u32,
}

impl Nat {
    /// The inside endpoint that a packet from outside goes to.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn inbound(
        &mut self,
        packet: &FromOutside<'_>,
        env: &mut Env<'_>,
    ) -> Result<Translation, DropReason> {
        let found = self.find(Key::inbound(packet.wan, packet.tuple), OUTSIDE);
        let live = found.filter(|slot| !self.sessions.get(*slot).expired(&self.timeouts, tick(env.now)));
        let slot = match live {
            Some(slot) => slot,
            None => {
                if let Some(slot) = found {
                    self.remove_session(slot, env.now, env.counters);
                    env.counters.add(Stat::SessionsExpired, 1);
                }
                self.admit(packet, env)?
            }
        };
        let session = self.sessions.get_mut(slot);
        if env.up.left(session.wan(), self.roots[slot as usize].epoch) {
            return Err(DropReason::WanLeft);
        }
        match packet.tcp {
            Some(tcp) => session.step(OUTSIDE, tcp.flags, tick(env.now)),
            // What outside opened must not be kept alive from there alone (RFC 7857 REQ-7).
            None if session.spoken() => session.refreshed = tick(env.now),
            None => {}
        }
        session.count(OUTSIDE, packet.bytes);
        let (addr, port) = session.inside();
        Ok(Translation { addr, port, wan: session.wan(), slot })
    }

    /// A session for a remote that was not spoken to yet, if its mapping lets it in.
    fn admit(&mut self, packet: &FromOutside<'_>, env: &mut Env<'_>) -> Result<u32, DropReason> {
        let t = packet.tuple;
        let slot = self.find_mapping_outside(packet.wan, t, env).ok_or(DropReason::NatNoMapping)?;
        let mapping = *self.mappings.get(slot);
        if env.up.left(mapping.wan, mapping.epoch) {
            return Err(DropReason::WanLeft);
        }
        if t.protocol != protocol::UDP {
            return Err(DropReason::NatFiltered);
        }
        // Else a stranger could keep it for ever, sending from ever new ports (RFC 7857 REQ-7).
        if mapping.spoken == 0 {
            return Err(DropReason::NatNoMapping);
        }
        let waiting = mapping.sessions - mapping.spoken;
        if waiting >= STRANGERS
            || self.strangers >= (self.sessions.capacity() / STRANGERS_SHARE).max(STRANGERS)
        {
            return Err(DropReason::NatStrangers);
        }
        let mut session = Session::new(&Ends {
            protocol: t.protocol,
            inside: (mapping.inside, mapping.inside_port),
            outside: (t.dst, mapping.outside_port),
            remote: (t.src, t.src_port),
            wan: mapping.wan,
        });
        session.state = STRANGER;
        session.refreshed = tick(env.now);
        let root = Root { mapping: slot, created: env.now.as_s() as u32, epoch: mapping.epoch };
        let key = session.key(INSIDE);
        let hash = self.hash(key);
        let Some(known) = self.find_hashed(hash, key, INSIDE) else {
            return self.add_session(session, hash, root, env.counters);
        };
        let old = *self.sessions.get(known);
        if old.expired(&self.timeouts, tick(env.now)) {
            self.remove_session(known, env.now, env.counters);
            env.counters.add(Stat::SessionsExpired, 1);
            // It may have been the last of this mapping, or another one's. What was removed is not found again.
            return self.admit(packet, env);
        }
        // Another mapping of the same inside endpoint (one bound to a WAN's link) may speak to this remote already.
        if self.roots[known as usize].mapping != slot {
            return Err(DropReason::NatFiltered);
        }
        // The mapping was moved by another flow's packet: this one follows.
        self.rebind(known, env).map(|()| known)
    }
}
