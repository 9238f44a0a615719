//! How well a member could serve: what it tells its partner, and what decides who has the role.
//!
//! Compared in this order: inside links that are up, the tier of the best WAN that is up, the number of such WANs, leases of DHCP held.
//! What is not watched does not count. What is not known yet counts neither as lost nor as won: a `Fitness` has what is `sure`,
//! with everything unknown as if it were down, and what is `hoped`, with everything unknown as if it were up. One member is fitter than
//! the other only if what is sure of it is better than what is hoped of the other.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// The tier of a member without a WAN.
pub const NO_TIER: u8 = u8::MAX;

/// What is known of a link, a WAN or a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// It is there.
    Up,
    /// It is not there.
    Down,
    /// Nobody has said yet.
    Unknown,
}

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rank {
    /// Inside links that are up.
    pub inside: u8,
    /// The tier of the best WAN that is up, from 1; `NO_TIER`: none is up.
    pub tier: u8,
    /// WANs of that tier that are up.
    pub wans: u8,
    /// Leases held.
    pub leases: u8,
}

impl Default for Rank {
    fn default() -> Rank {
        Rank { inside: 0, tier: NO_TIER, wans: 0, leases: 0 }
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    /// Greater is fitter.
    fn cmp(&self, other: &Rank) -> Ordering {
        let inside = self.inside.cmp(&other.inside);
        // a lower tier is a better one
        let tier = || other.tier.cmp(&self.tier);
        let wans = || self.wans.cmp(&other.wans);
        inside.then_with(tier).then_with(wans).then_with(|| self.leases.cmp(&other.leases))
    }
}

/// How well a member could serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fitness {
    /// At least.
    pub sure: Rank,
    /// At most.
    pub hoped: Rank,
}

impl Fitness {
    /// From what is watched: inside links, WANs with their tiers, leases. Leave out what has `watch: false`.
    pub fn of(
        inside: impl IntoIterator<Item = Known>,
        wans: impl IntoIterator<Item = (u8, Known)>,
        leases: impl IntoIterator<Item = Known>,
    ) -> Fitness {
        let mut fitness = Fitness::default();
        let Fitness { sure, hoped } = &mut fitness;
        for known in inside {
            count(known, &mut sure.inside, &mut hoped.inside);
        }
        for (tier, known) in wans {
            let tier = tier.min(NO_TIER - 1);
            if known == Known::Up {
                sure.add(tier);
            }
            if known != Known::Down {
                hoped.add(tier);
            }
        }
        for known in leases {
            count(known, &mut sure.leases, &mut hoped.leases);
        }
        fitness
    }

    /// A fitness in which everything is known.
    pub fn known(inside: u8, tier: u8, wans: u8, leases: u8) -> Fitness {
        let rank = Rank { inside, tier, wans, leases };
        Fitness { sure: rank, hoped: rank }
    }

    /// It is reached from inside, as far as is known: without that it cannot serve at all.
    pub fn able(&self) -> bool {
        self.hoped.inside > 0
    }

    /// It is reached and has a WAN, as far as is known.
    pub fn fit(&self) -> bool {
        self.able() && self.hoped.tier != NO_TIER
    }

    /// Strictly fitter, whatever comes out of what is not known yet.
    pub fn fitter(&self, other: &Fitness) -> bool {
        self.sure > other.hoped || (self.able() && !other.able())
    }

    /// As fit at least, whatever comes out of what is not known yet.
    pub fn as_fit(&self, other: &Fitness) -> bool {
        self.sure >= other.hoped
    }
}

impl Rank {
    fn add(&mut self, tier: u8) {
        match tier.cmp(&self.tier) {
            Ordering::Less => (self.tier, self.wans) = (tier, 1),
            Ordering::Equal => self.wans = self.wans.saturating_add(1),
            Ordering::Greater => {}
        }
    }
}

fn count(known: Known, sure: &mut u8, hoped: &mut u8) {
    *sure = sure.saturating_add(u8::from(known == Known::Up));
    *hoped = hoped.saturating_add(u8::from(known != Known::Down));
}

#[cfg(test)]
mod tests {
    use super::*;
    use Known::{Down, Unknown, Up};
    use proptest::prelude::*;

    #[test]
    fn the_order_is_inside_tier_number_leases() {
        let order = [
            Fitness::known(0, 1, 9, 9),
            Fitness::known(1, NO_TIER, 0, 9),
            Fitness::known(1, 2, 9, 9),
            Fitness::known(1, 1, 1, 9),
            Fitness::known(1, 1, 2, 0),
            Fitness::known(1, 1, 2, 1),
            Fitness::known(2, NO_TIER, 0, 0),
        ];
        for (at, worse) in order.iter().enumerate() {
            for (later, better) in order.iter().enumerate() {
                assert_eq!(better.fitter(worse), later > at, "{better:?} over {worse:?}");
                assert_eq!(better.as_fit(worse), later >= at);
            }
        }
    }

    #[test]
    fn only_wans_of_the_best_tier_that_is_up_are_counted() {
        let fitness = Fitness::of([Up, Down], [(2, Up), (1, Down), (2, Up), (3, Up)], [Up, Down]);
        assert_eq!(fitness, Fitness::known(1, 2, 2, 1));
        let none = Fitness::of([Up], [(1, Down)], []);
        assert!(none.able() && !none.fit());
        assert!(!Fitness::of([Down], [(1, Up)], []).able());
    }

    #[test]
    fn unknown_is_not_unfit_and_not_fitter() {
        let probing = Fitness::of([Up], [(1, Unknown)], []);
        let (up, down) = (Fitness::known(1, 1, 1, 0), Fitness::known(1, NO_TIER, 0, 0));
        assert!(probing.fit() && !up.fitter(&probing) && !probing.fitter(&down));
        assert!(up.fitter(&down) && up.as_fit(&probing) && !probing.as_fit(&up));
        let starting = Fitness::of([Unknown], [(1, Unknown)], [Unknown]);
        assert!(starting.fit() && !starting.as_fit(&up));
        // known to be out of reach against hoped to be in reach
        assert!(starting.fitter(&Fitness::of([Down], [(1, Up)], [])));
    }

    fn known() -> impl Strategy<Value = Known> {
        prop_oneof![Just(Up), Just(Down), Just(Unknown)]
    }

    prop_compose! {
        fn fitness()(inside in prop::collection::vec(known(), 0..3),
                     wans in prop::collection::vec((1u8..4, known()), 0..4),
                     leases in prop::collection::vec(known(), 0..2)) -> Fitness {
            Fitness::of(inside, wans, leases)
        }
    }

    proptest! {
        #[test]
        fn never_are_both_fitter(a in fitness(), b in fitness()) {
            prop_assert!(a.sure <= a.hoped);
            prop_assert!(!(a.fitter(&b) && b.fitter(&a)));
            prop_assert!(!(a.fitter(&b) && b.as_fit(&a)));
            prop_assert!(!a.fitter(&a));
        }
    }
}
