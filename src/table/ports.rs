//! The external ports of one address and protocol that a worker may give out, and who has each of them.
//!
//! Free ports stand in an array; a draw takes a random one and closes the gap with the last. So every free port is
//! equally likely (RFC 6056, RFC 7857 REQ-9), a draw costs the same when one port is left as when all are, and the last
//! port can be had. A port that comes back rests first: it is not given out again for `QUARANTINE` (RFC 6888 REQ-8), so
//! that what is still under way to its former user reaches nobody else. A port freed by a tracked close skips the rest.
//! Draws are made some ahead of their use, so that the lines that they touch are there by then; `peek` tells them.
//! Eight bytes a port, taken at once: a port is free, or rests, or has a user whose number stands in its cell.

use rand::{Rng, RngExt};

use super::store::Store;
use crate::base::Nanos;

/// How long a port rests after use.
pub const QUARANTINE: Nanos = Nanos::from_s(120);

/// The same in ms, up to the next whole one.
const REST_MS: u32 = QUARANTINE.as_ms() as u32 + 1;

/// Ports there are.
const ALL: usize = 1 << 16;
/// A cell without a user.
const NOBODY: u32 = u32::MAX;

/// Draws that are made ahead: as many as a burst may need.
const AHEAD: usize = 32;

/// A pool of ports.
#[derive(Debug)]
pub struct PortPool {
    /// By port: its user, or while it rests until when (in ms, wrapping)
    cells: Store<u32>,
    free: Store<u16>,
    frees: usize,
    /// A ring of those that rest, oldest first
    resting: Store<u16>,
    oldest: usize,
    rests: usize,
    /// A ring of those that were drawn ahead, and how many there are
    ready: [u16; AHEAD],
    next: usize,
    readies: usize,
    /// How many of them were told since
    peeked: usize,
}

impl PortPool {
    /// A pool of these ports, each once; `reserve` as in `Store::new`.
    pub fn new(ports: impl Iterator<Item = u16>, reserve: bool) -> PortPool {
        let mut free = Store::new(ALL, 0u16, reserve);
        let mut frees = 0;
        for port in ports.take(ALL) {
            free[frees] = port;
            frees += 1;
        }
        PortPool {
            cells: Store::new(ALL, NOBODY, reserve),
            free,
            frees,
            resting: Store::new(ALL, 0, reserve),
            oldest: 0,
            rests: 0,
            ready: [0; AHEAD],
            next: 0,
            readies: 0,
            peeked: 0,
        }
    }

    fn push_free(&mut self, port: u16) {
        self.cells[usize::from(port)] = NOBODY;
        self.free[self.frees % ALL] = port;
        self.frees += 1;
    }

    /// Takes a random free port for `user`. `None` if all are in use or rest.
    #[inline]
    pub fn draw(&mut self, rng: &mut impl Rng, now: Nanos, user: u32) -> Option<u16> {
        // Two back for one out: the queue drains faster than it can be used, in bounded steps.
        for _ in 0..2 {
            if !self.rested(now) {
                break;
            }
        }
        while self.readies < AHEAD && self.draw_ahead(rng) {}
        self.readies = self.readies.checked_sub(1)?;
        self.peeked = self.peeked.saturating_sub(1);
        let port = self.ready[self.next % AHEAD];
        self.next = (self.next + 1) % AHEAD;
        self.cells[usize::from(port)] = user;
        Some(port)
    }

    /// A random free port more that is ready to be given out. False if there is none.
    #[inline(always)]
    fn draw_ahead(&mut self, rng: &mut impl Rng) -> bool {
        let Some(last) = self.frees.checked_sub(1) else { return false };
        let at = rng.random_range(0..self.frees as u32) as usize;
        let port = self.free[at];
        self.free[at] = self.free[last];
        self.frees = last;
        self.cells.prefetch(usize::from(port));
        self.ready[(self.next + self.readies) % AHEAD] = port;
        self.readies += 1;
        true
    }

    /// The port that a draw will probably give: the next one with each call, for as many draws as are to come.
    #[inline]
    pub fn peek(&mut self) -> Option<u16> {
        if self.peeked >= self.readies {
            self.peeked = 0;
            return None;
        }
        self.peeked += 1;
        Some(self.ready[(self.next + self.peeked - 1) % AHEAD])
    }

    /// Whether the port that has rested longest has rested enough: the next draw frees it.
    pub fn ripe(&self, now: Nanos) -> bool {
        // Not "later than": nobody may have drawn for weeks, in which the clock comes round.
        let left = self.cells[usize::from(self.resting[self.oldest])].wrapping_sub(now.as_ms() as u32);
        self.rests > 0 && (left == 0 || left > REST_MS)
    }

    /// Ends the rest of the port that has rested longest, if it has rested enough.
    fn rested(&mut self, now: Nanos) -> bool {
        let over = self.ripe(now);
        if over {
            let port = self.resting[self.oldest];
            self.oldest = (self.oldest + 1) % ALL;
            self.rests -= 1;
            self.push_free(port);
        }
        over
    }

    /// Ends the rest of up to `most` ports that have rested enough.
    pub fn wake(&mut self, now: Nanos, most: usize) {
        for _ in 0..most {
            if !self.rested(now) {
                break;
            }
        }
    }

    /// Takes a random free port out for good, of two the one that is `foreign`. `None` if none is free.
    pub fn give_away(&mut self, rng: &mut impl Rng, foreign: impl Fn(u16) -> bool) -> Option<u16> {
        let Some(last) = self.frees.checked_sub(1) else {
            // What was drawn ahead is free as well; the one that would be used last.
            self.readies = self.readies.checked_sub(1)?;
            self.peeked = self.peeked.min(self.readies);
            return Some(self.ready[(self.next + self.readies) % AHEAD]);
        };
        let mut random = || rng.random_range(0..self.frees as u32) as usize;
        let (one, other) = (random(), random());
        let at = if foreign(self.free[other]) { other } else { one };
        let port = self.free[at];
        self.free[at] = self.free[last];
        self.frees = last;
        Some(port)
    }

    /// Takes in a port that is in no pool.
    pub fn take_in(&mut self, port: u16) {
        self.push_free(port);
    }

    /// Every port that it has, once for each place where it stands: for checks, as it walks all of them.
    pub fn all(&self) -> Vec<u16> {
        let resting = (0..self.rests).map(|n| self.resting[(self.oldest + n) % ALL]);
        let ready = (0..self.readies).map(|n| self.ready[(self.next + n) % AHEAD]);
        let mut all: Vec<u16> = (0..self.frees).map(|n| self.free[n]).chain(ready).chain(resting).collect();
        let mut idle = vec![false; ALL];
        all.iter().for_each(|port| idle[usize::from(*port)] = true);
        all.extend((0..=u16::MAX).filter(|p| !idle[usize::from(*p)] && self.user(*p).is_some()));
        all
    }

    /// The user of a port, if it has one. What a resting port's cell holds is a time: whoever asks must check that the user is right.
    #[inline]
    pub fn user(&self, port: u16) -> Option<u32> {
        Some(self.cells[usize::from(port)]).filter(|user| *user != NOBODY)
    }

    /// Gives a port back, which must have been drawn from here, to rest first.
    pub fn release(&mut self, port: u16, now: Nanos) {
        // Up to the next whole millisecond: never a moment less.
        self.cells[usize::from(port)] = (now + QUARANTINE + Nanos(999_999)).as_ms() as u32;
        self.resting[(self.oldest + self.rests) % ALL] = port;
        self.rests += 1;
    }

    /// Gives a port back, to be drawn again at once (RFC 6888 REQ-8 allows it after a tracked close).
    pub fn release_at_once(&mut self, port: u16) {
        self.push_free(port);
    }

    /// How many ports can be drawn now without waiting.
    pub fn free(&self) -> usize {
        self.frees + self.readies
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.cells.bytes() + self.free.bytes() + self.resting.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    #[test]
    fn rfc6888_13_every_port_is_handed_out_once_before_refusal() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(1024..=65535, false);
        let mut user = 0;
        let drawn: HashSet<u16> = std::iter::from_fn(|| {
            user += 1;
            let port = pool.draw(&mut rng, Nanos::ZERO, user)?;
            assert_eq!(pool.user(port), Some(user));
            Some(port)
        })
        .collect();
        assert_eq!(drawn.len(), 64512);
    }

    #[test]
    fn rfc6888_8_a_freed_port_rests_for_two_minutes() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(5000..5001, false);
        let port = pool.draw(&mut rng, Nanos::ZERO, 1).unwrap();
        pool.release(port, Nanos::from_s(1));
        assert_eq!(pool.draw(&mut rng, Nanos(Nanos::from_s(121).0 - 1), 2), None);
        assert_eq!(pool.draw(&mut rng, Nanos::from_s(121), 2), Some(5000));
        pool.release_at_once(5000);
        assert_eq!(pool.user(5000), None);
        assert_eq!(pool.draw(&mut rng, Nanos::from_s(121), 3), Some(5000));
        pool.release(5000, Nanos(Nanos::from_s(200).0 + 1));
        assert_eq!(pool.draw(&mut rng, Nanos::from_s(320), 2), None, "not a nanosecond too early");
        assert_eq!(pool.draw(&mut rng, Nanos::from_ms(320_001), 2), Some(5000));
    }

    #[test]
    fn what_is_peeked_is_what_the_draws_give_in_their_order() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut pool = PortPool::new(2000..2100, false);
        assert_eq!(pool.peek(), None, "nothing was drawn ahead yet");
        for round in 0..20 {
            let n = round % 4 + 1;
            pool.draw(&mut rng, Nanos::ZERO, 1).unwrap();
            let told: Vec<u16> = (0..n).map(|_| pool.peek().unwrap()).collect();
            let drawn: Vec<u16> = (0..n).map(|_| pool.draw(&mut rng, Nanos::ZERO, 1).unwrap()).collect();
            assert_eq!(told, drawn);
        }
    }

    #[test]
    fn a_pool_that_nobody_draws_from_for_weeks_has_all_its_ports_back() {
        for days in [1, 24, 25, 30, 49, 50, 75] {
            let mut rng = StdRng::seed_from_u64(1);
            let mut pool = PortPool::new(5000..5010, false);
            let begin = Nanos::from_s(1_000_000);
            let draw_all = |pool: &mut PortPool, rng: &mut StdRng, now| {
                std::iter::from_fn(|| pool.draw(rng, now, 1)).collect::<Vec<u16>>()
            };
            draw_all(&mut pool, &mut rng, begin).into_iter().for_each(|port| pool.release(port, begin));
            let later = begin + Nanos::from_s(days * 86_400);
            assert_eq!(draw_all(&mut pool, &mut rng, later).len(), 10, "after {days} days");
        }
    }

    #[test]
    fn all_ports_can_rest_and_come_back() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut pool = PortPool::new(0..=65535, false);
        for round in 0..3u64 {
            let now = Nanos::from_s(round * 200);
            let drawn: Vec<u16> = std::iter::from_fn(|| pool.draw(&mut rng, now, 1)).collect();
            // The first draws of a round wake two sleepers each.
            assert_eq!(drawn.len(), ALL, "round {round}");
            drawn.iter().for_each(|port| pool.release(*port, now));
            assert_eq!(pool.draw(&mut rng, now, 1), None);
        }
    }

    #[test]
    fn rfc6888_15_and_rfc7857_9_successive_draws_do_not_tell_the_next() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut pool = PortPool::new(1024..=65535, false);
        let draws: Vec<i32> =
            (0..10_000).map(|_| i32::from(pool.draw(&mut rng, Nanos::ZERO, 1).unwrap())).collect();
        let deltas: HashSet<i32> = draws.windows(2).map(|w| w[1] - w[0]).collect();
        // Uniform draws give some 9 600 different steps; a counter or a stride would give a handful.
        assert!(deltas.len() > 9_000, "{}", deltas.len());
        let upper = draws.iter().filter(|d| **d > 33_279).count();
        assert!((4_700..5_300).contains(&upper), "{upper}");
    }
}
