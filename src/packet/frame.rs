//! `Frame`: a packet that passed the checks of `path::admit`, with what they found; and its end, the `Verdict`.

use std::net::Ipv4Addr;

use super::{DropReason, PacketBuf};
use crate::base::{IfaceId, WorkerId};
use crate::wire::icmp::{Icmp, kind};
use crate::wire::ipv4::Ipv4;
use crate::wire::tcp::Tcp;
use crate::wire::{eth, protocol};

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram between two ports
    Udp {
        /// Source port
        src: u16,
        /// Destination port
        dst: u16,
    },
    /// A segment
    Tcp(Tcp),
    /// A message
    Icmp(Icmp),
    /// Anything else, a fragment included: not looked at
    Other,
}

/// An IPv4 packet in its Ethernet frame, checked.
#[derive(Debug)]
pub struct Frame<B> {
    /// The bytes
    pub buf: B,
    /// Where it came in
    pub ingress: IfaceId,
    /// Came to the link's broadcast or a multicast address
    pub link_group: bool,
    /// The IP header as it arrived
    pub ip: Ipv4,
    /// The transport header as it arrived
    pub transport: Transport,
}

impl<B: PacketBuf> Frame<B> {
    /// Where the IP header starts.
    pub const L3: usize = eth::LEN;

    /// Where the transport header starts.
    pub fn l4(&self) -> usize {
        Self::L3 + usize::from(self.ip.header_len)
    }

    /// The IP packet, from its header to the end of the frame.
    pub fn packet_mut(&mut self) -> &mut [u8] {
        self.buf.bytes_mut().get_mut(Self::L3..).unwrap_or_default()
    }

    /// The TCP header, if it is TCP.
    pub fn tcp(&self) -> Option<Tcp> {
        if let Transport::Tcp(tcp) = self.transport { Some(tcp) } else { None }
    }

    /// An echo reply.
    pub fn is_echo_reply(&self) -> bool {
        matches!(self.transport, Transport::Icmp(icmp) if icmp.kind == kind::ECHO_REPLY)
    }

    /// An ICMP error.
    pub fn is_error(&self) -> bool {
        matches!(self.transport, Transport::Icmp(icmp) if icmp.is_error())
    }

    /// The protocol, if it is one without ports and the packet is whole, or the first fragment of one.
    pub fn portless(&self) -> Option<u8> {
        let ports = matches!(self.ip.protocol, protocol::UDP | protocol::TCP | protocol::ICMP);
        (!ports && self.ip.fragment_offset == 0).then_some(self.ip.protocol)
    }

    /// The two endpoints of the flow, as they arrived: ports, or the identifier of an echo in both places, or 0 where a protocol has
    /// none. `None` for what is not looked at.
    pub fn tuple(&self) -> Option<Tuple> {
        let (protocol, src_port, dst_port) = match self.transport {
            Transport::Udp { src, dst } => (protocol::UDP, src, dst),
            Transport::Tcp(tcp) => (protocol::TCP, tcp.src, tcp.dst),
            Transport::Icmp(icmp) => (protocol::ICMP, icmp.id, icmp.id),
            Transport::Other => (self.portless()?, 0, 0),
        };
        Some(Tuple { protocol, src: self.ip.src, src_port, dst: self.ip.dst, dst_port })
    }
}

/// Protocol and endpoints of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// See `wire::protocol`
    pub protocol: u8,
    /// Source
    pub src: Ipv4Addr,
    /// Source port, or an echo's identifier
    pub src_port: u16,
    /// Destination
    pub dst: Ipv4Addr,
    /// Destination port, or an echo's identifier
    pub dst_port: u16,
}

impl Tuple {
    /// Its protocol has ports, or identifiers.
    pub fn has_ports(&self) -> bool {
        matches!(self.protocol, protocol::UDP | protocol::TCP | protocol::ICMP)
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Queued for sending
    Sent,
    /// Consumed by the router
    Local,
    /// Waits for its next hop's address
    Held,
    /// Comes in again, by an outside address that it was for
    Turned,
    /// Given to the worker that owns its host
    HandedOut(WorkerId),
    /// Ended here
    Dropped(DropReason),
}
