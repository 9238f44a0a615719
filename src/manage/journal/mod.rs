//! The journal: everything that the WANs' state machines were told, and what they decided, in files that can be decided again.
//!
//! The decisions are a function of the inputs and their times (`wan`), so a journal explains every one of them. Lines of JSON: each file
//! begins with a `Head`, the machines as they stood then, and goes on with inputs (`in`), other configurations (`config`) and what came of
//! them (`out`; that a probe is to be sent is left out). A file is full after `INPUTS`; the oldest of `FILES` goes: days of a site with two WANs. `writer`'s thread writes;
//! what finds its channel full is lost, is counted, and a new file begins, since without it nothing could be decided again.

pub mod replay;

use std::path::Path;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::files::{Bounds, Files};
use super::writer::{Source, Taken, Writer};
use crate::base::Nanos;
use crate::wan::{Effect, Input, Reconfigured, Wans};

/// The file that grows; older ones have `.1` (the newest) to `.47` behind.
pub const NAME: &str = "decisions.jsonl";
/// Files, at most.
pub const FILES: u32 = 48;
/// Inputs in a file, at most: some 6 MB.
pub const INPUTS: u32 = 65_536;
/// Lines that wait for the thread.
const WAITING: usize = 16_384;
/// Lines that are written at a time.
const BATCH: usize = 4096;
/// The format of the lines.
pub const FORMAT: u32 = 3;
/// The oldest format that is read: it has no `config`, a reload began a file.
pub const OLDEST: u32 = 2;

/// The first line of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// The format of the lines
    pub journal: u32,
    /// The version of the router
    pub version: String,
    /// The time of day, in ms since 1970
    pub time_ms: u64,
    /// The time, as in the lines
    pub at_ns: Nanos,
    /// Lines that were lost before this one; `None`: the router has started
    pub lost: Option<u64>,
    /// The names of the WANs
    pub wans: Vec<String>,
    /// The machines, as they stood
    pub state: Wans,
}

/// A line but the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What the machines were told
    In(Nanos, Input),
    /// What they go by from now on
    Config(Nanos, Box<Reconfigured>),
    /// What they decided upon that
    Out(Effect),
}

/// A line on its way to the thread.
#[derive(Debug)]
enum Entry {
    Head(Box<Head>),
    Line(Line),
}

/// The managing end of a journal.
#[derive(Debug)]
pub struct Journal {
    to: Sender<Entry>,
    wans: Vec<String>,
    /// Inputs that the file has room for
    room: u32,
    /// Lines lost since the last head
    lost: Option<u64>,
}

/// The other end: the lines.
#[derive(Debug)]
pub struct Pages {
    from: Receiver<Entry>,
    /// A head that did not fit to what was taken with it
    next: Option<Box<Head>>,
}

/// The two ends of a journal of WANs of these names.
pub fn connect(wans: Vec<String>) -> (Journal, Pages) {
    let (to, from) = bounded(WAITING);
    (Journal { to, wans, room: 0, lost: None }, Pages { from, next: None })
}

impl Journal {
    /// To be called before each step and each other configuration, with the machines as they stand.
    pub fn before(&mut self, now: Nanos, state: &Wans) {
        if self.room > 0 && self.lost == Some(0) {
            return;
        }
        let day = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let head = Head {
            journal: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            time_ms: u64::try_from(day.as_millis()).unwrap_or(u64::MAX),
            at_ns: now,
            lost: self.lost,
            wans: self.wans.clone(),
            state: state.clone(),
        };
        match self.to.try_send(Entry::Head(Box::new(head))) {
            Ok(()) => (self.room, self.lost) = (INPUTS, Some(0)),
            Err(_) => self.lost = self.lost.map(|lost| lost + 1),
        }
    }

    /// To be called after each step, with what it was told and what came of it.
    pub fn after(&mut self, now: Nanos, input: &Input, effects: &[Effect]) {
        self.taken(Line::In(now, *input), effects);
    }

    /// The same for another configuration.
    pub fn reconfigured(&mut self, now: Nanos, change: Reconfigured, effects: &[Effect]) {
        self.taken(Line::Config(now, Box::new(change)), effects);
    }

    fn taken(&mut self, line: Line, effects: &[Effect]) {
        self.room = self.room.saturating_sub(1);
        self.line(line);
        for effect in effects.iter().filter(|effect| !matches!(effect, Effect::Probe { .. })) {
            self.line(Line::Out(effect.clone()));
        }
    }

    fn line(&mut self, line: Line) {
        // Without a head of its own nobody could read it.
        if self.lost != Some(0) || self.to.try_send(Entry::Line(line)).is_err() {
            self.lost = Some(self.lost.unwrap_or(0) + 1);
        }
    }
}

impl Pages {
    /// Starts to write into `folder`.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(self, folder: &Path) -> std::io::Result<Writer> {
        // Files turn with their heads.
        let files = Files::new(folder, Bounds { name: NAME, size: u64::MAX, files: FILES });
        Writer::start("journal", self, files)
    }
}

impl Source for Pages {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn take(&mut self, to: &mut Vec<u8>) -> Taken {
        let mut taken = Taken::Nothing;
        if let Some(head) = self.next.take() {
            append(to, &head);
            taken = Taken::File;
        }
        for _ in 0..BATCH {
            match self.from.try_recv() {
                Ok(Entry::Line(line)) => append(to, &line),
                Ok(Entry::Head(head)) if taken == Taken::Nothing => {
                    append(to, &head);
                    taken = Taken::File;
                    continue;
                }
                Ok(Entry::Head(head)) => {
                    self.next = Some(head);
                    break;
                }
                Err(_) => break,
            }
            if taken == Taken::Nothing {
                taken = Taken::Some;
            }
        }
        taken
    }

    fn end(&mut self, _: &mut Vec<u8>) {}
}

fn append(to: &mut Vec<u8>, line: &impl Serialize) {
    // A vector takes everything, and no type of a line fails.
    let _ = serde_json::to_writer(&mut *to, line);
    to.push(b'\n');
}
