//! What was changed of an interface, on disk before it is changed, so that it can be undone after a kill -9.
//!
//! One file for each interface and network namespace. The router that holds the interface holds a lock (flock) on the
//! file: the kernel lets go of it however the process ends, so a file without a holder is a leftover to be mended. The
//! process id in it is for people.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::linux::LinuxError;

/// How an interface was before it was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    pub(super) pid: u32,
    pub(super) ifname: String,
    pub(super) ifindex: u32,
    pub(super) mac: String,
    pub(super) up: bool,
    pub(super) promisc: bool,
    /// The offloads that were on and have been turned off, by ethtool's names.
    pub(super) offloads: Vec<String>,
    /// The nftables table.
    pub(super) table: String,
}

/// The locked state file of one interface.
pub(super) struct StateFile {
    file: File,
    path: PathBuf,
}

impl StateFile {
    /// Locks the file, made if need be, and reads what a dead holder left in it.
    pub(super) fn lock(dir: &Path, ifname: &str) -> Result<(StateFile, Option<Before>), LinuxError> {
        let failed = |path: &Path, e: std::io::Error| LinuxError::State {
            path: path.display().to_string(),
            text: e.to_string(),
        };
        fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        let netns = fs::metadata("/proc/thread-self/ns/net").map_err(|e| failed(dir, e))?.ino();
        let path = dir.join(format!("linux-{netns}-{ifname}.json"));
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(|e| failed(&path, e))?;
            let held = match file.try_lock() {
                Ok(()) => false,
                Err(TryLockError::WouldBlock) => true,
                Err(TryLockError::Error(e)) => return Err(failed(&path, e)),
            };
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(|e| failed(&path, e))?;
            // Half a file was cut off before anything was changed: nothing to undo.
            let before: Option<Before> = serde_json::from_str(&text).ok();
            if held {
                return Err(LinuxError::Held { ifname: ifname.into(), pid: before.map_or(0, |b| b.pid) });
            }
            let mine = file.metadata().map_err(|e| failed(&path, e))?.ino();
            if fs::metadata(&path).is_ok_and(|m| m.ino() == mine) {
                return Ok((StateFile { file, path }, before));
            }
            // Its holder removed it between opening and locking: this lock holds nothing.
        }
    }

    /// Writes down how things were.
    pub(super) fn save(&mut self, before: &Before) -> Result<(), LinuxError> {
        let text = serde_json::to_string(before).unwrap_or_default();
        self.file
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .map_err(|e| LinuxError::State { path: self.path.display().to_string(), text: e.to_string() })
    }

    /// All is undone: the file goes, then the lock.
    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_refused_and_a_left_one_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let before = Before {
            pid: 42,
            ifname: "x0".into(),
            ifindex: 7,
            mac: "02:00:00:00:00:01".into(),
            up: true,
            promisc: false,
            offloads: vec!["generic-receive-offload".into()],
            table: "turnout_x0".into(),
        };
        let (mut file, left) = StateFile::lock(dir.path(), "x0").unwrap();
        assert_eq!(left, None);
        file.save(&before).unwrap();
        assert!(matches!(StateFile::lock(dir.path(), "x0"), Err(LinuxError::Held { pid: 42, .. })));
        assert!(StateFile::lock(dir.path(), "x1").is_ok());
        // As after a kill -9: the lock is gone, the file is there.
        drop(file);
        let (file, left) = StateFile::lock(dir.path(), "x0").unwrap();
        assert_eq!(left, Some(before));
        file.remove();
        drop(file);
        assert_eq!(StateFile::lock(dir.path(), "x0").unwrap().1, None);
    }
}
