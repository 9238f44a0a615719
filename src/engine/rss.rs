//! The rule of ownership in the form that a NIC can be told: receive side scaling (RSS) by the Toeplitz hash.
//!
//! A NIC hashes source address, destination address, source port, destination port (input bits 0, 32, 64, 80 on), or the
//! addresses alone where there are no ports. Hash bit b, 0 the most significant, is the sum over GF(2) of input bit i
//! times **key bit i + b**. The low 7 bits of the hash, b = 25..=31, are the index into a redirection table of queues;
//! 128 entries is the smallest table of the Intel NICs, and a larger one repeats. What an input bit has to do with the index
//! is in key bits i + 25 to i + 31:
//!
//! - **Inside** the index must come from the source address alone, input bits 0..=31, key bits 25..=62. The destination begins
//!   with key bit 57, the ports behind it: so only key bits **25..=56** may be set. 32 bits of key for 32 of address: the last
//!   address bits reach but a part of the index.
//! - **WAN**: from the destination port alone, input bits 80..=95, key bits 105..=126. The source port ends with key bit 110:
//!   only **111..=126** may be set. Of these the last 12 stand for the low 6 bits of the port. Left zero they make blocks of 64
//!   ports; 111..=114 remain, and bring all upper 10 bits in.
//!
//! Within its window the inside key is the series of 1 / (1 + D^6 + D^7) read backwards, an m-sequence that runs out in
//! zeros. That makes the index the address, as a polynomial over GF(2), modulo x^7 + x + 1, which is primitive: the 128
//! values of a field. Any 7 neighbouring address bits reach all 128, whatever the other 25 are: a /25 takes each index once, 50
//! networks with one host each take 50, and so do networks and hosts that count in step.
//!
//! The NIC's hash is not used for anything else. With keys like these it has 7 bits of meaning, and anybody can compute it; the
//! sessions' index needs a hash whose key nobody outside knows.
//!
//! Both maps give the index with its 7 bits in reverse order, which is what they cost least in: `read_backwards`.

use std::net::Ipv4Addr;

/// Indices that the rule tells apart.
pub const INDICES: usize = 128;
/// Bits of an index.
const BITS: u32 = INDICES.ilog2();
/// Bits of the hash before the index.
const BEFORE: usize = 32 - BITS as usize;
/// What the key bits that matter fit in, in bytes.
const SHORTEST: usize = 16;

/// What a port is to the router, which is what its key is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Hosts send here: by source address.
    Inside,
    /// Replies come here: by destination port.
    Wan,
}

/// The hash key, so many bytes long. `None`: that is too short for the role's window.
pub fn key(role: Role, len: usize) -> Option<Vec<u8>> {
    let mut key = vec![0u8; len];
    let mut set = |bit: usize| key[bit / 8] |= 0x80 >> (bit % 8);
    match role {
        _ if len < SHORTEST => return None,
        Role::Inside => (0..32).filter(|n| series(*n)).for_each(|n| set(BEFORE + 31 - n)),
        // Of the destination port's bits the first, and the fourth: `port`.
        Role::Wan => [111, 114].into_iter().for_each(set),
    }
    Some(key)
}

/// The n-th coefficient of 1 / (1 + D^6 + D^7).
fn series(n: usize) -> bool {
    match n {
        0 => true,
        1..=5 => false,
        6 => true,
        _ => series(n - 6) != series(n - 7),
    }
}

/// The redirection table of a NIC: the queue, which is the worker, of each index. `None` unless `size` is a multiple of
/// [`INDICES`].
pub fn redirection(size: usize, workers: usize) -> Option<Vec<u16>> {
    (size >= INDICES && size.is_multiple_of(INDICES))
        .then(|| (0..size).map(|index| queue(index % INDICES, workers)).collect())
}

/// The worker of an index. Neighbouring indices, and those that differ in some bits only, are of different workers as
/// drawn by lot; each worker has as many as any other, or one less.
pub(super) fn queue(index: usize, workers: usize) -> u16 {
    (mixed(index) * workers.clamp(1, INDICES) / INDICES) as u16
}

/// A permutation of the indices that is linear in no sense that addresses are. The constants are the best of
/// twelve thousand by the spread of 50 neighbouring networks and of 32 hosts at equal distances over 2 to 8 workers.
fn mixed(index: usize) -> usize {
    let n = index * 113 % INDICES;
    let n = (n ^ n >> 3) * 81 % INDICES;
    (n ^ n >> 4) * 95 % INDICES
}

/// The index of an inside host, backwards. The shifts divide by x^7 + x + 1, of which x^14 + x^2 + 1 and x^28 + x^4 + 1 are
/// multiples; the last step is from the remainder to the low coefficients of the quotient, which the hash gives.
#[inline(always)]
pub(super) fn host(host: Ipv4Addr) -> u8 {
    let a = host.to_bits();
    let a = (a & 0x0fff_ffff) ^ (a >> 28) ^ (a >> 28 << 4);
    let a = (a & 0x3fff) ^ (a >> 14) ^ (a >> 14 << 2);
    let a = (a & 0x7f) ^ (a >> 7) ^ (a >> 7 << 1);
    let a = (a & 0x7f) ^ (a >> 7) ^ (a >> 7 << 1);
    (a ^ a >> 6) as u8
}

/// The index of a port, or of an echo identifier, backwards.
#[inline(always)]
pub(super) fn port(port: u16) -> u8 {
    let block = port >> 6;
    ((block ^ block >> 3) & 0x7f) as u8
}

/// An index with its 7 bits in reverse order.
pub(super) fn read_backwards(index: u8) -> u8 {
    index.reverse_bits() >> (8 - BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::steer::Steer;
    use super::*;

    /// The hash as the specification has it: for each bit of the input that is set, 32 bits of the key from there on.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], n: usize| bytes.get(n / 8).is_some_and(|b| b & (0x80 >> (n % 8)) != 0);
        let mut hash = 0;
        for n in (0..input.len() * 8).filter(|n| bit(input, *n)) {
            hash ^= (0..32).fold(0, |window, b| window << 1 | u32::from(bit(key, n + b)));
        }
        hash
    }

    fn input(src: u32, dst: u32, ports: Option<(u16, u16)>) -> Vec<u8> {
        let mut bytes = [src.to_be_bytes(), dst.to_be_bytes()].concat();
        if let Some((sport, dport)) = ports {
            bytes.extend([sport.to_be_bytes(), dport.to_be_bytes()].concat());
        }
        bytes
    }

    #[test]
    fn the_hash_of_these_tests_is_the_one_of_the_published_examples() {
        // Microsoft's verification suite for RSS: 66.9.149.187:2794 to 161.142.100.80:1766.
        let key = [
            0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
            0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
            0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
        ];
        let (src, dst) = (u32::from_be_bytes([66, 9, 149, 187]), u32::from_be_bytes([161, 142, 100, 80]));
        assert_eq!(toeplitz(&key, &input(src, dst, None)), 0x323e_8fc2);
        assert_eq!(toeplitz(&key, &input(src, dst, Some((2794, 1766)))), 0x51cc_c178);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn nic_and_steer_agree_whatever_else_is_in_the_packet(
            src: u32, dst: u32, sport: u16, dport: u16, workers in 1usize..=128,
            len in prop_oneof![16usize..=64, Just(40), Just(52)],
            size in prop_oneof![Just(128usize), Just(512), Just(2048)],
        ) {
            let steer = Steer::new(workers);
            let table = redirection(size, workers).unwrap();
            let queue = |role, input: Vec<u8>| {
                usize::from(table[toeplitz(&key(role, len).unwrap(), &input) as usize % size])
            };
            let host = steer.host(Ipv4Addr::from_bits(src)).index();
            prop_assert_eq!(queue(Role::Inside, input(src, dst, Some((sport, dport)))), host);
            prop_assert_eq!(queue(Role::Inside, input(src, dst, None)), host);
            prop_assert_eq!(queue(Role::Wan, input(src, dst, Some((sport, dport)))), steer.port(dport).index());
        }

        #[test]
        fn any_7_neighbouring_bits_of_the_address_reach_every_index(rest: u32, at in 0u32..=25) {
            let rest = rest & !(0x7f << at);
            let mut seen = [false; INDICES];
            (0..128u32).for_each(|n| seen[usize::from(host(Ipv4Addr::from_bits(rest | n << at)))] = true);
            prop_assert!(seen.iter().all(|seen| *seen));
        }
    }

    #[test]
    fn a_table_is_shared_out_to_within_one_entry_and_a_larger_one_repeats() {
        for workers in 1..=INDICES {
            let table = redirection(INDICES, workers).unwrap();
            let mut shares = vec![0usize; workers];
            table.iter().for_each(|queue| shares[usize::from(*queue)] += 1);
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{workers} workers: {shares:?}");
            let large = redirection(4 * INDICES, workers).unwrap();
            assert!(large.chunks(INDICES).all(|part| part == table));
        }
        for size in [0, 64, 127, 129, 192] {
            assert_eq!(redirection(size, 2), None);
        }
    }

    #[test]
    fn a_key_is_zero_but_for_its_window_and_as_long_as_the_nic_wants() {
        for (role, window) in [(Role::Inside, 25..=56), (Role::Wan, 111..=126)] {
            for len in [16, 40, 52] {
                let key = key(role, len).unwrap();
                let set = |bit: &usize| key[bit / 8] & (0x80 >> (bit % 8)) != 0;
                assert_eq!(key.len(), len);
                assert!((0..len * 8).filter(set).all(|bit| window.contains(&bit)));
                assert!([window.start(), window.end()].iter().any(|end| set(end)));
            }
            assert_eq!(key(role, 15), None);
        }
    }
}
