//! The `turnout` command: hands each subcommand to the module that does it.
#![forbid(unsafe_code)]

#[cfg(feature = "dpdk")]
mod run;

use std::io::Write;
use std::process::ExitCode;

use turnout::cli::{self, BenchCommand, CheckArgs, DemoArgs, Hooks, ReplayArgs, RunArgs};
#[cfg(feature = "dpdk")]
use turnout::cli::{FailoverArgs, GeneratorArgs, HandoverArgs, NatArgs, StallArgs};
use turnout::demo::{self, DemoOptions};
use turnout::profile::{self, Identity};

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TURNOUT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Lossy: a terminal that does not read must not hold up a failover.
    let (log, _flush) = tracing_appender::non_blocking(std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(log).with_target(false).init();
    cli::run(&Hooks { check, run, demo, replay, bench })
}

fn check(args: CheckArgs) -> ExitCode {
    // The verdict is the exit status: nobody has to read the words.
    // A name is judged as `run` would; without one, the file is that of both.
    let judged = match args.member {
        Some(_) => {
            profile::read(&args.profile, &Identity::new(args.member.as_deref())).map(|view| vec![view])
        }
        None => profile::read_all(&args.profile),
    };
    match judged {
        Ok(views) => {
            let names = views.iter().filter_map(|view| view.cluster.as_ref());
            let names: Vec<&str> = names.map(|cluster| cluster.member.as_str()).collect();
            let of = if names.is_empty() { String::new() } else { format!(", for {}", names.join(" and ")) };
            let _ = writeln!(std::io::stdout(), "{}: good{of}", args.profile.display());
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

fn replay(args: ReplayArgs) -> Result<(), String> {
    let replay = turnout::manage::journal::replay::replay(&args.journal).map_err(|e| e.to_string())?;
    let text = if args.json { format!("{}\n", replay.json()) } else { replay.to_string() };
    print(&text)?;
    match replay.differ {
        0 => Ok(()),
        1 => Err("this build decides otherwise in one place".into()),
        n => Err(format!("this build decides otherwise in {n} places")),
    }
}

#[cfg(feature = "dpdk")]
fn run(args: RunArgs) -> Result<(), String> {
    run::run(&args.profile, &Identity::new(args.member.as_deref())).map_err(|e| e.to_string())
}

#[cfg(feature = "dpdk")]
fn bench(command: BenchCommand) -> Result<(), String> {
    match command {
        BenchCommand::Nat(args) => bench_nat(&args),
        BenchCommand::Stalls(args) => bench_stalls(&args),
        BenchCommand::Failover(args) => bench_failover(&args),
        BenchCommand::Generator(args) => bench_generator(args),
        BenchCommand::Handover(args) => bench_handover(&args),
    }
}

#[cfg(feature = "dpdk")]
fn bench_nat(args: &NatArgs) -> Result<(), String> {
    use turnout::bench::{self, Frames, NatOptions, Order, Row, Wires};
    let options = NatOptions {
        sessions: args.sessions.iter().map(|n| *n as u32).collect(),
        workers: usize::from(args.workers),
        direction: way(args.direction),
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

#[cfg(feature = "dpdk")]
fn bench_failover(args: &FailoverArgs) -> Result<(), String> {
    use turnout::bench::{self, FailoverRow};
    let sessions: Vec<u32> = args.sessions.iter().map(|n| *n as u32).collect();
    let mut rows: Vec<FailoverRow> = Vec::new();
    if !args.json {
        print(&FailoverRow::head(args.rounds.into()))?;
    }
    let each = |row: &FailoverRow| {
        let line = if args.json { format!("{}\n", row.json(FailoverRow::fewest(&rows))) } else { row.line() };
        rows.push(row.clone());
        print(&line)
    };
    bench::failover(&sessions, args.rounds.into(), each).map_err(|e| e.to_string())?;
    if args.json { Ok(()) } else { print(&FailoverRow::foot(&rows)) }
}

#[cfg(feature = "dpdk")]
fn bench_handover(args: &HandoverArgs) -> Result<(), String> {
    let options = turnout::bench::HandoverOptions {
        sessions: args.sessions as u32,
        direction: way(args.direction),
        bytes: usize::from(args.bytes),
        packets: args.packets,
    };
    let row = turnout::bench::handover(&options).map_err(|e| e.to_string())?.json();
    if args.json {
        return print(&format!("{row}\n"));
    }
    let lines = row.as_object().into_iter().flatten().map(|(name, value)| format!("{name:>20}  {value}\n"));
    print(&lines.collect::<String>())
}

#[cfg(feature = "dpdk")]
fn way(direction: cli::Direction) -> turnout::bench::Direction {
    use turnout::bench::Direction;
    match direction {
        cli::Direction::Up => Direction::Up,
        cli::Direction::Down => Direction::Down,
        cli::Direction::Both => Direction::Both,
    }
}

#[cfg(feature = "dpdk")]
fn bench_generator(args: GeneratorArgs) -> Result<(), String> {
    let options = turnout::bench::GeneratorOptions {
        lan: args.lan,
        wan: args.wan,
        lan_router: args.lan_router,
        wan_router: args.wan_router,
        plain: args.plain,
        sessions: args.sessions as u32,
        directions: args.direction.into_iter().map(way).collect(),
        seconds: args.seconds as f64,
        bytes: usize::from(args.bytes),
        linger: std::time::Duration::from_secs(args.linger),
        core: usize::from(args.core),
    };
    let show = |count: &turnout::bench::Count| match args.json {
        true => print(&format!("{}\n", count.json())),
        false => print(&format!("{count}\n")),
    };
    turnout::bench::generator(&options, show).map_err(|e| e.to_string())
}

/// A reader that has left is no failure.
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
