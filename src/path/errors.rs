//! ICMP errors made by the router (RFC 1812 4.3.2): when none may be made, what they quote, how many a second.

use super::local::TTL;
use super::{Router, View};
use crate::base::Nanos;
use crate::packet::{Frame, PacketBuf, Stat, Transport};
use crate::wire::icmp::{self, kind};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{checksum, protocol, put16};

/// The longest IP packet an error may be (RFC 1812 4.3.2.3).
const LONGEST: usize = 576;
/// IP and ICMP header of the error.
const HEADERS: usize = ipv4::MIN_LEN + icmp::LEN;

impl<B: PacketBuf> Router<B> {
    /// Turns a packet that ended into the error about it, in its own buffer: the quote stays where it is, the headers
    /// go before it. `mtu` is the next hop's in "fragmentation needed", else 0.
    pub(super) fn error(
        &mut self,
        view: &View,
        mut frame: Frame<B>,
        kind: u8,
        code: u8,
        mtu: u16,
        now: Nanos,
    ) {
        if forbidden(&frame) {
            return self.counters.add(Stat::IcmpErrorsForbidden, 1);
        }
        let Some((egress, next_hop)) = view.back(frame.ingress, frame.ip.src) else { return };
        if !self.errors.take(now) {
            return self.counters.add(Stat::IcmpErrorsLimited, 1);
        }
        // It may not be cut, so it must fit.
        let longest = LONGEST.min(view.ifaces[egress.index()].mtu.into());
        let quote = usize::from(frame.ip.total_len).min(longest.saturating_sub(HEADERS));
        let l3 = Frame::<B>::L3;
        if !frame.buf.prepend(HEADERS) || !frame.buf.resize(l3 + HEADERS + quote) {
            return;
        }
        let ip = Ipv4 {
            header_len: ipv4::MIN_LEN as u8,
            tos: frame.ip.tos & !3,
            total_len: (HEADERS + quote) as u16,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: TTL,
            protocol: protocol::ICMP,
            src: view.source(egress, next_hop),
            dst: frame.ip.src,
        };
        let packet = frame.packet_mut();
        ip.emit(packet);
        if let Some(message) = packet.get_mut(ipv4::MIN_LEN..) {
            message[..icmp::LEN].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
            put16(message, 6, mtu);
            let sum = checksum::internet(message);
            put16(message, icmp::CHECKSUM, sum);
        }
        self.counters.add(Stat::IcmpErrorsSent, 1);
        self.counters.add(Stat::Originated, 1);
        self.resolve(view, egress, next_hop, frame.buf, None, now);
    }
}

/// RFC 1812 4.3.2.7: packets that no error may answer. Sources and destinations were judged by `classify` already.
fn forbidden<B: PacketBuf>(frame: &Frame<B>) -> bool {
    let error = match frame.transport {
        Transport::Icmp(icmp) => icmp.is_error() || icmp.kind == kind::REDIRECT,
        _ => {
            frame.ip.protocol == protocol::ICMP
                && frame.buf.bytes().get(frame.l4()).is_none_or(|k| !matches!(*k, 0 | 8 | 13..=18))
        }
    };
    error || frame.ip.fragment_offset != 0 || frame.link_group
}
