//! A laboratory of network namespaces: LAN hosts, two ISPs, an internet host, and a place for the router between them.
//!
//! ```text
//!  lan1 .10 ┐                     ┌─ isp1 203.0.113.1 ──┐
//!           ├ lan (bridge) ─ router                      ├─ inet 9.9.9.9
//!  lan2 .11 ┘                     └─ isp2 198.51.100.1 ─┘
//! ```
//!
//! Invariants: names are `turnout-PID-N-HOST`, so labs never meet; whatever was made is removed on drop; what a killed
//! process left behind is removed before the next lab is built, with the processes still inside. The router's ends
//! (`lan0`, `isp1`, `isp2`) have no address and no IPv6; the ends opposite to them send finished checksums and no
//! oversized frames. Nothing outside the namespaces is touched, and no address outside of them is ever spoken to.
//!
//! The integration tests use this lab as the demo does: `Lab::dual_wan`, `start_router`, the faults, `host(..).run`.
#![forbid(unsafe_code)]

mod dhcp;
mod faults;
mod netns;
mod places;
mod privilege;
mod router;
mod shape;
mod sweep;

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub use dhcp::{LEASED, Leases};
pub use faults::{Fault, ISP_PORT};
pub use netns::{Inside, Netns};
pub use privilege::{privileged, reexec};
pub use router::{Router, Stop};
pub use shape::Shape;

/// The first LAN host.
pub const LAN1: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);
/// The second LAN host.
pub const LAN2: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 11);
/// The router's address on the first ISP's line.
pub const WAN1: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The router's address on the second ISP's line.
pub const WAN2: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// The internet host's addresses; the first is the one that the demo talks to.
pub const INTERNET: [Ipv4Addr; 3] =
    [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)];

/// Why the lab or the router in it could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No right to make namespaces, and none to be got.
    #[error("network namespaces cannot be made here ({0}): run as root, or with CAP_SYS_ADMIN")]
    Privilege(String),
    /// A tool failed or is missing.
    #[error("{0}: {1}")]
    Tool(String, String),
    /// A namespace cannot be used.
    #[error("namespace {0}: {1}")]
    Namespace(String, String),
    /// No host of that name in this lab.
    #[error("the lab has no host `{0}`")]
    NoHost(String),
    /// A file of the lab cannot be written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The router ended or never got ready.
    #[error("the router {0}")]
    Router(String),
    /// The system refused a socket.
    #[error("a socket in the lab: {0}")]
    Socket(#[from] std::io::Error),
    /// A signal asked for the end.
    #[error("interrupted")]
    Interrupted,
}

/// A built lab. Dropping it removes every namespace and file of it, and ends what still runs inside.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<(&'static str, Netns)>,
    dir: PathBuf,
    shape: Shape,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Builds the lab of a site with two ISPs. Host names: `lan1 lan2 lan router isp1 isp2 inet`.
    ///
    /// # Errors
    /// If this process may not make namespaces, or a tool is missing (`ip`, `ethtool`, `nft`); nothing is left then.
    pub fn dual_wan() -> Result<Lab, LabError> {
        Lab::build(Shape::DualWan)
    }

    /// Builds a lab of this shape. With a node there is a host `node` as well, with a pair `a` and `b`.
    ///
    /// # Errors
    /// As `dual_wan`.
    pub fn build(shape: Shape) -> Result<Lab, LabError> {
        netns::tools_installed()?;
        privileged()?;
        sweep::once();
        let prefix = format!("turnout-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&prefix);
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(|e| LabError::File(dir.clone(), e))?;
        let hosts = shape.hosts().into_iter().map(|h| (h, Netns::named(&format!("{prefix}-{h}")))).collect();
        // From here on an early return drops the lab, which removes what is there.
        let lab = Lab { hosts, dir, shape };
        lab.cable()?;
        lab.configure()?;
        Ok(lab)
    }

    /// The namespace of a host.
    ///
    /// # Errors
    /// If there is no such host.
    pub fn host(&self, name: &str) -> Result<&Netns, LabError> {
        let found = self.hosts.iter().find(|(host, _)| *host == name);
        found.map(|(_, netns)| netns).ok_or_else(|| LabError::NoHost(name.to_owned()))
    }

    /// The lab's private folder, removed with it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the router's control socket is to be.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("turnout.sock")
    }

    /// All namespaces and all cables, in one process.
    fn cable(&self) -> Result<(), LabError> {
        let mut lines = String::new();
        for (_, netns) in &self.hosts {
            let _ = writeln!(lines, "netns add {}", netns.name());
        }
        // The kernel tells of a carrier at once where the two ends' numbers differ, else up to a second later.
        for ((a, a_end, b, b_end), index) in self.shape.cables().into_iter().zip((10..).step_by(2)) {
            let (a, b) = (self.host(a)?.name(), self.host(b)?.name());
            let _ = writeln!(
                lines,
                "link add {a_end} index {index} netns {a} type veth peer name {b_end} index {} netns {b}",
                index + 1
            );
        }
        netns::ip_batch(&lines, false).map(drop)
    }

    /// Addresses, routes and switches of every host.
    fn configure(&self) -> Result<(), LabError> {
        for (name, netns) in &self.hosts {
            let host = *name;
            netns.run(move || places::switches(host))?.map_err(|e| {
                LabError::Namespace(netns.name().to_owned(), format!("a kernel setting was refused: {e}"))
            })?;
            netns.ip(&places::lines(self.shape, host))?;
            if places::is_firewall(host) {
                netns.output("nft", &["-f", "-"], places::MASQUERADE)?;
            }
        }
        // A frame that leaves a veth with its checksum left to the hardware would reach the router unfinished.
        for (name, port) in self.shape.opposite() {
            let off = ["-K", port, "tx", "off", "tso", "off", "gso", "off", "gro", "off"];
            self.host(name)?.output("ethtool", &off, "")?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let names: Vec<String> = self.hosts.iter().map(|(_, netns)| netns.name().to_owned()).collect();
        sweep::remove(&names);
        let _ = fs::remove_dir_all(&self.dir);
    }
}
