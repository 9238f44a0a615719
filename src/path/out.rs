//! Frames on their way out of one interface, in order, how many bytes they have, and what each frame there has in common.

use super::{BURST, Iface};
use crate::packet::PacketBuf;
use crate::wire::eth::ethertype;

/// Frames of a burst, with what it cuts and what it releases: the gate's, the spare buffers, what waited for a next hop.
const ROOM: usize = BURST * 16;

/// The frames that a burst has put out on an interface.
#[derive(Debug)]
pub struct Out<B> {
    pub(super) frames: Vec<B>,
    /// Theirs
    pub(super) bytes: u64,
    /// The interface's MAC and IPv4's ethertype, as a frame's seventh to fourteenth byte, read little-endian
    pub(super) from: u64,
    /// The longest IP packet
    pub(super) mtu: u16,
}

impl<B: PacketBuf> Out<B> {
    pub(super) fn new(iface: &Iface) -> Out<B> {
        let mut out = Out { frames: Vec::with_capacity(ROOM), bytes: 0, from: 0, mtu: 0 };
        out.face(iface);
        out
    }

    /// What the interface is, in another view.
    pub(super) fn face(&mut self, iface: &Iface) {
        let ethertype = u64::from(ethertype::IPV4.swap_bytes());
        (self.from, self.mtu) = (iface.mac.bits() | ethertype << 48, iface.mtu);
    }

    /// Puts a frame at the end.
    pub fn put(&mut self, buf: B) {
        self.bytes += buf.bytes().len() as u64;
        self.frames.push(buf);
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
