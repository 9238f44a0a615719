//! What a member of a pair keeps on disk: who is preferred, and the boot id that it used last.
//!
//! A thread of its own writes and syncs it: a slow disk must not look like a dead line. Written aside and moved into place, so that a crash
//! leaves the old or the new. The partner hears of a preference only when it is kept (`Member`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::cluster::Kept;

/// Orders that wait for the disk, at most; of more the member waits itself.
const ORDERS: usize = 16;

/// Where what is to be kept comes out, for whoever writes it.
#[derive(Debug)]
pub struct Disk {
    orders: Receiver<Kept>,
    done: Sender<Result<(), String>>,
}

impl Disk {
    /// What is to be kept next, if it was said already.
    pub fn poll(&self) -> Option<Kept> {
        self.orders.try_recv().ok()
    }

    /// How the oldest order that was not told of has ended. False: nobody listens any more.
    pub fn ended(&self, ended: Result<(), String>) -> bool {
        self.done.send(ended).is_ok()
    }
}

/// The manager's end of the thread that writes. It ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    orders: Option<Sender<Kept>>,
    done: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// The file of a member in a folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("cluster.json")
    }

    /// What an earlier run has left there.
    ///
    /// # Errors
    /// It is there, and cannot be read or understood. To go on without it could revive an old preference.
    pub fn read(path: &Path) -> io::Result<Option<Kept>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(path: PathBuf) -> io::Result<Keeper> {
        let (mut keeper, disk) = Keeper::connect();
        let keep = move || {
            for kept in &disk.orders {
                let said = write(&path, &kept).map_err(|e| format!("cannot keep {}: {e}", path.display()));
                if !disk.ended(said) {
                    return;
                }
            }
        };
        keeper.thread = Some(std::thread::Builder::new().name("cluster".into()).spawn(keep)?);
        Ok(keeper)
    }

    /// A keeper, and its disk: somebody else does the writing.
    pub fn connect() -> (Keeper, Disk) {
        let (orders, to_keep) = bounded(ORDERS);
        let (done, reports) = bounded(ORDERS);
        let keeper = Keeper { orders: Some(orders), done: reports, thread: None };
        (keeper, Disk { orders: to_keep, done })
    }

    /// Keeps this in place of what was kept. False: the disk is far behind.
    pub(super) fn keep(&self, kept: Kept) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(kept).is_ok())
    }

    /// How the oldest order that was not told yet has ended.
    pub(super) fn ended(&self) -> Option<Result<(), String>> {
        self.done.try_recv().ok()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Name, Preference};

    #[test]
    fn what_was_kept_is_there_at_the_next_start_and_what_is_torn_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = Keeper::path(&folder.path().join("journal"));
        assert!(Keeper::read(&path).unwrap().is_none());
        let kept = Kept { preference: Preference { version: 3, member: Name::cut("b") }, boot: 7 };
        let keeper = Keeper::start(path.clone()).unwrap();
        assert!(keeper.keep(kept));
        assert_eq!(keeper.done.recv().unwrap(), Ok(()));
        assert_eq!(Keeper::read(&path).unwrap(), Some(kept));
        drop(keeper);
        fs::write(&path, b"{").unwrap();
        assert!(Keeper::read(&path).is_err());
    }
}
