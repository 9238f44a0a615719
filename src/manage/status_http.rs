//! The status endpoint: HTTP (RFC 9110, RFC 9112) by which a load balancer or a monitor asks whether this member of a pair serves.
//!
//! GET and HEAD of any path get 200 if it is active and fit, else 503, and as JSON why. What it says is written by the management thread at once when it
//! changes (`Board::say`). That thread also says that it lives (`Board::stepped`): if it has not for `Place::stale` the answer is 503, `stalled`.
//!
//! - One thread of its own, that waits for nothing but its sockets; `CLIENTS` at a time, of more the oldest goes. Each has `PATIENCE` for a request of
//!   at most `LONGEST` bytes, and is closed after one answer.
//! - Who is not in `from` gets no answer, not even of what is wrong with his request.
//! - It binds before the host under the router has the address (IP_FREEBIND).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::{Ipv4Net, Nanos};
use crate::cluster::{Reasons, Role};
use crate::profile::Profile;

/// Connections at a time.
const CLIENTS: usize = 16;
/// The longest request, up to the end of its headers.
const LONGEST: usize = 4096;
/// Headers of a request, at most.
const HEADERS: usize = 64;
/// How long a connection may last.
const PATIENCE: Duration = Duration::from_secs(1);
/// A place that could not be bound is tried again after so long.
const RETRY: Nanos = Nanos::from_s(5);

/// Where the endpoint is, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its address
    pub address: Ipv4Addr,
    /// Its TCP port
    pub port: u16,
    /// Who may ask
    pub from: Ipv4Net,
    /// The management thread is taken for dead if it has not stepped for so long
    pub stale: Nanos,
}

impl Place {
    /// The one that a profile wants.
    pub fn of(profile: &Profile) -> Option<Place> {
        let cluster = profile.cluster.as_ref()?;
        let wanted = cluster.status?;
        let address = profile.interfaces.get(wanted.interface)?.addresses.first()?.addr;
        Some(Place {
            address,
            port: wanted.port,
            from: wanted.from,
            stale: cluster.timeout + cluster.timeout,
        })
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Active and fit
    pub serves: bool,
    /// Which member this is
    pub name: String,
    /// What it is
    pub role: Role,
    /// Why it does not serve, or what is wrong all the same
    pub reasons: Reasons,
}

/// Where the management thread writes what is answered.
#[derive(Debug, Default)]
pub struct Board {
    truth: Mutex<Option<Truth>>,
    stepped: AtomicU64,
}

impl Board {
    /// This is answered from now on.
    pub fn say(&self, truth: Truth) {
        *self.truth.lock().unwrap_or_else(PoisonError::into_inner) = Some(truth);
    }

    /// The management thread is alive.
    pub fn stepped(&self, now: Nanos) {
        self.stepped.store(now.0, Relaxed);
    }

    /// The answer: whether it serves, and the body.
    fn answer(&self, now: Nanos, stale: Nanos) -> (bool, Value) {
        let truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stalled = now.since(Nanos(self.stepped.load(Relaxed))) >= stale;
        let serves = truth.as_ref().is_some_and(|truth| truth.serves) && !stalled;
        let reasons = match &truth {
            _ if stalled => json!(["stalled"]),
            Some(truth) => json!(truth.reasons),
            None => json!(["starting"]),
        };
        let (name, role) = truth.map_or((None, Role::Starting), |truth| (Some(truth.name), truth.role));
        (serves, json!({ "serves": serves, "name": name, "role": role, "reasons": reasons }))
    }
}

/// The endpoint, where the profile wants it now.
#[derive(Debug)]
pub struct Endpoint {
    board: Arc<Board>,
    clock: fn() -> Nanos,
    running: Option<Server>,
    /// Did not work
    tried: Option<(Place, Nanos)>,
}

impl Endpoint {
    /// None yet. `clock` is that of `Board::stepped`.
    pub fn new(board: Arc<Board>, clock: fn() -> Nanos) -> Endpoint {
        Endpoint { board, clock, running: None, tried: None }
    }

    /// Is at this place from now on, if it is not yet, or nowhere. One that failed is tried again after a while.
    ///
    /// # Errors
    /// Nobody answers there: the address is somebody else's, or the port is taken.
    pub fn follow(&mut self, wanted: Option<Place>) -> io::Result<()> {
        if self.running.as_ref().map(|server| server.place) == wanted {
            return Ok(());
        }
        let now = (self.clock)();
        let failed = |(place, at): (Place, Nanos)| Some(place) == wanted && now < at + RETRY;
        if self.tried.is_some_and(failed) {
            return Ok(());
        }
        // The old one's port may be the new one's.
        self.running = None;
        self.tried = wanted.map(|place| (place, now));
        if let Some(place) = wanted {
            self.running = Some(Server::start(place, self.board.clone(), self.clock)?);
        }
        Ok(())
    }

    /// Where what it answers is written.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Where it is.
    pub fn place(&self) -> Option<Place> {
        self.running.as_ref().map(|server| server.place)
    }
}

/// A listening socket and its thread. Both end with this.
#[derive(Debug)]
struct Server {
    place: Place,
    /// The thread ends when this is closed.
    alive: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

impl Server {
    fn start(place: Place, board: Arc<Board>, clock: fn() -> Nanos) -> io::Result<Server> {
        let listener = listen(place)?;
        let (alive, end) = UnixStream::pair()?;
        let run = move || serve(place, &listener, &end, &board, clock);
        let thread = Builder::new().name("status".into()).spawn(run)?;
        Ok(Server { place, alive: Some(alive), thread: Some(thread) })
    }
}

fn listen(place: Place) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_freebind_v4(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(place.address, place.port).into())?;
    socket.listen(CLIENTS as i32)?;
    Ok(socket.into())
}

/// Somebody who asks.
struct Client {
    stream: TcpStream,
    until: Instant,
    request: Vec<u8>,
    /// Has its answer: what it says yet is read and forgotten, lest the answer be lost with it.
    answered: bool,
}

/// The thread.
fn serve(place: Place, listener: &TcpListener, end: &UnixStream, board: &Board, clock: fn() -> Nanos) {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let now = Instant::now();
        clients.retain(|client| client.until > now);
        let fds = [end.as_fd(), listener.as_fd()].into_iter().chain(clients.iter().map(|c| c.stream.as_fd()));
        let mut fds: Vec<PollFd> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let patience = clients.iter().map(|client| client.until).min().map(|until| until - now);
        let timeout = patience.map_or(PollTimeout::NONE, |left| {
            // not a moment too early, and round again
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let [over, asked, rest @ ..] = ready.as_slice() else { return };
        if *over {
            return;
        }
        let mut ready = rest.iter();
        clients.retain_mut(|client| {
            ready.next() != Some(&true) || client.hear(|| board.answer(clock(), place.stale))
        });
        if *asked {
            accept(place, listener, &mut clients);
        }
    }
}

fn accept(place: Place, listener: &TcpListener, clients: &mut Vec<Client>) {
    for _ in 0..CLIENTS {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            // Out of file descriptors, most likely: not again at once.
            Err(_) => return std::thread::sleep(Duration::from_millis(10)),
        };
        let may = matches!(peer.ip(), IpAddr::V4(ip) if place.from.contains(ip));
        if !may || stream.set_nonblocking(true).is_err() {
            continue;
        }
        if clients.len() >= CLIENTS {
            clients.remove(0);
        }
        let until = Instant::now() + PATIENCE;
        clients.push(Client { stream, until, request: Vec::new(), answered: false });
    }
}

impl Client {
    /// There is something to read. False: it is over.
    fn hear(&mut self, answer: impl FnOnce() -> (bool, Value)) -> bool {
        let mut some = [0; LONGEST];
        let got = match self.stream.read(&mut some) {
            Ok(0) => return false,
            Ok(got) => some.get(..got).unwrap_or_default(),
            Err(e) => return matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        if self.answered {
            return true;
        }
        self.request.extend_from_slice(got);
        let Some(judged) = judge(&self.request) else { return true };
        self.answered = true;
        // It fits into an empty buffer; if not, somebody plays with windows.
        let text = respond(judged, answer);
        self.stream.write_all(text.as_bytes()).is_ok() && self.stream.shutdown(Shutdown::Write).is_ok()
    }
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Get,
    Head,
    /// It is refused.
    Wrong(&'static str),
}

/// `None`: there is more to come.
fn judge(request: &[u8]) -> Option<Judged> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let too_long = Judged::Wrong("431 Request Header Fields Too Large");
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) if request.len() < LONGEST => None,
        Ok(_) | Err(httparse::Error::TooManyHeaders) if request.len() > LONGEST => Some(too_long),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => Some(too_long),
        Ok(httparse::Status::Complete(_)) => Some(match parsed.method {
            Some("GET") => Judged::Get,
            Some("HEAD") => Judged::Head,
            _ => Judged::Wrong("405 Method Not Allowed"),
        }),
        Err(_) => Some(Judged::Wrong("400 Bad Request")),
    }
}

fn respond(judged: Judged, answer: impl FnOnce() -> (bool, Value)) -> String {
    let (status, body) = match judged {
        Judged::Wrong(status) => (status, String::new()),
        Judged::Get | Judged::Head => {
            let (serves, body) = answer();
            (if serves { "200 OK" } else { "503 Service Unavailable" }, format!("{body}\n"))
        }
    };
    let kind =
        if body.is_empty() { "" } else { "Content-Type: application/json\r\nCache-Control: no-store\r\n" };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\n{kind}{allow}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    if judged == Judged::Get { head + &body } else { head }
}

#[cfg(test)]
mod tests;
