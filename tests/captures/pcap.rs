//! Frames out of capture files: classic pcap of either byte order, pcapng with simple, enhanced and old packet blocks.
//! What is cut off ends the file; link types but Ethernet are passed over.

const ETHERNET: u32 = 1;

/// Reads numbers in a file's byte order.
#[derive(Clone, Copy)]
struct Order(bool);

impl Order {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if self.0 { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let word: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.0 { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) })
    }
}

/// The Ethernet frames of a file, in order; `None` if it is no capture.
pub fn frames(file: &[u8]) -> Option<Vec<&[u8]>> {
    match file.first_chunk()? {
        // In microseconds, in nanoseconds, and either the other way round.
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => Some(classic(file, Order(true))),
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => Some(classic(file, Order(false))),
        [0x0a, 0x0d, 0x0d, 0x0a] => Some(blocks(file)),
        _ => None,
    }
}

fn classic(file: &[u8], order: Order) -> Vec<&[u8]> {
    let mut all = Vec::new();
    // The upper bits say how long the frame check sequence is.
    if order.u32(file, 20).map(|link| link & 0xffff) != Some(ETHERNET) {
        return all;
    }
    let mut at = 24;
    while let Some(length) = order.u32(file, at + 8) {
        let Some(frame) = file.get(at + 16..at + 16 + length as usize) else { break };
        all.push(frame);
        at += 16 + length as usize;
    }
    all
}

fn blocks(file: &[u8]) -> Vec<&[u8]> {
    let (mut all, mut links, mut order, mut at) = (Vec::new(), Vec::new(), Order(false), 0);
    while let Some(head) = file.get(at..at + 12) {
        if head[..4] == [0x0a, 0x0d, 0x0d, 0x0a] {
            order = Order(head[8..12] == [0x1a, 0x2b, 0x3c, 0x4d]);
            links.clear();
        }
        let (Some(kind), Some(length)) = (order.u32(head, 0), order.u32(head, 4)) else { break };
        let length = length as usize;
        let Some(body) = file.get(at + 8..(at + length).wrapping_sub(4)).filter(|_| length >= 12) else {
            break;
        };
        let ethernet = |iface: usize| links.get(iface) == Some(&(ETHERNET as u16));
        let cut = |from: usize, len: Option<u32>| body.get(from..from + len? as usize);
        let frame = match kind {
            1 => {
                links.extend(order.u16(body, 0));
                None
            }
            2 if order.u16(body, 0).is_some_and(|i| ethernet(i.into())) => cut(20, order.u32(body, 12)),
            3 if ethernet(0) => {
                // Of what is longer than the snapshot only that is there.
                let there = body.len().saturating_sub(4) as u32;
                cut(4, order.u32(body, 0).map(|len| len.min(there)))
            }
            6 if order.u32(body, 0).is_some_and(|i| ethernet(i as usize)) => cut(20, order.u32(body, 12)),
            _ => None,
        };
        all.extend(frame);
        at += length;
    }
    all
}
