//! Mappings: where an inside endpoint stands on a WAN, how it gets there, moves, and leaves.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::log::What;
use super::mapping::{Course, Mapping, Place};
use super::session::Key;
use super::standing::Standing;
use super::{ALL_PORTS, Env, Nat, NatConfig, PortSlice, Reserved, Uplinks};
use crate::base::{Nanos, WanId};
use crate::packet::{Counters, DropReason, Stat, Tuple};
use crate::table::bags::Bags;
use crate::table::hash::HashKey;
use crate::table::lent::{CLASSES, PoolId, class_of};
use crate::table::ports::{PortPool, PortPools};
use crate::wire::protocol;

/// Which of `n` addresses of a WAN a host keeps to.
#[inline]
pub(super) fn address_of(key: &HashKey, host: Ipv4Addr, n: usize) -> usize {
    match n {
        0 | 1 => 0,
        n => ((key.hash(u64::from(host.to_bits()), 0) >> 32) as usize * n) >> 32,
    }
}

/// The port tables of so many addresses of a WAN have their memory at the start, 1.5 MB each: else each draw may take a page, and the first
/// failover to a WAN that nobody has used waits for all of them.
const READY: usize = 32;
/// Or of one address for so many sessions, if that is more: 96 bytes a session.
const SESSIONS_EACH: usize = 16_384;

/// The pools of a worker, [wan][udp, tcp, icmp], without what is reserved.
pub(super) fn pools(config: &NatConfig, slice: &impl PortSlice) -> Vec<[PortPools; CLASSES]> {
    let bags = [false, true].map(|one| Bags::new(one, |port| slice.holds(port)));
    let pools = |n: &usize| {
        let ready = *n <= READY.max(config.sessions as usize / SESSIONS_EACH);
        let pools =
            |bags: &Arc<Bags>| PortPools::new(*n, bags.clone(), config.quarantine, (ready, config.reserve));
        [pools(&bags[0]), pools(&bags[0]), pools(&bags[1])]
    };
    let mut ports: Vec<_> = config.wans.iter().map(pools).collect();
    take_out(&mut ports, &config.reserved);
    ports
}

/// Takes reserved ports out of pools from which none was drawn.
fn take_out(ports: &mut [[PortPools; CLASSES]], reserved: &[Reserved]) {
    let pool_of = |r: &Reserved| (r.0.index(), class_of(r.2), usize::from(r.1));
    for (n, pool) in reserved.iter().map(pool_of).enumerate() {
        // Once for each pool: a walk over all its ports.
        if reserved[..n].iter().any(|r| pool_of(r) == pool) {
            continue;
        }
        let mut out = vec![false; ALL_PORTS];
        for (.., first, last) in reserved.iter().filter(|r| pool_of(r) == pool) {
            (*first..=*last).for_each(|port| out[usize::from(port)] = true);
        }
        let (wan, class, address) = pool;
        if let Some(mut pool) = ports.get_mut(wan).and_then(|pools| pools[class].pool(address)) {
            pool.remove(|port| out[usize::from(port)]);
        }
    }
}

impl Nat {
    pub(super) fn pool(&mut self, wan: WanId, address: u16, protocol: u8) -> Option<PortPool<'_>> {
        self.ports.get_mut(wan.index())?[class_of(protocol)].pool(usize::from(address))
    }

    /// The mapping that has the outside endpoint which a packet from outside is for.
    pub(super) fn find_mapping_outside(&self, wan: WanId, t: &Tuple, up: &Uplinks) -> Option<u32> {
        let address = usize::from(up.get(wan)?.addresses.position(t.dst)?);
        let slot = self.ports.get(wan.index())?[class_of(t.protocol)].user(address, t.dst_port)?;
        let m = (slot < self.mappings.capacity()).then(|| self.mappings.get(slot))?;
        let its = m.sessions > 0
            && (m.wan, m.outside, m.outside_port) == (wan, t.dst, t.dst_port)
            && m.protocol == t.protocol;
        its.then_some(slot)
    }

    /// Makes sure that a mapping is where a new flow may go; one whose WAN was left moves. False: it lives on for the TCP
    /// that it has, and a new flow needs another one.
    #[inline(always)]
    pub(super) fn settle(&mut self, slot: u32, env: &mut Env<'_>) -> Result<bool, DropReason> {
        match self.standing(self.mappings.get(slot), env.up) {
            Standing::Firm => Ok(true),
            Standing::Grace => Ok(self.revive(slot, env)),
            Standing::Left => self.resettle(slot, env).map(|()| true),
        }
    }

    /// A mapping whose WAN was left, and is chosen again before its TCP was reset, serves again.
    #[cold]
    fn revive(&mut self, slot: u32, env: &Env<'_>) -> bool {
        let old = *self.mappings.get(slot);
        let wan = self.choose(old.host, old.inside, old.course(), env.up);
        let bond = env.up.bond(old.group, old.wan).filter(|_| wan == Some(old.wan) && env.up.fit(old.wan));
        let Some(bond) = bond else { return false };
        self.hosts.unstick(&old);
        let new = Mapping { epoch: bond.epoch, ..old };
        *self.mappings.get_mut(slot) = new;
        self.hosts.stick(&new, env.up);
        true
    }

    /// A mapping that has another one in its place for new flows lives on for those that it has.
    #[cold]
    pub(super) fn orphan(&mut self, slot: u32, key: Key, hash: u64) {
        let old = *self.mappings.get(slot);
        // It may have ended since.
        if old.sessions > 0 && old.key() == key && !old.is_orphan() {
            self.mapping_index.remove(hash, slot);
            self.hosts.unstick(&old);
            self.mappings.get_mut(slot).orphan();
        }
    }

    #[cold]
    fn resettle(&mut self, slot: u32, env: &mut Env<'_>) -> Result<(), DropReason> {
        let old = *self.mappings.get(slot);
        let wan = self.choose(old.host, old.inside, old.course(), env.up);
        let place = self.place(slot, &old, wan, env)?;
        self.release_port(&old, false, env.now);
        self.hosts.unstick(&old);
        let new = self.mappings.get_mut(slot);
        new.put(&place);
        self.hosts.stick(new, env.up);
        let new = *new;
        self.log_mapping(What::Deleted { moved: true }, &old, env.now, env.counters);
        self.log_mapping(What::Created { moved: true }, &new, env.now, env.counters);
        env.counters.add(Stat::MappingsMoved, 1);
        Ok(())
    }

    /// Finds a place on a WAN for a mapping, and a port there. A host keeps to one address of a WAN (RFC 4787 REQ-2): when that has no
    /// port left it is refused, and not put onto another one (RFC 7857 section 4).
    #[inline(always)]
    fn place(
        &mut self,
        slot: u32,
        mapping: &Mapping,
        wan: Option<WanId>,
        env: &Env<'_>,
    ) -> Result<Place, DropReason> {
        let wan = wan.ok_or(DropReason::WanNone)?;
        let bond = env.up.bond(mapping.group, wan).ok_or(DropReason::WanNone)?;
        let uplink = env.up.get(wan).filter(|u| u.fit).ok_or(DropReason::WanDown)?;
        let pools = self.ports.get_mut(wan.index()).ok_or(DropReason::WanNone)?;
        let pools = &mut pools[class_of(mapping.protocol)];
        let n = pools.len().min(uplink.addresses.len());
        let at = address_of(&self.key, mapping.inside, n);
        let mut pool = pools.pool(at).filter(|_| n > 0).ok_or(DropReason::NatPortsExhausted)?;
        let outside = uplink.addresses.get(at).ok_or(DropReason::NatPortsExhausted)?;
        let drawn = pool.draw(&mut self.rng, env.now, mapping.inside_port, slot);
        if self.lots.low > 0 && pool.free() < self.lots.low {
            let id = PoolId { wan, address: at as u16, protocol: mapping.protocol };
            self.lots.runs_low(id, pool.ripe(env.now));
        }
        let outside_port = drawn.ok_or(DropReason::NatPortsExhausted)?;
        Ok(Place { outside, outside_port, address: at as u16, wan, epoch: bond.epoch, tcp: bond.tcp })
    }

    /// Makes a mapping for an inside endpoint; `None`: its flow is to share a port.
    #[inline(always)]
    pub(super) fn map(
        &mut self,
        t: &Tuple,
        course: Course,
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<Option<u32>, DropReason> {
        let host = self.hosts.enter(&self.key, t.src);
        let wan = self.choose(host, t.src, course, env.up);
        if t.protocol == protocol::TCP && env.rules.share_ports && self.runs_short(t, wan, env.up).is_some() {
            self.hosts.leave(&self.key, host);
            return Ok(None);
        }
        let spent = match self.may_map(host, t, wan, env) {
            Ok(spent) => spent,
            Err(reason) => return self.not_mapped(host, reason),
        };
        match self.map_for((host, spent), t, (course, wan), hash, env) {
            Ok(slot) => Ok(Some(slot)),
            Err(reason) => self.not_mapped(host, reason),
        }
    }

    #[cold]
    fn not_mapped(&mut self, host: u32, reason: DropReason) -> Result<Option<u32>, DropReason> {
        self.hosts.leave(&self.key, host);
        Err(reason)
    }

    /// Whether a host may have another mapping and its session: by what it has, then by its rate, of which it gives what is spent then.
    #[inline(always)]
    fn may_map(
        &mut self,
        host: u32,
        t: &Tuple,
        wan: Option<WanId>,
        env: &Env<'_>,
    ) -> Result<Nanos, DropReason> {
        self.fair(host, env)?;
        let class = class_of(t.protocol);
        let fair = |hosts: usize| self.runs_short(t, wan, env.up).map(|all| (all / hosts) as u32);
        self.hosts.may_map(host, class, env.rules, fair)?;
        self.hosts.may_spend(host, env.rules.creation_rate, env.now)
    }

    /// If fewer than one in ten of the ports are free that a new mapping on a WAN could have: how many there are.
    #[inline]
    pub(super) fn runs_short(&self, t: &Tuple, wan: Option<WanId>, up: &Uplinks) -> Option<usize> {
        let wan = wan?;
        let pools = &self.ports.get(wan.index())?[class_of(t.protocol)];
        Some(pools.short(self.address(t.src, wan, up))? * pools.len())
    }

    /// Which of a WAN's addresses a host keeps to.
    pub(super) fn address(&self, host: Ipv4Addr, wan: WanId, up: &Uplinks) -> usize {
        let pools = self.ports.get(wan.index()).map_or(0, |pools| pools[0].len());
        address_of(&self.key, host, pools.min(up.get(wan).map_or(0, |uplink| uplink.addresses.len())))
    }

    /// Gives the port back of a mapping for which there is no room. By value, as its maker has it in registers.
    #[cold]
    #[inline(never)]
    fn not_placed(&mut self, mapping: Mapping, now: Nanos) -> Result<u32, DropReason> {
        self.release_port(&mapping, true, now);
        Err(DropReason::NatTableFull)
    }

    #[inline(always)]
    fn map_for(
        &mut self,
        (host, spent): (u32, Nanos),
        t: &Tuple,
        (course, wan): (Course, Option<WanId>),
        hash: u64,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let blank = Mapping {
            host,
            inside: t.src,
            inside_port: t.src_port,
            protocol: t.protocol,
            pin: course.pinned(),
            group: course.group,
            ..Mapping::default()
        };
        let slot = self.mappings.next().ok_or(DropReason::NatTableFull)?;
        let place = self.place(slot, &blank, wan, env)?;
        let mut mapping = blank;
        mapping.put(&place);
        if self.mapping_index.insert(hash, slot).is_err() {
            return self.not_placed(mapping, env.now);
        }
        // It is the slot that was named.
        let _ = self.mappings.insert(mapping);
        self.hosts.mapped(&mapping, class_of(t.protocol), spent, env.up);
        if self.log.is_some() {
            // Not this one: lent to a call it would be put together on the stack and copied, for which its writes are waited for.
            let mapping = *self.mappings.get(slot);
            self.log_mapping(What::Created { moved: false }, &mapping, env.now, env.counters);
        }
        env.counters.add(Stat::MappingsCreated, 1);
        Ok(slot)
    }

    /// Ends a mapping.
    pub(super) fn remove_mapping(&mut self, slot: u32, closed: bool, now: Nanos, counters: &mut Counters) {
        let mapping = *self.mappings.get(slot);
        if !mapping.is_orphan() {
            self.mapping_index.remove(self.hash(mapping.key()), slot);
        }
        self.mappings.remove(slot);
        self.release_port(&mapping, closed, now);
        self.hosts.ports(mapping.host, class_of(mapping.protocol), false);
        self.hosts.unstick(&mapping);
        self.hosts.leave(&self.key, mapping.host);
        if let Some(its) = self.copies.as_mut().and_then(|copies| copies.mapped.get_mut(slot as usize)) {
            *its = false;
        }
        self.log_mapping(What::Deleted { moved: false }, &mapping, now, counters);
        counters.add(Stat::MappingsRemoved, 1);
    }

    pub(super) fn release_port(&mut self, mapping: &Mapping, closed: bool, now: Nanos) {
        if !mapping.has_place() {
            return;
        }
        let Some(mut pool) = self.pool(mapping.wan, mapping.address, mapping.protocol) else { return };
        if closed {
            pool.release_at_once(mapping.outside_port);
        } else {
            pool.release(mapping.outside_port, now);
        }
    }
}
