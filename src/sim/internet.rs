//! The internet behind a WAN's gateway, as far as probes look: servers that answer echoes, connections, names and pages, each of which may
//! be dead, slow or odd, as may all of it behind a gateway that is well. On the link itself a server is what a station has besides ARP.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::frames::{Packet, Seen};
use super::site::Site;
use crate::base::{Nanos, WanId};
use crate::manage::probes::names::Resolver;
use crate::manage::probes::{Output, WanProbes};
use crate::wire::icmp::kind;
use crate::wire::tcp::Flags;
use crate::wire::{protocol, udp};

/// What a port of TCP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Lets in, and says nothing
    Accepts,
    /// Resets
    Refuses,
    /// Answers every page with this status
    Http(u16),
    /// Answers with what is no HTTP
    Odd,
}

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Answers nothing
    pub dead: bool,
    /// Answers so much later
    pub delay: Nanos,
    /// By port; others are silent
    pub tcp: BTreeMap<u16, Service>,
    /// Answers questions by this code and these addresses; `None`: the port is closed
    pub dns: Option<(u8, Vec<Ipv4Addr>)>,
}

/// All servers that are reached by one link.
#[derive(Debug, Default)]
pub(super) struct Internet {
    pub(super) dead: bool,
    pub(super) servers: BTreeMap<Ipv4Addr, Server>,
}

impl Internet {
    /// What a frame from the router brings back, and how much later.
    pub(super) fn answer(&self, frame: &[u8]) -> Option<(Nanos, Vec<u8>)> {
        let seen = Seen::read(frame)?;
        let server = self.servers.get(&seen.ip.dst).filter(|server| !server.dead && !self.dead)?;
        let packet = server.answer(&seen)?;
        Some((server.delay, packet.frame(seen.eth.dst, seen.eth.src)))
    }
}

impl Server {
    fn answer(&self, seen: &Seen) -> Option<Packet> {
        let (here, there) = (seen.dst(), seen.src());
        match seen.ip.protocol {
            protocol::ICMP => {
                let icmp = seen.icmp().filter(|icmp| icmp.kind == kind::ECHO_REQUEST)?;
                Some(Packet::icmp(here.0, there.0, kind::ECHO_REPLY, 0, icmp.id, icmp.seq, seen.data()))
            }
            protocol::UDP => {
                let Some((code, addresses)) = self.dns.as_ref().filter(|_| here.1 == 53) else {
                    let quote = [&seen.header[..], &seen.payload[..udp::LEN]].concat();
                    return Some(Packet::icmp(here.0, there.0, kind::UNREACHABLE, 3, 0, 0, &quote));
                };
                let mut reply = seen.data().to_vec();
                let records = reply.get_mut(2..8)?;
                records.copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8]);
                for ip in addresses {
                    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    reply.extend(ip.octets());
                }
                Some(Packet::udp(here, there, &reply))
            }
            protocol::TCP => {
                let (tcp, service) = (seen.tcp()?, *self.tcp.get(&here.1)?);
                let segment = |flags, seq, data: &[u8]| {
                    let length = seen.data().len() as u32 + u32::from(tcp.flags.syn());
                    Packet::tcp(here, there, flags, seq, tcp.seq.wrapping_add(length), data)
                };
                let page = match service {
                    Service::Http(status) => format!("HTTP/1.1 {status} Whatever\r\nServer: sim\r\n\r\n"),
                    Service::Odd => "220 mail.example ESMTP\r\n".into(),
                    Service::Accepts | Service::Refuses => String::new(),
                };
                match service {
                    _ if tcp.flags.rst() => None,
                    Service::Refuses => Some(segment(Flags::RST | Flags::ACK, 0, b"")),
                    _ if tcp.flags.opens() => Some(segment(Flags::SYN | Flags::ACK, 9000, b"")),
                    Service::Accepts => None,
                    _ if seen.data().is_empty() => None,
                    _ => Some(segment(Flags::ACK, 9001, page.as_bytes())),
                }
            }
            _ => None,
        }
    }
}

impl Site {
    /// A server that is reached by a link, or what it is from now on. Another link's server may have the same address.
    pub fn serve(&mut self, link: &str, ip: Ipv4Addr, server: Server) {
        let iface = self.iface(link);
        self.wires.borrow_mut()[iface.index()].internet.servers.insert(ip, server);
    }

    /// All that is behind a link's gateway is dead, though the gateway is well; or not any more.
    pub fn set_internet_dead(&mut self, link: &str, dead: bool) {
        let iface = self.iface(link);
        self.wires.borrow_mut()[iface.index()].internet.dead = dead;
    }

    /// From now on these are the targets of the WANs.
    pub fn set_probes(&mut self, wans: Vec<WanProbes>, resolver: Option<Resolver>) {
        self.manager.set_probes(wans, resolver, 4711);
        self.settle();
    }

    /// Asks a target by a WAN.
    pub fn ask_target(&mut self, wan: u8, target: u8, round: u32) {
        self.manager.ask_target(self.now, WanId(wan), target, round);
        self.settle();
    }

    /// Lets time pass for the workers only: the management thread is busy elsewhere.
    pub fn run_without_manager(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += Nanos::from_ms(1);
            self.turn();
        }
    }

    /// What came of the probes since the last time.
    pub fn outcomes(&mut self) -> Vec<Output> {
        self.manager.outcomes().collect()
    }
}
