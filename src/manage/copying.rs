//! The sessions of a pair, on their way: what the workers of the active member tell goes into its log, what the partner's log says goes to
//! the workers of the standby. Pure; the caller has the rings and the line to the partner.
//!
//! - Only the active member's log speaks, only a standby follows. Around a change of role both go on for `LINGER`: who lets go tells the
//!   rest of a copy that is whole, who takes over takes it. Then a standby is told everything anew: what it had as active is no copy.
//! - A worker tells for a run between `Order::Tell` and `Order::Rest`. What it tells for another run is no part of this one: before `Tell` its
//!   orders are done and its ring is empty, so that nothing that has ended unheard comes back.
//! - Bounded: so many records and frames a step (150 us of a core, while all is told), frames that wait, records in the log. A worker whose
//!   ring is full of orders holds up the follower, so nothing is acknowledged that was not handed on.

use std::collections::VecDeque;

use crate::base::{Nanos, WorkerId};
use crate::cluster;
use crate::cluster::sync::{Apply, Bad, Follower, LONGEST, Log, LogStatus};
use crate::engine::copies::{Change, CopyRings, Order};
use crate::wire::record::{self, Key};

/// Changes that a step takes from the workers, at most.
const CHANGES: usize = 384;
/// Frames that a step takes of the log's, and sends.
const FRAMES: usize = 12;
/// Acknowledgements that a step takes.
const ACKS: usize = 32;
/// Frames that wait, at most; of each kind.
const WAITING: usize = 256;
/// Orders that a frame may come to, and some.
const ORDERS: usize = LONGEST / record::LEN + 4;
/// After a change of role the old way goes on for so long.
const LINGER: Nanos = Nanos::from_s(1);

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// Tells nothing.
    Quiet,
    /// Was told to rest, and may not have read that.
    Hushing,
    /// Tells for this run, and whether all that there was has been told.
    Run { run: u32, walked: bool },
}

/// Frames that came to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waste {
    /// No frame of a log, or one that is not for this member's role
    pub malformed: u64,
    /// Not signed by the key
    pub forged: u64,
    /// Found no room among those that wait
    pub crowded: u64,
}

/// The copying of one member.
#[derive(Debug)]
pub struct Copying {
    log: Log,
    follower: Follower,
    active: bool,
    /// Both ways stay open until then: the role has just changed.
    lingers: Option<Nanos>,
    /// By `WorkerId`
    workers: Vec<Telling>,
    data: VecDeque<Vec<u8>>,
    acks: VecDeque<Vec<u8>>,
    waste: Waste,
    begun: bool,
}

impl Copying {
    /// Of a member that is not active, with this boot id and so many workers.
    pub fn new(key: cluster::Key, boot: u64, workers: usize) -> Copying {
        Copying {
            log: Log::new(key.clone(), boot),
            follower: Follower::new(key, boot),
            active: false,
            lingers: None,
            workers: vec![Telling::Quiet; workers],
            data: VecDeque::new(),
            acks: VecDeque::new(),
            waste: Waste::default(),
            begun: false,
        }
    }

    /// This member is active from now on.
    pub fn take(&mut self, now: Nanos) {
        if !self.active {
            self.active = true;
            self.lingers = Some(now + LINGER);
            self.log.rest();
            self.follower.close();
        }
    }

    /// It is not active any more.
    pub fn release(&mut self, now: Nanos) {
        if self.active {
            self.active = false;
            self.lingers = Some(now + LINGER);
            self.log.close();
            self.follower.renew();
        }
    }

    /// The partner has sent this, which begins with `tos`.
    pub fn hear(&mut self, bytes: &[u8]) {
        let waiting = match bytes.get(4) {
            Some(0) if bytes.len() <= LONGEST => &mut self.data,
            Some(1) if bytes.len() <= LONGEST => &mut self.acks,
            _ => return self.waste.malformed += 1,
        };
        if waiting.len() < WAITING {
            waiting.push_back(bytes.to_vec());
        } else {
            self.waste.crowded += 1;
        }
    }

    /// Does what there is to do now. `rings` are the workers', in their order; `owner` has the worker of a flow; `send` sends to the
    /// partner, who may not get it.
    pub fn step(
        &mut self,
        now: Nanos,
        rings: &mut [&mut CopyRings],
        owner: &dyn Fn(&Key) -> WorkerId,
        send: &mut dyn FnMut(Vec<u8>),
    ) {
        self.apply(rings, owner);
        self.acknowledged(now);
        for (worker, ring) in rings.iter_mut().enumerate() {
            self.conduct(worker, ring);
            self.gather(now, worker, ring);
        }
        let walked = |run| move |telling: &Telling| *telling == Telling::Run { run, walked: true };
        if let Some(run) = self.log.walk().filter(|run| self.workers.iter().all(walked(*run))) {
            self.log.walked(run);
        }
        self.linger(now);
        for _ in 0..FRAMES {
            let Some(frame) = self.log.next_frame(now) else { break };
            send(frame);
        }
        // Of an active member it acknowledges the partner's last words, and only while there may be any.
        if (!self.active || self.lingers.is_some())
            && let Some(frame) = self.follower.next_frame(now)
        {
            send(frame);
        }
    }

    /// What the partner's log says goes to the workers.
    fn apply(&mut self, rings: &mut [&mut CopyRings], owner: &dyn Fn(&Key) -> WorkerId) {
        if self.active && self.lingers.is_none() {
            self.data.clear();
        }
        for _ in 0..FRAMES {
            if rings.iter().any(|ring| ring.orders.slots() < ORDERS) {
                break;
            }
            let Some(frame) = self.data.pop_front() else { break };
            let begun = &mut self.begun;
            let heard = self.follower.hear(&frame, &mut |apply| match apply {
                Apply::Begin => {
                    *begun = true;
                    order(rings, Order::Begin);
                }
                Apply::Whole => order(rings, Order::Whole),
                Apply::Record(record) => {
                    let its = owner(&record.key()).index();
                    order(rings.get_mut(its..=its).unwrap_or_default(), Order::Record(record));
                }
            });
            self.note(heard);
        }
    }

    fn acknowledged(&mut self, now: Nanos) {
        for _ in 0..ACKS {
            let Some(frame) = self.acks.pop_front() else { break };
            // A log that rests would take it for a wish.
            if self.active || self.lingers.is_some() {
                let heard = self.log.hear(now, &frame);
                self.note(heard);
            }
        }
    }

    fn note(&mut self, heard: Result<(), Bad>) {
        match heard {
            Ok(()) => {}
            Err(Bad::Form) => self.waste.malformed += 1,
            Err(Bad::Forged) => self.waste.forged += 1,
        }
    }

    /// Makes a worker tell what the log is to have.
    fn conduct(&mut self, worker: usize, ring: &mut CopyRings) {
        let Some(telling) = self.workers.get_mut(worker) else { return };
        // Who lets go tells no more; what its workers have told is still taken.
        let wanted = self.log.run().filter(|_| self.active);
        match (*telling, wanted) {
            (Telling::Run { run, .. }, Some(wanted)) if run == wanted => {}
            (Telling::Run { .. }, _) => {
                if ring.orders.push(Order::Rest).is_ok() {
                    *telling = Telling::Hushing;
                }
            }
            (Telling::Hushing, _) => {
                if ring.orders.slots() == ring.orders.buffer().capacity() && ring.changes.is_empty() {
                    *telling = Telling::Quiet;
                }
            }
            (Telling::Quiet, Some(run)) => {
                if ring.orders.push(Order::Tell(run)).is_ok() {
                    *telling = Telling::Run { run, walked: false };
                }
            }
            (Telling::Quiet, None) => {}
        }
    }

    /// What a worker has told goes into the log.
    fn gather(&mut self, now: Nanos, worker: usize, ring: &mut CopyRings) {
        let share = (CHANGES / self.workers.len().max(1)).max(1);
        for _ in 0..share {
            // What waits in the ring holds up the walk; half of the log is for changes.
            if self.log.walk().is_some() && self.log.room() == 0 {
                break;
            }
            let Ok(change) = ring.changes.pop() else { break };
            let Some(telling) = self.workers.get_mut(worker) else { break };
            let told = match telling {
                Telling::Run { run, .. } => self.log.run() == Some(*run),
                // Its last words are for the run that is ended by them, if that still is the log's.
                Telling::Hushing => !self.active,
                Telling::Quiet => false,
            };
            match (change, telling) {
                (Change::Record(record), _) if told => self.log.put(now, record),
                (Change::Lost, _) if told => self.log.lost(now),
                (Change::Walked(of), Telling::Run { run, walked }) if of == *run => *walked = true,
                _ => {}
            }
        }
    }

    /// Ends what goes on after a change of role.
    fn linger(&mut self, now: Nanos) {
        let Some(until) = self.lingers else { return };
        let said = !self.active
            && self.log.status().behind == 0
            && self.workers.iter().all(|telling| *telling == Telling::Quiet);
        if now >= until || said {
            self.lingers = None;
            if !self.active {
                self.log.rest();
            }
        }
    }

    /// Every session of the partner is here: of a standby, and from the moment on when all has been told anew. Stays so when the partner dies.
    pub fn synced(&self) -> bool {
        !self.active && self.follower.in_sync()
    }

    /// How it stands: of the log while this member is active, else of the follower.
    pub fn status(&self) -> LogStatus {
        if self.active { self.log.status() } else { self.follower.status() }
    }

    /// Records that one member has, as far as is known here, and the other one lacks.
    pub fn behind(&self) -> u64 {
        self.status().behind
    }

    /// Whether another copy has begun since this was asked last.
    pub fn begun(&mut self) -> bool {
        std::mem::take(&mut self.begun)
    }

    /// Frames that came to nothing.
    pub fn waste(&self) -> Waste {
        self.waste
    }

    /// Bytes that wait: records in the log, and frames.
    #[cfg(test)]
    fn kept(&self) -> usize {
        self.log.kept() * record::LEN + (self.data.len() + self.acks.len()) * LONGEST
    }
}

/// There is room: that was asked before.
fn order(rings: &mut [&mut CopyRings], order: Order) {
    for ring in rings {
        let _ = ring.orders.push(order);
    }
}

#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
