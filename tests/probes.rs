//! The router's own probes, through real frames: each kind answered, refused, answered wrongly, too late, and not at all; forged answers;
//! and every probe by the WAN that it judges.
#![allow(clippy::unwrap_used)]

mod common;

use common::{DUAL_WAN, G1, H1, P1, P2, Packet, RST, Seen, Site, checksum, put16, udp_out};
use proptest::prelude::*;
use std::net::Ipv4Addr;
use turnout::base::{Mac, Nanos, WanId};
use turnout::manage::probes::bfd::Bfd;
use turnout::manage::probes::names::Resolver;
use turnout::manage::probes::{Ask, Host, Output, Probes, TargetSpec, WanProbes, Way};
use turnout::path::answers::OWN_PORTS;
use turnout::sim::internet::{Server, Service};
use turnout::wan::BfdSays;

const S1: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const S2: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const SHAPES: [usize; 3] = [1, 2, 3];

fn at(ip: Ipv4Addr, ask: Ask) -> TargetSpec {
    TargetSpec { host: Host::Address(ip), ask }
}

fn icmp(ip: Ipv4Addr) -> TargetSpec {
    at(ip, Ask::Icmp)
}

fn dns(ip: Ipv4Addr, expect: &[Ipv4Addr]) -> TargetSpec {
    at(ip, Ask::Dns { port: 53, name: "example.com".into(), expect: expect.to_vec() })
}

fn http(ip: Ipv4Addr, status: u16) -> TargetSpec {
    at(ip, Ask::Http { port: 80, host: "probe.example".into(), path: "/generate_204".into(), status })
}

fn wan(targets: &[TargetSpec]) -> WanProbes {
    WanProbes { timeout: Nanos::from_s(1), targets: targets.to_vec(), bfd: None }
}

fn server() -> Server {
    let tcp = [(443, Service::Accepts), (80, Service::Http(204)), (25, Service::Odd), (22, Service::Refuses)];
    Server { tcp: tcp.into(), dns: Some((0, vec![S1])), ..Server::default() }
}

/// A site whose first WAN has these targets; both WANs have the servers S1 and S2 behind them.
fn site(workers: usize, targets: &[TargetSpec]) -> Site {
    let mut site = Site::new(DUAL_WAN, workers).unwrap();
    for (link, ip) in [("isp1", S1), ("isp1", S2), ("isp2", S1), ("isp2", S2)] {
        site.serve(link, ip, server());
    }
    site.set_probes(vec![wan(targets), wan(targets)], None);
    site
}

/// Asks the first WAN's target and gives all that becomes of it within two seconds.
fn ask(site: &mut Site, target: u8, round: u32) -> Vec<Output> {
    site.ask_target(0, target, round);
    site.run_ms(2000);
    site.outcomes()
}

fn sent(target: u8, round: u32, at: Nanos) -> Output {
    Output::Sent(WanId(0), target, round, at)
}

fn reply(target: u8, round: u32, at: Nanos) -> Output {
    Output::Reply(WanId(0), target, round, at)
}

fn failed(target: u8, round: u32, why: &str) -> Output {
    Output::Failed(WanId(0), target, round, why.into())
}

/// The probes among what was sent, with their links.
fn probes(site: &mut Site) -> Vec<(String, Seen)> {
    let all = site.take_all();
    let own = |seen: &Seen| OWN_PORTS.contains(&seen.src().1);
    all.iter().filter_map(|(link, f)| Some((link.clone(), Seen::read(f).filter(own)?))).collect()
}

fn all_kinds() -> Vec<TargetSpec> {
    vec![icmp(S1), at(S1, Ask::Tcp { port: 443 }), dns(S1, &[]), dns(S1, &[S1]), http(S1, 204)]
}

#[test]
fn each_kind_is_answered_and_both_times_are_the_workers() {
    for workers in SHAPES {
        let mut site = site(workers, &all_kinds());
        for target in 0..5 {
            let now = site.now();
            assert_eq!(ask(&mut site, target, 7), [sent(target, 7, now), reply(target, 7, now)]);
        }
        site.finish(&[]).unwrap();
    }
}

#[test]
fn a_slow_answer_has_the_time_it_came_in_and_its_round() {
    let mut site = site(2, &all_kinds());
    site.serve("isp1", S1, Server { delay: Nanos::from_ms(300), ..server() });
    let now = site.now();
    for target in 0..4 {
        site.ask_target(0, target, 1);
    }
    site.run_ms(100);
    site.ask_target(0, 0, 2);
    site.run_ms(1500);
    let replies: Vec<Output> =
        site.outcomes().into_iter().filter(|o| matches!(o, Output::Reply(..))).collect();
    let (first, second) = (now + Nanos::from_ms(300), now + Nanos::from_ms(400));
    let mut want: Vec<Output> = (0..4).map(|target| reply(target, 1, first)).collect();
    want.push(reply(0, 2, second));
    assert_eq!(replies, want);
    site.finish(&[]).unwrap();
}

#[test]
fn what_is_refused_or_answered_wrongly_has_failed_and_says_by_what() {
    let targets = [
        at(S1, Ask::Tcp { port: 22 }),
        http(S1, 200),
        at(S1, Ask::Http { port: 25, host: "x".into(), path: "/".into(), status: 204 }),
        at(S1, Ask::Http { port: 22, host: "x".into(), path: "/".into(), status: 204 }),
        dns(S1, &[S2]),
        dns(S2, &[]),
        at(S1, Ask::Dns { port: 5353, name: "example.com".into(), expect: vec![] }),
    ];
    let why = [
        "refused",
        "http 204 instead of 200",
        "no HTTP answer",
        "refused",
        "dns says 192.0.2.1",
        "dns SERVFAIL",
        "port unreachable, says 192.0.2.1",
    ];
    let mut site = site(2, &targets);
    site.serve("isp1", S2, Server { dns: Some((2, vec![])), ..server() });
    for (target, why) in (0..).zip(why) {
        let now = site.now();
        assert_eq!(ask(&mut site, target, 3), [sent(target, 3, now), failed(target, 3, why)]);
    }
    site.finish(&[]).unwrap();
}

#[test]
fn silence_has_failed_when_its_time_is_over_and_what_comes_later_counts_nothing() {
    let mut site = site(1, &all_kinds());
    site.set_internet_dead("isp1", true);
    for target in 0..5 {
        let now = site.now();
        site.ask_target(0, target, 9);
        site.run_ms(999);
        assert_eq!(site.outcomes(), [sent(target, 9, now)]);
        site.run_ms(1);
        assert_eq!(site.outcomes(), [failed(target, 9, "no answer")]);
    }
    // The gateway is well, and its WAN is up.
    assert!(site.view().uplinks.wans[0].fit);
    site.set_internet_dead("isp1", false);
    site.serve("isp1", S1, Server { delay: Nanos::from_ms(1200), ..server() });
    for target in 0..4 {
        let now = site.now();
        assert_eq!(ask(&mut site, target, 10), [sent(target, 10, now), failed(target, 10, "no answer")]);
    }
    site.serve("isp1", S1, Server { dead: true, ..server() });
    site.serve("isp1", S2, server());
    assert_eq!(ask(&mut site, 0, 11).len(), 2);
    site.finish(&[]).unwrap();
}

#[test]
fn a_server_that_lets_in_and_says_nothing_has_failed() {
    let mut site =
        site(1, &[at(S1, Ask::Http { port: 443, host: "x".into(), path: "/".into(), status: 204 })]);
    let now = site.now();
    assert_eq!(ask(&mut site, 0, 1), [sent(0, 1, now), failed(0, 1, "connected, but no answer")]);
    site.finish(&[]).unwrap();
}

#[test]
fn connections_are_reset_when_they_are_judged_and_what_comes_after_as_well() {
    let mut site = site(2, &all_kinds());
    site.ask_target(0, 1, 1);
    site.ask_target(0, 4, 1);
    site.run_ms(10);
    let sent = probes(&mut site);
    let resets = sent.iter().filter(|(_, s)| s.tcp().is_some_and(|t| t.flags.rst())).count();
    let opened = sent.iter().filter(|(_, s)| s.tcp().is_some_and(|t| t.flags.opens())).count();
    assert_eq!((opened, resets), (2, 2));
    let (_, syn) = sent.iter().find(|(_, s)| s.dst() == (S1, 443)).unwrap();
    let late = Packet::tcp((S1, 443), syn.src(), 0x12, 9000, syn.tcp().unwrap().seq.wrapping_add(1), b"");
    let answer = site.pass("isp1", &late).unwrap().1;
    assert_eq!((answer.dst(), answer.tcp().unwrap().flags.rst()), ((S1, 443), true));
    site.finish(&[]).unwrap();
}

#[test]
fn a_dead_server_takes_no_room_from_others() {
    let mut site = site(1, &[at(S2, Ask::Tcp { port: 443 }), at(S1, Ask::Tcp { port: 443 })]);
    site.serve("isp1", S2, Server { dead: true, ..server() });
    for round in 0..200 {
        site.ask_target(0, 0, round);
        site.ask_target(0, 1, round);
        let outcomes = site.outcomes();
        assert!(outcomes.contains(&reply(1, round, site.now())), "{round}: {outcomes:?}");
        let lost: Vec<Output> = outcomes.into_iter().filter(|o| matches!(o, Output::Failed(..))).collect();
        assert!(lost.len() <= 1 && (round < 63 || lost.len() == 1), "{round}: {lost:?}");
        site.run_ms(1);
    }
    site.finish(&[]).unwrap();
}

#[test]
fn every_probe_leaves_by_the_wan_that_it_judges() {
    // The targets are behind an inside router, on the LAN, and on the other WAN's link.
    let profile = format!("{DUAL_WAN}routes: [{{ to: 192.0.2.0/24, via: 192.168.10.10 }}]\n");
    let on_lan = Ipv4Addr::new(192, 168, 10, 77);
    let near = [Ipv4Addr::new(203, 0, 113, 5), Ipv4Addr::new(198, 51, 100, 5)];
    for workers in SHAPES {
        let mut site = Site::new(&profile, workers).unwrap();
        let targets: Vec<TargetSpec> = [S1, near[0], near[1], on_lan]
            .into_iter()
            .flat_map(|ip| [icmp(ip), at(ip, Ask::Tcp { port: 443 }), dns(ip, &[]), http(ip, 204)])
            .collect();
        for (link, near) in [("isp1", near[0]), ("isp2", near[1])] {
            site.add_host(link, near);
            for ip in [S1, on_lan, Ipv4Addr::new(203, 0, 113, 5), Ipv4Addr::new(198, 51, 100, 5)] {
                site.serve(link, ip, server());
            }
        }
        site.set_probes(vec![wan(&targets), wan(&targets)], None);
        site.take_all();
        // What is on the link is not known yet: the first question finds it.
        let near_ip = |wan: u8| near[usize::from(wan)];
        let near_at = |wan: u8| if wan == 0 { 4..8 } else { 8..12 };
        for wan in 0..2 {
            site.ask_target(wan, near_at(wan).start, 0);
            site.run_ms(5);
        }
        assert!(
            site.outcomes()
                .iter()
                .any(|o| matches!(o, Output::Failed(_, 4, 0, why) if why.contains("not resolved")))
        );
        site.take_all();
        for (wan, link, own) in [(0, "isp1", P1), (1, "isp2", P2)] {
            for target in 0..16u8 {
                site.ask_target(wan, target, 1);
                site.run_ms(20);
                let outcomes = site.outcomes();
                let answered = outcomes
                    .iter()
                    .any(|o| matches!(o, Output::Reply(w, t, 1, _) if (w.0, *t) == (wan, target)));
                assert!(answered && outcomes.len() == 2, "{link} {target}: {outcomes:?}");
                let sent = probes(&mut site);
                assert!(!sent.is_empty());
                let near = near_at(wan).contains(&target);
                let [.., c, d] = near_ip(wan).octets();
                let next_hop = if near { Mac([2, 0, 0, 3, c, d]) } else { Mac([2, 0, 0, 0, 2, wan + 1]) };
                for (by, seen) in sent {
                    assert_eq!((by.as_str(), seen.ip.src, seen.eth.dst), (link, own, next_hop), "{seen:?}");
                }
            }
        }
        site.finish(&[]).unwrap();
    }
}

#[test]
fn a_wan_without_selection_or_fitness_is_probed_all_the_same() {
    let mut site = site(1, &all_kinds());
    site.run_ms(100);
    site.ask_target(1, 0, 1);
    site.run_ms(10);
    assert!(site.outcomes().contains(&Output::Reply(WanId(1), 0, 1, site.now().since(Nanos::from_ms(10)))));
    site.finish(&[]).unwrap();
}

/// The first probe that is sent to a server that says nothing.
fn unanswered(site: &mut Site, target: u8) -> Seen {
    site.serve("isp1", S1, Server { dead: true, ..server() });
    site.take_all();
    site.ask_target(0, target, 1);
    site.outcomes();
    probes(site).remove(0).1
}

#[test]
fn a_forged_echo_reply_answers_nothing() {
    let mut site = site(2, &all_kinds());
    let probe = unanswered(&mut site, 0);
    let icmp = probe.icmp().unwrap();
    let data = probe.data().to_vec();
    let reply = |src, id, seq, data: &[u8]| Packet::icmp(src, P1, 0, 0, id, seq, data);
    let (mut other_secret, mut other_cookie) = (data.clone(), data.clone());
    (other_secret[0], other_cookie[15]) = (!data[0], !data[15]);
    for forged in [
        reply(ELSEWHERE, icmp.id, icmp.seq, &data),
        reply(S1, icmp.id, icmp.seq, &other_secret),
        reply(S1, icmp.id, icmp.seq, &other_cookie),
        reply(S1, icmp.id, icmp.seq, &data[..15]),
        reply(S1, icmp.id, icmp.seq + 1, &data),
        reply(S1, icmp.id + 1, icmp.seq, &data),
    ] {
        assert_eq!(site.send("isp1", &forged), []);
        assert_eq!(site.outcomes(), [], "{forged:?}");
    }
    // By the other WAN, to its own address and to this one's.
    let good = reply(S1, icmp.id, icmp.seq, &data);
    let mut by_other = good.clone();
    by_other.ip.dst = P2;
    assert_eq!(site.send("isp2", &by_other), []);
    assert_eq!(site.send("isp2", &good), []);
    // A wrong checksum.
    let mut broken = good.clone();
    *broken.payload.last_mut().unwrap() ^= 1;
    assert_eq!(site.send("isp1", &broken), []);
    assert_eq!(site.outcomes(), []);
    site.send("isp1", &good);
    assert_eq!(site.outcomes(), [reply_at(&site, 0, 1)]);
    // Twice is once.
    site.send("isp1", &good);
    assert_eq!(site.outcomes(), []);
    site.finish(&["drop_nat_no_mapping", "drop_wan_transit"]).unwrap();
}

fn reply_at(site: &Site, target: u8, round: u32) -> Output {
    reply(target, round, site.now())
}

#[test]
fn a_forged_dns_answer_answers_nothing() {
    let mut site = site(2, &all_kinds());
    let probe = unanswered(&mut site, 2);
    let mut data = probe.data().to_vec();
    (data[2], data[3]) = (0x81, 0x80);
    let mut other_id = data.clone();
    other_id[0] ^= 1;
    let mut other_name = data.clone();
    other_name[14] ^= 1;
    let (server, own) = ((S1, 53), probe.src());
    let other_port = if own.1 == 0xffff { own.1 - 1 } else { own.1 + 1 };
    for forged in [
        Packet::udp(server, own, &other_id),
        Packet::udp(server, own, &other_name),
        Packet::udp(server, own, probe.data()),
        Packet::udp((S1, 54), own, &data),
        Packet::udp(server, (own.0, other_port), &data),
        Packet::udp((ELSEWHERE, 53), own, &data),
    ] {
        assert_eq!(site.send("isp1", &forged), []);
        assert_eq!(site.outcomes(), [], "{forged:?}");
    }
    assert_eq!(site.send("isp2", &Packet::udp(server, (P2, own.1), &data)), []);
    assert_eq!(site.outcomes(), []);
    site.send("isp1", &Packet::udp(server, own, &data));
    assert_eq!(site.outcomes(), [reply_at(&site, 2, 1)]);
    site.finish(&["drop_nat_no_mapping"]).unwrap();
}

#[test]
fn a_forged_segment_or_icmp_error_neither_answers_a_connection_nor_ends_it() {
    let mut site = site(2, &all_kinds());
    let probe = unanswered(&mut site, 1);
    let (server, own, tcp) = ((S1, 443), probe.src(), probe.tcp().unwrap());
    let segment = |src, flags, ack| Packet::tcp(src, own, flags, 9000, ack, b"");
    for forged in [
        segment(server, RST, 0),
        segment(server, RST | 0x10, tcp.seq),
        segment(server, 0x12, tcp.seq.wrapping_add(7)),
        segment((S1, 444), 0x12, tcp.seq.wrapping_add(1)),
        segment((ELSEWHERE, 443), 0x12, tcp.seq.wrapping_add(1)),
    ] {
        site.send("isp1", &forged);
        assert_eq!(site.outcomes(), [], "{forged:?}");
    }
    let quote = [&probe.header[..], &probe.payload[..8]].concat();
    assert_eq!(site.send("isp1", &Packet::icmp(G1, P1, 3, 1, 0, 0, &quote)), []);
    assert_eq!(site.outcomes(), []);
    site.run_ms(1100);
    // The error is what is known of the silence.
    assert_eq!(site.outcomes(), [failed(1, 1, "host unreachable, says 203.0.113.1")]);
    site.finish(&["drop_nat_no_mapping"]).unwrap();
}

#[test]
fn a_flood_at_the_probes_ports_drowns_neither_the_other_kinds_nor_the_other_wan() {
    let mut site = site(1, &all_kinds());
    for n in 0..3000u32 {
        let frame = site.frame_of("isp1", &Packet::udp((S1, 53), (P1, 0xffc0 + (n % 64) as u16), b"flood"));
        site.put_raw("isp1", &frame);
    }
    site.run_ms(50);
    site.ask_target(0, 0, 1);
    site.ask_target(0, 1, 1);
    site.ask_target(1, 2, 1);
    site.run_ms(5);
    let replies = site.outcomes().into_iter().filter(|o| matches!(o, Output::Reply(..))).count();
    assert_eq!(replies, 3);
    assert!(site.moved("drop_answer_limit") > 2500);
    site.finish(&["drop_answer_limit"]).unwrap();
}

#[test]
fn a_mapping_never_has_a_port_of_the_probes() {
    let mut site = Site::new(&common::unlimited(20_000, ""), 1).unwrap();
    // All 64 512 would take long; of so many one in a thousand would be the probes'.
    for port in 1024..9024 {
        let (_, outside) = udp_out(&mut site, (H1, port), (ELSEWHERE, 443)).unwrap();
        assert!(!OWN_PORTS.contains(&outside.1) && outside.1 != 3784, "{outside:?}");
        let (_, echo) = site.pass("lan", &Packet::ping(H1, ELSEWHERE, port, 1)).unwrap();
        assert!(!OWN_PORTS.contains(&echo.src().1), "{echo:?}");
    }
    site.finish(&common::OPENED).unwrap();
}

#[test]
fn what_is_no_answer_takes_the_way_it_has_without_probes() {
    let profile = format!(
        "{DUAL_WAN}forwards: [{{ wans: [isp1], protocol: [tcp, udp], port: 1-65535, to: \"192.168.10.10\" }}]\n"
    );
    let Ok(mut site) = Site::new(&profile, 1) else { panic!("the profile") };
    site.serve("isp1", S1, server());
    site.set_probes(vec![wan(&all_kinds()), wan(&[])], None);
    // A stranger at a port of the probes gets to the forward's host; an answer does not.
    let (link, seen) = site.pass("isp1", &Packet::udp((ELSEWHERE, 53), (P1, 0xffd0), b"x")).unwrap();
    assert_eq!((link.as_str(), seen.dst().0), ("lan", H1));
    for target in 0..5 {
        let now = site.now();
        assert_eq!(ask(&mut site, target, 1), [sent(target, 1, now), reply(target, 1, now)]);
    }
    site.finish(&["sessions_created"]).unwrap();
}

#[test]
fn a_name_without_an_address_is_not_judged_and_one_that_has_it_is_asked_there() {
    let (resolver, other) = Resolver::pair();
    let mut site = Site::new(DUAL_WAN, 1).unwrap();
    site.serve("isp1", S1, server());
    site.serve("isp1", S2, server());
    let target = TargetSpec { host: Host::Name("probe.example".into()), ask: Ask::Icmp };
    site.set_probes(vec![wan(&[target]), wan(&[])], Some(resolver));
    site.run_ms(1);
    assert_eq!(other.asked.try_recv().as_deref(), Ok("probe.example"));
    let why = "probe.example has no address yet".to_string();
    assert_eq!(ask(&mut site, 0, 1), [Output::Unresolved(WanId(0), 0, 1, why)]);
    other.say.send(("probe.example".into(), Err("no such host".into()))).unwrap();
    let why = "probe.example does not resolve: no such host".to_string();
    site.run_ms(1);
    assert_eq!(ask(&mut site, 0, 2), [Output::Unresolved(WanId(0), 0, 2, why)]);
    other.say.send(("probe.example".into(), Ok(vec![S1, S2]))).unwrap();
    site.run_ms(1);
    let now = site.now();
    assert_eq!(ask(&mut site, 0, 3), [sent(0, 3, now), reply(0, 3, now)]);
    // It keeps its address as long as that is one of them, and when there is no answer.
    other.say.send(("probe.example".into(), Err("timeout".into()))).unwrap();
    other.say.send(("probe.example".into(), Ok(vec![S2, S1]))).unwrap();
    site.run_ms(1);
    assert_eq!(site.view().probing.wans[0].targets, [S1]);
    other.say.send(("probe.example".into(), Ok(vec![S2]))).unwrap();
    site.run_ms(1);
    assert_eq!(site.view().probing.wans[0].targets, [S2]);
    let now = site.now();
    assert_eq!(ask(&mut site, 0, 4), [sent(0, 4, now), reply(0, 4, now)]);
    site.finish(&[]).unwrap();
}

#[test]
fn a_gateway_that_is_not_there_is_a_probe_without_an_answer() {
    let mut site = site(1, &all_kinds());
    site.set_silent("isp1", true);
    site.run_ms(40_000);
    // Where it was, as long as it is asked for.
    let now = site.now();
    assert_eq!(ask(&mut site, 0, 1), [sent(0, 1, now), failed(0, 1, "no answer")]);
    site.run_ms(2_000);
    let now = site.now();
    let why = "next hop 203.0.113.1 not resolved";
    assert_eq!(ask(&mut site, 0, 2), [sent(0, 2, now), failed(0, 2, why)]);
    site.set_silent("isp1", false);
    site.run_ms(1_500);
    let now = site.now();
    assert_eq!(ask(&mut site, 0, 3), [sent(0, 3, now), reply(0, 3, now)]);
}

/// A BFD packet of the first gateway's (RFC 5880 4.1).
fn bfd(state: u8, yours: u32, ms: u32) -> Packet {
    let mut data = vec![0x20, state << 6, 3, 24];
    for word in [77, yours, ms * 1000, ms * 1000, 0] {
        data.extend(word.to_be_bytes());
    }
    Packet::udp((G1, 50_000), (P1, 3784), &data).ttl(255)
}

/// State, its discriminators and the shortest and longest time between two of the BFD packets sent in so many ms.
fn bfd_sent(site: &mut Site, ms: u64, manager: bool) -> Vec<(u64, u8, u32)> {
    let mut all = Vec::new();
    for n in 0..ms {
        if manager {
            site.run_ms(1)
        } else {
            site.run_without_manager(1)
        }
        for (link, seen) in probes(site).into_iter().filter(|(_, s)| s.dst().1 == 3784) {
            assert_eq!((link.as_str(), seen.ip.src, seen.dst(), seen.ip.ttl), ("isp1", P1, (G1, 3784), 255));
            let mine = u32::from_be_bytes(seen.data()[4..8].try_into().unwrap());
            all.push((n, seen.data()[1] >> 6, mine));
        }
    }
    all
}

#[test]
fn a_bfd_session_comes_up_outlives_a_stall_and_ends_when_the_neighbour_falls_silent() {
    let mut site = Site::new(DUAL_WAN, 2).unwrap();
    let config = Bfd { peer: G1, every: Nanos::from_ms(100), multiplier: 3 };
    site.set_probes(vec![WanProbes { bfd: Some(config), ..wan(&[]) }, wan(&[])], None);
    let slow = bfd_sent(&mut site, 10_000, true);
    assert!((10..=14).contains(&slow.len()) && slow.iter().all(|(_, state, _)| *state == 1), "{slow:?}");
    let mine = slow[0].2;
    // What crossed a router, is another session's, or comes from elsewhere.
    let mut elsewhere = bfd(1, 0, 100);
    elsewhere.ip.src = Ipv4Addr::new(203, 0, 113, 6);
    for forged in [bfd(1, 0, 100).ttl(254), bfd(3, mine + 1, 100), elsewhere] {
        site.send("isp1", &forged);
        assert_eq!(site.outcomes(), []);
    }
    site.send("isp1", &bfd(1, 0, 100));
    site.send("isp1", &bfd(2, mine, 100));
    assert_eq!(site.outcomes(), [Output::Bfd(WanId(0), BfdSays::Up)]);
    site.send("isp1", &bfd(3, mine, 100));
    // Time passes for the workers only: what is repeated goes on being said.
    let fast = bfd_sent(&mut site, 1000, false);
    assert!((10..=14).contains(&fast.len()) && fast.iter().all(|(_, state, _)| *state == 3), "{fast:?}");
    let frame = site.frame_of("isp1", &bfd(3, mine, 100));
    site.put_raw("isp1", &frame);
    site.run_without_manager(1);
    site.run_ms(299);
    assert_eq!(site.outcomes(), []);
    site.run_ms(2);
    assert_eq!(site.outcomes(), [Output::Bfd(WanId(0), BfdSays::Lost)]);
    site.take_all();
    let slow = bfd_sent(&mut site, 5_000, true);
    assert!((5..=8).contains(&slow.len()) && slow.iter().all(|(_, state, _)| *state == 1), "{slow:?}");
    site.set_probes(vec![wan(&[]), wan(&[])], None);
    assert_eq!(bfd_sent(&mut site, 5_000, true), []);
    site.finish(&["drop_nat_no_mapping"]).unwrap();
}

/// A way that is always there.
fn a_way(_: WanId, to: Ipv4Addr) -> Option<Way> {
    let (mac, next_mac) = (Mac([2, 0, 0, 0, 1, 1]), Some(Mac([2, 0, 0, 0, 2, 1])));
    Some(Way { src: P1, mac, mtu: 1500, next_hop: to, next_mac, confirm: false })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_is_too_odd(
        frames in prop::collection::vec((0usize..5, prop::collection::vec(any::<u8>(), 0..90), any::<u16>(), any::<bool>()), 1..40),
    ) {
        let bfd = Some(Bfd { peer: G1, every: Nanos::from_ms(100), multiplier: 3 });
        let mut probes = Probes::new(None, 5);
        probes.renew(vec![WanProbes { bfd, ..wan(&all_kinds()) }]);
        let mut now = Nanos::from_s(1);
        for (n, (kind, bytes, place, whole)) in frames.into_iter().enumerate() {
            now += Nanos::from_ms(50);
            let mut sent = Vec::new();
            let mut out = |output: Output| if let Output::Send(_, frame, Some(_)) = output { sent.push(frame) };
            probes.ask(now, (WanId(0), kind as u8, n as u32), &a_way, &mut out);
            probes.tick(now, &a_way, &mut out);
            let Some(seen) = sent.first().and_then(|frame| Seen::read(frame)) else { continue };
            let (there, here) = (seen.dst(), seen.src());
            let tcp = seen.tcp().map_or((0, 0), |tcp| (tcp.seq.wrapping_add(u32::from(place & 3)), u32::from(place)));
            let flags = bytes.first().copied().unwrap_or(0x12);
            let answers = [
                Packet::tcp(there, here, 0x12, 9000, tcp.0, &[]),
                Packet::tcp(there, here, flags, 9001u32.wrapping_add(tcp.1), tcp.0, &bytes),
                Packet::udp(there, here, &bytes),
                Packet::udp((G1, 50_000), (P1, 3784), &bytes),
                Packet::icmp(there.0, P1, flags, 1, here.1, n as u16, &bytes),
            ];
            for mut packet in answers {
                // Header bytes as they may be, options and lengths included; half of them with right checksums all the same.
                let at = usize::from(place) % packet.payload.len().max(1);
                if let (Some(byte), Some(by)) = (packet.payload.get_mut(at), bytes.last()) {
                    *byte ^= by;
                }
                if whole && packet.ip.protocol == 6 {
                    put16(&mut packet.payload, 16, 0);
                    let sum = checksum::transport(packet.ip.src, packet.ip.dst, 6, &packet.payload);
                    put16(&mut packet.payload, 16, sum);
                }
                let frame = packet.frame(Mac([2, 0, 0, 0, 2, 1]), Mac([2, 0, 0, 0, 1, 1]));
                probes.heard(now, WanId(0), &frame, now, &mut |_| {});
            }
            probes.heard(now, WanId(0), &bytes, now, &mut |_| {});
            prop_assert!(probes.next_deadline(now) > Nanos::ZERO);
        }
        probes.tick(now + Nanos::from_s(5), &a_way, &mut |_| {});
    }

    #[test]
    fn no_server_is_too_odd(
        opens in any::<bool>(), base in any::<u32>(),
        segments in prop::collection::vec(
            (-4i32..1600, -3i32..130, any::<u8>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..40), 0usize..1400, 0u64..900), 1..30),
    ) {
        let mut probes = Probes::new(None, 5);
        probes.renew(vec![WanProbes { timeout: Nanos::from_s(20), ..wan(&all_kinds()) }]);
        let mut now = Nanos::from_s(1);
        let mut sent: Vec<Seen> = Vec::new();
        let ask = (WanId(0), 4, 1);
        probes.ask(now, ask, &a_way, &mut |o| if let Output::Send(_, f, _) = o { sent.extend(Seen::read(&f)) });
        let syn = sent.remove(0);
        let (there, here, seq) = (syn.dst(), syn.src(), syn.tcp().unwrap().seq.wrapping_add(1));
        let first = opens.then(|| Packet::tcp(there, here, 0x12, base, seq, b""));
        let odd = segments.into_iter().map(|(at, ack, flags, window, options, length, ms)| {
            // Most are plain, so that the connection goes on for a while.
            let flags = if flags & 0xc0 == 0 { flags } else { 0x10 | flags & 0x21 };
            let mut data = options.clone();
            data.resize(options.len() / 4 * 4, 0);
            data.extend(std::iter::repeat_n(b'x', length));
            let at = base.wrapping_add(1).wrapping_add_signed(at);
            let mut packet = Packet::tcp(there, here, flags, at, seq.wrapping_add_signed(ack), &data);
            put16(&mut packet.payload, 14, window);
            packet.payload[12] = (5 + (options.len() / 4) as u8) << 4;
            (packet, ms)
        });
        for (mut packet, ms) in first.into_iter().map(|packet| (packet, 0)).chain(odd) {
            now += Nanos::from_ms(ms);
            put16(&mut packet.payload, 16, 0);
            let sum = checksum::transport(packet.ip.src, packet.ip.dst, 6, &packet.payload);
            put16(&mut packet.payload, 16, sum);
            let frame = packet.frame(Mac([2, 0, 0, 0, 2, 1]), Mac([2, 0, 0, 0, 1, 1]));
            probes.heard(now, WanId(0), &frame, now, &mut |_| {});
            probes.tick(now, &a_way, &mut |_| {});
            probes.next_deadline(now);
        }
    }
}
