//! What is taken for a beat of the partner: signed, from the partner, and newer than anything heard of it.
//!
//! A beat goes over every path with the same sequence number. The first to come is news; the same one by another path, or an older
//! one that was overtaken, shows that the path works and no more. What a path has brought before it never brings again, so a recording counts for
//! nothing. A member that has just started has heard nothing yet: to it a recording is news until the partner speaks.

use super::beat::{Bad, Beat};
use super::key::Key;
use super::name::Name;

/// Paths, at most.
pub const PATHS: usize = 8;

/// Beats by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken as news.
    pub news: u64,
    /// Brought by another path before.
    pub again: u64,
    /// No beat: another length or version, or signed nonsense.
    pub malformed: u64,
    /// Not signed by the key.
    pub forged: u64,
    /// Brought by the same path before, or older than that.
    pub replayed: u64,
    /// Signed, but by somebody else than the partner: a third member, or this one.
    pub strangers: u64,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The newest beat of the partner.
    News(Beat),
    /// The path works; what it brought is known.
    Again,
    /// Nothing.
    Nothing,
}

/// The ear of a member.
#[derive(Clone, Debug)]
pub struct Hearing {
    key: Key,
    partner: Name,
    /// Boot id and sequence number of the newest beat of all.
    newest: (u64, u64),
    /// The same by path.
    paths: [(u64, u64); PATHS],
    counts: Counts,
}

impl Hearing {
    /// One that listens to `partner`.
    pub fn new(key: Key, partner: Name) -> Hearing {
        Hearing { key, partner, newest: (0, 0), paths: [(0, 0); PATHS], counts: Counts::default() }
    }

    /// The payload of a datagram that came by `path`, from the partner's address to the port of beats.
    pub fn hear(&mut self, path: u8, payload: &[u8]) -> Heard {
        let counts = &mut self.counts;
        let (sequence, beat) = match Beat::open(&self.key, payload) {
            Ok(opened) => opened,
            Err(Bad::Forged) => {
                counts.forged += 1;
                return Heard::Nothing;
            }
            Err(Bad::Form | Bad::Content) => {
                counts.malformed += 1;
                return Heard::Nothing;
            }
        };
        if beat.name != self.partner {
            counts.strangers += 1;
            return Heard::Nothing;
        }
        let order = (beat.boot, sequence);
        match self.paths.get_mut(usize::from(path)) {
            Some(floor) if *floor < order => *floor = order,
            _ => {
                counts.replayed += 1;
                return Heard::Nothing;
            }
        }
        if order <= self.newest {
            counts.again += 1;
            return Heard::Again;
        }
        self.newest = order;
        counts.news += 1;
        Heard::News(beat)
    }

    /// What has become of everything so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::super::beat::tests::{beat, key};
    use super::*;

    fn ear() -> Hearing {
        Hearing::new(key(), Name::cut("b"))
    }

    #[test]
    fn each_beat_is_news_once_whatever_the_paths() {
        let mut ear = ear();
        let bytes = |sequence| beat().seal(&key(), sequence);
        assert_eq!(ear.hear(0, &bytes(1)), Heard::News(beat()));
        assert_eq!(ear.hear(1, &bytes(1)), Heard::Again);
        assert_eq!(ear.hear(1, &bytes(3)), Heard::News(beat()));
        assert_eq!(ear.hear(0, &bytes(2)), Heard::Again, "overtaken, but the path works");
        for (path, sequence) in [(0, 1), (0, 2), (1, 1), (1, 2), (1, 3), (8, 4), (255, 5)] {
            assert_eq!(ear.hear(path, &bytes(sequence)), Heard::Nothing, "{sequence} by {path}");
        }
        let want = Counts { news: 2, again: 2, replayed: 7, ..Counts::default() };
        assert_eq!(ear.counts(), want);
    }

    #[test]
    fn a_new_boot_begins_again_and_an_old_one_is_over() {
        let mut ear = ear();
        let bytes = |boot, sequence| Beat { boot, ..beat() }.seal(&key(), sequence);
        assert!(matches!(ear.hear(0, &bytes(7, 1000)), Heard::News(_)));
        assert!(matches!(ear.hear(0, &bytes(8, 1)), Heard::News(_)));
        assert_eq!(ear.hear(0, &bytes(7, 1001)), Heard::Nothing);
        assert_eq!(ear.hear(1, &bytes(7, 1001)), Heard::Again, "of the path only");
        assert_eq!(ear.hear(1, &bytes(7, 1001)), Heard::Nothing);
    }

    #[test]
    fn a_mirror_and_a_third_member_are_strangers() {
        let mut ear = ear();
        for name in ["a", "c", "B"] {
            let bytes = Beat { name: Name::cut(name), ..beat() }.seal(&key(), 1);
            assert_eq!(ear.hear(0, &bytes), Heard::Nothing, "{name}");
        }
        let other = Key::new(b"a key of other members").unwrap();
        assert_eq!(ear.hear(0, &beat().seal(&other, 1)), Heard::Nothing);
        assert_eq!(ear.hear(0, b"x"), Heard::Nothing);
        let want = Counts { strangers: 3, forged: 1, malformed: 1, ..Counts::default() };
        assert_eq!(ear.counts(), want);
        assert_eq!(ear.hear(0, &beat().seal(&key(), 1)), Heard::News(beat()), "nothing was spoilt");
    }
}
