//! A changed profile, taken up while the router runs: only the difference moves, sessions stay.
//!
//! Everything that the workers read comes with one view: rules, addresses, and what the WANs' machines make of it. WANs whose address has
//! changed are left in the same step, TCP at once; nobody else notices. The journal has the configuration, and what was decided upon it. What is fixed when a router starts is refused as a whole, and nothing has changed then. With `confirm` the
//! profile before comes back unless the operator says in time that it is good.

use std::sync::Arc;

use serde_json::json;

use super::groups::Groups;
use super::hooks::{self, Hook, Hooks};
use super::{Answer, Manager, rules, views};
use crate::base::{Nanos, WanId};
use crate::profile::{self, Profile};
use crate::wan::Reconfigured;

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
        self.take_up(&held, "reload", now);
        self.reconfigure_member(now, before.cluster.as_ref());
        self.unconfirmed = confirm.map(|span| Unconfirmed { until: now + span, before: Box::new(before) });
        self.event(now, "reload", json!({ "changed": changed, "confirm_s": confirm.map(Nanos::as_s) }));
        Ok(changed)
    }

    /// All that follows from another profile than `before`, which was as it held: one transaction. `cause` is why an address changes.
    pub(super) fn take_up(&mut self, before: &Profile, cause: &str, now: Nanos) {
        let profile = self.applied(&self.profile);
        self.name.clone_from(&profile.name);
        let old = self.view.clone();
        if before.hooks != profile.hooks {
            self.rehook(now);
        }
        self.config = views::config(&profile, &self.groups);
        self.renew_view(&profile);
        let view = self.view.clone();
        let wans = view.uplinks.wans.iter().zip(&old.uplinks.wans).zip(0..=u8::MAX);
        let readdressed = wans.filter(|((new, old), _)| new.addresses != old.addresses);
        let addresses: Vec<WanId> = readdressed.map(|(_, id)| WanId(id)).collect();
        for wan in &addresses {
            let (from, to) = (views::address(&old, *wan), views::address(&view, *wan));
            let fields =
                json!({ "wan": self.wan_name(*wan), "from": from, "to": to, "address": to, "cause": cause });
            self.event(now, hooks::ADDRESS, fields);
        }
        self.reconfigure_wans(now, addresses);
        self.announce_changed(now, &old);
        let probes = views::probes(&profile);
        if probes != views::probes(before) {
            self.change_probes(probes);
        }
        self.reconfigure_leases(now);
    }

    /// Hands the configuration to the WANs' machines, with the WANs that have another address, and publishes all that has changed.
    fn reconfigure_wans(&mut self, now: Nanos, addresses: Vec<WanId>) {
        if let Some(journal) = &mut self.journal {
            journal.before(now, &self.wans);
        }
        let change = Reconfigured { config: self.config.clone(), addresses };
        let mut effects = Vec::new();
        self.wans.reconfigure(now, &change, &mut |effect| effects.push(effect));
        // Before the workers can say that they have it.
        let published = self.clock.map_or(now, |clock| clock());
        self.publish();
        if let Some(journal) = &mut self.journal {
            journal.reconfigured(now, change, &effects);
        }
        for effect in effects {
            self.effect(now, published, effect);
        }
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
        let wanted = wanted_hooks(&self.profile);
        if let Some(hooks) = &mut self.hooks {
            hooks.change(wanted);
            return;
        }
        match Hooks::start(wanted) {
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
    // Who wants to know which WAN carries wants it whatever the reason, the way back apart.
    let kinds = |event: &profile::HookEvent| match event {
        profile::HookEvent::Failover => &[hooks::FAILOVER, hooks::SELECTION, hooks::NONE][..],
        profile::HookEvent::Failback => &[hooks::FAILBACK],
        profile::HookEvent::Address => &[hooks::ADDRESS],
        profile::HookEvent::Role => &[hooks::ROLE],
    };
    let hook = |hook: &profile::Hook| {
        let events = hook.events.iter().flat_map(kinds).copied().collect();
        Hook { events, run: hook.run.clone() }
    };
    profile.hooks.iter().map(hook).collect()
}
