//! A client and a server with a lossy, slow line between them, by many seeds, and a referee who keeps the server's book.

use std::collections::BTreeMap;

use super::tests_rig::*;
use super::*;
use crate::base::Nanos;
use crate::sim::seeds::{seeds, whole};

/// What the server remembers: until when it has promised an address.
#[derive(Default)]
struct Server {
    promised: BTreeMap<Ipv4Addr, Nanos>,
    /// The address that it gives
    gives: u8,
}

impl Server {
    fn answer(&mut self, asked: Read, now: Nanos, lease_s: u32) -> Option<Message> {
        let address = |n: u8| Ipv4Addr::new(198, 51, 100, n);
        let given = address(self.gives);
        let wanted = asked.wanted.unwrap_or(asked.address);
        let reply =
            |answer, address| Some(Message { answer, address, lease_s: Some(lease_s), ..offer(asked.xid) });
        match asked.kind {
            1 => reply(Answer::Offer, given),
            3 if wanted == given => {
                self.promised.insert(given, now + Nanos::from_s(u64::from(lease_s)));
                reply(Answer::Ack, given)
            }
            3 => reply(Answer::Nak, given),
            _ => None,
        }
    }
}

#[test]
fn rfc_2131_whatever_gets_lost_no_lease_is_used_beyond_what_its_server_has_promised() {
    let (mut leases, mut losses, mut renewed) = (0, 0, 0);
    for seed in seeds(300) {
        let mut lots = timing::Lots(seed ^ 0x5eed);
        let mut draw = |below: u64| lots.next() % below;
        let (loss, lease_s) = (draw(80), 10 + draw(600) as u32);
        let mut rig = Rig { client: Client::new(config(), seed), now: Nanos::from_s(50), seen: Vec::new() };
        let mut server = Server { gives: 7, ..Server::default() };
        let mut mail: Vec<(Nanos, Message)> = Vec::new();
        let end = rig.now + Nanos::from_s(3600);
        let (mut up, mut flips) = (true, rig.now + Nanos::from_s(draw(900)));
        rig.link(true);
        while rig.now < end {
            for out in std::mem::take(&mut rig.seen) {
                match out {
                    Out::Send(send) if up && draw(100) >= loss => {
                        let asked = read(&send.bytes);
                        // A unicast is for the server that granted the lease, from its address.
                        assert!(send.to.is_none() || (send.to == Some(SERVER) && send.from == asked.address));
                        let arrives = rig.now + Nanos::from_ms(draw(3000));
                        let answer = server.answer(asked, arrives, lease_s).filter(|_| draw(100) >= loss);
                        mail.extend(answer.map(|answer| (arrives + Nanos::from_ms(draw(3000)), answer)));
                    }
                    Out::Lease(_) => leases += 1,
                    Out::Lost(_) => losses += 1,
                    _ => {}
                }
            }
            rig.now += Nanos::from_ms(250);
            let (due, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut mail).into_iter().partition(|(at, _)| *at <= rig.now);
            mail = later;
            for (_, message) in due.into_iter().filter(|_| up) {
                let extends = rig.client.lease().is_some() && message.answer == Answer::Ack;
                rig.say(&message);
                renewed += usize::from(extends && rig.client.phase() == Phase::Bound);
            }
            rig.client.tick(rig.now, &mut |out| rig.seen.push(out));
            if rig.now >= flips {
                flips = rig.now + Nanos::from_s(30 + draw(900));
                match draw(3) {
                    0 => server.gives = 7 + draw(3) as u8,
                    _ => {
                        up = !up;
                        rig.link(up);
                    }
                }
            }
            if let Some(lease) = rig.client.lease() {
                let promised = server.promised.get(&lease.address.addr);
                assert!(
                    promised.is_some_and(|until| *until > rig.now),
                    "seed {seed}: {lease:?} at {:?}",
                    rig.now
                );
            }
        }
    }
    assert!(!whole() || leases > 500 && losses > 300 && renewed > 1000, "{leases} {losses} {renewed}");
}

#[test]
fn the_same_seed_asks_the_same_at_the_same_times() {
    let run = |seed| {
        let mut rig = Rig { client: Client::new(config(), seed), now: Nanos::from_s(50), seen: Vec::new() };
        rig.link(true);
        rig.run(Nanos::from_s(300));
        rig.seen
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
