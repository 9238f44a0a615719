//! What is spoken on the control socket: one JSON request in a line, answered by JSON lines, then the end of the stream.
//!
//! Each answer line is a `Reply`. A plain question gets one `Item` (or `Error`); `Sessions` and `Events` get one `Item`
//! a row. `End` closes every answer that is complete, so that a router that dies in the middle is noticed.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::cluster::Reason;
pub use crate::wan::Admin;

/// A question to the running router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The whole state in short.
    Status,
    /// One item: the list of WANs.
    Wans,
    /// One item a session.
    Sessions(SessionFilter),
    /// One item: how many sessions were ended.
    Kill {
        /// Which; `limit` does not count.
        filter: SessionFilter,
        /// All of them: without it something must be given.
        all: bool,
    },
    /// One item: the list of neighbours.
    Neighbors,
    /// One item: name -> number.
    Counters,
    /// One item: latencies from receive to send, in all and by worker.
    Latency,
    /// One item an event: those remembered, then, if `follow`, each as it comes.
    Events {
        /// Keep the stream open.
        follow: bool,
    },
    /// One item: the last failovers, newest first.
    Why,
    /// One item: what would become of a packet.
    Explain {
        /// As `udp 192.168.10.5:5000 > 9.9.9.9:53`.
        packet: String,
        /// As if these WANs were up, or down.
        assume: Vec<(String, bool)>,
        /// The interface that it comes in by; `None`: the one its source is behind.
        interface: Option<String>,
    },
    /// One item: what was applied of a changed profile.
    Reload {
        /// Go back after so many seconds, unless confirmed.
        confirm_s: Option<u64>,
    },
    /// Keep what was applied.
    Confirm,
    /// The operator's override of a WAN.
    Wan {
        /// The WAN's name.
        name: String,
        /// What the operator wants.
        admin: Admin,
        /// Even if it is the last fit WAN.
        force: bool,
    },
    /// One item: the pair, as this member sees it.
    Cluster,
    /// From now on this member of the pair is preferred.
    Prefer {
        /// Its name.
        member: String,
    },
    /// The partner is to have the role, if it has all sessions.
    Yield,
    /// The partner is to have the role, whatever sessions it lacks.
    YieldNow,
}

/// Which sessions to list. Every given field must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionFilter {
    /// The inside host.
    pub inside: Option<Ipv4Addr>,
    /// The translated address.
    pub outside: Option<Ipv4Addr>,
    /// The WAN's name.
    pub wan: Option<String>,
    /// `udp`, `tcp` or `icmp`.
    pub protocol: Option<String>,
    /// At most so many rows.
    pub limit: Option<u64>,
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A value.
    Item(Value),
    /// Refused or failed, in one line for people.
    Error(String),
    /// The answer is complete.
    End,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no router answers on {0} ({1}): is `turnout run` running, and is this its --socket?")]
    NotRunning(PathBuf, std::io::Error),
    /// The connection broke, or the router did not answer in time.
    #[error("the router on {0} stopped answering: {1}")]
    Broken(PathBuf, std::io::Error),
    /// What came is not a reply.
    #[error("the router on {0} speaks another version of the protocol: {1}")]
    Protocol(PathBuf, serde_json::Error),
    /// The router refused.
    #[error("{0}")]
    Refused(String),
}

/// Asks the router on `socket` and hands each item to `each`, until the end or until `each` returns false.
///
/// # Errors
/// See `ClientError`. An answer that stays away for 5 s is an error, but for the waiting between followed events.
pub fn ask(socket: &Path, request: &Request, mut each: impl FnMut(Value) -> bool) -> Result<(), ClientError> {
    let broken = |e| ClientError::Broken(socket.to_path_buf(), e);
    let mut stream =
        UnixStream::connect(socket).map_err(|e| ClientError::NotRunning(socket.to_path_buf(), e))?;
    let patience = match request {
        Request::Events { follow: true } => None,
        _ => Some(Duration::from_secs(5)),
    };
    stream.set_read_timeout(patience).map_err(broken)?;
    let mut line =
        serde_json::to_string(request).map_err(|e| ClientError::Protocol(socket.to_path_buf(), e))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(broken)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(broken)?;
        // The router's question whether anybody is still here.
        if line.is_empty() {
            continue;
        }
        match serde_json::from_str(&line).map_err(|e| ClientError::Protocol(socket.to_path_buf(), e))? {
            Reply::Item(value) => {
                if !each(value) {
                    return Ok(());
                }
            }
            Reply::End => return Ok(()),
            Reply::Error(text) => return Err(ClientError::Refused(text)),
        }
    }
    Err(broken(std::io::ErrorKind::UnexpectedEof.into()))
}

/// Asks a question that has one answer.
///
/// # Errors
/// As `ask`.
pub fn ask_one(socket: &Path, request: &Request) -> Result<Value, ClientError> {
    let mut answer = Value::Null;
    ask(socket, request, |value| {
        answer = value;
        true
    })?;
    Ok(answer)
}
