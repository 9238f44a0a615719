//! The way through the NAT: out, in, and out and in again (hairpin). `nat` decides, here it is done to the packet, which then goes
//! on by `fit` and `resolve`.

use std::net::Ipv4Addr;

use super::{Admitted, Class, Router, View, Way, admit, classify, env, hold};
use crate::base::{IfaceId, Mac, Nanos, WanId};
use crate::nat::inbound::FromOutside;
use crate::nat::outbound::FromInside;
use crate::nat::rewrite::{End, rewrite};
use crate::nat::session::AWAY;
use crate::nat::statics::Target;
use crate::nat::{Outbound, Translation};
use crate::packet::{DropReason, Frame, PacketBuf, Verdict};
use crate::wire::eth::{Eth, ethertype};

impl<B: PacketBuf> Router<B> {
    pub(super) fn outbound(&mut self, view: &View, frame: Frame<B>, pin: Option<WanId>, now: Nanos) -> Way {
        let (frame, to) = self.leave(view, frame, pin, now)?;
        let link = &view.wans[to.wan.index()];
        let frame = self.fit(view, frame, link.iface, now)?;
        let dst = frame.ip.dst;
        let next_hop = view.next_hop(link, dst);
        Ok(self.translated(view, frame, End::Source, to, (link.iface, next_hop), now))
    }

    /// What the NAT makes of a packet from inside, after its TTL.
    fn leave(
        &mut self,
        view: &View,
        frame: Frame<B>,
        pin: Option<WanId>,
        now: Nanos,
    ) -> Result<(Frame<B>, Translation), Verdict> {
        let Some(tuple) = frame.tuple() else { return Err(self.ended(DropReason::Protocol)) };
        let mut frame = self.age(view, frame, now)?;
        let tcp = frame.tcp();
        let packet = FromInside {
            ingress: frame.ingress,
            tuple: &tuple,
            tcp,
            reply: frame.is_echo_reply(),
            bytes: u32::from(frame.ip.total_len),
            pin,
        };
        match self.nat.outbound(&packet, &mut env(view, now, &mut self.counters)) {
            Outbound::Translate(to) if to.wan == AWAY => Err(self.leave_by_partner(view, frame, to, now)),
            Outbound::Translate(to) => {
                if tcp.is_some_and(|tcp| tcp.flags.opens()) {
                    self.asked(&tuple, &to);
                }
                self.clamp(view, &mut frame, view.wans[to.wan.index()].iface);
                Ok((frame, to))
            }
            Outbound::Reset(reason) => Err(self.reset(view, frame, reason, now)),
            Outbound::Drop(reason) => {
                if self.count_refused(reason, now) {
                    self.nat.log_refused(reason, &packet, &mut env(view, now, &mut self.counters));
                }
                Err(self.refuse(view, frame, reason, now))
            }
        }
    }

    /// A packet of a flow that lives on a WAN of the partner's: as it is, to the partner on the network that both are on.
    #[cold]
    fn leave_by_partner(&mut self, view: &View, frame: Frame<B>, to: Translation, now: Nanos) -> Verdict {
        let Some(way) = view.partner else { return self.ended(DropReason::WanDown) };
        match self.fit(view, frame, way.0, now) {
            Ok(frame) => self.translated(view, frame, End::Source, to, way, now),
            Err(end) => end,
        }
    }

    /// From inside to inside by an outside address: its source becomes its own outside endpoint (RFC 4787 REQ-9a), then it comes in.
    pub(super) fn hairpin(&mut self, view: &View, frame: Frame<B>, wan: WanId, now: Nanos) -> Way {
        let (mut frame, to) = self.leave(view, frame, None, now)?;
        let (l4, protocol) = (usize::from(frame.ip.header_len), frame.ip.protocol);
        rewrite(frame.packet_mut(), l4, protocol, End::Source, to.addr, to.port);
        if frame.ip.is_fragment() {
            self.note_turn(view, &mut frame, wan);
        }
        self.turn_round(view, frame, wan)
    }

    /// A frame that goes from an outside address to one comes in again by the WAN that has it.
    pub(super) fn turn_round(&mut self, view: &View, mut frame: Frame<B>, wan: WanId) -> Way {
        let ingress = view.wans[wan.index()].iface;
        let dst = view.ifaces[ingress.index()].mac;
        // Some other station's: both interfaces may have one address, and nothing comes from one's own.
        let [first @ .., last] = dst.0;
        let [a, b, c, d, e] = first;
        let src = Mac([a, b, c, d, e, last ^ 0x80]);
        Eth { dst, src, ethertype: ethertype::IPV4 }.emit(frame.buf.bytes_mut());
        let Ok(frame) = turn(view, ingress, frame.buf) else {
            return Err(self.ended(DropReason::Hairpin));
        };
        self.turned = Some(frame);
        Ok(Verdict::Turned)
    }

    /// A frame that another worker has turned. `None`: it ended here.
    pub fn come_in(&mut self, view: &View, ingress: IfaceId, buf: B) -> Option<(Frame<B>, Class)> {
        turn(view, ingress, buf).map_err(|reason| self.counters.drop(reason)).ok()
    }

    pub(super) fn inbound(
        &mut self,
        view: &View,
        frame: Frame<B>,
        (wan, target, hairpin): (WanId, Option<Target>, bool),
        now: Nanos,
    ) -> Way {
        let Some(tuple) = frame.tuple() else { return Err(self.ended(DropReason::Protocol)) };
        let tcp = frame.tcp();
        let packet = FromOutside {
            wan,
            ingress: frame.ingress,
            tuple: &tuple,
            tcp,
            bytes: u32::from(frame.ip.total_len),
            target,
            reply: frame.is_echo_reply(),
            hairpin,
        };
        let to = match self.nat.inbound(&packet, &mut env(view, now, &mut self.counters)) {
            Ok(to) => to,
            Err(reason) => {
                self.count_refused(reason, now);
                return Err(self.unsolicited(view, frame, reason, hairpin, now));
            }
        };
        // Not before: what nobody inside has asked for is not even told that its TTL ran out. Once for both halves of a hairpin.
        let mut frame = if hairpin { frame } else { self.age(view, frame, now)? };
        let Some((egress, next_hop)) = view.inward(to.addr) else {
            return Err(self.ended(DropReason::NoRoute));
        };
        self.clamp(view, &mut frame, egress);
        let frame = self.fit(view, frame, egress, now)?;
        if hairpin {
            return Ok(self.rewritten(view, frame, End::Destination, to, (egress, next_hop), now).0);
        }
        Ok(self.translated(view, frame, End::Destination, to, (egress, next_hop), now))
    }

    fn translated(
        &mut self,
        view: &View,
        frame: Frame<B>,
        end: End,
        to: Translation,
        way: (IfaceId, Ipv4Addr),
        now: Nanos,
    ) -> Verdict {
        let ingress = frame.ingress;
        let (verdict, hop) = self.rewritten(view, frame, end, to, way, now);
        // What has the host's address and comes from a wire must never be taken for the host's.
        if let (Verdict::Sent, Some(hop), false) = (verdict, hop, self.by_host) {
            let hops = if end == End::Source { [Some(hop), None] } else { [None, Some(hop)] };
            self.nat.establish(to.slot, hops, ingress, self.stamp, &view.uplinks);
        }
        verdict
    }

    /// Rewrites a packet and sends it on; gives the neighbour it went to.
    fn rewritten(
        &mut self,
        view: &View,
        mut frame: Frame<B>,
        end: End,
        to: Translation,
        (egress, next_hop): (IfaceId, Ipv4Addr),
        now: Nanos,
    ) -> (Verdict, Option<u16>) {
        let origin = hold::Origin::of(&frame, Some(end));
        let (l4, protocol) = (usize::from(frame.ip.header_len), frame.ip.protocol);
        rewrite(frame.packet_mut(), l4, protocol, end, to.addr, to.port);
        match self.neighbors.hop(egress, next_hop) {
            Some(hop) => (self.leave_by(view, hop, next_hop, frame.buf), Some(hop)),
            None => {
                let held = hold::Held { egress, next_hop, since: now, origin: Some(origin), buf: frame.buf };
                (self.wait(view, held, now), None)
            }
        }
    }
}

/// Reads a frame that has become one from outside.
fn turn<B: PacketBuf>(view: &View, ingress: IfaceId, buf: B) -> Result<(Frame<B>, Class), DropReason> {
    let Admitted::Ip(frame) = admit(view, ingress, buf)? else { return Err(DropReason::Hairpin) };
    let class = classify::turned(view, &frame).ok_or(DropReason::Hairpin)?;
    Ok((frame, class))
}
