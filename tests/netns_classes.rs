//! What a STUN client finds behind the running router: the class of its mapping, and that of its filter as the profile has it
//! (RFC 4787 sections 4 and 5; the tests are those of RFC 5780). And that a tunnel may be silent for two minutes.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::Ordering;
use std::time::Duration;

use netns::{Service, Site, service, udp_socket, usual};
use turnout::demo::lab::{INTERNET, WAN1};

/// Two addresses with two ports each; the first is asked, the others are near and far from it.
const SERVERS: [SocketAddrV4; 4] = [
    SocketAddrV4::new(INTERNET[0], 3478),
    SocketAddrV4::new(INTERNET[0], 3479),
    SocketAddrV4::new(INTERNET[1], 3478),
    SocketAddrV4::new(INTERNET[1], 3479),
];

/// A question is a number: which of the servers is to answer, whichever was asked. The answer is the asker's address in text.
fn stun(site: &Site) -> Service {
    let host = site.host("inet");
    let sockets = host.run(|| SERVERS.map(|at| UdpSocket::bind(at).unwrap())).unwrap();
    sockets.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
    service(host, move |over, served| {
        let mut question = [0u8; 64];
        while !over.load(Ordering::Relaxed) {
            let mut idle = true;
            for socket in &sockets {
                let Ok((1, from)) = socket.recv_from(&mut question) else { continue };
                idle = false;
                served.fetch_add(1, Ordering::Relaxed);
                let _ = sockets[usize::from(question[0] & 3)].send_to(from.to_string().as_bytes(), from);
            }
            if idle {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    })
}

/// The client's address as a server sees it, if `answering` answers a question to `asked`.
fn asks(socket: &UdpSocket, asked: usize, answering: usize) -> Option<SocketAddr> {
    let mut answer = [0u8; 64];
    (0..3).find_map(|_| {
        socket.send_to(&[answering as u8], SERVERS[asked]).unwrap();
        let (length, from) = socket.recv_from(&mut answer).ok()?;
        assert_eq!(from, SocketAddr::from(SERVERS[answering]));
        Some(std::str::from_utf8(&answer[..length]).unwrap().parse().unwrap())
    })
}

/// The class of a mapping: an address that is the same for all is endpoint-independent.
fn mapping(socket: &UdpSocket) -> &'static str {
    let seen: Vec<_> = (0..4).map(|server| asks(socket, server, server).expect("no answer")).collect();
    assert_eq!(seen[0].ip(), WAN1);
    match seen[..] {
        [a, b, c, d] if a == b && b == c && c == d => "endpoint-independent",
        [a, b, c, d] if a == b && c == d => "address-dependent",
        _ => "address-and-port-dependent",
    }
}

/// The class of a filter, with a port that has asked one server only.
fn filtering(socket: &UdpSocket) -> &'static str {
    assert!(asks(socket, 0, 0).is_some(), "no answer");
    match (asks(socket, 0, 3), asks(socket, 0, 1)) {
        (Some(_), Some(_)) => "endpoint-independent",
        (None, Some(_)) => "address-dependent",
        (None, None) => "address-and-port-dependent",
        odd => panic!("a filter of no class: {odd:?}"),
    }
}

#[test]
fn rfc4787_1_mappings_are_endpoint_independent_and_rfc4787_8c_filters_are_what_the_profile_says() {
    let text = |class: &str| usual() + &format!("nat: {{ filtering: {{ udp: {class} }} }}\n");
    let classes = ["endpoint-independent", "address-dependent", "address-and-port-dependent"];
    let Some(mut site) = Site::start(&text(classes[0])) else { return };
    let _stun = stun(&site);
    for (n, class) in classes.iter().enumerate() {
        if n > 0 {
            assert!(site.router.stop().unwrap().success(), "{}", site.router.said());
            site.router = netns::start(&site.lab, &text(class));
        }
        assert_eq!(mapping(&udp_socket(site.host("lan1"))), "endpoint-independent", "filter {class}");
        assert_eq!(filtering(&udp_socket(site.host("lan2"))), *class);
    }
}

/// Two minutes of silence by the clock on the wall: only with TURNOUT_LONG=1. On the virtual clock `nat_timers` does the same.
#[test]
fn rfc4787_5_a_tunnel_that_was_silent_for_119_seconds_goes_on() {
    if std::env::var_os("TURNOUT_LONG").is_none() {
        return netns::skipped("takes two minutes; set TURNOUT_LONG=1");
    }
    // The shortest that the profile may say.
    let Some(site) = Site::start(&(usual() + "nat: { timeouts: { udp: 120s } }\n")) else { return };
    let at = SocketAddrV4::new(INTERNET[0], 51820);
    let far = site.host("inet").run(move || UdpSocket::bind(at).unwrap()).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let near = udp_socket(site.host("lan1"));
    near.send_to(b"hello", at).unwrap();
    let (_, from) = far.recv_from(&mut [0; 64]).unwrap();
    std::thread::sleep(Duration::from_secs(119));
    // The far end speaks first: only the mapping lets it in.
    far.send_to(b"still there?", from).unwrap();
    assert_eq!(near.recv(&mut [0; 64]).unwrap(), 12);
    near.send_to(b"yes", at).unwrap();
    assert_eq!(far.recv_from(&mut [0; 64]).unwrap(), (3, from));
}
