//! What a lab looks like: who is in it, and which cables are there. The two ISPs and the internet are the same in each.
//!
//! Who runs a router (`router`, `node`, the members `a` and `b` of a pair) has ports without addresses; everybody else is the
//! kernel's, and set up as `places` says. A switch is a host that does nothing but bridge.
#![forbid(unsafe_code)]

use super::ISP_PORT;

/// How the site is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// LAN hosts, the router, its two ISPs
    DualWan,
    /// LAN hosts, a node, a DMZ, the router with the two ISPs. The node's ports are `in0` and `dmz0`.
    BehindFirewall,
    /// The same, but hosts, node and router are on one wire: the node's port is `dmz0`.
    SingleInterface,
    /// LAN hosts, the members of a pair (ports `lan0`, `wan0`), their DMZ, the router with the two ISPs
    PairBehindFirewall,
    /// Members on both ISPs (`lan0`, `isp1`, `isp2`) by switches
    PairDualWan,
    /// Member `a` on the first ISP, `b` on the second (`lan0`, `wan0`)
    PairTwoIsps,
    /// The same, a firewall in between on either side: `fw1`, `fw2`
    PairTwoDmzs,
    /// The same, a firewall on the side of `a` alone, which gives it its address by DHCP
    PairMixed,
}

/// Both ends of a cable, each a host and its interface.
type Cable = (&'static str, &'static str, &'static str, &'static str);

/// Who runs a router.
const ROUTERS: [&str; 4] = ["router", "node", "a", "b"];
/// Who bridges its ports.
const SWITCHES: [&str; 4] = ["lan", "dmz", "sw1", "sw2"];

impl Shape {
    /// The hosts.
    pub(super) fn hosts(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            Shape::DualWan => &["router"],
            Shape::BehindFirewall | Shape::SingleInterface => &["router", "node"],
            Shape::PairBehindFirewall => &["a", "b", "dmz", "router"],
            Shape::PairDualWan => &["a", "b", "sw1", "sw2"],
            Shape::PairTwoIsps => &["a", "b"],
            Shape::PairTwoDmzs => &["a", "b", "fw1", "fw2"],
            Shape::PairMixed => &["a", "b", "fw1"],
        };
        ["lan1", "lan2", "lan", "isp1", "isp2", "inet"].iter().chain(own).copied().collect()
    }

    /// The cables.
    pub(super) fn cables(self) -> Vec<Cable> {
        let hosts = [("lan1", "eth0", "lan", "p1"), ("lan2", "eth0", "lan", "p2")];
        let own: &[Cable] = match self {
            Shape::DualWan => &[("lan", "trunk", "router", "lan0")],
            Shape::BehindFirewall => &[("lan", "trunk", "node", "in0"), ("node", "dmz0", "router", "lan0")],
            Shape::SingleInterface => &[("lan", "trunk", "router", "lan0"), ("lan", "node", "node", "dmz0")],
            Shape::PairBehindFirewall => {
                &[("dmz", "pa", "a", "wan0"), ("dmz", "pb", "b", "wan0"), ("dmz", "trunk", "router", "lan0")]
            }
            Shape::PairDualWan => &[
                ("sw1", "pa", "a", "isp1"),
                ("sw1", "pb", "b", "isp1"),
                ("sw1", "uplink", "isp1", ISP_PORT),
                ("sw2", "pa", "a", "isp2"),
                ("sw2", "pb", "b", "isp2"),
                ("sw2", "uplink", "isp2", ISP_PORT),
            ],
            Shape::PairTwoIsps => &[("isp1", ISP_PORT, "a", "wan0"), ("isp2", ISP_PORT, "b", "wan0")],
            Shape::PairTwoDmzs => &[
                ("fw1", "dmz", "a", "wan0"),
                ("fw1", "uplink", "isp1", ISP_PORT),
                ("fw2", "dmz", "b", "wan0"),
                ("fw2", "uplink", "isp2", ISP_PORT),
            ],
            Shape::PairMixed => &[
                ("fw1", "dmz", "a", "wan0"),
                ("fw1", "uplink", "isp1", ISP_PORT),
                ("isp2", ISP_PORT, "b", "wan0"),
            ],
        };
        let mut all: Vec<Cable> = hosts.iter().chain(own).copied().collect();
        let has = |host: &str| self.hosts().contains(&host);
        if has("router") {
            all.extend([("isp1", ISP_PORT, "router", "isp1"), ("isp2", ISP_PORT, "router", "isp2")]);
        }
        if has("a") {
            all.extend([("lan", "pa", "a", "lan0"), ("lan", "pb", "b", "lan0")]);
        }
        all.extend([("isp1", "core", "inet", "isp1"), ("isp2", "core", "inet", "isp2")]);
        all
    }

    /// Whether a host runs a router.
    pub(super) fn routes(host: &str) -> bool {
        ROUTERS.contains(&host)
    }

    /// Whether a host is a switch.
    pub(super) fn bridges(host: &str) -> bool {
        SWITCHES.contains(&host)
    }

    /// The ports of a host.
    pub(super) fn ports(self, host: &str) -> Vec<&'static str> {
        let ends = self.cables().into_iter().flat_map(|(a, a_end, b, b_end)| [(a, a_end), (b, b_end)]);
        ends.filter(|(of, _)| *of == host).map(|(_, end)| end).collect()
    }

    /// The other end of the cable in a port.
    pub(super) fn other_end(self, host: &str, port: &str) -> Option<(&'static str, &'static str)> {
        let ends = |(a, a_end, b, b_end): Cable| [((a, a_end), (b, b_end)), ((b, b_end), (a, a_end))];
        self.cables().into_iter().flat_map(ends).find(|(end, _)| *end == (host, port)).map(|(_, other)| other)
    }

    /// The ends of cables opposite to a router's that belong to the kernel.
    pub(super) fn opposite(self) -> Vec<(&'static str, &'static str)> {
        let ends = self.cables().into_iter().flat_map(|(a, a_end, b, b_end)| [(a, a_end, b), (b, b_end, a)]);
        let own = ends.filter(|(host, _, other)| !Shape::routes(host) && Shape::routes(other));
        own.map(|(host, end, _)| (host, end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cable_ends_in_two_ports_of_hosts_that_are_there() {
        for shape in [
            Shape::DualWan,
            Shape::BehindFirewall,
            Shape::SingleInterface,
            Shape::PairBehindFirewall,
            Shape::PairDualWan,
            Shape::PairTwoIsps,
            Shape::PairTwoDmzs,
            Shape::PairMixed,
        ] {
            let (hosts, mut ends) = (shape.hosts(), BTreeSet::new());
            for (a, a_end, b, b_end) in shape.cables() {
                assert!(hosts.contains(&a) && hosts.contains(&b), "{shape:?}: {a} - {b}");
                assert!(ends.insert((a, a_end)) && ends.insert((b, b_end)), "{shape:?}: {a} - {b}");
            }
            for host in hosts {
                assert!(!shape.ports(host).is_empty(), "{shape:?}: {host}");
            }
            // One line to each ISP: faults know it by its name.
            assert!(ends.contains(&("isp1", ISP_PORT)) && ends.contains(&("isp2", ISP_PORT)));
        }
        assert_eq!(Shape::PairDualWan.other_end("a", "isp2"), Some(("sw2", "pa")));
        assert_eq!(Shape::PairTwoIsps.other_end("isp2", ISP_PORT), Some(("b", "wan0")));
        assert_eq!(Shape::DualWan.other_end("a", "isp2"), None);
    }
}
