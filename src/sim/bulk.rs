//! A site under load: frame after frame with every invariant held, tens of thousands a second in a release build.
//!
//! A frame gets as many turns as it needs and no step of the manager, which runs when time passes. After each frame: the books balance
//! what left is no inside address's, has right checksums and is what came. Every so many frames (`Every`), as
//! they cost more: what was refused has changed nothing, an answer finds back, all tables of the NAT
//! agree (`Nat::audit`) and have not grown. `drain` lets all timers run out: then nothing is left.

use super::check;
use super::frames::{Packet, Seen};
use super::site::Site;
use crate::base::{IfaceId, Nanos, WanId};
use crate::packet::{Counters, DropReason, Stat};
use crate::path::View;
use crate::table::lent::PoolId;
use crate::wire::icmp::kind;
use crate::wire::protocol;
use crate::wire::tcp::Flags;

/// A frame that left, and by which interface.
pub type Left = (IfaceId, Vec<u8>);

/// One in so many frames gets what costs more than the frame itself; 0: none.
#[derive(Clone, Copy, Debug)]
pub struct Every {
    /// What is refused changes nothing
    pub digest: u64,
    /// What leaves is answered
    pub answer: u64,
    /// All tables agree
    pub audit: u64,
}

impl Every {
    /// All of it with every frame.
    pub const ONE: Every = Every { digest: 1, answer: 1, audit: 1 };
    /// So that most of the time goes into frames.
    pub const SOME: Every = Every { digest: 8, answer: 16, audit: 1024 };
}

/// Reasons for which a packet ends before it can change anything.
const REFUSED: [DropReason; 15] = [
    DropReason::NatNoMapping,
    DropReason::NatFiltered,
    DropReason::NatStrangers,
    DropReason::NatTableFull,
    DropReason::NatPortsExhausted,
    DropReason::NatClash,
    DropReason::NatHostPorts,
    DropReason::NatHostSessions,
    DropReason::NatCreationRate,
    DropReason::NatTcpMidstream,
    DropReason::Firewall,
    DropReason::FirewallRejected,
    DropReason::WanNone,
    DropReason::WanDown,
    DropReason::WanLeft,
];

/// What may change the NAT though the packet itself is refused: what has ended is cleared away by the one that finds it.
const CLEARED: [Stat; 7] = [
    Stat::SessionsExpired,
    Stat::SessionsReset,
    Stat::SessionsMoved,
    Stat::MappingsMoved,
    Stat::MappingsRemoved,
    Stat::PortsLent,
    Stat::PortsBorrowed,
];

/// Why an answer may not arrive though it was let in: its next hop is not known, or not there.
const ON_THE_WAY: [DropReason; 5] = [
    DropReason::NeighborHold,
    DropReason::NeighborUnresolved,
    DropReason::LinkDown,
    DropReason::TxFull,
    DropReason::HandOverFull,
];

/// Faults that are kept.
const FAULTS: usize = 20;
/// Packets that may wait for their next hop at one worker (`path::Hold`).
const HELD: usize = 256;

/// A site under load.
#[derive(Debug)]
pub struct Bulk {
    site: Site,
    every: Every,
    put: u64,
    sent: Vec<Left>,
    /// Memory of all NATs
    bytes: usize,
    /// Ports of all pools of all workers
    ports: Vec<Vec<u16>>,
}

impl Bulk {
    /// Takes over a site.
    pub fn new(mut site: Site, every: Every) -> Bulk {
        let bytes = site.lcores().iter().map(|l| l.router.nat.bytes()).sum();
        let ports = all_ports(&mut site);
        Bulk { site, every, put: 0, sent: Vec::new(), bytes, ports }
    }

    /// The site, to be asked or changed.
    pub fn site(&mut self) -> &mut Site {
        &mut self.site
    }

    /// What the workers read.
    pub fn view(&self) -> &View {
        self.site.view()
    }

    /// What is wrong, so far.
    pub fn faults(&self) -> &[String] {
        &self.site.faults
    }

    /// Frames that were put.
    pub fn count(&self) -> u64 {
        self.put
    }

    /// Puts a frame on a link, and gives what leaves, with what has left since the last one.
    pub fn put(&mut self, iface: IfaceId, frame: &[u8]) -> &[Left] {
        self.put += 1;
        let before = self.is_due(self.every.digest).then(|| self.standing());
        let came = Seen::read(frame);
        self.pass_one(iface, frame, came.as_ref());
        if let (Some(before), Some(came)) = (before, &came) {
            self.hold_refusal(iface, came, &before);
        }
        if let (true, Some(came)) = (self.is_due(self.every.answer), &came) {
            let sent = std::mem::take(&mut self.sent);
            if let Some((at, left)) = self.way_out(iface, came, &sent) {
                self.answer(at, came, &left);
            }
            self.sent = sent;
        }
        if self.is_due(self.every.audit) {
            self.audit();
        }
        &self.sent
    }

    /// Lets time pass at one step, with all that comes due, and gives what leaves.
    pub fn pass(&mut self, span: Nanos) -> &[Left] {
        self.sent.clear();
        self.site.now += span;
        self.site.settle();
        self.collect(None, true);
        self.site.wrong.forget(self.site.now);
        &self.sent
    }

    /// Lets every timer run out: after that nothing may be left.
    ///
    /// # Errors
    /// All that was found wrong in the whole run.
    pub fn drain(mut self) -> Result<(), String> {
        let _ = self.rest();
        if all_ports(&mut self.site) != self.ports {
            self.fault("ports were lost, or are in two places".into());
        }
        if self.faults().is_empty() { Ok(()) } else { Err(self.faults().join("\n")) }
    }

    /// Lets every timer run out, and all links be well again: the site is as good as new.
    ///
    /// # Errors
    /// As `drain`, but that ports are not counted.
    pub fn rest(&mut self) -> Result<(), String> {
        self.audit();
        // No profile has a longer timer here; then the memory is back within 10 s.
        self.pass(Nanos::from_s(86_400));
        // A turn ends a few dozen sessions at most.
        for _ in 0..200 {
            self.pass(Nanos::from_ms(50));
        }
        if !self.site.lcores().iter().all(|l| l.router.nat.leftover() == [0; 8]) {
            let left: Vec<_> = self.site.lcores().iter().map(|l| l.router.nat.leftover()).collect();
            self.fault(format!("X-7: something is left in the NAT after all timers ran out: {left:?}"));
        }
        if self.site.counters().get(Stat::Held) > 0 {
            self.fault("packets wait though all that they wait for is over".into());
        }
        self.audit();
        for name in self.site.names.clone() {
            self.site.set_silent(&name, false);
            self.site.set_link(&name, true);
        }
        if self.faults().is_empty() { Ok(()) } else { Err(self.faults().join("\n")) }
    }

    fn is_due(&self, every: u64) -> bool {
        every > 0 && self.put.is_multiple_of(every)
    }

    fn fault(&mut self, fault: String) {
        if self.site.faults.len() < FAULTS {
            self.site.faults.push(fault);
        }
    }

    fn standing(&mut self) -> (Vec<u64>, Counters) {
        let digests = self.site.lcores().iter().map(|l| l.router.nat.digest()).collect();
        (digests, self.site.counters())
    }

    /// A frame's way through the router, and what leaves.
    fn pass_one(&mut self, iface: IfaceId, frame: &[u8], came: Option<&Seen>) {
        self.sent.clear();
        // What left when a link changed, say, is not of this frame.
        self.collect(None, true);
        let now = self.site.now;
        let right = came.is_none_or(|came| self.site.wrong.note(came, now));
        self.site.arrive(iface, frame);
        for _ in 0..8 {
            if !self.site.turn() {
                break;
            }
        }
        self.collect(came, right);
    }

    fn collect(&mut self, came: Option<&Seen>, right: bool) {
        let wires = self.site.wires.clone();
        for (at, wire) in wires.borrow_mut().iter_mut().enumerate() {
            let iface = IfaceId(at as u8);
            for frame in wire.sent.drain(..) {
                let left = Seen::read(&frame);
                let its = came.zip(left.as_ref()).filter(|(came, left)| check::forwarded(came, left));
                let was_right = match its {
                    Some(_) => right,
                    None => left.as_ref().is_none_or(|left| self.site.wrong.was_right(left)),
                };
                let wrong = check::sent(self.site.view(), iface, &frame, was_right);
                let changed = its.and_then(|(came, left)| check::unchanged(came, left));
                wrong.into_iter().chain(changed).for_each(|fault| self.fault(fault));
                self.sent.push((iface, frame));
            }
        }
    }

    /// what was refused has changed nothing.
    fn hold_refusal(&mut self, iface: IfaceId, came: &Seen, before: &(Vec<u64>, Counters)) {
        // From inside by an outside address it has left before it is refused.
        let hairpin = self.site.view().ifaces[iface.index()].wan.is_none()
            && self.site.view().place(came.ip.dst).own.is_some();
        let (digests, counters) = self.standing();
        let refused = REFUSED.iter().any(|r| counters.dropped(*r) > before.1.dropped(*r));
        let cleared = CLEARED.iter().any(|s| counters.get(*s) > before.1.get(*s));
        if refused && !cleared && !hairpin && digests != before.0 {
            self.fault(format!("X-5, X-6: a refused packet changed the NAT: {came:?}"));
        }
    }

    /// What left by a WAN of a packet from inside, if that has an answer.
    fn way_out(&self, iface: IfaceId, came: &Seen, sent: &[Left]) -> Option<(IfaceId, Seen)> {
        let view = self.site.view();
        let asks = match came.ip.protocol {
            protocol::UDP | protocol::TCP => true,
            _ => came.icmp().is_some_and(|icmp| icmp.kind == kind::ECHO_REQUEST),
        };
        if view.ifaces[iface.index()].wan.is_some() || came.ip.is_fragment() || !asks {
            return None;
        }
        sent.iter()
            .filter(|(at, _)| view.ifaces[at.index()].wan.is_some())
            .filter_map(|(at, frame)| Some((*at, Seen::read(frame)?)))
            .find(|(_, left)| check::forwarded(came, left))
    }

    /// an answer to what left goes to where that came from.
    pub(super) fn answer(&mut self, wan: IfaceId, came: &Seen, left: &Seen) {
        let (from, to) = (left.dst(), left.src());
        let answer = match came.ip.protocol {
            protocol::UDP => Packet::udp(from, to, b"back"),
            protocol::TCP => Packet::tcp(from, to, Flags::ACK, 1, 1, b"back"),
            _ => Packet::icmp(from.0, to.0, kind::ECHO_REPLY, 0, to.1, 1, b"back"),
        };
        let before = self.site.counters();
        let frame = answer.frame(left.eth.dst, left.eth.src);
        let sent = Seen::read(&frame);
        self.pass_one(wan, &frame, sent.as_ref());
        let now = self.site.counters();
        let waits = now.get(Stat::Held) > before.get(Stat::Held);
        let late = ON_THE_WAY.iter().any(|r| now.dropped(*r) > before.dropped(*r));
        let echo = came.ip.protocol == protocol::ICMP;
        let back = |seen: Seen| seen.dst() == came.src() && (echo || seen.src() == left.dst());
        let found = self.sent.iter().filter_map(|(_, frame)| Seen::read(frame)).any(back);
        if !found && !waits && !late && !self.is_dead(wan) {
            self.fault(format!("X-8: the answer to {came:?}, which left as {left:?}, did not come back"));
        }
    }

    fn is_dead(&self, iface: IfaceId) -> bool {
        let wires = self.site.wires.borrow();
        wires[iface.index()].down || wires[iface.index()].silent
    }

    /// The tables agree, and memory is what it was.
    fn audit(&mut self) {
        let mut wrong = Vec::new();
        for lcore in self.site.lcores() {
            wrong.extend(lcore.router.nat.audit().err());
            if lcore.router.hold.len() > HELD {
                wrong.push("X-9: more packets wait than may".into());
            }
        }
        if self.site.lcores().iter().map(|l| l.router.nat.bytes()).sum::<usize>() != self.bytes {
            wrong.push("X-9: the NAT's memory has grown".into());
        }
        wrong.into_iter().for_each(|fault| self.fault(fault));
    }
}

/// The ports of each pool, of all workers together, in order.
fn all_ports(site: &mut Site) -> Vec<Vec<u16>> {
    let wans: Vec<usize> = site.view().uplinks.wans.iter().map(|uplink| uplink.addresses.len()).collect();
    let addresses =
        wans.iter().enumerate().flat_map(|(w, n)| (0..*n).map(move |at| (WanId(w as u8), at as u16)));
    let pools = addresses.flat_map(|(wan, address)| {
        [protocol::UDP, protocol::TCP, protocol::ICMP].map(|protocol| PoolId { wan, address, protocol })
    });
    pools
        .map(|pool| {
            let each = |l: &mut crate::engine::Lcore<_>| l.router.nat.ports_of(pool);
            let mut ports: Vec<u16> = site.lcores().iter_mut().flat_map(each).collect();
            ports.sort_unstable();
            ports
        })
        .collect()
}
