//! The control socket with a router behind it: who may have it, what it answers, and that no client holds up another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use turnout::manage::control::{Control, ControlError};
use turnout::manage::protocol;
use turnout::profile::Identity;

/// Runs `clients` in a thread while the site answers, a step at a time, as the management thread does.
fn serve<T: Send + 'static>(
    site: &mut Site,
    control: &mut Control,
    clients: impl FnOnce() -> T + Send + 'static,
) -> T {
    let questions = control.listen(std::path::Path::new("/nonexistent"), &Identity::default()).unwrap();
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(clients()));
    loop {
        while let Ok(question) = questions.try_recv() {
            let answer = site.question(question.request);
            let _ = question.answer.send(answer);
        }
        site.run_ms(1);
        site.take_all();
        match result.try_recv() {
            Ok(value) => return value,
            Err(mpsc::TryRecvError::Empty) => thread::yield_now(),
            Err(mpsc::TryRecvError::Disconnected) => panic!("a client has failed"),
        }
    }
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/turnout.sock");
    (dir, path)
}

fn say(path: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn sessions(path: &Path, filter: SessionFilter) -> Result<Vec<Value>, protocol::ClientError> {
    let mut rows = Vec::new();
    protocol::ask(path, &Request::Sessions(filter), |row| {
        rows.push(row);
        true
    })?;
    Ok(rows)
}

#[test]
fn one_router_a_socket_and_a_leftover_is_no_hindrance() {
    let (_dir, path) = socket();
    let first = Control::bind(&path).unwrap();
    assert!(matches!(Control::bind(&path), Err(ControlError::Taken(_))));
    assert!(path.exists(), "the refused one has not taken the other's socket away");
    drop(first);
    assert!(!path.exists());
    // what a killed router leaves: a socket that nobody listens on
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Control::bind(&path).unwrap());
}

#[test]
fn what_is_no_question_is_answered_by_an_error_in_one_line() {
    let (_dir, path) = socket();
    let mut control = Control::bind(&path).unwrap();
    let mut site = site(1);
    let questions: [&[u8]; 8] = [
        b"",
        b"\n",
        b"garbage\n",
        b"{\"ask\":\"nonsense\"}\n",
        b"{\"ask\":\"wan\",\"name\":\"isp1\"}\n",
        b"\xff\xfe\n",
        b"[[[[\n",
        &[b'['; 60_000],
    ];
    let client = path.clone();
    let answers = serve(&mut site, &mut control, move || questions.map(|q| say(&client, q)));
    for (question, answer) in questions.iter().zip(answers) {
        let lines: Vec<&str> = answer.lines().collect();
        assert!(lines.len() == 1 && lines[0].starts_with("{\"error\":\""), "{question:?} -> {answer:?}");
    }
    site.finish(&[]).unwrap();
}

#[test]
fn slow_and_silent_clients_hold_up_nobody() {
    let (_dir, path) = socket();
    let mut control = Control::bind(&path).unwrap();
    let mut site = Site::new(&unlimited(40_000, ""), 2).unwrap();
    flood(&mut site, "lan", (0..15_000).map(|p| Packet::udp((H1, p), (E1, 80), b"")));
    let live = live(&mut site);
    let client = path.clone();
    let (slowest, rows) = serve(&mut site, &mut control, move || {
        let connect = || UnixStream::connect(&client).unwrap();
        let silent: Vec<_> = (0..10).map(|_| connect()).collect();
        let mut half = connect();
        half.write_all(b"{\"ask\":").unwrap();
        // asks for everything and reads nothing
        let mut deaf = connect();
        deaf.write_all(b"{\"ask\":\"sessions\"}\n").unwrap();
        thread::sleep(Duration::from_millis(50));
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let start = Instant::now();
            protocol::ask_one(&client, &Request::Status).unwrap();
            slowest = slowest.max(start.elapsed());
        }
        let rows = sessions(&client, SessionFilter::default()).unwrap();
        drop((silent, half, deaf));
        (slowest, rows)
    });
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(rows.len(), live, "a listing beside one that nobody reads is whole");
    site.finish(&OPENED).unwrap();
}

#[test]
fn listings_at_the_same_time_under_load_are_each_whole_and_without_doubles() {
    let (_dir, path) = socket();
    let mut control = Control::bind(&path).unwrap();
    let mut site = Site::new(&unlimited(4096, ""), 2).unwrap();
    meet(&mut site);
    let both =
        (0..1500u16).flat_map(|p| [Packet::udp((H1, p), (E1, 80), b""), Packet::udp((H2, p), (E1, 80), b"")]);
    flood(&mut site, "lan", both);
    let live = live(&mut site);
    let client = path.clone();
    let listings = serve(&mut site, &mut control, move || {
        let list = |filter: SessionFilter| {
            let client = client.clone();
            thread::spawn(move || sessions(&client, filter).unwrap())
        };
        let all: Vec<_> = (0..6).map(|_| list(SessionFilter::default())).collect();
        let some = list(SessionFilter { limit: Some(7), ..SessionFilter::default() });
        let none = list(SessionFilter { wan: Some("isp2".into()), ..SessionFilter::default() });
        let one = list(SessionFilter {
            inside: Some(H2),
            protocol: Some("udp".into()),
            ..SessionFilter::default()
        });
        let all = all.into_iter().map(|t| t.join().unwrap()).collect::<Vec<_>>();
        (all, some.join().unwrap().len(), none.join().unwrap().len(), one.join().unwrap().len())
    });
    let (all, some, none, one) = listings;
    for rows in all {
        let distinct: BTreeSet<String> = rows.iter().map(|r| r["inside"].to_string()).collect();
        assert_eq!((rows.len(), distinct.len()), (live, live));
    }
    assert_eq!((some, none), (7, 0));
    assert!(one > 1000 && one < live, "{one}");
    site.finish(&OPENED).unwrap();
}

#[test]
fn the_operators_word_outlasts_the_router() {
    let (_dir, path) = socket();
    let mut control = Control::bind(&path).unwrap();
    assert_eq!(control.overrides(), Value::Null);
    let mut first = site(1);
    let client = path.clone();
    serve(&mut first, &mut control, move || {
        let wan = |name: &str, admin, force| Request::Wan { name: name.into(), admin, force };
        protocol::ask(&client, &wan("isp1", Admin::Drain, false), |_| true).unwrap();
        let refused = protocol::ask(&client, &wan("isp2", Admin::Down, false), |_| true).unwrap_err();
        assert!(refused.to_string().contains("last fit WAN"), "{refused}");
    });
    drop((first, control));
    let control = Control::bind(&path).unwrap();
    assert_eq!(control.overrides(), serde_json::json!({ "isp1": "drain" }));
    let mut second = site(1);
    second.restore(&control.overrides());
    assert_eq!(udp_out(&mut second, (H1, 5000), (E1, 80)).unwrap().0, "isp2");
    // what somebody else wrote there is no reason not to start
    std::fs::write(path.with_file_name("turnout.sock.overrides"), b"{\"isp1\":").unwrap();
    assert_eq!(control.overrides(), Value::Null);
    second.restore(&serde_json::json!({ "isp9": "down", "isp2": 7, "isp1": "drain" }));
    second.finish(&OPENED).unwrap();
}

#[test]
fn a_follower_gets_what_happens_while_it_listens() {
    let (_dir, path) = socket();
    let mut control = Control::bind(&path).unwrap();
    let mut site = site(1);
    let client = path.clone();
    let kinds = serve(&mut site, &mut control, move || {
        let mut kinds = Vec::new();
        protocol::ask(&client, &Request::Events { follow: true }, |event| {
            let kind = event["kind"].as_str().unwrap().to_string();
            if kind == "selection" && event["to"] == "isp1" {
                let drain = Request::Wan { name: "isp1".into(), admin: Admin::Drain, force: false };
                protocol::ask(&client, &drain, |_| true).unwrap();
            }
            kinds.push(kind);
            kinds.last().unwrap() != "admin"
        })
        .unwrap();
        kinds
    });
    assert_eq!(kinds.last().unwrap(), "admin");
    assert_eq!(kinds[0], "start");
    site.finish(&[]).unwrap();
}

#[test]
fn a_router_alone_refuses_what_is_for_a_pair() {
    let mut site = site(1);
    for request in [Request::Cluster, Request::Prefer { member: "b".into() }, Request::Yield] {
        let answer = site.question(request);
        let turnout::manage::Answer::Refused(why) = answer else { panic!("{answer:?}") };
        assert_eq!(why, "there is no cluster in the profile");
    }
    let turnout::manage::Answer::Items(status) = site.question(Request::Status) else { panic!("no status") };
    assert_eq!(status[0].get("cluster"), Some(&Value::Null));
}
