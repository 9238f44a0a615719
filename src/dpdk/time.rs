//! The cycle counter and how exactly this thread sleeps.

use super::eal::Eal;
use super::ffi;

/// The CPU's cycle counter (`rte_rdtsc`). Constant rate and the same on all cores of a machine of today.
#[inline]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: one instruction that any ring may execute; it touches no memory. Not by DPDK's wrapper: a call costs as much.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: as above.
    unsafe {
        ffi::rte_rdtsc()
    }
}

/// Cycles of [`tsc`] per second (`rte_get_tsc_hz`), measured while the EAL started, hence the argument.
pub fn tsc_hz(_started: &Eal) -> u64 {
    // SAFETY: reads a global that rte_eal_init wrote; the argument proves that it has returned.
    unsafe { ffi::rte_get_tsc_hz() }
}

/// How late the kernel may wake this thread from a sleep, in nanoseconds (`PR_SET_TIMERSLACK`; 50 000 by default).
/// A worker on Linux ports sets 1 and sleeps by `std::thread::sleep`. False if the kernel refuses.
pub fn set_timer_slack_ns(ns: u64) -> bool {
    nix::sys::prctl::set_timerslack(ns).is_ok()
}
