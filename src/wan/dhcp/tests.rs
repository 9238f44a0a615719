//! The client, state by state.

use super::tests_rig::*;
use super::*;
use crate::base::Nanos;

const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;

const PHASES: [Phase; 9] = [
    Phase::Off,
    Phase::Init,
    Phase::Selecting,
    Phase::Requesting,
    Phase::Checking,
    Phase::Bound,
    Phase::Renewing,
    Phase::Rebinding,
    Phase::Rebooting,
];

#[test]
fn rfc_2131_from_nothing_to_a_lease() {
    let mut rig = Rig::off();
    rig.link(true);
    let (to, discover) = rig.asked();
    assert_eq!((to, discover.kind, discover.wanted, discover.broadcast), (None, DISCOVER, None, false));
    rig.answer(Answer::Offer);
    let (to, request) = rig.asked();
    assert_eq!((to, request.kind, request.xid), (None, REQUEST, discover.xid));
    assert_eq!(
        (request.wanted, request.server, request.address),
        (Some(CLIENT), Some(SERVER), Ipv4Addr::UNSPECIFIED)
    );
    rig.answer(Answer::Ack);
    assert_eq!((rig.client.lease(), rig.client.claim()), (None, Some(CLIENT)), "not before nobody has it");
    rig.run(Nanos::from_ms(499));
    assert_eq!(rig.client.lease(), None);
    rig.run(Nanos::from_ms(1));
    assert_eq!(rig.seen.iter().filter(|out| **out == Out::Claim(CLIENT)).count(), 2);
    let lease = rig.client.lease().unwrap().clone();
    assert_eq!((lease.address.addr, lease.gateway, lease.server), (CLIENT, GATEWAY, SERVER));
    assert_eq!(rig.seen.last(), Some(&Out::Lease(lease)));
}

/// What each answer leads to, from each phase: and that a lease which is held stays, but for a NAK.
#[test]
fn rfc_2131_every_phase_and_every_answer() {
    use Phase::*;
    let expected = |phase, answer| match (phase, answer) {
        (Selecting, Answer::Offer) => Requesting,
        (Requesting, Answer::Ack) => Checking,
        (Renewing | Rebinding | Rebooting, Answer::Ack) => Bound,
        (Requesting | Renewing | Rebinding | Rebooting, Answer::Nak) => Init,
        (phase, _) => phase,
    };
    for phase in PHASES {
        for answer in [Answer::Offer, Answer::Ack, Answer::Nak] {
            let mut rig = Rig::at(phase);
            let held = rig.client.lease().is_some();
            let xid = rig.seen.iter().any(|out| matches!(out, Out::Send(_))).then(|| rig.asked().1.xid);
            rig.seen.clear();
            rig.say(&Message { answer, ..offer(xid.unwrap_or(0)) });
            assert_eq!(rig.client.phase(), expected(phase, answer), "{phase:?} {answer:?}");
            let kept = !(answer == Answer::Nak && rig.client.phase() == Init && phase != Init);
            assert_eq!(rig.client.lease().is_some(), held && kept, "{phase:?} {answer:?}");
            assert_eq!(rig.lost(), (held && !kept).then_some(Said::Nak(SERVER)), "{phase:?} {answer:?}");
        }
    }
}

/// Another exchange's number, another client's address, a rejected server, another address than was asked for: as if nothing had come.
#[test]
fn rfc_2131_what_is_for_nobody_here_changes_nothing() {
    for phase in PHASES {
        for answer in [Answer::Offer, Answer::Ack, Answer::Nak] {
            for odd in 0..4 {
                let mut rig = Rig::at(phase);
                let xid = rig.seen.iter().any(|out| matches!(out, Out::Send(_))).then(|| rig.asked().1.xid);
                let mut message = Message { answer, ..offer(xid.unwrap_or(0)) };
                match odd {
                    0 => message.xid ^= 1,
                    1 => message.mac.0[5] ^= 1,
                    2 => message.server = Some(Ipv4Addr::new(192, 168, 100, 1)),
                    _ if answer == Answer::Ack => message.address = Ipv4Addr::new(198, 51, 100, 8),
                    _ => message.server = None,
                }
                let lease = rig.client.lease().cloned();
                rig.seen.retain(|out| matches!(out, Out::Send(_)));
                let before = rig.seen.len();
                rig.say(&message);
                assert_eq!(
                    (rig.client.phase(), rig.client.lease()),
                    (phase, lease.as_ref()),
                    "{answer:?} {odd}"
                );
                let said = |out: &Out| matches!(out, Out::Said(Said::Refused(..)));
                assert!(
                    rig.seen[before..].iter().all(said),
                    "{phase:?} {answer:?} {odd}: {:?}",
                    &rig.seen[before..]
                );
            }
        }
    }
}

#[test]
fn rfc_2131_silence_is_asked_again_after_4_to_64_s_and_then_by_broadcast() {
    let mut rig = Rig::off();
    rig.link(true);
    let mut last = rig.now;
    for wait in [4, 8, 16, 32, 64, 64, 64] {
        rig.seen.clear();
        while rig.seen.iter().all(|out| !matches!(out, Out::Send(_))) {
            rig.run(Nanos::from_ms(10));
        }
        let span = rig.now.since(last).as_ms();
        assert!((wait * 1000 - 1000..=wait * 1000 + 1010).contains(&span), "{span} ms, not {wait} s");
        assert_eq!((rig.asked().1.kind, rig.asked().1.broadcast), (DISCOVER, wait >= 8));
        last = rig.now;
    }
    assert_eq!(rig.client.said(), Some(Said::Silent));
}

#[test]
fn rfc_2131_an_offer_that_is_not_granted_is_forgotten_after_four_requests() {
    let mut rig = Rig::at(Phase::Requesting);
    rig.seen.clear();
    rig.run(Nanos::from_s(70));
    let kinds: Vec<u8> = rig
        .seen
        .iter()
        .filter_map(|out| match out {
            Out::Send(send) => Some(read(&send.bytes).kind),
            _ => None,
        })
        .collect();
    assert_eq!(kinds[..4], [REQUEST, REQUEST, REQUEST, DISCOVER], "the first was sent before");
}

#[test]
fn rfc_2131_renewal_is_by_unicast_rebinding_by_broadcast_and_at_the_end_it_is_lost() {
    let mut rig = Rig::bound();
    let granted = rig.now;
    let (renew, expires) = rig.client.times().unwrap();
    let s = |at: Nanos| at.since(granted).as_s();
    assert!((483..=500).contains(&s(renew)) && (999..=1000).contains(&s(expires)), "{renew:?} {expires:?}");
    rig.seen.clear();
    let (mut unicast, mut broadcast) = (0, 0);
    while rig.now < expires {
        assert!(rig.client.lease().is_some());
        rig.seen.clear();
        rig.run(Nanos::from_ms(100));
        for out in &rig.seen {
            let Out::Send(send) = out else { continue };
            let asked = read(&send.bytes);
            if asked.kind != REQUEST {
                continue;
            }
            assert_eq!((send.from, asked.address, asked.wanted, asked.server), (CLIENT, CLIENT, None, None));
            match send.to {
                Some(to) => unicast += usize::from(to == SERVER),
                None => broadcast += 1,
            }
            assert!(send.to.is_some() || s(rig.now) >= 847, "before T2");
            assert!(send.to.is_none() || s(rig.now) < 876, "after T2");
        }
    }
    assert!((3..8).contains(&unicast) && (2..4).contains(&broadcast), "{unicast} {broadcast}");
    assert_eq!((rig.lost(), rig.client.lease()), (Some(Said::Expired), None));
    let (_, discover) = rig.asked();
    assert_eq!(
        (discover.kind, discover.wanted),
        (DISCOVER, Some(CLIENT)),
        "the same again, if it can be had"
    );
}

#[test]
fn rfc_2131_a_renewal_counts_from_its_own_request_and_tells_only_what_is_new() {
    let mut rig = Rig::at(Phase::Rebinding);
    let asked = rig.asked().1;
    rig.run(Nanos::from_s(2));
    rig.seen.clear();
    rig.say(&Message { answer: Answer::Ack, ..offer(asked.xid) });
    assert_eq!((rig.client.phase(), rig.seen.len()), (Phase::Bound, 0), "the same lease");
    let left = rig.client.times().unwrap().1.since(rig.now).as_s();
    assert!((900..1000).contains(&left), "{left}");
    rig.run(Nanos::from_s(550));
    rig.seen.retain(|out| matches!(out, Out::Send(_)));
    let xid = rig.asked().1.xid;
    rig.say(&Message { answer: Answer::Ack, router: Some(SERVER), ..offer(xid) });
    assert!(matches!(rig.seen.last(), Some(Out::Lease(lease)) if lease.gateway == SERVER));
}

#[test]
fn rfc_2131_another_server_may_rebind_but_not_renew() {
    let other = Some(Ipv4Addr::new(198, 51, 100, 3));
    for (phase, becomes) in [(Phase::Renewing, Phase::Renewing), (Phase::Rebinding, Phase::Bound)] {
        let mut rig = Rig::at(phase);
        let xid = rig.asked().1.xid;
        rig.say(&Message { answer: Answer::Ack, server: other, ..offer(xid) });
        assert_eq!(rig.client.phase(), becomes);
    }
    let mut rig = Rig::at(Phase::Renewing);
    let xid = rig.asked().1.xid;
    rig.say(&Message { answer: Answer::Nak, server: other, ..offer(xid) });
    assert_eq!((rig.client.phase(), rig.lost()), (Phase::Renewing, None));
}

#[test]
fn rfc_2131_an_address_that_somebody_has_is_declined_and_not_asked_for_soon() {
    let mut rig = Rig::at(Phase::Checking);
    rig.client.conflict(rig.now, GATEWAY, &mut |_| panic!("of another address"));
    rig.client.conflict(rig.now, CLIENT, &mut |out| rig.seen.push(out));
    let (to, decline) = rig.asked();
    assert_eq!(
        (to, decline.kind, decline.wanted, decline.server),
        (None, DECLINE, Some(CLIENT), Some(SERVER))
    );
    rig.seen.clear();
    rig.run(Nanos::from_ms(9_999));
    assert_eq!((rig.seen.len(), rig.client.lease()), (0, None));
    rig.run(Nanos::from_ms(1));
    assert_eq!((rig.asked().1.kind, rig.asked().1.wanted), (DISCOVER, None));
}

#[test]
fn rfc_2131_refusals_in_a_row_are_asked_ever_more_rarely() {
    let mut rig = Rig::off();
    rig.link(true);
    let mut begun = Vec::new();
    for _ in 0..8 {
        while rig.client.phase() != Phase::Selecting {
            rig.run(Nanos::from_ms(100));
        }
        begun.push(rig.now);
        rig.answer(Answer::Offer);
        rig.answer(Answer::Nak);
    }
    let spans: Vec<u64> = begun.windows(2).map(|two| two[1].since(two[0]).as_s()).collect();
    assert!(spans[0] <= 1 && (3..=5).contains(&spans[1]) && (7..=9).contains(&spans[2]), "{spans:?}");
    assert!((63..=65).contains(&spans[6]), "{spans:?}");
}

#[test]
fn rfc_2131_over_a_lost_link_the_lease_stays_and_is_asked_for_when_it_returns() {
    let mut rig = Rig::bound();
    rig.link(false);
    rig.seen.clear();
    rig.run(Nanos::from_s(300));
    assert!(rig.seen.is_empty() && rig.client.lease().is_some());
    rig.link(true);
    let (to, reboot) = rig.asked();
    assert_eq!((to, reboot.kind, reboot.wanted, reboot.server), (None, REQUEST, Some(CLIENT), None));
    assert_eq!(reboot.address, Ipv4Addr::UNSPECIFIED);
    rig.run(Nanos::from_s(20));
    assert_eq!(rig.client.phase(), Phase::Bound, "unanswered it stays good");
    rig.link(false);
    rig.run(Nanos::from_s(800));
    assert_eq!((rig.lost(), rig.client.phase()), (Some(Said::Expired), Phase::Off));
    rig.link(true);
    assert_eq!(rig.asked().1.kind, DISCOVER);
}

#[test]
fn rfc_2131_a_lease_for_ever_is_never_asked_about() {
    let mut rig = Rig::at(Phase::Requesting);
    let xid = rig.asked().1.xid;
    rig.say(&Message { answer: Answer::Ack, lease_s: Some(u32::MAX), ..offer(xid) });
    rig.run(Nanos::from_s(1));
    rig.seen.clear();
    rig.run(Nanos::from_s(1 << 33));
    assert!(rig.seen.is_empty() && rig.client.lease().is_some());
    assert_eq!(rig.client.due(), Nanos::NEVER);
}

#[test]
fn a_refused_offer_is_told_once_and_a_changed_profile_gives_a_lease_up() {
    let mut rig = Rig::at(Phase::Selecting);
    let xid = rig.asked().1.xid;
    for _ in 0..3 {
        rig.say(&Message { server: Some(Ipv4Addr::new(192, 168, 100, 1)), ..offer(xid) });
    }
    assert_eq!(rig.seen.iter().filter(|out| matches!(out, Out::Said(_))).count(), 1);
    let mut rig = Rig::bound();
    let with = |reject: Ipv4Addr| Config { reject_from: vec![reject], ..config() };
    rig.client.reconfigure(rig.now, with(GATEWAY), &mut |_| panic!("it is still good"));
    rig.client.reconfigure(rig.now, with(SERVER), &mut |out| rig.seen.push(out));
    assert_eq!(rig.lost(), Some(Said::Refused(Some(SERVER), Refusal::Rejected)));
}
