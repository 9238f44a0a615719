//! A DHCP server on a virtual link, which gives one address at a time and notes what it was asked.

use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};

use super::frames::{Packet, Seen};
use super::site::Site;
use crate::base::Mac;
use crate::wire::protocol;

/// Where the server is.
const MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
const REPLY: u8 = 2;

/// What the server was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseAsked {
    /// The kind of message: 1 discover, 3 request, 4 decline
    pub kind: u8,
    /// The packet's addresses
    pub from: Ipv4Addr,
    /// The same
    pub to: Ipv4Addr,
    /// The client's address (`ciaddr`)
    pub client: Ipv4Addr,
    /// The address that it wants
    pub wanted: Option<Ipv4Addr>,
}

/// The server.
#[derive(Clone, Debug)]
pub struct LeaseServer {
    /// Its address and identifier
    pub server: Ipv4Addr,
    /// What it gives
    pub gives: Ipv4Addr,
    /// In seconds
    pub lease_s: u32,
    /// All other options: mask, router, ...
    pub options: Vec<(u8, Vec<u8>)>,
    /// Answers nothing
    pub dead: bool,
    /// Answers by broadcast, asked for or not
    pub broadcast: bool,
    /// What it was asked, in order
    pub asked: Vec<LeaseAsked>,
    /// The name that the client gave last (option 12)
    pub hostname: Vec<u8>,
}

impl LeaseServer {
    /// One that gives `gives` of a /24 for so long, with this router.
    pub fn new(server: Ipv4Addr, gives: Ipv4Addr, router: Ipv4Addr, lease_s: u32) -> LeaseServer {
        let options = vec![(1, vec![255, 255, 255, 0]), (3, router.octets().to_vec())];
        LeaseServer {
            server,
            gives,
            lease_s,
            options,
            dead: false,
            broadcast: false,
            asked: Vec::new(),
            hostname: Vec::new(),
        }
    }

    /// What a frame from the router brings back.
    pub(super) fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let seen = Seen::read(frame)?;
        if (seen.src().1, seen.dst().1) != (68, 67) || seen.ip.protocol != protocol::UDP {
            return None;
        }
        let packet = DhcpPacket::new_checked(seen.data()).ok()?;
        let asked = DhcpRepr::parse(&packet).ok()?;
        let (client, wanted) = (asked.client_ip, asked.requested_ip);
        let kind = u8::from(asked.message_type);
        let name = packet.options().find(|option| option.kind == 12);
        self.hostname = name.map(|option| option.data.to_vec()).unwrap_or_default();
        self.asked.push(LeaseAsked { kind, from: seen.ip.src, to: seen.ip.dst, client, wanted });
        let mine = asked.server_identifier.is_none_or(|server| server == self.server);
        if self.dead || !mine {
            return None;
        }
        let its = wanted.unwrap_or(client) == self.gives;
        let answer: u8 = match asked.message_type {
            DhcpMessageType::Discover => 2,
            DhcpMessageType::Request if its => 5,
            DhcpMessageType::Request => 6,
            _ => return None,
        };
        let message = self.message(&packet, answer);
        let all = self.broadcast || asked.broadcast || answer == 6;
        let renewed = !client.is_unspecified();
        let to = if all {
            Ipv4Addr::BROADCAST
        } else if renewed {
            client
        } else {
            self.gives
        };
        let mac = if all { Mac::BROADCAST } else { seen.eth.src };
        Some(Packet::udp((self.server, 67), (to, 68), &message).frame(MAC, mac))
    }

    fn message(&self, asked: &DhcpPacket<&[u8]>, answer: u8) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        let mut put = |at: usize, data: &[u8]| bytes[at..at + data.len()].copy_from_slice(data);
        put(0, &[REPLY, 1, 6]);
        put(4, &asked.transaction_id().to_be_bytes());
        put(28, &asked.client_hardware_address().0);
        put(236, &[0x63, 0x82, 0x53, 0x63]);
        let mut options = vec![(53, vec![answer]), (54, self.server.octets().to_vec())];
        if answer != 6 {
            put(16, &self.gives.octets());
            options.push((51, self.lease_s.to_be_bytes().to_vec()));
            options.extend(self.options.iter().cloned());
        }
        for (kind, data) in options {
            bytes.extend([kind, data.len() as u8]);
            bytes.extend(data);
        }
        bytes.push(255);
        bytes
    }
}

impl Site {
    /// This DHCP server is on a link from now on.
    pub fn lease_from(&mut self, link: &str, server: LeaseServer) {
        let iface = self.iface(link);
        let mut wires = self.wires.borrow_mut();
        wires[iface.index()].stations.insert(server.server, MAC);
        wires[iface.index()].leases = Some(server);
    }

    /// Changes the DHCP server of a link.
    pub fn lease_server(&mut self, link: &str, change: impl FnOnce(&mut LeaseServer)) {
        let iface = self.iface(link);
        if let Some(server) = &mut self.wires.borrow_mut()[iface.index()].leases {
            change(server);
        }
    }

    /// What the DHCP server of a link was asked since the last time.
    pub fn lease_asked(&mut self, link: &str) -> Vec<LeaseAsked> {
        let iface = self.iface(link);
        let server = &mut self.wires.borrow_mut()[iface.index()].leases;
        server.as_mut().map(|server| std::mem::take(&mut server.asked)).unwrap_or_default()
    }
}
