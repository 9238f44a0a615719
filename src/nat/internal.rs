//! Flows from inside to inside, where the firewall has a say in them: remembered like all others, so that what a rule lets through
//! is answered, whatever the rules say of the way back. Nothing is translated. Their keys have a scope of their own.

use super::rules::Action;
use super::session::{INSIDE, Key, Kind, NONE, NOWHERE, OUTSIDE, Root};
use super::timeouts::tick;
use super::{Env, Nat};
use crate::base::IfaceId;
use crate::packet::{DropReason, Stat, Tuple};
use crate::wire::protocol;
use crate::wire::tcp::Tcp;

/// A packet from inside to inside.
#[derive(Clone, Copy, Debug)]
pub struct Internal<'a> {
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
}

impl Nat {
    /// Whether a packet from inside to inside may pass.
    ///
    /// # Errors
    /// Why not.
    pub fn internal(&mut self, packet: &Internal<'_>, env: &mut Env<'_>) -> Result<(), DropReason> {
        let mut known = None;
        // An echo request is no answer, though it may have the identifier of one.
        let request = packet.tuple.protocol == protocol::ICMP && !packet.reply;
        for side in [INSIDE, OUTSIDE].into_iter().take(if request { 1 } else { 2 }) {
            let key = Key::internal(packet.tuple, side);
            if let Some(slot) = self.find(key, side) {
                known = Some((slot, side));
                break;
            }
        }
        if let Some((slot, _)) =
            known.filter(|(slot, _)| self.sessions.get(*slot).expired(&self.timeouts, tick(env.now)))
        {
            self.remove_session(slot, env.now, env.counters);
            env.counters.add(Stat::SessionsExpired, 1);
            known = None;
        }
        let (slot, side) = match known {
            Some(known) => known,
            None => (self.begin_internal(packet, env)?, INSIDE),
        };
        let session = self.sessions.get_mut(slot);
        let before = session.state;
        match packet.tcp {
            Some(tcp) => session.step(side, tcp.flags, tick(env.now)),
            None => session.refreshed = tick(env.now),
        }
        session.count(side, packet.bytes);
        self.stepped(slot, before);
        Ok(())
    }

    fn begin_internal(&mut self, packet: &Internal<'_>, env: &mut Env<'_>) -> Result<u32, DropReason> {
        let t = packet.tuple;
        let midstream = packet.tcp.is_some_and(|tcp| !tcp.flags.opens());
        if packet.reply || midstream {
            // It may have been let through before this router was there.
            return Err(DropReason::Firewall);
        }
        env.rules.firewall.judge(packet.ingress, t, false, Action::Accept)?;
        let session = self.begun(t, (t.src, t.src_port), NOWHERE, env).internal();
        let hash = self.hash(session.key(INSIDE));
        self.fair(self.hosts.find(&self.key, t.src), env)?;
        let created = env.now.as_s() as u32;
        let root = Root { mapping: NONE, created, kind: Kind::Internal, ..Root::default() };
        self.add_session(session, hash, root, env)
    }
}
