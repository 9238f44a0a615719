//! A thread set apart from its process, for the programs that it starts: they get nothing of the router's.
//!
//! - Descriptors: the thread has a table of its own (unshare(2)) with nothing in it but standard input, output and error. What C code has
//!   opened without `O_CLOEXEC`, or will open while a program is being started, is in the router's table alone.
//! - Capabilities (capabilities(7)): none, but for those that root needs to become nobody and to kill what nobody has started.
//! - Privileges: no program can gain any, by no bit and no capability of a file (`no_new_privs`).
//!
//! In Linux all three belong to a thread, so the other threads keep what they have. It costs four system calls and one for each descriptor, once.

use std::io;
use std::os::fd::RawFd;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// The descriptors of the calling thread: `/proc/self` has those of the first one.
const DESCRIPTORS: &str = "/proc/thread-self/fd";

/// Sets the calling thread apart for good. It must own no descriptor. `changes_user`: it starts programs as another user than its own.
///
/// # Errors
/// What the system refuses; the thread must start nothing then.
pub(super) fn set_apart(changes_user: bool) -> io::Result<()> {
    unshare(CloneFlags::CLONE_FILES).map_err(|e| {
        let text = format!(
            "the router's descriptors cannot be kept from it: unshare(2): {e} (seccomp of a container?)"
        );
        io::Error::new(io::Error::from(e).kind(), text)
    })?;
    close_all()?;
    set_no_new_privs(true)?;
    drop_capabilities(changes_user)
}

/// Closes all but the standard three.
fn close_all() -> io::Result<()> {
    let number =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok();
    let open: Vec<RawFd> = std::fs::read_dir(DESCRIPTORS)?.filter_map(number).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The listing's own is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn drop_capabilities(changes_user: bool) -> io::Result<()> {
    let wanted = match changes_user {
        true => CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL,
        false => CapabilitySet::empty(),
    };
    let kept = capabilities(None)?.permitted & wanted;
    // With the inheritable ones the ambient ones go.
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::Command;

    use rustix::thread::configure_capability_in_ambient_set;

    /// What a shell that the calling thread starts has: its descriptors, then its status.
    fn child() -> String {
        let line = "ls -l /proc/$$/fd; grep -E '^(Cap|NoNewPrivs)' /proc/$$/status";
        let out = Command::new("/bin/sh").args(["-c", line]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    fn line<'a>(of: &'a str, key: &str) -> &'a str {
        let found = of.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("?");
        found.trim_start_matches(':').trim()
    }

    #[test]
    fn what_a_thread_apart_starts_has_no_descriptor_of_the_process_and_no_capability() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        // As C code opens it: inherited.
        let mut open = std::fs::File::from(nix::unistd::dup(std::fs::File::create(&path).unwrap()).unwrap());
        let work = |apart: bool| {
            // Who is root has it, others cannot be given any.
            let all = capabilities(None).unwrap();
            let raw = CapabilitySet::NET_RAW;
            let given = set_capabilities(None, CapabilitySets { inheritable: raw, ..all })
                .and_then(|()| configure_capability_in_ambient_set(raw, true))
                .is_ok();
            if apart {
                set_apart(false).unwrap();
            }
            (given, child())
        };
        let threads = [false, true].map(|apart| std::thread::spawn(move || work(apart)).join().unwrap());
        let [(given, before), (_, after)] = threads;
        assert!(before.contains("secret") && !after.contains("secret"), "{before}{after}");
        if given {
            assert_ne!(line(&before, "CapAmb"), "0000000000000000", "{before}");
        }
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(line(&after, set), "0000000000000000", "{after}");
        }
        assert_eq!((line(&before, "NoNewPrivs"), line(&after, "NoNewPrivs")), ("0", "1"));
        // The process has what it had.
        open.write_all(b"x").unwrap();
        assert!(child().contains("secret"));
    }
}
