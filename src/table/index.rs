//! The index: hash -> slot, for keys that stand in the slots themselves.
//!
//! Buckets of one cache line hold eight tags of 15 bits and one that is set where there is an entry, compared at once, and eight slot numbers. A key has two buckets (the second one follows
//! from the first and the tag, so that entries can move without their key: partial-key cuckoo hashing). An insert takes
//! the home bucket while that has room, so that most look-ups read one line; then the other one; if both are full it moves one
//! entry, by a search of bounded breadth. So a look-up reads two lines at most, an
//! insert a bounded number, and nothing is ever rehashed. Who does not know the key of the hash cannot aim at a bucket.

use super::store::{Store, equal8};

const WAYS: usize = 8;
/// Buckets that an insert looks at before it gives up.
const SEARCH: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
}

const EMPTY: Bucket = Bucket { tags: [0; WAYS], slots: [0; WAYS] };

impl Bucket {
    /// One bit per way whose tag is `tag`.
    #[inline(always)]
    fn matches(&self, tag: u16) -> u32 {
        equal8(&self.tags, tag)
    }

    #[inline(always)]
    fn free_way(&self) -> Option<usize> {
        let free = self.matches(0);
        (free != 0).then(|| free.trailing_zeros() as usize % WAYS)
    }
}

/// No room near the key's buckets: the index is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// An index over slots.
pub struct Index {
    buckets: Store<Bucket>,
    mask: u32,
    len: usize,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Index({} of {})", self.len, self.buckets.len() * WAYS)
    }
}

impl Index {
    /// Room for `entries` at a load of at most 7/8; `reserve` as in `Store::new`.
    pub fn new(entries: usize, reserve: bool) -> Index {
        let buckets = Index::buckets(entries);
        Index { buckets: Store::new(buckets, EMPTY, reserve), mask: buckets as u32 - 1, len: 0 }
    }

    const fn buckets(entries: usize) -> usize {
        let least = (entries * 8 / 7 / WAYS + 1).next_power_of_two();
        if least < 2 { 2 } else { least }
    }

    /// Bytes of memory of one with room for `entries`.
    pub const fn bytes_for(entries: usize) -> usize {
        Index::buckets(entries) * size_of::<Bucket>()
    }

    /// How many entries stand in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    #[inline(always)]
    fn home(&self, hash: u64) -> (usize, u16) {
        let tag = (hash >> 48) as u16;
        ((hash as u32 & self.mask) as usize, tag | 1)
    }

    #[inline(always)]
    fn other(&self, bucket: usize, tag: u16) -> usize {
        let step = (u32::from(tag).wrapping_mul(0x9e37_79b1) >> 3 | 1) & self.mask;
        bucket ^ step as usize
    }

    /// Calls for the line that a look-up of this hash reads first.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.buckets.prefetch((hash as u32 & self.mask) as usize);
    }

    /// Calls for the line that a look-up of this hash reads if the first one does not have it.
    #[inline(always)]
    pub fn prefetch_other(&self, hash: u64) {
        let (home, tag) = self.home(hash);
        self.buckets.prefetch(self.other(home, tag));
    }

    /// A slot that may be the one of the key with this hash, from the first line alone: its tag is.
    #[inline(always)]
    pub fn guess(&self, hash: u64) -> Option<u32> {
        let (home, tag) = self.home(hash);
        let bucket = self.buckets.masked(home);
        let hits = bucket.matches(tag);
        (hits != 0).then(|| bucket.slots[hits.trailing_zeros() as usize % WAYS])
    }

    /// As `guess`, from the second line.
    #[inline(always)]
    pub fn guess_other(&self, hash: u64) -> Option<u32> {
        let (home, tag) = self.home(hash);
        let bucket = &self.buckets[self.other(home, tag)];
        let hits = bucket.matches(tag);
        (hits != 0).then(|| bucket.slots[hits.trailing_zeros() as usize % WAYS])
    }

    /// The slot of the key with this hash for which `is_it` says yes.
    #[inline(always)]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (home, tag) = self.home(hash);
        for bucket in [home, self.other(home, tag)] {
            let bucket = &self.buckets[bucket];
            let mut hits = bucket.matches(tag);
            while hits != 0 {
                let slot = bucket.slots[hits.trailing_zeros() as usize % WAYS];
                if is_it(slot) {
                    return Some(slot);
                }
                hits &= hits - 1;
            }
        }
        None
    }

    /// Adds an entry. The key must not be in yet.
    ///
    /// # Errors
    /// `Full`, with nothing changed.
    #[inline]
    pub fn insert(&mut self, hash: u64, slot: u32) -> Result<(), Full> {
        let (home, tag) = self.home(hash);
        if self.put(home, tag, slot) || self.put_elsewhere(home, tag, slot) {
            self.len += 1;
            return Ok(());
        }
        Err(Full)
    }

    #[inline(never)]
    fn put_elsewhere(&mut self, home: usize, tag: u16, slot: u32) -> bool {
        let other = self.other(home, tag);
        self.put(other, tag, slot) || self.make_room(home, other).is_some_and(|b| self.put(b, tag, slot))
    }

    /// Adds two entries, or none.
    ///
    /// # Errors
    /// As `insert`.
    pub fn insert_both(&mut self, first: (u64, u32), second: (u64, u32)) -> Result<(), Full> {
        self.insert(first.0, first.1)?;
        self.insert(second.0, second.1).inspect_err(|_| {
            self.remove(first.0, first.1);
        })
    }

    #[inline(always)]
    fn put(&mut self, bucket: usize, tag: u16, slot: u32) -> bool {
        let bucket = &mut self.buckets[bucket];
        match bucket.free_way() {
            Some(way) => {
                bucket.tags[way] = tag;
                bucket.slots[way] = slot;
                true
            }
            None => false,
        }
    }

    /// Frees a way in one of two full buckets by moving entries on to their other buckets, breadth first.
    fn make_room(&mut self, home: usize, other: usize) -> Option<usize> {
        // Who was reached from whom, by which way.
        let mut queue: [(u32, u8, u8); SEARCH] = [(0, 0, 0); SEARCH];
        queue[0].0 = home as u32;
        queue[1].0 = other as u32;
        let (mut next, mut end) = (0, 2);
        while next < end {
            let from = queue[next].0 as usize;
            for way in 0..WAYS {
                let tag = self.buckets[from].tags[way];
                let to = self.other(from, tag);
                if self.buckets[to].free_way().is_some() {
                    return Some(self.shift(&queue, next, way, to));
                }
                if end < SEARCH {
                    queue[end] = (to as u32, next as u8, way as u8);
                    end += 1;
                }
            }
            next += 1;
        }
        None
    }

    /// Moves the entry at `way` of the `at`-th bucket to `to`, then each one before it into the way that became free.
    fn shift(
        &mut self,
        queue: &[(u32, u8, u8); SEARCH],
        mut at: usize,
        mut way: usize,
        mut to: usize,
    ) -> usize {
        loop {
            let (from, parent, parent_way) = queue[at];
            let from = from as usize;
            let (tag, slot) = (self.buckets[from].tags[way], self.buckets[from].slots[way]);
            // A bucket can be on the path twice; then the way may be taken again and the entry stays where it is.
            if tag != 0 && self.put(to, tag, slot) {
                self.buckets[from].tags[way] = 0;
            }
            if at < 2 {
                return from;
            }
            to = from;
            way = usize::from(parent_way);
            at = usize::from(parent);
        }
    }

    /// Takes out the entry of `slot` under this hash. False if there is none.
    pub fn remove(&mut self, hash: u64, slot: u32) -> bool {
        let (home, tag) = self.home(hash);
        for bucket in [home, self.other(home, tag)] {
            let bucket = &mut self.buckets[bucket];
            for way in 0..WAYS {
                if bucket.tags[way] == tag && bucket.slots[way] == slot {
                    bucket.tags[way] = 0;
                    self.len -= 1;
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::hash::HashKey;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashMap;

    #[test]
    fn holds_its_entries_at_the_promised_load_and_finds_each() {
        let key = HashKey::draw(&mut StdRng::seed_from_u64(1));
        let n = 7 * 8192; // a load of 7/8 exactly
        let mut index = Index::new(n - 8, false);
        assert_eq!(index.buckets.len(), 8192);
        for i in 0..n as u32 {
            assert_eq!(index.insert(key.hash(u64::from(i), 7), i), Ok(()), "entry {i}");
        }
        for i in 0..n as u32 {
            assert_eq!(index.find(key.hash(u64::from(i), 7), |s| s == i), Some(i));
        }
        assert_eq!(index.find(key.hash(u64::MAX, 7), |s| s == n as u32), None);
    }

    #[test]
    fn a_full_index_refuses_and_loses_nothing() {
        let key = HashKey::draw(&mut StdRng::seed_from_u64(2));
        let mut index = Index::new(100, false);
        let mut kept = Vec::new();
        for i in 0..1000 {
            if index.insert(key.hash(i, 0), i as u32).is_ok() {
                kept.push(i);
            }
        }
        assert!(kept.len() >= 100 && kept.len() < 1000);
        assert_eq!(index.len(), kept.len());
        for i in kept {
            assert_eq!(index.find(key.hash(i, 0), |s| s == i as u32), Some(i as u32));
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_map(ops in prop::collection::vec((any::<bool>(), 0u32..200), 0..2000)) {
            let key = HashKey::draw(&mut StdRng::seed_from_u64(3));
            let mut index = Index::new(160, false);
            let mut model = HashMap::new();
            for (insert, k) in ops {
                let hash = key.hash(u64::from(k), 1);
                if insert && !model.contains_key(&k) {
                    if index.insert(hash, k).is_ok() {
                        model.insert(k, ());
                    }
                } else if !insert {
                    prop_assert_eq!(index.remove(hash, k), model.remove(&k).is_some());
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for k in 0..200 {
                let found = index.find(key.hash(u64::from(k), 1), |s| s == k);
                prop_assert_eq!(found.is_some(), model.contains_key(&k));
            }
        }
    }
}
