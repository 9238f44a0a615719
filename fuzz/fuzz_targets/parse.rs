//! The parsers of `wire` on any bytes: what one gives is within the bytes, and what is written of it reads the same.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use turnout::wire::arp::Arp;
use turnout::wire::checksum::{self, Verified};
use turnout::wire::eth::{self, Eth};
use turnout::wire::icmp::Icmp;
use turnout::wire::ipv4::{self, Ipv4};
use turnout::wire::tcp::Tcp;
use turnout::wire::udp::Udp;

fuzz_target!(|bytes: &[u8]| {
    if let Some(eth) = Eth::parse(bytes) {
        let mut again = [0; eth::LEN];
        assert!(eth.emit(&mut again) && again == bytes[..eth::LEN]);
    }
    if let Some(arp) = Arp::parse(bytes) {
        let mut again = [0; turnout::wire::arp::LEN];
        assert!(arp.emit(&mut again));
        assert_eq!(Arp::parse(&again), Some(arp));
    }
    if let Ok(ip) = Ipv4::parse_verified(bytes, Verified::Good) {
        let (header, total) = (usize::from(ip.header_len), usize::from(ip.total_len));
        assert!((ipv4::MIN_LEN..=ipv4::MAX_LEN).contains(&header) && header <= total && total <= bytes.len());
        let _ = ipv4::options(&bytes[ipv4::MIN_LEN..header]);
        payload(&ip, &bytes[header..total]);
        let mut older = bytes[..total].to_vec();
        if ip.ttl > 0 {
            let held = checksum::holds(&older[..header]);
            ipv4::decrement_ttl(&mut older);
            assert_eq!(checksum::holds(&older[..header]), held);
        }
    }
    let _ = (ipv4::options(bytes), Icmp::parse(bytes), checksum::internet(bytes));
    let _ = Ipv4::parse(bytes);
    ipv4::decrement_ttl(&mut bytes.to_vec());
});

fn payload(ip: &Ipv4, payload: &[u8]) {
    if let Some(udp) = Udp::parse(payload) {
        assert!((8..=payload.len()).contains(&usize::from(udp.length)));
    }
    if let Some(tcp) = Tcp::parse(payload) {
        assert!((20..=payload.len()).contains(&usize::from(tcp.header_len)));
    }
    let _ = checksum::transport(ip.src, ip.dst, ip.protocol, payload);
}
