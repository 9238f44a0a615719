//! What the NAT knows of a TCP connection: the states of RFC 7857 2.1 (which are those of RFC 6146 3.5.2).
//!
//! Only the timer depends on the state. Sequence numbers are not judged: a forged reset cuts nothing, it starts the
//! transitory timer, and data bring the session back (RFC 7857 2.3).

use crate::wire::tcp::Flags;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TcpState {
    /// SYN from inside, none from outside yet
    SynOut = 0,
    /// SYN from outside, none from inside yet
    SynIn = 1,
    /// Both have sent SYN
    Established = 2,
    /// FIN from inside
    FinOut = 3,
    /// FIN from outside
    FinIn = 4,
    /// FIN from both
    FinBoth = 5,
    /// A reset was seen
    Transitory = 6,
}

/// Which way a segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From inside to outside
    Out,
    /// From outside to inside
    In,
}

impl TcpState {
    /// All states.
    pub const ALL: [TcpState; 7] = [
        TcpState::SynOut,
        TcpState::SynIn,
        TcpState::Established,
        TcpState::FinOut,
        TcpState::FinIn,
        TcpState::FinBoth,
        TcpState::Transitory,
    ];

    /// The state with this number; `Transitory` for a number that is none.
    #[inline(always)]
    pub fn from_u8(n: u8) -> TcpState {
        Self::ALL.get(usize::from(n)).copied().unwrap_or(TcpState::Transitory)
    }

    /// The state's name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            TcpState::SynOut => "syn_out",
            TcpState::SynIn => "syn_in",
            TcpState::Established => "established",
            TcpState::FinOut => "fin_out",
            TcpState::FinIn => "fin_in",
            TcpState::FinBoth => "fin_both",
            TcpState::Transitory => "transitory",
        }
    }

    /// Whether the partner of a pair is told of the step from one state to another: if another timer runs then.
    #[inline(always)]
    pub fn told_apart(before: u8, after: u8) -> bool {
        timer(before) != timer(after)
    }

    /// Which timer runs, by the first state that has it. The two that open are told apart, since the partner is not told of `SynOut`.
    pub fn timer(self) -> u8 {
        timer(self as u8)
    }

    /// Both sides have said that they are done, so nothing of it is under way for long.
    pub const fn closed(self) -> bool {
        matches!(self, TcpState::FinBoth)
    }

    /// The state after a segment.
    pub const fn after(self, way: Way, flags: Flags) -> TcpState {
        use TcpState::*;
        match self {
            // A SYN after the end is a new connection between the same ports.
            FinBoth | Transitory if flags.opens() => match way {
                Way::Out => SynOut,
                Way::In => SynIn,
            },
            SynOut => match way {
                Way::In if flags.rst() => Transitory,
                Way::In if flags.syn() => Established,
                _ => SynOut,
            },
            SynIn => match way {
                Way::Out if flags.rst() => Transitory,
                Way::Out if flags.syn() => Established,
                _ => SynIn,
            },
            Established if flags.rst() => Transitory,
            Established if flags.fin() => match way {
                Way::Out => FinOut,
                Way::In => FinIn,
            },
            FinOut if flags.rst() => Transitory,
            FinIn if flags.rst() => Transitory,
            FinOut if flags.fin() && matches!(way, Way::In) => FinBoth,
            FinIn if flags.fin() && matches!(way, Way::Out) => FinBoth,
            Transitory if !flags.rst() => Established,
            state => state,
        }
    }

    /// Whether a segment starts the timer anew. Not a reset: what follows it must show that there is life. It starts that of an end,
    /// but not where inside refuses: whom it has never answered has the time of its first SYN (RFC 7857 7).
    pub const fn refreshes(self, after: TcpState, flags: Flags) -> bool {
        !flags.rst() || (after as u8 != self as u8 && !matches!(self, TcpState::SynIn))
    }
}

/// All states from the first FIN on have one timer.
#[inline(always)]
fn timer(state: u8) -> u8 {
    state.min(TcpState::FinOut as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::*;

    #[test]
    fn what_is_told_apart_has_another_timer_or_is_a_syn_from_inside() {
        let s = crate::base::Nanos::from_s;
        let timeouts = crate::nat::Timeouts::new(s(7440), s(240), s(300), &[], s(60), s(600));
        let timeouts = timeouts.opening(s(60)).closing(s(120));
        for (a, b) in TcpState::ALL.into_iter().flat_map(|a| TcpState::ALL.map(|b| (a, b))) {
            let opening = matches!((a, b), (SynOut, SynIn) | (SynIn, SynOut));
            let apart = timeouts.ms(a as u8) != timeouts.ms(b as u8) || opening;
            assert_eq!(TcpState::told_apart(a as u8, b as u8), apart, "{a:?} {b:?}");
        }
    }

    /// The table of RFC 6146 3.5.2.2, written out: (state, way, flags) -> state, for those that change it.
    #[test]
    fn rfc7857_1_and_rfc5382_2_5_every_state_flag_and_direction_follows_the_table() {
        for state in TcpState::ALL {
            for way in [Way::Out, Way::In] {
                for bits in 0..32u8 {
                    let f = Flags(bits);
                    let out = way == Way::Out;
                    let expected = match (state, out) {
                        (SynOut, false) if f.rst() => Transitory,
                        (SynOut, false) if f.syn() => Established,
                        (SynIn, true) if f.rst() => Transitory,
                        (SynIn, true) if f.syn() => Established,
                        (Established | FinOut | FinIn, _) if f.rst() => Transitory,
                        (Established, true) if f.fin() => FinOut,
                        (Established, false) if f.fin() => FinIn,
                        (FinOut, false) if f.fin() => FinBoth,
                        (FinIn, true) if f.fin() => FinBoth,
                        (FinBoth | Transitory, true) if f.opens() => SynOut,
                        (FinBoth | Transitory, false) if f.opens() => SynIn,
                        (Transitory, _) if !f.rst() => Established,
                        (same, _) => same,
                    };
                    assert_eq!(state.after(way, f), expected, "{state:?} {way:?} {bits:05b}");
                }
            }
        }
    }
}
