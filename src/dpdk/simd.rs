//! An instruction for the reference loop of the measurements, where the whole crate is built for processors that have
//! it (`.cargo/config.toml`); the same without it elsewhere.

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
}
