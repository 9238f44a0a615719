//! The last stage: the next hop's MAC goes into the frame, or the frame waits until it is known (RFC 1122 2.3.2).

use std::net::Ipv4Addr;

use super::hold::{HELD_FOR, Held, Origin};
use super::{Notice, Router, View};
use crate::base::{IfaceId, Mac, Nanos};
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Transport, Verdict};
use crate::table::neighbors::{Learned, State};
use crate::wire::eth::{self, Eth, ethertype};
use crate::wire::ipv4::Ipv4;

impl<B: PacketBuf> Router<B> {
    /// Sends an IP packet to its next hop, at once or when that is known.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        view: &View,
        egress: IfaceId,
        next_hop: Ipv4Addr,
        buf: B,
        origin: Option<Origin>,
        now: Nanos,
    ) -> Verdict {
        match self.neighbors.hop(egress, next_hop) {
            Some(hop) => self.leave_by(view, hop, next_hop, buf),
            None => self.wait(view, Held { egress, next_hop, since: now, origin, buf }, now),
        }
    }

    /// Sends an IP packet to a neighbour that is known.
    #[inline]
    pub(super) fn leave_by(&mut self, view: &View, hop: u16, next_hop: Ipv4Addr, mut buf: B) -> Verdict {
        let neighbor = self.neighbors.get_mut(hop);
        let (dst, egress) = (neighbor.mac(), neighbor.iface());
        if neighbor.state() == State::Stale {
            neighbor.set_state(State::Fresh);
            self.notices.push(Notice::Resolve { iface: egress, ip: next_hop });
        }
        let port = &view.ifaces[egress.index()];
        if !port.up {
            return self.ended(DropReason::LinkDown);
        }
        let (src, longest) = (port.mac, eth::LEN + usize::from(port.mtu));
        self.trace(view, egress, next_hop, &mut buf);
        Eth { dst, src, ethertype: ethertype::IPV4 }.emit(buf.bytes_mut());
        if buf.bytes().len() > longest {
            return self.cut(view, egress, buf);
        }
        self.out[egress.index()].put(buf);
        Verdict::Sent
    }

    pub(super) fn wait(&mut self, view: &View, mut held: Held<B>, now: Nanos) -> Verdict {
        let (iface, ip) = (held.egress, held.next_hop);
        self.trace(view, iface, ip, &mut held.buf);
        if self.host.is_some() && view.main(iface, ip) {
            return self.deliver(view, iface, held.buf, now);
        }
        let (pushed_out, ask) = self.hold.push(held);
        if pushed_out {
            self.counters.drop(DropReason::NeighborHold);
        } else {
            self.counters.add(Stat::Held, 1);
        }
        if ask && self.questions.take(now) {
            self.notices.push(Notice::Resolve { iface, ip });
        }
        Verdict::Held
    }

    /// Learns a next hop and sends what waited for it.
    pub fn learn(&mut self, view: &View, iface: IfaceId, ip: Ipv4Addr, mac: Mac) {
        if self.neighbors.set(iface, ip, mac) == Learned::Reused {
            self.renew();
        }
        let Some(hop) = self.neighbors.hop(iface, ip) else { return };
        while let Some(held) = self.hold.take(iface, ip) {
            self.counters.sub(Stat::Held, 1);
            self.leave_by(view, hop, ip, held.buf);
        }
    }

    /// Gives up a next hop: what waited for it is told so.
    pub fn give_up(&mut self, view: &View, iface: IfaceId, ip: Ipv4Addr, now: Nanos) {
        self.neighbors.remove(iface, ip);
        while let Some(held) = self.hold.take(iface, ip) {
            self.unreachable(view, held, now);
        }
    }

    /// Ends what waited too long: for a next hop, should the management thread not have answered, or for other fragments.
    pub fn give_up_old(&mut self, view: &View, now: Nanos) {
        self.expire_fragments(view, now);
        while let Some(held) = self.hold.take_older(now, HELD_FOR) {
            self.unreachable(view, held, now);
        }
    }

    fn unreachable(&mut self, view: &View, mut held: Held<B>, now: Nanos) {
        self.counters.sub(Stat::Held, 1);
        let Some(origin) = held.origin.take() else {
            self.counters.drop(DropReason::NeighborUnresolved);
            return;
        };
        let ingress = origin.ingress;
        origin.restore(held.buf.bytes_mut());
        let Some(header) = held.buf.bytes().get(Frame::<B>::L3..).and_then(|p| p.first_chunk()) else {
            self.counters.drop(DropReason::NeighborUnresolved);
            return;
        };
        let ip = Ipv4::read(header);
        let frame = Frame { buf: held.buf, ingress, link_group: false, ip, transport: Transport::Other };
        self.refuse(view, frame, DropReason::NeighborUnresolved, now);
    }
}
