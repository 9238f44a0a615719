//! The memory of the tables: a fixed number of values, on huge pages when there are, that can be called for ahead of
//! their use. The only file outside `dpdk` with unsafe code, for what it was measured to bring (docs/performance.md):
//! a look-up in a table of a gigabyte misses the TLB as well on 4 kB pages, and misses that are not called for ahead
//! come one after the other.

use std::ops::{Index, IndexMut};
use std::ptr::NonNull;

use nix::libc;

/// What a huge page holds.
const HUGE: usize = 2 << 20;

/// Values that may be made of zeroed memory.
///
/// # Safety
/// A value all of whose bytes are zero must be one of the type.
pub unsafe trait Zero: Copy {}
// SAFETY: every pattern of bits is a number.
unsafe impl Zero for u16 {}
// SAFETY: as above.
unsafe impl Zero for u32 {}

/// A fixed number of values.
pub struct Store<T: Copy> {
    base: NonNull<T>,
    len: usize,
    /// The greatest power of two that is at most `len`, less one
    mask: usize,
    /// Of the mapping
    bytes: usize,
}

// SAFETY: a Store owns its memory alone, as a Box<[T]> does; nothing in it is bound to a thread unless T is.
unsafe impl<T: Copy + Send> Send for Store<T> {}
// SAFETY: a shared Store only reads.
unsafe impl<T: Copy + Sync> Sync for Store<T> {}

impl<T: Copy> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({} of {} bytes)", self.len, size_of::<T>())
    }
}

impl<T: Copy> Store<T> {
    /// `len` copies of `value`, each page of them in memory when this returns: `mmap`, from the reserve of huge pages
    /// first if `reserve` says so, else from transparent ones where the system has them (`madvise(MADV_HUGEPAGE)`).
    /// As `vec!` it ends the process if there is no memory.
    pub fn new(len: usize, value: T, reserve: bool) -> Store<T> {
        let layout = layout::<T>(len);
        // A small table on a huge page of its own would waste it.
        let large = layout.size() >= HUGE;
        let bytes = layout.size().next_multiple_of(if large { HUGE } else { 4096 });
        let huge = (reserve && large).then(|| map(bytes, libc::MAP_HUGETLB)).flatten();
        let Some(base) = huge.or_else(|| map(bytes, 0)) else { std::alloc::handle_alloc_error(layout) };
        if large && huge.is_none() {
            // SAFETY: exactly the mapping just made. A hint: where it is refused, pages are small.
            unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        let base = base.cast::<T>();
        for at in 0..len.max(1) {
            // SAFETY: len.max(1) * size_of::<T>() <= bytes, the mapping is aligned to pages and writable, and T needs no drop.
            unsafe { base.add(at).write(value) };
        }
        Store { base, len, mask: mask(len), bytes }
    }

    /// `len` zeros, of which a page of 4 kB is in memory once a value in it was written: for tables that may be much larger than
    /// what is used of them, or than the memory. As `vec!` it ends the process if there is no room for its addresses.
    pub fn zeroed(len: usize) -> Store<T>
    where
        T: Zero,
    {
        let layout = layout::<T>(len);
        let bytes = layout.size().next_multiple_of(4096);
        let Some(base) = map(bytes, libc::MAP_NORESERVE) else { std::alloc::handle_alloc_error(layout) };
        // SAFETY: exactly the mapping just made. A hint: huge pages would take 512 times what is used.
        unsafe { libc::madvise(base.as_ptr(), bytes, libc::MADV_NOHUGEPAGE) };
        // Zeros are values (`Zero`), and there is room for one at least.
        Store { base: base.cast(), len, mask: mask(len), bytes }
    }

    /// All values.
    #[inline(always)]
    fn values(&self) -> &[T] {
        // SAFETY: `len` values, all written by `new` or zeros that are values; `&self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// The values in blocks of `N`, without those that are left over.
    #[inline(always)]
    pub fn blocks<const N: usize>(&self) -> &[[T; N]] {
        self.values().as_chunks().0
    }

    /// As `blocks`, to be written.
    #[inline(always)]
    pub fn blocks_mut<const N: usize>(&mut self) -> &mut [[T; N]] {
        // SAFETY: as in `values`, and `&mut self` is the only access.
        let values = unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) };
        values.as_chunks_mut().0
    }

    /// How many values.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// No values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory, the last page's rest included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value at `at` modulo the number of values, which is a power of two (else modulo the power below it).
    #[inline(always)]
    pub fn masked(&self, at: usize) -> &T {
        // SAFETY: `mask` is below `len` (see `new`), and with it every number that is masked; no value: `new` left room
        // for one, written. `&self` keeps writers out.
        unsafe { &*self.base.as_ptr().add(at & self.mask) }
    }

    /// Calls for the cache line of a value, which is used soon. Any number will do.
    #[inline(always)]
    pub fn prefetch(&self, at: usize) {
        prefetch(self.base.as_ptr().wrapping_add(at));
    }

    /// As `prefetch`, of the value that `masked` gives.
    #[inline(always)]
    pub fn prefetch_masked(&self, at: usize) {
        self.prefetch(at & self.mask);
    }
}

/// Calls for the cache line at an address.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint: it reads nothing into the program and never faults, whatever the address (Intel SDM, PREFETCHh).
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Two bits for each of eight words that is `word`, compared at once; the first one's are the lowest.
#[inline(always)]
pub fn equal8(words: &[u16; 8], word: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is a part of every x86_64 (its baseline); the load is of the 16 bytes of `words`, aligned or not.
    unsafe {
        use std::arch::x86_64::*;
        let equal = _mm_cmpeq_epi16(_mm_loadu_si128(words.as_ptr().cast()), _mm_set1_epi16(word as i16));
        _mm_movemask_epi8(equal) as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    words.iter().enumerate().map(|(at, w)| (u32::from(*w == word) * 3) << (at * 2)).sum()
}

/// What so many values take, at least one. Ends the process if that is more than addresses can tell apart.
fn layout<T>(len: usize) -> std::alloc::Layout {
    const { assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0) };
    let one = std::alloc::Layout::new::<T>();
    std::alloc::Layout::array::<T>(len.max(1)).unwrap_or_else(|_| std::alloc::handle_alloc_error(one))
}

/// The greatest power of two that is at most `len`, or 1, less one.
fn mask(len: usize) -> usize {
    (len.max(1) + 1).next_power_of_two() / 2 - 1
}

/// Fresh zeroed memory, aligned to its pages.
fn map(bytes: usize, flags: libc::c_int) -> Option<NonNull<libc::c_void>> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous mapping at an address that the kernel chooses touches no memory that is in use.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if at == libc::MAP_FAILED { None } else { NonNull::new(at) }
}

impl<T: Copy> Index<usize> for Store<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, at: usize) -> &T {
        assert!(at < self.len);
        // SAFETY: in bounds, and every value was written by `new` or is a zero that is one; `&self` keeps writers out.
        unsafe { &*self.base.as_ptr().add(at) }
    }
}

impl<T: Copy> IndexMut<usize> for Store<T> {
    #[inline(always)]
    fn index_mut(&mut self, at: usize) -> &mut T {
        assert!(at < self.len);
        // SAFETY: as above, and `&mut self` is the only access.
        unsafe { &mut *self.base.as_ptr().add(at) }
    }
}

impl<T: Copy> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_filled_whole_and_every_value_is_its_own() {
        for (len, reserve) in [(1, false), (1000, true), (70_000, true), (0, false)] {
            let mut store = Store::new(len, [7u64; 8], reserve);
            assert_eq!(store.len(), len);
            assert!(store.bytes() >= len * 64);
            for at in 0..len {
                assert_eq!(store[at], [7; 8]);
                store[at] = [at as u64; 8];
            }
            assert!((0..len).all(|at| store[at] == [at as u64; 8]));
            store.prefetch(usize::MAX);
        }
    }

    #[test]
    fn zeros_take_no_memory_until_they_are_written() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        // More than the memory of most machines.
        let mut store = Store::<u32>::zeroed(1 << 36);
        assert_eq!((store.len(), store.bytes()), (1 << 36, 1 << 38));
        for at in [0, 1 << 20, (1 << 36) - 1] {
            assert_eq!(store[at], 0);
            store[at] = 7;
            assert_eq!(store[at], 7);
        }
        assert_eq!(store.blocks::<65_536>()[16][0], 7);
        store.blocks_mut::<65_536>()[1][3] = 9;
        assert_eq!(store[65_539], 9);
        // Other tests take some meanwhile.
        assert!(resident() < before + (256 << 20));
    }

    #[test]
    fn blocks_are_whole() {
        let store = Store::new(100, 1u16, false);
        assert_eq!(store.blocks::<30>().len(), 3);
        assert_eq!(Store::<u16>::zeroed(0).blocks::<30>().len(), 0);
    }

    #[test]
    fn a_masked_number_is_always_one_of_its_values() {
        for (len, mask) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 3), (1000, 511), (1024, 1023)] {
            let mut store = Store::new(len, u64::MAX, false);
            (0..len).for_each(|at| store[at] = at as u64);
            assert_eq!(store.mask, mask);
            for at in [0, 1, 2, 511, 512, 1023, usize::MAX] {
                assert_eq!(*store.masked(at), if len == 0 { u64::MAX } else { (at & mask) as u64 });
            }
        }
    }

    #[test]
    fn eight_words_are_compared_at_once_as_one_by_one() {
        for n in 0..=256u32 {
            let words = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| if n >> i & 1 == 1 { 0xff01 } else { n as u16 });
            let twice = (0..8).map(|at| ((n >> at & 1) * 3) << (at * 2)).sum::<u32>();
            assert_eq!(equal8(&words, 0xff01), twice);
        }
    }

    #[test]
    #[should_panic(expected = "at < self.len")]
    fn one_beyond_the_last_is_refused() {
        let _ = Store::new(10, 0u32, false)[10];
    }
}
