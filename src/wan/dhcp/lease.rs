//! What a server grants, judged: whether a WAN can stand on it.
//!
//! The gateway is the router of the default route of option 121, and if there is no such option the first of option 3 (RFC 3442: with
//! 121 the other does not count). It may be outside the leased network: it is asked for by ARP on the link all the same. Without a
//! mask the address stands alone, /32. The other routes are judged by `routes`.

use std::net::Ipv4Addr;

use super::Config;
use super::message::Message;
use super::routes::{self, LeftOut};
use crate::base::{Hop, Ipv4Net, Nanos};

/// The shortest lease that is taken, in s: below it there is no time to renew in.
const SHORTEST_S: u32 = 10;
/// An MTU below it is not followed: every host must take datagrams of this length (RFC 791 3.1).
const LEAST_MTU: u16 = 576;

/// An address, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// With the length of its network's prefix
    pub address: Ipv4Net,
    /// The next hop, perhaps outside that network
    pub gateway: Ipv4Addr,
    /// Next hops beside it, the longest prefix first, at most `ROUTES`
    pub hops: Vec<Hop>,
    /// What else of option 121 is not followed
    pub left_out: LeftOut,
    /// Who granted it
    pub server: Ipv4Addr,
    /// Name servers, at most 4
    pub dns: Vec<Ipv4Addr>,
    /// The longest IP packet on the link
    pub mtu: Option<u16>,
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `reject_from` names its server.
    Rejected,
    /// It does not say who offers.
    NoServer,
    /// No host can have the address in such a network.
    Address,
    /// Its network is one of the inside.
    Inside,
    /// There is no gateway, or none that a host could be.
    NoGateway,
    /// It has no time, or less than 10 s.
    Short,
}

impl Refusal {
    /// In words.
    pub const fn why(self) -> &'static str {
        match self {
            Refusal::Rejected => "`reject_from` names the server",
            Refusal::NoServer => "the server does not say who it is",
            Refusal::Address => "no host can have such an address",
            Refusal::Inside => "its network overlaps one of the inside",
            Refusal::NoGateway => "it has no gateway that can be used",
            Refusal::Short => "it is for less than 10 s",
        }
    }
}

/// How long, from when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spans {
    pub(super) whole: Nanos,
    pub(super) renew: Nanos,
    pub(super) rebind: Nanos,
}

/// What `message`, from the address `from`, offers or grants.
pub(super) fn judge(message: &Message, from: Ipv4Addr, config: &Config) -> Result<(Lease, Spans), Refusal> {
    let server = message.server.filter(|server| is_host(*server)).ok_or(Refusal::NoServer)?;
    if rejected(server, from, config) {
        return Err(Refusal::Rejected);
    }
    let mask = message.mask.map_or(u32::MAX, Ipv4Addr::to_bits);
    let contiguous = mask.leading_ones() + mask.trailing_zeros() == 32;
    let net = Ipv4Net::new(message.address, mask.leading_ones() as u8).filter(|_| contiguous && mask != 0);
    let net = net.ok_or(Refusal::Address)?;
    let ends = net.len < 31 && (net.addr == net.network() || net.addr == net.last());
    if !is_host(net.addr) || ends {
        return Err(Refusal::Address);
    }
    if config.taken.iter().any(|taken| taken.overlaps(net)) {
        return Err(Refusal::Inside);
    }
    let gateway = match &message.routes {
        Some(routes) => routes.iter().find(|route| route.to.len == 0).map(|route| route.router),
        None => message.router,
    };
    let gateway = gateway.filter(|ip| {
        is_host(*ip) && *ip != net.addr && !config.taken.iter().any(|taken| taken.contains(*ip))
    });
    let gateway = gateway.ok_or(Refusal::NoGateway)?;
    let whole = message.lease_s.filter(|lease| *lease >= SHORTEST_S).ok_or(Refusal::Short)?;
    let (hops, left_out) = routes::hops(message.routes.as_deref().unwrap_or_default(), net, gateway, config);
    let lease = Lease {
        address: net,
        gateway,
        hops,
        left_out,
        server,
        dns: message.dns.clone(),
        mtu: message.mtu.filter(|mtu| *mtu >= LEAST_MTU),
    };
    Ok((lease, spans(whole, message.renew_s, message.rebind_s)))
}

/// Whether this server is not listened to.
pub(super) fn rejected(server: Ipv4Addr, from: Ipv4Addr, config: &Config) -> bool {
    config.reject_from.contains(&server) || config.reject_from.contains(&from)
}

/// T1 and T2 as the server wants them, if they are in order; else half and seven eighths (RFC 2131 4.4.5).
fn spans(whole: u32, renew: Option<u32>, rebind: Option<u32>) -> Spans {
    if whole == u32::MAX {
        return Spans { whole: Nanos::NEVER, renew: Nanos::NEVER, rebind: Nanos::NEVER };
    }
    let whole = u64::from(whole);
    let rebind = rebind.map(u64::from).filter(|t2| (1..=whole).contains(t2));
    let renew = renew.map(u64::from).filter(|t1| (1..=rebind.unwrap_or(whole)).contains(t1));
    let ms = |s: u64| Nanos::from_ms(s * 1000);
    let half = ms(whole).0 / 2;
    let rebind = rebind.map_or(Nanos(ms(whole).0 / 8 * 7).max(renew.map_or(Nanos::ZERO, ms)), ms);
    Spans { whole: ms(whole), renew: renew.map_or(Nanos(half).min(rebind), ms), rebind }
}

pub(super) fn is_host(ip: Ipv4Addr) -> bool {
    !matches!(ip.octets()[0], 0 | 127 | 224..)
}

#[cfg(test)]
mod tests {
    use super::super::message::Route;
    use super::super::tests_rig::{CLIENT, GATEWAY, SERVER, config, offer};
    use super::*;

    fn judged(change: impl Fn(&mut Message)) -> Result<(Lease, Spans), Refusal> {
        let mut message = offer(7);
        change(&mut message);
        judge(&message, SERVER, &config())
    }

    #[test]
    fn rfc_2131_what_no_wan_can_stand_on_is_refused_with_its_reason() {
        assert_eq!(judged(|_| ()).unwrap().0.address, Ipv4Net::new(CLIENT, 24).unwrap());
        let ip = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let why = |change: &dyn Fn(&mut Message)| judged(change).unwrap_err();
        assert_eq!(why(&|m| m.server = None), Refusal::NoServer);
        assert_eq!(why(&|m| m.server = Some(ip("192.168.100.1"))), Refusal::Rejected);
        assert_eq!(
            judge(&offer(7), ip("192.168.100.1"), &config()).unwrap_err(),
            Refusal::Rejected,
            "by its packets"
        );
        for address in
            ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "198.51.100.0", "198.51.100.255"]
        {
            assert_eq!(why(&|m| m.address = ip(address)), Refusal::Address, "{address}");
        }
        for mask in ["0.0.0.0", "255.0.255.0", "0.255.255.255"] {
            assert_eq!(why(&|m| m.mask = Some(ip(mask))), Refusal::Address, "{mask}");
        }
        assert_eq!(why(&|m| m.address = ip("192.168.10.77")), Refusal::Inside);
        assert_eq!(why(&|m| m.router = None), Refusal::NoGateway);
        assert_eq!(why(&|m| m.router = Some(CLIENT)), Refusal::NoGateway);
        assert_eq!(why(&|m| m.router = Some(ip("192.168.10.1"))), Refusal::NoGateway);
        for lease in [None, Some(0), Some(9)] {
            assert_eq!(why(&|m| m.lease_s = lease), Refusal::Short);
        }
        assert_eq!(judged(|m| m.mtu = Some(500)).unwrap().0.mtu, None);
    }

    #[test]
    fn rfc_3442_routes_beat_routers_and_a_gateway_may_be_off_the_link() {
        let far = Ipv4Addr::new(10, 0, 0, 1);
        let all = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).unwrap();
        let on_link = Route { to: Ipv4Net::new(far, 32).unwrap(), router: Ipv4Addr::UNSPECIFIED };
        let by = |router| Some(vec![on_link, Route { to: all, router }]);
        assert_eq!(judged(|m| m.routes = by(far)).unwrap().0.gateway, far);
        assert_eq!(judged(|m| (m.routes, m.mask) = (by(far), None)).unwrap().0.address.len, 32);
        assert_eq!(
            judged(|m| m.routes = Some(vec![on_link])).unwrap_err(),
            Refusal::NoGateway,
            "3 does not count then"
        );
        assert_eq!(judged(|m| m.routes = by(Ipv4Addr::UNSPECIFIED)).unwrap_err(), Refusal::NoGateway);
        assert_eq!(judged(|m| m.mask = Some(Ipv4Addr::BROADCAST)).unwrap().0.gateway, GATEWAY);
    }

    #[test]
    fn rfc_2131_t1_and_t2_are_the_servers_if_they_are_in_order() {
        let of = |whole, t1, t2| {
            let spans = spans(whole, t1, t2);
            [spans.renew, spans.rebind, spans.whole].map(|span| span.as_ms())
        };
        assert_eq!(of(1000, None, None), [500_000, 875_000, 1_000_000]);
        assert_eq!(of(1000, Some(100), Some(200)), [100_000, 200_000, 1_000_000]);
        assert_eq!(of(1000, Some(300), Some(200)), [200_000, 200_000, 1_000_000]);
        assert_eq!(of(1000, Some(900), None), [900_000, 900_000, 1_000_000]);
        assert_eq!(of(1000, Some(0), Some(0)), [500_000, 875_000, 1_000_000]);
        assert_eq!(of(1000, Some(5000), Some(2000)), [500_000, 875_000, 1_000_000]);
        let forever = spans(u32::MAX, Some(100), Some(200));
        assert_eq!((forever.renew, forever.whole), (Nanos::NEVER, Nanos::NEVER));
        for t1 in [None, Some(0), Some(1), Some(u32::MAX)] {
            for t2 in [None, Some(1), Some(9), Some(u32::MAX)] {
                for whole in [10, 11, u32::MAX - 1] {
                    let s = spans(whole, t1, t2);
                    assert!(s.renew <= s.rebind && s.rebind <= s.whole && s.renew > Nanos::ZERO, "{s:?}");
                }
            }
        }
    }
}
