//! What a killed process left behind, removed.
//!
//! A leftover is a namespace `turnout-PID-N-HOST` (or a folder `turnout-PID-N` among the temporary files) whose PID is no
//! living process, or is this process although it has not built anything yet. The processes that still run inside such
//! a namespace are ended first: they are children of that dead process, and nobody else has any business there.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Once;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns;

static SWEPT: Once = Once::new();

/// Removes leftovers, once in the life of this process and before it builds its first lab.
pub(super) fn once() {
    SWEPT.call_once(|| {
        namespaces();
        folders();
    });
}

fn namespaces() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    let mut lines = String::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_leftover(name, alive) {
            end_processes(name);
            let _ = writeln!(lines, "netns del {name}");
        }
    }
    if !lines.is_empty() {
        let _ = netns::ip_batch(&lines, true);
    }
}

fn folders() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| is_leftover(name, alive)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn end_processes(name: &str) {
    let mut command = netns::tool("ip");
    command.args(["netns", "pids", name]);
    let Ok(pids) = netns::finish(command, "ip", "") else { return };
    for pid in pids.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid > 1) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn alive(pid: u32) -> bool {
    pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists()
}

/// Whether `name` is `turnout-PID-N` or `turnout-PID-N-HOST` of a process that is not alive.
fn is_leftover(name: &str, alive: impl Fn(u32) -> bool) -> bool {
    let mut parts = name.split('-');
    let ours = parts.next() == Some("turnout");
    let pid = parts.next().and_then(|part| part.parse::<u32>().ok());
    let number = parts.next().and_then(|part| part.parse::<u32>().ok());
    match (ours, pid, number) {
        (true, Some(pid), Some(_)) => !alive(pid),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_leftover;

    #[test]
    fn only_the_names_of_dead_processes_are_leftovers() {
        let alive = |pid| pid == 100;
        assert!(is_leftover("turnout-99-0-lan1", alive));
        assert!(is_leftover("turnout-99-3", alive));
        for kept in [
            "turnout-100-0-lan1",
            "turnout-x-0-lan1",
            "turnout-99",
            "turnout-demo-99-0",
            "lan1",
            "other-99-0",
        ] {
            assert!(!is_leftover(kept, alive), "{kept}");
        }
    }
}
