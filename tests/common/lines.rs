//! WANs and groups as a test wants them, put into the view by hand: what `wan` decides is not the matter here.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;

use turnout::base::WanId;
use turnout::nat::rules::Match;
use turnout::nat::{Choice, Group, Uplinks};
use turnout::sim::Site;

pub const W1: WanId = WanId(0);
pub const W2: WanId = WanId(1);

/// Edits the WANs and groups.
pub fn lines(site: &mut Site, edit: impl FnOnce(&mut Uplinks)) {
    site.edit_view(|view| edit(&mut view.uplinks));
}

/// Both WANs are well, and the groups choose these.
pub fn groups(site: &mut Site, choices: &[Choice]) {
    lines(site, |up| {
        up.wans.iter_mut().for_each(|u| (u.fit, u.holds, u.takes) = (true, false, true));
        let bonds = up.groups[0].bonds.clone();
        up.groups = choices.iter().map(|c| Group { choice: c.clone(), bonds: bonds.clone() }).collect();
    });
}

/// First match wins.
pub fn policy(site: &mut Site, policy: Vec<(Match, u8)>) {
    site.edit_view(|view| {
        let mut rules = (*view.rules).clone();
        rules.policy = policy;
        view.rules = Arc::new(rules);
    });
}

/// The number after an epoch; never 0.
pub fn after(epoch: u8) -> u8 {
    epoch % 255 + 1
}

/// A group leaves a WAN: TCP that is there is held on to.
pub fn leave(up: &mut Uplinks, group: usize, wan: WanId) {
    let bond = &mut up.groups[group].bonds[wan.index()];
    bond.epoch = after(bond.epoch);
}

/// And now TCP as well.
pub fn cut(up: &mut Uplinks, group: usize, wan: WanId) {
    let bond = &mut up.groups[group].bonds[wan.index()];
    bond.tcp = after(bond.tcp);
}

/// A WAN is down, and TCP that is there holds on to it; every group goes by `to` and leaves it, what outside has opened is left there.
pub fn fail(up: &mut Uplinks, wan: WanId, to: WanId) {
    let uplink = &mut up.wans[wan.index()];
    (uplink.fit, uplink.holds, uplink.takes) = (false, true, false);
    for group in 0..up.groups.len() {
        up.groups[group].choice = Choice::One(to);
        leave(up, group, wan);
    }
    let bond = &mut up.outside[wan.index()];
    bond.epoch = after(bond.epoch);
}

/// The time for that is over: all TCP leaves it as well.
pub fn give_up(up: &mut Uplinks, wan: WanId) {
    up.wans[wan.index()].holds = false;
    for group in 0..up.groups.len() {
        cut(up, group, wan);
    }
    let bond = &mut up.outside[wan.index()];
    bond.tcp = after(bond.tcp);
}

/// A WAN is well again; the groups go on by which they go.
pub fn mend_wan(up: &mut Uplinks, wan: WanId) {
    let uplink = &mut up.wans[wan.index()];
    (uplink.fit, uplink.holds, uplink.takes) = (true, false, true);
}
