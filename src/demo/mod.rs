//! `turnout demo`: a site, two ISPs and an internet host in network namespaces, and the router between them at work.
//!
//! A scenario builds its lab, starts the router on it, sends real traffic, breaks a line, mends it, and measures from the hosts'
//! side what that cost. On a terminal it is shown live; elsewhere as lines; with `json` the last line is the result.
//!
//! Invariants: a scenario ends within a minute by itself; whatever way it ends, namespaces, files, processes and the terminal
//! are as they were before. Only addresses inside the namespaces are ever spoken to.
//!
//! `lab` and `traffic` stand on their own and serve the integration tests as well.
#![forbid(unsafe_code)]

pub mod behind;
pub mod clock;
mod crew;
mod dual_wan;
pub mod lab;
pub mod pair;
mod pair_steps;
mod play;
mod report;
mod scene;
mod stage;
mod story;
pub mod traffic;
mod view;
mod watch;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

pub use dual_wan::profile as dual_wan_profile;
use lab::{LabError, Stop};
use report::Report;
use stage::Stage;

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoOptions {
    /// The scenario's name.
    pub scenario: String,
    /// About how long it shall take; quiet phases are stretched or shortened.
    pub seconds: Option<u64>,
    /// The result as JSON on the last line of stdout; progress goes to stderr.
    pub json: bool,
}

/// Why a demo came to no result.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// There is no such scenario.
    #[error("no scenario is called `{0}`; there are: {1}")]
    UnknownScenario(String, String),
    /// The lab or the router failed.
    #[error("{0}")]
    Lab(LabError),
    /// No packet came back through the router.
    #[error("no packet came back through the router within 5 s; {0}")]
    NoTraffic(String),
    /// The signal handlers cannot be installed, or the result cannot be printed.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A key or a signal ended it.
    #[error("stopped before the story was told; everything is tidied up")]
    Interrupted,
}

impl From<LabError> for DemoError {
    fn from(error: LabError) -> DemoError {
        match error {
            LabError::Interrupted => DemoError::Interrupted,
            other => DemoError::Lab(other),
        }
    }
}

/// A scenario that can be played.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    play: fn(&mut Stage) -> Result<Report, DemoError>,
}

/// Every scenario there is.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: dual_wan::NAME,
        about: "two ISPs: the first loses its link, comes back, goes silent, comes back",
        play: dual_wan::play,
    },
    Scenario {
        name: behind::BEHIND,
        about: "the same seen by hosts behind a node, which is behind the router of the two ISPs",
        play: behind::play_behind,
    },
    Scenario {
        name: behind::ONE_ARM,
        about: "the same, and the node has one port, on the wire of its hosts and of the router",
        play: behind::play_one_arm,
    },
    Scenario {
        name: pair::BEHIND_FIREWALL,
        about: "a pair behind the router of the two ISPs: one is killed, and nobody is cut off",
        play: pair::play_behind_firewall,
    },
    Scenario {
        name: pair::DUAL_WAN,
        about: "a pair on both ISPs: an ISP dies, a member's cables are pulled, a member is killed",
        play: pair::play_dual_wan,
    },
    Scenario {
        name: pair::TWO_ISPS,
        about: "a pair, an ISP each: who is active is the choice of the ISP",
        play: pair::play_two_isps,
    },
    Scenario {
        name: pair::TWO_DMZS,
        about: "the same, each behind a firewall that answers whatever its ISP does",
        play: pair::play_two_dmzs,
    },
    Scenario {
        name: pair::MIXED,
        about: "the same, one behind a firewall by DHCP, the other with an address of its ISP",
        play: pair::play_mixed,
    },
];

/// Plays a scenario and prints its result; tells whether it passed. To be called early: a user without the right to make
/// namespaces is moved into a user namespace by starting the program again.
///
/// # Errors
/// If the scenario is unknown or comes to no result.
pub fn run(options: &DemoOptions) -> Result<bool, DemoError> {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == options.scenario);
    let scenario = found.ok_or_else(|| {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        DemoError::UnknownScenario(options.scenario.clone(), names.join(", "))
    })?;
    lab::reexec()?;
    let stop = Stop::on_signals()?;
    let seconds = options.seconds.unwrap_or(story::DEFAULT_SECONDS);
    let mut stage = Stage::new(seconds, options.json, stop);
    let report = (scenario.play)(&mut stage)?;
    stage.lower();
    let mut stdout = std::io::stdout();
    if options.json {
        writeln!(stdout, "{}", report.json())?;
    } else {
        write!(stdout, "\n{}", report.table(stdout.is_terminal()))?;
    }
    Ok(report.passed())
}

/// The program that is the router: TURNOUT_BIN, else this one.
fn router_binary() -> Result<PathBuf, DemoError> {
    match std::env::var_os("TURNOUT_BIN") {
        Some(path) => Ok(PathBuf::from(path)),
        None => {
            std::env::current_exe().map_err(|e| LabError::File(Path::new("/proc/self/exe").into(), e).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scenario_is_refused_with_the_list() {
        let options = DemoOptions { scenario: "moon".into(), seconds: None, json: false };
        let error = run(&options).unwrap_err().to_string();
        assert_eq!(
            error,
            "no scenario is called `moon`; there are: dual-wan, single-behind-firewall, single-interface, \
             cluster-behind-firewall, cluster-dual-wan, cluster-two-isps, cluster-two-dmzs, cluster-mixed"
        );
    }
}
