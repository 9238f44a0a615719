//! The external ports of one address and protocol that a worker may give out.
//!
//! Free ports stand in an array; a draw takes a random one and closes the gap with the last. So every free port is
//! equally likely (RFC 6056, RFC 7857 REQ-9), a draw costs the same when one port is left as when all are, and the last
//! port can be had. A port that comes back rests first: it is not given out again for `QUARANTINE` (RFC 6888 REQ-8), so
//! that what is still under way to its former user reaches nobody else. A port freed by a tracked close skips the rest.

use rand::{Rng, RngExt};
use std::collections::VecDeque;

use crate::base::Nanos;

/// How long a port rests after use.
pub const QUARANTINE: Nanos = Nanos::from_s(120);

/// A pool of ports.
#[derive(Debug)]
pub struct PortPool {
    free: Vec<u16>,
    resting: VecDeque<(Nanos, u16)>,
}

impl PortPool {
    /// A pool of these ports, each once.
    pub fn new(ports: impl Iterator<Item = u16>) -> PortPool {
        let free: Vec<u16> = ports.collect();
        PortPool { resting: VecDeque::with_capacity(free.len()), free }
    }

    /// Takes a random free port. `None` if all are in use or rest.
    pub fn draw(&mut self, rng: &mut impl Rng, now: Nanos) -> Option<u16> {
        // Two back for one out: the queue drains faster than it can be used, in bounded steps.
        for _ in 0..2 {
            match self.resting.front() {
                Some((until, port)) if *until <= now => {
                    self.free.push(*port);
                    self.resting.pop_front();
                }
                _ => break,
            }
        }
        if self.free.is_empty() {
            return None;
        }
        let at = rng.random_range(0..self.free.len());
        Some(self.free.swap_remove(at))
    }

    /// Gives a port back, which must have been drawn from here, to rest first.
    pub fn release(&mut self, port: u16, now: Nanos) {
        self.resting.push_back((now + QUARANTINE, port));
    }

    /// Gives a port back, to be drawn again at once (RFC 6888 REQ-8 allows it after a tracked close).
    pub fn release_at_once(&mut self, port: u16) {
        self.free.push(port);
    }

    /// How many ports can be drawn now without waiting.
    pub fn free(&self) -> usize {
        self.free.len()
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
        let mut pool = PortPool::new(1024..=65535);
        let drawn: HashSet<u16> = std::iter::from_fn(|| pool.draw(&mut rng, Nanos::ZERO)).collect();
        assert_eq!(drawn.len(), 64512);
    }

    #[test]
    fn rfc6888_8_a_freed_port_rests_for_two_minutes() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut pool = PortPool::new(5000..5001);
        let port = pool.draw(&mut rng, Nanos::ZERO).unwrap();
        pool.release(port, Nanos::from_s(1));
        assert_eq!(pool.draw(&mut rng, Nanos(Nanos::from_s(121).0 - 1)), None);
        assert_eq!(pool.draw(&mut rng, Nanos::from_s(121)), Some(5000));
        pool.release_at_once(5000);
        assert_eq!(pool.draw(&mut rng, Nanos::from_s(121)), Some(5000));
    }

    #[test]
    fn rfc6888_15_successive_draws_do_not_tell_the_next() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut pool = PortPool::new(1024..=65535);
        let draws: Vec<i32> =
            (0..10_000).map(|_| i32::from(pool.draw(&mut rng, Nanos::ZERO).unwrap())).collect();
        let deltas: HashSet<i32> = draws.windows(2).map(|w| w[1] - w[0]).collect();
        // Uniform draws give some 9 600 different steps; a counter or a stride would give a handful.
        assert!(deltas.len() > 9_000, "{}", deltas.len());
        let upper = draws.iter().filter(|d| **d > 33_279).count();
        assert!((4_700..5_300).contains(&upper), "{upper}");
    }
}
