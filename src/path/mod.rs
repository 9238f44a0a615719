//! The packet path on one screen: what happens to a frame between receive and send.
//!
//! `admit` (RFC 1812 5.2.2) -> `classify` -> [the engine hands the frame to the worker that owns its host] -> `forward`: `age` (TTL),
//! translate, `fit`, `resolve`, out. What ends on the way gets a `Verdict`; what must be answered (echo, ICMP errors, TCP resets) is turned into its answer in
//! the same buffer and goes out by `resolve` as well. Nothing here blocks, allocates, logs or asks for the time.
#![forbid(unsafe_code)]

mod admit;
pub mod answers;
mod arp;
mod clamp;
mod classify;
mod copies;
mod cut;
mod errors;
mod established;
mod fragments;
mod gate;
mod gather;
mod hold;
mod host;
mod limit;
mod local;
mod notice;
mod opening;
mod out;
mod places;
mod quoted;
mod resets;
mod resolve;
mod translate;
mod unasked;
mod view;

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::{IfaceId, Nanos};
use crate::nat::internal::Internal;
use crate::nat::rules::Action;
use crate::nat::{Env, Nat};
use crate::packet::{Counters, DropReason, Frame, PacketBuf, Stat, Verdict};
pub use crate::table::datagrams::DatagramKey;
use crate::table::neighbors::Neighbors;
use crate::wire::icmp::{kind, unreachable};
use crate::wire::ipv4;
use established::Marks;
pub use established::{From, PART};
use fragments::Fragments;
use out::Out;
use unasked::Unasked;

pub use admit::{Admitted, admit};
pub use clamp::Clamp;
pub use classify::{Class, classify};
pub use hold::{HELD_FOR, Hold};
pub use host::HostDoor;
pub use limit::Limit;
pub use notice::Notice;
pub use places::{Kind, Place, Places};
pub use view::{IcmpPolicy, Iface, View, WanLink};

/// A frame's end: at the way's end, or before it.
type Way = Result<Verdict, Verdict>;

/// How many frames are taken from a queue at a time.
pub const BURST: usize = 32;

/// Packets and bytes of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received
    pub rx_packets: u64,
    /// Received, whole frames
    pub rx_bytes: u64,
    /// Sent
    pub tx_packets: u64,
    /// Sent, whole frames
    pub tx_bytes: u64,
}

/// What one worker's packet path writes to. The view it reads is handed in.
#[derive(Debug)]
pub struct Router<B> {
    /// Translation
    pub nat: Nat,
    /// Next hops
    pub neighbors: Neighbors,
    /// Packets that wait for their next hop
    pub hold: Hold<B>,
    /// What was counted
    pub counters: Counters,
    /// By interface
    pub traffic: Vec<Traffic>,
    /// Frames to be sent, by interface, in order: the engine takes them after each burst
    pub out: Vec<Out<B>>,
    /// A frame that has left by an outside address and comes in again by another: the engine takes it to its owner at once
    pub turned: Option<(Frame<B>, Class)>,
    /// What the management thread must hear: the engine takes it after each burst
    pub notices: Vec<Notice>,
    /// What came back to the router's own probes: the engine takes it after each burst
    pub answers: Vec<answers::Answer<B>>,
    /// Slots of flows whose TCP has another state since the turn began, if a partner is told of that. The engine drains it, and has taken room
    /// for every packet of a turn
    pub stepped: Vec<u32>,
    /// Of the burst that was looked up last
    marks: Marks,
    /// The hop that was looked for last: its number means the same neighbour as long as the stamp stands
    last_hop: ((u16, IfaceId, Ipv4Addr), u16),
    /// The same of a host inside
    last_inward: ((u16, Ipv4Addr), u16),
    /// Changes with all that the verdict on a flow rests on: what bears another one must be judged anew. Never 0.
    stamp: u16,
    /// Nothing is looked up ahead, so that every frame takes the long way
    long_way: bool,
    errors: Limit,
    chatter: Limit,
    /// Apart from what is heard: whoever has the router ask for many must not keep it from hearing the answers
    questions: Limit,
    refusals: Limit,
    /// SYNs that nobody asked for, until they are told so
    unasked: Unasked<B>,
    /// By interface: so that what happens on one WAN's link silences no other's gateway
    gateways: Vec<Limit>,
    /// By interface
    answer_limits: Vec<answers::Limits>,
    fragments: Box<Fragments<B>>,
    /// Where the host under the router takes in what is its business; `None`: there is none, the router refuses it
    pub host: Option<Box<HostDoor<B>>>,
    /// The packet on its way is the host's
    by_host: bool,
}

/// Notices a second that there is no room for more sessions.
const REFUSALS: u32 = 10;
/// Notices of neighbours a second that one worker passes on, and questions for neighbours; probes of gateways do not count.
const CHATTER: u32 = 2000;
/// Answers of a gateway a second that one worker passes on.
const GATEWAY_REPLIES: u32 = 200;

impl<B: PacketBuf> Router<B> {
    /// A router with nothing in it, that reads this view at first.
    pub fn new(nat: Nat, neighbors: Neighbors, view: &View) -> Router<B> {
        let interfaces = view.ifaces.len();
        let fragments = Box::new(Fragments::new(neighbors.secret()));
        Router {
            nat,
            neighbors,
            hold: Hold::new(),
            counters: Counters::default(),
            traffic: vec![Traffic::default(); interfaces],
            out: view.ifaces.iter().map(Out::new).collect(),
            turned: None,
            notices: Vec::with_capacity(BURST * 4),
            answers: Vec::with_capacity(BURST * 4),
            stepped: Vec::new(),
            marks: Marks::default(),
            last_hop: ((0, IfaceId(0), Ipv4Addr::UNSPECIFIED), 0),
            last_inward: ((0, Ipv4Addr::UNSPECIFIED), 0),
            stamp: 1,
            long_way: false,
            errors: Limit::new(view.icmp.errors_per_second),
            chatter: Limit::new(CHATTER),
            questions: Limit::new(CHATTER),
            refusals: Limit::new(REFUSALS),
            unasked: Unasked::new(),
            gateways: vec![Limit::new(GATEWAY_REPLIES); interfaces],
            answer_limits: vec![answers::limits(); interfaces],
            fragments,
            host: None,
            by_host: false,
        }
    }

    /// Counts what came in.
    #[inline(always)]
    pub fn came(&mut self, ingress: IfaceId, packets: u64, bytes: u64) {
        let traffic = &mut self.traffic[ingress.index()];
        traffic.rx_packets += packets;
        traffic.rx_bytes += bytes;
        self.counters.add(Stat::Received, packets);
    }

    /// What flows rest on has changed: another view is read from now on, or a hop means another neighbour. Every flow is judged anew, by its next packet.
    /// What bears an old stamp loses it to the sweep before stamps come round.
    pub fn renew(&mut self) {
        self.stamp = self.stamp.checked_add(1).unwrap_or(1);
    }

    /// Another view is read from now on.
    pub fn take(&mut self, old: &View, new: &View, now: Nanos) {
        self.renew();
        self.out.iter_mut().zip(&new.ifaces).for_each(|(out, iface)| out.face(iface));
        self.nat.renewed(&old.uplinks, &new.uplinks, now);
        if !Arc::ptr_eq(&old.rules, &new.rules) {
            self.nat.retime(&new.rules);
        }
        if old.standby != new.standby {
            self.nat.stand_by(new.standby, now);
        }
        if old.icmp != new.icmp {
            self.errors = Limit::new(new.icmp.errors_per_second);
        }
    }

    /// From now on every frame takes the long way. For simulations, which hold the established path against it.
    pub fn long_way(&mut self) {
        self.long_way = true;
    }

    /// A turn's share of the sweep.
    pub fn expire(&mut self, view: &View, now: Nanos) {
        self.nat.expire(now, self.stamp, &view.uplinks, &mut self.counters);
    }

    /// A frame from the wire up to the point where its owner is known. `None`: it ended here.
    pub fn receive(
        &mut self,
        view: &View,
        ingress: IfaceId,
        buf: B,
        now: Nanos,
    ) -> Option<(Frame<B>, Class)> {
        match admit(view, ingress, buf) {
            Ok(Admitted::Ip(frame)) => match classify(view, &frame) {
                Ok(class) => return Some((frame, class)),
                Err(DropReason::NoRoute) => {
                    self.refuse(view, frame, DropReason::NoRoute, now);
                }
                Err(reason @ (DropReason::Broadcast | DropReason::Multicast)) => {
                    self.give_group(view, frame, reason, now);
                }
                Err(reason) => self.counters.drop(reason),
            },
            Ok(Admitted::Arp(buf, arp)) => {
                self.arp(view, ingress, buf, &arp, now);
            }
            Err(reason) => self.counters.drop(reason),
        }
        None
    }

    /// The rest of the way, on the worker that owns the frame's host.
    pub fn forward(&mut self, view: &View, frame: Frame<B>, class: Class, now: Nanos) -> Verdict {
        let way = match class {
            Class::Own => self.own(view, frame, now),
            Class::Answer { from, kind } => Ok(self.answered(frame, from, kind, now)),
            Class::Inside { egress, next_hop } => self.inside(view, frame, egress, next_hop, now),
            Class::Outbound { pin } => self.outbound(view, frame, pin, now),
            Class::Inbound { wan, target, hairpin } => self.inbound(view, frame, (wan, target, hairpin), now),
            Class::Hairpin { wan, .. } => self.hairpin(view, frame, wan, now),
            Class::ToldInside { wan, about, hairpin, .. } => {
                self.told_inside(view, frame, wan, &about, hairpin, now)
            }
            Class::ToldOutside { about } => self.told_outside(view, frame, &about, now),
            Class::FromHost { wan } => self.leave_as_it_is(view, frame, wan, now),
            // `follow` has its way.
            Class::Rest => Err(self.ended(DropReason::FragmentRefused)),
        };
        way.unwrap_or_else(|end| end)
    }

    /// To the router itself, if the firewall lets it.
    fn own(&mut self, view: &View, frame: Frame<B>, now: Nanos) -> Way {
        if let Some(tuple) = frame.tuple()
            && let Err(reason) = view.rules.firewall.judge(frame.ingress, &tuple, true, Action::Accept)
        {
            return Err(self.refuse(view, frame, reason, now));
        }
        Ok(self.local(view, frame, now))
    }

    /// What the firewall says of a packet from inside to inside. Errors and later fragments go with what they are about.
    fn judge(&mut self, view: &View, frame: &Frame<B>, now: Nanos) -> Result<(), DropReason> {
        let Some(tuple) = frame.tuple().filter(|_| !frame.is_error()) else { return Ok(()) };
        let packet = Internal {
            ingress: frame.ingress,
            tuple: &tuple,
            tcp: frame.tcp(),
            reply: frame.is_echo_reply(),
            bytes: u32::from(frame.ip.total_len),
        };
        self.nat.internal(&packet, &mut env(view, now, &mut self.counters))
    }

    fn inside(
        &mut self,
        view: &View,
        frame: Frame<B>,
        egress: IfaceId,
        next_hop: Ipv4Addr,
        now: Nanos,
    ) -> Way {
        if view.internal
            && let Err(reason) = self.judge(view, &frame, now)
        {
            self.count_refused(reason, now);
            return Err(self.refuse(view, frame, reason, now));
        }
        let frame = self.age(view, frame, now)?;
        let frame = self.fit(view, frame, egress, now)?;
        let origin = hold::Origin::of(&frame, None);
        Ok(self.resolve(view, egress, next_hop, frame.buf, Some(origin), now))
    }

    /// The TTL, one less (RFC 1812 5.3.1).
    fn age(&mut self, view: &View, mut frame: Frame<B>, now: Nanos) -> Result<Frame<B>, Verdict> {
        if frame.ip.ttl <= 1 {
            return Err(self.refuse(view, frame, DropReason::TtlExpired, now));
        }
        ipv4::decrement_ttl(frame.packet_mut());
        Ok(frame)
    }

    /// Whether the next link carries it whole, or else in the pieces that `leave_by` cuts.
    fn fit(
        &mut self,
        view: &View,
        frame: Frame<B>,
        egress: IfaceId,
        now: Nanos,
    ) -> Result<Frame<B>, Verdict> {
        if frame.ip.total_len <= view.ifaces[egress.index()].mtu || !frame.ip.dont_fragment {
            return Ok(frame);
        }
        let mtu = view.ifaces[egress.index()].mtu;
        self.counters.drop(DropReason::FragmentationNeeded);
        self.error(view, frame, kind::UNREACHABLE, unreachable::FRAGMENTATION_NEEDED, mtu, now);
        Err(Verdict::Dropped(DropReason::FragmentationNeeded))
    }

    /// Ends a packet and tells its sender why, where the reason calls for that.
    fn refuse(&mut self, view: &View, frame: Frame<B>, reason: DropReason, now: Nanos) -> Verdict {
        self.counters.drop(reason);
        let from_inside = view.ifaces[frame.ingress.index()].wan.is_none();
        let answer = match reason {
            DropReason::TtlExpired if view.icmp.time_exceeded => Some((kind::TIME_EXCEEDED, 0)),
            DropReason::NoRoute | DropReason::WanNone | DropReason::WanDown if from_inside => {
                Some((kind::UNREACHABLE, unreachable::NET))
            }
            reason if is_refused(reason) && from_inside => {
                Some((kind::UNREACHABLE, unreachable::ADMINISTRATIVELY_PROHIBITED))
            }
            DropReason::FirewallRejected => {
                Some((kind::UNREACHABLE, unreachable::ADMINISTRATIVELY_PROHIBITED))
            }
            DropReason::LocalNoService if from_inside => Some((kind::UNREACHABLE, unreachable::PORT)),
            DropReason::Protocol if from_inside => Some((kind::UNREACHABLE, unreachable::PROTOCOL)),
            DropReason::NeighborUnresolved if from_inside => Some((kind::UNREACHABLE, unreachable::HOST)),
            _ => None,
        };
        if let Some((kind, code)) = answer {
            self.error(view, frame, kind, code, 0, now);
        }
        Verdict::Dropped(reason)
    }

    /// Gives whether more may be said about it.
    fn count_refused(&mut self, reason: DropReason, now: Nanos) -> bool {
        if !is_refused(reason) {
            return false;
        }
        self.counters.add(Stat::SessionsRefused, 1);
        let may = self.refusals.take(now);
        if may {
            self.notices.push(Notice::Refused { reason });
        }
        may
    }

    fn ended(&mut self, reason: DropReason) -> Verdict {
        self.counters.drop(reason);
        Verdict::Dropped(reason)
    }
}

/// No room for another session, or for another one of its host.
const fn is_refused(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::NatTableFull
            | DropReason::NatPortsExhausted
            | DropReason::NatHostPorts
            | DropReason::NatHostSessions
            | DropReason::NatCreationRate
            | DropReason::NatClash
    )
}

fn env<'a>(view: &'a View, now: Nanos, counters: &'a mut Counters) -> Env<'a> {
    Env { up: &view.uplinks, rules: &view.rules, now, counters }
}
