//! A pair of real processes and what goes wrong between them: members that do not hear each other, that lose their LAN or the internet behind
//! their ISP. Who is active then, what the status endpoints say of it, to whom; what a member keeps over a crash; whom hosts reach.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::fs::{Permissions, set_permissions};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use netns::pair::{Couple, GATEWAY, STATUS, ask, inside, outside, profile};
use netns::servers::{ask_who, who};
use netns::{eventually, stderr};
use serde_json::{Value, json};
use turnout::demo::lab::{INTERNET, LAN1, WAN1};

const MANUAL: &str = "mode: manual";
/// Two beats of the profile that these tests have.
const TWO_BEATS: Duration = Duration::from_millis(200);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn usual(rest: &str) -> String {
    profile(100, 500, MANUAL, rest)
}

/// Within two beats of what a member says of itself its endpoint says the same. It is asked in the member's own host: its LAN may be gone.
fn tells_the_truth(couple: &Couple, member: &str) -> (u16, Value) {
    for _ in 0..5 {
        let view = couple.view(member);
        std::thread::sleep(TWO_BEATS);
        let (status, said) = couple.asked(member, member).unwrap();
        let again = couple.view(member);
        let same = |key: &str| view[key] == again[key];
        if ["role", "healthy", "reasons"].into_iter().all(same) {
            let serves = view["role"] == "active" && view["healthy"] == true;
            let truth =
                json!({ "serves": serves, "name": member, "role": view["role"], "reasons": view["reasons"] });
            assert_eq!((status, &said), (if serves { 200 } else { 503 }, &truth));
            return (status, said);
        }
    }
    panic!("{member} never comes to rest: {:#}", couple.view(member));
}

/// What both endpoints say.
fn statuses(couple: &Couple) -> [u16; 2] {
    ["a", "b"].map(|member| tells_the_truth(couple, member).0)
}

fn has_reason(said: &Value, reason: &str) -> bool {
    said["reasons"].as_array().unwrap().iter().any(|r| r == reason)
}

#[test]
fn members_that_do_not_hear_each_other_are_both_active_and_one_remains_within_two_beats_of_the_heal() {
    let Some(couple) = Couple::start(&usual("")) else { return };
    assert_eq!(statuses(&couple), [200, 503]);
    // One path of two: it is told, and nothing moves.
    couple.deafen("lan");
    let told = || has_reason(&couple.view("a"), "path_silent");
    assert!(eventually(seconds(3), told), "{:#}", couple.view("a"));
    std::thread::sleep(seconds(1));
    assert_eq!(["a", "b"].map(|member| couple.role(member)), ["active", "standby"]);
    assert_eq!(statuses(&couple), [200, 503]);
    // Both.
    let at = couple.deafen("sw1");
    couple.becomes("b", "active", seconds(2));
    let took = couple.event("b", seconds(1), |e| e["kind"] == "cluster_role");
    assert_eq!(took["cause"], "partner_lost");
    // The last beat before may be one beat old.
    let silent = took["at_ns"].as_u64().unwrap() - at.0;
    assert!((400..=700).contains(&(silent / 1_000_000)), "{silent} ns");
    assert_eq!(statuses(&couple), [200, 200]);
    assert_eq!(couple.view("a")["site"], "unhealthy");
    let at = couple.undeafen("lan");
    couple.becomes("b", "standby", seconds(2));
    let left = couple.event("b", seconds(1), |e| e["kind"] == "cluster_role");
    assert_eq!((&left["from"], &left["to"]), (&"active".into(), &"standby".into()));
    // `nft` itself takes a while on a busy machine.
    let both = left["at_ns"].as_u64().unwrap().saturating_sub(at.0);
    assert!(both <= 300_000_000, "{both} ns");
    couple.undeafen("sw1");
    couple.settles("a");
    assert_eq!(statuses(&couple), [200, 503]);
}

#[test]
fn a_member_that_loses_its_lan_hands_over_and_comes_back_as_its_partner_s_standby() {
    let Some(couple) = Couple::start(&usual("")) else { return };
    let at = couple.lab.unplug("a", "lan0").unwrap();
    couple.becomes("b", "active", seconds(3));
    let took = couple.event("b", seconds(1), |e| e["kind"] == "cluster_role");
    assert_eq!(took["cause"], "handed_over", "it was told by the other path: {took}");
    let took = took["at_ns"].as_u64().unwrap() - at.0;
    assert!(took <= 500_000_000, "{took} ns");
    couple.becomes("a", "standby", seconds(2));
    let (status, said) = tells_the_truth(&couple, "a");
    assert!(status == 503 && has_reason(&said, "inside_down"), "{said}");
    assert_eq!(couple.asked("lan1", "b").unwrap().0, 200);
    couple.lab.plug("a", "lan0").unwrap();
    couple.settles("b");
    assert_eq!(statuses(&couple), [503, 200]);
}

#[test]
fn a_member_behind_whose_isp_there_is_nothing_hands_over() {
    let Some(couple) = Couple::start(&usual("")) else { return };
    couple.strand("a");
    couple.becomes("b", "active", seconds(4));
    let left = couple.event("a", seconds(1), |e| e["kind"] == "cluster_role");
    assert_eq!((&left["to"], &left["cause"]), (&"standby".into(), &"partner_fitter".into()));
    let (status, said) = tells_the_truth(&couple, "a");
    assert!(status == 503 && has_reason(&said, "no_wan"), "{said}");
    assert_eq!(statuses(&couple), [503, 200]);
    // Nobody is better off now: who has the role keeps it, and says that it does not serve.
    couple.strand("b");
    let unfit = || couple.view("b")["healthy"] == false;
    assert!(eventually(seconds(4), unfit), "{:#}", couple.view("b"));
    let (status, said) = tells_the_truth(&couple, "b");
    assert_eq!((status, &said["role"]), (503, &"active".into()));
    assert_eq!(couple.view("b")["site"], "offline");
    // Who has the role is well first: it does not move.
    couple.rejoin("b");
    let fit = || couple.view("b")["healthy"] == true;
    assert!(eventually(seconds(4), fit), "{:#}", couple.view("b"));
    couple.rejoin("a");
    couple.settles("b");
    assert_eq!(statuses(&couple), [503, 200]);
}

#[test]
fn the_status_is_for_those_who_may_ask_alone() {
    let text = usual("").replace(
        &format!("status: {{ interface: lan, port: {STATUS} }}"),
        &format!("status: {{ interface: lan, port: {STATUS}, from: {LAN1}/32 }}"),
    );
    let Some(couple) = Couple::start(&text) else { return };
    let (status, said) = couple.asked("lan1", "a").unwrap();
    assert_eq!((status, said["serves"].as_bool()), (200, Some(true)), "{said}");
    let (status, said) = couple.asked("lan1", "b").unwrap();
    assert_eq!((status, &said["role"]), (503, &"standby".into()), "{said}");
    assert!(has_reason(&said, "partner_active"), "{said}");
    for member in ["a", "b"] {
        assert_eq!(couple.asked("lan2", member), None);
        // From the ISP's line, to its address there and to that inside.
        couple.host("isp1").ip(&format!("route replace 192.168.10.0/24 via {}\n", outside(member))).unwrap();
        for to in [outside(member), inside(member), WAN1] {
            for host in ["isp1", "inet"] {
                assert_eq!(ask(couple.host(host), SocketAddrV4::new(to, STATUS)), None, "{host} {to}");
            }
        }
    }
}

#[test]
fn a_hook_hears_of_each_change_of_role() {
    let folder = tempfile::tempdir().unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let (run, heard) = (folder.path().join("hook"), folder.path().join("heard"));
    let script = "echo \"$TURNOUT_EVENT $TURNOUT_FROM $TURNOUT_TO $TURNOUT_CAUSE\"";
    std::fs::write(&run, format!("#!/bin/sh\n{script} >> {}\n", heard.display())).unwrap();
    set_permissions(&run, Permissions::from_mode(0o755)).unwrap();
    let hooks = format!("hooks: [{{ event: [role], run: \"{}\" }}]\n", run.display());
    let Some(couple) = Couple::start(&usual(&hooks)) else { return };
    let said = || std::fs::read_to_string(&heard).unwrap_or_default();
    let has = |line: &str| eventually(seconds(5), || said().lines().any(|l| l == line));
    assert!(has("cluster_role starting standby "), "{}", said());
    assert!(couple.turnout("a", &["cluster", "yield"]).status.success());
    assert!(has("cluster_role standby active handed_over"), "{}", said());
    assert!(has("cluster_role active standby operator"), "{}", said());
    let told = couple.event("b", seconds(1), |e| e["kind"] == "cluster_role");
    assert_eq!((&told["from"], &told["to"]), (&"standby".into(), &"active".into()));
}

#[test]
fn a_preference_outlives_the_death_of_both_and_an_older_one_never_wins() {
    let Some(mut couple) = Couple::start(&profile(50, 250, "after: 1s", "")) else { return };
    couple.kill("a");
    couple.becomes("b", "active", seconds(2));
    let out = couple.turnout("b", &["cluster", "prefer", "b"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let kept = || couple.view("b")["preference"].clone();
    assert!(eventually(seconds(2), || kept()["member"] == "b"));
    let newer = kept();
    // Long enough for it to be on disk.
    std::thread::sleep(seconds(1));
    couple.kill("b");
    // The one that was away has the old preference, and the role as long as it is alone.
    couple.launch("a");
    couple.becomes("a", "active", seconds(3));
    let older = couple.view("a")["preference"].clone();
    assert_eq!(older["member"], "a");
    assert!(older["version"].as_u64() < newer["version"].as_u64(), "{older} {newer}");
    couple.launch("b");
    couple.settles("b");
    assert_eq!(
        ["a", "b"].map(|member| couple.view(member)["preference"].clone()),
        [newer.clone(), newer.clone()]
    );
    // Both die at once, and know it still.
    for member in ["a", "b"] {
        couple.kill(member);
    }
    for member in ["a", "b"] {
        couple.launch(member);
    }
    couple.settles("b");
    assert_eq!(["a", "b"].map(|member| couple.view(member)["preference"].clone()), [newer.clone(), newer]);
}

#[test]
fn a_key_that_is_no_secret_is_refused_in_one_line() {
    let Some(mut couple) = Couple::apart(&usual("")) else { return };
    let path = couple.lab.dir().join("cluster.key");
    let write = |bytes: &[u8], mode: u32| {
        std::fs::write(&path, bytes).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    let refused = |couple: &Couple| {
        let out = couple.run_once("a");
        assert!(!out.status.success());
        let said = stderr(&out);
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    };
    let said = refused(&couple);
    assert!(said.contains("cannot read the cluster's key file") && said.contains("openssl rand"), "{said}");
    write(&[7; 32], 0o644);
    let said = refused(&couple);
    assert!(said.contains("others may read") && said.contains("chmod 600"), "{said}");
    write(b"too short\n", 0o600);
    let said = refused(&couple);
    assert!(said.contains("shorter than 16"), "{said}");
    write(&[7; 32], 0o600);
    couple.try_launch("a").unwrap();
}

#[test]
fn whoever_else_answers_for_the_virtual_address_is_told() {
    let Some(couple) = Couple::start(&usual("")) else { return };
    couple.host("lan2").ip(&format!("address add {GATEWAY}/32 dev eth0\n")).unwrap();
    // As hosts do that come up with an address: they say so to everybody.
    let mac = couple.claims("lan2", GATEWAY);
    let told = couple.event("a", seconds(3), |e| e["kind"] == "neighbor" && e["state"] == "conflict");
    assert_eq!((&told["address"], &told["interface"]), (&json!(GATEWAY), &"lan".into()), "{told}");
    assert_eq!(told["mac"], mac.to_string());
}

#[test]
fn the_host_of_a_standby_is_online_and_the_virtual_address_inside_is_the_active_member_s_host() {
    let Some(mut couple) = Couple::start(&usual("")) else { return };
    let _far = who(couple.host("inet"), INTERNET[0], 80);
    let named = |couple: &Couple, from: &str, to: Ipv4Addr, port: u16| {
        ask_who(couple.host(from), SocketAddrV4::new(to, port))
    };
    // By the active member's shared address, whoever asks.
    for member in ["a", "b"] {
        let mut seen = None;
        let comes = eventually(seconds(10), || {
            seen = named(&couple, member, INTERNET[0], 80);
            seen.is_some()
        });
        assert!(comes, "the host of {member}: {:#?}", couple.json(member, &["counters"]));
        assert!(
            seen.as_ref().is_some_and(|seen| seen.starts_with(&format!("{WAN1}:"))),
            "{member}: {seen:?}"
        );
    }
    let any = Ipv4Addr::UNSPECIFIED;
    let services = ["a", "b"].map(|member| who(couple.host(member), any, 2222));
    let served = |at: usize| services[at].served.load(std::sync::atomic::Ordering::Relaxed);
    let seen = named(&couple, "lan1", GATEWAY, 2222);
    assert!(seen.is_some_and(|seen| seen.starts_with(&format!("{LAN1}:"))));
    assert_eq!([served(0), served(1)], [1, 0]);
    for to in [WAN1, outside("a"), outside("b")] {
        assert_eq!(named(&couple, "inet", to, 2222), None, "{to}");
    }
    couple.kill("a");
    couple.becomes("b", "active", seconds(2));
    let reached = || named(&couple, "lan1", GATEWAY, 2222).is_some();
    assert!(eventually(seconds(3), reached));
    assert!(served(0) == 1 && served(1) >= 1, "{} {}", served(0), served(1));
    assert_eq!(named(&couple, "inet", WAN1, 2222), None);
}
