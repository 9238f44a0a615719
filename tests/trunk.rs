//! Several interfaces on one port: tags on and off, what is for nobody, and everything else as on ports of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
#[path = "common/pieces.rs"]
mod pieces;
use common::*;
use pieces::*;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use turnout::base::{IfaceId, Mac};
use turnout::engine::{BURST, Layout, Member, Ports, Trunk};
use turnout::packet::{PacketBuf, VecBuf};
use turnout::wire::arp::{Arp, Op};

/// Three interfaces on one port, two of them tagged, and one on another.
const TRUNKED: &str = "version: 1
interfaces:
  lan:   { port: \"linux:p0\", addresses: [192.168.10.1/24] }
  voice: { port: \"linux:p0\", vlan: 30, addresses: [192.168.30.1/24] }
  isp2:  { port: \"linux:p1\", addresses: [198.51.100.2/29], gateway: 198.51.100.1 }
  isp1:  { port: \"linux:p0\", vlan: 101, addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
wans: [isp1, isp2]
groups: { default: { failback: { after: 0s }, when_none_fit: unreachable } }
on_failover: { tcp: { reset_after: 0s } }
forwards: [{ wans: [isp1], protocol: [udp], port: 9000, to: \"192.168.10.10:9000\" }]
";
const PHONE: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 5);
const VOICE: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 1);

fn trunked(workers: usize, queue: usize) -> Site {
    trunked_by(TRUNKED, workers, queue)
}

fn trunked_by(profile: &str, workers: usize, queue: usize) -> Site {
    let mut site = Site::new(profile, workers).unwrap();
    site.add_host("voice", PHONE);
    site.use_queue(queue);
    meet(&mut site);
    site.pass("voice", &Packet::ping(PHONE, VOICE, 1, 1)).unwrap();
    site
}

fn each(test: impl Fn(Site)) {
    for (workers, queue) in SHAPES {
        test(trunked(workers, queue));
    }
}

/// A frame with a tag before its type.
fn with_tag(frame: &[u8], kind: u16, tci: u16) -> Vec<u8> {
    let mut out = frame.to_vec();
    let ([a, b], [c, d]) = (kind.to_be_bytes(), tci.to_be_bytes());
    out.splice(12..12, [a, b, c, d]);
    out
}

#[test]
fn flows_go_both_ways_between_vlans_of_one_port_and_other_ports() {
    each(|mut site| {
        for (n, (link, host)) in [("lan", H1), ("voice", PHONE), ("lan", H2)].into_iter().enumerate() {
            let src = (host, 5000 + n as u16);
            for round in 0..3 {
                let (out, seen) = site.pass(link, &Packet::udp(src, (E1, 53), b"question")).unwrap();
                assert_eq!((out.as_str(), seen.ip.src), ("isp1", P1), "{round}");
                let (back, seen) = site.pass("isp1", &Packet::udp((E1, 53), seen.src(), b"answer")).unwrap();
                assert_eq!((back.as_str(), seen.dst()), (link, src));
            }
        }
        // Between two inside interfaces of one port
        let (link, seen) = site.pass("voice", &Packet::udp((PHONE, 1), (H1, 2), b"x")).unwrap();
        assert_eq!((link.as_str(), seen.ip.src), ("lan", PHONE));
        // and by an outside address (RFC 4787 6)
        let (link, seen) = site.pass("voice", &Packet::udp((PHONE, 7), (P1, 9000), b"x")).unwrap();
        assert_eq!((link.as_str(), seen.ip.src, seen.dst()), ("lan", P1, (H1, 9000)));
        // The line on the trunk is lost with its port; the other port has one, too.
        let (link, _) = connect_from(&mut site, "voice", (PHONE, 6000));
        assert_eq!(link, "isp1");
        site.set_silent("isp1", true);
        site.run_ms(2000);
        let (link, seen) = site.pass("lan", &Packet::udp((H1, 5000), (E1, 53), b"x")).unwrap();
        assert_eq!((link.as_str(), seen.ip.src), ("isp2", P2));
    });
}

fn connect_from(site: &mut Site, link: &str, src: End) -> (String, Seen) {
    site.pass(link, &Packet::tcp(src, (E1, 80), SYN, 1, 0, b"")).unwrap()
}

#[test]
fn arp_and_errors_and_echoes_stay_on_their_vlan() {
    each(|mut site| {
        let mac = Mac([2, 0, 0, 3, 30, 5]);
        let ask = |ip| Arp::request(mac, PHONE, ip, None);
        let said = |site: &mut Site, link: &str, ip| -> Vec<String> {
            let out = site.send_raw(link, &ask(ip));
            out.into_iter().filter(|(_, f)| f[21] == Op::Reply as u8 + 1).map(|(link, _)| link).collect()
        };
        assert_eq!(said(&mut site, "voice", VOICE), ["voice"]);
        assert_eq!(said(&mut site, "voice", LAN), [""; 0]);
        assert_eq!(said(&mut site, "lan", VOICE), [""; 0]);
        let (link, seen) = site.pass("voice", &Packet::udp((PHONE, 1), (E1, 2), b"").ttl(1)).unwrap();
        assert_eq!((link.as_str(), seen.ip.src, error(&seen)), ("voice", VOICE, Some((11, 0, 0))));
        // What has another VLAN's address comes from elsewhere.
        assert_eq!(site.send("lan", &Packet::udp((PHONE, 1), (E1, 2), b"")), []);
        let counters =
            ["arp_not_for_us", "arp_malformed", "ttl_expired", "spoofed_source"].map(|c| format!("drop_{c}"));
        let mut moved: Vec<&str> = counters.iter().map(String::as_str).collect();
        moved.push("icmp_errors_sent");
        site.finish(&moved).unwrap();
    });
}

#[test]
fn a_priority_is_no_vlan_and_a_frame_for_nobody_is_counted() {
    each(|mut site| {
        let question = Packet::udp((H1, 5000), (E1, 53), b"question");
        let frame = site.frame_of("lan", &question);
        for tci in [0, 0xe000, 0x1000] {
            site.put_as_is("lan", &with_tag(&frame, 0x8100, tci));
            assert_eq!(taken(&mut site).len(), 1, "{tci:x}");
        }
        // On a port of its own as well, of a flow that is known
        let x = site.pass("lan", &question).unwrap().1.src();
        let answer = site.frame_of("isp1", &Packet::udp((E1, 53), x, b"answer"));
        site.put_as_is("isp1", &with_tag(&answer, 0x8100, 0xa000 | 101));
        assert_eq!(taken(&mut site)[0].1.dst(), (H1, 5000));
        let reply = site.frame_of("isp2", &Packet::icmp(E1, P2, 8, 0, 1, 1, b"echo"));
        site.put_as_is("isp2", &with_tag(&reply, 0x8100, 0x6000));
        assert_eq!(taken(&mut site)[0].0, "isp2");
        let double = with_tag(&with_tag(&frame, 0x8100, 30), 0x8100, 30);
        let strange = [
            ("lan", with_tag(&frame, 0x8100, 31)),
            ("lan", with_tag(&frame, 0x8100, 4095)),
            ("lan", with_tag(&frame, 0x88a8, 30)),
            ("lan", with_tag(&frame, 0x88a8, 0)),
            ("lan", double.clone()),
            ("lan", with_tag(&with_tag(&frame, 0x8100, 0), 0x8100, 0)),
            ("lan", with_tag(&with_tag(&frame, 0x88a8, 30), 0x8100, 30)),
            ("isp2", with_tag(&reply, 0x8100, 7)),
            ("isp2", with_tag(&reply, 0x88a8, 0)),
            ("isp2", with_tag(&with_tag(&reply, 0x8100, 0), 0x8100, 0)),
        ];
        for (n, (link, frame)) in strange.iter().enumerate() {
            let before = (site.moved("rx_packets"), site.moved("drop_vlan"));
            site.put_as_is(link, frame);
            assert_eq!(taken(&mut site), [], "{n}");
            let after = (site.moved("rx_packets"), site.moved("drop_vlan"));
            assert_eq!(after, (before.0 + 1, before.1 + 1), "{n}");
        }
        // Tags without a frame in them
        let short = with_tag(&frame[..12], 0x8100, 30);
        for length in [12, 13, 15, 16, 17] {
            site.put_as_is("lan", &short[..length.min(short.len())]);
        }
        site.finish(&and(&[&OPENED, &["drop_vlan"]])).unwrap();
    });
}

#[test]
fn where_every_interface_is_tagged_a_frame_without_is_for_nobody() {
    let profile = TRUNKED.replace(
        "\"linux:p0\", addresses: [192.168.10.1/24]",
        "\"linux:p0\", vlan: 10, addresses: [192.168.10.1/24]",
    );
    for (workers, queue) in SHAPES {
        let mut site = trunked_by(&profile, workers, queue);
        let packet = Packet::udp((H1, 5000), (E1, 53), b"question");
        assert_eq!(site.pass("lan", &packet).unwrap().0, "isp1");
        let frame = site.frame_of("lan", &packet);
        site.put_as_is("lan", &frame);
        site.put_as_is("lan", &with_tag(&frame, 0x8100, 0));
        assert_eq!(taken(&mut site), []);
        assert_eq!(site.moved("drop_vlan"), 2);
        site.finish(&and(&[&OPENED, &["drop_vlan"]])).unwrap();
    }
}

#[test]
fn the_longest_frames_and_fragments_pass_with_their_tags() {
    each(|mut site| {
        let long = Packet::udp((PHONE, 5000), (E1, 53), &data(1472));
        assert_eq!(site.frame_of("voice", &long).len(), 1514, "1522 with tag and check sequence");
        let (_, seen) = site.pass("voice", &long).unwrap();
        assert_eq!((seen.ip.total_len, seen.data()), (1500, &data(1472)[..]));
        let reply = Packet::udp((E1, 53), seen.src(), &data(1472));
        assert_eq!(site.pass("isp1", &reply).unwrap().1.data(), data(1472));
        // In fragments, both ways
        let question = Packet::udp((PHONE, 5000), (E1, 53), &data(3500));
        let out = all_by("isp1", send_all(&mut site, "voice", &fragments(&question, 77, 1480)));
        assert_eq!(whole(&out).unwrap().data(), data(3500));
        let answer = Packet::udp((E1, 53), seen.src(), &data(3500));
        let out = all_by("voice", send_all(&mut site, "isp1", &fragments(&answer, 78, 1480)));
        assert_eq!(whole(&out).unwrap().dst(), (PHONE, 5000));
        site.finish(&OPENED).unwrap();
    });
    // What a smaller link cannot carry is cut, or told.
    let narrow = TRUNKED.replace("vlan: 101,", "vlan: 101, mtu: 600,");
    let mut site = trunked_by(&narrow, 2, 1);
    let mut long = Packet::udp((PHONE, 5000), (E1, 53), &data(1200));
    let (link, seen) = site.pass("voice", &long).unwrap();
    assert_eq!((link.as_str(), error(&seen)), ("voice", Some((3, 4, 600))));
    long.ip.dont_fragment = false;
    let out = all_by("isp1", site.send("voice", &long));
    assert_eq!((out.len(), whole(&out).unwrap().data()), (3, &data(1200)[..]));
}

#[test]
fn nobody_waits_for_another_and_the_order_of_arrival_is_kept() {
    each(|mut site| {
        let mut count = |link: &str, host: Ipv4Addr, n: u16| {
            let frame = site.frame_of(link, &Packet::udp((host, 5000), (E1, 53), &n.to_be_bytes()));
            site.put_raw(link, &frame);
        };
        for n in 0..300u16 {
            count("lan", H1, n);
            count("lan", H2, n);
            if n % 10 == 0 {
                count("voice", PHONE, n);
            }
        }
        site.run_ms(5);
        let out = taken(&mut site);
        assert_eq!(out.len(), 630);
        for (host, step) in [(H1, 1), (H2, 1), (PHONE, 10)] {
            // Each host has a port of its own.
            let port = |seen: &Seen| seen.src().1;
            let mut flows: Vec<u16> = out.iter().map(|(_, seen)| port(seen)).collect();
            flows.sort_unstable();
            flows.dedup();
            assert_eq!(flows.len(), 3);
            let of = |flow: u16| -> Vec<u16> {
                let all = out.iter().filter(|(_, seen)| port(seen) == flow);
                all.map(|(_, seen)| u16::from_be_bytes([seen.data()[0], seen.data()[1]])).collect()
            };
            let wanted: Vec<u16> = (0..300).step_by(step).collect();
            assert!(flows.iter().any(|flow| of(*flow) == wanted), "{host}");
        }
        // A full queue: what does not fit is dropped, as the frame that it was.
        site.set_room("isp1", Some(2));
        for n in 0..5u16 {
            let frame = site.frame_of("voice", &Packet::udp((PHONE, 5000), (E1, 53), &n.to_be_bytes()));
            site.put_raw("voice", &frame);
        }
        site.run_ms(1);
        site.set_room("isp1", None);
        assert_eq!((taken(&mut site).len(), site.moved("drop_tx_full")), (2, 3));
        site.finish(&and(&[&OPENED, &["drop_tx_full"]])).unwrap();
    });
}

#[test]
fn the_link_of_a_port_is_that_of_all_its_interfaces() {
    let mut site = trunked(2, 1);
    site.set_link("lan", false);
    let view = site.view();
    let up: Vec<bool> = view.ifaces.iter().map(|iface| iface.up).collect();
    assert_eq!(up, [false, false, true, false]);
    site.set_link("isp1", true);
    site.run_ms(1000);
    assert!(site.view().ifaces.iter().all(|iface| iface.up));
}

/// A port's frames, in and out.
#[derive(Default)]
struct Wires {
    to: Vec<VecDeque<VecBuf>>,
    sent: Vec<Vec<Vec<u8>>>,
    room: usize,
}

impl Ports for Wires {
    type Buf = VecBuf;
    fn receive(&mut self, port: IfaceId, into: &mut Vec<VecBuf>) {
        let queue = &mut self.to[port.index()];
        into.extend(queue.drain(..queue.len().min(BURST)));
    }
    fn send(&mut self, port: IfaceId, from: &mut Vec<VecBuf>) {
        let fits = from.len().min(self.room);
        self.sent[port.index()].extend(from.drain(..fits).map(|buf| buf.bytes().to_vec()));
    }
    fn alloc(&mut self) -> Option<VecBuf> {
        None
    }
}

fn layout() -> Layout {
    let member = |port, vlan| Member { port, vlan, sources: None };
    let arm = Member { port: 1, vlan: Some(9), sources: Some(vec!["10.1.0.0/16".parse().unwrap()]) };
    Layout::new(&[member(0, None), member(0, Some(30)), member(1, Some(9)), arm, member(2, None)])
}

/// A frame with a few tags, of IPv4, ARP or anything, from some address.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(0x8100u16), Just(0x88a8), Just(0x0800), Just(0x0806), any::<u16>()];
    let tci = prop_oneof![Just(0u16), Just(9), Just(30), Just(0xe009), Just(4095), any::<u16>()];
    let tags = prop::collection::vec((kind.clone(), tci), 0..3);
    let inside = prop_oneof![Just(true), Just(false)];
    (prop::collection::vec(any::<u8>(), 60..120), tags, kind, inside, 0usize..130).prop_map(
        |(mut bytes, tags, kind, inside, length)| {
            bytes[12..14].copy_from_slice(&kind.to_be_bytes());
            if inside {
                // The source of IPv4, and the sender of ARP
                bytes[26..28].copy_from_slice(&[10, 1]);
                bytes[28..30].copy_from_slice(&[10, 1]);
            }
            for (kind, tci) in tags {
                bytes = with_tag(&bytes, kind, tci);
            }
            bytes.truncate(length.max(1));
            bytes
        },
    )
}

proptest! {
    #[test]
    fn every_frame_goes_to_one_interface_as_its_tag_says_or_is_a_stray(
        given in prop::collection::vec(frames(), 1..200), port in 0usize..3, by_nic in any::<bool>(),
    ) {
        let to = (0..3).map(|_| VecDeque::new()).collect();
        let mut trunk = Trunk::new(Wires { to, sent: vec![Vec::new(); 3], room: 0 }, Arc::new(layout()));
        let tag = |frame: &[u8]| -> Option<u16> {
            (frame.len() >= 18 && frame[12..14] == [0x81, 0]).then(|| u16::from_be_bytes([frame[14], frame[15]]) & 0xfff)
        };
        for frame in &given {
            // A NIC that takes tags off is asked to only where they are looked at.
            trunk.ports().to[port].push_back(match tag(frame).filter(|_| by_nic && port != 2) {
                Some(vlan) => VecBuf::new(&[&frame[..12], &frame[16..]].concat()).taken_off(vlan),
                None => VecBuf::new(frame),
            });
        }
        let mut got: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 5];
        for _ in 0..given.len() {
            for (iface, got) in got.iter_mut().enumerate() {
                let mut into = Vec::new();
                trunk.receive(IfaceId(iface as u8), &mut into);
                got.extend(into.iter().map(|buf| buf.bytes().to_vec()));
            }
        }
        let mut wanted: Vec<Vec<Vec<u8>>> = vec![Vec::new(); 5];
        let mut strays = 0;
        for frame in &given {
            if port == 2 {
                wanted[4].push(frame.clone());
                continue;
            }
            let vlan = tag(frame);
            let mut plain = frame.clone();
            if vlan.is_some() {
                plain.drain(12..16);
            }
            let kind = plain.get(12..14).map_or(0, |k| u16::from_be_bytes([k[0], k[1]]));
            let whole = plain.len() >= 14 && kind != 0x8100 && kind != 0x88a8;
            let at = |at: usize| plain.get(at..at + 2) == Some(&[10, 1]);
            let arp_inside = Arp::parse(plain.get(14..).unwrap_or_default())
                .is_some_and(|arp| arp.sender_ip.octets().starts_with(&[10, 1]));
            let inside = (kind == 0x0800 && at(26) && plain.len() >= 30) || (kind == 0x0806 && arp_inside);
            match (port, vlan.unwrap_or(0)) {
                (0, 0) if whole => wanted[0].push(plain),
                (0, 30) if whole => wanted[1].push(plain),
                (1, 9) if whole => wanted[if inside { 3 } else { 2 }].push(plain),
                _ => strays += 1,
            }
        }
        prop_assert_eq!(&got, &wanted);
        prop_assert_eq!(trunk.strays(), strays);
    }

    #[test]
    fn what_is_sent_has_its_tag_and_what_is_not_stays_as_it_was(
        given in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..50),
        iface in 0usize..5, room in 0usize..60, bare in 0usize..60,
    ) {
        let to = (0..3).map(|_| VecDeque::new()).collect();
        let mut trunk = Trunk::new(Wires { to, sent: vec![Vec::new(); 3], room }, Arc::new(layout()));
        let mut from: Vec<VecBuf> = given.iter().map(|frame| VecBuf::new(frame)).collect();
        let mut wanted = given.clone();
        // One without any room before it
        let mut odd = None;
        if let Some(buf) = from.get_mut(bare) {
            prop_assert!(buf.prepend(VecBuf::HEADROOM));
            wanted[bare] = buf.bytes().to_vec();
            odd = Some(bare);
        }
        let all: usize = wanted.iter().map(Vec::len).sum();
        trunk.send(IfaceId(iface as u8), &mut from);
        let (port, vlan) = [(0, None), (0, Some(30)), (1, Some(9)), (1, Some(9)), (2, None)][iface];
        let tagged = |frame: &Vec<u8>| match vlan {
            Some(vlan) => with_tag(frame, 0x8100, vlan),
            None => frame.clone(),
        };
        // Without a frame there is nothing to tag.
        let fit = |at: usize, frame: &Vec<u8>| vlan.is_none() || (Some(at) != odd && frame.len() >= 12);
        let able: Vec<Vec<u8>> =
            wanted.iter().enumerate().filter(|(at, f)| fit(*at, f)).map(|(_, f)| tagged(f)).collect();
        let sent = &trunk.ports().sent[port];
        prop_assert_eq!(sent, &able[..able.len().min(room)]);
        let tags = if vlan.is_some() { 4 * sent.len() } else { 0 };
        let left: usize = from.iter().map(|buf| buf.bytes().len()).sum();
        prop_assert_eq!(from.len() + sent.len(), given.len());
        // Of the two bytes where a type should be nothing can be popped.
        let short = wanted.iter().any(|frame| (12..14).contains(&frame.len()));
        prop_assert!(short || left + sent.iter().map(Vec::len).sum::<usize>() - tags == all);
    }
}

proptest! {
    // Each builds a site.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_comes_to_a_trunk_hurts_no_invariant(
        given in prop::collection::vec((frames(), 0usize..4), 1..60), workers in 1usize..3,
    ) {
        let mut site = trunked(workers, 0);
        for (frame, at) in &given {
            site.put_as_is(["lan", "voice", "isp1", "isp2"][*at], frame);
        }
        site.run_ms(2);
        let said = site.finish(&[]).err().unwrap_or_default();
        prop_assert!(said.lines().all(|line| line.contains(" moved by ")), "{}", said);
    }
}
