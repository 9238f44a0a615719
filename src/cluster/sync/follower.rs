//! Who copies the partner's sessions: takes each record once and in order, whatever becomes of the frames, and says what it has.
//!
//! A member that takes the role has its partner's last words yet to come: `close` takes them, but nothing new. When it lets the role go what it
//! has is no copy of anything: `renew` makes its partner begin anew.

use super::frame::{Bad, CopyId, Head, LogId};
use super::log::{LogStatus, SyncState};
use crate::base::Nanos;
use crate::cluster::key::Key;
use crate::wire::record::Record;

/// An acknowledgement is repeated this often.
const AGAIN: Nanos = Nanos::from_ms(500);
/// A copy that lacks no more than so many records is in sync: a busy log is never quite at its end.
const NEAR: u64 = 1_024;

/// What is to be done with the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// All that there is comes again. Nothing that is there goes yet.
    Begin,
    /// This has changed, or is there.
    Record(Record),
    /// What has not come since `Begin` is no more.
    Whole,
}

/// The follower.
#[derive(Debug)]
pub struct Follower {
    key: Key,
    id: CopyId,
    log: LogId,
    /// What `log` tells counts no more.
    over: bool,
    /// Only the rest of `log` is taken.
    closing: bool,
    next: u64,
    whole: u64,
    is_whole: bool,
    end: u64,
    said: Option<Nanos>,
    due: bool,
}

impl Follower {
    /// One of the member with this boot id, that has nothing yet.
    pub fn new(key: Key, boot: u64) -> Follower {
        Follower {
            key,
            id: CopyId { boot, copy: 0 },
            log: LogId::default(),
            over: false,
            closing: false,
            next: 0,
            whole: u64::MAX,
            is_whole: false,
            end: 0,
            said: None,
            due: true,
        }
    }

    /// What is here is no copy any more, as when an active member becomes a standby: all is to be told anew, from `Begin` on.
    pub fn renew(&mut self) {
        self.id.copy += 1;
        (self.over, self.closing, self.is_whole, self.due) = (true, false, false, true);
    }

    /// From now on nothing is taken but the rest of a run whose copy is whole, until `renew`: this member takes the role.
    pub fn close(&mut self) {
        self.closing = true;
    }

    /// Bytes of the log's.
    ///
    /// # Errors
    /// They are no part of a log.
    pub fn hear(&mut self, bytes: &[u8], out: &mut impl FnMut(Apply)) -> Result<(), Bad> {
        let (Head::Data { log, first, whole, end }, records) = Head::open(&self.key, bytes)? else {
            return Err(Bad::Form);
        };
        if self.closing && (log != self.log || !self.is_whole) || self.over && log <= self.log {
            return Ok(());
        }
        if log > self.log {
            self.over = false;
            (self.log, self.next, self.whole, self.end, self.is_whole) = (log, 0, u64::MAX, 0, false);
            out(Apply::Begin);
        }
        if log < self.log {
            return Ok(());
        }
        self.due = true;
        self.whole = self.whole.min(whole);
        self.end = self.end.max(end);
        // What is missing before the first one is sent again, and this with it.
        let known = self.next.checked_sub(first).and_then(|known| usize::try_from(known).ok());
        let Some(known) = known else { return Ok(()) };
        for record in records.into_iter().skip(known) {
            self.next += 1;
            out(Apply::Record(record));
        }
        if self.next >= self.whole && !self.is_whole {
            self.is_whole = true;
            out(Apply::Whole);
        }
        Ok(())
    }

    /// The acknowledgement to be sent, if it is time for one.
    pub fn next_frame(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.closing && !self.is_whole || !self.due && now < self.next_deadline() {
            return None;
        }
        (self.said, self.due) = (Some(now), false);
        let head = Head::Ack { log: self.log, next: self.next, follower: self.id };
        Some(head.seal(&self.key, [].iter()))
    }

    /// When `next_frame` is wanted, unless something is heard before.
    pub fn next_deadline(&self) -> Nanos {
        self.said.map_or(Nanos::ZERO, |said| said + AGAIN)
    }

    /// The copy is whole, and lacks little of what the log has told of since.
    pub fn in_sync(&self) -> bool {
        self.is_whole && self.behind() <= NEAR
    }

    /// How it stands: `sent` is what the log has told of, `acked` what is here.
    pub fn status(&self) -> LogStatus {
        let state = match (self.over || self.log == LogId::default(), self.is_whole) {
            (true, _) => SyncState::Waiting,
            (false, true) => SyncState::Whole,
            (false, false) => SyncState::Copying,
        };
        LogStatus { state, sent: self.end.max(self.next), acked: self.next, behind: self.behind() }
    }

    /// Records that the log has, as far as it has told, and the copy has not.
    pub fn behind(&self) -> u64 {
        self.end.saturating_sub(self.next)
    }
}
