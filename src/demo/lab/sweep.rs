//! Labs removed: one's own at its end, and what a killed process left behind.
//!
//! A leftover is a namespace `turnout-PID-N-HOST` (or a folder `turnout-PID-N` among the temporary files) whose PID is no
//! living process, or is this process although it has not built anything yet. Processes that still run inside a
//! namespace are ended before it is removed: they were started there by the lab's owner, and nobody else has business there.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Once;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns;

const FOLDER: &str = "/run/netns";

static SWEPT: Once = Once::new();

/// Removes leftovers, once in the life of this process and before it builds its first lab.
pub(super) fn once() {
    SWEPT.call_once(|| {
        namespaces();
        folders();
    });
}

fn namespaces() {
    let Ok(entries) = std::fs::read_dir(FOLDER) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let leftovers: Vec<String> = names.filter(|name| is_leftover(name, alive)).collect();
    remove(&leftovers);
}

/// Ends every process in these namespaces, then removes them; those that do not exist are passed over.
pub(super) fn remove(names: &[String]) {
    if names.is_empty() {
        return;
    }
    end_processes(names);
    let lines: String = names.iter().map(|name| format!("netns del {name}\n")).collect();
    // With `force` it goes on after one that is missing; complaints are of no use here.
    let _ = netns::ip_batch(&lines, true);
}

fn folders() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| is_leftover(name, alive)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn end_processes(names: &[String]) {
    let inode = |path: &Path| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let doomed: Vec<_> = names.iter().filter_map(|name| inode(&Path::new(FOLDER).join(name))).collect();
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        let pid = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = pid.filter(|pid| *pid > 1 && !is_own(*pid)) else { continue };
        if inode(&process.path().join("ns/net")).is_some_and(|inside| doomed.contains(&inside)) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn is_own(pid: i32) -> bool {
    u32::try_from(pid).is_ok_and(|pid| pid == std::process::id())
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
