//! Every command against a running router: the shapes that scripts rely on, the filters, and what a person types.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::fs;
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use netns::{Site, TURNOUT, echoes, eventually, output_within, stderr, stdout, udp_echo, udp_socket, usual};
use serde_json::Value;
use turnout::demo::lab::INTERNET;

/// Types by a letter: string, number (a whole one, not negative), bool, array, object, null; more than one: any of them.
fn shape(what: &str, value: &Value, keys: &[(&str, &str)]) {
    for (key, types) in keys {
        let field = value.get(key).unwrap_or_else(|| panic!("{what} has no {key}: {value}"));
        let letter = match field {
            Value::String(_) => 's',
            Value::Number(n) if n.is_u64() => 'n',
            Value::Number(_) => 'f',
            Value::Bool(_) => 'b',
            Value::Array(_) => 'a',
            Value::Object(_) => 'o',
            Value::Null => '0',
        };
        assert!(types.contains(letter), "{what}.{key} is {field}, not one of `{types}`");
    }
}

fn each(what: &str, list: &Value, keys: &[(&str, &str)]) {
    let list = list.as_array().unwrap_or_else(|| panic!("{what} is no list: {list}"));
    assert!(!list.is_empty(), "{what} is empty");
    list.iter().for_each(|value| shape(what, value, keys));
}

const WAN: &[(&str, &str)] = &[
    ("name", "s"),
    ("state", "s"),
    ("admin", "s"),
    ("link", "b"),
    ("carrying", "b"),
    ("address", "s"),
    ("gateway", "s"),
    ("rtt_us", "n0"),
    ("jitter_us", "n0"),
    ("loss_percent", "nf0"),
    ("since_s", "n"),
    ("sessions", "n"),
    ("rx_packets", "n"),
    ("tx_packets", "n"),
    ("reason", "s0"),
];

/// A site with three UDP sessions, a TCP one and an ICMP one; the sockets keep them open.
fn busy() -> Option<(Site, Vec<Box<dyn Send>>)> {
    let site = Site::start(&usual())?;
    let mut held: Vec<Box<dyn Send>> = Vec::new();
    let to = SocketAddrV4::new(INTERNET[0], 7);
    held.push(Box::new(udp_echo(site.host("inet"), INTERNET[0], 7)));
    for host in ["lan1", "lan1", "lan2"] {
        let socket = udp_socket(site.host(host));
        assert!(echoes(&socket, to), "{host}");
        held.push(Box::new(socket));
    }
    let server = SocketAddrV4::new(INTERNET[1], 80);
    held.push(Box::new(site.host("inet").run(move || TcpListener::bind(server).unwrap()).unwrap()));
    let connect = move || TcpStream::connect_timeout(&server.into(), Duration::from_secs(3)).unwrap();
    held.push(Box::new(site.host("lan2").run(connect).unwrap()));
    assert!(site.pings("lan1", INTERNET[2]));
    Some((site, held))
}

#[test]
fn the_json_has_its_shapes() {
    let Some((site, _held)) = busy() else { return };
    let status = site.json(&["status"]);
    shape(
        "status",
        &status,
        &[
            ("name", "s"),
            ("version", "s"),
            ("uptime_s", "n"),
            ("wans", "a"),
            ("groups", "a"),
            ("sessions", "o"),
            ("workers", "a"),
            ("cluster", "o0"),
        ],
    );
    assert_eq!(
        (status["name"].as_str(), status["version"].as_str()),
        (Some("netns"), Some(env!("CARGO_PKG_VERSION")))
    );
    each("status.wans", &status["wans"], WAN);
    each("status.groups", &status["groups"], &[("name", "s"), ("active", "a")]);
    assert_eq!(status["groups"][0]["active"], serde_json::json!(["isp1"]));
    let sums = ["live", "capacity", "created", "expired", "refused"].map(|key| (key, "n"));
    shape("status.sessions", &status["sessions"], &sums);
    assert_eq!(status["sessions"]["capacity"].as_u64(), Some(65_536));
    each(
        "status.workers",
        &status["workers"],
        &[("core", "n"), ("packets", "n"), ("cycles_per_packet", "n0"), ("busy_percent", "n0")],
    );

    let wans = site.json(&["wans"]);
    each("wans", &wans, WAN);
    let names: Vec<_> = wans.as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["isp1", "isp2"]);
    assert!(wans[0]["rtt_us"].as_u64().is_some_and(|us| us < 1_000_000), "{wans}");

    let sessions = site.json(&["sessions"]);
    let keys = ["protocol", "inside", "outside", "remote", "wan", "state"].map(|key| (key, "s"));
    each("sessions", &sessions, &keys);
    let keys = ["age_s", "idle_s", "rx_packets", "tx_packets", "rx_bytes", "tx_bytes", "worker"]
        .map(|key| (key, "n"));
    each("sessions", &sessions, &keys);
    for session in sessions.as_array().unwrap() {
        for key in ["inside", "outside", "remote"] {
            assert!(session[key].as_str().unwrap().parse::<SocketAddrV4>().is_ok(), "{session}");
        }
    }

    let neighbors = site.json(&["neighbors"]);
    each(
        "neighbors",
        &neighbors,
        &[("interface", "s"), ("address", "s"), ("mac", "s0"), ("state", "s"), ("age_s", "n")],
    );
    let gateways = neighbors.as_array().unwrap().iter().filter(|n| n["interface"] != "lan").count();
    assert_eq!(gateways, 2, "{neighbors}");

    let counters = site.json(&["counters"]);
    assert!(counters.as_object().unwrap().values().all(Value::is_u64), "{counters}");
    assert!(counters.as_object().unwrap().keys().any(|k| k.starts_with("drop_")), "{counters}");

    let latency = site.json(&["latency"]);
    let spans = ["packets", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns", "longest_turn_ns"];
    shape("latency", &latency, &spans.map(|key| (key, "n")));
    each("latency.workers", &latency["workers"], &[("worker", "n"), ("core", "n"), ("packets", "n")]);
    each(
        "latency.workers",
        &latency["workers"],
        &spans[1..].iter().map(|key| (*key, "n0")).collect::<Vec<_>>(),
    );
    shape("status.latency", &status["latency"], &["p50_ns", "p99_ns", "max_ns"].map(|key| (key, "n")));
    let ordered = spans[1..].iter().map(|key| latency[key].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(ordered.is_sorted() && ordered[0] > 0, "{latency}");

    let events = site.events();
    each("events", &events.clone().into(), &[("at_ns", "n"), ("seq", "n"), ("kind", "s")]);
    assert_eq!(events[0]["kind"], "start");
    let out = site.turnout(&["wan", "drain", "isp2", "--json"]);
    assert!(out.status.success() && serde_json::from_slice::<Value>(&out.stdout).is_ok(), "{}", stdout(&out));
}

#[test]
fn sessions_are_filtered() {
    let Some((site, _held)) = busy() else { return };
    let count = |args: &[&str]| {
        let rows = site.json(&[&["sessions"], args].concat());
        rows.as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 5);
    assert_eq!(count(&["--protocol", "udp"]), 3);
    assert_eq!(count(&["--protocol", "tcp"]), 1);
    assert_eq!(count(&["--protocol", "icmp"]), 1);
    assert_eq!(count(&["--inside", "192.168.10.10"]), 3);
    assert_eq!(count(&["--inside", "192.168.10.11", "--protocol", "udp"]), 1);
    assert_eq!(count(&["--outside", "203.0.113.2"]), 5);
    assert_eq!(count(&["--wan", "isp1"]), 5);
    assert_eq!(count(&["--wan", "isp2"]), 0);
    assert_eq!(count(&["--limit", "2"]), 2);
    assert_eq!(count(&["--limit", "0"]), 0);
    let text = stdout(&site.turnout(&["sessions", "--wan", "isp2"]));
    assert_eq!(text, "no sessions\n");
}

#[test]
fn people_read_80_columns_and_may_stop_reading() {
    let Some((site, _held)) = busy() else { return };
    for command in ["status", "wans", "sessions", "neighbors", "counters", "latency", "events"] {
        let out = site.turnout(&[command]);
        let text = stdout(&out);
        assert!(
            out.status.success() && !text.is_empty() && stderr(&out).is_empty(),
            "{command}: {}",
            stderr(&out)
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{command}: {text}");
        assert!(!text.contains('\x1b'), "{command} is coloured");
        // A reader that is gone at once, and one that takes a line.
        for reader in ["true", "head -n 1"] {
            let line = format!(
                "{{ '{TURNOUT}' {command} --socket '{}' ; echo $? >&2; }} | {reader}",
                site.lab.socket().display()
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]);
            let out = output_within(shell, Duration::from_secs(5));
            assert_eq!(stderr(&out), "0\n", "{command} | {reader}");
        }
    }
    // Followed events come as they happen.
    let mut follow = Command::new(TURNOUT);
    follow.args(["events", "--follow", "--json", "--socket"]).arg(site.lab.socket());
    let file = site.lab.dir().join("followed");
    let mut follow = follow.stdout(fs::File::create(&file).unwrap()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(site.turnout(&["wan", "drain", "isp1"]).status.success());
    let came =
        eventually(Duration::from_secs(2), || fs::read_to_string(&file).unwrap().contains("\"admin\""));
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(came, "{}", fs::read_to_string(&file).unwrap());
}

#[test]
fn check_tells_every_mistake_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("office.yaml");
    let good = usual().replace("@SOCKET@", "/run/turnout/office.sock");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(TURNOUT);
        command.arg("check").arg(&file);
        output_within(command, Duration::from_secs(5))
    };
    let out = check(&good);
    assert!(out.status.success() && stdout(&out).lines().count() == 1 && stderr(&out).is_empty());
    let bad = good
        .replace("name: netns", "nome: netns")
        .replace("gateway: 198.51.100.1", "gateway: 198.51.100.99")
        .replace("stable: 1s", "stable: soon");
    let out = check(&bad);
    let text = stderr(&out);
    let place = |line: &str| {
        let rest = line.strip_prefix(&format!("{}:", file.display()))?;
        let mut parts = rest.splitn(3, ':');
        Some((parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?))
    };
    let places: Vec<_> = text.lines().filter_map(place).collect();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(places.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 7, 12], "{text}");
    assert!(places.iter().all(|(_, column)| *column >= 1) && text.contains("nome"), "{text}");
    // Nobody reads it: no panic either.
    let line = format!("{{ '{TURNOUT}' check '{}' 2>&1; echo $? >&3; }} 3>&2 | true", file.display());
    let status = |line: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]);
        stderr(&output_within(shell, Duration::from_secs(5)))
    };
    assert_eq!(status(&line), "1\n");
    fs::write(&file, &good).unwrap();
    assert_eq!(
        status(&format!("{{ sleep 0.1; '{TURNOUT}' check '{}'; echo $? >&2; }} | true", file.display())),
        "0\n"
    );
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let mut command = Command::new(TURNOUT);
        command.args(["completions", shell]);
        let out = output_within(command, Duration::from_secs(5));
        let text = stdout(&out);
        assert!(out.status.success() && text.lines().count() > 20, "{shell}: {text}");
        assert!(
            ["sessions", "drain", "--socket"].iter().all(|word| text.contains(word.trim_start_matches('-'))),
            "{shell}"
        );
    }
    let mut command = Command::new("bash");
    command.args(["-n", "-c", &format!("source <('{TURNOUT}' completions bash)")]);
    assert!(output_within(command, Duration::from_secs(5)).status.success());
}
