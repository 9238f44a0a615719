//! ICMP errors about flows that are not plainly masqueraded: hairpinned, forwarded, with an address of their own, without ports,
//! untranslated. Every flow is a session, so its errors find it as those of others do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/quotes.rs"]
mod quotes;
use quotes::*;

use std::net::Ipv4Addr;

const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);
const ONE: &str =
    "one_to_one: [{ wan: isp1, outside: 203.0.113.4, inside: 192.168.10.10, when_down: drop }]\n";
const FORWARD: &str =
    "forwards: [{ wans: [isp1, isp2], protocol: [tcp, udp], port: 8443, to: \"192.168.10.11:443\" }]\n";

/// Runs a test on each of the `SHAPES`.
fn each(text: &str, test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        let mut site = Site::new(&format!("{DUAL_WAN}{text}"), workers).unwrap();
        meet(&mut site);
        site.use_queue(queue);
        test(site);
    }
}

/// Errors about a flow in both directions come out as they would without a NAT.
fn told_both_ways(site: &mut Site, flow: &Flow) {
    let before = digest(site);
    for (says, quote) in [(PORT, whole()), (Says(3, 4, 1300), eight()), (Says(11, 0, 0), eight())] {
        let (came, told) = flow.told_inside(Q, says, b"what was sent", &quote);
        let (link, seen) = site.pass(flow.link, &came).unwrap();
        assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst), ("lan", Q, flow.inside.0));
        assert_eq!(seen.payload, told);
        let (came, told) = flow.told_outside(flow.inside.0, says, b"what was got", &quote);
        let (link, seen) = site.pass("lan", &came).unwrap();
        assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst), (flow.link, flow.outside.0, flow.remote.0));
        assert_eq!(seen.payload, told);
    }
    assert_eq!(digest(site), before);
    assert!(flow.works(site));
}

/// `inside` refuses what came from `x1`, which is another inside host, by its own place `x2`; that one has to be told.
fn refuse(site: &mut Site, kind: Kind, inside: End, x2: End, x1: End, other: End) {
    let flow = Flow { kind, inside: other, outside: x1, remote: x2, link: "isp1" };
    let before = digest(site);
    for says in [PORT, Says(3, 4, 1300), Says(11, 1, 0)] {
        for quote in [whole(), eight()] {
            let got = Flow { remote: inside, ..flow }.out(x1, b"hello");
            let error = says.packet(inside.0, x1.0, &quote.bytes(&got));
            let (link, seen) = site.pass("lan", &error).unwrap();
            assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst, seen.ip.ttl), ("lan", x2.0, other.0, 63));
            let sent = says.packet(x2.0, other.0, &quote.bytes(&flow.out(other, b"hello")));
            assert_eq!(seen.payload, sent.payload);
        }
    }
    assert_eq!(digest(site), before);
}

#[test]
fn rfc5508_7_2_an_inside_host_refuses_what_was_hairpinned_and_rfc5508_7a_the_other_one_is_told() {
    each(FORWARD, |mut site| {
        let (_, x2) = udp_out(&mut site, (H2, 53), (E1, 80)).unwrap();
        let (_, seen) = site.pass("lan", &Packet::udp((H1, 5000), x2, b"hello")).unwrap();
        assert_eq!(seen.dst(), (H2, 53));
        refuse(&mut site, Kind::Udp, (H2, 53), x2, seen.src(), (H1, 5000));
        // by a mapping in TCP, and by a forward on either WAN
        let (_, x2) = connect(&mut site, (H2, 80), (E1, 443));
        for (port, inside, x2) in [(5001, 80, x2), (5002, 443, (P1, 8443)), (5003, 443, (P2, 8443))] {
            let (_, syn) = tcp_out(&mut site, (H1, port), x2, SYN, 1, 0).unwrap();
            assert_eq!(syn.dst(), (H2, inside));
            refuse(&mut site, Kind::Tcp, (H2, inside), x2, syn.src(), (H1, port));
        }
        site.finish(&TOLD).unwrap();
    });
}

#[test]
fn rfc5508_7_2_about_nothing_that_was_hairpinned_nobody_is_told() {
    each("", |mut site| {
        let (_, x1) = udp_out(&mut site, (H1, 5000), (E1, 80)).unwrap();
        let before = digest(&mut site);
        let error = PORT.packet(H2, x1.0, &whole().bytes(&Packet::udp(x1, (H2, 53), b"hello")));
        assert_eq!(site.send("lan", &error), []);
        let error = error.ttl(1);
        assert_eq!(site.send("lan", &error), []);
        assert_eq!(digest(&mut site), before);
        site.finish(&and(&[&OPENED, &["drop_icmp_error_no_session"]])).unwrap();
    });
}

#[test]
fn rfc5508_4a_and_rfc5508_5a_a_forward_that_was_asked_is_told_and_tells() {
    each(FORWARD, |mut site| {
        let flow =
            Flow { kind: Kind::Udp, inside: (H2, 443), outside: (P2, 8443), remote: (E1, 999), link: "isp2" };
        assert!(site.pass("isp2", &flow.back(flow.outside, b"?")).is_some());
        // Nobody has answered yet: a closed port
        let (came, told) = flow.told_outside(H2, PORT, b"?", &whole());
        assert_eq!(site.pass("lan", &came).unwrap().1.payload, told);
        assert!(site.pass("lan", &flow.out(flow.inside, b"!")).is_some());
        told_both_ways(&mut site, &flow);
        site.finish(&["sessions_created", "icmp_errors_translated"]).unwrap();
    });
}

#[test]
fn rfc5508_4c_a_host_with_an_address_of_its_own_is_told_in_every_protocol() {
    each(ONE, |mut site| {
        for kind in KINDS {
            let flow =
                Flow { kind, inside: (H1, 5000), outside: (OWN, 5000), remote: (E1, 80), link: "isp1" };
            match kind {
                Kind::Tcp => assert_eq!(connect(&mut site, flow.inside, flow.remote).1, flow.outside),
                _ => assert_eq!(site.pass("lan", &flow.out(flow.inside, b"")).unwrap().1.src(), flow.outside),
            }
            told_both_ways(&mut site, &flow);
        }
        // ESP: no ports, and nothing in the quote but the addresses
        let sealed = |src, dst| {
            let mut packet = Packet::udp((H1, 1), (E2, 2), b"sealed");
            (packet.ip.protocol, packet.ip.src, packet.ip.dst) = (50, src, dst);
            packet
        };
        assert_eq!(site.pass("lan", &sealed(H1, E2)).unwrap().1.ip.src, OWN);
        for quote in [whole(), eight(), Quoting { cut: Some(0), ..whole() }] {
            let (_, seen) = site.pass("isp1", &PORT.packet(Q, OWN, &quote.bytes(&sealed(OWN, E2)))).unwrap();
            assert_eq!(seen.payload, PORT.packet(Q, H1, &quote.bytes(&sealed(H1, E2))).payload);
            let (_, seen) = site.pass("lan", &PORT.packet(H1, E2, &quote.bytes(&sealed(E2, H1)))).unwrap();
            assert_eq!(seen.payload, PORT.packet(OWN, E2, &quote.bytes(&sealed(E2, OWN))).payload);
            assert_eq!(seen.ip.src, OWN);
        }
        site.finish(&["sessions_created", "icmp_errors_translated"]).unwrap();
    });
}

#[test]
fn errors_about_what_goes_untranslated_go_as_they_are() {
    each("nat: { except: [{ from: 192.168.10.0/24, to: 9.9.9.0/24 }] }\n", |mut site| {
        for kind in KINDS {
            let flow = Flow { kind, inside: (H1, 5000), outside: (H1, 5000), remote: (E1, 80), link: "isp1" };
            match kind {
                Kind::Tcp => assert_eq!(connect(&mut site, flow.inside, flow.remote).1, flow.outside),
                _ => assert!(site.pass("lan", &flow.out(flow.inside, b"")).is_some()),
            }
            told_both_ways(&mut site, &flow);
            // An inside router that goes untranslated as well says who it is.
            let (came, told) = flow.told_outside(H2, Says(11, 0, 0), b"", &eight());
            let (link, seen) = site.pass("lan", &came).unwrap();
            assert_eq!((link.as_str(), seen.ip.src, seen.payload), ("isp1", H2, told));
        }
        // What nobody inside has sent is no reason to be let in.
        let other =
            Flow { kind: Kind::Udp, inside: (H2, 9), outside: (H2, 9), remote: (E1, 80), link: "isp1" };
        assert_eq!(site.send("isp1", &other.told_inside(Q, PORT, b"", &whole()).0), []);
        site.finish(&["sessions_created", "icmp_errors_translated", "drop_icmp_error_no_session"]).unwrap();
    });
}
