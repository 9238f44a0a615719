//! The opening of a new flow by what the first two stages of the established path know, so that its first packet can take the third
//! like any other.

use std::net::Ipv4Addr;

use super::established::{From, HEADERS, Marks, is_missing, key_of};
use super::places::Kind;
use super::{BURST, Router, View};
use crate::base::{IfaceId, Nanos};
use crate::nat::session::INSIDE;
use crate::packet::{PacketBuf, Tuple};
use crate::wire::protocol;
use crate::wire::tcp::Flags;

impl<B: PacketBuf> Router<B> {
    /// Where the frame at `at` of the burst that was looked up last comes from, if it may be the first of a flow from inside.
    #[inline]
    pub fn opener(&mut self, view: &View, from: &From, buf: &B, at: usize) -> Option<Ipv4Addr> {
        let Marks { hashes, entries, turns, .. } = &mut self.marks;
        if !is_missing(hashes[at % BURST], entries[at % BURST]) || !from.inside {
            return None;
        }
        *turns += 1;
        self.call_openings(view);
        buf.bytes().first_chunk().map(|h| key_of(h, 0).source().0)
    }

    /// Opens the flow of such a packet, if it is of the plainest kind: from a host inside to somewhere beyond
    /// a WAN, by a next hop that is known; and translates the packet as `established` does. Anything else is for the long way, and
    /// nothing is changed that this does not change as well.
    #[inline]
    pub fn open(
        &mut self,
        view: &View,
        (ingress, from): (IfaceId, &From),
        buf: &mut B,
        at: usize,
        now: Nanos,
    ) -> bool {
        self.open_plain(view, ingress, buf, at, now) && self.translate_known::<true>(view, from, buf, at)
    }

    #[inline(always)]
    fn open_plain(&mut self, view: &View, ingress: IfaceId, buf: &B, at: usize, now: Nanos) -> bool {
        let Some(h) = buf.bytes().first_chunk::<HEADERS>() else { return false };
        let key = key_of(h, 0);
        let ((src, src_port), (dst, dst_port)) = (key.source(), key.destination());
        let (from, to) = (view.place(src), view.place(dst));
        let plain = from.kind == Kind::Unicast
            && from.own.is_none()
            && from.behind == Some(ingress)
            && to.kind == Kind::Unicast
            && to.own.is_none()
            && to.inside.is_none();
        let protocol = key.protocol();
        if !plain
            || !(protocol == protocol::UDP
                || (Flags(h[47]).opens() && !view.clamps() && self.unasked.is_empty()))
        {
            return false;
        }
        let tuple = Tuple { protocol, src, src_port, dst, dst_port };
        let env = &mut super::env(view, now, &mut self.counters);
        let hash = self.marks.hashes[at % BURST];
        let Ok(slot) = self.nat.find_or_open(&tuple, key, (ingress, to.pin), hash, env) else { return false };
        self.marks.entries[at % BURST] = slot * 2;
        let (session, _) = self.nat.session(slot);
        if session.stamps[INSIDE] != self.stamp {
            // It is fit, and so has its link.
            let Some(link) = view.wans.get(session.wan().index()) else { return false };
            // What is on no WAN's link goes by the gateway, if the lease has no routes.
            let far = to.pin.is_none() && link.hops.is_empty();
            let next_hop = if far { link.gateway } else { view.next_hop(link, dst) };
            let Some(hop) = self.recall_hop(link.iface, next_hop) else { return false };
            // The answer's way is known as well; TCP's first one is looked at more closely.
            let back = if protocol == protocol::UDP { self.recall_inward(view, src) } else { None };
            self.nat.establish(slot, [Some(hop), back], ingress, self.stamp, &view.uplinks);
        }
        true
    }

    /// The neighbour's number, which new flows to one gateway need again and again.
    #[inline(always)]
    fn recall_hop(&mut self, iface: IfaceId, ip: Ipv4Addr) -> Option<u16> {
        let (last, hop) = self.last_hop;
        if last == (self.stamp, iface, ip) {
            return Some(hop);
        }
        let hop = self.neighbors.hop(iface, ip)?;
        self.last_hop = ((self.stamp, iface, ip), hop);
        Some(hop)
    }

    /// The number of the neighbour by which a host inside is reached: hosts open several flows at a time.
    #[inline(always)]
    fn recall_inward(&mut self, view: &View, host: Ipv4Addr) -> Option<u16> {
        let (last, hop) = self.last_inward;
        if last == (self.stamp, host) {
            return Some(hop);
        }
        let (egress, next_hop) = view.inward(host)?;
        let hop = self.neighbors.hop(egress, next_hop)?;
        self.last_inward = ((self.stamp, host), hop);
        Some(hop)
    }
}
