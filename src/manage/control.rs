//! The control socket: threads that read questions, ask the manager over a channel, and write the answers.
//!
//! Slow or silent clients cost the manager nothing: it answers into a channel and goes on. Bounded: `CLIENTS` at a time,
//! a question of at most `LINE` bytes that must come within 5 s. One router per socket: a lock beside it, which the
//! kernel gives back however the router ends.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::fcntl::{Flock, FlockArg};
use rtrb::Consumer;
use serde_json::Value;

use super::overrides::Overrides;
use super::protocol::{Reply, Request, SessionFilter};
use super::{Answer, RowContext};
use crate::engine::SessionRow;
use crate::profile::{self, Identity, Profile};

/// Connections at a time.
const CLIENTS: usize = 32;
/// The longest question.
const LINE: usize = 64 << 10;
/// Patience with a client.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another router has it.
    #[error("another router runs on {0}; stop it, or give this one another `management.socket`")]
    Taken(PathBuf),
    /// The file system refuses.
    #[error("cannot make the control socket {0}: {1}; check `management.socket` and who may write there")]
    Io(PathBuf, std::io::Error),
}

/// A question on its way to the manager.
#[derive(Debug)]
pub struct Question {
    /// What is asked
    pub request: Request,
    /// The profile that is to be taken up, for `Request::Reload`
    pub profile: Option<Box<Profile>>,
    /// Where the answer goes
    pub answer: Sender<Answer>,
}

/// The socket, bound; the file is removed when this goes.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    _lock: Flock<File>,
    listener: Option<UnixListener>,
    overrides: Arc<Overrides>,
}

impl Control {
    /// Takes the lock and binds the socket, over a leftover of a router that was killed.
    ///
    /// # Errors
    /// `Taken` if a router runs there, `Io` if the file system refuses.
    pub fn bind(path: &Path) -> Result<Control, ControlError> {
        let io = |e| ControlError::Io(path.to_path_buf(), e);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io)?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(beside(path, ".lock"))
            .map_err(io)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|_| ControlError::Taken(path.to_path_buf()))?;
        match fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(io)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(io)?;
        let overrides = Arc::new(Overrides::new(beside(path, ".overrides")));
        Ok(Control { path: path.to_path_buf(), _lock: lock, listener: Some(listener), overrides })
    }

    /// The overrides that an earlier router on this socket has kept; `Null` if there are none.
    pub fn overrides(&self) -> Value {
        self.overrides.read()
    }

    /// Starts to listen. The questions come out of the channel. `profile` is the file that a reload reads,
    /// as the member that `identity` says.
    ///
    /// # Errors
    /// `Io` if no thread can be started.
    pub fn listen(
        &mut self,
        profile: &Path,
        identity: &Identity,
    ) -> Result<Receiver<Question>, ControlError> {
        let (to_manager, questions) = bounded(CLIENTS);
        let Some(listener) = self.listener.take() else { return Ok(questions) };
        let overrides = self.overrides.clone();
        let source = Arc::new((profile.to_path_buf(), identity.clone()));
        let clients = Arc::new(AtomicUsize::new(0));
        let accept = move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else {
                    // Out of file descriptors, most likely: not again at once.
                    thread::sleep(Duration::from_millis(10));
                    continue;
                };
                if clients.fetch_add(1, SeqCst) >= CLIENTS {
                    clients.fetch_sub(1, SeqCst);
                    continue;
                }
                let (to_manager, overrides, count) = (to_manager.clone(), overrides.clone(), clients.clone());
                let source = source.clone();
                let serve = move || {
                    // A client that went away is no event.
                    let _ = serve(stream, &to_manager, &overrides, &source);
                    count.fetch_sub(1, SeqCst);
                };
                if thread::Builder::new().name("control-client".into()).spawn(serve).is_err() {
                    clients.fetch_sub(1, SeqCst);
                }
            }
        };
        let spawned = thread::Builder::new().name("control".into()).spawn(accept);
        spawned.map_err(|e| ControlError::Io(self.path.clone(), e))?;
        Ok(questions)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two routers lock two files of one name.
        let _ = fs::remove_file(&self.path);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn say(to: &mut impl Write, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    to.write_all(line.as_bytes())
}

/// The question's line, whatever its bytes. All of it must come in time, not only a byte now and then.
fn question(mut stream: &UnixStream) -> std::io::Result<Vec<u8>> {
    let until = Instant::now() + PATIENCE;
    let (mut line, mut some) = (Vec::new(), [0; 4096]);
    while line.last() != Some(&b'\n') && line.len() < LINE {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut some)? {
            0 => break,
            n => line.extend_from_slice(&some[..n]),
        }
    }
    Ok(line)
}

fn serve(
    stream: UnixStream,
    to_manager: &Sender<Question>,
    overrides: &Overrides,
    (path, identity): &(PathBuf, Identity),
) -> std::io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let line = question(&stream)?;
    let mut to = std::io::BufWriter::new(&stream);
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(e) => return say(&mut to, &Reply::Error(format!("not a question this router knows: {e}"))),
    };
    let profile = match &request {
        Request::Reload { .. } => match profile::read(path, identity) {
            Ok(profile) => Some(Box::new(profile)),
            Err(mistakes) => return say(&mut to, &Reply::Error(format!("nothing was changed:\n{mistakes}"))),
        },
        _ => None,
    };
    let filter = if let Request::Sessions(filter) = &request { filter.clone() } else { Default::default() };
    let (answer, from_manager) = bounded(1);
    let gone = |_| std::io::Error::from(ErrorKind::BrokenPipe);
    to_manager.send(Question { request, profile, answer }).map_err(gone)?;
    match from_manager.recv_timeout(PATIENCE) {
        Ok(Answer::Items(items)) => {
            for item in items {
                say(&mut to, &Reply::Item(item))?;
            }
        }
        Ok(Answer::Later(answer)) => match answer.recv_timeout(PATIENCE) {
            Ok(item) => say(&mut to, &Reply::Item(item))?,
            Err(_) => return say(&mut to, &Reply::Error("a worker does not answer".into())),
        },
        Ok(Answer::Slowly(answer)) => loop {
            // The empty line says that somebody is at it.
            match answer.recv_timeout(Duration::from_millis(500)) {
                Ok(item) => break say(&mut to, &Reply::Item(item))?,
                Err(e) if e.is_timeout() => to.write_all(b"\n")?,
                Err(_) => return say(&mut to, &Reply::Error("the router is stopping".into())),
            }
            to.flush()?;
        },
        Ok(Answer::Taken(order, kept)) => {
            if let Err(e) = overrides.keep(order, &kept) {
                let text =
                    format!("done, but it will not outlast a restart: {}: {e}", overrides.path().display());
                return say(&mut to, &Reply::Error(text));
            }
        }
        Ok(Answer::Follow(past, next)) => {
            for item in past {
                say(&mut to, &Reply::Item(item))?;
            }
            to.flush()?;
            // An empty line now and then finds out whether anybody is there; see `protocol::ask`.
            loop {
                match next.recv_timeout(Duration::from_millis(500)) {
                    Ok(item) => say(&mut to, &Reply::Item(item))?,
                    Err(e) if e.is_timeout() => to.write_all(b"\n")?,
                    Err(_) => break,
                }
                to.flush()?;
            }
        }
        Ok(Answer::Rows(rows, context)) => list(&mut to, rows, &context, &filter)?,
        Ok(Answer::Refused(why)) => return say(&mut to, &Reply::Error(why)),
        Err(_) => return say(&mut to, &Reply::Error("the management thread does not answer".into())),
    }
    say(&mut to, &Reply::End)?;
    to.flush()
}

fn list(
    to: &mut impl Write,
    rows: Vec<Consumer<SessionRow>>,
    context: &RowContext,
    filter: &SessionFilter,
) -> std::io::Result<()> {
    let mut left = filter.limit.unwrap_or(u64::MAX);
    for mut ring in rows {
        while left > 0 {
            match ring.pop() {
                Ok(row) if matches(&row, context, filter) => {
                    say(to, &Reply::Item(context.json(&row)))?;
                    left -= 1;
                }
                Ok(_) => {}
                Err(_) if ring.is_abandoned() && ring.is_empty() => break,
                Err(_) => thread::sleep(Duration::from_micros(200)),
            }
        }
    }
    Ok(())
}

fn matches(row: &SessionRow, context: &RowContext, filter: &SessionFilter) -> bool {
    let s = &row.session;
    filter.inside.is_none_or(|ip| ip == s.inside().0)
        && filter.outside.is_none_or(|ip| ip == s.outside().0)
        && filter.wan.as_ref().is_none_or(|w| context.wan_names.get(s.wan().index()) == Some(w))
        && filter.protocol.as_deref().is_none_or(|p| p == super::report::protocol_name(s.protocol()))
}
