//! Detector and state machine by example: every state against every input, thresholds to the tick.

use super::*;

pub(super) const A: WanId = WanId(0);
pub(super) const B: WanId = WanId(1);
pub(super) const T: u64 = 250;

pub(super) fn ms(n: u64) -> Nanos {
    Nanos::from_ms(n)
}

/// Some WANs, a clock, and gateways that answer or not.
pub(super) struct Rig {
    pub(super) wans: Wans,
    pub(super) now: Nanos,
    alive: [bool; 3],
    pub(super) seen: Vec<Effect>,
}

impl Rig {
    fn new(count: usize) -> Rig {
        let wans = Wans::new(vec![Health::default(); count], ms(0));
        Rig { wans, now: ms(0), alive: [true; 3], seen: Vec::new() }
    }

    /// `count` WANs that are up; the first carries.
    pub(super) fn up(count: usize) -> Rig {
        let mut rig = Rig::new(count);
        (0..count as u8).for_each(|wan| rig.link(WanId(wan), true));
        rig.run(T);
        assert_eq!(rig.wans.carrying(), Some(A));
        rig.seen.clear();
        rig
    }

    pub(super) fn step(&mut self, input: Input) -> Result<(), Refused> {
        let seen = &mut self.seen;
        self.wans.step(self.now, input, &mut |effect| seen.push(effect))
    }

    pub(super) fn link(&mut self, wan: WanId, up: bool) {
        self.step(Input::Link { wan, up }).unwrap();
    }

    pub(super) fn admin(&mut self, wan: WanId, admin: Admin) -> Result<(), Refused> {
        self.step(Input::Admin { wan, admin, force: false })
    }

    /// Lets `span` ms pass; probes leave at once, living gateways answer at once.
    pub(super) fn run(&mut self, span: u64) {
        let end = self.now + ms(span);
        loop {
            let due = self.wans.next_deadline().max(self.now);
            if due >= end {
                break;
            }
            self.now = due;
            let first = self.seen.len();
            self.step(Input::Tick).unwrap();
            for effect in self.seen.split_off(first) {
                self.seen.push(effect);
                if let Effect::Probe { wan } = effect {
                    self.step(Input::ProbeSent { wan, at: due }).unwrap();
                    if self.alive[wan.index()] {
                        self.step(Input::ProbeReply { wan, at: due }).unwrap();
                    }
                }
            }
        }
        self.now = end;
    }

    pub(super) fn state(&self, wan: WanId) -> State {
        self.wans.get(wan).state
    }

    pub(super) fn standing(&self, wan: WanId) -> (Standing, u16) {
        let status = self.wans.get(wan);
        assert_eq!(status.carrying, status.standing == Standing::Carrying);
        assert_eq!(status.carrying, self.wans.carrying() == Some(wan));
        (status.standing, status.epoch)
    }

    /// What was selected since the last look, and everything else forgotten.
    pub(super) fn selected(&mut self) -> Vec<(Option<WanId>, Option<WanId>, Kind, Cause)> {
        let selections = self.seen.drain(..).filter_map(|effect| match effect {
            Effect::Selected(s) => Some((s.from, s.to, s.kind, s.cause)),
            _ => None,
        });
        selections.collect()
    }
}

/// One WAN (a second one holds the fort) in `state` with `admin`, just at a tick, one miss before the threshold.
fn placed(state: State, admin: Admin) -> Rig {
    let mut rig = Rig::new(2);
    rig.link(B, true);
    rig.run(T);
    match state {
        State::Probing => {
            rig.alive[0] = false;
            rig.run(T);
            rig.link(A, true);
            rig.run(2 * T - 1);
        }
        State::Up => {
            rig.link(A, true);
            rig.run(T);
            rig.alive[0] = false;
            rig.run(3 * T - 1);
        }
        State::Down => {
            rig.link(A, false);
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
    use State::{Down, Probing, Up};
    let inputs = |now: Nanos| {
        [
            Input::Link { wan: A, up: true },
            Input::Link { wan: A, up: false },
            Input::ProbeSent { wan: A, at: now },
            Input::ProbeReply { wan: A, at: now },
            Input::ProbeReply { wan: A, at: ms(0) },
            Input::Tick,
            Input::Admin { wan: A, admin: Admin::Auto, force: false },
            Input::Admin { wan: A, admin: Admin::Down, force: false },
            Input::Admin { wan: A, admin: Admin::Drain, force: false },
            Input::Link { wan: WanId(9), up: false },
            Input::Admin { wan: WanId(9), admin: Admin::Down, force: false },
        ]
    };
    let mut walked = 0;
    for state in [Probing, Up, Down] {
        for admin in [Admin::Auto, Admin::Down, Admin::Drain] {
            for (index, input) in inputs(placed(state, admin).now).into_iter().enumerate() {
                let mut rig = placed(state, admin);
                rig.step(input).unwrap();
                let want = match (state, index) {
                    (_, 1) => Down,
                    (Probing | Up, 5) => Down,
                    (Probing, 3) => Up,
                    (state, _) => state,
                };
                let admin = match index {
                    6 => Admin::Auto,
                    7 => Admin::Down,
                    8 => Admin::Drain,
                    _ => admin,
                };
                let at = format!("{state:?} {admin:?} {input:?}");
                assert_eq!((rig.state(A), rig.wans.get(A).admin), (want, admin), "{at}");
                let standing = match (want, admin) {
                    (Up, Admin::Auto) => Standing::Carrying,
                    (Down, _) | (_, Admin::Down) => Standing::Left,
                    _ => Standing::Kept,
                };
                assert_eq!(rig.standing(A).0, standing, "{at}");
                let other = if standing == Standing::Carrying { Standing::Kept } else { Standing::Carrying };
                assert_eq!(rig.standing(B), (other, 0), "{at}");
                let told = rig.seen.iter().filter(|e| matches!(e, Effect::State(_))).count();
                assert_eq!(told, usize::from(want != state), "{at}");
                let probes = rig.seen.iter().filter(|e| matches!(e, Effect::Probe { wan: A })).count();
                assert_eq!(probes, usize::from(input == Input::Tick), "{at}");
                walked += 1;
            }
        }
    }
    assert_eq!(walked, 99);
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
    let Some(Effect::Selected(s)) = rig.seen.iter().find(|e| matches!(e, Effect::Selected(_))) else {
        panic!("not selected")
    };
    assert_eq!((s.last_ok, s.detected), (Some(ms(0)), ms(1000)), "1.0 s after the last reply");
    assert_eq!(rig.selected(), [(Some(A), Some(B), Kind::Failover, Cause::GatewaySilent)]);
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
        rig.step(Input::ProbeReply { wan: A, at: at + ms(50) }).unwrap();
        rig.run(T / 2);
    }
    assert_eq!(rig.state(A), State::Up);
}

#[test]
fn a_probe_that_was_never_sent_is_not_the_wans_fault() {
    let mut rig = Rig::up(1);
    // The first of these ticks still judges a round that was answered.
    for _ in 0..20 {
        rig.now += ms(T);
        rig.step(Input::Tick).unwrap();
    }
    let status = *rig.wans.get(A);
    assert_eq!((status.state, status.misses, status.loss_percent), (State::Up, 0, Some(0)));
    rig.run(T);
    assert_eq!(rig.state(A), State::Up, "one that leaves and is answered begins the count anew");
}

#[test]
fn a_wan_on_which_nothing_can_be_sent_for_five_seconds_is_down() {
    let mut rig = Rig::up(2);
    for _ in 0..21 {
        rig.now += ms(T);
        rig.step(Input::Tick).unwrap();
        rig.step(Input::ProbeSent { wan: B, at: rig.now }).unwrap();
        rig.step(Input::ProbeReply { wan: B, at: rig.now }).unwrap();
    }
    assert_eq!((rig.state(A), rig.wans.get(A).reason), (State::Down, Reason::CannotSend));
    assert_eq!((rig.state(B), rig.wans.carrying()), (State::Up, Some(B)));
}

#[test]
fn a_late_tick_after_a_stall_costs_one_loss_at_most() {
    let mut rig = Rig::up(1);
    rig.alive[0] = false;
    rig.run(T);
    rig.now += Nanos::from_s(60);
    rig.step(Input::Tick).unwrap();
    assert_eq!(rig.state(A), State::Up);
    assert_eq!(rig.wans.get(A).misses, 1);
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
    rig.run(1);
    assert_eq!(rig.selected(), [(Some(B), Some(A), Kind::Failback, Cause::Recovered)]);
    assert_eq!(rig.standing(A), (Standing::Carrying, 1));
    assert_eq!(rig.standing(B), (Standing::Kept, 0), "failback leaves nothing");
}

#[test]
fn x10_many_slow_successes_count_as_well_as_stable() {
    let slow = Health { arp_every: Nanos::from_s(5), ..Health::default() };
    let mut rig = Rig::new(1);
    rig.wans = Wans::new(vec![slow], ms(0));
    rig.link(A, false);
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
    for _ in 0..40 {
        rig.now = rig.wans.next_deadline();
        rig.step(Input::Tick).unwrap();
    }
    rig.run(T);
    rig.run(T);
    assert_eq!(rig.state(A), State::Down, "10 s unseen are not stable");
    rig.run(1_000);
    assert_eq!(rig.state(A), State::Up);
}
