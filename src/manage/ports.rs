//! Who has which external ports, and who lends to whom. Pure but for the table that it writes and all workers read.
//!
//! A worker whose pool runs low gets a `Loan`: it goes to the other workers in turn, that with the most free ports first,
//! until one puts ports into it; then the table says whose they are, then the borrower gets them. In that order: a reply
//! to a borrowed port must find its owner. If nobody has any, the borrower is told so after a pause.
//!
//! How far it goes: as long as no worker is more than an eighth away from its slice, ports go where they are
//! used, to the last one. Beyond that a lender keeps a reserve. So uneven hosts get every port of an address, and a host
//! that takes all it can get leaves the others' workers something to begin with.
//!
//! Bounded: a pool of a worker has one loan at a time. A loan that finds a ring full is kept and tried again at the next
//! step, so no port is lost.

use std::sync::Arc;

use rtrb::PushError;

use crate::base::{Nanos, WorkerId};
use crate::engine::ToWorker;
use crate::engine::steer::Steer;
use crate::nat::FIRST_PORTS;
use crate::nat::lots::Loan;
use crate::table::lent::{CLASSES, LOT, Lent, Lot, PoolId};

/// A lender keeps so many free ports, at most, when one of the two is far from its slice.
const RESERVE: u32 = 256;
/// And one in so many of its slice, at most.
const RESERVE_SHARE: u32 = 4;
/// Far from its slice is a worker that has one in so many ports more, or less.
const FAR: u32 = 8;
/// So long a worker waits that asks when nobody has any to lend.
const PAUSE: Nanos = Nanos::from_ms(10);

/// What is known of a pool, by worker.
#[derive(Debug)]
struct Book {
    pool: PoolId,
    /// Ports that it has, in use or not
    held: Vec<u32>,
    /// Free ports that it had when it last said so
    free: Vec<u32>,
}

/// What a loan waits for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// To go to the next lender
    Ask,
    /// To go to its borrower, from then on
    Give(Nanos),
}

/// The books of all pools that were ever low, and the loans that are not with a worker.
#[derive(Debug)]
pub(super) struct Ports {
    steer: Steer,
    lent: Arc<Lent>,
    /// Ports in the workers' slices, by class
    slices: [Vec<u32>; CLASSES],
    books: Vec<Book>,
    loans: Vec<(Box<Loan>, Next)>,
}

impl Ports {
    /// Every worker has its slice; what is lent is written to `lent`.
    pub(super) fn new(workers: usize, lent: Arc<Lent>) -> Ports {
        let steer = Steer::new(workers);
        let slices = FIRST_PORTS.map(|first| {
            let mut slices = vec![0; workers];
            (first..=u16::MAX).for_each(|port| slices[steer.port(port).index()] += 1);
            slices
        });
        Ports { steer, lent, slices, books: Vec::new(), loans: Vec::new() }
    }

    fn book(&mut self, pool: PoolId) -> &mut Book {
        let known = self.books.iter().position(|book| book.pool == pool);
        let at = known.unwrap_or(self.books.len());
        if known.is_none() {
            let slices = &self.slices[pool.class()];
            self.books.push(Book { pool, held: slices.clone(), free: slices.clone() });
        }
        &mut self.books[at]
    }

    /// A worker's pool runs low.
    pub(super) fn low(&mut self, worker: usize, pool: PoolId, free: u32, now: Nanos) {
        self.book(pool).free[worker] = free;
        let borrower = WorkerId(worker as u8);
        let (asked, lot) = (1 << worker, Lot::new());
        let (lender, has, keep, most, left) = (borrower, free, 0, 0, 0);
        let mut loan = Box::new(Loan { pool, borrower, lender, has, asked, keep, most, left, lot });
        let next = self.next(&mut loan, now);
        self.loans.push((loan, next));
    }

    /// A lender has put in what it lends, which may be nothing.
    pub(super) fn lent(&mut self, mut loan: Box<Loan>, now: Nanos) {
        let (count, pool, left) = (loan.lot.len() as u32, loan.pool, loan.left);
        let (lender, borrower) = (loan.lender.index(), loan.borrower.index());
        let book = self.book(pool);
        book.free[lender] = left;
        book.free[borrower] += count;
        book.held[lender] = book.held[lender].saturating_sub(count);
        book.held[borrower] += count;
        for port in &loan.lot {
            let holder = Some(loan.borrower).filter(|borrower| self.steer.port(*port) != *borrower);
            self.lent.set(pool, *port, holder);
        }
        let next = if count > 0 { Next::Give(now) } else { self.next(&mut loan, now) };
        self.loans.push((loan, next));
    }

    /// Where a loan without ports goes: to the worker with the most free ones of those that were not asked yet, or back.
    fn next(&mut self, loan: &mut Loan, now: Nanos) -> Next {
        let known = self.books.iter().find(|book| book.pool == loan.pool);
        let slices = &self.slices[loan.pool.class()];
        let open = (0..slices.len()).filter(|w| loan.asked & 1 << w == 0);
        let most = open.max_by_key(|w| known.map_or(0, |book| book.free[*w]));
        let Some((lender, book)) = most.zip(known) else { return Next::Give(now + PAUSE) };
        loan.asked |= 1 << lender;
        loan.lender = WorkerId(lender as u8);
        (loan.keep, loan.most) = terms(slices, &book.held, lender, loan.borrower.index());
        Next::Ask
    }

    /// Sends the loans on their way. `push` puts a message into a worker's ring.
    pub(super) fn step(
        &mut self,
        now: Nanos,
        push: &mut impl FnMut(usize, ToWorker) -> Result<(), PushError<ToWorker>>,
    ) {
        for (loan, next) in std::mem::take(&mut self.loans) {
            let pushed = match next {
                Next::Give(at) if now < at => {
                    self.loans.push((loan, next));
                    continue;
                }
                Next::Give(_) => push(loan.borrower.index(), ToWorker::TakePorts(loan)),
                Next::Ask => push(loan.lender.index(), ToWorker::LendPorts(loan)),
            };
            if let Err(PushError::Full(ToWorker::TakePorts(loan) | ToWorker::LendPorts(loan))) = pushed {
                self.loans.push((loan, next));
            }
        }
    }
}

/// What a lender keeps free, and how many it lends at most.
fn terms(slices: &[u32], held: &[u32], lender: usize, borrower: usize) -> (u32, u32) {
    let above = slices[borrower] + slices[borrower] / FAR;
    let below = slices[lender] - slices[lender] / FAR;
    let near = above.saturating_sub(held[borrower]).min(held[lender].saturating_sub(below));
    match near {
        0 => (RESERVE.min(slices[lender] / RESERVE_SHARE), LOT as u32),
        near => (0, near.min(LOT as u32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::WanId;
    use crate::sim::seeds::seeds;
    use crate::wire::protocol;
    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    const POOL: PoolId = PoolId { wan: WanId(0), address: 0, protocol: protocol::TCP };

    /// Ports and workers that lend as `nat::lots` does, with rings that are full now and then.
    struct World {
        ports: Ports,
        lent: Arc<Lent>,
        /// Free ports of each worker, and those in use
        free: Vec<Vec<u16>>,
        used: Vec<Vec<u16>>,
        waits: Vec<bool>,
        now: Nanos,
    }

    impl World {
        fn new(workers: usize) -> World {
            let lent = Arc::new(Lent::new([1]));
            let steer = Steer::new(workers);
            let slice = |w: usize| (1024..=u16::MAX).filter(|p| steer.port(*p).index() == w).collect();
            World {
                ports: Ports::new(workers, lent.clone()),
                lent,
                free: (0..workers).map(slice).collect(),
                used: vec![Vec::new(); workers],
                waits: vec![false; workers],
                now: Nanos::from_s(1),
            }
        }

        fn low(&mut self, worker: usize) {
            if !self.waits[worker] {
                self.waits[worker] = true;
                self.ports.low(worker, POOL, self.free[worker].len() as u32, self.now);
            }
        }

        /// A step of the management thread, and what the workers do with what they get. Gives how many messages went.
        fn step(&mut self, rng: &mut impl Rng, full: f64) -> usize {
            let mut messages = Vec::new();
            self.now += Nanos::from_ms(1);
            self.ports.step(self.now, &mut |worker, message| {
                if rng.random_bool(full) {
                    return Err(PushError::Full(message));
                }
                messages.push((worker, message));
                Ok(())
            });
            let count = messages.len();
            for (worker, message) in messages {
                match message {
                    ToWorker::LendPorts(mut loan) => {
                        assert_ne!(worker, loan.borrower.index());
                        let free = &mut self.free[worker];
                        let more = (free.len() as u32).saturating_sub(loan.keep + loan.has).div_ceil(2);
                        for _ in 0..more.min(loan.most) {
                            loan.lot.push(free.pop().unwrap());
                        }
                        loan.left = free.len() as u32;
                        self.ports.lent(loan, self.now);
                    }
                    ToWorker::TakePorts(loan) => {
                        for port in &loan.lot {
                            let steer = Steer::new(self.free.len());
                            let holder = self.lent.holder(POOL, *port).unwrap_or(steer.port(*port));
                            assert_eq!(holder.index(), worker, "given before it was said whose it is");
                        }
                        assert!(std::mem::take(&mut self.waits[worker]), "nobody has asked");
                        self.free[worker].extend(&loan.lot);
                    }
                    other => panic!("{other:?}"),
                }
            }
            count
        }

        /// Every port is in one place.
        fn check(&self) {
            let under_way = self.ports.loans.iter().flat_map(|(loan, _)| &loan.lot);
            let all: Vec<u16> =
                self.free.iter().chain(&self.used).flatten().chain(under_way).copied().collect();
            assert_eq!(all.len(), 64_512);
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), 64_512);
            let held = |w: usize| self.free[w].len() + self.used[w].len();
            if let Some(book) = self.ports.books.first() {
                let under_way = |w: usize| {
                    let its = self.ports.loans.iter().filter(|(loan, _)| loan.borrower.index() == w);
                    its.map(|(loan, _)| loan.lot.len()).sum::<usize>()
                };
                for w in 0..self.free.len() {
                    assert_eq!(book.held[w] as usize, held(w) + under_way(w));
                }
            }
        }
    }

    #[test]
    fn no_port_is_lost_or_doubled_whatever_is_asked_and_whichever_rings_are_full() {
        for seed in seeds(8) {
            let mut rng = StdRng::seed_from_u64(seed);
            let workers = rng.random_range(2..=16);
            let mut world = World::new(workers);
            for round in 0..300 {
                let w = rng.random_range(0..workers);
                let (free, used) = (&mut world.free[w], &mut world.used[w]);
                if rng.random_bool(0.8) {
                    let at = free.len() - rng.random_range(0..=free.len().min(2000));
                    used.extend(free.drain(at..));
                } else {
                    free.append(used);
                }
                if world.free[w].len() < 300 {
                    world.low(w);
                }
                world.step(&mut rng, 0.3);
                if round % 16 == 0 {
                    world.check();
                }
            }
            for _ in 0..1000 {
                world.step(&mut rng, 0.3);
            }
            assert!(world.waits.iter().all(|waits| !waits), "everybody is answered");
            world.check();
        }
    }

    #[test]
    fn a_worker_that_asks_for_nothing_is_asked_once_a_round_and_rounds_without_ports_pause() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut world = World::new(8);
        for w in 0..8 {
            let (free, used) = (&mut world.free[w], &mut world.used[w]);
            used.append(free);
        }
        let mut messages = 0;
        for _ in 0..1000 {
            world.low(3);
            messages += world.step(&mut rng, 0.0);
        }
        // 7 lenders, a ms each, an answer, and the pause.
        assert!(messages <= 1000 * 8 / 17 + 8, "{messages} messages in a second");
    }

    #[test]
    fn the_last_ports_go_where_they_are_used_until_somebody_is_an_eighth_away_from_its_slice() {
        let slices = [800, 800, 800];
        assert_eq!(terms(&slices, &[800, 800, 800], 0, 1), (0, 100));
        assert_eq!(terms(&slices, &[790, 810, 800], 0, 1), (0, 90));
        assert_eq!(terms(&slices, &[700, 800, 900], 0, 1), (200, 256), "the lender is far below");
        assert_eq!(terms(&slices, &[800, 900, 700], 0, 1), (200, 256), "the borrower is far above");
        assert_eq!(terms(&slices, &[1100, 500, 800], 0, 1), (0, 256), "what was lent can come home");
        assert_eq!(terms(&[32_000, 32_000], &[20_000, 44_000], 0, 1), (RESERVE, 256));
    }
}
