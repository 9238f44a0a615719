//! A changed profile, taken up while the router runs: only what differs moves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use turnout::base::Nanos;

const RULE: &str = "firewall: [{ in: lan, to: 9.9.9.9, protocol: [udp], port: [53], action: drop }]\n";

#[test]
fn x_20_an_equal_profile_changes_nothing() {
    let mut site = site(2);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let (before, view) = (digest(&mut site), site.view().generation);
    assert_eq!(site.reload(DUAL_WAN, None), Ok(vec![]));
    assert_eq!((digest(&mut site), site.view().generation), (before, view));
    assert_eq!(site.events("reload").len(), 0);
    site.finish(&OPENED).unwrap();
}

#[test]
fn x_20_a_changed_rule_is_for_new_flows_and_sessions_stay() {
    let mut site = site(2);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 53)).unwrap();
    let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
    let text = DUAL_WAN.to_owned() + RULE + "nat: { timeouts: { udp: 2m } }\n";
    assert_eq!(site.reload(&text, None).unwrap(), ["firewall", "nat.timeouts.udp"]);
    assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 53)), None, "the new rule holds");
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 53)).unwrap().1, x, "what is there goes on");
    assert_eq!(tcp_out(&mut site, (H1, 6000), (E1, 80), ACK, 1001, 9001).unwrap().1.src(), t);
    udp_out(&mut site, (H1, 5005), (E1, 80)).unwrap();
    let live =
        |site: &mut Site| site.ask(Request::Sessions(Default::default())).unwrap().as_array().unwrap().len();
    assert_eq!(live(&mut site), 3);
    site.run_coarse(130, 100);
    site.take_all();
    let rows = site.ask(Request::Sessions(Default::default())).unwrap();
    assert!(
        rows.as_array().unwrap().iter().all(|row| row["protocol"] != "udp"),
        "the new time holds: {rows}"
    );
    site.finish(&and(&[&OPENED, &["drop_firewall", "sessions_expired"]])).unwrap();
}

#[test]
fn what_is_fixed_at_the_start_is_refused_as_a_whole() {
    let mut site = site(1);
    let generation = site.view().generation;
    let text = DUAL_WAN.replace("sessions: 4096", "sessions: 8192") + RULE;
    let why = site.reload(&text, None).unwrap_err();
    assert!(why.contains("engine.sessions") && !why.contains("firewall"), "{why}");
    let text = DUAL_WAN
        .replace("wans: [isp1, isp2]", "wans: { isp1: { pool: [{ addresses: 203.0.113.4/31 }] }, isp2: {} }");
    assert!(site.reload(&text, None).unwrap_err().contains("pool"));
    assert!(site.reload("version: 2\n", None).unwrap_err().contains("version"));
    assert_eq!(site.view().generation, generation);
    site.finish(&[]).unwrap();
}

#[test]
fn unconfirmed_it_goes_back_and_confirmed_it_stays() {
    for confirmed in [false, true] {
        let mut site = site(1);
        meet(&mut site);
        site.reload(&(DUAL_WAN.to_owned() + RULE), Some(Nanos::from_s(5))).unwrap();
        assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 53)), None);
        site.run_ms(4000);
        if confirmed {
            site.ask(Request::Confirm).unwrap();
        }
        site.run_ms(2000);
        site.take_all();
        assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 53)).is_some(), !confirmed);
        assert!(site.ask(Request::Confirm).is_err(), "nothing waits any more");
        let moved = and(&[&["drop_firewall"], if confirmed { &[][..] } else { &OPENED[..] }]);
        site.finish(&moved).unwrap();
    }
}

#[test]
fn x_16_another_address_of_a_wan_is_a_failover_to_itself_and_nobody_else_notices() {
    let mut site = site(2);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let (_, t) = connect(&mut site, (H1, 6000), (E1, 80));
    assert_eq!((x.0, t.0), (P1, P1));
    let text = DUAL_WAN.replace("203.0.113.2/29", "203.0.113.3/29");
    assert_eq!(site.reload(&text, None).unwrap(), ["interfaces.isp1.addresses"]);
    // The connection is told within the turns that follow.
    site.run_ms(1200);
    assert_eq!(site.moved("sessions_reset"), 1);
    site.take_all();
    let new = std::net::Ipv4Addr::new(203, 0, 113, 3);
    let (link, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), y.0), ("isp1", new));
    assert_eq!(udp_in(&mut site, "isp1", (E1, 80), y), Some((H1, 5000)));
    assert_eq!(connect(&mut site, (H1, 6001), (E1, 80)).1.0, new);
    assert_eq!(site.events("address").len(), 1);
    assert_eq!(site.events("failover").len(), 0);
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved", "sessions_reset", "tcp_resets_sent"]]))
        .unwrap();
}

#[test]
fn other_addresses_and_what_the_machines_make_of_them_are_one_view() {
    let mut site = site(2);
    let (_, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    let before = site.view().clone();
    let text = DUAL_WAN
        .replace("203.0.113.2/29", "203.0.113.3/29")
        .replace("198.51.100.2/29", "198.51.100.3/29")
        .replace(
            "failback: { after: 0s }",
            "failback: { after: 0s }, members: [{ wan: isp1, tier: 2 }, { wan: isp2, tier: 1 }]",
        );
    site.reload(&text, None).unwrap();
    let after = site.view().clone();
    // There is no view between the two that a flow could be opened by: with the new address under the old epoch.
    assert_eq!(after.generation.0, before.generation.0 + 1);
    for wan in 0..2 {
        assert_ne!(after.uplinks.wans[wan].addresses, before.uplinks.wans[wan].addresses);
        assert_ne!(after.uplinks.groups[0].bonds[wan].epoch, before.uplinks.groups[0].bonds[wan].epoch);
    }
    let told: Vec<_> = site
        .events("address")
        .iter()
        .map(|e| [&e["wan"], &e["from"], &e["to"], &e["cause"]].map(|v| v.clone()))
        .collect();
    assert_eq!(told[0], ["isp1", "203.0.113.2", "203.0.113.3", "reload"].map(serde_json::Value::from));
    assert_eq!(told[1], ["isp2", "198.51.100.2", "198.51.100.3", "reload"].map(serde_json::Value::from));
    let event = &site.events("failback")[0];
    assert_eq!(event["generation"], after.generation.0, "{event}");
    let (link, y) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!((link.as_str(), y.0), ("isp2", std::net::Ipv4Addr::new(198, 51, 100, 3)));
    assert_ne!(x.0, y.0);
    site.finish(&and(&[&OPENED, &["mappings_moved", "sessions_moved"]])).unwrap();
}

#[test]
fn x_16_the_ports_of_an_address_that_went_rest_for_two_minutes_also_if_it_comes_back() {
    // Three ports are left to translate by, 65469 to 65471.
    let text = DUAL_WAN.to_owned()
        + "forwards: [{ protocol: [udp], port: \"1024-65468\", to: \"192.168.10.11:1024\" }]\n";
    let mut site = Site::new(&text, 1).unwrap();
    meet(&mut site);
    let to = (E1, 80);
    let (_, first) = udp_out(&mut site, (H1, 5000), to).unwrap();
    assert_eq!(site.reload(&text.replace("203.0.113.2/29", "203.0.113.3/29"), None).unwrap().len(), 1);
    site.run_ms(100);
    // Its flow goes on by another port: from here on the first one rests.
    let (_, second) = udp_out(&mut site, (H1, 5000), to).unwrap();
    site.run_coarse(30, 250);
    assert_eq!(site.reload(&text, None).unwrap().len(), 1);
    site.run_ms(100);
    let (_, third) = udp_out(&mut site, (H1, 5000), to).unwrap();
    assert_eq!((first.0, third.0), (P1, P1));
    let all: std::collections::BTreeSet<u16> = [first.1, second.1, third.1].into();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), [65469, 65470, 65471]);
    let refused = |site: &mut Site, port: u16| {
        let (link, told) = site.pass("lan", &Packet::udp((H2, port), to, b"")).unwrap();
        assert_eq!((link.as_str(), error(&told)), ("lan", Some((3, 13, 0))));
    };
    refused(&mut site, 2001);
    site.run_coarse(89, 250);
    refused(&mut site, 2002);
    site.run_coarse(1, 250);
    assert_eq!(udp_out(&mut site, (H2, 3000), to), Some(("isp1".into(), first)), "the first has rested");
    refused(&mut site, 2004);
    site.run_coarse(31, 250);
    assert_eq!(udp_out(&mut site, (H2, 5000), to), Some(("isp1".into(), (P1, second.1))));
    let more = ["mappings_moved", "sessions_moved", "drop_nat_ports_exhausted", "sessions_refused"];
    site.finish(&and(&[&OPENED, &more, &["icmp_errors_sent"]])).unwrap();
}

#[test]
fn a_policy_that_comes_moves_only_what_begins_then_and_groups_keep_their_sessions() {
    let mut site = site(2);
    let (link, x) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    assert_eq!(link, "isp1");
    let text = DUAL_WAN.to_owned() + "policy: [{ from: 192.168.10.10, use: isp2 }]\n";
    assert_eq!(site.reload(&text, None).unwrap(), ["policy"]);
    assert_eq!(udp_out(&mut site, (H1, 5000), (E1, 80)), Some(("isp1".into(), x)), "what is there stays");
    let (link, y) = udp_out(&mut site, (H1, 5001), (E1, 80)).unwrap();
    assert_eq!(link, "isp2");
    // And goes again: the sessions that are in its group stay until they end.
    assert_eq!(site.reload(DUAL_WAN, None).unwrap(), ["policy"]);
    assert_eq!(udp_out(&mut site, (H1, 5001), (E1, 80)), Some(("isp2".into(), y)));
    assert_eq!(udp_out(&mut site, (H1, 5002), (E1, 80)).unwrap().0, "isp1");
    site.finish(&OPENED).unwrap();
}
