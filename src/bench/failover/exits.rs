//! Ports that note when frames leave: the arrays of the other measurements, with a stamp of the cycle counter each time
//! that a worker hands frames to an interface. The stamp is taken where a driver would be called.

use arrayvec::ArrayVec;

use crate::base::IfaceId;
use crate::bench::traffic::{Arrays, Bed, IFACES, is_fresh};
use crate::dpdk::{Mbuf, Pool, tsc};
use crate::engine::{BURST, Ports};
use crate::packet::PacketBuf;

/// When frames last left by an interface, in cycles: since the last `forget`.
#[derive(Clone, Copy, Default)]
pub(super) struct Left {
    /// The first ones
    pub(super) first: Option<u64>,
    /// The last ones
    pub(super) last: Option<u64>,
    /// The first ones with a flow's first packet among them
    pub(super) fresh: Option<u64>,
}

/// The ports.
pub(super) struct Exits {
    arrays: Arrays,
    left: [Left; IFACES],
}

impl Exits {
    pub(super) fn new(pool: Pool) -> Exits {
        Exits { arrays: Arrays::new(pool), left: Default::default() }
    }

    /// What left by an interface.
    pub(super) fn left(&self, iface: IfaceId) -> Left {
        self.left.get(iface.index()).copied().unwrap_or_default()
    }

    /// Nothing has left so far.
    pub(super) fn forget(&mut self) {
        self.left = Default::default();
    }
}

impl Bed for Exits {
    fn feed(&mut self, iface: IfaceId, burst: ArrayVec<Mbuf, BURST>) -> bool {
        self.arrays.feed(iface, burst)
    }

    fn begin(&mut self, cycles: u64) {
        self.arrays.begin(cycles);
    }

    fn collect(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        self.arrays.collect(iface, into);
    }
}

impl Ports for Exits {
    type Buf = Mbuf;

    fn receive(&mut self, iface: IfaceId, into: &mut Vec<Mbuf>) {
        self.arrays.receive(iface, into);
    }

    fn send(&mut self, iface: IfaceId, from: &mut Vec<Mbuf>) {
        let now = tsc();
        if let Some(left) = self.left.get_mut(iface.index())
            && !from.is_empty()
        {
            left.first = left.first.or(Some(now));
            left.last = Some(now);
            if left.fresh.is_none() && from.iter().any(|buf| is_fresh(buf.bytes())) {
                left.fresh = Some(now);
            }
        }
        self.arrays.send(iface, from);
    }

    fn alloc(&mut self) -> Option<Mbuf> {
        self.arrays.alloc()
    }

    fn ticks(&self) -> u64 {
        self.arrays.ticks()
    }

    fn began(&self) -> u64 {
        self.arrays.began()
    }
}
