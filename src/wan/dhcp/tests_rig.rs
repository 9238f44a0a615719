//! A client on a bench: a server's words to say to it, and what it does.

use super::*;
use crate::base::Nanos;

pub(super) const MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const LEASE_S: u32 = 1000;

pub(super) fn config() -> Config {
    Config {
        mac: MAC,
        hostname: Some("edge-1".into()),
        reject_from: vec![Ipv4Addr::new(192, 168, 100, 1)],
        taken: vec![Ipv4Net::new(Ipv4Addr::new(192, 168, 10, 1), 24).unwrap()],
    }
}

/// The bytes of a server's message.
pub(super) fn bytes_of(xid: u32, address: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[2, 1, 6]);
    bytes[4..8].copy_from_slice(&xid.to_be_bytes());
    bytes[16..20].copy_from_slice(&address.octets());
    bytes[28..34].copy_from_slice(&MAC.0);
    bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    for (kind, data) in options {
        bytes.extend([*kind, data.len() as u8]);
        bytes.extend_from_slice(data);
    }
    bytes.push(255);
    bytes
}

pub(super) fn offer(xid: u32) -> Message {
    Message {
        answer: Answer::Offer,
        xid,
        mac: MAC,
        address: CLIENT,
        server: Some(SERVER),
        mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        router: Some(GATEWAY),
        routes: None,
        dns: vec![GATEWAY],
        mtu: Some(1500),
        lease_s: Some(LEASE_S),
        renew_s: None,
        rebind_s: None,
    }
}

/// What a message that was sent asks: the exchange's number, what kind, and the options 50 and 54.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) xid: u32,
    pub(super) kind: u8,
    pub(super) address: Ipv4Addr,
    pub(super) wanted: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) broadcast: bool,
}

pub(super) fn read(bytes: &[u8]) -> Read {
    let packet = smoltcp::wire::DhcpPacket::new_checked(bytes).unwrap();
    let repr = smoltcp::wire::DhcpRepr::parse(&packet).unwrap();
    Read {
        xid: repr.transaction_id,
        kind: repr.message_type.into(),
        address: repr.client_ip,
        wanted: repr.requested_ip,
        server: repr.server_identifier,
        broadcast: repr.broadcast,
    }
}

pub(super) struct Rig {
    pub(super) client: Client,
    pub(super) now: Nanos,
    pub(super) seen: Vec<Out>,
}

impl Rig {
    pub(super) fn off() -> Rig {
        Rig { client: Client::new(config(), 7), now: Nanos::from_s(100), seen: Vec::new() }
    }

    pub(super) fn link(&mut self, up: bool) {
        self.client.link(self.now, up, &mut |out| self.seen.push(out));
    }

    /// Lets time pass, tick by tick as they are wanted.
    pub(super) fn run(&mut self, span: Nanos) {
        let until = self.now + span;
        while self.client.due() <= until {
            self.now = self.now.max(self.client.due());
            self.client.tick(self.now, &mut |out| self.seen.push(out));
        }
        self.now = until;
    }

    pub(super) fn say(&mut self, message: &Message) {
        self.client
            .heard(self.now, message.server.unwrap_or(SERVER), message, &mut |out| self.seen.push(out));
    }

    /// What was sent last, and to whom.
    pub(super) fn asked(&self) -> (Option<Ipv4Addr>, Read) {
        let sent = self.seen.iter().rev().find_map(|out| match out {
            Out::Send(send) => Some(send),
            _ => None,
        });
        let sent = sent.unwrap();
        (sent.to, read(&sent.bytes))
    }

    /// An answer to that.
    pub(super) fn answer(&mut self, answer: Answer) {
        let xid = self.asked().1.xid;
        self.say(&Message { answer, ..offer(xid) });
    }

    /// With a lease, just granted.
    pub(super) fn bound() -> Rig {
        let mut rig = Rig::off();
        rig.link(true);
        rig.answer(Answer::Offer);
        rig.answer(Answer::Ack);
        rig.run(Nanos::from_ms(500));
        assert_eq!(rig.client.phase(), Phase::Bound);
        rig
    }

    /// In a phase, whichever way leads there.
    pub(super) fn at(phase: Phase) -> Rig {
        let mut rig = Rig::off();
        match phase {
            Phase::Off => {}
            Phase::Init => {
                rig.link(true);
                rig.answer(Answer::Offer);
                rig.answer(Answer::Nak);
            }
            Phase::Selecting => rig.link(true),
            Phase::Requesting | Phase::Checking => {
                rig.link(true);
                rig.answer(Answer::Offer);
                if phase == Phase::Checking {
                    rig.answer(Answer::Ack);
                }
            }
            Phase::Bound => rig = Rig::bound(),
            Phase::Renewing => {
                rig = Rig::bound();
                rig.run(Nanos::from_s(520));
            }
            Phase::Rebinding => {
                rig = Rig::bound();
                rig.run(Nanos::from_s(890));
            }
            Phase::Rebooting => {
                rig = Rig::bound();
                rig.link(false);
                rig.link(true);
            }
        }
        assert_eq!(rig.client.phase(), phase);
        rig
    }

    pub(super) fn lost(&self) -> Option<Said> {
        self.seen.iter().find_map(|out| match out {
            Out::Lost(said) => Some(*said),
            _ => None,
        })
    }
}
