//! A frame between a log and its follower: a head of 44 bytes, records, and the key's tag over all of it.
//!
//! | at | bytes | data | acknowledgement |
//! |---|---|---|---|
//! | 0 | 4 | `t` `o` `s`, version 1 | the same |
//! | 4 | 2 | 0, 0 | 1, 0 |
//! | 6 | 2 | records, 32 at most | 0 |
//! | 8 | 8 | boot id of the log's member | of the log that is followed, or 0 |
//! | 16 | 4 | run | the same |
//! | 20 | 8 | number of the first record | of the next one that is wanted |
//! | 28 | 8 | from this number on the copy is whole; all ones: not yet known | boot id of the follower |
//! | 36 | 8 | the log's end | which copy of the follower's this is, since its boot |

use crate::cluster::key::{Key, TAG};
use crate::wire::record::{self, Record};
use crate::wire::{be16, be32};

/// Length of the head.
pub const HEAD: usize = 44;
/// Records of a frame, at most.
pub(super) const RECORDS: usize = 32;
/// Length of the longest frame.
pub const LONGEST: usize = HEAD + RECORDS * record::LEN + TAG;
const MARK: [u8; 4] = [b't', b'o', b's', 1];

/// Which run of which log. A later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogId {
    pub(super) boot: u64,
    pub(super) run: u32,
}

/// Which copy of which follower. A later one is greater: it has nothing yet that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CopyId {
    pub(super) boot: u64,
    pub(super) copy: u64,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not the length that its head tells, another version, or a record that is none.
    Form,
    /// Not signed by the key.
    Forged,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Data { log: LogId, first: u64, whole: u64, end: u64 },
    Ack { log: LogId, next: u64, follower: CopyId },
}

/// How long the frame is that begins with these bytes, for who reads a stream. `None`: no frame begins like this.
pub fn length(head: &[u8; HEAD]) -> Option<usize> {
    let records = usize::from(be16(head, 6));
    let data = match head.get(4..6)? {
        [0, 0] => true,
        [1, 0] => false,
        _ => return None,
    };
    let good = head.starts_with(&MARK) && records <= if data { RECORDS } else { 0 };
    good.then_some(HEAD + records * record::LEN + TAG)
}

impl Head {
    pub(super) fn seal<'a>(&self, key: &Key, records: impl Iterator<Item = &'a Record>) -> Vec<u8> {
        let (kind, log, words) = match *self {
            Head::Data { log, first, whole, end } => (0, log, [first, whole, end]),
            Head::Ack { log, next, follower } => (1, log, [next, follower.boot, follower.copy]),
        };
        let mut out = Vec::with_capacity(LONGEST);
        out.extend(MARK);
        out.extend([kind, 0, 0, 0]);
        out.extend(log.boot.to_be_bytes());
        out.extend(log.run.to_be_bytes());
        words.iter().for_each(|word| out.extend(word.to_be_bytes()));
        let mut count = 0u16;
        for record in records.take(RECORDS) {
            out.extend(record.emit());
            count += 1;
        }
        crate::wire::put16(&mut out, 6, count);
        let tag = key.tag(&out);
        out.extend(tag);
        out
    }

    /// The head, and the records behind it.
    pub(super) fn open(key: &Key, bytes: &[u8]) -> Result<(Head, Vec<Record>), Bad> {
        let head = bytes.first_chunk::<HEAD>().ok_or(Bad::Form)?;
        if length(head) != Some(bytes.len()) {
            return Err(Bad::Form);
        }
        let signed = key.open(bytes).ok_or(Bad::Forged)?;
        let log = LogId { boot: be64(head, 8), run: be32(head, 16) };
        let words = [20, 28, 36].map(|at| be64(head, at));
        let records = signed.get(HEAD..).unwrap_or_default().chunks_exact(record::LEN);
        let records: Option<Vec<Record>> =
            records.map(|bytes| bytes.first_chunk().and_then(Record::parse)).collect();
        let records = records.ok_or(Bad::Form)?;
        let head = match (head[4], words) {
            (0, [first, whole, end]) => Head::Data { log, first, whole, end },
            (_, [next, boot, copy]) => Head::Ack { log, next, follower: CopyId { boot, copy } },
        };
        Ok((head, records))
    }
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::{Entry, Key as Of};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn key() -> Key {
        Key::new(b"a key of both members").unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let end = (Ipv4Addr::new(10, 0, 0, 1), 7);
        let record = Record::Is(Entry::new(Of::Flow { protocol: 17, inside: end, remote: end }));
        let log = LogId { boot: 7, run: 3 };
        let data = Head::Data { log, first: 5, whole: u64::MAX, end: 9 };
        let bytes = data.seal(&key(), [record; 40].iter());
        assert_eq!(bytes.len(), LONGEST);
        assert_eq!(Head::open(&key(), &bytes), Ok((data, vec![record; RECORDS])));
        let ack = Head::Ack { log, next: 5, follower: CopyId { boot: 8, copy: 2 } };
        let bytes = ack.seal(&key(), [].iter());
        assert_eq!(Head::open(&key(), &bytes), Ok((ack, vec![])));
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x40;
            assert!(Head::open(&key(), &torn).is_err(), "byte {at}");
            assert_eq!(Head::open(&key(), &bytes[..at]), Err(Bad::Form), "{at} bytes");
        }
        // Signed, but not a record.
        let mut bytes = data.seal(&key(), [record].iter());
        bytes.truncate(HEAD + record::LEN);
        bytes[HEAD] = 9;
        let tag = key().tag(&bytes);
        bytes.extend(tag);
        assert_eq!(Head::open(&key(), &bytes), Err(Bad::Form));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_is_read_of_them(bytes: Vec<u8>, likely: [u8; HEAD + TAG - 8], kind in 0u8..3) {
            prop_assert!(Head::open(&key(), &bytes).is_err());
            let likely = [&MARK[..], &[kind, 0, 0, 0], &likely].concat();
            prop_assert!(Head::open(&key(), &likely).is_err());
        }
    }
}
