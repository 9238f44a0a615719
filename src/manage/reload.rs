//! A changed profile, taken up while the router runs: only the difference moves, sessions stay.
//!
//! Everything that the workers read comes with one view. WANs whose address has changed are left in the same step (`Input::Address`), TCP at
//! once; nobody else notices. What is fixed when a router starts is refused as a whole, and nothing has changed then. With `confirm` the
//! profile before comes back unless the operator says in time that it is good.

use std::sync::Arc;

use serde_json::json;

use super::groups::Groups;
use super::hooks::{self, Hook, Hooks};
use super::{Answer, Manager, rules, views};
use crate::base::{Nanos, WanId};
use crate::profile::{self, Profile};
use crate::wan::Input;

/// What comes back unless it is confirmed.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    until: Nanos,
    before: Box<Profile>,
}

impl Manager {
    /// Takes up another profile. Gives what has changed, by its keys.
    ///
    /// # Errors
    /// What of it needs a restart; nothing has changed then.
    pub fn reload(
        &mut self,
        profile: Profile,
        confirm: Option<Nanos>,
        now: Nanos,
    ) -> Result<Vec<String>, String> {
        let changed = profile::differences(&self.profile, &profile);
        if changed.is_empty() {
            return Ok(changed);
        }
        let mut fixed = profile::needs_restart(&changed);
        for (at, (old, new)) in self.profile.wans.iter().zip(&profile.wans).enumerate() {
            let addresses = |wan| rules::pool(wan).map_or(1, |pool| pool.len());
            if addresses(old) != addresses(new) {
                fixed.push(format!(
                    "wans.{}.pool (another number of addresses)",
                    self.wan_name(WanId(at as u8))
                ));
            }
        }
        // By them frames are sorted before the path.
        if profile.interfaces.iter().any(|interface| interface.arm.is_some())
            && self.profile.nat.inside != profile.nat.inside
        {
            fixed.push("nat.inside (on one arm)".into());
        }
        for (old, new) in self.profile.interfaces.iter().zip(&profile.interfaces) {
            if old.dhcp.is_some() != new.dhcp.is_some() {
                fixed.push(format!("interfaces.{}.addresses (by DHCP, or by hand)", old.name));
            }
        }
        for (interface, port) in profile.interfaces.iter().zip(&self.ports_info) {
            if interface.mtu.is_some_and(|mtu| mtu > port.mtu) {
                fixed.push(format!("interfaces.{}.mtu (above {})", interface.name, port.mtu));
            }
        }
        if rules::reserved(&self.profile) != rules::reserved(&profile) {
            fixed.push("forwards or firewall to self (other outside ports)".into());
        }
        if !fixed.is_empty() {
            return Err(format!("nothing was changed: this needs a restart: {}", fixed.join(", ")));
        }
        let groups = Groups::of(&profile, &self.groups).map_err(|e| format!("nothing was changed: {e}"))?;
        let held = self.applied(&self.profile);
        let before = std::mem::replace(&mut self.profile, profile);
        self.groups = groups;
        self.take_up(&held, now);
        self.reconfigure_member(now, before.cluster.as_ref());
        self.unconfirmed = confirm.map(|span| Unconfirmed { until: now + span, before: Box::new(before) });
        self.event(now, "reload", json!({ "changed": changed, "confirm_s": confirm.map(Nanos::as_s) }));
        Ok(changed)
    }

    /// All that follows from another profile than `before`, which was as it held.
    pub(super) fn take_up(&mut self, before: &Profile, now: Nanos) {
        let profile = self.applied(&self.profile);
        self.name.clone_from(&profile.name);
        let old = self.view.clone();
        if before.hooks != profile.hooks {
            self.rehook(now);
        }
        self.config = views::config(&profile, &self.groups);
        let mut effects = Vec::new();
        self.wans.reconfigure(now, self.config.clone(), &mut |effect| effects.push(effect));
        if let Some(journal) = &mut self.journal {
            journal.anew();
        }
        // With it the WANs' addresses: what is left from now on is left by the same view.
        self.renew_view(&profile);
        self.publish();
        for effect in effects {
            self.effect(now, now, effect);
        }
        for (at, (new, old)) in self.view.clone().uplinks.wans.iter().zip(&old.uplinks.wans).enumerate() {
            if new.addresses != old.addresses {
                let wan = WanId(at as u8);
                self.event(
                    now,
                    hooks::ADDRESS,
                    json!({ "wan": self.wan_name(wan), "to": new.addresses.get(0) }),
                );
                self.input(now, Input::Address { wan });
            }
        }
        self.announce_changed(&old);
        let probes = views::probes(&profile);
        if probes != views::probes(before) {
            self.change_probes(probes);
        }
        self.reconfigure_leases(now);
    }

    /// The view of a profile, in the place of the present one: to be published.
    pub(super) fn renew_view(&mut self, profile: &Profile) {
        let mut view = views::of(profile, &self.groups, &self.ports_info, self.lanes.len());
        let old = &self.view;
        (view.generation, view.lent, view.probing) = (old.generation, old.lent.clone(), old.probing.clone());
        self.add_routes(&mut view);
        self.keep_former(&mut view);
        self.view = Arc::new(view);
    }

    fn rehook(&mut self, now: Nanos) {
        match Hooks::start(wanted_hooks(&self.profile)) {
            Ok(hooks) => self.hooks = hooks,
            Err(e) => self.event(now, "hook", json!({ "error": e.to_string() })),
        }
    }

    /// The operator is content with the profile that was taken up last.
    pub(super) fn confirm(&mut self, now: Nanos) -> Answer {
        match self.unconfirmed.take() {
            None => Answer::Refused("nothing waits for a confirmation".into()),
            Some(_) => {
                self.event(now, "reload", json!({ "confirmed": true }));
                Answer::Items(vec![json!({ "confirmed": true })])
            }
        }
    }

    /// Goes back to the profile before, when it was not confirmed in time.
    pub(super) fn go_back(&mut self, now: Nanos) {
        let Some(unconfirmed) = self.unconfirmed.take_if(|unconfirmed| now >= unconfirmed.until) else {
            return;
        };
        let back = self.reload(*unconfirmed.before, None, now);
        let fields = json!({ "went_back": back.as_ref().ok(), "error": back.as_ref().err() });
        self.event(now, "reload", fields);
    }
}

/// The hooks, as the profile wants them.
pub fn wanted_hooks(profile: &Profile) -> Vec<Hook> {
    let name = |event: &profile::HookEvent| match event {
        profile::HookEvent::Failover => hooks::FAILOVER,
        profile::HookEvent::Failback => hooks::FAILBACK,
        profile::HookEvent::Address => hooks::ADDRESS,
        profile::HookEvent::Role => hooks::ROLE,
    };
    let hook =
        |hook: &profile::Hook| Hook { events: hook.events.iter().map(name).collect(), run: hook.run.clone() };
    profile.hooks.iter().map(hook).collect()
}
