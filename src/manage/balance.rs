//! Balance: which of several WANs a host's new flows take, by weight and by its slot.
//!
//! Each slot goes to the WAN with the best draw for it (weighted rendezvous): a WAN that goes loses its slots to the others by their weights,
//! one that comes takes only its own share from each, and no slot changes between two that stay.

use std::sync::Arc;

use crate::base::WanId;
use crate::nat::Choice;

/// Slots of a table.
const SLOTS: usize = 256;

/// The choice among these WANs with their weights.
pub(super) fn choice(carrying: &[(WanId, u16)]) -> Choice {
    match carrying {
        [] => Choice::None,
        [(wan, _)] => Choice::One(*wan),
        several => {
            let mut table = [several[0].0; SLOTS];
            for (slot, place) in table.iter_mut().enumerate() {
                let best = several.iter().max_by(|a, b| draw(slot, a).total_cmp(&draw(slot, b)));
                *place = best.map_or(*place, |(wan, _)| *wan);
            }
            Choice::Table(Arc::new(table))
        }
    }
}

/// A WAN's draw for a slot: the greater its weight, the more often it is the best.
fn draw(slot: usize, (wan, weight): &(WanId, u16)) -> f64 {
    // SplitMix64's finish: every bit of the two counts.
    let mut x = (slot as u64) << 8 | u64::from(wan.0);
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let chance = ((x >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    f64::from((*weight).max(1)) / -chance.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(carrying: &[(WanId, u16)]) -> [WanId; SLOTS] {
        match choice(carrying) {
            Choice::Table(table) => *table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn slots_go_by_weight_and_only_those_of_a_wan_that_goes_move() {
        let (a, b, c) = ((WanId(0), 1), (WanId(1), 1), (WanId(2), 2));
        let all = table(&[a, b, c]);
        let share = |wan: WanId| all.iter().filter(|w| **w == wan).count();
        assert!((44..=84).contains(&share(WanId(0))), "{}", share(WanId(0)));
        assert!((104..=152).contains(&share(WanId(2))), "{}", share(WanId(2)));
        let without = table(&[a, c]);
        for (before, after) in all.iter().zip(&without) {
            assert!(before == after || *before == WanId(1));
        }
        assert_eq!(choice(&[a]), Choice::One(WanId(0)));
        assert_eq!(choice(&[]), Choice::None);
    }
}
