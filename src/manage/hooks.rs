//! Hooks: programs of the operator's that hear of events, such as a dynamic DNS client that hears of a failover.
//!
//! They run outside: from a thread of their own that is set apart (`apart`), one after the other, in the order of the events, as the user
//! `nobody` where the router is root, in a process group of their own, with no descriptor and no capability of the router's and nothing
//! inherited but the event: as JSON on stdin, in short in the environment (`VARIABLES`). One that is not done after `PATIENCE` is killed with
//! its group; what has left that (setsid(2)) lives on, and holds nothing. At most `WAITING` wait for their turn; what comes then is not
//! run, and told. How each went is told as an event.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use super::apart::set_apart;

/// How long a hook may run.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Runs that wait for their turn, at most.
const WAITING: usize = 64;
/// Reports that wait for the management thread.
const REPORTS: usize = 256;
/// `nobody`, user and group.
const NOBODY: u32 = 65_534;
/// How often a running hook is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// A group left a WAN that was not fit any more.
pub const FAILOVER: &str = "failover";
/// A group went back to a better WAN.
pub const FAILBACK: &str = "failback";
/// The address of a WAN changed.
pub const ADDRESS: &str = "address";
/// The router's role in its cluster changed.
pub const ROLE: &str = "cluster_role";
/// Another WAN carries for any other reason: it was drained, degraded, or is the last resort.
pub const SELECTION: &str = "selection";
/// No WAN carries.
pub const NONE: &str = "wan_none";
/// The environment: the variable, and the event's field that is in it if that is text.
const VARIABLES: [(&str, &str); 7] = [
    ("TURNOUT_EVENT", "kind"),
    ("TURNOUT_FROM", "from"),
    ("TURNOUT_TO", "to"),
    ("TURNOUT_CAUSE", "cause"),
    ("TURNOUT_GROUP", "group"),
    ("TURNOUT_WAN", "wan"),
    ("TURNOUT_ADDRESS", "address"),
];

/// A program and what it wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Kinds of events
    pub events: Vec<&'static str>,
    /// Its path
    pub run: PathBuf,
}

/// How a hook went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which one
    pub run: PathBuf,
    /// The event's number
    pub seq: u64,
    /// How long it took
    pub took: Duration,
    /// Its exit status, if it ended by itself
    pub status: Option<i32>,
    /// Why it did not
    pub error: Option<String>,
}

impl Report {
    fn not_run(run: PathBuf, seq: u64, error: Option<String>) -> Report {
        Report { run, seq, took: Duration::ZERO, status: None, error }
    }
}

/// The running thread, as the manager knows it. What waits at the end is not run any more.
#[derive(Debug)]
pub struct Hooks {
    hooks: Vec<Hook>,
    events: Sender<(PathBuf, Value)>,
    /// How they went
    pub reports: Receiver<Report>,
    lost: Sender<Report>,
}

impl Hooks {
    /// Starts the thread, if there are any hooks. Where it cannot be set apart nothing is run, and that is told, at once and for each.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(hooks: Vec<Hook>) -> std::io::Result<Option<Hooks>> {
        if hooks.is_empty() {
            return Ok(None);
        }
        let (events, waiting) = bounded::<(PathBuf, Value)>(WAITING);
        let (report, reports) = bounded(REPORTS);
        let lost = report.clone();
        let programs: Vec<PathBuf> = hooks.iter().map(|hook| hook.run.clone()).collect();
        let work = move || {
            let apart = set_apart(geteuid().is_root()).map_err(|e| format!("not run: {e}"));
            for run in programs.into_iter().filter(|_| apart.is_err()) {
                let _ = report.try_send(Report::not_run(run, 0, apart.clone().err()));
            }
            for (run, event) in waiting {
                let went = match &apart {
                    Ok(()) => run_one(&run, &event, PATIENCE),
                    Err(why) => Report::not_run(run, seq(&event), Some(why.clone())),
                };
                // Nobody may hear it any more.
                let _ = report.try_send(went);
            }
        };
        std::thread::Builder::new().name("hooks".into()).spawn(work)?;
        Ok(Some(Hooks { hooks, events, reports, lost }))
    }

    /// Other hooks from now on. What waits for its turn is still run, in its order.
    pub fn change(&mut self, hooks: Vec<Hook>) {
        self.hooks = hooks;
    }

    /// An event has happened: whoever wants to hear of it will. The first choice after a start is no change.
    pub fn tell(&self, event: &Value) {
        let kind = event["kind"].as_str().filter(|_| event["change"] != "initial").unwrap_or_default();
        for hook in self.hooks.iter().filter(|hook| hook.events.contains(&kind)) {
            if self.events.try_send((hook.run.clone(), event.clone())).is_err() {
                let error = Some(format!("not run: {WAITING} others wait for their turn"));
                let _ = self.lost.try_send(Report::not_run(hook.run.clone(), seq(event), error));
            }
        }
    }
}

fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap_or(0)
}

fn run_one(run: &Path, event: &Value, patience: Duration) -> Report {
    let began = Instant::now();
    let ended = spawn(run, event).and_then(|child| wait(child, began + patience));
    let (status, error) = match ended {
        Ok(Some(status)) => match (status.code(), status) {
            (Some(code), _) => (Some(code), None),
            (None, status) => (None, Some(status.to_string())),
        },
        Ok(None) => (None, Some(format!("killed after {} s", patience.as_secs_f32()))),
        Err(e) => (None, Some(e.to_string())),
    };
    Report { run: run.to_path_buf(), seq: seq(event), took: began.elapsed(), status, error }
}

fn spawn(run: &Path, event: &Value) -> std::io::Result<Child> {
    let mut command = Command::new(run);
    command.env_clear().current_dir("/").process_group(0);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, key) in VARIABLES {
        if let Some(text) = event[key].as_str() {
            command.env(name, text);
        }
    }
    if geteuid().is_root() {
        // Further groups are given up with it.
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook that does not read is none the worse: what a pipe does not hold is cut off.
        let _ = fcntl(&stdin, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
        let _ = stdin.write_all(format!("{event}\n").as_bytes());
    }
    Ok(child)
}

/// Waits for a child until its time is over, and kills what is left of its group then.
fn wait(mut child: Child, until: Instant) -> std::io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(std::io::Error::other)?;
    // Looked at and not taken: until it is, its number and its group's are nobody else's.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let ended = loop {
        let ended = waitid(Id::Pid(pid), look)? != WaitStatus::StillAlive;
        if ended || Instant::now() >= until {
            break ended;
        }
        std::thread::sleep(LOOK);
    };
    let _ = killpg(pid, Signal::SIGKILL);
    let status = child.wait()?;
    Ok(ended.then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    /// A script in a folder that everybody may read and write.
    fn script(dir: &Path, text: &str) -> PathBuf {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        let path = dir.join("hook");
        std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", dir.display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn event() -> Value {
        json!({ "at_ns": 1, "seq": 7, "kind": "failover", "from": "isp1", "to": "isp2", "cause": "link lost" })
    }

    #[test]
    fn a_hook_gets_the_event_and_nothing_else_and_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let run = script(dir.path(), "cat > event; env | sort > env; id -u > user; exit 3");
        let report = run_one(&run, &event(), PATIENCE);
        assert_eq!((report.status, report.error, report.seq), (Some(3), None, 7));
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&read("event")).unwrap(), event());
        let own = |line: &&str| line.starts_with("TURNOUT_");
        let env = read("env");
        let own: Vec<&str> = env.lines().filter(own).collect();
        assert_eq!(
            own,
            ["TURNOUT_CAUSE=link lost", "TURNOUT_EVENT=failover", "TURNOUT_FROM=isp1", "TURNOUT_TO=isp2"]
        );
        assert!(!env.contains("HOME="), "{env}");
        if geteuid().is_root() {
            assert_eq!(read("user").trim(), "65534");
        }
    }

    #[test]
    fn one_that_does_not_end_is_killed_with_all_that_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let run = script(dir.path(), "(sleep 1; echo alive > child) & sleep 60");
        let report = run_one(&run, &event(), Duration::from_millis(200));
        assert!(report.error.unwrap().starts_with("killed"));
        assert!(report.took < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(1200));
        assert!(!dir.path().join("child").exists());
    }

    #[test]
    fn an_event_that_no_pipe_holds_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let run = script(dir.path(), "sleep 30");
        let event = json!({ "kind": "failover", "evidence": "x".repeat(1 << 20) });
        let report = run_one(&run, &event, Duration::from_millis(200));
        assert!(report.error.is_some() && report.took < Duration::from_secs(10), "{report:?}");
    }

    #[test]
    fn each_hears_of_what_it_asked_for_and_a_missing_one_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let run = script(dir.path(), "echo $TURNOUT_EVENT >> heard");
        let hook = |run: PathBuf| Hook { events: vec![FAILOVER], run };
        let hooks = Hooks::start(vec![hook(run), hook("/nonexistent/hook".into())]).unwrap().unwrap();
        hooks.tell(&json!({ "kind": "failback", "seq": 1 }));
        hooks.tell(&event());
        let mut reports: Vec<_> =
            (0..2).map(|_| hooks.reports.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
        reports.sort_by_key(|report| report.status);
        assert!(reports[0].error.as_ref().unwrap().contains("No such file"));
        assert_eq!(reports[1].status, Some(0));
        assert_eq!(std::fs::read_to_string(dir.path().join("heard")).unwrap(), "failover\n");
    }

    #[test]
    fn a_flood_of_events_is_bounded_and_what_was_not_run_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let run = script(dir.path(), "sleep 0.3");
        let hooks = Hooks::start(vec![Hook { events: vec![FAILOVER], run }]).unwrap().unwrap();
        (0..WAITING + 10).for_each(|_| hooks.tell(&event()));
        let report = hooks.reports.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(report.error.unwrap().starts_with("not run"));
    }
}
