//! The oracle: what must hold of every frame that the router sends, whatever the test is about.

use std::collections::BTreeMap;

use crate::base::{IfaceId, Nanos};
use crate::packet::{Counters, Tuple};
use crate::path::{HELD_FOR, View};
use crate::wire::eth::{Eth, ethertype};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{be16, checksum, protocol};

use super::frames::Seen;

/// What came with a wrong transport checksum, by its IP identification, and when: it must leave with a wrong one.
#[derive(Debug, Default)]
pub(super) struct Wrong(BTreeMap<u16, Nanos>);

impl Wrong {
    /// Notes what comes. Tells whether its checksum is right.
    pub(super) fn note(&mut self, came: &Seen, now: Nanos) -> bool {
        let right = came.checksum_holds();
        if !right {
            self.0.insert(came.ip.id, now);
        }
        right
    }

    /// Nothing with this identification came with a wrong checksum lately.
    pub(super) fn was_right(&self, left: &Seen) -> bool {
        !self.0.contains_key(&left.ip.id)
    }

    /// Forgets what came too long ago to leave from now on. For when all that has left is judged: what waits may leave in a step of
    /// any length.
    pub(super) fn forget(&mut self, now: Nanos) {
        self.0.retain(|_, at| now.since(*at) <= HELD_FOR + Nanos::from_s(1));
    }
}

/// X-1 at the end of a turn.
pub(super) fn balance(counters: &Counters) -> Option<String> {
    let (had, made) = counters.balance();
    (had != made).then(|| format!("X-1: {had} came, {made} went: {counters:?}"))
}

/// Whether a packet that left is the one that came: no answer of the router's, nor one about it.
pub(super) fn forwarded(came: &Seen, left: &Seen) -> bool {
    let place = |seen: &Seen| (seen.ip.fragment_offset, seen.ip.is_fragment());
    let same = (came.ip.id == left.ip.id || came.ip.is_fragment())
        && place(came) == place(left)
        && came.ip.protocol == left.ip.protocol
        && came.payload.len() == left.payload.len();
    same && left.eth.dst != came.eth.src && left.ip.src != came.ip.dst
}

/// on one frame, whose transport checksum `was_right` when it came. Gives what is wrong.
pub(super) fn sent(view: &View, iface: IfaceId, frame: &[u8], was_right: bool) -> Option<String> {
    let port = &view.ifaces[iface.index()];
    let Some(eth) = Eth::parse(frame) else { return Some("a frame without a header was sent".into()) };
    if eth.src != port.mac && eth.src != port.station {
        return Some(format!("a frame with the source {} left by {}", eth.src, port.name));
    }
    if eth.ethertype != ethertype::IPV4 {
        return None;
    }
    let Some(seen) = Seen::read(frame) else {
        return Some(format!("X-3: a broken IPv4 header left by {}", port.name));
    };
    if was_right && !seen.checksum_holds() {
        return Some(format!("X-3: a wrong transport checksum left by {}: {seen:?}", port.name));
    }
    if port.wan.is_some() {
        // What goes untranslated is meant to show where it comes from.
        let t = Tuple {
            protocol: seen.ip.protocol,
            src: seen.ip.src,
            src_port: seen.src().1,
            dst: seen.ip.dst,
            dst_port: seen.dst().1,
        };
        // Who has no address asks for one from 0.0.0.0 (RFC 2131 4.1).
        let asks = seen.ip.src.is_unspecified() && (seen.src().1, seen.dst().1) == (68, 67);
        if !asks && !view.owns(iface, seen.ip.src) && !view.rules.statics.plain(iface, &t) {
            return Some(format!("X-2: {} left by {}", seen.ip.src, port.name));
        }
        let inside = |ip| view.routes.find(ip).is_some();
        // As above, of the flow that a quote is of.
        let plain = |ip: &Ipv4, segment: &[u8]| {
            let (src_port, dst_port) = (be16(segment, 2), be16(segment, 0));
            let t = Tuple { protocol: ip.protocol, src: ip.dst, src_port, dst: ip.src, dst_port };
            view.rules.statics.plain(iface, &t)
        };
        if seen.quoted().is_some_and(|(ip, data)| (inside(ip.src) || inside(ip.dst)) && !plain(&ip, &data)) {
            return Some(format!("X-2: an inside address left by {} in a quote: {seen:?}", port.name));
        }
    }
    None
}

/// of a packet that was forwarded, only what translation names, the TTL and the checksums changed.
pub(super) fn unchanged(came: &Seen, left: &Seen) -> Option<String> {
    let differ = |what: &str| Some(format!("X-4: {what} changed: {came:?} -> {left:?}"));
    let (a, b) = (&came.ip, &left.ip);
    if (a.tos, a.protocol, a.total_len) != (b.tos, b.protocol, b.total_len) {
        return differ("an IP header field");
    }
    // Of what leaves by a WAN in fragments it does (RFC 7857 REQ-10).
    if a.id != b.id && !a.is_fragment() {
        return differ("the identification");
    }
    if (a.dont_fragment, a.more_fragments, a.fragment_offset)
        != (b.dont_fragment, b.more_fragments, b.fragment_offset)
    {
        return differ("the fragment field");
    }
    if a.ttl != b.ttl + 1 {
        return differ("the TTL by other than one");
    }
    if came.header[ipv4::MIN_LEN..] != left.header[ipv4::MIN_LEN..] {
        return differ("an IP option");
    }
    if a.fragment_offset != 0 {
        return if came.payload == left.payload { None } else { differ("the data") };
    }
    let quotes = came.icmp().is_some_and(|icmp| icmp.is_error());
    if quotes && !quote_unchanged(came.data(), left.data()) {
        return differ("what a quote need not");
    }
    if !quotes && came.data() != left.data() {
        return differ("the data");
    }
    let fixed: &[(usize, usize)] = match a.protocol {
        protocol::TCP => &[(4, 16), (18, 20)],
        protocol::UDP => &[(4, 6)],
        protocol::ICMP if quotes => &[(0, 2), (4, 8)],
        protocol::ICMP => &[(0, 2), (6, 8)],
        _ => &[],
    };
    for (from, to) in fixed {
        if came.payload.get(*from..*to) != left.payload.get(*from..*to) {
            return differ("a transport header field");
        }
    }
    if a.protocol == protocol::UDP && (be16(&came.payload, 6) == 0) != (be16(&left.payload, 6) == 0) {
        return differ("whether there is a UDP checksum");
    }
    None
}

/// Of a packet quoted in an ICMP error only the addresses, the ports and the checksums may change, and its header's
/// checksum must hold if it did.
fn quote_unchanged(came: &[u8], left: &[u8]) -> bool {
    let l4 = came.first().map_or(0, |b| usize::from(b & 0xf) * 4);
    let places: &[(usize, usize)] = match came.get(9) {
        Some(&protocol::TCP) => &[(0, 4), (16, 18)],
        Some(&protocol::UDP) => &[(0, 4), (6, 8)],
        Some(&protocol::ICMP) => &[(2, 6)],
        _ => &[],
    };
    let free = |at: usize| {
        (10..ipv4::MIN_LEN).contains(&at)
            || places.iter().any(|(from, to)| (l4 + from..l4 + to).contains(&at))
    };
    let same = came.len() == left.len() && (0..came.len()).all(|at| came[at] == left[at] || free(at));
    let holds = |quote: &[u8]| quote.get(..l4).is_some_and(checksum::holds);
    same && holds(came) == holds(left)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::bulk::{Bulk, Every};
    use super::super::{DUAL_WAN, Packet, Site};
    use super::*;
    use crate::base::Mac;
    use crate::wire::put16;

    const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
    const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

    /// What a packet that left by isp1 is said to be.
    fn judged(packet: &Packet, was_right: bool, change: impl Fn(&mut Vec<u8>)) -> Option<String> {
        let site = Site::new(DUAL_WAN, 1).unwrap();
        let (wan, port) = (IfaceId(1), &site.view().ifaces[1]);
        let mut frame = packet.frame(port.mac, Mac([2, 0, 0, 0, 2, 1]));
        change(&mut frame);
        sent(site.view(), wan, &frame, was_right)
    }

    #[test]
    fn x_2_and_x_3_an_inside_source_and_a_wrong_checksum_are_found() {
        let good = Packet::udp((OWN, 5000), (OUTSIDE, 80), b"data");
        let is = |found: Option<String>, id: &str| found.is_some_and(|fault| fault.starts_with(id));
        assert_eq!(judged(&good, true, |_| {}), None);
        assert!(is(judged(&Packet::udp((INSIDE, 5000), (OUTSIDE, 80), b""), true, |_| {}), "X-2"));
        let mut quoted = vec![0; 20];
        Packet::udp((INSIDE, 5000), (OUTSIDE, 80), b"").ip.emit(&mut quoted);
        quoted.extend_from_slice(&[0; 8]);
        assert!(is(judged(&Packet::icmp(OWN, OUTSIDE, 11, 0, 0, 0, &quoted), true, |_| {}), "X-2"));
        // of the transport, which may have come so; of the header, which may not
        let flip = |at: usize| move |frame: &mut Vec<u8>| frame[at] ^= 1;
        assert!(is(judged(&good, true, flip(45)), "X-3"));
        assert_eq!(judged(&good, false, flip(45)), None);
        assert!(is(judged(&good, false, flip(24)), "X-3"));
        assert!(judged(&good, true, flip(6)).unwrap().contains("source"), "another station's address");
    }

    #[test]
    fn x_4_a_field_that_translation_does_not_name_is_found() {
        let seen = |packet: Packet| {
            Seen::read(&packet.frame(Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]))).unwrap()
        };
        let came = seen(Packet::tcp((INSIDE, 5000), (OUTSIDE, 80), 16, 7, 8, b"data"));
        let left = seen(Packet::tcp((OWN, 6000), (OUTSIDE, 80), 16, 7, 8, b"data").ttl(63));
        assert!(forwarded(&came, &left));
        assert_eq!(unchanged(&came, &left), None);
        type Change = fn(&mut Seen);
        let changes: [(&str, Change); 7] = [
            ("header field", |s| s.ip.tos = 4),
            ("identification", |s| s.ip.id ^= 1),
            ("fragment", |s| s.ip.dont_fragment = false),
            ("TTL", |s| s.ip.ttl = 64),
            ("data", |s| s.payload[20] ^= 1),
            ("transport", |s| s.payload[7] ^= 1),
            ("transport", |s| put16(&mut s.payload, 14, 1)),
        ];
        for (what, change) in changes {
            let mut left = left.clone();
            change(&mut left);
            assert!(unchanged(&came, &left).is_some_and(|fault| fault.contains(what)), "{what}");
        }
        let (mut with, mut without) = (seen(Packet::udp((INSIDE, 1), (OUTSIDE, 2), b"")), left);
        with.payload[6..8].fill(0);
        without.payload = vec![0, 1, 0, 2, 0, 8, 7, 7];
        without.ip = Ipv4 { ttl: 63, ..with.ip };
        assert!(unchanged(&with, &without).unwrap().contains("UDP checksum"));
    }

    /// A site under load with an open flow, and an answer of it, to a host whose address is not known.
    fn answered() -> (Bulk, Packet, [Mac; 2]) {
        let mut bulk = Bulk::new(Site::new(DUAL_WAN, 1).unwrap(), Every::ONE);
        let open = bulk.site().frame_of("lan", &Packet::udp((INSIDE, 5000), (OUTSIDE, 80), b"data"));
        let left = Seen::read(&bulk.put(IfaceId(0), &open)[0].1).unwrap();
        (bulk, Packet::udp(left.dst(), left.src(), b"and back"), [left.eth.dst, left.eth.src])
    }

    /// The last that left.
    fn last(left: &[(IfaceId, Vec<u8>)]) -> Option<Seen> {
        left.iter().rev().find_map(|(_, frame)| Seen::read(frame))
    }

    #[test]
    fn x_3_what_came_wrong_may_leave_wrong_after_a_step_of_any_length_but_not_later() {
        let (mut bulk, mut answer, [from, to]) = answered();
        answer.payload[9] ^= 8;
        let answer = answer.frame(from, to);
        // It waits for its host's address, which is asked for when a link changes; what leaves then is seen after the step.
        assert_eq!(bulk.put(IfaceId(1), &answer), []);
        bulk.site().set_link("isp2", false);
        let came = last(bulk.pass(Nanos::from_s(86_400)));
        assert!(came.is_some_and(|came| came.dst() == (INSIDE, 5000) && !came.checksum_holds()));
        assert_eq!(bulk.faults(), [""; 0]);
        assert!(bulk.site().wrong.was_right(&Seen::read(&answer).unwrap()), "forgotten");
    }

    #[test]
    fn x_4_what_waited_is_not_held_against_the_next_that_comes() {
        let (mut bulk, mut answer, [from, to]) = answered();
        answer.ip.more_fragments = true;
        assert_eq!(bulk.put(IfaceId(1), &answer.frame(from, to)), []);
        bulk.site().set_link("isp2", false);
        (answer.ip.id, answer.payload[9]) = (7, b'u');
        let came = last(bulk.put(IfaceId(1), &answer.frame(from, to)));
        assert!(came.as_ref().is_some_and(|came| came.ip.id == 7), "{came:?}");
        assert_eq!(bulk.faults(), [""; 0]);
    }

    #[test]
    fn x_1_and_x_8_books_that_do_not_balance_and_an_answer_that_does_not_come_back_are_found() {
        let mut counters = Counters::default();
        assert_eq!(balance(&counters), None);
        counters.add(crate::packet::Stat::Received, 1);
        assert!(balance(&counters).unwrap().starts_with("X-1"));

        let mut bulk = Bulk::new(Site::new(DUAL_WAN, 1).unwrap(), Every::ONE);
        let packet = Packet::udp((INSIDE, 5000), (OUTSIDE, 80), b"data");
        let frame = bulk.site().frame_of("lan", &packet);
        assert_eq!(bulk.put(IfaceId(0), &frame).len(), 1);
        assert_eq!(bulk.faults(), [""; 0]);
        // Nothing comes back by a line that is not what its WAN is said to be.
        let left = Seen::read(&bulk.put(IfaceId(0), &frame)[0].1).unwrap();
        let came = Seen::read(&frame).unwrap();
        bulk.answer(IfaceId(2), &came, &left);
        assert!(bulk.drain().unwrap_err().starts_with("X-8"));
    }
}
