//! The scenarios `single-behind-firewall` and `single-interface`: a node behind a router with two ISPs, of which the first
//! fails. Between its LAN and the DMZ, or with one port on the DMZ, where its inside hosts are as well.
//!
//! Router and node are both this program. The story is that of `dual-wan`, told to the hosts behind the node: what they
//! send is translated twice, and comes back by itself after the ISP has died.
#![forbid(unsafe_code)]

use super::DemoError;
use super::crew::{Part, Post};
use super::dual_wan::{self, cores};
use super::lab::Shape;
use super::play::{self, Plot};
use super::report::Report;
use super::stage::Stage;

/// The node between LAN and DMZ.
pub const BEHIND: &str = "single-behind-firewall";
/// The node with one port.
pub const ONE_ARM: &str = "single-interface";

/// The profile of the router with the two ISPs; `lan` is its interface on the DMZ, as the profile has it.
pub fn router_profile(lan: &str) -> String {
    let plain = dual_wan::profile();
    plain
        .replace("{ port: \"linux:lan0\", addresses: [192.168.10.1/24] }", lan)
        .replace("name: demo", "name: edge")
}

/// On the DMZ as it is.
pub const ON_DMZ: &str = "{ port: \"linux:lan0\", addresses: [192.168.50.1/24] }";

/// The profile of the node with these interfaces, of which `dmz` is the WAN, and these further sections.
pub fn node_profile(interfaces: &str, rest: &str) -> String {
    let cores = cores();
    let first = cores.first().copied().unwrap_or(0);
    let last = cores.last().copied().unwrap_or(first);
    format!(
        "version: 1
name: node
engine: {{ workers: [{last}], {}sessions: 65536 }}
interfaces:
{interfaces}wans: [dmz]
{rest}management: {{ socket: \"@SOCKET@\", journal: \"@SOCKET@.d/journal\" }}
",
        if last == first { String::new() } else { format!("manager: {first}, ") },
    )
}

/// The node's interfaces between LAN and DMZ.
pub const TWO_PORTS: &str = "  lan: { port: \"linux:in0\", addresses: [192.168.10.1/24] }
  dmz: { port: \"linux:dmz0\", addresses: [192.168.50.10/24], gateway: 192.168.50.1 }
";
/// The node's one interface, with the addresses of both sides.
pub const ONE_PORT: &str =
    "  dmz: { port: \"linux:dmz0\", addresses: [192.168.50.10/24, 192.168.10.1/24], gateway: 192.168.50.1 }
";
/// By that the two sides of one port are told apart.
pub const INSIDE: &str = "nat: { inside: [192.168.10.0/24] }\n";

/// Plays the scenario with the node between LAN and DMZ.
///
/// # Errors
/// As `play::play`.
pub fn play_behind(stage: &mut Stage) -> Result<Report, DemoError> {
    play(stage, BEHIND, Shape::BehindFirewall, &node_profile(TWO_PORTS, ""))
}

/// Plays the scenario with one port.
///
/// # Errors
/// As `play::play`.
pub fn play_one_arm(stage: &mut Stage) -> Result<Report, DemoError> {
    play(stage, ONE_ARM, Shape::SingleInterface, &node_profile(ONE_PORT, INSIDE))
}

fn play(stage: &mut Stage, name: &'static str, shape: Shape, node: &str) -> Result<Report, DemoError> {
    let node = Post { host: "node", called: "the node", profile: node.to_owned(), part: Part::Node };
    let posts = vec![dual_wan::router(router_profile(ON_DMZ)), node];
    play::play(stage, Plot { name, shape, posts, steps: dual_wan::STEPS, cables: &[] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::load;

    #[test]
    fn the_profiles_are_good() {
        let good = |text: &str| {
            let text = text.replace("@SOCKET@", "/run/turnout.sock");
            load(&text, "p.yaml").unwrap_or_else(|mistakes| panic!("{text}\n{mistakes}"))
        };
        let router = good(&router_profile(ON_DMZ));
        assert_eq!(router.interfaces[0].addresses[0].to_string(), "192.168.50.1/24");
        assert_eq!((router.name.as_str(), router.wans.len()), ("edge", 2));
        assert_eq!(good(&node_profile(TWO_PORTS, "")).interfaces.len(), 2);
        let one = good(&node_profile(ONE_PORT, INSIDE));
        assert_eq!((one.interfaces.len(), one.interfaces[1].arm), (2, Some(0)));
    }
}
