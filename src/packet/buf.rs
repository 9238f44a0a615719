//! `PacketBuf`: one frame's bytes, whoever owns the memory. An mbuf on real ports, a `VecBuf` in simulations.
//!
//! Growing at the front uses headroom (128 bytes at least in a fresh buffer) and never copies.

use super::Verified;

/// A whole Ethernet frame in one piece of memory, without its frame check sequence.
pub trait PacketBuf {
    /// The frame.
    fn bytes(&self) -> &[u8];
    /// The frame, to be rewritten in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Calls for the first line of the frame, which is read soon.
    #[inline]
    fn prefetch(&self) {}
    /// Makes room for `n` bytes (of any content) before the frame. False, and nothing done, without that much headroom.
    #[must_use]
    fn prepend(&mut self, n: usize) -> bool;
    /// Cuts `n` bytes from the front, which become headroom. False, and nothing done, if the frame is shorter.
    #[must_use]
    fn trim(&mut self, n: usize) -> bool;
    /// Makes the frame `len` bytes long, from its start. New bytes are of any content. False, and nothing done, if
    /// the buffer ends before.
    #[must_use]
    fn resize(&mut self, len: usize) -> bool;
    /// The VLAN of the tag that the NIC has taken off the frame, if it had one there.
    #[inline]
    fn tag_taken(&self) -> Option<u16> {
        None
    }
    /// What the NIC that received the frame says of its IPv4 header checksum. True of the bytes as they came: not to be
    /// asked once they were changed.
    #[inline]
    fn ip_checksum(&self) -> Verified {
        Verified::Unknown
    }
}

/// Where fresh buffers come from. An empty pool is a normal event: the packet is not made, and counted.
pub trait BufPool {
    /// What it hands out.
    type Buf: PacketBuf;
    /// An empty frame (length 0) with headroom.
    fn alloc(&mut self) -> Option<Self::Buf>;
}

/// A frame in a vector, with the headroom and tailroom of an mbuf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VecBuf {
    room: Vec<u8>,
    start: usize,
    len: usize,
    /// As a NIC would say
    tag_taken: Option<u16>,
}

impl VecBuf {
    /// As `RTE_PKTMBUF_HEADROOM`.
    pub const HEADROOM: usize = 128;
    /// As `RTE_MBUF_DEFAULT_DATAROOM`.
    pub const DATAROOM: usize = 2048;

    /// A buffer with a copy of `frame`. Frames over `DATAROOM` get a buffer of their own size.
    pub fn new(frame: &[u8]) -> VecBuf {
        let mut room = vec![0; Self::HEADROOM + frame.len().max(Self::DATAROOM)];
        room[Self::HEADROOM..Self::HEADROOM + frame.len()].copy_from_slice(frame);
        VecBuf { room, start: Self::HEADROOM, len: frame.len(), tag_taken: None }
    }

    /// As a NIC gives it that has taken off the tag of this VLAN.
    #[must_use]
    pub fn taken_off(self, vlan: u16) -> VecBuf {
        VecBuf { tag_taken: Some(vlan), ..self }
    }
}

impl PacketBuf for VecBuf {
    fn bytes(&self) -> &[u8] {
        &self.room[self.start..self.start + self.len]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.start + self.len]
    }

    fn tag_taken(&self) -> Option<u16> {
        self.tag_taken
    }

    fn prepend(&mut self, n: usize) -> bool {
        if n > self.start {
            return false;
        }
        self.start -= n;
        self.len += n;
        true
    }

    fn trim(&mut self, n: usize) -> bool {
        if n > self.len {
            return false;
        }
        self.start += n;
        self.len -= n;
        true
    }

    fn resize(&mut self, len: usize) -> bool {
        if self.start + len > self.room.len() {
            return false;
        }
        self.len = len;
        true
    }
}

/// A pool of `VecBuf` that hands out at most `left` more buffers.
#[derive(Debug)]
pub struct VecPool {
    /// How many buffers may still be taken.
    pub left: usize,
}

impl BufPool for VecPool {
    type Buf = VecBuf;
    fn alloc(&mut self) -> Option<VecBuf> {
        self.left = self.left.checked_sub(1)?;
        Some(VecBuf::new(&[]))
    }
}
