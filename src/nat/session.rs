//! What the NAT remembers of a flow: a `Session`, the one cache line that its packets read and write, and a `Root`
//! beside it for what only its beginning and its end need.
//!
//! A session has two sides, inside's and outside's: what packets from there count, where they go and whether that still
//! stands. So one code serves both directions. Addresses and ports lie as on the wire, and the
//! differences of both checksums are kept, so that a packet is compared, rewritten and sent without turning a byte.
//!
//! Whether all that still stands is one compare: each side carries the stamp of the path at the time when a packet went the
//! whole way, by every check, and the path draws a new stamp when anything changes that a check reads (docs/architecture.md).

use std::net::Ipv4Addr;

use super::mapping::Course;
use super::tcp::{TcpState, Way};
use super::timeouts::Timeouts;
use crate::base::{IfaceId, WanId};
use crate::packet::Tuple;
use crate::wire::checksum::RawDelta;
use crate::wire::tcp::Flags;
use crate::wire::{le16, le32, le64, protocol, put_le16, put_le32};

pub use super::root::{Kind, NONE, Origin, Root};

/// Packets from inside; scope 0 of keys.
pub const INSIDE: usize = 0;
/// Packets from outside.
pub const OUTSIDE: usize = 1;

/// A flow through the router. What there are two of belongs to the packets from one side: `INSIDE`, `OUTSIDE`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Session {
    /// Inside, remote, outside, as on the wire: so that two neighbours are source and destination of a side's packets
    addrs: [u8; 12],
    /// When its timer was started last, in ms (wraps after 49 days; no timer runs longer than half of that)
    pub refreshed: u32,
    packets: [u32; 2],
    bytes_low: [u32; 2],
    /// The last acknowledgement number from inside: what a reset must carry (RFC 5961). Until outside has answered a SYN, when that
    /// came (`gauges`)
    pub last_ack: u32,
    /// As `addrs`; an echo's remote port is 0, the others are its identifier
    ports: [u8; 6],
    /// Protocol, and from bit 8 on what a packet has to have come by: the scope of outside's key; the interface, while inside's stamp
    /// stands
    kinds: [u16; 2],
    bytes_high: [u16; 2],
    /// The neighbour that packets go to, while the stamp stands
    pub hops: [u16; 2],
    /// When the hop was found, and every check passed; 0: never
    pub stamps: [u16; 2],
    /// What translation from inside to outside adds to the IP checksum, and to that of the transport
    pub deltas: [RawDelta; 2],
    /// Which timer runs (`Timeouts`); TCP's are the `TcpState`s
    pub state: u8,
}

const _: () = assert!(size_of::<Session>() == 64);

/// An address or a port as it lies on the wire.
#[inline(always)]
const fn raw(ip: Ipv4Addr) -> u32 {
    u32::from_le_bytes(ip.octets())
}

#[inline(always)]
const fn cooked(raw: u32) -> Ipv4Addr {
    let [a, b, c, d] = raw.to_le_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[inline(always)]
const fn raw_port(port: u16) -> u16 {
    u16::from_le_bytes(port.to_be_bytes())
}

/// Who a session is between.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// See `wire::protocol`
    pub protocol: u8,
    /// The inside host
    pub inside: (Ipv4Addr, u16),
    /// Its place on the WAN
    pub outside: (Ipv4Addr, u16),
    /// The other end
    pub remote: (Ipv4Addr, u16),
    /// The WAN
    pub wan: WanId,
}

impl Session {
    /// A session between these, without a timer yet.
    #[inline(always)]
    pub fn new(ends: &Ends) -> Session {
        let kind = u16::from(ends.protocol);
        let mut session = Session { kinds: [kind, kind], ..Session::default() };
        session.set_end(0, ends.inside);
        session.set_end(1, ends.remote);
        session.bind(ends.outside, ends.wan);
        session
    }

    /// The same, from inside to inside.
    #[must_use]
    pub fn internal(self) -> Session {
        let kind = u16::from(self.protocol()) | u16::from(INTERNAL) << 8;
        // Nobody asks for its round trip.
        Session { kinds: [kind, kind], last_ack: 0, ..self }
    }

    /// Gives it its place on a WAN. What packets found on the way before counts no more.
    #[inline(always)]
    pub fn bind(&mut self, outside: (Ipv4Addr, u16), wan: WanId) {
        self.stamps = [0; 2];
        let inside = self.inside();
        self.set_end(2, outside);
        self.kinds[OUTSIDE] = u16::from(self.protocol()) | u16::from(outside_scope(wan)) << 8;
        let addr = RawDelta::NONE.addr(raw(inside.0), raw(outside.0));
        self.deltas = [addr, addr.word(raw_port(inside.1), raw_port(outside.1))];
    }

    /// The slot is free. The protocol may be 0 all the same, but outside there is a scope.
    #[inline(always)]
    pub const fn is_free(&self) -> bool {
        self.kinds[OUTSIDE] == 0
    }

    /// See `wire::protocol`.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.kinds[0] as u8
    }

    /// Packets from inside come in there, while their stamp stands. Not for one from inside to inside.
    #[inline(always)]
    pub fn set_ingress(&mut self, ingress: IfaceId) {
        debug_assert!(ingress.0 < INTERNAL && self.kinds[INSIDE] >> 8 < INTERNAL.into());
        self.kinds[INSIDE] = u16::from(self.protocol()) | u16::from(ingress.0) << 8;
    }

    /// The WAN it is bound to.
    #[inline(always)]
    pub const fn wan(&self) -> WanId {
        WanId((self.kinds[OUTSIDE] >> 8) as u8 & 127)
    }

    /// The inside host.
    #[inline(always)]
    pub fn inside(&self) -> (Ipv4Addr, u16) {
        self.end(0)
    }

    /// The other end.
    #[inline(always)]
    pub fn remote(&self) -> (Ipv4Addr, u16) {
        self.end(1)
    }

    /// Its place on the WAN.
    #[inline(always)]
    pub fn outside(&self) -> (Ipv4Addr, u16) {
        self.end(2)
    }

    #[inline(always)]
    fn end(&self, at: usize) -> (Ipv4Addr, u16) {
        (cooked(le32(&self.addrs, at * 4)), raw_port(le16(&self.ports, at * 2)))
    }

    #[inline(always)]
    fn set_end(&mut self, at: usize, end: (Ipv4Addr, u16)) {
        put_le32(&mut self.addrs, at * 4, raw(end.0));
        put_le16(&mut self.ports, at * 2, raw_port(end.1));
    }

    /// What takes the place of a packet's own end: address and port as on the wire.
    #[inline(always)]
    pub fn translation(&self, side: usize) -> (u32, u16) {
        let at = ((side & 1) ^ 1) * 2;
        (le32(&self.addrs, at * 4), le16(&self.ports, at * 2))
    }

    /// Counts a packet of a side; 48 bits of bytes.
    #[inline(always)]
    pub fn count(&mut self, side: usize, bytes: u32) {
        let side = side & 1;
        self.packets[side] = self.packets[side].wrapping_add(1);
        let (low, carry) = self.bytes_low[side].overflowing_add(bytes);
        self.bytes_low[side] = low;
        self.bytes_high[side] = self.bytes_high[side].wrapping_add(u16::from(carry));
    }

    /// Packets of a side (wraps at 2^32).
    pub const fn packets(&self, side: usize) -> u32 {
        self.packets[side & 1]
    }

    /// Bytes of a side, from the IP header on.
    pub const fn bytes(&self, side: usize) -> u64 {
        (self.bytes_high[side & 1] as u64) << 32 | self.bytes_low[side & 1] as u64
    }

    /// The key of its packets from a side.
    #[inline(always)]
    pub fn key(&self, side: usize) -> Key {
        let side = side & 1;
        let (kind, scope) = (self.kinds[side], self.kinds[side] >> 8);
        let kind = if scope < INTERNAL.into() { kind & 0xff } else { kind };
        Key {
            addresses: le64(&self.addrs, side * 4),
            rest: u64::from(le32(&self.ports, side * 2)) | u64::from(kind) << 32,
        }
    }

    /// Whether it is the session of a side's packets with these words of their header, and this protocol and what they came by.
    #[inline(always)]
    pub fn is_of(&self, side: usize, addresses: u64, ports: u32, kind: u16) -> bool {
        let side = side & 1;
        (le64(&self.addrs, side * 4) == addresses)
            & (le32(&self.ports, side * 2) == ports)
            & (self.kinds[side] == kind)
    }

    /// A TCP segment of a side: the state after it, and the timer.
    #[inline]
    pub fn step(&mut self, side: usize, flags: Flags, tick: u32) {
        let state = TcpState::from_u8(self.state);
        let next = state.after(if side == OUTSIDE { Way::In } else { Way::Out }, flags);
        if state.refreshes(next, flags) {
            self.refreshed = tick;
        }
        self.state = next as u8;
    }

    /// Its timer has run out.
    #[inline(always)]
    pub fn expired(&self, timeouts: &Timeouts, tick: u32) -> bool {
        tick.wrapping_sub(self.refreshed) >= timeouts.ms(self.state)
    }

    /// The state's name.
    pub fn state_name(&self) -> &'static str {
        if self.protocol() == protocol::TCP { TcpState::from_u8(self.state).name() } else { "active" }
    }
}

/// The scope of keys from inside to inside. No other scope is it: WANs' are from 128 on, inside's is 0. Interfaces, of which there are
/// 64 at most, are below.
const INTERNAL: u8 = 127;
/// The WAN of sessions that are on none.
pub const NOWHERE: WanId = WanId(127);

/// The WAN of sessions that live on a WAN of the partner's.
pub const AWAY: WanId = WanId(126);

/// The scope of keys that name an outside endpoint on a WAN (two WANs may have the same address).
#[inline(always)]
pub const fn outside_scope(wan: WanId) -> u8 {
    128 | wan.0
}

/// What stands in the index: source and destination as on the wire, protocol, and the scope, which is 0 for what comes
/// from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Source address, destination address from bit 32 on
    pub addresses: u64,
    /// Source port, destination port, protocol and scope, from bits 0, 16, 32 and 40 on
    pub rest: u64,
}

impl Key {
    #[inline(always)]
    fn of(scope: u8, protocol: u8, src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Key {
        Key {
            addresses: u64::from(raw(src.0)) | u64::from(raw(dst.0)) << 32,
            rest: u64::from(raw_port(src.1))
                | u64::from(raw_port(dst.1)) << 16
                | u64::from(protocol) << 32
                | u64::from(scope) << 40,
        }
    }

    /// The key of a mapping by its inside endpoint. Mappings have an index of their own.
    #[inline(always)]
    pub fn mapping(protocol: u8, course: Course, inside: Ipv4Addr, port: u16) -> Key {
        Key::of(course.pinned(), protocol, (inside, port), (Ipv4Addr::UNSPECIFIED, u16::from(course.group)))
    }

    /// Protocol.
    #[inline(always)]
    pub const fn protocol(self) -> u8 {
        (self.rest >> 32) as u8
    }

    /// Source of the packet.
    #[inline(always)]
    pub const fn source(self) -> (Ipv4Addr, u16) {
        (cooked(self.addresses as u32), raw_port(self.rest as u16))
    }

    /// Destination of the packet.
    #[inline(always)]
    pub const fn destination(self) -> (Ipv4Addr, u16) {
        (cooked((self.addresses >> 32) as u32), raw_port((self.rest >> 16) as u16))
    }

    /// Of a packet from inside: the key of its answer, if its place on `wan` is `outside`.
    #[inline(always)]
    pub const fn reply(self, wan: WanId, outside: (Ipv4Addr, u16)) -> Key {
        let kind = self.protocol() as u64 | (outside_scope(wan) as u64) << 8;
        Key {
            addresses: self.addresses >> 32 | (raw(outside.0) as u64) << 32,
            rest: self.rest >> 16 & 0xffff | (raw_port(outside.1) as u64) << 16 | kind << 32,
        }
    }

    /// Of a packet from inside: the key of its mapping, if it belongs to the default group and is not pinned.
    #[inline(always)]
    pub const fn of_mapping(self) -> Key {
        Key { addresses: self.addresses & 0xffff_ffff, rest: self.rest & !0xffff_0000 }
    }

    /// The key of a packet from inside.
    #[inline(always)]
    pub fn outbound(t: &Tuple) -> Key {
        let dst_port = if t.protocol == protocol::ICMP { 0 } else { t.dst_port };
        Key::of(0, t.protocol, (t.src, t.src_port), (t.dst, dst_port))
    }

    /// The key of a packet from inside to inside, of the side that began or of the other one.
    pub fn internal(t: &Tuple, side: usize) -> Key {
        let (src_port, dst_port) = match (t.protocol, side) {
            (protocol::ICMP, INSIDE) => (t.src_port, 0),
            (protocol::ICMP, _) => (0, t.dst_port),
            _ => (t.src_port, t.dst_port),
        };
        Key::of(INTERNAL, t.protocol, (t.src, src_port), (t.dst, dst_port))
    }

    /// The key of a packet that came in on `wan`.
    #[inline(always)]
    pub fn inbound(wan: WanId, t: &Tuple) -> Key {
        let src_port = if t.protocol == protocol::ICMP { 0 } else { t.src_port };
        Key::of(outside_scope(wan), t.protocol, (t.src, src_port), (t.dst, t.dst_port))
    }
}
