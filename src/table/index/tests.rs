use super::*;
use crate::table::hash::HashKey;
use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};
use std::collections::HashMap;

/// What the buckets say of guests and of what is away is what stands in them, by their keys' hashes.
fn audit(index: &Index, hash_of: impl Fn(u32) -> u64) {
    let mut away = vec![0; index.buckets.len()];
    for at in 0..index.buckets.len() {
        let bucket = &index.buckets[at];
        for way in (0..WAYS).filter(|way| bucket.tags[*way] != 0) {
            let (home, tag) = index.home(hash_of(bucket.slots[way]));
            assert_eq!(bucket.tags[way], tag);
            assert!(at == home || at == index.other(home, tag));
            assert_eq!(bucket.guests >> way & 1 == 1, at != home);
            away[home] += u32::from(at != home);
        }
    }
    for (at, away) in away.iter().enumerate() {
        assert_eq!(index.buckets[at].away, *away);
    }
}

#[test]
fn by_the_hash_of_no_key_nothing_is_found_in_buckets_that_are_empty_or_full() {
    let key = HashKey::draw(&mut StdRng::seed_from_u64(6));
    let mut index = Index::new(8, false);
    let hash_of = |n: u32| key.hash(u64::from(n), 0);
    for n in 0..8 {
        assert_eq!(index.guess(Index::NO_KEY), None);
        assert_eq!(index.guess(index.call(hash_of(n))), None, "whose low bits are all 0 as well");
        assert_eq!(index.guess(index.call(n.into())), None);
        index.insert(hash_of(n), n).unwrap();
        assert!(index.guess(index.call(hash_of(n))).or(index.guess_other(hash_of(n))).is_some());
    }
    assert_eq!(index.guess(Index::NO_KEY), None);
}

#[test]
fn who_is_not_there_costs_one_line_unless_somebody_is_away() {
    let key = HashKey::draw(&mut StdRng::seed_from_u64(5));
    let mut index = Index::new(64, false);
    let hash_of = |n: u32| key.hash(u64::from(n), 0);
    let home = |n: u32| index.home(hash_of(n)).0;
    // One more than a bucket holds.
    let alike: Vec<u32> = (0..10_000).filter(|n| home(*n) == home(0)).take(WAYS + 1).collect();
    let stranger = (10_000..).find(|n| home(*n) == home(0)).unwrap();
    let at = home(0);
    alike.iter().for_each(|n| index.insert(hash_of(*n), *n).unwrap());
    assert_eq!(index.buckets[at].away, 1);
    audit(&index, hash_of);
    assert_eq!(index.find(hash_of(alike[WAYS]), |n| n == alike[WAYS]), Some(alike[WAYS]));
    assert_eq!(index.guess_other(hash_of(alike[WAYS])), Some(alike[WAYS]));
    assert!(index.remove(hash_of(alike[WAYS]), alike[WAYS]));
    assert_eq!((index.buckets[at].away, index.guess_other(hash_of(stranger))), (0, None));
    audit(&index, hash_of);
}

#[test]
fn holds_its_entries_at_the_promised_load_and_finds_each() {
    let key = HashKey::draw(&mut StdRng::seed_from_u64(1));
    let n = 7 * 8192; // a load of 7/8 exactly
    let mut index = Index::new(n - 8, false);
    assert_eq!(index.buckets.len(), 8192);
    for i in 0..n as u32 {
        assert_eq!(index.insert(key.hash(u64::from(i), 7), i), Ok(()), "entry {i}");
    }
    for i in 0..n as u32 {
        assert_eq!(index.find(key.hash(u64::from(i), 7), |s| s == i), Some(i));
    }
    assert_eq!(index.find(key.hash(u64::MAX, 7), |s| s == n as u32), None);
    audit(&index, |i| key.hash(u64::from(i), 7));
    (0..n as u32).for_each(|i| assert!(index.remove(key.hash(u64::from(i), 7), i)));
    assert!(index.is_empty() && (0..8192).all(|at| index.buckets[at].away == 0));
}

#[test]
fn a_full_index_refuses_and_loses_nothing() {
    let key = HashKey::draw(&mut StdRng::seed_from_u64(2));
    let mut index = Index::new(100, false);
    let mut kept = Vec::new();
    for i in 0..1000 {
        if index.insert(key.hash(i, 0), i as u32).is_ok() {
            kept.push(i);
        }
    }
    assert!(kept.len() >= 100 && kept.len() < 1000);
    assert_eq!(index.len(), kept.len());
    for i in kept {
        assert_eq!(index.find(key.hash(i, 0), |s| s == i as u32), Some(i as u32));
    }
}

proptest! {
    #[test]
    fn behaves_as_a_map(ops in prop::collection::vec((any::<bool>(), 0u32..200), 0..2000)) {
        let key = HashKey::draw(&mut StdRng::seed_from_u64(3));
        let mut index = Index::new(160, false);
        let mut model = HashMap::new();
        for (insert, k) in ops {
            let hash = key.hash(u64::from(k), 1);
            if insert && !model.contains_key(&k) {
                if index.insert(hash, k).is_ok() {
                    model.insert(k, ());
                }
            } else if !insert {
                prop_assert_eq!(index.remove(hash, k), model.remove(&k).is_some());
            }
            prop_assert_eq!(index.len(), model.len());
        }
        audit(&index, |k| key.hash(u64::from(k), 1));
        for k in 0..200 {
            let found = index.find(key.hash(u64::from(k), 1), |s| s == k);
            prop_assert_eq!(found.is_some(), model.contains_key(&k));
        }
    }
}
