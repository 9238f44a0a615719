//! What goes wrong on a line, and how it is mended.
//!
//! Two ways to die: `link_down` takes the ISP's end of the cable down, so that the router loses its carrier;
//! `blackhole` leaves the carrier and drops every frame in both directions at the ISP's end, ARP included, so that
//! only silence tells. `link_up` and `heal` undo them. Addresses survive a link that goes down and its connected route
//! comes back with it; no other route of an ISP uses that link, so nothing needs to be restored by hand.
//!
//! Each call returns the moment just before the fault was asked for: times measured from it are never flattered.
#![forbid(unsafe_code)]

use super::{Lab, LabError};
use crate::base::Nanos;
use crate::demo::clock;

/// The interface, in an ISP's namespace, that looks towards the router.
pub const ISP_PORT: &str = "wan";

const CUT: &str = "\
table netdev cut {
  chain towards_isp { type filter hook ingress device \"wan\" priority -500; policy drop; }
  chain towards_router { type filter hook egress device \"wan\" priority -500; policy drop; }
}
";

impl Lab {
    /// Takes the ISP's end of the line down: carrier loss at the router. Returns when it began.
    ///
    /// # Errors
    /// If the lab has no such ISP, or `ip` fails.
    pub fn link_down(&self, isp: &str) -> Result<Nanos, LabError> {
        let netns = self.host(isp)?;
        let at = clock::now();
        netns.ip(&format!("link set {ISP_PORT} down\n"))?;
        Ok(at)
    }

    /// Brings the ISP's end of the line up again.
    ///
    /// # Errors
    /// As `link_down`.
    pub fn link_up(&self, isp: &str) -> Result<Nanos, LabError> {
        let netns = self.host(isp)?;
        let at = clock::now();
        netns.ip(&format!("link set {ISP_PORT} up\n"))?;
        Ok(at)
    }

    /// Drops every frame on the ISP's end of the line, both ways, with the carrier left up.
    ///
    /// # Errors
    /// If the lab has no such ISP, or `nft` fails.
    pub fn blackhole(&self, isp: &str) -> Result<Nanos, LabError> {
        let netns = self.host(isp)?;
        let at = clock::now();
        netns.output("nft", &["-f", "-"], CUT)?;
        Ok(at)
    }

    /// Lets frames pass again after `blackhole`.
    ///
    /// # Errors
    /// As `blackhole`; also if there was no blackhole.
    pub fn heal(&self, isp: &str) -> Result<Nanos, LabError> {
        let netns = self.host(isp)?;
        let at = clock::now();
        netns.output("nft", &["delete", "table", "netdev", "cut"], "")?;
        Ok(at)
    }
}
