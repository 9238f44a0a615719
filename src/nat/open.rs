//! How a flow from inside begins: may it, how is it carried, and on whose mapping.
//!
//! Most are masqueraded: one mapping an inside endpoint, whatever the remote (RFC 4787 REQ-1). Others have no mapping: what goes as it is, what
//! has an address of its own (`statics`), protocols without ports (by the address alone), and TCP by a port that it
//! shares when nine in ten are used: each is found by its session only.

use std::net::Ipv4Addr;

use super::gauges::syn_time;
use super::log::What;
use super::mapping::Course;
use super::rules::{Action, Midstream};
use super::session::{Ends, Kind, NONE, Root, Session};
use super::statics::Way;
use super::timeouts::tick;
use super::uplinks::LEFT;
use super::{Env, Key, Nat, Outbound, Rules};
use crate::base::{IfaceId, WanId};
use crate::packet::{DropReason, Stat, Tuple};
use crate::table::lent::class_of;
use crate::wire::protocol;
use crate::wire::tcp::Tcp;

/// Ports that are tried for a flow before it is refused, should another one with the same remote have them.
const TRIES: usize = 4;

/// Ports in use that are tried to be shared. With the same remote on half of them one in billions of flows finds none.
const SHARED_TRIES: usize = 32;

/// Whether a protocol has ports, or what serves as one.
#[inline(always)]
pub(super) const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::UDP | protocol::TCP | protocol::ICMP)
}

/// Those of a session that begins with a packet from inside.
#[inline(always)]
pub(super) fn ends(t: &Tuple, outside: (Ipv4Addr, u16), wan: WanId) -> Ends {
    let icmp = t.protocol == protocol::ICMP;
    Ends {
        protocol: t.protocol,
        inside: (t.src, t.src_port),
        outside,
        remote: (t.dst, if icmp { 0 } else { t.dst_port }),
        wan,
    }
}

impl Nat {
    /// What becomes of TCP that begins in its middle.
    pub(super) fn midstream(&mut self, tcp: Tcp, env: &Env<'_>) -> Result<(), Outbound> {
        let why = DropReason::NatTcpMidstream;
        if self.may_not_know(env.now) {
            return Err(Outbound::Drop(why));
        }
        match env.rules.midstream {
            Midstream::Adopt if tcp.flags.is_plain() => Ok(()),
            Midstream::Reset | Midstream::Adopt if !tcp.flags.rst() => Err(Outbound::Reset(why)),
            _ => Err(Outbound::Drop(why)),
        }
    }

    /// Makes a session for a packet that has none.
    #[inline]
    pub(super) fn open(
        &mut self,
        t: &Tuple,
        (ingress, pin): (IfaceId, Option<WanId>),
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, Outbound> {
        if self.sessions.is_full() {
            return Err(Outbound::Drop(DropReason::NatTableFull));
        }
        let rules = env.rules;
        if !rules.firewall.is_empty() {
            rules.firewall.judge(ingress, t, false, Action::Accept).map_err(Outbound::Drop)?;
        }
        let course = Course { group: rules.group(ingress, t), pin };
        let way = match rules.statics.is_empty() {
            true => Way::Masquerade,
            false => {
                let chosen =
                    || self.hosts.choose(self.hosts.find(&self.key, t.src), t.src, course.group, env.up);
                rules.statics.way(ingress, t, env.up, chosen)
            }
        };
        let opened = match way {
            Way::Masquerade if has_ports(t.protocol) => self.masquerade(t, course, hash, env),
            Way::Masquerade => self.portless(t, course, hash, env),
            Way::Plain => {
                let wan = self.wan_for(t.src, course, env.up);
                wan.and_then(|wan| {
                    self.fixed(t, (t.src, t.src_port), (wan, course.group), Kind::Plain, hash, env)
                })
            }
            Way::OneToOne(one) => {
                self.fixed(t, (one.outside, t.src_port), (one.wan, course.group), Kind::OneToOne, hash, env)
            }
            Way::Nowhere => Err(DropReason::WanDown),
        };
        opened.map_err(Outbound::Drop)
    }

    /// On the mapping of its inside endpoint.
    #[inline(always)]
    fn masquerade(
        &mut self,
        t: &Tuple,
        course: Course,
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let key = Key::mapping(t.protocol, course, t.src, t.src_port);
        let mapping_hash = self.hash(key);
        let Some(slot) = self.find_mapping(mapping_hash, key) else {
            return self.masquerade_anew(t, course, (hash, mapping_hash), env);
        };
        self.fair(self.mappings.get(slot).host, env)?;
        if self.settle(slot, env)? {
            return self.on_mapping::<false>(t, slot, hash, env);
        }
        self.succeed(t, course, (slot, key), (hash, mapping_hash), env)
    }

    /// A new mapping takes the place of one that serves no new flow, as far as these are concerned.
    #[cold]
    fn succeed(
        &mut self,
        t: &Tuple,
        course: Course,
        (old, key): (u32, Key),
        hashes: (u64, u64),
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let opened = self.masquerade_anew(t, course, hashes, env)?;
        // Not before: if that fails nothing has changed.
        if self.roots[opened as usize].mapping != NONE {
            self.orphan(old, key, hashes.1);
        }
        Ok(opened)
    }

    /// On a mapping that is made for it, or by a port that it shares.
    #[inline(always)]
    fn masquerade_anew(
        &mut self,
        t: &Tuple,
        course: Course,
        (hash, mapping_hash): (u64, u64),
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        for _ in 0..TRIES {
            let Some(slot) = self.map(t, course, mapping_hash, env)? else {
                return self.share(t, course, hash, env);
            };
            match self.on_mapping::<true>(t, slot, hash, env) {
                Err(DropReason::NatClash) => {}
                done => return done,
            }
        }
        Err(DropReason::NatClash)
    }

    /// A session on a mapping, which goes again if it was made for this (`ANEW`) and cannot have it.
    #[inline(always)]
    fn on_mapping<const ANEW: bool>(
        &mut self,
        t: &Tuple,
        slot: u32,
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let mapping = *self.mappings.get(slot);
        // Of a WAN that is down while there is none to move to: no session for what is not sent.
        let outside = (mapping.outside, mapping.outside_port);
        let made = match ANEW || env.up.fit(mapping.wan) {
            true => {
                let session = self.begun(t, outside, mapping.wan, env);
                let root = Root {
                    mapping: slot,
                    created: env.now.as_s() as u32,
                    epoch: mapping.of_session(),
                    group: mapping.group,
                    host: mapping.host,
                    ..Root::default()
                };
                let bond = env.up.bond(mapping.group, mapping.wan);
                if !ANEW && bond.is_none_or(|bond| bond.epoch != mapping.epoch) {
                    env.counters.add(Stat::MappingsOnLeftWan, 1);
                }
                self.add_session(session, hash, root, env)
            }
            false => Err(DropReason::WanDown),
        };
        if made.is_err() && self.mappings.get(slot).sessions == 0 {
            self.remove_mapping(slot, true, env.now, env.counters);
        }
        made
    }

    /// A session whose first packet comes from inside.
    #[inline(always)]
    pub(super) fn begun(&self, t: &Tuple, outside: (Ipv4Addr, u16), wan: WanId, env: &Env<'_>) -> Session {
        let mut session = Session::new(&ends(t, outside, wan));
        session.state = self.timeouts.first_state(t.protocol, t.dst_port);
        session.refreshed = tick(env.now);
        // Until the answer; what is no TCP is not asked.
        session.last_ack = syn_time(env.now);
        session
    }

    /// A session without a mapping, by a place outside that is given.
    pub(super) fn fixed(
        &mut self,
        t: &Tuple,
        outside: (Ipv4Addr, u16),
        (wan, group): (WanId, u8),
        kind: Kind,
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let bond = env.up.bond(group, wan).filter(|_| env.up.fit(wan)).ok_or(DropReason::WanDown)?;
        let session = self.begun(t, outside, wan, env);
        self.unmapped(session, (kind, group, bond.of(t.protocol, kind)), hash, env)
    }

    /// Adds a session that has no mapping; its host may have another one.
    pub(super) fn unmapped(
        &mut self,
        session: Session,
        (kind, group, epoch): (Kind, u8, u8),
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let host = self.hosts.find(&self.key, session.inside().0);
        self.fair(host, env)?;
        let spent = self.hosts.may_spend(host, env.rules.creation_rate, env.now)?;
        let created = env.now.as_s() as u32;
        let root = Root { mapping: NONE, created, kind, group, epoch, ..Root::default() };
        let slot = self.add_session(session, hash, root, env)?;
        self.hosts.spend(self.roots[slot as usize].host, spent);
        self.log_session(What::SessionCreated, &session, kind, env.now, env.counters);
        Ok(slot)
    }

    /// Whether a host may have another session.
    #[inline(always)]
    pub(super) fn fair(&self, host: u32, env: &Env<'_>) -> Result<(), DropReason> {
        self.fair_at(host, env.rules)
    }

    #[inline(always)]
    pub(super) fn fair_at(&self, host: u32, rules: &Rules) -> Result<(), DropReason> {
        let capacity = self.sessions.capacity();
        let short = self.sessions.len() as u64 * 10 >= u64::from(capacity) * 9;
        let fair = |hosts: usize| short.then(|| capacity / hosts as u32);
        self.hosts.may_open(host, rules, fair)
    }

    /// A protocol without ports: by the address of the host's WAN, if no other host speaks it to the same remote there.
    fn portless(
        &mut self,
        t: &Tuple,
        course: Course,
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let wan = self.wan_for(t.src, course, env.up)?;
        let at = self.address(t.src, wan, env.up);
        let outside = (env.up.address(wan, at as u16), 0);
        self.fixed(t, outside, (wan, course.group), Kind::Portless, hash, env)
    }

    /// TCP by a port that others have as well, with other remotes.
    #[cold]
    fn share(&mut self, t: &Tuple, course: Course, hash: u64, env: &mut Env<'_>) -> Result<u32, DropReason> {
        let wan = self.wan_for(t.src, course, env.up)?;
        let at = self.address(t.src, wan, env.up);
        let address = env.up.address(wan, at as u16);
        for _ in 0..SHARED_TRIES {
            let pools = self.ports.get_mut(wan.index()).map(|pools| &mut pools[class_of(t.protocol)]);
            let pool = pools.and_then(|pools| pools.pool(at));
            let port = pool.and_then(|pool| pool.random_in_use(&mut self.rng));
            let port = port.ok_or(DropReason::NatPortsExhausted)?;
            match self.fixed(t, (address, port), (wan, course.group), Kind::Shared, hash, env) {
                Err(DropReason::NatClash) => {}
                done => {
                    env.counters.add(Stat::SessionsShared, u64::from(done.is_ok()));
                    return done;
                }
            }
        }
        Err(DropReason::NatPortsExhausted)
    }

    /// Puts a session that is not translated onto a WAN that carries.
    pub(super) fn move_plain(
        &mut self,
        slot: u32,
        pin: Option<WanId>,
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        let group = self.roots[slot as usize].group;
        let wan = self.wan_for(self.sessions.get(slot).inside().0, Course { group, pin }, env.up)?;
        let epoch = env.up.bond(group, wan).map_or(LEFT, |bond| bond.epoch);
        let outside = self.sessions.get(slot).outside();
        self.bind(slot, outside, (wan, epoch), env)
    }
}
