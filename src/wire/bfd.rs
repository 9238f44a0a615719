//! The control packet of BFD (RFC 5880 4.1), in UDP to port 3784 (RFC 5881 4), without authentication.
//!
//! Read with the checks of RFC 5880 6.8.6 that need nothing but the packet. That it came with a TTL of 255 (RFC 5881 5) and
//! from the peer, and whose session it is, is for others to say.

use super::be32;

/// Length of a packet without authentication.
pub const LEN: usize = 24;
/// Where it goes to.
pub const PORT: u16 = 3784;
/// What it must come and go with (RFC 5881 5).
pub const TTL: u8 = 255;

/// State of a session (RFC 5880 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Taken down on purpose
    AdminDown,
    /// Nothing heard
    #[default]
    Down,
    /// The peer is heard, and may not hear
    Init,
    /// Both hear
    Up,
}

impl State {
    const fn of(bits: u8) -> State {
        match bits & 3 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        }
    }
}

/// Why a session went down last (RFC 5880 4.1).
pub mod diagnostic {
    /// Nothing has happened
    pub const NONE: u8 = 0;
    /// Nothing was heard for the detection time
    pub const TIME_EXPIRED: u8 = 1;
    /// The peer said so
    pub const NEIGHBOR_DOWN: u8 = 3;
    /// On purpose
    pub const ADMIN_DOWN: u8 = 7;
}

/// The packet's fields; intervals in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Why the session went down last, 0 to 31
    pub diagnostic: u8,
    /// The sender's state
    pub state: State,
    /// The sender wants an answer with `fin`
    pub poll: bool,
    /// This is the answer
    pub fin: bool,
    /// The sender's BFD does not share the fate of its control plane
    pub independent: bool,
    /// The sender wants to be silent once the session is up
    pub demand: bool,
    /// So many packets may be lost; not 0
    pub multiplier: u8,
    /// The sender's session; not 0
    pub my_discriminator: u32,
    /// The receiver's session; 0 if it is not known yet
    pub your_discriminator: u32,
    /// As often the sender would like to send
    pub min_tx: u32,
    /// As often the sender can receive; 0: not at all
    pub min_rx: u32,
    /// As often the sender can receive echoes; 0: not at all
    pub min_echo_rx: u32,
}

impl Control {
    /// Reads the payload of a UDP datagram. `None` if RFC 5880 6.8.6 discards it: another version, a length that is too small or
    /// larger than the payload, multiplier 0, multipoint, no discriminator of the sender, none of the receiver though the
    /// sender is up or coming up, or authentication, which no session uses. Poll and final in one do not exist (6.5).
    pub fn parse(payload: &[u8]) -> Option<Control> {
        let p = payload.first_chunk::<LEN>()?;
        let [head, flags, multiplier, length, ..] = *p;
        let (poll, fin) = (flags & 0x20 != 0, flags & 0x10 != 0);
        let (authenticated, multipoint) = (flags & 0x04 != 0, flags & 0x01 != 0);
        let sized = usize::from(length) >= LEN && usize::from(length) <= payload.len();
        let control = Control {
            diagnostic: head & 0x1f,
            state: State::of(flags >> 6),
            poll,
            fin,
            independent: flags & 0x08 != 0,
            demand: flags & 0x02 != 0,
            multiplier,
            my_discriminator: be32(p, 4),
            your_discriminator: be32(p, 8),
            min_tx: be32(p, 12),
            min_rx: be32(p, 16),
            min_echo_rx: be32(p, 20),
        };
        let known =
            control.your_discriminator != 0 || matches!(control.state, State::Down | State::AdminDown);
        let good = head >> 5 == 1
            && sized
            && !authenticated
            && !multipoint
            && !(poll && fin)
            && multiplier != 0
            && control.my_discriminator != 0
            && known;
        good.then_some(control)
    }

    /// The packet.
    pub fn emit(&self) -> [u8; LEN] {
        let mut p = [0; LEN];
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        p[0] = 1 << 5 | self.diagnostic & 0x1f;
        p[1] = self.state.bits() << 6
            | flag(self.poll, 0x20)
            | flag(self.fin, 0x10)
            | flag(self.independent, 0x08)
            | flag(self.demand, 0x02);
        p[2] = self.multiplier;
        p[3] = LEN as u8;
        let words =
            [self.my_discriminator, self.your_discriminator, self.min_tx, self.min_rx, self.min_echo_rx];
        for (at, word) in p[4..].chunks_exact_mut(4).zip(words) {
            at.copy_from_slice(&word.to_be_bytes());
        }
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn up() -> Control {
        Control {
            state: State::Up,
            multiplier: 3,
            my_discriminator: 0x0102_0304,
            your_discriminator: 0x0506_0708,
            min_tx: 300_000,
            min_rx: 300_000,
            min_echo_rx: 50_000,
            ..Control::default()
        }
    }

    #[test]
    fn rfc_5880_4_1_a_packet_as_frr_sends_it() {
        let bytes = [
            0x20, 0xc0, 0x03, 0x18, 1, 2, 3, 4, 5, 6, 7, 8, 0, 4, 0x93, 0xe0, 0, 4, 0x93, 0xe0, 0, 0, 0xc3,
            0x50,
        ];
        assert_eq!(Control::parse(&bytes), Some(up()));
        assert_eq!(up().emit(), bytes);
    }

    #[test]
    fn rfc_5880_6_8_6_what_is_discarded() {
        let good = up().emit();
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Control::parse(&bytes)
        };
        for version in [0, 2, 7] {
            assert_eq!(with(0, version << 5), None, "version {version}");
        }
        for length in [0, 23, 25, 255] {
            assert_eq!(with(3, length), None, "length {length}");
        }
        let mut long = [0; 40];
        long[..LEN].copy_from_slice(&good);
        long[3] = 26;
        assert!(Control::parse(&long).is_some(), "what follows is no matter");
        assert_eq!(with(2, 0), None, "multiplier");
        assert_eq!(with(1, 0xc0 | 0x01), None, "multipoint");
        assert_eq!(with(1, 0xc0 | 0x04), None, "authentication");
        assert_eq!(with(1, 0xc0 | 0x30), None, "poll and final");
        let parsed = |control: Control| Control::parse(&control.emit());
        assert_eq!(parsed(Control { my_discriminator: 0, ..up() }), None);
        for (state, good) in
            [(State::AdminDown, true), (State::Down, true), (State::Init, false), (State::Up, false)]
        {
            let control = Control { state, your_discriminator: 0, ..up() };
            assert_eq!(parsed(control).is_some(), good, "{state:?} without a receiver");
        }
        for len in 0..LEN {
            assert_eq!(Control::parse(&good[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_what_is_read_is_written(bytes: Vec<u8>, fixed: [u8; LEN]) {
            let _ = Control::parse(&bytes);
            let mut likely = fixed;
            (likely[0], likely[3]) = (0x20 | likely[0] & 0x1f, LEN as u8);
            if let Some(control) = Control::parse(&likely) {
                prop_assert_eq!(control.emit(), likely);
            }
        }
    }
}
