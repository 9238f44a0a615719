//! The scenario `dual-wan`: a site with two ISPs loses the first one twice, once by its link and once in silence.
#![forbid(unsafe_code)]

use super::DemoError;
use super::crew::{Part, Post};
use super::lab::{Shape, WAN1, WAN2};
use super::play::{Plot, play as play_it};
use super::report::Report;
use super::stage::Stage;
use super::story::{Answer, Deed, Step};
use crate::base::Nanos;

/// The scenario's name.
pub const NAME: &str = "dual-wan";

/// A line that lost its carrier costs at most this.
pub(super) const LINK_OUTAGE: Option<Nanos> = Some(Nanos::from_ms(100));
/// A line that went silent costs at most this.
pub(super) const SILENT_OUTAGE: Option<Nanos> = Some(Nanos::from_ms(1_200));

/// What happens where a router loses its first ISP.
pub(super) const STEPS: &[Step] = &[
    Step::quiet("Both ISPs are healthy, traffic leaves by ISP1"),
    Step::of(
        "ISP1's cable is cut: the carrier is gone, ISP2 takes over",
        Deed::Cut,
        (Answer::Failover, 3),
        ("link", LINK_OUTAGE),
    ),
    Step::of(
        "The cable is mended: ISP1 has to stay well before it carries",
        Deed::Mend,
        (Answer::Failback, 12),
        ("failback", None),
    ),
    Step::of(
        "ISP1 goes silent: the carrier is up, nothing comes through",
        Deed::Silence,
        (Answer::Failover, 4),
        ("silent", SILENT_OUTAGE),
    ),
    Step::of(
        "ISP1 speaks again: it has to stay well before it carries",
        Deed::Heal,
        (Answer::Failback, 16),
        ("failback", None),
    ),
];

/// The router's profile in this lab; `@SOCKET@` stands for the control socket.
pub fn profile() -> String {
    let cores = cores();
    let manager = cores.first().copied().unwrap_or(0);
    let worker = cores.get(1).copied().unwrap_or(manager);
    format!(
        "version: 1
name: demo
engine: {{ workers: [{worker}], manager: {manager}, sessions: 65536 }}
interfaces:
  lan:  {{ port: \"linux:lan0\", addresses: [192.168.10.1/24] }}
  isp1: {{ port: \"linux:isp1\", addresses: [{WAN1}/29], gateway: 203.0.113.1 }}
  isp2: {{ port: \"linux:isp2\", addresses: [{WAN2}/29], gateway: 198.51.100.1 }}
wans:
  isp1: {{ health: demo }}
  isp2: {{ health: demo }}
health:
  demo: {{ up: {{ stable: 3s }} }}
groups: {{ default: {{ failback: {{ after: 0s }} }} }}
on_failover: {{ tcp: {{ reset_after: 0s }} }}
management: {{ socket: \"@SOCKET@\", journal: \"@SOCKET@.d/journal\" }}
"
    )
}

/// The cores this process may use.
pub(super) fn cores() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return vec![0] };
    (0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

/// The router that has the two ISPs.
pub(super) fn router(profile: String) -> Post {
    Post { host: "router", called: "the router", profile, part: Part::Router }
}

/// Plays the scenario.
///
/// # Errors
/// As `play::play`.
pub fn play(stage: &mut Stage) -> Result<Report, DemoError> {
    let posts = vec![router(profile())];
    play_it(stage, Plot { name: NAME, shape: Shape::DualWan, posts, steps: STEPS, cables: &[] })
}
