//! The router under test: started, awaited, stopped, killed.
//!
//! It is the real program, `turnout run PROFILE`, in the router's namespace, with profile and control socket in the lab's private
//! folder. `@SOCKET@` in the profile's text stands for the path of that socket; its journal is to be `@SOCKET@.d/journal`. What it prints on stderr is kept (the
//! last lines), so that a router that does not start can be quoted.
//!
//! Invariants: a started router is always reaped, by `stop` or on drop: SIGTERM first, SIGKILL when it has not obeyed
//! within 3 s. It dies with its keeper thread, hence with this process, even if that is killed.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Lab, LabError};

/// The wish to end, set by a signal or a key. Everything that waits looks at it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A wish that SIGINT, SIGTERM and SIGHUP express as well.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Stop> {
        let stop = Stop::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A running router.
#[derive(Debug)]
pub struct Router {
    pid: Pid,
    binary: PathBuf,
    dir: PathBuf,
    profile: PathBuf,
    socket: PathBuf,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
    said: Said,
}

/// What a router is started with besides its profile's text.
struct Papers {
    file: PathBuf,
    socket: PathBuf,
    member: Option<&'static str>,
}

/// The last lines of the router's stderr.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<VecDeque<String>>>);

/// How long the router may take to print `ready`.
const READY_WITHIN: Duration = Duration::from_secs(10);
const SAID_LINES: usize = 40;
const STOP_WITHIN: Duration = Duration::from_secs(3);

impl Lab {
    /// Starts the router: the program named by TURNOUT_BIN, else this very program.
    ///
    /// # Errors
    /// If it does not print `ready` within 10 s; the error quotes what it said.
    pub fn start_router(&self, profile: &str) -> Result<Router, LabError> {
        let own = PathBuf::from("/proc/self/exe");
        let binary = match std::env::var_os("TURNOUT_BIN") {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe().map_err(|e| LabError::File(own, e))?,
        };
        self.start_router_from(&binary, profile, &Stop::default())
    }

    /// Starts `binary` as the router, and gives up when `stop` is asked.
    ///
    /// # Errors
    /// As `start_router`.
    pub fn start_router_from(&self, binary: &Path, profile: &str, stop: &Stop) -> Result<Router, LabError> {
        self.start_router_in("router", binary, profile, stop)
    }

    /// The same on another host of the lab, with a socket of its own.
    ///
    /// # Errors
    /// As `start_router`.
    pub fn start_router_in(
        &self,
        host: &str,
        binary: &Path,
        profile: &str,
        stop: &Stop,
    ) -> Result<Router, LabError> {
        let (file, socket) = match host {
            "router" => (self.dir().join("profile.yaml"), self.socket()),
            other => (self.dir().join(format!("{other}.yaml")), self.socket_of(other)),
        };
        self.start_with(host, binary, Papers { file, socket, member: None }, profile, stop)
    }

    /// Starts a member of a pair on the host of its name. Both read one file, in which `@DIR@` stands for the lab's folder: the socket
    /// of member `a` is to be `@DIR@/a.sock`, its journal `@DIR@/a.sock.d/journal`. The pair's key is `@DIR@/cluster.key`.
    ///
    /// # Errors
    /// As `start_router`.
    pub fn start_member(
        &self,
        member: &'static str,
        binary: &Path,
        profile: &str,
        stop: &Stop,
    ) -> Result<Router, LabError> {
        self.write_key()?;
        let (file, socket) = (self.dir().join("pair.yaml"), self.socket_of(member));
        self.start_with(member, binary, Papers { file, socket, member: Some(member) }, profile, stop)
    }

    /// Where the control socket of a host's router is to be.
    pub fn socket_of(&self, host: &str) -> PathBuf {
        if host == "router" { self.socket() } else { self.dir().join(format!("{host}.sock")) }
    }

    /// The key that a pair signs with; one for the life of the lab.
    fn write_key(&self) -> Result<(), LabError> {
        let path = self.dir().join("cluster.key");
        let failed = |e| LabError::File(path.clone(), e);
        let mut bytes = [0; 32];
        if path.exists() {
            return Ok(());
        }
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut bytes))
            .map_err(failed)?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(&bytes)).map_err(failed)
    }

    fn start_with(
        &self,
        host: &str,
        binary: &Path,
        papers: Papers,
        profile: &str,
        stop: &Stop,
    ) -> Result<Router, LabError> {
        let Papers { file, socket, member } = papers;
        write_profile(self.dir(), &socket, &file, profile)?;
        let mut command = self.host(host)?.command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary).arg("run").arg(&file);
        command.args(member.iter().flat_map(|member| ["--member", member]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said = Said::default();
        let (tell_start, started) = bounded(1);
        let (tell_ready, ready) = bounded(1);
        let (tell_end, ended) = bounded(1);
        let keeper_said = said.clone();
        let keeper = move || {
            let mut child = match command.spawn() {
                Ok(child) => child,
                Err(e) => {
                    let _ = tell_start.send(Err(e));
                    return;
                }
            };
            let _ = tell_start.send(Ok(child.id()));
            if let Ok(status) = keep(&mut child, &keeper_said, &tell_ready) {
                let _ = tell_end.send(status);
            }
        };
        // The thread that starts the child must outlive it: the kernel ends the child with that thread.
        thread::Builder::new().name("router".into()).spawn(keeper).map_err(|e| not_started(&e))?;
        let pid = match started.recv() {
            Ok(Ok(pid)) => Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX)),
            Ok(Err(e)) => return Err(not_started(&e)),
            Err(e) => return Err(not_started(&e)),
        };
        let (profile, binary) = (file, binary.to_path_buf());
        let dir = self.dir().to_path_buf();
        let mut router = Router { pid, binary, dir, profile, socket, ended, status: None, said };
        router.await_ready(&ready, stop)?;
        Ok(router)
    }
}

impl Router {
    fn await_ready(&mut self, ready: &Receiver<()>, stop: &Stop) -> Result<(), LabError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match ready.recv_timeout(Duration::from_millis(50)) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.wait(STOP_WITHIN);
                    let status =
                        status.map_or_else(|| "no exit status".to_owned(), |status| status.to_string());
                    return Err(LabError::Router(format!("did not start ({status}): {}", self.said())));
                }
                Err(RecvTimeoutError::Timeout) if stop.asked() => return Err(LabError::Interrupted),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline => {
                    let said = self.said();
                    return Err(LabError::Router(format!("was not ready within 10 s: {said}")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its profile's file.
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// What it last said on stderr, in one line.
    pub fn said(&self) -> String {
        let lines = self.said.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return "it said nothing".into();
        }
        let start = lines.len().saturating_sub(5);
        lines.iter().skip(start).map(|line| line.trim()).collect::<Vec<_>>().join("; ")
    }

    /// Writes another profile over the one it was started with and asks it to read it (SIGHUP).
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn reload(&mut self, profile: &str) -> Result<(), LabError> {
        write_profile(&self.dir, &self.socket, &self.profile, profile)?;
        self.signal(Signal::SIGHUP);
        Ok(())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.wait(Duration::ZERO)
    }

    /// Sends a signal to it; nothing happens if it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// SIGTERM, and SIGKILL after 3 s; returns how it ended.
    ///
    /// # Errors
    /// If it could not be ended at all, or had to be killed.
    pub fn stop(&mut self) -> Result<ExitStatus, LabError> {
        self.signal(Signal::SIGTERM);
        if let Some(status) = self.wait(STOP_WITHIN) {
            return Ok(status);
        }
        self.kill();
        Err(LabError::Router("did not stop within 3 s and was killed".into()))
    }

    /// SIGKILL, as a crash would; returns when it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.wait(STOP_WITHIN);
    }

    /// Where its journal is to be.
    pub fn journal(&self) -> PathBuf {
        let mut folder = self.socket.clone();
        folder.as_mut_os_string().push(".d/journal");
        folder
    }

    /// Ends it if it still runs, and decides its journal again by the same program: `turnout replay`.
    ///
    /// # Errors
    /// If there is no journal, or a decision is another one now; the error quotes what was said.
    pub fn replay(&mut self) -> Result<(), LabError> {
        let _ = self.stop();
        let mut command = Command::new(&self.binary);
        command.arg("replay").arg(self.journal()).stdin(Stdio::null());
        let out =
            command.output().map_err(|e| LabError::Router(format!("'s journal was not replayed: {e}")))?;
        if out.status.success() {
            return Ok(());
        }
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        Err(LabError::Router(format!("decided otherwise when its journal was replayed: {said}")))
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.ended.recv_timeout(patience).ok();
        }
        self.status
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// Writes a profile for a router of the lab, the placeholders replaced.
fn write_profile(dir: &Path, socket: &Path, file: &Path, text: &str) -> Result<(), LabError> {
    let text = text.replace("@SOCKET@", &socket.to_string_lossy()).replace("@DIR@", &dir.to_string_lossy());
    std::fs::write(file, text).map_err(|e| LabError::File(file.to_path_buf(), e))
}

/// Drains the child's pipes until it ends.
fn keep(
    child: &mut Child,
    said: &Said,
    ready: &crossbeam_channel::Sender<()>,
) -> std::io::Result<ExitStatus> {
    let stderr = child.stderr.take();
    let said = said.clone();
    let listener = thread::spawn(move || stderr.map(|pipe| listen(pipe, &said)));
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            match line {
                Ok(line) if line.trim_ascii() == b"ready" => drop(ready.try_send(())),
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
    let status = child.wait()?;
    let _ = listener.join();
    Ok(status)
}

fn listen(pipe: impl Read, said: &Said) {
    for line in BufReader::new(pipe).split(b'\n') {
        let Ok(line) = line else { return };
        let mut lines = said.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == SAID_LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).into_owned());
    }
}

fn not_started(why: &dyn std::fmt::Display) -> LabError {
    LabError::Router(format!("could not be started: {why}"))
}
