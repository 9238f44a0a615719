//! How long sessions live without traffic: one table, by the session's state.

use super::tcp::TcpState;
use crate::base::Nanos;
use crate::wire::protocol;

/// How long a session lives at most that outside has opened and inside has not answered: it is made again by the
/// stranger's next packet, so nothing is lost, and memory is not his to hold.
const STRANGER_MS: u32 = 10_000;
/// The state of sessions of ICMP. Below it are the states of TCP.
pub const ICMP: u8 = 7;
/// The state of UDP that outside has opened and inside has not answered.
pub const STRANGER: u8 = 8;
/// The state of sessions of protocols without ports.
pub const OTHER: u8 = 9;
/// The first state of UDP: that of ports without a timeout of their own.
pub const UDP: u8 = 10;
/// Ports that can have a UDP timeout of their own.
pub const UDP_PORTS: usize = 240;

/// The timeouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    ms: [u32; 256],
    udp_ports: Vec<u16>,
}

impl Timeouts {
    /// From spans; at most `UDP_PORTS` ports with a timeout of their own count.
    pub fn new(
        tcp: Nanos,
        tcp_transitory: Nanos,
        udp: Nanos,
        udp_ports: &[(u16, Nanos)],
        icmp: Nanos,
        other: Nanos,
    ) -> Timeouts {
        let mut ms = [to_ms(udp); 256];
        ms[..usize::from(ICMP)].fill(to_ms(tcp_transitory));
        ms[TcpState::Established as usize] = to_ms(tcp);
        ms[usize::from(ICMP)] = to_ms(icmp);
        ms[usize::from(OTHER)] = to_ms(other);
        let own = udp_ports.iter().take(UDP_PORTS);
        for (slot, (_, span)) in ms[usize::from(UDP) + 1..].iter_mut().zip(own.clone()) {
            *slot = to_ms(*span);
        }
        let shortest = ms[usize::from(UDP)..].iter().copied().min().unwrap_or(0);
        ms[usize::from(STRANGER)] = shortest.min(STRANGER_MS);
        Timeouts { ms, udp_ports: own.map(|(port, _)| *port).collect() }
    }

    /// Takes the spans of others that have the same UDP ports.
    pub fn take(&mut self, others: &Timeouts) {
        self.ms = others.ms;
    }

    /// With another time for TCP that is opening (RFC 7857 2.2).
    #[must_use]
    pub fn opening(mut self, span: Nanos) -> Timeouts {
        let ms = to_ms(span);
        self.ms[usize::from(TcpState::SynOut as u8)] = ms;
        self.ms[usize::from(TcpState::SynIn as u8)] = ms;
        self
    }

    /// With another time for TCP that is closing, or was reset.
    #[must_use]
    pub fn closing(mut self, span: Nanos) -> Timeouts {
        for state in [TcpState::FinOut, TcpState::FinIn, TcpState::FinBoth, TcpState::Transitory] {
            self.ms[usize::from(state as u8)] = to_ms(span);
        }
        self
    }

    /// The timeout of a state, in ms.
    #[inline(always)]
    pub fn ms(&self, state: u8) -> u32 {
        self.ms[usize::from(state)]
    }

    /// The state of a session whose first packet comes from inside.
    #[inline]
    pub fn first_state(&self, protocol: u8, remote_port: u16) -> u8 {
        match protocol {
            protocol::UDP => {
                let own = self.udp_ports.iter().position(|port| *port == remote_port);
                UDP + own.map_or(0, |at| at as u8 + 1)
            }
            protocol::TCP => TcpState::SynOut as u8,
            protocol::ICMP => ICMP,
            _ => OTHER,
        }
    }
}

/// Half of the clock's round at most.
fn to_ms(span: Nanos) -> u32 {
    u32::try_from(span.as_ms()).unwrap_or(u32::MAX / 2).min(u32::MAX / 2)
}

/// The clock of the sessions' timers: milliseconds, wrapping.
#[inline(always)]
pub fn tick(now: Nanos) -> u32 {
    now.as_ms() as u32
}
