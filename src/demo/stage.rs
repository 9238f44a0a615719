//! Where a scenario is played: a live picture on a terminal, plain lines anywhere else.
//!
//! The terminal is taken late and given back on every way out: the guard's drop, and the panic hook that taking it
//! installs. In raw mode Ctrl-C is a key like `q`; both ask for the end, as a signal does.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::DefaultTerminal;

use super::clock;
use super::lab::Stop;
use super::scene::Scene;
use super::{story, view};
use crate::base::Nanos;

/// A stage and the wish to leave it.
#[derive(Debug)]
pub struct Stage {
    /// About how long the scenario shall take.
    pub seconds: u64,
    /// The wish to end.
    pub stop: Stop,
    begun: Nanos,
    json: bool,
    live: Option<Live>,
}

/// The terminal while it is ours.
#[derive(Debug)]
struct Live(DefaultTerminal);

impl Drop for Live {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}

impl Stage {
    /// A stage that has not taken the terminal yet. With `json` it never will, and speaks on stderr only.
    pub fn new(seconds: u64, json: bool, stop: Stop) -> Stage {
        Stage { seconds, stop, begun: clock::now(), json, live: None }
    }

    /// Takes the terminal, if there is one to take.
    pub fn raise(&mut self) {
        if !self.json && std::io::stdout().is_terminal() && std::io::stdin().is_terminal() {
            // Without it the lines serve.
            self.live = ratatui::try_init().ok().map(Live);
            if self.live.is_none() {
                let _ = ratatui::try_restore();
            }
        }
    }

    /// Gives the terminal back.
    pub fn lower(&mut self) {
        self.live = None;
    }

    /// The moment by which a story has to be told.
    pub fn deadline(&self) -> Nanos {
        self.begun + story::LONGEST
    }

    /// How long after the begin `at` was.
    pub fn time(&self, at: Nanos) -> Nanos {
        at.since(self.begun)
    }

    /// Says a line about something that happened at `at`, where nothing is drawn.
    pub fn say(&self, at: Nanos, line: &str) {
        let line = format!("[{:>6.2}] {line}", self.time(at).as_us() as f64 / 1e6);
        // A reader that has gone away must not stop the tidying up.
        match (&self.live, self.json) {
            (Some(_), _) => {}
            (None, true) => drop(writeln!(std::io::stderr(), "{line}")),
            (None, false) => drop(writeln!(std::io::stdout(), "{line}")),
        }
    }

    /// Draws, and looks at the keys.
    pub fn show(&mut self, scene: &Scene) {
        let Some(Live(terminal)) = &mut self.live else { return };
        if terminal.draw(|frame| view::draw(frame, scene)).is_err() {
            self.stop.ask();
        }
        while event::poll(Duration::ZERO).unwrap_or(false) {
            let Ok(Event::Key(key)) = event::read() else { continue };
            let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if control_c || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc) {
                self.stop.ask();
            }
        }
    }
}
