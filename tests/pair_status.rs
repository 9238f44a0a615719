//! What the status endpoint of each member answers, over HTTP, while the role moves between two whole routers on a virtual clock.
#![allow(clippy::unwrap_used, clippy::panic)]

mod twins_rig;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde_json::Value;
use turnout::base::Nanos;
use turnout::manage::protocol::Request;
use turnout::manage::status_http::{Board, Endpoint, Place};
use turnout::profile;
use turnout::sim::Twins;
use twins_rig::PROFILE;

/// The pair of all tests, with a status endpoint on an interface.
fn text(interface: &str) -> String {
    format!("{PROFILE}  status: {{ interface: {interface}, port: 8099, from: 127.0.0.0/8 }}\n")
}

static CLOCK: AtomicU64 = AtomicU64::new(0);

fn clock() -> Nanos {
    Nanos(CLOCK.load(SeqCst))
}

/// Another endpoint of a member, at a place that this machine has.
fn endpoint(twins: &mut Twins, at: usize) -> (Endpoint, Place) {
    let board = Arc::new(Board::default());
    twins.members[at].answer_at(Endpoint::new(board.clone(), clock));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let wanted = Place::of(&profile::load_member(&text("lan"), "x", "a").unwrap()).unwrap();
    let place = Place { address: Ipv4Addr::LOCALHOST, port, ..wanted };
    let mut endpoint = Endpoint::new(board, clock);
    endpoint.follow(Some(place)).unwrap();
    (endpoint, place)
}

fn get(twins: &Twins, place: Place) -> (u16, Value) {
    CLOCK.store(twins.members[1].now().0, SeqCst);
    ask(place)
}

fn ask(place: Place) -> (u16, Value) {
    let mut stream = TcpStream::connect((place.address, place.port)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_endpoints_answer_as_the_members_are() {
    let mut twins = Twins::new(&text("lan"), 1).unwrap();
    let ([(_a, a), (_b, b)], stale) = ([0, 1].map(|at| endpoint(&mut twins, at)), Nanos::from_s(1));
    assert_eq!(get(&twins, a).0, 503, "it waits for its partner's word");
    twins.run_ms(3000);
    let (code, body) = get(&twins, a);
    assert_eq!(
        (code, &body["serves"], &body["name"], &body["role"]),
        (200, &true.into(), &"a".into(), &"active".into())
    );
    let (code, body) = get(&twins, b);
    assert_eq!(
        (code, &body["serves"], &body["name"], &body["role"]),
        (503, &false.into(), &"b".into(), &"standby".into())
    );
    assert!(body["reasons"].as_array().unwrap().contains(&"partner_active".into()), "{body}");
    // One dies: the other one serves, and the dead one does not seem to.
    twins.dead[0] = true;
    twins.run_ms(2000);
    let said = twins.members[1].ask(Request::Cluster).unwrap();
    let (code, body) = get(&twins, b);
    assert_eq!((code, &body["role"], &body["reasons"]), (200, &"active".into(), &said["reasons"]));
    let (code, body) = get(&twins, a);
    assert_eq!((code, &body["reasons"][0]), (503, &"stalled".into()));
    assert_eq!(b.stale, stale, "twice the timeout");
    // It loses its WAN.
    twins.members[1].set_link("isp1", false);
    twins.run_ms(5);
    let (code, body) = get(&twins, b);
    assert_eq!((code, &body["serves"]), (503, &false.into()));
    assert!(body["reasons"].as_array().unwrap().contains(&"no_wan".into()), "{body}");
}

#[test]
fn the_place_is_the_member_s_own_address_never_a_virtual_one() {
    let place = |text: &str, member: &str| Place::of(&profile::load_member(text, "x", member).unwrap());
    // Another interface than the first: the one that the profile names, and its network is who may ask.
    let voice = |own: u8| format!("voice: {{ addresses: [192.168.30.{own}/24] }}, isp1");
    let three = text("voice")
        .replace(
            "  isp1: { port",
            "  voice: { port: \"linux:voice0\", addresses: [192.168.30.9/24] }\n  isp1: { port",
        )
        .replacen("24] }, isp1", &format!("24] }}, {}", voice(2)), 1)
        .replace("168.10.3/24] }, isp1", &format!("168.10.3/24] }}, {}", voice(3)));
    let asked = three.replace(", from: 127.0.0.0/8", "");
    for (member, last) in [("a", 2), ("b", 3)] {
        let lan = place(&text("lan"), member).unwrap();
        assert_eq!((lan.address, lan.port), (Ipv4Addr::new(192, 168, 10, last), 8099));
        assert_eq!((lan.from.to_string().as_str(), lan.stale), ("127.0.0.0/8", Nanos::from_s(1)));
        let voice = place(&asked, member).unwrap();
        assert_eq!(
            (voice.address, voice.from.to_string().as_str()),
            (Ipv4Addr::new(192, 168, 30, last), "192.168.30.0/24")
        );
    }
    assert_eq!(place(PROFILE, "a"), None);
}
