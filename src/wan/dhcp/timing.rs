//! How long a client waits: for answers, between them, and before it begins anew. And the lots that it draws.
//!
//! Lots come from a generator of the client's own (splitmix64), so that the same seed waits the same spans.

use crate::base::Nanos;

/// How often a request for an offered address is sent, and one for an address that it had (RFC 2131 3.1, 5.).
pub(super) const TRIES: u32 = 4;
/// An address is asked for by ARP so often, and is free after so many spans without an answer. RFC 5227 asks three times in 4 to 7 s,
/// which a WAN has not.
pub(super) const PROBES: u32 = 2;
/// From one ARP request to the next.
pub(super) const PROBE_EVERY: Nanos = Nanos::from_ms(250);
/// After a declined address (RFC 2131 3.1, 5.).
pub(super) const DECLINED: Nanos = Nanos::from_s(10);
/// The shortest pause between two requests of a renewal (RFC 2131 4.4.5), of a long lease.
const RENEW_LEAST: Nanos = Nanos::from_s(60);

/// Lots.
#[derive(Clone, Debug)]
pub(super) struct Lots(pub(super) u64);

impl Lots {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A span below `most`.
    pub(super) fn below(&mut self, most: Nanos) -> Nanos {
        Nanos(self.next() % most.0.max(1))
    }

    /// How long the so-manieth try, from 0, waits for its answer: 4 s, doubled up to 64 s, a second more or less (RFC 2131 4.1).
    pub(super) fn patience(&mut self, tried: u32) -> Nanos {
        let span = Nanos::from_s(4 << tried.min(4));
        span + self.below(Nanos::from_s(2)) - Nanos::from_s(1)
    }

    /// How long before it begins anew after so many refusals in a row.
    pub(super) fn pause(&mut self, refusals: u32) -> Nanos {
        match refusals {
            0 | 1 => self.below(Nanos::from_s(1)),
            more => self.patience(more - 2),
        }
    }

    /// T1 or T2, a little earlier, by lot, so that not all clients come at once (RFC 2131 4.4.5).
    pub(super) fn fuzz(&mut self, span: Nanos) -> Nanos {
        if span == Nanos::NEVER { span } else { span - self.below(Nanos(span.0 / 32)) }
    }
}

/// How long a renewal waits for its answer: half of what is left until `until`, a minute at least (RFC 2131 4.4.5), of leases shorter than
/// 8 minutes an eighth of them, and a second.
pub(super) fn again(now: Nanos, until: Nanos, whole: Nanos) -> Nanos {
    let least = RENEW_LEAST.min(Nanos(whole.0 / 8)).max(Nanos::from_s(1));
    Nanos(until.since(now).0 / 2).max(least)
}
