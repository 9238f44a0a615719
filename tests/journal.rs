//! The journal: what was decided can be decided again, and `why` tells it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::path::Path;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use turnout::manage::journal::replay::replay;
use turnout::sim::seeds::seeds;

const TARGETS: &str = "wans: { isp1: { health: h }, isp2: { health: h, metered: true } }
health: { h: { targets: { icmp: [1.1.1.1, 9.9.9.9] }, degraded: {}, up: { stable: 1s } } }
groups: { default: { failback: { after: 1s } } }
";

fn site_of(rest: &str) -> Site {
    let base: String = DUAL_WAN
        .lines()
        .filter(|line| !line.starts_with("wans:") && !line.starts_with("groups:"))
        .map(|line| format!("{line}\n"))
        .collect();
    Site::new(&(base + rest), 2).unwrap()
}

fn lines(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("decisions.jsonl")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_decision_of_a_storm_is_the_same_when_it_is_decided_again() {
    for seed in seeds(6) {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut site = site_of(TARGETS);
        let writer = site.keep_journal(dir.path()).unwrap();
        for _ in 0..60 {
            let wan = ["isp1", "isp2"][rng.random_range(0..2)];
            match rng.random_range(0..5) {
                0 => site.set_link(wan, false),
                1 => site.set_link(wan, true),
                2 => site.set_silent(wan, rng.random()),
                _ => {
                    let admin = [Admin::Auto, Admin::Drain, Admin::Down][rng.random_range(0..3)];
                    let _ = site.ask(Request::Wan { name: wan.into(), admin, force: rng.random() });
                }
            }
            site.run_ms(rng.random_range(1..900));
        }
        drop(writer);
        let again = replay(dir.path()).unwrap();
        assert_eq!((again.differ, again.lost, again.files), (0, 0, 1), "seed {seed}: {again}");
        assert!(again.inputs > 200 && again.decisions > 10, "seed {seed}: {again}");
    }
}

/// The journal of a site that lost a link.
fn of_a_lost_link(folder: &Path) -> Vec<String> {
    let mut site = site_of(TARGETS);
    let writer = site.keep_journal(folder).unwrap();
    site.set_link("isp1", false);
    site.run_ms(50);
    drop(writer);
    lines(folder)
}

#[test]
fn a_decision_that_is_another_one_now_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = of_a_lost_link(dir.path());
    let at =
        all.iter().position(|line| line.contains("\"link_lost\"") && line.contains("\"state\"")).unwrap();
    all[at] = all[at].replace("\"to\":\"down\"", "\"to\":\"degraded\"");
    let file = dir.path().join("decisions.jsonl");
    std::fs::write(&file, all.join("\n") + "\n").unwrap();
    let again = replay(&file).unwrap();
    assert_eq!((again.differ, again.differences[0].line), (1, at + 1), "{again}");
    // One that is missing, a file that is none, and one that a kill has cut off.
    all.remove(at);
    std::fs::write(&file, all.join("\n") + "\n{\"in\":[1,{\"inp").unwrap();
    assert!(replay(&file).unwrap().differ >= 1);
    std::fs::write(&file, "hello\n").unwrap();
    assert!(replay(&file).unwrap_err().to_string().contains(":1:"));
    assert!(replay(&dir.path().join("none")).is_err());
    std::fs::remove_file(&file).unwrap();
    assert!(replay(dir.path()).unwrap_err().to_string().starts_with("no journal"));
}

/// The profile of `site_of`, changed.
fn other(from: &str, to: &str) -> String {
    DUAL_WAN.replace("wans: [isp1, isp2]\n", "").replace("groups: {", "#") + &TARGETS.replace(from, to)
}

#[test]
fn what_a_reload_decides_is_a_decision_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = site_of(TARGETS);
    let writer = site.keep_journal(dir.path()).unwrap();
    site.run_ms(2500);
    let told = |site: &mut Site| site.events("failback").len();
    assert_eq!(told(&mut site), 0);
    let tiers = "failback: { after: 1s }, members: [{ wan: isp1, tier: 2 }, { wan: isp2, tier: 1 }]";
    site.reload(&other("failback: { after: 1s }", tiers), None).unwrap();
    assert_eq!(told(&mut site), 1, "the tiers are swapped");
    // What comes after goes by the new configuration.
    site.reload(&other("stable: 1s", "stable: 2s"), None).unwrap();
    site.set_link("isp1", false);
    site.run_ms(500);
    drop(writer);
    let again = replay(dir.path()).unwrap();
    assert_eq!((again.files, again.differ), (1, 0), "{again}");
    // The reload and what it decided are there, in this order, and the decision counts.
    let mut all = lines(dir.path());
    let config = all.iter().position(|line| line.starts_with("{\"config\":")).unwrap();
    let selected = config + 1;
    assert!(
        all[selected].contains("\"selected\"") && all[selected].contains("\"to\":1"),
        "{}",
        all[selected]
    );
    all[selected] = all[selected].replace("\"to\":1", "\"to\":0");
    let file = dir.path().join("decisions.jsonl");
    std::fs::write(&file, all.join("\n") + "\n").unwrap();
    let again = replay(&file).unwrap();
    assert_eq!((again.differ, again.differences[0].line), (1, selected + 1), "{again}");
}

#[test]
fn a_journal_of_the_format_before_is_read_and_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let all = of_a_lost_link(dir.path());
    let file = dir.path().join("decisions.jsonl");
    assert!(all[0].starts_with("{\"journal\":3,"), "{}", all[0]);
    for (format, read) in [(1, false), (2, true), (4, false)] {
        let mut all = all.clone();
        all[0] = all[0].replace("\"journal\":3,", &format!("\"journal\":{format},"));
        std::fs::write(&file, all.join("\n") + "\n").unwrap();
        assert_eq!(replay(&file).is_ok_and(|again| again.differ == 0), read, "{format}");
    }
}

#[test]
fn why_has_cause_evidence_what_moved_and_how_long_it_took() {
    let mut site = site(1);
    meet(&mut site);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    site.pass("lan", &Packet::ping(H1, E1, 7, 1)).unwrap();
    site.set_silent("isp1", true);
    site.run_ms(1100);
    udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
    site.pass("lan", &Packet::ping(H1, E1, 7, 2)).unwrap();
    let why = site.ask(Request::Why).unwrap();
    let story = &why[0];
    assert_eq!([&story["kind"], &story["from"], &story["to"]], ["failover", "isp1", "isp2"], "{why}");
    assert_eq!((&story["cause"], &story["group"]), (&"gateway silent".into(), &"default".into()));
    let evidence = &story["evidence"][0];
    assert_eq!((&evidence["wan"], &evidence["probe"]), (&"isp1".into(), &"gateway".into()), "{why}");
    assert!(evidence["value"].as_u64() >= evidence["threshold"].as_u64(), "{why}");
    assert_eq!((&story["moved"]["udp"], &story["moved"]["icmp"]), (&1.into(), &1.into()), "{why}");
    let steps: Vec<&str> =
        story["steps"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(steps, ["detected", "published", "applied"]);
    assert!(story["steps"][0]["us"].as_u64().unwrap() >= 500_000, "{why}");
}
