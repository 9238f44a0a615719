//! What the NAT remembers of a flow: a `Session`, the one cache line that its packets read and write, and a `Root`
//! beside it for what only its beginning and its end need.
//!
//! A session has two sides, inside's and outside's, of the same shape: what its packets from there count, where they go
//! and whether that still stands. So one code serves both directions. Addresses and ports lie as on the wire, and the
//! differences of both checksums are kept, so that a packet is compared, rewritten and sent without turning a byte.
//!
//! Whether all that still stands is one compare: a side carries the `stamp` of the path at the time when a packet went the
//! whole way, by every check, and the path draws a new stamp when anything changes that a check reads (docs/architecture.md).

use std::net::Ipv4Addr;

use super::tcp::TcpState;
use super::timeouts::{ICMP, STRANGER_MS, Timeouts, UDP};
use crate::base::{IfaceId, WanId};
use crate::packet::Tuple;
use crate::wire::checksum::RawDelta;
use crate::wire::protocol;

/// Set in `Session::flags` if the first packet came from outside and inside has not answered.
pub const OPENED_OUTSIDE: u8 = 1;

/// One end of a session, and the packets that come from there.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Side {
    /// Inside: the host's address; outside: the router's on the WAN. As on the wire.
    addr: u32,
    packets: u32,
    bytes_low: u32,
    /// Port or echo identifier, as on the wire
    port: u16,
    bytes_high: u16,
    /// The neighbour that packets from here go to, while `stamp` stands
    pub hop: u16,
    /// When `hop` was found, and every check passed; 0: never
    pub stamp: u16,
}

/// Packets from inside: `Session::sides[INSIDE]`, and scope 0 of keys.
pub const INSIDE: usize = 0;
/// Packets from outside.
pub const OUTSIDE: usize = 1;

/// A flow through the router.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Session {
    /// `INSIDE` and `OUTSIDE`
    pub sides: [Side; 2],
    /// The other end's address, as on the wire
    remote: u32,
    /// When its timer was started last, in ms (wraps after 49 days; no timer runs longer than half of that)
    pub refreshed: u32,
    /// The last acknowledgement number from inside: what a reset must carry (RFC 5961)
    pub last_ack: u32,
    /// The other end's port, as on the wire; an echo's is 0
    remote_port: u16,
    /// What translation from inside to outside adds to the IP checksum, and to that of the transport
    pub deltas: [RawDelta; 2],
    /// Where packets of each side come in, while its stamp stands
    pub ingress: [IfaceId; 2],
    /// See `wire::protocol`; 0: the slot is free
    pub protocol: u8,
    /// Which timer runs (`Timeouts`); TCP's are the `TcpState`s
    pub state: u8,
    /// The WAN it is bound to
    pub wan: WanId,
    /// See `OPENED_OUTSIDE`
    pub flags: u8,
}

const _: () = assert!(size_of::<Session>() == 64);

/// What is not needed by its packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Root {
    /// Its mapping
    pub mapping: u32,
    /// When it was made, in s
    pub created: u32,
    /// The WAN's epoch when it was bound
    pub epoch: u16,
}

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

impl Side {
    /// A side at rest.
    pub const fn new(addr: Ipv4Addr, port: u16) -> Side {
        Side {
            addr: raw(addr),
            port: raw_port(port),
            packets: 0,
            bytes_low: 0,
            bytes_high: 0,
            hop: 0,
            stamp: 0,
        }
    }

    /// Its address.
    pub const fn addr(&self) -> Ipv4Addr {
        cooked(self.addr)
    }

    /// Its port or echo identifier.
    pub const fn port(&self) -> u16 {
        raw_port(self.port)
    }

    /// Its address and port as on the wire.
    #[inline(always)]
    pub const fn raw(&self) -> (u32, u16) {
        (self.addr, self.port)
    }

    /// Counts a packet from here; 48 bits of bytes.
    #[inline(always)]
    pub fn count(&mut self, bytes: u32) {
        self.packets = self.packets.wrapping_add(1);
        let (low, carry) = self.bytes_low.overflowing_add(bytes);
        self.bytes_low = low;
        self.bytes_high = self.bytes_high.wrapping_add(u16::from(carry));
    }

    /// Packets from here (wraps at 2^32).
    pub const fn packets(&self) -> u32 {
        self.packets
    }

    /// Bytes from here, from the IP header on.
    pub const fn bytes(&self) -> u64 {
        (self.bytes_high as u64) << 32 | self.bytes_low as u64
    }
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
        let mut session = Session {
            sides: [Side::new(ends.inside.0, ends.inside.1), Side::default()],
            remote: raw(ends.remote.0),
            remote_port: raw_port(ends.remote.1),
            protocol: ends.protocol,
            ..Session::default()
        };
        session.bind(ends.outside, ends.wan);
        session
    }

    /// Gives it its place on a WAN. What packets found on the way before counts no more.
    #[inline(always)]
    pub fn bind(&mut self, outside: (Ipv4Addr, u16), wan: WanId) {
        let Side { packets, bytes_low, bytes_high, .. } = self.sides[OUTSIDE];
        self.sides[OUTSIDE] = Side { packets, bytes_low, bytes_high, ..Side::new(outside.0, outside.1) };
        self.sides[INSIDE].stamp = 0;
        self.wan = wan;
        let [inside, outside] = [self.sides[INSIDE].raw(), self.sides[OUTSIDE].raw()];
        let addr = RawDelta::NONE.addr(inside.0, outside.0);
        self.deltas = [addr, addr.word(inside.1, outside.1)];
    }

    /// The other end.
    pub const fn remote(&self) -> (Ipv4Addr, u16) {
        (cooked(self.remote), raw_port(self.remote_port))
    }

    /// Inside has sent in it.
    #[inline(always)]
    pub const fn spoken(&self) -> bool {
        self.flags & OPENED_OUTSIDE == 0
    }

    /// The key of its packets from a side.
    #[inline(always)]
    pub const fn key(&self, side: usize) -> Key {
        let own = &self.sides[side & 1];
        let rest = (self.protocol as u64) << 32;
        if side == INSIDE {
            Key {
                addresses: own.addr as u64 | (self.remote as u64) << 32,
                rest: rest | own.port as u64 | (self.remote_port as u64) << 16,
            }
        } else {
            Key {
                addresses: self.remote as u64 | (own.addr as u64) << 32,
                rest: rest
                    | self.remote_port as u64
                    | (own.port as u64) << 16
                    | (outside_scope(self.wan) as u64) << 40,
            }
        }
    }

    /// The key of its packets from inside.
    #[inline(always)]
    pub const fn outbound_key(&self) -> Key {
        self.key(INSIDE)
    }

    /// The key of its packets from outside.
    #[inline(always)]
    pub const fn inbound_key(&self) -> Key {
        self.key(OUTSIDE)
    }

    /// What the timer is set to.
    #[inline(always)]
    pub fn timeout_ms(&self, timeouts: &Timeouts) -> u32 {
        let full = timeouts.ms(self.state);
        // Made again by the stranger's next packet: nothing is lost, and memory is not his to hold.
        if self.spoken() || self.protocol != protocol::UDP { full } else { full.min(STRANGER_MS) }
    }

    /// Its timer has run out.
    #[inline(always)]
    pub fn expired(&self, timeouts: &Timeouts, tick: u32) -> bool {
        tick.wrapping_sub(self.refreshed) >= self.timeout_ms(timeouts)
    }

    /// The state's name.
    pub fn state_name(&self) -> &'static str {
        if self.protocol == protocol::TCP { TcpState::from_u8(self.state).name() } else { "active" }
    }

    /// The state that a first packet of a protocol finds: UDP's is its timer's.
    pub fn first_state(protocol: u8, remote_port: u16, timeouts: &Timeouts) -> u8 {
        match protocol {
            protocol::UDP => UDP + timeouts.udp_class(remote_port),
            protocol::TCP => TcpState::SynOut as u8,
            _ => ICMP,
        }
    }
}

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
    pub fn mapping(protocol: u8, pin: u8, inside: Ipv4Addr, port: u16) -> Key {
        Key::of(pin, protocol, (inside, port), (Ipv4Addr::UNSPECIFIED, 0))
    }

    /// Of a packet from inside: the key of its mapping, unless that is pinned.
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

    /// The key of a packet that came in on `wan`.
    #[inline(always)]
    pub fn inbound(wan: WanId, t: &Tuple) -> Key {
        let src_port = if t.protocol == protocol::ICMP { 0 } else { t.src_port };
        Key::of(outside_scope(wan), t.protocol, (t.src, src_port), (t.dst, t.dst_port))
    }
}
