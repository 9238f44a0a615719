//! Real ports that several interfaces share: VLANs on one cable, and one arm. A node behind the router with the two ISPs, both
//! this program, and the kernel's hosts behind the node.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use netns::servers::{ask_who, http, who};
use netns::{TURNOUT, lab_of, output_within, pings, start, stderr, stdout};
use serde_json::Value;
use turnout::demo::behind::{BEHIND, INSIDE, ON_DMZ, ONE_ARM, ONE_PORT, node_profile, router_profile};
use turnout::demo::lab::{INTERNET, LAN1, Lab, Router, Shape, Stop, WAN1, WAN2};

/// The node's address in the DMZ.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 10);

fn node(lab: &Lab, profile: &str) -> Router {
    lab.start_router_in("node", Path::new(TURNOUT), profile, &Stop::default()).unwrap()
}

/// What a router says to a command.
fn json(router: &Router, command: &str) -> Value {
    let mut ask = Command::new(TURNOUT);
    ask.args([command, "--json", "--socket"]).arg(router.socket());
    let out = output_within(ask, Duration::from_secs(10));
    assert!(out.status.success(), "{}", stderr(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// Pages and pings and long frames through node and router, both ways.
fn serves(lab: &Lab, node: &Router) {
    let inet = lab.host("inet").unwrap();
    let at = SocketAddrV4::new(INTERNET[0], 7000);
    let _who = who(inet, *at.ip(), at.port());
    for host in ["lan1", "lan2"] {
        let seen = ask_who(lab.host(host).unwrap(), at).unwrap();
        assert!(seen.starts_with(&format!("{WAN1}:")), "{host} is seen as {seen}");
        assert!(pings(lab, host, INTERNET[0]));
    }
    let page = vec![b'x'; 300_000];
    let _pages = http(inet, INTERNET[0], 8000, page.clone());
    let url = format!("http://{}:8000/", INTERNET[0]);
    let got = lab.host("lan1").unwrap().output("curl", &["-s", "-m", "10", &url], "").unwrap();
    assert_eq!(got.len(), page.len());
    // 1500 bytes that may not be cut, and what is cut by its sender
    let lan1 = lab.host("lan1").unwrap();
    let to = INTERNET[0].to_string();
    let full = ["-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", "1472", &to];
    let said = lan1.output("ping", &full, "").unwrap();
    assert!(said.contains(" 0% packet loss"), "{said}");
    // To the node itself, by its address on either side
    for own in [Ipv4Addr::new(192, 168, 10, 1), NODE] {
        let said = lan1.output("ping", &["-c", "3", "-i", "0.2", "-W", "2", &own.to_string()], "").unwrap();
        assert!(said.contains(" 0% packet loss") && !said.contains("Redirect"), "{said}");
    }
    let sessions = json(node, "sessions");
    let rows = sessions.as_array().unwrap();
    let inside = rows.iter().any(|row| row["inside"].as_str().unwrap().starts_with(&LAN1.to_string()));
    let outside = rows.iter().all(|row| row["outside"].as_str().unwrap().starts_with(&NODE.to_string()));
    assert!(inside && outside && rows.iter().all(|row| row["wan"] == "dmz"), "{sessions:#}");
}

#[test]
fn vlans_on_one_cable_are_kept_apart_and_carry_real_traffic() {
    let Some((_turn, lab)) = lab_of(Shape::SingleInterface) else { return };
    let tagged = ON_DMZ.replace("linux:lan0\"", "linux:lan0\", vlan: 50");
    let router = start(&lab, &router_profile(&tagged));
    let both = "  lan: { port: \"linux:dmz0\", addresses: [192.168.10.1/24] }
  dmz: { port: \"linux:dmz0\", vlan: 50, mac: \"02:00:5e:10:00:32\", addresses: [192.168.50.10/24], gateway: 192.168.50.1 }
";
    let mut node = node(&lab, &node_profile(both, ""));
    serves(&lab, &node);
    // Who asks for the node without a tag is heard by the router's port too, which has none of it.
    assert!(json(&router, "counters")["drop_vlan"].as_u64().unwrap() > 0);
    let counters = json(&node, "counters");
    assert_eq!(
        (&counters["drop_vlan"], &counters["drop_spoofed_source"]),
        (&0.into(), &0.into()),
        "{counters:#}"
    );
    let known = json(&router, "neighbors");
    let found = known.as_array().unwrap().iter().find(|row| row["address"] == NODE.to_string()).cloned();
    assert_eq!(found.unwrap()["mac"], "02:00:5e:10:00:32");
    assert!(node.stop().unwrap().success(), "{}", node.said());
}

#[test]
fn one_arm_carries_real_traffic_in_and_out_of_one_port() {
    let Some((_turn, lab)) = lab_of(Shape::SingleInterface) else { return };
    let _router = start(&lab, &router_profile(ON_DMZ));
    let mut node = node(&lab, &node_profile(ONE_PORT, INSIDE));
    serves(&lab, &node);
    let names: Vec<Value> =
        json(&node, "neighbors").as_array().unwrap().iter().map(|row| row["interface"].clone()).collect();
    assert!(names.contains(&"dmz".into()) && names.contains(&"dmz-inside".into()), "{names:?}");
    assert!(node.stop().unwrap().success(), "{}", node.said());
}

#[test]
fn hosts_of_the_router_and_behind_a_node_go_on_talking_when_the_first_isp_dies() {
    let Some((_turn, lab)) = lab_of(Shape::DualWan) else { return };
    drop(lab);
    for name in ["dual-wan", BEHIND, ONE_ARM] {
        let mut demo = Command::new(TURNOUT);
        demo.args(["demo", "--scenario", name, "--seconds", "20", "--json"]);
        let out = output_within(demo, Duration::from_secs(60));
        let told: Value = serde_json::from_str(stdout(&out).lines().last().unwrap()).unwrap();
        // How fast is judged by `passed`, on a machine that does nothing else.
        println!("{told:#}");
        let causes: Vec<&Value> = told["failovers"].as_array().unwrap().iter().map(|f| &f["cause"]).collect();
        assert_eq!(causes, ["link", "failback", "silent", "failback"], "{name}");
        // The way back costs nothing, however busy the machine is.
        let back = told["failovers"].as_array().unwrap().iter().filter(|f| f["cause"] == "failback");
        assert!(back.clone().all(|f| f["lost"] == 0), "{name}");
        assert_eq!(
            (&told["scenario"], &told["sessions_survived"]["udp"]),
            (&name.into(), &told["udp_flows"])
        );
        let sources: Vec<&String> = told["sources"].as_object().unwrap().keys().collect();
        assert_eq!(sources, [&WAN2.to_string(), &WAN1.to_string()]);
    }
}

#[test]
fn an_mtu_that_the_port_does_not_carry_is_refused_at_start() {
    let Some((_turn, lab)) = lab_of(Shape::DualWan) else { return };
    let profile = netns::usual().replace("[192.168.10.1/24]", "[192.168.10.1/24], mtu: 9000");
    let failed = lab.start_router_from(Path::new(TURNOUT), &profile, &Stop::default()).err().unwrap();
    let said = failed.to_string();
    assert!(said.contains("linux:lan0: lan asks for an mtu of 9000, the port carries 1500"), "{said}");
}
