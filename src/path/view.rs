//! What the path reads and never writes: one immutable value, made by the management thread, taken between two bursts.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::answers::Probing;
use super::clamp::Clamp;
use super::places::{Place, Places};
use crate::base::{Generation, Hop, IfaceId, Ipv4Net, Mac, WanId, WorkerId};
use crate::nat::{Addresses, Rules, Uplinks};
use crate::table::lent::{Lent, PoolId};
use crate::table::routes::Routes;

/// An interface of the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iface {
    /// The name in the profile
    pub name: String,
    /// What is forwarded from it has this source: its own, or the virtual one while this member of a pair is active
    pub mac: Mac,
    /// Its own address: what is for that is taken in as well
    pub station: Mac,
    /// The virtual one for a while after this member has let it go: what is still sent to it is taken in as well; else `station`
    pub former: Mac,
    /// The address of whoever of a pair is active, while it is this member
    pub floating: Option<Ipv4Addr>,
    /// The partner of a pair answers here for what is translated to: this member for its own addresses alone
    pub mute: bool,
    /// Longest IP packet
    pub mtu: u16,
    /// Its link is there
    pub up: bool,
    /// The router's addresses, each with its network; none while it has no lease
    pub addresses: Vec<Ipv4Net>,
    /// Which WAN it is; inside interfaces are none
    pub wan: Option<WanId>,
    /// Addresses that are translated to and for which ARP is not answered
    pub silent: Addresses,
    /// The WAN's interface whose inside half it is: they share a wire
    pub arm: Option<IfaceId>,
}

impl Iface {
    /// Where one of its addresses is found: this station's own with its MAC, all that another member may take over with what
    /// is forwarded from.
    #[inline]
    pub fn mac_of(&self, ip: Ipv4Addr) -> Mac {
        let own = self.floating != Some(ip) && self.addresses.iter().any(|address| address.addr == ip);
        if own { self.station } else { self.mac }
    }
}

/// The link of a WAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WanLink {
    /// Its interface
    pub iface: IfaceId,
    /// The next hop of what is not on the link; 0.0.0.0 while the WAN has no lease, and then it is not fit
    pub gateway: Ipv4Addr,
    /// The next hops of a lease beside the gateway, the longest prefix first: at most `dhcp::ROUTES`, none of them for everything
    pub hops: Vec<Hop>,
}

impl WanLink {
    /// Whether `ip` may be asked for on the link, though its networks do not hold it.
    pub fn reaches(&self, ip: Ipv4Addr) -> bool {
        let by = |hop: &Hop| hop.via.map_or_else(|| hop.to.contains(ip), |via| via == ip);
        self.gateway == ip || self.hops.iter().any(by)
    }
}

/// What is said by ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpPolicy {
    /// Errors a second that a worker sends at most
    pub errors_per_second: u32,
    /// Whether an expired TTL is told
    pub time_exceeded: bool,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Grows with each publication
    pub generation: Generation,
    /// By `IfaceId`
    pub ifaces: Vec<Iface>,
    /// By `WanId`
    pub wans: Vec<WanLink>,
    /// By `WanId`: addresses, fitness, and the choice
    pub uplinks: Uplinks,
    /// The inside networks
    pub routes: Routes,
    /// What is translated how, and who may open what
    pub rules: Arc<Rules>,
    /// The firewall has a say in flows from inside to inside: they are remembered
    pub internal: bool,
    /// What is done to the MSS of connections
    pub clamp: Clamp,
    /// Whether that may change any: made by `indexed`
    pub clamping: bool,
    /// ICMP
    pub icmp: IcmpPolicy,
    /// What all of that says of an address: made by `indexed`
    pub places: Places,
    /// Ports that are not with the worker whose slice they are in; every view has the same
    pub lent: Arc<Lent>,
    /// The router's own probes: what may come back, and from where
    pub probing: Arc<Probing>,
    /// This member of a pair is not active: its copies of the partner's sessions do not expire
    pub standby: bool,
    /// The partner of a pair, where it forwards what lives on its WANs: out to a next hop inside
    pub partner: Option<(IfaceId, Ipv4Addr)>,
    /// Where what the host sends to the outside goes while another member alone has the addresses for that: out to a next hop inside
    pub through: Option<(IfaceId, Ipv4Addr)>,
}

impl View {
    /// The same, to be read by the path: after the last change.
    pub fn indexed(mut self) -> View {
        self.places = Places::of(&self);
        self.clamping = self.find_clamping();
        self
    }

    /// Who has the outside port that a packet to `dst` on a WAN is for, if it is lent.
    pub fn borrower(&self, wan: WanId, protocol: u8, dst: (Ipv4Addr, u16)) -> Option<WorkerId> {
        if !self.lent.any() {
            return None;
        }
        let address = self.uplinks.wans.get(wan.index())?.addresses.position(dst.0)?;
        self.lent.holder(PoolId { wan, address, protocol }, dst.1)
    }

    /// What an address is.
    #[inline]
    pub fn place(&self, ip: Ipv4Addr) -> &Place {
        self.places.find(ip)
    }

    /// The interface that has `ip` as the router's own address.
    pub fn own(&self, ip: Ipv4Addr) -> Option<IfaceId> {
        (0..self.ifaces.len()).map(|at| IfaceId(at as u8)).find(|iface| self.owns(*iface, ip))
    }

    /// Whether `ip` is the router's own on this interface.
    pub fn main(&self, iface: IfaceId, ip: Ipv4Addr) -> bool {
        self.ifaces[iface.index()].addresses.iter().any(|a| a.addr == ip)
    }

    /// Whether `ip` is one of the router's addresses on this interface, or one that it translates to there.
    pub fn owns(&self, iface: IfaceId, ip: Ipv4Addr) -> bool {
        self.main(iface, ip)
            || self.ifaces[iface.index()].wan.is_some_and(|wan| {
                let pool = self.uplinks.wans.get(wan.index());
                pool.is_some_and(|u| u.addresses.contains(ip)) || self.rules.statics.is_outside(wan, ip)
            })
    }

    /// Whether the router answers ARP for `ip` on this interface.
    pub fn answers(&self, iface: IfaceId, ip: Ipv4Addr) -> bool {
        let silent = || self.ifaces[iface.index()].silent.contains(ip);
        self.main(iface, ip) || (self.claims(iface, ip) && self.on_link(iface, ip) && !silent())
    }

    /// Whether nobody else on this interface may have `ip`.
    pub fn claims(&self, iface: IfaceId, ip: Ipv4Addr) -> bool {
        self.main(iface, ip) || (!self.ifaces[iface.index()].mute && self.owns(iface, ip))
    }

    /// Whether `ip` is on the link of an interface.
    #[inline]
    pub fn on_link(&self, iface: IfaceId, ip: Ipv4Addr) -> bool {
        self.ifaces[iface.index()].addresses.iter().any(|a| a.contains(ip))
    }

    /// Whether `ip` is the directed broadcast address of one of the router's networks.
    pub fn broadcast(&self, ip: Ipv4Addr) -> bool {
        self.ifaces.iter().any(|i| i.addresses.iter().any(|a| a.broadcast() == Some(ip)))
    }

    /// The WAN whose link `ip` is on and the length of that prefix: the first fit one, else the first.
    pub fn wan_on_link(&self, ip: Ipv4Addr) -> Option<(WanId, u8)> {
        let mut found = None;
        for (at, link) in self.wans.iter().enumerate() {
            let Some(net) = self.ifaces[link.iface.index()].addresses.iter().find(|a| a.contains(ip)) else {
                continue;
            };
            if self.uplinks.wans[at].fit {
                return Some((WanId(at as u8), net.len));
            }
            found = found.or(Some((WanId(at as u8), net.len)));
        }
        found
    }

    /// Whom a packet to `dst` is handed to on a WAN that it leaves by, whatever chose that WAN.
    #[inline]
    pub fn next_hop(&self, link: &WanLink, dst: Ipv4Addr) -> Ipv4Addr {
        if !link.hops.is_empty() {
            return self.hop(link, dst);
        }
        if self.on_link(link.iface, dst) { dst } else { link.gateway }
    }

    /// The longest prefix counts; of two of one length the link's own network.
    #[inline(never)]
    fn hop(&self, link: &WanLink, dst: Ipv4Addr) -> Ipv4Addr {
        let nets = &self.ifaces[link.iface.index()].addresses;
        let near = nets.iter().filter(|net| net.contains(dst)).map(|net| net.len).max();
        match link.hops.iter().find(|hop| hop.to.contains(dst)) {
            Some(hop) if near.is_none_or(|len| hop.to.len > len) => hop.via.unwrap_or(dst),
            _ if near.is_some() => dst,
            _ => link.gateway,
        }
    }

    /// Where the router answers `to`, who was heard on `iface`: the way out and the next hop.
    pub fn back(&self, iface: IfaceId, to: Ipv4Addr) -> Option<(IfaceId, Ipv4Addr)> {
        match self.ifaces[iface.index()].wan {
            Some(wan) => Some((iface, self.next_hop(&self.wans[wan.index()], to))),
            None if self.on_link(iface, to) => Some((iface, to)),
            None => self.routes.find(to).map(|r| (r.iface, r.via.unwrap_or(to))),
        }
    }

    /// The way to an address inside: the way out and the next hop. An address of the router's own is its own next hop.
    pub fn inward(&self, to: Ipv4Addr) -> Option<(IfaceId, Ipv4Addr)> {
        match self.routes.find(to) {
            Some(route) => Some((route.iface, route.via.unwrap_or(to))),
            None => self.own(to).map(|iface| (iface, to)),
        }
    }

    /// The router's address that it speaks from on `iface`, towards `to`: one of the same wire, if there is one.
    pub fn source(&self, iface: IfaceId, to: Ipv4Addr) -> Ipv4Addr {
        let own = &self.ifaces[iface.index()];
        let other = own.arm.and_then(|wan| self.ifaces.get(wan.index())).map(|wan| wan.addresses.as_slice());
        let mut all = own.addresses.iter().chain(other.unwrap_or_default());
        let near = all.clone().find(|a| a.contains(to)).or(all.next());
        near.map_or(Ipv4Addr::UNSPECIFIED, |a| a.addr)
    }

    /// The inside half of a WAN's interface.
    pub fn half(&self, iface: IfaceId) -> Option<IfaceId> {
        self.ifaces.iter().position(|half| half.arm == Some(iface)).map(|at| IfaceId(at as u8))
    }
}
