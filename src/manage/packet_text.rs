//! A packet as an operator writes it: `udp 192.168.10.5:5000 > 9.9.9.9:53`, and as a frame that the path reads.
//!
//! TCP and UDP need ports. ICMP is an echo request; its identifier may follow the source as a port does. Other protocols are a name
//! or a number and two addresses. TCP begins with a SYN.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::probes::packets;
use crate::base::Mac;
use crate::packet::Tuple;
use crate::wire::tcp::{self, Flags, Tcp};
use crate::wire::{checksum, protocol, put16};

/// What it has to look like.
const FORM: &str = "write it as 'udp 192.168.10.5:5000 > 9.9.9.9:53'";

/// Reads a packet.
///
/// # Errors
/// What is wrong with it, in a line.
pub fn parse(text: &str) -> Result<Tuple, String> {
    let (head, to) = text.split_once('>').ok_or_else(|| format!("no `>` in the packet; {FORM}"))?;
    let mut words = head.split_whitespace();
    let (Some(name), Some(from), None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("a protocol and a source are to be before the `>`; {FORM}"));
    };
    let number = match name.to_ascii_lowercase().as_str() {
        "udp" => protocol::UDP,
        "tcp" => protocol::TCP,
        "icmp" => protocol::ICMP,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "sctp" => 132,
        other => other
            .parse()
            .map_err(|_| format!("{other:?} is no protocol; udp, tcp, icmp, esp, gre or a number"))?,
    };
    let (src, src_port) = end(from)?;
    let (dst, dst_port) = end(to.trim())?;
    let (src_port, dst_port) = match number {
        protocol::UDP | protocol::TCP => {
            let port =
                |port: Option<u16>, what: &str| port.ok_or_else(|| format!("the {what} has no port; {FORM}"));
            (port(src_port, "source")?, port(dst_port, "destination")?)
        }
        protocol::ICMP => {
            let id = src_port.or(dst_port).unwrap_or(1);
            (id, id)
        }
        _ if src_port.is_some() || dst_port.is_some() => return Err(format!("{name} has no ports")),
        _ => (0, 0),
    };
    Ok(Tuple { protocol: number, src, src_port, dst, dst_port })
}

fn end(text: &str) -> Result<(Ipv4Addr, Option<u16>), String> {
    let wrong = |_| format!("{text:?} is no IPv4 address, with a port or without; {FORM}");
    match text.contains(':') {
        true => {
            text.parse().map(|at: SocketAddrV4| (*at.ip(), Some(at.port()))).map_err(|e| wrong(e.to_string()))
        }
        false => {
            text.parse().map(|ip| (ip, None)).map_err(|e: std::net::AddrParseError| wrong(e.to_string()))
        }
    }
}

/// The packet in a frame from `from` to the router at `to`.
pub fn frame(t: &Tuple, from: Mac, to: Mac) -> Vec<u8> {
    let payload = match t.protocol {
        protocol::TCP => {
            let mut segment = vec![0; tcp::MIN_LEN];
            let flags = Flags(Flags::SYN);
            Tcp { src: t.src_port, dst: t.dst_port, seq: 1, ack: 0, header_len: 20, flags }
                .emit(&mut segment);
            let sum = checksum::transport(t.src, t.dst, protocol::TCP, &segment);
            put16(&mut segment, tcp::CHECKSUM, sum);
            segment
        }
        protocol::UDP => packets::datagram(t.src, t.dst, (t.src_port, t.dst_port), &[]),
        protocol::ICMP => packets::echo_message((t.src_port, 1), &[]),
        _ => vec![0; 20],
    };
    packets::frame((from, to), (t.src, t.dst), t.protocol, packets::TTL, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_read_as_operators_write_them() {
        let t = parse("udp 192.168.10.5:5000 > 9.9.9.9:53").unwrap();
        assert_eq!((t.protocol, t.src_port, t.dst, t.dst_port), (17, 5000, [9, 9, 9, 9].into(), 53));
        assert_eq!(parse("TCP 1.2.3.4:1>5.6.7.8:2").unwrap().protocol, 6);
        assert_eq!(parse("icmp 10.0.0.1 > 10.0.0.2").unwrap().src_port, 1);
        assert_eq!(parse("esp 10.0.0.1 > 10.0.0.2").unwrap().protocol, 50);
        for (text, about) in [
            ("udp 1.2.3.4:5", "`>`"),
            ("1.2.3.4:5 > 1.1.1.1:1", "protocol"),
            ("udp 1.2.3.4 > 1.1.1.1:1", "no port"),
            ("udp a:5 > 1.1.1.1:1", "no IPv4 address"),
            ("quic 1.2.3.4:5 > 1.1.1.1:1", "no protocol"),
            ("esp 1.2.3.4:5 > 1.1.1.1", "no ports"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(about), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
