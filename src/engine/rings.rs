//! The rings: lock-free, one producer and one consumer each (crate `rtrb`).
//!
//! Between the management thread and each worker one each way for messages and one for frames (`frames`); between each two workers one each way for frames. A worker never
//! waits for room and never frees what the management thread made: views and listings go back by the ring.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use super::BURST;
use super::beats::Beats;
use super::copies::{self, CopyEnd, CopyRings};
use super::frames::{self, FrameRings, FramesEnd, Repeat};
use super::inquiry::Inquiry;
use super::shared::Shared;
use crate::base::{Generation, IfaceId, Mac, Nanos, WanId, WorkerId};
use crate::nat::Session;
use crate::nat::kill::Kill;
use crate::nat::lots::Loan;
use crate::nat::session::Kind;
use crate::path::{Notice, View};
use crate::table::lent::PoolId;
use crate::wire::arp;

/// Length of an ARP frame, which goes by the ring for messages, in its place among them.
pub const PROBE_LEN: usize = arp::FRAME_LEN;

/// Messages in flight from the management thread to a worker, at most.
const TO_WORKER: usize = 4096;
/// Messages in flight from a worker to the management thread, at most.
const TO_MANAGER: usize = 4096;
/// Frames in flight between two workers, at most.
const HAND_OVER: usize = 1024;

/// A row of a listing.
#[derive(Clone, Copy, Debug)]
pub struct SessionRow {
    /// The session, as it stood
    pub session: Session,
    /// When it was made, in s
    pub created: u32,
    /// How it is carried
    pub kind: Kind,
    /// Whose it is
    pub worker: WorkerId,
}

/// To a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// From now on this is how things stand.
    View(Arc<View>),
    /// A neighbour is there.
    Learn {
        /// The link
        iface: IfaceId,
        /// Its address
        ip: Ipv4Addr,
        /// Where it is
        mac: Mac,
    },
    /// A neighbour was not confirmed for a while: say so when it is used.
    Stale {
        /// The link
        iface: IfaceId,
        /// Its address
        ip: Ipv4Addr,
    },
    /// A neighbour does not answer.
    GiveUp {
        /// The link
        iface: IfaceId,
        /// Its address
        ip: Ipv4Addr,
    },
    /// Send this frame; say when, if it is a probe.
    Send {
        /// The link
        iface: IfaceId,
        /// The frame
        frame: [u8; PROBE_LEN],
        /// The WAN that it probes, and what `ToManager::ProbeSent` says
        probe: Option<(WanId, u64)>,
    },
    /// There are frames in their own ring.
    Frames,
    /// From now on send this again and again on behalf of a WAN, the first at once; or no more.
    Repeat {
        /// The WAN
        wan: WanId,
        /// What, where and how often
        repeat: Option<Repeat>,
    },
    /// Put all sessions into this ring, a few each turn, and give it back.
    List(Producer<SessionRow>),
    /// Fill this loan with ports, and give it back.
    LendPorts(Box<Loan>),
    /// Take these ports in, which are yours from now on, and give the box back. None: nobody has any to lend.
    TakePorts(Box<Loan>),
    /// End these sessions, a few each turn, and give the box back.
    Kill(Box<Kill>),
    /// Say what would become of a packet, and give the box back.
    Explain(Box<Inquiry>),
    /// Send these beats to the partner, in place of those before.
    Beats(Box<Beats>),
}

/// To the management thread.
#[derive(Debug)]
pub enum ToManager {
    /// The path has seen something.
    Notice(Notice),
    /// A view was taken; the one before goes back.
    Taken {
        /// The new one
        generation: Generation,
        /// When
        at: Nanos,
        /// The old one
        old: Arc<View>,
    },
    /// A probe has left.
    ProbeSent {
        /// The WAN
        wan: WanId,
        /// What came with it
        tag: u64,
        /// When
        at: Nanos,
    },
    /// A listing is complete, or nobody listens any more.
    Listed(Producer<SessionRow>),
    /// A pool of external ports runs low. Told once until it is answered by `TakePorts`.
    PortsLow {
        /// The pool
        pool: PoolId,
        /// Free ports that are left
        free: u32,
    },
    /// What the worker lends: the ports are in no pool now.
    PortsLent(Box<Loan>),
    /// The ports are taken in; the box goes back.
    PortsTaken(Box<Loan>),
    /// They are ended.
    Killed(Box<Kill>),
    /// What would become of a packet.
    Explained(Box<Inquiry>),
    /// Beats that were sent, or not any more; the box goes back.
    BeatsBack(Box<Beats>),
}

/// The worker's end.
#[derive(Debug)]
pub struct LcoreEnd {
    /// What the management thread says
    pub from_manager: Consumer<ToWorker>,
    /// What it is told
    pub to_manager: Producer<ToManager>,
    /// Frames that it is to send, and that came in for the router's own probes
    pub frames: FramesEnd,
    /// Sessions that are copied
    pub copies: CopyEnd,
    /// What it may read at any time
    pub shared: Arc<Shared>,
}

/// The management thread's end.
#[derive(Debug)]
pub struct ManagerEnd {
    /// What the worker is told
    pub to_worker: Producer<ToWorker>,
    /// What the worker says
    pub from_worker: Consumer<ToManager>,
    /// Frames to and from it
    pub frames: FrameRings,
    /// Sessions that are copied
    pub copies: CopyRings,
    /// The worker's counters
    pub shared: Arc<Shared>,
}

/// The two ends between the management thread and a worker. `paths`: to the partner of a pair.
pub fn connect(interfaces: usize, wans: usize, paths: usize) -> (ManagerEnd, LcoreEnd) {
    let (to_worker, from_manager) = RingBuffer::new(TO_WORKER);
    let (to_manager, from_worker) = RingBuffer::new(TO_MANAGER);
    let (frames, its) = frames::connect(wans, paths);
    let shared = Arc::new(Shared::new(interfaces, wans));
    let (copies, copied) = copies::connect();
    let lcore = LcoreEnd { from_manager, to_manager, frames: its, copies: copied, shared: shared.clone() };
    (ManagerEnd { to_worker, from_worker, frames, copies, shared }, lcore)
}

/// A frame on its way to its owner, and where it came in: as it came, or turned by the worker that had its first half (`hairpin`).
#[derive(Debug)]
pub(super) struct Handed<B> {
    /// The frame
    pub(super) buf: B,
    /// Where it came in
    pub(super) ingress: IfaceId,
    /// Was turned
    pub(super) turned: bool,
}

/// One worker's rings to and from all others, by `WorkerId`; none to itself.
#[derive(Debug)]
pub struct HandOver<B> {
    /// To the others
    pub(super) to: Vec<Option<Outgoing<B>>>,
    /// From the others
    pub(super) from: Vec<Consumer<Handed<B>>>,
    /// Any of `to` has frames that are not in its ring yet
    pub(super) waiting: bool,
}

/// Frames to one other worker: they go into the ring together, since each time that ring's end is moved costs both cores a cache line.
#[derive(Debug)]
pub(super) struct Outgoing<B> {
    ring: Producer<Handed<B>>,
    waiting: ArrayVec<Handed<B>, BURST>,
}

impl<B> Outgoing<B> {
    /// One more. Gives how many went into the ring, and how many found no room there.
    #[inline]
    pub(super) fn add(&mut self, handed: Handed<B>) -> (u64, u64) {
        let poured = if self.waiting.is_full() { self.pour() } else { (0, 0) };
        self.waiting.push(handed);
        poured
    }

    /// All that wait go into the ring: so many did, so many found no room and are gone.
    pub(super) fn pour(&mut self) -> (u64, u64) {
        let all = self.waiting.len();
        let into = match self.ring.write_chunk_uninit(all) {
            Ok(room) => room.fill_from_iter(self.waiting.drain(..)),
            Err(ChunkError::TooFewSlots(some)) => {
                let room = self.ring.write_chunk_uninit(some);
                room.map_or(0, |room| room.fill_from_iter(self.waiting.drain(..)))
            }
        };
        self.waiting.clear();
        (into as u64, (all - into) as u64)
    }
}

/// The rings between so many workers.
pub fn hand_overs<B>(workers: usize) -> Vec<HandOver<B>> {
    let blank = || HandOver { to: (0..workers).map(|_| None).collect(), from: Vec::new(), waiting: false };
    let mut all: Vec<HandOver<B>> = (0..workers).map(|_| blank()).collect();
    for a in 0..workers {
        for b in (0..workers).filter(|b| *b != a) {
            let (to, from) = RingBuffer::new(HAND_OVER);
            all[a].to[b] = Some(Outgoing { ring: to, waiting: ArrayVec::new() });
            all[b].from.push(from);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_comes_in_order_and_what_finds_no_room_is_told() {
        let mut ends = hand_overs::<usize>(2);
        let (mut two, mut one) = (ends.pop().unwrap(), ends.pop().unwrap());
        let to = one.to[1].as_mut().unwrap();
        let mut sum = (0, 0);
        let mut count = |(into, lost): (u64, u64)| sum = (sum.0 + into, sum.1 + lost);
        for buf in 0..HAND_OVER + 100 {
            count(to.add(Handed { buf, ingress: IfaceId(0), turned: false }));
        }
        count(to.pour());
        count(to.pour());
        assert_eq!(sum, (HAND_OVER as u64, 100));
        let from = &mut two.from[0];
        let came: Vec<usize> = std::iter::from_fn(|| from.pop().ok()).map(|handed| handed.buf).collect();
        assert!(came.iter().copied().eq(0..HAND_OVER));
    }
}
