//! BFD with one neighbour on a WAN's link (RFC 5880, asynchronous mode; RFC 5881): a session that is up says that packets go both
//! ways, at a rate that no other probe has.
//!
//! What is sent, a worker repeats by itself (`engine::frames::Repeat`), so that only a change of what is said, or the answer to a poll, is
//! done here. What comes has passed TTL 255 and the neighbour's address (`path::answers`). Active role, no authentication, no echo
//! function, no demand mode of its own. Never faster than once a second before the session is up (6.8.3).

use crate::base::Nanos;
use crate::wire::be32;

/// Length of a control packet without authentication.
pub(super) const LEN: usize = 24;
/// The rate before the session is up.
const SLOW: Nanos = Nanos::from_s(1);

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

/// A side of a session (6.8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    AdminDown,
    #[default]
    Down,
    Init,
    Up,
}

impl State {
    fn of(bits: u8) -> State {
        [State::AdminDown, State::Down, State::Init, State::Up][usize::from(bits & 3)]
    }
}

/// Why a session ended (4.1).
mod diagnostic {
    pub(super) const NONE: u8 = 0;
    pub(super) const EXPIRED: u8 = 1;
    pub(super) const NEIGHBOR: u8 = 3;
}

/// A control packet (4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) diagnostic: u8,
    pub(super) state: State,
    pub(super) poll: bool,
    pub(super) last: bool,
    pub(super) multiplier: u8,
    pub(super) mine: u32,
    pub(super) yours: u32,
    /// In us
    pub(super) desired_tx: u32,
    pub(super) required_rx: u32,
}

impl Control {
    /// Reads a packet as far as it can be judged alone (6.8.6).
    pub(super) fn read(data: &[u8]) -> Option<Control> {
        let h = data.first_chunk::<LEN>()?;
        let (authenticated, multipoint) = (h[1] & 0x04 != 0, h[1] & 0x01 != 0);
        let length = usize::from(h[3]);
        let control = Control {
            diagnostic: h[0] & 0x1f,
            state: State::of(h[1] >> 6),
            poll: h[1] & 0x20 != 0,
            last: h[1] & 0x10 != 0,
            multiplier: h[2],
            mine: be32(h, 4),
            yours: be32(h, 8),
            desired_tx: be32(h, 12),
            required_rx: be32(h, 16),
        };
        let known = control.yours != 0 || matches!(control.state, State::Down | State::AdminDown);
        let good = h[0] >> 5 == 1
            && (LEN..=data.len()).contains(&length)
            && control.multiplier != 0
            && control.mine != 0
            && known
            && !authenticated
            && !multipoint;
        good.then_some(control)
    }

    pub(super) fn bytes(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[0] = 1 << 5 | self.diagnostic;
        out[1] = (self.state as u8) << 6 | u8::from(self.poll) << 5 | u8::from(self.last) << 4;
        (out[2], out[3]) = (self.multiplier, LEN as u8);
        for (at, value) in [(4, self.mine), (8, self.yours), (12, self.desired_tx), (16, self.required_rx)] {
            out[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        out
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The session is up, or ended for this reason.
    Session(Result<(), &'static str>),
    /// Answer a poll, once.
    Answer([u8; LEN]),
}

/// The session, from this side.
#[derive(Clone, Debug)]
pub(super) struct Session {
    config: Bfd,
    state: State,
    diagnostic: u8,
    mine: u32,
    yours: u32,
    /// The neighbour has not answered the last change of rate yet
    polling: bool,
    /// What the neighbour said last
    last: Option<Control>,
    until: Nanos,
}

fn us(span: Nanos) -> u32 {
    u32::try_from(span.as_us()).unwrap_or(u32::MAX)
}

impl Session {
    /// A session that is down. `mine` is a random number, not 0.
    pub(super) fn new(config: Bfd, mine: u32) -> Session {
        let (state, diagnostic) = (State::Down, diagnostic::NONE);
        Session { config, state, diagnostic, mine, yours: 0, polling: false, last: None, until: Nanos::NEVER }
    }

    pub(super) fn config(&self) -> &Bfd {
        &self.config
    }

    fn desired_tx(&self) -> Nanos {
        if self.state == State::Up { self.config.every } else { self.config.every.max(SLOW) }
    }

    fn control(&self, last: bool) -> Control {
        Control {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polling && !last,
            last,
            multiplier: self.config.multiplier.max(1),
            mine: self.mine,
            yours: self.yours,
            desired_tx: us(self.desired_tx()),
            required_rx: us(self.config.every),
        }
    }

    /// What is to be sent again and again, how often at least, and how much of that time it may take at most. `None`: the neighbour
    /// wants nothing.
    pub(super) fn says(&self) -> Option<([u8; LEN], Nanos, u8)> {
        let wants = self.last.map_or(0, |last| last.required_rx);
        if self.last.is_some() && wants == 0 {
            return None;
        }
        let every = self.desired_tx().max(Nanos::from_us(wants.into()));
        Some((self.control(false).bytes(), every, if self.config.multiplier <= 1 { 90 } else { 100 }))
    }

    /// When the neighbour is given up.
    pub(super) fn due(&self) -> Nanos {
        self.until
    }

    /// A control packet that came in at `at`.
    pub(super) fn heard(&mut self, data: &[u8], at: Nanos) -> Vec<Act> {
        let mut acts = Vec::new();
        let Some(said) = Control::read(data) else { return acts };
        if said.yours != 0 && said.yours != self.mine {
            return acts;
        }
        self.yours = said.mine;
        self.last = Some(said);
        self.polling &= !said.last;
        let slowest = us(self.config.every).max(said.desired_tx);
        // By its own multiplier (6.8.4).
        self.until = at + Nanos::from_us(u64::from(slowest) * u64::from(said.multiplier));
        let next = match (self.state, said.state) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => State::Down,
            (State::Down, State::Down) => State::Init,
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => State::Up,
            (same, _) => same,
        };
        match (self.state, next) {
            (State::Up, State::Down) => {
                let administrative = said.state == State::AdminDown;
                let why =
                    if administrative { "shut down by the neighbour" } else { "ended by the neighbour" };
                self.end(diagnostic::NEIGHBOR);
                acts.push(Act::Session(Err(why)));
            }
            (_, State::Up) if self.state != State::Up => {
                (self.state, self.diagnostic) = (next, diagnostic::NONE);
                // The rate changes with it (6.8.3).
                self.polling = true;
                acts.push(Act::Session(Ok(())));
            }
            _ => self.state = next,
        }
        if said.poll {
            acts.push(Act::Answer(self.control(true).bytes()));
        }
        acts
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Nanos) -> Option<Act> {
        if now < self.until {
            return None;
        }
        let up = self.state == State::Up;
        self.end(if self.state == State::Down { self.diagnostic } else { diagnostic::EXPIRED });
        (self.yours, self.last, self.until) = (0, None, Nanos::NEVER);
        up.then_some(Act::Session(Err("neighbour silent")))
    }

    fn end(&mut self, diagnostic: u8) {
        (self.state, self.diagnostic, self.polling) = (State::Down, diagnostic, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY: Nanos = Nanos::from_ms(300);

    fn session(mine: u32) -> Session {
        let peer = std::net::Ipv4Addr::new(203, 0, 113, 1);
        Session::new(Bfd { peer, every: EVERY, multiplier: 3 }, mine)
    }

    fn exchange(a: &mut Session, b: &mut Session, at: Nanos) -> Vec<Act> {
        let said = a.says().unwrap().0;
        b.heard(&said, at)
    }

    /// Two sides that are up, at 0.
    fn two() -> (Session, Session) {
        let (mut a, mut b) = (session(1), session(2));
        assert_eq!(exchange(&mut a, &mut b, Nanos::ZERO), []);
        assert_eq!(exchange(&mut b, &mut a, Nanos::ZERO), [Act::Session(Ok(()))]);
        let acts = exchange(&mut a, &mut b, Nanos::ZERO);
        assert!(matches!(acts[..], [Act::Session(Ok(())), Act::Answer(_)]), "{acts:?}");
        (a, b)
    }

    #[test]
    fn two_sides_come_up_by_three_packets_and_fall_silent_after_three_intervals() {
        let (mut a, _) = two();
        // What the other said last was said slowly.
        assert_eq!(a.due(), Nanos::from_s(3));
        assert_eq!(a.tick(Nanos::from_ms(2999)), None);
        assert_eq!(a.tick(Nanos::from_s(3)), Some(Act::Session(Err("neighbour silent"))));
        let said = Control::read(&a.says().unwrap().0).unwrap();
        assert_eq!((said.state, said.diagnostic, said.yours), (State::Down, diagnostic::EXPIRED, 0));
        assert_eq!(a.tick(Nanos::from_s(30)), None);
    }

    #[test]
    fn the_rate_is_a_second_at_least_until_it_is_up_and_a_poll_tells_of_the_change() {
        let a = session(1);
        assert_eq!(a.says().map(|(_, every, most)| (every, most)), Some((SLOW, 100)));
        let (mut a, mut b) = two();
        assert_eq!(a.says().map(|s| s.1), Some(EVERY));
        assert!(Control::read(&a.says().unwrap().0).unwrap().poll);
        let acts = b.heard(&a.says().unwrap().0, Nanos::ZERO);
        let [Act::Answer(answer)] = acts[..] else { panic!("{acts:?}") };
        let read = Control::read(&answer).unwrap();
        assert!(read.last && !read.poll);
        a.heard(&answer, Nanos::ZERO);
        assert!(!Control::read(&a.says().unwrap().0).unwrap().poll);
        assert_eq!(a.due(), Nanos::from_ms(900));
    }

    #[test]
    fn the_neighbour_s_wishes_bound_the_rate() {
        let (mut a, b) = two();
        let mut said = b.control(false);
        (said.required_rx, said.desired_tx, said.multiplier) = (700_000, 500_000, 5);
        a.heard(&said.bytes(), Nanos::from_s(1));
        assert_eq!(a.says().map(|s| s.1), Some(Nanos::from_ms(700)));
        assert_eq!(a.due(), Nanos::from_ms(3500));
        said.required_rx = 0;
        a.heard(&said.bytes(), Nanos::from_s(1));
        assert_eq!(a.says(), None);
    }

    #[test]
    fn the_neighbour_may_end_it_and_its_state_machine_is_the_rfc_s() {
        use State::*;
        // 6.2: this side, and what becomes of it when the other says AdminDown, Down, Init, Up
        let table =
            [(Down, [Down, Init, Up, Down]), (Init, [Down, Init, Up, Up]), (Up, [Down, Down, Up, Up])];
        for (from, to) in table {
            for (said, want) in [AdminDown, Down, Init, Up].into_iter().zip(to) {
                let mut a = session(1);
                a.state = from;
                let mut control = session(2).control(false);
                (control.state, control.yours) = (said, 1);
                let acts = a.heard(&control.bytes(), Nanos::ZERO);
                assert_eq!(a.state, want, "{from:?} {said:?}");
                let ended = acts.iter().any(|act| matches!(act, Act::Session(Err(_))));
                assert_eq!(ended, from == Up && want == Down, "{from:?} {said:?}");
            }
        }
    }

    #[test]
    fn what_is_not_for_this_session_is_ignored() {
        let (mut a, b) = two();
        let good = b.control(false).bytes();
        // version, length, multiplier, multipoint, authentication, my discriminator 0, another session
        for (at, byte) in
            [(0, 0x40), (3, 23), (3, 25), (2, 0), (1, 0xc1), (1, 0xc4), (7, 0), (11, 9), (11, 0)]
        {
            let mut bad = good;
            bad[at] = byte;
            let before = (a.due(), a.says());
            assert_eq!(a.heard(&bad, Nanos::from_s(2)), [], "{at}");
            assert_eq!((a.due(), a.says()), before, "{at}");
        }
        assert_eq!(a.heard(&good[..23], Nanos::from_s(2)), []);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let (mut a, _) = two();
            a.heard(&bytes, Nanos::from_s(1));
            a.says();
        }
    }
}
