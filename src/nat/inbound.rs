//! The door from outside: what has a session goes in; a new remote goes in where a mapping lets it (`peers`), or by a rule
//! (`statics`) that the firewall does not forbid. Everything else changes nothing.

use super::rules::{Action, Filter};
use super::session::{Ends, INSIDE, Key, Kind, NONE, OUTSIDE, Origin, Root, Session};
use super::standing::Standing;
use super::statics::Target;
use super::tcp::TcpState;
use super::timeouts::{STRANGER, tick};
use super::uplinks::{LEFT, NO_GROUP};
use super::{Env, Fate, Nat, Translation};
use crate::base::{IfaceId, WanId};
use crate::packet::{DropReason, Stat, Tuple};
use crate::table::lent::class_of;
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
    /// The WAN's interface
    pub ingress: IfaceId,
    /// Its endpoints
    pub tuple: &'a Tuple,
    /// Its TCP header, if it is TCP
    pub tcp: Option<Tcp>,
    /// Bytes, from the IP header on
    pub bytes: u32,
    /// Where a rule leads it
    pub target: Option<Target>,
    /// It is an answer: it needs its session
    pub reply: bool,
    /// It comes from inside, by way of its own outside address (RFC 4787 6): it may reach every mapping
    pub hairpin: bool,
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
            Some(slot) if self.goes_on(slot, packet, env)? => slot,
            Some(_) => self.admit(packet, env)?,
            None => {
                if let Some(slot) = found {
                    self.remove_session(slot, env.now, env.counters);
                    env.counters.add(Stat::SessionsExpired, 1);
                }
                self.admit(packet, env)?
            }
        };
        let stranger = self.roots[slot as usize].origin == Origin::Stranger;
        if let Some(tcp) = packet.tcp {
            self.answers_syn(slot, tcp.flags, env.now);
            self.gauges.segment(slot, OUTSIDE, tcp, packet.bytes, env.now);
        }
        let session = self.sessions.get_mut(slot);
        let before = session.state;
        match packet.tcp {
            Some(tcp) if !stranger => session.step(OUTSIDE, tcp.flags, tick(env.now)),
            // Whom inside has refused may ask again, and do no more.
            Some(tcp) if tcp.flags.opens() => session.state = TcpState::SynIn as u8,
            Some(_) => {}
            // What outside opened must not be kept alive from there alone (RFC 7857 REQ-7).
            None if !stranger => session.refreshed = tick(env.now),
            None => {}
        }
        session.count(OUTSIDE, packet.bytes);
        let (addr, port) = session.inside();
        let translation = Translation { addr, port, wan: session.wan(), slot };
        self.stepped(slot, before);
        Ok(translation)
    }

    /// Whether a session that was found serves; false: it was of a WAN that was left, and a new one may begin.
    fn goes_on(
        &mut self,
        slot: u32,
        packet: &FromOutside<'_>,
        env: &mut Env<'_>,
    ) -> Result<bool, DropReason> {
        let left = self.left(self.sessions.get(slot), &self.roots[slot as usize], env.up);
        if !left || !self.stays_left(slot, env.up) {
            return Ok(true);
        }
        let begins = packet.target.is_some() && packet.tcp.is_none_or(|tcp| tcp.flags.opens());
        if !begins {
            return Err(DropReason::WanLeft);
        }
        self.remove_session(slot, env.now, env.counters);
        env.counters.add(Stat::SessionsReset, 1);
        Ok(false)
    }

    /// A session for a remote that has none, if it is let in.
    fn admit(&mut self, packet: &FromOutside<'_>, env: &mut Env<'_>) -> Result<u32, DropReason> {
        if packet.reply || packet.tcp.is_some_and(|tcp| !tcp.flags.opens()) {
            let mapped = packet.target.is_some()
                || self.find_mapping_outside(packet.wan, packet.tuple, env.up).is_some();
            return Err(if mapped { DropReason::NatFiltered } else { DropReason::NatNoMapping });
        }
        match packet.target {
            Some(target) => self.admit_by_rule(packet, &target, env),
            None => self.admit_by_mapping(packet, env),
        }
    }

    fn admit_by_mapping(&mut self, packet: &FromOutside<'_>, env: &mut Env<'_>) -> Result<u32, DropReason> {
        let t = packet.tuple;
        let slot = self.find_mapping_outside(packet.wan, t, env.up).ok_or(DropReason::NatNoMapping)?;
        let mapping = *self.mappings.get(slot);
        if self.standing(&mapping, env.up) != Standing::Firm {
            return Err(DropReason::WanLeft);
        }
        let filter = self.filtering[class_of(t.protocol)];
        if packet.hairpin {
            // Inside may open anything. But a mapping in which nobody speaks any more is none.
            let silent = filter == Filter::EndpointIndependent && !self.lets_in(slot, t.src, env);
            if silent || mapping.spoken == 0 {
                return Err(DropReason::NatNoMapping);
            }
        } else if !self.lets_in(slot, t.src, env) {
            let nobody = filter == Filter::EndpointIndependent;
            return Err(if nobody { DropReason::NatNoMapping } else { DropReason::NatFiltered });
        }
        let inside = (mapping.inside, mapping.inside_port);
        self.firewall(packet, inside, Action::Accept, env)?;
        // Strangers that are in the ring's way are gone by now.
        let mapping = *self.mappings.get(slot);
        if mapping.sessions - mapping.spoken >= STRANGERS {
            return Err(DropReason::NatStrangers);
        }
        let root = Root {
            mapping: slot,
            created: env.now.as_s() as u32,
            epoch: mapping.of_session(),
            group: mapping.group,
            host: mapping.host,
            origin: Origin::Stranger,
            ..Root::default()
        };
        self.stranger(packet, inside, root, env)
    }

    /// By a forward, an address of the host's own, or to an inside address as it is.
    fn admit_by_rule(
        &mut self,
        packet: &FromOutside<'_>,
        target: &Target,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        let default = match target.kind {
            Kind::Forward => Action::Accept,
            _ if packet.hairpin => Action::Accept,
            _ => Action::Drop,
        };
        let inside = (target.inside, target.port);
        self.firewall(packet, inside, default, env)?;
        // No policy has chosen its WAN, so no group may leave or drain it there.
        let bond = env.up.bond(NO_GROUP, packet.wan);
        let epoch = bond.map_or(LEFT, |bond| bond.of(packet.tuple.protocol, target.kind));
        self.fair(self.hosts.find(&self.key, target.inside), env)?;
        let root = Root {
            mapping: NONE,
            created: env.now.as_s() as u32,
            epoch,
            group: NO_GROUP,
            kind: target.kind,
            origin: Origin::Stranger,
            ..Root::default()
        };
        self.stranger(packet, inside, root, env)
    }

    /// What the firewall says, which knows the inside's addresses.
    fn firewall(
        &self,
        packet: &FromOutside<'_>,
        inside: (std::net::Ipv4Addr, u16),
        default: Action,
        env: &Env<'_>,
    ) -> Result<(), DropReason> {
        let t = Tuple { dst: inside.0, dst_port: inside.1, ..*packet.tuple };
        env.rules.firewall.judge(packet.ingress, &t, false, default)
    }

    /// Makes the session of somebody to whom inside has not spoken.
    fn stranger(
        &mut self,
        packet: &FromOutside<'_>,
        inside: (std::net::Ipv4Addr, u16),
        root: Root,
        env: &mut Env<'_>,
    ) -> Result<u32, DropReason> {
        if self.strangers >= (self.sessions.capacity() / STRANGERS_SHARE).max(STRANGERS) {
            return Err(DropReason::NatStrangers);
        }
        let t = packet.tuple;
        let echo = t.protocol == protocol::ICMP;
        let mut session = Session::new(&Ends {
            protocol: t.protocol,
            inside,
            outside: (t.dst, t.dst_port),
            remote: (t.src, if echo { 0 } else { t.src_port }),
            wan: packet.wan,
        });
        let tcp = t.protocol == protocol::TCP;
        session.state = if tcp { TcpState::SynIn as u8 } else { STRANGER };
        session.refreshed = tick(env.now);
        let key = session.key(INSIDE);
        let hash = self.hash(key);
        if let Some(known) = self.find_hashed(hash, key, INSIDE) {
            let old = *self.sessions.get(known);
            let its = self.roots[known as usize];
            if !old.expired(&self.timeouts, tick(env.now)) && !self.left(&old, &its, env.up) {
                // By another way the two speak already.
                return Err(if root.mapping == NONE {
                    DropReason::NatClash
                } else {
                    DropReason::NatFiltered
                });
            }
            if its.mapping == root.mapping
                && root.mapping != NONE
                && !old.expired(&self.timeouts, tick(env.now))
            {
                // The mapping was moved by another flow's packet: this one follows, if it may.
                if self.fate(&old, &its, env.up) == Fate::Drop {
                    return Err(DropReason::WanLeft);
                }
                return self.rebind(known, env).map(|()| known);
            }
            self.remove_session(known, env.now, env.counters);
            env.counters.add(Stat::SessionsExpired, 1);
            if root.mapping != NONE && self.mappings.get(root.mapping).sessions == 0 {
                return Err(DropReason::NatNoMapping);
            }
        }
        self.add_session(session, hash, root, env)
    }
}
