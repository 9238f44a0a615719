//! The key that both members share, and what it signs: HMAC-SHA256 (RFC 2104, RFC 4231), the first 16 bytes of it (RFC 2104, 5).
//!
//! Everything that members tell each other ends with such a tag. A tag is compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a tag.
pub const TAG: usize = 16;
/// A key is at least so many bytes long.
pub const SHORTEST: usize = 16;

/// The shared key, ready for use.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl Key {
    /// From the bytes of the key file. `None`: fewer than `SHORTEST`.
    pub fn new(bytes: &[u8]) -> Option<Key> {
        if bytes.len() < SHORTEST {
            return None;
        }
        Hmac::new_from_slice(bytes).ok().map(Key)
    }

    /// What signs `bytes`.
    pub fn tag(&self, bytes: &[u8]) -> [u8; TAG] {
        let whole = self.0.clone().chain_update(bytes).finalize().into_bytes();
        whole.first_chunk().copied().unwrap_or_default()
    }

    /// Whether `tag` signs `bytes`.
    pub fn signed(&self, bytes: &[u8], tag: &[u8]) -> bool {
        // a shorter tag would be easier to guess
        tag.len() == TAG && self.0.clone().chain_update(bytes).verify_truncated_left(tag).is_ok()
    }

    /// The bytes that a tag at the end of `message` signs. `None`: it does not sign them.
    pub fn open<'a>(&self, message: &'a [u8]) -> Option<&'a [u8]> {
        let (bytes, tag) = message.split_last_chunk::<TAG>()?;
        self.signed(bytes, tag).then_some(bytes)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_4231_4_2_the_first_test_case() {
        let key = Key::new(&[0x0b; 20]).unwrap();
        let want =
            [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b, 0xf1, 0x2b];
        assert_eq!(key.tag(b"Hi There"), want);
        assert!(key.signed(b"Hi There", &want) && !key.signed(b"Hi there", &want));
        for cut in 0..TAG {
            assert!(!key.signed(b"Hi There", &want[..cut]), "a tag of {cut} bytes");
        }
    }

    #[test]
    fn a_short_key_is_none_and_no_key_is_shown() {
        assert!(Key::new(&[7; SHORTEST - 1]).is_none());
        let key = Key::new(&[7; SHORTEST]).unwrap();
        assert_eq!(format!("{key:?}"), "Key");
        assert_eq!(key.open(&[0; TAG - 1]), None);
        let signed = [&b"x"[..], &key.tag(b"x")].concat();
        assert_eq!(key.open(&signed), Some(&b"x"[..]));
    }
}
