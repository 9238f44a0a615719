//! The tables held against one another. No packet passes here: simulations and fuzzing ask for it.
//!
//! What must hold between two packets: a session is found from both its sides, and is counted by its mapping, its host, its WAN and
//! the strangers; a mapping is found from inside and has its port; a ring lets in with live sessions of its own mapping only; and
//! nothing is in an index or counted that is in no table.

use std::collections::HashMap;

use super::Nat;
use super::rules::Filter;
use super::session::{INSIDE, Kind, NONE, OUTSIDE, Origin, Root};
use crate::table::lent::{CLASSES, class_of};

/// Of a mapping or a host: sessions, those of them that inside has spoken in, mappings by class.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Count {
    sessions: u32,
    spoken: u32,
    mappings: [u32; CLASSES],
}

/// By slot
type Counts = HashMap<u32, Count>;

impl Nat {
    /// Every table agrees with every other.
    ///
    /// # Errors
    /// The first that does not, and where.
    pub fn audit(&self) -> Result<(), String> {
        let (by_mapping, mut by_host) = self.audit_sessions()?;
        self.audit_mappings(&by_mapping, &mut by_host)?;
        by_host.remove(&NONE);
        for (host, count) in &by_host {
            let has = self.hosts.has(*host);
            if has != (count.sessions, count.mappings) {
                return Err(format!("host {host} is said to have {has:?}, it has {count:?}"));
            }
        }
        if self.hosts.len() != by_host.len() {
            return Err(format!(
                "{} hosts are remembered, {} have something",
                self.hosts.len(),
                by_host.len()
            ));
        }
        Ok(())
    }

    /// What there is in each table and index, which is 0 when nothing lives: sessions, mappings, hosts, their indices, strangers, and
    /// sessions by WAN.
    pub fn leftover(&self) -> [u64; 8] {
        let tables = [self.sessions.len(), self.mappings.len(), self.hosts.len()];
        let indices = [self.index.len(), self.mapping_index.len(), self.further.len()];
        let [a, b, c] = tables.map(|n| n as u64);
        let [d, e, f] = indices.map(|n| n as u64);
        [a, b, c, d, e, f, u64::from(self.strangers), self.per_wan.iter().sum()]
    }

    fn root(&self, slot: u32) -> Option<Root> {
        (slot < self.sessions.used()).then(|| self.roots[slot as usize])
    }

    fn audit_sessions(&self) -> Result<(Counts, Counts), String> {
        let (mut by_mapping, mut by_host) = (Counts::new(), Counts::new());
        let (mut strangers, mut live, mut entries) = (0, 0, 0);
        let mut per_wan = vec![0; self.per_wan.len()];
        let mut per_tie = vec![0; self.per_tie.len()];
        for slot in 0..self.sessions.used() {
            let (session, root) = (self.sessions.get(slot), self.roots[slot as usize]);
            if session.is_free() {
                if self.copies.as_ref().is_some_and(|copies| copies.is_copy(slot)) {
                    return Err(format!("slot {slot} is free, and a copy"));
                }
                continue;
            }
            let fault = |what: &str| Err(format!("session {slot} {what}: {session:?} {root:?}"));
            live += 1;
            let stranger = root.origin == Origin::Stranger;
            strangers += u32::from(stranger);
            match per_wan.get_mut(session.wan().index()) {
                Some(n) => *n += 1,
                None => return fault("is on no WAN"),
            }
            if let Some(n) = self.tie(root.group, session.wan()).and_then(|at| per_tie.get_mut(at)) {
                *n += 1;
            }
            if self.find(session.key(INSIDE), INSIDE) != Some(slot) {
                return fault("is not found from inside");
            }
            let found = self.find(session.key(OUTSIDE), OUTSIDE) == Some(slot);
            entries += 1 + usize::from(found);
            by_host.entry(root.host).or_default().sessions += 1;
            if (root.mapping == NONE) == (root.kind == Kind::Masquerade) {
                return fault("has a mapping that its kind does not have, or none");
            }
            if root.mapping == NONE {
                if !found {
                    return fault("is not found from outside");
                }
                continue;
            }
            if root.mapping >= self.mappings.used() {
                return fault("is of a mapping that is not");
            }
            let m = self.mappings.get(root.mapping);
            if (m.inside, m.inside_port, m.protocol, m.host)
                != (session.inside().0, session.inside().1, session.protocol(), root.host)
            {
                return fault("is not its mapping's");
            }
            // Where the mapping has moved on, another one may have the place by now.
            let its = (m.wan, m.of_session(), (m.outside, m.outside_port));
            let there = its == (session.wan(), root.epoch, session.outside());
            if there && !found {
                return fault("is not found from outside");
            }
            let count = by_mapping.entry(root.mapping).or_default();
            count.sessions += 1;
            count.spoken += u32::from(!stranger);
            let ringed = root.ring != [NONE; 2];
            let filter = self.filtering[class_of(m.protocol)];
            if ringed && (stranger || filter == Filter::AddressAndPortDependent) {
                return fault("lets in whom it must not");
            }
            if ringed {
                let [last, next] = root.ring;
                let joined = self.root(last).is_some_and(|r| r.ring[1] == slot)
                    && self.root(next).is_some_and(|r| r.ring[0] == slot && r.mapping == root.mapping);
                if !joined {
                    return fault("is in a broken ring");
                }
            }
        }
        if (strangers, &per_wan, live) != (self.strangers, &self.per_wan, self.sessions.len()) {
            let some = |n: &[u64]| -> Vec<(usize, u64)> {
                n.iter().copied().enumerate().filter(|(_, n)| *n > 0).collect()
            };
            let (said, per_wan) =
                ((self.strangers, some(&self.per_wan), self.sessions.len()), some(&per_wan));
            return Err(format!(
                "{strangers} strangers, {per_wan:?} by WAN, {live} live: said to be {said:?}"
            ));
        }
        if per_tie != self.per_tie {
            return Err("sessions by group and WAN are miscounted".into());
        }
        if entries != self.index.len() {
            return Err(format!("{} entries of the index for {entries} of sessions", self.index.len()));
        }
        Ok((by_mapping, by_host))
    }

    fn audit_mappings(&self, by_mapping: &Counts, by_host: &mut Counts) -> Result<(), String> {
        let (mut further, mut orphans) = (0, 0);
        let mut sticking = HashMap::<_, u32>::new();
        for (slot, count) in by_mapping {
            let m = self.mappings.get(*slot);
            let fault = |what: &str| Err(format!("mapping {slot} {what}: {m:?} {count:?}"));
            if (m.sessions, m.spoken) != (count.sessions, count.spoken) {
                return fault("counts its sessions wrong");
            }
            orphans += usize::from(m.is_orphan());
            let found = self.find_mapping(self.hash(m.key()), m.key()) == Some(*slot);
            if found == m.is_orphan() {
                return fault("is not found from inside, or is found though it is an orphan");
            }
            if m.sticks() {
                *sticking.entry((m.host, (m.group, m.wan, m.epoch))).or_default() += 1;
            }
            let class = class_of(m.protocol);
            let placed = m.has_place();
            let pools = self.ports.get(m.wan.index()).map(|pools| &pools[class]);
            let user = pools.and_then(|pools| pools.user(usize::from(m.address), m.outside_port));
            if placed && user != Some(*slot) {
                return fault("has not its port");
            }
            if m.first != NONE && self.root(m.first).is_none_or(|r| r.mapping != *slot) {
                return fault("lets in by a session that is not its own");
            }
            further += m.further as usize;
            by_host.entry(m.host).or_default().mappings[class] += 1;
        }
        let (live, indexed) = (self.mappings.len(), self.mapping_index.len());
        if (by_mapping.len(), by_mapping.len()) != (live, indexed + orphans) {
            return Err(format!("{live} mappings, {indexed} found, {} with sessions", by_mapping.len()));
        }
        for host in by_host.keys().filter(|host| **host != NONE) {
            for (place, said) in self.hosts.sticking(*host) {
                let has = sticking.get(&(*host, place)).copied().unwrap_or(0);
                if said > has {
                    return Err(format!("host {host} sticks to {place:?} for {said}, it has {has}"));
                }
            }
        }
        if further != self.further.len() {
            return Err(format!("{} further rings, {further} by their mappings", self.further.len()));
        }
        Ok(())
    }
}
