//! The audit sees what is wrong: simulations and fuzzing have nothing else to tell them.

use super::rules::Filter;
use super::session::{NONE, Origin};
use super::tests_place::World;
use crate::wire::protocol::{ICMP, TCP, UDP};

/// Two flows of one UDP mapping, in slots 0 and 1, and some others.
fn world() -> World {
    let mut world = World::new(&[2, 1], 64, |_| true);
    for (protocol, host, port, to) in
        [(UDP, 1, 5000, 53), (UDP, 1, 5000, 123), (UDP, 2, 5000, 53), (TCP, 2, 6000, 443), (ICMP, 3, 9, 9)]
    {
        world.send_to(protocol, host, port, to).unwrap();
    }
    world
}

/// What the audit says after this.
fn after(deed: impl FnOnce(&mut super::Nat)) -> String {
    let mut world = world();
    world.nat.audit().unwrap();
    deed(&mut world.nat);
    world.nat.audit().expect_err("it is wrong, and nobody sees it")
}

fn says(what: &str, deed: impl FnOnce(&mut super::Nat)) {
    let said = after(deed);
    assert!(said.contains(what), "{said}, not: {what}");
}

#[test]
fn sessions_that_are_miscounted_are_seen() {
    says("by WAN", |nat| nat.per_wan[0] += 1);
    says("strangers", |nat| nat.strangers += 1);
    says("by group and WAN", |nat| nat.per_tie[0] += 1);
    says("counts its sessions wrong", |nat| nat.mappings.get_mut(0).sessions += 1);
    says("counts its sessions wrong", |nat| nat.mappings.get_mut(0).spoken -= 1);
    says("further rings", |nat| nat.mappings.get_mut(0).further += 1);
}

#[test]
fn sessions_that_are_not_found_or_are_another_s_are_seen() {
    says("a mapping that its kind does not have", |nat| nat.roots[0].mapping = NONE);
    says("is of a mapping that is not", |nat| nat.roots[0].mapping = nat.mappings.used());
    says("is not its mapping's", |nat| nat.roots[0].mapping = nat.roots[2].mapping);
    says("is not its mapping's", |nat| nat.roots[0].host = NONE);
    says("is not found from inside", |nat| {
        let other = *nat.sessions.get(2);
        *nat.sessions.get_mut(0) = other;
    });
}

#[test]
fn mappings_without_their_port_or_their_entry_are_seen() {
    says("has not its port", |nat| {
        let slot = nat.roots[4].mapping;
        // Where its session is not, so that this is not looked for.
        nat.mappings.get_mut(slot).outside_port ^= 1;
    });
    says("lets in by a session that is not its own", |nat| {
        let slot = nat.roots[0].mapping;
        nat.mappings.get_mut(slot).first = 2;
    });
}

#[test]
fn rings_that_let_in_whom_they_must_not_are_seen() {
    says("lets in whom it must not", |nat| nat.roots[0].origin = Origin::Stranger);
    says("lets in whom it must not", |nat| nat.filtering = [Filter::AddressAndPortDependent; 3]);
    says("is in a broken ring", |nat| nat.roots[0].ring = [2, 1]);
    says("is in a broken ring", |nat| nat.roots[0].ring = [1, 2]);
    says("is in a broken ring", |nat| nat.roots[0].ring = [1, 60]);
    says("is in a broken ring", |nat| nat.roots[1].ring[0] = 1);
    // Whole, but of two mappings.
    says("is in a broken ring", |nat| {
        for (slot, ring) in [(0, [1, 2]), (2, [0, 1]), (1, [2, 0])] {
            nat.roots[slot].ring = ring;
        }
    });
}

#[test]
fn hosts_that_are_remembered_or_counted_wrong_are_seen() {
    says("hosts are remembered", |nat| _ = nat.hosts.enter(&nat.key, [10, 9, 9, 9].into()));
    says("is said to have", |nat| nat.hosts.sessions(nat.roots[0].host, true));
    let mut world = world();
    let mut mapping = *world.nat.mappings.get(world.nat.roots[0].mapping);
    mapping.group = 1;
    world.nat.hosts.stick(&mapping, &world.up);
    assert!(world.nat.audit().unwrap_err().contains("sticks to"));
}
