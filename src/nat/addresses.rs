//! A WAN's addresses that flows are translated to: ranges, numbered through.

use std::net::Ipv4Addr;
use std::sync::Arc;

/// Addresses, each with its number from 0 on. Copies share the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// First, last, the first one's number; sorted
    ranges: Arc<[(u32, u32, u32)]>,
    len: u32,
}

impl Addresses {
    /// Of ranges, first and last, that do not overlap; at most 65536 addresses count.
    pub fn new(ranges: impl IntoIterator<Item = (Ipv4Addr, Ipv4Addr)>) -> Addresses {
        let bits = |(first, last): (Ipv4Addr, Ipv4Addr)| (first.to_bits(), last.to_bits());
        let mut given: Vec<(u32, u32)> = ranges.into_iter().map(bits).filter(|(a, b)| a <= b).collect();
        given.sort_unstable();
        let (mut ranges, mut len): (Vec<(u32, u32, u32)>, _) = (Vec::new(), 0);
        for (first, last) in given {
            let room = (1 << 16) - len;
            let Some(more) = room.min((last - first).saturating_add(1)).checked_sub(1) else { break };
            match ranges.last_mut() {
                // As one: the fewer there are, the less is searched.
                Some((_, end, _)) if end.checked_add(1) == Some(first) => *end = first + more,
                _ => ranges.push((first, first + more, len)),
            }
            len += more + 1;
        }
        Addresses { ranges: ranges.into(), len }
    }

    /// They are the same, in the same order.
    pub fn same(&self, other: &Addresses) -> bool {
        Arc::ptr_eq(&self.ranges, &other.ranges) || self.ranges == other.ranges
    }

    /// Just one.
    pub fn one(address: Ipv4Addr) -> Addresses {
        Addresses::new([(address, address)])
    }

    /// How many.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address with a number.
    #[inline(always)]
    pub fn get(&self, at: usize) -> Option<Ipv4Addr> {
        let at = u32::try_from(at).ok()?;
        let after = match self.ranges.len() {
            1 => 1,
            _ => self.ranges.partition_point(|range| range.2 <= at),
        };
        let (first, last, number) = *self.ranges.get(after.checked_sub(1)?)?;
        Some(first.checked_add(at - number)?).filter(|ip| *ip <= last).map(Ipv4Addr::from_bits)
    }

    /// The number of an address, if it is one of them.
    #[inline]
    pub fn position(&self, ip: Ipv4Addr) -> Option<u16> {
        let bits = ip.to_bits();
        let after = self.ranges.partition_point(|range| range.0 <= bits);
        let (first, last, number) = *self.ranges.get(after.checked_sub(1)?)?;
        (bits <= last).then(|| (number + (bits - first)) as u16)
    }

    /// It is one of them.
    #[inline]
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        self.position(ip).is_some()
    }

    /// Its ranges, first and last.
    pub fn ranges(&self) -> impl Iterator<Item = (Ipv4Addr, Ipv4Addr)> {
        self.ranges.iter().map(|range| (Ipv4Addr::from_bits(range.0), Ipv4Addr::from_bits(range.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rfc6888_3b_ranges_need_not_touch_and_each_address_has_its_number(
            starts in prop::collection::btree_set(0u32..1000, 1..6), len in 1u32..90, other: u32,
        ) {
            let ranges: Vec<(u32, u32)> = starts.iter().map(|s| (s * 100, s * 100 + len - 1)).collect();
            let all = Addresses::new(ranges.iter().rev().map(|(a, b)| (Ipv4Addr::from_bits(*a), Ipv4Addr::from_bits(*b))));
            let plain: Vec<u32> = ranges.iter().flat_map(|(a, b)| *a..=*b).collect();
            prop_assert_eq!(all.len(), plain.len());
            for (at, ip) in plain.iter().enumerate() {
                prop_assert_eq!(all.get(at), Some(Ipv4Addr::from_bits(*ip)));
                prop_assert_eq!(all.position(Ipv4Addr::from_bits(*ip)), Some(at as u16));
            }
            prop_assert_eq!(all.get(plain.len()), None);
            prop_assert_eq!(all.contains(Ipv4Addr::from_bits(other)), plain.contains(&other));
        }
    }

    #[test]
    fn rfc6888_3a_pools_of_any_size_up_to_65536() {
        for n in [1u32, 3, 257, 65536, 70000] {
            let first = 0x0a00_0000;
            let all = Addresses::new([(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(first + n - 1))]);
            assert_eq!(all.len(), n.min(65536) as usize);
            assert_eq!(all.get(all.len() - 1), Some(Ipv4Addr::from_bits(first + n.min(65536) - 1)));
        }
        let two = [0x0a00_0000u32, 0x0a01_0000].map(Ipv4Addr::from_bits);
        let most = Addresses::new(two.map(|first| (first, Ipv4Addr::from_bits(first.to_bits() + 39_999))));
        assert_eq!((most.len(), most.get(40_000), most.get(65_536)), (65_536, Some(two[1]), None));
        assert!(Addresses::default().get(0).is_none() && Addresses::default().is_empty());
        let last = Addresses::one(Ipv4Addr::BROADCAST);
        assert_eq!((last.len(), last.get(0)), (1, Some(Ipv4Addr::BROADCAST)));
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let ip = Ipv4Addr::from_bits;
        let all =
            Addresses::new([(ip(7), ip(7)), (ip(5), ip(6)), (ip(9), ip(9)), (ip(u32::MAX), ip(u32::MAX))]);
        let ranges: Vec<_> = all.ranges().collect();
        assert_eq!(ranges, [(ip(5), ip(7)), (ip(9), ip(9)), (ip(u32::MAX), ip(u32::MAX))]);
        assert_eq!(
            (0..5).map(|at| all.get(at).unwrap().to_bits()).collect::<Vec<_>>(),
            [5, 6, 7, 9, u32::MAX]
        );
        assert_eq!(all.position(ip(7)), Some(2));
    }

    #[test]
    fn the_same_addresses_are_the_same_wherever_they_are_listed() {
        let one = || Addresses::one(Ipv4Addr::LOCALHOST);
        let all = one();
        assert!(all.same(&all.clone()) && all.same(&one()));
        assert!(!all.same(&Addresses::one(Ipv4Addr::BROADCAST)) && !all.same(&Addresses::default()));
    }
}
