//! Why a member is not active, or not healthy: a set that fits in a beat, so that both members say the same of each other.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It waits whether the partner speaks.
    Starting,
    /// No inside link is up: it cannot serve.
    InsideDown,
    /// No WAN is up.
    NoWan,
    /// The partner has the role.
    PartnerActive,
    /// The partner is fitter.
    PartnerFitter,
    /// The partner is preferred.
    PartnerPreferred,
    /// The partner is silent on all paths, or was never heard.
    PartnerLost,
    /// The partner does not hear it.
    PartnerDeaf,
    /// Both members are active.
    BothActive,
    /// The operator wants the partner to have the role.
    Aside,
    /// It does not have all sessions of its partner.
    NotInSync,
    /// It is preferred and gets the role back when `failback.after` is over, or, with manual failback, when it is asked for.
    WaitsForFailback,
    /// The members' configurations differ.
    ConfigDiffers,
    /// The members' software differs.
    SoftwareDiffers,
    /// A path of the heartbeat is silent, while another one is not.
    PathSilent,
    /// The members have different numbers of workers: most sessions cannot be copied.
    WorkersDiffer,
}

impl Reason {
    /// All of them, in the order of their bits.
    pub const ALL: [Reason; 16] = [
        Reason::Starting,
        Reason::InsideDown,
        Reason::NoWan,
        Reason::PartnerActive,
        Reason::PartnerFitter,
        Reason::PartnerPreferred,
        Reason::PartnerLost,
        Reason::PartnerDeaf,
        Reason::BothActive,
        Reason::Aside,
        Reason::NotInSync,
        Reason::WaitsForFailback,
        Reason::ConfigDiffers,
        Reason::SoftwareDiffers,
        Reason::PathSilent,
        Reason::WorkersDiffer,
    ];

    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::Starting => "waits for the partner's word",
            Reason::InsideDown => "no inside link is up",
            Reason::NoWan => "no WAN is up",
            Reason::PartnerActive => "the partner is active",
            Reason::PartnerFitter => "the partner is fitter",
            Reason::PartnerPreferred => "the partner is preferred",
            Reason::PartnerLost => "the partner is silent on all paths",
            Reason::PartnerDeaf => "the partner does not hear this member",
            Reason::BothActive => "both members are active",
            Reason::Aside => "the operator gave the role to the partner",
            Reason::NotInSync => "not all sessions of the partner are here",
            Reason::WaitsForFailback => "preferred, the failback has not come yet",
            Reason::ConfigDiffers => "the configurations differ",
            Reason::SoftwareDiffers => "the versions of the software differ",
            Reason::PathSilent => "a path of the heartbeat is silent",
            Reason::WorkersDiffer => "the members have different numbers of workers",
        }
    }
}

/// A set of reasons, as on the wire. A bit that is nobody's is of a newer version, and kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Reasons(pub u32);

impl Reasons {
    /// With `reason`, if `so`.
    #[must_use]
    pub const fn with(self, reason: Reason, so: bool) -> Reasons {
        if so { Reasons(self.0 | 1 << reason as u32) } else { self }
    }

    /// Whether it is in the set.
    pub const fn has(self, reason: Reason) -> bool {
        self.0 & 1 << reason as u32 != 0
    }

    /// Those in the set, in the order of `Reason::ALL`.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.has(*reason))
    }
}

impl std::fmt::Debug for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Reasons {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(None)?;
        self.iter().try_for_each(|reason| list.serialize_element(&reason))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Reasons {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Reasons, D::Error> {
        let list = Vec::<Reason>::deserialize(from)?;
        Ok(list.into_iter().fold(Reasons::default(), |set, reason| set.with(reason, true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_bit_and_its_words() {
        for (bit, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(Reasons::default().with(reason, true), Reasons(1 << bit));
            // name, comma and text on a line of 80 columns
            assert!(reason.text().len() <= 60 && !reason.text().is_empty());
        }
        let some = Reasons::default()
            .with(Reason::NoWan, true)
            .with(Reason::Aside, true)
            .with(Reason::Starting, false);
        let json = serde_json::to_string(&some).unwrap();
        assert_eq!(json, r#"["no_wan","aside"]"#);
        assert_eq!(serde_json::from_str::<Reasons>(&json).unwrap(), some);
    }
}
