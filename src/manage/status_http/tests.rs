//! The endpoint over loopback, asked by those who may and those who may not, by the slow and by those who speak nonsense.

use super::*;
use crate::cluster::Reason;

/// A clock that stands still.
fn clock() -> Nanos {
    Nanos::from_s(100)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn place(from: [u8; 4], len: u8) -> Place {
    let from = Ipv4Net::new(from.into(), len).unwrap();
    Place { address: Ipv4Addr::LOCALHOST, port: free_port(), from, stale: Nanos::from_ms(100) }
}

fn endpoint(place: Place) -> (Endpoint, Arc<Board>) {
    let board = Arc::new(Board::default());
    let mut endpoint = Endpoint::new(board.clone(), clock);
    endpoint.follow(Some(place)).unwrap();
    (endpoint, board)
}

fn connect(place: Place, source: [u8; 4]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddrV4::new(source.into(), 0).into()).unwrap();
    socket.connect(&SocketAddrV4::new(place.address, place.port).into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.into()
}

/// All that comes for `request`, to the end of the stream.
fn ask(place: Place, request: &[u8]) -> String {
    let mut stream = connect(place, [127, 0, 0, 1]);
    // It may be closed already.
    let _ = stream.write_all(request);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

/// Status and body.
fn get(place: Place) -> (String, Value) {
    let text = ask(place, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())) && head.ends_with("Connection: close")
    );
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

fn truth(serves: bool, role: Role, reasons: Reasons) -> Truth {
    Truth { serves, name: "a".into(), role, reasons }
}

#[test]
fn it_says_at_once_what_is_so_and_nothing_while_nobody_has_said_it() {
    let place = place([127, 0, 0, 0], 8);
    let (_endpoint, board) = endpoint(place);
    board.stepped(clock());
    let down = "HTTP/1.1 503 Service Unavailable";
    let starting = json!({"serves": false, "name": null, "role": "starting", "reasons": ["starting"]});
    assert_eq!(get(place), (down.into(), starting));
    board.say(truth(true, Role::Active, Reasons::default().with(Reason::PartnerLost, true)));
    let serving = json!({"serves": true, "name": "a", "role": "active", "reasons": ["partner_lost"]});
    assert_eq!(get(place), ("HTTP/1.1 200 OK".into(), serving));
    board.say(truth(false, Role::Standby, Reasons::default().with(Reason::PartnerActive, true)));
    let standing_by = json!({"serves": false, "name": "a", "role": "standby", "reasons": ["partner_active"]});
    assert_eq!(get(place), (down.into(), standing_by));
}

#[test]
fn a_management_thread_that_does_not_step_does_not_serve() {
    let place = place([127, 0, 0, 0], 8);
    let (_endpoint, board) = endpoint(place);
    board.say(truth(true, Role::Active, Reasons::default()));
    board.stepped(Nanos(clock().0 - 99_999_999));
    assert_eq!(get(place).0, "HTTP/1.1 200 OK");
    board.stepped(Nanos(clock().0 - 100_000_000));
    let (status, body) = get(place);
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert_eq!(body, json!({"serves": false, "name": "a", "role": "active", "reasons": ["stalled"]}));
}

#[test]
fn every_request_has_its_answer() {
    let place = place([127, 0, 0, 0], 8);
    let (_endpoint, board) = endpoint(place);
    board.stepped(clock());
    board.say(truth(true, Role::Active, Reasons::default()));
    let status = |request: &[u8]| ask(place, request).lines().next().unwrap_or_default().to_owned();
    for path in ["/", "/status?x=1", "*", "http://router/x"] {
        for version in ["1.0", "1.1"] {
            let request = format!("GET {path} HTTP/{version}\r\n\r\n");
            assert_eq!(status(request.as_bytes()), "HTTP/1.1 200 OK", "{request}");
        }
    }
    let head = ask(place, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(!head.contains("Content-Length: 0"), "as GET would have it");
    let post = ask(place, b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("\r\nAllow: GET, HEAD\r\n"), "{post}");
    for wrong in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET /\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"\0\0\0\0\0"]
    {
        assert_eq!(status(wrong), "HTTP/1.1 400 Bad Request", "{wrong:?}");
    }
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(5_000));
    assert_eq!(status(long.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert_eq!(status(many.as_bytes()), "HTTP/1.1 431 Request Header Fields Too Large");
    // In pieces.
    let mut stream = connect(place, [127, 0, 0, 1]);
    for piece in [&b"GE"[..], b"T / HTTP/1.1\r\nHo", b"st: x\r\n", b"\r\n"] {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
}

#[test]
fn who_may_not_ask_gets_no_byte() {
    let place = place([127, 0, 0, 2], 32);
    let (_endpoint, board) = endpoint(place);
    board.stepped(clock());
    for request in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"nonsense\r\n\r\n"] {
        assert_eq!(ask(place, request), "");
    }
    let mut stream = connect(place, [127, 0, 0, 2]);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 503"), "{text}");
}

#[test]
fn the_silent_and_the_slow_hold_up_nobody_and_are_closed_in_time() {
    let place = place([127, 0, 0, 0], 8);
    let (_endpoint, board) = endpoint(place);
    board.stepped(clock());
    let begun = Instant::now();
    let mut slow = connect(place, [127, 0, 0, 1]);
    slow.write_all(b"GET / HT").unwrap();
    let silent: Vec<TcpStream> = (0..CLIENTS - 2).map(|_| connect(place, [127, 0, 0, 1])).collect();
    assert_eq!(get(place).0, "HTTP/1.1 503 Service Unavailable");
    let mut text = Vec::new();
    let _ = slow.read_to_end(&mut text);
    let lasted = begun.elapsed();
    assert!(text.is_empty() && lasted >= PATIENCE && lasted < PATIENCE * 4, "{lasted:?}");
    drop(silent);
    // More than there is room for: the oldest go.
    let silent: Vec<TcpStream> = (0..CLIENTS * 4).map(|_| connect(place, [127, 0, 0, 1])).collect();
    let begun = Instant::now();
    assert_eq!(get(place).0, "HTTP/1.1 503 Service Unavailable");
    assert!(begun.elapsed() < PATIENCE);
    drop(silent);
}

#[test]
fn it_moves_with_the_profile_and_waits_with_what_failed() {
    let first = place([127, 0, 0, 0], 8);
    let (mut endpoint, board) = endpoint(first);
    board.stepped(clock());
    assert_eq!(get(first).0, "HTTP/1.1 503 Service Unavailable");
    // The same port for others, at once.
    let narrower = Place { from: Ipv4Net::new([127, 0, 0, 9].into(), 32).unwrap(), ..first };
    endpoint.follow(Some(narrower)).unwrap();
    assert_eq!(ask(first, b"GET / HTTP/1.1\r\n\r\n"), "");
    let second = place([127, 0, 0, 0], 8);
    endpoint.follow(Some(second)).unwrap();
    assert_eq!((endpoint.place(), get(second).1["serves"].clone()), (Some(second), json!(false)));
    assert!(TcpStream::connect(("127.0.0.1", first.port)).is_err(), "nobody is there any more");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = Place { port: taken.local_addr().unwrap().port(), ..first };
    assert!(endpoint.follow(Some(elsewhere)).is_err());
    assert_eq!(
        (endpoint.follow(Some(elsewhere)).is_ok(), endpoint.place()),
        (true, None),
        "not again at once"
    );
    endpoint.follow(None).unwrap();
    drop(taken);
    // An address that the host has not got yet.
    let later = Place { address: Ipv4Addr::new(192, 0, 2, 77), ..second };
    endpoint.follow(Some(later)).unwrap();
    assert_eq!(endpoint.place(), Some(later));
}
