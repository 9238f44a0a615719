//! The vocabulary of the pair: what goes in, and what comes out.
//!
//! Plain values that can be written down and read back: a journal of inputs with their times is all that is needed to come to the
//! same effects again.

use serde::{Deserialize, Serialize};

use super::beat::Beat;
use super::fitness::Fitness;
use super::name::Name;
use super::reasons::Reasons;
use crate::base::Nanos;

/// What a member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Not active, and waits whether the partner speaks.
    #[default]
    Starting,
    /// Not active: takes over when the partner is lost or yields.
    Standby,
    /// Answers for the virtual addresses, and forwards.
    Active,
}

impl Role {
    /// From a beat.
    pub const fn from_wire(byte: u8) -> Option<Role> {
        match byte {
            0 => Some(Role::Starting),
            1 => Some(Role::Standby),
            2 => Some(Role::Active),
            _ => None,
        }
    }

    /// For a beat.
    pub const fn to_wire(self) -> u8 {
        self as u8
    }
}

/// Who is to have the role where nothing else decides. Of two the greater one counts: first by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Preference {
    /// Grows with every change; 0: as the profile says.
    pub version: u32,
    /// Which member.
    pub member: Name,
}

/// What a member remembers over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Who is preferred.
    pub preference: Preference,
    /// The boot id that was used last.
    pub boot: u64,
}

impl Kept {
    /// The boot id of a start at `unix_ms` (milliseconds since 1970): greater than the last one, even if the clock was set back or says
    /// nothing; and if nothing was kept, greater than before all the same where the clock is right.
    pub fn next_boot(kept: Option<&Kept>, unix_ms: u64) -> u64 {
        kept.map_or(1, |kept| kept.boot.saturating_add(1)).max(unix_ms)
    }
}

/// When the preferred member gets the role back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failback {
    /// By itself; otherwise only when the holder fails or the preference changes.
    pub automatic: bool,
    /// After it has been as fit as the holder for so long.
    pub after: Nanos,
}

/// What the profile says of the pair. May change at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Time from one beat to the next.
    pub every: Nanos,
    /// Silent for so long on all paths, the partner is lost. More than twice `every`.
    pub timeout: Nanos,
    /// A holder that still has a WAN yields to a fitter partner after so long: both may be about to lose the same line.
    pub settle: Nanos,
    /// The way back.
    pub failback: Failback,
    /// Hash of what both members' profiles must have in common.
    pub hash: u64,
}

impl Config {
    /// By then the pair has made up its mind, once the network is whole or broken for good.
    pub fn bound(&self) -> Nanos {
        self.timeout + self.every + self.every
    }
}

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub name: Name,
    /// Its partner's name, another one.
    pub partner: Name,
    /// Its software's version.
    pub software: Name,
    /// See `Kept::next_boot`.
    pub boot: u64,
    /// Its workers; 0: it does not tell.
    pub workers: u8,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "snake_case")]
pub enum Input {
    /// `Heard::News`: the newest beat of the partner.
    Beat {
        /// The path that it came by.
        path: u8,
        /// When it was taken off the wire.
        at: Nanos,
        /// What it says.
        beat: Beat,
    },
    /// `Heard::Again`: a path works.
    Path {
        /// Which one.
        path: u8,
        /// When the beat was taken off the wire.
        at: Nanos,
    },
    /// How well this member could serve, when that changes.
    Fitness {
        /// All of it.
        fitness: Fitness,
    },
    /// Whether every session of the partner is here. Stays so when the partner dies: what it had is here.
    Synced {
        /// Whether.
        synced: bool,
    },
    /// The operator prefers a member.
    Prefer {
        /// Which one.
        member: Name,
    },
    /// The operator wants the partner to have the role, until this member is preferred anew, is started anew or has to take over.
    Yield,
    /// The profile has changed.
    Config {
        /// All of it.
        config: Config,
    },
    /// Time has passed. The only input that judges silence: hand in what has arrived before it.
    Tick,
}

/// Why the role moves, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The partner is silent.
    PartnerLost,
    /// The partner hands it over.
    HandedOver,
    /// Neither was active, and this one is the stronger.
    NobodyActive,
    /// Both were active, and the partner is the stronger.
    BothActive,
    /// Both were active, and the partner, which can serve, does not hear.
    PartnerDeaf,
    /// No inside link is up.
    InsideDown,
    /// The partner is fitter.
    PartnerFitter,
    /// The operator said so.
    Operator,
    /// Another member is preferred now.
    Preference,
    /// The preferred member has been as fit for `failback.after`.
    Failback,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The role has changed.
    Role {
        /// What it was.
        from: Role,
        /// What it is.
        to: Role,
        /// Why; `None`: the wait at the start is over.
        cause: Option<Cause>,
    },
    /// The partner is to take the role. It has not yet.
    Yields {
        /// Why.
        cause: Cause,
    },
    /// The partner is heard.
    PartnerFound {
        /// Its boot id: another one, if it was started anew.
        boot: u64,
    },
    /// The partner is silent on all paths.
    PartnerLost,
    /// Both are active, and nobody meant it.
    BothActive,
    /// Another preference counts.
    Preferred {
        /// Which.
        preference: Preference,
        /// It was the partner that knew.
        adopted: bool,
    },
    /// The configurations have begun to differ, or stopped.
    ConfigDiffers {
        /// They do.
        differs: bool,
    },
    /// The partner has another number of workers, or as many again: sessions are copied by worker.
    WorkersDiffer {
        /// They do.
        differ: bool,
    },
}

/// What the status endpoint answers: 200 if `serves`, else 503 with the reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Fit and active.
    pub serves: bool,
    /// Why not, or what is wrong all the same.
    pub reasons: Reasons,
}

impl Status {
    /// The code of HTTP.
    pub const fn code(&self) -> u16 {
        if self.serves { 200 } else { 503 }
    }
}

/// What is to be done, or told. In this order: what must be on disk before the partner hears of it comes before the beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Keep this on disk in place of what was kept, before anything that follows.
    Keep {
        /// What to keep.
        kept: Kept,
    },
    /// Answer for the virtual addresses, and say so on every port.
    Take {
        /// Why.
        cause: Cause,
    },
    /// Answer no more.
    Release {
        /// Why.
        cause: Cause,
    },
    /// Send this at once on every path, and again each `Config::every`, in place of what was sent before.
    Send {
        /// What to say.
        beat: Beat,
    },
    /// What the status endpoint answers from now on.
    Status {
        /// That.
        status: Status,
    },
    /// For the log.
    Event {
        /// What.
        event: Event,
    },
}

/// Why the operator's word is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody is called that.
    #[error("no member has this name")]
    NoSuchMember,
    /// There is nothing to yield.
    #[error("this member is not active")]
    NotActive,
    /// Nobody would take it.
    #[error("the partner is not heard")]
    NoPartner,
    /// Nobody could serve.
    #[error("the partner is not fit")]
    PartnerUnfit,
}
