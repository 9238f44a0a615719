//! What is remembered of a session beside the line that its packets use: where it belongs, how it is carried, who began it.

/// Nothing: no session, no mapping.
pub const NONE: u32 = u32::MAX;

/// What is not needed by its packets.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// Its mapping; `NONE` for kinds that have none
    pub mapping: u32,
    /// When it was made, in s
    pub created: u32,
    /// The sessions beside it in the ring of those that let the same remotes in (`peers`); `NONE`: it is in no ring
    pub ring: [u32; 2],
    /// Its host's number; `NONE`: there was no room for that
    pub host: u32,
    /// Its bond's epoch when it was bound (`uplinks`); `LEFT`: it is stale, whatever the bond says
    pub epoch: u8,
    /// The group that chose its WAN
    pub group: u8,
    /// How it is carried
    pub kind: Kind,
    /// Whose it is
    pub origin: Origin,
}

const _: () = assert!(size_of::<Root>() == 24);

impl Default for Root {
    fn default() -> Root {
        let (kind, origin) = (Kind::Masquerade, Origin::Inside);
        Root { mapping: NONE, created: 0, ring: [NONE; 2], host: NONE, epoch: 0, group: 0, kind, origin }
    }
}

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// By its mapping
    Masquerade,
    /// TCP by a port that other remotes' sessions have as well
    Shared,
    /// A protocol without ports: by the address alone
    Portless,
    /// As it is
    Plain,
    /// By an address that is the host's alone
    OneToOne,
    /// By a port that leads to it
    Forward,
    /// From inside to inside
    Internal,
    /// By the partner of a pair, on whose WAN it lives: as it is
    Away,
}

impl Kind {
    /// By their numbers.
    const ALL: [Kind; 8] = [
        Kind::Masquerade,
        Kind::Shared,
        Kind::Portless,
        Kind::Plain,
        Kind::OneToOne,
        Kind::Forward,
        Kind::Internal,
        Kind::Away,
    ];

    /// The kind with this number.
    pub fn from_u8(n: u8) -> Option<Kind> {
        Kind::ALL.get(usize::from(n)).copied()
    }

    /// The kind's name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Masquerade => "masquerade",
            Kind::Shared => "shared",
            Kind::Portless => "portless",
            Kind::Plain => "plain",
            Kind::OneToOne => "one_to_one",
            Kind::Forward => "forward",
            Kind::Internal => "internal",
            Kind::Away => "away",
        }
    }
}

/// Who began a session, and who has spoken in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// Inside has begun
    Inside,
    /// Outside has begun, inside has answered
    Answered,
    /// Outside has begun, inside has not answered
    Stranger,
}

impl Origin {
    /// The origin with this number.
    pub fn from_u8(n: u8) -> Option<Origin> {
        [Origin::Inside, Origin::Answered, Origin::Stranger].get(usize::from(n)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_what_has_them() {
        for n in 0..=u8::MAX {
            assert_eq!(Kind::from_u8(n).is_some(), n <= Kind::Away as u8);
            assert!(Kind::from_u8(n).is_none_or(|kind| kind as u8 == n));
            assert!(Origin::from_u8(n).is_none_or(|origin| origin as u8 == n));
        }
    }
}
