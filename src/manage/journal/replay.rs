//! Deciding again what a journal tells: the same machines, the same inputs, and then the same decisions, to the bit. Where this build
//! decides otherwise, it says so, with the line.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{FILES, FORMAT, Head, Line, NAME, OLDEST};
use crate::wan::{Effect, Wans};

/// The longest line that is read.
const LONGEST: u64 = 1 << 22;
/// Differences that are told.
const TOLD: usize = 20;

/// Why a journal cannot be decided again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}; give a file of the journal, or its folder")]
    Io(PathBuf, std::io::Error),
    /// There is none.
    #[error("no journal in {0}: a router writes `{NAME}` to the folder `management.journal` of its profile")]
    None(PathBuf),
    /// A line is no line of a journal.
    #[error("{0}:{1}: not a line of a journal that this build reads: {2}")]
    Line(PathBuf, usize, String),
}

/// What was decided again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// Files read
    pub files: usize,
    /// Inputs
    pub inputs: u64,
    /// Decisions that were in the journal
    pub decisions: u64,
    /// Lines that the router lost
    pub lost: u64,
    /// Where this build decides otherwise, or the first of them
    pub differences: Vec<Difference>,
    /// How many there are
    pub differ: u64,
}

/// A decision that is another one now.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The file
    pub file: PathBuf,
    /// Its line, from 1
    pub line: usize,
    /// What the journal has
    pub recorded: Value,
    /// What this build decides
    pub decided: Value,
}

impl Replay {
    /// As JSON.
    pub fn json(&self) -> Value {
        let difference = |d: &Difference| json!({ "file": d.file, "line": d.line, "recorded": d.recorded, "decided": d.decided });
        json!({
            "files": self.files, "inputs": self.inputs, "decisions": self.decisions, "lost": self.lost,
            "same": self.differ == 0, "differ": self.differ,
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
        })
    }

    fn differs(&mut self, file: &Path, line: usize, recorded: Value, decided: Value) {
        self.differ += 1;
        if self.differences.len() < TOLD {
            self.differences.push(Difference { file: file.to_path_buf(), line, recorded, decided });
        }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for d in &self.differences {
            writeln!(f, "{}:{}", d.file.display(), d.line)?;
            writeln!(f, "  recorded  {}", d.recorded)?;
            writeln!(f, "  now       {}", d.decided)?;
        }
        let more = self.differ - self.differences.len() as u64;
        if more > 0 {
            writeln!(f, "and {more} more")?;
        }
        writeln!(f, "{} inputs in {} files, {} decisions", self.inputs, self.files, self.decisions)?;
        if self.lost > 0 {
            writeln!(f, "{} lines were lost while the router wrote them", self.lost)?;
        }
        if self.differ == 0 { writeln!(f, "every decision is the same") } else { Ok(()) }
    }
}

/// Decides again what is in a journal's file, or in all files of a journal's folder, the oldest first.
///
/// # Errors
/// If that cannot be read.
pub fn replay(path: &Path) -> Result<Replay, ReplayError> {
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        let older = (1..FILES).rev().map(|n| path.join(format!("{NAME}.{n}")));
        files = older.chain([path.join(NAME)]).filter(|file| file.exists()).collect();
        if files.is_empty() {
            return Err(ReplayError::None(path.to_path_buf()));
        }
    }
    let (mut replay, mut machines) = (Replay::default(), None);
    for file in files {
        machines = one(&file, machines, &mut replay)?;
        replay.files += 1;
    }
    Ok(replay)
}

/// A file; `before` are the machines as they stood at the end of the one before.
fn one(path: &Path, before: Option<Wans>, replay: &mut Replay) -> Result<Option<Wans>, ReplayError> {
    let io = |e| ReplayError::Io(path.to_path_buf(), e);
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let (mut text, mut number) = (Vec::new(), 0);
    let mut machines: Option<Wans> = None;
    let mut expected = std::collections::VecDeque::new();
    loop {
        text.clear();
        let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut text).map_err(io)?;
        // The last line of a router that was killed, or that is just writing it.
        if read == 0 || text.last() != Some(&b'\n') {
            break;
        }
        number += 1;
        let bad = |e: serde_json::Error| ReplayError::Line(path.to_path_buf(), number, e.to_string());
        let Some(wans) = &mut machines else {
            let head: Head = serde_json::from_slice(&text).map_err(bad)?;
            if !(OLDEST..=FORMAT).contains(&head.journal) {
                let text = format!("format {}, not {OLDEST} to {FORMAT}", head.journal);
                return Err(ReplayError::Line(path.to_path_buf(), number, text));
            }
            replay.lost += head.lost.unwrap_or(0);
            if let (Some(before), Some(0)) = (&before, head.lost)
                && text_of(before) != text_of(&head.state)
            {
                // All of it would fill pages.
                replay.differs(path, number, "the machines as they stood".into(), "stand otherwise".into());
            }
            machines = Some(head.state);
            continue;
        };
        let line: Line = serde_json::from_slice(&text).map_err(bad)?;
        if !matches!(line, Line::Out(_)) {
            missed(path, number, &mut expected, replay);
            replay.inputs += 1;
        }
        let mut note = |effect: Effect| {
            if !matches!(effect, Effect::Probe { .. }) {
                expected.push_back(effect);
            }
        };
        match line {
            // What was refused then is refused now.
            Line::In(now, input) => drop(wans.step(now, input, &mut note)),
            Line::Config(now, change) => wans.reconfigure(now, &change, &mut note),
            Line::Out(effect) => {
                replay.decisions += 1;
                match expected.pop_front() {
                    Some(decided) if decided == effect => {}
                    other => {
                        replay.differs(path, number, value(&effect), other.map_or(Value::Null, |e| value(&e)))
                    }
                }
            }
        }
    }
    Ok(machines)
}

/// Decisions that the journal has not.
fn missed(
    path: &Path,
    number: usize,
    expected: &mut std::collections::VecDeque<Effect>,
    replay: &mut Replay,
) {
    for effect in expected.drain(..) {
        replay.differs(path, number, Value::Null, value(&effect));
    }
}

fn text_of(state: &Wans) -> String {
    serde_json::to_string(state).unwrap_or_default()
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}
