//! Two instructions for the reference loop of the measurements, where the whole crate is built for processors that have
//! them (`.cargo/config.toml`); the same without them elsewhere.

/// CRC-32C of the eight bytes of `word`, on from `crc` (SSE4.2).
#[inline(always)]
pub fn crc32(crc: u32, word: u64) -> u32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse4.2"))]
    // SAFETY: this is compiled only where SSE4.2 is part of what the crate is built for; it touches no memory.
    return unsafe { std::arch::x86_64::_mm_crc32_u64(crc.into(), word) } as u32;
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse4.2")))]
    (0..64).fold(crc ^ word as u32, |crc, bit| {
        let crc = if bit == 32 { crc ^ (word >> 32) as u32 } else { crc };
        crc >> 1 ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
    })
}

/// Two bits for each of the eight values that is `value`, the first one's lowest (SSE2).
#[inline(always)]
pub fn equal(values: &[u16; 8], value: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi16};
        // SAFETY: every x86-64 has SSE2; the load needs no alignment and reads the 16 bytes of `values`.
        unsafe {
            let all = _mm_loadu_si128(values.as_ptr().cast());
            _mm_movemask_epi8(_mm_cmpeq_epi16(all, _mm_set1_epi16(value as i16))) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    values.iter().enumerate().fold(0, |mask, (at, v)| mask | if *v == value { 3 << (at * 2) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_rfc_3720() {
        // B.4: 32 bytes of zeros.
        let zeros = (0..4).fold(!0, |crc, _| crc32(crc, 0));
        assert_eq!(!zeros, 0x8a91_36aa);
        // and 0 to 31
        let rising =
            (0..4u64).map(|n| u64::from_le_bytes(std::array::from_fn(|at| (n * 8) as u8 + at as u8)));
        assert_eq!(!rising.fold(!0, crc32), 0x46dd_794e);
    }

    #[test]
    fn every_equal_value_has_its_bits() {
        let values = [7, 0, 7, 1, 2, 3, 4, 7];
        assert_eq!(equal(&values, 7), 0b1100_0000_0011_0011);
        assert_eq!(equal(&values, 0), 0b1100);
        assert_eq!(equal(&values, 9), 0);
    }
}
