//! The commands: what can be typed, and what is printed for it.
//!
//! A command either talks to a running router by its control socket (`status`, `wans`, `sessions` ...), or is work of
//! its own (`check`, `run`, `demo`, `bench`), which `main` hands in as `Hooks`, so that this module knows no engine.
//!
//! - Exit status: 0 done, 1 refused or failed with a line on stderr, 2 wrong usage.
//! - What a person reads fits 80 columns and is coloured on a terminal only; `--json` prints one compact document and a
//!   newline, `events --json` one a line.
//! - A reader that goes away (`| head`) ends the command quietly. No field of an answer is relied on: absent is `-`.
#![forbid(unsafe_code)]

mod args;
mod bench_args;
mod cluster;
mod cluster_args;
mod control;
mod events;
mod gauges;
mod latency;
mod lists;
mod output;
mod session_args;
mod status;
mod table;
mod why;

#[cfg(test)]
mod tests;

pub use args::{CheckArgs, Cli, DemoArgs, ReplayArgs, RunArgs};
pub use bench_args::{
    BenchCommand, Direction, FailoverArgs, Frames, GeneratorArgs, HandoverArgs, NatArgs, Order, StallArgs,
    Wires,
};

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::manage::protocol::ClientError;
use args::{Command, TalkCommand, WanCommand};
use cluster_args::{ClusterCommand, ClusterVerb};
use output::Screen;
use session_args::{SessionsCommand, SessionsVerb};

/// The work that this module only parses the options of.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// `turnout check`; prints for itself.
    pub check: fn(CheckArgs) -> ExitCode,
    /// `turnout run`; returns after a stop in good order.
    pub run: fn(RunArgs) -> Result<(), String>,
    /// `turnout demo`; prints for itself.
    pub demo: fn(DemoArgs) -> Result<(), String>,
    /// `turnout replay`; prints for itself.
    pub replay: fn(ReplayArgs) -> Result<(), String>,
    /// `turnout bench`; prints for itself.
    pub bench: fn(BenchCommand) -> Result<(), String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The router, or the way to it.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// Nobody takes what is printed.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The hook's own words.
    #[error("{0}")]
    Hook(String),
}

/// Parses the command line and does what it says.
pub fn run(hooks: &Hooks) -> ExitCode {
    run_with(std::env::args_os(), hooks)
}

/// As `run`, with a given command line.
pub fn run_with<I, T>(line: I, hooks: &Hooks) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return u8::try_from(usage.exit_code()).map_or(ExitCode::from(2), ExitCode::from);
        }
    };
    let result = match cli.command {
        Command::Check(args) => return (hooks.check)(args),
        Command::Run(args) => (hooks.run)(args).map_err(Error::Hook),
        Command::Demo(args) => (hooks.demo)(args).map_err(Error::Hook),
        Command::Replay(args) => (hooks.replay)(args).map_err(Error::Hook),
        Command::Bench(command) => (hooks.bench)(command).map_err(Error::Hook),
        Command::Talk(command) => {
            let mut stdout = io::BufWriter::new(io::stdout().lock());
            let result = execute(command, &mut Screen::new(&mut stdout, output::coloured()));
            result.and_then(|()| Ok(stdout.flush()?))
        }
    };
    ended(result)
}

fn ended(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Output(gone)) if gone.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // nobody may be listening there either
            let _ = writeln!(io::stderr(), "turnout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: TalkCommand, screen: &mut Screen) -> Result<(), Error> {
    match command {
        TalkCommand::Status(talk) => status::status(&talk, screen),
        TalkCommand::Wans(talk) => status::wans(&talk, screen),
        TalkCommand::Sessions(SessionsCommand { kill: Some(SessionsVerb::Kill(args)), .. }) => {
            lists::kill(&args, screen)
        }
        TalkCommand::Sessions(args) => lists::sessions(&args.list, screen),
        TalkCommand::Neighbors(talk) => lists::neighbors(&talk, screen),
        TalkCommand::Counters(args) => lists::counters(&args, screen),
        TalkCommand::Latency(talk) => latency::latency(&talk, screen),
        TalkCommand::Events(args) => events::events(&args, screen),
        TalkCommand::Why(args) => why::why(&args, screen),
        TalkCommand::Explain(args) => why::explain(&args, screen),
        TalkCommand::Reload(args) => control::reload(&args, screen),
        TalkCommand::Confirm(talk) => control::confirm(&talk, screen),
        TalkCommand::Wan(WanCommand::Down(args)) => control::down(&args, screen),
        TalkCommand::Wan(WanCommand::Drain(args)) => control::drain(&args, screen),
        TalkCommand::Wan(WanCommand::Auto(args)) => control::auto(&args, screen),
        TalkCommand::Cluster(ClusterCommand { verb: Some(ClusterVerb::Prefer(args)), .. }) => {
            cluster::prefer(&args, screen)
        }
        TalkCommand::Cluster(ClusterCommand { verb: Some(ClusterVerb::Yield(args)), .. }) => {
            cluster::yield_role(&args, screen)
        }
        TalkCommand::Cluster(args) => cluster::cluster(&args.talk, screen),
        TalkCommand::Completions { shell } => control::completions(shell, screen),
    }
}
