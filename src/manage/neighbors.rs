//! Who is where on the links: the management thread's book of neighbours, of which the workers hold copies.
//!
//! Pure: what happened and when goes in, what to do comes out. A neighbour that a packet needs is asked for at once and
//! then once a second, three times (RFC 1122 2.3.2.1: one request a second at most). An answer counts for `REACHABLE`; after that it is confirmed
//! when it is used again. Each request needs leave, as a WAN's link gets so much ARP (`pace`): who is known waits for his confirmation as
//! long as it takes, and is used meanwhile; who is not is given up after the same time as if he had been asked. What nobody uses is forgotten. A station that did not ask for the router only changes an entry that exists (RFC 826).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::base::{IfaceId, Mac, Nanos};

/// Neighbours at most; each worker's copy has as much room.
pub const CAPACITY: usize = 16_384;
/// Of them, at most so many that have not answered yet: a scan of a network must not push the others out.
const INCOMPLETE: usize = 1024;
/// An answer counts so long.
const REACHABLE: Nanos = Nanos::from_s(30);
/// A neighbour that is not used any more is forgotten after so long.
const FORGET: Nanos = Nanos::from_s(600);
/// Time between two requests.
const RETRY: Nanos = Nanos::from_s(1);
/// So many are asked for at once when a link comes back.
const ASKED: usize = 64;
/// Requests before a neighbour is given up.
const TRIES: u8 = 3;

/// How sure an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborState {
    /// Asked for, no answer yet
    Incomplete,
    /// Answered lately
    Reachable,
    /// Answered once; will be confirmed when it is used
    Stale,
    /// Used while stale: being confirmed
    Probe,
}

impl NeighborState {
    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            NeighborState::Incomplete => "incomplete",
            NeighborState::Reachable => "reachable",
            NeighborState::Stale => "stale",
            NeighborState::Probe => "probe",
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for it, at its known place or everywhere.
    Request(IfaceId, Ipv4Addr, Option<Mac>),
    /// Tell the workers where it is.
    Learn(IfaceId, Ipv4Addr, Mac),
    /// Tell the workers to say when they use it.
    Stale(IfaceId, Ipv4Addr),
    /// Tell the workers that it does not answer, or is forgotten.
    GiveUp(IfaceId, Ipv4Addr),
    /// It was there and has moved: (from, to).
    Moved(IfaceId, Ipv4Addr, Mac, Mac),
}

/// An entry of the book.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it is; unknown while incomplete
    pub mac: Option<Mac>,
    /// How sure that is
    pub state: NeighborState,
    /// Since when it is known or asked for
    pub since: Nanos,
    tries: u8,
    due: Nanos,
}

impl Entry {
    /// It has been asked for.
    fn ask(&mut self, now: Nanos) {
        (self.tries, self.due) = (self.tries + 1, now + RETRY);
    }

    /// It is to be asked for, and waits for leave.
    fn asks(&self, now: Nanos) -> bool {
        let being = matches!(self.state, NeighborState::Incomplete | NeighborState::Probe);
        being && now >= self.due && self.tries < TRIES
    }

    /// So long nobody waits for one who is not known.
    fn hopeless(&self, now: Nanos) -> bool {
        self.mac.is_none() && self.tries == 0 && now >= self.since + Nanos(RETRY.0 * u64::from(TRIES))
    }
}

/// The book.
#[derive(Debug, Default)]
pub struct Neighbors {
    book: BTreeMap<(IfaceId, Ipv4Addr), Entry>,
    incomplete: usize,
}

impl Neighbors {
    /// All entries, by interface and address.
    pub fn iter(&self) -> impl Iterator<Item = (IfaceId, Ipv4Addr, &Entry)> {
        self.book.iter().map(|((iface, ip), entry)| (*iface, *ip, entry))
    }

    /// The MAC of a neighbour, if it is known.
    pub fn mac(&self, iface: IfaceId, ip: Ipv4Addr) -> Option<Mac> {
        self.book.get(&(iface, ip)).and_then(|e| e.mac)
    }

    /// What is known of a neighbour.
    pub fn get(&self, iface: IfaceId, ip: Ipv4Addr) -> Option<&Entry> {
        self.book.get(&(iface, ip))
    }

    /// A worker needs a neighbour, or uses one that is stale. `may`: leave to ask on an interface for an address now, taken by asking.
    pub fn resolve(
        &mut self,
        now: Nanos,
        (iface, ip): (IfaceId, Ipv4Addr),
        may: &mut impl FnMut(IfaceId, Ipv4Addr) -> bool,
        out: &mut impl FnMut(Effect),
    ) {
        let full = self.incomplete >= INCOMPLETE || self.book.len() >= CAPACITY;
        match self.book.get_mut(&(iface, ip)) {
            Some(entry) => match (entry.state, entry.mac) {
                (NeighborState::Stale, mac) => {
                    (entry.state, entry.tries, entry.due) = (NeighborState::Probe, 0, now);
                    if may(iface, ip) {
                        entry.ask(now);
                        out(Effect::Request(iface, ip, mac));
                    }
                }
                // The worker's copy was lost on the way.
                (_, Some(mac)) => out(Effect::Learn(iface, ip, mac)),
                (_, None) => {}
            },
            None if full => {}
            None => {
                let state = NeighborState::Incomplete;
                self.incomplete += 1;
                let mut entry = Entry { mac: None, state, since: now, tries: 0, due: now };
                if may(iface, ip) {
                    entry.ask(now);
                    out(Effect::Request(iface, ip, None));
                }
                self.book.insert((iface, ip), entry);
            }
        }
    }

    /// A station was heard.
    pub fn heard(
        &mut self,
        now: Nanos,
        iface: IfaceId,
        ip: Ipv4Addr,
        mac: Mac,
        out: &mut impl FnMut(Effect),
    ) {
        if self.book.len() >= CAPACITY && !self.book.contains_key(&(iface, ip)) {
            return;
        }
        let fresh = Entry {
            mac: Some(mac),
            state: NeighborState::Reachable,
            since: now,
            tries: 0,
            due: now + REACHABLE,
        };
        let Some(old) = self.book.insert((iface, ip), fresh) else {
            return out(Effect::Learn(iface, ip, mac));
        };
        self.incomplete -= usize::from(old.state == NeighborState::Incomplete);
        match old.mac {
            Some(was) if was != mac => {
                out(Effect::Learn(iface, ip, mac));
                out(Effect::Moved(iface, ip, was, mac));
            }
            Some(_) if old.state == NeighborState::Reachable => {
                if let Some(entry) = self.book.get_mut(&(iface, ip)) {
                    entry.since = old.since;
                }
            }
            _ => out(Effect::Learn(iface, ip, mac)),
        }
    }

    /// A link is back: who was asked for there in vain is asked for anew, at once. `may`: as in `resolve`.
    pub fn link_up(
        &mut self,
        now: Nanos,
        iface: IfaceId,
        may: &mut impl FnMut(IfaceId, Ipv4Addr) -> bool,
        out: &mut impl FnMut(Effect),
    ) {
        let all = (iface, Ipv4Addr::UNSPECIFIED)..=(iface, Ipv4Addr::BROADCAST);
        let in_vain = self.book.range_mut(all).filter(|(_, entry)| entry.state == NeighborState::Incomplete);
        for ((iface, ip), entry) in in_vain.take(ASKED) {
            (entry.since, entry.tries, entry.due) = (now, 0, now);
            if may(*iface, *ip) {
                entry.ask(now);
                out(Effect::Request(*iface, *ip, None));
            }
        }
    }

    /// Time has passed. `may`: as in `resolve`.
    pub fn tick(
        &mut self,
        now: Nanos,
        may: &mut impl FnMut(IfaceId, Ipv4Addr) -> bool,
        out: &mut impl FnMut(Effect),
    ) {
        let waits = self.book.iter_mut().filter(|(_, entry)| entry.asks(now) && !entry.hopeless(now));
        let mut waits: Vec<_> = waits.collect();
        // Who is in use comes first, then whoever has waited longest.
        waits.sort_by_key(|(_, entry)| (entry.mac.is_none(), entry.due));
        for ((iface, ip), entry) in waits {
            if may(*iface, *ip) {
                entry.ask(now);
                // The last try asks everybody: it may have another MAC by now.
                out(Effect::Request(*iface, *ip, entry.mac.filter(|_| entry.tries < TRIES)));
            }
        }
        let incomplete = &mut self.incomplete;
        self.book.retain(|(iface, ip), entry| {
            if now < entry.due || (entry.asks(now) && !entry.hopeless(now)) {
                return true;
            }
            match entry.state {
                NeighborState::Reachable => {
                    (entry.state, entry.due) = (NeighborState::Stale, now + FORGET);
                    out(Effect::Stale(*iface, *ip));
                    true
                }
                _ => {
                    *incomplete -= usize::from(entry.state == NeighborState::Incomplete);
                    out(Effect::GiveUp(*iface, *ip));
                    false
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: IfaceId = IfaceId(0);
    const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 10);
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn run(book: &mut Neighbors, from_ms: u64, to_ms: u64) -> Vec<(u64, Effect)> {
        let mut seen = Vec::new();
        for ms in (from_ms..to_ms).step_by(10) {
            book.tick(Nanos::from_ms(ms), &mut |_, _| true, &mut |e| seen.push((ms, e)));
        }
        seen
    }

    #[test]
    fn rfc1122_arp_1_an_unresolved_neighbour_is_asked_for_once_a_second_and_given_up() {
        let mut book = Neighbors::default();
        let mut asked = 0;
        for _ in 0..1000 {
            book.resolve(Nanos::ZERO, (LAN, HOST), &mut |_, _| true, &mut |_| asked += 1);
        }
        assert_eq!(asked, 1);
        let ask = Effect::Request(LAN, HOST, None);
        let expected = vec![(1000, ask), (2000, ask), (3000, Effect::GiveUp(LAN, HOST))];
        assert_eq!(run(&mut book, 0, 10_000), expected);
        assert_eq!(book.incomplete, 0);
    }

    #[test]
    fn rfc1122_arp_3_a_stale_neighbour_is_confirmed_when_used_and_forgotten_when_not() {
        let mut book = Neighbors::default();
        book.heard(Nanos::ZERO, LAN, HOST, MAC, &mut |_| {});
        assert_eq!(run(&mut book, 0, 60_000), vec![(30_000, Effect::Stale(LAN, HOST))]);
        let mut out = Vec::new();
        book.resolve(Nanos::from_s(60), (LAN, HOST), &mut |_, _| true, &mut |e| out.push(e));
        assert_eq!(out, vec![Effect::Request(LAN, HOST, Some(MAC))]);
        book.heard(Nanos::from_s(60), LAN, HOST, MAC, &mut |e| out.push(e));
        assert_eq!(out.pop(), Some(Effect::Learn(LAN, HOST, MAC)));
        let later = run(&mut book, 60_000, 800_000);
        assert_eq!(later, vec![(90_000, Effect::Stale(LAN, HOST)), (690_000, Effect::GiveUp(LAN, HOST))]);
    }

    #[test]
    fn who_was_asked_for_in_vain_is_asked_for_at_once_when_the_link_is_back() {
        let mut book = Neighbors::default();
        let (at, other, mut out) = (Nanos::from_ms, IfaceId(1), Vec::new());
        book.resolve(Nanos::ZERO, (LAN, HOST), &mut |_, _| true, &mut |_| {});
        book.resolve(Nanos::ZERO, (other, HOST), &mut |_, _| true, &mut |_| {});
        book.heard(Nanos::ZERO, LAN, [192, 168, 10, 11].into(), MAC, &mut |_| {});
        book.link_up(at(300), LAN, &mut |_, _| true, &mut |e| out.push(e));
        assert_eq!(out, [Effect::Request(LAN, HOST, None)]);
        let ask = |iface| Effect::Request(iface, HOST, None);
        assert_eq!(run(&mut book, 300, 1_400), [(1000, ask(other)), (1300, ask(LAN))]);
    }

    #[test]
    fn a_neighbour_that_moves_is_learned_and_told() {
        let mut book = Neighbors::default();
        let other = Mac([2, 0, 0, 0, 0, 10]);
        let mut out = Vec::new();
        book.heard(Nanos::ZERO, LAN, HOST, MAC, &mut |e| out.push(e));
        book.heard(Nanos::ZERO, LAN, HOST, other, &mut |e| out.push(e));
        let moved = Effect::Moved(LAN, HOST, MAC, other);
        assert_eq!(out, vec![Effect::Learn(LAN, HOST, MAC), Effect::Learn(LAN, HOST, other), moved]);
    }

    #[test]
    fn a_scan_of_a_large_network_stays_bounded_and_leaves_room_for_answers() {
        let mut book = Neighbors::default();
        for n in 0..100_000u32 {
            book.resolve(
                Nanos::ZERO,
                (LAN, Ipv4Addr::from_bits(0x0a00_0000 | n)),
                &mut |_, _| true,
                &mut |_| {},
            );
        }
        assert_eq!(book.book.len(), INCOMPLETE);
        let mut learned = false;
        book.heard(Nanos::ZERO, LAN, HOST, MAC, &mut |e| learned |= matches!(e, Effect::Learn(..)));
        assert!(learned);
    }

    #[test]
    fn without_leave_one_in_use_is_confirmed_first_and_one_who_is_not_known_is_given_up_in_the_same_time() {
        let mut book = Neighbors::default();
        book.heard(Nanos::ZERO, LAN, HOST, MAC, &mut |_| {});
        run(&mut book, 0, 31_000);
        let now = Nanos::from_s(40);
        let strange = |n: u8| Ipv4Addr::new(192, 168, 10, n);
        let never = &mut |_, _| false;
        (100..200).for_each(|n| book.resolve(now, (LAN, strange(n)), never, &mut |e| panic!("{e:?}")));
        book.resolve(now, (LAN, HOST), never, &mut |e| panic!("{e:?}"));
        let mut seen = Vec::new();
        let mut leave = 2;
        let mut two = |_, _| {
            leave -= i32::from(leave > 0);
            leave > 0
        };
        book.tick(now + Nanos::from_ms(100), &mut two, &mut |e| seen.push(e));
        assert_eq!(seen, [Effect::Request(LAN, HOST, Some(MAC))]);
        for ms in (200..3_000).step_by(100) {
            book.tick(now + Nanos::from_ms(ms), never, &mut |e| panic!("{e:?} after {ms} ms"));
        }
        book.tick(now + Nanos::from_s(3), never, &mut |e| seen.push(e));
        assert_eq!(seen.len(), 1 + 100, "the strangers are given up, who is in use is not");
        assert_eq!((book.incomplete, book.mac(LAN, HOST)), (0, Some(MAC)));
    }
}
