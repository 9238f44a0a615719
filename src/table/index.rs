//! The index: hash -> slot, for keys that stand in the slots themselves.
//!
//! Buckets of one cache line hold eight tags of 15 bits and one that is set where there is an entry, compared at once, and eight slot numbers. A key has two buckets (the second one follows
//! from the first and the tag, so that entries can move without their key: partial-key cuckoo hashing). An insert takes
//! the home bucket while that has room, so that most look-ups read one line; then the other one; if both are full it moves one
//! entry, by a search of bounded breadth. So a look-up reads two lines at most, an
//! insert a bounded number, and nothing is ever rehashed. A bucket counts the entries that are not in it though it is their home: while
//! there are none, whoever is not found in it is nowhere, and a new key costs one line. Who does not know the key of the hash cannot aim at a bucket.

use super::store::{Store, equal8};

const WAYS: usize = 8;
/// Buckets that an insert looks at before it gives up.
const SEARCH: usize = 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
    /// Entries whose home this is and that stand in their other bucket
    away: u32,
    /// One bit per way: this is not the home of what stands there
    guests: u32,
}

const EMPTY: Bucket = Bucket { tags: [0; WAYS], slots: [0; WAYS], away: 0, guests: 0 };

impl Bucket {
    /// The first way whose tag is `tag`.
    #[inline(always)]
    fn way(&self, tag: u16) -> Option<usize> {
        first(equal8(&self.tags, tag))
    }

    /// The slot with this tag for which `is_it` says yes.
    #[inline(always)]
    fn find(&self, tag: u16, is_it: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        let mut hits = equal8(&self.tags, tag);
        while let Some(way) = first(hits) {
            let slot = self.slots[way];
            if is_it(slot) {
                return Some(slot);
            }
            hits &= !(3 << (way * 2));
        }
        None
    }

    #[inline(always)]
    fn free_way(&self) -> Option<usize> {
        self.way(0)
    }
}

/// The first of the ways that have their two bits set.
#[inline(always)]
fn first(ways: u32) -> Option<usize> {
    (ways != 0).then(|| ways.trailing_zeros() as usize / 2 % WAYS)
}

/// What a hash has set that stands for a key: tags, its low 16 bits, are odd, as 0 is where nothing stands.
const KEYED: u64 = 1;
/// Bits of a hash below those that name its home.
const TAG: u32 = 16;

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
        (((hash >> TAG) as u32 & self.mask) as usize, (hash | KEYED) as u16)
    }

    #[inline(always)]
    fn other(&self, bucket: usize, tag: u16) -> usize {
        let step = (u32::from(tag).wrapping_mul(0x9e37_79b1) >> 3 | 1) & self.mask;
        bucket ^ step as usize
    }

    /// The hash of no key: `guess` finds nothing by it.
    pub const NO_KEY: u64 = 2;

    /// Calls for the line that a look-up of this hash reads first.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.buckets.prefetch_masked((hash >> TAG) as usize);
    }

    /// As `prefetch`; gives the hash as `guess` wants it, which everything else here takes for the same.
    #[inline(always)]
    pub fn call(&self, hash: u64) -> u64 {
        self.prefetch(hash);
        hash | KEYED
    }

    /// Calls for the line that a look-up of this hash reads if the first one does not have it, if it reads another one.
    #[inline(always)]
    pub fn prefetch_other(&self, hash: u64) {
        let (home, tag) = self.home(hash);
        if self.buckets.masked(home).away > 0 {
            self.buckets.prefetch(self.other(home, tag));
        }
    }

    /// A slot that may be the one of the key with this hash from `call`, from the first line alone: its tag is.
    #[inline(always)]
    pub fn guess(&self, hash: u64) -> Option<u32> {
        let bucket = self.buckets.masked((hash >> TAG) as usize);
        bucket.way(hash as u16).map(|way| bucket.slots[way])
    }

    /// As `guess`, from the second line, if there may be one.
    #[inline(always)]
    pub fn guess_other(&self, hash: u64) -> Option<u32> {
        let (home, tag) = self.home(hash);
        if self.buckets.masked(home).away == 0 {
            return None;
        }
        let bucket = &self.buckets[self.other(home, tag)];
        bucket.way(tag).map(|way| bucket.slots[way])
    }

    /// The slot of the key with this hash for which `is_it` says yes.
    #[inline(always)]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (home, tag) = self.home(hash);
        let first = self.buckets.masked(home);
        match first.find(tag, &mut is_it) {
            None if first.away > 0 => self.find_away(home, tag, is_it),
            found => found,
        }
    }

    #[inline(never)]
    fn find_away(&self, home: usize, tag: u16, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        self.buckets[self.other(home, tag)].find(tag, &mut is_it)
    }

    /// Adds an entry. The key must not be in yet.
    ///
    /// # Errors
    /// `Full`, with nothing changed.
    #[inline]
    pub fn insert(&mut self, hash: u64, slot: u32) -> Result<(), Full> {
        let (home, tag) = self.home(hash);
        if self.put(home, tag, slot, false) || self.put_elsewhere(home, tag, slot) {
            self.len += 1;
            return Ok(());
        }
        Err(Full)
    }

    #[inline(never)]
    fn put_elsewhere(&mut self, home: usize, tag: u16, slot: u32) -> bool {
        let other = self.other(home, tag);
        let room =
            if self.buckets[other].free_way().is_some() { Some(other) } else { self.make_room(home, other) };
        room.is_some_and(|bucket| self.put(bucket, tag, slot, bucket != home))
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

    /// False: the bucket is full. `guest`: it is not the entry's home.
    #[inline(always)]
    fn put(&mut self, at: usize, tag: u16, slot: u32, guest: bool) -> bool {
        let bucket = &mut self.buckets[at];
        let Some(way) = bucket.free_way() else { return false };
        bucket.tags[way] = tag;
        bucket.slots[way] = slot;
        if guest {
            bucket.guests |= 1 << way;
            let home = self.other(at, tag);
            self.buckets[home].away += 1;
        }
        true
    }

    /// Frees a way of a bucket. True: a guest stood there.
    #[inline(always)]
    fn clear(&mut self, at: usize, way: usize) -> bool {
        let bucket = &mut self.buckets[at];
        let (tag, guest) = (bucket.tags[way], bucket.guests & 1 << way != 0);
        bucket.tags[way] = 0;
        if guest {
            bucket.guests &= !(1 << way);
            let home = self.other(at, tag);
            self.buckets[home].away -= 1;
        }
        guest
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
            if tag != 0 && self.buckets[to].free_way().is_some() {
                let guest = self.clear(from, way);
                self.put(to, tag, slot, !guest);
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
        for at in [home, self.other(home, tag)] {
            let bucket = &self.buckets[at];
            if let Some(way) = (0..WAYS).find(|way| bucket.tags[*way] == tag && bucket.slots[*way] == slot) {
                self.clear(at, way);
                self.len -= 1;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
