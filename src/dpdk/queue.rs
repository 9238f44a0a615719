//! A worker's share of a port: one receive and one transmit queue, used by one thread at a time.
//!
//! `tx` takes from the front and leaves what did not fit, still owned and in order: the caller decides what to drop.
//! A received chain of mbufs becomes one segment where it fits, and is freed and counted where it does not; so is a frame
//! that may have lost its end (`af_packet`).

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::device::PortInner;
use super::ffi;
use super::mbuf::Mbuf;
use crate::base::PortId;
use crate::packet::PacketBuf;

/// How many packets a worker takes at once.
pub const BURST: usize = 32;

/// What a queue has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets handed to the NIC.
    pub tx_packets: u64,
    /// Received in several segments and joined to one.
    pub rx_joined: u64,
    /// Received, but longer than one mbuf or, on a Linux port, than a ring's frame: freed.
    pub rx_too_long: u64,
}

/// One receive and one transmit queue of a port. `Send`, but not `Sync`: one thread's alone. Its port stays open as
/// long as it lives.
pub struct Queue {
    port: Arc<PortInner>,
    queue: u16,
    /// The port's, at hand.
    cut: usize,
    /// Flags of an mbuf that are not its word.
    void: u64,
    stats: QueueStats,
    _one_thread: PhantomData<Cell<()>>,
}

impl Queue {
    /// `port` has started and has this queue, and no other `Queue` of that number exists (`Port::take_queues`).
    pub(super) fn new(port: Arc<PortInner>, queue: u16) -> Queue {
        let (cut, caps) = (port.cut, &port.caps);
        // A driver that verifies writes every mbuf's flags anew: a NIC's packets are not looked at for this.
        let void = match (caps.rx_checksum_ip, caps.rx_vlan_strip) {
            (true, _) => 0,
            (false, true) => ffi::TURNOUT_MBUF_IP_MASK,
            (false, false) => ffi::TURNOUT_MBUF_IP_MASK | ffi::TURNOUT_MBUF_TAG_TAKEN,
        };
        Queue { port, queue, cut, void, stats: QueueStats::default(), _one_thread: PhantomData }
    }

    /// The port it belongs to.
    pub fn port(&self) -> PortId {
        self.port.id
    }

    /// Its number within the port.
    pub fn index(&self) -> u16 {
        self.queue
    }

    /// What it has counted so far.
    pub fn stats(&self) -> QueueStats {
        self.stats
    }

    /// Appends at most [`BURST`] received packets (`rte_eth_rx_burst`). Returns how many.
    #[inline]
    pub fn rx(&mut self, into: &mut Vec<Mbuf>) -> usize {
        let before = into.len();
        into.reserve(BURST);
        let room = into.spare_capacity_mut().as_mut_ptr().cast::<*mut ffi::rte_mbuf>();
        // SAFETY: the port is started and cannot stop while this queue lives; the queue number is set up; `&mut self` of
        // the only Queue of that number means no other thread polls it; DPDK writes at most BURST pointers, for which
        // `reserve` has made room (an Mbuf is a pointer).
        let n = unsafe { ffi::rte_eth_rx_burst(self.port.port, self.queue, room, BURST as u16) };
        // SAFETY: DPDK has just written the first n.
        let raw = unsafe { std::slice::from_raw_parts(room, usize::from(n)) };
        let plain = |mbuf: &*mut _| {
            // SAFETY: rte_eth_rx_burst hands over mbufs that are whole and the caller's alone.
            NonNull::new(*mbuf).is_some_and(|m| unsafe { Mbuf::is_plain(m, self.cut, self.void) })
        };
        if raw.iter().all(plain) {
            // SAFETY: the next n values are written, each a pointer that is not null to an mbuf of one segment, the caller's
            // alone, which is an Mbuf (transparent); there is room for BURST >= n.
            unsafe { into.set_len(before + usize::from(n)) };
        } else {
            let mut all = ArrayVec::<_, BURST>::new();
            all.extend(raw.iter().copied().take(BURST));
            self.adopt_each(&all, into);
        }
        let taken = into.len() - before;
        self.stats.rx_packets += taken as u64;
        taken
    }

    /// What of a burst's mbufs, just received and nobody else's, can be taken.
    #[cold]
    #[inline(never)]
    fn adopt_each(&mut self, raw: &[*mut ffi::rte_mbuf], into: &mut Vec<Mbuf>) {
        for mbuf in raw.iter().filter_map(|&m| NonNull::new(m)) {
            // SAFETY: received, whole and the caller's alone (see above), who has not taken them.
            if let Some(mut mbuf) = unsafe { self.adopt(mbuf) } {
                mbuf.forget(self.void);
                into.push(mbuf);
            }
        }
    }

    /// # Safety
    /// `raw` is a received mbuf, whole and owned by the caller, who gives it up.
    #[inline]
    unsafe fn adopt(&mut self, raw: NonNull<ffi::rte_mbuf>) -> Option<Mbuf> {
        // SAFETY: by the contract above nobody else touches it.
        if unsafe { Mbuf::segments(raw) } == 1 {
            // SAFETY: owned, whole, one segment; drivers deliver with reference count 1.
            let mbuf = unsafe { Mbuf::from_raw(raw) };
            if mbuf.bytes().len() < self.cut {
                return Some(mbuf);
            }
            self.stats.rx_too_long += 1;
            return None;
        }
        // SAFETY: an owned chain; the call copies into the first segment and frees the others, or changes nothing.
        if unsafe { ffi::turnout_mbuf_linearize(raw.as_ptr()) } == 0 {
            self.stats.rx_joined += 1;
            // SAFETY: as above, and now of one segment.
            return Some(unsafe { Mbuf::from_raw(raw) });
        }
        self.stats.rx_too_long += 1;
        // SAFETY: an owned chain, freed whole, once: it is not returned.
        unsafe { ffi::rte_pktmbuf_free(raw.as_ptr()) };
        None
    }

    /// Sends from the front of `from` as many as the NIC takes now (`rte_eth_tx_burst`); the rest stays there, in order.
    /// Returns how many were taken.
    #[inline]
    pub fn tx(&mut self, from: &mut impl TxBatch) -> usize {
        let mbufs = from.mbufs();
        let mut sent = 0;
        while sent < mbufs.len() {
            let part = mbufs.len().min(sent + BURST) - sent;
            let first = mbufs.as_mut_ptr().wrapping_add(sent).cast::<*mut ffi::rte_mbuf>();
            // SAFETY: `first` points at `part` pointers to mbufs (Mbuf is a transparent non-null pointer), all owned and
            // of one segment; port and queue as in `rx`. The driver owns the first n from here on, which
            // `forget_front` below takes out of the batch without freeing them.
            let n = unsafe { ffi::rte_eth_tx_burst(self.port.port, self.queue, first, part as u16) };
            sent += usize::from(n);
            if usize::from(n) < part {
                break;
            }
        }
        // SAFETY: exactly the first `sent` were given to the driver; nothing in between could panic or return.
        unsafe { from.forget_front(sent) };
        self.stats.tx_packets += sent as u64;
        sent
    }
}

/// A queue may move to its worker's thread.
const _: () = {
    const fn send<T: Send>() {}
    send::<Queue>();
};

impl Drop for Queue {
    fn drop(&mut self) {
        self.port.queue_back();
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A list of mbufs that [`Queue::tx`] can take from: `Vec<Mbuf>` or `ArrayVec<Mbuf, N>`.
pub trait TxBatch: sealed::Sealed {
    /// The packets, the first to go first.
    fn mbufs(&mut self) -> &mut [Mbuf];
    /// Removes the first `n` without freeing them.
    ///
    /// # Safety
    /// `n` is at most the length, and another owner has taken these `n`.
    unsafe fn forget_front(&mut self, n: usize);
}

macro_rules! tx_batch {
    ($list:ty $(, $n:ident)?) => {
        impl $(<const $n: usize>)? sealed::Sealed for $list {}
        impl $(<const $n: usize>)? TxBatch for $list {
            #[inline]
            fn mbufs(&mut self) -> &mut [Mbuf] {
                self.as_mut_slice()
            }
            #[inline]
            unsafe fn forget_front(&mut self, n: usize) {
                let rest = self.len() - n;
                let at = self.as_mut_ptr();
                // SAFETY: n <= len (contract), so both ranges lie in the list. The first n values are overwritten or
                // left behind the new length, never dropped: their new owner does that. The rest is moved once.
                unsafe {
                    std::ptr::copy(at.add(n), at, rest);
                    self.set_len(rest);
                }
            }
        }
    };
}

tx_batch!(Vec<Mbuf>);
tx_batch!(ArrayVec<Mbuf, N>, N);
