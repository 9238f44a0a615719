//! What is typed, and whole commands against a router of two lines.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use clap::CommandFactory;
use clap::error::ErrorKind;
use serde_json::{Value, json};

use super::*;
use crate::manage::protocol::{Admin, Reply, Request};

const HOOKS: Hooks = Hooks {
    check: |_| ExitCode::SUCCESS,
    run: |_| Err("no engine here".to_owned()),
    demo: |_| Ok(()),
    replay: |_| Ok(()),
    bench: |_| Ok(()),
};

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
}

#[test]
fn the_commands_are_sound_and_every_long_help_has_an_example_and_fits() {
    Cli::command().debug_assert();
    let mut open = vec![Cli::command()];
    while let Some(mut command) = open.pop() {
        let help = command.render_long_help().to_string();
        if !command.has_subcommands() || command.get_name() == "turnout" {
            assert!(help.contains("Examples:"), "{}", command.get_name());
        }
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
        }
        open.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
    }
}

#[test]
fn options_parse_into_their_structs() {
    let Ok(Command::Talk(TalkCommand::Wan(WanCommand::Down(args)))) =
        parse("turnout wan down x --force --json")
    else {
        panic!("not a wan down")
    };
    assert_eq!((args.name.as_str(), args.force, args.talk.json), ("x", true, true));
    assert_eq!(args.talk.socket, PathBuf::from("/run/turnout/turnout.sock"));
    let Ok(Command::Bench(BenchCommand::Generator(generator))) =
        parse("turnout bench generator --lan net_ring0 --wan net_ring1 --plain --direction down,up")
    else {
        panic!("not a generator")
    };
    assert_eq!((generator.sessions, generator.plain, generator.bytes), (64_512, true, 60));
    assert_eq!(generator.direction, [Direction::Down, Direction::Up]);
    let Ok(Command::Bench(BenchCommand::Nat(nat))) = parse(
        "turnout bench nat --sessions 1K,1M --workers 2 --direction up --order created --bytes 128 --burst 16 --packets 5000 --compare --port net_ring",
    ) else {
        panic!("not a bench")
    };
    let want = NatArgs {
        sessions: vec![1_000, 1_000_000],
        workers: 2,
        direction: Direction::Up,
        order: Order::Created,
        bytes: Frames::Fixed(128),
        burst: 16,
        packets: 5_000,
        compare: true,
        port: Wires::Rings,
        json: false,
    };
    assert_eq!(nat, want);
    let Ok(Command::Bench(BenchCommand::Nat(nat))) = parse("turnout bench nat --bytes imix") else {
        panic!("not a bench")
    };
    assert_eq!((nat.bytes, nat.sessions, nat.direction), (Frames::Imix, vec![64_512], Direction::Both));
    let Ok(Command::Bench(BenchCommand::Stalls(stalls))) = parse("turnout bench stalls --sessions 1K") else {
        panic!("not a bench")
    };
    assert_eq!(stalls, StallArgs { sessions: 1_000, rounds: 3, json: false });
    let Ok(Command::Bench(BenchCommand::Failover(failover))) = parse("turnout bench failover --rounds 9")
    else {
        panic!("not a bench")
    };
    assert_eq!(failover, FailoverArgs { sessions: vec![10, 10_000, 1_000_000], rounds: 9, json: false });
    let Ok(Command::Demo(demo)) = parse("turnout demo --scenario link-loss --seconds 9 --json") else {
        panic!("not a demo")
    };
    assert_eq!(demo, DemoArgs { scenario: Some("link-loss".to_owned()), seconds: Some(9), json: true });
    let Ok(Command::Run(run)) = parse("turnout run") else { panic!("not a run") };
    assert_eq!(run.profile, PathBuf::from("/etc/turnout/profile.yaml"));
    assert_eq!(run.member, None);
    let Ok(Command::Run(run)) = parse("turnout run pair.yaml --member a") else { panic!("not a run") };
    assert_eq!((run.profile, run.member.as_deref()), (PathBuf::from("pair.yaml"), Some("a")));
    let Ok(Command::Check(check)) = parse("turnout check --member b") else { panic!("not a check") };
    assert_eq!(check.member.as_deref(), Some("b"));
    let Ok(Command::Talk(TalkCommand::Sessions(sessions))) =
        parse("turnout sessions --inside 10.0.0.1 --outside 1.2.3.4 --wan a --protocol udp --limit 2K")
    else {
        panic!("not a sessions")
    };
    assert!(sessions.kill.is_none());
    let filter = sessions.list.filter.filter(sessions.list.limit);
    assert_eq!((filter.protocol.as_deref(), filter.limit), (Some("udp"), Some(2_000)));
}

#[test]
fn sessions_are_ended_by_a_filter_or_all_of_them_and_never_by_neither() {
    let killed = |line: &str| match parse(line) {
        Ok(Command::Talk(TalkCommand::Sessions(SessionsCommand {
            kill: Some(SessionsVerb::Kill(args)),
            ..
        }))) => Some((args.filter.filter(None), args.all, args.talk.json)),
        _ => None,
    };
    let (filter, all, json) =
        killed("turnout sessions kill --inside 10.0.0.1 --wan a --protocol tcp --json").unwrap();
    assert_eq!((filter.inside, filter.wan.as_deref()), (Some([10, 0, 0, 1].into()), Some("a")));
    assert_eq!((filter.protocol.as_deref(), filter.limit, all, json), (Some("tcp"), None, false, true));
    assert!(killed("turnout sessions kill --all").is_some_and(|(_, all, _)| all));
    assert!(killed("turnout sessions kill --outside 1.2.3.4 --socket /tmp/x").is_some());
    for wrong in [
        "turnout sessions kill",
        "turnout sessions kill --json",
        "turnout sessions kill --all --wan a",
        "turnout sessions kill --wan a --limit 3",
        "turnout sessions --wan a kill",
    ] {
        assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    for line in [
        "turnout nonsense",
        "turnout wan down",
        "turnout wan up x",
        "turnout cluster prefer",
        "turnout cluster --json yield",
        "turnout cluster take",
        "turnout sessions --inside nine",
        "turnout sessions --protocol igmp",
        "turnout bench nat --sessions 0",
        "turnout bench nat --sessions 1.5M",
        "turnout bench nat --workers 0",
        "turnout bench nat --burst 33",
        "turnout bench nat --bytes 59",
        "turnout bench nat --bytes 1515",
        "turnout bench nat --sessions 1K,",
        "turnout bench nat --sessions 2G",
        "turnout bench failover --sessions 10,x",
        "turnout bench failover --rounds 1001",
        "turnout bench nat --packets 99999999999G",
        "turnout completions",
        "turnout status --verbose",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        assert_eq!(run_with(line.split(' '), &HOOKS), ExitCode::from(2), "{line}");
    }
    assert_eq!(parse("turnout --version").unwrap_err().kind(), ErrorKind::DisplayVersion);
    assert_eq!(parse("turnout run a b").unwrap_err().kind(), ErrorKind::UnknownArgument);
    assert_eq!(run_with(["turnout", "run"], &HOOKS), ExitCode::FAILURE);
    assert_eq!(run_with(["turnout", "demo"], &HOOKS), ExitCode::SUCCESS);
    assert_eq!(run_with(["turnout", "check"], &HOOKS), ExitCode::SUCCESS);
}

/// Answers one question with `replies`; gives what was printed, how it ended, and what was asked.
fn against(replies: Vec<Reply>, line: &str) -> (String, Result<(), String>, Request) {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let router = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
        for reply in replies {
            let line = serde_json::to_string(&reply).unwrap();
            // the asker may have heard enough
            let _ = writeln!(stream, "{line}");
        }
        serde_json::from_str(&asked).unwrap()
    });
    let words = line.split(' ').chain(["--socket", socket.to_str().unwrap()]);
    let Command::Talk(command) = Cli::try_parse_from(words).unwrap().command else { panic!("{line}") };
    let mut out = Vec::new();
    let result = execute(command, &mut Screen::new(&mut out, false));
    (String::from_utf8(out).unwrap(), result.map_err(|e| e.to_string()), router.join().unwrap())
}

fn item(value: Value) -> Vec<Reply> {
    vec![Reply::Item(value), Reply::End]
}

#[test]
fn json_is_the_answer_in_one_line() {
    for (line, answer, asked) in [
        ("turnout status --json", json!({"name": "office", "wans": []}), Request::Status),
        ("turnout wans --json", json!([{"name": "isp1"}]), Request::Wans),
        ("turnout neighbors --json", json!([]), Request::Neighbors),
        ("turnout counters --json", json!({"rx": 1, "drop_ttl": 0}), Request::Counters),
        ("turnout latency --json", json!({"packets": 1, "p50_ns": 7}), Request::Latency),
        ("turnout events --json", json!({"kind": "link"}), Request::Events { follow: false }),
        ("turnout cluster --json", json!({"name": "a", "site": "healthy"}), Request::Cluster),
        (
            "turnout cluster prefer b --json",
            json!({"version": 4}),
            Request::Prefer { member: "b".to_owned() },
        ),
        ("turnout cluster yield --json", json!({}), Request::Yield),
        ("turnout cluster yield --now --json", json!({}), Request::YieldNow),
    ] {
        let got = against(item(answer.clone()), line);
        assert_eq!(got, (format!("{answer}\n"), Ok(()), asked), "{line}");
    }
    let rows = vec![Reply::Item(json!({"a": 1})), Reply::Item(json!({"a": 2})), Reply::End];
    assert_eq!(against(rows, "turnout sessions --json").0, "[{\"a\":1},{\"a\":2}]\n");
}

#[test]
fn an_override_is_asked_for_and_told_or_refused_in_one_line() {
    let (out, result, asked) = against(item(json!({"admin": "drain"})), "turnout wan drain isp1");
    assert_eq!(out, "isp1 takes no new sessions until `turnout wan auto`\n");
    assert_eq!(result, Ok(()));
    assert_eq!(asked, Request::Wan { name: "isp1".to_owned(), admin: Admin::Drain, force: false });
    let refusal = vec![Reply::Error("it is the last fit WAN".to_owned())];
    let (out, result, _) = against(refusal, "turnout wan down isp1");
    assert_eq!((out.as_str(), result), ("", Err("it is the last fit WAN".to_owned())));
}

#[test]
fn the_operators_word_on_the_role_is_told_or_refused_in_one_line() {
    let (out, result, _) = against(item(json!({})), "turnout cluster prefer b");
    assert_eq!(out, "b is preferred; it gets the role when it is as fit and has all sessions\n");
    assert_eq!(result, Ok(()));
    let (out, _, asked) = against(item(json!({})), "turnout cluster yield");
    assert_eq!(out, "the partner is asked to take the role; this member lets go when it has\n");
    assert_eq!(asked, Request::Yield);
    let refusal = vec![Reply::Error("the partner is not fit".to_owned())];
    let (out, result, _) = against(refusal, "turnout cluster yield");
    assert_eq!((out.as_str(), result), ("", Err("the partner is not fit".to_owned())));
}

#[test]
fn empty_answers_say_so_and_broken_ones_fail() {
    assert_eq!(against(vec![Reply::End], "turnout sessions").0, "no sessions\n");
    assert_eq!(against(vec![Reply::End], "turnout sessions --json").0, "[]\n");
    assert_eq!(against(vec![Reply::End], "turnout events").0, "no events\n");
    assert_eq!(against(item(json!([])), "turnout wans").0, "no WANs\n");
    let (_, result, _) = against(vec![Reply::Item(json!({}))], "turnout sessions");
    assert!(result.unwrap_err().contains("stopped answering"));
    let nowhere = run_with(["turnout", "status", "--socket", "/nonexistent/socket"], &HOOKS);
    assert_eq!(nowhere, ExitCode::FAILURE);
}

/// A stdout whose reader has gone after a few bytes.
struct Head(usize);

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = self.0.min(bytes.len());
        self.0 -= n;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_no_panic() {
    let mut head = Head(100);
    let shell = clap_complete::Shell::Bash;
    let result = execute(TalkCommand::Completions { shell }, &mut Screen::new(&mut head, false));
    assert!(matches!(&result, Err(Error::Output(gone)) if gone.kind() == io::ErrorKind::BrokenPipe));
    assert_eq!(ended(result), ExitCode::SUCCESS);
    assert_eq!(ended(Err(Error::Output(io::ErrorKind::StorageFull.into()))), ExitCode::FAILURE);
}

#[test]
fn the_help_names_every_scenario_of_the_demo() {
    let mut top = Cli::command();
    let help = top.find_subcommand_mut("demo").unwrap().render_long_help().to_string();
    for scenario in crate::demo::SCENARIOS {
        let line = help.lines().find(|line| line.trim_start().starts_with(scenario.name));
        assert!(line.is_some_and(|line| line.len() > 27), "{}: {help}", scenario.name);
    }
}
