//! Packet memory: a fixed number of mbufs, handed out and taken back.
//!
//! A thread that registered as a worker has a cache in every pool; others go to the pool's ring. A pool is freed when
//! its last handle goes (ports hold one too) and every mbuf is back; with mbufs still out it is leaked instead, for
//! their sake. Two pools of one process have different names.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError};

use super::eal::{Eal, EalInner};
use super::error::{DpdkError, errno, text};
use super::ffi;
use super::mbuf::Mbuf;
use crate::packet::BufPool;

/// A shared handle of a pool of mbufs; each thread has its clone.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<PoolInner>,
}

struct PoolInner {
    raw: NonNull<ffi::rte_mempool>,
    count: u32,
    eal: Arc<EalInner>,
}

/// How many pools there are, those that were leaked included, and how many ports rely on there being one: a driver that
/// frees by MBUF_FAST_FREE returns a batch to the pool of its first mbuf.
#[derive(Debug, Default)]
pub(super) struct Census {
    pools: u32,
    ports: u32,
}

impl Census {
    /// One pool more, unless a port relies on there being one.
    fn enter(&mut self) -> bool {
        let free = self.ports == 0;
        self.pools += u32::from(free);
        free
    }

    fn leave(&mut self) {
        self.pools = self.pools.saturating_sub(1);
    }

    /// A port may rely on there being one pool, until it lets go.
    pub(super) fn rely(&mut self) -> bool {
        let one = self.pools == 1;
        self.ports += u32::from(one);
        one
    }

    pub(super) fn let_go(&mut self) {
        self.ports = self.ports.saturating_sub(1);
    }
}

// SAFETY: the pool's ring takes many producers and consumers (the default of rte_pktmbuf_pool_create), and the caches
// are one per registered thread, so that any thread may allocate from and free to a pool at any time.
unsafe impl Send for PoolInner {}
// SAFETY: as above: every call made through `&PoolInner` is one that DPDK allows concurrently.
unsafe impl Sync for PoolInner {}

impl Pool {
    /// The data room that fits frames of 1518 bytes, and of 1522 with a VLAN tag, with room to grow.
    pub const DATA_ROOM: u16 = 2048;

    /// A pool of `count` mbufs with `data_room` bytes each after 128 bytes of headroom (`rte_pktmbuf_pool_create`), in
    /// memory of any NUMA node. An mbuf of 2048 takes 2.4 kB: 8192 of them 20 MB.
    pub fn new(eal: &Eal, name: &str, count: u32, data_room: u16) -> Result<Pool, DpdkError> {
        let c_name = CString::new(name).map_err(|_| DpdkError::Nul(name.into()))?;
        // Held to the end: no port may come to rely on one pool meanwhile.
        let mut census = eal.inner.census.lock().unwrap_or_else(PoisonError::into_inner);
        if !census.enter() {
            return Err(DpdkError::OnePool(name.into()));
        }
        // DPDK wants 1.5 caches to fit in the pool; a quarter leaves something to the other threads.
        let cache = (count / 4).min(256);
        let room = data_room.saturating_add(ffi::TURNOUT_HEADROOM);
        // SAFETY: the EAL runs (`eal`), the name is NUL-terminated and copied by DPDK; -1 is SOCKET_ID_ANY.
        let raw = unsafe { ffi::rte_pktmbuf_pool_create(c_name.as_ptr(), count, cache, 0, room, -1) };
        let Some(raw) = NonNull::new(raw) else {
            census.leave();
            if errno() == nix::libc::EEXIST {
                return Err(DpdkError::PoolTwice(name.into()));
            }
            let needed_mb = (count as usize * (usize::from(room) + 256)).div_ceil(1 << 20);
            return Err(DpdkError::Pool { name: name.into(), count, needed_mb, text: text(errno()) });
        };
        Ok(Pool { inner: Arc::new(PoolInner { raw, count, eal: Arc::clone(&eal.inner) }) })
    }

    /// How many mbufs it has.
    pub fn count(&self) -> u32 {
        self.inner.count
    }

    /// How many of them are in it now, caches included (`rte_mempool_avail_count`; it walks the caches: not for the
    /// packet path).
    pub fn available(&self) -> u32 {
        self.inner.available()
    }

    pub(super) fn raw(&self) -> *mut ffi::rte_mempool {
        self.inner.raw.as_ptr()
    }

    pub(super) fn belongs_to(&self, eal: &Arc<EalInner>) -> bool {
        Arc::ptr_eq(&self.inner.eal, eal)
    }
}

impl BufPool for Pool {
    type Buf = Mbuf;

    #[inline]
    fn alloc(&mut self) -> Option<Mbuf> {
        // SAFETY: the pool exists while `self` does. A fresh mbuf has one segment, length 0, reference count 1, and no
        // other owner, which is what from_raw asks for.
        unsafe {
            let raw = ffi::rte_pktmbuf_alloc(self.inner.raw.as_ptr());
            NonNull::new(raw).map(|raw| Mbuf::from_raw(raw))
        }
    }
}

impl PoolInner {
    fn available(&self) -> u32 {
        // SAFETY: the pool exists while `self` does; the call reads counters that other threads may move meanwhile,
        // as DPDK allows for a figure that is a snapshot.
        unsafe { ffi::rte_mempool_avail_count(self.raw.as_ptr()) }
    }
}

impl Drop for PoolInner {
    fn drop(&mut self) {
        if self.available() == self.count {
            // SAFETY: every mbuf is in the pool: none is owned by an `Mbuf`, none waits in a port (ports hold the
            // pool and are closed by now), and none can be taken out any more, as this was the last handle.
            unsafe { ffi::rte_mempool_free(self.raw.as_ptr()) };
            self.eal.census.lock().unwrap_or_else(PoisonError::into_inner).leave();
        } else {
            // Somebody still owns an mbuf: the memory stays, and the EAL that maps it.
            std::mem::forget(Arc::clone(&self.eal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_relies_on_one_pool_and_then_there_is_no_second() {
        let mut census = Census::default();
        assert!(!census.rely());
        assert!(census.enter() && census.rely() && census.rely());
        assert!(!census.enter());
        census.let_go();
        assert!(!census.enter());
        census.let_go();
        assert!(census.enter());
        assert!(!census.rely());
        census.leave();
        assert!(census.rely());
    }
}
