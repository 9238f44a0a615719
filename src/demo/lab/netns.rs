//! One network namespace: its name, threads that live in it, commands that run in it.
//!
//! A namespace is a property of a thread, so `spawn` moves a fresh thread into it; every socket that the thread opens
//! belongs there for good, whichever thread uses it later. Child processes get there through `ip netns exec`, which
//! becomes the program it starts: the pid that `Command` reports is the program's own.
//!
//! All changes of addresses, links and routes go through `ip -batch`, many lines to a process: a lab of seven
//! namespaces takes a dozen processes and a fraction of a second.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, setns};

use super::LabError;

/// A named network namespace. Cloning clones the name; the lab that made it removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    name: Arc<str>,
}

impl Netns {
    /// A handle on the namespace `name`, whether it exists or not.
    pub(super) fn named(name: &str) -> Netns {
        Netns { name: Arc::from(name) }
    }

    /// The name, as `ip netns list` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a thread inside the namespace. When this returns `Ok`, the thread is there and `work` has begun.
    ///
    /// # Errors
    /// If the namespace is gone or may not be entered; `work` has not run then.
    pub fn spawn<T, F>(&self, work: F) -> Result<Inside<T>, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let file = File::open(self.path()).map_err(|e| self.refused(&e))?;
        let (tell, told) = mpsc::sync_channel(1);
        let label = self.name.rsplit('-').next().unwrap_or("netns").to_owned();
        let handle = thread::Builder::new()
            .name(label)
            .spawn(move || {
                let entered = setns(&file, CloneFlags::CLONE_NEWNET);
                let fit = entered.is_ok();
                let _ = tell.send(entered);
                // Never in the wrong namespace; the caller has its error then and no handle.
                if fit { Some(work()) } else { None }
            })
            .map_err(|e| self.refused(&e))?;
        match told.recv() {
            Ok(Ok(())) => Ok(Inside { handle, netns: self.clone() }),
            Ok(Err(e)) => Err(self.refused(&e)),
            Err(e) => Err(self.refused(&e)),
        }
    }

    /// Runs `work` inside the namespace and waits for it.
    ///
    /// # Errors
    /// As `spawn`, and if `work` panics.
    pub fn run<T, F>(&self, work: F) -> Result<T, LabError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.spawn(work)?.join()
    }

    /// A command that will run inside the namespace (and see its `/sys`).
    pub fn command(&self, program: &str) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", self.name(), program]);
        command
    }

    /// Runs `program` inside the namespace, feeds it `input`, and returns what it printed.
    ///
    /// # Errors
    /// If it does not start or does not exit with 0; the error carries its first complaint.
    pub fn output(&self, program: &str, args: &[&str], input: &str) -> Result<String, LabError> {
        let mut command = self.command(program);
        command.args(args);
        finish(command, program, input)
    }

    /// Runs lines of `ip -batch` inside the namespace.
    ///
    /// # Errors
    /// With the first line that `ip` refused.
    pub fn ip(&self, lines: &str) -> Result<(), LabError> {
        let mut command = tool("ip");
        command.args(["-n", self.name(), "-batch", "-"]);
        finish(command, "ip", lines).map(drop)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name())
    }

    fn refused(&self, why: &dyn std::fmt::Display) -> LabError {
        LabError::Namespace(self.name().to_owned(), why.to_string())
    }
}

/// A thread that lives in a namespace.
#[derive(Debug)]
pub struct Inside<T> {
    handle: JoinHandle<Option<T>>,
    netns: Netns,
}

impl<T> Inside<T> {
    /// Waits for the thread and takes what it returned.
    ///
    /// # Errors
    /// If it panicked.
    pub fn join(self) -> Result<T, LabError> {
        match self.handle.join() {
            Ok(Some(value)) => Ok(value),
            _ => Err(self.netns.refused(&"a thread in it panicked")),
        }
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// Runs lines of `ip -batch` outside of any lab namespace; with `force` it goes on after a line that fails.
pub(super) fn ip_batch(lines: &str, force: bool) -> Result<String, LabError> {
    let mut command = tool("ip");
    if force {
        command.arg("-force");
    }
    command.args(["-batch", "-"]);
    finish(command, "ip", lines)
}

/// The programs that a lab needs, with the packages that have them.
const TOOLS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("nft", "nftables"), ("ethtool", "ethtool"), ("setpriv", "util-linux")];

/// Says which of the programs is missing, before anything is built.
pub(super) fn tools_installed() -> Result<(), LabError> {
    TOOLS.iter().try_for_each(|(program, package)| installed(program, package))
}

/// Says so if a program is missing.
pub(super) fn installed(program: &str, package: &str) -> Result<(), LabError> {
    if std::env::split_paths(&search_path()).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    let why = format!("not installed; the package is {package}");
    Err(LabError::Tool(program.to_owned(), why))
}

/// A command of the system; a user's PATH often lacks the folders of administration.
pub(super) fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path());
    command
}

fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Starts `command`, writes `input`, waits, and turns a failure into one line.
pub(super) fn finish(mut command: Command, program: &str, input: &str) -> Result<String, LabError> {
    let failed = |why: String| LabError::Tool(program.to_owned(), why);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that fails early closes its input: what it says then is the better error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let first = stderr.lines().map(str::trim).find(|line| !line.is_empty());
    Err(failed(first.map_or_else(|| output.status.to_string(), str::to_owned)))
}
