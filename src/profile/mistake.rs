//! What is wrong with a profile, as its author has to see it.
//!
//! `Report` gathers while the text is judged; `finish` sorts by place, drops repetitions and takes the offending
//! lines out of the text. It keeps at most `LIMIT` mistakes and says how many more there were, so that a hostile file
//! costs no memory. What is shown of the file has no control characters: it cannot play tricks on a terminal.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::types::Position;

const LIMIT: usize = 1000;
/// Characters of an offending line that are shown, so that it fits a terminal of 80 columns.
const WIDTH: usize = 76;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Name of the file, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
    #[serde(skip)]
    excerpt: String,
    #[serde(skip)]
    caret: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { file, line, column, message, hint, excerpt, caret } = self;
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "  {excerpt}")?;
        writeln!(f, "  {:caret$}^", "")?;
        write!(f, "hint: {hint}")
    }
}

/// Every mistake of a file, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes {
    list: Vec<Mistake>,
}

impl Mistakes {
    /// The mistakes in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.list.iter()
    }

    /// How many there are; at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

struct Found {
    at: Position,
    message: String,
    hint: String,
}

/// Mistakes while they are gathered.
#[derive(Default)]
pub(super) struct Report {
    found: Vec<Found>,
    left_out: usize,
}

impl Report {
    /// Notes a mistake.
    pub(super) fn add(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        if self.is_full() {
            self.left_out += 1;
        } else {
            self.found.push(Found { at, message: clean(&message.into()), hint: clean(&hint.into()) });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether more is only counted; no need to think about hints then.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= LIMIT
    }

    /// Takes up what was found wrong for each of several readings of one text: what is wrong for all once, the rest with the reading's name.
    pub(super) fn join(&mut self, mut readings: Vec<(&str, Report)>) {
        self.left_out += readings.iter().map(|(_, report)| report.left_out).max().unwrap_or(0);
        // Where some were left out, nobody knows what is wrong for all.
        let alike = readings.len() < 2 || readings.iter().any(|(_, report)| report.is_full());
        let mut times: HashMap<(Position, String), usize> = HashMap::new();
        for found in readings.iter().flat_map(|(_, report)| &report.found) {
            *times.entry((found.at, found.message.clone())).or_default() += 1;
        }
        let all = readings.len();
        for (name, report) in &mut readings {
            for found in report.found.drain(..) {
                match times.get_mut(&(found.at, found.message.clone())) {
                    Some(0) => {}
                    Some(n) if *n >= all || alike => {
                        *n = 0;
                        self.add(found.at, found.message, found.hint);
                    }
                    _ => self.add(found.at, format!("member {}: {}", show(name), found.message), found.hint),
                }
            }
        }
    }

    /// Turns what was found in `text` into what is shown.
    pub(super) fn finish(mut self, text: &str, file: &str) -> Mistakes {
        if self.found.is_empty() {
            self.add(Position::START, "the profile could not be judged", "check the file");
        }
        self.found.sort_by_key(|found| found.at);
        self.found.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        if self.left_out > 0 {
            let at = self.found.last().map_or(Position::START, |found| found.at);
            let message = format!("{} more mistakes are not listed", self.left_out);
            self.found.push(Found { at, message, hint: "mend those above first".to_owned() });
        }
        let lines: Vec<&str> = lines(text);
        let list = self.found.into_iter().map(|found| {
            let Found { at, message, hint } = found;
            let line = (at.line as usize).checked_sub(1).and_then(|i| lines.get(i)).copied().unwrap_or("");
            let (excerpt, caret) = excerpt(line, (at.column as usize).saturating_sub(1));
            Mistake { file: file.to_owned(), line: at.line, column: at.column, message, hint, excerpt, caret }
        });
        Mistakes { list: list.collect() }
    }
}

/// Splits as YAML does: `\n`, `\r\n` and a lone `\r` end a line.
fn lines(text: &str) -> Vec<&str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

/// The part of `line` around `column` (from 0) that fits, and the caret's place in it.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    let (column, spare) = (column.min(length), length.saturating_sub(WIDTH));
    let start = column.saturating_sub(WIDTH / 2).min(spare);
    let shown = line.chars().skip(start).take(WIDTH).map(|c| match c {
        '\t' => ' ',
        c if is_unfit(c) => '\u{fffd}',
        c => c,
    });
    (shown.collect(), column - start)
}

/// Control characters and those that turn the writing direction.
fn is_unfit(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line of bounded length that is fit to be shown, whatever of the file is in it.
fn clean(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(300) {
        if is_unfit(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// A text of the file as a message quotes it: in backticks, at most 40 characters.
pub(super) fn show(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("`{}...`", text.get(..end).unwrap_or("")),
        None => format!("`{text}`"),
    }
}

/// The candidate that `word` was most likely meant to be.
pub(super) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, 3);
    let near = candidates.into_iter().map(|candidate| (distance(word, candidate), candidate));
    near.filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits between two words: insert, remove or replace a character, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
