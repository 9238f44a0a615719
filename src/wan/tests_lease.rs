//! WANs that have an address only as long as they have a lease.

use super::tests_rig::*;
use super::*;

/// A by DHCP, B not; both links are there.
fn rig() -> Rig {
    let leased = Health { dhcp: true, ..Health::default() };
    let mut rig = Rig::of(Config::plain(vec![leased, Health::default()]));
    (0..2).for_each(|wan| rig.link(WanId(wan), true));
    rig
}

fn lease(rig: &mut Rig, held: bool) {
    rig.step(Input::Lease { wan: A, held }).unwrap();
}

fn asked(rig: &Rig, wan: WanId) -> bool {
    rig.seen.iter().any(|effect| matches!(effect, Effect::Probe { wan: by, .. } if *by == wan))
}

#[test]
fn without_a_lease_it_is_down_and_asks_nobody_and_the_first_lease_brings_it_up_with_the_first_answer() {
    let mut rig = rig();
    rig.run(5_000);
    assert_eq!((rig.state(A), rig.wans.get(A).reason), (State::Down, Reason::NoLease));
    assert_eq!((asked(&rig, A), rig.wans.carrying()), (false, Some(B)));
    rig.seen.clear();
    lease(&mut rig, true);
    lease(&mut rig, true);
    rig.run(T);
    let up = [(A, State::Probing, Reason::Start), (A, State::Up, Reason::FirstAnswer)];
    assert_eq!(rig.states(), up);
    assert_eq!(rig.wans.carrying(), Some(A));
}

#[test]
fn a_lost_lease_is_a_failover_that_leaves_all_and_another_one_waits_until_the_line_is_stable() {
    let mut rig = rig();
    lease(&mut rig, true);
    rig.run(T * 8);
    assert_eq!(rig.wans.carrying(), Some(A));
    let (before, _) = (rig.bond(A), rig.seen.clear());
    lease(&mut rig, false);
    let failover: Vec<Selection> = rig.selections();
    assert_eq!((failover[0].kind, failover[0].cause), (Kind::Failover, Reason::NoLease));
    assert_eq!(failover[0].evidence[0].probe, "lease");
    let after = rig.bond(A);
    assert!(after.0 != before.0 && after.1 != before.1, "TCP is left at once: {before:?} {after:?}");
    rig.run(30_000);
    assert!(!asked(&rig, A) && rig.state(A) == State::Down);
    // What comes late from before says nothing.
    rig.step(Input::ProbeReply { wan: A, probe: Probe::Gateway, round: None, at: rig.now }).unwrap();
    lease(&mut rig, true);
    rig.run(9_000);
    assert_eq!(rig.state(A), State::Down);
    rig.run(2_000);
    assert_eq!((rig.state(A), rig.wans.get(A).reason), (State::Up, Reason::Recovered));
}

#[test]
fn a_wan_without_an_address_is_no_last_resort() {
    let mut rig = rig();
    lease(&mut rig, true);
    rig.run(T * 8);
    rig.link(B, false);
    lease(&mut rig, false);
    rig.run(5_000);
    assert_eq!(rig.wans.carrying(), None);
    let sends: Vec<bool> = rig.wans.iter().map(|(_, status)| status.sends()).collect();
    assert_eq!(sends, [false, false]);
}

#[test]
fn link_and_lease_come_and_go_in_any_order() {
    let mut rig = rig();
    lease(&mut rig, true);
    rig.run(T * 8);
    rig.link(A, false);
    lease(&mut rig, false);
    assert_eq!(rig.wans.get(A).reason, Reason::LinkLost);
    rig.link(A, true);
    assert_eq!(rig.wans.get(A).reason, Reason::NoLease);
    rig.seen.clear();
    rig.run(2_000);
    assert!(!asked(&rig, A));
    rig.link(A, false);
    lease(&mut rig, true);
    rig.seen.clear();
    rig.run(2_000);
    assert!(!asked(&rig, A));
    rig.link(A, true);
    rig.run(15_000);
    assert_eq!(rig.state(A), State::Up);
    // Of a WAN whose address is its own, a lease is nobody's business.
    rig.seen.clear();
    rig.step(Input::Lease { wan: B, held: true }).unwrap();
    assert!(rig.seen.is_empty());
}

#[test]
fn another_configuration_keeps_what_is_known_of_the_lease() {
    for held in [false, true] {
        let mut rig = rig();
        lease(&mut rig, held);
        rig.run(T * 8);
        let leased = Health { dhcp: true, failures: 5, ..Health::default() };
        let config = Config::plain(vec![leased, Health::default()]);
        let state = rig.state(A);
        rig.wans.reconfigure(rig.now, &Reconfigured { config, addresses: vec![] }, &mut |_| ());
        rig.seen.clear();
        rig.run(T * 8);
        assert_eq!((rig.state(A), asked(&rig, A)), (state, held));
    }
}
