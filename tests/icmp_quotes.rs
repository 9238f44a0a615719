//! Properties of ICMP errors about translated packets: whatever the quote holds, what comes out is to the byte the error that
//! the other side would have been sent without a NAT; and no bytes do harm (RFC 5508 4.1, 4.2; RFC 4884).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod common;
use common::*;
#[path = "common/quotes.rs"]
mod quotes;
use quotes::*;

use proptest::prelude::*;

const INSIDE: End = (H1, 5000);
const REMOTE: End = (E1, 80);

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(KINDS.to_vec())
}

/// Type, code, and a second word without a length of the quote.
fn says() -> impl Strategy<Value = Says> {
    let kind = prop::sample::select(vec![3u8, 11, 12]);
    (kind, 0u8..16, any::<u32>()).prop_map(|(kind, code, word)| Says(kind, code, word & 0xff00_ffff))
}

/// Sends an error about a packet with `data` both ways and holds what comes out against the one that was made from scratch.
fn both_ways(
    shape: usize,
    kind: Kind,
    says: Says,
    data: &[u8],
    ttl: u8,
    quoting: &Quoting,
) -> Result<(), TestCaseError> {
    let (workers, queue) = SHAPES[shape];
    let mut site = site(workers);
    site.use_queue(queue);
    let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
    let before = digest(&mut site);
    let (mut came, told) = flow.told_inside(Q, says, data, quoting);
    came.ip.ttl = ttl;
    let Some((link, seen)) = site.pass("isp1", &came) else {
        return Err(TestCaseError::fail("nobody was told inside"));
    };
    prop_assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst, seen.ip.ttl), ("lan", Q, H1, ttl - 1));
    // 5508-4b: type and code as they came
    prop_assert_eq!(&seen.payload[..2], &came.payload[..2]);
    prop_assert_eq!(&seen.payload, &told);
    let (came, told) = flow.told_outside(H2, says, data, quoting);
    let Some((link, seen)) = site.pass("lan", &came) else {
        return Err(TestCaseError::fail("nobody was told outside"));
    };
    prop_assert_eq!((link.as_str(), seen.ip.src, seen.ip.dst), ("isp1", P1, E1));
    prop_assert_eq!(&seen.payload[..2], &came.payload[..2]);
    prop_assert_eq!(&seen.payload, &told);
    prop_assert_eq!(digest(&mut site), before);
    prop_assert!(flow.works(&mut site));
    site.finish(&TOLD).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rfc5508_4a_4b_4c_and_rfc5508_5a_5b_and_rfc5508_3b_options_are_stepped_over_and_all_is_as_if_there_were_no_nat(
        shape in 0..SHAPES.len(), kind in kinds(), says in says(), options in 0usize..=10, ttl in 2u8..,
        data in prop::collection::vec(any::<u8>(), 0..200), cut in prop::option::of(prop::sample::select(vec![8usize, 12, 16, 18, 20, 64])),
    ) {
        let options = (0..options * 4).map(|at| data.get(at).copied().unwrap_or(1)).collect();
        let quoting = Quoting { options, cut, padded: None };
        both_ways(shape, kind, says, &data, ttl, &quoting)?;
    }

    /// The field for the quote is cut at any word and filled with zeros, or filled; then comes what says that it is an extension.
    #[test]
    fn rfc5508_3d_padding_and_extensions_stay_as_they_are_and_are_not_taken_for_the_quote(
        shape in 0..SHAPES.len(), kind in kinds(), says in says(), data in prop::collection::vec(1u8.., 0..300),
        cut in 2usize..40, words in 32u32..120, extension in prop::collection::vec(any::<u8>(), 4..60),
    ) {
        let cut = (cut * 4).min(words as usize * 4 - 20);
        let quoting = Quoting { options: vec![], cut: Some(cut), padded: Some((words as usize * 4, extension)) };
        both_ways(shape, kind, Says(says.0, says.1, says.2 | words << 16), &data, 64, &quoting)?;
    }

    /// Any bytes as an error, and sound errors with some bytes behind the type changed and their checksum right again. (A type
    /// that is a query's would rightly open a session.)
    #[test]
    fn x_5_no_bytes_in_an_error_do_harm(
        kind in kinds(), type_ in prop::sample::select(vec![3u8, 4, 5, 11, 12]), any in prop::collection::vec(any::<u8>(), 0..120),
        changes in prop::collection::vec((1usize..80, any::<u8>()), 0..6), cut in 0usize..90, inward: bool, mended: bool,
    ) {
        let mut site = site(2);
        let flow = Flow::open(&mut site, kind, INSIDE, REMOTE);
        let before = digest(&mut site);
        let link = if inward { "isp1" } else { "lan" };
        let (from, to) = if inward { (Q, P1) } else { (H1, E1) };
        let mut sound = if inward { flow.told_inside(Q, PORT, b"data", &whole()).0 } else { flow.told_outside(H1, PORT, b"data", &whole()).0 };
        for (at, byte) in changes.into_iter().chain([(0, type_)]) {
            if let Some(b) = sound.payload.get_mut(at) {
                *b = byte;
            }
        }
        sound.payload.truncate(cut);
        sound.ip.total_len = 20 + sound.payload.len() as u16;
        if mended && sound.payload.len() > 28 {
            put16(&mut sound.payload, 18, 0);
            let sum = checksum::internet(&sound.payload[8..28]);
            put16(&mut sound.payload, 18, sum);
        }
        if sound.payload.len() > 8 {
            mend_icmp(&mut sound);
        }
        site.send(link, &sound);
        site.send(link, &Packet::icmp(from, to, type_, 0, 0, 0, &any));
        prop_assert_eq!(digest(&mut site), before);
        prop_assert!(flow.works(&mut site));
        let moved: Vec<&str> = site.counters().iter().filter(|(name, _)| site.moved(name) > 0).map(|(name, _)| name).collect();
        site.finish(&moved.into_iter().filter(|n| *n != "held").collect::<Vec<_>>()).map_err(TestCaseError::fail)?;
    }
}
