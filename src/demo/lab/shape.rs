//! What a lab looks like: who is in it, and which cables are there. The two ISPs and the internet are the same in each.
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
}

/// Both ends of a cable, each a host and its interface.
type Cable = (&'static str, &'static str, &'static str, &'static str);

impl Shape {
    /// The hosts.
    pub(super) fn hosts(self) -> Vec<&'static str> {
        let mut all = vec!["lan1", "lan2", "lan", "router", "isp1", "isp2", "inet"];
        if self != Shape::DualWan {
            all.push("node");
        }
        all
    }

    /// The cables.
    pub(super) fn cables(self) -> Vec<Cable> {
        let mut all = vec![("lan1", "eth0", "lan", "p1"), ("lan2", "eth0", "lan", "p2")];
        match self {
            Shape::DualWan => all.push(("lan", "trunk", "router", "lan0")),
            Shape::BehindFirewall => {
                all.push(("lan", "trunk", "node", "in0"));
                all.push(("node", "dmz0", "router", "lan0"));
            }
            Shape::SingleInterface => {
                all.push(("lan", "trunk", "router", "lan0"));
                all.push(("lan", "node", "node", "dmz0"));
            }
        }
        all.extend([
            ("isp1", ISP_PORT, "router", "isp1"),
            ("isp2", ISP_PORT, "router", "isp2"),
            ("isp1", "core", "inet", "isp1"),
            ("isp2", "core", "inet", "isp2"),
        ]);
        all
    }

    /// The ports of the switch in `lan`.
    pub(super) fn switch(self) -> Vec<&'static str> {
        let ends = self.cables().into_iter().flat_map(|(a, a_end, b, b_end)| [(a, a_end), (b, b_end)]);
        ends.filter(|(host, _)| *host == "lan").map(|(_, end)| end).collect()
    }

    /// The ports of a host that runs a router.
    pub(super) fn ports(self, host: &str) -> Vec<&'static str> {
        let ends = self.cables().into_iter().flat_map(|(a, a_end, b, b_end)| [(a, a_end), (b, b_end)]);
        ends.filter(|(of, _)| *of == host).map(|(_, end)| end).collect()
    }

    /// The ends of cables opposite to a router's that belong to the kernel.
    pub(super) fn opposite(self) -> Vec<(&'static str, &'static str)> {
        let routers = |host: &str| matches!(host, "router" | "node");
        let ends = self.cables().into_iter().flat_map(|(a, a_end, b, b_end)| [(a, a_end, b), (b, b_end, a)]);
        let own = ends.filter(|(host, _, other)| !routers(host) && routers(other));
        own.map(|(host, end, _)| (host, end)).collect()
    }
}
