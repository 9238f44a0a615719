//! One packet in DPDK's memory.
//!
//! Invariants of every `Mbuf`: it is the only owner of its `rte_mbuf` (reference count 1), which has one segment, so
//! that `pkt_len == data_len` and `data_off + data_len <= buf_len`. It is freed exactly once, by `Drop`. It carries no
//! lifetime: `eal.rs` says why its memory is there as long as it is.

use std::fmt;
use std::ptr::NonNull;

use super::ffi;
use crate::packet::{PacketBuf, Verified};

/// An owned `rte_mbuf` of one segment. As large as a pointer.
#[repr(transparent)]
pub struct Mbuf(NonNull<ffi::rte_mbuf>);

// SAFETY: an mbuf belongs to no thread: it is plain memory with one owner, and rte_pktmbuf_free may be called on any
// thread (a thread that DPDK does not know goes past the cache to the pool's ring, which takes many producers).
unsafe impl Send for Mbuf {}

// SAFETY: a shared reference only reads (`bytes`, `Debug`); writing and freeing need the Mbuf itself or `&mut`.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// Takes ownership.
    ///
    /// # Safety
    /// `raw` is a whole mbuf of one segment with reference count 1 that nobody else uses or frees.
    pub(super) unsafe fn from_raw(raw: NonNull<ffi::rte_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    /// The number of segments of a raw mbuf.
    ///
    /// # Safety
    /// `raw` is an initialised mbuf that no other thread writes.
    pub(super) unsafe fn segments(raw: NonNull<ffi::rte_mbuf>) -> u16 {
        // SAFETY: the offset is that of a u16 in rte_mbuf, by the compiler that read the headers.
        unsafe { raw.cast::<u8>().add(ffi::TURNOUT_MBUF_NB_SEGS).cast::<u16>().read() }
    }

    /// Whether a raw mbuf has one segment, of less than `cut` bytes, and none of these flags.
    ///
    /// # Safety
    /// As for `segments`.
    #[inline(always)]
    pub(super) unsafe fn is_plain(raw: NonNull<ffi::rte_mbuf>, cut: usize, flags: u64) -> bool {
        // SAFETY: by the same contract; the offset is that of a u16 in rte_mbuf, by the compiler that read the headers.
        let len = unsafe { raw.cast::<u8>().add(ffi::TURNOUT_MBUF_DATA_LEN).cast::<u16>().read() };
        // SAFETY: as before, of a u64.
        let has = unsafe { raw.cast::<u8>().add(ffi::TURNOUT_MBUF_OL_FLAGS).cast::<u64>().read() };
        // SAFETY: the caller's word.
        usize::from(len) < cut && has & flags == 0 && unsafe { Mbuf::segments(raw) } == 1
    }

    fn get<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: `offset` is one of the TURNOUT_MBUF_ constants and T that field's type (each caller in this file),
        // so it is inside the mbuf and aligned; nobody writes it meanwhile, as that takes `&mut self`.
        unsafe { self.0.cast::<u8>().add(offset).cast::<T>().read() }
    }

    fn set<T: Copy>(&mut self, offset: usize, value: T) {
        // SAFETY: as in `get`, and `&mut self` is the only access.
        unsafe { self.0.cast::<u8>().add(offset).cast::<T>().write(value) }
    }

    fn data_off(&self) -> u16 {
        self.get(ffi::TURNOUT_MBUF_DATA_OFF)
    }

    fn data_len(&self) -> u16 {
        self.get(ffi::TURNOUT_MBUF_DATA_LEN)
    }

    fn set_len(&mut self, len: u16) {
        self.set(ffi::TURNOUT_MBUF_DATA_LEN, len);
        self.set(ffi::TURNOUT_MBUF_PKT_LEN, u32::from(len));
    }

    fn start(&self) -> *mut u8 {
        let buffer: *mut u8 = self.get(ffi::TURNOUT_MBUF_BUF_ADDR);
        // SAFETY: data_off <= buf_len (invariant of the type), so the result is in the buffer or at its end.
        unsafe { buffer.add(usize::from(self.data_off())) }
    }

    /// Takes back what a NIC said: a ring passes on the flags of where the mbuf came in before.
    #[inline]
    pub(super) fn forget(&mut self, what: u64) {
        let flags: u64 = self.get(ffi::TURNOUT_MBUF_OL_FLAGS);
        self.set(ffi::TURNOUT_MBUF_OL_FLAGS, flags & !what);
    }

    /// Bytes that `prepend` may still take.
    pub fn headroom(&self) -> usize {
        usize::from(self.data_off())
    }
}

impl PacketBuf for Mbuf {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: data_off + data_len <= buf_len, so the range lies in the buffer, which belongs to this mbuf alone and
        // stays mapped while it lives; DPDK's memory is initialised (zeroed when mapped). No `&mut` exists beside `&self`.
        unsafe { std::slice::from_raw_parts(self.start(), usize::from(self.data_len())) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes this the only access.
        unsafe { std::slice::from_raw_parts_mut(self.start(), usize::from(self.data_len())) }
    }

    #[inline]
    fn prefetch(&self) {
        crate::table::store::prefetch(self.start());
    }

    #[inline]
    fn prepend(&mut self, n: usize) -> bool {
        let off = self.data_off();
        let Some(new) = u16::try_from(n).ok().and_then(|n| off.checked_sub(n)) else { return false };
        // No overflow: what the front moved by was inside buf_len, a u16.
        let len = self.data_len() + (off - new);
        self.set(ffi::TURNOUT_MBUF_DATA_OFF, new);
        self.set_len(len);
        true
    }

    #[inline]
    fn trim(&mut self, n: usize) -> bool {
        let Some(left) = u16::try_from(n).ok().and_then(|n| self.data_len().checked_sub(n)) else {
            return false;
        };
        // No overflow: the frame ends within buf_len, a u16, and so does what is cut from its front.
        let off = self.data_off() + (self.data_len() - left);
        self.set(ffi::TURNOUT_MBUF_DATA_OFF, off);
        self.set_len(left);
        true
    }

    #[inline]
    fn resize(&mut self, len: usize) -> bool {
        let room: u16 = self.get::<u16>(ffi::TURNOUT_MBUF_BUF_LEN) - self.data_off();
        match u16::try_from(len) {
            Ok(len) if len <= room => {
                self.set_len(len);
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn tag_taken(&self) -> Option<u16> {
        let taken = self.get::<u64>(ffi::TURNOUT_MBUF_OL_FLAGS) & ffi::TURNOUT_MBUF_TAG_TAKEN != 0;
        taken.then(|| self.get::<u16>(ffi::TURNOUT_MBUF_VLAN_TCI) & 0xfff)
    }

    #[inline]
    fn ip_checksum(&self) -> Verified {
        // Of a tunnel's packet some NICs (i40e, ice) judge the inner header.
        if self.get::<u32>(ffi::TURNOUT_MBUF_PACKET_TYPE) & ffi::TURNOUT_MBUF_TUNNEL_MASK != 0 {
            return Verified::Unknown;
        }
        match self.get::<u64>(ffi::TURNOUT_MBUF_OL_FLAGS) & ffi::TURNOUT_MBUF_IP_MASK {
            ffi::TURNOUT_MBUF_IP_GOOD => Verified::Good,
            ffi::TURNOUT_MBUF_IP_BAD => Verified::Bad,
            _ => Verified::Unknown,
        }
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: this value is the only owner (invariant), so the mbuf is freed here and nowhere else; its pool is
        // still there, as a pool with mbufs out is never freed.
        unsafe { ffi::rte_pktmbuf_free(self.0.as_ptr()) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mbuf({} bytes)", self.data_len())
    }
}
