//! The door from inside: find the session, or have it opened (`open`).

use super::mapping::Course;
use super::session::{AWAY, INSIDE, Key, Kind, NONE, OUTSIDE, Origin};
use super::standing::Standing;
use super::timeouts::tick;
use super::{Env, Fate, Nat, Outbound, Translation, Uplinks};
use crate::base::{IfaceId, WanId};
use crate::packet::{DropReason, Stat, Tuple};
use crate::wire::protocol;
use crate::wire::tcp::Tcp;

/// A packet at the door from inside.
#[derive(Clone, Copy, Debug)]
pub struct FromInside<'a> {
    /// Where it came in
    pub ingress: IfaceId,
    /// Its endpoints
    pub tuple: &'a Tuple,
    /// Its TCP header, if it is TCP
    pub tcp: Option<Tcp>,
    /// It is an answer: it needs its session
    pub reply: bool,
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
            Some(slot) if packet.tcp.is_some_and(|tcp| tcp.flags.opens()) => {
                let counts = self.syn_again(slot);
                let kept = self.hold_on(slot, packet, env)?;
                kept.filter(|_| counts).into_iter().for_each(|slot| self.syn_sent(slot));
                kept
            }
            Some(slot) => self.hold_on(slot, packet, env)?,
            None => None,
        };
        let slot = match kept {
            Some(slot) => slot,
            None => self.begin(packet, hash, env)?,
        };
        let session = self.sessions.get(slot);
        // One that lives away is held on to only while its partner sends it.
        if session.wan() != AWAY && !env.up.sends(session.wan(), packet.tuple.protocol) {
            return Err(Outbound::Drop(DropReason::WanDown));
        }
        // A refusal by inside is no answer: it must not let more in (RFC 7857 7.1).
        if self.roots[slot as usize].origin == Origin::Stranger
            && !packet.tcp.is_some_and(|tcp| tcp.flags.rst())
        {
            self.answered(slot);
        }
        let session = self.sessions.get_mut(slot);
        let before = session.state;
        match packet.tcp {
            Some(tcp) => {
                session.step(INSIDE, tcp.flags, tick(env.now));
                if tcp.flags.ack() {
                    session.last_ack = tcp.ack;
                }
                self.gauges.segment(slot, INSIDE, tcp, packet.bytes, env.now);
            }
            None => session.refreshed = tick(env.now),
        }
        let session = self.sessions.get_mut(slot);
        session.count(INSIDE, packet.bytes);
        let (addr, port) = session.outside();
        let translation = Translation { addr, port, wan: session.wan(), slot };
        self.stepped(slot, before);
        Ok(translation)
    }

    /// Inside has spoken in a session that outside began.
    pub(super) fn answered(&mut self, slot: u32) {
        self.changed(slot);
        let session = self.sessions.get_mut(slot);
        if session.protocol() != protocol::TCP {
            session.state = self.timeouts.first_state(session.protocol(), session.remote().1);
        }
        let root = &mut self.roots[slot as usize];
        root.origin = Origin::Answered;
        self.strangers -= 1;
        if root.mapping != NONE {
            self.mappings.get_mut(root.mapping).spoken += 1;
            // Without room it lets nobody else in; its own packets pass.
            let _ = self.join(slot);
        }
    }

    /// A packet without a session: it begins one, or ends.
    #[inline(always)]
    fn begin(&mut self, packet: &FromInside<'_>, hash: u64, env: &mut Env<'_>) -> Result<u32, Outbound> {
        if packet.reply {
            return Err(Outbound::Drop(DropReason::IcmpUnhandled));
        }
        let midstream = packet.tcp.filter(|tcp| !tcp.flags.opens());
        if let Some(tcp) = midstream {
            self.midstream(tcp, env)?;
        }
        let slot = self.open(packet.tuple, (packet.ingress, packet.pin), hash, env)?;
        if midstream.is_some() {
            let session = self.sessions.get_mut(slot);
            (session.state, session.last_ack) = (super::tcp::TcpState::Established as u8, 0);
            self.gauges.unopened(session);
            self.changed(slot);
        }
        Ok(slot)
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
        if self.left(session, &self.roots[slot as usize], env.up) && self.stays_left(slot, env.up) {
            return self.leave(slot, packet, env);
        }
        if packet.tcp.is_some_and(|tcp| tcp.flags.opens()) && self.begins_elsewhere(slot, packet, env.up) {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsReset, 1);
            return Ok(None);
        }
        Ok(Some(slot))
    }

    /// A connection begins, again or at all, whose session is on a WAN that takes nothing new while another one would.
    #[cold]
    pub(super) fn begins_elsewhere(&self, slot: u32, packet: &FromInside<'_>, up: &Uplinks) -> bool {
        let (root, session) = (self.roots[slot as usize], self.sessions.get(slot));
        if root.origin != Origin::Inside {
            return false;
        }
        let firm =
            root.mapping == NONE || self.standing(self.mappings.get(root.mapping), up) == Standing::Firm;
        let course = Course { group: root.group, pin: packet.pin };
        (!firm || !up.fit(session.wan())) && self.wan_for(packet.tuple.src, course, up).is_ok()
    }

    /// The session's WAN was left. What has an address of that WAN cannot go on in TCP, which is reset, and moves with its mapping in
    /// all else; what was opened from outside stays where it was asked for; what is not translated goes by any WAN.
    #[cold]
    fn leave(
        &mut self,
        slot: u32,
        packet: &FromInside<'_>,
        env: &mut Env<'_>,
    ) -> Result<Option<u32>, Outbound> {
        if self.is_on_standby() {
            // It goes on with the partner: a switch has not heard of that yet.
            return Err(Outbound::Drop(DropReason::WanLeft));
        }
        let root = self.roots[slot as usize];
        if root.kind == Kind::Plain {
            self.move_plain(slot, packet.pin, env).map_err(Outbound::Drop)?;
            return Ok(Some(slot));
        }
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
        if self.fate(self.sessions.get(slot), &root, env.up) == Fate::Drop {
            return Err(Outbound::Drop(DropReason::WanLeft));
        }
        match (root.kind, root.origin) {
            (Kind::Masquerade, _) => {
                self.settle(root.mapping, env).map_err(Outbound::Drop)?;
                self.rebind(slot, env).map_err(Outbound::Drop)?;
                Ok(Some(slot))
            }
            (Kind::Forward | Kind::OneToOne, Origin::Answered | Origin::Stranger) => {
                Err(Outbound::Drop(DropReason::WanLeft))
            }
            _ => {
                self.remove_session(slot, env.now, env.counters);
                env.counters.add(Stat::SessionsMoved, 1);
                Ok(None)
            }
        }
    }

    /// Puts a session where its mapping is now.
    pub(super) fn rebind(&mut self, slot: u32, env: &mut Env<'_>) -> Result<(), DropReason> {
        let mapping = *self.mappings.get(self.roots[slot as usize].mapping);
        let outside = (mapping.outside, mapping.outside_port);
        self.bind(slot, outside, (mapping.wan, mapping.of_session()), env)
    }

    /// Puts a session onto a WAN.
    pub(super) fn bind(
        &mut self,
        slot: u32,
        outside: (std::net::Ipv4Addr, u16),
        (wan, epoch): (WanId, u8),
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        let old = *self.sessions.get(slot);
        let mut new = old;
        new.bind(outside, wan);
        let (old_hash, new_hash) = (self.hash(old.key(OUTSIDE)), self.hash(new.key(OUTSIDE)));
        let kind = self.roots[slot as usize].kind;
        // Its own place, if it comes back to where it was.
        self.index.remove(old_hash, slot * 2 + 1);
        let room = self.make_way(new.key(OUTSIDE), new_hash, kind, env);
        if let Err(reason) = room
            .and_then(|()| self.index.insert(new_hash, slot * 2 + 1).map_err(|_| DropReason::NatTableFull))
        {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsReset, 1);
            return Err(reason);
        }
        *self.sessions.get_mut(slot) = new;
        self.roots[slot as usize].epoch = epoch;
        self.per_wan[old.wan().index()] -= 1;
        self.per_wan[new.wan().index()] += 1;
        let group = self.roots[slot as usize].group;
        if let Some(at) = self.tie(group, old.wan()) {
            self.per_tie[at] -= 1;
        }
        if let Some(at) = self.tie(group, new.wan()) {
            self.per_tie[at] += 1;
        }
        self.gauges.forget(slot);
        self.changed(slot);
        env.counters.add(Stat::SessionsMoved, 1);
        match new.protocol() {
            protocol::TCP => env.counters.add(Stat::SessionsMovedTcp, 1),
            protocol::ICMP => env.counters.add(Stat::SessionsMovedIcmp, 1),
            _ => {}
        }
        Ok(())
    }
}
