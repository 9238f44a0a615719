//! A member's name, and other short words that members tell each other: 1 to 16 printable ASCII characters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const LONGEST: usize = 16;

/// A short word; as on the wire, with zeros behind. Ordered by its characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name([u8; LONGEST]);

impl Name {
    /// From the wire. `None`: no name.
    pub fn from_wire(bytes: [u8; LONGEST]) -> Option<Name> {
        let length = bytes.iter().position(|b| *b == 0).unwrap_or(LONGEST);
        let (word, rest) = bytes.split_at(length);
        let good = length > 0 && word.iter().all(u8::is_ascii_graphic) && rest.iter().all(|b| *b == 0);
        good.then_some(Name(bytes))
    }

    /// For the wire.
    pub const fn wire(&self) -> &[u8; LONGEST] {
        &self.0
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|b| *b == 0).unwrap_or(LONGEST);
        self.0.get(..length).and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default()
    }

    /// The beginning of `word`, as much of it as can be told.
    pub fn cut(word: &str) -> Name {
        let mut bytes = [0; LONGEST];
        let mut good = word.bytes().filter(u8::is_ascii_graphic);
        bytes.iter_mut().for_each(|b| *b = good.next().unwrap_or(0));
        if bytes[0] == 0 {
            bytes[0] = b'-';
        }
        Name(bytes)
    }
}

impl FromStr for Name {
    type Err = &'static str;
    fn from_str(word: &str) -> Result<Name, &'static str> {
        let mut bytes = [0; LONGEST];
        let into = bytes.get_mut(..word.len()).ok_or("a name has at most 16 characters")?;
        into.copy_from_slice(word.as_bytes());
        Name::from_wire(bytes).ok_or("a name has 1 to 16 printable ASCII characters")
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;
    fn try_from(word: String) -> Result<Name, &'static str> {
        word.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.as_str().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_what_they_print() {
        for good in ["a", "b", "left-member", "0123456789abcdef"] {
            let name: Name = good.parse().unwrap();
            assert_eq!((name.as_str(), Name::from_wire(*name.wire())), (good, Some(name)));
        }
        for bad in ["", "0123456789abcdefg", "a b", "a\0b", "ä"] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        let mut torn = *Name::cut("ab").wire();
        torn[5] = b'x';
        assert_eq!(Name::from_wire(torn), None);
        assert_eq!(Name::cut("0.1.0-a very long one").as_str(), "0.1.0-averylongo");
        assert_eq!(Name::cut("").as_str(), "-");
    }
}
