//! Groups by example: tiers, failback, balance, last resorts, drains, bonds.

use super::tests_rig::{A, B, Rig, T, ms};
use super::*;

const C: WanId = WanId(2);

fn member(wan: WanId, tier: u8, weight: u16) -> Member {
    Member { wan, tier, weight }
}

fn group(members: Vec<Member>) -> GroupConfig {
    GroupConfig {
        members,
        failback: Failback { automatic: true, after: Nanos::from_s(30) },
        none_fit: NoneFit::Best,
        ..GroupConfig::plain(0)
    }
}

fn tiers() -> GroupConfig {
    group(vec![member(A, 1, 1), member(B, 2, 1)])
}

fn up(wans: usize, groups: Vec<GroupConfig>) -> Rig {
    Rig::up_with(Config { wans: vec![Health::default(); wans], groups })
}

/// The link goes and comes back; up again after `stable`.
fn outage(rig: &mut Rig, wan: WanId) {
    rig.link(wan, false);
    rig.run(1_000);
    rig.link(wan, true);
    rig.run(10_001);
    // longer after a flap
    while rig.state(wan) != State::Up {
        rig.run(1);
    }
}

#[test]
fn failback_comes_so_long_after_the_better_one_is_up_and_not_before() {
    let mut rig = up(2, vec![tiers()]);
    outage(&mut rig, A);
    rig.selected();
    let up = rig.wans.get(A).since;
    rig.run((up + Nanos::from_s(30)).since(rig.now).as_ms());
    assert_eq!(rig.selected(), []);
    rig.run(1);
    assert_eq!(rig.selected(), [(Some(B), Some(A), Kind::Failback, Cause::Recovered)]);
    // what carries dies: at once to the best fit one, however short it is up
    outage(&mut rig, A);
    rig.run(1_000);
    rig.link(B, false);
    assert_eq!(rig.selected().pop(), Some((Some(B), Some(A), Kind::Failover, Cause::LinkLost)));
}

#[test]
fn by_hand_it_stays_where_it_is_as_long_as_that_is_fit() {
    let manual = GroupConfig { failback: Failback { automatic: false, after: ms(0) }, ..tiers() };
    let mut rig = up(2, vec![manual]);
    outage(&mut rig, A);
    rig.run(3_600_000);
    assert_eq!(rig.selected().len(), 1);
    assert_eq!(rig.wans.carrying(), Some(B));
    rig.admin(B, Admin::Drain).unwrap();
    assert_eq!(rig.selected(), [(Some(B), Some(A), Kind::Handover, Cause::Operator)]);
    rig.admin(B, Admin::Auto).unwrap();
    rig.run(3_600_000);
    assert_eq!(rig.selected(), []);
}

#[test]
fn at_the_start_nobody_waits_for_failback() {
    for automatic in [true, false] {
        let failback = Failback { automatic, after: Nanos::from_s(30) };
        let config =
            Config { wans: vec![Health::default(); 2], groups: vec![GroupConfig { failback, ..tiers() }] };
        let mut rig = Rig::of(config);
        rig.link(B, true);
        rig.run(100);
        assert_eq!(rig.wans.carrying(), Some(B));
        rig.link(A, true);
        rig.run(T);
        assert_eq!(rig.wans.carrying(), Some(A));
    }
}

#[test]
fn two_groups_choose_each_by_itself() {
    let other = group(vec![member(B, 1, 1), member(A, 2, 1)]);
    let mut rig = up(2, vec![tiers(), other]);
    let carrying = |rig: &Rig, group| rig.wans.group(group).carrying.clone();
    assert_eq!((carrying(&rig, 0), carrying(&rig, 1)), (vec![(A, 1)], vec![(B, 1)]));
    assert!(rig.wans.get(A).carrying && rig.wans.get(B).carrying);
    rig.link(B, false);
    assert_eq!((carrying(&rig, 0), carrying(&rig, 1)), (vec![(A, 1)], vec![(A, 1)]));
    let groups: Vec<u8> = rig.selections().iter().map(|s| s.group).collect();
    assert_eq!(groups, [1], "the other's standby has died, no more");
    // both leave it: what is pinned there cannot stay
    for group in [0, 1] {
        assert_eq!(rig.wans.group(group).standings[1], Standing::Left);
    }
    assert_eq!(rig.wans.group(7), &GroupStatus::default());
}

#[test]
fn balance_carries_all_of_the_best_tier_by_weight() {
    let balance =
        GroupConfig { mode: Mode::Balance, ..group(vec![member(A, 1, 3), member(B, 1, 1), member(C, 2, 1)]) };
    let mut rig = up(3, vec![balance]);
    let carrying = |rig: &Rig| rig.wans.group(0).carrying.clone();
    assert_eq!(carrying(&rig), [(A, 3), (B, 1)]);
    rig.link(A, false);
    assert_eq!(carrying(&rig), [(B, 1)]);
    assert_eq!(rig.selected(), [(Some(A), Some(B), Kind::Failover, Cause::LinkLost)]);
    assert_eq!((rig.standing(A), rig.standing(B), rig.bond(B)), (Standing::Left, Standing::Carrying, (1, 1)));
    rig.link(B, false);
    assert_eq!(carrying(&rig), [(C, 1)]);
    rig.link(A, true);
    rig.link(B, true);
    rig.run(10_001 + 29_999);
    assert_eq!(carrying(&rig), [(C, 1)]);
    rig.run(1_000);
    assert_eq!(carrying(&rig), [(A, 3), (B, 1)]);
    assert!(matches!(rig.standing(C), Standing::Draining { .. }));
    // an equal joins later, and nobody leaves
    outage(&mut rig, B);
    rig.selected();
    rig.run(20_000);
    assert_eq!(carrying(&rig), [(A, 3)]);
    rig.run(30_001);
    assert_eq!(carrying(&rig), [(A, 3), (B, 1)]);
    let selections = rig.selections();
    let [s] = &selections[..] else { panic!("{selections:?}") };
    assert_eq!((s.from, s.to, s.kind, &s.carrying[..]), (Some(A), Some(B), Kind::Failback, &[A, B][..]));
    assert_eq!(rig.standing(A), Standing::Carrying);
}

#[test]
fn x15_with_no_fit_wan_the_best_reachable_one_carries_and_nothing_is_left() {
    let mut rig = up(2, vec![tiers()]);
    rig.alive = [false; 4];
    rig.run(2_000);
    let rows = rig.selected();
    assert_eq!(rows, [(Some(A), Some(A), Kind::Resort, Cause::GatewaySilent)], "told once");
    assert!(rig.wans.group(0).resort && rig.wans.get(A).resort && rig.wans.get(A).sends());
    assert!(!rig.wans.get(A).fit());
    assert_eq!((rig.bond(A), rig.bond(B)), ((1, 1), (1, 1)));
    rig.run(60_000);
    assert_eq!(rig.selected(), []);
    assert_eq!((rig.bond(A), rig.bond(B)), ((1, 1), (1, 1)));
    // B's gateway answers: it is the better resort, and fit after five answers
    rig.alive[1] = true;
    rig.run(2 * T);
    assert_eq!(rig.wans.carrying(), Some(B));
    assert_eq!((rig.bond(A), rig.bond(B)), ((1, 1), (1, 1)));
    rig.run(4 * T);
    let kinds: Vec<Kind> = rig.selected().iter().map(|s| s.2).collect();
    assert_eq!(kinds, [Kind::Resort, Kind::Resumed]);
    assert_eq!((rig.standing(A), rig.bond(A)), (Standing::Left, (2, 1)), "now there is somewhere to go");
    // without a link there is nothing at all
    rig.link(A, false);
    rig.link(B, false);
    assert_eq!(rig.selected().pop().unwrap().2, Kind::Lost);
    assert_eq!(rig.wans.carrying(), None);
    assert_eq!(rig.bond(B), (1, 1));
}

#[test]
fn x15_unreachable_means_nobody() {
    let strict = GroupConfig { none_fit: NoneFit::Unreachable, ..group(vec![member(B, 1, 1)]) };
    let mut rig = up(2, vec![tiers(), strict]);
    rig.alive[1] = false;
    rig.run(60_000);
    assert_eq!(rig.wans.group(1).carrying, []);
    assert_eq!(
        (rig.wans.group(1).standings[1], rig.wans.group(1).bonds[1]),
        (Standing::Kept, Bond::default())
    );
    assert_eq!(rig.standing(B), Standing::Left, "the other group has somewhere to go");
}

#[test]
fn x16_tcp_is_reset_so_much_later_and_a_blip_is_survived() {
    let mut rig = up(2, vec![tiers()]);
    rig.link(A, false);
    assert_eq!((rig.bond(A), rig.wans.get(A).holds), ((2, 1), true));
    rig.run(2_000);
    assert_eq!(rig.bond(A), (2, 1));
    rig.run(1);
    assert_eq!((rig.bond(A), rig.wans.get(A).holds), ((2, 2), false));

    let mut rig = up(2, vec![tiers()]);
    rig.link(A, false);
    rig.run(1_000);
    rig.link(A, true);
    rig.run(8_000);
    assert_eq!((rig.bond(A), rig.wans.get(A).holds), ((2, 1), true), "it answers, though not long enough");
    rig.run(60_000);
    assert_eq!((rig.bond(A), rig.standing(A)), ((2, 1), Standing::Carrying));
    assert!(!rig.wans.get(A).holds);

    let mut rig = up(2, vec![tiers()]);
    rig.link(A, false);
    rig.run(1_000);
    rig.link(A, true);
    rig.run(5_000);
    rig.alive[0] = false;
    rig.run(2 * T);
    assert_eq!(rig.bond(A), (2, 2), "it was no blip");
}

#[test]
fn a_drain_ends_at_its_time_with_the_fates_of_a_failback() {
    let metered = Health { metered: true, ..Health::default() };
    for (second, tcp, span) in [
        (Health::default(), TcpFate::Reset, 3_600),
        (metered.clone(), TcpFate::Reset, 120),
        (metered, TcpFate::Keep, 120),
    ] {
        let on_failback = OnFailback { tcp, udp: Fate::Drop, ..OnFailback::default() };
        let groups = vec![GroupConfig { on_failback, ..tiers() }];
        let mut rig = Rig::up_with(Config { wans: vec![Health::default(), second], groups });
        outage(&mut rig, A);
        rig.run(31_000);
        let Standing::Draining { until } = rig.standing(B) else { panic!("{:?}", rig.standing(B)) };
        assert_eq!(until, rig.wans.get(A).since + Nanos::from_s(30 + span));
        rig.run(until.since(rig.now).as_ms());
        assert_eq!(rig.bond(B), (1, 1));
        rig.run(1);
        assert_eq!(rig.standing(B), Standing::Left);
        let bond = rig.wans.group(0).bonds[1];
        let want =
            Bond { epoch: 2, tcp: 1 + u8::from(tcp == TcpFate::Reset), udp: Fate::Drop, icmp: Fate::Drop };
        assert_eq!(bond, want);
        // what was pinned to it since is left when it dies
        rig.link(B, false);
        assert_eq!((rig.bond(B).0, rig.wans.group(0).bonds[1].udp), (3, Fate::Rebind));
    }
}

#[test]
fn a_drain_with_nowhere_to_go_waits() {
    let mut rig = Rig::up_with(Config {
        wans: vec![Health::default(), Health { metered: true, ..Health::default() }],
        groups: vec![tiers()],
    });
    outage(&mut rig, A);
    rig.run(31_000);
    assert!(matches!(rig.standing(B), Standing::Draining { .. }));
    rig.admin(B, Admin::Drain).unwrap();
    rig.link(A, false);
    rig.run(300_000);
    assert_eq!(rig.bond(B), (1, 1));
    rig.link(A, true);
    rig.run(5_000);
    assert_eq!((rig.wans.carrying(), rig.bond(B)), (Some(A), (2, 2)));
}

#[test]
fn a_new_address_leaves_everything_tcp_too_and_no_other_wan() {
    let mut rig = up(2, vec![tiers(), tiers()]);
    rig.step(Input::Address { wan: A }).unwrap();
    for group in [0, 1] {
        let bonds = &rig.wans.group(group).bonds;
        assert_eq!((bonds[0].epoch, bonds[0].tcp, bonds[1].epoch), (2, 2, 1));
    }
    assert_eq!((rig.standing(A), rig.selected()), (Standing::Carrying, vec![]));
    for _ in 0..254 {
        rig.step(Input::Address { wan: A }).unwrap();
    }
    assert_eq!(rig.bond(A), (1, 1), "never 0");
}

#[test]
fn a_config_reads_back_from_the_head_of_a_journal() {
    let config = Config { wans: vec![Health::default(); 2], groups: vec![tiers()] };
    let line = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&line).unwrap(), config);
}
