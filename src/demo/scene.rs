//! What the live view shows, as plain data: filled from the story, the router's answers and the traffic.
//!
//! The view draws it and changes nothing; a test can build one by hand. Histories are bounded.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::report::Transition;
use super::story::Clock;
use super::watch::{Look, WanState};
use crate::base::Nanos;

/// Columns of a rate graph that are kept.
pub const HISTORY: usize = 120;
/// Events that are kept.
pub const EVENTS: usize = 100;
/// What one column of a graph stands for.
const COLUMN: Nanos = Nanos::from_ms(390);

/// One WAN with its past.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// As the router last said.
    pub state: WanState,
    /// Packets a second, both directions, the newest last.
    pub rates: VecDeque<u64>,
    /// What was done to it, while it lasts.
    pub fault: Option<&'static str>,
    counted: Option<(Nanos, u64)>,
}

impl Line {
    /// The newest rate.
    pub fn rate(&self) -> u64 {
        self.rates.back().copied().unwrap_or(0)
    }

    fn count(&mut self, at: Nanos) {
        let packets = self.state.rx_packets.unwrap_or(0) + self.state.tx_packets.unwrap_or(0);
        let Some((before, counted)) = self.counted else {
            self.counted = Some((at, packets));
            return;
        };
        let span = at.since(before);
        if span >= COLUMN {
            if self.rates.len() == HISTORY {
                self.rates.pop_front();
            }
            self.rates.push_back(packets.saturating_sub(counted) * 1_000 / span.as_ms().max(1));
            self.counted = Some((at, packets));
        }
    }
}

/// Everything on the screen.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The scenario's name.
    pub scenario: &'static str,
    /// What is happening.
    pub title: &'static str,
    /// The step's number and how many there are.
    pub place: (usize, usize),
    /// The step's clock.
    pub clock: Clock,
    /// Since the scenario began.
    pub elapsed: Nanos,
    /// What stands between the hosts and the lines, in nine columns.
    pub hub: &'static str,
    /// The two WANs, or the two members of a pair, as the picture shows them from top to bottom.
    pub lines: Vec<Line>,
    /// Live sessions of the router.
    pub sessions: Option<u64>,
    /// The rate of the downloads.
    pub download_mbit: f64,
    /// The router's events with the scenario's time, the newest last.
    pub events: VecDeque<(Nanos, String)>,
    /// The transitions so far.
    pub transitions: Vec<Transition>,
}

impl Scene {
    /// An empty scene with the lines of those names behind `hub`.
    pub fn new(scenario: &'static str, hub: &'static str, wans: &[&str]) -> Scene {
        let line = |name: &&str| Line {
            state: WanState { name: (*name).to_owned(), state: "probing".into(), ..WanState::default() },
            ..Line::default()
        };
        Scene {
            scenario,
            title: "",
            place: (0, 0),
            clock: Clock::Waited(Nanos::ZERO),
            elapsed: Nanos::ZERO,
            hub,
            lines: wans.iter().map(line).collect(),
            sessions: None,
            download_mbit: 0.0,
            events: VecDeque::new(),
            transitions: Vec::new(),
        }
    }

    /// Takes in what the router said.
    pub fn look(&mut self, look: Look) {
        self.sessions = look.sessions.or(self.sessions);
        for state in look.wans {
            if let Some(line) = self.lines.iter_mut().find(|line| line.state.name == state.name) {
                line.state = state;
                line.count(look.at);
            }
        }
    }

    /// Takes in an event.
    pub fn event(&mut self, at: Nanos, line: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back((at, line));
    }

    /// The traffic goes to `wan` now, ahead of the next look.
    pub fn carries(&mut self, wan: &str) {
        if self.lines.iter().any(|line| line.state.name == wan) {
            for line in &mut self.lines {
                line.state.carrying = Some(line.state.name == wan);
            }
        }
    }

    /// Notes what was done to a WAN, or with `None` that it was undone.
    pub fn fault(&mut self, wan: &str, fault: Option<&'static str>) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.state.name == wan) {
            line.fault = fault;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_from_differences_and_histories_are_bounded() {
        let mut scene = Scene::new("dual-wan", " turnout ", &["isp1", "isp2"]);
        for i in 0..1000u64 {
            let wan = WanState { name: "isp1".into(), rx_packets: Some(i * 100), ..WanState::default() };
            let stranger = WanState { name: "lte".into(), ..WanState::default() };
            scene.look(Look { at: Nanos::from_ms(i * 200), wans: vec![wan, stranger], ..Look::default() });
            scene.event(Nanos::ZERO, "x".into());
        }
        scene.carries("isp2");
        scene.carries("lte");
        let carrying: Vec<_> = scene.lines.iter().map(|line| line.state.carrying).collect();
        assert_eq!(carrying, [Some(false), Some(true)]);
        assert_eq!((scene.lines[0].rate(), scene.lines[0].rates.len()), (500, HISTORY));
        assert_eq!((scene.lines[1].rate(), scene.events.len()), (0, EVENTS));
    }
}
