//! Frames on their way out of one interface, in order, how many bytes they have, and what each frame there has in common.

use super::{BURST, Iface};
use crate::packet::PacketBuf;

/// Frames of a burst, with what it cuts and what it releases: the gate's, the spare buffers, what waited for a next hop.
const ROOM: usize = BURST * 16;

/// The frames that a burst has put out on an interface.
#[derive(Debug)]
pub struct Out<B> {
    frames: Vec<B>,
    bytes: u64,
    /// The interface's MAC as a frame's seventh and eighth byte, read little-endian from its first one on
    pub(super) from_low: u64,
    /// And its ninth to twelfth
    pub(super) from_high: u32,
    /// The longest IP packet
    pub(super) mtu: u16,
}

impl<B: PacketBuf> Out<B> {
    pub(super) fn new(iface: &Iface) -> Out<B> {
        let mut out = Out { frames: Vec::with_capacity(ROOM), bytes: 0, from_low: 0, from_high: 0, mtu: 0 };
        out.face(iface);
        out
    }

    /// What the interface is, in another view.
    pub(super) fn face(&mut self, iface: &Iface) {
        let mac = iface.mac.bits();
        (self.from_low, self.from_high, self.mtu) = (mac << 48, (mac >> 16) as u32, iface.mtu);
    }

    /// Puts a frame of `len` bytes at the end.
    #[inline(always)]
    pub(super) fn push(&mut self, buf: B, len: usize) {
        self.bytes += len as u64;
        self.frames.push(buf);
    }

    /// Puts a frame at the end.
    pub fn put(&mut self, buf: B) {
        let len = buf.bytes().len();
        self.push(buf, len);
    }

    /// Nothing is on its way.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Has `send` take frames from the front; drops the rest. Gives packets and bytes that it took, and how many packets were dropped.
    pub fn drain(&mut self, send: impl FnOnce(&mut Vec<B>)) -> (u64, u64, u64) {
        let packets = self.frames.len();
        let mut bytes = std::mem::take(&mut self.bytes);
        send(&mut self.frames);
        let left = self.frames.len();
        if left > 0 {
            bytes -= self.frames.iter().map(|b| b.bytes().len() as u64).sum::<u64>();
            self.frames.clear();
        }
        ((packets - left) as u64, bytes, left as u64)
    }
}
