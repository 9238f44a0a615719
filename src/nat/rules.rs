//! What the profile says of translation and of who may open what. It stands as long as its view, and is read where a flow
//! begins, never on the established path.
//!
//! One vocabulary of matches serves all rules: where a packet comes in, from, to, protocol, destination port. Addresses are those of
//! the inside: what comes from outside is matched by where it goes after translation. The first rule that matches decides.

use crate::base::{IfaceId, Ipv4Net, Nanos};
use crate::packet::{DropReason, Tuple};
use crate::table::lent::CLASSES;

use super::Timeouts;
use super::statics::Statics;
use super::uplinks::DEFAULT_GROUP;

/// Where a packet goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum To {
    /// Anywhere, the router itself included
    #[default]
    Any,
    /// Into one of these networks, and not to the router itself
    Nets(Vec<Ipv4Net>),
    /// To the router itself
    Own,
}

/// Which packets a rule is for: all that is given must hold, and what is empty holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Where it comes in
    pub iface: Option<IfaceId>,
    /// Where it comes from
    pub from: Vec<Ipv4Net>,
    /// Where it goes
    pub to: To,
    /// Protocol numbers
    pub protocols: Vec<u8>,
    /// Destination ports, from and to
    pub ports: Vec<(u16, u16)>,
}

impl Match {
    /// Whether a packet that came in at `ingress` is meant; `own` if it is for the router itself.
    pub fn holds(&self, ingress: IfaceId, t: &Tuple, own: bool) -> bool {
        let within = |nets: &[Ipv4Net], ip| nets.iter().any(|net| net.contains(ip));
        self.iface.is_none_or(|iface| iface == ingress)
            && (self.from.is_empty() || within(&self.from, t.src))
            && match &self.to {
                To::Any => true,
                To::Nets(nets) => !own && within(nets, t.dst),
                To::Own => own,
            }
            && (self.protocols.is_empty() || self.protocols.contains(&t.protocol))
            && (self.ports.is_empty()
                || self.ports.iter().any(|(first, last)| (first..=last).contains(&&t.dst_port)))
    }
}

/// What becomes of a flow that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It may begin
    Accept,
    /// It may not, in silence
    Drop,
    /// It may not, and its sender is told (ICMP 3/13)
    Reject,
}

/// The rules on who may open what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// First match wins
    rules: Vec<(Match, Action)>,
    /// Some of them let something to the router itself, or tell that they do not
    own: bool,
}

impl Firewall {
    /// These rules, the first that matches wins.
    pub fn new(rules: Vec<(Match, Action)>) -> Firewall {
        let speaks =
            |(when, action): &(Match, Action)| *action != Action::Drop && !matches!(when.to, To::Nets(_));
        let own = rules.iter().any(speaks);
        Firewall { rules, own }
    }

    /// The rule that decides on a flow, from 0, if any does.
    pub fn find(&self, ingress: IfaceId, t: &Tuple, own: bool) -> Option<usize> {
        self.rules.iter().position(|(when, _)| when.holds(ingress, t, own))
    }

    /// Everybody may do what they may by default.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether anything but silence may become of what is for the router itself and not let in by default.
    #[inline]
    pub fn lets_own(&self) -> bool {
        self.own
    }

    /// Whether a flow may begin; `default` if no rule is for it.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, ingress: IfaceId, t: &Tuple, own: bool, default: Action) -> Result<(), DropReason> {
        let found = self.rules.iter().find(|(when, _)| when.holds(ingress, t, own));
        match found.map_or(default, |(_, action)| *action) {
            Action::Accept => Ok(()),
            Action::Drop => Err(DropReason::Firewall),
            Action::Reject => Err(DropReason::FirewallRejected),
        }
    }
}

/// Who may answer a mapping (RFC 4787 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Anybody
    EndpointIndependent,
    /// Whose address was spoken to, from any port
    AddressDependent,
    /// Who was spoken to
    AddressAndPortDependent,
}

/// By class of ports, unless the profile says otherwise (RFC 4787 REQ-8, RFC 5382 REQ-3). Echoes are answered by whom they were sent to.
pub const FILTERING: [Filter; CLASSES] =
    [Filter::EndpointIndependent, Filter::AddressDependent, Filter::AddressAndPortDependent];

/// What a host may have of something that all share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All it wants, and a fair share when it runs short
    Auto,
    /// So many
    Limit(u32),
}

/// What becomes of TCP from inside that has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Midstream {
    /// A reset, so that it starts afresh
    Reset,
    /// It gets one, as if its beginning had been seen
    Adopt,
    /// Nothing
    Drop,
}

/// So many a second, held as the time of one: a new flow divides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Nanos);

impl Rate {
    /// At least one a second; over 10^9 is as many as anybody wants.
    pub const fn per_second(n: u32) -> Rate {
        let n = if n == 0 { 1 } else { n };
        Rate(Nanos(1_000_000_000 / n as u64))
    }

    /// What one of them takes.
    #[inline(always)]
    pub const fn gap(self) -> Nanos {
        self.0
    }
}

/// All rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// TCP flows to different remotes may share a port when nine in ten are used
    pub share_ports: bool,
    /// Ports of one address and protocol that a host may have
    pub ports_per_host: Share,
    /// Sessions that a host may have
    pub sessions_per_host: Share,
    /// How fast a host may make mappings
    pub creation_rate: Rate,
    /// From inside to inside by way of an outside address
    pub hairpin: bool,
    /// TCP without a session
    pub midstream: Midstream,
    /// Unsolicited TCP and UDP from outside gets no answer
    pub stealth: bool,
    /// Who may open what
    pub firewall: Firewall,
    /// What is not masqueraded
    pub statics: Statics,
    /// Which group chooses the WAN of a flow from inside: the first that matches, else the default group
    pub policy: Vec<(Match, u8)>,
    /// How long sessions live; `None`: as the NAT was made with
    pub timeouts: Option<Timeouts>,
}

impl Rules {
    /// The group of a flow from inside.
    #[inline(always)]
    pub fn group(&self, ingress: IfaceId, t: &Tuple) -> u8 {
        if self.policy.is_empty() { DEFAULT_GROUP } else { self.find_group(ingress, t) }
    }

    #[inline(never)]
    fn find_group(&self, ingress: IfaceId, t: &Tuple) -> u8 {
        let found = self.policy.iter().find(|(when, _)| when.holds(ingress, t, false));
        found.map_or(DEFAULT_GROUP, |(_, group)| *group)
    }
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            share_ports: true,
            ports_per_host: Share::Auto,
            sessions_per_host: Share::Auto,
            creation_rate: Rate::per_second(10_000),
            hairpin: true,
            midstream: Midstream::Reset,
            stealth: true,
            firewall: Firewall::default(),
            statics: Statics::default(),
            policy: vec![],
            timeouts: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::protocol::{TCP, UDP};
    use std::net::Ipv4Addr;

    fn tuple(protocol: u8, dst: [u8; 4], dst_port: u16) -> Tuple {
        Tuple { protocol, src: Ipv4Addr::new(192, 168, 1, 10), src_port: 5, dst: dst.into(), dst_port }
    }

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn all_that_is_given_must_hold_and_what_is_left_out_holds() {
        let t = tuple(TCP, [9, 9, 9, 9], 443);
        let lan = IfaceId(0);
        assert!(Match::default().holds(lan, &t, false) && Match::default().holds(lan, &t, true));
        let all = Match {
            iface: Some(lan),
            from: vec![net("10.0.0.0/8"), net("192.168.1.0/24")],
            to: To::Nets(vec![net("9.9.9.9/32")]),
            protocols: vec![UDP, TCP],
            ports: vec![(25, 25), (443, 444)],
        };
        assert!(all.holds(lan, &t, false));
        assert!(!all.holds(lan, &t, true), "a network is not the router itself");
        assert!(!all.holds(IfaceId(1), &t, false));
        assert!(!all.holds(lan, &Tuple { src: [192, 168, 2, 1].into(), ..t }, false));
        assert!(!all.holds(lan, &tuple(TCP, [9, 9, 9, 8], 443), false));
        assert!(!all.holds(lan, &tuple(1, [9, 9, 9, 9], 443), false));
        assert!(!all.holds(lan, &tuple(TCP, [9, 9, 9, 9], 442), false));
        assert!(all.holds(lan, &tuple(TCP, [9, 9, 9, 9], 444), false));
        let own = Match { to: To::Own, ..Match::default() };
        assert!(own.holds(lan, &t, true) && !own.holds(lan, &t, false));
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_without_one_the_default() {
        let tcp = Match { protocols: vec![TCP], ..Match::default() };
        let rules = vec![(tcp.clone(), Action::Reject), (tcp, Action::Accept)];
        let firewall = Firewall::new(rules);
        let judge =
            |protocol, default| firewall.judge(IfaceId(0), &tuple(protocol, [9, 9, 9, 9], 1), false, default);
        assert_eq!(judge(TCP, Action::Accept), Err(DropReason::FirewallRejected));
        assert_eq!(judge(UDP, Action::Accept), Ok(()));
        assert_eq!(judge(UDP, Action::Drop), Err(DropReason::Firewall));
    }
}
