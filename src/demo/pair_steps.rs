//! What happens to a pair: the stories of its scenarios, and what each of their steps may cost.
//!
//! Where the members share the network of their WANs, the outside address moves with the role: nothing may be cut. Where each has an
//! ISP of its own, what has lost its address goes on by the other one (UDP) or is told (TCP); a move that was planned cuts nothing there either.
#![forbid(unsafe_code)]

use super::dual_wan::{LINK_OUTAGE, SILENT_OUTAGE};
use super::story::{Answer, Deed, Step};
use crate::base::Nanos;

/// A member that dies costs at most this: the timeout of 100 ms, four beats of 20 ms, and what a busy machine makes of it.
const TAKE_OVER: Option<Nanos> = Some(Nanos::from_ms(250));
/// An ISP that dies behind a live gateway: three rounds of the targets.
const TARGETS: Option<Nanos> = Some(Nanos::from_ms(1_500));

const KILL: Step = Step::of(
    "Member a is killed (kill -9): b takes over",
    Deed::Kill,
    (Answer::TakeOver, 4),
    ("killed", TAKE_OVER),
);
const RETURN: Step = Step::of(
    "a is started again, gets all sessions, and takes the role back",
    Deed::Start,
    (Answer::TakeBack, 16),
    ("returned", None),
);

const YIELD: Step = Step::of(
    "The operator has a yield: b takes the role, nothing is lost",
    Deed::Yield,
    (Answer::TakeOver, 4),
    ("yield", None),
);

/// Both in one DMZ, a router with the two ISPs beyond.
pub(super) const BEHIND: &[Step] = &[
    Step::quiet("Member a serves, b stands by; the router sends all by ISP1"),
    KILL.keeping(),
    RETURN.keeping(),
    Step::of(
        "ISP1's cable is cut: the router changes, the pair does not",
        Deed::Cut,
        (Answer::Failover, 4),
        ("link", LINK_OUTAGE),
    ),
    Step::of(
        "The cable is mended: the router goes back",
        Deed::Mend,
        (Answer::Failback, 12),
        ("failback", None),
    ),
    YIELD.keeping(),
];

/// Both on both ISPs.
pub(super) const BOTH: &[Step] = &[
    Step::quiet("Member a serves by ISP1, b stands by"),
    Step::of(
        "ISP1's line dies for both: a goes to ISP2, and keeps the role",
        Deed::Cut,
        (Answer::Failover, 4),
        ("silent", SILENT_OUTAGE),
    ),
    Step::of("ISP1 is back: so is a's traffic", Deed::Mend, (Answer::Failback, 14), ("failback", None)),
    Step::of(
        "a loses its cables to both ISPs: b is fitter, and takes over",
        Deed::Unplug,
        (Answer::TakeOver, 4),
        ("unplugged", TAKE_OVER),
    )
    .keeping(),
    Step::of(
        "a's cables are back: it takes the role back, nothing is lost",
        Deed::Plug,
        (Answer::TakeBack, 16),
        ("plugged", None),
    )
    .keeping(),
    KILL.keeping(),
];

/// An ISP each.
pub(super) const EACH: &[Step] = &[
    Step::quiet("Member a serves by ISP1, b stands by with ISP2"),
    Step::of(
        "There is no internet behind ISP1 any more: b takes over",
        Deed::Strand,
        (Answer::TakeOver, 5),
        ("isp_dead", TARGETS),
    ),
    Step::of(
        "ISP1 is well again: a takes the role back",
        Deed::Rejoin,
        (Answer::TakeBack, 14),
        ("isp_back", None),
    )
    .keeping(),
    KILL,
    RETURN.keeping(),
    YIELD.keeping(),
];
