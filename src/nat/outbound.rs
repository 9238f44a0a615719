//! The door from inside: find the session, or make it, and the mapping that it needs.

use super::session::{Key, OPENED_OUTSIDE, Session, tick};
use super::tcp::{TcpState, Way};
use super::{Env, Mapping, Nat, Outbound, Translation, pool_of};
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
    pub bytes: u64,
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
        let kept = match self.find_outbound(Key::outbound(packet.tuple)) {
            Some(slot) => self.hold_on(slot, packet, env)?,
            None => None,
        };
        let slot = match kept {
            Some(slot) => slot,
            None => self.open(packet, env)?,
        };
        let session = self.sessions.get_mut(slot);
        if !env.up.fit(session.wan) {
            return Err(Outbound::Drop(DropReason::WanDown));
        }
        if !session.spoken() {
            session.flags &= !OPENED_OUTSIDE;
            self.mappings.get_mut(session.mapping).spoken += 1;
            self.strangers -= 1;
        }
        let mut refreshes = true;
        if let Some(tcp) = packet.tcp {
            let state = TcpState::from_u8(session.state);
            let next = state.after(Way::Out, tcp.flags);
            refreshes = state.refreshes(next, tcp.flags);
            session.state = next as u8;
            if tcp.flags.ack() {
                session.last_ack = tcp.ack;
            }
        }
        if refreshes {
            session.refreshed = tick(env.now);
        }
        session.tx_packets = session.tx_packets.wrapping_add(1);
        session.tx_bytes += packet.bytes;
        Ok(Translation { addr: session.outside, port: session.outside_port, wan: session.wan })
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
        if env.up.left(session.wan, session.epoch) { self.leave(slot, packet, env) } else { Ok(Some(slot)) }
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
        let mapping = self.sessions.get(slot).mapping;
        self.settle(mapping, env).map_err(Outbound::Drop)?;
        self.rebind(slot, env).map_err(Outbound::Drop)?;
        Ok(Some(slot))
    }

    /// Puts a session where its mapping is now.
    pub(super) fn rebind(&mut self, slot: u32, env: &mut Env<'_>) -> Result<(), DropReason> {
        let old = *self.sessions.get(slot);
        let mapping = *self.mappings.get(old.mapping);
        let new = Session {
            outside: mapping.outside,
            outside_port: mapping.outside_port,
            wan: mapping.wan,
            epoch: mapping.epoch,
            ..old
        };
        let (old_hash, new_hash) = (self.hash(old.inbound_key()), self.hash(new.inbound_key()));
        self.evict_inbound(new.inbound_key());
        self.index.remove(old_hash, slot * 2 + 1);
        if self.index.insert(new_hash, slot * 2 + 1).is_err() {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsReset, 1);
            return Err(DropReason::NatTableFull);
        }
        *self.sessions.get_mut(slot) = new;
        self.per_wan[old.wan.index()] -= 1;
        self.per_wan[new.wan.index()] += 1;
        env.counters.add(Stat::SessionsMoved, 1);
        Ok(())
    }

    /// Puts a mapping whose WAN was left onto the one that carries now.
    fn settle(&mut self, slot: u32, env: &mut Env<'_>) -> Result<(), DropReason> {
        let old = *self.mappings.get(slot);
        if !env.up.left(old.wan, old.epoch) {
            return Ok(());
        }
        let pin = old.pin.checked_sub(1).map(WanId);
        let new = self.place(old, pin, env)?;
        let (old_hash, new_hash) = (self.hash(old.outside_key()), self.hash(new.outside_key()));
        self.mapping_index.remove(old_hash, slot * 2 + 1);
        if self.mapping_index.insert(new_hash, slot * 2 + 1).is_err() {
            // The way just freed may be needed to go back; the mapping is found from inside all the same.
            let _ = self.mapping_index.insert(old_hash, slot * 2 + 1);
            self.release_port(&new, true, env.now);
            return Err(DropReason::NatTableFull);
        }
        self.release_port(&old, false, env.now);
        *self.mappings.get_mut(slot) = new;
        env.counters.add(Stat::MappingsMoved, 1);
        Ok(())
    }

    /// Gives a mapping its WAN and a port there.
    fn place(
        &mut self,
        mapping: Mapping,
        pin: Option<WanId>,
        env: &mut Env<'_>,
    ) -> Result<Mapping, DropReason> {
        // What is on the link of a WAN that is down may be reached by another one all the same.
        let wan = pin.filter(|w| env.up.fit(*w)).or(env.up.carrying).ok_or(DropReason::WanNone)?;
        let uplink = env.up.get(wan).filter(|u| u.fit).ok_or(DropReason::WanDown)?;
        let pool = &mut self.ports[wan.index()][pool_of(mapping.protocol)];
        let Some(outside_port) = pool.draw(&mut self.rng, env.now) else {
            env.counters.add(Stat::SessionsRefused, 1);
            return Err(DropReason::NatPortsExhausted);
        };
        Ok(Mapping { outside: uplink.address, outside_port, wan, epoch: uplink.epoch, ..mapping })
    }

    /// Makes a session for a packet that has none, on the mapping of its inside endpoint.
    fn open(&mut self, packet: &FromInside<'_>, env: &mut Env<'_>) -> Result<u32, Outbound> {
        let t = packet.tuple;
        if let Some(tcp) = packet.tcp.filter(|tcp| !tcp.flags.opens()) {
            let why = DropReason::NatTcpMidstream;
            return Err(if tcp.flags.rst() { Outbound::Drop(why) } else { Outbound::Reset(why) });
        }
        let key = Key::mapping(t.protocol, packet.pin.map_or(0, |w| w.0 + 1), t.src, t.src_port);
        let mapping = match self.find_mapping_inside(key) {
            Some(slot) => self.settle(slot, env).map(|()| slot),
            None => self.map(packet, env),
        };
        let slot = mapping.map_err(Outbound::Drop)?;
        let mapping = *self.mappings.get(slot);
        // Of a WAN that is down while there is none to move to: no session for what is not sent.
        if !env.up.fit(mapping.wan) {
            return Err(Outbound::Drop(DropReason::WanDown));
        }
        let icmp = t.protocol == protocol::ICMP;
        let session = Session {
            inside: t.src,
            outside: mapping.outside,
            remote: t.dst,
            inside_port: t.src_port,
            outside_port: mapping.outside_port,
            remote_port: if icmp { 0 } else { t.dst_port },
            protocol: t.protocol,
            state: match t.protocol {
                protocol::UDP => self.timeouts.udp_class(t.dst_port),
                _ => TcpState::SynOut as u8,
            },
            wan: mapping.wan,
            epoch: mapping.epoch,
            refreshed: tick(env.now),
            created: env.now.as_s() as u32,
            mapping: slot,
            ..Session::default()
        };
        if env.up.left(mapping.wan, mapping.epoch) {
            env.counters.add(Stat::MappingsOnLeftWan, 1);
        }
        self.add_session(session, env.counters).map_err(|reason| {
            if self.mappings.get(slot).sessions == 0 {
                self.remove_mapping(slot, true, env.now, env.counters);
            }
            Outbound::Drop(reason)
        })
    }

    /// Makes a mapping for an inside endpoint.
    fn map(&mut self, packet: &FromInside<'_>, env: &mut Env<'_>) -> Result<u32, DropReason> {
        let t = packet.tuple;
        let blank = Mapping {
            inside: t.src,
            inside_port: t.src_port,
            protocol: t.protocol,
            pin: packet.pin.map_or(0, |w| w.0 + 1),
            ..Mapping::default()
        };
        let mapping = self.place(blank, packet.pin, env)?;
        let (inside, outside) = (self.hash(mapping.inside_key()), self.hash(mapping.outside_key()));
        let Some(slot) = self.mappings.insert(mapping) else {
            self.release_port(&mapping, true, env.now);
            env.counters.add(Stat::SessionsRefused, 1);
            return Err(DropReason::NatTableFull);
        };
        if self.mapping_index.insert_both((inside, slot * 2), (outside, slot * 2 + 1)).is_err() {
            self.mappings.remove(slot);
            self.release_port(&mapping, true, env.now);
            env.counters.add(Stat::SessionsRefused, 1);
            return Err(DropReason::NatTableFull);
        }
        env.counters.add(Stat::MappingsCreated, 1);
        Ok(slot)
    }
}
