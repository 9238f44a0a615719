//! Groups of WANs: what belongs together stays together, what does not is left alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/lines.rs"]
mod lines;
use lines::*;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use turnout::base::WanId;
use turnout::nat::rules::Match;
use turnout::nat::{Choice, Fate};
use turnout::sim::seeds::seeds;

const REGISTRAR: End = (E1, 5060);
const MEDIA: End = (E2, 20_000);
const MOVED: [&str; 2] = ["mappings_moved", "sessions_moved"];

fn to_port(port: u16) -> Match {
    Match { ports: vec![(port, port)], ..Match::default() }
}

/// The audit of all workers' tables, and that nothing new was put where it must not be.
fn sound(site: &mut Site) {
    for lcore in site.lcores() {
        lcore.router.nat.audit().unwrap();
    }
    assert_eq!(site.moved("mappings_on_left_wan"), 0);
}

/// A rule of the policy sends H1's flows to group 1; both groups choose `wan`.
fn phone(site: &mut Site, wan: WanId) {
    groups(site, &[Choice::One(wan), Choice::One(wan)]);
    let from = vec![format!("{H1}/32").parse().unwrap()];
    policy(site, vec![(Match { from, ..Match::default() }, 1)]);
}

#[test]
fn a_phones_signalling_and_media_stay_together_over_failover_and_failback() {
    each_shape(|mut site| {
        phone(&mut site, W1);
        assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().0, "isp1");
        assert_eq!(udp_out(&mut site, (H1, 5060), REGISTRAR).unwrap().0, "isp1");
        assert_eq!(udp_out(&mut site, (H1, 7000), MEDIA).unwrap().0, "isp1");
        lines(&mut site, |up| fail(up, W1, W2));
        assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().0, "isp2");
        // The media speak first; signalling follows, and so does a call that begins now.
        assert_eq!(udp_out(&mut site, (H1, 7000), MEDIA).unwrap().0, "isp2");
        assert_eq!(udp_out(&mut site, (H1, 5060), REGISTRAR).unwrap().0, "isp2");
        assert_eq!(udp_out(&mut site, (H1, 7002), MEDIA).unwrap().0, "isp2");
        // Back: isp2 is kept for what is there. The phone is, so its next call goes there as well; another host goes back.
        lines(&mut site, |up| {
            mend_wan(up, W1);
            up.groups.iter_mut().for_each(|group| group.choice = Choice::One(W1));
        });
        assert_eq!(udp_out(&mut site, (H1, 7004), MEDIA).unwrap().0, "isp2", "signalling is there");
        assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 3, 1)).unwrap().0, "isp2");
        assert_eq!(connect(&mut site, (H1, 8000), (E1, 443)).0, "isp2");
        // No rule keeps it together: what is new of it goes back, what is there stays.
        assert_eq!(udp_out(&mut site, (H2, 5001), (E1, 80)).unwrap().0, "isp1");
        assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().0, "isp2");
        // A WAN that takes no more gets no more.
        lines(&mut site, |up| up.wans[1].takes = false);
        assert_eq!(udp_out(&mut site, (H1, 7006), MEDIA).unwrap().0, "isp1");
        assert_eq!(udp_out(&mut site, (H1, 7004), MEDIA).unwrap().0, "isp2", "what is there stays");
        // The drain is over: all of it goes back together.
        lines(&mut site, |up| {
            up.wans[1].takes = true;
            leave(up, 1, W2);
        });
        for port in [5060, 7000, 7002, 7004, 7008] {
            let remote = if port == 5060 { REGISTRAR } else { MEDIA };
            assert_eq!(udp_out(&mut site, (H1, port), remote).unwrap().0, "isp1", "{port}");
        }
        sound(&mut site);
        site.finish(&and(&[&OPENED, &MOVED])).unwrap();
    });
}

#[test]
fn a_host_that_has_nothing_left_on_a_wan_sticks_to_it_no_more() {
    let mut site = site(1);
    phone(&mut site, W2);
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 53)).unwrap().0, "isp2");
    lines(&mut site, |up| up.groups[1].choice = Choice::One(W1));
    assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 53)).unwrap().0, "isp2");
    // The answers to DNS were remembered for 10 s; another flow keeps the host known all the while.
    for _ in 0..4 {
        site.run_coarse(5, 50);
        site.take_all();
        site.pass("lan", &Packet::ping(H2, E1, 1, 1)).unwrap();
    }
    assert_eq!(udp_out(&mut site, (H1, 5002), (E1, 53)).unwrap().0, "isp1");
    sound(&mut site);
    site.finish(&and(&[&OPENED, &["sessions_expired"]])).unwrap();
}

#[test]
fn rfc4787_1_an_inside_endpoint_has_one_mapping_in_each_group_whomever_it_talks_to() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1), Choice::One(W2)]);
        policy(&mut site, vec![(to_port(5060), 1)]);
        let (link, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (voice, y) = udp_out(&mut site, (H1, 5000), (E1, 5060)).unwrap();
        assert_eq!((link.as_str(), voice.as_str()), ("isp1", "isp2"));
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 81)), Some(("isp1".into(), x)));
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 5060)), Some(("isp2".into(), y)));
        assert_eq!(site.moved("mappings_created"), 2);
        assert_eq!(udp_in(&mut site, "isp1", (E1, 80), x), Some((H1, 5000)));
        assert_eq!(udp_in(&mut site, "isp2", (E1, 5060), y), Some((H1, 5000)));
        sound(&mut site);
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn a_failover_of_one_group_leaves_the_others_flows_alone() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1), Choice::One(W1)]);
        policy(&mut site, vec![(to_port(5060), 1)]);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        udp_out(&mut site, (H1, 5000), (E1, 5060)).unwrap();
        let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
        // The voice group leaves isp1, which is fit, for its own reasons.
        lines(&mut site, |up| {
            up.groups[1].choice = Choice::One(W2);
            leave(up, 1, W1);
            cut(up, 1, W1);
        });
        site.run_ms(2000);
        site.take_all();
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp1".into(), x)));
        assert_eq!(tcp_out(&mut site, (H1, 6000), (E1, 80), ACK, 1001, 9001).unwrap().1.src(), t);
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 5060)).unwrap().0, "isp2");
        // What a host does in one group binds it in no other.
        assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 5060)).unwrap().0, "isp2");
        assert_eq!(udp_out(&mut site, (H1, 5002), (E1, 80)).unwrap().0, "isp1");
        sound(&mut site);
        site.finish(&and(&[&OPENED, &MOVED])).unwrap();
    });
}

fn table(of: impl Fn(usize) -> WanId) -> Choice {
    Choice::Table(Arc::new(std::array::from_fn(of)))
}

fn host(n: u16) -> Ipv4Addr {
    let [c, d] = (n + 512).to_be_bytes();
    Ipv4Addr::new(192, 168, c, d)
}

#[test]
fn balance_is_sticky_by_source_and_only_the_hosts_whose_slot_moves_move() {
    for workers in [1, 3] {
        let wide = DUAL_WAN.replace("192.168.10.1/24", "192.168.10.1/16");
        let mut site = Site::new(&wide, workers).unwrap();
        (0..200).for_each(|n| site.add_host("lan", host(n)));
        groups(&mut site, &[table(|slot| WanId((slot % 2) as u8))]);
        let go = |site: &mut Site, port: u16| -> HashMap<u16, String> {
            (0..200)
                .map(|n| (n, site.pass("lan", &Packet::udp((host(n), port), (E1, 80), b"x")).unwrap().0))
                .collect()
        };
        let first = go(&mut site, 5000);
        let on_first = first.values().filter(|link| *link == "isp1").count();
        assert!((60..140).contains(&on_first), "{on_first} of 200");
        assert_eq!(go(&mut site, 5001), first, "the same for every flow of a host");
        site.run_ms(400_000);
        site.take_all();
        assert_eq!(live(&mut site), 0);
        // A quarter of the slots goes from isp1 to isp2; who has nothing left goes by the table, all others stay.
        groups(&mut site, &[table(|slot| WanId(u8::from(slot % 2 == 1 || slot % 8 == 0)))]);
        let second = go(&mut site, 5000);
        let moved = first.iter().filter(|(n, link)| second[*n] != **link).count();
        assert!(first.iter().all(|(n, link)| link == "isp1" || second[n] == *link));
        assert!((5..50).contains(&moved), "{moved} of 200");
        // isp1 fails: its hosts go to isp2, the others do not notice.
        let before = site.moved("mappings_moved");
        lines(&mut site, |up| {
            fail(up, W1, W2);
            up.groups[0].choice = table(|_| W2);
        });
        let third = go(&mut site, 5000);
        assert!(third.values().all(|link| link == "isp2"));
        let hosts = second.values().filter(|link| *link == "isp1").count() as u64;
        assert_eq!(site.moved("mappings_moved") - before, hosts);
        sound(&mut site);
        site.finish(&and(&[&OPENED, &MOVED, &["sessions_expired"]])).unwrap();
    }
}

#[test]
fn nothing_new_is_ever_put_on_a_wan_that_was_left_whatever_happens() {
    for seed in seeds(12) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut site = Site::new(&unlimited(4096, ""), 1 + seed as usize % 3).unwrap();
        meet(&mut site);
        groups(&mut site, &[Choice::One(W1), Choice::One(W2), Choice::None]);
        policy(&mut site, vec![(to_port(5060), 1), (to_port(9), 2)]);
        for _ in 0..3000 {
            let (group, wan) = (rng.random_range(0..3usize), WanId(rng.random_range(0..2)));
            match rng.random_range(0..40) {
                0 => lines(&mut site, |up| leave(up, group, wan)),
                1 => lines(&mut site, |up| {
                    leave(up, group, wan);
                    cut(up, group, wan);
                }),
                2 => lines(&mut site, |up| up.groups[group].choice = Choice::One(wan)),
                3 => lines(&mut site, |up| fail(up, wan, WanId(1 - wan.0))),
                4 => lines(&mut site, |up| give_up(up, wan)),
                5 | 6 => lines(&mut site, |up| mend_wan(up, wan)),
                7 => lines(&mut site, |up| up.wans[wan.index()].takes ^= true),
                8 => lines(&mut site, |up| {
                    let bond = &mut up.groups[group].bonds[wan.index()];
                    bond.udp = if bond.udp == Fate::Drop { Fate::Rebind } else { Fate::Drop };
                }),
                9 => site.run_ms(rng.random_range(1..3000)),
                _ => {
                    let port = 5000 + rng.random_range(0..6);
                    let remote = ([E1, E2][rng.random_range(0..2)], [80, 5060, 9][rng.random_range(0..3)]);
                    let source = ([H1, H2][rng.random_range(0..2)], port);
                    let packet = match rng.random_range(0..5) {
                        0 => Packet::udp(source, remote, b"x"),
                        1 => Packet::ping(source.0, remote.0, port, 1),
                        2 => Packet::tcp(source, remote, SYN, 1, 0, b""),
                        _ => Packet::tcp(source, remote, ACK, 2, 77, b""),
                    };
                    let frame = site.frame_of("lan", &packet);
                    for (link, frame) in site.send_raw("lan", &frame) {
                        let Some(seen) = Seen::read(&frame).filter(|_| link != "lan") else { continue };
                        let wan = usize::from(link == "isp2");
                        // by each line with its own address, and only where something may leave.
                        assert_eq!(seen.ip.src, [P1, P2][wan]);
                        assert!(site.view().uplinks.wans[wan].sends(seen.ip.protocol));
                        if rng.random_range(0..2) == 0 && seen.tcp().is_some() {
                            let answer = Packet::tcp(seen.dst(), seen.src(), SYN | ACK, 76, 2, b"");
                            let frame = site.frame_of(&link, &answer);
                            site.put_raw(&link, &frame);
                        }
                    }
                }
            }
            sound(&mut site);
        }
        site.take_all();
        site.run_coarse(8000, 500);
        sound(&mut site);
        assert_eq!(live(&mut site), 0);
        assert!(site.lcores().iter().all(|l| l.router.nat.leftover() == [0; 8]));
    }
}
