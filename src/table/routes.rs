//! Longest-prefix match over the inside networks and the static routes (RFC 1812 5.2.4.3).
//!
//! A profile has a handful: they stand sorted by length, and the first that holds the address wins.

use std::net::Ipv4Addr;

use crate::base::{IfaceId, Ipv4Net};

/// A network and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destinations
    pub net: Ipv4Net,
    /// Out of this interface
    pub iface: IfaceId,
    /// To this next hop; to the destination itself if on-link
    pub via: Option<Ipv4Addr>,
}

/// The routes of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    sorted: Vec<Route>,
}

impl Routes {
    /// Takes the routes in any order; of two with the same network the first counts.
    pub fn new(mut routes: Vec<Route>) -> Routes {
        routes.sort_by_key(|r| std::cmp::Reverse(r.net.len));
        Routes { sorted: routes }
    }

    /// All of them, the longest first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.sorted.iter()
    }

    /// The longest route that holds `dst`.
    #[inline]
    pub fn find(&self, dst: Ipv4Addr) -> Option<&Route> {
        self.sorted.iter().find(|r| r.net.contains(dst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_longest_prefix_wins(nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..12), dst: u32) {
            let dst = Ipv4Addr::from_bits(dst & 0xf000_00ff);
            let routes: Vec<Route> = nets.iter().enumerate().map(|(i, (addr, len))| Route {
                net: Ipv4Net::new(Ipv4Addr::from_bits(addr & 0xf000_00ff), *len).unwrap(), iface: IfaceId(i as u8), via: None,
            }).collect();
            let longest = routes.iter().filter(|r| r.net.contains(dst)).map(|r| r.net.len).max();
            prop_assert_eq!(Routes::new(routes).find(dst).map(|r| r.net.len), longest);
        }
    }
}
