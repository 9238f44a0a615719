//! The log of mappings of a running router: what hosts do is in the file a moment later, and the last word is said at the end.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::{SocketAddrV4, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use netns::{Site, echoes, eventually, udp_echo, udp_socket, usual};
use serde_json::Value;
use turnout::demo::lab::{INTERNET, WAN1, WAN2};

fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("nat-mappings.jsonl")).unwrap_or_default();
    // What is just being written may not be whole yet.
    text.split_inclusive('\n')
        .filter(|l| l.ends_with('\n'))
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

fn has(line: &Value, event: &str, inside: &str, outside: &str, wan: &str) -> bool {
    let begins = |key: &str, with: &str| line[key].as_str().is_some_and(|text| text.starts_with(with));
    line["event"] == event && line["wan"] == wan && begins("inside", inside) && begins("outside", outside)
}

#[test]
fn rfc6888_12_the_file_has_every_mapping_within_a_second_and_no_remote() {
    let profile = usual() + "nat: { log: [mappings] }\n";
    let Some(mut site) = Site::start(&profile) else { return };
    let mut folder = site.lab.socket();
    folder.as_mut_os_string().push(".d/journal");
    let server = SocketAddrV4::new(INTERNET[0], 4444);
    let _echo = udp_echo(site.host("inet"), INTERNET[0], 4444);
    let client = udp_socket(site.host("lan1"));
    let port = client.local_addr().unwrap().port();
    assert!(echoes(&client, server));
    let refused = site.host("lan2").run(move || TcpStream::connect(server).is_err()).unwrap();
    assert!(refused, "nobody listens there");

    let (inside, wan1, wan2) = (format!("192.168.10.10:{port}"), format!("{WAN1}:"), format!("{WAN2}:"));
    let begun = || lines(&folder).iter().any(|l| has(l, "nat44_bib_create", &inside, &wan1, "isp1"));
    assert!(eventually(Duration::from_secs(1), begun), "{:#?}", lines(&folder));
    let second = || {
        lines(&folder)
            .iter()
            .any(|l| l["protocol"] == "tcp" && has(l, "nat44_bib_create", "192.168.10.11:", &wan1, "isp1"))
    };
    assert!(eventually(Duration::from_secs(1), second), "{:#?}", lines(&folder));

    site.lab.link_down("isp1").unwrap();
    assert!(eventually(Duration::from_secs(3), || echoes(&client, server)));
    let moved = |event: &str, outside: &str, wan: &str| {
        lines(&folder).iter().any(|l| l["moved"] == true && has(l, event, &inside, outside, wan))
    };
    let both = || moved("nat44_bib_delete", &wan1, "isp1") && moved("nat44_bib_create", &wan2, "isp2");
    assert!(eventually(Duration::from_secs(1), both), "{:#?}", lines(&folder));

    // Taken away, the file is made again; the time of day is right.
    std::fs::rename(folder.join("nat-mappings.jsonl"), folder.join("kept")).unwrap();
    let kept = std::fs::read_to_string(folder.join("kept")).unwrap();
    assert!(!kept.contains(&INTERNET[0].to_string()) && !kept.contains("4444\""), "{kept}");
    let fresh = udp_socket(site.host("lan2"));
    assert!(echoes(&fresh, server));
    assert!(eventually(Duration::from_secs(1), || lines(&folder).len() == 1));
    let day = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let told = lines(&folder)[0]["time_ms"].as_u64().unwrap();
    assert!((day - 10_000..=day).contains(&told), "{told} at {day}");

    // A disk that is full is told once; the router goes on, and so does the log when there is room.
    std::fs::rename(folder.join("nat-mappings.jsonl"), folder.join("kept2")).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.join("nat-mappings.jsonl")).unwrap();
    let seq = site.seq();
    assert!(echoes(&udp_socket(site.host("lan2")), server));
    let event = site.event_after(seq, "nat_log", Duration::from_secs(2));
    assert!(event["writes"] == false && event["error"].as_str().unwrap().contains("space"), "{event}");
    std::fs::remove_file(folder.join("nat-mappings.jsonl")).unwrap();
    assert!(eventually(Duration::from_secs(3), || lines(&folder).len() == 1));
    assert_eq!(
        site.event_after(event["seq"].as_u64().unwrap(), "nat_log", Duration::from_secs(1))["writes"],
        true
    );

    let mode = std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o027, 0, "{mode:o}");
    assert!(site.router.stop().unwrap().success(), "{}", site.router.said());
    assert_eq!(lines(&folder).last().unwrap()["event"], "stop");
}
