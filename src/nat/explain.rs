//! What would become of a packet from inside, said without doing it: nothing is opened, moved, counted, refreshed or cleared away.
//!
//! The answer is what `outbound` would decide at this moment, step by step, with all that the steps rest on; only what chance decides (which
//! port) is left open. It is for an operator who asks, never for a packet.

use super::mapping::{Course, Mapping};
use super::open::{ends, has_ports};
use super::outbound::FromInside;
use super::rules::{Action, Midstream};
use super::session::{INSIDE, Key, Kind, NONE, OUTSIDE, Origin, Root, Session};
use super::standing::Standing;
use super::statics::Way;
use super::timeouts::tick;
use super::{Fate, Nat, Rules, Uplinks};
use crate::base::{Nanos, WanId};
use crate::packet::{DropReason, Tuple};
use crate::table::lent::class_of;
use crate::wire::protocol;

/// What would become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fortune {
    /// It goes on in its session
    Goes,
    /// Its session moves to another WAN first
    Moves,
    /// A session begins on a mapping that is there
    Joins,
    /// A session begins, and a mapping if its kind has one
    Begins,
    /// It is answered by a TCP reset
    Reset(DropReason),
    /// It ends
    Drop(DropReason),
}

/// The answer, and what it rests on.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// The session that is found, unless its timer has run out
    pub session: Option<(Session, Root)>,
    /// The session's WAN was left
    pub left: bool,
    /// The mapping that a session is on, or a new one would be, unless its place will be another one
    pub mapping: Option<Mapping>,
    /// The group of the flow: its session's, else by the policy
    pub group: u8,
    /// How it is carried
    pub kind: Kind,
    /// The WAN that it leaves by, or would if that were fit
    pub wan: Option<WanId>,
    /// The end of it
    pub fortune: Fortune,
}

/// What there is for a packet from outside.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    /// Its session, unless its timer has run out
    pub session: Option<(Session, Root)>,
    /// The session's WAN was left
    pub left: bool,
    /// The mapping whose outside endpoint it is for
    pub mapping: Option<Mapping>,
}

impl Nat {
    /// What there is for a packet that came in on a WAN; `None`: nothing here.
    pub fn explain_outside(&self, wan: WanId, t: &Tuple, up: &Uplinks, now: Nanos) -> Option<Outside> {
        let found = self.find(Key::inbound(wan, t), OUTSIDE);
        let live = found.filter(|slot| !self.sessions.get(*slot).expired(&self.timeouts, tick(now)));
        let session = live.map(|slot| (*self.sessions.get(slot), self.roots[slot as usize]));
        let left = session.is_some_and(|(session, root)| self.left(&session, &root, up));
        let mapping = self.find_mapping_outside(wan, t, up).map(|slot| *self.mappings.get(slot));
        (session.is_some() || mapping.is_some()).then_some(Outside { session, left, mapping })
    }

    /// What would become of a packet from inside.
    pub fn explain(&self, packet: &FromInside<'_>, up: &Uplinks, rules: &Rules, now: Nanos) -> Explained {
        let key = Key::outbound(packet.tuple);
        let found = self.find(key, INSIDE);
        let live = found.filter(|slot| !self.sessions.get(*slot).expired(&self.timeouts, tick(now)));
        match live.and_then(|slot| self.explain_known(slot, packet, up)) {
            Some(known) => known,
            None => self.explain_new(packet, up, rules, (now, found)),
        }
    }

    /// `None`: the session is forgotten, and the packet is as if it had none.
    fn explain_known(&self, slot: u32, packet: &FromInside<'_>, up: &Uplinks) -> Option<Explained> {
        let (session, root) = (*self.sessions.get(slot), self.roots[slot as usize]);
        let left = self.left(&session, &root, up);
        let mapping = (root.mapping != NONE).then(|| *self.mappings.get(root.mapping));
        let course = Course { group: root.group, pin: packet.pin };
        let known = Explained {
            session: Some((session, root)),
            left,
            mapping,
            group: root.group,
            kind: root.kind,
            wan: Some(session.wan()),
            fortune: Fortune::Goes,
        };
        let opens = packet.tcp.is_some_and(|tcp| tcp.flags.opens());
        if !left {
            if opens && self.begins_elsewhere(slot, packet, up) {
                return None;
            }
            let sent = up.sends(session.wan(), packet.tuple.protocol);
            let fortune = if sent { Fortune::Goes } else { Fortune::Drop(DropReason::WanDown) };
            return Some(Explained { fortune, ..known });
        }
        let host = self.hosts.find(&self.key, packet.tuple.src);
        if root.kind == Kind::Plain {
            let wan = self.choose(host, packet.tuple.src, course, up);
            let fortune = moves(wan, up);
            return Some(Explained { wan, fortune, ..known });
        }
        let fortune = match packet.tcp {
            Some(_) if opens => return None,
            Some(tcp) if tcp.flags.rst() => Fortune::Drop(DropReason::NatTcpFailover),
            Some(_) => Fortune::Reset(DropReason::NatTcpFailover),
            None if self.fate(&session, &root, up) == Fate::Drop => Fortune::Drop(DropReason::WanLeft),
            None => match (root.kind, root.origin, mapping) {
                (Kind::Masquerade, _, Some(m)) => {
                    let stays = self.standing(&m, up) == Standing::Firm;
                    let wan = if stays { Some(m.wan) } else { self.choose(m.host, m.inside, m.course(), up) };
                    return Some(Explained {
                        wan,
                        mapping: mapping.filter(|_| stays),
                        fortune: moves(wan, up),
                        ..known
                    });
                }
                (Kind::Forward | Kind::OneToOne, Origin::Answered | Origin::Stranger, _) => {
                    Fortune::Drop(DropReason::WanLeft)
                }
                _ => return None,
            },
        };
        Some(Explained { fortune, ..known })
    }

    /// `old`: a session that makes way.
    fn explain_new(
        &self,
        packet: &FromInside<'_>,
        up: &Uplinks,
        rules: &Rules,
        (now, old): (Nanos, Option<u32>),
    ) -> Explained {
        let t = packet.tuple;
        // A mapping goes with its last session.
        let root = old.map(|slot| &self.roots[slot as usize]);
        let gone = |slot: u32| {
            root.is_some_and(|root| root.mapping == slot) && self.mappings.get(slot).sessions == 1
        };
        let course = Course { group: rules.group(packet.ingress, t), pin: packet.pin };
        let host = self.hosts.find(&self.key, t.src);
        let chosen = self.choose(host, t.src, course, up);
        let mut new = Explained {
            session: None,
            left: false,
            mapping: None,
            group: course.group,
            kind: Kind::Masquerade,
            wan: chosen,
            fortune: Fortune::Begins,
        };
        let way =
            rules.statics.way(packet.ingress, t, up, || self.hosts.choose(host, t.src, course.group, up));
        match way {
            Way::Masquerade if has_ports(t.protocol) => {}
            Way::Masquerade => new.kind = Kind::Portless,
            Way::Plain => new.kind = Kind::Plain,
            Way::OneToOne(one) => (new.kind, new.wan) = (Kind::OneToOne, Some(one.wan)),
            Way::Nowhere => (new.kind, new.wan) = (Kind::OneToOne, None),
        }
        let mut mapped = false;
        if new.kind == Kind::Masquerade {
            let key = Key::mapping(t.protocol, course, t.src, t.src_port);
            let found = self.find_mapping(self.hash(key), key).filter(|slot| !gone(*slot));
            let found = found.map(|slot| *self.mappings.get(slot));
            mapped = found.is_some();
            if let Some(m) = found {
                let standing = self.standing(&m, up);
                let firm = standing == Standing::Firm;
                new.wan = if firm { Some(m.wan) } else { self.choose(m.host, m.inside, course, up) };
                // In grace it is revived where it is, or has a successor; one that was left has another place drawn for it.
                let revived = standing == Standing::Grace && new.wan == Some(m.wan) && up.fit(m.wan);
                new.mapping = Some(m).filter(|_| firm || revived);
                if firm || revived || standing == Standing::Left {
                    new.fortune = Fortune::Joins;
                }
            }
        }
        if let Some(end) = self.refusal(packet, &new, (way, mapped), (host, up, rules), (now, old)) {
            new.fortune = end;
        }
        new
    }

    /// Why a session does not begin; `mapped`: there is a mapping, whose host has its share asked for first.
    fn refusal(
        &self,
        packet: &FromInside<'_>,
        new: &Explained,
        (way, mapped): (Way, bool),
        (host, up, rules): (u32, &Uplinks, &Rules),
        (now, old): (Nanos, Option<u32>),
    ) -> Option<Fortune> {
        let t = packet.tuple;
        if packet.reply {
            return Some(Fortune::Drop(DropReason::IcmpUnhandled));
        }
        if let Some(tcp) = packet.tcp.filter(|tcp| !tcp.flags.opens()) {
            let adopted = rules.midstream == Midstream::Adopt && tcp.flags.is_plain();
            let told = rules.midstream != Midstream::Drop && !tcp.flags.rst();
            match (adopted, told) {
                (true, _) => {}
                (_, true) => return Some(Fortune::Reset(DropReason::NatTcpMidstream)),
                _ => return Some(Fortune::Drop(DropReason::NatTcpMidstream)),
            }
        }
        if self.sessions.is_full() && old.is_none() {
            return Some(Fortune::Drop(DropReason::NatTableFull));
        }
        if let Err(reason) = rules.firewall.judge(packet.ingress, t, false, Action::Accept) {
            return Some(Fortune::Drop(reason));
        }
        let fit = match (way, new.wan) {
            (Way::Nowhere, _) => Err(DropReason::WanDown),
            (_, None) => Err(DropReason::WanNone),
            (_, Some(wan)) if !up.fit(wan) => Err(DropReason::WanDown),
            (_, Some(wan)) => Ok(wan),
        };
        let begins = match new.kind {
            Kind::Masquerade => self.may_masquerade(t, new, (fit, mapped), (host, up, rules), now),
            _ => fit.and_then(|wan| self.may_have(t, (way, new.kind, wan), (host, up, rules), now)),
        };
        begins.err().map(Fortune::Drop)
    }

    /// Whether a session may begin on a mapping. What is asked for first is told first.
    fn may_masquerade(
        &self,
        t: &Tuple,
        new: &Explained,
        (fit, mapped): (Result<WanId, DropReason>, bool),
        (host, up, rules): (u32, &Uplinks, &Rules),
        now: Nanos,
    ) -> Result<(), DropReason> {
        let joins = new.fortune == Fortune::Joins;
        let short = self.runs_short(t, new.wan, up).filter(|_| !joins);
        let spends = || self.hosts.may_spend(host, rules.creation_rate, now).map(|_| ());
        let shares = short.is_some() && t.protocol == protocol::TCP && rules.share_ports;
        if shares && !mapped {
            fit?;
        }
        self.fair_at(host, rules)?;
        if shares {
            fit?;
            return spends();
        }
        if !joins {
            let fair = |hosts: usize| short.map(|all| (all / hosts) as u32);
            self.hosts.may_map(host, class_of(t.protocol), rules, fair)?;
            spends()?;
        }
        fit.map(|_| ())
    }

    /// Whether a session without a mapping may begin, by its place outside, which is given.
    fn may_have(
        &self,
        t: &Tuple,
        (way, kind, wan): (Way, Kind, WanId),
        (host, up, rules): (u32, &Uplinks, &Rules),
        now: Nanos,
    ) -> Result<(), DropReason> {
        self.fair_at(host, rules)?;
        self.hosts.may_spend(host, rules.creation_rate, now)?;
        let outside = match (way, kind) {
            (Way::OneToOne(one), _) => (one.outside, t.src_port),
            (_, Kind::Plain) => (t.src, t.src_port),
            _ => (up.address(wan, self.address(t.src, wan, up) as u16), 0),
        };
        let key = Session::new(&ends(t, outside, wan)).key(OUTSIDE);
        if self.is_taken(key, up, now) { Err(DropReason::NatClash) } else { Ok(()) }
    }

    /// Another session has a place outside, and makes no way.
    fn is_taken(&self, key: Key, up: &Uplinks, now: Nanos) -> bool {
        self.find(key, OUTSIDE).is_some_and(|slot| {
            let (session, root) = (self.sessions.get(slot), &self.roots[slot as usize]);
            !session.expired(&self.timeouts, tick(now)) && !self.left(session, root, up)
        })
    }
}

fn moves(wan: Option<WanId>, up: &Uplinks) -> Fortune {
    match wan {
        None => Fortune::Drop(DropReason::WanNone),
        Some(wan) if !up.fit(wan) => Fortune::Drop(DropReason::WanDown),
        Some(_) => Fortune::Moves,
    }
}
