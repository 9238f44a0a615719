//! The right to make network namespaces: had, or got by becoming root of a user namespace.
//!
//! `privileged` tries it, in a thread that is thrown away, because no capability bit tells what a container's filters
//! will say. Where it fails, `reexec` starts this very program again under `unshare`, as root of a fresh user namespace with
//! mounts and network of its own and a private `/run/netns`; the process keeps its pid, so signals and the exit status
//! need no forwarding. Everything made there vanishes with its last process.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use super::{LabError, netns};

/// Set in the environment of the second start, so that there is no third.
const MARK: &str = "TURNOUT_USER_NAMESPACE";

const PRIVATE_RUN: &str = "if [ -d /run/netns ]; then mount -t tmpfs tmpfs /run/netns; else mount -t tmpfs tmpfs /run; fi && exec \"$0\" \"$@\"";

/// Whether this process may make network namespaces.
///
/// # Errors
/// `LabError::Privilege` with the kernel's reason.
pub fn privileged() -> Result<(), LabError> {
    unshared().map_err(LabError::Privilege)
}

/// Makes a namespace for the length of a thread, or says why not.
fn unshared() -> Result<(), String> {
    match thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join() {
        Ok(made) => made.map_err(|e| e.desc().to_lowercase()),
        Err(_) => Err("the test of it failed".into()),
    }
}

/// Makes sure of the right: returns if it is there, else starts the program again inside a user namespace, and returns
/// only if that is impossible. To be called early, before threads and terminals.
///
/// # Errors
/// `LabError::Privilege` if the kernel does not let this user have it.
pub fn reexec() -> Result<(), LabError> {
    let Err(reason) = unshared() else { return Ok(()) };
    if std::env::var_os(MARK).is_some() {
        return Err(LabError::Privilege(reason));
    }
    netns::tools_installed()?;
    // Tried first with a small program: once replaced, this process could say nothing in its own words.
    let again = |program: &OsStr| {
        let mut command = netns::tool("unshare");
        command.args(["--user", "--map-root-user", "--net", "--mount", "sh", "-c", PRIVATE_RUN]).arg(program);
        command
    };
    match again(OsStr::new("ip")).args(["netns", "add", "trial"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(_) => return Err(LabError::Privilege(format!("{reason}, nor in a user namespace of one's own"))),
        Err(_) => return Err(LabError::Privilege(format!("{reason}, and `unshare` is missing"))),
    }
    let program =
        std::env::current_exe().map_err(|e| LabError::File(Path::new("/proc/self/exe").into(), e))?;
    let mut command = again(program.as_os_str());
    command.args(std::env::args_os().skip(1)).env(MARK, "1");
    Err(LabError::Privilege(format!("unshare: {}", command.exec())))
}
