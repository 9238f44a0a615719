//! A beat: what a member says of itself, several times a second, as the payload of a UDP datagram.
//!
//! 120 bytes, always: a head, the fields in the order of the network, and the key's tag over all of it. Nothing is read before the
//! tag is right. A beat's content stays the same until something changes; who sends it gives every one the next sequence number.
//! With the boot id, which grows with every start of a member, that orders all beats that a member ever sent: `hearing` takes each once.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `t` `o` `b`, version 1 |
//! | 4 | 1 | role: 0 starting, 1 standby, 2 active |
//! | 5 | 1 | 1 yields, 2 aside, 4 in sync |
//! | 6 | 1 | workers; zero: not told |
//! | 7 | 1 | zero |
//! | 8 | 16 | name |
//! | 24 | 16 | version of the software |
//! | 40 | 8 | boot id |
//! | 48 | 8 | sequence |
//! | 56 | 8 | boot id of the partner that it hears, or zero |
//! | 64 | 8 | hash of the configuration |
//! | 72 | 4 | version of the preference |
//! | 76 | 16 | preferred member |
//! | 92 | 8 | fitness: what is sure, what is hoped |
//! | 100 | 4 | reasons |
//! | 104 | 16 | tag |

use serde::{Deserialize, Serialize};

use super::fitness::{Fitness, Rank};
use super::key::{Key, TAG};
use super::name::Name;
use super::reasons::Reasons;
use super::types::{Preference, Role};

/// Length of a beat.
pub const LEN: usize = BODY + TAG;
const BODY: usize = 104;
const HEAD: [u8; 4] = [b't', b'o', b'b', 1];

/// What a member says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Who says it.
    pub name: Name,
    /// The version of its software.
    pub software: Name,
    /// Grows with every start of the member; not 0.
    pub boot: u64,
    /// The boot id of the partner, if it hears it; else 0.
    pub hears: u64,
    /// What it is.
    pub role: Role,
    /// Active, and the partner is to take the role.
    pub yields: bool,
    /// The operator wants the partner to have the role.
    pub aside: bool,
    /// It has every session that its partner has; of the active one it says nothing.
    pub in_sync: bool,
    /// How well it could serve.
    pub fitness: Fitness,
    /// Who is preferred, as far as it knows.
    pub preference: Preference,
    /// Hash of what both members' configurations must have in common.
    pub config: u64,
    /// Its workers; 0: not told. Sessions are copied by worker.
    pub workers: u8,
    /// Why it is not active, or not healthy.
    pub reasons: Reasons,
}

/// Why bytes are no beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Not its length, or another version.
    Form,
    /// Not signed by the key.
    Forged,
    /// Signed, but the fields make no sense.
    Content,
}

impl Beat {
    /// The payload of the datagram. No two beats of one boot may have the same `sequence`.
    pub fn seal(&self, key: &Key, sequence: u64) -> [u8; LEN] {
        let mut out = [0; LEN];
        let mut w = Writer { out: &mut out, at: 0 };
        w.put(&HEAD);
        let flags = u8::from(self.yields) | u8::from(self.aside) << 1 | u8::from(self.in_sync) << 2;
        w.put(&[self.role.to_wire(), flags, self.workers, 0]);
        w.put(self.name.wire());
        w.put(self.software.wire());
        for word in [self.boot, sequence, self.hears, self.config] {
            w.put(&word.to_be_bytes());
        }
        w.put(&self.preference.version.to_be_bytes());
        w.put(self.preference.member.wire());
        for rank in [self.fitness.sure, self.fitness.hoped] {
            w.put(&[rank.inside, rank.tier, rank.wans, rank.leases]);
        }
        w.put(&self.reasons.0.to_be_bytes());
        let (body, tag) = out.split_at_mut(BODY);
        tag.copy_from_slice(&key.tag(body));
        out
    }

    /// The sequence number and the content.
    ///
    /// # Errors
    /// The bytes are no beat that the key has signed.
    pub fn open(key: &Key, payload: &[u8]) -> Result<(u64, Beat), Bad> {
        if payload.len() != LEN || !payload.starts_with(&HEAD) {
            return Err(Bad::Form);
        }
        let mut r = Reader(key.open(payload).ok_or(Bad::Forged)?);
        r.read(&HEAD).ok_or(Bad::Content)
    }
}

struct Writer<'a> {
    out: &'a mut [u8; LEN],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(into) = self.out.get_mut(self.at..self.at + bytes.len()) {
            into.copy_from_slice(bytes);
        }
        self.at += bytes.len();
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn rank(&mut self) -> Option<Rank> {
        let [inside, tier, wans, leases] = self.take()?;
        Some(Rank { inside, tier, wans, leases })
    }

    /// `None`: a field has a value that nobody writes.
    fn read(&mut self, head: &[u8; 4]) -> Option<(u64, Beat)> {
        self.take::<4>().filter(|found| found == head)?;
        let [role, flags, workers, zero] = self.take()?;
        let role = Role::from_wire(role)?;
        let name = Name::from_wire(self.take()?)?;
        let software = Name::from_wire(self.take()?)?;
        let (boot, sequence, hears, config) = (self.word()?, self.word()?, self.word()?, self.word()?);
        let version = u32::from_be_bytes(self.take()?);
        let member = Name::from_wire(self.take()?)?;
        let fitness = Fitness { sure: self.rank()?, hoped: self.rank()? };
        let reasons = Reasons(u32::from_be_bytes(self.take()?));
        let (yields, aside, in_sync) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
        let good = flags < 8 && zero == 0 && boot != 0 && fitness.sure <= fitness.hoped;
        let preference = Preference { version, member };
        let beat = Beat {
            name,
            software,
            boot,
            hears,
            role,
            yields,
            aside,
            in_sync,
            fitness,
            preference,
            config,
            workers,
            reasons,
        };
        good.then_some((sequence, beat))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn key() -> Key {
        Key::new(b"a key of both members").unwrap()
    }

    /// A beat of a healthy standby `b`.
    pub(crate) fn beat() -> Beat {
        Beat {
            name: Name::cut("b"),
            software: Name::cut("0.1.0"),
            boot: 7,
            hears: 5,
            role: Role::Standby,
            yields: false,
            aside: false,
            in_sync: true,
            fitness: Fitness::known(1, 1, 1, 0),
            preference: Preference { version: 3, member: Name::cut("a") },
            config: 0x0123_4567_89ab_cdef,
            workers: 2,
            reasons: Reasons::default(),
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let bytes = beat().seal(&key(), 9);
        let mut want = b"tob\x01\x01\x04\x02\0".to_vec();
        want.extend(b"b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x000.1.0\0\0\0\0\0\0\0\0\0\0\0");
        want.extend([0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5]);
        want.extend([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 3]);
        want.extend(b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        want.extend([1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[..BODY], want);
        assert_eq!(Beat::open(&key(), &bytes), Ok((9, beat())));
    }

    #[test]
    fn what_is_not_signed_whole_by_the_key_is_no_beat() {
        let good = beat().seal(&key(), 9);
        let other = Key::new(b"a key of other members").unwrap();
        assert_eq!(Beat::open(&other, &good), Err(Bad::Forged));
        for at in 0..LEN * 8 {
            let mut bytes = good;
            bytes[at / 8] ^= 1 << (at % 8);
            let want = if at < 32 { Bad::Form } else { Bad::Forged };
            assert_eq!(Beat::open(&key(), &bytes), Err(want), "bit {at}");
        }
        for len in 0..LEN {
            assert_eq!(Beat::open(&key(), &good[..len]), Err(Bad::Form));
        }
        assert_eq!(Beat::open(&key(), &[&good[..], &[0]].concat()), Err(Bad::Form));
    }

    #[test]
    fn what_is_signed_and_makes_no_sense_is_no_beat() {
        let nonsense = [(4, 3), (5, 8), (7, 1), (8, 0), (8, b' '), (24, 0), (47, 0), (76, 0), (92, 9)];
        for (at, value) in nonsense {
            let mut bytes = beat().seal(&key(), 9);
            bytes[at] = value;
            let tag = key().tag(&bytes[..BODY]);
            bytes[BODY..].copy_from_slice(&tag);
            assert_eq!(Beat::open(&key(), &bytes), Err(Bad::Content), "byte {at} is {value}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_nothing_is_read_of_them(bytes: Vec<u8>, likely: [u8; LEN - 4]) {
            prop_assert!(Beat::open(&key(), &bytes).is_err());
            let likely = [&HEAD[..], &likely].concat();
            prop_assert_eq!(Beat::open(&key(), &likely), Err(Bad::Forged));
        }

        #[test]
        fn what_the_key_has_signed_is_read_as_written(body: [u8; BODY - 4]) {
            let mut bytes = [&HEAD[..], &body].concat();
            // names and a plain head, so that most are beats
            (bytes[4], bytes[5], bytes[7]) = (bytes[4] % 3, bytes[5] & 7, 0);
            for name in [8, 24, 76] {
                bytes[name..name + 16].iter_mut().for_each(|b| *b = b'!' + *b % 90);
            }
            bytes.copy_within(92..96, 96);
            bytes.extend(key().tag(&bytes));
            if let Ok((sequence, beat)) = Beat::open(&key(), &bytes) {
                prop_assert_eq!(&beat.seal(&key(), sequence)[..], &bytes[..]);
            }
        }
    }
}
