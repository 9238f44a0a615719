//! What is replicated: one record of 36 bytes for each mapping and flow made, moved or ended, and one for a failover.
//!
//! A record says all that there is to say of its key, so that of two the later one counts and the earlier may be left out. A mapping's key is
//! its outside endpoint on its WAN, since old ones of the same host may still serve their flows; a flow's key is its inside
//! endpoint with its remote one, since it keeps that when it moves. What a group has on a WAN carries the epoch of the time when it was put there;
//! when the group leaves the WAN, one record with another epoch makes all of it stale, however much it is.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 1 | 1 mapping, 2 flow, 3 bond; 65, 66: the same has ended |
//! | 1 | 3 | protocol, WAN, group |
//! | 4 | 12 | inside, outside and remote address |
//! | 16 | 6 | their ports |
//! | 22 | 1 | state of the flow, as the router numbers them |
//! | 23 | 2 | epoch, epoch of TCP |
//! | 25 | 1 | pin of the mapping |
//! | 26 | 2 | flags, the router's own |
//! | 28 | 4 | for how long it has been idle, in ms |
//! | 32 | 4 | the last acknowledgement number from inside |

use std::net::Ipv4Addr;

use super::{be16, be32};
use crate::base::WanId;

/// Length of a record.
pub const LEN: usize = 36;
/// What has ended is told by its key alone.
const ENDED: u8 = 64;

/// An address with a port or an echo identifier.
pub type Endpoint = (Ipv4Addr, u16);

const NOWHERE: Endpoint = (Ipv4Addr::UNSPECIFIED, 0);

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// What a group has on a WAN: comes before all that is on it.
    Bond {
        /// The group
        group: u8,
        /// The WAN
        wan: WanId,
    },
    /// A mapping
    Mapping {
        /// See `wire::protocol`
        protocol: u8,
        /// The WAN
        wan: WanId,
        /// Its place there
        outside: Endpoint,
    },
    /// A flow
    Flow {
        /// See `wire::protocol`
        protocol: u8,
        /// The inside host
        inside: Endpoint,
        /// The other end
        remote: Endpoint,
    },
}

/// A mapping, a flow or a bond, as it is now. What has no meaning for its kind is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about
    pub key: Key,
    /// The group that chose its WAN
    pub group: u8,
    /// The WAN it is on
    pub wan: WanId,
    /// The inside host
    pub inside: Endpoint,
    /// Its place on the WAN
    pub outside: Endpoint,
    /// State of the flow
    pub state: u8,
    /// The bond's epoch when it was put there; of a bond, the epoch that counts now
    pub epoch: u8,
    /// The same for TCP
    pub tcp_epoch: u8,
    /// The WAN that a mapping is pinned to
    pub pin: u8,
    /// The router's own
    pub flags: u16,
    /// For how long it has been idle, in ms
    pub idle_ms: u32,
    /// The last acknowledgement number from inside
    pub last_ack: u32,
}

impl Entry {
    /// One about `key`, with what follows from that.
    pub fn new(key: Key) -> Entry {
        let (group, wan, inside, outside) = match key {
            Key::Bond { group, wan } => (group, wan, NOWHERE, NOWHERE),
            Key::Mapping { wan, outside, .. } => (0, wan, NOWHERE, outside),
            Key::Flow { inside, .. } => (0, WanId(0), inside, NOWHERE),
        };
        Entry {
            key,
            group,
            wan,
            inside,
            outside,
            state: 0,
            epoch: 0,
            tcp_epoch: 0,
            pin: 0,
            flags: 0,
            idle_ms: 0,
            last_ack: 0,
        }
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
    pub fn key(&self) -> Key {
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
        let (kind, protocol, remote) = match entry.key {
            Key::Mapping { protocol, .. } => (1, protocol, NOWHERE),
            Key::Flow { protocol, remote, .. } => (2, protocol, remote),
            Key::Bond { .. } => (3, 0, NOWHERE),
        };
        let mut out = [0; LEN];
        let [head, rest @ ..] = &mut out;
        *head = kind | ended;
        let addresses = [entry.inside.0, entry.outside.0, remote.0].map(|address| address.octets());
        let ports = [entry.inside.1, entry.outside.1, remote.1].map(u16::to_be_bytes);
        let small = [entry.state, entry.epoch, entry.tcp_epoch, entry.pin];
        let fields = [protocol, entry.wan.0, entry.group]
            .into_iter()
            .chain(addresses.into_iter().flatten())
            .chain(ports.into_iter().flatten())
            .chain(small)
            .chain(entry.flags.to_be_bytes())
            .chain(entry.idle_ms.to_be_bytes())
            .chain(entry.last_ack.to_be_bytes());
        rest.iter_mut().zip(fields).for_each(|(into, byte)| *into = byte);
        out
    }

    /// From the wire. `None`: it is no record, or says more than its kind has to say.
    pub fn parse(bytes: &[u8; LEN]) -> Option<Record> {
        let [kind, protocol, wan, group, ..] = *bytes;
        let wan = WanId(wan);
        let end = |at: usize| (Ipv4Addr::from_bits(be32(bytes, 4 + at * 4)), be16(bytes, 16 + at * 2));
        let (inside, outside, remote) = (end(0), end(1), end(2));
        let key = match kind & !ENDED {
            1 => Key::Mapping { protocol, wan, outside },
            2 => Key::Flow { protocol, inside, remote },
            3 => Key::Bond { group, wan },
            _ => return None,
        };
        let [.., state, epoch, tcp_epoch, pin, _, _, _, _, _, _, _, _, _, _] = *bytes;
        let (flags, idle_ms, last_ack) = (be16(bytes, 26), be32(bytes, 28), be32(bytes, 32));
        let entry = Entry {
            key,
            group,
            wan,
            inside,
            outside,
            state,
            epoch,
            tcp_epoch,
            pin,
            flags,
            idle_ms,
            last_ack,
        };
        let record = if kind & ENDED == 0 { Record::Is(entry) } else { Record::Ended(key) };
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
        let key = Key::Flow { protocol: 6, inside: (ip(10, 0, 0, 5), 4000), remote: (ip(9, 9, 9, 9), 443) };
        let entry = Entry {
            group: 2,
            wan: WanId(1),
            outside: (ip(203, 0, 113, 2), 40_000),
            state: 4,
            epoch: 7,
            tcp_epoch: 8,
            pin: 3,
            flags: 0x0102,
            idle_ms: 1000,
            last_ack: 0x0a0b_0c0d,
            ..Entry::new(key)
        };
        let bytes = Record::Is(entry).emit();
        let want = [
            2, 6, 1, 2, 10, 0, 0, 5, 203, 0, 113, 2, 9, 9, 9, 9, 0x0f, 0xa0, 0x9c, 0x40, 1, 0xbb, 4, 7, 8, 3,
            1, 2, 0, 0, 3, 0xe8, 10, 11, 12, 13,
        ];
        assert_eq!(bytes, want);
        assert_eq!(Record::parse(&bytes), Some(Record::Is(entry)));
        let ended = Record::Ended(key).emit();
        assert_eq!((ended[0], ended[2], ended[8]), (66, 0, 0), "the key alone");
        assert_eq!(Record::parse(&ended), Some(Record::Ended(key)));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_what_is_read_is_written(mut bytes: [u8; LEN], kind in 0u8..5, ended: bool) {
            bytes[0] = kind | if ended { ENDED } else { 0 };
            if let Some(record) = Record::parse(&bytes) {
                prop_assert_eq!(record.emit(), bytes);
            }
            let key = Key::Mapping { protocol: bytes[1], wan: WanId(bytes[2]), outside: (bytes[4].into_ip(), 7) };
            for record in [Record::Ended(key), Record::Is(Entry::new(key))] {
                prop_assert_eq!(Record::parse(&record.emit()), Some(record));
            }
        }
    }

    trait IntoIp {
        fn into_ip(self) -> Ipv4Addr;
    }

    impl IntoIp for u8 {
        fn into_ip(self) -> Ipv4Addr {
            Ipv4Addr::new(203, 0, 113, self)
        }
    }
}
