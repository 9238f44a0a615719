//! One WAN by example: every state against every input, thresholds of the gateway to the tick.

use super::tests_rig::{A, B, Rig, T, ms};
use super::*;

/// What the walk below needs to come to every state.
fn touchy() -> Health {
    let degraded = Degraded { window: ms(2_000), loss_percent: 90, latency: ms(100), jitter: ms(100) };
    Health { bfd: true, passive: true, degraded: Some(degraded), ..Health::default() }
}

/// One WAN (a second one holds the fort) in `state` with `admin`, just at a tick, one miss before the threshold. With `dhcp` it
/// has a lease.
fn placed(state: State, admin: Admin, dhcp: bool) -> Rig {
    let mut rig = Rig::of(Config::plain(vec![Health { dhcp, ..touchy() }, touchy()]));
    rig.step(Input::Lease { wan: A, held: true }).unwrap();
    rig.link(B, true);
    rig.run(T);
    rig.step(Input::Bfd { wan: A, says: BfdSays::Up }).unwrap();
    match state {
        State::Probing => {
            rig.alive[0] = false;
            rig.run(T);
            rig.link(A, true);
            rig.run(2 * T - 1);
        }
        State::Up | State::Degraded => {
            rig.link(A, true);
            rig.rtt[0] = if state == State::Degraded { 120 } else { 0 };
            rig.run(12 * T);
            rig.alive[0] = false;
            rig.run(3 * T - 1);
        }
        State::Down => {
            rig.link(A, false);
            rig.run(T);
            rig.link(A, true);
            // at 4 successes less than stable: one reply is no recovery
            rig.run(T);
            rig.alive[0] = false;
            rig.run(3 * T - 1);
        }
    }
    rig.admin(A, admin).unwrap();
    rig.now += ms(1);
    assert_eq!(rig.state(A), state);
    assert_eq!(rig.wans.get(A).misses, 2);
    rig.seen.clear();
    rig
}

#[test]
fn every_state_and_override_against_every_input() {
    use State::{Degraded, Down, Probing, Up};
    let reply = |at, probe| Input::ProbeReply { wan: A, probe, round: Some(0), at };
    let inputs = |now: Nanos| {
        [
            Input::Link { wan: A, up: true },
            Input::Link { wan: A, up: false },
            Input::ProbeSent { wan: A, probe: Probe::Gateway, round: 0, at: now },
            reply(now, Probe::Gateway),
            reply(ms(0), Probe::Gateway),
            Input::Tick,
            Input::Admin { wan: A, admin: Admin::Auto, force: false },
            Input::Admin { wan: A, admin: Admin::Down, force: false },
            Input::Admin { wan: A, admin: Admin::Drain, force: false },
            Input::Bfd { wan: A, says: BfdSays::Up },
            Input::Bfd { wan: A, says: BfdSays::Lost },
            Input::Bfd { wan: A, says: BfdSays::Withdrawn },
            Input::Silence { wan: A },
            Input::Address { wan: A },
            reply(now, Probe::Target(0)),
            Input::ProbeSent { wan: A, probe: Probe::Target(255), round: 7, at: now },
            Input::Link { wan: WanId(9), up: false },
            Input::Admin { wan: WanId(9), admin: Admin::Down, force: false },
            Input::Silence { wan: WanId(9) },
            Input::Address { wan: WanId(9) },
            Input::Bfd { wan: WanId(9), says: BfdSays::Lost },
            Input::Lease { wan: A, held: true },
            Input::Lease { wan: A, held: false },
            Input::Lease { wan: WanId(9), held: false },
        ]
    };
    let mut walked = 0;
    for (state, dhcp) in [Probing, Up, Degraded, Down].into_iter().flat_map(|s| [(s, false), (s, true)]) {
        for admin in [Admin::Auto, Admin::Down, Admin::Drain] {
            for (index, input) in inputs(placed(state, admin, dhcp).now).into_iter().enumerate() {
                let mut rig = placed(state, admin, dhcp);
                let (epoch, tcp) = rig.bond(A);
                let disowned = dhcp && index == 22;
                let left = rig.standing(A) == Standing::Left;
                rig.step(input).unwrap();
                let want = match (state, index) {
                    (_, 1 | 10) => Down,
                    _ if disowned => Down,
                    (Probing | Up | Degraded, 5) => Down,
                    (Probing, 3) => Up,
                    (state, _) => state,
                };
                let admin = match index {
                    6 => Admin::Auto,
                    7 => Admin::Down,
                    8 => Admin::Drain,
                    _ => admin,
                };
                let at = format!("{state:?} {admin:?} {dhcp} {input:?}");
                assert_eq!((rig.state(A), rig.wans.get(A).admin), (want, admin), "{at}");
                let standing = match (want, admin) {
                    (Up, Admin::Auto) => Standing::Carrying,
                    (Down, _) | (_, Admin::Down) => Standing::Left,
                    _ => Standing::Kept,
                };
                assert_eq!(rig.standing(A), standing, "{at}");
                let cut = disowned || index == 13;
                let grown = (standing == Standing::Left && !left) || cut;
                assert_eq!(rig.bond(A), (epoch + u8::from(grown), tcp + u8::from(cut)), "{at}");
                let other = rig.standing(B);
                if standing == Standing::Carrying {
                    assert!(matches!(other, Standing::Draining { .. }), "{at}");
                } else {
                    assert_eq!(other, Standing::Carrying, "{at}");
                }
                assert_eq!(rig.bond(B), (1, 1), "{at}");
                let told = rig.seen.iter().filter(|e| matches!(e, Effect::State(_))).count();
                assert_eq!(told, usize::from(want != state), "{at}");
                let probes = rig.seen.iter().filter(|e| matches!(e, Effect::Probe { wan: A, .. })).count();
                let asks = matches!((index, state), (5, _) | (12, Up | Degraded));
                assert_eq!(probes, usize::from(asks), "{at}");
                let confirming = rig.wans.get(A).confirming;
                assert_eq!(confirming, matches!((index, state), (12, Up | Degraded)), "{at}");
                walked += 1;
            }
        }
    }
    assert_eq!(walked, 4 * 2 * 3 * 24);
}

#[test]
fn without_a_lease_nothing_begins_but_by_a_lease() {
    let at = ms(0);
    let inputs = [
        Input::Link { wan: A, up: true },
        Input::ProbeSent { wan: A, probe: Probe::Gateway, round: 0, at },
        Input::ProbeReply { wan: A, probe: Probe::Gateway, round: None, at },
        Input::ProbeReply { wan: A, probe: Probe::Target(0), round: Some(0), at },
        Input::Bfd { wan: A, says: BfdSays::Up },
        Input::Bfd { wan: A, says: BfdSays::Lost },
        Input::Silence { wan: A },
        Input::Address { wan: A },
        Input::Lease { wan: A, held: false },
        Input::Tick,
    ];
    for (state, input) in
        [State::Up, State::Degraded, State::Down].into_iter().flat_map(|s| inputs.map(|i| (s, i)))
    {
        let mut rig = placed(state, Admin::Auto, true);
        rig.step(Input::Lease { wan: A, held: false }).unwrap();
        rig.life(A, true);
        rig.seen.clear();
        rig.step(input).unwrap();
        rig.run(20 * T);
        let status = rig.wans.get(A);
        assert_eq!((status.state, status.reason), (State::Down, Reason::NoLease), "{state:?} {input:?}");
        let asked = |rig: &Rig| rig.seen.iter().any(|e| matches!(e, Effect::Probe { wan: A, .. }));
        assert!(!asked(&rig), "{state:?} {input:?}");
        rig.step(Input::Lease { wan: A, held: true }).unwrap();
        // Whose session stays lost stays down for long.
        rig.step(Input::Bfd { wan: A, says: BfdSays::Up }).unwrap();
        rig.run(T);
        assert!(asked(&rig), "{state:?} {input:?}");
        rig.run(60_000);
        assert!(rig.state(A).is_up(), "{state:?} {input:?}");
    }
}

#[test]
fn the_first_good_round_brings_it_up_but_never_without_a_known_link() {
    let mut rig = Rig::new(1);
    rig.run(10 * T);
    assert_eq!(rig.state(A), State::Probing);
    rig.link(A, true);
    rig.run(1);
    assert_eq!(rig.state(A), State::Up);
    assert_eq!(rig.selected(), [(None, Some(A), Kind::Initial, Cause::FirstAnswer)]);
}

#[test]
fn x10_down_with_the_third_loss_and_not_before() {
    let mut rig = Rig::up(2);
    rig.alive[0] = false;
    // the last good probe left at 0, its round ends at 250; three more are lost at 500, 750, 1000
    rig.run(1000 - T);
    assert_eq!((rig.state(A), rig.now), (State::Up, ms(1000)));
    rig.run(1);
    assert_eq!(rig.state(A), State::Down);
    let selections = rig.selections();
    let [s] = &selections[..] else { panic!("{selections:?}") };
    assert_eq!((s.last_ok, s.detected), (Some(ms(0)), ms(1000)), "1.0 s after the last reply");
    assert_eq!((s.from, s.to), (Some(A), Some(B)));
    assert_eq!((s.kind, s.cause), (Kind::Failover, Cause::GatewaySilent));
    assert_eq!(s.evidence, [Evidence::new(A, "gateway", 3, 3, "probes")]);
}

#[test]
fn x10_two_losses_and_an_answer_over_and_over_are_no_down() {
    let mut rig = Rig::up(2);
    for _ in 0..50 {
        rig.alive[0] = false;
        rig.run(2 * T);
        rig.alive[0] = true;
        rig.run(T);
    }
    assert_eq!(rig.selected(), []);
    let status = rig.wans.get(A);
    assert_eq!((status.state, status.loss_percent), (State::Up, Some(67)));
}

#[test]
fn x10_a_reply_that_comes_late_is_life() {
    let mut rig = Rig::up(1);
    rig.alive[0] = false;
    for _ in 0..20 {
        // each answered after the next has left
        rig.run(T);
        let at = rig.now;
        rig.run(T / 2);
        let at = at + ms(50);
        rig.step(Input::ProbeReply { wan: A, probe: Probe::Gateway, round: None, at }).unwrap();
        rig.run(T / 2);
    }
    assert_eq!(rig.state(A), State::Up);
}

/// Ticks at every deadline, and nothing is sent by A.
fn unsent(rig: &mut Rig, rounds: usize) {
    for _ in 0..rounds {
        rig.now += ms(T);
        rig.step(Input::Tick).unwrap();
        rig.mail.retain(|(_, input)| !matches!(input, Input::ProbeSent { wan: A, .. }));
        rig.mail.retain(|(_, input)| !matches!(input, Input::ProbeReply { wan: A, .. }));
        rig.deliver();
    }
}

#[test]
fn a_probe_that_was_never_sent_is_not_the_wans_fault() {
    let mut rig = Rig::up(1);
    // The first of these ticks still judges a round that was answered.
    unsent(&mut rig, 20);
    let status = rig.wans.get(A);
    assert_eq!((status.state, status.misses, status.loss_percent), (State::Up, 0, Some(0)));
    rig.run(T);
    assert_eq!(rig.state(A), State::Up, "one that leaves and is answered begins the count anew");
}

#[test]
fn a_wan_on_which_nothing_can_be_sent_for_five_seconds_is_down() {
    let mut rig = Rig::up(2);
    unsent(&mut rig, 21);
    assert_eq!((rig.state(A), rig.wans.get(A).reason), (State::Down, Reason::CannotSend));
    assert_eq!((rig.state(B), rig.wans.carrying()), (State::Up, Some(B)));
}

#[test]
fn a_late_tick_after_a_stall_voids_what_was_out() {
    let mut rig = Rig::up(1);
    rig.alive[0] = false;
    rig.run(T);
    // Late by less than half a second: what is out is lost.
    rig.now += ms(499);
    rig.step(Input::Tick).unwrap();
    assert_eq!((rig.state(A), rig.wans.get(A).misses), (State::Up, 1));
    rig.now += Nanos::from_s(60);
    rig.step(Input::Tick).unwrap();
    assert_eq!((rig.state(A), rig.wans.get(A).misses), (State::Up, 1));
    assert_eq!(rig.wans.next_deadline(), rig.now + ms(T));
}

#[test]
fn x10_x14_back_only_after_successes_and_stable() {
    let mut rig = Rig::up(2);
    rig.link(A, false);
    rig.run(10_000);
    rig.link(A, true);
    rig.selected();
    rig.run(10_000);
    assert_eq!((rig.state(A), rig.wans.get(A).successes), (State::Down, 40));
    assert_eq!(rig.wans.get(A).hold_until, Some(rig.now));
    rig.run(1);
    assert_eq!(rig.selected(), [(Some(B), Some(A), Kind::Failback, Cause::Recovered)]);
    assert_eq!((rig.standing(A), rig.bond(A).0), (Standing::Carrying, 2));
    let until = rig.now - ms(1) + OnFailback::default().drain;
    assert_eq!((rig.standing(B), rig.bond(B)), (Standing::Draining { until }, (1, 1)), "leaves nothing yet");
}

#[test]
fn x10_many_slow_successes_count_as_well_as_stable() {
    let slow = Health { arp_every: Nanos::from_s(5), ..Health::default() };
    let mut rig = Rig::of(Config::plain(vec![slow, Health::default()]));
    rig.link(B, true);
    rig.link(A, false);
    rig.run(1);
    rig.link(A, true);
    rig.run(20_000);
    assert_eq!((rig.state(A), rig.wans.get(A).successes), (State::Down, 4), "stable but too few");
    rig.run(1);
    assert_eq!(rig.state(A), State::Up);
}

#[test]
fn x10_any_loss_starts_the_recovery_anew_and_unsent_rounds_do_not_count() {
    let mut rig = Rig::up(2);
    rig.link(A, false);
    rig.link(A, true);
    rig.run(9_000);
    rig.alive[0] = false;
    rig.run(T);
    rig.alive[0] = true;
    rig.run(10_000);
    assert_eq!(rig.state(A), State::Down);
    rig.run(1);
    assert_eq!(rig.state(A), State::Up);

    let mut rig = Rig::up(2);
    rig.link(A, false);
    rig.link(A, true);
    rig.run(9_000 + 1);
    rig.now = rig.now - ms(1);
    unsent(&mut rig, 40);
    rig.run(T);
    rig.run(T);
    assert_eq!(rig.state(A), State::Down, "10 s unseen are not stable");
    rig.run(1_000);
    assert_eq!(rig.state(A), State::Up);
}

#[test]
fn x11_stable_doubles_with_each_flap_but_the_last_fit_wan_waits_for_nothing() {
    let mut rig = Rig::up(2);
    for held in [10, 20, 40, 80] {
        rig.link(A, false);
        rig.run(1_000);
        rig.link(A, true);
        rig.run(held * 1_000);
        assert_eq!(rig.state(A), State::Down, "{held}");
        rig.run(1);
        assert_eq!(rig.state(A), State::Up, "{held}");
        rig.run(30_000);
    }
    rig.link(A, false);
    rig.link(A, true);
    rig.run(2_000);
    assert_eq!((rig.state(A), rig.wans.get(A).flaps), (State::Down, 4));
    // five good rounds are there
    rig.seen.clear();
    rig.link(B, false);
    assert_eq!(rig.states(), [(B, State::Down, Reason::LinkLost), (A, State::Up, Reason::Recovered)]);
    rig.link(A, false);
    rig.link(A, true);
    rig.run(4 * T);
    assert_eq!(rig.state(A), State::Down, "four are not five");
    rig.run(1);
    assert_eq!(rig.state(A), State::Up);
}
