//! The routes of option 121 besides the default one (RFC 3442): which next hops a lease brings for which destinations.
//!
//! A router counts that can be asked for by ARP on the link: one in the leased network, the gateway, or one for which the same
//! option says that it is on the link (router 0.0.0.0). The others are left out, and so is what is over `ROUTES`; how many that are
//! is told. Of two routes to one network the first counts.

use std::net::Ipv4Addr;

use super::Config;
use super::lease::is_host;
use super::message::Route;
use crate::base::{Hop, Ipv4Net};

/// So many routes of a lease are followed, the first ones of the option.
pub const ROUTES: usize = 16;

/// How many routes of a lease are not followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// By routers that are not on the link
    pub astray: usize,
    /// Beyond `ROUTES`
    pub over: usize,
}

impl LeftOut {
    /// Whether all of them are followed.
    pub fn is_none(self) -> bool {
        self == LeftOut::default()
    }
}

/// The next hops that `routes` bring a lease of this network and gateway.
pub(super) fn hops(
    routes: &[Route],
    net: Ipv4Net,
    gateway: Ipv4Addr,
    config: &Config,
) -> (Vec<Hop>, LeftOut) {
    let (mut hops, mut left_out) = (Vec::<Hop>::new(), LeftOut::default());
    let inside = |ip| config.taken.iter().any(|taken| taken.contains(ip));
    let straight = |ip| routes.iter().any(|route| route.router.is_unspecified() && route.to.contains(ip));
    for route in routes.iter().filter(|route| route.to.len > 0) {
        let Some(to) = Ipv4Net::new(route.to.network(), route.to.len) else { continue };
        let via = Some(route.router).filter(|router| !router.is_unspecified());
        let sound = |ip| is_host(ip) && ip != net.addr && !inside(ip);
        let near = |ip| net.contains(ip) || ip == gateway || straight(ip);
        if via.is_some_and(|via| !sound(via) || !near(via)) {
            left_out.astray += 1;
        } else if hops.iter().all(|hop| hop.to != to) {
            if hops.len() < ROUTES {
                hops.push(Hop { to, via });
            } else {
                left_out.over += 1;
            }
        }
    }
    hops.sort_by_key(|hop| std::cmp::Reverse(hop.to.len));
    (hops, left_out)
}

#[cfg(test)]
mod tests {
    use super::super::tests_rig::{CLIENT, GATEWAY, config};
    use super::*;
    use proptest::prelude::*;

    fn net(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Net {
        Ipv4Net::new(Ipv4Addr::new(a, b, c, d), len).unwrap()
    }

    fn judged(routes: &[(Ipv4Net, [u8; 4])]) -> (Vec<Hop>, LeftOut) {
        let routes: Vec<Route> =
            routes.iter().map(|(to, router)| Route { to: *to, router: (*router).into() }).collect();
        hops(&routes, Ipv4Net::new(CLIENT, 24).unwrap(), GATEWAY, &config())
    }

    #[test]
    fn rfc_3442_the_longest_stands_first_and_a_router_must_be_on_the_link() {
        let (near, far, inside, own) = ([198, 51, 100, 9], [10, 9, 9, 9], [192, 168, 10, 9], CLIENT.octets());
        let (hops, left_out) = judged(&[
            (net(0, 0, 0, 0, 0), GATEWAY.octets()),
            (net(10, 0, 0, 0, 8), near),
            (net(10, 1, 2, 3, 16), GATEWAY.octets()),
            (net(10, 0, 0, 0, 8), GATEWAY.octets()),
            (net(11, 0, 0, 0, 8), far),
            (net(12, 0, 0, 0, 8), inside),
            (net(13, 0, 0, 0, 8), own),
            (net(14, 0, 0, 0, 8), [224, 0, 0, 1]),
        ]);
        let hop = |to, via: [u8; 4]| Hop { to, via: Some(via.into()) };
        assert_eq!(hops, [hop(net(10, 1, 0, 0, 16), GATEWAY.octets()), hop(net(10, 0, 0, 0, 8), near)]);
        assert_eq!(left_out, LeftOut { astray: 4, over: 0 });
        let (hops, left_out) = judged(&[(net(11, 0, 0, 0, 8), far), (net(10, 9, 9, 9, 32), [0; 4])]);
        assert_eq!(
            hops,
            [Hop { to: net(10, 9, 9, 9, 32), via: None }, hop(net(11, 0, 0, 0, 8), far)],
            "a route of the option says that it is on the link"
        );
        assert!(left_out.is_none());
    }

    #[test]
    fn rfc_3442_the_first_sixteen_are_followed() {
        let many: Vec<_> = (0..20).map(|n| (net(10, n, 0, 0, 16), GATEWAY.octets())).collect();
        let (hops, left_out) = judged(&many);
        assert_eq!((hops.len(), left_out), (ROUTES, LeftOut { astray: 0, over: 4 }));
        assert!(hops.iter().all(|hop| hop.to.addr.octets()[1] < 16));
    }

    proptest! {
        #[test]
        fn no_routes_are_too_odd(routes in prop::collection::vec((any::<u32>(), 0u8..=32, any::<u32>()), 0..64)) {
            let routes: Vec<_> =
                routes.iter().map(|(to, len, by)| (Ipv4Net::new((*to).into(), *len).unwrap(), by.to_be_bytes())).collect();
            let (hops, left_out) = judged(&routes);
            prop_assert!(hops.len() <= ROUTES && hops.is_sorted_by_key(|hop| std::cmp::Reverse(hop.to.len)));
            prop_assert!(hops.len() + left_out.astray + left_out.over <= routes.len());
            prop_assert!(hops.iter().all(|hop| hop.to.len > 0 && hop.to.addr == hop.to.network()));
        }
    }
}
