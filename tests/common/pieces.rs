//! Datagrams in fragments: cut for a test, and put together again from what came out.
#![allow(dead_code, reason = "each test file uses its part")]

use super::*;

/// The fragments of a packet, each with so many bytes of its data (the last with what is left), with this identification.
pub fn fragments(packet: &Packet, id: u16, step: usize) -> Vec<Packet> {
    let count = packet.payload.len().div_ceil(step);
    let piece = |(n, data): (usize, &[u8])| {
        let mut piece = packet.clone();
        piece.payload = data.to_vec();
        piece.ip.total_len = (20 + data.len()) as u16;
        (piece.ip.id, piece.ip.dont_fragment) = (id, false);
        (piece.ip.more_fragments, piece.ip.fragment_offset) = (n + 1 < count, (n * step) as u16);
        piece
    };
    packet.payload.chunks(step).enumerate().map(piece).collect()
}

/// One fragment with these bytes of a datagram between two addresses, by a WAN's gateway or a host.
pub fn piece(src: Ipv4Addr, dst: Ipv4Addr, id: u16, offset: u16, data: &[u8], more: bool) -> Packet {
    let mut packet = Packet::udp((src, 53), (dst, 53), b"");
    packet.payload = data.to_vec();
    packet.ip.total_len = (20 + data.len()) as u16;
    (packet.ip.id, packet.ip.dont_fragment) = (id, false);
    (packet.ip.more_fragments, packet.ip.fragment_offset) = (more, offset);
    packet
}

/// The packet that fragments make, in whatever order: they agree in all but length, options and place, leave no gap and do not overlap.
pub fn whole(pieces: &[Seen]) -> Option<Seen> {
    let mut pieces = pieces.to_vec();
    pieces.sort_by_key(|p| p.ip.fragment_offset);
    let mut all = pieces.first()?.clone();
    let (mut payload, last) = (Vec::new(), pieces.len() - 1);
    for (n, piece) in pieces.iter().enumerate() {
        let (a, b) = (&piece.ip, &all.ip);
        let same = (a.src, a.dst, a.id, a.protocol, a.tos) == (b.src, b.dst, b.id, b.protocol, b.tos);
        let fits = usize::from(a.fragment_offset) == payload.len() && a.more_fragments == (n < last);
        if !same || !fits {
            return None;
        }
        payload.extend_from_slice(&piece.payload);
    }
    all.payload = payload;
    all.ip.more_fragments = false;
    all.ip.total_len = u16::try_from(all.payload.len() + usize::from(all.ip.header_len)).ok()?;
    Some(all)
}

/// Sends packets on a link one after the other and gives all IPv4 packets that came out, of all links.
pub fn send_all(site: &mut Site, link: &str, packets: &[Packet]) -> Vec<(String, Seen)> {
    packets.iter().flat_map(|packet| site.send(link, packet)).collect()
}

/// The packets of `out`, which all left by `link`.
#[track_caller]
pub fn all_by(link: &str, out: Vec<(String, Seen)>) -> Vec<Seen> {
    assert!(out.iter().all(|(by, _)| by == link), "{out:?}");
    out.into_iter().map(|(_, seen)| seen).collect()
}

/// Data that says where it stands.
pub fn data(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 8 * 31 + n % 8) as u8).collect()
}

/// A site with two WANs whose links have these MTUs.
pub fn narrow(workers: usize, mtu: &[(&str, u16)]) -> Site {
    let mut profile = DUAL_WAN.to_owned();
    for (name, mtu) in mtu {
        let entry = format!("{name}: ").len();
        let at = profile.find(&format!("  {name}: ")).unwrap() + 2 + entry;
        let end = at + profile[at..].find(" }").unwrap();
        profile.insert_str(end, &format!(", mtu: {mtu}"));
    }
    let mut site = Site::new(&profile, workers).unwrap();
    meet(&mut site);
    site
}
