//! The operator's word on a WAN: taken, shown, kept over a restart, refused for the last fit one.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::SocketAddrV4;
use std::time::Duration;

use netns::{Site, echoes, eventually, stderr, stdout, udp_echo, udp_socket, usual};
use turnout::demo::lab::INTERNET;

/// The command is refused with one line, and nothing has changed.
fn refused(site: &Site, args: &[&str], says: &str) {
    let before = (site.wan("isp1", "admin"), site.wan("isp2", "admin"));
    let out = site.turnout(args);
    let text = stderr(&out);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {text}");
    assert!(text.lines().count() == 1 && text.contains(says), "{args:?}: {text}");
    assert_eq!(stdout(&out), "");
    assert_eq!((site.wan("isp1", "admin"), site.wan("isp2", "admin")), before);
}

fn done(site: &Site, args: &[&str]) {
    let out = site.turnout(args);
    assert!(out.status.success() && stderr(&out).is_empty(), "{args:?}: {}", stderr(&out));
    assert_eq!(stdout(&out).lines().count(), 1, "{}", stdout(&out));
}

/// The WAN of each UDP session, ordered by age.
fn wans_of_sessions(site: &Site) -> Vec<String> {
    let rows = site.json(&["sessions", "--protocol", "udp"]);
    rows.as_array().unwrap().iter().map(|s| s["wan"].as_str().unwrap().to_owned()).collect()
}

fn carries(site: &Site, name: &str) {
    let so = || site.wan(name, "carrying") == true;
    assert!(eventually(Duration::from_secs(3), so), "{name}: {}", site.json(&["wans"]));
}

#[test]
fn down_moves_what_is_there_and_drain_only_what_is_new() {
    let Some(site) = Site::start(&usual()) else { return };
    let to = SocketAddrV4::new(INTERNET[0], 7);
    let _server = udp_echo(site.host("inet"), INTERNET[0], 7);
    let socket = udp_socket(site.host("lan1"));
    assert!(echoes(&socket, to));
    assert_eq!(wans_of_sessions(&site), ["isp1"]);

    done(&site, &["wan", "drain", "isp1"]);
    carries(&site, "isp2");
    let new = udp_socket(site.host("lan1"));
    assert!(echoes(&socket, to) && echoes(&new, to));
    let mut wans = wans_of_sessions(&site);
    wans.sort();
    assert_eq!(wans, ["isp1", "isp2"], "what was there stays");
    assert_eq!(site.wan("isp1", "state"), "up");

    done(&site, &["wan", "down", "isp1"]);
    assert!(echoes(&socket, to) && echoes(&new, to));
    assert!(eventually(Duration::from_secs(1), || wans_of_sessions(&site) == ["isp2", "isp2"]));
    refused(&site, &["wan", "down", "isp2"], "last fit WAN");
    refused(&site, &["wan", "drain", "isp2"], "last fit WAN");
    refused(&site, &["wan", "down", "isp3"], "there are isp1, isp2");
    assert!(echoes(&new, to));

    done(&site, &["wan", "auto", "isp1"]);
    carries(&site, "isp1");
    done(&site, &["wan", "down", "isp2"]);
    done(&site, &["wan", "down", "isp1", "--force"]);
    assert!(!echoes(&new, to), "nothing is left to carry it");
    done(&site, &["wan", "auto", "isp1"]);
    assert!(eventually(Duration::from_secs(3), || echoes(&new, to)));
    let admin: Vec<_> = site.events().into_iter().filter(|e| e["kind"] == "admin").collect();
    assert_eq!(admin.len(), 6, "{admin:#?}");
}

#[test]
fn an_override_outlasts_a_restart_and_a_crash() {
    let Some(mut site) = Site::start(&usual()) else { return };
    done(&site, &["wan", "down", "isp1"]);
    site.router.stop().unwrap();
    site.router = netns::start(&site.lab, &usual());
    assert_eq!(site.wan("isp1", "admin"), "down");
    carries(&site, "isp2");
    let text = stdout(&site.turnout(&["status"]));
    assert!(text.lines().any(|l| l.contains("isp1") && l.contains("down")), "{text}");

    done(&site, &["wan", "drain", "isp1"]);
    site.router.kill();
    site.router = netns::start(&site.lab, &usual());
    assert_eq!(site.wan("isp1", "admin"), "drain");

    done(&site, &["wan", "auto", "isp1"]);
    site.router.stop().unwrap();
    site.router = netns::start(&site.lab, &usual());
    assert_eq!(site.wan("isp1", "admin"), "auto");
    carries(&site, "isp1");
}
