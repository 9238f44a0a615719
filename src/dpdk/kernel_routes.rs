//! The routes of the kernel's main table by some devices, by netlink: no DPDK in it.
//!
//! One non-blocking NETLINK_ROUTE socket, subscribed to IPv4 routes and addresses, and to links: a device that goes down takes
//! its routes along in silence. Each notice makes the table be read once more, all of it, as notices may be lost and routes
//! replace one another; not more than ten times a second, and no longer than a tenth of the time, however large it is.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use crate::base::{Ipv4Net, Nanos};

const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const RT_TABLE_MAIN: u32 = 254;
/// From one dump to the next, at least.
const PAUSE: Nanos = Nanos::from_ms(100);
/// A dump that has not ended by then is asked for again.
const PATIENCE: Nanos = Nanos::from_s(5);
/// Messages read at a time.
const READS: usize = 64;

/// A route of the kernel's that nobody but an operator or a routing daemon can have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    /// Length of the prefix and destinations
    pub net: (u8, Ipv4Addr),
    /// Its metric: the lowest counts
    pub priority: u32,
    /// The device
    pub ifindex: u32,
    /// The next hop; `None`: the destination itself
    pub via: Option<Ipv4Addr>,
}

/// Watches the routes by some devices of the network namespace that it was made in.
#[derive(Debug)]
pub struct RouteWatch {
    socket: Socket,
    buffer: Vec<u8>,
    ifindexes: Vec<u32>,
    found: Vec<KernelRoute>,
    /// When the dump under way was asked for
    dump: Option<Nanos>,
    /// Another one is due, not before then
    due: Option<Nanos>,
    next: Nanos,
    sequence: u32,
}

impl RouteWatch {
    /// Subscribes. The first polls give how things are.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(ifindexes: Vec<u32>) -> io::Result<RouteWatch> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(1 << 20)?;
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE] {
            socket.add_membership(group)?;
        }
        Ok(RouteWatch {
            socket,
            buffer: vec![0; 64 * 1024],
            ifindexes,
            found: Vec::new(),
            dump: None,
            due: Some(Nanos::ZERO),
            next: Nanos::ZERO,
            sequence: 0,
        })
    }

    /// Reads what the kernel has said since. Gives all routes by the devices, sorted, when they have been read anew. Never blocks.
    pub fn poll(&mut self, now: Nanos) -> Option<Vec<KernelRoute>> {
        if self.dump.is_some_and(|asked| now.since(asked) > PATIENCE) {
            (self.dump, self.due) = (None, Some(now));
        }
        if self.dump.is_none() && self.due.is_some_and(|due| due.max(self.next) <= now) {
            self.ask(now);
        }
        let mut done = false;
        for _ in 0..READS {
            match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Ok(0) => break,
                Ok(n) => done |= self.take(n.min(self.buffer.len()), now),
                Err(e) if e.raw_os_error() == Some(Errno::ENOBUFS as i32) => self.due = Some(now),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        done.then(|| {
            let mut found = std::mem::take(&mut self.found);
            found.sort_unstable();
            found.dedup();
            found
        })
    }

    fn ask(&mut self, now: Nanos) {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        let mut message =
            NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetRoute(request)));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        // Refused, it is asked for again when patience is over.
        if self.socket.send(&bytes, 0).is_ok() {
            self.due = None;
        }
        self.found.clear();
        self.dump = Some(now);
    }

    /// Takes in one reading; whether a dump has ended well with it.
    fn take(&mut self, n: usize, now: Nanos) -> bool {
        let buffer = std::mem::take(&mut self.buffer);
        let (mut rest, mut done) = (buffer.get(..n).unwrap_or_default(), false);
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            let Some(bytes) = rest.get(..length).filter(|bytes| bytes.len() >= 16) else { break };
            let kind = message.message_type();
            let ours = message.sequence_number() == self.sequence && self.dump.is_some();
            if !ours {
                self.due = self.due.or(Some(now));
            } else if kind == NLMSG_DONE || kind == NLMSG_ERROR {
                let took = now.since(self.dump.take().unwrap_or(now));
                self.next = now + PAUSE.max(Nanos(took.0.saturating_mul(10)));
                let whole = kind == NLMSG_DONE && message.flags() & NLM_F_DUMP_INTR == 0;
                if !whole {
                    self.due = Some(now);
                }
                done |= whole;
            } else {
                if message.flags() & NLM_F_DUMP_INTR != 0 {
                    self.due = Some(now);
                }
                self.found.extend(read(bytes).filter(|route| self.ifindexes.contains(&route.ifindex)));
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.buffer = buffer;
        done
    }
}

/// A route of the main table to a network, that leads somewhere and was not made by the kernel itself. Of several next hops the first.
fn read(bytes: &[u8]) -> Option<KernelRoute> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = message.payload else {
        return None;
    };
    let header = &route.header;
    let ours = header.address_family == AddressFamily::Inet
        && header.kind == RouteType::Unicast
        && header.protocol != RouteProtocol::Kernel;
    let (mut table, mut priority) = (u32::from(header.table), 0);
    let (mut dst, mut ifindex, mut via) = (Ipv4Addr::UNSPECIFIED, None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => priority = *number,
            RouteAttribute::Oif(number) => ifindex = Some(*number),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => dst = *ip,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => via = Some(*ip),
            // A next hop of IPv6, which is not spoken here.
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return None,
            RouteAttribute::MultiPath(hops) => {
                let first = hops.first()?;
                ifindex = Some(first.interface_index);
                via = first.attributes.iter().find_map(|a| match a {
                    RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(*ip),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if !ours || table != RT_TABLE_MAIN {
        return None;
    }
    let net = Ipv4Net::new(dst, header.destination_prefix_length)?;
    Some(KernelRoute { net: (net.len, net.network()), priority, ifindex: ifindex?, via })
}
