//! Types that every module shares: ids, time, MAC addresses, IPv4 networks, fates of flows.
//!
//! Plain values without behaviour of any layer; this file uses nothing of the crate. Time is always handed in:
//! `Nanos` counts from an arbitrary start (boot of the machine, or zero in a simulation) and never runs back.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Monotonic time or a span of it, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The start of time.
    pub const ZERO: Nanos = Nanos(0);
    /// A time that never comes.
    pub const NEVER: Nanos = Nanos(u64::MAX);

    /// A span of `n` microseconds.
    pub const fn from_us(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000))
    }

    /// A span of `n` milliseconds.
    pub const fn from_ms(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000))
    }

    /// A span of `n` seconds.
    pub const fn from_s(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000_000))
    }

    /// Whole microseconds, rounded down.
    pub const fn as_us(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds, rounded down.
    pub const fn as_s(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The span since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    fn add(self, rhs: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, rhs: Nanos) {
        *self = *self + rhs;
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    fn sub(self, rhs: Nanos) -> Nanos {
        self.since(rhs)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl $name {
            /// The value as an index.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A port of the packet library, numbered in the order of opening.
    PortId(u16)
);
id!(
    /// An interface of the profile, numbered in the profile's order.
    IfaceId(u8)
);
id!(
    /// A WAN, numbered in the order of preference of the profile's `wans`.
    WanId(u8)
);
id!(
    /// A worker, numbered from 0.
    WorkerId(u8)
);

/// The number of a published view; grows by one with each publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// An Ethernet address.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`
    pub const BROADCAST: Mac = Mac([0xff; 6]);
    /// `00:00:00:00:00:00`
    pub const ZERO: Mac = Mac([0; 6]);

    /// The six bytes, read little-endian.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// The group bit: multicast and broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Fit to be the address of one station.
    pub fn is_unicast(self) -> bool {
        !self.is_group() && self != Mac::ZERO
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = ();
    fn from_str(s: &str) -> Result<Mac, ()> {
        let mut out = [0u8; 6];
        let mut parts = s.split(':');
        for byte in &mut out {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(())?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| ())?;
        }
        if parts.next().is_some() { Err(()) } else { Ok(Mac(out)) }
    }
}

/// An IPv4 network, or an address with the length of its network's prefix (host bits are kept).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Net {
    /// The address as written.
    pub addr: Ipv4Addr,
    /// Prefix length, 0 to 32.
    pub len: u8,
}

impl Ipv4Net {
    /// `None` if `len` is over 32.
    pub const fn new(addr: Ipv4Addr, len: u8) -> Option<Ipv4Net> {
        if len <= 32 { Some(Ipv4Net { addr, len }) } else { None }
    }

    /// The netmask as a number.
    pub const fn mask(self) -> u32 {
        if self.len == 0 { 0 } else { u32::MAX << (32 - self.len as u32) }
    }

    /// The first address of the network.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr.to_bits() & self.mask())
    }

    /// The last address of the network, its broadcast address where `len` <= 30.
    pub fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr.to_bits() | !self.mask())
    }

    /// The directed broadcast address; none for /31 (RFC 3021) and /32.
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        (self.len <= 30).then(|| self.last())
    }

    /// Whether `ip` lies in the network.
    pub fn contains(self, ip: Ipv4Addr) -> bool {
        (ip.to_bits() ^ self.addr.to_bits()) & self.mask() == 0
    }

    /// Whether the two networks share an address.
    pub fn overlaps(self, other: Ipv4Net) -> bool {
        let mask = self.mask() & other.mask();
        (self.addr.to_bits() ^ other.addr.to_bits()) & mask == 0
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Net {
    type Err = ();
    fn from_str(s: &str) -> Result<Ipv4Net, ()> {
        let (addr, len) = s.split_once('/').ok_or(())?;
        if len.len() > 2 || !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(());
        }
        Ipv4Net::new(addr.parse().map_err(|_| ())?, len.parse().map_err(|_| ())?).ok_or(())
    }
}

/// A route by one link: whom packets to a network are handed to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Destinations, without host bits
    pub to: Ipv4Net,
    /// The router on the link; `None`: the destinations are on the link themselves
    pub via: Option<Ipv4Addr>,
}

/// What becomes of a flow whose WAN is left, with its next packet from inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It goes by another WAN, with its mapping.
    #[default]
    Rebind,
    /// It is dropped, until its timer runs out.
    Drop,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_and_overlap_by_the_shorter_prefix() {
        let lan: Ipv4Net = "192.168.10.1/24".parse().unwrap();
        assert_eq!(lan.network(), Ipv4Addr::new(192, 168, 10, 0));
        assert_eq!(lan.broadcast(), Some(Ipv4Addr::new(192, 168, 10, 255)));
        assert!(lan.contains(Ipv4Addr::new(192, 168, 10, 254)));
        assert!(!lan.contains(Ipv4Addr::new(192, 168, 11, 1)));
        assert!(lan.overlaps("192.168.0.0/16".parse().unwrap()));
        assert!(!lan.overlaps("192.168.11.0/24".parse().unwrap()));
        assert_eq!("10.0.0.0/31".parse::<Ipv4Net>().unwrap().broadcast(), None);
        for bad in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/"] {
            assert!(bad.parse::<Ipv4Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mac_addresses_parse_what_they_print() {
        let mac = Mac([0, 0x25, 0x90, 0xaa, 0xbb, 0xcc]);
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in ["00:25:90:aa:bb", "00:25:90:aa:bb:cc:dd", "0:25:90:aa:bb:cc", "00:25:90:aa:bb:gg"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
