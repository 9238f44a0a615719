//! Ports that were drawn some time before they are given out, so that the lines that they touch are in the cache by then.
//!
//! They are as random as any: the draw was made already, only nobody but `peek` has told it. A ring of at most `AHEAD`, in
//! the order of the draws. Beside each port it holds the place in the bag where the one stands that comes after it, chosen at random as well.

/// Draws that are made ahead, at most: as many as a burst may need.
pub const AHEAD: usize = 32;

/// A ring of ports that were drawn ahead.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    ports: [u16; AHEAD],
    places: [u16; AHEAD],
    first: usize,
    /// How many there are, 0 to `AHEAD`
    pub count: usize,
    /// How many of them were told since
    peeked: usize,
}

impl Ring {
    /// The one that is drawn after `n` others, below `count`.
    #[inline(always)]
    pub fn get(&self, n: usize) -> u16 {
        self.ports[(self.first + n) % AHEAD]
    }

    /// Adds one, of which there is room for (`count` is below `AHEAD`), and the place of another one.
    #[inline(always)]
    pub fn push(&mut self, port: u16, place: u16) {
        let at = (self.first + self.count) % AHEAD;
        (self.ports[at], self.places[at]) = (port, place);
        self.count += 1;
    }

    /// Takes the next one, and the place of another one.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(u16, u16)> {
        let both = (self.get(0), self.places[self.first % AHEAD]);
        self.count = self.count.checked_sub(1)?;
        self.peeked = self.peeked.saturating_sub(1);
        self.first = (self.first + 1) % AHEAD;
        Some(both)
    }

    /// Takes the one that would be drawn last.
    pub fn pop_last(&mut self) -> Option<u16> {
        self.count = self.count.checked_sub(1)?;
        self.peeked = self.peeked.min(self.count);
        Some(self.get(self.count))
    }

    /// Tells the next one that was not told yet, with the place of another one, and once all were told, nothing for one call.
    #[inline(always)]
    pub fn peek(&mut self) -> Option<(u16, u16)> {
        if self.peeked >= self.count {
            self.peeked = 0;
            return None;
        }
        let at = (self.first + self.peeked) % AHEAD;
        self.peeked += 1;
        Some((self.ports[at], self.places[at]))
    }
}
