//! A question to the workers: what would become of a packet? The one who owns its host answers; nothing is sent or changed.

use std::sync::Arc;

use super::steer::Steer;
use crate::base::{IfaceId, Nanos, WanId, WorkerId};
use crate::nat::Nat;
use crate::nat::explain::{Explained, Outside};
use crate::nat::outbound::FromInside;
use crate::packet::Tuple;
use crate::path::View;
use crate::wire::tcp::Tcp;

/// The question. It goes to every worker and comes back from each.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// Its number
    pub id: u64,
    /// How things stand, or would
    pub view: Arc<View>,
    /// Where the packet comes in
    pub ingress: IfaceId,
    /// Its endpoints
    pub tuple: Tuple,
    /// Its TCP header, if it is TCP
    pub tcp: Option<Tcp>,
    /// Which way it goes
    pub way: Way,
    /// What the worker knows of it; `None`: it is another one's
    pub found: Option<Found>,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Out; to the link of a WAN, if it is pinned
    Out(Option<WanId>),
    /// In, by a WAN
    In(WanId),
}

/// What a worker knows of a packet.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// Of one from inside
    Inside(Explained),
    /// Of one from outside
    Outside(Outside),
}

impl Inquiry {
    /// Answers, if the packet is this worker's.
    pub(super) fn answer(&mut self, id: WorkerId, steer: Steer, nat: &Nat, now: Nanos) {
        let t = &self.tuple;
        self.found = match self.way {
            Way::Out(pin) if steer.host(t.src) == id => {
                let (ingress, tcp) = (self.ingress, self.tcp);
                let packet = FromInside { ingress, tuple: t, tcp, reply: false, bytes: 0, pin };
                Some(Found::Inside(nat.explain(&packet, &self.view.uplinks, &self.view.rules, now)))
            }
            Way::Out(_) => None,
            Way::In(wan) => nat.explain_outside(wan, t, &self.view.uplinks, now).map(Found::Outside),
        };
    }
}
