//! Two whole routers as a pair, on one virtual clock: what they say of each other's sessions and fitness, and what follows from it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod twins_rig;

use serde_json::Value;
use turnout::manage::protocol::{Admin, Request};
use turnout::sim::{Packet, Twins};
use twins_rig::*;

fn view(twins: &mut Twins, at: usize) -> Value {
    twins.members[at].ask(Request::Cluster).unwrap()
}

fn has(view: &Value, reason: &str) -> bool {
    view["reasons"].as_array().unwrap().iter().any(|said| said == reason)
}

/// Flows by a member, each from a host of its own.
fn open(twins: &mut Twins, by: usize, flows: u8) {
    for n in 0..flows {
        let host = [192, 168, 10, 100 + n].into();
        twins.send(by, "lan", &Packet::udp((host, 5000), SERVER, b"datagram"));
    }
    // Until the gateway is found.
    twins.run_ms(1500);
}

#[test]
fn members_with_different_numbers_of_workers_say_so_and_only_a_fault_moves_the_role() {
    let mut twins = Twins::new(PROFILE, 2).unwrap();
    twins.run_ms(3000);
    open(&mut twins, 0, 40);
    let whole = view(&mut twins, 1);
    let sync = &whole["sync"];
    assert_eq!((&sync["state"], &sync["refused"]), (&"whole".into(), &0.into()), "{whole:#}");
    assert!(!has(&whole, "not_in_sync") && !has(&whole, "workers_differ"), "{whole:#}");
    // The standby comes back with one more.
    twins.restart_with(PROFILE, 1, 3).unwrap();
    twins.run_ms(3000);
    let standby = view(&mut twins, 1);
    assert!(standby["sync"]["refused"].as_u64().unwrap() > 5, "{standby:#}");
    for at in 0..2 {
        let view = view(&mut twins, at);
        assert!(has(&view, "workers_differ"), "{view:#}");
    }
    assert!(has(&standby, "not_in_sync"), "{standby:#}");
    assert_eq!(view(&mut twins, 0)["sync"]["refused"], Value::Null);
    let told = twins.members[0].events("cluster");
    assert!(told.iter().any(|e| e["what"] == "workers_differ" && e["differ"] == true), "{told:?}");
    // Neither a preference nor a plain yield moves the role.
    twins.members[0].ask(Request::Prefer { member: "b".into() }).unwrap();
    twins.run_ms(7000);
    assert_eq!(roles(&mut twins), ["active", "standby"]);
    let refused = twins.members[0].ask(Request::Yield).unwrap_err();
    assert!(refused.contains("(2 workers here, 3 there)"), "{refused}");
    // A death does.
    twins.dead[0] = true;
    twins.run_ms(1000);
    assert_eq!(role(&mut twins, 1), "active");
}

#[test]
fn a_yield_before_the_partner_has_all_sessions_is_refused_unless_it_is_meant() {
    let mut twins = twins();
    open(&mut twins, 0, 20);
    twins.restart(PROFILE, 1).unwrap();
    // It is heard, and has not said that it has anything.
    let mut ms = 0;
    while !has(&view(&mut twins, 0)["partner"], "not_in_sync") {
        twins.run_ms(1);
        ms += 1;
        assert!(ms < 3000);
    }
    let refused = twins.members[0].ask(Request::Yield).unwrap_err();
    assert!(refused.starts_with("the partner does not have all sessions yet ("), "{refused}");
    assert!(refused.ends_with("or `turnout cluster yield --now`"), "{refused}");
    assert_eq!(role(&mut twins, 0), "active");
    let mut late = self::twins();
    open(&mut late, 0, 20);
    late.restart(PROFILE, 1).unwrap();
    late.run_ms(3000);
    late.members[0].ask(Request::Yield).unwrap();
    late.run_ms(300);
    assert_eq!(roles(&mut late), ["standby", "active"]);
    twins.members[0].ask(Request::YieldNow).unwrap();
    twins.run_ms(300);
    assert_eq!(roles(&mut twins), ["standby", "active"]);
}

/// Both members on two ISPs, of which one may be left out.
fn two_wans(watch: &str) -> Twins {
    let isp2 = "isp2: { port: \"linux:isp2\", addresses: [198.51.100.9/29], gateway: 198.51.100.14 }";
    let text = with("wans: [isp1]", &format!("  {isp2}\nwans: [isp1, isp2]"))
        .replace("gateway: 203.0.113.1 }", &format!("gateway: 203.0.113.1{watch} }}"))
        .replace("[203.0.113.3/29] } }", "[203.0.113.3/29] }, isp2: { addresses: [198.51.100.10/29] } }")
        .replace("[203.0.113.4/29] } }", "[203.0.113.4/29] }, isp2: { addresses: [198.51.100.11/29] } }");
    started(&text)
}

#[test]
fn a_wan_that_is_not_watched_does_not_count_and_its_death_does_not_move_the_role() {
    let tier = |twins: &mut Twins, at: usize| view(twins, at)["fitness"]["tier"].clone();
    for (watch, roles_then, tiers) in
        [("", ["standby", "active"], [2, 1]), (", watch: false", ["active", "standby"], [2, 2])]
    {
        let mut twins = two_wans(watch);
        assert_eq!(roles(&mut twins), ["active", "standby"]);
        twins.members[0].set_link("isp1", false);
        twins.run_ms(4000);
        assert_eq!(roles(&mut twins), roles_then, "{watch}");
        assert_eq!([0, 1].map(|at| tier(&mut twins, at)), tiers.map(Value::from), "{watch}");
    }
}

#[test]
fn a_wan_that_the_operator_has_put_down_or_drains_does_not_count() {
    for admin in [Admin::Down, Admin::Drain] {
        let mut twins = two_wans("");
        let order = |admin| Request::Wan { name: "isp1".into(), admin, force: false };
        twins.members[0].ask(order(admin)).unwrap();
        twins.run_ms(4000);
        assert_eq!(roles(&mut twins), ["standby", "active"], "{admin:?}");
        let said = view(&mut twins, 0);
        assert_eq!(said["fitness"]["tier"], 2, "{said:#}");
        assert_eq!(said["partner"]["fitness"]["tier"], 1, "{said:#}");
        let moved = twins.members[1].events("cluster_role").pop().unwrap();
        assert_eq!(moved["to"], "active", "{moved}");
        assert_eq!((&moved["fitness"]["tier"], &moved["partner_fitness"]["tier"]), (&1.into(), &2.into()));
        twins.members[0].ask(order(Admin::Auto)).unwrap();
        twins.run_ms(20_000);
        assert_eq!(roles(&mut twins), ["active", "standby"], "{admin:?}");
    }
}
