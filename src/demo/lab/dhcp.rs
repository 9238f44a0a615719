//! A DHCP server in a firewall of the lab: dnsmasq, which gives the member behind it one address, and itself as the router.
#![forbid(unsafe_code)]

use std::process::{Child, Stdio};

use super::{Lab, LabError, netns};

/// Where the server is, and what it serves.
const HOST: &str = "fw1";
const PORT: &str = "dmz";
/// What it gives.
pub const LEASED: &str = "192.168.51.10";
const ROUTER: &str = "192.168.51.1";
const PROGRAM: &str = "dnsmasq";

/// A running server; it ends with this.
#[derive(Debug)]
pub struct Leases(Child);

impl Lab {
    /// Starts a DHCP server in the first firewall.
    ///
    /// # Errors
    /// If the lab has no firewall, or there is no dnsmasq.
    pub fn serve_dhcp(&self) -> Result<Leases, LabError> {
        netns::installed(PROGRAM, "dnsmasq-base")?;
        let leases = format!("--dhcp-leasefile={}", self.dir().join("leases").display());
        let mut command = self.host(HOST)?.command("setpriv");
        command.args(["--pdeathsig", "KILL", PROGRAM, "-k", "--conf-file=/dev/null", "--port=0"]);
        command.args([
            "--user=root",
            "--no-ping",
            "--dhcp-authoritative",
            "--bind-interfaces",
            "--pid-file=",
        ]);
        command.arg(leases).arg(format!("--interface={PORT}"));
        command.arg(format!("--dhcp-range={LEASED},{LEASED},255.255.255.0,1h"));
        command.arg(format!("--dhcp-option=3,{ROUTER}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|e| LabError::Tool(PROGRAM.to_owned(), e.to_string()))?;
        Ok(Leases(child))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
