//! A WAN's BFD session on the wire: the machine is `wan::Bfd`, here it gets packets and its words become some.
//!
//! What is sent, a worker repeats by itself (`engine::frames::Repeat`), so that only a change of what is said, or the answer to a poll, is
//! done here. What comes has passed TTL 255 and the neighbour's address (`path::answers`).

use crate::base::Nanos;
use crate::wan::{self, BfdConfig, BfdOut, BfdSays};
use crate::wire::bfd::Control;
pub(super) use crate::wire::bfd::LEN;

/// How a neighbour is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// The neighbour, on the WAN's link
    pub peer: std::net::Ipv4Addr,
    /// How often each side sends
    pub every: Nanos,
    /// So many lost in a row end the session
    pub multiplier: u8,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// For the WAN.
    Says(BfdSays),
    /// Answer a poll, once.
    Answer([u8; LEN]),
}

/// The session, from this side.
#[derive(Clone, Debug)]
pub(super) struct Session {
    config: Bfd,
    machine: wan::Bfd,
    repeats: Option<(Control, Nanos)>,
}

/// Does what came out of the machine.
fn take(out: BfdOut, repeats: &mut Option<(Control, Nanos)>, acts: &mut Vec<Act>) {
    match out {
        BfdOut::Repeat(control, every) => *repeats = Some((control, every)),
        BfdOut::Stop => *repeats = None,
        BfdOut::Send(control) => acts.push(Act::Answer(control.emit())),
        BfdOut::Says(says) => acts.push(Act::Says(says)),
    }
}

impl Session {
    /// A session that begins. `discriminator` is a random number, not 0.
    pub(super) fn new(config: Bfd, discriminator: u32) -> Session {
        let (mut repeats, mut acts) = (None, Vec::new());
        let own = BfdConfig { every: config.every, multiplier: config.multiplier, discriminator };
        let machine = wan::Bfd::new(own, &mut |out| take(out, &mut repeats, &mut acts));
        Session { config, machine, repeats }
    }

    pub(super) fn config(&self) -> &Bfd {
        &self.config
    }

    /// What is to be sent again and again, how often at least, and how much of that time it may take at most. `None`: the neighbour
    /// wants nothing.
    pub(super) fn says(&self) -> Option<([u8; LEN], Nanos, u8)> {
        self.repeats.map(|(control, every)| (control.emit(), every, BfdOut::jitter(&control).1))
    }

    /// When the neighbour is given up.
    pub(super) fn due(&self) -> Nanos {
        self.machine.next_deadline()
    }

    /// A control packet that came in at `at`.
    pub(super) fn heard(&mut self, data: &[u8], at: Nanos) -> Vec<Act> {
        let mut acts = Vec::new();
        if let Some(control) = Control::parse(data) {
            self.machine.hear(at, &control, &mut |out| take(out, &mut self.repeats, &mut acts));
        }
        acts
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Nanos) -> Vec<Act> {
        let mut acts = Vec::new();
        self.machine.tick(now, &mut |out| take(out, &mut self.repeats, &mut acts));
        acts
    }
}
