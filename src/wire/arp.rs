//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use super::{be16, eth::Eth, eth::ethertype};
use crate::base::Mac;

/// Length of the message.
pub const LEN: usize = 28;
/// Length of a frame with the message, padded to Ethernet's minimum.
pub const FRAME_LEN: usize = super::eth::MIN_FRAME;

/// What is asked or said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Who has the target address?
    Request,
    /// The sender address is at the sender MAC.
    Reply,
}

/// The message's fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply
    pub op: Op,
    /// Sender hardware address
    pub sender_mac: Mac,
    /// Sender protocol address; 0.0.0.0 in a probe (RFC 5227 1.1)
    pub sender_ip: Ipv4Addr,
    /// Target hardware address
    pub target_mac: Mac,
    /// Target protocol address
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// Reads a message. `None` if it is too short or its hardware type, protocol, lengths or operation are others.
    pub fn parse(message: &[u8]) -> Option<Arp> {
        let m = message.first_chunk::<LEN>()?;
        if be16(m, 0) != 1 || be16(m, 2) != ethertype::IPV4 || m[4] != 6 || m[5] != 4 {
            return None;
        }
        let op = match be16(m, 6) {
            1 => Op::Request,
            2 => Op::Reply,
            _ => return None,
        };
        let mac = |at: usize| Mac([m[at], m[at + 1], m[at + 2], m[at + 3], m[at + 4], m[at + 5]]);
        let ip = |at: usize| Ipv4Addr::new(m[at], m[at + 1], m[at + 2], m[at + 3]);
        Some(Arp { op, sender_mac: mac(8), sender_ip: ip(14), target_mac: mac(18), target_ip: ip(24) })
    }

    /// Writes the message at the start of `out`. False if it does not fit.
    pub fn emit(&self, out: &mut [u8]) -> bool {
        let Some(m) = out.first_chunk_mut::<LEN>() else { return false };
        m[..6].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
        m[6..8].copy_from_slice(&(if self.op == Op::Request { 1u16 } else { 2 }).to_be_bytes());
        m[8..14].copy_from_slice(&self.sender_mac.0);
        m[14..18].copy_from_slice(&self.sender_ip.octets());
        m[18..24].copy_from_slice(&self.target_mac.0);
        m[24..28].copy_from_slice(&self.target_ip.octets());
        true
    }

    /// The whole frame, padded, from `src` to `dst`.
    pub fn frame(&self, src: Mac, dst: Mac) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        Eth { dst, src, ethertype: ethertype::ARP }.emit(&mut frame);
        self.emit(&mut frame[super::eth::LEN..]);
        frame
    }

    /// A request for `target` in the name of `ip` at `mac`; to `dst` alone if it is known, else to all.
    pub fn request(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr, dst: Option<Mac>) -> [u8; FRAME_LEN] {
        let arp = Arp {
            op: Op::Request,
            sender_mac: mac,
            sender_ip: ip,
            target_mac: dst.unwrap_or(Mac::ZERO),
            target_ip: target,
        };
        arp.frame(mac, dst.unwrap_or(Mac::BROADCAST))
    }

    /// An announcement of `ip` at `mac` to everybody (RFC 5227 2.3).
    pub fn announcement(mac: Mac, ip: Ipv4Addr) -> [u8; FRAME_LEN] {
        Arp::request(mac, ip, ip, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc826_3_wrong_types_and_lengths_are_refused() {
        let good = Arp::request(
            Mac([2, 0, 0, 0, 0, 1]),
            Ipv4Addr::new(10, 0, 0, 1),
            Ipv4Addr::new(10, 0, 0, 2),
            None,
        );
        let message = &good[14..42];
        assert!(Arp::parse(message).is_some());
        for at in 0..8 {
            for bit in 0..8 {
                let mut bad = message.to_vec();
                bad[at] ^= 1 << bit;
                let became_reply = at == 7 && bad[7] == 2;
                assert_eq!(Arp::parse(&bad).is_some(), became_reply, "byte {at} bit {bit}");
            }
        }
        for len in 0..LEN {
            assert!(Arp::parse(&message[..len]).is_none());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a: [u8; 6], b: [u8; 6], s: u32, t: u32, reply: bool) {
            let arp = Arp {
                op: if reply { Op::Reply } else { Op::Request },
                sender_mac: Mac(a), sender_ip: Ipv4Addr::from_bits(s), target_mac: Mac(b), target_ip: Ipv4Addr::from_bits(t),
            };
            prop_assert_eq!(Arp::parse(&arp.frame(Mac(a), Mac(b))[14..]), Some(arp));
        }
    }
}
