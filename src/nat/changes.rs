//! What the partner of a pair is told of: flows as they are made, moved, or ended, and as their timer becomes another one.
//!
//! A change is noted by its slot and becomes a record at the end of the turn, so that what happens to a flow in a turn is one record. Notes
//! have a fixed room: what finds none is lost, which the engine tells, and then everything is told again by a walk. Invariants:
//! - without a partner, and while nobody is to be told, nothing is noted;
//! - the last record about a key says how it is: an end is noted with its key, so a slot's next flow is not taken for it;
//! - flows that only outside has spoken in are not told: a stranger's next packet makes them anew, and a flood of them is nobody's load;
//! - nor is TCP that only inside has spoken in: its client sends the SYN again. Who gives up the role tells the last of those, since their
//!   answers may come by either member. So what ends before it is answered is no record at all.

use super::session::{Kind, NONE, Origin, Root, Session};
use super::tcp::TcpState;
use super::timeouts::tick;
use super::{Nat, copies::Copies};
use crate::base::Nanos;
use crate::wire::protocol;
use crate::wire::record::{Entry, Key, Record};

/// Changes of one turn, at most.
const NOTES: usize = 4096;
/// Connections that are remembered as begun: 0.1 s of 40 000 a second. A power of two.
const BEGUN: usize = 4096;
/// Slots that are called for ahead of their visit.
const AHEAD: u32 = 8;

/// What has happened.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// To whoever is in this slot
    Changed(u32),
    Ended(Key),
}

/// Who is to be told, and of what.
#[derive(Debug)]
pub(super) struct Changes {
    telling: bool,
    notes: Vec<Note>,
    lost: bool,
    /// The run that everything is told for, and the next slot
    walk: Option<(u32, u32)>,
    /// The slots of the connections that were begun last, and how many were begun
    begun: Vec<u32>,
    count: usize,
}

impl Changes {
    /// Nobody is told, with all memory taken.
    pub(super) fn new() -> Changes {
        let (notes, begun) = (Vec::with_capacity(NOTES), vec![NONE; BEGUN]);
        Changes { telling: false, notes, lost: false, walk: None, begun, count: 0 }
    }

    fn begin(&mut self, slot: u32) {
        if let Some(oldest) = self.begun.get_mut(self.count % BEGUN) {
            *oldest = slot;
        }
        self.count = self.count.wrapping_add(1);
    }

    fn note(&mut self, note: Note) {
        match (self.notes.last(), note) {
            (Some(Note::Changed(last)), Note::Changed(slot)) if *last == slot => {}
            _ if self.notes.len() < NOTES => self.notes.push(note),
            _ => self.lost = true,
        }
    }
}

/// The key by which the partner knows a flow.
fn key_of(session: &Session, kind: Kind) -> Key {
    let (protocol, inside, remote) = (session.protocol(), session.inside(), session.remote());
    match kind {
        Kind::Internal => Key::Internal { protocol, inside, remote },
        _ => Key::Flow { protocol, inside, remote },
    }
}

/// TCP that outside has not answered yet.
#[inline(always)]
fn half_open(session: &Session) -> bool {
    session.state == TcpState::SynOut as u8 && session.protocol() == protocol::TCP
}

impl Nat {
    #[inline(always)]
    fn telling(&mut self) -> Option<&mut Changes> {
        self.copies.as_mut().map(|copies| &mut copies.changes).filter(|changes| changes.telling)
    }

    /// Somebody is told of changes.
    #[inline(always)]
    pub fn tells(&self) -> bool {
        self.copies.as_ref().is_some_and(|copies| copies.changes.telling)
    }

    /// The flow in a slot was made or moved, or inside has spoken in it.
    #[inline(always)]
    pub(super) fn changed(&mut self, slot: u32) {
        let half_open = half_open(self.sessions.get(slot));
        if let Some(changes) = self.telling() {
            if half_open { changes.begin(slot) } else { changes.note(Note::Changed(slot)) }
        }
    }

    /// A segment came for the flow in a slot, whose state was `before`.
    #[inline(always)]
    pub(super) fn stepped(&mut self, slot: u32, before: u8) {
        let now = self.sessions.get(slot).state;
        if now != before && TcpState::told_apart(before, now) {
            self.turned(slot);
        }
    }

    /// Another timer runs for the flow in a slot.
    pub fn turned(&mut self, slot: u32) {
        let (session, root) = (self.sessions.get(slot), &self.roots[slot as usize]);
        if session.is_free() || root.origin == Origin::Stranger {
            return;
        }
        // A SYN with the ports of one that had ended.
        let ended = half_open(session).then(|| key_of(session, root.kind));
        let Some(changes) = self.telling() else { return };
        match ended {
            Some(key) => {
                changes.note(Note::Ended(key));
                changes.begin(slot);
            }
            None => changes.note(Note::Changed(slot)),
        }
    }

    /// A flow has ended; it is not in its slot any more.
    #[inline(always)]
    pub(super) fn ended(&mut self, slot: u32, session: &Session, root: &Root) {
        if let Some(copies) = &mut self.copies {
            ended(copies, slot, session, root);
        }
    }

    /// From now on changes are told, and before long all that there is, as this run.
    pub fn tell_all(&mut self, run: u32) {
        if let Some(copies) = &mut self.copies {
            (copies.changes.telling, copies.changes.walk) = (true, Some((run, 0)));
        }
    }

    /// Hands `each` a record of what was begun last and is not answered yet.
    pub fn tell_begun(&self, now: Nanos, mut each: impl FnMut(Record)) {
        let Some(changes) = self.copies.as_ref().map(|copies| &copies.changes) else { return };
        for (at, slot) in changes.begun.iter().copied().take(changes.count).enumerate() {
            changes.begun.get(at + AHEAD as usize).into_iter().for_each(|next| self.sessions.prefetch(*next));
            let session = self.sessions.get(slot);
            if !session.is_free() && half_open(session) && !session.expired(&self.timeouts, tick(now)) {
                self.any_entry(slot).into_iter().for_each(|entry| each(Record::Is(entry)));
            }
        }
    }

    /// Nobody is told any more.
    pub fn rest(&mut self) {
        if let Some(copies) = &mut self.copies {
            let changes = &mut copies.changes;
            changes.notes.clear();
            (changes.telling, changes.lost, changes.walk, changes.count) = (false, false, None, 0);
        }
    }

    /// Hands `each` a record of each change since the last call.
    pub fn tell(&mut self, mut each: impl FnMut(Record)) {
        let Some(changes) = self.telling().filter(|changes| !changes.notes.is_empty()) else { return };
        let mut notes = std::mem::take(&mut changes.notes);
        for note in &notes {
            match note {
                Note::Ended(key) => each(Record::Ended(*key)),
                Note::Changed(slot) => {
                    self.entry(*slot).into_iter().for_each(|entry| each(Record::Is(entry)))
                }
            }
        }
        notes.clear();
        if let Some(changes) = self.telling() {
            changes.notes = notes;
        }
    }

    /// Some changes found no room, or have been told to be lost.
    pub fn set_lost(&mut self, lost: bool) {
        if let Some(changes) = self.telling() {
            changes.lost = lost;
        }
    }

    /// Some changes have found no room, and nobody was told so yet.
    pub fn has_lost(&self) -> bool {
        self.copies.as_ref().is_some_and(|copies| copies.changes.telling && copies.changes.lost)
    }

    /// Goes on with the walk over all that there is, `slots` further: hands `each` their records. Gives the run whose walk is at its end;
    /// it stays there until `walked`.
    pub fn walk(&mut self, slots: u32, now: Nanos, mut each: impl FnMut(Record)) -> Option<u32> {
        let (run, from) = self.telling()?.walk?;
        let used = self.sessions.used();
        let end = from.saturating_add(slots).min(used);
        for slot in from..end {
            self.sessions.prefetch(slot.wrapping_add(AHEAD));
            self.roots.prefetch(slot.wrapping_add(AHEAD) as usize);
            let live = !self.sessions.get(slot).expired(&self.timeouts, tick(now));
            if let Some(entry) = self.entry(slot).filter(|_| live) {
                each(Record::Is(entry));
            }
        }
        self.telling()?.walk = Some((run, end));
        (end >= used).then_some(run)
    }

    /// The end of a walk has been told.
    pub fn walked(&mut self) {
        if let Some(changes) = self.telling() {
            changes.walk = None;
        }
    }

    /// The flow in a slot, as its partner is told of it. `None`: there is none, or it is a stranger's, or the partner's own, or half open.
    fn entry(&self, slot: u32) -> Option<Entry> {
        if half_open(self.sessions.get(slot)) { None } else { self.any_entry(slot) }
    }

    /// The same, half open or not.
    fn any_entry(&self, slot: u32) -> Option<Entry> {
        let (session, root) = (self.sessions.get(slot), &self.roots[slot as usize]);
        if session.is_free() || root.origin == Origin::Stranger || root.kind == Kind::Away {
            return None;
        }
        // Until outside has answered it is something else.
        let opening = session.state == TcpState::SynOut as u8;
        let acked = session.protocol() == protocol::TCP && !opening && root.kind != Kind::Internal;
        Some(Entry {
            key: key_of(session, root.kind),
            group: root.group,
            wan: session.wan(),
            outside: session.outside(),
            state: session.state,
            kind: root.kind as u8,
            origin: root.origin as u8,
            pin: if root.mapping == NONE { 0 } else { self.mappings.get(root.mapping).pin },
            last_ack: if acked { session.last_ack } else { 0 },
        })
    }
}

fn ended(copies: &mut Copies, slot: u32, session: &Session, root: &Root) {
    copies.forget(slot);
    if copies.changes.telling && root.origin != Origin::Stranger && !half_open(session) {
        copies.changes.note(Note::Ended(key_of(session, root.kind)));
    }
}
