//! Slots of a fixed number of values, found by number, with a list of the free ones.

/// A slab of at most `capacity` values.
#[derive(Debug)]
pub struct Slab<T> {
    values: Vec<T>,
    free: Vec<u32>,
    capacity: u32,
}

impl<T: Default> Slab<T> {
    /// Room for `capacity` values, taken at once.
    pub fn new(capacity: u32) -> Slab<T> {
        Slab {
            values: Vec::with_capacity(capacity as usize),
            free: Vec::with_capacity(capacity as usize),
            capacity,
        }
    }

    /// Puts a value into a free slot. `None` if there is none.
    #[inline]
    pub fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.values[slot as usize] = value;
            return Some(slot);
        }
        let slot = self.values.len() as u32;
        if slot >= self.capacity {
            return None;
        }
        self.values.push(value);
        Some(slot)
    }

    /// Frees a slot, which must be taken, and gives its value.
    #[inline]
    pub fn remove(&mut self, slot: u32) -> T {
        let value = std::mem::take(&mut self.values[slot as usize]);
        self.free.push(slot);
        value
    }

    /// How many slots are taken.
    pub fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    /// No slot is taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many slots there are.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many slots were ever used: the free ones among them hold a default value.
    pub fn used(&self) -> u32 {
        self.values.len() as u32
    }

    /// The value in a slot that was used.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> &T {
        &self.values[slot as usize]
    }

    /// The value in a slot that was used.
    #[inline(always)]
    pub fn get_mut(&mut self, slot: u32) -> &mut T {
        &mut self.values[slot as usize]
    }
}
