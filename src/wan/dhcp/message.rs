//! DHCP messages, read and written by the crate smoltcp; here is what this client takes from them, and in which order.
//!
//! An option that comes in several parts is joined (RFC 3396), also where it goes on in the fields `file` and `sname`
//! (option 52). What is not whole counts as left out. Of lists the first few are taken. All that is asked for is one list,
//! routes (121) before routers (3), as RFC 3442 wants it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};

use crate::base::{Ipv4Net, Mac};

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOSTNAME: u8 = 12;
const MTU: u8 = 26;
const LEASE: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const ROUTES: u8 = 121;

/// What servers are asked for.
const WANTED: [u8; 8] = [MASK, ROUTES, ROUTER, DNS, MTU, LEASE, RENEW, REBIND];
const COOKIE: u32 = 0x6382_5363;
/// Where the fields are that options may go on in (RFC 2131 2).
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;
const OPTIONS: usize = 240;
/// The longest message that is taken: what a frame holds.
const LONGEST: u16 = 1500;
/// BOOTP relays drop shorter ones (RFC 951).
const SHORTEST: usize = 300;
/// Name servers that are kept, and routes that are read, at most.
const DNS_MOST: usize = 4;
const ROUTES_MOST: usize = 256;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An address could be had.
    Offer,
    /// It is granted.
    Ack,
    /// It is not, or no more.
    Nak,
}

/// A route of option 121. A router of 0.0.0.0 means that the network is on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to
    pub to: Ipv4Net,
    /// By whom
    pub router: Ipv4Addr,
}

/// A message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says
    pub answer: Answer,
    /// Number of the exchange
    pub xid: u32,
    /// Whom it is for
    pub mac: Mac,
    /// The client's address
    pub address: Ipv4Addr,
    /// Who says it (option 54)
    pub server: Option<Ipv4Addr>,
    /// Option 1
    pub mask: Option<Ipv4Addr>,
    /// The first of option 3
    pub router: Option<Ipv4Addr>,
    /// Option 121
    pub routes: Option<Vec<Route>>,
    /// The first of option 6
    pub dns: Vec<Ipv4Addr>,
    /// Option 26
    pub mtu: Option<u16>,
    /// Option 51; `u32::MAX` is for ever
    pub lease_s: Option<u32>,
    /// T1, option 58
    pub renew_s: Option<u32>,
    /// T2, option 59
    pub rebind_s: Option<u32>,
}

impl Message {
    /// Reads a server's message. `None`: it is none, or not for Ethernet.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        let packet = DhcpPacket::new_checked(bytes).ok()?;
        let (opcode, hardware): (u8, u16) = (packet.opcode().into(), packet.hardware_type().into());
        let ethernet = hardware == 1 && packet.hardware_len() == 6;
        if !ethernet || opcode != 2 || packet.magic_number() != COOKIE {
            return None;
        }
        let options = options(bytes, &packet);
        let answer = match byte(&options, KIND)? {
            2 => Answer::Offer,
            5 => Answer::Ack,
            6 => Answer::Nak,
            _ => return None,
        };
        Some(Message {
            answer,
            xid: packet.transaction_id(),
            mac: Mac(packet.client_hardware_address().0),
            address: packet.your_ip(),
            server: address(&options, SERVER),
            mask: address(&options, MASK),
            router: address(&options, ROUTER),
            routes: options.get(&ROUTES).and_then(|data| routes(data)),
            dns: options.get(&DNS).map_or(Vec::new(), |data| addresses(data).take(DNS_MOST).collect()),
            mtu: options
                .get(&MTU)
                .and_then(|data| Some(u16::from_be_bytes(data.as_slice().try_into().ok()?))),
            lease_s: number(&options, LEASE),
            renew_s: number(&options, RENEW),
            rebind_s: number(&options, REBIND),
        })
    }
}

type Options = BTreeMap<u8, Vec<u8>>;

fn options(bytes: &[u8], packet: &DhcpPacket<&[u8]>) -> Options {
    let mut out = Options::new();
    gather(packet, &mut out);
    let overload = byte(&out, OVERLOAD).unwrap_or(0);
    // First `file`, then `sname` (RFC 3396 5).
    for (bit, field) in [(1, FILE), (2, SNAME)] {
        let (Some(head), Some(field)) = (bytes.get(..OPTIONS), bytes.get(field)) else { continue };
        if overload & bit != 0 {
            // As if the field were where the options are.
            let moved = [head, field].concat();
            if let Ok(packet) = DhcpPacket::new_checked(moved.as_slice()) {
                gather(&packet, &mut out);
            }
        }
    }
    out
}

fn gather(packet: &DhcpPacket<&[u8]>, into: &mut Options) {
    for DhcpOption { kind, data } in packet.options() {
        into.entry(kind).or_default().extend_from_slice(data);
    }
}

fn byte(options: &Options, code: u8) -> Option<u8> {
    options.get(&code)?.first().copied()
}

fn number(options: &Options, code: u8) -> Option<u32> {
    Some(u32::from_be_bytes(options.get(&code)?.as_slice().try_into().ok()?))
}

fn addresses(data: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    data.as_chunks::<4>().0.iter().map(|bytes| Ipv4Addr::from(*bytes))
}

fn address(options: &Options, code: u8) -> Option<Ipv4Addr> {
    addresses(options.get(&code)?).next()
}

/// RFC 3442: the length of a prefix, so many bytes of it as count, the router; again and again. `None` if that does not come out even.
fn routes(mut data: &[u8]) -> Option<Vec<Route>> {
    let mut out = Vec::new();
    while let Some((len, rest)) = data.split_first() {
        let significant = usize::from(*len).div_ceil(8);
        let (network, rest) = rest.split_at_checked(significant)?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..significant)?.copy_from_slice(network);
        if out.len() < ROUTES_MOST {
            out.push(Route { to: Ipv4Net::new(octets.into(), *len)?, router: (*router).into() });
        }
        data = rest;
    }
    (!out.is_empty()).then_some(out)
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who has an address?
    Discover,
    /// I want this one.
    Request,
    /// Somebody else has it.
    Decline,
}

/// A client's message (RFC 2131 table 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// What is asked
    pub ask: Ask,
    /// Number of the exchange
    pub xid: u32,
    /// Seconds since it began to ask
    pub secs: u16,
    /// Its address, while that is good (`ciaddr`), else 0.0.0.0
    pub address: Ipv4Addr,
    /// The address that it wants (option 50)
    pub wanted: Option<Ipv4Addr>,
    /// Who offered it (option 54)
    pub server: Option<Ipv4Addr>,
    /// Wants to be answered by broadcast
    pub broadcast: bool,
}

impl Asking {
    /// The bytes.
    pub fn write(&self, mac: Mac, hostname: Option<&str>) -> Vec<u8> {
        let plain = self.ask != Ask::Decline;
        let name =
            hostname.filter(|_| plain).map(|name| DhcpOption { kind: HOSTNAME, data: name.as_bytes() });
        let repr = DhcpRepr {
            message_type: match self.ask {
                Ask::Discover => DhcpMessageType::Discover,
                Ask::Request => DhcpMessageType::Request,
                Ask::Decline => DhcpMessageType::Decline,
            },
            transaction_id: self.xid,
            secs: self.secs,
            client_hardware_address: EthernetAddress(mac.0),
            client_ip: self.address,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: self.broadcast,
            requested_ip: self.wanted,
            client_identifier: Some(EthernetAddress(mac.0)),
            server_identifier: self.server,
            parameter_request_list: plain.then_some(&WANTED),
            dns_servers: None,
            max_size: plain.then_some(LONGEST),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: name.as_slice(),
        };
        let mut bytes = vec![0; repr.buffer_len().max(SHORTEST)];
        // The buffer is as long as the crate says that it has to be.
        let _ = repr.emit(&mut DhcpPacket::new_unchecked(bytes.as_mut_slice()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests_rig::{MAC, bytes_of};
    use super::*;
    use proptest::prelude::*;

    fn reply(kind: u8) -> Message {
        Message::read(&bytes_of(7, Ipv4Addr::new(192, 0, 2, 9), &[(KIND, &[kind])])).unwrap()
    }

    #[test]
    fn rfc_2131_an_answer_is_read_and_a_question_is_none() {
        assert_eq!(
            (reply(2).answer, reply(5).answer, reply(6).answer),
            (Answer::Offer, Answer::Ack, Answer::Nak)
        );
        assert_eq!((reply(2).xid, reply(2).mac, reply(2).address), (7, MAC, Ipv4Addr::new(192, 0, 2, 9)));
        let good = bytes_of(7, Ipv4Addr::LOCALHOST, &[(KIND, &[2])]);
        // The kind of message, of hardware and its length, the cookie.
        for at in [0, 1, 2, 236, 237, 238, 239] {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            assert_eq!(Message::read(&bad), None, "byte {at}");
        }
        for kind in [0, 1, 3, 4, 7, 8, 255] {
            assert_eq!(Message::read(&bytes_of(7, Ipv4Addr::LOCALHOST, &[(KIND, &[kind])])), None);
        }
        assert_eq!(Message::read(&bytes_of(7, Ipv4Addr::LOCALHOST, &[])), None);
    }

    #[test]
    fn rfc_3396_options_in_parts_are_joined_also_from_file_and_sname() {
        let ip = Ipv4Addr::new(192, 0, 2, 9);
        let parts: [(u8, &[u8]); 5] =
            [(KIND, &[2]), (OVERLOAD, &[3]), (DNS, &[9, 9]), (ROUTER, &[192, 0, 2]), (DNS, &[9, 9])];
        let mut bytes = bytes_of(7, ip, &parts);
        bytes[FILE.start..FILE.start + 6].copy_from_slice(&[ROUTER, 1, 1, MTU, 1, 5]);
        bytes[SNAME.start..SNAME.start + 5].copy_from_slice(&[0, MTU, 1, 100, 255]);
        let message = Message::read(&bytes).unwrap();
        assert_eq!(message.dns, [Ipv4Addr::new(9, 9, 9, 9)]);
        assert_eq!((message.router, message.mtu), (Some(Ipv4Addr::new(192, 0, 2, 1)), Some(5 * 256 + 100)));
        bytes[OPTIONS + 5] = 0;
        assert_eq!(Message::read(&bytes).unwrap().mtu, None, "the fields are names then");
    }

    #[test]
    fn rfc_3442_routes_are_read_and_what_is_odd_is_left_out() {
        let net = |a, b, c, d, len| Ipv4Net::new(Ipv4Addr::new(a, b, c, d), len).unwrap();
        let two = [0, 10, 0, 0, 1, 20, 172, 16, 240, 0, 0, 0, 0];
        let read = routes(&two).unwrap();
        assert_eq!(read[0], Route { to: net(0, 0, 0, 0, 0), router: Ipv4Addr::new(10, 0, 0, 1) });
        assert_eq!(read[1], Route { to: net(172, 16, 240, 0, 20), router: Ipv4Addr::UNSPECIFIED });
        for cut in (1..two.len()).filter(|cut| *cut != 5) {
            assert_eq!(routes(&two[..cut]), None, "{cut}");
        }
        assert_eq!((routes(&[]), routes(&[33, 1, 2, 3, 4, 5, 6, 7, 8, 9])), (None, None));
        assert_eq!(routes(&[0, 10, 0, 0, 1].repeat(300)).unwrap().len(), ROUTES_MOST);
    }

    #[test]
    fn rfc_2131_what_is_asked_has_the_fields_of_its_kind() {
        let mut asking = Asking {
            ask: Ask::Request,
            xid: 9,
            secs: 3,
            address: Ipv4Addr::UNSPECIFIED,
            wanted: Some(Ipv4Addr::new(192, 0, 2, 9)),
            server: Some(Ipv4Addr::new(192, 0, 2, 1)),
            broadcast: true,
        };
        let has = |bytes: &[u8], kind: u8| {
            let packet = DhcpPacket::new_checked(bytes).unwrap();
            packet.options().find(|option| option.kind == kind).map(|option| option.data.to_vec())
        };
        let bytes = asking.write(MAC, Some("edge-1"));
        assert!(bytes.len() >= SHORTEST && bytes[10] == 0x80);
        assert_eq!(has(&bytes, HOSTNAME).unwrap(), b"edge-1");
        assert_eq!(has(&bytes, 61).unwrap(), [&[1][..], &MAC.0].concat());
        let wanted = has(&bytes, 55).unwrap();
        let place = |code| wanted.iter().position(|c| *c == code).unwrap();
        assert!(place(ROUTES) < place(ROUTER), "RFC 3442");
        asking.ask = Ask::Decline;
        let bytes = asking.write(MAC, Some("edge-1"));
        assert_eq!((has(&bytes, HOSTNAME), has(&bytes, 55), has(&bytes, 57)), (None, None, None));
        assert!(has(&bytes, 50).is_some() && has(&bytes, SERVER).is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..700), tail in prop::collection::vec(any::<u8>(), 0..300)) {
            Message::read(&bytes);
            let mut answer = bytes_of(7, Ipv4Addr::LOCALHOST, &[(KIND, &[2]), (OVERLOAD, &[3])]);
            answer.truncate(OPTIONS + 6);
            answer.extend_from_slice(&tail);
            for (at, byte) in (SNAME.start..FILE.end).zip(&bytes) {
                answer[at] = *byte;
            }
            Message::read(&answer);
            routes(&tail);
        }
    }
}
