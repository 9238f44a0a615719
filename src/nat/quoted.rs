//! The session that an ICMP error is about, found by the packet that the error quotes (RFC 5508 4.2).
//!
//! A look-up that changes nothing, as anybody can send an error about any flow: no timer starts anew and nothing ends
//! (RFC 5508 4.3, RFC 5382 7.3, RFC 4787 9), not even what has expired is cleared away. A session is there for every packet
//! that the router has translated, so a mapping alone is not enough.

use super::session::{Key, OUTSIDE};
use super::timeouts::tick;
use super::{Nat, Translation, Uplinks};
use crate::base::{Nanos, WanId};
use crate::packet::{DropReason, Tuple};

impl Nat {
    /// An error from a WAN: the inside endpoint that sent what it quotes. `about` is the flow's packet that goes the way
    /// of the error: the quoted one's answer.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn quoted_from_inside(
        &self,
        wan: WanId,
        about: &Tuple,
        up: &Uplinks,
        now: Nanos,
    ) -> Result<Translation, DropReason> {
        self.quoted(Key::inbound(wan, about), OUTSIDE, up, now)
    }

    /// An error from inside: the outside endpoint that what it quotes was sent to. `about` as above.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn quoted_from_outside(
        &self,
        about: &Tuple,
        up: &Uplinks,
        now: Nanos,
    ) -> Result<Translation, DropReason> {
        let to = self.quoted(Key::outbound(about), super::INSIDE, up, now)?;
        if up.sends(to.wan, about.protocol) { Ok(to) } else { Err(DropReason::WanDown) }
    }

    fn quoted(&self, key: Key, side: usize, up: &Uplinks, now: Nanos) -> Result<Translation, DropReason> {
        let live = |slot: &u32| !self.sessions.get(*slot).expired(&self.timeouts, tick(now));
        let slot = self.find(key, side).filter(live).ok_or(DropReason::IcmpErrorNoSession)?;
        let session = self.sessions.get(slot);
        if self.left(session, &self.roots[slot as usize], up) {
            return Err(DropReason::WanLeft);
        }
        let (addr, port) = if side == OUTSIDE { session.inside() } else { session.outside() };
        Ok(Translation { addr, port, wan: session.wan(), slot })
    }
}
