//! The door from inside: find the session, or make it, and the mapping that it needs.

use super::session::{Ends, INSIDE, Key, OUTSIDE, Root, Session};
use super::timeouts::tick;
use super::{Env, Nat, Outbound, Translation};
use crate::base::WanId;
use crate::packet::{DropReason, Stat, Tuple};
use crate::wire::protocol;
use crate::wire::tcp::Tcp;

/// A packet at the door from inside.
#[derive(Clone, Copy, Debug)]
pub struct FromInside<'a> {
    /// Its endpoints
    pub tuple: &'a Tuple,
    /// Its TCP header, if it is TCP
    pub tcp: Option<Tcp>,
    /// Bytes, from the IP header on
    pub bytes: u32,
    /// The WAN whose link its destination is on: it leaves there, as long as that is fit
    pub pin: Option<WanId>,
}

impl Nat {
    /// What becomes of a packet from inside.
    pub fn outbound(&mut self, packet: &FromInside<'_>, env: &mut Env<'_>) -> Outbound {
        self.translate(packet, env).map_or_else(|end| end, Outbound::Translate)
    }

    #[inline(always)]
    fn translate(&mut self, packet: &FromInside<'_>, env: &mut Env<'_>) -> Result<Translation, Outbound> {
        let key = Key::outbound(packet.tuple);
        let hash = self.hash(key);
        let kept = match self.find_hashed(hash, key, INSIDE) {
            Some(slot) => self.hold_on(slot, packet, env)?,
            None => None,
        };
        let slot = match kept {
            Some(slot) => slot,
            None => {
                if let Some(tcp) = packet.tcp.filter(|tcp| !tcp.flags.opens()) {
                    let why = DropReason::NatTcpMidstream;
                    return Err(if tcp.flags.rst() { Outbound::Drop(why) } else { Outbound::Reset(why) });
                }
                self.open(packet.tuple, packet.pin, hash, env)?
            }
        };
        let session = self.sessions.get_mut(slot);
        if !env.up.fit(session.wan()) {
            return Err(Outbound::Drop(DropReason::WanDown));
        }
        if !session.spoken() {
            session.state = self.timeouts.first_state(session.protocol(), session.remote().1);
            self.mappings.get_mut(self.roots[slot as usize].mapping).spoken += 1;
            self.strangers -= 1;
        }
        match packet.tcp {
            Some(tcp) => {
                session.step(INSIDE, tcp.flags, tick(env.now));
                if tcp.flags.ack() {
                    session.last_ack = tcp.ack;
                }
            }
            None => session.refreshed = tick(env.now),
        }
        session.count(INSIDE, packet.bytes);
        let (addr, port) = session.outside();
        Ok(Translation { addr, port, wan: session.wan(), slot })
    }

    /// What to do with a session that was found: keep it (`Some`), or forget it and open a new one (`None`).
    #[inline(always)]
    fn hold_on(
        &mut self,
        slot: u32,
        packet: &FromInside<'_>,
        env: &mut Env<'_>,
    ) -> Result<Option<u32>, Outbound> {
        let session = self.sessions.get(slot);
        if session.expired(&self.timeouts, tick(env.now)) {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsExpired, 1);
            return Ok(None);
        }
        let epoch = self.roots[slot as usize].epoch;
        if env.up.left(session.wan(), epoch) { self.leave(slot, packet, env) } else { Ok(Some(slot)) }
    }

    /// The session's WAN was left: TCP is reset, everything else moves with its mapping.
    #[cold]
    fn leave(
        &mut self,
        slot: u32,
        packet: &FromInside<'_>,
        env: &mut Env<'_>,
    ) -> Result<Option<u32>, Outbound> {
        if let Some(tcp) = packet.tcp {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsReset, 1);
            return match tcp.flags {
                // It starts afresh anyway: nothing is lost by going on with it.
                flags if flags.opens() => Ok(None),
                flags if flags.rst() => Err(Outbound::Drop(DropReason::NatTcpFailover)),
                _ => Err(Outbound::Reset(DropReason::NatTcpFailover)),
            };
        }
        let mapping = self.roots[slot as usize].mapping;
        self.settle(mapping, env).map_err(Outbound::Drop)?;
        self.rebind(slot, env).map_err(Outbound::Drop)?;
        Ok(Some(slot))
    }

    /// Puts a session where its mapping is now.
    pub(super) fn rebind(&mut self, slot: u32, env: &mut Env<'_>) -> Result<(), DropReason> {
        let old = *self.sessions.get(slot);
        let root = self.roots[slot as usize];
        let mapping = *self.mappings.get(root.mapping);
        let mut new = old;
        new.bind((env.up.address(mapping.wan, mapping.address), mapping.outside_port), mapping.wan);
        let (old_hash, new_hash) = (self.hash(old.key(OUTSIDE)), self.hash(new.key(OUTSIDE)));
        self.evict_inbound(new.key(OUTSIDE), new_hash);
        self.index.remove(old_hash, slot * 2 + 1);
        if self.index.insert(new_hash, slot * 2 + 1).is_err() {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsReset, 1);
            return Err(DropReason::NatTableFull);
        }
        *self.sessions.get_mut(slot) = new;
        self.roots[slot as usize].epoch = mapping.epoch;
        self.per_wan[old.wan().index()] -= 1;
        self.per_wan[new.wan().index()] += 1;
        env.counters.add(Stat::SessionsMoved, 1);
        Ok(())
    }

    /// Makes a session for a packet that has none, on the mapping of its inside endpoint.
    #[inline]
    pub(super) fn open(
        &mut self,
        t: &Tuple,
        pin: Option<WanId>,
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, Outbound> {
        let key = Key::mapping(t.protocol, pin.map_or(0, |w| w.0 + 1), t.src, t.src_port);
        let mapping_hash = self.hash(key);
        let mapping = match self.find_mapping(mapping_hash, key) {
            Some(slot) => self.settle(slot, env).map(|()| slot),
            None => self.map(t, pin, mapping_hash, env),
        };
        let slot = mapping.map_err(Outbound::Drop)?;
        let mapping = *self.mappings.get(slot);
        // Of a WAN that is down while there is none to move to: no session for what is not sent.
        if !env.up.fit(mapping.wan) {
            return Err(Outbound::Drop(DropReason::WanDown));
        }
        let icmp = t.protocol == protocol::ICMP;
        let mut session = Session::new(&Ends {
            protocol: t.protocol,
            inside: (t.src, t.src_port),
            outside: (env.up.address(mapping.wan, mapping.address), mapping.outside_port),
            remote: (t.dst, if icmp { 0 } else { t.dst_port }),
            wan: mapping.wan,
        });
        session.state = self.timeouts.first_state(t.protocol, t.dst_port);
        session.refreshed = tick(env.now);
        let root = Root { mapping: slot, created: env.now.as_s() as u32, epoch: mapping.epoch };
        if env.up.left(mapping.wan, mapping.epoch) {
            env.counters.add(Stat::MappingsOnLeftWan, 1);
        }
        self.add_session(session, hash, root, env.counters).map_err(|reason| {
            if self.mappings.get(slot).sessions == 0 {
                self.remove_mapping(slot, true, env.now, env.counters);
            }
            Outbound::Drop(reason)
        })
    }
}
