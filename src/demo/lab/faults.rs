//! What goes wrong on a line, and how it is mended.
//!
//! Two ways for a line to die: `link_down` takes the ISP's end of the cable down, so that the router loses its carrier;
//! `blackhole` leaves the carrier and drops every frame in both directions at the ISP's end, ARP included, so that
//! only silence tells. `link_up` and `heal` undo them. Addresses survive a link that goes down and its connected route
//! comes back with it; no other route of an ISP uses that link, so nothing needs to be restored by hand.
//!
//! What goes wrong behind a gateway that still answers is a `Fault`: a table of its own among the ISP's filters, so that several
//! stand side by side and each is mended alone. The ISP's own address answers whatever its faults.
//!
//! Each call returns the moment just before the fault was asked for: times measured from it are never flattered.
#![forbid(unsafe_code)]

use std::net::Ipv4Addr;

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

/// What goes wrong behind an ISP's gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The ISP forwards nothing, and says nothing.
    DeadInternet,
    /// The ISP forwards nothing, and says so by ICMP (network unreachable).
    Refused,
    /// Nothing gets to this address.
    DeadTarget(Ipv4Addr),
    /// So many in a hundred packets towards the internet are lost, at random.
    Loss(u8),
    /// Every packet from the internet comes twice.
    Twice,
    /// Whoever asks a web server (TCP port 80) gets the ISP's own, which the caller must run.
    Portal,
}

impl Fault {
    fn table(self) -> String {
        match self {
            Fault::DeadInternet => "dead_internet".into(),
            Fault::Refused => "refused".into(),
            Fault::DeadTarget(target) => format!("dead_{:08x}", target.to_bits()),
            Fault::Loss(_) => "loss".into(),
            Fault::Twice => "twice".into(),
            Fault::Portal => "portal".into(),
        }
    }

    /// What the table does; `router` is the router's address on this line.
    fn rules(self, router: Ipv4Addr) -> String {
        let forward = |rule: &str| format!("type filter hook forward priority 0; {rule}");
        let chain = match self {
            Fault::DeadInternet => forward("drop;"),
            Fault::Refused => {
                forward(&format!("iifname \"{ISP_PORT}\" reject with icmp type net-unreachable; drop;"))
            }
            Fault::DeadTarget(target) => forward(&format!("ip daddr {target} drop;")),
            Fault::Loss(percent) => {
                forward(&format!("iifname \"{ISP_PORT}\" numgen random mod 100 < {percent} drop;"))
            }
            Fault::Twice => {
                forward(&format!("oifname \"{ISP_PORT}\" dup to {router} device \"{ISP_PORT}\";"))
            }
            Fault::Portal => format!(
                "type nat hook prerouting priority -100; iifname \"{ISP_PORT}\" tcp dport 80 redirect to :80;"
            ),
        };
        format!("table ip {} {{ chain only {{ {chain} }}; }}\n", self.table())
    }
}

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
        self.filter(isp, CUT)
    }

    /// Lets frames pass again after `blackhole`.
    ///
    /// # Errors
    /// As `blackhole`; also if there was no blackhole.
    pub fn heal(&self, isp: &str) -> Result<Nanos, LabError> {
        self.filter(isp, "delete table netdev cut\n")
    }

    /// Pulls the cable out of a router's port: its other end goes down. Returns when it began.
    ///
    /// # Errors
    /// If the lab has no such cable, or `ip` fails.
    pub fn unplug(&self, host: &str, port: &str) -> Result<Nanos, LabError> {
        self.cable_end(host, port, "down")
    }

    /// Puts it back.
    ///
    /// # Errors
    /// As `unplug`.
    pub fn plug(&self, host: &str, port: &str) -> Result<Nanos, LabError> {
        self.cable_end(host, port, "up")
    }

    fn cable_end(&self, host: &str, port: &str, state: &str) -> Result<Nanos, LabError> {
        let other = self.shape.other_end(host, port);
        let (other, end) = other.ok_or_else(|| LabError::NoHost(format!("{host} {port}")))?;
        let netns = self.host(other)?;
        let at = clock::now();
        netns.ip(&format!("link set {end} {state}\n"))?;
        Ok(at)
    }

    /// Begins a fault at an ISP. Returns when it began.
    ///
    /// # Errors
    /// If the lab has no such ISP, or `nft` fails.
    pub fn fault(&self, isp: &str, fault: Fault) -> Result<Nanos, LabError> {
        let router = if isp == "isp1" { super::WAN1 } else { super::WAN2 };
        self.filter(isp, &fault.rules(router))
    }

    /// Ends a fault at an ISP.
    ///
    /// # Errors
    /// As `fault`; also if there was no such fault.
    pub fn mend(&self, isp: &str, fault: Fault) -> Result<Nanos, LabError> {
        self.filter(isp, &format!("delete table ip {}\n", fault.table()))
    }

    fn filter(&self, isp: &str, lines: &str) -> Result<Nanos, LabError> {
        let netns = self.host(isp)?;
        let at = clock::now();
        netns.output("nft", &["-f", "-"], lines)?;
        Ok(at)
    }
}
