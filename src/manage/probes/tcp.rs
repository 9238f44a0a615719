//! TCP for probes: connections that are opened, perhaps asked for a page, judged, and aborted (RST), by a stack of their own (smoltcp)
//! for each WAN. It has that WAN's address and no other way out than that WAN, so that no route of the router's can lead a probe astray.
//!
//! At most `MOST` connections at a time, of a few KiB each. Segments of connections that are over are answered by a reset
//! (RFC 9293 3.10.7.1), so that no server keeps one half open. HTTP is HTTP/1.0: of the answer the status line is read and nothing else.

use std::net::Ipv4Addr;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use super::Way;
use super::packets::wrapped;
use crate::base::{Mac, Nanos};
use crate::wire::{be16, be32};

/// Connections at a time: as many as there are ports.
const MOST: usize = 64;
/// Bytes of an answer that may come before its status line ends.
const HEADER: usize = 4096;
/// Rounds of the stack in one call.
const ROUNDS: usize = 8;

/// Whose connection it is: target and round.
pub(super) type Whose = (u8, u32);

/// What became of a connection.
pub(super) type Verdict = Result<(), String>;

/// What is asked of a server, and what it must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) request: Vec<u8>,
    pub(super) status: u16,
}

#[derive(Debug)]
struct Connection {
    handle: SocketHandle,
    whose: Whose,
    port: u16,
    to: Ipv4Addr,
    mac: Mac,
    page: Option<Page>,
    opened: bool,
    asked: bool,
    over: bool,
}

/// IP packets in and out.
#[derive(Debug)]
struct Line {
    mtu: usize,
    come: Option<Vec<u8>>,
    gone: Vec<Vec<u8>>,
}

struct Come(Vec<u8>);
struct Go<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Come {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Go<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Line {
    type RxToken<'a> = Come;
    type TxToken<'a> = Go<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Come, Go<'_>)> {
        let packet = self.come.take()?;
        Some((Come(packet), Go(&mut self.gone)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Go<'_>> {
        Some(Go(&mut self.gone))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut all = DeviceCapabilities::default();
        (all.medium, all.max_transmission_unit) = (Medium::Ip, self.mtu);
        all.checksum = ChecksumCapabilities::default();
        all
    }
}

/// The stack of one WAN.
pub(super) struct Stack {
    iface: Interface,
    line: Line,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    src: Ipv4Addr,
    mac: Mac,
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {}", self.connections, self.src)
    }
}

fn instant(now: Nanos) -> Instant {
    Instant::from_micros(i64::try_from(now.as_us()).unwrap_or(i64::MAX))
}

impl Stack {
    /// A stack that speaks from `way`'s address.
    pub(super) fn new(way: &Way, seed: u64, now: Nanos) -> Stack {
        let mut line = Line { mtu: usize::from(way.mtu).clamp(576, 1500), come: None, gone: Vec::new() };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut line, instant(now));
        iface.update_ip_addrs(|all| {
            // There is room for one.
            let _ = all.push(IpCidr::new(IpAddress::Ipv4(way.src), 32));
        });
        // A way for every packet: which one it takes is a matter of its frame.
        let _ = iface.routes_mut().add_default_ipv4_route(way.src);
        let sockets = SocketSet::new(Vec::new());
        Stack { iface, line, sockets, connections: Vec::new(), src: way.src, mac: way.mac }
    }

    /// Whether it speaks from this address still.
    pub(super) fn is_of(&self, way: &Way) -> bool {
        (self.src, self.mac, self.line.mtu) == (way.src, way.mac, usize::from(way.mtu).clamp(576, 1500))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.connections.is_empty()
    }

    /// Whether a connection has this port.
    pub(super) fn uses(&self, port: u16) -> bool {
        self.connections.iter().any(|c| c.port == port)
    }

    /// Whose connection has to make room for another one: the oldest one's.
    pub(super) fn in_the_way(&self) -> Option<Whose> {
        let oldest = self.connections.first().map(|c| c.whose);
        oldest.filter(|_| self.connections.len() >= MOST)
    }

    /// Opens a connection from `port`. False: the stack will not.
    pub(super) fn open(
        &mut self,
        whose: Whose,
        port: u16,
        to: (Ipv4Addr, u16),
        mac: Mac,
        page: Option<Page>,
    ) -> bool {
        let room = |bytes| SocketBuffer::new(vec![0; bytes]);
        let mut socket = Socket::new(room(HEADER), room(page.as_ref().map_or(16, |p| p.request.len())));
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let remote = (IpAddress::Ipv4(to.0), to.1);
        if socket.connect(self.iface.context(), remote, port).is_err() {
            return false;
        }
        let handle = self.sockets.add(socket);
        let (to, opened, asked, over) = (to.0, false, false, false);
        self.connections.push(Connection { handle, whose, port, to, mac, page, opened, asked, over });
        true
    }

    /// Whose connection a quoted segment is of.
    pub(super) fn whose(&self, port: u16, to: Ipv4Addr) -> Option<Whose> {
        self.connections.iter().find(|c| c.port == port && c.to == to).map(|c| c.whose)
    }

    /// Ends a connection that was not judged; says how far it had come.
    pub(super) fn end(&mut self, whose: Whose) -> &'static str {
        let Some(connection) = self.connections.iter_mut().find(|c| c.whose == whose && !c.over) else {
            return "no answer";
        };
        connection.over = true;
        if connection.opened { "connected, but no answer" } else { "no answer" }
    }

    /// A packet has come in.
    pub(super) fn heard(&mut self, packet: &[u8], from: Mac, now: Nanos, frames: &mut Vec<Vec<u8>>) {
        self.line.come = Some(packet.to_vec());
        self.poll(now);
        self.line.come = None;
        self.drain(Some(from), frames);
    }

    /// Goes on: gives the frames to be sent, and what became of connections.
    pub(super) fn turn(&mut self, now: Nanos, frames: &mut Vec<Vec<u8>>) -> Vec<(Whose, Verdict)> {
        let mut verdicts = Vec::new();
        self.poll(now);
        for connection in self.connections.iter_mut().filter(|c| !c.over) {
            let socket = self.sockets.get_mut::<Socket>(connection.handle);
            if let Some(verdict) = connection.judge(socket) {
                connection.over = true;
                verdicts.push((connection.whose, verdict));
            }
        }
        for connection in self.connections.iter().filter(|c| c.over) {
            self.sockets.get_mut::<Socket>(connection.handle).abort();
        }
        // Requests and resets leave.
        self.poll(now);
        self.drain(None, frames);
        for connection in self.connections.extract_if(.., |c| c.over) {
            self.sockets.remove(connection.handle);
        }
        verdicts
    }

    /// When `turn` is next wanted.
    pub(super) fn due(&mut self, now: Nanos) -> Nanos {
        if self.connections.is_empty() {
            return Nanos::NEVER;
        }
        let at = self.iface.poll_at(instant(now), &self.sockets);
        at.map_or(Nanos::NEVER, |at| Nanos::from_us(u64::try_from(at.total_micros()).unwrap_or(0)))
    }

    fn poll(&mut self, now: Nanos) {
        for _ in 0..ROUNDS {
            if self.iface.poll(instant(now), &mut self.line, &mut self.sockets) == PollResult::None {
                break;
            }
        }
    }

    /// Puts what the stack has said into frames: to where its connection goes, or else back to where it came from.
    fn drain(&mut self, back: Option<Mac>, frames: &mut Vec<Vec<u8>>) {
        for packet in self.line.gone.drain(..) {
            let (to, port) = (Ipv4Addr::from_bits(be32(&packet, 16)), be16(&packet, 20));
            let connection = self.connections.iter().find(|c| c.to == to && c.port == port);
            if let Some(mac) = connection.map(|c| c.mac).or(back) {
                frames.push(wrapped(self.mac, mac, &packet));
            }
        }
    }
}

impl Connection {
    fn judge(&mut self, socket: &mut Socket<'_>) -> Option<Verdict> {
        match socket.state() {
            State::Closed if self.opened => return Some(Err("connection reset".into())),
            State::Closed => return Some(Err("refused".into())),
            State::SynSent | State::SynReceived | State::Listen => return None,
            _ => self.opened = true,
        }
        let Some(page) = &self.page else { return Some(Ok(())) };
        if !self.asked {
            self.asked = socket.send_slice(&page.request).is_ok();
        }
        let mut start = [0; HEADER];
        let length = socket.peek_slice(&mut start).unwrap_or(0);
        let start = start.get(..length).unwrap_or_default();
        match start.iter().position(|b| *b == b'\n') {
            Some(end) => Some(page.judge(start.get(..end).unwrap_or_default())),
            None if length == HEADER || !socket.may_recv() => Some(Err("no HTTP answer".into())),
            None => None,
        }
    }
}

impl Page {
    /// The request for a page.
    pub(super) fn new(host: &str, path: &str, status: u16) -> Page {
        let request = format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: turnout\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        );
        Page { request: request.into_bytes(), status }
    }

    /// What a status line says (RFC 9112 4).
    fn judge(&self, line: &[u8]) -> Verdict {
        let code = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..5)).and_then(|rest| {
            let digits = rest.strip_prefix(b" ")?;
            digits.iter().all(u8::is_ascii_digit).then_some(digits)
        });
        let Some(code) = code else { return Err("no HTTP answer".into()) };
        let code = code.iter().fold(0u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
        if code == self.status { Ok(()) } else { Err(format!("http {code} instead of {}", self.status)) }
    }
}
