//! The screen: lines, colour, and values written as people read them.
//!
//! Nothing here trusts what a router sent: a field that is absent or of another type is `-`, and control characters are
//! made harmless, so that no answer can write escapes to a terminal.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

/// What is left to say without a value.
pub(super) const NOTHING: &str = "-";
/// As wide as anything may be.
pub(super) const WIDTH: usize = 80;

/// A few colours, by what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// Well.
    Green,
    /// Not well.
    Red,
    /// In between.
    Yellow,
    /// Headings.
    Bold,
    /// Less important.
    Dim,
}

/// Where a command prints.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    colour: bool,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, colour: bool) -> Screen<'a> {
        Screen { out, colour }
    }

    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        let mut line = String::with_capacity(text.len() + 1);
        line.push_str(text);
        line.push('\n');
        self.raw(&line)
    }

    pub(super) fn raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// One compact document and a newline.
    pub(super) fn json(&mut self, value: &Value) -> io::Result<()> {
        self.line(&value.to_string())
    }

    pub(super) fn paint(&self, colour: Option<Colour>, text: &str) -> String {
        let code = match colour {
            Some(Colour::Green) => "32",
            Some(Colour::Red) => "31",
            Some(Colour::Yellow) => "33",
            Some(Colour::Bold) => "1",
            Some(Colour::Dim) => "2",
            None => return text.to_owned(),
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Whether stdout takes colours: a terminal, and nobody said no.
pub(super) fn coloured() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

/// A field as text.
pub(super) fn text(value: &Value, key: &str) -> String {
    plain(value.get(key).unwrap_or(&Value::Null))
}

/// A value as text on one line.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        other => other.to_string(),
    }
}

/// A field as a number; floats are cut.
pub(super) fn number(value: &Value, key: &str) -> Option<u64> {
    let value = value.get(key)?;
    // a float's `as` saturates
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
}

/// A field, written by `how` if it is a number.
pub(super) fn shown(value: &Value, key: &str, how: fn(u64) -> String) -> String {
    number(value, key).map_or(NOTHING.to_owned(), how)
}

/// A list; anything else is an empty one.
pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `950`, `1.4 M`: three digits at least, five at most.
pub(super) fn count(n: u64) -> String {
    if n < 100_000 { n.to_string() } else { scaled(n, &[" k", " M", " G", " T", " P", " E"]) }
}

/// `950 B`, `1.4 MB`.
pub(super) fn bytes(n: u64) -> String {
    if n < 1_000 { format!("{n} B") } else { scaled(n, &[" kB", " MB", " GB", " TB", " PB", " EB"]) }
}

fn scaled(n: u64, units: &[&str]) -> String {
    let mut value = n as f64;
    let mut unit = "";
    for next in units {
        // not 1000.0 of anything
        if value < 999.95 {
            break;
        }
        value /= 1_000.0;
        unit = next;
    }
    format!("{value:.1}{unit}")
}

/// `12s`, `3m12s`, `5h03m`, `12d04h`.
pub(super) fn seconds(s: u64) -> String {
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        86_400..=863_999_999 => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
        _ => ">9999d".to_owned(),
    }
}

/// `850 us`, `1.2 ms`, `1.5 s`.
pub(super) fn micros(us: u64) -> String {
    nanos(us.saturating_mul(1_000))
}

/// `850 ns`, `1.2 us`, `1.2 ms`, `1.5 s`, `3m12s`.
pub(super) fn nanos(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..999_950 => format!("{:.1} us", ns as f64 / 1e3),
        999_950..999_950_000 => format!("{:.1} ms", ns as f64 / 1e6),
        999_950_000..60_000_000_000 => format!("{:.1} s", ns as f64 / 1e9),
        _ => seconds(ns / 1_000_000_000),
    }
}

/// A field as `3 %`, `0.4 %`.
pub(super) fn percent(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::Number(n)) => match n.as_f64() {
            Some(f) if f.fract() == 0.0 => format!("{f:.0} %"),
            Some(f) => format!("{f:.1} %"),
            None => NOTHING.to_owned(),
        },
        _ => NOTHING.to_owned(),
    }
}

/// Cuts `text` to `width`; a `~` at the end says so.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('~');
    short
}

/// Breaks words into lines that fit; all but the first begin with `indent` blanks, the first keeps its own.
pub(super) fn wrap(words: &str, indent: usize) -> Vec<String> {
    let own = words.chars().take_while(|c| *c == ' ').count().min(WIDTH / 2);
    let mut lines = Vec::new();
    let mut line = " ".repeat(own);
    let mut begun = false;
    for word in words.trim().split(' ') {
        if word.is_empty() {
            line.push_str(if begun { " " } else { "" });
            continue;
        }
        let word = cut(word, WIDTH - indent.max(own));
        if begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(indent);
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(&word);
        begun = true;
    }
    lines.push(line.trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_people_read_them() {
        assert_eq!(["12s", "3m12s", "5h03m", "12d04h"], [12, 192, 18_190, 1_051_200].map(seconds)[..]);
        assert_eq!(
            ["0 ns", "850.0 us", "1.2 ms", "1.0 s", "1m00s"],
            [0, 850_000, 1_200_000, 999_990_000, 60_000_000_000].map(nanos)[..]
        );
        assert_eq!(
            ["0", "99999", "100.0 k", "1.4 M", "1.0 G"],
            [0, 99_999, 100_000, 1_400_000, 999_990_000].map(count)[..]
        );
        assert_eq!(["999 B", "1.0 kB", "18.4 EB"], [999, 1_000, u64::MAX].map(bytes)[..]);
        let widest = [seconds(u64::MAX), micros(u64::MAX), count(u64::MAX), nanos(u64::MAX)];
        assert!(widest.iter().all(|text| text.len() <= 8), "{widest:?}");
    }

    #[test]
    fn fields_of_no_use_are_a_dash_and_escapes_are_harmless() {
        let value = json!({"a": null, "b": "", "c": "x\u{1b}[2J", "d": -3, "e": 1.9, "f": "12", "g": [1]});
        assert_eq!(["a", "b", "nope"].map(|key| text(&value, key)), ["-"; 3]);
        assert_eq!(text(&value, "c"), "x?[2J");
        assert_eq!(["d", "e", "f", "g"].map(|key| number(&value, key)), [None, Some(1), None, None]);
        assert_eq!(
            [percent(&value, "d"), percent(&value, "e"), percent(&value, "f")],
            ["-3 %", "1.9 %", "-"]
        );
        assert!(rows(&value).is_empty());
    }

    #[test]
    fn long_lines_are_wrapped_and_cut() {
        let lines = wrap(&format!("{} {}", "word ".repeat(40), "x".repeat(200)), 6);
        assert!(lines.len() > 2);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[1].starts_with("      word"));
        assert_eq!(cut("abcdef", 4), "abc~");
    }
}
