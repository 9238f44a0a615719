//! Fragmentation: what is longer than the next link carries and may be cut leaves in pieces (RFC 1812 4.2.2.7), in order,
//! once its next hop is known.
//!
//! The first piece stays in the packet's buffer, the others go to spare ones, which the engine puts aside before each burst; without
//! enough of them the packet is dropped. Each piece beyond the first is counted, so that the books balance.

use super::{Router, View};
use crate::base::{IfaceId, WorkerId};
use crate::packet::{DropReason, Frame, PacketBuf, Stat, Verdict};
use crate::table::hash::HashKey;
use crate::wire::fragment::Cut;
use crate::wire::ipv4::Ipv4;

/// Spare buffers of a worker: a burst of 32 in three pieces each.
pub(super) const SPARE: usize = 64;
/// Counters of identifications.
const COUNTERS: usize = 1024;
/// Identifications there are.
const ALL_IDS: u32 = 1 << 16;

impl<B: PacketBuf> Router<B> {
    /// Fills the spare buffers up.
    #[inline(always)]
    pub fn refill(&mut self, alloc: impl FnMut() -> Option<B>) {
        if self.fragments.spare.len() < SPARE {
            self.refill_from(alloc);
        }
    }

    #[inline(never)]
    fn refill_from(&mut self, alloc: impl FnMut() -> Option<B>) {
        let missing = SPARE - self.fragments.spare.len();
        self.fragments.spare.extend(std::iter::from_fn(alloc).take(missing));
    }

    /// Sends a frame that is too long for its way out, in pieces.
    #[cold]
    pub(super) fn cut(&mut self, view: &View, egress: IfaceId, mut buf: B) -> Verdict {
        let l3 = Frame::<B>::L3;
        let packet = buf.bytes_mut().get_mut(l3..).unwrap_or_default();
        let Some(cut) = Cut::new(packet, view.ifaces[egress.index()].mtu) else {
            return self.ended(DropReason::FragmentationNeeded);
        };
        let more = cut.pieces() - 1;
        let Some(kept) = self.fragments.spare.len().checked_sub(more) else {
            return self.ended(DropReason::NoBuffer);
        };
        // A fragment has its identification already.
        if let Some(ip) = packet.first_chunk().map(Ipv4::read).filter(|ip| !ip.is_fragment()) {
            self.identify(view, egress, packet, &ip);
        }
        let Some((link, packet)) = buf.bytes_mut().split_at_mut_checked(l3) else {
            return self.ended(DropReason::NoBuffer);
        };
        for (n, spare) in self.fragments.spare.iter_mut().skip(kept).enumerate() {
            let (piece, len) = (n + 1, cut.len(n + 1));
            let written = spare.resize(l3 + len)
                && spare.bytes_mut().split_at_mut_checked(l3).is_some_and(|(to, out)| {
                    to.copy_from_slice(link);
                    cut.write(piece, packet, out)
                });
            if !written {
                return self.ended(DropReason::NoBuffer);
            }
        }
        cut.shorten(packet);
        // Cutting never fails.
        let _ = buf.resize(l3 + cut.first_len());
        self.counters.add(Stat::FragmentsMade, more as u64);
        let out = &mut self.out[egress.index()];
        out.put(buf);
        self.fragments.spare.drain(kept..).for_each(|piece| out.put(piece));
        Verdict::Sent
    }
}

/// The identifications that a worker gives to what leaves in fragments: by source, destination and protocol one after the
/// other, so that one comes again as late as 16 bits allow (RFC 6864 5.3.1, RFC 7857 REQ-10). Each worker has its share of
/// them.
#[derive(Debug)]
pub(super) struct Ids {
    secret: HashKey,
    /// By a keyed hash: nobody outside sees how busy another destination is
    counters: Vec<u16>,
    worker: u32,
    workers: u32,
}

impl Ids {
    pub(super) fn new(secret: HashKey) -> Ids {
        let counters = (0..COUNTERS as u64).map(|n| secret.hash(n, n) as u16).collect();
        Ids { secret, counters, worker: 0, workers: 1 }
    }

    pub(super) fn share(&mut self, worker: WorkerId, workers: usize) {
        self.workers = (workers as u32).clamp(1, ALL_IDS);
        self.worker = (worker.index() as u32).min(self.workers - 1);
    }

    /// The next one.
    pub(super) fn next(&mut self, ip: &Ipv4) -> u16 {
        let addresses = u64::from(ip.src.to_bits()) << 32 | u64::from(ip.dst.to_bits());
        let at = self.secret.hash(addresses, ip.protocol.into()) as usize % COUNTERS;
        let Some(counter) = self.counters.get_mut(at) else { return ip.id };
        let share = ALL_IDS / self.workers;
        let n = u32::from(*counter) % share;
        *counter = ((n + 1) % share) as u16;
        (n * self.workers + self.worker) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    #[test]
    fn rfc7857_10_no_identification_comes_again_before_all_have_been_given_on_no_worker() {
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        let ip = Ipv4 {
            header_len: 20,
            tos: 0,
            total_len: 28,
            id: 1,
            dont_fragment: false,
            more_fragments: true,
            fragment_offset: 0,
            ttl: 64,
            protocol: 17,
            src: Ipv4Addr::new(203, 0, 113, 2),
            dst: Ipv4Addr::new(9, 9, 9, 9),
        };
        for workers in [1usize, 2, 3, 5, 8] {
            let mut given = HashSet::new();
            for worker in 0..workers {
                let mut ids = Ids::new(HashKey::draw(&mut rng));
                ids.share(WorkerId(worker as u8), workers);
                for _ in 0..65_536 / workers {
                    assert!(given.insert(ids.next(&ip)), "{workers} workers");
                }
            }
        }
        let mut ids = Ids::new(HashKey::draw(&mut rng));
        let first = ids.next(&ip);
        let others = (0..100u32).map(|n| ids.next(&Ipv4 { dst: Ipv4Addr::from_bits(n), ..ip })).count();
        assert_eq!((others, first.wrapping_add(1).abs_diff(ids.next(&ip)) <= 2), (100, true));
    }
}
