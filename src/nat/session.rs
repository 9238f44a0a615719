//! What the NAT remembers: a `Session` per flow in one cache line, a `Mapping` per inside endpoint.
//!
//! A mapping ties an inside endpoint to one outside endpoint on one WAN, whatever the remote (RFC 4787 REQ-1). Its
//! sessions are its flows, one per remote endpoint. Both remember the epoch of their WAN: when a failover leaves a WAN its epoch
//! grows, and with that everything bound to it is stale at once, however much it is.

use std::net::Ipv4Addr;

use super::tcp::TcpState;
use crate::base::{Nanos, WanId};
use crate::packet::Tuple;
use crate::wire::protocol;

/// How long a session lives that outside has opened and inside has not answered.
const STRANGER_MS: u32 = 10_000;

/// Set in `Session::flags` if the first packet came from outside and inside has not answered.
pub const OPENED_OUTSIDE: u8 = 1;

/// A flow through the router. Hot: read and written by each of its packets.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Session {
    /// The inside host
    pub inside: Ipv4Addr,
    /// The router's address on the WAN
    pub outside: Ipv4Addr,
    /// The other end
    pub remote: Ipv4Addr,
    /// Port or echo identifier of the inside host
    pub inside_port: u16,
    /// Port or echo identifier on the WAN
    pub outside_port: u16,
    /// Port of the other end; an echo's is 0
    pub remote_port: u16,
    /// 0: the slot is free
    pub protocol: u8,
    /// TCP: a `TcpState`; UDP: which timeout
    pub state: u8,
    /// The WAN it is bound to
    pub wan: WanId,
    /// See `OPENED_OUTSIDE`
    pub flags: u8,
    /// The WAN's epoch when it was bound
    pub epoch: u16,
    /// When its timer was started last, in ms (wraps after 49 days; no timer runs longer than one)
    pub refreshed: u32,
    /// When it was made, in s
    pub created: u32,
    /// Its mapping
    pub mapping: u32,
    /// The last acknowledgement number from inside: what a reset must carry (RFC 5961)
    pub last_ack: u32,
    /// Packets to outside
    pub tx_packets: u32,
    /// Packets to inside
    pub rx_packets: u32,
    /// Bytes to outside, from the IP header on
    pub tx_bytes: u64,
    /// Bytes to inside, from the IP header on
    pub rx_bytes: u64,
}

const _: () = assert!(size_of::<Session>() == 64);

impl Default for Session {
    fn default() -> Session {
        Session {
            inside: Ipv4Addr::UNSPECIFIED,
            outside: Ipv4Addr::UNSPECIFIED,
            remote: Ipv4Addr::UNSPECIFIED,
            inside_port: 0,
            outside_port: 0,
            remote_port: 0,
            protocol: 0,
            state: 0,
            wan: WanId(0),
            flags: 0,
            epoch: 0,
            refreshed: 0,
            created: 0,
            mapping: 0,
            last_ack: 0,
            tx_packets: 0,
            rx_packets: 0,
            tx_bytes: 0,
            rx_bytes: 0,
        }
    }
}

impl Session {
    /// Inside has sent in it.
    #[inline(always)]
    pub fn spoken(&self) -> bool {
        self.flags & OPENED_OUTSIDE == 0
    }

    /// The key of its packets from inside.
    #[inline(always)]
    pub fn outbound_key(&self) -> Key {
        Key::new(self.protocol, INSIDE, self.inside, self.inside_port, self.remote, self.remote_port)
    }

    /// The key of its packets from outside.
    #[inline(always)]
    pub fn inbound_key(&self) -> Key {
        Key::new(
            self.protocol,
            outside_scope(self.wan),
            self.outside,
            self.outside_port,
            self.remote,
            self.remote_port,
        )
    }

    /// What the timer is set to.
    #[inline(always)]
    pub fn timeout_ms(&self, timeouts: &Timeouts) -> u32 {
        match self.protocol {
            // Made again by the stranger's next packet: nothing is lost, and memory is not his to hold.
            protocol::UDP if !self.spoken() => STRANGER_MS.min(timeouts.udp_ms[usize::from(self.state)]),
            protocol::UDP => timeouts.udp_ms[usize::from(self.state)],
            protocol::TCP if self.state == TcpState::Established as u8 => timeouts.tcp_ms,
            protocol::TCP => timeouts.tcp_transitory_ms,
            _ => timeouts.icmp_ms,
        }
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
}

/// An inside endpoint's place on a WAN.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The inside host
    pub inside: Ipv4Addr,
    /// The router's address on the WAN
    pub outside: Ipv4Addr,
    /// Port or echo identifier of the inside host
    pub inside_port: u16,
    /// Port or echo identifier on the WAN
    pub outside_port: u16,
    /// See `wire::protocol`
    pub protocol: u8,
    /// 0: goes with the selection; 1 + w: keeps to WAN w while that is fit, because its remotes are on that WAN's link
    pub pin: u8,
    /// The WAN it is on
    pub wan: WanId,
    /// The WAN's epoch when it was put there
    pub epoch: u16,
    /// How many sessions it has; it ends with the last
    pub sessions: u32,
    /// Those of them in which inside has spoken: without any it lets nobody new in
    pub spoken: u32,
}

impl Default for Mapping {
    fn default() -> Mapping {
        Mapping {
            inside: Ipv4Addr::UNSPECIFIED,
            outside: Ipv4Addr::UNSPECIFIED,
            inside_port: 0,
            outside_port: 0,
            protocol: 0,
            pin: 0,
            wan: WanId(0),
            epoch: 0,
            sessions: 0,
            spoken: 0,
        }
    }
}

impl Mapping {
    /// The key by which new flows from inside find it.
    pub fn inside_key(&self) -> Key {
        Key::mapping(self.protocol, self.pin, self.inside, self.inside_port)
    }

    /// The key by which new flows from outside find it.
    pub fn outside_key(&self) -> Key {
        Key::new(
            self.protocol,
            outside_scope(self.wan),
            self.outside,
            self.outside_port,
            Ipv4Addr::UNSPECIFIED,
            0,
        )
    }
}

/// The scope of keys that name an inside endpoint.
pub const INSIDE: u8 = 0;

/// The scope of keys that name an outside endpoint on a WAN (two WANs may have the same address).
#[inline(always)]
pub const fn outside_scope(wan: WanId) -> u8 {
    128 | wan.0
}

/// What stands in the index: protocol, scope, own endpoint, remote endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Own and remote address
    pub addresses: u64,
    /// Protocol, scope, own and remote port
    pub rest: u64,
}

impl Key {
    /// The key of a session.
    #[inline(always)]
    pub fn new(
        protocol: u8,
        scope: u8,
        own: Ipv4Addr,
        own_port: u16,
        remote: Ipv4Addr,
        remote_port: u16,
    ) -> Key {
        Key {
            addresses: u64::from(own.to_bits()) << 32 | u64::from(remote.to_bits()),
            rest: u64::from(scope) << 40
                | u64::from(protocol) << 32
                | u64::from(own_port) << 16
                | u64::from(remote_port),
        }
    }

    /// The key of a mapping by its inside endpoint. Mappings have an index of their own.
    pub fn mapping(protocol: u8, pin: u8, inside: Ipv4Addr, port: u16) -> Key {
        Key::new(protocol, pin, inside, port, Ipv4Addr::UNSPECIFIED, 0)
    }

    /// The key of a packet from inside.
    #[inline(always)]
    pub fn outbound(t: &Tuple) -> Key {
        let remote_port = if t.protocol == protocol::ICMP { 0 } else { t.dst_port };
        Key::new(t.protocol, INSIDE, t.src, t.src_port, t.dst, remote_port)
    }

    /// The key of a packet that came in on `wan`.
    #[inline(always)]
    pub fn inbound(wan: WanId, t: &Tuple) -> Key {
        let remote_port = if t.protocol == protocol::ICMP { 0 } else { t.src_port };
        Key::new(t.protocol, outside_scope(wan), t.dst, t.dst_port, t.src, remote_port)
    }
}

/// How long sessions live without traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    tcp_ms: u32,
    tcp_transitory_ms: u32,
    icmp_ms: u32,
    /// The default, then those of `udp_ports` in their order; always 256 entries
    udp_ms: Vec<u32>,
    udp_ports: Vec<u16>,
}

impl Timeouts {
    /// From spans; at most 255 ports with a timeout of their own count.
    pub fn new(
        tcp: Nanos,
        tcp_transitory: Nanos,
        udp: Nanos,
        udp_ports: &[(u16, Nanos)],
        icmp: Nanos,
    ) -> Timeouts {
        let ms = |n: Nanos| u32::try_from(n.as_ms()).unwrap_or(u32::MAX / 2).min(u32::MAX / 2);
        let mut udp_ms = vec![ms(udp)];
        udp_ms.extend(udp_ports.iter().take(255).map(|(_, t)| ms(*t)));
        udp_ms.resize(256, ms(udp));
        Timeouts {
            tcp_ms: ms(tcp),
            tcp_transitory_ms: ms(tcp_transitory),
            icmp_ms: ms(icmp),
            udp_ms,
            udp_ports: udp_ports.iter().take(255).map(|(p, _)| *p).collect(),
        }
    }

    /// What a UDP session to `remote_port` carries as its state.
    pub fn udp_class(&self, remote_port: u16) -> u8 {
        self.udp_ports.iter().position(|p| *p == remote_port).map_or(0, |at| at as u8 + 1)
    }
}

/// The clock of the sessions' timers: milliseconds, wrapping.
#[inline(always)]
pub fn tick(now: Nanos) -> u32 {
    now.as_ms() as u32
}
