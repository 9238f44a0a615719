//! What `explain` says of a packet and what the NAT then does with it, over all kinds of traffic, failovers and full tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

use std::collections::BTreeMap;

use rand::{SeedableRng, rngs::StdRng};
use turnout::base::{IfaceId, Nanos};
use turnout::nat::explain::{Explained, Fortune};
use turnout::nat::outbound::FromInside;
use turnout::nat::session::Kind;
use turnout::nat::{Env, Outbound};
use turnout::packet::{Counters, DropReason, VecBuf};
use turnout::path::{Admitted, Class, View, admit, classify};
use turnout::sim::Site;
use turnout::sim::bulk::{Bulk, Every};
use turnout::sim::seeds::{seeds, whole};
use turnout::sim::traffic::{self, Dice, Traffic};

const FRAMES: u64 = 20_000;

/// Both, of a frame that goes from inside to beyond a WAN.
fn both(bulk: &mut Bulk, view: &View, frame: &[u8], inside: IfaceId) -> Option<(Explained, Outbound)> {
    let Ok(Admitted::Ip(frame)) = admit(view, inside, VecBuf::new(frame)) else { return None };
    let Ok(Class::Outbound { pin }) = classify(view, &frame) else { return None };
    let tuple = frame.tuple()?;
    let (tcp, reply, bytes) = (frame.tcp(), frame.is_echo_reply(), u32::from(frame.ip.total_len));
    let packet = FromInside { ingress: inside, tuple: &tuple, tcp, reply, bytes, pin };
    let now = bulk.site().now();
    let nat = &mut bulk.site().lcores()[0].router.nat;
    let said = nat.explain(&packet, &view.uplinks, &view.rules, now);
    let mut counters = Counters::default();
    let env = &mut Env { up: &view.uplinks, rules: &view.rules, now, counters: &mut counters };
    Some((said, nat.outbound(&packet, env)))
}

/// What it said is what it is; else why not.
fn agrees(said: &Explained, done: &Outbound) -> Result<(), &'static str> {
    match (said.fortune, done) {
        // The packet itself clears away what has just expired of its host, which `explain` does not.
        (Fortune::Drop(DropReason::NatHostSessions | DropReason::NatHostPorts), _) => Ok(()),
        (Fortune::Drop(said), Outbound::Drop(why)) | (Fortune::Reset(said), Outbound::Reset(why)) => {
            if said == *why { Ok(()) } else { Err("another reason") }
        }
        // That there is none left is known when one is drawn.
        (
            Fortune::Begins | Fortune::Moves | Fortune::Joins,
            Outbound::Drop(DropReason::NatPortsExhausted),
        ) => Ok(()),
        (Fortune::Drop(_) | Fortune::Reset(_), _) | (_, Outbound::Drop(_) | Outbound::Reset(_)) => {
            Err("another end")
        }
        (fortune, Outbound::Translate(to)) => {
            if said.wan != Some(to.wan) {
                return Err("another WAN");
            }
            let stays = matches!(fortune, Fortune::Goes | Fortune::Joins) && said.kind == Kind::Masquerade;
            let place =
                said.mapping.filter(|m| stays && m.wan == to.wan).map(|m| (m.outside, m.outside_port));
            if place.is_none_or(|place| place == (to.addr, to.port)) { Ok(()) } else { Err("another place") }
        }
    }
}

/// How often each was said.
type Said = BTreeMap<&'static str, u32>;

fn name(fortune: Fortune) -> &'static str {
    match fortune {
        Fortune::Goes => "goes",
        Fortune::Moves => "moves",
        Fortune::Joins => "joins",
        Fortune::Begins => "begins",
        Fortune::Reset(reason) | Fortune::Drop(reason) => reason.name(),
    }
}

fn run(seed: u64, said: &mut Said) {
    let mut dice = StdRng::seed_from_u64(seed);
    let text = traffic::profile(seed as usize);
    // Few ports, so that they are shared; what is left goes at once, or stays.
    let text =
        text.replace("sessions: 1024 }", "sessions: 1024 }\npolicy: [{ from: 192.168.10.11, use: isp2 }]");
    let mut bulk = Bulk::new(Site::new(&text, 1).unwrap(), Every::SOME);
    let mut traffic = Traffic::default();
    for n in 0..FRAMES {
        let view = bulk.view().clone();
        let (iface, frame) = traffic.frame(&mut dice, &view);
        if view.ifaces[iface.index()].wan.is_none()
            && let Some((explained, done)) = both(&mut bulk, &view, &frame, iface)
        {
            *said.entry(name(explained.fortune)).or_default() += 1;
            if let Err(why) = agrees(&explained, &done) {
                panic!("seed {seed}, frame {n}: {why}: {explained:#?}, {done:?}");
            }
        }
        traffic.learn(bulk.put(iface, &frame));
        if n % 32 == 31 {
            let span = match dice.throw(100) {
                0 => Nanos::from_s(60 + u64::from(dice.throw(400))),
                1..10 => Nanos::from_s(5),
                _ => Nanos::from_ms(1),
            };
            traffic.learn(bulk.pass(span));
            let link = ["isp1", "isp2"][dice.throw(2) as usize];
            match dice.throw(20) {
                0 => bulk.site().set_link(link, false),
                1..5 => bulk.site().set_link(link, true),
                _ => {}
            }
        }
    }
}

#[test]
fn explain_says_of_each_packet_from_inside_what_becomes_of_it() {
    let mut said = Said::new();
    seeds(48).for_each(|seed| run(seed, &mut said));
    println!("{said:?}");
    for fortune in
        ["goes", "moves", "joins", "begins", "drop_wan_left", "drop_nat_clash", "drop_nat_tcp_midstream"]
    {
        assert!(!whole() || said.get(fortune).is_some_and(|n| *n > 10), "{fortune}: {said:?}");
    }
}
