//! The log of who has the sessions.
//!
//! Records are numbered; those that were not acknowledged are kept and sent again from the first on when nothing has been acknowledged for
//! `RESEND`. Of those that were never sent, a later one about the same key takes the place of the earlier. A new run walks all sessions: the
//! caller puts each as if it had just changed, between the changes, as many at a time as there is `room` for. A run begins when a follower
//! speaks for which there is none.

use std::collections::{HashMap, VecDeque};

use super::frame::{Bad, CopyId, Head, LogId, RECORDS};
use crate::base::Nanos;
use crate::cluster::key::Key;
use crate::wire::record::{Key as Of, Record};

/// Records that are kept, at most: 7 MB with their index, taken at once.
pub const CAPACITY: usize = 65_536;
/// Records under way, at most.
const WINDOW: u64 = 4_096;
/// Without an acknowledgement for so long all that is under way is sent again.
const RESEND: Nanos = Nanos::from_ms(200);
/// With nothing to say the log says so this often.
const IDLE: Nanos = Nanos::from_ms(500);
/// A follower that was too slow is left alone for so long.
const PAUSE: Nanos = Nanos::from_s(1);
/// A follower that is silent for so long is none.
const GONE: Nanos = Nanos::from_s(5);
/// So many acknowledgements without progress, and a frame is taken for lost.
const SAME: u32 = 3;

/// What a log is at, or its follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncState {
    /// Nobody follows.
    Alone,
    /// The follower was too slow: it gets everything anew, later.
    Paused,
    /// Everything is being sent.
    Bulk,
    /// What changes is sent.
    Following,
    /// Of the follower: no log speaks.
    Waiting,
    /// Of the follower: everything is coming.
    Copying,
    /// Of the follower: everything is here.
    Whole,
}

/// For `turnout cluster`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LogStatus {
    /// What it is at.
    pub state: SyncState,
    /// Records sent in this run, once each.
    pub sent: u64,
    /// Of those, acknowledged.
    pub acked: u64,
    /// Records that the follower does not have yet.
    pub behind: u64,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    key: Key,
    id: LogId,
    /// The copy that this run is for.
    follower: CopyId,
    heard: Nanos,
    /// There will be no other run.
    closing: bool,
    state: SyncState,
    paused_at: Nanos,
    /// From number `acked` on.
    records: VecDeque<Record>,
    acked: u64,
    /// The next to be sent, maybe again.
    next: u64,
    /// From this one on nothing was ever sent.
    fresh: u64,
    /// The numbers of those, by key.
    waiting: HashMap<Of, u64>,
    whole: u64,
    capacity: usize,
    /// Records under way, at most, now
    window: u64,
    /// Acknowledgements since the last progress; none are counted after what was missing has been sent again.
    same: u32,
    progress: Nanos,
    spoke: Nanos,
    /// There is something to tell besides records.
    tell: bool,
    runs: u64,
}

impl Log {
    /// A log that nobody follows yet, of the member with this boot id.
    pub fn new(key: Key, boot: u64) -> Log {
        Log::with_capacity(key, boot, CAPACITY)
    }

    /// One that keeps fewer records; at least 64.
    pub fn with_capacity(key: Key, boot: u64, capacity: usize) -> Log {
        let capacity = capacity.max(64);
        Log {
            key,
            id: LogId { boot, run: 0 },
            follower: CopyId::default(),
            heard: Nanos::ZERO,
            closing: false,
            state: SyncState::Alone,
            paused_at: Nanos::ZERO,
            records: VecDeque::with_capacity(capacity),
            acked: 0,
            next: 0,
            fresh: 0,
            waiting: HashMap::with_capacity(capacity),
            whole: u64::MAX,
            capacity,
            window: WINDOW,
            same: 0,
            progress: Nanos::ZERO,
            spoke: Nanos::ZERO,
            tell: false,
            runs: 0,
        }
    }

    fn end(&self) -> u64 {
        self.acked + self.records.len() as u64
    }

    /// Another run. The old one's frames and acknowledgements count no more.
    fn begin(&mut self, state: SyncState) {
        self.id.run = self.id.run.wrapping_add(1);
        (self.acked, self.next, self.fresh, self.whole) = (0, 0, 0, u64::MAX);
        self.records.clear();
        self.waiting.clear();
        (self.window, self.same) = (WINDOW, 0);
        (self.state, self.tell) = (state, true);
        self.runs += u64::from(state != SyncState::Alone);
    }

    /// Begins anew in a while.
    fn pause(&mut self, now: Nanos) {
        self.begin(if self.closing { SyncState::Alone } else { SyncState::Paused });
        self.paused_at = now;
    }

    /// Some changes are not known: after a pause all is told anew.
    pub fn lost(&mut self, now: Nanos) {
        if self.run().is_some() {
            self.pause(now);
        }
    }

    /// What is put from now on are the last words: no other run begins. A copy that is not whole gets none.
    pub fn close(&mut self) {
        if self.state == SyncState::Following {
            self.closing = true;
        } else {
            self.rest();
        }
    }

    /// Nothing is told any more. The next follower that speaks gets everything.
    pub fn rest(&mut self) {
        if self.state != SyncState::Alone {
            self.begin(SyncState::Alone);
        }
        self.closing = false;
    }

    /// The run of which changes are to be `put`.
    pub fn run(&self) -> Option<u32> {
        matches!(self.state, SyncState::Bulk | SyncState::Following).then_some(self.id.run)
    }

    /// Something has changed, or was found on a walk.
    pub fn put(&mut self, now: Nanos, record: Record) {
        if matches!(self.state, SyncState::Alone | SyncState::Paused) {
            // A walk will find it.
            return;
        }
        let of = record.key();
        let place =
            self.waiting.get(&of).and_then(|number| usize::try_from(number.checked_sub(self.acked)?).ok());
        if let Some(place) = place.and_then(|at| self.records.get_mut(at)) {
            *place = record;
        } else if self.records.len() < self.capacity {
            self.waiting.insert(of, self.end());
            self.records.push_back(record);
        } else {
            self.pause(now);
        }
    }

    /// All that there is has changed without being `put`, as when a standby takes the role: it is sent anew.
    pub fn renew(&mut self, now: Nanos) {
        if self.state != SyncState::Alone {
            self.begin(SyncState::Bulk);
            self.progress = now;
        }
    }

    /// The run for which all sessions are to be walked and `put`. Stays the same until `walked`; when it
    /// changes, the walk begins anew.
    pub fn walk(&self) -> Option<u32> {
        (self.state == SyncState::Bulk).then_some(self.id.run)
    }

    /// So many records a walk may put now: half the log is for what changes meanwhile.
    pub fn room(&self) -> usize {
        (self.capacity / 2).saturating_sub(self.records.len())
    }

    /// The walk of this run has seen everything.
    pub fn walked(&mut self, run: u32) {
        if self.walk() == Some(run) {
            (self.state, self.whole, self.tell) = (SyncState::Following, self.end(), true);
        }
    }

    /// Bytes of the follower's.
    ///
    /// # Errors
    /// They are no acknowledgement.
    pub fn hear(&mut self, now: Nanos, bytes: &[u8]) -> Result<(), Bad> {
        let (Head::Ack { log, next, follower }, _) = Head::open(&self.key, bytes)? else {
            return Err(Bad::Form);
        };
        if follower < self.follower {
            return Ok(());
        }
        self.heard = now;
        if (follower > self.follower || self.state == SyncState::Alone) && !self.closing {
            self.follower = follower;
            self.begin(SyncState::Bulk);
            self.progress = now;
        }
        if follower != self.follower || log != self.id {
            return Ok(());
        }
        if self.state == SyncState::Paused && now >= self.paused_at + PAUSE {
            (self.state, self.progress) = (SyncState::Bulk, now);
        }
        if next > self.acked && next <= self.fresh {
            let over = usize::try_from(next - self.acked).unwrap_or(usize::MAX).min(self.records.len());
            self.records.drain(..over);
            self.acked = next;
            self.next = self.next.max(next);
            self.progress = now;
            (self.window, self.same) = ((self.window * 2).min(WINDOW), 0);
        } else if next == self.acked && next < self.next {
            self.same = self.same.saturating_add(1);
            if self.same == SAME {
                self.next = self.acked;
            }
        }
        Ok(())
    }

    /// The next frame to be sent, if there is one now. Ask until there is none.
    pub fn next_frame(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.state != SyncState::Alone && now >= self.heard + GONE {
            self.begin(SyncState::Alone);
        }
        if self.state == SyncState::Alone {
            return None;
        }
        if self.next > self.acked && now >= self.progress + RESEND {
            (self.next, self.progress) = (self.acked, now);
            // Nobody may be there: one frame asks.
            self.window = RECORDS as u64;
        }
        let most = (self.acked + self.window).min(self.end()).saturating_sub(self.next).min(RECORDS as u64);
        if most == 0 && !self.tell && now < self.spoke + IDLE {
            return None;
        }
        if self.next == self.acked {
            // From now on an acknowledgement is waited for.
            self.progress = now;
        }
        let (first, whole, end) = (self.next, self.whole, self.end());
        let head = Head::Data { log: self.id, first, whole, end };
        let skip = usize::try_from(first - self.acked).unwrap_or(usize::MAX);
        let frame = head.seal(&self.key, self.records.iter().skip(skip).take(most as usize));
        self.next = first + most;
        self.note_sent();
        (self.spoke, self.tell) = (now, false);
        Some(frame)
    }

    fn note_sent(&mut self) {
        while self.fresh < self.next {
            let at = usize::try_from(self.fresh.saturating_sub(self.acked)).unwrap_or(usize::MAX);
            if let Some(record) = self.records.get(at) {
                self.waiting.remove(&record.key());
            }
            self.fresh += 1;
        }
    }

    /// When `next_frame` is wanted, unless something is put or heard before.
    pub fn next_deadline(&self) -> Nanos {
        if self.state == SyncState::Alone {
            return Nanos::NEVER;
        }
        let resend = if self.next > self.acked { self.progress + RESEND } else { Nanos::NEVER };
        resend.min(self.spoke + IDLE)
    }

    /// How it stands.
    pub fn status(&self) -> LogStatus {
        LogStatus { state: self.state, sent: self.fresh, acked: self.acked, behind: self.end() - self.acked }
    }

    /// Runs that were begun.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Records that are kept.
    pub fn kept(&self) -> usize {
        self.records.len()
    }
}
