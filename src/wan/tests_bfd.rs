//! BFD sessions against each other over a line that can be cut.

use super::bfd::{Bfd, BfdConfig, BfdOut};
use super::types::BfdSays;
use crate::base::Nanos;
use crate::wire::bfd::{Control, State, diagnostic};

fn ms(n: u64) -> Nanos {
    Nanos::from_ms(n)
}

fn config(every: u64, multiplier: u8, discriminator: u32) -> BfdConfig {
    BfdConfig { every: ms(every), multiplier, discriminator }
}

/// One end, and what sends for it.
struct End {
    bfd: Bfd,
    repeat: Option<(Control, Nanos)>,
    next: Nanos,
    once: Vec<Control>,
    says: Vec<(Nanos, BfdSays)>,
    sent: u32,
}

impl End {
    fn new(config: BfdConfig) -> End {
        let mut outs = Vec::new();
        let bfd = Bfd::new(config, &mut |out| outs.push(out));
        let mut end = End { bfd, repeat: None, next: ms(0), once: vec![], says: vec![], sent: 0 };
        end.take(ms(0), outs);
        end
    }

    fn take(&mut self, now: Nanos, outs: Vec<BfdOut>) {
        for out in outs {
            match out {
                BfdOut::Repeat(control, interval) => {
                    let sooner = self.repeat.is_none_or(|(_, before)| interval < before);
                    self.next = if sooner { self.next.min(now + interval) } else { self.next };
                    self.next = if self.repeat.is_none() { now } else { self.next };
                    self.repeat = Some((control, interval));
                }
                BfdOut::Stop => self.repeat = None,
                BfdOut::Send(control) => self.once.push(control),
                BfdOut::Says(says) => self.says.push((now, says)),
            }
        }
    }

    fn act(&mut self, now: Nanos, what: impl FnOnce(&mut Bfd, &mut dyn FnMut(BfdOut))) {
        let mut outs = Vec::new();
        what(&mut self.bfd, &mut |out| outs.push(out));
        self.take(now, outs);
    }

    fn hear(&mut self, now: Nanos, control: Control) {
        let read = Control::parse(&control.emit()).unwrap();
        self.act(now, |bfd, mut out| bfd.hear(now, &read, &mut out));
    }

    /// A millisecond: what is sent in it.
    fn turn(&mut self, now: Nanos) -> Vec<Control> {
        self.act(now, |bfd, mut out| bfd.tick(now, &mut out));
        let mut sent = std::mem::take(&mut self.once);
        if let Some((control, interval)) = self.repeat.filter(|_| now >= self.next) {
            sent.push(control);
            let (least, _) = BfdOut::jitter(&control);
            self.next = now + Nanos(interval.0 * u64::from(least) / 100);
        }
        self.sent += sent.len() as u32;
        sent
    }
}

/// Both ends for a while; `cut` loses what `a` and `b` send.
fn run(a: &mut End, b: &mut End, from: u64, span: u64, cut: (bool, bool)) -> u64 {
    for now in from..from + span {
        let (to_b, to_a) = (a.turn(ms(now)), b.turn(ms(now)));
        to_b.into_iter().filter(|_| !cut.0).for_each(|control| b.hear(ms(now), control));
        to_a.into_iter().filter(|_| !cut.1).for_each(|control| a.hear(ms(now), control));
    }
    from + span
}

#[test]
fn rfc_5880_6_2_two_ends_come_up_slowly_and_then_send_fast() {
    let (mut a, mut b) = (End::new(config(300, 3, 1)), End::new(config(100, 3, 2)));
    assert_eq!(a.repeat.unwrap().1, Nanos::from_s(1), "6.8.3: slow until up");
    let now = run(&mut a, &mut b, 0, 3_000, (false, false));
    assert_eq!((a.bfd.state(), b.bfd.state()), (State::Up, State::Up));
    assert!(matches!((&a.says[..], &b.says[..]), ([(_, BfdSays::Up)], [(_, BfdSays::Up)])));
    assert!(!a.repeat.unwrap().0.poll && !b.repeat.unwrap().0.poll, "6.5: the polls are answered");
    assert_eq!(a.repeat.unwrap().1, ms(300), "6.8.7: its own wish, the slower");
    assert_eq!(b.repeat.unwrap().1, ms(300), "6.8.7: as often as the other can receive");
    let before = a.sent;
    run(&mut a, &mut b, now, 10_000, (false, false));
    assert!((44..=46).contains(&(a.sent - before)), "{} in 10 s", a.sent - before);
}

#[test]
fn rfc_5880_6_8_4_lost_after_the_peers_multiplier_of_what_both_agreed_on() {
    let (mut a, mut b) = (End::new(config(300, 3, 1)), End::new(config(100, 5, 2)));
    let now = run(&mut a, &mut b, 0, 4_000, (false, false));
    run(&mut a, &mut b, now, 3_000, (false, true));
    let (at, says) = a.says[1];
    let span = at.as_ms() - now;
    assert_eq!(says, BfdSays::Lost);
    assert!((1500 - 300..=1500).contains(&span), "5 x 300 ms after the last packet: {span}");
    assert_eq!(a.repeat.unwrap().0.diagnostic, diagnostic::TIME_EXPIRED);
    let (at, says) = b.says[1];
    assert!(says == BfdSays::Lost && at.as_ms() - now < span + 300, "told by the other");
    assert_eq!(b.repeat.unwrap().0.diagnostic, diagnostic::NEIGHBOR_DOWN);
    assert_eq!(a.repeat.unwrap().0.your_discriminator, 0, "6.8.1: whoever is not heard is forgotten");
    run(&mut a, &mut b, now + 3_000, 5_000, (false, false));
    assert_eq!((a.bfd.state(), b.bfd.state()), (State::Up, State::Up), "and up again");
}

#[test]
fn rfc_5882_3_2_a_peer_that_goes_on_purpose_is_no_failure() {
    let (mut a, mut b) = (End::new(config(100, 3, 1)), End::new(config(100, 3, 2)));
    let now = run(&mut a, &mut b, 0, 4_000, (false, false));
    b.act(ms(now), |bfd, mut out| bfd.close(&mut out));
    run(&mut a, &mut b, now, 3_000, (false, false));
    assert_eq!(a.says[1].1, BfdSays::Withdrawn);
    assert_eq!((a.bfd.state(), b.bfd.state()), (State::Down, State::AdminDown));
    assert_eq!(a.says.len(), 2);
}

#[test]
fn rfc_5880_6_8_6_every_state_against_every_state() {
    use State::{AdminDown, Down, Init, Up};
    let rows = [
        (Down, AdminDown, Down),
        (Down, Down, Init),
        (Down, Init, Up),
        (Down, Up, Down),
        (Init, AdminDown, Down),
        (Init, Down, Init),
        (Init, Init, Up),
        (Init, Up, Up),
        (Up, AdminDown, Down),
        (Up, Down, Down),
        (Up, Init, Up),
        (Up, Up, Up),
    ];
    for (own, heard, want) in rows {
        let mut a = End::new(config(300, 3, 7));
        let packet = |state| Control {
            state,
            multiplier: 3,
            my_discriminator: 9,
            your_discriminator: 7,
            min_tx: 300_000,
            min_rx: 300_000,
            ..Control::default()
        };
        let way: &[State] = match own {
            Down | AdminDown => &[],
            Init => &[Down],
            Up => &[Down, Init],
        };
        way.iter().for_each(|state| a.hear(ms(1), packet(*state)));
        assert_eq!(a.bfd.state(), own);
        a.hear(ms(2), packet(heard));
        assert_eq!(a.bfd.state(), want, "{own:?} hears {heard:?}");
        a.hear(ms(3), Control { your_discriminator: 8, ..packet(AdminDown) });
        assert_eq!(a.bfd.state(), want, "another session's packet");
        a.hear(ms(3), Control { poll: true, ..packet(heard) });
        let answer = a.once.last().unwrap();
        assert!(answer.fin && !answer.poll, "6.8.6: a poll is answered at once");
    }
}

#[test]
fn rfc_5880_6_8_7_a_peer_that_wants_to_hear_nothing_is_sent_nothing() {
    let mut a = End::new(config(300, 3, 7));
    let down = Control { multiplier: 3, my_discriminator: 9, min_tx: 1_000_000, ..Control::default() };
    a.hear(ms(1), down);
    assert_eq!(a.repeat, None);
    a.hear(ms(2), Control { min_rx: 1, ..down });
    assert_eq!(a.repeat.unwrap().1, Nanos::from_s(1));
    let one = Control { multiplier: 1, ..down };
    assert_eq!((BfdOut::jitter(&one), BfdOut::jitter(&down)), ((75, 90), (75, 100)));
}
