//! The DHCP client of a WAN (RFC 2131): how it gets an address, keeps it, and loses it. Pure: (state, input, now) -> effects.
//!
//! - What is told as a `Lease` is valid: a server granted it in an ACK to this client's own request, no server of `reject_from`, and
//!   its time, counted from when it was asked for (4.4.1), has not run out. What has run out, or was taken back by a NAK, is
//!   told as lost in the same step.
//! - Renewal is asked of the server that granted the lease, by unicast from the leased address; after T2 of all, by broadcast.
//! - `message` reads and writes the bytes (with the crate smoltcp), `lease` judges what is offered, `timing` has the spans.
//!
//! RFC 2131 4.4, RFC 2132, RFC 3396 (split options), RFC 3442 (routes), RFC 5227 (conflicts).

mod client;
mod lease;
mod message;
mod routes;
mod timing;
mod types;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_rig;
#[cfg(test)]
mod tests_sim;

pub use client::Client;
pub use lease::{Lease, Refusal};
pub use message::{Answer, Ask, Asking, Message, Route};
pub use routes::{LeftOut, ROUTES};
pub use types::{Out, Phase, Said, Send};

use std::net::Ipv4Addr;

use crate::base::{Ipv4Net, Mac};

/// Where servers listen (RFC 2131 4.1).
pub const SERVER_PORT: u16 = 67;
/// Where clients listen.
pub const CLIENT_PORT: u16 = 68;

/// What is fixed for a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The interface's address, by which servers know the client.
    pub mac: Mac,
    /// The name that servers are told (option 12); at most 63 bytes.
    pub hostname: Option<String>,
    /// Servers that are not listened to, by their identifier or the source of their packets.
    pub reject_from: Vec<Ipv4Addr>,
    /// Networks that no leased network may overlap: the inside ones.
    pub taken: Vec<Ipv4Net>,
}
