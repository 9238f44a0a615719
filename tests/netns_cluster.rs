//! Pairs for real: two members of this program, the hosts of a site, two ISPs, and what befalls them. Each test plays a scenario of the
//! demo and judges what the hosts saw: how fast is judged by `passed`, on a machine that does nothing else.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netns::{TURNOUT, lab, output_within, stderr, stdout};
use serde_json::Value;

/// Changes in which no packet may be lost.
const WANTED: [&str; 3] = ["yield", "returned", "failback"];

/// What a scenario came to; `None`, and the reason printed, where there are no namespaces.
fn told(name: &str) -> Option<Value> {
    let (_turn, lab) = lab()?;
    drop(lab);
    let mut demo = Command::new(TURNOUT);
    demo.args(["demo", "--scenario", name, "--seconds", "20", "--json"]);
    let out = output_within(demo, Duration::from_secs(75));
    let said = stdout(&out);
    let last = said.lines().last().unwrap_or_else(|| panic!("{}", stderr(&out)));
    let told: Value = serde_json::from_str(last).unwrap();
    println!("{}\n{told:#}", stderr(&out));
    assert_eq!(told["scenario"], name);
    Some(told)
}

/// The changes were these, each was decided, and nothing else is complained of than what a busy machine makes of times.
fn went(told: &Value, causes: &[&str]) {
    let changes = told["failovers"].as_array().unwrap();
    let listed: Vec<&str> = changes.iter().map(|change| change["cause"].as_str().unwrap()).collect();
    assert_eq!(listed, causes);
    for change in changes {
        assert!(change["detected_ms"].is_number(), "{change}");
        assert!(change["outage_ms"].as_f64().unwrap() < 3_000.0, "{change}");
    }
    // A machine that stands still for the heartbeat's 100 ms has lost its partner. What somebody wanted costs nothing, however busy it is.
    let wanted = |what: &str| WANTED.iter().any(|cause| what.starts_with(&format!("{cause}: ")));
    let of_time = |what: &str| {
        let lost = what.contains("packets lost") && !wanted(what);
        lost || ["ms of outage", "(partner_lost)"].iter().any(|time| what.contains(time))
    };
    let complaints = told["complaints"].as_array().unwrap().iter().filter_map(Value::as_str);
    let others: Vec<&str> = complaints.filter(|what| !of_time(what)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(told["sessions_survived"]["udp"], told["udp_flows"]);
}

#[test]
fn the_sessions_of_a_pair_in_one_dmz_outlive_each_of_its_members() {
    let Some(told) = told("cluster-behind-firewall") else { return };
    went(&told, &["killed", "returned", "link", "failback", "yield"]);
    assert!(told["sessions_survived"]["tcp"].as_u64().unwrap() >= 3, "{told:#}");
}

#[test]
fn the_pair_on_both_isps_changes_the_wan_first_and_the_role_when_the_partner_is_fitter() {
    let Some(told) = told("cluster-dual-wan") else { return };
    went(&told, &["silent", "failback", "unplugged", "plugged", "killed"]);
    assert!(told["sessions_survived"]["tcp"].as_u64().unwrap() >= 3, "{told:#}");
}

#[test]
fn the_role_of_a_pair_with_an_isp_each_is_the_choice_of_the_isp() {
    let Some(told) = told("cluster-two-isps") else { return };
    went(&told, &["isp_dead", "isp_back", "killed", "returned", "yield"]);
    assert_eq!(told["sources"].as_object().unwrap().len(), 2);
}

#[test]
fn the_members_behind_a_firewall_each_see_that_an_isp_is_dead() {
    let Some(told) = told("cluster-two-dmzs") else { return };
    went(&told, &["isp_dead", "isp_back", "killed", "returned", "yield"]);
}

#[test]
fn the_members_may_be_connected_differently() {
    if !Path::new("/usr/sbin/dnsmasq").exists() {
        netns::skipped("no dnsmasq; see `ci/setup tests`");
        return;
    }
    let Some(told) = told("cluster-mixed") else { return };
    went(&told, &["isp_dead", "isp_back", "killed", "returned", "yield"]);
}
