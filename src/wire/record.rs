//! What is replicated: one record of 32 bytes for each flow that is made, has changed, or has ended.
//!
//! A record says all that there is to say of its key, so that of two the later one counts and the earlier may be left out. A key
//! stays the same when the flow moves to another WAN. A mapping has no record: it lives as long as it has flows, and each of them
//! names its outside endpoint.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | 1 by a WAN, 2 from inside to inside; 65, 66: the same has ended |
//! | 1 | 3 | protocol, WAN, group |
//! | 4 | 12 | inside, outside and remote address |
//! | 16 | 6 | their ports |
//! | 22 | 4 | state, kind and origin, as the router numbers them; pin of its mapping |
//! | 26 | 2 | 0 |
//! | 28 | 4 | the last acknowledgement number from inside |

use std::net::Ipv4Addr;

use super::{be16, be32};
use crate::base::WanId;

/// Length of a record.
pub const LEN: usize = 32;
/// What has ended is told by its key alone.
const ENDED: u8 = 64;

/// An address with a port or an echo identifier.
pub type Endpoint = (Ipv4Addr, u16);

const NOWHERE: Endpoint = (Ipv4Addr::UNSPECIFIED, 0);

/// What a record is about. Of an echo the remote port is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A flow that leaves by a WAN
    Flow {
        /// See `wire::protocol`
        protocol: u8,
        /// The inside host
        inside: Endpoint,
        /// The other end
        remote: Endpoint,
    },
    /// A flow from inside to inside
    Internal {
        /// See `wire::protocol`
        protocol: u8,
        /// Who began it
        inside: Endpoint,
        /// The other end
        remote: Endpoint,
    },
}

impl Key {
    /// See `wire::protocol`.
    pub const fn protocol(&self) -> u8 {
        let (Key::Flow { protocol, .. } | Key::Internal { protocol, .. }) = self;
        *protocol
    }

    /// The inside host; of two the one that began.
    pub const fn inside(&self) -> Endpoint {
        let (Key::Flow { inside, .. } | Key::Internal { inside, .. }) = self;
        *inside
    }

    /// The other end.
    pub const fn remote(&self) -> Endpoint {
        let (Key::Flow { remote, .. } | Key::Internal { remote, .. }) = self;
        *remote
    }
}

/// A flow, as it is now. What the router numbers is checked by who takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is
    pub key: Key,
    /// The group that chose its WAN
    pub group: u8,
    /// The WAN that it is on
    pub wan: WanId,
    /// Its place there
    pub outside: Endpoint,
    /// Which timer runs
    pub state: u8,
    /// How it is carried
    pub kind: u8,
    /// Who began it, and who has spoken
    pub origin: u8,
    /// The WAN that its mapping is pinned to
    pub pin: u8,
    /// The last acknowledgement number from inside
    pub last_ack: u32,
}

impl Entry {
    /// One about `key` of which nothing else is known.
    pub const fn new(key: Key) -> Entry {
        let (group, wan, outside, last_ack) = (0, WanId(0), NOWHERE, 0);
        Entry { key, group, wan, outside, state: 0, kind: 0, origin: 0, pin: 0, last_ack }
    }
}

/// One step of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// It is there, and like this.
    Is(Entry),
    /// It is not there.
    Ended(Key),
}

impl Record {
    /// What it is about.
    pub const fn key(&self) -> Key {
        match self {
            Record::Is(entry) => entry.key,
            Record::Ended(key) => *key,
        }
    }

    /// For the wire.
    pub fn emit(&self) -> [u8; LEN] {
        let (entry, ended) = match self {
            Record::Is(entry) => (*entry, 0),
            Record::Ended(key) => (Entry::new(*key), ENDED),
        };
        let key = entry.key;
        let kind = match key {
            Key::Flow { .. } => 1,
            Key::Internal { .. } => 2,
        };
        let ends = [key.inside(), entry.outside, key.remote()];
        let fields = [kind | ended, key.protocol(), entry.wan.0, entry.group]
            .into_iter()
            .chain(ends.into_iter().flat_map(|end| end.0.octets()))
            .chain(ends.into_iter().flat_map(|end| end.1.to_be_bytes()))
            .chain([entry.state, entry.kind, entry.origin, entry.pin, 0, 0])
            .chain(entry.last_ack.to_be_bytes());
        let mut out = [0; LEN];
        out.iter_mut().zip(fields).for_each(|(into, byte)| *into = byte);
        out
    }

    /// From the wire. `None`: it is no record, or one that ends says more than whose it was.
    pub fn parse(bytes: &[u8; LEN]) -> Option<Record> {
        let [head, protocol, wan, group, ..] = *bytes;
        let [.., state, kind, origin, pin, _, _, _, _, _, _] = *bytes;
        let end = |at: usize| (Ipv4Addr::from_bits(be32(bytes, 4 + at * 4)), be16(bytes, 16 + at * 2));
        let (inside, outside, remote) = (end(0), end(1), end(2));
        let key = match head & !ENDED {
            1 => Key::Flow { protocol, inside, remote },
            2 => Key::Internal { protocol, inside, remote },
            _ => return None,
        };
        let (wan, last_ack) = (WanId(wan), be32(bytes, 28));
        let entry = Entry { key, group, wan, outside, state, kind, origin, pin, last_ack };
        let record = if head & ENDED == 0 { Record::Is(entry) } else { Record::Ended(key) };
        // What is read is what would be written: nothing is said twice or in vain.
        (record.emit() == *bytes).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let ip = Ipv4Addr::new;
        let (inside, remote) = ((ip(10, 0, 0, 5), 4000), (ip(9, 9, 9, 9), 443));
        let key = Key::Flow { protocol: 6, inside, remote };
        let entry = Entry {
            key,
            group: 2,
            wan: WanId(1),
            outside: (ip(203, 0, 113, 2), 40_000),
            state: 4,
            kind: 7,
            origin: 8,
            pin: 3,
            last_ack: 0x0a0b_0c0d,
        };
        let bytes = Record::Is(entry).emit();
        let want = [
            1, 6, 1, 2, 10, 0, 0, 5, 203, 0, 113, 2, 9, 9, 9, 9, 0x0f, 0xa0, 0x9c, 0x40, 1, 0xbb, 4, 7, 8, 3,
            0, 0, 10, 11, 12, 13,
        ];
        assert_eq!(bytes, want);
        assert_eq!(Record::parse(&bytes), Some(Record::Is(entry)));
        let ended = Record::Ended(key).emit();
        assert_eq!((ended[0], ended[2], ended[8]), (65, 0, 0), "the key alone");
        assert_eq!(Record::parse(&ended), Some(Record::Ended(key)));
        let internal = Record::Ended(Key::Internal { protocol: 6, inside, remote });
        assert_eq!(internal.emit()[0], 66);
        assert_eq!(Record::parse(&internal.emit()), Some(internal));
        // Something in the place of nothing.
        let mut bytes = bytes;
        bytes[26] = 1;
        assert_eq!(Record::parse(&bytes), None);
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_what_is_read_is_written(mut bytes: [u8; LEN], kind in 0u8..5, ended: bool, clean: bool) {
            bytes[0] = kind | if ended { ENDED } else { 0 };
            if clean {
                (bytes[26], bytes[27]) = (0, 0);
            }
            let read = Record::parse(&bytes);
            prop_assert_eq!(read.is_some(), matches!(kind, 1 | 2) && clean && !ended);
            if let Some(record) = read {
                prop_assert_eq!(record.emit(), bytes);
                let ended = Record::Ended(record.key());
                prop_assert_eq!(Record::parse(&ended.emit()), Some(ended));
            }
        }
    }
}
