//! Ports that are taken by their number, as the copy of a partner's mapping has the place that the record names.
//!
//! Where in its bag a port stands nobody knows, and to search for it would cost more than a session. So it goes on standing there, and
//! its cell says that it is not free (`STANDS`); a draw that finds it takes it out of the bag and passes on. So each costs one draw
//! one more step, at some time. Invariants:
//! - a port is taken only from the pool that has begun with it and still has it: not what was borrowed, lent or reserved;
//! - what stands in a bag and is not free is counted, so that `free` tells the truth.

use rand::Rng;

use super::bags::Bags;
use super::ports::{PortPool, RESTS, STANDS, VALUE};
use crate::base::Nanos;

/// Ports that a draw passes over, at most.
pub(super) const PASSES: usize = 256;

impl PortPool<'_> {
    /// Notes that a port which is not free stands in its bag no more, or is free again; whether it did stand there.
    pub(super) fn leave_bag(&mut self, port: u16) -> bool {
        let cell = &mut self.cells[usize::from(port)];
        let stands = *cell & STANDS != 0;
        *cell &= !STANDS;
        let stood = &mut self.stands[usize::from(!Bags::open(self.free.bags.of(port)))];
        *stood = stood.saturating_sub(u32::from(stands));
        stands
    }

    /// Takes a certain port for `user`, if it is one that the pool has begun with and still has, and nobody uses it.
    pub fn take(&mut self, port: u16, user: u32, now: Nanos) -> bool {
        // Where nobody draws nobody else ends the rest of ports.
        self.wake(now, 2);
        let cell = self.cells[usize::from(port)];
        let stands = match cell {
            0 => STANDS,
            cell if cell & RESTS != 0 => cell & STANDS,
            _ => return false,
        };
        if !self.free.bags.has(port) {
            return false;
        }
        if cell == 0 {
            self.stands[usize::from(!Bags::open(self.free.bags.of(port)))] += 1;
        } else {
            self.end_rest_of(port);
        }
        self.cells[usize::from(port)] = user.wrapping_add(1) & VALUE | stands;
        true
    }

    /// Gives a port that is in use to another user.
    pub fn pass_on(&mut self, port: u16, user: u32) {
        let cell = &mut self.cells[usize::from(port)];
        *cell = user.wrapping_add(1) & VALUE | *cell & STANDS;
    }

    /// Takes a port out of the ring of those that rest; the oldest takes its place. Rare: it is searched for.
    #[cold]
    fn end_rest_of(&mut self, port: u16) {
        let place = |n: u32| usize::from(self.oldest.wrapping_add(n as u16));
        let Some(at) = (0..*self.rests).map(place).find(|at| self.resting[*at] == port) else { return };
        self.resting[at] = self.resting[usize::from(*self.oldest)];
        *self.oldest = self.oldest.wrapping_add(1);
        *self.rests = self.rests.saturating_sub(1);
    }

    /// As `draw_from`, after a port that was taken.
    #[cold]
    pub(super) fn draw_after(&mut self, port: u16, rng: &mut impl Rng, bag: usize) -> Option<u16> {
        let mut port = port;
        for _ in 0..PASSES {
            self.leave_bag(port);
            port = self.draw_any(rng, bag)?;
            if self.cells[usize::from(port)] == 0 {
                return Some(port);
            }
        }
        self.leave_bag(port);
        None
    }
}
