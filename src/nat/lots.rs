//! Lending: hosts spread unevenly over the workers, and with them the need for ports. A worker whose pool runs low asks the
//! management thread, once until it is answered; another one gives a lot of its free ports, and the first takes it in.
//!
//! A `Loan` is one box that goes all the way: made by the management thread, filled by the lender, emptied by the borrower,
//! freed where it was made. Invariants:
//! - a port is in one pool or in one loan, never in two or in none;
//! - the lender decides, by what it has at that moment: half of what it has more than the borrower and than it must keep.
//!   After that it has no less than the borrower, so two that are both low do not lend to and fro;
//! - a port in use or at rest is not lent. A borrowed one that comes back stays with the borrower, until somebody else
//!   runs low: then foreign ports go first.

use super::{FIRST_PORTS, Nat, PortSlice};
use crate::base::{Nanos, WorkerId};
use crate::packet::{Counters, Stat};
use crate::table::lent::{CLASSES, LOT, Lot, PoolId, class_of};

/// A pool with fewer free ports is low, at most: what a round by way of the management thread takes is a few ms.
const LOW: usize = 1024;
/// At most one in so many of its ports are low: slices are small where workers are many.
const LOW_SHARE: usize = 8;
/// Fewer are not worth a loan, except to one that has none.
const FEW: u32 = 16;

/// Ports on the way from one worker to another, or the wish for them.
#[derive(Debug)]
pub struct Loan {
    /// Of which pool
    pub pool: PoolId,
    /// Who wants them
    pub borrower: WorkerId,
    /// Free ports that it had
    pub has: u32,
    /// Who is asked for them, or was last
    pub lender: WorkerId,
    /// Workers that were asked, one bit each
    pub asked: u128,
    /// Free ports that the lender keeps
    pub keep: u32,
    /// Ports that it lends at most
    pub most: u32,
    /// Free ports that it has left
    pub left: u32,
    /// The ports
    pub lot: Lot,
}

/// What one worker knows of lending.
#[derive(Debug)]
pub(super) struct Lots {
    /// A pool with fewer free ports is low. 0: all ports are this worker's, nobody has any to lend
    pub(super) low: usize,
    /// Pools that have asked and are not answered, [wan][address][class]
    asked: Vec<Vec<[bool; CLASSES]>>,
    /// Those that the management thread was not told of yet
    untold: Vec<PoolId>,
}

impl Lots {
    pub(super) fn new(wans: &[usize], slice: &impl PortSlice) -> Lots {
        let ports = (FIRST_PORTS[0]..=u16::MAX).filter(|p| slice.holds(*p)).count();
        let alone = (0..=u16::MAX).all(|p| slice.holds(p));
        Lots {
            low: if alone { 0 } else { (ports / LOW_SHARE).clamp(1, LOW) },
            asked: wans.iter().map(|n| vec![[false; CLASSES]; *n]).collect(),
            untold: Vec::with_capacity(wans.iter().sum::<usize>() * CLASSES),
        }
    }

    fn asked(&mut self, pool: PoolId) -> Option<&mut bool> {
        Some(&mut self.asked.get_mut(pool.wan.index())?.get_mut(usize::from(pool.address))?[pool.class()])
    }

    /// A pool has few free ports: it wants more, unless it has asked, or ports end their rest (`ripe`).
    #[cold]
    pub(super) fn runs_low(&mut self, id: PoolId, ripe: bool) {
        let Some(asked) = self.asked(id).filter(|asked| !**asked) else { return };
        if !ripe {
            *asked = true;
            // There is room for every pool once.
            self.untold.push(id);
        }
    }
}

impl Nat {
    /// A pool that wants more ports, and how many it has free; `told` says that the management thread knows.
    #[inline]
    pub fn wants_ports(&mut self) -> Option<(PoolId, u32)> {
        let id = *self.lots.untold.last()?;
        let free = self.pool(id.wan, id.address, id.protocol).map_or(0, |pool| pool.free());
        Some((id, free as u32))
    }

    /// The management thread was told of what `wants_ports` gave last.
    pub fn told(&mut self) {
        self.lots.untold.pop();
    }

    /// Fills a loan's empty lot with free ports, by its terms; those first that are `foreign`, as far as two draws show.
    pub fn lend(
        &mut self,
        loan: &mut Loan,
        foreign: impl Fn(u16) -> bool,
        now: Nanos,
        counters: &mut Counters,
    ) {
        loan.left = 0;
        let PoolId { wan, address, protocol } = loan.pool;
        let pools = self.ports.get_mut(wan.index()).map(|pools| &mut pools[class_of(protocol)]);
        let Some(mut pool) = pools.and_then(|pools| pools.pool(usize::from(address))) else { return };
        // A pool that nobody draws from wakes nobody.
        pool.wake(now, 2 * LOT);
        let more = (pool.free() as u32).saturating_sub(loan.keep.saturating_add(loan.has));
        let half = if loan.has == 0 { more.div_ceil(2) } else { more / 2 };
        let worth = if half < FEW && loan.has > 0 { 0 } else { half.min(loan.most) };
        for _ in 0..(worth as usize).min(loan.lot.remaining_capacity()) {
            let Some(port) = pool.give_away(&mut self.rng, &foreign) else { break };
            loan.lot.push(port);
        }
        loan.left = pool.free() as u32;
        counters.add(Stat::PortsLent, loan.lot.len() as u64);
    }

    /// Takes in what a loan brings, which may be nothing: then nobody has any to lend. The pool may ask again.
    pub fn take_in(&mut self, loan: &mut Loan, counters: &mut Counters) {
        let PoolId { wan, address, protocol } = loan.pool;
        if let Some(asked) = self.lots.asked(loan.pool) {
            *asked = false;
        }
        let Some(mut pool) = self.pool(wan, address, protocol) else { return };
        counters.add(Stat::PortsBorrowed, loan.lot.len() as u64);
        loan.lot.drain(..).for_each(|port| pool.take_in(port));
    }

    /// Every port of a pool that this worker has, free, at rest or in use: for checks.
    pub fn ports_of(&mut self, pool: PoolId) -> Vec<u16> {
        self.pool(pool.wan, pool.address, pool.protocol).map(|pool| pool.all()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::FILTERING;
    use super::super::{NatConfig, Timeouts};
    use super::*;
    use crate::base::WanId;
    use crate::wire::protocol;

    const POOL: PoolId = PoolId { wan: WanId(0), address: 0, protocol: protocol::UDP };

    fn nat(slice: impl Fn(u16) -> bool) -> Nat {
        let s = Nanos::from_s;
        let timeouts = Timeouts::new(s(7440), s(240), s(300), &[], s(60), s(600));
        Nat::new(
            &NatConfig {
                sessions: 64,
                timeouts,
                wans: vec![1],
                filtering: FILTERING,
                quarantine: Default::default(),
                reserved: vec![],
                paired: false,
                reserve: false,
                seed: 1,
            },
            &slice,
        )
    }

    fn loan(has: u32, keep: u32, most: u32) -> Loan {
        let (lender, borrower) = (WorkerId(0), WorkerId(1));
        Loan { pool: POOL, borrower, lender, has, asked: 0, keep, most, left: 0, lot: Lot::new() }
    }

    #[test]
    fn a_lender_gives_half_of_what_it_has_more_and_nothing_for_a_trifle() {
        let counters = &mut Counters::default();
        for (has, keep, most, given) in [
            (0, 0, 256, 50),
            (0, 0, 10, 10),
            (20, 0, 256, 40),
            (20, 30, 256, 25),
            (10, 58, 256, 16),
            (0, 100, 256, 0),
            // Fewer than 16 only to one that has none.
            (70, 0, 256, 0),
            (0, 99, 256, 1),
        ] {
            let mut lender = nat(|port| (2000..2100).contains(&port));
            let mut loan = loan(has, keep, most);
            lender.lend(&mut loan, |_| false, Nanos::from_s(9), counters);
            assert_eq!((loan.lot.len(), loan.left), (given, 100 - given as u32), "{has} {keep} {most}");
            assert_eq!(lender.ports_of(POOL).len(), 100 - given);
            assert!(has == 0 || loan.left >= has + given as u32, "it would have to borrow back");
        }
    }

    #[test]
    fn lent_ports_are_the_borrowers_and_foreign_ones_go_first() {
        let counters = &mut Counters::default();
        let (mut lender, mut borrower) = (nat(|p| (2000..2400).contains(&p)), nat(|p| p == 5000));
        let mut loan = loan(1, 0, 256);
        lender.lend(&mut loan, |port| port >= 2200, Nanos::from_s(9), counters);
        let lot = loan.lot.clone();
        assert_eq!(lot.len(), 199);
        let foreign = lot.iter().filter(|port| **port >= 2200).count();
        assert!(foreign > 120, "{foreign} of 199: by half a coin it would be 100");
        borrower.take_in(&mut loan, counters);
        assert!(loan.lot.is_empty());
        let has = borrower.ports_of(POOL);
        assert!(lot.iter().chain([&5000]).all(|port| has.contains(port)) && has.len() == 200);
        assert!(lender.ports_of(POOL).iter().all(|port| !lot.contains(port)));
        assert_eq!((counters.get(Stat::PortsLent), counters.get(Stat::PortsBorrowed)), (199, 199));
    }

    #[test]
    fn a_pool_that_nobody_draws_from_lends_what_has_rested_and_not_what_rests() {
        let counters = &mut Counters::default();
        let mut lender = nat(|port| (2000..2100).contains(&port));
        let mut pool = lender.pool(POOL.wan, 0, POOL.protocol).unwrap();
        let rng = &mut <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        let drawn: Vec<u16> = std::iter::from_fn(|| pool.draw(rng, Nanos::from_s(1), 2000, 1)).collect();
        drawn.iter().for_each(|port| pool.release(*port, Nanos::from_s(1)));
        for (at, given) in [(120, 0), (121, 50)] {
            let mut loan = loan(0, 0, 256);
            lender.lend(&mut loan, |_| false, Nanos::from_s(at), counters);
            assert_eq!(loan.lot.len(), given, "after {at} s");
        }
    }

    #[test]
    fn a_worker_that_has_all_ports_asks_nobody() {
        assert_eq!(nat(|_| true).lots.low, 0);
        assert_eq!(nat(|port| port % 2 == 0).lots.low, LOW);
        assert_eq!(nat(|port| port % 128 == 0).lots.low, 504 / LOW_SHARE);
    }
}
