//! What the role of a member of a pair changes in its router: the profile as it holds while it is active, or not.
//!
//! An active member has the virtual addresses as if they stood in the profile, with their MAC. One that is not has none of them, answers for
//! none of the addresses that its WANs translate to there, and asks a WAN on which it has no other address by ARP alone (RFC 5227 2.1.1).
//! A change of role is a reload of that difference, in one transaction, and then a call to everybody on the link (RFC 5227 2.3).

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Manager;
use crate::base::{IfaceId, Nanos};
use crate::path::{Iface, View};
use crate::profile::{Cluster, HeartbeatPath, Profile, Targets, VirtualAddress};

/// After a take-over the links are told again, in case the first call was lost.
pub(super) const AGAIN: [Nanos; 4] =
    [Nanos::from_ms(100), Nanos::from_ms(500), Nanos::from_s(2), Nanos::from_s(5)];

/// Who has let go takes in for so long what is still sent to the virtual MACs: switches that have not heard yet where they are now send it
/// here, and it would be lost.
pub(super) const FORMER: Nanos = Nanos::from_s(1);

/// A profile as it holds for a member that is active, or not.
pub(super) fn applied(mut profile: Profile, active: bool) -> Profile {
    let Some(cluster) = &mut profile.cluster else { return profile };
    cluster.active = active;
    for floating in &cluster.virtuals {
        let Some(interface) = profile.interfaces.get_mut(floating.interface) else { continue };
        if active {
            interface.addresses.push(floating.address);
        } else if interface.addresses.is_empty() {
            let its = profile.wans.iter_mut().filter(|wan| wan.interface == floating.interface);
            for wan in its {
                // Nobody is asked without an address to ask from.
                wan.health.targets = Targets { list: Vec::new(), ..wan.health.targets.clone() };
                wan.health.bfd = None;
            }
        }
    }
    profile
}

/// What is virtual about an interface.
pub(super) fn float(iface: &mut Iface, cluster: &Cluster, at: usize) {
    let Some(floating) = cluster.floating(at) else { return };
    if cluster.active {
        iface.floating = Some(floating.address.addr);
        iface.mac = floating.mac.unwrap_or(iface.mac);
    } else {
        iface.mute = true;
    }
}

/// By which address the host of a member that is not active reaches the outside: that of the active one inside, if
/// they share what they translate to.
pub(super) fn through(profile: &Profile) -> Option<(IfaceId, Ipv4Addr)> {
    let cluster = profile.cluster.as_ref().filter(|cluster| !cluster.active)?;
    let is_wan =
        |floating: &&VirtualAddress| profile.wans.iter().any(|wan| wan.interface == floating.interface);
    let shares = cluster.virtuals.iter().any(|floating| is_wan(&floating));
    let inside = cluster.virtuals.iter().find(|floating| !is_wan(floating)).filter(|_| shares)?;
    Some((IfaceId(inside.interface as u8), inside.address.addr))
}

impl Manager {
    /// A profile, with what leases and the role have added to it.
    pub(super) fn applied(&self, profile: &Profile) -> Profile {
        let active = self.member.as_ref().is_some_and(|member| member.is_active());
        applied(self.leases.applied(profile), active)
    }

    /// This member has taken the role, or let it go.
    pub(super) fn change_role(&mut self, now: Nanos, before: &Profile) {
        self.take_up(before, "role", now);
        self.call_all(now);
        self.announce_moved(now);
    }

    /// Whether this member still takes in what is sent to the virtual MACs, in a view of a profile.
    pub(super) fn keep_former(&self, view: &mut View) {
        let member = self.member.as_ref().filter(|member| member.former.is_some());
        let cluster = self.profile.cluster.as_ref().filter(|_| member.is_some());
        for floating in cluster.iter().flat_map(|cluster| &cluster.virtuals) {
            if let (Some(iface), Some(mac)) = (view.ifaces.get_mut(floating.interface), floating.mac) {
                iface.former = mac;
            }
        }
    }

    /// The time in which it does may be over.
    pub(super) fn end_former(&mut self, now: Nanos) {
        let former = self.member.as_mut().and_then(|member| member.former.take_if(|until| now >= *until));
        if former.is_some() {
            let mut view = (*self.view).clone();
            view.ifaces.iter_mut().for_each(|iface| iface.former = iface.station);
            self.view = Arc::new(view);
            self.publish();
        }
    }

    /// Where the partner forwards what lives on its WANs: on a network inside on which both are heard, as long as it has a WAN.
    pub(super) fn partner_way(&self) -> Option<(IfaceId, Ipv4Addr)> {
        let (member, cluster) = (self.member.as_ref()?, self.profile.cluster.as_ref()?);
        let serves = member.partner_serves();
        let inside = |path: &&HeartbeatPath| {
            self.view.ifaces.get(path.interface).is_some_and(|iface| iface.wan.is_none())
        };
        let path = cluster.paths.iter().find(inside).filter(|_| serves)?;
        Some((IfaceId(path.interface as u8), path.partner))
    }

    /// Tells every link on which this member has a virtual address where it is.
    pub(super) fn call_all(&mut self, now: Nanos) {
        let view: &View = &self.view;
        let floats = |at: &usize| view.ifaces.get(*at).is_some_and(|iface| iface.floating.is_some());
        let ifaces: Vec<usize> = (0..view.ifaces.len()).filter(floats).collect();
        for at in ifaces {
            self.announce_again(now, IfaceId(at as u8));
        }
    }
}
