//! What is remembered of a host: where its mappings are, and what it has of what it may have.

use std::net::Ipv4Addr;

use rand::{SeedableRng, rngs::StdRng};

use super::hosts::Hosts;
use super::mapping::Mapping;
use super::rules::{Rules, Share};
use super::session::NONE;
use super::{Addresses, Choice, Uplinks};
use crate::base::WanId;
use crate::packet::DropReason;
use crate::table::hash::HashKey;
use crate::table::index::Index;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn key() -> HashKey {
    HashKey::draw(&mut StdRng::seed_from_u64(1))
}

/// Three WANs, and three groups which all choose the first.
fn uplinks() -> Uplinks {
    let one = |wan: u8| Addresses::one([203, 0, 113, wan].into());
    let mut up = Uplinks::well((0..3).map(one), Some(WanId(0)));
    up.groups = vec![up.groups[0].clone(); 3];
    up
}

/// What stands of a host, by group and WAN.
fn sticking(hosts: &Hosts, slot: u32) -> Vec<(u8, u8, u32)> {
    hosts.sticking(slot).map(|((group, wan, _), n)| (group, wan.0, n)).collect()
}

fn mapping(host: u32, group: u8, wan: u8) -> Mapping {
    Mapping { host, group, wan: WanId(wan), epoch: 1, tcp: 1, ..Mapping::default() }
}

#[test]
fn a_host_keeps_to_a_wan_as_long_as_it_has_mappings_there_and_no_longer() {
    let (key, mut up, mut hosts) = (key(), uplinks(), Hosts::new(16, false));
    let slot = hosts.enter(&key, HOST);
    let [first, second, third] = [0, 1, 2].map(|wan| mapping(slot, 1, wan));
    (0..2).for_each(|_| hosts.stick(&first, &up));
    assert_eq!(sticking(&hosts, slot), [(1, 0, 2)]);
    up.groups[1].choice = Choice::One(WanId(2));
    assert_eq!(hosts.choose(slot, HOST, 1, &up), Some(WanId(0)));
    (0..2).for_each(|_| hosts.stick(&second, &up));
    assert_eq!(sticking(&hosts, slot), [(1, 0, 2), (1, 1, 2)]);
    // There is no third place, and what sticks nowhere counts nowhere.
    hosts.stick(&third, &up);
    for more in [first, second] {
        let pinned = Mapping { pin: 1, ..more };
        hosts.stick(&pinned, &up);
        hosts.unstick(&pinned);
        hosts.unstick(&Mapping { host: NONE, ..more });
        hosts.stick(&Mapping { host: NONE, ..more }, &up);
    }
    assert_eq!(sticking(&hosts, slot), [(1, 0, 2), (1, 1, 2)]);
    (0..2).for_each(|_| hosts.unstick(&first));
    assert_eq!(hosts.choose(slot, HOST, 1, &up), Some(WanId(1)), "nothing is left on the first");
    hosts.unstick(&second);
    assert_eq!(hosts.choose(slot, HOST, 1, &up), Some(WanId(1)), "one is left on the second");
    hosts.unstick(&second);
    assert_eq!(hosts.choose(slot, HOST, 1, &up), Some(WanId(2)));
    assert_eq!(sticking(&hosts, slot), []);
}

#[test]
fn a_host_keeps_to_a_wan_of_each_of_two_groups() {
    let (key, up, mut hosts) = (key(), uplinks(), Hosts::new(16, false));
    let slot = hosts.enter(&key, HOST);
    hosts.stick(&mapping(slot, 1, 0), &up);
    hosts.stick(&mapping(slot, 2, 1), &up);
    assert_eq!(hosts.choose(slot, HOST, 1, &up), Some(WanId(0)));
    assert_eq!(hosts.choose(slot, HOST, 2, &up), Some(WanId(1)));
}

#[test]
fn there_is_room_for_as_many_hosts_as_were_asked_for_and_each_is_found() {
    let (key, mut hosts) = (key(), Hosts::new(1000, false));
    let ip = |n: u32| Ipv4Addr::from_bits(HOST.to_bits() + n);
    let slots: Vec<u32> = (0..1000).map(|n| hosts.enter(&key, ip(n))).collect();
    for (n, slot) in slots.iter().enumerate() {
        assert!(*slot != NONE && hosts.find(&key, ip(n as u32)) == *slot, "host {n}");
    }
    assert_eq!((hosts.len(), hosts.find(&key, ip(1000))), (1000, NONE));
    let each = (hosts.bytes() - Index::bytes_for(1000)) / 1000;
    assert!((44..=64).contains(&each), "{each} bytes a host besides its entry");
}

#[test]
fn a_host_has_64_in_any_case_and_its_share_where_that_runs_short() {
    let (key, rules) = (key(), Rules { sessions_per_host: Share::Auto, ..Rules::default() });
    for (has, fair, may) in [
        (63, Some(0), true),
        (64, Some(0), false),
        (64, None, true),
        (99, Some(100), true),
        (100, Some(100), false),
        (100, None, true),
    ] {
        let mut hosts = Hosts::new(4, false);
        let slot = hosts.enter(&key, HOST);
        for _ in 0..has {
            hosts.sessions(slot, true);
            hosts.ports(slot, 1, true);
        }
        let sharers = |n: usize| {
            assert_eq!(n, 2, "whoever comes next has a share");
            fair
        };
        let says = [hosts.may_open(slot, &rules, sharers), hosts.may_map(slot, 1, &rules, sharers)];
        let refused = [DropReason::NatHostSessions, DropReason::NatHostPorts];
        assert_eq!(says.map(|said| said.is_ok()), [may; 2], "{has} of {fair:?}");
        assert!(may || says == refused.map(Err));
    }
}

#[test]
fn who_entered_last_is_known_as_long_as_it_has_its_slot() {
    let key = HashKey::draw(&mut StdRng::seed_from_u64(1));
    let mut hosts = Hosts::new(8, false);
    let [a, b] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Ipv4Addr::from);
    let slot = hosts.enter(&key, a);
    assert_eq!((hosts.enter(&key, a), hosts.len()), (slot, 1));
    hosts.leave(&key, slot);
    assert_eq!((hosts.enter(&key, b), hosts.len()), (slot, 1), "the slot is b's now");
    assert_ne!(hosts.enter(&key, a), slot);
    assert_eq!((hosts.find(&key, b), hosts.len()), (slot, 2));
    // What a free slot holds is nobody's address.
    let mut none = Hosts::new(8, false);
    let slot = none.enter(&key, Ipv4Addr::UNSPECIFIED);
    assert_eq!((none.find(&key, Ipv4Addr::UNSPECIFIED), none.len()), (slot, 1));
}
