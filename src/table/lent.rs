//! Which external ports are with another worker than the one whose slice they are in, and the lots they go in.
//!
//! A lot is so many single ports, not a block: a pool draws uniformly from all that is free, so that once a few per cent
//! are in use no block of 64 is free as a whole, and to keep blocks whole would make the next port easy to guess.
//!
//! `Lent` has a byte for every port of a pool, made when the first of them is lent. The management thread alone writes it;
//! workers read it on the long way of a packet from outside, never on the established path. A cell is written before
//! the message that gives the port to its borrower, which releases it; whoever gets a reply to that port gets it later.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use arrayvec::ArrayVec;

use crate::base::{WanId, WorkerId};
use crate::wire::protocol;

/// Ports in a lot, at most.
pub const LOT: usize = 256;
/// Ports on their way from one worker to another.
pub type Lot = ArrayVec<u16, LOT>;

/// Kinds of ports: UDP's, TCP's, and identifiers of echoes.
pub const CLASSES: usize = 3;
/// Ports of a class.
const ALL: usize = 1 << 16;

/// The ports of one address of a WAN for one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolId {
    /// The WAN
    pub wan: WanId,
    /// Which of its addresses
    pub address: u16,
    /// See `wire::protocol`
    pub protocol: u8,
}

impl PoolId {
    /// The class of its ports, below `CLASSES`.
    pub const fn class(self) -> usize {
        class_of(self.protocol)
    }
}

/// The class of a protocol's ports, below `CLASSES`.
pub const fn class_of(protocol: u8) -> usize {
    match protocol {
        protocol::UDP => 0,
        protocol::TCP => 1,
        _ => 2,
    }
}

/// By port: 0, or 1 + the worker that has it
type Cells = OnceLock<Box<[AtomicU8]>>;

/// Who has the ports that are not in their own worker's hands.
#[derive(Debug, Default)]
pub struct Lent {
    any: AtomicBool,
    /// [wan][address][class]
    pools: Vec<Vec<[Cells; CLASSES]>>,
}

/// Each is itself: what stands in it changes.
impl PartialEq for Lent {
    fn eq(&self, other: &Lent) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Lent {}

impl Lent {
    /// Nothing is lent. `wans` says how many addresses each WAN has.
    pub fn new(wans: impl IntoIterator<Item = usize>) -> Lent {
        let pools = |addresses| (0..addresses).map(|_| Default::default()).collect();
        Lent { any: AtomicBool::new(false), pools: wans.into_iter().map(pools).collect() }
    }

    /// Something has been lent at some time.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }

    fn cells(&self, pool: PoolId) -> Option<&Cells> {
        Some(&self.pools.get(pool.wan.index())?.get(usize::from(pool.address))?[pool.class()])
    }

    /// Who has a port. `None`: the worker whose slice it is in.
    pub fn holder(&self, pool: PoolId, port: u16) -> Option<WorkerId> {
        let cells = self.cells(pool)?.get()?;
        cells[usize::from(port)].load(Relaxed).checked_sub(1).map(WorkerId)
    }

    /// Notes who has a port; `None` as in `holder`. The management thread alone calls this.
    pub fn set(&self, pool: PoolId, port: u16, holder: Option<WorkerId>) {
        let Some(cells) = self.cells(pool) else { return };
        let cells = cells.get_or_init(|| (0..ALL).map(|_| AtomicU8::new(0)).collect());
        cells[usize::from(port)].store(holder.map_or(0, |worker| worker.0 + 1), Relaxed);
        self.any.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_with_whom_it_was_lent_to_and_no_other_pool_hears_of_it() {
        let lent = Lent::new([1, 2]);
        let pool = PoolId { wan: WanId(1), address: 1, protocol: protocol::UDP };
        assert!(!lent.any());
        assert_eq!(lent.holder(pool, 5000), None);
        lent.set(pool, 5000, Some(WorkerId(127)));
        assert!(lent.any());
        assert_eq!(lent.holder(pool, 5000), Some(WorkerId(127)));
        assert_eq!(lent.holder(pool, 5001), None);
        for other in [
            PoolId { protocol: protocol::TCP, ..pool },
            PoolId { protocol: protocol::ICMP, ..pool },
            PoolId { address: 0, ..pool },
            PoolId { wan: WanId(0), address: 0, ..pool },
            // There is no such pool.
            PoolId { wan: WanId(0), ..pool },
            PoolId { wan: WanId(2), ..pool },
        ] {
            assert_eq!(lent.holder(other, 5000), None);
        }
        lent.set(pool, 5000, None);
        assert_eq!(lent.holder(pool, 5000), None);
    }
}
