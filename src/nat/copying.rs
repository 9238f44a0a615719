//! A flow of the partner's becomes a copy: as much of it as can be made again from its record and this member's own WANs and rules.
//!
//! Its place is found by the outside address, since the members' WANs may differ; its port is reserved (`table::taken`), its mapping is the one that
//! has that place, or a new one. Invariants:
//! - after a record its flow is as the record says, or is not there: counted as foreign (no WAN has that address) or refused;
//! - a place belongs to one mapping. That of an older copy gives way to what the partner says now, a live one of this member's own does not;
//! - limits and rates of hosts do not count: the partner has judged by them.

use std::net::Ipv4Addr;

use super::log::What;
use super::mapping::{Course, Mapping, Place};
use super::open::has_ports;
use super::session::{AWAY, Ends, INSIDE, Kind, NONE, NOWHERE, OUTSIDE, Origin, Root, Session};
use super::tcp::TcpState;
use super::timeouts::tick;
use super::uplinks::{DEFAULT_GROUP, LEFT, NO_GROUP};
use super::{Env, Nat};
use crate::base::{Nanos, WanId};
use crate::packet::{Stat, Tuple};
use crate::table::lent::class_of;
use crate::wire::protocol;
use crate::wire::record::{self, Entry};

/// Places that are taken from older copies in a ms, at most: each makes every flow be judged anew.
const MOST_TAKEN: u32 = 4;

/// Where a copy goes: its WAN, and which of the WAN's addresses it has, if it has one of those.
type There = (WanId, u16);

impl Nat {
    /// Takes the partner's word for a flow. `owns` says whether an address is the router's on a WAN. Gives whether other flows have lost
    /// their place by it: they must be judged anew.
    pub fn copy(&mut self, entry: &Entry, owns: impl Fn(WanId, Ipv4Addr) -> bool, env: &mut Env<'_>) -> bool {
        let Some(before) = self.copies.as_ref().map(|copies| copies.taken) else { return false };
        match self.copy_flow(entry, &owns, env) {
            Ok(slot) => {
                if let Some(copies) = &mut self.copies {
                    copies.told(slot);
                }
            }
            Err(why) => env.counters.add(why, 1),
        }
        self.copies.as_ref().is_some_and(|copies| copies.taken != before)
    }

    /// The session of a flow that the partner knows by this key.
    pub(super) fn find_copied(&self, key: &record::Key) -> Option<u32> {
        let key = blank(key, NOWHERE, (Ipv4Addr::UNSPECIFIED, 0)).key(INSIDE);
        self.find(key, INSIDE)
    }

    fn copy_flow(
        &mut self,
        entry: &Entry,
        owns: &impl Fn(WanId, Ipv4Addr) -> bool,
        env: &mut Env<'_>,
    ) -> Result<u32, Stat> {
        let known = Kind::from_u8(entry.kind).zip(Origin::from_u8(entry.origin));
        let (kind, origin) = known.filter(|(kind, _)| is_sound(entry, *kind)).ok_or(Stat::CopiesRefused)?;
        let there = self.find_place(entry, kind, owns, env);
        let group = if env.up.groups.len() > usize::from(entry.group) || entry.group == NO_GROUP {
            entry.group
        } else {
            DEFAULT_GROUP
        };
        let found = self.find_copied(&entry.key);
        let (there, kind) = match there {
            Ok(there) => (there, kind),
            Err(Stat::CopiesForeign) => {
                env.counters.add(Stat::CopiesForeign, 1);
                ((AWAY, 0), Kind::Away)
            }
            Err(why) => {
                // What it was before it is no more.
                found.into_iter().for_each(|slot| self.remove_session(slot, env.now, env.counters));
                return Err(why);
            }
        };
        let outside = if kind == Kind::Away { entry.key.inside() } else { entry.outside };
        let session = blank(&entry.key, there.0, outside);
        if let Some(slot) = found {
            let (old, root) = (self.sessions.get(slot), self.roots[slot as usize]);
            let place = |s: &Session| (s.wan(), s.outside());
            let placed = root.mapping == NONE || self.mappings.get(root.mapping).has_place();
            if place(old) == place(&session) && (root.kind, root.group) == (kind, group) && placed {
                self.update(slot, entry, origin, env);
                return Ok(slot);
            }
            self.remove_session(slot, env.now, env.counters);
        }
        self.add_copy(session, entry, (kind, origin, group), there, env)
    }

    /// The flow is here, and where the record says: its state. One that has ended and begun again may have been begun by the other side.
    fn update(&mut self, slot: u32, entry: &Entry, origin: Origin, env: &Env<'_>) {
        if self.roots[slot as usize].origin == Origin::Stranger {
            self.answered(slot);
        }
        if origin != Origin::Stranger {
            self.roots[slot as usize].origin = origin;
        }
        self.set_state(slot, entry, env.now);
        let mapping = self.roots[slot as usize].mapping;
        if mapping != NONE && Mapping::is_orphans(entry.pin) {
            let key = self.mappings.get(mapping).key();
            self.orphan(mapping, key, self.hash(key));
        }
        self.bind_anew(slot, env.up);
    }

    fn set_state(&mut self, slot: u32, entry: &Entry, now: Nanos) {
        let state = self.state_of(entry);
        let session = self.sessions.get_mut(slot);
        (session.state, session.refreshed) = (state, tick(now));
        // A reset that carries an old one is not accepted, one that carries none is not sent.
        session.last_ack = entry.last_ack;
    }

    /// Which timer runs: that of TCP is told, others are this member's.
    fn state_of(&self, entry: &Entry) -> u8 {
        let protocol = entry.key.protocol();
        let tcp = protocol == protocol::TCP;
        if tcp { entry.state } else { self.timeouts.first_state(protocol, entry.key.remote().1) }
    }

    fn add_copy(
        &mut self,
        mut session: Session,
        entry: &Entry,
        (kind, origin, group): (Kind, Origin, u8),
        (wan, address): There,
        env: &mut Env<'_>,
    ) -> Result<u32, Stat> {
        session.state = self.state_of(entry);
        session.refreshed = tick(env.now);
        self.clear_way(&session, kind, env);
        if self.sessions.is_full() {
            self.make_room(env.now, env.counters);
        }
        let (mapping, host, group) = match kind {
            Kind::Masquerade => {
                let slot = self.seat(entry, group, (wan, address), env)?;
                let mapping = self.mappings.get(slot);
                (slot, mapping.host, mapping.group)
            }
            _ => (NONE, NONE, group),
        };
        let created = env.now.as_s() as u32;
        let root = Root { mapping, created, kind, group, host, origin, ..Root::default() };
        let hash = self.hash(session.key(INSIDE));
        let Ok(slot) = self.add_session(session, hash, root, env) else {
            if mapping != NONE && self.mappings.get(mapping).sessions == 0 {
                self.remove_mapping(mapping, true, env.now, env.counters);
            }
            return Err(Stat::CopiesRefused);
        };
        // It was no SYN that came here.
        if session.protocol() == protocol::TCP && session.state == TcpState::SynOut as u8 {
            self.gauges.unopened(&session);
        }
        self.set_state(slot, entry, env.now);
        self.bind_anew(slot, env.up);
        self.log_session(What::SessionCreated, &session, kind, env.now, env.counters);
        env.counters.add(Stat::CopiesMade, 1);
        Ok(slot)
    }

    /// Ends an older copy that has the place of a flow.
    fn clear_way(&mut self, session: &Session, kind: Kind, env: &mut Env<'_>) {
        let Some(slot) = self.find(session.key(OUTSIDE), OUTSIDE) else { return };
        let both = kind == Kind::Masquerade && self.roots[slot as usize].kind == Kind::Masquerade;
        if !both && self.copies.as_ref().is_some_and(|copies| copies.is_copy(slot)) {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::CopiesEnded, 1);
        }
    }

    /// Where a flow goes here.
    fn find_place(
        &self,
        entry: &Entry,
        kind: Kind,
        owns: &impl Fn(WanId, Ipv4Addr) -> bool,
        env: &Env<'_>,
    ) -> Result<There, Stat> {
        let (inside, remote, outside) = (entry.key.inside(), entry.key.remote(), entry.outside);
        let count = self.wans.min(env.up.wans.len());
        let all = || std::iter::once(entry.wan).chain((0..count).map(|wan| WanId(wan as u8)));
        let mut all = all().filter(|wan| wan.index() < count);
        let target = |wan: WanId, main: bool| {
            let (src, src_port) = remote;
            let (dst, dst_port) = outside;
            let t = Tuple { protocol: entry.key.protocol(), src, src_port, dst, dst_port };
            env.rules.statics.target(wan, main, &t).filter(|target| target.kind == kind)
        };
        let foreign = Stat::CopiesForeign;
        match kind {
            Kind::Internal => Ok((NOWHERE, 0)),
            Kind::Away => Err(Stat::CopiesRefused),
            Kind::Plain => {
                Some(entry.wan).filter(|wan| wan.index() < count).map(|wan| (wan, 0)).ok_or(foreign)
            }
            Kind::Masquerade | Kind::Shared | Kind::Portless => all
                .find_map(|wan| Some((wan, env.up.get(wan)?.addresses.position(outside.0)?)))
                .ok_or(foreign),
            Kind::OneToOne | Kind::Forward => {
                let owned = |wan: &WanId| match kind {
                    Kind::OneToOne => env.rules.statics.is_outside(*wan, outside.0),
                    _ => owns(*wan, outside.0),
                };
                let wan = all.find(owned).ok_or(foreign)?;
                let target = target(wan, kind == Kind::Forward);
                let same = target.is_some_and(|target| (target.inside, target.port) == inside);
                if same { Ok((wan, 0)) } else { Err(Stat::CopiesRefused) }
            }
        }
    }

    /// The mapping that has the place of a flow, or is given it.
    fn seat(&mut self, entry: &Entry, group: u8, there: There, env: &mut Env<'_>) -> Result<u32, Stat> {
        let ((inside, inside_port), protocol) = (entry.key.inside(), entry.key.protocol());
        let (outside, outside_port) = entry.outside;
        let (wan, address) = there;
        let class = class_of(protocol);
        let pools = self.ports.get(wan.index()).map(|pools| &pools[class]).ok_or(Stat::CopiesRefused)?;
        let user = pools.user(address.into(), outside_port).filter(|slot| *slot < self.mappings.capacity());
        if let Some(slot) = user {
            let m = *self.mappings.get(slot);
            if (m.inside, m.inside_port, m.protocol, m.outside) == (inside, inside_port, protocol, outside) {
                if Mapping::is_orphans(entry.pin) {
                    self.orphan(slot, m.key(), self.hash(m.key()));
                }
                return Ok(slot);
            }
        }
        let pin = entry.pin.checked_sub(1).map(WanId).filter(|wan| wan.index() < env.up.wans.len());
        let course = Course { group, pin };
        let slot = self.mappings.next().ok_or(Stat::CopiesRefused)?;
        match user {
            Some(older) => {
                self.take_place(older, env.now)?;
                self.pool(wan, address, protocol)
                    .into_iter()
                    .for_each(|mut pool| pool.pass_on(outside_port, slot));
            }
            None => {
                let free = self.pool(wan, address, protocol);
                let taken = free.is_some_and(|mut pool| pool.take(outside_port, slot, env.now));
                taken.then_some(()).ok_or(Stat::CopiesRefused)?;
            }
        }
        let host = self.hosts.enter(&self.key, inside);
        let pin = course.pinned();
        let mut mapping = Mapping { host, inside, inside_port, protocol, pin, group, ..Mapping::default() };
        let (epoch, tcp) = env.up.bond(group, wan).map_or((LEFT, LEFT), |bond| (bond.epoch, bond.tcp));
        mapping.put(&Place { outside, outside_port, address, wan, epoch, tcp });
        if Mapping::is_orphans(entry.pin) {
            mapping.orphan();
        } else {
            let key = mapping.key();
            let hash = self.hash(key);
            if let Some(other) = self.find_mapping(hash, key) {
                self.orphan(other, key, hash);
            }
            if self.mapping_index.insert(hash, slot).is_err() {
                self.release_port(&mapping, true, env.now);
                self.hosts.leave(&self.key, host);
                return Err(Stat::CopiesRefused);
            }
        }
        // It is the slot that was named.
        let _ = self.mappings.insert(mapping);
        self.hosts.ports(host, class, true);
        self.hosts.stick(&mapping, env.up);
        if let Some(its) = self.copies.as_mut().and_then(|copies| copies.mapped.get_mut(slot as usize)) {
            *its = true;
        }
        self.log_mapping(What::Created { moved: false }, &mapping, env.now, env.counters);
        env.counters.add(Stat::MappingsCreated, 1);
        Ok(slot)
    }

    /// Takes its place from a mapping that was made for a copy: what it has ends with the sweep, or moves, should this member take over
    /// before.
    fn take_place(&mut self, slot: u32, now: Nanos) -> Result<(), Stat> {
        let copies = self.copies.as_mut().ok_or(Stat::CopiesRefused)?;
        let (at, count) = copies.taken;
        let count = if at == tick(now) { count } else { 0 };
        let copied = copies.mapped.get(slot as usize) == Some(&true);
        if !copied || count >= MOST_TAKEN {
            return Err(Stat::CopiesRefused);
        }
        copies.taken = (tick(now), count + 1);
        let old = *self.mappings.get(slot);
        self.orphan(slot, old.key(), self.hash(old.key()));
        self.mappings.get_mut(slot).lose_place();
        self.sweep.mark(true);
        Ok(())
    }
}

/// What is told fits together.
fn is_sound(entry: &Entry, kind: Kind) -> bool {
    let protocol = entry.key.protocol();
    let tcp = protocol == protocol::TCP;
    let internal = matches!(entry.key, record::Key::Internal { .. });
    let kinds = match kind {
        Kind::Masquerade => has_ports(protocol),
        Kind::Shared => tcp,
        Kind::Portless => !has_ports(protocol),
        Kind::Plain => entry.outside == entry.key.inside(),
        Kind::OneToOne | Kind::Forward | Kind::Internal => true,
        // The partner tells of its own.
        Kind::Away => false,
    };
    kinds && internal == (kind == Kind::Internal) && (!tcp || entry.state <= TcpState::Transitory as u8)
}

/// A session of a key, at a place, without a timer.
fn blank(key: &record::Key, wan: WanId, outside: (Ipv4Addr, u16)) -> Session {
    let (protocol, inside, remote) = (key.protocol(), key.inside(), key.remote());
    match key {
        record::Key::Internal { .. } => {
            Session::new(&Ends { protocol, inside, outside: inside, remote, wan }).internal()
        }
        record::Key::Flow { .. } => Session::new(&Ends { protocol, inside, outside, remote, wan }),
    }
}
