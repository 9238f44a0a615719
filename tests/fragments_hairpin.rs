//! Fragments from inside to inside by an outside address (RFC 4787 REQ-9, REQ-14): both halves of the way, in any order, by any worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "common/pieces.rs"]
mod pieces;
use common::*;
use pieces::*;

use std::net::Ipv4Addr;

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
const FORWARD: &str = "forwards: [{ protocol: [udp], port: 8443, to: \"192.168.10.11:443\" }]\n";

/// What the LAN gets of a datagram that comes from it in these fragments, in this order; each has lost one hop, the first goes first.
#[track_caller]
fn arrives(site: &mut Site, came: &[Packet], order: &[usize]) -> Option<Seen> {
    let sent: Vec<Packet> = order.iter().map(|at| came[*at].clone()).collect();
    let out = all_by("lan", send_all(site, "lan", &sent));
    assert!(out.iter().all(|seen| seen.ip.ttl == 63), "{out:?}");
    assert_eq!((out.len(), out[0].ip.fragment_offset), (came.len(), 0), "{order:?}");
    whole(&out).filter(Seen::checksum_holds)
}

#[test]
fn rfc4787_9_and_rfc4787_14a_a_datagram_in_fragments_comes_back_inside_both_ways_in_every_order() {
    each_shape(|mut site| {
        meet(&mut site);
        for (n, order) in ORDERS.iter().cycle().take(18).enumerate() {
            let (a, b) = ((H1, 5000 + n as u16), (H2, 7001 + 3 * n as u16));
            let [x, y] = [a, b].map(|inside| udp_out(&mut site, inside, (E1, 80)).unwrap().1);
            for (from, own, to, at) in [(a, x, y, b), (b, y, x, a)] {
                // One identification for both: what tells them apart inside does not on the outside address.
                let came = fragments(&Packet::udp(from, to, &data(3500)), 900 + n as u16, 1480);
                let all = arrives(&mut site, &came, order).unwrap();
                assert_eq!((all.src(), all.dst(), all.data()), (own, at, &data(3500)[..]), "{order:?}");
            }
        }
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn two_hosts_that_choose_one_identification_are_not_mixed_up() {
    for (workers, queue) in SHAPES {
        let mut site = Site::new(&format!("{DUAL_WAN}{FORWARD}"), workers).unwrap();
        let third = Ipv4Addr::new(192, 168, 10, 12);
        site.add_host("lan", third);
        site.use_queue(queue);
        meet(&mut site);
        site.pass("lan", &Packet::ping(third, LAN, 1, 1)).unwrap();
        let of = |host| fragments(&Packet::udp((host, 5000), (P1, 8443), &data(3500)), 77, 1480);
        let (first, second) = (of(H1), of(third));
        let mixed: Vec<Packet> =
            first.iter().zip(&second).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
        let out = all_by("lan", send_all(&mut site, "lan", &mixed));
        let ids: std::collections::BTreeSet<u16> = out.iter().map(|seen| seen.ip.id).collect();
        assert_eq!((out.len(), ids.len()), (6, 2));
        for id in ids {
            let its: Vec<Seen> = out.iter().filter(|seen| seen.ip.id == id).cloned().collect();
            let all = whole(&its).unwrap();
            assert_eq!((all.src().0, all.dst(), all.data()), (P1, (H2, 443), &data(3500)[..]));
            assert!(all.checksum_holds());
        }
        site.finish(&OPENED).unwrap();
    }
}

#[test]
fn what_is_refused_is_refused_whole_and_nothing_stays() {
    for (workers, queue) in SHAPES {
        let mut site = site(workers);
        site.use_queue(queue);
        meet(&mut site);
        // Nobody has that port.
        let came = fragments(&Packet::udp((H1, 5000), (P1, 33_333), &data(3500)), 1, 1480);
        assert_eq!(send_all(&mut site, "lan", &came), []);
        assert_eq!((site.moved("drop_nat_no_mapping"), site.moved("drop_fragment_refused")), (1, 2));
        // A rest without its first one waits, and goes.
        let (_, x) = udp_out(&mut site, (H2, 6000), (E1, 80)).unwrap();
        let came = fragments(&Packet::udp((H1, 5000), x, &data(3500)), 2, 1480);
        assert_eq!(send_all(&mut site, "lan", &came[1..]), []);
        site.run_ms(2100);
        assert_eq!(site.moved("held"), 0);
        // An overlap ends the rest.
        let mut came = fragments(&Packet::udp((H1, 5000), x, &data(3500)), 3, 1480);
        came[1].ip.fragment_offset -= 8;
        assert_eq!(send_all(&mut site, "lan", &came).len(), 1);
        let drops = [
            "drop_nat_no_mapping",
            "drop_fragment_refused",
            "drop_fragment_timeout",
            "drop_fragment_overlap",
        ];
        site.finish(&and(&[&OPENED, &drops])).unwrap();
    }
}

#[test]
fn without_hairpin_fragments_do_not_come_back_either() {
    let mut site = Site::new(&format!("{DUAL_WAN}nat: {{ hairpin: false }}\n"), 1).unwrap();
    meet(&mut site);
    let (_, x) = udp_out(&mut site, (H2, 6000), (E1, 80)).unwrap();
    let came = fragments(&Packet::udp((H1, 5000), x, &data(3500)), 2, 1480);
    assert_eq!(send_all(&mut site, "lan", &came), []);
    site.run_ms(2100);
    site.finish(&and(&[&OPENED, &["drop_hairpin", "drop_fragment_timeout"]])).unwrap();
}
