//! Whole frames between the management thread and the workers: the router's own probes, and what comes back.
//!
//! One ring each way, of slots of a fixed size, apart from the rings for messages: neither a flood of answers nor a hundred probes
//! at once keeps a view or a notice waiting. A worker copies into a slot and allocates nothing; what finds no room is counted
//! and dropped. Of a ring that is not emptied meanwhile each WAN, and each path to the partner of a pair, has its share, so that what floods one WAN takes no room from
//! the others' answers. All of it is stamped by the worker, when it has left or come in.
//!
//! A packet that must leave on time whatever the management thread does (BFD, RFC 5880 6.8.7) is sent by the worker itself, again and again.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::base::{IfaceId, Nanos, WanId};
use crate::path::answers::Source;
use crate::wire::eth;

/// The longest IP packet of a frame.
pub const PACKET_LEN: u16 = 1500;
/// The longest frame.
pub const FRAME_LEN: usize = eth::LEN + PACKET_LEN as usize;
/// Length of a BFD packet's frame (RFC 5880 4.1, RFC 5881).
pub const REPEAT_LEN: usize = eth::LEN + 20 + 8 + 24;

/// Frames on their way to a worker, at most.
const TO_WORKER: usize = 64;
/// Frames on their way from a worker, at most.
const FROM_WORKER: usize = 256;
/// And so many more each way between the members of a pair.
const PAIR: usize = 512;

/// A frame in a slot of a ring.
#[derive(Clone)]
pub struct WholeFrame {
    len: u16,
    bytes: [u8; FRAME_LEN],
}

impl WholeFrame {
    /// A copy. `None`: it is longer than a slot.
    pub fn new(frame: &[u8]) -> Option<WholeFrame> {
        let mut bytes = [0; FRAME_LEN];
        bytes.get_mut(..frame.len())?.copy_from_slice(frame);
        Some(WholeFrame { len: frame.len() as u16, bytes })
    }

    /// The frame.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl std::fmt::Debug for WholeFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.len)
    }
}

/// To be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// By which interface
    pub iface: IfaceId,
    /// Whose probe it is, and what `ToManager::ProbeSent` says when it has left
    pub probe: Option<(WanId, u64)>,
    /// The frame
    pub frame: WholeFrame,
}

/// Has come in, for a probe of the router's.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// From whom
    pub from: Source,
    /// When
    pub at: Nanos,
    /// The frame
    pub frame: WholeFrame,
}

/// A frame that a worker sends again and again, at 75 % to `most_percent` of `every`, each time by lot (RFC 5880 6.8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// By which interface
    pub iface: IfaceId,
    /// The longest time from one to the next
    pub every: Nanos,
    /// 76 to 100: where one lost packet is too many, 90
    pub most_percent: u8,
    /// The frame
    pub frame: [u8; REPEAT_LEN],
}

/// The worker's end.
#[derive(Debug)]
pub struct FramesEnd {
    /// To be sent
    pub from_manager: Consumer<Outgoing>,
    to_manager: Producer<Incoming>,
    /// By source, the WANs first, since the ring was empty
    put: Vec<u16>,
    wans: usize,
    room: usize,
}

/// The management thread's end.
#[derive(Debug)]
pub struct FrameRings {
    /// To be sent
    pub to_worker: Producer<Outgoing>,
    /// Has come in
    pub from_worker: Consumer<Incoming>,
}

/// The two ends of the rings for frames, of a router with so many WANs and so many paths to its partner.
pub fn connect(wans: usize, paths: usize) -> (FrameRings, FramesEnd) {
    let more = if paths > 0 { PAIR } else { 0 };
    let room = FROM_WORKER + more;
    let (to_worker, from_manager) = RingBuffer::new(TO_WORKER + more);
    let (to_manager, from_worker) = RingBuffer::new(room);
    let end = FramesEnd { from_manager, to_manager, put: vec![0; wans + paths], wans, room };
    (FrameRings { to_worker, from_worker }, end)
}

impl FramesEnd {
    /// Puts a frame that has come in into the ring. False: there is no room, or who it is from has had his share.
    pub fn put(&mut self, from: Source, at: Nanos, frame: &[u8]) -> bool {
        if self.to_manager.slots() == self.room {
            self.put.fill(0);
        }
        let share = self.room / self.put.len().max(1);
        let source = match from {
            Source::Wan(wan) => wan.index(),
            Source::Path(path) => self.wans + usize::from(path),
        };
        let Some(had) = self.put.get_mut(source).filter(|had| usize::from(**had) < share) else {
            return false;
        };
        let Some(frame) = WholeFrame::new(frame) else { return false };
        let put = self.to_manager.push(Incoming { from, at, frame }).is_ok();
        *had += u16::from(put);
        put
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_on_one_wan_leaves_the_others_their_room() {
        let (mut rings, mut end) = connect(3, 0);
        let put = |end: &mut FramesEnd, wan: u8| end.put(Source::Wan(WanId(wan)), Nanos::ZERO, &[7; 60]);
        assert_eq!((0..1000).filter(|_| put(&mut end, 0)).count(), 85);
        assert_eq!((0..1000).filter(|_| put(&mut end, 2)).count(), 85);
        assert!(
            !end.put(Source::Wan(WanId(9)), Nanos::ZERO, &[])
                && !end.put(Source::Path(0), Nanos::ZERO, &[0; 1515])
        );
        // Half empty is not empty: the first one goes on waiting.
        (0..85).for_each(|_| drop(rings.from_worker.pop()));
        assert!(!put(&mut end, 0) && put(&mut end, 1));
        while rings.from_worker.pop().is_ok() {}
        assert!(put(&mut end, 0));
        assert_eq!(rings.from_worker.pop().unwrap().frame.bytes(), [7; 60]);
    }
}
