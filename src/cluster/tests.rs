//! One machine, told what happens: what each input does, and what is shown of it.

use super::*;
use crate::base::Nanos;

const MS: fn(u64) -> Nanos = Nanos::from_ms;

/// The member `a`.
pub(super) fn me() -> Identity {
    Identity {
        name: Name::cut("a"),
        partner: Name::cut("b"),
        software: Name::cut("0.1.0"),
        boot: 5,
        workers: 2,
    }
}

pub(super) fn config() -> Config {
    let failback = Failback { automatic: true, after: MS(60_000) };
    Config { every: MS(100), timeout: MS(500), settle: MS(1_000), failback, hash: 0x0123_4567_89ab_cdef }
}

/// `a`, just started, preferred by the profile.
pub(super) fn pair() -> Pair {
    Pair::new(me(), config(), me().name, None, WHOLE(), Nanos::ZERO, &mut |_| {})
}

/// A healthy standby `b` that hears `a`.
pub(super) fn beat() -> Beat {
    let preference = Preference { version: 0, member: me().name };
    Beat { preference, ..super::beat::tests::beat() }
}

const WHOLE: fn() -> Fitness = || Fitness::known(1, 1, 1, 0);

struct Rig {
    pair: Pair,
    now: Nanos,
    effects: Vec<Effect>,
}

impl Rig {
    fn new(config: Config, kept: Option<Kept>) -> Rig {
        let mut effects = Vec::new();
        let pair = Pair::new(me(), config, me().name, kept, WHOLE(), Nanos::ZERO, &mut |effect| {
            effects.push(effect)
        });
        Rig { pair, now: Nanos::ZERO, effects }
    }

    /// Active, with a healthy standby that has everything.
    fn active(config: Config) -> Rig {
        let mut rig = Rig::new(config, None);
        rig.hear(beat());
        rig.hear(Beat { in_sync: false, ..beat() });
        rig.hear(beat());
        if rig.pair.role() != Role::Active {
            rig.hear(Beat { role: Role::Active, yields: true, ..beat() });
            rig.hear(beat());
        }
        assert_eq!(rig.pair.role(), Role::Active);
        rig
    }

    fn step(&mut self, input: Input) -> Result<(), Refused> {
        self.pair.step(self.now, input, &mut |effect| self.effects.push(effect))
    }

    fn hear(&mut self, beat: Beat) {
        let input = Input::Beat { path: 0, at: self.now, beat };
        self.step(input).unwrap();
    }

    fn wait(&mut self, span: Nanos) {
        self.now += span;
        self.step(Input::Tick).unwrap();
    }

    /// Time passes, and the partner goes on saying this.
    fn hold(&mut self, span: Nanos, beat: Beat) {
        for _ in 0..span.as_ms() / 100 {
            self.wait(MS(100));
            self.hear(beat);
        }
    }

    fn causes(&mut self) -> Vec<(bool, Cause)> {
        let effects = std::mem::take(&mut self.effects);
        let moves = effects.iter().filter_map(|effect| match effect {
            Effect::Take { cause } => Some((true, *cause)),
            Effect::Release { cause } => Some((false, *cause)),
            _ => None,
        });
        moves.collect()
    }

    fn says(&self) -> Beat {
        self.pair.beat()
    }

    fn reasons(&self) -> Vec<Reason> {
        self.pair.status().reasons.iter().collect()
    }
}

#[test]
fn a_member_that_starts_waits_a_timeout_for_its_partner() {
    let mut rig = Rig::new(config(), None);
    rig.wait(MS(499));
    assert_eq!((rig.pair.role(), rig.reasons()), (Role::Starting, vec![Reason::Starting]));
    rig.wait(MS(1));
    assert_eq!(rig.causes(), [(true, Cause::PartnerLost)]);
    assert_eq!(rig.pair.status().code(), 200);
    assert_eq!((rig.pair.site(), rig.reasons()), (Site::Unhealthy, vec![Reason::PartnerLost]));
}

#[test]
fn a_standby_takes_over_a_timeout_after_the_last_beat_and_not_earlier() {
    let mut rig = Rig::new(config(), None);
    rig.hear(Beat { role: Role::Active, ..beat() });
    assert_eq!((rig.pair.role(), rig.pair.status().code()), (Role::Standby, 503));
    rig.now += MS(300);
    rig.hear(Beat { role: Role::Active, ..beat() });
    assert_eq!(rig.pair.next_deadline(), MS(800));
    // Whatever else happens late, only a tick judges silence: beats may have arrived meanwhile.
    rig.now = MS(900);
    rig.step(Input::Synced { synced: true }).unwrap();
    assert_eq!(rig.pair.role(), Role::Standby);
    rig.step(Input::Tick).unwrap();
    assert_eq!(rig.causes(), [(true, Cause::PartnerLost)]);
}

#[test]
fn the_partner_takes_the_role_before_it_is_let_go() {
    let mut rig = Rig::active(config());
    rig.causes();
    rig.step(Input::Yield).unwrap();
    assert_eq!((rig.pair.role(), rig.says().yields, rig.says().aside), (Role::Active, true, true));
    rig.hold(MS(1_000), beat());
    assert_eq!((rig.pair.role(), rig.causes()), (Role::Active, vec![]));
    rig.hear(Beat { role: Role::Active, ..beat() });
    assert_eq!(rig.causes(), [(false, Cause::Operator)]);
    // Nor does it come back by itself: the operator said so.
    rig.step(Input::Synced { synced: true }).unwrap();
    rig.hold(MS(61_000), Beat { role: Role::Active, ..beat() });
    assert!(rig.reasons().contains(&Reason::Aside) && rig.pair.role() == Role::Standby);
    // Until it has to.
    rig.wait(MS(500));
    assert_eq!(rig.causes(), [(true, Cause::PartnerLost)]);
    assert!(!rig.says().aside);
}

#[test]
fn who_is_given_the_role_takes_it_if_it_can_serve() {
    for (fitness, takes) in [(WHOLE(), true), (Fitness::known(0, 1, 1, 0), false)] {
        let mut rig = Rig::new(config(), None);
        rig.step(Input::Fitness { fitness }).unwrap();
        rig.hear(Beat { role: Role::Active, ..beat() });
        rig.hear(Beat { role: Role::Active, yields: true, ..beat() });
        assert_eq!(rig.causes(), if takes { vec![(true, Cause::HandedOver)] } else { vec![] });
    }
}

#[test]
fn what_cannot_be_yielded_is_refused_with_a_reason() {
    let mut rig = Rig::new(config(), None);
    assert_eq!(rig.step(Input::Yield), Err(Refused::NotActive));
    rig.wait(MS(500));
    assert_eq!(rig.step(Input::Yield), Err(Refused::NoPartner));
    rig.hear(Beat { fitness: Fitness::known(1, NO_TIER, 0, 0), ..beat() });
    assert_eq!(rig.step(Input::Yield), Err(Refused::PartnerUnfit));
    assert_eq!(rig.step(Input::Prefer { member: Name::cut("c") }), Err(Refused::NoSuchMember));
    assert!(!rig.says().aside && rig.pair.preference().version == 0);
}

#[test]
fn a_fitter_partner_gets_the_role_at_once_only_if_the_holder_is_out() {
    let better = || Beat { fitness: Fitness::known(1, 1, 2, 0), ..beat() };
    let mut rig = Rig::active(config());
    rig.hear(better());
    assert!(!rig.says().yields, "both may be about to lose the same line");
    rig.hold(MS(900), better());
    assert!(!rig.says().yields);
    rig.hold(MS(200), better());
    assert!(rig.says().yields);
    for out in [Fitness::known(1, NO_TIER, 0, 0), Fitness::known(0, 1, 1, 0)] {
        let mut rig = Rig::active(config());
        rig.step(Input::Fitness { fitness: out }).unwrap();
        assert!(rig.says().yields, "{out:?}");
    }
    // Unknown is not unfit.
    let mut rig = Rig::active(config());
    rig.step(Input::Fitness { fitness: Fitness::of([Known::Up], [(1, Known::Unknown)], []) }).unwrap();
    rig.hold(MS(2_000), beat());
    assert!(!rig.says().yields);
}

/// `b` is preferred, and `a` has the role.
fn held_by_the_other(automatic: bool) -> Rig {
    let failback = Failback { automatic, after: MS(5_000) };
    let preference = Preference { version: 1, member: me().partner };
    let mut rig = Rig::new(Config { failback, ..config() }, Some(Kept { preference, boot: 1 }));
    rig.wait(MS(500));
    assert_eq!(rig.pair.role(), Role::Active);
    rig
}

#[test]
fn failback_waits_its_time_without_a_break_and_for_the_sessions() {
    let preferred = Preference { version: 1, member: me().partner };
    let there = move |in_sync| Beat { preference: preferred, in_sync, ..beat() };
    let mut rig = held_by_the_other(true);
    rig.hold(MS(4_000), there(true));
    rig.hear(Beat { fitness: Fitness::known(1, 2, 1, 0), ..there(true) });
    rig.hold(MS(4_900), there(true));
    assert!(!rig.says().yields, "it was less fit in between");
    rig.hold(MS(300), there(false));
    assert!(!rig.says().yields, "it has not all sessions");
    rig.hear(there(true));
    assert!(rig.says().yields);
    rig.hear(Beat { role: Role::Active, ..there(false) });
    assert_eq!(rig.causes().last(), Some(&(false, Cause::Failback)));

    let mut rig = held_by_the_other(false);
    rig.hold(MS(20_000), there(true));
    assert!(!rig.says().yields, "manual");
    rig.step(Input::Prefer { member: me().partner }).unwrap();
    assert!(rig.says().yields, "the preference has changed");
}

#[test]
fn the_newer_preference_counts_and_is_kept_before_it_is_told() {
    let mut rig = Rig::new(config(), None);
    let newer = Preference { version: 4, member: me().partner };
    rig.effects.clear();
    rig.hear(Beat { preference: newer, ..beat() });
    assert_eq!(rig.pair.preference(), newer);
    assert_eq!(rig.effects.iter().position(|effect| matches!(effect, Effect::Keep { .. })), Some(1));
    assert!(matches!(rig.effects.last(), Some(Effect::Status { .. } | Effect::Send { .. })));
    let mine = Preference { version: 3, member: me().name };
    rig.hear(Beat { preference: mine, ..beat() });
    assert_eq!(rig.pair.preference(), newer, "an old one never wins");
    rig.step(Input::Prefer { member: me().name }).unwrap();
    assert_eq!(rig.pair.preference(), Preference { version: 5, member: me().name });
}

#[test]
fn of_two_active_ones_the_weaker_lets_go_or_the_one_that_alone_hears() {
    let active = |boot| Beat { role: Role::Active, hears: boot, ..beat() };
    let mut rig = Rig::new(config(), None);
    rig.wait(MS(500));
    rig.hear(active(me().boot));
    assert_eq!((rig.pair.role(), rig.pair.site()), (Role::Active, Site::Unhealthy), "a is preferred");
    rig.hear(Beat { fitness: Fitness::known(2, 1, 1, 0), ..active(me().boot) });
    assert_eq!(rig.causes().last(), Some(&(false, Cause::BothActive)));

    let mut rig = Rig::new(config(), None);
    rig.wait(MS(500));
    rig.hold(MS(500), active(0));
    assert_eq!(rig.pair.role(), Role::Active, "it may hear soon");
    rig.hold(MS(100), active(0));
    assert_eq!(rig.causes().last(), Some(&(false, Cause::PartnerDeaf)));
    assert!(rig.reasons().contains(&Reason::PartnerDeaf));
}

#[test]
fn who_is_out_of_reach_lets_go_and_waits_when_it_is_back() {
    let mut rig = Rig::new(config(), None);
    rig.wait(MS(500));
    rig.step(Input::Fitness { fitness: Fitness::known(0, 1, 1, 0) }).unwrap();
    assert_eq!(rig.causes().last(), Some(&(false, Cause::InsideDown)));
    assert_eq!((rig.pair.site(), rig.pair.status().code()), (Site::Offline, 503));
    rig.wait(MS(5_000));
    assert_eq!(rig.pair.role(), Role::Standby);
    rig.step(Input::Fitness { fitness: WHOLE() }).unwrap();
    rig.wait(MS(499));
    assert_eq!(rig.pair.role(), Role::Standby, "the partner may be active on the other side");
    rig.wait(MS(1));
    assert_eq!(rig.causes(), [(true, Cause::PartnerLost)]);
}

#[test]
fn a_restart_within_the_timeout_leaves_the_role_with_who_has_the_sessions() {
    let mut rig = Rig::new(config(), None);
    rig.step(Input::Synced { synced: true }).unwrap();
    rig.hear(Beat { role: Role::Active, in_sync: false, ..beat() });
    let starting = Beat { role: Role::Starting, boot: 8, hears: 0, in_sync: false, ..beat() };
    let preference = Preference { version: 1, member: me().partner };
    rig.hear(Beat { preference, ..starting });
    assert_eq!(rig.causes(), [(true, Cause::NobodyActive)], "though b is preferred");
}

#[test]
fn the_view_has_what_the_contract_names() {
    let mut rig = Rig::active(config());
    let none = Fitness::of([Known::Up], [(1, Known::Unknown)], []);
    rig.hear(Beat { config: 1, software: Name::cut("0.2.0"), fitness: none, ..beat() });
    rig.now += MS(30);
    let view = serde_json::to_value(rig.pair.view(rig.now)).unwrap();
    let preference = serde_json::json!({ "version": 0, "member": "a" });
    let rank = serde_json::json!({ "inside": 1, "tier": 1, "wans": 1, "leases": 0 });
    let (mut fitness, mut hoping) = (rank.clone(), rank.clone());
    fitness["hoped"] = serde_json::Value::Null;
    (hoping["tier"], hoping["wans"], hoping["hoped"]) = (serde_json::Value::Null, 0.into(), rank);
    let want = serde_json::json!({
        "name": "a", "role": "active", "healthy": true, "reasons": ["config_differs", "software_differs"], "fitness": fitness,
        "version": "0.1.0", "preference": preference,
        "partner": {
            "name": "b", "role": "standby", "healthy": true, "reasons": [], "version": "0.2.0", "fitness": hoping,
            "preference": preference, "lost": false, "heard_ms": 30,
        },
        "site": "healthy",
    });
    assert_eq!(view, want);
    assert!(rig.effects.contains(&Effect::Event { event: Event::ConfigDiffers { differs: true } }));
    let hash = 1;
    rig.step(Input::Config { config: Config { hash, ..config() } }).unwrap();
    assert!(!rig.reasons().contains(&Reason::ConfigDiffers));
}

#[test]
fn a_partner_with_other_workers_has_not_all_sessions_and_the_role_goes_there_only_for_a_fault() {
    let mut rig = Rig::new(config(), None);
    let active = Beat { role: Role::Active, ..beat() };
    rig.hear(active);
    rig.step(Input::Synced { synced: true }).unwrap();
    assert!(rig.says().in_sync && rig.says().workers == 2);
    rig.effects.clear();
    rig.hear(Beat { workers: 4, ..active });
    assert!(rig.effects.contains(&Effect::Event { event: Event::WorkersDiffer { differ: true } }));
    assert!(!rig.says().in_sync);
    assert!(rig.reasons().contains(&Reason::WorkersDiffer) && rig.reasons().contains(&Reason::NotInSync));
    // One that does not tell is of an older version.
    rig.hear(Beat { workers: 0, ..active });
    assert!(rig.says().in_sync && !rig.reasons().contains(&Reason::WorkersDiffer));
    rig.hear(Beat { workers: 4, ..active });
    rig.causes();
    rig.wait(MS(500));
    assert_eq!(rig.causes(), [(true, Cause::PartnerLost)]);
}

#[test]
fn a_path_that_falls_silent_is_told() {
    let mut rig = Rig::active(config());
    rig.step(Input::Path { path: 1, at: rig.now }).unwrap();
    rig.hold(MS(600), beat());
    assert_eq!(rig.reasons(), [Reason::PathSilent]);
    rig.step(Input::Path { path: 1, at: rig.now }).unwrap();
    assert_eq!(rig.reasons(), []);
}

#[test]
fn the_timeout_changes_while_it_runs() {
    let mut rig = Rig::new(config(), None);
    rig.hear(Beat { role: Role::Active, ..beat() });
    rig.step(Input::Config { config: Config { timeout: MS(50), ..config() } }).unwrap();
    rig.wait(MS(50));
    assert_eq!(rig.pair.role(), Role::Active);
}

#[test]
fn boot_ids_grow_whatever_the_clock() {
    let kept = Kept { preference: Preference { version: 0, member: me().name }, boot: 1_000 };
    assert_eq!(Kept::next_boot(None, 0), 1);
    assert_eq!(Kept::next_boot(None, 77), 77);
    assert_eq!(Kept::next_boot(Some(&kept), 77), 1_001);
    assert_eq!(Kept::next_boot(Some(&kept), 5_000), 5_000);
}
