//! The external ports that a worker may give out, address by address, and who has each of them.
//!
//! `PortPools` has the memory for all addresses of a WAN and one class of ports; a `PortPool` is the share of one address. A
//! port is free (`bags`: which one a draw takes), or rests, or has a user whose number stands in its cell, or is with
//! another worker. One that comes back rests first: it is not given out again for a time (RFC 6888 REQ-8), so that what is
//! still under way to its former user reaches nobody else. A port freed by a tracked close skips the rest.
//! What is taken by its number (`taken`) goes on standing in its bag, and its cell says that it is not free.
//! Draws are made some ahead of their use, so that the lines that they touch are there by then; `call` calls for them.
//! Eight bytes a port, taken at once or when a page of them is used first. All zeros means as at
//! the beginning.

use std::sync::Arc;

use rand::Rng;

use super::ahead::{AHEAD, Ring};
use super::bags::{ALL, BAGS, Bags, Free};
use super::store::Store;
use super::taken::PASSES;
use crate::base::Nanos;

/// How ports rest after use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// How long, 0 s (not at all) to `LONGEST`; RFC 6888 REQ-8 asks for 120 s
    pub rest: Nanos,
    /// Ports of one address and protocol that may rest at a worker, 0 to 65536. One more ends the rest of the oldest
    pub most: u32,
}

impl Quarantine {
    /// Longer rests end after this time.
    pub const LONGEST: Nanos = Nanos::from_s(86_400);
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine { rest: Nanos::from_s(120), most: ALL as u32 }
    }
}

/// In a cell: the port rests until the ms in the lower bits (wrapping). Without it they are 1 + the user, or 0: nobody.
pub(super) const RESTS: u32 = 1 << 31;
/// In a cell: the port has a user, or rests, and stands in its bag all the same.
pub(super) const STANDS: u32 = 1 << 30;
/// The lower bits of a cell.
pub(super) const VALUE: u32 = STANDS - 1;
/// The cell of a port that the pool has begun with and has no more.
const AWAY: u32 = STANDS;

/// So many more are drawn ahead with each draw, until there are enough: a burst that is the first one for many addresses need not wait for all.
const GROWTH: usize = 2;
/// With more addresses nothing is drawn ahead: it would hardly be what a burst needs.
const MOST_AHEAD: usize = 1024;
/// Tries to find a port that is in use.
const TRIES: usize = 32;

/// What a pool counts.
#[derive(Clone, Debug)]
struct Head {
    /// Free ports by bag
    frees: [u32; BAGS],
    /// Ports that any source may get, whether free or not
    held: u32,
    rests: u32,
    /// Ports that stand in their bags and are not free: those that any source may get, and the others
    stands: [u32; 2],
    /// Where in the ring of those that rest the oldest is
    oldest: u16,
}

/// The pools of one class of ports of all addresses of a WAN.
#[derive(Debug)]
pub struct PortPools {
    bags: Arc<Bags>,
    /// How long a port rests, in ms, up to the next whole one; 0: not at all
    rest: u32,
    most: u32,
    heads: Vec<Head>,
    /// By address, for even and odd ports; none if there are too many addresses
    rings: Vec<[Ring; 2]>,
    /// By address and port
    cells: Store<u32>,
    /// By address, as `bags` has it
    free: Store<u16>,
    /// By address a ring of those that rest, oldest first
    resting: Store<u16>,
}

impl PortPools {
    /// So many pools, 0 to 65536, each of the ports in `bags`. If they are to be `ready`, their memory is taken at once (half a MB each), else
    /// page by page with the draws; `reserve` as in `Store::new`.
    pub fn new(
        addresses: usize,
        bags: Arc<Bags>,
        quarantine: Quarantine,
        (ready, reserve): (bool, bool),
    ) -> PortPools {
        let addresses = addresses.min(ALL);
        let len = addresses * ALL;
        let short = |len| if ready { Store::new(len, 0u16, reserve) } else { Store::zeroed(len) };
        let mut free = short(len);
        if ready {
            free.blocks_mut::<ALL>().iter_mut().for_each(|ports| ports.copy_from_slice(bags.ports()));
        }
        let held = bags.counts()[0] + bags.counts()[1];
        let head = Head { frees: bags.counts(), held, rests: 0, stands: [0; 2], oldest: 0 };
        let rest = quarantine.rest.min(Quarantine::LONGEST);
        PortPools {
            bags,
            rest: (rest + Nanos(999_999)).as_ms() as u32,
            most: quarantine.most.min(ALL as u32),
            heads: vec![head; addresses],
            rings: if addresses <= MOST_AHEAD { vec![Default::default(); addresses] } else { Vec::new() },
            cells: if ready { Store::new(len, 0, reserve) } else { Store::zeroed(len) },
            free,
            resting: short(len),
        }
    }

    /// How many pools.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// No pool.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The pool of an address.
    #[inline(always)]
    pub fn pool(&mut self, address: usize) -> Option<PortPool<'_>> {
        let head = self.heads.get_mut(address)?;
        let ports = self.free.blocks_mut().get_mut(address)?;
        Some(PortPool {
            rest: self.rest,
            most: self.most,
            free: Free { bags: &self.bags, counts: &mut head.frees, ports },
            held: &mut head.held,
            rests: &mut head.rests,
            stands: &mut head.stands,
            oldest: &mut head.oldest,
            rings: self.rings.get_mut(address),
            cells: self.cells.blocks_mut().get_mut(address)?,
            resting: self.resting.blocks_mut().get_mut(address)?,
        })
    }

    /// The user of a port, if it has one.
    #[inline]
    pub fn user(&self, address: usize, port: u16) -> Option<u32> {
        user(self.cells.blocks().get(address)?, port)
    }

    /// The port that a draw for this inside port will probably give: the next one with each call, for as many draws as are to
    /// come. Calls for the lines that the draw touches.
    #[inline]
    pub fn call(&mut self, address: usize, inside: u16) -> Option<u16> {
        let bag = self.bags.of(inside);
        let (port, place) = self.rings.get_mut(address)?.get_mut(bag)?.peek()?;
        self.cells.prefetch(address * ALL + usize::from(port));
        self.free.prefetch(address * ALL + self.bags.place(bag, place.into()));
        Some(port)
    }

    /// If fewer than one in ten of an address's ports are free (as `PortPool::used_up`): how many it has.
    #[inline]
    pub fn short(&self, address: usize) -> Option<usize> {
        let head = self.heads.get(address)?;
        let ready: usize = self.rings.get(address).into_iter().flatten().map(|ring| ring.count).sum();
        let free = head.frees[..2].iter().map(|free| *free as usize).sum::<usize>() + ready;
        let free = free.saturating_sub(head.stands[0] as usize);
        (free * 10 < head.held as usize).then_some(head.held as usize)
    }

    /// Free ports of all addresses, those included that only some sources may get.
    pub fn free(&self) -> u64 {
        let free: u64 = self.heads.iter().flat_map(|head| head.frees).map(u64::from).sum();
        let stands: u64 = self.heads.iter().flat_map(|head| head.stands).map(u64::from).sum();
        (free + self.rings.iter().flatten().map(|ring| ring.count as u64).sum::<u64>()).saturating_sub(stands)
    }

    /// Bytes of memory, those included that are taken only when they are used.
    pub fn bytes(&self) -> usize {
        self.cells.bytes() + self.free.bytes() + self.resting.bytes()
    }
}

#[inline(always)]
fn user(cells: &[u32; ALL], port: u16) -> Option<u32> {
    let cell = cells[usize::from(port)];
    (cell & RESTS == 0).then(|| (cell & VALUE).checked_sub(1))?
}

/// The ports of one address and class.
#[derive(Debug)]
pub struct PortPool<'a> {
    rest: u32,
    most: u32,
    pub(super) free: Free<'a>,
    held: &'a mut u32,
    pub(super) rests: &'a mut u32,
    pub(super) stands: &'a mut [u32; 2],
    pub(super) oldest: &'a mut u16,
    rings: Option<&'a mut [Ring; 2]>,
    pub(super) cells: &'a mut [u32; ALL],
    pub(super) resting: &'a mut [u16; ALL],
}

impl PortPool<'_> {
    fn push_free(&mut self, port: u16) {
        let stands = self.leave_bag(port);
        self.cells[usize::from(port)] = 0;
        if !stands {
            self.free.push(port);
        }
    }

    /// Takes a random free port for `user` (below 2^30 - 1), of the parity and range of the inside port if there is one.
    /// `None` if all that this source may get are in use or rest.
    #[inline(always)]
    pub fn draw(&mut self, rng: &mut impl Rng, now: Nanos, inside: u16, user: u32) -> Option<u16> {
        // Two back for one out: the queue drains faster than it can be used, in bounded steps.
        self.wake(now, 2);
        let bag = self.free.bags.of(inside);
        let port = match self.draw_from(rng, bag) {
            Some(port) => port,
            None => self.draw_other(rng, bag)?,
        };
        self.cells[usize::from(port)] = user.wrapping_add(1) & VALUE;
        Some(port)
    }

    #[cold]
    fn draw_other(&mut self, rng: &mut impl Rng, bag: usize) -> Option<u16> {
        [bag ^ 1, bag & 1, bag & 1 ^ 1].into_iter().find_map(|bag| self.draw_from(rng, bag))
    }

    #[inline(always)]
    fn draw_from(&mut self, rng: &mut impl Rng, bag: usize) -> Option<u16> {
        let port = self.draw_any(rng, bag)?;
        if self.cells[usize::from(port)] == 0 { Some(port) } else { self.draw_after(port, rng, bag) }
    }

    #[inline(always)]
    pub(super) fn draw_any(&mut self, rng: &mut impl Rng, bag: usize) -> Option<u16> {
        // Low ports are drawn when they are needed.
        let Some(ring) = self.rings.as_mut().and_then(|rings| rings.get_mut(bag)) else {
            return self.free.draw(rng, bag);
        };
        for _ in 0..GROWTH.min(AHEAD - ring.count.min(AHEAD)) {
            let Some(port) = self.free.draw(rng, bag) else { break };
            ring.push(port, self.free.choose(rng, bag));
        }
        let (port, place) = ring.pop()?;
        if let Some(next) = self.free.draw_at(rng, bag, place) {
            ring.push(next, self.free.choose(rng, bag));
        }
        Some(port)
    }

    /// Whether the port that has rested longest has rested enough: the next draw frees it.
    #[inline(always)]
    pub fn ripe(&self, now: Nanos) -> bool {
        if *self.rests == 0 {
            return false;
        }
        let until = self.cells[usize::from(self.resting[usize::from(*self.oldest)])];
        // Not "later than": nobody may have drawn for weeks, in which the clock comes round.
        let left = until.wrapping_sub(now.as_ms() as u32) & VALUE;
        left == 0 || left > self.rest + 1
    }

    /// Ends the rest of the port that has rested longest.
    fn end_rest(&mut self) {
        let port = self.resting[usize::from(*self.oldest)];
        *self.oldest = self.oldest.wrapping_add(1);
        *self.rests = self.rests.saturating_sub(1);
        self.push_free(port);
    }

    /// Ends the rest of up to `most` ports that have rested enough.
    #[inline(always)]
    pub fn wake(&mut self, now: Nanos, most: usize) {
        for _ in 0..most {
            if !self.ripe(now) {
                break;
            }
            self.end_rest();
        }
    }

    /// Takes a random free port out for good, of two the one that is `foreign`, of those that any source may get. `None`
    /// if none of them is free.
    pub fn give_away(&mut self, rng: &mut impl Rng, foreign: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in 0..PASSES {
            // What was drawn ahead is free as well; the one that would be used last.
            let rings = self.rings.iter_mut().flat_map(|rings| rings.iter_mut());
            let port = self
                .free
                .draw_open(rng, &foreign)
                .or_else(|| rings.max_by_key(|ring| ring.count).and_then(Ring::pop_last))?;
            if !self.leave_bag(port) {
                *self.held = self.held.saturating_sub(1);
                self.cells[usize::from(port)] = AWAY;
                return Some(port);
            }
        }
        None
    }

    /// Takes in a port that is in no pool.
    pub fn take_in(&mut self, port: u16) {
        *self.held += u32::from(Bags::open(self.free.bags.of(port)));
        self.cells[usize::from(port)] = 0;
        self.free.push(port);
    }

    /// Takes out the free ports that `which` names, for good, before any was drawn.
    pub fn remove(&mut self, which: impl Fn(u16) -> bool) {
        let away = |port: u16| {
            let goes = which(port);
            if goes {
                self.cells[usize::from(port)] = AWAY;
            }
            goes
        };
        *self.held = self.held.saturating_sub(self.free.remove(away));
    }

    /// Every port that it has, once for each place where it stands: for checks, as it walks all of them.
    pub fn all(&self) -> Vec<u16> {
        let resting = (0..*self.rests).map(|n| self.resting[usize::from(self.oldest.wrapping_add(n as u16))]);
        let rings = self.rings.iter().flat_map(|rings| rings.iter());
        let ready = rings.flat_map(|ring| (0..ring.count).map(|n| ring.get(n)));
        let free = |port: &u16| self.cells[usize::from(*port)] & STANDS == 0;
        let used = (0..=u16::MAX).filter(|port| self.user(*port).is_some());
        self.free.all().chain(ready).filter(free).chain(resting).chain(used).collect()
    }

    /// The user of a port, if it has one.
    #[inline]
    pub fn user(&self, port: u16) -> Option<u32> {
        user(self.cells, port)
    }

    /// Gives a port back, which must have been drawn from here, to rest first.
    pub fn release(&mut self, port: u16, now: Nanos) {
        if self.rest == 0 || self.most == 0 {
            return self.push_free(port);
        }
        if *self.rests >= self.most {
            self.end_rest();
        }
        // Up to the next whole millisecond: never a moment less.
        let until = (now + Nanos(999_999)).as_ms() as u32;
        let cell = &mut self.cells[usize::from(port)];
        *cell = until.wrapping_add(self.rest) & VALUE | RESTS | *cell & STANDS;
        self.resting[usize::from(self.oldest.wrapping_add(*self.rests as u16))] = port;
        *self.rests += 1;
    }

    /// Gives a port back, to be drawn again at once (RFC 6888 REQ-8 allows it after a tracked close).
    pub fn release_at_once(&mut self, port: u16) {
        self.push_free(port);
    }

    /// How many ports any source can get now without waiting: not the low ones.
    #[inline(always)]
    pub fn free(&self) -> usize {
        let ready: usize = self.rings.iter().flat_map(|rings| rings.iter()).map(|ring| ring.count).sum();
        (self.free.open() as usize + ready).saturating_sub(self.stands[0] as usize)
    }

    /// How many ports it has, free or not: low ones do not count.
    pub fn total(&self) -> usize {
        *self.held as usize
    }

    /// Fewer than one in ten of its ports are free: resting ones are not, low ones do not count.
    pub fn used_up(&self) -> bool {
        self.free() * 10 < *self.held as usize
    }

    /// A random port that somebody uses, of this worker's slice: to be shared among remotes. `None` if none was found in a few
    /// tries, as may be when most are free.
    pub fn random_in_use(&self, rng: &mut impl Rng) -> Option<u16> {
        let found = |port: &u16| self.user(*port).is_some();
        (0..TRIES).find_map(|_| self.free.bags.random(rng).filter(found))
    }
}
