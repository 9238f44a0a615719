//! Groups and policy with real hosts: a node by each line, refusal instead of the other line, hosts shared out between two lines,
//! a way back that waits for the operator.
#![cfg(feature = "dpdk")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod netns;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use netns::pulse::{Pulse, TELLER, tellers};
use netns::scene::{QUICK, Talk, becomes, finish, scene, settles, tcp_echo};
use netns::{BACK_AT_ONCE, Site, echoes, eventually, udp_socket};
use turnout::base::Nanos;
use turnout::demo::clock;
use turnout::demo::lab::{INTERNET, WAN1, WAN2};

const SOON: Duration = Duration::from_secs(4);
const BACK: Duration = Duration::from_secs(8);
const ECHO: SocketAddrV4 = SocketAddrV4::new(INTERNET[0], 7007);

fn some() -> Option<Duration> {
    Some(Duration::from_millis(20))
}

#[test]
fn two_nodes_have_a_line_each_and_the_other_one_only_when_their_own_dies() {
    let policy = "policy: [{ from: 192.168.10.64/26, use: isp2 }]\n";
    let Some(site) = Site::start(&scene(QUICK, policy)) else { return };
    settles(&site);
    let _servers = tellers(site.host("inet"));
    let _echo = tcp_echo(site.host("inet"), INTERNET[0], ECHO.port());
    // The second host is several: .64 and .65 by the rule, .20 beside it.
    let lines: String =
        [64, 65, 20].iter().map(|n| format!("address add 192.168.10.{n}/24 dev eth0\n")).collect();
    site.host("lan2").ip(&lines).unwrap();
    let stream = |last: u8| {
        let from = SocketAddrV4::new(Ipv4Addr::new(192, 168, 10, last), 0);
        let pulse =
            Pulse::start(site.host("lan2"), from, SocketAddrV4::new(INTERNET[0], TELLER), Nanos::from_ms(1));
        assert!(pulse.answers(SOON), "{last}");
        pulse
    };
    let (a, b, talk) =
        (Pulse::stream(site.host("lan1")), stream(64), Talk::start(site.host("lan1"), ECHO, some()));
    assert!(a.leaves_by(WAN1, SOON) && b.leaves_by(WAN2, SOON));
    // A line dies and comes back: its node moves, and stays while it drains; who comes new has that line again. The node of
    // the other line sees nothing of it.
    let dies = |line: &str, node: &Pulse, ways: [Ipv4Addr; 2], unharmed: &Pulse, fresh: u8| {
        let [own, other] = ways;
        let (seq, at) = (site.seq(), clock::now());
        site.lab.link_down(line).unwrap();
        let event = site.event_after(seq, "failover", SOON);
        assert_eq!(event["from"], line, "{event}");
        assert!(node.leaves_by(other, SOON), "{line}: {:?}", node.source());
        let back = site.lab.link_up(line).unwrap();
        site.event_after(seq, "failback", BACK);
        let new = stream(fresh);
        assert!(new.leaves_by(own, SOON), "{line}: {:?}", new.source());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!((node.lost_since(back), *node.source().unwrap().ip()), (0, other), "{line}");
        assert_eq!((unharmed.lost_since(at), unharmed.sources(at, clock::now()).len()), (0, 1), "{line}");
        new
    };
    let b2 = dies("isp2", &b, [WAN2, WAN1], &a, 65);
    assert!(talk.goes_on(SOON));
    drop((b, talk));
    let new = dies("isp1", &a, [WAN1, WAN2], &b2, 20);
    drop((a, b2, new));
    let why = finish(site);
    let groups: Vec<String> =
        why.iter().filter(|s| s["kind"] == "failover").map(|s| s["group"].to_string()).collect();
    assert_eq!(groups.len(), 2, "one group each: {why:#?}");
    assert_ne!(groups[0], groups[1]);
}

#[test]
fn what_may_not_use_the_other_line_is_refused_at_once_and_goes_on_where_it_was() {
    let policy = "policy: [{ from: 192.168.10.11, use: isp2, otherwise: reject }]\n";
    let Some(site) = Site::start(&scene(QUICK, policy)) else { return };
    settles(&site);
    let _servers = tellers(site.host("inet"));
    let _echo = tcp_echo(site.host("inet"), INTERNET[0], ECHO.port());
    let (a, b) = (Pulse::stream(site.host("lan1")), Pulse::stream(site.host("lan2")));
    let talk = Talk::start(site.host("lan2"), ECHO, some());
    assert!(a.leaves_by(WAN1, SOON) && b.leaves_by(WAN2, SOON));
    let before = b.source();
    let at = clock::now();
    site.lab.link_down("isp2").unwrap();
    becomes(&site, "isp2", "down", SOON);
    let began = Instant::now();
    let call = move || TcpStream::connect_timeout(&ECHO.into(), Duration::from_secs(3)).unwrap_err();
    let refused = site.host("lan2").run(call).unwrap();
    println!("{refused} after {:?}", began.elapsed());
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable};
    assert!(matches!(refused.kind(), HostUnreachable | NetworkUnreachable), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!b.answers(Duration::from_millis(500)), "by {:?}", b.source());
    site.lab.link_up("isp2").unwrap();
    assert!(b.leaves_by(WAN2, BACK));
    // It had nowhere to go: it is where it was, and nobody was told anything.
    assert!(talk.goes_on(BACK), "{:?}", talk.end.lock().unwrap());
    assert_eq!(b.source(), before);
    assert_eq!((a.lost_since(at), a.sources(at, clock::now()).len()), (0, 1));
    drop((a, b, talk));
    finish(site);
}

#[test]
fn hosts_shared_out_between_two_lines_stay_on_theirs_and_only_those_of_a_dead_one_move() {
    const HOSTS: u8 = 24;
    let group = "groups: { default: { mode: balance, members: [{ wan: isp1, tier: 1 }, { wan: isp2, tier: 1 }], \
        failback: { after: 500ms } } }\n";
    let profile = scene(QUICK, "").replace(BACK_AT_ONCE, group);
    let Some(mut site) = Site::start(&profile) else { return };
    settles(&site);
    let _servers = tellers(site.host("inet"));
    let lan1 = &site.host("lan1").clone();
    let addresses: Vec<Ipv4Addr> = (0..HOSTS).map(|n| Ipv4Addr::new(192, 168, 10, 100 + n)).collect();
    lan1.ip(&addresses.iter().map(|ip| format!("address add {ip}/24 dev eth0\n")).collect::<String>())
        .unwrap();
    // Two conversations a host, with two remotes.
    let pulse = |ip: Ipv4Addr, with: usize| {
        let to = SocketAddrV4::new(INTERNET[with], TELLER);
        Pulse::start(lan1, SocketAddrV4::new(ip, 0), to, Nanos::from_ms(50))
    };
    let pulses: Vec<[Pulse; 2]> = addresses.iter().map(|ip| [0, 1].map(|with| pulse(*ip, with))).collect();
    let lines = || -> Vec<Ipv4Addr> {
        pulses
            .iter()
            .map(|both| {
                let [one, other] = [0, 1].map(|n| *both[n].source().unwrap().ip());
                assert_eq!(one, other, "a host's conversations stay together");
                one
            })
            .collect()
    };
    assert!(eventually(SOON, || pulses.iter().flatten().all(|p| p.source().is_some())));
    let before = lines();
    let mut share = BTreeMap::new();
    before.iter().for_each(|wan| *share.entry(*wan).or_insert(0u8) += 1);
    println!("{share:?}");
    assert!(share.len() == 2 && share.values().all(|hosts| *hosts >= HOSTS / 5), "{share:?}");

    let (seq, at) = (site.seq(), clock::now());
    site.lab.link_down("isp2").unwrap();
    site.event_after(seq, "wan_state", SOON);
    let moved = || pulses.iter().all(|both| both[0].source().is_some_and(|s| *s.ip() == WAN1));
    assert!(eventually(SOON, moved));
    std::thread::sleep(Duration::from_millis(300));
    assert!(lines().iter().all(|wan| *wan == WAN1));
    for (both, line) in pulses.iter().zip(&before) {
        if *line == WAN1 {
            assert_eq!(both[0].lost_since(at) + both[1].lost_since(at), 0);
            assert_eq!(both[0].sources(at, clock::now()).len(), 1, "moved without need");
        }
    }
    // Back, nobody is moved; a new start shares them out again, and in the same way.
    site.lab.link_up("isp2").unwrap();
    becomes(&site, "isp2", "up", BACK);
    std::thread::sleep(Duration::from_secs(1));
    assert!(lines().iter().all(|wan| *wan == WAN1), "moved back at once");
    drop(pulses);
    site.router.stop().unwrap();
    site.router = netns::start(&site.lab, &profile);
    settles(&site);
    let again: Vec<Pulse> = addresses.iter().map(|ip| pulse(*ip, 0)).collect();
    assert!(eventually(SOON, || again.iter().all(|p| p.source().is_some())));
    let after: Vec<Ipv4Addr> = again.iter().map(|p| *p.source().unwrap().ip()).collect();
    assert_eq!(after, before);
    drop(again);
    finish(site);
}

#[test]
fn a_way_back_by_hand_waits_for_the_hand() {
    let group = BACK_AT_ONCE.replace("after: 100ms", "mode: manual");
    let Some(site) = Site::start(&scene(QUICK, "").replace(BACK_AT_ONCE, &group)) else { return };
    settles(&site);
    let _servers = tellers(site.host("inet"));
    let echo = netns::udp_echo(site.host("inet"), INTERNET[0], 7);
    let carries = |wan: &str| eventually(SOON, || site.wan(wan, "carrying") == true);
    let stream = Pulse::stream(site.host("lan1"));
    site.lab.link_down("isp1").unwrap();
    assert!(stream.leaves_by(WAN2, SOON));
    let at = site.lab.link_up("isp1").unwrap();
    becomes(&site, "isp1", "up", BACK);
    std::thread::sleep(Duration::from_secs(3));
    let new = Pulse::stream(site.host("lan2"));
    assert!(new.leaves_by(WAN2, SOON), "it went back by itself");
    assert_eq!(stream.lost_since(at), 0);
    // The word of the operator: the second line gets nothing new, and keeps what it has.
    assert!(site.turnout(&["wan", "drain", "isp2"]).status.success());
    assert!(carries("isp1"));
    let at = clock::now();
    assert!(echoes(&udp_socket(site.host("lan2")), SocketAddrV4::new(INTERNET[0], 7)));
    assert!(site.turnout(&["wan", "auto", "isp2"]).status.success());
    std::thread::sleep(Duration::from_secs(1));
    assert!(carries("isp1"), "nor back again");
    assert_eq!((stream.lost_since(at), new.lost_since(at)), (0, 0));
    drop((stream, new, echo));
    finish(site);
}
