//! The `turnout` command: hands each subcommand to the module that does it.
#![forbid(unsafe_code)]

#[cfg(feature = "dpdk")]
mod run;

use std::io::Write;
use std::process::ExitCode;

use turnout::cli::{self, BenchCommand, CheckArgs, DemoArgs, Hooks, RunArgs};
#[cfg(feature = "dpdk")]
use turnout::cli::{NatArgs, StallArgs};
use turnout::demo::{self, DemoOptions};
use turnout::profile;

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TURNOUT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Lossy: a terminal that does not read must not hold up a failover.
    let (log, _flush) = tracing_appender::non_blocking(std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log).with_target(false).init();
    cli::run(&Hooks { check, run, demo, bench })
}

fn check(args: CheckArgs) -> ExitCode {
    // The verdict is the exit status: nobody has to read the words.
    match profile::read(&args.profile) {
        Ok(_) => {
            let _ = writeln!(std::io::stdout(), "{}: good", args.profile.display());
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            let _ = writeln!(std::io::stderr(), "{mistakes}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: DemoArgs) -> Result<(), String> {
    let scenario = args.scenario.unwrap_or_else(|| demo::SCENARIOS[0].name.to_string());
    let options = DemoOptions { scenario, seconds: args.seconds, json: args.json };
    match demo::run(&options) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the demo did not pass; the table above says what was too much".into()),
        Err(e) => Err(e.to_string()),
    }
}

#[cfg(feature = "dpdk")]
fn run(args: RunArgs) -> Result<(), String> {
    run::run(&args.profile).map_err(|e| e.to_string())
}

#[cfg(feature = "dpdk")]
fn bench(command: BenchCommand) -> Result<(), String> {
    match command {
        BenchCommand::Nat(args) => bench_nat(&args),
        BenchCommand::Stalls(args) => bench_stalls(&args),
    }
}

#[cfg(feature = "dpdk")]
fn bench_nat(args: &NatArgs) -> Result<(), String> {
    use turnout::bench::{self, Direction, Frames, NatOptions, Order, Row, Wires};
    let options = NatOptions {
        sessions: args.sessions.iter().map(|n| *n as u32).collect(),
        workers: usize::from(args.workers),
        direction: match args.direction {
            cli::Direction::Up => Direction::Up,
            cli::Direction::Down => Direction::Down,
            cli::Direction::Both => Direction::Both,
        },
        order: match args.order {
            cli::Order::Shuffled => Order::Shuffled,
            cli::Order::Created => Order::Created,
        },
        frames: match args.bytes {
            cli::Frames::Fixed(bytes) => Frames::Fixed(usize::from(bytes)),
            cli::Frames::Imix => Frames::Imix,
        },
        burst: usize::from(args.burst),
        packets: args.packets,
        compare: args.compare,
        wires: match args.port {
            cli::Wires::Arrays => Wires::Arrays,
            cli::Wires::Rings => Wires::Rings,
        },
    };
    if !args.json {
        print(&Row::head(&options))?;
    }
    let (mut interrupted, mut bursts) = (0, 0);
    let each = |row: &Row| {
        let (some, all) = row.interrupted();
        (interrupted, bursts) = (interrupted + some, bursts + all);
        print(&if args.json { format!("{}\n", row.json()) } else { row.line() })
    };
    bench::nat(&options, each).map_err(|e| e.to_string())?;
    if !args.json && interrupted > 0 {
        print(&format!("\n{interrupted} of {bursts} bursts were interrupted and are not in the mean\n"))?;
    }
    Ok(())
}

#[cfg(feature = "dpdk")]
fn bench_stalls(args: &StallArgs) -> Result<(), String> {
    use turnout::bench::{self, Stall};
    let stalls = bench::stalls(args.sessions as u32, usize::from(args.rounds)).map_err(|e| e.to_string())?;
    if args.json {
        return print(&stalls.iter().map(|stall| format!("{}\n", stall.json())).collect::<String>());
    }
    print(&Stall::head(args.sessions, args.rounds.into()))?;
    print(&stalls.iter().map(Stall::line).collect::<String>())
}

/// A reader that has left is no failure.
#[cfg(feature = "dpdk")]
fn print(text: &str) -> Result<(), String> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot write the output: {e}")),
        _ => Ok(()),
    }
}

#[cfg(not(feature = "dpdk"))]
fn run(_: RunArgs) -> Result<(), String> {
    Err("this turnout was built without DPDK; build it with the default features to run a router".into())
}

#[cfg(not(feature = "dpdk"))]
fn bench(_: BenchCommand) -> Result<(), String> {
    Err("this turnout was built without DPDK; build it with the default features to measure".into())
}
