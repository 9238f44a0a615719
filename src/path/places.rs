//! What an address is to the router: its own, a neighbour's, behind a route, or nowhere. Every address is in exactly one of
//! some dozen intervals between which nothing that matters changes, so a look-up is a search in a short sorted list,
//! however many networks, routes and addresses there are.

use std::net::Ipv4Addr;

use super::View;
use crate::base::{IfaceId, WanId};
use crate::table::routes::Route;

/// What kind of address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One that a host may have
    #[default]
    Unicast,
    /// The limited or a directed broadcast
    Broadcast,
    /// 224/4
    Multicast,
    /// 0/8, 127/8, 240/4: no host has such an address (RFC 1812 5.3.7, RFC 6890)
    Martian,
}

/// What an address is to the router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Kind
    pub kind: Kind,
    /// The interface whose own address it is
    pub own: Option<IfaceId>,
    /// The longest route inside, if it is longer than the network of any WAN
    pub inside: Option<Route>,
    /// Any route inside
    pub behind: Option<IfaceId>,
    /// The WAN whose link it is on
    pub pin: Option<WanId>,
}

/// All addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Where each interval starts, the first at 0
    starts: Vec<u32>,
    places: Vec<Place>,
    /// By the first octet: how many intervals start below it
    below: Vec<u32>,
}

impl Places {
    /// The intervals of a view.
    pub(super) fn of(view: &View) -> Places {
        let mut bounds: Vec<u32> = vec![0, 1 << 24, 127 << 24, 128 << 24, 224 << 24, 240 << 24, u32::MAX];
        let mut span = |first: Ipv4Addr, last: Ipv4Addr| {
            bounds.push(first.to_bits());
            bounds.extend(last.to_bits().checked_add(1));
        };
        for net in view.ifaces.iter().flat_map(|i| &i.addresses) {
            span(net.network(), net.last());
            span(net.addr, net.addr);
            if let Some(broadcast) = net.broadcast() {
                span(broadcast, broadcast);
            }
        }
        for (wan, uplink) in view.uplinks.wans.iter().enumerate() {
            uplink.addresses.ranges().for_each(|(first, last)| span(first, last));
            view.rules.statics.outside(WanId(wan as u8)).for_each(|address| span(address, address));
        }
        for route in view.routes.iter() {
            span(route.net.network(), route.net.last());
        }
        bounds.sort_unstable();
        bounds.dedup();
        let mut all = Places::default();
        for start in bounds {
            let place = judge(view, Ipv4Addr::from_bits(start));
            if all.places.last() != Some(&place) {
                all.starts.push(start);
                all.places.push(place);
            }
        }
        let below = |octet: u64| all.starts.partition_point(|start| u64::from(*start) < octet << 24) as u32;
        all.below = (0..=256).map(below).collect();
        all
    }

    /// What an address is.
    #[inline]
    pub fn find(&self, ip: Ipv4Addr) -> &Place {
        let (bits, octet) = (ip.to_bits(), usize::from(ip.octets()[0]));
        let span = match self.below.get(octet..octet + 2) {
            Some(ends) => ends[0] as usize..ends[1] as usize,
            None => 0..0,
        };
        let first = span.start;
        let within = self.starts.get(span).unwrap_or_default().partition_point(|start| *start <= bits);
        self.places.get((first + within).wrapping_sub(1)).unwrap_or(&NOWHERE)
    }
}

/// Of a view that was not indexed.
const NOWHERE: Place = Place { kind: Kind::Unicast, own: None, inside: None, behind: None, pin: None };

fn judge(view: &View, ip: Ipv4Addr) -> Place {
    let kind = match ip.octets()[0] {
        _ if ip == Ipv4Addr::BROADCAST || view.broadcast(ip) => Kind::Broadcast,
        0 | 127 | 240.. => Kind::Martian,
        224..240 => Kind::Multicast,
        _ => Kind::Unicast,
    };
    let pin = view.wan_on_link(ip);
    let route = view.routes.find(ip).copied();
    // A route inside may be wider than a WAN's network: the longer prefix counts (RFC 1812 5.2.4.3).
    let inside = route.filter(|r| pin.is_none_or(|(_, len)| r.net.len > len));
    Place { kind, own: view.own(ip), inside, behind: route.map(|r| r.iface), pin: pin.map(|(wan, _)| wan) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Generation, Ipv4Net, Mac};
    use crate::nat::{Addresses, Uplink, Uplinks};
    use crate::path::{IcmpPolicy, Iface, WanLink};
    use crate::table::routes::Routes;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn net() -> impl Strategy<Value = Ipv4Net> {
        // Few enough that they meet.
        (any::<u32>(), prop::sample::select(vec![0u8, 1, 4, 8, 24, 29, 30, 31, 32]))
            .prop_map(|(ip, len)| Ipv4Net::new(Ipv4Addr::from_bits(ip & 0xf100_010f), len).unwrap())
    }

    proptest! {
        #[test]
        fn every_address_is_what_a_walk_over_all_networks_says(
            nets in prop::collection::vec((net(), 0u8..2), 1..8), routes in prop::collection::vec(net(), 0..6),
            pool in prop::collection::vec(any::<u32>(), 0..5), fit: [bool; 2], asked in prop::collection::vec(any::<u32>(), 40),
        ) {
            let iface = |wan: Option<WanId>| Iface {
                name: String::new(), mac: Mac::ZERO, station: Mac::ZERO, former: Mac::ZERO, floating: None, mute: false, mtu: 1500, up: true, addresses: Vec::new(), wan, silent: Addresses::default(), arm: None,
            };
            let mut ifaces = vec![iface(None), iface(Some(WanId(0))), iface(Some(WanId(1)))];
            for (net, at) in &nets {
                ifaces[1 + usize::from(*at)].addresses.push(*net);
            }
            let uplink = |at: usize| Uplink {
                addresses: Addresses::new(pool.iter().map(|ip| Ipv4Addr::from_bits(ip & 0xff00_01ff)).map(|ip| (ip, ip)).collect::<BTreeSet<_>>()),
                fit: fit[at], ..Uplink::default()
            };
            let wan = |at| WanLink { iface: IfaceId(at), gateway: Ipv4Addr::UNSPECIFIED, hops: Vec::new() };
            let route = |net: &Ipv4Net| Route { net: *net, iface: IfaceId(0), via: None };
            let view = View {
                generation: Generation(0), ifaces, wans: vec![wan(1), wan(2)],
                uplinks: Uplinks { wans: vec![uplink(0), uplink(1)], groups: vec![], outside: vec![], away: false },
                routes: Routes::new(routes.iter().map(route).collect()), rules: Default::default(), clamp: Default::default(), internal: false, clamping: false,
                icmp: IcmpPolicy { errors_per_second: 1, time_exceeded: true }, places: Places::default(),
                lent: Default::default(), probing: Default::default(), standby: false, through: None, partner: None,
            }.indexed();
            let near = |ip: u32| [ip, ip.wrapping_add(1), ip.wrapping_sub(1)];
            let edges = nets.iter().flat_map(|(n, _)| near(n.addr.to_bits()).into_iter().chain(near(n.network().to_bits())));
            let edges: Vec<u32> = edges.chain(asked.iter().map(|ip| ip & 0xff00_01ff)).chain([0, u32::MAX]).collect();
            for ip in edges {
                let ip = Ipv4Addr::from_bits(ip);
                prop_assert_eq!(*view.place(ip), judge(&view, ip), "{}", ip);
            }
        }
    }
}
