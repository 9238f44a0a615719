//! The keyed hash of the tables: two words are folded by wide multiplications with a secret that is drawn at start, so
//! that nobody outside can choose addresses and ports that fall into one bucket.

use rand::RngExt;

/// The secret of one table.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 3]);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl HashKey {
    /// A fresh secret from `rng`.
    pub fn draw(rng: &mut impl rand::Rng) -> HashKey {
        HashKey([rng.random(), rng.random(), rng.random::<u64>() | 1])
    }

    /// Another secret, for another table: from it this one cannot be told.
    pub fn derive(&self, n: u64) -> HashKey {
        HashKey([self.hash(n, 1), self.hash(n, 2), self.hash(n, 3) | 1])
    }

    /// The hash of two words.
    #[inline(always)]
    pub fn hash(&self, a: u64, b: u64) -> u64 {
        let first = fold(a ^ self.0[0], b ^ self.0[1]);
        fold(first ^ self.0[1], self.0[2])
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}
