//! Flows copied from one member of a pair to the other: the copy is the same, and goes on when the other one takes over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "copies/pair.rs"]
mod pair;
use common::*;
use pair::*;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use rand::{SeedableRng, rngs::StdRng};
use turnout::base::Nanos;
use turnout::nat::session::Kind;
use turnout::packet::Stat;
use turnout::sim::bulk::Bulk;
use turnout::sim::seeds::{seeds, whole};
use turnout::sim::traffic::{self, Dice, Traffic};
use turnout::wire::protocol::{ICMP, TCP, UDP};
use turnout::wire::record::{Entry, Record};

/// Traffic of every kind at `a`; how often the rings are emptied is by chance, so that they overflow.
fn storm(pair: &mut Pair, dice: &mut StdRng, frames: u32, workers: usize) {
    let mut traffic = Traffic::default();
    let mut lazy = 1;
    for n in 0..frames {
        pair.a.site().use_queue(dice.throw(workers as u32) as usize);
        let (iface, frame) = traffic.frame(dice, pair.a.view());
        traffic.learn(pair.a.put(iface, &frame));
        if n % 64 == 63 {
            let span = match dice.throw(200) {
                0 => Nanos::from_s(60 + u64::from(dice.throw(400))),
                1..10 => Nanos::from_s(5),
                _ => Nanos::from_ms(1),
            };
            pair.pass(span);
            let link = ["isp1", "isp2"][dice.throw(2) as usize];
            match dice.throw(100) {
                0 => pair.a.site().set_link(link, false),
                1..9 => pair.a.site().set_link(link, true),
                _ => {}
            }
            if n % 4096 == 4095 {
                lazy = [1, 8, 64, 256][dice.throw(4) as usize];
            }
        }
        if n % (32 * lazy) == 0 {
            pair.pump();
        }
        if n % 4096 == 0 {
            pair.audit();
        }
    }
    for link in ["isp1", "isp2"] {
        pair.a.site().set_link(link, true);
    }
}

/// What the first has that the other has not, or has otherwise.
fn missing(from: &BTreeMap<Flow, Place>, copy: &BTreeMap<Flow, Place>) -> Vec<String> {
    let other = |(flow, place): &(&Flow, &Place)| copy.get(*flow) != Some(*place);
    from.iter()
        .filter(other)
        .map(|(flow, place)| format!("{flow:?}: {place:?}, {:?}", copy.get(flow)))
        .collect()
}

/// Without the flows whose place another mapping was given since: their WAN was left, and until they move by their next packet they stand
/// in the table beside whoever has their port now. Of a copy there is one at a place.
fn stale_apart(flows: &BTreeMap<Flow, Place>, copy: &BTreeMap<Flow, Place>) -> BTreeMap<Flow, Place> {
    let masqueraded = Kind::Masquerade as u8;
    let given = |flow: &Flow, place: &Place| {
        let at = (place.0, place.1);
        let anothers = |(f, p): (&Flow, &Place)| {
            (f.0, f.3, p.0, p.1) == (flow.0, masqueraded, at.0, at.1)
                && f.1 != flow.1
                && copy.get(f) == Some(p)
        };
        flow.3 == masqueraded && flows.iter().any(anothers)
    };
    flows.iter().filter(|(flow, place)| !given(flow, place)).map(|(flow, place)| (*flow, *place)).collect()
}

#[test]
fn x_17_and_x_18_whatever_the_traffic_the_copy_is_the_same_and_goes_on_when_it_takes_over() {
    let (mut runs, mut compared, mut passed) = (0, 0, 0);
    for seed in seeds(18) {
        let mut dice = StdRng::seed_from_u64(seed);
        let workers = 1 + dice.throw(3) as usize;
        let room = [32, 64, 4096][dice.throw(3) as usize];
        let text = traffic::profile(seed as usize);
        let mut pair = match seed < 12 {
            true => Pair::new(&text, workers, room),
            false => Pair::over_a_bad_line(&text, workers, room, seed),
        };
        for _ in 0..2 {
            storm(&mut pair, &mut dice, 12_000, workers);
            pair.settle();
            let before = flows(&mut pair.a);
            let copy = flows(&mut pair.b);
            let refused = pair.counted(Stat::CopiesRefused)[1];
            let lives = [live(pair.a.site()), live(pair.b.site())];
            assert_eq!(
                missing(&stale_apart(&before, &copy), &copy),
                [] as [String; 0],
                "seed {seed}: {refused} refused, {lives:?} live"
            );
            // What had expired there and was in the table still is told within a round of the sweep.
            pair.pass(Nanos::from_s(1));
            (0..1000).for_each(|_| pair.pass(Nanos::from_ms(10)));
            pair.settle();
            assert_eq!(missing(&flows(&mut pair.b), &before), [] as [String; 0], "seed {seed}");
            compared += before.len();
        }
        let flows = stale_apart(&flows(&mut pair.a), &flows(&mut pair.b));
        runs += pair.runs;
        pair.take_over();
        passed += go_on(&mut pair, &flows, seed);
        // As with any other site: in the end nothing is left, and every port is where it was.
        pair.b.drain().unwrap();
    }
    assert!(
        !whole() || runs > 30 && compared > 2000 && passed > 500,
        "{runs} runs, {compared} flows, {passed} went on"
    );
}

/// Each flow that was there goes on at `b`, by the same outside endpoint, and is answered. Gives how many that were.
fn go_on(pair: &mut Pair, flows: &BTreeMap<Flow, Place>, seed: u64) -> usize {
    let mut passed = 0;
    for ((protocol, inside, remote, kind), (outside, wan, ..)) in flows {
        let view = pair.b.view();
        let near = view.place(remote.0).own.is_some() || view.wan_on_link(remote.0).is_some();
        let told = ![UDP, TCP, ICMP].contains(protocol) || *kind == Kind::Internal as u8 || near;
        let known = [10, 11, 12, 13].map(|host| Ipv4Addr::new(192, 168, 10, host)).contains(&inside.0);
        if told || !known {
            continue;
        }
        let packet = match *protocol {
            UDP => Packet::udp(*inside, *remote, b"on"),
            TCP => Packet::tcp(*inside, *remote, ACK, 7, 7, b""),
            _ => Packet::ping(inside.0, remote.0, inside.1, 1),
        };
        let link = ["isp1", "isp2"][usize::from(*wan)];
        let out = pair.b.site().send("lan", &packet);
        let left = out.iter().find(|(at, seen)| at == link && seen.ip.protocol == *protocol);
        let what = format!("seed {seed}: {protocol} {inside:?} {remote:?} by {outside:?}: {out:?}");
        let src = left.unwrap_or_else(|| panic!("{what}")).1.src();
        assert_eq!(src, *outside, "{what}");
        let answer = match *protocol {
            UDP => Packet::udp(*remote, *outside, b"back"),
            TCP => Packet::tcp(*remote, *outside, ACK, 7, 7, b""),
            _ => Packet::icmp(remote.0, outside.0, 0, 0, outside.1, 1, b""),
        };
        let back = pair.b.site().send(link, &answer);
        let found = back.iter().any(|(at, seen)| at == "lan" && seen.dst() == *inside);
        assert!(found, "{what}: the answer did not come back: {back:?}");
        passed += 1;
    }
    passed
}

/// The place of the only flow between these.
fn place_of(bulk: &mut Bulk, inside: End, remote: End) -> Option<Place> {
    flows(bulk).into_iter().find(|(flow, _)| (flow.1, flow.2) == (inside, remote)).map(|(_, place)| place)
}

#[test]
fn x_18_what_moves_and_what_ends_is_followed() {
    for workers in [1, 3] {
        let mut pair = Pair::new(DUAL_WAN, workers, 4096);
        let (udp, tcp) = ((H1, 5000), (H2, 6000));
        let (_, x) = udp_out(pair.a.site(), udp, (E1, 53)).unwrap();
        let (_, y) = connect(pair.a.site(), tcp, (E1, 80));
        pair.settle();
        assert_eq!(place_of(&mut pair.b, udp, (E1, 53)), Some((x, 0, 0, false)));
        assert_eq!(place_of(&mut pair.b, tcp, (E1, 80)), Some((y, 0, 2, false)));
        // Both say that they are done: that goes by the established path as long as nobody is told.
        tcp_out(pair.a.site(), tcp, (E1, 80), FIN_ACK, 1001, 9001).unwrap();
        pair.pump();
        assert_eq!(place_of(&mut pair.b, tcp, (E1, 80)), Some((y, 0, 3, false)));
        tcp_in(pair.a.site(), "isp1", (E1, 80), y, FIN_ACK).unwrap();
        pair.pump();
        assert_eq!(place_of(&mut pair.b, tcp, (E1, 80)), Some((y, 0, 3, false)));
        pair.a.site().set_link("isp1", false);
        let (link, z) = udp_out(pair.a.site(), udp, (E1, 53)).unwrap();
        pair.pump();
        assert_eq!((link.as_str(), place_of(&mut pair.b, udp, (E1, 53))), ("isp2", Some((z, 1, 0, false))));
        pair.audit();
        // Its timer runs out there, and not here.
        (0..400).for_each(|_| pair.pass(Nanos::from_s(1)));
        assert!(flows(&mut pair.a).is_empty());
        pair.settle();
        assert!(flows(&mut pair.b).is_empty());
        let [told, ended] = [pair.counted(Stat::CopiesTold)[0], pair.counted(Stat::CopiesEnded)[1]];
        assert!(told >= 6 && ended >= 2 && pair.counted(Stat::SessionsExpired)[1] == 0, "{told}, {ended}");
        assert_eq!(pair.runs, 1);
    }
}

/// What was told since the last time: the state, or `None` for an end.
fn told(pair: &mut Pair) -> Vec<Option<u8>> {
    pair.settle();
    let told = std::mem::take(&mut pair.told).into_iter();
    told.map(|record| if let Record::Is(entry) = record { Some(entry.state) } else { None }).collect()
}

#[test]
fn a_connection_is_three_records_and_a_flow_of_udp_two_and_a_syn_that_nobody_answers_none() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    pair.settle();
    let (tcp, remote) = ((H1, 6000), (E1, 80));
    let run_out = |pair: &mut Pair| (0..450).for_each(|_| pair.pass(Nanos::from_s(1)));
    let syn = |pair: &mut Pair| tcp_out(pair.a.site(), tcp, remote, SYN, 1, 0).unwrap().1.src();
    syn(&mut pair);
    syn(&mut pair);
    assert_eq!(told(&mut pair), []);
    run_out(&mut pair);
    assert_eq!((told(&mut pair), flows(&mut pair.a).len()), (vec![], 0));
    let x = syn(&mut pair);
    let answer = |pair: &mut Pair, flags| tcp_in(pair.a.site(), "isp1", remote, x, flags).unwrap();
    answer(&mut pair, SYN | ACK);
    assert_eq!(told(&mut pair), [Some(2)]);
    for _ in 0..18 {
        tcp_out(pair.a.site(), tcp, remote, ACK, 2, 2).unwrap();
        answer(&mut pair, ACK);
        pair.pump();
    }
    assert_eq!(told(&mut pair), []);
    tcp_out(pair.a.site(), tcp, remote, FIN_ACK, 2, 2).unwrap();
    assert_eq!(told(&mut pair), [Some(3)]);
    answer(&mut pair, FIN_ACK);
    tcp_out(pair.a.site(), tcp, remote, ACK, 3, 3).unwrap();
    assert_eq!(told(&mut pair), []);
    // Its ports once more: until that is answered the partner knows of none.
    syn(&mut pair);
    assert_eq!((told(&mut pair), flows(&mut pair.b).len()), (vec![None], 0));
    answer(&mut pair, SYN | ACK);
    assert_eq!(told(&mut pair), [Some(2)]);
    answer(&mut pair, RST);
    assert_eq!(told(&mut pair), [Some(6)]);
    run_out(&mut pair);
    assert_eq!((told(&mut pair), flows(&mut pair.b).len()), (vec![None], 0));
    let udp = (H2, 5000);
    for _ in 0..3 {
        let (_, y) = udp_out(pair.a.site(), udp, (E1, 53)).unwrap();
        udp_in(pair.a.site(), "isp1", (E1, 53), y).unwrap();
        pair.pump();
    }
    assert_eq!(told(&mut pair).len(), 1);
    run_out(&mut pair);
    assert_eq!(told(&mut pair), [None]);
}

#[test]
fn a_connection_that_is_adopted_in_the_middle_is_told_at_once() {
    let mut pair = Pair::new(&unlimited(4096, "midstream: adopt"), 1, 4096);
    pair.pass(Nanos::from_s(2));
    let (_, seen) = tcp_out(pair.a.site(), (H1, 5000), (E1, 80), ACK, 7, 8).unwrap();
    assert_eq!(told(&mut pair), [Some(2)]);
    assert_eq!(place_of(&mut pair.b, (H1, 5000), (E1, 80)), Some((seen.src(), 0, 2, false)));
}

#[test]
fn x_18_who_gives_up_the_role_tells_of_what_is_not_answered_yet() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    pair.settle();
    let remote = (E1, 80);
    let syns =
        |range: std::ops::Range<u16>| range.map(move |port| Packet::tcp((H1, port), remote, SYN, 1, 0, b""));
    meet(pair.a.site());
    flood(pair.a.site(), "lan", syns(10_000..13_000));
    pair.pump();
    let x = tcp_out(pair.a.site(), (H2, 6000), remote, SYN, 1, 0).unwrap().1.src();
    let y = tcp_out(pair.a.site(), (H2, 6001), remote, SYN, 1, 0).unwrap().1.src();
    tcp_in(pair.a.site(), "isp1", remote, y, RST).unwrap();
    assert!(told(&mut pair).iter().all(|state| *state == Some(6)), "what was refused");
    pair.give_up();
    pair.take_over();
    assert_eq!(tcp_in(pair.b.site(), "isp1", remote, x, SYN | ACK).unwrap().dst(), (H2, 6000));
    assert_eq!(tcp_out(pair.b.site(), (H2, 6000), remote, ACK, 2, 2).unwrap().1.src(), x);
    // Nothing is told twice, and of what comes later nothing.
    let told = pair.told.iter().filter(|record| record.key().inside() == (H2, 6000)).count();
    assert_eq!(told, 1);
    tcp_in(pair.a.site(), "isp1", remote, x, SYN | ACK).unwrap();
    pair.pump();
    assert_eq!(pair.told.iter().filter(|record| record.key().inside() == (H2, 6000)).count(), 1);
    pair.audit();
}

#[test]
fn copies_do_not_expire_on_standby_and_their_timers_start_at_the_take_over() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    let (_, x) = udp_out(pair.a.site(), (H1, 5000), (E1, 4000)).unwrap();
    pair.settle();
    for _ in 0..2000 {
        pair.b.pass(Nanos::from_s(1));
    }
    assert!(place_of(&mut pair.b, (H1, 5000), (E1, 4000)).is_some());
    pair.take_over();
    for _ in 0..250 {
        pair.b.pass(Nanos::from_s(1));
    }
    assert_eq!(udp_in(pair.b.site(), "isp1", (E1, 4000), x), Some((H1, 5000)), "300 s are not over");
    for _ in 0..310 {
        pair.b.pass(Nanos::from_s(1));
    }
    assert!(flows(&mut pair.b).is_empty());
    pair.b.drain().unwrap();
}

#[test]
fn what_a_member_on_standby_has_of_its_own_expires() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    udp_out(pair.a.site(), (H1, 5000), (E1, 4000)).unwrap();
    pair.settle();
    // As its role was just taken, by a packet that was still on its way.
    udp_out(pair.b.site(), (H2, 5000), (E1, 4000)).unwrap();
    assert_eq!(flows(&mut pair.b).len(), 2);
    for _ in 0..310 {
        pair.b.pass(Nanos::from_s(1));
    }
    assert!(place_of(&mut pair.b, (H1, 5000), (E1, 4000)).is_some(), "the partner's");
    assert_eq!(pair.b.site().lcores()[0].router.nat.live(), 1, "its own is cleared away");
}

#[test]
fn a_record_has_the_last_ack_of_a_connection_that_is_open_and_of_nothing_else() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    pair.settle();
    let acks = |pair: &mut Pair| -> Vec<(u8, u32)> {
        pair.settle();
        let told = std::mem::take(&mut pair.told).into_iter();
        let of =
            |record| if let Record::Is(entry) = record { Some((entry.state, entry.last_ack)) } else { None };
        told.filter_map(of).collect()
    };
    let (_, y) = udp_out(pair.a.site(), (H2, 5000), (E1, 53)).unwrap();
    udp_in(pair.a.site(), "isp1", (E1, 53), y).unwrap();
    assert!(acks(&mut pair).into_iter().all(|(_, ack)| ack == 0), "of UDP there is none");
    connect(pair.a.site(), (H1, 6000), (E1, 80));
    acks(&mut pair);
    tcp_out(pair.a.site(), (H1, 6000), (E1, 80), ACK, 2, 70_007).unwrap();
    tcp_out(pair.a.site(), (H1, 6000), (E1, 80), FIN_ACK, 2, 70_008).unwrap();
    assert_eq!(acks(&mut pair), [(3, 70_008)]);
    // Who gives up the role tells of what is not answered yet: there is nothing acknowledged.
    tcp_out(pair.a.site(), (H1, 6001), (E1, 80), SYN, 1, 0).unwrap();
    pair.give_up();
    let begun = acks(&mut pair);
    assert!(!begun.is_empty() && begun.iter().all(|(_, ack)| *ack == 0), "{begun:?}");
}

#[test]
fn copies_go_by_the_wans_as_this_member_sees_them_when_it_takes_over() {
    for fit_again in [false, true] {
        let mut pair = Pair::new(DUAL_WAN, 1, 4096);
        let (_, x) = udp_out(pair.a.site(), (H1, 5000), (E1, 4000)).unwrap();
        let (_, y) = connect(pair.a.site(), (H2, 6000), (E1, 80));
        let turn = |pair: &mut Pair, fit: bool| {
            pair.b.site().edit_view(|view| {
                view.uplinks.wans[0].fit = fit;
                let group = &mut view.uplinks.groups[0];
                group.choice = turnout::nat::Choice::One(turnout::base::WanId(u8::from(!fit)));
                // What holds flows there changes with every failover.
                let bond = &mut group.bonds[0];
                (bond.epoch, bond.tcp) = (bond.epoch + 1, bond.tcp + 1);
            });
        };
        turn(&mut pair, false);
        pair.settle();
        for _ in 0..20 {
            pair.b.pass(Nanos::from_s(1));
        }
        assert_eq!(pair.counted(Stat::SessionsReset)[1], 0, "nobody is reset by who is on standby");
        if fit_again {
            turn(&mut pair, true);
            for _ in 0..200 {
                pair.b.pass(Nanos::from_ms(100));
            }
        }
        pair.take_over();
        let out = tcp_out(pair.b.site(), (H2, 6000), (E1, 80), ACK, 1001, 9001).unwrap();
        let (link, z) = udp_out(pair.b.site(), (H1, 5000), (E1, 4000)).unwrap();
        if fit_again {
            assert_eq!((out.0.as_str(), out.1.src()), ("isp1", y));
            assert_eq!((link.as_str(), z), ("isp1", x));
        } else {
            assert!(out.0 == "lan" && out.1.tcp().unwrap().flags.rst(), "{out:?}");
            assert_eq!(link, "isp2");
        }
        pair.audit();
    }
}

#[test]
fn a_place_is_the_newest_copys_unless_this_members_own_flow_has_it() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    let place = (P1, 4000);
    pair.tell(Record::Is(entry(UDP, (H1, 5000), place, (E1, 53))));
    pair.tell(Record::Is(entry(UDP, (H1, 5000), place, (E2, 53))));
    assert_eq!(flows(&mut pair.b).len(), 2);
    // Another host has the same port there by now.
    pair.tell(Record::Is(entry(UDP, (H2, 6000), place, (E1, 53))));
    pair.audit();
    assert_eq!(place_of(&mut pair.b, (H2, 6000), (E1, 53)), Some((place, 0, 0, false)));
    assert_eq!(udp_in(pair.b.site(), "isp1", (E1, 53), place), Some((H2, 6000)));
    for _ in 0..100 {
        pair.b.pass(Nanos::from_ms(100));
    }
    assert_eq!(flows(&mut pair.b).len(), 1, "the others have no place");
    pair.audit();
    // What goes its own way here keeps its port.
    let (_, own) = udp_out(pair.b.site(), (H1, 7000), (E1, 53)).unwrap();
    pair.tell(Record::Is(entry(UDP, (H2, 7000), own, (E2, 53))));
    assert_eq!(pair.counted(Stat::CopiesRefused)[1], 1);
    assert!(place_of(&mut pair.b, (H1, 7000), (E1, 53)).is_some());
    // But a flow that the partner has as well is where the partner has it.
    pair.tell(Record::Is(entry(UDP, (H1, 7000), (P2, 4001), (E1, 53))));
    assert_eq!(place_of(&mut pair.b, (H1, 7000), (E1, 53)), Some(((P2, 4001), 1, 0, false)));
    pair.take_over();
    assert_eq!(udp_out(pair.b.site(), (H1, 7000), (E1, 53)), Some(("isp2".into(), (P2, 4001))));
    pair.b.drain().unwrap();
}

#[test]
fn a_place_that_is_lost_before_the_take_over_is_not_used_after_it() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    for (host, port) in [(H1, 5000), (H2, 6000)] {
        pair.b.site().send("lan", &Packet::ping(host, LAN, 1, 1));
        pair.tell(Record::Is(entry(UDP, (host, port), (P1, 4000), (E1, 53))));
    }
    pair.take_over();
    let (_, elsewhere) = udp_out(pair.b.site(), (H1, 5000), (E1, 53)).unwrap();
    assert_ne!(elsewhere, (P1, 4000));
    assert_eq!(udp_out(pair.b.site(), (H2, 6000), (E1, 53)), Some(("isp1".into(), (P1, 4000))));
    pair.audit();
    pair.b.drain().unwrap();
}

#[test]
fn what_cannot_be_made_again_is_not_copied_and_counted() {
    let forward = "forwards: [{ wans: [isp1], protocol: [udp], port: 2000, to: \"192.168.10.10:3000\" }]\n";
    let mut pair = Pair::new(&(DUAL_WAN.to_owned() + forward), 1, 4096);
    let flow = entry(UDP, (H1, 3000), (P1, 2000), (E1, 53));
    for (entry, foreign) in [
        // An address of the partner's alone.
        (Entry { outside: ([203, 0, 113, 4].into(), 4000), ..flow }, true),
        // A port that a forward has, without its rule; another host's rule; no such kind; a state that is none of TCP's.
        (flow, false),
        (Entry { kind: Kind::Forward as u8, ..entry(UDP, (H2, 3000), (P1, 2000), (E1, 53)) }, false),
        (Entry { kind: 99, ..flow }, false),
        (Entry { state: 7, ..entry(TCP, (H1, 5000), (P1, 4000), (E1, 80)) }, false),
        (Entry { kind: Kind::Internal as u8, ..flow }, false),
    ] {
        let before = [Stat::CopiesRefused, Stat::CopiesForeign].map(|stat| pair.counted(stat)[1]);
        pair.tell(Record::Is(entry));
        let now = [Stat::CopiesRefused, Stat::CopiesForeign].map(|stat| pair.counted(stat)[1]);
        assert_eq!(
            [now[0] - before[0], now[1] - before[1]],
            [u64::from(!foreign), u64::from(foreign)],
            "{entry:?}"
        );
        // What lives on the partner's WAN is known, to be sent there.
        assert_eq!(flows(&mut pair.b).len(), usize::from(foreign), "{entry:?}");
        pair.tell(Record::Ended(entry.key));
        assert!(flows(&mut pair.b).is_empty(), "{entry:?}");
    }
    let forwarded = Entry { kind: Kind::Forward as u8, origin: 1, ..flow };
    pair.tell(Record::Is(forwarded));
    assert_eq!(udp_in(pair.b.site(), "isp1", (E1, 53), (P1, 2000)), Some((H1, 3000)));
    assert_eq!(udp_out(pair.b.site(), (H1, 3000), (E1, 53)), Some(("isp1".into(), (P1, 2000))));
    pair.tell(Record::Ended(flow.key));
    assert!(flows(&mut pair.b).is_empty());
    pair.audit();
}

#[test]
fn what_a_run_does_not_name_stays_until_the_run_is_whole() {
    let mut pair = Pair::new(DUAL_WAN, 1, 4096);
    pair.settle();
    let remote = (E1, 53);
    let old: Vec<Entry> = (0..500).map(|n| entry(UDP, (H1, 5000 + n), (P1, 4000 + n), remote)).collect();
    old.iter().for_each(|entry| pair.tell(Record::Is(*entry)));
    assert_eq!(flows(&mut pair.b).len(), 500);
    let (_, x) = udp_out(pair.a.site(), (H2, 9), remote).unwrap();
    pair.begin();
    pair.pump();
    pair.pump();
    let left = flows(&mut pair.b).len();
    assert!((100..500).contains(&left), "they end a few at a time: {left} are left");
    pair.settle();
    assert_eq!(flows(&mut pair.b), flows(&mut pair.a));
    assert_eq!(place_of(&mut pair.b, (H2, 9), remote), Some((x, 0, 0, false)));
}

#[test]
fn in_a_full_table_what_the_run_names_takes_the_place_of_what_it_has_not_named() {
    let mut pair = Pair::new(&DUAL_WAN.replace("sessions: 4096", "sessions: 1024"), 1, 4096);
    pair.settle();
    let copy = |host, n: u16| Record::Is(entry(UDP, (host, 5000 + n), (P1, 4000 + n), (E1, 53)));
    let of =
        |pair: &mut Pair, host| flows(&mut pair.b).keys().filter(|(_, inside, ..)| inside.0 == host).count();
    (0..1024).for_each(|n| pair.tell(copy(H1, n)));
    assert_eq!(of(&mut pair, H1), 1024);
    // None of the same run gives way.
    pair.tell(copy(H2, 2000));
    assert_eq!((of(&mut pair, H1), of(&mut pair, H2)), (1024, 0));
    assert_eq!(pair.counted(Stat::CopiesRefused)[1], 1);
    pair.begin();
    (0..1000).for_each(|n| pair.tell(copy(H2, 2000 + n)));
    assert_eq!((of(&mut pair, H1), of(&mut pair, H2)), (24, 1000));
    assert_eq!([Stat::CopiesRefused, Stat::CopiesEnded].map(|stat| pair.counted(stat)[1]), [1, 1000]);
    pair.settle();
    assert_eq!((of(&mut pair, H1), of(&mut pair, H2)), (0, 1000));
}

#[test]
fn what_the_host_under_the_router_opens_and_strangers_are_not_told() {
    let forward = "forwards: [{ wans: [isp1], protocol: [udp], port: 2000, to: \"192.168.10.10:3000\" }]\n";
    let mut pair = Pair::new(&(DUAL_WAN.to_owned() + forward), 1, 4096);
    pair.a.site().attach_host();
    let own = Packet::udp((LAN, 5000), (E1, 53), b"own");
    let out = pair.a.site().host_sends("lan", &own, None);
    assert_eq!(out.len(), 1, "{out:?}");
    udp_in(pair.a.site(), "isp1", (E2, 99), (P1, 2000));
    pair.settle();
    assert!(pair.told.is_empty(), "{:?}", pair.told);
    // Inside has answered.
    udp_out(pair.a.site(), (H1, 3000), (E2, 99)).unwrap();
    pair.settle();
    assert_eq!(place_of(&mut pair.b, (H1, 3000), (E2, 99)), Some(((P1, 2000), 0, 0, true)));
}

#[test]
fn x_18_what_goes_from_inside_to_inside_and_what_has_no_ports_goes_on() {
    let voice = "  voice: { port: \"linux:voice0\", addresses: [192.168.30.1/24] }\n";
    let (v, gre) = (([192, 168, 30, 5].into(), 5060), 47);
    let text = DUAL_WAN.replace("  isp1:", &format!("{voice}  isp1:"))
        + "firewall: [{ in: voice, to: 192.168.10.0/24, action: drop }]\n";
    for workers in [1, 2, 3] {
        let mut pair = Pair::new(&text, workers, 4096);
        for bulk in [&mut pair.a, &mut pair.b] {
            bulk.site().add_host("voice", v.0);
            meet(bulk.site());
            bulk.site().pass("voice", &Packet::ping(v.0, [192, 168, 30, 1].into(), 1, 1)).unwrap();
        }
        let say = |bulk: &mut Bulk, link: &str, src, dst, flags| {
            bulk.site().pass(link, &Packet::tcp(src, dst, flags, 1, 1, b""))
        };
        for port in 0..16 {
            assert!(say(&mut pair.a, "lan", (H1, port), v, SYN).is_some());
            assert!(say(&mut pair.a, "voice", v, (H1, port), SYN | ACK).is_some());
            assert!(say(&mut pair.b, "lan", (H1, port), v, ACK).is_none(), "no session, no beginning");
        }
        let tunnel = |src, dst| {
            let mut packet = Packet::udp((src, 0), (dst, 0), b"tunnel");
            packet.ip.protocol = gre;
            packet
        };
        let remotes: Vec<Ipv4Addr> = (1..9).map(|n| Ipv4Addr::new(9, 9, 9, n)).collect();
        for remote in &remotes {
            assert_eq!(pair.a.site().pass("lan", &tunnel(H1, *remote)).unwrap().0, "isp1");
        }
        pair.settle();
        assert_eq!(flows(&mut pair.b), flows(&mut pair.a), "{workers} workers");
        assert_eq!(flows(&mut pair.b).len(), 24);
        pair.take_over();
        for port in 0..16 {
            assert!(say(&mut pair.b, "lan", (H1, port), v, ACK).is_some(), "{port}, {workers} workers");
            assert!(say(&mut pair.b, "voice", v, (H1, port), ACK).is_some());
        }
        for remote in &remotes {
            let back = pair.b.site().pass("isp1", &tunnel(*remote, P1)).unwrap();
            assert_eq!((back.0.as_str(), back.1.ip.dst), ("lan", H1));
        }
        pair.audit();
    }
}

#[test]
fn a_ring_that_overflows_is_told_once_and_everything_anew() {
    let mut pair = Pair::new(DUAL_WAN, 1, 16);
    pair.settle();
    meet(pair.a.site());
    flood(pair.a.site(), "lan", (0..200).map(|n| Packet::udp((H1, 5000 + n), (E1, 53), b"x")));
    pair.settle();
    let lost = pair.counted(Stat::CopiesLost)[0];
    assert!(lost > 100 && (2..6).contains(&pair.runs), "{lost} lost, {} runs", pair.runs);
    assert_eq!(flows(&mut pair.b), flows(&mut pair.a));
    assert_eq!(flows(&mut pair.b).len(), 200);
}
