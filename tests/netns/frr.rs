//! FRR's bfdd as the ISP's end of a BFD session (Debian's package `frr`), configured by a file and asked by vtysh.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use turnout::demo::lab::Lab;

use crate::netns::{eventually, output_within, skipped, stderr, stdout};

const BFDD: &str = "/usr/lib/frr/bfdd";

/// Whether it is there; says so if not.
pub fn installed() -> bool {
    let there = Path::new(BFDD).exists();
    if !there {
        skipped(format!("no {BFDD}; the package is frr"));
    }
    there
}

/// A bfdd in an ISP's namespace that talks to the router.
pub struct Bfdd {
    child: Child,
    folder: PathBuf,
}

impl Bfdd {
    /// Starts it, with a session to `peer`.
    pub fn start(lab: &Lab, isp: &str, peer: &str, every_ms: u32) -> Bfdd {
        // It runs as a user of its own, who has to get at its folder.
        fs::set_permissions(lab.dir(), Permissions::from_mode(0o711)).unwrap();
        let folder = lab.dir().join("frr");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let text = format!(
            "bfd\n peer {peer}\n  detect-multiplier 3\n  receive-interval {every_ms}\n  \
             transmit-interval {every_ms}\n exit\nexit\n"
        );
        fs::write(folder.join("bfdd.conf"), text).unwrap();
        let mut command = lab.host(isp).unwrap().command(BFDD);
        for (option, file) in
            [("-f", "bfdd.conf"), ("-i", "pid"), ("-z", "zserv"), ("--vty_socket", ""), ("--bfdctl", "ctl")]
        {
            command.arg(option).arg(folder.join(file));
        }
        command.args(["-A", "127.0.0.1", "-P", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let bfdd = Bfdd { child: command.spawn().unwrap(), folder };
        assert!(eventually(Duration::from_secs(5), || bfdd.folder.join("bfdd.vty").exists()), "no bfdd");
        bfdd
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// What it says to lines of its own language.
    pub fn vtysh(&self, lines: &[&str]) -> String {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(&self.folder);
        for line in lines {
            command.arg("-c").arg(line);
        }
        let out = output_within(command, Duration::from_secs(5));
        assert!(out.status.success(), "{lines:?}: {}", stderr(&out));
        stdout(&out)
    }

    /// Waits until the session is so, as bfdd sees it.
    pub fn sees(&self, status: &str) {
        let so = || self.vtysh(&["show bfd peers"]).contains(&format!("Status: {status}"));
        assert!(eventually(Duration::from_secs(8), so), "{}", self.vtysh(&["show bfd peers"]));
    }
}

impl Drop for Bfdd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
