//! The log of mappings (`nat.log`): the workers' records, out of their rings and into a file, by a thread of its own (`writer`).

mod lines;

use std::path::PathBuf;
use std::time::SystemTime;

use rtrb::Consumer;

use super::files::{Bounds, Files};
use super::writer::{Source, Taken, Writer};
use crate::base::Nanos;
use crate::nat::Nat;
use crate::nat::log::{Record, ring};
use crate::profile::Profile;
pub use lines::Lines;

/// The file that grows; older ones have `.1` (the newest) to `.7` behind.
pub const NAME: &str = "nat-mappings.jsonl";
/// Bytes of a file, at most.
pub const SIZE: u64 = 64 << 20;
/// Files, at most.
pub const FILES: u32 = 8;

/// Records that are written at a time.
const BATCH: usize = 2048;
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
        let files = Files::new(&self.folder, Bounds { name: NAME, size: SIZE, files: FILES });
        let lines = Lines::new(&self.wan_names);
        Writer::start("nat-log", Records { from: self.from, lines, now }, files)
    }
}

/// The workers' records, made lines.
struct Records {
    from: Vec<Consumer<Record>>,
    lines: Lines,
    now: fn() -> Nanos,
}

impl Records {
    fn set_clock(&mut self) -> Nanos {
        let now = (self.now)();
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.lines.set_clock(day.unwrap_or_default(), now);
        now
    }
}

impl Source for Records {
    fn begin(&mut self, to: &mut Vec<u8>) {
        let now = self.set_clock();
        self.lines.mark(to, now, "start");
    }

    fn take(&mut self, to: &mut Vec<u8>) -> Taken {
        self.set_clock();
        let mut taken = Taken::Nothing;
        for (worker, ring) in self.from.iter_mut().enumerate() {
            for _ in 0..BATCH {
                let Ok(record) = ring.pop() else { break };
                self.lines.line(to, worker, &record);
                taken = Taken::Some;
            }
        }
        taken
    }

    fn end(&mut self, to: &mut Vec<u8>) {
        let now = self.set_clock();
        self.lines.mark(to, now, "stop");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::writer::Report;
    use crate::nat::log::What;
    use serde_json::Value;
    use std::path::Path;
    use std::time::Duration;

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
