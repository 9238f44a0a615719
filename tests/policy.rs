//! Policy: which group a flow from inside belongs to, where the group sends it, and how the router says so beforehand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/lines.rs"]
mod lines;
use lines::*;

use turnout::base::{IfaceId, Ipv4Net};
use turnout::nat::explain::{Explained, Fortune};
use turnout::nat::outbound::FromInside;
use turnout::nat::rules::{Match, To};
use turnout::nat::{Choice, Fate};
use turnout::packet::{DropReason, Tuple};
use turnout::wire::protocol;
use turnout::wire::tcp::Tcp;

fn from(net: &str) -> Match {
    Match { from: vec![net.parse::<Ipv4Net>().unwrap()], ..Match::default() }
}

#[test]
fn the_first_rule_that_matches_gives_the_group_and_without_one_it_is_the_default() {
    each_shape(|mut site| {
        groups(&mut site, &[Choice::One(W1), Choice::One(W2)]);
        let to = Match { to: To::Nets(vec!["8.8.4.4/32".parse().unwrap()]), ..Match::default() };
        policy(&mut site, vec![(to, 0), (from("192.168.10.10/32"), 1)]);
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
        assert_eq!(udp_out(&mut site, (H1, 5000), (E2, 80)).unwrap().0, "isp1");
        assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().0, "isp1");
        assert_eq!(connect(&mut site, (H1, 6000), (E1, 80)).0, "isp2");
        assert_eq!(site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap().0, "isp2");
        // What has no ports and no mapping is chosen for as well.
        let mut gre = Packet::udp((H1, 0), (E1, 0), b"");
        gre.ip.protocol = 47;
        assert_eq!(site.pass("lan", &gre).unwrap().0, "isp2");
        site.finish(&OPENED).unwrap();
    });
}

#[test]
fn a_group_without_a_wan_goes_by_the_others_or_is_told_that_there_is_none() {
    each_shape(|mut site| {
        meet(&mut site);
        // 1: isp2, otherwise the default group's; 2: isp2, otherwise nothing.
        groups(&mut site, &[Choice::One(W1), Choice::One(W2), Choice::One(W2)]);
        policy(&mut site, vec![(from("192.168.10.10/32"), 1), (from("192.168.10.11/32"), 2)]);
        let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let (_, y) = udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap();
        assert_eq!((x.0, y.0), (P2, P2));
        lines(&mut site, |up| {
            (up.wans[1].fit, up.wans[1].takes) = (false, false);
            up.groups[1].choice = Choice::One(W1);
            leave(up, 1, W2);
            // The other one has nowhere to go: nothing is left.
            up.groups[2].choice = Choice::None;
        });
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap().0, "isp1");
        for port in [5000, 5001] {
            let (link, seen) = site.pass("lan", &Packet::udp((H2, port), (E1, 80), b"x")).unwrap();
            assert_eq!((link.as_str(), error(&seen)), ("lan", Some((3, 0, 0))));
        }
        // isp2 is back: the one goes on where it was.
        lines(&mut site, |up| {
            (up.wans[1].fit, up.wans[1].takes) = (true, true);
            up.groups[2].choice = Choice::One(W2);
        });
        assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)), Some(("isp2".into(), y)));
        let more = ["mappings_moved", "sessions_moved", "drop_wan_down", "drop_wan_none", "icmp_errors_sent"];
        site.finish(&and(&[&OPENED, &more])).unwrap();
    });
}

/// What the router says would become of a datagram, or of a segment with these flags.
fn explain(site: &mut Site, src: End, dst: End, flags: Option<u8>) -> Explained {
    let (protocol, view) = (if flags.is_some() { protocol::TCP } else { protocol::UDP }, site.view().clone());
    let ((src, src_port), (dst, dst_port)) = (src, dst);
    let tuple = Tuple { protocol, src, src_port, dst, dst_port };
    let header =
        |flags| Tcp { src: src_port, dst: dst_port, seq: 1, ack: 1, header_len: 20, flags: Flags(flags) };
    let packet = FromInside {
        ingress: IfaceId(0),
        tuple: &tuple,
        tcp: flags.map(header),
        reply: false,
        bytes: 40,
        pin: view.place(dst).pin,
    };
    let (now, before) = (site.now(), digest(site));
    let said = site.lcores()[0].router.nat.explain(&packet, &view.uplinks, &view.rules, now);
    assert_eq!(digest(site), before, "it has changed something");
    said
}

#[test]
fn what_would_become_of_a_packet_is_said_without_doing_it_and_then_becomes_of_it() {
    let mut site = site(1);
    meet(&mut site);
    groups(&mut site, &[Choice::One(W1), Choice::One(W2), Choice::None]);
    policy(
        &mut site,
        vec![(from("192.168.10.11/32"), 1), (Match { ports: vec![(9, 9)], ..Match::default() }, 2)],
    );
    // New, on a mapping that is there, and in its session.
    let said = explain(&mut site, (H2, 5000), (E1, 80), None);
    assert_eq!((said.fortune, said.group, said.wan), (Fortune::Begins, 1, Some(W2)));
    assert_eq!(udp_out(&mut site, (H2, 5000), (E1, 80)).unwrap().0, "isp2");
    assert_eq!(explain(&mut site, (H2, 5000), (E2, 80), None).fortune, Fortune::Joins);
    let said = explain(&mut site, (H2, 5000), (E1, 80), None);
    assert_eq!((said.fortune, said.left), (Fortune::Goes, false));
    assert_eq!(said.session.unwrap().0.outside().1, said.mapping.unwrap().outside_port);
    // No WAN in the group; in the middle of a connection.
    let said = explain(&mut site, (H1, 5000), (E1, 9), None);
    assert_eq!((said.fortune, said.group), (Fortune::Drop(DropReason::WanNone), 2));
    let said = explain(&mut site, (H1, 5000), (E1, 80), Some(ACK));
    assert_eq!(said.fortune, Fortune::Reset(DropReason::NatTcpMidstream));
    // A failover: UDP moves, or is dropped if it shall be; TCP goes on, and a new connection goes elsewhere.
    connect(&mut site, (H2, 6000), (E1, 80));
    lines(&mut site, |up| fail(up, W2, W1));
    let said = explain(&mut site, (H2, 5000), (E1, 80), None);
    assert_eq!((said.fortune, said.left, said.wan), (Fortune::Moves, true, Some(W1)));
    let said = explain(&mut site, (H2, 6000), (E1, 80), Some(ACK));
    assert_eq!((said.fortune, said.left, said.wan), (Fortune::Goes, false, Some(W2)));
    let said = explain(&mut site, (H2, 6000), (E2, 80), Some(SYN));
    assert_eq!((said.fortune, said.wan), (Fortune::Begins, Some(W1)));
    lines(&mut site, |up| up.groups[1].bonds[1].udp = Fate::Drop);
    assert_eq!(explain(&mut site, (H2, 5000), (E1, 80), None).fortune, Fortune::Drop(DropReason::WanLeft));
    lines(&mut site, |up| give_up(up, W2));
    let said = explain(&mut site, (H2, 6000), (E1, 80), Some(ACK));
    assert_eq!((said.fortune, said.left), (Fortune::Reset(DropReason::NatTcpFailover), true));
    // And so it is.
    assert_eq!(site.send("lan", &Packet::udp((H2, 5000), (E1, 80), b"x")), []);
    let (link, reset) = site.pass("lan", &Packet::tcp((H2, 6000), (E1, 80), ACK, 1001, 9001, b"")).unwrap();
    assert_eq!((link.as_str(), reset.tcp().unwrap().seq), ("lan", 9001));
    let more = ["sessions_reset", "tcp_resets_sent", "drop_nat_tcp_failover", "drop_wan_left"];
    site.finish(&and(&[&OPENED, &more])).unwrap();
}

#[test]
fn groups_of_the_same_wans_that_a_policy_makes_tell_one_failover_and_others_their_own() {
    let policy = "policy:
  - { from: 192.168.10.10, use: default }
  - { from: 192.168.10.11, use: isp1, on_failover: { udp: drop } }
  - { from: 192.168.10.12, use: isp1, otherwise: reject }
";
    let mut site = Site::new(&format!("{DUAL_WAN}{policy}"), 1).unwrap();
    site.set_link("isp1", false);
    site.run_ms(10);
    let told = |site: &mut Site, kind: &str| -> Vec<(String, String)> {
        let events = site.events(kind);
        events.iter().map(|e| (e["group"].to_string(), e["others"].to_string())).collect()
    };
    let failovers = told(&mut site, "failover");
    assert_eq!(failovers.len(), 1, "{failovers:?}");
    assert_eq!(failovers[0].0, "\"default\"");
    assert!(failovers[0].1.contains("isp1 or default"), "{failovers:?}");
    assert!(failovers[0].1.contains("default or default"), "{failovers:?}");
    // What has no other line has lost all: that is another thing.
    let lost = told(&mut site, "wan_none");
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert!(lost[0].0.contains("isp1 or reject"), "{lost:?}");
    let why = site.ask(Request::Why).unwrap();
    assert_eq!(why.as_array().unwrap().len(), 2, "{why}");
}
