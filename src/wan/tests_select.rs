//! Selection, standings, epochs and overrides by example.

use super::tests_rig::{A, B, Rig, T, ms};
use super::*;

#[test]
fn a_lost_link_is_a_down_at_once_and_stops_the_probes() {
    let mut rig = Rig::up(2);
    rig.link(A, false);
    let evidence = vec![Evidence::new(A, "link", 0, 1, "")];
    let standing = |wan, from, to, epoch| {
        let bond = Bond { epoch, ..Bond::default() };
        Effect::Standing(StandingChange { group: 0, wan, from, to, bond })
    };
    let reason = Reason::LinkLost;
    let (from, to) = (State::Up, State::Down);
    // What outside has opened has bonds of its own.
    rig.seen.retain(|effect| !matches!(effect, Effect::Standing(of) if of.group == NO_GROUP));
    assert_eq!(
        rig.seen,
        [
            Effect::Link { wan: A, up: false },
            Effect::State(StateChange { wan: A, from, to, reason, evidence: evidence.clone() }),
            Effect::Selected(Selection {
                group: 0,
                from: Some(A),
                to: Some(B),
                carrying: vec![B],
                kind: Kind::Failover,
                cause: Cause::LinkLost,
                last_ok: Some(ms(0)),
                detected: ms(T),
                evidence,
            }),
            standing(A, Standing::Carrying, Standing::Left, 2),
            standing(B, Standing::Kept, Standing::Carrying, 1),
        ]
    );
    rig.seen.clear();
    rig.link(A, false);
    assert_eq!(rig.seen, [], "said twice");
    rig.step(Input::ProbeReply { wan: A, probe: Probe::Gateway, round: None, at: rig.now }).unwrap();
    assert_eq!(rig.wans.get(A).last_ok, Some(ms(0)), "a reply from before");
    rig.run(5000);
    assert!(!rig.seen.iter().any(|effect| matches!(effect, Effect::Probe { wan: A, .. })));
    rig.link(B, false);
    assert_eq!(rig.wans.next_deadline(), Nanos::NEVER);
    rig.link(A, true);
    assert_eq!(rig.wans.next_deadline(), rig.now, "probed at once");
}

#[test]
fn x11_a_flapping_wan_that_never_holds_moves_flows_once() {
    let mut rig = Rig::up(2);
    for _ in 0..30 {
        rig.link(A, false);
        rig.run(700);
        rig.link(A, true);
        rig.run(9_000);
    }
    assert_eq!(rig.selected(), [(Some(A), Some(B), Kind::Failover, Cause::LinkLost)]);
    assert_eq!((rig.standing(A), rig.bond(A).0), (Standing::Left, 2));
}

#[test]
fn x11_a_flap_slower_than_the_hold_down_moves_once_each_way() {
    let mut rig = Rig::up(2);
    for round in 1..=5 {
        rig.link(A, false);
        rig.run(20_000);
        rig.link(A, true);
        rig.run(700_000);
        let kinds: Vec<Kind> = rig.selected().iter().map(|s| s.2).collect();
        assert_eq!(kinds, [Kind::Failover, Kind::Failback]);
        assert_eq!(rig.bond(A), (round + 1, round + 1), "it was long gone");
    }
}

#[test]
fn x15_nothing_fit_keeps_everything_until_there_is_somewhere_to_go() {
    let mut rig = Rig::up(2);
    rig.link(A, false);
    rig.selected();
    rig.link(B, false);
    assert_eq!(rig.selected(), [(Some(B), None, Kind::Lost, Cause::LinkLost)]);
    assert_eq!(rig.wans.carrying(), None);
    assert_eq!((rig.standing(B), rig.bond(B)), (Standing::Kept, (1, 1)));
    rig.run(60_000);
    rig.link(A, true);
    rig.run(4 * T);
    assert_eq!(rig.state(A), State::Down);
    rig.run(1);
    assert_eq!(
        rig.selected(),
        [(Some(B), Some(A), Kind::Failover, Cause::LinkLost)],
        "no `stable`: the last one"
    );
    assert_eq!((rig.standing(A), rig.standing(B)), (Standing::Carrying, Standing::Left));
    assert_eq!((rig.bond(A).0, rig.bond(B).0), (2, 2));

    // the last carrier comes back first: it was never left
    rig.link(A, false);
    rig.run(5_000);
    rig.selected();
    rig.link(A, true);
    rig.run(10_001);
    assert_eq!(rig.selected(), [(Some(A), Some(A), Kind::Resumed, Cause::Recovered)]);
    assert_eq!((rig.standing(A), rig.bond(A).0), (Standing::Carrying, 2));
}

#[test]
fn an_override_of_the_last_fit_wan_needs_force() {
    for admin in [Admin::Down, Admin::Drain] {
        let mut rig = Rig::up(2);
        rig.link(B, false);
        rig.seen.clear();
        let before = rig.wans.get(A).clone();
        assert_eq!(rig.admin(A, admin), Err(Refused::LastFit));
        assert_eq!((rig.seen.len(), rig.wans.get(A).clone()), (0, before));
        assert_eq!(rig.admin(B, Admin::Down), Ok(()), "it is not fit anyway");
        rig.step(Input::Admin { wan: A, admin, force: true }).unwrap();
        assert_eq!(rig.selected(), [(Some(A), None, Kind::Lost, Cause::Operator)]);
        assert_eq!((rig.standing(A), rig.bond(A)), (Standing::Kept, (1, 1)));
        rig.admin(A, Admin::Auto).unwrap();
        assert_eq!(rig.selected(), [(Some(A), Some(A), Kind::Resumed, Cause::Operator)]);
    }
}

#[test]
fn down_by_the_operator_is_a_failover_and_drain_is_none() {
    let mut rig = Rig::up(2);
    rig.admin(A, Admin::Drain).unwrap();
    assert_eq!(rig.selected(), [(Some(A), Some(B), Kind::Handover, Cause::Operator)]);
    assert_eq!((rig.standing(A), rig.bond(A)), (Standing::Kept, (1, 1)));
    rig.admin(A, Admin::Auto).unwrap();
    assert_eq!(rig.selected(), [(Some(B), Some(A), Kind::Failback, Cause::Operator)]);
    rig.admin(A, Admin::Down).unwrap();
    assert_eq!(rig.selected(), [(Some(A), Some(B), Kind::Failover, Cause::Operator)]);
    assert_eq!((rig.standing(A), rig.bond(A)), (Standing::Left, (2, 1)));
    assert_eq!(rig.state(A), State::Up, "still probed");
    assert!(rig.wans.get(A).holds, "TCP goes on for now");
    rig.run(2_001);
    assert_eq!((rig.bond(A), rig.wans.get(A).holds), ((2, 2), false));
    rig.admin(A, Admin::Drain).unwrap();
    assert_eq!((rig.standing(A), rig.bond(A)), (Standing::Kept, (2, 2)));
    rig.link(A, false);
    assert_eq!((rig.standing(A), rig.bond(A)), (Standing::Left, (3, 2)), "drained, then really down");
    assert_eq!(rig.selected(), []);
}

#[test]
fn an_input_reads_back_from_a_journal_line() {
    let input = Input::Admin { wan: B, admin: Admin::Drain, force: true };
    let line = serde_json::to_string(&input).unwrap();
    assert_eq!(line, r#"{"input":"admin","wan":1,"admin":"drain","force":true}"#);
    assert_eq!(serde_json::from_str::<Input>(&line).unwrap(), input);
    let (wan, at, probe) = (B, Nanos::NEVER, Probe::Target(7));
    let inputs = [
        Input::Link { wan, up: true },
        Input::ProbeSent { wan, probe, round: u32::MAX, at },
        Input::ProbeReply { wan, probe: Probe::Gateway, round: None, at },
        Input::ProbeReply { wan, probe, round: Some(3), at },
        Input::Bfd { wan, says: BfdSays::Withdrawn },
        Input::Silence { wan },
        Input::Address { wan },
        Input::Tick,
    ];
    for input in inputs {
        let line = serde_json::to_string(&input).unwrap();
        assert_eq!(serde_json::from_str::<Input>(&line).unwrap(), input, "{line}");
    }
    let mut rig = Rig::up(3);
    rig.link(A, false);
    for effect in rig.seen {
        let line = serde_json::to_string(&effect).unwrap();
        assert_eq!(serde_json::from_str::<Effect>(&line).unwrap(), effect, "{line}");
    }
}
