//! Slots of a fixed number of values, found by number, with a list of the free ones.

use super::store::Store;

/// A slab of values.
#[derive(Debug)]
pub struct Slab<T: Copy> {
    values: Store<T>,
    /// The free ones below `used`, as a stack: the one freed last is warm.
    free: Store<u32>,
    frees: u32,
    used: u32,
}

impl<T: Copy + Default> Slab<T> {
    /// Room for `capacity` values, taken at once; `reserve` as in `Store::new`.
    pub fn new(capacity: u32, reserve: bool) -> Slab<T> {
        let len = capacity as usize;
        Slab {
            values: Store::new(len, T::default(), reserve),
            free: Store::new(len, 0, reserve),
            frees: 0,
            used: 0,
        }
    }

    /// Puts a value into a free slot. `None` if there is none.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<u32> {
        let slot = if let Some(top) = self.frees.checked_sub(1) {
            self.frees = top;
            self.free[top as usize]
        } else if self.used < self.capacity() {
            self.used += 1;
            self.used - 1
        } else {
            return None;
        };
        self.values[slot as usize] = value;
        Some(slot)
    }

    /// The slot that `insert` fills next.
    #[inline]
    pub fn next(&self) -> Option<u32> {
        match self.frees.checked_sub(1) {
            Some(top) => Some(self.free[top as usize]),
            None => Some(self.used).filter(|used| *used < self.capacity()),
        }
    }

    /// Frees a slot, which must be taken, and gives its value.
    #[inline]
    pub fn remove(&mut self, slot: u32) -> T {
        let value = std::mem::take(&mut self.values[slot as usize]);
        self.free[self.frees as usize] = slot;
        self.frees += 1;
        value
    }

    /// How many slots are taken.
    pub fn len(&self) -> usize {
        (self.used - self.frees) as usize
    }

    /// No slot is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every slot is taken.
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.frees == 0 && self.used == self.capacity()
    }

    /// How many slots there are.
    pub fn capacity(&self) -> u32 {
        self.values.len() as u32
    }

    /// Bytes of memory for each slot.
    pub const fn slot_bytes() -> usize {
        size_of::<T>() + size_of::<u32>()
    }

    /// How many slots were ever used: the free ones among them hold a default value.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Calls for the line of a value.
    #[inline(always)]
    pub fn prefetch(&self, slot: u32) {
        self.values.prefetch(slot as usize);
    }

    /// The value in a slot; in one that is not taken, a default one.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> &T {
        &self.values[slot as usize]
    }

    /// The value in a slot; in one that is not taken, a default one.
    #[inline(always)]
    pub fn get_mut(&mut self, slot: u32) -> &mut T {
        &mut self.values[slot as usize]
    }
}
