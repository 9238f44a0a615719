//! The carrier of Linux interfaces, by netlink: no DPDK in it.
//!
//! One non-blocking NETLINK_ROUTE socket, subscribed to RTNLGRP_LINK. A dump at the start says how things are; another
//! one follows whenever the kernel had to throw notices away (ENOBUFS) or a dump was disturbed. An interface is up while
//! IFF_UP, IFF_RUNNING and IFF_LOWER_UP stand; one that a dump does not name, or that was deleted, is down. Interfaces are
//! known by number: one that is made anew under an old name is another one, as it is to the packet socket.
//!
//! The kernel announces a lost carrier at once, but for one interface not more than once a second: flaps arrive merged.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

use crate::base::Nanos;

const RTNLGRP_LINK: u32 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const NLM_F_DUMP_INTR: u16 = 0x10;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_LOWER_UP: u32 = 1 << 16;
/// A dump that has not ended by then is asked for again.
const PATIENCE: Nanos = Nanos::from_ms(200);

struct Watched {
    ifindex: u32,
    up: Option<bool>,
    /// Named since the dump began.
    seen: bool,
}

/// Watches the carrier of some interfaces of the network namespace that it was made in.
pub struct CarrierWatch {
    socket: Socket,
    buffer: Vec<u8>,
    watched: Vec<Watched>,
    /// When the dump under way was asked for.
    dump: Option<Nanos>,
    /// A dump is due.
    stale: bool,
    sequence: u32,
}

impl CarrierWatch {
    /// Subscribes. The first polls report how each interface is.
    pub fn new(ifindexes: &[u32]) -> io::Result<CarrierWatch> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(512 * 1024)?;
        socket.add_membership(RTNLGRP_LINK)?;
        let watched = ifindexes.iter().map(|&ifindex| Watched { ifindex, up: None, seen: false }).collect();
        Ok(CarrierWatch { socket, buffer: vec![0; 64 * 1024], watched, dump: None, stale: true, sequence: 0 })
    }

    /// Reads what the kernel has said since and reports every change, by number. Never blocks; a few hundred ns when
    /// nothing was said.
    pub fn poll(&mut self, now: Nanos, report: &mut impl FnMut(u32, bool)) {
        if self.stale || self.dump.is_some_and(|asked| now.since(asked) > PATIENCE) {
            self.ask(now);
        }
        loop {
            match self.socket.recv(&mut &mut self.buffer[..], 0) {
                Ok(0) => break,
                Ok(n) => self.take(n.min(self.buffer.len()), report),
                Err(e) if e.raw_os_error() == Some(Errno::ENOBUFS as i32) => self.stale = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }

    fn ask(&mut self, now: Nanos) {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        // Refused while another dump is under way: then it is asked for again after that one.
        if self.socket.send(&bytes, 0).is_ok() {
            self.watched.iter_mut().for_each(|w| w.seen = false);
            self.stale = false;
        }
        self.dump = Some(now);
    }

    fn take(&mut self, n: usize, report: &mut impl FnMut(u32, bool)) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = buffer.get(..n).unwrap_or_default();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            if length < 16 {
                break;
            }
            self.message(&message, report);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.buffer = buffer;
    }

    fn message(&mut self, message: &NetlinkBuffer<&[u8]>, report: &mut impl FnMut(u32, bool)) {
        if message.flags() & NLM_F_DUMP_INTR != 0 {
            self.stale = true;
        }
        match message.message_type() {
            kind @ (RTM_NEWLINK | RTM_DELLINK) => {
                // struct ifinfomsg: the interface's number at 4, its flags at 8.
                let payload = message.payload();
                let word = |at: usize| {
                    payload.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
                };
                let (ifindex, flags) = (word(4), word(8));
                let all = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
                let up = kind == RTM_NEWLINK && flags & all == all;
                if let Some(w) = self.watched.iter_mut().find(|w| w.ifindex == ifindex) {
                    w.seen = true;
                    w.set(up, report);
                }
            }
            NLMSG_DONE | NLMSG_ERROR if message.sequence_number() == self.sequence => {
                self.dump = None;
                if message.message_type() == NLMSG_ERROR {
                    self.stale = true;
                } else if !self.stale {
                    self.watched.iter_mut().filter(|w| !w.seen).for_each(|w| w.set(false, report));
                }
            }
            _ => {}
        }
    }
}

impl Watched {
    fn set(&mut self, up: bool, report: &mut impl FnMut(u32, bool)) {
        if self.up != Some(up) {
            self.up = Some(up);
            report(self.ifindex, up);
        }
    }
}
