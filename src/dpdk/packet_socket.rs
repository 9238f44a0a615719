//! The queues of a Linux port: packet sockets that receive into mbufs and send from them.
//!
//! Why not DPDK's `net_af_packet` (which `vdev:` still offers): it asks the kernel to reassemble fragments
//! (PACKET_FANOUT_FLAG_DEFRAG, not optional) and cuts what is then longer than its frame, and while the link is down it
//! keeps up to 4096 frames and sends them when the link returns. Here fragments arrive as they came, a frame that cannot
//! go now is lost and counted, and the kernel's own outgoing frames are not delivered (PACKET_IGNORE_OUTGOING).
//!
//! What the kernel took from a received frame is put back: the VLAN tag, and a checksum that the sender left to hardware
//! which a veth pair does not have. Nothing of the interface changes by it, so a kill -9 leaves nothing behind.

use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayVec;
use nix::libc;

use super::mbuf::Mbuf;
use super::pool::Pool;
use super::queue::{BURST, TxBatch};
use crate::packet::{BufPool, PacketBuf};

const ETH_P_ALL: u16 = 3;
/// What the kernel holds for one socket, in bytes: some 3000 frames.
const BUFFER: libc::c_int = 8 << 20;
const CMSG_HEADER: usize = size_of::<libc::cmsghdr>();
/// struct tpacket_auxdata.
const AUXDATA: usize = 20;

/// One socket of a Linux port, and what it has counted.
pub(super) struct PacketSocket {
    fd: OwnedFd,
    pub(super) rx_packets: AtomicU64,
    pub(super) tx_packets: AtomicU64,
    pub(super) rx_bytes: AtomicU64,
    pub(super) tx_bytes: AtomicU64,
    pub(super) rx_too_long: AtomicU64,
    pub(super) tx_lost: AtomicU64,
    pub(super) no_mbuf: AtomicU64,
    missed: AtomicU64,
}

/// Ancillary data of one frame: one cmsghdr with a tpacket_auxdata.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CMSG_HEADER + AUXDATA.next_multiple_of(8)]);

impl PacketSocket {
    /// As many sockets on one interface as there are queues; the kernel spreads received frames by their flow.
    pub(super) fn open(ifindex: u32, queues: u16) -> io::Result<Vec<Arc<PacketSocket>>> {
        let mut sockets = Vec::new();
        let mut group: Option<libc::c_int> = None;
        for _ in 0..queues {
            let socket = PacketSocket::bound(ifindex)?;
            if queues > 1 {
                socket.join(&mut group)?;
            }
            sockets.push(socket);
        }
        for socket in &sockets {
            // Only now, or those outside the group get a copy of every frame.
            socket.set(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0i32)?;
        }
        Ok(sockets.into_iter().map(Arc::new).collect())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bound, deaf by a filter.
    fn bound(ifindex: u32) -> io::Result<PacketSocket> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: plain numbers; protocol 0 receives nothing until bind.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just made and that nobody else knows.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = PacketSocket {
            fd,
            rx_packets: AtomicU64::new(0),
            tx_packets: AtomicU64::new(0),
            rx_bytes: AtomicU64::new(0),
            tx_bytes: AtomicU64::new(0),
            rx_too_long: AtomicU64::new(0),
            tx_lost: AtomicU64::new(0),
            no_mbuf: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        };
        socket.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1i32)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        socket.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1i32)?;
        for (force, ask) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
        {
            // In a user's own namespace some kernels grant no more than the system's limit.
            if socket.set(libc::SOL_SOCKET, force, &BUFFER).is_err() {
                socket.set(libc::SOL_SOCKET, ask, &BUFFER)?;
            }
        }
        // BPF: return 0, keep nothing.
        let mut none = libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 };
        let filter = libc::sock_fprog { len: 1, filter: &mut none };
        socket.set(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
        // SAFETY: sockaddr_ll is made of numbers, for which zero bytes are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ETH_P_ALL.to_be();
        address.sll_ifindex = ifindex as i32;
        let size = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is of the type and size that are passed, and outlives the call.
        let result = unsafe { libc::bind(socket.fd.as_raw_fd(), (&raw const address).cast(), size) };
        if result == 0 { Ok(socket) } else { Err(io::Error::last_os_error()) }
    }

    /// The first makes the group under a number that the kernel finds, the others join it.
    fn join(&self, group: &mut Option<libc::c_int>) -> io::Result<()> {
        let kind = (libc::PACKET_FANOUT_HASH as libc::c_int) << 16;
        if let Some(id) = *group {
            return self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &(id | kind));
        }
        let unique = (libc::PACKET_FANOUT_FLAG_UNIQUEID as libc::c_int) << 16;
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &(kind | unique))?;
        *group = Some(self.get::<libc::c_int>(libc::PACKET_FANOUT)? & 0xffff);
        Ok(())
    }

    /// Sets an option. `T` is a C integer or a struct of the C library that the option takes.
    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        let size = size_of::<T>() as libc::socklen_t;
        // SAFETY: `value` is `size` readable bytes for the time of the call; the kernel checks the rest and copies.
        let result = unsafe {
            libc::setsockopt(self.fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), size)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn get<T: Default>(&self, name: libc::c_int) -> io::Result<T> {
        let mut value = T::default();
        let mut size = size_of::<T>() as libc::socklen_t;
        let at = (&raw mut value).cast();
        // SAFETY: the kernel writes at most `size` bytes into `value`, whose type (an integer, or an array of them: both
        // callers) takes any bytes.
        let result = unsafe { libc::getsockopt(self.fd.as_raw_fd(), libc::SOL_PACKET, name, at, &mut size) };
        if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
    }

    /// Receives frames to other MACs, too, or no longer; the kernel forgets it with the socket.
    pub(super) fn set_promiscuous(&self, ifindex: u32, on: bool) -> io::Result<()> {
        let name = if on { libc::PACKET_ADD_MEMBERSHIP } else { libc::PACKET_DROP_MEMBERSHIP };
        let request = libc::packet_mreq {
            mr_ifindex: ifindex as i32,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        self.set(libc::SOL_PACKET, name, &request)
    }

    /// Frames that the kernel threw away as the socket was full, so far.
    pub(super) fn missed(&self) -> u64 {
        // struct tpacket_stats: seen, dropped. Reading clears it.
        if let Ok([_, dropped]) = self.get::<[u32; 2]>(libc::PACKET_STATISTICS) {
            self.missed.fetch_add(u64::from(dropped), Relaxed);
        }
        self.missed.load(Relaxed)
    }
}

/// The receiving and sending end of a socket, one thread's.
pub(super) struct PacketQueue {
    socket: Arc<PacketSocket>,
    pool: Pool,
    /// Empty mbufs, stretched to their whole room, for the next frames.
    spare: ArrayVec<Mbuf, BURST>,
}

impl PacketQueue {
    pub(super) fn new(socket: Arc<PacketSocket>, pool: Pool) -> PacketQueue {
        PacketQueue { socket, pool, spare: ArrayVec::new() }
    }

    /// As `Queue::rx`.
    pub(super) fn rx<const N: usize>(&mut self, into: &mut ArrayVec<Mbuf, N>) -> usize {
        let want = into.remaining_capacity().min(BURST);
        while self.spare.len() < want {
            let Some(mut mbuf) = self.pool.alloc() else {
                self.socket.no_mbuf.fetch_add(1, Relaxed);
                break;
            };
            let room = mbuf.room();
            if !mbuf.resize(room) {
                break;
            }
            self.spare.push(mbuf);
        }
        let mut control = [Control([0; size_of::<Control>()]); BURST];
        // SAFETY: iovec and mmsghdr are numbers and pointers, for which zero bytes (null) are valid.
        let (mut parts, mut heads): ([libc::iovec; BURST], [libc::mmsghdr; BURST]) =
            unsafe { std::mem::zeroed() };
        let mut count = 0;
        for (((mbuf, part), head), control) in
            self.spare.iter_mut().zip(&mut parts).zip(&mut heads).zip(&mut control).take(want)
        {
            let room = mbuf.bytes_mut();
            *part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
            head.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            head.msg_hdr.msg_controllen = size_of::<Control>();
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        // SAFETY: `count` headers, each with one part that covers a spare mbuf's bytes and one control buffer, all alive
        // and touched by nobody else until the call returns; the kernel writes inside the lengths given.
        let n = unsafe {
            let fd = self.socket.fd.as_raw_fd();
            libc::recvmmsg(fd, heads.as_mut_ptr(), count, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
        };
        // EAGAIN, or an error (interface down) that the next call tells again or not: nothing came.
        let n = usize::try_from(n).unwrap_or(0);
        let before = into.len();
        for ((mut mbuf, head), control) in self.spare.drain(..n).zip(&heads).zip(&control) {
            let length = head.msg_len as usize;
            let whole = head.msg_hdr.msg_flags & libc::MSG_TRUNC == 0 && mbuf.resize(length);
            if whole && restore(&mut mbuf, control, head.msg_hdr.msg_controllen) {
                self.socket.rx_bytes.fetch_add(mbuf.bytes().len() as u64, Relaxed);
                into.push(mbuf);
            } else {
                self.socket.rx_too_long.fetch_add(1, Relaxed);
            }
        }
        let taken = into.len() - before;
        self.socket.rx_packets.fetch_add(taken as u64, Relaxed);
        taken
    }

    /// As `Queue::tx`. What the interface refuses (it is down, has no carrier, the frame is too long) is lost: it would be
    /// stale by the time it could go.
    pub(super) fn tx(&mut self, from: &mut impl TxBatch) -> usize {
        let mbufs = from.mbufs();
        let (mut done, mut lost, mut again) = (0, 0, false);
        while done < mbufs.len() {
            // SAFETY: as in `rx`.
            let (mut parts, mut heads): ([libc::iovec; BURST], [libc::mmsghdr; BURST]) =
                unsafe { std::mem::zeroed() };
            let mut count = 0;
            for ((mbuf, part), head) in mbufs.iter_mut().skip(done).zip(&mut parts).zip(&mut heads) {
                let frame = mbuf.bytes_mut();
                *part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
                head.msg_hdr.msg_iov = part;
                head.msg_hdr.msg_iovlen = 1;
                count += 1;
            }
            let fd = self.socket.fd.as_raw_fd();
            // SAFETY: `count` headers, each with one part that covers an mbuf's bytes, alive until the call returns; the
            // kernel copies the bytes.
            let n = unsafe { libc::sendmmsg(fd, heads.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
            match usize::try_from(n) {
                Ok(n) if n > 0 => {
                    let bytes: u64 = heads.iter().take(n).map(|h| u64::from(h.msg_len)).sum();
                    self.socket.tx_bytes.fetch_add(bytes, Relaxed);
                    done += n;
                }
                _ => match io::Error::last_os_error().raw_os_error() {
                    Some(libc::EINTR) => {}
                    // The socket's buffer is full of frames on their way: later.
                    Some(libc::EAGAIN) => break,
                    // The first time it may be an old error that waits in the socket: the interface may be up by now.
                    Some(libc::ENETDOWN) if !again => again = true,
                    // The interface is down or gone: none of them will go.
                    Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => {
                        lost += mbufs.len() - done;
                        done = mbufs.len();
                    }
                    _ => {
                        lost += 1;
                        done += 1;
                    }
                },
            }
        }
        from.drop_front(done);
        self.socket.tx_packets.fetch_add((done - lost) as u64, Relaxed);
        self.socket.tx_lost.fetch_add(lost as u64, Relaxed);
        done
    }

    pub(super) fn socket(&self) -> &PacketSocket {
        &self.socket
    }
}

/// Puts the VLAN tag and the checksum back. False if the tag does not fit.
fn restore(mbuf: &mut Mbuf, control: &Control, length: usize) -> bool {
    let half =
        |at: usize| control.0.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
    let word =
        |at: usize| control.0.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
    // A cmsghdr is a length of 8 bytes, then level and type.
    let ours = word(8) == libc::SOL_PACKET as u32 && word(12) == libc::PACKET_AUXDATA as u32;
    if length < CMSG_HEADER + AUXDATA || !ours {
        return true;
    }
    let status = word(CMSG_HEADER);
    if status & libc::TP_STATUS_CSUMNOTREADY != 0 {
        finish_checksum(mbuf.bytes_mut());
    }
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return true;
    }
    if !mbuf.prepend(4) {
        return false;
    }
    let known = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let tag = if known { half(CMSG_HEADER + 18) } else { 0x8100 };
    let frame = mbuf.bytes_mut();
    if frame.len() < 16 {
        return false;
    }
    frame.copy_within(4..16, 0);
    frame[12..14].copy_from_slice(&tag.to_be_bytes());
    frame[14..16].copy_from_slice(&half(CMSG_HEADER + 16).to_be_bytes());
    true
}

/// Completes the UDP or TCP checksum of a whole IPv4 packet, where the sender has written the pseudo header's sum alone.
fn finish_checksum(frame: &mut [u8]) {
    let Some(ip) = frame.get_mut(14..).filter(|ip| ip.len() >= 20 && ip[0] >> 4 == 4) else { return };
    let (header, total) = (usize::from(ip[0] & 15) * 4, usize::from(u16::from_be_bytes([ip[2], ip[3]])));
    let field = match ip[9] {
        6 => 16,
        17 => 6,
        _ => return,
    };
    let protocol = ip[9];
    let Some(segment) = ip.get_mut(header..total).filter(|s| s.len() >= field + 2) else { return };
    let (pairs, last) = segment.as_chunks::<2>();
    let mut sum: u32 = pairs.iter().map(|&p| u32::from(u16::from_be_bytes(p))).sum();
    sum += last.first().map_or(0, |&b| u32::from(b) << 8);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = match !(sum as u16) {
        // UDP writes "none" as 0.
        0 if protocol == 17 => 0xffff,
        sum => sum,
    };
    segment[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_checksum_is_finished() {
        // UDP 1.2.3.4:1 > 5.6.7.8:2, "abc"; the field holds the sum of the pseudo header alone.
        let mut frame = vec![0; 14];
        frame.extend([0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        frame.extend([0, 1, 0, 2, 0, 11, 0, 0, b'a', b'b', b'c']);
        let pseudo: u16 = 0x0102 + 0x0304 + 0x0506 + 0x0708 + 17 + 11;
        frame[40..42].copy_from_slice(&pseudo.to_be_bytes());
        // Padding is not summed.
        frame.resize(60, 0xee);
        finish_checksum(&mut frame);
        let mut sum = u32::from(pseudo);
        for pair in frame[34..45].chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        for cut in 0..frame.len() {
            finish_checksum(&mut frame[..cut].to_vec());
        }
    }
}
