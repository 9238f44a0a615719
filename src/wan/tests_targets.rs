//! Targets, blame, quality, silence, BFD and the metered standby by example.

use super::tests_rig::{A, B, Rig, T, ms};
use super::*;

const C: WanId = WanId(2);

fn target(name: &str) -> Target {
    Target { kind: TargetKind::Icmp, name: name.into() }
}

/// Two targets, one needed; rounds at 0, 500, 1000 ... with a second to answer.
fn asking() -> Health {
    Health { targets: vec![target("1.1.1.1"), target("9.9.9.9")], ..Health::default() }
}

fn up(health: Vec<Health>) -> Rig {
    Rig::up_with(Config::plain(health))
}

fn asked(rig: &mut Rig, wan: WanId, probe: fn(Probe) -> bool) -> usize {
    let is = |e: &Effect| matches!(e, Effect::Probe { wan: w, probe: p, .. } if *w == wan && probe(*p));
    let count = rig.seen.iter().filter(|e| is(e)).count();
    rig.seen.clear();
    count
}

fn beyond(probe: Probe) -> bool {
    probe != Probe::Gateway
}

#[test]
fn three_bad_rounds_are_a_down_to_the_tick_and_the_gateway_is_no_witness() {
    let mut rig = up(vec![asking(), asking()]);
    rig.internet(A, false);
    // bad: the rounds of 500, 1000, 1500; the last is over at 2500
    rig.run(2500 - T);
    assert_eq!((rig.state(A), rig.wans.get(A).bad_rounds), (State::Up, 2));
    rig.run(1);
    let selections = rig.selections();
    let [s] = &selections[..] else { panic!("{selections:?}") };
    assert_eq!((s.from, s.to, s.cause), (Some(A), Some(B), Cause::TargetsSilent));
    assert_eq!((s.last_ok, s.detected), (Some(ms(0)), ms(2500)));
    let rows: Vec<_> = s.evidence.iter().map(|e| (&*e.probe, &*e.target, e.value, e.threshold)).collect();
    assert_eq!(rows, [("icmp", "1.1.1.1", 3, 3), ("icmp", "9.9.9.9", 3, 3)]);
    assert_eq!(rig.wans.get(A).misses, 0, "the gateway answers all the time");
    rig.internet(A, true);
    rig.run(10_000);
    assert_eq!(rig.state(A), State::Down);
    rig.run(1_000);
    assert_eq!(rig.state(A), State::Up);
}

#[test]
fn one_target_that_limits_its_answers_takes_nobody_down() {
    let mut rig = up(vec![asking(), asking()]);
    rig.dead = vec![(A, 0), (B, 0)];
    rig.run(60_000);
    assert_eq!(rig.states(), []);
    assert_eq!(rig.wans.get(A).targets[0].loss_percent, Some(100));
    // and with two needed it is the targets that fail on both
    let two = Health { need: 2, ..asking() };
    let mut rig = up(vec![two.clone(), two]);
    rig.dead = vec![(A, 0), (B, 0)];
    rig.run(60_000);
    assert_eq!(rig.states(), []);
}

#[test]
fn a_gateway_that_is_silent_while_the_targets_answer_is_no_down() {
    let mut rig = up(vec![asking()]);
    rig.alive[0] = false;
    rig.run(60_000);
    assert_eq!(rig.states(), []);
    assert!(rig.wans.get(A).misses > 200);
}

#[test]
fn an_answer_counts_within_the_timeout_of_its_own_probe() {
    let slow = Health { arp_every: Nanos::from_s(5), ..asking() };
    for (rtt, state) in [(999, State::Up), (1_000, State::Up), (1_001, State::Down)] {
        let mut rig = up(vec![slow.clone(), slow.clone()]);
        rig.rtt[0] = rtt;
        rig.run(20_000);
        assert_eq!(rig.state(A), state, "{rtt} ms");
        if state == State::Down {
            assert_eq!(rig.wans.get(A).reason, Reason::TargetsSilent);
        }
    }
}

#[test]
fn an_answer_that_was_late_on_the_wire_answers_nothing_however_late_the_tick() {
    for (late, bad) in [(1_000, 0), (1_001, 1)] {
        let mut rig = up(vec![asking(), asking()]);
        rig.internet(A, false);
        rig.run(250 + 1);
        // the tick of 500 has asked; the next ones are late, but none by so much that all is void
        rig.now = ms(1_200);
        rig.step(Input::Tick).unwrap();
        rig.now = ms(1_600);
        let (probe, round) = (Probe::Target(0), Some(1));
        rig.step(Input::ProbeReply { wan: A, probe, round, at: ms(500 + late) }).unwrap();
        rig.step(Input::Tick).unwrap();
        assert_eq!(rig.wans.get(A).bad_rounds, bad, "{late} ms");
    }
}

#[test]
fn targets_that_never_answered_are_mute_and_the_gateway_decides() {
    let mut rig = Rig::of(Config::plain(vec![asking()]));
    rig.internet(A, false);
    rig.link(A, true);
    // three rounds of 0, 500, 1000 are over at 2000
    rig.run(2_000);
    assert_eq!(rig.state(A), State::Probing);
    rig.run(1);
    assert_eq!(rig.state(A), State::Up);
    assert!(rig.wans.get(A).targets.iter().all(|target| target.mute));
    rig.alive[0] = false;
    rig.run(5 * T);
    assert_eq!((rig.state(A), rig.wans.get(A).reason), (State::Down, Reason::GatewaySilent));
}

#[test]
fn a_target_that_one_wan_has_heard_counts_on_all_but_not_for_what_was_before() {
    let mut rig = Rig::of(Config::plain(vec![asking(), asking()]));
    rig.internet(B, false);
    rig.link(A, true);
    rig.link(B, true);
    rig.run(1);
    assert_eq!((rig.state(A), rig.state(B)), (State::Up, State::Probing));
    assert!(!rig.wans.get(B).targets[0].mute);
    rig.run(1_998);
    assert_eq!(rig.state(B), State::Probing);
    rig.run(1_000);
    assert_eq!((rig.state(B), rig.wans.get(B).reason), (State::Down, Reason::TargetsSilent));
}

#[test]
fn targets_that_die_for_all_wans_at_once_are_to_blame() {
    let mut rig = up(vec![asking(), asking()]);
    rig.internet(A, false);
    rig.internet(B, false);
    rig.run(60_000);
    let blamed: Vec<_> = rig.seen.iter().filter(|e| matches!(e, Effect::Blamed { .. })).collect();
    assert_eq!(blamed, [&Effect::Blamed { targets: vec!["1.1.1.1".into(), "9.9.9.9".into()] }]);
    assert_eq!(rig.states(), []);
    assert!(rig.wans.get(A).targets.iter().all(|target| target.blamed));
    // the gateway decides meanwhile
    rig.alive[0] = false;
    rig.run(5 * T);
    assert_eq!(rig.states(), [(A, State::Down, Reason::GatewaySilent)]);
    rig.alive[0] = true;
    rig.run(20_000);
    assert_eq!(rig.states(), [(A, State::Up, Reason::Recovered)]);
    // the targets come back for one of them: from now on the other's silence is its own
    rig.internet(B, true);
    rig.run(1_000);
    assert_eq!(rig.states(), []);
    rig.run(2_500);
    assert_eq!(rig.states(), [(A, State::Down, Reason::TargetsSilent)]);
}

#[test]
fn a_dead_wan_is_no_witness_and_one_witness_that_hears_is_enough() {
    // B's own line is cut
    let mut rig = up(vec![asking(), asking()]);
    rig.internet(A, false);
    rig.life(B, false);
    rig.run(5_000);
    assert_eq!((rig.state(A), rig.state(B)), (State::Down, State::Down));
    // C hears
    let mut rig = up(vec![asking(), asking(), asking()]);
    rig.internet(A, false);
    rig.internet(B, false);
    rig.run(5_000);
    assert_eq!((rig.state(A), rig.state(B), rig.state(C)), (State::Down, State::Down, State::Up));
    // B began a second and more before
    let mut rig = up(vec![asking(), asking()]);
    rig.internet(B, false);
    rig.run(1_600);
    rig.internet(A, false);
    rig.run(5_000);
    assert_eq!(rig.state(B), State::Down);
}

#[test]
fn with_one_failure_enough_the_witness_is_waited_for() {
    let one = Health { failures: 1, ..asking() };
    for rtt in [0, 100] {
        let mut rig = up(vec![one.clone(), one.clone()]);
        rig.rtt = [rtt; 4];
        rig.run(3_000);
        rig.internet(A, false);
        rig.internet(B, false);
        rig.run(10_000);
        assert_eq!(rig.states(), []);
        let mut rig = up(vec![one.clone(), one.clone()]);
        rig.rtt = [rtt; 4];
        rig.run(3_000);
        rig.internet(A, false);
        rig.run(1_700);
        assert_eq!(rig.states(), [(A, State::Down, Reason::TargetsSilent)], "{rtt}");
    }
}

#[test]
fn a_metered_standby_is_asked_rarely_but_at_once_when_it_may_be_needed() {
    let metered = Health { metered: true, ..asking() };
    let mut rig = up(vec![asking(), metered]);
    rig.run(60_000);
    assert_eq!(asked(&mut rig, B, beyond), 12, "both targets every 10 s");
    rig.run(5_000);
    rig.seen.clear();
    rig.internet(A, false);
    rig.run(1_500);
    assert!(asked(&mut rig, B, beyond) >= 2, "with the first bad round");
    rig.run(10_000);
    assert_eq!((rig.state(A), rig.wans.carrying()), (State::Down, Some(B)));
    rig.seen.clear();
    rig.run(10_000);
    assert_eq!(asked(&mut rig, B, beyond), 40, "it carries");
    rig.internet(A, true);
    rig.run(20_000);
    assert_eq!(rig.wans.carrying(), Some(A));
    rig.seen.clear();
    rig.run(60_000);
    assert_eq!(asked(&mut rig, B, beyond), 12);
}

fn measured() -> Health {
    let degraded =
        Degraded { window: Nanos::from_s(30), loss_percent: 20, latency: ms(500), jitter: ms(100) };
    Health { degraded: Some(degraded), ..asking() }
}

#[test]
fn a_wan_that_answers_badly_is_avoided_and_keeps_what_it_has() {
    let mut rig = up(vec![measured(), measured()]);
    rig.run(60_000);
    rig.rtt[0] = 700;
    rig.run(20_000);
    assert_eq!(rig.states(), []);
    rig.run(10_000);
    let selections = rig.selections();
    let [s] = &selections[..] else { panic!("{selections:?}") };
    assert_eq!((s.from, s.to, s.kind, s.cause), (Some(A), Some(B), Kind::Handover, Cause::Latency));
    let [e] = &s.evidence[..] else { panic!("{s:?}") };
    assert!(e.probe == "latency" && e.value > 500_000 && e.threshold == 500_000 && e.unit == "us", "{e:?}");
    assert_eq!((rig.state(A), rig.standing(A), rig.bond(A)), (State::Degraded, Standing::Kept, (1, 1)));
    // between three quarters and the threshold nothing changes
    rig.rtt[0] = 400;
    rig.run(120_000);
    assert_eq!(rig.states(), []);
    rig.rtt[0] = 300;
    rig.run(60_000);
    assert_eq!(rig.states(), [(A, State::Up, Reason::Steady)]);
    assert_eq!(rig.wans.carrying(), Some(A));
}

#[test]
fn the_best_target_counts_and_a_degraded_wan_is_better_than_none() {
    let mut rig = up(vec![measured(), measured()]);
    rig.dead = vec![(A, 0)];
    rig.run(120_000);
    assert_eq!(rig.states(), []);
    // every third round is lost
    for _ in 0..100 {
        rig.internet(A, false);
        rig.run(500);
        rig.internet(A, true);
        rig.run(1_000);
    }
    assert_eq!(rig.states(), [(A, State::Degraded, Reason::Loss)]);
    rig.link(B, false);
    assert_eq!(rig.wans.carrying(), Some(A));
    assert_eq!(rig.standing(B), Standing::Left);
}

fn sensed(targets: bool) -> Health {
    let health = if targets { asking() } else { Health::default() };
    Health { passive: true, ..health }
}

#[test]
fn silence_is_confirmed_by_probes_within_a_quarter_of_a_second() {
    for targets in [true, false] {
        let mut rig = up(vec![sensed(targets), sensed(targets)]);
        rig.run(3_333);
        rig.life(A, false);
        rig.seen.clear();
        rig.step(Input::Silence { wan: A }).unwrap();
        assert!(rig.seen.contains(&Effect::Confirming { wan: A }));
        rig.step(Input::Silence { wan: A }).unwrap();
        rig.run(110);
        assert_eq!(rig.state(A), State::Up, "80 ms of probes and 30 to wait");
        rig.run(1);
        let s = rig.selections().pop().unwrap();
        assert_eq!((s.kind, s.cause, s.to), (Kind::Failover, Cause::Silent, Some(B)));
        assert_eq!(s.evidence[0].probe, "silence");
        assert_eq!(s.evidence.len(), if targets { 3 } else { 2 });
    }
}

#[test]
fn silence_alone_never_decides() {
    for targets in [true, false] {
        let mut rig = up(vec![sensed(targets), sensed(targets)]);
        rig.rtt = [60; 4];
        rig.run(3_333);
        for _ in 0..50 {
            rig.seen.clear();
            rig.step(Input::Silence { wan: A }).unwrap();
            rig.run(1_000);
            assert!(rig.seen.contains(&Effect::Cleared { wan: A }));
            assert!(!rig.wans.get(A).confirming);
        }
        assert_eq!(rig.states(), []);
        // the gateway alone is no answer where targets count
        rig.internet(A, false);
        rig.step(Input::Silence { wan: A }).unwrap();
        rig.run(400);
        assert_eq!(rig.state(A), if targets { State::Down } else { State::Up });
    }
    let mut rig = up(vec![asking(), asking()]);
    rig.life(A, false);
    rig.step(Input::Silence { wan: A }).unwrap();
    assert!(rig.seen.is_empty(), "it is not wanted");
}

#[test]
fn a_bfd_session_that_was_up_and_is_lost_is_a_down_at_once() {
    let with = Health { bfd: true, ..Health::default() };
    let bfd = |says| Input::Bfd { wan: A, says };
    let mut rig = up(vec![with.clone(), with]);
    rig.step(bfd(BfdSays::Lost)).unwrap();
    assert_eq!((rig.states(), rig.wans.get(A).bfd), (vec![], None), "it never was up");
    rig.step(bfd(BfdSays::Up)).unwrap();
    rig.step(bfd(BfdSays::Withdrawn)).unwrap();
    rig.step(bfd(BfdSays::Lost)).unwrap();
    assert_eq!(rig.states(), [], "rfc5882_3_2");
    rig.step(bfd(BfdSays::Up)).unwrap();
    rig.step(bfd(BfdSays::Lost)).unwrap();
    assert_eq!(rig.states(), [(A, State::Down, Reason::Bfd)]);
    rig.run(300_000);
    assert_eq!(rig.state(A), State::Down, "it is still lost");
    rig.step(bfd(BfdSays::Up)).unwrap();
    rig.run(T);
    assert_eq!(rig.state(A), State::Up);
    rig.step(bfd(BfdSays::Lost)).unwrap();
    rig.run(599_000);
    assert_eq!(rig.state(A), State::Down);
    rig.run(2_000);
    assert_eq!(rig.state(A), State::Up, "in the end the probes are believed");
    let mut rig = up(vec![Health::default(), Health::default()]);
    rig.step(bfd(BfdSays::Up)).unwrap();
    rig.step(bfd(BfdSays::Lost)).unwrap();
    assert_eq!(rig.states(), [], "no session is wanted");
}

#[test]
fn hostile_numbers_of_rounds_and_targets_do_nothing() {
    let mut rig = up(vec![asking(), asking()]);
    rig.internet(A, false);
    for n in 0..5_000u32 {
        let round = n.wrapping_mul(0x9e37_79b9);
        for target in [2, 3, 255] {
            let probe = Probe::Target(target);
            rig.step(Input::ProbeSent { wan: A, probe, round, at: rig.now }).unwrap();
            rig.step(Input::ProbeReply { wan: A, probe, round: Some(round), at: Nanos::NEVER }).unwrap();
        }
        let probe = Probe::Target(0);
        // never asked
        let round = Some(round | 1 << 16);
        rig.step(Input::ProbeReply { wan: A, probe, round, at: rig.now }).unwrap();
        rig.step(Input::ProbeReply { wan: A, probe, round: None, at: rig.now }).unwrap();
    }
    rig.run(3_000);
    assert_eq!(rig.state(A), State::Down);
}
