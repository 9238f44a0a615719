//! What is for the router itself: echoes are answered (RFC 1812 4.3.3.6); everything else is the host's (`host`), or without one
//! refused.

use std::net::Ipv4Addr;

use super::quoted::{quotes, unhandled};
use super::{Router, View, host};
use crate::base::Nanos;
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Transport, Verdict};
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, kind};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::tcp::{self, Flags, Tcp};
use crate::wire::{be16, protocol, put16};

/// The TTL of what the router makes.
pub(super) const TTL: u8 = 64;

impl<B: PacketBuf> Router<B> {
    pub(super) fn local(&mut self, view: &View, frame: Frame<B>, now: Nanos) -> Verdict {
        match frame.transport {
            Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REQUEST => self.echo(view, frame, now),
            _ if self.host.is_some() && host::is_for(&frame.transport) => self.give_own(view, frame, now),
            // About an answer of the router's: nothing to be done.
            Transport::Icmp(icmp) if quotes(icmp.kind) => self.ended(DropReason::IcmpErrorLocal),
            Transport::Icmp(icmp) => self.ended(unhandled(icmp.kind)),
            Transport::Tcp(tcp) if !tcp.flags.rst() => {
                self.reset(view, frame, DropReason::LocalNoService, now)
            }
            Transport::Tcp(_) => self.ended(DropReason::LocalNoService),
            Transport::Udp { .. } => self.refuse(view, frame, DropReason::LocalNoService, now),
            Transport::Other => self.refuse(view, frame, DropReason::Protocol, now),
        }
    }

    /// The request becomes its reply: addresses swapped, data untouched.
    fn echo(&mut self, view: &View, mut frame: Frame<B>, now: Nanos) -> Verdict {
        let l4 = usize::from(frame.ip.header_len);
        if !checksum::holds(frame.packet_mut().get(l4..).unwrap_or_default()) {
            return self.ended(DropReason::IcmpChecksum);
        }
        let Some((egress, next_hop)) = view.back(frame.ingress, frame.ip.src) else {
            return self.ended(DropReason::NoRoute);
        };
        let (src, dst) = (frame.ip.src.octets(), frame.ip.dst.octets());
        let packet = frame.packet_mut();
        let Some(header) = packet.first_chunk_mut::<{ ipv4::MIN_LEN }>() else {
            return self.ended(DropReason::Ipv4Truncated);
        };
        let old = be16(header, 8);
        header[8] = TTL;
        header[12..16].copy_from_slice(&dst);
        header[16..20].copy_from_slice(&src);
        // Swapping does not change a sum.
        let sum = Delta::NONE.word(old, be16(header, 8)).apply(be16(header, 10));
        put16(header, 10, sum);
        if let Some(message) = packet.get_mut(l4..) {
            let sum = Delta::NONE
                .word(u16::from(kind::ECHO_REQUEST) << 8, u16::from(kind::ECHO_REPLY) << 8)
                .apply(be16(message, icmp::CHECKSUM));
            message[0] = kind::ECHO_REPLY;
            put16(message, icmp::CHECKSUM, sum);
        }
        self.counters.add(Stat::Local, 1);
        self.counters.add(Stat::Originated, 1);
        self.resolve(view, egress, next_hop, frame.buf, None, now);
        Verdict::Local
    }

    /// Answers a TCP segment by a reset that its sender accepts (RFC 9293 3.10.7.1, RFC 5961 3): the segment ends for
    /// `reason`, its buffer becomes the reset.
    pub(super) fn reset(
        &mut self,
        view: &View,
        mut frame: Frame<B>,
        reason: DropReason,
        now: Nanos,
    ) -> Verdict {
        self.counters.drop(reason);
        let verdict = Verdict::Dropped(reason);
        let Transport::Tcp(segment) = frame.transport else { return verdict };
        let Some((egress, next_hop)) = view.back(frame.ingress, frame.ip.src) else { return verdict };
        let data =
            frame.ip.total_len.saturating_sub(u16::from(frame.ip.header_len) + u16::from(segment.header_len));
        let occupied = u32::from(data) + u32::from(segment.flags.syn()) + u32::from(segment.flags.fin());
        let (seq, ack, flags) = match segment.flags.ack() {
            true => (segment.ack, 0, Flags(Flags::RST)),
            false => (0, segment.seq.wrapping_add(occupied), Flags(Flags::RST | Flags::ACK)),
        };
        let reset = Tcp { src: segment.dst, dst: segment.src, seq, ack, header_len: 20, flags };
        let (src, dst, tos) = (frame.ip.dst, frame.ip.src, frame.ip.tos & !3);
        if !write_reset(&mut frame.buf, src, dst, tos, &reset) {
            return verdict;
        }
        self.counters.add(Stat::TcpResetsSent, 1);
        self.counters.add(Stat::Originated, 1);
        self.resolve(view, egress, next_hop, frame.buf, None, now);
        verdict
    }
}

/// Makes a packet with nothing but a TCP header of a buffer; false if there is no room.
pub(super) fn write_reset<B: PacketBuf>(
    buf: &mut B,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    tos: u8,
    segment: &Tcp,
) -> bool {
    let ip = Ipv4 {
        header_len: 20,
        tos,
        total_len: 40,
        id: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: TTL,
        protocol: protocol::TCP,
        src,
        dst,
    };
    if !buf.resize(Frame::<B>::L3 + 40) {
        return false;
    }
    let Some(packet) = buf.bytes_mut().get_mut(Frame::<B>::L3..) else { return false };
    ip.emit(packet);
    let Some(l4) = packet.get_mut(ipv4::MIN_LEN..) else { return false };
    segment.emit(l4);
    let sum = checksum::transport(src, dst, protocol::TCP, l4);
    put16(l4, tcp::CHECKSUM, sum);
    true
}
