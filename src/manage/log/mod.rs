//! The log of mappings (`nat.log`): a thread that takes the workers' records out of their rings and writes lines to a file.
//!
//! Nobody waits for it. It is at work every `BEAT`, so that a line is in its file a moment after its record; what it cannot write
//! it keeps, says so once as an event, and tries again every `RETRY`. Meanwhile the rings fill up, and the workers count
//! what they lose. Whatever a disk does, the management thread and the workers never touch it.

mod files;
mod lines;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use rtrb::Consumer;

use crate::base::Nanos;
use crate::nat::Nat;
use crate::nat::log::{Record, ring};
use crate::profile::Profile;
use files::Files;
pub use files::{FILES, NAME, SIZE};
pub use lines::Lines;

/// The rings are emptied this often.
const BEAT: Duration = Duration::from_millis(50);
/// What failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end waits for a disk.
const PATIENCE: Duration = Duration::from_secs(1);
/// Records that are written at a time.
const BATCH: usize = 2048;
/// Reports that wait for the management thread.
const REPORTS: usize = 16;

/// Writing has failed (`Some`), or goes on after that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The folder
    pub folder: PathBuf,
    /// Why
    pub error: Option<String>,
}

/// The running thread. When this goes, what is in the rings is written first, as far as the disk is ready for it.
#[derive(Debug)]
pub struct Writer {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
    /// How writing goes
    pub reports: Receiver<Report>,
}

/// The managing end of every worker's log, and what it takes to write it.
#[derive(Debug)]
pub struct Logs {
    /// The rings, by `WorkerId`
    pub from: Vec<Consumer<Record>>,
    /// The names of the WANs, by `WanId`
    pub wan_names: Vec<String>,
    /// Where the files are
    pub folder: PathBuf,
}

/// Gives each worker's NAT a log, if the profile wants one.
pub fn connect<'a>(profile: &Profile, nats: impl Iterator<Item = &'a mut Nat>) -> Option<Logs> {
    if !profile.nat.log.mappings {
        return None;
    }
    let connect = |nat: &mut Nat| {
        let (to, from) = ring();
        nat.log_to(to);
        from
    };
    let name = |w: &crate::profile::Wan| profile.interfaces[w.interface].name.clone();
    Some(Logs {
        from: nats.map(connect).collect(),
        wan_names: profile.wans.iter().map(name).collect(),
        folder: profile.management.journal.clone(),
    })
}

impl Logs {
    /// Starts to write. `now` is the clock of the records.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(self, now: fn() -> Nanos) -> std::io::Result<Writer> {
        let (stop, stopped) = bounded(0);
        let (tell_end, ended) = bounded(0);
        let (report, reports) = bounded(REPORTS);
        let mut thread = Thread {
            files: Files::new(&self.folder, SIZE),
            lines: Lines::new(&self.wan_names),
            logs: self,
            now,
            text: Vec::new(),
            failing: false,
            report,
        };
        let work = move || {
            thread.run(&stopped);
            drop::<Sender<()>>(tell_end);
        };
        std::thread::Builder::new().name("nat-log".into()).spawn(work)?;
        Ok(Writer { stop: Some(stop), ended, reports })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop = None;
        // A disk that hangs must not keep the router from its end.
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

struct Thread {
    logs: Logs,
    files: Files,
    lines: Lines,
    now: fn() -> Nanos,
    /// Lines that are not written yet
    text: Vec<u8>,
    failing: bool,
    report: Sender<Report>,
}

impl Thread {
    fn run(&mut self, stopped: &Receiver<()>) {
        let now = self.set_clock();
        self.lines.mark(&mut self.text, now, "start");
        loop {
            // Asked before the rings are: what was in them at the end is written.
            let over = stopped.try_recv() == Err(TryRecvError::Disconnected);
            let more = self.text.is_empty() && self.take();
            self.write();
            if over && (self.failing || !more) {
                break;
            }
            let pause = match (self.failing, more) {
                (true, _) => RETRY,
                (false, true) => continue,
                (false, false) => BEAT,
            };
            // The end of the pause, or of everything: the next round sees which.
            let _ = stopped.recv_timeout(pause);
        }
        let now = self.set_clock();
        self.lines.mark(&mut self.text, now, "stop");
        self.write();
    }

    fn set_clock(&mut self) -> Nanos {
        let now = (self.now)();
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.lines.set_clock(day.unwrap_or_default(), now);
        now
    }

    /// Makes lines of some records; gives whether there were any.
    fn take(&mut self) -> bool {
        self.set_clock();
        for (worker, ring) in self.logs.from.iter_mut().enumerate() {
            for _ in 0..BATCH {
                let Ok(record) = ring.pop() else { break };
                self.lines.line(&mut self.text, worker, &record);
            }
        }
        !self.text.is_empty()
    }

    fn write(&mut self) {
        let error = self.files.write(&mut self.text).err();
        if error.is_some() != self.failing {
            self.failing = error.is_some();
            let report = Report { folder: self.logs.folder.clone(), error: error.map(|e| e.to_string()) };
            // Nobody may hear it any more.
            let _ = self.report.try_send(report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nat::log::What;
    use serde_json::Value;
    use std::path::Path;

    fn now() -> Nanos {
        Nanos::from_s(7)
    }

    fn start(folder: &Path, from: Vec<Consumer<Record>>) -> Writer {
        Logs { from, wan_names: vec!["isp1".into()], folder: folder.to_path_buf() }.start(now).unwrap()
    }

    fn record(port: u16) -> Record {
        let what = What::Created { moved: false };
        let (inside, outside) = (([10, 0, 0, 1].into(), port), ([203, 0, 113, 2].into(), port));
        Record { at: now(), what, inside, outside, protocol: 17, wan: crate::base::WanId(0) }
    }

    fn events(folder: &Path) -> Vec<(String, Value)> {
        let text = std::fs::read_to_string(folder.join(NAME)).unwrap_or_default();
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        // What is just being written may not be whole yet.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(parse)
            .map(|l| (l["event"].as_str().unwrap().to_owned(), l["outside"].clone()))
            .collect()
    }

    fn eventually(mut so: impl FnMut() -> bool) -> bool {
        (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            so()
        })
    }

    #[test]
    fn records_of_all_workers_are_in_the_file_within_a_second_and_the_last_ones_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let ((mut a, from_a), (mut b, from_b)) = (ring(), ring());
        let writer = start(dir.path(), vec![from_a, from_b]);
        (0..5000).for_each(|port| a.push(record(port)).unwrap());
        assert!(eventually(|| events(dir.path()).len() == 5001), "{:?}", events(dir.path()).len());
        b.push(record(9)).unwrap();
        drop(writer);
        let all = events(dir.path());
        let edges = [&all[0].0, &all[5002].0];
        assert_eq!(
            (edges, &all[5001].1),
            (["start", "stop"].map(String::from).each_ref(), &"203.0.113.2:9".into())
        );
    }

    #[test]
    fn a_folder_that_cannot_be_had_is_reported_once_and_nothing_is_lost_when_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("journal");
        std::fs::write(&folder, "in the way").unwrap();
        let (mut to, from) = ring();
        let writer = start(&folder, vec![from]);
        let wait = Duration::from_secs(5);
        assert!(writer.reports.recv_timeout(wait).unwrap().error.is_some());
        to.push(record(1)).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        assert!(writer.reports.try_recv().is_err(), "told twice");
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(
            writer.reports.recv_timeout(wait).unwrap(),
            Report { folder: folder.clone(), error: None }
        );
        assert!(eventually(|| events(&folder).len() == 2));
        drop(writer);
    }
}
