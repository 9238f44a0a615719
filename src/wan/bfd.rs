//! A BFD session with a gateway: asynchronous mode over one hop, without authentication, echo or demand.
//!
//! RFC 5880 6.8, RFC 5881. Pure: packets that were heard and time go in; what to send by itself from now on, what to send
//! once, and what has become of the session come out. Whoever sends repeats `BfdOut::Repeat` until the next one, each time
//! after the interval less a random part of it (`BfdOut::jitter`), and sees to the TTL of 255 both ways.
//!
//! Until it is up a session asks for one packet a second; then it negotiates its interval by a poll (6.5, 6.8.3). It is
//! lost when nothing was heard for the peer's multiplier times what both agreed on, or when the peer says so; that the peer takes
//! it down on purpose is no failure (RFC 5882 3.2).

use super::types::BfdSays;
use crate::base::Nanos;
use crate::wire::bfd::{Control, State, diagnostic};

/// The interval of a session that is not up, at least (6.8.3).
const SLOW: u32 = 1_000_000;

/// What the profile says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BfdConfig {
    /// The wanted time between two packets, both ways.
    pub every: Nanos,
    /// So many lost packets in a row are a lost session, for the peer; not 0.
    pub multiplier: u8,
    /// Tells this session from the others; not 0, random, another one for each.
    pub discriminator: u32,
}

/// What is to be done, or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BfdOut {
    /// Send this every so often, from now on and in place of what was sent before.
    Repeat(Control, Nanos),
    /// Send nothing by itself any more: the peer does not want to hear.
    Stop,
    /// Send this once, now.
    Send(Control),
    /// For the WAN.
    Says(BfdSays),
}

impl BfdOut {
    /// Each interval is shortened to a random one of these percents of it (6.8.7).
    pub fn jitter(control: &Control) -> (u8, u8) {
        if control.multiplier == 1 { (75, 90) } else { (75, 100) }
    }
}

/// One session.
#[derive(Clone, Debug)]
pub struct Bfd {
    config: BfdConfig,
    every: u32,
    state: State,
    diagnostic: u8,
    /// A change of the interval waits for the peer's word.
    polling: bool,
    /// Of the peer, as last heard.
    remote: Option<Control>,
    heard: Nanos,
    /// What is sent by itself.
    repeats: Option<(Control, Nanos)>,
}

impl Bfd {
    /// A session that begins at once.
    pub fn new(config: BfdConfig, out: &mut impl FnMut(BfdOut)) -> Bfd {
        let every = u32::try_from(config.every.as_us()).unwrap_or(u32::MAX).max(1_000);
        let mut bfd = Bfd {
            config,
            every,
            state: State::Down,
            diagnostic: diagnostic::NONE,
            polling: false,
            remote: None,
            heard: Nanos::ZERO,
            repeats: None,
        };
        bfd.repeat(out);
        bfd
    }

    /// How it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// When `tick` is wanted: nothing was heard for the detection time (6.8.4).
    pub fn next_deadline(&self) -> Nanos {
        let Some(remote) = self.remote else { return Nanos::NEVER };
        let agreed = u64::from(self.every.max(remote.min_tx));
        self.heard + Nanos::from_us(agreed.saturating_mul(u64::from(remote.multiplier)))
    }

    /// A packet of the peer, taken off the wire at `at` (6.8.6).
    pub fn hear(&mut self, at: Nanos, control: &Control, out: &mut impl FnMut(BfdOut)) {
        let ours = [0, self.config.discriminator].contains(&control.your_discriminator);
        if !ours || self.state == State::AdminDown {
            return;
        }
        self.remote = Some(*control);
        self.heard = self.heard.max(at);
        if control.fin {
            self.polling = false;
        }
        match (self.state, control.state) {
            (State::Down, State::Down) => self.enter(State::Init, diagnostic::NONE),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up, diagnostic::NONE);
                // the interval may be short from now on
                self.polling = true;
                out(BfdOut::Says(BfdSays::Up));
            }
            (State::Up, State::Down) => {
                self.enter(State::Down, diagnostic::NEIGHBOR_DOWN);
                out(BfdOut::Says(BfdSays::Lost));
            }
            (was @ (State::Init | State::Up), State::AdminDown) => {
                self.enter(State::Down, diagnostic::NEIGHBOR_DOWN);
                if was == State::Up {
                    out(BfdOut::Says(BfdSays::Withdrawn));
                }
            }
            _ => {}
        }
        self.repeat(out);
        if control.poll {
            out(BfdOut::Send(Control { poll: false, fin: true, ..self.packet() }));
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Nanos, out: &mut impl FnMut(BfdOut)) {
        if now < self.next_deadline() {
            return;
        }
        // 6.8.1: whoever was not heard for so long is forgotten
        self.remote = None;
        let was = self.state;
        if matches!(was, State::Init | State::Up) {
            self.enter(State::Down, diagnostic::TIME_EXPIRED);
        }
        if was == State::Up {
            out(BfdOut::Says(BfdSays::Lost));
        }
        self.repeat(out);
    }

    /// Takes the session down on purpose, and says so; it stays down.
    pub fn close(&mut self, out: &mut impl FnMut(BfdOut)) {
        self.enter(State::AdminDown, diagnostic::ADMIN_DOWN);
        self.repeat(out);
    }

    fn enter(&mut self, state: State, diagnostic: u8) {
        self.state = state;
        self.polling = false;
        // why it went down last is said until the next time
        if diagnostic != diagnostic::NONE {
            self.diagnostic = diagnostic;
        }
    }

    fn packet(&self) -> Control {
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling,
            multiplier: self.config.multiplier.max(1),
            my_discriminator: self.config.discriminator.max(1),
            your_discriminator: self.remote.map_or(0, |remote| remote.my_discriminator),
            min_tx: if self.state == State::Up { self.every } else { self.every.max(SLOW) },
            min_rx: self.every,
            ..Control::default()
        }
    }

    /// Has the present packet sent, if it is another one than the last (6.8.7).
    fn repeat(&mut self, out: &mut impl FnMut(BfdOut)) {
        let control = self.packet();
        let wanted = self.remote.map_or(1, |remote| remote.min_rx);
        let interval = Nanos::from_us(u64::from(control.min_tx.max(wanted)));
        // 6.6: a peer in demand mode wants to hear nothing while all is well
        let demand = |remote: Control| remote.demand && remote.state == State::Up && self.state == State::Up;
        let silent = wanted == 0 || (self.remote.is_some_and(demand) && !self.polling);
        let next = (!silent).then_some((control, interval));
        if next != self.repeats {
            self.repeats = next;
            out(next.map_or(BfdOut::Stop, |(control, interval)| BfdOut::Repeat(control, interval)));
        }
    }
}
