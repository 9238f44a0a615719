//! Hooks, run: a site's manager starts real programs, and what they get is what the documentation says (docs/failover.md). The site's time
//! is virtual, that of the programs is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
mod twins_rig;
use common::*;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use turnout::manage::hooks::Hooks;
use turnout::manage::reload::wanted_hooks;
use turnout::profile;

/// What a hook writes down of its environment.
const HEARD: &str =
    "$TURNOUT_EVENT|$TURNOUT_GROUP|$TURNOUT_WAN|$TURNOUT_FROM|$TURNOUT_TO|$TURNOUT_ADDRESS|$TURNOUT_CAUSE";

/// A folder in which anybody may write.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// A program there that adds a line to `NAME.heard`.
fn program(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let text = format!("#!/bin/sh\necho \"{HEARD}\" >> {}\n", dir.join(format!("{name}.heard")).display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What it has heard.
fn heard(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(format!("{name}.heard"))).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until so many programs have been run; none has failed.
fn ran(site: &mut Site, count: usize) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        site.run_ms(1);
        let told = site.events("hook");
        if told.len() == count {
            assert!(told.iter().all(|e| e["status"] == 0), "{told:#?}");
            return;
        }
        assert!(Instant::now() < end && told.len() < count, "not {count}: {told:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A profile of two WANs that are back soon, with these hooks.
fn profile_with(hooks: &str) -> String {
    DUAL_WAN.replace("wans: [isp1, isp2]\n", "")
        + "wans: { isp1: { health: h }, isp2: { health: h } }\n\
           health: { h: { gateway: { arp: 100ms }, up: { successes: 1, stable: 1s } } }\n"
        + hooks
}

fn call(site: &mut Site, text: &str) {
    let wanted = wanted_hooks(&profile::load(text, "p.yaml").unwrap());
    site.call_hooks(Hooks::start(wanted).unwrap().unwrap());
}

fn admin(site: &mut Site, admin: Admin) {
    site.ask(Request::Wan { name: "isp1".into(), admin, force: false }).unwrap();
}

#[test]
fn hooks_event_and_run_hear_of_each_change_also_after_a_reload() {
    let dir = folder();
    let (a, b) = (program(dir.path(), "a"), program(dir.path(), "b"));
    let text =
        profile_with(&format!("hooks: [{{ event: [failover, failback, address], run: {} }}]\n", a.display()));
    let mut site = Site::cold(&text, 1).unwrap();
    call(&mut site, &text);
    ["lan", "isp1", "isp2"].iter().for_each(|link| site.set_link(link, true));
    site.begin(1000);
    assert_eq!(site.events("selection")[0]["change"], "initial", "the start is no change");
    site.set_link("isp1", false);
    ran(&mut site, 1);
    let failover = &site.events("failover")[0];
    assert_eq!(
        (&failover["evidence"][0]["probe"], &failover["change"]),
        (&"link".into(), &"failover".into())
    );
    site.set_link("isp1", true);
    site.run_ms(2500);
    ran(&mut site, 2);
    admin(&mut site, Admin::Drain);
    ran(&mut site, 3);
    admin(&mut site, Admin::Auto);
    ran(&mut site, 4);
    site.reload(&text.replace("203.0.113.2/29", "203.0.113.3/29"), None).unwrap();
    ran(&mut site, 5);
    assert_eq!(
        heard(dir.path(), "a"),
        [
            "failover|default||isp1|isp2|198.51.100.2|link lost",
            "failback|default||isp2|isp1|203.0.113.2|stable again",
            "selection|default||isp1|isp2|198.51.100.2|operator",
            "failback|default||isp2|isp1|203.0.113.2|operator",
            "address||isp1|203.0.113.2|203.0.113.3|203.0.113.3|reload",
        ]
    );
    // Other hooks from now on: they hear, and those of before do not.
    let other = profile_with(&format!("hooks: [{{ event: failover, run: {} }}]\n", b.display()));
    site.reload(&other, None).unwrap();
    site.set_link("isp1", false);
    ran(&mut site, 6);
    site.set_link("isp2", false);
    ran(&mut site, 7);
    assert_eq!(heard(dir.path(), "a").len(), 5);
    assert_eq!(
        heard(dir.path(), "b"),
        ["failover|default||isp1|isp2|198.51.100.2|link lost", "wan_none|default||isp2|||link lost"]
    );
    // The last one goes, and comes again.
    site.reload(&profile_with(""), None).unwrap();
    site.set_link("isp2", true);
    site.run_ms(2500);
    site.reload(&other, None).unwrap();
    site.set_link("isp2", false);
    ran(&mut site, 8);
    assert_eq!(heard(dir.path(), "b").len(), 3);
}

#[test]
fn hooks_hear_of_the_role() {
    let dir = folder();
    let a = program(dir.path(), "a");
    let text = format!("{}hooks: [{{ event: role, run: {} }}]\n", twins_rig::PROFILE, a.display());
    let mut twins = twins_rig::started(&text);
    let wanted = wanted_hooks(&profile::load_member(&text, "p.yaml", "b").unwrap());
    twins.members[1].call_hooks(Hooks::start(wanted).unwrap().unwrap());
    twins.dead[0] = true;
    twins.run_ms(2000);
    let end = Instant::now() + Duration::from_secs(30);
    while heard(dir.path(), "a").is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let role = &heard(dir.path(), "a")[0];
    assert!(role.starts_with("cluster_role|||standby|active||"), "{role}");
}
