//! A Linux port: DPDK's `net_af_packet`, one pair of rings a queue, shared with the kernel. Its limits:
//!
//! - The kernel joins IPv4 fragments before the driver sees them (PACKET_FANOUT_FLAG_DEFRAG). A datagram that is longer
//!   than a ring's frame then arrives cut: `Queue::rx` drops and counts it ([`CUT`]).
//! - Frames of up to 1518 bytes, 1522 with a VLAN tag. Tags of 802.1ad arrive as 802.1Q.
//! - Frames sent while the interface is down or has no carrier wait in the ring, and go out late.
//! - Senders on the same machine (veth) leave checksums unfinished: `ethtool -K PEER tx off` at the other end.
//! - Its link always reads as up (`carrier` knows better), it keeps no count of what the kernel had no room for, and it
//!   starts once: stopping closes its sockets.
//!
//! The driver maps a queue's two rings locked in memory (MAP_LOCKED): 16 MB with 4096 frames. Where a process may lock too
//! little (RLIMIT_MEMLOCK is 8 MB as a rule), may not raise the limit and is not exempt from it (CAP_IPC_LOCK), rings are
//! smaller: 2048 frames with 8 MB. The kernel holds each mapping against the limit, but does not add them up, as it keeps
//! such pages out of VmLck: many ports fit where one does.

use std::ffi::CString;

use nix::libc;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::error::DpdkError;

/// The driver's name.
pub(super) const DRIVER: &str = "net_af_packet";
/// Queues of one port, at most: the driver counts no more.
pub(super) const QUEUES: u16 = 16;
/// The longest MTU: the driver promises frames of 1518 bytes.
pub(super) const MTU: u16 = 1500;
/// A received frame of this length or more may have lost its end: the kernel puts 66 bytes of header before the
/// Ethernet header, and cuts what does not fit. The driver does not tell.
pub(super) const CUT: usize = FRAME - 66;

/// Bytes of a ring's frame.
const FRAME: usize = 2048;
/// Frames of a ring. With 512, the driver's default, bursts are lost.
const FRAMES: usize = 4096;
const FEWEST: usize = 256;

/// The driver's arguments, and what it takes to map the rings of a queue.
pub(super) struct Rings {
    pub(super) args: String,
    bytes: usize,
}

impl Rings {
    /// For `ifname`, as large as the process may lock.
    pub(super) fn choose(ifname: &str, queues: u16) -> Rings {
        raise_limit();
        let frames = most_frames(lockable);
        // qdisc_bypass: what else is sent there ends in a blackhole (`linux`).
        let args = format!(
            "iface={ifname},qpairs={queues},blocksz=65536,framesz={FRAME},framecnt={frames},qdisc_bypass=1"
        );
        Rings { args, bytes: ring_bytes(frames) }
    }

    /// Why the driver has failed: the limit, or what DPDK says.
    pub(super) fn explain(&self, port: &str, other: DpdkError) -> DpdkError {
        if lockable(self.bytes) {
            return other;
        }
        let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
        DpdkError::Locked { port: port.into(), needed_kb: self.bytes / 1024, limit_kb: limit / 1024 }
    }
}

/// The virtual device's name.
pub(super) fn name(port: u16) -> Result<CString, DpdkError> {
    let text = format!("{DRIVER}{port}");
    CString::new(text.as_str()).map_err(|_| DpdkError::Nul(text))
}

/// The receive and the transmit ring of a queue, mapped as one.
fn ring_bytes(frames: usize) -> usize {
    2 * frames * FRAME
}

/// Frames of a ring: a power of two.
fn most_frames(lockable: impl Fn(usize) -> bool) -> usize {
    let mut frames = FRAMES;
    while frames > FEWEST && !lockable(ring_bytes(frames)) {
        frames /= 2;
    }
    frames
}

/// Lets the process lock what it likes, or as much as its hard limit allows.
fn raise_limit() {
    let memlock = Resource::RLIMIT_MEMLOCK;
    if setrlimit(memlock, RLIM_INFINITY, RLIM_INFINITY).is_err()
        && let Ok((_, hard)) = getrlimit(memlock)
    {
        // No more can be done; what fails by it is explained.
        let _ = setrlimit(memlock, hard, hard);
    }
}

/// Whether the kernel lets this process map so much locked: tried, as limit, capability and user namespace decide together.
fn lockable(bytes: usize) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_LOCKED;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists. It has no access rights, so
    // no page of it comes into being.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: the mapping that was just made, whole, known to nobody else.
    unsafe { libc::munmap(at, bytes) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_fit_the_limit() {
        let within = |limit: usize| most_frames(|bytes| bytes <= limit);
        assert_eq!((within(usize::MAX), within(16 << 20)), (4096, 4096));
        assert_eq!((within(8 << 20), within((8 << 20) - 1)), (2048, 1024));
        assert_eq!((within(64 << 10), within(0)), (256, 256));
        assert!(lockable(4096) && !lockable(1 << 60));
        let rings = Rings { args: String::new(), bytes: 1 << 60 };
        assert!(matches!(rings.explain("linux:x0", DpdkError::StartedTwice), DpdkError::Locked { .. }));
        let rings = Rings { bytes: 4096, ..rings };
        assert!(matches!(rings.explain("linux:x0", DpdkError::StartedTwice), DpdkError::StartedTwice));
    }
}
